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

#include "trace.h"

/* Exported by nvme_core, whose own header is not installed. The same in 6.1 and 6.12. */
struct nvme_ctrl *nvme_ctrl_from_file(struct file *file);
void nvme_init_request(struct request *req, struct nvme_command *cmd);
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
	u32 req_flags, req_status, req_result, req_usercmd;
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
	{ "nvme_request", "flags", "u8", &layout.req_flags },
	{ "nvme_request", "status", "u16", &layout.req_status },
	{ "nvme_request", "result", "union nvme_result", &layout.req_result },
};

static const struct {
	const char *name;
	u32 *value;
} layout_values[] = {
	{ "NVME_CTRL_LIVE", &layout.live },
	{ "NVME_CTRL_RESETTING", &layout.resetting },
	{ "NVME_CTRL_CONNECTING", &layout.connecting },
	{ "NVME_CTRL_DELETING", &layout.deleting },
	{ "NVME_CTRL_DELETING_NOIO", &layout.deleting_noio },
	{ "NVME_CTRL_DEAD", &layout.dead },
	{ "NVME_REQ_USERCMD", &layout.req_usercmd },
};

/* Guards snvme_ctrls (readers: RCU), users, left-over sessions, and session lists' traversal. */
DEFINE_MUTEX(snvme_lock);
LIST_HEAD(snvme_ctrls);

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

static int snvme_layout_read(void)
{
	struct snvme_btf vmlinux = {}, nvme = {}, *btf = &nvme;
	int ret;

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
	for (int i = 0; i < ARRAY_SIZE(layout_values); i++) {
		ret = snvme_btf_enumerator(btf, layout_values[i].name, layout_values[i].value);
		if (ret) {
			pr_err("this kernel's nvme driver has no %s; it cannot be shared\n",
			       layout_values[i].name);
			goto out;
		}
	}
	smp_store_release(&layout.known, true);
out:
	snvme_btf_free(&nvme);
	snvme_btf_free(&vmlinux);
	return ret && ret != -ENOMEM ? -EOPNOTSUPP : ret;
}

static int layout_error;

/* In a worker, because its root is the system's, whatever the caller's is. */
static void snvme_layout_work(struct work_struct *work)
{
	if (!layout.known)
		layout_error = snvme_layout_read();
}
static DECLARE_WORK(snvme_layout, snvme_layout_work);

/* Learn the layout once; it is that of the running kernel. With no lock held. */
static int snvme_layout_learn(void)
{
	if (smp_load_acquire(&layout.known))
		return 0;
	queue_work(snvme_wq, &snvme_layout);
	flush_work(&snvme_layout);
	return smp_load_acquire(&layout.known) ? 0 : READ_ONCE(layout_error);
}

/**
 * snvme_driver_live() - does the driver take commands now?
 * @ctrl: the controller, with its lock held and the driver bound
 */
bool snvme_driver_live(const struct snvme_ctrl *ctrl)
{
	return PEEK(ctrl->nctrl, u32, layout.state) == layout.live &&
	       !pci_channel_offline(ctrl->pdev);
}

/**
 * snvme_admin() - send an admin command through the driver's queue, and wait
 * @ctrl: the controller, with its lock held and the driver bound
 * @cmd: the command
 * @data: SNVME_IDENTIFY_BYTES for what it reads; NULL: its data pointers go out as they are
 * @result: out: dword 0 of the completion, or NULL
 * Return: 0, the status: SCT << 8 | SC, or a negative errno: it was not sent; -EAGAIN the driver takes none now
 *
 * Marked as a user's command, it fails with a path error when the driver is not live at the moment
 * it would be sent: none of ours gets between the driver's own while it sets the controller up.
 */
int snvme_admin(struct snvme_ctrl *ctrl, struct nvme_command *cmd, void *data, u32 *result)
{
	blk_status_t ended;
	struct request *req;
	void *priv;
	int ret;

	lockdep_assert_held(&ctrl->lock);
	/* What waits while the driver resets would wait with our lock held. */
	if (!snvme_driver_live(ctrl))
		return -EAGAIN;
	req = blk_mq_alloc_request(ctrl->admin_q, data ? REQ_OP_DRV_IN : REQ_OP_DRV_OUT, 0);
	if (IS_ERR(req))
		return PTR_ERR(req);
	nvme_init_request(req, cmd);
	ret = data ? blk_rq_map_kern(req->q, req, data, SNVME_IDENTIFY_BYTES, GFP_KERNEL) : 0;
	if (ret)
		goto out;
	priv = blk_mq_rq_to_pdu(req);
	*(u8 *)(priv + layout.req_flags) |= layout.req_usercmd;
	ended = blk_execute_rq(req, false);
	ret = PEEK(priv, u16, layout.req_status) & 0x7ff;
	/* With no status of the controller's, nor the driver's: its queue was off, and nothing was sent. */
	if (!ret && ended)
		ret = -EAGAIN;
	if (result)
		*result = le32_to_cpu(PEEK(priv, __le32, layout.req_result));
out:
	blk_mq_free_request(req);
	return ret;
}

static bool snvme_can_ask(struct snvme_ctrl *ctrl)
{
	return READ_ONCE(ctrl->state) != SNVME_STATE_RESET;
}

/**
 * snvme_identify() - SNVME_IOC_IDENTIFY
 * @s: the session
 * @arg: as the ABI has it; @arg->status filled on success
 * Return: 0 or a negative errno of the ABI
 */
int snvme_identify(struct snvme_session *s, struct snvme_identify *arg)
{
	struct snvme_ctrl *ctrl = smp_load_acquire(&s->ctrl);
	struct nvme_command cmd = {};
	void *data;
	int ret;

	if (!ctrl)
		return -ENODEV;
	if (arg->cns > SNVME_IDENTIFY_MAX || arg->reserved[0] || arg->reserved[1])
		return -EINVAL;
	data = kzalloc(SNVME_IDENTIFY_BYTES, GFP_KERNEL_ACCOUNT);
	if (!data)
		return -ENOMEM;
	cmd.identify.opcode = nvme_admin_identify;
	cmd.identify.nsid = cpu_to_le32(arg->nsid);
	cmd.identify.cns = arg->cns;
	/* A reset may begin between the look and the command, and again. */
	for (unsigned int tries = 0; tries < 100; tries++) {
		ret = wait_event_killable(ctrl->wait, snvme_can_ask(ctrl));
		if (ret) {
			ret = -EINTR;
			break;
		}
		mutex_lock(&ctrl->lock);
		ret = ctrl->unbound || READ_ONCE(ctrl->state) == SNVME_STATE_GONE ? -ENODEV :
		      snvme_admin(ctrl, &cmd, data, NULL);
		mutex_unlock(&ctrl->lock);
		if (ret != -EAGAIN && (ret <= 0 || !SNVME_STATUS_PATH(ret)))
			break;
		ret = -EAGAIN;
		if (schedule_timeout_killable(SNVME_ASK_AGAIN)) {
			ret = -EINTR;
			break;
		}
	}
	if (ret >= 0) {
		arg->status = ret;
		ret = copy_to_user(u64_to_user_ptr(arg->addr), data, SNVME_IDENTIFY_BYTES) ? -EFAULT : 0;
	}
	kfree(data);
	return ret;
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
	struct nvme_command cmd = {};
	u64 epoch = READ_ONCE(ctrl->epoch);
	u32 result;
	int ret;

	if (ctrl->granted_epoch == epoch + 1)
		return 0;
	cmd.features.opcode = nvme_admin_get_features;
	cmd.features.fid = cpu_to_le32(NVME_FEAT_NUM_QUEUES);
	ret = snvme_admin(ctrl, &cmd, NULL, &result);
	if (ret < 0 || SNVME_STATUS_PATH(ret))
		return -EAGAIN;
	if (ret && READ_ONCE(ctrl->epoch) != epoch)
		return -EAGAIN;
	if (ret) {
		dev_err(&ctrl->pdev->dev, "snvme: asking for the number of queues failed: %d\n", ret);
		return -EIO;
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
	settled = ctrl->quiet >= ctrl->epoch || ctrl->state == SNVME_STATE_LIVE;
	spin_unlock_irqrestore(&ctrl->state_lock, flags);
	return settled;
}

/**
 * snvme_wait_quiet() - wait until a reset, if there is one, is over
 * @ctrl: the controller
 * Return: 0 or -EINTR. It ends: a reset leads to a disabled controller, a live one, or the driver's
 * end.
 */
int snvme_wait_quiet(struct snvme_ctrl *ctrl)
{
	return wait_event_killable(ctrl->wait, snvme_settled(ctrl)) ? -EINTR : 0;
}

static bool snvme_can_tell(struct snvme_ctrl *ctrl, u64 epoch)
{
	unsigned long flags;
	bool can;

	spin_lock_irqsave(&ctrl->state_lock, flags);
	can = epoch < ctrl->quiet || ctrl->state == SNVME_STATE_LIVE;
	spin_unlock_irqrestore(&ctrl->state_lock, flags);
	return can;
}

/**
 * snvme_wait_answer() - wait until the controller has forgotten a queue, or can be asked to
 * @ctrl: the controller
 * @epoch: of the queue: it may be that of a reset that goes on, where its Create was carried out in the midst
 * Return: 0 or -EINTR. It ends as snvme_wait_quiet() does.
 */
int snvme_wait_answer(struct snvme_ctrl *ctrl, u64 epoch)
{
	return wait_event_killable(ctrl->wait, snvme_can_tell(ctrl, epoch)) ? -EINTR : 0;
}

/* Something happened to @s that its owner has to know; with state_lock held. */
void snvme_session_event(struct snvme_session *s)
{
	s->events++;
	wake_up_all(&s->wait);
}

/*
 * The controller's state changes: tell every session. @word is the new state; @quiet says that the
 * controller was disabled after its queues died. From any context.
 *
 * That it is live is looked up under the lock: either it is so still, and whoever ends that comes after us, or
 * he was first and it is not said.
 */
static void snvme_ctrl_event(struct snvme_ctrl *ctrl, u32 word, bool quiet)
{
	struct snvme_session *s;
	unsigned long flags;
	bool changed;

	spin_lock_irqsave(&ctrl->state_lock, flags);
	if (word == SNVME_STATE_LIVE) {
		struct nvme_ctrl *nctrl = READ_ONCE(ctrl->nctrl);

		if (!nctrl || PEEK(nctrl, u32, layout.state) != layout.live) {
			spin_unlock_irqrestore(&ctrl->state_lock, flags);
			return;
		}
	} else if (ctrl->state == SNVME_STATE_LIVE) {
		ctrl->epoch++;
		list_for_each_entry(s, &ctrl->sessions, node)
			for (int i = 0; i < ARRAY_SIZE(s->state->queue); i++)
				if (s->state->queue[i] == SNVME_STATE_LIVE)
					WRITE_ONCE(s->state->queue[i], word);
	}
	changed = ctrl->state != word && ctrl->state != SNVME_STATE_GONE;
	if (changed) {
		ctrl->state = word;
		trace_snvme_state(ctrl);
	}
	/* After its end no queue is made: those that a Create has left open are gone too. */
	if (quiet)
		ctrl->quiet = word == SNVME_STATE_GONE ? U64_MAX : max(ctrl->quiet, ctrl->epoch);
	list_for_each_entry(s, &ctrl->sessions, node) {
		WRITE_ONCE(s->state->epoch, ctrl->epoch);
		WRITE_ONCE(s->state->ctrl_state, ctrl->state);
		if (changed)
			snvme_session_event(s);
	}
	spin_unlock_irqrestore(&ctrl->state_lock, flags);
	wake_up_all(&ctrl->wait);
	if (quiet || word == SNVME_STATE_LIVE)
		queue_work(snvme_wq, &snvme_reap_work);
}

/*
 * What a state of the driver's means to us. Not that the controller was disabled: firmware
 * activation goes through RESETTING and CONNECTING to LIVE with all queues in place. DEAD is entered
 * after it was disabled for good, or found unplugged. After DELETING the driver disables the
 * controller and lets go: snvme_driver_left() follows.
 */
static void snvme_ctrl_state(struct snvme_ctrl *ctrl, u32 state)
{
	if (state == layout.resetting || state == layout.connecting)
		snvme_ctrl_event(ctrl, SNVME_STATE_RESET, false);
	else if (state == layout.deleting || state == layout.deleting_noio)
		snvme_ctrl_event(ctrl, SNVME_STATE_GONE, false);
	else if (state == layout.dead)
		snvme_ctrl_event(ctrl, SNVME_STATE_GONE, true);
}

/* A call of nvme_change_ctrl_state(ctrl, new) under way. */
struct snvme_change {
	struct nvme_ctrl *nctrl;
	u32 state;
};

static int snvme_change_entry(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	struct snvme_change *change = (void *)ri->data;

	change->nctrl = (void *)regs_get_kernel_argument(regs, 0);
	change->state = regs_get_kernel_argument(regs, 1);
	return 0;
}

/*
 * It returns whether the transition was allowed. Two calls may return in another order than they
 * took effect: so a death is taken from the argument, and what holds now from the driver.
 */
static int snvme_change_return(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	struct snvme_change *change = (void *)ri->data;
	struct snvme_ctrl *ctrl;

	if (!(regs_return_value(regs) & 0xff))
		return 0;
	rcu_read_lock();
	list_for_each_entry_rcu(ctrl, &snvme_ctrls, node) {
		if (READ_ONCE(ctrl->nctrl) != change->nctrl)
			continue;
		if (change->state != layout.live)
			snvme_ctrl_state(ctrl, change->state);
		snvme_ctrl_event(ctrl, SNVME_STATE_LIVE, false);
	}
	rcu_read_unlock();
	return 0;
}

static struct kretprobe snvme_change_probe = {
	.kp.symbol_name = "nvme_change_ctrl_state",
	.entry_handler = snvme_change_entry,
	.handler = snvme_change_return,
	.data_size = sizeof(struct snvme_change),
	.maxactive = 64,
};

/*
 * Entry of nvme_enable_ctrl(ctrl): the driver has disabled the controller and seen CSTS.RDY go, and
 * will set CC.EN now. All queues of before are forgotten.
 */
static int snvme_enable_entry(struct kprobe *p, struct pt_regs *regs)
{
	struct nvme_ctrl *nctrl = (void *)regs_get_kernel_argument(regs, 0);
	struct snvme_ctrl *ctrl;

	rcu_read_lock();
	list_for_each_entry_rcu(ctrl, &snvme_ctrls, node)
		if (READ_ONCE(ctrl->nctrl) == nctrl)
			snvme_ctrl_event(ctrl, SNVME_STATE_RESET, true);
	rcu_read_unlock();
	return 0;
}

static struct kprobe snvme_enable_probe = {
	.symbol_name = "nvme_enable_ctrl",
	.pre_handler = snvme_enable_entry,
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
	/*
	 * Sessions come and go under device_lock. Not under snvme_lock: an exporter that takes memory away
	 * may be waiting for another controller's end, which needs it.
	 */
	list_for_each_entry(s, &ctrl->sessions, node)
		snvme_mems_release(s);
	ctrl->released = true;
}

/* The driver is about to let go, with the controller still running: take our queues out first. */
static void snvme_driver_leaves(struct snvme_ctrl *ctrl)
{
	struct snvme_session *s;

	/* What was pulled out writes nowhere any more, and would answer no command. */
	snvme_ctrl_event(ctrl, SNVME_STATE_GONE, !pci_device_is_present(ctrl->pdev));
	list_for_each_entry(s, &ctrl->sessions, node)
		snvme_queues_delete(s);
	mutex_lock(&ctrl->lock);
	down_write(&ctrl->map_lock);
	ctrl->unbound = true;
	list_for_each_entry(s, &ctrl->sessions, node)
		snvme_zap_doorbells(s);
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

/*
 * Our own address of a page of the driver's coherent memory, kept alive by a reference: behind an
 * IOMMU the driver's address is a mapping that goes with the driver.
 */
static void *snvme_shadow_page(void *va)
{
	struct page *page;

	if (!va)
		return NULL;
	page = is_vmalloc_addr(va) ? vmalloc_to_page(va) : virt_to_page(va);
	get_page(page);
	return page_address(page);
}

static void snvme_shadow_put(void *va)
{
	if (va)
		put_page(virt_to_page(va));
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
	void *memory = NULL;
	u32 cc;

	ctrl->bar = pci_resource_start(ctrl->pdev, 0);
	ctrl->bar_len = pci_resource_len(ctrl->pdev, 0);
	if (ctrl->bar_len < 0x2000)
		return -EOPNOTSUPP;
	regs = ioremap(ctrl->bar, 0x1000);
	if (!regs) {
		/* The BAR of a virtual SSD is memory (vssd.ko), which x86 maps as registers for one only. */
		memory = memremap(ctrl->bar, 0x1000, MEMREMAP_WB);
		regs = (void __iomem __force *)memory;
	}
	if (!regs)
		return -ENOMEM;
	ctrl->cap = lo_hi_readq(regs + NVME_REG_CAP);
	ctrl->vs = readl(regs + NVME_REG_VS);
	cc = readl(regs + NVME_REG_CC);
	if (memory)
		memunmap(memory);
	else
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

	if (!snvme_layout_holds(nctrl, device, pdev)) {
		dev_err(&pdev->dev, "snvme: the driver's data does not look as this kernel's type information says\n");
		return ERR_PTR(-EOPNOTSUPP);
	}
	/* Half-way through a reset nothing that is read below means anything. */
	if (PEEK(nctrl, u32, layout.state) != layout.live || pci_channel_offline(pdev))
		return ERR_PTR(-EBUSY);
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
	ctrl->domain = pci_domain_nr(pdev->bus);
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
		struct module *owner = bdev->bd_disk->fops->owner;

		/* Another driver's disk may have lost its parent. */
		if (owner && strcmp(owner->name, "nvme_core"))
			return -ENOTTY;
		if (bdev_is_partition(bdev))
			return -EINVAL;
		*device = disk_to_dev(bdev->bd_disk)->parent;
		if (!*device || !(*device)->class || strcmp((*device)->class->name, "nvme")) {
			pr_err("%pg belongs to no single controller; attach by /dev/nvmeN\n", bdev);
			return -EOPNOTSUPP;
		}
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

	if (!s->by_group && !capable(CAP_SYS_RAWIO))
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
	ret = snvme_layout_learn();
	if (ret)
		goto out_fput;
	ret = -EBUSY;
	if (test_and_set_bit(0, &s->attaching))
		goto out_fput;

	device_lock(&pdev->dev);
	mutex_lock(&snvme_lock);
	/* The open file may be of a driver's object that another has followed. */
	ret = !pdev->dev.driver || !device_is_registered(device) ? -ENODEV :
	      strcmp(pdev->dev.driver->name, "nvme") ? -EOPNOTSUPP : 0;
	if (ret)
		goto out_unlock;
	ctrl = snvme_ctrl_get(nctrl, device, pdev);
	if (IS_ERR(ctrl)) {
		ret = PTR_ERR(ctrl);
		goto out_unlock;
	}
	/*
	 * A change that was made before the controller was listed shows in the driver's own state by
	 * the time that an admin command has returned; one after it is probed.
	 */
	mutex_lock(&ctrl->lock);
	ret = READ_ONCE(ctrl->state) == SNVME_STATE_LIVE ? snvme_update_grant(ctrl) : -EAGAIN;
	mutex_unlock(&ctrl->lock);
	if (PEEK(nctrl, u32, layout.state) != layout.live)
		ret = -EAGAIN;
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
	trace_snvme_attach(s, ctrl);
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
	trace_snvme_detach(s, ctrl);
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
	ret = register_kretprobe(&snvme_change_probe);
	if (ret)
		goto out_wq;
	ret = register_kprobe(&snvme_enable_probe);
	if (ret)
		goto out_kretprobe;
	ret = bus_register_notifier(&pci_bus_type, &snvme_bus_nb);
	if (ret)
		goto out_kprobe;
	return 0;
out_kprobe:
	unregister_kprobe(&snvme_enable_probe);
out_kretprobe:
	unregister_kretprobe(&snvme_change_probe);
out_wq:
	destroy_workqueue(snvme_wq);
	pr_err("the nvme driver cannot be watched (%d); CONFIG_KRETPROBES is needed\n", ret);
	return ret;
}

void snvme_attach_exit(void)
{
	bus_unregister_notifier(&pci_bus_type, &snvme_bus_nb);
	unregister_kprobe(&snvme_enable_probe);
	unregister_kretprobe(&snvme_change_probe);
	destroy_workqueue(snvme_wq);
}
