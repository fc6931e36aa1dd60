// SPDX-License-Identifier: MIT
/*
 * What bench and the file reader make of the library, on a disk in memory that completes commands
 * out of order, executes them only then, and can be told to fail. Jobs run in threads of their own
 * (pthread_create).
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "../tap.h"
#include "../../tools/util.c"
#include "../../tools/sysfs.c"
#include "../../tools/disk.c"
#include "../../tools/histogram.c"
#include "../../tools/cmd_bench.c"

#define LBA_SIZE	512
#define LBAS		4096
#define DEPTH_MAX	64

struct snvme_ctrl {
	char data[LBAS * LBA_SIZE];
	uint64_t lost_lba;	/* writes to it are acknowledged and dropped, UINT64_MAX: none */
	uint64_t bad_lba;	/* commands on it fail */
	uint64_t dies_after;	/* commands */
	uint32_t runs;
	uint64_t overlaps;	/* commands submitted on blocks that one in flight writes */
};

struct snvme_mem {
	size_t length;
	char data[];
};

struct snvme_queue {
	struct snvme_ctrl *ctrl;
	struct snvme_io pending[DEPTH_MAX];
	unsigned int n, depth;
	uint64_t random, executed;
	uint64_t most;		/* in flight at once */
	unsigned int polls;
};

/* What tests do not reach. */
int snvme_open(const char *name, struct snvme_ctrl **ctrl)
{
	return -ENOENT;
}

void snvme_close(struct snvme_ctrl *ctrl)
{
}

int snvme_get_info(struct snvme_ctrl *ctrl, struct snvme_ctrl_info *info)
{
	return -ENODEV;
}

int snvme_get_ns(struct snvme_ctrl *ctrl, uint32_t nsid, struct snvme_ns_info *info)
{
	return -ENOENT;
}

int snvme_vssd_check(const char *name, char *why, size_t size)
{
	return 0;
}

int snvme_file_map_get(int fd, struct snvme_file_map *map)
{
	return -EOPNOTSUPP;
}

void snvme_file_map_free(struct snvme_file_map *map)
{
}

const char *snvme_strerror(int ret)
{
	return "an error";
}

int snvme_mem_alloc(struct snvme_ctrl *ctrl, size_t length, struct snvme_mem **mem)
{
	*mem = calloc(1, sizeof(**mem) + length);
	(*mem)->length = length;
	return 0;
}

void *snvme_mem_addr(const struct snvme_mem *mem)
{
	return (void *)mem->data;
}

int snvme_mem_release(struct snvme_mem *mem)
{
	free(mem);
	return 0;
}

int snvme_queue_create(struct snvme_ctrl *ctrl, const struct snvme_queue_opts *opts,
		       struct snvme_queue **queue)
{
	*queue = calloc(1, sizeof(**queue));
	(*queue)->ctrl = ctrl;
	(*queue)->depth = opts->depth;
	(*queue)->random = 4101842887655102017ULL;
	return 0;
}

int snvme_queue_destroy(struct snvme_queue *queue)
{
	free(queue);
	return 0;
}

int snvme_submit(struct snvme_queue *queue, const struct snvme_io *io, unsigned int n)
{
	unsigned int sent = 0;

	if (queue->n == queue->depth)
		return -EAGAIN;
	/* Never more than three at once: the caller must come back with the rest. */
	while (sent < n && sent < 3 && queue->n < queue->depth) {
		const struct snvme_io *new = &io[sent++];

		if (new->nlb * LBA_SIZE != new->length || new->slba + new->nlb > LBAS ||
		    new->offset + new->length > new->mem->length || new->nsid != 7)
			return -EINVAL;
		for (unsigned int i = 0; i < queue->n; i++) {
			const struct snvme_io *old = &queue->pending[i];

			if ((old->opcode == SNVME_OP_WRITE || new->opcode == SNVME_OP_WRITE) &&
			    old->slba < new->slba + new->nlb && new->slba < old->slba + old->nlb)
				__atomic_fetch_add(&queue->ctrl->overlaps, 1, __ATOMIC_RELAXED);
		}
		queue->pending[queue->n++] = *new;
	}
	if (queue->n > queue->most)
		queue->most = queue->n;
	return (int)sent;
}

static int execute(struct snvme_ctrl *ctrl, const struct snvme_io *io)
{
	char *data = ctrl->data + io->slba * LBA_SIZE, *buf = io->mem->data + io->offset;

	if (ctrl->bad_lba >= io->slba && ctrl->bad_lba < io->slba + io->nlb)
		return 0x281;	/* Unrecovered Read Error */
	if (io->opcode == SNVME_OP_READ) {
		memcpy(buf, data, io->length);
		return 0;
	}
	for (uint64_t lba = io->slba; lba < io->slba + io->nlb; lba++, buf += LBA_SIZE)
		if (lba != ctrl->lost_lba)
			memcpy(ctrl->data + lba * LBA_SIZE, buf, LBA_SIZE);
	return 0;
}

int snvme_poll(struct snvme_queue *queue, struct snvme_completion *out, unsigned int max)
{
	unsigned int done = 0;

	if (queue->polls++ & 1)
		return 0;
	while (queue->n && done < max && done < 5) {
		uint64_t at;

		queue->random ^= queue->random << 13;
		queue->random ^= queue->random >> 7;
		queue->random ^= queue->random << 17;
		at = queue->random % queue->n;
		if (++queue->executed > queue->ctrl->dies_after)
			return -ECONNRESET;
		out[done].status = execute(queue->ctrl, &queue->pending[at]);
		out[done].user = queue->pending[at].user;
		out[done++].queue = queue;
		queue->pending[at] = queue->pending[--queue->n];
	}
	return (int)done;
}

int snvme_read(struct snvme_queue *queue, uint32_t nsid, void *buf, size_t length, uint64_t offset)
{
	if (length % LBA_SIZE || offset % LBA_SIZE || offset + length > LBAS * LBA_SIZE)
		return -EINVAL;
	memcpy(buf, queue->ctrl->data + offset, length);
	return 0;
}

static struct snvme_ctrl *new_ctrl(void)
{
	struct snvme_ctrl *ctrl = calloc(1, sizeof(*ctrl));

	ctrl->lost_lba = ctrl->bad_lba = ctrl->dies_after = UINT64_MAX;
	return ctrl;
}

/* Three extents of a file, one not a multiple of 4 KiB, behind a hole, and an unwritten one. */
static struct snvme_extent extents[] = {
	{ .logical = 0, .physical = 1000 * LBA_SIZE, .length = 160 * LBA_SIZE },
	{ .logical = 160 * LBA_SIZE, .physical = 100 * LBA_SIZE, .length = 21 * LBA_SIZE },
	{ .logical = 400 * LBA_SIZE, .physical = 3000 * LBA_SIZE, .length = 8 * LBA_SIZE,
	  .flags = SNVME_EXTENT_UNWRITTEN },
	{ .logical = 408 * LBA_SIZE, .physical = 2000 * LBA_SIZE, .length = 400 * LBA_SIZE },
};

struct result {
	uint64_t submitted, completed, errors, verified, mismatches, most;
	uint64_t reads, writes, elapsed;
	double max_ns;
	int ret;
};

/* A run of one job or more, each in its thread, once through the region. */
static struct result run(struct snvme_ctrl *ctrl, const char *rw, enum verify_mode verify,
			 uint32_t depth, uint32_t numjobs, uint64_t runtime)
{
	struct bench bench = {
		.bs = 4096, .nlb = 8, .iodepth = depth, .numjobs = numjobs, .verify = verify,
		.runtime = runtime, .mix = 1ULL << 31, .run = ++ctrl->runs,
		.target = {
			.name = "test", .fd = -1, .length = 808 * LBA_SIZE,
			.disk = { .ctrl = ctrl, .ns = { .nsid = 7, .lba_size = LBA_SIZE } },
			.map = { .size = 808 * LBA_SIZE, .count = 4, .extents = extents },
		},
	};
	struct job *jobs = calloc(numjobs, sizeof(*jobs));
	struct result sum = { 0 };

	set_rw(&bench, rw);
	add_pieces(&bench);
	for (uint32_t i = 0; i < numjobs; i++)
		job_open(&bench, &jobs[i], i);
	run_bench(&bench, jobs);
	for (uint32_t i = 0; i < numjobs; i++) {
		sum.submitted += jobs[i].submitted;
		sum.completed += jobs[i].completed;
		sum.errors += jobs[i].errors;
		sum.verified += jobs[i].verified;
		sum.mismatches += jobs[i].mismatches;
		sum.reads += jobs[i].read.count;
		sum.writes += jobs[i].write.count;
		sum.ret |= jobs[i].ret;
		if (jobs[i].elapsed > sum.elapsed)
			sum.elapsed = jobs[i].elapsed;
		if (to_ns(&bench, jobs[i].read.max) > sum.max_ns)
			sum.max_ns = to_ns(&bench, jobs[i].read.max);
		if (jobs[i].queue->most > sum.most)
			sum.most = jobs[i].queue->most;
		job_close(&jobs[i]);
	}
	free(bench.piece);
	free(jobs);
	return sum;
}

/* 160 / 8 + 21 / 8 + 400 / 8 commands of 8 blocks. */
#define SLOTS	(20 + 2 + 50)

/* Blocks that are not zero outside the slots. */
static unsigned int strayed(const struct snvme_ctrl *ctrl)
{
	static const char zeros[LBA_SIZE];
	unsigned int n = 0;

	for (unsigned int lba = 0; lba < LBAS; lba++) {
		bool inside = (lba >= 1000 && lba < 1160) || (lba >= 100 && lba < 116) ||
			      (lba >= 2000 && lba < 2400);

		n += !inside && memcmp(ctrl->data + lba * LBA_SIZE, zeros, LBA_SIZE);
	}
	return n;
}

static void runs(void)
{
	static const char *const modes[] = { "write", "randwrite", "rw", "randrw" };
	struct snvme_ctrl *ctrl;
	struct result r;

	for (size_t i = 0; i < 4; i++) {
		ctrl = new_ctrl();
		r = run(ctrl, modes[i], VERIFY_LBA, 16, 1, UINT64_MAX);
		is(r.ret, 0, "%s", modes[i]);
		is(r.submitted, SLOTS, "%s: once through the region", modes[i]);
		is(r.reads + r.writes, SLOTS, "%s: all measured, what is read back is not",
		   modes[i]);
		ok(r.verified > 0 && r.verified <= r.completed, "%s: verified %llu", modes[i],
		   (unsigned long long)r.verified);
		is(r.mismatches, 0, "%s: no mismatch", modes[i]);
		is(ctrl->overlaps, 0, "%s: no two commands on one slot", modes[i]);
		is(strayed(ctrl), 0, "%s: nothing outside the extents", modes[i]);
		is(r.most, 16, "%s: iodepth reached, not passed", modes[i]);
		free(ctrl);
	}

	ctrl = new_ctrl();
	r = run(ctrl, "write", VERIFY_LBA, 8, 3, UINT64_MAX);
	is(r.verified, SLOTS, "three jobs: all that was written was read back");
	r = run(ctrl, "read", VERIFY_LBA, 4, 2, UINT64_MAX);
	ok(r.verified == SLOTS && r.mismatches == 0, "a later run that reads knows the stamps");
	r = run(ctrl, "randread", VERIFY_NONE, 1, 1, UINT64_MAX);
	ok(r.reads == SLOTS && r.verified == 0 && r.most == 1, "without --verify nothing is checked");
	memcpy(ctrl->data + 2000 * LBA_SIZE, ctrl->data + 2008 * LBA_SIZE, LBA_SIZE);
	r = run(ctrl, "read", VERIFY_LBA, 4, 1, UINT64_MAX);
	is(r.mismatches, 1, "a block that belongs elsewhere is found");
	free(ctrl);

	ctrl = new_ctrl();
	run(ctrl, "write", VERIFY_LBA, 4, 1, UINT64_MAX);
	ctrl->lost_lba = 2003;
	r = run(ctrl, "write", VERIFY_LBA, 4, 1, UINT64_MAX);
	is(r.mismatches, 1, "a lost write, over stamps of the same place, is found");
	free(ctrl);

	ctrl = new_ctrl();
	ctrl->bad_lba = 1001;
	r = run(ctrl, "write", VERIFY_LBA, 4, 1, UINT64_MAX);
	ok(r.errors == 1 && r.ret == 0 && r.writes == SLOTS - 1 && r.verified == SLOTS - 1,
	   "a command that fails is counted, not measured and not verified");
	free(ctrl);

	ctrl = new_ctrl();
	for (uint64_t ns = 100000000; ns < 200000000000; ns *= 2) {
		r = run(ctrl, "randrw", VERIFY_LBA, 4, 2, ns);
		if (r.submitted > 2 * SLOTS)
			break;
	}
	ok(r.submitted > 2 * SLOTS && r.mismatches == 0, "for some time: round and round the region");
	ok(r.max_ns <= (double)r.elapsed * 1.1,
	   "no latency is longer than the run (%.0f of %llu ns)", r.max_ns,
	   (unsigned long long)r.elapsed);
	free(ctrl);

	ctrl = new_ctrl();
	ctrl->dies_after = 30;
	r = run(ctrl, "randread", VERIFY_NONE, 8, 1, UINT64_MAX);
	is(r.ret, -ECONNRESET, "a queue that dies ends the job");
	free(ctrl);
}

static void shares(void)
{
	struct job job = { .random = 1 };
	uint64_t n[7] = { 0 }, low = UINT64_MAX, high = 0;

	for (unsigned int i = 0; i < 70000; i++)
		n[random_below(random_next(&job), 7)]++;
	for (unsigned int i = 0; i < 7; i++) {
		low = n[i] < low ? n[i] : low;
		high = n[i] > high ? n[i] : high;
	}
	ok(low > 9500 && high < 10500, "random slots come equally often (%llu..%llu of 10000)",
	   (unsigned long long)low, (unsigned long long)high);
	is(random_below(UINT64_MAX, 7), 6, "the last slot is the largest");
	is(random_below(0, 7), 0, "the first is the smallest");
}

static void files(void)
{
	struct snvme_ctrl *ctrl = new_ctrl();
	struct snvme_queue queue = { .ctrl = ctrl };
	struct disk disk = { .ctrl = ctrl, .queue = &queue, .ns = { .lba_size = LBA_SIZE } };
	struct snvme_file_map map = { .size = 700 * LBA_SIZE - 100, .count = 4,
				      .extents = extents };
	char *want = calloc(808, LBA_SIZE);
	unsigned int wrong = 0, windows = 0;

	for (size_t i = 0; i < LBAS * LBA_SIZE; i++)
		ctrl->data[i] = (char)(i * 31 + i / 509 + 1);
	for (size_t i = 0; i < 4; i++)
		if (!(extents[i].flags & SNVME_EXTENT_UNWRITTEN))
			memcpy(want + extents[i].logical, ctrl->data + extents[i].physical,
			       extents[i].length);
	snvme_mem_alloc(ctrl, DISK_BUFFER, &disk.mem);
	for (uint64_t from = 0; from < map.size; from += 7 * LBA_SIZE) {
		for (uint64_t n = 1; n <= map.size - from; n += 11111, windows++) {
			memset(disk.mem->data, 0xaa, 808 * LBA_SIZE);
			wrong += disk_read_map(&disk, &map, from, n) ||
				 memcmp(disk.mem->data, want + from, n);
		}
	}
	is(wrong, 0, "%u windows of a file with holes and unwritten extents", windows);
	extents[1].flags = SNVME_EXTENT_UNMAPPED;
	is(disk_read_map(&disk, &map, 158 * LBA_SIZE, 4 * LBA_SIZE), -EIO,
	   "an extent without a place is an error");
	is(disk_read_map(&disk, &map, 0, 160 * LBA_SIZE), 0, "unless it is not asked for");
	free(disk.mem);
	free(want);
	free(ctrl);
}

int main(void)
{
	shares();
	runs();
	files();
	return done();
}
