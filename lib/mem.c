// SPDX-License-Identifier: MIT
/* Memory that the controller can reach. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib.h"

/* Of registered memory: no smaller than the controller's. */
static size_t page_size(const struct snvme_ctrl *ctrl)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return page > ctrl->fixed.page_size ? page : ctrl->fixed.page_size;
}

void *snvme_pages_alloc(size_t length, size_t align)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), slack = align > page ? align - page : 0;
	size_t span = (length + page - 1) & ~(page - 1), before;
	char *va;

	if (span < length || span + slack < span)
		return NULL;
	va = mmap(NULL, span + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (va == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)va & (align - 1);
	if (before)
		munmap(va, before);
	if (slack > before)
		munmap(va + before + span, slack - before);
	return va + before;
}

static int mem_register(struct snvme_ctrl *ctrl, void *addr, size_t length, bool owned,
			struct snvme_mem **out)
{
	size_t page = page_size(ctrl);
	uintptr_t first = (uintptr_t)addr & ~(page - 1);
	uintptr_t end = ((uintptr_t)addr + length + page - 1) & ~(page - 1);
	struct snvme_mem *mem;
	int ret;

	if (!length || end <= first || end - first < length)
		return -EINVAL;
	mem = calloc(1, sizeof(*mem));
	if (!mem)
		return -ENOMEM;
	mem->ctrl = ctrl;
	mem->addr = addr;
	mem->length = length;
	mem->base = (char *)first;
	mem->head = (uintptr_t)addr - first;
	mem->span = end - first;
	mem->owned = owned;
	mem->page_mask = page - 1;
	if (length >= ctrl->fixed.page_size)
		mem->sure = length - ctrl->fixed.page_size + 1;
	mem->map.pages = mem->span / page;
	mem->table = malloc(mem->map.pages * sizeof(*mem->table));
	mem->map.addr = (const __u64 *)mem->table;
	if (!mem->table) {
		free(mem);
		return -ENOMEM;
	}

	pthread_mutex_lock(&ctrl->lock);
	ret = 0;
	for (struct snvme_mem *m = ctrl->mems; m && !ret; m = m->next)
		if ((char *)addr < (char *)m->addr + m->length &&
		    (char *)m->addr < (char *)addr + length)
			ret = -EEXIST;
	if (!ret)
		ret = ctrl->ops->mem_map(ctrl, mem);
	if (!ret) {
		mem->next = ctrl->mems;
		ctrl->mems = mem;
	}
	pthread_mutex_unlock(&ctrl->lock);
	if (ret) {
		free(mem->table);
		free(mem);
		return ret;
	}
	*out = mem;
	return 0;
}

SNVME_API int snvme_mem_register(struct snvme_ctrl *ctrl, void *addr, size_t length,
				 struct snvme_mem **mem)
{
	return mem_register(ctrl, addr, length, false, mem);
}

SNVME_API int snvme_mem_alloc(struct snvme_ctrl *ctrl, size_t length, struct snvme_mem **mem)
{
	void *va;
	int ret;

	if (!length)
		return -EINVAL;
	va = snvme_pages_alloc(length, page_size(ctrl));
	if (!va)
		return -ENOMEM;
	ret = mem_register(ctrl, va, length, true, mem);
	if (ret)
		munmap(va, length);
	return ret;
}

SNVME_API void *snvme_mem_addr(const struct snvme_mem *mem)
{
	return mem->addr;
}

SNVME_API size_t snvme_mem_length(const struct snvme_mem *mem)
{
	return mem->length;
}

/* Free what the controller does not reach any more. */
void snvme_mem_free(struct snvme_mem *mem)
{
	if (mem->owned)
		munmap(mem->addr, mem->length);
	free(mem->table);
	free(mem);
}

SNVME_API int snvme_mem_release(struct snvme_mem *mem)
{
	struct snvme_mem **at;
	struct snvme_ctrl *ctrl;

	if (!mem)
		return 0;
	ctrl = mem->ctrl;
	pthread_mutex_lock(&ctrl->lock);
	for (at = &ctrl->mems; *at != mem; at = &(*at)->next)
		;
	*at = mem->next;
	pthread_mutex_unlock(&ctrl->lock);
	ctrl->ops->mem_unmap(ctrl, mem);
	snvme_mem_free(mem);
	return 0;
}

/* The registered memory that holds @length bytes from @addr on, or NULL. */
struct snvme_mem *snvme_mem_find(struct snvme_ctrl *ctrl, const void *addr, size_t length)
{
	struct snvme_mem *mem;

	pthread_mutex_lock(&ctrl->lock);
	for (mem = ctrl->mems; mem; mem = mem->next) {
		size_t offset = (size_t)((const char *)addr - (const char *)mem->addr);

		if ((const char *)addr >= (const char *)mem->addr && offset <= mem->length &&
		    length <= mem->length - offset)
			break;
	}
	pthread_mutex_unlock(&ctrl->lock);
	return mem;
}
