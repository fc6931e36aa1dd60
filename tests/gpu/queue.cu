// SPDX-License-Identifier: MIT
/*
 * GPU threads against virtual SSDs. Every byte of a block tells its block and its generation; buffers are
 * poisoned before each read. Usage: queue [COMMANDS [TURNS]]: commands in millions, 10 unless given;
 * repetitions of what is rare, 5. With 0 commands, a small run for compute-sanitizer, against threads of the
 * host, or, with TURNS, against a kernel.
 */
#include <cuda.h>
#include <sys/stat.h>

#include "tap.h"
#include "rig.h"

extern "C" {
#include "../../gpu/cuda.h"
}

#define BLOCK	4096U
#define MOST	8U		/* blocks of a thread's buffer */

struct result {
	unsigned long long commands;
	unsigned long long bad_status;
	unsigned long long bad_data;
	int first_status;
};

static __device__ uint32_t next(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

static __device__ uint4 quad_of(uint64_t lba, uint32_t generation, uint32_t i)
{
	uint32_t a = (uint32_t)lba * 2654435761U ^ generation, b = (uint32_t)(lba >> 32) + i;

	return make_uint4(a + b, a ^ b, b * 40503U + a, ~a + 3 * b);
}

static __device__ void fill(uint4 *buf, uint64_t lba, uint32_t nlb, uint32_t lba_size,
			    uint32_t generation)
{
	for (uint32_t b = 0; b < nlb; b++)
		for (uint32_t i = 0; i < lba_size / 16; i++)
			*buf++ = quad_of(lba + b, generation, i);
}

static __device__ bool check(const uint4 *buf, uint64_t lba, uint32_t nlb, uint32_t lba_size,
			     uint32_t generation)
{
	for (uint32_t b = 0; b < nlb; b++) {
		for (uint32_t i = 0; i < lba_size / 16; i++, buf++) {
			uint4 want = quad_of(lba + b, generation, i), got = __ldcv(buf);

			if (want.x != got.x || want.y != got.y || want.z != got.z || want.w != got.w)
				return false;
		}
	}
	return true;
}

static __device__ void note(struct result *r, int status)
{
	atomicAdd(&r->commands, 1ULL);
	if (!status)
		return;
	atomicAdd(&r->bad_status, 1ULL);
	atomicCAS(&r->first_status, 0, status);
}

/*
 * Each thread has blocks and a buffer of its own: writes, poisons, reads, compares, in random places
 * and sizes; half of the reads by tokens, several under way.
 */
static __global__ void mixed(const struct snvme_gpu *gpu, const struct snvme_gpu_mem *mem, char *base,
			     uint32_t rounds, uint32_t seed, struct result *r)
{
	uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x, threads = gridDim.x * blockDim.x;
	uint32_t lba_size = 1U << gpu->lba_shift, x = thread * 747796405U + seed + 1;
	uint64_t mine = gpu->blocks / threads, first = mine * thread;
	uint64_t at = (uint64_t)thread * MOST * BLOCK;
	uint32_t most = MOST * BLOCK / lba_size;
	uint4 *buf = (uint4 *)(base + at);

	if (most > mine)
		most = (uint32_t)mine;
	for (uint32_t round = 1; round <= rounds; round++) {
		uint32_t nlb = next(&x) % (next(&x) % 4 ? 2 : most) + 1;
		uint64_t lba = first + next(&x) % (mine - nlb + 1);

		fill(buf, lba, nlb, lba_size, round);
		note(r, snvme_gpu_write(gpu, mem, at, lba, nlb));
		for (uint32_t i = 0; i < nlb * lba_size / 16; i++)
			buf[i] = make_uint4(0xdeadbeef, round, thread, i);
		if (gpu->ssds > 1 || next(&x) % 2) {
			note(r, snvme_gpu_read(gpu, mem, at, lba, nlb));
		} else {
			const struct snvme_gpu_queue *q = snvme_gpu_queue_of(gpu, 0);
			struct snvme_gpu_token token[MOST];
			struct snvme_gpu_io io = {};
			uint32_t sent = 0, n = nlb < MOST ? nlb : MOST;

			/* In pieces: the last takes what is left. */
			io.opcode = SNV_OP_READ;
			io.map = &mem->map[0];
			for (uint32_t i = 0; i < n; i++) {
				io.offset = at + (uint64_t)i * lba_size;
				io.slba = lba + i;
				io.nlb = i + 1 == n ? nlb - i : 1;
				int ret = snvme_gpu_submit(q, &io, &token[sent]);

				if (!ret) {
					sent++;
					continue;
				}
				/* Who waits for a place holds none. */
				while (sent)
					note(r, snvme_gpu_wait(q, token[--sent]));
				note(r, ret == -EAGAIN ? snvme_gpu_do(q, &io) : ret);
			}
			for (uint32_t i = 0; i < sent; i++)
				note(r, snvme_gpu_wait(q, token[i]));
		}
		if (!check(buf, lba, nlb, lba_size, round))
			atomicAdd(&r->bad_data, 1ULL);
	}
}

/* Pinned before anything runs. */
static struct result *result;

/* @host: pinned memory for the data, as much as they need; NULL: memory of the GPU. */
static uint64_t run_mixed(struct rig *rig, uint32_t blocks, uint32_t threads, uint32_t rounds,
			  double seconds, const char *what, char *host = NULL)
{
	size_t bytes = (size_t)blocks * threads * MOST * BLOCK;
	struct result *r = result;
	const struct snvme_gpu_mem *mem;
	cudaStream_t stream;
	uint64_t done;
	char *alloc, *buf;

	memset(r, 0, sizeof(*r));
	rig_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
	/* Nothing here may wait for the kernel that plays the SSD. */
	if (!host)
		rig_cuda(cudaMallocAsync(&alloc, bytes + 4096, stream), "buffers");
	rig_cuda(cudaStreamSynchronize(stream), "buffers");
	buf = host ? host : (char *)(((uintptr_t)alloc + 4095) & ~4095UL);
	mem = rig_mem(rig, buf, bytes);
	mixed<<<blocks, threads, 0, stream>>>(rig->gpu, mem, buf, rounds, 1, r);
	rig_cuda(cudaGetLastError(), what);
	rig_wait(stream, seconds, what);
	done = r->commands;
	ok(!r->bad_status && !r->bad_data, "%s: %u threads, %llu commands", what, blocks * threads,
	   r->commands);
	if (r->bad_status || r->bad_data)
		diag("%llu failed (first: %d), %llu with wrong data", r->bad_status,
		     r->first_status, r->bad_data);
	snvme_gpu_mem_release(rig->set, mem);
	if (!host)
		cudaFreeAsync(alloc, stream);
	cudaStreamDestroy(stream);
	return done;
}

/* Completions that matched no command: there are none. */
static void check_strays(struct rig *rig)
{
	cudaStream_t stream;
	uint32_t strays = 0, dead = 0;
	struct snvme_gpu_queue q;
	struct snvme_gpu_live live;
	struct snvme_gpu gpu;

	rig_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
	cudaMemcpyAsync(&gpu, rig->gpu, sizeof(gpu), cudaMemcpyDeviceToHost, stream);
	cudaStreamSynchronize(stream);
	for (uint32_t i = 0; i < gpu.ssds * gpu.queues; i++) {
		cudaMemcpyAsync(&q, &gpu.queue[i], sizeof(q), cudaMemcpyDeviceToHost, stream);
		cudaStreamSynchronize(stream);
		cudaMemcpyAsync(&live, q.live, sizeof(live), cudaMemcpyDeviceToHost, stream);
		cudaStreamSynchronize(stream);
		strays += live.strays;
		dead += live.dead;
		if (live.strays || live.dead)
			diag("queue %u: %u strays, dead %u, reserved %llu, posted %llx, head %llx", i,
			     live.strays, live.dead, live.reserved, live.posted, live.head);
	}
	cudaStreamDestroy(stream);
	is(strays + dead, 0, "no completion went astray");
}

static struct snvme_gpu_opts opts(uint32_t queues, uint32_t depth, uint32_t rings)
{
	struct snvme_gpu_opts o = {};

	o.queues = queues;
	o.depth = depth;
	o.rings = rings;
	o.timeout_ms = 20000;
	return o;
}

struct shape {
	const char *what;
	uint32_t lba_shift;
	uint32_t queues;
	uint32_t depth;
	uint32_t rings;
	uint32_t blocks;
	uint32_t threads;
	uint32_t rounds;
};

static const struct shape shapes[] = {
	{ "one thread", 12, 1, 1023, SNVME_GPU_RINGS_DEVICE, 1, 1, 200 },
	{ "a warp but for one lane", 12, 1, 1023, SNVME_GPU_RINGS_DEVICE, 1, 31, 100 },
	{ "one queue", 12, 1, 1023, SNVME_GPU_RINGS_DEVICE, 8, 128, 100 },
	{ "rings in the host's memory", 12, 8, 255, SNVME_GPU_RINGS_HOST, 8, 128, 100 },
	{ "three queues of depth 5", 12, 3, 5, SNVME_GPU_RINGS_DEVICE, 8, 128, 20 },
	{ "depth 1", 12, 1, 1, SNVME_GPU_RINGS_DEVICE, 1, 64, 20 },
	{ "16,384 threads on one queue", 12, 1, 1023, SNVME_GPU_RINGS_DEVICE, 64, 256, 5 },
	{ "blocks of 512 bytes", 9, 4, 1023, SNVME_GPU_RINGS_DEVICE, 16, 64, 50 },
};

/* Blocks of a warp go to several SSDs at once. */
static void test_several(void)
{
	struct snvme_gpu_opts o = opts(2, 255, SNVME_GPU_RINGS_DEVICE);
	struct rig rig;

	o.stripe = 4096;
	rig_open_kernels(&rig, 3, 256ULL << 20, 12, 2, 256);
	rig_queues(&rig, o);
	run_mixed(&rig, 8, 128, 50, 60, "three SSDs, striped");
	check_strays(&rig);
	rig_close(&rig);

	o.mirrored = 1;
	rig_open_kernels(&rig, 3, 256ULL << 20, 12, 2, 256);
	rig_queues(&rig, o);
	run_mixed(&rig, 8, 128, 50, 60, "three SSDs, mirrored");
	check_strays(&rig);
	is(memcmp(rig.one[0].storage, rig.one[1].storage, 256U << 20) |
	   memcmp(rig.one[0].storage, rig.one[2].storage, 256U << 20), 0, "all hold the same");
	rig_close(&rig);
}

/* ---- what goes wrong -------------------------------------------------------------------------- */

/* Each thread reads block @lba, or past the end if its number is odd and @odd. ret[]: what it was told. */
static __global__ void one_each(const struct snvme_gpu *gpu, const struct snvme_gpu_mem *mem, bool odd,
				int *ret)
{
	uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x;
	struct snvme_gpu_io io = {};

	io.opcode = SNV_OP_READ;
	io.map = &mem->map[0];
	io.slba = odd && thread % 2 ? gpu->blocks : thread;
	io.nlb = 1;
	ret[thread] = snvme_gpu_do(snvme_gpu_queue_of(gpu, 0), &io);
}

#define EACH	96

/* How many threads were told @even, or @uneven, by their numbers. */
static uint32_t told(const int *ret, int even, int uneven)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < EACH; i++)
		n += ret[i] == (i % 2 ? uneven : even);
	return n;
}

static void test_faults(int *ret)
{
	struct snvme_gpu_opts o = opts(1, 40, SNVME_GPU_RINGS_DEVICE);
	const struct snvme_gpu_mem *mem;
	cudaStream_t stream;
	struct rig rig;
	char *buf;

	o.timeout_ms = 300;
	rig_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
	rig_cuda(cudaMalloc(&buf, 1U << 20), "buffer");
	rig_open_kernel(&rig, 16ULL << 20, 12, 1, 64);
	rig_queues(&rig, o);
	mem = rig_mem(&rig, buf, 1U << 20);
	one_each<<<1, EACH, 0, stream>>>(rig.gpu, mem, true, ret);
	rig_wait(stream, 10, "statuses");
	is(told(ret, 0, SNV_SC_LBA_RANGE), EACH, "a status reaches who asked, and no other lane");

	/* Nobody serves the queue any more. */
	rig.one[0].deaf = true;
	is(snvme_gpu_renew(rig.set), 0, "made anew");
	one_each<<<1, EACH, 0, stream>>>(rig.gpu, mem, false, ret);
	rig_wait(stream, 10, "a deadline");
	is(told(ret, -ETIMEDOUT, -ETIMEDOUT), EACH, "a deadline ends all waits");
	one_each<<<1, EACH, 0, stream>>>(rig.gpu, mem, false, ret);
	rig_wait(stream, 10, "a dead queue");
	is(told(ret, -ETIMEDOUT, -ETIMEDOUT), EACH, "and those that begin after it");
	rig_close(&rig);

	o.timeout_ms = 20000;
	rig_open_kernel(&rig, 16ULL << 20, 12, 1, 64);
	rig.one[0].deaf = true;
	rig_queues(&rig, o);
	mem = rig_mem(&rig, buf, 1U << 20);
	one_each<<<1, EACH, 0, stream>>>(rig.gpu, mem, false, ret);
	usleep(50000);
	is(cudaStreamQuery(stream), cudaErrorNotReady, "they wait");
	is(snvme_reset(rig.ctrl[0]), 0, "a reset");
	rig_wait(stream, 10, "a reset");
	is(told(ret, -ECONNRESET, -ECONNRESET), EACH, "ends all waits");
	rig.one[0].deaf = false;
	is(snvme_gpu_renew(rig.set), 0, "made anew");
	one_each<<<1, EACH, 0, stream>>>(rig.gpu, mem, false, ret);
	rig_wait(stream, 10, "after a reset");
	is(told(ret, 0, 0), EACH, "all are well");
	rig_close(&rig);
	cudaFree(buf);
	cudaStreamDestroy(stream);
}

/* Memory of the GPU as a dma-buf, which is how a real SSD gets to it. */
static void test_export(void)
{
	const size_t length = 2U << 20;
	char why[256] = "";
	const struct snvme_cuda *cu = snvme_cuda_open(why, sizeof(why));
	CUmemGenericAllocationHandle handle;
	CUmemAllocationProp prop = {};
	CUmemAccessDesc access = {};
	CUdeviceptr va = 0;
	struct stat st;
	void *ptr;
	int fd = -1, ret;

	ok(cu != NULL, "the driver is there%s%s", *why ? ": " : "", why);
	/* 16 MiB are the BAR of the registers, 256 the smallest of the memory. */
	ok(snvme_cuda_window(cu, 0) >= 256U << 20, "its BAR shows %llu MiB", snvme_cuda_window(cu, 0) >> 20);
	rig_cuda(cudaMalloc(&ptr, 2 * length), "memory");
	ret = snvme_cuda_export(cu, 0, (snv_cu_ptr)ptr + 65536, length, &fd, why, sizeof(why));
	if (!is(ret, 0, "a part of an allocation is a dma-buf"))
		diag("%s", why);
	ok(!ret && !fstat(fd, &st) && lseek(fd, 0, SEEK_END) == (off_t)length, "of its size");
	if (!ret)
		close(fd);
	is(snvme_cuda_export(cu, 0, (snv_cu_ptr)ptr + 16, 4096, &fd, why, sizeof(why)), -EOPNOTSUPP,
	   "not from amid a page: %s", why);
	is(snvme_cuda_export(cu, 0, (snv_cu_ptr)ptr, 4 * length, &fd, why, sizeof(why)), -EOPNOTSUPP,
	   "not past its end: %s", why);
	ok(strstr(why, "BAR") != NULL, "with what there is to reach");
	cudaFree(ptr);

	prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
	prop.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
	prop.allocFlags.gpuDirectRDMACapable = 1;
	access.location = prop.location;
	access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
	ret = cuMemCreate(&handle, length, &prop, 0) || cuMemAddressReserve(&va, length, 0, 0, 0) ||
	      cuMemMap(va, length, 0, handle, 0) || cuMemSetAccess(va, length, &access, 1);
	is(ret, 0, "memory by mapping");
	ret = snvme_cuda_export(cu, 0, va, length, &fd, why, sizeof(why));
	if (is(ret, 0, "is a dma-buf, too"))
		close(fd);
	else
		diag("%s", why);
	cuMemUnmap(va, length);
	cuMemAddressFree(va, length);
	cuMemRelease(handle);

	rig_cuda(cudaMallocAsync(&ptr, length, 0), "memory");
	rig_cuda(cudaStreamSynchronize(0), "memory");
	ret = snvme_cuda_export(cu, 0, (snv_cu_ptr)ptr, length, &fd, why, sizeof(why));
	ok(!ret || *why, "memory of a pool: %s", ret ? why : "yes");
	if (!ret)
		close(fd);
	cudaFreeAsync(ptr, 0);
	cudaStreamSynchronize(0);
}

/*
 * Few commands, for compute-sanitizer. It takes what is allocated while a kernel runs for unallocated, which
 * is all that a persistent kernel works on, and lets no copy pass by a kernel: so all is in pinned
 * memory, and the host's threads play the SSD, but for racecheck, which looks at shared memory alone.
 * And it keeps lanes waiting whose warp is elsewhere: so those that part are warps of their own.
 */
static int test_small(bool kernel, int *ret)
{
	enum { WARPS = 24 };
	const struct snvme_gpu_mem *mem;
	struct rig rig;
	char *buf;

	/* compute-sanitizer's memory does not begin with a page. */
	rig_cuda(cudaMallocHost(&buf, (size_t)WARPS * MOST * BLOCK + 4096), "buffers");
	buf = (char *)(((uintptr_t)buf + 4095) & ~(uintptr_t)4095);
	if (kernel)
		rig_open_kernel(&rig, 64ULL << 20, 12, 1, 64);
	else
		rig_open_threads(&rig, "vssd:ram,size=64M,lba=4096");
	rig_queues(&rig, opts(1, 1000, kernel ? SNVME_GPU_RINGS_DEVICE : SNVME_GPU_RINGS_HOST));
	run_mixed(&rig, WARPS, 1, 10, 100, "a few", buf);
	mem = rig_mem(&rig, buf, (size_t)WARPS * MOST * BLOCK);
	one_each<<<1, EACH>>>(rig.gpu, mem, false, ret);
	rig_wait(0, 100, "whole warps");
	is(told(ret, 0, 0), EACH, "whole warps");
	check_strays(&rig);
	rig_close(&rig);
	return ::done();
}

int main(int argc, char **argv)
{
	/* More of the one that shows best when an entry is rung for before it is written. */
	uint32_t turns = argc > 2 ? atoi(argv[2]) : 5;
	uint64_t wanted = (argc > 1 ? strtoull(argv[1], NULL, 10) : 10) * 1000000, commands = 0;
	struct rig rig;
	int *ret;

	setenv("CUDA_MODULE_LOADING", "EAGER", 1);
	rig_cuda(cudaMallocHost(&result, sizeof(*result)), "CUDA");
	rig_cuda(cudaMallocHost(&ret, EACH * sizeof(*ret)), "CUDA");
	if (!wanted)
		return test_small(argc > 2, ret);

	/* A kernel plays the SSD. */
	for (uint32_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]) + turns; i++) {
		const struct shape *s = &shapes[i < sizeof(shapes) / sizeof(shapes[0]) ? i : 3];

		rig_open_kernel(&rig, 512ULL << 20, s->lba_shift, s->queues, 512);
		rig_queues(&rig, opts(s->queues, s->depth, s->rings));
		run_mixed(&rig, s->blocks, s->threads, s->rounds, 60, s->what);
		check_strays(&rig);
		rig_close(&rig);
	}
	test_export();
	test_several();
	test_faults(ret);
	rig_open_kernel(&rig, 1ULL << 30, 12, 8, 512);
	rig_queues(&rig, opts(8, 1000, SNVME_GPU_RINGS_DEVICE));
	for (uint32_t i = 0; commands < wanted && i < 1000; i++)
		commands += run_mixed(&rig, 32, 256, 100, 120, "in bulk");
	rig_close(&rig);

	/* Threads of the host play it: data go through the copy engine. */
	rig_open_threads(&rig, "vssd:ram,size=1G,lba=4096,gpu=0,threads=4");
	rig_queues(&rig, opts(4, 1023, SNVME_GPU_RINGS_HOST));
	run_mixed(&rig, 1, 1, 100, 20, "host threads, one thread");
	run_mixed(&rig, 16, 128, 30, 60, "host threads");
	rig_close(&rig);
	return ::done();
}
