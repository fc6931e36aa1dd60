// SPDX-License-Identifier: MIT
/* A controller that the stock nvme driver runs, through snvme.ko. */
#include <errno.h>
#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib.h"

#define PAGE 4096UL

/* Doorbell pages are shared by queues and stay mapped until the end. */
struct doorbell_page {
	uint64_t offset;
	void *va;
};

struct attach {
	int fd;
	bool events;		/* the module tells of them */
	char device[48];
	const struct snvme_state_page *state;
	struct doorbell_page *page;
	size_t pages;
};

static int call(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) ? -errno : 0;
}

static void *map(int fd, size_t length, uint64_t offset, int prot)
{
	void *va = mmap(NULL, length, prot, MAP_SHARED, fd, (off_t)offset);

	return va == MAP_FAILED ? NULL : va;
}

static void attach_close(struct snvme_ctrl *ctrl)
{
	struct attach *a = ctrl->priv;

	for (size_t i = 0; i < a->pages; i++)
		munmap(a->page[i].va, PAGE);
	if (a->state)
		munmap((void *)a->state, PAGE);
	close(a->fd);
	free(a->page);
	free(a);
}

static int attach_info(struct snvme_ctrl *ctrl, struct snvme_info *info)
{
	struct attach *a = ctrl->priv;

	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	return call(a->fd, SNVME_IOC_INFO, info);
}

static int attach_admin(struct snvme_ctrl *ctrl, struct snvme_admin *arg)
{
	struct attach *a = ctrl->priv;
	struct nvme_admin_cmd cmd = {
		.opcode = arg->opcode,
		.nsid = arg->nsid,
		.addr = (uintptr_t)arg->data,
		.data_len = arg->length,
		.cdw10 = arg->cdw10,
		.cdw11 = arg->cdw11,
		.cdw12 = arg->cdw12,
		.cdw13 = arg->cdw13,
		.cdw14 = arg->cdw14,
		.cdw15 = arg->cdw15,
		.timeout_ms = arg->timeout_ms,
	};
	/* Opened for each: a descriptor that stays would keep the driver from being unloaded. */
	int fd = open(a->device, O_RDONLY | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return -errno;
	ret = ioctl(fd, NVME_IOCTL_ADMIN_CMD, &cmd);
	if (ret < 0)
		ret = -errno;
	close(fd);
	/* The name is another controller's once ours has let go of it. */
	if (SNV_LOAD_RELAXED(&a->state->ctrl_state) == SNVME_STATE_GONE)
		return -ENODEV;
	arg->result = cmd.result;
	return ret > 0 ? ret & (int)SNV_STATUS_CODE : ret;
}

/* By our module, since the driver's call wants CAP_SYS_ADMIN. */
static int attach_identify(struct snvme_ctrl *ctrl, uint32_t cns, uint32_t nsid, void *buf)
{
	struct attach *a = ctrl->priv;
	struct snvme_identify arg = {
		.size = sizeof(arg), .cns = cns, .nsid = nsid, .addr = (uintptr_t)buf,
	};
	int ret = call(a->fd, SNVME_IOC_IDENTIFY, &arg);

	return ret ? ret : (int)(arg.status & SNV_STATUS_CODE);
}

static int attach_mem_map(struct snvme_ctrl *ctrl, struct snvme_mem *mem)
{
	struct attach *a = ctrl->priv;
	struct snvme_mem_register arg = {
		.size = sizeof(arg),
		.type = SNVME_MEM_USER,
		.addr = (uintptr_t)mem->base,
		.length = mem->span,
		.table = (uintptr_t)mem->table,
		.table_entries = (uint32_t)mem->map.pages,
	};
	int ret = call(a->fd, SNVME_IOC_MEM_REGISTER, &arg);

	if (ret)
		return ret;
	mem->handle = arg.handle;
	mem->map.page_shift = arg.page_shift;
	return 0;
}

static int attach_release(struct attach *a, unsigned long cmd, uint32_t handle)
{
	struct snvme_handle arg = { .size = sizeof(arg), .handle = handle };

	return call(a->fd, cmd, &arg);
}

static int attach_mem_unmap(struct snvme_ctrl *ctrl, struct snvme_mem *mem)
{
	return attach_release(ctrl->priv, SNVME_IOC_MEM_UNREGISTER, mem->handle);
}

static int attach_ring_alloc(struct snvme_ctrl *ctrl, size_t length, void **va, uint32_t *handle)
{
	struct attach *a = ctrl->priv;
	struct snvme_mem_register arg = {
		.size = sizeof(arg), .type = SNVME_MEM_KERNEL, .length = length,
	};
	int ret = call(a->fd, SNVME_IOC_MEM_REGISTER, &arg);

	if (ret)
		return ret;
	*va = map(a->fd, length, arg.mmap_offset, PROT_READ | PROT_WRITE);
	if (!*va) {
		ret = -errno;
		attach_release(a, SNVME_IOC_MEM_UNREGISTER, arg.handle);
		return ret;
	}
	*handle = arg.handle;
	return 0;
}

static void attach_ring_free(struct snvme_ctrl *ctrl, size_t length, void *va, uint32_t handle)
{
	munmap(va, length);
	attach_release(ctrl->priv, SNVME_IOC_MEM_UNREGISTER, handle);
}

/* The doorbell page at @offset, mapped once. NULL with errno set. ctrl->lock is held. */
static char *doorbell_page(struct attach *a, uint64_t offset)
{
	struct doorbell_page *page;
	void *va;

	for (size_t i = 0; i < a->pages; i++)
		if (a->page[i].offset == offset)
			return a->page[i].va;
	page = realloc(a->page, (a->pages + 1) * sizeof(*page));
	if (!page)
		return NULL;
	a->page = page;
	va = map(a->fd, PAGE, offset, PROT_READ | PROT_WRITE);
	if (va)
		a->page[a->pages++] = (struct doorbell_page){ .offset = offset, .va = va };
	return va;
}

static int attach_queue_create(struct snvme_ctrl *ctrl, struct snvme_queue_create *arg,
			       struct snv_db *db, const uint32_t **state)
{
	struct attach *a = ctrl->priv;
	char *page, *shadow = NULL, *eventidx = NULL;
	int ret;

	/* The driver has not switched classes on. */
	if (arg->flags)
		return -EOPNOTSUPP;
	arg->size = sizeof(*arg);
	ret = call(a->fd, SNVME_IOC_QUEUE_CREATE, arg);
	if (ret)
		return ret;
	page = doorbell_page(a, arg->db_mmap_offset);
	if (page && arg->shadow_mmap_offset) {
		shadow = doorbell_page(a, arg->shadow_mmap_offset);
		eventidx = doorbell_page(a, arg->eventidx_mmap_offset);
	}
	if (!page || (arg->shadow_mmap_offset && (!shadow || !eventidx))) {
		ret = -errno;
		attach_release(a, SNVME_IOC_QUEUE_DESTROY, arg->handle);
		return ret;
	}
	db->mmio = (uint32_t *)(page + arg->db_offset);
	db->shadow = shadow ? (uint32_t *)(shadow + arg->shadow_offset) : NULL;
	db->eventidx = eventidx ? (uint32_t *)(eventidx + arg->shadow_offset) : NULL;
	*state = (const uint32_t *)((const char *)a->state + arg->state_offset);
	return 0;
}

static int attach_queue_destroy(struct snvme_ctrl *ctrl, uint32_t handle)
{
	return attach_release(ctrl->priv, SNVME_IOC_QUEUE_DESTROY, handle);
}

static int attach_event_fd(const struct snvme_ctrl *ctrl)
{
	const struct attach *a = ctrl->priv;

	return a->events ? a->fd : -EOPNOTSUPP;
}

static int attach_far_map(struct snvme_ctrl *ctrl, uint64_t va, int fd, size_t length, uint64_t *table,
			  struct snv_dma_map *map, uint32_t *handle)
{
	struct attach *a = ctrl->priv;
	struct snvme_mem_register arg = {
		.size = sizeof(arg),
		.type = SNVME_MEM_DMABUF,
		.length = length,
		.fd = fd,
		.table = (uintptr_t)table,
		.table_entries = (uint32_t)(length / PAGE),
	};
	int ret = call(a->fd, SNVME_IOC_MEM_REGISTER, &arg);

	(void)va;
	if (ret)
		return ret;
	map->page_shift = arg.page_shift;
	map->pages = length >> arg.page_shift;
	*handle = arg.handle;
	return 0;
}

static void attach_far_unmap(struct snvme_ctrl *ctrl, uint64_t va, size_t length, uint32_t handle)
{
	(void)va;
	(void)length;
	attach_release(ctrl->priv, SNVME_IOC_MEM_UNREGISTER, handle);
}

static const struct snvme_transport attach_ops = {
	.close = attach_close,
	.info = attach_info,
	.identify = attach_identify,
	.mem_map = attach_mem_map,
	.mem_unmap = attach_mem_unmap,
	.ring_alloc = attach_ring_alloc,
	.ring_free = attach_ring_free,
	.queue_create = attach_queue_create,
	.queue_destroy = attach_queue_destroy,
	.admin = attach_admin,
	.event_fd = attach_event_fd,
	.far_map = attach_far_map,
	.far_by_fd = true,
	.far_unmap = attach_far_unmap,
};

/* Attach to the driver's @controller, "nvme0". On success ctrl->ops and ctrl->priv are set. */
int snvme_attach_open(struct snvme_ctrl *ctrl, const void *controller)
{
	struct snvme_attach arg = { .size = sizeof(arg) };
	struct snvme_info info = { .size = sizeof(info) };
	struct attach *a = calloc(1, sizeof(*a));
	int ret;

	if (!a)
		return -ENOMEM;
	snprintf(a->device, sizeof(a->device), "/dev/%s", (const char *)controller);
	a->fd = open("/dev/snvme", O_RDWR | O_CLOEXEC);
	if (a->fd < 0) {
		ret = errno == ENOENT || errno == ENODEV ? -ENXIO : -errno;
		free(a);
		return ret;
	}
	ctrl->priv = a;
	ret = call(a->fd, SNVME_IOC_INFO, &info);
	if (ret || info.abi_version != SNVME_ABI_VERSION || !(info.caps & SNVME_CAP_IDENTIFY)) {
		ret = -EPROTO;
		goto out_close;
	}
	a->events = info.caps & SNVME_CAP_EVENTS;
	arg.fd = open(a->device, O_RDWR | O_CLOEXEC);
	if (arg.fd < 0) {
		ret = -errno;
		goto out_close;
	}
	ret = call(a->fd, SNVME_IOC_ATTACH, &arg);
	close(arg.fd);
	if (ret == -EBUSY)
		ret = -EAGAIN;		/* a new session is busy only with a reset */
	if (ret)
		goto out_close;
	a->state = map(a->fd, PAGE, SNVME_MMAP_STATE, PROT_READ);
	if (!a->state) {
		ret = -errno;
		goto out_close;
	}
	ctrl->ops = &attach_ops;
	return 0;
out_close:
	attach_close(ctrl);
	return ret;
}
