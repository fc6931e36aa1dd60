// SPDX-License-Identifier: GPL-2.0-only
/*
 * /sys/kernel/debug/snvme/controllers: the controllers that are shared now, who has queues on them, and what. For
 * people and their scripts; no ABI.
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>
#include <linux/uidgid.h>

#include "snvme.h"

static struct dentry *root;

static const char *state_name(u32 state)
{
	static const char * const name[] = { "none", "live", "reset", "gone", "revoked" };

	return state < ARRAY_SIZE(name) ? name[state] : "?";
}

/*
 * A doorbell as its owner last left it, in the shadow page: how far the commands, or completions, have got in their
 * ring. The registers themselves cannot be read.
 */
static void show_doorbell(struct seq_file *m, struct snvme_ctrl *ctrl, const struct snvme_queue *q)
{
	u32 offset = snvme_doorbell(ctrl, q->type, q->qid) - 0x1000;

	if (ctrl->shadow)
		seq_printf(m, ", %s %u", q->type == SNVME_QUEUE_CQ ? "head" : "tail",
			   READ_ONCE(*(u32 *)(ctrl->shadow + offset)));
}

static void show_session(struct seq_file *m, struct snvme_ctrl *ctrl, struct snvme_session *s)
{
	unsigned long i, pages = 0, pieces = 0;
	struct snvme_memory *mem;
	struct snvme_queue *q;

	mutex_lock(&s->lock);
	xa_for_each(&s->mems, i, mem) {
		pages += mem->npages;
		pieces++;
	}
	seq_printf(m, "  owner %d (%*pE), uid %u: memory %lu KiB in %lu pieces\n", s->pid, (int)strlen(s->comm), s->comm,
		   from_kuid_munged(&init_user_ns, s->owner->uid), pages << (PAGE_SHIFT - 10), pieces);
	xa_for_each(&s->queues, i, q) {
		seq_printf(m, "    %s %u: %u entries, %s", q->type == SNVME_QUEUE_CQ ? "CQ" : "SQ", q->qid,
			   q->entries, state_name(READ_ONCE(s->state->queue[q->handle])));
		if (q->cq)
			seq_printf(m, ", to CQ %u", q->cq->qid);
		show_doorbell(m, ctrl, q);
		seq_putc(m, '\n');
	}
	mutex_unlock(&s->lock);
}

static void show_ctrl(struct seq_file *m, struct snvme_ctrl *ctrl)
{
	struct snvme_info info = {};
	struct snvme_session *s;

	mutex_lock(&ctrl->lock);
	if (!ctrl->unbound)
		snvme_count_queues(ctrl, &info);
	mutex_unlock(&ctrl->lock);
	seq_printf(m, "nvme%d %s: %s, epoch %llu, granted %u %u, driver %u, used %u %u, spare %u %u\n", ctrl->instance,
		   pci_name(ctrl->pdev), state_name(READ_ONCE(ctrl->state)), READ_ONCE(ctrl->epoch), info.granted_sq,
		   info.granted_cq, info.driver_queues, info.used_sq, info.used_cq, info.spare_sq, info.spare_cq);
	/* Sessions come and go under snvme_lock. */
	list_for_each_entry(s, &ctrl->sessions, node)
		show_session(m, ctrl, s);
}

static int controllers_show(struct seq_file *m, void *unused)
{
	struct snvme_ctrl *ctrl;

	mutex_lock(&snvme_lock);
	list_for_each_entry(ctrl, &snvme_ctrls, node)
		show_ctrl(m, ctrl);
	mutex_unlock(&snvme_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(controllers);

/* Without debugfs all else works. */
void snvme_debugfs_init(void)
{
	root = debugfs_create_dir("snvme", NULL);
	debugfs_create_file("controllers", 0400, root, NULL, &controllers_fops);
}

void snvme_debugfs_exit(void)
{
	debugfs_remove(root);
}
