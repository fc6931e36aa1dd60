// SPDX-License-Identifier: MIT
#include "histogram.h"

void histogram_merge(struct histogram *to, const struct histogram *from)
{
	if (from->count == 0)
		return;
	if (to->count == 0 || from->min < to->min)
		to->min = from->min;
	if (from->max > to->max)
		to->max = from->max;
	to->count += from->count;
	to->sum += from->sum;
	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++)
		to->bucket[i] += from->bucket[i];
}

static uint64_t bucket_middle(unsigned int index)
{
	unsigned int shift;
	uint64_t low;

	if (index < 2U << HISTOGRAM_BITS)
		return index;
	shift = (index >> HISTOGRAM_BITS) - 1;
	low = (uint64_t)(index - (shift << HISTOGRAM_BITS)) << shift;
	return low + ((1ULL << shift) >> 1);
}

uint64_t histogram_percentile(const struct histogram *h, double part)
{
	double wanted = part * (double)h->count;
	uint64_t seen = 0, value;

	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->bucket[i];
		if (h->bucket[i] == 0 || (double)seen < wanted)
			continue;
		value = bucket_middle(i);
		if (value < h->min)
			return h->min;
		return value > h->max ? h->max : value;
	}
	return h->max;
}

double histogram_mean(const struct histogram *h)
{
	return h->count ? (double)h->sum / (double)h->count : 0;
}
