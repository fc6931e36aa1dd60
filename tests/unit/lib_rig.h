/* SPDX-License-Identifier: MIT */
/*
 * libsnvme and a virtual SSD whose bus is the test's: it sees the registers, can lie about them, and refuses what it
 * likes. The library's sources are a part of this, so that their requests for memory pass here, too.
 */
#ifndef LIB_RIG_H
#define LIB_RIG_H

#include "tap.h"

#include "../../lib/open.c"

/* Of what lib/ctrl.c and lib/ctrl_mem.c ask for, memory and mappings, the @refuse_in'th is refused; 0: none. */
static uint32_t refuse_in;

static bool refused(void)
{
	return refuse_in && !--refuse_in;
}

#define calloc(n, size)			(refused() ? NULL : (calloc)(n, size))
#define snvme_pages_alloc(size, align)	(refused() ? NULL : (snvme_pages_alloc)(size, align))
#include "../../lib/ctrl.c"
#include "../../lib/ctrl_mem.c"
#undef calloc
#undef snvme_pages_alloc

#include "user/home.h"

#define MIB		(1U << 20)
#define TIMEOUT_NS	400000000ULL
#define LOG		64

/* What the bus has seen, and what it is to say. */
static struct rig {
	struct snvme_bus bus;
	struct vssd_home *home;
	uint32_t offset[LOG];
	uint64_t value[LOG];
	uint32_t stores;
	uint32_t csts_set;	/* bits of CSTS that read as set */
	uint64_t cap_set;
	uint64_t cap_clear;
	bool gone;		/* registers read as all ones */
	uint32_t gone_after;	/* so many stores to registers; 0: never */
	char *admin;		/* what the library mapped first: rings and data of the admin queue */
	uint8_t cntrltype, sqes, cqes;	/* what Identify is to say, if not 0 */
	uint32_t storms, *storm;	/* a doorbell that is rung wrongly whenever the SSD has worked */
	bool cmb_wrong;		/* the controller's memory is said to be where none can be */
	bool cmb_hidden;	/* it is not to be had */
	uint32_t cmbsts_set;	/* bits of CMBSTS that read as set */
	uint32_t cmbsz_clear;	/* of CMBSZ, as clear */
	int awake;
	bool closed;
	uint32_t mapped;
	struct snvme_ctrl *ctrl;	/* the last that was opened */
	bool opened;			/* it has been */
	uint64_t timeout_ns;		/* see rig_fault() */
} rig;

static uint64_t rig_read(struct snvme_bus *bus, uint32_t offset, uint32_t size)
{
	uint64_t value = vssd_reg_read(vssd_home_ctrl(rig.home), offset, size);

	if (rig.gone)
		return size == 4 ? UINT32_MAX : UINT64_MAX;
	if (offset == SNV_REG_CSTS)
		value |= rig.csts_set;
	if (offset == SNV_REG_CMBSTS)
		value |= rig.cmbsts_set;
	if (offset == SNV_REG_CMBSZ)
		value &= ~rig.cmbsz_clear;
	return offset == SNV_REG_CAP ? (value | rig.cap_set) & ~rig.cap_clear : value;
}

static void rig_write(struct snvme_bus *bus, uint32_t offset, uint64_t value, uint32_t size)
{
	uint32_t i = rig.stores++ % LOG;

	/* A reset is what ends those that are not waited for long. (Threads that read this have not set it.) */
	if (offset == SNV_REG_CC && !(value & SNV_CC_EN) && rig.opened && rig.ctrl->timeout_ns)
		rig.ctrl->timeout_ns = 0;
	rig.offset[i] = offset;
	rig.value[i] = value;
	vssd_reg_write(vssd_home_ctrl(rig.home), offset, value, size);
	vssd_home_wake(rig.home, 0);
	if (rig.stores == rig.gone_after)
		rig.gone = true;
}

static int rig_map(struct snvme_bus *bus, void *va, size_t length, uint64_t *dma)
{
	int ret = refused() ? -ENOSPC : vssd_home_map(rig.home, va, length);

	*dma = (uintptr_t)va;
	if (!rig.admin)
		rig.admin = va;
	if (!ret)
		__atomic_fetch_add(&rig.mapped, 1, __ATOMIC_RELAXED);
	return ret;
}

static void rig_unmap(struct snvme_bus *bus, void *va, size_t length)
{
	if (!vssd_home_unmap(rig.home, va, length))
		__atomic_fetch_sub(&rig.mapped, 1, __ATOMIC_RELAXED);
}

static const uint32_t *rig_asleep(struct snvme_bus *bus, uint16_t cqid)
{
	return vssd_home_asleep(rig.home, cqid);
}

static void rig_wake(struct snvme_bus *bus, uint16_t cqid)
{
	vssd_home_wake(rig.home, cqid);
}

static bool rig_pump(struct snvme_bus *bus)
{
	struct snv_id_ctrl *id = (struct snv_id_ctrl *)(rig.admin + 8192);
	bool busy = vssd_home_pump(rig.home);

	if (busy && rig.cntrltype)
		id->cntrltype = rig.cntrltype;
	if (busy && rig.sqes)
		id->sqes = rig.sqes;
	if (busy && rig.cqes)
		id->cqes = rig.cqes;
	if (busy && rig.storm)
		snv_doorbell_write(rig.storm, 60000 + rig.storms++ % 2);
	return busy;
}

static void *rig_cmb(struct snvme_bus *bus, uint32_t bir, uint64_t offset, size_t *length, uint64_t *dma)
{
	void *va = vssd_home_cmb(rig.home);

	*dma = rig.cmb_wrong ? ~0xfffULL : (uintptr_t)va;
	return rig.cmb_hidden ? NULL : va;
}

static void rig_awake(struct snvme_bus *bus, int change)
{
	rig.awake += change;
}

static void rig_trace_sqe(struct snvme_bus *bus, uint16_t qid, uint16_t cid)
{
	vssd_trace_sqe(vssd_home_ctrl(rig.home), qid, cid);
}

static void rig_close(struct snvme_bus *bus)
{
	rig.closed = true;
	vssd_home_close(rig.home);
}

static const struct snvme_bus_ops rig_ops = {
	.read = rig_read,
	.write = rig_write,
	.map = rig_map,
	.unmap = rig_unmap,
	.asleep = rig_asleep,
	.wake = rig_wake,
	.pump = rig_pump,
	.trace_sqe = rig_trace_sqe,
	.cmb = rig_cmb,
	.close = rig_close,
};

/* A virtual SSD of 8 MiB, with what @keys says. */
static void rig_make(const char *keys)
{
	char spec[256], why[256];

	memset(&rig, 0, sizeof(rig));
	snprintf(spec, sizeof(spec), "ram,size=8M%s%s", *keys ? "," : "", keys);
	if (vssd_home_open(spec, NULL, &rig.home, why, sizeof(why))) {
		printf("Bail out! %s: %s\n", spec, why);
		exit(1);
	}
	rig.bus = (struct snvme_bus){
		.ops = &rig_ops, .name = "rig", .doorbells = vssd_home_doorbells(rig.home),
		.queues = VSSD_MAX_QUEUES,
		.tracing = vssd_tracing(vssd_home_subsystem(rig.home)),
	};
}

/*
 * A command that never ends, or too late, is not waited for long; all others have all the time there is, on a
 * busy machine, too.
 */
static void rig_fault(const struct vssd_fault *fault)
{
	if (fault->action == VSSD_FAULT_LOSE || fault->action == VSSD_FAULT_HANG ||
	    fault->delay_ns > SNVME_TIMEOUT_NS) {
		rig.timeout_ns = TIMEOUT_NS;
		if (rig.ctrl)
			rig.ctrl->timeout_ns = TIMEOUT_NS;
	}
	if (vssd_fault_add(vssd_home_subsystem(rig.home), fault)) {
		printf("Bail out! no fault\n");
		exit(1);
	}
}

static void admin_fault(enum vssd_fault_action action, int opcode, uint32_t count)
{
	rig_fault(&(struct vssd_fault){
		.action = action, .admin = true, .opcode = opcode, .count = count,
		.status = action == VSSD_FAULT_STATUS ? SNV_SC_INTERNAL : 0,
		.delay_ns = action == VSSD_FAULT_DELAY ? 60000000000 : 0,
	});
}

static void io_fault(enum vssd_fault_action action, uint32_t skip)
{
	rig_fault(&(struct vssd_fault){
		.action = action, .opcode = SNV_OP_READ, .skip = skip, .count = 1,
		.status = action == VSSD_FAULT_STATUS ? SNV_SC_READ_ERROR : 0,
		.delay_ns = action == VSSD_FAULT_DELAY ? 20000000 : 0,
	});
}

/* What snvme_open() does with a bus of its own. */
static int rig_open(struct snvme_ctrl **out)
{
	struct snvme_ctrl *ctrl = calloc(1, sizeof(*ctrl));
	int ret;

	pthread_mutex_init(&ctrl->lock, NULL);
	rig.ctrl = ctrl;
	rig.opened = false;
	ctrl->timeout_ns = rig.timeout_ns;
	ret = snvme_own_open(ctrl, &rig.bus);
	if (ret) {
		free(ctrl);
		return ret;
	}
	ret = learn(ctrl, 0);
	rig.opened = !ret;
	if (ret)
		snvme_close(ctrl);
	*out = ctrl;
	return ret;
}

static struct snvme_ctrl *must_open(const char *keys)
{
	struct snvme_ctrl *ctrl = NULL;

	rig_make(keys);
	if (!is(rig_open(&ctrl), 0, "comes up: %s", *keys ? keys : "as it is")) {
		printf("Bail out! no controller\n");
		exit(1);
	}
	return ctrl;
}

static struct snvme_queue *must_queue(struct snvme_ctrl *ctrl, uint32_t depth)
{
	struct snvme_queue_opts opts = { .size = sizeof(opts), .depth = depth };
	struct snvme_queue *queue = NULL;

	is(snvme_queue_create(ctrl, &opts, &queue), 0, "a queue of depth %u", depth);
	return queue;
}

static struct snvme_ctrl_info info_of(struct snvme_ctrl *ctrl)
{
	struct snvme_ctrl_info info = { 0 };

	snvme_get_info(ctrl, &info);
	return info;
}

/*
 * Write and read it back, through @queue, when all is well again. 0 or what went wrong.
 */
static int round_trip(struct snvme_ctrl *ctrl, struct snvme_queue *queue, size_t length)
{
	struct snvme_mem *mem;
	int ret = snvme_mem_alloc(ctrl, 2 * length, &mem);
	char *buf;

	if (ret)
		return ret;
	ctrl->timeout_ns = 0;
	buf = snvme_mem_addr(mem);
	for (size_t i = 0; i < length; i++)
		buf[i] = (char)(i * 7 + i / 511);
	ret = snvme_write(queue, 0, buf, length, 4096);
	if (!ret)
		ret = snvme_read(queue, 0, buf + length, length, 4096);
	if (!ret && memcmp(buf, buf + length, length))
		ret = -EILSEQ;
	snvme_mem_release(mem);
	return ret;
}

#endif
