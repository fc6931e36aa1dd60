/* SPDX-License-Identifier: MIT */
/*
 * The host's side of <snvme/gpu/queue.h>: makes what GPU threads, or threads of this process, use. No
 * CUDA is needed to build or load this library: the driver is opened when a GPU is asked for.
 *
 * Errors are as in <snvme/snvme.h>; where there is a @why, it gets a sentence that names what is missing,
 * cut at @size, and may be NULL.
 */
#ifndef SNVME_GPU_HOST_H
#define SNVME_GPU_HOST_H

#include <snvme/snvme.h>

#ifdef __cplusplus
extern "C" {
#endif

struct snvme_gpu;
struct snvme_gpu_mem;
struct snvme_gpu_set;

#define SNVME_GPU_THREADS	(-1)	/* no GPU: for threads of this process */

enum snvme_gpu_rings {
	SNVME_GPU_RINGS_HOST,		/* in pinned memory of the host */
	SNVME_GPU_RINGS_DEVICE,		/* in the GPU's memory */
};

/**
 * struct snvme_gpu_opts - how queues for a GPU are made
 * @size: sizeof(struct snvme_gpu_opts)
 * @device: CUDA ordinal, or SNVME_GPU_THREADS
 * @queues: pairs on each SSD; 0 for 1
 * @depth: commands in flight in each; 0 for 1,023, or what the controllers take
 * @nsid: namespace; 0 as for snvme_get_ns()
 * @rings: enum snvme_gpu_rings: where rings and PRP lists lie
 * @mirrored: each SSD holds all blocks; else they are striped
 * @stripe: bytes in a stripe; 0 for the longest transfer
 * @max_io: bytes in a command; 0 for 128 KiB, or what the controllers take
 * @timeout_ms: of a command; 0 for 30 s
 */
struct snvme_gpu_opts {
	uint32_t size;
	int32_t device;
	uint32_t queues;
	uint32_t depth;
	uint32_t nsid;
	uint32_t rings;
	uint32_t mirrored;
	uint32_t stripe;
	uint32_t max_io;
	uint32_t timeout_ms;
};

/**
 * snvme_gpu_open() - make queues on one controller or several
 * @ctrl: [@n] the controllers, which stay the caller's, and open until snvme_gpu_close()
 * @n: of them, 1 .. 16; their namespaces have the same format, without metadata
 * @opts: how
 * @set: out
 * @why: see above
 * @size: of @why
 *
 * Return: 0; -EINVAL; -ENOENT no CUDA driver; -ENODEV no such GPU; -EOPNOTSUPP the controller does not
 * reach memory of the kind asked for; -ENOSPC no spare queue; -ENOMEM; -EIO; as snvme_get_ns().
 */
int snvme_gpu_open(struct snvme_ctrl *const *ctrl, unsigned int n,
		   const struct snvme_gpu_opts *opts, struct snvme_gpu_set **set, char *why,
		   size_t size);

/**
 * snvme_gpu_close() - destroy the queues, and what was made from @set
 * @set: in use by no thread, or NULL
 */
void snvme_gpu_close(struct snvme_gpu_set *set);

/**
 * snvme_gpu_renew() - make all queues anew, after a reset or a deadline that passed
 * @set: not in use by any thread
 *
 * Handles and registered memory stay what they are. Return: 0; as snvme_gpu_open().
 */
int snvme_gpu_renew(struct snvme_gpu_set *set);

/**
 * snvme_gpu_handle() - what to give to kernels, or threads
 * @set: the queues
 *
 * Return: a handle that is valid where they run, until snvme_gpu_close().
 */
const struct snvme_gpu *snvme_gpu_handle(const struct snvme_gpu_set *set);

/**
 * snvme_gpu_mem_register() - let the SSDs reach memory
 * @set: of these SSDs
 * @ptr: of the GPU (cudaMalloc and the like) or of the host; the GPU gets to reach that, too
 * @length: bytes
 * @mem: out: for snvme_gpu_read() and the like; released by snvme_gpu_mem_release() or the close
 * @why: see above
 * @size: of @why
 *
 * Return: 0; -EINVAL; -EEXIST it overlaps memory already registered; -EOPNOTSUPP the controller does not
 * reach it; -ENOMEM; -EIO the driver refuses.
 */
int snvme_gpu_mem_register(struct snvme_gpu_set *set, void *ptr, size_t length,
			   const struct snvme_gpu_mem **mem, char *why, size_t size);

/**
 * snvme_gpu_mem_release() - end a registration
 * @set: that it was made in
 * @mem: the memory, in use by no command; what was released already is ignored
 */
void snvme_gpu_mem_release(struct snvme_gpu_set *set, const struct snvme_gpu_mem *mem);

#ifdef __cplusplus
}
#endif

#endif /* SNVME_GPU_HOST_H */
