// SPDX-License-Identifier: MIT
/* From a name to a controller, and what it says of itself. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib.h"

/* NUMBER at *@s, which moves past it. */
static bool digits(const char **s)
{
	const char *start = *s;

	while (isdigit((unsigned char)**s))
		(*s)++;
	return *s > start && *s - start < 10;
}

/* Is it "nvmeN" (@ns false), or "nvmeNnM" (@ns true)? */
static bool nvme_name(const char *s, bool ns)
{
	if (strncmp(s, "nvme", 4))
		return false;
	s += 4;
	if (!digits(&s))
		return false;
	if (ns && (*s++ != 'n' || !digits(&s)))
		return false;
	return !*s;
}

bool snvme_pci_name(const char *s)
{
	static const char shape[] = "hhhh:hh:hh.h";
	size_t i = strspn(s, "0123456789abcdefABCDEF");

	/* Domains behind a VMD, say, have five digits; more than seven have no room in struct snvme_ctrl_info. */
	if (i > 4 && i <= 7)
		s += i - 4;
	for (i = 0; shape[i]; i++)
		if (shape[i] == 'h' ? !isxdigit((unsigned char)s[i]) : s[i] != shape[i])
			return false;
	return !s[i];
}

/* Is @controller on PCIe, with a path ("nvme0c1n2") to the multipath head @head ("nvme0n2")? */
static bool has_path(const char *controller, const char *head)
{
	unsigned int subsystem, ns, a, b, c;
	char path[64], transport[8] = "";
	bool found = false;
	struct dirent *e;
	FILE *f;
	DIR *d;

	snprintf(path, sizeof(path), "/sys/class/nvme/%.24s/transport", controller);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (fscanf(f, "%7s", transport) != 1)
		transport[0] = 0;
	fclose(f);
	*strrchr(path, '/') = 0;
	d = opendir(path);
	if (!d)
		return false;
	sscanf(head, "nvme%un%u", &subsystem, &ns);
	while (!found && (e = readdir(d)))
		found = sscanf(e->d_name, "nvme%uc%un%u", &a, &b, &c) == 3 && a == subsystem &&
			c == ns;
	closedir(d);
	return found && !strcmp(transport, "pcie");
}

/* The first controller among the entries of @dir; one with a path to @head, if not NULL. */
static int first_controller(const char *dir, const char *head, char *name, size_t size)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int ret = -ENOENT;

	if (!d)
		return -ENOENT;
	while (ret && (e = readdir(d)))
		if (nvme_name(e->d_name, false) && strlen(e->d_name) < size &&
		    (!head || has_path(e->d_name, head))) {
			strcpy(name, e->d_name);
			ret = 0;
		}
	closedir(d);
	return ret;
}

/* The controller behind namespace @ns, and its namespace identifier. */
static int namespace_controller(const char *ns, char *name, size_t size, uint32_t *nsid)
{
	char path[128], real[PATH_MAX];
	const char *base;
	FILE *f;
	int n;

	snprintf(path, sizeof(path), "/sys/class/block/%s/nsid", ns);
	f = fopen(path, "re");
	if (!f)
		return -ENOENT;
	n = fscanf(f, "%u", nsid);
	fclose(f);
	snprintf(path, sizeof(path), "/sys/class/block/%s/device", ns);
	if (n != 1 || !realpath(path, real))
		return -ENOENT;
	base = strrchr(real, '/') + 1;
	if (nvme_name(base, false) && strlen(base) < size) {
		strcpy(name, base);
		return 0;
	}
	/* A multipath head hangs off the subsystem: take a controller that it can be reached by. */
	return first_controller(real, ns, name, size);
}

const char *snvme_named(const char *name, const char *kind, uint32_t *nsid)
{
	const char *s = name + strlen(kind);

	*nsid = 0;
	if (strncmp(name, kind, strlen(kind)))
		return NULL;
	if (*s == 'n') {
		const char *number = ++s;

		if (!digits(&s) || *number == '0')
			return NULL;
		*nsid = (uint32_t)strtoul(number, NULL, 10);
	}
	return *s == ':' ? s + 1 : NULL;
}

/* Resolve what snvme_open() takes to a controller's name and a namespace, 0 for none named. */
static int resolve(const char *name, char *controller, size_t size, uint32_t *nsid)
{
	const char *base = strncmp(name, "/dev/", 5) ? name : name + 5;
	char path[128];

	*nsid = 0;
	if (nvme_name(base, true))
		return namespace_controller(base, controller, size, nsid);
	if (nvme_name(base, false)) {
		snprintf(path, sizeof(path), "/sys/class/nvme/%s", base);
		snprintf(controller, size, "%s", base);
		return access(path, F_OK) ? -ENOENT : 0;
	}
	if (snvme_pci_name(name)) {
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", name);
		if (access(path, F_OK))
			return -ENOENT;
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/nvme", name);
		return first_controller(path, NULL, controller, size) ? -EOPNOTSUPP : 0;
	}
	/* A way that this version does not know. */
	if (isalpha((unsigned char)*name) &&
	    name[strspn(name, "abcdefghijklmnopqrstuvwxyz-")] == ':')
		return -EOPNOTSUPP;
	if (strpbrk(base, "/:") || !*base)
		return -EINVAL;
	snprintf(path, sizeof(path), "/sys/class/block/%.64s/partition", base);
	if (!access(path, F_OK))
		return -EINVAL;
	snprintf(path, sizeof(path), "/sys/class/block/%.64s", base);
	return access(path, F_OK) ? -ENOENT : -EOPNOTSUPP;
}

/* A string field of Identify: padded with spaces, not terminated. */
static void text(char *to, const void *from, size_t length)
{
	memcpy(to, from, length);
	to[length] = 0;
	while (length && (to[length - 1] == ' ' || !to[length - 1]))
		to[--length] = 0;
}

/* A controller's only active namespace. */
static int only_namespace(struct snvme_ctrl *ctrl, void *buf, uint32_t *nsid)
{
	const struct snv_ns_list *list = buf;
	int ret = ctrl->ops->identify(ctrl, SNV_CNS_ACTIVE_NS_LIST, 0, buf);

	if (ret)
		return ret;
	*nsid = snv_le32_get(list->nsid[0]);
	if (!*nsid)
		return -ENOENT;
	return snv_le32_get(list->nsid[1]) ? -EINVAL : 0;
}

/* What does not change while the controller is open. */
static int learn(struct snvme_ctrl *ctrl, uint32_t nsid)
{
	struct snvme_ctrl_info *fixed = &ctrl->fixed;
	struct snv_id_ctrl *id = NULL;
	struct snvme_info info;
	uint64_t most;
	int ret = ctrl->ops->info(ctrl, &info);

	if (ret)
		return ret;
	if (posix_memalign((void **)&id, 4096, 4096))
		return -ENOMEM;
	ret = ctrl->ops->identify(ctrl, SNV_CNS_CTRL, 0, id);
	if (ret)
		goto out;
	ctrl->page_shift = info.page_shift;
	if (!fixed->name[0]) {
		snprintf(fixed->name, sizeof(fixed->name), "nvme%u", info.instance);
		snprintf(fixed->pci, sizeof(fixed->pci), "%04x:%02x:%02x.%x",
			 info.pci_domain & 0xfffffff, info.pci_bus & 0xff,
			 info.pci_devfn >> 3 & 0x1f, info.pci_devfn & 7);
	}
	text(fixed->serial, id->sn, sizeof(id->sn));
	text(fixed->model, id->mn, sizeof(id->mn));
	text(fixed->firmware, id->fr, sizeof(id->fr));
	fixed->nn = snv_le32_get(id->nn);
	fixed->max_entries = (info.cap & 0xffff) + 1;
	fixed->timeout_ms = (uint32_t)(info.cap >> 24 & 0xff) * 500;
	fixed->page_size = 1U << info.page_shift;
	fixed->volatile_write_cache = id->vwc & 1;
	/*
	 * One PRP list page for each command: it describes as many pages as it has entries. MDTS is
	 * in units of the smallest page that the controller can do.
	 */
	most = ((uint64_t)fixed->page_size / sizeof(__le64)) << info.page_shift;
	fixed->max_transfer = most;
	if (id->mdts && id->mdts < 32) {
		uint64_t mdts = 1ULL << (id->mdts + 12 + (info.cap >> 48 & 0xf));

		if (mdts < most)
			fixed->max_transfer = mdts;
	}
	ctrl->named_nsid = nsid;
out:
	free(id);
	return ret;
}

int snvme_open_by(int (*reach)(struct snvme_ctrl *ctrl, const void *arg), const void *arg,
		  uint32_t nsid, struct snvme_ctrl **out)
{
	struct snvme_ctrl *ctrl = calloc(1, sizeof(*ctrl));
	int ret;

	if (!ctrl)
		return -ENOMEM;
	pthread_mutex_init(&ctrl->lock, NULL);
	ret = reach(ctrl, arg);
	if (ret) {
		pthread_mutex_destroy(&ctrl->lock);
		free(ctrl);
		return ret;
	}
	ret = learn(ctrl, nsid);
	if (ret) {
		snvme_close(ctrl);
		return ret;
	}
	*out = ctrl;
	return 0;
}

SNVME_API int snvme_open(const char *name, struct snvme_ctrl **out)
{
	char controller[32];
	uint32_t nsid;
	const char *rest;
	int ret;

	rest = snvme_named(name, "vssd", &nsid);
	if (rest)
		return snvme_open_by(snvme_vssd_open, rest, nsid, out);
	rest = snvme_named(name, "vfio-user", &nsid);
	if (rest)
		return snvme_open_by(snvme_vfio_user_open, rest, nsid, out);
	rest = snvme_named(name, "vfio", &nsid);
	if (rest)
		return snvme_open_by(snvme_vfio_open, rest, nsid, out);
	ret = resolve(name, controller, sizeof(controller), &nsid);
	return ret ? ret : snvme_open_by(snvme_attach_open, controller, nsid, out);
}

SNVME_API void snvme_close(struct snvme_ctrl *ctrl)
{
	struct snvme_queue *q, *next;
	struct snvme_mem *mem, *next_mem;

	if (!ctrl)
		return;
	/*
	 * The newest first: who shares a completion queue before its owner. Memory goes after the
	 * transport's end, which also takes the queues along that the controller refuses to delete.
	 */
	for (q = ctrl->queues; q; q = next) {
		int ret;

		next = q->next;
		ret = snvme_queue_destroy(q);
		/* After a reset there is nothing that could be refused. */
		if (ret && !snvme_reset(ctrl))
			ret = snvme_queue_destroy(q);
		if (ret)
			snvme_queue_free(q);
	}
	ctrl->ops->close(ctrl);
	for (mem = ctrl->mems; mem; mem = next_mem) {
		next_mem = mem->next;
		snvme_mem_free(mem);
	}
	pthread_mutex_destroy(&ctrl->lock);
	free(ctrl);
}

SNVME_API int snvme_get_info(struct snvme_ctrl *ctrl, struct snvme_ctrl_info *out)
{
	struct snvme_info info;
	int ret = ctrl->ops->info(ctrl, &info);

	if (ret)
		return ret;
	if (info.state == SNVME_STATE_GONE)
		return -ENODEV;
	*out = ctrl->fixed;
	out->granted_sq = info.granted_sq;
	out->granted_cq = info.granted_cq;
	out->driver_queues = info.driver_queues;
	out->used_sq = info.used_sq;
	out->used_cq = info.used_cq;
	out->spare_sq = info.spare_sq;
	out->spare_cq = info.spare_cq;
	out->epoch = info.epoch;
	out->live = info.state == SNVME_STATE_LIVE;
	out->shadow_doorbells = !!(info.ctrl_flags & SNVME_CTRL_SHADOW);
	out->iommu = !!(info.ctrl_flags & SNVME_CTRL_IOMMU);
	out->events = SNV_LOAD_RELAXED(&ctrl->events);
	out->last_event = SNV_LOAD_RELAXED(&ctrl->last_event);
	return 0;
}

SNVME_API int snvme_reset(struct snvme_ctrl *ctrl)
{
	return ctrl->ops->reset ? ctrl->ops->reset(ctrl) : -EOPNOTSUPP;
}

SNVME_API int snvme_event_fd(const struct snvme_ctrl *ctrl)
{
	return ctrl->ops->event_fd ? ctrl->ops->event_fd(ctrl) : -EOPNOTSUPP;
}

/* Is it a command that whoever runs the controller has to give, or nobody? */
static bool reserved(const struct snvme_admin *cmd)
{
	switch (cmd->opcode) {
	case SNV_ADMIN_DELETE_SQ:
	case SNV_ADMIN_CREATE_SQ:
	case SNV_ADMIN_DELETE_CQ:
	case SNV_ADMIN_CREATE_CQ:
	case SNV_ADMIN_ASYNC_EVENT:
	case SNV_ADMIN_DBBUF:
		return true;
	case SNV_ADMIN_SET_FEATURES:
		return (cmd->cdw10 & 0xff) == SNV_FEAT_NUM_QUEUES;
	}
	return false;
}

SNVME_API int snvme_admin(struct snvme_ctrl *ctrl, struct snvme_admin *cmd)
{
	int ret;

	if (reserved(cmd) || cmd->length > 4096 || cmd->length % 4 || (cmd->length && !cmd->data))
		return -EINVAL;
	ret = ctrl->ops->admin(ctrl, cmd);
	/* Controllers report changes to everybody but him who made them. */
	if (cmd->opcode == SNV_ADMIN_FORMAT || cmd->opcode == SNV_ADMIN_NS_MGMT ||
	    cmd->opcode == SNV_ADMIN_NS_ATTACH)
		__atomic_fetch_add(&ctrl->ns_changes, 1, __ATOMIC_RELEASE);
	return ret;
}

SNVME_API int snvme_get_ns(struct snvme_ctrl *ctrl, uint32_t nsid, struct snvme_ns_info *info)
{
	struct snv_id_ns *id = NULL;
	const struct snv_lbaf *format;
	int ret;

	if (!nsid)
		nsid = ctrl->named_nsid;
	if (nsid > ctrl->fixed.nn)
		return -ENOENT;
	if (posix_memalign((void **)&id, 4096, 4096))
		return -ENOMEM;
	ret = nsid ? 0 : only_namespace(ctrl, id, &nsid);
	if (!ret)
		ret = ctrl->ops->identify(ctrl, SNV_CNS_NS, nsid, id);
	/* An inactive namespace reads as zeros; some controllers refuse to describe it. */
	if (ret == SNV_SC_INVALID_NS || (!ret && !snv_le64_get(id->nsze)))
		ret = -ENOENT;
	if (!ret) {
		/* FLBAS: bits 3:0, and 6:5 above them where there are more than 16 formats. */
		format = &id->lbaf[(id->flbas & 0xf) |
				   (id->nlbaf > 15 ? (id->flbas >> 1 & 0x30) : 0)];
		memset(info, 0, sizeof(*info));
		info->nsid = nsid;
		info->lba_size = format->ds < 32 ? 1U << format->ds : 0;
		info->metadata_size = snv_le16_get(format->ms);
		info->protection = id->dps & 7;
		info->blocks = snv_le64_get(id->nsze);
		if (info->lba_size < 512)
			ret = -EPROTO;
	}
	free(id);
	return ret;
}
