/* SPDX-License-Identifier: GPL-2.0-only */
/* vssd.ko: virtual SSDs as PCI functions of this machine. */
#ifndef VSSD_KERNEL_H
#define VSSD_KERNEL_H

#include <linux/irqdomain.h>
#include <linux/msi.h>
#include <linux/pci.h>
#include <linux/types.h>

#include "pci.h"
#include "vssd.h"

#define VSSD_KERNEL_VECTORS	256	/* of MSI-X, at most */

/**
 * struct vssd_bus - a PCI root bus with one function, number 0
 * @pci: its configuration space. Guard: @lock
 * @regs: BAR 0, @msix: BAR 4: pages of this machine's memory that look like registers
 * @parent: of the next: gives each vector an interrupt of Linux's
 * @msi: what the function's driver gets them from
 * @virq: [VSSD_KERNEL_VECTORS] Linux's number of each vector's interrupt; 0: none
 * @pending: a bit for each vector that was raised while it was masked. The worker's
 */
struct vssd_bus {
	struct vssd_pci pci;
	spinlock_t lock;
	struct pci_sysdata sysdata;
	struct pci_bus *bus;
	struct pci_dev *pdev;
	void *regs;
	size_t regs_bytes;
	void *msix;
	size_t msix_bytes;
	struct fwnode_handle *fwnode;
	struct irq_domain *parent;
	struct irq_domain *msi;
	struct msi_domain_info msi_info;
	unsigned int virq[VSSD_KERNEL_VECTORS];
	DECLARE_BITMAP(pending, VSSD_KERNEL_VECTORS);
};

/* bus.c */

/* Memory for the BARs, the interrupts; nothing is seen by anybody yet. 0 or -errno. */
int vssd_bus_make(struct vssd_bus *b, const struct vssd_ctrl_config *config);
/* Let the PCI core find the function, and a driver take it: which wants answers at once. */
int vssd_bus_scan(struct vssd_bus *b, struct device *parent);
/* The driver lets go, which wants answers, too; then the function is gone. */
void vssd_bus_remove(struct vssd_bus *b);
void vssd_bus_free(struct vssd_bus *b);
/* Raise interrupt @vector, or leave it pending while it is masked. By the worker. */
void vssd_bus_raise(struct vssd_bus *b, u32 vector);
/* Raise what was pending and is not masked any more. */
void vssd_bus_unmask(struct vssd_bus *b);
/* Memory at DMA address @addr of the function, or NULL: see struct vssd_host. */
void *vssd_bus_translate(struct vssd_bus *b, u64 addr, size_t *length);

/* memory.c: a medium in memory. NULL: there is none */
struct vssd_media *vssd_memory_create(u64 size);

#endif /* VSSD_KERNEL_H */
