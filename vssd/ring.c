// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Queues made and freed (Base 3.3, 5.4, 5.5): their rings in host memory, their doorbells and shadow
 * doorbells, their place in arbitration. Whether they may exist was asked before, in admin.c.
 */
#include "core.h"

static void ring_free(struct vssd *v, struct vssd_ring *ring)
{
	vssd_free(v, ring->page, ring->pages * sizeof(*ring->page));
}

static bool prp_list_entry(struct vssd_ctrl *ctrl, uint64_t addr, uint64_t *out)
{
	size_t length = sizeof(__le64);
	const __le64 *entry = vssd_translate(ctrl, addr, &length);

	if (!entry || length < sizeof(*entry))
		return false;
	*out = snv_le64_get(*entry);
	return true;
}

/*
 * Pointers to the pages of a ring of @entries of 1 << @entry_shift bytes: at @addr, or, if it is not
 * @contiguous, in the pages that the PRP list at @addr tells (Base 5.4, 5.5: PC).
 */
static int ring_map(struct vssd_ctrl *ctrl, struct vssd_ring *ring, uint64_t addr,
		    uint32_t entries, uint32_t entry_shift, bool contiguous)
{
	uint64_t page = 1ULL << ctrl->page_shift;
	uint64_t bytes = (uint64_t)entries << entry_shift;
	size_t length;

	ring->shift = ctrl->page_shift - entry_shift;
	ring->page_size = page;
	ring->entries = entries;
	ring->pages = (uint32_t)((bytes + page - 1) >> ctrl->page_shift);
	ring->page = vssd_alloc(ctrl->v, ring->pages * sizeof(*ring->page));
	if (!ring->page)
		return SNV_SC_INTERNAL;
	if (addr & (page - 1))
		goto bad_offset;
	for (uint32_t i = 0; i < ring->pages; i++, addr += contiguous ? page : sizeof(__le64)) {
		uint64_t at = addr;

		/* The last entry of a list page leads to the next if more are to come. */
		if (!contiguous && (addr & (page - 1)) == page - sizeof(__le64) &&
		    i + 1 < ring->pages) {
			if (!prp_list_entry(ctrl, addr, &addr))
				goto bad_address;
			if (addr & (page - 1))
				goto bad_offset;
		}
		if (!contiguous && !prp_list_entry(ctrl, addr, &at))
			goto bad_address;
		if (at & (page - 1))
			goto bad_offset;
		length = bytes < page ? bytes : page;
		ring->page[i] = vssd_translate(ctrl, at, &length);
		if (!ring->page[i] || length < (bytes < page ? bytes : page))
			goto bad_address;
		bytes -= length;
	}
	return 0;
bad_offset:
	ring_free(ctrl->v, ring);
	return SNV_SC_PRP_INVALID_OFFSET;
bad_address:
	ring_free(ctrl->v, ring);
	return SNV_SC_DATA_XFER_ERROR;
}

bool vssd_ring_in(const struct vssd_ring *ring, const void *va, size_t length)
{
	for (uint32_t i = 0; i < ring->pages; i++)
		if (ring->page[i] + ring->page_size > (const char *)va &&
		    ring->page[i] < (const char *)va + length)
			return true;
	return false;
}

/* Doorbell @index: 2 * qid for a tail, 2 * qid + 1 for a head (PCIe 3.1.2). */
static uint32_t *doorbell(struct vssd_ctrl *ctrl, char *base, uint32_t index)
{
	return (uint32_t *)(base + ((size_t)index << (2 + ctrl->config.dstrd)));
}

/* The shadow doorbell belongs to I/O queues only (Base 5.8). */
static uint32_t *shadow(struct vssd_ctrl *ctrl, char *page, uint32_t index)
{
	size_t offset = (size_t)index << (2 + ctrl->config.dstrd);

	if (!page || index < 2 || offset >= (1UL << ctrl->page_shift))
		return NULL;
	return (uint32_t *)(page + offset);
}

/* What another queue of this identifier left there is no doorbell of ours. */
static void shadow_init(uint32_t *entry, uint32_t *eventidx, uint32_t value)
{
	if (!entry || !eventidx)
		return;
	SNV_STORE_RELAXED(entry, (SNV_FORCE uint32_t)snv_le32(value));
	SNV_STORE_RELAXED(eventidx, (SNV_FORCE uint32_t)snv_le32(value));
}

void vssd_dbbuf_set(struct vssd_ctrl *ctrl, char *shadows, char *eventidx)
{
	ctrl->shadow = shadows;
	ctrl->eventidx = eventidx;
	for (uint32_t qid = 1; qid <= VSSD_MAX_QUEUES; qid++) {
		if (ctrl->sq[qid]) {
			ctrl->sq[qid]->shadow = shadow(ctrl, shadows, 2 * qid);
			ctrl->sq[qid]->eventidx = shadow(ctrl, eventidx, 2 * qid);
			shadow_init(ctrl->sq[qid]->shadow, ctrl->sq[qid]->eventidx,
				    ctrl->sq[qid]->tail);
		}
		if (ctrl->cq[qid]) {
			ctrl->cq[qid]->shadow = shadow(ctrl, shadows, 2 * qid + 1);
			ctrl->cq[qid]->eventidx = shadow(ctrl, eventidx, 2 * qid + 1);
			shadow_init(ctrl->cq[qid]->shadow, ctrl->cq[qid]->eventidx,
				    ctrl->cq[qid]->head);
		}
	}
}

int vssd_cq_create(struct vssd_ctrl *ctrl, uint16_t qid, uint32_t entries, uint64_t addr,
		   bool contiguous, bool ien, uint16_t vector)
{
	struct vssd *v = ctrl->v;
	struct vssd_cq *cq = vssd_alloc(v, sizeof(*cq));
	int ret;

	if (!cq)
		return SNV_SC_INTERNAL;
	ret = qid && ctrl->host.serve ? (contiguous ? 0 : SNV_SC_INVALID_FIELD) :
	      ring_map(ctrl, &cq->ring, addr, entries, 4, contiguous);
	if (ret) {
		vssd_free(v, cq, sizeof(*cq));
		return ret;
	}
	cq->addr = addr;
	cq->ctrl = ctrl;
	cq->worker = v->worker[qid % v->workers];
	cq->db = doorbell(ctrl, ctrl->host.doorbells, 2 * qid + 1);
	SNV_STORE_RELAXED(cq->db, 0);
	cq->shadow = shadow(ctrl, ctrl->shadow, 2 * qid + 1);
	cq->eventidx = shadow(ctrl, ctrl->eventidx, 2 * qid + 1);
	shadow_init(cq->shadow, cq->eventidx, 0);
	cq->entries = entries;
	cq->bad = VSSD_NO_VALUE;
	cq->qid = qid;
	cq->phase = 1;
	cq->vector = vector;
	cq->ien = ien;
	cq->irq_due = VSSD_NEVER;
	ctrl->cq[qid] = cq;
	if (qid)
		ctrl->n_cq++;
	return 0;
}

/* A queue whose commands the home carries out: 0 or a status. */
static int serve_elsewhere(struct vssd_ctrl *ctrl, uint16_t qid, uint32_t entries, uint64_t addr,
			   struct vssd_cq *cq)
{
	const struct vssd_served queue = {
		.sqid = qid,
		.cqid = cq->qid,
		.sq_entries = entries,
		.cq_entries = cq->entries,
		.sq_addr = addr,
		.cq_addr = cq->addr,
	};

	if (addr & ((1ULL << ctrl->page_shift) - 1))
		return SNV_SC_PRP_INVALID_OFFSET;
	return !cq->sqs && ctrl->host.serve(ctrl->host.ctx, &queue) ? 0 : SNV_SC_INTERNAL;
}

int vssd_sq_create(struct vssd_ctrl *ctrl, uint16_t qid, uint32_t entries, uint64_t addr,
		   bool contiguous, uint8_t prio, struct vssd_cq *cq)
{
	struct vssd *v = ctrl->v;
	struct vssd_sq *sq = vssd_alloc(v, sizeof(*sq));
	int ret;

	if (!sq)
		return SNV_SC_INTERNAL;
	if (qid && ctrl->host.serve)
		ret = contiguous ? serve_elsewhere(ctrl, qid, entries, addr, cq) :
				   SNV_SC_INVALID_FIELD;
	else
		ret = ring_map(ctrl, &sq->ring, addr, entries, 6, contiguous);
	if (ret) {
		vssd_free(v, sq, sizeof(*sq));
		return ret;
	}
	sq->ctrl = ctrl;
	sq->worker = cq->worker;
	sq->cq = cq;
	sq->db = doorbell(ctrl, ctrl->host.doorbells, 2 * qid);
	SNV_STORE_RELAXED(sq->db, 0);
	sq->shadow = shadow(ctrl, ctrl->shadow, 2 * qid);
	sq->eventidx = shadow(ctrl, ctrl->eventidx, 2 * qid);
	shadow_init(sq->shadow, sq->eventidx, 0);
	sq->entries = entries;
	sq->bad = VSSD_NO_VALUE;
	sq->qid = qid;
	sq->prio = prio;
	cq->sqs++;
	ctrl->sq[qid] = sq;
	if (qid)
		ctrl->n_sq++;
	if (qid && !ctrl->host.serve) {
		struct vssd_sq **turn = &ctrl->arb[sq->worker->index].class[prio];

		if (*turn) {
			sq->next = (*turn)->next;
			(*turn)->next = sq;
		} else {
			sq->next = sq;
			*turn = sq;
		}
	}
	return 0;
}

void vssd_sq_free(struct vssd_sq *sq)
{
	struct vssd_ctrl *ctrl = sq->ctrl;

	if (sq->qid && ctrl->host.serve) {
		ctrl->host.unserve(ctrl->host.ctx, sq->qid);
	} else if (sq->qid) {
		struct vssd_sq **turn = &ctrl->arb[sq->worker->index].class[sq->prio];
		struct vssd_sq *before = sq;

		while (before->next != sq)
			before = before->next;
		before->next = sq->next;
		if (*turn == sq)
			*turn = sq->next == sq ? NULL : sq->next;
	}
	if (sq->qid)
		ctrl->n_sq--;
	sq->cq->sqs--;
	ctrl->sq[sq->qid] = NULL;
	ring_free(ctrl->v, &sq->ring);
	vssd_free(ctrl->v, sq, sizeof(*sq));
}

void vssd_cq_free(struct vssd_cq *cq)
{
	struct vssd_ctrl *ctrl = cq->ctrl;

	for (struct vssd_cq **at = &cq->worker->irq; *at; at = &(*at)->irq_next)
		if (*at == cq) {
			*at = cq->irq_next;
			break;
		}
	if (cq->qid)
		ctrl->n_cq--;
	ctrl->cq[cq->qid] = NULL;
	ring_free(ctrl->v, &cq->ring);
	vssd_free(ctrl->v, cq, sizeof(*cq));
}
