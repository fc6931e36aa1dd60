// SPDX-License-Identifier: MIT
/* A namespace reached through a queue of one's own, and the ranges of it that commands work on. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool.h"

static const char *base_name(const char *name)
{
	return strncmp(name, "/dev/", 5) ? name : name + 5;
}

static bool in_sysfs(const char *dir, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/%s/%s", dir, name);
	return name[0] && !strchr(name, '/') && !access(path, F_OK);
}

static bool runs_nvme(const char *pci)
{
	char driver[64];

	return !link_name(driver, sizeof(driver), "/sys/bus/pci/devices/%s/driver", pci) &&
	       !strcmp(driver, "nvme");
}

/* Why the controller at @pci cannot be had through vfio-pci. */
static const char *vfio_reason(const char *pci, int ret, char *out, size_t size)
{
	char driver[64];

	link_name(driver, sizeof(driver), "/sys/bus/pci/devices/%s/driver", pci);
	switch (ret) {
	case -EINVAL:
		snprintf(out, size, "not a PCI address such as 0000:01:00.0");
		break;
	case -ENOENT:
		snprintf(out, size, "no such PCI device: snvme list shows those there are");
		break;
	case -EBUSY:
		snprintf(out, size, "another process has it");
		break;
	case -EXDEV:
		snprintf(out, size, "its IOMMU group has other devices, which other drivers have");
		break;
	case -EPERM:
	case -EACCES:
		snprintf(out, size, "no right to its device in /dev/vfio");
		break;
	case -EOPNOTSUPP:
		if (strcmp(driver, "vfio-pci"))
			snprintf(out, size, "not with vfio-pci, but with %s: snvme bind gives it to vfio-pci",
				 driver[0] ? driver : "no driver");
		else
			snprintf(out, size, "not an NVMe controller that can be used through vfio-pci");
		break;
	default:
		snprintf(out, size, "%s", snvme_strerror(ret));
	}
	return out;
}

const char *open_reason(const char *name, int ret, char *out, size_t size)
{
	const char *base = base_name(name);
	char partition[PATH_MAX];
	bool exists = in_sysfs("class/nvme", base) || in_sysfs("class/block", base) ||
		      in_sysfs("bus/pci/devices", base);

	if (is_kind(name, "vfio-user") && (ret == -ENOENT || ret == -ENAMETOOLONG)) {
		snprintf(out, size, "nobody serves at %s/cntrl: snvme vssd --socket does", strchr(name, ':') + 1);
		return out;
	}
	if (is_kind(name, "vfio"))
		return vfio_reason(strchr(name, ':') + 1, ret, out, size);
	/* What is wrong with the name, or else with what it makes. */
	if (is_own(name)) {
		if (is_kind(name, "vfio-user") || !snvme_vssd_check(name, out, size))
			snprintf(out, size, "%s", ret > 0 || ret == -EIO || ret == -ENODEV ?
				 snvme_strerror(ret) : strerror(-ret));
		return out;
	}
	snprintf(partition, sizeof(partition), "%s/partition", base);
	switch (ret) {
	case -ENXIO:
		if (exists) {
			snprintf(out, size, "snvme.ko is not loaded; run modprobe snvme");
			break;
		}
		/* fall through */
	case -ENOENT:
		snprintf(out, size, "no such device: snvme list shows those there are");
		break;
	case -EPERM:
	case -EACCES:
		snprintf(out, size, "no right to use it: run as root, or in the group of /dev/snvme; snvme(4)");
		break;
	case -EOPNOTSUPP:
		if (in_sysfs("class/block", base) && strncmp(base, "nvme", 4))
			snprintf(out, size, "not an NVMe namespace");
		else if (in_sysfs("bus/pci/devices", base) && !runs_nvme(base))
			snprintf(out, size, "the kernel's nvme driver does not run it");
		else if (!exists)
			snprintf(out, size, "not a kind of name that is known here");
		else
			snprintf(out, size,
				 "it cannot be shared with its driver: the kernel log (dmesg) says why");
		break;
	case -EPROTO:
		snprintf(out, size,
			 "the loaded snvme.ko is of another version than this program (" SNVME_VERSION ")");
		break;
	case -EINVAL:
		if (!access("/sys/class/block", F_OK) && !strchr(base, '/') &&
		    in_sysfs("class/block", base)) {
			snprintf(out, size,
				 "not a controller or namespace of NVMe: name the whole disk, not a partition");
			break;
		}
		snprintf(out, size, "not a name such as /dev/nvme0, /dev/nvme0n1 or 0000:01:00.0");
		break;
	default:
		snprintf(out, size, "%s", snvme_strerror(ret));
	}
	return out;
}

struct snvme_ctrl *ctrl_open(const char *name)
{
	struct snvme_ctrl *ctrl;
	char reason[256];
	int ret;

	ret = snvme_open(name, &ctrl);
	if (ret)
		die("%s: %s", name, open_reason(name, ret, reason, sizeof(reason)));
	return ctrl;
}

void disk_open(struct disk *disk, const char *name)
{
	struct ns_name *names;
	size_t n;
	int ret;

	memset(disk, 0, sizeof(*disk));
	disk->ctrl = ctrl_open(name);
	ret = snvme_get_info(disk->ctrl, &disk->info);
	if (ret)
		die("%s: %s", name, snvme_strerror(ret));
	ret = snvme_get_ns(disk->ctrl, 0, &disk->ns);
	if (ret == -EINVAL && is_own(name))
		die("%s has several namespaces: name one, such as %sn1:%s", name, disk->info.name,
		    strchr(name, ':') + 1);
	if (ret == -EINVAL)
		die("%s has several namespaces: name one, such as /dev/%sn1", name,
		    disk->info.name);
	if (ret == -ENOENT)
		die("%s has no such active namespace", name);
	if (ret)
		die("%s: %s", name, snvme_strerror(ret));
	if (disk->ns.metadata_size)
		die("%s has %u bytes of metadata in each block, a format that is not supported",
		    name, disk->ns.metadata_size);
	if (is_own(name)) {
		snprintf(disk->name, sizeof(disk->name), "%.16sn%u", disk->info.name, disk->ns.nsid);
		return;
	}

	disk->kernel = true;
	n = ctrl_namespaces("", disk->info.name, &names);
	for (size_t i = 0; i < n; i++)
		if (names[i].nsid == disk->ns.nsid)
			snprintf(disk->name, sizeof(disk->name), "%s", names[i].name);
	free(names);
	if (!disk->name[0])
		die("%s: the kernel has no block device for namespace %u", name, disk->ns.nsid);
}

static void __attribute__((noreturn)) die_no_spare(const struct snvme_ctrl_info *info)
{
	char write_queues[16], poll_queues[16], advice[256];

	if (!info->driver_queues)
		die("%s has no spare queue: it granted %u submission and %u completion queues",
		    info->name, info->granted_sq, info->granted_cq);
	read_line(write_queues, sizeof(write_queues), "/sys/module/nvme/parameters/write_queues");
	read_line(poll_queues, sizeof(poll_queues), "/sys/module/nvme/parameters/poll_queues");
	if (info->used_sq || info->used_cq)
		snprintf(advice, sizeof(advice), "end another user of snvme, or ask for fewer at once");
	else
		snprintf(advice, sizeof(advice),
			 "the driver asks for one per possible CPU plus nvme.write_queues (%s) and "
			 "nvme.poll_queues (%s): lower these, or boot with nr_cpus=N; a controller that "
			 "grants no more than it is asked for leaves none in any case",
			 write_queues[0] ? write_queues : "unknown",
			 poll_queues[0] ? poll_queues : "unknown");
	die("%s has no spare queue: it granted %u submission and %u completion queues, of which the kernel driver uses %u and snvme %u; %s",
	    info->name, info->granted_sq, info->granted_cq, info->driver_queues, info->used_sq,
	    advice);
}

struct snvme_queue *disk_queue(struct disk *disk, uint32_t depth, uint32_t flags)
{
	struct snvme_queue_opts opts = { .size = sizeof(opts), .depth = depth, .flags = flags };
	struct snvme_queue *queue;
	int ret;

	ret = snvme_queue_create(disk->ctrl, &opts, &queue);
	/* Others may have come or gone since it was opened. */
	if (ret)
		snvme_get_info(disk->ctrl, &disk->info);
	if (ret == -ENOSPC && flags & SNVME_QUEUE_CMB && disk->info.spare_sq && disk->info.spare_cq)
		die("%s: no room for another ring in the %" PRIu64 " bytes of its own memory", disk->info.name,
		    disk->info.cmb_bytes);
	if (ret == -EOPNOTSUPP && flags & SNVME_QUEUE_CMB && !disk->info.cmb_bytes)
		die("%s has no memory of its own for rings (CMB), or a driver of the kernel's runs it", disk->info.name);
	if (ret == -ENOSPC)
		die_no_spare(&disk->info);
	if (ret == -EOPNOTSUPP && flags & SNVME_QUEUE_CLASS)
		die("%s has no classes of queues: weighted round robin takes a controller that has it, and that no driver of the kernel's runs",
		    disk->info.name);
	if (ret == -ENOMEM)
		die("%s: no memory for a queue: the limit of locked memory (ulimit -l) may be too low",
		    disk->info.name);
	if (ret)
		die("%s: no queue: %s", disk->info.name, snvme_strerror(ret));
	return queue;
}

void disk_start(struct disk *disk)
{
	int ret;

	disk->queue = disk_queue(disk, 0, SNVME_QUEUE_MEDIUM);
	ret = snvme_mem_alloc(disk->ctrl, DISK_BUFFER, &disk->mem);
	if (ret)
		die("%s: no memory for data: %s", disk->info.name, snvme_strerror(ret));
}

void disk_close(struct disk *disk)
{
	snvme_close(disk->ctrl);
	disk->ctrl = NULL;
}

static uint64_t round_up(uint64_t n, uint64_t unit)
{
	return (n + unit - 1) / unit * unit;
}

int disk_read_map(struct disk *disk, const struct snvme_file_map *map, uint64_t logical,
		  size_t length)
{
	uint64_t end = logical + length, at = logical;
	char *buf = snvme_mem_addr(disk->mem);

	for (size_t i = 0; i < map->count && at < end; i++) {
		const struct snvme_extent *extent = &map->extents[i];
		uint64_t skip, n, extent_end = extent->logical + extent->length;
		int ret;

		if (extent_end <= at || (extent->flags & SNVME_EXTENT_UNWRITTEN))
			continue;
		if (extent->logical >= end)
			break;
		if (extent->flags & SNVME_EXTENT_UNMAPPED)
			return -EIO;
		if (extent->logical > at) {
			memset(buf + (at - logical), 0, extent->logical - at);
			at = extent->logical;
		}
		skip = at - extent->logical;
		n = (extent_end < end ? extent_end : end) - at;
		/* A file ends where it likes; its last block is on the disk whole, and in the buffer. */
		ret = snvme_read(disk->queue, disk->ns.nsid, buf + (at - logical),
				 round_up(n, disk->ns.lba_size), extent->physical + skip);
		if (ret)
			return ret;
		at += n;
	}
	memset(buf + (at - logical), 0, end - at);
	return 0;
}

void target_open(struct target *target, const char *dev, const char *file)
{
	int ret;

	memset(target, 0, sizeof(*target));
	if (!dev == !file)
		die_usage("name either a device or --file=PATH");
	target->name = dev ? dev : file;
	target->fd = -1;
	if (dev) {
		disk_open(&target->disk, dev);
		target->map.size = target->disk.ns.blocks * target->disk.ns.lba_size;
		target->map.extents = xcalloc(1, sizeof(*target->map.extents));
		target->map.extents->length = target->map.size;
		target->map.count = 1;
		return;
	}

	target->fd = open(file, O_RDONLY | O_CLOEXEC);
	if (target->fd < 0)
		die("%s: %s", file, strerror(errno));
	ret = snvme_file_map_get(target->fd, &target->map);
	if (ret == -EOPNOTSUPP)
		die("%s: not on a file system that lies directly on an NVMe namespace and shows its extents",
		    file);
	if (ret == -EINVAL)
		die("%s: not a regular file", file);
	if (ret)
		die("%s: %s", file, snvme_strerror(ret));
	disk_open(&target->disk, target->map.device);
}

void target_range(struct target *target, uint64_t offset, uint64_t length, bool write)
{
	uint32_t lba_size = target->disk.ns.lba_size;
	uint64_t size = target->map.size;

	if (length == 0)
		die("--size is zero");
	if (offset % lba_size)
		die("--offset=%" PRIu64 " is not a multiple of the logical block size of %s, %u bytes",
		    offset, target->disk.name, lba_size);
	if (offset >= size)
		die("--offset=%" PRIu64 " is past the end of %s, which has %" PRIu64 " bytes",
		    offset, target->name, size);
	if (length == UINT64_MAX)
		length = size - offset;
	if (length > size - offset)
		die("%" PRIu64 " bytes from --offset=%" PRIu64 " on go past the end of %s, which has %" PRIu64 " bytes",
		    length, offset, target->name, size);
	if (length % lba_size && (write || offset + length != size))
		die("a size of %" PRIu64 " is not a multiple of the logical block size of %s, %u bytes",
		    length, target->disk.name, lba_size);
	target->offset = offset;
	target->length = length;
}

static void check_extent(const struct target *target, const struct snvme_extent *extent)
{
	if (extent->flags & SNVME_EXTENT_UNMAPPED)
		die("%s has no fixed place on the disk at %" PRIu64 ": it cannot be written past the file system",
		    target->name, extent->logical);
	if (extent->flags & SNVME_EXTENT_UNWRITTEN)
		die("%s is allocated but not written at %" PRIu64 ": write it once through the file system first",
		    target->name, extent->logical);
	if (extent->flags & SNVME_EXTENT_SHARED)
		die("%s shares its extent at %" PRIu64 " with another file: it cannot be written past the file system",
		    target->name, extent->logical);
}

void target_writable(struct target *target, bool force)
{
	uint64_t at = target->offset, end = at + target->length;
	char why[PATH_MAX];

	for (size_t i = 0; i < target->map.count && at < end; i++) {
		const struct snvme_extent *extent = &target->map.extents[i];
		uint64_t n, extent_end = extent->logical + extent->length;
		int ret;

		if (extent_end <= at)
			continue;
		if (extent->logical > at)
			break;
		check_extent(target, extent);
		n = (extent_end < end ? extent_end : end) - at;
		ret = 0;
		if (!force && target->disk.kernel)
			ret = range_in_use("", target->disk.name,
					   extent->physical + at - extent->logical, n, why,
					   sizeof(why));
		if (ret < 0)
			die("cannot find out whether %s is in use (%s): writing it needs --force",
			    target->disk.name, strerror(-ret));
		if (ret)
			die("%s: writing there needs --force", why);
		at += n;
	}
	if (at < end)
		die("%s has a hole at %" PRIu64 ": write it once through the file system first",
		    target->name, at);
}

static int cache_fd(const struct target *target)
{
	char path[PATH_MAX];
	int fd;

	if (target->fd >= 0)
		return target->fd;
	snprintf(path, sizeof(path), "/dev/%s", target->disk.name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	return fd;
}

void target_sync(struct target *target)
{
	int fd;

	if (!target->disk.kernel)
		return;
	fd = cache_fd(target);
	if (fdatasync(fd))
		die("%s: %s", target->name, strerror(errno));
	if (fd != target->fd)
		close(fd);
}

/* Pages of the file in the cache. */
static size_t cached_pages(int fd, uint64_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (size + page - 1) / page, n = 0;
	unsigned char *in_core = xcalloc(pages, 1);
	void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);

	if (map != MAP_FAILED) {
		if (!mincore(map, size, in_core))
			for (size_t i = 0; i < pages; i++)
				n += in_core[i] & 1;
		munmap(map, size);
	}
	free(in_core);
	return n;
}

void target_drop_cache(struct target *target)
{
	int ret, fd;

	if (!target->disk.kernel)
		return;
	fd = cache_fd(target);
	/* All of it: a page, or a folio of many pages, that the range only touches would stay. */
	ret = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	if (ret)
		die("%s: the written data is on the disk, but the kernel's cache may be older: %s",
		    target->name, strerror(ret));
	if (fd != target->fd)
		close(fd);
	else if (cached_pages(fd, target->map.size))
		complain("%s is open or mapped elsewhere: part of it stays in the kernel's cache, and read(2) may return older data there",
			 target->name);
}

void target_close(struct target *target)
{
	disk_close(&target->disk);
	if (target->fd >= 0) {
		snvme_file_map_free(&target->map);
		close(target->fd);
	} else {
		free(target->map.extents);
	}
}
