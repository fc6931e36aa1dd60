// SPDX-License-Identifier: MIT
/* Where a file lies on its NVMe namespace. */
#include <errno.h>
#include <limits.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "lib.h"

#define BATCH 256

/* What FIEMAP says of data that has no place of its own on the device, in whole blocks. */
#define UNMAPPED (FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_ENCODED | \
		  FIEMAP_EXTENT_DATA_ENCRYPTED | FIEMAP_EXTENT_NOT_ALIGNED | \
		  FIEMAP_EXTENT_DATA_INLINE | FIEMAP_EXTENT_DATA_TAIL)

/* The namespace that a file system's device is, or is a partition of, and where it starts on it. */
static int device_of(dev_t dev, char *name, size_t size, uint64_t *start)
{
	char path[PATH_MAX], real[PATH_MAX];
	unsigned long long sectors;
	char *base;
	FILE *f;
	int n;

	*start = 0;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	if (!realpath(path, real))
		return -EOPNOTSUPP;	/* no block device: network, overlay, btrfs, ... */
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/start", major(dev), minor(dev));
	f = fopen(path, "re");
	if (f) {
		n = fscanf(f, "%llu", &sectors);
		fclose(f);
		if (n != 1)
			return -EIO;
		/* sysfs counts in 512 bytes, whatever the format of the namespace. */
		*start = sectors * 512;
		*strrchr(real, '/') = 0;	/* a partition lies in its disk's directory */
	}
	base = strrchr(real, '/') + 1;
	if (strncmp(base, "nvme", 4) || strlen(base) >= size)
		return -EOPNOTSUPP;
	strcpy(name, base);
	return 0;
}

static uint32_t flags_of(uint32_t fiemap)
{
	return (fiemap & FIEMAP_EXTENT_UNWRITTEN ? SNVME_EXTENT_UNWRITTEN : 0) |
	       (fiemap & FIEMAP_EXTENT_SHARED ? SNVME_EXTENT_SHARED : 0) |
	       (fiemap & UNMAPPED ? SNVME_EXTENT_UNMAPPED : 0);
}

static int append(struct snvme_file_map *map, const struct fiemap *fm, uint64_t start)
{
	size_t count = map->count + fm->fm_mapped_extents;
	struct snvme_extent *extents = realloc(map->extents, count * sizeof(*extents));

	if (!extents)
		return -ENOMEM;
	map->extents = extents;
	for (uint32_t i = 0; i < fm->fm_mapped_extents; i++) {
		const struct fiemap_extent *e = &fm->fm_extents[i];

		extents[map->count++] = (struct snvme_extent){
			.logical = e->fe_logical,
			.physical = start + e->fe_physical,
			.length = e->fe_length,
			.flags = flags_of(e->fe_flags),
		};
	}
	return 0;
}

SNVME_API int snvme_file_map_get(int fd, struct snvme_file_map *map)
{
	struct fiemap *fm;
	struct stat st;
	uint64_t start;
	int ret;

	memset(map, 0, sizeof(*map));
	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	ret = device_of(st.st_dev, map->device, sizeof(map->device), &start);
	if (ret)
		return ret;
	map->size = (uint64_t)st.st_size;
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
			ret = errno == ENOTTY ? -EOPNOTSUPP : -errno;
			break;
		}
		if (!fm->fm_mapped_extents)
			break;
		ret = append(map, fm, start);
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
