// SPDX-License-Identifier: MIT
/* Admin commands, whatever they say, and memory behind them that says whatever. */
#include "rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct rig rig;

	rig_open(&rig, &in);
	rig_enable(&rig);
	rig.starve = take(&in, 1) & 15;
	if (rig.config.cmb_size)
		vssd_reg_write(rig.ctrl, SNV_REG_CMBMSC, CMB | SNV_CMBMSC_CRE | SNV_CMBMSC_CMSE, 8);
	while (in.left) {
		struct snv_sqe sqe;

		switch (take(&in, 1) % 8) {
		default:
			sqe = take_sqe(&rig, &in, admin_opcodes, sizeof(admin_opcodes));
			push(&rig, &rig.admin, &sqe);
			ring(&rig, &rig.admin);
			rig_poll(&rig, 2);
			op_reap(&rig, &rig.admin);
			break;
		case 1:		/* several at once */
			for (int i = 0; i < 3; i++) {
				sqe = take_sqe(&rig, &in, admin_opcodes, sizeof(admin_opcodes));
				push(&rig, &rig.admin, &sqe);
			}
			ring(&rig, &rig.admin);
			break;
		case 2:
			op_poke(&rig, &in);
			break;
		case 3:
			op_time(&rig, &in);
			break;
		case 4:
			op_reap(&rig, &rig.admin);
			break;
		}
	}
	rig_check(&rig);
	rig_close(&rig);
	return 0;
}
