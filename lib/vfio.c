// SPDX-License-Identifier: MIT
/*
 * A controller that vfio-pci holds, all of it this process's: as a bus. Registers and doorbells are its BAR 0, mapped.
 * The IOMMU lets it reach what was mapped and nothing else, so that a transfer that comes late, or goes astray, ends
 * in a fault.
 *
 * The kernel ends what this process leaves behind: when the last descriptor closes, as when the process is
 * killed, the device is no bus master any more, is reset where it can be, and its domain is emptied.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib.h"

#define QUEUES		1024
#define CLASS_NVME	0x010802	/* an NVM Express I/O controller */
/* Addresses are as those of this process up to here, so that the IOMMU may use large pages. */
#define CONGRUENT	(2UL << 20)

/**
 * struct mapping - memory that the controller reaches
 * @next: the next by address
 * @va: where it lies
 * @dma: its address for the controller
 * @length: of it, in bytes
 */
struct mapping {
	struct mapping *next;
	void *va;
	uint64_t dma;
	uint64_t length;
};

/**
 * struct passthrough - such a controller
 * @config: offset of configuration space in @device
 * @bar_bytes: of @bar, BAR 0
 * @cmb: the controller's own memory, or NULL
 * @cmb_bytes: of it
 * @range: what the IOMMU translates, [@ranges] in ascending order, without what interrupts need
 * @lock: guards @mappings
 * @mappings: by address
 */
struct passthrough {
	struct snvme_bus bus;
	int container;
	int group;
	int device;
	off_t config;
	char *bar;
	size_t bar_bytes;
	void *cmb;
	size_t cmb_bytes;
	struct vfio_iova_range *range;
	uint32_t ranges;
	pthread_mutex_t lock;
	struct mapping *mappings;
};

static struct passthrough *passthrough_of(struct snvme_bus *bus)
{
	return (struct passthrough *)bus;
}

/* ---- the bus ----------------------------------------------------------------------------------- */

static uint32_t load(const struct passthrough *p, uint32_t offset)
{
	return snv_le32_get(__atomic_load_n((const __le32 *)(p->bar + offset), __ATOMIC_ACQUIRE));
}

/* Registers of 8 bytes may be accessed by halves: NVMe over PCIe 1.0 section 3.1.1. */
static uint64_t passthrough_read(struct snvme_bus *bus, uint32_t offset, uint32_t size)
{
	const struct passthrough *p = passthrough_of(bus);
	uint64_t value = load(p, offset);

	return size == 8 ? value | (uint64_t)load(p, offset + 4) << 32 : value;
}

static void passthrough_write(struct snvme_bus *bus, uint32_t offset, uint64_t value, uint32_t size)
{
	char *at = passthrough_of(bus)->bar + offset;

	/* What switches something on is in the lower half. */
	if (size == 8)
		snv_doorbell_write((uint32_t *)(at + 4), (uint32_t)(value >> 32));
	snv_doorbell_write((uint32_t *)at, (uint32_t)value);
}

/* The lowest address from @from on that is @va's modulo CONGRUENT. */
static uint64_t congruent(uint64_t from, const void *va)
{
	return from + (((uintptr_t)va - from) & (CONGRUENT - 1));
}

/* The first free place, but none at 0; *@at is where it belongs in the list. */
static int find_place(struct passthrough *p, const void *va, size_t length, struct mapping ***at, uint64_t *dma)
{
	struct mapping **m = &p->mappings;

	for (uint32_t i = 0; i < p->ranges; i++) {
		uint64_t start = p->range[i].start, end = p->range[i].end;
		uint64_t from = congruent(start ? start : CONGRUENT, va);

		while (*m && (*m)->dma < start)
			m = &(*m)->next;
		for (; *m && (*m)->dma <= end && from + length > (*m)->dma; m = &(*m)->next)
			from = congruent((*m)->dma + (*m)->length, va);
		if (from <= end && length - 1 <= end - from) {
			*at = m;
			*dma = from;
			return 0;
		}
	}
	return -ENOSPC;
}

static int passthrough_map(struct snvme_bus *bus, void *va, size_t length, uint64_t *dma)
{
	struct passthrough *p = passthrough_of(bus);
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)va,
		.size = length,
	};
	struct mapping **at, *m = malloc(sizeof(*m));
	int ret;

	if (!m)
		return -ENOMEM;
	pthread_mutex_lock(&p->lock);
	ret = find_place(p, va, length, &at, dma);
	map.iova = *dma;
	if (!ret && ioctl(p->container, VFIO_IOMMU_MAP_DMA, &map))
		ret = -errno;
	if (!ret) {
		*m = (struct mapping){ *at, va, *dma, length };
		*at = m;
	}
	pthread_mutex_unlock(&p->lock);
	if (ret)
		free(m);
	return ret;
}

/* Transfers that are still in flight end in faults. */
static void passthrough_unmap(struct snvme_bus *bus, void *va, size_t length)
{
	struct passthrough *p = passthrough_of(bus);
	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof(unmap), .size = length };
	struct mapping **at = &p->mappings, *m;

	pthread_mutex_lock(&p->lock);
	while ((*at)->va != va)
		at = &(*at)->next;
	m = *at;
	unmap.iova = m->dma;
	(void)ioctl(p->container, VFIO_IOMMU_UNMAP_DMA, &unmap);
	*at = m->next;
	pthread_mutex_unlock(&p->lock);
	free(m);
}

static int region(const struct passthrough *p, uint32_t index, struct vfio_region_info *info)
{
	*info = (struct vfio_region_info){ .argsz = sizeof(*info), .index = index };
	return ioctl(p->device, VFIO_DEVICE_GET_REGION_INFO, info) ? -errno : 0;
}

/*
 * At an address where no memory ever is: what the controller takes for its own, all of it, does not go to the IOMMU.
 * The BAR may be smaller: NVMe Base 2.0 section 3.1.3.14.
 */
static void *passthrough_cmb(struct snvme_bus *bus, uint32_t bir, uint64_t offset, size_t *length, uint64_t *dma)
{
	struct passthrough *p = passthrough_of(bus);
	struct mapping **at, *m = malloc(sizeof(*m));
	struct vfio_region_info bar;
	size_t decoded = *length;
	void *va = MAP_FAILED;

	if (m && bir <= VFIO_PCI_BAR5_REGION_INDEX && !region(p, VFIO_PCI_BAR0_REGION_INDEX + bir, &bar) &&
	    bar.flags & VFIO_REGION_INFO_FLAG_MMAP && offset < bar.size) {
		if (*length > bar.size - offset)
			*length = bar.size - offset;
		va = mmap(NULL, *length, PROT_READ | PROT_WRITE, MAP_SHARED, p->device, (off_t)(bar.offset + offset));
	}
	if (va == MAP_FAILED) {
		free(m);
		return NULL;
	}
	if (find_place(p, va, decoded, &at, dma)) {
		munmap(va, *length);
		free(m);
		return NULL;
	}
	*m = (struct mapping){ *at, va, *dma, decoded };
	*at = m;
	p->cmb = va;
	p->cmb_bytes = *length;
	return va;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* The device first: it is no bus master from then on. */
static void passthrough_close(struct snvme_bus *bus)
{
	struct passthrough *p = passthrough_of(bus);
	struct mapping *m, *next;

	if (p->bar)
		munmap(p->bar, p->bar_bytes);
	if (p->cmb)
		munmap(p->cmb, p->cmb_bytes);
	close_fd(p->device);
	close_fd(p->group);
	close_fd(p->container);
	for (m = p->mappings; m; m = next) {
		next = m->next;
		free(m);
	}
	pthread_mutex_destroy(&p->lock);
	free(p->range);
	free(p);
}

static const struct snvme_bus_ops passthrough_ops = {
	.read = passthrough_read,
	.write = passthrough_write,
	.map = passthrough_map,
	.unmap = passthrough_unmap,
	.cmb = passthrough_cmb,
	.close = passthrough_close,
};

/* ---- opening: Documentation/driver-api/vfio.rst --------------------------------------------------- */

/* The device's IOMMU group, which it may share with others, in a container of its own. */
static int open_group(struct passthrough *p, const char *pci)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	char path[64], target[PATH_MAX];
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", pci);
	if (access(path, F_OK))
		return -ENOENT;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", pci);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return -EOPNOTSUPP;
	target[n] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/%.32s", strrchr(target, '/') + 1);
	p->group = open(path, O_RDWR | O_CLOEXEC);
	if (p->group < 0)
		return errno == ENOENT ? -EOPNOTSUPP : -errno;
	if (ioctl(p->group, VFIO_GROUP_GET_STATUS, &status))
		return -errno;
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		return -EXDEV;
	p->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (p->container < 0)
		return -errno;
	if (ioctl(p->container, VFIO_GET_API_VERSION) != VFIO_API_VERSION ||
	    ioctl(p->container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) != 1)
		return -EOPNOTSUPP;
	if (ioctl(p->group, VFIO_GROUP_SET_CONTAINER, &p->container) ||
	    ioctl(p->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return -errno;
	return 0;
}

/* What the IOMMU translates. */
static int learn_ranges(struct passthrough *p)
{
	struct vfio_iommu_type1_info head = { .argsz = sizeof(head) }, *info;
	const struct vfio_iommu_type1_info_cap_iova_range *cap = NULL;
	uint32_t at;
	int ret = -EOPNOTSUPP;

	if (ioctl(p->container, VFIO_IOMMU_GET_INFO, &head))
		return -errno;
	info = calloc(1, head.argsz);
	if (!info)
		return -ENOMEM;
	info->argsz = head.argsz;
	if (ioctl(p->container, VFIO_IOMMU_GET_INFO, info)) {
		ret = -errno;
		goto out;
	}
	at = info->flags & VFIO_IOMMU_INFO_CAPS ? info->cap_offset : 0;
	while (at && !cap) {
		const struct vfio_info_cap_header *header = (const void *)((const char *)info + at);

		if (header->id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE)
			cap = (const void *)header;
		at = header->next;
	}
	if (!cap || !cap->nr_iovas)
		goto out;
	p->ranges = cap->nr_iovas;
	p->range = calloc(p->ranges, sizeof(*p->range));
	ret = p->range ? 0 : -ENOMEM;
	if (!ret)
		memcpy(p->range, cap->iova_ranges, p->ranges * sizeof(*p->range));
out:
	free(info);
	return ret;
}

static int config_access(const struct passthrough *p, bool write, off_t offset, void *data, size_t size)
{
	ssize_t n = write ? pwrite(p->device, data, size, p->config + offset) :
			    pread(p->device, data, size, p->config + offset);

	return n < 0 ? -errno : (size_t)n == size ? 0 : -EIO;
}

static int open_device(struct passthrough *p, const char *pci)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct vfio_region_info config, bar;
	__le32 class;
	int ret;

	p->device = ioctl(p->group, VFIO_GROUP_GET_DEVICE_FD, pci);
	if (p->device < 0)
		return errno == ENODEV ? -EOPNOTSUPP : -errno;
	if (ioctl(p->device, VFIO_DEVICE_GET_INFO, &info))
		return -errno;
	if (!(info.flags & VFIO_DEVICE_FLAGS_PCI))
		return -EOPNOTSUPP;
	ret = region(p, VFIO_PCI_CONFIG_REGION_INDEX, &config);
	if (!ret)
		ret = region(p, VFIO_PCI_BAR0_REGION_INDEX, &bar);
	if (ret)
		return ret;
	p->config = (off_t)config.offset;
	ret = config_access(p, false, PCI_CLASS_REVISION, &class, sizeof(class));
	if (ret)
		return ret;
	if (snv_le32_get(class) >> 8 != CLASS_NVME || !(bar.flags & VFIO_REGION_INFO_FLAG_MMAP) ||
	    bar.size < 2 * SNV_REG_DBS)
		return -EOPNOTSUPP;
	p->bar_bytes = bar.size;
	p->bar = mmap(NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED, p->device, (off_t)bar.offset);
	if (p->bar == MAP_FAILED) {
		p->bar = NULL;
		return -errno;
	}
	p->bus.doorbells = p->bar + SNV_REG_DBS;
	return 0;
}

/*
 * A controller that who had it before left enabled would meet an empty domain: it is disabled before it becomes a bus
 * master, as which vfio-pci does not hand it out.
 */
static int enable(struct passthrough *p)
{
	static const struct timespec nap = { .tv_nsec = 1000000 };
	uint64_t cap = passthrough_read(&p->bus, SNV_REG_CAP, 8), end = snvme_now() + SNV_CAP_TO(cap) * 500000000ULL;
	uint32_t cc = load(p, SNV_REG_CC);
	uint64_t pairs;
	__le16 command;
	int ret;

	if (cc == UINT32_MAX)
		return -ENODEV;
	passthrough_write(&p->bus, SNV_REG_CC, cc & ~(SNV_CC_EN | SNV_CC_SHN), 4);
	/* One that does not answer is found out below, when it is brought up. */
	while (load(p, SNV_REG_CSTS) & SNV_CSTS_RDY && snvme_now() < end)
		nanosleep(&nap, NULL);
	ret = config_access(p, false, PCI_COMMAND, &command, sizeof(command));
	if (ret)
		return ret;
	command = snv_le16(snv_le16_get(command) | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	ret = config_access(p, true, PCI_COMMAND, &command, sizeof(command));
	if (ret)
		return ret;
	/* No more queues than have their two doorbells in the BAR. */
	pairs = (p->bar_bytes - SNV_REG_DBS) >> (3 + SNV_CAP_DSTRD(cap));
	if (pairs < 2)
		return -EPROTO;
	p->bus.queues = pairs - 1 < QUEUES ? (uint32_t)(pairs - 1) : QUEUES;
	return 0;
}

int snvme_vfio_open(struct snvme_ctrl *ctrl, const void *pci)
{
	struct passthrough *p;
	int ret;

	if (!snvme_pci_name(pci))
		return -EINVAL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	pthread_mutex_init(&p->lock, NULL);
	p->container = p->group = p->device = -1;
	p->bus.ops = &passthrough_ops;
	p->bus.name = "vfio";
	p->bus.iommu = true;
	ret = open_group(p, pci);
	if (!ret)
		ret = learn_ranges(p);
	if (!ret)
		ret = open_device(p, pci);
	if (!ret)
		ret = enable(p);
	if (ret) {
		passthrough_close(&p->bus);
		return ret;
	}
	snprintf(ctrl->fixed.pci, sizeof(ctrl->fixed.pci), "%s", (const char *)pci);
	return snvme_own_open(ctrl, &p->bus);
}
