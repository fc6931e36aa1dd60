// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * When commands end: no model, or a fixed latency with parallel units; flash.c has the third. Models
 * run in virtual time: they are told when a command began and say when it ends, and nothing waits.
 */
#include "core.h"

#define MAX_UNITS	4096U
#define MAX_NS		1000000000000ULL	/* a quarter of an hour for one step is enough */

/* FIXED: when each unit is free again, as a heap: the earliest first. */
struct fixed {
	uint64_t free_at[MAX_UNITS];
};

static int fixed_init(struct vssd *v)
{
	if (!v->timing.units || v->timing.units > MAX_UNITS)
		return -EINVAL;
	v->timing_state = vssd_alloc(v, sizeof(struct fixed));
	return v->timing_state ? 0 : -ENOMEM;
}

/* The command takes the unit that is free first. Closed form: units / latency commands per second. */
static uint64_t fixed_end(struct vssd *v, uint64_t now, enum vssd_io_op op, uint64_t length)
{
	const struct vssd_timing *t = &v->timing;
	uint64_t *at = ((struct fixed *)v->timing_state)->free_at;
	uint64_t end = at[0] > now ? at[0] : now;
	uint32_t i = 0;

	end += op == VSSD_IO_READ ? t->read_ns : op == VSSD_IO_WRITE ? t->write_ns : t->flush_ns;
	if (t->bytes_per_us)
		end += length * 1000 / t->bytes_per_us;
	/* Put it back in its place. */
	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= t->units)
			break;
		if (child + 1 < t->units && at[child + 1] < at[child])
			child++;
		if (at[child] >= end)
			break;
		at[i] = at[child];
		i = child;
	}
	at[i] = end;
	return end;
}

int vssd_timing_init(struct vssd *v)
{
	const struct vssd_timing *t = &v->timing;

	/* So that no sum of them overflows. */
	if (t->read_ns > MAX_NS || t->write_ns > MAX_NS || t->flush_ns > MAX_NS ||
	    t->erase_ns > MAX_NS || t->buffer_ns > MAX_NS)
		return -EINVAL;
	switch (v->timing.model) {
	case VSSD_MODEL_NONE:
		return 0;
	case VSSD_MODEL_FIXED:
		return fixed_init(v);
	case VSSD_MODEL_FLASH:
		return vssd_flash_init(v);
	}
	return -EINVAL;
}

void vssd_timing_free(struct vssd *v)
{
	if (v->timing.model == VSSD_MODEL_FIXED)
		vssd_free(v, v->timing_state, sizeof(struct fixed));
	else if (v->timing.model == VSSD_MODEL_FLASH)
		vssd_flash_free(v);
	v->timing_state = NULL;
}

uint32_t vssd_timing_parallel(const struct vssd_timing *timing)
{
	switch (timing->model) {
	case VSSD_MODEL_FIXED:
		return timing->units;
	case VSSD_MODEL_FLASH:
		/* Two for each die: one at work, one to follow without a gap. */
		return 2 * timing->channels * timing->dies;
	default:
		return 0;
	}
}

uint64_t vssd_timing_end(struct vssd *v, uint64_t now, enum vssd_io_op op, uint64_t offset,
			 uint64_t length)
{
	uint64_t end;

	vssd_lock(&v->model_lock);
	if (v->timing.model == VSSD_MODEL_FIXED)
		end = fixed_end(v, now, op, length);
	else
		end = vssd_flash_end(v, now, op, offset, length);
	vssd_unlock(&v->model_lock);
	return end;
}

void vssd_timing_discard(struct vssd_ns *ns, uint64_t slba, uint64_t nlb)
{
	struct vssd *v = ns->v;

	if (v->timing.model == VSSD_MODEL_FLASH)
		vssd_timing_end(v, vssd_now(v), VSSD_IO_DISCARD,
				ns->flash_base + (slba << ns->lba_shift), nlb << ns->lba_shift);
}
