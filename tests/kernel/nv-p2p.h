/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The kernel interface of NVIDIA's driver to a GPU's memory, as far as kernel/p2p.c uses it: our own
 * declaration, from its public documentation. fake_nvidia.ko plays the driver.
 */
#ifndef NV_P2P_H
#define NV_P2P_H

#include <linux/types.h>

#define NVIDIA_P2P_PAGE_TABLE_VERSION	0x00010002
/* The same major number, and a minor one at least as high. */
#define NVIDIA_P2P_PAGE_TABLE_VERSION_COMPATIBLE(t) \
	((t)->version >> 16 == NVIDIA_P2P_PAGE_TABLE_VERSION >> 16 && \
	 (t)->version >= NVIDIA_P2P_PAGE_TABLE_VERSION)

enum nvidia_p2p_page_size_type {
	NVIDIA_P2P_PAGE_SIZE_4KB,
	NVIDIA_P2P_PAGE_SIZE_64KB,
	NVIDIA_P2P_PAGE_SIZE_128KB,
};

/* More follows, of no use to us. */
struct nvidia_p2p_page {
	u64 physical_address;
};

struct nvidia_p2p_page_table {
	u32 version;
	u32 page_size;
	struct nvidia_p2p_page **pages;
	u32 entries;
	u8 *gpu_uuid;
};

int nvidia_p2p_get_pages(u64 p2p_token, u32 va_space, u64 virtual_address, u64 length,
			 struct nvidia_p2p_page_table **page_table,
			 void (*free_callback)(void *data), void *data);
int nvidia_p2p_put_pages(u64 p2p_token, u32 va_space, u64 virtual_address,
			 struct nvidia_p2p_page_table *page_table);
int nvidia_p2p_free_page_table(struct nvidia_p2p_page_table *page_table);

#endif /* NV_P2P_H */
