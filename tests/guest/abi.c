// SPDX-License-Identifier: MIT
/*
 * abi DEV [PARTITION]: the kernel ABI against include/uapi/snvme/ioctl.h: what each call refuses, and
 * with which errno; then that queues made by hand work. Uses no code of the library's.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <snvme/ioctl.h>
#include <snvme/nvme.h>

#include "tap.h"

#define PAGE 4096UL
#define PATIENCE 300	/* s, for what must come */

static const char *dev;

/* An ioctl's errno, or 0. */
static int call(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) ? errno : 0;
}

static int attach_fd(int s, int fd)
{
	struct snvme_attach a = { .size = sizeof(a), .fd = fd };

	return call(s, SNVME_IOC_ATTACH, &a);
}

static int session(void)
{
	return open("/dev/snvme", O_RDWR | O_CLOEXEC);
}

/* A session attached to the device under test. */
static int attached(void)
{
	int fd = open(dev, O_RDWR | O_CLOEXEC), s = session();
	int err = attach_fd(s, fd);

	close(fd);
	if (err) {
		diag("attaching to %s: %s", dev, strerror(err));
		close(s);
		return -1;
	}
	return s;
}

static struct snvme_info info(int s)
{
	struct snvme_info i = { .size = sizeof(i) };

	if (call(s, SNVME_IOC_INFO, &i))
		diag("info: %s", strerror(errno));
	return i;
}

static struct snvme_mem_register kernel_mem(size_t length)
{
	return (struct snvme_mem_register){
		.size = sizeof(struct snvme_mem_register),
		.type = SNVME_MEM_KERNEL,
		.length = length,
	};
}

static struct snvme_mem_register user_mem(void *addr, size_t length)
{
	return (struct snvme_mem_register){
		.size = sizeof(struct snvme_mem_register),
		.type = SNVME_MEM_USER,
		.addr = (uintptr_t)addr,
		.length = length,
	};
}

static struct snvme_queue_create queue(uint32_t type, uint32_t entries, uint32_t mem,
				       uint64_t offset, uint32_t cq)
{
	return (struct snvme_queue_create){
		.size = sizeof(struct snvme_queue_create),
		.type = type, .entries = entries, .mem = mem, .mem_offset = offset, .cq = cq,
	};
}

static int reg(int s, struct snvme_mem_register *m)
{
	return call(s, SNVME_IOC_MEM_REGISTER, m);
}

static int create(int s, struct snvme_queue_create *q)
{
	return call(s, SNVME_IOC_QUEUE_CREATE, q);
}

static int release(int s, unsigned long cmd, uint32_t handle)
{
	struct snvme_handle h = { .size = sizeof(h), .handle = handle };

	return call(s, cmd, &h);
}

#define unregister(s, h) release(s, SNVME_IOC_MEM_UNREGISTER, h)
#define destroy(s, h) release(s, SNVME_IOC_QUEUE_DESTROY, h)

static void *pages(size_t n)
{
	return mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
}

/* Sizes, addresses, flags and reserved fields of every call. */
static void test_structures(int s)
{
	static const struct {
		unsigned long cmd;
		const char *name;
		uint32_t size;
	} calls[] = {
		{ SNVME_IOC_INFO, "INFO", sizeof(struct snvme_info) },
		{ SNVME_IOC_ATTACH, "ATTACH", sizeof(struct snvme_attach) },
		{ SNVME_IOC_MEM_REGISTER, "MEM_REGISTER", sizeof(struct snvme_mem_register) },
		{ SNVME_IOC_MEM_UNREGISTER, "MEM_UNREGISTER", sizeof(struct snvme_handle) },
		{ SNVME_IOC_QUEUE_CREATE, "QUEUE_CREATE", sizeof(struct snvme_queue_create) },
		{ SNVME_IOC_QUEUE_DESTROY, "QUEUE_DESTROY", sizeof(struct snvme_handle) },
	};
	uint32_t *edge = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	munmap((char *)edge + PAGE, PAGE);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		uint32_t sizes[] = { 0, 4, calls[i].size - 8, calls[i].size + 8, UINT32_MAX };
		uint32_t buf[64];

		for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
			memset(buf, 0, sizeof(buf));
			buf[0] = sizes[k];
			is(call(s, calls[i].cmd, buf), EINVAL, "%s of size %u", calls[i].name, sizes[k]);
		}
		is(call(s, calls[i].cmd, NULL), EFAULT, "%s at NULL", calls[i].name);
		is(call(s, calls[i].cmd, (char *)edge + PAGE - 4), EFAULT, "%s across the edge of memory",
		   calls[i].name);
		is(call(s, calls[i].cmd, (void *)(UINTPTR_MAX - 3)), EFAULT, "%s at the end of the address space",
		   calls[i].name);
		is(call(s, calls[i].cmd, (void *)0xffff888000000000UL), EFAULT, "%s in the kernel",
		   calls[i].name);
		is(call(s, calls[i].cmd ^ (8UL << _IOC_SIZESHIFT), buf), ENOTTY, "%s with another size in its number",
		   calls[i].name);
	}
	is(call(s, _IO(SNVME_IOC_MAGIC, 6), edge), ENOTTY, "an unknown number");
	is(call(s, _IO(SNVME_IOC_MAGIC, 255), edge), ENOTTY, "another");
	is(call(s, 0x5401, edge), ENOTTY, "another magic");
	munmap(edge, PAGE);
}

static void test_reserved(int s, uint32_t mem)
{
	for (size_t i = 0; i < 5; i++) {
		struct snvme_attach a = { .size = sizeof(a), .fd = -1 };

		a.reserved[i] = 1;
		is(call(s, SNVME_IOC_ATTACH, &a), EINVAL, "ATTACH reserved[%zu]", i);
	}
	struct snvme_attach a = { .size = sizeof(a), .fd = -1, .flags = 1 };
	is(call(s, SNVME_IOC_ATTACH, &a), EINVAL, "ATTACH flags");

	struct snvme_mem_register m = kernel_mem(PAGE);
	m.flags = 1U << 31;
	is(reg(s, &m), EINVAL, "MEM_REGISTER flags");
	m = kernel_mem(PAGE);
	m.reserved0 = 1;
	is(reg(s, &m), EINVAL, "MEM_REGISTER reserved0");
	m = kernel_mem(PAGE);
	m.reserved[0] = 1;
	is(reg(s, &m), EINVAL, "MEM_REGISTER reserved[0]");
	m = kernel_mem(PAGE);
	m.reserved[1] = 1ULL << 63;
	is(reg(s, &m), EINVAL, "MEM_REGISTER reserved[1]");
	m = kernel_mem(PAGE);
	m.fd = 3;
	is(reg(s, &m), EINVAL, "MEM_REGISTER of kernel memory with a descriptor");
	m = kernel_mem(PAGE);
	m.addr = PAGE;
	is(reg(s, &m), EINVAL, "MEM_REGISTER of kernel memory with an address");

	struct snvme_queue_create q = queue(SNVME_QUEUE_CQ, 16, mem, 0, 0);
	q.flags = 1;
	is(create(s, &q), EINVAL, "QUEUE_CREATE flags");
	q = queue(SNVME_QUEUE_CQ, 16, mem, 0, 0);
	q.reserved0 = 1;
	is(create(s, &q), EINVAL, "QUEUE_CREATE reserved0");
	for (size_t i = 0; i < 2; i++) {
		q = queue(SNVME_QUEUE_CQ, 16, mem, 0, 0);
		q.reserved[i] = 1;
		is(create(s, &q), EINVAL, "QUEUE_CREATE reserved[%zu]", i);
	}
	for (size_t i = 0; i < 2; i++) {
		struct snvme_handle h = { .size = sizeof(h), .handle = mem };

		h.reserved[i] = 1;
		is(call(s, SNVME_IOC_MEM_UNREGISTER, &h), EINVAL, "MEM_UNREGISTER reserved[%zu]", i);
		is(call(s, SNVME_IOC_QUEUE_DESTROY, &h), EINVAL, "QUEUE_DESTROY reserved[%zu]", i);
	}
}

/* Drop one capability for good; in a child. */
static void drop_cap(int cap)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	syscall(SYS_capget, &h, d);
	d[cap / 32].effective &= ~(1U << cap % 32);
	d[cap / 32].permitted &= ~(1U << cap % 32);
	syscall(SYS_capset, &h, d);
}

/* What @f returns in a child. */
static int in_child(int (*f)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(f());
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int attach_without_rawio(void)
{
	int fd = open(dev, O_RDWR), s = session();

	drop_cap(CAP_SYS_RAWIO);
	return attach_fd(s, fd);
}

static int register_beyond_memlock(void)
{
	struct rlimit limit = { .rlim_cur = 64 * 1024, .rlim_max = 64 * 1024 };
	struct snvme_mem_register m;
	int s = attached();
	void *va = pages(64);

	setrlimit(RLIMIT_MEMLOCK, &limit);
	drop_cap(CAP_IPC_LOCK);
	m = user_mem(va, 17 * PAGE);
	if (reg(s, &m) != ENOMEM)
		return 1;
	m = kernel_mem(17 * PAGE);
	if (reg(s, &m) != ENOMEM)
		return 2;
	m = user_mem(va, 16 * PAGE);
	if (reg(s, &m))
		return 3;
	m = kernel_mem(PAGE);
	return reg(s, &m) == ENOMEM ? 0 : 4;
}

static void test_attach(const char *partition)
{
	int pipes[2], fd, s = session();
	struct snvme_mem_register m = kernel_mem(PAGE);
	struct snvme_queue_create q = queue(SNVME_QUEUE_CQ, 16, 1, 0, 0);
	char block[64];
	struct snvme_info i = info(s);

	ok(s >= 0, "open /dev/snvme");
	is(i.abi_version, SNVME_ABI_VERSION, "ABI version");
	is(i.ctrl_flags, 0, "not attached");
	is(reg(s, &m), ENODEV, "MEM_REGISTER before ATTACH");
	is(create(s, &q), ENODEV, "QUEUE_CREATE before ATTACH");
	is(unregister(s, 1), ENOENT, "MEM_UNREGISTER before ATTACH");
	is(destroy(s, 1), ENOENT, "QUEUE_DESTROY before ATTACH");
	ok(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, s, 1L << 40) == MAP_FAILED && errno == EINVAL,
	   "no doorbells before ATTACH");

	is(attach_fd(s, -1), EBADF, "descriptor -1");
	is(attach_fd(s, 1000000), EBADF, "descriptor 1000000");
	fd = open("/dev/null", O_RDWR);
	is(attach_fd(s, fd), ENOTTY, "/dev/null");
	close(fd);
	fd = open("/proc/self/exe", O_RDONLY);
	is(attach_fd(s, fd), EACCES, "a file, read-only");
	close(fd);
	fd = open("/tmp/abi.file", O_RDWR | O_CREAT, 0600);
	is(attach_fd(s, fd), ENOTTY, "a file");
	close(fd);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	is(attach_fd(s, fd), ENOTTY, "a socket");
	close(fd);
	is(pipe(pipes), 0, "pipe");
	is(attach_fd(s, pipes[0]), EACCES, "a pipe");
	is(attach_fd(s, s), ENOTTY, "itself");
	fd = open(dev, O_RDONLY);
	is(attach_fd(s, fd), EACCES, "the controller, read-only");
	close(fd);
	is(in_child(attach_without_rawio), EPERM, "without CAP_SYS_RAWIO");
	if (partition) {
		fd = open(partition, O_RDWR);
		ok(fd >= 0, "open %s", partition);
		is(attach_fd(s, fd), EINVAL, "a partition");
		close(fd);
	}
	snprintf(block, sizeof(block), "%sn1", dev);
	fd = open(block, O_RDWR);
	is(attach_fd(s, fd), 0, "a namespace's block device");
	is(attach_fd(s, fd), EBUSY, "twice");
	close(fd);
	i = info(s);
	is(i.state, SNVME_STATE_LIVE, "live");
	ok(i.ctrl_flags & SNVME_CTRL_ATTACHED, "attached");
	ok(i.granted_sq >= i.driver_queues + i.used_sq + i.spare_sq, "the numbers add up");
	close(s);
}

static long pinned_kb(void)
{
	char line[256];
	long kb = -1;
	FILE *f = fopen("/proc/self/status", "r");

	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, "VmLck:", 6))
			kb = atol(line + 6);
	fclose(f);
	return kb;
}

static void test_memory(int s, int other)
{
	uint64_t table[8] = { 0 };
	char *va = pages(8), *hole, *ro;
	struct snvme_mem_register m;
	long before = pinned_kb();

	m = user_mem(va, 8 * PAGE);
	m.table = (uintptr_t)table;
	m.table_entries = 8;
	is(reg(s, &m), 0, "register 8 pages");
	is(m.page_shift, 12, "in pages of 4 KiB");
	ok(m.handle && !m.mmap_offset, "a handle, and nothing to map");
	for (int i = 0; i < 8; i++)
		ok(table[i] && table[i] % PAGE == 0, "page %d at %#llx", i, (unsigned long long)table[i]);
	is(pinned_kb() - before, 32, "charged to RLIMIT_MEMLOCK");
	is(unregister(other, m.handle), ENOENT, "another session's handle");
	is(unregister(s, m.handle), 0, "unregister");
	is(unregister(s, m.handle), ENOENT, "twice");
	is(unregister(s, 0), ENOENT, "handle 0");
	is(unregister(s, UINT32_MAX), ENOENT, "the largest handle");
	is(pinned_kb(), before, "no longer charged");

	m = user_mem(va + 1, PAGE);
	is(reg(s, &m), EINVAL, "an unaligned address");
	m = user_mem(va, PAGE + 1);
	is(reg(s, &m), EINVAL, "an unaligned length");
	m = user_mem(va, 0);
	is(reg(s, &m), EINVAL, "no length");
	m = user_mem((void *)(UINTPTR_MAX - PAGE + 1), 2 * PAGE);
	is(reg(s, &m), EINVAL, "a range that wraps around");
	m = user_mem(va, (size_t)1 << 62);
	is(reg(s, &m), EINVAL, "far too much");
	m = user_mem((void *)0xffff888000000000UL, PAGE);
	is(reg(s, &m), EFAULT, "an address of the kernel's");
	m = user_mem(NULL, PAGE);
	is(reg(s, &m), EFAULT, "NULL");
	hole = pages(4);
	munmap(hole + 2 * PAGE, PAGE);
	m = user_mem(hole, 4 * PAGE);
	is(reg(s, &m), EFAULT, "a hole in the range");
	ro = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	m = user_mem(ro, PAGE);
	is(reg(s, &m), EFAULT, "read-only memory");
	m = user_mem(va, 8 * PAGE);
	m.table = (uintptr_t)table;
	m.table_entries = 7;
	is(reg(s, &m), ENOSPC, "a table that is too small");
	m.table_entries = 0;
	is(reg(s, &m), EINVAL, "a table without entries");
	m.table = 0;
	m.table_entries = 8;
	is(reg(s, &m), EINVAL, "entries without a table");
	m.table = (uintptr_t)ro;
	is(reg(s, &m), EFAULT, "a table that cannot be written");
	m.table = UINTPTR_MAX - 7;
	is(reg(s, &m), EFAULT, "a table at the end of the address space");
	m = user_mem(va, PAGE);
	m.fd = 1;
	is(reg(s, &m), EINVAL, "user memory with a descriptor");
	m = user_mem(va, PAGE);
	m.type = 0;
	is(reg(s, &m), EINVAL, "type 0");
	m.type = 99;
	is(reg(s, &m), EINVAL, "type 99");
	m = kernel_mem(PAGE);
	m.type = SNVME_MEM_DMABUF;
	is(reg(s, &m), EINVAL, "a descriptor that is no dma-buf");
	m.fd = -1;
	is(reg(s, &m), EBADF, "a dma-buf without a descriptor");
	m.addr = PAGE;
	is(reg(s, &m), EINVAL, "a dma-buf with an address");
	m = kernel_mem((4 << 20) + PAGE);
	is(reg(s, &m), EINVAL, "more than 4 MiB of the kernel's");
	is(pinned_kb(), before, "what was refused is not charged");
	is(in_child(register_beyond_memlock), 0, "RLIMIT_MEMLOCK holds without CAP_IPC_LOCK");
	munmap(va, 8 * PAGE);
	munmap(hole, 4 * PAGE);
	munmap(ro, PAGE);
}

static void test_queues(int s, int other)
{
	struct snvme_mem_register m = kernel_mem(64 * PAGE), foreign = kernel_mem(PAGE), user;
	struct snvme_info i = info(s);
	uint32_t most = (i.cap & 0xffff) + 1;
	struct snvme_queue_create cq, sq, q;
	static const uint32_t sizes[] = { 2, 3, 5, 255, 1000 };
	uint64_t table[2];
	char *va = pages(2);

	is(reg(s, &m), 0, "kernel memory");
	is(reg(other, &foreign), 0, "another session's");
	test_reserved(s, m.handle);

	q = queue(0, 16, m.handle, 0, 0);
	is(create(s, &q), EINVAL, "queue type 0");
	q = queue(3, 16, m.handle, 0, 0);
	is(create(s, &q), EINVAL, "queue type 3");
	q = queue(SNVME_QUEUE_CQ, 0, m.handle, 0, 0);
	is(create(s, &q), EINVAL, "no entries");
	q = queue(SNVME_QUEUE_CQ, 1, m.handle, 0, 0);
	is(create(s, &q), EINVAL, "1 entry");
	q = queue(SNVME_QUEUE_CQ, most + 1, m.handle, 0, 0);
	is(create(s, &q), EINVAL, "more than CAP.MQES");
	q = queue(SNVME_QUEUE_CQ, UINT32_MAX, m.handle, 0, 0);
	is(create(s, &q), EINVAL, "2^32 - 1 entries");
	q = queue(SNVME_QUEUE_CQ, 16, m.handle, 8, 0);
	is(create(s, &q), EINVAL, "an unaligned ring");
	q = queue(SNVME_QUEUE_CQ, 16, m.handle, 64 * PAGE, 0);
	is(create(s, &q), EINVAL, "a ring behind the memory");
	q = queue(SNVME_QUEUE_CQ, 257, m.handle, 63 * PAGE, 0);
	is(create(s, &q), EINVAL, "a ring across the end of the memory");
	q = queue(SNVME_QUEUE_CQ, 16, m.handle, UINT64_MAX - PAGE + 1, 0);
	is(create(s, &q), EINVAL, "a ring offset that wraps around");
	q = queue(SNVME_QUEUE_CQ, 16, 0, 0, 0);
	is(create(s, &q), ENOENT, "memory 0");
	q = queue(SNVME_QUEUE_CQ, 16, 4711, 0, 0);
	is(create(s, &q), ENOENT, "memory that is not");
	q = queue(SNVME_QUEUE_CQ, 16, m.handle, 0, 5);
	is(create(s, &q), EINVAL, "a CQ with a CQ");
	q = queue(SNVME_QUEUE_SQ, 16, m.handle, 0, 0);
	is(create(s, &q), ENOENT, "an SQ without a CQ");
	q = queue(SNVME_QUEUE_SQ, 16, m.handle, 0, 4711);
	is(create(s, &q), ENOENT, "an SQ with a CQ that is not");

	cq = queue(SNVME_QUEUE_CQ, 16, m.handle, 0, 0);
	is(create(s, &cq), 0, "a CQ");
	sq = queue(SNVME_QUEUE_SQ, 16, m.handle, PAGE, cq.handle);
	is(create(s, &sq), 0, "an SQ");
	q = queue(SNVME_QUEUE_SQ, 16, m.handle, 2 * PAGE, sq.handle);
	is(create(s, &q), ENOENT, "an SQ with an SQ for its CQ");
	q = queue(SNVME_QUEUE_SQ, 16, foreign.handle, 0, cq.handle);
	is(create(other, &q), ENOENT, "an SQ with another session's CQ");
	is(info(s).used_sq, i.used_sq + 1, "counted");
	is(info(other).spare_sq, i.spare_sq - 1, "for all");
	is(destroy(other, sq.handle), ENOENT, "another session cannot destroy it");
	is(destroy(s, cq.handle), EBUSY, "a CQ with an SQ");
	is(unregister(s, m.handle), EBUSY, "memory with rings");
	is(destroy(s, sq.handle), 0, "destroy the SQ");
	is(destroy(s, sq.handle), ENOENT, "twice");
	is(destroy(s, cq.handle), 0, "destroy the CQ");
	is(destroy(s, 0), ENOENT, "handle 0");
	is(destroy(s, UINT32_MAX), ENOENT, "the largest handle");
	for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		cq = queue(SNVME_QUEUE_CQ, sizes[k], m.handle, 0, 0);
		is(create(s, &cq), 0, "%u entries", sizes[k]);
		is(destroy(s, cq.handle), 0, "destroyed");
	}

	/* A ring of two pages in user memory: the pages either follow each other or they do not. */
	user = user_mem(va, 2 * PAGE);
	user.table = (uintptr_t)table;
	user.table_entries = 2;
	is(reg(s, &user), 0, "two pages of user memory");
	q = queue(SNVME_QUEUE_CQ, 512, user.handle, 0, 0);
	is(create(s, &q), table[1] == table[0] + PAGE ? 0 : EINVAL, "a ring over both (%s)",
	   table[1] == table[0] + PAGE ? "contiguous" : "not contiguous");
	q = queue(SNVME_QUEUE_CQ, 256, user.handle, PAGE, 0);
	is(create(s, &q), 0, "a ring in one");
	i = info(s);
	is(unregister(other, foreign.handle), 0, "other memory");
}

/* Each spare queue at once, and none left over. */
static void test_all(void)
{
	int s = attached();
	struct snvme_info before = info(s), after;
	struct snvme_mem_register m = kernel_mem(3 * PAGE);
	struct snvme_queue_create cq, sq;
	uint32_t n = 0, handles[1024], cqs = 0, cq_handles[1024];
	int err = 0;

	reg(s, &m);
	cq = queue(SNVME_QUEUE_CQ, 16, m.handle, 0, 0);
	while (cqs < 1024 && !(err = create(s, &cq)))
		cq_handles[cqs++] = cq.handle;
	is(err, ENOSPC, "no CQ is left after %u", cqs);
	is(cqs, before.spare_cq, "as many CQs as were spare");
	err = 0;
	while (n < 1024 && !err) {
		/* All on one CQ: several SQs may share. */
		sq = queue(SNVME_QUEUE_SQ, 16, m.handle, PAGE, cq_handles[0]);
		err = create(s, &sq);
		if (!err)
			handles[n++] = sq.handle;
	}
	is(err, ENOSPC, "no SQ is left after %u", n);
	is(n, before.spare_sq, "as many SQs as were spare");
	after = info(s);
	is(after.spare_sq + after.spare_cq, 0, "none spare");
	/* One, somewhere in the middle, can be had again. */
	if (n > 2) {
		is(destroy(s, handles[n / 2]), 0, "give one back");
		is(create(s, &sq), 0, "have it again");
	}
	close(s);
	s = attached();
	after = info(s);
	is(after.spare_sq, before.spare_sq, "closing gives all SQs back");
	is(after.spare_cq, before.spare_cq, "and all CQs");
	is(after.used_sq, before.used_sq, "none in use");
	close(s);
}

struct hand_queue {
	struct snvme_queue_create arg;
	volatile uint32_t *db, *shadow, *eventidx;
	void *ring;
	uint32_t index;
};

static void *map_page(int s, uint64_t offset)
{
	void *va = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, s, (off_t)offset);

	return va == MAP_FAILED ? NULL : va;
}

static int hand_create(int s, struct hand_queue *q, char *mem)
{
	char *page;
	int err = create(s, &q->arg);

	if (err)
		return err;
	q->ring = mem + q->arg.mem_offset;
	q->index = 0;
	page = map_page(s, q->arg.db_mmap_offset);
	if (!page)
		return errno;
	q->db = (volatile uint32_t *)(page + q->arg.db_offset);
	q->shadow = NULL;
	if (q->arg.shadow_mmap_offset) {
		char *sh = map_page(s, q->arg.shadow_mmap_offset);

		if (!sh)
			return errno;
		q->shadow = (volatile uint32_t *)(sh + q->arg.shadow_offset);
	}
	return 0;
}

static void hand_ring(struct hand_queue *q)
{
	__sync_synchronize();
	if (q->shadow)
		*q->shadow = q->index;
	__sync_synchronize();
	*q->db = q->index;
}

static void hand_submit(struct hand_queue *q, uint16_t cid, uint64_t prp, uint64_t slba)
{
	struct snv_sqe *sqe = (struct snv_sqe *)q->ring + q->index;

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = SNV_OP_READ;
	sqe->cid = cid;
	sqe->nsid = 1;
	sqe->prp1 = prp;
	sqe->cdw10 = (uint32_t)slba;
	q->index = (q->index + 1) % q->arg.entries;
	hand_ring(q);
}

/* The next completion, or NULL. */
static const struct snv_cqe *hand_wait(const struct hand_queue *q, int phase)
{
	struct snv_cqe *cqe = (struct snv_cqe *)q->ring + q->index;

	for (int i = 0; i < 100 * PATIENCE; i++) {
		for (int k = 0; k < 20000; k++)
			if ((__atomic_load_n(&cqe->dw3, __ATOMIC_ACQUIRE) >> 16 & 1) == (uint32_t)phase)
				return cqe;
		usleep(10000);
	}
	return NULL;
}

/* Two SQs of 3 entries on one CQ of 5: 1,000 reads, many turns of each ring. */
static void test_by_hand(void)
{
	int s = attached(), good = 0, phase = 1;
	struct snvme_mem_register m = kernel_mem(3 * PAGE), data;
	struct hand_queue cq = {}, sq[2] = {};
	uint64_t table[1];
	char *va = pages(1), *mem, expect[512];
	int fd;

	snprintf(expect, sizeof(expect), "%sn1", dev);
	fd = open(expect, O_RDONLY);
	ok(pread(fd, expect, 512, 0) == 512, "the first block, through the kernel");
	close(fd);
	data = user_mem(va, PAGE);
	data.table = (uintptr_t)table;
	data.table_entries = 1;
	is(reg(s, &m) | reg(s, &data), 0, "memory");
	mem = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, s, (off_t)m.mmap_offset);
	ok(mem != MAP_FAILED, "mapped");
	memset(mem, 0xff, 3 * PAGE);
	cq.arg = queue(SNVME_QUEUE_CQ, 5, m.handle, 0, 0);
	is(hand_create(s, &cq, mem), 0, "a CQ of 5 entries");
	ok(!((struct snv_cqe *)mem)->dw3, "its ring is cleared");
	for (int i = 0; i < 2; i++) {
		sq[i].arg = queue(SNVME_QUEUE_SQ, 3, m.handle, (uint64_t)(i + 1) * PAGE, cq.arg.handle);
		is(hand_create(s, &sq[i], mem), 0, "an SQ of 3 entries");
	}
	for (int i = 0; i < 1000; i++) {
		const struct snv_cqe *cqe;

		memset(va, 0x5a, 512);
		hand_submit(&sq[i & 1], (uint16_t)i, table[0], 0);
		cqe = hand_wait(&cq, phase);
		if (!cqe) {
			diag("no completion of read %d", i);
			break;
		}
		if (cqe->dw3 >> 17 || (cqe->dw3 & 0xffff) != (uint16_t)i ||
		    cqe->dw2 >> 16 != sq[i & 1].arg.qid || memcmp(va, expect, 512)) {
			diag("read %d: dw2 %#x dw3 %#x", i, cqe->dw2, cqe->dw3);
			break;
		}
		good++;
		if (++cq.index == cq.arg.entries) {
			cq.index = 0;
			phase ^= 1;
		}
		hand_ring(&cq);
	}
	is(good, 1000, "reads");
	close(s);		/* queues and mappings live on in the mappings' file */
	memset(mem, 0, 3 * PAGE);
	ok(true, "mapped ring memory outlives the descriptor");
	munmap(mem, 3 * PAGE);
}

static bool map_fails(int s, size_t length, int prot, int flags, uint64_t offset, int err)
{
	void *va;

	errno = 0;
	va = mmap(NULL, length, prot, flags, s, (off_t)offset);
	if (va == MAP_FAILED)
		return errno == err;
	munmap(va, length);
	return false;
}

static volatile uint32_t *doorbell;

static int touch_doorbell(void)
{
	return (int)(*doorbell & 0);	/* not inherited: a fault */
}

static void test_mmap(int s, int other)
{
	const int rw = PROT_READ | PROT_WRITE;
	struct snvme_mem_register m = kernel_mem(2 * PAGE);
	struct snvme_queue_create q;
	struct snvme_state_page *state;
	void *page;

	state = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, s, SNVME_MMAP_STATE);
	ok(state != MAP_FAILED, "the state page");
	is(state->ctrl_state, SNVME_STATE_LIVE, "says live");
	is(mprotect(state, PAGE, rw), -1, "cannot be made writable");
	ok(map_fails(s, PAGE, rw, MAP_SHARED, 0, EACCES), "cannot be mapped writable");
	ok(map_fails(s, PAGE, PROT_READ, MAP_PRIVATE, 0, EINVAL), "nor private");
	ok(map_fails(s, 2 * PAGE, PROT_READ, MAP_SHARED, 0, EINVAL), "nor two of it");
	ok(map_fails(s, PAGE, PROT_READ, MAP_SHARED, PAGE, EINVAL), "nor one behind it");

	is(reg(s, &m), 0, "memory");
	ok(map_fails(s, PAGE, rw, MAP_SHARED, 1ULL << 40, EINVAL), "the register page");
	ok(map_fails(s, PAGE, rw, MAP_SHARED, (1ULL << 40) + PAGE, EINVAL), "doorbells without a queue");
	ok(map_fails(s, PAGE, rw, MAP_SHARED, 2ULL << 40, EINVAL), "shadow doorbells without a queue");
	q = queue(SNVME_QUEUE_CQ, 16, m.handle, 0, 0);
	is(create(s, &q), 0, "a queue");
	is(state->queue[(q.state_offset - offsetof(struct snvme_state_page, queue)) / 4],
	   SNVME_STATE_LIVE, "its state word");
	ok(map_fails(s, PAGE, rw, MAP_SHARED, 1ULL << 40, EINVAL), "still not the register page");
	ok(map_fails(s, PAGE, rw, MAP_SHARED, q.db_mmap_offset + PAGE, EINVAL), "the page behind its doorbells");
	ok(map_fails(s, 2 * PAGE, rw, MAP_SHARED, q.db_mmap_offset, EINVAL), "two pages of doorbells");
	ok(map_fails(s, PAGE, rw, MAP_PRIVATE, q.db_mmap_offset, EINVAL), "private doorbells");
	ok(map_fails(other, PAGE, rw, MAP_SHARED, q.db_mmap_offset, EINVAL), "another session's doorbells");
	page = mmap(NULL, PAGE, rw, MAP_SHARED, s, (off_t)q.db_mmap_offset);
	ok(page != MAP_FAILED, "its doorbells");
	doorbell = (volatile uint32_t *)((char *)page + q.db_offset);
	(void)*doorbell;
	ok(mremap(page, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED, "cannot grow");
	is(in_child(touch_doorbell), 1000 + SIGSEGV, "a child has no doorbells");

	ok(map_fails(s, PAGE, rw, MAP_PRIVATE, m.mmap_offset, EINVAL), "private kernel memory");
	ok(map_fails(s, 3 * PAGE, rw, MAP_SHARED, m.mmap_offset, EINVAL), "more than there is");
	ok(map_fails(s, PAGE, rw, MAP_SHARED, m.mmap_offset + 2 * PAGE, EINVAL), "behind its end");
	ok(map_fails(other, PAGE, rw, MAP_SHARED, m.mmap_offset, EINVAL), "another session's memory");
	for (uint64_t kind = 5; kind < 9; kind++)
		ok(map_fails(s, PAGE, rw, MAP_SHARED, kind << 40, EINVAL), "kind %d", (int)kind);
	ok(map_fails(s, PAGE, rw, MAP_SHARED, 1ULL << 62, EINVAL), "far out");
	is(destroy(s, q.handle), 0, "destroy the queue");
	is(state->queue[(q.state_offset - offsetof(struct snvme_state_page, queue)) / 4],
	   SNVME_STATE_NONE, "its state word");
	is(unregister(s, m.handle), 0, "unregister its memory");
	munmap(page, PAGE);
	munmap(state, PAGE);
}

/* What poll(2) says of a session within @ms. */
static int events_of(int s, int ms)
{
	struct pollfd pfd = { .fd = s, .events = POLLIN };

	return poll(&pfd, 1, ms) > 0 ? pfd.revents : 0;
}

/* Does process @pid, which does nothing but wait, wait by now? */
static bool asleep(pid_t pid)
{
	char path[64], state = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	for (time_t end = time(NULL) + PATIENCE; state != 'S' && time(NULL) < end;) {
		FILE *f = fopen(path, "r");

		if (!f || fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
			state = 0;
		if (f)
			fclose(f);
		sched_yield();
	}
	return state == 'S';
}

/* A reset is heard of by poll(2), until it was asked about: by INFO, on this session alone. */
static void test_poll(void)
{
	int fresh = session(), s = attached(), other = attached(), fd;
	uint64_t epoch = info(s).epoch;
	char path[64];
	pid_t sleeper;
	int status;

	is(events_of(fresh, 0), 0, "a session that is not attached has nothing to tell");
	is(events_of(s, 0), 0, "an attached one neither");
	snprintf(path, sizeof(path), "/sys/class/nvme/%s/reset_controller", strrchr(dev, '/') + 1);
	/* Who sleeps in poll(2) is woken: else an alarm ends it. */
	sleeper = fork();
	if (!sleeper) {
		alarm(PATIENCE);
		_exit(events_of(s, -1) == POLLIN ? 0 : 1);
	}
	ok(asleep(sleeper), "somebody waits");
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ok(write(fd, "1", 1) == 1, "a reset");
	close(fd);
	ok(waitpid(sleeper, &status, 0) == sleeper && !status, "wakes who waits for it");
	is(events_of(s, 1000 * PATIENCE), POLLIN, "is heard of");
	is(events_of(s, 0), POLLIN, "as often as one asks");
	for (int i = 0; i < 10 * PATIENCE && info(s).state != SNVME_STATE_LIVE; i++)
		events_of(s, 100);
	is(info(s).state, SNVME_STATE_LIVE, "and then that the controller lives");
	is(info(s).epoch, epoch + 1, "in another epoch");
	is(events_of(s, 0), 0, "who has asked has been told");
	is(events_of(other, 0), POLLIN, "the other session has not asked");
	is(events_of(fresh, 0), 0, "and one that is not attached is not concerned");
	close(fresh);
	close(s);
	close(other);
}

int main(int argc, char **argv)
{
	int s, other;

	dev = argc > 1 ? argv[1] : "/dev/nvme0";
	s = session();
	if (!ok(s >= 0, "open /dev/snvme: %s", strerror(errno)))
		return done();
	test_structures(s);
	close(s);
	test_attach(argc > 2 ? argv[2] : NULL);
	s = attached();
	other = attached();
	if (!ok(s >= 0 && other >= 0, "two sessions on %s", dev))
		return done();
	test_structures(s);
	test_memory(s, other);
	test_mmap(s, other);
	test_queues(s, other);
	close(s);
	close(other);
	test_all();
	test_by_hand();
	test_poll();
	return done();
}
