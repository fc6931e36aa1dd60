// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Get Features, Set Features: Base 5.15, 5.27. Nothing is saveable. */
#include "core.h"

#define HOST_BEHAVIOR_SIZE	512
#define TIMESTAMP_MASK		((1ULL << 48) - 1)
#define KATO_UNIT		(VSSD_KAS * 100U)	/* milliseconds */
/* Async events that may be enabled: SMART, namespace attributes; telemetry notices never come. */
#define ASYNC_EVENTS		(0xffU | SNV_AEC_NS_ATTR | SNV_AEC_TELEMETRY)

/* What Get Features needs room for. */
struct scratch {
	struct vssd_features defaults;
	uint8_t data[HOST_BEHAVIOR_SIZE];
};

bool vssd_volatile_cache(const struct vssd *v)
{
	bool present = v->power_loss;

	for (uint32_t nsid = 1; nsid <= VSSD_MAX_NS; nsid++)
		present |= v->ns[nsid] && v->ns[nsid]->media->volatile_cache;
	return present;
}

static void set_defaults(struct vssd_features *f)
{
	memset(f, 0, sizeof(*f));
	f->arbitration = VSSD_RAB;
	f->temp_over = VSSD_WCTEMP;
	f->volatile_wc = 1;
}

void vssd_features_reset(struct vssd_ctrl *ctrl)
{
	set_defaults(&ctrl->feat);
	ctrl->feat.timestamp_at = vssd_now(ctrl->v);
}

static uint8_t fid_of(const struct vssd_cmd *cmd)
{
	return (uint8_t)vssd_cdw10(cmd);
}

static bool per_ns(uint8_t fid)
{
	return fid == SNV_FEAT_ERR_RECOVERY;
}

static bool supported(const struct vssd_ctrl *ctrl, uint8_t fid)
{
	switch (fid) {
	case SNV_FEAT_ARBITRATION:
	case SNV_FEAT_POWER_MGMT:
	case SNV_FEAT_TEMP_THRESH:
	case SNV_FEAT_ERR_RECOVERY:
	case SNV_FEAT_NUM_QUEUES:
	case SNV_FEAT_IRQ_COALESCE:
	case SNV_FEAT_IRQ_CONFIG:
	case SNV_FEAT_WRITE_ATOMIC:
	case SNV_FEAT_ASYNC_EVENT:
	case SNV_FEAT_TIMESTAMP:
	case SNV_FEAT_KATO:
	case SNV_FEAT_HOST_BEHAVIOR:
	case SNV_FEAT_IOCS_PROFILE:
	case SNV_FEAT_HOST_ID:
		return true;
	case SNV_FEAT_VOLATILE_WC:
		return vssd_volatile_cache(ctrl->v);
	}
	return false;
}

/* NSID of a feature of namespaces: 0, or a status. @all: FFFFFFFFh will do. */
static int check_ns(const struct vssd_cmd *cmd, bool all)
{
	uint32_t nsid = vssd_nsid(cmd);

	if (nsid == SNV_NSID_ALL && all)
		return 0;
	if (!nsid || nsid > VSSD_MAX_NS)
		return SNV_SC_INVALID_NS;
	return vssd_ns_active(cmd->ctrl, nsid) ? 0 : SNV_SC_INVALID_FIELD;
}

/* ---- Temperature Threshold: Base 5.27.1.3 ---------------------------------------------------- */

/* The threshold that dword 11 selects, or NULL. */
static const uint32_t *threshold(const struct vssd_features *f, uint32_t cdw11)
{
	switch (cdw11 >> 20 & 3) {
	case 0:
		return &f->temp_over;
	case 1:
		return &f->temp_under;
	}
	return NULL;
}

/* A critical warning that the host wants to know of: Base 5.27.1.8. */
static void report_warnings(struct vssd_ctrl *ctrl)
{
	if (vssd_critical_warning(ctrl) & SNV_SMART_TEMPERATURE)
		vssd_event(ctrl, SNV_AER_SMART, SNV_AER_SMART_TEMPERATURE, SNV_LOG_SMART);
}

static int set_temp(struct vssd_ctrl *ctrl, uint32_t cdw11)
{
	uint32_t sensor = cdw11 >> 16 & 0xf;
	const uint32_t *t = threshold(&ctrl->feat, cdw11);

	/* There is the composite temperature; Fh is all sensors there are. */
	if (!t || (sensor && sensor != 0xf))
		return SNV_SC_INVALID_FIELD;
	if (t == &ctrl->feat.temp_over)
		ctrl->feat.temp_over = cdw11 & 0xffff;
	else
		ctrl->feat.temp_under = cdw11 & 0xffff;
	report_warnings(ctrl);
	return 0;
}

/* ---- Number of Queues: Base 5.27.1.5 --------------------------------------------------------- */

static uint32_t grant(const struct vssd_ctrl_config *config, uint32_t asked)
{
	switch (config->grant) {
	case VSSD_GRANT_ASKED:
		return asked < config->queues ? asked : config->queues;
	case VSSD_GRANT_FIXED:
		return config->granted;
	case VSSD_GRANT_MAX:
		break;
	}
	return config->queues;
}

/* Before they are granted, all that there are may be created. */
static uint32_t num_queues(const struct vssd_ctrl *ctrl, bool now)
{
	uint32_t sq = now && ctrl->granted_sq ? ctrl->granted_sq : ctrl->config.queues;
	uint32_t cq = now && ctrl->granted_cq ? ctrl->granted_cq : ctrl->config.queues;

	return (cq - 1) << SNV_NUM_QUEUES_CQ_SHIFT | (sq - 1);
}

static int set_num_queues(struct vssd_cmd *cmd, uint32_t cdw11)
{
	struct vssd_ctrl *ctrl = cmd->ctrl;
	uint32_t sq = cdw11 & SNV_NUM_QUEUES_SQ;
	uint32_t cq = cdw11 >> SNV_NUM_QUEUES_CQ_SHIFT;

	if (sq == 0xffff || cq == 0xffff)
		return SNV_SC_INVALID_FIELD;
	if (ctrl->n_sq || ctrl->n_cq)
		return SNV_SC_CMD_SEQ_ERROR;
	ctrl->granted_sq = grant(&ctrl->config, sq + 1);
	ctrl->granted_cq = grant(&ctrl->config, cq + 1);
	cmd->dw0 = num_queues(ctrl, true);
	return 0;
}

/* ---- Volatile Write Cache: Base 5.27.1.4 ----------------------------------------------------- */

static int flush_next(struct vssd_cmd *cmd);

static int flushed(struct vssd_cmd *cmd)
{
	struct vssd_ns *ns = cmd->ns;

	vssd_disown(cmd);
	if (cmd->io_status) {
		cmd->ctrl->feat.write_through = false;
		return cmd->io_status;
	}
	vssd_undo_drop(ns);
	cmd->step = flush_next;
	return VSSD_AGAIN;
}

/*
 * What is in the caches when they are turned off must not stay there, and writes under way end in
 * them: each namespace stands still for its flush. cmd->u.at: the last NSID.
 */
static int flush_next(struct vssd_cmd *cmd)
{
	cmd->ns = NULL;
	while (cmd->u.at < VSSD_MAX_NS) {
		struct vssd_ns *ns = cmd->ctrl->v->ns[cmd->u.at + 1];

		if (ns && !vssd_own(cmd, ns))
			return VSSD_RETRY;
		cmd->u.at++;
		if (!ns)
			continue;
		cmd->step = flushed;
		return vssd_media_io(cmd, VSSD_IO_FLUSH, 0, 0, NULL, 0, false);
	}
	cmd->ctrl->feat.volatile_wc = 0;
	return 0;
}

static int set_volatile_wc(struct vssd_cmd *cmd, uint32_t cdw11)
{
	struct vssd_features *f = &cmd->ctrl->feat;

	/*
	 * From now on nothing goes into the caches. Should the command be aborted they count as on, and
	 * writes go through them all the same.
	 */
	f->write_through = !(cdw11 & 1);
	if (!f->volatile_wc || !f->write_through) {
		f->volatile_wc = cdw11 & 1;
		return 0;
	}
	cmd->u.at = 0;
	cmd->step = flush_next;
	return VSSD_AGAIN;
}

/* ---- values of a dword ----------------------------------------------------------------------- */

/* Error Recovery: DULBE is not offered (Identify NSFEAT). Base 5.27.1.5, NVM 4.1.3.1. */
static int set_err_recovery(struct vssd_cmd *cmd, uint32_t cdw11)
{
	struct vssd_ctrl *ctrl = cmd->ctrl;
	uint32_t nsid = vssd_nsid(cmd);

	if (cdw11 & SNV_ERR_RECOVERY_DULBE)
		return SNV_SC_INVALID_FIELD;
	for (uint32_t i = 1; i <= VSSD_MAX_NS; i++)
		if (i == nsid || (nsid == SNV_NSID_ALL && vssd_ns_active(ctrl, i)))
			ctrl->feat.tler[i] = (uint16_t)cdw11;
	return 0;
}

static int set_power(struct vssd_ctrl *ctrl, uint32_t cdw11)
{
	if ((cdw11 & 0x1f) > VSSD_NPSS)
		return SNV_SC_INVALID_FIELD;
	ctrl->feat.power = cdw11 & 0xff;
	return 0;
}

static int set_irq_config(struct vssd_ctrl *ctrl, uint32_t cdw11)
{
	uint32_t vector = cdw11 & 0xffff;

	if (vector >= ctrl->config.vectors)
		return SNV_SC_INVALID_FIELD;
	ctrl->feat.irq_cd[vector] = cdw11 >> 16 & 1;
	return 0;
}

static int set_async_event(struct vssd_ctrl *ctrl, uint32_t cdw11)
{
	if (cdw11 & ~ASYNC_EVENTS)
		return SNV_SC_INVALID_FIELD;
	ctrl->feat.async_event = cdw11;
	report_warnings(ctrl);
	return 0;
}

/* Rounded up to the granularity that Identify KAS gives. */
static int set_kato(struct vssd_ctrl *ctrl, uint32_t cdw11)
{
	uint32_t units = cdw11 / KATO_UNIT + !!(cdw11 % KATO_UNIT);

	if (units > UINT32_MAX / KATO_UNIT)
		units = UINT32_MAX / KATO_UNIT;
	ctrl->feat.kato = units * KATO_UNIT;
	vssd_keep_alive(ctrl);
	return 0;
}

/* ---- values in memory ------------------------------------------------------------------------ */

/* Base 5.27.1.11. */
static int set_timestamp(struct vssd_cmd *cmd)
{
	struct vssd_features *f = &cmd->ctrl->feat;
	__le64 data;
	int status = vssd_admin_in(cmd, &data, sizeof(data));

	if (status)
		return status;
	f->timestamp = snv_le64_get(data) & TIMESTAMP_MASK;
	f->timestamp_at = vssd_now(cmd->ctrl->v);
	f->timestamp_origin = SNV_TIMESTAMP_HOST;
	return 0;
}

static size_t get_timestamp(const struct vssd_ctrl *ctrl, const struct vssd_features *f,
			    uint8_t *data)
{
	uint64_t ms = f->timestamp;
	__le64 le;

	if (f == &ctrl->feat)
		ms += (vssd_now(ctrl->v) - f->timestamp_at) / 1000000;
	le = snv_le64((ms & TIMESTAMP_MASK) | (uint64_t)f->timestamp_origin << 49);
	memcpy(data, &le, sizeof(le));
	return sizeof(le);
}

/* Base 5.27.1.18: of all behaviours there is Advanced Command Retry. */
static int set_host_behavior(struct vssd_cmd *cmd)
{
	uint8_t *data;
	int status;

	if (!vssd_bounce(cmd, HOST_BEHAVIOR_SIZE))
		return SNV_SC_INTERNAL;
	data = cmd->bounce;
	status = vssd_admin_in(cmd, data, HOST_BEHAVIOR_SIZE);
	if (status)
		return status;
	if (data[0] > 1)
		return SNV_SC_INVALID_FIELD;
	for (uint32_t i = 1; i < HOST_BEHAVIOR_SIZE; i++)
		if (data[i])
			return SNV_SC_INVALID_FIELD;
	cmd->ctrl->feat.host_behavior = data[0];
	return 0;
}

/* Base 5.27.1.25: EXHID says whether it has 128 bits, or 64. */
static size_t host_id_size(uint32_t cdw11)
{
	return cdw11 & SNV_HOST_ID_EXHID ? 16 : 8;
}

static int set_host_id(struct vssd_cmd *cmd, uint32_t cdw11)
{
	uint8_t id[16] = { 0 };
	int status = vssd_admin_in(cmd, id, host_id_size(cdw11));

	if (!status)
		memcpy(cmd->ctrl->feat.host_id, id, sizeof(id));
	return status;
}

/* ---- Get Features: Base 5.15 ----------------------------------------------------------------- */

/* A feature's value of @f: a dword, and *@size bytes of @data. 0 or a status. */
static int get_value(struct vssd_cmd *cmd, const struct vssd_features *f, uint8_t *data,
		     size_t *size)
{
	const struct vssd_ctrl *ctrl = cmd->ctrl;
	uint32_t cdw11 = vssd_cdw11(cmd);
	uint32_t vector = cdw11 & 0xffff;

	switch (fid_of(cmd)) {
	case SNV_FEAT_ARBITRATION:
		cmd->dw0 = f->arbitration;
		break;
	case SNV_FEAT_POWER_MGMT:
		cmd->dw0 = f->power;
		break;
	case SNV_FEAT_TEMP_THRESH:
		if (cdw11 >> 16 & 0xf || !threshold(f, cdw11))
			return SNV_SC_INVALID_FIELD;
		cmd->dw0 = *threshold(f, cdw11);
		break;
	case SNV_FEAT_ERR_RECOVERY:
		cmd->dw0 = f->tler[vssd_nsid(cmd)];
		break;
	case SNV_FEAT_VOLATILE_WC:
		cmd->dw0 = f->volatile_wc;
		break;
	case SNV_FEAT_NUM_QUEUES:
		cmd->dw0 = num_queues(ctrl, f == &ctrl->feat);
		break;
	case SNV_FEAT_IRQ_COALESCE:
		cmd->dw0 = f->irq_coalesce;
		break;
	case SNV_FEAT_IRQ_CONFIG:
		if (vector >= ctrl->config.vectors)
			return SNV_SC_INVALID_FIELD;
		cmd->dw0 = vector | (uint32_t)f->irq_cd[vector] << 16;
		break;
	case SNV_FEAT_WRITE_ATOMIC:
		cmd->dw0 = f->write_atomic;
		break;
	case SNV_FEAT_ASYNC_EVENT:
		cmd->dw0 = f->async_event;
		break;
	case SNV_FEAT_TIMESTAMP:
		*size = get_timestamp(ctrl, f, data);
		break;
	case SNV_FEAT_KATO:
		cmd->dw0 = f->kato;
		break;
	case SNV_FEAT_HOST_BEHAVIOR:
		data[0] = (uint8_t)f->host_behavior;
		*size = HOST_BEHAVIOR_SIZE;
		break;
	case SNV_FEAT_HOST_ID:
		*size = host_id_size(cdw11);
		memcpy(data, f->host_id, *size);
		break;
	}
	return 0;
}

int vssd_get_features(struct vssd_cmd *cmd)
{
	struct vssd_ctrl *ctrl = cmd->ctrl;
	const struct vssd_features *f = &ctrl->feat;
	uint32_t sel = vssd_cdw10(cmd) & SNV_FEAT_SEL;
	uint8_t fid = fid_of(cmd);
	struct scratch *scratch;
	size_t size = 0;
	int status = 0;

	if (!supported(ctrl, fid) || sel > SNV_FEAT_SEL_CAPS)
		return SNV_SC_INVALID_FIELD;
	if (sel == SNV_FEAT_SEL_CAPS) {
		cmd->dw0 = SNV_FEAT_CAP_CHANGEABLE | (per_ns(fid) ? SNV_FEAT_CAP_PER_NS : 0);
		return 0;
	}
	if (per_ns(fid))
		status = check_ns(cmd, false);
	else if (vssd_nsid(cmd) > VSSD_MAX_NS && vssd_nsid(cmd) != SNV_NSID_ALL)
		status = SNV_SC_INVALID_NS;
	if (status)
		return status;
	if (!vssd_bounce(cmd, sizeof(*scratch)))
		return SNV_SC_INTERNAL;
	scratch = cmd->bounce;
	/* What was never saved has its default value. */
	if (sel != SNV_FEAT_SEL_CURRENT) {
		set_defaults(&scratch->defaults);
		f = &scratch->defaults;
	}
	status = get_value(cmd, f, scratch->data, &size);
	if (status || !size)
		return status;
	return vssd_admin_out(cmd, scratch->data, size, size);
}

/* ---- Set Features: Base 5.27 ----------------------------------------------------------------- */

int vssd_set_features(struct vssd_cmd *cmd)
{
	struct vssd_ctrl *ctrl = cmd->ctrl;
	struct vssd_features *f = &ctrl->feat;
	uint32_t cdw11 = vssd_cdw11(cmd);
	uint32_t nsid = vssd_nsid(cmd);
	uint8_t fid = fid_of(cmd);
	int status = 0;

	if (!supported(ctrl, fid))
		return SNV_SC_INVALID_FIELD;
	if (vssd_cdw10(cmd) & SNV_FEAT_CDW10_SAVE)
		return SNV_SC_FEATURE_NOT_SAVEABLE;
	if (per_ns(fid))
		status = check_ns(cmd, true);
	else if (nsid && nsid != SNV_NSID_ALL)
		status = nsid > VSSD_MAX_NS ? SNV_SC_INVALID_NS : SNV_SC_FEATURE_NOT_PER_NS;
	if (status)
		return status;
	switch (fid) {
	case SNV_FEAT_ARBITRATION:
		f->arbitration = cdw11 & ~0xf8U;
		return 0;
	case SNV_FEAT_POWER_MGMT:
		return set_power(ctrl, cdw11);
	case SNV_FEAT_TEMP_THRESH:
		return set_temp(ctrl, cdw11);
	case SNV_FEAT_ERR_RECOVERY:
		return set_err_recovery(cmd, cdw11);
	case SNV_FEAT_VOLATILE_WC:
		return set_volatile_wc(cmd, cdw11);
	case SNV_FEAT_NUM_QUEUES:
		return set_num_queues(cmd, cdw11);
	case SNV_FEAT_IRQ_COALESCE:
		f->irq_coalesce = cdw11 & 0xffff;
		return 0;
	case SNV_FEAT_IRQ_CONFIG:
		return set_irq_config(ctrl, cdw11);
	case SNV_FEAT_WRITE_ATOMIC:
		f->write_atomic = cdw11 & 1;
		return 0;
	case SNV_FEAT_ASYNC_EVENT:
		return set_async_event(ctrl, cdw11);
	case SNV_FEAT_TIMESTAMP:
		return set_timestamp(cmd);
	case SNV_FEAT_KATO:
		return set_kato(ctrl, cdw11);
	case SNV_FEAT_HOST_BEHAVIOR:
		return set_host_behavior(cmd);
	case SNV_FEAT_IOCS_PROFILE:
		/* Identify CNS 1Ch has one combination: Base 5.27.1.21. */
		return cdw11 & 0x1ff ? SNV_SC_IOCS_COMBINATION : 0;
	case SNV_FEAT_HOST_ID:
		return set_host_id(cmd, cdw11);
	}
	return SNV_SC_INVALID_FIELD;
}
