/* SPDX-License-Identifier: GPL-2.0-only */
/* vssd.ko: virtual SSDs as PCI functions of this machine. */
#ifndef VSSD_KERNEL_H
#define VSSD_KERNEL_H

#include <linux/irqdomain.h>
#include <linux/msi.h>
#include <linux/pci.h>
#include <linux/types.h>

#include "media.h"
#include "pci.h"
#include "vssd.h"

#define VSSD_KERNEL_VECTORS	256	/* of MSI-X, at most */

/* ---- bus.c: a PCI function ---------------------------------------------------------------------- */

/**
 * struct vssd_bus - a PCI root bus with one function, number 0
 * @pci: its configuration space. Guard: @lock
 * @master: it may reach the host's memory, and raise interrupts
 * @cut: it might not meanwhile. Until the first thread has seen to it
 * @inside: threads in a round
 * @regs: BAR 0, @msix: BAR 4: pages of this machine's memory that look like registers
 * @parent: of the next: gives each vector an interrupt of Linux's
 * @msi: what the function's driver gets them from
 * @virq: [VSSD_KERNEL_VECTORS] Linux's number of each vector's interrupt; 0: none
 * @pending: the Pending Bit Array, in @msix
 */
struct vssd_bus {
	struct vssd_pci pci;
	raw_spinlock_t lock;
	bool master;
	bool cut;
	atomic_t inside;
	struct pci_sysdata sysdata;
	struct pci_bus *bus;
	struct pci_dev *pdev;
	void *regs;
	size_t regs_bytes;
	void *msix;
	size_t msix_bytes;
	unsigned long *pending;
	struct fwnode_handle *fwnode;
	struct irq_domain *parent;
	struct irq_domain *msi;
	struct msi_domain_info msi_info;
	unsigned int virq[VSSD_KERNEL_VECTORS];
};

/* Memory for the BARs, the interrupts; nothing is seen by anybody yet. 0 or -errno. */
int vssd_bus_make(struct vssd_bus *b, const struct vssd_ctrl_config *config);
/* Let the PCI core find the function, and a driver take it: which wants answers at once. */
int vssd_bus_scan(struct vssd_bus *b, struct device *parent);
/* The driver lets go, which wants answers, too; then the function is gone. */
void vssd_bus_remove(struct vssd_bus *b);
void vssd_bus_free(struct vssd_bus *b);
/* May a round begin that reaches the host's memory? Then vssd_bus_leave() ends it. */
bool vssd_bus_enter(struct vssd_bus *b);
void vssd_bus_leave(struct vssd_bus *b);
/* Was the host's memory out of reach? No round begins until vssd_bus_mend(), by the thread that asked. */
bool vssd_bus_cut(struct vssd_bus *b);
void vssd_bus_mend(struct vssd_bus *b);
/* Raise interrupt @vector, or leave it pending while it is masked. By any worker. */
void vssd_bus_raise(struct vssd_bus *b, u32 vector);
/* Raise what was pending and is not masked any more. */
void vssd_bus_unmask(struct vssd_bus *b);
/* Memory at DMA address @addr of the function, or NULL: see struct vssd_host, transient. */
void *vssd_bus_translate(struct vssd_bus *b, u64 addr, size_t *length);

/* ---- memory.c, memmap.c, file.c: media ----------------------------------------------------------- */

/* Pages that come when they are written. @shared: by several workers. NULL: there is no memory */
struct vssd_media *vssd_memory_create(u64 size, bool shared);
/* Memory that Linux was told at boot to leave alone. ERR_PTR: -EINVAL: it is not reserved; -EBUSY: another has; -ENOMEM. */
struct vssd_media *vssd_memmap_create(u64 start, u64 size, bool shared);
/* A regular file or a block device, by its absolute path; all of it. ERR_PTR: -EBUSY: somebody has it. */
struct vssd_media *vssd_file_create(const char *path);

/* ---- ssd.c: an SSD ------------------------------------------------------------------------------- */

/**
 * struct vssd_ssd_config - an SSD
 * @size: bytes; 0: all that @file or @memmap_size has, or 1 GiB of memory
 * @lba: bytes of a block
 * @queues: I/O queues of each kind
 * @threads: that play it
 * @zone_size, @zone_capacity: bytes, as struct vssd_ns_config; 0: no zones
 * @max_open, @max_active: of zones; 0: no limit
 * @memmap_at, @memmap_size: where it is kept, unless 0: physical memory
 * @file: where it is kept, unless NULL
 */
struct vssd_ssd_config {
	u64 size;
	u64 lba;
	u64 queues;
	u64 threads;
	u64 zone_size;
	u64 zone_capacity;
	u64 max_open;
	u64 max_active;
	u64 memmap_at;
	u64 memmap_size;
	char *file;
};

struct vssd_ssd;

/*
 * An SSD that is there: a driver may have it at once. @name: of up to 20 letters, its serial number.
 * ERR_PTR; a line in the log says why.
 */
struct vssd_ssd *vssd_ssd_start(const char *name, const struct vssd_ssd_config *config, struct device *parent);
/* It is pulled out: its driver lets go first. */
void vssd_ssd_stop(struct vssd_ssd *s);
/* The function's address. */
const char *vssd_ssd_pci(const struct vssd_ssd *s);

#endif /* VSSD_KERNEL_H */
