// SPDX-License-Identifier: MIT
/*
 * Media for memory of a device. The device here is memory behind addresses that cannot be touched, and
 * an engine that copies a little each time it is asked, so that what must not meet could. Then the
 * engine for CUDA, over a driver that does nothing but note what it is told.
 */
#include <pthread.h>
#include <unistd.h>

#include "../../vssd/user/device.c"

#include "tap.h"

#define WORKERS		4
#define SIZE		(1U << 20)
#define FAR		(8U << 20)	/* bytes of the device */
#define STAGING		(1U << 20)
#define MAX_SEGS	8
#define PIECE		(24U << 10)	/* copied at a time */
#define MAX_PINS	16

static uint64_t seed = 0xdead;
static char why[256];

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state * 0x2545f4914f6cdd1dULL >> 11;
}

static uint64_t below(uint64_t n)
{
	return next_random(&seed) % n;
}

static bool all(const char *buf, size_t size, char c)
{
	for (size_t i = 0; i < size; i++)
		if (buf[i] != c)
			return false;
	return true;
}

/* ---- a device --------------------------------------------------------------------------------- */

struct engine_slot {
	struct vssd_copies *copies;
	size_t left;		/* copies, from the last one on */
	size_t at;		/* bytes of the one under way */
};

static struct {
	char *far;		/* addresses */
	char *mem;		/* and what is there */
	struct engine_slot slot[WORKERS][VSSD_DEVICE_SLOTS];
	bool held[WORKERS];	/* nothing moves */
	int fail_pin;		/* so many from now on; likewise the others */
	int fail_start;
	int fail_query;
	int starts;
	size_t most;		/* copies in a batch */
	int closed;
	int bad;		/* copies with memory that was not pinned, or of the wrong size */
	struct range pin[MAX_PINS];
} fake;

static void *real(const void *va, size_t length)
{
	uintptr_t at = (uintptr_t)va - (uintptr_t)fake.far;

	if (at < FAR)
		return at + length <= FAR ? fake.mem + at : NULL;
	for (int i = 0; i < MAX_PINS; i++)
		if ((uintptr_t)va >= fake.pin[i].begin && (uintptr_t)va + length <= fake.pin[i].end)
			return (void *)va;
	return NULL;
}

/* Where the bytes at @va, host or device, can be seen. */
static char *seen(const void *va)
{
	uintptr_t at = (uintptr_t)va - (uintptr_t)fake.far;

	return at < FAR ? fake.mem + at : (char *)va;
}

static int fake_pin(void *ctx, void *va, size_t length)
{
	if (fake.fail_pin && !--fake.fail_pin)
		return -ENOMEM;
	for (int i = 0; i < MAX_PINS; i++) {
		if (fake.pin[i].end)
			continue;
		fake.pin[i] = (struct range){ (uintptr_t)va, (uintptr_t)va + length, false };
		return 0;
	}
	return -ENOMEM;
}

static void fake_unpin(void *ctx, void *va, size_t length)
{
	for (int i = 0; i < MAX_PINS; i++)
		if (fake.pin[i].begin == (uintptr_t)va && fake.pin[i].end == (uintptr_t)va + length)
			fake.pin[i] = (struct range){ 0 };
}

static int pins(void)
{
	int n = 0;

	for (int i = 0; i < MAX_PINS; i++)
		n += !!fake.pin[i].end;
	return n;
}

static int fake_start(void *ctx, uint32_t worker, uint32_t slot, struct vssd_copies *copies)
{
	if (fake.fail_start && !--fake.fail_start)
		return -EIO;
	__atomic_add_fetch(&fake.starts, 1, __ATOMIC_RELAXED);
	if (copies->n > SNV_LOAD_RELAXED(&fake.most))
		SNV_STORE_RELAXED(&fake.most, copies->n);
	fake.slot[worker][slot] = (struct engine_slot){ copies, copies->n, 0 };
	return 0;
}

static int fake_query(void *ctx, uint32_t worker, uint32_t slot)
{
	struct engine_slot *s = &fake.slot[worker][slot];
	size_t room = PIECE;

	if (fake.held[worker])
		return 0;
	if (fake.fail_query && !--fake.fail_query)
		return -EIO;
	while (s->left && room) {
		size_t i = s->left - 1, n = s->copies->length[i] - s->at;
		char *dst = real((void *)(uintptr_t)s->copies->dst[i], s->copies->length[i]);
		char *src = real((void *)(uintptr_t)s->copies->src[i], s->copies->length[i]);

		if (n > room)
			n = room;
		if (dst && src && s->copies->length[i])
			memcpy(dst + s->at, src + s->at, n);
		else
			__atomic_add_fetch(&fake.bad, 1, __ATOMIC_RELAXED);
		room -= n;
		s->at += n;
		if (s->at == s->copies->length[i]) {
			s->left--;
			s->at = 0;
		}
	}
	return !s->left && room;
}

static void fake_close(void *ctx)
{
	fake.closed++;
}

static const struct vssd_device_ops fake_ops = {
	.pin = fake_pin,
	.unpin = fake_unpin,
	.start = fake_start,
	.query = fake_query,
	.close = fake_close,
};

static struct vssd_device *fake_device(size_t staging)
{
	struct vssd_device *d = vssd_device_create(&fake_ops, NULL, WORKERS, staging);

	if (d)
		vssd_device_map(d, fake.far, FAR);
	return d;
}

/* ---- a medium that takes its time ------------------------------------------------------------- */

static struct slow {
	struct vssd_media media;
	char mem[SIZE];
	struct vssd_io *io[64];
	int n;
	bool at_once;
	int status;		/* of all transfers */
} slow;

static int slow_end(struct vssd_io *io)
{
	uint64_t at = io->offset;

	for (uint32_t i = 0; i < io->segs && !slow.status; i++) {
		if (io->op == VSSD_IO_READ)
			memcpy(io->seg[i].va, slow.mem + at, io->seg[i].length);
		else
			memcpy(slow.mem + at, io->seg[i].va, io->seg[i].length);
		at += io->seg[i].length;
	}
	return slow.status;
}

static int slow_submit(struct vssd_media *media, struct vssd_io *io)
{
	if (slow.at_once)
		return slow_end(io);
	slow.io[slow.n++] = io;
	return VSSD_PENDING;
}

static uint32_t slow_poll(struct vssd_media *media, uint32_t worker)
{
	int n = slow.n;

	slow.n = 0;
	for (int i = 0; i < n; i++)
		slow.io[i]->done(slow.io[i], slow_end(slow.io[i]));
	return n;
}

static void slow_close(struct vssd_media *media)
{
}

static const struct vssd_media_ops slow_ops = {
	.submit = slow_submit,
	.poll = slow_poll,
	.close = slow_close,
};

static struct vssd_media *slow_media(void)
{
	memset(&slow, 0, sizeof(slow));
	slow.media = (struct vssd_media){ &slow_ops, SIZE, false, true };
	return &slow.media;
}

/* ---- media ------------------------------------------------------------------------------------ */

enum kind { RAM_STAGED, RAM_DIRECT, FILE_RING, FILE_IN_PLACE, KINDS };

static const char *const kind_name[KINDS] = {
	"ram, staged", "ram, direct", "file, ring", "file, in place",
};

struct rig {
	struct vssd_device *d;
	struct vssd_uring *u;
	struct vssd_media *m;
	char *mem;
};

/* A RAM medium's memory: its transfers tell where that is. */
static struct vssd_media *ram_media(char **mem);

static struct rig rig_of(enum kind kind)
{
	static char path[] = "/var/tmp/vssd_device.XXXXXX";
	struct vssd_file_config c = { path, SIZE, 512, false, false };
	struct rig r = { .d = fake_device(STAGING) };
	struct vssd_media *inner = NULL;
	int fd;

	if (kind == RAM_STAGED || kind == RAM_DIRECT) {
		inner = ram_media(&r.mem);
	} else {
		memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
		fd = mkstemp(path);
		r.u = vssd_uring_create(WORKERS, NULL, kind == FILE_IN_PLACE);
		if (vssd_file_open(r.u, &c, &inner, why, sizeof(why)))
			diag("%s", why);
		close(fd);
		unlink(path);
	}
	r.m = vssd_device_wrap(r.d, inner, kind == RAM_DIRECT ? r.mem : NULL);
	return r;
}

static void rig_close(struct rig *r)
{
	bool busy = false;

	for (uint32_t i = 0; i < WORKERS; i++)
		busy |= vssd_device_busy(r->d, i) || r->d->worker[i].n ||
			r->d->worker[i].free_units != r->d->worker[i].units;
	for (uint32_t i = 0; wrapped_of(r->m)->memory && i < STRIPES; i++)
		busy |= wrapped_of(r->m)->stripe[i];
	ok(!busy, "at rest: nothing held");
	r->m->ops->close(r->m);
	vssd_uring_destroy(r->u);
	vssd_device_destroy(r->d);
	is(pins(), 0, "nothing pinned");
}

/* A medium in memory that ends all at once, whole to each other, and says where it is. */
struct flat {
	struct vssd_media media;
	uint32_t lock;
	char mem[SIZE];
};

static int flat_submit(struct vssd_media *media, struct vssd_io *io)
{
	struct flat *f = (struct flat *)media;
	char *at = f->mem + io->offset;

	vssd_lock(&f->lock);
	if (io->op == VSSD_IO_DISCARD)
		memset(at, 0, io->length);
	for (uint32_t i = 0; i < io->segs; at += io->seg[i++].length)
		memcpy(io->op == VSSD_IO_READ ? io->seg[i].va : at,
		       io->op == VSSD_IO_READ ? at : io->seg[i].va, io->seg[i].length);
	vssd_unlock(&f->lock);
	return 0;
}

static void flat_close(struct vssd_media *media)
{
	free(media);
}

static const struct vssd_media_ops flat_ops = { .submit = flat_submit, .close = flat_close };

static struct vssd_media *ram_media(char **mem)
{
	struct flat *f = calloc(1, sizeof(*f));

	f->media = (struct vssd_media){ &flat_ops, SIZE, false, false };
	*mem = f->mem;
	return &f->media;
}

/* ---- transfers -------------------------------------------------------------------------------- */

struct transfer {
	struct vssd_io io;
	struct vssd_seg seg[MAX_SEGS];
	int status;
	bool ended;
};

static void transfer_done(struct vssd_io *io, int status)
{
	struct transfer *t = (struct transfer *)io;

	t->status = status;
	t->ended = true;
}

static void start(struct vssd_media *m, struct transfer *t)
{
	int ret;

	t->io.done = transfer_done;
	t->io.seg = t->seg;
	t->ended = false;
	ret = m->ops->submit(m, &t->io);
	if (ret != VSSD_PENDING)
		transfer_done(&t->io, ret);
}

static int finish(struct vssd_media *m, struct transfer *t)
{
	while (!t->ended)
		m->ops->poll(m, t->io.worker);
	return t->status;
}

static struct transfer one(enum vssd_io_op op, uint32_t worker, uint64_t offset, void *va,
			   uint64_t length)
{
	return (struct transfer){
		.io = { .op = op, .worker = worker, .offset = offset, .length = length,
			.segs = op == VSSD_IO_READ || op == VSSD_IO_WRITE },
		.seg = { { va, length } },
	};
}

static int simple(struct vssd_media *m, enum vssd_io_op op, uint64_t offset, void *va,
		  uint64_t length)
{
	struct transfer t = one(op, 0, offset, va, length);

	start(m, &t);
	return finish(m, &t);
}

/* ---- data ------------------------------------------------------------------------------------- */

/* Segments anywhere in the first half of the device, in host memory, or both; with gaps. */
static void draw_segs(struct transfer *t, char *host)
{
	uint64_t at = 0, mix = below(3);

	t->io.segs = 0;
	while (at < t->io.length) {
		uint64_t n = (1 + below(8)) * (below(3) ? 4096 : below(2) ? 512 : 100);
		char *base = mix == 0 || (mix == 1 && below(2)) ? host : fake.far;

		if (n > t->io.length - at || t->io.segs == MAX_SEGS - 1)
			n = t->io.length - at;
		t->seg[t->io.segs].va = base + at + t->io.segs * 4096 + (below(2) ? 0 : 4);
		t->seg[t->io.segs++].length = n;
		at += n;
	}
}

static void test_data(struct vssd_media *m, const char *what, int rounds)
{
	char *copy = calloc(1, SIZE), *host = aligned_alloc(4096, 1 << 18);
	int bad_status = simple(m, VSSD_IO_DISCARD, 0, NULL, SIZE), bad_data = 0;

	for (int i = 0; i < rounds; i++) {
		static const uint32_t align[] = { 4096, 4096, 512, 1 };
		uint32_t a = align[below(4)];
		uint64_t at = below(SIZE / a) * a;
		struct transfer t = one(below(5) < 2 ? VSSD_IO_READ : below(5) ? VSSD_IO_WRITE :
					VSSD_IO_DISCARD, below(WORKERS), at, NULL,
					(1 + below(24)) * (a < 512 ? 777 : a));

		if (t.io.length > SIZE - at)
			t.io.length = SIZE - at;
		t.io.fua = !below(8);
		if (t.io.op != VSSD_IO_DISCARD)
			draw_segs(&t, host);
		for (size_t j = 0; j < 1 << 18; j += 8) {
			*(uint64_t *)(host + j) = next_random(&seed);
			*(uint64_t *)(fake.mem + j) = next_random(&seed);
		}
		start(m, &t);
		bad_status += !!finish(m, &t);
		if (t.io.op == VSSD_IO_DISCARD)
			memset(copy + at, 0, t.io.length);
		for (uint32_t s = 0; s < t.io.segs; s++) {
			if (t.io.op == VSSD_IO_WRITE)
				memcpy(copy + at, seen(t.seg[s].va), t.seg[s].length);
			else
				bad_data += !!memcmp(copy + at, seen(t.seg[s].va), t.seg[s].length);
			at += t.seg[s].length;
		}
	}
	is(bad_status, 0, "%s: %d random transfers, each with success", what, rounds);
	is(bad_data, 0, "%s: what was read is what was written", what);
	is(simple(m, VSSD_IO_FLUSH, 0, NULL, 0), 0, "%s: flush", what);
	is(simple(m, VSSD_IO_READ, 0, fake.far, SIZE), 0, "%s: read all", what);
	ok(!memcmp(fake.mem, copy, SIZE), "%s: all of it in the end", what);
	free(host);
	free(copy);
}

static void test_limits(struct vssd_media *m, const char *what)
{
	is(simple(m, VSSD_IO_READ, m->size - 4096, fake.far, 4096), 0, "%s: the last bytes", what);
	is(simple(m, VSSD_IO_READ, m->size - 4096, fake.far, 8192), SNV_SC_LBA_RANGE,
	   "%s: read beyond the end", what);
	is(simple(m, VSSD_IO_WRITE, m->size, fake.far, 512), SNV_SC_LBA_RANGE,
	   "%s: write behind the end", what);
	is(simple(m, VSSD_IO_WRITE, m->size, fake.far, 0), 0, "%s: nothing, at the end", what);
}

/* ---- several at once -------------------------------------------------------------------------- */

#define DEPTH	4
#define WHOLE	(96U << 10)
#define TAIL	(32U << 10)

struct hammer {
	struct vssd_media *m;
	uint32_t worker;
	int rounds;
	int torn;
	int failed;
};

/* All of them end at the same byte, so that each write changes all of the tail. */
static void hammer_next(struct hammer *h, struct transfer *t, char *host, char *far, uint64_t *state)
{
	uint64_t skip = next_random(state) % 3 * TAIL, op = next_random(state) % 8;
	char *base = next_random(state) % 4 ? far : host;

	*t = one(op < 4 ? VSSD_IO_READ : op < 7 ? VSSD_IO_WRITE : VSSD_IO_DISCARD, h->worker,
		 4096 + skip, base, WHOLE - skip);
	if (t->io.op != VSSD_IO_DISCARD) {
		t->io.segs = 2;
		t->seg[0].length = 8192;
		t->seg[1].va = (next_random(state) % 4 ? base : host) + 8192;
		t->seg[1].length = t->io.length - 8192;
	}
	if (t->io.op == VSSD_IO_WRITE) {
		int c = 1 + next_random(state) % 255;

		for (int i = 0; i < 2; i++)
			memset(seen(t->seg[i].va), c, t->seg[i].length);
	}
	start(h->m, t);
}

static void *hammer(void *arg)
{
	struct hammer *h = arg;
	uint64_t state = 0x9e3779b97f4a7c15ULL * (h->worker + 1);
	char *far = fake.far + h->worker * DEPTH * WHOLE;
	struct transfer t[DEPTH] = { 0 };
	int left = h->rounds, flying = DEPTH;
	char *host[DEPTH];

	for (int i = 0; i < DEPTH; i++) {
		host[i] = aligned_alloc(4096, WHOLE);
		hammer_next(h, &t[i], host[i], far + i * WHOLE, &state);
	}
	while (flying) {
		h->m->ops->poll(h->m, h->worker);
		for (int i = 0; i < DEPTH; i++) {
			const char *tail;

			if (!t[i].ended || !t[i].io.length)
				continue;
			h->failed += !!t[i].status;
			if (t[i].io.op == VSSD_IO_READ) {
				tail = seen((char *)t[i].seg[1].va + t[i].seg[1].length - TAIL + 8192);
				h->torn += !all(tail, TAIL - 8192, *tail);
			}
			if (left-- > 0) {
				hammer_next(h, &t[i], host[i], far + i * WHOLE, &state);
			} else {
				t[i].io.length = 0;
				flying--;
			}
		}
	}
	for (int i = 0; i < DEPTH; i++)
		free(host[i]);
	return NULL;
}

static void test_atomic(struct vssd_media *m, const char *what, int rounds)
{
	struct hammer h[WORKERS];
	pthread_t id[WORKERS];
	int torn = 0, failed = simple(m, VSSD_IO_DISCARD, 0, NULL, SIZE);

	for (uint32_t i = 0; i < WORKERS; i++) {
		h[i] = (struct hammer){ m, i, rounds, 0, 0 };
		pthread_create(&id[i], NULL, hammer, &h[i]);
	}
	for (uint32_t i = 0; i < WORKERS; i++) {
		pthread_join(id[i], NULL);
		torn += h[i].torn;
		failed += h[i].failed;
	}
	is(failed, 0, "%s: %d threads, overlapping transfers, each with success", what, WORKERS);
	is(torn, 0, "%s: none reads half of a write", what);
}

static void test_kinds(void)
{
	for (enum kind kind = 0; kind < KINDS; kind++) {
		const char *what = kind_name[kind];
		struct rig r = rig_of(kind);

		ok(r.m && r.m->size == SIZE && !r.m->readonly &&
		   r.m->volatile_cache == (kind >= FILE_RING), "%s: made", what);
		is(pins(), WORKERS + (kind == RAM_DIRECT), "%s: pinned", what);
		test_data(r.m, what, 500);
		test_limits(r.m, what);
		test_atomic(r.m, what, kind >= FILE_RING ? 100 : 500);
		is(fake.bad, 0, "%s: copies of pinned memory only", what);
		rig_close(&r);
	}
}

/* ---- in turn ---------------------------------------------------------------------------------- */

/* Who waits for whom on a direct medium. */
static void test_direct(void)
{
	struct rig r = rig_of(RAM_DIRECT);
	char host[512] = { 3 };
	struct transfer read = one(VSSD_IO_READ, 0, 0, fake.far, 4096);
	struct transfer write = one(VSSD_IO_WRITE, 1, 512, host, 512);
	struct transfer late = one(VSSD_IO_READ, 2, 4096, fake.far + 8192, 4096);
	struct transfer clear = one(VSSD_IO_DISCARD, 3, 0, NULL, SIZE);
	struct transfer away = one(VSSD_IO_READ, 2, SIZE / 2, fake.far + 16384, 4096);

	fake.held[0] = true;
	start(r.m, &read);
	ok(!read.ended && vssd_device_busy(r.d, 0), "direct: a read takes its time");
	start(r.m, &away);
	is(finish(r.m, &away), 0, "direct: another elsewhere does not wait for it");
	start(r.m, &write);
	for (int i = 0; i < 100; i++)
		r.m->ops->poll(r.m, 0), r.m->ops->poll(r.m, 1);
	ok(!write.ended && vssd_device_busy(r.d, 1), "direct: a host's write waits for it");
	start(r.m, &late);
	start(r.m, &clear);
	for (int i = 0; i < 100; i++)
		r.m->ops->poll(r.m, 2), r.m->ops->poll(r.m, 3);
	ok(!late.ended, "direct: and a later read for the write");
	ok(!clear.ended, "direct: discard of all, for them");
	memset(r.mem, 1, 8192);
	fake.held[0] = false;
	is(finish(r.m, &read), 0, "direct: the read");
	ok(all(fake.mem, 4096, 1), "direct: without the write");
	is(finish(r.m, &write), 0, "direct: the write");
	ok(r.mem[512] == 3 && r.mem[1023] == 0 && r.mem[1024] == 1, "direct: in place");
	while (!late.ended || !clear.ended)
		r.m->ops->poll(r.m, 2), r.m->ops->poll(r.m, 3);
	is(late.status | clear.status, 0, "direct: the others");
	ok(all(r.mem, SIZE, 0), "direct: zeros, all of it");
	rig_close(&r);
}

static void test_stripes(void)
{
	struct hold h = { .first = STRIPES - 2, .n = 5 };
	struct vssd_io io = { .offset = 16383, .length = 2 };

	ok(nth(&h, 0) == 0 && nth(&h, 2) == 2 && nth(&h, 3) == STRIPES - 2 &&
	   nth(&h, 4) == STRIPES - 1, "stripes: ascending, around the end");
	h = (struct hold){ .first = 5, .n = STRIPES };
	ok(nth(&h, 0) == 0 && nth(&h, 4) == 4 && nth(&h, 5) == 5 && nth(&h, STRIPES - 1) ==
	   STRIPES - 1, "stripes: all of them");
	h = hold_of(&io);
	ok(h.first == 0 && h.n == 2 && !h.write, "stripes: two bytes across a border");
	io = (struct vssd_io){ .op = VSSD_IO_DISCARD, .offset = 1ULL << 40, .length = 1ULL << 41 };
	h = hold_of(&io);
	ok(h.n == STRIPES && h.write, "stripes: TiBs");
}

/* ---- staging, batches ------------------------------------------------------------------------- */

#define MANY 1500

static struct transfer many[MANY];

static void test_many(enum kind kind)
{
	struct rig r = rig_of(kind);
	int failed = 0;

	test_data(r.m, kind_name[kind], 10);
	memcpy(fake.mem + SIZE, fake.mem, SIZE);	/* what it holds */
	memset(fake.mem, 0xee, SIZE);
	fake.starts = 0;
	fake.most = 0;
	for (int i = 0; i < MANY; i++) {
		many[i] = one(VSSD_IO_READ, 0, i % 256 * 4096, fake.far + i % 256 * 4096, 4096);
		start(r.m, &many[i]);
	}
	for (int i = 0; i < MANY; i++)
		failed += !!finish(r.m, &many[i]);
	is(failed, 0, "%s: %d reads at once", kind_name[kind], MANY);
	ok(!memcmp(fake.mem, fake.mem + SIZE, SIZE), "%s: what they read", kind_name[kind]);
	if (kind == RAM_DIRECT)
		ok(fake.starts <= MANY / VSSD_DEVICE_COPIES + 1 && fake.most == VSSD_DEVICE_COPIES,
		   "%s: in %d batches", kind_name[kind], fake.starts);
	/* A few wait for the batch under way to end; many are another. */
	fake.starts = 0;
	fake.held[0] = true;
	for (int i = 0; i < 2 + WORTH_COPIES; i++) {
		start(r.m, &many[i]);
		r.m->ops->poll(r.m, 0);
		if (i == WORTH_COPIES - 1)
			is(fake.starts, 1, "%s: a few more are no batch", kind_name[kind]);
	}
	is(fake.starts, 2, "%s: many are", kind_name[kind]);
	fake.held[0] = false;
	for (int i = 0; i < 2 + WORTH_COPIES; i++)
		failed += !!finish(r.m, &many[i]);
	is(failed, 0, "%s: all end", kind_name[kind]);
	rig_close(&r);
}

static void test_staging(void)
{
	struct vssd_device *d = fake_device(16384);
	struct vssd_media *m = vssd_device_wrap(d, slow_media(), NULL);
	struct transfer a = one(VSSD_IO_READ, 0, 0, fake.far, 8192);
	struct transfer b = one(VSSD_IO_READ, 0, 8192, fake.far + 8192, 16384);
	struct transfer c = one(VSSD_IO_READ, 0, 4096, fake.far + 65536, 4096);
	struct transfer e = one(VSSD_IO_WRITE, 0, 65536, fake.far + 65536, 4097);

	is(simple(m, VSSD_IO_READ, 0, fake.far, 16385), SNV_SC_DATA_XFER_ERROR,
	   "staging: a transfer longer than all of it");
	for (uint32_t i = 0; i < SIZE; i++)
		slow.mem[i] = i >> 12;
	start(m, &a);
	ok(!vssd_device_busy(d, 0), "staging: the medium within is at work, not the device");
	start(m, &b);
	start(m, &c);
	is(slow.n, 1, "staging: a second that does not fit waits, and a third does not pass it");
	is(finish(m, &a) | finish(m, &b) | finish(m, &c), 0, "staging: all three in the end");
	ok(all(fake.mem, 4096, 0) && all(fake.mem + 4096, 4096, 1) &&
	   all(fake.mem + 20480, 4096, 5) && all(fake.mem + 65536, 4096, 1), "staging: data");
	start(m, &e);
	ok(!slow.n, "staging: a write is copied first");
	is(finish(m, &e), 0, "staging: then written");
	ok(all(slow.mem + 65536, 4096, 1) && slow.mem[65536 + 4097] == 17, "staging: data");
	is(d->worker[0].free_units, 4, "staging: all free");

	/* Free, but not in a row. */
	memset(d->worker[0].used + 1, 1, 1);
	d->worker[0].free_units = 3;
	d->worker[0].cursor = 1;
	is(find_units(&d->worker[0], 2), 2, "staging: the next two in a row");
	is(find_units(&d->worker[0], 3), 4, "staging: three are not to be had");
	d->worker[0].cursor = 3;
	is(find_units(&d->worker[0], 2), 2, "staging: none around the end");
	d->worker[0].used[1] = 0;
	d->worker[0].free_units = 4;

	slow.at_once = true;
	slow.status = SNV_SC_READ_ERROR;
	is(simple(m, VSSD_IO_READ, 0, fake.far, 4096), SNV_SC_READ_ERROR, "within: error at once");
	slow.status = SNV_SC_WRITE_FAULT;
	is(simple(m, VSSD_IO_WRITE, 0, fake.far, 4096), SNV_SC_WRITE_FAULT, "within: of a write");
	slow.at_once = false;
	is(simple(m, VSSD_IO_WRITE, 0, fake.far, 4096), SNV_SC_WRITE_FAULT, "within: later");
	slow.status = SNV_SC_READ_ERROR;
	is(simple(m, VSSD_IO_READ, 0, fake.far, 4096), SNV_SC_READ_ERROR, "within: of a read");
	slow.status = 0;
	is(d->worker[0].free_units, 4, "within: nothing is lost by it");
	slow.media.readonly = true;
	m->ops->close(m);
	m = vssd_device_wrap(d, &slow.media, NULL);
	is(simple(m, VSSD_IO_WRITE, 0, fake.far, 4096), SNV_SC_NS_WRITE_PROTECTED, "readonly");
	m->ops->close(m);
	vssd_device_destroy(d);
}

/* More segments than a batch takes copies. */
static void test_segments(void)
{
	enum { SEGS = 3 * VSSD_DEVICE_COPIES + 7 };
	struct rig r = rig_of(RAM_STAGED);
	struct vssd_seg *seg = calloc(SEGS, sizeof(*seg));
	struct transfer t = one(VSSD_IO_WRITE, 0, 0, NULL, SEGS * 4);
	struct transfer after = one(VSSD_IO_READ, 0, 4096, fake.far + SIZE, 4096);
	int wrong = 0;

	for (int i = 0; i < SEGS; i++) {
		seg[i] = (struct vssd_seg){ fake.far + i * 8, 4 };
		memset(fake.mem + i * 8, i % 251, 8);
	}
	t.io.done = transfer_done;
	t.io.seg = seg;
	t.io.segs = SEGS;
	for (int fail = 0; fail < 3; fail++) {
		fake.fail_start = fail == 1 ? 2 : 0;
		fake.fail_query = fail == 2 ? 3 : 0;
		t.ended = false;
		r.m->ops->submit(r.m, &t.io);
		start(r.m, &after);
		is(finish(r.m, &t), fail ? SNV_SC_DATA_XFER_ERROR : 0, "segments: %d of them%s", SEGS,
		   fail == 1 ? ", a batch that does not start" : fail ? ", one that fails" : "");
		is(finish(r.m, &after), 0, "segments: the next is none the worse for it");
		for (int i = 0; !fail && i < SEGS; i++)
			wrong += !all(r.mem + i * 4, 4, i % 251);
	}
	is(wrong, 0, "segments: data");
	free(seg);
	rig_close(&r);
}

static void test_failures(void)
{
	struct rig r = rig_of(RAM_DIRECT);
	struct transfer a = one(VSSD_IO_READ, 0, 0, fake.far, 4096);
	struct transfer b = one(VSSD_IO_WRITE, 1, 0, fake.far + 4096, 4096);

	fake.fail_start = 1;
	start(r.m, &a);
	start(r.m, &b);
	is(finish(r.m, &a), SNV_SC_DATA_XFER_ERROR, "a batch that does not start");
	is(finish(r.m, &b), 0, "gives back its stripes");
	fake.fail_query = 1;
	start(r.m, &a);
	is(finish(r.m, &a), SNV_SC_DATA_XFER_ERROR, "a batch that fails");
	is(simple(r.m, VSSD_IO_READ, 0, fake.far, 4096), 0, "and then works again");
	rig_close(&r);

	fake.fail_pin = 3;
	ok(!fake_device(STAGING) && errno == ENOMEM, "no memory can be pinned");
	is(pins(), 0, "what was, is not any more");
	fake.fail_pin = WORKERS + 1;
	r = rig_of(RAM_DIRECT);
	ok(!wrapped_of(r.m)->memory, "a medium that cannot be pinned is staged");
	test_data(r.m, "ram, not pinned", 50);
	fake.fail_pin = 0;
	free(wrapped_of(r.m)->stripe);
	wrapped_of(r.m)->stripe = NULL;
	rig_close(&r);
}

/* ---- addresses -------------------------------------------------------------------------------- */

static void test_ranges(void)
{
	struct vssd_device *d = vssd_device_create(&fake_ops, NULL, 1, 5000);
	char *base = fake.far;
	size_t length = 100;

	is(d->worker[0].units, 2, "staging is made of pages");
	ok(!vssd_device_translate(d, (uintptr_t)base, &length), "nothing is mapped");
	is(vssd_device_map(d, base + 4096, 4096), 0, "map");
	is(vssd_device_map(d, base + 16384, 4096), 0, "map behind it");
	is(vssd_device_map(d, base, 4096), 0, "map before it");
	is(vssd_device_map(d, base + 4096, 1), -EEXIST, "map of what is");
	is(vssd_device_map(d, base + 12288, 8192), -EEXIST, "map of more than what is");
	is(vssd_device_map(d, base, 0), -EINVAL, "map of nothing");
	is(vssd_device_map(d, base, SIZE_MAX), -EINVAL, "map around the end");
	ok(vssd_device_translate(d, (uintptr_t)base + 4095, &length) == base + 4095 && length == 1,
	   "no further than the range");
	length = 100;
	ok(vssd_device_translate(d, (uintptr_t)base + 16384, &length) == base + 16384 &&
	   length == 100, "all of it");
	ok(!vssd_device_translate(d, (uintptr_t)base + 8192, &length), "not between");
	ok(!vssd_device_translate(d, (uintptr_t)base + 20480, &length), "not behind");
	is(vssd_device_unmap(d, base + 4096, 4095), -ENOENT, "unmap of a part");
	is(vssd_device_hide(d, base + 4096, 4095), -ENOENT, "hide of a part");
	is(vssd_device_hide(d, base + 4096, 4096), 0, "hide");
	is(vssd_device_hide(d, base + 4096, 4096), -ENOENT, "hide again");
	ok(!vssd_device_translate(d, (uintptr_t)base + 4096, &length) && is_far(d, base + 4096),
	   "hidden, but for who has it already");
	is(vssd_device_unmap(d, base + 4096, 4096), 0, "unmap");
	is(vssd_device_unmap(d, base + 4096, 4096), -ENOENT, "unmap again");
	ok(!vssd_device_translate(d, (uintptr_t)base + 4096, &length), "not any more");
	ok(is_far(d, base + 16384) && !is_far(d, base + 8192) && !is_far(d, &length), "what is far");
	fake.closed = 0;
	vssd_device_destroy(d);
	is(fake.closed, 1, "closed");
}

/* ---- CUDA ------------------------------------------------------------------------------------- */

static struct {
	int contexts, pushed, streams, events, pinned;
	int batches, singles, records, synced;
	int fail_retain, fail_push, fail_event, fail_copy, fail_record, fail_query, fail_pin;
	int not_ready;
} driver;

static int counted(int *n)
{
	return *n && !--*n ? 999 : 0;
}

static int cu_error_string(int err, const char **text)
{
	*text = err == 999 ? "nine" : NULL;
	return 0;
}

static int cu_device_get(int *device, int ordinal)
{
	*device = ordinal + 40;
	return ordinal ? 101 : 0;
}

static int cu_retain(struct CUctx_st **ctx, int device)
{
	if (counted(&driver.fail_retain))
		return 999;
	driver.contexts += device == 40;
	*ctx = (void *)&driver;
	return 0;
}

static int cu_release(int device)
{
	driver.contexts -= device == 40;
	return 0;
}

static int cu_push(struct CUctx_st *ctx)
{
	if (counted(&driver.fail_push))
		return 999;
	driver.pushed++;
	return 0;
}

static int cu_pop(struct CUctx_st **ctx)
{
	driver.pushed--;
	return 0;
}

static int cu_stream_create(struct CUstream_st **stream, unsigned int flags)
{
	driver.streams += flags == SNV_CU_STREAM_NON_BLOCKING && driver.pushed == 1;
	*stream = (void *)&driver;
	return 0;
}

static int cu_stream_destroy(struct CUstream_st *stream)
{
	driver.streams--;
	return 0;
}

static int cu_stream_synchronize(struct CUstream_st *stream)
{
	driver.synced++;
	return 0;
}

static int cu_event_create(struct CUevent_st **event, unsigned int flags)
{
	if (counted(&driver.fail_event))
		return 999;
	driver.events += flags == SNV_CU_EVENT_DISABLE_TIMING;
	*event = (void *)&driver;
	return 0;
}

static int cu_event_destroy(struct CUevent_st *event)
{
	driver.events--;
	return 0;
}

static int cu_event_record(struct CUevent_st *event, struct CUstream_st *stream)
{
	driver.records++;
	driver.not_ready = 2;
	return counted(&driver.fail_record);
}

static int cu_event_query(struct CUevent_st *event)
{
	if (driver.pushed != 1 || counted(&driver.fail_query))
		return 999;
	return driver.not_ready && driver.not_ready-- ? SNV_CU_NOT_READY : 0;
}

static int cu_register(void *va, size_t length, unsigned int flags)
{
	if (counted(&driver.fail_pin))
		return 999;
	driver.pinned += driver.pushed == 1 && flags == SNV_CU_HOST_REGISTER_PORTABLE;
	return 0;
}

static int cu_unregister(void *va)
{
	driver.pinned--;
	return 0;
}

static int cu_copy(snv_cu_ptr dst, snv_cu_ptr src, size_t length, struct CUstream_st *stream)
{
	if (counted(&driver.fail_copy))
		return 999;
	driver.singles++;
	memcpy((void *)(uintptr_t)dst, (void *)(uintptr_t)src, length);
	return 0;
}

static int cu_copy_batch(snv_cu_ptr *dst, snv_cu_ptr *src, size_t *length, size_t count,
			 struct snv_cu_copy_attrs *attrs, size_t *attr_index, size_t n_attrs,
			 struct CUstream_st *stream)
{
	if (n_attrs != 1 || *attr_index || attrs->src_order != SNV_CU_SRC_ORDER_STREAM ||
	    attrs->src.type || attrs->dst.type || !stream || counted(&driver.fail_copy))
		return 999;
	driver.batches++;
	for (size_t i = 0; i < count; i++)
		memcpy((void *)(uintptr_t)dst[i], (void *)(uintptr_t)src[i], length[i]);
	return 0;
}

static struct snvme_cuda cu_table = {
	.GetErrorString = cu_error_string,
	.DeviceGet = cu_device_get,
	.DevicePrimaryCtxRetain = cu_retain,
	.DevicePrimaryCtxRelease = cu_release,
	.CtxPushCurrent = cu_push,
	.CtxPopCurrent = cu_pop,
	.MemcpyAsync = cu_copy,
	.MemHostRegister = cu_register,
	.MemHostUnregister = cu_unregister,
	.StreamCreate = cu_stream_create,
	.StreamDestroy = cu_stream_destroy,
	.StreamSynchronize = cu_stream_synchronize,
	.EventCreate = cu_event_create,
	.EventDestroy = cu_event_destroy,
	.EventRecord = cu_event_record,
	.EventQuery = cu_event_query,
};

static bool cuda_at_rest(void)
{
	return !driver.contexts && !driver.pushed && !driver.streams && !driver.events &&
	       !driver.pinned;
}

static void cuda_refused(int ordinal, int want, const char *sentence)
{
	struct vssd_device *d = NULL;

	is(vssd_device_cuda(&cu_table, ordinal, 2, 65536, &d, why, sizeof(why)), want,
	   "cuda: refused");
	ok(strstr(why, sentence), "cuda: '%s'", why);
	ok(!d && cuda_at_rest(), "cuda: nothing is left behind");
	memset(&driver, 0, sizeof(driver));
}

static void test_cuda_io(bool batches)
{
	struct vssd_device *d = NULL;
	struct vssd_media *m;
	char *gpu = calloc(2, 8192), *mem;
	struct transfer t = one(VSSD_IO_WRITE, 1, 4096, gpu, 8192);

	cu_table.MemcpyBatchAsync = batches ? cu_copy_batch : NULL;
	is(vssd_device_cuda(&cu_table, 0, 2, 65536, &d, why, sizeof(why)), 0, "cuda: open");
	ok(driver.contexts == 1 && driver.streams == 2 && driver.events == 2 * VSSD_DEVICE_SLOTS &&
	   driver.pinned == 2 && !driver.pushed, "cuda: a stream and staging for each worker");
	m = vssd_device_wrap(d, ram_media(&mem), NULL);
	vssd_device_map(d, gpu, 16384);
	memset(gpu, 7, 16384);
	t.io.segs = 2;
	t.seg[0].length = 4096;
	t.seg[1] = (struct vssd_seg){ gpu + 8192, 4096 };
	start(m, &t);
	is(finish(m, &t), 0, "cuda: write");
	ok(all(mem + 4096, 8192, 7), "cuda: data");
	is(simple(m, VSSD_IO_READ, 0, gpu, 4096), 0, "cuda: read");
	ok(all(gpu, 4096, 0) && all(gpu + 4096, 4096, 7), "cuda: data");
	ok(driver.batches == batches && driver.singles == (batches ? 1 : 3) && driver.records == 2,
	   "cuda: copied %s", batches ? "in a batch, and one alone" : "one by one");
	driver.fail_copy = 1;
	start(m, &t);
	is(finish(m, &t), SNV_SC_DATA_XFER_ERROR, "cuda: a copy that fails");
	driver.fail_record = 1;
	start(m, &t);
	is(finish(m, &t), SNV_SC_DATA_XFER_ERROR, "cuda: an event that fails");
	is(driver.synced, 2, "cuda: what had begun was waited for");
	driver.fail_push = 1;
	start(m, &t);
	is(finish(m, &t), SNV_SC_DATA_XFER_ERROR, "cuda: no context");
	driver.fail_query = 1;
	start(m, &t);
	is(finish(m, &t), SNV_SC_DATA_XFER_ERROR, "cuda: an error found later");
	m->ops->close(m);
	vssd_device_destroy(d);
	ok(cuda_at_rest(), "cuda: nothing is left behind");
	memset(&driver, 0, sizeof(driver));
	free(gpu);
}

static void test_cuda(void)
{
	test_cuda_io(true);
	test_cuda_io(false);
	cuda_refused(1, -ENODEV, "no CUDA device 1");
	driver.fail_retain = 1;
	cuda_refused(0, -EIO, "no context: nine");
	driver.fail_event = 6;
	cuda_refused(0, -EIO, "no stream: nine");
	driver.fail_push = 1;
	cuda_refused(0, -EIO, "no stream");
	driver.fail_pin = 2;
	cuda_refused(0, -ENOMEM, "2 times 65536 bytes of pinned memory");
}

int main(void)
{
	fake.far = mmap(NULL, FAR, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	fake.mem = aligned_alloc(4096, FAR);
	if (fake.far == MAP_FAILED || !fake.mem)
		skip_all("no memory");
	memset(fake.mem, 0, FAR);
	test_ranges();
	test_stripes();
	test_kinds();
	test_direct();
	test_staging();
	test_many(RAM_STAGED);
	test_many(RAM_DIRECT);
	test_segments();
	test_failures();
	test_cuda();
	munmap(fake.far, FAR);
	free(fake.mem);
	return done();
}
