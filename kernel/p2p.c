// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory of other devices, as dma-bufs: a GPU's, or whatever has a BAR; and, if built so, that of NVIDIA
 * GPUs by its address. The one file that knows of either.
 *
 * An exporter that moves its memory, or takes it away, calls snvme_p2p_move_notify() first; NVIDIA's driver
 * calls snvme_nvidia_taken(). When that returns, the controller touches the memory no more: all queues of
 * the session have been deleted, as any of them may have commands under way that point there, and nothing
 * maps it. It is not mapped again: the owner registers it anew.
 *
 * Of an attachment, the session's p2p_lock guards that it is there, and the dma-buf's reservation
 * lock, which the exporter holds while it calls us, that it is mapped. For NVIDIA's see struct snvme_nvidia.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/iommu.h>
#include <linux/ioport.h>
#include <linux/module.h>
#include <linux/range.h>
#include <linux/version.h>

#include "trace.h"

MODULE_IMPORT_NS(DMA_BUF);

/* @who takes @mem away: what is to be unmapped now that the controller does not touch it, or NULL. */
static struct sg_table *snvme_p2p_revoke(struct snvme_memory *mem, const char *who)
{
	struct snvme_session *s = mem->session;
	struct sg_table *sgt;

	/* No queue is made from now on. */
	mutex_lock(&s->lock);
	sgt = mem->sgt;
	mem->sgt = NULL;
	s->lost += sgt != NULL;
	mutex_unlock(&s->lock);
	if (!sgt)
		return NULL;
	trace_snvme_mem_revoke(s, mem);
	dev_info(&s->ctrl->pdev->dev, "snvme: %s takes memory away: the queues of its user end\n", who);
	snvme_queues_revoke(s);
	return sgt;
}

/* Its owner, or the driver's end, gives @mem up: what is to be unmapped, or NULL if it was taken away. */
static struct sg_table *snvme_p2p_give_up(struct snvme_memory *mem)
{
	struct snvme_session *s = mem->session;
	struct sg_table *sgt;

	mutex_lock(&s->lock);
	sgt = mem->sgt;
	mem->sgt = NULL;
	mem->attach = NULL;
	mem->nvidia = NULL;
	s->lost -= sgt == NULL;
	mutex_unlock(&s->lock);
	return sgt;
}

static void snvme_p2p_move_notify(struct dma_buf_attachment *attach)
{
	struct sg_table *sgt;

	dma_resv_assert_held(attach->dmabuf->resv);
	sgt = snvme_p2p_revoke(attach->importer_priv, attach->dmabuf->exp_name);
	if (sgt)
		dma_buf_unmap_attachment(attach, sgt, DMA_BIDIRECTIONAL);
}

static const struct dma_buf_attach_ops snvme_p2p_ops = {
	.allow_peer2peer = true,
	.move_notify = snvme_p2p_move_notify,
};

static bool any_path;
module_param_named(p2p_any_path, any_path, bool, 0644);
MODULE_PARM_DESC(p2p_any_path, "let controllers use memory of devices in other PCI domains, below other root complexes, or of no device that is known (N): whether a path leads there is not known");

/* Which device has @phys in one of its BARs? With a reference, and that BAR's range; or NULL. */
static struct pci_dev *snvme_p2p_owner(phys_addr_t phys, struct range *bar)
{
	struct pci_dev *pdev = NULL;

	for_each_pci_dev(pdev)
		for (int i = 0; i < PCI_STD_NUM_BARS; i++) {
			bar->start = pci_resource_start(pdev, i);
			bar->end = pci_resource_end(pdev, i);
			if (pci_resource_flags(pdev, i) & IORESOURCE_MEM && phys >= bar->start && phys <= bar->end)
				return pdev;
		}
	*bar = (struct range){ .start = 1 };
	return NULL;
}

/*
 * Why nothing that @pdev sends to @owner's memory arrives, or NULL. A transaction that nobody forwards, or
 * that nobody answers, looks to the controller like a host that has failed.
 */
static const char *snvme_p2p_no_path(struct pci_dev *pdev, struct pci_dev *owner)
{
	u16 command;

	if (!any_path && pci_domain_nr(pdev->bus) != pci_domain_nr(owner->bus))
		return "it is in another PCI domain";
	if (!any_path && pci_find_host_bridge(pdev->bus) != pci_find_host_bridge(owner->bus))
		return "it is below another root complex";
	if (pci_read_config_word(owner, PCI_COMMAND, &command) || command == 0xffff)
		return "it does not answer";
	/* A virtual function's memory is switched by its physical one. */
	if (!owner->no_command_memory && !(command & PCI_COMMAND_MEMORY))
		return "its memory is switched off";
	return NULL;
}

/* Can the controller reach @phys? If it is a device's, @bar is where else it reaches. */
static bool snvme_p2p_reachable(struct pci_dev *pdev, phys_addr_t phys, struct range *bar)
{
	struct pci_dev *owner;
	const char *why;

	if (region_intersects(phys, PAGE_SIZE, IORESOURCE_SYSTEM_RAM, IORES_DESC_NONE) == REGION_INTERSECTS)
		return true;
	owner = snvme_p2p_owner(phys, bar);
	if (owner)
		why = snvme_p2p_no_path(pdev, owner);
	else
		why = any_path ? NULL : "no device has it in a BAR";
	if (why)
		dev_err(&pdev->dev, "snvme: no path to the memory at %pa%s%s: %s (p2p_any_path is %s)\n", &phys,
			owner ? " of " : "", owner ? pci_name(owner) : "", why, any_path ? "on" : "off");
	pci_dev_put(owner);
	return !why;
}

/* An address on the bus that both are on, not one that an IOMMU translates? */
static bool snvme_p2p_on_bus(struct scatterlist *sg)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	return sg_dma_is_bus_address(sg);
#else
	return sg_is_dma_bus_address(sg);
#endif
}

/* Each piece is of one device, or of the host. What the kernel has routed below one switch has a path. */
static bool snvme_p2p_has_path(const struct snvme_ctrl *ctrl, struct sg_table *sgt)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(&ctrl->pdev->dev);
	struct range bar = { .start = 1 };
	struct scatterlist *sg;
	int i;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		phys_addr_t phys = ctrl->iommu ? iommu_iova_to_phys(domain, sg_dma_address(sg)) :
						 sg_dma_address(sg);

		if (snvme_p2p_on_bus(sg) || (phys >= bar.start && phys <= bar.end))
			continue;
		if (!snvme_p2p_reachable(ctrl->pdev, phys, &bar))
			return false;
		cond_resched();
	}
	return true;
}

/* Whole pages, at least as many as @mem is to have, none of them a bounce buffer? */
static bool snvme_p2p_fits(const struct snvme_ctrl *ctrl, const struct snvme_memory *mem,
			   struct sg_table *sgt)
{
	struct scatterlist *sg;
	u64 pages = 0;
	int i;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		if (!PAGE_ALIGNED(sg_dma_address(sg)) || !PAGE_ALIGNED(sg_dma_len(sg)) ||
		    (!ctrl->iommu && dma_need_sync(&ctrl->pdev->dev, sg_dma_address(sg))))
			return false;
		pages += sg_dma_len(sg) >> PAGE_SHIFT;
	}
	return pages >= mem->npages;
}

/* What the exporter refused with, in the ABI's words; the log says it in ours. */
static long snvme_p2p_refused(const struct snvme_ctrl *ctrl, const char *who, long ret)
{
	if (ret == -ENOMEM || ret == -ENODEV || ret == -EINTR || ret == -ERESTARTSYS)
		return ret;
	dev_err(&ctrl->pdev->dev, "snvme: this device does not reach the memory of %s: %ld\n",
		who, ret);
	return -EOPNOTSUPP;
}

static int snvme_dmabuf_map(struct snvme_ctrl *ctrl, struct snvme_memory *mem, int fd)
{
	struct device *dev = &ctrl->pdev->dev;
	struct dma_buf_attachment *attach;
	struct dma_buf *dmabuf;
	struct sg_table *sgt;
	long ret;

	dmabuf = dma_buf_get(fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	ret = -EINVAL;
	if ((u64)mem->npages << PAGE_SHIFT > dmabuf->size)
		goto out_put;
	attach = dma_buf_dynamic_attach(dmabuf, dev, &snvme_p2p_ops, mem);
	if (IS_ERR(attach)) {
		ret = snvme_p2p_refused(ctrl, dmabuf->exp_name, PTR_ERR(attach));
		goto out_put;
	}
	dma_resv_lock(dmabuf->resv, NULL);
	sgt = dma_buf_map_attachment(attach, DMA_BIDIRECTIONAL);
	if (IS_ERR(sgt)) {
		ret = snvme_p2p_refused(ctrl, dmabuf->exp_name, PTR_ERR(sgt));
		goto out_unlock;
	}
	/* Whoever moved it here may still be copying. */
	ret = dma_resv_wait_timeout(dmabuf->resv, DMA_RESV_USAGE_KERNEL, false, MAX_SCHEDULE_TIMEOUT);
	if (ret >= 0)
		ret = snvme_p2p_fits(ctrl, mem, sgt) ? 0 :
		      snvme_p2p_refused(ctrl, dmabuf->exp_name, -EFAULT);
	if (!ret && !snvme_p2p_has_path(ctrl, sgt))
		ret = -EREMOTEIO;
	if (ret) {
		dma_buf_unmap_attachment(attach, sgt, DMA_BIDIRECTIONAL);
		goto out_unlock;
	}
	mem->attach = attach;
	mem->sgt = sgt;
	return 0;
out_unlock:
	dma_resv_unlock(dmabuf->resv);
	dma_buf_detach(dmabuf, attach);
out_put:
	dma_buf_put(dmabuf);
	return ret;
}

static void snvme_dmabuf_release(struct snvme_memory *mem)
{
	struct dma_buf_attachment *attach = mem->attach;
	struct dma_buf *dmabuf = attach->dmabuf;
	struct sg_table *sgt;

	dma_resv_lock(dmabuf->resv, NULL);
	sgt = snvme_p2p_give_up(mem);
	if (sgt)
		dma_buf_unmap_attachment(attach, sgt, DMA_BIDIRECTIONAL);
	dma_resv_unlock(dmabuf->resv);
	/* No notice comes after this. */
	dma_buf_detach(dmabuf, attach);
	dma_buf_put(dmabuf);
}

#ifdef SNVME_NVIDIA_P2P
#include <nv-p2p.h>

/**
 * struct snvme_nvidia - our hold of an NVIDIA GPU's memory
 * @lock: plays the reservation lock: guards what follows, and that the memory is mapped
 * @mem: NULL once its owner, or the driver's end, has given it up
 * @addr: the GPU's address of it
 * @table: NULL before NVIDIA's driver has given it out
 * @taken: the driver has taken the memory back, and @table with it
 * @done: it has, to the end of snvme_nvidia_taken()
 *
 * NVIDIA's driver calls snvme_nvidia_taken() with locks held that get_pages() and put_pages() wait for, and
 * so do its dma_map_pages() and others. @lock is held across none of them: those who call us wait for it.
 *
 * For that reason the mapping is ours, by dma_map_resource(). Were it made by dma_map_pages(), the callback
 * could neither wait for that to end, which may be waiting for the callback's own caller, nor let the driver
 * free the table that it works on. And what the driver maps, it unmaps only after the callback. No CPU cache
 * has what lies in a BAR, so there is nothing to sync, and two may map the same page.
 *
 * Registering: p2p_lock keeps our side to one at a time. The callback may come before get_pages() has
 * returned; under @lock it has either been, and there is no table any more, or it waits until the
 * memory is known and finds it mapped.
 *
 * Unregistering, the session's end and the driver's (unbinding) all release under p2p_lock, which the
 * callback does not take: whoever takes @lock first unmaps. Who comes later finds it done. The table
 * goes with the callback if that came; else with put_pages(). A callback that comes between @lock and
 * put_pages() finds @mem gone and only frees the table; put_pages() then knows no such table, which is
 * no error. After put_pages() none begins; one that runs is waited for by @done.
 */
struct snvme_nvidia {
	struct mutex lock;
	struct snvme_memory *mem;
	u64 addr;
	struct nvidia_p2p_page_table *table;
	bool taken;
	struct completion done;
};

/* The first @n pages. */
static void snvme_nvidia_unmap(struct device *dev, struct sg_table *sgt, unsigned int n)
{
	struct scatterlist *sg;
	unsigned int i;

	for_each_sg(sgt->sgl, sg, n, i)
		dma_unmap_resource(dev, sg_dma_address(sg), sg_dma_len(sg), DMA_BIDIRECTIONAL,
				   DMA_ATTR_SKIP_CPU_SYNC);
	sg_free_table(sgt);
}

/* NVIDIA's driver takes the memory back: cudaFree(), the end of a process, an error. */
static void snvme_nvidia_taken(void *data)
{
	struct snvme_nvidia *nv = data;
	struct sg_table *sgt;

	mutex_lock(&nv->lock);
	nv->taken = true;
	sgt = nv->mem ? snvme_p2p_revoke(nv->mem, "NVIDIA's driver") : NULL;
	if (sgt)
		snvme_nvidia_unmap(&nv->mem->session->ctrl->pdev->dev, sgt, sgt->nents);
	/* Not put_pages(): that would wait for us. */
	if (nv->table)
		nvidia_p2p_free_page_table(nv->table);
	nv->table = NULL;
	mutex_unlock(&nv->lock);
	/* Whoever waits for this frees @nv. */
	complete(&nv->done);
}

/* The end of @nv, which has no @mem any more. */
static void snvme_nvidia_put(struct snvme_nvidia *nv)
{
	struct nvidia_p2p_page_table *table;

	mutex_lock(&nv->lock);
	table = nv->table;
	mutex_unlock(&nv->lock);
	if (table)
		nvidia_p2p_put_pages(0, 0, nv->addr, table);
	if (READ_ONCE(nv->taken))
		wait_for_completion(&nv->done);
	kfree(nv);
}

/* Map what @table has: pages of 64 KiB; with the lock held. */
static int snvme_nvidia_map_pages(struct snvme_ctrl *ctrl, struct snvme_memory *mem,
				  const struct nvidia_p2p_page_table *table)
{
	unsigned int n = mem->npages / (SNVME_NVIDIA_PAGE >> PAGE_SHIFT), i;
	struct device *dev = &ctrl->pdev->dev;
	struct scatterlist *sg;
	int ret;

	if (!NVIDIA_P2P_PAGE_TABLE_VERSION_COMPATIBLE(table) ||
	    table->page_size != NVIDIA_P2P_PAGE_SIZE_64KB || table->entries < n) {
		dev_err(dev, "snvme: NVIDIA's driver has another table of pages: version %#x, size %u, %u of them\n",
			table->version, table->page_size, table->entries);
		return -EOPNOTSUPP;
	}
	ret = sg_alloc_table(&mem->own, n, GFP_KERNEL_ACCOUNT);
	if (ret)
		return ret;
	for_each_sgtable_sg(&mem->own, sg, i) {
		sg_dma_address(sg) = dma_map_resource(dev, table->pages[i]->physical_address,
						      SNVME_NVIDIA_PAGE, DMA_BIDIRECTIONAL,
						      DMA_ATTR_SKIP_CPU_SYNC);
		sg_dma_len(sg) = SNVME_NVIDIA_PAGE;
		if (dma_mapping_error(dev, sg_dma_address(sg))) {
			snvme_nvidia_unmap(dev, &mem->own, i);
			return -ENOMEM;
		}
	}
	ret = !snvme_p2p_fits(ctrl, mem, &mem->own) ?
			snvme_p2p_refused(ctrl, "NVIDIA's driver", -EFAULT) :
	      !snvme_p2p_has_path(ctrl, &mem->own) ? -EREMOTEIO : 0;
	if (ret)
		snvme_nvidia_unmap(dev, &mem->own, n);
	return ret;
}

static int snvme_nvidia_map(struct snvme_ctrl *ctrl, struct snvme_memory *mem, u64 addr)
{
	struct snvme_nvidia *nv = kzalloc(sizeof(*nv), GFP_KERNEL_ACCOUNT);
	struct nvidia_p2p_page_table *table = NULL;
	int ret;

	if (!nv)
		return -ENOMEM;
	mutex_init(&nv->lock);
	init_completion(&nv->done);
	nv->mem = mem;
	nv->addr = addr;
	ret = nvidia_p2p_get_pages(0, 0, addr, (u64)mem->npages << PAGE_SHIFT, &table,
				   snvme_nvidia_taken, nv);
	if (ret) {
		kfree(nv);
		return ret == -EINVAL ? ret : snvme_p2p_refused(ctrl, "NVIDIA's driver", ret);
	}
	mutex_lock(&nv->lock);
	if (!nv->taken) {
		nv->table = table;
		ret = snvme_nvidia_map_pages(ctrl, mem, table);
	} else {
		nvidia_p2p_free_page_table(table);
		ret = -ENODEV;
	}
	if (!ret) {
		mem->sgt = &mem->own;
		mem->nvidia = nv;
		return 0;
	}
	nv->mem = NULL;
	mutex_unlock(&nv->lock);
	snvme_nvidia_put(nv);
	return ret;
}

static void snvme_nvidia_unlock(struct snvme_memory *mem)
{
	mutex_unlock(&mem->nvidia->lock);
}

static void snvme_nvidia_release(struct snvme_memory *mem)
{
	struct snvme_nvidia *nv = mem->nvidia;
	struct sg_table *sgt;

	mutex_lock(&nv->lock);
	sgt = snvme_p2p_give_up(mem);
	if (sgt)
		snvme_nvidia_unmap(&mem->session->ctrl->pdev->dev, sgt, sgt->nents);
	nv->mem = NULL;
	mutex_unlock(&nv->lock);
	snvme_nvidia_put(nv);
}

#define SNVME_CAP_NVIDIA	SNVME_CAP_MEM_NVIDIA
#else
#define SNVME_CAP_NVIDIA	0

static int snvme_nvidia_map(struct snvme_ctrl *ctrl, struct snvme_memory *mem, u64 addr)
{
	return -EINVAL;
}

static void snvme_nvidia_unlock(struct snvme_memory *mem)
{
}

static void snvme_nvidia_release(struct snvme_memory *mem)
{
}
#endif

/* SNVME_CAP_* of the memory that this file knows */
u64 snvme_p2p_caps(void)
{
	return SNVME_CAP_MEM_DMABUF | SNVME_CAP_NVIDIA;
}

/**
 * snvme_p2p_map() - have the controller reach another device's memory
 * @s: the session, attached; its p2p_lock is held
 * @mem: with its type and size; on success it has a mapping
 * @arg: says where it is
 * Return: 0, with the lock held that keeps it from being taken away, for the caller to make @mem known
 * under it, and then to call snvme_p2p_unlock(); or a negative errno of the ABI
 */
int snvme_p2p_map(struct snvme_session *s, struct snvme_memory *mem,
		  const struct snvme_mem_register *arg)
{
	struct snvme_ctrl *ctrl = s->ctrl;
	bool unbound;

	/* The driver's end waits for p2p_lock before the device's DMA goes. */
	mutex_lock(&ctrl->lock);
	unbound = ctrl->unbound;
	mutex_unlock(&ctrl->lock);
	if (unbound)
		return -ENODEV;
	mem->session = s;
	return mem->type == SNVME_MEM_NVIDIA ? snvme_nvidia_map(ctrl, mem, arg->addr) :
					       snvme_dmabuf_map(ctrl, mem, arg->fd);
}

void snvme_p2p_unlock(struct snvme_memory *mem)
{
	if (mem->nvidia)
		snvme_nvidia_unlock(mem);
	else
		dma_resv_unlock(mem->attach->dmabuf->resv);
}

/**
 * snvme_p2p_release() - the end of snvme_p2p_map(); no queue of the session uses the memory
 * @mem: may have been released already; p2p_lock is held
 */
void snvme_p2p_release(struct snvme_memory *mem)
{
	if (mem->nvidia)
		snvme_nvidia_release(mem);
	else if (mem->attach)
		snvme_dmabuf_release(mem);
}
