// SPDX-License-Identifier: GPL-2.0-only
/*
 * The stock nvme driver's controller: finding it, talking through its admin queue, watching its
 * state, and letting go before it does. All that is private to the driver is in this file.
 *
 * Nothing of the driver is written. What is read of its private structures is found by name and
 * type in BTF, and compared with what is known from elsewhere before anything is believed.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/cdev.h>
#include <linux/file.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/iommu.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/rculist.h>
#include <linux/slab.h>

#include "snvme.h"

/* Exported by nvme_core, whose own header is not installed. The same in 6.1 and 6.12. */
struct nvme_ctrl *nvme_ctrl_from_file(struct file *file);
int nvme_submit_sync_cmd(struct request_queue *q, struct nvme_command *cmd, void *buf,
			 unsigned int len);
int nvme_get_features(struct nvme_ctrl *ctrl, unsigned int fid, unsigned int dword11, void *buf,
		      size_t len, u32 *result);
MODULE_IMPORT_NS(NVME_TARGET_PASSTHRU);

/* Registers that we read: NVMe Base 2.0 section 3.1.3. */
#define REG_CC_MPS(cc)		((cc) >> 7 & 0xf)
#define REG_CC_IOSQES(cc)	((cc) >> 16 & 0xf)
#define REG_CC_IOCQES(cc)	((cc) >> 20 & 0xf)
#define REG_CAP_DSTRD(cap)	((u32)((cap) >> 32) & 0xf)

/* The driver's private layout, in bytes, and its state numbers. */
static struct {
	bool known;
	u32 admin_q, admin_tagset, dev, device, queue_count, state, cap;
	u32 pci_ctrl, pci_dev, online_queues, dbbuf_dbs, dbbuf_eis;
	u32 live, resetting, connecting, deleting, deleting_noio, dead;
} layout;

static const struct {
	const char *strct, *member, *type;
	u32 *offset;
} layout_members[] = {
	{ "nvme_ctrl", "admin_q", "struct request_queue *", &layout.admin_q },
	{ "nvme_ctrl", "admin_tagset", "struct blk_mq_tag_set *", &layout.admin_tagset },
	{ "nvme_ctrl", "dev", "struct device *", &layout.dev },
	{ "nvme_ctrl", "device", "struct device *", &layout.device },
	{ "nvme_ctrl", "queue_count", "u32", &layout.queue_count },
	{ "nvme_ctrl", "state", "u32", &layout.state },
	{ "nvme_ctrl", "cap", "u64", &layout.cap },
	{ "nvme_dev", "ctrl", "struct nvme_ctrl", &layout.pci_ctrl },
	{ "nvme_dev", "dev", "struct device *", &layout.pci_dev },
	{ "nvme_dev", "online_queues", "u32", &layout.online_queues },
	{ "nvme_dev", "dbbuf_dbs", "u32 *", &layout.dbbuf_dbs },
	{ "nvme_dev", "dbbuf_eis", "u32 *", &layout.dbbuf_eis },
};

static const struct {
	const char *name;
	u32 *value;
} layout_states[] = {
	{ "NVME_CTRL_LIVE", &layout.live },
	{ "NVME_CTRL_RESETTING", &layout.resetting },
	{ "NVME_CTRL_CONNECTING", &layout.connecting },
	{ "NVME_CTRL_DELETING", &layout.deleting },
	{ "NVME_CTRL_DELETING_NOIO", &layout.deleting_noio },
	{ "NVME_CTRL_DEAD", &layout.dead },
};

/* Guards snvme_ctrls (readers: RCU), users, left-over sessions, and session lists' traversal. */
DEFINE_MUTEX(snvme_lock);
static LIST_HEAD(snvme_ctrls);

static struct workqueue_struct *snvme_wq;

static void snvme_reap(struct work_struct *work)
{
	snvme_reap_left_over();
}
static DECLARE_WORK(snvme_reap_work, snvme_reap);

#define PEEK(obj, type, off) READ_ONCE(*(type *)((void *)(obj) + (off)))

static void *snvme_pci_private(struct nvme_ctrl *nctrl)
{
	return (void *)nctrl - layout.pci_ctrl;
}

/* Learn the layout once; it is that of the running kernel. With snvme_lock held. */
static int snvme_layout_learn(void)
{
	struct snvme_btf vmlinux = {}, nvme = {}, *btf = &nvme;
	int ret;

	if (layout.known)
		return 0;
	ret = snvme_btf_load(&vmlinux, "/sys/kernel/btf/vmlinux", NULL);
	if (ret) {
		pr_err("this kernel publishes no type information (/sys/kernel/btf/vmlinux: %d); attaching needs it\n",
		       ret);
		goto out;
	}
	ret = snvme_btf_load(&nvme, "/sys/kernel/btf/nvme", &vmlinux);
	if (ret == -ENOENT) {
		btf = &vmlinux;		/* the driver is built in */
		ret = 0;
	}
	if (ret) {
		pr_err("/sys/kernel/btf/nvme cannot be read: %d\n", ret);
		goto out;
	}
	for (int i = 0; i < ARRAY_SIZE(layout_members); i++) {
		ret = snvme_btf_member(btf, layout_members[i].strct, layout_members[i].member,
				       layout_members[i].type, layout_members[i].offset);
		if (ret) {
			pr_err("this kernel's nvme driver has no struct %s.%s of type %s; it cannot be shared\n",
			       layout_members[i].strct, layout_members[i].member,
			       layout_members[i].type);
			goto out;
		}
	}
	for (int i = 0; i < ARRAY_SIZE(layout_states); i++) {
		ret = snvme_btf_enumerator(btf, layout_states[i].name, layout_states[i].value);
		if (ret) {
			pr_err("this kernel's nvme driver has no state %s; it cannot be shared\n",
			       layout_states[i].name);
			goto out;
		}
	}
	layout.known = true;
out:
	snvme_btf_free(&nvme);
	snvme_btf_free(&vmlinux);
	return ret ? -EOPNOTSUPP : 0;
}

/**
 * snvme_admin() - send an admin command through the driver's queue, and wait
 * @ctrl: the controller, with its lock held and the driver bound
 * @cmd: the command; its data pointers go out as they are, because there is no data buffer
 * Return: 0, a negative errno, or the status: SCT << 8 | SC
 */
int snvme_admin(struct snvme_ctrl *ctrl, struct nvme_command *cmd)
{
	int ret;

	lockdep_assert_held(&ctrl->lock);
	ret = nvme_submit_sync_cmd(ctrl->admin_q, cmd, NULL, 0);
	return ret > 0 ? ret & 0x7ff : ret;
}

/* Queue identifiers that are the driver's own: 1 to this. With ctrl->lock held, driver bound. */
u32 snvme_driver_queues(const struct snvme_ctrl *ctrl)
{
	/* Both count the admin queue; the one never shrinks, the other is what is in use now. */
	u32 count = PEEK(ctrl->nctrl, u32, layout.queue_count);
	u32 online = PEEK(snvme_pci_private(ctrl->nctrl), u32, layout.online_queues);

	return max3(count, online, 1u) - 1;
}

/**
 * snvme_update_grant() - ask how many queues the controller granted, once for each epoch
 * @ctrl: the controller, with its lock held and the driver bound
 * Return: 0 or -EIO; -EAGAIN when a reset cut the question off
 */
int snvme_update_grant(struct snvme_ctrl *ctrl)
{
	u64 epoch = READ_ONCE(ctrl->epoch);
	u32 result;
	int ret;

	if (ctrl->granted_epoch == epoch + 1)
		return 0;
	ret = nvme_get_features(ctrl->nctrl, NVME_FEAT_NUM_QUEUES, 0, NULL, 0, &result);
	if (ret) {
		dev_err(&ctrl->pdev->dev, "snvme: asking for the number of queues failed: %d\n", ret);
		return ret < 0 || READ_ONCE(ctrl->epoch) != epoch ? -EAGAIN : -EIO;
	}
	ctrl->granted_sq = (result & 0xffff) + 1;
	ctrl->granted_cq = (result >> 16) + 1;
	ctrl->granted_epoch = epoch + 1;
	return 0;
}

/* Has the controller forgotten all queues made in @epoch, because it was disabled since? */
bool snvme_is_quiet(struct snvme_ctrl *ctrl, u64 epoch)
{
	unsigned long flags;
	bool quiet;

	spin_lock_irqsave(&ctrl->state_lock, flags);
	quiet = epoch < ctrl->quiet;
	spin_unlock_irqrestore(&ctrl->state_lock, flags);
	return quiet;
}

static bool snvme_settled(struct snvme_ctrl *ctrl)
{
	unsigned long flags;
	bool settled;

	spin_lock_irqsave(&ctrl->state_lock, flags);
	settled = ctrl->quiet == ctrl->epoch;
	spin_unlock_irqrestore(&ctrl->state_lock, flags);
	return settled;
}

/**
 * snvme_wait_quiet() - wait until no dead queue can be written to by the controller any more
 * @ctrl: the controller
 * Return: 0 or -EINTR. It ends: a reset leads to a disabled controller or to the driver's end.
 */
int snvme_wait_quiet(struct snvme_ctrl *ctrl)
{
	return wait_event_killable(ctrl->wait, snvme_settled(ctrl)) ? -EINTR : 0;
}

/*
 * The controller's state changes: tell every session. @word is the new state; @quiet says that the
 * controller was disabled after its queues died. From any context.
 */
static void snvme_ctrl_event(struct snvme_ctrl *ctrl, u32 word, bool quiet)
{
	struct snvme_session *s;
	unsigned long flags;

	spin_lock_irqsave(&ctrl->state_lock, flags);
	if (word != SNVME_STATE_LIVE && ctrl->state == SNVME_STATE_LIVE) {
		ctrl->epoch++;
		list_for_each_entry(s, &ctrl->sessions, node)
			for (int i = 0; i < ARRAY_SIZE(s->state->queue); i++)
				if (s->state->queue[i] == SNVME_STATE_LIVE)
					WRITE_ONCE(s->state->queue[i], word);
	}
	if (ctrl->state != SNVME_STATE_GONE)
		ctrl->state = word;
	if (quiet)
		ctrl->quiet = ctrl->epoch;
	list_for_each_entry(s, &ctrl->sessions, node) {
		WRITE_ONCE(s->state->epoch, ctrl->epoch);
		WRITE_ONCE(s->state->ctrl_state, ctrl->state);
	}
	spin_unlock_irqrestore(&ctrl->state_lock, flags);
	wake_up_all(&ctrl->wait);
	if (quiet)
		queue_work(snvme_wq, &snvme_reap_work);
}

/*
 * What a state of the driver's means to us. RESETTING is entered before the controller is disabled,
 * CONNECTING and LIVE after; DEAD after it was disabled for good, or found unplugged. After DELETING
 * the driver disables the controller and lets go: snvme_driver_left() follows.
 */
static void snvme_ctrl_state(struct snvme_ctrl *ctrl, u32 state)
{
	if (state == layout.live)
		snvme_ctrl_event(ctrl, SNVME_STATE_LIVE, true);
	else if (state == layout.resetting)
		snvme_ctrl_event(ctrl, SNVME_STATE_RESET, false);
	else if (state == layout.connecting)
		snvme_ctrl_event(ctrl, SNVME_STATE_RESET, true);
	else if (state == layout.deleting || state == layout.deleting_noio)
		snvme_ctrl_event(ctrl, SNVME_STATE_GONE, false);
	else if (state == layout.dead)
		snvme_ctrl_event(ctrl, SNVME_STATE_GONE, true);
}

/*
 * Entry of nvme_change_ctrl_state(ctrl, new). That a transition asked for can still be refused does
 * no harm: it is refused only when an earlier one has killed our queues already.
 */
static int snvme_state_probe(struct kprobe *p, struct pt_regs *regs)
{
	struct nvme_ctrl *nctrl = (void *)regs_get_kernel_argument(regs, 0);
	u32 state = regs_get_kernel_argument(regs, 1);
	struct snvme_ctrl *ctrl;

	rcu_read_lock();
	list_for_each_entry_rcu(ctrl, &snvme_ctrls, node)
		if (READ_ONCE(ctrl->nctrl) == nctrl)
			snvme_ctrl_state(ctrl, state);
	rcu_read_unlock();
	return 0;
}

static struct kprobe snvme_kprobe = {
	.symbol_name = "nvme_change_ctrl_state",
	.pre_handler = snvme_state_probe,
};

/*
 * The driver has disabled the controller and is gone; the device's DMA mapping goes next. Runs as
 * the last of its managed resources, under device_lock.
 */
static void snvme_driver_left(void *data)
{
	struct snvme_ctrl *ctrl = data;
	struct snvme_session *s;

	snvme_ctrl_event(ctrl, SNVME_STATE_GONE, true);
	mutex_lock(&snvme_lock);
	list_for_each_entry(s, &ctrl->sessions, node)
		snvme_mems_release(s);
	mutex_unlock(&snvme_lock);
	ctrl->released = true;
}

/* The driver is about to let go, with the controller still running: take our queues out first. */
static void snvme_driver_leaves(struct snvme_ctrl *ctrl)
{
	struct snvme_session *s;

	snvme_ctrl_event(ctrl, SNVME_STATE_GONE, false);
	list_for_each_entry(s, &ctrl->sessions, node)
		snvme_queues_delete(s);
	mutex_lock(&ctrl->lock);
	down_write(&ctrl->map_lock);
	ctrl->unbound = true;
	snvme_zap_doorbells();
	up_write(&ctrl->map_lock);
	WRITE_ONCE(ctrl->nctrl, NULL);
	mutex_unlock(&ctrl->lock);
}

static int snvme_bus_event(struct notifier_block *nb, unsigned long event, void *data)
{
	struct snvme_ctrl *ctrl;

	if (event != BUS_NOTIFY_UNBIND_DRIVER)
		return NOTIFY_DONE;
	mutex_lock(&snvme_lock);
	list_for_each_entry(ctrl, &snvme_ctrls, node)
		if (&ctrl->pdev->dev == data && !ctrl->unbound)
			snvme_driver_leaves(ctrl);
	mutex_unlock(&snvme_lock);
	return NOTIFY_DONE;
}

static struct notifier_block snvme_bus_nb = { .notifier_call = snvme_bus_event };

/* Is @nctrl what we take it for? Compares pointers with what is known elsewhere; follows none. */
static bool snvme_layout_holds(struct nvme_ctrl *nctrl, struct device *device, struct pci_dev *pdev)
{
	void *priv = snvme_pci_private(nctrl);

	return pci_get_drvdata(pdev) == priv &&
	       PEEK(nctrl, struct device *, layout.device) == device &&
	       PEEK(nctrl, struct device *, layout.dev) == &pdev->dev &&
	       PEEK(priv, struct device *, layout.pci_dev) == &pdev->dev;
}

/* A page of the driver's coherent memory, kept alive by a reference of ours; or NULL. */
static void *snvme_shadow_page(void *va)
{
	if (!va || !PAGE_ALIGNED(va))
		return NULL;
	get_page(is_vmalloc_addr(va) ? vmalloc_to_page(va) : virt_to_page(va));
	return va;
}

static void snvme_shadow_put(void *va)
{
	if (va)
		put_page(is_vmalloc_addr(va) ? vmalloc_to_page(va) : virt_to_page(va));
}

/* Read what has to be known of the hardware. With device_lock held. */
static int snvme_ctrl_probe(struct snvme_ctrl *ctrl)
{
	struct device *dev = &ctrl->pdev->dev;
	struct request_queue *admin_q = PEEK(ctrl->nctrl, struct request_queue *, layout.admin_q);
	void *priv = snvme_pci_private(ctrl->nctrl);
	void *dbs = PEEK(priv, void *, layout.dbbuf_dbs);
	void *eis = PEEK(priv, void *, layout.dbbuf_eis);
	struct iommu_domain *domain;
	void __iomem *regs;
	u32 cc;

	ctrl->bar = pci_resource_start(ctrl->pdev, 0);
	ctrl->bar_len = pci_resource_len(ctrl->pdev, 0);
	if (ctrl->bar_len < 0x2000)
		return -EOPNOTSUPP;
	regs = ioremap(ctrl->bar, 0x1000);
	if (!regs)
		return -ENOMEM;
	ctrl->cap = lo_hi_readq(regs + NVME_REG_CAP);
	ctrl->vs = readl(regs + NVME_REG_VS);
	cc = readl(regs + NVME_REG_CC);
	iounmap(regs);

	if (ctrl->cap != PEEK(ctrl->nctrl, u64, layout.cap) || !admin_q ||
	    admin_q->tag_set != PEEK(ctrl->nctrl, struct blk_mq_tag_set *, layout.admin_tagset)) {
		dev_err(dev, "snvme: the driver's data does not look as this kernel's type information says\n");
		return -EOPNOTSUPP;
	}
	if (REG_CC_IOSQES(cc) != 6 || REG_CC_IOCQES(cc) != 4) {
		dev_err(dev, "snvme: queue entries are not of 64 and 16 bytes (CC %#x)\n", cc);
		return -EOPNOTSUPP;
	}
	ctrl->admin_q = admin_q;
	ctrl->page_shift = REG_CC_MPS(cc) + 12;
	ctrl->db_stride = 4 << REG_CAP_DSTRD(ctrl->cap);
	domain = iommu_get_domain_for_dev(dev);
	ctrl->iommu = domain && (domain->type & __IOMMU_DOMAIN_PAGING);

	if (!dbs != !eis || !PAGE_ALIGNED(dbs) || !PAGE_ALIGNED(eis)) {
		dev_err(dev, "snvme: shadow doorbells are not where this kernel's type information says\n");
		return -EOPNOTSUPP;
	}
	ctrl->shadow = snvme_shadow_page(dbs);
	ctrl->eventidx = snvme_shadow_page(eis);
	return 0;
}

static void snvme_ctrl_free(struct snvme_ctrl *ctrl)
{
	snvme_shadow_put(ctrl->shadow);
	snvme_shadow_put(ctrl->eventidx);
	pci_dev_put(ctrl->pdev);
	kvfree(ctrl);
}

/* Give back a user's hold of @ctrl. With device_lock and snvme_lock held, which it drops. */
static void snvme_ctrl_put_unlock(struct snvme_ctrl *ctrl)
{
	struct device *dev = &ctrl->pdev->dev;
	bool last = !--ctrl->users;

	if (last) {
		list_del_rcu(&ctrl->node);
		if (!ctrl->released)
			devm_remove_action(dev, snvme_driver_left, ctrl);
	}
	mutex_unlock(&snvme_lock);
	device_unlock(dev);
	if (last) {
		synchronize_rcu();	/* the state probe may still look at it */
		snvme_ctrl_free(ctrl);
	}
}

/* Find the controller's object of ours, or make it. With device_lock and snvme_lock held. */
static struct snvme_ctrl *snvme_ctrl_get(struct nvme_ctrl *nctrl, struct device *device,
					 struct pci_dev *pdev)
{
	struct snvme_ctrl *ctrl;
	int ret;

	ret = snvme_layout_learn();
	if (ret)
		return ERR_PTR(ret);
	if (!snvme_layout_holds(nctrl, device, pdev)) {
		dev_err(&pdev->dev, "snvme: the driver's data does not look as this kernel's type information says\n");
		return ERR_PTR(-EOPNOTSUPP);
	}
	list_for_each_entry(ctrl, &snvme_ctrls, node) {
		if (ctrl->nctrl == nctrl) {
			ctrl->users++;
			return ctrl;
		}
	}

	ctrl = kvzalloc(sizeof(*ctrl), GFP_KERNEL);
	if (!ctrl)
		return ERR_PTR(-ENOMEM);
	ctrl->users = 1;
	ctrl->pdev = pci_dev_get(pdev);
	ctrl->nctrl = nctrl;
	if (sscanf(dev_name(device), "nvme%d", &ctrl->instance) != 1)
		ctrl->instance = -1;
	mutex_init(&ctrl->lock);
	init_rwsem(&ctrl->map_lock);
	spin_lock_init(&ctrl->state_lock);
	INIT_LIST_HEAD(&ctrl->sessions);
	init_waitqueue_head(&ctrl->wait);
	ctrl->state = SNVME_STATE_LIVE;
	ret = snvme_ctrl_probe(ctrl);
	if (ret)
		goto out_free;
	ret = devm_add_action(&pdev->dev, snvme_driver_left, ctrl);
	if (ret)
		goto out_free;
	list_add_rcu(&ctrl->node, &snvme_ctrls);
	return ctrl;
out_free:
	snvme_ctrl_free(ctrl);
	return ERR_PTR(ret);
}

/* The driver's object behind an open file, and its class device nvmeN. */
static int snvme_file_ctrl(struct file *file, struct nvme_ctrl **nctrl, struct device **device)
{
	struct inode *inode = file_inode(file);

	if ((file->f_mode & (FMODE_READ | FMODE_WRITE)) != (FMODE_READ | FMODE_WRITE))
		return -EACCES;
	if (S_ISCHR(inode->i_mode)) {
		*nctrl = nvme_ctrl_from_file(file);
		if (!*nctrl)
			return -ENOTTY;
		/* As cdev_device_add() leaves it. */
		*device = container_of(inode->i_cdev->kobj.parent, struct device, kobj);
		return (*device)->devt == inode->i_rdev ? 0 : -EOPNOTSUPP;
	}
	if (S_ISBLK(inode->i_mode)) {
		struct block_device *bdev = I_BDEV(file->f_mapping->host);

		*device = disk_to_dev(bdev->bd_disk)->parent;
		if (!*device || !(*device)->class || strcmp((*device)->class->name, "nvme"))
			return -ENOTTY;
		if (bdev_is_partition(bdev))
			return -EINVAL;
		*nctrl = dev_get_drvdata(*device);
		return *nctrl ? 0 : -ENODEV;
	}
	return -ENOTTY;
}

/**
 * snvme_attach() - SNVME_IOC_ATTACH
 * @s: the session
 * @fd: descriptor of a controller or namespace
 * Return: 0 or a negative errno of the ABI
 */
int snvme_attach(struct snvme_session *s, int fd)
{
	struct nvme_ctrl *nctrl;
	struct snvme_ctrl *ctrl;
	struct device *device;
	struct pci_dev *pdev;
	struct file *file;
	unsigned long flags;
	int ret;

	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	/* Until we are on the controller's list, the open file keeps the driver's object alive. */
	file = fget(fd);
	if (!file)
		return -EBADF;
	ret = snvme_file_ctrl(file, &nctrl, &device);
	if (ret)
		goto out_fput;
	ret = -EOPNOTSUPP;
	if (!device->parent || !dev_is_pci(device->parent)) {
		pr_err("%s is not a PCIe controller\n", dev_name(device));
		goto out_fput;
	}
	pdev = to_pci_dev(device->parent);
	ret = -EBUSY;
	if (test_and_set_bit(0, &s->attaching))
		goto out_fput;

	device_lock(&pdev->dev);
	mutex_lock(&snvme_lock);
	ret = -ENODEV;
	if (!pdev->dev.driver || strcmp(pdev->dev.driver->name, "nvme"))
		goto out_unlock;
	ctrl = snvme_ctrl_get(nctrl, device, pdev);
	if (IS_ERR(ctrl)) {
		ret = PTR_ERR(ctrl);
		goto out_unlock;
	}
	/*
	 * The probe sees a change before the driver makes it: one that was probed before the controller
	 * was listed shows in the driver's own state by the time that an admin command has returned.
	 */
	mutex_lock(&ctrl->lock);
	ret = READ_ONCE(ctrl->state) == SNVME_STATE_LIVE ? snvme_update_grant(ctrl) : -EAGAIN;
	mutex_unlock(&ctrl->lock);
	if (PEEK(nctrl, u32, layout.state) != layout.live) {
		snvme_ctrl_event(ctrl, SNVME_STATE_RESET, false);
		ret = -EAGAIN;
	}
	if (ret) {
		snvme_ctrl_put_unlock(ctrl);
		ret = ret == -EAGAIN ? -EBUSY : ret;
		goto out_attaching;
	}
	spin_lock_irqsave(&ctrl->state_lock, flags);
	s->state->ctrl_state = ctrl->state;
	s->state->epoch = ctrl->epoch;
	list_add(&s->node, &ctrl->sessions);
	spin_unlock_irqrestore(&ctrl->state_lock, flags);
	smp_store_release(&s->ctrl, ctrl);
	mutex_unlock(&snvme_lock);
	device_unlock(&pdev->dev);
	fput(file);
	return 0;

out_unlock:
	mutex_unlock(&snvme_lock);
	device_unlock(&pdev->dev);
out_attaching:
	clear_bit(0, &s->attaching);
out_fput:
	fput(file);
	return ret;
}

/**
 * snvme_detach() - undo snvme_attach(), after queues and memory are gone
 * @s: the session; may be unattached
 */
void snvme_detach(struct snvme_session *s)
{
	struct snvme_ctrl *ctrl = s->ctrl;
	unsigned long flags;

	if (!ctrl)
		return;
	device_lock(&ctrl->pdev->dev);
	mutex_lock(&snvme_lock);
	spin_lock_irqsave(&ctrl->state_lock, flags);
	list_del(&s->node);
	spin_unlock_irqrestore(&ctrl->state_lock, flags);
	snvme_ctrl_put_unlock(ctrl);
}

int __init snvme_attach_init(void)
{
	int ret;

	snvme_wq = alloc_workqueue("snvme", 0, 0);
	if (!snvme_wq)
		return -ENOMEM;
	ret = register_kprobe(&snvme_kprobe);
	if (ret) {
		pr_err("the nvme driver's state cannot be watched (kprobe: %d); CONFIG_KPROBES is needed\n",
		       ret);
		goto out_wq;
	}
	ret = bus_register_notifier(&pci_bus_type, &snvme_bus_nb);
	if (ret)
		goto out_kprobe;
	return 0;
out_kprobe:
	unregister_kprobe(&snvme_kprobe);
out_wq:
	destroy_workqueue(snvme_wq);
	return ret;
}

void snvme_attach_exit(void)
{
	bus_unregister_notifier(&pci_bus_type, &snvme_bus_nb);
	unregister_kprobe(&snvme_kprobe);
	destroy_workqueue(snvme_wq);
}
