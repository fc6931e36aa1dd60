/* SPDX-License-Identifier: MIT */
/*
 * Virtual SSDs for GPU threads, for tests and benchmarks: one whose I/O a persistent kernel carries out,
 * and one whose I/O threads of the host do.
 */
#ifndef GPU_RIG_H
#define GPU_RIG_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cuda_runtime.h>

#include <snvme/gpu/host.h>
#include <snvme/gpu/queue.h>

extern "C" {
#include "user/home.h"
int snvme_vssd_open_served(const char *spec, const struct vssd_server *server,
			   uint64_t far_doorbells, struct snvme_ctrl **out);
}

#include "gpu/ssd.h"

#define RIG_QUEUES	64

#define RIG_SSDS	4

struct rig_ssd {
	struct vssd_gpu *ssd;		/* NULL: threads of the host */
	void *storage;
	uint32_t *doorbells;		/* in VRAM */
	cudaStream_t stream;
	bool deaf;			/* queues made from now on are served by nobody */
	int slot[RIG_QUEUES + 1];
};

struct rig {
	struct rig_ssd one[RIG_SSDS];
	struct snvme_ctrl *ctrl[RIG_SSDS];
	unsigned int n;
	struct snvme_gpu_set *set;
	const struct snvme_gpu *gpu;
};

static inline void rig_die(const char *what, const char *why)
{
	printf("Bail out! %s: %s\n", what, why);
	fflush(stdout);
	_exit(1);
}

static inline void rig_cuda(cudaError_t err, const char *what)
{
	if (err)
		rig_die(what, cudaGetErrorString(err));
}

static bool rig_serve(void *ctx, const struct vssd_served *q)
{
	struct rig_ssd *rig = (struct rig_ssd *)ctx;
	struct vssd_gpu_queue queue = {};

	if (q->sqid > RIG_QUEUES || q->cqid > RIG_QUEUES)
		return false;
	rig->slot[q->sqid] = -1;
	if (rig->deaf)
		return true;
	queue.sq = (const void *)q->sq_addr;
	queue.cq = (void *)q->cq_addr;
	queue.sq_db = rig->doorbells + 2 * q->sqid;
	queue.cq_db = rig->doorbells + 2 * q->cqid + 1;
	queue.sq_entries = q->sq_entries;
	queue.cq_entries = q->cq_entries;
	queue.sqid = q->sqid;
	if (cudaMemsetAsync((void *)queue.sq_db, 0, 4, rig->stream) ||
	    cudaMemsetAsync((void *)queue.cq_db, 0, 4, rig->stream) ||
	    cudaStreamSynchronize(rig->stream))
		return false;
	rig->slot[q->sqid] = vssd_gpu_serve(rig->ssd, &queue);
	if (rig->slot[q->sqid] < 0)
		fprintf(stderr, "# serve: %d\n", rig->slot[q->sqid]);
	return rig->slot[q->sqid] >= 0;
}

static void rig_unserve(void *ctx, uint16_t sqid)
{
	struct rig_ssd *rig = (struct rig_ssd *)ctx;
	int ret = rig->ssd && rig->slot[sqid] >= 0 ? vssd_gpu_unserve(rig->ssd, rig->slot[sqid]) : 0;

	if (ret)
		fprintf(stderr, "# unserve %u: %d\n", sqid, ret);
}

static int rig_map(void *ctx, void *va, size_t length)
{
	struct rig_ssd *rig = (struct rig_ssd *)ctx;

	return vssd_gpu_range(rig->ssd, (uint64_t)va, (uint64_t)va + length, true);
}

static void rig_unmap(void *ctx, void *va, size_t length)
{
	struct rig_ssd *rig = (struct rig_ssd *)ctx;

	if (rig->ssd)
		vssd_gpu_range(rig->ssd, (uint64_t)va, (uint64_t)va + length, false);
}

/* SSDs that kernels play, @n of them, each of @size; 0: without data, of 1 TiB. */
static inline void rig_open_kernels(struct rig *rig, unsigned int n, uint64_t size, uint32_t lba_shift,
				    uint32_t queues, uint32_t threads)
{
	memset(rig, 0, sizeof(*rig));
	rig->n = n;
	for (unsigned int i = 0; i < n; i++) {
		struct rig_ssd *one = &rig->one[i];

		if (size) {
			rig_cuda(cudaHostAlloc(&one->storage, size, cudaHostAllocMapped), "storage");
			memset(one->storage, 0, size);
		}
		rig_cuda(cudaStreamCreateWithFlags(&one->stream, cudaStreamNonBlocking), "stream");
		rig_cuda(cudaMalloc(&one->doorbells, 4096), "doorbells");
		rig_cuda(cudaMemset(one->doorbells, 0, 4096), "doorbells");
	}
	/* Nothing that waits for the device comes after the first of them runs. */
	rig_cuda(cudaDeviceSynchronize(), "device");
	for (unsigned int i = 0; i < n; i++) {
		struct rig_ssd *one = &rig->one[i];
		struct vssd_gpu_config config = {};
		struct vssd_server server = { rig_serve, rig_unserve, rig_map, rig_unmap, one };
		char spec[128], why[256] = "";
		int ret;

		config.storage = one->storage;
		config.size = size ? size : 1ULL << 40;
		config.lba_shift = lba_shift;
		config.mdts_bytes = 1U << 20;
		config.queues = queues;
		config.threads = threads;
		ret = vssd_gpu_start(&config, &one->ssd, why, sizeof(why));
		if (ret)
			rig_die("the SSD's kernel", why);
		snprintf(spec, sizeof(spec), "null,size=%llu,lba=%u,queues=%u",
			 (unsigned long long)config.size, 1U << lba_shift, RIG_QUEUES);
		/* Doorbells are as the BAR has them, from the admin queue's on. */
		ret = snvme_vssd_open_served(spec, &server, (uint64_t)one->doorbells, &rig->ctrl[i]);
		if (ret)
			rig_die(spec, snvme_strerror(ret));
	}
}

static inline void rig_open_kernel(struct rig *rig, uint64_t size, uint32_t lba_shift,
				   uint32_t queues, uint32_t threads)
{
	rig_open_kernels(rig, 1, size, lba_shift, queues, threads);
}

/* An SSD that threads of the host play. */
static inline void rig_open_threads(struct rig *rig, const char *spec)
{
	char why[256] = "";
	int ret;

	memset(rig, 0, sizeof(*rig));
	rig->n = 1;
	ret = snvme_open(spec, &rig->ctrl[0]);
	if (ret) {
		snvme_vssd_check(spec, why, sizeof(why));
		rig_die(spec, *why ? why : snvme_strerror(ret));
	}
}

/* Queues on the SSDs for the GPU. */
static inline void rig_queues(struct rig *rig, struct snvme_gpu_opts opts)
{
	char why[256] = "";

	opts.size = sizeof(opts);
	if (snvme_gpu_open(rig->ctrl, rig->n, &opts, &rig->set, why, sizeof(why)))
		rig_die("snvme_gpu_open", why);
	rig->gpu = snvme_gpu_handle(rig->set);
}

static inline const struct snvme_gpu_mem *rig_mem(struct rig *rig, void *ptr, size_t length)
{
	const struct snvme_gpu_mem *mem = NULL;
	char why[256] = "";

	if (snvme_gpu_mem_register(rig->set, ptr, length, &mem, why, sizeof(why)))
		rig_die("snvme_gpu_mem_register", why);
	return mem;
}

/*
 * The SSDs' kernels end first, and with them all that they do: to unregister memory waits for every
 * kernel, these too.
 */
static inline void rig_close(struct rig *rig)
{
	for (unsigned int i = 0; i < rig->n; i++) {
		struct vssd_gpu *ssd = rig->one[i].ssd;

		rig->one[i].ssd = NULL;
		vssd_gpu_stop(ssd);
	}
	snvme_gpu_close(rig->set);
	for (unsigned int i = 0; i < rig->n; i++) {
		struct rig_ssd *one = &rig->one[i];

		snvme_close(rig->ctrl[i]);
		if (one->doorbells)
			cudaFree(one->doorbells);
		if (one->storage)
			cudaFreeHost(one->storage);
		if (one->stream)
			cudaStreamDestroy(one->stream);
	}
}

/* Wait for @stream; a kernel that takes longer than @seconds hangs: that ends the program. */
static inline void rig_wait(cudaStream_t stream, double seconds, const char *what)
{
	cudaError_t err;

	for (double waited = 0; (err = cudaStreamQuery(stream)) == cudaErrorNotReady; waited += 20e-6) {
		if (waited > seconds)
			rig_die(what, "no end: it hangs");
		usleep(10);
	}
	rig_cuda(err, what);
}

#endif /* GPU_RIG_H */
