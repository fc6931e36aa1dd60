/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The trace: each worker writes the steps of its commands into a ring of its own, which somebody else
 * empties under the worker's lock; the host ends share one more, with its own lock. While it is off,
 * a step costs one look at a pointer.
 */
#include "core.h"

static void add(struct vssd *v, struct vssd_trace_ring *r, struct vssd_trace_event event)
{
	event.ns = vssd_now(v);
	if (r->head - r->tail > r->mask) {
		r->tail++;
		r->lost++;
	}
	r->event[r->head++ & r->mask] = event;
}

void vssd_trace_add(struct vssd_worker *w, enum vssd_step step, uint16_t ctrl, uint16_t qid,
		    uint16_t cid, uint32_t arg)
{
	add(w->v, &w->trace, (struct vssd_trace_event){
		.arg = arg,
		.ctrl = ctrl,
		.qid = qid,
		.cid = cid,
		.step = step,
		.worker = w->index,
	});
}

const uint32_t *vssd_tracing(const struct vssd *v)
{
	return &v->tracing;
}

void vssd_trace_sqe(struct vssd_ctrl *ctrl, uint16_t qid, uint16_t cid)
{
	struct vssd *v = ctrl->v;

	vssd_lock(&v->host_trace_lock);
	if (v->host_trace.event)
		add(v, &v->host_trace, (struct vssd_trace_event){
			.ctrl = ctrl->cntlid,
			.qid = qid,
			.cid = cid,
			.step = VSSD_STEP_SQE,
			.worker = VSSD_TRACE_HOST,
		});
	vssd_unlock(&v->host_trace_lock);
}

/* The ring of a worker, or that of the host ends, which comes last. */
static struct vssd_trace_ring *ring_of(struct vssd *v, uint32_t i)
{
	return i < v->workers ? &v->worker[i]->trace : &v->host_trace;
}

/* Give each its ring of @event, or none, and free what they had. */
static void trace_swap(struct vssd *v, struct vssd_trace_event **event, uint32_t events)
{
	uint32_t i;

	vssd_stop(v);
	vssd_lock(&v->host_trace_lock);
	for (i = 0; i <= v->workers; i++) {
		struct vssd_trace_ring *r = ring_of(v, i);

		if (r->event)
			vssd_free(v, r->event, (r->mask + 1ULL) * sizeof(*r->event));
		*r = (struct vssd_trace_ring){ .event = event ? event[i] : NULL, .mask = events - 1 };
	}
	vssd_unlock(&v->host_trace_lock);
	SNV_STORE_RELAXED(&v->tracing, event != NULL);
	vssd_hooks_update(v);
	vssd_go(v);
}

int vssd_trace_start(struct vssd *v, uint32_t events)
{
	struct vssd_trace_event *event[VSSD_MAX_WORKERS + 1];
	size_t size = events * sizeof(*event[0]);
	uint32_t i;

	if (!events || events & (events - 1))
		return -EINVAL;
	for (i = 0; i <= v->workers; i++) {
		event[i] = vssd_alloc(v, size);
		if (!event[i])
			goto nomem;
	}
	trace_swap(v, event, events);
	return 0;

nomem:
	while (i--)
		vssd_free(v, event[i], size);
	return -ENOMEM;
}

void vssd_trace_stop(struct vssd *v)
{
	trace_swap(v, NULL, 1);
}

uint32_t vssd_trace_read(struct vssd *v, uint32_t worker, struct vssd_trace_event *out,
			 uint32_t max, uint64_t *lost)
{
	struct vssd_trace_ring *r;
	uint32_t n = 0, *lock;

	*lost = 0;
	if (worker > v->workers)
		return 0;
	r = ring_of(v, worker);
	lock = worker < v->workers ? &v->worker[worker]->lock : &v->host_trace_lock;
	vssd_lock(lock);
	for (; n < max && r->tail != r->head; n++)
		out[n] = r->event[r->tail++ & r->mask];
	*lost = r->lost;
	r->lost = 0;
	vssd_unlock(lock);
	return n;
}
