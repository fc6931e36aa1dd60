// SPDX-License-Identifier: MIT
/* snvme verify: what a queue of one's own reads, against what the kernel reads or sums say. */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "tool.h"

static const char help[] =
	"usage: snvme verify DEV [--offset=B] [--size=B] [-o human|json]\n"
	"       snvme verify FILE...|DIR... [--sums=FILE] [--strict] [-o human|json]\n"
	"       snvme verify --sums=FILE [--strict] [-o human|json]\n\n"
	"DEV: reads a range through a queue of its own and through the kernel's block device, and\n"
	"compares; what differs is read again, as it may have been written meanwhile. FILE, DIR: reads\n"
	"files by their extents and compares with what read(2) returns, or with sums in the format of\n"
	"sha256sum; with --sums alone, all files it names. Paths in it may also be relative to DIR. A\n"
	"file whose data has no place of its own on the disk is skipped; with --strict this, and a sum\n"
	"never used, is an error.\n";

#define SHOWN_MISMATCHES	10
#define VERIFY_ATTEMPTS		4

struct open_disk {
	struct disk disk;
	struct open_disk *next;
};

struct verify {
	struct open_disk *disks;
	struct sums sums;
	bool have_sums;
	bool json;
	json_t *problems;		/* of files; NULL without -o json */
	char *buf;			/* DISK_BUFFER bytes, for the kernel's answer */
	uint64_t files;
	uint64_t bytes;
	uint64_t time;			/* ns spent reading through our queues */
	uint64_t mismatches;
	uint64_t failed;
	uint64_t skipped;
	uint64_t unused_sums;
};

static struct disk *disk_of(struct verify *v, const char *name)
{
	struct open_disk *open;

	for (open = v->disks; open; open = open->next)
		if (!strcmp(open->disk.name, name))
			return &open->disk;
	open = xcalloc(1, sizeof(*open));
	disk_open(&open->disk, name);
	disk_start(&open->disk);
	open->next = v->disks;
	v->disks = open;
	return &open->disk;
}

static void problem(struct verify *v, const char *path, const char *kind, const char *reason)
{
	if (v->problems)
		json_array_append_new(v->problems, json_pack("{s:o, s:s, s:s}", "path",
							     json_text(path), "kind", kind,
							     "reason", reason));
	else
		complain("%s: %s: %s", path, kind, reason);
}

static void mismatch(struct verify *v, const char *path, const char *reason)
{
	v->mismatches++;
	problem(v, path, "mismatch", reason);
}

static void failed(struct verify *v, const char *path, const char *reason)
{
	v->failed++;
	problem(v, path, "failed", reason);
}

static void skipped(struct verify *v, const char *path, const char *reason)
{
	v->skipped++;
	problem(v, path, "skipped", reason);
}

static size_t differs_at(const char *a, const char *b, size_t n)
{
	size_t i = 0;

	while (i < n && a[i] == b[i])
		i++;
	return i;
}

/* @sum: what the file must hash to, or NULL to compare with what read(2) returns. */
static void verify_map(struct verify *v, const char *path, int fd,
		       const struct snvme_file_map *map, const struct sum *sum)
{
	struct disk *disk = disk_of(v, map->device);
	char *buf = snvme_mem_addr(disk->mem), reason[128];
	uint8_t digest[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *ctx = NULL;

	v->files++;
	if (sum) {
		ctx = EVP_MD_CTX_new();
		if (!ctx || !EVP_DigestInit_ex(ctx, EVP_sha256(), NULL))
			die("SHA-256 is not available");
	}
	for (uint64_t at = 0; at < map->size;) {
		size_t n = map->size - at < DISK_BUFFER ? (size_t)(map->size - at) : DISK_BUFFER;
		uint64_t start = now_ns();
		int ret = disk_read_map(disk, map, at, n);

		v->time += now_ns() - start;
		if (ret) {
			failed(v, path, snvme_strerror(ret));
			goto out;
		}
		if (ctx) {
			if (!EVP_DigestUpdate(ctx, buf, n))
				die("SHA-256 failed");
		} else if (pread(fd, v->buf, n, (off_t)at) != (ssize_t)n) {
			failed(v, path, "read(2) does not return as much: it changed meanwhile");
			goto out;
		} else if (memcmp(buf, v->buf, n)) {
			snprintf(reason, sizeof(reason), "differs from what read(2) returns at byte %"
				 PRIu64, at + differs_at(buf, v->buf, n));
			mismatch(v, path, reason);
			goto out;
		}
		at += n;
		v->bytes += n;
	}
	if (ctx) {
		if (!EVP_DigestFinal_ex(ctx, digest, NULL))
			die("SHA-256 failed");
		if (memcmp(digest, sum->digest, SHA256_SIZE))
			mismatch(v, path, "its SHA-256 is not the one given");
	}
out:
	EVP_MD_CTX_free(ctx);
}

/* @inside: the part of @path below the directory that was named, or NULL. */
static void verify_file(struct verify *v, const char *path, const char *inside)
{
	struct snvme_file_map map;
	struct sum *sum = NULL;
	int fd, ret;

	if (v->have_sums) {
		sum = sums_find(&v->sums, path);
		if (!sum && inside)
			sum = sums_find(&v->sums, inside);
		if (!sum) {
			failed(v, path, "no sum was given for it");
			return;
		}
		sum->seen = true;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		failed(v, path, strerror(errno));
		return;
	}
	ret = snvme_file_map_get(fd, &map);
	if (ret == -EOPNOTSUPP) {
		skipped(v, path, "not on a file system that lies directly on an NVMe namespace and shows its extents");
	} else if (ret) {
		failed(v, path, ret == -EINVAL ? "not a regular file" : snvme_strerror(ret));
	} else {
		size_t i = 0;

		while (i < map.count && !(map.extents[i].flags & SNVME_EXTENT_UNMAPPED))
			i++;
		if (i < map.count)
			skipped(v, path, "part of it has no place of its own on the disk (inline, compressed, encrypted or not yet allocated)");
		else
			verify_map(v, path, fd, &map, sum);
		snvme_file_map_free(&map);
	}
	close(fd);
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void verify_tree(struct verify *v, char *path)
{
	char *roots[] = { path, NULL };
	size_t length = strlen(path);
	FTSENT *entry;
	FTS *fts;

	/* A mount below is another file system: it can be named by itself. */
	fts = fts_open(roots, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, by_name);
	if (!fts)
		die("%s: %s", path, strerror(errno));
	while ((entry = fts_read(fts))) {
		const char *inside = NULL;

		if (entry->fts_info == FTS_ERR || entry->fts_info == FTS_DNR ||
		    entry->fts_info == FTS_NS)
			failed(v, entry->fts_path, strerror(entry->fts_errno));
		if (entry->fts_info != FTS_F)
			continue;
		if (entry->fts_level > 0)
			inside = entry->fts_path + length + strspn(entry->fts_path + length, "/");
		verify_file(v, entry->fts_path, inside);
	}
	fts_close(fts);
}

static void print_summary(struct verify *v, bool files)
{
	if (v->json) {
		json_t *value = json_pack("{s:I, s:f, s:I}", "bytes", (json_int_t)v->bytes,
					  "mb_per_s", mb_per_s(v->bytes, v->time), "mismatches",
					  (json_int_t)v->mismatches);

		if (files)
			json_object_update_new(value, json_pack(
				"{s:I, s:I, s:I, s:I, s:O}", "files", (json_int_t)v->files,
				"failed", (json_int_t)v->failed, "skipped",
				(json_int_t)v->skipped, "unused_sums",
				(json_int_t)v->unused_sums, "problems", v->problems));
		json_print(value);
		return;
	}
	if (files)
		printf("%" PRIu64 " files, ", v->files);
	printf("%" PRIu64 " bytes, %.1f MB/s, %" PRIu64 " mismatches", v->bytes,
	       mb_per_s(v->bytes, v->time), v->mismatches);
	if (files)
		printf(", %" PRIu64 " failed, %" PRIu64 " skipped", v->failed, v->skipped);
	if (v->unused_sums)
		printf(", %" PRIu64 " sums not used", v->unused_sums);
	putchar('\n');
}

static int verify_device(struct verify *v, const char *name, uint64_t offset, uint64_t size)
{
	struct target target;
	char path[64], *buf;
	uint32_t lba_size;
	int fd;

	if (is_own(name))
		die("%s is not the kernel's, which has nothing to compare with: bench --verify=lba checks it",
		    name);
	target_open(&target, name, NULL);
	target_range(&target, offset, size, false);
	disk_start(&target.disk);
	buf = snvme_mem_addr(target.disk.mem);
	lba_size = target.disk.ns.lba_size;
	snprintf(path, sizeof(path), "/dev/%s", target.disk.name);
	fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		die("%s: %s", path, strerror(errno));

	for (uint64_t done = 0; done < target.length;) {
		uint64_t left = target.length - done, at = target.offset + done;
		size_t n = left < DISK_BUFFER ? (size_t)left : DISK_BUFFER;

		/* What a mounted file system wrote between two reads is the same in the next two. */
		for (unsigned int attempt = 0; attempt < VERIFY_ATTEMPTS; attempt++) {
			uint64_t start;
			int ret;

			/* The kernel first: its direct reads write back what is dirty in the page cache. */
			if (pread(fd, v->buf, n, (off_t)at) != (ssize_t)n)
				die("%s: reading at %" PRIu64 " through the kernel: %s", path, at,
				    strerror(errno));
			start = now_ns();
			ret = disk_read_map(&target.disk, &target.map, at, n);
			if (ret)
				die("%s: reading at %" PRIu64 ": %s", name, at, snvme_strerror(ret));
			v->time += now_ns() - start;
			if (!memcmp(buf, v->buf, n))
				break;
		}
		for (size_t i = 0; i < n && memcmp(buf + i, v->buf + i, n - i); i += lba_size) {
			if (!memcmp(buf + i, v->buf + i, lba_size))
				continue;
			if (v->mismatches++ < SHOWN_MISMATCHES)
				complain("%s: logical block %" PRIu64 " differs", name,
					 (at + i) / lba_size);
		}
		done += n;
		v->bytes += n;
	}
	close(fd);
	target_close(&target);
	print_summary(v, false);
	return v->mismatches ? EXIT_FAILED : 0;
}

/* A file, a directory, or something that names a device. */
static bool is_path(const char *name)
{
	struct stat st;

	if (is_own(name))
		return false;
	if (!stat(name, &st))
		return !S_ISBLK(st.st_mode) && !S_ISCHR(st.st_mode);
	if (strchr(name, '/') && strncmp(name, "/dev/", 5))
		die("%s: %s", name, strerror(errno));
	return false;
}

int cmd_verify(int argc, char **argv)
{
	static const struct option options[] = {
		{ "offset", required_argument, NULL, 'b' },
		{ "size", required_argument, NULL, 's' },
		{ "sums", required_argument, NULL, 'S' },
		{ "strict", no_argument, NULL, 'x' },
		COMMON_OPTIONS
	};
	uint64_t offset = 0, size = UINT64_MAX;
	bool range = false, strict = false;
	const char *sums = NULL;
	struct verify v = { 0 };
	size_t i;
	int c, ret;

	while ((c = getopt_long(argc, argv, "o:h", options, NULL)) != -1) {
		switch (c) {
		case 'b':
			offset = size_option("offset", optarg);
			range = true;
			break;
		case 's':
			size = size_option("size", optarg);
			range = true;
			break;
		case 'S':
			sums = optarg;
			break;
		case 'x':
			strict = true;
			break;
		default:
			common_option(c, help, &v.json);
		}
	}
	if (optind == argc && !sums)
		die_usage("verify takes a device, files or directories, or --sums=FILE");
	if (posix_memalign((void **)&v.buf, 4096, DISK_BUFFER))
		die("out of memory");
	if (optind < argc && !is_path(argv[optind])) {
		if (argc - optind > 1)
			die_usage("verify takes one device, or files and directories");
		if (sums || strict)
			die_usage("--sums and --strict are for files");
		ret = verify_device(&v, argv[optind], offset, size);
		free(v.buf);
		return ret;
	}
	if (range)
		die_usage("--offset and --size are for a device");

	if (sums) {
		v.have_sums = true;
		ret = sums_load(&v.sums, sums);
		if (ret < 0)
			die("%s: %s", sums, strerror(-ret));
		if (ret > 0)
			die("%s: line %d is not one of sha256sum", sums, ret);
	}
	if (v.json)
		v.problems = json_array();
	for (int arg = optind; arg < argc; arg++)
		verify_tree(&v, argv[arg]);
	for (i = 0; i < v.sums.count; i++) {
		if (optind == argc)
			verify_file(&v, v.sums.sum[i].path, NULL);
		else
			v.unused_sums += !v.sums.sum[i].seen;
	}
	print_summary(&v, true);

	ret = v.mismatches || v.failed || (strict && (v.skipped || v.unused_sums));
	if (v.files == 0 && !ret) {
		complain("no file was verified");
		ret = 1;
	}
	json_decref(v.problems);
	while (v.disks) {
		struct open_disk *next = v.disks->next;

		disk_close(&v.disks->disk);
		free(v.disks);
		v.disks = next;
	}
	sums_free(&v.sums);
	free(v.buf);
	return ret ? EXIT_FAILED : 0;
}
