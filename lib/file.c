// SPDX-License-Identifier: MIT
/* Where a file lies on its NVMe namespace. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "lib.h"

#define BATCH 256

/* What FIEMAP says of data that has no place of its own on the device, in whole blocks. */
#define UNMAPPED (FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_ENCODED | \
		  FIEMAP_EXTENT_DATA_ENCRYPTED | FIEMAP_EXTENT_NOT_ALIGNED | \
		  FIEMAP_EXTENT_DATA_INLINE | FIEMAP_EXTENT_DATA_TAIL)

/* Where a file system lies on a namespace, in bytes. */
struct place {
	uint64_t start;
	uint64_t length;
};

/* A number of sysfs that counts in 512 bytes, whatever the format of the namespace. */
static int sectors(const char *device, const char *attribute, uint64_t *bytes)
{
	char path[PATH_MAX + 16];
	unsigned long long value;
	FILE *f;
	int n;

	snprintf(path, sizeof(path), "%s/%s", device, attribute);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	n = fscanf(f, "%llu", &value);
	fclose(f);
	*bytes = value * 512;
	return n == 1 ? 0 : -EIO;
}

/* The namespace that a file system's device is, or is a partition of, and its place there. */
static int device_of(unsigned int major, unsigned int minor, char *name, size_t size,
		     struct place *place)
{
	char path[64], real[PATH_MAX];
	char *base;
	int ret;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major, minor);
	if (!realpath(path, real))
		return -EOPNOTSUPP;	/* no block device: network, overlay, btrfs, ... */
	ret = sectors(real, "size", &place->length);
	if (ret)
		return ret;
	ret = sectors(real, "start", &place->start);
	if (ret == 0)
		*strrchr(real, '/') = 0;	/* a partition lies in its disk's directory */
	else if (ret == -ENOENT)
		place->start = 0;
	else
		return ret;
	base = strrchr(real, '/') + 1;
	if (strncmp(base, "nvme", 4) || strlen(base) >= size)
		return -EOPNOTSUPP;
	strcpy(name, base);
	return 0;
}

/* XFS may keep a file's data on a second device, of which stat() does not tell. */
static bool on_other_device(int fd)
{
	struct fsxattr attr;

	return !ioctl(fd, FS_IOC_FSGETXATTR, &attr) && attr.fsx_xflags & FS_XFLAG_REALTIME;
}

static uint32_t flags_of(uint32_t fiemap)
{
	return (fiemap & FIEMAP_EXTENT_UNWRITTEN ? SNVME_EXTENT_UNWRITTEN : 0) |
	       (fiemap & FIEMAP_EXTENT_SHARED ? SNVME_EXTENT_SHARED : 0) |
	       (fiemap & UNMAPPED ? SNVME_EXTENT_UNMAPPED : 0);
}

/* @flags hold for each extent of the file. */
static int append(struct snvme_file_map *map, const struct fiemap *fm, const struct place *place,
		  uint32_t flags)
{
	size_t count = map->count + fm->fm_mapped_extents;
	struct snvme_extent *extents = realloc(map->extents, count * sizeof(*extents));

	if (!extents)
		return -ENOMEM;
	map->extents = extents;
	for (uint32_t i = 0; i < fm->fm_mapped_extents; i++) {
		const struct fiemap_extent *e = &fm->fm_extents[i];
		struct snvme_extent *to = &extents[map->count++];

		*to = (struct snvme_extent){
			.logical = e->fe_logical,
			.physical = place->start + e->fe_physical,
			.length = e->fe_length,
			.flags = flags | flags_of(e->fe_flags),
		};
		/* A file system of several devices (f2fs) numbers all their blocks in one row. */
		if (!(to->flags & SNVME_EXTENT_UNMAPPED) &&
		    (e->fe_physical > place->length ||
		     e->fe_length > place->length - e->fe_physical))
			return -EOPNOTSUPP;
	}
	return 0;
}

SNVME_API int snvme_file_map_get(int fd, struct snvme_file_map *map)
{
	uint32_t flags = 0;
	struct place place;
	struct fiemap *fm;
	struct statx st;
	int ret;

	memset(map, 0, sizeof(*map));
	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st))
		return -errno;
	if (!S_ISREG(st.stx_mode))
		return -EINVAL;
	ret = device_of(st.stx_dev_major, st.stx_dev_minor, map->device, sizeof(map->device),
			&place);
	if (ret)
		return ret;
	if (on_other_device(fd))
		return -EOPNOTSUPP;
	/* ext4 and others say it here and not in FIEMAP. */
	if (st.stx_attributes & (STATX_ATTR_ENCRYPTED | STATX_ATTR_COMPRESSED))
		flags = SNVME_EXTENT_UNMAPPED;
	map->size = st.stx_size;
	fm = malloc(sizeof(*fm) + BATCH * sizeof(struct fiemap_extent));
	if (!fm)
		return -ENOMEM;
	for (uint64_t from = 0;;) {
		const struct fiemap_extent *last;

		memset(fm, 0, sizeof(*fm));
		fm->fm_start = from;
		fm->fm_length = FIEMAP_MAX_OFFSET - from;
		fm->fm_flags = FIEMAP_FLAG_SYNC;
		fm->fm_extent_count = BATCH;
		if (ioctl(fd, FS_IOC_FIEMAP, fm)) {
			ret = errno == ENOTTY || errno == EBADR ? -EOPNOTSUPP : -errno;
			break;
		}
		if (!fm->fm_mapped_extents)
			break;
		ret = append(map, fm, &place, flags);
		if (ret)
			break;
		last = &fm->fm_extents[fm->fm_mapped_extents - 1];
		if (last->fe_flags & FIEMAP_EXTENT_LAST)
			break;
		from = last->fe_logical + last->fe_length;
	}
	free(fm);
	if (ret)
		snvme_file_map_free(map);
	return ret;
}

SNVME_API void snvme_file_map_free(struct snvme_file_map *map)
{
	free(map->extents);
	memset(map, 0, sizeof(*map));
}
