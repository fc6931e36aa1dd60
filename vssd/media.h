/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What media of every home share: a check, a copy, and locks of ranges. */
#ifndef VSSD_MEDIA_H
#define VSSD_MEDIA_H

#include <snvme/nvme.h>

#include "lock.h"
#include "vssd.h"

/* What no medium lets pass, whoever asks: 0 or a status. */
static inline int vssd_io_check(const struct vssd_media *media, const struct vssd_io *io)
{
	if (io->op == VSSD_IO_FLUSH)
		return 0;
	if (io->offset > media->size || io->length > media->size - io->offset)
		return SNV_SC_LBA_RANGE;
	if (io->op != VSSD_IO_READ && media->readonly)
		return SNV_SC_NS_WRITE_PROTECTED;
	return 0;
}

/* Between @at, @io->length bytes, and the host's memory. */
static inline void vssd_io_copy(char *at, const struct vssd_io *io)
{
	for (uint32_t i = 0; i < io->segs; i++) {
		const struct vssd_seg *seg = &io->seg[i];

		if (io->op == VSSD_IO_READ)
			memcpy(seg->va, at, seg->length);
		else
			memcpy(at, seg->va, seg->length);
		at += seg->length;
	}
}

#define VSSD_STRIPES	64
#define VSSD_STRIPE	16	/* log2 of the bytes that share a lock: 64 KiB, every VSSD_STRIPES of them */

/**
 * struct vssd_stripes - locks by which transfers of several workers are whole to each other
 * @shared: several workers use the medium; one needs no locks
 *
 * A transfer holds those of all bytes that it meets, taken in ascending order, so that no two wait for
 * each other.
 */
struct vssd_stripes {
	bool shared;
	struct {
		__u32 lock;
	} __attribute__((aligned(64))) stripe[VSSD_STRIPES];
};

/* A bit for each lock of @length bytes, not 0, from @offset on. */
static inline uint64_t vssd_stripes_of(const struct vssd_stripes *s, uint64_t offset, uint64_t length)
{
	uint64_t first = offset >> VSSD_STRIPE, last = (offset + length - 1) >> VSSD_STRIPE, mask = 0;

	if (!s->shared)
		return 0;
	if (last - first >= VSSD_STRIPES)
		return UINT64_MAX;
	for (; first <= last; first++)
		mask |= 1ULL << first % VSSD_STRIPES;
	return mask;
}

static inline void vssd_stripes_lock(struct vssd_stripes *s, uint64_t mask)
{
	for (; mask; mask &= mask - 1)
		vssd_lock(&s->stripe[__builtin_ctzll(mask)].lock);
}

static inline void vssd_stripes_unlock(struct vssd_stripes *s, uint64_t mask)
{
	for (; mask; mask &= mask - 1)
		vssd_unlock(&s->stripe[__builtin_ctzll(mask)].lock);
}

#endif /* VSSD_MEDIA_H */
