// SPDX-License-Identifier: MIT
/* snvme write: a range of a namespace or file, through a queue of one's own. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool.h"

static const char help[] =
	"usage: snvme write DEV|--file=PATH --offset=B --size=B [--input=FILE|-] [--force] [-o human|json]\n\n"
	"Writes --size bytes of --input (standard input by default) through a queue of its own, and\n"
	"flushes the controller's write cache. Refuses a range that is in use, which every file on a\n"
	"mounted file system is, without --force. A file is written in place: its extents must be\n"
	"written and not shared, and neither size nor times change.\n";

static size_t get(int fd, const char *name, char *buf, size_t length)
{
	size_t done = 0;

	while (done < length) {
		ssize_t n = read(fd, buf + done, length - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			die("%s: %s", name, strerror(errno));
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return done;
}

/* What is in the disk's buffer, to @length bytes of the target at @logical. */
static int write_map(struct target *target, uint64_t logical, size_t length)
{
	struct disk *disk = &target->disk;
	const char *buf = snvme_mem_addr(disk->mem);

	for (size_t i = 0; i < target->map.count && length; i++) {
		const struct snvme_extent *extent = &target->map.extents[i];
		uint64_t skip = logical - extent->logical, n;
		int ret;

		/* The target was checked to have no gaps: the first that ends behind is the one. */
		if (extent->logical + extent->length <= logical)
			continue;
		n = extent->length - skip < length ? extent->length - skip : length;
		ret = snvme_write(disk->queue, disk->ns.nsid, buf, n, extent->physical + skip);
		if (ret)
			return ret;
		buf += n;
		logical += n;
		length -= n;
	}
	return 0;
}

int cmd_write(int argc, char **argv)
{
	static const struct option options[] = {
		{ "file", required_argument, NULL, 'f' },
		{ "offset", required_argument, NULL, 'b' },
		{ "size", required_argument, NULL, 's' },
		{ "input", required_argument, NULL, 'i' },
		{ "force", no_argument, NULL, 'F' },
		COMMON_OPTIONS
	};
	bool force = false, json = false, have_offset = false, have_size = false;
	const char *file = NULL, *input = "-";
	uint64_t offset = 0, size = 0, time = 0;
	struct target target;
	struct stat st;
	int c, ret, fd = STDIN_FILENO;

	while ((c = getopt_long(argc, argv, "o:h", options, NULL)) != -1) {
		switch (c) {
		case 'f':
			file = optarg;
			break;
		case 'b':
			offset = size_option("offset", optarg);
			have_offset = true;
			break;
		case 's':
			size = size_option("size", optarg);
			have_size = true;
			break;
		case 'i':
			input = optarg;
			break;
		case 'F':
			force = true;
			break;
		default:
			common_option(c, help, &json);
		}
	}
	if (argc - optind > 1)
		die_usage("write takes one device");
	if (!have_offset || !have_size)
		die_usage("write needs --offset and --size: what to write over is not guessed");

	target_open(&target, argv[optind], file);
	target_range(&target, offset, size, true);
	target_writable(&target, force);
	if (strcmp(input, "-")) {
		fd = open(input, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			die("%s: %s", input, strerror(errno));
	}
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && (uint64_t)st.st_size < size)
		die("%s has %lld bytes, fewer than --size=%" PRIu64, input, (long long)st.st_size,
		    size);

	disk_start(&target.disk);
	target_sync(&target);
	for (uint64_t done = 0; done < size;) {
		size_t n = size - done < DISK_BUFFER ? (size_t)(size - done) : DISK_BUFFER;
		uint64_t start;

		if (get(fd, input, snvme_mem_addr(target.disk.mem), n) != n)
			die("%s ended early: only the first %" PRIu64 " bytes were written", input,
			    done);
		start = now_ns();
		ret = write_map(&target, offset + done, n);
		if (ret)
			die("%s: writing at %" PRIu64 ": %s", target.name, offset + done,
			    snvme_strerror(ret));
		time += now_ns() - start;
		done += n;
	}
	if (target.disk.info.volatile_write_cache) {
		ret = snvme_flush(target.disk.queue, target.disk.ns.nsid);
		if (ret)
			die("%s: flush: %s", target.name, snvme_strerror(ret));
	}
	target_drop_cache(&target);
	if (json)
		json_print(json_pack("{s:o, s:s, s:I, s:I, s:f}", "target", json_text(target.name),
				     "device", target.disk.name, "offset", (json_int_t)offset,
				     "bytes", (json_int_t)size, "mb_per_s",
				     mb_per_s(size, time)));
	else
		printf("wrote %" PRIu64 " bytes of %s at %" PRIu64 ", %.1f MB/s\n", size,
		       target.name, offset, mb_per_s(size, time));
	target_close(&target);
	return 0;
}
