/* SPDX-License-Identifier: MIT */
/*
 * How commands get from threads to a ring, and how completions get back.
 *
 * Identifiers. Whoever holds one of the depth identifiers has room in both rings, which have one entry
 * more: at most depth commands are not reaped. The entry at position p - entries was fetched: all
 * positions from there to p are entries commands, two of which had the same identifier; the earlier of
 * these completed, so was fetched, and entries are fetched in order. That this is known here follows from
 * the chain of atomics on reserved, each acquire and release.
 *
 * Publishing. Who has written its entries says so in ready, and adds their number to what is pending. Who
 * found 0 there is the publisher until it has taken away, by ringing for that many, all that was
 * added: everyone else goes on at once. It rings for entries in the order of positions, and waits for
 * one that was reserved and is still being written: its thread waits for nobody.
 *
 * Reaping. Whoever waits looks at the completions from the head on, and takes those that are there by
 * moving the head over them with one compare-and-swap. It has seen by then all it needs of them, so that
 * the next warp takes the next ones while this one still hands its own out: no lock, nobody waits.
 *
 * Who is called from outside takes a copy of the queue's description, which lands in registers: each
 * acquire empties the L1 cache, and every look at the description after it would be another one at L2.
 */
#ifndef SNVME_GPU_QUEUE_IMPL_H
#define SNVME_GPU_QUEUE_IMPL_H

#include <snvme/ioctl.h>
#include <snvme/nvme.h>

#include "types.h"
#include "warp.h"

#define SNVME_GPU_TRIES		4	/* places for each lane where to look for a free identifier */
#define SNVME_GPU_EACH		4	/* entries that a lane looks at at once */
#define SNVME_GPU_TURNS		16	/* of reaping, before a warp looks after its own commands again */
#define SNVME_GPU_YIELD		32	/* turns of a wait between pauses */
#define SNVME_GPU_LOOK		1024	/* turns of a wait between looks at clock and state */

/* ---- identifiers ------------------------------------------------------------------------------ */

SNVME_GPU_FN __u32 snvme_gpu_slot(__u64 pos, __u32 entries)
{
	return entries & (entries - 1) ? (__u32)(pos % entries) : (__u32)pos & (entries - 1);
}

/* What the controller knows the command by. FFFFh is none (NVMe Base 2.0, figure 86). */
SNVME_GPU_FN __u32 snvme_gpu_wire(const struct snvme_gpu_queue *q, __u32 cid, __u32 use)
{
	return (cid | use << q->cid_bits) & 0xffff;
}

/*
 * Take the identifier at @place, if it is free. The acquire is of what the last user did with the
 * identifier's list page.
 */
SNVME_GPU_FN bool snvme_gpu_take(const struct snvme_gpu_queue *q, __u32 place,
				 struct snvme_gpu_token *token)
{
	__u32 old = snv_peer_load(&q->word[place]);
	__u32 use = (old >> SNVME_GPU_USE_SHIFT) + 1;

	if ((old & SNVME_GPU_STATE) != SNVME_GPU_FREE)
		return false;
	if (snvme_gpu_wire(q, place, use) == 0xffff)
		use++;
	use &= (1U << (32 - SNVME_GPU_USE_SHIFT)) - 1;
	token->cid = place;
	token->use = use;
	return snv_peer_cas_acquire(&q->word[place], old, use << SNVME_GPU_USE_SHIFT | SNVME_GPU_BUSY);
}

/*
 * An identifier for each lane that wants one: the one that is its own if threads are no more than
 * identifiers, else the first that is free of about @places, which hop all over the queue. Never wait for
 * one: whoever has it may be slow, and those who wait for us would be slow, too.
 */
SNVME_GPU_FN bool snvme_gpu_find(const struct snvme_gpu_queue *q, __u32 mask, bool want, __u32 places,
				 struct snvme_gpu_token *token)
{
	bool has = want && snvme_gpu_take(q, snvme_warp_place(q->spread) % q->depth, token);
	__u32 seek, n, first = 0;

	for (__u32 looked = 0; looked < places; looked += n) {
		seek = snvme_warp_ballot(mask, want && !has);
		n = snvme_warp_count(seek);
		if (!seek)
			break;
		if (want && !has && !snvme_warp_rank(seek))
			first = snv_peer_add(&q->live->next_cid, n);
		first = snvme_warp_from(mask, seek, first);
		if (want && !has)
			has = snvme_gpu_take(q, (first + snvme_warp_rank(seek)) % q->depth * q->hop % q->depth,
					     token);
	}
	snvme_warp_ballot(mask, has);
	return has;
}

SNVME_GPU_FN void snvme_gpu_give(const struct snvme_gpu_queue *q, struct snvme_gpu_token token)
{
	snv_peer_store_release(&q->word[token.cid],
			       token.use << SNVME_GPU_USE_SHIFT | SNVME_GPU_FREE);
}

/* 0, or the errno that all waits on @q end with. What the host says is kept where others look. */
SNVME_GPU_FN int snvme_gpu_dead(const struct snvme_gpu_queue *q)
{
	__u32 dead = snv_peer_load(&q->live->dead);

	if (dead)
		return -(int)dead;
	switch (SNV_LOAD_ACQUIRE(q->state)) {
	case SNVME_STATE_LIVE:
		return 0;
	case SNVME_STATE_RESET:
		dead = ECONNRESET;
		break;
	case SNVME_STATE_REVOKED:
		dead = ECONNABORTED;
		break;
	default:
		dead = ENODEV;
	}
	snv_peer_store(&q->live->dead, dead);
	return -(int)dead;
}

/* ---- submission ------------------------------------------------------------------------------- */

/* Whether @io can be said in PRPs, and where its data lie. */
SNVME_GPU_FN bool snvme_gpu_describe(const struct snvme_gpu_queue *q, __u32 cid,
				     const struct snvme_gpu_io *io, struct snv_sqe *sqe)
{
	__u64 length = (__u64)io->nlb << q->lba_shift, page = 1ULL << q->page_shift;
	__u64 dma;

	sqe->prp1 = snv_le64(0);
	sqe->prp2 = snv_le64(0);
	if (io->opcode == SNV_OP_FLUSH)
		return !io->nlb;
	if (io->opcode != SNV_OP_READ && io->opcode != SNV_OP_WRITE)
		return false;
	if (!io->nlb || length > q->max_transfer || io->nlb - 1 > SNV_RW_CDW12_NLB ||
	    io->offset + length < io->offset || io->offset % sizeof(__le32) ||
	    (io->offset + length - 1) >> io->map->page_shift >= io->map->pages)
		return false;
	dma = snv_dma_addr(io->map, io->offset);
	if ((dma & (page - 1)) + length <= page &&
	    (io->offset & ((1ULL << io->map->page_shift) - 1)) + length <=
	    1ULL << io->map->page_shift) {
		sqe->prp1 = snv_le64(dma);
		return true;
	}
	return snv_prp_build(io->map, io->offset, length, q->page_shift,
			     q->lists ? &q->lists[cid] : NULL, q->lists ? 1 : 0, &sqe->prp1,
			     &sqe->prp2) >= 0;
}

SNVME_GPU_FN bool snvme_gpu_fill(const struct snvme_gpu_queue *q, struct snvme_gpu_token token,
				 const struct snvme_gpu_io *io, struct snv_sqe *sqe)
{
	sqe->opcode = (__u8)io->opcode;
	sqe->flags = 0;
	sqe->cid = snv_le16((__u16)snvme_gpu_wire(q, token.cid, token.use));
	sqe->nsid = snv_le32(q->nsid);
	sqe->cdw2 = snv_le32(0);
	sqe->cdw3 = snv_le32(0);
	sqe->mptr = snv_le64(0);
	sqe->cdw10 = snv_le32((__u32)io->slba);
	sqe->cdw11 = snv_le32((__u32)(io->slba >> 32));
	sqe->cdw12 = snv_le32(io->nlb ? (io->nlb - 1) |
					(io->flags & SNVME_GPU_FUA ? SNV_RW_CDW12_FUA : 0) : 0);
	sqe->cdw13 = snv_le32(0);
	sqe->cdw14 = snv_le32(0);
	sqe->cdw15 = snv_le32(0);
	return snvme_gpu_describe(q, token.cid, io, sqe);
}

/*
 * The publisher's duty, begun with @own_n commands pending, those of the lanes of @mask, from position @own
 * on; the controller knows of those before @published, of which these are the low bits. By these lanes
 * together.
 *
 * The acquire load of ready pairs with the release store by which the entry was said to be written.
 * The release in the last atomic, at system scope, pairs with the acquire of the next publisher: its
 * doorbell store comes after ours.
 */
SNVME_GPU_FN void snvme_gpu_publish(const struct snvme_gpu_queue *q, __u32 mask, __u64 own, __u32 own_n,
				    __u32 published)
{
	__u32 n = snvme_warp_count(mask), rank = snvme_warp_rank(mask), turn = 0, todo = own_n;
	/* Others may have been rung for in our place, as we are for others: @published lies near @own. */
	__u64 old = own + (__u64)(int)(published - (__u32)own), end = old;

	while (todo) {
		__u32 left = todo;

		/* Entries of these lanes need no looking for; what lies before and behind them does. */
		if (end == own && todo <= own_n) {
			end += todo;
			left = 0;
		}
		while (left) {
			bool is[SNVME_GPU_EACH];
			__u32 run = 0;

			for (__u32 i = 0; i < SNVME_GPU_EACH; i++) {
				__u64 pos = end + i * n + rank;

				is[i] = i * n + rank < left &&
					snv_peer_look(&q->ready[snvme_gpu_slot(pos, q->entries)]) ==
					(__u32)(pos + 1);
			}
			for (__u32 i = 0; i < SNVME_GPU_EACH; i++)
				run += run == i * n ? snvme_warp_leading(mask, is[i]) : 0;
			end += run;
			left -= run;
			if (!left)
				snv_looked();
			else if (!run)
				snv_thread_relax(turn++);
		}
		/*
		 * What each lane stored, and what it saw to be stored, before the leader's doorbell. One for
		 * all: a controller does with many commands at once what it does with few.
		 */
		snvme_warp_sync(mask);
		if (!rank) {
			snv_db_ring(&q->sq_db, q->entries, snvme_gpu_slot(old, q->entries),
				    snvme_gpu_slot(end, q->entries));
			left = (__u32)snv_peer_add64_release(&q->live->posted,
							     ((__u64)todo << 32) - todo) - todo;
		}
		old = end;
		todo = snvme_warp_first(mask, left);
	}
}

/* For each lane of @mask that @has an identifier, submit @io. 0, or -EINVAL, and it is given back. */
SNVME_GPU_FN int snvme_gpu_send(const struct snvme_gpu_queue *q, __u32 mask, bool has,
				const struct snvme_gpu_io *io, struct snvme_gpu_token token)
{
	/* For stores of 16 bytes. */
	struct snv_sqe sqe __attribute__((aligned(16)));
	bool good = has && snvme_gpu_fill(q, token, io, &sqe);
	__u32 senders = snvme_warp_ballot(mask, good), n = snvme_warp_count(senders);
	bool leader = good && !snvme_warp_rank(senders);
	__u64 pos = 0, posted = 1, first;

	if (has && !good)
		snvme_gpu_give(q, token);
	if (!senders)
		return -EINVAL;
	if (leader)
		pos = snv_peer_add64(&q->live->reserved, n);
	first = snvme_warp_from64(mask, senders, pos);
	pos = first + snvme_warp_rank(senders);
	if (good) {
		__u32 slot = snvme_gpu_slot(pos, q->entries);

		snvme_warp_store64(&q->sq[slot], &sqe);
		/* Partner: the publisher's acquire. */
		snv_peer_store_release(&q->ready[slot], (__u32)(pos + 1));
	}
	/* So that none is counted before it is said to be written: the publisher would wait for it. */
	snvme_warp_sync(mask);
	if (leader)
		posted = snv_peer_add64_acquire(&q->live->posted, n);
	posted = snvme_warp_from64(mask, senders, posted);
	if (!(__u32)posted)
		snvme_gpu_publish(q, mask, first, n, (__u32)(posted >> 32));
	return good ? 0 : -EINVAL;
}

SNVME_GPU_FN int snvme_gpu_submit(const struct snvme_gpu_queue *queue, const struct snvme_gpu_io *io,
				  struct snvme_gpu_token *token)
{
	struct snvme_gpu_queue q = *queue;
	__u32 mask = snvme_warp_mask(queue);
	int dead = -(int)snv_peer_load(&q.live->dead), ret;
	struct snvme_gpu_token found = { 0, 0 };
	bool has = snvme_gpu_find(&q, mask, !dead, q.depth, &found);

	ret = snvme_gpu_send(&q, mask, has, io, found);
	if (has) {
		*token = found;
		return ret;
	}
	/* Whoever has the identifiers may have learned of a reset, and keep them. */
	if (!dead)
		dead = snvme_gpu_dead(&q);
	return dead ? dead : -EAGAIN;
}

/* ---- completion ------------------------------------------------------------------------------- */

/*
 * A completion for the word of its identifier, which was @word. Release; partner: the acquire of the
 * one who waits. False: it is nobody's.
 */
SNVME_GPU_FN bool snvme_gpu_complete(const struct snvme_gpu_queue *q, __u32 dw3, __u32 word)
{
	__u32 wire = dw3 & SNV_CQE_DW3_CID, cid = wire & ((1U << q->cid_bits) - 1);
	__u32 status = dw3 >> SNV_CQE_DW3_STATUS_SHIFT & SNV_STATUS_CODE;
	__u32 use = word >> SNVME_GPU_USE_SHIFT;

	/* One that comes twice, at once even, or of nothing: nobody's. */
	return (word & SNVME_GPU_STATE) == SNVME_GPU_BUSY &&
	       snvme_gpu_wire(q, cid, use) == wire &&
	       snv_peer_cas_looked(&q->word[cid], word, use << SNVME_GPU_USE_SHIFT |
				   status << SNVME_GPU_STATUS_SHIFT | SNVME_GPU_DONE);
}

SNVME_GPU_FN __u32 snvme_gpu_word(const struct snvme_gpu_queue *q, __u32 dw3)
{
	__u32 cid = dw3 & SNV_CQE_DW3_CID & ((1U << q->cid_bits) - 1);

	return cid < q->depth ? snv_peer_load(&q->word[cid]) : 0;
}

/* The head @n completions on from @head. */
SNVME_GPU_FN __u64 snvme_gpu_ahead(const struct snvme_gpu_queue *q, __u64 head, __u32 n)
{
	head += n;
	if ((head & SNVME_GPU_SLOT) < n || (__u32)(head & SNVME_GPU_SLOT) >= q->entries)
		head += SNVME_GPU_LAP - q->entries;
	return head;
}

/* Completions that were taken and not given back to the controller, when the head is @head. */
SNVME_GPU_FN __u32 snvme_gpu_unrung(const struct snvme_gpu_queue *q, __u64 head)
{
	__u32 slot = (__u32)(head & SNVME_GPU_SLOT);
	__u32 rung = (__u32)(head >> SNVME_GPU_RUNG_SHIFT & SNVME_GPU_SLOT);

	return slot >= rung ? slot - rung : slot + q->entries - rung;
}

/* A head now and then is enough: the controller waits for it only when the ring is full. */
SNVME_GPU_FN bool snvme_gpu_late(const struct snvme_gpu_queue *q, __u64 head)
{
	return snvme_gpu_unrung(q, head) >= (q->entries + 3) / 4;
}

/* The completion @ahead of the one at @head: is it there? *@dw3: its last dword. */
SNVME_GPU_FN bool snvme_gpu_arrived(const struct snvme_gpu_queue *q, __u64 head, __u32 ahead,
				    __u32 *dw3)
{
	__u64 at = snvme_gpu_ahead(q, head, ahead);

	*dw3 = snv_cqe_look_dw3(&q->cq[at & SNVME_GPU_SLOT].dw3);
	/* The phase is 1 in the first lap. */
	return !(*dw3 & SNV_CQE_DW3_P) == ((at & SNVME_GPU_LAP) != 0);
}

/*
 * Tell the controller of the head, which is @head; for whoever put SNVME_GPU_RINGING there. Meanwhile others
 * move the head on, and leave it to us to ring again.
 *
 * Those who took completions before @head had seen them whole, for what they saw decided what they
 * took: the controller may write over them.
 */
SNVME_GPU_FN void snvme_gpu_ring_head(const struct snvme_gpu_queue *q, __u64 head)
{
	__u64 old, rung;

	do {
		rung = head & SNVME_GPU_SLOT;
		snv_db_ring(&q->cq_db, q->entries,
			    (__u32)(head >> SNVME_GPU_RUNG_SHIFT & SNVME_GPU_SLOT), (__u32)rung);
		/* The next one's doorbell store comes after this one. */
		snv_doorbell_order();
		do {
			old = snv_peer_load64(&q->live->head);
			head = (old & ~(SNVME_GPU_SLOT << SNVME_GPU_RUNG_SHIFT)) |
			       rung << SNVME_GPU_RUNG_SHIFT;
			if (!snvme_gpu_late(q, head))
				head &= ~SNVME_GPU_RINGING;
		} while (!snv_peer_cas64(&q->live->head, old, head));
	} while (head & SNVME_GPU_RINGING);
}

/*
 * Take the completions from @head on that are there, and hand them out. By the lanes of @mask. True: there
 * may be more, from *@head on. *@strays: how many of this lane's were nobody's.
 */
SNVME_GPU_FN bool snvme_gpu_take_some(const struct snvme_gpu_queue *q, __u32 mask, __u64 *head,
				      __u32 *strays)
{
	__u32 n = snvme_warp_count(mask), rank = snvme_warp_rank(mask), run;
	__u32 dw3[SNVME_GPU_EACH], word[SNVME_GPU_EACH];
	bool is[SNVME_GPU_EACH], ring, taken = false;
	__u64 next;

	/* One for each lane; more only behind those. None goes round the ring. */
	run = snvme_warp_leading(mask, rank < q->entries &&
				       snvme_gpu_arrived(q, *head, rank, &dw3[0]));
	if (!run)
		return false;
	if (run == n) {
		for (__u32 i = 1; i < SNVME_GPU_EACH; i++)
			is[i] = i * n + rank < q->entries &&
				snvme_gpu_arrived(q, *head, i * n + rank, &dw3[i]);
		for (__u32 i = 1; i < SNVME_GPU_EACH; i++)
			run += run == i * n ? snvme_warp_leading(mask, is[i]) : 0;
	}
	next = snvme_gpu_ahead(q, *head, run);
	ring = !(next & SNVME_GPU_RINGING) && snvme_gpu_late(q, next);
	if (ring)
		next |= SNVME_GPU_RINGING;
	if (!rank)
		taken = snv_peer_cas64(&q->live->head, *head, next);
	/* These loads do not wait for the swap. */
	for (__u32 i = 0; i < SNVME_GPU_EACH; i++)
		word[i] = i * n + rank < run ? snvme_gpu_word(q, dw3[i]) : 0;
	/*
	 * Partner: the controller, which wrote the data before the completion, and completions in order:
	 * who acquires one, even one that has come to its place since, has acquired those before it.
	 * The fence releases that to whoever waits for a word.
	 */
	(void)snv_cqe_load_dw3(&q->cq[snvme_gpu_ahead(q, *head, run - 1) & SNVME_GPU_SLOT].dw3);
	snv_looked();
	if (!snvme_warp_first(mask, taken))
		return false;
	for (__u32 i = 0; i < SNVME_GPU_EACH; i++)
		*strays += i * n + rank < run && !snvme_gpu_complete(q, dw3[i], word[i]);
	if (ring && !rank)
		snvme_gpu_ring_head(q, next);
	*head = next;
	return run == n * SNVME_GPU_EACH && !ring;
}

/* Reap what there is, if nobody else does. By the lanes of @mask together. */
SNVME_GPU_FN void snvme_gpu_reap(const struct snvme_gpu_queue *q, __u32 mask)
{
	__u32 strays = 0, turns = SNVME_GPU_TURNS;
	__u64 head = 0;

	if (!snvme_warp_rank(mask))
		head = snv_peer_load64(&q->live->head);
	head = snvme_warp_first64(mask, head);
	while (turns-- && snvme_gpu_take_some(q, mask, &head, &strays))
		;
	if (strays)
		snv_peer_add(&q->live->strays, strays);
}

/* Has the command ended? *@ret: how, and its identifier is free. */
SNVME_GPU_FN bool snvme_gpu_ended(const struct snvme_gpu_queue *q, struct snvme_gpu_token token, int *ret)
{
	__u32 word = snv_peer_load_acquire(&q->word[token.cid]);

	if (word >> SNVME_GPU_USE_SHIFT != token.use ||
	    (word & SNVME_GPU_STATE) == SNVME_GPU_FREE) {
		*ret = -EINVAL;
		return true;
	}
	if ((word & SNVME_GPU_STATE) != SNVME_GPU_DONE)
		return false;
	*ret = (int)(word >> SNVME_GPU_STATUS_SHIFT & SNV_STATUS_CODE);
	snvme_gpu_give(q, token);
	return true;
}

SNVME_GPU_FN int snvme_gpu_poll(const struct snvme_gpu_queue *queue, struct snvme_gpu_token token)
{
	struct snvme_gpu_queue q = *queue;
	int ret, dead;

	if (token.cid >= q.depth)
		return -EINVAL;
	if (snvme_gpu_ended(&q, token, &ret))
		return ret;
	snvme_gpu_reap(&q, snvme_warp_mask(queue));
	if (snvme_gpu_ended(&q, token, &ret))
		return ret;
	/* The state is in the host's memory: not each time. */
	dead = snvme_warp_tick() % 64 ? -(int)snv_peer_load(&q.live->dead) : snvme_gpu_dead(&q);
	return dead ? dead : -EAGAIN;
}

/*
 * Is there a reason to wait no longer? *@start: when this was first asked since a command was last sent. By
 * the lanes of @mask together, so that one looks at the clock and at the host's memory. A command of theirs,
 * if they @have any, has taken too long: that ends the queue. Who waits for an identifier in vain, because
 * others have them all, ends alone.
 */
SNVME_GPU_FN int snvme_gpu_give_up(const struct snvme_gpu_queue *q, __u32 mask, bool have, __u64 *start)
{
	int ret = 0;

	if (!snvme_warp_rank(mask)) {
		__u64 now = snvme_warp_now();

		ret = snvme_gpu_dead(q);
		if (!*start)
			*start = now;
		else if (!ret && now > *start && now - *start > q->timeout_ns) {
			if (have)
				snv_peer_store(&q->live->dead, ETIMEDOUT);
			ret = -ETIMEDOUT;
		}
	}
	return (int)snvme_warp_first(mask, (__u32)ret);
}

/*
 * Submit @io, unless @has: @token is under way; then wait. All lanes go round the same loop until the last
 * has ended: a lane that has an identifier never waits at the end of a loop in which others look for one.
 */
SNVME_GPU_FN int snvme_gpu_finish(const struct snvme_gpu_queue *queue, const struct snvme_gpu_io *io,
				  struct snvme_gpu_token token, bool has)
{
	struct snvme_gpu_queue q = *queue;
	__u32 mask = snvme_warp_mask(queue), turn = 0;
	int ret = -EINVAL, dead = (int)snvme_warp_first(mask, -snv_peer_load(&q.live->dead));
	bool ended = has && token.cid >= q.depth;
	__u64 start = 0;

	if (dead && !has)
		return dead;
	for (;;) {
		bool want = !has && !ended;

		if (snvme_warp_ballot(mask, want)) {
			bool got = snvme_gpu_find(&q, mask, want,
						  SNVME_GPU_TRIES * snvme_warp_count(mask), &token);
			int sent = snvme_gpu_send(&q, mask, got, io, token);

			has |= got && !sent;
			ended |= got && sent;
			if (got)
				ret = sent;
			/* Each has all of its time. */
			if (snvme_warp_ballot(mask, got && !sent))
				start = 0;
		}
		if (has && !ended)
			ended = snvme_gpu_ended(&q, token, &ret);
		if (snvme_warp_ballot(mask, ended) == mask)
			return ret;
		snvme_gpu_reap(&q, mask);
		/* What had come is handed out before that. */
		if (dead)
			return !ended && !(has && snvme_gpu_ended(&q, token, &ret)) ? dead : ret;
		if (++turn % SNVME_GPU_LOOK == 0)
			dead = snvme_gpu_give_up(&q, mask, snvme_warp_ballot(mask, has && !ended), &start);
		/* What we wait for may be with lanes of this warp that parted from us: let them run. */
#ifdef __CUDA_ARCH__
		if (turn % SNVME_GPU_YIELD == 0)
#endif
			snv_thread_relax(turn);
	}
}

SNVME_GPU_FN int snvme_gpu_wait(const struct snvme_gpu_queue *q, struct snvme_gpu_token token)
{
	return snvme_gpu_finish(q, NULL, token, true);
}

SNVME_GPU_FN int snvme_gpu_do(const struct snvme_gpu_queue *q, const struct snvme_gpu_io *io)
{
	struct snvme_gpu_token none = { 0, 0 };

	return snvme_gpu_finish(q, io, none, false);
}

/* ---- one SSD or several ----------------------------------------------------------------------- */

SNVME_GPU_FN const struct snvme_gpu_queue *snvme_gpu_queue_of(const struct snvme_gpu *gpu, __u32 ssd)
{
	return &gpu->queue[ssd * gpu->queues + snvme_warp_index() % gpu->queues];
}

/* One piece of a transfer, on one SSD. */
SNVME_GPU_FN int snvme_gpu_piece(const struct snvme_gpu *gpu, __u32 opcode,
				 const struct snvme_gpu_mem *mem, __u64 offset, __u32 ssd,
				 __u64 slba, __u32 nlb)
{
	struct snvme_gpu_io io;

	io.opcode = opcode;
	io.flags = 0;
	io.map = &mem->map[ssd];
	io.offset = offset;
	io.slba = slba;
	io.nlb = nlb;
	io.pad = 0;
	return snvme_gpu_do(snvme_gpu_queue_of(gpu, ssd), &io);
}

SNVME_GPU_FN int snvme_gpu_transfer(const struct snvme_gpu *gpu, __u32 opcode,
				    const struct snvme_gpu_mem *mem, __u64 offset, __u64 lba,
				    __u32 nlb)
{
	__u64 bytes = (__u64)nlb << gpu->lba_shift;

	if (!nlb || lba >= gpu->blocks || nlb > gpu->blocks - lba || bytes > mem->length ||
	    offset > mem->length - bytes)
		return -EINVAL;
	while (nlb) {
		__u32 n = nlb < gpu->max_nlb ? nlb : gpu->max_nlb, ssd = 0, last = 0;
		__u64 at = lba;
		int ret;

		if (gpu->ssds > 1 && gpu->layout == SNVME_GPU_STRIPED) {
			__u64 stripe = lba / gpu->stripe;
			__u32 in = (__u32)(lba % gpu->stripe);

			if (n > gpu->stripe - in)
				n = gpu->stripe - in;
			ssd = last = (__u32)(stripe % gpu->ssds);
			at = stripe / gpu->ssds * gpu->stripe + in;
		} else if (opcode == SNV_OP_READ) {
			ssd = last = snvme_warp_index() / gpu->queues % gpu->ssds;
		} else {
			last = gpu->ssds - 1;
		}
		for (; ssd <= last; ssd++) {
			ret = snvme_gpu_piece(gpu, opcode, mem, offset, ssd, at, n);
			if (ret)
				return ret;
		}
		lba += n;
		offset += (__u64)n << gpu->lba_shift;
		nlb -= n;
	}
	return 0;
}

SNVME_GPU_FN int snvme_gpu_read(const struct snvme_gpu *gpu, const struct snvme_gpu_mem *mem,
				__u64 offset, __u64 lba, __u32 nlb)
{
	return snvme_gpu_transfer(gpu, SNV_OP_READ, mem, offset, lba, nlb);
}

SNVME_GPU_FN int snvme_gpu_write(const struct snvme_gpu *gpu, const struct snvme_gpu_mem *mem,
				 __u64 offset, __u64 lba, __u32 nlb)
{
	return snvme_gpu_transfer(gpu, SNV_OP_WRITE, mem, offset, lba, nlb);
}

SNVME_GPU_FN int snvme_gpu_flush(const struct snvme_gpu *gpu)
{
	struct snvme_gpu_io io = { SNV_OP_FLUSH, 0, 0, 0, 0, 0, 0 };
	int ret = 0;

	for (__u32 ssd = 0; ssd < gpu->ssds && !ret; ssd++)
		ret = snvme_gpu_do(snvme_gpu_queue_of(gpu, ssd), &io);
	return ret;
}

#endif /* SNVME_GPU_QUEUE_IMPL_H */
