// SPDX-License-Identifier: MIT
/*
 * GPU threads look for a word in an SSD, which they read themselves. Usage: gpu_grep SSD WORD
 *
 * SSD as for the snvme tool: a disk under the kernel's driver (/dev/nvme0n1), or a virtual one over a file
 * (vssd:file=DATA,gpu=0). Says how often the word occurs; the CPU counts, too. Nothing is written.
 */
#include <time.h>

#include "gpu.h"

#define PIECE	16384U			/* bytes that a thread reads at once */
#define PIECES	32U			/* a warp reads as many; the last one overlaps the next warp's */
#define STRIDE	((PIECES - 1) * PIECE)
#define WORD	64U			/* longest word */

struct word {
	char text[WORD];
	uint32_t length;
};

static __global__ void grep(const struct snvme_gpu *gpu, const struct snvme_gpu_mem *mem, const char *base,
			    struct word word, unsigned long long *count, int *error)
{
	uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % PIECES;
	uint32_t warp = thread / PIECES, warps = gridDim.x * blockDim.x / PIECES;
	uint64_t size = gpu->blocks << gpu->lba_shift, place = (uint64_t)warp * PIECES * PIECE, hits = 0;
	const char *text = base + place;

	for (uint64_t at = (uint64_t)warp * STRIDE; at < size; at += (uint64_t)warps * STRIDE) {
		uint64_t mine = at + lane * PIECE;
		uint32_t end = size - at < PIECES * PIECE ? size - at : PIECES * PIECE;
		int ret = 0;

		/* The commands of a warp take one doorbell store. */
		if (mine < size)
			ret = snvme_gpu_read(gpu, mem, place + lane * PIECE, mine >> gpu->lba_shift,
					     (size - mine < PIECE ? size - mine : PIECE) >> gpu->lba_shift);
		if (ret)
			atomicCAS(error, 0, ret);
		__syncwarp();
		for (uint32_t i = lane; i < STRIDE && i + word.length <= end; i += PIECES) {
			uint32_t k = 0;

			while (k < word.length && text[i + k] == word.text[k])
				k++;
			hits += k == word.length;
		}
		__syncwarp();
	}
	atomicAdd(count, hits);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec * 1e-9;
}

/* The same, by one thread of the CPU through a queue of its own. */
static unsigned long long count_here(const struct ssd *ssd, const struct word *word)
{
	const uint64_t most = 16 << 20;
	unsigned long long hits = 0;
	struct snvme_queue *queue;
	struct snvme_mem *mem;
	char *buf = (char *)aligned_alloc(4096, most);

	must(snvme_queue_create(ssd->ctrl, NULL, &queue), "queue", "");
	must(snvme_mem_register(ssd->ctrl, buf, most, &mem), "memory", "");
	for (uint64_t at = 0; at < ssd->size; at += most - PIECE) {
		uint64_t n = ssd->size - at < most ? ssd->size - at : most;
		char *p = buf;

		must(snvme_read(queue, 0, buf, n, at), "read", "");
		/* What begins in the last piece is found from the next place on. */
		while ((p = (char *)memmem(p, buf + n - p, word->text, word->length)) &&
		       p < buf + most - PIECE) {
			hits++;
			p++;
		}
	}
	snvme_queue_destroy(queue);
	snvme_mem_release(mem);
	free(buf);
	return hits;
}

int main(int argc, char **argv)
{
	const uint32_t blocks = 64, threads = 128;
	unsigned long long *count, here;
	struct word word = {};
	struct ssd ssd = {};
	double start;
	int *error;

	must(argc != 3 || !*argv[2] || strlen(argv[2]) > WORD, "usage", "gpu_grep SSD WORD (1 to 64 bytes)");
	word.length = strlen(argv[2]);
	memcpy(word.text, argv[2], word.length);
	must_cuda(cudaMallocHost(&count, sizeof(*count)));
	must_cuda(cudaMallocHost(&error, sizeof(*error)));
	*count = *error = 0;
	open_ssd(&ssd, argv[1], (size_t)blocks * threads * PIECE);
	start = now();
	grep<<<blocks, threads>>>(ssd.gpu, ssd.mem, ssd.buf, word, count, error);
	must_cuda(cudaDeviceSynchronize());
	must(*error, "GPU", "");
	printf("GPU: %llu times, %.2f GB/s\n", *count, ssd.size / (now() - start) * 1e-9);
	start = now();
	here = count_here(&ssd, &word);
	printf("CPU: %llu times, %.2f GB/s\n", here, ssd.size / (now() - start) * 1e-9);
	close_ssd(&ssd);
	return here != *count;
}
