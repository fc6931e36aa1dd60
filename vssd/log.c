// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Log pages (Base 5.16), and what fills them: the error log, counters, the tables of commands. */
#include "core.h"

#define LOG_MAX		4096	/* no log page here is longer */

/* ---- commands supported, and their effects: Base 5.16.1.6 ------------------------------------ */

uint32_t vssd_admin_effects(const struct vssd_ctrl *ctrl, uint8_t opcode)
{
	switch (opcode) {
	case SNV_ADMIN_DELETE_SQ:
	case SNV_ADMIN_CREATE_SQ:
	case SNV_ADMIN_GET_LOG_PAGE:
	case SNV_ADMIN_DELETE_CQ:
	case SNV_ADMIN_CREATE_CQ:
	case SNV_ADMIN_IDENTIFY:
	case SNV_ADMIN_ABORT:
	case SNV_ADMIN_SET_FEATURES:
	case SNV_ADMIN_GET_FEATURES:
	case SNV_ADMIN_ASYNC_EVENT:
	case SNV_ADMIN_KEEP_ALIVE:
		return SNV_EFFECTS_CSUPP;
	case SNV_ADMIN_NS_MGMT:
	case SNV_ADMIN_NS_ATTACH:
		return SNV_EFFECTS_CSUPP | SNV_EFFECTS_NIC;
	case SNV_ADMIN_DBBUF:
		return ctrl->config.dbbuf ? SNV_EFFECTS_CSUPP : 0;
	case SNV_ADMIN_FORMAT:
		return SNV_EFFECTS_CSUPP | SNV_EFFECTS_LBCC | SNV_EFFECTS_NCC | SNV_EFFECTS_CSE_NS;
	}
	return 0;
}

uint32_t vssd_io_effects(const struct vssd_ctrl *ctrl, enum vssd_csi csi, uint8_t opcode)
{
	switch (opcode) {
	case SNV_OP_FLUSH:
	case SNV_OP_READ:
	case SNV_OP_COMPARE:
	case SNV_OP_VERIFY:
		return SNV_EFFECTS_CSUPP;
	case SNV_OP_WRITE:
	case SNV_OP_WRITE_UNCOR:
	case SNV_OP_WRITE_ZEROES:
	case SNV_OP_DSM:
	case SNV_OP_COPY:
		return SNV_EFFECTS_CSUPP | SNV_EFFECTS_LBCC;
	case SNV_OP_ZONE_MGMT_RECV:
		return csi == VSSD_CSI_ZNS ? SNV_EFFECTS_CSUPP : 0;
	case SNV_OP_ZONE_MGMT_SEND:
	case SNV_OP_ZONE_APPEND:
		return csi == VSSD_CSI_ZNS ? SNV_EFFECTS_CSUPP | SNV_EFFECTS_LBCC : 0;
	}
	return 0;
}

static int log_effects(struct vssd_cmd *cmd, void *page)
{
	const struct vssd_ctrl *ctrl = cmd->ctrl;
	struct snv_effects_log *log = page;
	uint32_t csi = vssd_cdw14(cmd) >> 24;

	/* CSI means something where command sets can be told apart only. */
	if ((ctrl->cc & SNV_CC_CSS) != SNV_CC_CSS_CSI)
		csi = VSSD_CSI_NVM;
	if (csi != VSSD_CSI_NVM && csi != VSSD_CSI_ZNS)
		return SNV_SC_INVALID_FIELD;
	for (uint32_t i = 0; i < 256; i++) {
		log->acs[i] = snv_le32(vssd_admin_effects(ctrl, (uint8_t)i));
		log->iocs[i] = snv_le32(vssd_io_effects(ctrl, (enum vssd_csi)csi, (uint8_t)i));
	}
	return 0;
}

/* ---- errors: Base 5.16.1.2 ------------------------------------------------------------------- */

/* Does dword 10 of an I/O command begin an LBA? */
static bool has_lba(const struct vssd_cmd *cmd)
{
	return cmd->sq->qid && cmd->sqe.opcode != SNV_OP_FLUSH && cmd->sqe.opcode != SNV_OP_DSM;
}

bool vssd_log_error(struct vssd_cmd *cmd, uint16_t status)
{
	struct vssd_ctrl *ctrl = cmd->ctrl;
	uint32_t code = status & SNV_STATUS_CODE;
	struct snv_error_log *e;

	/* What the host itself has ended is no error. */
	if (!code || code == SNV_SC_ABORT_REQ || code == SNV_SC_ABORT_SQ_DELETED)
		return false;
	vssd_lock(&ctrl->log_lock);
	ctrl->error_count++;
	if (code >> SNV_STATUS_SCT_SHIFT == SNV_SCT_MEDIA && code != SNV_SC_COMPARE_FAILED)
		ctrl->media_errors++;
	e = &ctrl->error[ctrl->error_count % (VSSD_ELPE + 1)];
	memset(e, 0, sizeof(*e));
	e->error_count = snv_le64(ctrl->error_count);
	e->sqid = snv_le16(cmd->sq->qid);
	e->cid = cmd->sqe.cid;
	e->status = snv_le16((uint16_t)((status | SNV_STATUS_MORE) << 1));
	e->parm_error_location = snv_le16(0xffff);	/* not to one field */
	if (has_lba(cmd))
		/* The first block that could not be read; else where the command began. */
		e->lba = (status & SNV_STATUS_CODE) == SNV_SC_READ_ERROR ?
			 snv_le64(cmd->u.slba) :
			 snv_le64((uint64_t)vssd_cdw11(cmd) << 32 | vssd_cdw10(cmd));
	e->nsid = cmd->sqe.nsid;
	vssd_unlock(&ctrl->log_lock);
	return true;
}

static int log_error(struct vssd_cmd *cmd, void *page)
{
	struct vssd_ctrl *ctrl = cmd->ctrl;
	struct snv_error_log *log = page;

	vssd_lock(&ctrl->log_lock);
	/* Those that were never written are zeros, as unused entries shall be. */
	for (uint64_t i = 0; i <= VSSD_ELPE; i++)
		log[i] = ctrl->error[(ctrl->error_count - i) % (VSSD_ELPE + 1)];
	vssd_unlock(&ctrl->log_lock);
	return 0;
}

/* ---- SMART: Base 5.16.1.3 -------------------------------------------------------------------- */

void vssd_sum_stats(struct vssd *v, struct vssd_stats *out)
{
	memset(out, 0, sizeof(*out));
	for (uint32_t i = 0; i < v->workers; i++) {
		const struct vssd_stats *s = &v->worker[i]->stats;

		out->reads += s->reads;
		out->writes += s->writes;
		out->bytes_read += s->bytes_read;
		out->bytes_written += s->bytes_written;
		out->commands += s->commands;
		out->errors += s->errors;
	}
}

/* The low half of a 16-byte counter. */
static void put_counter(uint8_t field[16], uint64_t value)
{
	__le64 le = snv_le64(value);

	memcpy(field, &le, sizeof(le));
}

/* Thousands of 512 bytes, rounded up. */
static uint64_t data_units(uint64_t bytes)
{
	return bytes / 512000 + !!(bytes % 512000);
}

uint8_t vssd_critical_warning(const struct vssd_ctrl *ctrl)
{
	const struct vssd_features *f = &ctrl->feat;

	return VSSD_TEMPERATURE >= f->temp_over || VSSD_TEMPERATURE <= f->temp_under ?
		SNV_SMART_TEMPERATURE : 0;
}

/* Of the subsystem as a whole. Nothing here measures Controller Busy Time: it stays 0. */
static int log_smart(struct vssd_cmd *cmd, void *page)
{
	struct vssd_ctrl *ctrl = cmd->ctrl;
	struct vssd *v = ctrl->v;
	struct snv_smart_log *log = page;
	struct vssd_stats stats;

	vssd_sum_stats(v, &stats);
	log->critical_warning = vssd_critical_warning(ctrl);
	log->temperature[0] = VSSD_TEMPERATURE & 0xff;
	log->temperature[1] = VSSD_TEMPERATURE >> 8;
	log->avail_spare = 100;
	log->spare_thresh = 10;
	put_counter(log->data_units_read, data_units(stats.bytes_read));
	put_counter(log->data_units_written, data_units(stats.bytes_written));
	put_counter(log->host_reads, stats.reads);
	put_counter(log->host_writes, stats.writes);
	put_counter(log->power_cycles, ctrl->power_cycles);
	put_counter(log->power_on_hours, (vssd_now(v) - v->created_at) / 3600000000000ULL);
	put_counter(log->unsafe_shutdowns, ctrl->unsafe_shutdowns);
	vssd_lock(&ctrl->log_lock);
	put_counter(log->media_errors, ctrl->media_errors);
	put_counter(log->num_err_log_entries, ctrl->error_count);
	vssd_unlock(&ctrl->log_lock);
	return 0;
}

/* ---- the others ------------------------------------------------------------------------------ */

static int log_fw_slot(struct vssd_cmd *cmd, void *page)
{
	struct snv_fw_slot_log *log = page;

	log->afi = 1;
	memcpy(log->frs[0], VSSD_FR, sizeof(log->frs[0]));
	return 0;
}

static int log_changed_ns(struct vssd_cmd *cmd, void *page)
{
	const struct vssd_ctrl *ctrl = cmd->ctrl;
	struct snv_ns_list *log = page;

	for (uint32_t i = 0; i < ctrl->n_changed_ns; i++)
		log->nsid[i] = snv_le32(ctrl->changed_ns[i]);
	return 0;
}

/* A header, after which there are no data blocks: Base 5.16.1.8, 5.16.1.9. */
static int log_telemetry(struct vssd_cmd *cmd, void *page)
{
	struct snv_telemetry_log *log = page;

	log->lpi = (uint8_t)vssd_cdw10(cmd);
	return 0;
}

static int log_supported(struct vssd_cmd *cmd, void *page);

static const struct log_page {
	uint8_t lid;
	uint32_t size;
	int (*fill)(struct vssd_cmd *cmd, void *page);	/* into zeros; 0 or a status */
} log_pages[] = {
	{ SNV_LOG_SUPPORTED, 1024, log_supported },
	{ SNV_LOG_ERROR, (VSSD_ELPE + 1) * sizeof(struct snv_error_log), log_error },
	{ SNV_LOG_SMART, sizeof(struct snv_smart_log), log_smart },
	{ SNV_LOG_FW_SLOT, sizeof(struct snv_fw_slot_log), log_fw_slot },
	{ SNV_LOG_CHANGED_NS, sizeof(struct snv_ns_list), log_changed_ns },
	{ SNV_LOG_EFFECTS, sizeof(struct snv_effects_log), log_effects },
	{ SNV_LOG_TELEMETRY_HOST, sizeof(struct snv_telemetry_log), log_telemetry },
	{ SNV_LOG_TELEMETRY_CTRL, sizeof(struct snv_telemetry_log), log_telemetry },
};

#define N_LOG_PAGES	(sizeof(log_pages) / sizeof(log_pages[0]))

/* Base 5.16.1.1: a dword for each LID, whose bit 0 says LSUPP. */
static int log_supported(struct vssd_cmd *cmd, void *page)
{
	__le32 *lsupp = page;

	for (uint32_t i = 0; i < N_LOG_PAGES; i++)
		lsupp[log_pages[i].lid] = snv_le32(1);
	return 0;
}

static const struct log_page *find_page(uint8_t lid)
{
	for (uint32_t i = 0; i < N_LOG_PAGES; i++)
		if (log_pages[i].lid == lid)
			return &log_pages[i];
	return NULL;
}

/* Does @cmd ask for @length bytes from @offset on of @page as it may? 0 or a status. */
static int check_log(const struct vssd_cmd *cmd, const struct log_page *page, uint64_t offset,
		     uint64_t length)
{
	uint32_t nsid = vssd_nsid(cmd);

	/* No page is kept for each namespace: LPA bit 0 is 0. */
	if (nsid && nsid != SNV_NSID_ALL)
		return nsid > VSSD_MAX_NS ? SNV_SC_INVALID_NS : SNV_SC_INVALID_FIELD;
	/* Offsets are of bytes: no page offers an index (OT). */
	if (offset & 3 || offset > page->size || vssd_cdw14(cmd) & SNV_GET_LOG_CDW14_OT)
		return SNV_SC_INVALID_FIELD;
	if (length > vssd_max_transfer(cmd->ctrl))
		return SNV_SC_INVALID_FIELD;
	/* Telemetry comes in blocks of 512 bytes. */
	if (page->fill == log_telemetry && (offset | length) & 511)
		return SNV_SC_INVALID_FIELD;
	return 0;
}

int vssd_get_log(struct vssd_cmd *cmd)
{
	uint32_t cdw10 = vssd_cdw10(cmd);
	const struct log_page *page = find_page((uint8_t)cdw10);
	uint64_t numd = (uint64_t)(vssd_cdw11(cmd) & 0xffff) << 16 | cdw10 >> 16;
	uint64_t offset = (uint64_t)vssd_cdw13(cmd) << 32 | vssd_cdw12(cmd);
	uint64_t length = (numd + 1) * 4;
	int status;

	if (!page)
		return SNV_SC_INVALID_LOG_PAGE;
	status = check_log(cmd, page, offset, length);
	if (status)
		return status;
	/* Behind its end a page goes on with zeros, for a while: the result there is undefined. */
	if (!vssd_bounce(cmd, LOG_MAX))
		return SNV_SC_INTERNAL;
	status = page->fill(cmd, cmd->bounce);
	if (!status)
		status = vssd_admin_out(cmd, (char *)cmd->bounce + offset, LOG_MAX - offset,
					length);
	if (status || cdw10 & SNV_GET_LOG_CDW10_RAE)
		return status;
	if (page->lid == SNV_LOG_CHANGED_NS)
		cmd->ctrl->n_changed_ns = 0;
	vssd_event_log_read(cmd->ctrl, page->lid);
	return 0;
}
