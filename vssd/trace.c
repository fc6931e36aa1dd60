/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The trace: each worker writes the steps of its commands into a ring of its own, which somebody else
 * empties under the worker's lock. While it is off, a step costs one look at a pointer.
 */
#include "core.h"

void vssd_trace_add(struct vssd_worker *w, enum vssd_step step, uint16_t ctrl, uint16_t qid,
		    uint16_t cid, uint32_t arg)
{
	struct vssd_trace_event *event = &w->trace[w->trace_head & w->trace_mask];

	if (w->trace_head - w->trace_tail > w->trace_mask) {
		w->trace_tail++;
		w->trace_lost++;
	}
	w->trace_head++;
	*event = (struct vssd_trace_event){
		.ns = vssd_now(w->v),
		.arg = arg,
		.ctrl = ctrl,
		.qid = qid,
		.cid = cid,
		.step = step,
		.worker = w->index,
	};
}

/* Give each worker its ring of @ring, or none, and free what they had. */
static void trace_swap(struct vssd *v, struct vssd_trace_event **ring, uint32_t events)
{
	struct vssd_trace_event *old;
	size_t old_size;
	uint32_t i;

	vssd_stop(v);
	for (i = 0; i < v->workers; i++) {
		struct vssd_worker *w = v->worker[i];

		old = w->trace;
		old_size = (w->trace_mask + 1ULL) * sizeof(*old);
		w->trace = ring ? ring[i] : NULL;
		w->trace_mask = events - 1;
		w->trace_head = 0;
		w->trace_tail = 0;
		w->trace_lost = 0;
		if (old)
			vssd_free(v, old, old_size);
	}
	v->tracing = ring;
	vssd_hooks_update(v);
	vssd_go(v);
}

int vssd_trace_start(struct vssd *v, uint32_t events)
{
	struct vssd_trace_event *ring[VSSD_MAX_WORKERS];
	size_t size = events * sizeof(*ring[0]);
	uint32_t i;

	if (!events || events & (events - 1))
		return -EINVAL;
	for (i = 0; i < v->workers; i++) {
		ring[i] = vssd_alloc(v, size);
		if (!ring[i])
			goto nomem;
	}
	trace_swap(v, ring, events);
	return 0;

nomem:
	while (i--)
		vssd_free(v, ring[i], size);
	return -ENOMEM;
}

void vssd_trace_stop(struct vssd *v)
{
	trace_swap(v, NULL, 1);
}

uint32_t vssd_trace_read(struct vssd *v, uint32_t worker, struct vssd_trace_event *out,
			 uint32_t max, uint64_t *lost)
{
	struct vssd_worker *w;
	uint32_t n = 0;

	*lost = 0;
	if (worker >= v->workers)
		return 0;
	w = v->worker[worker];
	vssd_lock(&w->lock);
	for (; n < max && w->trace_tail != w->trace_head; n++)
		out[n] = w->trace[w->trace_tail++ & w->trace_mask];
	*lost = w->trace_lost;
	w->trace_lost = 0;
	vssd_unlock(&w->lock);
	return n;
}
