// SPDX-License-Identifier: MIT
/*
 * A controller in another process, by vfio-user: as a bus. Registers are messages, doorbells are shared memory.
 *
 * The other end maps memory by a descriptor, which memory of this process does not have. So the pages that are to
 * be reached, which the library has allocated and nobody else uses yet, are replaced by those of a file in
 * memory with the same content. Addresses for DMA are those of this process.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "user/vfio_user.h"

#include "lib.h"

#define DOORBELLS	0x1000
#define TIMEOUT_S	10	/* for an answer */
#define QUEUES		1024

/**
 * struct remote - the other end
 * @lock: guards the socket, and @id
 * @broken: nothing more can be said: the controller is gone
 * @doorbell_bytes: of bus.doorbells
 */
struct remote {
	struct snvme_bus bus;
	pthread_mutex_t lock;
	int socket;
	uint16_t id;
	bool broken;
	size_t doorbell_bytes;
};

static struct remote *remote_of(struct snvme_bus *bus)
{
	return (struct remote *)bus;
}

/* ---- messages ---------------------------------------------------------------------------------- */

/* All of @iov, with a descriptor, or -1. */
static bool send_all(int socket, struct iovec *iov, size_t n, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(__alignof__(struct cmsghdr)))) = { 0 };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = n };
	struct cmsghdr *c = (struct cmsghdr *)control;

	if (fd >= 0) {
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	while (msg.msg_iovlen) {
		ssize_t sent = sendmsg(socket, &msg, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return false;
		msg.msg_control = NULL;
		msg.msg_controllen = 0;
		while (msg.msg_iovlen && (size_t)sent >= msg.msg_iov->iov_len) {
			sent -= (ssize_t)msg.msg_iov->iov_len;
			msg.msg_iov++;
			msg.msg_iovlen--;
		}
		if (msg.msg_iovlen) {
			msg.msg_iov->iov_base = (char *)msg.msg_iov->iov_base + sent;
			msg.msg_iov->iov_len -= (size_t)sent;
		}
	}
	return true;
}

/* @length bytes; *@fd: a descriptor that came with them. */
static bool receive_all(int socket, void *to, size_t length, int *fd)
{
	while (length) {
		char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(__alignof__(struct cmsghdr))));
		struct iovec iov = { to, length };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
				      .msg_controllen = sizeof(control) };
		ssize_t n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
		struct cmsghdr *c;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		c = CMSG_FIRSTHDR(&msg);
		if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
		    c->cmsg_len == CMSG_LEN(sizeof(int))) {
			if (*fd >= 0)
				close(*fd);
			memcpy(fd, CMSG_DATA(c), sizeof(int));
		}
		to = (char *)to + n;
		length -= (size_t)n;
	}
	return true;
}

/* The answer to message @id: at most @room bytes after its header, *@got of them. */
static int receive_reply(struct remote *r, uint16_t id, void *to, size_t room, size_t *got, int *fd)
{
	struct vfio_user_header header;
	char rest[256];
	size_t left;

	if (!receive_all(r->socket, &header, sizeof(header), fd) || header.id != id ||
	    (header.flags & VFIO_USER_TYPE) != VFIO_USER_REPLY || header.size < sizeof(header) ||
	    header.size > VFIO_USER_MAX_MESSAGE)
		return -ENODEV;
	left = header.size - sizeof(header);
	*got = left < room ? left : room;
	if (*got && !receive_all(r->socket, to, *got, fd))
		return -ENODEV;
	for (left -= *got; left;) {
		size_t n = left < sizeof(rest) ? left : sizeof(rest);

		if (!receive_all(r->socket, rest, n, fd))
			return -ENODEV;
		left -= n;
	}
	if (!(header.flags & VFIO_USER_ERROR))
		return 0;
	return header.error > 0 && header.error < 4096 ? -(int)header.error : -EPROTO;
}

/**
 * struct call - a message and its answer
 * @body, @bytes: what follows the header; @more, @more_bytes: and what follows that
 * @fd: that goes with it, or -1
 * @reply, @room: where what follows the header of the answer goes
 * @got: bytes of that
 * @reply_fd: out: the caller's; or -1
 */
struct call {
	const void *body;
	size_t bytes;
	const void *more;
	size_t more_bytes;
	int fd;
	void *reply;
	size_t room;
	size_t got;
	int reply_fd;
};

/* 0; the errno that the other end said; -ENODEV: it is not there any more. */
static int call(struct remote *r, uint16_t command, struct call *c)
{
	struct vfio_user_header header = {
		.command = command,
		.size = (uint32_t)(sizeof(header) + c->bytes + c->more_bytes),
	};
	struct iovec iov[] = {
		{ &header, sizeof(header) },
		{ (void *)c->body, c->bytes },
		{ (void *)c->more, c->more_bytes },
	};
	int ret = -ENODEV;

	c->reply_fd = -1;
	pthread_mutex_lock(&r->lock);
	header.id = r->id++;
	if (!r->broken) {
		if (send_all(r->socket, iov, 3, c->fd))
			ret = receive_reply(r, header.id, c->reply, c->room, &c->got, &c->reply_fd);
		r->broken = ret == -ENODEV;
	}
	pthread_mutex_unlock(&r->lock);
	if (ret && c->reply_fd >= 0) {
		close(c->reply_fd);
		c->reply_fd = -1;
	}
	return ret;
}

static int region_access(struct remote *r, uint16_t command, uint32_t region, uint64_t offset, void *data,
			 uint32_t count)
{
	struct vfio_user_region_access ask = { offset, region, count };
	struct {
		struct vfio_user_region_access access;
		char data[8];
	} answer;
	struct call c = { .body = &ask, .bytes = sizeof(ask), .fd = -1, .reply = &answer,
			  .room = sizeof(answer.access) };
	int ret;

	if (command == VFIO_USER_REGION_READ) {
		c.room += count;
	} else {
		c.more = data;
		c.more_bytes = count;
	}
	ret = call(r, command, &c);
	if (ret)
		return ret;
	if (c.got != c.room)
		return -EPROTO;
	if (command == VFIO_USER_REGION_READ)
		memcpy(data, answer.data, count);
	return 0;
}

/* ---- the bus ----------------------------------------------------------------------------------- */

/* What is gone reads as all ones. */
static uint64_t remote_read(struct snvme_bus *bus, uint32_t offset, uint32_t size)
{
	uint64_t value = 0;

	if (region_access(remote_of(bus), VFIO_USER_REGION_READ, VFIO_PCI_BAR0_REGION_INDEX, offset, &value,
			  size))
		return UINT64_MAX;
	return value;
}

static void remote_write(struct snvme_bus *bus, uint32_t offset, uint64_t value, uint32_t size)
{
	(void)region_access(remote_of(bus), VFIO_USER_REGION_WRITE, VFIO_PCI_BAR0_REGION_INDEX, offset,
			    &value, size);
}

/* Put pages of a file in the place of those at @va, with their content. Its descriptor, or -errno. */
static int share(void *va, size_t length)
{
	int fd = memfd_create("snvme", MFD_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	for (size_t at = 0; at < length;) {
		ssize_t n = pwrite(fd, (char *)va + at, length - at, (off_t)at);

		if (n <= 0) {
			ret = n ? -errno : -EIO;
			close(fd);
			return ret;
		}
		at += (size_t)n;
	}
	if (mmap(va, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}

static int remote_map(struct snvme_bus *bus, void *va, size_t length, uint64_t *dma)
{
	struct vfio_user_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_USER_DMA_READABLE | VFIO_USER_DMA_WRITABLE,
		.address = (uintptr_t)va,
		.size = length,
	};
	struct call c = { .body = &map, .bytes = sizeof(map), .fd = share(va, length) };
	int ret;

	if (c.fd < 0)
		return c.fd;
	ret = call(remote_of(bus), VFIO_USER_DMA_MAP, &c);
	close(c.fd);
	*dma = (uintptr_t)va;
	return ret;
}

static void remote_unmap(struct snvme_bus *bus, void *va, size_t length)
{
	struct vfio_user_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.address = (uintptr_t)va,
		.size = length,
	};
	struct call c = { .body = &unmap, .bytes = sizeof(unmap), .fd = -1 };

	(void)call(remote_of(bus), VFIO_USER_DMA_UNMAP, &c);
}

static void remote_close(struct snvme_bus *bus)
{
	struct remote *r = remote_of(bus);

	if (bus->doorbells)
		munmap(bus->doorbells, r->doorbell_bytes);
	if (r->socket >= 0)
		close(r->socket);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static const struct snvme_bus_ops remote_ops = {
	.read = remote_read,
	.write = remote_write,
	.map = remote_map,
	.unmap = remote_unmap,
	.close = remote_close,
};

/* ---- opening ----------------------------------------------------------------------------------- */

static int connect_to(struct remote *r, const char *dir)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const struct timeval timeout = { .tv_sec = TIMEOUT_S };
	int n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/" VFIO_USER_SOCKET, dir);

	if (!*dir)
		return -EINVAL;
	if (n < 0 || (size_t)n >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	r->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (r->socket < 0)
		return -errno;
	if (connect(r->socket, (struct sockaddr *)&address, sizeof(address)))
		return errno == ECONNREFUSED ? -ENOENT : -errno;
	if (setsockopt(r->socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) ||
	    setsockopt(r->socket, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)))
		return -errno;
	return 0;
}

static int agree(struct remote *r)
{
	static const struct {
		struct vfio_user_version version;
		char json[64];
	} ask = { { VFIO_USER_MAJOR, VFIO_USER_MINOR }, "{\"capabilities\":{\"max_msg_fds\":1}}" };
	struct vfio_user_version answer = { 0 };
	struct call c = { .body = &ask, .bytes = sizeof(ask.version) + strlen(ask.json) + 1, .fd = -1,
			  .reply = &answer, .room = sizeof(answer) };
	int ret = call(r, VFIO_USER_VERSION, &c);

	if (ret)
		return ret;
	return c.got == sizeof(answer) && answer.major == VFIO_USER_MAJOR ? 0 : -EPROTO;
}

/* The part of BAR 0 that can be mapped: it has to hold the doorbells. */
static int map_doorbells(struct remote *r)
{
	struct vfio_region_info ask = { .argsz = 256, .index = VFIO_PCI_BAR0_REGION_INDEX };
	union {
		struct vfio_region_info info;
		char bytes[256];
	} answer;
	const struct vfio_region_info_cap_sparse_mmap *cap;
	uint64_t begin = 0, end;
	struct call c = { .body = &ask, .bytes = sizeof(ask), .fd = -1, .reply = &answer,
			  .room = sizeof(answer) };
	int ret = call(r, VFIO_USER_DEVICE_GET_REGION_INFO, &c);

	if (ret)
		return ret;
	ret = -EPROTO;
	if (c.got < sizeof(answer.info) || c.reply_fd < 0 || !(answer.info.flags & VFIO_REGION_INFO_FLAG_MMAP))
		goto out;
	end = answer.info.size;
	if (answer.info.flags & VFIO_REGION_INFO_FLAG_CAPS) {
		if (c.got < sizeof(*cap) + sizeof(cap->areas[0]) || answer.info.cap_offset % 8 ||
		    answer.info.cap_offset > c.got - sizeof(*cap) - sizeof(cap->areas[0]))
			goto out;
		cap = (const void *)(answer.bytes + answer.info.cap_offset);
		if (cap->header.id != VFIO_REGION_INFO_CAP_SPARSE_MMAP || !cap->nr_areas)
			goto out;
		begin = cap->areas[0].offset;
		end = begin + cap->areas[0].size;
	}
	if (begin > DOORBELLS || end <= DOORBELLS || end - DOORBELLS > 1 << 30)
		goto out;
	r->doorbell_bytes = end - DOORBELLS;
	r->bus.doorbells = mmap(NULL, r->doorbell_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, c.reply_fd,
				(off_t)(answer.info.offset + DOORBELLS));
	ret = 0;
	if (r->bus.doorbells == MAP_FAILED) {
		r->bus.doorbells = NULL;
		ret = -errno;
	}
out:
	if (c.reply_fd >= 0)
		close(c.reply_fd);
	return ret;
}

/* Memory space and bus mastering on, as a driver does. */
static int enable(struct remote *r)
{
	uint16_t command = 0x0006;

	return region_access(r, VFIO_USER_REGION_WRITE, VFIO_PCI_CONFIG_REGION_INDEX, 4, &command,
			     sizeof(command));
}

/* No more than have their two doorbells in what is mapped. */
static int count_queues(struct remote *r)
{
	uint64_t cap = remote_read(&r->bus, SNV_REG_CAP, 8);
	uint64_t pairs = r->doorbell_bytes >> (3 + SNV_CAP_DSTRD(cap));

	if (cap == UINT64_MAX)
		return -ENODEV;
	if (pairs < 2)
		return -EPROTO;
	r->bus.queues = pairs - 1 < QUEUES ? (uint32_t)(pairs - 1) : QUEUES;
	return 0;
}

int snvme_vfio_user_open(struct snvme_ctrl *ctrl, const void *dir)
{
	struct remote *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return -ENOMEM;
	pthread_mutex_init(&r->lock, NULL);
	r->socket = -1;
	r->bus.ops = &remote_ops;
	r->bus.name = "vfio-user";
	r->bus.own_memory = true;
	ret = connect_to(r, dir);
	if (!ret)
		ret = agree(r);
	if (!ret)
		ret = map_doorbells(r);
	if (!ret)
		ret = enable(r);
	if (!ret)
		ret = count_queues(r);
	if (ret) {
		remote_close(&r->bus);
		return ret;
	}
	return snvme_own_open(ctrl, &r->bus);
}
