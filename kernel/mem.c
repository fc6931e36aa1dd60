// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that the controller may reach: pages of the process, pinned, or pages of ours, mapped for
 * DMA through the controller's own device and charged to RLIMIT_MEMLOCK; or pages of another device.
 */
#include <linux/dma-mapping.h>
#include <linux/highmem.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "trace.h"

/* Keeps every array below far from INT_MAX bytes, where the allocators complain. */
#define SNVME_MAX_PAGES		(128UL << (30 - PAGE_SHIFT))
#define SNVME_MAX_MEMS		65535

/* The pages go back to where they came from; nothing maps them for DMA any more. */
static void snvme_pages_put(struct snvme_memory *mem, unsigned long n)
{
	if (!mem->pages)
		return;
	if (mem->type == SNVME_MEM_USER)
		unpin_user_pages_dirty_lock(mem->pages, n, true);
	else
		release_pages(mem->pages, n);
	kvfree(mem->pages);
	mem->pages = NULL;
}

static void snvme_uncharge(struct snvme_memory *mem)
{
	account_locked_vm(mem->mm, mem->npages, false);
	mmdrop(mem->mm);
}

static int snvme_pages_pin(struct snvme_memory *mem, u64 addr)
{
	unsigned long done = 0;

	while (done < mem->npages) {
		int n = min_t(unsigned long, mem->npages - done, 1UL << 16);

		n = pin_user_pages_fast(addr + (done << PAGE_SHIFT), n, FOLL_WRITE | FOLL_LONGTERM,
					mem->pages + done);
		if (n <= 0) {
			snvme_pages_put(mem, done);
			return n ?: -EFAULT;
		}
		done += n;
		cond_resched();
	}
	return 0;
}

static int snvme_pages_alloc(struct snvme_memory *mem)
{
	/* Contiguous, yet with a count for each page: a mapping of the process may outlive us. */
	void *va = alloc_pages_exact(mem->npages << PAGE_SHIFT,
				     GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN);

	if (!va) {
		kvfree(mem->pages);
		mem->pages = NULL;
		return -ENOMEM;
	}
	for (unsigned long i = 0; i < mem->npages; i++)
		mem->pages[i] = virt_to_page(va + (i << PAGE_SHIFT));
	return 0;
}

/* Did the mapping of @page end up elsewhere, in a bounce buffer? Polled memory cannot live there. */
static bool snvme_bounced(struct device *dev, struct page *page, dma_addr_t dma)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	if (domain && (domain->type & __IOMMU_DOMAIN_PAGING))
		return iommu_iova_to_phys(domain, dma) != page_to_phys(page);
	return dma_need_sync(dev, dma);
}

/*
 * Memory that is polled is coherent, or refused: there is nothing to sync. So the same page may be mapped twice, by
 * two owners who share it.
 */
#define SNVME_DMA_ATTRS		DMA_ATTR_SKIP_CPU_SYNC

static int snvme_dma_map(struct device *dev, struct snvme_memory *mem)
{
	struct sg_dma_page_iter it;
	unsigned long i = 0;
	int ret;

	ret = sg_alloc_table_from_pages(&mem->own, mem->pages, mem->npages, 0,
					(u64)mem->npages << PAGE_SHIFT, GFP_KERNEL_ACCOUNT);
	if (ret)
		return ret;
	ret = dma_map_sgtable(dev, &mem->own, DMA_BIDIRECTIONAL, SNVME_DMA_ATTRS);
	if (ret)
		goto out_free;
	for_each_sgtable_dma_page(&mem->own, &it, 0) {
		if (snvme_bounced(dev, mem->pages[i], sg_page_iter_dma_address(&it))) {
			dev_err(dev, "snvme: the device reaches this memory only through bounce buffers\n");
			ret = -EOPNOTSUPP;
			goto out_unmap;
		}
		i++;
	}
	mem->sgt = &mem->own;
	return 0;
out_unmap:
	dma_unmap_sgtable(dev, &mem->own, DMA_BIDIRECTIONAL, SNVME_DMA_ATTRS);
out_free:
	sg_free_table(&mem->own);
	return ret;
}

static void snvme_dma_unmap(struct device *dev, struct snvme_memory *mem)
{
	dma_unmap_sgtable(dev, &mem->own, DMA_BIDIRECTIONAL, SNVME_DMA_ATTRS);
	sg_free_table(&mem->own);
	mem->sgt = NULL;
}

/**
 * snvme_mem_dma() - the DMA address of a range that is contiguous for the device
 * @mem: registered memory
 * @offset: of the range in it, page-aligned
 * @length: bytes, not zero
 * @dma: out
 * Return: 0; -EINVAL outside @mem or not contiguous; -ENODEV @mem was released, or taken away
 */
int snvme_mem_dma(const struct snvme_memory *mem, u64 offset, u64 length, dma_addr_t *dma)
{
	u64 size = (u64)mem->npages << PAGE_SHIFT, at = 0, found = 0;
	struct scatterlist *sg;
	int i;

	if (offset >= size || length > size - offset)
		return -EINVAL;
	if (!mem->sgt)
		return -ENODEV;
	for_each_sgtable_dma_sg(mem->sgt, sg, i) {
		if (found) {
			if (sg_dma_address(sg) != *dma + found)
				return -EINVAL;
			found += sg_dma_len(sg);
		} else if (offset < at + sg_dma_len(sg)) {
			*dma = sg_dma_address(sg) + offset - at;
			found = at + sg_dma_len(sg) - offset;
		}
		if (found >= length)
			return 0;
		at += sg_dma_len(sg);
	}
	return -EINVAL;
}

void snvme_mem_clear(const struct snvme_memory *mem, u64 offset, u64 length)
{
	while (length) {
		size_t in_page = offset_in_page(offset);
		size_t n = min_t(u64, length, PAGE_SIZE - in_page);

		memzero_page(mem->pages[offset >> PAGE_SHIFT], in_page, n);
		offset += n;
		length -= n;
	}
}

static int snvme_mem_check(const struct snvme_mem_register *arg)
{
	if (arg->flags || arg->reserved0 || arg->reserved[0] || arg->reserved[1])
		return -EINVAL;
	switch (arg->type) {
	case SNVME_MEM_USER:
		if (arg->fd || !PAGE_ALIGNED(arg->addr) || arg->addr + arg->length < arg->addr ||
		    arg->addr != (unsigned long)arg->addr)
			return -EINVAL;
		break;
	case SNVME_MEM_KERNEL:
		if (arg->fd || arg->addr || arg->length > SNVME_MAX_KERNEL_MEM)
			return -EINVAL;
		break;
	case SNVME_MEM_DMABUF:
		if (arg->addr)
			return -EINVAL;
		break;
	case SNVME_MEM_NVIDIA:
		if (!(snvme_p2p_caps() & SNVME_CAP_MEM_NVIDIA) || arg->fd ||
		    !IS_ALIGNED(arg->addr | arg->length, SNVME_NVIDIA_PAGE) ||
		    arg->addr + arg->length < arg->addr)
			return -EINVAL;
		break;
	default:
		return -EINVAL;
	}
	if (!arg->length || !PAGE_ALIGNED(arg->length) ||
	    arg->length >> PAGE_SHIFT > SNVME_MAX_PAGES)
		return -EINVAL;
	if (!arg->table != !arg->table_entries)
		return -EINVAL;
	if (arg->table && arg->table_entries < arg->length >> PAGE_SHIFT)
		return -ENOSPC;
	return 0;
}

/* The address table, in an array of its own: user memory is not written under a lock. */
static u64 *snvme_mem_table(struct snvme_memory *mem)
{
	u64 *table = kvmalloc_array(mem->npages, sizeof(u64), GFP_KERNEL_ACCOUNT);
	struct scatterlist *sg;
	unsigned long n = 0;
	int i;

	if (!table)
		return NULL;
	/* A dma-buf may have more than is asked for. */
	for_each_sgtable_dma_sg(mem->sgt, sg, i)
		for (u64 at = 0; at < sg_dma_len(sg) && n < mem->npages; at += PAGE_SIZE)
			table[n++] = sg_dma_address(sg) + at;
	return table;
}

/* Give mapped memory a handle, and its @table if one is asked for; with s->lock held. */
static int snvme_mem_publish(struct snvme_session *s, struct snvme_memory *mem,
			     const struct snvme_mem_register *arg, u32 *handle, u64 **table)
{
	int ret;

	if (arg->table) {
		*table = snvme_mem_table(mem);
		if (!*table)
			return -ENOMEM;
	}
	/* Visible from here on: the driver's end releases it with the others. */
	ret = xa_alloc(&s->mems, handle, mem, XA_LIMIT(1, SNVME_MAX_MEMS), GFP_KERNEL_ACCOUNT);
	if (!ret)
		trace_snvme_mem_register(s, mem);
	return ret == -EBUSY ? -ENOSPC : ret;
}

/* Pages of the process, or of ours. */
static int snvme_mem_register_host(struct snvme_session *s, struct snvme_memory *mem,
				   const struct snvme_mem_register *arg, u32 *handle, u64 **table)
{
	struct snvme_ctrl *ctrl = s->ctrl;
	int ret;

	mem->mm = current->mm;
	ret = account_locked_vm(mem->mm, mem->npages, true);
	if (ret)
		return ret;
	mmgrab(mem->mm);
	ret = -ENOMEM;
	mem->pages = kvmalloc_array(mem->npages, sizeof(*mem->pages), GFP_KERNEL_ACCOUNT);
	if (!mem->pages)
		goto out_uncharge;
	if (mem->type == SNVME_MEM_USER)
		ret = snvme_pages_pin(mem, arg->addr);
	else
		ret = snvme_pages_alloc(mem);
	if (ret)
		goto out_uncharge;

	mutex_lock(&s->lock);
	mutex_lock(&ctrl->lock);
	/* Under ctrl->lock the driver stays bound, and with it the device's DMA mapping. */
	ret = ctrl->unbound ? -ENODEV : snvme_dma_map(&ctrl->pdev->dev, mem);
	mutex_unlock(&ctrl->lock);
	if (ret)
		goto out_unlock;
	ret = snvme_mem_publish(s, mem, arg, handle, table);
	if (ret)
		/* Still under s->lock, which the driver's end needs before the device's DMA goes. */
		snvme_dma_unmap(&ctrl->pdev->dev, mem);
out_unlock:
	mutex_unlock(&s->lock);
	if (!ret)
		return 0;
	snvme_pages_put(mem, mem->npages);
out_uncharge:
	kvfree(mem->pages);
	snvme_uncharge(mem);
	return ret;
}

/* Pages of another device. */
static int snvme_mem_register_p2p(struct snvme_session *s, struct snvme_memory *mem,
				  const struct snvme_mem_register *arg, u32 *handle, u64 **table)
{
	int ret;

	mutex_lock(&s->p2p_lock);
	ret = snvme_p2p_map(s, mem, arg);
	if (!ret) {
		mutex_lock(&s->lock);
		ret = snvme_mem_publish(s, mem, arg, handle, table);
		mutex_unlock(&s->lock);
		snvme_p2p_unlock(mem);
		if (ret)
			snvme_p2p_release(mem);
	}
	mutex_unlock(&s->p2p_lock);
	return ret;
}

/**
 * snvme_mem_register() - SNVME_IOC_MEM_REGISTER
 * @s: the session
 * @arg: as the ABI has it; out fields filled on success
 * Return: 0 or a negative errno of the ABI
 */
int snvme_mem_register(struct snvme_session *s, struct snvme_mem_register *arg)
{
	struct snvme_ctrl *ctrl = smp_load_acquire(&s->ctrl);
	struct snvme_memory *mem;
	u64 *table = NULL;
	u32 handle;
	int ret;

	if (!ctrl)
		return -ENODEV;
	ret = snvme_mem_check(arg);
	if (ret)
		return ret;

	mem = kzalloc(sizeof(*mem), GFP_KERNEL_ACCOUNT);
	if (!mem)
		return -ENOMEM;
	mem->type = arg->type;
	mem->npages = arg->length >> PAGE_SHIFT;
	ret = snvme_charge_memory(s, mem->npages);
	if (ret) {
		kfree(mem);
		return ret;
	}
	if (mem->type == SNVME_MEM_USER || mem->type == SNVME_MEM_KERNEL)
		ret = snvme_mem_register_host(s, mem, arg, &handle, &table);
	else
		ret = snvme_mem_register_p2p(s, mem, arg, &handle, &table);
	if (ret) {
		snvme_uncharge_memory(s, mem->npages);
		kvfree(table);
		kfree(mem);
		return ret;
	}
	if (table && copy_to_user(u64_to_user_ptr(arg->table), table,
				  (arg->length >> PAGE_SHIFT) * sizeof(u64))) {
		snvme_mem_unregister(s, handle);
		ret = -EFAULT;
	}
	kvfree(table);
	arg->page_shift = PAGE_SHIFT;
	arg->handle = handle;
	arg->mmap_offset = arg->type != SNVME_MEM_KERNEL ? 0 :
		snvme_mmap_offset(SNVME_MMAP_KIND_MEM, (u64)handle << SNVME_MMAP_MEM_SHIFT);
	return ret;
}

/*
 * Take the pages out of @mem, unmapped for DMA, into @out; with s->lock held. The caller gives
 * them back with snvme_mem_put() once it is not.
 */
static void snvme_mem_strip(struct snvme_session *s, struct snvme_memory *mem,
			    struct snvme_memory *out)
{
	*out = *mem;
	/* Unless the end of the driver has taken it already. */
	if (mem->pages || mem->attach || mem->nvidia)
		trace_snvme_mem_unregister(s, mem);
	if (mem->pages)
		snvme_dma_unmap(&s->ctrl->pdev->dev, mem);
	mem->pages = NULL;
}

static void snvme_mem_put(struct snvme_memory *mem)
{
	if (!mem->pages)
		return;
	snvme_pages_put(mem, mem->npages);
	snvme_uncharge(mem);
}

/**
 * snvme_mem_unregister() - SNVME_IOC_MEM_UNREGISTER
 * @s: the session
 * @handle: the memory
 * Return: 0; -ENOENT; -EBUSY a ring lies in it; -EINTR a fatal signal came while a reset went on; -EIO the live
 * controller refuses to forget a dead queue, whose commands may still use it
 */
int snvme_mem_unregister(struct snvme_session *s, u32 handle)
{
	struct snvme_ctrl *ctrl = smp_load_acquire(&s->ctrl);
	struct snvme_memory *mem, pages;
	int ret;

	if (!ctrl)
		return -ENOENT;
	/*
	 * The controller may still carry out commands of a queue that is dead to us: in a reset, after one that left
	 * all queues in place (activation of firmware), and while memory is taken away.
	 */
	do {
		ret = snvme_wait_quiet(ctrl);
		if (ret)
			return ret;
		mutex_lock(&s->p2p_lock);
		mutex_lock(&s->lock);
		mem = xa_load(&s->mems, handle);
		ret = !mem ? -ENOENT : mem->rings ? -EBUSY : snvme_queues_delete_dead(s);
		if (!ret)
			break;
		mutex_unlock(&s->lock);
		mutex_unlock(&s->p2p_lock);
		if (ret != -EAGAIN)
			return ret;
		if (schedule_timeout_killable(SNVME_ASK_AGAIN))
			return -EINTR;
	} while (1);
	xa_erase(&s->mems, handle);
	snvme_mem_strip(s, mem, &pages);
	mutex_unlock(&s->lock);
	snvme_p2p_release(mem);
	mutex_unlock(&s->p2p_lock);
	snvme_mem_put(&pages);
	snvme_uncharge_memory(s, mem->npages);
	kfree(mem);
	return 0;
}

/*
 * Release all memory of a session: the device cannot reach it any more. The handles stay, so that
 * what the owner does with them goes on to be refused in order.
 */
void snvme_mems_release(struct snvme_session *s)
{
	struct snvme_memory *mem, pages;
	unsigned long i = 0;

	mutex_lock(&s->p2p_lock);
	for (;;) {
		mutex_lock(&s->lock);
		mem = xa_find(&s->mems, &i, ULONG_MAX, XA_PRESENT);
		if (mem)
			snvme_mem_strip(s, mem, &pages);
		mutex_unlock(&s->lock);
		if (!mem)
			break;
		snvme_p2p_release(mem);
		snvme_mem_put(&pages);
		i++;
	}
	mutex_unlock(&s->p2p_lock);
}
