/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Physical Region Pages: NVMe Base 2.0 section 4.1.1.
 *
 * All that counts is each byte's DMA address: a transfer is cut where the controller's pages end,
 * whatever the size of the pages it was mapped in, and is refused when its bytes do not lie as PRPs
 * can say.
 */
#ifndef SNV_PRP_H
#define SNV_PRP_H

#include "hal.h"

/**
 * struct snv_dma_map - memory as the controller sees it
 * @addr: DMA address of each page; nothing is assumed of neighbours
 * @page_shift: log2 of the size of these pages, below 64; need not be the controller's
 * @pad: zero
 * @pages: how many
 */
struct snv_dma_map {
	const __u64 *addr;
	__u32 page_shift;
	__u32 pad;
	__u64 pages;
};

/**
 * struct snv_prp_list - memory for one PRP list page
 * @va: where we write it
 * @dma: where the controller reads it: one controller page, aligned to its size
 */
struct snv_prp_list {
	__le64 *va;
	__u64 dma;
};

/* List pages that hold @entries PRPs, 2 or more: all but the last give an entry to the chain. */
SNV_FN __u64 snv_prp_list_pages(__u64 entries, __u32 mps_shift)
{
	__u64 per = 1ULL << (mps_shift - 3);

	return entries <= per ? 1 : (entries + per - 3) / (per - 1);
}

/**
 * snv_prp_list_max() - list pages for a transfer, wherever it starts
 * @length: bytes
 * @mps_shift: log2 of the controller's page size, 12 .. 27
 * Return: list pages that snv_prp_build() takes at worst
 */
SNV_FN __u64 snv_prp_list_max(__u64 length, __u32 mps_shift)
{
	__u64 page = 1ULL << mps_shift;

	/* Worst is a start in the last dword of a page. */
	if (length <= page + sizeof(__le32))
		return 0;
	return snv_prp_list_pages(((length - sizeof(__le32) - 1) >> mps_shift) + 1, mps_shift);
}

SNV_FN __u64 snv_dma_addr(const struct snv_dma_map *map, __u64 offset)
{
	__u64 page = offset >> map->page_shift;

	return map->addr[page] + (offset - (page << map->page_shift));
}

/* Do @length bytes from @offset on lie in one piece? */
SNV_FN bool snv_dma_contiguous(const struct snv_dma_map *map, __u64 offset, __u64 length)
{
	__u64 i = offset >> map->page_shift;
	__u64 last = (offset + length - 1) >> map->page_shift;

	for (; i < last; i++)
		if (map->addr[i + 1] != map->addr[i] + (1ULL << map->page_shift))
			return false;
	return true;
}

/**
 * snv_prp_build() - describe a transfer to the controller
 * @map: the memory
 * @offset: of the transfer's first byte in it, a multiple of 4
 * @length: bytes
 * @mps_shift: log2 of the controller's page size (CC.MPS + 12), 12 .. 27
 * @lists: list pages for this command alone, until it completes
 * @n_lists: how many; snv_prp_list_max() are enough
 * @prp1: out: the command's PRP Entry 1
 * @prp2: out: PRP Entry 2; zero where it is reserved
 *
 * After an error the command must not be submitted; the list pages may have been written.
 *
 * Return: how many list pages the command uses, from the first on; -EINVAL @length is zero, @offset
 * is unaligned, a list page is, or the memory does not lie in whole controller pages; -ERANGE the
 * transfer ends outside @map; -ENOSPC @n_lists are too few.
 */
SNV_FN int snv_prp_build(const struct snv_dma_map *map, __u64 offset, __u64 length, __u32 mps_shift,
			 const struct snv_prp_list *lists, __u32 n_lists,
			 __le64 *prp1, __le64 *prp2)
{
	__u64 page = 1ULL << mps_shift, per = page / sizeof(__le64);
	__u64 last = offset + length - 1;
	__u64 dma, seg, entries, n, i;
	__u32 used;

	if (!length || offset % sizeof(__le32))
		return -EINVAL;
	if (last < offset || last >> map->page_shift >= map->pages)
		return -ERANGE;

	dma = snv_dma_addr(map, offset);
	seg = page - (dma & (page - 1));
	if (seg > length)
		seg = length;
	if (dma % sizeof(__le32) || !snv_dma_contiguous(map, offset, seg))
		return -EINVAL;
	*prp1 = snv_le64(dma);
	*prp2 = snv_le64(0);
	offset += seg;
	length -= seg;
	if (!length)
		return 0;

	if (length <= page) {
		dma = snv_dma_addr(map, offset);
		if (dma & (page - 1) || !snv_dma_contiguous(map, offset, length))
			return -EINVAL;
		*prp2 = snv_le64(dma);
		return 0;
	}

	entries = ((length - 1) >> mps_shift) + 1;
	if (snv_prp_list_pages(entries, mps_shift) > n_lists)
		return -ENOSPC;
	*prp2 = snv_le64(lists[0].dma);
	for (used = 0; entries; used++) {
		if (lists[used].dma & (page - 1))
			return -EINVAL;
		n = entries > per ? per - 1 : entries;
		for (i = 0; i < n; i++) {
			dma = snv_dma_addr(map, offset);
			seg = length < page ? length : page;
			if (dma & (page - 1) || !snv_dma_contiguous(map, offset, seg))
				return -EINVAL;
			lists[used].va[i] = snv_le64(dma);
			offset += seg;
			length -= seg;
		}
		entries -= n;
		if (entries)
			lists[used].va[n] = snv_le64(lists[used + 1].dma);
	}
	return (int)used;
}

#endif /* SNV_PRP_H */
