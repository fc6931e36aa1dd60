// SPDX-License-Identifier: MIT
/* Several threads on one queue, one thread on several queues, and what waiting costs. */
#include "tap.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <time.h>

#include <snvme/snvme.h>

#include "hal.h"

#define THREADS	4
#define ROUNDS	500
#define AT_ONCE	4		/* commands of one thread in flight */
#define BLOCK	4096
#define ROOM	64		/* blocks of each thread's own */

static struct snvme_ctrl *must_open(const char *name)
{
	struct snvme_ctrl *ctrl;

	if (!is(snvme_open(name, &ctrl), 0, "open %s", name)) {
		printf("Bail out! it does not open\n");
		exit(1);
	}
	return ctrl;
}

static struct snvme_queue *must_queue(struct snvme_ctrl *ctrl, struct snvme_queue_opts opts)
{
	struct snvme_queue *queue;

	opts.size = sizeof(opts);
	if (snvme_queue_create(ctrl, &opts, &queue)) {
		printf("Bail out! no queue\n");
		exit(1);
	}
	return queue;
}

/* ---- several threads, one queue ------------------------------------------------------------- */

/* A command of one thread, which any of them may see end: @user of its completion. */
struct op {
	uint32_t ended;
	int status;
};

struct worker {
	pthread_t thread;
	struct snvme_queue *queue;
	struct snvme_mem *mem;
	uint32_t index;
	uint64_t reaped;
	uint32_t looks;
	uint32_t at_work;
	struct op op[AT_ONCE];		/* of a dead queue's commands others may still tell */
	uint64_t found_full;
	int wrong;
};

/* By each of the calls that reap. */
static int reap(struct worker *w)
{
	struct snvme_completion out[AT_ONCE];
	unsigned int next = 0;
	int n = 0;

	switch (w->looks++ % 3) {
	case 0:
		n = snvme_poll(w->queue, out, AT_ONCE);
		break;
	case 1:
		n = snvme_wait(w->queue, out, AT_ONCE, 1000);
		break;
	default:
		n = snvme_wait_any(&w->queue, 1, &next, out, AT_ONCE, 0);
	}
	if (n == -ETIMEDOUT)
		return 0;

	for (int i = 0; i < n; i++) {
		struct op *op = (struct op *)(uintptr_t)out[i].user;

		op->status = out[i].status;
		SNV_STORE_RELEASE(&op->ended, 1);
		w->reaped++;
	}
	return n < 0 ? n : 0;
}

/* AT_ONCE commands at once, and until the last of them has ended, whoever sees it. */
static int carry_out(struct worker *w, uint8_t opcode, const uint64_t *block)
{
	struct op *op = w->op;
	struct snvme_io io[AT_ONCE];
	uint32_t sent = 0;
	int ret = 0;

	memset(op, 0, sizeof(w->op));
	for (uint32_t i = 0; i < AT_ONCE; i++)
		io[i] = (struct snvme_io){
			.opcode = opcode, .nsid = 1, .nlb = 1, .length = BLOCK, .mem = w->mem,
			.slba = w->index * ROOM + block[i], .offset = (w->index * AT_ONCE + i) * BLOCK,
			.user = (uintptr_t)&op[i],
		};
	while (sent < AT_ONCE && !ret) {
		int n = snvme_submit(w->queue, io + sent, AT_ONCE - sent);

		w->found_full += n != (int)(AT_ONCE - sent);
		if (n > 0)
			sent += (uint32_t)n;
		else if (n != -EAGAIN)
			return n;
		if (sent < AT_ONCE)
			ret = reap(w);
	}
	for (uint32_t i = 0, spins = 0; i < sent && !ret; i++) {
		while (!SNV_LOAD_ACQUIRE(&op[i].ended) && !ret) {
			ret = reap(w);
			snv_thread_relax(spins++);
		}
		if (!ret)
			ret = op[i].status;
	}
	return ret;
}

static uint32_t stop;

/* Reads, until it is told to stop, or the queue is dead. */
static void *read_on(void *arg)
{
	struct worker *w = arg;
	const uint64_t block[AT_ONCE] = { 0, 1, 2, 3 };

	while (!SNV_LOAD_ACQUIRE(&stop) && !w->wrong) {
		w->wrong = carry_out(w, SNVME_OP_READ, block);
		SNV_STORE_RELEASE(&w->at_work, 1);
	}
	return NULL;
}

static void start(struct worker *worker, struct snvme_queue *queue, struct snvme_mem *mem)
{
	SNV_STORE_RELEASE(&stop, 0);
	for (uint32_t i = 0; i < 2; i++) {
		worker[i] = (struct worker){ .queue = queue, .mem = mem, .index = i };
		pthread_create(&worker[i].thread, NULL, read_on, &worker[i]);
	}
	for (uint32_t i = 0, spins = 0; i < 2; i++)
		while (!SNV_LOAD_ACQUIRE(&worker[i].at_work))
			snv_thread_relax(spins++);
}

/* Queues come and go on a completion queue that others look at; the controller is reset under them. */
static void test_beside(const char *name)
{
	static struct op op[200];
	struct snvme_ctrl *ctrl = must_open(name);
	struct snvme_queue_opts opts = { .size = sizeof(opts), .depth = 2, .flags = SNVME_QUEUE_SHARED };
	struct snvme_queue *queue, *other;
	struct worker worker[2];
	struct snvme_mem *mem;
	uint32_t failed = 0;

	queue = must_queue(ctrl, (struct snvme_queue_opts){ .depth = 8, .cq_entries = 64,
							    .flags = SNVME_QUEUE_SHARED });
	snvme_mem_alloc(ctrl, (2 * AT_ONCE + 1) * BLOCK, &mem);
	opts.share_cq = queue;
	start(worker, queue, mem);
	for (uint32_t i = 0; i < 200; i++) {
		struct snvme_io io = { .opcode = SNVME_OP_READ, .nsid = 1, .nlb = 1, .length = BLOCK, .mem = mem,
				       .offset = 2 * AT_ONCE * BLOCK, .user = (uintptr_t)&op[i] };

		failed += snvme_queue_create(ctrl, &opts, &other) != 0;
		failed += snvme_submit(other, &io, 1) != 1;
		/* Every other one goes with its command, of which then nothing may come. */
		for (uint32_t spins = 0; i % 2 && !SNV_LOAD_ACQUIRE(&op[i].ended); spins++)
			snv_thread_relax(spins);
		failed += snvme_abort(other, 1) != -ENOENT;
		failed += snvme_queue_destroy(other) != 0;
	}
	SNV_STORE_RELEASE(&stop, 1);
	for (int i = 0; i < 2; i++) {
		pthread_join(worker[i].thread, NULL);
		is(worker[i].wrong, 0, "thread %d read on", i);
	}
	is(failed, 0, "200 queues came and went beside them");
	for (int turn = 0; turn < 20; turn++) {
		failed += snvme_queue_renew(queue) != 0;
		start(worker, queue, mem);
		failed += snvme_reset(ctrl) != 0;
		for (int i = 0; i < 2; i++) {
			pthread_join(worker[i].thread, NULL);
			failed += worker[i].wrong != -ECONNRESET;
		}
	}
	is(failed, 0, "20 resets, of which both heard");
	snvme_close(ctrl);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t x = w->index * 77 + 1;
	char *buf = (char *)snvme_mem_addr(w->mem) + w->index * AT_ONCE * BLOCK;

	for (int round = 0; round < ROUNDS && !w->wrong; round++) {
		uint64_t block[AT_ONCE];

		for (uint32_t i = 0; i < AT_ONCE; i++) {
			x = x * 6364136223846793005ULL + 1442695040888963407ULL;
			block[i] = i * (ROOM / AT_ONCE) + (x >> 33) % (ROOM / AT_ONCE);
			memset(buf + i * BLOCK, (int)(w->index * 50 + (block[i] ^ (uint64_t)round)), BLOCK);
		}
		w->wrong = carry_out(w, SNVME_OP_WRITE, block);
		memset(buf, 0xee, AT_ONCE * BLOCK);
		if (!w->wrong)
			w->wrong = carry_out(w, SNVME_OP_READ, block);
		for (uint32_t i = 0; i < AT_ONCE * BLOCK && !w->wrong; i++)
			if (buf[i] != (char)(w->index * 50 + (block[i / BLOCK] ^ (uint64_t)round)))
				w->wrong = -EILSEQ;
	}
	return NULL;
}

/* Of @queues, which report to one completion queue, each thread uses one. */
static void test_shared(const char *name, uint32_t depth, int queues)
{
	struct snvme_ctrl *ctrl = must_open(name);
	struct snvme_queue *queue[2];
	struct worker worker[THREADS] = { 0 };
	struct snvme_mem *mem;
	uint64_t reaped = 0, full = 0;

	queue[0] = must_queue(ctrl, (struct snvme_queue_opts){
		.depth = depth, .cq_entries = 2 * depth + 1, .flags = SNVME_QUEUE_SHARED });
	if (queues == 2)
		queue[1] = must_queue(ctrl, (struct snvme_queue_opts){
			.depth = depth, .share_cq = queue[0], .flags = SNVME_QUEUE_SHARED });
	snvme_mem_alloc(ctrl, THREADS * AT_ONCE * BLOCK, &mem);
	for (uint32_t i = 0; i < THREADS; i++) {
		worker[i] = (struct worker){ .queue = queue[i % (uint32_t)queues], .mem = mem, .index = i };
		pthread_create(&worker[i].thread, NULL, work, &worker[i]);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(worker[i].thread, NULL);
		is(worker[i].wrong, 0, "thread %d: all that it wrote came back", i);
		reaped += worker[i].reaped;
		full += worker[i].found_full;
	}
	is(reaped, 2ULL * ROUNDS * AT_ONCE * THREADS, "each command ended once");
	if (depth < THREADS * AT_ONCE / (uint32_t)queues)
		ok(full > 0, "the queue was full at times");
	snvme_close(ctrl);
}

static void test_rules(void)
{
	struct snvme_ctrl *ctrl = must_open("vssd:ram,size=1M,lba=4096");
	struct snvme_queue *one, *shared, *none;
	struct snvme_queue_opts opts = { .size = sizeof(opts), .depth = 2 };
	struct snvme_mem *mem;

	one = must_queue(ctrl, (struct snvme_queue_opts){ .depth = 2, .cq_entries = 9 });
	shared = must_queue(ctrl, (struct snvme_queue_opts){ .depth = 2, .cq_entries = 9,
							     .flags = SNVME_QUEUE_SHARED });
	opts.share_cq = shared;
	is(snvme_queue_create(ctrl, &opts, &none), -EINVAL, "one thread's queue on a completion queue of several");
	opts.share_cq = one;
	opts.flags = SNVME_QUEUE_SHARED;
	is(snvme_queue_create(ctrl, &opts, &none), -EINVAL, "nor the other way");
	snvme_mem_alloc(ctrl, BLOCK, &mem);
	is(snvme_read(shared, 1, snvme_mem_addr(mem), BLOCK, 0), -EINVAL, "no synchronous calls on it: read");
	is(snvme_write(shared, 1, snvme_mem_addr(mem), BLOCK, 0), -EINVAL, "write");
	is(snvme_flush(shared, 1), -EINVAL, "flush");
	is(snvme_abort(shared, 1), -ENOENT, "nothing to abort");
	snvme_close(ctrl);
}

/* ---- one thread, several queues ------------------------------------------------------------- */

static int read_block(struct snvme_queue *queue, struct snvme_mem *mem, uint64_t user)
{
	struct snvme_io io = {
		.opcode = SNVME_OP_READ, .nsid = 1, .nlb = 1, .length = BLOCK, .mem = mem, .user = user,
	};

	return snvme_submit(queue, &io, 1);
}

static void test_any(void)
{
	struct snvme_ctrl *ctrl[2] = { must_open("vssd:ram,size=1M,lba=4096"),
				       must_open("vssd:ram,size=1M,lba=4096,threads=0") };
	struct snvme_queue *queue[3];
	struct snvme_completion out[8];
	struct snvme_mem *mem[2];
	unsigned int next = 0, seen[3] = { 0 };
	int n;

	for (int i = 0; i < 2; i++)
		snvme_mem_alloc(ctrl[i], BLOCK, &mem[i]);
	for (int i = 0; i < 3; i++)
		queue[i] = must_queue(ctrl[i % 2], (struct snvme_queue_opts){ .depth = 8 });
	is(snvme_wait_any(queue, 3, &next, out, 8, 0), -ETIMEDOUT, "nothing anywhere");
	is(next, 0, "after a look at all");
	next = 3;
	is(snvme_wait_any(queue, 3, &next, out, 8, 0), -EINVAL, "no such queue");
	next = 0;
	is(snvme_wait_any(queue, 0, &next, out, 8, 0), -EINVAL, "no queue at all");
	is(snvme_wait_any(queue, 3, &next, out, 0, 0), -EINVAL, "no room");
	for (unsigned int i = 0; i < 3; i++) {
		is(read_block(queue[i], mem[i % 2], i), 1, "a read from queue %u", i);
		is(snvme_wait_any(queue, 3, &next, out, 8, -1), 1, "is found");
		ok(out[0].user == i && out[0].queue == queue[i] && !out[0].status, "it is that");
		is(next, (i + 1) % 3, "the next in turn is the one behind it");
	}
	/* As much as there can be in each, taken one by one: each has its turn. */
	for (int i = 0; i < 3; i++)
		for (int j = 0; j < 8; j++)
			read_block(queue[i], mem[i % 2], 0);
	for (int i = 0; i < 24; i++) {
		n = snvme_wait_any(queue, 3, &next, out, 1, -1);
		if (n != 1)
			break;
		for (int q = 0; q < 3; q++)
			seen[q] += out[0].queue == queue[q];
	}
	ok(seen[0] == 8 && seen[1] == 8 && seen[2] == 8, "all of all: %u, %u, %u", seen[0], seen[1], seen[2]);
	is(snvme_reset(ctrl[1]), 0, "one controller is reset");
	read_block(queue[2], mem[0], 5);
	next = 0;
	n = snvme_wait_any(queue, 3, &next, out, 8, -1);
	is(n == 1 ? snvme_wait_any(queue, 3, &next, out, 8, -1) : n, -ECONNRESET, "its queue is dead");
	is(next, 1, "that one");
	is(snvme_queue_renew(queue[1]), 0, "made anew");
	is(read_block(queue[1], mem[1], 6), 1, "a read from it");
	is(snvme_wait_any(queue, 3, &next, out, 8, -1), 1, "is found");
	for (int i = 0; i < 2; i++)
		snvme_close(ctrl[i]);
}

/* ---- waiting -------------------------------------------------------------------------------- */

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void test_patience(void)
{
	struct snvme_ctrl *ctrl = must_open("vssd:ram,size=1M");
	struct snvme_queue *queue = must_queue(ctrl, (struct snvme_queue_opts){ .depth = 2 });
	uint64_t wall = clock_ns(CLOCK_MONOTONIC), busy = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	struct snvme_completion out;

	is(snvme_wait(queue, &out, 1, 500000000), -ETIMEDOUT, "half a second in vain");
	wall = clock_ns(CLOCK_MONOTONIC) - wall;
	busy = clock_ns(CLOCK_THREAD_CPUTIME_ID) - busy;
	ok(wall >= 500000000, "which it was: %llu ms", (unsigned long long)wall / 1000000);
	ok(busy < wall / 2, "this processor was busy with it for %llu ms", (unsigned long long)busy / 1000000);
	snvme_close(ctrl);
}

int main(void)
{
	test_shared("vssd:ram,size=1M,lba=4096", 64, 1);
	test_shared("vssd:ram,size=1M,lba=4096", 5, 1);
	test_shared("vssd:ram,size=1M,lba=4096,threads=2", 7, 2);
	test_shared("vssd:ram,size=1M,lba=4096,threads=0", 3, 1);
	test_beside("vssd:ram,size=1M,lba=4096");
	test_beside("vssd:ram,size=1M,lba=4096,threads=0");
	test_rules();
	test_any();
	test_patience();
	return done();
}
