/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What bar_dmabuf.ko offers at /dev/bar_dmabuf. */
#ifndef BAR_DMABUF_H
#define BAR_DMABUF_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct bar_export - a part of the BAR as a dma-buf
 * @offset: in the BAR, of whole pages
 * @length: bytes, likewise
 * @piece: 0: in one piece; else in pieces of so many bytes, the last first
 * @fd: out
 */
struct bar_export {
	__u64 offset;
	__u64 length;
	__u32 piece;
	__s32 fd;
};

#define BAR_EXPORT	_IOWR('b', 0, struct bar_export)
/* Take the memory of a dma-buf, given by its descriptor, away. EBUSY: somebody still maps it after that. */
#define BAR_REVOKE	_IO('b', 1)

#endif /* BAR_DMABUF_H */
