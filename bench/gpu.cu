// SPDX-License-Identifier: MIT
/*
 * GPU threads on virtual SSDs, beside what the machine can do without them. Usage: gpu JSON [SCALE]
 *
 * Every block read is looked at: its first and last word must tell the block. Prints a table, and
 * writes the rows as JSON.
 */
#include <time.h>

#include "rig.h"

static FILE *json;
static bool more;

static void row(const char *what, const char *who, const char *metric, double value, const char *unit)
{
	printf("%-56s %-10s %-15s %10.2f %s\n", what, who, metric, value, unit);
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

/* What one thread waits for, again and again: what a command's latency is made of. */
enum primitive {
	P_LOAD,			/* of a word that another SM may have written */
	P_ATOMIC,
	P_RELEASE_GPU,		/* a store, and all before it to the GPU */
	P_RELEASE_SYSTEM,	/* to everybody */
	P_HOST,			/* to a thread of the host and back */
};

static __global__ void primitive(enum primitive which, uint32_t *word, volatile uint32_t *ping,
				 uint32_t rounds, uint64_t *ns)
{
	uint64_t start = snvme_warp_now();
	uint32_t sum = 0;

	for (uint32_t i = 1; i <= rounds; i++) {
		switch (which) {
		case P_LOAD:
			sum += snv_peer_load(word + sum);
			break;
		case P_ATOMIC:
			sum += snv_peer_add(word + sum, 0);
			break;
		case P_RELEASE_GPU:
			word[32] = i;
			snv_peer_store_release(word + 64, 0);
			sum += snv_peer_load(word + 64 + sum);
			break;
		case P_RELEASE_SYSTEM:
			word[32] = i;
			snv_doorbell_write(word + 64, 0);
			sum += snv_peer_load(word + 64 + sum);
			break;
		case P_HOST:
			ping[0] = i;
			while (ping[32] != i)
				;
			break;
		}
	}
	word[96] = sum;
	*ns = snvme_warp_now() - start;
}

static void primitives(void)
{
	static const char *const name[] = {
		"one load of a word in L2", "one atomic in L2", "one store, a release to the GPU, a load",
		"one store, a release to the system, a load", "to a thread of the host and back",
	};
	enum { ROUNDS = 20000 };
	uint32_t *word;
	volatile uint32_t *ping;
	uint64_t *ns;

	rig_cuda(cudaMalloc(&word, 4096), "CUDA");
	rig_cuda(cudaMemset(word, 0, 4096), "CUDA");
	rig_cuda(cudaMallocHost((void **)&ping, 4096), "CUDA");
	rig_cuda(cudaMallocHost(&ns, sizeof(*ns)), "CUDA");
	memset((void *)ping, 0, 4096);
	for (int which = P_LOAD; which <= P_HOST; which++) {
		primitive<<<1, 1, 0, stream>>>((enum primitive)which, word, ping, ROUNDS, ns);
		while (which == P_HOST && ping[32] < ROUNDS)
			ping[32] = ping[0];
		rig_wait(stream, 60, name[which]);
		row(name[which], "SM", "latency", (double)*ns / ROUNDS, "ns");
	}
	cudaFreeHost(ns);
	cudaFreeHost((void *)ping);
	cudaFree(word);
}

/* ---- commands --------------------------------------------------------------------------------- */

struct tally {
	unsigned long long failed;
	unsigned long long wrong;
	int first;
};

/* What the threads of a load do. */
struct work {
	uint32_t rounds;	/* commands of each thread, a multiple of those in flight */
	uint32_t nlb;		/* blocks of a command */
	bool write;
	bool check;
	bool sequential;
};

/* Each thread keeps @FLIGHT commands in flight, each with a place of its own at @base. */
template <uint32_t FLIGHT>
static __global__ void commands(const struct snvme_gpu *gpu, const struct snvme_gpu_mem *mem, char *base,
				struct work w, struct tally *tally)
{
	uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x, threads = gridDim.x * blockDim.x;
	const struct snvme_gpu_queue *q = snvme_gpu_queue_of(gpu, 0);
	uint32_t bytes = w.nlb << gpu->lba_shift;
	uint64_t places = gpu->blocks / w.nlb;
	struct snvme_gpu_token token[FLIGHT];
	uint64_t slba[FLIGHT];
	struct snvme_gpu_io io = {};

	io.opcode = w.write ? SNV_OP_WRITE : SNV_OP_READ;
	io.map = &mem->map[0];
	io.nlb = w.nlb;
	for (uint32_t r = 0; r < w.rounds + FLIGHT; r += FLIGHT) {
#pragma unroll
		for (uint32_t k = 0; k < FLIGHT; k++) {
			int ret = 0;

			io.offset = ((uint64_t)thread * FLIGHT + k) * bytes;
			if (r && FLIGHT > 1)
				ret = snvme_gpu_wait(q, token[k]);
			if (r && !ret && w.check) {
				const uint64_t *buf = (const uint64_t *)(base + io.offset);

				if (__ldcv(buf) != slba[k] ||
				    __ldcv(buf + bytes / 8 - 1) != slba[k] + w.nlb - 1)
					atomicAdd(&tally->wrong, 1ULL);
			}
			slba[k] = io.slba = (w.sequential ? (uint64_t)(r + k) * threads + thread :
					     mix(thread * 7919 + r + k)) % places * w.nlb;
			if (!ret && r < w.rounds)
				ret = FLIGHT > 1 ? snvme_gpu_submit(q, &io, &token[k]) :
				      snvme_gpu_do(q, &io);
			if (ret) {
				atomicAdd(&tally->failed, 1ULL);
				atomicCAS(&tally->first, 0, ret);
			}
		}
	}
}

/* One thread, one command at a time: how long it takes to submit, and until it has ended. */
static __global__ void alone(const struct snvme_gpu *gpu, const struct snvme_gpu_mem *mem, uint32_t rounds,
			     uint64_t *ns, struct tally *tally)
{
	const struct snvme_gpu_queue *q = snvme_gpu_queue_of(gpu, 0);
	struct snvme_gpu_token token;
	struct snvme_gpu_io io = {};
	uint64_t begin = snvme_warp_now(), start = clock64(), submit = 0, all;

	io.opcode = SNV_OP_READ;
	io.map = &mem->map[0];
	io.nlb = 1;
	for (uint32_t r = 0; r < rounds; r++) {
		uint64_t now = clock64();
		int ret = snvme_gpu_submit(q, &io, &token);

		submit += clock64() - now;
		ret = ret ? ret : snvme_gpu_wait(q, token);
		if (ret) {
			tally->failed++;
			tally->first = ret;
		}
	}
	all = clock64() - start;
	ns[1] = snvme_warp_now() - begin;
	ns[0] = (uint64_t)((double)submit / all * ns[1]);
}

static struct tally *tally;

struct load {
	const char *what;
	uint32_t blocks;	/* of threads */
	uint32_t threads;
	uint32_t flight;	/* commands of each thread in flight: 1, 2 */
	struct work work;
};

/* Commands per second. */
static double drive(struct rig *rig, const struct load *l, const char *who)
{
	size_t bytes = ((size_t)l->work.nlb << 12) * l->blocks * l->threads * l->flight;
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
		struct work w = l->work;

		w.rounds = warm ? w.rounds : w.rounds / 10 * 2;
		cudaEventRecord(begin_event, stream);
		if (l->flight == 2)
			commands<2><<<l->blocks, l->threads, 0, stream>>>(rig->gpu, mem, buf, w, tally);
		else
			commands<1><<<l->blocks, l->threads, 0, stream>>>(rig->gpu, mem, buf, w, tally);
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
	s = (double)l->blocks * l->threads * l->work.rounds / s;
	row(l->what, who, "iops", s / 1e6, "M/s");
	return s;
}

static void latency(struct rig *rig, const char *what, const char *who)
{
	enum { ROUNDS = 20000 };
	const struct snvme_gpu_mem *mem;
	char *alloc;
	uint64_t *ns;

	rig_cuda(cudaMallocHost(&ns, 2 * sizeof(*ns)), what);
	rig_cuda(cudaMallocAsync(&alloc, 8192, stream), what);
	rig_cuda(cudaStreamSynchronize(stream), what);
	mem = rig_mem(rig, (char *)(((uintptr_t)alloc + 4095) & ~4095UL), 4096);
	memset(tally, 0, sizeof(*tally));
	for (int warm = 0; warm < 2; warm++) {
		alone<<<1, 1, 0, stream>>>(rig->gpu, mem, ROUNDS, ns, tally);
		rig_wait(stream, 60, what);
	}
	if (tally->failed)
		rig_die(what, "failed");
	row(what, who, "submit", (double)ns[0] / ROUNDS / 1e3, "us");
	row(what, who, "latency", (double)ns[1] / ROUNDS / 1e3, "us");
	snvme_gpu_mem_release(rig->set, mem);
	cudaFreeAsync(alloc, stream);
	/* Pinned memory is not freed while the SSD's kernel runs: to do so would wait for it. */
}

static void queues(struct rig *rig, uint32_t n, uint32_t rings, uint32_t max_io)
{
	struct snvme_gpu_opts o = {};

	o.queues = n;
	o.depth = max_io > 4096 ? 1023 : 8191;
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

/* With data, on 8 queues, blocks of 4 KiB. Writes, which leave no numbers in them, come last. */
static const struct load data[] = {
	{ "4 KiB random reads, 1,024 threads", 8, 128, 1, { 1000, 1, false, true } },
	{ "4 KiB random reads, 1,024 threads, 2 in flight each", 8, 128, 2, { 1000, 1, false, true } },
	{ "128 KiB sequential reads, 64 threads", 8, 8, 1, { 300, 32, false, true, true } },
	{ "128 KiB sequential reads, 128 threads, 2 in flight each", 16, 8, 2, { 300, 32, false, true, true } },
	{ "4 KiB random writes, 1,024 threads", 8, 128, 1, { 1000, 1, true } },
	{ "4 KiB random writes, 1,024 threads, 2 in flight each", 8, 128, 2, { 1000, 1, true } },
	{ "128 KiB sequential writes, 128 threads, 2 in flight each", 16, 8, 2, { 300, 32, true, false, true } },
};

/* Blocks of 512 bytes. */
static const struct load small[] = {
	{ "512 B random reads, 1,024 threads", 8, 128, 1, { 3000, 1, false, true } },
	{ "512 B random reads, 1,024 threads, 2 in flight each", 8, 128, 2, { 3000, 1, false, true } },
	{ "512 B random reads, 16,384 threads", 64, 256, 1, { 300, 1, false, true } },
};

static const char *driver(void)
{
	static char version[64] = "unknown";
	FILE *f = fopen("/sys/module/nvidia/version", "r");

	if (f && fscanf(f, "%63s", version) != 1)
		strcpy(version, "unknown");
	if (f)
		fclose(f);
	return version;
}

static const char *today(void)
{
	static char text[16];
	time_t now = time(NULL);

	strftime(text, sizeof(text), "%F", gmtime(&now));
	return text;
}

int main(int argc, char **argv)
{
	const uint64_t size = 1ULL << 30;
	double loads4, loads512, stores4, got;
	cudaDeviceProp prop;
	int cuda;
	struct rig rig;
	void *pinned;

	setenv("CUDA_MODULE_LOADING", "EAGER", 1);
	json = fopen(argc > 1 ? argv[1] : "/dev/null", "w");
	if (!json)
		rig_die(argv[1], strerror(errno));
	rig_cuda(cudaMallocHost(&tally, sizeof(*tally)), "CUDA");
	rig_cuda(cudaGetDeviceProperties(&prop, 0), "CUDA");
	rig_cuda(cudaRuntimeGetVersion(&cuda), "CUDA");
	fprintf(json, "{\"machine\": \"%s\", \"driver\": \"%s\", \"cuda\": %d, \"date\": \"%s\", \"rows\": [",
		prop.name, driver(), cuda, today());
	cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
	cudaEventCreate(&begin_event);
	cudaEventCreate(&end_event);

	rig_cuda(cudaHostAlloc(&pinned, size, cudaHostAllocMapped), "pinned");
	memset(pinned, 1, size);
	loads4 = machine(pinned, size, 4096, false, "4 KiB random loads of SMs from pinned memory");
	loads512 = machine(pinned, size, 512, false, "512 B random loads of SMs from pinned memory");
	stores4 = machine(pinned, size, 4096, true, "4 KiB random stores of SMs to pinned memory");
	cudaFreeHost(pinned);
	primitives();

	static const uint32_t counts[] = { 1, 8, 64 };
	for (uint32_t i = 0; i < 6; i++) {
		uint32_t n = counts[i / 2];
		struct load l = { "", n == 1 ? 4U : 64U, 256, i % 2 + 1, { 2000, 1 } };
		char what[96];

		snprintf(what, sizeof(what), "no data, %u queues, %u threads%s", n, l.blocks * l.threads,
			 i % 2 ? ", 2 in flight each" : "");
		l.what = what;
		rig_open_kernel(&rig, 0, 12, n, 1024);
		queues(&rig, n, SNVME_GPU_RINGS_DEVICE, 4096);
		drive(&rig, &l, "kernel SSD");
		rig_close(&rig);
	}
	rig_open_kernel(&rig, 0, 12, 1, 1024);
	queues(&rig, 1, SNVME_GPU_RINGS_DEVICE, 4096);
	latency(&rig, "no data, one thread, one command", "kernel SSD");
	rig_close(&rig);
	rig_open_threads(&rig, "vssd:null,size=1G,lba=4096,gpu=0");
	queues(&rig, 1, SNVME_GPU_RINGS_HOST, 4096);
	latency(&rig, "no data, one thread, one command", "host SSD");
	rig_close(&rig);

	rig_open_kernel(&rig, size, 12, 8, 1024);
	stamp(rig.one[0].storage, size, 12);
	queues(&rig, 8, SNVME_GPU_RINGS_DEVICE, 131072);
	for (uint32_t i = 0; i < sizeof(data) / sizeof(data[0]); i++) {
		const struct load *l = &data[i];

		got = drive(&rig, l, "kernel SSD") * l->work.nlb;
		row(l->what, "kernel SSD", l->work.write ? "/ stores of SMs" : "/ loads of SMs",
		    got / (l->work.write ? stores4 : loads4), "1");
	}
	rig_close(&rig);
	rig_open_kernel(&rig, size, 9, 8, 1024);
	stamp(rig.one[0].storage, size, 9);
	queues(&rig, 8, SNVME_GPU_RINGS_DEVICE, 4096);
	for (uint32_t i = 0; i < sizeof(small) / sizeof(small[0]); i++) {
		got = drive(&rig, &small[i], "kernel SSD");
		row(small[i].what, "kernel SSD", "/ loads of SMs", got / loads512, "1");
	}
	rig_close(&rig);

	static const uint32_t hosts[] = { 1, 2, 4, 8, 14 };
	for (uint32_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		uint32_t threads = hosts[i];
		char spec[96], what[96];
		/* Two in flight, where the queues have places for them. */
		struct load l = { what, 8, 256, threads < 8 ? 1U : 2U, { 200, 1 } };

		snprintf(spec, sizeof(spec), "vssd:ram,size=1G,lba=4096,gpu=0,threads=%u", threads);
		rig_open_threads(&rig, spec);
		queues(&rig, threads, SNVME_GPU_RINGS_HOST, 131072);
		snprintf(what, sizeof(what), "4 KiB random reads, %u host threads%s", threads,
			 l.flight == 2 ? ", 2 in flight each" : "");
		drive(&rig, &l, "host SSD");
		l = (struct load){ what, 8, 16, 1, { 50, 32, false, false, true } };
		snprintf(what, sizeof(what), "128 KiB reads, %u host threads", threads);
		got = drive(&rig, &l, "host SSD");
		row(what, "host SSD", "bandwidth", got * 131072 / 1e9, "GB/s");
		rig_close(&rig);
	}
	fprintf(json, "\n]}\n");
	fclose(json);
	return 0;
}
