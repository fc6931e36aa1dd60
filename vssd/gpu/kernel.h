/* SPDX-License-Identifier: MIT */
/*
 * What the kernel of a virtual SSD (kernel.cu) and the host that runs it (ssd.cu) say to each other.
 */
#ifndef VSSD_GPU_KERNEL_H
#define VSSD_GPU_KERNEL_H

#include <snvme/nvme.h>
#include <hal.h>

#include "ssd.h"

#define UNIT_BYTES	512U	/* a warp's load of 16 bytes for each lane */
#define ROUND_UNITS	32768U	/* at most in one round: it ends soon, whatever the commands are */
#define MAX_THREADS	1024U
#define MAX_RANGES	256U
#define WARP		32U

enum box_state {
	BOX_IDLE,
	BOX_SERVE,
	BOX_EXIT,
};

/**
 * struct box - orders to a CTA, in device memory, written by the host alone
 * @order: changes with each order, after the rest was written, and after the ranges
 * @state: what to do from now on
 */
struct box {
	uint32_t order;
	uint32_t state;
	struct vssd_gpu_queue queue;
	uint64_t pad;
};
SNV_SIZE(box, 64);

/**
 * struct report - what a CTA says, in device memory, written by it alone
 * @ack: the last order that was carried out
 */
struct report {
	uint32_t ack;
	uint32_t rsvd;
	unsigned long long commands;
	unsigned long long errors;
	uint64_t pad[5];
};
SNV_SIZE(report, 64);

/* Memory that commands may point to; none if both are equal. */
struct range {
	uint64_t begin;
	uint64_t end;
};

struct params {
	const struct box *box;
	struct report *report;
	const struct range *range;
	uint64_t storage;
	uint64_t blocks;
	uint32_t lba_shift;
	uint32_t mdts_bytes;
};

/* The kernel, for launches: one CTA of the SSD's threads for each queue, with its struct params. */
const void *ssd_kernel(void);

/* Bytes of dynamic shared memory of a CTA of @threads; without @storage it moves nothing. */
size_t ssd_shared_bytes(uint32_t threads, bool storage);

#endif
