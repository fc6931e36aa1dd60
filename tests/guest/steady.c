// SPDX-License-Identifier: MIT
/*
 * steady DEV SECONDS OFFSET LENGTH SEED [NSID [BAD]]: an owner who lives through resets. Writes blocks of LENGTH bytes
 * of the disk from OFFSET on, each with its number and a count of its writes in every word, and reads
 * them back, many at once, in an order that SEED gives. When the controller is reset it waits for the
 * next life, makes its queue anew with one call, and goes on; what was being written then may be
 * there or not, and nothing else may be there. BAD is a logical block that cannot be read: that is what
 * the controller has to say, each time.
 *
 * Says "started" once commands flow, "again" when they do in a life after that, and as its last line what it did.
 * Ends with 0 after SECONDS or on SIGTERM; 4 when the controller is gone; 5 when memory was taken away; 1 on wrong
 * data or any error.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <snvme/snvme.h>

#define DEPTH	32
#define BYTES	4096
#define LOST_S	300		/* without what has to come, and it will not */
#define WORDS	(BYTES / 8)
/* Unrecovered Read Error: SCT 2, SC 81h (NVM Command Set 1.0 section 3). */
#define UNRECOVERED_READ	0x281

/*
 * @sure: the count that the block was last known to hold
 * @maybe: a later one that a reset may have kept from the disk, or @sure
 * @busy: a command on it is in flight
 */
struct block {
	uint32_t sure;
	uint32_t maybe;
	bool busy;
};

struct command {
	uint32_t block;
	uint32_t count;		/* that it writes; 0: it reads */
	bool bad;		/* the bad block */
	bool busy;
};

static struct {
	struct snvme_ctrl *ctrl;
	struct snvme_queue *queue;
	struct snvme_mem *mem;
	struct snvme_ns_info ns;
	uint64_t offset;
	uint32_t blocks, filled;
	struct block *block;
	struct command command[DEPTH];
	uint64_t bad, ios, lives, wrong, cut, errors;
	uint64_t random;
} me;

static volatile sig_atomic_t ended;

static void end(int sig)
{
	(void)sig;
	ended = 1;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* xorshift64 */
static uint32_t rnd(uint32_t below)
{
	me.random ^= me.random << 13;
	me.random ^= me.random >> 7;
	me.random ^= me.random << 17;
	return (uint32_t)(me.random >> 33) % below;
}

static uint64_t *buffer(uint32_t slot)
{
	return (uint64_t *)((char *)snvme_mem_addr(me.mem) + (size_t)slot * BYTES);
}

static uint64_t word(uint32_t block, uint32_t count)
{
	return (uint64_t)block << 32 | count;
}

static void stamp(uint32_t slot, uint32_t block, uint32_t count)
{
	uint64_t *at = buffer(slot);

	for (uint32_t i = 0; i < WORDS; i++)
		at[i] = word(block, count);
}

static bool holds(uint32_t slot, uint32_t block, uint32_t count)
{
	const uint64_t *at = buffer(slot);

	for (uint32_t i = 0; i < WORDS; i++)
		if (at[i] != word(block, count))
			return false;
	return true;
}

/* The bad block has no data, and no place among the others. */
static int submit_bad(uint32_t slot)
{
	struct snvme_io io = {
		.opcode = SNVME_OP_READ,
		.nsid = me.ns.nsid,
		.slba = me.bad,
		.nlb = 1,
		.length = me.ns.lba_size,
		.mem = me.mem,
		.offset = (uint64_t)slot * BYTES,
		.user = slot,
	};
	int ret = snvme_submit(me.queue, &io, 1);

	if (ret == 1)
		me.command[slot] = (struct command){ .bad = true, .busy = true };
	return ret;
}

/* 1, 0: no block is free now, or an errno. */
static int submit(uint32_t slot)
{
	struct command *c = &me.command[slot];
	bool fill = me.filled < me.blocks;
	uint32_t n = fill ? me.filled : rnd(me.blocks);
	struct block *b = &me.block[n];
	struct snvme_io io = {
		.nsid = me.ns.nsid,
		.slba = (me.offset + (uint64_t)n * BYTES) / me.ns.lba_size,
		.nlb = BYTES / me.ns.lba_size,
		.length = BYTES,
		.mem = me.mem,
		.offset = (uint64_t)slot * BYTES,
		.user = slot,
	};
	bool write;
	int ret;

	if (me.bad && !fill && !rnd(16))
		return submit_bad(slot);
	if (b->busy)
		return 0;
	/* What was never written is not read; what may be there or not is not written before that is known. */
	write = !b->sure || (b->sure == b->maybe && rnd(2));
	*c = (struct command){ .block = n, .count = write ? b->maybe + 1 : 0 };
	io.opcode = c->count ? SNVME_OP_WRITE : SNVME_OP_READ;
	if (c->count)
		stamp(slot, n, c->count);
	else
		memset(buffer(slot), 0xee, BYTES);
	ret = snvme_submit(me.queue, &io, 1);
	if (ret != 1)
		return ret;
	c->busy = true;
	c->bad = false;
	b->busy = true;
	me.filled += fill;
	return 1;
}

static void complete(uint32_t slot)
{
	struct command *c = &me.command[slot];
	struct block *b = &me.block[c->block];

	me.ios++;
	c->busy = false;
	b->busy = false;
	if (c->count) {
		b->sure = b->maybe = c->count;
	} else if (b->maybe != b->sure && holds(slot, c->block, b->maybe)) {
		b->sure = b->maybe;
	} else if (holds(slot, c->block, b->sure)) {
		b->maybe = b->sure;
	} else if (!me.wrong++) {
		printf("block %" PRIu32 " holds %#" PRIx64 ", not %" PRIu32 " or %" PRIu32 "\n", c->block,
		       *buffer(slot), b->sure, b->maybe);
	}
}

/* What was in flight has no completion any more. */
static void cut_off(void)
{
	for (uint32_t slot = 0; slot < DEPTH; slot++) {
		struct command *c = &me.command[slot];

		if (!c->busy)
			continue;
		c->busy = false;
		if (c->bad)
			continue;
		me.block[c->block].busy = false;
		me.cut++;
		if (c->count)
			me.block[c->block].maybe = c->count;
	}
}

/* Until the controller is live, then the queue anew. 0 or an errno. */
static int next_life(void)
{
	struct pollfd pfd = { .fd = snvme_event_fd(me.ctrl), .events = POLLIN };
	double deadline = now() + LOST_S;

	me.lives++;
	cut_off();
	while (now() < deadline) {
		struct snvme_ctrl_info info;
		int ret = snvme_get_info(me.ctrl, &info);

		if (ret)
			return ret;
		ret = info.live ? snvme_queue_renew(me.queue) : -EAGAIN;
		if (ret != -EAGAIN && ret != -ECONNRESET)
			return ret;
		poll(&pfd, 1, 1000);
	}
	return -ETIMEDOUT;
}

static int run(double until)
{
	struct snvme_completion done[DEPTH];
	double last = now();
	uint64_t said = 0;
	int ret = 0;

	while (!ended && (now() < until || !said) && !me.wrong) {
		for (uint32_t slot = 0; slot < DEPTH && ret >= 0; slot++)
			if (!me.command[slot].busy)
				ret = submit(slot);
		ret = ret < 0 ? ret : snvme_poll(me.queue, done, DEPTH);
		for (int i = 0; i < ret; i++) {
			struct command *c = &me.command[done[i].user];

			if (c->bad && done[i].status == UNRECOVERED_READ) {
				c->busy = false;
				me.errors++;
				continue;
			}
			if (c->bad || done[i].status) {
				printf("a command ended with %#x\n", (unsigned int)done[i].status);
				return -EIO;
			}
			complete((uint32_t)done[i].user);
		}
		if (ret > 0) {
			last = now();
			if (said != me.lives + 1)
				puts(me.lives ? "again" : "started");
			said = me.lives + 1;
		}
		if (ret == -ECONNRESET) {
			ret = next_life();
			last = now();
		}
		if (ret < 0)
			return ret;
		if (now() - last > LOST_S)
			return -ETIMEDOUT;
		ret = 0;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct snvme_queue_opts opts = { .size = sizeof(opts), .depth = DEPTH };
	struct pollfd pfd = { .events = POLLIN };
	int ret;

	if (argc < 6)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGTERM, end);
	me.offset = strtoull(argv[3], NULL, 0);
	me.blocks = (uint32_t)(strtoull(argv[4], NULL, 0) / BYTES);
	me.random = strtoull(argv[5], NULL, 0) * 2 + 1;
	me.bad = argc > 7 ? strtoull(argv[7], NULL, 0) : 0;
	me.block = calloc(me.blocks, sizeof(*me.block));
	ret = !me.block ? -ENOMEM : snvme_open(argv[1], &me.ctrl);
	if (!ret)
		ret = snvme_get_ns(me.ctrl, argc > 6 ? (uint32_t)atoi(argv[6]) : 0, &me.ns);
	if (!ret)
		ret = snvme_mem_alloc(me.ctrl, DEPTH * BYTES, &me.mem);
	if (!ret)
		ret = snvme_queue_create(me.ctrl, &opts, &me.queue);
	if (!ret)
		ret = run(now() + atof(argv[2]));
	/* Who is gone hangs up. */
	if (me.ctrl)
		pfd.fd = snvme_event_fd(me.ctrl);
	if (ret == -ENODEV && me.ctrl && (poll(&pfd, 1, 0) != 1 || !(pfd.revents & POLLHUP)))
		ret = -EPROTO;
	printf("%" PRIu64 " I/Os, %" PRIu64 " lives more, %" PRIu64 " cut off, %" PRIu64
	       " errors that were due, %" PRIu64 " mismatches%s%s\n",
	       me.ios, me.lives, me.cut, me.errors, me.wrong, ret ? ": " : "", ret ? snvme_strerror(ret) : "");
	snvme_close(me.ctrl);
	return ret == -ENODEV ? 4 : ret == -ECONNABORTED ? 5 : ret || me.wrong;
}
