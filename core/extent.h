/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Where the bytes of a file lie on a namespace. Made by the CPU, checked once, then searched by any
 * number of threads, GPU threads too.
 *
 * What has no place on the disk never yields one: every failure leaves SNV_NO_LBA in the answer,
 * which lies outside all namespaces, so that even a caller who forgets to look reads no wrong block
 * and overwrites none.
 */
#ifndef SNV_EXTENT_H
#define SNV_EXTENT_H

#include "hal.h"

#define SNV_NO_LBA		(~0ULL)
#define SNV_MAX_NLB		0x10000U	/* NLB is 16 bits wide, zero-based */

/* struct snv_extent.flags */
#define SNV_EXTENT_UNWRITTEN	(1U << 0)	/* allocated, reads as zeros, is not zeros */
#define SNV_EXTENT_UNMAPPED	(1U << 1)	/* no fixed place: delayed, inline, encoded */
#define SNV_EXTENT_SHARED	(1U << 2)	/* with another file: read only */
#define SNV_EXTENT_FLAGS	(SNV_EXTENT_UNWRITTEN | SNV_EXTENT_UNMAPPED | SNV_EXTENT_SHARED)

/**
 * struct snv_extent - a run of a file; what no extent covers is a hole
 * @logical: byte offset in the file
 * @physical: byte offset in the namespace, partition start included; undefined with _UNMAPPED
 * @length: bytes
 * @flags: SNV_EXTENT_*
 * @pad: zero
 */
struct snv_extent {
	__u64 logical;
	__u64 physical;
	__u64 length;
	__u32 flags;
	__u32 pad;
};

/**
 * struct snv_extent_map - a file on a namespace
 * @extent: by ascending @logical
 * @size: of the file in bytes; the rest of the block that it ends in may be asked for
 * @count: of @extent
 * @lba_shift: log2 of the logical block size (LBADS)
 */
struct snv_extent_map {
	const struct snv_extent *extent;
	__u64 size;
	__u32 count;
	__u32 lba_shift;
};

/**
 * struct snv_piece - part of a file that one command can transfer
 * @slba: first logical block, or SNV_NO_LBA
 * @nlb: logical blocks, 1-based; also counts what reads as zeros
 */
struct snv_piece {
	__u64 slba;
	__u32 nlb;
	__u32 pad;
};

/**
 * snv_extent_check() - is it a map that snv_extent_map() may use?
 * @map: the map
 * @nsze: size of the namespace in logical blocks
 * Return: 0; -EINVAL not sorted, overlapping, empty or unaligned extents, unknown flags, or an
 * impossible block size; -ERANGE an extent wraps around, or lies outside the namespace
 */
SNV_FN int snv_extent_check(const struct snv_extent_map *map, __u64 nsze)
{
	__u64 mask, end = 0;
	__u32 i;

	if (map->lba_shift < 9 || map->lba_shift > 31)
		return -EINVAL;
	mask = (1ULL << map->lba_shift) - 1;
	for (i = 0; i < map->count; i++) {
		const struct snv_extent *e = &map->extent[i];

		if (!e->length || (e->logical | e->length) & mask || e->flags & ~SNV_EXTENT_FLAGS)
			return -EINVAL;
		if (e->logical < end)
			return -EINVAL;
		end = e->logical + e->length;
		if (end < e->logical)
			return -ERANGE;
		if (e->flags & SNV_EXTENT_UNMAPPED)
			continue;
		if (e->physical & mask)
			return -EINVAL;
		/* Blocks, not bytes: their sum cannot wrap. */
		if ((e->physical >> map->lba_shift) + (e->length >> map->lba_shift) > nsze)
			return -ERANGE;
	}
	return 0;
}

/**
 * snv_extent_find() - where @offset is, or would be
 * @map: a checked map
 * @offset: bytes
 * Return: index of the first extent that ends after @offset; @count when there is none
 */
SNV_FN __u32 snv_extent_find(const struct snv_extent_map *map, __u64 offset)
{
	__u32 lo = 0, hi = map->count;

	while (lo < hi) {
		__u32 mid = lo + (hi - lo) / 2;

		if (map->extent[mid].logical + map->extent[mid].length <= offset)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/**
 * snv_extent_map() - the first piece of a range of the file
 * @map: a checked map
 * @offset: first byte, a multiple of the block size
 * @length: bytes, a multiple of the block size
 * @max_nlb: blocks in a command at most: MDTS
 * @write: the piece is to be written
 * @piece: out; the next one starts @nlb blocks on
 *
 * Return: 0 @piece lies at @slba; -ENODATA it lies nowhere, or in unwritten space: its @nlb blocks
 * read as zeros, and only the file system can make them writable; -ENXIO only the file system can
 * read or write these @nlb blocks; -EROFS @write, and they belong to another file too; -ERANGE the
 * range leaves the file; -EINVAL it is empty or unaligned, or @max_nlb is zero. But for 0, @slba is
 * SNV_NO_LBA; with the last two @nlb is zero.
 */
SNV_FN int snv_extent_map(const struct snv_extent_map *map, __u64 offset, __u64 length,
			  __u32 max_nlb, bool write, struct snv_piece *piece)
{
	__u64 mask = (1ULL << map->lba_shift) - 1;
	__u64 last = offset + length - 1;
	const struct snv_extent *e = NULL;
	__u64 run = length;
	__u32 i;

	piece->slba = SNV_NO_LBA;
	piece->nlb = 0;
	piece->pad = 0;
	if (!length || (offset | length) & mask || !max_nlb)
		return -EINVAL;
	if (last < offset || !map->size || last > ((map->size - 1) | mask))
		return -ERANGE;

	i = snv_extent_find(map, offset);
	if (i < map->count && map->extent[i].logical <= offset) {
		e = &map->extent[i];
		run = e->logical + e->length - offset;
	} else if (i < map->count) {
		run = map->extent[i].logical - offset;
	}
	if (run > length)
		run = length;
	run >>= map->lba_shift;
	if (max_nlb > SNV_MAX_NLB)
		max_nlb = SNV_MAX_NLB;
	piece->nlb = run < max_nlb ? (__u32)run : max_nlb;

	if (e && e->flags & SNV_EXTENT_UNMAPPED)
		return -ENXIO;
	if (!e || e->flags & SNV_EXTENT_UNWRITTEN)
		return -ENODATA;
	if (write && e->flags & SNV_EXTENT_SHARED)
		return -EROFS;
	piece->slba = (e->physical + (offset - e->logical)) >> map->lba_shift;
	return 0;
}

#endif /* SNV_EXTENT_H */
