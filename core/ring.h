/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The host end of a submission and a completion queue: NVMe Base 2.0 section 3.3.1 and 4.1-4.2.
 *
 * Submission: any number of threads. Each reserves consecutive slots with one compare-and-swap,
 * fills its own, and publishes in the order of reservation with one doorbell store for all of them.
 * Completion: one thread at a time; whoever shares a CQ brings a lock of his own. The structures
 * hold plain pointers and no functions, so that host and GPU can run the same queue.
 */
#ifndef SNV_RING_H
#define SNV_RING_H

#include "hal.h"
#include <snvme/ioctl.h>
#include <snvme/nvme.h>

/**
 * struct snv_db - one doorbell
 * @mmio: the register
 * @shadow: our entry of the shadow doorbell page, or NULL: the controller has none
 * @eventidx: our entry of the EventIdx page, or NULL
 */
struct snv_db {
	__u32 *mmio;
	__u32 *shadow;
	__u32 *eventidx;
};

/**
 * struct snv_sq - a submission queue
 * @ring: the entries
 * @entries: how many; any number from 2 to 65,536
 * @span: positions run from 0 to span - 1, a multiple of @entries near 2^31, so that a position
 *	that comes back after a full turn of the ring is still another position (no ABA)
 * @state: the queue's state word, SNVME_STATE_*
 * @db: the tail doorbell
 * @reserved: next position to hand out; changed by compare-and-swap
 * @published: positions before it are with the controller; changed by the producer whose turn it is
 * @head: positions before it were fetched by the controller; changed by the reaper
 */
struct snv_sq {
	struct snv_sqe *ring;
	__u32 entries;
	__u32 span;
	const __u32 *state;
	struct snv_db db;
	__u32 reserved;
	__u32 published;
	__u32 head;
	__u32 pad;
};

/**
 * struct snv_cq - a completion queue
 * @ring: the entries, all zero when the controller learned of it
 * @entries: how many; any number from 2 to 65,536
 * @head: next slot to look at
 * @rung: head as the controller last heard it
 * @phase: the phase tag that a new entry carries in this turn of the ring, 0 or 1
 * @state: the queue's state word, SNVME_STATE_*
 * @db: the head doorbell
 */
struct snv_cq {
	struct snv_cqe *ring;
	__u32 entries;
	__u32 head;
	__u32 rung;
	__u32 phase;
	const __u32 *state;
	struct snv_db db;
};

SNV_FN void snv_sq_init(struct snv_sq *sq, struct snv_sqe *ring, __u32 entries,
			const __u32 *state, struct snv_db db)
{
	sq->ring = ring;
	sq->entries = entries;
	sq->span = (1U << 31) / entries * entries;
	sq->state = state;
	sq->db = db;
	sq->reserved = 0;
	sq->published = 0;
	sq->head = 0;
	sq->pad = 0;
}

SNV_FN void snv_cq_init(struct snv_cq *cq, struct snv_cqe *ring, __u32 entries,
			const __u32 *state, struct snv_db db)
{
	cq->ring = ring;
	cq->entries = entries;
	cq->head = 0;
	cq->rung = 0;
	cq->phase = 1;
	cq->state = state;
	cq->db = db;
}

/**
 * snv_db_ring() - tell the controller that an index moved from @old to @val
 * @db: the doorbell
 * @entries: size of its ring
 * @old: slot that was told last
 * @val: slot to tell now
 *
 * With shadow doorbells the register is written only when the controller asked to be told: when
 * its EventIdx lies in [old, val) around the ring. An EventIdx outside the ring counts as asking.
 */
SNV_FN void snv_db_ring(const struct snv_db *db, __u32 entries, __u32 old, __u32 val)
{
	if (db->shadow) {
		__u32 ei = snv_shadow_exchange(db->shadow, db->eventidx, val);
		__u32 asked = ei >= old ? ei - old : ei + entries - old;
		__u32 moved = val >= old ? val - old : val + entries - old;

		if (ei < entries && asked >= moved)
			return;
	}
	snv_doorbell_write(db->mmio, val);
}

SNV_FN __u32 snv_sq_after(const struct snv_sq *sq, __u32 pos, __u32 n)
{
	pos += n;
	return pos >= sq->span ? pos - sq->span : pos;
}

/**
 * snv_sq_reserve() - take @n consecutive slots
 * @sq: the queue
 * @n: how many, 1 .. entries - 1
 * @pos: out: the first one's position
 * Return: false when the ring has no room: reap, and try again
 *
 * The acquire load of head pairs with the release store in snv_sq_fetched(): the controller has
 * fetched what a reserved slot held before.
 */
SNV_FN bool snv_sq_reserve(struct snv_sq *sq, __u32 n, __u32 *pos)
{
	__u32 tail, head, used;

	do {
		/*
		 * Acquire on both, tail first: a head older than the tail can only look fuller than
		 * it is, and the swap fails if the tail moved on meanwhile.
		 */
		tail = SNV_LOAD_ACQUIRE(&sq->reserved);
		head = SNV_LOAD_ACQUIRE(&sq->head);
		used = tail >= head ? tail - head : tail + sq->span - head;
		if (used >= sq->entries) {
			/* head ran past the tail read before it: read both again. */
			if (SNV_LOAD_RELAXED(&sq->reserved) != tail)
				continue;
			return false;
		}
		if (n > sq->entries - 1 - used)
			return false;
		*pos = tail;
		if (snv_cas32(&sq->reserved, tail, snv_sq_after(sq, tail, n)))
			return true;
	} while (1);
}

/* The entry at a reserved position; the caller owns it until it publishes. */
SNV_FN struct snv_sqe *snv_sq_slot(const struct snv_sq *sq, __u32 pos)
{
	return &sq->ring[pos % sq->entries];
}

/**
 * snv_sq_publish() - hand @n filled slots to the controller
 * @sq: the queue
 * @pos: as snv_sq_reserve() gave it
 * @n: likewise
 * Return: false when the queue died while earlier producers had not published
 *
 * The acquire load of published pairs with the release store of the producer before: its entries
 * are visible before our doorbell covers them.
 */
SNV_FN bool snv_sq_publish(struct snv_sq *sq, __u32 pos, __u32 n)
{
	__u32 end = snv_sq_after(sq, pos, n);
	__u32 turn = 0;

	while (SNV_LOAD_ACQUIRE(&sq->published) != pos) {
		if (SNV_LOAD_RELAXED(sq->state) != SNVME_STATE_LIVE)
			return false;
		snv_thread_relax(turn++);
	}
	snv_db_ring(&sq->db, sq->entries, pos % sq->entries, end % sq->entries);
	SNV_STORE_RELEASE(&sq->published, end);
	return true;
}

/**
 * snv_sq_fetched() - note the SQ head that a completion carried
 * @sq: the queue
 * @sqhd: SQHD of the entry, reaped in order
 * Return: false when the controller claims to have fetched what was never handed out
 */
SNV_FN bool snv_sq_fetched(struct snv_sq *sq, __u32 sqhd)
{
	__u32 head = SNV_LOAD_RELAXED(&sq->head);	/* only the reaper writes it */
	__u32 slot = head % sq->entries;
	__u32 n = sqhd >= slot ? sqhd - slot : sqhd + sq->entries - slot;
	__u32 tail = SNV_LOAD_RELAXED(&sq->reserved);
	__u32 used = tail >= head ? tail - head : tail + sq->span - head;

	if (sqhd >= sq->entries || n > used)
		return false;
	/* Pairs with the acquire in snv_sq_reserve(). */
	SNV_STORE_RELEASE(&sq->head, snv_sq_after(sq, head, n));
	return true;
}

/**
 * snv_cq_peek() - the next completion, if there is one
 * @cq: the queue
 * @dw3: out: its last dword, see SNV_CQE_DW3_*
 * Return: the entry, valid until snv_cq_advance(), or NULL
 */
SNV_FN const struct snv_cqe *snv_cq_peek(const struct snv_cq *cq, __u32 *dw3)
{
	const struct snv_cqe *cqe = &cq->ring[cq->head];

	*dw3 = snv_cqe_load_dw3(&cqe->dw3);
	return ((*dw3 & SNV_CQE_DW3_P) != 0) == cq->phase ? cqe : NULL;
}

/* Step over the entry that snv_cq_peek() returned. */
SNV_FN void snv_cq_advance(struct snv_cq *cq)
{
	if (++cq->head == cq->entries) {
		cq->head = 0;
		cq->phase ^= 1;
	}
}

/* Give the entries stepped over back to the controller, with one doorbell for all. */
SNV_FN void snv_cq_release(struct snv_cq *cq)
{
	if (cq->head == cq->rung)
		return;
	snv_db_ring(&cq->db, cq->entries, cq->rung, cq->head);
	cq->rung = cq->head;
}

#endif /* SNV_RING_H */
