// SPDX-License-Identifier: MIT
/* Reading and writing any length, synchronously, on the asynchronous calls. */
#include <errno.h>

#include "lib.h"

#define BATCH 16

#define ABORT_NS	1000000000	/* for aborted commands to come back */

/*
 * Nothing has come for too long: take back what is in flight, so that its memory is the caller's
 * again when -ETIMEDOUT is returned.
 */
static int take_back(struct snvme_queue *q)
{
	uint64_t end = snvme_now() + ABORT_NS;
	struct snvme_completion done[BATCH];

	if (!q->ctrl->ops->abort)
		return -ETIMEDOUT;
	for (uint32_t id = 0; id < q->depth; id++)
		if (snvme_cid_busy(&q->cid[id]))
			q->ctrl->ops->abort(q->ctrl, (uint16_t)q->qid, (uint16_t)q->cid[id].wire);
	while (q->inflight) {
		uint64_t now = snvme_now();

		if (now >= end || snvme_wait(q, done, BATCH, (int64_t)(end - now)) < 0) {
			snvme_reset(q->ctrl);
			break;
		}
	}
	return -ETIMEDOUT;
}

/* Reap what there is, wait for at least one; the first status that is not 0 ends up in *@status. */
static int reap_some(struct snvme_queue *q, uint64_t *inflight, int *status)
{
	struct snvme_completion done[BATCH];
	int n = snvme_wait(q, done, BATCH, -1);

	if (n == -ETIMEDOUT)
		return take_back(q);
	/* Who knows what is in flight now? */
	if (n == -EPROTO)
		snvme_reset(q->ctrl);
	for (int i = 0; i < n; i++)
		if (done[i].status && !*status)
			*status = done[i].status;
	if (n > 0)
		*inflight -= (uint64_t)n;
	return n < 0 ? n : 0;
}

static int check_idle(const struct snvme_queue *q)
{
	/* Somebody else's completions would come to us. */
	if (q->cq->shared || !q->owns_cq || q->next_on_cq || q->cq->queues != q)
		return -EINVAL;
	return q->inflight ? -EBUSY : 0;
}

/* q->ns becomes namespace @nsid. It is asked about once, and after each change, not for each transfer. */
static int look_up(struct snvme_queue *q, uint32_t nsid)
{
	uint32_t changes;
	int ret;

	if (q->ctrl->ops->events)
		q->ctrl->ops->events(q->ctrl);
	changes = SNV_LOAD_ACQUIRE(&q->ctrl->ns_changes);
	if (q->ns.nsid && q->ns_asked == nsid && q->ns_changes == changes)
		return 0;
	q->ns.nsid = 0;
	q->ns_changes = changes;
	ret = snvme_get_ns(q->ctrl, nsid, &q->ns);
	q->ns_asked = nsid;
	return ret;
}

/* Submit as much as fits of what @next, of @length bytes, starts; it moves on. */
static int submit_some(struct snvme_queue *q, struct snvme_io *next, uint64_t *length,
		       uint64_t piece, uint64_t *inflight)
{
	struct snvme_io io[BATCH];
	unsigned int n = 0;
	int ret;

	for (; *length && n < BATCH && n < q->depth - q->inflight; n++) {
		next->length = *length < piece ? *length : piece;
		next->nlb = (uint32_t)(next->length / q->ns.lba_size);
		io[n] = *next;
		next->slba += next->nlb;
		next->offset += next->length;
		*length -= next->length;
	}
	if (!n)
		return 0;
	ret = snvme_submit(q, io, n);
	if (ret < 0)
		return ret;
	/* There was room for all: if some are missing, one is malformed. */
	*inflight += (unsigned int)ret;
	return (unsigned int)ret < n ? -EINVAL : 0;
}

static int transfer(struct snvme_queue *q, uint8_t opcode, uint32_t nsid, const void *buf,
		    size_t size, uint64_t offset)
{
	const struct snvme_ns_info *ns = &q->ns;
	struct snvme_io io = { .opcode = opcode };
	uint64_t length = size, inflight = 0, piece;
	struct snvme_mem *mem;
	int ret, status = 0;

	ret = check_idle(q);
	if (!ret)
		ret = look_up(q, nsid);
	if (ret)
		return ret;
	if (ns->metadata_size)
		return -EOPNOTSUPP;
	if (length % ns->lba_size || offset % ns->lba_size)
		return -EINVAL;
	if (offset / ns->lba_size > ns->blocks ||
	    length / ns->lba_size > ns->blocks - offset / ns->lba_size)
		return -ERANGE;
	mem = snvme_mem_find(q->ctrl, buf, size);
	if (!mem)
		return -EFAULT;

	piece = q->ctrl->fixed.max_transfer;
	if (piece > 65536ULL * ns->lba_size)
		piece = 65536ULL * ns->lba_size;
	piece -= piece % ns->lba_size;
	if (!piece)
		return -EOPNOTSUPP;
	io.nsid = ns->nsid;
	io.mem = mem;
	io.offset = (uint64_t)((const char *)buf - (const char *)mem->addr);
	io.slba = offset / ns->lba_size;
	/* After a failure nothing more is sent, but all that is in flight comes back first. */
	do {
		if (!status && !ret)
			ret = submit_some(q, &io, &length, piece, &inflight);
		if (inflight) {
			int lost = reap_some(q, &inflight, &status);

			if (lost)
				return lost;
		}
	} while (inflight || (length && !status && !ret));
	return status ? status : ret;
}

SNVME_API int snvme_read(struct snvme_queue *q, uint32_t nsid, void *buf, size_t length,
			 uint64_t offset)
{
	return transfer(q, SNVME_OP_READ, nsid, buf, length, offset);
}

SNVME_API int snvme_write(struct snvme_queue *q, uint32_t nsid, const void *buf, size_t length,
			  uint64_t offset)
{
	return transfer(q, SNVME_OP_WRITE, nsid, buf, length, offset);
}

SNVME_API int snvme_flush(struct snvme_queue *q, uint32_t nsid)
{
	struct snvme_io io = { .opcode = SNVME_OP_FLUSH };
	uint64_t inflight = 1;
	int status = 0;
	int ret = check_idle(q);

	if (!ret)
		ret = look_up(q, nsid);
	if (ret)
		return ret;
	io.nsid = q->ns.nsid;
	ret = snvme_submit(q, &io, 1);
	if (ret < 0)
		return ret;
	ret = reap_some(q, &inflight, &status);
	return ret ? ret : status;
}
