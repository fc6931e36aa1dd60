// SPDX-License-Identifier: MIT
/*
 * The vfio-user server as its clients see it: a client made of sockets and this file only, in the manner of SPDK's
 * and of QEMU's, and others that lie. While they do, a neighbour's controller must go on.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <snvme/nvme.h>
#include <snvme/snvme.h>

#include "hal.h"
#include "tap.h"
#include "user/vfio_user.h"

#define PAGE		4096U
#define MEMORY		(1U << 20)
#define IOVA		0x123400000ULL
#define ENTRIES		16U
#define PATIENCE	300	/* s */

static char dir[64];

/**
 * struct client - a connection, and one I/O queue by hand
 * @memory: of the descriptor @fd, MEMORY bytes at IOVA: page 2 q is submission queue q, page 2 q + 1 its completion
 *	queue, data are from page 8 on
 * @error: of the last answer
 */
struct client {
	int socket;
	uint16_t id;
	uint32_t error;
	int reply_fd;
	int fd;
	char *memory;
	uint32_t *doorbells;
	uint32_t tail[2], head[2], phase[2];
	uint16_t cid;
};

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- messages ---------------------------------------------------------------------------------- */

static bool send_bytes(int socket, const void *bytes, size_t length, const int *fds, size_t n_fds)
{
	char control[CMSG_SPACE(64 * sizeof(int))] = { 0 };
	struct iovec iov = { (void *)bytes, length };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c = (struct cmsghdr *)(void *)control;

	if (n_fds) {
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	return sendmsg(socket, &msg, MSG_NOSIGNAL) == (ssize_t)length;
}

static bool receive_bytes(struct client *c, void *to, size_t length)
{
	while (length) {
		char control[CMSG_SPACE(4 * sizeof(int))];
		struct iovec iov = { to, length };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
				      .msg_controllen = sizeof(control) };
		struct pollfd pfd = { .fd = c->socket, .events = POLLIN };
		struct cmsghdr *cmsg;
		ssize_t n = poll(&pfd, 1, PATIENCE * 1000) == 1 ? recvmsg(c->socket, &msg, 0) : -1;

		if (n <= 0)
			return false;
		cmsg = CMSG_FIRSTHDR(&msg);
		if (cmsg && cmsg->cmsg_type == SCM_RIGHTS) {
			/* One with a message, no more. */
			if (c->reply_fd >= 0 || cmsg->cmsg_len != CMSG_LEN(sizeof(int)))
				return false;
			memcpy(&c->reply_fd, CMSG_DATA(cmsg), sizeof(int));
		}
		to = (char *)to + n;
		length -= (size_t)n;
	}
	return true;
}

/* The bytes after the answer's header, in @to; -1: the connection is over. */
static int receive_reply(struct client *c, uint16_t command, void *to, size_t room)
{
	struct vfio_user_header header;
	char rest[VFIO_USER_MAX_MESSAGE];
	size_t length;

	if (c->reply_fd >= 0)
		close(c->reply_fd);
	c->reply_fd = -1;
	if (!receive_bytes(c, &header, sizeof(header)))
		return -1;
	length = header.size - sizeof(header);
	if (header.id != c->id || header.command != command || (header.flags & 0xf) != VFIO_USER_REPLY ||
	    header.size < sizeof(header) || length > sizeof(rest) || !receive_bytes(c, rest, length))
		return -1;
	c->error = header.flags & VFIO_USER_ERROR ? header.error : 0;
	if (!!c->error != !!(header.flags & VFIO_USER_ERROR))
		return -1;
	memcpy(to, rest, length < room ? length : room);
	return (int)length;
}

/* A command and its answer. */
static int ask(struct client *c, uint16_t command, const void *body, size_t length, const int *fds, size_t n_fds,
	       void *to, size_t room)
{
	char bytes[VFIO_USER_MAX_MESSAGE];
	struct vfio_user_header header = { .id = ++c->id, .command = command,
					   .size = (uint32_t)(sizeof(header) + length) };

	memcpy(bytes, &header, sizeof(header));
	if (length)
		memcpy(bytes + sizeof(header), body, length);
	if (!send_bytes(c->socket, bytes, sizeof(header) + length, fds, n_fds))
		return -1;
	return receive_reply(c, command, to, room);
}

/* The same, where only its error counts; -1: the connection is over. */
static int tell(struct client *c, uint16_t command, const void *body, size_t length, const int *fds, size_t n_fds)
{
	char rest[VFIO_USER_MAX_MESSAGE];

	return ask(c, command, body, length, fds, n_fds, rest, sizeof(rest)) < 0 ? -1 : (int)c->error;
}

static int dial(struct client *c)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	*c = (struct client){ .socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), .fd = -1, .reply_fd = -1 };
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/cntrl", dir);
	return connect(c->socket, (struct sockaddr *)&address, sizeof(address));
}

static int hello(struct client *c)
{
	const struct vfio_user_version version = { 0, 1 };

	return tell(c, VFIO_USER_VERSION, &version, sizeof(version), NULL, 0);
}

static void hang_up(struct client *c)
{
	if (c->reply_fd >= 0)
		close(c->reply_fd);
	if (c->fd >= 0)
		close(c->fd);
	if (c->memory)
		munmap(c->memory, MEMORY);
	if (c->doorbells)
		munmap(c->doorbells, PAGE);
	close(c->socket);
}

/* ---- the device -------------------------------------------------------------------------------- */

static int peek(struct client *c, uint32_t region, uint64_t offset, void *to, uint32_t count)
{
	struct vfio_user_region_access access = { offset, region, count };
	char answer[sizeof(access) + VFIO_USER_MAX_DATA];
	int n = ask(c, VFIO_USER_REGION_READ, &access, sizeof(access), NULL, 0, answer, sizeof(answer));

	if (n < 0 || c->error)
		return n < 0 ? -1 : (int)c->error;
	if (n != (int)(sizeof(access) + count))
		return -2;
	memcpy(to, answer + sizeof(access), count);
	return 0;
}

static int poke(struct client *c, uint32_t region, uint64_t offset, const void *from, uint32_t count)
{
	struct vfio_user_region_access access = { offset, region, count };
	char body[sizeof(access) + VFIO_USER_MAX_DATA];

	memcpy(body, &access, sizeof(access));
	memcpy(body + sizeof(access), from, count);
	return tell(c, VFIO_USER_REGION_WRITE, body, sizeof(access) + count, NULL, 0);
}

static uint32_t get32(struct client *c, uint32_t reg)
{
	uint32_t value = 0xdeadbeef;

	peek(c, VFIO_PCI_BAR0_REGION_INDEX, reg, &value, sizeof(value));
	return value;
}

static void set32(struct client *c, uint32_t reg, uint32_t value)
{
	poke(c, VFIO_PCI_BAR0_REGION_INDEX, reg, &value, sizeof(value));
}

static int map(struct client *c, uint64_t iova, uint64_t offset, uint64_t size, uint32_t flags, int fd)
{
	struct vfio_user_dma_map body = { sizeof(body), flags, offset, iova, size };

	return tell(c, VFIO_USER_DMA_MAP, &body, sizeof(body), &fd, fd >= 0);
}

static int unmap(struct client *c, uint64_t iova, uint64_t size, uint32_t flags, int fd)
{
	struct vfio_user_dma_unmap body = { sizeof(body), flags, iova, size };

	return tell(c, VFIO_USER_DMA_UNMAP, &body, sizeof(body), &fd, fd >= 0);
}

/* The capability of BAR 0, asked for as SPDK does: with room for much, and as much sent. */
static bool map_doorbells(struct client *c)
{
	union {
		struct vfio_region_info info;
		char bytes[2048];
	} body = { .info = { .argsz = sizeof(body), .index = 0 } }, answer;
	const struct vfio_region_info_cap_sparse_mmap *cap = (void *)(answer.bytes + 32);
	int n = ask(c, VFIO_USER_DEVICE_GET_REGION_INFO, &body, sizeof(body), NULL, 0, &answer, sizeof(answer));
	void *va;

	if (n != 32 + 16 + 16 || c->error || answer.info.cap_offset != 32 || c->reply_fd < 0 ||
	    !(answer.info.flags & VFIO_REGION_INFO_FLAG_MMAP) || cap->header.id != 1 || cap->nr_areas != 1 ||
	    cap->areas[0].offset != 0x1000 || cap->areas[0].size < 0x1000)
		return false;
	va = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, c->reply_fd,
		  (off_t)(answer.info.offset + cap->areas[0].offset));
	c->doorbells = va == MAP_FAILED ? NULL : va;
	return c->doorbells;
}

/* Rings of queue @q, 0 or 1, empty. */
static void clear_queue(struct client *c, uint32_t q)
{
	memset(c->memory + 2 * q * PAGE, 0, 2 * PAGE);
	c->tail[q] = c->head[q] = 0;
	c->phase[q] = 1;
}

/* A command, alone on its queue: its status; -1: it does not end. */
static int run(struct client *c, uint32_t q, struct snv_sqe sqe)
{
	struct snv_sqe *sq = (struct snv_sqe *)(void *)(c->memory + 2 * q * PAGE);
	struct snv_cqe *cq = (struct snv_cqe *)(void *)(c->memory + (2 * q + 1) * PAGE);
	double end = now() + PATIENCE;
	uint32_t dw3;

	sqe.cid = snv_le16(++c->cid);
	sq[c->tail[q]] = sqe;
	c->tail[q] = (c->tail[q] + 1) % ENTRIES;
	SNV_STORE_RELEASE(&c->doorbells[2 * q], c->tail[q]);
	while ((dw3 = snv_cqe_load_dw3(&cq[c->head[q]].dw3), (dw3 >> 16 & 1) != c->phase[q])) {
		if (now() > end)
			return -1;
		usleep(100);
	}
	c->head[q] = (c->head[q] + 1) % ENTRIES;
	c->phase[q] ^= !c->head[q];
	SNV_STORE_RELEASE(&c->doorbells[2 * q + 1], c->head[q]);
	return (dw3 & 0xffff) == c->cid ? (int)(dw3 >> 17 & 0x7ff) : -2;
}

static struct snv_sqe rw(uint8_t opcode, uint32_t lba, uint64_t prp1)
{
	return (struct snv_sqe){ .opcode = opcode, .nsid = snv_le32(1), .prp1 = snv_le64(prp1),
				 .cdw10 = snv_le32(lba), .cdw12 = snv_le32(7) };
}

#define DATA	(IOVA + 8 * PAGE)

/* 4 KiB that tell of @seed, at block @lba: written, poisoned, read. 0, or what went wrong. */
static int works(struct client *c, uint32_t lba, unsigned int seed)
{
	unsigned char *data = (unsigned char *)c->memory + 8 * PAGE;
	int ret;

	for (uint32_t i = 0; i < PAGE; i++)
		data[i] = (unsigned char)(seed * 31 + i);
	ret = run(c, 1, rw(SNV_OP_WRITE, lba, DATA));
	memset(data, 0xee, PAGE);
	if (!ret)
		ret = run(c, 1, rw(SNV_OP_READ, lba, DATA));
	for (uint32_t i = 0; i < PAGE && !ret; i++)
		ret = data[i] != (unsigned char)(seed * 31 + i) ? -3 : 0;
	return ret;
}

static bool wait_ready(struct client *c, uint32_t value)
{
	double end = now() + PATIENCE;

	while ((get32(c, SNV_REG_CSTS) & SNV_CSTS_RDY) != value) {
		if (now() > end)
			return false;
		usleep(1000);
	}
	return true;
}

/* From power-on to an I/O queue. 0, or what went wrong. */
static int bring_up(struct client *c)
{
	const uint64_t asq = IOVA, acq = IOVA + PAGE;
	struct snv_sqe create_cq = { .opcode = SNV_ADMIN_CREATE_CQ, .prp1 = snv_le64(IOVA + 3 * PAGE),
				     .cdw10 = snv_le32((ENTRIES - 1) << 16 | 1), .cdw11 = snv_le32(1 << 16 | 3) };
	struct snv_sqe create_sq = { .opcode = SNV_ADMIN_CREATE_SQ, .prp1 = snv_le64(IOVA + 2 * PAGE),
				     .cdw10 = snv_le32((ENTRIES - 1) << 16 | 1), .cdw11 = snv_le32(1 << 16 | 1) };
	int ret;

	clear_queue(c, 0);
	clear_queue(c, 1);
	set32(c, SNV_REG_AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1));
	poke(c, 0, SNV_REG_ASQ, &asq, 8);
	/* As two halves, too. */
	set32(c, SNV_REG_ACQ, (uint32_t)acq);
	set32(c, SNV_REG_ACQ + 4, (uint32_t)(acq >> 32));
	set32(c, SNV_REG_CC, SNV_CC_EN | 6 << SNV_CC_IOSQES_SHIFT | 4 << SNV_CC_IOCQES_SHIFT);
	if (!wait_ready(c, SNV_CSTS_RDY))
		return -10;
	ret = run(c, 0, create_cq);
	return ret ? ret : run(c, 0, create_sq);
}

/* A connection with memory and queues. 0, or what went wrong. */
static int arrive(struct client *c)
{
	if (dial(c) || hello(c))
		return -20;
	c->fd = memfd_create("client", MFD_CLOEXEC);
	if (c->fd < 0 || ftruncate(c->fd, MEMORY))
		return -21;
	c->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
	if (c->memory == MAP_FAILED || !map_doorbells(c))
		return -22;
	if (map(c, IOVA, 0, MEMORY, 3, c->fd))
		return -23;
	return bring_up(c);
}

/* Has the other end closed? */
static bool is_over(struct client *c)
{
	struct pollfd pfd = { .fd = c->socket, .events = POLLIN };
	char byte;

	return poll(&pfd, 1, PATIENCE * 1000) == 1 && recv(c->socket, &byte, 1, MSG_DONTWAIT) <= 0;
}

/* Has the other end received all that was sent? */
static bool is_taken(struct client *c)
{
	double end = now() + PATIENCE;
	int left = 1;

	while (!ioctl(c->socket, SIOCOUTQ, &left) && left && now() < end)
		usleep(1000);
	return !left;
}

/* ---- tests ------------------------------------------------------------------------------------- */

static void test_version(void)
{
	struct {
		struct vfio_user_version version;
		char json[200];
	} qemu = { { 0, 0 }, "{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":1048576}}" }, answer;
	struct client c;
	int n;

	is(dial(&c), 0, "connect");
	n = ask(&c, VFIO_USER_VERSION, &qemu, sizeof(qemu.version) + strlen(qemu.json) + 1, NULL, 0, &answer,
		sizeof(answer));
	ok(n > 5 && n < (int)sizeof(answer) && !c.error, "a version with JSON");
	ok(!answer.version.major && !answer.version.minor, "no later than the client's");
	ok(answer.json[0] == '{' && answer.json[n - 5] == 0 && answer.json[n - 6] == '}',
	   "an object, and its end: %s", answer.json);
	ok(hello(&c) != 0, "once is enough");
	hang_up(&c);
	dial(&c);
	is(hello(&c), 0, "a version without JSON");
	hang_up(&c);
	dial(&c);
	qemu.version.major = 1;
	ok(tell(&c, VFIO_USER_VERSION, &qemu, 4, NULL, 0) != 0 && is_over(&c), "a version that is not known");
	hang_up(&c);
	dial(&c);
	ok(tell(&c, VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0) != 0 && is_over(&c), "nothing before the version");
	hang_up(&c);
}

static void test_info(void)
{
	struct vfio_user_device_info device = { .argsz = sizeof(device) };
	struct vfio_region_info region = { .argsz = sizeof(region) };
	struct vfio_irq_info irq = { .argsz = sizeof(irq), .index = VFIO_PCI_MSIX_IRQ_INDEX };
	uint32_t regions, irqs, n;
	struct client c;

	dial(&c);
	hello(&c);
	is(ask(&c, VFIO_USER_DEVICE_GET_INFO, &device, sizeof(device), NULL, 0, &device, sizeof(device)), 16,
	   "device info");
	is(device.flags, VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET, "a PCI device that can be reset");
	regions = device.num_regions;
	irqs = device.num_irqs;
	ok(regions >= VFIO_PCI_CONFIG_REGION_INDEX && regions <= 100 && irqs > VFIO_PCI_MSIX_IRQ_INDEX && irqs <= 50,
	   "with as many regions and interrupts as QEMU takes");
	for (n = 0; n < regions; n++) {
		region = (struct vfio_region_info){ .argsz = sizeof(region), .index = n };
		if (ask(&c, VFIO_USER_DEVICE_GET_REGION_INFO, &region, sizeof(region), NULL, 0, &region,
			sizeof(region)) != sizeof(region) || c.error || region.index != n)
			break;
		if (!n)
			ok(region.argsz > sizeof(region) && region.size >= 0x2000,
			   "BAR 0 says how much there is to say");
	}
	is(n, regions, "each region");
	region = (struct vfio_region_info){ .argsz = sizeof(region), .index = regions };
	is(tell(&c, VFIO_USER_DEVICE_GET_REGION_INFO, &region, sizeof(region), NULL, 0), EINVAL, "one more");
	region = (struct vfio_region_info){ .argsz = 31, .index = 0 };
	is(tell(&c, VFIO_USER_DEVICE_GET_REGION_INFO, &region, sizeof(region), NULL, 0), EINVAL, "no room for it");
	is(tell(&c, VFIO_USER_DEVICE_GET_REGION_INFO, &region, 16, NULL, 0), EINVAL, "half a question");
	ask(&c, VFIO_USER_DEVICE_GET_IRQ_INFO, &irq, sizeof(irq), NULL, 0, &irq, sizeof(irq));
	ok(!c.error && irq.count == 65 && irq.flags & VFIO_IRQ_INFO_EVENTFD, "MSI-X: %u vectors", irq.count);
	irq.index = irqs;
	is(tell(&c, VFIO_USER_DEVICE_GET_IRQ_INFO, &irq, sizeof(irq), NULL, 0), EINVAL, "an interrupt too far");
	is(tell(&c, VFIO_USER_DMA_READ, &irq, sizeof(irq), NULL, 0), EOPNOTSUPP, "a command for the other end");
	is(tell(&c, 99, NULL, 0, NULL, 0), EOPNOTSUPP, "an unknown one");
	ok(map_doorbells(&c), "doorbells as SPDK wants them");
	hang_up(&c);
}

static uint32_t config32(struct client *c, uint32_t at)
{
	uint32_t value = 0xdeadbeef;

	peek(c, VFIO_PCI_CONFIG_REGION_INDEX, at, &value, 4);
	return value;
}

static void test_config(void)
{
	const uint32_t ones = 0xffffffff;
	struct vfio_region_info region = { .argsz = sizeof(region), .index = 4 };
	uint32_t caps = 0, table = 0, pba = 0, vectors = 0;
	struct client c;
	char bits[16];

	dial(&c);
	hello(&c);
	is(config32(&c, 8) >> 8, 0x010802, "PCIe 7.5.1.1.6 an NVMe controller");
	poke(&c, VFIO_PCI_CONFIG_REGION_INDEX, 0x10, &ones, 4);
	is(config32(&c, 0x10), 0xffffe004, "PCIe 7.5.1.2.1 BAR 0: 8 KiB, 64 bits");
	poke(&c, VFIO_PCI_CONFIG_REGION_INDEX, 0x14, &ones, 4);
	is(config32(&c, 0x14), ones, "and above");
	poke(&c, VFIO_PCI_CONFIG_REGION_INDEX, 0, &ones, 4);
	ok(config32(&c, 0) != ones, "identifiers are not to be written");
	for (uint32_t at = config32(&c, 0x34) & 0xff, n = 0; at && n < 16; n++) {
		uint32_t head = config32(&c, at);

		caps |= 1U << (head & 31);
		if ((head & 0xff) == 0x11) {
			vectors = (head >> 16 & 0x7ff) + 1;
			table = config32(&c, at + 4);
			pba = config32(&c, at + 8);
		}
		at = head >> 8 & 0xff;
	}
	is(caps, 1U << 0x01 | 1U << 0x10 | 1U << 0x11, "PM, PCI Express, MSI-X");
	ask(&c, VFIO_USER_DEVICE_GET_REGION_INFO, &region, sizeof(region), NULL, 0, &region, sizeof(region));
	ok((table & 7) == 4 && (pba & 7) == 4 && (table & ~7U) + vectors * 16 <= (pba & ~7U) &&
	   (pba & ~7U) + (vectors + 63) / 64 * 8 <= region.size, "table and pending bits lie in BAR 4, apart");
	is(peek(&c, 4, pba & ~7U, bits, 16), 0, "the pending bits can be read");
	is(peek(&c, VFIO_PCI_CONFIG_REGION_INDEX, 0xfe, bits, 4), EINVAL, "past the end of the space");
	hang_up(&c);
}

static bool fires(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	eventfd_t count;

	return poll(&pfd, 1, PATIENCE * 1000) == 1 && !eventfd_read(fd, &count);
}

/* Set the eventfds of @n vectors from @start on. */
static int set_irqs(struct client *c, uint32_t flags, uint32_t start, uint32_t count, const int *fds, size_t n)
{
	struct vfio_irq_set set = { sizeof(set), flags, VFIO_PCI_MSIX_IRQ_INDEX, start, count };

	return tell(c, VFIO_USER_DEVICE_SET_IRQS, &set, sizeof(set), fds, n);
}

#define EVENTFDS	(VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER)
#define NOTHING		(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER)
#define FLAGS		(VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_TRIGGER)

static void test_use(struct client *neighbour)
{
	struct snv_sqe identify = { .opcode = SNV_ADMIN_IDENTIFY, .prp1 = snv_le64(DATA), .cdw10 = snv_le32(1) };
	const struct vfio_irq_set two = { sizeof(two) + 2, FLAGS, VFIO_PCI_MSIX_IRQ_INDEX, 0, 2 };
	char body[sizeof(two) + 2] = { [sizeof(two) + 1] = 1 };
	uint8_t pending = 0;
	const uint64_t entry = 0x1122334455667788;
	uint64_t kept = 0;
	int fds[16], other;
	uint16_t cntlid;
	struct client c;

	is(arrive(&c), 0, "a controller by hand");
	is(works(&c, 0, 1), 0, "it writes and reads");
	is(run(&c, 0, identify), 0, "Identify");
	memcpy(&cntlid, c.memory + 8 * PAGE + 78, 2);
	run(neighbour, 0, identify);
	ok(memcmp(&cntlid, neighbour->memory + 8 * PAGE + 78, 2), "a controller of its own");
	memset(neighbour->memory + 8 * PAGE, 0xee, PAGE);
	is(run(neighbour, 1, rw(SNV_OP_READ, 0, DATA)), 0, "the neighbour reads");
	works(&c, 0, 1);
	ok(!memcmp(neighbour->memory + 8 * PAGE, c.memory + 8 * PAGE, PAGE), "what the other wrote");

	for (int i = 0; i < 16; i++)
		fds[i] = eventfd(0, EFD_NONBLOCK);
	is(set_irqs(&c, EVENTFDS, 0, 8, fds, 8), 0, "interrupts, in chunks");
	is(set_irqs(&c, EVENTFDS, 8, 8, fds + 8, 8), 0, "and more");
	works(&c, 8, 2);
	ok(fires(fds[1]), "an interrupt");
	is(set_irqs(&c, EVENTFDS, 1, 1, NULL, 0), 0, "taken away");
	works(&c, 8, 3);
	/* The pending bits follow the table of 65 entries, on a page of their own. */
	for (double end = now() + PATIENCE; !(pending & 2) && now() < end;)
		peek(&c, 4, PAGE, &pending, 1);
	is(pending, 2, "it is pending");
	other = eventfd(0, EFD_NONBLOCK);
	is(set_irqs(&c, EVENTFDS, 1, 1, &other, 1), 0, "another in its place");
	ok(fires(other), "gets what was pending");
	is(set_irqs(&c, NOTHING, 1, 1, NULL, 0), 0, "one by hand");
	ok(fires(other), "comes");
	memcpy(body, &two, sizeof(two));
	is(tell(&c, VFIO_USER_DEVICE_SET_IRQS, body, sizeof(body), NULL, 0), 0, "one by its flag");
	ok(fires(other), "comes");
	is(set_irqs(&c, NOTHING, 0, 0, NULL, 0), 0, "all are switched off");
	is(works(&c, 8, 4), 0, "it goes on without");
	peek(&c, 4, PAGE, &pending, 1);
	ok(!(pending & ~2), "and no other is pending");
	for (int i = 0; i < 16; i++)
		close(fds[i]);
	close(other);

	is(map(&c, IOVA + MEMORY, 0, MEMORY, 3, c.fd), 0, "the same memory at another address");
	is(run(&c, 1, rw(SNV_OP_READ, 0, IOVA + MEMORY + 8 * PAGE)), 0, "and I/O there");
	is(unmap(&c, IOVA + MEMORY, MEMORY, 0, c.fd), 0, "not any more; with a descriptor, as SPDK does");
	is(run(&c, 1, rw(SNV_OP_READ, 0, IOVA + MEMORY + 8 * PAGE)), SNV_SC_DATA_XFER_ERROR,
	   "which is what I/O there is told");
	is(map(&c, IOVA + MEMORY, 0, MEMORY, 3, -1), 0, "memory without a descriptor");
	is(run(&c, 1, rw(SNV_OP_READ, 0, IOVA + MEMORY)), SNV_SC_DATA_XFER_ERROR, "is out of reach");
	is(unmap(&c, IOVA + MEMORY, MEMORY, 0, -1), 0, "and can be unmapped");
	is(map(&c, IOVA + MEMORY, 0, PAGE, 1, c.fd), 0, "memory that is only to be read");
	memset(c.memory, 0x5a, 16);
	is(run(&c, 1, rw(SNV_OP_READ, 0, IOVA + MEMORY)), SNV_SC_DATA_XFER_ERROR, "is out of reach");
	ok(c.memory[0] == 0x5a && c.memory[15] == 0x5a, "is not written");

	works(&c, 8, 6);
	for (double end = now() + PATIENCE; !(pending & 2) && now() < end;)
		peek(&c, 4, PAGE, &pending, 1);
	poke(&c, 4, 16, &entry, 8);
	peek(&c, 4, 16, &kept, 8);
	ok(pending == 2 && kept == entry, "an interrupt is pending, and the table has an entry");
	is(tell(&c, VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0), 0, "a reset");
	peek(&c, 4, PAGE, &pending, 1);
	peek(&c, 4, 16, &kept, 8);
	ok(!pending && !kept, "they are gone");
	poke(&c, 4, 65 * 16 - 4, &entry, 8);
	peek(&c, 4, 65 * 16 - 4, &kept, 8);
	is(kept, (uint32_t)entry, "the table ends where it ends");
	is(get32(&c, SNV_REG_CC) | get32(&c, SNV_REG_CSTS) | c.doorbells[0] | c.doorbells[2], 0,
	   "all is as after power-on");
	is(bring_up(&c), 0, "and it comes up again");
	is(works(&c, 16, 5), 0, "it works");
	is(unmap(&c, 0, 0, VFIO_USER_UNMAP_ALL, -1), 0, "all memory goes, with the rings in it");
	ok(get32(&c, SNV_REG_CSTS) & SNV_CSTS_CFS, "Base 3.1.3.6 a controller without its rings has failed");
	hang_up(&c);
}

/* A read of block 0 to @length bytes at @addr, which an SGL descriptor of @type describes. */
static int read_sgl(struct client *c, uint64_t addr, uint32_t length, uint8_t type)
{
	const struct snv_sgl_desc desc = { .addr = snv_le64(addr), .length = snv_le32(length), .type = type << 4 };
	struct snv_sqe sqe = rw(SNV_OP_READ, 0, 0);

	sqe.flags = SNV_SQE_PSDT_SGL;
	memcpy(&sqe.prp1, &desc, sizeof(desc));
	return run(c, 1, sqe);
}

/* What a client mapped ends where it says, whatever the server has beyond. */
static void test_edges(struct client *neighbour)
{
	const uint64_t at = IOVA + 2 * MEMORY, half = PAGE / 2;
	struct client c;
	char *page;

	is(arrive(&c), 0, "a client");
	is(works(&c, 0, 1), 0, "that works");
	page = c.memory + 16 * PAGE;
	is(map(&c, at, 18 * PAGE, PAGE, 3, c.fd), 0, "one page more");
	is(run(&c, 1, rw(SNV_OP_READ, 0, at - PAGE)), SNV_SC_DATA_XFER_ERROR, "what lies before is out of reach");
	is(run(&c, 1, rw(SNV_OP_READ, 0, at + PAGE)), SNV_SC_DATA_XFER_ERROR, "and what lies behind");
	is(read_sgl(&c, at + half, PAGE, SNV_SGL_DATA), SNV_SC_DATA_XFER_ERROR, "data that begin in it and end behind");
	is(read_sgl(&c, at - half, PAGE, SNV_SGL_DATA), SNV_SC_DATA_XFER_ERROR, "data that begin before");
	is(read_sgl(&c, at + PAGE - 16, 32, SNV_SGL_LAST_SEGMENT), SNV_SC_DATA_XFER_ERROR,
	   "a list that begins in it and ends behind");

	/* Side by side for the client, and in the file the other way around, with a page between. */
	is(map(&c, at + PAGE, 16 * PAGE, PAGE, 3, c.fd), 0, "and one more that follows");
	memset(page, 0xee, 4 * PAGE);
	is(read_sgl(&c, at + half, PAGE, SNV_SGL_DATA), 0, "data in both");
	ok(!memcmp(page + 2 * PAGE + half, c.memory + 8 * PAGE, half), "have their first half in the one");
	ok(!memcmp(page, c.memory + 8 * PAGE + half, half), "and the second in the other");
	memset(page + 2 * PAGE + half, 0xee, half);
	memset(page, 0xee, half);
	ok(page[0] == (char)0xee && !memcmp(page, page + 1, 4 * PAGE - 1), "and nothing else is written");
	is(works(neighbour, 64, 14), 0, "the neighbour goes on");
	hang_up(&c);
}

/* A client that is not welcome any more, or an errno. */
static void refused(struct client *neighbour, const char *what, int got, int want)
{
	is(got, want, "refused: %s", what);
	is(works(neighbour, 64, (unsigned int)tap.run), 0, "  the neighbour goes on");
}

static void raw(struct client *neighbour, const char *what, struct vfio_user_header header, size_t length)
{
	char bytes[64] = { 0 };
	struct client c;

	dial(&c);
	hello(&c);
	memcpy(bytes, &header, sizeof(header));
	send_bytes(c.socket, bytes, length, NULL, 0);
	if (length < sizeof(header) || header.size > length)
		shutdown(c.socket, SHUT_WR);
	refused(neighbour, what, is_over(&c), true);
	hang_up(&c);
}

static void test_lies(struct client *neighbour)
{
	const struct vfio_user_region_access accesses[] = {
		{ 0, 0, 0 }, { 0, 0, 5000 }, { 1 << 20, 0, 4 }, { UINT64_MAX - 3, 0, 8 }, { 0, 3, 4 }, { 0, 77, 4 },
		{ 0x3ffe, 0, 4 }, { 250, VFIO_PCI_CONFIG_REGION_INDEX, 8 },
	};
	char body[sizeof(accesses[0]) + 8] = { 0 };
	int pipes[2], fds[20], full, page, disk = open("/proc/self/exe", O_RDONLY);
	eventfd_t count;
	struct client c;

	raw(neighbour, "a message shorter than its header",
	    (struct vfio_user_header){ .command = VFIO_USER_DEVICE_RESET, .size = 15 }, 16);
	raw(neighbour, "one larger than any",
	    (struct vfio_user_header){ .command = VFIO_USER_REGION_WRITE, .size = 1 << 30 }, 32);
	raw(neighbour, "half a header", (struct vfio_user_header){ .command = VFIO_USER_DEVICE_RESET, .size = 16 }, 7);
	raw(neighbour, "half a message", (struct vfio_user_header){ .command = VFIO_USER_DMA_MAP, .size = 48 }, 30);
	raw(neighbour, "an answer",
	    (struct vfio_user_header){ .command = VFIO_USER_DEVICE_RESET, .size = 16, .flags = 1 }, 16);

	is(arrive(&c), 0, "a liar");
	if (pipe(pipes))
		return;
	refused(neighbour, "no bytes", map(&c, 0, 0, 0, 3, c.fd), EINVAL);
	refused(neighbour, "part of a page", map(&c, 0, 0, 100, 3, c.fd), EINVAL);
	refused(neighbour, "an address amid a page", map(&c, 8, 0, PAGE, 3, c.fd), EINVAL);
	refused(neighbour, "an offset amid a page", map(&c, 0, 8, PAGE, 3, c.fd), EINVAL);
	refused(neighbour, "what is mapped", map(&c, IOVA + PAGE, 0, PAGE, 3, c.fd), EEXIST);
	refused(neighbour, "around what is mapped", map(&c, IOVA - PAGE, 0, 4 * MEMORY, 3, -1), EEXIST);
	refused(neighbour, "around the end", map(&c, UINT64_MAX - PAGE + 1, 0, 2 * PAGE, 3, c.fd), EINVAL);
	refused(neighbour, "more than the file has", map(&c, 0, 0, 2 * MEMORY, 3, c.fd), EINVAL);
	refused(neighbour, "past the file", map(&c, 0, MEMORY, PAGE, 3, c.fd), EINVAL);
	refused(neighbour, "past all files", map(&c, 0, UINT64_MAX - PAGE + 1, PAGE, 3, c.fd), EINVAL);
	refused(neighbour, "a file of a file system", map(&c, 0, 0, PAGE, 3, disk), EINVAL);
	close(disk);
	refused(neighbour, "a pipe", map(&c, 0, 0, PAGE, 3, pipes[0]), EINVAL);
	refused(neighbour, "a socket", map(&c, 0, 0, PAGE, 3, c.socket), EINVAL);
	refused(neighbour, "part of what is mapped is unmapped", unmap(&c, IOVA, PAGE, 0, -1), EINVAL);
	refused(neighbour, "all of it, and more to say", unmap(&c, IOVA, PAGE, VFIO_USER_UNMAP_ALL, -1), EINVAL);
	for (size_t i = 0; i < sizeof(accesses) / sizeof(accesses[0]); i++) {
		memcpy(body, &accesses[i], sizeof(accesses[i]));
		refused(neighbour, "a read of what is not there",
			tell(&c, VFIO_USER_REGION_READ, body, sizeof(accesses[i]), NULL, 0), EINVAL);
		refused(neighbour, "a write of it", tell(&c, VFIO_USER_REGION_WRITE, body, sizeof(body), NULL, 0),
			EINVAL);
	}
	page = poke(&c, 0, SNV_REG_CC, body, 2);
	refused(neighbour, "half a register", page, EINVAL);

	full = eventfd(0, 0);
	refused(neighbour, "a pipe for interrupts", set_irqs(&c, EVENTFDS, 0, 1, &pipes[1], 1), EINVAL);
	refused(neighbour, "fewer than said", set_irqs(&c, EVENTFDS, 0, 2, &full, 1), EINVAL);
	refused(neighbour, "a vector too far", set_irqs(&c, EVENTFDS, 65, 1, &full, 1), EINVAL);
	refused(neighbour, "around the end", set_irqs(&c, NOTHING, 1, UINT32_MAX, NULL, 0), EINVAL);
	refused(neighbour, "fewer flags than said", set_irqs(&c, FLAGS, 0, 1, NULL, 0), EINVAL);
	/* Writing to it would wait for a reader. */
	eventfd_write(full, UINT64_MAX - 1);
	is(set_irqs(&c, EVENTFDS, 1, 1, &full, 1), 0, "an eventfd that is full");
	works(&c, 24, 1);
	refused(neighbour, "nothing", works(&c, 24, 2), 0);
	is(get32(&c, SNV_REG_VS) >> 16, 2, "nor does its own thread wait");
	eventfd_read(full, &count);
	works(&c, 24, 3);
	ok(fires(full), "when there is room, it gets more");
	close(full);
	for (int i = 0; i < 20; i++)
		fds[i] = dup(pipes[0]);
	refused(neighbour, "20 descriptors", set_irqs(&c, EVENTFDS, 0, 20, fds, 20), -1);
	for (int i = 0; i < 20; i++)
		close(fds[i]);
	close(pipes[0]);
	close(pipes[1]);
	hang_up(&c);
}

/* How much a client may map, and in how many pieces, is bounded; what it gives back, it may have again. */
static void test_limits(struct client *neighbour)
{
	const uint64_t at = 2 * IOVA, most = VFIO_USER_MAX_MAPS, half = 1ULL << 39;
	int mapped = 0, unmapped = 0, huge = memfd_create("huge", MFD_CLOEXEC);
	struct client c;

	is(arrive(&c), 0, "a client");
	while (mapped < 2 * (int)most && !map(&c, at + (uint64_t)mapped * 2 * PAGE, 0, PAGE, 3, c.fd))
		mapped++;
	is(mapped, most - 1, "with that of its rings, as many pieces as it was told");
	refused(neighbour, "one more", map(&c, at - PAGE, 0, PAGE, 3, c.fd), ENOSPC);
	while (unmapped < mapped && !unmap(&c, at + (uint64_t)unmapped * 2 * PAGE, PAGE, 0, -1))
		unmapped++;
	is(unmapped, mapped, "all are given back");

	is(ftruncate(huge, (off_t)half), 0, "a large file");
	for (int i = 0; i < 3; i++) {
		is(map(&c, half, 0, half, 3, huge), 0, "half of what it may have");
		is(map(&c, 2 * half, 0, half, 3, huge), ENOSPC, "not the other half: its rings have some of it");
		is(map(&c, 2 * half, 0, half - MEMORY, 3, huge), 0, "that without them");
		is(unmap(&c, half, 2 * half, 0, -1), 0, "given back");
	}
	is(works(&c, 0, 15), 0, "it works");
	is(works(neighbour, 64, 15), 0, "the neighbour goes on");
	close(huge);
	hang_up(&c);
}

/* Memory that goes: data, rings, and data while half a message has the connection's thread wait. */
static void test_truncation(struct client *neighbour)
{
	struct client c;

	for (int turn = 0; turn < 3; turn++) {
		bool rings = turn == 1;

		is(arrive(&c), 0, "a client");
		is(works(&c, 32, 7), 0, "that works");
		munmap(c.memory, MEMORY);
		c.memory = NULL;
		if (turn == 2) {
			ok(send_bytes(c.socket, "", 1, NULL, 0) && is_taken(&c), "a part of a message is taken");
		}
		if (!rings) {
			/* The rings stay; the entry was written before. */
			struct snv_sqe sqe = rw(SNV_OP_WRITE, 40, DATA);

			is(ftruncate(c.fd, 8 * PAGE), 0, "its data are gone");
			sqe.cid = snv_le16(99);
			if (pwrite(c.fd, &sqe, sizeof(sqe), 2 * PAGE + c.tail[1] * 64) != sizeof(sqe))
				diag("pwrite: %s", strerror(errno));
		} else {
			is(ftruncate(c.fd, 0), 0, "its memory is gone");
		}
		SNV_STORE_RELEASE(&c.doorbells[2], (c.tail[1] + 1) % ENTRIES);
		ok(is_over(&c), "and so is the connection");
		is(works(neighbour, 64, 8), 0, "the neighbour goes on");
		hang_up(&c);
	}
}

/* Clients that go in the midst of their commands. */
static void test_deaths(struct client *neighbour)
{
	int worked = 0;

	for (int i = 0; i < 50; i++) {
		struct client c;

		worked += !arrive(&c) && !works(&c, 48, (unsigned int)i);
		for (uint32_t k = 0; k < ENTRIES - 1 && c.memory; k++) {
			struct snv_sqe sqe = rw(SNV_OP_READ, 48, DATA);

			sqe.cid = snv_le16((uint16_t)(1000 + k));
			memcpy(c.memory + 2 * PAGE + (c.tail[1] + k) % ENTRIES * 64, &sqe, sizeof(sqe));
		}
		if (c.doorbells)
			SNV_STORE_RELEASE(&c.doorbells[2], (c.tail[1] + ENTRIES - 1) % ENTRIES);
		hang_up(&c);
	}
	is(worked, 50, "clients that went with commands in flight");
	is(works(neighbour, 64, 9), 0, "the neighbour goes on");
}

static void test_crowd(struct client *neighbour)
{
	static struct client crowd[70];
	int served = 0, again = -1;
	double end = now() + PATIENCE;

	for (int i = 0; i < 70; i++) {
		int said;

		dial(&crowd[i]);
		/* Those that have just gone may still have theirs. */
		while ((said = hello(&crowd[i])) && served < 63 && now() < end) {
			hang_up(&crowd[i]);
			dial(&crowd[i]);
		}
		served += !said;
	}
	is(served, 63, "with the neighbour, 64 controllers are served");
	ok(is_over(&crowd[69]), "the others are told so");
	for (int i = 0; i < 70; i++)
		hang_up(&crowd[i]);
	while (again && now() < end) {
		struct client c;

		dial(&c);
		again = hello(&c);
		hang_up(&c);
		usleep(10000);
	}
	is(again, 0, "when they have gone, there is room again");
	is(works(neighbour, 64, 10), 0, "the neighbour goes on");
}

/* Descriptors are too few for one client more. */
static void test_descriptors(struct client *neighbour)
{
	struct rlimit limit, low;
	struct client c;

	getrlimit(RLIMIT_NOFILE, &limit);
	low = limit;
	low.rlim_cur = 200;
	setrlimit(RLIMIT_NOFILE, &low);
	dial(&c);
	is(hello(&c), EMFILE, "where descriptors are few, a client is told so");
	hang_up(&c);
	setrlimit(RLIMIT_NOFILE, &limit);
	dial(&c);
	is(hello(&c), 0, "where they are not, it is served");
	hang_up(&c);
	is(works(neighbour, 64, 12), 0, "the neighbour goes on");
}

/* A TCP socket whose end takes as long as the client likes, sent with a message that nobody receives any more. */
static void test_lingering(struct client *neighbour)
{
	const struct linger linger = { .l_onoff = 1, .l_linger = 100 };
	const struct vfio_user_header bad = { .size = 1 };
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), peer;
	int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	static char bytes[65536];
	bool sent = false;
	struct client c;
	double start;

	bind(listener, (struct sockaddr *)&address, sizeof(address));
	getsockname(listener, (struct sockaddr *)&address, &length);
	listen(listener, 1);
	connect(tcp, (struct sockaddr *)&address, sizeof(address));
	peer = accept(listener, NULL, NULL);
	ok(peer >= 0, "a connection");
	while (send(tcp, bytes, sizeof(bytes), 0) > 0)
		;
	setsockopt(tcp, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	/* The server may have ended the connection for the first message before the second is sent. */
	for (double end = now() + PATIENCE; !sent && now() < end;) {
		dial(&c);
		sent = send_bytes(c.socket, &bad, sizeof(bad), NULL, 0) &&
		       send_bytes(c.socket, &bad, sizeof(bad), &tcp, 1);
		if (!sent)
			hang_up(&c);
	}
	ok(sent, "the end of it lies in the server's hands");
	close(tcp);
	ok(is_over(&c), "and it ends the connection");
	hang_up(&c);
	start = now();
	/* Before it takes the first of these, or the second, the server looks for those that have ended. */
	for (int i = 0; i < 2; i++) {
		dial(&c);
		is(hello(&c), 0, "the next client is served");
		hang_up(&c);
	}
	ok(now() - start < 60, "at once: %.1f s", now() - start);
	close(peer);
	close(listener);
	is(works(neighbour, 64, 13), 0, "the neighbour goes on");
}

/* ---- the library at the other end ---------------------------------------------------------------- */

static void *library(void *arg)
{
	struct snvme_queue_opts opts = { .size = sizeof(opts), .depth = 16 };
	struct snvme_ctrl *ctrl = NULL;
	struct snvme_queue *queue;
	struct snvme_mem *mem;
	char name[80], *data;
	uint64_t base = (uint64_t)(uintptr_t)arg;
	intptr_t wrong = 0;
	int ret;

	snprintf(name, sizeof(name), "vfio-user:%s", dir);
	ret = snvme_open(name, &ctrl);
	if (!ret)
		ret = snvme_mem_alloc(ctrl, 65536, &mem);
	if (!ret)
		ret = snvme_queue_create(ctrl, &opts, &queue);
	for (unsigned int i = 0; i < 200 && !ret && !wrong; i++) {
		data = snvme_mem_addr(mem);
		memset(data, (int)(base + i), 65536);
		ret = snvme_write(queue, 1, data, 65536, (base << 20) + i % 8 * 65536);
		memset(data, 0xee, 65536);
		if (!ret)
			ret = snvme_read(queue, 1, data, 65536, (base << 20) + i % 8 * 65536);
		for (size_t k = 0; k < 65536 && !ret; k++)
			wrong += data[k] != (char)(base + i);
	}
	snvme_close(ctrl);
	return (void *)(ret ? (intptr_t)ret : wrong);
}

static void test_library(struct snvme_vssd_server **server)
{
	struct snvme_queue_opts opts = { .size = sizeof(opts), .depth = 16 };
	struct snvme_queue *queue = NULL;
	struct snvme_ctrl *ctrl = NULL;
	struct snvme_mem *mem = NULL, *heap = NULL;
	char name[80], *own = malloc(8192);
	pthread_t id[2];
	void *ret[2];
	double start;
	int err = 0;

	for (uintptr_t i = 0; i < 2; i++)
		pthread_create(&id[i], NULL, library, (void *)(i + 4));
	for (int i = 0; i < 2; i++)
		pthread_join(id[i], &ret[i]);
	is((intptr_t)ret[0], 0, "the library in one thread");
	is((intptr_t)ret[1], 0, "and in another");
	snprintf(name, sizeof(name), "vfio-user:%s", dir);
	is(snvme_open(name, &ctrl), 0, "open");
	is(snvme_mem_register(ctrl, own, 8192, &heap), -EOPNOTSUPP, "memory from elsewhere");
	is(snvme_mem_alloc(ctrl, 8192, &mem), 0, "memory of its own");
	is(snvme_queue_create(ctrl, &opts, &queue), 0, "a queue");
	is(snvme_read(queue, 1, snvme_mem_addr(mem), 4096, 0), 0, "a read");
	snvme_vssd_serve_end(*server);
	*server = NULL;
	start = now();
	while (!err && now() < start + PATIENCE)
		err = snvme_read(queue, 1, snvme_mem_addr(mem), 4096, 0);
	ok(err < 0, "the server has gone: %s", snvme_strerror(err));
	snvme_close(ctrl);
	ok(now() - start < PATIENCE, "in good time");
	is(snvme_open(name, &ctrl), -ENOENT, "nobody there any more");
	free(own);
}

static void test_serve(struct snvme_vssd_server *first)
{
	struct snvme_vssd_server *server = NULL;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char why[256] = "", other[80], longer[200];
	int fd;

	(void)first;
	is(snvme_vssd_serve("vssd:ram,size=1M", dir, &server, why, sizeof(why)), -EADDRINUSE, "one server only: %s", why);
	is(snvme_vssd_serve("vssd:ram", dir, &server, why, sizeof(why)), -EINVAL, "what to serve: %s", why);
	is(snvme_vssd_serve("vssd:ram,size=1M,threads=0", dir, &server, why, sizeof(why)), -EINVAL, "by whom: %s", why);
	is(snvme_vssd_serve("ram,size=1M", dir, &server, why, sizeof(why)), -EINVAL, "no virtual SSD: %s", why);
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = 0;
	is(snvme_vssd_serve("vssd:ram,size=1M", longer, &server, why, sizeof(why)), -ENAMETOOLONG, "%s", why + 190);
	snprintf(other, sizeof(other), "%s/other", dir);
	is(mkdir(other, 0700), 0, "another directory");
	snprintf(address.sun_path, sizeof(address.sun_path), "%.80s/cntrl", other);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	is(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0, "with a socket that nobody answers at");
	close(fd);
	is(snvme_vssd_serve("vssd:ram,size=1M", other, &server, why, sizeof(why)), 0, "is taken over: %s", why);
	snvme_vssd_serve_end(server);
	ok(access(address.sun_path, F_OK), "and leaves no socket");
	rmdir(other);
}

static int open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

int main(void)
{
	struct snvme_vssd_server *server = NULL;
	struct client neighbour;
	char why[256] = "", socket[80];
	int before;

	strcpy(dir, "/tmp/vfio-user-XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	before = open_descriptors();
	is(snvme_vssd_serve("vssd:ram,size=64M,threads=2", dir, &server, why, sizeof(why)), 0, "serve %s", why);
	test_version();
	test_info();
	test_config();
	is(arrive(&neighbour), 0, "a neighbour");
	test_use(&neighbour);
	test_edges(&neighbour);
	test_lies(&neighbour);
	test_limits(&neighbour);
	test_truncation(&neighbour);
	test_deaths(&neighbour);
	test_crowd(&neighbour);
	test_descriptors(&neighbour);
	test_lingering(&neighbour);
	test_serve(server);
	is(works(&neighbour, 64, 11), 0, "the neighbour has seen it all");
	hang_up(&neighbour);
	test_library(&server);
	snprintf(socket, sizeof(socket), "%s/cntrl", dir);
	ok(access(socket, F_OK), "the socket is gone");
	is(open_descriptors(), before, "and so are all descriptors");
	rmdir(dir);
	return done();
}
