// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A flash translation layer in virtual time, without data: a page map, a write buffer, channels and
 * dies that are busy until some moment, greedy garbage collection. Guard: model_lock.
 *
 * Each die has a block that the host's pages go to and one that garbage collection copies to, both
 * filled page by page. Pages go to the dies in turn. When a die has few free blocks left, the block
 * with the fewest valid pages is emptied into the copy block and erased; the die is busy meanwhile.
 *
 * Closed forms: reads: dies / tR, or a channel's bytes per page; sequential writes: dies / tPROG, at
 * write amplification 1; uniformly random writes in the steady state: near a / (a + W(-a exp(-a))),
 * a = physical / logical, W Lambert's (Desnoyers 2012, Xiang and Kurkoski 2012).
 */
#include "core.h"

#define NONE		UINT32_MAX
#define RESERVE		3U		/* blocks of a die beyond its share: two open, one to copy into */
#define MAX_DIES	1024U
#define MAX_PAGES	(1U << 30)

struct block {
	uint32_t valid;
	uint32_t next, prev;	/* in its die's list of closed blocks with as many valid pages, or free */
	bool closed;
};

struct die {
	uint64_t busy_until;
	uint32_t host, host_page;	/* open block, its next page; NONE */
	uint32_t copy, copy_page;
	uint32_t free;			/* list of erased blocks */
	uint32_t n_free;
	uint32_t valid;			/* pages; so few that collecting gains some */
	uint32_t *by_valid;		/* [pages + 1]: lists of closed blocks */
	uint32_t least;			/* no closed block has fewer valid pages */
};

struct flash {
	uint32_t n_dies;
	uint32_t blocks;		/* of a die */
	uint32_t pages;			/* logical */
	uint32_t *l2p;			/* [pages]: physical page, or NONE */
	uint32_t *slot;			/* [pages]: in the buffer, if buffered[slot] says so too */
	uint32_t *p2l;			/* [n_dies * blocks * timing.pages] */
	struct block *block;		/* [n_dies * blocks] */
	struct die *die;
	uint64_t *channel_busy;		/* [channels] */
	uint64_t *buffer;		/* ring: when each buffered page will have been programmed */
	uint32_t *buffered;		/* which page that is */
	uint32_t n_buffer;		/* its size in pages */
	uint32_t buffer_at;		/* oldest */
	uint64_t programmed;		/* when the last of them will have been */
	uint32_t turn;			/* die that the next page goes to */
};

static size_t by_valid_bytes(const struct vssd *v)
{
	return (v->timing.pages + 1) * sizeof(uint32_t);
}

static void tables_free(struct vssd *v, struct flash *f)
{
	size_t blocks = (size_t)f->n_dies * f->blocks;

	for (uint32_t i = 0; f->die && i < f->n_dies; i++)
		vssd_free(v, f->die[i].by_valid, by_valid_bytes(v));
	vssd_free(v, f->die, f->n_dies * sizeof(*f->die));
	vssd_free(v, f->block, blocks * sizeof(*f->block));
	vssd_free(v, f->p2l, blocks * v->timing.pages * sizeof(*f->p2l));
	vssd_free(v, f->slot, f->pages * sizeof(*f->slot));
	vssd_free(v, f->l2p, f->pages * sizeof(*f->l2p));
	f->die = NULL;
	f->block = NULL;
	f->p2l = NULL;
	f->slot = NULL;
	f->l2p = NULL;
}

void vssd_flash_free(struct vssd *v)
{
	struct flash *f = v->timing_state;

	if (!f)
		return;
	tables_free(v, f);
	vssd_free(v, f->buffer, f->n_buffer * sizeof(*f->buffer));
	vssd_free(v, f->buffered, f->n_buffer * sizeof(*f->buffered));
	vssd_free(v, f->channel_busy, v->timing.channels * sizeof(*f->channel_busy));
	vssd_free(v, f, sizeof(*f));
	v->timing_state = NULL;
}

int vssd_flash_init(struct vssd *v)
{
	const struct vssd_timing *t = &v->timing;
	struct flash *f;

	if (!t->channels || !t->dies || t->channels > MAX_DIES || t->dies > MAX_DIES ||
	    t->channels * t->dies > MAX_DIES || t->page < 512 || t->page > (1U << 20) ||
	    t->page & (t->page - 1) || t->pages < 2 || t->pages > 65536 || !t->bytes_per_us ||
	    t->spare_permille < 20 || t->spare_permille > 10000 || t->buffer < t->page ||
	    t->buffer / t->page > MAX_PAGES)
		return -EINVAL;
	f = vssd_alloc(v, sizeof(*f));
	if (!f)
		return -ENOMEM;
	v->timing_state = f;
	f->n_dies = t->channels * t->dies;
	f->n_buffer = (uint32_t)(t->buffer / t->page);
	f->buffer = vssd_alloc(v, f->n_buffer * sizeof(*f->buffer));
	f->buffered = vssd_alloc(v, f->n_buffer * sizeof(*f->buffered));
	f->channel_busy = vssd_alloc(v, t->channels * sizeof(*f->channel_busy));
	if (!f->buffer || !f->buffered || !f->channel_busy) {
		vssd_flash_free(v);
		return -ENOMEM;
	}
	memset(f->buffered, 0xff, f->n_buffer * sizeof(*f->buffered));
	return 0;
}

/* Tables for a device of @pages logical pages, in @blocks blocks in each die: all of it erased. */
static bool tables_alloc(struct vssd *v, struct flash *f, uint32_t pages, uint32_t blocks)
{
	size_t n = (size_t)f->n_dies * blocks;

	f->pages = pages;
	f->blocks = blocks;
	f->turn = 0;
	f->l2p = vssd_alloc(v, pages * sizeof(*f->l2p));
	f->slot = vssd_alloc(v, pages * sizeof(*f->slot));
	f->p2l = vssd_alloc(v, n * v->timing.pages * sizeof(*f->p2l));
	f->block = vssd_alloc(v, n * sizeof(*f->block));
	f->die = vssd_alloc(v, f->n_dies * sizeof(*f->die));
	if (!f->l2p || !f->slot || !f->p2l || !f->block || !f->die)
		return false;
	memset(f->l2p, 0xff, pages * sizeof(*f->l2p));
	memset(f->p2l, 0xff, n * v->timing.pages * sizeof(*f->p2l));
	for (uint32_t i = 0; i < f->n_dies; i++) {
		struct die *d = &f->die[i];

		d->by_valid = vssd_alloc(v, by_valid_bytes(v));
		if (!d->by_valid)
			return false;
		memset(d->by_valid, 0xff, by_valid_bytes(v));
		d->host = NONE;
		d->copy = NONE;
		d->free = NONE;
		for (uint32_t b = blocks; b-- > 0;) {
			f->block[i * blocks + b].next = d->free;
			d->free = i * blocks + b;
		}
		d->n_free = blocks;
		d->least = v->timing.pages + 1;
	}
	return true;
}

/* ---- blocks ----------------------------------------------------------------------------------- */

static void unlist(struct flash *f, struct die *d, uint32_t b)
{
	struct block *block = &f->block[b];

	if (block->prev == NONE)
		d->by_valid[block->valid] = block->next;
	else
		f->block[block->prev].next = block->next;
	if (block->next != NONE)
		f->block[block->next].prev = block->prev;
}

static void list(struct flash *f, struct die *d, uint32_t b)
{
	struct block *block = &f->block[b];

	block->prev = NONE;
	block->next = d->by_valid[block->valid];
	if (block->next != NONE)
		f->block[block->next].prev = b;
	d->by_valid[block->valid] = b;
	if (block->valid < d->least)
		d->least = block->valid;
}

/* The copy of logical page @page that there is, is stale. */
static void invalidate(struct vssd *v, struct flash *f, uint32_t page)
{
	uint32_t at = f->l2p[page], b;
	struct die *d;

	if (at == NONE)
		return;
	b = at / v->timing.pages;
	d = &f->die[b / f->blocks];
	if (f->block[b].closed)
		unlist(f, d, b);
	f->block[b].valid--;
	d->valid--;
	if (f->block[b].closed)
		list(f, d, b);
	f->p2l[at] = NONE;
	f->l2p[page] = NONE;
}

static uint32_t take_free(struct flash *f, struct die *d)
{
	uint32_t b = d->free;

	d->free = f->block[b].next;
	d->n_free--;
	return b;
}

/* Map @page to the next page of the open block *@open of @d, and close it when it is full. */
static void place(struct vssd *v, struct flash *f, struct die *d, uint32_t *open, uint32_t *at,
		  uint32_t page)
{
	uint32_t physical;

	if (*open == NONE) {
		*open = take_free(f, d);
		*at = 0;
	}
	physical = *open * v->timing.pages + (*at)++;
	f->p2l[physical] = page;
	f->l2p[page] = physical;
	f->block[*open].valid++;
	d->valid++;
	v->timing_stats.flash_pages++;
	if (*at == v->timing.pages) {
		f->block[*open].closed = true;
		list(f, d, *open);
		*open = NONE;
	}
}

/* Empty the block with the fewest valid pages, and erase it. Returns the time that this takes the die. */
static uint64_t collect(struct vssd *v, struct flash *f, struct die *d)
{
	const struct vssd_timing *t = &v->timing;
	uint64_t time = t->erase_ns;
	uint32_t b;

	while (d->by_valid[d->least] == NONE)
		d->least++;
	b = d->by_valid[d->least];
	unlist(f, d, b);
	f->block[b].closed = false;
	for (uint32_t i = b * t->pages; i < (b + 1) * t->pages; i++) {
		uint32_t page = f->p2l[i];

		if (page == NONE)
			continue;
		f->p2l[i] = NONE;
		d->valid--;
		place(v, f, d, &d->copy, &d->copy_page, page);
		v->timing_stats.moved_pages++;
		time += t->read_ns + t->write_ns;
	}
	f->block[b].valid = 0;
	f->block[b].next = d->free;
	d->free = b;
	d->n_free++;
	v->timing_stats.erases++;
	return time;
}

/* A namespace was added: the device grows; what is mapped is written to the larger one in order. */
int vssd_flash_grow(struct vssd *v, uint64_t logical)
{
	const struct vssd_timing *t = &v->timing;
	struct vssd_timing_stats stats = v->timing_stats;
	struct flash *f = v->timing_state, new = *f;
	uint64_t pages = (logical + t->page - 1) / t->page;
	uint64_t physical = pages + pages * t->spare_permille / 1000;
	uint64_t share = (uint64_t)f->n_dies * t->pages;

	physical = (physical + share - 1) / share + RESERVE;	/* blocks of a die */
	if (pages > MAX_PAGES || physical * share > MAX_PAGES)
		return -ENOMEM;
	if (!tables_alloc(v, &new, (uint32_t)pages, (uint32_t)physical)) {
		tables_free(v, &new);
		return -ENOMEM;
	}
	for (uint32_t page = 0; page < f->pages; page++) {
		struct die *d = &new.die[new.turn];

		if (f->l2p[page] == NONE)
			continue;
		place(v, &new, d, &d->host, &d->host_page, page);
		d->busy_until = f->die[new.turn].busy_until;
		new.turn = (new.turn + 1) % new.n_dies;
	}
	v->timing_stats = stats;
	tables_free(v, f);
	*f = new;
	return 0;
}

/* ---- commands --------------------------------------------------------------------------------- */

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/*
 * @bytes go over the channel of @die once they are ready. They take their share of the channel from
 * @soonest on, when they would be ready if nothing else kept the die: while one die collects, the
 * others go on.
 */
static uint64_t on_channel(struct vssd *v, struct flash *f, uint32_t die, uint64_t soonest,
			   uint64_t ready, uint64_t bytes)
{
	uint64_t *busy = &f->channel_busy[die % v->timing.channels];
	uint64_t time = bytes * 1000 / v->timing.bytes_per_us;

	*busy = later(*busy, soonest) + time;
	return later(*busy, ready + time);
}

/* Is @page in the buffer still? */
static bool in_buffer(const struct flash *f, uint64_t now, uint32_t page)
{
	uint32_t slot = f->slot[page];

	return f->buffered[slot] == page && f->buffer[slot] > now;
}

static uint64_t read_page(struct vssd *v, struct flash *f, uint64_t now, uint32_t page,
			  uint64_t bytes)
{
	uint32_t at = f->l2p[page], i;
	struct die *d;

	if (at == NONE || in_buffer(f, now, page))
		return now + v->timing.buffer_ns;
	i = at / v->timing.pages / f->blocks;
	d = &f->die[i];
	d->busy_until = later(d->busy_until, now) + v->timing.read_ns;
	return on_channel(v, f, i, now + v->timing.read_ns, d->busy_until, bytes);
}

static uint64_t write_page(struct vssd *v, struct flash *f, uint64_t now, uint32_t page,
			   uint64_t bytes)
{
	const struct vssd_timing *t = &v->timing;
	uint32_t i = f->turn, slot = f->buffer_at;
	uint64_t begin = later(now, f->buffer[slot]), ready = begin;
	struct die *d;

	/* Less than a page: the rest of it has to be read first. */
	if (bytes < t->page && f->l2p[page] != NONE && !in_buffer(f, begin, page))
		ready = read_page(v, f, begin, page, t->page);
	invalidate(v, f, page);
	/* Not to a die that overwrites elsewhere have left with more than its share. */
	while (f->die[i].valid >= (f->blocks - RESERVE) * t->pages)
		i = (i + 1) % f->n_dies;
	f->turn = (i + 1) % f->n_dies;
	d = &f->die[i];
	while (d->host == NONE && d->n_free < RESERVE)
		d->busy_until = later(d->busy_until, begin) + collect(v, f, d);
	place(v, f, d, &d->host, &d->host_page, page);
	v->timing_stats.host_pages++;
	/* Nor does the die wait, if it is another one that still has to read. */
	ready = on_channel(v, f, i, begin, ready, t->page);
	d->busy_until = later(d->busy_until, begin) + t->write_ns;
	f->buffer[slot] = later(d->busy_until, ready + t->write_ns);
	f->programmed = later(f->programmed, f->buffer[slot]);
	f->buffered[slot] = page;
	f->slot[page] = slot;
	f->buffer_at = (slot + 1) % f->n_buffer;
	return begin + t->buffer_ns;
}

uint64_t vssd_flash_end(struct vssd *v, uint64_t now, enum vssd_io_op op, uint64_t offset,
			uint64_t length)
{
	const struct vssd_timing *t = &v->timing;
	struct flash *f = v->timing_state;
	uint64_t end = now;

	if (op == VSSD_IO_FLUSH)
		return later(now, f->programmed);
	while (length) {
		uint64_t page = offset / t->page, in = offset % t->page;
		uint64_t part = t->page - in < length ? t->page - in : length;

		if (page >= f->pages)
			break;
		if (op == VSSD_IO_READ)
			end = later(end, read_page(v, f, now, (uint32_t)page, part));
		else if (op == VSSD_IO_WRITE)
			end = later(end, write_page(v, f, now, (uint32_t)page, part));
		else if (part == t->page)
			invalidate(v, f, (uint32_t)page);
		offset += part;
		length -= part;
	}
	return op == VSSD_IO_DISCARD ? now + t->buffer_ns : end;
}
