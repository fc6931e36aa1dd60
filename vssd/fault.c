/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Faults on demand: rules about commands, and power that goes with what was only in the cache.
 */
#include "core.h"

#define VSSD_UNDO_BLOCKS	8192	/* of a namespace: what its write cache holds */

/* A block as it was before a write that is not durable yet. */
struct vssd_undo_block {
	struct vssd_undo_block *older;
	struct vssd_undo_block *newer;
	uint64_t block;
	bool kept;			/* a newer version of it survived the power cut */
	char data[];			/* struct vssd_undo.stride bytes */
};

/* The blocks of a namespace that a power cut may take back. Guard: ns->lock. */
struct vssd_undo {
	struct vssd_undo_block *newest;
	struct vssd_undo_block *oldest;
	uint32_t n;
	uint64_t stride;
};

/* ---- rules ------------------------------------------------------------------------------------ */

void vssd_hooks_update(struct vssd *v)
{
	v->hooks = v->n_rules || v->tracing || v->timing.model != VSSD_MODEL_NONE;
}

int vssd_fault_add(struct vssd *v, const struct vssd_fault *fault)
{
	struct vssd_fault_rule *rule;
	uint32_t cap;
	int ret = 0;

	if ((uint32_t)fault->action > VSSD_FAULT_POWER_CUT || fault->opcode < -1 ||
	    fault->opcode > 0xff || fault->ppm > 1000000 ||
	    fault->status & ~(SNV_STATUS_CODE | SNV_STATUS_DNR) || (fault->admin && fault->nlb))
		return -EINVAL;

	vssd_stop(v);
	if (v->n_rules == v->cap_rules) {
		cap = v->cap_rules ? 2 * v->cap_rules : 8;
		rule = vssd_alloc(v, cap * sizeof(*rule));
		if (!rule) {
			ret = -ENOMEM;
			goto out;
		}
		if (v->rule) {
			memcpy(rule, v->rule, v->n_rules * sizeof(*rule));
			vssd_free(v, v->rule, v->cap_rules * sizeof(*rule));
		}
		v->rule = rule;
		v->cap_rules = cap;
	}
	v->rule[v->n_rules++] = (struct vssd_fault_rule){ .fault = *fault };
	vssd_hooks_update(v);
out:
	vssd_go(v);
	return ret;
}

void vssd_fault_clear(struct vssd *v)
{
	vssd_stop(v);
	vssd_free(v, v->rule, v->cap_rules * sizeof(*v->rule));
	v->rule = NULL;
	v->n_rules = 0;
	v->cap_rules = 0;
	vssd_hooks_update(v);
	vssd_go(v);
}

/* Does @cmd say in dwords 10 to 12 which blocks it is about, and are some in the rule's range? */
static bool meets_range(const struct vssd_fault *fault, const struct vssd_cmd *cmd)
{
	uint64_t slba = (uint64_t)vssd_cdw11(cmd) << 32 | vssd_cdw10(cmd);
	uint64_t nlb = (uint64_t)(vssd_cdw12(cmd) & SNV_RW_CDW12_NLB) + 1;

	switch (cmd->sqe.opcode) {
	case SNV_OP_WRITE:
	case SNV_OP_READ:
	case SNV_OP_WRITE_UNCOR:
	case SNV_OP_COMPARE:
	case SNV_OP_WRITE_ZEROES:
	case SNV_OP_VERIFY:
	case SNV_OP_ZONE_APPEND:
		break;
	default:
		return false;
	}
	if (slba >= fault->slba)
		return slba - fault->slba < fault->nlb;
	return fault->slba - slba < nlb;
}

static bool matches(const struct vssd_fault *fault, const struct vssd_cmd *cmd)
{
	if (fault->admin != !cmd->sq->qid)
		return false;
	if (fault->opcode >= 0 && fault->opcode != cmd->sqe.opcode)
		return false;
	if (fault->nsid && fault->nsid != vssd_nsid(cmd))
		return false;
	return !fault->nlb || meets_range(fault, cmd);
}

/* The rule that acts on @cmd, or NULL. Under model_lock. */
static const struct vssd_fault *choose(struct vssd *v, const struct vssd_cmd *cmd)
{
	for (uint32_t i = 0; i < v->n_rules; i++) {
		struct vssd_fault_rule *rule = &v->rule[i];
		const struct vssd_fault *fault = &rule->fault;

		if ((fault->count && rule->done == fault->count) || !matches(fault, cmd))
			continue;
		if (rule->seen < fault->skip) {
			rule->seen++;
			continue;
		}
		if (fault->ppm && vssd_draw(v) % 1000000 >= fault->ppm)
			continue;
		if (fault->count)
			rule->done++;
		return fault;
	}
	return NULL;
}

bool vssd_fault_begin(struct vssd_cmd *cmd)
{
	struct vssd_ctrl *ctrl = cmd->ctrl;
	struct vssd *v = ctrl->v;
	const struct vssd_fault *chosen;
	struct vssd_fault fault;
	bool stop = false;

	vssd_lock(&v->model_lock);
	chosen = choose(v, cmd);
	if (chosen) {
		fault = *chosen;
		stop = fault.action >= VSSD_FAULT_CFS;
		ctrl->cfs_asked |= fault.action == VSSD_FAULT_CFS;
		ctrl->remove_asked |= fault.action == VSSD_FAULT_REMOVE;
		v->power_cut_asked |= fault.action == VSSD_FAULT_POWER_CUT;
	}
	vssd_unlock(&v->model_lock);
	if (!chosen)
		return false;
	if (stop)
		vssd_want_control(v);

	switch (fault.action) {
	case VSSD_FAULT_STATUS:
		cmd->faulted = true;
		vssd_finish(cmd, fault.status);
		return true;
	case VSSD_FAULT_DELAY:
		cmd->extra_ns = fault.delay_ns;
		return false;
	case VSSD_FAULT_LOSE:
		cmd->lose = true;
		return false;
	case VSSD_FAULT_DUPLICATE:
		cmd->duplicate = true;
		return false;
	default:
		vssd_hang(cmd);
		return true;
	}
}

/* ---- power loss ------------------------------------------------------------------------------- */

static void undo_remove(struct vssd *v, struct vssd_undo *undo, struct vssd_undo_block *b)
{
	*(b->newer ? &b->newer->older : &undo->newest) = b->older;
	*(b->older ? &b->older->newer : &undo->oldest) = b->newer;
	undo->n--;
	vssd_free(v, b, sizeof(*b) + undo->stride);
}

/* @block of @ns's medium from or to memory: 0 or a status. These media end every transfer at once. */
static int undo_io(struct vssd_ns *ns, enum vssd_io_op op, uint64_t block, void *data)
{
	struct vssd_seg seg = { .va = data, .length = ns->stride };
	struct vssd_io io = {
		.op = op,
		.fua = op == VSSD_IO_WRITE,
		.offset = block * ns->stride,
		.length = ns->stride,
		.seg = &seg,
		.segs = 1,
	};

	return ns->media->ops->submit(ns->media, &io);
}

static int undo_push(struct vssd_ns *ns, uint64_t block)
{
	struct vssd_undo *undo = ns->undo;
	struct vssd_undo_block *b;
	int status;

	b = vssd_alloc(ns->v, sizeof(*b) + undo->stride);
	if (!b)
		return SNV_SC_INTERNAL;
	b->block = block;
	status = undo_io(ns, VSSD_IO_READ, block, b->data);
	if (status) {
		vssd_free(ns->v, b, sizeof(*b) + undo->stride);
		return status;
	}
	/* A full cache writes back on its own: the oldest has become durable. */
	if (undo->n == VSSD_UNDO_BLOCKS)
		undo_remove(ns->v, undo, undo->oldest);
	b->older = undo->newest;
	*(b->older ? &b->older->newer : &undo->oldest) = b;
	undo->newest = b;
	undo->n++;
	return 0;
}

int vssd_undo_save(struct vssd_ns *ns, uint64_t offset, uint64_t length, bool fua)
{
	uint64_t block = offset / ns->stride;
	uint64_t end = block + length / ns->stride;
	struct vssd_undo_block *b, *older;
	int status = 0;

	/* A write pointer would have to go back with its data: zoned namespaces write through. */
	if (!ns->v->power_loss || ns->csi == VSSD_CSI_ZNS)
		return 0;

	vssd_lock(&ns->lock);
	if (fua) {
		for (b = ns->undo ? ns->undo->newest : NULL; b; b = older) {
			older = b->older;
			if (b->block >= block && b->block < end)
				undo_remove(ns->v, ns->undo, b);
		}
		goto out;
	}
	if (!ns->undo) {
		ns->undo = vssd_alloc(ns->v, sizeof(*ns->undo));
		if (!ns->undo) {
			status = SNV_SC_INTERNAL;
			goto out;
		}
		ns->undo->stride = ns->stride;
	}
	if (end - block > VSSD_UNDO_BLOCKS)
		block = end - VSSD_UNDO_BLOCKS;
	while (block < end && !status)
		status = undo_push(ns, block++);
out:
	vssd_unlock(&ns->lock);
	return status;
}

void vssd_undo_drop(struct vssd_ns *ns)
{
	struct vssd_undo *undo;

	if (!ns->v->power_loss)
		return;
	vssd_lock(&ns->lock);
	undo = ns->undo;
	ns->undo = NULL;
	vssd_unlock(&ns->lock);
	if (!undo)
		return;
	while (undo->newest)
		undo_remove(ns->v, undo, undo->newest);
	vssd_free(ns->v, undo, sizeof(*undo));
}

/*
 * What was in @ns's cache is lost in part: each block, for itself, goes back by some of the writes
 * to it, none, or all. Stopped.
 */
static void lose_cache(struct vssd_ns *ns)
{
	uint32_t survive = vssd_random(ns->v) & 0xff;	/* of 256: this time nearly all, next few */
	struct vssd_undo_block *b, *older;

	for (b = ns->undo ? ns->undo->newest : NULL; b; b = b->older) {
		if (b->kept)
			continue;
		if ((vssd_random(ns->v) & 0xff) >= survive &&
		    !undo_io(ns, VSSD_IO_WRITE, b->block, b->data))
			continue;
		for (older = b->older; older; older = older->older)
			older->kept |= older->block == b->block;
	}
	vssd_undo_drop(ns);
}

/* Stopped. */
static void power_cut(struct vssd *v)
{
	uint32_t i;

	for (i = 1; i <= VSSD_MAX_NS; i++) {
		if (v->ns[i])
			lose_cache(v->ns[i]);
	}
	for (i = 0; i < v->n_ctrl; i++) {
		struct vssd_ctrl *ctrl = v->ctrl[i];

		if (!ctrl || ctrl->removed)
			continue;
		ctrl->power_cycles++;
		if ((ctrl->csts & SNV_CSTS_SHST) != SNV_CSTS_SHST_COMPLETE)
			ctrl->unsafe_shutdowns++;
		vssd_ctrl_power_on(ctrl);
	}
	vssd_zones_power_on(v);
}

void vssd_power_cut(struct vssd *v)
{
	vssd_stop(v);
	power_cut(v);
	vssd_go(v);
}

void vssd_fault_stopped(struct vssd *v)
{
	uint32_t i;

	if (v->power_cut_asked) {
		v->power_cut_asked = false;
		power_cut(v);
	}
	for (i = 0; i < v->n_ctrl; i++) {
		struct vssd_ctrl *ctrl = v->ctrl[i];

		if (!ctrl)
			continue;
		if (ctrl->remove_asked)
			vssd_ctrl_surprise_remove(ctrl);
		else if (ctrl->cfs_asked)
			vssd_ctrl_fail(ctrl);
		ctrl->remove_asked = false;
		ctrl->cfs_asked = false;
	}
}
