// SPDX-License-Identifier: GPL-2.0-only
/*
 * A PCI root bus of our own with one function. Its BARs are pages of ordinary memory: nobody traps what the driver
 * writes there, the worker looks (ssd.c). No memory has to be reserved at boot: pages are marked as reserved,
 * which is what ioremap() asks of memory, and the BARs are not entered as resources of the machine, where
 * they would meet that memory. Interrupts come from a domain of our own: no message is ever sent.
 *
 * An IOMMU that covers all functions covers these, too: then what the workers reach is what it would let a function
 * reach. Intel's driver looks at the low 16 bits of a PCI domain's number, which are 0 in all of ours.
 */
#include <linux/delay.h>
#include <linux/idr.h>
#include <linux/iommu.h>
#include <linux/irq.h>
#include <linux/mm.h>
#include <linux/set_memory.h>

#include "vssd_kernel.h"

/* Domains of these numbers are not those of ACPI, nor of VMD. */
#define FIRST_DOMAIN	0x20000
#define DOMAIN_STEP	0x10000
#define DOMAINS		0xf00

static DEFINE_IDA(domains);

/* ---- configuration space ----------------------------------------------------------------------- */

static struct vssd_bus *bus_of(struct pci_bus *bus)
{
	return container_of(bus->sysdata, struct vssd_bus, sysdata);
}

static int config_read(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 *value)
{
	struct vssd_bus *b = bus_of(bus);
	u8 bytes[4] = { 0 };

	*value = ~0U;
	if (devfn)
		return PCIBIOS_DEVICE_NOT_FOUND;
	if (where + size > VSSD_PCI_CONFIG)
		return PCIBIOS_BAD_REGISTER_NUMBER;
	raw_spin_lock(&b->lock);
	vssd_pci_read(&b->pci, where, size, bytes);
	raw_spin_unlock(&b->lock);
	*value = bytes[0] | bytes[1] << 8 | bytes[2] << 16 | (u32)bytes[3] << 24;
	return PCIBIOS_SUCCESSFUL;
}

/*
 * Bus Master Enable (PCIe 7.5.1.1.3): a driver that has given up on us clears it and frees its memory. So whoever
 * plays the SSD asks vssd_bus_enter() first. Perhaps under a lock of Linux's, so that we cannot sleep, and it is not
 * waited for ever: a round takes microseconds, or a few milliseconds. One that takes longer, since it deallocates
 * memory, say, or has lost its processor, reaches no more of the host's memory than it has looked up already.
 *
 * Pairs: @master is stored, then @inside read, here; @inside is raised, then @master read, there.
 */
static void wait_outside(struct vssd_bus *b)
{
	smp_mb();
	for (u32 us = 0; us < 10000 && atomic_read(&b->inside); us++)
		udelay(1);
}

/* With b->lock. Is the host's memory out of reach from now on? */
static bool master_cleared(struct vssd_bus *b)
{
	bool master = b->pci.config[4] & 4;

	if (master == b->master)
		return false;
	if (!master)
		WRITE_ONCE(b->cut, true);
	WRITE_ONCE(b->master, master);
	return !master;
}

bool vssd_bus_enter(struct vssd_bus *b)
{
	atomic_inc(&b->inside);
	smp_mb__after_atomic();
	if (READ_ONCE(b->master) && !READ_ONCE(b->cut))
		return true;
	atomic_dec(&b->inside);
	return false;
}

void vssd_bus_leave(struct vssd_bus *b)
{
	atomic_dec_return_release(&b->inside);
}

bool vssd_bus_cut(struct vssd_bus *b)
{
	return READ_ONCE(b->cut) && !atomic_read(&b->inside);
}

void vssd_bus_mend(struct vssd_bus *b)
{
	/* Before the next round: what vssd_ctrl_cut() did. Partner: vssd_bus_enter(). */
	smp_store_release(&b->cut, false);
}

static int config_write(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 value)
{
	struct vssd_bus *b = bus_of(bus);
	const u8 bytes[4] = { value, value >> 8, value >> 16, value >> 24 };
	bool cleared;

	if (devfn)
		return PCIBIOS_DEVICE_NOT_FOUND;
	if (where + size > VSSD_PCI_CONFIG)
		return PCIBIOS_BAD_REGISTER_NUMBER;
	raw_spin_lock(&b->lock);
	vssd_pci_write(&b->pci, where, size, bytes);
	cleared = master_cleared(b);
	raw_spin_unlock(&b->lock);
	if (cleared)
		wait_outside(b);
	return PCIBIOS_SUCCESSFUL;
}

static struct pci_ops config_ops = { .read = config_read, .write = config_write };

/* ---- interrupts -------------------------------------------------------------------------------- */

static void irq_nothing(struct irq_data *d)
{
}

static int irq_affinity(struct irq_data *d, const struct cpumask *mask, bool force)
{
	irq_data_update_effective_affinity(d, mask);
	return IRQ_SET_MASK_OK_DONE;
}

static void irq_message(struct irq_data *d, struct msi_msg *msg)
{
	msg->address_hi = 0;
	msg->address_lo = 0;
	msg->data = (u32)d->hwirq;
}

static struct irq_chip parent_chip = {
	.name = "vssd",
	.irq_ack = irq_nothing,
	.irq_mask = irq_nothing,
	.irq_unmask = irq_nothing,
	.irq_set_affinity = irq_affinity,
	.irq_compose_msi_msg = irq_message,
};

static struct irq_chip msi_chip = {
	.name = "vssd-MSI-X",
	.irq_ack = irq_nothing,
	.irq_mask = pci_msi_mask_irq,
	.irq_unmask = pci_msi_unmask_irq,
};

/* MSI-X asks for one after the other. */
static int parent_alloc(struct irq_domain *domain, unsigned int virq, unsigned int n, void *arg)
{
	struct vssd_bus *b = domain->host_data;
	msi_alloc_info_t *info = arg;
	u32 vector = info->hwirq & 0x7ff;

	if (n != 1 || vector >= VSSD_KERNEL_VECTORS)
		return -EINVAL;
	irq_domain_set_info(domain, virq, vector, &parent_chip, b, handle_edge_irq, NULL, NULL);
	WRITE_ONCE(b->virq[vector], virq);
	return 0;
}

static void parent_free(struct irq_domain *domain, unsigned int virq, unsigned int n)
{
	struct irq_data *d = irq_domain_get_irq_data(domain, virq);
	struct vssd_bus *b = domain->host_data;

	WRITE_ONCE(b->virq[d->hwirq], 0);
	irq_domain_reset_irq_data(d);
}

static const struct irq_domain_ops parent_ops = { .alloc = parent_alloc, .free = parent_free };

static int make_interrupts(struct vssd_bus *b)
{
	b->fwnode = irq_domain_alloc_named_id_fwnode("vssd", b->sysdata.domain);
	if (!b->fwnode)
		return -ENOMEM;
	b->parent = irq_domain_create_tree(b->fwnode, &parent_ops, b);
	if (!b->parent)
		return -ENOMEM;
	b->msi_info.flags = MSI_FLAG_USE_DEF_DOM_OPS | MSI_FLAG_USE_DEF_CHIP_OPS | MSI_FLAG_PCI_MSIX;
	b->msi_info.chip = &msi_chip;
	b->msi_info.handler = handle_edge_irq;
	b->msi_info.handler_name = "edge";
	b->msi = pci_msi_create_irq_domain(b->fwnode, &b->msi_info, b->parent);
	if (!b->msi)
		return -ENOMEM;
	b->sysdata.fwnode = b->fwnode;
	return 0;
}

static bool masked(struct vssd_bus *b, u32 vector)
{
	/* Function mask, or not enabled; vector control bit 0 (PCIe 7.7.2). */
	u32 control = READ_ONCE(b->pci.config[0x93]), word = READ_ONCE(((u32 *)b->msix)[4 * vector + 3]);

	return (control & 0xc0) != 0x80 || word & 1;
}

void vssd_bus_raise(struct vssd_bus *b, u32 vector)
{
	unsigned long flags;
	unsigned int virq;

	if (vector >= b->pci.vectors)
		return;
	/* Not to be kept from it between looking and raising, while the driver gives its interrupts back. */
	local_irq_save(flags);
	virq = READ_ONCE(b->virq[vector]);
	if (!virq || masked(b, vector)) {
		set_bit(vector, b->pending);
	} else {
		clear_bit(vector, b->pending);
		generic_handle_irq(virq);
	}
	local_irq_restore(flags);
}

void vssd_bus_unmask(struct vssd_bus *b)
{
	u32 vector;

	for_each_set_bit(vector, b->pending, b->pci.vectors)
		vssd_bus_raise(b, vector);
}

/* ---- memory ------------------------------------------------------------------------------------ */

static void *bar_alloc(size_t bytes)
{
	void *va = alloc_pages_exact(bytes, GFP_KERNEL | __GFP_ZERO);

	for (size_t at = 0; va && at < bytes; at += PAGE_SIZE)
		SetPageReserved(virt_to_page(va + at));
	return va;
}

static void bar_free(void *va, size_t bytes)
{
	/* ioremap() of memory makes its own mapping an uncached one, and leaves it like that. */
	if (va)
		set_memory_wb((unsigned long)va, bytes >> PAGE_SHIFT);
	for (size_t at = 0; va && at < bytes; at += PAGE_SIZE)
		ClearPageReserved(virt_to_page(va + at));
	if (va)
		free_pages_exact(va, bytes);
}

void *vssd_bus_translate(struct vssd_bus *b, u64 addr, size_t *length)
{
	const size_t piece = 2 << 20;
	size_t left = piece - (addr & (piece - 1));
	struct iommu_domain *domain;

	/* Nothing once the driver has let go: nor is there its domain any more. */
	if (!READ_ONCE(b->master))
		return NULL;
	domain = iommu_get_domain_for_dev(&b->pdev->dev);
	if (domain && domain->type != IOMMU_DOMAIN_IDENTITY) {
		left = PAGE_SIZE - offset_in_page(addr);
		addr = iommu_iova_to_phys(domain, addr);
		if (!addr)
			return NULL;
	}
	if (!pfn_valid(PHYS_PFN(addr)))
		return NULL;
	*length = min(*length, left);
	return phys_to_virt(addr);
}

/* ---- coming and going -------------------------------------------------------------------------- */

/* Where the BAR is, and how large: as firmware would have left it. */
static void place(struct vssd_bus *b, u32 bar, void *va)
{
	u64 at = virt_to_phys(va);

	for (u32 i = 0; i < 8; i++) {
		u32 offset = 0x10 + 4 * bar + i;

		b->pci.config[offset] = (b->pci.config[offset] & ~b->pci.writable[offset]) |
					((at >> 8 * i) & b->pci.writable[offset]);
	}
}

int vssd_bus_make(struct vssd_bus *b, const struct vssd_ctrl_config *config)
{
	int domain = ida_alloc_max(&domains, DOMAINS - 1, GFP_KERNEL);

	if (domain < 0)
		return domain;
	raw_spin_lock_init(&b->lock);
	vssd_pci_init(&b->pci, config);
	b->sysdata.domain = FIRST_DOMAIN + domain * DOMAIN_STEP;
	b->sysdata.node = NUMA_NO_NODE;
	b->regs_bytes = b->pci.bar_bytes[VSSD_PCI_BAR_REGS];
	b->msix_bytes = b->pci.bar_bytes[VSSD_PCI_BAR_MSIX];
	b->regs = bar_alloc(b->regs_bytes);
	b->msix = bar_alloc(b->msix_bytes);
	if (!b->regs || !b->msix)
		return -ENOMEM;
	b->pending = b->msix + b->pci.pba;
	/* Masked, as after a reset. */
	for (u32 i = 0; i < b->pci.vectors; i++)
		((u32 *)b->msix)[4 * i + 3] = 1;
	place(b, VSSD_PCI_BAR_REGS, b->regs);
	place(b, VSSD_PCI_BAR_MSIX, b->msix);
	return make_interrupts(b);
}

int vssd_bus_scan(struct vssd_bus *b, struct device *parent)
{
	static const u32 bars[] = { VSSD_PCI_BAR_REGS, VSSD_PCI_BAR_MSIX };
	LIST_HEAD(resources);

	pci_lock_rescan_remove();
	/* No windows: what is in one is taken from the addresses that the IOMMU's driver gives away. */
	b->bus = pci_create_root_bus(parent, 0, &config_ops, &b->sysdata, &resources);
	if (!b->bus) {
		pci_unlock_rescan_remove();
		return -ENOMEM;
	}
	pci_scan_child_bus(b->bus);
	b->pdev = pci_get_slot(b->bus, 0);
	for (u32 i = 0; b->pdev && i < ARRAY_SIZE(bars); i++) {
		struct resource *r = &b->pdev->resource[bars[i]];
		void *va = bars[i] == VSSD_PCI_BAR_REGS ? b->regs : b->msix;

		/* Not as a resource of the machine: see above. It still has a place and a size, and stays there. */
		r->start = virt_to_phys(va);
		r->end = r->start + b->pci.bar_bytes[bars[i]] - 1;
		r->flags = IORESOURCE_MEM_64 | IORESOURCE_PCI_FIXED;
	}
	if (b->pdev)
		pci_bus_add_devices(b->bus);
	pci_unlock_rescan_remove();
	return b->pdev ? 0 : -ENODEV;
}

void vssd_bus_remove(struct vssd_bus *b)
{
	struct pci_host_bridge *bridge;

	if (!b->bus)
		return;
	bridge = pci_find_host_bridge(b->bus);
	pci_lock_rescan_remove();
	pci_stop_root_bus(b->bus);
	pci_remove_root_bus(b->bus);
	pci_unlock_rescan_remove();
	/* The last hold of it is that of whoever created the bus. */
	pci_free_host_bridge(bridge);
	b->bus = NULL;
}

void vssd_bus_free(struct vssd_bus *b)
{
	/* Nobody plays it any more, who would ask for its domain. */
	pci_dev_put(b->pdev);
	if (b->msi)
		irq_domain_remove(b->msi);
	if (b->parent)
		irq_domain_remove(b->parent);
	if (b->fwnode)
		irq_domain_free_fwnode(b->fwnode);
	bar_free(b->msix, b->msix_bytes);
	bar_free(b->regs, b->regs_bytes);
	if (b->sysdata.domain)
		ida_free(&domains, (b->sysdata.domain - FIRST_DOMAIN) / DOMAIN_STEP);
}
