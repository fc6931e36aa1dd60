// SPDX-License-Identifier: MIT
/*
 * Prints the frequency of this machine's time stamp counter in kHz, for guest.sh. TCG hands the counter to its guests
 * as it is, and they would find out about it themselves, by a timer that is emulated: on a busy machine they have
 * been wrong by a factor of 20, and their clocks with them.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

/* Both clocks at one time, or as near as nothing came between. */
static void now(uint64_t *ns, uint64_t *ticks)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < 100; i++) {
		uint64_t before = __rdtsc(), after;
		struct timespec ts;

		clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
		after = __rdtsc();
		if (after - before >= least)
			continue;
		least = after - before;
		*ns = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
		*ticks = before + least / 2;
	}
}

int main(void)
{
	static const struct timespec tenth = { .tv_nsec = 100000000 };
	uint64_t ns[2], ticks[2];

	now(&ns[0], &ticks[0]);
	nanosleep(&tenth, NULL);
	now(&ns[1], &ticks[1]);
	printf("%llu\n", (unsigned long long)((ticks[1] - ticks[0]) * 1000000 / (ns[1] - ns[0])));
	return 0;
}
