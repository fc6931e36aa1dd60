/* SPDX-License-Identifier: MIT */
/*
 * A host for testing vssd: it knows the controller only by registers, doorbells and memory. Written
 * from the NVMe specifications, with no code of either end. Each completion is checked as it is
 * taken (phase, CID, SQID, SQHD), and each piece of host memory lies between guards; what was wrong
 * is counted, and rig_close() makes it a failed test.
 */
#ifndef VSSD_RIG_H
#define VSSD_RIG_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <snvme/nvme.h>

#include "hal.h"
#include "tap.h"
#include "vssd.h"

#define RIG_UNUSED	__attribute__((unused))
#define RIG_PAGE	4096u
#define RIG_PAGES	24576u			/* 96 MiB of host memory, touched as needed */
#define RIG_BASE	0x10000000ull		/* DMA address of its first byte */
#define RIG_GUARD	0xa5
#define RIG_QUEUES	(VSSD_MAX_QUEUES + 1)
#define RIG_NO_CQE	(-1)			/* rig_wait(): no completion came */
#define RIG_CMB_BASE	0x7000000000ull		/* DMA address of the controller memory buffer */
#define MS		1000000ull

/* ---- medium ----------------------------------------------------------------------------------- */

#define RAM_PENDING	4096

struct ram {
	struct vssd_media media;
	uint8_t *data;
	bool async;			/* transfers end at poll */
	bool held;			/* and not before this is false */
	bool newest_first;
	uint32_t polls;			/* how many polls each takes */
	int fail;			/* status of the next .. */
	uint32_t fail_count;		/* .. this many transfers */
	uint32_t reads, writes, flushes, discards, fua;
	uint32_t pendings;
	struct {
		struct vssd_io *io;
		uint32_t polls;
	} pending[RAM_PENDING];
	uint32_t bad;			/* the core broke the medium's contract */
	uint32_t *closed;
};

static int ram_do(struct ram *ram, struct vssd_io *io)
{
	uint64_t at = io->offset;
	uint32_t i;

	if (ram->fail_count) {
		ram->fail_count--;
		return ram->fail;
	}
	if (io->op == VSSD_IO_FLUSH) {
		ram->flushes++;
		return 0;
	}
	ram->fua += io->fua;
	if (io->offset > ram->media.size || io->length > ram->media.size - io->offset) {
		diag("medium: offset %llu length %llu outside", (unsigned long long)io->offset,
		     (unsigned long long)io->length);
		ram->bad++;
		return SNV_SC_INTERNAL;
	}
	if (io->op == VSSD_IO_DISCARD) {
		ram->discards++;
		memset(ram->data + at, 0, io->length);
		return 0;
	}
	for (i = 0; i < io->segs; i++) {
		if (!io->seg[i].va || io->seg[i].length > io->offset + io->length - at) {
			diag("medium: segment %u of %u is bad", i, io->segs);
			ram->bad++;
			return SNV_SC_INTERNAL;
		}
		if (io->op == VSSD_IO_READ)
			memcpy(io->seg[i].va, ram->data + at, io->seg[i].length);
		else
			memcpy(ram->data + at, io->seg[i].va, io->seg[i].length);
		at += io->seg[i].length;
	}
	if (at != io->offset + io->length) {
		diag("medium: segments are short of the length");
		ram->bad++;
	}
	if (io->op == VSSD_IO_READ)
		ram->reads++;
	else
		ram->writes++;
	return 0;
}

static int ram_submit(struct vssd_media *media, struct vssd_io *io)
{
	struct ram *ram = (struct ram *)media;

	if (!ram->async || ram->pendings == RAM_PENDING)
		return ram_do(ram, io);
	ram->pending[ram->pendings].io = io;
	ram->pending[ram->pendings++].polls = ram->polls;
	return VSSD_PENDING;
}

static uint32_t ram_poll(struct vssd_media *media, uint32_t worker)
{
	struct ram *ram = (struct ram *)media;
	uint32_t ended = 0, i, k, n = ram->pendings;

	if (ram->held)
		return 0;
	for (k = 0; k < n; k++)
		if (ram->pending[k].io->worker == worker && ram->pending[k].polls)
			ram->pending[k].polls--;
	/* done() may start further transfers, which are appended: look again after each. */
	for (;;) {
		struct vssd_io *io = NULL;

		n = ram->pendings;
		for (k = 0; k < n && !io; k++) {
			i = ram->newest_first ? n - 1 - k : k;
			if (ram->pending[i].io->worker != worker || ram->pending[i].polls)
				continue;
			io = ram->pending[i].io;
			memmove(ram->pending + i, ram->pending + i + 1,
				(ram->pendings - i - 1) * sizeof(ram->pending[0]));
			ram->pendings--;
		}
		if (!io || ended == RAM_PENDING)
			return ended;
		ended++;
		io->done(io, ram_do(ram, io));
	}
}

static void ram_close(struct vssd_media *media)
{
	struct ram *ram = (struct ram *)media;

	if (ram->pendings || ram->bad) {
		diag("medium closed with %u in flight, %u broken", ram->pendings, ram->bad);
		ram->closed[1]++;
	}
	ram->closed[0]++;
	munmap(ram->data, ram->media.size);
	free(ram);
}

static const struct vssd_media_ops ram_ops = { ram_submit, ram_poll, ram_close };

/* ---- environment ------------------------------------------------------------------------------ */

/* What controllers of one subsystem share. */
struct rig_env {
	struct vssd *v;
	uint32_t workers;
	uint64_t now;
	bool freeze;			/* waiting doesn't advance the clock */
	uint64_t live;			/* allocations not freed */
	uint64_t allocs;
	uint64_t fail_at;		/* this allocation fails; 0: none */
	uint32_t bad_free;
	uint32_t media;			/* created */
	uint32_t closed[2];		/* media closed; of them badly */
	bool media_refuse;
	struct ram *last;		/* the newest medium */
};

static void *rig_alloc(void *ctx, size_t size)
{
	struct rig_env *e = ctx;
	uint64_t *p;

	if (++e->allocs == e->fail_at)
		return NULL;
	p = calloc(1, size + 64);
	if (!p)
		return NULL;
	p[0] = size;
	e->live++;
	return p + 8;
}

static void rig_free(void *ctx, void *p, size_t size)
{
	struct rig_env *e = ctx;

	if (!p)
		return;
	if (((uint64_t *)p - 8)[0] != size)
		e->bad_free++;
	e->live--;
	free((uint64_t *)p - 8);
}

static uint64_t rig_now(void *ctx)
{
	return ((struct rig_env *)ctx)->now;
}

static struct ram *ram_new(struct rig_env *e, uint64_t size)
{
	struct ram *ram = calloc(1, sizeof(*ram));

	ram->media.ops = &ram_ops;
	ram->media.size = size;
	ram->closed = e->closed;
	ram->data = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	e->media++;
	e->last = ram;
	return ram;
}

static struct vssd_media *rig_media_create(void *ctx, uint64_t size)
{
	struct rig_env *e = ctx;

	return e->media_refuse ? NULL : &ram_new(e, size)->media;
}

/* ---- the rig ---------------------------------------------------------------------------------- */

struct rig_config {
	struct vssd_config v;
	struct vssd_ctrl_config c;
	struct vssd_ns_config ns;
	uint64_t media_size;
	bool no_ns;
	bool no_media_create;
	bool volatile_cache;
	bool transient;			/* struct vssd_host's */
	uint32_t admin_depth;
	uint32_t cc;			/* CC besides EN, IOSQES, IOCQES */
};

struct rig_cq {
	bool live;
	bool hold;			/* don't take its completions */
	uint32_t depth, head, phase;
	uint64_t addr;
};

struct rig_sq {
	bool live;
	uint32_t cqid, depth, tail, head;
	uint64_t addr;
};

struct rig_cmd {
	bool busy, done;
	uint16_t sqid;
	uint16_t status;		/* 15 bits, CRD, M and DNR included */
	uint32_t dw0, dw1;
	uint32_t order;			/* of completion */
	uint64_t when;
};

struct rig {
	struct rig_env *env;
	bool peer;			/* another rig owns the subsystem */
	struct vssd *v;
	struct vssd_ctrl *c;
	struct vssd_ctrl_config cfg;
	uint32_t cc;
	uint32_t admin_depth;
	struct ram *ram;
	uint32_t nsid;
	void *doorbells;
	uint8_t *cmb;
	bool by_register;		/* doorbells by vssd_reg_write() */
	bool no_ring;			/* rig_submit() only fills the ring */
	uint32_t page;			/* of CC.MPS */

	uint8_t *arena;
	uint8_t *mapped;		/* [RIG_PAGES] 0: no, 1: yes, 2: guard, mapped */
	uint32_t *size;			/* [RIG_PAGES] bytes used of it */
	uint32_t top;
	bool chop;			/* translate() ends each piece at its page */
	bool scatter;			/* and neighbours in DMA are not neighbours here */
	uint32_t swapped[2];		/* pages: each is where the other was */

	struct rig_sq sq[RIG_QUEUES];
	struct rig_cq cq[RIG_QUEUES];
	struct rig_cmd *cmd;		/* [65536] by CID */
	uint16_t next_cid;
	uint32_t completions;
	uint32_t bad;			/* rules of completion broken */
	uint32_t irqs[2048];
	uint32_t bad_irqs;
};

/* ---- host memory ------------------------------------------------------------------------------ */

static uint32_t rig_place(const struct rig *r, uint32_t page)
{
	if (page == r->swapped[0] || page == r->swapped[1])
		page = r->swapped[0] + r->swapped[1] - page;
	/* An odd multiplier permutes; the pages are 3 * 2^13, so permute within 8,192. */
	return r->scatter ? (page & ~8191u) | ((page * 4099u) & 8191u) : page;
}

/* Where the host sees DMA address @addr: to the end of its page, or further without scatter. */
static void *rig_ptr(struct rig *r, uint64_t addr)
{
	uint64_t off;

	if (r->cmb && addr >= RIG_CMB_BASE)
		return r->cmb + (addr - RIG_CMB_BASE);
	off = addr - RIG_BASE;
	return r->arena + (uint64_t)rig_place(r, (uint32_t)(off / RIG_PAGE)) * RIG_PAGE + off % RIG_PAGE;
}

static void *rig_translate(void *ctx, uint64_t addr, size_t *length)
{
	struct rig *r = ctx;
	uint64_t off, have;
	uint32_t page;

	if (!*length) {
		r->bad++;
		diag("translate() asked for 0 bytes");
	}
	if (addr < RIG_BASE || addr - RIG_BASE >= (uint64_t)RIG_PAGES * RIG_PAGE)
		return NULL;
	off = addr - RIG_BASE;
	page = (uint32_t)(off / RIG_PAGE);
	if (!r->mapped[page])
		return NULL;
	have = RIG_PAGE - off % RIG_PAGE;
	while (!r->chop && !r->scatter && have < *length && ++page < RIG_PAGES && r->mapped[page])
		have += RIG_PAGE;
	if (*length > have)
		*length = have;
	return rig_ptr(r, addr);
}

RIG_UNUSED static void rig_put(struct rig *r, uint64_t addr, const void *from, size_t n)
{
	while (n) {
		size_t piece = RIG_PAGE - addr % RIG_PAGE;

		piece = piece < n ? piece : n;
		memcpy(rig_ptr(r, addr), from, piece);
		addr += piece;
		from = (const char *)from + piece;
		n -= piece;
	}
}

RIG_UNUSED static void rig_get(struct rig *r, uint64_t addr, void *to, size_t n)
{
	while (n) {
		size_t piece = RIG_PAGE - addr % RIG_PAGE;

		piece = piece < n ? piece : n;
		memcpy(to, rig_ptr(r, addr), piece);
		addr += piece;
		to = (char *)to + piece;
		n -= piece;
	}
}

RIG_UNUSED static void rig_fill(struct rig *r, uint64_t addr, int byte, size_t n)
{
	for (; n; n--, addr++)
		*(uint8_t *)rig_ptr(r, addr) = (uint8_t)byte;
}

/* @bytes of host memory, aligned to @align, zeroed, with a guard page on either side. */
static uint64_t rig_mem_aligned(struct rig *r, size_t bytes, uint32_t align)
{
	uint32_t pages = (uint32_t)((bytes + RIG_PAGE - 1) / RIG_PAGE), first, i;

	first = r->top + 1;
	while ((RIG_BASE + (uint64_t)first * RIG_PAGE) % align)
		first++;
	if (first + pages + 1 > RIG_PAGES) {
		fprintf(stderr, "rig: out of host memory\n");
		exit(1);
	}
	for (i = first - 1; i <= first + pages; i++) {
		uint32_t used = i == first - 1 || i == first + pages ? 0 :
				i == first + pages - 1 && bytes % RIG_PAGE ?
				(uint32_t)(bytes % RIG_PAGE) : RIG_PAGE;
		uint8_t *p = r->arena + (uint64_t)rig_place(r, i) * RIG_PAGE;

		memset(p, 0, used);
		memset(p + used, RIG_GUARD, RIG_PAGE - used);
		r->size[i] = used;
		r->mapped[i] = used ? 1 : 2;
	}
	r->top = first + pages + 1;
	return RIG_BASE + (uint64_t)first * RIG_PAGE;
}

static uint64_t rig_mem(struct rig *r, size_t bytes)
{
	return rig_mem_aligned(r, bytes, r->page);
}

/* Pages with a changed guard, from page @from on. */
static uint32_t rig_guards(struct rig *r, uint32_t from)
{
	uint32_t bad = 0, i, k;

	for (i = from; i < r->top; i++) {
		const uint8_t *p = r->arena + (uint64_t)rig_place(r, i) * RIG_PAGE;

		if (!r->mapped[i])
			continue;
		for (k = r->size[i]; k < RIG_PAGE && p[k] == RIG_GUARD; k++)
			;
		if (k < RIG_PAGE) {
			diag("guard changed at DMA %#llx",
			     (unsigned long long)(RIG_BASE + (uint64_t)i * RIG_PAGE + k));
			bad++;
		}
	}
	return bad;
}

/* Make the page at @addr host memory, or no longer; vssd may have remembered where it is. */
RIG_UNUSED static void rig_set_mapped(struct rig *r, uint64_t addr, bool mapped)
{
	r->mapped[(addr - RIG_BASE) / RIG_PAGE] = mapped;
	if (!mapped)
		vssd_unmap(r->c, rig_ptr(r, addr), RIG_PAGE);
}

/* Give back all that was taken since @top was r->top. */
RIG_UNUSED static void rig_release(struct rig *r, uint32_t top)
{
	uint32_t i;

	r->bad += rig_guards(r, top);
	for (i = top; i < r->top; i++)
		if (r->mapped[i])
			rig_set_mapped(r, RIG_BASE + (uint64_t)i * RIG_PAGE, false);
	r->top = top;
}

/* ---- registers -------------------------------------------------------------------------------- */

static void rig_irq(void *ctx, uint32_t vector)
{
	struct rig *r = ctx;

	if (vector < 2048)
		r->irqs[vector]++;
	else
		r->bad_irqs++;
}

RIG_UNUSED static uint32_t rig_get32(struct rig *r, uint32_t reg)
{
	return (uint32_t)vssd_reg_read(r->c, reg, 4);
}

RIG_UNUSED static uint64_t rig_get64(struct rig *r, uint32_t reg)
{
	return vssd_reg_read(r->c, reg, 8);
}

RIG_UNUSED static void rig_set32(struct rig *r, uint32_t reg, uint32_t v)
{
	vssd_reg_write(r->c, reg, v, 4);
}

RIG_UNUSED static void rig_set64(struct rig *r, uint32_t reg, uint64_t v)
{
	vssd_reg_write(r->c, reg, v, 8);
}

/* PCIe 3.1.2: 1000h + (2y + is_cq) * (4 << CAP.DSTRD) */
static void rig_doorbell(struct rig *r, uint32_t qid, bool cq, uint32_t value)
{
	uint32_t off = (2 * qid + cq) * (4u << r->cfg.dstrd);

	if (r->by_register)
		vssd_reg_write(r->c, SNV_REG_DBS + off, value, 4);
	else
		snv_doorbell_write((uint32_t *)((char *)r->doorbells + off), value);
}

/* A round of every worker; where all are idle, time passes to what is due. Returns the work done. */
static uint32_t rig_step(struct rig *r)
{
	uint64_t due = VSSD_NEVER, d;
	uint32_t w, did = 0;

	for (w = 0; w < r->env->workers; w++)
		did += vssd_poll(r->v, w);
	if (did || r->env->freeze)
		return did;
	for (w = 0; w < r->env->workers; w++) {
		d = vssd_next_due(r->v, w);
		due = d < due ? d : due;
	}
	if (due != VSSD_NEVER && due > r->env->now)
		r->env->now = due;
	return 0;
}

/* Poll, without letting time pass, until nothing has happened for a while. */
RIG_UNUSED static void rig_settle(struct rig *r)
{
	bool freeze = r->env->freeze;
	uint32_t idle, turns;

	r->env->freeze = true;
	for (idle = turns = 0; idle < 8 && turns < 1000000; turns++)
		idle = rig_step(r) ? 0 : idle + 1;
	r->env->freeze = freeze;
}

/* Wait until (CSTS & mask) == value; false when it doesn't come. */
static bool rig_csts(struct rig *r, uint32_t mask, uint32_t value)
{
	uint32_t i;

	for (i = 0; i < 20000; i++) {
		if ((rig_get32(r, SNV_REG_CSTS) & mask) == value)
			return true;
		rig_step(r);
	}
	return false;
}

/* Forget all queues, as the host does on a reset. */
static void rig_forget(struct rig *r)
{
	memset(r->sq, 0, sizeof(r->sq));
	memset(r->cq, 0, sizeof(r->cq));
	memset(r->cmd, 0, 65536 * sizeof(*r->cmd));
}

static void rig_host_queue(struct rig *r, uint32_t sqid, uint32_t sq_depth, uint64_t sq_addr,
			   uint32_t cqid)
{
	r->sq[sqid] = (struct rig_sq){ .live = true, .cqid = cqid, .depth = sq_depth,
				       .addr = sq_addr };
}

static void rig_host_cq(struct rig *r, uint32_t cqid, uint32_t depth, uint64_t addr)
{
	r->cq[cqid] = (struct rig_cq){ .live = true, .depth = depth, .phase = 1, .addr = addr };
}

/* CC.EN = 1 with admin queues of r->admin_depth, new ones where there are none. */
static bool rig_enable(struct rig *r)
{
	uint64_t asq = r->sq[0].addr, acq = r->cq[0].addr;

	r->page = RIG_PAGE << (r->cc >> SNV_CC_MPS_SHIFT & 0xf);
	rig_forget(r);
	if (!asq) {
		asq = rig_mem(r, r->admin_depth * 64ul);
		acq = rig_mem(r, r->admin_depth * 16ul);
	}
	rig_fill(r, acq, 0, r->admin_depth * 16ul);
	rig_host_queue(r, 0, r->admin_depth, asq, 0);
	rig_host_cq(r, 0, r->admin_depth, acq);
	rig_set32(r, SNV_REG_AQA, SNV_AQA_ASQS(r->admin_depth - 1) |
		  SNV_AQA_ACQS(r->admin_depth - 1));
	rig_set64(r, SNV_REG_ASQ, asq);
	rig_set64(r, SNV_REG_ACQ, acq);
	rig_set32(r, SNV_REG_CC, SNV_CC_EN | r->cc | 6u << SNV_CC_IOSQES_SHIFT |
		  4u << SNV_CC_IOCQES_SHIFT);
	return rig_csts(r, SNV_CSTS_RDY | SNV_CSTS_CFS, SNV_CSTS_RDY);
}

RIG_UNUSED static bool rig_disable(struct rig *r)
{
	rig_set32(r, SNV_REG_CC, rig_get32(r, SNV_REG_CC) & ~SNV_CC_EN);
	return rig_csts(r, SNV_CSTS_RDY, 0);
}

/* ---- commands --------------------------------------------------------------------------------- */

/* Take what a CQ holds, checking each entry (Base 3.3.3.2). */
static void rig_reap_cq(struct rig *r, uint32_t cqid)
{
	struct rig_cq *cq = &r->cq[cqid];
	bool moved = false;

	while (cq->live && !cq->hold) {
		struct snv_cqe *e = rig_ptr(r, cq->addr + cq->head * 16ull);
		uint32_t dw3 = snv_cqe_load_dw3(&e->dw3);
		uint32_t dw2, sqid, sqhd, fetched, cid = dw3 & SNV_CQE_DW3_CID;
		struct rig_cmd *cmd = &r->cmd[cid];

		if (!!(dw3 & SNV_CQE_DW3_P) != cq->phase)
			break;
		dw2 = snv_le32_get(e->dw2);
		sqid = dw2 >> SNV_CQE_DW2_SQID_SHIFT;
		sqhd = dw2 & SNV_CQE_DW2_SQHD;
		if (sqid >= RIG_QUEUES || !r->sq[sqid].live || r->sq[sqid].cqid != cqid) {
			diag("CQ %u: completion of SQ %u, which is not its own", cqid, sqid);
			r->bad++;
		} else {
			struct rig_sq *sq = &r->sq[sqid];

			fetched = (sqhd + sq->depth - sq->head) % sq->depth;
			if (sqhd >= sq->depth ||
			    fetched > (sq->tail + sq->depth - sq->head) % sq->depth) {
				diag("SQ %u: SQHD %u is not between %u and %u", sqid, sqhd,
				     sq->head, sq->tail);
				r->bad++;
			} else {
				sq->head = sqhd;
			}
			if (!cmd->busy || cmd->done || cmd->sqid != sqid) {
				diag("SQ %u: completion of CID %u that is not outstanding", sqid,
				     cid);
				r->bad++;
			}
		}
		cmd->done = true;
		cmd->busy = false;
		cmd->status = (uint16_t)(dw3 >> SNV_CQE_DW3_STATUS_SHIFT);
		cmd->dw0 = snv_le32_get(e->dw0);
		cmd->dw1 = snv_le32_get(e->dw1);
		cmd->order = r->completions++;
		cmd->when = r->env->now;
		if (++cq->head == cq->depth) {
			cq->head = 0;
			cq->phase ^= 1;
		}
		moved = true;
	}
	if (moved)
		rig_doorbell(r, cqid, true, cq->head);
}

RIG_UNUSED static void rig_reap(struct rig *r)
{
	uint32_t i;

	for (i = 0; i < RIG_QUEUES; i++)
		if (r->cq[i].live)
			rig_reap_cq(r, i);
}

RIG_UNUSED static uint32_t rig_room(struct rig *r, uint32_t qid)
{
	struct rig_sq *sq = &r->sq[qid];

	return (sq->head + sq->depth - sq->tail - 1) % sq->depth;
}

static void rig_ring(struct rig *r, uint32_t qid)
{
	rig_doorbell(r, qid, false, r->sq[qid].tail);
}

/* Put @sqe into SQ @qid under CID @cid, and ring unless r->no_ring. */
static void rig_submit_as(struct rig *r, uint32_t qid, const struct snv_sqe *sqe, uint16_t cid)
{
	struct rig_sq *sq = &r->sq[qid];
	struct snv_sqe *e = rig_ptr(r, sq->addr + sq->tail * 64ull);

	*e = *sqe;
	e->cid = snv_le16(cid);
	r->cmd[cid] = (struct rig_cmd){ .busy = true, .sqid = (uint16_t)qid };
	sq->tail = (sq->tail + 1) % sq->depth;
	if (!r->no_ring)
		rig_ring(r, qid);
}

static uint16_t rig_submit(struct rig *r, uint32_t qid, const struct snv_sqe *sqe)
{
	uint32_t turns;

	for (turns = 0; !rig_room(r, qid) && turns < 100000; turns++) {
		rig_step(r);
		rig_reap_cq(r, r->sq[qid].cqid);
	}
	while (r->cmd[r->next_cid].busy)
		r->next_cid++;
	rig_submit_as(r, qid, sqe, r->next_cid);
	return r->next_cid++;
}

/* SCT and SC of command @cid when it ends, or RIG_NO_CQE. */
static int rig_wait(struct rig *r, uint16_t cid)
{
	struct rig_cmd *cmd = &r->cmd[cid];
	uint32_t idle;

	for (idle = 0; idle < 3000; ) {
		rig_reap_cq(r, r->sq[cmd->sqid].cqid);
		if (cmd->done)
			return cmd->status & SNV_STATUS_CODE;
		idle = rig_step(r) ? 0 : idle + 1;
	}
	return RIG_NO_CQE;
}

static uint16_t rig_last;	/* CID of the last rig_do(): for its DW0 and DNR */

/* One command to its end. */
static int rig_do(struct rig *r, uint32_t qid, const struct snv_sqe *sqe)
{
	rig_last = rig_submit(r, qid, sqe);
	return rig_wait(r, rig_last);
}

RIG_UNUSED static uint32_t rig_dw0(struct rig *r)
{
	return r->cmd[rig_last].dw0;
}

RIG_UNUSED static bool rig_dnr(struct rig *r)
{
	return r->cmd[rig_last].status & SNV_STATUS_DNR;
}

#define SQE(...) (&(struct snv_sqe){ __VA_ARGS__ })
#define ADMIN(r, ...) rig_do(r, 0, SQE(__VA_ARGS__))

RIG_UNUSED static int rig_identify(struct rig *r, uint32_t cns, uint32_t nsid, uint32_t csi,
				   uint64_t to)
{
	return ADMIN(r, .opcode = SNV_ADMIN_IDENTIFY, .nsid = snv_le32(nsid),
		     .prp1 = snv_le64(to), .cdw10 = snv_le32(cns), .cdw11 = snv_le32(csi << 24));
}

RIG_UNUSED static int rig_set_feature(struct rig *r, uint32_t fid, uint32_t cdw11)
{
	return ADMIN(r, .opcode = SNV_ADMIN_SET_FEATURES, .cdw10 = snv_le32(fid),
		     .cdw11 = snv_le32(cdw11));
}

RIG_UNUSED static int rig_get_feature(struct rig *r, uint32_t fid)
{
	return ADMIN(r, .opcode = SNV_ADMIN_GET_FEATURES, .cdw10 = snv_le32(fid));
}

/* Get Log Page: @bytes, a multiple of 4, to @to, which holds them contiguously. */
RIG_UNUSED static int rig_log(struct rig *r, uint32_t lid, uint32_t nsid, uint64_t to,
			      uint32_t bytes)
{
	uint32_t numd = bytes / 4 - 1;

	return ADMIN(r, .opcode = SNV_ADMIN_GET_LOG_PAGE, .nsid = snv_le32(nsid),
		     .prp1 = snv_le64(to),
		     .cdw10 = snv_le32(lid | (numd & 0xffff) << 16), .cdw11 = snv_le32(numd >> 16));
}

static int rig_create_cq_raw(struct rig *r, uint32_t qid, uint32_t qsize, uint64_t addr,
			     uint32_t cdw11)
{
	return ADMIN(r, .opcode = SNV_ADMIN_CREATE_CQ, .prp1 = snv_le64(addr),
		     .cdw10 = snv_le32(qsize << 16 | qid), .cdw11 = snv_le32(cdw11));
}

static int rig_create_sq_raw(struct rig *r, uint32_t qid, uint32_t qsize, uint64_t addr,
			     uint32_t cdw11)
{
	return ADMIN(r, .opcode = SNV_ADMIN_CREATE_SQ, .prp1 = snv_le64(addr),
		     .cdw10 = snv_le32(qsize << 16 | qid), .cdw11 = snv_le32(cdw11));
}

/* A CQ of @depth entries; interrupts on @vector, or none if that is negative. */
static int rig_create_cq(struct rig *r, uint32_t qid, uint32_t depth, int vector)
{
	uint64_t addr = rig_mem(r, depth * 16ul);
	int ret = rig_create_cq_raw(r, qid, depth - 1, addr, SNV_CQ_CDW11_PC |
				    (vector < 0 ? 0 : SNV_CQ_CDW11_IEN | (uint32_t)vector << 16));

	if (!ret)
		rig_host_cq(r, qid, depth, addr);
	return ret;
}

static int rig_create_sq(struct rig *r, uint32_t qid, uint32_t depth, uint32_t cqid, uint32_t prio)
{
	uint64_t addr = rig_mem(r, depth * 64ul);
	int ret = rig_create_sq_raw(r, qid, depth - 1, addr, SNV_SQ_CDW11_PC | prio | cqid << 16);

	if (!ret)
		rig_host_queue(r, qid, depth, addr, cqid);
	return ret;
}

/* SQ and CQ @qid of @depth, or the first status that is not 0. */
RIG_UNUSED static int rig_create_pair(struct rig *r, uint32_t qid, uint32_t depth)
{
	int ret = rig_create_cq(r, qid, depth, (int)(qid < 2048 ? qid : 0));

	return ret ? ret : rig_create_sq(r, qid, depth, qid, 0);
}

RIG_UNUSED static int rig_delete_sq(struct rig *r, uint32_t qid)
{
	int ret = ADMIN(r, .opcode = SNV_ADMIN_DELETE_SQ, .cdw10 = snv_le32(qid));

	if (!ret) {
		rig_reap_cq(r, r->sq[qid].cqid);
		r->sq[qid].live = false;
	}
	return ret;
}

RIG_UNUSED static int rig_delete_cq(struct rig *r, uint32_t qid)
{
	int ret = ADMIN(r, .opcode = SNV_ADMIN_DELETE_CQ, .cdw10 = snv_le32(qid));

	if (!ret)
		r->cq[qid].live = false;
	return ret;
}

/* ---- data pointers ---------------------------------------------------------------------------- */

/*
 * Describe @bytes at DMA @addr by PRPs (Base 4.1.1): one, two, or lists, the first of which begins
 * @list_off bytes into its page. @addr need only be dword aligned.
 */
RIG_UNUSED static void rig_prp_at(struct rig *r, struct snv_sqe *sqe, uint64_t addr, uint64_t bytes,
				  uint32_t list_off)
{
	uint64_t first = r->page - addr % r->page, list, entries;

	sqe->prp1 = snv_le64(addr);
	if (bytes <= first)
		return;
	addr += first;
	bytes -= first;
	if (bytes <= r->page) {
		sqe->prp2 = snv_le64(addr);
		return;
	}
	list = rig_mem(r, r->page) + list_off;
	sqe->prp2 = snv_le64(list);
	entries = (bytes + r->page - 1) / r->page;
	while (entries) {
		__le64 entry = snv_le64(addr);

		if (list % r->page == r->page - 8 && entries > 1) {
			uint64_t next = rig_mem(r, r->page);

			entry = snv_le64(next);
			rig_put(r, list, &entry, 8);
			list = next;
			continue;
		}
		rig_put(r, list, &entry, 8);
		list += 8;
		addr += r->page;
		entries--;
	}
}

RIG_UNUSED static void rig_prp(struct rig *r, struct snv_sqe *sqe, uint64_t addr, uint64_t bytes)
{
	rig_prp_at(r, sqe, addr, bytes, 0);
}

/* An SGL descriptor of @type << 4 | subtype. */
RIG_UNUSED static struct snv_sgl_desc rig_sgl(uint32_t type, uint64_t addr, uint32_t length)
{
	return (struct snv_sgl_desc){ .addr = snv_le64(addr), .length = snv_le32(length),
				      .type = (uint8_t)type };
}

#define SGL_DATA	(SNV_SGL_DATA << 4)
#define SGL_BUCKET	(SNV_SGL_BIT_BUCKET << 4)
#define SGL_SEGMENT	(SNV_SGL_SEGMENT << 4)
#define SGL_LAST	(SNV_SGL_LAST_SEGMENT << 4)

/* Make @d the SGL1 of @sqe. */
RIG_UNUSED static void rig_sgl1(struct snv_sqe *sqe, struct snv_sgl_desc d)
{
	sqe->flags = (uint8_t)((sqe->flags & ~SNV_SQE_PSDT) | SNV_SQE_PSDT_SGL);
	memcpy((char *)sqe + 24, &d, 16);
}

/* Read, Write and their kin: @nlb is a count, not zero-based. */
RIG_UNUSED static struct snv_sqe rig_rw(struct rig *r, uint8_t opcode, uint64_t slba, uint32_t nlb)
{
	return (struct snv_sqe){ .opcode = opcode, .nsid = snv_le32(r->nsid),
				 .cdw10 = snv_le32((uint32_t)slba),
				 .cdw11 = snv_le32((uint32_t)(slba >> 32)),
				 .cdw12 = snv_le32(nlb - 1) };
}

/* A transfer of @nlb blocks of @bytes in all with PRPs at @addr; on queue 1. */
RIG_UNUSED static int rig_io(struct rig *r, uint8_t opcode, uint64_t slba, uint32_t nlb,
			     uint64_t addr, uint64_t bytes)
{
	struct snv_sqe sqe = rig_rw(r, opcode, slba, nlb);
	uint32_t top = r->top;
	int ret;

	rig_prp(r, &sqe, addr, bytes);
	ret = rig_do(r, 1, &sqe);
	if (ret != RIG_NO_CQE)
		rig_release(r, top);
	return ret;
}

/* Reproducible bytes. */
RIG_UNUSED static void rig_pattern(struct rig *r, uint64_t addr, size_t n, uint32_t seed)
{
	for (; n; n--, addr++) {
		seed = seed * 1664525u + 1013904223u;
		*(uint8_t *)rig_ptr(r, addr) = (uint8_t)(seed >> 24);
	}
}

RIG_UNUSED static bool rig_pattern_is(struct rig *r, uint64_t addr, size_t n, uint32_t seed)
{
	for (; n; n--, addr++) {
		seed = seed * 1664525u + 1013904223u;
		if (*(uint8_t *)rig_ptr(r, addr) != (uint8_t)(seed >> 24))
			return false;
	}
	return true;
}

RIG_UNUSED static bool rig_all(struct rig *r, uint64_t addr, size_t n, int byte)
{
	for (; n; n--, addr++)
		if (*(uint8_t *)rig_ptr(r, addr) != (uint8_t)byte)
			return false;
	return true;
}

/* ---- life ------------------------------------------------------------------------------------- */

static void rig_defaults(struct rig_config *g)
{
	memset(g, 0, sizeof(*g));
	g->v.serial = "RIG0001";
	g->v.model = "vssd under test";
	g->v.workers = 1;
	g->v.seed = 7;
	vssd_ctrl_defaults(&g->c);
	g->ns.lba_size = 512;
	g->media_size = 4 << 20;
	g->admin_depth = 32;
}

/* The controller's own: memory, and the controller itself, not enabled. */
static void rig_controller(struct rig *r, const struct rig_config *g)
{
	struct vssd_host host = { .translate = rig_translate, .irq = rig_irq, .transient = g->transient, .ctx = r };

	r->cfg = g->c;
	r->cc = g->cc;
	r->admin_depth = g->admin_depth;
	r->page = RIG_PAGE << (g->cc >> SNV_CC_MPS_SHIFT & 0xf);
	r->arena = mmap(NULL, (size_t)RIG_PAGES * RIG_PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	r->mapped = calloc(RIG_PAGES, 1);
	r->size = calloc(RIG_PAGES, 4);
	r->cmd = calloc(65536, sizeof(*r->cmd));
	r->top = 1;
	r->next_cid = 0x4321;		/* not the slot number of anything */
	r->doorbells = aligned_alloc(4096, vssd_doorbell_bytes(&g->c));
	memset(r->doorbells, 0, vssd_doorbell_bytes(&g->c));
	if (g->c.cmb_size) {
		r->cmb = aligned_alloc(4096, g->c.cmb_size);
		memset(r->cmb, 0, g->c.cmb_size);
	}
	host.doorbells = r->doorbells;
	host.cmb = r->cmb;
	if (vssd_ctrl_add(r->v, &g->c, &host, &r->c)) {
		fprintf(stderr, "rig: vssd_ctrl_add() failed\n");
		exit(1);
	}
}

/* A subsystem with a controller, not enabled, and a namespace. */
static struct rig *rig_open(const struct rig_config *g)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct rig_env *e = calloc(1, sizeof(*e));
	struct vssd_env env = { .alloc = rig_alloc, .free = rig_free, .now = rig_now,
				.media_create = g->no_media_create ? NULL : rig_media_create,
				.ctx = e };
	struct vssd_ns_config ns = g->ns;

	e->now = 1000 * MS;
	e->workers = g->v.workers;
	r->env = e;
	if (vssd_create(&env, &g->v, &e->v)) {
		fprintf(stderr, "rig: vssd_create() failed\n");
		exit(1);
	}
	r->v = e->v;
	if (!g->no_ns) {
		r->ram = ram_new(e, g->media_size);
		r->ram->media.volatile_cache = g->volatile_cache;
		ns.media = &r->ram->media;
		if (vssd_ns_add(r->v, &ns, &r->nsid)) {
			fprintf(stderr, "rig: vssd_ns_add() failed\n");
			exit(1);
		}
	}
	rig_controller(r, g);
	return r;
}

/* Another controller of the same subsystem, with host memory of its own. */
RIG_UNUSED static struct rig *rig_peer(struct rig *first, const struct rig_config *g)
{
	struct rig *r = calloc(1, sizeof(*r));

	r->env = first->env;
	r->v = first->v;
	r->peer = true;
	r->ram = first->ram;
	r->nsid = first->nsid;
	rig_controller(r, g);
	return r;
}

/* rig_open(), enabled, with queue pair 1 of 64 entries. */
RIG_UNUSED static struct rig *rig_start(const struct rig_config *g)
{
	struct rig *r = rig_open(g);

	if (!rig_enable(r))
		ok(0, "Base 3.5.1 the controller becomes ready (CSTS %#x)",
		   rig_get32(r, SNV_REG_CSTS));
	else if (rig_create_pair(r, 1, 64))
		ok(0, "Base 5.4, 5.5 queue pair 1 is created");
	return r;
}

/* rig_start() with all defaults. */
RIG_UNUSED static struct rig *rig_plain(void)
{
	struct rig_config g;

	rig_defaults(&g);
	return rig_start(&g);
}

/* The end: @what names the rig in the tests made of its findings. */
static void rig_close(struct rig *r, const char *what)
{
	struct rig_env *e = r->env;
	bool peer = r->peer;

	is(r->bad, 0, "%s: Base 3.3.3.2 each completion has its own CID, SQID, SQHD and phase", what);
	is(rig_guards(r, 0), 0, "%s: Base 4.1 nothing outside the host's buffers was written", what);
	if (peer) {
		vssd_ctrl_remove(r->c);
	} else {
		if (r->ram)
			r->ram->held = false;
		vssd_destroy(e->v);
	}
	munmap(r->arena, (size_t)RIG_PAGES * RIG_PAGE);
	free(r->mapped);
	free(r->size);
	free(r->cmd);
	free(r->doorbells);
	free(r->cmb);
	free(r);
	if (peer)
		return;
	ok(!e->live && !e->bad_free && e->closed[0] == e->media && !e->closed[1],
	   "%s: nothing leaks (%llu allocations, %u wrong frees, %u of %u media closed, %u badly)",
	   what, (unsigned long long)e->live, e->bad_free, e->closed[0], e->media, e->closed[1]);
	free(e);
}

#endif /* VSSD_RIG_H */
