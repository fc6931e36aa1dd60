// SPDX-License-Identifier: MIT
/*
 * The memory that a controller which no kernel driver runs reaches: registrations, rings, its own (CMB: NVMe Base 2.0
 * section 8.5), a GPU's. own->map_lock guards the lists of it.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "ctrl.h"

/* A page that several registrations of memory end in. */
struct shared_page {
	struct shared_page *next;
	char *va;
	uint64_t dma;
	uint32_t users;
};

/* A ring's memory, named by its handle. @length: of one in the controller's memory, where it takes room. */
struct ring {
	struct ring *next;
	uint32_t handle;
	uint64_t dma;
	size_t length;
};

/* ---- registered memory ----------------------------------------------------------------------- */

static int share_page(struct own *own, char *va, size_t page, uint64_t *dma)
{
	struct shared_page *s = own->shared;
	int ret;

	while (s && s->va != va)
		s = s->next;
	if (!s) {
		s = calloc(1, sizeof(*s));
		if (!s)
			return -ENOMEM;
		s->va = va;
		ret = own->bus->ops->map(own->bus, va, page, &s->dma);
		if (ret) {
			free(s);
			return ret;
		}
		s->next = own->shared;
		own->shared = s;
	}
	s->users++;
	*dma = s->dma;
	return 0;
}

static void unshare_page(struct own *own, char *va, size_t page)
{
	struct shared_page **at = &own->shared, *s;

	while ((*at)->va != va)
		at = &(*at)->next;
	s = *at;
	if (--s->users)
		return;
	own->bus->ops->unmap(own->bus, va, page);
	*at = s->next;
	free(s);
}

/*
 * A bus takes each page once, but the first and the last of a registration may be the last or the
 * first of another, whose bytes are others. Which are they? Indices of the pages in between.
 */
static void whole_pages(const struct snvme_mem *mem, uint64_t *from, uint64_t *to)
{
	bool starts = (char *)mem->addr == mem->base;
	bool ends = (char *)mem->addr + mem->length == mem->base + mem->span;

	*from = !starts || (mem->map.pages == 1 && !ends);
	*to = mem->map.pages - (!ends && mem->map.pages > 1);
}

static int map_pages(struct own *own, struct snvme_mem *mem, size_t page)
{
	uint64_t last = mem->map.pages - 1, from, to, dma = 0;
	int ret = 0;

	whole_pages(mem, &from, &to);
	if (from)
		ret = share_page(own, mem->base, page, &mem->table[0]);
	if (ret)
		return ret;
	if (to == last)
		ret = share_page(own, mem->base + last * page, page, &mem->table[last]);
	if (ret)
		goto out_first;
	if (from < to)
		ret = own->bus->ops->map(own->bus, mem->base + from * page, (to - from) * page,
					 &dma);
	if (ret)
		goto out_last;
	for (uint64_t i = from; i < to; i++, dma += page)
		mem->table[i] = dma;
	return 0;
out_last:
	if (to == last)
		unshare_page(own, mem->base + last * page, page);
out_first:
	if (from)
		unshare_page(own, mem->base, page);
	return ret;
}

int snvme_own_mem_map(struct snvme_ctrl *ctrl, struct snvme_mem *mem)
{
	struct own *own = ctrl->priv;
	size_t page = mem->span / mem->map.pages;
	int ret;

	if (own->bus->own_memory && !mem->owned)
		return -EOPNOTSUPP;
	mem->map.page_shift = (uint32_t)__builtin_ctzl(page);
	pthread_mutex_lock(&own->map_lock);
	ret = map_pages(own, mem, page);
	pthread_mutex_unlock(&own->map_lock);
	return ret;
}

int snvme_own_mem_unmap(struct snvme_ctrl *ctrl, struct snvme_mem *mem)
{
	struct own *own = ctrl->priv;
	size_t page = mem->span / mem->map.pages;
	uint64_t last = mem->map.pages - 1, from, to;

	whole_pages(mem, &from, &to);
	pthread_mutex_lock(&own->map_lock);
	if (from < to)
		own->bus->ops->unmap(own->bus, mem->base + from * page, (to - from) * page);
	if (to == last)
		unshare_page(own, mem->base + last * page, page);
	if (from)
		unshare_page(own, mem->base, page);
	pthread_mutex_unlock(&own->map_lock);
	return 0;
}

/* ---- rings ----------------------------------------------------------------------------------- */

/* own->map_lock is held. */
static void ring_add(struct own *own, struct ring *ring)
{
	ring->handle = ++own->last_ring;
	ring->next = own->rings;
	own->rings = ring;
}

/* Its handle. */
static uint32_t ring_name(struct own *own, struct ring *ring)
{
	uint32_t handle;

	pthread_mutex_lock(&own->map_lock);
	ring_add(own, ring);
	handle = ring->handle;
	pthread_mutex_unlock(&own->map_lock);
	return handle;
}

static void ring_remove(struct own *own, uint32_t handle)
{
	struct ring **at, *ring;

	pthread_mutex_lock(&own->map_lock);
	for (at = &own->rings; (*at)->handle != handle; at = &(*at)->next)
		;
	ring = *at;
	*at = ring->next;
	pthread_mutex_unlock(&own->map_lock);
	free(ring);
}

int snvme_own_ring_alloc(struct snvme_ctrl *ctrl, size_t length, void **va, uint32_t *handle)
{
	struct own *own = ctrl->priv;
	struct ring *ring = calloc(1, sizeof(*ring));
	int ret = -ENOMEM;

	if (!ring)
		return -ENOMEM;
	*va = snvme_pages_alloc(length, ctrl->fixed.page_size);
	if (!*va)
		goto out_free;
	ret = own->bus->ops->map(own->bus, *va, length, &ring->dma);
	if (ret)
		goto out_pages;
	*handle = ring_name(own, ring);
	return 0;
out_pages:
	munmap(*va, length);
out_free:
	free(ring);
	return ret;
}

void snvme_own_ring_free(struct snvme_ctrl *ctrl, size_t length, void *va, uint32_t handle)
{
	struct own *own = ctrl->priv;

	if ((uintptr_t)va - (uintptr_t)own->cmb >= own->cmb_bytes) {
		own->bus->ops->unmap(own->bus, va, length);
		munmap(va, length);
	}
	ring_remove(own, handle);
}

uint64_t snvme_own_ring_dma(struct own *own, uint32_t handle)
{
	struct ring *ring;
	uint64_t dma;

	pthread_mutex_lock(&own->map_lock);
	for (ring = own->rings; ring->handle != handle; ring = ring->next)
		;
	dma = ring->dma;
	pthread_mutex_unlock(&own->map_lock);
	return dma;
}

/* ---- the controller's own memory ------------------------------------------------------------- */

/* The first room in the controller's memory, from where a page of its begins on. */
int snvme_own_cmb_alloc(struct snvme_ctrl *ctrl, size_t length, void **va, uint32_t *handle)
{
	struct own *own = ctrl->priv;
	struct ring *ring, *other;
	size_t at = -own->cmb_dma & (ctrl->fixed.page_size - 1);

	if (!SNV_LOAD_RELAXED(&own->cmb_works))
		return -EOPNOTSUPP;
	if (at > own->cmb_bytes || length > own->cmb_bytes - at)
		return -ENOSPC;
	ring = calloc(1, sizeof(*ring));
	if (!ring)
		return -ENOMEM;
	pthread_mutex_lock(&own->map_lock);
	do {
		for (other = own->rings; other; other = other->next)
			if (other->length && other->dma - own->cmb_dma < at + length &&
			    at < other->dma - own->cmb_dma + other->length)
				break;
		if (other)
			at = other->dma - own->cmb_dma + other->length;
	} while (other && at <= own->cmb_bytes - length);
	if (!other) {
		ring->dma = own->cmb_dma + at;
		ring->length = length;
		ring_add(own, ring);
	}
	pthread_mutex_unlock(&own->map_lock);
	if (other) {
		free(ring);
		return -ENOSPC;
	}
	*va = own->cmb + at;
	*handle = ring->handle;
	return 0;
}

/* ---- memory of a GPU -------------------------------------------------------------------------- */

#define LINEAR_SHIFT	62

int snvme_own_far_map(struct snvme_ctrl *ctrl, uint64_t va, int fd, size_t length, uint64_t *table,
		      struct snv_dma_map *map, uint32_t *handle)
{
	struct own *own = ctrl->priv;
	struct ring *ring;
	int ret;

	(void)fd;
	if (!own->bus->ops->map_far)
		return -EOPNOTSUPP;
	ring = calloc(1, sizeof(*ring));
	if (!ring)
		return -ENOMEM;
	ret = own->bus->ops->map_far(own->bus, (void *)(uintptr_t)va, length, &ring->dma);
	if (ret) {
		free(ring);
		return ret;
	}
	/* In one piece: one page holds all of it. */
	*table = ring->dma;
	map->page_shift = LINEAR_SHIFT;
	map->pages = 1;
	*handle = ring_name(own, ring);
	return 0;
}

void snvme_own_far_unmap(struct snvme_ctrl *ctrl, uint64_t va, size_t length, uint32_t handle)
{
	struct own *own = ctrl->priv;

	own->bus->ops->unmap_far(own->bus, (void *)(uintptr_t)va, length);
	ring_remove(own, handle);
}

uint64_t snvme_own_far_doorbell(struct snvme_ctrl *ctrl, const uint32_t *mmio)
{
	const struct snvme_bus *bus = ((struct own *)ctrl->priv)->bus;

	return bus->far_doorbells ?
	       bus->far_doorbells + (uintptr_t)mmio - (uintptr_t)bus->doorbells : 0;
}

void snvme_own_mem_close(struct own *own)
{
	struct shared_page *s, *next;

	for (s = own->shared; s; s = next) {
		next = s->next;
		free(s);
	}
}
