// SPDX-License-Identifier: MIT
/*
 * Doorbells: what is written where, and that a shadow doorbell is never lost.
 */
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "ring.h"
#include "tap.h"

#define UNTOUCHED	0xdeadbeefU

static void test_plain(void)
{
	uint32_t mmio = UNTOUCHED;
	struct snv_db db = { .mmio = &mmio };
	bool pass = true;

	for (uint32_t val = 0; val < 65536; val++) {
		snv_db_ring(&db, 65536, val ? val - 1 : 65535, val);
		pass &= mmio == val;
	}
	ok(pass, "without shadow doorbells each move is written to the register");
}

/* Did the move from @old to @val pass @ei? One step at a time. */
static bool passes(uint32_t entries, uint32_t old, uint32_t val, uint32_t ei)
{
	if (ei >= entries)
		return true;
	for (; old != val; old = (old + 1) % entries)
		if (old == ei)
			return true;
	return false;
}

static bool rings(uint32_t entries, uint32_t old, uint32_t val, uint32_t ei)
{
	uint32_t mmio = UNTOUCHED, shadow = UNTOUCHED, eventidx = ei;
	struct snv_db db = { &mmio, &shadow, &eventidx };

	snv_db_ring(&db, entries, old, val);
	return shadow == val && eventidx == ei &&
	       mmio == (passes(entries, old, val, ei) ? val : UNTOUCHED);
}

static void test_eventidx(void)
{
	static const uint32_t big[] = { 64, 1000, 4096, 65535, 65536 };
	bool pass = true;

	for (uint32_t entries = 2; entries <= 17; entries++)
		for (uint32_t old = 0; old < entries; old++)
			for (uint32_t val = 0; val < entries; val++)
				for (uint32_t ei = 0; ei < entries + 2; ei++)
					pass &= old == val || rings(entries, old, val, ei);
	ok(pass, "EventIdx, every case of small rings");

	pass = true;
	for (size_t i = 0; i < sizeof(big) / sizeof(*big); i++) {
		uint32_t n = big[i];
		const uint32_t at[] = { 0, 1, 2, n / 2 - 1, n / 2, n / 2 + 1, n - 2, n - 1,
			n, n + 1, 65535, 65536, 0x10000 + 5, 0x7fffffff, 0x80000000, 0xffffffff };

		for (int o = 0; o < 8; o++)
			for (int v = 0; v < 8; v++)
				for (size_t e = 0; e < sizeof(at) / sizeof(*at); e++)
					pass &= at[o] == at[v] || rings(n, at[o], at[v], at[e]);
	}
	ok(pass, "EventIdx, edges of large rings");
}

/*
 * The store of the shadow entry and the load of the EventIdx against the controller's store of the
 * EventIdx and load of the shadow entry: at least one side must see the other's store. The two meet
 * before each try, and part by a few cycles more or less, so that the tries overlap in every way.
 */
#define TRIES	400000

static struct {
	uint32_t shadow __attribute__((aligned(128)));
	uint32_t eventidx __attribute__((aligned(128)));
	uint32_t host_at __attribute__((aligned(128)));
	uint32_t ctrl_at __attribute__((aligned(128)));
} line;

static uint32_t host_saw[TRIES + 1], ctrl_saw[TRIES + 1];

static void meet(uint32_t *mine, uint32_t *other, uint32_t try, uint32_t delay)
{
	__atomic_store_n(mine, try, __ATOMIC_RELEASE);
	for (int spin = 0; __atomic_load_n(other, __ATOMIC_ACQUIRE) < try; spin++)
		if (spin > 1000)
			sched_yield();
	for (volatile uint32_t i = 0; i < delay; i++)
		;
}

static void *ctrl_side(void *arg)
{
	for (uint32_t try = 1; try <= TRIES; try++) {
		meet(&line.ctrl_at, &line.host_at, try, try / 16 % 16);
		__atomic_store_n(&line.eventidx, try, __ATOMIC_SEQ_CST);
		ctrl_saw[try] = __atomic_load_n(&line.shadow, __ATOMIC_SEQ_CST);
	}
	return arg;
}

static void test_dekker(void)
{
	unsigned int lost = 0, both = 0;
	pthread_t thread;

	if (pthread_create(&thread, NULL, ctrl_side, NULL)) {
		ok(false, "pthread_create");
		return;
	}
	for (uint32_t try = 1; try <= TRIES; try++) {
		meet(&line.host_at, &line.ctrl_at, try, try % 16);
		host_saw[try] = snv_shadow_exchange(&line.shadow, &line.eventidx, try);
	}
	pthread_join(thread, NULL);
	for (uint32_t try = 1; try <= TRIES; try++) {
		lost += host_saw[try] != try && ctrl_saw[try] != try;
		both += host_saw[try] == try && ctrl_saw[try] == try;
	}
	diag("%u of %u times each side saw the other", both, TRIES);
	is(lost, 0, "times that neither side saw the other");
}

int main(void)
{
	alarm(1800);
	test_plain();
	test_eventidx();
	test_dekker();
	return done();
}
