// SPDX-License-Identifier: MIT
/*
 * Queues: making them, submitting, reaping. NVMe Base 2.0 sections 3.3 and 4.
 *
 * A command identifier is a place in cid[]; a queue uses as many as its depth, and the ring has one
 * entry more, so that there is room whenever an identifier is free.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib.h"

#define DEFAULT_DEPTH		127
#define SPINS_PER_CLOCK		1024
#define SPINS_PER_NAP		64
#define NAP_AFTER_NS		2000000
#define NAP_FRACTION		16
#define NAP_MAX_NS		1000000
#define MOST_BLOCKS		((SNV_RW_CDW12_NLB + 1) << 9)	/* bytes, of the smallest */
#define NO_QUEUE		0	/* SQID of the admin queue: never one of ours */

/*
 * A shared completion queue's lock guards its ring, @dead and @queues and, of all queues that report there, what
 * their threads change: tail, free, inflight, cid. Inside ctrl->lock; nothing is waited for under it. Not in order
 * of arrival: those who find a full queue and come again at once would keep out whoever is to empty it.
 */
static void cq_lock(struct snvme_cq *cq)
{
	if (cq->shared)
		for (uint32_t spins = 0; pthread_spin_trylock(&cq->lock); spins++)
			snv_thread_relax(spins);
}

static void cq_unlock(struct snvme_cq *cq)
{
	if (cq->shared)
		pthread_spin_unlock(&cq->lock);
}

static size_t round_up(size_t length, size_t unit)
{
	return (length + unit - 1) & ~(unit - 1);
}

/* 0, or why the queue with this state word is dead. What the controller wrote, it wrote before. */
static int dead(const uint32_t *state)
{
	switch (SNV_LOAD_ACQUIRE(state)) {
	case SNVME_STATE_LIVE:
		return 0;
	case SNVME_STATE_RESET:
		return -ECONNRESET;
	case SNVME_STATE_REVOKED:
		return -ECONNABORTED;
	default:
		return -ENODEV;
	}
}

/* Have the controller make @cq, whose ring is @ring and zeroed. */
static int cq_start(struct snvme_ctrl *ctrl, struct snvme_cq *cq, void *ring, uint32_t entries)
{
	struct snvme_queue_create arg = {
		.type = SNVME_QUEUE_CQ, .entries = entries, .mem = cq->mem,
	};
	const uint32_t *state;
	struct snv_db db;
	int ret = ctrl->ops->queue_create(ctrl, &arg, &db, &state);

	if (ret)
		return ret;
	cq->handle = arg.handle;
	cq->qid = (uint16_t)arg.qid;
	cq->asleep = ctrl->ops->asleep ? ctrl->ops->asleep(ctrl, cq->qid) : NULL;
	cq->dead = 0;
	snv_cq_init(&cq->ring, ring, entries, state, db);
	return 0;
}

static int cq_create(struct snvme_ctrl *ctrl, uint32_t entries, struct snvme_cq **out)
{
	struct snvme_cq *cq = calloc(1, sizeof(*cq));
	void *ring;
	int ret;

	if (!cq)
		return -ENOMEM;
	cq->bytes = round_up(entries * sizeof(struct snv_cqe), ctrl->fixed.page_size);
	cq->room = entries - 1;
	ret = ctrl->ops->ring_alloc(ctrl, cq->bytes, &ring, &cq->mem);
	if (ret)
		goto out_free;
	ret = cq_start(ctrl, cq, ring, entries);
	if (ret)
		goto out_ring;
	*out = cq;
	return 0;
out_ring:
	ctrl->ops->ring_free(ctrl, cq->bytes, ring, cq->mem);
out_free:
	free(cq);
	return ret;
}

static void cq_free(struct snvme_ctrl *ctrl, struct snvme_cq *cq)
{
	ctrl->ops->ring_free(ctrl, cq->bytes, cq->ring.ring, cq->mem);
	free(cq);
}

/*
 * Disown what was reported of a queue that is gone and has not been reaped: the next queue may get
 * the same identifier. The controller reports no more of it once it has deleted it.
 */
static void cq_forget(struct snvme_cq *cq, uint16_t qid)
{
	struct snv_cq at = cq->ring;
	uint32_t dw3;

	for (; snv_cq_peek(&at, &dw3); snv_cq_advance(&at)) {
		struct snv_cqe *cqe = &at.ring[at.head];

		if (snv_le32_get(cqe->dw2) >> SNV_CQE_DW2_SQID_SHIFT == qid)
			cqe->dw2 = snv_le32(NO_QUEUE << SNV_CQE_DW2_SQID_SHIFT);
	}
}

/* Have the controller make the submission queue, whose ring is there. */
static int sq_start(struct snvme_queue *q)
{
	static const uint32_t never;
	struct snvme_ctrl *ctrl = q->ctrl;
	struct snvme_queue_create arg = {
		.type = SNVME_QUEUE_SQ, .entries = q->depth + 1, .mem = q->ring_mem, .cq = q->cq->handle,
		.flags = q->class,
	};
	int ret;

	/*
	 * For fill(); a reset leaves who knows what in the controller's memory, which is a device's: memset()
	 * may use instructions that only ordinary memory takes.
	 */
	for (volatile uint64_t *word = (void *)q->ring; word < (uint64_t *)((char *)q->ring + q->ring_bytes); word++)
		*word = 0;
	ret = ctrl->ops->queue_create(ctrl, &arg, &q->db, &q->state);
	/* The completion queue that it reports to died in a reset. */
	if (ret)
		return ret == -ESTALE ? -ECONNRESET : ret;
	q->handle = arg.handle;
	q->qid = arg.qid;
	q->asleep = q->cq->asleep;
	q->tracing = ctrl->ops->tracing ? ctrl->ops->tracing(ctrl) : NULL;
	if (!q->tracing)
		q->tracing = &never;
	q->entries = arg.entries;
	q->tail = 0;
	return 0;
}

static int sq_create(struct snvme_queue *q)
{
	struct snvme_ctrl *ctrl = q->ctrl;
	void *ring;
	int ret;

	q->ring_bytes = round_up((q->depth + 1) * sizeof(struct snv_sqe), ctrl->fixed.page_size);
	if (!q->in_cmb)
		ret = ctrl->ops->ring_alloc(ctrl, q->ring_bytes, &ring, &q->ring_mem);
	else if (ctrl->ops->cmb_alloc)
		ret = ctrl->ops->cmb_alloc(ctrl, q->ring_bytes, &ring, &q->ring_mem);
	else
		ret = -EOPNOTSUPP;
	if (ret)
		return ret;
	q->ring = ring;
	ret = sq_start(q);
	if (ret)
		ctrl->ops->ring_free(ctrl, q->ring_bytes, ring, q->ring_mem);
	return ret;
}

/* Every command identifier is free; what may still be reported under one in use is not its next use's. */
static void cids_free(struct snvme_queue *q)
{
	for (uint32_t i = 0; i < q->depth; i++) {
		if (snvme_cid_busy(&q->cid[i]))
			q->cid[i].wire += q->cid_step;
		q->cid[i].next = i + 1 < q->depth ? &q->cid[i + 1] : NULL;
	}
	q->free = q->cid;
	q->inflight = 0;
}

/* Command identifiers, and a PRP list page for each. */
static int cids_create(struct snvme_queue *q)
{
	size_t page = q->ctrl->fixed.page_size;
	int ret;

	while (q->cid_mask < q->depth - 1)
		q->cid_mask = 2 * q->cid_mask + 1;
	q->cid_step = q->cid_mask + 1 + SNVME_CID_FREE;
	q->cid = aligned_alloc(sizeof(*q->cid), (q->cid_mask + 1) * sizeof(*q->cid));
	q->list = calloc(q->depth, sizeof(*q->list));
	if (!q->cid || !q->list)
		return -ENOMEM;
	ret = snvme_mem_alloc(q->ctrl, q->depth * page, &q->lists);
	if (ret)
		return ret;
	/* A list page is one page of the controller's: that has to be contiguous. */
	if (q->ctrl->page_shift > q->lists->map.page_shift)
		return -EOPNOTSUPP;
	for (uint32_t i = 0; i <= q->cid_mask; i++)
		q->cid[i].wire = SNVME_CID_FREE | i;
	cids_free(q);
	for (uint32_t i = 0; i < q->depth; i++) {
		q->list[i].va = (__le64 *)(q->lists->base + i * page);
		q->list[i].dma = snv_dma_addr(&q->lists->map, i * page);
	}
	return 0;
}

static int queue_link(struct snvme_queue *q, const struct snvme_queue_opts *opts)
{
	struct snvme_ctrl *ctrl = q->ctrl;
	uint32_t entries = opts->cq_entries ? opts->cq_entries : q->depth + 1;
	int ret;

	if (opts->share_cq) {
		q->cq = opts->share_cq->cq;
		if (q->cq->shared != !!(opts->flags & SNVME_QUEUE_SHARED))
			return -EINVAL;
		if (q->cq->room < q->depth)
			return -EINVAL;
		ret = SNV_LOAD_RELAXED(&q->cq->dead);
		if (ret)
			return ret;
	} else {
		if (entries < q->depth + 1 || entries > ctrl->fixed.max_entries)
			return -EINVAL;
		ret = cq_create(ctrl, entries, &q->cq);
		if (ret)
			return ret;
		q->cq->shared = opts->flags & SNVME_QUEUE_SHARED;
		pthread_spin_init(&q->cq->lock, PTHREAD_PROCESS_PRIVATE);
		q->owns_cq = true;
	}
	ret = sq_create(q);
	if (ret) {
		if (q->owns_cq) {
			ctrl->ops->queue_destroy(ctrl, q->cq->handle);
			cq_free(ctrl, q->cq);
		}
		return ret;
	}
	q->cq->room -= q->depth;
	cq_lock(q->cq);
	q->next_on_cq = q->cq->queues;
	q->cq->queues = q;
	cq_unlock(q->cq);
	q->next = ctrl->queues;
	ctrl->queues = q;
	return 0;
}

SNVME_API int snvme_queue_create(struct snvme_ctrl *ctrl, const struct snvme_queue_opts *opts,
				 struct snvme_queue **out)
{
	static const struct snvme_queue_opts defaults = { .size = sizeof(defaults) };
	struct snvme_queue *q;
	int ret;

	if (!opts)
		opts = &defaults;
	if (opts->size != sizeof(*opts) || opts->flags & ~(SNVME_QUEUE_CLASS | SNVME_QUEUE_SHARED | SNVME_QUEUE_CMB) ||
	    (opts->share_cq && (opts->cq_entries || opts->share_cq->ctrl != ctrl)))
		return -EINVAL;
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->ctrl = ctrl;
	q->class = opts->flags & SNVME_QUEUE_CLASS;
	q->in_cmb = opts->flags & SNVME_QUEUE_CMB;
	q->depth = opts->depth ? opts->depth : DEFAULT_DEPTH;
	if (!opts->depth && q->depth > ctrl->fixed.max_entries - 1)
		q->depth = ctrl->fixed.max_entries - 1;
	ret = q->depth < ctrl->fixed.max_entries ? cids_create(q) : -EINVAL;
	if (!ret) {
		pthread_mutex_lock(&ctrl->lock);
		ret = queue_link(q, opts);
		pthread_mutex_unlock(&ctrl->lock);
	}
	if (ret) {
		snvme_mem_release(q->lists);
		free(q->list);
		free(q->cid);
		free(q);
		return ret;
	}
	*out = q;
	return 0;
}

/* The state word of a queue that is no more, by why: the place of its own may be another's by now. */
static const uint32_t *dead_word(int err)
{
	static const uint32_t reset = SNVME_STATE_RESET, gone = SNVME_STATE_GONE,
			      revoked = SNVME_STATE_REVOKED;

	return err == -ENODEV ? &gone : err == -ECONNABORTED ? &revoked : &reset;
}

/* 0 once the controller knows nothing of handle *@handle, or an errno. */
static int forget(struct snvme_ctrl *ctrl, uint32_t *handle)
{
	int ret = *handle ? ctrl->ops->queue_destroy(ctrl, *handle) : 0;

	if (ret && ret != -ENOENT)
		return ret;
	*handle = 0;
	return 0;
}

SNVME_API int snvme_queue_destroy(struct snvme_queue *q)
{
	struct snvme_ctrl *ctrl;
	struct snvme_queue **at;
	int ret;

	if (!q)
		return 0;
	ctrl = q->ctrl;
	pthread_mutex_lock(&ctrl->lock);
	if (q->owns_cq && (q->cq->queues != q || q->next_on_cq)) {
		pthread_mutex_unlock(&ctrl->lock);
		return -EBUSY;
	}
	/* Should the controller refuse, it may still follow PRP lists and move data: all stays. */
	ret = forget(ctrl, &q->handle);
	if (ret) {
		pthread_mutex_unlock(&ctrl->lock);
		return ret;
	}
	/* A completion queue that nobody reports to is written no more: its end is the kernel's. */
	if (q->owns_cq)
		forget(ctrl, &q->cq->handle);
	cq_lock(q->cq);
	if (!q->owns_cq)
		cq_forget(q->cq, q->qid);
	for (at = &q->cq->queues; *at != q; at = &(*at)->next_on_cq)
		;
	*at = q->next_on_cq;
	cq_unlock(q->cq);
	q->cq->room += q->depth;
	for (at = &ctrl->queues; *at != q; at = &(*at)->next)
		;
	*at = q->next;
	pthread_mutex_unlock(&ctrl->lock);
	snvme_mem_release(q->lists);
	snvme_queue_free(q);
	return 0;
}

/*
 * Have the controller forget @cq and all that reports to it. 0 or an errno; it is dead either way, which
 * its users see as @why.
 */
static int cq_end(struct snvme_ctrl *ctrl, struct snvme_cq *cq, int why)
{
	const uint32_t *word = dead_word(why);
	int ret = 0;

	for (struct snvme_queue *q = cq->queues; q; q = q->next_on_cq) {
		int one = forget(ctrl, &q->handle);

		ret = ret ? ret : one;
		q->state = word;
		if (!one)
			cids_free(q);
	}
	cq->ring.state = word;
	cq->dead = dead(word);
	return ret ? ret : forget(ctrl, &cq->handle);
}

SNVME_API int snvme_queue_renew(struct snvme_queue *q)
{
	struct snvme_ctrl *ctrl = q->ctrl;
	struct snvme_cq *cq = q->cq;
	int ret;

	pthread_mutex_lock(&ctrl->lock);
	ret = cq_end(ctrl, cq, -ECONNRESET);
	if (!ret) {
		memset(cq->ring.ring, 0, cq->bytes);
		ret = cq_start(ctrl, cq, cq->ring.ring, cq->ring.entries);
		for (q = cq->queues; q && !ret; q = q->next_on_cq)
			ret = sq_start(q);
		/* All of them, or none. */
		if (ret)
			cq_end(ctrl, cq, ret);
	}
	pthread_mutex_unlock(&ctrl->lock);
	return ret;
}

/* Free what is ours of a queue; its list pages are among ctrl->mems. */
void snvme_queue_free(struct snvme_queue *q)
{
	q->ctrl->ops->ring_free(q->ctrl, q->ring_bytes, q->ring, q->ring_mem);
	if (q->owns_cq)
		cq_free(q->ctrl, q->cq);
	free(q->list);
	free(q->cid);
	free(q);
}

SNVME_API uint32_t snvme_queue_id(const struct snvme_queue *q)
{
	return q->qid;
}

SNVME_API uint32_t snvme_queue_depth(const struct snvme_queue *q)
{
	return q->depth;
}

/*
 * Where the data of a command lies, wherever that is. Out of line: what few commands need would take the
 * registers from all.
 */
static __attribute__((noinline)) bool describe_any(const struct snvme_queue *q, const struct snvme_cid *cid,
						   const struct snvme_io *io, struct snv_sqe *sqe)
{
	const struct snvme_ctrl *ctrl = q->ctrl;
	const struct snvme_mem *mem = io->mem;

	return io->nlb - 1 <= SNV_RW_CDW12_NLB && io->length <= ctrl->fixed.max_transfer &&
	       io->length <= mem->length && io->offset <= mem->length - io->length &&
	       snv_prp_build(&mem->map, mem->head + io->offset, io->length, ctrl->page_shift,
			     &q->list[cid - q->cid], 1, &sqe->prp1, &sqe->prp2) >= 0;
}

/*
 * The same of what lies in one page, as most does, which every controller transfers, and which is of no more
 * blocks than can be said. @page: the size of the controller's, less 1; those that memory is registered in are
 * no smaller, and if they are larger, what is not in the first of the controller's goes the long way.
 */
static inline bool describe(const struct snvme_queue *q, const struct snvme_cid *cid,
			    const struct snvme_io *io, uint64_t page, struct snv_sqe *sqe)
{
	const struct snvme_mem *mem = io->mem;
	uint64_t at = mem->head + io->offset, in = at & mem->page_mask, last = io->length - 1;

	/* The sum of two may wrap; if either has more bits than the page, so has the other term. */
	if (io->offset >= mem->sure || ((in + last) | last) > page)
		return describe_any(q, cid, io, sqe);
	sqe->prp1 = snv_le64(mem->map.addr[at >> mem->map.page_shift] + in);
	sqe->prp2 = snv_le64(0);
	return in % sizeof(__le32) == 0;
}

/* A command without data. */
static __attribute__((noinline)) bool fill_flush(const struct snvme_io *io, struct snv_sqe *sqe)
{
	sqe->prp1 = snv_le64(0);
	sqe->prp2 = snv_le64(0);
	sqe->cdw12 = snv_le32(0);
	return io->opcode == SNVME_OP_FLUSH && !io->length && !io->nlb && !io->flags && !io->slba;
}

/*
 * Fill in one entry, but for its command identifier, and for what is zero in every command of ours: the ring
 * was, and nobody else writes to it. False for a malformed command: then nothing has changed but the entry.
 * @known: memory that is this controller's; it becomes that of the command.
 */
static inline bool fill(const struct snvme_queue *q, const struct snvme_cid *cid, const struct snvme_io *io,
			uint64_t page, const struct snvme_mem **known, struct snv_sqe *sqe)
{
	const struct snvme_mem *mem = io->mem;

	sqe->opcode = io->opcode;
	sqe->nsid = snv_le32(io->nsid);
	sqe->slba = snv_le64(io->slba);
	sqe->cdw12 = snv_le32(io->nlb - 1 + io->flags);
	if (io->opcode != SNVME_OP_READ && io->opcode != SNVME_OP_WRITE)
		return fill_flush(io, sqe);
	if (__builtin_expect(mem != *known, 0)) {
		if (!mem || mem->ctrl != q->ctrl)
			return false;
		*known = mem;
	}
	/* What is shorter than the smallest blocks would have the controller run past the PRPs. */
	if (io->flags & ~SNVME_IO_FUA || io->nlb - 1 >= io->length >> 9)
		return false;
	return describe(q, cid, io, page, sqe);
}

/* The entries from q->tail on. */
static __attribute__((noinline)) void trace_sqes(struct snvme_queue *q, uint32_t n)
{
	for (uint32_t i = q->tail; n--; i = i + 1 == q->entries ? 0 : i + 1)
		q->ctrl->ops->trace_sqe(q->ctrl, (uint16_t)q->qid, snv_le16_get(q->ring[i].cid));
}

/*
 * Fill in @n entries from the tail on, for which identifiers are free. How many: fewer if the next command is
 * malformed.
 */
static __attribute__((noinline)) uint32_t fill_all(struct snvme_queue *q, const struct snvme_io *io, uint32_t n)
{
	static const struct snvme_mem none;
	const struct snvme_mem *known = &none;
	const uint64_t size = q->ctrl->fixed.page_size, page = (size < MOST_BLOCKS ? size : MOST_BLOCKS) - 1;
	struct snvme_cid *cid = q->free;
	uint32_t slot = q->tail, row, done = 0;

	/* To the end of the ring, then from its beginning on. */
	for (; n; n -= row, slot = 0) {
		struct snv_sqe *sqe = q->ring + slot, *end;

		row = n < q->entries - slot ? n : q->entries - slot;
		for (end = sqe + row; sqe < end; sqe++, io++, cid = cid->next) {
			if (!fill(q, cid, io, page, &known, sqe)) {
				n = row;
				break;
			}
			cid->wire &= SNVME_CID_FREE - 1;
			sqe->cid = snv_le16((__u16)cid->wire);
			cid->user = io->user;
		}
		done += row - (uint32_t)(end - sqe);
	}
	q->free = cid;
	q->inflight += done;
	return done;
}

static int submit_ios(struct snvme_queue *q, const struct snvme_io *io, unsigned int n)
{
	uint32_t room = q->depth - q->inflight, old = q->tail, done;
	int ret = 0;

	if (SNV_LOAD_ACQUIRE(q->state) != SNVME_STATE_LIVE)
		return dead(q->state);
	if (n > room) {
		n = room;
		ret = -EAGAIN;
	}
	done = fill_all(q, io, n);
	if (!done)
		return n ? -EINVAL : ret;
	if (__builtin_expect(SNV_LOAD_RELAXED(q->tracing), 0))
		trace_sqes(q, done);
	q->tail = old + done < q->entries ? old + done : old + done - q->entries;
	snv_db_ring(&q->db, q->entries, old, q->tail);
	if (snvme_sleeps(q->asleep))
		q->ctrl->ops->wake(q->ctrl, q->cq->qid);
	return (int)done;
}

SNVME_API int snvme_submit(struct snvme_queue *q, const struct snvme_io *io, unsigned int n)
{
	int ret;

	cq_lock(q->cq);
	ret = submit_ios(q, io, n);
	cq_unlock(q->cq);
	return ret;
}

static struct snvme_queue *queue_of(struct snvme_cq *cq, uint32_t qid)
{
	struct snvme_queue *q = cq->queues;

	while (q && q->qid != qid)
		q = q->next_on_cq;
	return q;
}

SNVME_API int snvme_abort(struct snvme_queue *q, uint64_t user)
{
	uint32_t id, wire = SNVME_CID_FREE;

	if (!q->ctrl->ops->abort)
		return -EOPNOTSUPP;
	cq_lock(q->cq);
	for (id = 0; id < q->depth; id++)
		if (snvme_cid_busy(&q->cid[id]) && q->cid[id].user == user)
			wire = q->cid[id].wire;
	cq_unlock(q->cq);
	/* Should it end meanwhile: the next use of its identifier has another count, where there is room for one. */
	return wire < SNVME_CID_FREE ? q->ctrl->ops->abort(q->ctrl, (uint16_t)q->qid, (uint16_t)wire) : -ENOENT;
}

/* Of @q, @n identifiers more are free; @free is the first of all. */
static inline void give_back(struct snvme_queue *q, struct snvme_cid *free, uint32_t n)
{
	q->free = free;
	q->inflight -= n;
}

/*
 * Reap up to @max, without looking further. -EPROTO, or how many. What few completions need is kept out of
 * the loop: most are of the queue that the one before was of.
 */
static __attribute__((noinline)) int reap(struct snvme_cq *cq, struct snvme_completion *out, unsigned int max)
{
	struct snvme_completion *first = out;
	uint32_t head = cq->ring.head, entries = cq->ring.entries;
	uint32_t old = cq->ring.phase ? 0 : SNV_CQE_DW3_P;	/* the phase tag of an entry seen before */
	struct snvme_queue *from = cq->queues;
	struct snvme_cid *free = from->free;
	struct snvme_completion *since = out;	/* the first that is of @from */
	bool wrong = false, wrap;

	do {
		uint32_t row = max < entries - head ? max : entries - head;
		const struct snv_cqe *cqe = cq->ring.ring + head, *end = cqe + row;

		for (; cqe < end; cqe++) {
			uint32_t dw3 = snv_cqe_load_dw3(&cqe->dw3) ^ old, wire = dw3 & SNV_CQE_DW3_CID, qid;
			struct snvme_cid *cid;

			if (!(dw3 & SNV_CQE_DW3_P))
				break;
			qid = snv_le32_get(cqe->dw2) >> SNV_CQE_DW2_SQID_SHIFT;
			if (from->qid != qid) {
				struct snvme_queue *q = queue_of(cq, qid);

				if (qid == NO_QUEUE)
					continue;
				if (!q) {
					wrong = true;
					break;
				}
				give_back(from, free, (uint32_t)(out - since));
				from = q;
				free = from->free;
				since = out;
			}
			cid = &from->cid[wire & from->cid_mask];
			if (cid->wire != wire) {
				wrong = true;
				break;
			}
			out->user = cid->user;
			out->queue = from;
			out->status = (int)(dw3 >> SNV_CQE_DW3_STATUS_SHIFT & SNV_STATUS_CODE);
			out->result = snv_le32_get(cqe->dw0);
			out++;
			cid->wire = wire + from->cid_step;
			cid->next = free;
			free = cid;
		}
		max -= row;
		head = (uint32_t)(cqe - cq->ring.ring);
		wrap = head == entries;
		if (wrap) {
			head = 0;
			old ^= SNV_CQE_DW3_P;
		}
	} while (wrap && max);
	/* What came before it stands; the next call meets it again. */
	if (wrong && out == first)
		return -EPROTO;
	give_back(from, free, (uint32_t)(out - since));
	cq->ring.head = head;
	cq->ring.phase = !old;
	snv_cq_release(&cq->ring);
	return (int)(out - first);
}

/* Is there anything to reap? */
static inline bool any(const struct snvme_cq *cq)
{
	uint32_t dw3;

	return snv_cq_peek(&cq->ring, &dw3);
}

/* Reap what there is. @last: if there is nothing, that counts, should the queue be dead. */
static __attribute__((always_inline)) inline int look(struct snvme_queue *q, struct snvme_completion *out,
						      unsigned int max, bool last)
{
	struct snvme_cq *cq = q->cq;
	int n, why = 0;

	/* Somebody else looks, or submits: whoever looks next finds what there is. */
	if (cq->shared && pthread_spin_trylock(&cq->lock))
		return 0;
	n = cq->dead;
	/* Before the ring is looked at: what the controller wrote, it wrote before the queue was dead. */
	if (!n && max && last)
		why = dead(cq->ring.state);
	/* What nobody owns any more is not counted. */
	while (!n && max && any(cq))
		n = reap(cq, out, max);
	if (!n && why) {
		n = why;
		SNV_STORE_RELAXED(&cq->dead, n);
	}
	cq_unlock(cq);
	if (n > 0 && snvme_sleeps(cq->asleep))
		q->ctrl->ops->wake(q->ctrl, cq->qid);
	return n;
}

SNVME_API int snvme_poll(struct snvme_queue *q, struct snvme_completion *out, unsigned int max)
{
	bool (*idle)(struct snvme_ctrl *ctrl) = q->ctrl->ops->idle;
	int n = look(q, out, max, !idle);

	if (n || !idle || !max)
		return n;
	/* Without the lock: it may find that the controller has failed, and reset it. */
	idle(q->ctrl);
	return look(q, out, max, true);
}

/* A wait: turns, looks in vain, at how many the clock is looked at next, and when it is known to have begun. */
struct wait {
	uint32_t turns;
	uint32_t looks;
	uint32_t clock_at;
	uint64_t start;
};

/*
 * Pass the time until the next turn: at first as short as can be, then letting others have this processor,
 * who may have to complete the command; who has waited for long sleeps for a fraction of what he has waited,
 * so that it delays nobody by much and a command that hangs does not keep a processor busy. @looks: of this
 * turn. False: the time is up.
 */
static bool wait_turn(struct wait *w, uint32_t looks, uint64_t timeout)
{
	uint64_t waited;

	/* The clock may cost a system call: not before some time has passed. */
	w->looks += looks;
	if (w->looks < w->clock_at) {
		if (w->start)
			snv_thread_relax(w->turns++);
		else
			snv_cpu_relax();
		return true;
	}
	w->looks = 0;
	w->clock_at = SPINS_PER_CLOCK;
	if (!w->start) {
		w->start = snvme_now();
		return true;
	}
	waited = snvme_now() - w->start;
	if (waited >= timeout)
		return false;
	if (waited >= NAP_AFTER_NS) {
		uint64_t nap = waited / NAP_FRACTION;

		if (nap > timeout - waited)
			nap = timeout - waited;
		if (nap > NAP_MAX_NS)
			nap = NAP_MAX_NS;
		nanosleep(&(struct timespec){ 0, (long)nap }, NULL);
		w->clock_at = SPINS_PER_NAP;
	}
	return true;
}

static __attribute__((always_inline)) inline int wait_any(struct snvme_queue *const *queues, uint32_t count,
							   uint32_t *next, struct snvme_completion *out,
							   unsigned int max, int64_t timeout_ns)
{
	struct wait w = { .clock_at = SPINS_PER_CLOCK };
	uint64_t timeout;

	if (!max || *next >= count)
		return -EINVAL;
	timeout = timeout_ns < 0 ? snvme_timeout(queues[0]->ctrl) : (uint64_t)timeout_ns;
	do {
		for (uint32_t i = 0; i < count; i++) {
			int n = snvme_poll(queues[*next], out, max);

			if (n < 0)
				return n;
			*next = *next + 1 < count ? *next + 1 : 0;
			if (n)
				return n;
		}
	} while (timeout && wait_turn(&w, count, timeout));
	return -ETIMEDOUT;
}

SNVME_API int snvme_wait_any(struct snvme_queue *const *queues, unsigned int count, unsigned int *next,
			     struct snvme_completion *out, unsigned int max, int64_t timeout_ns)
{
	return wait_any(queues, count, next, out, max, timeout_ns);
}

/* The same of one, which is most that it is called for: without what many need. */
SNVME_API int snvme_wait(struct snvme_queue *q, struct snvme_completion *out, unsigned int max,
			 int64_t timeout_ns)
{
	uint32_t next = 0;

	return wait_any(&q, 1, &next, out, max, timeout_ns);
}
