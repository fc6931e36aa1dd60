// SPDX-License-Identifier: MIT
/*
 * Media for data in memory of a device. A transfer with such memory goes one of two ways.
 *
 * Staged: by way of pinned memory of the worker's. Between that and the medium within it is a
 * transfer as any other, whole to those that overlap it, and the copy to the device is nobody else's
 * business.
 *
 * Direct: from the memory that is the medium to the device's, without a stop. Such a copy takes its
 * time, and nobody may write meanwhile what it reads: so on these media every transfer, with host
 * memory too, holds the stripes that it meets from its begin to its end.
 *
 * Submit only puts a request in line for the copy engine; the poll makes batches of them. One batch
 * is sent off whenever none is under way, and more only when they are worth it: a batch costs as
 * much as ten copies.
 */
#include <stdio.h>
#include <sys/mman.h>

#include "../../gpu/cuda.h"
#include "device.h"
#include "user.h"

#define UNIT		4096		/* of staging memory: O_DIRECT wants no finer */
#define BATCH_BYTES	(1U << 20)	/* a batch is full, if its copies are not too many before */
#define WORTH_COPIES	64		/* of a batch beside another under way */
#define CHUNK_SHIFT	14		/* bytes that share a stripe: 16 KiB, every STRIPES of them */
#define STRIPES		4096
#define STRIPE_WRITER	(1U << 31)	/* a writer has it, or waits for its readers to leave */

/* A medium. */
struct wrapped {
	struct vssd_media media;
	struct vssd_device *device;
	struct vssd_media *inner;
	char *memory;			/* pinned: direct. NULL: staged */
	uint32_t *stripe;		/* [STRIPES] of a direct one: readers, STRIPE_WRITER. Any worker */
};

/* Stripes that a transfer has, or is to have: @n from @first on, around the end. */
struct hold {
	uint32_t first;
	uint32_t n;
	uint32_t taken;
	bool write;
	bool claimed;			/* a writer's, but there are readers: the one after @taken */
};

/**
 * struct request - a transfer under way. Guard: its worker
 * @next: free, or in a queue
 * @near: the host's end of the copies
 * @at, @seg: bytes and segments that are copied, or being copied
 * @far: it is with memory of the device
 * @failed: a batch with a part of it
 * @inner: staged: between the staging memory and the medium within
 */
struct request {
	struct vssd_io *io;
	struct wrapped *m;
	struct request *next;
	struct hold hold;
	char *near;
	uint64_t at;
	uint32_t seg;
	bool far;
	bool failed;
	struct vssd_io inner;
	struct vssd_seg staging;
};

/* First in, first out. */
struct queue {
	struct request *first;
	struct request *last;
};

struct batch {
	struct vssd_copies copies;
	uint64_t bytes;
	struct queue ends;		/* requests that end with it */
	struct request *part;		/* a request that goes on in the next, or NULL */
	bool failed;
};

/* Guard: the worker. */
struct worker {
	uint32_t n;			/* requests under way */
	uint32_t ended;
	struct request *free;
	struct queue locking;		/* for stripes. None of them is in the way of another for good:
					 * they take them in ascending order */
	struct queue unstaged;		/* for staging memory */
	struct queue copying;		/* for a place in a batch */
	uint32_t begun;			/* batches sent off: slot[begun % SLOTS] is being filled */
	uint32_t done;			/* of them, have ended */
	char *staging;
	uint8_t *used;			/* [units] */
	uint32_t units;
	uint32_t free_units;
	uint32_t cursor;		/* where the search for free ones begins */
	struct batch slot[VSSD_DEVICE_SLOTS];
} __attribute__((aligned(64)));

struct range {
	uintptr_t begin;
	uintptr_t end;
	bool hidden;			/* only for transfers in flight */
};

struct vssd_device {
	const struct vssd_device_ops *ops;
	void *ctx;
	size_t staging;
	struct range *range;		/* sorted, apart */
	size_t ranges;
	uint32_t workers;
	struct worker worker[];
};

static struct wrapped *wrapped_of(struct vssd_media *media)
{
	return (struct wrapped *)((char *)media - offsetof(struct wrapped, media));
}

static struct worker *worker_of(const struct request *r)
{
	return &r->m->device->worker[r->io->worker];
}

static void push(struct queue *q, struct request *r)
{
	r->next = NULL;
	*(q->first ? &q->last->next : &q->first) = r;
	q->last = r;
}

static struct request *pop(struct queue *q)
{
	struct request *r = q->first;

	if (r)
		q->first = r->next;
	return r;
}

/* ---- memory of the device ------------------------------------------------------------------- */

/* The first range that ends beyond @addr: its index, or d->ranges. */
static size_t range_of(const struct vssd_device *d, uintptr_t addr)
{
	size_t low = 0, high = d->ranges;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (d->range[mid].end > addr)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

int vssd_device_map(struct vssd_device *d, void *va, size_t length)
{
	uintptr_t begin = (uintptr_t)va;
	size_t i = range_of(d, begin);
	struct range *range;

	if (!length || length > UINTPTR_MAX - begin)
		return -EINVAL;
	if (i < d->ranges && d->range[i].begin < begin + length)
		return -EEXIST;
	range = realloc(d->range, (d->ranges + 1) * sizeof(*range));
	if (!range)
		return -ENOMEM;
	memmove(range + i + 1, range + i, (d->ranges - i) * sizeof(*range));
	range[i] = (struct range){ begin, begin + length, false };
	d->range = range;
	d->ranges++;
	return 0;
}

/* The range that is just this, or NULL. */
static struct range *exactly(struct vssd_device *d, void *va, size_t length)
{
	uintptr_t begin = (uintptr_t)va;
	size_t i = range_of(d, begin);

	if (i == d->ranges || d->range[i].begin != begin || d->range[i].end - begin != length)
		return NULL;
	return &d->range[i];
}

int vssd_device_hide(struct vssd_device *d, void *va, size_t length)
{
	struct range *range = exactly(d, va, length);

	if (!range || range->hidden)
		return -ENOENT;
	range->hidden = true;
	return 0;
}

int vssd_device_unmap(struct vssd_device *d, void *va, size_t length)
{
	struct range *range = exactly(d, va, length);

	if (!range)
		return -ENOENT;
	d->ranges--;
	memmove(range, range + 1, (d->range + d->ranges - range) * sizeof(*range));
	return 0;
}

void *vssd_device_translate(const struct vssd_device *d, uint64_t addr, size_t *length)
{
	size_t i = range_of(d, addr);

	if (i == d->ranges || d->range[i].begin > addr || d->range[i].hidden)
		return NULL;
	if (*length > d->range[i].end - addr)
		*length = d->range[i].end - addr;
	return (void *)(uintptr_t)addr;
}

static bool is_far(const struct vssd_device *d, const void *va)
{
	size_t i = range_of(d, (uintptr_t)va);

	return i < d->ranges && d->range[i].begin <= (uintptr_t)va;
}

/* Is any of @io in memory of the device? */
static bool meets_device(const struct vssd_device *d, const struct vssd_io *io)
{
	for (uint32_t i = 0; d->ranges && i < io->segs; i++)
		if (is_far(d, io->seg[i].va))
			return true;
	return false;
}

/* ---- stripes -------------------------------------------------------------------------------- */

static struct hold hold_of(const struct vssd_io *io)
{
	uint64_t first = io->offset >> CHUNK_SHIFT;
	uint64_t n = ((io->offset + io->length - 1) >> CHUNK_SHIFT) - first + 1;

	return (struct hold){
		.first = first % STRIPES,
		.n = n < STRIPES ? (uint32_t)n : STRIPES,
		.write = io->op != VSSD_IO_READ,
	};
}

/* Index @i of the stripes of @h, in ascending order: those around the end come first. */
static uint32_t nth(const struct hold *h, uint32_t i)
{
	uint32_t around = h->first + h->n > STRIPES ? h->first + h->n - STRIPES : 0;

	return i < around ? i : h->first + i - around;
}

static bool take_to_read(uint32_t *stripe)
{
	uint32_t old;

	do {
		old = SNV_LOAD_RELAXED(stripe);
		if (old & STRIPE_WRITER)
			return false;
	} while (!snv_cas32(stripe, old, old + 1));
	return true;
}

/* First the claim, which keeps new readers out; then those that are in leave. */
static bool take_to_write(uint32_t *stripe, bool *claimed)
{
	uint32_t old;

	while (!*claimed) {
		old = SNV_LOAD_RELAXED(stripe);
		if (old & STRIPE_WRITER)
			return false;
		*claimed = snv_cas32(stripe, old, old | STRIPE_WRITER);
	}
	/* Acquire; partner: the reader's exchange in let_go(). */
	if (SNV_LOAD_ACQUIRE(stripe) != STRIPE_WRITER)
		return false;
	*claimed = false;
	return true;
}

/* As many of @h as can be had; false: not all yet. */
static bool take(struct wrapped *m, struct hold *h)
{
	for (; h->taken < h->n; h->taken++) {
		uint32_t *stripe = &m->stripe[nth(h, h->taken)];

		if (h->write ? !take_to_write(stripe, &h->claimed) : !take_to_read(stripe))
			return false;
	}
	return true;
}

static void let_go(struct wrapped *m, const struct hold *h)
{
	for (uint32_t i = 0; i < h->taken; i++) {
		uint32_t *stripe = &m->stripe[nth(h, i)], old;

		if (h->write) {
			SNV_STORE_RELEASE(stripe, 0);
			continue;
		}
		do
			old = SNV_LOAD_RELAXED(stripe);
		while (!snv_cas32(stripe, old, old - 1));
	}
}

/* ---- staging memory ------------------------------------------------------------------------- */

static uint32_t units_of(uint64_t length)
{
	return (uint32_t)((length + UNIT - 1) / UNIT);
}

/* The next @n units in a row that are free, from the cursor on; or w->units. */
static uint32_t find_units(const struct worker *w, uint32_t n)
{
	uint32_t at = w->cursor, run = 0;

	if (n > w->free_units)
		return w->units;
	for (uint32_t i = 0; i < w->units + n; i++) {
		run = w->used[at] ? 0 : run + 1;
		if (run == n)
			return at + 1 - n;
		if (++at == w->units)
			at = run = 0;
	}
	return w->units;
}

static bool stage(struct worker *w, struct request *r)
{
	uint32_t n = units_of(r->io->length), at = find_units(w, n);

	if (at == w->units)
		return false;
	memset(w->used + at, 1, n);
	w->free_units -= n;
	w->cursor = at + n == w->units ? 0 : at + n;
	r->near = w->staging + (size_t)at * UNIT;
	return true;
}

static void unstage(struct worker *w, struct request *r)
{
	uint32_t n = units_of(r->io->length);

	memset(w->used + (r->near - w->staging) / UNIT, 0, n);
	w->free_units += n;
}

/* ---- requests ------------------------------------------------------------------------------- */

static struct request *get(struct wrapped *m, struct vssd_io *io, bool far)
{
	struct worker *w = &m->device->worker[io->worker];
	struct request *r = w->free;

	if (r)
		w->free = r->next;
	else
		r = malloc(sizeof(*r));
	if (!r)
		return NULL;
	r->io = io;
	r->m = m;
	r->hold = m->memory ? hold_of(io) : (struct hold){ 0 };
	r->near = m->memory ? m->memory + io->offset : NULL;
	r->at = 0;
	r->seg = 0;
	r->far = far;
	r->failed = false;
	w->n++;
	return r;
}

/* Forget @r, which has come to its end. */
static struct vssd_io *retire(struct request *r)
{
	struct worker *w = worker_of(r);

	if (r->m->memory)
		let_go(r->m, &r->hold);
	else
		unstage(w, r);
	w->n--;
	r->next = w->free;
	w->free = r;
	return r->io;
}

static void end(struct request *r, int status)
{
	struct vssd_io *io;

	worker_of(r)->ended++;
	io = retire(r);
	io->done(io, status);
}

/* ---- staged: the medium within -------------------------------------------------------------- */

static void inner_done(struct vssd_io *inner, int status)
{
	struct request *r = (struct request *)((char *)inner - offsetof(struct request, inner));

	if (inner->op == VSSD_IO_READ && !status)
		push(&worker_of(r)->copying, r);
	else
		end(r, status);
}

static int inner_submit(struct request *r)
{
	struct vssd_media *inner = r->m->inner;
	const struct vssd_io *io = r->io;

	r->staging = (struct vssd_seg){ r->near, io->length };
	r->inner = (struct vssd_io){
		.op = io->op,
		.fua = io->fua,
		.worker = io->worker,
		.offset = io->offset,
		.length = io->length,
		.seg = &r->staging,
		.segs = 1,
		.done = inner_done,
	};
	return inner->ops->submit(inner, &r->inner);
}

/* ---- steps of a request --------------------------------------------------------------------- */

/* On a direct medium, without the device. */
static int in_place(struct request *r)
{
	struct vssd_media *inner = r->m->inner;

	if (r->io->op != VSSD_IO_DISCARD)
		return inner->ops->submit(inner, r->io);
	/* The device has these very pages: they cannot be given back. */
	memset(r->near, 0, r->io->length);
	return 0;
}

/* It has its stripes, or its staging memory. VSSD_PENDING, or a status: the end. */
static int begin(struct request *r)
{
	int ret = 0;

	if (!r->far)
		return in_place(r);
	if (!r->m->memory && r->io->op == VSSD_IO_READ)
		ret = inner_submit(r);
	if (ret)
		return ret;
	push(&worker_of(r)->copying, r);
	return VSSD_PENDING;
}

/* The copies of @r have ended. */
static void copied(struct request *r)
{
	int status = r->failed ? SNV_SC_DATA_XFER_ERROR : 0;

	if (!status && !r->m->memory && r->io->op == VSSD_IO_WRITE)
		status = inner_submit(r);
	if (status != VSSD_PENDING)
		end(r, status);
}

static int device_submit(struct vssd_media *media, struct vssd_io *io)
{
	struct wrapped *m = wrapped_of(media);
	struct vssd_device *d = m->device;
	struct worker *w = &d->worker[io->worker];
	int ret = vssd_io_check(media, io);
	bool far = meets_device(d, io);
	struct request *r;

	if (ret || (io->op != VSSD_IO_FLUSH && !io->length))
		return ret;
	if (io->op == VSSD_IO_FLUSH || (!m->memory && !far))
		return m->inner->ops->submit(m->inner, io);
	if (!m->memory && io->length > d->staging)
		return SNV_SC_DATA_XFER_ERROR;
	r = get(m, io, far);
	if (!r)
		return SNV_SC_INTERNAL;
	if (m->memory ? !take(m, &r->hold) : (w->unstaged.first || !stage(w, r))) {
		push(m->memory ? &w->locking : &w->unstaged, r);
		return VSSD_PENDING;
	}
	ret = begin(r);
	if (ret != VSSD_PENDING)
		retire(r);
	return ret;
}

static void begin_waiting(struct worker *w)
{
	struct queue waiting = w->locking;
	struct request *r;
	int ret;

	w->locking.first = NULL;
	while ((r = pop(&waiting)) != NULL) {
		if (!take(r->m, &r->hold)) {
			push(&w->locking, r);
			continue;
		}
		ret = begin(r);
		if (ret != VSSD_PENDING)
			end(r, ret);
	}
	/* In order, so that a long one gets its turn. */
	while (w->unstaged.first && stage(w, w->unstaged.first)) {
		r = pop(&w->unstaged);
		ret = begin(r);
		if (ret != VSSD_PENDING)
			end(r, ret);
	}
}

/* ---- batches -------------------------------------------------------------------------------- */

static bool is_full(const struct batch *b)
{
	return b->copies.n == VSSD_DEVICE_COPIES || b->bytes >= BATCH_BYTES;
}

/* The rest of @r's copies, as far as @b takes them; what is host memory, at once. False: not all. */
static bool gather(struct batch *b, struct request *r)
{
	const struct vssd_io *io = r->io;
	bool to_far = io->op == VSSD_IO_READ;

	for (; r->seg < io->segs; r->seg++) {
		const struct vssd_seg *seg = &io->seg[r->seg];
		struct vssd_copies *c = &b->copies;
		char *near = r->near + r->at;

		if (is_far(r->m->device, seg->va)) {
			if (is_full(b))
				return false;
			c->dst[c->n] = (uintptr_t)(to_far ? seg->va : near);
			c->src[c->n] = (uintptr_t)(to_far ? near : seg->va);
			c->length[c->n++] = seg->length;
			b->bytes += seg->length;
		} else if (to_far) {
			memcpy(seg->va, near, seg->length);
		} else {
			memcpy(near, seg->va, seg->length);
		}
		r->at += seg->length;
	}
	return true;
}

static void fill(struct worker *w, struct batch *b)
{
	struct request *r;

	while ((r = w->copying.first) != NULL && !is_full(b)) {
		b->part = r;
		if (!gather(b, r))
			return;
		push(&b->ends, pop(&w->copying));
		b->part = NULL;
	}
}

static void send_batches(struct vssd_device *d, struct worker *w)
{
	while (w->begun - w->done < VSSD_DEVICE_SLOTS) {
		uint32_t slot = w->begun % VSSD_DEVICE_SLOTS;
		struct batch *b = &w->slot[slot];

		fill(w, b);
		if (!b->copies.n || (w->begun != w->done && !is_full(b) &&
				     b->copies.n < WORTH_COPIES))
			return;
		b->failed = d->ops->start(d->ctx, (uint32_t)(w - d->worker), slot, &b->copies);
		w->begun++;
	}
}

/* Batches end in the order of their begin, as those who end with them rely upon. */
static void reap_batches(struct vssd_device *d, struct worker *w)
{
	while (w->done != w->begun) {
		uint32_t slot = w->done % VSSD_DEVICE_SLOTS;
		struct batch *b = &w->slot[slot];
		int ret = b->failed ? -EIO : d->ops->query(d->ctx, (uint32_t)(w - d->worker), slot);
		struct queue ends = b->ends;
		struct request *r;

		if (!ret)
			return;
		if (ret < 0 && b->part)
			b->part->failed = true;
		b->copies.n = 0;
		b->bytes = 0;
		b->ends.first = NULL;
		b->part = NULL;
		w->done++;
		while ((r = pop(&ends)) != NULL) {
			r->failed |= ret < 0;
			copied(r);
		}
	}
}

/* What is a worker's is common to all media: whichever is asked first does it for all. */
static uint32_t device_poll(struct vssd_media *media, uint32_t worker)
{
	struct wrapped *m = wrapped_of(media);
	struct vssd_device *d = m->device;
	struct worker *w = &d->worker[worker];
	uint32_t before = w->ended, n = 0;

	if (m->inner->ops->poll)
		n = m->inner->ops->poll(m->inner, worker);
	if (w->n) {
		reap_batches(d, w);
		begin_waiting(w);
		send_batches(d, w);
	}
	return n + w->ended - before;
}

bool vssd_device_busy(const struct vssd_device *d, uint32_t worker)
{
	const struct worker *w = &d->worker[worker];

	/* The others wait for these, or for the medium within, which has its own way to wake. */
	return w->begun != w->done || w->copying.first || w->locking.first;
}

/* ---- making and unmaking -------------------------------------------------------------------- */

static void device_close(struct vssd_media *media)
{
	struct wrapped *m = wrapped_of(media);

	if (m->memory)
		m->device->ops->unpin(m->device->ctx, m->memory, media->size);
	m->inner->ops->close(m->inner);
	free(m->stripe);
	free(m);
}

static const struct vssd_media_ops device_media_ops = {
	.submit = device_submit,
	.poll = device_poll,
	.close = device_close,
};

struct vssd_media *vssd_device_wrap(struct vssd_device *d, struct vssd_media *inner, void *memory)
{
	struct wrapped *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->media = (struct vssd_media){
		.ops = &device_media_ops,
		.size = inner->size,
		.readonly = inner->readonly,
		.volatile_cache = inner->volatile_cache,
	};
	m->device = d;
	m->inner = inner;
	if (!memory)
		return &m->media;
	m->stripe = calloc(STRIPES, sizeof(*m->stripe));
	if (!m->stripe) {
		free(m);
		return NULL;
	}
	/* More than can be pinned: staged. */
	if (!d->ops->pin(d->ctx, memory, inner->size))
		m->memory = memory;
	return &m->media;
}

static int make_staging(struct vssd_device *d, struct worker *w)
{
	void *p;
	int ret;

	w->used = calloc(d->staging / UNIT, 1);
	if (!w->used)
		return -ENOMEM;
	p = mmap(NULL, d->staging, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	ret = d->ops->pin(d->ctx, p, d->staging);
	if (ret) {
		munmap(p, d->staging);
		return ret;
	}
	w->staging = p;
	w->units = w->free_units = (uint32_t)(d->staging / UNIT);
	return 0;
}

static void free_device(struct vssd_device *d)
{
	for (uint32_t i = 0; i < d->workers; i++) {
		struct worker *w = &d->worker[i];
		struct request *r, *next;

		for (r = w->free; r; r = next) {
			next = r->next;
			free(r);
		}
		if (w->staging) {
			d->ops->unpin(d->ctx, w->staging, d->staging);
			munmap(w->staging, d->staging);
		}
		free(w->used);
	}
	free(d->range);
	free(d);
}

struct vssd_device *vssd_device_create(const struct vssd_device_ops *ops, void *ctx,
				       uint32_t workers, size_t staging)
{
	size_t bytes = sizeof(struct vssd_device) + workers * sizeof(struct worker);
	struct vssd_device *d = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
	int ret = 0;

	if (!d)
		return NULL;
	memset(d, 0, bytes);
	d->ops = ops;
	d->ctx = ctx;
	d->workers = workers;
	d->staging = (staging + UNIT - 1) & ~(size_t)(UNIT - 1);
	for (uint32_t i = 0; !ret && i < workers; i++)
		ret = make_staging(d, &d->worker[i]);
	if (!ret)
		return d;
	free_device(d);
	errno = -ret;
	return NULL;
}

void vssd_device_destroy(struct vssd_device *d)
{
	const struct vssd_device_ops *ops = d->ops;
	void *ctx = d->ctx;

	free_device(d);
	ops->close(ctx);
}

/* ---- CUDA ----------------------------------------------------------------------------------- */

struct cuda_worker {
	struct CUstream_st *stream;
	struct CUevent_st *event[VSSD_DEVICE_SLOTS];
};

struct cuda {
	const struct snvme_cuda *cu;
	int device;
	struct CUctx_st *ctx;
	uint32_t workers;
	struct cuda_worker worker[];
};

/* The thread may be the program's own: it gets back the context that it had. */
static bool enter(const struct cuda *c)
{
	return !c->cu->CtxPushCurrent(c->ctx);
}

static void leave(const struct cuda *c)
{
	struct CUctx_st *ctx;

	c->cu->CtxPopCurrent(&ctx);
}

static int cuda_pin(void *ctx, void *va, size_t length)
{
	const struct cuda *c = ctx;
	snv_cu_result ret;

	if (!enter(c))
		return -EIO;
	ret = c->cu->MemHostRegister(va, length, SNV_CU_HOST_REGISTER_PORTABLE);
	leave(c);
	return ret ? -ENOMEM : 0;
}

static void cuda_unpin(void *ctx, void *va, size_t length)
{
	const struct cuda *c = ctx;

	if (!enter(c))
		return;
	c->cu->MemHostUnregister(va);
	leave(c);
}

static snv_cu_result cuda_copy(const struct cuda *c, const struct cuda_worker *w,
			       struct vssd_copies *copies)
{
	/* Threads of the GPU wait for these copies: they must not need multiprocessors to be free. */
	struct snv_cu_copy_attrs attrs = {
		.src_order = SNV_CU_SRC_ORDER_STREAM,
		.flags = SNV_CU_COPY_OVERLAP,
	};
	size_t first = 0;
	snv_cu_result ret = 0;

	if (c->cu->MemcpyBatchAsync && copies->n > 1)
		return c->cu->MemcpyBatchAsync(copies->dst, copies->src, copies->length, copies->n,
					       &attrs, &first, 1, w->stream);
	for (size_t i = 0; i < copies->n && !ret; i++)
		ret = c->cu->MemcpyAsync(copies->dst[i], copies->src[i], copies->length[i],
					 w->stream);
	return ret;
}

static int cuda_start(void *ctx, uint32_t worker, uint32_t slot, struct vssd_copies *copies)
{
	const struct cuda *c = ctx;
	const struct cuda_worker *w = &c->worker[worker];
	snv_cu_result ret;

	if (!enter(c))
		return -EIO;
	ret = cuda_copy(c, w, copies);
	if (!ret)
		ret = c->cu->EventRecord(w->event[slot], w->stream);
	/* Some of them may have begun. */
	if (ret)
		c->cu->StreamSynchronize(w->stream);
	leave(c);
	return ret ? -EIO : 0;
}

static int cuda_query(void *ctx, uint32_t worker, uint32_t slot)
{
	const struct cuda *c = ctx;
	snv_cu_result ret;

	if (!enter(c))
		return -EIO;
	ret = c->cu->EventQuery(c->worker[worker].event[slot]);
	leave(c);
	if (ret == SNV_CU_NOT_READY)
		return 0;
	return ret ? -EIO : 1;
}

static void cuda_close(void *ctx)
{
	struct cuda *c = ctx;

	if (enter(c)) {
		for (uint32_t i = 0; i < c->workers; i++) {
			for (uint32_t j = 0; j < VSSD_DEVICE_SLOTS; j++)
				if (c->worker[i].event[j])
					c->cu->EventDestroy(c->worker[i].event[j]);
			if (c->worker[i].stream)
				c->cu->StreamDestroy(c->worker[i].stream);
		}
		leave(c);
	}
	c->cu->DevicePrimaryCtxRelease(c->device);
	free(c);
}

static const struct vssd_device_ops cuda_ops = {
	.pin = cuda_pin,
	.unpin = cuda_unpin,
	.start = cuda_start,
	.query = cuda_query,
	.close = cuda_close,
};

/* Streams that do not wait for what the program does in the default one. */
static snv_cu_result cuda_streams(struct cuda *c)
{
	snv_cu_result ret = 0;

	for (uint32_t i = 0; i < c->workers && !ret; i++) {
		struct cuda_worker *w = &c->worker[i];

		ret = c->cu->StreamCreate(&w->stream, SNV_CU_STREAM_NON_BLOCKING);
		for (uint32_t j = 0; j < VSSD_DEVICE_SLOTS && !ret; j++)
			ret = c->cu->EventCreate(&w->event[j], SNV_CU_EVENT_DISABLE_TIMING);
	}
	return ret;
}

static const char *cuda_error(const struct cuda *c, snv_cu_result ret)
{
	const char *text;

	return c->cu->GetErrorString(ret, &text) || !text ? "unknown error" : text;
}

/* The GPU, its context and its streams. 0 or -errno; what there is then is for cuda_close(). */
static int cuda_begin(struct cuda *c, int ordinal, char *why, size_t size)
{
	snv_cu_result ret;

	if (c->cu->DeviceGet(&c->device, ordinal))
		return vssd_why(why, size, -ENODEV, "no CUDA device %d", ordinal);
	ret = c->cu->DevicePrimaryCtxRetain(&c->ctx, c->device);
	if (ret) {
		c->ctx = NULL;
		return vssd_why(why, size, -EIO, "CUDA device %d: no context: %s", ordinal,
				cuda_error(c, ret));
	}
	ret = c->cu->CtxPushCurrent(c->ctx);
	if (!ret) {
		ret = cuda_streams(c);
		leave(c);
	}
	return ret ? vssd_why(why, size, -EIO, "CUDA device %d: no stream: %s", ordinal,
			      cuda_error(c, ret)) : 0;
}

int vssd_device_cuda(const struct snvme_cuda *cu, int ordinal, uint32_t workers, size_t staging,
		     struct vssd_device **out, char *why, size_t size)
{
	struct cuda *c = calloc(1, sizeof(*c) + workers * sizeof(c->worker[0]));
	int ret;

	if (!c)
		return vssd_why(why, size, -ENOMEM, "out of memory");
	c->cu = cu;
	c->workers = workers;
	ret = cuda_begin(c, ordinal, why, size);
	if (!ret) {
		*out = vssd_device_create(&cuda_ops, c, workers, staging);
		if (*out)
			return 0;
		ret = vssd_why(why, size, -errno, "CUDA device %d: %u times %zu bytes of pinned memory: %s",
			       ordinal, workers, staging, strerror(errno));
	}
	if (c->ctx)
		cuda_close(c);
	else
		free(c);
	return ret;
}
