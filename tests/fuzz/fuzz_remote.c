// SPDX-License-Identifier: MIT
/*
 * Messages of a vfio-user client, whatever they say, with descriptors of any kind, and memory that gets shorter
 * under a controller at work. Another client beside must be answered all the time, and nothing be left.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rig.h"
#include "user/remote.h"

#define BYTES		(64U << 10)	/* of the client's memory */
#define AT		0x100000ULL	/* its address */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct vssd_home *home;
static struct vssd_ctrl_config config;
static struct vssd_remote *neighbour;

struct client {
	struct vssd_remote *remote;
	int memory;
	uint32_t *doorbells;
};

static int say(struct vssd_remote *remote, uint16_t command, uint32_t flags, const void *body, size_t size,
	       int *fds, uint32_t n_fds, struct vssd_reply *reply)
{
	static union {
		struct vfio_user_header header;
		char bytes[VFIO_USER_MAX_MESSAGE];
	} m;

	m.header = (struct vfio_user_header){
		.command = command, .flags = flags, .size = (uint32_t)(sizeof(m.header) + size),
	};
	memcpy(m.bytes + sizeof(m.header), body, size);
	return vssd_remote_message(remote, &m, sizeof(m.header) + size, fds, n_fds, reply);
}

static void hello(struct vssd_remote *remote)
{
	const struct vfio_user_version version = { 0, 1 };
	struct vssd_reply reply;

	CHECK(!say(remote, VFIO_USER_VERSION, 0, &version, sizeof(version), NULL, 0, &reply));
	CHECK(reply.size > sizeof(reply.header) && !reply.header.error);
}

/* A register as others see it. */
static uint64_t look(struct vssd_remote *remote, uint32_t offset)
{
	const struct vfio_user_region_access ask = { offset, VFIO_PCI_BAR0_REGION_INDEX, 8 };
	struct vssd_reply reply;
	uint64_t value;

	CHECK(!say(remote, VFIO_USER_REGION_READ, 0, &ask, sizeof(ask), NULL, 0, &reply));
	CHECK(reply.size == sizeof(reply.header) + sizeof(ask) + 8);
	memcpy(&value, reply.message + sizeof(reply.header) + sizeof(ask), 8);
	return value;
}

static int take_fd(struct client *c, struct input *in)
{
	int pipes[2], fd;

	switch (take(in, 1) % 8) {
	default:
		return dup(c->memory);
	case 4:
		return eventfd(0, EFD_NONBLOCK);
	case 5:
		/* Full: nothing can be added. */
		fd = eventfd(0, 0);
		eventfd_write(fd, UINT64_MAX - 1);
		return fd;
	case 6:
		CHECK(!pipe(pipes));
		close(pipes[0]);
		return pipes[1];
	case 7:
		return open("/", O_RDONLY | O_DIRECTORY);
	}
}

static uint64_t take_value(struct input *in)
{
	switch (take(in, 1) % 8) {
	case 0:
		return AT + (take(in, 1) % 32 << 12);
	case 1:
		return take(in, 1) << 12;
	case 2:
		return BYTES;
	case 3:
		return take(in, 8);
	}
	return take_number(in);
}

/* The body of a command of this kind, as long as it says. */
static size_t take_body(struct input *in, uint16_t command, char *body)
{
	static const uint32_t regs[] = {
		SNV_REG_CC, SNV_REG_AQA, SNV_REG_ASQ, SNV_REG_ACQ, SNV_REG_NSSR, SNV_REG_INTMS,
		SNV_REG_CMBMSC, SNV_REG_DBS, SNV_REG_DBS + 4, SNV_REG_DBS + 8, SNV_REG_CSTS, 0x10,
	};
	struct vfio_user_region_access access;
	uint64_t value;

	switch (command) {
	case VFIO_USER_DMA_MAP:
		memcpy(body, &(struct vfio_user_dma_map){ 32, take(in, 1) % 5, take(in, 1) % 4 << 12, take_value(in),
							  take_value(in) }, 32);
		return 32;
	case VFIO_USER_DMA_UNMAP:
		memcpy(body, &(struct vfio_user_dma_unmap){ 24, take(in, 1) % 4, take_value(in), take_value(in) }, 24);
		return 24;
	case VFIO_USER_DEVICE_SET_IRQS:
		memcpy(body, &(struct vfio_irq_set){ 20, take(in, 1) % 4 ? 0x24 : take(in, 1),
						     take(in, 1) % 4 ? 2 : take(in, 1), take_number(in),
						     take(in, 1) % 20 }, 20);
		for (uint32_t i = 20; i < 40; i++)
			body[i] = (char)take(in, 1);
		return 40;
	case VFIO_USER_REGION_READ:
	case VFIO_USER_REGION_WRITE:
		access.region = take(in, 1) % 10;
		access.offset = take(in, 1) % 4 ? regs[take(in, 1) % 12] : take_value(in);
		access.count = take(in, 1) % 4 ? 4 : take_number(in);
		memcpy(body, &access, sizeof(access));
		value = take_value(in);
		memcpy(body + sizeof(access), &value, sizeof(value));
		return sizeof(access) + (take(in, 1) % 4 ? (access.count < 4096 ? access.count : 4096) : take(in, 1));
	}
	value = take(in, 1) % 64;
	for (uint32_t i = 0; i < value; i++)
		body[i] = (char)take(in, 1);
	return value;
}

static bool one(struct client *c, struct input *in)
{
	char body[VFIO_USER_MAX_MESSAGE] = { 0 };
	int fds[VFIO_USER_MAX_FDS];
	struct vssd_reply reply;
	uint16_t command = (uint16_t)(take(in, 1) % 16);
	uint32_t n_fds = 0, how = (uint32_t)take(in, 1);
	size_t size = take_body(in, command, body);
	int ret;

	if (how & 1)
		n_fds = 1 + (how >> 1 & 3 ? 0 : take(in, 1) % VFIO_USER_MAX_FDS);
	for (uint32_t i = 0; i < n_fds; i++)
		fds[i] = take_fd(c, in);
	ret = say(c->remote, command, how & 0xe0 ? 0 : take(in, 1), body, size, fds, n_fds, &reply);
	CHECK(ret || reply.size <= sizeof(reply.message));
	for (uint32_t i = 0; i < n_fds; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return !ret;
}

/* The controller by hand, its admin queues in the first two pages. */
static void enable(struct client *c)
{
	static const struct { uint32_t offset, count; uint64_t value; } steps[] = {
		{ SNV_REG_AQA, 4, 15 << 16 | 15 }, { SNV_REG_ASQ, 8, AT }, { SNV_REG_ACQ, 8, AT + 4096 },
		{ SNV_REG_CC, 4, SNV_CC_EN | 6 << SNV_CC_IOSQES_SHIFT | 4 << SNV_CC_IOCQES_SHIFT },
	};
	struct vfio_user_dma_map map = { sizeof(map), 3, 0, AT, BYTES };
	struct vssd_reply reply;
	int fd = dup(c->memory);

	if (say(c->remote, VFIO_USER_DMA_MAP, 0, &map, sizeof(map), &fd, 1, &reply))
		return;
	close(fd);
	for (unsigned int i = 0; i < 4; i++) {
		struct vfio_user_region_access access = { steps[i].offset, 0, steps[i].count };
		char body[24];

		memcpy(body, &access, 16);
		memcpy(body + 16, &steps[i].value, 8);
		CHECK(!say(c->remote, VFIO_USER_REGION_WRITE, 0, body, 16 + steps[i].count, NULL, 0, &reply));
	}
}

/* Its doorbells, as a client maps them. */
static void map_doorbells(struct client *c)
{
	struct vfio_region_info ask = { .argsz = 4096 };
	struct vssd_reply reply;
	void *va;

	CHECK(!say(c->remote, VFIO_USER_DEVICE_GET_REGION_INFO, 0, &ask, sizeof(ask), NULL, 0, &reply));
	CHECK(reply.fd >= 0);
	va = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, reply.fd, 4096);
	CHECK(va != MAP_FAILED);
	c->doorbells = va;
}

static void poke(struct client *c, struct input *in)
{
	char bytes[64];
	off_t at = (off_t)(take(in, 1) % 64 * 64);

	for (unsigned int i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)take(in, 1);
	CHECK(pwrite(c->memory, bytes, sizeof(bytes), at) == sizeof(bytes));
}

/* False: the connection would end. */
static bool step(struct client *c, struct input *in)
{
	struct pollfd pfd = { .fd = vssd_remote_fd(c->remote), .events = POLLIN };
	struct snv_sqe sqe = { 0 };
	uint32_t n;

	switch (take(in, 1) % 8) {
	default:
		return one(c, in);
	case 1:
		n = (uint32_t)take(in, 1) % 16;
		if (c->doorbells)
			SNV_STORE_RELEASE(&c->doorbells[n], take_number(in));
		break;
	case 2:
		poke(c, in);
		break;
	case 3:
		CHECK(!ftruncate(c->memory, (off_t)(take(in, 1) % 20) << 12));
		break;
	case 4:		/* a command that means something */
		n = (uint32_t)take(in, 1) % 16;
		sqe.opcode = (uint8_t)take(in, 1) % 16;
		sqe.nsid = snv_le32(take(in, 1) & 1);
		sqe.prp1 = snv_le64(take_value(in));
		sqe.prp2 = snv_le64(take_value(in));
		sqe.cdw10 = snv_le32((uint32_t)take(in, 4));
		sqe.cdw11 = snv_le32((uint32_t)take(in, 4));
		CHECK(pwrite(c->memory, &sqe, sizeof(sqe), n * 64) == sizeof(sqe));
		if (c->doorbells)
			SNV_STORE_RELEASE(&c->doorbells[0], (n + 1) % 16);
		break;
	case 5:
		if (poll(&pfd, 1, (int)take(in, 1) % 2) == 1)
			return !vssd_remote_kicked(c->remote);
		break;
	}
	return true;
}

static void start(void)
{
	char why[256];

	CHECK(!vssd_home_open_bare("ram,size=1M,queues=4,cmb=16k", &home, &config, why, sizeof(why)));
	CHECK(!vssd_remote_create(home, &config, -1, &neighbour));
	CHECK(!vssd_remote_guard());
	hello(neighbour);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct client c = { 0 };
	uint32_t how = (uint32_t)take(&in, 1);
	int before, after;

	if (!home)
		start();
	before = dup(0);
	close(before);
	CHECK(!vssd_remote_create(home, &config, -1, &c.remote));
	c.memory = memfd_create("client", MFD_CLOEXEC);
	CHECK(c.memory >= 0 && !ftruncate(c.memory, BYTES));
	if (how & 7) {
		hello(c.remote);
		map_doorbells(&c);
		if (how & 24)
			enable(&c);
	}
	while (in.left && step(&c, &in))
		;
	vssd_remote_destroy(c.remote);
	if (c.doorbells)
		munmap(c.doorbells, 4096);
	close(c.memory);
	CHECK(look(neighbour, SNV_REG_CAP) != UINT64_MAX);
	after = dup(0);
	close(after);
	CHECK(after == before);
	return 0;
}
