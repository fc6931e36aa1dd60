/* SPDX-License-Identifier: GPL-2.0-only */
/* QEMU's ivshmem device, whose memory BAR plays that of a GPU. */
#ifndef TEST_IVSHMEM_H
#define TEST_IVSHMEM_H

#include <linux/err.h>
#include <linux/pci.h>

#define IVSHMEM_BAR	2

/* The device, switched on, or an ERR_PTR. */
static inline struct pci_dev *ivshmem_get(void)
{
	struct pci_dev *pdev = pci_get_device(0x1af4, 0x1110, NULL);
	int ret = pdev ? pci_enable_device(pdev) : -ENODEV;

	if (!ret)
		return pdev;
	pci_dev_put(pdev);
	return ERR_PTR(ret);
}

static inline void ivshmem_put(struct pci_dev *pdev)
{
	pci_disable_device(pdev);
	pci_dev_put(pdev);
}

#endif
