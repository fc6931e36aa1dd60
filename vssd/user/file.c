// SPDX-License-Identifier: MIT
/*
 * A regular file or a block device as a medium, through io_uring.
 *
 * A transfer that is aligned as O_DIRECT wants it goes past the page cache, any other through it,
 * by a second descriptor. It becomes a request that is carried out in pieces: what one system call
 * does. Requests that touch the same bytes, one of them writing, go in the order of their coming.
 */
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <liburing.h>

#include "user.h"

#define RING_ENTRIES	256
/*
 * Linux starts what one call submits together, so that the disk idles while the last of many is
 * prepared; but not of so few.
 */
#define SUBMIT_AT_ONCE	2
#define ZEROS		65536		/* bytes written at once where nothing better clears */
#define MAX_PIECE	(1U << 30)	/* what one read or write surely takes */
#define BUSY_WAITS	50		/* of 10 ms, for the owner of a lock to let go of it */
#define DIRECT_ALIGN	4096		/* where the kernel does not say: no disk wants more */

/* Beside a status and VSSD_PENDING: the request waits for another, and is not to be touched. */
#define WAITING		(-2)

/* How to clear a range; each is tried when the one before is not supported. */
enum clear { CLEAR_PUNCH, CLEAR_ZERO, CLEAR_WRITE };

struct file {
	struct vssd_media media;
	struct vssd_uring *uring;
	int fd;				/* through the page cache */
	int direct_fd;			/* or -1 */
	uint32_t mem_align;		/* of O_DIRECT: of memory */
	uint32_t align;			/* of O_DIRECT: of offsets and lengths */
	uint32_t clear_align;
	uint32_t clear;			/* enum clear. Any worker changes it, upwards */
	uint32_t page;			/* of the page cache; the file system's block if larger */
	uint32_t no_direct;		/* O_DIRECT turned out not to work. Any worker sets it */
	uint32_t lost;			/* a flush failed, and what it did not write may be gone: so
					 * does each from now on. Any worker sets it */
	uint32_t lock;
	uint32_t writers;		/* in the list. Guard: lock */
	struct request *first;		/* transfers under way, oldest first. Guard: lock */
	struct request *last;
};

/* What one system call is to do. */
struct piece {
	enum { PIECE_READ, PIECE_WRITE, PIECE_CLEAR, PIECE_SYNC } kind;
	int fd;
	const struct iovec *iov;
	uint32_t iovs;
	int flags;		/* RWF_*, FALLOC_FL_* */
	uint64_t offset;
	uint64_t length;
	struct iovec own;	/* where iov points to when it is not as the segments have it */
};

/**
 * struct request - a transfer under way. Guard: its worker
 * @next, @prev, @blockers: in file's list; how many before it there it waits for. Guard: file.lock
 * @link: free or ready
 * @at: bytes done
 * @piece: what is being done
 * @direct: past the page cache. Only changed outside the list
 * @eof: but for what is left of it
 * @sync: all is done but for making it durable
 */
struct request {
	struct vssd_io *io;
	struct file *file;
	struct request *next;
	struct request *prev;
	uint32_t blockers;
	struct request *link;
	uint64_t at;
	struct piece piece;
	bool direct;
	bool eof;
	bool sync;
};

/* Guard: the worker, but for @ready. */
struct uring_worker {
	struct io_uring ring;
	int wake;
	struct request *free;
	uint32_t lock;
	struct request *ready;		/* to be started; other workers add. Guard: lock */
	bool unsent;			/* the ring holds what the kernel has not taken */
};

struct vssd_uring {
	uint32_t workers;
	bool in_place;
	char *zeros;
	struct uring_worker worker[];
};

static struct file *file_of(struct vssd_media *media)
{
	return (struct file *)((char *)media - offsetof(struct file, media));
}

/* ---- rings ---------------------------------------------------------------------------------- */

struct vssd_uring *vssd_uring_create(uint32_t workers, const int *wake, bool in_place)
{
	struct vssd_uring *u = calloc(1, sizeof(*u) + workers * sizeof(u->worker[0]));

	if (!u)
		return NULL;
	u->zeros = calloc(1, ZEROS);
	if (!u->zeros) {
		free(u);
		return NULL;
	}
	u->in_place = in_place;
	for (; u->workers < workers; u->workers++) {
		struct uring_worker *w = &u->worker[u->workers];
		int ret;

		w->wake = wake ? wake[u->workers] : -1;
		if (u->in_place)
			continue;
		ret = io_uring_queue_init(RING_ENTRIES, &w->ring, 0);
		/* Not in this kernel, or forbidden, as in many a container. */
		if (!u->workers && (ret == -ENOSYS || ret == -EPERM || ret == -EACCES)) {
			u->in_place = true;
		} else if (ret) {
			vssd_uring_destroy(u);
			errno = -ret;
			return NULL;
		}
	}
	return u;
}

void vssd_uring_destroy(struct vssd_uring *u)
{
	if (!u)
		return;
	for (uint32_t i = 0; i < u->workers; i++) {
		struct request *r, *next;

		if (!u->in_place)
			io_uring_queue_exit(&u->worker[i].ring);
		for (r = u->worker[i].free; r; r = next) {
			next = r->link;
			free(r);
		}
	}
	free(u->zeros);
	free(u);
}

int vssd_uring_fd(const struct vssd_uring *u, uint32_t worker)
{
	return u->in_place ? -1 : u->worker[worker].ring.ring_fd;
}

bool vssd_uring_stuck(const struct vssd_uring *u, uint32_t worker)
{
	const struct uring_worker *w = &u->worker[worker];

	return SNV_LOAD_RELAXED(&w->ready) || SNV_LOAD_RELAXED(&w->unsent);
}

/* Have @r started by its worker's next poll. */
static void make_ready(struct request *r)
{
	struct uring_worker *w = &r->file->uring->worker[r->io->worker];

	vssd_lock(&w->lock);
	r->link = w->ready;
	SNV_STORE_RELAXED(&w->ready, r);
	vssd_unlock(&w->lock);
}

/* ---- one at a time -------------------------------------------------------------------------- */

static bool writes(const struct request *r)
{
	return r->io->op != VSSD_IO_READ;
}

/*
 * A piece through the page cache reads and writes whole pages: past the cache, nobody may be at
 * work on the rest of them.
 */
static bool conflict(const struct request *a, const struct request *b)
{
	uint64_t mask = a->direct == b->direct ? UINT64_MAX : ~((uint64_t)a->file->page - 1);
	const struct vssd_io *x = a->io, *y = b->io;

	return (writes(a) || writes(b)) && (x->offset & mask) < y->offset + y->length &&
	       (y->offset & mask) < x->offset + x->length;
}

/* Put @r into the list. False: it has to wait, and will be made ready. */
static bool enlist(struct request *r)
{
	struct file *f = r->file;
	bool go;

	vssd_lock(&f->lock);
	f->writers += writes(r);
	r->blockers = 0;
	for (struct request *q = f->writers ? f->first : NULL; q; q = q->next)
		r->blockers += conflict(q, r);
	r->next = NULL;
	r->prev = f->last;
	*(f->last ? &f->last->next : &f->first) = r;
	f->last = r;
	go = !r->blockers;
	vssd_unlock(&f->lock);
	return go;
}

static void delist(struct request *r)
{
	struct file *f = r->file;

	vssd_lock(&f->lock);
	for (struct request *q = f->writers ? r->next : NULL; q; q = q->next) {
		if (!q->blockers || !conflict(r, q) || --q->blockers)
			continue;
		make_ready(q);
		if (q->io->worker != r->io->worker && f->uring->worker[q->io->worker].wake >= 0)
			eventfd_write(f->uring->worker[q->io->worker].wake, 1);
	}
	*(r->prev ? &r->prev->next : &f->first) = r->next;
	*(r->next ? &r->next->prev : &f->last) = r->prev;
	f->writers -= writes(r);
	vssd_unlock(&f->lock);
}

/* ---- pieces --------------------------------------------------------------------------------- */

_Static_assert(sizeof(struct vssd_seg) == sizeof(struct iovec) &&
	       offsetof(struct vssd_seg, va) == offsetof(struct iovec, iov_base) &&
	       offsetof(struct vssd_seg, length) == offsetof(struct iovec, iov_len),
	       "segments are passed as they are");

/* The segments from byte r->at on, as far as one call takes them. */
static void next_segs(struct request *r)
{
	const struct vssd_seg *seg = r->io->seg;
	struct piece *p = &r->piece;
	uint64_t skip = r->at;
	uint32_t left = r->io->segs;

	while (skip >= seg->length) {
		skip -= seg->length;
		seg++;
		left--;
	}
	if (skip || seg->length > MAX_PIECE) {
		p->length = seg->length - skip;
		if (p->length > MAX_PIECE)
			p->length = MAX_PIECE;
		p->own = (struct iovec){ (char *)seg->va + skip, p->length };
		p->iov = &p->own;
		p->iovs = 1;
		return;
	}
	p->iov = (const struct iovec *)seg;
	p->iovs = 0;
	p->length = 0;
	while (left-- && p->iovs < IOV_MAX && p->length + seg->length <= MAX_PIECE) {
		p->length += seg++->length;
		p->iovs++;
	}
}

/* Of a discard: what is aligned is cleared at once, the rest by writing zeros over it. */
static void next_clear(struct request *r)
{
	struct file *f = r->file;
	struct piece *p = &r->piece;
	uint64_t left = r->io->length - r->at;
	uint64_t edge = p->offset % f->clear_align;
	enum clear clear = SNV_LOAD_RELAXED(&f->clear);

	if (!edge && left >= f->clear_align && clear != CLEAR_WRITE) {
		p->kind = PIECE_CLEAR;
		p->flags = FALLOC_FL_KEEP_SIZE |
			   (clear == CLEAR_PUNCH ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
		p->length = left - left % f->clear_align;
		return;
	}
	p->kind = PIECE_WRITE;
	if (clear != CLEAR_WRITE && edge && left > f->clear_align - edge)
		left = f->clear_align - edge;
	p->length = left < ZEROS ? left : ZEROS;
	p->own = (struct iovec){ f->uring->zeros, p->length };
	p->iov = &p->own;
	p->iovs = 1;
}

static void next_piece(struct request *r)
{
	const struct vssd_io *io = r->io;
	struct piece *p = &r->piece;

	p->fd = r->direct && !r->eof ? r->file->direct_fd : r->file->fd;
	p->offset = io->offset + r->at;
	p->flags = 0;
	if (r->sync) {
		p->kind = PIECE_SYNC;
	} else if (io->op == VSSD_IO_DISCARD) {
		next_clear(r);
	} else {
		p->kind = io->op == VSSD_IO_READ ? PIECE_READ : PIECE_WRITE;
		/* Through the page cache a sync follows: its failure means more than a write's. */
		if (io->op == VSSD_IO_WRITE && io->fua && r->direct)
			p->flags = RWF_DSYNC;
		next_segs(r);
	}
}

static int do_piece(const struct piece *p)
{
	ssize_t ret;

	switch (p->kind) {
	case PIECE_READ:
		ret = preadv2(p->fd, p->iov, p->iovs, p->offset, p->flags);
		break;
	case PIECE_WRITE:
		ret = pwritev2(p->fd, p->iov, p->iovs, p->offset, p->flags);
		break;
	case PIECE_CLEAR:
		ret = fallocate(p->fd, p->flags, p->offset, p->length);
		break;
	default:
		ret = fdatasync(p->fd);
	}
	return ret < 0 ? -errno : (int)ret;
}

/* When the kernel is short of memory, the rest goes the next time. */
static void send_pieces(struct uring_worker *w)
{
	io_uring_submit(&w->ring);
	SNV_STORE_RELAXED(&w->unsent, io_uring_sq_ready(&w->ring) != 0);
}

static bool queue_piece(struct uring_worker *w, struct request *r)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);
	const struct piece *p = &r->piece;

	if (!sqe) {
		io_uring_submit(&w->ring);
		sqe = io_uring_get_sqe(&w->ring);
		if (!sqe)
			return false;
	}
	SNV_STORE_RELAXED(&w->unsent, true);
	switch (p->kind) {
	case PIECE_READ:
		if (p->iovs == 1)
			io_uring_prep_read(sqe, p->fd, p->iov->iov_base, p->length, p->offset);
		else
			io_uring_prep_readv(sqe, p->fd, p->iov, p->iovs, p->offset);
		break;
	case PIECE_WRITE:
		if (p->iovs == 1)
			io_uring_prep_write(sqe, p->fd, p->iov->iov_base, p->length, p->offset);
		else
			io_uring_prep_writev(sqe, p->fd, p->iov, p->iovs, p->offset);
		sqe->rw_flags = p->flags;
		break;
	case PIECE_CLEAR:
		io_uring_prep_fallocate(sqe, p->fd, p->flags, p->offset, p->length);
		break;
	default:
		io_uring_prep_fsync(sqe, p->fd, IORING_FSYNC_DATASYNC);
	}
	io_uring_sqe_set_data(sqe, r);
	if (io_uring_sq_ready(&w->ring) >= SUBMIT_AT_ONCE)
		send_pieces(w);
	return true;
}

/* ---- how a piece ended ---------------------------------------------------------------------- */

static int status_of(enum vssd_io_op op, int err)
{
	switch (-err) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return SNV_SC_CAP_EXCEEDED;
	case EROFS:
	case EPERM:
		return SNV_SC_NS_WRITE_PROTECTED;
	case EFAULT:
		return SNV_SC_DATA_XFER_ERROR;
	case ENOMEM:
	case EBADF:
		return SNV_SC_INTERNAL;
	default:
		return op == VSSD_IO_READ ? SNV_SC_READ_ERROR : SNV_SC_WRITE_FAULT;
	}
}

/* What lies beyond the end of the file was never written. */
static void zero_rest(const struct request *r)
{
	uint64_t skip = r->at;

	for (uint32_t i = 0; i < r->io->segs; i++) {
		const struct vssd_seg *seg = &r->io->seg[i];

		if (skip < seg->length) {
			memset((char *)seg->va + skip, 0, seg->length - skip);
			skip = 0;
		} else {
			skip -= seg->length;
		}
	}
}

/* All bytes are where they belong. */
static int all_done(struct request *r)
{
	if (!r->io->fua || r->io->op == VSSD_IO_READ || r->piece.flags == RWF_DSYNC)
		return 0;
	r->sync = true;
	return VSSD_PENDING;
}

static int read_ended(struct request *r, uint32_t n)
{
	if (!n) {
		zero_rest(r);
		return 0;
	}
	r->at += n;
	/* The file ends amid a block: it is for the page cache to say so. */
	r->eof = r->direct && r->at % r->file->align;
	return r->at < r->io->length ? VSSD_PENDING : 0;
}

/* Zeros over the edge of a discard, too. */
static int write_ended(struct request *r, uint32_t n)
{
	if (r->direct)
		n -= n % r->file->align;
	if (!n)
		return SNV_SC_WRITE_FAULT;
	r->at += n;
	return r->at < r->io->length ? VSSD_PENDING : all_done(r);
}

static int clear_ended(struct request *r, int res)
{
	uint32_t next = r->piece.flags & FALLOC_FL_PUNCH_HOLE ? CLEAR_ZERO : CLEAR_WRITE;
	struct file *f = r->file;

	if (res == -EOPNOTSUPP || res == -ENOSYS || res == -EINVAL) {
		if (SNV_LOAD_RELAXED(&f->clear) < next)
			SNV_STORE_RELAXED(&f->clear, next);
		return VSSD_PENDING;
	}
	if (res < 0)
		return status_of(r->io->op, res);
	r->at += r->piece.length;
	return r->at < r->io->length ? VSSD_PENDING : all_done(r);
}

/* Linux tells once of pages that it could not write, and then forgets them: so this may not. */
static int sync_ended(struct request *r, int res)
{
	if (res < 0)
		SNV_STORE_RELAXED(&r->file->lost, 1);
	return SNV_LOAD_RELAXED(&r->file->lost) ? SNV_SC_WRITE_FAULT : 0;
}

/* O_DIRECT has rules here that nobody told: begin again, and stay with the page cache. */
static int no_direct(struct request *r)
{
	SNV_STORE_RELAXED(&r->file->no_direct, 1);
	delist(r);
	r->direct = false;
	r->at = 0;
	return enlist(r) ? VSSD_PENDING : WAITING;
}

/*
 * The call that did r->piece returned @res. Returns a status: the end; VSSD_PENDING: start() the
 * next piece; WAITING.
 */
static int ended(struct request *r, int res)
{
	/* The last comes of the exit of the thread that began it. */
	if (res == -EAGAIN || res == -EINTR || res == -ECANCELED)
		return VSSD_PENDING;
	if (r->piece.kind == PIECE_SYNC)
		return sync_ended(r, res);
	if (r->piece.kind == PIECE_CLEAR)
		return clear_ended(r, res);
	if (res == -EINVAL && r->direct && !r->eof)
		return no_direct(r);
	if (res < 0)
		return status_of(r->io->op, res);
	return r->piece.kind == PIECE_READ ? read_ended(r, res) : write_ended(r, res);
}

/* ---- requests ------------------------------------------------------------------------------- */

/* Begin @r's next piece, or do all of it in place: VSSD_PENDING, WAITING, a status. */
static int start(struct request *r)
{
	struct vssd_uring *u = r->file->uring;
	int ret;

	do {
		/* Nobody waits for it any more: what it was about to do could take hours. */
		if (r->io->dead)
			return SNV_SC_ABORT_REQ;
		next_piece(r);
		if (!u->in_place) {
			if (!queue_piece(&u->worker[r->io->worker], r))
				make_ready(r);
			return VSSD_PENDING;
		}
		ret = ended(r, do_piece(&r->piece));
	} while (ret == VSSD_PENDING);
	return ret;
}

/* Forget @r, which has come to its end. */
static struct vssd_io *retire(struct request *r)
{
	struct uring_worker *w = &r->file->uring->worker[r->io->worker];

	if (r->io->op != VSSD_IO_FLUSH)
		delist(r);
	r->link = w->free;
	w->free = r;
	return r->io;
}

/* Is all of @io aligned as O_DIRECT wants it? */
static bool direct_fits(const struct file *f, const struct vssd_io *io)
{
	uint64_t bits = io->offset;

	if (f->direct_fd < 0 || SNV_LOAD_RELAXED(&f->no_direct) || io->op == VSSD_IO_DISCARD ||
	    io->op == VSSD_IO_FLUSH || io->segs > IOV_MAX)
		return false;
	for (uint32_t i = 0; i < io->segs; i++) {
		bits |= io->seg[i].length;
		if ((uintptr_t)io->seg[i].va & (f->mem_align - 1))
			return false;
	}
	return !(bits & (f->align - 1));
}

static int file_submit(struct vssd_media *media, struct vssd_io *io)
{
	struct file *f = file_of(media);
	struct uring_worker *w = &f->uring->worker[io->worker];
	struct request *r = w->free;
	int ret = vssd_io_check(media, io);

	if (ret || (io->op != VSSD_IO_FLUSH && !io->length))
		return ret;
	if (r)
		w->free = r->link;
	else
		r = malloc(sizeof(*r));
	if (!r)
		return SNV_SC_INTERNAL;
	*r = (struct request){
		.io = io,
		.file = f,
		.direct = direct_fits(f, io),
		.sync = io->op == VSSD_IO_FLUSH,
	};
	if (!r->sync && !enlist(r))
		return VSSD_PENDING;
	ret = start(r);
	if (ret < 0)
		return VSSD_PENDING;
	retire(r);
	return ret;
}

/* Go on with @r after @ret, which ended() may have returned. Returns how many came to their end. */
static uint32_t go_on(struct request *r, int ret)
{
	struct vssd_io *io;

	if (ret == VSSD_PENDING)
		ret = start(r);
	if (ret < 0)
		return 0;
	io = retire(r);
	io->done(io, ret);
	return 1;
}

static uint32_t start_ready(struct uring_worker *w)
{
	struct request *r, *next, *list = NULL;
	uint32_t n = 0;

	vssd_lock(&w->lock);
	r = w->ready;
	SNV_STORE_RELAXED(&w->ready, NULL);
	vssd_unlock(&w->lock);
	for (; r; r = next) {		/* oldest first */
		next = r->link;
		r->link = list;
		list = r;
	}
	for (r = list; r; r = next) {
		next = r->link;
		n += go_on(r, VSSD_PENDING);
	}
	return n;
}

/* The rings being common to all files, whichever is asked first does it for all. */
static uint32_t file_poll(struct vssd_media *media, uint32_t worker)
{
	struct vssd_uring *u = file_of(media)->uring;
	struct uring_worker *w = &u->worker[worker];
	struct io_uring_cqe *cqe;
	uint32_t n = 0;

	while (!u->in_place && !io_uring_peek_cqe(&w->ring, &cqe)) {
		struct request *r = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&w->ring, cqe);
		n += go_on(r, ended(r, res));
	}
	if (SNV_LOAD_RELAXED(&w->ready))
		n += start_ready(w);
	if (SNV_LOAD_RELAXED(&w->unsent))
		send_pieces(w);
	return n;
}

static void file_close(struct vssd_media *media)
{
	struct file *f = file_of(media);

	if (f->direct_fd >= 0)
		close(f->direct_fd);
	close(f->fd);
	free(f);
}

static const struct vssd_media_ops file_ops = {
	.submit = file_submit,
	.poll = file_poll,
	.close = file_close,
};

/* ---- opening -------------------------------------------------------------------------------- */

/* Does it exist, as what it must be? 0 or an error; *@st: st_mode 0 if it is to be made. */
static int look_at(const struct vssd_file_config *c, struct stat *st, char *why, size_t size)
{
	if (stat(c->path, st)) {
		if (errno != ENOENT)
			return vssd_why(why, size, -errno, "%s: %s", c->path, strerror(errno));
		if (!c->size)
			return vssd_why(why, size, -ENOENT,
					"%s: no such file, and no size= to make it with", c->path);
		if (c->readonly)
			return vssd_why(why, size, -ENOENT,
					"%s: no such file, and it is not to be written", c->path);
		st->st_mode = 0;
		return 0;
	}
	if (!S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode))
		return vssd_why(why, size, -EINVAL,
				"%s: neither a regular file nor a block device", c->path);
	if (S_ISREG(st->st_mode) && !st->st_size && !c->size)
		return vssd_why(why, size, -EINVAL, "%s: empty, and no size= for it", c->path);
	return 0;
}

int vssd_file_check(const struct vssd_file_config *c, char *why, size_t size)
{
	struct stat st;

	return look_at(c, &st, why, size);
}

/*
 * Lock bytes [@first, @first + @count) for as long as @fd is open, or (F_UNLCK) let go of them. The
 * locks of a process that was killed last as long as its transfers, which hold the descriptor open:
 * so a little patience.
 */
static int lock_bytes(int fd, short type, off_t first, off_t count)
{
	struct flock lock = { .l_type = type, .l_start = first, .l_len = count };

	for (int i = 0; fcntl(fd, F_OFD_SETLK, &lock); i++) {
		if (errno != EAGAIN && errno != EACCES)
			return -errno;
		if (i == BUSY_WAITS)
			return -EBUSY;
		usleep(10000);
	}
	return 0;
}

static short lock_type(const struct file *f)
{
	return f->media.readonly ? F_RDLCK : F_WRLCK;
}

/* The name of a new file must survive whatever its data do. 0 or -errno. */
static int sync_name(const char *path)
{
	char *copy = strdup(path);
	int fd, ret;

	if (!copy)
		return -ENOMEM;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ret = fd < 0 || fsync(fd) ? -errno : 0;
	if (fd >= 0)
		close(fd);
	free(copy);
	/* Not every file system has it. */
	return ret == -EINVAL ? 0 : ret;
}

/* Open f->fd and lock it: byte 0, and byte 1 until direct_fd has that. 0 or -errno. */
static int open_locked(struct file *f, const struct vssd_file_config *c, const struct stat *st)
{
	int flags = O_CLOEXEC, ret;

	if (!st->st_mode)
		flags |= O_CREAT;
	/* Of a block device: exclusively, so not while it is mounted. */
	if (S_ISBLK(st->st_mode))
		flags |= O_EXCL;
	f->media.readonly = c->readonly;
	f->fd = -1;
	if (!c->readonly)
		f->fd = open(c->path, O_RDWR | flags, 0666);
	if (f->fd < 0 && !c->readonly && (errno == EACCES || errno == EROFS || errno == EPERM))
		f->media.readonly = true;
	if (f->media.readonly)
		f->fd = open(c->path, O_RDONLY | O_CLOEXEC);
	if (f->fd < 0)
		return -errno;
	ret = st->st_mode ? 0 : sync_name(c->path);
	return ret ? ret : lock_bytes(f->fd, lock_type(f), 0, 2);
}

/* A size for the medium; a new file gets it too. 0 or -errno. */
static int set_size(struct file *f, const struct vssd_file_config *c, const struct stat *st)
{
	uint64_t bytes = st->st_size;
	int ro;

	if (S_ISBLK(st->st_mode)) {
		if (ioctl(f->fd, BLKGETSIZE64, &bytes) || ioctl(f->fd, BLKROGET, &ro))
			return -errno;
		f->media.readonly |= ro;
		bytes -= bytes % c->block;
	} else {
		if (!bytes && !f->media.readonly) {
			bytes = c->size;
			if (ftruncate(f->fd, bytes))
				return -errno;
		}
		bytes += (c->block - bytes % c->block) % c->block;
	}
	f->media.size = bytes;
	return bytes ? 0 : -EINVAL;
}

/* What O_DIRECT wants; false: it does not work here. */
static bool ask_alignment(struct file *f)
{
	f->mem_align = DIRECT_ALIGN;
	f->align = DIRECT_ALIGN;
#ifdef STATX_DIOALIGN
	struct statx stx;

	if (!statx(f->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) &&
	    stx.stx_mask & STATX_DIOALIGN) {
		f->mem_align = stx.stx_dio_mem_align;
		f->align = stx.stx_dio_offset_align;
	}
#endif
	return f->mem_align && f->align;
}

/* The second descriptor; without it, everything goes through the page cache. 0 or -errno. */
static int open_direct(struct file *f, const struct vssd_file_config *c, const struct stat *st)
{
	struct stat now;
	int ret;

	if (!ask_alignment(f) || c->buffered)
		return 0;
	f->direct_fd = open(c->path, (f->media.readonly ? O_RDONLY : O_RDWR) | O_DIRECT |
			    O_CLOEXEC);
	/* Somebody may have put another file in its place. */
	if (f->direct_fd >= 0 && (fstat(f->direct_fd, &now) || now.st_dev != st->st_dev ||
				  now.st_ino != st->st_ino)) {
		close(f->direct_fd);
		f->direct_fd = -1;
	}
	if (f->direct_fd < 0)
		return 0;
	ret = lock_bytes(f->fd, F_UNLCK, 1, 1);
	return ret ? ret : lock_bytes(f->direct_fd, lock_type(f), 1, 1);
}

static int open_file(struct file *f, const struct vssd_file_config *c, struct stat *st)
{
	int ret = open_locked(f, c, st);
	int sector = 1;

	if (ret)
		return ret;
	if (fstat(f->fd, st))
		return -errno;
	if (!S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode))
		return -EINVAL;
	ret = set_size(f, c, st);
	if (ret)
		return ret;
	if (S_ISBLK(st->st_mode) && ioctl(f->fd, BLKSSZGET, &sector))
		return -errno;
	/* No page that nobody asked for: it would outlive a write past the page cache. */
	posix_fadvise(f->fd, 0, 0, POSIX_FADV_RANDOM);
	f->clear_align = sector;
	f->page = sysconf(_SC_PAGESIZE);
	while (f->page < (uint32_t)st->st_blksize)
		f->page *= 2;
	return open_direct(f, c, st);
}

int vssd_file_open(struct vssd_uring *uring, const struct vssd_file_config *c,
		   struct vssd_media **out, char *why, size_t size)
{
	struct file *f;
	struct stat st;
	int ret = look_at(c, &st, why, size);

	if (ret)
		return ret;
	f = calloc(1, sizeof(*f));
	if (!f)
		return vssd_why(why, size, -ENOMEM, "%s: out of memory", c->path);
	f->media.ops = &file_ops;
	f->media.volatile_cache = true;
	f->uring = uring;
	f->direct_fd = -1;
	ret = open_file(f, c, &st);
	if (!ret) {
		*out = &f->media;
		return 0;
	}
	if (ret == -EBUSY)
		vssd_why(why, size, ret, "%s: in use: mounted, or another's medium",
			 c->path);
	else if (ret == -EINVAL)
		vssd_why(why, size, ret, "%s: too small, or not what it was a moment ago", c->path);
	else
		vssd_why(why, size, ret, "%s: %s", c->path, strerror(-ret));
	if (f->direct_fd >= 0)
		close(f->direct_fd);
	if (f->fd >= 0)
		close(f->fd);
	free(f);
	return ret;
}
