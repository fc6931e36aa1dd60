/* SPDX-License-Identifier: MIT */
/*
 * The vfio-user protocol, version 0.1: a PCI device in another process, by messages on a UNIX stream socket
 * and by shared memory. Regions, interrupts and their flags are those of <linux/vfio.h>. All of it is in the
 * byte order of the machine, which both ends are on.
 */
#ifndef VFIO_USER_H
#define VFIO_USER_H

#include <linux/vfio.h>
#include <stdint.h>

#define VFIO_USER_SOCKET	"cntrl"		/* in the directory that names the device */
#define VFIO_USER_MAJOR		0
#define VFIO_USER_MINOR		1
#define VFIO_USER_MAX_FDS	16		/* descriptors with one message */
#define VFIO_USER_MAX_DATA	4096		/* bytes of a region in one message */
#define VFIO_USER_MAX_MESSAGE	(VFIO_USER_MAX_DATA + 4096)
#define VFIO_USER_MAX_MAPS	800	/* of 64 clients: no more than a process may have */

enum vfio_user_command {
	VFIO_USER_VERSION = 1,
	VFIO_USER_DMA_MAP,
	VFIO_USER_DMA_UNMAP,
	VFIO_USER_DEVICE_GET_INFO,
	VFIO_USER_DEVICE_GET_REGION_INFO,
	VFIO_USER_DEVICE_GET_REGION_IO_FDS,
	VFIO_USER_DEVICE_GET_IRQ_INFO,
	VFIO_USER_DEVICE_SET_IRQS,
	VFIO_USER_REGION_READ,
	VFIO_USER_REGION_WRITE,
	VFIO_USER_DMA_READ,
	VFIO_USER_DMA_WRITE,
	VFIO_USER_DEVICE_RESET,
};

#define VFIO_USER_TYPE		0xfU		/* of the flags: 0 a command, 1 a reply */
#define VFIO_USER_REPLY		1U
#define VFIO_USER_NO_REPLY	(1U << 4)
#define VFIO_USER_ERROR		(1U << 5)

/**
 * struct vfio_user_header - how each message begins
 * @id: of a command; its reply has the same
 * @command: enum vfio_user_command
 * @size: of the message, with this
 * @flags: VFIO_USER_*
 * @error: an errno, in a reply with VFIO_USER_ERROR
 */
struct vfio_user_header {
	uint16_t id;
	uint16_t command;
	uint32_t size;
	uint32_t flags;
	uint32_t error;
};

/* A string of JSON may follow, with its end. */
struct vfio_user_version {
	uint16_t major;
	uint16_t minor;
};

#define VFIO_USER_DMA_READABLE	1U
#define VFIO_USER_DMA_WRITABLE	2U

/* The memory is @size bytes at @offset of the descriptor that comes with it. */
struct vfio_user_dma_map {
	uint32_t argsz;
	uint32_t flags;
	uint64_t offset;
	uint64_t address;
	uint64_t size;
};

#define VFIO_USER_UNMAP_DIRTY	1U		/* with a bitmap of dirty pages */
#define VFIO_USER_UNMAP_ALL	2U

struct vfio_user_dma_unmap {
	uint32_t argsz;
	uint32_t flags;
	uint64_t address;
	uint64_t size;
};

struct vfio_user_device_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t num_regions;
	uint32_t num_irqs;
};

/* Data follow: in the command of a write, in the reply of a read. */
struct vfio_user_region_access {
	uint64_t offset;
	uint32_t region;
	uint32_t count;
};

#endif /* VFIO_USER_H */
