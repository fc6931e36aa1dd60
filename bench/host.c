// SPDX-License-Identifier: MIT
/*
 * The virtual SSD in this process against what the machine can do without it.
 *
 *	host rate SECONDS TURNS		4 KiB random reads through a queue, one thread here and one in
 *					vssd; a plain memcpy of as much, of one thread; in turns
 *	host clients SECONDS TURNS	the same reads in two other processes at once, by vfio-user, against
 *					those in this one; in turns
 *	host ways SECONDS TURNS		the same reads, DEPTH in flight, by one thread; by two of one queue; by two
 *					of a queue each; by one of four queues; in turns
 *	host count COMMANDS SPEC	COMMANDS random reads from the device SPEC at depth 32, for an
 *					instruction counter to watch
 *
 * Prints "row CASE WHO METRIC VALUE UNIT".
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <snvme/snvme.h>

#define BLOCK	4096UL
#define SIZE	(1UL << 30)
#define BLOCKS	(SIZE / BLOCK)
#define DEPTH	64
#define BATCH	32
#define LOST_S	30	/* without a completion, and one is lost */

static void die(const char *what, int ret)
{
	fprintf(stderr, "bench/host: %s: %s\n", what, snvme_strerror(ret));
	exit(1);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* xorshift: the same for both sides, and cheap beside 4 KiB. */
static uint64_t next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

struct reader {
	struct snvme_ctrl *ctrl;
	struct snvme_queue *queue;
	struct snvme_mem *mem;
	uint32_t lba_size;
	uint32_t depth;
};

static void reader_open(struct reader *r, const char *name, uint32_t depth)
{
	struct snvme_queue_opts opts = { .size = sizeof(opts), .depth = depth };
	struct snvme_ns_info ns;
	int ret = snvme_open(name, &r->ctrl);

	if (ret)
		die(name, ret);
	ret = snvme_get_ns(r->ctrl, 1, &ns);
	if (!ret)
		ret = snvme_queue_create(r->ctrl, &opts, &r->queue);
	if (!ret)
		ret = snvme_mem_alloc(r->ctrl, (1UL << 20) + depth * BLOCK, &r->mem);
	if (ret)
		die("set-up", ret);
	r->lba_size = ns.lba_size;
	r->depth = depth;
}

/* Write all blocks, each word of a block telling the block. */
static void fill(struct reader *r)
{
	char *buf = snvme_mem_addr(r->mem);

	for (uint64_t at = 0; at < SIZE; at += 1UL << 20) {
		int ret;

		for (uint64_t i = 0; i < (1UL << 20) / 8; i++)
			((uint64_t *)buf)[i] = (at + i * 8) / BLOCK;
		ret = snvme_write(r->queue, 1, buf, 1UL << 20, at);
		if (ret)
			die("write", ret);
	}
}

/*
 * Random reads: until @seconds have passed, or @commands are done. Returns how many. Each block is
 * looked at, its first and last word, as whoever reads data would.
 */
static uint64_t random_reads(struct reader *r, double seconds, uint64_t commands, int check)
{
	uint64_t block[DEPTH], x = 88172645463325252ULL, done = 0, begun = 0;
	struct snvme_completion out[BATCH];
	struct snvme_io io[DEPTH];
	const char *base = snvme_mem_addr(r->mem);
	double end = now() + seconds;
	uint32_t n = r->depth;
	int ret;

	for (uint32_t i = 0; i < n; i++)
		io[i] = (struct snvme_io){ .opcode = SNVME_OP_READ, .nsid = 1,
			.nlb = (uint32_t)(BLOCK / r->lba_size), .length = BLOCK, .mem = r->mem,
			.offset = (1UL << 20) + i * BLOCK, .user = i };
	for (uint32_t i = 0; i < n; i++) {
		block[i] = next(&x) % BLOCKS;
		io[i].slba = block[i] * (BLOCK / r->lba_size);
	}
	ret = snvme_submit(r->queue, io, n);
	if (ret != (int)n)
		die("submit", ret);
	begun = n;
	while (done < begun) {
		struct snvme_io again[BATCH];
		uint32_t m = 0;

		ret = snvme_wait(r->queue, out, BATCH, -1);
		if (ret < 0)
			die("wait", ret);
		for (int i = 0; i < ret; i++) {
			uint64_t slot = out[i].user;
			const uint64_t *data = (const uint64_t *)(base + io[slot].offset);

			if (out[i].status)
				die("read", out[i].status);
			if (check && (data[0] != block[slot] || data[511] != block[slot])) {
				fprintf(stderr, "bench/host: block %" PRIu64 " holds %" PRIu64 "\n",
					block[slot], data[0]);
				exit(1);
			}
			block[slot] = next(&x) % BLOCKS;
			io[slot].slba = block[slot] * (BLOCK / r->lba_size);
			again[m++] = io[slot];
		}
		done += (unsigned int)ret;
		if (commands ? begun >= commands : now() >= end)
			continue;
		ret = snvme_submit(r->queue, again, m);
		if (ret != (int)m)
			die("submit", ret);
		begun += m;
	}
	return done;
}

/* The same blocks by memcpy, from a region as large, into as many buffers; the clock as often. */
static uint64_t random_copies(const char *from, char *to, double seconds)
{
	uint64_t x = 88172645463325252ULL, done = 0, sum = 0;
	double end = now() + seconds;

	do {
		for (uint32_t i = 0; i < BATCH; i++) {
			uint64_t block = next(&x) % BLOCKS;
			char *at = to + (done + i) % DEPTH * BLOCK;

			memcpy(at, from + block * BLOCK, BLOCK);
			sum += ((volatile uint64_t *)at)[0] != block;
			sum += ((volatile uint64_t *)at)[511] != block;
		}
		done += BATCH;
	} while (now() < end);
	if (sum) {
		fprintf(stderr, "bench/host: memcpy went wrong\n");
		exit(1);
	}
	return done;
}

static void rate(double seconds, int turns)
{
	struct reader r;
	char *from, *to;

	reader_open(&r, "vssd:ram,size=1G,lba=4096", DEPTH);
	fill(&r);
	from = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	to = aligned_alloc(BLOCK, DEPTH * BLOCK);
	if (from == MAP_FAILED || !to)
		die("memory", -1);
	for (uint64_t i = 0; i < SIZE / 8; i++)
		((uint64_t *)from)[i] = i * 8 / BLOCK;
	for (int turn = 0; turn < turns; turn++) {
		double start = now();
		uint64_t n = random_copies(from, to, seconds);

		printf("row randread-4k memcpy iops %.0f 1/s\n", (double)n / (now() - start));
		start = now();
		n = random_reads(&r, seconds, 0, 1);
		printf("row randread-4k vssd-ram iops %.0f 1/s\n", (double)n / (now() - start));
		fflush(stdout);
	}
	snvme_close(r.ctrl);
}

/* Of a child: whatever ends its parent, a failure, say. */
static void end_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* In a process of its own: a byte to @fd when it is ready, and once @go can be read, its rate. */
static void client(const char *dir, double seconds, int go, int fd)
{
	struct reader r;
	char name[64], byte;
	double start, result;

	end_with_parent();
	snprintf(name, sizeof(name), "vfio-user:%s", dir);
	reader_open(&r, name, DEPTH);
	if (write(fd, "!", 1) != 1 || read(go, &byte, 1) != 1)
		_exit(1);
	start = now();
	result = (double)random_reads(&r, seconds, 0, 1) / (now() - start);
	if (write(fd, &result, sizeof(result)) != sizeof(result))
		_exit(1);
	snvme_close(r.ctrl);
	_exit(0);
}

/* Two at once: the sum of their rates. */
static double two_clients(const char *dir, double seconds)
{
	int go[2], result[2][2], status;
	double sum = 0, one;
	char byte;

	if (pipe(go))
		die("pipe", -errno);
	for (int i = 0; i < 2; i++) {
		pid_t pid;

		if (pipe(result[i]))
			die("pipe", -errno);
		pid = fork();
		if (pid < 0)
			die("fork", -errno);
		if (!pid)
			client(dir, seconds, go[0], result[i][1]);
		/* A client that fails leaves nobody to write to its pipe: its end is no byte. */
		close(result[i][1]);
	}
	for (int i = 0; i < 2; i++)
		if (read(result[i][0], &byte, 1) != 1)
			die("client", -1);
	if (write(go[1], "!!", 2) != 2)
		die("pipe", -errno);
	for (int i = 0; i < 2; i++) {
		if (wait(&status) < 0 || status || read(result[i][0], &one, sizeof(one)) != sizeof(one))
			die("client", -1);
		sum += one;
		close(result[i][0]);
	}
	close(go[0]);
	close(go[1]);
	return sum;
}

/* An SSD of one thread in the process that uses it, and in another for two at once. */
static void clients(double seconds, int turns)
{
	static const char spec[] = "vssd:ram,size=1G,lba=4096";
	char dir[] = "/tmp/bench-host-XXXXXX", name[64], why[256];
	struct snvme_vssd_server *server;
	struct reader r;
	int ready[2];
	pid_t pid;

	if (!mkdtemp(dir) || pipe(ready))
		die("mkdtemp", -errno);
	pid = fork();
	if (pid < 0)
		die("fork", -errno);
	if (!pid) {
		end_with_parent();
		if (snvme_vssd_serve(spec, dir, &server, why, sizeof(why)) || write(ready[1], "!", 1) != 1)
			_exit(1);
		pause();
	}
	close(ready[1]);
	if (read(ready[0], why, 1) != 1)
		die("serve", -1);
	snprintf(name, sizeof(name), "vfio-user:%s", dir);
	reader_open(&r, name, DEPTH);
	fill(&r);
	snvme_close(r.ctrl);
	reader_open(&r, spec, DEPTH);
	fill(&r);
	for (int turn = 0; turn < turns; turn++) {
		double start;
		uint64_t n;

		/* The other's thread would look for work for a second. */
		kill(pid, SIGSTOP);
		start = now();
		n = random_reads(&r, seconds, 0, 1);
		printf("row two-processes-randread-4k in-process iops %.0f 1/s\n", (double)n / (now() - start));
		kill(pid, SIGCONT);
		printf("row two-processes-randread-4k vfio-user iops %.0f 1/s\n", two_clients(dir, seconds));
		fflush(stdout);
	}
	snvme_close(r.ctrl);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	snprintf(name, sizeof(name), "%s/cntrl", dir);
	unlink(name);
	rmdir(dir);
}

/* Threads that keep @inflight reads going between them, each of any slot that it reaps, until @stop. */
struct crew {
	struct snvme_io io[DEPTH];
	uint32_t inflight;
	uint32_t stop;
};

struct hand {
	pthread_t thread;
	struct crew *crew;
	struct snvme_queue *const *queues;
	unsigned int count;
	uint64_t x;
	uint64_t done;
};

/* Commands @io[0 .. @n - 1], where there is room for them. */
static void send(struct snvme_queue *queue, const struct snvme_io *io, uint32_t n)
{
	int ret = snvme_submit(queue, io, n);

	if (ret != (int)n)
		die("submit", ret);
}

static void *keep_going(void *arg)
{
	struct hand *h = arg;
	struct crew *crew = h->crew;
	struct snvme_completion out[BATCH];
	struct snvme_io again[BATCH];
	unsigned int next_queue = 0;
	double quiet = 0;

	while (__atomic_load_n(&crew->inflight, __ATOMIC_RELAXED)) {
		int n = snvme_wait_any(h->queues, h->count, &next_queue, out, BATCH, 1000000);

		/* The last may be the other thread's. */
		if (n == -ETIMEDOUT && (!quiet || now() - quiet < LOST_S)) {
			if (!quiet)
				quiet = now();
			continue;
		}
		if (n < 0)
			die("wait", n);
		quiet = 0;
		for (int i = 0; i < n; i++) {
			struct snvme_io *io = &crew->io[out[i].user];

			if (out[i].status)
				die("read", out[i].status);
			io->slba = next(&h->x) % BLOCKS;
			again[i] = *io;
		}
		h->done += (unsigned int)n;
		if (__atomic_load_n(&crew->stop, __ATOMIC_RELAXED))
			__atomic_fetch_sub(&crew->inflight, (uint32_t)n, __ATOMIC_RELAXED);
		else
			send(out[0].queue, again, (uint32_t)n);
	}
	return NULL;
}

/* Reads per second of @threads, each with @count queues, all its own or the same. */
static double way(struct reader *r, double seconds, uint32_t threads, uint32_t queues, uint32_t count)
{
	struct snvme_queue_opts opts = { .size = sizeof(opts), .depth = DEPTH / queues,
		.flags = threads * count > queues ? SNVME_QUEUE_SHARED : 0 };
	struct crew crew = { .inflight = DEPTH };
	struct snvme_queue *queue[4];
	struct hand hand[2];
	uint64_t done = 0, x = 1;
	double start;
	int ret;

	for (uint32_t i = 0; i < queues; i++) {
		ret = snvme_queue_create(r->ctrl, &opts, &queue[i]);
		if (ret)
			die("queue", ret);
	}
	for (uint32_t i = 0; i < DEPTH; i++)
		crew.io[i] = (struct snvme_io){ .opcode = SNVME_OP_READ, .nsid = 1, .nlb = 1, .length = BLOCK,
			.mem = r->mem, .offset = i * BLOCK, .slba = next(&x) % BLOCKS, .user = i };
	start = now();
	for (uint32_t i = 0; i < queues; i++)
		send(queue[i], &crew.io[i * (DEPTH / queues)], DEPTH / queues);
	for (uint32_t i = 0; i < threads; i++) {
		hand[i] = (struct hand){ .crew = &crew, .count = count, .x = i + 7,
					 .queues = queue + (queues > 1 ? i : 0) };
		pthread_create(&hand[i].thread, NULL, keep_going, &hand[i]);
	}
	/* What is measured is what they do meanwhile. */
	nanosleep(&(struct timespec){ (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) }, NULL);
	__atomic_store_n(&crew.stop, 1, __ATOMIC_RELAXED);
	for (uint32_t i = 0; i < threads; i++) {
		pthread_join(hand[i].thread, NULL);
		done += hand[i].done;
	}
	start = now() - start;
	for (uint32_t i = 0; i < queues; i++)
		snvme_queue_destroy(queue[i]);
	return (double)done / start;
}

static void ways(double seconds, int turns)
{
	static const struct {
		const char *who;
		uint32_t threads, queues, count;
	} list[] = {
		{ "one-thread", 1, 1, 1 }, { "two-threads-one-queue", 2, 1, 1 },
		{ "two-threads-two-queues", 2, 2, 1 }, { "one-thread-four-queues", 1, 4, 4 },
	};
	struct reader r;

	reader_open(&r, "vssd:ram,size=1G,lba=4096", DEPTH);
	fill(&r);
	for (int turn = 0; turn < turns; turn++)
		for (unsigned int i = 0; i < sizeof(list) / sizeof(*list); i++) {
			printf("row ways-randread-4k %s iops %.0f 1/s\n", list[i].who,
			       way(&r, seconds, list[i].threads, list[i].queues, list[i].count));
			fflush(stdout);
		}
	snvme_close(r.ctrl);
}

int main(int argc, char **argv)
{
	struct reader r;

	if (argc == 4 && !strcmp(argv[1], "rate")) {
		rate(atof(argv[2]), atoi(argv[3]));
		return 0;
	}
	if (argc == 4 && !strcmp(argv[1], "clients")) {
		clients(atof(argv[2]), atoi(argv[3]));
		return 0;
	}
	if (argc == 4 && !strcmp(argv[1], "ways")) {
		ways(atof(argv[2]), atoi(argv[3]));
		return 0;
	}
	if (argc == 4 && !strcmp(argv[1], "count")) {
		reader_open(&r, argv[3], 32);
		random_reads(&r, 0, strtoull(argv[2], NULL, 10), 0);
		snvme_close(r.ctrl);
		return 0;
	}
	fprintf(stderr, "usage: host rate SECONDS TURNS | clients SECONDS TURNS | ways SECONDS TURNS | count COMMANDS SPEC\n");
	return 2;
}
