// SPDX-License-Identifier: MIT
/*
 * What goes wrong in other virtual SSDs, as our notes list it (VSSD-NOTES.md, PEER-DEFECTS.md): a test for each
 * line, which it names.
 */
#include <pthread.h>

#include "vssd_rig.h"

#define RESET	"notes: \"a controller reset kills it\": "
#define ABORT	"notes: \"Abort never gets a completion\": "
#define ADMINP	"notes: \"PRP2 ignored and length unchecked on admin data\": "
#define BOUNDS	"notes: \"no LBA bounds\": "
#define SUCCESS	"notes: \"'success', nothing done\": "
#define NSID	"notes: \"nsid unchecked\": "
#define MDTS	"notes: \"MDTS unenforced\": "
#define CHAIN	"notes: \"PRP lists not chained\": "
#define PHASE	"notes: \"CQE phase stored before the result field\": "
#define CQFULL	"notes: \"CQ-full not checked\": "
#define SQHD	"notes: \"SQHD wrong\": "
#define WORKQ	"notes: \"work queue full drops commands\": "
#define HOSTSQ	"notes: \"the device writes into the host's SQ\": "
#define TWICE	"notes: \"SQEs read again after validation\": "
#define QIDS	"notes: \"qid, qsize, vector, tail doorbell unvalidated\": "
#define INDEX	"notes: \"sqid taken back from host memory and used as an index\": "
#define ONE	"notes: \"one instance per machine\": "
#define IOMMU	"notes: \"IOMMU must be off\": "
#define MASKS	"notes: \"masks ignored\": "
#define ZLEAK	"notes: \"ZNS: rejected writes leak buffers until the device hangs\": "
#define ZLEN	"notes: \"Report Zones copies a host-chosen length\": "
#define BYTE	"notes: \"bandwidth above 7.8 GB/s overflows a byte\": "
#define DOUBLE	"notes: \"capacity rounded up to double\": "
#define ZERO	"notes: \"missing parameter, division by zero\": "
#define PRP	"peers: \"guest memory touched by page_address() of an unchecked PRP\": "
#define VOLAT	"peers: \"volatile contents\": "
#define UNLOAD	"peers: \"unloading with I/O in flight\": "
#define MAKE	"peers: \"model chosen by editing the Makefile\": "

static void reset(void)
{
	struct rig *r = rig_plain();
	uint64_t page = rig_mem(r, 4096), asq = r->sq[0].addr;
	uint32_t i, done;

	for (i = 0; i < 3; i++)
		rig_identify(r, SNV_CNS_CTRL, 0, 0, page);
	done = r->completions;
	rig_disable(r);
	is(rig_get32(r, SNV_REG_CSTS), 0, RESET "CC.EN 0 resets");
	ok(rig_enable(r), RESET "it comes back");
	is(r->sq[0].addr, asq, RESET "(AQA, ASQ and ACQ were not changed)");
	rig_settle(r);
	rig_reap(r);
	is(r->completions, done, RESET "stale admin entries are not replayed");
	is(rig_identify(r, SNV_CNS_CTRL, 0, 0, page), 0, RESET "admin commands run");
	is(rig_create_pair(r, 1, 16), 0, RESET "queues are created anew");
	is(rig_io(r, SNV_OP_READ, 0, 8, page, 4096), 0, RESET "and used");
	for (i = 0; i < 50; i++)
		if (!rig_disable(r) || !rig_enable(r))
			break;
	is(i, 50, RESET "50 in a row");
	rig_close(r, "reset");
}

static void abort_(void)
{
	struct rig *r = rig_plain();
	struct vssd_fault hang = { .action = VSSD_FAULT_HANG, .opcode = SNV_OP_FLUSH, .count = 1 };
	uint16_t cid;

	is(ADMIN(r, .opcode = SNV_ADMIN_ABORT, .cdw10 = snv_le32(1u << 16 | 1)), 0, ABORT "it has one");
	is(rig_dw0(r) & 1, 1, ABORT "and says that there was nothing");
	vssd_fault_add(r->v, &hang);
	cid = rig_submit(r, 1, SQE(.opcode = SNV_OP_FLUSH, .nsid = snv_le32(1)));
	rig_settle(r);
	is(ADMIN(r, .opcode = SNV_ADMIN_ABORT, .cdw10 = snv_le32((uint32_t)cid << 16 | 1)), 0,
	   ABORT "of a command that hangs");
	is(rig_wait(r, cid), SNV_SC_ABORT_REQ, ABORT "which ends by it");
	rig_close(r, "abort");
}

static void admin_data(void)
{
	struct rig *r = rig_plain();
	uint64_t two = rig_mem(r, 8192), far = rig_mem(r, 4096);

	rig_fill(r, two, 0x61, 8192);
	rig_fill(r, far, 0x61, 4096);
	is(ADMIN(r, .opcode = SNV_ADMIN_IDENTIFY, .prp1 = snv_le64(two + 1024), .prp2 = snv_le64(far),
		 .cdw10 = snv_le32(SNV_CNS_CTRL)), 0, ADMINP "Identify from an offset");
	ok(rig_all(r, two + 4096, 4096, 0x61), ADMINP "the page that follows is not written");
	ok(rig_all(r, far, 1024, 0) && rig_all(r, far + 1024, 3072, 0x61),
	   ADMINP "PRP2's is: the last 1,024 bytes, which are zeros");
	ok(ADMIN(r, .opcode = SNV_ADMIN_GET_LOG_PAGE, .nsid = snv_le32(SNV_NSID_ALL),
		 .prp1 = snv_le64(two), .cdw10 = snv_le32(SNV_LOG_SMART | 0x7ffu << 16)) != 0 ||
	   rig_all(r, two + 4096, 4096, 0x61), ADMINP "a log longer than its page stays in it");
	is(rig_guards(r, 0), 0, ADMINP "nothing else is");
	rig_close(r, "admin data");
}

static void commands(void)
{
	static const uint8_t resv[] = { 0x0d, 0x0e, 0x11, 0x15, 0x7f, 0xff };
	struct rig *r = rig_plain();
	uint64_t a = rig_mem(r, 8192), b = rig_mem(r, 4096);
	struct snv_dsm_range *range = rig_ptr(r, b);
	struct snv_copy_range *src = rig_ptr(r, b);
	struct snv_sqe sqe;
	size_t i;

	is(rig_io(r, SNV_OP_READ, 8192, 1, a, 512), SNV_SC_LBA_RANGE, BOUNDS "a read past the end");
	is(rig_io(r, SNV_OP_READ, UINT64_MAX / 512, 1, a, 512), SNV_SC_LBA_RANGE, BOUNDS "far past it");
	is(rig_do(r, 1, SQE(.opcode = SNV_OP_FLUSH, .nsid = snv_le32(1))), 0, BOUNDS "and the worker lives");

	for (i = 0; i < sizeof(resv); i++)
		is(rig_do(r, 1, SQE(.opcode = resv[i], .nsid = snv_le32(1), .prp1 = snv_le64(a))),
		   SNV_SC_INVALID_OPCODE, SUCCESS "opcode %02xh is Invalid Opcode", resv[i]);
	rig_fill(r, a, 0x88, 4096);
	is(rig_io(r, SNV_OP_WRITE, 0, 8, a, 4096), 0, SUCCESS "(a write)");
	is(rig_io(r, SNV_OP_WRITE_ZEROES, 0, 1, 0, 0), 0, SUCCESS "Write Zeroes");
	ok(!r->ram->data[0] && r->ram->data[512] == 0x88, SUCCESS "has written zeros");
	is(rig_io(r, SNV_OP_COMPARE, 0, 8, a, 4096), SNV_SC_COMPARE_FAILED, SUCCESS "Compare compares");
	range->nlb = snv_le32(1);
	range->slba = snv_le64(1);
	is(rig_do(r, 1, SQE(.opcode = SNV_OP_DSM, .nsid = snv_le32(1), .prp1 = snv_le64(b),
			    .cdw11 = snv_le32(4))), 0, SUCCESS "DSM");
	is(rig_io(r, SNV_OP_READ, 1, 1, a, 512), 0, SUCCESS "(a read)");
	ok(rig_all(r, a, 512, 0), SUCCESS "has deallocated");
	*src = (struct snv_copy_range){ .slba = snv_le64(2) };
	is(rig_do(r, 1, SQE(.opcode = SNV_OP_COPY, .nsid = snv_le32(1), .prp1 = snv_le64(b),
			    .cdw10 = snv_le32(100))), 0, SUCCESS "Copy");
	ok(r->ram->data[51200] == 0x88, SUCCESS "has copied");
	rig_io(r, SNV_OP_WRITE_UNCOR, 5, 1, 0, 0);
	is(rig_io(r, SNV_OP_VERIFY, 0, 8, 0, 0), SNV_SC_READ_ERROR, SUCCESS "Verify verifies");

	sqe = rig_rw(r, SNV_OP_READ, 0, 1);
	sqe.prp1 = snv_le64(a);
	sqe.nsid = snv_le32(2);
	ok(rig_do(r, 1, &sqe) > 0, NSID "2");
	sqe.nsid = 0;
	is(rig_do(r, 1, &sqe), SNV_SC_INVALID_NS, NSID "0");
	sqe.nsid = snv_le32(0x7fffffff);
	is(rig_do(r, 1, &sqe), SNV_SC_INVALID_NS, NSID "2^31 - 1");
	is(rig_io(r, SNV_OP_READ, 0, 2049, a, 4096), SNV_SC_INVALID_FIELD, MDTS "1 MiB and a block");
	rig_close(r, "commands");
}

static void chains(void)
{
	struct rig_config g;
	struct rig *r;
	uint64_t a;
	struct snv_sqe sqe;

	rig_defaults(&g);
	g.c.mdts = 9;
	r = rig_start(&g);
	a = rig_mem(r, (2 << 20) + 512);
	memset(r->ram->data + (2 << 20) - 512, 0x42, 512);
	sqe = rig_rw(r, SNV_OP_READ, 0, 4096);
	rig_prp(r, &sqe, a + 512, 2 << 20);
	is(rig_do(r, 1, &sqe), 0, CHAIN "512 entries");
	ok(rig_all(r, a + (2 << 20), 512, 0x42) && rig_all(r, a, 512, 0), CHAIN "the last block, in its place");
	rig_close(r, "chains");
}

/* ---- a host and a controller on threads of their own ------------------------------------------- */

struct device {
	struct vssd *v;
	bool stop;
};

static void *device_loop(void *arg)
{
	struct device *d = arg;

	while (!__atomic_load_n(&d->stop, __ATOMIC_ACQUIRE))
		vssd_poll(d->v, 0);
	return NULL;
}

static void phase_last(void)
{
	struct rig *r = rig_plain();
	struct device d = { .v = r->v };
	struct rig_cq *cq = &r->cq[0];
	struct rig_sq *sq = &r->sq[0];
	uint32_t i, bad = 0, want;
	uint64_t spins;
	pthread_t t;

	is(rig_get_feature(r, SNV_FEAT_NUM_QUEUES), 0, PHASE "(Get Features)");
	want = rig_dw0(r);
	ok(want, PHASE "its result is not 0");
	pthread_create(&t, NULL, device_loop, &d);
	for (i = 0; i < 30000; i++) {
		struct snv_cqe *e = rig_ptr(r, cq->addr + cq->head * 16ull);
		uint32_t dw3;

		e->dw0 = e->dw2 = 0;
		rig_submit_as(r, 0, SQE(.opcode = SNV_ADMIN_GET_FEATURES,
					.cdw10 = snv_le32(SNV_FEAT_NUM_QUEUES)), (uint16_t)(i | 1));
		for (spins = 0; spins < 4000000000ull; spins++) {
			dw3 = snv_cqe_load_dw3(&e->dw3);
			if (!!(dw3 & SNV_CQE_DW3_P) == cq->phase)
				break;
			snv_thread_relax((uint32_t)spins);
		}
		bad += snv_le32_get(e->dw0) != want || (dw3 & 0xffff) != (i | 1) ||
		       snv_le32_get(e->dw2) != sq->tail;
		if (++cq->head == cq->depth) {
			cq->head = 0;
			cq->phase ^= 1;
		}
		sq->head = sq->tail;
		r->cmd[i | 1].busy = false;
		rig_doorbell(r, 0, true, cq->head);
	}
	__atomic_store_n(&d.stop, true, __ATOMIC_RELEASE);
	pthread_join(t, NULL);
	is(bad, 0, PHASE "30,000 results were whole when their phase was seen");
	is(bad, 0, SQHD "it was the tail each time, with one command at a time");
	rig_close(r, "phase");
}

static void rings(void)
{
	struct rig *r = rig_plain();
	uint64_t a = rig_mem(r, 4096), b = rig_mem(r, 4096);
	struct snv_sqe ring[64], sqe;
	struct snv_sqe *sq;
	uint32_t i, n, first;
	uint16_t cid;

	/* CQ full. */
	rig_create_cq(r, 2, 3, 2);
	rig_create_sq(r, 2, 32, 2, 0);
	r->cq[2].hold = true;
	for (i = 0; i < 20; i++)
		rig_submit(r, 2, SQE(.opcode = SNV_OP_FLUSH, .nsid = snv_le32(1)));
	rig_settle(r);
	ok(!((struct snv_cqe *)rig_ptr(r, r->cq[2].addr))[2].dw3, CQFULL "the last slot stays free");
	first = r->completions;
	r->cq[2].hold = false;
	for (i = 0; i < 200; i++) {
		rig_reap(r);
		rig_step(r);
	}
	is(r->completions - first, 20, CQFULL "all 20 come when there is room");

	/* The ring is the host's. */
	rig_get(r, r->sq[1].addr, ring, sizeof(ring));
	for (i = 0; i < 200; i++) {
		struct snv_sqe *e = rig_ptr(r, r->sq[1].addr + r->sq[1].tail * 64ull);
		struct snv_sqe before;

		sqe = rig_rw(r, i & 1 ? SNV_OP_READ : SNV_OP_WRITE, i, 8);
		sqe.prp1 = snv_le64(a);
		cid = rig_submit(r, 1, &sqe);
		before = *e;
		rig_wait(r, cid);
		if (memcmp(&before, e, 64))
			break;
	}
	is(i, 200, HOSTSQ "200 entries are as the host wrote them");

	/* An entry belongs to the host again once fetched. */
	rig_pattern(r, a, 4096, 9);
	rig_io(r, SNV_OP_WRITE, 64, 8, a, 4096);
	r->ram->async = r->ram->held = true;
	sqe = rig_rw(r, SNV_OP_READ, 64, 8);
	sqe.prp1 = snv_le64(b);
	sq = rig_ptr(r, r->sq[1].addr + r->sq[1].tail * 64ull);
	cid = rig_submit(r, 1, &sqe);
	rig_settle(r);
	memset(sq, 0xff, 64);
	r->ram->held = false;
	is(rig_wait(r, cid), 0, TWICE "an entry overwritten after its fetch changes nothing");
	ok(rig_pattern_is(r, b, 4096, 9), TWICE "its data are those asked for");

	/* What the CQ holds is nothing to the controller. */
	r->ram->held = true;
	for (i = 0; i < 10; i++)
		rig_submit(r, 1, &sqe);
	rig_settle(r);
	n = r->cq[1].head;
	for (i = 0; i < 64; i++) {
		struct snv_cqe *e = rig_ptr(r, r->cq[1].addr + i * 16ull);

		/* Any content, with the phase that says "not yet" from the head on. */
		e->dw0 = e->dw1 = e->dw2 = snv_le32(~0u);
		if (i >= n)
			e->dw3 = snv_le32(0xffff | (r->cq[1].phase ? 0 : SNV_CQE_DW3_P));
	}
	r->ram->held = false;
	first = r->completions;
	rig_settle(r);
	rig_reap(r);
	is(r->completions - first, 10, INDEX "a CQ full of nonsense: 10 completions all the same");

	/* 4,000 in flight. */
	r->ram->async = true;
	rig_create_cq(r, 3, 8192, 3);
	rig_create_sq(r, 3, 8192, 3, 0);
	r->ram->held = true;
	first = r->completions;
	r->no_ring = true;
	for (i = 0; i < 4000; i++)
		rig_submit(r, 3, &sqe);
	r->no_ring = false;
	rig_ring(r, 3);
	rig_settle(r);
	r->ram->held = false;
	for (i = 0; i < 20000 && r->completions - first < 4000; i++) {
		rig_step(r);
		rig_reap_cq(r, 3);
	}
	is(r->completions - first, 4000, WORKQ "4,000 commands at once, none lost");
	is(r->bad, 0, SQHD "between the old head and the tail for each of these");
	rig_close(r, "rings");
}

static void identifiers(void)
{
	struct rig *r = rig_plain();
	uint64_t m = rig_mem(r, 65536);
	uint32_t i;

	is(rig_create_cq_raw(r, 65535, 15, m, 1), SNV_SC_QID_INVALID, QIDS "CQ 65,535");
	is(rig_create_sq_raw(r, 40000, 15, m, 1 | 1 << 16), SNV_SC_QID_INVALID, QIDS "SQ 40,000");
	is(rig_create_sq_raw(r, 2, 15, m, 1 | 60000u << 16), SNV_SC_QID_INVALID, QIDS "CQ 60,000 of an SQ");
	is(rig_create_cq_raw(r, 2, 0, m, 1), SNV_SC_QUEUE_SIZE, QIDS "a queue of one entry");
	is(rig_create_cq_raw(r, 2, 15, m, 3 | 2047u << 16), SNV_SC_INVALID_VECTOR, QIDS "vector 2,047");
	is(rig_delete_sq(r, 9999), SNV_SC_QID_INVALID, QIDS "deletion of SQ 9,999");
	rig_doorbell(r, 1, false, 64);
	rig_settle(r);
	rig_doorbell(r, 1, false, 0xfffffff0);
	rig_settle(r);
	rig_doorbell(r, 1, true, 0xffff);
	rig_settle(r);
	for (i = 0; i < 0x4000; i += 4)
		vssd_reg_write(r->c, SNV_REG_DBS + i, 0x8000 + i, 4);
	rig_settle(r);
	ok(rig_disable(r) && rig_enable(r) && !rig_create_pair(r, 1, 16) &&
	   !rig_io(r, SNV_OP_READ, 0, 1, m, 512), QIDS "tails and heads out of range do no lasting harm");
	rig_close(r, "identifiers");
}

static void instances(void)
{
	struct rig_config g;
	struct rig *r[4];
	uint64_t m[4];
	uint32_t i, bad = 0;

	for (i = 0; i < 4; i++) {
		rig_defaults(&g);
		g.ns.lba_size = i & 1 ? 4096 : 512;
		g.v.timing.model = i == 2 ? VSSD_MODEL_FIXED : VSSD_MODEL_NONE;
		g.v.timing.units = 2;
		g.v.timing.read_ns = 80000;
		g.v.timing.write_ns = 20000;
		r[i] = rig_start(&g);
		m[i] = rig_mem(r[i], 4096);
		rig_fill(r[i], m[i], (int)i + 1, 4096);
		bad += rig_io(r[i], SNV_OP_WRITE, 1, 1, m[i], 512) != 0;
	}
	for (i = 0; i < 4; i++) {
		bad += rig_io(r[i], SNV_OP_READ, 1, 1, m[i], 512) != 0;
		bad += !rig_all(r[i], m[i], 512, (int)i + 1);
	}
	is(bad, 0, ONE "four of them in one process, each with its own data");
	ok(r[2]->cmd[rig_last].when <= r[2]->env->now, MAKE "each with its own model, chosen at run time");
	for (i = 0; i < 4; i++)
		rig_close(r[i], "instance");
}

static void memory(void)
{
	struct rig *r = rig_plain();
	uint64_t a = rig_mem(r, 8192);
	struct snv_sqe sqe;

	ok(a != (uint64_t)(uintptr_t)rig_ptr(r, a), IOMMU "DMA addresses are not pointers here");
	is(rig_io(r, SNV_OP_READ, 0, 8, a, 4096), 0, IOMMU "they are translated");
	sqe = rig_rw(r, SNV_OP_READ, 0, 8);
	sqe.prp1 = snv_le64((uint64_t)(uintptr_t)rig_ptr(r, a));
	ok(rig_do(r, 1, &sqe) > 0, IOMMU "a pointer is no DMA address");
	rig_set_mapped(r, a + 4096, false);
	sqe = rig_rw(r, SNV_OP_READ, 0, 16);
	sqe.prp1 = snv_le64(a);
	sqe.prp2 = snv_le64(a + 4096);
	ok(rig_do(r, 1, &sqe) > 0, PRP "a page that isn't the host's is refused");
	sqe.prp1 = snv_le64(0xffffffffff000ull);
	ok(rig_do(r, 1, &sqe) > 0, PRP "so is one that no memory has");
	is(rig_io(r, SNV_OP_READ, 0, 8, a, 4096), 0, PRP "and the controller goes on");

	rig_set32(r, SNV_REG_INTMS, 1u << 1);
	memset(r->irqs, 0, sizeof(r->irqs));
	rig_io(r, SNV_OP_READ, 0, 8, a, 4096);
	rig_settle(r);
	is(r->irqs[1], 0, MASKS "a masked vector is silent");
	rig_set32(r, SNV_REG_INTMC, 1u << 1);
	rig_io(r, SNV_OP_READ, 0, 8, a, 4096);
	rig_settle(r);
	ok(r->irqs[1] >= 1, MASKS "and speaks when it is unmasked");

	rig_fill(r, a, 0x4d, 4096);
	rig_io(r, SNV_OP_WRITE, 0, 8, a, 4096);
	rig_set32(r, SNV_REG_NSSR, SNV_NSSR_NSSRC);
	rig_csts(r, SNV_CSTS_RDY, 0);
	rig_enable(r);
	rig_create_pair(r, 1, 16);
	rig_fill(r, a, 0, 4096);
	rig_io(r, SNV_OP_READ, 0, 8, a, 4096);
	ok(rig_all(r, a, 4096, 0x4d), VOLAT "data survive a reset of the subsystem");
	vssd_power_cut(r->v);
	rig_enable(r);
	rig_create_pair(r, 1, 16);
	rig_fill(r, a, 0, 4096);
	rig_io(r, SNV_OP_READ, 0, 8, a, 4096);
	ok(rig_all(r, a, 4096, 0x4d), VOLAT "and a power cut, without a volatile cache");
	rig_close(r, "memory");
}

static void zones(void)
{
	struct rig_config g;
	struct rig *r;
	uint64_t a;
	uint32_t i, bad = 0;

	rig_defaults(&g);
	g.ns.csi = VSSD_CSI_ZNS;
	g.ns.zone_blocks = 256;
	g.cc = SNV_CC_CSS_CSI;
	r = rig_start(&g);
	a = rig_mem(r, 8192);
	for (i = 0; i < 20000; i++)
		bad += rig_io(r, SNV_OP_WRITE, 77, 8, a, 4096) != SNV_SC_ZONE_INVALID_WRITE;
	is(bad, 0, ZLEAK "20,000 writes away from the write pointer are refused");
	is(rig_io(r, SNV_OP_WRITE, 0, 8, a, 4096), 0, ZLEAK "and one at it is not");
	rig_fill(r, a, 0x18, 8192);
	ok(rig_do(r, 1, SQE(.opcode = SNV_OP_ZONE_MGMT_RECV, .nsid = snv_le32(1), .prp1 = snv_le64(a),
			    .prp2 = snv_le64(0), .cdw12 = snv_le32(4096 / 4 - 1))) == 0,
	   ZLEN "4 KiB for 16 zones");
	is(rig_do(r, 1, SQE(.opcode = SNV_OP_ZONE_MGMT_RECV, .nsid = snv_le32(1), .prp1 = snv_le64(a),
			    .cdw12 = snv_le32(64 / 4 - 1))), 0, ZLEN "64 bytes");
	ok(rig_all(r, a + 4096, 4096, 0x18), ZLEN "nothing past the end");
	ok(rig_do(r, 1, SQE(.opcode = SNV_OP_ZONE_MGMT_RECV, .nsid = snv_le32(1), .prp1 = snv_le64(a),
			    .cdw12 = snv_le32(~0u))) > 0, ZLEN "16 GiB are refused");
	ok(rig_all(r, a + 4096, 4096, 0x18), ZLEN "and write nothing past the end");
	rig_close(r, "zones");
}

static void parameters(void)
{
	static const uint32_t mib[] = { 1, 3, 5, 7, 9, 33 };
	struct rig_config g;
	struct rig *r;
	struct vssd_env env = { .alloc = rig_alloc, .free = rig_free, .now = rig_now };
	struct rig_env e = { .now = 1 };
	struct vssd *v;
	uint64_t page, t;
	uint32_t i, model, bad = 0;

	for (i = 0; i < 6; i++) {
		rig_defaults(&g);
		g.media_size = ((uint64_t)mib[i] << 20) + 4096;
		r = rig_start(&g);
		page = rig_mem(r, 4096);
		rig_identify(r, SNV_CNS_NS, 1, 0, page);
		is(snv_le64_get(((struct snv_id_ns *)rig_ptr(r, page))->nsze), g.media_size / 512,
		   DOUBLE "%u MiB and 4 KiB", mib[i]);
		rig_close(r, "capacity");
	}

	env.ctx = &e;
	for (model = VSSD_MODEL_FIXED; model <= VSSD_MODEL_FLASH; model++) {
		struct vssd_config c = { .workers = 1, .timing.model = model };
		int ret = vssd_create(&env, &c, &v);

		ok(ret == 0 || ret == -EINVAL, ZERO "model %u without any number: %d", model, ret);
		if (!ret)
			vssd_destroy(v);
	}
	{
		struct vssd_config c = { .workers = 1 };
		struct vssd_ctrl_config none = { 0 };

		is(vssd_create(&env, &c, &v), 0, ZERO "a subsystem with nothing said");
		ok(vssd_doorbell_bytes(&none) >= 4096, ZERO "a controller with nothing said");
		vssd_destroy(v);
	}
	is(e.live, 0, ZERO "nothing leaks");

	/* 50,000 bytes a microsecond: a MiB takes 21 us beside the latency. */
	rig_defaults(&g);
	g.v.timing = (struct vssd_timing){ .model = VSSD_MODEL_FIXED, .units = 1, .read_ns = 10000,
					   .write_ns = 10000, .flush_ns = 1000, .bytes_per_us = 50000 };
	r = rig_start(&g);
	page = rig_mem(r, 1 << 20);
	t = r->env->now;
	for (i = 0; i < 10; i++)
		bad += rig_io(r, SNV_OP_READ, 0, 2048, page, 1 << 20) != 0;
	t = r->env->now - t;
	is(bad, 0, BYTE "(10 reads of 1 MiB)");
	ok(t > 280000 && t < 350000, BYTE "at 50 GB/s they take 310 us (%llu ns)", (unsigned long long)t);
	rig_close(r, "bandwidth");
}

static void unload(void)
{
	struct rig_config g;
	struct rig *r;
	struct snv_sqe sqe;
	uint32_t i;

	rig_defaults(&g);
	r = rig_start(&g);
	r->ram->async = true;
	r->ram->polls = 5;
	sqe = rig_rw(r, SNV_OP_READ, 0, 8);
	sqe.prp1 = snv_le64(rig_mem(r, 4096));
	for (i = 0; i < 40; i++)
		rig_submit(r, 1, &sqe);
	rig_step(r);
	ok(vssd_media_inflight(r->v, 0), UNLOAD "(transfers are in flight)");
	rig_close(r, UNLOAD "destroyed");
}

int main(void)
{
	reset();
	abort_();
	admin_data();
	commands();
	chains();
	phase_last();
	rings();
	identifiers();
	instances();
	memory();
	zones();
	parameters();
	unload();
	skip("notes: \"PBA outside the BAR; FLR advertised and missing\": there is no PCI here");
	skip("notes: \"storage must be reserved with memmap=\": there is no kernel here");
	return done();
}
