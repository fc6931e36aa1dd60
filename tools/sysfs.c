// SPDX-License-Identifier: MIT
/* What the kernel says of its disks, and what uses them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

#define PATH_SIZE	512
#define SECTOR_SHIFT	9	/* sysfs counts in 512 bytes, whatever the logical block size */

int read_line(char *out, size_t size, const char *fmt, ...)
{
	char path[PATH_SIZE];
	va_list args;
	size_t len;
	FILE *file;
	int ret = 0;

	out[0] = '\0';
	va_start(args, fmt);
	vsnprintf(path, sizeof(path), fmt, args);
	va_end(args);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	if (!fgets(out, (int)size, file))
		ret = ferror(file) ? -EIO : 0;
	fclose(file);
	for (len = strlen(out); len && strchr(" \n", out[len - 1]); len--)
		out[len - 1] = '\0';
	return ret;
}

int link_name(char *out, size_t size, const char *fmt, ...)
{
	char path[PATH_SIZE], to[PATH_SIZE];
	const char *name;
	va_list args;
	ssize_t n;

	out[0] = '\0';
	va_start(args, fmt);
	vsnprintf(path, sizeof(path), fmt, args);
	va_end(args);
	n = readlink(path, to, sizeof(to) - 1);
	if (n < 0)
		return -errno;
	to[n] = '\0';
	name = strrchr(to, '/');
	snprintf(out, size, "%s", name ? name + 1 : to);
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strverscmp(*(char *const *)a, *(char *const *)b);
}

size_t list_dir(const char *path, char ***names)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	size_t n = 0;

	*names = NULL;
	if (!dir)
		return 0;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		*names = realloc(*names, (n + 1) * sizeof(**names));
		if (!*names)
			die("out of memory");
		(*names)[n++] = xstrdup(entry->d_name);
	}
	closedir(dir);
	if (n)
		qsort(*names, n, sizeof(**names), compare_names);
	return n;
}

void free_names(char **names, size_t n)
{
	while (n)
		free(names[--n]);
	free(names);
}

static uint64_t read_number(const char *root, const char *dev, const char *attribute)
{
	char line[32];

	if (read_line(line, sizeof(line), "%s/sys/class/block/%s/%s", root, dev, attribute))
		return 0;
	return strtoull(line, NULL, 10);
}

static int compare_nsid(const void *a, const void *b)
{
	const struct ns_name *x = a, *y = b;

	return (x->nsid > y->nsid) - (x->nsid < y->nsid);
}

size_t ctrl_namespaces(const char *root, const char *ctrl, struct ns_name **out)
{
	char path[PATH_SIZE], line[32], **names;
	unsigned int a, b, c;
	size_t n, count = 0;
	int end;

	snprintf(path, sizeof(path), "%s/sys/class/nvme/%s", root, ctrl);
	n = list_dir(path, &names);
	*out = xcalloc(n, sizeof(**out));
	for (size_t i = 0; i < n; i++) {
		struct ns_name *ns = &(*out)[count];

		/* nvme0c1n2: a path, through controller 1, to nvme0n2, which several share. */
		if (sscanf(names[i], "nvme%uc%un%u%n", &a, &b, &c, &end) == 3 && !names[i][end])
			snprintf(ns->name, sizeof(ns->name), "nvme%un%u", a, c);
		else if (sscanf(names[i], "nvme%un%u%n", &a, &c, &end) == 2 && !names[i][end])
			snprintf(ns->name, sizeof(ns->name), "%.31s", names[i]);
		else
			continue;
		if (read_line(line, sizeof(line), "%s/%s/nsid", path, names[i]))
			continue;
		ns->nsid = (uint32_t)strtoul(line, NULL, 10);
		ns->bytes = read_number(root, ns->name, "size") << SECTOR_SHIFT;
		count++;
	}
	free_names(names, n);
	qsort(*out, count, sizeof(**out), compare_nsid);
	return count;
}

/* mountinfo writes blanks and backslashes as three octal digits: proc(5). */
static void unescape(char *text)
{
	char *to = text;

	while (*text) {
		unsigned int value;

		if (sscanf(text, "\\%3o", &value) == 1 && strlen(text) >= 4) {
			*to++ = (char)value;
			text += 4;
		} else {
			*to++ = *text++;
		}
	}
	*to = '\0';
}

static bool names_device(const char *path, const char *dev)
{
	const char *name = strrchr(path, '/');

	return !strncmp(path, "/dev/", 5) && !strcmp(name + 1, dev);
}

/* Return: 1 with the mount point in @where, 0, -errno. */
static int mounted(const char *root, const char *dev, char *where, size_t size)
{
	char path[PATH_SIZE], number[32], *line = NULL;
	size_t capacity = 0;
	int found = 0;
	FILE *file;

	read_line(number, sizeof(number), "%s/sys/class/block/%s/dev", root, dev);
	snprintf(path, sizeof(path), "%s/proc/self/mountinfo", root);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while (!found && getline(&line, &capacity, file) > 0) {
		char *field[5], *save = NULL, *rest = strstr(line, " - "), *source;
		size_t n = 0;

		if (!rest)
			continue;
		*rest = '\0';
		for (char *word = strtok_r(line, " ", &save); word && n < 5;
		     word = strtok_r(NULL, " ", &save))
			field[n++] = word;
		if (n < 5)
			continue;
		/* A file system of several devices has a number of its own, and names one of them. */
		strtok_r(rest + 3, " \n", &save);
		source = strtok_r(NULL, " \n", &save);
		if ((number[0] && !strcmp(field[2], number)) ||
		    (source && names_device(source, dev))) {
			unescape(field[4]);
			snprintf(where, size, "%s", field[4]);
			found = 1;
		}
	}
	free(line);
	fclose(file);
	return found;
}

/* Return: 1, 0, -errno. A kernel without swap has no such file. */
static int swapped(const char *root, const char *dev)
{
	char path[PATH_SIZE], *line = NULL;
	size_t capacity = 0;
	int found = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/proc/swaps", root);
	file = fopen(path, "re");
	if (!file)
		return errno == ENOENT ? 0 : -errno;
	while (!found && getline(&line, &capacity, file) > 0) {
		line[strcspn(line, " \t\n")] = '\0';
		found = names_device(line, dev);
	}
	free(line);
	fclose(file);
	return found;
}

/* @exclusive: also ask the kernel whether somebody holds the device, unseen by the rest. */
static int device_in_use(const char *root, const char *dev, bool exclusive, unsigned int depth,
			 char *why, size_t size)
{
	char path[PATH_SIZE], where[PATH_SIZE], **names;
	size_t n;
	int ret;

	ret = mounted(root, dev, where, sizeof(where));
	if (ret < 0)
		return ret;
	if (ret) {
		snprintf(why, size, "%s is mounted on %s", dev, where);
		return 1;
	}
	ret = swapped(root, dev);
	if (ret < 0)
		return ret;
	if (ret) {
		snprintf(why, size, "%s is swap space", dev);
		return 1;
	}
	snprintf(path, sizeof(path), "%s/sys/class/block/%s/holders", root, dev);
	n = list_dir(path, &names);
	if (n) {
		/* What lies on the holder says more than that there is one; stacks are not deep. */
		if (depth == 0 || device_in_use(root, names[0], false, depth - 1, where,
						sizeof(where)) <= 0)
			snprintf(where, sizeof(where), "%s is active", names[0]);
		snprintf(why, size, "%s is part of %s, and %s", dev, names[0], where);
		free_names(names, n);
		return 1;
	}
	if (exclusive) {
		snprintf(path, sizeof(path), "%s/dev/%s", root, dev);
		ret = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
		if (ret < 0 && errno == EBUSY) {
			snprintf(why, size, "%s is held by the kernel or another program", dev);
			return 1;
		}
		if (ret >= 0)
			close(ret);
	}
	return 0;
}

static bool overlap(uint64_t a, uint64_t a_length, uint64_t b, uint64_t b_length)
{
	return a < b + b_length && b < a + a_length;
}

int range_in_use(const char *root, const char *disk, uint64_t offset, uint64_t length, char *why,
		 size_t why_size)
{
	uint64_t first = UINT64_MAX, size, block;
	size_t n, partitions = 0;
	char path[PATH_SIZE], part_why[PATH_SIZE], **names, used[64] = "";
	int ret = 0;

	snprintf(path, sizeof(path), "%s/sys/class/block/%s", root, disk);
	n = list_dir(path, &names);
	if (!n)
		return -ENOENT;
	for (size_t i = 0; i < n && ret == 0; i++) {
		uint64_t start;
		char line[32];
		int in_use;

		if (read_line(line, sizeof(line), "%s/%s/partition", path, names[i]))
			continue;
		partitions++;
		read_line(line, sizeof(line), "%s/%s/start", path, names[i]);
		start = strtoull(line, NULL, 10) << SECTOR_SHIFT;
		read_line(line, sizeof(line), "%s/%s/size", path, names[i]);
		size = strtoull(line, NULL, 10) << SECTOR_SHIFT;
		if (start < first)
			first = start;
		in_use = device_in_use(root, names[i], true, 4, part_why, sizeof(part_why));
		if (in_use < 0) {
			ret = in_use;
		} else if (in_use) {
			snprintf(used, sizeof(used), "%s", names[i]);
			if (overlap(offset, length, start, size)) {
				snprintf(why, why_size, "%s", part_why);
				ret = 1;
			}
		}
	}
	free_names(names, n);
	if (ret)
		return ret;

	/* Around the partitions lie their table, a boot loader, and the table's copy (UEFI 5.3.1). */
	size = read_number(root, disk, "size") << SECTOR_SHIFT;
	block = read_number(root, disk, "queue/logical_block_size");
	if (used[0] && (offset < first || offset + length > size - 33 * block)) {
		snprintf(why, why_size, "it holds the partition table of %s, whose partition %s is in use",
			 disk, used);
		return 1;
	}
	return device_in_use(root, disk, !partitions, 4, why, why_size);
}
