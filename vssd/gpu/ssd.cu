// SPDX-License-Identifier: MIT
/*
 * The host's side of a virtual SSD that is a CUDA kernel: it starts the kernel, writes orders into the boxes
 * of its CTAs, reads what they report, and ends it. Copies only, in a stream of their own: the kernel
 * runs as long as the SSD does, and nothing may wait for it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cuda_runtime.h>

#include "kernel.h"

#define ACK_NS		2000000000LL
#define EXIT_NS		5000000000LL

/**
 * struct vssd_gpu - an SSD
 * @kernel: the stream that the kernel runs on
 * @control: the stream of all copies
 * @dev: device memory: boxes, reports, ranges
 * @box: what was written to the boxes; @range: likewise
 * @report: what was read last
 * @used: is the slot taken?
 *
 * Copies have pageable memory on this side: pinned memory could not be freed while any kernel runs
 * on the device, and neither could plain device memory, which is why it comes from a pool.
 */
struct vssd_gpu {
	struct vssd_gpu_config config;
	cudaStream_t kernel;
	cudaStream_t control;
	char *dev;
	struct box *dev_box;
	struct report *dev_report;
	struct range *dev_range;
	struct box *box;
	struct report *report;
	struct range range[MAX_RANGES];
	bool *used;
};

/* Write the sentence about what went wrong. Returns @err. */
__attribute__((format(printf, 4, 5)))
static int fail(char *why, size_t size, int err, const char *fmt, ...)
{
	va_list ap;

	if (!why || !size)
		return err;
	va_start(ap, fmt);
	vsnprintf(why, size, fmt, ap);
	va_end(ap);
	return err;
}

static int fail_cuda(char *why, size_t size, const char *what, cudaError_t ret)
{
	(void)cudaGetLastError();
	return fail(why, size, ret == cudaErrorMemoryAllocation ? -ENOMEM : -EIO, "%s: %s", what,
		    cudaGetErrorString(ret));
}

static long long now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void pause_ns(long ns)
{
	struct timespec ts = { 0, ns };

	nanosleep(&ts, NULL);
}

/* Make the SSD's device current. Returns the one that was. */
static int enter(const struct vssd_gpu *g)
{
	int old = g->config.device;

	(void)cudaGetDevice(&old);
	(void)cudaSetDevice(g->config.device);
	return old;
}

static void leave(int old)
{
	(void)cudaSetDevice(old);
}

/* Wait until the copies are done. */
static int copied(struct vssd_gpu *g)
{
	return cudaStreamSynchronize(g->control) ? -EIO : 0;
}

static int write_boxes(struct vssd_gpu *g, uint32_t first, uint32_t n)
{
	return cudaMemcpyAsync(&g->dev_box[first], &g->box[first], n * sizeof(*g->box),
			       cudaMemcpyHostToDevice, g->control) ? -EIO : 0;
}

/*
 * Have @n CTAs obey what their boxes and the ranges say now. The order is written by a copy of its
 * own, behind those of what it is about: copies of one stream follow each other. Partner: look().
 */
static int give_order(struct vssd_gpu *g, uint32_t first, uint32_t n)
{
	int ret = write_boxes(g, first, n);

	if (ret)
		return ret;
	for (uint32_t i = first; i < first + n; i++)
		g->box[i].order++;
	ret = write_boxes(g, first, n);
	return ret ? ret : copied(g);
}

/* Partner of the copy: the release of the ack in obey(). */
static int read_reports(struct vssd_gpu *g, struct report *report)
{
	if (cudaMemcpyAsync(report, g->dev_report, g->config.queues * sizeof(*report),
			    cudaMemcpyDeviceToHost, g->control))
		return -EIO;
	return copied(g);
}

static bool obeyed(const struct vssd_gpu *g, uint32_t first, uint32_t n)
{
	for (uint32_t i = first; i < first + n; i++)
		if (g->report[i].ack != g->box[i].order)
			return false;
	return true;
}

/* Wait until the orders of @n CTAs are carried out. */
static int wait_obeyed(struct vssd_gpu *g, uint32_t first, uint32_t n)
{
	long long deadline = now_ns() + ACK_NS;

	for (;;) {
		bool late = now_ns() > deadline;
		int ret = read_reports(g, g->report);

		if (ret)
			return ret;
		if (obeyed(g, first, n))
			return 0;
		if (cudaStreamQuery(g->kernel) != cudaErrorNotReady)
			return -EIO;
		if (late)
			return -ETIMEDOUT;
		pause_ns(5000);
	}
}

static int order_and_wait(struct vssd_gpu *g, uint32_t first, uint32_t n)
{
	int old = enter(g);
	int ret = give_order(g, first, n);

	if (!ret)
		ret = wait_obeyed(g, first, n);
	leave(old);
	return ret;
}

static int check_config(const struct vssd_gpu_config *config, char *why, size_t size)
{
	if (!config->queues)
		return fail(why, size, -EINVAL, "no queues");
	if (!config->threads || config->threads % WARP || config->threads > MAX_THREADS)
		return fail(why, size, -EINVAL, "%u threads: not a multiple of 32 up to %u",
			    config->threads, MAX_THREADS);
	if (config->lba_shift < 9 || config->lba_shift > 16)
		return fail(why, size, -EINVAL, "LBA shift %u: not in 9 .. 16", config->lba_shift);
	if (config->mdts_bytes < 1U << config->lba_shift ||
	    config->mdts_bytes > ROUND_UNITS * UNIT_BYTES)
		return fail(why, size, -EINVAL, "MDTS of %u bytes: not in one block .. %u",
			    config->mdts_bytes, ROUND_UNITS * UNIT_BYTES);
	if (!(config->size >> config->lba_shift))
		return fail(why, size, -EINVAL, "no blocks");
	return 0;
}

/* The storage as the GPU sees it. */
static int find_storage(const struct vssd_gpu_config *config, uint64_t *addr, char *why,
			size_t size)
{
	struct cudaPointerAttributes attr;
	cudaError_t ret;

	*addr = 0;
	if (!config->storage)
		return 0;
	ret = cudaPointerGetAttributes(&attr, config->storage);
	if (ret)
		return fail_cuda(why, size, "storage", ret);
	if (attr.type == cudaMemoryTypeUnregistered || !attr.devicePointer)
		return fail(why, size, -EINVAL, "storage is not memory that the GPU can reach");
	*addr = (uint64_t)attr.devicePointer;
	if (*addr % sizeof(uint4))
		return fail(why, size, -EINVAL, "storage is not aligned to 16 bytes");
	return 0;
}

/* Will all CTAs be on the GPU at once? This also loads the kernel, whatever the loading mode. */
static int check_fit(const struct vssd_gpu_config *config, size_t shared, char *why, size_t size)
{
	cudaError_t ret = cudaFuncSetAttribute(ssd_kernel(),
					       cudaFuncAttributeMaxDynamicSharedMemorySize,
					       (int)shared);
	int sms, each;

	if (!ret)
		ret = cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, config->device);
	if (!ret)
		ret = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, ssd_kernel(),
								    (int)config->threads, shared);
	if (ret)
		return fail_cuda(why, size, "kernel", ret);
	if ((uint64_t)sms * each < config->queues)
		return fail(why, size, -EINVAL,
			    "%u queues of %u threads: the GPU has room for %d at once",
			    config->queues, config->threads, sms * each);
	return 0;
}

/*
 * Streams of the highest priority: the driver has only so many channels for the streams of one
 * priority, and a kernel that shared one with the SSD's would wait for its end.
 */
static cudaError_t make_streams(struct vssd_gpu *g)
{
	int least, greatest;
	cudaError_t ret = cudaDeviceGetStreamPriorityRange(&least, &greatest);

	if (!ret)
		ret = cudaStreamCreateWithPriority(&g->kernel, cudaStreamNonBlocking, greatest);
	if (!ret)
		ret = cudaStreamCreateWithPriority(&g->control, cudaStreamNonBlocking,
						   least - greatest > 1 ? greatest + 1 : greatest);
	return ret;
}

/* Device memory, with the first order in each box: to be idle. */
static cudaError_t make_boxes(struct vssd_gpu *g)
{
	size_t n = g->config.queues, boxes = n * sizeof(*g->box), reports = n * sizeof(*g->report);
	cudaError_t ret = cudaMallocAsync((void **)&g->dev, boxes + reports + sizeof(g->range),
					  g->control);

	if (ret) {
		g->dev = NULL;
		return ret;
	}
	g->dev_box = (struct box *)g->dev;
	g->dev_report = (struct report *)(g->dev + boxes);
	g->dev_range = (struct range *)(g->dev + boxes + reports);
	for (size_t i = 0; i < n; i++)
		g->box[i].order = 1;
	/* No memset: it may be a kernel, which may not get loaded while another SSD runs. */
	ret = cudaMemcpyAsync(g->dev_box, g->box, boxes, cudaMemcpyHostToDevice, g->control);
	if (!ret)
		ret = cudaMemcpyAsync(g->dev_report, g->report, reports, cudaMemcpyHostToDevice,
				      g->control);
	if (!ret)
		ret = cudaMemcpyAsync(g->dev_range, g->range, sizeof(g->range),
				      cudaMemcpyHostToDevice, g->control);
	return ret ? ret : cudaStreamSynchronize(g->control);
}

/* Take down what there is. False: the kernel does not end, and everything it may use stays. */
static bool take_down(struct vssd_gpu *g)
{
	long long deadline = now_ns() + EXIT_NS;

	if (g->dev) {
		for (uint32_t i = 0; i < g->config.queues; i++)
			g->box[i].state = BOX_EXIT;
		(void)give_order(g, 0, g->config.queues);
		while (cudaStreamQuery(g->kernel) == cudaErrorNotReady) {
			if (now_ns() > deadline)
				return false;
			pause_ns(5000);
		}
		(void)cudaFreeAsync(g->dev, g->control);
		(void)copied(g);
	}
	if (g->control)
		(void)cudaStreamDestroy(g->control);
	if (g->kernel)
		(void)cudaStreamDestroy(g->kernel);
	free(g->box);
	free(g->report);
	free(g->used);
	free(g);
	return true;
}

static int launch(struct vssd_gpu *g, const struct params *params, size_t shared, char *why,
		  size_t size)
{
	void *args[] = { (void *)params };
	cudaError_t err = cudaLaunchKernel(ssd_kernel(), g->config.queues, g->config.threads, args, shared,
					   g->kernel);
	uint32_t up = 0;
	int ret;

	if (err)
		return fail_cuda(why, size, "launch", err);
	ret = wait_obeyed(g, 0, g->config.queues);
	for (uint32_t i = 0; i < g->config.queues; i++)
		up += g->report[i].ack == g->box[i].order;
	if (ret == -ETIMEDOUT)
		return fail(why, size, -EBUSY,
			    "%u of %u CTAs started: other kernels leave no room on the GPU", up,
			    g->config.queues);
	if (ret)
		return fail(why, size, ret, "kernel: %s",
			    cudaGetErrorString(cudaStreamQuery(g->kernel)));
	return 0;
}

extern "C" int vssd_gpu_start(const struct vssd_gpu_config *config, struct vssd_gpu **out,
			      char *why, size_t size)
{
	size_t shared = ssd_shared_bytes(config->threads, config->storage);
	struct params params = {};
	struct vssd_gpu *g;
	cudaError_t err;
	int old, ret;

	ret = check_config(config, why, size);
	if (ret)
		return ret;
	g = (struct vssd_gpu *)calloc(1, sizeof(*g));
	if (!g)
		return fail(why, size, -ENOMEM, "no memory");
	g->config = *config;
	old = enter(g);
	g->box = (struct box *)calloc(config->queues, sizeof(*g->box));
	g->report = (struct report *)calloc(config->queues, sizeof(*g->report));
	g->used = (bool *)calloc(config->queues, sizeof(*g->used));
	ret = -ENOMEM;
	if (!g->box || !g->report || !g->used) {
		fail(why, size, ret, "no memory");
		goto out_down;
	}
	ret = check_fit(config, shared, why, size);
	if (!ret)
		ret = find_storage(config, &params.storage, why, size);
	if (ret)
		goto out_down;
	err = make_streams(g);
	if (!err)
		err = make_boxes(g);
	if (err) {
		ret = fail_cuda(why, size, "device memory", err);
		goto out_down;
	}
	params.box = g->dev_box;
	params.report = g->dev_report;
	params.range = g->dev_range;
	params.blocks = config->size >> config->lba_shift;
	params.lba_shift = config->lba_shift;
	params.mdts_bytes = config->mdts_bytes;
	ret = launch(g, &params, shared, why, size);
	if (ret)
		goto out_down;
	*out = g;
	leave(old);
	return 0;
out_down:
	(void)take_down(g);
	leave(old);
	return ret;
}

extern "C" void vssd_gpu_stop(struct vssd_gpu *g)
{
	int old;

	if (!g)
		return;
	old = enter(g);
	(void)take_down(g);
	leave(old);
}

static bool good_queue(const struct vssd_gpu_queue *queue)
{
	return queue->sq && queue->cq && queue->sq_db && queue->cq_db &&
	       (uint64_t)queue->sq % sizeof(uint4) == 0 &&
	       (uint64_t)queue->cq % sizeof(uint4) == 0 &&
	       (uint64_t)queue->sq_db % sizeof(uint32_t) == 0 &&
	       (uint64_t)queue->cq_db % sizeof(uint32_t) == 0 &&
	       queue->sq_entries >= 2 && queue->sq_entries <= 65536 &&
	       queue->cq_entries >= 2 && queue->cq_entries <= 65536 && queue->sqid <= 0xffff;
}

extern "C" int vssd_gpu_serve(struct vssd_gpu *g, const struct vssd_gpu_queue *queue)
{
	uint32_t slot = 0;
	int ret;

	if (!good_queue(queue))
		return -EINVAL;
	while (slot < g->config.queues && g->used[slot])
		slot++;
	if (slot == g->config.queues)
		return -ENOSPC;
	g->box[slot].queue = *queue;
	g->box[slot].state = BOX_SERVE;
	g->used[slot] = true;
	ret = order_and_wait(g, slot, 1);
	if (!ret)
		return (int)slot;
	/* It may come to it yet; the slot is free again only if it says that it stopped. */
	(void)vssd_gpu_unserve(g, (int)slot);
	return ret;
}

extern "C" int vssd_gpu_unserve(struct vssd_gpu *g, int slot)
{
	int ret;

	if (slot < 0 || (uint32_t)slot >= g->config.queues || !g->used[slot])
		return -ENOENT;
	g->box[slot].state = BOX_IDLE;
	ret = order_and_wait(g, (uint32_t)slot, 1);
	if (!ret)
		g->used[slot] = false;
	return ret;
}

extern "C" int vssd_gpu_range(struct vssd_gpu *g, uint64_t begin, uint64_t end, bool add)
{
	struct range old = { 0, 0 }, range = { begin, end };
	uint32_t i = 0;
	cudaError_t err;
	int at;

	if (begin >= end)
		return -EINVAL;
	if (!add) {
		old = range;
		range = { 0, 0 };
	}
	while (i < MAX_RANGES && (g->range[i].begin != old.begin || g->range[i].end != old.end))
		i++;
	if (i == MAX_RANGES)
		return add ? -ENOSPC : -ENOENT;
	g->range[i] = range;
	at = enter(g);
	err = cudaMemcpyAsync(&g->dev_range[i], &g->range[i], sizeof(range), cudaMemcpyHostToDevice,
			      g->control);
	leave(at);
	if (err)
		return -EIO;
	return order_and_wait(g, 0, g->config.queues);
}

extern "C" void vssd_gpu_stats(struct vssd_gpu *g, uint64_t *commands, uint64_t *errors)
{
	struct report *report = (struct report *)calloc(g->config.queues, sizeof(*report));
	int old = enter(g);

	*commands = 0;
	*errors = 0;
	if (report && !read_reports(g, report)) {
		for (uint32_t i = 0; i < g->config.queues; i++) {
			*commands += report[i].commands;
			*errors += report[i].errors;
		}
	}
	leave(old);
	free(report);
}
