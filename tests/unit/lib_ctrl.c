// SPDX-License-Identifier: MIT
/*
 * libsnvme's own bring-up of a controller, on vssd: register sequence, grants, timeouts, every fault
 * that the virtual SSD can inject, resets.
 */
#include <semaphore.h>

#include "lib_rig.h"

/* ---- bring-up ------------------------------------------------------------------------------- */

static void test_registers(void)
{
	static const uint32_t order[] = {
		SNV_REG_CC, SNV_REG_AQA, SNV_REG_ASQ, SNV_REG_ACQ, SNV_REG_CC,
	};
	struct snvme_ctrl *ctrl = must_open("");
	uint32_t cc = (uint32_t)rig.value[4];
	bool right = rig.stores == 5;

	for (uint32_t i = 0; i < 5; i++)
		right &= rig.offset[i] == order[i];
	ok(right, "Base 3.5.1: disable, admin queue, enable");
	ok(!(rig.value[0] & SNV_CC_EN), "first CC.EN is cleared");
	ok(rig.value[1] == (31 << 16 | 31), "AQA");
	ok(rig.value[2] && !(rig.value[2] & 0xfff) && rig.value[3] && !(rig.value[3] & 0xfff),
	   "ASQ and ACQ on pages");
	is(cc, SNV_CC_EN | SNV_CC_CSS_CSI | SNV_CC_AMS_WRRU | 6U << 16 | 4U << 20,
	   "CC: 4 KiB, all command sets, weighted round robin, entry sizes");
	rig.stores = 0;
	snvme_close(ctrl);
	ok(rig.stores == 2 && (rig.value[0] & (SNV_CC_SHN | SNV_CC_EN)) ==
	   (SNV_CC_SHN_NORMAL | SNV_CC_EN) && !(rig.value[1] & SNV_CC_EN),
	   "Base 3.6.1: normal shutdown, then disable");
	ok(rig.closed, "and the bus is closed");
}

static void test_slow(void)
{
	struct snvme_ctrl *ctrl;
	uint64_t start;

	for (int threads = 0; threads < 3; threads++) {
		char keys[64];

		snprintf(keys, sizeof(keys), "threads=%d,ready_ms=60,shutdown_ms=60", threads);
		start = snvme_now();
		ctrl = must_open(keys);
		ok(snvme_now() - start >= 60000000, "CSTS.RDY is waited for");
		start = snvme_now();
		snvme_close(ctrl);
		ok(snvme_now() - start >= 120000000, "SHST and RDY too");
	}
	start = snvme_now();
	ctrl = must_open("ready_ms=1300,to=20");
	ok(snvme_now() - start >= 1300000000, "one that takes longer than a unit of CAP.TO, and not that many");
	snvme_close(ctrl);
	ctrl = must_open("power_loss=1");
	is(((struct own *)ctrl->priv)->shutdown_ns, 60000000000, "a shutdown has the time that RTD3E says");
	snvme_close(ctrl);
	rig_make("ready_ms=100000,to=1");
	start = snvme_now();
	is(rig_open(&ctrl), -ETIMEDOUT, "a controller that is not ready within CAP.TO");
	ok(snvme_now() - start >= 500000000 && snvme_now() - start < 20000000000, "CAP.TO it was");
	ok(rig.closed, "the bus is closed");

	rig_make("to=1");
	rig.csts_set = SNV_CSTS_RDY;
	is(rig_open(&ctrl), -ETIMEDOUT, "one that does not stop");
	rig_make("");
	rig.gone = true;
	is(rig_open(&ctrl), -ENODEV, "one that is not there");
	rig_make("");
	rig.csts_set = SNV_CSTS_CFS;
	is(rig_open(&ctrl), -EIO, "one that fails when it is enabled");
}

static void test_grants(void)
{
	static const struct {
		const char *keys;
		uint32_t granted;
	} grants[] = {
		{ "queues=1,grant=asked", 1 }, { "queues=5,grant=asked", 5 },
		{ "queues=7,grant=max", 7 }, { "queues=64,grant=3", 3 },
		{ "queues=1024,grant=asked", 1024 }, { "queues=1024,grant=max,threads=2", 1024 },
		{ "queues=1,grant=1,threads=0", 1 },
	};

	for (size_t i = 0; i < sizeof(grants) / sizeof(*grants); i++) {
		struct snvme_queue_opts opts = { .size = sizeof(opts), .depth = 2 };
		struct snvme_ctrl *ctrl = must_open(grants[i].keys);
		struct snvme_queue *queue = NULL, *second = NULL;
		uint32_t n = 0, want = grants[i].granted;
		bool lowest = true;

		is(info_of(ctrl).granted_sq, want, "submission queues granted");
		is(info_of(ctrl).spare_cq, want, "completion queues spare");
		while (!snvme_queue_create(ctrl, &opts, &queue)) {
			lowest &= snvme_queue_id(queue) == ++n;
			if (n == 2)
				second = queue;
		}
		is(n, want, "as many can be made");
		ok(lowest, "with the lowest identifiers");
		is(snvme_queue_create(ctrl, &opts, &queue), -ENOSPC, "and no more");
		if (second) {
			is(snvme_queue_destroy(second), 0, "one goes");
			is(info_of(ctrl).used_sq, want - 1, "and is not counted");
			is(snvme_queue_create(ctrl, &opts, &queue), 0, "another comes");
			is(snvme_queue_id(queue), 2, "in its place");
		}
		snvme_close(ctrl);
	}
}

/* Completion queues are scarcer than submission queues. */
static void test_few_cqs(void)
{
	struct snvme_ctrl *ctrl = must_open("queues=8");
	struct snvme_queue_opts opts = { .size = sizeof(opts), .depth = 4, .cq_entries = 32 };
	struct snvme_queue *first, *queue;
	int n = 0;

	((struct own *)ctrl->priv)->granted_cq = 1;
	is(snvme_queue_create(ctrl, &opts, &first), 0, "a pair");
	is(snvme_queue_create(ctrl, &opts, &queue), -ENOSPC, "a second");
	opts = (struct snvme_queue_opts){ .size = sizeof(opts), .depth = 4, .share_cq = first };
	while (!snvme_queue_create(ctrl, &opts, &queue))
		n++;
	is(n, 6, "but others can share the first, as far as its ring goes");
	snvme_close(ctrl);
}

static void test_shapes(void)
{
	char keys[64];

	for (int dstrd = 0; dstrd <= 10; dstrd++) {
		struct snvme_ctrl *ctrl;

		snprintf(keys, sizeof(keys), "dstrd=%d,threads=%d,queues=8", dstrd, dstrd % 3);
		ctrl = must_open(keys);
		must_queue(ctrl, 3);
		is(round_trip(ctrl, must_queue(ctrl, 7), 100 * 512), 0, "data through the second");
		snvme_close(ctrl);
	}
	for (int mqes = 2; mqes <= 5; mqes++) {
		struct snvme_ctrl *ctrl;

		snprintf(keys, sizeof(keys), "mqes=%d", mqes);
		ctrl = must_open(keys);
		is(info_of(ctrl).max_entries, mqes, "CAP.MQES");
		is(round_trip(ctrl, must_queue(ctrl, 0), MIB), 0, "data through a queue of its own choice");
		snvme_close(ctrl);
	}
	for (int mps = 0; mps <= 4; mps++) {
		struct snvme_ctrl *ctrl;
		struct snvme_mem *a, *b;
		char *buf = aligned_alloc(4096, 65536);
		struct snvme_queue *queue;

		snprintf(keys, sizeof(keys), "mpsmin=%d,mpsmax=%d", mps, mps ? mps + 1 : 4);
		ctrl = must_open(keys);
		is(info_of(ctrl).page_size, 4096 << mps, "the smallest page");
		queue = must_queue(ctrl, 0);
		is(round_trip(ctrl, queue, 2 * MIB), 0, "data in such pages");
		/* Two registrations in one page, at odd places. */
		is(snvme_mem_register(ctrl, buf + 12, 20000, &a), 0, "memory of the caller's");
		is(snvme_mem_register(ctrl, buf + 20012, 16384, &b), 0, "and what follows it");
		for (int i = 0; i < 36384; i++)
			buf[12 + i] = (char)(i * 3);
		is(snvme_write(queue, 0, buf + 20012, 16384, 0), 0, "written from the second");
		is(snvme_read(queue, 0, buf + 12, 16384, 0), 0, "read into the first");
		ok(!memcmp(buf + 12, buf + 20012, 16384), "the same");
		is(snvme_mem_release(a), 0, "the first is released");
		is(snvme_read(queue, 0, buf + 20012, 512, 0), 0, "the second is not");
		snvme_mem_release(b);
		snvme_close(ctrl);
		free(buf);
	}
}

/* Each admin command of the bring-up, each fault; and then it works. */
static void test_bring_up_faults(void)
{
	static const struct {
		enum vssd_fault_action action;
		int opcode;
		uint32_t count;
		int ret;
		const char *what;
	} cases[] = {
		{ VSSD_FAULT_STATUS, SNV_ADMIN_IDENTIFY, 1, SNV_SC_INTERNAL, "Identify fails" },
		{ VSSD_FAULT_STATUS, SNV_ADMIN_SET_FEATURES, 1, 0, "Set Features fails once" },
		{ VSSD_FAULT_STATUS, SNV_ADMIN_SET_FEATURES, 0, SNV_SC_INTERNAL,
		  "Set Features fails always" },
		{ VSSD_FAULT_STATUS, SNV_ADMIN_ASYNC_EVENT, 0, 0, "no events" },
		{ VSSD_FAULT_DELAY, SNV_ADMIN_IDENTIFY, 1, 0, "Identify late" },
		{ VSSD_FAULT_DELAY, SNV_ADMIN_SET_FEATURES, 1, 0, "Set Features late" },
		{ VSSD_FAULT_LOSE, SNV_ADMIN_IDENTIFY, 1, 0, "Identify's completion lost" },
		{ VSSD_FAULT_LOSE, SNV_ADMIN_SET_FEATURES, 1, 0, "Set Features' lost" },
		{ VSSD_FAULT_LOSE, SNV_ADMIN_IDENTIFY, 0, -ETIMEDOUT, "Identify's lost always" },
		{ VSSD_FAULT_LOSE, -1, 0, -ETIMEDOUT, "all lost" },
		{ VSSD_FAULT_HANG, SNV_ADMIN_IDENTIFY, 1, 0, "Identify hangs" },
		{ VSSD_FAULT_HANG, SNV_ADMIN_SET_FEATURES, 1, 0, "Set Features hangs" },
		{ VSSD_FAULT_HANG, -1, 0, -ETIMEDOUT, "all hang, Abort too" },
		{ VSSD_FAULT_DUPLICATE, -1, 0, 0, "all end twice" },
		{ VSSD_FAULT_CFS, SNV_ADMIN_IDENTIFY, 1, 0, "CSTS.CFS at Identify" },
		{ VSSD_FAULT_CFS, SNV_ADMIN_SET_FEATURES, 1, 0, "CSTS.CFS at Set Features" },
		{ VSSD_FAULT_CFS, SNV_ADMIN_IDENTIFY, 0, -EIO, "CSTS.CFS always" },
		{ VSSD_FAULT_REMOVE, SNV_ADMIN_IDENTIFY, 1, -ENODEV, "removed at Identify" },
		{ VSSD_FAULT_REMOVE, SNV_ADMIN_SET_FEATURES, 1, -ENODEV, "removed at Set Features" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		for (int threads = 0; threads < 2; threads++) {
			struct snvme_ctrl *ctrl = NULL;
			struct snvme_queue *queue;
			int ret;

			rig_make(threads ? "" : "threads=0");
			admin_fault(cases[i].action, cases[i].opcode, cases[i].count);
			ret = rig_open(&ctrl);
			is(ret, cases[i].ret, "bring-up with threads=%d: %s", threads,
			   cases[i].what);
			if (ret)
				continue;
			queue = must_queue(ctrl, 8);
			is(round_trip(ctrl, queue, MIB), 0, "then all is well");
			snvme_close(ctrl);
		}
}

/* ---- the trace ------------------------------------------------------------------------------ */

/* The event of @step of the @nth command of queue @qid, or NULL. */
static const struct vssd_trace_event *step_of(const struct vssd_trace_event *e, uint32_t n,
					      uint8_t step, uint32_t qid, uint32_t nth)
{
	for (; n; e++, n--)
		if (e->step == step && e->qid == qid && !nth--)
			return e;
	return NULL;
}

/* What the host end records, beside what vssd does. */
static void test_trace(const char *threads)
{
	struct snvme_ctrl *ctrl = must_open(threads);
	struct snvme_queue *queue = must_queue(ctrl, 3);
	struct vssd *v = vssd_home_subsystem(rig.home);
	struct vssd_trace_event host[64], worker[512];
	const struct vssd_trace_event *sqe, *fetch, *cqe;
	uint32_t qid = snvme_queue_id(queue), i, n, m;
	struct snvme_ns_info ns;
	uint64_t lost;
	struct snvme_mem *mem;
	char *buf;

	is(vssd_trace_read(v, 1, host, 64, &lost), 0, "%s: nothing while it is off", threads);
	is(vssd_trace_start(v, 512), 0, "start");
	/* Of 3 entries and one more: the ring turns round. */
	is(snvme_mem_alloc(ctrl, 4096, &mem), 0, "memory");
	buf = snvme_mem_addr(mem);
	for (i = 0; i < 6; i++)
		is(snvme_read(queue, 1, buf, 4096, i * 4096), 0, "read");
	is(snvme_get_ns(ctrl, 1, &ns), 0, "an admin command");
	n = vssd_trace_read(v, 1, host, 64, &lost);
	is(lost, 0, "nothing lost");
	m = vssd_trace_read(v, 0, worker, 512, &lost);
	for (i = 0; i < 6; i++) {
		sqe = step_of(host, n, VSSD_STEP_SQE, qid, i);
		fetch = step_of(worker, m, VSSD_STEP_FETCH, qid, i);
		cqe = step_of(worker, m, VSSD_STEP_CQE, qid, i);
		ok(sqe && fetch && cqe && sqe->cid == fetch->cid && sqe->cid == cqe->cid &&
		   sqe->ctrl == fetch->ctrl && sqe->worker == VSSD_TRACE_HOST,
		   "read %u: entry written, fetched, completed", i);
		ok(sqe && fetch && cqe && sqe->ns <= fetch->ns && fetch->ns <= cqe->ns,
		   "in this order");
	}
	ok(!step_of(host, n, VSSD_STEP_SQE, qid, 6), "no more than these");
	sqe = step_of(host, n, VSSD_STEP_SQE, 0, 0);
	fetch = step_of(worker, m, VSSD_STEP_FETCH, 0, 0);
	ok(sqe && fetch && sqe->cid == fetch->cid && sqe->ns <= fetch->ns, "the admin command");
	is(vssd_trace_start(v, 4), 0, "start anew, smaller");
	for (i = 0; i < 6; i++)
		snvme_read(queue, 1, buf, 4096, i * 4096);
	is(vssd_trace_read(v, 1, host, 64, &lost), 4, "as many as the ring holds");
	is(lost, 2, "and the others are counted");
	vssd_trace_stop(v);
	is(snvme_read(queue, 1, buf, 4096, 0), 0, "read");
	is(vssd_trace_read(v, 1, host, 64, &lost), 0, "stopped");
	is(vssd_trace_read(v, 2, host, 64, &lost), 0, "there is no such ring");
	snvme_close(ctrl);
}

/* ---- admin commands ------------------------------------------------------------------------- */

static void test_admin_faults(void)
{
	struct snvme_ctrl *ctrl = must_open("");
	struct snvme_queue *queue = must_queue(ctrl, 8), *other = NULL;
	struct vssd *v = vssd_home_subsystem(rig.home);
	struct snvme_completion done;
	struct snvme_ns_info ns;

	admin_fault(VSSD_FAULT_STATUS, SNV_ADMIN_CREATE_CQ, 1);
	is(snvme_queue_create(ctrl, NULL, &other), -EIO, "Create CQ refused");
	admin_fault(VSSD_FAULT_STATUS, SNV_ADMIN_CREATE_SQ, 1);
	is(snvme_queue_create(ctrl, NULL, &other), -EIO, "Create SQ refused");
	ok(info_of(ctrl).used_sq == 1 && info_of(ctrl).used_cq == 1, "nothing stays of them");
	is(snvme_queue_create(ctrl, NULL, &other), 0, "then it is made");
	vssd_fault_clear(v);
	admin_fault(VSSD_FAULT_STATUS, SNV_ADMIN_DELETE_SQ, 1);
	is(snvme_queue_destroy(other), -EIO, "Delete SQ refused");
	is(round_trip(ctrl, other, 8192), 0, "the queue lives");
	is(snvme_queue_destroy(other), 0, "then it is deleted");
	vssd_fault_clear(v);

	admin_fault(VSSD_FAULT_DUPLICATE, -1, 0);
	for (int i = 0; i < 100; i++)
		if (snvme_get_ns(ctrl, 1, &ns) || ns.nsid != 1 || ns.blocks != 16384)
			break;
		else if (i == 99)
			ok(true, "100 commands that end twice");
	vssd_fault_clear(v);

	admin_fault(VSSD_FAULT_HANG, SNV_ADMIN_IDENTIFY, 1);
	is(snvme_get_ns(ctrl, 1, &ns), -ETIMEDOUT, "Identify hangs");
	is(info_of(ctrl).epoch, 0, "Abort is enough");
	vssd_fault_clear(v);
	is(round_trip(ctrl, queue, 8192), 0, "the queue lives");
	admin_fault(VSSD_FAULT_LOSE, SNV_ADMIN_IDENTIFY, 1);
	is(snvme_get_ns(ctrl, 1, &ns), -ETIMEDOUT, "its completion is lost");
	is(info_of(ctrl).epoch, 1, "Abort is not: a reset");
	is(snvme_poll(queue, &done, 1), -ECONNRESET, "the queue is dead");
	is(snvme_queue_destroy(queue), 0, "and can be destroyed");
	vssd_fault_clear(v);
	is(snvme_get_ns(ctrl, 1, &ns), 0, "Identify answers again");

	for (int i = 0; i < 2; i++) {
		queue = must_queue(ctrl, 8);
		admin_fault(VSSD_FAULT_LOSE, i ? SNV_ADMIN_CREATE_SQ : SNV_ADMIN_CREATE_CQ, 1);
		is(snvme_queue_create(ctrl, NULL, &other), -ETIMEDOUT, "Create %s lost",
		   i ? "SQ" : "CQ");
		is(snvme_poll(queue, &done, 1), -ECONNRESET, "a reset");
		snvme_queue_destroy(queue);
		ok(!info_of(ctrl).used_sq && !info_of(ctrl).used_cq, "no queue stays");
	}
	queue = must_queue(ctrl, 8);
	other = must_queue(ctrl, 8);
	admin_fault(VSSD_FAULT_LOSE, SNV_ADMIN_DELETE_SQ, 1);
	is(snvme_queue_destroy(other), 0, "Delete SQ lost: the reset takes the queue along");
	is(snvme_poll(queue, &done, 1), -ECONNRESET, "and the others");
	snvme_queue_destroy(queue);
	is(info_of(ctrl).epoch, 4, "resets");

	queue = must_queue(ctrl, 8);
	admin_fault(VSSD_FAULT_CFS, SNV_ADMIN_IDENTIFY, 1);
	is(snvme_get_ns(ctrl, 1, &ns), -ECONNRESET, "CSTS.CFS");
	is(info_of(ctrl).epoch, 5, "a reset");
	snvme_queue_destroy(queue);
	queue = must_queue(ctrl, 8);
	is(round_trip(ctrl, queue, MIB), 0, "all is well");

	admin_fault(VSSD_FAULT_REMOVE, SNV_ADMIN_IDENTIFY, 1);
	is(snvme_get_ns(ctrl, 1, &ns), -ENODEV, "removed");
	is(snvme_poll(queue, &done, 1), -ENODEV, "the queue knows");
	is(snvme_get_info(ctrl, &(struct snvme_ctrl_info){ 0 }), -ENODEV, "and the controller");
	is(snvme_reset(ctrl), -ENODEV, "nothing brings it back");
	is(snvme_queue_create(ctrl, NULL, &other), -ENODEV, "no queue any more");
	is(snvme_get_ns(ctrl, 1, &ns), -ENODEV, "no command");
	is(snvme_queue_destroy(queue), 0, "the old one goes");
	snvme_close(ctrl);
	ok(rig.closed, "closed");
}

/* A completion that comes for a second time, when its command's place is another's. */
static void test_second_completion(void)
{
	struct snvme_ctrl *ctrl = must_open("threads=0");
	struct own *own = ctrl->priv;
	const struct snv_sqe identify = {
		.opcode = SNV_ADMIN_IDENTIFY, .prp1 = snv_le64(own->admin_dma + (uint64_t)(own->data - own->admin)),
		.cdw10 = snv_le32(SNV_CNS_CTRL),
	};
	const __le32 phase = snv_le32(1U << 16);
	struct admin_cmd *cmd, *next;
	struct snv_cqe *second;

	admin_fault(VSSD_FAULT_DUPLICATE, SNV_ADMIN_IDENTIFY, 1);
	second = &own->cq.ring[(own->cq.head + 1) % ADMIN_ENTRIES];
	cmd = post(own, &identify);
	while (vssd_home_pump(rig.home))
		;
	second->dw3 ^= phase;	/* not yet */
	reap(own);
	is(cmd->state, ADMIN_DONE, "a command ends");
	cmd->state = ADMIN_FREE;
	next = post(own, &identify);
	ok(next == cmd, "another takes its place");
	second->dw3 ^= phase;
	reap(own);
	is(next->state, ADMIN_BUSY, "which is not ended by what comes late for the first");
	while (vssd_home_pump(rig.home))
		;
	reap(own);
	is(next->state, ADMIN_DONE, "but by its own");
	next->state = ADMIN_FREE;
	snvme_close(ctrl);
}

/* A queue that cannot be deleted does not outlive its memory. */
static void test_close_refused(void)
{
	struct snvme_ctrl *ctrl = must_open("");

	must_queue(ctrl, 8);
	must_queue(ctrl, 8);
	admin_fault(VSSD_FAULT_STATUS, SNV_ADMIN_DELETE_SQ, 0);
	snvme_close(ctrl);
	ok(rig.closed, "closed with queues that the controller would not delete");
	is(rig.mapped, 1, "all that was unmapped but for the admin queue");

	for (unsigned int i = 0; i < 3; i++) {
		static const struct {
			uint8_t opcode;
			uint16_t status;
			const char *what;
		} answers[] = {
			{ SNV_ADMIN_DELETE_CQ, SNV_SC_QID_INVALID, "a queue that the controller does not know is deleted" },
			{ SNV_ADMIN_DELETE_CQ, SNV_SC_CQ_INVALID, "and with the status that QEMU's has for that" },
			{ SNV_ADMIN_DELETE_SQ, SNV_SC_CQ_INVALID, "which says nothing of a submission queue" },
		};
		int ret = answers[i].opcode == SNV_ADMIN_DELETE_CQ ? 0 : -EIO;

		ctrl = must_open("");
		rig_fault(&(struct vssd_fault){ .action = VSSD_FAULT_STATUS, .admin = true, .count = 1,
						.opcode = answers[i].opcode, .status = answers[i].status });
		is(snvme_queue_destroy(must_queue(ctrl, 8)), ret, "%s", answers[i].what);
		is(info_of(ctrl).used_cq, ret != 0, "and counted so");
		snvme_close(ctrl);
	}
}

static void test_passthrough(void)
{
	struct snvme_ctrl *ctrl = must_open("");
	struct snv_smart_log smart;
	struct snvme_admin cmd = {
		.opcode = SNV_ADMIN_GET_LOG_PAGE, .nsid = SNV_NSID_ALL, .data = &smart,
		.length = sizeof(smart),
		.cdw10 = SNV_LOG_SMART | (sizeof(smart) / 4 - 1) << 16,
	};
	static const uint8_t reserved_opcodes[] = { 0x00, 0x01, 0x04, 0x05, 0x0c, 0x7c };
	uint8_t timestamp[8] = { 0x78, 0x56, 0x34, 0x12 };

	memset(&smart, 0xee, sizeof(smart));
	is(snvme_admin(ctrl, &cmd), 0, "Get Log Page");
	ok(smart.temperature[0] == (300 & 0xff) && smart.temperature[1] == 300 >> 8, "its data");
	cmd = (struct snvme_admin){
		.opcode = SNV_ADMIN_SET_FEATURES, .cdw10 = SNV_FEAT_TIMESTAMP, .data = timestamp,
		.length = 8,
	};
	is(snvme_admin(ctrl, &cmd), 0, "Set Features with data");
	cmd.opcode = SNV_ADMIN_GET_FEATURES;
	timestamp[3] = 0;
	is(snvme_admin(ctrl, &cmd), 0, "Get Features");
	is(timestamp[3], 0x12, "gives them back");
	cmd = (struct snvme_admin){ .opcode = SNV_ADMIN_GET_FEATURES, .cdw10 = SNV_FEAT_NUM_QUEUES };
	is(snvme_admin(ctrl, &cmd), 0, "Get Features without data");
	is(cmd.result, 63 << 16 | 63, "its dword 0");
	cmd = (struct snvme_admin){ .opcode = 0xff };
	is(snvme_admin(ctrl, &cmd), SNV_SC_INVALID_OPCODE, "an opcode of nobody's");
	cmd = (struct snvme_admin){ .opcode = SNV_ADMIN_SET_FEATURES, .cdw10 = SNV_FEAT_NUM_QUEUES };
	is(snvme_admin(ctrl, &cmd), -EINVAL, "the number of queues is not for the caller to set");
	for (size_t i = 0; i < sizeof(reserved_opcodes); i++) {
		cmd = (struct snvme_admin){ .opcode = reserved_opcodes[i] };
		is(snvme_admin(ctrl, &cmd), -EINVAL, "nor is opcode %02x his", cmd.opcode);
	}
	cmd = (struct snvme_admin){ .opcode = SNV_ADMIN_IDENTIFY, .length = 4096 };
	is(snvme_admin(ctrl, &cmd), -EINVAL, "data without memory");
	cmd = (struct snvme_admin){ .opcode = 0xc2, .length = 8192, .data = &smart };
	is(snvme_admin(ctrl, &cmd), -EINVAL, "more than a page");
	snvme_close(ctrl);
}

/* ---- events --------------------------------------------------------------------------------- */

static void set_temperature_threshold(struct snvme_ctrl *ctrl, uint32_t kelvins)
{
	struct snvme_admin cmd = {
		.opcode = SNV_ADMIN_SET_FEATURES, .cdw10 = SNV_FEAT_TEMP_THRESH, .cdw11 = kelvins,
	};

	is(snvme_admin(ctrl, &cmd), 0, "temperature threshold of %u K", kelvins);
}

static void test_events(void)
{
	struct snvme_ctrl *ctrl = must_open("");
	struct snvme_queue *queue = must_queue(ctrl, 4);
	struct snvme_mem *mem;

	is(info_of(ctrl).events, 0, "no event");
	for (int i = 1; i <= 10; i++) {
		set_temperature_threshold(ctrl, 290);
		set_temperature_threshold(ctrl, 340);
		is(info_of(ctrl).events, i, "too hot: an event, number %d", i);
	}
	is(info_of(ctrl).last_event, SNV_AER_SMART | 0x01 << 8 | SNV_LOG_SMART << 16, "and what it was");

	/* A doorbell that rings nothing sensible: by a queue's own register. */
	snv_doorbell_write(queue->db.mmio, 60000);
	vssd_home_wake(rig.home, queue->cq->qid);
	for (uint64_t since = snvme_now(); info_of(ctrl).events == 10 && snvme_now() - since < 300000000000ULL;)
		;	/* asking is what looks for it */
	is(info_of(ctrl).last_event & 0xffff, SNV_AER_ERROR | SNV_AER_ERROR_INVALID_DB_VAL << 8,
	   "an invalid doorbell value is reported");
	is(snvme_reset(ctrl), 0, "a reset");
	snvme_queue_destroy(queue);
	set_temperature_threshold(ctrl, 290);
	ok(info_of(ctrl).events >= 12, "events come after it as before");

	queue = must_queue(ctrl, 4);
	snvme_mem_alloc(ctrl, 65536, &mem);
	is(snvme_read(queue, 1, snvme_mem_addr(mem), 512, 0), 0, "blocks of 512 bytes");
	is(snvme_admin(ctrl, &(struct snvme_admin){ .opcode = SNV_ADMIN_FORMAT, .nsid = 1,
						    .cdw10 = 2 }), 0, "Format to 4,096");
	is(snvme_read(queue, 1, snvme_mem_addr(mem), 512, 0), -EINVAL, "the queue has heard of it");
	is(snvme_read(queue, 1, snvme_mem_addr(mem), 4096, 4096), 0, "and reads such blocks");
	snvme_close(ctrl);
}

/* The controller fails while its events are looked at. */
static void test_event_faults(void)
{
	for (int way = 0; way < 3; way++) {
		struct snvme_ctrl *ctrl = must_open("threads=0");
		struct snvme_queue *queue = must_queue(ctrl, 4);
		struct snvme_completion done;

		admin_fault(VSSD_FAULT_LOSE, SNV_ADMIN_GET_LOG_PAGE, 1);
		/* A doorbell that rings nothing sensible is an event; or a temperature is. */
		if (way < 2)
			snv_doorbell_write(queue->db.mmio, 60000);
		while (vssd_home_pump(rig.home))
			;
		if (way == 0)
			is(snvme_flush(queue, 1), -ECONNRESET, "a log page is lost before a call on a queue");
		else if (way == 1)
			is(info_of(ctrl).epoch, 1, "or when somebody looks");
		else
			set_temperature_threshold(ctrl, 290);
		is(info_of(ctrl).epoch, 1, "a reset");
		is(snvme_poll(queue, &done, 1), -ECONNRESET, "of which the queue hears");
		snvme_queue_destroy(queue);
		is(round_trip(ctrl, must_queue(ctrl, 4), MIB), 0, "all is well");
		snvme_close(ctrl);
	}
}

/* Events that do not end do not hold up who looks at them. */
static void test_event_storm(void)
{
	struct snvme_ctrl *ctrl = must_open("threads=0");
	uint64_t before;

	rig.storm = must_queue(ctrl, 4)->db.mmio;
	/* One command for the SSD to be rung at, another for it to notice. */
	for (int i = 0; i < 2; i++)
		set_temperature_threshold(ctrl, 340);
	before = info_of(ctrl).events;
	for (int looks = 0; looks < 5; looks++) {
		uint64_t events = info_of(ctrl).events;

		ok(events - before <= EVENTS_AT_ONCE, "%llu at once", (unsigned long long)(events - before));
		before = events;
	}
	ok(before >= 5 * EVENTS_AT_ONCE, "of events without end: %llu", (unsigned long long)before);
	snvme_close(ctrl);
}

static void test_changed_namespaces(void)
{
	struct snvme_ctrl *ctrl = must_open("");
	struct snv_id_ctrl id;
	struct snvme_admin cmd = { .opcode = SNV_ADMIN_IDENTIFY, .cdw10 = SNV_CNS_CTRL, .data = &id,
				   .length = sizeof(id) };
	uint32_t changes = ctrl->ns_changes;
	uint16_t list[2048] = { 1 };
	struct snvme_ns_info ns;

	is(snvme_admin(ctrl, &cmd), 0, "Identify");
	list[1] = snv_le16_get(id.cntlid);
	cmd = (struct snvme_admin){ .opcode = SNV_ADMIN_NS_ATTACH, .nsid = 1, .cdw10 = 1, .data = list,
				    .length = sizeof(list) };
	is(snvme_admin(ctrl, &cmd), 0, "the namespace is detached");
	is(info_of(ctrl).last_event, SNV_AER_NOTICE | SNV_AER_NOTICE_NS_CHANGED << 8 | SNV_LOG_CHANGED_NS << 16,
	   "which is an event");
	ok(ctrl->ns_changes > changes, "that the library has noted");
	is(snvme_get_ns(ctrl, 1, &ns), -ENOENT, "it is not there");
	cmd.cdw10 = 0;
	is(snvme_admin(ctrl, &cmd), 0, "it is attached");
	is(snvme_get_ns(ctrl, 1, &ns), 0, "and there");
	snvme_close(ctrl);
}

/* ---- its own memory ------------------------------------------------------------------------- */

static int cmb_queue(struct snvme_ctrl *ctrl, uint32_t depth, struct snvme_queue **queue)
{
	struct snvme_queue_opts opts = { .size = sizeof(opts), .depth = depth, .flags = SNVME_QUEUE_CMB };

	return snvme_queue_create(ctrl, &opts, queue);
}

/* Rings of 4, 4 and 8 KiB in 16. */
static void test_cmb(void)
{
	static const uint32_t depths[] = { 63, 10, 127 };
	struct snvme_queue *queue[3], *other;
	struct snvme_ctrl *ctrl;
	char *cmb;

	ctrl = must_open("cmb=16k");
	cmb = vssd_home_cmb(rig.home);
	is(info_of(ctrl).cmb_bytes, 16384, "memory of its own");
	for (int turn = 0; turn < 2; turn++) {
		for (int i = 0; i < 3; i++)
			is(cmb_queue(ctrl, depths[i], &queue[i]), 0, "a ring of %u in it", depths[i] + 1);
		is(cmb_queue(ctrl, 1, &other), -ENOSPC, "that was all");
		for (int i = 0; i < 3; i++) {
			size_t at = (size_t)((char *)queue[i]->ring - cmb);

			ok(at < 16384 && at + queue[i]->ring_bytes <= 16384, "ring %d lies in it", i);
			is(round_trip(ctrl, queue[i], 3 * MIB / 2), 0, "data by it");
		}
		is(snvme_queue_destroy(queue[1]), 0, "the middle one goes");
		is(cmb_queue(ctrl, 64, &other), -ENOSPC, "two pages do not fit there");
		is(cmb_queue(ctrl, 20, &queue[1]), 0, "one does");
		is(snvme_reset(ctrl), 0, "a reset");
		memset(cmb, 0xff, 16384);
		for (int i = 0; i < 3; i++) {
			is(snvme_queue_renew(queue[i]), 0, "ring %d again, whatever lay there", i);
			is(round_trip(ctrl, queue[i], 3 * MIB / 2), 0, "data by it");
		}
		for (int i = 0; i < 3; i++)
			snvme_queue_destroy(queue[i]);
	}
	is(cmb_queue(ctrl, 1000, &other), -ENOSPC, "more than all of it");
	refuse_in = 5;		/* after a mapping for PRP lists, and what the completion queue needs */
	is(cmb_queue(ctrl, 1, &other), -ENOMEM, "no memory to note it");
	refuse_in = 0;
	is(cmb_queue(ctrl, 10, &other), 0, "a ring in it");
	rig.cmbsts_set = SNV_CMBSTS_CBAI;
	is(snvme_reset(ctrl), 0, "a reset after which it is not where it was");
	is(snvme_queue_renew(other), -EOPNOTSUPP, "the ring is not made anew");
	rig.cmbsts_set = 0;
	is(snvme_reset(ctrl), 0, "another, and it is");
	is(snvme_queue_renew(other), 0, "nor is the ring lost");
	is(round_trip(ctrl, other, MIB), 0, "data by it");
	rig.stores = 0;
	snvme_close(ctrl);
	ok(rig.offset[rig.stores - 1] == SNV_REG_CMBMSC && !rig.value[rig.stores - 1],
	   "at last the controller's memory is nowhere");

	/* Its pages are larger than those that its memory is aligned to. */
	ctrl = must_open("cmb=1M,mpsmin=4,mpsmax=4");
	is(cmb_queue(ctrl, 10, &other), 0, "a ring where a page of 64 KiB begins");
	is(round_trip(ctrl, other, MIB), 0, "data by it");
	snvme_close(ctrl);

	ctrl = must_open("");
	is(cmb_queue(ctrl, 1, &other), -EOPNOTSUPP, "one that has none");
	snvme_close(ctrl);
	for (int way = 0; way < 3; way++) {
		static const char *const what[] = {
			"one that cannot have it there", "one whose memory is not to be had", "one that takes no queues in it",
		};

		rig_make("cmb=16k");
		rig.cmb_wrong = way == 0;
		rig.cmb_hidden = way == 1;
		rig.cmbsz_clear = way == 2 ? SNV_CMBSZ_SQS : 0;
		is(rig_open(&ctrl), 0, "%s", what[way]);
		is(info_of(ctrl).cmb_bytes, 0, "has none for us");
		is(cmb_queue(ctrl, 1, &other), -EOPNOTSUPP, "no ring in it");
		is(round_trip(ctrl, must_queue(ctrl, 4), MIB), 0, "all else is there");
		snvme_close(ctrl);
	}
}

/* ---- what is refused, and controllers that go ----------------------------------------------- */

/* What needs memory or a mapping; @undo when it had all. */
struct need {
	const char *what;
	int (*get)(struct snvme_ctrl *ctrl);
	void (*undo)(struct snvme_ctrl *ctrl);
};

static struct snvme_queue *needed_queue;
static struct snvme_mem *needed_mem[2];
static char *needed_bytes;
static uint32_t needed_handle;

static int get_queue(struct snvme_ctrl *ctrl)
{
	return snvme_queue_create(ctrl, NULL, &needed_queue);
}

static void undo_queue(struct snvme_ctrl *ctrl)
{
	snvme_queue_destroy(needed_queue);
}

/* The middle of one page to the middle of another. */
static int get_pages(struct snvme_ctrl *ctrl)
{
	return snvme_mem_register(ctrl, needed_bytes + 100, 16384, &needed_mem[0]);
}

static void undo_pages(struct snvme_ctrl *ctrl)
{
	snvme_mem_release(needed_mem[0]);
}

/* Memory in pages of others. */
static int get_between(struct snvme_ctrl *ctrl)
{
	int ret = get_pages(ctrl);

	if (ret)
		return ret;
	ret = snvme_mem_register(ctrl, needed_bytes + 16484, 100, &needed_mem[1]);
	if (ret)
		undo_pages(ctrl);
	return ret;
}

static void undo_between(struct snvme_ctrl *ctrl)
{
	snvme_mem_release(needed_mem[1]);
	undo_pages(ctrl);
}

static int get_far(struct snvme_ctrl *ctrl)
{
	struct snv_dma_map map;
	uint64_t table = 0;
	int ret = ctrl->ops->far_map(ctrl, (uintptr_t)needed_bytes, -1, 65536, &table, &map, &needed_handle);

	if (!ret)
		ok(table == (uintptr_t)needed_bytes && map.pages == 1, "memory in one piece");
	return ret;
}

static void undo_far(struct snvme_ctrl *ctrl)
{
	ctrl->ops->far_unmap(ctrl, (uintptr_t)needed_bytes, 65536, needed_handle);
}

/* Each thing that is asked for is refused once: nothing of the rest stays. */
static void test_refused(void)
{
	static const struct need needs[] = {
		{ "a queue", get_queue, undo_queue }, { "memory", get_pages, undo_pages },
		{ "pages in common", get_between, undo_between }, { "memory of a GPU", get_far, undo_far },
	};
	struct snvme_bus_ops far_ops;
	struct snvme_ctrl *ctrl;
	uint32_t n, mapped;
	int ret = -1;

	for (n = 1; ret; n++) {
		rig_make("");
		refuse_in = n;
		ret = rig_open(&ctrl);
		refuse_in = 0;
		if (ret) {
			ok(ret == -ENOMEM || ret == -ENOSPC, "open: refused what it asks for as number %u", n);
			ok(rig.closed && !rig.mapped, "nothing is left");
		}
	}
	ok(n > 5, "there were %u", n - 2);
	snvme_close(ctrl);

	/* Memory of a GPU is the process's here. */
	far_ops = rig_ops;
	far_ops.awake = rig_awake;
	far_ops.map_far = rig_map;
	far_ops.unmap_far = rig_unmap;
	rig_make("");
	rig.bus.ops = &far_ops;
	is(rig_open(&ctrl), 0, "a controller that reaches a GPU's memory");
	needed_bytes = aligned_alloc(4096, 65536);
	for (size_t i = 0; i < sizeof(needs) / sizeof(*needs); i++) {
		mapped = rig.mapped;
		ret = -1;
		for (n = 1; ret; n++) {
			refuse_in = n;
			ret = needs[i].get(ctrl);
			refuse_in = 0;
			if (ret) {
				ok(ret == -ENOMEM || ret == -ENOSPC, "%s: refused number %u", needs[i].what, n);
				is(rig.mapped, mapped, "nothing is left");
			}
		}
		ok(n > 2, "%s: there were %u", needs[i].what, n - 2);
		needs[i].undo(ctrl);
		is(rig.mapped, mapped, "all is given back");
	}
	/* To be forgotten with the controller: pages in common. */
	is(get_between(ctrl), 0, "memory that nobody releases");
	ctrl->ops->awake(ctrl, 1);
	is(rig.awake, 1, "somebody rings who cannot wake");
	is(ctrl->ops->far_doorbell(ctrl, (uint32_t *)rig.bus.doorbells + 2), 0,
	   "a GPU has no doorbells of its own there");
	rig.bus.far_doorbells = 1 << 20;
	is(ctrl->ops->far_doorbell(ctrl, (uint32_t *)rig.bus.doorbells + 2), (1 << 20) + 8, "now it has");
	snvme_close(ctrl);
	free(needed_bytes);

	ctrl = must_open("");
	is(ctrl->ops->far_map(ctrl, 0, -1, 4096, NULL, NULL, NULL), -EOPNOTSUPP, "one that does not");
	ctrl->ops->awake(ctrl, 1);
	snvme_close(ctrl);
}

static void test_going(void)
{
	struct snvme_queue_opts opts = { .size = sizeof(opts), .depth = 1, .flags = SNVME_QUEUE_LOW };
	struct snvme_queue *queue;
	struct snvme_ctrl *ctrl;
	struct snvme_mem *mem;

	for (uint32_t n = 1; n <= 5; n++) {
		rig_make("");
		rig.gone_after = n;
		is(rig_open(&ctrl), -ENODEV, "a controller that goes after store %u of its bring-up", n);
		ok(rig.closed, "is closed");
	}
	ctrl = must_open("");
	rig.gone = true;
	snvme_close(ctrl);
	ok(rig.closed, "one that goes before it is shut down");
	rig_make("");
	rig.cap_clear = 0xffULL << 37;
	is(rig_open(&ctrl), -EOPNOTSUPP, "one without the NVM command set");
	rig_make("threads=0");
	rig.cntrltype = SNV_CNTRLTYPE_IO + 1;
	is(rig_open(&ctrl), -EOPNOTSUPP, "one for discovery");
	rig_make("threads=0");
	rig.sqes = 0x77;
	is(rig_open(&ctrl), -EOPNOTSUPP, "one whose submission queue entries are of 128 bytes");
	rig_make("threads=0");
	rig.cqes = 0x55;
	is(rig_open(&ctrl), -EOPNOTSUPP, "one whose completion queue entries are of 32");
	rig_make("");
	/* The number of queues is set first. */
	rig_fault(&(struct vssd_fault){ .action = VSSD_FAULT_LOSE, .admin = true,
					.opcode = SNV_ADMIN_SET_FEATURES, .skip = 1, .count = 0 });
	is(rig_open(&ctrl), -ETIMEDOUT, "one that loses what events are asked for");
	ok(rig.closed, "is closed");

	ctrl = must_open("wrr=0");
	is(snvme_queue_create(ctrl, &opts, &queue), -EOPNOTSUPP, "no classes where there are none");
	opts.flags = 0;
	opts.cq_entries = 8;
	is(snvme_queue_create(ctrl, &opts, &queue), 0, "a queue with room for others");
	opts.cq_entries = 0;
	opts.share_cq = queue;
	is(snvme_reset(ctrl), 0, "a reset");
	is(snvme_queue_create(ctrl, &opts, &queue), -ECONNRESET, "to share what died in it");
	rig.bus.own_memory = true;
	is(snvme_mem_register(ctrl, ctrl, 1, &mem), -EOPNOTSUPP, "memory of ours where only the library's will do");
	snvme_close(ctrl);

	/* One that is patient: it takes Abort a second, however long others may take. */
	ctrl = must_open("");
	admin_fault(VSSD_FAULT_HANG, SNV_ADMIN_IDENTIFY, 1);
	ctrl->timeout_ns = ABORT_NS + 100000000;
	is(snvme_get_ns(ctrl, 1, &(struct snvme_ns_info){ 0 }), -ETIMEDOUT, "what hangs is aborted");
	is(info_of(ctrl).epoch, 0, "without a reset");
	snvme_close(ctrl);
}

/* ---- I/O ------------------------------------------------------------------------------------ */

static void test_io_faults(void)
{
	static const struct {
		enum vssd_fault_action action;
		int ret;
		uint32_t epoch;
		bool lives;
		const char *what;
	} cases[] = {
		{ VSSD_FAULT_STATUS, SNV_SC_READ_ERROR, 0, true, "a status" },
		{ VSSD_FAULT_DELAY, 0, 0, true, "a delay" },
		{ VSSD_FAULT_HANG, -ETIMEDOUT, 0, true, "a command that hangs" },
		{ VSSD_FAULT_LOSE, -ETIMEDOUT, 1, false, "a lost completion" },
		{ VSSD_FAULT_CFS, -ECONNRESET, 1, false, "CSTS.CFS" },
		{ VSSD_FAULT_DUPLICATE, -EPROTO, 1, false, "a completion that comes twice" },
		{ VSSD_FAULT_REMOVE, -ENODEV, 0, false, "removal" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		for (int threads = 0; threads < 3; threads++) {
			/* Room in the completion queue for one more than there can be. */
			struct snvme_queue_opts opts = {
				.size = sizeof(opts), .depth = 4, .cq_entries = 16,
			};
			struct snvme_ctrl *ctrl;
			struct snvme_queue *queue = NULL;
			struct snvme_mem *mem;
			char keys[32];
			uint8_t *buf;

			snprintf(keys, sizeof(keys), "mdts=1,threads=%d", threads);
			ctrl = must_open(keys);
			is(snvme_queue_create(ctrl, &opts, &queue), 0, "a queue");
			snvme_mem_alloc(ctrl, MIB, &mem);
			buf = snvme_mem_addr(mem);
			memset(buf, 0x5a, MIB);
			is(snvme_write(queue, 0, buf, MIB, 0), 0, "written");
			io_fault(cases[i].action, 5);
			is(snvme_read(queue, 0, buf, MIB, 0), cases[i].ret, "read with threads=%d: %s",
			   threads, cases[i].what);
			if (cases[i].ret == -ENODEV) {
				snvme_close(ctrl);
				continue;
			}
			is(info_of(ctrl).epoch, cases[i].epoch, "%u resets", cases[i].epoch);
			/* The memory is the caller's: nobody writes to it any more. */
			memset(buf, 0xa5, MIB);
			usleep(3000);
			for (uint32_t j = 0; j < MIB; j++)
				if (buf[j] != 0xa5)
					break;
				else if (j == MIB - 1)
					ok(true, "the memory is ours");
			if (!cases[i].lives) {
				is(snvme_queue_destroy(queue), 0, "the queue goes");
				queue = must_queue(ctrl, 4);
			}
			is(round_trip(ctrl, queue, MIB), 0, "and all is well");
			snvme_close(ctrl);
		}
}

static void test_power_cut(void)
{
	struct snvme_ctrl *ctrl = must_open("power_loss=1");
	struct snvme_queue *queue = must_queue(ctrl, 4);

	is(round_trip(ctrl, queue, MIB), 0, "data");
	vssd_power_cut(vssd_home_subsystem(rig.home));
	is(round_trip(ctrl, queue, MIB), -ECONNRESET, "power is cut: the controller is found disabled");
	snvme_queue_destroy(queue);
	is(round_trip(ctrl, must_queue(ctrl, 4), MIB), 0, "and brought up");
	snvme_close(ctrl);
}

static void test_abort(int threads)
{
	struct snvme_completion done;
	struct snvme_ctrl *ctrl = must_open(threads ? "" : "threads=0");
	struct snvme_queue *queue = must_queue(ctrl, 4);
	struct snvme_io io = { .opcode = SNVME_OP_READ, .nsid = 1, .nlb = 1, .length = 512 };

	snvme_mem_alloc(ctrl, 4096, &io.mem);
	io_fault(VSSD_FAULT_HANG, 1);
	for (io.user = 70; io.user < 72; io.user++)
		is(snvme_submit(queue, &io, 1), 1, "a read");
	is(snvme_wait(queue, &done, 1, -1), 1, "one ends");
	is(done.user, 70, "the first");
	is(snvme_wait(queue, &done, 1, 20000000), -ETIMEDOUT, "the other hangs");
	is(snvme_abort(queue, 70), -ENOENT, "what has ended cannot be aborted");
	is(snvme_abort(queue, 71), 0, "what hangs can");
	is(snvme_wait(queue, &done, 1, -1), 1, "its completion comes");
	ok(done.user == 71 && done.status == SNV_SC_ABORT_REQ, "Command Abort Requested");
	is(snvme_abort(queue, 71), -ENOENT, "no more");
	snvme_close(ctrl);
}

/* ---- resets --------------------------------------------------------------------------------- */

#define RESETS	100

static uint32_t stop;

struct worker {
	struct snvme_ctrl *ctrl;
	pthread_t thread;
	uint32_t index;
	sem_t trips;		/* posted for each piece that came back, and at the end */
	uint32_t dead;
	uint64_t bytes;
	int wrong;
};

/*
 * Write and read back pieces of one's own; whenever the queue has died, on a new one, or, the second of
 * them, on the same made anew.
 */
static void *work(void *arg)
{
	struct worker *w = arg;
	struct snvme_queue *queue = NULL;
	struct snvme_mem *mem;
	uint64_t x = w->index + 1;
	uint8_t *buf;

	if (snvme_mem_alloc(w->ctrl, 131072, &mem)) {
		w->wrong = -ENOMEM;
		return NULL;
	}
	buf = snvme_mem_addr(mem);
	while (!SNV_LOAD_ACQUIRE(&stop) && !w->wrong) {
		uint64_t at = w->index * 2 * MIB;
		size_t n;
		int ret = queue ? 0 : snvme_queue_create(w->ctrl, NULL, &queue);

		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		at += (x >> 33) % 64 * 4096;
		n = 512 * (1 + (x >> 45) % 128);
		memset(buf, (int)(x >> 20), n);
		if (!ret)
			ret = snvme_write(queue, 1, buf, n, at);
		if (!ret)
			ret = snvme_read(queue, 1, buf + 65536, n, at);
		if (ret == -ECONNRESET) {
			w->dead++;
			ret = -ENOSYS;
			if (w->index && queue)
				ret = snvme_queue_renew(queue);
			if (ret == -ENOSYS) {
				snvme_queue_destroy(queue);
				queue = NULL;
			} else if (ret && ret != -ECONNRESET) {
				w->wrong = ret;
			}
		} else if (ret || memcmp(buf, buf + 65536, n)) {
			w->wrong = ret ? ret : -EILSEQ;
		} else {
			w->bytes += 2 * n;
			sem_post(&w->trips);
		}
	}
	sem_post(&w->trips);
	snvme_queue_destroy(queue);
	snvme_mem_release(mem);
	return NULL;
}

/* A piece has come back since now, or none does for long. */
static bool at_work(struct worker *w)
{
	struct timespec limit;

	while (!sem_trywait(&w->trips))
		;
	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += 300;
	return !sem_timedwait(&w->trips, &limit);
}

static void test_resets(int threads)
{
	struct worker worker[2] = { 0 };
	struct snvme_ctrl *ctrl;
	bool both = true;
	char keys[32];
	int failed = 0;

	snprintf(keys, sizeof(keys), "threads=%d", threads);
	ctrl = must_open(keys);
	SNV_STORE_RELEASE(&stop, 0);
	for (uint32_t i = 0; i < 2; i++) {
		worker[i] = (struct worker){ .ctrl = ctrl, .index = i };
		sem_init(&worker[i].trips, 0, 0);
		pthread_create(&worker[i].thread, NULL, work, &worker[i]);
	}
	for (int i = 0; i < RESETS && both; i++) {
		failed += snvme_reset(ctrl) != 0;
		both = at_work(&worker[0]) && at_work(&worker[1]);
	}
	ok(both, "both work again after each reset");
	SNV_STORE_RELEASE(&stop, 1);
	for (int i = 0; i < 2; i++) {
		pthread_join(worker[i].thread, NULL);
		is(worker[i].wrong, 0, "thread %d: %u queues died under it, %llu bytes", i,
		   worker[i].dead, (unsigned long long)worker[i].bytes);
		ok(worker[i].dead > RESETS / 4, "in the middle of I/O");
	}
	is(failed, 0, "%d resets with threads=%d", RESETS, threads);
	is(info_of(ctrl).epoch, RESETS, "are what the epoch counts");
	is(info_of(ctrl).used_sq, 0, "no queue is left");
	for (int i = 0; i < 2; i++)
		sem_destroy(&worker[i].trips);
	snvme_close(ctrl);
}

int main(void)
{
	test_registers();
	test_slow();
	test_grants();
	test_few_cqs();
	test_shapes();
	test_bring_up_faults();
	test_trace("threads=0");
	test_trace("threads=1");
	test_admin_faults();
	test_second_completion();
	test_close_refused();
	test_passthrough();
	test_events();
	test_event_faults();
	test_event_storm();
	test_changed_namespaces();
	test_cmb();
	test_refused();
	test_going();
	test_io_faults();
	test_power_cut();
	test_abort(0);
	test_abort(1);
	for (int threads = 0; threads < 3; threads++)
		test_resets(threads);
	return done();
}
