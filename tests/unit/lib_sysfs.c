// SPDX-License-Identifier: MIT
/* Names of controllers and places of files, against a made-up /sys and a made-up file system. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tap.h"

static char root[] = "/tmp/snvme-sysfs-XXXXXX";

static const char *moved(const char *path)
{
	static char full[2][PATH_MAX];
	static int turn;

	if (strncmp(path, "/sys/", 5))
		return path;
	turn ^= 1;
	snprintf(full[turn], sizeof(full[turn]), "%s%s", root, path);
	return full[turn];
}

/* The file system. */
static struct {
	struct statx st;
	uint32_t xflags;
	int fiemap_errno;
	uint32_t count;
	struct fiemap_extent extent[600];
	uint32_t asked;
	bool synced;
} fs;

static int fake_statx(int fd, const char *path, int flags, unsigned int mask, struct statx *st)
{
	*st = fs.st;
	return 0;
}

static int fake_ioctl(int fd, unsigned long cmd, void *arg)
{
	struct fiemap *fm = arg;

	if (cmd == FS_IOC_FSGETXATTR) {
		((struct fsxattr *)arg)->fsx_xflags = fs.xflags;
		return 0;
	}
	if (fs.fiemap_errno || cmd != FS_IOC_FIEMAP) {
		errno = fs.fiemap_errno;
		return -1;
	}
	fs.asked++;
	fs.synced |= fm->fm_flags & FIEMAP_FLAG_SYNC;
	fm->fm_mapped_extents = 0;
	for (uint32_t i = 0; i < fs.count && fm->fm_mapped_extents < fm->fm_extent_count; i++)
		if (fs.extent[i].fe_logical + fs.extent[i].fe_length > fm->fm_start)
			fm->fm_extents[fm->fm_mapped_extents++] = fs.extent[i];
	return 0;
}

#define fopen(path, mode)	fopen(moved(path), mode)
#define opendir(path)		opendir(moved(path))
#define access(path, mode)	access(moved(path), mode)
#define realpath(path, out)	realpath(moved(path), out)
#define statx(...)		fake_statx(__VA_ARGS__)
#define ioctl(...)		fake_ioctl(__VA_ARGS__)
#include "open.c"
#include "mem.c"
#include "queue.c"
#include "file.c"
#undef fopen
#undef opendir
#undef access
#undef realpath
#undef statx
#undef ioctl

int snvme_attach_open(struct snvme_ctrl *ctrl, const void *controller)
{
	return -ENXIO;
}

static void make_dirs(const char *full)
{
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%s", full);
	for (char *slash = dir + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(dir, 0755);
		*slash = '/';
	}
}

static void put(const char *path, const char *content)
{
	char full[PATH_MAX];
	FILE *file;

	snprintf(full, sizeof(full), "%s/sys/%s", root, path);
	make_dirs(full);
	file = fopen(full, "w");
	if (!file || fputs(content, file) == EOF || fclose(file)) {
		perror(full);
		exit(1);
	}
}

static void put_link(const char *path, const char *to)
{
	char full[PATH_MAX], target[PATH_MAX];

	snprintf(full, sizeof(full), "%s/sys/%s", root, path);
	snprintf(target, sizeof(target), "%s/sys/%s", root, to);
	make_dirs(full);
	if (symlink(target, full)) {
		perror(full);
		exit(1);
	}
}

static void put_disks(void)
{
	/* A controller with a namespace, two partitions. */
	put("devices/pci/nvme/nvme0/transport", "pcie\n");
	put("devices/pci/nvme/nvme0/nvme0n1/nsid", "5\n");
	put("devices/pci/nvme/nvme0/nvme0n1/size", "100000\n");
	put("devices/pci/nvme/nvme0/nvme0n1/nvme0n1p1/partition", "1\n");
	put("devices/pci/nvme/nvme0/nvme0n1/nvme0n1p1/start", "2048\n");
	put("devices/pci/nvme/nvme0/nvme0n1/nvme0n1p1/size", "8000\n");
	put_link("devices/pci/nvme/nvme0/nvme0n1/device", "devices/pci/nvme/nvme0");
	put_link("class/nvme/nvme0", "devices/pci/nvme/nvme0");
	put_link("class/block/nvme0n1", "devices/pci/nvme/nvme0/nvme0n1");
	put_link("class/block/nvme0n1p1", "devices/pci/nvme/nvme0/nvme0n1/nvme0n1p1");
	put_link("dev/block/259:0", "devices/pci/nvme/nvme0/nvme0n1");
	put_link("dev/block/259:1", "devices/pci/nvme/nvme0/nvme0n1/nvme0n1p1");
	put("devices/pci0/0000:01:00.0/nvme/nvme0/state", "live\n");
	put_link("bus/pci/devices/0000:01:00.0", "devices/pci0/0000:01:00.0");
	put("devices/pci0/0000:02:00.0/class", "0x010802\n");
	put_link("bus/pci/devices/0000:02:00.0", "devices/pci0/0000:02:00.0");

	/* A multipath subsystem: nvme2 has the namespace, nvme1 another, nvme3 is not on PCIe. */
	put("devices/nvme-subsys1/nvme1n2/nsid", "2\n");
	put_link("devices/nvme-subsys1/nvme1n2/device", "devices/nvme-subsys1");
	put_link("class/block/nvme1n2", "devices/nvme-subsys1/nvme1n2");
	put("class/nvme/nvme1/transport", "pcie\n");
	put("class/nvme/nvme1/nvme1c1n1/nsid", "1\n");
	put("class/nvme/nvme2/transport", "pcie\n");
	put("class/nvme/nvme2/nvme1c2n2/nsid", "2\n");
	put("class/nvme/nvme3/transport", "tcp\n");
	put("class/nvme/nvme3/nvme1c3n2/nsid", "2\n");
	put_link("devices/nvme-subsys1/nvme1", "class/nvme/nvme1");
	put_link("devices/nvme-subsys1/nvme2", "class/nvme/nvme2");
	put_link("devices/nvme-subsys1/nvme3", "class/nvme/nvme3");

	/* A disk that is no namespace. */
	put("devices/sda/size", "100000\n");
	put_link("class/block/sda", "devices/sda");
	put_link("dev/block/8:0", "devices/sda");
}

static void test_names(void)
{
	static const struct {
		const char *name;
		int ret;
		const char *controller;
		uint32_t nsid;
	} cases[] = {
		{ "nvme0", 0, "nvme0", 0 }, { "/dev/nvme0", 0, "nvme0", 0 },
		{ "nvme0n1", 0, "nvme0", 5 }, { "/dev/nvme0n1", 0, "nvme0", 5 },
		{ "0000:01:00.0", 0, "nvme0", 0 }, { "nvme1n2", 0, "nvme2", 2 },
		{ "nvme9", -ENOENT, "", 0 }, { "nvme0n9", -ENOENT, "", 0 },
		{ "/dev/nvme9", -ENOENT, "", 0 },
		{ "0000:09:00.0", -ENOENT, "", 0 }, { "0000:02:00.0", -EOPNOTSUPP, "", 0 },
		{ "nvme0n1p1", -EINVAL, "", 0 }, { "/dev/nvme0n1p1", -EINVAL, "", 0 },
		{ "sda", -EOPNOTSUPP, "", 0 }, { "vssd:mem", -EOPNOTSUPP, "", 0 },
		{ "vfio-user:/run/x.sock", -EOPNOTSUPP, "", 0 }, { "", -EINVAL, "", 0 },
		{ "/dev/", -EINVAL, "", 0 }, { "/", -EINVAL, "", 0 }, { "a/b", -EINVAL, "", 0 },
		{ "/etc/passwd", -EINVAL, "", 0 }, { "../nvme0", -EINVAL, "", 0 },
		{ "nvme0n1p", -ENOENT, "", 0 }, { "nvme99999999999999999999", -ENOENT, "", 0 },
		{ "0000:01:00.", -EINVAL, "", 0 }, { ":", -EINVAL, "", 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char controller[32] = "";
		uint32_t nsid = 0;
		int ret = resolve(cases[i].name, controller, sizeof(controller), &nsid);

		is(ret, cases[i].ret, "'%s'", cases[i].name);
		if (ret == 0)
			ok(!strcmp(controller, cases[i].controller) && nsid == cases[i].nsid,
			   "it is %s, namespace %u", controller, nsid);
	}
}

static void test_places(void)
{
	static const struct {
		uint32_t fiemap, flags;
	} flags[] = {
		{ FIEMAP_EXTENT_MERGED, 0 },
		{ FIEMAP_EXTENT_UNWRITTEN, SNVME_EXTENT_UNWRITTEN },
		{ FIEMAP_EXTENT_SHARED, SNVME_EXTENT_SHARED },
		{ FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC, SNVME_EXTENT_UNMAPPED },
		{ FIEMAP_EXTENT_ENCODED, SNVME_EXTENT_UNMAPPED },
		{ FIEMAP_EXTENT_DATA_ENCRYPTED, SNVME_EXTENT_UNMAPPED },
		{ FIEMAP_EXTENT_NOT_ALIGNED, SNVME_EXTENT_UNMAPPED },
		{ FIEMAP_EXTENT_DATA_INLINE, SNVME_EXTENT_UNMAPPED },
		{ FIEMAP_EXTENT_DATA_TAIL, SNVME_EXTENT_UNMAPPED },
	};
	struct snvme_file_map map;
	bool all = true;

	fs.st.stx_mode = S_IFREG;
	fs.st.stx_size = 5000;
	fs.st.stx_dev_major = 259;
	fs.st.stx_dev_minor = 1;
	fs.count = 1;
	fs.extent[0] = (struct fiemap_extent){
		.fe_logical = 4096, .fe_physical = 8192, .fe_length = 4096,
		.fe_flags = FIEMAP_EXTENT_LAST,
	};
	is(snvme_file_map_get(3, &map), 0, "a file on a partition");
	is_str(map.device, "nvme0n1", "its namespace");
	is(map.size, 5000, "its size");
	ok(map.count == 1 && map.extents[0].logical == 4096 && map.extents[0].length == 4096 &&
	   map.extents[0].physical == 2048 * 512 + 8192,
	   "where the partition starts is counted in");
	ok(fs.synced, "it was written back first");
	is(fs.asked, 1, "and its end believed");
	snvme_file_map_free(&map);
	ok(!map.extents && !map.count, "freed");
	snvme_file_map_free(&map);

	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
		fs.extent[0].fe_flags = FIEMAP_EXTENT_LAST | flags[i].fiemap;
		is(snvme_file_map_get(3, &map), 0, "FIEMAP flags %#x", flags[i].fiemap);
		is(map.extents[0].flags, flags[i].flags, "are %#x", flags[i].flags);
		snvme_file_map_free(&map);
	}
	fs.extent[0].fe_flags = FIEMAP_EXTENT_LAST;
	fs.st.stx_attributes = STATX_ATTR_ENCRYPTED;
	is(snvme_file_map_get(3, &map), 0, "an encrypted file");
	is(map.extents[0].flags, SNVME_EXTENT_UNMAPPED, "has no plain data on the disk");
	snvme_file_map_free(&map);
	fs.st.stx_attributes = 0;

	fs.extent[0].fe_physical = 8000 * 512 - 4096;
	is(snvme_file_map_get(3, &map), 0, "the last block of the partition");
	snvme_file_map_free(&map);
	fs.extent[0].fe_physical += 512;
	is(snvme_file_map_get(3, &map), -EOPNOTSUPP, "past the partition: it is on another device");
	fs.extent[0].fe_physical = UINT64_MAX - 4095;
	is(snvme_file_map_get(3, &map), -EOPNOTSUPP, "far past it");
	fs.extent[0].fe_physical = 0;
	fs.xflags = FS_XFLAG_REALTIME;
	is(snvme_file_map_get(3, &map), -EOPNOTSUPP, "on the realtime device of XFS");
	fs.xflags = 0;

	/* More than one call brings; nobody says which is the last. */
	fs.count = 600;
	for (uint32_t i = 0; i < fs.count; i++)
		fs.extent[i] = (struct fiemap_extent){
			.fe_logical = i * 8192, .fe_physical = i * 4096, .fe_length = 4096,
		};
	fs.st.stx_dev_minor = 0;
	is(snvme_file_map_get(3, &map), 0, "many extents, on a whole namespace");
	is(map.count, 600, "all of them");
	for (uint32_t i = 0; i < map.count; i++)
		all &= map.extents[i].logical == i * 8192 && map.extents[i].physical == i * 4096;
	ok(all, "each once, in order");
	snvme_file_map_free(&map);
	fs.count = 0;
	is(snvme_file_map_get(3, &map), 0, "a file of holes");
	is(map.count, 0, "has none");
	snvme_file_map_free(&map);

	fs.fiemap_errno = EOPNOTSUPP;
	is(snvme_file_map_get(3, &map), -EOPNOTSUPP, "a file system without FIEMAP");
	fs.fiemap_errno = EIO;
	is(snvme_file_map_get(3, &map), -EIO, "an error of the kernel");
	fs.fiemap_errno = 0;
	fs.st.stx_dev_major = 8;
	is(snvme_file_map_get(3, &map), -EOPNOTSUPP, "a file on a disk that is not NVMe");
	fs.st.stx_dev_major = 0;
	is(snvme_file_map_get(3, &map), -EOPNOTSUPP, "a file on no block device");
	fs.st.stx_mode = S_IFDIR;
	is(snvme_file_map_get(3, &map), -EINVAL, "a directory");
}

int main(void)
{
	char command[64];

	if (!mkdtemp(root)) {
		perror(root);
		return 1;
	}
	put_disks();
	test_names();
	test_places();
	snprintf(command, sizeof(command), "rm -rf %s", root);
	if (system(command))
		diag("%s is left behind", root);
	return done();
}
