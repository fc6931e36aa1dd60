// SPDX-License-Identifier: MIT
/*
 * The GPU's queues as threads of this process run them, a warp being a thread, against virtual SSDs.
 */
#include "tap.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <unistd.h>

#include <snvme/gpu/host.h>
#include <snvme/gpu/queue.h>

#define SSD_BYTES	(16UL << 20)
#define MAX_SSDS	3
#define THREADS		8

static struct snvme_ctrl *ctrl[MAX_SSDS];
static struct snvme_gpu_set *set;
static const struct snvme_gpu *gpu;

static void must(int ret, const char *what)
{
	if (ret) {
		printf("Bail out! %s: %s\n", what, snvme_strerror(ret));
		exit(1);
	}
}

static void open_set(const char *spec, unsigned int n, struct snvme_gpu_opts opts)
{
	char why[256] = "";
	int ret;

	for (unsigned int i = 0; i < n; i++)
		must(snvme_open(spec, &ctrl[i]), spec);
	opts.size = sizeof(opts);
	opts.device = SNVME_GPU_THREADS;
	ret = snvme_gpu_open(ctrl, n, &opts, &set, why, sizeof(why));
	must(ret, why);
	gpu = snvme_gpu_handle(set);
}

static void close_set(void)
{
	unsigned int n = gpu->ssds;

	snvme_gpu_close(set);
	for (unsigned int i = 0; i < n; i++)
		snvme_close(ctrl[i]);
}

static void *pages(size_t length)
{
	void *va = aligned_alloc(4096, length);

	if (!va)
		must(-ENOMEM, "memory");
	memset(va, 0x5a, length);
	return va;
}

static const struct snvme_gpu_mem *register_mem(void *va, size_t length)
{
	const struct snvme_gpu_mem *mem = NULL;
	char why[256] = "";

	must(snvme_gpu_mem_register(set, va, length, &mem, why, sizeof(why)), why);
	return mem;
}

/* Each word of a block tells its block and a generation. */
static uint64_t word_of(uint64_t lba, uint32_t generation, uint32_t i)
{
	return (lba * 0x9e3779b97f4a7c15ULL ^ generation) + i;
}

static void fill(char *buf, uint64_t lba, uint32_t nlb, uint32_t generation)
{
	uint32_t words = (1U << gpu->lba_shift) / 8;

	for (uint32_t b = 0; b < nlb; b++)
		for (uint32_t i = 0; i < words; i++)
			((uint64_t *)buf)[(uint64_t)b * words + i] = word_of(lba + b, generation, i);
}

static bool check(const char *buf, uint64_t lba, uint32_t nlb, uint32_t generation)
{
	uint32_t words = (1U << gpu->lba_shift) / 8;

	for (uint32_t b = 0; b < nlb; b++)
		for (uint32_t i = 0; i < words; i++)
			if (((const uint64_t *)buf)[(uint64_t)b * words + i] !=
			    word_of(lba + b, generation, i))
				return false;
	return true;
}

/* ---- one thread ------------------------------------------------------------------------------- */

struct shape {
	const char *spec;
	unsigned int ssds;
	struct snvme_gpu_opts opts;
};

static const struct shape shapes[] = {
	{ "vssd:ram,size=16M", 1, { .depth = 1 } },
	{ "vssd:ram,size=16M,lba=4096", 1, { .depth = 2, .queues = 3 } },
	{ "vssd:ram,size=16M", 1, { .depth = 3, .max_io = 4096 } },
	{ "vssd:ram,size=16M,lba=4096,threads=2", 1, { .depth = 1000, .queues = 2 } },
	{ "vssd:ram,size=16M", 3, { .depth = 7, .stripe = 512 } },
	{ "vssd:ram,size=16M,lba=4096", 2, { .depth = 64, .stripe = 65536, .max_io = 65536 } },
	{ "vssd:ram,size=16M", 3, { .depth = 16, .mirrored = 1, .queues = 2 } },
};

static void test_shapes(void)
{
	enum { BYTES = 1 << 20 };
	char *buf = pages(BYTES);

	for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++) {
		const struct shape *shape = &shapes[s];
		const struct snvme_gpu_mem *mem;
		uint64_t lba = 3;
		uint32_t most, bad = 0;

		open_set(shape->spec, shape->ssds, shape->opts);
		most = BYTES >> gpu->lba_shift;
		is(gpu->blocks << gpu->lba_shift,
		   shape->opts.mirrored ? SSD_BYTES : SSD_BYTES * shape->ssds,
		   "%s, %u of them, depth %u: size", shape->spec, shape->ssds, shape->opts.depth);
		mem = register_mem(buf, BYTES);
		for (uint32_t nlb = 1; nlb <= most; nlb = nlb * 3 + 1, lba = (lba * 7 + 5) % 4000) {
			uint64_t offset = BYTES - ((uint64_t)nlb << gpu->lba_shift);

			if (lba + nlb > gpu->blocks)
				lba = 1;
			fill(buf + offset, lba, nlb, nlb);
			bad += snvme_gpu_write(gpu, mem, offset, lba, nlb) != 0;
			memset(buf, 0xee, BYTES);
			bad += snvme_gpu_read(gpu, mem, 0, lba, nlb) != 0;
			bad += !check(buf, lba, nlb, nlb);
			/* From an offset that is no block's. */
			if (offset >= 4)
				bad += snvme_gpu_read(gpu, mem, 4, lba, nlb) != 0 ||
				       !check(memmove(buf, buf + 4, BYTES - 4), lba, nlb, nlb);
		}
		is(bad, 0, "written and read in all sizes");
		is(snvme_gpu_flush(gpu), 0, "flush");
		is(snvme_gpu_read(gpu, mem, 0, gpu->blocks - 1, 2), -EINVAL, "past the end");
		is(snvme_gpu_read(gpu, mem, 0, gpu->blocks, 1), -EINVAL, "at the end");
		is(snvme_gpu_read(gpu, mem, 0, 0, 0), -EINVAL, "nothing");
		is(snvme_gpu_read(gpu, mem, 2, 0, 1), -EINVAL, "half a dword");
		is(snvme_gpu_read(gpu, mem, BYTES - 4, 0, 1), -EINVAL, "past the memory");
		is(snvme_gpu_read(gpu, mem, UINT64_MAX, 0, 1), -EINVAL, "far past it");
		if (shape->opts.mirrored) {
			/* What is read from each is the same. */
			for (unsigned int i = 0; i < shape->ssds; i++) {
				struct snvme_gpu_io io = {
					.opcode = SNV_OP_READ, .map = &mem->map[i], .slba = 1, .nlb = 1,
				};

				fill(buf, 1, 1, 99);
				if (!i)
					snvme_gpu_write(gpu, mem, 0, 1, 1);
				memset(buf, 0, 512);
				ok(!snvme_gpu_do(snvme_gpu_queue_of(gpu, i), &io) &&
				   check(buf, 1, 1, 99), "mirror %u", i);
			}
		}
		snvme_gpu_mem_release(set, mem);
		close_set();
	}
	free(buf);
}

/* ---- tokens ----------------------------------------------------------------------------------- */

static void test_tokens(void)
{
	enum { DEPTH = 40 };
	struct snvme_gpu_token token[DEPTH], more;
	const struct snvme_gpu_mem *mem;
	const struct snvme_gpu_queue *q;
	struct snvme_gpu_io io = { .opcode = SNV_OP_READ, .nlb = 1 };
	char *buf = pages(DEPTH * 4096);
	uint32_t bad = 0, i;
	int ret;

	open_set("vssd:ram,size=16M,lba=4096", 1, (struct snvme_gpu_opts){ .depth = DEPTH });
	mem = register_mem(buf, DEPTH * 4096);
	q = snvme_gpu_queue_of(gpu, 0);
	fill(buf, 0, DEPTH, 1);
	is(snvme_gpu_write(gpu, mem, 0, 0, DEPTH), 0, "%u blocks", DEPTH);
	memset(buf, 0, DEPTH * 4096);
	io.map = &mem->map[0];
	for (int turn = 0; turn < 3; turn++) {
		for (i = 0; i < DEPTH; i++) {
			io.offset = io.slba = i;
			io.offset *= 4096;
			bad += snvme_gpu_submit(q, &io, &token[i]) != 0;
		}
		is(bad, 0, "as many as the queue is deep");
		is(snvme_gpu_submit(q, &io, &more), -EAGAIN, "no more");
		/* In another order. */
		for (i = 0; i < DEPTH; i++)
			bad += snvme_gpu_wait(q, token[(i * 7 + 3) % DEPTH]) != 0;
		is(bad, 0, "waited for in any order");
		ok(check(buf, 0, DEPTH, 1), "the data");
	}
	is(snvme_gpu_wait(q, token[5]), -EINVAL, "a token is for one time");
	is(snvme_gpu_poll(q, token[5]), -EINVAL, "to poll, too");
	more.cid = DEPTH;
	is(snvme_gpu_wait(q, more), -EINVAL, "no token");
	is(snvme_gpu_poll(q, more), -EINVAL, "no token");

	/* One that nobody waits for holds its identifier, and nobody else up. */
	is(snvme_gpu_submit(q, &io, &more), 0, "one that is left alone");
	for (i = 0; i < 500; i++)
		bad += snvme_gpu_do(q, &io) != 0;
	is(bad, 0, "others go round the ring meanwhile");
	while ((ret = snvme_gpu_poll(q, more)) == -EAGAIN)
		;
	is(ret, 0, "polled");
	io.slba = 1 << 20;
	is(snvme_gpu_do(q, &io), SNV_SC_LBA_RANGE, "a status");
	io.slba = 0;
	io.nlb = 0;
	is(snvme_gpu_submit(q, &io, &more), -EINVAL, "a read of nothing");
	io.nlb = 1000;
	is(snvme_gpu_submit(q, &io, &more), -EINVAL, "too long");
	io.nlb = 1;
	io.offset = DEPTH * 4096;
	is(snvme_gpu_submit(q, &io, &more), -EINVAL, "past the memory");
	io.opcode = 0x77;
	io.offset = 0;
	is(snvme_gpu_submit(q, &io, &more), -EINVAL, "no such opcode");
	io.opcode = SNV_OP_WRITE;
	io.flags = SNVME_GPU_FUA;
	is(snvme_gpu_do(q, &io), 0, "a write with FUA");
	is(q->live->strays, 0, "no completion went astray");
	close_set();
	free(buf);
}

/* ---- many threads ----------------------------------------------------------------------------- */

struct worker {
	pthread_t id;
	uint32_t index;
	uint32_t rounds;
	const struct snvme_gpu_mem *mem;
	char *buf;
	uint64_t bad;
	uint64_t statuses;
};

#define SLICE	(64U << 10)

static uint32_t next(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

/* Writes and reads in a part of the SSD of its own; some of it by tokens. */
static void *work(void *arg)
{
	struct worker *w = arg;
	uint32_t x = w->index * 77 + 1, most = SLICE >> gpu->lba_shift;
	uint64_t first = gpu->blocks / THREADS * w->index, base = (uint64_t)w->index * SLICE;

	for (uint32_t round = 1; round <= w->rounds; round++) {
		uint32_t nlb = next(&x) % (next(&x) % 4 ? 4 : most) + 1;
		uint64_t lba = first + next(&x) % (gpu->blocks / THREADS - nlb);
		char *buf = w->buf + base;

		if (gpu->ssds == 1 && next(&x) % 2) {
			const struct snvme_gpu_queue *q = snvme_gpu_queue_of(gpu, 0);
			struct snvme_gpu_token token[4];
			uint32_t n = 0;

			fill(buf, lba, 1, round);
			w->bad += snvme_gpu_write(gpu, w->mem, base, lba, 1) != 0;
			for (; n < 4; n++) {
				struct snvme_gpu_io io = {
					.opcode = SNV_OP_READ, .map = &w->mem->map[0], .nlb = 1,
					.offset = base + ((n + 1ULL) << gpu->lba_shift),
					.slba = n == 2 ? 1ULL << 40 : lba,
				};

				if (snvme_gpu_submit(q, &io, &token[n]))
					break;
			}
			for (uint32_t i = 0; i < n; i++) {
				int ret = snvme_gpu_wait(q, token[i]);

				w->bad += ret != (i == 2 ? SNV_SC_LBA_RANGE : 0);
				w->statuses += i == 2;
				if (i != 2)
					w->bad += !check(buf + ((i + 1ULL) << gpu->lba_shift), lba, 1,
							 round);
			}
			continue;
		}
		fill(buf, lba, nlb, round);
		w->bad += snvme_gpu_write(gpu, w->mem, base, lba, nlb) != 0;
		memset(buf, 0, (size_t)nlb << gpu->lba_shift);
		w->bad += snvme_gpu_read(gpu, w->mem, base, lba, nlb) != 0;
		w->bad += !check(buf, lba, nlb, round);
	}
	return NULL;
}

static void test_threads(const char *spec, unsigned int ssds, struct snvme_gpu_opts opts,
			 uint32_t rounds)
{
	struct worker w[THREADS];
	char *buf = pages(THREADS * SLICE);
	uint64_t bad = 0, strays = 0;
	const struct snvme_gpu_mem *mem;

	open_set(spec, ssds, opts);
	mem = register_mem(buf, THREADS * SLICE);
	for (uint32_t i = 0; i < THREADS; i++) {
		w[i] = (struct worker){ .index = i, .rounds = rounds, .mem = mem, .buf = buf };
		must(-pthread_create(&w[i].id, NULL, work, &w[i]), "thread");
	}
	for (uint32_t i = 0; i < THREADS; i++) {
		pthread_join(w[i].id, NULL);
		bad += w[i].bad;
	}
	for (uint32_t i = 0; i < gpu->ssds * gpu->queues; i++)
		strays += gpu->queue[i].live->strays;
	is(bad, 0, "%s, %u of them, %u queues of depth %u: %u threads", spec, ssds, gpu->queues,
	   gpu->queue[0].depth, THREADS);
	is(strays, 0, "no completion went astray");
	close_set();
	free(buf);
}

/* ---- what goes wrong -------------------------------------------------------------------------- */

static char config[] = "/tmp/snvme-gpu-XXXXXX";

/* A specification of a virtual SSD with a fault at block 100. */
static const char *with_fault(const char *fault)
{
	static char spec[64];
	FILE *f = fopen(config, "w");

	if (!f)
		must(-errno, config);
	fprintf(f, "{ \"namespaces\": [ { \"ram\": \"16M\", \"lba\": 4096 } ],"
		"\"faults\": [ { %s, \"slba\": 100, \"nlb\": 1 } ] }", fault);
	fclose(f);
	snprintf(spec, sizeof(spec), "vssd:config=%s", config);
	return spec;
}

struct victim {
	pthread_t id;
	const struct snvme_gpu_mem *mem;
	uint64_t lba;
	int ret;
};

static void *suffer(void *arg)
{
	struct victim *v = arg;

	v->ret = snvme_gpu_read(gpu, v->mem, 0, v->lba, 1);
	return NULL;
}

/* Until @n commands of the first queue are before the SSD. */
static void published(uint32_t n)
{
	while (__atomic_load_n(&gpu->queue[0].live->posted, __ATOMIC_ACQUIRE) >> 32 < n)
		sched_yield();
}

static void test_faults(void)
{
	const struct snvme_gpu_opts opts = { .depth = 8 }, hasty = { .depth = 8, .timeout_ms = 1500 };
	struct snvme_gpu_io io = { .opcode = SNV_OP_READ, .nlb = 1, .slba = 100 };
	struct snvme_gpu_token token[2], more;
	const struct snvme_gpu_mem *mem;
	char *buf = pages(8192);
	uint32_t bad = 0, well = 0;
	struct victim v[12];

	open_set(with_fault("\"action\": \"status\", \"status\": 641"), 1, opts);
	mem = register_mem(buf, 8192);
	is(snvme_gpu_read(gpu, mem, 0, 100, 1), 641, "a status reaches who asked");
	is(snvme_gpu_read(gpu, mem, 0, 99, 1), 0, "and not another");
	is(snvme_gpu_read(gpu, mem, 0, 99, 2), 641, "a read of both");
	close_set();

	open_set(with_fault("\"action\": \"duplicate\""), 1, opts);
	mem = register_mem(buf, 8192);
	for (int i = 0; i < 200; i++)
		bad += snvme_gpu_read(gpu, mem, 0, 100, 1) != 0 || snvme_gpu_read(gpu, mem, 0, 7, 1) != 0;
	is(bad, 0, "completions that come twice are somebody's once");
	is(gpu->queue[0].live->strays, 200, "and counted");
	close_set();

	for (int lose = 0; lose < 2; lose++) {
		open_set(with_fault(lose ? "\"action\": \"lose\", \"count\": 1" :
				    "\"action\": \"hang\", \"count\": 1"), 1, hasty);
		mem = register_mem(buf, 8192);
		is(snvme_gpu_read(gpu, mem, 0, 100, 1), -ETIMEDOUT, "a command that %s",
		   lose ? "ends unheard" : "hangs");
		is(snvme_gpu_read(gpu, mem, 0, 1, 1), -ETIMEDOUT, "the queue is dead");
		is(snvme_gpu_renew(set), 0, "made anew");
		is(snvme_gpu_read(gpu, mem, 0, 100, 1), 0, "it lives");
		close_set();
	}

	open_set(with_fault("\"action\": \"hang\""), 1,
		 (struct snvme_gpu_opts){ .depth = 8 });
	mem = register_mem(buf, 8192);
	for (int i = 0; i < 2; i++) {
		v[i] = (struct victim){ .mem = mem, .lba = 100 };
		must(-pthread_create(&v[i].id, NULL, suffer, &v[i]), "thread");
	}
	published(2);
	is(snvme_reset(ctrl[0]), 0, "a reset while two wait");
	for (int i = 0; i < 2; i++) {
		pthread_join(v[i].id, NULL);
		is(v[i].ret, -ECONNRESET, "who waited is told");
	}
	is(snvme_gpu_read(gpu, mem, 0, 1, 1), -ECONNRESET, "who comes now is told");
	is(snvme_gpu_renew(set), 0, "made anew");
	is(snvme_gpu_read(gpu, mem, 0, 1, 1), 0, "it lives");
	close_set();

	/* An exporter takes memory away: snvme.ko says so in the queue's state word. */
	open_set(with_fault("\"action\": \"hang\", \"count\": 2"), 1,
		 (struct snvme_gpu_opts){ .depth = 4 });
	mem = register_mem(buf, 8192);
	for (int i = 0; i < 2; i++) {
		v[i] = (struct victim){ .mem = mem, .lba = 100 };
		must(-pthread_create(&v[i].id, NULL, suffer, &v[i]), "thread");
	}
	published(2);
	SNV_STORE_RELEASE((uint32_t *)(uintptr_t)gpu->queue[0].state, SNVME_STATE_REVOKED);
	for (int i = 0; i < 2; i++) {
		pthread_join(v[i].id, NULL);
		is(v[i].ret, -ECONNABORTED, "who waited is told that memory was taken away");
	}
	is(snvme_gpu_read(gpu, mem, 0, 1, 1), -ECONNABORTED, "who comes now is told");
	close_set();

	/* Who holds the identifiers learns of a reset, and keeps them: so does who has none. */
	open_set(with_fault("\"action\": \"hang\", \"count\": 2"), 1,
		 (struct snvme_gpu_opts){ .depth = 2 });
	mem = register_mem(buf, 8192);
	io.map = &mem->map[0];
	for (int i = 0; i < 2; i++)
		is(snvme_gpu_submit(&gpu->queue[0], &io, &token[i]), 0, "a command that hangs");
	is(snvme_gpu_submit(&gpu->queue[0], &io, &more), -EAGAIN, "no room for another");
	is(snvme_reset(ctrl[0]), 0, "a reset");
	is(snvme_gpu_submit(&gpu->queue[0], &io, &more), -ECONNRESET, "a submit is told");
	is(snvme_gpu_wait(&gpu->queue[0], token[0]), -ECONNRESET, "a wait is told");
	is(snvme_gpu_poll(&gpu->queue[0], token[1]), -ECONNRESET, "a poll is told");
	close_set();

	/* A queue that is slow because many use it is not dead. */
	open_set(with_fault("\"action\": \"delay\", \"delay_ns\": 500000000"), 1,
		 (struct snvme_gpu_opts){ .depth = 1, .timeout_ms = 3000 });
	mem = register_mem(buf, 8192);
	for (int i = 0; i < 12; i++) {
		v[i] = (struct victim){ .mem = mem, .lba = 100 };
		must(-pthread_create(&v[i].id, NULL, suffer, &v[i]), "thread");
	}
	for (int i = 0; i < 12; i++) {
		pthread_join(v[i].id, NULL);
		bad += v[i].ret != 0 && v[i].ret != -ETIMEDOUT;
		well += v[i].ret == 0;
	}
	is(bad, 0, "twelve threads on a slow queue of depth 1");
	ok(well >= 1, "%u had their turn in time", well);
	is(snvme_gpu_read(gpu, mem, 0, 100, 1), 0, "the queue lives");
	close_set();

	open_set(with_fault("\"action\": \"remove\""), 1, hasty);
	mem = register_mem(buf, 8192);
	ok(snvme_gpu_read(gpu, mem, 0, 100, 1) < 0, "the SSD is gone");
	ok(snvme_gpu_renew(set) < 0, "and does not come back");
	close_set();
	free(buf);
}

/* ---- opening ---------------------------------------------------------------------------------- */

/* A controller whose pages are larger than ours: memory begins with one of its. */
static void test_large_pages(char *buf)
{
	struct snvme_gpu_opts opts = { .size = sizeof(opts), .device = SNVME_GPU_THREADS };
	const struct snvme_gpu_mem *mem;
	struct snvme_ctrl *large;
	char why[256] = "";

	must(snvme_open("vssd:ram,size=16M,mpsmin=4,mpsmax=4", &large), "open");
	must(snvme_gpu_open(&large, 1, &opts, &set, why, sizeof(why)), why);
	buf += 65536 - (uintptr_t)buf % 65536 + 12288;
	is(snvme_gpu_mem_register(set, buf, 4096, &mem, why, sizeof(why)), -EINVAL, "amid a page of 64 KiB");
	ok(strstr(why, "65536"), "%s", why);
	buf += 65536 - 12288;
	is(snvme_gpu_mem_register(set, buf, 4096, &mem, why, sizeof(why)), 0, "at its begin");
	is(snvme_gpu_read(snvme_gpu_handle(set), mem, 0, 0, 1), 0, "read");
	snvme_gpu_close(set);
	snvme_close(large);
}

static void test_open(void)
{
	struct snvme_gpu_opts opts = { .size = sizeof(opts), .device = SNVME_GPU_THREADS };
	struct snvme_ctrl *few, *other;
	const struct snvme_gpu_mem *mem, *twice;
	char why[256] = "";
	char *buf = pages(256 << 10);

	must(snvme_open("vssd:ram,size=64K", &few), "open");
	must(snvme_open("vssd:ram,size=64K", &other), "open");
	ctrl[0] = few;
	ctrl[1] = other;
	opts.stripe = 128 << 10;
	is(snvme_gpu_open(ctrl, 2, &opts, &set, why, sizeof(why)), -EINVAL, "a stripe too long");
	ok(strstr(why, "stripe"), "%s", why);
	opts.stripe = 0;
	snvme_close(few);
	snvme_close(other);
	must(snvme_open("vssd:ram,size=16M,queues=2,mqes=64", &few), "open");
	must(snvme_open("vssd:ram,size=16M,lba=4096", &other), "open");
	ctrl[0] = few;
	ctrl[1] = other;
	is(snvme_gpu_open(ctrl, 0, &opts, &set, why, sizeof(why)), -EINVAL, "no SSD");
	is(snvme_gpu_open(ctrl, 2, &opts, &set, why, sizeof(why)), -EINVAL, "two formats");
	ok(strstr(why, "block size"), "%s", why);
	opts.queues = 3;
	is(snvme_gpu_open(ctrl, 1, &opts, &set, why, sizeof(why)), -ENOSPC, "more than there are");
	ok(strstr(why, "queue 2 of SSD 0"), "%s", why);
	opts.queues = 2;
	opts.depth = 64;
	is(snvme_gpu_open(ctrl, 1, &opts, &set, why, sizeof(why)), -EINVAL, "deeper than they go");
	opts.depth = 0;
	opts.nsid = 9;
	is(snvme_gpu_open(ctrl, 1, &opts, &set, why, sizeof(why)), -ENOENT, "no such namespace");
	opts.nsid = 0;
	opts.max_io = 1U << 30;
	is(snvme_gpu_open(ctrl, 1, &opts, &set, why, sizeof(why)), -EINVAL, "commands too long");
	opts.max_io = 0;
	opts.size--;
	is(snvme_gpu_open(ctrl, 1, &opts, &set, why, sizeof(why)), -EINVAL, "another version's");
	opts.size++;
	is(snvme_gpu_open(ctrl, 1, &opts, &set, why, sizeof(why)), 0, "as many as there are");
	gpu = snvme_gpu_handle(set);
	is(gpu->queue[0].depth, 63, "as deep as they go");
	is(snvme_gpu_mem_register(set, buf + 16, 4096, &mem, why, sizeof(why)), -EINVAL, "amid a page");
	is(snvme_gpu_mem_register(set, buf, 0, &mem, why, sizeof(why)), -EINVAL, "no memory");
	is(snvme_gpu_mem_register(set, buf, 5000, &mem, why, sizeof(why)), 0, "a page and a bit");
	is(snvme_gpu_read(gpu, mem, 4096, 0, 1), 0, "512 bytes in the bit");
	is(snvme_gpu_read(gpu, mem, 4608, 0, 1), -EINVAL, "past it");
	is(snvme_gpu_mem_register(set, buf, 4096, &twice, why, sizeof(why)), -EEXIST, "twice");
	snvme_gpu_close(set);
	test_large_pages(buf);
	if (access("/dev/nvidiactl", F_OK)) {
		opts.device = 0;
		is(snvme_gpu_open(ctrl, 1, &opts, &set, why, sizeof(why)), -ENOENT, "no GPU here");
		diag("%s", why);
	} else {
		skip("there is a GPU");
	}
	opts.device = SNVME_GPU_THREADS;
	is(snvme_gpu_open(ctrl, 1, &opts, &set, why, sizeof(why)), 0, "all was given back");
	snvme_gpu_close(set);
	snvme_close(few);
	snvme_close(other);
	free(buf);
}

int main(void)
{
	int fd = mkstemp(config);

	if (fd < 0)
		must(-errno, config);
	close(fd);
	test_open();
	test_shapes();
	test_tokens();
	test_threads("vssd:ram,size=16M,lba=4096", 1, (struct snvme_gpu_opts){ .depth = 64 }, 300);
	test_threads("vssd:ram,size=16M", 1, (struct snvme_gpu_opts){ .depth = 5, .queues = 2 }, 200);
	test_threads("vssd:ram,size=16M", 1, (struct snvme_gpu_opts){ .depth = 2 }, 100);
	test_threads("vssd:ram,size=16M,threads=2", 1,
		     (struct snvme_gpu_opts){ .depth = 1000, .queues = 4 }, 200);
	test_threads("vssd:ram,size=16M", 3, (struct snvme_gpu_opts){ .depth = 16, .stripe = 4096 },
		     100);
	test_faults();
	unlink(config);
	return done();
}
