// SPDX-License-Identifier: MIT
/*
 * Queues: making them, submitting, reaping. NVMe Base 2.0 sections 3.3 and 4.
 *
 * A command identifier is a place in cid[]; a queue has as many as its depth, and the ring one entry
 * more, so that it has room whenever an identifier is free.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib.h"

#define DEFAULT_DEPTH		127
#define DEFAULT_TIMEOUT_NS	(30 * 1000000000LL)
#define SPINS_PER_CLOCK		64

static size_t round_up(size_t length, size_t unit)
{
	return (length + unit - 1) & ~(unit - 1);
}

int snvme_dead(uint32_t state)
{
	switch (state) {
	case SNVME_STATE_LIVE:
		return 0;
	case SNVME_STATE_RESET:
		return -ECONNRESET;
	default:
		return -ENODEV;
	}
}

static int cq_create(struct snvme_ctrl *ctrl, uint32_t entries, struct snvme_cq **out)
{
	struct snvme_queue_create arg = { .type = SNVME_QUEUE_CQ, .entries = entries };
	struct snvme_cq *cq = calloc(1, sizeof(*cq));
	const uint32_t *state;
	struct snv_db db;
	void *ring;
	int ret;

	if (!cq)
		return -ENOMEM;
	cq->bytes = round_up(entries * sizeof(struct snv_cqe), ctrl->fixed.page_size);
	cq->room = entries - 1;
	ret = ctrl->ops->ring_alloc(ctrl, cq->bytes, &ring, &cq->mem);
	if (ret)
		goto out_free;
	arg.mem = cq->mem;
	ret = ctrl->ops->queue_create(ctrl, &arg, &db, &state);
	if (ret)
		goto out_ring;
	cq->handle = arg.handle;
	snv_cq_init(&cq->ring, ring, entries, state, db);
	*out = cq;
	return 0;
out_ring:
	ctrl->ops->ring_free(ctrl, cq->bytes, ring, cq->mem);
out_free:
	free(cq);
	return ret;
}

static int cq_destroy(struct snvme_ctrl *ctrl, struct snvme_cq *cq)
{
	int ret = ctrl->ops->queue_destroy(ctrl, cq->handle);

	if (ret && ret != -ENOENT)
		return ret;
	ctrl->ops->ring_free(ctrl, cq->bytes, cq->ring.ring, cq->mem);
	free(cq);
	return 0;
}

static int sq_create(struct snvme_queue *q)
{
	struct snvme_ctrl *ctrl = q->ctrl;
	struct snvme_queue_create arg = {
		.type = SNVME_QUEUE_SQ, .entries = q->depth + 1, .cq = q->cq->handle,
	};
	const uint32_t *state;
	struct snv_db db;
	void *ring;
	int ret;

	q->ring_bytes = round_up(arg.entries * sizeof(struct snv_sqe), ctrl->fixed.page_size);
	ret = ctrl->ops->ring_alloc(ctrl, q->ring_bytes, &ring, &q->ring_mem);
	if (ret)
		return ret;
	arg.mem = q->ring_mem;
	ret = ctrl->ops->queue_create(ctrl, &arg, &db, &state);
	if (ret) {
		ctrl->ops->ring_free(ctrl, q->ring_bytes, ring, q->ring_mem);
		return ret;
	}
	q->handle = arg.handle;
	q->qid = (uint16_t)arg.qid;
	snv_sq_init(&q->sq, ring, arg.entries, state, db);
	return 0;
}

/* Command identifiers, and a PRP list page for each. */
static int cids_create(struct snvme_queue *q)
{
	size_t page = q->ctrl->fixed.page_size;
	int ret;

	q->cid = calloc(q->depth, sizeof(*q->cid));
	q->list = calloc(q->depth, sizeof(*q->list));
	if (!q->cid || !q->list)
		return -ENOMEM;
	ret = snvme_mem_alloc(q->ctrl, q->depth * page, &q->lists);
	if (ret)
		return ret;
	/* A list page is one page of the controller's: that has to be contiguous. */
	if (q->ctrl->page_shift > q->lists->map.page_shift)
		return -EOPNOTSUPP;
	for (uint32_t i = 0; i < q->depth; i++) {
		q->cid[i].next = (uint16_t)(i + 1);
		q->list[i].va = (__le64 *)(q->lists->base + i * page);
		q->list[i].dma = snv_dma_addr(&q->lists->map, i * page);
	}
	return 0;
}

static void cids_destroy(struct snvme_queue *q)
{
	snvme_mem_release(q->lists);
	free(q->list);
	free(q->cid);
}

static int queue_link(struct snvme_queue *q, const struct snvme_queue_opts *opts)
{
	struct snvme_ctrl *ctrl = q->ctrl;
	uint32_t entries = opts->cq_entries ? opts->cq_entries : q->depth + 1;
	int ret;

	if (opts->share_cq) {
		q->cq = opts->share_cq->cq;
		if (q->cq->room < q->depth)
			return -EINVAL;
	} else {
		if (entries < q->depth + 1 || entries > ctrl->fixed.max_entries)
			return -EINVAL;
		ret = cq_create(ctrl, entries, &q->cq);
		if (ret)
			return ret;
		q->owns_cq = true;
	}
	ret = sq_create(q);
	if (ret) {
		if (q->owns_cq)
			cq_destroy(ctrl, q->cq);
		return ret;
	}
	q->cq->room -= q->depth;
	q->next_on_cq = q->cq->queues;
	q->cq->queues = q;
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
	if (opts->size != sizeof(*opts) || opts->flags ||
	    (opts->share_cq && (opts->cq_entries || opts->share_cq->ctrl != ctrl)))
		return -EINVAL;
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->ctrl = ctrl;
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
		cids_destroy(q);
		free(q);
		return ret;
	}
	*out = q;
	return 0;
}

SNVME_API int snvme_queue_destroy(struct snvme_queue *q)
{
	struct snvme_ctrl *ctrl;
	struct snvme_queue **at;

	if (!q)
		return 0;
	ctrl = q->ctrl;
	pthread_mutex_lock(&ctrl->lock);
	if (q->owns_cq && (q->cq->queues != q || q->next_on_cq)) {
		pthread_mutex_unlock(&ctrl->lock);
		return -EBUSY;
	}
	/*
	 * Should the controller refuse, the kernel keeps the rings' pages from being used again until
	 * it has been disabled; nothing more can be done here.
	 */
	ctrl->ops->queue_destroy(ctrl, q->handle);
	ctrl->ops->ring_free(ctrl, q->ring_bytes, q->sq.ring, q->ring_mem);
	for (at = &q->cq->queues; *at != q; at = &(*at)->next_on_cq)
		;
	*at = q->next_on_cq;
	q->cq->room += q->depth;
	if (q->owns_cq)
		cq_destroy(ctrl, q->cq);
	for (at = &ctrl->queues; *at != q; at = &(*at)->next)
		;
	*at = q->next;
	pthread_mutex_unlock(&ctrl->lock);
	cids_destroy(q);
	free(q);
	return 0;
}

SNVME_API uint32_t snvme_queue_id(const struct snvme_queue *q)
{
	return q->qid;
}

SNVME_API uint32_t snvme_queue_depth(const struct snvme_queue *q)
{
	return q->depth;
}

/* Fill in one entry. 0, or -EINVAL: then nothing has changed but the entry. */
static int fill(struct snvme_queue *q, uint32_t cid, const struct snvme_io *io, struct snv_sqe *sqe)
{
	const struct snvme_mem *mem = io->mem;
	int ret;

	sqe->opcode = io->opcode;
	sqe->flags = 0;
	sqe->cid = snv_le16((__u16)cid);
	sqe->nsid = snv_le32(io->nsid);
	sqe->cdw2 = snv_le32(0);
	sqe->cdw3 = snv_le32(0);
	sqe->mptr = snv_le64(0);
	sqe->cdw13 = snv_le32(0);
	sqe->cdw14 = snv_le32(0);
	sqe->cdw15 = snv_le32(0);
	if (io->opcode == SNVME_OP_FLUSH) {
		if (io->length || io->nlb || io->flags)
			return -EINVAL;
		sqe->prp1 = snv_le64(0);
		sqe->prp2 = snv_le64(0);
		sqe->cdw10 = snv_le32(0);
		sqe->cdw11 = snv_le32(0);
		sqe->cdw12 = snv_le32(0);
		return 0;
	}
	if ((io->opcode != SNVME_OP_READ && io->opcode != SNVME_OP_WRITE) ||
	    io->flags & ~SNVME_IO_FUA || !io->nlb || io->nlb > 65536 || !mem ||
	    mem->ctrl != q->ctrl || io->length > q->ctrl->fixed.max_transfer ||
	    io->offset > mem->length || io->length > mem->length - io->offset)
		return -EINVAL;
	ret = snv_prp_build(&mem->map, (__u64)((char *)mem->addr - mem->base) + io->offset,
			    io->length, q->ctrl->page_shift, &q->list[cid], 1, &sqe->prp1,
			    &sqe->prp2);
	if (ret < 0)
		return -EINVAL;
	sqe->cdw10 = snv_le32((__u32)io->slba);
	sqe->cdw11 = snv_le32((__u32)(io->slba >> 32));
	sqe->cdw12 = snv_le32((io->nlb - 1) | (io->flags & SNVME_IO_FUA ? SNV_RW_CDW12_FUA : 0));
	return 0;
}

SNVME_API int snvme_submit(struct snvme_queue *q, const struct snvme_io *io, unsigned int n)
{
	uint32_t pos = q->sq.reserved, done;
	int ret = 0;

	/*
	 * There is room for as many entries as identifiers are free: an entry between the ring's head
	 * and tail is of a command that has not completed. And there is one thread: entries behind the
	 * tail are filled first and reserved when it is known how many are good.
	 */
	if (n > q->depth - q->inflight)
		n = q->depth - q->inflight;
	for (done = 0; done < n; done++) {
		struct snvme_cid *cid = &q->cid[q->free];

		ret = fill(q, q->free, &io[done],
			   snv_sq_slot(&q->sq, snv_sq_after(&q->sq, pos, done)));
		if (ret)
			break;
		cid->user = io[done].user;
		cid->busy = true;
		q->free = cid->next;
	}
	if (!done) {
		int dead = snvme_dead(SNV_LOAD_RELAXED(q->sq.state));

		return dead ? dead : ret ? ret : -EAGAIN;
	}
	q->inflight += done;
	if (!snv_sq_reserve(&q->sq, done, &pos) || !snv_sq_publish(&q->sq, pos, done))
		return snvme_dead(SNV_LOAD_RELAXED(q->sq.state));
	return (int)done;
}

static struct snvme_queue *queue_of(struct snvme_cq *cq, uint32_t qid)
{
	struct snvme_queue *q = cq->queues;

	while (q && q->qid != qid)
		q = q->next_on_cq;
	return q;
}

/* Take one completion apart. False when it cannot be one of ours. */
static bool reap(struct snvme_cq *cq, const struct snv_cqe *cqe, uint32_t dw3,
		 struct snvme_completion *out)
{
	uint32_t dw2 = snv_le32_get(cqe->dw2), id = dw3 & SNV_CQE_DW3_CID;
	struct snvme_queue *q = queue_of(cq, dw2 >> SNV_CQE_DW2_SQID_SHIFT);

	if (!q || id >= q->depth || !q->cid[id].busy ||
	    !snv_sq_fetched(&q->sq, dw2 & SNV_CQE_DW2_SQHD))
		return false;
	out->user = q->cid[id].user;
	out->queue = q;
	out->status = (int)(dw3 >> SNV_CQE_DW3_STATUS_SHIFT & SNV_STATUS_CODE);
	out->result = snv_le32_get(cqe->dw0);
	q->cid[id].busy = false;
	q->cid[id].next = (uint16_t)q->free;
	q->free = id;
	q->inflight--;
	return true;
}

SNVME_API int snvme_poll(struct snvme_queue *q, struct snvme_completion *out, unsigned int max)
{
	struct snvme_cq *cq = q->cq;
	const struct snv_cqe *cqe;
	unsigned int n = 0;
	uint32_t dw3;
	int ret = 0;

	while (n < max && (cqe = snv_cq_peek(&cq->ring, &dw3))) {
		if (!reap(cq, cqe, dw3, &out[n])) {
			/* What came before it stands; the next call meets it again. */
			ret = -EPROTO;
			break;
		}
		n++;
		snv_cq_advance(&cq->ring);
	}
	if (n) {
		snv_cq_release(&cq->ring);
		return (int)n;
	}
	return ret ? ret : snvme_dead(SNV_LOAD_RELAXED(q->sq.state));
}

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

SNVME_API int snvme_wait(struct snvme_queue *q, struct snvme_completion *out, unsigned int max,
			 int64_t timeout_ns)
{
	int64_t deadline = 0;

	if (!max)
		return -EINVAL;
	for (unsigned int spins = 0;; spins++) {
		int n = snvme_poll(q, out, max);

		if (n)
			return n;
		if (spins % SPINS_PER_CLOCK == 0) {
			int64_t t = now();

			if (!spins)
				deadline = t + (timeout_ns < 0 ? DEFAULT_TIMEOUT_NS : timeout_ns);
			if (t >= deadline)
				return -ETIMEDOUT;
		}
		snv_cpu_relax();
	}
}
