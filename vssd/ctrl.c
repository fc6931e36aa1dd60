// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A controller: its registers (Base 3.1.3), enable, reset and shutdown (Base 3.5 to 3.7), keep
 * alive (Base 3.9), the controller memory buffer (Base 8.5).
 *
 * What takes its time is a phase, or a date, that vssd_ctrl_tick() looks at: a reset while
 * transfers are in flight keeps CSTS.RDY set until the media have given them back.
 */
#include "core.h"

#define CMB_BIR		2
#define CC_WRITABLE	(SNV_CC_EN | SNV_CC_CSS | SNV_CC_MPS | SNV_CC_AMS | SNV_CC_SHN | \
			 SNV_CC_IOSQES | SNV_CC_IOCQES)
#define AWAKE		2000	/* turns of a wait before it naps */
#define AQA_WRITABLE	0x0fff0fffU
#define QUEUE_BASE	(~0xfffULL)	/* ASQ, ACQ */

/* Registers are read without a guard: see reg_read32(). */
static void set_csts(struct vssd_ctrl *ctrl, uint32_t clear, uint32_t set)
{
	SNV_STORE_RELAXED(&ctrl->csts, (ctrl->csts & ~clear) | set);
}

static bool any_queue(const struct vssd_ctrl *ctrl)
{
	return ctrl->cq[0];	/* the first to be made, the last to go */
}

static void doorbells_clear(struct vssd_ctrl *ctrl)
{
	char *db = ctrl->host.doorbells;

	for (uint32_t i = 0; i < 2 * (ctrl->config.queues + 1); i++)
		SNV_STORE_RELAXED((uint32_t *)(db + ((size_t)i << (2 + ctrl->config.dstrd))), 0);
}

/* ---- queues come and go ---------------------------------------------------------------------- */

/* Nobody waits for anything any more. Returns how many transfers are with media. */
static uint32_t drain(struct vssd_ctrl *ctrl)
{
	uint32_t left = 0;

	/* A Delete command that waits is in the admin queue, and goes with it. */
	for (uint32_t qid = 0; qid <= ctrl->config.queues; qid++)
		if (ctrl->sq[qid])
			ctrl->sq[qid]->deleter = NULL;
	for (uint32_t qid = 0; qid <= ctrl->config.queues; qid++)
		if (ctrl->sq[qid])
			left += vssd_sq_drain(ctrl->sq[qid], -1);
	return left;
}

static bool free_queues(struct vssd_ctrl *ctrl)
{
	if (drain(ctrl) || ctrl->flushing)
		return false;
	for (uint32_t qid = 0; qid <= ctrl->config.queues; qid++)
		if (ctrl->sq[qid])
			vssd_sq_free(ctrl->sq[qid]);
	for (uint32_t qid = ctrl->config.queues + 1; qid-- > 0;)
		if (ctrl->cq[qid])
			vssd_cq_free(ctrl->cq[qid]);
	return true;
}

static bool admin_queues(struct vssd_ctrl *ctrl)
{
	uint32_t sq_entries = (ctrl->aqa & 0xfff) + 1;
	uint32_t cq_entries = (ctrl->aqa >> 16) + 1;

	if (sq_entries < 2 || cq_entries < 2)
		return false;
	if (vssd_cq_create(ctrl, 0, cq_entries, ctrl->acq, true, true, 0))
		return false;
	if (!vssd_sq_create(ctrl, 0, sq_entries, ctrl->asq, true, 0, ctrl->cq[0]))
		return true;
	vssd_cq_free(ctrl->cq[0]);
	return false;
}

/* ---- enable and reset: Base 3.5.1, 3.7.2 ----------------------------------------------------- */

static bool cc_valid(const struct vssd_ctrl *ctrl)
{
	uint32_t mps = (ctrl->cc & SNV_CC_MPS) >> SNV_CC_MPS_SHIFT;
	uint32_t css = ctrl->cc & SNV_CC_CSS;
	uint32_t ams = ctrl->cc & SNV_CC_AMS;

	return mps >= ctrl->config.mpsmin && mps <= ctrl->config.mpsmax &&
	       (css == SNV_CC_CSS_NVM || css == SNV_CC_CSS_CSI) &&
	       (ams == SNV_CC_AMS_RR || (ams == SNV_CC_AMS_WRRU && ctrl->config.wrr));
}

static void ctrl_enable(struct vssd_ctrl *ctrl)
{
	ctrl->shutting_down = false;
	set_csts(ctrl, SNV_CSTS_SHST, 0);
	ctrl->page_shift = 12 + ((ctrl->cc & SNV_CC_MPS) >> SNV_CC_MPS_SHIFT);
	if (!cc_valid(ctrl) || !admin_queues(ctrl)) {
		vssd_ctrl_fail(ctrl);
		return;
	}
	ctrl->phase = VSSD_ENABLING;
	ctrl->phase_due = vssd_now(ctrl->v) + ctrl->config.ready_ns;
}

/* The reset begins: no command is fetched or completed from here on. */
static void ctrl_disable(struct vssd_ctrl *ctrl)
{
	ctrl->phase = VSSD_DISABLING;
	ctrl->phase_due = vssd_now(ctrl->v) + ctrl->config.ready_ns;
	ctrl->shutting_down = false;
	ctrl->keep_alive_due = VSSD_NEVER;
	ctrl->n_aer = 0;
	ctrl->cfs_asked = false;
	set_csts(ctrl, SNV_CSTS_CFS | SNV_CSTS_SHST, 0);
}

/* The reset ends, nothing being in flight: all as after power-on, but for what survives a reset. */
static void ctrl_disabled(struct vssd_ctrl *ctrl)
{
	vssd_dbbuf_set(ctrl, NULL, NULL);
	vssd_features_reset(ctrl);
	doorbells_clear(ctrl);
	ctrl->granted_sq = 0;
	ctrl->granted_cq = 0;
	ctrl->n_event = 0;
	memset(ctrl->event_masked, 0, sizeof(ctrl->event_masked));
	memset(ctrl->arb, 0, sizeof(ctrl->arb));
	SNV_STORE_RELAXED(&ctrl->bad_doorbell[0], 0);
	SNV_STORE_RELAXED(&ctrl->bad_doorbell[1], 0);
	ctrl->n_changed_ns = 0;
	ctrl->irq_pending = 0;
	SNV_STORE_RELAXED(&ctrl->intms, 0);
	set_csts(ctrl, SNV_CSTS_RDY | SNV_CSTS_CFS, 0);
	ctrl->phase = VSSD_OFF;
}

void vssd_ctrl_fail(struct vssd_ctrl *ctrl)
{
	/* Workers may meet here, but what they store is the same. */
	SNV_STORE_RELAXED(&ctrl->csts, SNV_LOAD_RELAXED(&ctrl->csts) | SNV_CSTS_CFS);
}

/* ---- shutdown: Base 3.6 ---------------------------------------------------------------------- */

static void ctrl_shutdown(struct vssd_ctrl *ctrl, bool normal)
{
	ctrl->shutting_down = true;
	ctrl->shutdown_due = vssd_now(ctrl->v) + ctrl->config.shutdown_ns;
	ctrl->flush_nsid = normal ? 1 : VSSD_MAX_NS + 1;
	set_csts(ctrl, SNV_CSTS_SHST, SNV_CSTS_SHST_OCCURRING);
}

static void flush_ended(struct vssd_ctrl *ctrl, struct vssd_ns *ns, int status)
{
	if (!status)
		vssd_undo_drop(ns);
	else if (ctrl->shutting_down)
		vssd_ctrl_fail(ctrl);	/* or what is lost would pass for kept */
}

static void flush_done(struct vssd_io *io, int status)
{
	struct vssd_ctrl *ctrl =
		(void *)((char *)io - __builtin_offsetof(struct vssd_ctrl, flush_io));
	struct vssd_ns *ns = ctrl->flushing;

	ctrl->flushing = NULL;
	ctrl->v->worker[0]->n_media--;
	ns->inflight[0]--;
	flush_ended(ctrl, ns, status);
}

/* Write back the caches of all namespaces, one by one. True when that is over. */
static bool flush_all(struct vssd_ctrl *ctrl)
{
	struct vssd *v = ctrl->v;

	while (!ctrl->flushing && ctrl->flush_nsid <= VSSD_MAX_NS) {
		struct vssd_ns *ns = v->ns[ctrl->flush_nsid];
		int status;

		if (ns && ns->frozen)
			return false;
		ctrl->flush_nsid++;
		if (!ns || !vssd_attached(ctrl, ns))
			continue;
		ctrl->flush_io = (struct vssd_io){ .op = VSSD_IO_FLUSH, .done = flush_done };
		status = ns->media->ops->submit(ns->media, &ctrl->flush_io);
		if (status == VSSD_PENDING) {
			ctrl->flushing = ns;
			v->worker[0]->n_media++;
			ns->inflight[0]++;
		} else {
			flush_ended(ctrl, ns, status);
		}
	}
	return !ctrl->flushing;
}

/* ---- time passes ----------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t vssd_ctrl_due(const struct vssd_ctrl *ctrl)
{
	uint64_t due = ctrl->keep_alive_due;

	if (ctrl->phase == VSSD_DISABLING && any_queue(ctrl))
		return 0;
	if (ctrl->phase == VSSD_DISABLING || ctrl->phase == VSSD_ENABLING)
		due = earlier(due, ctrl->phase_due);
	/* The end of a flush makes its round a busy one, and is seen in the next. */
	if (ctrl->shutting_down && !ctrl->flushing)
		due = earlier(due, ctrl->flush_nsid <= VSSD_MAX_NS ? 0 : ctrl->shutdown_due);
	return due;
}

uint32_t vssd_ctrl_tick(struct vssd_ctrl *ctrl)
{
	uint64_t now = vssd_now(ctrl->v);
	uint32_t n = 0;

	if (ctrl->phase == VSSD_DISABLING && (!any_queue(ctrl) || free_queues(ctrl)) &&
	    now >= ctrl->phase_due) {
		ctrl_disabled(ctrl);
		if (ctrl->cc & SNV_CC_EN)	/* set again meanwhile */
			ctrl_enable(ctrl);
		n++;
	}
	if (ctrl->phase == VSSD_ENABLING && now >= ctrl->phase_due) {
		ctrl->phase = VSSD_READY;
		set_csts(ctrl, 0, SNV_CSTS_RDY);
		n++;
	}
	if (ctrl->shutting_down && flush_all(ctrl) && now >= ctrl->shutdown_due) {
		ctrl->shutting_down = false;
		set_csts(ctrl, SNV_CSTS_SHST, SNV_CSTS_SHST_COMPLETE);
		n++;
	}
	if (now >= ctrl->keep_alive_due) {
		ctrl->keep_alive_due = VSSD_NEVER;
		vssd_ctrl_fail(ctrl);
		n++;
	}
	SNV_STORE_RELAXED(&ctrl->busy, vssd_ctrl_due(ctrl) != VSSD_NEVER || ctrl->shutting_down);
	return n;
}

void vssd_keep_alive(struct vssd_ctrl *ctrl)
{
	ctrl->keep_alive_due = ctrl->feat.kato ?
		vssd_now(ctrl->v) + ctrl->feat.kato * 1000000ULL : VSSD_NEVER;
	SNV_STORE_RELAXED(&ctrl->busy, ctrl->busy || ctrl->feat.kato);
}

/* ---- power, removal -------------------------------------------------------------------------- */

static void poll_all_media(struct vssd *v)
{
	for (uint32_t nsid = 1; nsid <= VSSD_MAX_NS; nsid++) {
		struct vssd_media *media = v->ns[nsid] ? v->ns[nsid]->media : NULL;

		for (uint32_t i = 0; media && media->ops->poll && i < v->workers; i++)
			media->ops->poll(media, i);
	}
}

void vssd_ctrl_power_on(struct vssd_ctrl *ctrl)
{
	ctrl_disable(ctrl);
	/* What is to end there may wait for our processor, or for storage that is slow. */
	for (uint32_t turn = 0; !free_queues(ctrl); turn++) {
		poll_all_media(ctrl->v);
		if (turn < AWAKE)
			snv_thread_relax(turn);
		else
			snv_thread_nap();
	}
	ctrl_disabled(ctrl);
	SNV_STORE_RELAXED(&ctrl->cc, 0);
	SNV_STORE_RELAXED(&ctrl->csts, 0);
	SNV_STORE_RELAXED(&ctrl->aqa, 0);
	SNV_STORE_RELAXED(&ctrl->asq, 0);
	SNV_STORE_RELAXED(&ctrl->acq, 0);
	SNV_STORE_RELAXED(&ctrl->cmbmsc, 0);
	vssd_forget(ctrl->v);
	SNV_STORE_RELAXED(&ctrl->busy, false);
}

/* NVM Subsystem Reset: Base 3.7.1. */
static void subsystem_reset(struct vssd *v)
{
	for (uint32_t i = 0; i < v->n_ctrl; i++) {
		if (!v->ctrl[i])
			continue;
		vssd_ctrl_power_on(v->ctrl[i]);
		set_csts(v->ctrl[i], 0, SNV_CSTS_NSSRO);
	}
	vssd_zones_power_on(v);
}

void vssd_ctrl_surprise_remove(struct vssd_ctrl *ctrl)
{
	SNV_STORE_RELAXED(&ctrl->removed, true);
	SNV_STORE_RELAXED(&ctrl->cc, 0);
	ctrl_disable(ctrl);
	vssd_ctrl_tick(ctrl);
}

/* ---- controller memory buffer: Base 8.5 ------------------------------------------------------ */

static uint32_t cmb_szu(uint64_t size)
{
	uint32_t szu = 0;

	while (size >> (12 + 4 * szu) > 0xfffff)
		szu++;
	return szu;
}

static uint32_t cmbsz(const struct vssd_ctrl *ctrl)
{
	uint32_t szu = cmb_szu(ctrl->config.cmb_size);

	return SNV_CMBSZ_SQS | SNV_CMBSZ_CQS | SNV_CMBSZ_LISTS | SNV_CMBSZ_RDS | SNV_CMBSZ_WDS |
	       szu << SNV_CMBSZ_SZU_SHIFT |
	       (uint32_t)(ctrl->config.cmb_size >> (12 + 4 * szu)) << SNV_CMBSZ_SZ_SHIFT;
}

/* CMBSTS.CBAI: the buffer would end beyond the address space. */
static bool cmb_misplaced(const struct vssd_ctrl *ctrl, uint64_t cmbmsc)
{
	return cmbmsc & SNV_CMBMSC_CMSE &&
	       (cmbmsc & SNV_CMBMSC_CBA) > UINT64_MAX - (ctrl->config.cmb_size - 1);
}

/* What is at @addr of the controller memory buffer, or NULL. */
static void *cmb_at(const struct vssd_ctrl *ctrl, uint64_t addr, size_t *length)
{
	const uint64_t enabled = SNV_CMBMSC_CRE | SNV_CMBMSC_CMSE;

	if ((ctrl->cmbmsc & enabled) == enabled && !cmb_misplaced(ctrl, ctrl->cmbmsc)) {
		uint64_t at = addr - (ctrl->cmbmsc & SNV_CMBMSC_CBA);

		if (at < ctrl->config.cmb_size) {
			if (*length > ctrl->config.cmb_size - at)
				*length = ctrl->config.cmb_size - at;
			return (char *)ctrl->host.cmb + at;
		}
	}
	return NULL;
}

void *vssd_translate(struct vssd_ctrl *ctrl, uint64_t addr, size_t *length)
{
	void *va = cmb_at(ctrl, addr, length);

	return va ? va : ctrl->host.translate(ctrl->host.ctx, addr, length);
}

void *vssd_translate_data(struct vssd_ctrl *ctrl, uint64_t addr, size_t *length)
{
	void *va;

	if (!ctrl->host.translate_data)
		return vssd_translate(ctrl, addr, length);
	va = cmb_at(ctrl, addr, length);
	return va ? va : ctrl->host.translate_data(ctrl->host.ctx, addr, length);
}

/* ---- registers ------------------------------------------------------------------------------- */

static uint32_t reg_read32(const struct vssd_ctrl *ctrl, uint32_t offset)
{
	uint64_t cmbmsc = SNV_LOAD_RELAXED(&ctrl->cmbmsc);

	switch (offset) {
	case SNV_REG_CAP:
		return (uint32_t)ctrl->cap;
	case SNV_REG_CAP + 4:
		return (uint32_t)(ctrl->cap >> 32);
	case SNV_REG_VS:
		return ctrl->vs;
	case SNV_REG_INTMS:
	case SNV_REG_INTMC:
		return SNV_LOAD_RELAXED(&ctrl->intms);
	case SNV_REG_CC:
		return SNV_LOAD_RELAXED(&ctrl->cc);
	case SNV_REG_CSTS:
		return SNV_LOAD_RELAXED(&ctrl->csts);
	case SNV_REG_AQA:
		return SNV_LOAD_RELAXED(&ctrl->aqa);
	case SNV_REG_ASQ:
		return (uint32_t)SNV_LOAD_RELAXED(&ctrl->asq);
	case SNV_REG_ASQ + 4:
		return (uint32_t)(SNV_LOAD_RELAXED(&ctrl->asq) >> 32);
	case SNV_REG_ACQ:
		return (uint32_t)SNV_LOAD_RELAXED(&ctrl->acq);
	case SNV_REG_ACQ + 4:
		return (uint32_t)(SNV_LOAD_RELAXED(&ctrl->acq) >> 32);
	case SNV_REG_CMBLOC:
		return cmbmsc & SNV_CMBMSC_CRE ?
		       CMB_BIR | SNV_CMBLOC_CQMMS | SNV_CMBLOC_CQPDS | SNV_CMBLOC_CDPMLS |
		       SNV_CMBLOC_CDPCILS | SNV_CMBLOC_CDMMMS : 0;
	case SNV_REG_CMBSZ:
		return cmbmsc & SNV_CMBMSC_CRE ? cmbsz(ctrl) : 0;
	case SNV_REG_CMBMSC:
		return (uint32_t)cmbmsc;
	case SNV_REG_CMBMSC + 4:
		return (uint32_t)(cmbmsc >> 32);
	case SNV_REG_CMBSTS:
		return cmb_misplaced(ctrl, cmbmsc) ? SNV_CMBSTS_CBAI : 0;
	case SNV_REG_CRTO:
		return ctrl->config.to;
	}
	return 0;
}

uint64_t vssd_reg_read(struct vssd_ctrl *ctrl, uint32_t offset, uint32_t size)
{
	if (SNV_LOAD_RELAXED(&ctrl->removed) || (size != 4 && size != 8) || offset % size)
		return size == 4 ? UINT32_MAX : UINT64_MAX;
	if (size == 4)
		return reg_read32(ctrl, offset);
	return reg_read32(ctrl, offset) | (uint64_t)reg_read32(ctrl, offset + 4) << 32;
}

static void write_cc(struct vssd_ctrl *ctrl, uint32_t value)
{
	uint32_t old = ctrl->cc, cc = value & CC_WRITABLE;
	uint32_t shn = cc & SNV_CC_SHN;

	/* Set while it is disabled, and for entry sizes also while there is no I/O queue. */
	if (old & cc & SNV_CC_EN) {
		uint32_t fixed = SNV_CC_CSS | SNV_CC_MPS | SNV_CC_AMS;

		if (ctrl->n_sq || ctrl->n_cq)
			fixed |= SNV_CC_IOSQES | SNV_CC_IOCQES;
		cc = (old & fixed) | (cc & ~fixed);
	}
	SNV_STORE_RELAXED(&ctrl->cc, cc);
	if (old & ~cc & SNV_CC_EN)
		ctrl_disable(ctrl);
	else if (cc & ~old & SNV_CC_EN && ctrl->phase == VSSD_OFF)
		ctrl_enable(ctrl);
	if (shn != (old & SNV_CC_SHN) && (shn == SNV_CC_SHN_NORMAL || shn == SNV_CC_SHN_ABRUPT) &&
	    !(ctrl->csts & SNV_CSTS_SHST))
		ctrl_shutdown(ctrl, shn == SNV_CC_SHN_NORMAL);
	vssd_ctrl_tick(ctrl);
}

/* A store to the half at @offset of the 64-bit register @reg. */
static void write_half(uint64_t *reg, uint32_t offset, uint32_t value, uint64_t writable)
{
	uint64_t whole = offset % 8 ? (uint32_t)*reg | (uint64_t)value << 32 :
				      (*reg & ~(uint64_t)UINT32_MAX) | value;

	SNV_STORE_RELAXED(reg, whole & writable);
}

/* Stopped. */
static void reg_write32(struct vssd_ctrl *ctrl, uint32_t offset, uint32_t value)
{
	switch (offset) {
	case SNV_REG_INTMS:
		SNV_STORE_RELAXED(&ctrl->intms, ctrl->intms | value);
		break;
	case SNV_REG_INTMC:
		SNV_STORE_RELAXED(&ctrl->intms, ctrl->intms & ~value);
		vssd_irq_unmask(ctrl);
		break;
	case SNV_REG_CC:
		write_cc(ctrl, value);
		break;
	case SNV_REG_CSTS:
		set_csts(ctrl, value & SNV_CSTS_NSSRO, 0);
		break;
	case SNV_REG_NSSR:
		if (value == SNV_NSSR_NSSRC && !ctrl->config.no_nssr)
			subsystem_reset(ctrl->v);
		break;
	case SNV_REG_AQA:
		SNV_STORE_RELAXED(&ctrl->aqa, value & AQA_WRITABLE);
		break;
	case SNV_REG_ASQ:
	case SNV_REG_ASQ + 4:
		write_half(&ctrl->asq, offset, value, QUEUE_BASE);
		break;
	case SNV_REG_ACQ:
	case SNV_REG_ACQ + 4:
		write_half(&ctrl->acq, offset, value, QUEUE_BASE);
		break;
	case SNV_REG_CMBMSC:
	case SNV_REG_CMBMSC + 4:
		if (ctrl->config.cmb_size)
			write_half(&ctrl->cmbmsc, offset, value,
				   SNV_CMBMSC_CRE | SNV_CMBMSC_CMSE | SNV_CMBMSC_CBA);
		vssd_forget(ctrl->v);
		break;
	}
}

/* PCIe 3.1.2. */
static void write_doorbell(struct vssd_ctrl *ctrl, uint32_t offset, uint32_t value)
{
	uint32_t stride = 4U << ctrl->config.dstrd;
	uint32_t index = offset / stride, qid = index / 2;
	uint32_t *lock = &ctrl->v->worker[0]->lock;
	bool exists = false;

	/* Queues come and go stopped: any worker's lock keeps them as they are. */
	vssd_lock(lock);
	if (offset % stride == 0 && qid <= ctrl->config.queues)
		exists = index % 2 ? !!ctrl->cq[qid] : !!ctrl->sq[qid];
	if (exists)
		/* Partner: the acquire of the worker that looks for new tails and heads. */
		SNV_STORE_RELEASE((uint32_t *)((char *)ctrl->host.doorbells + offset),
				  (SNV_FORCE uint32_t)snv_le32(value));
	vssd_unlock(lock);
	if (!exists)
		vssd_event_doorbell(ctrl, false);
}

void vssd_reg_write(struct vssd_ctrl *ctrl, uint32_t offset, uint64_t value, uint32_t size)
{
	if ((size != 4 && size != 8) || offset % size)
		return;
	if (offset >= SNV_REG_DBS) {
		if (size == 4)
			write_doorbell(ctrl, offset - SNV_REG_DBS, (uint32_t)value);
		return;
	}
	vssd_stop(ctrl->v);
	if (!ctrl->removed)
		reg_write32(ctrl, offset, (uint32_t)value);
	if (!ctrl->removed && size == 8)
		reg_write32(ctrl, offset + 4, (uint32_t)(value >> 32));
	vssd_go(ctrl->v);
}

/* ---- the host's memory changes --------------------------------------------------------------- */

static bool overlap(const char *a, size_t a_length, const char *b, size_t b_length)
{
	return a < b + b_length && b < a + a_length;
}

static bool segs_in(const struct vssd_segs *segs, const void *va, size_t length)
{
	for (uint32_t i = 0; i < segs->n; i++)
		if (segs->seg[i].va && overlap(segs->seg[i].va, segs->seg[i].length, va, length))
			return true;
	return false;
}

/* May @cmd, or the other half of its fused pair, still move data there? */
static bool cmd_in(const struct vssd_cmd *cmd, const void *va, size_t length)
{
	if (cmd->state != VSSD_CMD_MEDIA && cmd->state != VSSD_CMD_RETRY)
		return false;
	return segs_in(&cmd->data, va, length) || segs_in(&cmd->meta, va, length) ||
	       (cmd->fused && (segs_in(&cmd->fused->data, va, length) ||
			       segs_in(&cmd->fused->meta, va, length)));
}

static bool rings_in(const struct vssd_ctrl *ctrl, const void *va, size_t length)
{
	size_t page = (size_t)1 << ctrl->page_shift;

	if (ctrl->shadow && (overlap(ctrl->shadow, page, va, length) ||
			     overlap(ctrl->eventidx, page, va, length)))
		return true;
	for (uint32_t qid = 0; qid <= ctrl->config.queues; qid++)
		if ((ctrl->sq[qid] && vssd_ring_in(&ctrl->sq[qid]->ring, va, length)) ||
		    (ctrl->cq[qid] && vssd_ring_in(&ctrl->cq[qid]->ring, va, length)))
			return true;
	return false;
}

bool vssd_unmap(struct vssd_ctrl *ctrl, const void *va, size_t length)
{
	bool over = true;

	vssd_stop(ctrl->v);
	vssd_forget(ctrl->v);
	if (rings_in(ctrl, va, length)) {
		vssd_ctrl_fail(ctrl);
		drain(ctrl);
	}
	for (uint32_t qid = 0; qid <= ctrl->config.queues && over; qid++) {
		const struct vssd_cmd *cmd = ctrl->sq[qid] ? ctrl->sq[qid]->inflight : NULL;

		while (cmd && !cmd_in(cmd, va, length))
			cmd = cmd->sq_next;
		over = !cmd;
	}
	vssd_go(ctrl->v);
	return over;
}

/* ---- controllers come and go ----------------------------------------------------------------- */

void vssd_ctrl_defaults(struct vssd_ctrl_config *config)
{
	*config = (struct vssd_ctrl_config){
		.queues = 64,
		.mqes = 65536,
		.to = 20,
		.mpsmax = 4,
		.mdts = 8,
		.wrr = true,
		.sgl = true,
		.dbbuf = true,
	};
}

/* Zeros become what they stand for. */
static struct vssd_ctrl_config settled(const struct vssd_ctrl_config *config)
{
	struct vssd_ctrl_config c = *config;

	c.queues = c.queues ? c.queues : 64;
	c.mqes = c.mqes ? c.mqes : 65536;
	c.to = c.to ? c.to : 20;
	c.mdts = c.mdts ? c.mdts : 8;
	c.vectors = c.vectors ? c.vectors : c.queues + 1;
	return c;
}

static bool config_valid(const struct vssd_ctrl_config *c)
{
	if (c->queues > VSSD_MAX_QUEUES || c->mqes < 2 || c->mqes > 65536 || c->to > 255 ||
	    c->dstrd > 10 || c->mpsmin > c->mpsmax || c->mpsmax > 15 || c->mdts > 9 ||
	    c->vectors > 2048 || (uint32_t)c->grant > VSSD_GRANT_FIXED)
		return false;
	if (c->grant == VSSD_GRANT_FIXED && (!c->granted || c->granted > c->queues))
		return false;
	/* CMBSZ counts in units of 4 KiB to 64 GiB. */
	return c->cmb_size <= 0xfffffULL << 36 &&
	       !(c->cmb_size & ((1ULL << (12 + 4 * cmb_szu(c->cmb_size))) - 1));
}

size_t vssd_doorbell_bytes(const struct vssd_ctrl_config *config)
{
	size_t bytes = ((size_t)settled(config).queues + 1) * 2 * (4U << config->dstrd);

	return (bytes + 4095) & ~(size_t)4095;
}

/* CAP: Base 3.1.3.1; its fields' places are in the wire header's SNV_CAP_*(). */
static uint64_t capabilities(const struct vssd_ctrl_config *c)
{
	return (uint64_t)(c->mqes - 1) | (uint64_t)c->cqr << 16 |
	       (uint64_t)(c->wrr ? SNV_CAP_AMS_WRRU : 0) << 17 | (uint64_t)c->to << 24 |
	       (uint64_t)c->dstrd << 32 | (uint64_t)!c->no_nssr << 36 /* NSSRS */ |
	       (uint64_t)(SNV_CAP_CSS_NVM | SNV_CAP_CSS_CSI) << 37 | (uint64_t)c->mpsmin << 48 |
	       (uint64_t)c->mpsmax << 52 | (uint64_t)!!c->cmb_size << 57 | SNV_CAP_CRMS_CRWMS;
}

int vssd_ctrl_add(struct vssd *v, const struct vssd_ctrl_config *config,
		  const struct vssd_host *host, struct vssd_ctrl **out)
{
	struct vssd_ctrl_config c = settled(config);
	struct vssd_ctrl *ctrl;
	uint32_t slot = 0;

	if (!config_valid(&c) || !host->translate || !host->doorbells || (c.cmb_size && !host->cmb))
		return -EINVAL;
	ctrl = vssd_alloc(v, sizeof(*ctrl));
	if (!ctrl)
		return -ENOMEM;
	ctrl->v = v;
	ctrl->host = *host;
	ctrl->config = c;
	ctrl->cap = capabilities(&c);
	ctrl->vs = SNV_VS(2, 0, 0);
	ctrl->page_shift = 12 + c.mpsmin;
	ctrl->max_transfer = 1ULL << (c.mdts + 12 + c.mpsmin);
	ctrl->keep_alive_due = VSSD_NEVER;
	ctrl->power_cycles = 1;
	ctrl->power_on_at = vssd_now(v);
	vssd_features_reset(ctrl);

	vssd_stop(v);
	while (slot < VSSD_MAX_CTRLS && v->ctrl[slot])
		slot++;
	if (slot < VSSD_MAX_CTRLS) {
		ctrl->cntlid = (uint16_t)slot;
		v->ctrl[slot] = ctrl;
		if (v->n_ctrl <= slot)
			v->n_ctrl = slot + 1;
		for (uint32_t nsid = 1; nsid <= VSSD_MAX_NS; nsid++)
			if (v->ns[nsid] && v->ns[nsid]->everywhere)
				v->ns[nsid]->attached |= 1ULL << slot;
	}
	vssd_go(v);
	if (slot == VSSD_MAX_CTRLS) {
		vssd_free(v, ctrl, sizeof(*ctrl));
		return -ENOSPC;
	}
	*out = ctrl;
	return 0;
}

/*
 * What @ctrl has with media ends, however long that takes; everybody is stopped before and after, but not meanwhile:
 * the others have done nothing to wait for.
 */
static void let_end(struct vssd_ctrl *ctrl)
{
	SNV_STORE_RELAXED(&ctrl->cc, 0);	/* or it would be enabled again */
	ctrl_disable(ctrl);
	for (uint32_t turn = 0; !free_queues(ctrl); turn++) {
		poll_all_media(ctrl->v);
		vssd_go(ctrl->v);
		if (turn < AWAKE)
			snv_thread_relax(turn);
		else
			snv_thread_nap();
		vssd_stop(ctrl->v);
	}
}

void vssd_ctrl_reset(struct vssd_ctrl *ctrl)
{
	vssd_stop(ctrl->v);
	let_end(ctrl);
	vssd_ctrl_power_on(ctrl);
	vssd_go(ctrl->v);
}

void vssd_ctrl_cut(struct vssd_ctrl *ctrl)
{
	vssd_stop(ctrl->v);
	if (ctrl->phase == VSSD_ENABLING || ctrl->phase == VSSD_READY)
		vssd_ctrl_fail(ctrl);
	drain(ctrl);
	vssd_go(ctrl->v);
}

void vssd_ctrl_remove(struct vssd_ctrl *ctrl)
{
	struct vssd *v = ctrl->v;

	vssd_stop(v);
	let_end(ctrl);
	vssd_ctrl_power_on(ctrl);
	v->ctrl[ctrl->cntlid] = NULL;
	for (uint32_t nsid = 1; nsid <= VSSD_MAX_NS; nsid++)
		if (v->ns[nsid])
			v->ns[nsid]->attached &= ~(1ULL << ctrl->cntlid);
	vssd_go(v);
	vssd_free(v, ctrl, sizeof(*ctrl));
}
