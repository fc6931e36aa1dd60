// SPDX-License-Identifier: MIT
/* libsnvme's queues on a made-up controller, one call at a time. */
#include "lib_fake.h"

#define MIB	(1U << 20)

static struct fake_queue *sq_of(const struct snvme_queue *queue)
{
	for (int i = 0; i < FAKE_QUEUES; i++)
		if (fake.queue[i].type == SNVME_QUEUE_SQ &&
		    fake.queue[i].qid == snvme_queue_id(queue))
			return &fake.queue[i];
	return NULL;
}

static struct snvme_io reading(struct snvme_mem *mem, uint64_t lba, uint32_t nlb, uint64_t offset)
{
	return (struct snvme_io){
		.opcode = SNVME_OP_READ, .nsid = FAKE_NSID, .nlb = nlb, .slba = lba,
		.length = nlb * 512ULL, .mem = mem, .offset = offset, .user = lba + 1000,
	};
}

static void test_info(void)
{
	struct snvme_ctrl *ctrl = fake_open(0);
	struct snvme_ctrl_info info;
	struct snvme_ns_info ns;

	is(snvme_get_info(ctrl, &info), 0, "info");
	is_str(info.name, "nvme3", "name");
	is_str(info.pci, "0000:1f:02.1", "PCI address");
	is_str(info.serial, "SERIAL", "serial number without padding");
	is_str(info.model, "A model", "model");
	is_str(info.firmware, "FW 1.0", "firmware");
	is(info.max_transfer, FAKE_PAGE << FAKE_MDTS, "MDTS");
	is(info.max_entries, 1024, "MQES");
	is(info.timeout_ms, 15000, "CAP.TO");

	is(snvme_get_ns(ctrl, 0, &ns), 0, "the only namespace");
	is(ns.nsid, FAKE_NSID, "is found");
	is(ns.lba_size, 512, "its format");
	is(ns.blocks, FAKE_NS_BYTES / 512, "its size");
	is(snvme_get_ns(ctrl, 3, &ns), -ENOENT, "an inactive namespace");
	fake.inactive_status = 0x00b;
	is(snvme_get_ns(ctrl, 3, &ns), -ENOENT, "one that the controller refuses to describe");
	is(snvme_get_ns(ctrl, 10, &ns), -ENOENT, "one past NN");
	fake.nsids[1] = 8;
	is(snvme_get_ns(ctrl, 0, &ns), -EINVAL, "no default among several");
	fake.nsids[0] = fake.nsids[1] = 0;
	is(snvme_get_ns(ctrl, 0, &ns), -ENOENT, "nor where there is none");
	snvme_close(ctrl);

	ctrl = fake_open(FAKE_NSID);
	fake.nsids[1] = 8;
	is(snvme_get_ns(ctrl, 0, &ns), 0, "the one it was opened by");
	snvme_close(ctrl);
}

static void test_mem(void)
{
	struct snvme_ctrl *ctrl = fake_open(0);
	char *buf = aligned_alloc(FAKE_PAGE, 4 * FAKE_PAGE);
	struct snvme_mem *a, *b, *c;

	is(snvme_mem_register(ctrl, buf + 100, 5000, &a), 0, "unaligned memory");
	ok(snvme_mem_addr(a) == buf + 100 && snvme_mem_length(a) == 5000, "is what was asked for");
	is(snvme_mem_register(ctrl, buf + 5099, 1, &b), -EEXIST, "its last byte again");
	is(snvme_mem_register(ctrl, buf, 4 * FAKE_PAGE, &b), -EEXIST, "memory around it");
	is(snvme_mem_register(ctrl, buf + 5100, 100, &b), 0, "the byte after it, in the same page");
	is(snvme_mem_register(ctrl, buf, 0, &c), -EINVAL, "nothing");
	is(snvme_mem_register(ctrl, (void *)(UINTPTR_MAX - 8191), 8192, &c), -EINVAL, "a wrap");
	is(snvme_mem_alloc(ctrl, 0, &c), -EINVAL, "an allocation of nothing");
	is(fake.mapped, 2, "registered are two");
	is(snvme_mem_release(a), 0, "released");
	is(snvme_mem_release(NULL), 0, "NULL");
	is(snvme_mem_register(ctrl, buf + 100, 5000, &a), 0, "registered again");
	snvme_close(ctrl);
	ok(fake.closed, "closed with memory registered");
	free(buf);
}

static void test_commands(void)
{
	static const struct {
		uint32_t nlb;
		uint64_t offset;
	} shapes[] = {
		{ 1, 0 }, { 8, 0 }, { 8, 4 }, { 8, 4092 }, { 1, 3588 }, { 1, 3584 }, { 16, 0 },
		{ 16, 4 }, { 17, 0 }, { 128, 0 }, { 128, 4 }, { 127, 4092 }, { 24, 8192 },
	};
	struct snvme_ctrl *ctrl = fake_open(0);
	struct snvme_queue *queue = fake_pair(ctrl, 4, 0, NULL);
	struct snvme_completion done[8];
	struct snvme_mem *mem;
	uint8_t *buf;

	snvme_mem_alloc(ctrl, MIB, &mem);
	buf = snvme_mem_addr(mem);
	for (uint32_t i = 0; i < FAKE_NS_BYTES; i++)
		fake.blocks[i] = (uint8_t)(i * 7 + i / 509);
	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
		struct snvme_io io = reading(mem, i * 11, shapes[i].nlb, shapes[i].offset);
		uint8_t *at = buf + io.offset;

		memset(buf, 0xee, MIB);
		ok(snvme_submit(queue, &io, 1) == 1 && fake_run() &&
		   snvme_poll(queue, done, 8) == 1 && !done[0].status &&
		   done[0].user == io.user && done[0].queue == queue &&
		   !memcmp(at, fake.blocks + io.slba * 512, io.length) &&
		   (!io.offset || at[-1] == 0xee) && at[io.length] == 0xee,
		   "read %u blocks to byte %u", io.nlb, (unsigned int)io.offset);
		for (uint64_t j = 0; j < io.length; j++)
			at[j] ^= 0x55;
		io.opcode = SNVME_OP_WRITE;
		io.flags = SNVME_IO_FUA;
		ok(snvme_submit(queue, &io, 1) == 1 && fake_run() &&
		   snvme_poll(queue, done, 8) == 1 && !done[0].status &&
		   !memcmp(at, fake.blocks + io.slba * 512, io.length),
		   "write them");
	}
	snvme_close(ctrl);
	ok(!fake.error, "the controller has nothing to complain of");
}

static void test_full(void)
{
	struct snvme_ctrl *ctrl = fake_open(0);
	struct snvme_queue *queue = fake_pair(ctrl, 3, 0, NULL);
	struct snvme_completion done[8];
	struct snvme_mem *mem;
	struct snvme_io io[8];
	uint32_t sent = 0, seen = 0, sum = 0, want = 0;
	bool right = true;

	snvme_mem_alloc(ctrl, MIB, &mem);
	for (uint32_t i = 0; i < 8; i++)
		io[i] = reading(mem, i, 1, i * 512);
	is(snvme_submit(queue, io, 0), 0, "no commands");
	is(snvme_submit(queue, io, 8), 3, "as many as the queue takes");
	is(snvme_submit(queue, io, 1), -EAGAIN, "then none");
	is(snvme_poll(queue, done, 8), 0, "nothing has completed");
	fake_run();
	is(snvme_poll(queue, done, 2), 2, "as many as there is room for");
	is(snvme_poll(queue, done, 0), 0, "no room");
	is(snvme_poll(queue, done, 8), 1, "and the last");
	is(snvme_poll(queue, done, 8), 0, "and no more");

	/* Around both rings many times, in batches of all sizes. */
	for (uint32_t i = 0; i < 1000; i++) {
		uint32_t n = 1 + i % 3;
		int got;

		for (uint32_t j = 0; j < n; j++) {
			io[j].user = sent;
			want += sent++;
		}
		right &= snvme_submit(queue, io, n) == (int)n && fake_run();
		while ((got = snvme_poll(queue, done, 2)) > 0)
			for (int j = 0; j < got; j++) {
				sum += (uint32_t)done[j].user;
				seen++;
			}
	}
	ok(right && seen == sent && sum == want, "%u commands came back", sent);
	snvme_close(ctrl);
	ok(!fake.error, "the controller has nothing to complain of");
}

static void test_malformed(void)
{
	struct snvme_ctrl *ctrl = fake_open(0), *other;
	struct snvme_queue *queue = fake_pair(ctrl, 8, 0, NULL);
	struct snvme_mem *mem, foreign = { 0 };
	struct snvme_io good, bad[3];
	struct snvme_completion done[8];
	uint32_t fetched;

	snvme_mem_alloc(ctrl, MIB, &mem);
	good = reading(mem, 0, 8, 0);
	foreign = *mem;
	other = calloc(1, sizeof(*other));
	foreign.ctrl = other;
#define REFUSED(text, ...) do {							\
	struct snvme_io io = good;						\
	__VA_ARGS__;								\
	is(snvme_submit(queue, &io, 1), -EINVAL, "%s", text);			\
} while (0)
	REFUSED("an opcode that is not ours", io.opcode = 5);
	REFUSED("an unknown flag", io.flags = 2);
	REFUSED("no blocks", io.nlb = 0);
	REFUSED("too many blocks", io.nlb = 65537);
	REFUSED("no length", io.length = 0);
	REFUSED("a length shorter than any blocks", io.length = 512);
	REFUSED("no memory", io.mem = NULL);
	REFUSED("another controller's memory", io.mem = &foreign);
	REFUSED("an offset outside the memory", io.offset = MIB + 4);
	REFUSED("an offset that wraps", io.offset = UINT64_MAX - 3);
	REFUSED("a length that wraps", io.offset = 1024; io.length = -512ULL; io.nlb = (uint32_t)(io.length / 512));
	REFUSED("one that wraps to the next page", io.offset = 512; io.length = -256ULL; io.nlb = 8);
	REFUSED("one that wraps, for one block", io.length = -1ULL; io.nlb = 1);
	REFUSED("an end outside the memory", io.offset = MIB - 2048);
	REFUSED("an unaligned offset", io.offset = 2);
	REFUSED("an unaligned offset of several pages", io.offset = 2; io.nlb = 64;
		io.length = 32768);
	REFUSED("more than max_transfer", io.nlb = 129; io.length = 129 * 512);
	REFUSED("a flush with data", io.opcode = SNVME_OP_FLUSH);
	REFUSED("a flush with a flag", io = (struct snvme_io){ .flags = SNVME_IO_FUA });
	free(other);
	fake_run();
	is(fake.fetched, 0, "the controller saw none of them");

	bad[0] = good;
	bad[1] = good;
	bad[2] = good;
	bad[2].offset = 2;
	is(snvme_submit(queue, bad, 3), 2, "those before the first bad one");
	fetched = fake.fetched;
	fake_run();
	is(fake.fetched - fetched, 2, "are fetched");
	is(snvme_poll(queue, done, 8), 2, "and come back");
	bad[0].nsid = 1;
	snvme_submit(queue, bad, 1);
	fake_run();
	is(snvme_poll(queue, done, 8), 1, "a command that the controller refuses comes back");
	is(done[0].status, 0x00b, "with its status");
	snvme_close(ctrl);
	ok(!fake.error, "the controller has nothing to complain of");
}

/* Completions that match no command. */
static void test_lies(void)
{
	static const char *const lies[] = {
		"a queue that is not ours", "an identifier outside the queue",
		"a command that is not in flight", "the same command twice",
	};

	for (int lie = 0; lie < 4; lie++) {
		struct snvme_ctrl *ctrl = fake_open(0);
		struct snvme_queue *queue = fake_pair(ctrl, 4, 16, NULL);
		uint32_t qid = snvme_queue_id(queue), cq = sq_of(queue)->cq, good[2];
		struct snvme_completion done[8];
		struct snvme_mem *mem;
		struct snvme_io io;
		uint8_t sqe[64];

		snvme_mem_alloc(ctrl, MIB, &mem);
		io = reading(mem, 5, 1, 0);
		for (int i = 0; i < 2; i++) {
			snvme_submit(queue, &io, 1);
			fake_fetch(sq_of(queue), sqe);
			good[i] = sqe[2] | sqe[3] << 8;
		}
		fake_post(cq, qid, 2, good[0], 0);
		if (lie == 0)
			fake_post(cq, qid + 1, 2, good[1], 0);
		else if (lie == 1)
			fake_post(cq, qid, 2, 4, 0);
		else if (lie == 2)
			fake_post(cq, qid, 2, 3, 0);
		else
			fake_post(cq, qid, 2, good[0], 0);
		is(snvme_poll(queue, done, 8), 1, "%s: what came before it stands", lies[lie]);
		is(snvme_poll(queue, done, 8), -EPROTO, "it is told");
		is(snvme_wait(queue, done, 8, -1), -EPROTO, "and stays so");
		is(snvme_queue_destroy(queue), 0, "the queue can be destroyed");
		snvme_close(ctrl);
	}
}

static void test_dead(void)
{
	static const struct {
		uint32_t state;
		int ret;
	} ends[] = {
		{ SNVME_STATE_RESET, -ECONNRESET }, { SNVME_STATE_GONE, -ENODEV },
		{ SNVME_STATE_REVOKED, -ECONNABORTED },
	};

	for (int i = 0; i < 3; i++) {
		struct snvme_ctrl *ctrl = fake_open(0);
		struct snvme_queue *queue = fake_pair(ctrl, 4, 16, NULL);
		uint32_t cq = sq_of(queue)->cq, id;
		struct snvme_completion done[8];
		struct snvme_mem *mem;
		struct snvme_io io;
		uint8_t sqe[64];

		snvme_mem_alloc(ctrl, MIB, &mem);
		io = reading(mem, 5, 1, 0);
		snvme_submit(queue, &io, 1);
		fake_run();
		snvme_submit(queue, &io, 1);
		fake_fetch(sq_of(queue), sqe);
		id = sqe[2] | sqe[3] << 8;
		fake_reset(ends[i].state);
		is(snvme_submit(queue, &io, 1), ends[i].ret, "a dead queue (%d)",
		   ends[i].ret);
		is(sq_of(queue)->doorbell, 2, "and no doorbell");
		is(snvme_poll(queue, done, 8), 1, "what had completed is told");
		is(snvme_poll(queue, done, 8), ends[i].ret, "then that the queue is dead");
		fake_post(cq, snvme_queue_id(queue), 2, id, 0);
		is(snvme_poll(queue, done, 8), ends[i].ret, "what comes later is not believed");
		is(snvme_wait(queue, done, 8, -1), ends[i].ret, "nor waited for");
		is(snvme_read(queue, 0, snvme_mem_addr(mem), 512, 0), -EBUSY,
		   "the lost stay in flight");
		is(snvme_queue_destroy(queue), 0, "the queue can be destroyed");
		snvme_close(ctrl);
	}
}

/* A queue, and one that shares its completions, in their next life. */
static void test_renew(void)
{
	struct snvme_ctrl *ctrl = fake_open(0);
	struct snvme_queue *a = fake_pair(ctrl, 2, 8, NULL), *b = fake_pair(ctrl, 3, 0, a), *c;
	struct snvme_queue_opts opts = { .size = sizeof(opts), .depth = 1, .share_cq = b };
	struct snvme_completion done[8];
	struct snvme_mem *mem;
	struct snvme_io io[3];
	struct fake_queue *cq;
	uint8_t sqe[64];
	uint32_t id;

	snvme_mem_alloc(ctrl, MIB, &mem);
	for (uint32_t i = 0; i < 3; i++)
		io[i] = reading(mem, i, 1, i * 512);
	/* Of four turns, one wraps the completion ring's phase round before it. */
	for (int turn = 0; turn < 4; turn++) {
		for (int i = 0; i < 3 * turn; i++) {
			snvme_submit(a, io, 1);
			fake_run();
			snvme_poll(a, done, 8);
		}
		snvme_submit(b, io, 3);
		fake_run();
		snvme_submit(a, io, 2);
		fake_fetch(sq_of(a), sqe);
		id = sqe[2] | sqe[3] << 8;
		fake_reset(SNVME_STATE_RESET);
		is(snvme_queue_renew(turn % 2 ? a : b), 0, "both made anew, by either");
		is(snvme_poll(a, done, 8), 0, "of what was in flight, or not reaped, nothing comes");
		is(snvme_submit(a, io, 3), 2, "the first has all its places");
		is(snvme_submit(b, io, 3), 3, "and the second");
		fake_run();
		is(snvme_poll(b, done, 8), 5, "and they work");
		/* A command of the life before, should the controller report it all the same. */
		fake_post(sq_of(a)->cq, snvme_queue_id(a), 0, id, 0);
		is(snvme_poll(a, done, 8), -EPROTO, "what is reported late is not believed");
		is(snvme_queue_renew(a), 0, "made anew, alive");
		ok(snvme_poll(a, done, 8) == 0 && !fake.error, "and empty");
	}

	for (uint32_t i = 0; i < 3; i++) {
		fake_reset(SNVME_STATE_RESET);
		fake.create_ret = EAGAIN;
		fake.creates = i;
		is(snvme_queue_renew(a), -EAGAIN, "queue %u of three cannot be made yet", i);
		cq = &fake.queue[1];
		ok(!cq->type && !fake.queue[2].type && !fake.queue[3].type, "then none is");
		is(snvme_submit(a, io, 1), -ECONNRESET, "the first is dead");
		is(snvme_submit(b, io, 1), -ECONNRESET, "the second, too");
		is(snvme_poll(b, done, 8), -ECONNRESET, "to who polls as well");
		fake.create_ret = 0;
		is(snvme_queue_renew(b), 0, "later they can");
		is(snvme_submit(b, io, 1), 1, "and work");
		fake_run();
		is(snvme_poll(a, done, 8), 1, "again");
	}
	fake.create_ret = ECONNABORTED;
	fake.creates = 1;
	is(snvme_queue_renew(a), -ECONNABORTED, "memory that was taken away stands against it");
	is(snvme_submit(b, io, 1), -ECONNABORTED, "and that is what is heard");
	is(snvme_poll(a, done, 8), -ECONNABORTED, "of each");
	is(snvme_queue_create(ctrl, &opts, &c), -ECONNABORTED, "nobody else gets to share the dead");
	fake.create_ret = 0;
	is(snvme_queue_renew(a), 0, "made anew");
	fake.destroy_ret = EIO;
	is(snvme_queue_renew(a), -EIO, "the controller does not delete them");
	is(snvme_submit(a, io, 1), -ECONNRESET, "they are dead to us");
	fake.destroy_ret = 0;
	is(snvme_queue_renew(a), 0, "but not for ever");
	fake_reset(SNVME_STATE_RESET);
	fake.create_ret = ENODEV;
	fake.creates = 0;
	is(snvme_queue_renew(a), -ENODEV, "a controller that is gone");
	is(snvme_submit(a, io, 1), -ENODEV, "is gone");
	is(snvme_queue_destroy(b), 0, "what is not there can be destroyed");
	is(snvme_queue_destroy(a), 0, "and its owner");
	is(snvme_event_fd(ctrl), -EOPNOTSUPP, "no descriptor where there is none");
	snvme_close(ctrl);
	ok(!fake.error, "the controller has nothing to complain of");
}

static void test_wait(void)
{
	struct snvme_ctrl *ctrl = fake_open(0);
	struct snvme_queue *queue = fake_pair(ctrl, 4, 0, NULL);
	struct snvme_completion done[4];
	struct snvme_mem *mem;
	struct snvme_io io;

	snvme_mem_alloc(ctrl, MIB, &mem);
	io = reading(mem, 5, 1, 0);
	snvme_submit(queue, &io, 1);
	is(snvme_wait(queue, done, 0, -1), -EINVAL, "no room to wait for");
	is(snvme_wait(queue, done, 4, 0), -ETIMEDOUT, "no time to wait");
	is(snvme_wait(queue, done, 4, 2000000), -ETIMEDOUT, "too little time");
	fake_run();
	is(snvme_wait(queue, done, 4, 0), 1, "what is there takes no time");
	snvme_close(ctrl);
}

static void test_shared(void)
{
	struct snvme_ctrl *ctrl = fake_open(0);
	struct snvme_queue *a = fake_pair(ctrl, 2, 8, NULL), *b = fake_pair(ctrl, 3, 0, a), *c;
	struct snvme_queue_opts opts = { .size = sizeof(opts), .depth = 3, .share_cq = b };
	struct snvme_completion done[8];
	struct snvme_mem *mem;
	struct snvme_io io[3];
	uint32_t qid;
	int of_a = 0;

	snvme_mem_alloc(ctrl, MIB, &mem);
	is(snvme_queue_create(ctrl, &opts, &c), -EINVAL, "no room for a third of depth 3");
	opts.depth = 2;
	is(snvme_queue_create(ctrl, &opts, &c), 0, "but for one of depth 2, by way of the second");
	is(snvme_queue_destroy(c), 0, "destroyed");
	is(snvme_queue_destroy(a), -EBUSY, "the owner stays while the other reports to it");
	is(snvme_read(a, 0, snvme_mem_addr(mem), 512, 0), -EINVAL,
	   "no synchronous call on a shared one");

	for (uint32_t i = 0; i < 3; i++)
		io[i] = reading(mem, i, 1, i * 512);
	snvme_submit(a, io, 2);
	snvme_submit(b, io, 3);
	fake_run();
	is(snvme_poll(b, done, 8), 5, "completions of both, by either");
	for (int i = 0; i < 5; i++)
		of_a += done[i].queue == a;
	is(of_a, 2, "each says whose it is");

	/* What the second had reported is not its successor's, which has the same identifier. */
	qid = snvme_queue_id(b);
	snvme_submit(b, io, 3);
	fake_run();
	snvme_submit(a, io, 2);
	fake_run();
	is(snvme_queue_destroy(b), 0, "destroyed before it was reaped");
	b = fake_pair(ctrl, 3, 0, a);
	is(snvme_queue_id(b), qid, "its successor has its identifier");
	io[0].user = 77;
	snvme_submit(b, io, 1);
	is(snvme_poll(a, done, 8), 2, "the owner's completions come");
	ok(done[0].queue == a && done[1].queue == a, "and no other");
	fake_run();
	ok(snvme_poll(a, done, 8) == 1 && done[0].queue == b && done[0].user == 77,
	   "then the successor's own");

	snvme_submit(b, io, 1);
	fake_run();
	is(snvme_queue_destroy(b), 0, "destroyed, with nothing else to come");
	is(snvme_poll(a, done, 8), 0, "nothing comes");
	is(snvme_queue_destroy(a), 0, "the owner may go now");
	snvme_close(ctrl);
	ok(!fake.error, "the controller has nothing to complain of");
}

static void test_options(void)
{
	static const struct {
		struct snvme_queue_opts opts;
		const char *text;
	} bad[] = {
		{ { .size = 1 }, "a size of another version" },
		{ { .size = sizeof(struct snvme_queue_opts), .flags = SNVME_QUEUE_CMB << 1 }, "a flag" },
		{ { .size = sizeof(struct snvme_queue_opts), .depth = 1024 }, "a ring too large" },
		{ { .size = sizeof(struct snvme_queue_opts), .depth = UINT32_MAX },
		  "one far too large" },
		{ { .size = sizeof(struct snvme_queue_opts), .depth = 8, .cq_entries = 8 },
		  "a completion queue too small" },
		{ { .size = sizeof(struct snvme_queue_opts), .cq_entries = 1025 },
		  "a completion queue too large" },
	};
	const struct snvme_queue_opts cmb = { .size = sizeof(cmb), .flags = SNVME_QUEUE_CMB };
	struct snvme_ctrl *ctrl = fake_open(0);
	struct snvme_queue *queue;
	int n = 0;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		is(snvme_queue_create(ctrl, &bad[i].opts, &queue), -EINVAL, "%s", bad[i].text);
	is(snvme_queue_create(ctrl, &cmb, &queue), -EOPNOTSUPP, "nor in the memory of a controller that the kernel has");
	is(fake.mapped, 0, "nothing is left of them");
	is(snvme_queue_create(ctrl, NULL, &queue), 0, "the defaults");
	is(snvme_queue_depth(queue), 127, "their depth");
	is(sq_of(queue)->entries, 128, "one entry more in the ring");
	queue = fake_pair(ctrl, 1023, 0, NULL);
	is(sq_of(queue)->entries, 1024, "the largest");
	while (snvme_queue_create(ctrl, NULL, &queue) == 0)
		n++;
	is(snvme_queue_create(ctrl, NULL, &queue), -ENOSPC, "no spare queue after %d more", n);
	is(fake.mapped, n + 2, "and nothing left of it");
	snvme_close(ctrl);
	is(snvme_queue_destroy(NULL), 0, "NULL");
}

/* A controller that does not let go of a queue may still follow its PRP lists. */
static void test_stuck(void)
{
	struct snvme_ctrl *ctrl = fake_open(0);
	struct snvme_queue *queue = fake_pair(ctrl, 4, 0, NULL);
	struct snvme_mem *mem;

	snvme_mem_alloc(ctrl, MIB, &mem);
	fake.destroy_ret = EIO;
	is(snvme_queue_destroy(queue), -EIO, "the controller does not delete the queue");
	is(fake.mapped, 2, "its lists stay registered");
	snvme_close(ctrl);
	ok(fake.closed && !fake.unmapped_alive, "no memory is given back before the session's end");
}

static void test_strerror(void)
{
	static const int documented[] = {
		0, -ENOENT, -ENXIO, -EPERM, -EACCES, -EOPNOTSUPP, -EINVAL, -EPROTO, -ENODEV,
		-ENOMEM, -EFAULT, -EEXIST, -ENOSPC, -EAGAIN, -EIO, -EBUSY, -ECONNRESET, -ECONNABORTED, -EREMOTEIO,
		-ETIMEDOUT,
		-ERANGE,
	};
	bool sentences = true, all = true;

	for (size_t i = 0; i < sizeof(documented) / sizeof(*documented); i++)
		for (size_t j = 0; j < i; j++)
			sentences &= strcmp(snvme_strerror(documented[i]),
					    snvme_strerror(documented[j])) != 0;
	ok(sentences, "each error has a sentence of its own");
	for (int i = -5000; i < 0x1000; i++)
		all &= snvme_strerror(i) && *snvme_strerror(i);
	ok(all, "there is a sentence for everything");
	is_str(snvme_strerror(0x280), "Write Fault", "a status");
}

int main(void)
{
	test_info();
	test_mem();
	test_options();
	test_commands();
	test_full();
	test_malformed();
	test_lies();
	test_dead();
	test_renew();
	test_wait();
	test_shared();
	test_stuck();
	test_strerror();
	free(fake.blocks);
	return done();
}
