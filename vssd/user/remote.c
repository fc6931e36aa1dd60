// SPDX-License-Identifier: MIT
/*
 * A controller for another process, by vfio-user messages.
 *
 * Threads: messages are carried out by one thread; the home's workers ask translate() and raise interrupts. The
 * table of ranges changes under vssd_stop(), while no worker looks at it.
 */
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "../pci.h"
#include "remote.h"
#include "user.h"

#define PAGE_BYTES	4096U
#define MAX_MAPPED	(1ULL << 40)	/* bytes: 64 clients leave the address space a half */
#define MOST_DEALLOCATED	(1U << 18)	/* blocks, by one command */
#define MSIX_ENTRY	16U
#define HUGETLBFS	0x958458f6	/* statfs(2) */
#define BITS		64U

/**
 * struct window - memory of another process, mapped here, as the handler of SIGBUS finds it
 * @next: in the list of all that there ever were: they are used again, and never freed
 * @changes: odd while the rest changes, under window_lock. Whoever faults in a window does so between its
 *	changes; so one that is being changed is another
 * @begin, @end: addresses
 * @remote: whose; NULL: free
 */
struct window {
	struct window *next;
	uint32_t changes;
	uintptr_t begin;
	uintptr_t end;
	struct vssd_remote *remote;
};

/**
 * struct range - what a client mapped
 * @begin, @end: its addresses
 * @va: here; NULL: it cannot be reached, since it came without a descriptor, or is not to be written
 * @window: of @va
 */
struct range {
	uint64_t begin;
	uint64_t end;
	char *va;
	struct window *window;
};

struct vssd_remote {
	struct vssd_home *home;
	int socket;			/* the connection; -1: none */
	struct vssd_ctrl *ctrl;
	struct vssd_ctrl_config config;
	struct vssd_pci pci;
	bool versioned;
	struct range *range;		/* sorted, apart */
	size_t ranges;
	uint64_t mapped;
	int doorbell_fd;		/* the doorbells at 1000h, as in BAR 0 */
	void *doorbells;
	size_t doorbell_bytes;
	int cmb_fd;
	void *cmb;
	int kick;			/* eventfd */
	int nothing;			/* /dev/null */
	aio_context_t aio;
	uint32_t kicked;		/* it has been written, and not yet read */
	uint32_t lied;
	int *irq_fd;			/* [pci.vectors]; -1: none */
	uint64_t *pending;		/* a bit for each vector */
	uint8_t *table;			/* of MSI-X: kept, not looked at: masks are the client's business */
};

/* ---- memory that is not there ----------------------------------------------------------------- */

/* A signal has no other way to know. */
static struct window *windows;
static pthread_mutex_t window_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction sigbus_before;

static void kick(struct vssd_remote *r)
{
	if (!__atomic_exchange_n(&r->kicked, 1, __ATOMIC_SEQ_CST))
		eventfd_write(r->kick, 1);
}

static bool zeros(uintptr_t begin, uintptr_t end)
{
	return mmap((void *)begin, end - begin, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED;
}

/*
 * Is @at in the window, which is to be replaced by zeros? As a whole, so that this takes no mapping more; a page of it
 * where the system's limits have no room for so much memory of our own (vm.overcommit_memory, RLIMIT_DATA). The
 * connection ends, whether its thread waits for the rest of a message or to be told of it (kick()): until then
 * commands may fill the memory.
 */
static bool replace(struct window *w, uintptr_t at)
{
	uint32_t changes = __atomic_load_n(&w->changes, __ATOMIC_ACQUIRE);
	uintptr_t begin = SNV_LOAD_RELAXED(&w->begin), end = SNV_LOAD_RELAXED(&w->end);
	struct vssd_remote *r = SNV_LOAD_RELAXED(&w->remote);

	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (changes & 1 || SNV_LOAD_RELAXED(&w->changes) != changes || !r || at < begin || at >= end)
		return false;
	at -= at % PAGE_BYTES;
	if (!zeros(begin, end) && !zeros(at, at + PAGE_BYTES))
		return false;
	SNV_STORE_RELAXED(&r->lied, 1);
	kick(r);
	if (r->socket >= 0)
		shutdown(r->socket, SHUT_RDWR);
	return true;
}

/* A page of the client's file is not there: have zeros in its place, and tell on the client. */
static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr;
	int err = errno;

	for (struct window *w = __atomic_load_n(&windows, __ATOMIC_ACQUIRE); w; w = w->next) {
		if (replace(w, at)) {
			errno = err;
			return;
		}
	}
	/* Somebody else's: the handler before, or the end, when the access is made again. */
	if (sigbus_before.sa_flags & SA_SIGINFO)
		sigbus_before.sa_sigaction(sig, info, context);
	else if (sigbus_before.sa_handler != SIG_DFL && sigbus_before.sa_handler != SIG_IGN)
		sigbus_before.sa_handler(sig);
	else
		sigaction(SIGBUS, &sigbus_before, NULL);
}

static void install(void)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

	sigaction(SIGBUS, &action, &sigbus_before);
}

int vssd_remote_guard(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	return -pthread_once(&once, install);
}

static void window_set(struct window *w, struct vssd_remote *r, uintptr_t begin, uintptr_t end)
{
	SNV_STORE_RELAXED(&w->changes, w->changes + 1);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	SNV_STORE_RELAXED(&w->begin, begin);
	SNV_STORE_RELAXED(&w->end, end);
	SNV_STORE_RELAXED(&w->remote, r);
	__atomic_store_n(&w->changes, w->changes + 1, __ATOMIC_RELEASE);
}

/* One that is free, or a new one. */
static struct window *window_get(struct vssd_remote *r, char *va, size_t length)
{
	struct window *w;

	pthread_mutex_lock(&window_lock);
	for (w = windows; w && w->remote; w = w->next)
		;
	if (!w) {
		w = calloc(1, sizeof(*w));
		if (w) {
			w->next = windows;
			__atomic_store_n(&windows, w, __ATOMIC_RELEASE);
		}
	}
	if (w)
		window_set(w, r, (uintptr_t)va, (uintptr_t)va + length);
	pthread_mutex_unlock(&window_lock);
	return w;
}

/* Its memory is reached by nobody any more. */
static void window_put(struct window *w)
{
	pthread_mutex_lock(&window_lock);
	window_set(w, NULL, 0, 0);
	pthread_mutex_unlock(&window_lock);
}

/* ---- what the core asks for -------------------------------------------------------------------- */

/* The first range that ends beyond @addr: its index, or r->ranges. */
static size_t range_of(const struct vssd_remote *r, uint64_t addr)
{
	size_t low = 0, high = r->ranges;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (r->range[mid].end > addr)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

static void *host_translate(void *ctx, uint64_t addr, size_t *length)
{
	const struct vssd_remote *r = ctx;
	size_t i = range_of(r, addr);

	if (i == r->ranges || r->range[i].begin > addr || !r->range[i].va)
		return NULL;
	if (*length > r->range[i].end - addr)
		*length = r->range[i].end - addr;
	return r->range[i].va + (addr - r->range[i].begin);
}

static void host_irq(void *ctx, uint32_t vector)
{
	struct vssd_remote *r = ctx;

	__atomic_fetch_or(&r->pending[vector / BITS], 1ULL << vector % BITS, __ATOMIC_RELEASE);
	kick(r);
}

/*
 * Add 1 to a client's eventfd. write(2) waits while that would overflow, which the client can arrange; the kernel's
 * own signal at the end of an asynchronous read does not, so that is what is asked for: of nothing.
 */
static void notify(struct vssd_remote *r, int fd)
{
	char byte;
	struct iocb read = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)r->nothing,
		.aio_buf = (uintptr_t)&byte,
		.aio_nbytes = sizeof(byte),
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)fd,
	}, *list = &read;
	const struct timespec now = { 0 };
	struct io_event ended;

	if (syscall(SYS_io_submit, r->aio, 1, &list) == 1)
		syscall(SYS_io_getevents, r->aio, 1, 1, &ended, &now);
}

/* Interrupts that are pending, and have somewhere to go. */
static void deliver(struct vssd_remote *r)
{
	for (uint32_t i = 0; i < r->pci.vectors; i++) {
		uint64_t bit = 1ULL << i % BITS;

		if (r->irq_fd[i] >= 0 &&
		    __atomic_fetch_and(&r->pending[i / BITS], ~bit, __ATOMIC_ACQUIRE) & bit)
			notify(r, r->irq_fd[i]);
	}
}

int vssd_remote_fd(const struct vssd_remote *r)
{
	return r->kick;
}

int vssd_remote_kicked(struct vssd_remote *r)
{
	eventfd_t count;

	eventfd_read(r->kick, &count);
	/* Partner: the exchange in kick(): what was raised before it is seen below. */
	__atomic_exchange_n(&r->kicked, 0, __ATOMIC_SEQ_CST);
	deliver(r);
	return SNV_LOAD_RELAXED(&r->lied) ? -EFAULT : 0;
}

/* ---- memory ------------------------------------------------------------------------------------ */

/*
 * Pages of the client's file. It must be one in memory, which has seals: others may take as long as they like to give
 * us a page, such as those of a file system that the client itself runs. NULL: errno.
 */
static char *map_file(const struct vfio_user_dma_map *map, int fd)
{
	struct statfs fs;
	struct stat st;
	void *va;

	if (fcntl(fd, F_GET_SEALS) < 0 || fstat(fd, &st) || fstatfs(fd, &fs))
		return NULL;
	errno = EINVAL;
	if (map->offset > (uint64_t)st.st_size || map->size > (uint64_t)st.st_size - map->offset ||
	    ((size_t)fs.f_type == HUGETLBFS && (map->offset | map->size) % (uint64_t)fs.f_bsize))
		return NULL;
	va = mmap(NULL, map->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)map->offset);
	return va == MAP_FAILED ? NULL : va;
}

static int dma_map(struct vssd_remote *r, const struct vfio_user_dma_map *map, const int *fd)
{
	struct range new = { map->address, map->address + map->size, NULL, NULL }, *range, *old;
	size_t i = range_of(r, map->address);

	if (!map->size || (map->address | map->size | map->offset) % PAGE_BYTES || new.end < new.begin ||
	    map->flags & ~(VFIO_USER_DMA_READABLE | VFIO_USER_DMA_WRITABLE))
		return EINVAL;
	if (i < r->ranges && r->range[i].begin < new.end)
		return EEXIST;
	/* What is only to be read is out of reach: what a command would write there must not be seen. */
	if (!(map->flags & VFIO_USER_DMA_WRITABLE))
		fd = NULL;
	if (r->ranges == VFIO_USER_MAX_MAPS || (fd && map->size > MAX_MAPPED - r->mapped))
		return ENOSPC;
	range = malloc((r->ranges + 1) * sizeof(*range));
	if (!range)
		return ENOMEM;
	if (fd) {
		new.va = map_file(map, *fd);
		if (!new.va) {
			free(range);
			return errno;
		}
		new.window = window_get(r, new.va, map->size);
		if (!new.window) {
			munmap(new.va, map->size);
			free(range);
			return ENOMEM;
		}
		r->mapped += map->size;
	}
	if (i)
		memcpy(range, r->range, i * sizeof(*range));
	range[i] = new;
	if (i < r->ranges)
		memcpy(range + i + 1, r->range + i, (r->ranges - i) * sizeof(*range));
	old = r->range;
	vssd_stop(vssd_home_subsystem(r->home));
	r->range = range;
	r->ranges++;
	vssd_go(vssd_home_subsystem(r->home));
	free(old);
	return 0;
}

/* Out of translate()'s reach; then the transfers in flight end. */
static void unmap_range(struct vssd_remote *r, size_t i)
{
	struct range range = r->range[i];
	const struct timespec nap = { .tv_nsec = 50000 };

	vssd_stop(vssd_home_subsystem(r->home));
	r->ranges--;
	memmove(r->range + i, r->range + i + 1, (r->ranges - i) * sizeof(*r->range));
	vssd_go(vssd_home_subsystem(r->home));
	if (!range.va)
		return;
	while (r->ctrl && !vssd_unmap(r->ctrl, range.va, range.end - range.begin))
		nanosleep(&nap, NULL);
	window_put(range.window);
	munmap(range.va, range.end - range.begin);
	r->mapped -= range.end - range.begin;
}

/* Whole ranges only; none is no error, as in VFIO. */
static int dma_unmap(struct vssd_remote *r, struct vfio_user_dma_unmap *unmap)
{
	uint64_t end = unmap->address + unmap->size;
	size_t first = range_of(r, unmap->address), n = 0;

	if (unmap->flags == VFIO_USER_UNMAP_ALL) {
		if (unmap->address || unmap->size)
			return EINVAL;
		first = 0;
		n = r->ranges;
	} else {
		if (unmap->flags || end < unmap->address)
			return EINVAL;
		while (first + n < r->ranges && r->range[first + n].begin < end) {
			if (r->range[first + n].begin < unmap->address || r->range[first + n].end > end)
				return EINVAL;
			n++;
		}
	}
	unmap->size = 0;
	while (n--) {
		unmap->size += r->range[first + n].end - r->range[first + n].begin;
		unmap_range(r, first + n);
	}
	return 0;
}

/* ---- regions ----------------------------------------------------------------------------------- */

static uint64_t region_bytes(const struct vssd_remote *r, uint32_t region)
{
	if (region == VFIO_PCI_CONFIG_REGION_INDEX)
		return VSSD_PCI_CONFIG;
	return region < VSSD_PCI_BARS ? r->pci.bar_bytes[region] : 0;
}

/* A part of a dword as well as several of them. */
static void read_registers(struct vssd_remote *r, uint32_t offset, uint32_t count, uint8_t *to)
{
	while (count) {
		uint32_t in = offset % 4, n = 4 - in < count ? 4 - in : count;
		uint64_t value;

		if (!(offset % 8) && count >= 8) {
			n = 8;
			value = vssd_reg_read(r->ctrl, offset, 8);
		} else {
			value = vssd_reg_read(r->ctrl, offset - in, 4) >> 8 * in;
		}
		for (uint32_t i = 0; i < n; i++)
			to[i] = (uint8_t)(value >> 8 * i);
		offset += n;
		to += n;
		count -= n;
	}
}

static int write_registers(struct vssd_remote *r, uint32_t offset, uint32_t count, const uint8_t *from)
{
	uint64_t value = 0;

	if ((count != 4 && count != 8) || offset % count)
		return EINVAL;
	for (uint32_t i = 0; i < count; i++)
		value |= (uint64_t)from[i] << 8 * i;
	vssd_reg_write(r->ctrl, offset, value, count);
	vssd_home_wake(r->home, 0);
	return 0;
}

static void read_msix(const struct vssd_remote *r, uint32_t offset, uint32_t count, uint8_t *to)
{
	uint32_t table = r->pci.vectors * MSIX_ENTRY;

	for (uint32_t i = 0; i < count; i++, offset++) {
		uint32_t bit = (offset - r->pci.pba) * 8;

		if (offset < table)
			to[i] = r->table[offset];
		else if (offset >= r->pci.pba && bit < r->pci.vectors)
			to[i] = (uint8_t)(SNV_LOAD_RELAXED(&r->pending[bit / BITS]) >> bit % BITS);
		else
			to[i] = 0;
	}
}

static void write_msix(struct vssd_remote *r, uint32_t offset, uint32_t count, const uint8_t *from)
{
	uint32_t table = r->pci.vectors * MSIX_ENTRY;

	for (uint32_t i = 0; i < count && offset + i < table; i++)
		r->table[offset + i] = from[i];
}

static int check_access(const struct vssd_remote *r, const struct vfio_user_region_access *a)
{
	uint64_t bytes = region_bytes(r, a->region);

	return !a->count || a->count > VFIO_USER_MAX_DATA || a->offset > bytes ||
	       a->count > bytes - a->offset ? EINVAL : 0;
}

static int region_read(struct vssd_remote *r, const struct vfio_user_region_access *a, uint8_t *to)
{
	uint32_t offset = (uint32_t)a->offset;
	int ret = check_access(r, a);

	if (ret)
		return ret;
	switch (a->region) {
	case VSSD_PCI_BAR_REGS:
		read_registers(r, offset, a->count, to);
		return 0;
	case VSSD_PCI_BAR_CMB:
		memset(to, 0, a->count);
		if (a->offset + a->count <= r->config.cmb_size)
			memcpy(to, (char *)r->cmb + a->offset, a->count);
		return 0;
	case VSSD_PCI_BAR_MSIX:
		read_msix(r, offset, a->count, to);
		return 0;
	}
	vssd_pci_read(&r->pci, offset, a->count, to);
	return 0;
}

static int region_write(struct vssd_remote *r, const struct vfio_user_region_access *a, const uint8_t *from)
{
	uint32_t offset = (uint32_t)a->offset;
	int ret = check_access(r, a);

	if (ret)
		return ret;
	switch (a->region) {
	case VSSD_PCI_BAR_REGS:
		return write_registers(r, offset, a->count, from);
	case VSSD_PCI_BAR_CMB:
		if (a->offset + a->count <= r->config.cmb_size)
			memcpy((char *)r->cmb + a->offset, from, a->count);
		return 0;
	case VSSD_PCI_BAR_MSIX:
		write_msix(r, offset, a->count, from);
		return 0;
	}
	vssd_pci_write(&r->pci, offset, a->count, from);
	return 0;
}

/* With struct vfio_region_info_cap_sparse_mmap, of one area. */
struct sparse {
	struct vfio_region_info info;
	struct vfio_info_cap_header cap;
	uint32_t nr_areas;
	uint32_t reserved;
	struct vfio_region_sparse_mmap_area area;
};

/* Doorbells can be mapped, and the controller memory buffer: by a descriptor each. */
static int region_info(struct vssd_remote *r, const struct vfio_region_info *asked, struct vssd_reply *reply)
{
	struct sparse *out = (struct sparse *)(&reply->header + 1);
	uint32_t index = asked->index;
	uint64_t bytes = region_bytes(r, index);

	if (index >= VFIO_PCI_NUM_REGIONS || asked->argsz < sizeof(*asked))
		return EINVAL;
	memset(out, 0, sizeof(*out));
	out->info.argsz = sizeof(out->info);
	out->info.index = index;
	out->info.size = bytes;
	out->info.flags = bytes ? VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE : 0;
	reply->size += sizeof(out->info);
	if (index == VSSD_PCI_BAR_CMB && bytes && bytes == r->config.cmb_size) {
		out->info.flags |= VFIO_REGION_INFO_FLAG_MMAP;
		reply->fd = r->cmb_fd;
	}
	if (index != VSSD_PCI_BAR_REGS)
		return 0;
	out->info.flags |= VFIO_REGION_INFO_FLAG_MMAP | VFIO_REGION_INFO_FLAG_CAPS;
	out->info.argsz = sizeof(*out);
	if (asked->argsz < sizeof(*out))
		return 0;
	out->info.cap_offset = offsetof(struct sparse, cap);
	out->cap.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP;
	out->cap.version = 1;
	out->nr_areas = 1;
	out->area.offset = 0x1000;
	out->area.size = r->doorbell_bytes;
	reply->size += sizeof(*out) - sizeof(out->info);
	reply->fd = r->doorbell_fd;
	return 0;
}

/* ---- interrupts -------------------------------------------------------------------------------- */

static int irq_info(const struct vssd_remote *r, const struct vfio_irq_info *asked, struct vfio_irq_info *out)
{
	if (asked->index >= VFIO_PCI_NUM_IRQS || asked->argsz < sizeof(*asked))
		return EINVAL;
	*out = (struct vfio_irq_info){ .argsz = sizeof(*out), .index = asked->index };
	if (asked->index == VFIO_PCI_MSIX_IRQ_INDEX) {
		out->flags = VFIO_IRQ_INFO_EVENTFD;
		out->count = r->pci.vectors;
	}
	return 0;
}

static bool is_eventfd(int fd)
{
	char path[32], name[32];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, name, sizeof(name) - 1);
	if (n < 0)
		return false;
	name[n] = 0;
	return !strcmp(name, "anon_inode:[eventfd]");
}

static void set_irq_fd(struct vssd_remote *r, uint32_t vector, int fd)
{
	if (r->irq_fd[vector] >= 0)
		close(r->irq_fd[vector]);
	r->irq_fd[vector] = fd;
}

static int set_irqs(struct vssd_remote *r, const struct vfio_irq_set *set, size_t data, int *fds, uint32_t n_fds)
{
	uint32_t kind = set->flags & VFIO_IRQ_SET_DATA_TYPE_MASK;

	if (set->index != VFIO_PCI_MSIX_IRQ_INDEX || set->start > r->pci.vectors ||
	    set->count > r->pci.vectors - set->start ||
	    (set->flags & VFIO_IRQ_SET_ACTION_TYPE_MASK) != VFIO_IRQ_SET_ACTION_TRIGGER)
		return EINVAL;
	switch (kind) {
	case VFIO_IRQ_SET_DATA_EVENTFD:
		if (n_fds && n_fds != set->count)
			return EINVAL;
		for (uint32_t i = 0; i < n_fds; i++)
			if (!is_eventfd(fds[i]))
				return EINVAL;
		/* Its end takes the kernel some time, which those who never ask for interrupts are spared. */
		if (n_fds && !r->aio && syscall(SYS_io_setup, 1, &r->aio))
			return errno;
		for (uint32_t i = 0; i < set->count; i++) {
			set_irq_fd(r, set->start + i, n_fds ? fds[i] : -1);
			if (n_fds)
				fds[i] = -1;
		}
		deliver(r);
		return 0;
	case VFIO_IRQ_SET_DATA_NONE:
		/* None at all: all are switched off. */
		for (uint32_t i = 0; !set->count && i < r->pci.vectors; i++)
			set_irq_fd(r, i, -1);
		for (uint32_t i = 0; i < set->count; i++)
			host_irq(r, set->start + i);
		return 0;
	case VFIO_IRQ_SET_DATA_BOOL:
		if (data < set->count)
			return EINVAL;
		for (uint32_t i = 0; i < set->count; i++)
			if (set->data[i])
				host_irq(r, set->start + i);
		return 0;
	}
	return EINVAL;
}

/* ---- messages ---------------------------------------------------------------------------------- */

static int add_controller(struct vssd_remote *r)
{
	const struct vssd_host host = {
		.translate = host_translate,
		.irq = host_irq,
		.ctx = r,
		.doorbells = r->doorbells,
		.cmb = r->cmb,
	};

	return vssd_ctrl_add(vssd_home_subsystem(r->home), &r->config, &host, &r->ctrl);
}

/* As after power-on; the client's memory and interrupts stay. */
static int device_reset(struct vssd_remote *r)
{
	vssd_ctrl_reset(r->ctrl);
	vssd_pci_init(&r->pci, &r->config);
	for (uint32_t i = 0; i < (r->pci.vectors + BITS - 1) / BITS; i++)
		SNV_STORE_RELAXED(&r->pending[i], 0);
	memset(r->table, 0, r->pci.vectors * MSIX_ENTRY);
	return 0;
}

static int version(struct vssd_remote *r, const struct vfio_user_version *asked, struct vssd_reply *reply)
{
	static const char capabilities[] =
		"{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":4096,"
		"\"pgsizes\":4096,\"max_dma_maps\":800}}";
	struct vfio_user_version *out = (struct vfio_user_version *)(&reply->header + 1);

	if (r->versioned || asked->major != VFIO_USER_MAJOR)
		return EINVAL;
	r->versioned = true;
	out->major = VFIO_USER_MAJOR;
	out->minor = asked->minor < VFIO_USER_MINOR ? asked->minor : VFIO_USER_MINOR;
	memcpy(out + 1, capabilities, sizeof(capabilities));
	reply->size += sizeof(*out) + sizeof(capabilities);
	return 0;
}

/* What each command brings at least. */
static size_t least(uint16_t command)
{
	switch (command) {
	case VFIO_USER_VERSION:
		return sizeof(struct vfio_user_version);
	case VFIO_USER_DMA_MAP:
		return sizeof(struct vfio_user_dma_map);
	case VFIO_USER_DMA_UNMAP:
		return sizeof(struct vfio_user_dma_unmap);
	case VFIO_USER_DEVICE_GET_INFO:
		return sizeof(struct vfio_user_device_info);
	case VFIO_USER_DEVICE_GET_REGION_INFO:
		return sizeof(struct vfio_region_info);
	case VFIO_USER_DEVICE_GET_IRQ_INFO:
		return sizeof(struct vfio_irq_info);
	case VFIO_USER_DEVICE_SET_IRQS:
		return sizeof(struct vfio_irq_set);
	case VFIO_USER_REGION_READ:
	case VFIO_USER_REGION_WRITE:
		return sizeof(struct vfio_user_region_access);
	}
	return 0;
}

/* @body: @left bytes after the header. 0 or an errno, for the reply; its size and descriptor are set. */
static int carry_out(struct vssd_remote *r, uint16_t command, const void *body, size_t left, int *fds,
		     uint32_t n_fds, struct vssd_reply *reply)
{
	void *out = &reply->header + 1;
	struct vfio_user_region_access *access = out;
	int ret;

	if (left < least(command) || (!r->versioned && command != VFIO_USER_VERSION))
		return EINVAL;
	switch (command) {
	case VFIO_USER_VERSION:
		return version(r, body, reply);
	case VFIO_USER_DMA_MAP:
		return dma_map(r, body, n_fds ? &fds[0] : NULL);
	case VFIO_USER_DMA_UNMAP:
		memcpy(out, body, sizeof(struct vfio_user_dma_unmap));
		reply->size += sizeof(struct vfio_user_dma_unmap);
		return dma_unmap(r, out);
	case VFIO_USER_DEVICE_GET_INFO:
		*(struct vfio_user_device_info *)out = (struct vfio_user_device_info){
			.argsz = sizeof(struct vfio_user_device_info),
			.flags = VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI,
			.num_regions = VFIO_PCI_NUM_REGIONS,
			.num_irqs = VFIO_PCI_NUM_IRQS,
		};
		reply->size += sizeof(struct vfio_user_device_info);
		return 0;
	case VFIO_USER_DEVICE_GET_REGION_INFO:
		return region_info(r, body, reply);
	case VFIO_USER_DEVICE_GET_IRQ_INFO:
		reply->size += sizeof(struct vfio_irq_info);
		return irq_info(r, body, out);
	case VFIO_USER_DEVICE_SET_IRQS:
		return set_irqs(r, body, left - sizeof(struct vfio_irq_set), fds, n_fds);
	case VFIO_USER_REGION_READ:
		memcpy(access, body, sizeof(*access));
		ret = region_read(r, access, (uint8_t *)(access + 1));
		reply->size += sizeof(*access) + (ret ? 0 : access->count);
		return ret;
	case VFIO_USER_REGION_WRITE:
		memcpy(access, body, sizeof(*access));
		reply->size += sizeof(*access);
		if (access->count > left - sizeof(*access))
			return EINVAL;
		return region_write(r, access, (const uint8_t *)body + sizeof(*access));
	case VFIO_USER_DEVICE_RESET:
		return device_reset(r);
	}
	return EOPNOTSUPP;
}

int vssd_remote_message(struct vssd_remote *r, const void *message, size_t size, int *fds, uint32_t n_fds,
			struct vssd_reply *reply)
{
	const struct vfio_user_header *header = message;
	int ret;

	reply->size = 0;
	reply->fd = -1;
	if (header->size != size || size > VFIO_USER_MAX_MESSAGE || header->flags & VFIO_USER_TYPE)
		return -EPROTO;
	reply->header = (struct vfio_user_header){
		.id = header->id,
		.command = header->command,
		.flags = VFIO_USER_REPLY,
	};
	reply->size = sizeof(reply->header);
	ret = carry_out(r, header->command, header + 1, size - sizeof(*header), fds, n_fds, reply);
	if (ret) {
		reply->header.flags |= VFIO_USER_ERROR;
		reply->header.error = (uint32_t)ret;
		reply->size = sizeof(reply->header);
		reply->fd = -1;
	}
	reply->header.size = reply->size;
	if (header->flags & VFIO_USER_NO_REPLY)
		reply->size = 0;
	/* Without a version there is nothing to talk about. */
	return ret && !r->versioned ? -EPROTO : 0;
}

/* ---- coming and going -------------------------------------------------------------------------- */

/* Memory to be shared, that nobody can make shorter. NULL: errno. */
static void *shared_memory(size_t offset, size_t length, int *fd)
{
	void *va;

	*fd = memfd_create("vssd", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd < 0 || ftruncate(*fd, (off_t)(offset + length)) ||
	    fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return NULL;
	va = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, (off_t)offset);
	return va == MAP_FAILED ? NULL : va;
}

static int build(struct vssd_remote *r)
{
	r->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (r->kick < 0 || r->nothing < 0)
		return -errno;
	r->doorbells = shared_memory(0x1000, r->doorbell_bytes, &r->doorbell_fd);
	if (!r->doorbells)
		return -errno;
	if (r->config.cmb_size) {
		r->cmb = shared_memory(0, r->config.cmb_size, &r->cmb_fd);
		if (!r->cmb)
			return -errno;
	}
	vssd_pci_init(&r->pci, &r->config);
	r->irq_fd = malloc(r->pci.vectors * sizeof(*r->irq_fd));
	r->pending = calloc((r->pci.vectors + BITS - 1) / BITS, sizeof(*r->pending));
	r->table = calloc(r->pci.vectors, MSIX_ENTRY);
	if (r->irq_fd)
		memset(r->irq_fd, 0xff, r->pci.vectors * sizeof(*r->irq_fd));
	if (!r->irq_fd || !r->pending || !r->table)
		return -ENOMEM;
	return add_controller(r);
}

int vssd_remote_create(struct vssd_home *home, const struct vssd_ctrl_config *config, int socket,
		       struct vssd_remote **out)
{
	struct vssd_remote *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return -ENOMEM;
	r->home = home;
	r->socket = socket;
	r->config = *config;
	/* What a client does ends with it, and no command of it keeps the others waiting. */
	r->config.no_nssr = true;
	if (!r->config.dmrsl)
		r->config.dmrsl = MOST_DEALLOCATED;
	r->doorbell_bytes = vssd_doorbell_bytes(&r->config);
	r->kick = r->nothing = r->doorbell_fd = r->cmb_fd = -1;
	vssd_home_polled(home, 1);
	ret = build(r);
	if (ret)
		vssd_remote_destroy(r);
	else
		*out = r;
	return ret;
}

void vssd_remote_destroy(struct vssd_remote *r)
{
	if (r->ctrl)
		vssd_ctrl_remove(r->ctrl);
	r->ctrl = NULL;
	vssd_home_polled(r->home, -1);
	while (r->ranges)
		unmap_range(r, r->ranges - 1);
	for (uint32_t i = 0; r->irq_fd && i < r->pci.vectors; i++)
		set_irq_fd(r, i, -1);
	if (r->doorbells)
		munmap(r->doorbells, r->doorbell_bytes);
	if (r->cmb)
		munmap(r->cmb, r->config.cmb_size);
	if (r->doorbell_fd >= 0)
		close(r->doorbell_fd);
	if (r->cmb_fd >= 0)
		close(r->cmb_fd);
	if (r->aio)
		syscall(SYS_io_destroy, r->aio);
	if (r->nothing >= 0)
		close(r->nothing);
	if (r->kick >= 0)
		close(r->kick);
	free(r->range);
	free(r->irq_fd);
	free(r->pending);
	free(r->table);
	free(r);
}
