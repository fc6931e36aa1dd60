// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Queues as the controller sees them (Base 3.3): doorbells, arbitration (Base 3.4.4), fetching,
 * running commands, completions, interrupts. A worker's round, vssd_poll(), is at the end.
 *
 * A command is fetched only when its completion queue has a slot for it: a completion never waits
 * for room, and a full queue stops its submission queues, nobody else's.
 */
#include "core.h"

#define ROUND		64	/* commands in one round of a worker, before timers and media again */
#define MOST_KEPT	512	/* pieces of memory that a command of the pool has room for while it is free */
#define ADMIN_ROUND	8

/* ---- doorbells -------------------------------------------------------------------------------- */

/*
 * A new head from the host. Acquire; partner: the host's release of the entries before it
 * (snv_doorbell_write, snv_shadow_exchange): what we write over them comes after it read them.
 */
static void look_at_head(struct vssd_cq *cq)
{
	uint32_t head = snv_le32_get((SNV_FORCE __le32)
				     SNV_LOAD_ACQUIRE(cq->shadow ? cq->shadow : cq->db));
	uint32_t used = cq->tail >= cq->head ? cq->tail - cq->head :
			cq->tail + cq->entries - cq->head;

	if (head == cq->head)
		return;
	/* It may move up to the tail, no further: Base 3.3.1.5, figure 146 "Invalid Doorbell". */
	if (head >= cq->entries ||
	    (head > cq->head ? head - cq->head : head + cq->entries - cq->head) > used) {
		if (head != cq->bad) {
			cq->bad = head;
			vssd_event_doorbell(cq->ctrl, true);
		}
		return;
	}
	cq->bad = VSSD_NO_VALUE;
	cq->head = head;
	if (cq->worker->trace.event)
		vssd_trace_add(cq->worker, VSSD_STEP_REAP, cq->ctrl->cntlid, cq->qid, 0, head);
	if (cq->eventidx)
		snv_shadow_exchange(cq->eventidx, cq->shadow, head);
}

/* A new tail. Acquire; partner: the host's store of the entries, released by its doorbell write. */
static inline void look_at_tail(struct vssd_sq *sq)
{
	uint32_t tail = snv_le32_get((SNV_FORCE __le32)
				     SNV_LOAD_ACQUIRE(sq->shadow ? sq->shadow : sq->db));

	if (tail == sq->tail)
		return;
	if (tail >= sq->entries) {
		if (tail != sq->bad) {
			sq->bad = tail;
			vssd_event_doorbell(sq->ctrl, true);
		}
		return;
	}
	sq->bad = VSSD_NO_VALUE;
	sq->tail = tail;
	if (sq->worker->trace.event)
		vssd_trace_add(sq->worker, VSSD_STEP_DOORBELL, sq->ctrl->cntlid, sq->qid, 0, tail);
}

/* ---- interrupts ------------------------------------------------------------------------------- */

static void raise_irq(struct vssd_cq *cq)
{
	struct vssd_ctrl *ctrl = cq->ctrl;

	cq->coalesced = 0;
	cq->irq_due = VSSD_NEVER;
	/* INTMS has a bit for each of the first 32 vectors (Base 3.1.3.3). */
	if (cq->vector < 32) {
		bool masked;

		vssd_lock(&ctrl->irq_lock);
		masked = ctrl->intms >> cq->vector & 1;
		if (masked)
			ctrl->irq_pending |= 1U << cq->vector;
		vssd_unlock(&ctrl->irq_lock);
		if (masked)
			return;
	}
	if (cq->worker->trace.event)
		vssd_trace_add(cq->worker, VSSD_STEP_IRQ, ctrl->cntlid, cq->qid, 0, cq->vector);
	if (ctrl->host.irq)
		ctrl->host.irq(ctrl->host.ctx, cq->vector);
}

void vssd_irq_unmask(struct vssd_ctrl *ctrl)
{
	uint32_t now;

	vssd_lock(&ctrl->irq_lock);
	now = ctrl->irq_pending & ~ctrl->intms;
	ctrl->irq_pending &= ctrl->intms;
	vssd_unlock(&ctrl->irq_lock);
	for (uint32_t vector = 0; vector < 32; vector++)
		if (now >> vector & 1 && ctrl->host.irq)
			ctrl->host.irq(ctrl->host.ctx, vector);
}

/* One interrupt for all that a round posted; or later, for more (Interrupt Coalescing, Base 5.27.1.6). */
static void flush_irqs(struct vssd_worker *w)
{
	struct vssd_cq **at = &w->irq;

	while (*at) {
		struct vssd_cq *cq = *at;
		const struct vssd_features *feat = &cq->ctrl->feat;
		uint32_t threshold = (feat->irq_coalesce & 0xff) + 1;
		uint64_t time = (uint64_t)(feat->irq_coalesce >> 8 & 0xff) * 100000;

		if (cq->qid && time && cq->coalesced < threshold && !feat->irq_cd[cq->vector]) {
			uint64_t now = vssd_now(w->v);

			if (cq->irq_due == VSSD_NEVER)
				cq->irq_due = now + time;
			if (now < cq->irq_due) {
				at = &cq->irq_next;
				continue;
			}
		}
		*at = cq->irq_next;
		cq->irq_owed = false;
		raise_irq(cq);
	}
}

/* ---- completions ------------------------------------------------------------------------------ */

/*
 * Release; partner: the host's acquire of the phase (snv_cqe_load_dw3): data, then the entry, its
 * last dword with the phase at the end.
 */
static inline void write_cqe(struct vssd_cq *cq, uint32_t dw0, uint32_t dw1, uint32_t dw2, uint16_t cid,
		      uint16_t status)
{
	struct snv_cqe *cqe = vssd_ring_at(&cq->ring, cq->tail, 4);
	uint32_t dw3 = cid | (uint32_t)cq->phase << 16 | (uint32_t)status << SNV_CQE_DW3_STATUS_SHIFT;

	cqe->dw0 = snv_le32(dw0);
	cqe->dw1 = snv_le32(dw1);
	cqe->dw2 = snv_le32(dw2);
	SNV_STORE_RELEASE((uint32_t *)(SNV_FORCE void *)&cqe->dw3,
			  (SNV_FORCE uint32_t)snv_le32(dw3));
	if (++cq->tail == cq->entries) {
		cq->tail = 0;
		cq->phase ^= 1;
	}
	if (cq->ien) {
		cq->coalesced++;
		if (!cq->irq_owed) {
			cq->irq_owed = true;
			cq->irq_next = cq->worker->irq;
			cq->worker->irq = cq;
		}
	}
}

/* Slots that are neither used nor promised. */
static inline uint32_t cq_room(const struct vssd_cq *cq)
{
	uint32_t used = cq->tail >= cq->head ? cq->tail - cq->head :
			cq->tail + cq->entries - cq->head;

	return cq->entries - 1 - used - cq->reserved;
}

bool vssd_post_admin(struct vssd_ctrl *ctrl, uint16_t cid, uint32_t dw0, uint16_t status)
{
	struct vssd_sq *sq = ctrl->sq[0];

	if (!cq_room(sq->cq))
		look_at_head(sq->cq);
	if (!cq_room(sq->cq))
		return false;
	write_cqe(sq->cq, dw0, 0, sq->head, cid, status);
	return true;
}

/* ---- the life of a command -------------------------------------------------------------------- */

/* A command of the pool, and a slot of the completion queue: may_fetch() said that there are both. */
static struct vssd_cmd *get(struct vssd_sq *sq)
{
	struct vssd_worker *w = sq->worker;
	struct vssd_cmd *cmd = w->free;

	w->free = cmd->next;
	w->n_free--;
	w->n_active++;
	sq->cq->reserved++;
	cmd->ctrl = sq->ctrl;
	cmd->sq = sq;
	cmd->ns = NULL;
	cmd->dw0 = 0;
	cmd->dw1 = 0;
	cmd->state = VSSD_CMD_RUNNING;
	return cmd;
}

/* @cmd outlives the round: Abort, deletion and reset must find it. */
static void outlive(struct vssd_cmd *cmd)
{
	struct vssd_sq *sq = cmd->sq;

	if (cmd->pending)
		return;
	cmd->pending = true;
	cmd->sq_next = sq->inflight;
	cmd->sq_prev = &sq->inflight;
	if (sq->inflight)
		sq->inflight->sq_prev = &cmd->sq_next;
	sq->inflight = cmd;
	sq->n_inflight++;
}

/* Back to the pool, leaving the fields that few commands use as the next one expects them. */
static void release(struct vssd_cmd *cmd)
{
	struct vssd_worker *w = cmd->worker;
	struct vssd_sq *sq = cmd->sq;

	if (cmd->pending) {
		*cmd->sq_prev = cmd->sq_next;
		if (cmd->sq_next)
			cmd->sq_next->sq_prev = cmd->sq_prev;
		cmd->pending = false;
		if (!--sq->n_inflight && sq->deleter)
			vssd_want_control(w->v);
	}
	sq->cq->reserved--;
	w->n_active--;
	if (cmd->bounce) {
		vssd_free(w->v, cmd->bounce, cmd->bounce_size);
		cmd->bounce = NULL;
	}
	if (cmd->data.cap > MOST_KEPT)
		vssd_segs_free(w->v, &cmd->data);
	cmd->stopped = false;
	cmd->dead = false;
	cmd->lose = false;
	cmd->duplicate = false;
	cmd->faulted = false;
	cmd->extra_ns = 0;
	cmd->begun = 0;
	cmd->state = VSSD_CMD_FREE;
	cmd->next = w->free;
	w->free = cmd;
	w->n_free++;
}

static void post(struct vssd_cmd *cmd)
{
	struct vssd_sq *sq = cmd->sq;
	uint16_t cid = snv_le16_get(cmd->sqe.cid);
	uint32_t dw2 = sq->head | (uint32_t)sq->qid << SNV_CQE_DW2_SQID_SHIFT;

	if (!cmd->lose && vssd_ctrl_runs(cmd->ctrl)) {
		write_cqe(sq->cq, cmd->dw0, cmd->dw1, dw2, cid, cmd->status);
		vssd_trace(cmd->worker, VSSD_STEP_CQE, cmd, cmd->status);
		if (cmd->duplicate && cq_room(sq->cq))
			write_cqe(sq->cq, cmd->dw0, cmd->dw1, dw2, cid, cmd->status);
	}
	release(cmd);
}

void vssd_drop(struct vssd_cmd *cmd)
{
	release(cmd);
}

void vssd_hang(struct vssd_cmd *cmd)
{
	outlive(cmd);
	cmd->state = VSSD_CMD_HUNG;
	cmd->worker->n_active--;	/* it keeps its slot: it may yet be ended */
}

/* ---- timed completions: a heap by due time ---------------------------------------------------- */

static void heap_set(struct vssd_worker *w, uint32_t at, struct vssd_cmd *cmd)
{
	w->heap[at] = cmd;
	cmd->heap = at;
}

static void heap_up(struct vssd_worker *w, uint32_t at, struct vssd_cmd *cmd)
{
	while (at && w->heap[(at - 1) / 2]->due > cmd->due) {
		heap_set(w, at, w->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	heap_set(w, at, cmd);
}

static void heap_remove(struct vssd_worker *w, struct vssd_cmd *cmd)
{
	struct vssd_cmd *last = w->heap[--w->n_heap];
	uint32_t at = cmd->heap;

	if (last == cmd)
		return;
	while (2 * at + 1 < w->n_heap) {
		uint32_t child = 2 * at + 1;

		if (child + 1 < w->n_heap && w->heap[child + 1]->due < w->heap[child]->due)
			child++;
		if (w->heap[child]->due >= last->due)
			break;
		heap_set(w, at, w->heap[child]);
		at = child;
	}
	heap_up(w, at, last);
}

/* What the model makes of a command that has ended well. */
static uint64_t model_end(struct vssd_cmd *cmd, uint64_t now)
{
	struct vssd *v = cmd->ctrl->v;
	enum vssd_io_op op = VSSD_IO_FLUSH;
	uint64_t offset = 0, length = 0;

	if (v->timing.model == VSSD_MODEL_NONE || !cmd->sq->qid || cmd->status)
		return now;
	switch (cmd->sqe.opcode) {
	case SNV_OP_READ:
	case SNV_OP_COMPARE:
	case SNV_OP_VERIFY:
		op = VSSD_IO_READ;
		break;
	case SNV_OP_WRITE:
	case SNV_OP_COPY:
	case SNV_OP_ZONE_APPEND:
		op = VSSD_IO_WRITE;
		break;
	case SNV_OP_WRITE_ZEROES:
		op = VSSD_IO_DISCARD;
		break;
	}
	if (op != VSSD_IO_FLUSH && cmd->ns) {
		offset = cmd->ns->flash_base + (cmd->u.slba << cmd->ns->lba_shift);
		length = (uint64_t)cmd->u.nlb << cmd->ns->lba_shift;
	}
	return vssd_timing_end(v, cmd->begun, op, offset, length);
}

/* True: @cmd is to be posted later, and in the heap for that. */
static bool delay(struct vssd_cmd *cmd)
{
	struct vssd_worker *w = cmd->worker;
	uint64_t now = vssd_now(w->v);
	uint64_t end = model_end(cmd, now) + cmd->extra_ns;

	if (end <= now)
		return false;
	outlive(cmd);
	cmd->state = VSSD_CMD_TIMED;
	cmd->due = end;
	heap_up(w, w->n_heap++, cmd);
	return true;
}

/* Statuses after which the same command may succeed: all others say Do Not Retry. */
static bool may_retry(int status)
{
	switch (status) {
	case SNV_SC_INTERNAL:
	case SNV_SC_POWER_LOSS:
	case SNV_SC_ABORT_REQ:
	case SNV_SC_ABORT_SQ_DELETED:
	case SNV_SC_FUSED_FAIL:
	case SNV_SC_CMD_INTERRUPTED:
	case SNV_SC_TRANSIENT_TRANSPORT:
	case SNV_SC_NS_NOT_READY:
	case SNV_SC_FORMAT_IN_PROGRESS:
	case SNV_SC_ABORT_LIMIT:
	case SNV_SC_COMPARE_FAILED:
	case SNV_SC_WRITE_FAULT:
	case SNV_SC_READ_ERROR:
		return true;
	}
	return false;
}

static void fail(struct vssd_cmd *cmd, int status)
{
	cmd->worker->stats.errors += !!cmd->sq->qid;
	/* A status that a fault rule chose says itself whether to retry. */
	if (!cmd->faulted && !may_retry(status))
		status |= SNV_STATUS_DNR;
	cmd->status = (uint16_t)status;
	if (vssd_log_error(cmd, cmd->status))
		cmd->status |= SNV_STATUS_MORE;
}

void vssd_finish(struct vssd_cmd *cmd, int status)
{
	cmd->status = 0;
	cmd->worker->stats.commands += !!cmd->sq->qid;
	if (__builtin_expect(status, 0))
		fail(cmd, status);
	if (__builtin_expect(cmd->begun, 0) && delay(cmd))
		return;
	post(cmd);
}

/* ---- running ---------------------------------------------------------------------------------- */

static void append(struct vssd_cmd **list, struct vssd_cmd *cmd)
{
	while (*list)
		list = &(*list)->next;
	cmd->next = NULL;
	*list = cmd;
}

static void remove_from(struct vssd_cmd **list, struct vssd_cmd *cmd)
{
	while (*list && *list != cmd)
		list = &(*list)->next;
	if (*list)
		*list = cmd->next;
}

void vssd_run_stopped(struct vssd_cmd *cmd)
{
	struct vssd *v = cmd->ctrl->v;

	outlive(cmd);
	cmd->stopped = true;
	cmd->state = VSSD_CMD_RETRY;
	vssd_lock(&v->stopped_lock);
	append(&v->stopped, cmd);
	vssd_unlock(&v->stopped_lock);
	vssd_want_control(v);
}

void vssd_run(struct vssd_cmd *cmd)
{
	int ret;

	do
		ret = cmd->step(cmd);
	while (ret == VSSD_AGAIN);
	if (ret >= 0) {
		vssd_finish(cmd, ret);
	} else if (ret == VSSD_PENDING) {
		outlive(cmd);
		cmd->state = VSSD_CMD_MEDIA;
		cmd->worker->n_media++;
		if (cmd->ns)
			cmd->ns->inflight[cmd->worker->index]++;
	} else if (ret == VSSD_RETRY) {
		if (cmd->stopped) {
			vssd_run_stopped(cmd);
		} else {
			outlive(cmd);
			cmd->state = VSSD_CMD_RETRY;
			append(&cmd->worker->retry, cmd);
		}
	}
}

void vssd_media_ended(struct vssd_cmd *cmd)
{
	cmd->state = VSSD_CMD_RUNNING;
	cmd->worker->n_media--;
	/* What goes on under the stop needs its namespace until then. */
	if (cmd->stopped) {
		cmd->holds = cmd->ns != NULL;
		vssd_run_stopped(cmd);
		return;
	}
	if (cmd->ns)
		cmd->ns->inflight[cmd->worker->index]--;
	if (cmd->dead)
		vssd_drop(cmd);
	else
		vssd_run(cmd);
}

/* Nobody else can get at @cmd's namespace before its next step: stopped. */
static void let_go(struct vssd_cmd *cmd)
{
	if (cmd->holds)
		cmd->ns->inflight[cmd->worker->index]--;
	cmd->holds = false;
}

/* Take @cmd out of whatever it waits in. */
static bool detach(struct vssd_cmd *cmd)
{
	struct vssd *v = cmd->ctrl->v;

	switch (cmd->state) {
	case VSSD_CMD_TIMED:
		heap_remove(cmd->worker, cmd);
		break;
	case VSSD_CMD_RETRY:
		let_go(cmd);
		if (cmd->ns && cmd->ns->frozen == cmd)
			vssd_thaw(cmd->ns, cmd);
		if (cmd->stopped) {
			vssd_lock(&v->stopped_lock);
			remove_from(&v->stopped, cmd);
			vssd_unlock(&v->stopped_lock);
		} else {
			remove_from(&cmd->worker->retry, cmd);
		}
		break;
	case VSSD_CMD_HUNG:
		cmd->worker->n_active++;
		break;
	default:
		return false;
	}
	cmd->state = VSSD_CMD_RUNNING;
	return true;
}

static void give_second_slot(struct vssd_sq *sq)
{
	sq->cq->reserved -= sq->second_slot;
	sq->second_slot = false;
}

bool vssd_cancel(struct vssd_cmd *cmd, int status)
{
	struct vssd_sq *sq = cmd->sq;
	struct vssd_cmd *second = cmd->fused;

	if (!detach(cmd))
		return false;
	if (sq->first == cmd) {
		sq->first = NULL;
		give_second_slot(sq);
	}
	cmd->fused = NULL;
	if (status < 0) {
		vssd_drop(cmd);
	} else {
		cmd->begun = 0;
		vssd_finish(cmd, status);
	}
	if (second && status < 0) {
		vssd_drop(second);
	} else if (second) {
		second->begun = 0;
		vssd_finish(second, SNV_SC_FUSED_FAIL);
	}
	return true;
}

uint32_t vssd_sq_drain(struct vssd_sq *sq, int status)
{
	struct vssd_cmd *cmd, *next;
	uint32_t left = 0;

	for (cmd = sq->inflight; cmd; cmd = next) {
		next = cmd->sq_next;
		if (vssd_cancel(cmd, status))
			continue;
		left++;
		cmd->dead |= status < 0;
		cmd->io.dead |= status < 0;
	}
	return left;
}

struct vssd_cmd *vssd_sq_find(struct vssd_sq *sq, uint16_t cid)
{
	struct vssd_cmd *cmd = sq->inflight;

	while (cmd && snv_le16_get(cmd->sqe.cid) != cid)
		cmd = cmd->sq_next;
	return cmd;
}

/* ---- fetching --------------------------------------------------------------------------------- */

/* Entries of @sq that may be fetched now. */
static uint32_t may_fetch(const struct vssd_sq *sq)
{
	const struct vssd_worker *w = sq->worker;
	uint32_t n = sq->tail >= sq->head ? sq->tail - sq->head : sq->tail + sq->entries - sq->head;
	uint32_t room = cq_room(sq->cq);

	if (sq->deleter || !w->n_free || !vssd_ctrl_runs(sq->ctrl))
		return 0;
	/* Whatever I/O has taken, admin commands find one. */
	/* And so does the second of a fused pair: without it, the first keeps its own for ever. */
	if (sq->qid && !sq->first &&
	    (w->n_active >= w->v->max_inflight || w->n_free <= VSSD_SPARE_COMMANDS / 2))
		return 0;
	room += sq->second_slot;
	return n < room ? n : room;
}

/* Fused commands come in pairs, one behind the other in one queue (Base 3.4.2). False: @cmd goes on alone. */
static bool fuse(struct vssd_sq *sq, struct vssd_cmd *cmd)
{
	uint8_t fuse = cmd->sqe.flags & SNV_SQE_FUSE;
	struct vssd_cmd *first = sq->first;

	if (first) {
		sq->first = NULL;
		detach(first);
		if (fuse == SNV_SQE_FUSE_SECOND) {
			first->fused = cmd;
			vssd_run(first);
			return true;
		}
		vssd_finish(first, SNV_SC_FUSED_MISSING);
	}
	if (fuse == SNV_SQE_FUSE_SECOND) {
		vssd_finish(cmd, SNV_SC_FUSED_MISSING);
		return true;
	}
	if (fuse != SNV_SQE_FUSE_FIRST)
		return false;
	if (sq->head == sq->tail || sq->cq->entries < 3) {
		vssd_finish(cmd, SNV_SC_FUSED_MISSING);
		return true;
	}
	/* Others that share the completion queue must not take the second's slot: see serve(). */
	sq->first = cmd;
	sq->second_slot = true;
	sq->cq->reserved++;
	vssd_hang(cmd);
	return true;
}

#define CQES	4	/* completions in a cache line */

/* Commands that ended well and are yet to be posted. */
struct ended {
	uint16_t cid[CQES];
	uint32_t n;
};

/* A cache line of completions at once: the host that polls it gets it once, not for each of them. */
static void post_ended(struct vssd_sq *sq, struct ended *ended)
{
	uint32_t dw2 = sq->head | (uint32_t)sq->qid << SNV_CQE_DW2_SQID_SHIFT;

	sq->cq->reserved -= ended->n;
	for (uint32_t i = 0; i < ended->n; i++)
		write_cqe(sq->cq, 0, 0, dw2, ended->cid[i], 0);
	ended->n = 0;
}

/*
 * Read or Write as most are: one page of plain blocks, no flags. It ends at once, so nothing needs
 * to know of it: no command of the pool, no list, no step. False: it is not one of these, or there
 * is something wrong with it, and it goes the way of all commands.
 */
static inline bool quick(struct vssd_worker *w, struct vssd_sq *sq, const struct snv_sqe *sqe,
			 struct ended *ended)
{
	struct vssd_ctrl *ctrl = sq->ctrl;
	uint32_t nsid = snv_le32_get(sqe->nsid), nlb = snv_le32_get(sqe->cdw12);
	uint64_t slba = snv_le32_get(sqe->cdw10) | (uint64_t)snv_le32_get(sqe->cdw11) << 32;
	uint64_t page = 1ULL << ctrl->page_shift, prp1 = snv_le64_get(sqe->prp1);
	bool write = sqe->opcode == SNV_OP_WRITE;
	struct vssd_seg seg;
	struct vssd_io io;
	struct vssd_ns *ns;

	if ((sqe->opcode != SNV_OP_READ && !write) || sqe->flags || nsid - 1 >= VSSD_MAX_NS ||
	    nlb++ > SNV_RW_CDW12_NLB)
		return false;
	ns = ctrl->v->ns[nsid];
	if (!ns || !ns->plain || ns->frozen || SNV_LOAD_RELAXED(&ns->n_wu) ||
	    !vssd_attached(ctrl, ns) || nlb > ns->nsze || slba > ns->nsze - nlb)
		return false;
	seg.length = (size_t)nlb << ns->lba_shift;
	if ((prp1 & (page - 1)) + seg.length > page || prp1 & 3 ||
	    seg.length > vssd_max_transfer(ctrl))
		return false;
	seg.va = vssd_known(w, ctrl, prp1, seg.length);
	if (!seg.va)
		return false;
	io.op = write ? VSSD_IO_WRITE : VSSD_IO_READ;
	io.fua = false;
	io.worker = w->index;
	io.offset = slba << ns->lba_shift;
	io.length = seg.length;
	io.seg = &seg;
	io.segs = 1;
	if (ns->media->ops->submit(ns->media, &io))
		return false;
	if (write) {
		w->stats.writes++;
		w->stats.bytes_written += seg.length;
	} else {
		w->stats.reads++;
		w->stats.bytes_read += seg.length;
	}
	w->stats.commands++;
	sq->cq->reserved++;
	ended->cid[ended->n++] = snv_le16_get(sqe->cid);
	if ((sq->cq->tail + ended->n) % CQES == 0)
		post_ended(sq, ended);
	return true;
}

static void begin(struct vssd_sq *sq, const struct snv_sqe *sqe)
{
	struct vssd *v = sq->ctrl->v;
	struct vssd_cmd *cmd;

	give_second_slot(sq);
	cmd = get(sq);
	cmd->sqe = *sqe;
	cmd->step = sq->qid ? vssd_io_step : vssd_admin_step;
	cmd->stopped = !sq->qid;
	if (__builtin_expect(v->hooks, 0)) {
		cmd->begun = vssd_now(v);
		vssd_trace(sq->worker, VSSD_STEP_FETCH, cmd, cmd->sqe.opcode);
		if (vssd_fault_begin(cmd)) {
			/* It may have been the second of a pair. */
			if (sq->first)
				vssd_cancel(sq->first, SNV_SC_FUSED_MISSING);
			return;
		}
	}
	if (__builtin_expect(sq->qid && (sq->first || cmd->sqe.flags & SNV_SQE_FUSE), 0) &&
	    fuse(sq, cmd))
		return;
	vssd_run(cmd);
}

static bool lacks_slots(const struct vssd_sq *sq, const struct snv_sqe *sqe)
{
	return sq->qid && (sqe->flags & SNV_SQE_FUSE) == SNV_SQE_FUSE_FIRST &&
	       sq->cq->entries >= 3 && cq_room(sq->cq) + sq->second_slot < 2;
}

/* Up to @max commands of @sq. */
static uint32_t serve(struct vssd_sq *sq, uint32_t max)
{
	struct vssd_worker *w = sq->worker;
	struct ended ended = { .n = 0 };
	uint32_t n = 0, left;
	bool usual;

	look_at_head(sq->cq);
	look_at_tail(sq);
	/* The second of a pair was there when the first was fetched: a tail that goes back takes it away. */
	if (__builtin_expect(sq->first && sq->head == sq->tail, 0))
		vssd_cancel(sq->first, SNV_SC_FUSED_MISSING);
	usual = sq->qid && !w->v->hooks && !sq->first;
	while (n < max && (left = may_fetch(sq)) != 0) {
		bool alone = false;

		/* Quick ones change nothing that may_fetch() looked at; after another it is asked again. */
		for (; left && n < max && !alone; left--, n++) {
			struct snv_sqe sqe;

			/* Used as it is read here, and not read again. */
			memcpy(&sqe, vssd_ring_at(&sq->ring, sq->head, 6), sizeof(sqe));
			if (++sq->head == sq->entries)
				sq->head = 0;
			__builtin_prefetch(vssd_ring_at(&sq->ring, sq->head, 6));
			if (usual && quick(w, sq, &sqe, &ended))
				continue;
			/* Of a pair, the first is taken when there are slots for both. */
			if (__builtin_expect(sqe.flags & SNV_SQE_FUSE, 0) &&
			    lacks_slots(sq, &sqe)) {
				sq->head = (sq->head ? sq->head : sq->entries) - 1;
				post_ended(sq, &ended);
				return n;
			}
			post_ended(sq, &ended);
			begin(sq, &sqe);
			alone = true;
			usual = usual && !sq->first;
		}
	}
	post_ended(sq, &ended);
	/*
	 * The Dekker pair of shadow doorbells: EventIdx first, then the tail once more. Partner:
	 * snv_shadow_exchange() in the host, the other way about.
	 */
	if (__builtin_expect(!!sq->eventidx, 0) && n < max && sq->head == sq->tail)
		snv_shadow_exchange(sq->eventidx, sq->shadow, sq->tail);
	return n;
}

/* Up to @max commands of the next queue of a class that has any. */
static uint32_t serve_class(struct vssd_arb *arb, uint32_t class, uint32_t max)
{
	struct vssd_sq *last = arb->class[class], *sq = last;

	if (!sq)
		return 0;
	do {
		uint32_t n = serve(sq, max);

		sq = sq->next;
		if (n) {
			/* A command may have ended in a reset? Not here: that needs all locks. */
			arb->class[class] = sq;
			return n;
		}
	} while (sq != last);
	return 0;
}

/*
 * One round of arbitration. Without weighted round robin all queues are of class 0, and take turns;
 * with it class 0, urgent, goes first, and the others share by their weights; a class that shares with no
 * other needs none.
 */
static uint32_t arbitrate(struct vssd_worker *w, struct vssd_ctrl *ctrl)
{
	struct vssd_arb *arb = &ctrl->arb[w->index];
	uint32_t ab = ctrl->feat.arbitration & 7;
	uint32_t burst = ab == 7 ? ROUND : 1U << ab;
	bool weigh = !!arb->class[1] + !!arb->class[2] + !!arb->class[3] > 1, refilled = !weigh;
	uint32_t total = 0;

	while (total < ROUND) {
		uint32_t n = serve_class(arb, 0, burst);

		for (uint32_t class = 1; class < 4 && !n; class++) {
			uint32_t max = weigh && arb->credit[class] < burst ? arb->credit[class] : burst;

			if (!max || !arb->class[class])
				continue;
			n = serve_class(arb, class, max);
			if (weigh)
				arb->credit[class] -= n;
		}
		if (n) {
			refilled = !weigh;
		} else if (!refilled) {
			/* LPW, MPW, HPW, zero-based: Base 5.27.1.1. */
			for (uint32_t class = 1; class < 4; class++)
				arb->credit[class] =
					(ctrl->feat.arbitration >> (8 * (4 - class)) & 0xff) + 1;
			refilled = true;
		} else {
			break;
		}
		total += n;
	}
	return total;
}

/* ---- rounds ----------------------------------------------------------------------------------- */

static uint32_t poll_media(struct vssd_worker *w)
{
	struct vssd *v = w->v;
	uint32_t n = 0;

	for (uint32_t nsid = 1; nsid <= VSSD_MAX_NS; nsid++) {
		struct vssd_media *media = v->ns[nsid] ? v->ns[nsid]->media : NULL;

		if (media && media->ops->poll)
			n += media->ops->poll(media, w->index);
	}
	return n;
}

static uint32_t poll_timers(struct vssd_worker *w)
{
	uint64_t now = vssd_now(w->v);
	uint32_t n = 0;

	while (w->n_heap && w->heap[0]->due <= now) {
		struct vssd_cmd *cmd = w->heap[0];

		heap_remove(w, cmd);
		cmd->state = VSSD_CMD_RUNNING;
		post(cmd);
		n++;
	}
	return n;
}

static void poll_retries(struct vssd_worker *w)
{
	struct vssd_cmd *cmd = w->retry, *next;

	w->retry = NULL;
	for (; cmd; cmd = next) {
		next = cmd->next;
		cmd->state = VSSD_CMD_RUNNING;
		vssd_run(cmd);
	}
}

/* Is there work for which everybody has to stop? Worker 0. */
static bool control_wanted(struct vssd *v)
{
	if (SNV_LOAD_RELAXED(&v->control))
		return true;
	for (uint32_t i = 0; i < v->n_ctrl; i++) {
		struct vssd_ctrl *ctrl = v->ctrl[i];
		struct vssd_sq *sq = ctrl ? ctrl->sq[0] : NULL;

		if (!ctrl)
			continue;
		if (ctrl->busy && vssd_ctrl_due(ctrl) <= vssd_now(v))
			return true;
		if (!sq || !vssd_ctrl_runs(ctrl))
			continue;
		look_at_head(sq->cq);
		look_at_tail(sq);
		if (may_fetch(sq) || (vssd_event_ready(ctrl) && cq_room(sq->cq)))
			return true;
	}
	return false;
}

static uint32_t control(struct vssd *v)
{
	struct vssd_cmd *cmd, *next;
	uint32_t n = 0;

	vssd_stop(v);
	/* A full barrier: what was asked for before the word was set is looked for after it. */
	snv_cas32(&v->control, 1, 0);
	vssd_fault_stopped(v);
	for (uint32_t i = 0; i < v->n_ctrl; i++) {
		struct vssd_ctrl *ctrl = v->ctrl[i];

		if (!ctrl)
			continue;
		if (ctrl->busy)
			n += vssd_ctrl_tick(ctrl);
		n += vssd_deleters_finish(ctrl);
		if (ctrl->sq[0] && vssd_ctrl_runs(ctrl)) {
			n += serve(ctrl->sq[0], ADMIN_ROUND);
			vssd_events_post(ctrl);
		}
	}
	cmd = v->stopped;
	v->stopped = NULL;
	for (; cmd; cmd = next) {
		next = cmd->next;
		/* Its queue was reset: nobody waits for it. */
		if (cmd->dead) {
			vssd_cancel(cmd, -1);
		} else {
			cmd->state = VSSD_CMD_RUNNING;
			let_go(cmd);
			vssd_run(cmd);
		}
		n++;
	}
	/* Their media, timers and queues may have got something to do. */
	for (uint32_t i = 0; i < v->workers; i++) {
		flush_irqs(v->worker[i]);
		if (i)
			vssd_wake(v, i);
	}
	vssd_go(v);
	return n;
}

uint32_t vssd_poll(struct vssd *v, uint32_t worker)
{
	struct vssd_worker *w = v->worker[worker];
	uint32_t n = 0, turn = 0, at;
	bool stop = false;

	while (SNV_LOAD_RELAXED(&v->stopping))
		snv_thread_relax(turn++);
	vssd_lock(&w->lock);
	if (w->n_media)
		n += poll_media(w);
	if (w->n_heap)
		n += poll_timers(w);
	if (w->retry)
		poll_retries(w);
	/* Each in its turn is the first, so that none has all that the worker can do at once. */
	at = v->n_ctrl > 1 ? w->first++ % v->n_ctrl : 0;
	for (uint32_t i = 0; i < v->n_ctrl; i++, at = at + 1 < v->n_ctrl ? at + 1 : 0)
		if (v->ctrl[at] && v->ctrl[at]->n_sq && vssd_ctrl_runs(v->ctrl[at]))
			n += arbitrate(w, v->ctrl[at]);
	if (w->irq)
		flush_irqs(w);
	if (!worker)
		stop = control_wanted(v);
	vssd_unlock(&w->lock);
	if (stop)
		n += control(v);
	return n;
}

uint64_t vssd_next_due(struct vssd *v, uint32_t worker)
{
	struct vssd_worker *w = v->worker[worker];
	uint64_t due = VSSD_NEVER;

	vssd_lock(&w->lock);
	if (w->n_heap)
		due = w->heap[0]->due;
	for (struct vssd_cq *cq = w->irq; cq; cq = cq->irq_next)
		if (cq->irq_due < due)
			due = cq->irq_due;
	/* Owed by somebody who is no worker, and not looked at yet. */
	for (struct vssd_cq *cq = w->irq; cq; cq = cq->irq_next)
		if (cq->irq_due == VSSD_NEVER)
			due = 0;
	if (!worker) {
		for (uint32_t i = 0; i < v->n_ctrl; i++) {
			uint64_t at = v->ctrl[i] && v->ctrl[i]->busy ?
				      vssd_ctrl_due(v->ctrl[i]) : VSSD_NEVER;

			if (at < due)
				due = at;
		}
		if (SNV_LOAD_RELAXED(&v->control))
			due = 0;
	}
	if (w->retry)
		due = 0;
	vssd_unlock(&w->lock);
	return due;
}
