/* SPDX-License-Identifier: MIT */
/* What the examples for GPUs begin with: an SSD, queues on it, and memory for its data. */
#ifndef EXAMPLES_GPU_H
#define EXAMPLES_GPU_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cuda_runtime.h>

#include <snvme/gpu/host.h>
#include <snvme/gpu/queue.h>

struct ssd {
	struct snvme_ctrl *ctrl;
	struct snvme_ns_info ns;
	uint64_t size;			/* bytes */
	struct snvme_gpu_set *set;
	const struct snvme_gpu *gpu;
	const struct snvme_gpu_mem *mem;
	char *buf;			/* what @mem describes */
};

static inline void must(int ret, const char *what, const char *why)
{
	if (ret) {
		fprintf(stderr, "%s: %s\n", what, *why ? why : snvme_strerror(ret));
		exit(1);
	}
}

static inline void must_cuda(cudaError_t err)
{
	must(err != cudaSuccess, "CUDA", cudaGetErrorString(err));
}

/* @name: /dev/nvme0n1, vssd:file=DATA,gpu=0, and so on. @bytes of memory. */
static inline void open_ssd(struct ssd *ssd, const char *name, size_t bytes)
{
	struct snvme_gpu_opts opts = { sizeof(opts) };
	char why[256] = "";

	must(snvme_open(name, &ssd->ctrl), name, "");
	must(snvme_get_ns(ssd->ctrl, 0, &ssd->ns), name, "");
	ssd->size = ssd->ns.blocks * ssd->ns.lba_size;
	opts.queues = 4;
	must(snvme_gpu_open(&ssd->ctrl, 1, &opts, &ssd->set, why, sizeof(why)), name, why);
	ssd->gpu = snvme_gpu_handle(ssd->set);
	/* In the GPU's memory, if this SSD reaches it; else pinned, and the GPU reads it from there. */
	must_cuda(cudaMalloc(&ssd->buf, bytes));
	if (snvme_gpu_mem_register(ssd->set, ssd->buf, bytes, &ssd->mem, why, sizeof(why)) != -EOPNOTSUPP) {
		must(!ssd->mem, name, why);
		return;
	}
	must_cuda(cudaFree(ssd->buf));
	must_cuda(cudaMallocHost(&ssd->buf, bytes));
	must(snvme_gpu_mem_register(ssd->set, ssd->buf, bytes, &ssd->mem, why, sizeof(why)), name, why);
}

/* No kernel may be using it. */
static inline void close_ssd(struct ssd *ssd)
{
	snvme_gpu_close(ssd->set);
	snvme_close(ssd->ctrl);
}

#endif /* EXAMPLES_GPU_H */
