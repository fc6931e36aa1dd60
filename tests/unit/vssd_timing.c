// SPDX-License-Identifier: MIT
/*
 * The timing models against their closed forms, within 5 %, in virtual time: the models are asked
 * directly, by a closed loop of so many commands at once.
 */
#include <math.h>

#include "tap.h"

#include "../../vssd/timing.c"
#include "../../vssd/flash.c"

#define MAX_DEPTH	1024

/* ---- environment ------------------------------------------------------------------------------ */

static uint64_t live, allocs, fail_at, bad_free;

static void *env_alloc(void *ctx, size_t size)
{
	size_t *p;

	if (++allocs == fail_at)
		return NULL;
	p = calloc(1, size + 16);
	if (!p)
		return NULL;
	*p = size;
	live++;
	return p + 2;
}

static void env_free(void *ctx, void *p, size_t size)
{
	size_t *at = p;

	if (!p)
		return;
	bad_free += at[-2] != size;
	live--;
	free(at - 2);
}

static int try_open(struct vssd *v, const struct vssd_timing *t)
{
	memset(v, 0, sizeof(*v));
	v->env.alloc = env_alloc;
	v->env.free = env_free;
	v->timing = *t;
	v->random = 1;
	return vssd_timing_init(v);
}

/* A drive of @logical bytes; those who need no bytes pass 0. */
static struct vssd *open_model(const struct vssd_timing *t, uint64_t logical)
{
	static struct vssd v;

	if (try_open(&v, t) || (logical && vssd_flash_grow(&v, logical))) {
		printf("Bail out! no model\n");
		exit(1);
	}
	return &v;
}

static void close_model(struct vssd *v)
{
	vssd_timing_free(v);
	if (live || bad_free) {
		ok(0, "every allocation is freed with its size: %llu are not, %llu wrongly",
		   (unsigned long long)live, (unsigned long long)bad_free);
		live = 0;
		bad_free = 0;
	}
}

/* ---- load ------------------------------------------------------------------------------------- */

/* Where the next command goes: pages of @span bytes in turn, or at random. */
struct load {
	enum vssd_io_op op;
	bool random;
	uint64_t span;
	uint32_t length;
	uint32_t depth;		/* commands at once */
	uint64_t now;		/* of the command issued last */
	uint64_t at;
	double latency;		/* mean of the last run, ns */
	uint64_t end[MAX_DEPTH];
};

static uint64_t next_offset(struct vssd *v, struct load *l)
{
	uint64_t n = l->span / l->length;

	return (l->random ? vssd_draw(v) % n : l->at++ % n) * l->length;
}

/* @count commands, @l->depth at once. Returns commands per second of virtual time. */
static double run(struct vssd *v, struct load *l, uint64_t count)
{
	uint64_t begin = l->now, total = 0;

	for (uint32_t i = 0; i < l->depth; i++)
		if (l->end[i] < l->now)
			l->end[i] = l->now;
	for (uint64_t k = 0; k < count; k++) {
		uint32_t first = 0;

		for (uint32_t i = 1; i < l->depth; i++)
			if (l->end[i] < l->end[first])
				first = i;
		l->now = l->end[first];
		l->end[first] = vssd_timing_end(v, l->now, l->op, next_offset(v, l), l->length);
		total += l->end[first] - l->now;
	}
	l->latency = (double)total / (double)count;
	return (double)count * 1e9 / (double)(l->now - begin);
}

static void near(double got, double want, const char *what)
{
	ok(fabs(got - want) <= 0.05 * want, "%s: %.5g, closed form %.5g (%+.1f %%)", what, got, want,
	   100 * (got - want) / want);
}

/* ---- no model, fixed model -------------------------------------------------------------------- */

static const struct vssd_timing fixed = {
	.model = VSSD_MODEL_FIXED, .units = 8, .read_ns = 100000, .write_ns = 40000,
	.flush_ns = 500000,
};

static void test_none(void)
{
	struct vssd_timing t = { .model = VSSD_MODEL_NONE };
	struct vssd v;

	is(try_open(&v, &t), 0, "no model: opened");
	is(vssd_timing_parallel(&t), 0, "no model: any number of commands at once");
	vssd_timing_free(&v);
	t.model = (enum vssd_model)7;
	is(try_open(&v, &t), -EINVAL, "an unknown model is refused");
}

static void test_fixed(void)
{
	struct vssd_timing t = fixed;
	struct load l = { .op = VSSD_IO_READ, .random = true, .span = 1 << 30, .length = 4096 };
	struct vssd *v = open_model(&t, 0);

	is(vssd_timing_parallel(&t), 8, "fixed: serves as many as it has units");
	is(vssd_timing_end(v, 1000, VSSD_IO_READ, 0, 4096), 101000, "fixed: a read's latency");
	is(vssd_timing_end(v, 1000, VSSD_IO_WRITE, 0, 4096), 41000, "fixed: a write's latency");
	is(vssd_timing_end(v, 1000, VSSD_IO_FLUSH, 0, 0), 501000, "fixed: any other's latency");
	is(vssd_timing_end(v, 5000000, VSSD_IO_READ, 0, 4096), 5100000,
	   "fixed: idle time is not saved up");
	close_model(v);

	for (l.depth = 1; l.depth <= 8; l.depth++) {
		v = open_model(&t, 0);
		l.now = 0;
		memset(l.end, 0, sizeof(l.end));
		run(v, &l, 2000);
		if (l.latency != 100000.0)
			break;
		close_model(v);
	}
	is(l.depth, 9, "fixed: latency at queue depths 1 to 8, the units, is the service time");
	v = open_model(&t, 0);
	l = (struct load){ .op = VSSD_IO_READ, .random = true, .span = 1 << 30, .length = 4096,
			   .depth = 64 };
	near(run(v, &l, 20000), 8 / 100e-6, "fixed: reads/s at saturation, units / latency");
	near(l.latency, 64 * 100000.0 / 8, "fixed: latency at saturation, depth / throughput");
	l.op = VSSD_IO_WRITE;
	run(v, &l, 1000);
	near(run(v, &l, 20000), 8 / 40e-6, "fixed: writes/s at saturation");
	close_model(v);

	t.bytes_per_us = 1000;
	v = open_model(&t, 0);
	is(vssd_timing_end(v, 0, VSSD_IO_WRITE, 0, 65536), 40000 + 65536, "fixed: bytes take their time");
	l = (struct load){ .op = VSSD_IO_READ, .random = true, .span = 1 << 30, .length = 131072,
			   .depth = 32 };
	near(run(v, &l, 20000), 8 / (100e-6 + 131.072e-6), "fixed: 128 KiB reads/s, with bytes' time");
	close_model(v);

	t.units = 1000;
	v = open_model(&t, 0);
	l = (struct load){ .op = VSSD_IO_READ, .random = true, .span = 1 << 30, .length = 4096,
			   .depth = 1000 };
	run(v, &l, 10000);
	is((uint64_t)l.latency, 100000 + 4096, "fixed: a thousand units serve a thousand at once");
	close_model(v);
}

/* ---- flash ------------------------------------------------------------------------------------ */

/* Its limit on reads are the dies: 16 in 50 us; a channel takes 10.24 us for a page. */
static const struct vssd_timing flash = {
	.model = VSSD_MODEL_FLASH, .channels = 4, .dies = 4, .page = 4096, .pages = 128,
	.read_ns = 50000, .write_ns = 400000, .erase_ns = 3000000, .bytes_per_us = 400,
	.spare_permille = 100, .buffer = 4096 * 4096, .buffer_ns = 5000,
};

#define SPAN	(64ULL << 20)	/* 16,384 pages */

/* Whole pages in order, until the buffer has emptied. */
static void fill(struct vssd *v, struct load *l, uint64_t span)
{
	enum vssd_io_op op = l->op;
	uint32_t depth = l->depth;
	bool random = l->random;

	l->op = VSSD_IO_WRITE;
	l->random = false;
	l->depth = 32;
	l->at = 0;
	l->span = span;
	l->length = v->timing.page;
	run(v, l, span / v->timing.page);
	l->now = vssd_timing_end(v, l->now, VSSD_IO_FLUSH, 0, 0);
	l->op = op;
	l->random = random;
	l->depth = depth;
}

static void test_flash_read(void)
{
	struct vssd_timing t = flash;
	struct load l = { .op = VSSD_IO_READ, .random = true, .depth = 1024 };
	struct vssd *v = open_model(&t, SPAN);

	is(vssd_timing_parallel(&t), 32, "flash: two commands for each die");
	is(vssd_timing_end(v, 7, VSSD_IO_READ, 0, 4096), 5007, "flash: no page there: no die is asked");
	fill(v, &l, SPAN);
	is(vssd_timing_end(v, l.now, VSSD_IO_READ, 0, 4096) - l.now, 50000 + 10240,
	   "flash: a read is tR and a transfer");
	l.now += 1000000;
	is(vssd_timing_end(v, l.now, VSSD_IO_READ, 4096, 512) - l.now, 50000 + 1280,
	   "flash: a transfer of what was asked for");
	l.now += 1000000;
	is(vssd_timing_end(v, l.now, VSSD_IO_READ, 0, 65536) - l.now, 50000 + 4 * 10240,
	   "flash: 16 pages written one after the other are on 16 dies, 4 to a channel");
	l.now += 1000000;
	run(v, &l, 4000);
	near(run(v, &l, 30000), 16 / 50e-6, "flash: random reads/s, limited by dies: dies / tR");
	close_model(v);

	t.bytes_per_us = 200;
	v = open_model(&t, SPAN);
	l = (struct load){ .op = VSSD_IO_READ, .random = true, .depth = 1024 };
	fill(v, &l, SPAN);
	run(v, &l, 4000);
	near(run(v, &l, 30000), 4 * 200e6 / 4096,
	     "flash: random reads/s, limited by channels: bytes/s / page");
	close_model(v);
}

static void test_flash_write(void)
{
	struct vssd_timing t = flash;
	struct load l = { .op = VSSD_IO_WRITE, .depth = 32, .span = SPAN, .length = 4096 };
	double per_page = 400e-6 + 3e-3 / 128;	/* seconds of a die */
	struct vssd *v = open_model(&t, SPAN);
	uint64_t end;

	run(v, &l, 4096);
	ok(l.latency == 5000.0, "flash: while the buffer has room, a write takes buffer_ns");
	is(vssd_timing_end(v, l.now, VSSD_IO_READ, 4095 * 4096, 4096) - l.now, 5000,
	   "flash: and a read of what is in it too");
	end = vssd_timing_end(v, l.now, VSSD_IO_FLUSH, 0, 0);
	near((double)(end - l.now), 4096 * 400e3 / 16, "flash: Flush waits for the buffer, ns");
	is(vssd_timing_end(v, end, VSSD_IO_FLUSH, 0, 0), end, "flash: another one does not");
	is(vssd_timing_end(v, end, VSSD_IO_READ, 4095 * 4096, 4096) - end, 50000 + 10240,
	   "flash: what was programmed is read from its die");
	close_model(v);

	v = open_model(&t, SPAN);
	l = (struct load){ .op = VSSD_IO_WRITE, .depth = 32, .span = SPAN, .length = 4096 };
	run(v, &l, 5 * SPAN / 4096);
	v->timing_stats = (struct vssd_timing_stats){ 0 };
	near(run(v, &l, 5 * SPAN / 4096), 16 / per_page,
	     "flash: sequential writes/s, dies / (tPROG + tERASE / pages)");
	near((double)v->timing_stats.flash_pages / (double)v->timing_stats.host_pages, 1,
	     "flash: write amplification of sequential writes");
	is(v->timing_stats.host_pages, 5 * SPAN / 4096, "flash: the host's pages are counted");
	near((double)v->timing_stats.erases, 5.0 * SPAN / 4096 / 128, "flash: erases of them");
	close_model(v);

	t.bytes_per_us = 20;
	v = open_model(&t, SPAN);
	l = (struct load){ .op = VSSD_IO_WRITE, .depth = 32, .span = SPAN, .length = 4096 };
	run(v, &l, 8192);
	near(run(v, &l, 8192), 4 * 20e6 / 4096,
	     "flash: sequential writes/s, limited by channels: bytes/s / page");
	close_model(v);
}

/* W of Lambert, its branch above -1, by Newton: w e^w = x. */
static double lambert_w(double x)
{
	double w = x > -0.3 ? x : -1 + sqrt(2 * (1 + M_E * x));

	for (int i = 0; i < 60; i++)
		w -= (w * exp(w) - x) / (exp(w) * (w + 1));
	return w;
}

/* Write amplification in the steady state of uniformly random writes, @a = physical / logical. */
static double amplification(double a)
{
	return a / (a + lambert_w(-a * exp(-a)));
}

/*
 * Overwrite at random, from a new drive to the steady state, which takes eight overwrites. The closed
 * form is a limit: that of many blocks in a die, and of many pages in a block. Greedy collection was
 * measured to stay 14, 7, 4, 2.6 and 1.4 % below it with blocks of 32, 64, 128, 256 and 512 pages at
 * a = 1.1, and half of that at 1.28. Of several small dies, the one that happens to hold most valid
 * pages sets the pace; hence one die, and a whole number of blocks.
 */
static void test_cliff(uint32_t spare)
{
	struct vssd_timing t = flash;
	struct load l = { .op = VSSD_IO_WRITE, .random = true, .depth = 8, .length = 4096 };
	uint64_t pages = 800 * 256, span = pages * 4096, fresh = pages * (1000 + spare) / 1000;
	double wa = amplification(1 + spare / 1000.0), new, old;
	double per_page = 400e3 + (wa - 1) * 450e3 + wa * 3e6 / 256;	/* ns of a die */
	struct vssd_timing_stats *stats;
	struct vssd *v;

	t.channels = 1;
	t.dies = 1;
	t.pages = 256;
	t.spare_permille = spare;
	l.span = span;
	v = open_model(&t, span);
	stats = &v->timing_stats;
	run(v, &l, 2 * 4096);
	new = run(v, &l, fresh * 95 / 100 - 2 * 4096);
	is(stats->erases, 0, "spare %u: nothing is erased while there is space", spare);
	near(new, 1 / 400e-6, "flash: random writes/s of a new drive, dies / tPROG");
	while (!stats->erases && stats->host_pages < 2 * fresh)
		run(v, &l, 100);
	near((double)stats->host_pages, (double)fresh,
	     "flash: pages before the cliff, logical * (1 + spare)");
	run(v, &l, 8 * pages);
	*stats = (struct vssd_timing_stats){ 0 };
	old = run(v, &l, 2 * pages);
	near((double)stats->flash_pages / (double)stats->host_pages, wa,
	     "flash: write amplification, a / (a + W(-a e^-a))");
	is(stats->flash_pages - stats->moved_pages, stats->host_pages,
	   "spare %u: what is programmed was written or moved", spare);
	near(new / old, per_page / 400e3, "flash: height of the cliff, new / steady state");
	/* Half of it is given back: as much more to spare. */
	vssd_timing_end(v, l.now, VSSD_IO_DISCARD, span / 2, span / 2);
	l.span = span / 2;
	run(v, &l, pages);
	*stats = (struct vssd_timing_stats){ 0 };
	run(v, &l, pages);
	near((double)stats->flash_pages / (double)stats->host_pages,
	     amplification(2 * (1 + spare / 1000.0)),
	     "flash: write amplification with half of the drive deallocated");
	close_model(v);
}

/* ---- flash: what dies do to each other ---------------------------------------------------------- */

/* Logical page @page is on this die of @v. */
static uint32_t die_of(struct vssd *v, uint32_t page)
{
	const struct flash *f = v->timing_state;

	return f->l2p[page] / v->timing.pages / f->blocks;
}

static void test_neighbours(void)
{
	struct vssd_timing t = flash;
	struct load l = { .op = VSSD_IO_READ };
	struct vssd *v;
	uint64_t now, end;

	t.channels = 1;
	v = open_model(&t, SPAN);
	fill(v, &l, SPAN);
	now = l.now + 1000000;
	/* A thousand reads of one die: 50 ms; the other three and the channel have nothing to do. */
	for (uint32_t page = 0, n = 0; n < 1000; page++)
		if (die_of(v, page) == 0 && ++n)
			end = vssd_timing_end(v, now, VSSD_IO_READ, page * 4096ULL, 4096);
	near((double)(end - now), 1000 * 50e3, "flash: a die works off its queue, ns");
	now += 20000000;	/* the channel has caught up: it takes 10.24 ms for a thousand */
	is(vssd_timing_end(v, now, VSSD_IO_READ, 4096, 4096) - now, 50000 + 10240,
	   "flash: another die of its channel answers at once");
	ok(die_of(v, 1) != 0, "flash: it is another one");
	close_model(v);
}

/* Parts of pages, at random, in the steady state: each page is read before it is written. */
static void test_partial(void)
{
	struct vssd_timing t = flash;
	struct load l = { .op = VSSD_IO_WRITE, .random = true, .depth = 32, .length = 4096 };
	double per_page, wa, rate;
	struct vssd *v;

	t.channels = 1;
	t.page = 16384;
	t.bytes_per_us = 1200;
	t.spare_permille = 280;
	v = open_model(&t, 16 * SPAN);
	fill(v, &l, 16 * SPAN);
	l.length = 4096;
	run(v, &l, 4 * 65536);
	v->timing_stats = (struct vssd_timing_stats){ 0 };
	rate = run(v, &l, 2 * 65536);
	wa = (double)v->timing_stats.flash_pages / (double)v->timing_stats.host_pages;
	per_page = 50e-6 + 400e-6 + (wa - 1) * 450e-6 + wa * 3e-3 / 128;
	near(rate, 4 / per_page, "flash: writes/s of a quarter page, limited by the dies' work");
	close_model(v);

	t.channels = 4;
	v = open_model(&t, SPAN);
	fill(v, &l, SPAN);
	vssd_timing_end(v, l.now, VSSD_IO_WRITE, 512, 512);
	ok(vssd_timing_end(v, l.now, VSSD_IO_FLUSH, 0, 0) - l.now >= 450000,
	   "flash: part of a page is read, changed and programmed");
	is(v->timing_stats.host_pages, SPAN / 16384 + 1, "flash: as one page");
	l.now += 10000000;
	vssd_timing_end(v, l.now, VSSD_IO_DISCARD, 512, 16384);
	is(vssd_timing_end(v, l.now, VSSD_IO_READ, 0, 512) - l.now, 50000 + 426,
	   "flash: a page given back in part stays");
	vssd_timing_end(v, l.now, VSSD_IO_DISCARD, 0, 16384);
	l.now += 10000000;
	is(vssd_timing_end(v, l.now, VSSD_IO_READ, 0, 512) - l.now, 5000,
	   "flash: one given back as a whole does not");
	close_model(v);
}

/* ---- memory ----------------------------------------------------------------------------------- */

static void test_grow(void)
{
	struct load l = { .op = VSSD_IO_READ };
	struct vssd *v = open_model(&flash, SPAN);
	uint64_t before, kept = 0;

	fill(v, &l, SPAN);
	before = v->timing_stats.flash_pages;
	for (uint32_t i = 1; i <= 5 + 16; i++) {
		allocs = 0;
		fail_at = i;
		l.now += 1000000;
		kept += vssd_flash_grow(v, 2 * SPAN) == -ENOMEM &&
			vssd_timing_end(v, l.now, VSSD_IO_READ, 0, 4096) - l.now == 60240;
	}
	fail_at = 0;
	is(kept, 5 + 16, "flash: without memory to grow, it stays as it was, whichever is missing");
	is(vssd_flash_grow(v, UINT64_MAX / 4), -ENOMEM, "flash: too large for its tables");
	is(vssd_flash_grow(v, 2 * SPAN), 0, "flash: it grows");
	is(v->timing_stats.flash_pages, before, "flash: which is nobody's writing");
	l.now += 1000000;
	is(vssd_timing_end(v, l.now, VSSD_IO_READ, 0, 4096) - l.now, 60240, "flash: what was there is");
	is(vssd_timing_end(v, l.now, VSSD_IO_READ, SPAN, 4096) - l.now, 5000, "flash: the rest is empty");
	is(vssd_timing_end(v, l.now, VSSD_IO_READ, 2 * SPAN, 4096) - l.now, 0, "flash: nothing behind it");
	close_model(v);
}

static void test_no_memory(void)
{
	struct vssd v;
	uint32_t i;

	for (i = 1; i <= 4; i++) {
		allocs = 0;
		fail_at = i;
		if (try_open(&v, &flash) != -ENOMEM || live || v.timing_state)
			break;
	}
	is(i, 5, "flash: no memory for any of its four tables");
	allocs = 0;
	fail_at = 1;
	is(try_open(&v, &fixed), -ENOMEM, "fixed: no memory");
	fail_at = 0;
	is(live, 0, "and nothing is left behind");
}

/* ---- what is refused -------------------------------------------------------------------------- */

#define BAD(base, field, value) do {					\
	struct vssd_timing t_ = base;					\
	struct vssd v_;							\
									\
	t_.field = value;						\
	if (!is(try_open(&v_, &t_), -EINVAL, #base ": " #field " = " #value " is refused")) \
		close_model(&v_);					\
} while (0)

static void test_bad(void)
{
	BAD(fixed, units, 0);
	BAD(fixed, units, 65537);
	BAD(fixed, read_ns, UINT64_MAX);
	BAD(fixed, write_ns, UINT64_MAX);
	BAD(fixed, flush_ns, UINT64_MAX);
	BAD(flash, channels, 0);
	BAD(flash, channels, 1025);
	BAD(flash, dies, 0);
	BAD(flash, dies, 0x80000000);
	BAD(flash, dies, 257);
	BAD(flash, page, 0);
	BAD(flash, page, 256);
	BAD(flash, page, 4097);
	BAD(flash, page, 1U << 21);
	BAD(flash, pages, 0);
	BAD(flash, pages, 65537);
	BAD(flash, read_ns, UINT64_MAX);
	BAD(flash, write_ns, UINT64_MAX);
	BAD(flash, erase_ns, UINT64_MAX);
	BAD(flash, buffer_ns, UINT64_MAX);
	BAD(flash, bytes_per_us, 0);
	BAD(flash, spare_permille, 19);
	BAD(flash, spare_permille, 10001);
	BAD(flash, buffer, 4095);
	BAD(flash, buffer, UINT64_MAX);
}

int main(void)
{
	test_none();
	test_fixed();
	test_flash_read();
	test_flash_write();
	test_cliff(100);
	test_cliff(280);
	test_neighbours();
	test_partial();
	test_grow();
	test_no_memory();
	test_bad();
	is(live, 0, "all memory was given back");
	return done();
}
