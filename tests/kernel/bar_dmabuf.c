// SPDX-License-Identifier: GPL-2.0-only
/*
 * Plays a GPU: the memory BAR of QEMU's ivshmem device as dma-bufs, which can be taken away at any
 * moment. For tests only: whoever opens the device may have any part of the BAR.
 */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "bar_dmabuf.h"
#include "ivshmem.h"

static struct pci_dev *bar_dev;

/**
 * struct bar_buf - what a dma-buf is of
 * @phys: where it begins
 * @length: bytes
 * @piece: see struct bar_export; not 0
 * @revoked: guarded by the reservation lock, as is the next
 * @mapped: by so many
 */
struct bar_buf {
	phys_addr_t phys;
	u64 length;
	u64 piece;
	bool revoked;
	unsigned int mapped;
};

static int bar_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	/* There is no other memory that it could move to. */
	return attach->peer2peer ? 0 : -EOPNOTSUPP;
}

static int bar_pin(struct dma_buf_attachment *attach)
{
	struct bar_buf *buf = attach->dmabuf->priv;

	return buf->revoked ? -ENODEV : 0;
}

static void bar_unpin(struct dma_buf_attachment *attach)
{
}

static void bar_unmap_pieces(struct device *dev, struct sg_table *sgt, unsigned int n,
			     enum dma_data_direction dir)
{
	struct scatterlist *sg;
	unsigned int i;

	for_each_sg(sgt->sgl, sg, n, i)
		dma_unmap_resource(dev, sg_dma_address(sg), sg_dma_len(sg), dir,
				   DMA_ATTR_SKIP_CPU_SYNC);
	sg_free_table(sgt);
	kfree(sgt);
}

static struct sg_table *bar_map(struct dma_buf_attachment *attach, enum dma_data_direction dir)
{
	struct bar_buf *buf = attach->dmabuf->priv;
	unsigned int n = buf->length / buf->piece, i;
	struct scatterlist *sg;
	struct sg_table *sgt;
	int ret;

	if (buf->revoked)
		return ERR_PTR(-ENODEV);
	sgt = kzalloc(sizeof(*sgt), GFP_KERNEL);
	if (!sgt)
		return ERR_PTR(-ENOMEM);
	ret = sg_alloc_table(sgt, n, GFP_KERNEL);
	if (ret) {
		kfree(sgt);
		return ERR_PTR(ret);
	}
	for_each_sgtable_sg(sgt, sg, i) {
		dma_addr_t dma = dma_map_resource(attach->dev, buf->phys + (n - 1 - i) * buf->piece,
						  buf->piece, dir, DMA_ATTR_SKIP_CPU_SYNC);

		if (dma_mapping_error(attach->dev, dma)) {
			bar_unmap_pieces(attach->dev, sgt, i, dir);
			return ERR_PTR(-EIO);
		}
		sg_dma_address(sg) = dma;
		sg_dma_len(sg) = buf->piece;
	}
	buf->mapped++;
	return sgt;
}

static void bar_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
		      enum dma_data_direction dir)
{
	struct bar_buf *buf = attach->dmabuf->priv;

	buf->mapped--;
	bar_unmap_pieces(attach->dev, sgt, sgt->nents, dir);
}

static void bar_release(struct dma_buf *dmabuf)
{
	struct bar_buf *buf = dmabuf->priv;

	WARN_ON(buf->mapped);
	kfree(buf);
}

static const struct dma_buf_ops bar_ops = {
	.attach = bar_attach,
	.pin = bar_pin,
	.unpin = bar_unpin,
	.map_dma_buf = bar_map,
	.unmap_dma_buf = bar_unmap,
	.release = bar_release,
};

static long bar_export(struct bar_export __user *user)
{
	u64 size = pci_resource_len(bar_dev, IVSHMEM_BAR);
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct bar_export arg;
	struct dma_buf *dmabuf;
	struct bar_buf *buf;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (!arg.piece)
		arg.piece = arg.length;
	if (!arg.length || arg.length > size || arg.offset > size - arg.length ||
	    !PAGE_ALIGNED(arg.offset) || !PAGE_ALIGNED(arg.piece) || arg.length % arg.piece)
		return -EINVAL;
	buf = kzalloc(sizeof(*buf), GFP_KERNEL);
	if (!buf)
		return -ENOMEM;
	buf->phys = pci_resource_start(bar_dev, IVSHMEM_BAR) + arg.offset;
	buf->length = arg.length;
	buf->piece = arg.piece;
	info.ops = &bar_ops;
	info.size = arg.length;
	info.flags = O_RDWR | O_CLOEXEC;
	info.priv = buf;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf)) {
		kfree(buf);
		return PTR_ERR(dmabuf);
	}
	arg.fd = dma_buf_fd(dmabuf, O_CLOEXEC);
	if (arg.fd < 0) {
		dma_buf_put(dmabuf);
		return arg.fd;
	}
	return copy_to_user(user, &arg, sizeof(arg)) ? -EFAULT : 0;
}

static long bar_revoke(int fd)
{
	struct dma_buf *dmabuf = dma_buf_get(fd);
	struct bar_buf *buf;
	long ret = -EINVAL;

	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	if (dmabuf->ops == &bar_ops) {
		buf = dmabuf->priv;
		dma_resv_lock(dmabuf->resv, NULL);
		buf->revoked = true;
		dma_buf_move_notify(dmabuf);
		ret = buf->mapped ? -EBUSY : 0;
		dma_resv_unlock(dmabuf->resv);
	}
	dma_buf_put(dmabuf);
	return ret;
}

static long bar_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case BAR_EXPORT:
		return bar_export((void __user *)arg);
	case BAR_REVOKE:
		return bar_revoke(arg);
	}
	return -ENOTTY;
}

static const struct file_operations bar_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = bar_ioctl,
};

static struct miscdevice bar_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "bar_dmabuf",
	.fops = &bar_fops,
	.mode = 0600,
};

static int __init bar_init(void)
{
	int ret;

	bar_dev = ivshmem_get();
	if (IS_ERR(bar_dev))
		return PTR_ERR(bar_dev);
	ret = misc_register(&bar_misc);
	if (ret)
		ivshmem_put(bar_dev);
	return ret;
}

static void __exit bar_exit(void)
{
	misc_deregister(&bar_misc);
	ivshmem_put(bar_dev);
}

module_init(bar_init);
module_exit(bar_exit);
MODULE_IMPORT_NS(DMA_BUF);
MODULE_DESCRIPTION("A BAR as dma-bufs, for tests of snvme");
MODULE_LICENSE("GPL");
