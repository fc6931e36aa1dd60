// SPDX-License-Identifier: MIT
/*
 * Where vssd's parts meet: workers that hand each other work while the other sleeps, namespaces that
 * go while commands wait, queues that come again under their old identifiers, and fused pairs short
 * of room.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include "vssd_home.h"
#include "vssd_rig.h"

#define DEADLINE_NS	300000000000ull	/* of what ends at once, or never */
#define BUSY_NS		100000000000ull	/* the longest that slow_submit() takes */

static const struct vssd_timing slow_model = {
	.model = VSSD_MODEL_FIXED, .units = 1, .read_ns = MS, .write_ns = MS, .flush_ns = 3 * MS,
};

/* One chip, whose garbage collection soon has to move whatever it takes for valid. */
static const struct vssd_timing one_die = {
	.model = VSSD_MODEL_FLASH, .channels = 1, .dies = 1, .page = 4096, .pages = 64,
	.read_ns = 60000, .write_ns = 600000, .erase_ns = 4000000, .bytes_per_us = 1200,
	.spare_permille = 70, .buffer = 256 << 10, .buffer_ns = 8000,
};

/* ---- who is told that there is work ----------------------------------------------------------- */

static uint32_t woken[2];

static void record_wake(void *ctx, uint32_t worker)
{
	woken[worker]++;
}

/* rig_start() with two workers, that has it recorded whom the core wakes. Queue 1 is worker 1's. */
static struct rig *start_recorded(const struct rig_config *g)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct rig_env *e = calloc(1, sizeof(*e));
	struct vssd_env env = { .alloc = rig_alloc, .free = rig_free, .now = rig_now,
				.wake = record_wake, .ctx = e };
	struct vssd_config v = g->v;
	struct vssd_ns_config ns = g->ns;

	v.workers = 2;
	e->now = 1000 * MS;
	e->workers = 2;
	r->env = e;
	if (vssd_create(&env, &v, &e->v)) {
		fprintf(stderr, "rig: vssd_create() failed\n");
		exit(1);
	}
	r->v = e->v;
	r->ram = ram_new(e, g->media_size);
	ns.media = &r->ram->media;
	vssd_ns_add(r->v, &ns, &r->nsid);
	rig_controller(r, g);
	ok(rig_enable(r) && !rig_create_pair(r, 1, 64), "Base 3.5.1 a controller with two workers");
	rig_settle(r);
	return r;
}

/* A round of @worker. Was @other told that there is work? */
static bool round_wakes(struct rig *r, uint32_t worker, uint32_t other)
{
	woken[other] = 0;
	vssd_poll(r->v, worker);
	return woken[other];
}

/* Compare and Write, fused, of the first block; *@second is the Write. Returns the Compare. */
static uint16_t submit_pair(struct rig *r, uint32_t qid, uint64_t buf, uint16_t *second)
{
	struct snv_sqe compare = rig_rw(r, SNV_OP_COMPARE, 0, 1);
	struct snv_sqe write = rig_rw(r, SNV_OP_WRITE, 0, 1);
	bool no_ring = r->no_ring;
	uint16_t first;

	compare.flags = SNV_SQE_FUSE_FIRST;
	write.flags = SNV_SQE_FUSE_SECOND;
	compare.prp1 = snv_le64(buf);
	write.prp1 = snv_le64(buf);
	r->no_ring = true;
	first = rig_submit(r, qid, &compare);
	*second = rig_submit(r, qid, &write);
	r->no_ring = no_ring;
	if (!no_ring)
		rig_ring(r, qid);
	return first;
}

static void wakes(void)
{
	struct rig_config g;
	struct rig *r;
	struct snv_sqe sqe;
	uint16_t first, second, read, delete;
	uint64_t buf;

	rig_defaults(&g);
	r = start_recorded(&g);
	buf = rig_mem(r, 4096);
	r->ram->async = true;
	r->ram->held = true;

	first = submit_pair(r, 1, buf, &second);
	ok(round_wakes(r, 1, 0), "worker 1 fetched a fused pair: worker 0 is woken, to stop all");
	ok(round_wakes(r, 0, 1), "worker 0 began its transfer: worker 1, who polls for it, is woken");
	is(r->ram->pendings, 1, "and it is with the medium");
	r->ram->held = false;
	while (r->ram->pendings && vssd_poll(r->v, 1))
		;
	ok(woken[0], "the transfer ended: worker 0 is woken, who goes on with the pair");
	is(rig_wait(r, first), 0, "NVM 2.1.5 the Compare succeeds");
	is(rig_wait(r, second), 0, "NVM 2.1.5 so does the Write");

	read = rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_ASYNC_EVENT));
	rig_settle(r);
	rig_doorbell(r, 1, false, 9999);
	ok(round_wakes(r, 1, 0), "worker 1 met an invalid doorbell value: worker 0 is woken");
	is(rig_wait(r, read), 0, "Base 5.2 and reports it");
	rig_ring(r, 1);

	r->ram->held = true;
	sqe = rig_rw(r, SNV_OP_READ, 0, 8);
	sqe.prp1 = snv_le64(buf);
	read = rig_submit(r, 1, &sqe);
	vssd_poll(r->v, 1);
	delete = rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_DELETE_SQ, .cdw10 = snv_le32(1)));
	rig_settle(r);
	ok(!r->cmd[delete].done, "Base 5.7 Delete I/O Submission Queue waits for a transfer");
	r->ram->held = false;
	ok(round_wakes(r, 1, 0), "which ends in worker 1's round: worker 0 is woken");
	is(rig_wait(r, delete), 0, "Base 5.7 and ends the deletion");
	ok(rig_wait(r, read) != RIG_NO_CQE, "Base 5.7 the read ended too");
	rig_close(r, "wakes");
}

static void zones_of(struct rig_config *g)
{
	rig_defaults(g);
	g->ns.csi = VSSD_CSI_ZNS;
	g->ns.zone_blocks = 256;
	g->media_size = 256 * 32 * 512;
	g->cc = SNV_CC_CSS_CSI;
}

static struct snv_sqe reset_all(struct rig *r)
{
	return (struct snv_sqe){ .opcode = SNV_OP_ZONE_MGMT_SEND, .nsid = snv_le32(r->nsid),
				 .cdw13 = snv_le32(SNV_ZONE_SEND_RESET | SNV_ZONE_SEND_ALL) };
}

static void wakes_zoned(void)
{
	struct rig_config g;
	struct rig *r;
	struct snv_sqe sqe;
	uint16_t reset, format;
	uint32_t turn;

	zones_of(&g);
	g.v.timing = slow_model;
	r = start_recorded(&g);
	sqe = reset_all(r);
	r->env->freeze = true;

	reset = rig_submit(r, 1, &sqe);
	ok(round_wakes(r, 1, 0), "worker 1 fetched a Zone Reset: worker 0 is woken");
	ok(round_wakes(r, 0, 1), "worker 0 carried it out: worker 1, who posts it later, is woken");
	ok(vssd_next_due(r->v, 1) == r->env->now + 3 * MS, "and knows when that is");
	r->env->freeze = false;
	is(rig_wait(r, reset), 0, "ZNS 3.4.3 the reset succeeds");

	r->ram->async = true;
	r->ram->held = true;
	format = rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_FORMAT, .nsid = snv_le32(r->nsid)));
	for (turn = 0; !r->ram->pendings && turn < 10; turn++)
		vssd_poll(r->v, 0);
	reset = rig_submit(r, 1, &sqe);
	vssd_poll(r->v, 1);
	r->ram->held = false;
	for (turn = 0; !r->cmd[format].done && turn < 20; turn++) {
		vssd_poll(r->v, 0);
		rig_reap(r);
	}
	ok(r->cmd[format].done && !r->cmd[reset].done, "Base 5.14 a Format, and a Zone Reset behind it");
	ok(round_wakes(r, 1, 0), "worker 1 tries it again: worker 0 is woken");
	is(rig_wait(r, reset), 0, "ZNS 3.4.3 it succeeds");
	rig_close(r, "wakes, zoned");
}

/* The namespace attributes change in the host's thread, with all workers idle. */
static void owed_interrupt(void)
{
	struct rig_config g;
	struct vssd_ns_config more = { .lba_size = 512 };
	struct rig *r;
	uint32_t before;
	uint16_t aer;

	rig_defaults(&g);
	r = rig_start(&g);
	is(rig_set_feature(r, SNV_FEAT_ASYNC_EVENT, SNV_AEC_NS_ATTR), 0,
	   "Base 5.27.1.8 notices are enabled");
	aer = rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_ASYNC_EVENT));
	rig_settle(r);
	rig_reap(r);
	rig_settle(r);
	ok(vssd_next_due(r->v, 0) == VSSD_NEVER, "nothing is due");
	before = r->irqs[0];
	more.media = &ram_new(r->env, 1 << 20)->media;
	is(vssd_ns_add(r->v, &more, NULL), 0, "vssd_ns_add()");
	ok(r->irqs[0] == before + 1 || !vssd_next_due(r->v, 0),
	   "Base 5.2 the event's interrupt was raised, or vssd_next_due() says now");
	vssd_poll(r->v, 0);
	is(r->irqs[0], before + 1, "Base 5.2 after a round it was raised");
	rig_reap(r);
	ok(r->cmd[aer].done, "Base 5.2 the event is there");
	is(r->cmd[aer].dw0, SNV_AER_NOTICE | SNV_AER_NOTICE_NS_CHANGED << SNV_AER_INFO_SHIFT |
	   SNV_LOG_CHANGED_NS << SNV_AER_LOG_SHIFT, "Base 5.2 Namespace Attribute Changed");
	rig_close(r, "owed interrupt");
}

/* ---- an event that has to wait stops nobody --------------------------------------------------- */

static struct {
	uint32_t hold;
	uint32_t inside;
	uint32_t gave_up;
} slow;

/* While slow.hold is set, a transfer takes long. */
static int slow_submit(struct vssd_media *media, struct vssd_io *io)
{
	uint64_t since = host_now();

	SNV_STORE_RELEASE(&slow.inside, 1);
	while (SNV_LOAD_ACQUIRE(&slow.hold)) {
		if (host_now() - since > BUSY_NS) {
			SNV_STORE_RELEASE(&slow.gave_up, 1);
			break;
		}
		sched_yield();
	}
	return ram_do((struct ram *)media, io);
}

static const struct vssd_media_ops slow_ops = { slow_submit, NULL, ram_close };

/* A namespace of blocks of 512 bytes on a medium that ends each transfer in @ops->submit(). */
static uint32_t add_ns(struct rig *r, const struct vssd_media_ops *ops)
{
	struct vssd_ns_config ns = { .lba_size = 512 };
	struct ram *ram = ram_new(r->env, 4 << 20);
	uint32_t nsid = 0;

	ram->media.ops = ops;
	ns.media = &ram->media;
	vssd_ns_add(r->v, &ns, &nsid);
	return nsid;
}

static void *one_round(void *arg)
{
	struct rig *r = arg;

	vssd_poll(r->v, 1);
	return NULL;
}

static void masked_event(void)
{
	struct rig_config g;
	struct rig *r;
	struct snv_sqe sqe;
	uint64_t since, buf;
	uint16_t aer[2], read;
	pthread_t thread;

	rig_defaults(&g);
	g.v.workers = 2;
	r = rig_start(&g);
	buf = rig_mem(r, 4096);
	r->nsid = add_ns(r, &slow_ops);
	is(rig_create_pair(r, 2, 16), 0, "Base 5.4, 5.5 a pair for worker 0");
	is(rig_io(r, SNV_OP_READ, 0, 1, buf, 512), 0, "a read by worker 1");
	aer[0] = rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_ASYNC_EVENT));
	aer[1] = rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_ASYNC_EVENT));
	rig_settle(r);
	vssd_reg_write(r->c, SNV_REG_DBS + 8 * 9, 1, 4);
	rig_doorbell(r, 2, false, 9999);
	rig_settle(r);
	rig_reap(r);
	rig_settle(r);
	is(r->cmd[aer[0]].done + r->cmd[aer[1]].done, 1,
	   "Base 5.2 of two events of a type one is reported, the other masked");

	slow.hold = 1;
	slow.inside = 0;
	sqe = rig_rw(r, SNV_OP_READ, 0, 1);
	sqe.prp1 = snv_le64(buf);
	read = rig_submit(r, 1, &sqe);
	pthread_create(&thread, NULL, one_round, r);
	since = host_now();
	while (!SNV_LOAD_ACQUIRE(&slow.inside) && host_now() - since < DEADLINE_NS)
		sched_yield();
	ok(SNV_LOAD_ACQUIRE(&slow.inside), "worker 1 is busy with a transfer");
	for (int i = 0; i < 3; i++)
		vssd_poll(r->v, 0);
	ok(!SNV_LOAD_ACQUIRE(&slow.gave_up),
	   "worker 0 does not wait for it for the sake of a masked event");
	SNV_STORE_RELEASE(&slow.hold, 0);
	pthread_join(thread, NULL);
	is(rig_wait(r, read), 0, "the read succeeds");
	rig_close(r, "masked event");
}

/* ---- workers that sleep ----------------------------------------------------------------------- */

/* @n completions of queue @qid come in time, all of them with status 0. */
static bool ends(struct host *h, uint16_t qid, int n)
{
	uint64_t since = host_now();
	bool fine = true;

	while (n) {
		uint16_t cid;
		int status;

		if (host_reap(h, qid, &cid, &status)) {
			fine &= !status;
			n--;
		} else if (host_now() - since > DEADLINE_NS) {
			return false;
		} else {
			sched_yield();
		}
	}
	return fine;
}

static bool open_host(struct host *h, const char *spec)
{
	char why[256];

	if (!host_open(h, spec, 1, why, sizeof(why)))
		return true;
	ok(false, "%s: %s", spec, why);
	return false;
}

/* Long enough for workers to be asleep, falling asleep, or nearly so. */
static void pause_for(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	usleep(60 + (*seed >> 8) % 240);
}

static bool asleep(struct host *h, uint16_t cqid)
{
	for (uint64_t since = host_now(); host_now() - since < DEADLINE_NS; usleep(200))
		if (SNV_LOAD_RELAXED(vssd_home_asleep(h->home, cqid)))
			return true;
	return false;
}

static void sleepers_fused(const char *spec)
{
	struct host h;
	uint32_t seed = 5;
	int i;

	if (!open_host(&h, spec))
		return;
	for (i = 0; i < 400; i++) {
		struct snv_sqe compare = host_rw(SNV_OP_COMPARE, 0, 8, h.mem + HOST_DATA, 4096);
		struct snv_sqe write = host_rw(SNV_OP_WRITE, 0, 8, h.mem + HOST_DATA, 4096);
		struct host_queue *q = &h.q[1];

		pause_for(&seed);
		compare.flags = SNV_SQE_FUSE_FIRST;
		compare.cid = snv_le16(q->cid++);
		q->sq[q->tail] = compare;
		q->tail = (q->tail + 1) % HOST_ENTRIES;
		/* Rings for both. */
		write.flags = SNV_SQE_FUSE_SECOND;
		host_submit(&h, 1, &write);
		if (!ends(&h, 1, 2))
			break;
	}
	is(i, 400, "%s: 400 fused pairs, to workers that sleep", spec);
	host_close(&h);
}

/* Zone commands need CC.CSS to say so. */
static bool enable_zones(struct host *h)
{
	struct snv_sqe sqe = { .opcode = SNV_ADMIN_CREATE_CQ, .cdw11 = snv_le32(1),
			       .cdw10 = snv_le32((HOST_ENTRIES - 1) << 16 | 1) };
	int status;

	host_set_cc(h, 0);
	host_queue_init(h, 0);
	host_queue_init(h, 1);
	host_set_cc(h, SNV_CC_EN | SNV_CC_CSS_CSI | 6U << SNV_CC_IOSQES_SHIFT |
		    4U << SNV_CC_IOCQES_SHIFT);
	sqe.prp1 = snv_le64((uintptr_t)h->q[1].cq);
	status = host_do(h, 0, &sqe);
	sqe.opcode = SNV_ADMIN_CREATE_SQ;
	sqe.prp1 = snv_le64((uintptr_t)h->q[1].sq);
	sqe.cdw11 = snv_le32(1 << 16 | 1);
	return !status && !host_do(h, 0, &sqe);
}

static void sleepers_zoned(const char *spec)
{
	struct snv_sqe sqe = { .opcode = SNV_OP_ZONE_MGMT_SEND, .nsid = snv_le32(1),
			       .cdw13 = snv_le32(SNV_ZONE_SEND_RESET) };
	struct host h;
	uint32_t seed = 11;
	int i;

	if (!open_host(&h, spec))
		return;
	if (!ok(enable_zones(&h), "%s: zones", spec)) {
		host_close(&h);
		return;
	}
	for (i = 0; i < 100; i++) {
		pause_for(&seed);
		host_submit(&h, 1, &sqe);
		if (!ends(&h, 1, 1))
			break;
	}
	is(i, 100, "%s: 100 zone resets that take their time, by workers that sleep", spec);
	host_close(&h);
}

static void sleepers_event(const char *spec)
{
	struct snv_sqe sqe = { .opcode = SNV_ADMIN_ASYNC_EVENT };
	struct host h;

	if (!open_host(&h, spec))
		return;
	host_submit(&h, 0, &sqe);
	ok(asleep(&h, 0) && asleep(&h, 1), "%s: both workers sleep", spec);
	host_ring(&h, 1, false, 5000);
	ok(ends(&h, 0, 1), "%s: Base 5.2 an invalid tail on worker 1's queue is reported by worker 0",
	   spec);
	host_close(&h);
}

/* ---- namespaces that go while commands wait --------------------------------------------------- */

/* What else comes in the round in which a Zone Reset waits for all to stop. */
enum meanwhile { NOTHING, ABORT, DELETE_SQ };

static void deleted_under_reset(enum meanwhile what)
{
	static const char *const name[] = { "nothing else", "Abort", "Delete I/O Submission Queue" };
	struct rig_config g;
	struct rig *r;
	struct snv_sqe sqe;
	uint16_t reset, delete, more = 0;
	int got;

	zones_of(&g);
	r = rig_start(&g);
	r->no_ring = true;
	sqe = reset_all(r);
	reset = rig_submit(r, 1, &sqe);
	delete = rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_NS_MGMT, .nsid = snv_le32(r->nsid),
				      .cdw10 = snv_le32(SNV_NS_MGMT_DELETE)));
	if (what == ABORT)
		more = rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_ABORT,
					    .cdw10 = snv_le32((uint32_t)reset << 16 | 1)));
	else if (what == DELETE_SQ)
		more = rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_DELETE_SQ, .cdw10 = snv_le32(1)));
	r->no_ring = false;
	rig_ring(r, 1);
	rig_ring(r, 0);
	r->ram = NULL;			/* it is closed with its namespace */
	is(rig_wait(r, delete), 0, "Base 5.23 a namespace deleted under a Zone Reset, and %s",
	   name[what]);
	if (what)
		is(rig_wait(r, more), 0, "Base 5.1, 5.7 %s succeeds", name[what]);
	got = rig_wait(r, reset);
	ok(got > 0, "ZNS 3.4.3 the Zone Reset fails (%#x)", got);
	rig_close(r, "deleted under Zone Reset");
}

static uint16_t submit_cache_off(struct rig *r)
{
	return rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_SET_FEATURES,
				    .cdw10 = snv_le32(SNV_FEAT_VOLATILE_WC)));
}

/* Set Features Volatile Write Cache flushes, and the namespace is to be deleted when that ends. */
static void deleted_under_flush(bool abort)
{
	struct rig_config g;
	struct rig *r;
	uint16_t set, delete, more = 0;
	uint32_t turn;
	int got;

	rig_defaults(&g);
	g.volatile_cache = true;
	r = rig_start(&g);
	r->ram->async = true;
	r->ram->held = true;
	set = submit_cache_off(r);
	for (turn = 0; !r->ram->pendings && turn < 10; turn++)
		vssd_poll(r->v, 0);
	is(r->ram->pendings, 1, "Base 5.27.1.4 turning the cache off begins with a Flush");
	r->no_ring = true;
	delete = rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_NS_MGMT, .nsid = snv_le32(r->nsid),
				      .cdw10 = snv_le32(SNV_NS_MGMT_DELETE)));
	if (abort)
		more = rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_ABORT,
					    .cdw10 = snv_le32((uint32_t)set << 16)));
	r->no_ring = false;
	rig_ring(r, 0);
	r->ram->held = false;
	vssd_poll(r->v, 0);		/* the Flush ends, and Delete is fetched */
	r->ram = NULL;
	got = rig_wait(r, set);
	ok(got == 0 || (abort && got == SNV_SC_ABORT_REQ),
	   "Base 5.27.1.4 it ends%s, its namespace being deleted (%#x)",
	   abort ? " or is aborted" : "", got);
	is(rig_wait(r, delete), 0, "Base 5.23 the deletion succeeds");
	if (abort)
		is(rig_wait(r, more), 0, "Base 5.1 Abort succeeds");
	rig_close(r, "deleted under Set Features");
}

/* ---- the write cache is turned off ------------------------------------------------------------ */

/* A medium with a write cache, that keeps no data but knows what is durable. */
struct cache {
	struct vssd_media media;
	struct vssd_io *io[16];
	uint32_t n;
	bool hold_writes;
	uint64_t written;	/* writes that ended in the cache */
	uint64_t durable;	/* of them, those that a flush has since written back */
	uint32_t *closed;
};

static int cache_submit(struct vssd_media *media, struct vssd_io *io)
{
	struct cache *c = (struct cache *)media;

	if (c->n == 16)
		return SNV_SC_INTERNAL;
	/* A flush is for writes that ended before it began. */
	io->priv[0] = c->written;
	c->io[c->n++] = io;
	return VSSD_PENDING;
}

static uint32_t cache_poll(struct vssd_media *media, uint32_t worker)
{
	struct cache *c = (struct cache *)media;
	uint32_t ended = 0, i = 0;

	while (i < c->n) {
		struct vssd_io *io = c->io[i];

		if (io->worker != worker || (io->op == VSSD_IO_WRITE && c->hold_writes)) {
			i++;
			continue;
		}
		memmove(c->io + i, c->io + i + 1, (--c->n - i) * sizeof(c->io[0]));
		if (io->op == VSSD_IO_WRITE && !io->fua)
			c->written++;
		if (io->op == VSSD_IO_FLUSH && io->priv[0] > c->durable)
			c->durable = io->priv[0];
		io->done(io, 0);
		ended++;
		i = 0;
	}
	return ended;
}

static void cache_close(struct vssd_media *media)
{
	struct cache *c = (struct cache *)media;

	c->closed[0]++;
	c->closed[1] += !!c->n;
	free(c);
}

static const struct vssd_media_ops cache_ops = { cache_submit, cache_poll, cache_close };

/* For what waits, trying again in each round: rig_settle() takes that for work. */
static void rounds(struct rig *r)
{
	for (uint32_t i = 0; i < 20 * r->env->workers; i++)
		vssd_poll(r->v, i % r->env->workers);
}

static void cache_off(uint32_t workers)
{
	struct rig_config g;
	struct rig *r;
	struct cache *c = calloc(1, sizeof(*c));
	struct snv_sqe sqe;
	uint16_t write[2], set;

	rig_defaults(&g);
	g.no_ns = true;
	g.v.workers = workers;
	r = rig_start(&g);
	c->media = (struct vssd_media){ &cache_ops, 1 << 20, .volatile_cache = true };
	c->closed = r->env->closed;
	r->env->media++;
	g.ns.media = &c->media;
	is(vssd_ns_add(r->v, &g.ns, &r->nsid), 0, "a namespace with a volatile write cache");

	c->hold_writes = true;
	sqe = rig_rw(r, SNV_OP_WRITE, 0, 8);
	sqe.prp1 = snv_le64(rig_mem(r, 4096));
	write[0] = rig_submit(r, 1, &sqe);
	rounds(r);
	is(c->n, 1, "a write is with the medium");
	set = submit_cache_off(r);
	rounds(r);
	write[1] = rig_submit(r, 1, &sqe);
	rounds(r);
	rig_reap(r);
	c->hold_writes = false;
	is(rig_wait(r, set), 0, "Base 5.27.1.4 the cache is turned off, %u workers", workers);
	is(rig_wait(r, write[0]), 0, "the write succeeds");
	is(rig_wait(r, write[1]), 0, "and one that came meanwhile");
	is(c->durable, c->written,
	   "Base 5.27.1.4 neither is left in the cache, as nobody will flush it");
	rig_close(r, "cache off");
}

static void cache_stays_on(bool async)
{
	struct rig_config g;
	struct rig *r;
	uint64_t buf;

	rig_defaults(&g);
	g.volatile_cache = true;
	r = rig_start(&g);
	buf = rig_mem(r, 4096);
	r->ram->async = async;
	r->ram->fail = SNV_SC_WRITE_FAULT;
	r->ram->fail_count = 1;
	is(rig_set_feature(r, SNV_FEAT_VOLATILE_WC, 0), SNV_SC_WRITE_FAULT,
	   "Base 5.27.1.4 the cache cannot be flushed: it is not turned off");
	is(rig_get_feature(r, SNV_FEAT_VOLATILE_WC), 0, "Base 5.15 Get Features");
	is(rig_dw0(r), 1, "Base 5.27.1.4 says so");
	is(rig_io(r, SNV_OP_WRITE, 0, 1, buf, 512), 0, "a write");
	is(r->ram->fua, 0, "goes to the cache");
	is(rig_set_feature(r, SNV_FEAT_VOLATILE_WC, 0), 0, "Base 5.27.1.4 now it can");
	rig_get_feature(r, SNV_FEAT_VOLATILE_WC);
	is(rig_dw0(r), 0, "Base 5.27.1.4 and is off");
	is(rig_io(r, SNV_OP_WRITE, 0, 1, buf, 512), 0, "a write");
	is(r->ram->fua, 1, "is durable when it ends");
	rig_close(r, "cache stays on");
}

/* ---- shadow doorbells of queues that come again ----------------------------------------------- */

/* A Flush by shadow doorbells at @shadow: the status. */
static int flush_by_shadow(struct rig *r, uint32_t qid, uint32_t *shadow)
{
	uint16_t cid = rig_submit(r, qid, SQE(.opcode = SNV_OP_FLUSH, .nsid = snv_le32(r->nsid)));
	int ret;

	SNV_STORE_RELEASE(&shadow[2 * qid], (SNV_FORCE uint32_t)snv_le32(r->sq[qid].tail));
	ret = rig_wait(r, cid);
	SNV_STORE_RELEASE(&shadow[2 * qid + 1], (SNV_FORCE uint32_t)snv_le32(r->cq[qid].head));
	rig_settle(r);
	return ret;
}

static int flushes_by_shadow(struct rig *r, uint32_t qid, uint32_t *shadow, int n)
{
	int wrong = 0;

	while (n--)
		wrong += !!flush_by_shadow(r, qid, shadow);
	return wrong;
}

static void shadows(void)
{
	struct rig_config g;
	struct rig *r;
	uint64_t shadow, event;
	uint32_t *s, before, wrong = 0, i;
	uint16_t aer;

	rig_defaults(&g);
	g.c.dbbuf = true;
	g.c.queues = 8;
	r = rig_start(&g);
	shadow = rig_mem(r, 4096);
	event = rig_mem(r, 4096);
	s = rig_ptr(r, shadow);
	for (i = 0; i < 5; i++)
		wrong += !!rig_do(r, 1, SQE(.opcode = SNV_OP_FLUSH, .nsid = snv_le32(r->nsid)));
	is(wrong, 0, "five commands by MMIO doorbells");
	aer = rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_ASYNC_EVENT));
	is(ADMIN(r, .opcode = SNV_ADMIN_DBBUF, .prp1 = snv_le64(shadow), .prp2 = snv_le64(event)), 0,
	   "Base 5.8 then Doorbell Buffer Config, in pages of zeros");
	before = r->completions;
	rig_settle(r);
	rig_reap(r);
	is(r->completions, before, "Base 5.8 the queue does not begin anew");
	is(flushes_by_shadow(r, 1, s, 70), 0, "Base 5.8 but goes on where it was");

	is(rig_create_pair(r, 2, 64), 0, "Base 5.4, 5.5 another pair");
	is(flushes_by_shadow(r, 2, s, 5), 0, "Base 5.8 with five commands");
	is(rig_delete_sq(r, 2), 0, "Base 5.7 is deleted");
	is(rig_delete_cq(r, 2), 0, "Base 5.6 both of it");
	is(rig_create_pair(r, 2, 64), 0, "Base 5.4, 5.5 and comes again");
	before = r->completions;
	rig_settle(r);
	rig_reap(r);
	is(r->completions, before,
	   "Base 5.8 nothing is fetched before the host says that there is something");
	is(flushes_by_shadow(r, 2, s, 70), 0, "Base 5.8 then what it says");
	ok(!r->cmd[aer].done, "Base 5.2 no doorbell was found to be invalid");
	rig_close(r, "shadows");
}

/* ---- fused pairs short of room ---------------------------------------------------------------- */

#define PAIRS	12

/* Bursts of one command: each queue's first is fetched before any second. */
static void fused_room(bool shared)
{
	struct rig_config g;
	struct rig *r;
	uint16_t cid[2 * PAIRS];
	uint32_t turn, q, ended = 0, wrong = 0;
	uint64_t buf;

	rig_defaults(&g);
	g.v.max_inflight = 1;
	g.c.queues = PAIRS + 1;
	r = rig_start(&g);
	buf = rig_mem(r, 4096);
	is(rig_set_feature(r, SNV_FEAT_ARBITRATION, 0), 0, "Base 5.27.1.1 Arbitration Burst 1");
	if (shared)
		wrong += !!rig_create_cq(r, 2, 4, 2);
	for (q = 2; q < 2 + PAIRS; q++)
		wrong += !!(shared ? rig_create_sq(r, q, 16, 2, 0) : rig_create_pair(r, q, 16));
	is(wrong, 0, "Base 5.4, 5.5 %u submission queues%s", PAIRS,
	   shared ? " that share a completion queue of 4 entries" : "");
	r->no_ring = true;
	for (q = 0; q < PAIRS; q++)
		cid[2 * q] = submit_pair(r, 2 + q, buf, &cid[2 * q + 1]);
	r->no_ring = false;
	for (q = 2; q < 2 + PAIRS; q++)
		rig_ring(r, q);
	for (turn = 0; turn < 2000; turn++) {
		rig_step(r);
		rig_reap(r);
	}
	for (q = 0; q < 2 * PAIRS; q++) {
		ended += r->cmd[cid[q]].done;
		wrong += !!r->cmd[cid[q]].status;
	}
	is(ended, 2 * PAIRS, "NVM 2.1.5 a fused pair in each, one command at a time: all end");
	is(wrong, 0, "NVM 2.1.5 and succeed");
	rig_close(r, "fused room");
}

/* A worker's round is over between a first and its second, and then the queue is deleted. */
static void fused_cut(void)
{
	struct rig_config g;
	struct rig *r;
	struct snv_sqe sqe;
	uint16_t cid, first, second;
	uint32_t i, posted;
	uint64_t buf;

	rig_defaults(&g);
	r = rig_start(&g);
	buf = rig_mem(r, 4096);
	ok(!rig_create_cq(r, 2, 66, 2) && !rig_create_sq(r, 2, 128, 2, 0),
	   "Base 5.4, 5.5 a completion queue with room for 65");
	sqe = rig_rw(r, SNV_OP_READ, 0, 1);
	sqe.prp1 = snv_le64(buf);
	r->no_ring = true;
	for (i = 0; i < 63; i++)
		rig_submit(r, 2, &sqe);
	first = submit_pair(r, 2, buf, &second);
	cid = rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_DELETE_SQ, .cdw10 = snv_le32(2)));
	r->no_ring = false;
	rig_ring(r, 2);
	rig_ring(r, 0);
	is(rig_wait(r, cid), 0, "Base 5.7 a queue is deleted with a pair in it");
	rig_reap(r);
	is(r->cmd[first].status & SNV_STATUS_CODE, SNV_SC_ABORT_SQ_DELETED,
	   "Base 5.7 the first, which waited for its second, is aborted");
	rig_settle(r);
	r->cmd[second].busy = false;	/* if it was never fetched, it ends with its queue */
	is(rig_create_sq(r, 3, 128, 2, 0), 0, "Base 5.4 another queue reports there");
	r->cq[2].hold = true;
	posted = r->completions;
	for (i = 0; i < 65; i++)
		rig_submit(r, 3, &sqe);
	rig_settle(r);
	rig_settle(r);
	r->cq[2].hold = false;
	rig_reap_cq(r, 2);
	is(r->completions - posted, 65, "all 65 slots are there again");
	rig_close(r, "fused cut");
}

/* ---- the flash model learns what is no longer needed ------------------------------------------ */

static uint64_t moved(struct rig *r)
{
	struct vssd_stats stats;

	vssd_get_stats(r->v, &stats);
	return stats.timing.moved_pages;
}

static void flash_deallocate(bool deallocate)
{
	struct rig_config g;
	struct rig *r;
	struct snv_dsm_range *range;
	uint32_t i, seed = 1, wrong = 0;
	uint64_t buf, begun;

	rig_defaults(&g);
	g.ns.lba_size = 4096;
	g.v.timing = one_die;
	r = rig_start(&g);
	buf = rig_mem(r, 32768);
	for (i = 0; i < 1024; i += 8)
		wrong += !!rig_io(r, SNV_OP_WRITE, i, 8, buf, 32768);
	is(wrong, 0, "every block is written");
	r->env->now += 10000 * MS;
	if (deallocate) {
		range = rig_ptr(r, buf);
		range->slba = snv_le64(0);
		range->nlb = snv_le32(1024);
		is(rig_do(r, 1, SQE(.opcode = SNV_OP_DSM, .nsid = snv_le32(r->nsid),
				    .prp1 = snv_le64(buf), .cdw11 = snv_le32(SNV_DSM_CDW11_AD))),
		   0, "NVM 3.2.3 then deallocated");
	}
	begun = r->env->now;
	wrong += !!rig_io(r, SNV_OP_READ, 5, 1, buf, 4096);
	if (deallocate)
		ok(r->env->now - begun < one_die.read_ns, "a deallocated block is read without the flash");
	else
		ok(r->env->now - begun >= one_die.read_ns, "a block is read from the flash");
	for (i = 0; i < 1500; i++) {
		seed = seed * 1664525u + 1013904223u;
		wrong += !!rig_io(r, SNV_OP_WRITE, (seed >> 8) % 256, 1, buf, 4096);
	}
	is(wrong, 0, "1500 writes to a quarter of it");
	if (deallocate)
		ok(moved(r) < 20, "garbage collection leaves deallocated blocks behind (%llu moved)",
		   (unsigned long long)moved(r));
	else
		ok(moved(r) > 500, "garbage collection moves what was not deallocated (%llu)",
		   (unsigned long long)moved(r));
	rig_close(r, "flash, DSM");
}

static void flash_zone_reset(void)
{
	struct rig_config g;
	struct rig *r;
	struct snv_sqe sqe;
	uint32_t i, z, round, wrong = 0;
	uint64_t buf;

	zones_of(&g);
	g.media_size = 4 << 20;
	g.ns.lba_size = 4096;
	g.ns.zone_blocks = 64;
	g.v.timing = one_die;
	r = rig_start(&g);
	buf = rig_mem(r, 32768);
	/* Block by block, so that each block of the flash has some of every zone. */
	for (i = 0; i < 64; i++)
		for (z = 0; z < 16; z++)
			wrong += !!rig_io(r, SNV_OP_WRITE, z * 64 + i, 1, buf, 4096);
	is(wrong, 0, "all zones are full");
	r->env->now += 10000 * MS;
	sqe = reset_all(r);
	for (round = 0; round < 6; round++) {
		wrong += !!rig_do(r, 1, &sqe);
		for (i = 0; i < 256; i += 8)
			wrong += !!rig_io(r, SNV_OP_WRITE, i, 8, buf, 32768);
	}
	is(wrong, 0, "ZNS 3.4.3 all are reset, and a quarter written again: six times");
	ok(moved(r) < 20, "garbage collection leaves the blocks of empty zones behind (%llu moved)",
	   (unsigned long long)moved(r));
	rig_close(r, "flash, Zone Reset");
}

/* ---- limits, and controllers that go ---------------------------------------------------------- */

static const struct vssd_media_ops plain_ops = { ram_submit, NULL, ram_close };

/* One page may hold more than the controller takes. */
static void mdts_in_a_page(void)
{
	struct rig_config g;
	struct rig *r;
	uint32_t nsid[2];
	uint64_t buf;

	rig_defaults(&g);
	g.c.mdts = 1;
	g.c.mpsmax = 4;
	g.cc = 4 << SNV_CC_MPS_SHIFT;
	r = rig_start(&g);
	nsid[0] = r->nsid;
	nsid[1] = add_ns(r, &plain_ops);
	for (int i = 0; i < 2; i++) {
		r->nsid = nsid[i];
		buf = rig_mem(r, 65536);
		is(rig_io(r, SNV_OP_WRITE, 0, 16, buf, 8192), 0,
		   "Base 5.17.2.1 MDTS: 8 KiB in a page of 64 KiB");
		is(rig_io(r, SNV_OP_WRITE, 0, 17, buf, 8704), SNV_SC_INVALID_FIELD,
		   "Base 5.17.2.1 MDTS: a block more");
		is(rig_io(r, SNV_OP_WRITE, 0, 128, buf, 65536), SNV_SC_INVALID_FIELD,
		   "Base 5.17.2.1 MDTS: all of it");
		is(rig_io(r, SNV_OP_READ, 0, 128, buf, 65536), SNV_SC_INVALID_FIELD,
		   "Base 5.17.2.1 MDTS: and back");
	}
	rig_close(r, "MDTS");
}

static int attach(struct rig *r, uint32_t nsid, uint16_t cntlid, uint32_t sel)
{
	uint64_t buf = rig_mem(r, 4096);
	struct snv_ctrl_list *list = rig_ptr(r, buf);

	list->num = snv_le16(1);
	list->cntlid[0] = snv_le16(cntlid);
	return ADMIN(r, .opcode = SNV_ADMIN_NS_ATTACH, .nsid = snv_le32(nsid), .prp1 = snv_le64(buf),
		     .cdw10 = snv_le32(sel));
}

static bool has_ns(struct rig *r, uint32_t nsid)
{
	uint64_t buf = rig_mem(r, 4096);
	const __le32 *list = rig_ptr(r, buf);

	if (rig_identify(r, SNV_CNS_ACTIVE_NS_LIST, 0, 0, buf))
		return false;
	for (int i = 0; i < 1024 && snv_le32_get(list[i]); i++)
		if (snv_le32_get(list[i]) == nsid)
			return true;
	return false;
}

static void private_namespace(void)
{
	struct rig_config g;
	struct rig *r, *peer;
	struct snv_id_ns *id;
	uint64_t buf;
	uint32_t nsid;

	rig_defaults(&g);
	r = rig_start(&g);
	peer = rig_peer(r, &g);
	ok(rig_enable(peer), "Base 3.5.1 a second controller");
	buf = rig_mem(r, 4096);
	id = rig_ptr(r, buf);
	id->nsze = snv_le64(2048);
	id->ncap = snv_le64(2048);
	is(ADMIN(r, .opcode = SNV_ADMIN_NS_MGMT, .prp1 = snv_le64(buf)), 0,
	   "Base 5.23 a private namespace");
	nsid = rig_dw0(r);
	is(attach(r, nsid, 1, SNV_NS_ATTACH_ATTACH), 0, "Base 5.22 attached to the second controller");
	ok(has_ns(peer, nsid), "Base 5.17.2.2 which has it");
	rig_close(peer, "a controller that goes");

	peer = rig_peer(r, &g);
	ok(rig_enable(peer), "Base 3.5.1 that one is removed, and another takes its place");
	ok(!has_ns(peer, nsid), "Base 5.17.2.2 which does not have it");
	ok(has_ns(peer, r->nsid), "Base 5.17.2.2 but what is for all");
	rig_close(peer, "another that goes");

	is(attach(r, nsid, 1, SNV_NS_ATTACH_DETACH), SNV_SC_CTRL_LIST_INVALID,
	   "Base 5.22 there is none to detach it from");
	is(attach(r, nsid, 0, SNV_NS_ATTACH_ATTACH), 0,
	   "Base 5.22 it can be attached to the first controller");
	ok(has_ns(r, nsid), "Base 5.17.2.2 which has it");
	is(attach(r, nsid, 0, SNV_NS_ATTACH_DETACH), 0, "Base 5.22 and detached");
	rig_close(r, "private namespace");
}

static void sleepers(void)
{
	char path[] = "/var/tmp/vssd_corners.XXXXXX", spec[64];
	int fd = mkstemp(path);

	sleepers_zoned("ram,size=16M,zone_size=1M,threads=2,timing=slow");
	sleepers_event("ram,size=1M,threads=2");
	sleepers_fused("ram,size=1M,threads=2,timing=optane");
	if (fd < 0 || ftruncate(fd, 1 << 20)) {
		skip("%s: %s", path, strerror(errno));
		return;
	}
	close(fd);
	snprintf(spec, sizeof(spec), "file=%s,threads=2", path);
	sleepers_fused(spec);
	sleepers_event(spec);
	unlink(path);
}

int main(void)
{
	wakes();
	wakes_zoned();
	owed_interrupt();
	masked_event();
	sleepers();
	deleted_under_reset(NOTHING);
	deleted_under_reset(ABORT);
	deleted_under_reset(DELETE_SQ);
	deleted_under_flush(false);
	deleted_under_flush(true);
	cache_off(1);
	cache_off(2);
	cache_stays_on(false);
	cache_stays_on(true);
	shadows();
	fused_room(false);
	fused_room(true);
	fused_cut();
	flash_deallocate(false);
	flash_deallocate(true);
	flash_zone_reset();
	mdts_in_a_page();
	private_namespace();
	return done();
}
