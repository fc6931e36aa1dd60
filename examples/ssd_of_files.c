// SPDX-License-Identifier: MIT
/*
 * A directory of files as a virtual SSD, used by two threads at once: one writes and verifies through
 * synchronous calls, one keeps a queue full; commands fail, are late, or never end on the way. Then
 * the write cliff of a flash SSD, as a table.
 *
 *	ssd_of_files CONFIG.json NAMESPACES	the two threads; NAMESPACES files are only read
 *	ssd_of_files cliff NAME			fill NAME and overwrite it at random
 *
 * CONFIG: the files to read are the namespaces 1 .. NAMESPACES, then come two to write.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <snvme/snvme.h>

#define PIECE	65536UL
#define DEPTH	32
#define ROUNDS	4

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static void die(const char *what, int ret)
{
	fprintf(stderr, "ssd_of_files: %s: %s\n", what, snvme_strerror(ret));
	exit(1);
}

/* What one thread has done. */
struct tally {
	struct snvme_ctrl *ctrl;
	uint32_t nsid;
	uint64_t blocks;
	uint64_t again;		/* commands that failed, or had to be aborted, and were repeated */
	uint64_t wrong;
};

/* Every word of a block tells the block and the round. */
static void stamp(uint64_t *buf, size_t length, uint64_t at, uint64_t round)
{
	for (size_t i = 0; i < length / 8; i++)
		buf[i] = (at + i * 8) / 512 << 8 | round;
}

static uint64_t check(const uint64_t *buf, size_t length, uint64_t at, uint64_t round)
{
	uint64_t wrong = 0;

	for (size_t i = 0; i < length / 8; i++)
		wrong += buf[i] != ((at + i * 8) / 512 << 8 | round);
	return wrong;
}

static struct snvme_queue *queue(struct snvme_ctrl *ctrl)
{
	struct snvme_queue_opts opts = { .size = sizeof(opts), .depth = DEPTH };
	struct snvme_queue *q;
	int ret = snvme_queue_create(ctrl, &opts, &q);

	if (ret)
		die("queue", ret);
	return q;
}

static struct snvme_mem *memory(struct snvme_ctrl *ctrl, size_t length)
{
	struct snvme_mem *mem;
	int ret = snvme_mem_alloc(ctrl, length, &mem);

	if (ret)
		die("memory", ret);
	return mem;
}

/* Write a piece, read it back, compare; again when a command fails, as any may. */
static void *synchronous(void *arg)
{
	struct tally *t = arg;
	struct snvme_queue *q = queue(t->ctrl);
	struct snvme_mem *mem = memory(t->ctrl, PIECE);
	uint64_t *buf = snvme_mem_addr(mem);
	struct snvme_ns_info ns;
	int ret = snvme_get_ns(t->ctrl, t->nsid, &ns);

	if (ret)
		die("namespace", ret);
	for (uint64_t round = 1; round <= ROUNDS; round++)
		for (uint64_t at = 0; at < ns.blocks * ns.lba_size; at += PIECE) {
			stamp(buf, PIECE, at, round);
			while ((ret = snvme_write(q, t->nsid, buf, PIECE, at)) > 0)
				t->again++;
			memset(buf, 0xee, PIECE);
			if (!ret)
				while ((ret = snvme_read(q, t->nsid, buf, PIECE, at)) > 0)
					t->again++;
			if (ret)
				die("synchronous", ret);
			t->wrong += check(buf, PIECE, at, round);
			t->blocks += PIECE / ns.lba_size;
		}
	while ((ret = snvme_flush(q, t->nsid)) > 0)
		t->again++;
	snvme_queue_destroy(q);
	snvme_mem_release(mem);
	return NULL;
}

/* All blocks of 4 KiB, in @opcode's direction, DEPTH in flight; what fails is submitted again. */
static void pass(struct tally *t, struct snvme_queue *q, struct snvme_mem *mem, uint8_t opcode,
		 uint32_t lba_size, uint64_t size, uint64_t round)
{
	struct snvme_completion out[DEPTH];
	struct snvme_io io[DEPTH];
	uint64_t next = 0, inflight = 0;
	char *base = snvme_mem_addr(mem);

	for (uint64_t i = 0; i < DEPTH || inflight; i++) {
		int n = 0, ret;

		if (i >= DEPTH) {
			n = snvme_wait(q, out, DEPTH, 200000000);
			/* A second without any: something hangs. Abort it; its completion follows. */
			if (n < 0) {
				for (uint64_t slot = 0; slot < DEPTH; slot++)
					snvme_abort(q, slot);
				continue;
			}
		}
		for (int k = 0; k < (n ? n : 1); k++) {
			uint64_t slot = n ? out[k].user : i;

			if (n && out[k].status) {
				t->again++;
				ret = snvme_submit(q, &io[slot], 1);
				if (ret != 1)
					die("submit", ret);
				continue;
			}
			if (n) {
				inflight--;
				if (opcode == SNVME_OP_READ)
					t->wrong += check((uint64_t *)(base + slot * 4096), 4096,
							  io[slot].slba * lba_size, round);
				t->blocks += 4096 / lba_size;
			}
			if (next >= size)
				continue;
			io[slot] = (struct snvme_io){ .opcode = opcode, .nsid = t->nsid,
				.nlb = 4096 / lba_size, .slba = next / lba_size, .length = 4096,
				.mem = mem, .offset = slot * 4096, .user = slot };
			if (opcode == SNVME_OP_WRITE)
				stamp((uint64_t *)(base + slot * 4096), 4096, next, round);
			else
				memset(base + slot * 4096, 0xee, 4096);
			ret = snvme_submit(q, &io[slot], 1);
			if (ret != 1)
				die("submit", ret);
			inflight++;
			next += 4096;
		}
	}
}

static void *asynchronous(void *arg)
{
	struct tally *t = arg;
	struct snvme_queue *q = queue(t->ctrl);
	struct snvme_mem *mem = memory(t->ctrl, DEPTH * 4096);
	struct snvme_ns_info ns;
	int ret = snvme_get_ns(t->ctrl, t->nsid, &ns);

	if (ret)
		die("namespace", ret);
	for (uint64_t round = 1; round <= ROUNDS; round++) {
		pass(t, q, mem, SNVME_OP_WRITE, ns.lba_size, ns.blocks * ns.lba_size, round);
		pass(t, q, mem, SNVME_OP_READ, ns.lba_size, ns.blocks * ns.lba_size, round);
	}
	snvme_queue_destroy(q);
	snvme_mem_release(mem);
	return NULL;
}

/* The whole of namespace @nsid, in one go, as a user of the files would read it. */
static uint64_t read_all(struct snvme_ctrl *ctrl, uint32_t nsid)
{
	struct snvme_queue *q = queue(ctrl);
	struct snvme_ns_info ns;
	struct snvme_mem *mem;
	uint64_t size;
	int ret = snvme_get_ns(ctrl, nsid, &ns);

	if (ret)
		die("namespace", ret);
	size = ns.blocks * ns.lba_size;
	mem = memory(ctrl, size);
	while ((ret = snvme_read(q, nsid, snvme_mem_addr(mem), size, 0)) > 0)
		;
	if (ret)
		die("read", ret);
	snvme_queue_destroy(q);
	snvme_mem_release(mem);
	return size;
}

static int files(const char *config, uint32_t namespaces)
{
	struct tally sync = { .nsid = namespaces + 1 }, async = { .nsid = namespaces + 2 };
	struct snvme_ctrl *ctrl;
	char name[4096];
	pthread_t a, b;
	uint64_t size = 0;
	double start = now();
	int ret;

	snprintf(name, sizeof(name), "vssd:config=%s", config);
	ret = snvme_open(name, &ctrl);
	if (ret) {
		char why[256] = "";

		snvme_vssd_check(name, why, sizeof(why));
		fprintf(stderr, "ssd_of_files: %s: %s\n", name, *why ? why : snvme_strerror(ret));
		return 1;
	}
	sync.ctrl = ctrl;
	async.ctrl = ctrl;
	pthread_create(&a, NULL, synchronous, &sync);
	pthread_create(&b, NULL, asynchronous, &async);
	for (uint32_t nsid = 1; nsid <= namespaces; nsid++)
		size += read_all(ctrl, nsid);
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	snvme_close(ctrl);
	printf("   %u files, %" PRIu64 " bytes, read as namespaces meanwhile\n", namespaces, size);
	printf("   synchronous thread:  %8" PRIu64 " blocks written and verified, %" PRIu64
	       " commands repeated, %" PRIu64 " wrong words\n", sync.blocks, sync.again, sync.wrong);
	printf("   asynchronous thread: %8" PRIu64 " blocks written or verified, %" PRIu64
	       " commands repeated, %" PRIu64 " wrong words\n", async.blocks, async.again, async.wrong);
	printf("   %.1f s\n", now() - start);
	if (!sync.again || !async.again) {
		fprintf(stderr, "ssd_of_files: no command failed: the faults did not work\n");
		return 1;
	}
	return sync.wrong || async.wrong;
}

/* Twice its size in random writes of 4 KiB: a row for each quarter. */
static int cliff(const char *name)
{
	struct snvme_completion out[DEPTH];
	uint64_t x = 88172645463325252ULL;
	struct snvme_ctrl *ctrl;
	struct snvme_queue *q;
	struct snvme_mem *mem;
	struct snvme_ns_info ns;
	double first = 0, rate = 0;
	uint64_t pieces;
	int ret = snvme_open(name, &ctrl);

	if (!ret)
		ret = snvme_get_ns(ctrl, 1, &ns);
	if (ret)
		die(name, ret);
	q = queue(ctrl);
	mem = memory(ctrl, DEPTH * 4096);
	pieces = ns.blocks * ns.lba_size / 4096;
	printf("   written, of its size     MB/s\n");
	for (int quarter = 1; quarter <= 10; quarter++) {
		uint64_t n = pieces / 4, done = 0, sent = 0;
		double start = now();

		while (done < n) {
			int k = 0;

			if (sent == n || sent - done == DEPTH) {
				k = snvme_wait(q, out, DEPTH, -1);
				if (k < 0)
					die("wait", k);
				done += (unsigned int)k;
			}
			for (; sent < n && sent - done < DEPTH; sent++) {
				struct snvme_io io = { .opcode = SNVME_OP_WRITE, .nsid = 1,
					.nlb = 4096 / ns.lba_size, .length = 4096, .mem = mem,
					.offset = sent % DEPTH * 4096 };

				x ^= x << 13;
				x ^= x >> 7;
				x ^= x << 17;
				/* The first time round in order: every block is in use then. */
				io.slba = (quarter <= 4 ? (uint64_t)(quarter - 1) * n + sent : x % pieces)
					* (4096 / ns.lba_size);
				ret = snvme_submit(q, &io, 1);
				if (ret != 1)
					die("submit", ret);
			}
		}
		rate = (double)n * 4096e-6 / (now() - start);
		if (quarter == 3)
			first = rate;
		printf("   %12d %%      %10.1f  %s\n", quarter * 25, rate,
		       quarter <= 4 ? "new, in order" : "overwritten at random");
	}
	snvme_close(ctrl);
	if (rate * 1.5 > first) {
		fprintf(stderr, "ssd_of_files: no cliff\n");
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "cliff"))
		return cliff(argv[2]);
	if (argc == 3 && atoi(argv[2]) > 0)
		return files(argv[1], (uint32_t)atoi(argv[2]));
	fprintf(stderr, "usage: ssd_of_files CONFIG.json NAMESPACES | cliff NAME\n");
	return 2;
}
