// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who has queues, and how much each may have: an owner is a user, with all his sessions on all controllers. The
 * administrator sets budgets by the module's parameters; as with resource limits, CAP_SYS_RESOURCE is
 * above them.
 */
#include <linux/cred.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>

#include "snvme.h"

static uint owner_queues;
module_param(owner_queues, uint, 0644);
MODULE_PARM_DESC(owner_queues, "queues of each kind that a user may have; 0: no limit");
static uint owner_commands;
module_param(owner_commands, uint, 0644);
MODULE_PARM_DESC(owner_commands, "commands that a user may have in flight: what his submission queues have room for; 0: no limit");
static ulong owner_memory;
module_param(owner_memory, ulong, 0644);
MODULE_PARM_DESC(owner_memory, "KiB of memory that a user may have registered; 0: no limit");

/* Guards the list, and what is in it. */
static DEFINE_SPINLOCK(owners_lock);
static LIST_HEAD(owners);

/**
 * snvme_owner_get() - the current user, as an owner
 * Return: the owner, for snvme_owner_put(); NULL: no memory
 */
struct snvme_owner *snvme_owner_get(void)
{
	struct snvme_owner *o, *new = kzalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);

	if (!new)
		return NULL;
	new->uid = current_euid();
	spin_lock(&owners_lock);
	list_for_each_entry(o, &owners, node)
		if (uid_eq(o->uid, new->uid))
			goto found;
	list_add(&new->node, &owners);
	o = new;
	new = NULL;
found:
	o->sessions++;
	spin_unlock(&owners_lock);
	kfree(new);
	return o;
}

void snvme_owner_put(struct snvme_owner *o)
{
	bool last;

	spin_lock(&owners_lock);
	last = !--o->sessions;
	if (last)
		list_del(&o->node);
	spin_unlock(&owners_lock);
	if (last)
		kfree(o);
}

static bool within(bool limited, u64 used, u64 more, u64 limit)
{
	return !limited || !limit || used + more <= limit;
}

/**
 * snvme_charge_queue() - one queue more
 * @s: the session that makes it
 * @type: SNVME_QUEUE_*
 * @entries: of its ring
 * Return: 0; -EDQUOT its owner has no more of that
 */
int snvme_charge_queue(struct snvme_session *s, u32 type, u32 entries)
{
	struct snvme_owner *o = s->owner;
	bool cq = type == SNVME_QUEUE_CQ;
	u32 commands = cq ? 0 : entries - 1;
	int ret = -EDQUOT;

	spin_lock(&owners_lock);
	if (within(s->limited, cq ? o->cqs : o->sqs, 1, READ_ONCE(owner_queues)) &&
	    within(s->limited, o->commands, commands, READ_ONCE(owner_commands))) {
		*(cq ? &o->cqs : &o->sqs) += 1;
		o->commands += commands;
		ret = 0;
	}
	spin_unlock(&owners_lock);
	return ret;
}

void snvme_uncharge_queue(struct snvme_session *s, u32 type, u32 entries)
{
	struct snvme_owner *o = s->owner;

	spin_lock(&owners_lock);
	if (type == SNVME_QUEUE_CQ) {
		o->cqs--;
	} else {
		o->sqs--;
		o->commands -= entries - 1;
	}
	spin_unlock(&owners_lock);
}

/* @pages more of registered memory. 0 or -EDQUOT. */
int snvme_charge_memory(struct snvme_session *s, unsigned long pages)
{
	struct snvme_owner *o = s->owner;
	int ret = -EDQUOT;

	spin_lock(&owners_lock);
	if (within(s->limited, o->pages << (PAGE_SHIFT - 10), (u64)pages << (PAGE_SHIFT - 10), READ_ONCE(owner_memory))) {
		o->pages += pages;
		ret = 0;
	}
	spin_unlock(&owners_lock);
	return ret;
}

void snvme_uncharge_memory(struct snvme_session *s, unsigned long pages)
{
	spin_lock(&owners_lock);
	s->owner->pages -= pages;
	spin_unlock(&owners_lock);
}
