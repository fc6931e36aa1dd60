// SPDX-License-Identifier: MIT
/* Reading and writing any length, synchronously, on the asynchronous calls. */
#include <errno.h>

#include "lib.h"

#define BATCH 16

/* Reap what there is, wait for at least one; the first status that is not 0 ends up in *@status. */
static int reap_some(struct snvme_queue *q, uint64_t *inflight, int *status)
{
	struct snvme_completion done[BATCH];
	int n = snvme_wait(q, done, BATCH, -1);

	for (int i = 0; i < n; i++)
		if (done[i].status && !*status)
			*status = done[i].status;
	if (n > 0)
		*inflight -= (uint64_t)n;
	return n < 0 ? n : 0;
}

static int check_idle(const struct snvme_queue *q)
{
	if (q->inflight)
		return -EBUSY;
	/* Somebody else's completions would come to us. */
	return q->owns_cq && !q->next_on_cq && q->cq->queues == q ? 0 : -EINVAL;
}

static int transfer(struct snvme_queue *q, uint8_t opcode, uint32_t nsid, const void *buf,
		    size_t length, uint64_t offset)
{
	struct snvme_ns_info ns;
	struct snvme_mem *mem;
	struct snvme_io io = { .opcode = opcode };
	uint64_t inflight = 0, piece;
	int ret, status = 0;

	ret = check_idle(q);
	if (ret)
		return ret;
	ret = snvme_get_ns(q->ctrl, nsid, &ns);
	if (ret)
		return ret;
	if (ns.metadata_size)
		return -EOPNOTSUPP;
	if (length % ns.lba_size || offset % ns.lba_size)
		return -EINVAL;
	if (offset / ns.lba_size > ns.blocks ||
	    length / ns.lba_size > ns.blocks - offset / ns.lba_size)
		return -ERANGE;
	mem = snvme_mem_find(q->ctrl, buf, length);
	if (!mem)
		return -EFAULT;

	piece = q->ctrl->fixed.max_transfer;
	if (piece > 65536ULL * ns.lba_size)
		piece = 65536ULL * ns.lba_size;
	piece -= piece % ns.lba_size;
	if (!piece)
		return -EOPNOTSUPP;
	io.nsid = ns.nsid;
	io.mem = mem;
	io.offset = (uint64_t)((const char *)buf - (const char *)mem->addr);
	/* After a failure nothing more is sent, but all that is in flight comes back first. */
	while (inflight || (length && !status && !ret)) {
		while (length && !status && !ret && q->inflight < q->depth) {
			io.length = length < piece ? length : piece;
			io.slba = offset / ns.lba_size;
			io.nlb = (uint32_t)(io.length / ns.lba_size);
			ret = snvme_submit(q, &io, 1);
			if (ret < 0)
				break;
			ret = 0;
			inflight++;
			length -= io.length;
			offset += io.length;
			io.offset += io.length;
		}
		if (inflight) {
			int lost = reap_some(q, &inflight, &status);

			if (lost)
				return lost;
		}
	}
	return ret ? ret : status;
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

	if (ret)
		return ret;
	io.nsid = nsid ? nsid : q->ctrl->default_nsid;
	if (!io.nsid)
		return -EINVAL;
	ret = snvme_submit(q, &io, 1);
	if (ret < 0)
		return ret;
	ret = reap_some(q, &inflight, &status);
	return ret ? ret : status;
}
