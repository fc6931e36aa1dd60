// SPDX-License-Identifier: MIT
/*
 * GPU threads add two vectors that they read from an SSD while they add. Usage: gpu_add SSD [WORK]
 *
 * The vectors are what the SSD (as for gpu_grep) holds: its first half and its second, as numbers of 32
 * bits, 1 GiB of each at most. Each pair is added WORK times (200 unless given), for that to take about
 * as long as the reading. Times are of reading alone, adding alone, and both at once. The CPU checks the
 * sums. Nothing is written.
 */
#include "gpu.h"

#define PIECE	16384U				/* bytes that a thread reads at once, of each vector */
#define TILE	(32 * PIECE)			/* that a warp does */
#define PLACE	(4 * TILE)			/* of a warp: two vectors, two tiles of each, all in flight */
#define MOST	(1UL << 30)			/* bytes of a vector */

/* The commands of this lane for the warp's @tile, to the places of @slot. */
static __device__ int fetch(const struct snvme_gpu *gpu, const struct snvme_gpu_mem *mem, uint64_t tile,
			    uint32_t slot, struct snvme_gpu_token *token)
{
	uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32;
	const struct snvme_gpu_queue *q = snvme_gpu_queue_of(gpu, 0);
	struct snvme_gpu_io io = { SNV_OP_READ, 0, &mem->map[0] };
	int ret = 0;

	io.nlb = PIECE >> gpu->lba_shift;
	for (uint32_t i = 0; i < 2 && !ret; i++) {
		io.offset = (uint64_t)(thread / 32) * PLACE + (slot * 2 + i) * TILE + lane * PIECE;
		io.slba = i * (gpu->blocks / 2) + ((tile * TILE + lane * PIECE) >> gpu->lba_shift);
		ret = snvme_gpu_submit(q, &io, &token[i]);
	}
	return ret;
}

static __global__ void add(const struct snvme_gpu *gpu, const struct snvme_gpu_mem *mem, const char *base,
			   uint64_t tiles, bool read, uint32_t work, uint32_t *sum, int *error)
{
	uint32_t warp = (blockIdx.x * blockDim.x + threadIdx.x) / 32, warps = gridDim.x * blockDim.x / 32;
	const struct snvme_gpu_queue *q = snvme_gpu_queue_of(gpu, 0);
	const uint32_t *place = (const uint32_t *)(base + (uint64_t)warp * PLACE);
	struct snvme_gpu_token now[2], next[2];
	int ret = 0;

	if (read && warp < tiles)
		ret = fetch(gpu, mem, warp, 0, now);
	for (uint64_t tile = warp, turn = 0; tile < tiles; tile += warps, turn++) {
		const uint32_t *a = place + turn % 2 * 2 * TILE / 4, *b = a + TILE / 4;

		/* The next tile is on its way while this one is waited for, and added. */
		if (read && !ret && tile + warps < tiles)
			ret = fetch(gpu, mem, tile + warps, (turn + 1) % 2, next);
		for (uint32_t i = 0; read && !ret && i < 2; i++)
			ret = snvme_gpu_wait(q, now[i]);
		if (ret)
			atomicCAS(error, 0, ret);
		if (__any_sync(~0U, ret))
			return;
		for (uint32_t i = threadIdx.x % 32; work && i < TILE / 4; i += 32) {
			uint32_t x = a[i], y = b[i], s = 0;

			for (uint32_t k = 0; k < work; k++)
				asm volatile("add.u32 %0, %0, %1;" : "+r"(s) : "r"(x + y));
			sum[tile * (TILE / 4) + i] = s;
		}
		__syncwarp();
		memcpy(now, next, sizeof(now));
	}
}

/* Is @sum @work times the sum of what the CPU reads? */
static bool check(const struct ssd *ssd, const uint32_t *sum, uint64_t tiles, uint32_t work)
{
	uint32_t *buf = (uint32_t *)aligned_alloc(4096, 2 * TILE);
	uint64_t half = ssd->ns.blocks / 2 * ssd->ns.lba_size;
	struct snvme_queue *queue;
	struct snvme_mem *mem;
	bool same = true;

	must(snvme_queue_create(ssd->ctrl, NULL, &queue), "queue", "");
	must(snvme_mem_register(ssd->ctrl, buf, 2 * TILE, &mem), "memory", "");
	for (uint64_t tile = 0; tile < tiles; tile++) {
		must(snvme_read(queue, 0, buf, TILE, tile * TILE), "read", "");
		must(snvme_read(queue, 0, buf + TILE / 4, TILE, half + tile * TILE), "read", "");
		for (uint32_t i = 0; i < TILE / 4; i++)
			same &= sum[tile * (TILE / 4) + i] == work * (buf[i] + buf[TILE / 4 + i]);
	}
	snvme_queue_destroy(queue);
	snvme_mem_release(mem);
	free(buf);
	return same;
}

int main(int argc, char **argv)
{
	static const char *const names[] = { "reading", "adding", "both at once" };
	const uint32_t work = argc > 2 ? atoi(argv[2]) : 200, blocks = 24, threads = 32;
	struct ssd ssd = {};
	cudaEvent_t begin, end;
	uint32_t *sum, *near;
	uint64_t tiles;
	float ms = 0;
	int *error;
	bool same;

	must(argc < 2 || argc > 3 || !work, "usage", "gpu_add SSD [WORK]");
	must_cuda(cudaMallocHost(&error, sizeof(*error)));
	open_ssd(&ssd, argv[1], (size_t)blocks * threads / 32 * PLACE);
	tiles = (ssd.size / 2 < MOST ? ssd.size / 2 : MOST) / TILE;
	must_cuda(cudaMalloc(&sum, tiles * TILE));
	must_cuda(cudaEventCreate(&begin));
	must_cuda(cudaEventCreate(&end));
	for (int i = 0; i < 3; i++) {
		*error = 0;
		must_cuda(cudaEventRecord(begin));
		add<<<blocks, threads>>>(ssd.gpu, ssd.mem, ssd.buf, tiles, i != 1, i ? work : 0, sum, error);
		must_cuda(cudaEventRecord(end));
		must_cuda(cudaEventSynchronize(end));
		must(*error, "GPU", "");
		must_cuda(cudaEventElapsedTime(&ms, begin, end));
		printf("%-12s %8.2f ms, %6.2f GB/s\n", names[i], ms, 2.0 * tiles * TILE / ms / 1e6);
	}
	near = (uint32_t *)malloc(tiles * TILE);
	must_cuda(cudaMemcpy(near, sum, tiles * TILE, cudaMemcpyDeviceToHost));
	same = check(&ssd, near, tiles, work);
	printf("the CPU's sums are %s\n", same ? "the same" : "others");
	close_ssd(&ssd);
	return !same;
}
