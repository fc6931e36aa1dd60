// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The configuration space of a virtual SSD. */
#include "core.h"
#include "pci.h"

#define PAGE_BYTES	4096U
#define MSIX_ENTRY	16U

/* Capabilities, in the order of their list. */
#define CAP_PM		0x40
#define CAP_EXPRESS	0x50
#define CAP_MSIX	0x90

/* The identifiers of machine models that belong to nobody: drivers know an SSD by its class. */
#define VENDOR		0x1234
#define DEVICE		0x5d5d
#define CLASS_NVME	0x010802

static void put(struct vssd_pci *pci, uint32_t at, uint32_t length, uint64_t value, uint64_t writable)
{
	for (uint32_t i = 0; i < length; i++) {
		pci->config[at + i] = (uint8_t)(value >> 8 * i);
		pci->writable[at + i] = (uint8_t)(writable >> 8 * i);
	}
}

static uint64_t power_of_two(uint64_t least)
{
	uint64_t bytes = PAGE_BYTES;

	while (bytes < least)
		bytes <<= 1;
	return bytes;
}

/* 64-bit memory (7.5.1.2.1): address bits that its size leaves can be written. */
static void put_bar(struct vssd_pci *pci, uint32_t bar, uint64_t bytes, bool prefetchable)
{
	pci->bar_bytes[bar] = bytes;
	put(pci, 0x10 + 4 * bar, 8, prefetchable ? 0xc : 0x4, ~(bytes - 1));
}

void vssd_pci_init(struct vssd_pci *pci, const struct vssd_ctrl_config *config)
{
	uint32_t queues = config->queues ? config->queues : 64;

	*pci = (struct vssd_pci){ .vectors = config->vectors ? config->vectors : queues + 1 };
	pci->pba = (pci->vectors * MSIX_ENTRY + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
	put(pci, 0x00, 4, VENDOR | DEVICE << 16, 0);
	/* Command: memory space, bus master, parity, SERR#, no INTx. Status: there are capabilities. */
	put(pci, 0x04, 4, 0x0010 << 16, 0x0546);
	put(pci, 0x08, 4, CLASS_NVME << 8, 0);
	put(pci, 0x0c, 4, 0, 0xff);
	put_bar(pci, VSSD_PCI_BAR_REGS, power_of_two(0x1000 + vssd_doorbell_bytes(config)), false);
	if (config->cmb_size)
		put_bar(pci, VSSD_PCI_BAR_CMB, power_of_two(config->cmb_size), true);
	put_bar(pci, VSSD_PCI_BAR_MSIX, power_of_two(pci->pba + (pci->vectors + 63) / 64 * 8), false);
	put(pci, 0x2c, 4, VENDOR | DEVICE << 16, 0);
	put(pci, 0x34, 4, CAP_PM, 0);
	/* No interrupt pin; the line is software's. */
	put(pci, 0x3c, 4, 0, 0xff);

	/* Version 3; D0 and D3hot, from which nothing is lost. */
	put(pci, CAP_PM, 8, 0x01 | CAP_EXPRESS << 8 | 0x0003 << 16 | 0x0008ULL << 32, 0x3ULL << 32);

	/* An endpoint, version 2: role-based error reporting, 256 bytes of payload; no FLR. 8 GT/s, 4 lanes. */
	put(pci, CAP_EXPRESS, 4, 0x10 | CAP_MSIX << 8 | 0x0002 << 16, 0);
	put(pci, CAP_EXPRESS + 4, 4, 0x8001, 0);
	put(pci, CAP_EXPRESS + 8, 4, 0x2810, 0x7fff);
	put(pci, CAP_EXPRESS + 12, 4, 0x43, 0);
	put(pci, CAP_EXPRESS + 16, 4, 0x43 << 16, 0x3);
	put(pci, CAP_EXPRESS + 44, 4, 0x0e, 0);
	put(pci, CAP_EXPRESS + 48, 4, 0x3, 0xf);

	/* Enable and function mask can be written. */
	put(pci, CAP_MSIX, 4, 0x11 | (pci->vectors - 1) << 16, 0xc000ULL << 16);
	put(pci, CAP_MSIX + 4, 4, VSSD_PCI_BAR_MSIX, 0);
	put(pci, CAP_MSIX + 8, 4, pci->pba | VSSD_PCI_BAR_MSIX, 0);
}

void vssd_pci_read(const struct vssd_pci *pci, uint32_t offset, uint32_t length, uint8_t *to)
{
	for (uint32_t i = 0; i < length; i++)
		to[i] = pci->config[offset + i];
}

void vssd_pci_write(struct vssd_pci *pci, uint32_t offset, uint32_t length, const uint8_t *from)
{
	uint8_t power = pci->config[CAP_PM + 4];

	for (uint32_t i = 0; i < length; i++) {
		uint8_t writable = pci->writable[offset + i];

		pci->config[offset + i] = (uint8_t)((pci->config[offset + i] & ~writable) |
						    (from[i] & writable));
	}
	/* D1 and D2 are not offered (7.5.2.2). */
	if (pci->config[CAP_PM + 4] % 4 == 1 || pci->config[CAP_PM + 4] % 4 == 2)
		pci->config[CAP_PM + 4] = power;
}
