// SPDX-License-Identifier: MIT
/*
 * A subsystem in this process: what it lives on, the memory that it may reach, and its threads.
 *
 * A thread that has been idle for a while sleeps until its eventfd is written. Whoever rings a
 * doorbell looks at a word to see whether that is needed: a Dekker pair, and both its barriers are
 * the sleeper's: after membarrier(2) it sees the doorbell, or the ringer has seen that it sleeps.
 */
#include <linux/membarrier.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../../gpu/cuda.h"
#include "device.h"
#include "user.h"

#define SPIN_NS		50000		/* idle for so long, a thread goes to sleep */
#define MARGIN_NS	100000		/* of a timer, so that sleep does not make it late */
#define NAP_NS		1000000		/* sleep where nobody can be relied upon to end it */
#define POLLED_SPIN_NS	1000000000	/* and what comes before it */

struct range {
	uintptr_t begin;
	uintptr_t end;
};

/* A worker. */
struct thread {
	struct vssd_home *home;
	pthread_t id;
	uint32_t index;
	uint32_t asleep;	/* read by all who ring its doorbells */
} __attribute__((aligned(64)));

struct vssd_home {
	struct vssd *v;
	struct vssd_ctrl *ctrl;
	void *doorbells;
	size_t doorbell_bytes;
	void *cmb;
	size_t cmb_bytes;
	struct vssd_uring *uring;	/* NULL without files */
	struct vssd_device *device;	/* NULL: data are in memory of the host alone */
	uint32_t workers;
	uint32_t threads;		/* that run; 0: pump */
	uint32_t stop;
	uint32_t awake;			/* how many want that nobody sleeps */
	uint32_t polled;		/* how many do not end a sleep */
	struct vssd_server server;	/* serve is NULL where there is none */
	bool membarrier;
	bool volatile_ram;
	pthread_mutex_t pump;
	pthread_mutex_t map;		/* who may change range: under vssd_stop() */
	struct range *range;		/* sorted, apart */
	size_t ranges;
	int wake[VSSD_MAX_WORKERS];
	struct thread thread[VSSD_MAX_WORKERS];
};

/* ---- what the core asks for ----------------------------------------------------------------- */

static void wake(struct vssd_home *home, uint32_t worker)
{
	eventfd_write(home->wake[worker], 1);
}

static void *env_alloc(void *ctx, size_t size)
{
	return calloc(1, size);
}

static void env_free(void *ctx, void *p, size_t size)
{
	free(p);
}

static uint64_t env_now(void *ctx)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* @media, for memory of the device too, if there is one. NULL: errno; it is closed. */
static struct vssd_media *for_device(const struct vssd_home *home, struct vssd_media *media)
{
	struct vssd_media *wrapped;

	if (!media || !home->device)
		return media;
	wrapped = vssd_device_wrap(home->device, media, vssd_ram_memory(media));
	if (!wrapped)
		media->ops->close(media);
	return wrapped;
}

static struct vssd_media *env_media_create(void *ctx, uint64_t size)
{
	const struct vssd_home *home = ctx;

	return for_device(home, vssd_ram_create(size, home->workers > 1, home->volatile_ram));
}

/* As a ringer does, and by the same barriers: see above. */
static void env_wake(void *ctx, uint32_t worker)
{
	struct vssd_home *home = ctx;

	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (SNV_LOAD_RELAXED(&home->thread[worker].asleep))
		wake(home, worker);
}

/* The first range that ends beyond @addr: its index, or home->ranges. */
static size_t range_of(const struct vssd_home *home, uintptr_t addr)
{
	size_t low = 0, high = home->ranges;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (home->range[mid].end > addr)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

static void *host_translate(void *ctx, uint64_t addr, size_t *length)
{
	const struct vssd_home *home = ctx;
	size_t i = range_of(home, addr);

	if (i == home->ranges || home->range[i].begin > addr)
		return NULL;
	if (*length > home->range[i].end - addr)
		*length = home->range[i].end - addr;
	return (void *)(uintptr_t)addr;
}

static void *host_translate_data(void *ctx, uint64_t addr, size_t *length)
{
	const struct vssd_home *home = ctx;
	void *va = host_translate(ctx, addr, length);

	return va || !home->device ? va : vssd_device_translate(home->device, addr, length);
}

static bool host_serve(void *ctx, const struct vssd_served *queue)
{
	const struct vssd_home *home = ctx;

	return home->server.serve(home->server.ctx, queue);
}

static void host_unserve(void *ctx, uint16_t sqid)
{
	const struct vssd_home *home = ctx;

	home->server.unserve(home->server.ctx, sqid);
}

/* ---- memory --------------------------------------------------------------------------------- */

/* Let @range be the ranges from now on; the old ones go. */
static void swap_ranges(struct vssd_home *home, struct range *range, size_t ranges)
{
	struct range *old = home->range;

	vssd_stop(home->v);
	home->range = range;
	home->ranges = ranges;
	vssd_go(home->v);
	free(old);
}

/* Take the range out of translate's reach. 0, -ENOENT. */
static int forget(struct vssd_home *home, uintptr_t begin, size_t length)
{
	int ret = -ENOENT;
	size_t i;

	pthread_mutex_lock(&home->map);
	i = range_of(home, begin);
	if (i < home->ranges && home->range[i].begin == begin &&
	    home->range[i].end - begin == length) {
		/* In place: an array of its own could not be had for certain. */
		vssd_stop(home->v);
		home->ranges--;
		memmove(home->range + i, home->range + i + 1,
			(home->ranges - i) * sizeof(*home->range));
		vssd_go(home->v);
		ret = 0;
	}
	pthread_mutex_unlock(&home->map);
	return ret;
}

int vssd_home_map(struct vssd_home *home, void *va, size_t length)
{
	uintptr_t begin = (uintptr_t)va, page = sysconf(_SC_PAGESIZE);
	struct range *new;
	int ret = 0;
	size_t i;

	if (!length || (begin | length) % page || length > UINTPTR_MAX - begin)
		return -EINVAL;
	pthread_mutex_lock(&home->map);
	i = range_of(home, begin);
	new = malloc((home->ranges + 1) * sizeof(*new));
	if (i < home->ranges && home->range[i].begin < begin + length) {
		ret = -EEXIST;
		free(new);
	} else if (!new) {
		ret = -ENOMEM;
	} else {
		if (i)
			memcpy(new, home->range, i * sizeof(*new));
		new[i] = (struct range){ begin, begin + length };
		if (i < home->ranges)
			memcpy(new + i + 1, home->range + i, (home->ranges - i) * sizeof(*new));
		swap_ranges(home, new, home->ranges + 1);
	}
	pthread_mutex_unlock(&home->map);
	if (!ret && home->server.map) {
		ret = home->server.map(home->server.ctx, va, length);
		if (ret)
			forget(home, begin, length);
	}
	return ret;
}

/* Wait for the transfers in flight on memory that is out of translate's reach. */
static void drain(struct vssd_home *home, void *va, size_t length)
{
	uint32_t turn = 0;

	while (!vssd_unmap(home->ctrl, va, length)) {
		if (!home->threads)
			vssd_home_pump(home);
		snv_thread_relax(turn++);
	}
}

int vssd_home_unmap(struct vssd_home *home, void *va, size_t length)
{
	int ret = forget(home, (uintptr_t)va, length);

	if (!ret && home->server.unmap)
		home->server.unmap(home->server.ctx, va, length);
	if (!ret)
		drain(home, va, length);
	return ret;
}

int vssd_home_map_device(struct vssd_home *home, void *va, size_t length)
{
	int ret;

	if (home->server.map)
		return home->server.map(home->server.ctx, va, length);
	if (!home->device)
		return -EOPNOTSUPP;
	pthread_mutex_lock(&home->map);
	vssd_stop(home->v);
	ret = vssd_device_map(home->device, va, length);
	vssd_go(home->v);
	pthread_mutex_unlock(&home->map);
	return ret;
}

int vssd_home_unmap_device(struct vssd_home *home, void *va, size_t length)
{
	int ret;

	if (home->server.unmap) {
		home->server.unmap(home->server.ctx, va, length);
		return 0;
	}
	if (!home->device)
		return -EOPNOTSUPP;
	pthread_mutex_lock(&home->map);
	vssd_stop(home->v);
	ret = vssd_device_hide(home->device, va, length);
	vssd_go(home->v);
	if (!ret) {
		drain(home, va, length);
		vssd_stop(home->v);
		vssd_device_unmap(home->device, va, length);
		vssd_go(home->v);
	}
	pthread_mutex_unlock(&home->map);
	return ret;
}

/* ---- threads -------------------------------------------------------------------------------- */

/* Tell those who ring. The barrier is theirs as well as ours. */
static void say_asleep(struct thread *t, uint32_t asleep)
{
	__atomic_store_n(&t->asleep, asleep, __ATOMIC_SEQ_CST);
	if (asleep && t->home->membarrier)
		syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

/* Until the eventfd is written, a transfer ends, or @ns have passed, unless it is VSSD_NEVER. */
static void wait_event(struct thread *t, uint64_t ns)
{
	struct vssd_home *home = t->home;
	struct pollfd fds[2] = {
		{ .fd = home->wake[t->index], .events = POLLIN },
		{ .fd = home->uring ? vssd_uring_fd(home->uring, t->index) : -1, .events = POLLIN },
	};
	struct timespec ts = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
	eventfd_t count;

	ppoll(fds, 2, ns == VSSD_NEVER ? NULL : &ts, NULL);
	if (fds[0].revents)
		eventfd_read(home->wake[t->index], &count);
}

/* For how long nothing is going to happen by itself: 0, or more than it takes to fall asleep. */
static uint64_t spare_time(struct thread *t)
{
	const struct vssd_home *home = t->home;
	uint64_t due = vssd_next_due(home->v, t->index), now = env_now(NULL);
	uint64_t limit = VSSD_NEVER;

	/* Nothing wakes us when copies end. */
	if (home->device && vssd_device_busy(home->device, t->index))
		return 0;
	/* A timer about to go off is waited for awake, so that it goes off in time. */
	if (due != VSSD_NEVER)
		limit = due > now + MARGIN_NS ? due - now - MARGIN_NS : 0;
	if (limit > NAP_NS && (!home->membarrier || SNV_LOAD_RELAXED(&home->polled) ||
			       (home->uring && vssd_uring_stuck(home->uring, t->index))))
		limit = NAP_NS;
	return limit;
}

/* Sleep, unless there is something to do. Returns whether there was. */
static bool doze(struct thread *t)
{
	bool busy = false;
	uint64_t limit;

	if (SNV_LOAD_RELAXED(&t->home->awake) || !spare_time(t)) {
		snv_cpu_relax();
		return false;
	}
	say_asleep(t, 1);
	if (vssd_poll(t->home->v, t->index) || SNV_LOAD_ACQUIRE(&t->home->stop)) {
		busy = true;
	} else {
		limit = spare_time(t);
		if (limit)
			wait_event(t, limit);
	}
	say_asleep(t, 0);
	return busy;
}

static void *work(void *arg)
{
	struct thread *t = arg;
	struct vssd_home *home = t->home;
	uint64_t idle_since = 0;
	uint32_t turn = 0;

	while (!SNV_LOAD_ACQUIRE(&home->stop)) {
		if (vssd_poll(home->v, t->index)) {
			idle_since = 0;
			continue;
		}
		if (!idle_since) {
			idle_since = env_now(NULL);
			turn = 0;
		}
		if (env_now(NULL) - idle_since <
		    (SNV_LOAD_RELAXED(&home->polled) ? POLLED_SPIN_NS : SPIN_NS))
			snv_thread_relax(turn++);
		else if (doze(t))
			idle_since = 0;
	}
	return NULL;
}

static int start_threads(struct vssd_home *home, uint32_t threads)
{
	sigset_t all, old;
	int ret = 0;

	home->membarrier = !syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0,
				    0);
	/* Signals are for the program's own threads; but for what a thread does itself (vssd_remote_guard()). */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (!ret && home->threads < threads) {
		struct thread *t = &home->thread[home->threads];
		char name[16];

		t->home = home;
		t->index = home->threads;
		ret = -pthread_create(&t->id, NULL, work, t);
		if (ret)
			break;
		snprintf(name, sizeof(name), "vssd-%u", t->index);
		pthread_setname_np(t->id, name);
		home->threads++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return ret;
}

static void stop_threads(struct vssd_home *home)
{
	SNV_STORE_RELEASE(&home->stop, 1);
	for (uint32_t i = 0; i < home->threads; i++)
		wake(home, i);
	for (uint32_t i = 0; i < home->threads; i++)
		pthread_join(home->thread[i].id, NULL);
	home->threads = 0;
}

const uint32_t *vssd_home_asleep(struct vssd_home *home, uint16_t cqid)
{
	return home->threads ? &home->thread[cqid % home->workers].asleep : NULL;
}

void vssd_home_wake(struct vssd_home *home, uint16_t cqid)
{
	if (home->threads)
		wake(home, cqid % home->workers);
}

void vssd_home_awake(struct vssd_home *home, int change)
{
	__atomic_fetch_add(&home->awake, change, __ATOMIC_RELAXED);
	for (uint32_t i = 0; i < home->threads; i++)
		wake(home, i);
}

void vssd_home_polled(struct vssd_home *home, int change)
{
	__atomic_fetch_add(&home->polled, change, __ATOMIC_RELAXED);
	for (uint32_t i = 0; i < home->threads; i++)
		wake(home, i);
}

uint32_t vssd_home_pump(struct vssd_home *home)
{
	uint32_t n;

	if (home->threads || pthread_mutex_trylock(&home->pump))
		return 0;
	n = vssd_poll(home->v, 0);
	pthread_mutex_unlock(&home->pump);
	return n;
}

/* ---- opening and closing -------------------------------------------------------------------- */

/* Where the sentence about a failure goes. */
struct reason {
	char *why;
	size_t size;
};

#define failed(r, err, ...) vssd_why((r)->why, (r)->size, err, __VA_ARGS__)

static int open_medium(struct vssd_home *home, const struct vssd_ns_spec *ns,
		       struct vssd_media **media, const struct reason *r)
{
	int ret;

	if (ns->medium == VSSD_FILE) {
		if (!home->uring)
			home->uring = vssd_uring_create(home->workers, home->wake, false);
		if (!home->uring)
			return failed(r, -errno, "io_uring: %s", strerror(errno));
		ret = vssd_file_open(home->uring, &ns->file, media, r->why, r->size);
		if (ret)
			return ret;
		*media = for_device(home, *media);
		return *media ? 0 : failed(r, -errno, "%s: %s", ns->file.path, strerror(errno));
	}
	*media = ns->medium == VSSD_RAM ? env_media_create(home, ns->file.size) :
					  vssd_null_create(ns->file.size);
	return *media ? 0 : failed(r, -errno, "%llu bytes of memory: %s",
				   (unsigned long long)ns->file.size, strerror(errno));
}

static int add_namespace(struct vssd_home *home, const struct vssd_spec *spec, uint32_t i,
			 const struct reason *r)
{
	struct vssd_ns_config config = spec->ns[i].ns;
	int ret = open_medium(home, &spec->ns[i], &config.media, r);

	if (ret)
		return ret;
	ret = vssd_ns_add(home->v, &config, NULL);
	if (!ret)
		return 0;
	config.media->ops->close(config.media);
	if (ret == -EEXIST)
		return failed(r, ret, "namespaces[%u].nsid: %u is there already", i, config.nsid);
	return failed(r, ret, "namespaces[%u]: %s", i,
		      ret == -EINVAL ? "its size, zones or format do not fit together" :
				       strerror(-ret));
}

static void *map_pages(size_t length)
{
	void *p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int add_controller(struct vssd_home *home, const struct vssd_spec *spec,
			  const struct reason *r)
{
	struct vssd_host host = {
		.translate = host_translate,
		.translate_data = host_translate_data,
		.ctx = home,
	};
	int ret;

	home->doorbell_bytes = vssd_doorbell_bytes(&spec->ctrl);
	home->doorbells = map_pages(home->doorbell_bytes);
	home->cmb_bytes = spec->ctrl.cmb_size;
	if (home->cmb_bytes)
		home->cmb = map_pages(home->cmb_bytes);
	if (!home->doorbells || (home->cmb_bytes && !home->cmb))
		return failed(r, -ENOMEM, "controller: no memory for doorbells and cmb");
	host.doorbells = home->doorbells;
	if (home->server.serve) {
		host.serve = host_serve;
		host.unserve = host_unserve;
	}
	host.cmb = home->cmb;
	ret = vssd_ctrl_add(home->v, &spec->ctrl, &host, &home->ctrl);
	return ret ? failed(r, ret, "controller: %s", strerror(-ret)) : 0;
}

static int make_wakes(struct vssd_home *home, const struct reason *r)
{
	for (uint32_t i = 0; i < home->workers; i++) {
		home->wake[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (home->wake[i] < 0)
			return failed(r, -errno, "eventfd: %s", strerror(errno));
	}
	return 0;
}

static int add_device(struct vssd_home *home, uint32_t ordinal, const struct reason *r)
{
	const struct snvme_cuda *cuda = snvme_cuda_open(r->why, r->size);

	if (!cuda)
		return -errno;
	return vssd_device_cuda(cuda, ordinal, home->workers, VSSD_DEVICE_STAGING, &home->device,
				r->why, r->size);
}

static int build(struct vssd_home *home, const struct vssd_spec *spec, bool bare,
		 const struct reason *r)
{
	struct vssd_env env = {
		.alloc = env_alloc,
		.free = env_free,
		.now = env_now,
		.media_create = env_media_create,
		.wake = env_wake,
		.ctx = home,
	};
	struct vssd_config config = spec->config;
	int ret = make_wakes(home, r);

	if (ret)
		return ret;
	if (spec->gpu != VSSD_NO_GPU)
		ret = add_device(home, spec->gpu, r);
	if (ret)
		return ret;
	config.workers = home->workers;
	ret = vssd_create(&env, &config, &home->v);
	if (ret)
		return failed(r, ret, "%s", ret == -EINVAL ? "timing: no model has such figures" :
							     strerror(-ret));
	for (uint32_t i = 0; !ret && i < spec->n_ns; i++)
		ret = add_namespace(home, spec, i, r);
	if (!ret && !bare)
		ret = add_controller(home, spec, r);
	for (uint32_t i = 0; !ret && i < spec->n_faults; i++) {
		ret = vssd_fault_add(home->v, &spec->fault[i]);
		if (ret)
			failed(r, ret, "faults[%u]: %s", i, strerror(-ret));
	}
	if (!ret && spec->threads) {
		ret = start_threads(home, spec->threads);
		if (ret)
			failed(r, ret, "threads: %s", strerror(-ret));
	}
	return ret;
}

static int open_spec(const struct vssd_spec *spec, const struct vssd_server *server, bool bare,
		     struct vssd_home **out, const struct reason *r)
{
	struct vssd_home *home = aligned_alloc(64, sizeof(*home));
	int ret;

	if (!home)
		return failed(r, -ENOMEM, "out of memory");
	memset(home, 0, sizeof(*home));
	memset(home->wake, 0xff, sizeof(home->wake));
	if (server)
		home->server = *server;
	home->workers = spec->threads ? spec->threads : 1;
	home->volatile_ram = spec->config.power_loss;
	pthread_mutex_init(&home->pump, NULL);
	pthread_mutex_init(&home->map, NULL);
	ret = build(home, spec, bare, r);
	if (ret)
		vssd_home_close(home);
	else
		*out = home;
	return ret;
}

int vssd_home_open(const char *text, const struct vssd_server *server, struct vssd_home **out,
		   char *why, size_t size)
{
	const struct reason r = { why, size };
	struct vssd_spec spec = { 0 };
	int ret = vssd_spec_parse(text, &spec, why, size);

	if (ret)
		return ret;
	ret = open_spec(&spec, server, false, out, &r);
	vssd_spec_free(&spec);
	return ret;
}

int vssd_home_open_bare(const char *text, struct vssd_home **out, struct vssd_ctrl_config *config,
			char *why, size_t size)
{
	const struct reason r = { why, size };
	struct vssd_spec spec = { 0 };
	int ret = vssd_spec_parse(text, &spec, why, size);

	if (ret)
		return ret;
	*config = spec.ctrl;
	if (!spec.threads)
		ret = failed(&r, -EINVAL, "threads: nobody else would serve others");
	else if (spec.gpu != VSSD_NO_GPU)
		ret = failed(&r, -EINVAL, "gpu: other processes cannot share memory of a GPU this way");
	else
		ret = open_spec(&spec, NULL, true, out, &r);
	vssd_spec_free(&spec);
	return ret;
}

int vssd_home_check(const char *text, char *why, size_t size)
{
	struct vssd_spec spec = { 0 };
	int ret = vssd_spec_parse(text, &spec, why, size);

	if (!ret)
		vssd_spec_free(&spec);
	return ret;
}

void vssd_home_close(struct vssd_home *home)
{
	stop_threads(home);
	if (home->v)
		vssd_destroy(home->v);
	if (home->device)
		vssd_device_destroy(home->device);
	vssd_uring_destroy(home->uring);
	for (uint32_t i = 0; i < home->workers; i++)
		if (home->wake[i] >= 0)
			close(home->wake[i]);
	if (home->doorbells)
		munmap(home->doorbells, home->doorbell_bytes);
	if (home->cmb)
		munmap(home->cmb, home->cmb_bytes);
	pthread_mutex_destroy(&home->map);
	pthread_mutex_destroy(&home->pump);
	free(home->range);
	free(home);
}

struct vssd *vssd_home_subsystem(struct vssd_home *home)
{
	return home->v;
}

struct vssd_ctrl *vssd_home_ctrl(struct vssd_home *home)
{
	return home->ctrl;
}

void *vssd_home_doorbells(struct vssd_home *home)
{
	return home->doorbells;
}

void *vssd_home_cmb(struct vssd_home *home)
{
	return home->cmb;
}
