// SPDX-License-Identifier: MIT
/* What uses a range of a disk, against a made-up /sys and /proc. */
#include "../tap.h"
#include "../../tools/util.c"
#include "../../tools/sysfs.c"

#include <sys/stat.h>

#define MIB	(1024 * 1024ULL)
#define DISK	(1024 * MIB)

static char root[] = "/tmp/snvme-inuse-XXXXXX";

static void put(const char *path, const char *text)
{
	char full[PATH_SIZE];
	FILE *file;

	snprintf(full, sizeof(full), "%s/%s", root, path);
	for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(full, 0755);
		*slash = '/';
	}
	file = fopen(full, "w");
	if (!file || fputs(text, file) == EOF || fclose(file)) {
		perror(full);
		exit(1);
	}
}

static void put_disk(const char *name, const char *number, uint64_t bytes)
{
	char path[PATH_SIZE], text[32];

	snprintf(path, sizeof(path), "sys/class/block/%s/dev", name);
	put(path, number);
	snprintf(path, sizeof(path), "sys/class/block/%s/size", name);
	snprintf(text, sizeof(text), "%" PRIu64 "\n", bytes / 512);
	put(path, text);
	snprintf(path, sizeof(path), "sys/class/block/%s/queue/logical_block_size", name);
	put(path, "512\n");
}

/* In the disk's directory, and, as the kernel has it, in the list of all block devices. */
static void put_partition(const char *disk, const char *name, const char *number, uint64_t start,
			  uint64_t bytes)
{
	char dir[PATH_SIZE], path[PATH_SIZE + 32], link[PATH_SIZE + 32], text[32];

	snprintf(dir, sizeof(dir), "sys/class/block/%s/%s", disk, name);
	snprintf(path, sizeof(path), "%s/partition", dir);
	put(path, "1\n");
	snprintf(path, sizeof(path), "%s/dev", dir);
	put(path, number);
	snprintf(path, sizeof(path), "%s/start", dir);
	snprintf(text, sizeof(text), "%" PRIu64 "\n", start / 512);
	put(path, text);
	snprintf(path, sizeof(path), "%s/size", dir);
	snprintf(text, sizeof(text), "%" PRIu64 "\n", bytes / 512);
	put(path, text);
	snprintf(path, sizeof(path), "%s/%s", disk, name);
	snprintf(link, sizeof(link), "%s/sys/class/block/%s", root, name);
	if (symlink(path, link))
		perror(link);
}

static void check(const char *disk, uint64_t offset, uint64_t length, const char *want,
		  const char *name)
{
	char why[256] = "";
	int ret = range_in_use(root, disk, offset, length, why, sizeof(why));

	is(ret, want ? 1 : 0, "%s", name);
	is_str(why, want ? want : "", "%s: the reason", name);
}

int main(void)
{
	char command[64], why[64];
	struct ns_name *names;

	if (!mkdtemp(root))
		return 1;
	put("proc/self/mountinfo",
	    "25 1 0:22 / /proc rw shared:5 - proc proc rw\n"
	    "30 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
	    "31 30 259:3 / /with\\040blank\\134s rw - xfs /dev/nvme0n1p3 rw\n"
	    "32 30 254:1 / /lv rw shared:9 master:2 - ext4 /dev/mapper/vg-lv rw\n"
	    "33 30 0:44 /sub /many rw - btrfs /dev/nvme2n1 rw\n"
	    "garbage\n");
	put("proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
			  "/dev/nvme0n1p2                          partition\t1\t0\t-2\n");

	put_disk("nvme0n1", "259:0\n", DISK);
	put_partition("nvme0n1", "nvme0n1p1", "259:1\n", 1 * MIB, 100 * MIB);
	put_partition("nvme0n1", "nvme0n1p2", "259:2\n", 101 * MIB, 100 * MIB);
	put_partition("nvme0n1", "nvme0n1p3", "259:3\n", 201 * MIB, 100 * MIB);
	put_partition("nvme0n1", "nvme0n1p4", "259:4\n", 301 * MIB, 100 * MIB);
	put_partition("nvme0n1", "nvme0n1p5", "259:5\n", 401 * MIB, 100 * MIB);
	put_partition("nvme0n1", "nvme0n1p6", "259:6\n", 501 * MIB, 100 * MIB);
	put("sys/class/block/nvme0n1/nvme0n1p4/holders/dm-0", "");
	put("sys/class/block/nvme0n1/nvme0n1p5/holders/md0", "");
	put_disk("dm-0", "254:0\n", 100 * MIB);
	put("sys/class/block/dm-0/holders/dm-1", "");
	put_disk("dm-1", "254:1\n", 100 * MIB);
	put_disk("md0", "9:0\n", 100 * MIB);

	check("nvme0n1", 1 * MIB, 512, "nvme0n1p1 is mounted on /", "first byte of a mount");
	check("nvme0n1", 101 * MIB - 512, 512, "nvme0n1p1 is mounted on /", "last block of a mount");
	check("nvme0n1", 101 * MIB, 512, "nvme0n1p2 is swap space", "swap");
	check("nvme0n1", 201 * MIB, 512, "nvme0n1p3 is mounted on /with blank\\s",
	      "a mount point with escapes");
	check("nvme0n1", 301 * MIB, 512,
	      "nvme0n1p4 is part of dm-0, and dm-0 is part of dm-1, and dm-1 is mounted on /lv",
	      "a stack of devices that is mounted");
	check("nvme0n1", 401 * MIB, 512, "nvme0n1p5 is part of md0, and md0 is active",
	      "an array that is not mounted");
	check("nvme0n1", 501 * MIB, 100 * MIB, NULL, "a partition not in use");
	check("nvme0n1", 501 * MIB - 512, 1024, "nvme0n1p5 is part of md0, and md0 is active",
	      "a range that starts one block early");
	check("nvme0n1", 0, DISK, "nvme0n1p1 is mounted on /", "the whole disk");
	check("nvme0n1", 700 * MIB, 100 * MIB, NULL, "space outside partitions");
	check("nvme0n1", 0, 512,
	      "it holds the partition table of nvme0n1, whose partition nvme0n1p5 is in use",
	      "the partition table");
	check("nvme0n1", DISK - 33 * 512, 512,
	      "it holds the partition table of nvme0n1, whose partition nvme0n1p5 is in use",
	      "the copy of the partition table");
	check("nvme0n1", DISK - 34 * 512, 512, NULL, "the block before the copy");

	put_disk("nvme1n1", "259:10\n", DISK);
	put_partition("nvme1n1", "nvme1n1p1", "259:11\n", 1 * MIB, 100 * MIB);
	check("nvme1n1", 0, DISK, NULL, "a disk whose partitions are not in use");

	put_disk("nvme2n1", "259:20\n", DISK);
	check("nvme2n1", 512 * MIB, 512, "nvme2n1 is mounted on /many",
	      "a mount with a number of its own, by its source");
	put_disk("nvme2n11", "259:21\n", DISK);
	check("nvme2n11", 0, 512, NULL, "a name that starts like one in use");

	is(range_in_use(root, "nvme9n1", 0, 512, why, sizeof(why)), -ENOENT, "no such disk");

	put("sys/class/nvme/nvme0/nvme0n10/nsid", "10\n");
	put("sys/class/nvme/nvme0/nvme0n1/nsid", "1\n");
	put("sys/class/nvme/nvme0/nvme3c0n2/nsid", "2\n");
	put("sys/class/nvme/nvme0/model", "A model   \n");
	is(ctrl_namespaces(root, "nvme0", &names), 3, "three namespaces");
	ok(names[0].nsid == 1 && names[1].nsid == 2 && names[2].nsid == 10, "in order of nsid");
	is_str(names[1].name, "nvme3n2", "a path is named by what it leads to");
	is(names[0].bytes, DISK, "size");
	free(names);
	is(read_line(why, sizeof(why), "%s/sys/class/nvme/nvme0/model", root), 0, "an attribute");
	is_str(why, "A model", "without padding");

	snprintf(command, sizeof(command), "%s/proc/self/mountinfo", root);
	unlink(command);
	is(range_in_use(root, "nvme2n1", 0, 512, why, sizeof(why)), -ENOENT,
	   "without mountinfo there is no answer");
	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command) ? 1 : done();
}
