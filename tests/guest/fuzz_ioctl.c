// SPDX-License-Identifier: MIT
/*
 * fuzz_ioctl DEV [COUNT [SEED [BAR]]]: COUNT calls of the kernel ABI, valid ones and what becomes
 * of valid ones by mutation, on sessions in all states. The same SEED makes the same calls, as long
 * as they do the same. BAR is the file of a device's memory that /dev/bar_dmabuf exports.
 *
 * A model knows what each session has. judge() says from it, and from the words of
 * include/uapi/snvme/ioctl.h, what a call must return; after each call the controller must have as
 * many queues as the model. At last two processes make such calls at once on the same sessions,
 * without a model: nothing may be left of it. All of it is one file since a field of the ABI means a line
 * in each part: the call, its mutation, the judgement, the model.
 *
 * No doorbell is ever rung, so the controller is given no command. All memory that a call is told
 * of lies in the arena, where nothing of the program's own does: the kernel may write there,
 * wherever a mutated address points.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/udmabuf.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <snvme/ioctl.h>

#include "bar_dmabuf.h"
#include "tap.h"

#define PAGE		4096UL
#define N(a)		(sizeof(a) / sizeof((a)[0]))
#define MEMLOCK		(8UL << 20)
#define MAX_KERNEL	(4UL << 20)	/* of SNVME_MEM_KERNEL, says the ABI */

/* What a call began as, before it was mutated. Those up to DESTROY are ioctls with a structure. */
enum kind {
	INFO, ATTACH, IDENTIFY, REG_USER, REG_KERNEL, REG_DMABUF, UNREGISTER, CREATE_CQ, CREATE_SQ, DESTROY,
	UNKNOWN, WRONG_FILE, MAP_STATE, MAP_DOORBELL, MAP_SHADOW, MAP_MEM, REMAP,
	ARENA_NEW, UNMAP, CLOSE, FORK, REVOKE, KINDS
};

static const struct {
	const char *name;
	unsigned int weight;	/* of all calls; what costs admin commands or processes is rare */
	bool succeeds, fails;	/* is meant to */
} kinds[KINDS] = {
	[INFO] = { "INFO", 180, true, true },
	[ATTACH] = { "ATTACH", 40, true, true },
	[IDENTIFY] = { "IDENTIFY", 20, true, true },
	[REG_USER] = { "MEM_REGISTER user", 90, true, true },
	[REG_KERNEL] = { "MEM_REGISTER kernel", 70, true, true },
	[REG_DMABUF] = { "MEM_REGISTER dma-buf", 60, true, true },
	[UNREGISTER] = { "MEM_UNREGISTER", 140, true, true },
	[CREATE_CQ] = { "QUEUE_CREATE CQ", 60, true, true },
	[CREATE_SQ] = { "QUEUE_CREATE SQ", 70, true, true },
	[DESTROY] = { "QUEUE_DESTROY", 75, true, true },
	[UNKNOWN] = { "unknown ioctl", 40, false, true },
	[WRONG_FILE] = { "ioctl of another file", 40, false, true },
	[MAP_STATE] = { "mmap state", 15, true, true },
	[MAP_DOORBELL] = { "mmap doorbell", 25, true, true },
	[MAP_SHADOW] = { "mmap shadow", 20, true, true },
	[MAP_MEM] = { "mmap memory", 30, true, true },
	[REMAP] = { "mremap, mprotect", 20, true, true },
	[ARENA_NEW] = { "memory replaced", 20, true, false },
	[UNMAP] = { "munmap", 50, true, false },
	[CLOSE] = { "close, open", 12, true, false },
	[FORK] = { "fork, exit", 2, true, false },
	[REVOKE] = { "dma-buf revoked", 3, true, false },
};

static unsigned int counts[KINDS][200];
static unsigned long nr, wrong;
static bool racing;			/* with another process: the model does not hold */

/* ---- the same calls for the same seed ---- */

static uint64_t seed, rnd_state;

static uint64_t rnd64(void)
{
	uint64_t z = rnd_state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static unsigned int rnd(unsigned long below)
{
	return (unsigned int)(rnd64() % below);
}

static bool one_in(unsigned int n)
{
	return !rnd(n);
}

/* ---- the arena ----
 *
 * Below 4 GiB, for 32-bit calls, and aligned to its size. Its holes stay holes: mmap() without an
 * address looks for room from the top.
 */

#define ARENA		0x40000000UL
#define ARENA_PAGES	1024UL
#define ARENA_SIZE	(ARENA_PAGES * PAGE)
#define SHARED		896UL		/* the pages from here on are of a file; private before */
#define SPECIAL		1008UL		/* from here on not all can be read and written */

#define CAN_READ	1
#define CAN_WRITE	2
#define CAN_PIN		4
#define CAN_ALL		(CAN_READ | CAN_WRITE | CAN_PIN)

static uint8_t arena_can[ARENA_PAGES];
static char *alias;			/* the file's pages once more: all can be written */

static void arena_make(const char *bar)
{
	static const struct {
		unsigned int page;
		uint8_t can;
	} special[] = {
		{ 1009, CAN_READ }, { 1011, 0 }, { 1013, 0 }, { 1015, CAN_READ }, { 1016, 0 },
		{ 1019, 0 },
	};
	size_t shared = (ARENA_PAGES - SHARED) * PAGE;
	int fd = memfd_create("arena", MFD_CLOEXEC), prot = PROT_READ | PROT_WRITE;
	char *va = mmap((void *)ARENA, ARENA_SIZE, prot,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (va != (char *)ARENA || ftruncate(fd, (off_t)shared) ||
	    mmap(va + SHARED * PAGE, shared, prot, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
		printf("Bail out! no arena: %s\n", strerror(errno));
		exit(1);
	}
	alias = mmap(NULL, shared, prot, MAP_SHARED, fd, 0);
	close(fd);
	madvise(va, ARENA_SIZE / 2, MADV_HUGEPAGE);
	memset(arena_can, CAN_ALL, sizeof(arena_can));
	for (size_t i = 0; i < N(special); i++) {
		char *page = va + special[i].page * PAGE;

		arena_can[special[i].page] = special[i].can;
		if (special[i].page % 6 == 5)	/* 1013, 1019: nothing at all */
			munmap(page, PAGE);
		else
			mprotect(page, PAGE, special[i].can ? PROT_READ : PROT_NONE);
	}
	/* Memory of a device, which cannot be pinned. */
	fd = bar ? open(bar, O_RDWR | O_CLOEXEC) : -1;
	va += 1018 * PAGE;
	if (fd >= 0 && mmap(va, PAGE, prot, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED)
		arena_can[1018] = CAN_READ | CAN_WRITE;
	close(fd);
}

/* Can the kernel do that with all of the range? */
static bool arena_ok(uint64_t at, uint64_t length, uint8_t can)
{
	if (at < ARENA || at >= ARENA + ARENA_SIZE || length > ARENA + ARENA_SIZE - at)
		return false;
	for (uint64_t i = (at - ARENA) / PAGE; i <= (at - ARENA + length - 1) / PAGE; i++)
		if ((arena_can[i] & can) != can)
			return false;
	return true;
}

/* Writes what there is of the range, by the other mapping where this one does not allow it. */
static void arena_put(uint64_t at, const void *data, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		uint64_t page = (at + i - ARENA) / PAGE;

		if (at + i < ARENA || page >= ARENA_PAGES)
			continue;
		if (arena_can[page] & CAN_WRITE)
			*(volatile char *)(uintptr_t)(at + i) = ((const char *)data)[i];
		else
			alias[at + i - ARENA - SHARED * PAGE] = ((const char *)data)[i];
	}
}

/* A mutated address: as it is where nothing of ours can lie, else in the arena. */
static uint64_t harmless(uint64_t at)
{
	return at < 65536 || at >> 47 ? at : ARENA + at % ARENA_SIZE;
}

static uint64_t any_address(void)
{
	static const uint64_t out[] = {
		0, PAGE, 1ULL << 47, (1ULL << 47) - PAGE, 0xffff888000000000, UINT64_MAX - 3,
		UINT64_MAX - PAGE + 1, ARENA - PAGE, ARENA + ARENA_SIZE,
	};
	uint64_t at = ARENA + (SPECIAL + rnd(ARENA_PAGES - SPECIAL)) * PAGE;

	if (one_in(3)) {
		at = out[rnd(N(out))];
		/* Page 1024 is behind the arena, and stays there. */
		return at == ARENA - PAGE || at == ARENA + ARENA_SIZE ? at : harmless(at);
	}
	return one_in(2) ? at : at - 4 * rnd(32);
}

/* ---- the model ---- */

#define SESSIONS	5
#define MEMS		24
#define QUEUES		16
#define MAPS		8
#define STALE		8

struct mem {
	uint32_t handle;
	uint32_t type;
	uint64_t length;
	uint64_t mmap_offset;
	unsigned int buf;	/* serial number of the dma-buf */
	bool revoked;
	bool whole;		/* contiguous for the device */
};

struct queue {
	struct snvme_queue_create arg;
	bool revoked;
};

struct map {
	char *va;
	size_t length;
	enum kind kind;
};

struct session {
	int fd;
	bool attached;
	unsigned int nmems, nqueues, nmaps, nstale;
	struct mem mems[MEMS];
	struct queue queues[QUEUES];
	struct map maps[MAPS];
	uint32_t stale[STALE];
};

/* A dma-buf, of the BAR or by udmabuf. */
struct buf {
	int fd;
	uint64_t length;
	unsigned int serial;	/* never used again, as descriptors are */
	bool revoked;
	bool whole;
	bool bar;
};

static struct session sessions[SESSIONS];
static struct buf bufs[6];
static int watcher;			/* a session that is only asked for INFO */
static struct snvme_info now;		/* what it said after the last call */
static int files[32];			/* descriptors of all kinds */
static size_t nfiles;
static const char *device;
static dev_t char_dev, disk_dev;
static int exporter = -1, udmabuf = -1;
static bool compat;			/* this kernel takes 32-bit calls */

static struct mem *find_mem(struct session *s, uint32_t handle)
{
	for (unsigned int i = 0; i < s->nmems; i++)
		if (s->mems[i].handle == handle)
			return &s->mems[i];
	return NULL;
}

static struct queue *find_queue(struct session *s, uint32_t handle)
{
	for (unsigned int i = 0; i < s->nqueues; i++)
		if (s->queues[i].arg.handle == handle)
			return &s->queues[i];
	return NULL;
}

/* Queues that need memory @handle, if @type is 0; or that report to CQ @handle. */
static unsigned int users_of(const struct session *s, uint32_t type, uint32_t handle)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < s->nqueues; i++) {
		const struct snvme_queue_create *q = &s->queues[i].arg;

		n += type ? q->type == SNVME_QUEUE_SQ && q->cq == handle : q->mem == handle;
	}
	return n;
}

static bool has_lost(const struct session *s)
{
	for (unsigned int i = 0; i < s->nmems; i++)
		if (s->mems[i].revoked)
			return true;
	return false;
}

static unsigned int used(uint32_t type)
{
	unsigned int n = 0;

	for (size_t i = 0; i < SESSIONS; i++)
		for (unsigned int k = 0; k < sessions[i].nqueues; k++)
			n += sessions[i].queues[k].arg.type == type;
	return n;
}

/* Bytes charged to RLIMIT_MEMLOCK. */
static uint64_t charged(void)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < SESSIONS; i++)
		for (unsigned int k = 0; k < sessions[i].nmems; k++)
			if (sessions[i].mems[k].type != SNVME_MEM_DMABUF)
				sum += sessions[i].mems[k].length;
	return sum;
}

/* ---- what must not be ---- */

__attribute__((format(printf, 1, 2))) static void violation(const char *fmt, ...)
{
	char text[200];
	va_list ap;

	if (racing)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ok(false, "call %lu: %s", nr, text);
	if (++wrong < 10)
		return;
	printf("Bail out! too much is wrong\n");
	exit(1);
}

static void verify(const char *after)
{
	static unsigned int more_sq, more_cq;	/* said before; only what changes is said again */
	struct snvme_info info = { .size = sizeof(info) };
	unsigned int sq = used(SNVME_QUEUE_SQ), cq = used(SNVME_QUEUE_CQ);

	if (ioctl(watcher, SNVME_IOC_INFO, &info))
		violation("INFO after %s: %s", after, strerror(errno));
	now = info;
	if (info.used_sq == sq + more_sq && info.used_cq == cq + more_cq)
		return;
	violation("after %s %u SQs and %u CQs are in use, the model has %u and %u", after,
		  info.used_sq, info.used_cq, sq, cq);
	more_sq = info.used_sq - sq;
	more_cq = info.used_cq - cq;
}

static void counted(enum kind kind, int err)
{
	counts[kind][err >= 0 && err < (int)N(counts[0]) ? err : (int)N(counts[0]) - 1]++;
}

/* ---- calls with a structure ---- */

union arg {
	uint32_t size;
	struct snvme_info info;
	struct snvme_attach attach;
	struct snvme_mem_register mem;
	struct snvme_queue_create queue;
	struct snvme_handle handle;
	struct snvme_identify identify;
	unsigned char bytes[128];
};

enum what { ANY, ZERO, HANDLE, FD, ADDRESS };

struct field {
	uint8_t at, width;
	enum what what;
};

#define F(type, name, what) { offsetof(struct type, name), sizeof(((struct type *)0)->name), what }

static const struct field info_fields[] = {
	F(snvme_info, size, ANY), F(snvme_info, abi_version, ANY), F(snvme_info, caps, ANY),
	F(snvme_info, state, ANY), F(snvme_info, epoch, ANY), F(snvme_info, instance, ANY),
	F(snvme_info, reserved[0], ZERO), F(snvme_info, reserved[1], ZERO),
	F(snvme_info, reserved[4], ZERO), F(snvme_info, reserved[8], ZERO),
}, attach_fields[] = {
	F(snvme_attach, size, ANY), F(snvme_attach, fd, FD), F(snvme_attach, fd, FD),
	F(snvme_attach, fd, FD), F(snvme_attach, flags, ZERO), F(snvme_attach, reserved[0], ZERO),
	F(snvme_attach, reserved[4], ZERO),
}, identify_fields[] = {
	F(snvme_identify, size, ANY), F(snvme_identify, cns, ANY), F(snvme_identify, nsid, ANY),
	F(snvme_identify, status, ANY), F(snvme_identify, addr, ADDRESS), F(snvme_identify, addr, ADDRESS),
	F(snvme_identify, reserved[0], ZERO), F(snvme_identify, reserved[1], ZERO),
}, mem_fields[] = {
	F(snvme_mem_register, size, ANY), F(snvme_mem_register, type, ANY),
	F(snvme_mem_register, addr, ADDRESS), F(snvme_mem_register, addr, ADDRESS),
	F(snvme_mem_register, length, ANY), F(snvme_mem_register, length, ANY),
	F(snvme_mem_register, fd, FD), F(snvme_mem_register, flags, ZERO),
	F(snvme_mem_register, table, ADDRESS), F(snvme_mem_register, table, ADDRESS),
	F(snvme_mem_register, table_entries, ANY), F(snvme_mem_register, page_shift, ANY),
	F(snvme_mem_register, handle, HANDLE), F(snvme_mem_register, reserved0, ZERO),
	F(snvme_mem_register, mmap_offset, ANY), F(snvme_mem_register, reserved[0], ZERO),
	F(snvme_mem_register, reserved[1], ZERO),
}, queue_fields[] = {
	F(snvme_queue_create, size, ANY), F(snvme_queue_create, type, ANY),
	F(snvme_queue_create, entries, ANY), F(snvme_queue_create, entries, ANY),
	F(snvme_queue_create, mem, HANDLE), F(snvme_queue_create, mem_offset, ANY),
	F(snvme_queue_create, mem_offset, ANY), F(snvme_queue_create, cq, HANDLE),
	F(snvme_queue_create, flags, ZERO), F(snvme_queue_create, handle, HANDLE),
	F(snvme_queue_create, qid, ANY), F(snvme_queue_create, state_offset, ANY),
	F(snvme_queue_create, db_mmap_offset, ANY), F(snvme_queue_create, reserved0, ZERO),
	F(snvme_queue_create, epoch, ANY), F(snvme_queue_create, reserved[0], ZERO),
	F(snvme_queue_create, reserved[1], ZERO),
}, handle_fields[] = {
	F(snvme_handle, size, ANY), F(snvme_handle, handle, HANDLE),
	F(snvme_handle, handle, HANDLE), F(snvme_handle, reserved[0], ZERO),
	F(snvme_handle, reserved[1], ZERO),
};

#define FIELDS(f) f, N(f)

static const struct {
	uint32_t cmd;
	const struct field *fields;
	size_t nfields;
} ioctls[DESTROY + 1] = {
	[INFO] = { SNVME_IOC_INFO, FIELDS(info_fields) },
	[ATTACH] = { SNVME_IOC_ATTACH, FIELDS(attach_fields) },
	[IDENTIFY] = { SNVME_IOC_IDENTIFY, FIELDS(identify_fields) },
	[REG_USER] = { SNVME_IOC_MEM_REGISTER, FIELDS(mem_fields) },
	[REG_KERNEL] = { SNVME_IOC_MEM_REGISTER, FIELDS(mem_fields) },
	[REG_DMABUF] = { SNVME_IOC_MEM_REGISTER, FIELDS(mem_fields) },
	[UNREGISTER] = { SNVME_IOC_MEM_UNREGISTER, FIELDS(handle_fields) },
	[CREATE_CQ] = { SNVME_IOC_QUEUE_CREATE, FIELDS(queue_fields) },
	[CREATE_SQ] = { SNVME_IOC_QUEUE_CREATE, FIELDS(queue_fields) },
	[DESTROY] = { SNVME_IOC_QUEUE_DESTROY, FIELDS(handle_fields) },
};

struct call {
	struct session *s;
	enum kind kind;
	union arg arg;
	uint64_t at;		/* of the structure in the arena, or where nothing is */
	bool compat;
};

/* An ioctl's errno, or 0; as a 32-bit process would make it if @c32. */
static int call(int fd, uint32_t cmd, uint64_t arg, bool c32)
{
#ifdef __x86_64__
	if (c32 && arg >> 32 == 0) {
		long ret;

		__asm__ volatile("int $0x80" : "=a"(ret)
				 : "a"(54L), "b"((long)fd), "c"((long)cmd), "d"((long)arg)
				 : "memory", "cc", "r8", "r9", "r10", "r11");
		return -(int)ret;
	}
#endif
	return ioctl(fd, cmd, arg) ? errno : 0;
}

/* Does this kernel take 32-bit calls? Tried in a child, which dies if not. */
static bool compat_works(void)
{
#ifdef __x86_64__
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(call(-1, SNVME_IOC_INFO, ARENA, true) != EBADF);
	return waitpid(pid, &status, 0) == pid && !status;
#else
	return false;
#endif
}

/* ---- dma-bufs ---- */

static void buf_new(struct buf *b)
{
	static unsigned int serial;

	if (b->fd >= 0)
		close(b->fd);
	serial++;
	*b = (struct buf){ .fd = -1, .serial = serial, .length = (1 + rnd(64)) * PAGE };
	b->bar = exporter >= 0 && (udmabuf < 0 || !one_in(3));
	if (b->bar) {
		struct bar_export arg = {
			.offset = rnd(1024) * PAGE, .length = b->length,
			.piece = one_in(3) ? PAGE : 0,
		};

		b->whole = !arg.piece;
		b->fd = ioctl(exporter, BAR_EXPORT, &arg) ? -1 : arg.fd;
	} else if (udmabuf >= 0) {
		struct udmabuf_create arg = { .size = b->length };

		arg.memfd = (uint32_t)memfd_create("buf", MFD_ALLOW_SEALING | MFD_CLOEXEC);
		if (!ftruncate((int)arg.memfd, (off_t)b->length) &&
		    !fcntl((int)arg.memfd, F_ADD_SEALS, F_SEAL_SHRINK))
			b->fd = ioctl(udmabuf, UDMABUF_CREATE, &arg);
		close((int)arg.memfd);
	}
	if (b->fd < 0 && (exporter >= 0 || udmabuf >= 0))
		violation("no dma-buf: %s", strerror(errno));
}

static const struct buf *buf_of(int fd)
{
	for (size_t i = 0; i < N(bufs); i++)
		if (bufs[i].fd == fd && fd >= 0)
			return &bufs[i];
	return NULL;
}

/* The exporter takes a dma-buf's memory away: sessions that have it lose their queues. */
static void take_away(void)
{
	struct buf *b = &bufs[rnd(N(bufs))];

	if (!b->bar || b->revoked)
		return;
	if (ioctl(exporter, BAR_REVOKE, (unsigned long)b->fd))
		violation("revoking a dma-buf: %s", strerror(errno));
	b->revoked = true;
	counted(REVOKE, 0);
	for (size_t i = 0; i < SESSIONS; i++) {
		struct session *s = &sessions[i];
		bool hit = false;

		for (unsigned int k = 0; k < s->nmems; k++)
			if (s->mems[k].type == SNVME_MEM_DMABUF && s->mems[k].buf == b->serial)
				hit = s->mems[k].revoked = true;
		for (unsigned int k = 0; hit && k < s->nqueues; k++)
			s->queues[k].revoked = true;
	}
}

/* ---- valid calls ---- */

/* A descriptor of any kind, or a number that is none. */
static int any_fd(void)
{
	static const int none[] = { -1, -2, -100, INT32_MIN, INT32_MAX, 1000000, 511 };

	switch (rnd(8)) {
	case 0:
		return none[rnd(N(none))];
	case 1:
		return sessions[rnd(SESSIONS)].fd;
	case 2:
		return bufs[rnd(N(bufs))].fd;
	default:
		return files[rnd(nfiles)];
	}
}

/* A number that is a handle somewhere, or was one. */
static uint32_t any_handle(const struct session *s)
{
	if (one_in(2))
		s = &sessions[rnd(SESSIONS)];
	switch (rnd(5)) {
	case 0:
		return s->nmems ? s->mems[rnd(s->nmems)].handle : 0;
	case 1:
		return s->nqueues ? s->queues[rnd(s->nqueues)].arg.handle : 0;
	case 2:
		return s->nqueues ? s->queues[rnd(s->nqueues)].arg.qid : 1;
	case 3:
		return rnd(30);
	default:
		return s->stale[rnd(STALE)];
	}
}

static void fill_mem(struct snvme_mem_register *m, enum kind kind)
{
	/* Most are small: much of what is made should fit below the limit. */
	uint64_t pages = one_in(100) ? 1024 : one_in(8) ? 1 + rnd(128) : 1 + rnd(12);

	if (kind == REG_USER) {
		m->type = SNVME_MEM_USER;
		pages = pages > SPECIAL ? SPECIAL : pages;
		m->addr = ARENA + rnd(SPECIAL - pages + 1) * PAGE;
	} else if (kind == REG_KERNEL) {
		m->type = SNVME_MEM_KERNEL;
	} else {
		struct buf *b = &bufs[rnd(N(bufs))];

		if (b->revoked || one_in(10))
			buf_new(b);
		m->type = SNVME_MEM_DMABUF;
		m->fd = b->fd;
		pages = one_in(2) ? b->length / PAGE : 1 + rnd(b->length / PAGE);
	}
	m->length = pages * PAGE;
	if (one_in(2)) {
		m->table_entries = (uint32_t)pages + rnd(3);
		m->table = ARENA + rnd(SPECIAL - 2) * PAGE + 8 * rnd(512);
		if (!arena_ok(m->table, pages * 8, CAN_WRITE))
			m->table = ARENA;
	}
}

static void fill_queue(struct snvme_queue_create *q, const struct session *s, enum kind kind)
{
	uint32_t each = kind == CREATE_CQ ? 16 : 64;
	const struct mem *m = NULL;

	q->type = kind == CREATE_CQ ? SNVME_QUEUE_CQ : SNVME_QUEUE_SQ;
	for (int tries = 0; tries < 8 && s->nmems && !m; tries++) {
		m = &s->mems[rnd(s->nmems)];
		if (!m->whole)
			m = NULL;
	}
	if (!m && s->nmems)
		m = &s->mems[rnd(s->nmems)];
	if (m) {
		uint64_t room, most = (now.cap & 0xffff) + 1;

		q->mem = m->handle;
		q->mem_offset = rnd(m->length / PAGE) * PAGE;
		room = m->whole ? m->length - q->mem_offset : PAGE;
		most = room / each < most ? room / each : most;
		q->entries = one_in(4) ? (uint32_t)most : 2 + rnd(most - 1);
	} else {
		q->entries = 16;
		q->mem = 1;
	}
	for (unsigned int i = 0; kind == CREATE_SQ && i < s->nqueues; i++)
		if (s->queues[i].arg.type == SNVME_QUEUE_CQ && (!q->cq || one_in(3)))
			q->cq = s->queues[i].arg.handle;
}

/* What can be freed; else anything. */
static uint32_t free_handle(const struct session *s, enum kind kind)
{
	for (int tries = 0; tries < 6; tries++) {
		const struct queue *q = &s->queues[s->nqueues ? rnd(s->nqueues) : 0];
		const struct mem *m = &s->mems[s->nmems ? rnd(s->nmems) : 0];

		if (kind == DESTROY && s->nqueues && (q->arg.type == SNVME_QUEUE_SQ ||
		    !users_of(s, SNVME_QUEUE_CQ, q->arg.handle)))
			return q->arg.handle;
		if (kind == UNREGISTER && s->nmems && !users_of(s, 0, m->handle))
			return m->handle;
	}
	return any_handle(s);
}

static void fill(struct call *c)
{
	uint32_t size = _IOC_SIZE(ioctls[c->kind].cmd);

	memset(&c->arg, 0, sizeof(c->arg));
	c->arg.size = size;
	switch (c->kind) {
	case ATTACH:
		c->arg.attach.fd = files[rnd(2)];
		break;
	case IDENTIFY:
		c->arg.identify.cns = rnd(4);
		c->arg.identify.nsid = rnd(3);
		c->arg.identify.addr = ARENA + rnd(SPECIAL - 2) * PAGE + 8 * rnd(512);
		break;
	case REG_USER:
	case REG_KERNEL:
	case REG_DMABUF:
		fill_mem(&c->arg.mem, c->kind);
		break;
	case CREATE_CQ:
	case CREATE_SQ:
		fill_queue(&c->arg.queue, c->s, c->kind);
		break;
	case UNREGISTER:
	case DESTROY:
		c->arg.handle.handle = free_handle(c->s, c->kind);
		break;
	default:
		break;
	}
	c->at = ARENA + rnd(SPECIAL * PAGE - size);
	if (!one_in(8))
		c->at &= ~7ULL;
	c->compat = compat && one_in(4);
}

/* ---- mutation ---- */

static uint64_t get(const union arg *arg, const struct field *f)
{
	uint64_t value = 0;

	memcpy(&value, arg->bytes + f->at, f->width);
	return value;
}

static void put(union arg *arg, const struct field *f, uint64_t value)
{
	memcpy(arg->bytes + f->at, &value, f->width);
}

static uint64_t boundary(void)
{
	static const uint64_t values[] = {
		0, 1, 2, 3, 4, 99, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, MAX_KERNEL,
		MAX_KERNEL + PAGE, 65535, 65536, INT32_MAX, 1ULL << 31, UINT32_MAX, 1ULL << 32,
		1ULL << 40, 1ULL << 47, INT64_MAX, 1ULL << 63, UINT64_MAX - PAGE + 1, UINT64_MAX,
	};

	return values[rnd(N(values))];
}

static uint64_t near(uint64_t value)
{
	static const int64_t by[] = { 1, -1, 4, -4, 8, -8, PAGE, -(int64_t)PAGE };

	return value + (uint64_t)by[rnd(N(by))];
}

static void mutate(struct call *c)
{
	const struct field *fields = ioctls[c->kind].fields;
	size_t n = ioctls[c->kind].nfields;

	for (unsigned int times = one_in(4) ? 2 : 1; times; times--) {
		const struct field *f = &fields[rnd(n)], *g = &fields[rnd(n)];
		uint64_t value = get(&c->arg, f), other = get(&c->arg, g);

		switch (rnd(7)) {
		case 0:
			put(&c->arg, f, value ^ 1ULL << rnd(8 * f->width));
			break;
		case 1:
			put(&c->arg, f, boundary());
			break;
		case 2:
			put(&c->arg, f, near(value));
			break;
		case 3:
			put(&c->arg, f, other);
			put(&c->arg, g, value);
			break;
		case 4:
			put(&c->arg, f, rnd64());
			break;
		default:
			put(&c->arg, f, f->what == HANDLE ? any_handle(c->s) :
					f->what == FD ? (uint64_t)any_fd() :
					f->what == ADDRESS ? any_address() :
					f->what == ZERO ? 1 + rnd(255) : boundary());
		}
	}
}

/* ---- what a call must return ---- */

#define MAY	-1		/* anything */
#define FAILS	-2		/* any error */

static bool all_zero(const void *data, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (((const char *)data)[i])
			return false;
	return true;
}

static int judge_attach(const struct session *s, const struct snvme_attach *a)
{
	int flags = fcntl(a->fd, F_GETFL);
	struct stat st;

	if (a->flags || !all_zero(a->reserved, sizeof(a->reserved)))
		return EINVAL;
	if (flags < 0 || (flags & O_PATH))
		return EBADF;
	if ((flags & O_ACCMODE) != O_RDWR)
		return EACCES;
	fstat(a->fd, &st);
	if ((S_ISCHR(st.st_mode) && st.st_rdev == char_dev) ||
	    (S_ISBLK(st.st_mode) && st.st_rdev == disk_dev))
		return s->attached ? EBUSY : 0;
	return S_ISBLK(st.st_mode) ? EINVAL : ENOTTY;
}

static int judge_mem(const struct session *s, const struct snvme_mem_register *m)
{
	uint64_t pages = m->length / PAGE;

	if (!s->attached)
		return ENODEV;
	if (m->flags || m->reserved0 || m->reserved[0] || m->reserved[1])
		return EINVAL;
	if (m->type < SNVME_MEM_USER || m->type > SNVME_MEM_DMABUF)
		return EINVAL;
	if (!m->length || m->length % PAGE)
		return EINVAL;
	if (m->type == SNVME_MEM_USER ? m->fd || m->addr % PAGE || m->addr + m->length < m->addr :
	    m->addr || (m->type == SNVME_MEM_KERNEL && (m->fd || m->length > MAX_KERNEL)))
		return EINVAL;
	if (!m->table != !m->table_entries)
		return EINVAL;
	if (m->table && m->table_entries < pages)
		return FAILS;		/* or it is far too long */
	if (m->table && !arena_ok(m->table, pages * 8, CAN_WRITE))
		return FAILS;
	if (m->type == SNVME_MEM_DMABUF) {
		const struct buf *b = buf_of(m->fd);

		return b && m->length <= b->length && !b->revoked ? 0 : FAILS;
	}
	if (m->type == SNVME_MEM_USER && !arena_ok(m->addr, m->length, CAN_PIN))
		return FAILS;
	if (charged() + m->length > MEMLOCK)
		return ENOMEM;
	/* The machine may not have so much in one piece. */
	return m->type == SNVME_MEM_KERNEL && pages > 8 ? MAY : 0;
}

static int judge_queue(struct session *s, const struct snvme_queue_create *q)
{
	bool is_cq = q->type == SNVME_QUEUE_CQ;
	uint64_t bytes = (uint64_t)q->entries * (is_cq ? 16 : 64);
	const struct queue *cq;
	const struct mem *m;

	if (!s->attached)
		return ENODEV;
	if (!is_cq && q->type != SNVME_QUEUE_SQ)
		return EINVAL;
	if (q->flags || q->reserved0 || q->reserved[0] || q->reserved[1] || (is_cq && q->cq))
		return EINVAL;
	if (q->entries < 2 || q->entries > (now.cap & 0xffff) + 1 || q->mem_offset % PAGE)
		return EINVAL;
	if (has_lost(s))
		return ECONNABORTED;
	m = find_mem(s, q->mem);
	cq = is_cq ? NULL : find_queue(s, q->cq);
	if (!m || (!is_cq && (!cq || cq->arg.type != SNVME_QUEUE_CQ)))
		return ENOENT;
	if (q->mem_offset >= m->length || bytes > m->length - q->mem_offset)
		return EINVAL;
	if (cq && cq->revoked)
		return m->whole || bytes <= PAGE ? ESTALE : FAILS;
	if (!m->whole && bytes > PAGE)
		return MAY;
	return (is_cq ? now.spare_cq : now.spare_sq) ? 0 : ENOSPC;
}

static int judge_handle(struct session *s, enum kind kind, const struct snvme_handle *h)
{
	if (h->reserved[0] || h->reserved[1])
		return EINVAL;
	if (kind == DESTROY ? !find_queue(s, h->handle) : !find_mem(s, h->handle))
		return ENOENT;
	/* An SQ's handle is never a CQ's. */
	return users_of(s, kind == DESTROY ? SNVME_QUEUE_CQ : 0, h->handle) ? EBUSY : 0;
}

static int judge_identify(const struct session *s, const struct snvme_identify *a)
{
	if (!s->attached)
		return ENODEV;
	if (a->cns > 31 || !all_zero(a->reserved, sizeof(a->reserved)))
		return EINVAL;
	return arena_ok(a->addr, PAGE, CAN_WRITE) ? 0 : EFAULT;
}

static int judge(struct call *c)
{
	uint32_t cmd = ioctls[c->kind].cmd, size = _IOC_SIZE(cmd);
	int want;

	if (!arena_ok(c->at, size, CAN_READ))
		return EFAULT;
	if (c->arg.size != size)
		return EINVAL;
	switch (c->kind) {
	case INFO:
		want = all_zero(c->arg.info.reserved, sizeof(c->arg.info.reserved)) ? 0 : EINVAL;
		break;
	case ATTACH:
		want = judge_attach(c->s, &c->arg.attach);
		break;
	case IDENTIFY:
		want = judge_identify(c->s, &c->arg.identify);
		break;
	case REG_USER:
	case REG_KERNEL:
	case REG_DMABUF:
		want = judge_mem(c->s, &c->arg.mem);
		break;
	case CREATE_CQ:
	case CREATE_SQ:
		want = judge_queue(c->s, &c->arg.queue);
		break;
	default:
		want = judge_handle(c->s, c->kind, &c->arg.handle);
	}
	/* What it returns cannot be stored: it takes back what it did. */
	if ((_IOC_DIR(cmd) & _IOC_READ) && !arena_ok(c->at, size, CAN_WRITE) && want <= 0)
		return want ? FAILS : EFAULT;
	return want;
}

/* ---- what a successful call means to the model ---- */

static void forget(struct session *s, uint32_t handle)
{
	s->stale[s->nstale++ % STALE] = handle;
}

static void learn(struct call *c)
{
	const struct snvme_info *info = &c->arg.info;
	struct session *s = c->s;
	struct mem *m;
	struct queue *q;
	const struct buf *b;

	switch (c->kind) {
	case INFO:
		if (info->size != sizeof(*info) || info->abi_version != SNVME_ABI_VERSION ||
		    !all_zero(info->reserved, sizeof(info->reserved)) ||
		    (info->ctrl_flags & SNVME_CTRL_ATTACHED) != s->attached)
			violation("INFO says what is not so");
		if (s->attached && (info->used_sq != now.used_sq || info->used_cq != now.used_cq))
			violation("sessions count differently");
		break;
	case ATTACH:
		s->attached = true;
		break;
	case IDENTIFY:
		break;
	case REG_USER:
	case REG_KERNEL:
	case REG_DMABUF:
		if (!c->arg.mem.handle || find_mem(s, c->arg.mem.handle))
			violation("memory handle %u is in use", c->arg.mem.handle);
		b = buf_of(c->arg.mem.fd);
		m = &s->mems[s->nmems++];
		*m = (struct mem){
			.handle = c->arg.mem.handle, .type = c->arg.mem.type,
			.length = c->arg.mem.length, .mmap_offset = c->arg.mem.mmap_offset,
		};
		m->whole = m->type == SNVME_MEM_KERNEL;
		if (m->type == SNVME_MEM_DMABUF && b) {
			m->buf = b->serial;
			m->whole = b->whole;
		}
		if (!m->mmap_offset != (m->type != SNVME_MEM_KERNEL))
			violation("memory of type %u has mmap offset %#" PRIx64, m->type,
				  m->mmap_offset);
		break;
	case CREATE_CQ:
	case CREATE_SQ:
		if (!c->arg.queue.handle || find_queue(s, c->arg.queue.handle))
			violation("queue handle %u is in use", c->arg.queue.handle);
		s->queues[s->nqueues++] = (struct queue){ .arg = c->arg.queue };
		break;
	case UNREGISTER:
		m = find_mem(s, c->arg.handle.handle);
		forget(s, m->handle);
		*m = s->mems[--s->nmems];
		break;
	default:
		q = find_queue(s, c->arg.handle.handle);
		forget(s, q->arg.handle);
		*q = s->queues[--s->nqueues];
	}
}

static void explain(const struct call *c)
{
	char hex[2 * sizeof(c->arg) + 1];
	size_t size = _IOC_SIZE(ioctls[c->kind].cmd);

	for (size_t i = 0; i < size; i++)
		sprintf(hex + 2 * i, "%02x", c->arg.bytes[i]);
	diag("%s at %#" PRIx64 "%s, session %d (fd %d, %s, %u memories, %u queues): %s",
	     kinds[c->kind].name, c->at, c->compat ? " as a 32-bit call" : "",
	     (int)(c->s - sessions), c->s->fd, c->s->attached ? "attached" : "not attached",
	     c->s->nmems, c->s->nqueues, hex);
}

/* Make a call as it is, and hold what comes of it against the model. */
static void perform(struct call *c)
{
	uint32_t cmd = ioctls[c->kind].cmd, size = _IOC_SIZE(cmd);
	int want, err;

	if (cmd == SNVME_IOC_MEM_REGISTER) {
		c->arg.mem.addr = harmless(c->arg.mem.addr);
		c->arg.mem.table = harmless(c->arg.mem.table);
	}
	if (cmd == SNVME_IOC_IDENTIFY)
		c->arg.identify.addr = harmless(c->arg.identify.addr);
	want = judge(c);
	arena_put(c->at, &c->arg, size);
	err = call(c->s->fd, cmd, c->at, c->compat);
	counted(c->kind, err);
	if (want == FAILS ? !err : want != MAY && err != want) {
		violation("%s gives %s, want %s", kinds[c->kind].name, strerrorname_np(err),
			  want == FAILS ? "an error" : strerrorname_np(want));
		if (!racing)
			explain(c);
	}
	if (!err && (_IOC_DIR(cmd) & _IOC_READ))
		memcpy(&c->arg, (void *)(uintptr_t)c->at, size);
	/* What must not succeed is not in the model, and could not be taken out of it. */
	if (!err && want <= 0 && want != FAILS)
		learn(c);
}

static void structured(struct session *s, enum kind kind)
{
	struct call c = { .s = s, .kind = kind };

	fill(&c);
	if (one_in(2))
		mutate(&c);
	if (one_in(12))
		c.at = any_address();
	perform(&c);
}

/* ---- calls of other numbers, and of other files ---- */

static bool known(uint32_t cmd)
{
	for (size_t i = 0; i < N(ioctls); i++)
		if (ioctls[i].cmd == cmd)
			return true;
	return false;
}

static void unknown(struct session *s)
{
	uint32_t cmd;
	int err;

	do {
		cmd = _IOC(rnd(4), SNVME_IOC_MAGIC, rnd(256), rnd(1 << _IOC_SIZEBITS));
		if (one_in(2))
			cmd = ioctls[rnd(N(ioctls))].cmd ^ 1U << rnd(32);
	} while (known(cmd));
	err = call(s->fd, cmd, one_in(2) ? ARENA : any_address(), compat && one_in(4));
	counted(UNKNOWN, err);
	if (err != ENOTTY)
		violation("ioctl %#x gives %s, want ENOTTY", cmd, strerrorname_np(err));
}

static void wrong_file(void)
{
	struct session *s = &sessions[rnd(SESSIONS)];
	struct call c = { .s = s, .kind = rnd(DESTROY + 1) };
	int fd, err;

	fill(&c);
	do {
		fd = any_fd();
		for (s = sessions; s < sessions + SESSIONS && s->fd != fd; s++)
			;
	} while (s < sessions + SESSIONS || fd == watcher);
	arena_put(c.at, &c.arg, sizeof(c.arg));
	err = call(fd, ioctls[c.kind].cmd, c.at, c.compat);
	counted(WRONG_FILE, err);
	if (err != ENOTTY && err != EBADF && err != EINVAL)
		violation("%s on descriptor %d gives %s", kinds[c.kind].name, fd,
			  strerrorname_np(err));
}

/* ---- mappings ---- */

static int judge_map(const struct session *s, size_t length, int prot, int flags, uint64_t offset)
{
	uint64_t pages = length / PAGE + (length % PAGE != 0);

	if (!length || offset % PAGE || !(flags & MAP_SHARED))
		return FAILS;
	if (offset == SNVME_MMAP_STATE)
		return pages == 1 && !(prot & PROT_WRITE) ? 0 : FAILS;
	for (unsigned int i = 0; i < s->nqueues; i++) {
		const struct snvme_queue_create *q = &s->queues[i].arg;

		if (offset == q->db_mmap_offset || offset == q->shadow_mmap_offset ||
		    offset == q->eventidx_mmap_offset)
			return pages == 1 ? 0 : FAILS;
	}
	for (unsigned int i = 0; i < s->nmems; i++) {
		const struct mem *m = &s->mems[i];

		if (m->mmap_offset && offset >= m->mmap_offset &&
		    offset < m->mmap_offset + m->length)
			return pages <= (m->mmap_offset + m->length - offset) / PAGE ? 0 : FAILS;
	}
	return FAILS;
}

static void unmap(struct session *s, unsigned int i)
{
	if (munmap(s->maps[i].va, s->maps[i].length))
		violation("munmap: %s", strerror(errno));
	s->maps[i] = s->maps[--s->nmaps];
	counted(UNMAP, 0);
}

static void map(struct session *s, enum kind kind)
{
	static const int prots[] = { PROT_READ, PROT_READ | PROT_WRITE, PROT_NONE, PROT_WRITE };
	/* Mostly its own; what another session has is not for this one. */
	const struct session *from = one_in(8) ? &sessions[rnd(SESSIONS)] : s;
	unsigned int any = from->nqueues ? rnd(from->nqueues) : 0;
	const struct snvme_queue_create *q = &from->queues[any].arg;
	const struct mem *m = &from->mems[0];
	int prot = prots[rnd(kind == MAP_STATE ? 1 : N(prots))], flags = MAP_SHARED, want, err;
	uint64_t offset = SNVME_MMAP_STATE;
	size_t length = PAGE;
	char *va;

	if (s->nmaps == MAPS)
		unmap(s, rnd(MAPS));
	if (kind == MAP_DOORBELL)
		offset = from->nqueues ? q->db_mmap_offset : 1ULL << 40;
	if (kind == MAP_SHADOW)
		offset = !from->nqueues ? 2ULL << 40 :
			 one_in(2) ? q->shadow_mmap_offset : q->eventidx_mmap_offset;
	if (kind == MAP_MEM) {
		for (unsigned int i = 0; i < from->nmems; i++)
			if (from->mems[i].mmap_offset && (!m->mmap_offset || one_in(2)))
				m = &from->mems[i];
		offset = from->nmems && m->mmap_offset ? m->mmap_offset : 4ULL << 40 | 1 << 24;
		if (from->nmems && m->mmap_offset) {
			uint64_t first = rnd(m->length / PAGE) * PAGE;

			offset += first;
			length = 1 + rnd(m->length - first);
		}
	}
	if (one_in(3)) {
		switch (rnd(6)) {
		case 0:
			offset ^= 1ULL << rnd(64);
			break;
		case 1:
			offset = near(offset);
			break;
		case 2:
			length += PAGE << rnd(8);
			break;
		case 3:
			length = boundary();
			break;
		case 4:
			flags = MAP_PRIVATE;
			break;
		default:
			prot = prots[rnd(N(prots))];
			offset = one_in(2) ? offset : rnd64() & ~(PAGE - 1) & ((1ULL << 45) - 1);
		}
	}
	if (one_in(4))
		flags |= MAP_POPULATE;
	want = judge_map(s, length, prot, flags, offset);
	/* The C library's mmap() has rules of its own for offsets. */
	va = (char *)syscall(SYS_mmap, NULL, length, prot, flags, s->fd, offset);
	err = va == MAP_FAILED ? errno : 0;
	counted(kind, err);
	if (want ? !err : err)
		violation("%s of %#zx bytes at %#" PRIx64 ", protection %d, flags %#x: %s, want %s",
			  kinds[kind].name, length, offset, prot, flags, strerrorname_np(err),
			  want ? "an error" : "0");
	if (err)
		return;
	/* Only ever read: a doorbell is not to ring. */
	if (prot & PROT_READ) {
		(void)*(volatile uint32_t *)va;
		(void)*(volatile uint32_t *)(va + (length - 1) / PAGE * PAGE);
	}
	/* A mutation may have led to the state page, or from there to something that can be written. */
	kind = offset == SNVME_MMAP_STATE ? MAP_STATE : kind == MAP_STATE ? MAP_MEM : kind;
	s->maps[s->nmaps++] = (struct map){ va, (length + PAGE - 1) / PAGE * PAGE, kind };
}

static void remap(struct session *s)
{
	struct map *m = &s->maps[s->nmaps ? rnd(s->nmaps) : 0];
	int err, want = 0;
	void *va;

	if (!s->nmaps)
		return;
	switch (rnd(4)) {
	case 0:
		va = mremap(m->va, m->length, m->length + PAGE, MREMAP_MAYMOVE);
		err = va == MAP_FAILED ? errno : 0;
		want = EFAULT;
		break;
	case 1:
		err = mprotect(m->va, m->length, PROT_READ | PROT_WRITE) ? errno : 0;
		want = m->kind == MAP_STATE ? EACCES : 0;
		break;
	case 2:
		err = mprotect(m->va, m->length, PROT_NONE) ? errno : 0;
		break;
	default:
		/* To another place: the doorbell is faulted in again there. */
		va = mremap(m->va, m->length, m->length, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
		err = va == MAP_FAILED ? errno : 0;
		if (!err) {
			munmap(m->va, m->length);
			m->va = va;
		}
		want = MAY;		/* some kernels move anonymous memory only */
	}
	counted(REMAP, err);
	if (want != MAY && err != want)
		violation("mremap or mprotect after %s: %s, want %s", kinds[m->kind].name,
			  strerrorname_np(err), strerrorname_np(want));
}

/* Other pages come to where registered ones were. */
static void arena_new(void)
{
	size_t first = rnd(SHARED), n = 1 + rnd(SHARED - first < 64 ? SHARED - first : 64);
	char *va = (char *)ARENA + first * PAGE;

	if (one_in(2))
		madvise(va, n * PAGE, MADV_DONTNEED);
	else if (mmap(va, n * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		violation("mmap: %s", strerror(errno));
	counted(ARENA_NEW, 0);
}

/* ---- sessions from their beginning to their end ---- */

static void session_open(struct session *s)
{
	memset(s, 0, sizeof(*s));
	s->fd = open("/dev/snvme", O_RDWR | O_CLOEXEC);
	if (s->fd < 0)
		violation("open: %s", strerror(errno));
}

/* With all that it has; its mappings go before it, or keep it alive until they go. */
static void session_close(struct session *s)
{
	bool before = one_in(2);

	while (before && s->nmaps)
		unmap(s, 0);
	close(s->fd);
	while (s->nmaps)
		unmap(s, 0);
	s->nmems = 0;
	s->nqueues = 0;
	counted(CLOSE, 0);
}

/* A session with memory, a CQ and an SQ: its descriptor, or -1. */
static int whole_session(struct snvme_queue_create *cq, struct snvme_queue_create *sq,
			 uint32_t *mem)
{
	struct snvme_attach a = { .size = sizeof(a), .fd = files[0] };
	struct snvme_mem_register m = {
		.size = sizeof(m), .type = SNVME_MEM_KERNEL, .length = 2 * PAGE,
	};
	int fd = open("/dev/snvme", O_RDWR | O_CLOEXEC);

	*cq = (struct snvme_queue_create){
		.size = sizeof(*cq), .type = SNVME_QUEUE_CQ, .entries = 16,
	};
	if (ioctl(fd, SNVME_IOC_ATTACH, &a) || ioctl(fd, SNVME_IOC_MEM_REGISTER, &m))
		return -1;
	*sq = *cq;
	*mem = cq->mem = sq->mem = m.handle;
	sq->type = SNVME_QUEUE_SQ;
	sq->mem_offset = PAGE;
	if (ioctl(fd, SNVME_IOC_QUEUE_CREATE, cq))
		return -1;
	sq->cq = cq->handle;
	return ioctl(fd, SNVME_IOC_QUEUE_CREATE, sq) ? -1 : fd;
}

static void need_spare(void)
{
	for (size_t i = 0; i < SESSIONS && (!now.spare_sq || !now.spare_cq ||
					    charged() + 2 * PAGE > MEMLOCK); i++) {
		session_close(&sessions[i]);
		session_open(&sessions[i]);
		verify("making room");
	}
}

/*
 * A child with all that we have, and a session of its own, is killed, or exits. Sometimes we close
 * a session meanwhile: the child's descriptor keeps it.
 */
static void fork_exit(struct session *s)
{
	struct snvme_queue_create cq, sq;
	struct snvme_info info = { .size = sizeof(info) };
	uint32_t mem;
	int pipes[2], status;
	bool leave = one_in(2);
	char byte;
	pid_t pid;

	need_spare();
	if (pipe(pipes))
		return;
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		byte = whole_session(&cq, &sq, &mem) >= 0 && !ioctl(s->fd, SNVME_IOC_INFO, &info);
		if (write(pipes[1], &byte, 1) != 1 || leave)
			_exit(0);
		pause();
	}
	if (read(pipes[0], &byte, 1) != 1 || !byte)
		violation("a child's session does not work");
	/* The child has the descriptor, and not the mappings of doorbells. */
	if (!leave && one_in(2)) {
		while (s->nmaps)
			unmap(s, 0);
		close(s->fd);
		if (ioctl(watcher, SNVME_IOC_INFO, &info) ||
		    info.used_sq != used(SNVME_QUEUE_SQ) + 1 ||
		    info.used_cq != used(SNVME_QUEUE_CQ) + 1)
			violation("a session does not live on in a child");
		s->nmems = s->nqueues = 0;
		s->fd = -1;
	}
	if (!leave)
		kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	close(pipes[0]);
	close(pipes[1]);
	counted(FORK, 0);
	if (s->fd < 0)
		session_open(s);
}

/* ---- every 1,000 calls ---- */

static uint64_t locked(void)
{
	char line[256];
	uint64_t kb = 0;
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "VmLck:", 6))
			kb = strtoull(line + 6, NULL, 10);
	if (f)
		fclose(f);
	return kb << 10;
}

static const struct snvme_state_page *state_page(int fd)
{
	void *va = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, SNVME_MMAP_STATE);

	return va == MAP_FAILED ? NULL : va;
}

/* Every state word of every session is as the model has it. */
static void check_words(void)
{
	for (struct session *s = sessions; s < sessions + SESSIONS; s++) {
		const struct snvme_state_page *page = state_page(s->fd);

		for (uint32_t i = 0; page && i < N(page->queue); i++) {
			const struct queue *q = i ? find_queue(s, i) : NULL;
			uint32_t want = !q ? SNVME_STATE_NONE :
					q->revoked ? SNVME_STATE_REVOKED : SNVME_STATE_LIVE;

			if (*(volatile const uint32_t *)&page->queue[i] != want)
				violation("state word %u is %u, not %u", i, page->queue[i], want);
		}
		if (!page)
			violation("no state page: %s", strerror(errno));
		else
			munmap((void *)(uintptr_t)page, PAGE);
	}
}

/* A session of somebody else works as if nothing was. */
static void check_session(void)
{
	struct snvme_queue_create cq, sq;
	const struct snvme_state_page *page;
	struct snvme_handle h = { .size = sizeof(h) };
	uint32_t mem;
	int fd, err;

	need_spare();
	fd = whole_session(&cq, &sq, &mem);
	page = state_page(fd);
	if (fd < 0 || !page) {
		violation("no new session: %s", strerror(errno));
		return;
	}
	if (page->ctrl_state != SNVME_STATE_LIVE || page->queue[cq.handle] != SNVME_STATE_LIVE ||
	    page->queue[sq.handle] != SNVME_STATE_LIVE)
		violation("new queues are not live");
	h.handle = sq.handle;
	err = ioctl(fd, SNVME_IOC_QUEUE_DESTROY, &h);
	h.handle = cq.handle;
	err |= ioctl(fd, SNVME_IOC_QUEUE_DESTROY, &h);
	h.handle = mem;
	err |= ioctl(fd, SNVME_IOC_MEM_UNREGISTER, &h);
	if (err)
		violation("a new session's queues and memory are not given back");
	munmap((void *)(uintptr_t)page, PAGE);
	close(fd);
}

static void check(void)
{
	uint64_t have = locked();

	if (have != charged())
		violation("%" PRIu64 " bytes are charged, the model has %" PRIu64, have, charged());
	check_words();
	check_session();
}

/* ---- all of it ---- */

static void step(void)
{
	struct session *s;
	unsigned int sum = 0, at;
	enum kind kind = 0;

	/* For each call anew: what one does differently does not change all others. */
	rnd_state = seed << 40 ^ nr;
	rnd_state = rnd64();
	s = &sessions[rnd(SESSIONS)];
	for (size_t i = 0; i < KINDS; i++)
		sum += kinds[i].weight;
	for (at = rnd(sum); at >= kinds[kind].weight; kind++)
		at -= kinds[kind].weight;
	/* Often what comes first; and the opposite where the model has no room for more. */
	if (!s->attached && kind > ATTACH && kind <= DESTROY && one_in(3))
		kind = ATTACH;
	if (s->attached && !s->nmems && (kind == CREATE_CQ || kind == CREATE_SQ))
		kind = REG_KERNEL;
	if (kind == CREATE_SQ && !s->nqueues && one_in(2))
		kind = CREATE_CQ;
	if (s->nmems == MEMS && kind >= REG_USER && kind <= REG_DMABUF)
		kind = UNREGISTER;
	if (s->nqueues == QUEUES && (kind == CREATE_CQ || kind == CREATE_SQ))
		kind = DESTROY;
	if (kind == REG_DMABUF && exporter < 0 && udmabuf < 0)
		kind = REG_KERNEL;
	if (racing && kind == FORK)
		kind = CLOSE;
	switch (kind) {
	case UNKNOWN:
		unknown(s);
		break;
	case WRONG_FILE:
		wrong_file();
		break;
	case MAP_STATE:
	case MAP_DOORBELL:
	case MAP_SHADOW:
	case MAP_MEM:
		map(s, kind);
		break;
	case REMAP:
		remap(s);
		break;
	case ARENA_NEW:
		arena_new();
		break;
	case UNMAP:
		if (s->nmaps)
			unmap(s, rnd(s->nmaps));
		break;
	case CLOSE:
		session_close(s);
		session_open(s);
		break;
	case FORK:
		fork_exit(s);
		break;
	case REVOKE:
		take_away();
		break;
	default:
		structured(s, kind);
	}
	verify(kinds[kind].name);
}

/* Two processes at once on the same sessions, each with a copy of the model that is soon wrong. */
static void race(unsigned long count)
{
	unsigned int whole = 0;
	pid_t pids[2];
	int status;

	for (size_t i = 0; i < N(pids); i++) {
		pids[i] = fork();
		if (pids[i])
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		racing = true;
		seed += 1 + i;
		for (nr = 1; nr <= count; nr++)
			step();
		_exit(0);
	}
	for (size_t i = 0; i < N(pids); i++)
		whole += waitpid(pids[i], &status, 0) == pids[i] && !status;
	is(whole, N(pids), "processes that call at once");
}

static int file(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd < 0)
		diag("%s: %s", path, strerror(errno));
	else
		files[nfiles++] = fd;
	return fd;
}

/* Descriptors of all kinds; the first two are what can be attached to. */
static void files_open(const char *bar)
{
	char disk[64], partition[64];
	struct stat st;

	snprintf(disk, sizeof(disk), "%sn1", device);
	snprintf(partition, sizeof(partition), "%sn1p1", device);
	if (file(device, O_RDWR) < 0 || file(disk, O_RDWR) < 0) {
		printf("Bail out! nothing to attach to\n");
		exit(1);
	}
	fstat(files[0], &st);
	char_dev = st.st_rdev;
	fstat(files[1], &st);
	disk_dev = st.st_rdev;
	file(device, O_RDONLY);
	file(device, O_WRONLY);
	file(device, O_PATH);
	file(disk, O_RDONLY);
	file(partition, O_RDWR);
	file(partition, O_RDONLY);
	file("/tmp/fuzz.file", O_RDWR | O_CREAT);
	file("/tmp", O_RDONLY | O_DIRECTORY);
	file("/dev/null", O_RDWR);
	file("/dev/zero", O_RDWR);
	watcher = file("/dev/snvme", O_RDWR);
	if (bar)
		file(bar, O_RDWR);
	if (!pipe2(&files[nfiles], O_CLOEXEC))
		nfiles += 2;
	if (!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, &files[nfiles]))
		nfiles += 2;
	files[nfiles++] = memfd_create("file", MFD_CLOEXEC);
	files[nfiles++] = eventfd(0, EFD_CLOEXEC);
	exporter = open("/dev/bar_dmabuf", O_RDWR | O_CLOEXEC);
	if (exporter >= 0)
		files[nfiles++] = exporter;
	udmabuf = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	if (udmabuf >= 0)
		files[nfiles++] = udmabuf;
	diag("exporters:%s%s; 32-bit calls: %s", exporter >= 0 ? " bar_dmabuf" : "",
	     udmabuf >= 0 ? " udmabuf" : "", compat ? "yes" : "no");
}

/* So that RLIMIT_MEMLOCK means us, too. */
static void limit(void)
{
	struct rlimit rlimit = { MEMLOCK, MEMLOCK };
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	setrlimit(RLIMIT_MEMLOCK, &rlimit);
	syscall(SYS_capget, &h, d);
	d[0].effective &= ~(1U << CAP_IPC_LOCK);
	d[0].permitted &= ~(1U << CAP_IPC_LOCK);
	syscall(SYS_capset, &h, d);
}

static void report(double seconds)
{
	unsigned long good = 0, all = 0;

	for (size_t k = 0; k < KINDS; k++) {
		char text[400];
		int n = snprintf(text, sizeof(text), "%-22s %u", kinds[k].name, counts[k][0]);
		bool failed = false;

		for (size_t e = 1; e < N(counts[k]); e++) {
			if (!counts[k][e])
				continue;
			failed = true;
			all += counts[k][e];
			n += snprintf(text + n, sizeof(text) - (size_t)n, ", %u %s", counts[k][e],
				      strerrorname_np((int)e) ?: "?");
		}
		good += counts[k][0];
		all += counts[k][0];
		diag("%s", text);
		if (k == REG_DMABUF && exporter < 0 && udmabuf < 0) {
			skip("no exporter of dma-bufs");
			continue;
		}
		if (k == REVOKE && exporter < 0)
			continue;
		ok((counts[k][0] || !kinds[k].succeeds ||
		    (k == MAP_SHADOW && !(now.ctrl_flags & SNVME_CTRL_SHADOW))) &&
		   (failed || !kinds[k].fails), "%s%s%s%s", kinds[k].name,
		   kinds[k].succeeds ? " succeeds" : "",
		   kinds[k].succeeds && kinds[k].fails ? " and" : "",
		   kinds[k].fails ? " fails" : "");
	}
	diag("%lu of %lu succeeded; %.1f s", good, all, seconds);
}

int main(int argc, char **argv)
{
	unsigned long count = argc > 2 ? strtoul(argv[2], NULL, 0) : 20000;
	const char *bar = argc > 4 && *argv[4] ? argv[4] : NULL;
	struct snvme_attach a = { .size = sizeof(a) };
	struct timespec begin, end;

	device = argc > 1 ? argv[1] : "/dev/nvme0";
	seed = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;
	diag("%lu calls, seed %" PRIu64, count, seed);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	arena_make(bar);
	limit();
	compat = compat_works();
	files_open(bar);
	a.fd = files[0];
	if (!ok(!ioctl(watcher, SNVME_IOC_ATTACH, &a), "attach to %s", device))
		return done();
	for (size_t i = 0; i < SESSIONS; i++)
		session_open(&sessions[i]);
	for (size_t i = 0; i < N(bufs); i++) {
		bufs[i].fd = -1;
		buf_new(&bufs[i]);
	}
	verify("the beginning");
	for (nr = 1; nr <= count; nr++) {
		step();
		if (nr % 1000 == 0)
			check();
		if (nr % 100000 == 0)
			diag("%lu calls", nr);
	}
	check();
	race(count / 4);
	clock_gettime(CLOCK_MONOTONIC, &end);
	for (size_t i = 0; i < SESSIONS; i++)
		session_close(&sessions[i]);
	verify("the end");
	is(now.used_sq, 0, "no SQ is left");
	is(now.used_cq, 0, "no CQ is left");
	is(locked(), 0, "nothing is charged any more");
	is(wrong, 0, "every call did what the interface says");
	report((double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
	return done();
}
