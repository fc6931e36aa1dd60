// SPDX-License-Identifier: GPL-2.0-only
/*
 * Creating and deleting I/O queues through the stock driver's admin queue: NVMe Base 2.0 sections
 * 5.4 to 5.7.
 *
 * A queue ends in one of two ways: the controller confirms a Delete command, or the controller was
 * disabled since the queue was created. Until then its identifier stays taken and its memory mapped.
 */
#include <linux/slab.h>

#include "trace.h"

/* Status of Create and Delete I/O Queue: SCT 1, SC 0 and 1. */
#define INVALID_CQ	0x100
#define INVALID_QID	0x101

/* Byte offset in BAR0 of a queue's doorbell: NVMe over PCIe 1.0 section 3.1.2. */
unsigned long snvme_doorbell(const struct snvme_ctrl *ctrl, u32 type, u32 qid)
{
	return 0x1000 + (2 * qid + (type == SNVME_QUEUE_CQ)) * (unsigned long)ctrl->db_stride;
}

/* Its entry in the shadow doorbell and EventIdx pages. */
static u32 snvme_shadow_entry(const struct snvme_ctrl *ctrl, u32 type, u32 qid)
{
	return snvme_doorbell(ctrl, type, qid) - 0x1000;
}

/* Identifiers 1..top have a doorbell that can be reached, and a shadow entry if there are any. */
static u32 snvme_top_id(const struct snvme_ctrl *ctrl, u32 granted)
{
	u64 pair = 2ULL * ctrl->db_stride;
	u64 top = granted;

	if (ctrl->bar_len < 0x1000 + 2 * pair)
		return 0;
	top = min_t(u64, top, (ctrl->bar_len - 0x1000) / pair - 1);
	if (ctrl->shadow)
		top = min_t(u64, top, PAGE_SIZE / pair - 1);
	return min_t(u64, top, SNVME_MAX_QID);
}

static u32 snvme_spare(const struct snvme_ctrl *ctrl, u32 granted, u32 used)
{
	u32 top = snvme_top_id(ctrl, granted);
	u32 taken = snvme_driver_queues(ctrl) + used;

	return top > taken ? top - taken : 0;
}

/* Fill in the numbers of @info; with ctrl->lock held, and the driver bound. */
void snvme_count_queues(struct snvme_ctrl *ctrl, struct snvme_info *info)
{
	info->granted_sq = ctrl->granted_sq;
	info->granted_cq = ctrl->granted_cq;
	info->driver_queues = snvme_driver_queues(ctrl);
	info->used_sq = ctrl->used_sq;
	info->used_cq = ctrl->used_cq;
	info->spare_sq = snvme_spare(ctrl, ctrl->granted_sq, ctrl->used_sq);
	info->spare_cq = snvme_spare(ctrl, ctrl->granted_cq, ctrl->used_cq);
}

/* The highest free identifier below @below, or 0. */
static u32 snvme_free_id(struct snvme_ctrl *ctrl, u32 type, u32 below)
{
	u32 lowest = snvme_driver_queues(ctrl) + 1;
	bool cq = type == SNVME_QUEUE_CQ;
	u32 id = min(below - 1, snvme_top_id(ctrl, cq ? ctrl->granted_cq : ctrl->granted_sq));

	for (; id >= lowest; id--)
		if (!test_bit(id, cq ? ctrl->cq_ids : ctrl->sq_ids))
			return id;
	return 0;
}

static void snvme_take_id(struct snvme_ctrl *ctrl, struct snvme_queue *q, u32 id)
{
	q->qid = id;
	if (q->type == SNVME_QUEUE_CQ) {
		__set_bit(id, ctrl->cq_ids);
		ctrl->used_cq++;
	} else {
		__set_bit(id, ctrl->sq_ids);
		ctrl->used_sq++;
	}
}

static void snvme_put_id(struct snvme_ctrl *ctrl, struct snvme_queue *q)
{
	if (!q->qid)
		return;
	if (q->type == SNVME_QUEUE_CQ) {
		__clear_bit(q->qid, ctrl->cq_ids);
		ctrl->used_cq--;
	} else {
		__clear_bit(q->qid, ctrl->sq_ids);
		ctrl->used_sq--;
	}
	q->qid = 0;
}

static int snvme_send_create(struct snvme_ctrl *ctrl, struct snvme_queue *q, u32 entries,
			     dma_addr_t ring)
{
	struct nvme_command cmd = {};

	if (q->type == SNVME_QUEUE_CQ) {
		cmd.create_cq.opcode = nvme_admin_create_cq;
		cmd.create_cq.prp1 = cpu_to_le64(ring);
		cmd.create_cq.cqid = cpu_to_le16(q->qid);
		cmd.create_cq.qsize = cpu_to_le16(entries - 1);
		cmd.create_cq.cq_flags = cpu_to_le16(NVME_QUEUE_PHYS_CONTIG);
	} else {
		cmd.create_sq.opcode = nvme_admin_create_sq;
		cmd.create_sq.prp1 = cpu_to_le64(ring);
		cmd.create_sq.sqid = cpu_to_le16(q->qid);
		cmd.create_sq.qsize = cpu_to_le16(entries - 1);
		/* Should arbitration be weighted, we are not to starve the file system. */
		cmd.create_sq.sq_flags = cpu_to_le16(NVME_QUEUE_PHYS_CONTIG | NVME_SQ_PRIO_MEDIUM);
		cmd.create_sq.cqid = cpu_to_le16(q->cq->qid);
	}
	return snvme_admin(ctrl, &cmd, NULL, NULL);
}

/* Does @status of its Delete say that there is no such queue? QEMU's controller has another for completion queues. */
static bool snvme_unknown(const struct snvme_queue *q, int status)
{
	return status == INVALID_QID || (q->type == SNVME_QUEUE_CQ && status == INVALID_CQ);
}

/*
 * Have the controller forget @q. ctrl->lock is held. 0: it has, and q->deleted says so; -EAGAIN: a reset that has
 * begun, or the driver's end, takes it along, or it can be asked for after that; -EIO: the live controller refuses.
 */
static int snvme_delete(struct snvme_session *s, struct snvme_queue *q)
{
	struct snvme_ctrl *ctrl = s->ctrl;
	struct nvme_command cmd = {};
	int ret;

	if (q->deleted)
		return 0;
	q->deleted = snvme_is_quiet(ctrl, q->epoch);
	if (q->deleted || ctrl->unbound)
		goto out;
	cmd.delete_queue.opcode = q->type == SNVME_QUEUE_CQ ? nvme_admin_delete_cq :
							      nvme_admin_delete_sq;
	cmd.delete_queue.qid = cpu_to_le16(q->qid);
	ret = snvme_admin(ctrl, &cmd, NULL, NULL);
	/* A controller that was reset meanwhile does not know the identifier any more. */
	q->deleted = !ret || snvme_unknown(q, ret) || snvme_is_quiet(ctrl, q->epoch);
	if (!q->deleted && ret > 0 && !SNVME_STATUS_PATH(ret)) {
		dev_err(&ctrl->pdev->dev, "snvme: deleting %s %u failed: status %#x\n",
			q->type == SNVME_QUEUE_CQ ? "CQ" : "SQ", q->qid, ret);
		return -EIO;
	}
out:
	if (!q->deleted)
		return -EAGAIN;
	trace_snvme_queue_delete(s, q);
	return 0;
}

/* With both locks held; @q is gone afterwards. */
static void snvme_queue_free(struct snvme_session *s, struct snvme_queue *q)
{
	struct snvme_ctrl *ctrl = s->ctrl;
	unsigned long flags;

	spin_lock_irqsave(&ctrl->state_lock, flags);
	WRITE_ONCE(s->state->queue[q->handle], SNVME_STATE_NONE);
	spin_unlock_irqrestore(&ctrl->state_lock, flags);
	snvme_uncharge_queue(s, q->type, q->entries);
	snvme_put_id(ctrl, q);
	xa_erase(&s->queues, q->handle);
	q->mem->rings--;
	if (q->cq)
		q->cq->sqs--;
	kfree(q);
}

/*
 * Ask the controller for @q, under the highest identifier that it takes. On success the queue is
 * live. On failure q->deleted tells whether the controller may know it all the same.
 */
static int snvme_create(struct snvme_session *s, struct snvme_queue *q, u32 entries, dma_addr_t ring)
{
	struct snvme_ctrl *ctrl = s->ctrl;
	u32 below = SNVME_MAX_QID + 1;
	unsigned long flags;
	int ret;

	q->deleted = true;
	if (ctrl->unbound)
		return -ENODEV;
	spin_lock_irqsave(&ctrl->state_lock, flags);
	q->epoch = ctrl->epoch;
	ret = ctrl->state == SNVME_STATE_LIVE ? 0 :
	      ctrl->state == SNVME_STATE_GONE ? -ENODEV : -EAGAIN;
	spin_unlock_irqrestore(&ctrl->state_lock, flags);
	if (ret)
		return ret;
	if (q->cq && (q->cq->deleted || q->cq->epoch != q->epoch))
		return -ESTALE;
	ret = snvme_update_grant(ctrl);
	if (ret)
		return ret;

	do {
		u32 id = snvme_free_id(ctrl, q->type, below);
		u32 *shadow = NULL, *eventidx = NULL, was[2];

		if (!id)
			return READ_ONCE(ctrl->epoch) != q->epoch ? -EAGAIN : -ENOSPC;
		if (ctrl->shadow) {
			u32 entry = snvme_shadow_entry(ctrl, q->type, id);

			/* What the identifier's last owner left there is not our tail. */
			shadow = ctrl->shadow + entry;
			eventidx = ctrl->eventidx + entry;
			was[0] = xchg(shadow, 0);
			was[1] = xchg(eventidx, 0);
		}
		snvme_take_id(ctrl, q, id);
		ret = snvme_send_create(ctrl, q, entries, ring);
		if (ret != INVALID_QID)
			break;
		/* In use by someone that the driver's own count does not show: leave it alone. */
		snvme_put_id(ctrl, q);
		below = id;
		if (shadow) {
			WRITE_ONCE(*shadow, was[0]);
			WRITE_ONCE(*eventidx, was[1]);
		}
	} while (1);

	if (ret < 0)		/* never sent */
		return ret == -ENOMEM ? ret : -EAGAIN;
	if (ret > 0 && !SNVME_STATUS_PATH(ret)) {
		/* A reset came first, and the completion queue is not there any more. */
		if (READ_ONCE(ctrl->epoch) != q->epoch)
			return -EAGAIN;
		dev_err(&ctrl->pdev->dev, "snvme: controller refuses %s %u of %u entries: status %#x\n",
			q->type == SNVME_QUEUE_CQ ? "CQ" : "SQ", q->qid, entries, ret);
		return -EIO;
	}
	q->deleted = false;
	trace_snvme_queue_create(s, q);
	spin_lock_irqsave(&ctrl->state_lock, flags);
	if (!ret && ctrl->state == SNVME_STATE_LIVE && ctrl->epoch == q->epoch) {
		WRITE_ONCE(s->state->queue[q->handle], SNVME_STATE_LIVE);
		spin_unlock_irqrestore(&ctrl->state_lock, flags);
		return 0;
	}
	/*
	 * A reset came between. The command was carried out before it (and forgotten), or waited for
	 * its end and was carried out after: only a Delete, or another reset, settles it.
	 */
	q->epoch = ctrl->epoch;
	spin_unlock_irqrestore(&ctrl->state_lock, flags);
	snvme_delete(s, q);
	return -EAGAIN;
}

/**
 * snvme_queue_create() - SNVME_IOC_QUEUE_CREATE
 * @s: the session
 * @arg: as the ABI has it; out fields filled on success
 * Return: 0 or a negative errno of the ABI
 */
int snvme_queue_create(struct snvme_session *s, struct snvme_queue_create *arg)
{
	struct snvme_ctrl *ctrl = smp_load_acquire(&s->ctrl);
	u64 bytes;
	struct snvme_queue *q;
	dma_addr_t ring;
	u32 left = 0;
	int ret;

	if (!ctrl)
		return -ENODEV;
	if (arg->type != SNVME_QUEUE_CQ && arg->type != SNVME_QUEUE_SQ)
		return -EINVAL;
	if (arg->flags || arg->reserved0 || arg->reserved[0] || arg->reserved[1] ||
	    (arg->type == SNVME_QUEUE_CQ && arg->cq))
		return -EINVAL;
	if (arg->entries < 2 || arg->entries - 1 > (ctrl->cap & 0xffff) ||
	    arg->mem_offset & ((1ULL << ctrl->page_shift) - 1))
		return -EINVAL;
	bytes = (u64)arg->entries * (arg->type == SNVME_QUEUE_CQ ? 16 : 64);

	q = kzalloc(sizeof(*q), GFP_KERNEL_ACCOUNT);
	if (!q)
		return -ENOMEM;
	q->type = arg->type;
	q->entries = arg->entries;

	mutex_lock(&s->lock);
	ret = -ECONNABORTED;
	if (s->lost)
		goto out_free;
	q->mem = xa_load(&s->mems, arg->mem);
	ret = -ENOENT;
	if (!q->mem)
		goto out_free;
	if (q->type == SNVME_QUEUE_SQ) {
		q->cq = xa_load(&s->queues, arg->cq);
		if (!q->cq || q->cq->type != SNVME_QUEUE_CQ)
			goto out_free;
	}
	ret = snvme_mem_dma(q->mem, arg->mem_offset, bytes, &ring);
	if (ret)
		goto out_free;
	ret = snvme_charge_queue(s, q->type, q->entries);
	if (ret)
		goto out_free;
	/* The handle is the index of the state word too; 0 is left out, to mean no queue. */
	ret = xa_alloc(&s->queues, &q->handle, q,
		       XA_LIMIT(1, ARRAY_SIZE(s->state->queue) - 1), GFP_KERNEL_ACCOUNT);
	if (ret) {
		snvme_uncharge_queue(s, q->type, q->entries);
		ret = ret == -EBUSY ? -ENOSPC : ret;
		goto out_free;
	}
	q->mem->rings++;
	if (q->cq)
		q->cq->sqs++;
	/* A ring in a device's memory is its owner's to clear. */
	if (q->mem->pages)
		snvme_mem_clear(q->mem, arg->mem_offset, bytes);

	mutex_lock(&ctrl->lock);
	ret = snvme_create(s, q, arg->entries, ring);
	if (ret) {
		/* What the controller may know stays ours until that is settled. */
		if (q->deleted)
			snvme_queue_free(s, q);
		else
			left = q->handle;
		goto out;
	}
	arg->handle = q->handle;
	arg->qid = q->qid;
	arg->epoch = q->epoch;
	arg->state_offset = offsetof(struct snvme_state_page, queue[q->handle]);
	arg->db_offset = offset_in_page(snvme_doorbell(ctrl, q->type, q->qid));
	arg->db_mmap_offset = snvme_mmap_offset(SNVME_MMAP_KIND_DOORBELL,
				snvme_doorbell(ctrl, q->type, q->qid) >> PAGE_SHIFT);
	arg->shadow_mmap_offset = 0;
	arg->eventidx_mmap_offset = 0;
	arg->shadow_offset = 0;
	if (ctrl->shadow) {
		arg->shadow_mmap_offset = snvme_mmap_offset(SNVME_MMAP_KIND_SHADOW, 0);
		arg->eventidx_mmap_offset = snvme_mmap_offset(SNVME_MMAP_KIND_EVENTIDX, 0);
		arg->shadow_offset = snvme_shadow_entry(ctrl, q->type, q->qid);
	}
out:
	mutex_unlock(&ctrl->lock);
	mutex_unlock(&s->lock);
	/* Its owner does not know of it, and could never give back what it holds. */
	if (left)
		snvme_queue_destroy(s, left);
	return ret;
out_free:
	mutex_unlock(&s->lock);
	kfree(q);
	return ret;
}

/**
 * snvme_queue_destroy() - SNVME_IOC_QUEUE_DESTROY
 * @s: the session
 * @handle: the queue
 * Return: 0; -ENOENT; -EBUSY submission queues report to it; -EINTR a fatal signal came while a
 * reset went on; -EIO the live controller refuses
 */
int snvme_queue_destroy(struct snvme_session *s, u32 handle)
{
	struct snvme_ctrl *ctrl = smp_load_acquire(&s->ctrl);
	struct snvme_queue *q;
	u64 made = 0;
	int ret;

	if (!ctrl)
		return -ENOENT;
	do {
		mutex_lock(&s->lock);
		q = xa_load(&s->queues, handle);
		ret = !q ? -ENOENT : q->sqs ? -EBUSY : 0;
		if (!ret) {
			mutex_lock(&ctrl->lock);
			ret = snvme_delete(s, q);
			made = q->epoch;
			if (!ret)
				snvme_queue_free(s, q);
			mutex_unlock(&ctrl->lock);
		}
		mutex_unlock(&s->lock);
		if (ret != -EAGAIN)
			return ret;
		/* The driver may know of a reset before we do. */
	} while (!snvme_wait_answer(ctrl, made) && !schedule_timeout_killable(SNVME_ASK_AGAIN));
	return -EINTR;
}

/* Have the controller forget all queues of @type, or those that are not live any more. As snvme_delete(). */
static int snvme_delete_type(struct snvme_session *s, u32 type, bool dead)
{
	struct snvme_queue *q;
	unsigned long i;
	int ret = 0;

	xa_for_each(&s->queues, i, q)
		if (q->type == type && (!dead || READ_ONCE(s->state->queue[q->handle]) != SNVME_STATE_LIVE))
			ret = snvme_delete(s, q) ?: ret;
	return ret;
}

/* The same of both types; with both locks held. */
static int snvme_delete_all(struct snvme_session *s, bool dead)
{
	/* A completion queue can be deleted only after those that report to it: section 5.6. */
	return snvme_delete_type(s, SNVME_QUEUE_SQ, dead) ?: snvme_delete_type(s, SNVME_QUEUE_CQ, dead);
}

/**
 * snvme_queues_delete_dead() - have the controller forget those queues of a session that are not live
 * @s: the session, attached, with its lock held
 * Return: 0; -EAGAIN a reset that has begun, or the driver's end, takes them along, or they can be asked for
 * after that; -EIO the live controller refuses
 */
int snvme_queues_delete_dead(struct snvme_session *s)
{
	int ret;

	mutex_lock(&s->ctrl->lock);
	ret = snvme_delete_all(s, true);
	mutex_unlock(&s->ctrl->lock);
	return ret;
}

/**
 * snvme_queues_delete() - have the controller forget all queues of a session
 * @s: the session, attached
 * Return: true when it has
 */
bool snvme_queues_delete(struct snvme_session *s)
{
	int ret;

	mutex_lock(&s->lock);
	mutex_lock(&s->ctrl->lock);
	ret = snvme_delete_all(s, false);
	mutex_unlock(&s->ctrl->lock);
	mutex_unlock(&s->lock);
	return !ret;
}

/**
 * snvme_queues_revoke() - end all queues of a session: memory that they may use is taken away
 * @s: the session, attached
 *
 * Returns when the controller has forgotten them, which may take a reset: an admin command that it does
 * not answer ends in one.
 */
void snvme_queues_revoke(struct snvme_session *s)
{
	struct snvme_ctrl *ctrl = s->ctrl;
	bool told = false, refused = false;
	u64 epoch = 0;
	int ret;

	do {
		struct snvme_queue *q;
		unsigned long i, flags;

		mutex_lock(&s->lock);
		mutex_lock(&ctrl->lock);
		/* Owners stop ringing first. */
		spin_lock_irqsave(&ctrl->state_lock, flags);
		xa_for_each(&s->queues, i, q) {
			if (!q->deleted)
				epoch = max(epoch, q->epoch);
			if (s->state->queue[q->handle] == SNVME_STATE_LIVE)
				WRITE_ONCE(s->state->queue[q->handle], SNVME_STATE_REVOKED);
		}
		if (!told)
			snvme_session_event(s);
		told = true;
		spin_unlock_irqrestore(&ctrl->state_lock, flags);
		ret = snvme_delete_all(s, false);
		mutex_unlock(&ctrl->lock);
		mutex_unlock(&s->lock);
		if (!ret)
			return;
		if (ret == -EIO && !refused)
			dev_err(&ctrl->pdev->dev, "snvme: memory that is taken away has to wait: the controller does not delete queues; a reset ends that\n");
		refused |= ret == -EIO;
		/* A reset takes them along; a controller that only refused is asked again. */
		wait_event_timeout(ctrl->wait, snvme_is_quiet(ctrl, epoch), HZ);
	} while (1);
}

/* Free what snvme_queues_delete() had deleted: the identifiers go back to the pool. */
void snvme_queues_free(struct snvme_session *s)
{
	struct snvme_queue *q;
	unsigned long i;

	mutex_lock(&s->lock);
	mutex_lock(&s->ctrl->lock);
	xa_for_each(&s->queues, i, q)
		if (q->type == SNVME_QUEUE_SQ)
			snvme_queue_free(s, q);
	xa_for_each(&s->queues, i, q)
		snvme_queue_free(s, q);
	mutex_unlock(&s->ctrl->lock);
	mutex_unlock(&s->lock);
}
