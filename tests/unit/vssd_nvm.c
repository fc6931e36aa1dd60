// SPDX-License-Identifier: MIT
/*
 * The NVM command set, NVM Command Set 1.0c section 3.2 and Base 2.0 sections 3.4.2, 3.4.3 (fused), 7.1 (Flush).
 */
#include <pthread.h>
#include <unistd.h>

#include "vssd_rig.h"

static uint64_t blocks(struct rig *r)
{
	uint64_t page = rig_mem(r, 4096);
	struct snv_id_ns *ns = rig_ptr(r, page);

	is(rig_identify(r, SNV_CNS_NS, r->nsid, 0, page), 0, "NVM 4.1.5.1 Identify Namespace");
	return snv_le64_get(ns->nsze);
}

static void round_trip(uint32_t lba, bool async, bool newest_first)
{
	struct rig_config g;
	struct rig *r;
	uint64_t a, b, n;
	uint32_t i, bad = 0;

	rig_defaults(&g);
	g.ns.lba_size = lba;
	g.v.workers = 2;
	r = rig_start(&g);
	rig_create_pair(r, 2, 16);
	r->ram->async = async;
	r->ram->polls = 2;
	r->ram->newest_first = newest_first;
	n = blocks(r);
	is(n, g.media_size / lba, "NVM 4.1.5.1 NSZE of %u-byte blocks", lba);
	a = rig_mem(r, 64 << 10);
	b = rig_mem(r, 64 << 10);
	for (i = 0; i < 200; i++) {
		uint32_t nlb = 1 + i * 7 % (65536 / lba);
		uint64_t slba = i * 7919ull % (n - nlb + 1);

		rig_pattern(r, a, nlb * lba, i);
		rig_fill(r, b, 0, 64 << 10);
		bad += rig_io(r, SNV_OP_WRITE, slba, nlb, a, nlb * lba) ||
		       rig_io(r, SNV_OP_READ, slba, nlb, b, nlb * lba) ||
		       !rig_pattern_is(r, b, nlb * lba, i) ||
		       !rig_all(r, b + nlb * lba, (64 << 10) - nlb * lba, 0) ||
		       rig_io(r, SNV_OP_COMPARE, slba, nlb, a, nlb * lba);
	}
	is(bad, 0, "NVM 3.2.6, 3.2.4 written, read and compared: blocks of %u%s", lba,
	   async ? newest_first ? ", asynchronous, newest first" : ", asynchronous" : "");
	rig_pattern(r, a, lba, 1234);
	is(rig_io(r, SNV_OP_WRITE, n - 1, 1, a, lba), 0, "NVM 3.2.6 the last block");
	is(rig_io(r, SNV_OP_READ, n - 1, 1, b, lba), 0, "NVM 3.2.4 the last block");
	ok(rig_pattern_is(r, b, lba, 1234), "NVM 3.2.4 and its data");

	/* Many at once, each block with its own number. */
	for (i = 0; i < 60; i++) {
		struct snv_sqe sqe = rig_rw(r, SNV_OP_WRITE, i, 1);

		rig_fill(r, a + i * 1024ull, (int)i + 1, 512);
		if (lba == 4096)
			rig_fill(r, a, 5, 4096);
		sqe.prp1 = snv_le64(lba == 512 ? a + i * 1024ull : a);
		rig_submit(r, 1 + i % 2, &sqe);
	}
	rig_settle(r);
	rig_reap(r);
	rig_settle(r);
	rig_reap(r);
	for (i = bad = 0; i < 60; i++) {
		bad += rig_io(r, SNV_OP_READ, i, 1, b, lba) != 0 ||
		       !rig_all(r, b, lba, lba == 512 ? (int)i + 1 : 5);
	}
	is(bad, 0, "NVM 3.2.6 60 writes at once");
	rig_close(r, "round trip");
}

static void bounds(void)
{
	static const struct {
		uint8_t opcode;
		const char *name;
	} op[] = {
		{ SNV_OP_READ, "3.2.4 Read" },
		{ SNV_OP_WRITE, "3.2.6 Write" },
		{ SNV_OP_COMPARE, "3.2.1 Compare" },
		{ SNV_OP_WRITE_ZEROES, "3.2.8 Write Zeroes" },
		{ SNV_OP_VERIFY, "3.2.5 Verify" },
		{ SNV_OP_WRITE_UNCOR, "3.2.7 Write Uncorrectable" },
	};
	struct rig *r = rig_plain();
	uint64_t n = blocks(r), buf = rig_mem(r, 65536);
	const struct {
		uint64_t slba;
		uint32_t nlb;
		const char *what;
	} at[] = {
		{ n, 1, "at NSZE" },
		{ n - 1, 2, "across the end" },
		{ n - 127, 128, "128 across the end by one" },
		{ n + 1000, 8, "past the end" },
		{ UINT64_MAX, 1, "at 2^64 - 1" },
		{ UINT64_MAX, 2, "wrapping at 2^64" },
		{ UINT64_MAX - 3, 8, "wrapping by 4" },
		{ 1ull << 55, 1, "at 2^55: its byte offset wraps" },
		{ (1ull << 55) - 1, 2, "its byte range wraps" },
		{ 1ull << 32, 1, "at 2^32" },
		{ 1ull << 63, 1, "at 2^63" },
	};
	uint8_t *copy = malloc(r->ram->media.size);
	size_t o, i;

	rig_fill(r, buf, 0x5a, 65536);
	memcpy(copy, r->ram->data, r->ram->media.size);
	for (o = 0; o < sizeof(op) / sizeof(*op); o++)
		for (i = 0; i < sizeof(at) / sizeof(*at); i++) {
			is(rig_io(r, op[o].opcode, at[i].slba, at[i].nlb, buf,
				  at[i].nlb * 512), SNV_SC_LBA_RANGE,
			   "NVM %s %s: LBA Out of Range", op[o].name, at[i].what);
			if (!i)
				ok(rig_dnr(r), "Base 3.3.3.2 with DNR");
		}
	ok(rig_all(r, buf, 65536, 0x5a), "NVM 3.2.4 no data came");
	ok(!memcmp(copy, r->ram->data, r->ram->media.size), "NVM 3.2.6 and none was stored");
	free(copy);
	rig_close(r, "bounds");
}

/* Base 3.2.1.4, 3.2.1.3: what a command for an NSID that is inactive, or invalid, ends with. */
static int inactive(uint32_t nsid)
{
	return nsid && nsid <= VSSD_MAX_NS ? SNV_SC_INVALID_FIELD : SNV_SC_INVALID_NS;
}

static void namespaces(void)
{
	static const uint8_t op[] = { SNV_OP_READ, SNV_OP_WRITE, SNV_OP_COMPARE, SNV_OP_WRITE_ZEROES,
				      SNV_OP_VERIFY, SNV_OP_WRITE_UNCOR, SNV_OP_DSM, SNV_OP_COPY };
	static const uint32_t nsid[] = { 0, 2, 256, 257, 0x80000001, 0xfffffffe, 0xffffffff };
	struct rig *r = rig_plain();
	uint64_t buf = rig_mem(r, 4096);
	struct snv_id_ctrl *id;
	size_t o, i;

	for (o = 0; o < sizeof(op); o++)
		for (i = 0; i < sizeof(nsid) / sizeof(*nsid); i++) {
			struct snv_sqe sqe = { .opcode = op[o], .nsid = snv_le32(nsid[i]),
					       .prp1 = snv_le64(buf) };

			is(rig_do(r, 1, &sqe), inactive(nsid[i]),
			   "Base 3.2.1 opcode %02xh, NSID %#x: %s", op[o], nsid[i],
			   nsid[i] - 1 < VSSD_MAX_NS ? "inactive, Invalid Field" :
			   "Invalid Namespace or Format");
		}
	for (i = 0; i + 1 < sizeof(nsid) / sizeof(*nsid); i++)
		is(rig_do(r, 1, SQE(.opcode = SNV_OP_FLUSH, .nsid = snv_le32(nsid[i]))),
		   inactive(nsid[i]), "Base 7.1 Flush, NSID %#x is refused likewise", nsid[i]);
	is(rig_identify(r, SNV_CNS_CTRL, 0, 0, buf), 0, "Base 5.17.2.1 Identify Controller");
	id = rig_ptr(r, buf);
	is(rig_do(r, 1, SQE(.opcode = SNV_OP_FLUSH, .nsid = snv_le32(SNV_NSID_ALL))),
	   (id->vwc & 6) == 6 ? 0 : SNV_SC_INVALID_NS,
	   "Base 7.1 Flush of all namespaces: as VWC bits 2:1 (%u) say", id->vwc >> 1 & 3);
	ok(id->vwc & 4, "Base 5.17.2.1 VWC bits 2:1 are 10b or 11b since 1.4");
	rig_close(r, "NSID");
}

static void sizes(void)
{
	uint32_t lba;

	for (lba = 512; lba <= 4096; lba *= 8) {
		struct rig_config g;
		struct rig *r;
		uint64_t buf;
		struct snv_id_ctrl *id;
		uint32_t max;

		rig_defaults(&g);
		g.c.mdts = 5;
		g.ns.lba_size = lba;
		r = rig_start(&g);
		buf = rig_mem(r, 256 << 10);
		is(rig_identify(r, SNV_CNS_CTRL, 0, 0, buf), 0, "Base 5.17.2.1 Identify Controller");
		id = rig_ptr(r, buf);
		is(id->mdts, 5, "Base 5.17.2.1 MDTS as configured");
		max = (128 << 10) / lba;
		is(rig_io(r, SNV_OP_WRITE, 0, max, buf, 128 << 10), 0,
		   "Base 5.17.2.1 a write of MDTS, blocks of %u", lba);
		is(rig_io(r, SNV_OP_READ, 0, max, buf, 128 << 10), 0, "Base 5.17.2.1 a read of MDTS");
		is(rig_io(r, SNV_OP_COMPARE, 0, max, buf, 128 << 10), 0, "Base 5.17.2.1 a compare of MDTS");
		is(rig_io(r, SNV_OP_WRITE, 0, max + 1, buf, 132 << 10), SNV_SC_INVALID_FIELD,
		   "Base 5.17.2.1 a write of one block more: Invalid Field");
		is(rig_io(r, SNV_OP_READ, 0, max + 1, buf, 132 << 10), SNV_SC_INVALID_FIELD,
		   "Base 5.17.2.1 a read of one block more: Invalid Field");
		is(rig_io(r, SNV_OP_COMPARE, 0, max + 1, buf, 132 << 10), SNV_SC_INVALID_FIELD,
		   "Base 5.17.2.1 a compare of one block more: Invalid Field");
		if (lba == 512)
			is(rig_io(r, SNV_OP_READ, 0, 8000, buf, 132 << 10), SNV_SC_INVALID_FIELD,
			   "Base 5.17.2.1 a read of 8,000: Invalid Field");
		is(rig_io(r, SNV_OP_WRITE_ZEROES, 0, max * 2, buf, 0), 0,
		   "NVM 3.2.8 Write Zeroes moves no data: MDTS is not for it");
		rig_close(r, "MDTS");
	}
}

static void compare(void)
{
	struct rig *r = rig_plain();
	uint64_t a = rig_mem(r, 8192), b = rig_mem(r, 8192);

	rig_pattern(r, a, 8192, 1);
	rig_pattern(r, b, 8192, 1);
	is(rig_io(r, SNV_OP_WRITE, 10, 16, a, 8192), 0, "NVM 3.2.6 a write");
	is(rig_io(r, SNV_OP_COMPARE, 10, 16, b, 8192), 0, "NVM 3.2.1 Compare of the same");
	*(uint8_t *)rig_ptr(r, b + 8191) ^= 1;
	is(rig_io(r, SNV_OP_COMPARE, 10, 16, b, 8192), SNV_SC_COMPARE_FAILED,
	   "NVM 3.2.1 the last bit differs: Compare Failure");
	is(rig_io(r, SNV_OP_COMPARE, 10, 15, b, 7680), 0, "NVM 3.2.1 without the last block: the same");
	is(rig_io(r, SNV_OP_COMPARE, 11, 15, b, 7680), SNV_SC_COMPARE_FAILED,
	   "NVM 3.2.1 shifted by a block: Compare Failure");
	rig_pattern(r, a, 8192, 1);
	ok(!memcmp(rig_ptr(r, a), r->ram->data + 10 * 512, 8192), "NVM 3.2.1 it changes nothing");
	rig_close(r, "compare");
}

/* A fused pair; both CIDs into @cid. */
static void fuse(struct rig *r, const struct snv_sqe *first, const struct snv_sqe *second,
		 uint16_t cid[2])
{
	r->no_ring = true;
	cid[0] = rig_submit(r, 1, first);
	cid[1] = rig_submit(r, 1, second);
	r->no_ring = false;
	rig_ring(r, 1);
	rig_wait(r, cid[0]);
	rig_wait(r, cid[1]);
}

static int status(struct rig *r, uint16_t cid)
{
	return r->cmd[cid].done ? (int)(r->cmd[cid].status & SNV_STATUS_CODE) : RIG_NO_CQE;
}

static void fused(bool async)
{
	struct rig *r = rig_plain();
	uint64_t a = rig_mem(r, 4096), b = rig_mem(r, 4096), c = rig_mem(r, 4096);
	struct snv_sqe cmp, wr, rd;
	struct snv_id_ctrl *id;
	uint16_t cid[2], extra;
	uint32_t i, bad = 0;

	is(rig_identify(r, SNV_CNS_CTRL, 0, 0, a), 0, "Base 5.17.2.1 Identify Controller");
	id = rig_ptr(r, a);
	ok(snv_le16_get(id->fuses) & 1, "Base 5.17.2.1 FUSES: Compare and Write");
	rig_pattern(r, a, 4096, 1);
	rig_pattern(r, b, 4096, 2);
	is(rig_io(r, SNV_OP_WRITE, 8, 8, a, 4096), 0, "NVM 3.2.6 a write");
	r->ram->async = async;
	r->ram->polls = 2;
	cmp = rig_rw(r, SNV_OP_COMPARE, 8, 8);
	cmp.flags = SNV_SQE_FUSE_FIRST;
	cmp.prp1 = snv_le64(a);
	wr = rig_rw(r, SNV_OP_WRITE, 8, 8);
	wr.flags = SNV_SQE_FUSE_SECOND;
	wr.prp1 = snv_le64(b);
	fuse(r, &cmp, &wr, cid);
	is(status(r, cid[0]), 0, "Base 3.4.2 the fused compare succeeds");
	is(status(r, cid[1]), 0, "Base 3.4.2 and the write");
	ok(r->cmd[cid[0]].order < r->cmd[cid[1]].order, "Base 3.4.2 in this order");
	ok(!memcmp(r->ram->data + 8 * 512, rig_ptr(r, b), 4096), "Base 3.4.2 written");
	rig_pattern(r, c, 4096, 3);
	wr.prp1 = snv_le64(c);
	fuse(r, &cmp, &wr, cid);
	is(status(r, cid[0]), SNV_SC_COMPARE_FAILED, "Base 3.4.2 the compare fails: Compare Failure");
	is(status(r, cid[1]), SNV_SC_FUSED_FAIL,
	   "Base 3.4.2 the write: Command Aborted due to Failed Fused Command");
	ok(!memcmp(r->ram->data + 8 * 512, rig_ptr(r, b), 4096), "Base 3.4.2 nothing written");

	/* Halves. */
	is(rig_do(r, 1, &cmp), SNV_SC_FUSED_MISSING,
	   "Base 3.4.2 a first half alone: Command Aborted due to Missing Fused Command");
	is(rig_do(r, 1, &wr), SNV_SC_FUSED_MISSING, "Base 3.4.2 a second half alone: the same");
	rd = rig_rw(r, SNV_OP_READ, 0, 1);
	rd.prp1 = snv_le64(c);
	fuse(r, &cmp, &rd, cid);
	is(status(r, cid[0]), SNV_SC_FUSED_MISSING, "Base 3.4.2 a first half before a plain read: missing");
	is(status(r, cid[1]), 0, "Base 3.4.2 the read runs");
	fuse(r, &rd, &wr, cid);
	is(status(r, cid[0]), 0, "Base 3.4.2 a plain read before a second half runs");
	is(status(r, cid[1]), SNV_SC_FUSED_MISSING, "Base 3.4.2 the second half: missing");
	fuse(r, &cmp, &cmp, cid);
	is(status(r, cid[0]), SNV_SC_FUSED_MISSING, "Base 3.4.2 two first halves: missing");
	is(status(r, cid[1]), SNV_SC_FUSED_MISSING, "Base 3.4.2 both");
	cmp.flags = SNV_SQE_FUSE;
	is(rig_do(r, 1, &cmp), SNV_SC_INVALID_FIELD, "Base 3.3.3.1 FUSE 11b: Invalid Field");
	cmp.flags = SNV_SQE_FUSE_FIRST;
	ok(!memcmp(r->ram->data + 8 * 512, rig_ptr(r, b), 4096), "Base 3.4.2 still nothing written");

	/* Pairs that are not Compare and Write of one range. */
	cmp.prp1 = snv_le64(b);
	wr.cdw10 = snv_le32(16);
	fuse(r, &cmp, &wr, cid);
	ok(status(r, cid[0]) > 0 && status(r, cid[1]) > 0, "NVM 2.1.1 different ranges are refused");
	wr.cdw10 = snv_le32(8);
	rd = wr;
	rd.opcode = SNV_OP_READ;
	rig_fill(r, c, 0x11, 4096);
	fuse(r, &cmp, &rd, cid);
	ok(status(r, cid[0]) > 0 && status(r, cid[1]) > 0, "NVM 2.1.1 Compare and Read is refused");
	ok(rig_all(r, c, 4096, 0x11), "NVM 2.1.1 and reads nothing");

	/* Round the end of the ring, with other commands between the pairs. */
	for (i = 0; i < 150; i++) {
		uint64_t from = i & 1 ? a : b, to = i & 1 ? b : a;

		cmp.prp1 = snv_le64(from);
		wr.prp1 = snv_le64(to);
		fuse(r, &cmp, &wr, cid);
		bad += status(r, cid[0]) || status(r, cid[1]);
		extra = rig_submit(r, 1, SQE(.opcode = SNV_OP_FLUSH, .nsid = snv_le32(1)));
		bad += rig_wait(r, extra);
	}
	is(bad, 0, "Base 3.4.2 150 pairs, round the end of the ring%s", async ? ", asynchronous" : "");
	rig_close(r, "fused");
}

static void zeroes(void)
{
	struct rig *r = rig_plain();
	uint64_t a = rig_mem(r, 65536);
	struct snv_sqe sqe;

	rig_fill(r, a, 0xee, 65536);
	is(rig_io(r, SNV_OP_WRITE, 0, 128, a, 65536), 0, "NVM 3.2.6 a write");
	is(rig_io(r, SNV_OP_WRITE_ZEROES, 3, 100, 0, 0), 0, "NVM 3.2.8 Write Zeroes");
	is(rig_io(r, SNV_OP_READ, 0, 128, a, 65536), 0, "NVM 3.2.4 a read");
	ok(rig_all(r, a, 3 * 512, 0xee) && rig_all(r, a + 3 * 512, 100 * 512, 0) &&
	   rig_all(r, a + 103 * 512, 25 * 512, 0xee), "NVM 3.2.8 its blocks are zeros, no others");
	sqe = rig_rw(r, SNV_OP_WRITE_ZEROES, 0, 2);
	sqe.cdw12 = snv_le32(1 | SNV_RW_CDW12_DEAC);
	is(rig_do(r, 1, &sqe), 0, "NVM 3.2.8 Write Zeroes with DEAC");
	is(rig_io(r, SNV_OP_READ, 0, 3, a, 3 * 512), 0, "NVM 3.2.4 a read");
	ok(rig_all(r, a, 1024, 0) && rig_all(r, a + 1024, 512, 0xee),
	   "NVM 3.2.8 zeros after DEAC too");
	rig_close(r, "zeroes");
}

static int dsm(struct rig *r, uint64_t at, uint32_t nr, uint32_t attr)
{
	return rig_do(r, 1, SQE(.opcode = SNV_OP_DSM, .nsid = snv_le32(r->nsid),
				.prp1 = snv_le64(at), .cdw10 = snv_le32(nr - 1),
				.cdw11 = snv_le32(attr)));
}

static void deallocate(void)
{
	struct rig *r = rig_plain();
	uint64_t a = rig_mem(r, 256 << 10), list = rig_mem(r, 4096), page = rig_mem(r, 4096);
	struct snv_dsm_range *range = rig_ptr(r, list);
	struct snv_id_ns *id = rig_ptr(r, page);
	uint64_t n = blocks(r);
	uint32_t i, bad = 0;

	rig_fill(r, a, 0xcc, 256 << 10);
	is(rig_io(r, SNV_OP_WRITE, 0, 512, a, 256 << 10), 0, "NVM 3.2.6 a write");
	for (i = 0; i < 256; i++)
		range[i] = (struct snv_dsm_range){ .nlb = snv_le32(1), .slba = snv_le64(2 * i) };
	is(dsm(r, list, 256, 0), 0, "NVM 3.2.3 256 ranges without AD");
	is(rig_io(r, SNV_OP_READ, 0, 512, a, 256 << 10), 0, "NVM 3.2.4 a read");
	ok(rig_all(r, a, 256 << 10, 0xcc), "NVM 3.2.3 a hint changes nothing");
	is(dsm(r, list, 256, SNV_DSM_CDW11_AD), 0, "NVM 3.2.3 256 ranges deallocated");
	is(rig_io(r, SNV_OP_READ, 0, 512, a, 256 << 10), 0, "NVM 3.2.4 a read");
	rig_identify(r, SNV_CNS_NS, 1, 0, page);
	is(id->dlfeat & 7, 1, "NVM 4.1.5.1 DLFEAT: deallocated blocks read as zeros");
	for (i = 0; i < 512; i++)
		bad += !rig_all(r, a + i * 512ull, 512, i % 2 ? 0xcc : 0);
	is(bad, 0, "NVM 3.2.3 every second block reads as zeros, the others are as they were");
	is(dsm(r, list, 1, SNV_DSM_CDW11_AD), 0, "NVM 3.2.3 again");
	range[0].nlb = 0;
	range[0].slba = snv_le64(5);
	is(dsm(r, list, 1, SNV_DSM_CDW11_AD), 0, "NVM 3.2.3 a range of 0 blocks");
	rig_io(r, SNV_OP_READ, 5, 1, a, 512);
	ok(rig_all(r, a, 512, 0xcc), "NVM 3.2.3 and that is none");
	range[0].nlb = snv_le32(2);
	range[0].slba = snv_le64(n - 1);
	is(dsm(r, list, 1, SNV_DSM_CDW11_AD), SNV_SC_LBA_RANGE, "NVM 3.2.3 across the end: LBA Out of Range");
	range[0].nlb = snv_le32(0xffffffff);
	range[0].slba = snv_le64(UINT64_MAX - 5);
	is(dsm(r, list, 1, SNV_DSM_CDW11_AD), SNV_SC_LBA_RANGE, "NVM 3.2.3 wrapping: LBA Out of Range");
	range[0].nlb = snv_le32(n);
	range[0].slba = 0;
	is(dsm(r, list, 1, SNV_DSM_CDW11_AD), 0, "NVM 3.2.3 the whole namespace");
	ok(dsm(r, 0xdead0000, 1, SNV_DSM_CDW11_AD) > 0, "NVM 3.2.3 a list that isn't there");
	ok(dsm(r, list + 4096 - 16, 3, SNV_DSM_CDW11_AD) > 0, "NVM 3.2.3 a list that runs over its page without PRP2");
	rig_close(r, "DSM");
}

/* The first of a pair is the last command of a round; before the next one the host takes the second back. */
static void taken_back(void)
{
	struct rig *r = rig_plain();
	uint64_t a = rig_mem(r, 4096);
	struct snv_sqe sqe = rig_rw(r, SNV_OP_READ, 0, 1);
	uint16_t cid;

	is(rig_create_pair(r, 2, 128), 0, "a queue");
	sqe.prp1 = snv_le64(a);
	r->no_ring = true;
	for (int i = 0; i < 63; i++)
		rig_submit(r, 2, &sqe);
	sqe = rig_rw(r, SNV_OP_COMPARE, 0, 1);
	sqe.prp1 = snv_le64(a);
	sqe.flags = SNV_SQE_FUSE_FIRST;
	cid = rig_submit(r, 2, &sqe);
	r->no_ring = false;
	rig_doorbell(r, 2, false, r->sq[2].tail + 1);
	vssd_poll(r->v, 0);
	rig_reap(r);
	is(status(r, cid), RIG_NO_CQE, "the first of a pair waits");
	rig_ring(r, 2);
	is(rig_wait(r, cid), SNV_SC_FUSED_MISSING, "and ends when its second is taken back");
	rig_close(r, "taken back");
}

static void verify_limit(void)
{
	struct rig *r = rig_plain();
	uint64_t a = rig_mem(r, 4096);
	struct snv_id_ctrl_nvm *id = rig_ptr(r, a);

	is(rig_identify(r, SNV_CNS_CSI_CTRL, 0, 0, a), 0, "NVM 4.1.5.4 Identify Controller");
	is(id->vsl, 8, "NVM 4.1.5.4 VSL: 1 MiB");
	is(rig_io(r, SNV_OP_VERIFY, 0, 2048, 0, 0), 0, "NVM 3.2.5 Verify of as much");
	is(rig_io(r, SNV_OP_VERIFY, 0, 2049, 0, 0), SNV_SC_INVALID_FIELD, "NVM 3.2.5 and of more");
	rig_close(r, "verify limit");
}

static void uncorrectable(void)
{
	struct rig *r = rig_plain();
	uint64_t a = rig_mem(r, 65536);
	uint32_t cure;

	rig_fill(r, a, 0x42, 65536);
	is(rig_io(r, SNV_OP_WRITE, 0, 128, a, 65536), 0, "NVM 3.2.6 a write");
	is(rig_io(r, SNV_OP_VERIFY, 0, 128, 0, 0), 0, "NVM 3.2.5 Verify of good blocks");
	for (cure = 0; cure < 3; cure++) {
		is(rig_io(r, SNV_OP_WRITE_UNCOR, 10, 20, 0, 0), 0, "NVM 3.2.7 Write Uncorrectable");
		is(rig_io(r, SNV_OP_READ, 10, 1, a, 512), SNV_SC_READ_ERROR,
		   "NVM 3.2.7 its first block: Unrecovered Read Error");
		is(rig_io(r, SNV_OP_READ, 0, 128, a, 65536), SNV_SC_READ_ERROR,
		   "NVM 3.2.7 a read across it: Unrecovered Read Error");
		is(rig_io(r, SNV_OP_READ, 29, 1, a, 512), SNV_SC_READ_ERROR, "NVM 3.2.7 its last block");
		is(rig_io(r, SNV_OP_READ, 0, 10, a, 10 * 512), 0, "NVM 3.2.7 the block before it");
		is(rig_io(r, SNV_OP_READ, 30, 10, a, 10 * 512), 0, "NVM 3.2.7 the block after it");
		is(rig_io(r, SNV_OP_VERIFY, 25, 10, 0, 0), SNV_SC_READ_ERROR,
		   "NVM 3.2.5 Verify: Unrecovered Read Error");
		is(rig_io(r, SNV_OP_COMPARE, 25, 10, a, 10 * 512), SNV_SC_READ_ERROR,
		   "NVM 3.2.1 Compare: Unrecovered Read Error");
		rig_fill(r, a, 0x42, 65536);
		if (!cure) {
			is(rig_io(r, SNV_OP_WRITE, 10, 5, a, 5 * 512), 0, "NVM 3.2.7 5 of them written");
			is(rig_io(r, SNV_OP_READ, 10, 5, a, 5 * 512), 0, "NVM 3.2.7 and readable again");
			is(rig_io(r, SNV_OP_READ, 15, 1, a, 512), SNV_SC_READ_ERROR,
			   "NVM 3.2.7 the next is not");
			is(rig_io(r, SNV_OP_WRITE, 0, 128, a, 65536), 0, "NVM 3.2.7 all written");
		} else if (cure == 1) {
			is(rig_io(r, SNV_OP_WRITE_ZEROES, 0, 128, 0, 0), 0,
			   "NVM 3.2.8 Write Zeroes over them");
		} else {
			uint64_t list = rig_mem(r, 4096);
			struct snv_dsm_range *range = rig_ptr(r, list);

			range->nlb = snv_le32(128);
			ok(!dsm(r, list, 1, SNV_DSM_CDW11_AD), "NVM 3.2.3 deallocated");
		}
		is(rig_io(r, SNV_OP_READ, 0, 128, a, 65536), 0, "NVM 3.2.7 all is readable again");
		rig_fill(r, a, 0x42, 65536);
		rig_io(r, SNV_OP_WRITE, 0, 128, a, 65536);
	}
	rig_close(r, "uncorrectable");
}

static int copy(struct rig *r, uint64_t list, uint32_t nr, uint64_t sdlba, uint32_t format)
{
	return rig_do(r, 1, SQE(.opcode = SNV_OP_COPY, .nsid = snv_le32(r->nsid),
				.prp1 = snv_le64(list), .cdw10 = snv_le32((uint32_t)sdlba),
				.cdw11 = snv_le32((uint32_t)(sdlba >> 32)),
				.cdw12 = snv_le32((nr - 1) | format << 8)));
}

static void copies(bool async)
{
	struct rig *r = rig_plain();
	uint64_t a = rig_mem(r, 65536), list = rig_mem(r, 16384), page = rig_mem(r, 4096);
	struct snv_copy_range *range = rig_ptr(r, list);
	struct snv_id_ns *id = rig_ptr(r, page);
	struct snv_id_ctrl *ctrl;
	uint32_t mssrl, mcl, msrc, i, bad = 0;
	uint64_t n = blocks(r);

	rig_identify(r, SNV_CNS_CTRL, 0, 0, page);
	ctrl = rig_ptr(r, page);
	ok(snv_le16_get(ctrl->oncs) & SNV_ONCS_COPY, "Base 5.17.2.1 ONCS: Copy");
	ok(snv_le16_get(ctrl->ocfs) & 1, "Base 5.17.2.1 OCFS: format 0");
	rig_identify(r, SNV_CNS_NS, 1, 0, page);
	mssrl = snv_le16_get(id->mssrl);
	mcl = snv_le32_get(id->mcl);
	msrc = id->msrc + 1;
	diag("MSSRL %u, MCL %u, MSRC %u", mssrl, mcl, msrc);
	ok(mssrl && mcl >= mssrl, "NVM 4.1.5.1 MSSRL and MCL");
	for (i = 0; i < 128; i++)
		rig_fill(r, a + i * 512ull, (int)i, 512);
	is(rig_io(r, SNV_OP_WRITE, 0, 128, a, 65536), 0, "NVM 3.2.6 a write");
	r->ram->async = async;
	r->ram->polls = 1;
	range[0] = (struct snv_copy_range){ .slba = snv_le64(5), .nlb = snv_le16(2) };
	is(copy(r, list, 1, 1000, 0), 0, "NVM 3.2.2 Copy of one range of 3 blocks");
	rig_io(r, SNV_OP_READ, 1000, 4, a, 2048);
	ok(rig_all(r, a, 512, 5) && rig_all(r, a + 512, 512, 6) && rig_all(r, a + 1024, 512, 7) &&
	   rig_all(r, a + 1536, 512, 0), "NVM 3.2.2 they are there, and no 4th");
	for (i = 0; i < msrc && i < 64; i++)
		range[i] = (struct snv_copy_range){ .slba = snv_le64(127 - i) };
	if (msrc > 64)
		msrc = 64;
	is(copy(r, list, msrc, 2000, 0), 0, "NVM 3.2.2 %u ranges, backwards", msrc);
	rig_io(r, SNV_OP_READ, 2000, msrc, a, msrc * 512);
	for (i = 0; i < msrc; i++)
		bad += !rig_all(r, a + i * 512ull, 512, 127 - (int)i);
	is(bad, 0, "NVM 3.2.2 each in its place");
	range[0] = (struct snv_copy_range){ .slba = snv_le64(n - 1), .nlb = snv_le16(1) };
	is(copy(r, list, 1, 1000, 0), SNV_SC_LBA_RANGE, "NVM 3.2.2 a source across the end: LBA Out of Range");
	range[0].slba = snv_le64(UINT64_MAX);
	is(copy(r, list, 1, 1000, 0), SNV_SC_LBA_RANGE, "NVM 3.2.2 a source that wraps: LBA Out of Range");
	range[0].slba = snv_le64(4);
	is(copy(r, list, 1, n - 1, 0), SNV_SC_LBA_RANGE, "NVM 3.2.2 a destination across the end");
	is(copy(r, list, 1, UINT64_MAX, 0), SNV_SC_LBA_RANGE, "NVM 3.2.2 a destination that wraps");
	is(copy(r, list, 1, 1000, 1), SNV_SC_INVALID_FIELD,
	   "NVM 3.2.2 a descriptor format that isn't offered: Invalid Field");
	is(copy(r, list, 1, 1000, 15), SNV_SC_INVALID_FIELD, "NVM 3.2.2 format 15: Invalid Field");
	if (mssrl < 65535) {
		range[0] = (struct snv_copy_range){ .nlb = snv_le16((uint16_t)mssrl) };
		is(copy(r, list, 1, 1000, 0), SNV_SC_SIZE_LIMIT,
		   "NVM 3.2.2 above MSSRL: Command Size Limit Exceeded");
	}
	if (id->msrc < 255) {
		for (i = 0; i < 256; i++)
			range[i] = (struct snv_copy_range){ .slba = 0 };
		is(rig_do(r, 1, SQE(.opcode = SNV_OP_COPY, .nsid = snv_le32(1), .prp1 = snv_le64(list),
				    .prp2 = snv_le64(list + 4096), .cdw10 = snv_le32(1000),
				    .cdw12 = snv_le32(id->msrc + 1u))), SNV_SC_SIZE_LIMIT,
		   "NVM 3.2.2 above MSRC: Command Size Limit Exceeded");
	}
	ok(copy(r, 0xdead0000, 1, 1000, 0) > 0, "NVM 3.2.2 a list that isn't there");
	rig_io(r, SNV_OP_READ, 1000, 1, a, 512);
	ok(rig_all(r, a, 512, 5), "NVM 3.2.2 none of these wrote");
	rig_io(r, SNV_OP_WRITE_UNCOR, 50, 1, 0, 0);
	range[0] = (struct snv_copy_range){ .slba = snv_le64(49), .nlb = snv_le16(2) };
	is(copy(r, list, 1, 1000, 0), SNV_SC_READ_ERROR, "NVM 3.2.2 a source that cannot be read");
	rig_close(r, "copy");
}

static void durability(void)
{
	struct rig_config g;
	struct rig *r;
	uint64_t a;
	struct snv_sqe sqe;
	struct snv_id_ctrl *id;
	uint32_t flushes, fua;

	rig_defaults(&g);
	g.volatile_cache = true;
	r = rig_start(&g);
	a = rig_mem(r, 4096);
	rig_identify(r, SNV_CNS_CTRL, 0, 0, a);
	id = rig_ptr(r, a);
	ok(id->vwc & SNV_VWC_PRESENT, "Base 5.17.2.1 VWC: a volatile write cache");
	is(rig_get_feature(r, SNV_FEAT_VOLATILE_WC), 0, "Base 5.27.1.4 Get Features 06h");
	is(rig_dw0(r) & 1, 1, "Base 5.27.1.4 WCE is 1");
	flushes = r->ram->flushes;
	is(rig_do(r, 1, SQE(.opcode = SNV_OP_FLUSH, .nsid = snv_le32(1))), 0, "Base 7.1 Flush");
	is(r->ram->flushes, flushes + 1, "Base 7.1 it reaches the medium");
	fua = r->ram->fua;
	flushes = r->ram->flushes;
	is(rig_io(r, SNV_OP_WRITE, 0, 1, a, 512), 0, "NVM 3.2.6 a write");
	ok(r->ram->fua == fua && r->ram->flushes == flushes, "NVM 3.2.6 is not forced through");
	sqe = rig_rw(r, SNV_OP_WRITE, 0, 1);
	sqe.prp1 = snv_le64(a);
	sqe.cdw12 = snv_le32(SNV_RW_CDW12_FUA);
	is(rig_do(r, 1, &sqe), 0, "NVM 3.2.6 a write with FUA");
	ok(r->ram->fua + r->ram->flushes > fua + flushes, "NVM 3.2.6 is forced through");
	is(rig_set_feature(r, SNV_FEAT_VOLATILE_WC, 0), 0, "Base 5.27.1.4 WCE 0");
	is(rig_get_feature(r, SNV_FEAT_VOLATILE_WC), 0, "Base 5.27.1.4 Get Features");
	is(rig_dw0(r) & 1, 0, "Base 5.27.1.4 it reads back");
	fua = r->ram->fua;
	flushes = r->ram->flushes;
	is(rig_io(r, SNV_OP_WRITE, 0, 1, a, 512), 0, "NVM 3.2.6 a write with the cache off");
	ok(r->ram->fua + r->ram->flushes > fua + flushes, "Base 5.27.1.4 is forced through");
	fua = r->ram->fua;
	flushes = r->ram->flushes;
	is(rig_io(r, SNV_OP_WRITE_ZEROES, 0, 1, a, 0), 0, "NVM 3.2.8 Write Zeroes with the cache off");
	ok(r->ram->fua + r->ram->flushes > fua + flushes, "Base 5.27.1.4 is forced through");
	rig_close(r, "durability");

	r = rig_plain();
	rig_identify(r, SNV_CNS_CTRL, 0, 0, rig_mem(r, 4096));
	is(rig_do(r, 1, SQE(.opcode = SNV_OP_FLUSH, .nsid = snv_le32(1))), 0,
	   "Base 7.1 Flush without a volatile cache succeeds");
	rig_close(r, "no cache");
}

static void media_errors(bool async)
{
	static const struct {
		uint8_t opcode;
		int status;
	} table[] = {
		{ SNV_OP_READ, SNV_SC_READ_ERROR }, { SNV_OP_WRITE, SNV_SC_WRITE_FAULT },
		{ SNV_OP_COMPARE, SNV_SC_READ_ERROR }, { SNV_OP_VERIFY, SNV_SC_READ_ERROR },
		{ SNV_OP_WRITE_ZEROES, SNV_SC_WRITE_FAULT }, { SNV_OP_READ, SNV_SC_INTERNAL },
		{ SNV_OP_WRITE, SNV_SC_CAP_EXCEEDED },
	};
	struct rig *r = rig_plain();
	uint64_t a = rig_mem(r, 4096);
	size_t i;

	r->ram->async = async;
	for (i = 0; i < sizeof(table) / sizeof(*table); i++) {
		r->ram->fail = table[i].status;
		r->ram->fail_count = 1;
		is(rig_io(r, table[i].opcode, 0, 8, a, 4096), table[i].status,
		   "NVM 3.2 opcode %02xh: the medium's %03xh is the command's", table[i].opcode,
		   table[i].status);
		r->ram->fail_count = 0;
		is(rig_io(r, table[i].opcode, 0, 8, a, 4096), 0, "NVM 3.2 and the next one succeeds");
		rig_fill(r, a, 0, 4096);
	}
	rig_close(r, "media errors");
}

static void read_only(void)
{
	static const uint8_t op[] = { SNV_OP_WRITE, SNV_OP_WRITE_ZEROES, SNV_OP_WRITE_UNCOR, SNV_OP_DSM,
				      SNV_OP_COPY };
	struct rig_config g;
	struct rig *r;
	uint64_t a, list;
	struct snv_dsm_range *range;
	size_t i;

	rig_defaults(&g);
	r = rig_open(&g);
	r->ram->media.readonly = true;
	rig_enable(r);
	rig_create_pair(r, 1, 16);
	a = rig_mem(r, 4096);
	list = rig_mem(r, 4096);
	range = rig_ptr(r, list);
	range->nlb = snv_le32(8);
	for (i = 0; i < sizeof(op); i++) {
		struct snv_sqe sqe = rig_rw(r, op[i], 0, 1);
		int ret;

		sqe.prp1 = snv_le64(op[i] == SNV_OP_DSM || op[i] == SNV_OP_COPY ? list : a);
		if (op[i] == SNV_OP_DSM) {
			sqe.cdw10 = 0;
			sqe.cdw11 = snv_le32(SNV_DSM_CDW11_AD);
		}
		ret = rig_do(r, 1, &sqe);
		ok(ret == SNV_SC_NS_WRITE_PROTECTED || ret == SNV_SC_READ_ONLY,
		   "Base 4.2.3 opcode %02xh to a read-only medium is refused (%03xh)", op[i], ret);
	}
	is(rig_io(r, SNV_OP_READ, 0, 8, a, 4096), 0, "NVM 3.2.4 it can be read");
	is(r->ram->writes + r->ram->discards, 0, "Base 4.2.3 nothing reached it");
	rig_close(r, "read-only");
}

/* What isn't there is refused, whatever the rest of the command says. */
static void unknown_opcodes(void)
{
	static const uint8_t known[] = { SNV_OP_FLUSH, SNV_OP_WRITE, SNV_OP_READ, SNV_OP_WRITE_UNCOR,
					 SNV_OP_COMPARE, SNV_OP_WRITE_ZEROES, SNV_OP_DSM, SNV_OP_VERIFY,
					 SNV_OP_COPY };
	struct rig *r = rig_plain();
	uint64_t a = rig_mem(r, 4096);
	uint32_t op, bad = 0;

	rig_fill(r, a, 0x3c, 4096);
	for (op = 0; op < 256; op++) {
		int ret;

		if (memchr(known, (int)op, sizeof(known)))
			continue;
		ret = rig_do(r, 1, SQE(.opcode = (uint8_t)op, .nsid = snv_le32(1),
				       .prp1 = snv_le64(a)));
		if (ret != SNV_SC_INVALID_OPCODE || !rig_dnr(r)) {
			diag("opcode %02xh: status %03xh", op, ret);
			bad++;
		}
	}
	is(bad, 0, "Base 4.2.3 each of the 247 other I/O opcodes: Invalid Opcode, with DNR");
	ok(rig_all(r, a, 4096, 0x3c), "Base 4.2.3 and none touched its data");
	rig_close(r, "opcodes");
}

/* Each dword of the command all ones, for each opcode: any status will do, and the next works. */
static void nonsense(void)
{
	struct rig *r = rig_plain();
	uint64_t a = rig_mem(r, 4096);
	uint32_t op, dw, none = 0, rnd = 1;

	for (op = 0; op < 256; op++)
		for (dw = 0; dw < 48; dw++) {
			struct snv_sqe sqe = { .opcode = (uint8_t)op, .nsid = snv_le32(1),
					       .prp1 = snv_le64(a) };
			uint32_t k;

			if (dw >= 2 && dw < 16) {
				((uint32_t *)&sqe)[dw] = ~0u;
			} else if (dw >= 16) {
				for (k = 10; k < 16; k++) {
					rnd = rnd * 1664525u + 1013904223u;
					((uint32_t *)&sqe)[k] = rnd >> (rnd >> 27);
				}
				sqe.flags = (uint8_t)(dw << 3);
				sqe.prp2 = dw & 1 && !(sqe.flags & SNV_SQE_PSDT) ?
					   snv_le64(a + dw) : 0;
			}
			none += rig_do(r, 1, &sqe) == RIG_NO_CQE;
		}
	is(none, 0, "Base 3.3.3 commands full of nonsense: each has its completion");
	is(rig_io(r, SNV_OP_WRITE, 0, 8, a, 4096), 0, "NVM 3.2.6 and the controller works");
	is(rig_get32(r, SNV_REG_CSTS), SNV_CSTS_RDY, "Base 3.1.3.6 without a fatal status");
	rig_close(r, "nonsense");
}

/* As behind an IOMMU: between commands an address gets other memory, and nobody is told. */
static void transient(bool async)
{
	struct rig_config g;
	struct rig *r;
	uint32_t page[2], bad = 0;
	uint64_t a;

	rig_defaults(&g);
	g.transient = true;
	r = rig_start(&g);
	r->ram->async = async;
	r->chop = true;
	a = rig_mem(r, RIG_PAGE);
	page[0] = (uint32_t)((a - RIG_BASE) / RIG_PAGE);
	page[1] = (uint32_t)((rig_mem(r, RIG_PAGE) - RIG_BASE) / RIG_PAGE);
	for (uint32_t i = 0; i < 20; i++) {
		for (int n = 0; n < 2; n++)
			r->swapped[n] = i % 2 ? page[n] : 0;
		rig_pattern(r, a, RIG_PAGE, i);
		bad += rig_io(r, SNV_OP_WRITE, 8 * i, 8, a, RIG_PAGE) != 0;
		for (int n = 0; n < 2; n++)
			r->swapped[n] = i % 2 ? 0 : page[n];
		rig_fill(r, a, 0, RIG_PAGE);
		bad += rig_io(r, SNV_OP_READ, 8 * i, 8, a, RIG_PAGE) || !rig_pattern_is(r, a, RIG_PAGE, i);
	}
	is(bad, 0, "vssd_host.transient: other memory at the same address%s", async ? ", asynchronous" : "");
	rig_close(r, "transient");
}

/* Media end a read after the host's memory has gone out of reach: nothing is said of it, and a reset mends all. */
static void cut(void)
{
	struct rig_config g;
	struct rig *r;
	struct snv_sqe sqe;
	uint32_t before;
	uint64_t a;

	rig_defaults(&g);
	r = rig_start(&g);
	a = rig_mem(r, 4096);
	r->ram->async = true;
	r->ram->polls = 100;
	sqe = rig_rw(r, SNV_OP_READ, 0, 8);
	rig_prp(r, &sqe, a, 4096);
	rig_submit(r, 1, &sqe);
	for (int i = 0; i < 10; i++)
		rig_step(r);
	before = r->completions;
	is(vssd_media_inflight(r->v, 0), 1, "vssd_ctrl_cut(): a read is in flight");
	vssd_ctrl_cut(r->c);
	is(rig_get32(r, SNV_REG_CSTS) & SNV_CSTS_CFS, SNV_CSTS_CFS, "vssd_ctrl_cut(): the controller fails");
	for (int i = 0; i < 200; i++)
		rig_step(r);
	rig_reap(r);
	is(vssd_media_inflight(r->v, 0), 0, "vssd_ctrl_cut(): the read ends");
	is(r->completions, before, "vssd_ctrl_cut(): without a completion");
	ok(rig_disable(r) && rig_enable(r) && !rig_create_pair(r, 1, 16), "vssd_ctrl_cut(): a reset mends it");
	is(rig_io(r, SNV_OP_READ, 0, 8, a, 4096), 0, "vssd_ctrl_cut(): and it reads");
	rig_close(r, "cut");
}

struct leaver {
	struct rig *r;
	uint32_t gone;
};

static void *leave(void *arg)
{
	struct leaver *l = arg;

	vssd_ctrl_reset(l->r->c);
	SNV_STORE_RELEASE(&l->gone, 1);
	return NULL;
}

/* A controller is reset while a medium has a command of it: the workers go on, or that would never end. */
static void leave_slowly(void)
{
	struct leaver l = { .r = NULL };
	struct rig_config g;
	struct snv_sqe sqe;
	uint32_t rounds = 0;
	pthread_t thread;
	struct rig *r;

	rig_defaults(&g);
	l.r = r = rig_start(&g);
	r->ram->async = true;
	r->ram->held = true;
	sqe = rig_rw(r, SNV_OP_READ, 0, 8);
	rig_prp(r, &sqe, rig_mem(r, 4096), 4096);
	rig_submit(r, 1, &sqe);
	for (int i = 0; i < 10; i++)
		rig_step(r);
	is(vssd_media_inflight(r->v, 0), 1, "vssd_ctrl_reset(): a read is in flight");
	alarm(600);
	pthread_create(&thread, NULL, leave, &l);
	while (rounds++ < 1000 && !SNV_LOAD_ACQUIRE(&l.gone))
		vssd_poll(r->v, 0);
	ok(!l.gone, "vssd_ctrl_reset(): waits for it, and nobody else does");
	vssd_stop(r->v);
	r->ram->held = false;
	vssd_go(r->v);
	pthread_join(thread, NULL);
	alarm(0);
	is(vssd_media_inflight(r->v, 0), 0, "vssd_ctrl_reset(): the read has ended");
	rig_forget(r);
	ok(rig_enable(r) && !rig_create_pair(r, 1, 16), "vssd_ctrl_reset(): and all begins anew");
	rig_close(r, "leave slowly");
}

/* Deallocating a little at a time. */
static void deallocate_limit(void)
{
	struct snv_dsm_range range[2] = { { .nlb = snv_le32(8) }, { .nlb = snv_le32(8), .slba = snv_le64(8) } };
	struct snv_sqe sqe = { .opcode = SNV_OP_DSM, .cdw11 = snv_le32(SNV_DSM_CDW11_AD) };
	struct rig_config g;
	struct snv_id_ctrl_nvm *id;
	struct rig *r;
	uint64_t a;

	rig_defaults(&g);
	g.c.dmrsl = 16;
	r = rig_start(&g);
	a = rig_mem(r, 4096);
	is(rig_identify(r, SNV_CNS_CSI_CTRL, 0, 0, a), 0, "NVM 4.1.5.4 Identify Controller");
	id = rig_ptr(r, a);
	ok(id->dmrl == 1 && snv_le32_get(id->dmrsl) == 16 && snv_le64_get(id->dmsl) == 16,
	   "NVM 4.1.5.4 limits of Dataset Management");
	sqe.nsid = snv_le32(r->nsid);
	sqe.prp1 = snv_le64(a);
	rig_put(r, a, range, sizeof(range));
	is(rig_do(r, 1, &sqe), 0, "NVM 3.2.3 within them");
	sqe.cdw10 = snv_le32(1);
	is(rig_do(r, 1, &sqe), SNV_SC_SIZE_LIMIT, "NVM 3.2.3 more ranges");
	sqe.cdw10 = 0;
	range[0].nlb = snv_le32(17);
	rig_put(r, a, range, sizeof(range));
	is(rig_do(r, 1, &sqe), SNV_SC_SIZE_LIMIT, "NVM 3.2.3 more blocks");
	sqe.cdw11 = 0;
	is(rig_do(r, 1, &sqe), 0, "NVM 3.2.3 which are no limits of hints");
	rig_close(r, "deallocate_limit");
}

static void counters(void)
{
	struct rig *r = rig_plain();
	struct vssd_stats s;
	uint64_t a = rig_mem(r, 4096);

	rig_io(r, SNV_OP_WRITE, 0, 8, a, 4096);
	rig_io(r, SNV_OP_WRITE, 0, 2, a, 1024);
	rig_io(r, SNV_OP_READ, 0, 4, a, 2048);
	rig_io(r, SNV_OP_READ, 1ull << 40, 4, a, 2048);
	vssd_get_stats(r->v, &s);
	ok(s.writes == 2 && s.bytes_written == 5120, "vssd_get_stats(): writes");
	ok(s.bytes_read == 2048, "vssd_get_stats(): reads");
	ok(s.commands == 4 && s.errors == 1, "vssd_get_stats(): commands and errors (%llu, %llu)",
	   (unsigned long long)s.commands, (unsigned long long)s.errors);
	rig_close(r, "counters");
}

int main(void)
{
	round_trip(512, false, false);
	round_trip(4096, false, false);
	round_trip(512, true, false);
	round_trip(4096, true, true);
	bounds();
	namespaces();
	sizes();
	compare();
	fused(false);
	fused(true);
	zeroes();
	deallocate();
	taken_back();
	verify_limit();
	uncorrectable();
	copies(false);
	copies(true);
	durability();
	media_errors(false);
	media_errors(true);
	read_only();
	unknown_opcodes();
	nonsense();
	transient(false);
	transient(true);
	cut();
	leave_slowly();
	deallocate_limit();
	counters();
	return done();
}
