// SPDX-License-Identifier: MIT
/*
 * snvme bench: queues of one's own, measured. One thread and one queue per job; each polls, and
 * submits one command in place of each that completed. Between the library's calls there are two
 * readings of a counter per batch, a histogram bucket, and no division, lock or allocation.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "histogram.h"
#include "tool.h"

static const char help[] =
	"usage: snvme bench DEV|--file=PATH [OPTION...]\n\n"
	"  --rw=read|write|randread|randwrite|rw|randrw  what to do (default read)\n"
	"  --rwmixread=N         percent of reads in rw and randrw (default 50)\n"
	"  --bs=B                bytes in a command (default 4k)\n"
	"  --iodepth=N           commands in flight in each job (default 1)\n"
	"  --numjobs=N           threads, each with a queue and its part of the region (default 1)\n"
	"  --class=urgent|high|medium|low  of the queues, where the controller has classes\n"
	"  --cmb                 rings in the controller's own memory, where it has some\n"
	"  --offset=B, --size=B  the region (default: all)\n"
	"  --runtime=S           seconds to run, going round the region; without it, once through\n"
	"  --verify=none|lba     write blocks that tell their LBA and generation; check those read,\n"
	"                        and read back at the end all that were written\n"
	"  --file=PATH           stay inside a file's extents\n"
	"  --force               write although the region is in use, as every mounted file is\n"
	"  -o human|json         output\n";

#define IO_TIMEOUT_NS	(30 * 1000000000ULL)
#define BUSY		(1U << 31)	/* in gen[]: a command on this slot is in flight */

enum verify_mode {
	VERIFY_NONE,
	VERIFY_LBA,
};

/* Slots of one extent: --bs bytes each, on consecutive logical blocks. */
struct piece {
	uint64_t first;
	uint64_t count;
	uint64_t slba;
};

struct bench {
	struct target target;
	const char *rw;
	bool random;
	bool reads;
	bool writes;
	uint64_t mix;			/* a random 32-bit number below it makes a read */
	uint32_t bs;
	uint32_t nlb;
	uint32_t iodepth;
	uint32_t numjobs;
	uint32_t class;
	uint32_t cmb;		/* SNVME_QUEUE_CMB or 0 */
	uint64_t runtime;		/* ns; UINT64_MAX: once through the region */
	enum verify_mode verify;
	uint32_t run;			/* marks blocks written by this run */
	struct piece *piece;
	size_t pieces;
	uint64_t slots;
	pthread_barrier_t start;
	sem_t done;
	int stop;			/* set by the main thread: submit no more */
	double ns_per_tick;
};

/* A command in flight. */
struct op {
	uint64_t start;
	uint64_t slot;
	bool write;
};

struct job {
	struct bench *bench;
	pthread_t thread;
	struct snvme_queue *queue;
	struct snvme_mem *mem;
	struct op *op;			/* [iodepth] */
	uint32_t *freed;		/* [iodepth]: indices in op[] without a command */
	struct snvme_io *io;		/* [iodepth]: a batch */
	struct snvme_completion *completion;
	uint32_t *gen;			/* of each slot: 0 not written by this run; with --verify */
	const struct piece *piece;	/* where the last slot was found */
	uint64_t first;
	uint64_t slots;
	uint64_t next;			/* sequential position, from 0 */
	uint64_t left;			/* commands still to submit */
	uint64_t random;
	uint32_t generation;
	bool reading_back;

	struct histogram read;		/* ticks */
	struct histogram write;
	uint64_t completed;		/* read by the progress line */
	uint64_t submitted;
	uint64_t errors;
	uint64_t verified;
	uint64_t mismatches;
	uint64_t bad_lba;		/* of the first mismatch */
	int status;			/* of the first command that failed */
	int ret;			/* what ended the job early */
	uint64_t elapsed;		/* ns */
};

static volatile sig_atomic_t interrupted;

static void interrupt(int sig)
{
	(void)sig;
	interrupted = 1;
}

/*
 * The clock of the measuring loop. Where the kernel does not trust the TSC, as in most emulators,
 * clock_gettime() takes longer than a command; so latencies are counted in ticks, and what a tick
 * is, is found at the end by CLOCK_MONOTONIC, which alone decides how long the run was.
 */
static uint64_t ticks(void)
{
#ifdef __x86_64__
	return __builtin_ia32_rdtsc();
#else
	return now_ns();
#endif
}

static uint64_t random_next(struct job *job)
{
	uint64_t x = job->random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return job->random = x;
}

/* [0, n) without a division. */
static uint64_t random_below(uint64_t random, uint64_t n)
{
	return (uint64_t)((unsigned __int128)random * n >> 64);
}

static uint64_t slot_lba(struct job *job, uint64_t slot)
{
	const struct piece *piece = job->piece;

	if (slot - piece->first >= piece->count) {
		size_t low = 0, high = job->bench->pieces - 1;

		while (low < high) {
			size_t middle = low + (high - low + 1) / 2;

			if (job->bench->piece[middle].first <= slot)
				low = middle;
			else
				high = middle - 1;
		}
		piece = job->piece = &job->bench->piece[low];
	}
	return piece->slba + (slot - piece->first) * job->bench->nlb;
}

/* The words of a block: its LBA, a tag (run and generation), and a sequence that both start. */
#define SEQUENCE_START(lba, tag) (((lba) + 1) * 0x9e3779b97f4a7c15ULL ^ (tag))
#define SEQUENCE_STEP		 0xd1342543de82ef95ULL

static void stamp_blocks(void *buf, uint32_t nlb, size_t words, uint64_t lba, uint64_t tag)
{
	uint64_t *w = buf;

	for (; nlb; nlb--, lba++, w += words) {
		uint64_t x = SEQUENCE_START(lba, tag);

		w[0] = lba;
		w[1] = tag;
		for (size_t i = 2; i < words; i++)
			w[i] = x += SEQUENCE_STEP;
	}
}

/* @tag: what was written last, or NULL for any. Return: true when all blocks are as stamped. */
static bool check_blocks(const void *buf, uint32_t nlb, size_t words, uint64_t lba,
			 const uint64_t *tag)
{
	const uint64_t *w = buf;

	for (; nlb; nlb--, lba++, w += words) {
		uint64_t x = SEQUENCE_START(lba, w[1]), wrong = w[0] ^ lba;

		if (tag)
			wrong |= w[1] ^ *tag;
		for (size_t i = 2; i < words; i++)
			wrong |= w[i] ^ (x += SEQUENCE_STEP);
		if (wrong)
			return false;
	}
	return true;
}

static void *op_buf(const struct job *job, uint32_t index)
{
	return (char *)snvme_mem_addr(job->mem) + (uint64_t)index * job->bench->bs;
}

static uint64_t tag_of(const struct job *job, uint32_t generation)
{
	return (uint64_t)job->bench->run << 32 | generation;
}

static uint64_t advance(struct job *job)
{
	uint64_t at = job->next;

	if (++job->next == job->slots)
		job->next = 0;
	return at;
}

/* Set up the next command as op[@index]. Return: false when there is none. */
static bool next_io(struct job *job, struct snvme_io *io, uint32_t index)
{
	const struct bench *bench = job->bench;
	struct op *op = &job->op[index];
	uint64_t at;

	if (job->reading_back) {
		while (job->next < job->slots && !job->gen[job->next])
			job->next++;
		if (job->next == job->slots)
			return false;
		at = job->next++;
		op->write = false;
	} else {
		if (job->left == 0)
			return false;
		job->left--;
		if (bench->reads && bench->writes)
			op->write = (uint32_t)random_next(job) >= bench->mix;
		else
			op->write = bench->writes;
		at = bench->random ? random_below(random_next(job), job->slots) : advance(job);
		if (job->gen) {
			/* Two commands on one slot at once would leave open what it holds. */
			while (job->gen[at] & BUSY)
				at = at + 1 < job->slots ? at + 1 : 0;
			job->gen[at] |= BUSY;
		}
	}
	op->slot = at;
	io->opcode = op->write ? SNVME_OP_WRITE : SNVME_OP_READ;
	io->slba = slot_lba(job, job->first + at);
	io->offset = (uint64_t)index * bench->bs;
	io->user = index;
	if (job->gen && op->write) {
		job->generation = (job->generation + 1) & ~BUSY;
		if (job->generation == 0)
			job->generation = 1;
		job->gen[at] = job->generation | BUSY;
		stamp_blocks(op_buf(job, index), bench->nlb, bench->bs / bench->nlb / 8, io->slba,
			     tag_of(job, job->generation));
	}
	return true;
}

static void check_op(struct job *job, uint32_t index, int status)
{
	const struct bench *bench = job->bench;
	struct op *op = &job->op[index];
	uint32_t generation = job->gen[op->slot] &= ~BUSY;
	uint64_t tag = tag_of(job, generation);

	if (op->write) {
		if (status)
			job->gen[op->slot] = 0;	/* it may hold anything */
		return;
	}
	/* A run that also writes knows only what it wrote itself; one that reads wants stamps. */
	if (status || (bench->writes && !generation))
		return;
	job->verified++;
	if (check_blocks(op_buf(job, index), bench->nlb, bench->bs / bench->nlb / 8,
			 slot_lba(job, job->first + op->slot), bench->writes ? &tag : NULL))
		return;
	if (job->mismatches++ == 0)
		job->bad_lba = slot_lba(job, job->first + op->slot);
}

static int submit(struct job *job, unsigned int n)
{
	unsigned int sent = 0;

	while (sent < n) {
		int ret = snvme_submit(job->queue, job->io + sent, n - sent);

		if (ret < 0)
			return ret;
		sent += (unsigned int)ret;
	}
	if (!job->reading_back)
		job->submitted += n;
	return 0;
}

/* Keep the queue full until told to stop or the end of the work, then wait for what is in flight. */
static int run_queue(struct job *job)
{
	const uint32_t depth = job->bench->iodepth;
	uint32_t n_freed = depth, in_flight = 0, spins = 0;
	uint64_t now, idle_since = 0;
	bool stopping = false;
	int ret;

	for (uint32_t i = 0; i < depth; i++)
		job->freed[i] = i;
	for (;;) {
		stopping |= __atomic_load_n(&job->bench->stop, __ATOMIC_RELAXED);
		if (n_freed && !stopping) {
			uint32_t n = 0;

			while (n < n_freed && next_io(job, &job->io[n], job->freed[n]))
				n++;
			now = ticks();
			for (uint32_t i = 0; i < n; i++)
				job->op[job->freed[i]].start = now;
			ret = submit(job, n);
			if (ret)
				return ret;
			in_flight += n;
			stopping = n < n_freed;
			n_freed = 0;
		}
		if (in_flight == 0)
			return 0;
		ret = snvme_poll(job->queue, job->completion, depth);
		if (ret < 0)
			return ret;
		if (ret == 0) {
			if (++spins % 4096)
				continue;
			now = now_ns();
			if (idle_since == 0)
				idle_since = now;
			if (now - idle_since > IO_TIMEOUT_NS)
				return -ETIMEDOUT;
			continue;
		}
		now = ticks();
		idle_since = 0;
		n_freed = (uint32_t)ret;
		in_flight -= n_freed;
		for (uint32_t i = 0; i < n_freed; i++) {
			const struct snvme_completion *completion = &job->completion[i];
			uint32_t index = (uint32_t)completion->user;
			struct op *op = &job->op[index];

			job->freed[i] = index;
			if (completion->status) {
				job->errors++;
				if (!job->status)
					job->status = completion->status;
			} else if (!job->reading_back) {
				/* Counters of two CPUs may differ by less than a command takes. */
				histogram_add(op->write ? &job->write : &job->read,
					      now > op->start ? now - op->start : 0);
			}
			if (job->gen)
				check_op(job, index, completion->status);
		}
		__atomic_store_n(&job->completed, job->completed + n_freed, __ATOMIC_RELAXED);
	}
}

static void *job_run(void *arg)
{
	struct job *job = arg;
	struct bench *bench = job->bench;
	uint64_t start;

	pthread_barrier_wait(&bench->start);
	start = now_ns();
	job->ret = run_queue(job);
	job->elapsed = now_ns() - start;
	sem_post(&bench->done);
	return NULL;
}

/* After a run that wrote stamps: read them all. */
static void *job_read_back(void *arg)
{
	struct job *job = arg;

	if (!job->ret) {
		job->reading_back = true;
		job->next = 0;
		job->ret = run_queue(job);
	}
	sem_post(&job->bench->done);
	return NULL;
}

static void add_pieces(struct bench *bench)
{
	const struct target *target = &bench->target;
	const struct snvme_file_map *map = &target->map;
	uint64_t end = target->offset + target->length;
	uint32_t lba_size = target->disk.ns.lba_size;

	bench->piece = xcalloc(map->count, sizeof(*bench->piece));
	for (size_t i = 0; i < map->count; i++) {
		const struct snvme_extent *extent = &map->extents[i];
		uint64_t from = extent->logical, to = extent->logical + extent->length;
		struct piece *piece = &bench->piece[bench->pieces];

		if (extent->flags & (SNVME_EXTENT_UNMAPPED | SNVME_EXTENT_UNWRITTEN))
			continue;
		if (from < target->offset)
			from = target->offset;
		if (to > end)
			to = end;
		if (from >= to || to - from < bench->bs)
			continue;
		piece->first = bench->slots;
		piece->count = (to - from) / bench->bs;
		piece->slba = (extent->physical + from - extent->logical) / lba_size;
		bench->slots += piece->count;
		bench->pieces++;
	}
	if (bench->slots < bench->numjobs)
		die("%s has room for %" PRIu64 " commands of --bs=%u on consecutive blocks, too few for --numjobs=%u",
		    target->name, bench->slots, bench->bs, bench->numjobs);
}

static void job_open(struct bench *bench, struct job *job, uint32_t number)
{
	uint64_t base = bench->slots / bench->numjobs;
	const struct disk *disk = &bench->target.disk;
	uint64_t length = (uint64_t)bench->iodepth * bench->bs;
	int ret;

	job->bench = bench;
	job->first = base * number;
	job->slots = number + 1 < bench->numjobs ? base : bench->slots - job->first;
	job->left = bench->runtime == UINT64_MAX ? job->slots : UINT64_MAX;
	job->random = ((uint64_t)bench->run << 32 | number) * 0x9e3779b97f4a7c15ULL | 1;
	job->piece = bench->piece;
	job->queue = disk_queue(&bench->target.disk, bench->iodepth, bench->class | bench->cmb);
	ret = snvme_mem_alloc(disk->ctrl, length, &job->mem);
	if (ret)
		die("%s: no memory for %" PRIu64 " bytes of data: %s", disk->info.name, length,
		    snvme_strerror(ret));
	job->op = xcalloc(bench->iodepth, sizeof(*job->op));
	job->freed = xcalloc(bench->iodepth, sizeof(*job->freed));
	job->completion = xcalloc(bench->iodepth, sizeof(*job->completion));
	job->io = xcalloc(bench->iodepth, sizeof(*job->io));
	for (uint32_t i = 0; i < bench->iodepth; i++) {
		job->io[i].nsid = disk->ns.nsid;
		job->io[i].nlb = bench->nlb;
		job->io[i].length = bench->bs;
		job->io[i].mem = job->mem;
	}
	if (bench->verify == VERIFY_LBA) {
		if (job->slots <= bench->iodepth)
			die("--verify=lba needs a region of more than --iodepth commands for each job, and it has %" PRIu64,
			    job->slots);
		job->gen = xcalloc(job->slots, sizeof(*job->gen));
	} else if (bench->writes) {
		/* Zeros are what controllers may treat in a way of their own. */
		for (uint64_t *w = snvme_mem_addr(job->mem), i = 0; i < length / 8; i++)
			w[i] = random_next(job);
	}
}

static void job_close(struct job *job)
{
	snvme_queue_destroy(job->queue);
	snvme_mem_release(job->mem);
	free(job->op);
	free(job->freed);
	free(job->completion);
	free(job->io);
	free(job->gen);
}

static void progress(const struct bench *bench, const struct job *jobs, uint64_t start,
		     uint64_t *last, uint64_t *last_completed)
{
	uint64_t now = now_ns(), completed = 0, total = bench->slots;
	double rate, part;

	for (uint32_t i = 0; i < bench->numjobs; i++)
		completed += __atomic_load_n(&jobs[i].completed, __ATOMIC_RELAXED);
	rate = (double)(completed - *last_completed) * 1e9 / (double)(now - *last);
	part = bench->runtime == UINT64_MAX ? (double)completed / (double)total :
					      (double)(now - start) / (double)bench->runtime;
	*last = now;
	*last_completed = completed;
	/* What is read back at the end comes on top. */
	fprintf(stderr, "\r\033[K%s %3.0f%%  %.0f IOPS  %.1f MB/s", bench->rw,
		part > 1 ? 100 : part * 100, rate, rate * bench->bs / 1e6);
	fflush(stderr);
}

/* Each job in a thread, until all ended, the run time is over, or the user has had enough. */
static void run_jobs(struct bench *bench, struct job *jobs, void *(*run)(void *job),
		     uint64_t runtime)
{
	uint64_t start = now_ns(), last = start, completed = 0, end = UINT64_MAX;
	bool terminal = isatty(STDERR_FILENO);
	sigset_t set, old;

	/* The main thread is to be woken by signals, not a job. */
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	for (uint32_t i = 0; i < bench->numjobs; i++) {
		int ret = pthread_create(&jobs[i].thread, NULL, run, &jobs[i]);

		if (ret)
			die("cannot start a thread: %s", strerror(ret));
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);

	if (runtime != UINT64_MAX)
		end = start + runtime;
	for (uint32_t ended = 0; ended < bench->numjobs;) {
		uint64_t now = now_ns(), until = now + 1000000000;
		struct timespec ts;

		if (now >= end || interrupted)
			__atomic_store_n(&bench->stop, 1, __ATOMIC_RELAXED);
		else if (until > end)
			until = end;
		ts.tv_sec = (time_t)(until / 1000000000);
		ts.tv_nsec = (long)(until % 1000000000);
		if (!sem_clockwait(&bench->done, CLOCK_MONOTONIC, &ts))
			ended++;
		else if (errno == ETIMEDOUT && terminal)
			progress(bench, jobs, start, &last, &completed);
	}
	if (terminal)
		fputs("\r\033[K", stderr);
	for (uint32_t i = 0; i < bench->numjobs; i++)
		pthread_join(jobs[i].thread, NULL);
}

static void run_bench(struct bench *bench, struct job *jobs)
{
	uint64_t start_ticks, start;

	sem_init(&bench->done, 0, 0);
	pthread_barrier_init(&bench->start, NULL, bench->numjobs);
	start_ticks = ticks();
	start = now_ns();
	run_jobs(bench, jobs, job_run, bench->runtime);
	bench->ns_per_tick = (double)(now_ns() - start) / (double)(ticks() - start_ticks);

	bench->stop = 0;
	if (bench->verify == VERIFY_LBA && bench->writes && !interrupted)
		run_jobs(bench, jobs, job_read_back, UINT64_MAX);
	pthread_barrier_destroy(&bench->start);
	sem_destroy(&bench->done);
}

static const struct {
	const char *name;
	double part;
} percentiles[] = {
	{ "p50", 0.5 }, { "p90", 0.9 }, { "p99", 0.99 }, { "p99.9", 0.999 },
};

static double to_ns(const struct bench *bench, uint64_t n)
{
	return (double)n * bench->ns_per_tick;
}

static json_t *direction_json(const struct bench *bench, const struct histogram *h,
			      uint64_t elapsed)
{
	double iops = elapsed ? (double)h->count * 1e9 / (double)elapsed : 0;
	json_t *lat = json_pack("{s:I, s:f}", "min",
				(json_int_t)to_ns(bench, h->count ? h->min : 0), "mean",
				histogram_mean(h) * bench->ns_per_tick);

	for (size_t i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++)
		json_object_set_new(lat, percentiles[i].name,
				    json_integer((json_int_t)to_ns(bench, histogram_percentile(
					    h, percentiles[i].part))));
	json_object_set_new(lat, "max", json_integer((json_int_t)to_ns(bench, h->max)));
	return json_pack("{s:I, s:I, s:f, s:f, s:o}", "ios", (json_int_t)h->count, "bytes",
			 (json_int_t)(h->count * bench->bs), "iops", iops, "bw_bytes",
			 iops * bench->bs, "lat_ns", lat);
}

static void print_direction(const struct bench *bench, const char *name,
			    const struct histogram *h, uint64_t elapsed)
{
	double iops = elapsed ? (double)h->count * 1e9 / (double)elapsed : 0;

	if (h->count == 0)
		return;
	printf("  %-6s %.0f IOPS, %.1f MB/s, %" PRIu64 " commands\n", name, iops,
	       iops * bench->bs / 1e6, h->count);
	printf("         latency us: min %.1f, mean %.1f", to_ns(bench, h->min) / 1e3,
	       histogram_mean(h) * bench->ns_per_tick / 1e3);
	for (size_t i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++)
		printf(", %s %.1f", percentiles[i].name,
		       to_ns(bench, histogram_percentile(h, percentiles[i].part)) / 1e3);
	printf(", max %.1f\n", to_ns(bench, h->max) / 1e3);
}

/* Return: the exit code. */
static int report(const struct bench *bench, const struct job *jobs, bool json)
{
	struct histogram *read = xcalloc(3, sizeof(*read)), *write = read + 1, *all = read + 2;
	uint64_t elapsed = 0, submitted = 0, errors = 0, verified = 0, mismatches = 0;
	const struct disk *disk = &bench->target.disk;
	bool failed = false;

	for (uint32_t i = 0; i < bench->numjobs; i++) {
		const struct job *job = &jobs[i];

		histogram_merge(read, &job->read);
		histogram_merge(write, &job->write);
		if (job->elapsed > elapsed)
			elapsed = job->elapsed;
		submitted += job->submitted;
		errors += job->errors;
		verified += job->verified;
		mismatches += job->mismatches;
		failed |= job->ret || job->errors || job->mismatches;
		if (job->ret)
			complain("%s: job %u ended early: %s", disk->name, i,
				 snvme_strerror(job->ret));
		if (job->errors)
			complain("%s: %" PRIu64 " commands of job %u failed, the first with: %s",
				 disk->name, job->errors, i, snvme_strerror(job->status));
		if (job->mismatches)
			complain("%s: %" PRIu64 " commands of job %u read wrong data, the first at logical block %" PRIu64,
				 disk->name, job->mismatches, i, job->bad_lba);
	}
	histogram_merge(all, read);
	histogram_merge(all, write);

	if (json) {
		json_t *value = direction_json(bench, all, elapsed);

		json_object_update_new(value, json_pack(
			"{s:s, s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:o, s:o}",
			"device", disk->name, "target", json_text(bench->target.name), "rw",
			bench->rw, "bs", (json_int_t)bench->bs, "iodepth",
			(json_int_t)bench->iodepth, "numjobs", (json_int_t)bench->numjobs,
			"elapsed_ns", (json_int_t)elapsed, "submitted", (json_int_t)submitted,
			"errors", (json_int_t)errors, "verified", (json_int_t)verified,
			"mismatches", (json_int_t)mismatches, "interrupted", (int)interrupted,
			"read", direction_json(bench, read, elapsed), "write",
			direction_json(bench, write, elapsed)));
		json_print(value);
	} else {
		printf("%s on %s: bs %u, iodepth %u, numjobs %u, %.2f s%s\n", bench->rw,
		       bench->target.name, bench->bs, bench->iodepth, bench->numjobs,
		       (double)elapsed / 1e9, interrupted ? ", interrupted" : "");
		print_direction(bench, "read", read, elapsed);
		print_direction(bench, "write", write, elapsed);
		printf("  submitted %" PRIu64 ", errors %" PRIu64, submitted, errors);
		if (bench->verify == VERIFY_LBA)
			printf(", verified %" PRIu64 ", mismatches %" PRIu64, verified,
			       mismatches);
		putchar('\n');
	}
	free(read);
	return failed ? EXIT_FAILED : 0;
}

static void set_rw(struct bench *bench, const char *rw)
{
	static const struct {
		const char *name;
		bool random, reads, writes;
	} modes[] = {
		{ "read", false, true, false },	    { "write", false, false, true },
		{ "randread", true, true, false },  { "randwrite", true, false, true },
		{ "rw", false, true, true },	    { "randrw", true, true, true },
	};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (!strcmp(rw, modes[i].name)) {
			bench->rw = modes[i].name;
			bench->random = modes[i].random;
			bench->reads = modes[i].reads;
			bench->writes = modes[i].writes;
			return;
		}
	}
	die_usage("--rw=%s is none of read, write, randread, randwrite, rw and randrw", rw);
}

static void check_sizes(struct bench *bench)
{
	const struct disk *disk = &bench->target.disk;

	if (bench->bs == 0)
		die("--bs is zero");
	if (bench->bs % disk->ns.lba_size)
		die("--bs=%u is not a multiple of the logical block size of %s, %u bytes",
		    bench->bs, disk->name, disk->ns.lba_size);
	if (bench->bs > disk->info.max_transfer)
		die("--bs=%u is more than one command of %s transfers, %" PRIu64 " bytes",
		    bench->bs, disk->name, disk->info.max_transfer);
	if (bench->iodepth >= disk->info.max_entries)
		die("--iodepth=%u is more than a queue of %s holds, %u", bench->iodepth,
		    disk->name, disk->info.max_entries - 1);
	bench->nlb = bench->bs / disk->ns.lba_size;
}

static uint32_t class_option(const char *text)
{
	static const char * const names[] = {
		[SNVME_QUEUE_MEDIUM] = "medium", [SNVME_QUEUE_URGENT] = "urgent", [SNVME_QUEUE_HIGH] = "high",
		[SNVME_QUEUE_LOW] = "low",
	};

	for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(text, names[i]))
			return i;
	die_usage("--class=%s is neither urgent nor high, medium or low", text);
}

int cmd_bench(int argc, char **argv)
{
	enum { RW = 256, MIX, BS, DEPTH, JOBS, CLASS, CMB, OFFSET, SIZE, RUNTIME, VERIFY, FILE_PATH, FORCE };
	static const struct option options[] = {
		{ "rw", required_argument, NULL, RW },
		{ "rwmixread", required_argument, NULL, MIX },
		{ "bs", required_argument, NULL, BS },
		{ "iodepth", required_argument, NULL, DEPTH },
		{ "numjobs", required_argument, NULL, JOBS },
		{ "class", required_argument, NULL, CLASS },
		{ "cmb", no_argument, NULL, CMB },
		{ "offset", required_argument, NULL, OFFSET },
		{ "size", required_argument, NULL, SIZE },
		{ "runtime", required_argument, NULL, RUNTIME },
		{ "verify", required_argument, NULL, VERIFY },
		{ "file", required_argument, NULL, FILE_PATH },
		{ "force", no_argument, NULL, FORCE },
		COMMON_OPTIONS
	};
	struct bench bench = {
		.rw = "read", .reads = true, .bs = 4096, .iodepth = 1, .numjobs = 1,
		.runtime = UINT64_MAX,
	};
	uint64_t value, offset = 0, size = UINT64_MAX;
	struct sigaction action = { .sa_handler = interrupt };
	bool json = false, force = false;
	uint32_t mix = 50;
	const char *file = NULL;
	struct job *jobs;
	int c, ret;

	while ((c = getopt_long(argc, argv, "o:h", options, NULL)) != -1) {
		switch (c) {
		case RW:
			set_rw(&bench, optarg);
			break;
		case MIX:
			mix = number_option("rwmixread", optarg, 0, 100);
			break;
		case BS:
			value = size_option("bs", optarg);
			bench.bs = value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
			break;
		case DEPTH:
			bench.iodepth = number_option("iodepth", optarg, 1, 65535);
			break;
		case JOBS:
			bench.numjobs = number_option("numjobs", optarg, 1, 1024);
			break;
		case CLASS:
			bench.class = class_option(optarg);
			break;
		case CMB:
			bench.cmb = SNVME_QUEUE_CMB;
			break;
		case OFFSET:
			offset = size_option("offset", optarg);
			break;
		case SIZE:
			size = size_option("size", optarg);
			break;
		case RUNTIME:
			bench.runtime = number_option("runtime", optarg, 1, 31536000) *
					1000000000ULL;
			break;
		case VERIFY:
			if (strcmp(optarg, "lba") && strcmp(optarg, "none"))
				die_usage("--verify=%s is neither none nor lba", optarg);
			bench.verify = strcmp(optarg, "lba") ? VERIFY_NONE : VERIFY_LBA;
			break;
		case FILE_PATH:
			file = optarg;
			break;
		case FORCE:
			force = true;
			break;
		default:
			common_option(c, help, &json);
		}
	}
	if (argc - optind > 1)
		die_usage("bench takes one device");
	bench.mix = ((uint64_t)mix << 32) / 100;
	bench.run = (uint32_t)now_ns() ^ (uint32_t)getpid() << 16;

	target_open(&bench.target, argv[optind], file);
	check_sizes(&bench);
	/* Only whole blocks are of use: what a file has behind its last is not read. */
	if (size == UINT64_MAX && bench.target.map.size > offset)
		size = (bench.target.map.size - offset) & ~(uint64_t)(bench.target.disk.ns.lba_size - 1);
	target_range(&bench.target, offset, size, true);
	if (bench.writes)
		target_writable(&bench.target, force);
	add_pieces(&bench);
	jobs = xcalloc(bench.numjobs, sizeof(*jobs));
	for (uint32_t i = 0; i < bench.numjobs; i++)
		job_open(&bench, &jobs[i], i);
	if (bench.writes)
		target_sync(&bench.target);

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	run_bench(&bench, jobs);
	if (bench.writes)
		target_drop_cache(&bench.target);
	ret = report(&bench, jobs, json);
	for (uint32_t i = 0; i < bench.numjobs; i++)
		job_close(&jobs[i]);
	free(jobs);
	free(bench.piece);
	target_close(&bench.target);
	return ret;
}
