// SPDX-License-Identifier: MIT
/* The histogram's percentiles against sorted data. */
#include "../tap.h"
#include "../../tools/histogram.c"

#define N 100000

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Values of up to @bits bits, as many of each length. */
static void against_sorted(const char *name, unsigned int bits)
{
	static const double parts[] = { 0.00001, 0.01, 0.5, 0.9, 0.99, 0.999, 0.9999, 1 };
	struct histogram *h = calloc(1, sizeof(*h)), *half = calloc(2, sizeof(*half));
	uint64_t *values = malloc(N * sizeof(*values)), state = 88172645463325252ULL;
	double worst = 0, sum = 0;

	for (size_t i = 0; i < N; i++) {
		values[i] = next(&state) >> (63 - next(&state) % bits);
		sum += (double)values[i];
		histogram_add(h, values[i]);
		histogram_add(&half[i & 1], values[i]);
	}
	qsort(values, N, sizeof(*values), compare);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		size_t rank = (size_t)(parts[i] * N);
		uint64_t want = values[rank ? rank - 1 : 0];
		uint64_t got = histogram_percentile(h, parts[i]);
		double error = (double)got - (double)want;

		if (want)
			error /= (double)want;
		if (error < 0)
			error = -error;
		if (error > worst)
			worst = error;
	}
	ok(worst < 0.01, "%s: percentiles within 1%% of sorted values (worst %.4f%%)", name,
	   worst * 100);
	is(h->min, values[0], "%s: min", name);
	is(h->max, values[N - 1], "%s: max", name);
	if (bits < 40)
		ok(histogram_mean(h) > sum / N * 0.999999 && histogram_mean(h) < sum / N * 1.000001,
		   "%s: mean", name);
	histogram_merge(&half[0], &half[1]);
	ok(!memcmp(&half[0], h, sizeof(*h)), "%s: two halves merged are the whole", name);
	free(values);
	free(half);
	free(h);
}

static void limits(void)
{
	struct histogram *h = calloc(1, sizeof(*h)), *empty = calloc(1, sizeof(*empty));
	unsigned int last = 0, gaps = 0;

	is(histogram_percentile(h, 0.5), 0, "empty: percentile 0");
	ok(histogram_mean(h) == 0, "empty: mean 0");
	for (uint64_t v = 0; v < 1 << 20; v++) {
		unsigned int index = histogram_index(v);

		gaps += index != last && index != last + 1;
		last = index;
	}
	is(gaps, 0, "buckets follow each other without gaps");
	is(histogram_index(UINT64_MAX), HISTOGRAM_BUCKETS - 1, "the largest value has the last bucket");
	histogram_add(h, 1000003);
	is(histogram_percentile(h, 0.5), 1000003, "one value is its own median");
	histogram_merge(h, empty);
	is(h->min, 1000003, "merging nothing leaves min");
	histogram_merge(empty, h);
	is(empty->min, 1000003, "merging into nothing takes min");
	free(h);
	free(empty);
}

int main(void)
{
	against_sorted("small", 8);
	against_sorted("latencies", 34);
	against_sorted("all", 63);
	limits();
	return done();
}
