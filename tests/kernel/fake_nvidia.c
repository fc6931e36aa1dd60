// SPDX-License-Identifier: GPL-2.0-only
/*
 * Plays NVIDIA's driver: the memory BAR of QEMU's ivshmem device as that of a GPU, given out by
 * nvidia_p2p_get_pages(), and taken away at any moment. For tests only: whoever opens the device may have
 * any part of the BAR, and any process may name it.
 *
 * As in the real one, a lock is held around callbacks that all other functions wait for, but for the one
 * that a callback is to call; and a table of pages that nobody knows any more is no error in put_pages().
 */
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "fake_nvidia.h"
#include "ivshmem.h"
#include "nv-p2p.h"

static struct pci_dev *bar_dev;
static DEFINE_MUTEX(fake_lock);
static LIST_HEAD(fake_tables);
static enum fake_mode mode;
/* Tables that have been given out, and not given back. */
static atomic_t fake_given;

/**
 * struct fake_table - what nvidia_p2p_get_pages() has given out
 * @pub: what the caller sees of it
 * @node: in fake_tables, until it is given back or taken away
 * @addr: the range
 * @length: likewise
 * @callback: to be called before the range is taken away
 * @data: its argument
 * @page: what @pub points to
 * @pages: likewise
 */
struct fake_table {
	struct nvidia_p2p_page_table pub;
	struct list_head node;
	u64 addr;
	u64 length;
	void (*callback)(void *data);
	void *data;
	struct nvidia_p2p_page *page;
	struct nvidia_p2p_page **pages;
};

/* In a callback: the table that it is to free. */
static struct fake_table *fake_taken;

static void fake_free(struct fake_table *t)
{
	kfree(t->page);
	kfree(t->pages);
	kfree(t);
	atomic_dec(&fake_given);
}

/* Under the lock; false: after the callback the table is still held. */
static bool fake_take(struct fake_table *t)
{
	list_del(&t->node);
	fake_taken = t;
	t->callback(t->data);
	return !fake_taken;
}

int nvidia_p2p_get_pages(u64 p2p_token, u32 va_space, u64 virtual_address, u64 length,
			 struct nvidia_p2p_page_table **page_table,
			 void (*free_callback)(void *data), void *data)
{
	u64 size = pci_resource_len(bar_dev, IVSHMEM_BAR), at = virtual_address - FAKE_BASE;
	u32 n = length / FAKE_PAGE;
	struct fake_table *t;

	if (p2p_token || va_space || !length || (virtual_address | length) % FAKE_PAGE || !free_callback ||
	    virtual_address < FAKE_BASE || length > size || at > size - length)
		return -EINVAL;
	if (READ_ONCE(mode) == FAKE_REFUSES)
		return -EIO;
	t = kzalloc(sizeof(*t), GFP_KERNEL);
	if (!t)
		return -ENOMEM;
	atomic_inc(&fake_given);
	t->page = kcalloc(n, sizeof(*t->page), GFP_KERNEL);
	t->pages = kcalloc(n, sizeof(*t->pages), GFP_KERNEL);
	if (!t->page || !t->pages) {
		fake_free(t);
		return -ENOMEM;
	}
	t->addr = virtual_address;
	t->length = length;
	t->callback = free_callback;
	t->data = data;
	t->pub.version = NVIDIA_P2P_PAGE_TABLE_VERSION;
	t->pub.page_size = NVIDIA_P2P_PAGE_SIZE_64KB;
	if (mode == FAKE_VERSION)
		t->pub.version += 1 << 16;
	if (mode == FAKE_SIZE)
		t->pub.page_size = NVIDIA_P2P_PAGE_SIZE_4KB;
	t->pub.pages = t->pages;
	t->pub.entries = n;
	for (u32 i = 0; i < n; i++, at += FAKE_PAGE) {
		u64 in_run = at % FAKE_RUN;

		t->pages[i] = &t->page[i];
		t->page[i].physical_address = pci_resource_start(bar_dev, IVSHMEM_BAR) + at - in_run +
					      FAKE_RUN - FAKE_PAGE - in_run;
	}
	*page_table = &t->pub;
	mutex_lock(&fake_lock);
	list_add(&t->node, &fake_tables);
	if (mode == FAKE_TAKES_IN_GET)
		fake_take(t);
	mutex_unlock(&fake_lock);
	return 0;
}
EXPORT_SYMBOL(nvidia_p2p_get_pages);

int nvidia_p2p_put_pages(u64 p2p_token, u32 va_space, u64 virtual_address,
			 struct nvidia_p2p_page_table *page_table)
{
	struct fake_table *t, *next;

	mutex_lock(&fake_lock);
	list_for_each_entry_safe(t, next, &fake_tables, node) {
		if (&t->pub != page_table)
			continue;
		WARN_ON(t->addr != virtual_address);
		if (mode == FAKE_TAKES_IN_PUT) {
			WARN_ON(!fake_take(t));
		} else {
			list_del(&t->node);
			fake_free(t);
		}
		break;
	}
	mutex_unlock(&fake_lock);
	return 0;
}
EXPORT_SYMBOL(nvidia_p2p_put_pages);

/* In or after a callback. */
int nvidia_p2p_free_page_table(struct nvidia_p2p_page_table *page_table)
{
	struct fake_table *t = container_of(page_table, struct fake_table, pub);

	if (t == fake_taken)
		fake_taken = NULL;
	fake_free(t);
	return 0;
}
EXPORT_SYMBOL(nvidia_p2p_free_page_table);

static long fake_take_range(const struct fake_range __user *user)
{
	struct fake_table *t, *next;
	struct fake_range range;
	long ret = 0;

	if (copy_from_user(&range, user, sizeof(range)))
		return -EFAULT;
	mutex_lock(&fake_lock);
	list_for_each_entry_safe(t, next, &fake_tables, node)
		if (t->addr < range.addr + range.length && range.addr < t->addr + t->length &&
		    !fake_take(t))
			ret = -EBUSY;
	mutex_unlock(&fake_lock);
	return ret;
}

static long fake_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case FAKE_TAKE:
		return fake_take_range((void __user *)arg);
	case FAKE_MODE:
		WRITE_ONCE(mode, arg);
		return 0;
	}
	return -ENOTTY;
}

static const struct file_operations fake_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = fake_ioctl,
};

static struct miscdevice fake_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "fake_nvidia",
	.fops = &fake_fops,
	.mode = 0600,
};

static int __init fake_init(void)
{
	int ret;

	bar_dev = ivshmem_get();
	if (IS_ERR(bar_dev))
		return PTR_ERR(bar_dev);
	ret = misc_register(&fake_misc);
	if (ret)
		ivshmem_put(bar_dev);
	return ret;
}

static void __exit fake_exit(void)
{
	misc_deregister(&fake_misc);
	WARN_ON(!list_empty(&fake_tables) || atomic_read(&fake_given));
	ivshmem_put(bar_dev);
}

module_init(fake_init);
module_exit(fake_exit);
MODULE_DESCRIPTION("A BAR as memory of an NVIDIA GPU, for tests of snvme");
MODULE_LICENSE("GPL");
