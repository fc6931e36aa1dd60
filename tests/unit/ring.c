// SPDX-License-Identifier: MIT
/*
 * The rings, one call at a time, against what the specification says they hold.
 */
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "ring.h"
#include "tap.h"

#define COUNT(a)	(sizeof(a) / sizeof(*(a)))
#define UNTOUCHED	0xffffffffU

static const uint32_t sizes[] = { 2, 3, 5, 64, 1000, 4096, 65535, 65536 };
static const uint32_t live = SNVME_STATE_LIVE;

/* A queue whose next position is @pos. */
static void sq_at(struct snv_sq *sq, struct snv_sqe *ring, uint32_t entries, uint32_t pos,
		  uint32_t *mmio)
{
	snv_sq_init(sq, ring, entries, &live, (struct snv_db){ .mmio = mmio });
	sq->reserved = pos;
	sq->published = pos;
	sq->head = pos;
}

static bool submit(struct snv_sq *sq, uint32_t n, uint32_t *pos)
{
	return snv_sq_reserve(sq, n, pos) && snv_sq_publish(sq, *pos, n);
}

/* Full at entries - 1, in order, and room for what was fetched; laps, and the positions' end. */
static void test_fill(uint32_t entries)
{
	struct snv_sqe *ring = calloc(entries, sizeof(*ring));
	uint32_t mmio = UNTOUCHED, pos = 0, tail = 0;
	struct snv_sq sq;
	bool order = true, full = true, rung = true;

	snv_sq_init(&sq, ring, entries, &live, (struct snv_db){ .mmio = &mmio });
	ok(sq.span % entries == 0 && sq.span <= 1U << 31 && sq.span > (1U << 31) - entries,
	   "%u entries: positions end with a lap", entries);
	for (int end = 0; end < 2; end++) {
		/* From 0, then over the end of the positions. */
		sq_at(&sq, ring, entries, end ? sq.span - entries : 0, &mmio);
		tail = 0;
		for (int lap = 0; lap < 3; lap++) {
			for (uint32_t i = 0; i < entries - 1; i++) {
				full &= submit(&sq, 1, &pos);
				order &= pos < sq.span && snv_sq_slot(&sq, pos) == &ring[tail];
				tail = (tail + 1) % entries;
				rung &= mmio == tail;
			}
			full &= !snv_sq_reserve(&sq, 1, &pos);
			full &= snv_sq_fetched(&sq, (tail + 2) % entries) && submit(&sq, 1, &pos);
			full &= !snv_sq_reserve(&sq, 2, &pos) && !snv_sq_reserve(&sq, 1, &pos);
			order &= snv_sq_slot(&sq, pos) == &ring[tail];
			tail = (tail + 1) % entries;
			rung &= mmio == tail;
			full &= snv_sq_fetched(&sq, tail);
		}
	}
	ok(full, "%u entries: full at %u, and has room for what was fetched", entries, entries - 1);
	ok(order, "%u entries: slots in order", entries);
	ok(rung, "%u entries: the doorbell tells each tail", entries);
	free(ring);
}

/* Batches: all or nothing, one doorbell. */
static void test_batch(void)
{
	bool pass = true;

	for (uint32_t entries = 2; entries <= 9; entries++) {
		for (uint32_t used = 0; used < entries; used++) {
			for (uint32_t n = 1; n < entries; n++) {
				struct snv_sqe ring[9];
				uint32_t mmio = UNTOUCHED, first = 0, pos = 0;
				struct snv_sq sq;
				bool room = used + n <= entries - 1;

				sq_at(&sq, ring, entries, (1U << 31) / entries * entries - 2,
				      &mmio);
				if (used)
					pass &= submit(&sq, used, &first);
				mmio = UNTOUCHED;
				pass &= submit(&sq, n, &pos) == room;
				if (!room) {
					pass &= mmio == UNTOUCHED;
					continue;
				}
				pass &= mmio == (entries - 2 + used + n) % entries;
				for (uint32_t i = 0; i < n; i++)
					pass &= snv_sq_slot(&sq, snv_sq_after(&sq, pos, i)) ==
						&ring[(entries - 2 + used + i) % entries];
			}
		}
	}
	ok(pass, "batches of every length into rings of every fill");
}

/* SQHD may say what lies between the last one and what was handed out, and frees that much. */
static bool sqhd_is_judged(uint32_t entries, uint32_t start, uint32_t used, uint32_t sqhd)
{
	uint32_t mmio, pos, left = used, room = 0;
	struct snv_sqe ring[8];
	struct snv_sq sq;
	bool good = false;

	for (uint32_t i = 0; i <= used; i++) {
		if (sqhd == (start + i) % entries) {
			good = true;
			left = used - i;
		}
	}
	sq_at(&sq, ring, entries, start, &mmio);
	if (used && !snv_sq_reserve(&sq, used, &pos))
		return false;
	if (snv_sq_fetched(&sq, sqhd) != good)
		return false;
	while (room <= entries && snv_sq_reserve(&sq, 1, &pos))
		room++;
	return room == entries - 1 - left;
}

static void test_sqhd(void)
{
	static const uint32_t outside[] = { 8, 9, 255, 65535, 65536, 0x80000000, 0xffffffff };
	bool pass = true;

	for (uint32_t entries = 2; entries <= 8; entries++) {
		uint32_t span = (1U << 31) / entries * entries;

		for (uint32_t i = 0; i < 2 * entries; i++)
			for (uint32_t used = 0; used < entries; used++)
				for (uint32_t sqhd = 0; sqhd < entries + 3; sqhd++)
					pass &= sqhd_is_judged(entries, i, used, sqhd) &&
						sqhd_is_judged(entries, span - 1 - i, used, sqhd);
	}
	ok(pass, "SQHD of every value, for every fill");

	pass = true;
	for (size_t i = 0; i < COUNT(outside); i++)
		pass &= sqhd_is_judged(8, 3, 7, outside[i]);
	ok(pass, "SQHD outside the ring is refused");
}

struct blocked {
	struct snv_sq *sq;
	uint32_t pos;
	uint32_t started;
	bool ret;
};

static void *publisher(void *arg)
{
	struct blocked *b = arg;

	__atomic_store_n(&b->started, 1, __ATOMIC_RELEASE);
	b->ret = snv_sq_publish(b->sq, b->pos, 1);
	return NULL;
}

static void test_dead(void)
{
	struct snv_sqe ring[8];
	uint32_t state, mmio, pos[2] = { 0 };
	struct blocked b;
	struct snv_sq sq;
	pthread_t thread;

	for (int dies = 0; dies < 2; dies++) {
		bool pass = true;

		state = SNVME_STATE_LIVE;
		mmio = UNTOUCHED;
		snv_sq_init(&sq, ring, 8, &state, (struct snv_db){ .mmio = &mmio });
		pass &= snv_sq_reserve(&sq, 1, &pos[0]) && snv_sq_reserve(&sq, 1, &pos[1]);
		b = (struct blocked){ &sq, pos[1], 0, false };
		if (pthread_create(&thread, NULL, publisher, &b)) {
			ok(false, "pthread_create");
			return;
		}
		while (!__atomic_load_n(&b.started, __ATOMIC_ACQUIRE))
			sched_yield();
		usleep(1000);
		pass &= __atomic_load_n(&mmio, __ATOMIC_ACQUIRE) == UNTOUCHED;
		if (dies)
			__atomic_store_n(&state, SNVME_STATE_RESET, __ATOMIC_RELEASE);
		else
			pass &= snv_sq_publish(&sq, pos[0], 1);
		pthread_join(thread, NULL);
		pass &= b.ret == !dies && mmio == (dies ? UNTOUCHED : 2);
		ok(pass, dies ? "who waits for his turn is let out when the queue dies" :
				"who comes first in the ring publishes first");
	}
	state = SNVME_STATE_GONE;
	ok(!snv_sq_publish(&sq, pos[1], 1), "likewise when it was dead before");
}

static void post(struct snv_cqe *cqe, uint32_t val, uint32_t phase)
{
	*cqe = (struct snv_cqe){ snv_le32(val), 0, 0, snv_le32(val | (phase ? SNV_CQE_DW3_P : 0)) };
}

/* A completion is seen once, in its turn; what an earlier lap left is not seen again. */
static void test_cq(uint32_t entries)
{
	struct snv_cqe *ring = calloc(entries, sizeof(*ring));
	uint32_t mmio = UNTOUCHED, dw3, at = 0, phase = 1, val = 0;
	const struct snv_cqe *cqe;
	struct snv_cq cq;
	bool seen = true, none = true, rung = true;

	snv_cq_init(&cq, ring, entries, &live, (struct snv_db){ .mmio = &mmio });
	none &= !snv_cq_peek(&cq, &dw3);
	snv_cq_release(&cq);
	rung &= mmio == UNTOUCHED;
	while (val < 5 * entries) {
		/* As many as the ring holds, or one, and then one doorbell. */
		uint32_t n = val % 3 ? 1 : entries - 1, start = at;

		for (uint32_t i = 0; i < n; i++) {
			post(&ring[at], (val + i) & 0xffff, phase);
			at = (at + 1) % entries;
			phase ^= !at;
		}
		for (uint32_t i = 0; i < n; i++) {
			for (int twice = 0; twice < 2; twice++) {
				cqe = snv_cq_peek(&cq, &dw3);
				seen &= cqe == &ring[(start + i) % entries] &&
					(dw3 & 0xffff) == ((val + i) & 0xffff);
			}
			snv_cq_advance(&cq);
		}
		none &= !snv_cq_peek(&cq, &dw3);
		rung &= mmio == (val ? start : UNTOUCHED);
		snv_cq_release(&cq);
		rung &= mmio == at;
		mmio = UNTOUCHED;
		snv_cq_release(&cq);
		rung &= mmio == UNTOUCHED;
		mmio = at;
		val += n;
	}
	ok(seen, "%u entries: completions in order, over phase changes", entries);
	ok(none, "%u entries: no completion is seen before it is there", entries);
	ok(rung, "%u entries: one doorbell for all that were reaped", entries);
	free(ring);
}

int main(void)
{
	alarm(600);
	for (size_t i = 0; i < COUNT(sizes); i++) {
		test_fill(sizes[i]);
		test_cq(sizes[i]);
	}
	test_batch();
	test_sqhd();
	test_dead();
	return done();
}
