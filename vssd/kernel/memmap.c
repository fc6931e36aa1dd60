// SPDX-License-Identifier: GPL-2.0-only
/*
 * A medium in physical memory that Linux was told at boot to leave alone (memmap=SIZE$START): for an SSD larger than
 * what one wants to take from Linux in pages, and whose content outlives the module.
 */
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "vssd_kernel.h"

struct memmap {
	struct vssd_media media;
	u64 start;
	u64 bytes;		/* what was asked for; the medium may be made smaller */
	char *va;
	struct vssd_stripes stripes;
};

static struct memmap *memmap_of(struct vssd_media *media)
{
	return container_of(media, struct memmap, media);
}

static void clear(char *at, u64 length)
{
	while (length) {
		size_t n = min_t(u64, length, SZ_1M);

		memset(at, 0, n);
		at += n;
		length -= n;
		cond_resched();
	}
}

static int memmap_submit(struct vssd_media *media, struct vssd_io *io)
{
	struct memmap *m = memmap_of(media);
	int ret = vssd_io_check(media, io);
	u64 mask;

	if (ret || io->op == VSSD_IO_FLUSH || !io->length)
		return ret;
	mask = vssd_stripes_of(&m->stripes, io->offset, io->length);
	vssd_stripes_lock(&m->stripes, mask);
	if (io->op == VSSD_IO_DISCARD)
		clear(m->va + io->offset, io->length);
	else
		vssd_io_copy(m->va + io->offset, io);
	vssd_stripes_unlock(&m->stripes, mask);
	return 0;
}

static void memmap_close(struct vssd_media *media)
{
	struct memmap *m = memmap_of(media);

	memunmap(m->va);
	release_mem_region(m->start, m->bytes);
	kfree(m);
}

static const struct vssd_media_ops memmap_ops = { .submit = memmap_submit, .close = memmap_close };

struct vssd_media *vssd_memmap_create(u64 start, u64 size, bool shared)
{
	struct memmap *m;

	/*
	 * Reserved, as memmap=SIZE$START makes it; not Linux's own, nor a device's, nor nothing. Firmware's reserved
	 * memory looks the same: START is the administrator's word.
	 */
	if (region_intersects(start, size, IORESOURCE_MEM, IORES_DESC_RESERVED) != REGION_INTERSECTS)
		return ERR_PTR(-EINVAL);
	m = kzalloc(sizeof(*m), GFP_KERNEL);
	if (!m)
		return ERR_PTR(-ENOMEM);
	/* Another SSD's, or a device's; or some of it is nothing. */
	if (!request_mem_region(start, size, "vssd")) {
		kfree(m);
		return ERR_PTR(-EBUSY);
	}
	m->va = memremap(start, size, MEMREMAP_WB);
	if (!m->va) {
		release_mem_region(start, size);
		kfree(m);
		return ERR_PTR(-ENOMEM);
	}
	m->start = start;
	m->bytes = size;
	m->stripes.shared = shared;
	m->media.ops = &memmap_ops;
	m->media.size = size;
	return &m->media;
}
