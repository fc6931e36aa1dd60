// SPDX-License-Identifier: MIT
/* snvme bind, snvme unbind: a whole disk to vfio-pci, for snvme_open("vfio:..."), and back to the kernel's driver. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tool.h"

#define PCI		"/sys/bus/pci/devices/"
#define CLASS_NVME	"0x010802"
#define CLASS_BRIDGE	"0x06"

static const char bind_help[] =
	"usage: snvme bind DEV [-o human|json]\n\n"
	"Takes the controller DEV (/dev/nvme0 or a PCI address) and all its namespaces from the kernel's nvme\n"
	"driver and gives it to vfio-pci, so that vfio:ADDRESS can be opened. A disk that is in use is refused.\n";

static const char unbind_help[] =
	"usage: snvme unbind DEV [-o human|json]\n\n"
	"Gives the controller at the PCI address DEV back to the kernel's driver. One that is open is refused.\n";

/* 0 or -errno. */
static int try_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

static void write_file(const char *path, const char *text)
{
	int ret = try_file(path, text);

	if (ret)
		die("%s: %s", path, strerror(-ret));
}

/* The PCI address of a controller, however it is named. */
static void find_pci(const char *name, char *pci, size_t size)
{
	const char *base = strncmp(name, "/dev/", 5) ? name : name + 5;
	char path[PATH_MAX], class[16];
	unsigned int n;
	int end;

	if (sscanf(base, "nvme%u%n", &n, &end) == 1 && !base[end]) {
		if (read_line(pci, size, "/sys/class/nvme/%s/address", base))
			die("%s: no such device: snvme list shows those there are", name);
	} else if (sscanf(base, "nvme%un%u", &n, &n) == 2) {
		die("%s is a namespace: name its controller, all of which is moved", name);
	} else {
		snprintf(pci, size, "%s", name);
	}
	snprintf(path, sizeof(path), PCI "%s", pci);
	if (strchr(pci, '/') || !pci[0] || access(path, F_OK))
		die("%s: no such PCI device: snvme list shows those there are", name);
	read_line(class, sizeof(class), PCI "%s/class", pci);
	if (strcmp(class, CLASS_NVME))
		die("%s is not an NVMe controller", pci);
}

/* ---- is the disk in use? --------------------------------------------------------------------- */

/**
 * struct taken - a controller that is being taken from the kernel
 * @ctrl: its name, "nvme0"
 * @ns: its namespaces
 * @held: a descriptor for each, by which nobody else can mount it or build on it
 * @count: of both
 */
struct taken {
	char ctrl[32];
	struct ns_name *ns;
	int *held;
	size_t count;
};

/* "nvme0n1" of "nvme0n1" or "ng0n1", and "nvme0" itself. */
static bool is_part(const struct taken *taken, const char *name)
{
	if (!strcmp(name, taken->ctrl))
		return true;
	for (size_t i = 0; i < taken->count; i++)
		if (!strcmp(name, taken->ns[i].name) ||
		    (!strncmp(name, "ng", 2) && !strcmp(name + 2, taken->ns[i].name + 4)))
			return true;
	return false;
}

/* A device node of the controller, of a namespace, or of a partition of one? */
static bool names_part(const struct taken *taken, const struct stat *st)
{
	char path[64], real[PATH_MAX], *name, *parent;

	if (!S_ISBLK(st->st_mode) && !S_ISCHR(st->st_mode))
		return false;
	snprintf(path, sizeof(path), "/sys/dev/%s/%u:%u", S_ISBLK(st->st_mode) ? "block" : "char",
		 major(st->st_rdev), minor(st->st_rdev));
	if (!realpath(path, real))
		return false;
	name = strrchr(real, '/');
	*name = '\0';
	parent = strrchr(real, '/');
	return is_part(taken, name + 1) || (S_ISBLK(st->st_mode) && is_part(taken, parent + 1));
}

/* Ends the program if a link in /proc/@pid/@where, of what the process @has, is one of them. */
static void refuse_links(const struct taken *taken, const char *pid, const char *where, const char *has)
{
	char path[PATH_MAX], comm[32], **links;
	struct stat st;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%s/%s", pid, where);
	n = list_dir(path, &links);
	for (size_t i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "/proc/%s/%s/%s", pid, where, links[i]);
		if (stat(path, &st) || !names_part(taken, &st))
			continue;
		read_line(comm, sizeof(comm), "/proc/%s/comm", pid);
		die("%s is in use: %s (process %s) has it %s", taken->ctrl, comm, pid, has);
	}
	free_names(links, n);
}

/* Ends the program if a process has one of them open, which need not be exclusive, or mapped. */
static void refuse_open(const struct taken *taken)
{
	char **pids;
	size_t n = list_dir("/proc", &pids);

	for (size_t i = 0; i < n; i++) {
		if (pids[i][0] < '0' || pids[i][0] > '9' || atoi(pids[i]) == getpid())
			continue;
		refuse_links(taken, pids[i], "fd", "open");
		refuse_links(taken, pids[i], "map_files", "mapped");
	}
	free_names(pids, n);
}

/* Ends the program if a part is what files that match @pattern name: parts of the kernel that hold it unseen. */
static void refuse_named(const struct taken *taken, const char *pattern, const char *who)
{
	char path[PATH_MAX];
	struct stat st;
	glob_t found;

	if (glob(pattern, 0, NULL, &found))
		return;
	for (size_t i = 0; i < found.gl_pathc; i++)
		if (!read_line(path, sizeof(path), "%s", found.gl_pathv[i]) && !stat(path, &st) && names_part(taken, &st))
			die("%s is in use: %s has %s (%s)", taken->ctrl, who, path, found.gl_pathv[i]);
	globfree(&found);
}

/* Ends the program if anybody uses the controller. What is held so far is no use of it. */
static void take(struct taken *taken)
{
	struct snvme_ctrl_info info;
	struct snvme_ctrl *ctrl;
	char path[64], why[PATH_MAX];
	int ret;

	taken->count = ctrl_namespaces("", taken->ctrl, &taken->ns);
	taken->held = xcalloc(taken->count, sizeof(*taken->held));
	for (size_t i = 0; i < taken->count; i++) {
		ret = range_in_use("", taken->ns[i].name, 0, taken->ns[i].bytes, why, sizeof(why));
		if (ret > 0)
			die("%s is in use: %s", taken->ctrl, why);
		snprintf(path, sizeof(path), "/dev/%s", taken->ns[i].name);
		taken->held[i] = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
		if (ret < 0 || taken->held[i] < 0)
			die("cannot find out whether %s is in use: %s", taken->ns[i].name,
			    strerror(ret < 0 ? -ret : errno));
	}
	refuse_open(taken);
	refuse_named(taken, "/sys/block/loop*/loop/backing_file", "a loop device");
	refuse_named(taken, "/sys/kernel/config/nvmet/subsystems/*/namespaces/*/device_path", "an NVMe target");
	/* While we have it open, too, its last writer's close does not write back what is in the cache. */
	for (size_t i = 0; i < taken->count; i++)
		if (fsync(taken->held[i]))
			die("%s: %s", taken->ns[i].name, strerror(errno));
	ret = snvme_open(taken->ctrl, &ctrl);
	/* Nobody can have queues by a module that is not there, or does not take it. */
	if (ret == -ENXIO || ret == -EOPNOTSUPP)
		return;
	if (ret)
		die("cannot find out whether %s is in use: %s", taken->ctrl,
		    open_reason(taken->ctrl, ret, why, sizeof(why)));
	ret = snvme_get_info(ctrl, &info);
	snvme_close(ctrl);
	if (ret)
		die("%s: %s", taken->ctrl, snvme_strerror(ret));
	if (info.used_sq || info.used_cq)
		die("%s is in use: somebody has %u queues on it through snvme", taken->ctrl, info.used_sq);
}

/* ---- moving ------------------------------------------------------------------------------------ */

/* Ends the program unless vfio-pci could do it: an IOMMU, and a group without others' devices. */
static void check_group(const char *pci)
{
	char path[PATH_MAX], driver[64], class[16], **names;
	size_t n;

	if (access("/sys/bus/pci/drivers/vfio-pci", F_OK))
		die("vfio-pci is not loaded; run modprobe vfio-pci");
	snprintf(path, sizeof(path), PCI "%s/iommu_group/devices", pci);
	n = list_dir(path, &names);
	if (!n)
		die("%s is behind no IOMMU: switch it on in the firmware, and with intel_iommu=on where the kernel wants that",
		    pci);
	for (size_t i = 0; i < n; i++) {
		read_line(class, sizeof(class), PCI "%s/class", names[i]);
		if (!strcmp(names[i], pci) || !strncmp(class, CLASS_BRIDGE, strlen(CLASS_BRIDGE)) ||
		    link_name(driver, sizeof(driver), PCI "%s/driver", names[i]) || !strcmp(driver, "vfio-pci"))
			continue;
		die("%s shares its IOMMU group with %s, which %s drives: neither can be had without the other", pci,
		    names[i], driver);
	}
	free_names(names, n);
}

/*
 * From @driver, "" for none, to @to, or to whichever wants it if that is "". Whose it is now is in @now, "" for
 * nobody's. A driver that does not take it says so in the kernel's log.
 */
static void move(const char *pci, const char *driver, const char *to, char *now, size_t size)
{
	char override[PATH_MAX], path[PATH_MAX];
	int ret = 0;

	snprintf(override, sizeof(override), PCI "%s/driver_override", pci);
	write_file(override, to[0] ? to : "\n");
	if (driver[0]) {
		snprintf(path, sizeof(path), "/sys/bus/pci/drivers/%s/unbind", driver);
		ret = try_file(path, pci);
	}
	if (ret) {
		write_file(override, "\n");
		die("%s: %s", path, strerror(-ret));
	}
	try_file("/sys/bus/pci/drivers_probe", pci);
	link_name(now, size, PCI "%s/driver", pci);
}

static void to_vfio(const char *pci)
{
	struct taken taken = { .count = 0 };
	char driver[64], now[64], path[PATH_MAX], **names;
	size_t n;

	link_name(driver, sizeof(driver), PCI "%s/driver", pci);
	if (!strcmp(driver, "vfio-pci"))
		return;
	if (driver[0] && strcmp(driver, "nvme"))
		die("%s is driven by %s, not by nvme", pci, driver);
	check_group(pci);
	if (driver[0]) {
		snprintf(path, sizeof(path), PCI "%s/nvme", pci);
		n = list_dir(path, &names);
		if (n != 1)
			die("%s: its driver has not found a controller there, or not yet", pci);
		snprintf(taken.ctrl, sizeof(taken.ctrl), "%.31s", names[0]);
		free_names(names, n);
		take(&taken);
	}
	move(pci, driver, "vfio-pci", now, sizeof(now));
	if (!strcmp(now, "vfio-pci"))
		return;
	move(pci, now, "", now, sizeof(now));
	die("vfio-pci does not take %s: the kernel log (dmesg) says why; it is back with %s", pci,
	    now[0] ? now : "no driver");
}

/* Its new driver is in @now. */
static void from_vfio(const char *pci, char *now, size_t size)
{
	char driver[64], group[32], path[PATH_MAX];
	int fd;

	link_name(driver, sizeof(driver), PCI "%s/driver", pci);
	if (driver[0] && strcmp(driver, "vfio-pci"))
		die("%s is not with vfio-pci, but with %s", pci, driver);
	/* A group opens once; vfio-pci would wait for whoever has it to end. */
	link_name(group, sizeof(group), PCI "%s/iommu_group", pci);
	snprintf(path, sizeof(path), "/dev/vfio/%s", group);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 && errno == EBUSY)
		die("%s is in use: a process has %s open", pci, path);
	if (fd >= 0)
		close(fd);
	move(pci, driver, "", now, size);
	if (!now[0])
		die("no driver took %s: the kernel log (dmesg) says why", pci);
}

static int run(int argc, char **argv, bool to, const char *help)
{
	char pci[64], driver[64] = "vfio-pci";
	bool json = common_options(argc, argv, help);

	if (argc - optind != 1)
		die_usage("%s takes one controller", to ? "bind" : "unbind");
	find_pci(argv[optind], pci, sizeof(pci));
	if (to)
		to_vfio(pci);
	else
		from_vfio(pci, driver, sizeof(driver));
	if (json)
		json_print(json_pack("{s:s, s:s}", "pci", pci, "driver", driver));
	else if (to)
		printf("%s is with vfio-pci: open it as vfio:%s\n", pci, pci);
	else
		printf("%s is with %s\n", pci, driver);
	return 0;
}

int cmd_bind(int argc, char **argv)
{
	return run(argc, argv, true, bind_help);
}

int cmd_unbind(int argc, char **argv)
{
	return run(argc, argv, false, unbind_help);
}
