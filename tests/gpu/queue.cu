// SPDX-License-Identifier: MIT
/*
 * GPU threads against virtual SSDs. Every byte of a block tells its block and its generation; buffers are
 * poisoned before each read. Usage: queue [COMMANDS [TURNS]]: in
 * millions, 10 unless given; repetitions of what is rare, 5.
 */
#include "tap.h"
#include "rig.h"

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
		if (next(&x) % 2) {
			note(r, snvme_gpu_read(gpu, mem, at, lba, nlb));
		} else {
			struct snvme_gpu_queue *q = snvme_gpu_queue_of(gpu, 0);
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

static uint64_t run_mixed(struct rig *rig, uint32_t blocks, uint32_t threads, uint32_t rounds,
			  double seconds, const char *what)
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
	rig_cuda(cudaMallocAsync(&alloc, bytes + 4096, stream), "buffers");
	rig_cuda(cudaStreamSynchronize(stream), "buffers");
	buf = (char *)(((uintptr_t)alloc + 4095) & ~4095UL);
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
	cudaFreeAsync(alloc, stream);
	cudaStreamDestroy(stream);
	return done;
}

/* Completions that matched no command: there are none. */
static void diag_queues(struct rig *rig)
{
	struct snvme_gpu gpu;
	struct snvme_gpu_queue q;

	cudaMemcpyAsync(&gpu, rig->gpu, sizeof(gpu), cudaMemcpyDeviceToHost, rig->stream);
	cudaStreamSynchronize(rig->stream);
	for (uint32_t i = 0; i < gpu.ssds * gpu.queues; i++) {
		cudaMemcpyAsync(&q, &gpu.queue[i], sizeof(q), cudaMemcpyDeviceToHost, rig->stream);
		cudaStreamSynchronize(rig->stream);
		if (q.strays || q.dead)
			diag("queue %u: %u strays, dead %u, reserved %llu, published %llu, pending %u, reap %llx",
			     i, q.strays, q.dead, q.reserved, q.published, q.pending, q.reap);
	}
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

int main(int argc, char **argv)
{
	/* More of the one that shows best when an entry is rung for before it is written. */
	uint32_t turns = argc > 2 ? atoi(argv[2]) : 5;
	uint64_t wanted = (argc > 1 ? strtoull(argv[1], NULL, 10) : 10) * 1000000, commands = 0;
	struct rig rig;

	setenv("CUDA_MODULE_LOADING", "EAGER", 1);
	rig_cuda(cudaMallocHost(&result, sizeof(*result)), "CUDA");

	/* A kernel plays the SSD. */
	for (uint32_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]) + turns; i++) {
		const struct shape *s = &shapes[i < sizeof(shapes) / sizeof(shapes[0]) ? i : 3];

		rig_open_kernel(&rig, 512ULL << 20, s->lba_shift, s->queues, 512);
		rig_queues(&rig, opts(s->queues, s->depth, s->rings));
		run_mixed(&rig, s->blocks, s->threads, s->rounds, 60, s->what);
		diag_queues(&rig);
		rig_close(&rig);
	}
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
