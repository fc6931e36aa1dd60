/* SPDX-License-Identifier: MIT */
/*
 * A log-linear histogram: 128 buckets to each power of two, so that a value taken out differs from
 * the one put in by less than 1/256. No allocation, no division where values are added.
 */
#ifndef SNVME_HISTOGRAM_H
#define SNVME_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BITS		7
#define HISTOGRAM_BUCKETS	((64 - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS)

/**
 * struct histogram - all zeros when empty
 * @count: values
 * @sum: of all values
 * @min: smallest value; undefined when empty
 * @max: largest value
 * @bucket: how many values of each size
 */
struct histogram {
	uint64_t count;
	uint64_t sum;
	uint64_t min;
	uint64_t max;
	uint64_t bucket[HISTOGRAM_BUCKETS];
};

static inline unsigned int histogram_index(uint64_t value)
{
	unsigned int shift;

	if (value < 1U << HISTOGRAM_BITS)
		return (unsigned int)value;
	shift = 63U - (unsigned int)__builtin_clzll(value) - HISTOGRAM_BITS;
	return (shift << HISTOGRAM_BITS) + (unsigned int)(value >> shift);
}

static inline void histogram_add(struct histogram *h, uint64_t value)
{
	if (value < h->min || h->count == 0)
		h->min = value;
	if (value > h->max)
		h->max = value;
	h->count++;
	h->sum += value;
	h->bucket[histogram_index(value)]++;
}

void histogram_merge(struct histogram *to, const struct histogram *from);

/* The smallest value that at least @part, 0 < @part <= 1, of all values do not exceed; 0 if empty. */
uint64_t histogram_percentile(const struct histogram *h, double part);

double histogram_mean(const struct histogram *h);

#endif /* SNVME_HISTOGRAM_H */
