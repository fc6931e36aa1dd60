// SPDX-License-Identifier: GPL-2.0-only
/*
 * A regular file or a block device as a medium, through the page cache. Reads and writes wait for storage, and nobody
 * who plays an SSD can: a work queue carries them out, and the worker that began a transfer ends it.
 */
#include <linux/fs.h>
#include <linux/falloc.h>	/* after fs.h: needs its types */
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "vssd_kernel.h"

/**
 * struct file_media - a medium
 * @lock: held shared by reads, alone by what writes: a transfer is whole to every other
 * @lost: a flush failed, and what it did not write may be gone: so does each from now on
 * @ended: [worker] transfers that are over
 * @link: in the list of all
 */
struct file_media {
	struct vssd_media media;
	struct file *file;
	struct workqueue_struct *wq;
	struct rw_semaphore lock;
	bool lost;
	struct list_head link;
	struct llist_head ended[VSSD_MAX_WORKERS];
};

/**
 * struct transfer - a transfer under way: its worker's, then the work queue's, then, from @ended, its worker's again
 * @buffer: what is read or written. Only the worker touches the host's memory, and only while somebody waits for the
 *	command: storage may take longer than the host's driver has patience
 */
struct transfer {
	struct work_struct work;
	struct llist_node node;
	struct file_media *f;
	struct vssd_io *io;
	void *buffer;
	int status;
};

/* All there are, so that no two SSDs have the same file. */
static LIST_HEAD(all);
static DEFINE_MUTEX(all_lock);

static struct file_media *file_of(struct vssd_media *media)
{
	return container_of(media, struct file_media, media);
}

/* ---- transfers, in the work queue ---------------------------------------------------------------- */

static int sync_all(struct file_media *f)
{
	if (READ_ONCE(f->lost))
		return SNV_SC_WRITE_FAULT;
	if (!vfs_fsync(f->file, 1))
		return 0;
	WRITE_ONCE(f->lost, true);
	return SNV_SC_WRITE_FAULT;
}

/* What is behind the end of a file that has become shorter is zeros. */
static int read_all(struct file_media *f, void *to, size_t left, loff_t at)
{
	while (left) {
		ssize_t n = kernel_read(f->file, to, left, &at);

		if (n < 0)
			return SNV_SC_READ_ERROR;
		if (!n) {
			memset(to, 0, left);
			return 0;
		}
		to += n;
		left -= n;
	}
	return 0;
}

static int write_all(struct file_media *f, const void *from, size_t left, loff_t at)
{
	while (left) {
		ssize_t n = kernel_write(f->file, from, left, &at);

		if (n <= 0)
			return n == -ENOSPC || n == -EDQUOT ? SNV_SC_CAP_EXCEEDED : SNV_SC_WRITE_FAULT;
		from += n;
		left -= n;
	}
	return 0;
}

static int discard(struct file_media *f, const struct vssd_io *io)
{
	loff_t at = io->offset, end = at + io->length;
	int ret = 0;

	if (!vfs_fallocate(f->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, io->length))
		return 0;
	/* Not there, or not at such a place. */
	for (; !ret && at < end; at += PAGE_SIZE)
		ret = write_all(f, page_address(ZERO_PAGE(0)), min_t(u64, end - at, PAGE_SIZE), at);
	return ret;
}

static int carry_out(const struct transfer *t)
{
	const struct vssd_io *io = t->io;
	struct file_media *f = t->f;
	int ret;

	if (io->op == VSSD_IO_FLUSH)
		return sync_all(f);
	if (io->op == VSSD_IO_READ) {
		down_read(&f->lock);
		ret = read_all(f, t->buffer, io->length, io->offset);
		up_read(&f->lock);
		return ret;
	}
	down_write(&f->lock);
	ret = io->op == VSSD_IO_WRITE ? write_all(f, t->buffer, io->length, io->offset) : discard(f, io);
	up_write(&f->lock);
	return !ret && io->fua ? sync_all(f) : ret;
}

/*
 * What writes to the SSD may be what frees memory: no memory is waited for that it would have to free, nor is this
 * thread held back for pages that others have made dirty.
 */
static void work(struct work_struct *work)
{
	struct transfer *t = container_of(work, struct transfer, work);
	unsigned int noio = memalloc_noio_save(), throttle = current->flags & PF_LOCAL_THROTTLE;

	current->flags |= PF_LOCAL_THROTTLE;
	/* Whose controller was reset meanwhile waits for nothing but this, and has no use for it. */
	t->status = READ_ONCE(t->io->dead) ? SNV_SC_ABORT_REQ : carry_out(t);
	current_restore_flags(throttle, PF_LOCAL_THROTTLE);
	memalloc_noio_restore(noio);
	/* Partner: llist_del_all() in file_poll(). */
	llist_add(&t->node, &t->f->ended[t->io->worker]);
}

/* ---- the medium ---------------------------------------------------------------------------------- */

static void transfer_free(struct transfer *t)
{
	kvfree(t->buffer);
	kfree(t);
}

/* NULL: there is no memory. By a worker, which is not to wait for what waits for it: memalloc_noio_save(). */
static struct transfer *transfer_alloc(struct file_media *f, struct vssd_io *io)
{
	struct transfer *t = kzalloc(sizeof(*t), GFP_KERNEL);

	if (!t)
		return NULL;
	t->f = f;
	t->io = io;
	INIT_WORK(&t->work, work);
	if (io->op != VSSD_IO_READ && io->op != VSSD_IO_WRITE)
		return t;
	t->buffer = kvmalloc(io->length, GFP_KERNEL);
	if (t->buffer)
		return t;
	transfer_free(t);
	return NULL;
}

static int file_submit(struct vssd_media *media, struct vssd_io *io)
{
	struct transfer *t;
	int ret = vssd_io_check(media, io);

	if (ret || (io->op != VSSD_IO_FLUSH && !io->length))
		return ret;
	t = transfer_alloc(file_of(media), io);
	if (!t)
		return SNV_SC_INTERNAL;
	if (io->op == VSSD_IO_WRITE)
		vssd_io_copy(t->buffer, io);
	queue_work(t->f->wq, &t->work);
	return VSSD_PENDING;
}

static u32 file_poll(struct vssd_media *media, u32 worker)
{
	struct llist_node *first = llist_del_all(&file_of(media)->ended[worker]);
	struct transfer *t, *next;
	u32 n = 0;

	llist_for_each_entry_safe(t, next, llist_reverse_order(first), node) {
		struct vssd_io *io = t->io;
		int status = t->status;

		if (io->op == VSSD_IO_READ && !status && !io->dead)
			vssd_io_copy(t->buffer, io);
		transfer_free(t);
		io->done(io, status);
		n++;
	}
	return n;
}

static void file_close(struct vssd_media *media)
{
	struct file_media *f = file_of(media);

	mutex_lock(&all_lock);
	list_del(&f->link);
	mutex_unlock(&all_lock);
	destroy_workqueue(f->wq);
	filp_close(f->file, NULL);
	kfree(f);
}

static const struct vssd_media_ops file_ops = { .submit = file_submit, .poll = file_poll, .close = file_close };

/* Into the list of all, unless the same file is there. */
static int enlist(struct file_media *f)
{
	struct file_media *other;
	int ret = 0;

	mutex_lock(&all_lock);
	list_for_each_entry(other, &all, link)
		if (other->file->f_mapping == f->file->f_mapping)
			ret = -EBUSY;
	if (!ret)
		list_add(&f->link, &all);
	mutex_unlock(&all_lock);
	return ret;
}

static int file_open(struct file_media *f, const char *path)
{
	umode_t mode;
	int ret = 0;

	/* A block device that is mounted, or that somebody else holds exclusively, is refused. */
	f->file = filp_open(path, O_RDWR | O_LARGEFILE | O_EXCL, 0);
	if (IS_ERR(f->file))
		return PTR_ERR(f->file);
	mode = file_inode(f->file)->i_mode;
	f->media.size = i_size_read(f->file->f_mapping->host) & PAGE_MASK;
	if (!S_ISREG(mode) && !S_ISBLK(mode))
		ret = -EINVAL;
	else if (!f->media.size)
		ret = -ENOSPC;
	else
		ret = enlist(f);
	if (ret)
		filp_close(f->file, NULL);
	return ret;
}

struct vssd_media *vssd_file_create(const char *path)
{
	struct file_media *f = kzalloc(sizeof(*f), GFP_KERNEL);
	int ret = -ENOMEM;

	if (!f)
		return ERR_PTR(ret);
	init_rwsem(&f->lock);
	f->media.ops = &file_ops;
	f->media.volatile_cache = true;
	f->wq = alloc_workqueue("vssd-file", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (f->wq)
		ret = file_open(f, path);
	if (!ret)
		return &f->media;
	if (f->wq)
		destroy_workqueue(f->wq);
	kfree(f);
	return ERR_PTR(ret);
}
