// SPDX-License-Identifier: MIT
/*
 * I/O commands on several queues and namespaces, with hostile PRPs and SGLs, fused pairs, shadow
 * doorbells, faults, power cuts, and queues deleted under them.
 */
#include "rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t io_opcodes[] = {
	SNV_OP_FLUSH, SNV_OP_WRITE, SNV_OP_READ, SNV_OP_WRITE_UNCOR, SNV_OP_COMPARE,
	SNV_OP_WRITE_ZEROES, SNV_OP_DSM, SNV_OP_VERIFY, SNV_OP_COPY, SNV_OP_ZONE_MGMT_SEND,
	SNV_OP_ZONE_MGMT_RECV, SNV_OP_ZONE_APPEND, SNV_OP_READ, SNV_OP_WRITE,
};

static const uint8_t few_admin_opcodes[] = {
	SNV_ADMIN_ABORT, SNV_ADMIN_DELETE_SQ, SNV_ADMIN_DELETE_CQ, SNV_ADMIN_CREATE_SQ,
	SNV_ADMIN_CREATE_CQ, SNV_ADMIN_SET_FEATURES, SNV_ADMIN_FORMAT, SNV_ADMIN_DBBUF,
	SNV_ADMIN_NS_ATTACH, SNV_ADMIN_NS_MGMT,
};

/* Fused compare and write of the same blocks; the second is made of the first. */
static void op_fused(struct rig *rig, struct input *in, struct queue *q)
{
	struct snv_sqe sqe = take_sqe(rig, in, io_opcodes, sizeof(io_opcodes));

	sqe.opcode = SNV_OP_COMPARE;
	sqe.flags = (sqe.flags & SNV_SQE_PSDT) | SNV_SQE_FUSE_FIRST;
	push(rig, q, &sqe);
	sqe.opcode = SNV_OP_WRITE;
	sqe.flags = (sqe.flags & SNV_SQE_PSDT) | SNV_SQE_FUSE_SECOND;
	sqe.cid = snv_le16(++rig->cid);
	sqe.prp1 = snv_le64(take_addr(in));
	push(rig, q, &sqe);
	ring(rig, q);
}

static void op_doorbell(struct rig *rig, struct input *in)
{
	uint32_t index = take(in, 1) % (2 * (rig->config.queues + 1));
	uint32_t value = take_number(in);

	*doorbell(rig, index) = value;
	if (!rig->gone[SHADOW])
		memcpy(rig->page[SHADOW] + ((size_t)index << (2 + rig->config.dstrd)), &value, 4);
}

static void one(struct rig *rig, struct input *in)
{
	uint8_t op = take(in, 1);
	struct queue *q = &rig->io[op >> 4 & 3 ? (op >> 4 & 3) - 1 : 0];
	struct snv_sqe sqe;

	switch (op & 15) {
	default:
		sqe = take_sqe(rig, in, io_opcodes, sizeof(io_opcodes));
		push(rig, q, &sqe);
		if (op & 0x40)		/* leave it for later */
			break;
		ring(rig, q);
		rig_poll(rig, 1);
		op_reap(rig, q);
		break;
	case 1:
		op_fused(rig, in, q);
		break;
	case 2:
	case 3:
		op_poke(rig, in);
		break;
	case 4:
		op_time(rig, in);
		break;
	case 5:
		op_reap(rig, q);
		break;
	case 6:
		op_doorbell(rig, in);
		break;
	case 7:
		sqe = take_sqe(rig, in, few_admin_opcodes, sizeof(few_admin_opcodes));
		push(rig, &rig->admin, &sqe);
		ring(rig, &rig->admin);
		rig_poll(rig, 1);
		op_reap(rig, &rig->admin);
		break;
	case 8:
		op_fault(rig, in);
		break;
	case 9:
		if (op & 0x80)
			vssd_power_cut(rig->v);
		else if (op & 0x40)
			vssd_fault_clear(rig->v);
		else
			op_trace(rig, in);
		break;
	case 10:
		op_map(rig, in);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct rig rig;
	uint8_t how;

	rig_open(&rig, &in);
	rig_enable(&rig);
	rig_queues(&rig);
	how = take(&in, 1);
	if (how & 16 && rig.config.dbbuf) {
		struct snv_sqe sqe = {
			.opcode = SNV_ADMIN_DBBUF,
			.prp1 = snv_le64(ARENA + SHADOW * PAGE),
			.prp2 = snv_le64(ARENA + EVENTIDX * PAGE),
		};

		CHECK(!run_one(&rig, &rig.admin, &sqe));
	}
	if (rig.config.cmb_size)
		vssd_reg_write(rig.ctrl, SNV_REG_CMBMSC, CMB | SNV_CMBMSC_CRE | SNV_CMBMSC_CMSE, 8);
	rig.starve = how & 15;
	while (in.left)
		one(&rig, &in);
	rig_check(&rig);
	rig_close(&rig);
	return 0;
}
