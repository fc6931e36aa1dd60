// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory of other devices, as dma-bufs: a GPU's, or whatever has a BAR. The one file that knows of
 * them.
 *
 * An exporter that moves its memory, or takes it away, calls snvme_p2p_move_notify() first. When that
 * returns, the controller touches the memory no more: all queues of the session have been deleted,
 * as any of them may have commands under way that point there, and nothing maps it. It is not mapped
 * again: the owner registers it anew.
 *
 * Of an attachment, the session's p2p_lock guards that it is there, and the dma-buf's reservation
 * lock, which the exporter holds while it calls us, that it is mapped.
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

#include "snvme.h"

MODULE_IMPORT_NS(DMA_BUF);

static void snvme_p2p_move_notify(struct dma_buf_attachment *attach)
{
	struct snvme_memory *mem = attach->importer_priv;
	struct snvme_session *s = mem->session;
	struct sg_table *sgt;

	dma_resv_assert_held(attach->dmabuf->resv);
	/* No queue is made from now on. */
	mutex_lock(&s->lock);
	sgt = mem->sgt;
	mem->sgt = NULL;
	s->lost += sgt != NULL;
	mutex_unlock(&s->lock);
	if (!sgt)
		return;
	dev_info(attach->dev, "snvme: %s takes memory away: the queues of its user end\n",
		 attach->dmabuf->exp_name);
	snvme_queues_revoke(s);
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
static long snvme_p2p_refused(const struct snvme_ctrl *ctrl, const struct dma_buf *dmabuf, long ret)
{
	if (ret == -ENOMEM || ret == -ENODEV || ret == -EINTR || ret == -ERESTARTSYS)
		return ret;
	dev_err(&ctrl->pdev->dev, "snvme: this device does not reach the memory of %s: %ld\n",
		dmabuf->exp_name, ret);
	return -EOPNOTSUPP;
}

/**
 * snvme_p2p_map() - have the controller reach a dma-buf
 * @s: the session, attached; its p2p_lock is held
 * @mem: with its size; on success it has an attachment and a mapping
 * @fd: the dma-buf
 * Return: 0, with the dma-buf's reservation lock held, for the caller to make @mem known under it, and
 * then to call snvme_p2p_unlock(); or a negative errno of the ABI
 */
int snvme_p2p_map(struct snvme_session *s, struct snvme_memory *mem, int fd)
{
	struct snvme_ctrl *ctrl = s->ctrl;
	struct device *dev = &ctrl->pdev->dev;
	struct dma_buf_attachment *attach;
	struct dma_buf *dmabuf;
	struct sg_table *sgt;
	long ret;

	/* The driver's end waits for p2p_lock before the device's DMA goes. */
	mutex_lock(&ctrl->lock);
	ret = ctrl->unbound ? -ENODEV : 0;
	mutex_unlock(&ctrl->lock);
	if (ret)
		return ret;
	dmabuf = dma_buf_get(fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	ret = -EINVAL;
	if ((u64)mem->npages << PAGE_SHIFT > dmabuf->size)
		goto out_put;
	mem->session = s;
	attach = dma_buf_dynamic_attach(dmabuf, dev, &snvme_p2p_ops, mem);
	if (IS_ERR(attach)) {
		ret = snvme_p2p_refused(ctrl, dmabuf, PTR_ERR(attach));
		goto out_put;
	}
	dma_resv_lock(dmabuf->resv, NULL);
	sgt = dma_buf_map_attachment(attach, DMA_BIDIRECTIONAL);
	if (IS_ERR(sgt)) {
		ret = snvme_p2p_refused(ctrl, dmabuf, PTR_ERR(sgt));
		goto out_unlock;
	}
	/* Whoever moved it here may still be copying. */
	ret = dma_resv_wait_timeout(dmabuf->resv, DMA_RESV_USAGE_KERNEL, false, MAX_SCHEDULE_TIMEOUT);
	if (ret >= 0)
		ret = snvme_p2p_fits(ctrl, mem, sgt) ? 0 : snvme_p2p_refused(ctrl, dmabuf, -EFAULT);
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

void snvme_p2p_unlock(struct snvme_memory *mem)
{
	dma_resv_unlock(mem->attach->dmabuf->resv);
}

/**
 * snvme_p2p_release() - the end of snvme_p2p_map(); no queue of the session uses the memory
 * @mem: may have been released already; p2p_lock is held
 */
void snvme_p2p_release(struct snvme_memory *mem)
{
	struct dma_buf_attachment *attach = mem->attach;
	struct dma_buf *dmabuf;

	if (!attach)
		return;
	dmabuf = attach->dmabuf;
	dma_resv_lock(dmabuf->resv, NULL);
	if (mem->sgt)
		dma_buf_unmap_attachment(attach, mem->sgt, DMA_BIDIRECTIONAL);
	mutex_lock(&mem->session->lock);
	mem->sgt = NULL;
	mem->attach = NULL;
	mutex_unlock(&mem->session->lock);
	dma_resv_unlock(dmabuf->resv);
	/* No notice comes after this. */
	dma_buf_detach(dmabuf, attach);
	dma_buf_put(dmabuf);
}
