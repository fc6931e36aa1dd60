/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The configuration space of a virtual SSD as a PCI function (PCIe 5.0 section 7), for homes that show it as one:
 * power management, PCI Express, MSI-X. BAR 0 has the registers (NVMe over PCIe 3.1), BAR 2 the controller
 * memory buffer, if there is one, BAR 4 the MSI-X table and its pending bits. Their addresses are kept here;
 * what lies in them is the home's.
 */
#ifndef VSSD_PCI_H
#define VSSD_PCI_H

#include "vssd.h"

#define VSSD_PCI_CONFIG		256	/* bytes */
#define VSSD_PCI_BARS		6
#define VSSD_PCI_BAR_REGS	0
#define VSSD_PCI_BAR_CMB	2	/* CMBLOC.BIR */
#define VSSD_PCI_BAR_MSIX	4

/**
 * struct vssd_pci - a function
 * @bar_bytes: size of each BAR, a power of two; 0: there is none. Each is 64 bits wide, and has the next, too
 * @vectors: of MSI-X
 * @pba: where in BAR 4 the pending bits begin; the table begins at 0
 * @config: little-endian, as it is read
 * @writable: the bits of it that can be written
 */
struct vssd_pci {
	uint64_t bar_bytes[VSSD_PCI_BARS];
	uint32_t vectors;
	uint32_t pba;
	uint8_t config[VSSD_PCI_CONFIG];
	uint8_t writable[VSSD_PCI_CONFIG];
};

/* A function for a controller of @config, as after a reset. */
void vssd_pci_init(struct vssd_pci *pci, const struct vssd_ctrl_config *config);
/* Within the configuration space. */
void vssd_pci_read(const struct vssd_pci *pci, uint32_t offset, uint32_t length, uint8_t *to);
void vssd_pci_write(struct vssd_pci *pci, uint32_t offset, uint32_t length, const uint8_t *from);

#endif /* VSSD_PCI_H */
