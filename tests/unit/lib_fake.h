/* SPDX-License-Identifier: MIT */
/*
 * libsnvme on a controller of the test's own, which takes the place of snvme.ko and the SSD. It
 * walks PRPs and rings with code of its own, refuses what the specification does not allow, and
 * posts whatever completions a test wants.
 */
#ifndef LIB_FAKE_H
#define LIB_FAKE_H

#include "tap.h"
#include "open.c"
#include "mem.c"
#include "queue.c"
#include "io.c"
#include "strerror.c"

#define FAKE_QUEUES	16
#define FAKE_PAGE	4096U
#define FAKE_BIAS	0x5a0000000000ULL	/* a DMA address is no pointer */
#define FAKE_NSID	7
#define FAKE_NS_BYTES	(8U << 20)
#define FAKE_MDTS	4			/* 64 KiB */

/* A submission or completion queue, as the controller has it. */
struct fake_queue {
	uint32_t type;		/* 0: none */
	uint32_t entries;
	uint32_t cq;		/* SQ: handle */
	uint32_t qid;
	uint8_t *ring;
	uint32_t at;		/* SQ: head; CQ: tail */
	uint32_t phase;
	uint32_t doorbell;
	uint32_t state;
};

static struct fake {
	struct fake_queue queue[FAKE_QUEUES];	/* [handle] */
	uint8_t *ring[FAKE_QUEUES + 2];		/* [memory handle] */
	uint8_t *blocks;
	uint32_t lba_shift;
	uint16_t metadata;
	uint32_t nsids[4];
	uint32_t inactive_status;
	uint64_t bad_lba;	/* reading or writing it fails */
	uint32_t fetched;
	uint32_t identified;
	uint32_t mapped;
	uint32_t destroy_ret;
	uint32_t create_ret;	/* after @creates more that succeed */
	uint32_t creates;
	bool closed;
	bool unmapped_alive;	/* memory was given back while a queue could use it */
	const char *error;
} fake;

static uint8_t *fake_va(uint64_t dma)
{
	return (uint8_t *)(uintptr_t)(dma - FAKE_BIAS);
}

static uint32_t fake_le32(const uint8_t *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t fake_le64(const uint8_t *p)
{
	return fake_le32(p) | (uint64_t)fake_le32(p + 4) << 32;
}

/* Move @length bytes between @data and what the entry's PRPs describe: Base 4.1.1. */
static uint32_t fake_dma(const uint8_t *sqe, uint8_t *data, uint32_t length, bool to_host)
{
	uint64_t prp = fake_le64(sqe + 24), second = fake_le64(sqe + 32);
	uint32_t n = FAKE_PAGE - (prp & (FAKE_PAGE - 1)), entry = 0;
	bool list = length > n && length - n > FAKE_PAGE;

	if (prp & 3)
		return 0x013;
	for (;;) {
		if (n > length)
			n = length;
		if (to_host)
			memcpy(fake_va(prp), data, n);
		else
			memcpy(data, fake_va(prp), n);
		data += n;
		length -= n;
		if (!length)
			return 0;
		if (entry == FAKE_PAGE / 8) {
			fake.error = "a PRP list longer than a page";
			return 0x006;
		}
		prp = list ? fake_le64(fake_va(second) + 8 * entry++) : second;
		n = FAKE_PAGE;
		if (prp & (FAKE_PAGE - 1))
			return 0x013;
	}
}

static uint32_t fake_execute(const uint8_t *sqe)
{
	uint64_t slba = fake_le64(sqe + 40), blocks = FAKE_NS_BYTES >> fake.lba_shift;
	uint32_t nlb = (fake_le32(sqe + 48) & 0xffff) + 1;

	if (fake_le32(sqe + 4) != FAKE_NSID)
		return 0x00b;
	if (sqe[0] == 0)
		return fake_le32(sqe + 48) || fake_le64(sqe + 24) ? 0x002 : 0;
	if (sqe[1] || fake_le64(sqe + 16) || (sqe[0] != 1 && sqe[0] != 2))
		return 0x002;
	if (nlb << fake.lba_shift > FAKE_PAGE << FAKE_MDTS)
		return 0x002;
	if (slba >= blocks || nlb > blocks - slba)
		return 0x080;
	if (fake.bad_lba >= slba && fake.bad_lba < slba + nlb)
		return 0x281;
	return fake_dma(sqe, fake.blocks + (slba << fake.lba_shift), nlb << fake.lba_shift,
			sqe[0] == 2);
}

/* Post an entry, of any content. False when the queue is full. */
static bool fake_post(uint32_t cq, uint32_t sqid, uint32_t sqhd, uint32_t cid, uint32_t status)
{
	struct fake_queue *q = &fake.queue[cq];
	uint32_t *entry = (uint32_t *)(q->ring + 16 * q->at);

	if ((q->at + 1) % q->entries == __atomic_load_n(&q->doorbell, __ATOMIC_ACQUIRE))
		return false;
	entry[0] = cid * 3;
	entry[1] = 0;
	entry[2] = sqhd | sqid << 16;
	__atomic_store_n(&entry[3], cid | q->phase << 16 | status << 17, __ATOMIC_RELEASE);
	if (++q->at == q->entries) {
		q->at = 0;
		q->phase ^= 1;
	}
	return true;
}

/* Fetch the next entry of a queue into @sqe. */
static bool fake_fetch(struct fake_queue *q, uint8_t *sqe)
{
	if (q->at == __atomic_load_n(&q->doorbell, __ATOMIC_ACQUIRE))
		return false;
	memcpy(sqe, q->ring + 64 * q->at, 64);
	q->at = (q->at + 1) % q->entries;
	fake.fetched++;
	return true;
}

/* Do what has been submitted; the newest of a burst first. */
static bool fake_run(void)
{
	bool busy = false;

	for (uint32_t i = 0; i < FAKE_QUEUES; i++) {
		struct fake_queue *q = &fake.queue[i];
		uint8_t burst[8][64];
		int n = 0;

		if (q->type != SNVME_QUEUE_SQ)
			continue;
		while (n < 8 && fake_fetch(q, burst[n]))
			n++;
		while (n--) {
			uint32_t status = fake_execute(burst[n]);

			if (!fake_post(q->cq, q->qid, q->at, burst[n][2] | burst[n][3] << 8,
				       status))
				fake.error = "a completion queue ran over";
			busy = true;
		}
	}
	return busy;
}

/* The reset of a controller: every queue is dead. */
static void fake_reset(uint32_t state)
{
	for (uint32_t i = 0; i < FAKE_QUEUES; i++)
		if (fake.queue[i].type)
			__atomic_store_n(&fake.queue[i].state, state, __ATOMIC_RELAXED);
}

static void fake_op_close(struct snvme_ctrl *ctrl)
{
	fake.closed = true;
	memset(fake.queue, 0, sizeof(fake.queue));
}

static int fake_op_info(struct snvme_ctrl *ctrl, struct snvme_info *info)
{
	memset(info, 0, sizeof(*info));
	info->state = SNVME_STATE_LIVE;
	info->cap = 1023 | 30ULL << 24;
	info->page_shift = 12;
	info->instance = 3;
	info->pci_bus = 0x1f;
	info->pci_devfn = 2 << 3 | 1;
	return 0;
}

static int fake_op_identify(struct snvme_ctrl *ctrl, uint32_t cns, uint32_t nsid, void *buf)
{
	uint8_t *p = buf;

	fake.identified++;
	memset(p, 0, 4096);
	if (cns == 1) {
		memcpy(p + 4, "SERIAL              ", 20);
		memset(p + 24, ' ', 40);
		memcpy(p + 24, "A model", 7);
		memcpy(p + 64, "FW 1.0  ", 8);
		p[77] = FAKE_MDTS;
		p[516] = 9;
		p[525] = 1;
	} else if (cns == 2) {
		for (int i = 0; i < 4; i++)
			p[4 * i] = (uint8_t)fake.nsids[i];
	} else {
		if (nsid != FAKE_NSID)
			return (int)fake.inactive_status;
		*(uint64_t *)p = FAKE_NS_BYTES >> fake.lba_shift;
		p[25] = 2;
		p[26] = 2;
		p[128 + 8] = (uint8_t)fake.metadata;
		p[128 + 10] = (uint8_t)fake.lba_shift;
	}
	return 0;
}

static int fake_op_mem_map(struct snvme_ctrl *ctrl, struct snvme_mem *mem)
{
	for (uint64_t i = 0; i < mem->map.pages; i++)
		mem->table[i] = FAKE_BIAS + (uintptr_t)mem->base + i * FAKE_PAGE;
	mem->map.page_shift = 12;
	fake.mapped++;
	return 0;
}

static int fake_op_mem_unmap(struct snvme_ctrl *ctrl, struct snvme_mem *mem)
{
	/* Data and PRP lists of a queue that lives: the controller may still go there. */
	for (int i = 0; i < FAKE_QUEUES; i++)
		if (fake.destroy_ret && fake.queue[i].type == SNVME_QUEUE_SQ)
			fake.unmapped_alive = true;
	fake.mapped--;
	return 0;
}

static int fake_op_ring_alloc(struct snvme_ctrl *ctrl, size_t length, void **va, uint32_t *handle)
{
	if (posix_memalign(va, FAKE_PAGE, length))
		return -ENOMEM;
	memset(*va, 0, length);
	for (*handle = 1; fake.ring[*handle]; ++*handle)
		;
	fake.ring[*handle] = *va;
	return 0;
}

static void fake_op_ring_free(struct snvme_ctrl *ctrl, size_t length, void *va, uint32_t handle)
{
	free(va);
	fake.ring[handle] = NULL;
}

static int fake_op_queue_create(struct snvme_ctrl *ctrl, struct snvme_queue_create *arg,
				struct snv_db *db, const uint32_t **state)
{
	struct fake_queue *q;

	if (fake.create_ret && !fake.creates--)
		return -(int)fake.create_ret;
	for (arg->handle = 1; fake.queue[arg->handle].type; arg->handle++)
		if (arg->handle == FAKE_QUEUES - 1)
			return -ENOSPC;
	q = &fake.queue[arg->handle];
	*q = (struct fake_queue){
		.type = arg->type,
		.entries = arg->entries,
		.cq = arg->cq,
		.qid = 100 - arg->handle,	/* one that was given back is the next to be used */
		.ring = fake.ring[arg->mem],
		.phase = 1,
		.state = SNVME_STATE_LIVE,
	};
	arg->qid = q->qid;
	*db = (struct snv_db){ .mmio = &q->doorbell };
	*state = &q->state;
	return 0;
}

static int fake_op_queue_destroy(struct snvme_ctrl *ctrl, uint32_t handle)
{
	if (fake.destroy_ret)
		return -(int)fake.destroy_ret;
	for (int i = 0; i < FAKE_QUEUES; i++)
		if (fake.queue[i].type == SNVME_QUEUE_SQ && fake.queue[i].cq == handle)
			return -EBUSY;
	fake.queue[handle].type = 0;
	return 0;
}

static const struct snvme_transport fake_ops = {
	.close = fake_op_close,
	.info = fake_op_info,
	.identify = fake_op_identify,
	.mem_map = fake_op_mem_map,
	.mem_unmap = fake_op_mem_unmap,
	.ring_alloc = fake_op_ring_alloc,
	.ring_free = fake_op_ring_free,
	.queue_create = fake_op_queue_create,
	.queue_destroy = fake_op_queue_destroy,
};

int snvme_attach_open(struct snvme_ctrl *ctrl, const void *controller)
{
	ctrl->ops = &fake_ops;
	return 0;
}

/* What snvme_open() does once it has found the name. */
static struct snvme_ctrl *fake_open(uint32_t nsid)
{
	struct snvme_ctrl *ctrl = calloc(1, sizeof(*ctrl));
	uint8_t *blocks = fake.blocks;

	memset(&fake, 0, sizeof(fake));
	fake.blocks = blocks ? blocks : malloc(FAKE_NS_BYTES);
	fake.lba_shift = 9;
	fake.nsids[0] = FAKE_NSID;
	fake.bad_lba = UINT64_MAX;
	pthread_mutex_init(&ctrl->lock, NULL);
	snvme_attach_open(ctrl, "nvme3");
	is(learn(ctrl, nsid), 0, "the controller introduces itself");
	return ctrl;
}

static struct snvme_queue *fake_pair(struct snvme_ctrl *ctrl, uint32_t depth, uint32_t cq_entries,
				     struct snvme_queue *share)
{
	struct snvme_queue_opts opts = {
		.size = sizeof(opts), .depth = depth, .cq_entries = cq_entries, .share_cq = share,
	};
	struct snvme_queue *queue = NULL;

	is(snvme_queue_create(ctrl, &opts, &queue), 0, "a queue of depth %u", depth);
	return queue;
}

#endif /* LIB_FAKE_H */
