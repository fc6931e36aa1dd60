// SPDX-License-Identifier: MIT
/* snvme read: a range of a namespace or file, through a queue of one's own. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

static const char help[] =
	"usage: snvme read DEV|--file=PATH [--offset=B] [--size=B] [-O FILE|-] [-o human|json]\n\n"
	"Reads through a queue of its own and writes to --output (-O), standard output by default.\n"
	"Holes and unwritten extents of a file are zeros. Without --size, to the end.\n";

static void put(int fd, const char *name, const char *buf, size_t length)
{
	while (length) {
		ssize_t n = write(fd, buf, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			die("%s: %s", name, strerror(errno));
		buf += n;
		length -= (size_t)n;
	}
}

int cmd_read(int argc, char **argv)
{
	static const struct option options[] = {
		{ "file", required_argument, NULL, 'f' },
		{ "offset", required_argument, NULL, 'b' },
		{ "size", required_argument, NULL, 's' },
		{ "output", required_argument, NULL, 'O' },
		COMMON_OPTIONS
	};
	const char *file = NULL, *output = "-";
	uint64_t offset = 0, size = UINT64_MAX, time = 0;
	struct target target;
	bool json = false;
	int c, ret, fd = STDOUT_FILENO;

	while ((c = getopt_long(argc, argv, "O:o:h", options, NULL)) != -1) {
		switch (c) {
		case 'f':
			file = optarg;
			break;
		case 'b':
			offset = size_option("offset", optarg);
			break;
		case 's':
			size = size_option("size", optarg);
			break;
		case 'O':
			output = optarg;
			break;
		default:
			common_option(c, help, &json);
		}
	}
	if (argc - optind > 1)
		die_usage("read takes one device");
	if (json && !strcmp(output, "-"))
		die_usage("-o json needs --output=FILE: the data goes to standard output");

	target_open(&target, argv[optind], file);
	target_range(&target, offset, size, false);
	disk_start(&target.disk);
	if (strcmp(output, "-")) {
		fd = open(output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
		if (fd < 0)
			die("%s: %s", output, strerror(errno));
	}
	for (uint64_t done = 0; done < target.length;) {
		uint64_t start = now_ns(), left = target.length - done;
		size_t n = left < DISK_BUFFER ? (size_t)left : DISK_BUFFER;

		ret = disk_read_map(&target.disk, &target.map, target.offset + done, n);
		if (ret)
			die("%s: reading at %" PRIu64 ": %s", target.name, target.offset + done,
			    snvme_strerror(ret));
		time += now_ns() - start;
		put(fd, output, snvme_mem_addr(target.disk.mem), n);
		done += n;
	}
	if (fd != STDOUT_FILENO && close(fd))
		die("%s: %s", output, strerror(errno));
	if (json)
		json_print(json_pack("{s:o, s:s, s:I, s:I, s:f}", "target", json_text(target.name),
				     "device", target.disk.name, "offset",
				     (json_int_t)target.offset, "bytes", (json_int_t)target.length,
				     "mb_per_s", mb_per_s(target.length, time)));
	else if (fd != STDOUT_FILENO)
		printf("read %" PRIu64 " bytes of %s at %" PRIu64 ", %.1f MB/s\n", target.length,
		       target.name, target.offset, mb_per_s(target.length, time));
	target_close(&target);
	return 0;
}
