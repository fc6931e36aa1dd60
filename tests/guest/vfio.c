// SPDX-License-Identifier: MIT
/*
 * vfio ADDRESS: a whole controller through vfio-pci. Its registers and grants, memory of many shapes mapped and
 * unmapped in any order, resets with commands in flight, and that the controller reaches nothing else.
 *
 * vfio mapped FILE: has a page of it mapped, and FILE not open, until it is killed.
 */
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"

#define BLOCK		4096
#define PIECES		200
#define RESETS		50
#define AREA		(256ULL << 20)	/* of the disk: [AREA, AREA + PIECES MiB) */

static struct snvme_ctrl *ctrl;
static char name[64];

/* xorshift64 */
static uint32_t rnd(uint32_t below)
{
	static uint64_t x = 88172645463325252ULL;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 32) % below;
}

static void fill(void *buf, size_t bytes, uint64_t seed)
{
	uint64_t *word = buf;

	for (size_t i = 0; i < bytes / 8; i++)
		word[i] = seed * 0x9e3779b97f4a7c15ULL + i;
}

static bool holds(const void *buf, size_t bytes, uint64_t seed)
{
	const uint64_t *word = buf;

	for (size_t i = 0; i < bytes / 8; i++)
		if (word[i] != seed * 0x9e3779b97f4a7c15ULL + i)
			return false;
	return true;
}

static struct snvme_queue *queue(uint32_t depth, uint32_t flags)
{
	struct snvme_queue_opts opts = { .size = sizeof(opts), .depth = depth, .flags = flags };
	struct snvme_queue *q;
	int ret = snvme_queue_create(ctrl, &opts, &q);

	if (!is(ret, 0, "a queue of %u", depth))
		exit(1);
	return q;
}

static void test_names(const char *pci)
{
	struct snvme_ctrl *other;
	char text[64];

	snprintf(text, sizeof(text), "vfio:%s0", pci);
	is(snvme_open(text, &other), -EINVAL, "no PCI address");
	is(snvme_open("vfio:", &other), -EINVAL, "nothing");
	is(snvme_open("vfio:/dev/nvme0", &other), -EINVAL, "a device node");
	is(snvme_open("vfio:ffff:ff:1f.7", &other), -ENOENT, "no such device");
	is(snvme_open("vfio:0000:00:00.0", &other), -EOPNOTSUPP, "the host bridge");
	is(snvme_open(name, &other), -EBUSY, "this one, once more");
}

static void test_info(const char *pci)
{
	struct snvme_ctrl_info info;

	is(snvme_get_info(ctrl, &info), 0, "info");
	is_str(info.name, "vfio", "its name");
	is_str(info.pci, pci, "its address");
	is(info.iommu, 1, "behind the IOMMU");
	is(info.shadow_doorbells, 0, "no shadow doorbells");
	is(info.driver_queues, 0, "no driver's queues");
	ok(info.granted_sq >= 8 && info.spare_sq == info.granted_sq, "all %u granted queues are ours",
	   info.granted_sq);
}

/* Pieces of memory come and go in any order; each is written to the disk and read back, verified. */
static void test_memory(struct snvme_queue *q)
{
	struct { struct snvme_mem *mem; size_t bytes; uint32_t seed; } piece[PIECES] = { 0 };
	uint64_t at = 0;
	uint32_t wrong = 0, failed = 0;

	for (uint32_t turn = 0; turn < 10 * PIECES; turn++) {
		uint32_t i = rnd(PIECES);

		if (piece[i].mem) {
			char *buf = snvme_mem_addr(piece[i].mem);

			/* What the disk has of it comes back into another place of the piece. */
			memset(buf, 0, piece[i].bytes);
			failed += snvme_read(q, 0, buf, piece[i].bytes, AREA + ((uint64_t)i << 20)) != 0;
			wrong += !holds(buf, piece[i].bytes, piece[i].seed);
			failed += snvme_mem_release(piece[i].mem) != 0;
			piece[i].mem = NULL;
			continue;
		}
		piece[i].bytes = BLOCK * (1 + (size_t)rnd(rnd(4) ? 8 : 256));
		piece[i].seed = turn + 1;
		if (snvme_mem_alloc(ctrl, piece[i].bytes, &piece[i].mem)) {
			failed++;
			continue;
		}
		fill(snvme_mem_addr(piece[i].mem), piece[i].bytes, piece[i].seed);
		failed += snvme_write(q, 0, snvme_mem_addr(piece[i].mem), piece[i].bytes, AREA + ((uint64_t)i << 20)) != 0;
		at += piece[i].bytes;
	}
	for (uint32_t i = 0; i < PIECES; i++)
		if (piece[i].mem)
			failed += snvme_mem_release(piece[i].mem) != 0;
	is(failed, 0, "memory mapped and unmapped %u times, %lu MiB through it", 10 * PIECES,
	   (unsigned long)(at >> 20));
	is(wrong, 0, "each piece came back as it was written");
}

/* The caller's own memory, of which neither end lies at a page's. */
static void test_register(struct snvme_queue *q)
{
	static char own[3 * BLOCK + 512] __attribute__((aligned(512)));
	struct snvme_mem *mem, *again;
	char *at = own + 256;

	is(snvme_mem_register(ctrl, at, 2 * BLOCK, &mem), 0, "a part of a program's own memory");
	is(snvme_mem_register(ctrl, at + 2 * BLOCK, 512, &again), 0, "another, in the same page");
	fill(at, 2 * BLOCK, 7);
	is(snvme_write(q, 0, at, 2 * BLOCK, AREA), 0, "written");
	memset(at, 0, 2 * BLOCK);
	is(snvme_read(q, 0, at, 2 * BLOCK, AREA), 0, "read");
	ok(holds(at, 2 * BLOCK, 7), "the same");
	is(snvme_mem_release(mem), 0, "the first goes");
	is(snvme_read(q, 0, at + 2 * BLOCK, 512, AREA), 0, "the other is still reached");
	is(snvme_read(q, 0, at, BLOCK, AREA), -EFAULT, "the first is not");
	snvme_mem_release(again);
}

/* Commands in flight when the controller is reset are lost; the queue is made anew, and the disk holds either. */
static void test_resets(struct snvme_queue *q, uint32_t resets)
{
	struct snvme_completion done[32];
	struct snvme_ns_info ns;
	struct snvme_mem *mem;
	uint32_t failed = 0, wrong = 0;
	struct snvme_ctrl_info info;
	uint64_t epoch;
	char *buf;

	snvme_get_info(ctrl, &info);
	epoch = info.epoch;
	snvme_get_ns(ctrl, 0, &ns);
	if (!is(snvme_mem_alloc(ctrl, 32 * BLOCK, &mem), 0, "memory"))
		return;
	buf = snvme_mem_addr(mem);
	for (uint32_t turn = 1; turn <= resets; turn++) {
		struct snvme_io io[31];
		uint32_t n = 31;

		for (uint32_t i = 0; i < n; i++) {
			fill(buf + i * BLOCK, BLOCK, turn * 100 + i);
			io[i] = (struct snvme_io){ .opcode = SNVME_OP_WRITE, .nsid = ns.nsid,
				.nlb = BLOCK / ns.lba_size, .slba = (AREA + (uint64_t)i * BLOCK) / ns.lba_size,
				.length = BLOCK, .mem = mem, .offset = (uint64_t)i * BLOCK, .user = i };
		}
		failed += snvme_submit(q, io, n) != (int)n;
		failed += snvme_reset(ctrl) != 0;
		while (snvme_poll(q, done, 32) > 0)
			;
		failed += snvme_poll(q, done, 32) != -ECONNRESET;
		failed += snvme_submit(q, io, 1) != -ECONNRESET;
		failed += snvme_queue_renew(q) != 0;
		failed += snvme_write(q, 0, buf, 31 * BLOCK, AREA) != 0;
		memset(buf, 0, 31 * BLOCK);
		failed += snvme_read(q, 0, buf, 31 * BLOCK, AREA) != 0;
		for (uint32_t i = 0; i < n; i++)
			wrong += !holds(buf + i * BLOCK, BLOCK, turn * 100 + i);
	}
	is(failed, 0, "%u resets with 31 writes in flight", resets);
	is(wrong, 0, "all that was written after each");
	is(snvme_get_info(ctrl, &info), 0, "info");
	is(info.epoch, epoch + resets, "they were counted");
	snvme_mem_release(mem);
}

/* A command with an address that was never mapped, as a mistake of ours would make it. */
static void test_fault(struct snvme_queue *q)
{
	const uint64_t far = 64ULL << 30;
	struct snvme_completion done;
	struct snvme_mem *mem;
	struct snvme_ns_info ns;
	struct snvme_io io;

	snvme_get_ns(ctrl, 0, &ns);
	is(snvme_mem_alloc(ctrl, BLOCK, &mem), 0, "memory");
	fill(snvme_mem_addr(mem), BLOCK, 9);
	mem->table[0] += far;
	io = (struct snvme_io){ .opcode = SNVME_OP_READ, .nsid = ns.nsid, .nlb = BLOCK / ns.lba_size,
				.slba = AREA / ns.lba_size, .length = BLOCK, .mem = mem };
	is(snvme_submit(q, &io, 1), 1, "a read to where nothing is mapped");
	is(snvme_wait(q, &done, 1, -1), 1, "ends, with whatever status");
	mem->table[0] -= far;
	ok(holds(snvme_mem_addr(mem), BLOCK, 9), "nothing was written");
	is(snvme_write(q, 0, snvme_mem_addr(mem), BLOCK, AREA), 0, "the queue goes on");
	snvme_mem_release(mem);
}

/* What is in flight to memory that is taken away ends there or in a fault of the IOMMU, and nowhere else. */
static void test_stray(struct snvme_queue *q)
{
	const uint32_t piece = 128 * 1024, n = 31;
	struct snvme_completion done[32];
	struct snvme_mem *mem, *gone;
	struct snvme_ns_info ns;
	uint32_t failed = 0, ended = 0;
	char *own;

	snvme_get_ns(ctrl, 0, &ns);
	is(snvme_mem_alloc(ctrl, BLOCK, &mem), 0, "memory");
	own = mmap(NULL, n * piece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (uint32_t turn = 0; turn < 20; turn++) {
		struct snvme_io io[31];

		failed += snvme_mem_alloc(ctrl, n * piece, &gone) != 0;
		for (uint32_t i = 0; i < n; i++)
			io[i] = (struct snvme_io){ .opcode = SNVME_OP_READ, .nsid = ns.nsid,
				.nlb = piece / ns.lba_size, .slba = (AREA + i * piece) / ns.lba_size,
				.length = piece, .mem = gone, .offset = i * piece, .user = i };
		failed += snvme_submit(q, io, n) != (int)n;
		/* As likely as not where that was. */
		failed += snvme_mem_release(gone) != 0;
		fill(own, n * piece, turn);
		for (uint32_t left = n; left;) {
			int got = snvme_wait(q, done, 32, -1);

			if (got <= 0)
				break;
			left -= (uint32_t)got;
			ended += (uint32_t)got;
		}
		failed += !holds(own, n * piece, turn);
	}
	is(failed, 0, "memory taken away under reads; nothing else of this process changes");
	is(ended, 20 * n, "each read ends");
	is(snvme_write(q, 0, snvme_mem_addr(mem), BLOCK, AREA), 0, "the queue goes on");
	munmap(own, n * piece);
	snvme_mem_release(mem);
}

/* A child has the handle's memory, but not the device's: what it does there is its own. */
static void test_fork(struct snvme_queue *q)
{
	struct snvme_mem *mem;
	pid_t pid;
	int code;
	char *buf;

	is(snvme_mem_alloc(ctrl, 16 * BLOCK, &mem), 0, "memory");
	buf = snvme_mem_addr(mem);
	fill(buf, 16 * BLOCK, 5);
	is(snvme_write(q, 0, buf, 16 * BLOCK, AREA), 0, "written");
	pid = fork();
	if (!pid)
		_exit(0);
	waitpid(pid, &code, 0);
	memset(buf, 0, 16 * BLOCK);
	is(snvme_read(q, 0, buf, 16 * BLOCK, AREA), 0, "read after a fork");
	ok(holds(buf, 16 * BLOCK, 5), "into this process's memory");
	snvme_mem_release(mem);
}

static void test_all_queues(void)
{
	struct snvme_queue_opts opts = { .size = sizeof(opts), .depth = 2 };
	struct snvme_queue *q[1024];
	struct snvme_ctrl_info info;
	struct snvme_mem *mem;
	uint32_t n = 0, wrong = 0;
	int ret;

	snvme_get_info(ctrl, &info);
	while (n < 1024 && !(ret = snvme_queue_create(ctrl, &opts, &q[n])))
		n++;
	is(ret, -ENOSPC, "no more queues than there are");
	is(n, info.spare_sq, "all that were spare");
	is(snvme_mem_alloc(ctrl, BLOCK, &mem), 0, "memory");
	for (uint32_t i = 0; i < n; i++) {
		fill(snvme_mem_addr(mem), BLOCK, i);
		wrong += snvme_write(q[i], 0, snvme_mem_addr(mem), BLOCK, AREA + (uint64_t)i * BLOCK) != 0;
	}
	for (uint32_t i = 0; i < n; i++) {
		wrong += snvme_read(q[n - 1 - i], 0, snvme_mem_addr(mem), BLOCK, AREA + (uint64_t)i * BLOCK) != 0;
		wrong += !holds(snvme_mem_addr(mem), BLOCK, i);
	}
	is(wrong, 0, "each reads what another wrote");
	snvme_mem_release(mem);
	for (uint32_t i = 0; i < n; i++)
		wrong += snvme_queue_destroy(q[i]) != 0;
	is(wrong, 0, "and they go");
}

/* A ring in the controller's own memory, which is a page larger than 255 of them. */
static void test_cmb(void)
{
	struct snvme_queue_opts opts = { .size = sizeof(opts), .flags = SNVME_QUEUE_CMB };
	struct snvme_queue *q, *other;
	struct snvme_ctrl_info info;
	uint32_t n = 0;

	snvme_get_info(ctrl, &info);
	is(info.cmb_bytes, 1 << 20, "a controller with memory of its own");
	q = queue(63, SNVME_QUEUE_CMB);
	test_memory(q);
	test_resets(q, 5);
	opts.depth = info.max_entries - 1;
	while (n < 100 && !snvme_queue_create(ctrl, &opts, &other))
		n++;
	is(n, ((1 << 20) - 4096) / (64 * info.max_entries), "as many of the largest as there is room for");
	is(snvme_queue_create(ctrl, &opts, &other), -ENOSPC, "then it is full");
	snvme_get_info(ctrl, &info);
	ok(info.spare_sq && info.spare_cq, "which is not for want of queues");
	is(snvme_flush(q, 0), 0, "the queue works");
}

static int keep_mapped(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd < 0 || mmap(NULL, BLOCK, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED || close(fd)) {
		perror(path);
		return 1;
	}
	puts("started");
	fflush(stdout);
	pause();
	return 0;
}

int main(int argc, char **argv)
{
	struct snvme_queue *q;

	if (argc == 3 && !strcmp(argv[1], "mapped"))
		return keep_mapped(argv[2]);
	if (argc != 2)
		return 2;
	snprintf(name, sizeof(name), "vfio:%.50s", argv[1]);
	if (!is(snvme_open(name, &ctrl), 0, "%s", name))
		return done();
	test_names(argv[1]);
	test_info(argv[1]);
	q = queue(31, 0);
	test_memory(q);
	test_register(q);
	test_resets(q, RESETS);
	test_fault(q);
	test_stray(q);
	test_fork(q);
	test_all_queues();
	test_cmb();
	snvme_close(ctrl);
	is(snvme_open(name, &ctrl), 0, "once more, after it was closed");
	snvme_close(ctrl);
	return done();
}
