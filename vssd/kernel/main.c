// SPDX-License-Identifier: GPL-2.0-only
/*
 * vssd.ko: virtual SSDs in the kernel, made and removed through configfs:
 *
 *	mkdir /sys/kernel/config/vssd/NAME
 *	echo 1G > /sys/kernel/config/vssd/NAME/size
 *	echo 1 > /sys/kernel/config/vssd/NAME/enable
 *
 * Each is an NVMe controller that the kernel's own driver takes. A thread plays it: it polls doorbells, as vssd's core
 * does everywhere, and the registers, which are plain memory here.
 */
#include <linux/configfs.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include <snvme/nvme.h>

#include "core.h"
#include "vssd_kernel.h"

#define SPIN_NS		200000		/* idle for so long, the thread takes naps */
#define NAP_US		50

/**
 * struct ssd - an SSD
 * @item: its directory
 * @lock: guards what configfs sets, and @enabled
 * @size: bytes
 * @queues: I/O queues of each kind
 * @lba: bytes of a block
 * @enabled: it is there
 * @v, @ctrl, @bus: of an SSD that is there
 * @thread: plays it, from before a driver can find it until after it has let go
 * @seen: what the host last saw, or wrote, of the registers: a dword each. The thread's
 */
struct ssd {
	struct config_item item;
	struct mutex lock;
	u64 size;
	u32 queues;
	u32 lba;
	bool enabled;
	struct vssd *v;
	struct vssd_ctrl *ctrl;
	struct vssd_bus bus;
	struct task_struct *thread;
	u32 seen[SNV_REG_DBS / 4];
};

static struct device *root;

/* ---- what the core asks for -------------------------------------------------------------------- */

static void *env_alloc(void *ctx, size_t size)
{
	return kvzalloc(size, GFP_KERNEL);
}

static void env_free(void *ctx, void *p, size_t size)
{
	kvfree(p);
}

static struct vssd_media *env_media_create(void *ctx, u64 size)
{
	return vssd_memory_create(size);
}

static u64 env_now(void *ctx)
{
	return ktime_get_ns();
}

static void *host_translate(void *ctx, u64 addr, size_t *length)
{
	struct ssd *s = ctx;

	return vssd_bus_translate(&s->bus, addr, length);
}

static void host_irq(void *ctx, u32 vector)
{
	struct ssd *s = ctx;

	vssd_bus_raise(&s->bus, vector);
}

/* ---- registers --------------------------------------------------------------------------------- */

/* Registers that the host writes, in the order in which they count: Controller Configuration is the last. */
static const u32 written[] = {
	SNV_REG_INTMS, SNV_REG_INTMC, SNV_REG_AQA, SNV_REG_ASQ, SNV_REG_ASQ + 4, SNV_REG_ACQ, SNV_REG_ACQ + 4,
	SNV_REG_CC, SNV_REG_NSSR, SNV_REG_CSTS,
};

static const u32 shown[] = {
	SNV_REG_CAP, SNV_REG_CAP + 4, SNV_REG_VS, SNV_REG_INTMS, SNV_REG_INTMC, SNV_REG_CC, SNV_REG_CSTS, SNV_REG_NSSR,
	SNV_REG_AQA, SNV_REG_ASQ, SNV_REG_ASQ + 4, SNV_REG_ACQ, SNV_REG_ACQ + 4, SNV_REG_CRTO,
};

static u32 *reg(struct ssd *s, u32 offset)
{
	return (u32 *)((char *)s->bus.regs + offset);
}

/* What the host has written is handed to the core. */
static bool take_writes(struct ssd *s)
{
	bool any = false;

	for (u32 i = 0; i < ARRAY_SIZE(written); i++) {
		u32 offset = written[i], value = smp_load_acquire(reg(s, offset));

		if (value == s->seen[offset / 4])
			continue;
		s->seen[offset / 4] = value;
		vssd_reg_write(s->ctrl, offset, value, 4);
		any = true;
	}
	return any;
}

/* What the core says is shown, unless the host has just written something else. */
static void show(struct ssd *s)
{
	for (u32 i = 0; i < ARRAY_SIZE(shown); i++) {
		u32 offset = shown[i], value = vssd_reg_read(s->ctrl, offset, 4);

		if (value == s->seen[offset / 4])
			continue;
		if (cmpxchg(reg(s, offset), s->seen[offset / 4], value) == s->seen[offset / 4])
			s->seen[offset / 4] = value;
	}
}

static int serve(void *arg)
{
	struct ssd *s = arg;
	u64 idle_since = 0;

	while (!kthread_should_stop()) {
		bool busy = take_writes(s);

		busy |= vssd_poll(s->v, 0) != 0;
		show(s);
		vssd_bus_unmask(&s->bus);
		if (busy) {
			idle_since = 0;
			cond_resched();
			continue;
		}
		if (!idle_since)
			idle_since = ktime_get_ns();
		if (ktime_get_ns() - idle_since < SPIN_NS)
			cond_resched();
		else
			usleep_range(NAP_US, 2 * NAP_US);
	}
	return 0;
}

/* ---- one SSD ----------------------------------------------------------------------------------- */

static void ssd_stop(struct ssd *s)
{
	vssd_bus_remove(&s->bus);
	if (s->thread)
		kthread_stop(s->thread);
	s->thread = NULL;
	if (s->v)
		vssd_destroy(s->v);
	s->v = NULL;
	s->ctrl = NULL;
	vssd_bus_free(&s->bus);
	memset(&s->bus, 0, sizeof(s->bus));
	memset(s->seen, 0, sizeof(s->seen));
}

static int add_namespace(struct ssd *s)
{
	struct vssd_ns_config config = { .lba_size = s->lba, .media = vssd_memory_create(s->size) };
	int ret;

	if (!config.media)
		return -ENOMEM;
	ret = vssd_ns_add(s->v, &config, NULL);
	if (ret)
		config.media->ops->close(config.media);
	return ret;
}

static int ssd_start(struct ssd *s)
{
	const struct vssd_env env = { .alloc = env_alloc, .free = env_free, .now = env_now,
				      .media_create = env_media_create };
	const struct vssd_config config = { .serial = s->item.ci_name, .workers = 1 };
	struct vssd_ctrl_config ctrl;
	struct vssd_host host = { .translate = host_translate, .irq = host_irq, .ctx = s };
	struct task_struct *thread;
	int ret;

	vssd_ctrl_defaults(&ctrl);
	ctrl.queues = s->queues;
	/* More than the driver asks for: there are queues to spare for others. */
	ctrl.grant = VSSD_GRANT_MAX;
	ctrl.cqr = true;
	/* Doorbells are memory as it is: shadows of them save nothing. */
	ctrl.dbbuf = false;
	ret = vssd_bus_make(&s->bus, &ctrl);
	if (ret)
		goto out_stop;
	host.doorbells = (char *)s->bus.regs + SNV_REG_DBS;
	ret = vssd_create(&env, &config, &s->v);
	if (!ret)
		ret = add_namespace(s);
	if (!ret)
		ret = vssd_ctrl_add(s->v, &ctrl, &host, &s->ctrl);
	if (ret)
		goto out_stop;
	show(s);
	thread = kthread_run(serve, s, "vssd-%s", s->item.ci_name);
	if (IS_ERR(thread)) {
		ret = PTR_ERR(thread);
		goto out_stop;
	}
	s->thread = thread;
	ret = vssd_bus_scan(&s->bus, root);
	if (!ret)
		return 0;
out_stop:
	ssd_stop(s);
	return ret;
}

/* ---- configfs ---------------------------------------------------------------------------------- */

static struct ssd *ssd_of(struct config_item *item)
{
	return container_of(item, struct ssd, item);
}

static ssize_t ssd_size_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%llu\n", ssd_of(item)->size);
}

static ssize_t ssd_size_store(struct config_item *item, const char *page, size_t length)
{
	struct ssd *s = ssd_of(item);
	char *end;
	u64 size = memparse(page, &end);
	ssize_t ret = length;

	if (end == page || (*end && *end != '\n') || !size || size % PAGE_SIZE)
		return -EINVAL;
	mutex_lock(&s->lock);
	if (s->enabled)
		ret = -EBUSY;
	else
		s->size = size;
	mutex_unlock(&s->lock);
	return ret;
}

/* A number of [@min, @max] for *@to, while the SSD is off. */
static ssize_t store(struct ssd *s, u32 *to, const char *page, size_t length, u32 min, u32 max)
{
	ssize_t ret;
	u32 value;

	ret = kstrtou32(page, 0, &value);
	if (ret)
		return ret;
	if (value < min || value > max)
		return -ERANGE;
	mutex_lock(&s->lock);
	if (s->enabled)
		ret = -EBUSY;
	else
		*to = value;
	mutex_unlock(&s->lock);
	return ret ? ret : length;
}

static ssize_t ssd_queues_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%u\n", ssd_of(item)->queues);
}

static ssize_t ssd_queues_store(struct config_item *item, const char *page, size_t length)
{
	return store(ssd_of(item), &ssd_of(item)->queues, page, length, 1, VSSD_KERNEL_VECTORS - 1);
}

static ssize_t ssd_lba_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%u\n", ssd_of(item)->lba);
}

static ssize_t ssd_lba_store(struct config_item *item, const char *page, size_t length)
{
	u32 lba;
	ssize_t ret = kstrtou32(page, 0, &lba);

	if (ret)
		return ret;
	if (lba != 512 && lba != 4096)
		return -EINVAL;
	return store(ssd_of(item), &ssd_of(item)->lba, page, length, 512, 4096);
}

static ssize_t ssd_enable_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%d\n", ssd_of(item)->enabled);
}

static ssize_t ssd_enable_store(struct config_item *item, const char *page, size_t length)
{
	struct ssd *s = ssd_of(item);
	bool enable;
	ssize_t ret = kstrtobool(page, &enable);

	if (ret)
		return ret;
	mutex_lock(&s->lock);
	if (enable && !s->enabled)
		ret = ssd_start(s);
	else if (!enable && s->enabled)
		ssd_stop(s);
	if (!ret)
		s->enabled = enable;
	mutex_unlock(&s->lock);
	return ret ? ret : length;
}

/* The function's address, once it is there. */
static ssize_t ssd_pci_show(struct config_item *item, char *page)
{
	struct ssd *s = ssd_of(item);
	ssize_t n;

	mutex_lock(&s->lock);
	n = s->enabled ? sysfs_emit(page, "%s\n", pci_name(s->bus.pdev)) : 0;
	mutex_unlock(&s->lock);
	return n;
}

CONFIGFS_ATTR(ssd_, size);
CONFIGFS_ATTR(ssd_, queues);
CONFIGFS_ATTR(ssd_, lba);
CONFIGFS_ATTR(ssd_, enable);
CONFIGFS_ATTR_RO(ssd_, pci);

static struct configfs_attribute *ssd_attrs[] = {
	&ssd_attr_size, &ssd_attr_queues, &ssd_attr_lba, &ssd_attr_enable, &ssd_attr_pci, NULL,
};

static void ssd_release(struct config_item *item)
{
	kvfree(ssd_of(item));
}

static struct configfs_item_operations ssd_item_ops = { .release = ssd_release };

static const struct config_item_type ssd_type = {
	.ct_item_ops = &ssd_item_ops,
	.ct_attrs = ssd_attrs,
	.ct_owner = THIS_MODULE,
};

static struct config_item *make_ssd(struct config_group *group, const char *name)
{
	struct ssd *s = kvzalloc(sizeof(*s), GFP_KERNEL);

	if (!s)
		return ERR_PTR(-ENOMEM);
	mutex_init(&s->lock);
	s->size = 1 << 30;
	s->queues = 64;
	s->lba = 512;
	config_item_init_type_name(&s->item, name, &ssd_type);
	return &s->item;
}

static void drop_ssd(struct config_group *group, struct config_item *item)
{
	struct ssd *s = ssd_of(item);

	mutex_lock(&s->lock);
	if (s->enabled)
		ssd_stop(s);
	s->enabled = false;
	mutex_unlock(&s->lock);
	config_item_put(item);
}

static struct configfs_group_operations group_ops = { .make_item = make_ssd, .drop_item = drop_ssd };

static const struct config_item_type group_type = { .ct_group_ops = &group_ops, .ct_owner = THIS_MODULE };

static struct configfs_subsystem subsystem = {
	.su_group = { .cg_item = { .ci_namebuf = "vssd", .ci_type = &group_type } },
};

static int __init vssd_init(void)
{
	int ret;

	root = root_device_register("vssd");
	if (IS_ERR(root))
		return PTR_ERR(root);
	config_group_init(&subsystem.su_group);
	mutex_init(&subsystem.su_mutex);
	ret = configfs_register_subsystem(&subsystem);
	if (ret)
		root_device_unregister(root);
	return ret;
}

static void __exit vssd_exit(void)
{
	configfs_unregister_subsystem(&subsystem);
	root_device_unregister(root);
}

module_init(vssd_init);
module_exit(vssd_exit);
MODULE_DESCRIPTION("Virtual NVMe SSDs");
MODULE_LICENSE("GPL");
