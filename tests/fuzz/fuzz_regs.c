// SPDX-License-Identifier: MIT
/* Loads and stores of any size anywhere in the BAR, between rounds, and memory that goes away. */
#include "rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint32_t regs[] = {
	SNV_REG_CAP, SNV_REG_VS, SNV_REG_INTMS, SNV_REG_INTMC, SNV_REG_CC, SNV_REG_CSTS,
	SNV_REG_NSSR, SNV_REG_AQA, SNV_REG_ASQ, SNV_REG_ACQ, SNV_REG_CMBLOC, SNV_REG_CMBSZ,
	SNV_REG_CMBMSC, SNV_REG_CMBSTS, SNV_REG_CRTO, SNV_REG_CC,
};

static uint64_t take_value(struct input *in, uint32_t offset)
{
	uint8_t how = take(in, 1);

	if (how < 0x80 && offset == SNV_REG_CC)
		return (how & 1 ? SNV_CC_EN : 0) | (how & 2 ? SNV_CC_CSS_CSI : 0) |
		       (how >> 2 & 3) << SNV_CC_MPS_SHIFT | (how >> 4 & 3) << 14 |
		       (how & 64 ? SNV_CC_AMS_WRRU : 0) |
		       6 << SNV_CC_IOSQES_SHIFT | 4 << SNV_CC_IOCQES_SHIFT;
	if (how < 0x80 && offset == SNV_REG_NSSR)
		return SNV_NSSR_NSSRC;
	if (how < 0x80 && (offset == SNV_REG_ASQ || offset == SNV_REG_ACQ))
		return take_addr(in);
	if (how < 0x80 && offset == SNV_REG_CMBMSC)
		return CMB | (how & 3);
	if (how < 0x80 && offset == SNV_REG_AQA)
		return take(in, 1) % 80 | take(in, 1) % 80 << 16;
	return how & 1 ? take(in, 8) : take_number(in);
}

static void one(struct rig *rig, struct input *in)
{
	static const uint8_t sizes[] = { 4, 4, 8, 8, 1, 2, 3, 16 };
	uint8_t op = take(in, 1);
	uint32_t offset, size = sizes[op >> 5];
	struct snv_sqe sqe;

	switch (op & 15) {
	default:
		offset = regs[take(in, 1) % 16];
		if (op & 16)
			offset += take(in, 1) % 9;
		vssd_reg_write(rig->ctrl, offset, take_value(in, offset), size);
		vssd_reg_read(rig->ctrl, offset, size);
		break;
	case 1:
		offset = take_number(in);
		vssd_reg_write(rig->ctrl, offset, take_number(in), size);
		vssd_reg_read(rig->ctrl, offset, size);
		break;
	case 2:
		offset = SNV_REG_DBS + (take(in, 1) % 24 << (2 + rig->config.dstrd));
		vssd_reg_write(rig->ctrl, offset, take_number(in), op & 16 ? size : 4);
		break;
	case 3:		/* past the registers: the host may have the doorbells mapped */
		offset = take(in, 1) % (2 * (rig->config.queues + 1));
		*doorbell(rig, offset) = take_number(in);
		break;
	case 4:
	case 5:
		op_time(rig, in);
		break;
	case 6:
	case 7:
		sqe = take_sqe(rig, in, admin_opcodes, sizeof(admin_opcodes));
		push(rig, &rig->admin, &sqe);
		if (op & 16)
			break;
		ring(rig, &rig->admin);
		rig_poll(rig, 1);
		op_reap(rig, &rig->admin);
		break;
	case 8:
		op_map(rig, in);
		break;
	case 9:
		if (op & 16)
			vssd_power_cut(rig->v);
		else
			op_fault(rig, in);
		break;
	case 10:
		vssd_stop(rig->v);
		vssd_go(rig->v);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct rig rig;

	rig_open(&rig, &in);
	if (take(&in, 1) & 1) {
		rig_enable(&rig);
		rig_queues(&rig);
	}
	while (in.left)
		one(&rig, &in);
	rig_check(&rig);
	rig_close(&rig);
	return 0;
}
