// SPDX-License-Identifier: MIT
/* libsnvme's synchronous calls, with the made-up controller in a thread of its own. */
#include "lib_fake.h"

#include <sched.h>

#define MIB	(1U << 20)

static uint32_t stop;

static void *controller(void *arg)
{
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
		if (!fake_run())
			sched_yield();
	return NULL;
}

static void *reset_soon(void *arg)
{
	usleep(20000);
	fake_reset(SNVME_STATE_RESET);
	return NULL;
}

static uint32_t roll(uint32_t n)
{
	static uint64_t seed = 1;

	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(seed >> 33) % n;
}

static void test_transfers(uint32_t lba_shift, uint32_t depth)
{
	struct snvme_ctrl *ctrl = fake_open(0);
	struct snvme_queue *queue = fake_pair(ctrl, depth, 0, NULL);
	uint8_t *buf, *want = malloc(FAKE_NS_BYTES);
	uint32_t lba = 1U << lba_shift, identified;
	bool reads = true, writes = true;
	struct snvme_mem *mem;
	pthread_t thread;

	fake.lba_shift = lba_shift;
	snvme_mem_alloc(ctrl, 2 * MIB, &mem);
	buf = snvme_mem_addr(mem);
	for (uint32_t i = 0; i < FAKE_NS_BYTES; i++)
		want[i] = fake.blocks[i] = (uint8_t)roll(256);
	stop = 0;
	pthread_create(&thread, NULL, controller, NULL);
	is(snvme_read(queue, 0, buf, lba, 0), 0, "blocks of %u: one", lba);
	identified = fake.identified;
	for (int i = 0; i < 60; i++) {
		uint32_t n = roll(i % 3 ? 16 : MIB / lba) * lba;
		uint64_t at = roll((FAKE_NS_BYTES - n) / lba + 1) * (uint64_t)lba;
		uint8_t *data = buf + 4 * roll(MIB / 4);

		if (roll(2)) {
			memset(data, 0, n);
			reads &= snvme_read(queue, 0, data, n, at) == 0 &&
				 !memcmp(data, want + at, n);
		} else {
			for (uint32_t j = 0; j < n; j += 64)
				data[j] = (uint8_t)roll(256);
			memcpy(want + at, data, n);
			writes &= snvme_write(queue, FAKE_NSID, data, n, at) == 0;
		}
	}
	ok(reads, "reads of any length, depth %u", depth);
	ok(writes, "writes");
	is(snvme_flush(queue, 0), 0, "flush");
	is(snvme_flush(queue, FAKE_NSID), 0, "of a namespace that is named");
	/* One for each name that a namespace is called by, at each change of it. */
	ok(fake.identified - identified < 150, "the kernel is not asked for each (%u)",
	   fake.identified - identified);
	identified = fake.identified;
	for (int i = 0; i < 100; i++)
		reads &= snvme_read(queue, FAKE_NSID, buf, lba, 0) == 0;
	is(fake.identified, identified, "nor once for 100 of the same");
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	ok(!memcmp(want, fake.blocks, FAKE_NS_BYTES), "every byte is where it belongs");
	ok(!fake.error, "the controller has nothing to complain of");
	snvme_close(ctrl);
	free(want);
}

static void test_errors(void)
{
	struct snvme_ctrl *ctrl = fake_open(0);
	struct snvme_queue *queue = fake_pair(ctrl, 4, 0, NULL);
	struct snvme_mem *mem;
	uint32_t fetched;
	pthread_t thread;
	uint8_t *buf, other[512] __attribute__((aligned(4)));

	snvme_mem_alloc(ctrl, MIB, &mem);
	buf = snvme_mem_addr(mem);
	is(snvme_read(queue, 0, buf, 100, 0), -EINVAL, "part of a block");
	is(snvme_read(queue, 0, buf, 512, 100), -EINVAL, "from the middle of a block");
	is(snvme_read(queue, 0, buf, 1024, FAKE_NS_BYTES - 512), -ERANGE, "past the end");
	is(snvme_read(queue, 0, buf, 512, UINT64_MAX - 511), -ERANGE, "far past the end");
	is(snvme_read(queue, 0, other, 512, 0), -EFAULT, "into memory that is not registered");
	is(snvme_read(queue, 0, buf + MIB - 512, 1024, 0), -EFAULT, "and that is so in part");
	is(snvme_read(queue, 0, buf + 2, 512, 0), -EINVAL, "into unaligned memory");
	is(snvme_read(queue, 4, buf, 512, 0), -ENOENT, "from an inactive namespace");
	is(snvme_read(queue, 0, buf, 0, 0), 0, "nothing");
	fake.metadata = 8;
	is(snvme_read(queue, FAKE_NSID, buf, 512, 0), -EOPNOTSUPP, "from a format with metadata");
	fake.metadata = 0;
	is(fake.fetched, 0, "the controller saw none of them");
	snvme_queue_destroy(queue);
	queue = fake_pair(ctrl, 4, 0, NULL);

	stop = 0;
	pthread_create(&thread, NULL, controller, NULL);
	fake.bad_lba = 300;
	is(snvme_read(queue, 0, buf, MIB, 0), 0x281, "a block that cannot be read");
	is(snvme_read(queue, 0, buf, 512, 0), 0, "nothing was left in flight");
	fetched = __atomic_load_n(&fake.fetched, __ATOMIC_RELAXED);
	ok(fetched < 12, "nothing was sent after it (%u commands)", fetched);
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);

	/* Nobody answers until the reset comes. */
	pthread_create(&thread, NULL, reset_soon, NULL);
	is(snvme_write(queue, 0, buf, MIB, 0), -ECONNRESET, "cut off by a reset");
	pthread_join(thread, NULL);
	is(snvme_read(queue, 0, buf, 512, 0), -EBUSY, "what was in flight is lost");
	snvme_close(ctrl);
}

/* A wait that is longer than the clock can count. */
static void test_for_ever(void)
{
	struct snvme_ctrl *ctrl = fake_open(0);
	struct snvme_queue *queue = fake_pair(ctrl, 4, 0, NULL);
	struct snvme_completion done[4];
	pthread_t thread;

	pthread_create(&thread, NULL, reset_soon, NULL);
	is(snvme_wait(queue, done, 4, INT64_MAX), -ECONNRESET, "for ever");
	pthread_join(thread, NULL);
	snvme_close(ctrl);
}

int main(void)
{
	test_transfers(9, 1);
	test_transfers(9, 16);
	test_transfers(12, 127);
	test_errors();
	test_for_ever();
	free(fake.blocks);
	return done();
}
