// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Admin commands: dispatch, queues, Abort, asynchronous events, Keep Alive, doorbell buffers. */
#include "core.h"

/* ---- queues: Base 5.4 to 5.7 ----------------------------------------------------------------- */

static uint32_t cdw10_qid(const struct vssd_cmd *cmd)
{
	return vssd_cdw10(cmd) & 0xffff;
}

static uint32_t cdw10_entries(const struct vssd_cmd *cmd)
{
	return (vssd_cdw10(cmd) >> SNV_QUEUE_CDW10_QSIZE_SHIFT) + 1;
}

/* May there be a queue @qid? @granted is 0 before Set Features Number of Queues: any may. */
static bool qid_valid(const struct vssd_ctrl *ctrl, uint32_t qid, uint32_t granted)
{
	return qid && qid <= (granted ? granted : ctrl->config.queues);
}

static bool entries_valid(const struct vssd_cmd *cmd)
{
	return cdw10_entries(cmd) >= 2 && cdw10_entries(cmd) <= cmd->ctrl->config.mqes;
}

static int create_cq(struct vssd_cmd *cmd)
{
	struct vssd_ctrl *ctrl = cmd->ctrl;
	uint32_t qid = cdw10_qid(cmd);
	uint32_t cdw11 = vssd_cdw11(cmd);
	uint32_t vector = cdw11 >> SNV_CQ_CDW11_IV_SHIFT;

	if (!qid_valid(ctrl, qid, ctrl->granted_cq) || ctrl->cq[qid])
		return SNV_SC_QID_INVALID;
	/* Entries of 16 bytes are all that Identify CQES offers. */
	if (!entries_valid(cmd) || (ctrl->cc & SNV_CC_IOCQES) >> SNV_CC_IOCQES_SHIFT != 4)
		return SNV_SC_QUEUE_SIZE;
	if (vector >= ctrl->config.vectors)
		return SNV_SC_INVALID_VECTOR;
	if (!(cdw11 & SNV_CQ_CDW11_PC) && ctrl->config.cqr)
		return SNV_SC_INVALID_FIELD;
	return vssd_cq_create(ctrl, (uint16_t)qid, cdw10_entries(cmd),
			      snv_le64_get(cmd->sqe.prp1), cdw11 & SNV_CQ_CDW11_PC,
			      cdw11 & SNV_CQ_CDW11_IEN, (uint16_t)vector);
}

static int create_sq(struct vssd_cmd *cmd)
{
	struct vssd_ctrl *ctrl = cmd->ctrl;
	uint32_t qid = cdw10_qid(cmd);
	uint32_t cdw11 = vssd_cdw11(cmd);
	uint32_t cqid = cdw11 >> SNV_SQ_CDW11_CQID_SHIFT;
	uint8_t prio = 0;	/* QPRIO means something with weighted round robin only */

	if (!qid_valid(ctrl, qid, ctrl->granted_sq) || ctrl->sq[qid])
		return SNV_SC_QID_INVALID;
	/* Entries of 64 bytes are all that Identify SQES offers. */
	if (!entries_valid(cmd) || (ctrl->cc & SNV_CC_IOSQES) >> SNV_CC_IOSQES_SHIFT != 6)
		return SNV_SC_QUEUE_SIZE;
	if (!qid_valid(ctrl, cqid, ctrl->granted_cq))
		return SNV_SC_QID_INVALID;
	if (!ctrl->cq[cqid])
		return SNV_SC_CQ_INVALID;
	if (!(cdw11 & SNV_SQ_CDW11_PC) && ctrl->config.cqr)
		return SNV_SC_INVALID_FIELD;
	if ((ctrl->cc & SNV_CC_AMS) == SNV_CC_AMS_WRRU)
		prio = cdw11 >> 1 & 3;
	return vssd_sq_create(ctrl, (uint16_t)qid, cdw10_entries(cmd),
			      snv_le64_get(cmd->sqe.prp1), cdw11 & SNV_SQ_CDW11_PC, prio,
			      ctrl->cq[cqid]);
}

static int delete_cq(struct vssd_cmd *cmd)
{
	struct vssd_ctrl *ctrl = cmd->ctrl;
	uint32_t qid = cdw10_qid(cmd);

	if (!qid || qid > ctrl->config.queues || !ctrl->cq[qid])
		return SNV_SC_QID_INVALID;
	if (ctrl->cq[qid]->sqs)
		return SNV_SC_INVALID_QUEUE_DELETION;
	vssd_cq_free(ctrl->cq[qid]);
	return 0;
}

static int delete_sq(struct vssd_cmd *cmd)
{
	struct vssd_ctrl *ctrl = cmd->ctrl;
	uint32_t qid = cdw10_qid(cmd);
	struct vssd_sq *sq = qid <= ctrl->config.queues ? ctrl->sq[qid] : NULL;

	if (!qid || !sq || sq->deleter)
		return SNV_SC_QID_INVALID;
	if (!vssd_sq_drain(sq, SNV_SC_ABORT_SQ_DELETED)) {
		vssd_sq_free(sq);
		return 0;
	}
	sq->deleter = cmd;
	vssd_hang(cmd);
	return VSSD_HELD;
}

uint32_t vssd_deleters_finish(struct vssd_ctrl *ctrl)
{
	uint32_t n = 0;

	for (uint32_t qid = 1; qid <= ctrl->config.queues; qid++) {
		struct vssd_sq *sq = ctrl->sq[qid];
		struct vssd_cmd *cmd = sq ? sq->deleter : NULL;

		if (!cmd || sq->n_inflight)
			continue;
		vssd_sq_free(sq);
		vssd_cancel(cmd, 0);
		n++;
	}
	return n;
}

/* ---- asynchronous events: Base 5.2 ----------------------------------------------------------- */

/* Set Features 0Bh, Asynchronous Event Configuration: Base 5.27.1.8. */
static bool event_enabled(const struct vssd_ctrl *ctrl, uint8_t type, uint8_t info)
{
	/* Of SMART: reliability, temperature, spare; the bits are those of Critical Warning. */
	static const uint8_t critical_warning[] = { 2, 1, 0 };
	uint32_t bit;

	switch (type) {
	case SNV_AER_SMART:
		if (info >= sizeof(critical_warning))
			return false;
		bit = critical_warning[info];
		break;
	case SNV_AER_NOTICE:
		bit = 8 + info;
		break;
	default:
		return true;
	}
	return bit < 32 && ctrl->feat.async_event >> bit & 1;
}

/* Give waiting Asynchronous Event Requests the events that may be reported. */
static void events_deliver(struct vssd_ctrl *ctrl)
{
	uint32_t i = 0;

	while (i < ctrl->n_event && ctrl->n_aer) {
		struct vssd_aer_event *e = &ctrl->event[i];

		if (ctrl->event_masked[e->type]) {
			i++;
			continue;
		}
		if (!vssd_post_admin(ctrl, ctrl->aer_cid[0],
				     e->type | (uint32_t)e->info << SNV_AER_INFO_SHIFT |
				     (uint32_t)e->log << SNV_AER_LOG_SHIFT, 0))
			return;
		ctrl->event_masked[e->type] = e->log;
		ctrl->n_aer--;
		memmove(ctrl->aer_cid, ctrl->aer_cid + 1, ctrl->n_aer * sizeof(ctrl->aer_cid[0]));
		ctrl->n_event--;
		memmove(e, e + 1, (ctrl->n_event - i) * sizeof(*e));
	}
}

bool vssd_event_ready(const struct vssd_ctrl *ctrl)
{
	for (uint32_t i = 0; ctrl->n_aer && i < ctrl->n_event; i++)
		if (!ctrl->event_masked[ctrl->event[i].type])
			return true;
	return false;
}

static void event_queue(struct vssd_ctrl *ctrl, uint8_t type, uint8_t info, uint8_t log)
{
	if (ctrl->event_masked[type] || !event_enabled(ctrl, type, info) ||
	    ctrl->n_event == sizeof(ctrl->event) / sizeof(ctrl->event[0]))
		return;
	for (uint32_t i = 0; i < ctrl->n_event; i++)
		if (ctrl->event[i].type == type && ctrl->event[i].info == info)
			return;
	ctrl->event[ctrl->n_event++] = (struct vssd_aer_event){ type, info, log };
}

void vssd_event(struct vssd_ctrl *ctrl, uint8_t type, uint8_t info, uint8_t log)
{
	if (!vssd_ctrl_runs(ctrl))
		return;
	event_queue(ctrl, type, info, log);
	events_deliver(ctrl);
}

void vssd_event_doorbell(struct vssd_ctrl *ctrl, bool value)
{
	SNV_STORE_RELAXED(&ctrl->bad_doorbell[value], 1);
	vssd_want_control(ctrl->v);
}

void vssd_event_log_read(struct vssd_ctrl *ctrl, uint8_t log)
{
	for (uint32_t type = 0; type < sizeof(ctrl->event_masked); type++)
		if (ctrl->event_masked[type] == log)
			ctrl->event_masked[type] = 0;
	events_deliver(ctrl);
}

void vssd_events_post(struct vssd_ctrl *ctrl)
{
	static const uint8_t info[] = {
		SNV_AER_ERROR_INVALID_DB_REG,
		SNV_AER_ERROR_INVALID_DB_VAL,
	};

	for (uint32_t i = 0; i < sizeof(info); i++) {
		if (!SNV_LOAD_RELAXED(&ctrl->bad_doorbell[i]))
			continue;
		SNV_STORE_RELAXED(&ctrl->bad_doorbell[i], 0);
		event_queue(ctrl, SNV_AER_ERROR, info[i], SNV_LOG_ERROR);
	}
	events_deliver(ctrl);
}

static int async_event(struct vssd_cmd *cmd)
{
	struct vssd_ctrl *ctrl = cmd->ctrl;

	if (ctrl->n_aer > VSSD_AERL)
		return SNV_SC_AER_LIMIT;
	ctrl->aer_cid[ctrl->n_aer++] = snv_le16_get(cmd->sqe.cid);
	vssd_drop(cmd);
	events_deliver(ctrl);
	return VSSD_HELD;
}

/* ---- Abort: Base 5.1 ------------------------------------------------------------------------- */

static bool abort_aer(struct vssd_ctrl *ctrl, uint16_t cid)
{
	uint32_t i = 0;

	while (i < ctrl->n_aer && ctrl->aer_cid[i] != cid)
		i++;
	if (i == ctrl->n_aer || !vssd_post_admin(ctrl, cid, 0, SNV_SC_ABORT_REQ))
		return false;
	ctrl->n_aer--;
	memmove(ctrl->aer_cid + i, ctrl->aer_cid + i + 1,
		(ctrl->n_aer - i) * sizeof(ctrl->aer_cid[0]));
	return true;
}

/* A Delete command that waits for its queue's transfers goes on: half a deletion is none. */
static bool deletes_sq(const struct vssd_cmd *cmd)
{
	uint32_t qid = cdw10_qid(cmd);
	const struct vssd_sq *sq = qid <= cmd->ctrl->config.queues ? cmd->ctrl->sq[qid] : NULL;

	return sq && sq->deleter == cmd;
}

static int abort_cmd(struct vssd_cmd *cmd)
{
	struct vssd_ctrl *ctrl = cmd->ctrl;
	uint32_t sqid = vssd_cdw10(cmd) & 0xffff;
	uint16_t cid = (uint16_t)(vssd_cdw10(cmd) >> 16);
	struct vssd_sq *sq = sqid <= ctrl->config.queues ? ctrl->sq[sqid] : NULL;
	struct vssd_cmd *victim = sq ? vssd_sq_find(sq, cid) : NULL;
	bool aborted;

	if (victim)
		aborted = !deletes_sq(victim) && vssd_cancel(victim, SNV_SC_ABORT_REQ);
	else
		aborted = sqid == 0 && abort_aer(ctrl, cid);
	cmd->dw0 = !aborted;	/* what is not there, or cannot be stopped, was not aborted */
	return 0;
}

/* ---- Keep Alive: Base 5.18. Doorbell Buffer Config: Base 5.8 --------------------------------- */

static int keep_alive(struct vssd_cmd *cmd)
{
	vssd_keep_alive(cmd->ctrl);
	return 0;
}

/* A whole page of the host's at @addr, or NULL. */
static char *doorbell_page(struct vssd_ctrl *ctrl, uint64_t addr)
{
	size_t page = (size_t)1 << ctrl->page_shift;
	size_t length = page;
	char *va;

	if (addr & (page - 1))
		return NULL;
	va = vssd_translate(ctrl, addr, &length);
	return va && length >= page ? va : NULL;
}

static int doorbell_buffer_config(struct vssd_cmd *cmd)
{
	struct vssd_ctrl *ctrl = cmd->ctrl;
	char *shadow = doorbell_page(ctrl, snv_le64_get(cmd->sqe.prp1));
	char *eventidx = doorbell_page(ctrl, snv_le64_get(cmd->sqe.prp2));

	if (!shadow || !eventidx || shadow == eventidx)
		return SNV_SC_INVALID_FIELD;
	vssd_dbbuf_set(ctrl, shadow, eventidx);
	return 0;
}

/* ---- dispatch -------------------------------------------------------------------------------- */

/* A command of the controller as a whole: its NSID is zero (Base 3.3.3.1). */
static int without_ns(struct vssd_cmd *cmd, int (*step)(struct vssd_cmd *cmd))
{
	return vssd_nsid(cmd) ? SNV_SC_INVALID_FIELD : step(cmd);
}

int vssd_admin_step(struct vssd_cmd *cmd)
{
	/* Over PCIe admin commands use PRPs (Base 3.3.3.1), and none is fused. */
	if (cmd->sqe.flags & (SNV_SQE_FUSE | SNV_SQE_PSDT))
		return SNV_SC_INVALID_FIELD;
	switch (cmd->sqe.opcode) {
	case SNV_ADMIN_DELETE_SQ:
		return without_ns(cmd, delete_sq);
	case SNV_ADMIN_CREATE_SQ:
		return without_ns(cmd, create_sq);
	case SNV_ADMIN_GET_LOG_PAGE:
		return vssd_get_log(cmd);
	case SNV_ADMIN_DELETE_CQ:
		return without_ns(cmd, delete_cq);
	case SNV_ADMIN_CREATE_CQ:
		return without_ns(cmd, create_cq);
	case SNV_ADMIN_IDENTIFY:
		return vssd_identify(cmd);
	case SNV_ADMIN_ABORT:
		return without_ns(cmd, abort_cmd);
	case SNV_ADMIN_SET_FEATURES:
		return vssd_set_features(cmd);
	case SNV_ADMIN_GET_FEATURES:
		return vssd_get_features(cmd);
	case SNV_ADMIN_ASYNC_EVENT:
		return without_ns(cmd, async_event);
	case SNV_ADMIN_NS_MGMT:
		return vssd_ns_management(cmd);
	case SNV_ADMIN_NS_ATTACH:
		return vssd_ns_attachment(cmd);
	case SNV_ADMIN_KEEP_ALIVE:
		return without_ns(cmd, keep_alive);
	case SNV_ADMIN_DBBUF:
		if (!cmd->ctrl->config.dbbuf)
			break;
		return without_ns(cmd, doorbell_buffer_config);
	case SNV_ADMIN_FORMAT:
		return vssd_format(cmd);
	}
	return SNV_SC_INVALID_OPCODE;
}
