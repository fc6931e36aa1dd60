// SPDX-License-Identifier: MIT
/*
 * The rings under threads: producers and a reaper on the host end, and on the other a controller of
 * the test's own, which shares no code with ring.h and judges each command that it fetches.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include "ring.h"
#include "tap.h"

#define COUNT(a)	(sizeof(a) / sizeof(*(a)))
#define SLEEPING	0xffffffffU	/* in a register: no doorbell since the controller looked */
#define DEADLINE	900		/* seconds for one case */

#define MAX_SQS		2
#define PENDING		64
#define PRODUCERS	3

struct ctrl_db {
	uint32_t mmio __attribute__((aligned(128)));
	uint32_t shadow __attribute__((aligned(128)));
	uint32_t eventidx __attribute__((aligned(128)));
	uint32_t seen;		/* the controller's own */
};

struct ctrl_sq {
	struct snv_sqe *ring;
	uint32_t head;
	struct ctrl_db db;
	uint32_t next[PRODUCERS];
	uint8_t *busy;		/* per cid: fetched, not completed */
};

struct pending {
	uint32_t sq;
	uint32_t cid;
	uint64_t token;
};

struct run {
	/* What is tried. */
	uint32_t entries;
	uint32_t cq_entries;
	uint32_t sqs;
	uint32_t producers;
	bool shadow;
	uint32_t commands;	/* per producer */

	/* The host end. */
	struct snv_sq sq[MAX_SQS];
	struct snv_cq cq;
	uint32_t cids;		/* per producer and queue */
	uint32_t *used[MAX_SQS];	/* per cid: 1 from submission to reaping */
	uint64_t *want[MAX_SQS];	/* per cid: the token its command carries */

	/* Host memory that the controller writes, as a read's data. */
	uint64_t *data[MAX_SQS];

	/* The controller. */
	struct ctrl_sq csq[MAX_SQS];
	struct snv_cqe *cring;
	struct ctrl_db cdb;
	uint32_t ctail;
	uint32_t cphase;
	struct pending pending[PENDING];
	uint32_t n_pending;
	uint64_t seed;
	uint32_t full, slept;

	/* Shared by all threads. */
	uint32_t state;
	uint32_t stop;
	const char *error;
};

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdULL;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ULL;
	return x ^ x >> 33;
}

static uint32_t roll(uint64_t *seed, uint32_t n)
{
	*seed += 0x9e3779b97f4a7c15ULL;
	return mix(*seed) % n;
}

/* The first error is the one that counts; all threads go home. */
static void fail(struct run *r, const char *text)
{
	const char *none = NULL;

	__atomic_compare_exchange_n(&r->error, &none, text, false, __ATOMIC_ACQ_REL,
				    __ATOMIC_RELAXED);
	__atomic_store_n(&r->stop, 1, __ATOMIC_RELEASE);
	__atomic_store_n(&r->state, SNVME_STATE_RESET, __ATOMIC_RELEASE);
}

static bool stopped(struct run *r)
{
	return __atomic_load_n(&r->stop, __ATOMIC_ACQUIRE);
}

/* The index that a doorbell tells; from memory, where it lies there. */
static uint32_t ctrl_look(struct run *r, struct ctrl_db *db)
{
	uint32_t v;

	if (r->shadow)
		v = __atomic_load_n(&db->shadow, __ATOMIC_SEQ_CST);
	else
		v = __atomic_load_n(&db->mmio, __ATOMIC_ACQUIRE);
	return v == SLEEPING ? db->seen : v;
}

/* Go to sleep on these doorbells: what is not told from now on by a register is not seen. */
static void ctrl_sleep(struct run *r, struct ctrl_db **db, uint32_t n)
{
	if (!r->shadow) {
		sched_yield();
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		__atomic_store_n(&db[i]->mmio, SLEEPING, __ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < n; i++)
		__atomic_store_n(&db[i]->eventidx, db[i]->seen, __ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < n; i++)
		if (__atomic_load_n(&db[i]->shadow, __ATOMIC_SEQ_CST) != db[i]->seen)
			return;
	r->slept++;
	while (!stopped(r)) {
		for (uint32_t i = 0; i < n; i++)
			if (__atomic_load_n(&db[i]->mmio, __ATOMIC_ACQUIRE) != SLEEPING)
				return;
		sched_yield();
	}
}

static uint64_t sum(const struct snv_sqe *sqe)
{
	const unsigned char *p = (const unsigned char *)sqe;
	uint64_t h = 0;

	for (size_t i = 0; i < offsetof(struct snv_sqe, prp1); i++)
		h = (h ^ p[i]) * 0x100000001b3ULL;
	for (size_t i = offsetof(struct snv_sqe, cdw10); i < sizeof(*sqe); i++)
		h = (h ^ p[i]) * 0x100000001b3ULL;
	return h;
}

/* Fetch one command, judge it, and leave nothing of it in the slot. */
static bool ctrl_fetch(struct run *r, uint32_t q)
{
	struct ctrl_sq *sq = &r->csq[q];
	uint32_t tail = ctrl_look(r, &sq->db), cid, producer;
	struct snv_sqe sqe;

	if (tail >= r->entries) {
		fail(r, "a tail outside the ring");
		return false;
	}
	sq->db.seen = tail;
	if (tail == sq->head || r->n_pending == PENDING)
		return false;
	memcpy(&sqe, &sq->ring[sq->head], sizeof(sqe));
	memset(&sq->ring[sq->head], 0xdb, sizeof(sqe));
	sq->head = (sq->head + 1) % r->entries;

	cid = snv_le16_get(sqe.cid);
	producer = snv_le32_get(sqe.nsid);
	if (sqe.opcode != 0x5a || snv_le64_get(sqe.prp1) != sum(&sqe))
		fail(r, "a command that is not whole");
	else if (producer >= r->producers || snv_le32_get(sqe.cdw2) != q)
		fail(r, "a command of another queue");
	else if (snv_le32_get(sqe.cdw10) != sq->next[producer]++)
		fail(r, "a producer's commands out of order, lost or twice");
	else if (sq->busy[cid]++)
		fail(r, "a command identifier twice");
	r->pending[r->n_pending++] = (struct pending){ q, cid, snv_le64_get(sqe.prp2) };
	return !stopped(r);
}

/* Complete any one, if the completion queue has room. */
static bool ctrl_complete(struct run *r)
{
	uint32_t head = ctrl_look(r, &r->cdb), old = r->cdb.seen, i;
	uint32_t next = (r->ctail + 1) % r->cq_entries;
	struct snv_cqe *cqe = &r->cring[r->ctail];
	struct pending p;

	if (head >= r->cq_entries || (head + r->cq_entries - old) % r->cq_entries >
				     (r->ctail + r->cq_entries - old) % r->cq_entries) {
		fail(r, "a CQ head that ran past the tail");
		return false;
	}
	r->cdb.seen = head;
	if (!r->n_pending)
		return false;
	if (next == head) {
		r->full++;
		return false;
	}
	i = roll(&r->seed, r->n_pending);
	p = r->pending[i];
	r->pending[i] = r->pending[--r->n_pending];
	r->csq[p.sq].busy[p.cid] = 0;

	r->data[p.sq][p.cid] = mix(p.token);
	cqe->dw0 = snv_le32((uint32_t)p.token);
	cqe->dw1 = snv_le32(p.token >> 32);
	cqe->dw2 = snv_le32(r->csq[p.sq].head | (p.sq + 1) << SNV_CQE_DW2_SQID_SHIFT);
	__atomic_store_n((uint32_t *)&cqe->dw3,
			 (uint32_t)snv_le32(p.cid | r->cphase << 16 | (p.token & 0x7fff) << 17),
			 __ATOMIC_RELEASE);
	r->ctail = next;
	if (!next)
		r->cphase ^= 1;
	return true;
}

static void *controller(void *arg)
{
	struct run *r = arg;
	struct ctrl_db *all[MAX_SQS + 1];

	for (uint32_t q = 0; q < r->sqs; q++)
		all[q] = &r->csq[q].db;
	all[r->sqs] = &r->cdb;
	while (!stopped(r)) {
		bool busy = false;
		uint32_t burst = 1 + roll(&r->seed, PENDING);

		for (uint32_t q = 0; q < r->sqs; q++)
			for (uint32_t i = 0; i < burst && ctrl_fetch(r, q); i++)
				busy = true;
		while (!stopped(r) && ctrl_complete(r))
			busy = true;
		if (!busy)
			ctrl_sleep(r, all, r->sqs + 1);
	}
	return NULL;
}

struct producer {
	struct run *run;
	uint32_t id;
};

static void *produce(void *arg)
{
	struct producer *me = arg;
	struct run *r = me->run;
	uint64_t seed = me->id * 77 + 1;
	uint32_t sent[MAX_SQS] = { 0 }, left = r->commands;

	while (left) {
		uint32_t q = roll(&seed, r->sqs), n = 1 + roll(&seed, 4), pos;
		struct snv_sq *sq = &r->sq[q];

		if (n > left)
			n = left;
		if (n > r->entries - 1)
			n = r->entries - 1;
		if (n > r->cids)
			n = r->cids;
		while (!snv_sq_reserve(sq, n, &pos)) {
			if (stopped(r))
				return NULL;
			sched_yield();
		}
		for (uint32_t i = 0; i < n; i++) {
			struct snv_sqe *sqe = snv_sq_slot(sq, snv_sq_after(sq, pos, i));
			uint32_t cid = me->id * r->cids + sent[q] % r->cids;
			uint64_t token = mix((uint64_t)me->id << 56 | (uint64_t)q << 48 | sent[q]);

			while (__atomic_load_n(&r->used[q][cid], __ATOMIC_ACQUIRE)) {
				if (stopped(r))
					return NULL;
				sched_yield();
			}
			r->want[q][cid] = token;
			__atomic_store_n(&r->used[q][cid], 1, __ATOMIC_RELEASE);
			if (!roll(&seed, 256))
				sched_yield();
			*sqe = (struct snv_sqe){
				.opcode = 0x5a,
				.flags = (uint8_t)token,
				.cid = snv_le16(cid),
				.nsid = snv_le32(me->id),
				.cdw2 = snv_le32(q),
				.mptr = snv_le64(mix(token + 1)),
				.prp2 = snv_le64(token),
				.cdw10 = snv_le32(sent[q]),
				.cdw15 = snv_le32((uint32_t)mix(token + 2)),
			};
			sqe->prp1 = snv_le64(sum(sqe));
			sent[q]++;
		}
		if (!snv_sq_publish(sq, pos, n)) {
			fail(r, "publish gave up");
			return NULL;
		}
		left -= n;
	}
	return NULL;
}

/* Judge the next completion. */
static bool reap(struct run *r)
{
	uint32_t dw3, dw2, q, cid;
	const struct snv_cqe *cqe = snv_cq_peek(&r->cq, &dw3);
	uint64_t token;

	if (!cqe)
		return false;
	dw2 = snv_le32_get(cqe->dw2);
	token = snv_le32_get(cqe->dw0) | (uint64_t)snv_le32_get(cqe->dw1) << 32;
	q = (dw2 >> SNV_CQE_DW2_SQID_SHIFT) - 1;
	cid = dw3 & SNV_CQE_DW3_CID;
	if (q >= r->sqs || !__atomic_load_n(&r->used[q][cid], __ATOMIC_ACQUIRE))
		fail(r, "a completion without a command");
	else if (r->want[q][cid] != token || dw3 >> SNV_CQE_DW3_STATUS_SHIFT != (token & 0x7fff))
		fail(r, "another command's completion");
	else if (r->data[q][cid] != mix(token))
		fail(r, "data older than its completion");
	else if (!snv_sq_fetched(&r->sq[q], dw2 & SNV_CQE_DW2_SQHD))
		fail(r, "SQHD refused");
	else
		__atomic_store_n(&r->used[q][cid], 0, __ATOMIC_RELEASE);
	snv_cq_advance(&r->cq);
	return true;
}

static void *reaper(void *arg)
{
	struct run *r = arg;
	uint32_t left = r->commands * r->producers;
	uint64_t seed = 99;

	while (left && !stopped(r)) {
		if (reap(r)) {
			left--;
			if (!roll(&seed, 16))
				snv_cq_release(&r->cq);
		} else {
			snv_cq_release(&r->cq);
			sched_yield();
		}
	}
	snv_cq_release(&r->cq);
	return NULL;
}

/* Of all runs. */
static unsigned int full, slept;

static void start(pthread_t *thread, void *(*body)(void *), void *arg)
{
	if (pthread_create(thread, NULL, body, arg)) {
		puts("Bail out! pthread_create");
		exit(1);
	}
}

static void *zalloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p) {
		puts("Bail out! out of memory");
		exit(1);
	}
	return p;
}

static struct snv_db host_db(const struct run *r, struct ctrl_db *db)
{
	return (struct snv_db){ &db->mmio, r->shadow ? &db->shadow : NULL,
				r->shadow ? &db->eventidx : NULL };
}

/* The queues as after Create: zeros, every index 0; positions half a run from their end. */
static void set_up(struct run *r)
{
	uint64_t each = (uint64_t)r->commands * r->producers / r->sqs;

	r->cids = 65536 / r->producers;
	r->state = SNVME_STATE_LIVE;
	r->cphase = 1;
	r->cring = zalloc(r->cq_entries, sizeof(*r->cring));
	snv_cq_init(&r->cq, r->cring, r->cq_entries, &r->state, host_db(r, &r->cdb));
	for (uint32_t q = 0; q < r->sqs; q++) {
		struct ctrl_sq *csq = &r->csq[q];
		struct snv_sq *sq = &r->sq[q];

		csq->ring = zalloc(r->entries, sizeof(*csq->ring));
		csq->busy = zalloc(65536, sizeof(*csq->busy));
		r->used[q] = zalloc(65536, sizeof(*r->used[q]));
		r->want[q] = zalloc(65536, sizeof(*r->want[q]));
		r->data[q] = zalloc(65536, sizeof(*r->data[q]));
		snv_sq_init(sq, csq->ring, r->entries, &r->state, host_db(r, &csq->db));
		sq->reserved = sq->span - (each / 2 / r->entries + 1) * r->entries;
		sq->published = sq->reserved;
		sq->head = sq->reserved;
	}
}

static void tear_down(struct run *r)
{
	for (uint32_t q = 0; q < r->sqs; q++) {
		free(r->csq[q].ring);
		free(r->csq[q].busy);
		free(r->used[q]);
		free(r->want[q]);
		free(r->data[q]);
	}
	free(r->cring);
}

static void test(struct run *r)
{
	struct producer who[PRODUCERS];
	pthread_t thread[PRODUCERS + 2];
	uint32_t dw3;
	bool pass;

	alarm(DEADLINE);
	set_up(r);
	start(&thread[0], controller, r);
	start(&thread[1], reaper, r);
	for (uint32_t i = 0; i < r->producers; i++) {
		who[i] = (struct producer){ r, i };
		start(&thread[2 + i], produce, &who[i]);
	}
	for (uint32_t i = 0; i <= r->producers; i++)
		pthread_join(thread[1 + i], NULL);
	__atomic_store_n(&r->stop, 1, __ATOMIC_RELEASE);
	pthread_join(thread[0], NULL);

	pass = !r->error && !snv_cq_peek(&r->cq, &dw3) && r->cq.rung == r->cq.head;
	for (uint32_t q = 0; q < r->sqs; q++)
		pass &= r->sq[q].reserved == r->sq[q].published &&
			r->sq[q].reserved == r->sq[q].head;
	ok(pass, "%u SQ of %u, CQ of %u, %u producers, %s doorbells%s%s", r->sqs, r->entries,
	   r->cq_entries, r->producers, r->shadow ? "shadow" : "plain", r->error ? ": " : "",
	   r->error ? r->error : "");
	full += r->full;
	slept += r->slept;
	tear_down(r);
}

static void deadline(int sig)
{
	static const char text[] = "not ok - deadline: a doorbell or a completion was lost\n";

	(void)sig;
	_exit(write(STDOUT_FILENO, text, sizeof(text) - 1) < 0 ? 2 : 1);
}

int main(void)
{
	static const struct {
		uint32_t entries, cq_entries, sqs, producers, commands;
	} cases[] = {
		{ 2, 2, 1, 1, 5000 },
		{ 2, 3, 1, 3, 2000 },
		{ 3, 2, 1, 3, 3000 },
		{ 3, 64, 2, 3, 3000 },
		{ 5, 3, 1, 3, 5000 },
		{ 5, 7, 2, 3, 5000 },
		{ 64, 64, 1, 3, 10000 },
		{ 64, 2, 1, 3, 3000 },
		{ 64, 127, 2, 3, 10000 },
		{ 1000, 1000, 1, 3, 20000 },
		{ 1000, 7, 2, 3, 5000 },
		{ 65536, 65536, 1, 3, 50000 },
		{ 65536, 1000, 1, 1, 140000 },
	};

	signal(SIGALRM, deadline);
	for (size_t i = 0; i < COUNT(cases); i++) {
		for (int shadow = 0; shadow < 2; shadow++) {
			struct run r = {
				.entries = cases[i].entries,
				.cq_entries = cases[i].cq_entries,
				.sqs = cases[i].sqs,
				.producers = cases[i].producers,
				.commands = cases[i].commands,
				.shadow = shadow,
			};

			test(&r);
		}
	}
	ok(full > 0, "the controller found the completion queue full %u times", full);
	ok(slept > 0, "the controller slept until it was rung %u times", slept);
	return done();
}
