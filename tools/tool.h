/* SPDX-License-Identifier: MIT */
/* What the subcommands of snvme(1) share. */
#ifndef SNVME_TOOL_H
#define SNVME_TOOL_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <jansson.h>

#include <snvme/snvme.h>

/* Exit codes: what was asked for failed, or was asked for wrongly. */
#define EXIT_FAILED	1
#define EXIT_USAGE	2

int cmd_list(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_read(int argc, char **argv);
int cmd_write(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_files(int argc, char **argv);
int cmd_vssd(int argc, char **argv);
int cmd_bind(int argc, char **argv);
int cmd_unbind(int argc, char **argv);

/* util.c: messages, numbers and output */

/* A sentence on stderr, after "snvme: ". */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
void die_usage(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* "4096", "4k", "1M", "0x1000"; suffixes k m g t p are powers of 1024. Return: 0, -EINVAL, -ERANGE. */
int parse_size(const char *text, uint64_t *value);

/* The same for the value of --@option, or the end of the program. */
uint64_t size_option(const char *option, const char *text);
uint32_t number_option(const char *option, const char *text, uint32_t min, uint32_t max);

/* Those that each command has, last in its table for getopt_long(). */
#define COMMON_OPTIONS								\
	{ "output-format", required_argument, NULL, 'o' },			\
	{ "help", no_argument, NULL, 'h' },					\
	{ 0 }

/* -o, into @json; --help and what is no option end the program. */
void common_option(int c, const char *help, bool *json);

/* All of a command that has no others. Return: -o json? */
bool common_options(int argc, char **argv, const char *help);

/* A string of any bytes; those that are not UTF-8 become '?'. */
json_t *json_text(const char *text);
void json_print(json_t *value);

/* "1.5 GiB" */
const char *human_size(uint64_t bytes, char out[16]);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t now_ns(void);
double mb_per_s(uint64_t bytes, uint64_t ns);

void *xcalloc(size_t n, size_t size);
char *xstrdup(const char *text);

/* sysfs.c: what the kernel says of its disks. @root stands before every path: "" but in tests */

/* The first line of a file, without its newline. Return: 0 or -errno. */
int read_line(char *out, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The last component of a symbolic link's target. Return: 0 or -errno. */
int link_name(char *out, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* A namespace's block device below a controller, hidden multipath ones by their shared name. */
struct ns_name {
	char name[32];
	uint32_t nsid;
	uint64_t bytes;
};

/* Return: how many, in order of nsid, in *@out, to be freed. */
size_t ctrl_namespaces(const char *root, const char *ctrl, struct ns_name **out);

/* Sorted names in a directory, without those that start with a dot. Return: how many. */
size_t list_dir(const char *path, char ***names);
void free_names(char **names, size_t n);

/*
 * Does [@offset, @offset + @length) of @disk meet something in use: a mounted file system, swap, a
 * device stacked on it, a partition table with partitions in use? Return: 1 and the reason in
 * @why, 0, or -errno.
 */
int range_in_use(const char *root, const char *disk, uint64_t offset, uint64_t length, char *why,
		 size_t why_size);

/* sums.c: files of sha256sum(1) */

#define SHA256_SIZE	32

struct sum {
	char *path;
	uint8_t digest[SHA256_SIZE];
	bool seen;
};

struct sums {
	struct sum *sum;
	size_t count;
};

/* One line, which is changed; @sum->path points into it. Return: 0, -EINVAL. */
int sums_parse_line(char *line, struct sum *sum);

/* Return: 0, -errno, or the number of the first line that is not a sum. */
int sums_load(struct sums *sums, const char *path);
struct sum *sums_find(struct sums *sums, const char *path);
void sums_free(struct sums *sums);

/* KIND:..., KINDn2:...? */
static inline bool is_kind(const char *name, const char *kind)
{
	const char *s = name + strlen(kind);

	if (strncmp(name, kind, strlen(kind)))
		return false;
	if (*s == 'n')
		s += 1 + strspn(s + 1, "0123456789");
	return *s == ':';
}

/*
 * A controller that no kernel driver runs: an SSD in this process, in another that speaks vfio-user, or with
 * vfio-pci? Then the kernel has no block device of it.
 */
static inline bool is_own(const char *name)
{
	return is_kind(name, "vssd") || is_kind(name, "vfio-user") || is_kind(name, "vfio");
}

/* disk.c: a namespace reached through a queue of one's own; every failure ends the program */

#define DISK_BUFFER	(1U << 20)

/**
 * struct disk - a namespace and, once disk_start() was called, a queue on it
 * @ctrl: its controller
 * @info: of the controller, when it was opened
 * @ns: the namespace
 * @name: its block device, "nvme0n1"; "vssdn1", "vfio-usern1" and "vfion1" are none
 * @kernel: it is one of the kernel's: somebody may use it, and it may be cached
 * @queue: a queue, or NULL
 * @mem: DISK_BUFFER bytes for @queue
 */
struct disk {
	struct snvme_ctrl *ctrl;
	struct snvme_ctrl_info info;
	struct snvme_ns_info ns;
	char name[32];
	bool kernel;
	struct snvme_queue *queue;
	struct snvme_mem *mem;
};

struct snvme_ctrl *ctrl_open(const char *name);

/* Why snvme_open() of @name failed. */
const char *open_reason(const char *name, int ret, char *out, size_t size);
void disk_open(struct disk *disk, const char *name);
struct snvme_queue *disk_queue(struct disk *disk, uint32_t depth, uint32_t flags);
void disk_start(struct disk *disk);
void disk_close(struct disk *disk);

/*
 * Read part of a file through the disk's queue into its buffer: @logical a multiple of the logical
 * block size, @length at most DISK_BUFFER. Holes and unwritten extents are zeros.
 * Return: as snvme_read(), -EIO for an extent without a place on the disk.
 */
int disk_read_map(struct disk *disk, const struct snvme_file_map *map, uint64_t logical,
		  size_t length);

/**
 * struct target - the range that a command works on
 * @disk: where it lies
 * @name: what the user called it
 * @fd: the file, or -1 for the namespace itself
 * @map: of the file; of a namespace: one extent, all of it
 * @offset: first byte
 * @length: bytes
 */
struct target {
	struct disk disk;
	const char *name;
	int fd;
	struct snvme_file_map map;
	uint64_t offset;
	uint64_t length;
};

/* Of a namespace (@dev) or a file (@file): the other is NULL. Neither is a usage error. */
void target_open(struct target *target, const char *dev, const char *file);

/*
 * Take [@offset, @offset + @length), or all from @offset on with @length UINT64_MAX. To be read,
 * the range of a file may end at the end of the file within a logical block.
 */
void target_range(struct target *target, uint64_t offset, uint64_t length, bool write);

/* End the program unless the range may be written: nothing in use, or @force; extents that can be. */
void target_writable(struct target *target, bool force);

/* Before and after writing: no page of the kernel's cache is written back over it, or outlives it. */
void target_sync(struct target *target);
void target_drop_cache(struct target *target);
void target_close(struct target *target);

#endif /* SNVME_TOOL_H */
