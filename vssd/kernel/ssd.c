// SPDX-License-Identifier: GPL-2.0-only
/*
 * One SSD: what the core asks of its home, and the threads that play it. They poll doorbells, as vssd's core does
 * everywhere; the first of them also polls the registers, which are plain memory here.
 */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/rcupdate.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include <snvme/nvme.h>

#include "core.h"
#include "vssd_kernel.h"

#define MEMORY		(1ULL << 30)	/* bytes of an SSD in memory whose size nobody has said */

#define DEALLOCATE	(16U << 20)	/* bytes, by a command: where nothing else does, zeros are written */

#define SPIN_NS		200000		/* without work for so long, a thread takes naps */
#define NAP_US		50
#define REST_NS		NSEC_PER_SEC	/* and for so long, longer ones */
#define LONG_NAP_US	1000

/* A thread of an SSD, as worker @index. */
struct player {
	struct vssd_ssd *s;
	u32 index;
	struct task_struct *thread;
};

/**
 * struct vssd_ssd - an SSD
 * @v, @ctrl: of the core
 * @bus: where it is found
 * @player: [VSSD_MAX_WORKERS] run from before a driver can find it until after it has let go
 * @seen: what the host last saw, or wrote, of the registers: a dword each. The first player's
 */
struct vssd_ssd {
	struct vssd *v;
	struct vssd_ctrl *ctrl;
	struct vssd_bus bus;
	struct player player[VSSD_MAX_WORKERS];
	u32 seen[SNV_REG_DBS / 4];
};

/* ---- what the core asks for -------------------------------------------------------------------- */

static void *env_alloc(void *ctx, size_t size)
{
	return kvzalloc(size, GFP_KERNEL | __GFP_NOWARN);
}

static void env_free(void *ctx, void *p, size_t size)
{
	kvfree(p);
}

/* Namespaces that hosts create are in memory, wherever the first one is. */
static struct vssd_media *env_media_create(void *ctx, u64 size)
{
	return vssd_memory_create(size, true);
}

static u64 env_now(void *ctx)
{
	return ktime_get_ns();
}

static void *host_translate(void *ctx, u64 addr, size_t *length)
{
	struct vssd_ssd *s = ctx;

	return vssd_bus_translate(&s->bus, addr, length);
}

static void host_irq(void *ctx, u32 vector)
{
	struct vssd_ssd *s = ctx;

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

static u32 *reg(struct vssd_ssd *s, u32 offset)
{
	return (u32 *)((char *)s->bus.regs + offset);
}

/*
 * What the host has written is handed to the core: Controller Configuration was read first, so that the queues' places
 * are those that the host wrote before it. Partner: the host's stores, which are in order.
 */
static bool take_writes(struct vssd_ssd *s)
{
	u32 cc = smp_load_acquire(reg(s, SNV_REG_CC));
	bool any = false;

	for (u32 i = 0; i < ARRAY_SIZE(written); i++) {
		u32 offset = written[i], value = offset == SNV_REG_CC ? cc : READ_ONCE(*reg(s, offset));

		if (value == s->seen[offset / 4])
			continue;
		s->seen[offset / 4] = value;
		vssd_reg_write(s->ctrl, offset, value, 4);
		any = true;
	}
	return any;
}

/* What the core says is shown, unless the host has just written something else. */
static void show(struct vssd_ssd *s)
{
	for (u32 i = 0; i < ARRAY_SIZE(shown); i++) {
		u32 offset = shown[i], value = vssd_reg_read(s->ctrl, offset, 4);

		if (value == s->seen[offset / 4])
			continue;
		if (cmpxchg(reg(s, offset), s->seen[offset / 4], value) == s->seen[offset / 4])
			s->seen[offset / 4] = value;
	}
}

/* ---- threads ----------------------------------------------------------------------------------- */

static bool play_round(struct player *p)
{
	struct vssd_ssd *s = p->s;
	bool busy = false;

	if (!p->index && vssd_bus_cut(&s->bus)) {
		vssd_ctrl_cut(s->ctrl);
		vssd_bus_mend(&s->bus);
	}
	if (!vssd_bus_enter(&s->bus))
		return false;
	if (!p->index)
		busy = take_writes(s);
	busy |= vssd_poll(s->v, p->index) != 0;
	if (!p->index) {
		show(s);
		vssd_bus_unmask(&s->bus);
	}
	vssd_bus_leave(&s->bus);
	return busy;
}

static int play(void *arg)
{
	u64 idle_since = 0, idle;

	/* What we do may be what memory is waiting for. */
	memalloc_noio_save();
	while (!kthread_should_stop()) {
		if (play_round(arg)) {
			idle_since = 0;
			cond_resched_tasks_rcu_qs();
			continue;
		}
		if (!idle_since)
			idle_since = ktime_get_ns();
		idle = ktime_get_ns() - idle_since;
		if (idle < SPIN_NS)
			cond_resched_tasks_rcu_qs();
		else if (idle < REST_NS)
			usleep_idle_range(NAP_US, 2 * NAP_US);
		else
			usleep_idle_range(LONG_NAP_US, 2 * LONG_NAP_US);
	}
	return 0;
}

static int start_players(struct vssd_ssd *s, const char *name, u32 n)
{
	for (u32 i = 0; i < n; i++) {
		struct player *p = &s->player[i];
		struct task_struct *thread;

		p->s = s;
		p->index = i;
		thread = kthread_run(play, p, "vssd-%s/%u", name, i);
		if (IS_ERR(thread))
			return PTR_ERR(thread);
		p->thread = thread;
	}
	return 0;
}

static void stop_players(struct vssd_ssd *s)
{
	for (u32 i = 0; i < VSSD_MAX_WORKERS && s->player[i].thread; i++)
		kthread_stop(s->player[i].thread);
}

/* ---- an SSD ------------------------------------------------------------------------------------ */

/* Its storage. ERR_PTR; said. */
static struct vssd_media *make_media(const char *name, const struct vssd_ssd_config *c)
{
	struct vssd_media *media;
	bool shared = c->threads > 1;

	if (c->file) {
		media = vssd_file_create(c->file);
		if (IS_ERR(media))
			pr_err("vssd %s: file %s: error %ld%s\n", name, c->file, PTR_ERR(media),
			       PTR_ERR(media) == -EBUSY ? ": it is in use" : "");
	} else if (c->memmap_size) {
		media = vssd_memmap_create(c->memmap_at, c->memmap_size, shared);
		if (IS_ERR(media))
			pr_err("vssd %s: memmap %#llx$%#llx: error %ld%s\n", name, c->memmap_size, c->memmap_at,
			       PTR_ERR(media), PTR_ERR(media) == -EINVAL ?
			       ": it is not reserved: that is done at boot by memmap=SIZE$START" :
			       PTR_ERR(media) == -EBUSY ? ": it is in use, or some of it is not reserved" : "");
	} else {
		media = vssd_memory_create(c->size ? c->size : MEMORY, shared);
		if (!media)
			media = ERR_PTR(-ENOMEM);
	}
	return media;
}

/* What the settings mean together. 0 or -EINVAL; said. */
static int check(const char *name, const struct vssd_ssd_config *c)
{
	const char *wrong = NULL;

	if (c->file && c->memmap_size)
		wrong = "either file or memmap";
	else if (c->lba != 512 && c->lba != 4096)
		wrong = "lba must be 512 or 4096";
	else if (!c->zone_size && (c->zone_capacity || c->max_open || c->max_active))
		wrong = "zone_capacity, max_open and max_active need zone_size";
	else if (c->zone_size && (c->file || c->memmap_size))
		/* Write pointers are in memory: they would come back as empty zones with data in them. */
		wrong = "zones are for SSDs in memory, not in file or memmap";
	else if (c->zone_size % c->lba || c->zone_capacity % c->lba || c->zone_capacity > c->zone_size)
		wrong = "zone_size and zone_capacity must be multiples of lba, zone_capacity the smaller one";
	if (wrong)
		pr_err("vssd %s: %s\n", name, wrong);
	return wrong ? -EINVAL : 0;
}

static int add_namespace(struct vssd_ssd *s, const char *name, const struct vssd_ssd_config *c)
{
	struct vssd_ns_config config = {
		.csi = c->zone_size ? VSSD_CSI_ZNS : VSSD_CSI_NVM,
		.lba_size = c->lba,
		.zone_blocks = c->zone_size / c->lba,
		.zone_capacity = c->zone_capacity / c->lba,
		.max_open = c->max_open,
		.max_active = c->max_active,
	};
	int ret;

	config.media = make_media(name, c);
	if (IS_ERR(config.media))
		return PTR_ERR(config.media);
	if (c->size > config.media->size) {
		pr_err("vssd %s: size: there are only %llu bytes\n", name, config.media->size);
		ret = -ENOSPC;
	} else {
		if (c->size)
			config.media->size = c->size;
		ret = vssd_ns_add(s->v, &config, NULL);
		if (ret)
			pr_err("vssd %s: no namespace of %llu bytes%s: error %d\n", name, config.media->size,
			       c->zone_size ? " with such zones" : "", ret);
	}
	if (ret)
		config.media->ops->close(config.media);
	return ret;
}

static int start(struct vssd_ssd *s, const char *name, const struct vssd_ssd_config *c, struct device *parent)
{
	const struct vssd_env env = { .alloc = env_alloc, .free = env_free, .now = env_now,
				      .media_create = env_media_create };
	const struct vssd_config config = { .serial = name, .workers = c->threads };
	struct vssd_host host = { .translate = host_translate, .irq = host_irq, .transient = true, .ctx = s };
	struct vssd_ctrl_config ctrl;
	int ret;

	vssd_ctrl_defaults(&ctrl);
	ctrl.queues = c->queues;
	/* More than the driver asks for: there are queues to spare for others. */
	ctrl.grant = VSSD_GRANT_MAX;
	ctrl.cqr = true;
	/* Doorbells are memory as it is: shadows of them save nothing. */
	ctrl.dbbuf = false;
	/* Storage may be slow; and a driver that gave up would only lose the disk. */
	ctrl.to = 120;
	ctrl.dmrsl = DEALLOCATE / c->lba;
	ret = vssd_bus_make(&s->bus, &ctrl);
	if (ret)
		return ret;
	host.doorbells = (char *)s->bus.regs + SNV_REG_DBS;
	ret = vssd_create(&env, &config, &s->v);
	if (!ret)
		ret = add_namespace(s, name, c);
	if (!ret)
		ret = vssd_ctrl_add(s->v, &ctrl, &host, &s->ctrl);
	if (ret)
		return ret;
	show(s);
	ret = start_players(s, name, c->threads);
	return ret ? ret : vssd_bus_scan(&s->bus, parent);
}

struct vssd_ssd *vssd_ssd_start(const char *name, const struct vssd_ssd_config *config, struct device *parent)
{
	struct vssd_ssd *s;
	int ret = check(name, config);

	if (ret)
		return ERR_PTR(ret);
	s = kvzalloc(sizeof(*s), GFP_KERNEL);
	if (!s)
		return ERR_PTR(-ENOMEM);
	ret = start(s, name, config, parent);
	if (!ret)
		return s;
	vssd_ssd_stop(s);
	return ERR_PTR(ret);
}

void vssd_ssd_stop(struct vssd_ssd *s)
{
	vssd_bus_remove(&s->bus);
	stop_players(s);
	if (s->v)
		vssd_destroy(s->v);
	vssd_bus_free(&s->bus);
	kvfree(s);
}

const char *vssd_ssd_pci(const struct vssd_ssd *s)
{
	return pci_name(s->bus.pdev);
}
