// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/snvme: one open file is one session. The ioctls, the mappings, and the end.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cred.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/user_namespace.h>
#include <linux/version.h>

#include "snvme.h"

static_assert(sizeof(struct snvme_info) == 128);
static_assert(sizeof(struct snvme_attach) == 32);
static_assert(sizeof(struct snvme_mem_register) == 80);
static_assert(sizeof(struct snvme_queue_create) == 104);
static_assert(sizeof(struct snvme_handle) == 24);
static_assert(sizeof(struct snvme_identify) == 40);
static_assert(sizeof(struct snvme_state_page) == 4096);

/* Sessions whose file is closed while the controller may still know their queues. */
static LIST_HEAD(snvme_left_over);

static void vma_flags(struct vm_area_struct *vma, vm_flags_t set, vm_flags_t clear)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_mod(vma, set, clear);
#else
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
#endif
}

/*
 * Take a session's doorbells out of all address spaces; map_lock keeps them from coming back. The
 * mapping is shared by all files of the device node: whoever may still see his page faults it in
 * again.
 */
void snvme_zap_doorbells(struct snvme_session *s)
{
	if (s->mapping)
		unmap_mapping_range(s->mapping, snvme_mmap_offset(SNVME_MMAP_KIND_DOORBELL, 0),
				    snvme_mmap_offset(SNVME_MMAP_KIND_MEM, 0) -
				    snvme_mmap_offset(SNVME_MMAP_KIND_DOORBELL, 0), 1);
}

static void snvme_session_free(struct snvme_session *s)
{
	struct snvme_memory *mem;
	unsigned long i;

	if (s->ctrl) {
		snvme_queues_free(s);
		snvme_mems_release(s);
		/* Until here the driver's end may look at the session, and its memory. */
		snvme_detach(s);
	}
	xa_for_each(&s->mems, i, mem) {
		snvme_uncharge_memory(s, mem->npages);
		kfree(mem);
	}
	xa_destroy(&s->mems);
	xa_destroy(&s->queues);
	free_page((unsigned long)s->state);
	free_page((unsigned long)s->scratch);
	snvme_owner_put(s->owner);
	kfree(s);
}

/* Free the sessions whose queues the controller has forgotten by now. */
void snvme_reap_left_over(void)
{
	struct snvme_session *s, *next;
	LIST_HEAD(done);

	mutex_lock(&snvme_lock);
	list_for_each_entry_safe(s, next, &snvme_left_over, left_over)
		if (snvme_queues_delete(s))
			list_move(&s->left_over, &done);
	mutex_unlock(&snvme_lock);
	list_for_each_entry_safe(s, next, &done, left_over) {
		snvme_session_free(s);
		module_put(THIS_MODULE);
	}
}

/*
 * Did the administrator give the device node to a group that the caller is in, to read and write? Then he may do here
 * what CAP_SYS_RAWIO may. Not so root's group, nor a node that somebody else has made, nor in a user namespace: that
 * would be a gift to roots of containers.
 */
static bool snvme_by_group(const struct inode *inode, const struct file *file)
{
	return current_user_ns() == &init_user_ns && !strcmp(inode->i_sb->s_type->name, "devtmpfs") &&
	       (file->f_mode & (FMODE_READ | FMODE_WRITE)) == (FMODE_READ | FMODE_WRITE) &&
	       (inode->i_mode & 0060) == 0060 && !gid_eq(inode->i_gid, GLOBAL_ROOT_GID) && in_group_p(inode->i_gid);
}

static int snvme_open(struct inode *inode, struct file *file)
{
	struct snvme_session *s = kzalloc(sizeof(*s), GFP_KERNEL_ACCOUNT);

	if (!s)
		return -ENOMEM;
	s->state = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	s->scratch = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	s->owner = snvme_owner_get();
	if (!s->state || !s->scratch || !s->owner) {
		if (s->owner)
			snvme_owner_put(s->owner);
		free_page((unsigned long)s->state);
		free_page((unsigned long)s->scratch);
		kfree(s);
		return -ENOMEM;
	}
	s->pid = task_tgid_nr(current);
	get_task_comm(s->comm, current->group_leader);
	s->limited = !capable(CAP_SYS_RESOURCE);
	s->by_group = snvme_by_group(inode, file);
	mutex_init(&s->p2p_lock);
	mutex_init(&s->lock);
	init_waitqueue_head(&s->wait);
	xa_init_flags(&s->mems, XA_FLAGS_ALLOC1);
	xa_init_flags(&s->queues, XA_FLAGS_ALLOC1);
	s->mapping = file->f_mapping;
	file->private_data = s;
	return 0;
}

/*
 * The last descriptor and mapping are gone, maybe by SIGKILL with commands in flight: delete the
 * queues on the controller, then unmap and unpin. If a reset is under way, or the controller
 * refuses, the memory stays until the controller has been disabled.
 */
static int snvme_release(struct inode *inode, struct file *file)
{
	struct snvme_session *s = file->private_data;

	mutex_lock(&snvme_lock);
	s->mapping = NULL;		/* it goes with the file's inode */
	mutex_unlock(&snvme_lock);
	if (!s->ctrl || snvme_queues_delete(s)) {
		snvme_session_free(s);
		return 0;
	}
	__module_get(THIS_MODULE);
	mutex_lock(&snvme_lock);
	list_add(&s->left_over, &snvme_left_over);
	mutex_unlock(&snvme_lock);
	snvme_reap_left_over();		/* what changed before it was on the list woke nobody */
	return 0;
}

/* @told: what has happened up to what @info says */
static int snvme_ioc_info(struct snvme_session *s, struct snvme_info *info, u64 *told)
{
	struct snvme_ctrl *ctrl = smp_load_acquire(&s->ctrl);
	unsigned long flags;
	int ret = 0;

	if (memchr_inv(info->reserved, 0, sizeof(info->reserved)))
		return -EINVAL;
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	info->abi_version = SNVME_ABI_VERSION;
	info->caps = SNVME_CAP_MEM_USER | SNVME_CAP_MEM_KERNEL | SNVME_CAP_EVENTS | SNVME_CAP_IDENTIFY |
		     snvme_p2p_caps();
	if (!ctrl)
		return 0;
	info->ctrl_flags = SNVME_CTRL_ATTACHED | (ctrl->shadow ? SNVME_CTRL_SHADOW : 0) |
			   (ctrl->iommu ? SNVME_CTRL_IOMMU : 0);
	info->cap = ctrl->cap;
	info->vs = ctrl->vs;
	info->page_shift = ctrl->page_shift;
	info->pci_domain = ctrl->domain;
	info->pci_bus = ctrl->pdev->bus->number;
	info->pci_devfn = ctrl->pdev->devfn;
	info->instance = ctrl->instance;
	mutex_lock(&ctrl->lock);
	if (!ctrl->unbound) {
		/* During a reset the last answer stands; the next caller asks again. */
		if (READ_ONCE(ctrl->state) == SNVME_STATE_LIVE)
			ret = snvme_update_grant(ctrl);
		snvme_count_queues(ctrl, info);
	}
	mutex_unlock(&ctrl->lock);
	spin_lock_irqsave(&ctrl->state_lock, flags);
	info->state = ctrl->state;
	info->epoch = ctrl->epoch;
	*told = s->events;
	spin_unlock_irqrestore(&ctrl->state_lock, flags);
	return ret == -EAGAIN ? 0 : ret;
}

static bool snvme_handle_ok(const struct snvme_handle *h)
{
	return !h->reserved[0] && !h->reserved[1];
}

static bool snvme_attach_ok(const struct snvme_attach *a)
{
	return !a->flags && !memchr_inv(a->reserved, 0, sizeof(a->reserved));
}

static long snvme_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct snvme_session *s = file->private_data;
	void __user *user = (void __user *)arg;
	union {
		u32 size;
		struct snvme_info info;
		struct snvme_attach attach;
		struct snvme_mem_register mem;
		struct snvme_queue_create queue;
		struct snvme_handle handle;
		struct snvme_identify identify;
	} u;
	u64 told = 0;
	long ret;

	switch (cmd) {
	case SNVME_IOC_INFO:
	case SNVME_IOC_ATTACH:
	case SNVME_IOC_MEM_REGISTER:
	case SNVME_IOC_MEM_UNREGISTER:
	case SNVME_IOC_QUEUE_CREATE:
	case SNVME_IOC_QUEUE_DESTROY:
	case SNVME_IOC_IDENTIFY:
		break;
	default:
		return -ENOTTY;
	}
	/* The command's own size is that of its structure: one of those above. */
	if (copy_from_user(&u, user, _IOC_SIZE(cmd)))
		return -EFAULT;
	if (u.size != _IOC_SIZE(cmd))
		return -EINVAL;

	switch (cmd) {
	case SNVME_IOC_INFO:
		ret = snvme_ioc_info(s, &u.info, &told);
		break;
	case SNVME_IOC_ATTACH:
		ret = snvme_attach_ok(&u.attach) ? snvme_attach(s, u.attach.fd) : -EINVAL;
		break;
	case SNVME_IOC_MEM_REGISTER:
		ret = snvme_mem_register(s, &u.mem);
		break;
	case SNVME_IOC_MEM_UNREGISTER:
		ret = snvme_handle_ok(&u.handle) ? snvme_mem_unregister(s, u.handle.handle) : -EINVAL;
		break;
	case SNVME_IOC_QUEUE_CREATE:
		ret = snvme_queue_create(s, &u.queue);
		break;
	case SNVME_IOC_IDENTIFY:
		ret = snvme_identify(s, &u.identify);
		break;
	default:
		ret = snvme_handle_ok(&u.handle) ? snvme_queue_destroy(s, u.handle.handle) : -EINVAL;
	}
	if (ret || !(_IOC_DIR(cmd) & _IOC_READ))
		return ret;
	if (!copy_to_user(user, &u, _IOC_SIZE(cmd))) {
		if (cmd == SNVME_IOC_INFO)
			WRITE_ONCE(s->seen, told);
		return 0;
	}
	/* The caller cannot know what it got: take it back. */
	if (cmd == SNVME_IOC_MEM_REGISTER)
		snvme_mem_unregister(s, u.mem.handle);
	else if (cmd == SNVME_IOC_QUEUE_CREATE)
		snvme_queue_destroy(s, u.queue.handle);
	return -EFAULT;
}

/* Readable: something happened since the last SNVME_IOC_INFO. */
static __poll_t snvme_poll(struct file *file, poll_table *wait)
{
	struct snvme_session *s = file->private_data;
	struct snvme_ctrl *ctrl;
	__poll_t mask = 0;
	unsigned long flags;

	poll_wait(file, &s->wait, wait);
	/* After we are on the list: what happens from here on wakes us. */
	ctrl = smp_load_acquire(&s->ctrl);
	if (!ctrl)
		return 0;
	spin_lock_irqsave(&ctrl->state_lock, flags);
	if (s->events != READ_ONCE(s->seen))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (ctrl->state == SNVME_STATE_GONE)
		mask |= EPOLLHUP;
	spin_unlock_irqrestore(&ctrl->state_lock, flags);
	return mask;
}

/* Does one of the session's queues have its doorbell in this page of BAR0? */
static bool snvme_owns_doorbell(struct snvme_session *s, unsigned long page)
{
	struct snvme_queue *q;
	unsigned long i;
	bool owns = false;

	mutex_lock(&s->lock);
	xa_for_each(&s->queues, i, q)
		if (snvme_doorbell(s->ctrl, q->type, q->qid) >> PAGE_SHIFT == page)
			owns = true;
	mutex_unlock(&s->lock);
	return owns;
}

static vm_fault_t snvme_doorbell_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct snvme_session *s = vma->vm_file->private_data;
	struct snvme_ctrl *ctrl = smp_load_acquire(&s->ctrl);
	u64 offset = (u64)vma->vm_pgoff << PAGE_SHIFT;
	unsigned long pfn;
	vm_fault_t ret;

	down_read(&ctrl->map_lock);
	if (ctrl->unbound)
		/* Whoever was about to ring goes on, and learns of it from the state word. */
		pfn = page_to_pfn(virt_to_page(s->scratch));
	else if (offset >> SNVME_MMAP_KIND_SHIFT == SNVME_MMAP_KIND_SHADOW)
		pfn = page_to_pfn(virt_to_page(ctrl->shadow));
	else if (offset >> SNVME_MMAP_KIND_SHIFT == SNVME_MMAP_KIND_EVENTIDX)
		pfn = page_to_pfn(virt_to_page(ctrl->eventidx));
	else
		pfn = (ctrl->bar >> PAGE_SHIFT) +
		      (vma->vm_pgoff & ((1UL << (SNVME_MMAP_KIND_SHIFT - PAGE_SHIFT)) - 1));
	ret = vmf_insert_pfn(vma, vma->vm_start, pfn);
	up_read(&ctrl->map_lock);
	return ret;
}

static int snvme_no_split(struct vm_area_struct *vma, unsigned long addr)
{
	return -EINVAL;		/* one page, and the fault handler relies on it */
}

static const struct vm_operations_struct snvme_doorbell_ops = {
	.fault = snvme_doorbell_fault,
	.may_split = snvme_no_split,
};

static int snvme_mmap_doorbell(struct snvme_session *s, struct vm_area_struct *vma,
			       enum snvme_mmap_kind kind, u64 page)
{
	struct snvme_ctrl *ctrl = smp_load_acquire(&s->ctrl);

	if (!ctrl || vma_pages(vma) != 1)
		return -EINVAL;
	if (kind == SNVME_MMAP_KIND_DOORBELL) {
		if (!snvme_owns_doorbell(s, page))
			return -EINVAL;
		vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	} else if (page || !ctrl->shadow || xa_empty(&s->queues)) {
		return -EINVAL;
	}
	vma_flags(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP | VM_DONTCOPY, 0);
	vma->vm_ops = &snvme_doorbell_ops;
	return 0;
}

static int snvme_mmap_state(struct snvme_session *s, struct vm_area_struct *vma, u64 page)
{
	if (page || vma_pages(vma) != 1)
		return -EINVAL;
	if (vma->vm_flags & VM_WRITE)
		return -EACCES;
	vma_flags(vma, VM_DONTEXPAND, VM_MAYWRITE);
	return vm_insert_page(vma, vma->vm_start, virt_to_page(s->state));
}

static int snvme_mmap_mem(struct snvme_session *s, struct vm_area_struct *vma, u64 page)
{
	unsigned long first = page & ((1 << SNVME_MMAP_MEM_SHIFT) - 1);
	unsigned long n = vma_pages(vma);
	struct snvme_memory *mem;
	int ret = -EINVAL;

	mutex_lock(&s->lock);
	mem = xa_load(&s->mems, page >> SNVME_MMAP_MEM_SHIFT);
	if (mem && mem->type == SNVME_MEM_KERNEL && mem->pages && first < mem->npages &&
	    n <= mem->npages - first) {
		vma_flags(vma, VM_DONTEXPAND, 0);
		ret = vm_insert_pages(vma, vma->vm_start, mem->pages + first, &n);
	}
	mutex_unlock(&s->lock);
	return ret;
}

static int snvme_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct snvme_session *s = file->private_data;
	u64 page = vma->vm_pgoff & ((1UL << (SNVME_MMAP_KIND_SHIFT - PAGE_SHIFT)) - 1);
	u64 kind = (u64)vma->vm_pgoff >> (SNVME_MMAP_KIND_SHIFT - PAGE_SHIFT);

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	switch (kind) {
	case SNVME_MMAP_KIND_STATE:
		return snvme_mmap_state(s, vma, page);
	case SNVME_MMAP_KIND_DOORBELL:
	case SNVME_MMAP_KIND_SHADOW:
	case SNVME_MMAP_KIND_EVENTIDX:
		return snvme_mmap_doorbell(s, vma, kind, page);
	case SNVME_MMAP_KIND_MEM:
		return snvme_mmap_mem(s, vma, page);
	}
	return -EINVAL;
}

static const struct file_operations snvme_fops = {
	.owner = THIS_MODULE,
	.open = snvme_open,
	.release = snvme_release,
	.unlocked_ioctl = snvme_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = snvme_mmap,
	.poll = snvme_poll,
	.llseek = noop_llseek,
};

static struct miscdevice snvme_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "snvme",
	.fops = &snvme_fops,
	.mode = 0600,
};

static int __init snvme_init(void)
{
	int ret;

	/* Doorbells start one page after the registers; a larger page would show both. */
	if (PAGE_SIZE != 4096) {
		pr_err("pages of %lu bytes cannot keep doorbells apart from registers\n", PAGE_SIZE);
		return -EOPNOTSUPP;
	}
	ret = snvme_attach_init();
	if (ret)
		return ret;
	ret = misc_register(&snvme_misc);
	if (ret)
		snvme_attach_exit();
	else
		snvme_debugfs_init();
	return ret;
}

static void __exit snvme_exit(void)
{
	snvme_debugfs_exit();
	misc_deregister(&snvme_misc);
	snvme_attach_exit();
}

module_init(snvme_init);
module_exit(snvme_exit);
MODULE_DESCRIPTION("NVMe queues beside the stock driver");
MODULE_LICENSE("GPL");
