// SPDX-License-Identifier: MIT
/* snvme files: where files lie on their disk. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

static const char help[] =
	"usage: snvme files PATH... [-o human|json]\n\n"
	"Shows the extents of files: byte offsets in the file and in the namespace, and the first\n"
	"logical block. A snapshot: it holds while nobody truncates, punches or moves the file.\n";

static const struct {
	uint32_t flag;
	const char *name;
} flag_names[] = {
	{ SNVME_EXTENT_UNWRITTEN, "unwritten" },
	{ SNVME_EXTENT_UNMAPPED, "unmapped" },
	{ SNVME_EXTENT_SHARED, "shared" },
};

static json_t *extent_json(const struct snvme_extent *extent, uint32_t lba_size)
{
	bool mapped = !(extent->flags & SNVME_EXTENT_UNMAPPED);
	json_t *flags = json_array();

	for (size_t i = 0; i < sizeof(flag_names) / sizeof(flag_names[0]); i++)
		if (extent->flags & flag_names[i].flag)
			json_array_append_new(flags, json_string(flag_names[i].name));
	return json_pack("{s:I, s:o, s:I, s:o, s:o}", "logical", (json_int_t)extent->logical,
			 "physical",
			 mapped ? json_integer((json_int_t)extent->physical) : json_null(),
			 "length", (json_int_t)extent->length, "lba",
			 mapped ? json_integer((json_int_t)(extent->physical / lba_size)) :
				  json_null(),
			 "flags", flags);
}

static void print_extent(const struct snvme_extent *extent, uint32_t lba_size)
{
	char physical[24] = "-", lba[24] = "-";
	const char *separator = "";

	if (!(extent->flags & SNVME_EXTENT_UNMAPPED)) {
		snprintf(physical, sizeof(physical), "%" PRIu64, extent->physical);
		snprintf(lba, sizeof(lba), "%" PRIu64, extent->physical / lba_size);
	}
	printf("  %14" PRIu64 " %16s %14" PRIu64 " %14s  ", extent->logical, physical,
	       extent->length, lba);
	for (size_t i = 0; i < sizeof(flag_names) / sizeof(flag_names[0]); i++) {
		if (extent->flags & flag_names[i].flag) {
			printf("%s%s", separator, flag_names[i].name);
			separator = ",";
		}
	}
	putchar('\n');
}

/* One file; into @list if there is one. Return: 0, or -1 when it was complained about. */
static int show(const char *path, json_t *list)
{
	struct snvme_file_map map;
	json_t *extents = NULL;
	uint32_t lba_size = 512;
	char line[32];
	int ret, fd;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		complain("%s: %s", path, strerror(errno));
		return -1;
	}
	ret = snvme_file_map_get(fd, &map);
	close(fd);
	if (ret) {
		complain("%s: %s", path,
			 ret == -EINVAL	    ? "not a regular file" :
			 ret == -EOPNOTSUPP ? "not on a file system that lies directly on an NVMe namespace and shows its extents" :
					      snvme_strerror(ret));
		return -1;
	}
	if (!read_line(line, sizeof(line), "/sys/class/block/%s/queue/logical_block_size",
		       map.device))
		sscanf(line, "%u", &lba_size);
	if (list)
		extents = json_array();
	else
		printf("%s: %" PRIu64 " bytes on %s, %zu extents, blocks of %u bytes\n"
		       "  %14s %16s %14s %14s  %s\n",
		       path, map.size, map.device, map.count, lba_size, "LOGICAL", "PHYSICAL",
		       "LENGTH", "LBA", "FLAGS");
	for (size_t i = 0; i < map.count; i++) {
		if (list)
			json_array_append_new(extents, extent_json(&map.extents[i], lba_size));
		else
			print_extent(&map.extents[i], lba_size);
	}
	if (list)
		json_array_append_new(list,
				      json_pack("{s:o, s:s, s:I, s:I, s:o}", "path",
						json_text(path), "device", map.device, "size",
						(json_int_t)map.size, "lba_size",
						(json_int_t)lba_size, "extents", extents));
	snvme_file_map_free(&map);
	return 0;
}

int cmd_files(int argc, char **argv)
{
	json_t *list = NULL;
	bool json = common_options(argc, argv, help);
	int failed = 0;

	if (optind == argc)
		die_usage("files takes one path or more");
	if (json)
		list = json_array();
	for (int i = optind; i < argc; i++)
		failed |= show(argv[i], list);
	if (json)
		json_print(json_pack("{s:o}", "files", list));
	return failed ? EXIT_FAILED : 0;
}
