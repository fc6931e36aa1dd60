// SPDX-License-Identifier: MIT
/* A virtual SSD in this process: vssd's home as a bus. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "user/home.h"
#include "user/serve.h"

#include "lib.h"

struct vssd_bus {
	struct snvme_bus bus;
	struct vssd_home *home;
};

static struct vssd_home *home_of(struct snvme_bus *bus)
{
	return ((struct vssd_bus *)bus)->home;
}

static uint64_t vssd_read(struct snvme_bus *bus, uint32_t offset, uint32_t size)
{
	return vssd_reg_read(vssd_home_ctrl(home_of(bus)), offset, size);
}

/* What a store starts may take its time, which a thread that sleeps does not see pass. */
static void vssd_write(struct snvme_bus *bus, uint32_t offset, uint64_t value, uint32_t size)
{
	vssd_reg_write(vssd_home_ctrl(home_of(bus)), offset, value, size);
	vssd_home_wake(home_of(bus), 0);
}

/* DMA addresses are pointers. */
static int vssd_map(struct snvme_bus *bus, void *va, size_t length, uint64_t *dma)
{
	*dma = (uintptr_t)va;
	return vssd_home_map(home_of(bus), va, length);
}

static void vssd_unmap_range(struct snvme_bus *bus, void *va, size_t length)
{
	vssd_home_unmap(home_of(bus), va, length);
}

static const uint32_t *vssd_asleep(struct snvme_bus *bus, uint16_t cqid)
{
	return vssd_home_asleep(home_of(bus), cqid);
}

static void vssd_wake(struct snvme_bus *bus, uint16_t cqid)
{
	vssd_home_wake(home_of(bus), cqid);
}

static bool vssd_pump(struct snvme_bus *bus)
{
	return vssd_home_pump(home_of(bus)) != 0;
}

static void vssd_trace_entry(struct snvme_bus *bus, uint16_t qid, uint16_t cid)
{
	vssd_trace_sqe(vssd_home_ctrl(home_of(bus)), qid, cid);
}

static void vssd_awake(struct snvme_bus *bus, int change)
{
	vssd_home_awake(home_of(bus), change);
}

static int vssd_map_far(struct snvme_bus *bus, void *va, size_t length, uint64_t *dma)
{
	*dma = (uintptr_t)va;
	return vssd_home_map_device(home_of(bus), va, length);
}

static void vssd_unmap_far(struct snvme_bus *bus, void *va, size_t length)
{
	vssd_home_unmap_device(home_of(bus), va, length);
}

static void *vssd_cmb(struct snvme_bus *bus, uint32_t bir, uint64_t offset, size_t *length, uint64_t *dma)
{
	void *va = vssd_home_cmb(home_of(bus));

	*dma = (uintptr_t)va;
	return va;
}

static void vssd_close(struct snvme_bus *bus)
{
	vssd_home_close(home_of(bus));
	free(bus);
}

static const struct snvme_bus_ops vssd_bus_ops = {
	.read = vssd_read,
	.write = vssd_write,
	.map = vssd_map,
	.unmap = vssd_unmap_range,
	.asleep = vssd_asleep,
	.wake = vssd_wake,
	.pump = vssd_pump,
	.trace_sqe = vssd_trace_entry,
	.awake = vssd_awake,
	.map_far = vssd_map_far,
	.unmap_far = vssd_unmap_far,
	.cmb = vssd_cmb,
	.close = vssd_close,
};

struct opening {
	const char *spec;
	const struct vssd_server *server;
	uint64_t far_doorbells;
};

static int open_served(struct snvme_ctrl *ctrl, const void *arg)
{
	const struct opening *opening = arg;
	struct vssd_bus *bus = calloc(1, sizeof(*bus));
	int ret;

	if (!bus)
		return -ENOMEM;
	ret = vssd_home_open(opening->spec, opening->server, &bus->home, NULL, 0);
	if (ret) {
		free(bus);
		return ret;
	}
	bus->bus.ops = &vssd_bus_ops;
	bus->bus.name = "vssd";
	bus->bus.doorbells = vssd_home_doorbells(bus->home);
	bus->bus.queues = VSSD_MAX_QUEUES;
	bus->bus.tracing = vssd_tracing(vssd_home_subsystem(bus->home));
	bus->bus.far_doorbells = opening->far_doorbells;
	return snvme_own_open(ctrl, &bus->bus);
}

int snvme_vssd_open(struct snvme_ctrl *ctrl, const void *spec)
{
	struct opening opening = { .spec = spec };

	return open_served(ctrl, &opening);
}

int snvme_vssd_open_served(const char *spec, const struct vssd_server *server,
			   uint64_t far_doorbells, struct snvme_ctrl **out)
{
	struct opening opening = { spec, server, far_doorbells };

	return snvme_open_by(open_served, &opening, 0, out);
}

SNVME_API int snvme_vssd_check(const char *name, char *why, size_t size)
{
	uint32_t nsid;
	const char *spec = snvme_named(name, "vssd", &nsid);

	if (!spec) {
		snprintf(why, size, "'%s': must begin with vssd: or vssdn1:", name);
		return -EINVAL;
	}
	return vssd_home_check(spec, why, size);
}

SNVME_API int snvme_vssd_serve(const char *name, const char *dir, struct snvme_vssd_server **server, char *why,
			       size_t size)
{
	struct vssd_serve *serve;
	uint32_t nsid;
	const char *spec = snvme_named(name, "vssd", &nsid);
	int ret;

	if (!spec || nsid) {
		snprintf(why, size, "'%s': must begin with vssd:", name);
		return -EINVAL;
	}
	ret = vssd_serve_start(spec, dir, &serve, why, size);
	if (!ret)
		*server = (struct snvme_vssd_server *)serve;
	return ret;
}

SNVME_API void snvme_vssd_serve_end(struct snvme_vssd_server *server)
{
	if (server)
		vssd_serve_stop((struct vssd_serve *)server);
}
