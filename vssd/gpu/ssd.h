/* SPDX-License-Identifier: MIT */
/*
 * The data path of a virtual SSD, played by a persistent CUDA kernel: one CTA for each I/O queue
 * pair fetches commands, moves data between pinned host memory, the SSD's storage, and whatever
 * the commands point to, and posts completions. Registers and admin commands stay with the core on a
 * CPU, which hands over the queues that are created.
 *
 * DMA addresses are pointers that are valid on the GPU (unified addressing). The memory page size
 * is 4 KiB. Commands that overlap while both are in flight are not atomic, not even in one block.
 *
 * While an SSD runs, nothing may wait for the whole device, such as cudaDeviceSynchronize() and
 * cudaFree(), and other kernels must have been loaded before (CUDA_MODULE_LOADING=EAGER).
 */
#ifndef VSSD_GPU_SSD_H
#define VSSD_GPU_SSD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vssd_gpu;

/**
 * struct vssd_gpu_config - an SSD
 * @device: CUDA ordinal
 * @storage: pinned, mapped host memory (cudaHostAlloc), or NULL: no data are moved
 * @size: bytes of the namespace
 * @lba_shift: log2 of the logical block size, 9 .. 16
 * @mdts_bytes: longest transfer, up to 16 MiB
 * @queues: I/O queue pairs at most
 * @threads: of a CTA, a multiple of 32 up to 1,024: as many commands are served in one round
 */
struct vssd_gpu_config {
	int device;
	void *storage;
	uint64_t size;
	uint32_t lba_shift;
	uint32_t mdts_bytes;
	uint32_t queues;
	uint32_t threads;
};

/**
 * struct vssd_gpu_queue - a queue pair, all pointers valid on the GPU
 * @sq: submission ring, contiguous, aligned to 16 bytes
 * @cq: completion ring, contiguous, aligned to 16 bytes, all phase bits 0
 * @sq_db: tail doorbell, in VRAM or mapped host memory; holds 0
 * @cq_db: head doorbell; holds 0
 * @sq_entries: 2 .. 65,536, any number
 * @cq_entries: likewise
 * @sqid: submission queue identifier
 */
struct vssd_gpu_queue {
	const void *sq;
	void *cq;
	const uint32_t *sq_db;
	const uint32_t *cq_db;
	uint32_t sq_entries;
	uint32_t cq_entries;
	uint32_t sqid;
};

/* Start the kernel. 0, or -errno with a sentence in @why. */
int vssd_gpu_start(const struct vssd_gpu_config *config, struct vssd_gpu **out, char *why,
		   size_t size);
/* Stop the kernel, within a second, whatever the queues are doing; free everything. */
void vssd_gpu_stop(struct vssd_gpu *g);

/*
 * Serve a queue pair: its slot number, or -ENOSPC, -EINVAL. Not from two threads at once; nor the
 * next two. Each of the three may also return -ETIMEDOUT, or -EIO: the kernel is not running.
 */
int vssd_gpu_serve(struct vssd_gpu *g, const struct vssd_gpu_queue *queue);
/* Returns once the kernel touches nothing of it any more: 0, -ENOENT, -ETIMEDOUT after 2 s. */
int vssd_gpu_unserve(struct vssd_gpu *g, int slot);

/*
 * Memory that commands may point to, from @begin to @end; add, or take away what was added. Returns
 * once the kernel knows: 0, -ENOSPC (there is room for 64), -ENOENT, -EINVAL.
 */
int vssd_gpu_range(struct vssd_gpu *g, uint64_t begin, uint64_t end, bool add);

/* Commands carried out since the start, and those of them that ended with an error. */
void vssd_gpu_stats(struct vssd_gpu *g, uint64_t *commands, uint64_t *errors);

#ifdef __cplusplus
}
#endif
#endif /* VSSD_GPU_SSD_H */
