// SPDX-License-Identifier: GPL-2.0-only
/* A medium in the kernel's memory: pages that come when they are written, and go when they are discarded. */
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include <snvme/nvme.h>

#include "vssd_kernel.h"

/**
 * struct memory - a medium. One worker has it, so that every transfer is whole
 * @page: by number; what is not there is zeros
 */
struct memory {
	struct vssd_media media;
	struct xarray page;
};

static struct memory *memory_of(struct vssd_media *media)
{
	return container_of(media, struct memory, media);
}

/* Page @index, to be written. NULL: there is no memory. Not for what would write to us to get some. */
static struct page *make_page(struct memory *m, unsigned long index)
{
	struct page *page = xa_load(&m->page, index);

	if (page)
		return page;
	page = alloc_page(GFP_NOIO | __GFP_ZERO);
	if (page && xa_is_err(xa_store(&m->page, index, page, GFP_NOIO))) {
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

static void discard(struct memory *m, u64 at, u64 length)
{
	u64 end = at + length;

	while (at < end) {
		size_t offset = offset_in_page(at), n = min_t(u64, end - at, PAGE_SIZE - offset);
		struct page *page = xa_load(&m->page, at >> PAGE_SHIFT);

		if (page && n == PAGE_SIZE) {
			xa_erase(&m->page, at >> PAGE_SHIFT);
			__free_page(page);
		} else if (page) {
			memset((char *)page_address(page) + offset, 0, n);
		}
		at += n;
	}
}

static int memory_submit(struct vssd_media *media, struct vssd_io *io)
{
	if (io->op == VSSD_IO_FLUSH)
		return 0;
	if (io->offset > media->size || io->length > media->size - io->offset)
		return SNV_SC_LBA_RANGE;
	if (io->op == VSSD_IO_DISCARD) {
		discard(memory_of(media), io->offset, io->length);
		return 0;
	}
	return copy(memory_of(media), io);
}

static void memory_close(struct vssd_media *media)
{
	struct memory *m = memory_of(media);
	unsigned long index;
	struct page *page;

	xa_for_each(&m->page, index, page) {
		__free_page(page);
		cond_resched();
	}
	xa_destroy(&m->page);
	kfree(m);
}

static const struct vssd_media_ops memory_ops = { .submit = memory_submit, .close = memory_close };

struct vssd_media *vssd_memory_create(u64 size)
{
	struct memory *m = kzalloc(sizeof(*m), GFP_KERNEL);

	if (!m)
		return NULL;
	xa_init(&m->page);
	m->media.ops = &memory_ops;
	m->media.size = size;
	return &m->media;
}
