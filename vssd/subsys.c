// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* An NVM subsystem: making and unmaking it, stopping its workers, what they have counted. */
#include "core.h"

#define DEFAULT_INFLIGHT	256
#define MAX_INFLIGHT		65536

/*
 * The stop: @stopping asks the workers to stay out, so that the stopper gets each lock even from
 * one that does nothing but take it. A worker holds no lock but its own, and whoever stops takes
 * them in ascending order under stop_lock: no two can wait for each other.
 */
void vssd_stop(struct vssd *v)
{
	vssd_lock(&v->stop_lock);
	SNV_STORE_RELAXED(&v->stopping, 1);
	for (uint32_t i = 0; i < v->workers; i++)
		vssd_lock(&v->worker[i]->lock);
}

void vssd_go(struct vssd *v)
{
	SNV_STORE_RELAXED(&v->stopping, 0);
	for (uint32_t i = v->workers; i-- > 0;)
		vssd_unlock(&v->worker[i]->lock);
	vssd_unlock(&v->stop_lock);
}

uint64_t vssd_random(struct vssd *v)
{
	uint64_t x;

	vssd_lock(&v->model_lock);
	x = vssd_draw(v);
	vssd_unlock(&v->model_lock);
	return x;
}

static void worker_free(struct vssd *v, struct vssd_worker *w)
{
	if (!w)
		return;
	for (uint32_t i = 0; w->pool && i < w->pool_size; i++) {
		vssd_segs_free(v, &w->pool[i].data);
		vssd_segs_free(v, &w->pool[i].meta);
	}
	vssd_free(v, w->heap, w->pool_size * sizeof(*w->heap));
	vssd_free(v, w->pool, w->pool_size * sizeof(*w->pool));
	vssd_free(v, w, sizeof(*w));
}

static struct vssd_worker *worker_create(struct vssd *v, uint32_t index)
{
	struct vssd_worker *w = vssd_alloc(v, sizeof(*w));

	if (!w)
		return NULL;
	w->v = v;
	w->index = index;
	w->pool_size = v->max_inflight + VSSD_SPARE_COMMANDS;
	w->pool = vssd_alloc(v, w->pool_size * sizeof(*w->pool));
	w->heap = vssd_alloc(v, w->pool_size * sizeof(*w->heap));
	if (!w->pool || !w->heap) {
		worker_free(v, w);
		return NULL;
	}
	/* The first of the pool is the first to be used, and used again: it stays in the cache. */
	for (uint32_t i = w->pool_size; i-- > 0;) {
		struct vssd_cmd *cmd = &w->pool[i];

		cmd->worker = w;
		cmd->data.seg = cmd->data.inl;
		cmd->data.cap = VSSD_INLINE_SEGS;
		cmd->meta.seg = cmd->meta.inl;
		cmd->meta.cap = VSSD_INLINE_SEGS;
		cmd->next = w->free;
		w->free = cmd;
	}
	w->n_free = w->pool_size;
	return w;
}

/* @text, or @otherwise, padded with spaces as Identify wants it. */
static void pad(char *to, size_t size, const char *text, const char *otherwise)
{
	size_t i = 0;

	if (!text)
		text = otherwise;
	for (; i < size && text[i]; i++)
		to[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
	for (; i < size; i++)
		to[i] = ' ';
}

int vssd_create(const struct vssd_env *env, const struct vssd_config *config, struct vssd **out)
{
	struct vssd *v;
	int ret;

	if (!config->workers || config->workers > VSSD_MAX_WORKERS ||
	    config->max_inflight > MAX_INFLIGHT)
		return -EINVAL;
	v = env->alloc(env->ctx, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->env = *env;
	v->random = config->seed ? config->seed : 1;
	v->power_loss = config->power_loss;
	v->timing = config->timing;
	v->created_at = vssd_now(v);
	pad(v->serial, sizeof(v->serial), config->serial, "vssd");
	pad(v->model, sizeof(v->model), config->model, "snvme virtual SSD");
	ret = vssd_timing_init(v);
	if (ret) {
		vssd_free(v, v, sizeof(*v));
		return ret;
	}
	v->max_inflight = config->max_inflight;
	if (!v->max_inflight)
		v->max_inflight = (vssd_timing_parallel(&v->timing) + config->workers - 1) /
				  config->workers;
	if (!v->max_inflight)
		v->max_inflight = DEFAULT_INFLIGHT;
	for (; v->workers < config->workers; v->workers++) {
		v->worker[v->workers] = worker_create(v, v->workers);
		if (!v->worker[v->workers]) {
			vssd_destroy(v);
			return -ENOMEM;
		}
	}
	vssd_hooks_update(v);
	*out = v;
	return 0;
}

void vssd_destroy(struct vssd *v)
{
	for (uint32_t i = 0; i < v->n_ctrl; i++)
		if (v->ctrl[i])
			vssd_ctrl_remove(v->ctrl[i]);
	for (uint32_t nsid = 1; nsid <= VSSD_MAX_NS; nsid++)
		if (v->ns[nsid])
			vssd_ns_free(v->ns[nsid]);
	vssd_trace_stop(v);
	vssd_fault_clear(v);
	vssd_timing_free(v);
	for (uint32_t i = 0; i < v->workers; i++)
		worker_free(v, v->worker[i]);
	vssd_free(v, v, sizeof(*v));
}

uint32_t vssd_media_inflight(struct vssd *v, uint32_t worker)
{
	return SNV_LOAD_RELAXED(&v->worker[worker]->n_media);
}

void vssd_get_stats(struct vssd *v, struct vssd_stats *stats)
{
	vssd_stop(v);
	vssd_sum_stats(v, stats);
	stats->timing = v->timing_stats;
	vssd_go(v);
}
