// SPDX-License-Identifier: MIT
/* nvme.h against libnvme's header: sizes, offsets and values, written by other people. */
#include <nvme/types.h>
#include <stddef.h>

#include <snvme/nvme.h>

#include "tap.h"

#define SIZE(ours, theirs) is(sizeof(struct ours), sizeof(struct theirs), "size of " #ours)
#define FIELD(ours, of, theirs, tf) \
	is(offsetof(struct ours, of), offsetof(struct theirs, tf), #ours "." #of); \
	is(sizeof(((struct ours *)0)->of), sizeof(((struct theirs *)0)->tf), "size of " #ours "." #of)
#define SAME(ours, theirs, f) FIELD(ours, f, theirs, f)
#define VALUE(ours, theirs) is(ours, theirs, #ours)

static void id_ctrl(void)
{
#define C(f) SAME(snv_id_ctrl, nvme_id_ctrl, f)
	SIZE(snv_id_ctrl, nvme_id_ctrl);
	C(vid); C(ssvid); C(sn); C(mn); C(fr); C(rab); C(ieee); C(cmic); C(mdts); C(cntlid); C(ver);
	C(rtd3r); C(rtd3e); C(oaes); C(ctratt); C(rrls); C(cntrltype); C(fguid); C(crdt1); C(crdt3);
	C(nvmsr); C(vwci); C(mec); C(oacs); C(acl); C(aerl); C(frmw); C(lpa); C(elpe); C(npss);
	C(avscc); C(apsta); C(wctemp); C(cctemp); C(mtfa); C(hmpre); C(hmmin); C(tnvmcap); C(unvmcap);
	C(rpmbs); C(edstt); C(dsto); C(fwug); C(kas); C(hctma); C(mntmt); C(mxtmt); C(sanicap);
	C(hmminds); C(hmmaxd); C(nsetidmax); C(endgidmax); C(anatt); C(anacap); C(anagrpmax);
	C(nanagrpid); C(pels); C(domainid); C(megcap); C(sqes); C(cqes); C(maxcmd); C(nn); C(oncs);
	C(fuses); C(fna); C(vwc); C(awun); C(awupf); C(icsvscc); C(nwpc); C(acwu); C(sgls);
	C(mnan); C(maxdna); C(maxcna); C(subnqn); C(psd); C(vs);
}

static void id_ctrl_nvm(void)
{
#define V(f) SAME(snv_id_ctrl_nvm, nvme_id_ctrl_nvm, f)
	SIZE(snv_id_ctrl_nvm, nvme_id_ctrl_nvm);
	V(vsl); V(wzsl); V(wusl); V(dmrl); V(dmrsl); V(dmsl);
}

static void id_ns(void)
{
#define N(f) SAME(snv_id_ns, nvme_id_ns, f)
	SIZE(snv_id_ns, nvme_id_ns);
	SIZE(snv_lbaf, nvme_lbaf);
	SAME(snv_lbaf, nvme_lbaf, ms); SAME(snv_lbaf, nvme_lbaf, ds); SAME(snv_lbaf, nvme_lbaf, rp);
	N(nsze); N(ncap); N(nuse); N(nsfeat); N(nlbaf); N(flbas); N(mc); N(dpc); N(dps); N(nmic);
	N(rescap); N(fpi); N(dlfeat); N(nawun); N(nawupf); N(nacwu); N(nabsn); N(nabo); N(nabspf);
	N(noiob); N(nvmcap); N(npwg); N(npwa); N(npdg); N(npda); N(nows); N(mssrl); N(mcl); N(msrc);
	N(anagrpid); N(nsattr); N(nvmsetid); N(endgid); N(nguid); N(eui64); N(lbaf);
}

static void logs(void)
{
#define S(f) SAME(snv_smart_log, nvme_smart_log, f)
	SIZE(snv_smart_log, nvme_smart_log);
	S(critical_warning); S(temperature); S(avail_spare); S(spare_thresh); S(percent_used);
	S(data_units_read); S(data_units_written); S(host_reads); S(host_writes); S(ctrl_busy_time);
	S(power_cycles); S(power_on_hours); S(unsafe_shutdowns); S(media_errors);
	S(num_err_log_entries); S(warning_temp_time); S(critical_comp_time); S(temp_sensor);
#define E(f) SAME(snv_error_log, nvme_error_log_page, f)
	SIZE(snv_error_log, nvme_error_log_page);
	E(error_count); E(sqid); E(parm_error_location); E(lba); E(nsid); E(vs); E(trtype); E(cs);
	FIELD(snv_error_log, cid, nvme_error_log_page, cmdid);
	FIELD(snv_error_log, status, nvme_error_log_page, status_field);
	SIZE(snv_fw_slot_log, nvme_firmware_slot);
	SAME(snv_fw_slot_log, nvme_firmware_slot, afi); SAME(snv_fw_slot_log, nvme_firmware_slot, frs);
	SIZE(snv_effects_log, nvme_cmd_effects_log);
	SAME(snv_effects_log, nvme_cmd_effects_log, iocs);
	SIZE(snv_telemetry_log, nvme_telemetry_log);
	SAME(snv_telemetry_log, nvme_telemetry_log, dalb1);
	SAME(snv_telemetry_log, nvme_telemetry_log, ctrlavail);
	SAME(snv_telemetry_log, nvme_telemetry_log, rsnident);
}

static void small(void)
{
	SIZE(snv_power_state, nvme_id_psd);
	SAME(snv_power_state, nvme_id_psd, enlat); SAME(snv_power_state, nvme_id_psd, rrt);
	SAME(snv_power_state, nvme_id_psd, idlp); SAME(snv_power_state, nvme_id_psd, actp);
	SIZE(snv_dsm_range, nvme_dsm_range);
	SAME(snv_dsm_range, nvme_dsm_range, nlb); SAME(snv_dsm_range, nvme_dsm_range, slba);
	SIZE(snv_copy_range, nvme_copy_range);
	SAME(snv_copy_range, nvme_copy_range, slba); SAME(snv_copy_range, nvme_copy_range, nlb);
	SAME(snv_copy_range, nvme_copy_range, eilbrt);
	/* Its elbat and elbatm are the other way round than NVM 1.0 figure 36; ours are not. */
	SIZE(snv_ctrl_list, nvme_ctrl_list); SIZE(snv_ns_list, nvme_ns_list);
	SIZE(snv_ns_id_desc, nvme_ns_id_desc);
	SIZE(snv_zns_lbafe, nvme_zns_lbafe);
	SIZE(snv_zns_id_ns, nvme_zns_id_ns);
	SAME(snv_zns_id_ns, nvme_zns_id_ns, mar); SAME(snv_zns_id_ns, nvme_zns_id_ns, mor);
	SAME(snv_zns_id_ns, nvme_zns_id_ns, lbafe); SAME(snv_zns_id_ns, nvme_zns_id_ns, vs);
	SIZE(snv_zns_id_ctrl, nvme_zns_id_ctrl);
	SIZE(snv_zone_desc, nvme_zns_desc);
	SAME(snv_zone_desc, nvme_zns_desc, zt); SAME(snv_zone_desc, nvme_zns_desc, zcap);
	SAME(snv_zone_desc, nvme_zns_desc, zslba); SAME(snv_zone_desc, nvme_zns_desc, wp);
}

static void values(void)
{
	VALUE(SNV_REG_CAP, NVME_REG_CAP); VALUE(SNV_REG_VS, NVME_REG_VS);
	VALUE(SNV_REG_INTMS, NVME_REG_INTMS); VALUE(SNV_REG_INTMC, NVME_REG_INTMC);
	VALUE(SNV_REG_CC, NVME_REG_CC); VALUE(SNV_REG_CSTS, NVME_REG_CSTS);
	VALUE(SNV_REG_NSSR, NVME_REG_NSSR); VALUE(SNV_REG_AQA, NVME_REG_AQA);
	VALUE(SNV_REG_ASQ, NVME_REG_ASQ); VALUE(SNV_REG_ACQ, NVME_REG_ACQ);
	VALUE(SNV_REG_CMBLOC, NVME_REG_CMBLOC); VALUE(SNV_REG_CMBSZ, NVME_REG_CMBSZ);
	VALUE(SNV_REG_CMBMSC, NVME_REG_CMBMSC); VALUE(SNV_REG_CMBSTS, NVME_REG_CMBSTS);

	VALUE(SNV_ADMIN_DELETE_SQ, nvme_admin_delete_sq); VALUE(SNV_ADMIN_CREATE_SQ, nvme_admin_create_sq);
	VALUE(SNV_ADMIN_GET_LOG_PAGE, nvme_admin_get_log_page);
	VALUE(SNV_ADMIN_DELETE_CQ, nvme_admin_delete_cq); VALUE(SNV_ADMIN_CREATE_CQ, nvme_admin_create_cq);
	VALUE(SNV_ADMIN_IDENTIFY, nvme_admin_identify); VALUE(SNV_ADMIN_ABORT, nvme_admin_abort_cmd);
	VALUE(SNV_ADMIN_SET_FEATURES, nvme_admin_set_features);
	VALUE(SNV_ADMIN_GET_FEATURES, nvme_admin_get_features);
	VALUE(SNV_ADMIN_ASYNC_EVENT, nvme_admin_async_event); VALUE(SNV_ADMIN_NS_MGMT, nvme_admin_ns_mgmt);
	VALUE(SNV_ADMIN_FW_COMMIT, nvme_admin_fw_commit); VALUE(SNV_ADMIN_FW_DOWNLOAD, nvme_admin_fw_download);
	VALUE(SNV_ADMIN_SELF_TEST, nvme_admin_dev_self_test); VALUE(SNV_ADMIN_NS_ATTACH, nvme_admin_ns_attach);
	VALUE(SNV_ADMIN_KEEP_ALIVE, nvme_admin_keep_alive); VALUE(SNV_ADMIN_DBBUF, nvme_admin_dbbuf);
	VALUE(SNV_ADMIN_DIRECTIVE_SEND, nvme_admin_directive_send);
	VALUE(SNV_ADMIN_DIRECTIVE_RECV, nvme_admin_directive_recv);
	VALUE(SNV_ADMIN_VIRT_MGMT, nvme_admin_virtual_mgmt); VALUE(SNV_ADMIN_FORMAT, nvme_admin_format_nvm);
	VALUE(SNV_ADMIN_SECURITY_SEND, nvme_admin_security_send);
	VALUE(SNV_ADMIN_SECURITY_RECV, nvme_admin_security_recv);
	VALUE(SNV_ADMIN_SANITIZE, nvme_admin_sanitize_nvm);
	VALUE(SNV_ADMIN_GET_LBA_STATUS, nvme_admin_get_lba_status);

	VALUE(SNV_OP_FLUSH, nvme_cmd_flush); VALUE(SNV_OP_WRITE, nvme_cmd_write);
	VALUE(SNV_OP_READ, nvme_cmd_read); VALUE(SNV_OP_WRITE_UNCOR, nvme_cmd_write_uncor);
	VALUE(SNV_OP_COMPARE, nvme_cmd_compare); VALUE(SNV_OP_WRITE_ZEROES, nvme_cmd_write_zeroes);
	VALUE(SNV_OP_DSM, nvme_cmd_dsm); VALUE(SNV_OP_VERIFY, nvme_cmd_verify);
	VALUE(SNV_OP_RESV_REGISTER, nvme_cmd_resv_register); VALUE(SNV_OP_RESV_REPORT, nvme_cmd_resv_report);
	VALUE(SNV_OP_RESV_ACQUIRE, nvme_cmd_resv_acquire); VALUE(SNV_OP_RESV_RELEASE, nvme_cmd_resv_release);
	VALUE(SNV_OP_COPY, nvme_cmd_copy); VALUE(SNV_OP_ZONE_MGMT_SEND, nvme_zns_cmd_mgmt_send);
	VALUE(SNV_OP_ZONE_MGMT_RECV, nvme_zns_cmd_mgmt_recv); VALUE(SNV_OP_ZONE_APPEND, nvme_zns_cmd_append);

	VALUE(SNV_CNS_NS, NVME_IDENTIFY_CNS_NS); VALUE(SNV_CNS_CTRL, NVME_IDENTIFY_CNS_CTRL);
	VALUE(SNV_CNS_ACTIVE_NS_LIST, NVME_IDENTIFY_CNS_NS_ACTIVE_LIST);
	VALUE(SNV_CNS_NS_DESC_LIST, NVME_IDENTIFY_CNS_NS_DESC_LIST);
	VALUE(SNV_CNS_CSI_NS, NVME_IDENTIFY_CNS_CSI_NS); VALUE(SNV_CNS_CSI_CTRL, NVME_IDENTIFY_CNS_CSI_CTRL);
	VALUE(SNV_CNS_ALLOCATED_NS_LIST, NVME_IDENTIFY_CNS_ALLOCATED_NS_LIST);
	VALUE(SNV_CNS_ALLOCATED_NS, NVME_IDENTIFY_CNS_ALLOCATED_NS);
	VALUE(SNV_CNS_NS_CTRL_LIST, NVME_IDENTIFY_CNS_NS_CTRL_LIST);
	VALUE(SNV_CNS_CTRL_LIST, NVME_IDENTIFY_CNS_CTRL_LIST);
	VALUE(SNV_NIDT_EUI64, NVME_NIDT_EUI64); VALUE(SNV_NIDT_NGUID, NVME_NIDT_NGUID);
	VALUE(SNV_NIDT_UUID, NVME_NIDT_UUID); VALUE(SNV_NIDT_CSI, NVME_NIDT_CSI);
	VALUE(SNV_CSI_NVM, NVME_CSI_NVM); VALUE(SNV_CSI_ZNS, NVME_CSI_ZNS);

	VALUE(SNV_FEAT_ARBITRATION, NVME_FEAT_FID_ARBITRATION);
	VALUE(SNV_FEAT_VOLATILE_WC, NVME_FEAT_FID_VOLATILE_WC);
	VALUE(SNV_FEAT_NUM_QUEUES, NVME_FEAT_FID_NUM_QUEUES);
	VALUE(SNV_FEAT_IRQ_COALESCE, NVME_FEAT_FID_IRQ_COALESCE);
	VALUE(SNV_FEAT_ASYNC_EVENT, NVME_FEAT_FID_ASYNC_EVENT);
	VALUE(SNV_FEAT_HOST_MEM_BUF, NVME_FEAT_FID_HOST_MEM_BUF);
	VALUE(SNV_FEAT_TIMESTAMP, NVME_FEAT_FID_TIMESTAMP); VALUE(SNV_FEAT_KATO, NVME_FEAT_FID_KATO);
	VALUE(SNV_FEAT_HOST_BEHAVIOR, NVME_FEAT_FID_HOST_BEHAVIOR);
	VALUE(SNV_FEAT_HOST_ID, NVME_FEAT_FID_HOST_ID);
	VALUE(SNV_FEAT_WRITE_PROTECT, NVME_FEAT_FID_WRITE_PROTECT);
	VALUE(SNV_LOG_ERROR, NVME_LOG_LID_ERROR); VALUE(SNV_LOG_SMART, NVME_LOG_LID_SMART);
	VALUE(SNV_LOG_FW_SLOT, NVME_LOG_LID_FW_SLOT); VALUE(SNV_LOG_CHANGED_NS, NVME_LOG_LID_CHANGED_NS);
	VALUE(SNV_LOG_EFFECTS, NVME_LOG_LID_CMD_EFFECTS);
	VALUE(SNV_LOG_TELEMETRY_HOST, NVME_LOG_LID_TELEMETRY_HOST);
	VALUE(SNV_LOG_SANITIZE, NVME_LOG_LID_SANITIZE);

	VALUE(SNV_SC_INVALID_OPCODE, NVME_SC_INVALID_OPCODE); VALUE(SNV_SC_INVALID_FIELD, NVME_SC_INVALID_FIELD);
	VALUE(SNV_SC_DATA_XFER_ERROR, NVME_SC_DATA_XFER_ERROR); VALUE(SNV_SC_INTERNAL, NVME_SC_INTERNAL);
	VALUE(SNV_SC_ABORT_REQ, NVME_SC_ABORT_REQ); VALUE(SNV_SC_ABORT_SQ_DELETED, NVME_SC_ABORT_QUEUE);
	VALUE(SNV_SC_INVALID_NS, NVME_SC_INVALID_NS); VALUE(SNV_SC_LBA_RANGE, NVME_SC_LBA_RANGE);
	VALUE(SNV_SC_PRP_INVALID_OFFSET, NVME_SC_PRP_INVALID_OFFSET);
	VALUE(SNV_SC_NS_WRITE_PROTECTED, NVME_SC_NS_WRITE_PROTECTED);
	is(SNV_SC_CQ_INVALID & 0xff, NVME_SC_CQ_INVALID, "SNV_SC_CQ_INVALID");
	is(SNV_SC_QID_INVALID & 0xff, NVME_SC_QID_INVALID, "SNV_SC_QID_INVALID");
	is(SNV_SC_QUEUE_SIZE & 0xff, NVME_SC_QUEUE_SIZE, "SNV_SC_QUEUE_SIZE");
	is(SNV_SC_ABORT_LIMIT & 0xff, NVME_SC_ABORT_LIMIT, "SNV_SC_ABORT_LIMIT");
	is(SNV_SC_INVALID_LOG_PAGE & 0xff, NVME_SC_INVALID_LOG_PAGE, "SNV_SC_INVALID_LOG_PAGE");
	is(SNV_SC_INVALID_FORMAT & 0xff, NVME_SC_INVALID_FORMAT, "SNV_SC_INVALID_FORMAT");
	is(SNV_SC_ZONE_FULL & 0xff, NVME_SC_ZNS_FULL, "SNV_SC_ZONE_FULL");
	is(SNV_SC_ZONE_INVALID_WRITE & 0xff, NVME_SC_ZNS_INVALID_WRITE, "SNV_SC_ZONE_INVALID_WRITE");
	is(SNV_SC_READ_ERROR & 0xff, NVME_SC_READ_ERROR, "SNV_SC_READ_ERROR");
	is(SNV_SC_COMPARE_FAILED & 0xff, NVME_SC_COMPARE_FAILED, "SNV_SC_COMPARE_FAILED");
	is(SNV_SC_UNWRITTEN_BLOCK & 0xff, NVME_SC_UNWRITTEN_BLOCK, "SNV_SC_UNWRITTEN_BLOCK");
}

int main(void)
{
	id_ctrl();
	id_ctrl_nvm();
	id_ns();
	logs();
	small();
	values();
	return done();
}
