// SPDX-License-Identifier: GPL-2.0-only
/*
 * vssd.ko: virtual SSDs in the kernel, made and removed through configfs:
 *
 *	mkdir /sys/kernel/config/vssd/NAME
 *	echo 1G > /sys/kernel/config/vssd/NAME/size
 *	echo 1 > /sys/kernel/config/vssd/NAME/enable
 *
 * Each is an NVMe controller that the kernel's own driver takes (ssd.c). vssd(4) has the settings.
 */
#include <linux/configfs.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "vssd_kernel.h"

/**
 * struct item - a directory
 * @lock: guards the rest
 * @ssd: while it is enabled, else NULL
 */
struct item {
	struct config_item item;
	struct mutex lock;
	struct vssd_ssd_config config;
	struct vssd_ssd *ssd;
};

static struct device *root;

static struct item *item_of(struct config_item *item)
{
	return container_of(item, struct item, item);
}

/* ---- settings ---------------------------------------------------------------------------------- */

/* The lock, for settings that may change now: 0, or -EBUSY without it. */
static int lock_settings(struct item *s)
{
	mutex_lock(&s->lock);
	if (!s->ssd)
		return 0;
	mutex_unlock(&s->lock);
	return -EBUSY;
}

/* "4096", "64K", "1G" and nothing behind it. */
static int parse(const char *page, u64 *value)
{
	char *end;

	*value = memparse(page, &end);
	return end == page || (*end && *end != '\n') ? -EINVAL : 0;
}

static ssize_t store(struct item *s, u64 *to, const char *page, size_t length, u64 min, u64 max)
{
	u64 value;
	int ret = parse(page, &value);

	if (ret)
		return ret;
	if (value < min || value > max)
		return -ERANGE;
	ret = lock_settings(s);
	if (ret)
		return ret;
	*to = value;
	mutex_unlock(&s->lock);
	return length;
}

/* A number from @min to @max, which may end in K, M, G or T. */
#define NUMBER(name, min, max)										\
static ssize_t ssd_##name##_show(struct config_item *item, char *page)					\
{													\
	return sysfs_emit(page, "%llu\n", READ_ONCE(item_of(item)->config.name));			\
}													\
static ssize_t ssd_##name##_store(struct config_item *item, const char *page, size_t length)		\
{													\
	return store(item_of(item), &item_of(item)->config.name, page, length, min, max);		\
}													\
CONFIGFS_ATTR(ssd_, name)

NUMBER(size, 0, S64_MAX);
NUMBER(lba, 512, 4096);
NUMBER(queues, 1, VSSD_KERNEL_VECTORS - 1);
NUMBER(threads, 1, VSSD_MAX_WORKERS);
NUMBER(zone_size, 0, S64_MAX);
NUMBER(zone_capacity, 0, S64_MAX);
NUMBER(max_open, 0, U32_MAX);
NUMBER(max_active, 0, U32_MAX);

/* An absolute path, since nobody would know relative to what; or nothing. */
static ssize_t ssd_file_store(struct config_item *item, const char *page, size_t length)
{
	struct item *s = item_of(item);
	size_t n = length;
	char *path = NULL;
	ssize_t ret;

	if (n && page[n - 1] == '\n')
		n--;
	if (n && page[0] != '/')
		return -EINVAL;
	if (n) {
		path = kmemdup_nul(page, n, GFP_KERNEL);
		if (!path)
			return -ENOMEM;
	}
	ret = lock_settings(s);
	if (ret) {
		kfree(path);
		return ret;
	}
	kfree(s->config.file);
	s->config.file = path;
	mutex_unlock(&s->lock);
	return length;
}

static ssize_t ssd_file_show(struct config_item *item, char *page)
{
	struct item *s = item_of(item);
	ssize_t n;

	mutex_lock(&s->lock);
	n = s->config.file ? sysfs_emit(page, "%s\n", s->config.file) : 0;
	mutex_unlock(&s->lock);
	return n;
}

CONFIGFS_ATTR(ssd_, file);

/* "SIZE$START", as it was given to Linux at boot; or 0. */
static ssize_t ssd_memmap_store(struct config_item *item, const char *page, size_t length)
{
	struct item *s = item_of(item);
	u64 size, start = 0;
	char *end;
	int ret;

	size = memparse(page, &end);
	if (end == page || (size && *end != '$'))
		return -EINVAL;
	ret = parse(size ? end + 1 : page, &start);
	if (ret || !PAGE_ALIGNED(size | start) || start + size < start)
		return -EINVAL;
	ret = lock_settings(s);
	if (ret)
		return ret;
	s->config.memmap_size = size;
	s->config.memmap_at = start;
	mutex_unlock(&s->lock);
	return length;
}

static ssize_t ssd_memmap_show(struct config_item *item, char *page)
{
	struct item *s = item_of(item);
	ssize_t n;

	mutex_lock(&s->lock);
	n = s->config.memmap_size ? sysfs_emit(page, "%#llx$%#llx\n", s->config.memmap_size, s->config.memmap_at) :
				    sysfs_emit(page, "0\n");
	mutex_unlock(&s->lock);
	return n;
}

CONFIGFS_ATTR(ssd_, memmap);

/* ---- coming and going -------------------------------------------------------------------------- */

static ssize_t ssd_enable_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%d\n", !!READ_ONCE(item_of(item)->ssd));
}

/* Under the lock. */
static int enable(struct item *s, bool on)
{
	struct vssd_ssd *ssd;

	if (on == !!s->ssd)
		return 0;
	if (!on) {
		vssd_ssd_stop(s->ssd);
		s->ssd = NULL;
		return 0;
	}
	ssd = vssd_ssd_start(s->item.ci_name, &s->config, root);
	if (IS_ERR(ssd))
		return PTR_ERR(ssd);
	s->ssd = ssd;
	return 0;
}

static ssize_t ssd_enable_store(struct config_item *item, const char *page, size_t length)
{
	struct item *s = item_of(item);
	bool on;
	int ret = kstrtobool(page, &on);

	if (ret)
		return ret;
	mutex_lock(&s->lock);
	ret = enable(s, on);
	mutex_unlock(&s->lock);
	return ret ? ret : length;
}

CONFIGFS_ATTR(ssd_, enable);

/* The function's address, once it is there. */
static ssize_t ssd_pci_show(struct config_item *item, char *page)
{
	struct item *s = item_of(item);
	ssize_t n;

	mutex_lock(&s->lock);
	n = s->ssd ? sysfs_emit(page, "%s\n", vssd_ssd_pci(s->ssd)) : 0;
	mutex_unlock(&s->lock);
	return n;
}

CONFIGFS_ATTR_RO(ssd_, pci);

static struct configfs_attribute *ssd_attrs[] = {
	&ssd_attr_size, &ssd_attr_lba, &ssd_attr_queues, &ssd_attr_threads, &ssd_attr_zone_size, &ssd_attr_zone_capacity,
	&ssd_attr_max_open, &ssd_attr_max_active, &ssd_attr_file, &ssd_attr_memmap, &ssd_attr_enable, &ssd_attr_pci, NULL,
};

static void ssd_release(struct config_item *item)
{
	kfree(item_of(item)->config.file);
	kfree(item_of(item));
}

static struct configfs_item_operations ssd_item_ops = { .release = ssd_release };

static const struct config_item_type ssd_type = {
	.ct_item_ops = &ssd_item_ops,
	.ct_attrs = ssd_attrs,
	.ct_owner = THIS_MODULE,
};

static struct config_item *make_item(struct config_group *group, const char *name)
{
	struct item *s;

	/* It becomes a serial number. */
	if (strlen(name) > 20)
		return ERR_PTR(-ENAMETOOLONG);
	s = kzalloc(sizeof(*s), GFP_KERNEL);
	if (!s)
		return ERR_PTR(-ENOMEM);
	mutex_init(&s->lock);
	s->config.lba = 512;
	s->config.queues = 64;
	s->config.threads = 1;
	config_item_init_type_name(&s->item, name, &ssd_type);
	return &s->item;
}

static void drop_item(struct config_group *group, struct config_item *item)
{
	struct item *s = item_of(item);

	mutex_lock(&s->lock);
	enable(s, false);
	mutex_unlock(&s->lock);
	config_item_put(item);
}

static struct configfs_group_operations group_ops = { .make_item = make_item, .drop_item = drop_item };

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
