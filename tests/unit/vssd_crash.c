// SPDX-License-Identifier: MIT
/*
 * Data in a file outlive kill -9. A process with a home writes blocks, each filled with what follows
 * from its address and a generation; before it submits a write, and after it has reaped the
 * completion, it says so in memory that it shares. It is killed at random moments. Then each block
 * must have one generation throughout, not older than the last one acknowledged, nor newer than the
 * last one begun. The volatile write cache is the page cache, which a killed process does not take
 * along: that holds for all writes, not only for those made durable by Flush or FUA.
 */
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "tap.h"
#include "vssd_home.h"

#define ROUNDS		60
#define BLOCKS		512
#define DEPTH		24
#define MAX_BLOCK	4096

/* What writer and judge share. */
struct log {
	sem_t running;				/* the writer is */
	sem_t told;				/* it was told of a FUA write, and then of a flush */
	uint32_t generation;
	uint32_t writes, fuas, flushes;		/* acknowledged */
	uint32_t begun[BLOCKS];
	uint32_t acked[BLOCKS];
};

struct write {
	bool flying;
	uint32_t first;
	uint32_t blocks;
	uint32_t generation;
	uint16_t cid;
	uint8_t opcode;
	bool fua;
};

static struct log *log_;
static char path[] = "/var/tmp/vssd_crash.XXXXXX";
static uint64_t seed = 0x5eed;

static uint32_t below(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed * 0x2545f4914f6cdd1dULL >> 33) % n;
}

static uint64_t word(uint32_t block, uint32_t generation, uint32_t i)
{
	return ((uint64_t)block << 32 | generation) * 0x9e3779b97f4a7c15ULL + i;
}

/* The first word says which generation; of generation 0 all are zeros. */
static void fill(uint64_t *buf, uint32_t block, uint32_t generation, uint32_t size)
{
	buf[0] = generation;
	for (uint32_t i = 1; i < size / 8; i++)
		buf[i] = generation ? word(block, generation, i) : 0;
}

static bool whole(const uint64_t *buf, uint32_t block, uint32_t size)
{
	uint64_t want[MAX_BLOCK / 8];

	if (buf[0] > UINT32_MAX)
		return false;
	fill(want, block, buf[0], size);
	return !memcmp(buf, want, size);
}

static bool busy(const struct write *w, uint32_t first, uint32_t blocks)
{
	for (uint32_t i = 0; i < DEPTH; i++)
		if (w[i].flying && w[i].opcode == SNV_OP_WRITE && first < w[i].first + w[i].blocks &&
		    w[i].first < first + blocks)
			return true;
	return false;
}

static void begin(struct host *h, struct write *w, uint32_t slot, uint32_t size)
{
	struct write *mine = &w[slot];
	char *buf = h->mem + HOST_DATA + slot * 2 * MAX_BLOCK;
	struct snv_sqe sqe = { .opcode = SNV_OP_FLUSH, .nsid = snv_le32(1) };

	mine->opcode = below(20) ? SNV_OP_WRITE : SNV_OP_FLUSH;
	if (mine->opcode == SNV_OP_WRITE) {
		do {
			mine->blocks = 1 + below(2);
			mine->first = below(BLOCKS - 1);
		} while (busy(w, mine->first, mine->blocks));
		mine->fua = !below(8);
		mine->generation = ++log_->generation;
		for (uint32_t i = 0; i < mine->blocks; i++) {
			fill((uint64_t *)(buf + i * size), mine->first + i, mine->generation, size);
			SNV_STORE_RELEASE(&log_->begun[mine->first + i], mine->generation);
		}
		sqe = host_rw(SNV_OP_WRITE, mine->first, mine->blocks, buf, mine->blocks * size);
		if (mine->fua)
			sqe.cdw12 |= snv_le32(SNV_RW_CDW12_FUA);
	}
	mine->flying = true;
	mine->cid = host_submit(h, 1 + slot % 2, &sqe);
}

static void acknowledge(struct write *w, uint32_t queue, uint16_t cid)
{
	static bool fua;

	for (uint32_t slot = queue; slot < DEPTH; slot += 2) {
		if (!w[slot].flying || w[slot].cid != cid)
			continue;
		w[slot].flying = false;
		if (w[slot].opcode == SNV_OP_FLUSH) {
			log_->flushes++;
			if (fua)
				sem_post(&log_->told);
			return;
		}
		for (uint32_t i = 0; i < w[slot].blocks; i++)
			SNV_STORE_RELEASE(&log_->acked[w[slot].first + i], w[slot].generation);
		log_->writes++;
		log_->fuas += w[slot].fua;
		fua |= w[slot].fua;
		return;
	}
	_exit(5);
}

/* The process to be killed: it ends by itself only when something is wrong. */
static void writer(const char *spec, uint32_t size)
{
	struct write w[DEPTH] = { 0 };
	struct host h;
	char why[256];

	if (host_open(&h, spec, 2, why, sizeof(why))) {
		diag("%s", why);
		_exit(4);
	}
	sem_post(&log_->running);
	for (;;) {
		uint16_t cid;
		int status;

		for (uint32_t slot = 0; slot < DEPTH; slot++)
			if (!w[slot].flying)
				begin(&h, w, slot, size);
		vssd_home_pump(h.home);
		for (uint32_t queue = 0; queue < 2; queue++) {
			while (host_reap(&h, 1 + queue, &cid, &status)) {
				if (status)
					_exit(6);
				acknowledge(w, queue, cid);
			}
		}
	}
}

struct judgement {
	uint32_t torn, lost, ahead, unread;
};

static void judge(const char *spec, uint32_t size, struct judgement *j)
{
	struct host h;
	char why[256];

	if (host_open(&h, spec, 1, why, sizeof(why))) {
		diag("%s", why);
		j->unread++;
		return;
	}
	for (uint32_t block = 0; block < BLOCKS; block++) {
		uint64_t *buf = (uint64_t *)(h.mem + HOST_DATA);
		struct snv_sqe sqe = host_rw(SNV_OP_READ, block, 1, buf, size);

		if (host_do(&h, 1, &sqe)) {
			j->unread++;
			continue;
		}
		j->torn += !whole(buf, block, size);
		j->lost += buf[0] < log_->acked[block];
		j->ahead += buf[0] > log_->begun[block];
		/* Whichever it is now, it has been read: it must stay. */
		log_->acked[block] = log_->begun[block] = (uint32_t)buf[0];
	}
	host_close(&h);
}

static void wait_for(sem_t *sem)
{
	struct timespec limit;

	clock_gettime(CLOCK_MONOTONIC, &limit);
	limit.tv_sec += 300;
	sem_clockwait(sem, CLOCK_MONOTONIC, &limit);
}

static void test_kill(const char *options, uint32_t size)
{
	struct judgement j = { 0 };
	char spec[512], judge_spec[512];
	int killed = 0;

	unlink(path);
	memset(log_, 0, sizeof(*log_));
	snprintf(spec, sizeof(spec), "file=%s,size=%u,lba=%u,%s", path, BLOCKS * size, size, options);
	snprintf(judge_spec, sizeof(judge_spec), "file=%s,lba=%u,threads=0", path, size);
	for (int round = 0; round < ROUNDS; round++) {
		pid_t pid;
		int status;

		sem_init(&log_->running, 1, 0);
		sem_init(&log_->told, 1, 0);
		seed += round;
		fflush(stdout);
		pid = fork();
		if (!pid)
			writer(spec, size);
		wait_for(&log_->running);
		/* Now and then so late that there is something to lose on the slowest media, too. */
		if (round % 10 == 0)
			wait_for(&log_->told);
		usleep(below(12000));
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
		if (WIFEXITED(status))
			diag("round %d: the writer ended with %d", round, WEXITSTATUS(status));
		judge(judge_spec, size, &j);
	}
	diag("%s: %u writes acknowledged, %u of them FUA, %u flushes", options, log_->writes,
	     log_->fuas, log_->flushes);
	is(killed, ROUNDS, "%s: killed %d times while it wrote", options, ROUNDS);
	ok(log_->writes && log_->fuas && log_->flushes, "%s: some of it acknowledged", options);
	is(j.unread, 0, "%s: all blocks can be read", options);
	is(j.torn, 0, "%s: none is torn", options);
	is(j.lost, 0, "%s: none is older than what was acknowledged", options);
	is(j.ahead, 0, "%s: none is what nobody wrote", options);
}

/* The judge can tell. */
static void test_judge(void)
{
	struct judgement j = { 0 };
	uint64_t buf[64];
	char spec[512];
	FILE *f;

	unlink(path);
	memset(log_, 0, sizeof(*log_));
	f = fopen(path, "w");
	for (uint32_t block = 0; f && block < BLOCKS; block++) {
		log_->begun[block] = 9;
		log_->acked[block] = 5;
		/* All right, torn, too old, too new; by turns. */
		fill(buf, block, block % 4 < 2 ? 5 : block % 4 == 2 ? 4 : 10, 512);
		if (block % 4 == 1)
			buf[63]++;
		fwrite(buf, 512, 1, f);
	}
	if (f)
		fclose(f);
	snprintf(spec, sizeof(spec), "file=%s,lba=512,threads=0", path);
	judge(spec, 512, &j);
	ok(j.torn == BLOCKS / 4 && j.lost == BLOCKS / 4 && j.ahead == BLOCKS / 4 && !j.unread,
	   "a torn block, a lost and an unknown one are found");
}

int main(void)
{
	int fd = mkstemp(path);

	if (fd < 0)
		skip_all("%s: %s", path, strerror(errno));
	close(fd);
	log_ = mmap(NULL, sizeof(*log_), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	test_judge();
	test_kill("threads=1", 4096);
	test_kill("threads=0", 512);
	test_kill("threads=2,direct=0", 4096);
	unlink(path);
	return done();
}
