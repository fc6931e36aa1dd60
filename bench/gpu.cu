// SPDX-License-Identifier: MIT
/*
 * GPU threads on virtual SSDs, beside what the machine can do without them. Usage: gpu JSON [SCALE]
 *
 * Every block read is looked at: its first and last word must tell the block. Prints a table, and
 * writes the rows as JSON.
 */
#include "rig.h"

static FILE *json;
static bool more;

static void row(const char *what, const char *who, const char *metric, double value, const char *unit)
{
	printf("%-52s %-10s %-7s %12.2f %s\n", what, who, metric, value, unit);
	fflush(stdout);
	fprintf(json, "%s\n{\"case\": \"%s\", \"who\": \"%s\", \"metric\": \"%s\", \"value\": %.4f, \"unit\": \"%s\"}",
		more ? "," : "", what, who, metric, value, unit);
	more = true;
}

/* ---- the machine's own figures ---------------------------------------------------------------- */

static __device__ __forceinline__ uint32_t mix(uint32_t x)
{
	x ^= x >> 16;
	x *= 0x7feb352dU;
	x ^= x >> 15;
	x *= 0x846ca68bU;
	return x ^ x >> 16;
}

/* Copies blocks of @quads x 16 bytes between random places of pinned memory and a place in VRAM each. */
static __global__ void plain(uint4 *pinned, uint4 *vram, uint32_t blocks, uint32_t quads, uint32_t rounds,
			     bool write)
{
	uint32_t warp = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
	uint4 *here = vram + (size_t)warp * quads;

	for (uint32_t r = 0; r < rounds; r++) {
		uint4 *there = pinned + (size_t)(mix(warp * 7919 + r) % blocks) * quads;

		for (uint32_t i = lane; i < quads; i += 128) {
			uint4 v[4];

			for (uint32_t k = 0; k < 4; k++)
				if (i + 32 * k < quads)
					v[k] = write ? here[i + 32 * k] : __ldcv(&there[i + 32 * k]);
			for (uint32_t k = 0; k < 4; k++) {
				if (i + 32 * k >= quads)
					continue;
				if (write)
					there[i + 32 * k] = v[k];
				else
					here[i + 32 * k] = v[k];
			}
		}
	}
}

static cudaStream_t stream;
static cudaEvent_t begin_event, end_event;

static double elapsed(const char *what)
{
	float ms = 0;

	rig_wait(stream, 60, what);
	rig_cuda(cudaEventElapsedTime(&ms, begin_event, end_event), what);
	return ms * 1e-3;
}

/* Blocks per second. */
static double machine(void *pinned, size_t bytes, uint32_t block, bool write, const char *what)
{
	uint32_t warps = 132 * 16, rounds = block > 1024 ? 200 : 2000;
	uint4 *vram;
	double s;

	rig_cuda(cudaMalloc(&vram, (size_t)warps * block), what);
	for (int warm = 0; warm < 2; warm++) {
		cudaEventRecord(begin_event, stream);
		plain<<<132, 512, 0, stream>>>((uint4 *)pinned, vram, (uint32_t)(bytes / block), block / 16,
					       rounds, write);
		cudaEventRecord(end_event, stream);
		s = elapsed(what);
	}
	cudaFree(vram);
	row(what, "SM", "iops", (double)warps * rounds / s / 1e6, "M/s");
	return (double)warps * rounds / s;
}

/* ---- commands --------------------------------------------------------------------------------- */

struct tally {
	unsigned long long failed;
	unsigned long long wrong;
	int first;
};

/* Each thread: @rounds commands of @nlb blocks each, one at a time. */
static __global__ void commands(const struct snvme_gpu *gpu, const struct snvme_gpu_mem *mem, char *base,
				uint32_t rounds, uint32_t nlb, bool write, bool check, bool sequential,
				struct tally *tally)
{
	uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x, threads = gridDim.x * blockDim.x;
	struct snvme_gpu_queue *q = snvme_gpu_queue_of(gpu, 0);
	uint32_t bytes = nlb << gpu->lba_shift;
	uint64_t places = gpu->blocks / nlb;
	struct snvme_gpu_io io = {};

	io.opcode = write ? SNV_OP_WRITE : SNV_OP_READ;
	io.map = &mem->map[0];
	io.offset = mem->length > bytes ? (uint64_t)thread * bytes : 0;
	io.nlb = nlb;
	for (uint32_t r = 0; r < rounds; r++) {
		int ret;

		io.slba = (sequential ? ((uint64_t)r * threads + thread) :
			   mix(thread * 7919 + r)) % places * nlb;
		ret = snvme_gpu_do(q, &io);
		if (ret) {
			atomicAdd(&tally->failed, 1ULL);
			atomicCAS(&tally->first, 0, ret);
		} else if (check) {
			const uint64_t *buf = (const uint64_t *)(base + io.offset);

			if (__ldcv(buf) != io.slba || __ldcv(buf + bytes / 8 - 1) != io.slba + nlb - 1)
				atomicAdd(&tally->wrong, 1ULL);
		}
	}
}

static struct tally *tally;

struct load {
	const char *what;
	uint32_t blocks;	/* of threads */
	uint32_t threads;
	uint32_t rounds;
	uint32_t nlb;
	bool write;
	bool check;
	bool sequential;
};

/* Commands per second. */
static double drive(struct rig *rig, const struct load *l, const char *who)
{
	size_t bytes = ((size_t)l->nlb << 12) * l->blocks * l->threads;
	const struct snvme_gpu_mem *mem;
	char *alloc, *buf;
	double s = 0;

	rig_cuda(cudaMallocAsync(&alloc, bytes + 4096, stream), l->what);
	rig_cuda(cudaMemsetAsync(alloc, 0, bytes + 4096, stream), l->what);
	rig_cuda(cudaStreamSynchronize(stream), l->what);
	buf = (char *)(((uintptr_t)alloc + 4095) & ~4095UL);
	mem = rig_mem(rig, buf, bytes);
	memset(tally, 0, sizeof(*tally));
	for (int warm = 0; warm < 2; warm++) {
		cudaEventRecord(begin_event, stream);
		commands<<<l->blocks, l->threads, 0, stream>>>(rig->gpu, mem, buf,
							       warm ? l->rounds : l->rounds / 10 + 1,
							       l->nlb, l->write, l->check, l->sequential,
							       tally);
		cudaEventRecord(end_event, stream);
		s = elapsed(l->what);
	}
	if (tally->failed || tally->wrong) {
		printf("%s: %llu failed (first: %d), %llu with wrong data\n", l->what, tally->failed,
		       tally->first, tally->wrong);
		exit(1);
	}
	snvme_gpu_mem_release(rig->set, mem);
	cudaFreeAsync(alloc, stream);
	s = (double)l->blocks * l->threads * l->rounds / s;
	row(l->what, who, "iops", s / 1e6, "M/s");
	return s;
}

static void queues(struct rig *rig, uint32_t n, uint32_t rings, uint32_t max_io)
{
	struct snvme_gpu_opts o = {};

	o.queues = n;
	o.depth = max_io > 4096 || getenv("D1") ? 1023 : 8191;
	o.rings = rings;
	o.max_io = max_io;
	rig_queues(rig, o);
}

/* Each block's first and last word tell it, in blocks of 1 << @shift bytes. */
static void stamp(void *storage, uint64_t size, uint32_t shift)
{
	for (uint64_t lba = 0; lba < size >> shift; lba++) {
		uint64_t *block = (uint64_t *)((char *)storage + (lba << shift));

		block[0] = lba;
		block[(1U << shift) / 8 - 1] = lba;
	}
}

int main(int argc, char **argv)
{
	const uint64_t size = 1ULL << 30;
	double loads4, loads512, stores4, got;
	cudaDeviceProp prop;
	struct rig rig;
	void *pinned;

	setenv("CUDA_MODULE_LOADING", "EAGER", 1);
	json = fopen(argc > 1 ? argv[1] : "/dev/null", "w");
	if (!json)
		rig_die(argv[1], strerror(errno));
	rig_cuda(cudaMallocHost(&tally, sizeof(*tally)), "CUDA");
	rig_cuda(cudaGetDeviceProperties(&prop, 0), "CUDA");
	fprintf(json, "{\"machine\": \"%s\", \"rows\": [", prop.name);
	cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
	cudaEventCreate(&begin_event);
	cudaEventCreate(&end_event);

	rig_cuda(cudaHostAlloc(&pinned, size, cudaHostAllocMapped), "pinned");
	memset(pinned, 1, size);
	loads4 = machine(pinned, size, 4096, false, "4 KiB random loads of SMs from pinned memory");
	loads512 = machine(pinned, size, 512, false, "512 B random loads of SMs from pinned memory");
	stores4 = machine(pinned, size, 4096, true, "4 KiB random stores of SMs to pinned memory");
	cudaFreeHost(pinned);

	static const uint32_t counts[] = { 1, 8, 64 };
	for (uint32_t i = 0; i < 3; i++) {
		struct load l = { "", counts[i] == 1 ? 4U : 64U, 256, 2000, 1, false, false, false };
		char what[64];

		snprintf(what, sizeof(what), "no data, %u queues, %u threads", counts[i],
			 l.blocks * l.threads);
		l.what = what;
		rig_open_kernel(&rig, 0, 12, counts[i], 1024);
		queues(&rig, counts[i], SNVME_GPU_RINGS_DEVICE, 4096);
		drive(&rig, &l, "kernel SSD");
		rig_close(&rig);
	}
	{
		struct load l = { "no data, one thread, one command", 1, 1, 20000, 1, false, false, false };

		rig_open_kernel(&rig, 0, 12, 1, 1024);
		queues(&rig, 1, SNVME_GPU_RINGS_DEVICE, 4096);
		got = drive(&rig, &l, "kernel SSD");
		row(l.what, "kernel SSD", "latency", 1e6 / got, "us");
		rig_close(&rig);
	}

	rig_open_kernel(&rig, size, 12, 8, 1024);
	stamp(rig.storage, size, 12);
	queues(&rig, 8, SNVME_GPU_RINGS_DEVICE, 131072);
	{
		static const struct load read4 = { "4 KiB random reads, 8 queues, 1,024 threads", 8, 128, 1000, 1,
						   false, true, false };
		static const struct load write4 = { "4 KiB random writes, 8 queues, 1,024 threads", 8, 128, 1000,
						    1, true, false, false };
		static const struct load seq = { "128 KiB sequential reads, 8 queues, 64 threads", 8, 8, 300, 32,
						 false, true, true };

		got = drive(&rig, &read4, "kernel SSD");
		row("4 KiB reads / loads of SMs", "kernel SSD", "ratio", got / loads4, "1");
		got = drive(&rig, &seq, "kernel SSD");
		row("128 KiB reads / loads of SMs", "kernel SSD", "ratio", got * 32 / loads4, "1");
		got = drive(&rig, &write4, "kernel SSD");
		row("4 KiB writes / stores of SMs", "kernel SSD", "ratio", got / stores4, "1");
	}
	rig_close(&rig);
	rig_open_kernel(&rig, size, 9, 8, 1024);
	stamp(rig.storage, size, 9);
	queues(&rig, 8, SNVME_GPU_RINGS_DEVICE, 4096);
	{
		static const struct load read = { "512 B random reads, 8 queues, 1,024 threads", 8, 128, 3000, 1,
						  false, true, false };
		static const struct load read16 = { "512 B random reads, 8 queues, 16,384 threads", 64, 256, 300, 1,
						    false, true, false };

		got = drive(&rig, &read, "kernel SSD");
		got = drive(&rig, &read16, "kernel SSD");
		row("512 B reads / loads of SMs", "kernel SSD", "ratio", got / loads512, "1");
	}
	rig_close(&rig);

	for (uint32_t threads = 1; threads <= 8; threads *= 2) {
		char spec[96], what[96];
		struct load l = { what, 8, 256, 200, 1, false, false, false };

		snprintf(spec, sizeof(spec), "vssd:ram,size=1G,lba=4096,gpu=0,threads=%u", threads);
		rig_open_threads(&rig, spec);
		queues(&rig, threads, SNVME_GPU_RINGS_HOST, 131072);
		snprintf(what, sizeof(what), "4 KiB random reads, %u host threads", threads);
		drive(&rig, &l, "host SSD");
		l = (struct load){ what, 8, 16, 50, 32, false, false, true };
		snprintf(what, sizeof(what), "128 KiB reads, %u host threads", threads);
		got = drive(&rig, &l, "host SSD");
		row(what, "host SSD", "bandwidth", got * 131072 / 1e9, "GB/s");
		rig_close(&rig);
	}
	fprintf(json, "\n]}\n");
	fclose(json);
	return 0;
}
