// SPDX-License-Identifier: MIT
/*
 * p2p CONTROLLER DISK BAR: rings, PRP lists and data in the memory of another device, each there or in
 * the host's, against include/uapi/snvme/ioctl.h; and what happens when that memory is taken away. BAR is
 * the file of the device's memory, which /dev/bar_dmabuf exports. Writes to DISK.
 * p2p CONTROLLER DISK BAR hold: reads into the BAR until the queue is dead.
 * p2p CONTROLLER DISK BAR fetch: has a command fetched from the BAR, on SIGUSR1.
 * p2p CONTROLLER DISK BAR reach: is the BAR within reach?
 * p2p CONTROLLER DISK BAR torture SECONDS: takes memory away, again and again.
 * p2p nvidia ...: the same, but for memory by its address in a GPU, which /dev/fake_nvidia gives out.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <snvme/ioctl.h>
#include <snvme/nvme.h>

#include "bar_dmabuf.h"
#include "fake_nvidia.h"
#include "prp.h"
#include "ring.h"
#include "tap.h"

#define PAGE		4096UL
#define PART		(1UL << 20)	/* of the BAR, for each use */
#define PARTS		4
#define DEPTH		16U
#define LENGTH		(128UL << 10)	/* of a transfer: its list has 31 entries */
#define LBA_SHIFT	9

enum use { RING_SQ, RING_CQ, LISTS, DATA };

static const char *device, *disk;
static char *bar;
static int exporter;
static bool by_address;

/* Memory that the controller reaches, of the host or in the BAR. */
struct part {
	char *va;
	uint32_t handle;
	int fd;			/* of the dma-buf, or -1 */
	struct fake_range range; /* by address */
	bool pieces;		/* of 64 KiB, the last first */
	uint64_t table[PART / PAGE];
	struct snv_dma_map map;
};

struct pair {
	int session;
	struct part part[PARTS];
	uint32_t sq_handle;
	uint32_t cq_handle;
	struct snv_sq sq;
	struct snv_cq cq;
	void *page[16];		/* that it has mapped: each keeps the session open */
	unsigned int pages;
};

static int call(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) ? errno : 0;
}

static int release(int session, unsigned long cmd, uint32_t handle)
{
	struct snvme_handle h = { .size = sizeof(h), .handle = handle };

	return call(session, cmd, &h);
}

/* A session of the controller, or -1. */
static int attached(void)
{
	int fd = open(device, O_RDWR | O_CLOEXEC), session = open("/dev/snvme", O_RDWR | O_CLOEXEC);
	struct snvme_attach arg = { .size = sizeof(arg), .fd = fd };
	int err = call(session, SNVME_IOC_ATTACH, &arg);

	close(fd);
	if (!err)
		return session;
	close(session);
	errno = err;
	return -1;
}

/* A dma-buf of a part of the BAR, or -1. */
static int export_bar(uint64_t offset, uint64_t length, uint32_t piece)
{
	struct bar_export arg = { .offset = offset, .length = length, .piece = piece };

	return call(exporter, BAR_EXPORT, &arg) ? -1 : arg.fd;
}

static int register_fd(int session, int fd, uint64_t length, uint64_t *table, uint32_t *handle)
{
	struct snvme_mem_register arg = {
		.size = sizeof(arg), .type = SNVME_MEM_DMABUF, .fd = fd, .length = length,
		.table = (uintptr_t)table, .table_entries = table ? (uint32_t)(length / PAGE) : 0,
	};
	int err = call(session, SNVME_IOC_MEM_REGISTER, &arg);

	*handle = arg.handle;
	return err;
}

static int register_addr(int session, uint64_t addr, uint64_t length, uint64_t *table, uint32_t *handle)
{
	struct snvme_mem_register arg = {
		.size = sizeof(arg), .type = SNVME_MEM_NVIDIA, .addr = addr, .length = length,
		.table = (uintptr_t)table, .table_entries = table ? (uint32_t)(length / PAGE) : 0,
	};
	int err = call(session, SNVME_IOC_MEM_REGISTER, &arg);

	*handle = arg.handle;
	return err;
}

/* The exporter, or the GPU's driver, takes the memory away. */
static int take_away_part(struct part *p)
{
	return by_address ? call(exporter, FAKE_TAKE, &p->range) :
			    call(exporter, BAR_REVOKE, (void *)(uintptr_t)p->fd);
}

/*
 * Rings and lists lie in one piece; data of the BAR in pieces of 64 KiB, the last first. By address all is
 * in such pieces, and what has to be contiguous in the first of them.
 */
static int part_make(int session, struct part *p, enum use use, bool far)
{
	uint64_t offset = use * PART;
	int err;

	p->fd = -1;
	if (far && by_address) {
		p->va = bar + offset;
		p->pieces = true;
		p->range = (struct fake_range){ FAKE_BASE + offset, PART };
		err = register_addr(session, p->range.addr, PART, p->table, &p->handle);
	} else if (far) {
		p->va = bar + offset;
		p->pieces = use == DATA;
		p->fd = export_bar(offset, PART, p->pieces ? 65536 : 0);
		err = p->fd < 0 ? errno : register_fd(session, p->fd, PART, p->table, &p->handle);
	} else {
		struct snvme_mem_register arg = {
			.size = sizeof(arg), .type = SNVME_MEM_KERNEL, .length = PART,
			.table = (uintptr_t)p->table, .table_entries = PART / PAGE,
		};

		err = call(session, SNVME_IOC_MEM_REGISTER, &arg);
		p->va = mmap(NULL, PART, PROT_READ | PROT_WRITE, MAP_SHARED, session,
			     (off_t)arg.mmap_offset);
		p->handle = arg.handle;
	}
	p->map = (struct snv_dma_map){ (const __u64 *)p->table, 12, 0, PART / PAGE };
	return err;
}

/* Where byte @at of the data lies for us. */
static char *data_at(const struct part *p, uint64_t at)
{
	return p->pieces ? p->va + PART - 65536 - at / 65536 * 65536 + at % 65536 : p->va + at;
}

static void put(const struct part *p, uint64_t at, uint64_t length, uint32_t seed)
{
	for (uint64_t i = 0; i < length; i += 8) {
		uint64_t word = (at + i) * 0x9e3779b97f4a7c15ULL ^ seed;

		memcpy(data_at(p, at + i), &word, 8);
	}
}

static uint64_t wrong(const struct part *p, uint64_t at, uint64_t length, uint64_t first, uint32_t seed)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < length; i += 8) {
		uint64_t word = (first + i) * 0x9e3779b97f4a7c15ULL ^ seed, got;

		memcpy(&got, data_at(p, at + i), 8);
		n += got != word;
	}
	return n;
}

static char *map_page(struct pair *q, uint64_t offset, int prot)
{
	void *va = mmap(NULL, PAGE, prot, MAP_SHARED, q->session, (off_t)offset);

	if (va == MAP_FAILED || q->pages == sizeof(q->page) / sizeof(q->page[0])) {
		printf("Bail out! a page of the session: %s\n", strerror(errno));
		exit(1);
	}
	return q->page[q->pages++] = va;
}

static int queue_make(struct pair *q, uint32_t type, const struct part *part, uint32_t cq,
		      struct snvme_queue_create *arg, struct snv_db *db)
{
	int err;

	*arg = (struct snvme_queue_create){
		.size = sizeof(*arg), .type = type, .entries = DEPTH + 1, .mem = part->handle, .cq = cq,
	};
	/* In a device's memory it is ours to clear. */
	memset(data_at(part, 0), 0, (DEPTH + 1) * 64);
	err = call(q->session, SNVME_IOC_QUEUE_CREATE, arg);
	if (err)
		return err;
	db->mmio = (__u32 *)(map_page(q, arg->db_mmap_offset, PROT_READ | PROT_WRITE) +
			     arg->db_offset);
	db->shadow = NULL;
	db->eventidx = NULL;
	if (arg->shadow_mmap_offset) {
		db->shadow = (__u32 *)(map_page(q, arg->shadow_mmap_offset,
				PROT_READ | PROT_WRITE) + arg->shadow_offset);
		db->eventidx = (__u32 *)(map_page(q, arg->eventidx_mmap_offset,
				PROT_READ | PROT_WRITE) + arg->shadow_offset);
	}
	return 0;
}

static int queues_make(struct pair *q)
{
	const char *state = map_page(q, SNVME_MMAP_STATE, PROT_READ);
	struct snvme_queue_create arg;
	struct snv_db db;
	int err = queue_make(q, SNVME_QUEUE_CQ, &q->part[RING_CQ], 0, &arg, &db);

	if (err)
		return err;
	q->cq_handle = arg.handle;
	snv_cq_init(&q->cq, (struct snv_cqe *)data_at(&q->part[RING_CQ], 0), DEPTH + 1,
		    (const __u32 *)(state + arg.state_offset), db);
	err = queue_make(q, SNVME_QUEUE_SQ, &q->part[RING_SQ], q->cq_handle, &arg, &db);
	if (err)
		return err;
	q->sq_handle = arg.handle;
	snv_sq_init(&q->sq, (struct snv_sqe *)data_at(&q->part[RING_SQ], 0), DEPTH + 1,
		    (const __u32 *)(state + arg.state_offset), db);
	return 0;
}

/* @far: bits of enum use: what lies in the BAR. */
static int pair_make(struct pair *q, unsigned int far)
{
	int err = 0;

	memset(q, 0, sizeof(*q));
	for (unsigned int i = 0; i < PARTS; i++)
		q->part[i].fd = -1;
	q->session = attached();
	if (q->session < 0)
		return errno;
	for (unsigned int i = 0; !err && i < PARTS; i++)
		err = part_make(q->session, &q->part[i], i, far >> i & 1);
	return err ? err : queues_make(q);
}

static void pair_close(struct pair *q)
{
	while (q->pages)
		munmap(q->page[--q->pages], PAGE);
	for (unsigned int i = 0; i < PARTS; i++)
		if (q->part[i].fd >= 0)
			close(q->part[i].fd);
	if (q->session >= 0)
		close(q->session);
}

static int pair_end(struct pair *q)
{
	int err = release(q->session, SNVME_IOC_QUEUE_DESTROY, q->sq_handle);

	err = err ? err : release(q->session, SNVME_IOC_QUEUE_DESTROY, q->cq_handle);
	for (unsigned int i = 0; i < PARTS; i++)
		err = err ? err : release(q->session, SNVME_IOC_MEM_UNREGISTER, q->part[i].handle);
	pair_close(q);
	return err;
}

static void submit(struct pair *q, uint16_t cid, uint8_t opcode, uint64_t at, uint64_t offset,
		   uint64_t length)
{
	struct part *lists = &q->part[LISTS];
	struct snv_prp_list list = {
		(__le64 *)(void *)data_at(lists, cid * PAGE), snv_dma_addr(&lists->map, cid * PAGE),
	};
	struct snv_sqe sqe = { .opcode = opcode, .cid = snv_le16(cid), .nsid = snv_le32(1) };
	__u32 pos;

	snv_prp_build(&q->part[DATA].map, at, length, 12, &list, 1, &sqe.prp1, &sqe.prp2);
	sqe.cdw10 = snv_le32((uint32_t)(offset >> LBA_SHIFT));
	sqe.cdw12 = snv_le32((uint32_t)(length >> LBA_SHIFT) - 1);
	/* A queue that has died takes no more. */
	while (!snv_sq_reserve(&q->sq, 1, &pos))
		if (*(volatile const __u32 *)q->sq.state != SNVME_STATE_LIVE)
			return;
	memcpy(snv_sq_slot(&q->sq, pos), &sqe, sizeof(sqe));
	snv_sq_publish(&q->sq, pos, 1);
}

/* The status of the next command that ends; -1: the queue is dead; -2: none came. */
static int reap(struct pair *q)
{
	const struct snv_cqe *cqe;
	time_t end = time(NULL) + 300;
	__u32 dw3, dw2;

	while (!(cqe = snv_cq_peek(&q->cq, &dw3))) {
		if (*(volatile const __u32 *)q->sq.state != SNVME_STATE_LIVE)
			return -1;
		if (time(NULL) > end)
			return -2;
	}
	/* What lies in a dead queue's ring is not to be believed: its memory may be another's by now. */
	if (*(volatile const __u32 *)q->sq.state != SNVME_STATE_LIVE)
		return -1;
	dw2 = snv_le32_get(cqe->dw2);
	snv_sq_fetched(&q->sq, dw2 & 0xffff);
	snv_cq_advance(&q->cq);
	snv_cq_release(&q->cq);
	return (int)(dw3 >> SNV_CQE_DW3_STATUS_SHIFT & SNV_STATUS_CODE);
}

/* Write what is in memory, poison it, read it again: with and without a list. What went wrong. */
static uint64_t round_trip(struct pair *q, uint32_t seed)
{
	struct part *data = &q->part[DATA];
	uint64_t bad = 0;

	put(data, 0, PART / 2, seed);
	for (uint16_t i = 0; i < 4; i++)
		submit(q, i, SNV_OP_WRITE, i * LENGTH, i * LENGTH, LENGTH);
	for (int i = 0; i < 4; i++)
		bad += reap(q) != 0;
	for (uint64_t i = 0; i < PART; i += 8)
		memset(data_at(data, i), 0xee, 8);
	/* To the other half, from where pages of a list do not begin. */
	for (uint16_t i = 0; i < 3; i++)
		submit(q, i, SNV_OP_READ, PART / 2 + i * LENGTH + 512, i * LENGTH, LENGTH);
	submit(q, 3, SNV_OP_READ, PAGE, 3 * LENGTH + PAGE, PAGE);
	for (int i = 0; i < 4; i++)
		bad += reap(q) != 0;
	for (uint64_t i = 0; i < 3; i++)
		bad += wrong(data, PART / 2 + i * LENGTH + 512, LENGTH, i * LENGTH, seed);
	return bad + wrong(data, PAGE, PAGE, 3 * LENGTH + PAGE, seed);
}

/* Has the driver's own path the same? */
static uint64_t wrong_on_disk(uint32_t seed)
{
	struct part p = { .fd = -1 };
	int fd = open(disk, O_RDONLY | O_DIRECT);
	uint64_t n = 1;

	if (!posix_memalign((void **)&p.va, PAGE, PART) && pread(fd, p.va, PART / 2, 0) == (ssize_t)PART / 2)
		n = wrong(&p, 0, PART / 2, 0, seed);
	free(p.va);
	close(fd);
	return n;
}

static void test_places(void)
{
	struct pair q;

	for (unsigned int far = 0; far < 16; far += by_address ? 5 : 1) {
		int err = pair_make(&q, far);
		uint64_t bad = err ? 1 : round_trip(&q, far + 1);

		is(err | (bad != 0), 0, "in the BAR: %s%s%s%s", far & 1 << RING_SQ ? "SQ " : "",
		   far & 1 << RING_CQ ? "CQ " : "", far & 1 << LISTS ? "lists " : "",
		   far & 1 << DATA ? "data" : "");
		if (err || bad)
			diag("errno %d, %llu wrong", err, (unsigned long long)bad);
		is(wrong_on_disk(far + 1), 0, "the driver's path reads the same");
		is(pair_end(&q), 0, "all given back");
	}
}

/* An exporter that gives no notices: memory of the host, by udmabuf. */
static void test_static(void)
{
	int dev = open("/dev/udmabuf", O_RDWR), err;
	struct udmabuf_create arg = { .size = PART };
	struct pair q;
	struct part *data = &q.part[DATA];

	if (dev < 0) {
		skip("this kernel has no udmabuf");
		return;
	}
	is(pair_make(&q, 0), 0, "rings of the host");
	is(release(q.session, SNVME_IOC_MEM_UNREGISTER, data->handle), 0, "and data");
	arg.memfd = (uint32_t)memfd_create("data", MFD_ALLOW_SEALING);
	if (ftruncate((int)arg.memfd, PART) || fcntl((int)arg.memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		diag("memfd: %s", strerror(errno));
	data->va = mmap(NULL, PART, PROT_READ | PROT_WRITE, MAP_SHARED, (int)arg.memfd, 0);
	memset(data->va, 0, PART);
	data->fd = ioctl(dev, UDMABUF_CREATE, &arg);
	err = register_fd(q.session, data->fd, PART, data->table, &data->handle);
	is(err, 0, "pages of a memfd as a dma-buf");
	is(err ? 1 : round_trip(&q, 77), 0, "data there");
	is(wrong_on_disk(77), 0, "the driver's path reads the same");
	is(pair_end(&q), 0, "all given back");
	munmap(data->va, PART);
	close((int)arg.memfd);
	close(dev);
}

static void test_refusals(void)
{
	struct snvme_mem_register host = {
		.size = sizeof(host), .type = SNVME_MEM_KERNEL, .length = PAGE,
	};
	struct snvme_queue_create queue = {
		.size = sizeof(queue), .type = SNVME_QUEUE_CQ, .entries = 16,
	};
	int session = attached(), fd = export_bar(0, PART, 0), pipes[2], err;
	uint32_t handle, again;
	uint64_t table[PART / PAGE];

	is(register_addr(session, FAKE_BASE, PART, NULL, &handle), EINVAL, "by address: not built so");
	is(register_fd(session, -1, PART, NULL, &handle), EBADF, "no descriptor");
	if (!pipe(pipes))
		is(register_fd(session, pipes[0], PART, NULL, &handle), EINVAL, "a pipe");
	is(register_fd(session, fd, 2 * PART, NULL, &handle), EINVAL, "more than there is");
	is(register_fd(session, fd, PART + 1, NULL, &handle), EINVAL, "part of a page");
	is(register_fd(session, fd, PAGE, NULL, &handle), 0, "less than there is");
	is(release(session, SNVME_IOC_MEM_UNREGISTER, handle), 0, "given back");
	is(register_fd(session, fd, PART, table, &again), 0, "once more");
	is(call(exporter, BAR_REVOKE, (void *)(uintptr_t)fd), 0, "taken away");
	/* Who has no queue yet is not to make one with addresses that mean nothing. */
	is(call(session, SNVME_IOC_MEM_REGISTER, &host), 0, "memory of the host");
	queue.mem = host.handle;
	is(call(session, SNVME_IOC_QUEUE_CREATE, &queue), ECONNABORTED, "no queue before it is given back");
	is(release(session, SNVME_IOC_MEM_UNREGISTER, again), 0, "given back after that");
	is(call(session, SNVME_IOC_QUEUE_CREATE, &queue), 0, "a queue");
	err = register_fd(session, fd, PART, NULL, &handle);
	is(err, ENODEV, "what was taken away is not registered");
	close(fd);
	close(session);
}

/* Ends with a queue made and destroyed: nothing that was taken away is still registered. */
static int queue_works(int session)
{
	struct snvme_mem_register host = {
		.size = sizeof(host), .type = SNVME_MEM_KERNEL, .length = PAGE,
	};
	struct snvme_queue_create queue = {
		.size = sizeof(queue), .type = SNVME_QUEUE_CQ, .entries = 16,
	};
	int err = call(session, SNVME_IOC_MEM_REGISTER, &host);

	queue.mem = host.handle;
	err = err ? err : call(session, SNVME_IOC_QUEUE_CREATE, &queue);
	if (!err)
		err = release(session, SNVME_IOC_QUEUE_DESTROY, queue.handle);
	release(session, SNVME_IOC_MEM_UNREGISTER, host.handle);
	return err;
}

static void fake_mode(enum fake_mode mode)
{
	if (call(exporter, FAKE_MODE, (void *)(uintptr_t)mode))
		diag("mode %d: %s", mode, strerror(errno));
}

static void *take_later(void *arg)
{
	static const struct fake_range range = { FAKE_BASE, PART };

	usleep((useconds_t)(uintptr_t)arg);
	return (void *)(uintptr_t)call(exporter, FAKE_TAKE, (void *)(uintptr_t)&range);
}

static void test_address_refusals(void)
{
	static const struct { enum fake_mode mode; int err; const char *what; } odd[] = {
		{ FAKE_REFUSES, EOPNOTSUPP, "the GPU's driver refuses" },
		{ FAKE_VERSION, EOPNOTSUPP, "a table of another version" },
		{ FAKE_SIZE, EOPNOTSUPP, "pages of another size" },
		{ FAKE_TAKES_IN_GET, ENODEV, "taken away before it is registered" },
	};
	struct snvme_mem_register with_fd = {
		.size = sizeof(with_fd), .type = SNVME_MEM_NVIDIA, .addr = FAKE_BASE, .length = PART, .fd = 1,
	};
	struct snvme_info info = { .size = sizeof(info) };
	struct fake_range range = { FAKE_BASE, 2 * PART };
	int session = attached(), err = 0;
	uint32_t handle, again;
	uint64_t table[PART / PAGE];
	unsigned int i;

	is(call(session, SNVME_IOC_INFO, &info), 0, "info");
	is(!!(info.caps & SNVME_CAP_MEM_NVIDIA), 1, "the module has it");
	is(call(session, SNVME_IOC_MEM_REGISTER, &with_fd), EINVAL, "with a descriptor");
	is(register_addr(session, FAKE_BASE + PAGE, PART, NULL, &handle), EINVAL, "amid a page of 64 KiB");
	is(register_addr(session, FAKE_BASE, PART + PAGE, NULL, &handle), EINVAL, "part of one");
	is(register_addr(session, FAKE_BASE, 0, NULL, &handle), EINVAL, "nothing");
	is(register_addr(session, -FAKE_PAGE, 2 * FAKE_PAGE, NULL, &handle), EINVAL, "beyond all addresses");
	is(register_addr(session, FAKE_PAGE, PART, NULL, &handle), EINVAL, "no memory of the GPU's");
	for (i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		fake_mode(odd[i].mode);
		is(register_addr(session, FAKE_BASE, PART, NULL, &handle), odd[i].err, "%s", odd[i].what);
	}
	fake_mode(FAKE_GIVES);
	is(queue_works(session), 0, "none of that was registered");
	is(register_addr(session, FAKE_BASE, PART, table, &handle), 0, "registered");
	is(register_addr(session, FAKE_BASE + PART, FAKE_PAGE, NULL, &again), 0, "and a page beside it");
	is(call(exporter, FAKE_TAKE, &range), 0, "both taken away with no queue there");
	is(queue_works(session), ECONNABORTED, "no queue before it is given back");
	is(release(session, SNVME_IOC_MEM_UNREGISTER, handle), 0, "given back after that");
	is(queue_works(session), ECONNABORTED, "nor before the page is");
	is(release(session, SNVME_IOC_MEM_UNREGISTER, again), 0, "and the page");
	is(queue_works(session), 0, "a queue");
	is(register_addr(session, FAKE_BASE, PART, table, &handle), 0, "registered again");
	fake_mode(FAKE_TAKES_IN_PUT);
	is(release(session, SNVME_IOC_MEM_UNREGISTER, handle), 0, "taken away while it is given back");
	fake_mode(FAKE_GIVES);
	is(queue_works(session), 0, "a queue");
	for (i = 0; i < 200 && !err; i++) {
		pthread_t id;
		void *took = NULL;

		err = register_addr(session, FAKE_BASE, PART, NULL, &handle);
		if (err || pthread_create(&id, NULL, take_later, (void *)(uintptr_t)(i % 20 * 20)))
			break;
		usleep(i / 20 * 40);
		err = release(session, SNVME_IOC_MEM_UNREGISTER, handle);
		pthread_join(id, &took);
		err = err ? err : took ? EBUSY : queue_works(session);
	}
	is(err ? 0 : i, 200, "taken away and given back at the same time");
	is(register_addr(session, FAKE_BASE, PART, table, &handle), 0, "registered at the session's end");
	close(session);
}

struct busy {
	struct pair *q;
	uint64_t done;
	int end;
};

/* Reads into memory until the queue is dead. */
static void *read_on(void *arg)
{
	struct busy *b = arg;

	for (uint16_t i = 0; i < DEPTH; i++)
		submit(b->q, i, SNV_OP_READ, i % 4 * LENGTH, 0, LENGTH);
	while ((b->end = reap(b->q)) == 0) {
		submit(b->q, (uint16_t)(b->done % DEPTH), SNV_OP_READ, b->done % 4 * LENGTH, 0, LENGTH);
		__atomic_fetch_add(&b->done, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Memory of use @use, or all of it if PARTS, is taken away in the middle of I/O. */
static void test_revoke(enum use use)
{
	struct busy b = { 0 };
	struct snvme_queue_create arg;
	struct pollfd pfd;
	struct snv_db db;
	struct pair q;
	pthread_t id;
	uint64_t stored = 0;
	int ret = pair_make(&q, 15);

	is(ret, 0, "all in the BAR");
	b.q = &q;
	pthread_create(&id, NULL, read_on, &b);
	while (__atomic_load_n(&b.done, __ATOMIC_RELAXED) < 20)
		usleep(100);
	pfd = (struct pollfd){ .fd = q.session, .events = POLLIN };
	is(poll(&pfd, 1, 0), 0, "nothing has happened yet");
	ret = take_away_part(&q.part[use]);
	/* From here on the controller stores nothing there; the thread does, where it is what it fills. */
	if (use == RING_CQ || use == DATA)
		memset(q.part[use].va, 0x77, PART);
	poll(&pfd, 1, 0);
	is(pfd.revents, POLLIN, "the session's descriptor tells");
	is(ret, 0, "memory of %s is taken away, and mapped by nobody",
	   use == DATA ? "data" : use == LISTS ? "lists" : use == RING_SQ ? "the SQ" : "the CQ");
	pthread_join(id, NULL);
	is(b.end, -1, "who waits learns of it");
	is(*(volatile const __u32 *)q.sq.state, SNVME_STATE_REVOKED, "the SQ says so");
	is(*(volatile const __u32 *)q.cq.state, SNVME_STATE_REVOKED, "and the CQ");
	usleep(100000);
	for (uint64_t i = 0; i < PART && (use == RING_CQ || use == DATA); i++)
		stored += q.part[use].va[i] != 0x77;
	is(stored, 0, "nothing is stored there any more");
	is(release(q.session, SNVME_IOC_QUEUE_DESTROY, q.sq_handle), 0, "destroyed");
	is(release(q.session, SNVME_IOC_QUEUE_DESTROY, q.cq_handle), 0, "destroyed, too");
	ret = queue_make(&q, SNVME_QUEUE_CQ, &q.part[use], 0, &arg, &db);
	is(ret, ECONNABORTED, "no queue before it is unregistered");
	/* Other memory in its place, and it goes on. */
	is(release(q.session, SNVME_IOC_MEM_UNREGISTER, q.part[use].handle), 0, "unregistered");
	if (q.part[use].fd >= 0)
		close(q.part[use].fd);
	is(part_make(q.session, &q.part[use], use, true), 0, "exported anew");
	ret = queues_make(&q);
	is(ret, 0, "queues made anew");
	is(ret ? 1 : round_trip(&q, 99), 0, "and they work");
	is(pair_end(&q), 0, "all given back");
}

/* Memory is taken away while the controller is reset, before, in the middle or after it. */
static void test_revoke_in_reset(unsigned int rounds)
{
	unsigned int right = 0, i;
	char path[128], all[4096];

	snprintf(path, sizeof(path), "/sys/class/nvme/%s/reset_controller", strrchr(device, '/') + 1);
	memset(all, 0x77, sizeof(all));
	for (i = 0; i < rounds; i++) {
		struct busy b = { 0 };
		struct pair q;
		pthread_t id;
		int fd, ret;
		pid_t pid;

		/* After a reset it takes a while until an attach is accepted. */
		for (int tries = 0; tries < 100 && access(path, W_OK); tries++)
			usleep(100000);
		ret = pair_make(&q, 15);
		b.q = &q;
		if (ret || pthread_create(&id, NULL, read_on, &b))
			break;
		while (__atomic_load_n(&b.done, __ATOMIC_RELAXED) < 20)
			usleep(100);
		pid = fork();
		if (!pid) {
			fd = open(path, O_WRONLY);
			_exit(write(fd, "1", 1) != 1);
		}
		usleep(i * 3000);
		ret = take_away_part(&q.part[DATA]);
		memset(q.part[DATA].va, 0x77, PART);
		pthread_join(id, NULL);
		waitpid(pid, NULL, 0);
		for (uint64_t at = 0; at < PART && !ret; at += sizeof(all))
			ret = memcmp(q.part[DATA].va + at, all, sizeof(all));
		right += !ret && b.end == -1 && !pair_end(&q);
	}
	is(right, rounds, "taken away in a reset");
}

/* A process is killed with all of it in use, at a random moment. */
static void test_kill(unsigned int rounds)
{
	unsigned int died = 0;

	srand(1);
	for (unsigned int i = 0; i < rounds; i++) {
		int pipes[2], status;
		pid_t pid;

		if (pipe(pipes))
			break;
		pid = fork();
		if (!pid) {
			struct pair q;
			struct busy b = { .q = &q };

			if (pair_make(&q, 15) || write(pipes[1], "!", 1) != 1)
				_exit(1);
			read_on(&b);
			pause();
		}
		if (read(pipes[0], &status, 1) == 1) {
			usleep((useconds_t)rand() % 20000);
			kill(pid, SIGKILL);
		}
		waitpid(pid, &status, 0);
		died += WIFSIGNALED(status);
		close(pipes[0]);
		close(pipes[1]);
	}
	is(died, rounds, "killed with rings, lists and data in the BAR");
}

/* Says "started", reads into the BAR until the queue is dead, and ends with its state word. */
static int hold(void)
{
	struct pair q;
	struct busy b = { .q = &q };

	if (pair_make(&q, 15))
		return 100;
	puts("started");
	fflush(stdout);
	read_on(&b);
	return (int)*(volatile const __u32 *)q.sq.state;
}

/*
 * Says "started", lets the controller fetch a command from the BAR on SIGUSR1, when whoever sent it has
 * switched the BAR off, and ends with the queue's state word once that is not "live".
 */
static int fetch(void)
{
	struct pollfd pfd = { .events = POLLIN };
	struct pair q;
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (pair_make(&q, 1 << RING_SQ))
		return 100;
	puts("started");
	fflush(stdout);
	if (sigwait(&set, &sig))
		return 101;
	submit(&q, 0, SNV_OP_READ, 0, 0, LENGTH);
	pfd.fd = q.session;
	poll(&pfd, 1, -1);
	return (int)*(volatile const __u32 *)q.sq.state;
}

/* Is the BAR within the controller's reach? The errno of registering it, or what a round trip made of it. */
static int reach(void)
{
	static uint64_t table[PART / PAGE];
	int session = attached(), fd = by_address ? dup(exporter) : export_bar(0, PART, 0), err;
	struct pair q;
	uint32_t handle;

	err = session < 0 || fd < 0 ? EBADF :
	      by_address ? register_addr(session, FAKE_BASE, PART, table, &handle) :
			   register_fd(session, fd, PART, table, &handle);
	if (err) {
		puts(strerror(err));
		return 0;
	}
	close(session);
	close(fd);
	if (pair_make(&q, 15) || round_trip(&q, 5) || pair_end(&q))
		return 1;
	puts("all bytes came back");
	return 0;
}

/*
 * For @seconds: reads into the BAR, and the memory of one use after the other is taken away, whatever
 * else befalls the controller. Says how often, and ends with 0 if nothing was stored afterwards.
 */
static int take_away(int seconds)
{
	unsigned int taken = 0, stored = 0;
	int err;
	time_t end = time(NULL) + seconds;
	char all[4096];

	memset(all, 0x77, sizeof(all));
	while (time(NULL) < end) {
		enum use use = taken % PARTS;
		struct pair q;
		struct busy b = { .q = &q };
		pthread_t id;

		/* In a reset there is nothing to attach to, or no queue is made. */
		err = pair_make(&q, 15);
		if (err) {
			if (err != EBADF && err != EBUSY && err != EAGAIN && err != ESTALE) {
				printf("%s\n", strerror(err));
				return 1;
			}
			pair_close(&q);
			usleep(100000);
			continue;
		}
		if (pthread_create(&id, NULL, read_on, &b))
			return 1;
		usleep((useconds_t)rand() % 50000);
		if (take_away_part(&q.part[use]))
			return 1;
		if (use == RING_CQ || use == DATA)
			memset(q.part[use].va, 0x77, PART);
		pthread_join(id, NULL);
		for (uint64_t at = 0; at < PART && (use == RING_CQ || use == DATA); at += sizeof(all))
			stored += memcmp(q.part[use].va + at, all, sizeof(all)) != 0;
		if (pair_end(&q))
			return 1;
		taken++;
	}
	printf("%u revocations, %u stores after them\n", taken, stored);
	return stored || !taken;
}

int main(int argc, char **argv)
{
	int fd;

	by_address = argc > 1 && !strcmp(argv[1], "nvidia");
	argc -= by_address;
	argv += by_address;
	if (argc < 4)
		return 2;
	device = argv[1];
	disk = argv[2];
	fd = open(argv[3], O_RDWR | O_SYNC);
	bar = mmap(NULL, PARTS * PART, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	exporter = open(by_address ? "/dev/fake_nvidia" : "/dev/bar_dmabuf", O_RDWR);
	if (bar == MAP_FAILED || exporter < 0) {
		printf("Bail out! %s or its exporter: %s\n", argv[3], strerror(errno));
		return 1;
	}
	if (argc > 4 && !strcmp(argv[4], "reach"))
		return reach();
	if (argc > 4 && !strcmp(argv[4], "hold"))
		return hold();
	if (argc > 4 && !strcmp(argv[4], "fetch"))
		return fetch();
	if (argc > 5 && !strcmp(argv[4], "torture"))
		return take_away(atoi(argv[5]));
	if (argc > 4)
		return 2;
	if (by_address)
		test_address_refusals();
	else
		test_refusals();
	test_places();
	if (!by_address)
		test_static();
	for (enum use use = RING_SQ; use <= DATA; use++)
		test_revoke(use);
	test_revoke_in_reset(10);
	test_kill(20);
	return done();
}
