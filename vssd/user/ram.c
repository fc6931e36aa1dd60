// SPDX-License-Identifier: MIT
/* Storage in anonymous memory: pages come with the first write, and go when discarded. */
#include <sys/mman.h>
#include <unistd.h>

#include "user.h"

struct ram {
	struct vssd_media media;
	char *mem;
	size_t page;
	struct vssd_stripes stripes;
};

static struct ram *ram_of(struct vssd_media *media)
{
	return (struct ram *)((char *)media - offsetof(struct ram, media));
}

static const struct vssd_media_ops ram_ops;

/* Give back whole pages, and clear what shares its page with others. */
static void discard(struct ram *ram, char *from, char *end)
{
	char *whole = (char *)(((uintptr_t)from + ram->page - 1) & ~(ram->page - 1));
	char *rest = (char *)((uintptr_t)end & ~(ram->page - 1));

	if (whole >= rest || madvise(whole, rest - whole, MADV_DONTNEED)) {
		memset(from, 0, end - from);
		return;
	}
	memset(from, 0, whole - from);
	memset(rest, 0, end - rest);
}

static void transfer(struct ram *ram, const struct vssd_io *io)
{
	char *at = ram->mem + io->offset;

	if (io->op == VSSD_IO_DISCARD) {
		discard(ram, at, at + io->length);
		return;
	}
	vssd_io_copy(at, io);
}

static int ram_submit(struct vssd_media *media, struct vssd_io *io)
{
	struct ram *ram = ram_of(media);
	int ret = vssd_io_check(media, io);
	uint64_t mask;

	if (ret || io->op == VSSD_IO_FLUSH || !io->length)
		return ret;
	mask = vssd_stripes_of(&ram->stripes, io->offset, io->length);
	vssd_stripes_lock(&ram->stripes, mask);
	transfer(ram, io);
	vssd_stripes_unlock(&ram->stripes, mask);
	return 0;
}

void *vssd_ram_memory(struct vssd_media *media)
{
	return media->ops == &ram_ops ? ram_of(media)->mem : NULL;
}

static void ram_close(struct vssd_media *media)
{
	struct ram *ram = ram_of(media);

	munmap(ram->mem, media->size);
	free(ram);
}

static const struct vssd_media_ops ram_ops = {
	.submit = ram_submit,
	.close = ram_close,
};

struct vssd_media *vssd_ram_create(uint64_t size, bool shared, bool volatile_cache)
{
	struct ram *ram = aligned_alloc(64, sizeof(*ram));

	if (!ram)
		return NULL;
	memset(ram, 0, sizeof(*ram));
	ram->media = (struct vssd_media){
		.ops = &ram_ops,
		.size = size,
		.volatile_cache = volatile_cache,
	};
	ram->page = sysconf(_SC_PAGESIZE);
	ram->stripes.shared = shared;
	ram->mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ram->mem == MAP_FAILED) {
		free(ram);
		return NULL;
	}
	/* What will not fit is meant to be sparse: a block written must not cost a huge page. */
	if (size / ram->page > (uint64_t)sysconf(_SC_PHYS_PAGES) / 4)
		madvise(ram->mem, size, MADV_NOHUGEPAGE);
	return &ram->media;
}
