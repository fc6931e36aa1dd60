// SPDX-License-Identifier: GPL-2.0-only
/*
 * nvme.h and ioctl.h in a kernel module, against the kernel's own <linux/nvme.h>: built for each
 * kernel by matrix.sh, and never loaded. That it compiles is the test.
 */
#include <linux/build_bug.h>
#include <linux/module.h>
#include <linux/nvme.h>
#include <linux/stddef.h>

#include <snvme/ioctl.h>
#include <snvme/nvme.h>

#include "extent.h"
#include "prp.h"
#include "ring.h"

#define SIZE(a, b) static_assert(sizeof(struct a) == sizeof(struct b))
#define FIELD(a, f, b, g) static_assert(offsetof(struct a, f) == offsetof(struct b, g)); \
	static_assert(sizeof_field(struct a, f) == sizeof_field(struct b, g))
#define C(f) FIELD(snv_id_ctrl, f, nvme_id_ctrl, f)
#define N(f) FIELD(snv_id_ns, f, nvme_id_ns, f)
#define S(f) FIELD(snv_smart_log, f, nvme_smart_log, f)
#define VALUE(a, b) static_assert((a) == (b))

SIZE(snv_sqe, nvme_command);
FIELD(snv_sqe, flags, nvme_common_command, flags);
FIELD(snv_sqe, cid, nvme_common_command, command_id);
FIELD(snv_sqe, nsid, nvme_common_command, nsid);
FIELD(snv_sqe, mptr, nvme_common_command, metadata);
FIELD(snv_sqe, prp1, nvme_common_command, dptr.prp1);
FIELD(snv_sqe, prp2, nvme_common_command, dptr.prp2);
FIELD(snv_sqe, cdw10, nvme_common_command, cdw10);
FIELD(snv_sqe, cdw15, nvme_common_command, cdw15);
SIZE(snv_cqe, nvme_completion);
static_assert(offsetof(struct snv_cqe, dw2) == offsetof(struct nvme_completion, sq_head));
static_assert(offsetof(struct snv_cqe, dw3) == offsetof(struct nvme_completion, command_id));
SIZE(snv_id_ctrl, nvme_id_ctrl);
C(vid); C(ssvid); C(sn); C(mn); C(fr); C(rab); C(ieee); C(cmic); C(mdts); C(cntlid); C(ver);
C(rtd3r); C(rtd3e); C(oaes); C(ctratt); C(cntrltype); C(fguid); C(crdt1); C(oacs); C(acl); C(aerl);
C(frmw); C(lpa); C(elpe); C(npss); C(avscc); C(apsta); C(wctemp); C(cctemp); C(mtfa); C(hmpre);
C(hmmin); C(tnvmcap); C(unvmcap); C(rpmbs); C(edstt); C(dsto); C(fwug); C(kas); C(hctma);
C(mntmt); C(mxtmt); C(sanicap); C(hmminds); C(hmmaxd); C(anatt); C(anacap); C(anagrpmax);
C(nanagrpid); C(sqes); C(cqes); C(maxcmd); C(nn); C(oncs); C(fuses); C(fna); C(vwc); C(awun);
C(awupf); C(nwpc); C(acwu); C(sgls); C(mnan); C(subnqn); C(psd); C(vs);
SIZE(snv_id_ns, nvme_id_ns);
N(nsze); N(ncap); N(nuse); N(nsfeat); N(nlbaf); N(flbas); N(mc); N(dpc); N(dps); N(nmic); N(rescap);
N(fpi); N(dlfeat); N(nawun); N(nawupf); N(nacwu); N(nabsn); N(nabo); N(nabspf); N(noiob); N(nvmcap);
N(npwg); N(npwa); N(npdg); N(npda); N(nows); N(anagrpid); N(nsattr); N(nvmsetid); N(endgid);
N(nguid); N(eui64); N(lbaf);
SIZE(snv_smart_log, nvme_smart_log);
S(critical_warning); S(temperature); S(avail_spare); S(data_units_read); S(host_reads);
S(power_cycles); S(media_errors); S(warning_temp_time); S(temp_sensor);
SIZE(snv_fw_slot_log, nvme_fw_slot_info_log);
SIZE(snv_effects_log, nvme_effects_log);
SIZE(snv_dsm_range, nvme_dsm_range);
FIELD(snv_dsm_range, slba, nvme_dsm_range, slba);
SIZE(snv_power_state, nvme_id_power_state);
FIELD(snv_power_state, enlat, nvme_id_power_state, entry_lat);
SIZE(snv_ns_id_desc, nvme_ns_id_desc);
SIZE(snv_zone_desc, nvme_zone_descriptor);
FIELD(snv_zone_desc, wp, nvme_zone_descriptor, wp);
SIZE(snv_zns_id_ns, nvme_id_ns_zns);
SIZE(snv_zns_id_ctrl, nvme_id_ctrl_zns);
SIZE(snv_sgl_desc, nvme_sgl_desc);
FIELD(snv_sgl_desc, type, nvme_sgl_desc, type);

VALUE(SNV_REG_CAP, NVME_REG_CAP); VALUE(SNV_REG_VS, NVME_REG_VS); VALUE(SNV_REG_CC, NVME_REG_CC);
VALUE(SNV_REG_CSTS, NVME_REG_CSTS); VALUE(SNV_REG_NSSR, NVME_REG_NSSR); VALUE(SNV_REG_AQA, NVME_REG_AQA);
VALUE(SNV_REG_ASQ, NVME_REG_ASQ); VALUE(SNV_REG_ACQ, NVME_REG_ACQ); VALUE(SNV_REG_CMBLOC, NVME_REG_CMBLOC);
VALUE(SNV_REG_CMBSZ, NVME_REG_CMBSZ); VALUE(SNV_REG_CMBMSC, NVME_REG_CMBMSC); VALUE(SNV_REG_DBS, NVME_REG_DBS);
VALUE(SNV_CAP_MQES(0x0123456789abcdefULL), NVME_CAP_MQES(0x0123456789abcdefULL));
VALUE(SNV_CAP_TO(0x0123456789abcdefULL), NVME_CAP_TIMEOUT(0x0123456789abcdefULL));
VALUE(SNV_CAP_DSTRD(0x0123456789abcdefULL), NVME_CAP_STRIDE(0x0123456789abcdefULL));
VALUE(SNV_CAP_CSS(0x0123456789abcdefULL), NVME_CAP_CSS(0x0123456789abcdefULL));
VALUE(SNV_CAP_MPSMIN(0x0123456789abcdefULL), NVME_CAP_MPSMIN(0x0123456789abcdefULL));
VALUE(SNV_CAP_MPSMAX(0x0123456789abcdefULL), NVME_CAP_MPSMAX(0x0123456789abcdefULL));
VALUE(SNV_CC_EN, NVME_CC_ENABLE); VALUE(SNV_CC_CSS_CSI, NVME_CC_CSS_CSI);
VALUE(SNV_CC_MPS_SHIFT, NVME_CC_MPS_SHIFT); VALUE(SNV_CC_SHN_NORMAL, NVME_CC_SHN_NORMAL);
VALUE(SNV_CC_SHN_ABRUPT, NVME_CC_SHN_ABRUPT); VALUE(SNV_CC_AMS_WRRU, NVME_CC_AMS_WRRU);
VALUE(6U << SNV_CC_IOSQES_SHIFT, NVME_CC_IOSQES); VALUE(4U << SNV_CC_IOCQES_SHIFT, NVME_CC_IOCQES);
VALUE(SNV_CSTS_RDY, NVME_CSTS_RDY); VALUE(SNV_CSTS_CFS, NVME_CSTS_CFS);
VALUE(SNV_CSTS_NSSRO, NVME_CSTS_NSSRO); VALUE(SNV_CSTS_PP, NVME_CSTS_PP);
VALUE(SNV_CSTS_SHST, NVME_CSTS_SHST_MASK); VALUE(SNV_CSTS_SHST_COMPLETE, NVME_CSTS_SHST_CMPLT);

VALUE(SNV_ADMIN_CREATE_SQ, nvme_admin_create_sq); VALUE(SNV_ADMIN_CREATE_CQ, nvme_admin_create_cq);
VALUE(SNV_ADMIN_DELETE_SQ, nvme_admin_delete_sq); VALUE(SNV_ADMIN_DELETE_CQ, nvme_admin_delete_cq);
VALUE(SNV_ADMIN_IDENTIFY, nvme_admin_identify); VALUE(SNV_ADMIN_DBBUF, nvme_admin_dbbuf);
VALUE(SNV_ADMIN_GET_LOG_PAGE, nvme_admin_get_log_page); VALUE(SNV_ADMIN_ABORT, nvme_admin_abort_cmd);
VALUE(SNV_ADMIN_SET_FEATURES, nvme_admin_set_features); VALUE(SNV_ADMIN_FORMAT, nvme_admin_format_nvm);
VALUE(SNV_ADMIN_NS_ATTACH, nvme_admin_ns_attach); VALUE(SNV_ADMIN_KEEP_ALIVE, nvme_admin_keep_alive);
VALUE(SNV_OP_FLUSH, nvme_cmd_flush); VALUE(SNV_OP_WRITE, nvme_cmd_write); VALUE(SNV_OP_READ, nvme_cmd_read);
VALUE(SNV_OP_COMPARE, nvme_cmd_compare); VALUE(SNV_OP_DSM, nvme_cmd_dsm); VALUE(SNV_OP_VERIFY, nvme_cmd_verify);
VALUE(SNV_OP_WRITE_ZEROES, nvme_cmd_write_zeroes); VALUE(SNV_OP_ZONE_APPEND, nvme_cmd_zone_append);
VALUE(SNV_OP_ZONE_MGMT_SEND, nvme_cmd_zone_mgmt_send); VALUE(SNV_OP_ZONE_MGMT_RECV, nvme_cmd_zone_mgmt_recv);
VALUE(SNV_RW_CDW12_FUA, (u32)NVME_RW_FUA << 16); VALUE(SNV_RW_CDW12_LR, (u32)NVME_RW_LR << 16);
VALUE(SNV_RW_CDW12_PRACT, (u32)NVME_RW_PRINFO_PRACT << 16);
VALUE(SNV_DSM_CDW11_AD, NVME_DSMGMT_AD);
VALUE(SNV_SQE_FUSE_FIRST, NVME_CMD_FUSE_FIRST); VALUE(SNV_SQE_PSDT_SGL, NVME_CMD_SGL_METABUF);
VALUE(SNV_SQE_PSDT_SGL_MSEG, NVME_CMD_SGL_METASEG);
VALUE(SNV_CQ_CDW11_IEN, NVME_CQ_IRQ_ENABLED); VALUE(SNV_CQ_CDW11_PC, NVME_QUEUE_PHYS_CONTIG);
VALUE(SNV_SQ_CDW11_QPRIO_MEDIUM, NVME_SQ_PRIO_MEDIUM); VALUE(SNV_SQ_CDW11_QPRIO_LOW, NVME_SQ_PRIO_LOW);
VALUE(SNV_CNS_NS, NVME_ID_CNS_NS); VALUE(SNV_CNS_CTRL, NVME_ID_CNS_CTRL);
VALUE(SNV_CNS_ACTIVE_NS_LIST, NVME_ID_CNS_NS_ACTIVE_LIST); VALUE(SNV_CNS_NS_DESC_LIST, NVME_ID_CNS_NS_DESC_LIST);
VALUE(SNV_CNS_CSI_NS, NVME_ID_CNS_CS_NS); VALUE(SNV_CNS_CSI_CTRL, NVME_ID_CNS_CS_CTRL);
VALUE(SNV_FEAT_NUM_QUEUES, NVME_FEAT_NUM_QUEUES); VALUE(SNV_FEAT_VOLATILE_WC, NVME_FEAT_VOLATILE_WC);
VALUE(SNV_FEAT_ASYNC_EVENT, NVME_FEAT_ASYNC_EVENT); VALUE(SNV_FEAT_TIMESTAMP, NVME_FEAT_TIMESTAMP);
VALUE(SNV_LOG_ERROR, NVME_LOG_ERROR); VALUE(SNV_LOG_SMART, NVME_LOG_SMART);
VALUE(SNV_LOG_CHANGED_NS, NVME_LOG_CHANGED_NS); VALUE(SNV_LOG_EFFECTS, NVME_LOG_CMD_EFFECTS);
VALUE(SNV_OACS_DBBUF, NVME_CTRL_OACS_DBBUF_SUPP); VALUE(SNV_OACS_NS_MGMT, NVME_CTRL_OACS_NS_MNGT_SUPP);
VALUE(SNV_ONCS_DSM, NVME_CTRL_ONCS_DSM); VALUE(SNV_VWC_PRESENT, NVME_CTRL_VWC_PRESENT);
VALUE(SNV_SC_INVALID_OPCODE, NVME_SC_INVALID_OPCODE); VALUE(SNV_SC_INVALID_FIELD, NVME_SC_INVALID_FIELD);
VALUE(SNV_SC_INVALID_NS, NVME_SC_INVALID_NS); VALUE(SNV_SC_LBA_RANGE, NVME_SC_LBA_RANGE);
VALUE(SNV_SC_CQ_INVALID, NVME_SC_CQ_INVALID); VALUE(SNV_SC_QID_INVALID, NVME_SC_QID_INVALID);
VALUE(SNV_SC_QUEUE_SIZE, NVME_SC_QUEUE_SIZE); VALUE(SNV_SC_ABORT_LIMIT, NVME_SC_ABORT_LIMIT);
VALUE(SNV_SC_INVALID_VECTOR, NVME_SC_INVALID_VECTOR); VALUE(SNV_SC_INVALID_LOG_PAGE, NVME_SC_INVALID_LOG_PAGE);
VALUE(SNV_SC_INVALID_FORMAT, NVME_SC_INVALID_FORMAT); VALUE(SNV_SC_READ_ONLY, NVME_SC_READ_ONLY);
VALUE(SNV_SC_ZONE_FULL, NVME_SC_ZONE_FULL); VALUE(SNV_SC_ZONE_INVALID_WRITE, NVME_SC_ZONE_INVALID_WRITE);
VALUE(SNV_SC_WRITE_FAULT, NVME_SC_WRITE_FAULT); VALUE(SNV_SC_READ_ERROR, NVME_SC_READ_ERROR);
VALUE(SNV_SC_GUARD_CHECK, NVME_SC_GUARD_CHECK); VALUE(SNV_SC_COMPARE_FAILED, NVME_SC_COMPARE_FAILED);
VALUE(SNV_SC_UNWRITTEN_BLOCK, NVME_SC_UNWRITTEN_BLOCK);

/* The inlines, used once, so that sparse and the compiler see them in this dialect. */
int snv_compare_use(struct snv_sq *sq, struct snv_cq *cq, struct snv_dma_map *map,
		    struct snv_prp_list *list, struct snv_extent_map *file);
int snv_compare_use(struct snv_sq *sq, struct snv_cq *cq, struct snv_dma_map *map,
		    struct snv_prp_list *list, struct snv_extent_map *file)
{
	__u32 pos = 0, dw3;

	if (snv_sq_reserve(sq, 1, &pos))
		snv_prp_build(map, 0, 4096, 12, list, 1, &snv_sq_slot(sq, pos)->prp1,
			      &snv_sq_slot(sq, pos)->prp2);
	snv_sq_publish(sq, pos, 1);
	if (snv_cq_peek(cq, &dw3)) {
		snv_cq_advance(cq);
		snv_cq_release(cq);
	}
	return snv_extent_check(file, 1);
}

MODULE_DESCRIPTION("compile-time comparison of headers");
MODULE_LICENSE("GPL");
