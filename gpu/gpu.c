// SPDX-License-Identifier: MIT
/*
 * Queues for GPU threads: makes them through the controller's transport, lets the GPU reach what is the
 * host's, and writes the objects of <snvme/gpu/impl/types.h> where the threads are.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <snvme/gpu/host.h>
#include <snvme/gpu/impl/types.h>

#include "cuda.h"
#include "lib.h"

#define DEFAULT_DEPTH	1023
#define DEFAULT_MAX_IO	(128U << 10)
#define REASON		200	/* bytes of a sentence */
#define GPU_PAGE	65536UL	/* what a GPU maps at once: nothing of others shares one with a ring */

/* Memory of the controller's and the threads' for a ring or for PRP lists. */
struct ring_mem {
	void *va;		/* host: ours; device: NULL */
	uint64_t alloc;		/* device: what was allocated */
	uint64_t at;		/* where threads find it */
	uint64_t *table;	/* device: where the controller does, as map counts it */
	struct snv_dma_map map;
	size_t length;
	uint32_t handle;
};

struct pair {
	struct ring_mem sq;
	struct ring_mem cq;
	struct snvme_mem *lists;	/* host */
	struct ring_mem far_lists;	/* device */
	uint32_t sq_handle;		/* 0: not made */
	uint32_t cq_handle;
	uint64_t word;			/* of the threads, as are the next two */
	uint64_t ready;
	uint64_t list;
};

/* Host memory that the GPU's driver has registered for us. */
struct pin {
	void *va;
	size_t length;
	struct pin *next;
};

struct reg {
	struct snvme_gpu_mem *at;	/* of the threads */
	uint64_t *table;		/* of the threads: address tables of all SSDs */
	uint64_t va;
	size_t length;
	bool far;
	struct snvme_mem *mem[SNVME_GPU_MAX_SSDS];
	uint32_t handle[SNVME_GPU_MAX_SSDS];
	struct reg *next;
};

struct snvme_gpu_set {
	const struct snvme_cuda *cu;	/* NULL: threads of this process */
	int device;
	struct CUctx_st *ctx;
	struct CUstream_st *stream;	/* of our own, so as not to wait for anybody's kernels */
	struct snvme_ctrl *ctrl[SNVME_GPU_MAX_SSDS];
	uint32_t n;
	struct snvme_gpu_opts opts;
	struct snvme_gpu gpu;		/* with pointers of the threads */
	struct snvme_gpu *handle;	/* of the threads, as are the next two */
	struct snvme_gpu_queue *queue;
	struct snvme_gpu_live *live;
	struct pair *pair;
	struct pin *pins;
	struct reg *regs;
};

/* ---- memory of the threads -------------------------------------------------------------------- */

static int cuda_error(const struct snvme_gpu_set *set, snv_cu_result err, char *why, size_t size)
{
	const char *text = "unknown error";

	set->cu->GetErrorString(err, &text);
	return snvme_why(why, size, err == 2 ? -ENOMEM : -EIO, "the GPU's driver: %s", text);
}

static void enter(const struct snvme_gpu_set *set)
{
	if (set->cu)
		set->cu->CtxPushCurrent(set->ctx);
}

static void leave(const struct snvme_gpu_set *set)
{
	struct CUctx_st *ctx;

	if (set->cu)
		set->cu->CtxPopCurrent(&ctx);
}

/* Zeroed; 0: none. Waits for no kernel, as cuMemAlloc() and cuMemFree() may: one may play the SSD. */
static uint64_t near_alloc(const struct snvme_gpu_set *set, size_t length)
{
	snv_cu_ptr ptr = 0;
	void *va;

	if (!set->cu) {
		length = (length + 4095) & ~4095UL;
		va = aligned_alloc(4096, length);
		if (va)
			memset(va, 0, length);
		return (uintptr_t)va;
	}
	if (set->cu->MemAllocAsync(&ptr, length, set->stream))
		return 0;
	set->cu->MemsetD8Async(ptr, 0, length, set->stream);
	return set->cu->StreamSynchronize(set->stream) ? 0 : ptr;
}

static void near_free(const struct snvme_gpu_set *set, uint64_t at)
{
	if (!set->cu)
		free((void *)(uintptr_t)at);
	else if (at)
		set->cu->MemFreeAsync(at, set->stream);
}

static void near_write(const struct snvme_gpu_set *set, uint64_t at, const void *from, size_t length)
{
	if (!set->cu)
		memcpy((void *)(uintptr_t)at, from, length);
	else if (!set->cu->MemcpyAsync(at, (uintptr_t)from, length, set->stream))
		set->cu->StreamSynchronize(set->stream);
}

static void near_clear(const struct snvme_gpu_set *set, uint64_t at, size_t length)
{
	if (!set->cu)
		memset((void *)(uintptr_t)at, 0, length);
	else if (!set->cu->MemsetD8Async(at, 0, length, set->stream))
		set->cu->StreamSynchronize(set->stream);
}

/*
 * Let the threads reach memory of the host: *@at. What CUDA knows already, as pinned memory or because
 * another set of this process registered it, stays whose it is.
 */
static int reach(struct snvme_gpu_set *set, void *va, size_t length, unsigned int flags,
		 uint64_t *at)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uintptr_t first = (uintptr_t)va & ~(page - 1);
	uintptr_t end = ((uintptr_t)va + length + page - 1) & ~(page - 1);
	struct pin *pin;
	snv_cu_ptr ptr;

	*at = (uintptr_t)va;
	if (!set->cu ||
	    (!set->cu->MemHostGetDevicePointer(&ptr, (char *)va + length - 1, 0) &&
	     !set->cu->MemHostGetDevicePointer(at, va, 0)))
		return 0;
	pin = malloc(sizeof(*pin));
	if (!pin)
		return -ENOMEM;
	flags |= SNV_CU_HOST_REGISTER_PORTABLE | SNV_CU_HOST_REGISTER_DEVICEMAP;
	if (set->cu->MemHostRegister((void *)first, end - first, flags)) {
		free(pin);
		return -EIO;
	}
	*pin = (struct pin){ (void *)first, end - first, set->pins };
	set->pins = pin;
	return set->cu->MemHostGetDevicePointer(at, va, 0) ? -EIO : 0;
}

/* No more. */
static void unreach(struct snvme_gpu_set *set, void *va)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct pin **at, *pin;

	for (at = &set->pins; (pin = *at); at = &pin->next) {
		if (pin->va != (void *)((uintptr_t)va & ~(page - 1)))
			continue;
		set->cu->MemHostUnregister(pin->va);
		*at = pin->next;
		free(pin);
		return;
	}
}

/* ---- rings ------------------------------------------------------------------------------------ */

static size_t whole(size_t length, size_t unit)
{
	return (length + unit - 1) / unit * unit;
}

/*
 * Let the controller reach whole pages of the GPU at @va: *@table, which the caller frees, says where, as
 * @map counts. @why says what is missing.
 */
static int far_reach(const struct snvme_gpu_set *set, struct snvme_ctrl *ctrl, uint64_t va, size_t length,
		     uint64_t **table, struct snv_dma_map *map, uint32_t *handle, char *why, size_t size)
{
	int fd = -1, ret;

	if (!ctrl->ops->far_map)
		return snvme_why(why, size, -EOPNOTSUPP, "this controller does not reach memory of a GPU");
	*table = malloc(length / 4096 * sizeof(**table));
	if (!*table)
		return -ENOMEM;
	if (ctrl->ops->far_by_fd) {
		ret = snvme_cuda_export(set->cu, set->device, va, length, &fd, why, size);
		if (ret)
			return ret;
	}
	ret = ctrl->ops->far_map(ctrl, va, fd, length, *table, map, handle);
	map->addr = (const __u64 *)*table;
	if (fd >= 0)
		close(fd);
	if (ret == -ENOMEM && fd >= 0)
		snvme_why(why, size, ret, "%zu KiB of the GPU's memory, which shows %llu MiB in its BAR: %s", length >> 10,
		       snvme_cuda_window(set->cu, set->device) >> 20, snvme_strerror(ret));
	else if (ret)
		snvme_why(why, size, ret, "this controller does not reach memory of the GPU: %s",
		       ret == -EOPNOTSUPP && fd >= 0 ?
		       "a module without dma-buf, or an exporter that refuses (the kernel's log says which)" :
		       snvme_strerror(ret));
	return ret;
}

/* Memory that can be exported is not from a pool. */
static void far_free(const struct snvme_gpu_set *set, const struct snvme_ctrl *ctrl, uint64_t alloc)
{
	if (ctrl->ops->far_by_fd)
		set->cu->MemFree(alloc);
	else
		near_free(set, alloc);
}

/* @reason: REASON bytes for a sentence, if there is one. */
static int ring_make(struct snvme_gpu_set *set, struct snvme_ctrl *ctrl, size_t length,
		     struct ring_mem *mem, char *reason)
{
	int ret;

	if (set->opts.rings == SNVME_GPU_RINGS_DEVICE) {
		mem->length = whole(length, GPU_PAGE);
		if (!ctrl->ops->far_by_fd)
			mem->alloc = near_alloc(set, mem->length + GPU_PAGE);
		else if (set->cu->MemAlloc(&mem->alloc, mem->length + GPU_PAGE))
			mem->alloc = 0;
		if (!mem->alloc)
			return -ENOMEM;
		mem->at = whole(mem->alloc, GPU_PAGE);
		near_clear(set, mem->at, mem->length);
		ret = far_reach(set, ctrl, mem->at, mem->length, &mem->table, &mem->map, &mem->handle,
				reason, REASON);
		if (ret) {
			free(mem->table);
			far_free(set, ctrl, mem->alloc);
			*mem = (struct ring_mem){ 0 };
		}
		return ret;
	}
	mem->length = whole(length, ctrl->fixed.page_size);
	ret = ctrl->ops->ring_alloc(ctrl, mem->length, &mem->va, &mem->handle);
	if (ret)
		return ret;
	ret = reach(set, mem->va, mem->length, 0, &mem->at);
	if (ret) {
		ctrl->ops->ring_free(ctrl, mem->length, mem->va, mem->handle);
		mem->va = NULL;
	}
	return ret;
}

static void ring_unmake(struct snvme_gpu_set *set, struct snvme_ctrl *ctrl, struct ring_mem *mem)
{
	if (mem->va) {
		unreach(set, mem->va);
		ctrl->ops->ring_free(ctrl, mem->length, mem->va, mem->handle);
	} else if (mem->at) {
		ctrl->ops->far_unmap(ctrl, mem->at, mem->length, mem->handle);
		far_free(set, ctrl, mem->alloc);
		free(mem->table);
	}
	*mem = (struct ring_mem){ 0 };
}

/* A PRP list page for each identifier, where a transfer may need one. */
static int lists_make(struct snvme_gpu_set *set, struct snvme_ctrl *ctrl, struct pair *pair,
		      char *reason)
{
	uint32_t depth = set->opts.depth, page = ctrl->fixed.page_size;
	struct snv_prp_list *list;
	uint64_t at;
	int ret;

	if (set->opts.max_io <= page)
		return 0;
	list = calloc(depth, sizeof(*list));
	pair->list = near_alloc(set, depth * sizeof(*list));
	if (!list || !pair->list) {
		free(list);
		return -ENOMEM;
	}
	if (set->opts.rings == SNVME_GPU_RINGS_DEVICE) {
		ret = ring_make(set, ctrl, (size_t)depth * page, &pair->far_lists, reason);
		for (uint32_t i = 0; !ret && i < depth; i++) {
			list[i].va = (__le64 *)(uintptr_t)(pair->far_lists.at + (uint64_t)i * page);
			list[i].dma = snv_dma_addr(&pair->far_lists.map, (uint64_t)i * page);
		}
	} else {
		ret = snvme_mem_alloc(ctrl, (size_t)depth * page, &pair->lists);
		if (!ret)
			ret = reach(set, pair->lists->base, pair->lists->span, 0, &at);
		for (uint32_t i = 0; !ret && i < depth; i++) {
			list[i].va = (__le64 *)(uintptr_t)(at + (uint64_t)i * page);
			list[i].dma = snv_dma_addr(&pair->lists->map, (uint64_t)i * page);
		}
	}
	if (!ret)
		near_write(set, pair->list, list, depth * sizeof(*list));
	free(list);
	return ret;
}

/* All memory of a pair. */
static int pair_make(struct snvme_gpu_set *set, struct snvme_ctrl *ctrl, struct pair *pair,
		     char *reason)
{
	uint32_t depth = set->opts.depth;
	int ret = ring_make(set, ctrl, (depth + 1) * sizeof(struct snv_cqe), &pair->cq, reason);

	if (!ret)
		ret = ring_make(set, ctrl, (depth + 1) * sizeof(struct snv_sqe), &pair->sq, reason);
	if (!ret)
		ret = lists_make(set, ctrl, pair, reason);
	if (ret)
		return ret;
	pair->word = near_alloc(set, depth * sizeof(uint32_t));
	pair->ready = near_alloc(set, (depth + 1) * sizeof(uint32_t));
	return pair->word && pair->ready ? 0 : -ENOMEM;
}

static void pair_unmake(struct snvme_gpu_set *set, struct snvme_ctrl *ctrl, struct pair *pair)
{
	ring_unmake(set, ctrl, &pair->sq);
	ring_unmake(set, ctrl, &pair->cq);
	ring_unmake(set, ctrl, &pair->far_lists);
	if (pair->lists) {
		unreach(set, pair->lists->base);
		snvme_mem_release(pair->lists);
	}
	near_free(set, pair->word);
	near_free(set, pair->ready);
	near_free(set, pair->list);
}

/* ---- queues ----------------------------------------------------------------------------------- */

/* The same doorbell for the threads. */
static int far_db(struct snvme_gpu_set *set, struct snvme_ctrl *ctrl, struct snv_db *db)
{
	uint64_t at = ctrl->ops->far_doorbell ? ctrl->ops->far_doorbell(ctrl, db->mmio) : 0;
	/* Registers of a controller that the library does not run are a PCI device's. */
	unsigned int flags = ctrl->ops->reset ? 0 : SNV_CU_HOST_REGISTER_IOMEMORY;
	int ret = at && set->cu ? 0 : reach(set, db->mmio, sizeof(*db->mmio), flags, &at);

	if (ret)
		return ret;
	db->mmio = (__u32 *)(uintptr_t)at;
	if (!db->shadow)
		return 0;
	ret = reach(set, db->shadow, sizeof(*db->shadow), 0, &at);
	if (ret)
		return ret;
	db->shadow = (__u32 *)(uintptr_t)at;
	ret = reach(set, db->eventidx, sizeof(*db->eventidx), 0, &at);
	db->eventidx = (__u32 *)(uintptr_t)at;
	return ret;
}

static int queue_create(struct snvme_gpu_set *set, struct snvme_ctrl *ctrl, struct pair *pair,
			struct snvme_gpu_queue *q)
{
	struct snvme_queue_create arg = {
		.type = SNVME_QUEUE_CQ, .entries = set->opts.depth + 1, .mem = pair->cq.handle,
	};
	const uint32_t *state;
	uint64_t at;
	int ret;

	pthread_mutex_lock(&ctrl->lock);
	ret = ctrl->ops->queue_create(ctrl, &arg, &q->cq_db, &state);
	if (!ret) {
		pair->cq_handle = arg.handle;
		arg = (struct snvme_queue_create){
			.type = SNVME_QUEUE_SQ, .entries = set->opts.depth + 1,
			.mem = pair->sq.handle, .cq = arg.handle,
		};
		ret = ctrl->ops->queue_create(ctrl, &arg, &q->sq_db, &state);
	}
	if (!ret)
		pair->sq_handle = arg.handle;
	pthread_mutex_unlock(&ctrl->lock);
	if (!ret)
		ret = far_db(set, ctrl, &q->sq_db);
	if (!ret)
		ret = far_db(set, ctrl, &q->cq_db);
	if (!ret)
		/* The kernel's state page is for reading. */
		ret = reach(set, (void *)(uintptr_t)state, sizeof(*state),
			    ctrl->ops->reset ? 0 : SNV_CU_HOST_REGISTER_READ_ONLY, &at);
	if (!ret)
		q->state = (const __u32 *)(uintptr_t)at;
	return ret;
}

static int queue_destroy(struct snvme_ctrl *ctrl, struct pair *pair)
{
	int ret = 0;

	pthread_mutex_lock(&ctrl->lock);
	if (pair->sq_handle)
		ret = ctrl->ops->queue_destroy(ctrl, pair->sq_handle);
	if ((!ret || ret == -ENOENT) && pair->cq_handle)
		ret = ctrl->ops->queue_destroy(ctrl, pair->cq_handle);
	pthread_mutex_unlock(&ctrl->lock);
	if (ret && ret != -ENOENT)
		return ret;
	pair->sq_handle = 0;
	pair->cq_handle = 0;
	return 0;
}

static uint32_t common_divisor(uint32_t a, uint32_t b)
{
	return b ? common_divisor(b, a % b) : a;
}

/* Make the queue of @pair on rings as they were made, and tell the threads. */
static int queue_make(struct snvme_gpu_set *set, uint32_t index)
{
	struct snvme_ctrl *ctrl = set->ctrl[index / set->gpu.queues];
	struct pair *pair = &set->pair[index];
	uint32_t depth = set->opts.depth;
	struct snvme_gpu_queue q = {
		.sq = (struct snv_sqe *)(uintptr_t)pair->sq.at,
		.cq = (struct snv_cqe *)(uintptr_t)pair->cq.at,
		.live = set->live + index,
		.word = (__u32 *)(uintptr_t)pair->word,
		.ready = (__u32 *)(uintptr_t)pair->ready,
		.lists = (const struct snv_prp_list *)(uintptr_t)pair->list,
		.timeout_ns = set->opts.timeout_ms * 1000000ULL,
		.max_transfer = set->opts.max_io,
		.entries = depth + 1,
		.depth = depth,
		.page_shift = ctrl->page_shift,
		.nsid = set->opts.nsid,
		.lba_shift = set->gpu.lba_shift,
		.spread = set->gpu.queues,
	};
	int ret;

	while (1U << q.cid_bits < depth)
		q.cid_bits++;
	/* About the golden section: threads' own identifiers lie side by side, and are hopped over. */
	q.hop = depth * 5 / 8;
	while (common_divisor(q.hop, depth) != 1)
		q.hop++;
	near_clear(set, pair->cq.at, pair->cq.length);
	near_clear(set, pair->word, depth * sizeof(uint32_t));
	near_clear(set, pair->ready, (depth + 1) * sizeof(uint32_t));
	ret = queue_create(set, ctrl, pair, &q);
	if (ret)
		return ret;
	near_clear(set, (uintptr_t)q.live, sizeof(*q.live));
	near_write(set, (uintptr_t)&set->queue[index], &q, sizeof(q));
	return 0;
}

/* ---- opening ---------------------------------------------------------------------------------- */

static int open_driver(struct snvme_gpu_set *set, char *why, size_t size)
{
	int ret;

	set->cu = snvme_cuda_open(why, size);
	if (!set->cu)
		return -errno;
	ret = set->cu->DeviceGet(&set->device, set->opts.device);
	if (ret) {
		set->cu = NULL;
		return snvme_why(why, size, -ENODEV, "no GPU has the number %d", set->opts.device);
	}
	ret = set->cu->DevicePrimaryCtxRetain(&set->ctx, set->device);
	if (ret) {
		ret = cuda_error(set, ret, why, size);
		set->cu = NULL;
		return ret;
	}
	enter(set);
	ret = set->cu->StreamCreate(&set->stream, SNV_CU_STREAM_NON_BLOCKING);
	leave(set);
	return ret ? cuda_error(set, ret, why, size) : 0;
}

/* What the namespaces and controllers have in common. */
static int agree(struct snvme_gpu_set *set, char *why, size_t size)
{
	struct snvme_gpu_opts *o = &set->opts;
	uint64_t most = o->max_io ? o->max_io : DEFAULT_MAX_IO, each = 0;
	uint32_t depth = o->depth ? o->depth : DEFAULT_DEPTH, page;

	for (uint32_t i = 0; i < set->n; i++) {
		const struct snvme_ctrl *ctrl = set->ctrl[i];
		struct snvme_ns_info ns;
		int ret = snvme_get_ns(set->ctrl[i], o->nsid, &ns);

		if (ret)
			return snvme_why(why, size, ret, "SSD %u: its namespace: %s", i,
				      snvme_strerror(ret));
		if (ns.metadata_size)
			return snvme_why(why, size, -EOPNOTSUPP, "SSD %u: its blocks have metadata", i);
		if (i && (1U << set->gpu.lba_shift != ns.lba_size || o->nsid != ns.nsid))
			return snvme_why(why, size, -EINVAL,
				      "SSD %u: its namespace or block size is not the first's", i);
		o->nsid = ns.nsid;
		set->gpu.lba_shift = (uint32_t)__builtin_ctz(ns.lba_size);
		each = i && each < ns.blocks ? each : ns.blocks;
		page = ctrl->fixed.page_size;
		/* One list page: and one more page for a transfer that starts amid one. */
		if (most > ctrl->fixed.max_transfer || most > (uint64_t)page / 8 * page) {
			if (o->max_io)
				return snvme_why(why, size, -EINVAL, "max_io: SSD %u takes %llu bytes", i,
					      (unsigned long long)ctrl->fixed.max_transfer);
			most = ctrl->fixed.max_transfer;
		}
		if (depth > ctrl->fixed.max_entries - 1) {
			if (o->depth)
				return snvme_why(why, size, -EINVAL, "depth: SSD %u takes %u", i,
					      ctrl->fixed.max_entries - 1);
			depth = ctrl->fixed.max_entries - 1;
		}
	}
	o->depth = depth;
	o->max_io = (uint32_t)most;
	if (!o->timeout_ms)
		o->timeout_ms = 30000;
	if (!o->stripe)
		o->stripe = o->max_io;
	if (o->max_io >> set->gpu.lba_shift == 0 || o->stripe % (1U << set->gpu.lba_shift))
		return snvme_why(why, size, -EINVAL, "max_io and stripe: whole blocks, please");
	set->gpu.stripe = o->stripe >> set->gpu.lba_shift;
	if (set->n > 1 && !o->mirrored && set->gpu.stripe > each)
		return snvme_why(why, size, -EINVAL, "a stripe of %u bytes: longer than a namespace", o->stripe);
	set->gpu.max_nlb = o->max_io >> set->gpu.lba_shift;
	if (set->gpu.max_nlb > SNV_RW_CDW12_NLB + 1)
		set->gpu.max_nlb = SNV_RW_CDW12_NLB + 1;
	set->gpu.blocks = o->mirrored ? each : each / set->gpu.stripe * set->gpu.stripe * set->n;
	if (set->n == 1)
		set->gpu.blocks = each;
	set->gpu.layout = o->mirrored ? SNVME_GPU_MIRRORED : SNVME_GPU_STRIPED;
	set->gpu.ssds = set->n;
	set->gpu.queues = o->queues ? o->queues : 1;
	return 0;
}

static int make_all(struct snvme_gpu_set *set, char *why, size_t size)
{
	uint32_t pairs = set->n * set->gpu.queues;
	char reason[REASON] = "";
	uint64_t at;
	int ret = 0;

	set->pair = calloc(pairs, sizeof(*set->pair));
	at = near_alloc(set, pairs * (sizeof(*set->queue) + sizeof(*set->live)));
	set->queue = (struct snvme_gpu_queue *)(uintptr_t)at;
	set->live = (struct snvme_gpu_live *)(set->queue + pairs);
	set->gpu.queue = set->queue;
	set->handle = (struct snvme_gpu *)(uintptr_t)near_alloc(set, sizeof(*set->handle));
	if (!set->pair || !at || !set->handle)
		return snvme_why(why, size, -ENOMEM, "no memory for %u queues", pairs);
	near_write(set, (uintptr_t)set->handle, &set->gpu, sizeof(set->gpu));
	for (uint32_t i = 0; !ret && i < pairs; i++) {
		ret = pair_make(set, set->ctrl[i / set->gpu.queues], &set->pair[i], reason);
		if (!ret)
			ret = queue_make(set, i);
		if (ret)
			snvme_why(why, size, ret, "queue %u of SSD %u: %s", i % set->gpu.queues,
			       i / set->gpu.queues, *reason ? reason : snvme_strerror(ret));
	}
	return ret;
}

SNVME_API int snvme_gpu_open(struct snvme_ctrl *const *ctrl, unsigned int n,
			     const struct snvme_gpu_opts *opts, struct snvme_gpu_set **out, char *why,
			     size_t size)
{
	struct snvme_gpu_set *set;
	int ret;

	if (!n || n > SNVME_GPU_MAX_SSDS || opts->size != sizeof(*opts) ||
	    opts->rings > SNVME_GPU_RINGS_DEVICE || opts->device < SNVME_GPU_THREADS)
		return snvme_why(why, size, -EINVAL, "no such options");
	set = calloc(1, sizeof(*set));
	if (!set)
		return -ENOMEM;
	set->opts = *opts;
	set->n = n;
	memcpy(set->ctrl, ctrl, n * sizeof(*ctrl));
	if (opts->device == SNVME_GPU_THREADS)
		set->opts.rings = SNVME_GPU_RINGS_HOST;
	for (uint32_t i = 0; i < n; i++)
		if (set->ctrl[i]->ops->awake)
			set->ctrl[i]->ops->awake(set->ctrl[i], 1);
	ret = agree(set, why, size);
	if (!ret && opts->device != SNVME_GPU_THREADS)
		ret = open_driver(set, why, size);
	if (!ret) {
		enter(set);
		ret = make_all(set, why, size);
		leave(set);
	}
	if (ret)
		snvme_gpu_close(set);
	else
		*out = set;
	return ret;
}

SNVME_API const struct snvme_gpu *snvme_gpu_handle(const struct snvme_gpu_set *set)
{
	return set->handle;
}

SNVME_API int snvme_gpu_renew(struct snvme_gpu_set *set)
{
	const uint32_t dead = ENODEV;
	int ret = 0;

	enter(set);
	/* Should one not come back, nobody rings for it. */
	for (uint32_t i = 0; i < set->n * set->gpu.queues; i++)
		near_write(set, (uintptr_t)&set->live[i].dead, &dead, sizeof(dead));
	for (uint32_t i = 0; !ret && i < set->n * set->gpu.queues; i++)
		ret = queue_destroy(set->ctrl[i / set->gpu.queues], &set->pair[i]);
	for (uint32_t i = 0; !ret && i < set->n * set->gpu.queues; i++)
		ret = queue_make(set, i);
	leave(set);
	return ret;
}

SNVME_API void snvme_gpu_close(struct snvme_gpu_set *set)
{
	bool stuck = false;

	if (!set)
		return;
	enter(set);
	for (uint32_t i = 0; set->pair && i < set->n * set->gpu.queues; i++) {
		struct snvme_ctrl *ctrl = set->ctrl[i / set->gpu.queues];

		/* A controller that does not let go is reset, so that it does. */
		if (queue_destroy(ctrl, &set->pair[i]) && !snvme_reset(ctrl))
			queue_destroy(ctrl, &set->pair[i]);
		if (set->pair[i].sq_handle || set->pair[i].cq_handle)
			stuck = true;	/* it may still write there: better lost than overwritten */
		else
			pair_unmake(set, ctrl, &set->pair[i]);
	}
	while (set->regs)
		snvme_gpu_mem_release(set, set->regs->at);
	while (!stuck && set->pins)
		unreach(set, set->pins->va);
	near_free(set, (uintptr_t)set->queue);
	near_free(set, (uintptr_t)set->handle);
	if (set->stream) {
		set->cu->StreamSynchronize(set->stream);
		set->cu->StreamDestroy(set->stream);
	}
	leave(set);
	if (set->cu)
		set->cu->DevicePrimaryCtxRelease(set->device);
	for (uint32_t i = 0; i < set->n; i++)
		if (set->ctrl[i]->ops->awake)
			set->ctrl[i]->ops->awake(set->ctrl[i], -1);
	free(set->pair);
	free(set);
}

/* ---- memory for data -------------------------------------------------------------------------- */

/* Is @ptr memory of a GPU? */
static bool is_far(const struct snvme_gpu_set *set, const void *ptr)
{
	unsigned int type = 0;

	return set->cu && !set->cu->PointerGetAttribute(&type, SNV_CU_POINTER_MEMORY_TYPE,
							(uintptr_t)ptr) &&
	       type == SNV_CU_MEMORY_DEVICE;
}

static int map_for(struct snvme_gpu_set *set, struct reg *reg, uint32_t i,
		   struct snvme_gpu_mem *mem, uint64_t **table, char *why, size_t size)
{
	struct snvme_ctrl *ctrl = set->ctrl[i];
	struct snv_dma_map *map = &mem->map[i];
	int ret;

	if (reg->far)
		return far_reach(set, ctrl, reg->va, reg->length, table, map, &reg->handle[i], why, size);
	ret = snvme_mem_register(ctrl, (void *)(uintptr_t)reg->va, reg->length, &reg->mem[i]);
	if (ret)
		return ret;
	/* The table counts from where a page begins, as large as the machine or the controller has them. */
	if (reg->mem[i]->head)
		return snvme_why(why, size, -EINVAL, "SSD %u: memory begins with a page, here one of %u bytes", i,
			      1U << reg->mem[i]->map.page_shift);
	*map = reg->mem[i]->map;
	*table = malloc(map->pages * sizeof(**table));
	if (!*table)
		return -ENOMEM;
	memcpy(*table, reg->mem[i]->table, map->pages * sizeof(**table));
	return 0;
}

static void unmap_all(struct snvme_gpu_set *set, struct reg *reg)
{
	for (uint32_t i = 0; i < set->n; i++) {
		if (reg->handle[i])
			set->ctrl[i]->ops->far_unmap(set->ctrl[i], reg->va, reg->length,
						     reg->handle[i]);
		snvme_mem_release(reg->mem[i]);
	}
	if (!reg->far)
		unreach(set, (void *)(uintptr_t)reg->va);
	near_free(set, (uintptr_t)reg->table);
	near_free(set, (uintptr_t)reg->at);
	free(reg);
}

/* The tables of all SSDs, where the threads are. */
static int write_tables(struct snvme_gpu_set *set, struct reg *reg, struct snvme_gpu_mem *mem,
			uint64_t *const *table)
{
	uint64_t pages = 0, at;

	for (uint32_t i = 0; i < set->n; i++)
		pages += mem->map[i].pages;
	reg->table = (uint64_t *)(uintptr_t)near_alloc(set, pages * sizeof(uint64_t));
	reg->at = (struct snvme_gpu_mem *)(uintptr_t)near_alloc(set, sizeof(*mem));
	if (!reg->table || !reg->at)
		return -ENOMEM;
	at = (uintptr_t)reg->table;
	for (uint32_t i = 0; i < set->n; i++) {
		size_t bytes = mem->map[i].pages * sizeof(uint64_t);

		near_write(set, at, table[i], bytes);
		mem->map[i].addr = (const __u64 *)(uintptr_t)at;
		at += bytes;
	}
	near_write(set, (uintptr_t)reg->at, mem, sizeof(*mem));
	return 0;
}

SNVME_API int snvme_gpu_mem_register(struct snvme_gpu_set *set, void *ptr, size_t length,
				     const struct snvme_gpu_mem **out, char *why, size_t size)
{
	uint64_t *table[SNVME_GPU_MAX_SSDS] = { NULL }, at;
	struct snvme_gpu_mem mem = { .length = length };
	struct reg *reg = calloc(1, sizeof(*reg));
	int ret = 0;

	if (!reg)
		return -ENOMEM;
	enter(set);
	reg->va = (uintptr_t)ptr;
	reg->length = length;
	reg->far = is_far(set, ptr);
	/* Registered memory begins with a page: tables are by pages from there. */
	if (!length || (uintptr_t)ptr % 4096 || (reg->far && length % 4096))
		ret = snvme_why(why, size, -EINVAL, "memory begins, and a GPU's ends, with a page of 4 KiB");
	if (!ret && !reg->far) {
		ret = reach(set, ptr, length, 0, &at);
		if (ret || at != (uintptr_t)ptr)
			ret = snvme_why(why, size, -EIO, "the GPU's driver does not register this memory");
	}
	for (uint32_t i = 0; !ret && i < set->n; i++) {
		ret = map_for(set, reg, i, &mem, &table[i], why, size);
		if (ret && ret != -EINVAL && !reg->far)
			snvme_why(why, size, ret, "SSD %u: %s", i, snvme_strerror(ret));
	}
	if (!ret)
		ret = write_tables(set, reg, &mem, table);
	for (uint32_t i = 0; i < set->n; i++)
		free(table[i]);
	if (ret) {
		unmap_all(set, reg);
	} else {
		reg->next = set->regs;
		set->regs = reg;
		*out = reg->at;
	}
	leave(set);
	return ret;
}

SNVME_API void snvme_gpu_mem_release(struct snvme_gpu_set *set, const struct snvme_gpu_mem *mem)
{
	struct reg **at, *reg;

	for (at = &set->regs; (reg = *at); at = &reg->next) {
		if (reg->at != mem)
			continue;
		*at = reg->next;
		enter(set);
		unmap_all(set, reg);
		leave(set);
		return;
	}
}
