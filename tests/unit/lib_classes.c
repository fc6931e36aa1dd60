// SPDX-License-Identifier: MIT
/*
 * Classes of queues on a controller of one's own: how long one command waits alone, beside a flood, and beside a
 * flood of a lower class. The virtual SSD takes as many commands as it works on at once, and each takes it 10
 * milliseconds and more, so that a busy machine changes little.
 */
#include "tap.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include <snvme/snvme.h>

#define BLOCK	4096
#define FLOODS	24	/* queues */
#define DEPTH	24	/* of each */
#define SAMPLES	100
#define FIRST	10	/* samples before those, while what was there before ends */

static struct snvme_ctrl *ctrl;
static struct snvme_mem *mem;

static char config[] = "vssd:config=/tmp/snvme-classes-XXXXXX";

static void write_config(const char *json)
{
	char *path = strchr(config, '=') + 1;
	int fd = mkstemp(path);

	if (fd < 0 || write(fd, json, strlen(json)) != (ssize_t)strlen(json))
		exit(1);
	close(fd);
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static struct snvme_queue *make(uint32_t depth, uint32_t class)
{
	struct snvme_queue_opts opts = { .size = sizeof(opts), .depth = depth, .flags = class };
	struct snvme_queue *queue = NULL;

	if (!is(snvme_queue_create(ctrl, &opts, &queue), 0, "a queue of class %u", class))
		exit(1);
	return queue;
}

/* A read of some length, at @slot of the memory. */
static bool submit(struct snvme_queue *queue, uint32_t slot, uint32_t blocks)
{
	struct snvme_io io = { .opcode = SNVME_OP_READ, .nsid = 1, .nlb = blocks, .slba = slot,
			       .length = (uint64_t)blocks * BLOCK, .mem = mem, .user = slot };

	return snvme_submit(queue, &io, 1) == 1;
}

/* As many commands as the queues of @flood take, if there are any. */
static void pour(struct snvme_queue **flood)
{
	static uint32_t n;
	struct snvme_completion done[DEPTH];

	for (uint32_t i = 0; flood && i < FLOODS; i++) {
		while (snvme_poll(flood[i], done, DEPTH) > 0)
			;
		/* Of many lengths, so that they do not end all at once. */
		while (submit(flood[i], n % 64, 1 + n % 29))
			n++;
	}
}

/* The 99th percentile of single reads, in microseconds. */
static double p99(struct snvme_queue *queue, struct snvme_queue **flood)
{
	uint64_t ns[SAMPLES];

	for (uint32_t i = 0; i < FIRST + SAMPLES; i++) {
		struct snvme_completion done;
		uint64_t start;

		pour(flood);
		start = now();
		if (!submit(queue, 0, 1))
			return -1;
		while (!snvme_poll(queue, &done, 1))
			pour(flood);
		if (i >= FIRST)
			ns[i - FIRST] = now() - start;
	}
	qsort(ns, SAMPLES, sizeof(*ns), compare);
	return (double)ns[SAMPLES * 99 / 100 - 1] / 1000;
}

static void make_flood(struct snvme_queue **flood, uint32_t class)
{
	for (uint32_t i = 0; i < FLOODS; i++)
		flood[i] = make(DEPTH, class);
}

static void end_flood(struct snvme_queue **flood)
{
	for (uint32_t i = 0; i < FLOODS; i++)
		snvme_queue_destroy(flood[i]);
}

/* Ten times, unless it comes out as it should before: a busy machine may be late by itself. */
static void test_classes(void)
{
	struct snvme_queue *urgent, *medium, *flood[FLOODS];
	double alone = 0, beside = 0, above = 1;

	write_config("{ \"threads\": 1, \"max_inflight\": 16,"
		     "  \"timing\": { \"model\": \"fixed\", \"units\": 16, \"read_ns\": 10000000, \"bytes_per_us\": 10 },"
		     "  \"controller\": { \"wrr\": true },"
		     "  \"namespaces\": [ { \"ram\": \"16M\", \"lba\": 4096 } ] }");
	if (!is(snvme_open(config, &ctrl), 0, "an SSD that has classes"))
		exit(1);
	is(snvme_mem_alloc(ctrl, 64 * BLOCK, &mem), 0, "memory");
	urgent = make(1, SNVME_QUEUE_URGENT);
	medium = make(1, SNVME_QUEUE_MEDIUM);
	for (int turn = 0; turn < 10 && (beside <= 1.5 * above || above > 2 * alone); turn++) {
		alone = p99(urgent, NULL);
		make_flood(flood, SNVME_QUEUE_MEDIUM);
		beside = p99(medium, flood);
		end_flood(flood);
		make_flood(flood, SNVME_QUEUE_LOW);
		above = p99(urgent, flood);
		end_flood(flood);
		diag("p99 of a read: alone %.1f ms, beside a flood of its class %.1f ms, urgent beside a low one %.1f ms",
		     alone / 1000, beside / 1000, above / 1000);
	}
	ok(beside > 1.5 * above, "a flood delays others of its class");
	ok(above <= 2 * alone, "and hardly those of the urgent one");
	snvme_close(ctrl);
	unlink(strchr(config, '=') + 1);
}

static void test_refused(void)
{
	struct snvme_queue_opts opts = { .size = sizeof(opts), .flags = SNVME_QUEUE_HIGH };
	struct snvme_queue *queue;

	if (!is(snvme_open("vssd:ram,size=1M,wrr=0", &ctrl), 0, "an SSD that has none"))
		return;
	is(snvme_queue_create(ctrl, &opts, &queue), -EOPNOTSUPP, "a queue of a class");
	opts.flags = SNVME_QUEUE_CMB << 1;
	is(snvme_queue_create(ctrl, &opts, &queue), -EINVAL, "a flag that there is not");
	opts.flags = SNVME_QUEUE_MEDIUM;
	is(snvme_queue_create(ctrl, &opts, &queue), 0, "a queue like others");
	snvme_close(ctrl);
}

int main(void)
{
	test_classes();
	test_refused();
	return done();
}
