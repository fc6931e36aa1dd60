// SPDX-License-Identifier: GPL-2.0-only
/* A medium in the kernel's memory: pages that come when they are written, and go when they are discarded. */
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "vssd_kernel.h"

/**
 * struct memory - a medium
 * @page: by number; what is not there is zeros
 * @stripes: guard the pages of their bytes, and that they stay
 */
struct memory {
	struct vssd_media media;
	struct xarray page;
	struct vssd_stripes stripes;
};

static struct memory *memory_of(struct vssd_media *media)
{
	return container_of(media, struct memory, media);
}

/* Page @index, to be written. NULL: there is no memory. Not for what would write to us to get some. */
static struct page *make_page(struct memory *m, unsigned long index)
{
	/* An error for the host rather than waiting for ever. */
	const gfp_t gfp = GFP_NOIO | __GFP_RETRY_MAYFAIL | __GFP_NOWARN;
	struct page *page = xa_load(&m->page, index);

	if (page)
		return page;
	page = alloc_page(gfp | __GFP_ZERO);
	if (page && xa_is_err(xa_store(&m->page, index, page, gfp))) {
		__free_page(page);
		page = NULL;
	}
	return page;
}

static int copy(struct memory *m, const struct vssd_io *io)
{
	u64 at = io->offset;

	for (u32 i = 0; i < io->segs; i++) {
		char *va = io->seg[i].va;
		size_t left = io->seg[i].length;

		while (left) {
			size_t offset = offset_in_page(at), n = min_t(size_t, left, PAGE_SIZE - offset);
			struct page *page = io->op == VSSD_IO_WRITE ? make_page(m, at >> PAGE_SHIFT) :
								      xa_load(&m->page, at >> PAGE_SHIFT);

			if (io->op == VSSD_IO_WRITE) {
				if (!page)
					return SNV_SC_INTERNAL;
				memcpy((char *)page_address(page) + offset, va, n);
			} else if (page) {
				memcpy(va, (char *)page_address(page) + offset, n);
			} else {
				memset(va, 0, n);
			}
			va += n;
			at += n;
			left -= n;
		}
	}
	return 0;
}

/* The bytes from @at up to @end, of one page. */
static void clear_part(struct memory *m, u64 at, u64 end)
{
	struct page *page = at < end ? xa_load(&m->page, at >> PAGE_SHIFT) : NULL;

	if (page)
		memset((char *)page_address(page) + offset_in_page(at), 0, end - at);
}

static void discard(struct memory *m, u64 at, u64 end)
{
	u64 first = PAGE_ALIGN(at), last = end & PAGE_MASK;
	unsigned long index;
	struct page *page;

	clear_part(m, at, min(first, end));
	if (first < last) {
		xa_for_each_range(&m->page, index, page, first >> PAGE_SHIFT, (last >> PAGE_SHIFT) - 1) {
			xa_erase(&m->page, index);
			__free_page(page);
			cond_resched();
		}
	}
	if (last >= first)
		clear_part(m, last, end);
}

static int memory_submit(struct vssd_media *media, struct vssd_io *io)
{
	struct memory *m = memory_of(media);
	int ret = vssd_io_check(media, io);
	u64 mask;

	if (ret || io->op == VSSD_IO_FLUSH || !io->length)
		return ret;
	mask = vssd_stripes_of(&m->stripes, io->offset, io->length);
	vssd_stripes_lock(&m->stripes, mask);
	if (io->op == VSSD_IO_DISCARD)
		discard(m, io->offset, io->offset + io->length);
	else
		ret = copy(m, io);
	vssd_stripes_unlock(&m->stripes, mask);
	return ret;
}

static void memory_close(struct vssd_media *media)
{
	struct memory *m = memory_of(media);

	discard(m, 0, ULONG_MAX & PAGE_MASK);
	xa_destroy(&m->page);
	kfree(m);
}

static const struct vssd_media_ops memory_ops = { .submit = memory_submit, .close = memory_close };

struct vssd_media *vssd_memory_create(u64 size, bool shared)
{
	struct memory *m = kzalloc(sizeof(*m), GFP_KERNEL);

	if (!m)
		return NULL;
	xa_init(&m->page);
	m->stripes.shared = shared;
	m->media.ops = &memory_ops;
	m->media.size = size;
	return &m->media;
}
