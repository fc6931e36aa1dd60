/* SPDX-License-Identifier: MIT */
/*
 * What the fuzzers of the virtual SSD have in common: a subsystem made of the core alone, on a clock
 * and a medium of its own, in front of a host whose memory is known to the byte.
 *
 * An input is a few bytes that configure the subsystem, then operations; each takes as many bytes
 * as it wants, and the end reads as zeros. Hardly any bytes are refused, so that mutations go deep.
 * After the input the controller must come back from a reset and serve each namespace, with every
 * command, slot and lock given back.
 */
#ifndef RIG_H
#define RIG_H

#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <stdlib.h>

#include "core.h"

#define PAGE		4096U
#define PAGES		24U
#define ARENA		0x100000ULL	/* DMA address of the host's memory */
#define CMB		0x40000000ULL
#define CMB_SIZE	(2 * PAGE)
#define ENTRIES		16U		/* of each queue */
#define PATIENCE	20000		/* rounds until something is wedged */

/* Pages of the arena. */
enum { ASQ, ACQ, SQ, CQ = SQ + 3, SHADOW = CQ + 2, EVENTIDX, DATA };

#define CHECK(cond) do {						\
	if (!(cond)) {							\
		fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
		abort();						\
	}								\
} while (0)

/* ---- the input -------------------------------------------------------------------------------- */

struct input {
	const uint8_t *at;
	size_t left;
};

static uint64_t take(struct input *in, unsigned int bytes)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < bytes && in->left; i++, in->left--)
		value |= (uint64_t)*in->at++ << 8 * i;
	return value;
}

/* A number: small, a power of two (less one), or any. */
static uint32_t take_number(struct input *in)
{
	uint32_t tag = take(in, 1);

	if (tag < 0x80)
		return tag;
	if (tag < 0xa0)
		return 1U << (tag & 31);
	if (tag < 0xc0)
		return (2U << (tag & 31)) - 1;
	return take(in, tag < 0xe0 ? 2 : 4);
}

/* An address: a page, a place in one, at the edge of what is registered, and outside. */
static uint64_t take_addr(struct input *in)
{
	uint64_t code = take(in, 2), low = code & 0xfff;

	switch (code >> 13) {
	case 0:
	case 1:
		return ARENA + low % PAGES * PAGE;
	case 2:
		return ARENA + low % PAGES * PAGE + (low / PAGES * 4) % PAGE;
	case 3:
		return ARENA + PAGES * PAGE - low % 64 * 4;
	case 4:
		return ARENA + low % PAGES * PAGE + PAGE - low / PAGES;
	case 5:
		return CMB + low * 4;
	case 6:
		return ARENA + PAGES * PAGE + low;
	}
	return 0 - low * 4;
}

/* ---- a medium of memory, that may take its time ------------------------------------------------ */

struct ram {
	struct vssd_media media;
	char *data;
	uint32_t lazy;			/* transfers that a poll ends, 0: none is ever pending */
	uint32_t n;
	struct vssd_io *io[1024];
};

static void ram_do(struct ram *ram, const struct vssd_io *io)
{
	char *at = ram->data + io->offset;
	uint64_t sum = 0;

	CHECK(io->offset <= ram->media.size && io->length <= ram->media.size - io->offset);
	switch (io->op) {
	case VSSD_IO_READ:
	case VSSD_IO_WRITE:
		for (uint32_t i = 0; i < io->segs; i++) {
			const struct vssd_seg *seg = &io->seg[i];

			CHECK(seg->va && seg->length <= io->length - sum);
			if (io->op == VSSD_IO_READ)
				memcpy(seg->va, at + sum, seg->length);
			else
				memcpy(at + sum, seg->va, seg->length);
			sum += seg->length;
		}
		CHECK(sum == io->length);
		break;
	case VSSD_IO_DISCARD:
		memset(at, 0, io->length);
		break;
	case VSSD_IO_FLUSH:
		break;
	}
}

static int ram_submit(struct vssd_media *media, struct vssd_io *io)
{
	struct ram *ram = (struct ram *)media;

	if (!ram->lazy || ram->n == sizeof(ram->io) / sizeof(ram->io[0])) {
		ram_do(ram, io);
		return 0;
	}
	ram->io[ram->n++] = io;
	return VSSD_PENDING;
}

/* The last comes first. */
static uint32_t ram_poll(struct vssd_media *media, uint32_t worker)
{
	struct ram *ram = (struct ram *)media;
	uint32_t done = 0;

	for (uint32_t i = ram->n; i-- > 0 && done < ram->lazy;) {
		struct vssd_io *io = ram->io[i];

		if (io->worker != worker)
			continue;
		memmove(&ram->io[i], &ram->io[i + 1], (--ram->n - i) * sizeof(ram->io[0]));
		ram_do(ram, io);
		io->done(io, 0);
		done++;
	}
	return done;
}

static void ram_close(struct vssd_media *media)
{
	struct ram *ram = (struct ram *)media;

	CHECK(!ram->n);
	free(ram->data);
	free(ram);
}

static struct vssd_media *ram_open(uint64_t size, uint32_t lazy)
{
	static const struct vssd_media_ops ops = {
		.submit = ram_submit,
		.close = ram_close,
	}, lazy_ops = {
		.submit = ram_submit,
		.poll = ram_poll,
		.close = ram_close,
	};
	struct ram *ram = calloc(1, sizeof(*ram));

	CHECK(ram);
	ram->media.ops = lazy ? &lazy_ops : &ops;
	ram->media.size = size;
	ram->media.volatile_cache = true;
	ram->data = calloc(1, size);
	CHECK(ram->data);
	ram->lazy = lazy;
	return &ram->media;
}

/* ---- the host --------------------------------------------------------------------------------- */

/* A pair of queues, one page each. */
struct queue {
	uint16_t sqid;
	uint16_t cqid;
	uint32_t sq_page;
	uint32_t cq_page;
	uint32_t tail;
};

struct rig {
	struct vssd *v;
	struct vssd_ctrl *ctrl;
	struct vssd_ctrl *other;
	struct vssd_ctrl_config config;
	uint64_t now;
	uint32_t lazy;
	uint32_t workers;
	uint32_t starve;		/* each so many allocations one fails; 0: none */
	uint32_t allocs;
	bool scattered;			/* pages that DMA addresses join are apart */
	bool gone[PAGES];		/* not registered now */
	char *page[PAGES];
	char *doorbells;
	char *other_doorbells;
	char *cmb;
	uint16_t cid;
	struct queue admin;
	struct queue io[3];		/* the first two share a completion queue */
	uint32_t cq_head[3];		/* by cqid */
};

static void *rig_alloc(void *ctx, size_t size)
{
	struct rig *rig = ctx;

	if (rig->starve && ++rig->allocs % rig->starve == 0)
		return NULL;
	return calloc(1, size);
}

static void rig_free_mem(void *ctx, void *p, size_t size)
{
	free(p);
}

static uint64_t rig_now(void *ctx)
{
	struct rig *rig = ctx;

	return rig->now += 10;
}

static struct vssd_media *rig_media(void *ctx, uint64_t size)
{
	struct rig *rig = ctx;

	return size <= 1 << 20 ? ram_open(size, rig->lazy) : NULL;
}

static void *rig_translate(void *ctx, uint64_t addr, size_t *length)
{
	struct rig *rig = ctx;
	uint64_t at = addr - ARENA;
	uint32_t page = at / PAGE, end = page + 1;
	size_t room;

	CHECK(*length);
	if (at >= PAGES * PAGE || rig->gone[page])
		return NULL;
	while (!rig->scattered && end < PAGES && !rig->gone[end])
		end++;
	room = (uint64_t)end * PAGE - at;
	if (*length > room)
		*length = room;
	return rig->page[page] + at % PAGE;
}

static void rig_irq(void *ctx, uint32_t vector)
{
	struct rig *rig = ctx;

	CHECK(vector <= rig->config.queues);
}

/* The bytes of the configuration: see where they are taken. */
static void rig_open(struct rig *rig, struct input *in)
{
	uint8_t host = take(in, 1), device = take(in, 1), extra = take(in, 1);
	struct vssd_env env = {
		.alloc = rig_alloc,
		.free = rig_free_mem,
		.now = rig_now,
		.media_create = rig_media,
		.ctx = rig,
	};
	struct vssd_host h = {
		.translate = rig_translate,
		.irq = rig_irq,
		.ctx = rig,
	};
	struct vssd_config config = { .seed = 1, .max_inflight = device & 8 ? 4 : 32 };
	struct vssd_ns_config ns[] = {
		{ .nsid = 1, .lba_size = 512 },
		{ .nsid = 2, .lba_size = 4096, .metadata = 8, .pi = 1, .pi_first = extra & 1,
		  .extended = extra & 2 },
		{ .nsid = 3, .csi = VSSD_CSI_ZNS, .lba_size = 512, .zone_blocks = 16,
		  .zone_capacity = extra & 4 ? 12 : 0, .max_open = 3, .max_active = 4 },
		{ .nsid = 4, .lba_size = 512, .metadata = 8, .pi = extra >> 4 & 3,
		  .extended = extra & 8 },
	};
	static const uint64_t size[] = { 64 << 10, 16 * 4104, 64 << 10, 32 * 520 };

	*rig = (struct rig){ .now = 1000000000 };
	rig->scattered = host & 1;
	rig->workers = host & 2 ? 2 : 1;
	rig->lazy = host & 4 ? host & 8 ? 1 : 8 : 0;
	config.workers = rig->workers;
	config.power_loss = host & 8 && !rig->lazy;
	for (uint32_t i = 0; i < PAGES; i++) {
		if (rig->scattered || !i)
			rig->page[i] = aligned_alloc(PAGE, rig->scattered ? PAGE : PAGES * PAGE);
		else
			rig->page[i] = rig->page[0] + i * PAGE;
		CHECK(rig->page[i]);
		memset(rig->page[i], 0, PAGE);
	}
	if (device & 3)
		config.timing = (struct vssd_timing){
			.model = device & 1 ? VSSD_MODEL_FIXED : VSSD_MODEL_FLASH,
			.units = 4, .read_ns = 10000, .write_ns = 20000, .flush_ns = 1000,
			.bytes_per_us = 1000, .channels = 2, .dies = 2, .page = 4096,
			.pages = 4, .erase_ns = 100000, .spare_permille = 500,
			.buffer = 65536, .buffer_ns = 1000,
		};
	CHECK(!vssd_create(&env, &config, &rig->v));

	vssd_ctrl_defaults(&rig->config);
	rig->config.queues = 8;
	rig->config.mqes = 1024;
	rig->config.dstrd = device & 4 ? 2 : 0;
	rig->config.mdts = device & 16 ? 1 : 5;
	rig->config.sgl = !(host & 16);
	rig->config.dbbuf = !(host & 32);
	rig->config.wrr = !(host & 64);
	rig->config.cqr = host & 128;
	rig->config.ready_ns = device & 32 ? 5000 : 0;
	rig->config.cmb_size = device & 64 ? CMB_SIZE : 0;
	h.doorbells = rig->doorbells = aligned_alloc(PAGE, vssd_doorbell_bytes(&rig->config));
	h.cmb = rig->cmb = aligned_alloc(PAGE, CMB_SIZE);
	CHECK(rig->doorbells && rig->cmb);
	memset(rig->doorbells, 0, vssd_doorbell_bytes(&rig->config));
	memset(rig->cmb, 0, CMB_SIZE);
	CHECK(!vssd_ctrl_add(rig->v, &rig->config, &h, &rig->ctrl));
	if (device & 128) {
		h.doorbells = rig->other_doorbells = calloc(1, vssd_doorbell_bytes(&rig->config));
		CHECK(h.doorbells && !vssd_ctrl_add(rig->v, &rig->config, &h, &rig->other));
	}
	for (uint32_t i = 0; i < 4; i++) {
		uint32_t nsid;

		ns[i].media = ram_open(size[i], rig->lazy);
		CHECK(!vssd_ns_add(rig->v, &ns[i], &nsid) && nsid == i + 1);
	}
	rig->admin = (struct queue){ .sq_page = ASQ, .cq_page = ACQ };
	for (uint32_t i = 0; i < 3; i++)
		rig->io[i] = (struct queue){ .sqid = i + 1, .cqid = i / 2 + 1, .sq_page = SQ + i,
					     .cq_page = CQ + i / 2 };
}

static void rig_close(struct rig *rig)
{
	vssd_destroy(rig->v);
	for (uint32_t i = 0; i < (rig->scattered ? PAGES : 1); i++)
		free(rig->page[i]);
	free(rig->doorbells);
	free(rig->other_doorbells);
	free(rig->cmb);
}

static void rig_poll(struct rig *rig, uint32_t rounds)
{
	for (; rounds; rounds--)
		for (uint32_t i = 0; i < rig->workers; i++) {
			vssd_poll(rig->v, i);
			vssd_next_due(rig->v, i);
		}
}

static void rig_csts(struct rig *rig, uint32_t mask, uint32_t value)
{
	for (int i = 0; (vssd_reg_read(rig->ctrl, SNV_REG_CSTS, 4) & mask) != value; i++) {
		CHECK(i < PATIENCE);
		rig->now += 100000;
		rig_poll(rig, 1);
	}
}

static void rig_enable(struct rig *rig)
{
	vssd_reg_write(rig->ctrl, SNV_REG_AQA,
		       SNV_AQA_ASQS(ENTRIES - 1) | SNV_AQA_ACQS(ENTRIES - 1), 4);
	vssd_reg_write(rig->ctrl, SNV_REG_ASQ, ARENA + ASQ * PAGE, 8);
	vssd_reg_write(rig->ctrl, SNV_REG_ACQ, ARENA + ACQ * PAGE, 8);
	vssd_reg_write(rig->ctrl, SNV_REG_CC, SNV_CC_EN | SNV_CC_CSS_CSI |
		       6 << SNV_CC_IOSQES_SHIFT | 4 << SNV_CC_IOCQES_SHIFT, 4);
	rig_csts(rig, SNV_CSTS_RDY | SNV_CSTS_CFS, SNV_CSTS_RDY);
	rig->admin.tail = 0;
	for (uint32_t i = 0; i < 3; i++) {
		rig->io[i].tail = 0;
		rig->cq_head[i] = 0;
	}
}

static uint32_t *doorbell(struct rig *rig, uint32_t index)
{
	return (uint32_t *)(rig->doorbells + ((size_t)index << (2 + rig->config.dstrd)));
}

/* Put @sqe where the queue's tail is. The doorbell is another matter. */
static void push(struct rig *rig, struct queue *q, const struct snv_sqe *sqe)
{
	if (!rig->gone[q->sq_page])
		memcpy(rig->page[q->sq_page] + q->tail * sizeof(*sqe), sqe, sizeof(*sqe));
	q->tail = (q->tail + 1) % ENTRIES;
}

static void ring(struct rig *rig, const struct queue *q)
{
	*doorbell(rig, 2 * q->sqid) = q->tail;
	if (q->sqid && !rig->gone[SHADOW])
		memcpy(rig->page[SHADOW] + ((size_t)(2 * q->sqid) << (2 + rig->config.dstrd)),
		       &q->tail, 4);
}

/* Run a command of ours to its end: its status. @q is empty but for it. */
static uint16_t run_one(struct rig *rig, struct queue *q, struct snv_sqe *sqe)
{
	uint32_t head = rig->cq_head[q->cqid];
	const struct snv_cqe *cqe = (void *)(rig->page[q->cq_page] + head * sizeof(*cqe));
	const struct snv_cqe before = *cqe;
	uint32_t dw3;

	sqe->cid = snv_le16(++rig->cid);
	push(rig, q, sqe);
	ring(rig, q);
	for (int i = 0; ; i++) {
		CHECK(i < PATIENCE);
		rig->now += 100000;
		rig_poll(rig, 1);
		dw3 = snv_le32_get(cqe->dw3);
		if ((dw3 ^ snv_le32_get(before.dw3)) & SNV_CQE_DW3_P)
			break;
	}
	CHECK((dw3 & SNV_CQE_DW3_CID) == rig->cid);
	rig->cq_head[q->cqid] = (head + 1) % ENTRIES;
	*doorbell(rig, 2 * q->cqid + 1) = rig->cq_head[q->cqid];
	return dw3 >> SNV_CQE_DW3_STATUS_SHIFT & SNV_STATUS_CODE;
}

static uint16_t run_admin(struct rig *rig, uint8_t opcode, uint32_t nsid, uint64_t prp1,
			  uint32_t cdw10, uint32_t cdw11)
{
	struct snv_sqe sqe = {
		.opcode = opcode,
		.nsid = snv_le32(nsid),
		.prp1 = snv_le64(prp1),
		.cdw10 = snv_le32(cdw10),
		.cdw11 = snv_le32(cdw11),
	};

	return run_one(rig, &rig->admin, &sqe);
}

/* Make I/O queues as the rig has them. */
static void rig_queues(struct rig *rig)
{
	CHECK(!run_admin(rig, SNV_ADMIN_SET_FEATURES, 0, 0, SNV_FEAT_NUM_QUEUES, 7 << 16 | 7));
	for (uint32_t i = 0; i < 3; i++) {
		const struct queue *q = &rig->io[i];

		if (i != 1)
			CHECK(!run_admin(rig, SNV_ADMIN_CREATE_CQ, 0, ARENA + q->cq_page * PAGE,
					 (ENTRIES - 1) << 16 | q->cqid,
					 SNV_CQ_CDW11_PC | SNV_CQ_CDW11_IEN |
					 q->cqid << SNV_CQ_CDW11_IV_SHIFT));
		CHECK(!run_admin(rig, SNV_ADMIN_CREATE_SQ, 0, ARENA + q->sq_page * PAGE,
				 (ENTRIES - 1) << 16 | q->sqid,
				 SNV_SQ_CDW11_PC | q->cqid << SNV_SQ_CDW11_CQID_SHIFT));
	}
}

/* ---- operations that the targets share --------------------------------------------------------- */

/* A submission queue entry. @opcode: those known; others come too. */
static struct snv_sqe take_sqe(struct rig *rig, struct input *in, const uint8_t *opcode, uint32_t n)
{
	static const uint32_t odd_nsid[] = { 0, 5, 256, 257, SNV_NSID_ALL - 1, SNV_NSID_ALL };
	uint8_t op = take(in, 1), flags = take(in, 1), nsid = take(in, 1), given;
	struct snv_sqe sqe = { .cid = snv_le16(++rig->cid) };
	__le32 *dword = &sqe.cdw10;

	sqe.opcode = op < 0xf0 ? opcode[op % n] : take(in, 1);
	sqe.flags = flags & 0x10 ? flags : flags & SNV_SQE_PSDT;
	sqe.nsid = snv_le32(nsid < 0xf0 ? nsid % 4 + 1 : odd_nsid[nsid % 6]);
	sqe.prp1 = snv_le64(take_addr(in));
	if (sqe.flags & SNV_SQE_PSDT) {
		uint32_t length = take_number(in);

		sqe.prp2 = snv_le64(length | take(in, 1) << 56);
	} else {
		sqe.prp2 = snv_le64(take_addr(in));
	}
	if (flags & 0x20)
		sqe.mptr = snv_le64(take_addr(in));
	given = take(in, 1);
	for (int i = 0; i < 6; i++)
		if (given >> i & 1)
			dword[i] = snv_le32(take_number(in));
	if (given & 0x40)
		sqe.cid = snv_le16(take(in, 1));
	if (given & 0x80)
		sqe.cdw2 = snv_le32(take_number(in));
	return sqe;
}

static const uint8_t admin_opcodes[] = {
	SNV_ADMIN_DELETE_SQ, SNV_ADMIN_CREATE_SQ, SNV_ADMIN_GET_LOG_PAGE, SNV_ADMIN_DELETE_CQ,
	SNV_ADMIN_CREATE_CQ, SNV_ADMIN_IDENTIFY, SNV_ADMIN_ABORT, SNV_ADMIN_SET_FEATURES,
	SNV_ADMIN_GET_FEATURES, SNV_ADMIN_ASYNC_EVENT, SNV_ADMIN_NS_MGMT, SNV_ADMIN_NS_ATTACH,
	SNV_ADMIN_KEEP_ALIVE, SNV_ADMIN_DBBUF, SNV_ADMIN_FORMAT, SNV_ADMIN_FW_COMMIT,
	SNV_ADMIN_DIRECTIVE_SEND, SNV_ADMIN_SANITIZE,
};

/* Write PRP entries, SGL descriptors or bytes into the arena. */
static void op_poke(struct rig *rig, struct input *in)
{
	uint8_t what = take(in, 1), page = take(in, 1) % PAGES;
	uint32_t n = (what >> 2 & 15) + 1, at = take(in, 1) * 16U;
	char *to = rig->page[page] + at;

	if (rig->gone[page])
		return;
	if (what & 0x40)	/* up to the end of the page, where chains go on */
		to = rig->page[page] + PAGE - n * 16;
	for (uint32_t i = 0; i < n && to + 16 <= rig->page[page] + PAGE; i++, to += 16) {
		struct snv_sgl_desc desc = { 0 };
		uint64_t entry[2];

		if (what & 1) {
			desc.addr = snv_le64(take_addr(in));
			desc.length = snv_le32(take_number(in));
			desc.type = take(in, 1);
			memcpy(to, &desc, sizeof(desc));
			continue;
		}
		for (int j = 0; j < 2; j++)
			entry[j] = what & 2 ? take(in, 8) : take_addr(in);
		memcpy(to, entry, sizeof(entry));
	}
}

static void op_time(struct rig *rig, struct input *in)
{
	uint8_t what = take(in, 1);

	rig->now += 1ULL << (what & 31);
	rig_poll(rig, what >> 5);
}

/* The host reads completions, up to where they end. */
static void op_reap(struct rig *rig, const struct queue *q)
{
	uint32_t tail = rig->ctrl->cq[q->cqid] ? rig->ctrl->cq[q->cqid]->tail : 0;

	*doorbell(rig, 2 * q->cqid + 1) = tail;
	if (q->cqid && !rig->gone[SHADOW])
		memcpy(rig->page[SHADOW] + ((size_t)(2 * q->cqid + 1) << (2 + rig->config.dstrd)),
		       &tail, 4);
}

static void op_fault(struct rig *rig, struct input *in)
{
	uint8_t what = take(in, 1);
	struct vssd_fault fault = {
		.action = what % 8,
		.admin = what & 8,
		.opcode = what & 16 ? (int)take(in, 1) : -1,
		.nsid = what & 32 ? take(in, 1) : 0,
		.nlb = what & 64 ? take(in, 1) : 0,
		.slba = what & 64 ? take(in, 1) : 0,
		.ppm = what & 128 ? 500000 : 0,
		.count = take(in, 1) & 7,
		.status = SNV_SC_INTERNAL,
		.delay_ns = 100000,
	};

	if (rig->v->n_rules < 8)
		vssd_fault_add(rig->v, &fault);
}

static void op_trace(struct rig *rig, struct input *in)
{
	struct vssd_trace_event event[8];
	uint8_t what = take(in, 1);
	uint64_t lost;

	if (what & 1)
		vssd_trace_start(rig->v, what >> 4);
	else if (what & 2)
		vssd_trace_stop(rig->v);
	else
		CHECK(vssd_trace_read(rig->v, what >> 4 & 1, event, what >> 5, &lost) <= 8);
}

/* Take a page away from the device: nothing may touch it afterwards. Or give it again. */
static void op_map(struct rig *rig, struct input *in)
{
	uint32_t page = take(in, 1) % PAGES;

	if (rig->gone[page]) {
		ASAN_UNPOISON_MEMORY_REGION(rig->page[page], PAGE);
		rig->gone[page] = false;
		return;
	}
	rig->gone[page] = true;
	for (int i = 0; !vssd_unmap(rig->ctrl, rig->page[page], PAGE); i++) {
		CHECK(i < PATIENCE);
		rig->now += 100000;
		rig_poll(rig, 1);
	}
	ASAN_POISON_MEMORY_REGION(rig->page[page], PAGE);
}

/* ---- after the input --------------------------------------------------------------------------- */

/* A block of @nsid is written and read again. */
static void check_ns(struct rig *rig, uint32_t nsid)
{
	const struct vssd_ns *ns = rig->v->ns[nsid];
	uint32_t length = ns->lba_size + (ns->ms && !ns->pi && ns->extended ? ns->ms : 0);
	struct snv_sqe sqe = {
		.nsid = snv_le32(nsid),
		.mptr = snv_le64(ARENA + (DATA + 4) * PAGE),
		.prp1 = snv_le64(ARENA + DATA * PAGE),
		.prp2 = snv_le64(ARENA + (DATA + 1) * PAGE),
		.cdw12 = snv_le32(ns->pi ? SNV_RW_CDW12_PRACT : 0),
	};
	struct queue *q = &rig->io[2];

	if (ns->csi == VSSD_CSI_ZNS) {
		struct snv_sqe reset = {
			.opcode = SNV_OP_ZONE_MGMT_SEND,
			.nsid = snv_le32(nsid),
			.cdw13 = snv_le32(SNV_ZONE_SEND_RESET | SNV_ZONE_SEND_ALL),
		};

		CHECK(!run_one(rig, q, &reset));
	}
	for (uint32_t i = 0; i < length; i++)
		rig->page[DATA + i / PAGE][i % PAGE] = (char)(i * 31 + i / 256 + nsid);
	sqe.opcode = SNV_OP_WRITE;
	CHECK(!run_one(rig, q, &sqe));
	if (!ns->ms) {
		sqe.opcode = SNV_OP_COMPARE;
		CHECK(!run_one(rig, q, &sqe));
	}
	sqe.opcode = SNV_OP_READ;
	sqe.prp1 = snv_le64(ARENA + (DATA + 2) * PAGE);
	sqe.prp2 = snv_le64(ARENA + (DATA + 3) * PAGE);
	CHECK(!run_one(rig, q, &sqe));
	for (uint32_t i = 0; i < length; i++)
		CHECK(rig->page[DATA + i / PAGE][i % PAGE] ==
		      rig->page[DATA + 2 + i / PAGE][i % PAGE]);
}

/* All that a reset must give back. */
static void check_idle(struct rig *rig)
{
	const struct vssd *v = rig->v;

	CHECK(!v->stopped && !v->stop_lock && !v->stopped_lock && !v->model_lock && !v->stopping);
	for (uint32_t i = 0; i < rig->workers; i++) {
		const struct vssd_worker *w = v->worker[i];

		CHECK(w->n_free == w->pool_size && !w->n_active && !w->n_media && !w->n_heap &&
		      !w->retry && !w->irq && !w->lock);
	}
	for (uint32_t nsid = 1; nsid <= VSSD_MAX_NS; nsid++) {
		const struct vssd_ns *ns = v->ns[nsid];

		if (!ns)
			continue;
		CHECK(!ns->frozen && !ns->lock);
		for (uint32_t i = 0; i < rig->workers; i++)
			CHECK(!ns->inflight[i]);
	}
}

/* Never wedged: a reset, and the controller does its work. */
static void rig_check(struct rig *rig)
{
	uint32_t checked = 0;

	rig->starve = 0;
	vssd_fault_clear(rig->v);
	for (uint32_t i = 0; i < PAGES; i++) {
		ASAN_UNPOISON_MEMORY_REGION(rig->page[i], PAGE);
		rig->gone[i] = false;
		memset(rig->page[i], 0, PAGE);
	}
	rig_poll(rig, 4);
	if (rig->ctrl->removed) {
		CHECK(vssd_reg_read(rig->ctrl, SNV_REG_CSTS, 4) == UINT32_MAX);
		return;
	}
	vssd_reg_write(rig->ctrl, SNV_REG_CMBMSC, 0, 8);
	vssd_reg_write(rig->ctrl, SNV_REG_CC, 0, 4);
	rig_csts(rig, SNV_CSTS_RDY | SNV_CSTS_CFS, 0);
	rig_poll(rig, 64);	/* a shutdown's flush, which has no queue to wait for */
	check_idle(rig);

	for (uint32_t i = 0; i < PAGES; i++)
		memset(rig->page[i], 0, PAGE);
	rig_enable(rig);
	CHECK(!run_admin(rig, SNV_ADMIN_IDENTIFY, 0, ARENA + DATA * PAGE, SNV_CNS_CTRL, 0));
	CHECK(!memcmp(rig->page[DATA] + offsetof(struct snv_id_ctrl, sn), "vssd ", 5));
	rig_queues(rig);
	for (uint32_t nsid = 1; nsid <= VSSD_MAX_NS && checked < 8; nsid++)
		if (rig->v->ns[nsid] && vssd_attached(rig->ctrl, rig->v->ns[nsid])) {
			/* A Format may have found no memory for its zones. */
			if (!rig->v->ns[nsid]->nsze)
				CHECK(!run_admin(rig, SNV_ADMIN_FORMAT, nsid, 0, 0, 0));
			check_ns(rig, nsid);
			checked++;
		}
}

#endif /* RIG_H */
