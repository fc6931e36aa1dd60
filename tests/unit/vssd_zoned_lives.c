// SPDX-License-Identifier: MIT
/*
 * What zones go through, ZNS Command Set 1.1: resets and cuts of power, storms of commands, other commands
 * and formats; and that no data survive a reset of their zone.
 */
#include "vssd_zoned.h"

static void resets(void)
{
	struct rig_config g;
	struct rig *r;
	struct snv_sqe sqe;
	uint64_t buf;
	uint16_t wr, rst, next;
	uint32_t i;
	int ret;

	zoned_defaults(&g);
	g.v.workers = 2;
	g.volatile_cache = true;
	r = rig_start(&g);
	is(rig_create_pair(r, 2, 16), 0, "Base 5.4, 5.5 a second queue pair");
	buf = rig_mem(r, 65536);
	for (i = 0; i < 2; i++) {
		r->ram->async = i;
		r->ram->polls = 2;
		is(put(r, 1, 0, ZCAP, 0x33), 0, "ZNS 2.1.1.1 a zone is written");
		is(put(r, 0, 0, ZCAP, 0x44) | put(r, 2, 0, ZCAP, 0x55), 0,
		   "ZNS and its neighbours");
		is(send(r, 1, SNV_ZONE_SEND_RESET), 0, "ZNS 3.4.3.1.4 Reset%s",
		   i ? ", asynchronous" : "");
		ok(holds(r, 1, 0, ZSZE, 0), "ZNS 3.4.3.1.4 it reads as zeros");
		ok(holds(r, 0, 0, ZCAP, 0x44) && holds(r, 2, 0, ZCAP, 0x55),
		   "ZNS 3.4.3.1.4 its neighbours keep theirs");
		is(put(r, 1, 0, 3, 0x66), 0, "ZNS 3.4.3.1.4 it can be written anew");
		ok(holds(r, 1, 0, 3, 0x66) && holds(r, 1, 3, ZCAP - 3, 0),
		   "ZNS 3.4.3.1.4 and the old data don't come back");
		is(send_all(r, SNV_ZONE_SEND_RESET), 0, "ZNS 3.4.3.1.4 Reset all");
		ok(holds(r, 0, 0, ZCAP, 0) && holds(r, 1, 0, ZCAP, 0) && holds(r, 2, 0, ZCAP, 0),
		   "ZNS 3.4.3.1.4 all read as zeros");
	}

	/*
	 * A write that the medium holds, a reset by the other worker,
	   a write after that: whatever order
	 * the controller gives them, zone and data agree.
	 */
	for (i = 0; i < 6; i++) {
		bool all = i & 1, newest = i & 2, add = i & 4;
		int data;

		r->ram->newest_first = newest;
		is(send_all(r, SNV_ZONE_SEND_RESET), 0, "ZNS 3.4.3.1.4 Reset all");
		is(put(r, 3, 0, 8, 0x10), 0, "ZNS 2.1.1.1 8 blocks");
		rig_settle(r);
		r->ram->held = true;
		rig_fill(r, buf, 0x20, 4096);
		rig_fill(r, buf + 4096, 0x30, 4096);
		sqe = rig_rw(r, add ? SNV_OP_ZONE_APPEND : SNV_OP_WRITE, 3 * ZSZE + (add ? 0 : 8),
			     8);
		sqe.prp1 = snv_le64(buf);
		wr = rig_submit(r, 1, &sqe);
		rig_settle(r);
		sqe = send_sqe(r, 3 * ZSZE, SNV_ZONE_SEND_RESET | (all ? SNV_ZONE_SEND_ALL : 0));
		rst = rig_submit(r, 2, &sqe);
		rig_settle(r);
		rig_reap(r);
		sqe = rig_rw(r, SNV_OP_WRITE, 3 * ZSZE, 8);
		sqe.prp1 = snv_le64(buf + 4096);
		next = rig_submit(r, 1, &sqe);
		rig_settle(r);
		rig_reap(r);
		ok(!r->cmd[rst].done || !(r->cmd[rst].status & SNV_STATUS_CODE),
		   "ZNS 3.4.3.1.4 a reset beside a write in flight%s%s", all ? ", all zones" : "",
		   newest ? ", newest first" : "");
		r->ram->held = false;
		is(rig_wait(r, wr), 0, "ZNS 2.1.1.1 the write ends well");
		is(rig_wait(r, rst), 0, "ZNS 3.4.3.1.4 so does the reset");
		ret = rig_wait(r, next);
		ok(!ret || ret == SNV_SC_ZONE_INVALID_WRITE,
		   "ZNS 2.1.1.1 the next write is in order or "
		   "not (%#x)", ret);
		data = ret ? 0 : 0x30;
		is(written(r, 3), ret ? 0 : 8, "ZNS 2.1.1.1 the write pointer agrees");
		is(state(r, 3), ret ? SNV_ZONE_EMPTY : IMP, "ZNS 2.1.1.3 and the state");
		ok(holds(r, 3, 0, 8, data), "ZNS 3.4.3.1.4 and the data");
		ok(holds(r, 3, 8, ZCAP - 8, 0), "ZNS 3.4.3.1.4 no late write shows");
	}

	/* Finish, close and a full zone beside a write in flight. */
	is(send_all(r, SNV_ZONE_SEND_RESET), 0, "ZNS 3.4.3.1.4 Reset all");
	rig_settle(r);
	r->ram->held = true;
	sqe = rig_rw(r, SNV_OP_WRITE, 4 * ZSZE, 8);
	sqe.prp1 = snv_le64(buf);
	wr = rig_submit(r, 1, &sqe);
	rig_settle(r);
	sqe = send_sqe(r, 4 * ZSZE, SNV_ZONE_SEND_FINISH);
	rst = rig_submit(r, 2, &sqe);
	rig_settle(r);
	r->ram->held = false;
	is(rig_wait(r, wr), 0, "ZNS 3.4.3.1.2 a write in flight while its zone is finished");
	is(rig_wait(r, rst), 0, "ZNS 3.4.3.1.2 and the Finish");
	is(state(r, 4), SNV_ZONE_FULL, "ZNS 2.1.1.3 the zone is Full");
	ok(holds(r, 4, 0, 8, 0x20), "ZNS 3.4.3.1.2 the data are there");

	/* A read in flight sees the old data, or zeros: not a mixture. */
	is(put(r, 5, 0, 8, 0x50), 0, "ZNS 2.1.1.1 8 blocks");
	rig_settle(r);
	r->ram->held = true;
	sqe = rig_rw(r, SNV_OP_READ, 5 * ZSZE, 8);
	sqe.prp1 = snv_le64(buf);
	wr = rig_submit(r, 1, &sqe);
	rig_settle(r);
	sqe = send_sqe(r, 5 * ZSZE, SNV_ZONE_SEND_RESET);
	rst = rig_submit(r, 2, &sqe);
	rig_settle(r);
	r->ram->held = false;
	is(rig_wait(r, wr), 0, "ZNS 3.4.3.1.4 a read in flight while its zone is reset");
	is(rig_wait(r, rst), 0, "ZNS 3.4.3.1.4 and the reset");
	ok(rig_all(r, buf, 4096, 0x50) || rig_all(r, buf, 4096, 0),
	   "ZNS 3.4.3.1.4 old data, or zeros");

	/* The medium fails. */
	r->ram->async = false;
	is(put(r, 6, 0, 8, 0x61), 0, "ZNS 2.1.1.1 8 blocks");
	r->ram->fail = SNV_SC_WRITE_FAULT;
	r->ram->fail_count = 1;
	is(put(r, 6, 8, 8, 0x62), SNV_SC_WRITE_FAULT, "NVM 3.2.6 a write that fails");
	{
		struct snv_zone_desc d = desc(r, 6);
		uint64_t wp = snv_le64_get(d.wp) - 6 * ZSZE;

		ok(d.zs >> 4 == IMP && wp >= 8 && wp <= 16,
		   "ZNS 2.1.1.1 the zone says how far it is");
		is(put(r, 6, wp, 1, 0x63), 0, "ZNS 2.1.1.1 and can be written on from there");
	}
	r->ram->fail = SNV_SC_INTERNAL;
	r->ram->fail_count = 1;
	is(send(r, 6, SNV_ZONE_SEND_RESET), SNV_SC_INTERNAL,
	   "ZNS 3.4.3.1.4 a reset that fails says so");
	is(r->ram->fail_count, 0, "ZNS 3.4.3.1.4 having asked the medium");
	ok(state(r, 6) == IMP && holds(r, 6, 0, 8, 0x61),
	   "ZNS 3.4.3.1.4 and the zone stays as it was");
	r->ram->fail_count = 0;
	is(send(r, 6, SNV_ZONE_SEND_RESET), 0, "ZNS 3.4.3.1.4 again");
	ok(holds(r, 6, 0, ZCAP, 0), "ZNS 3.4.3.1.4 it reads as zeros");
	rig_close(r, "resets");
}

/* Anything at once, then: nothing above a write pointer, appends where they were said to be. */
static void storm(uint32_t seed, uint32_t max_open, uint32_t max_active)
{
	struct rig_config g;
	struct rig *r;
	uint32_t i, n, z, bad = 0, odd = 0, open = 0, active = 0;
	uint64_t buf;
	uint16_t cid[48];

	zoned_defaults(&g);
	g.v.workers = 2;
	g.ns.max_open = max_open;
	g.ns.max_active = max_active;
	r = rig_start(&g);
	rig_create_pair(r, 2, 64);
	r->ram->async = true;
	r->ram->newest_first = seed & 1;
	buf = rig_mem(r, 65536);
	rig_fill(r, buf, 0xd5, 65536);
	for (n = 0; n < 25; n++) {
		r->ram->polls = n % 4;
		for (i = 0; i < 48; i++) {
			struct snv_sqe sqe;
			uint32_t what, nlb;

			seed = seed * 1664525u + 1013904223u;
			z = seed >> 24 & 7;
			what = seed >> 16 & 15;
			nlb = 1 + (seed >> 20 & 7);
			if (what < 10)
				sqe = rig_rw(r, SNV_OP_ZONE_APPEND, z * ZSZE, nlb);
			else if (what < 11)
				sqe = rig_rw(r, SNV_OP_READ, z * ZSZE, nlb);
			else
				sqe = send_sqe(r, z * ZSZE, what - 10 >= 5 ? SNV_ZONE_SEND_RESET |
					       (seed & 0x8000 ? SNV_ZONE_SEND_ALL : 0) : what - 10);
			sqe.prp1 = snv_le64(buf);
			/* What is read goes elsewhere. */
			if (sqe.opcode == SNV_OP_READ)
				sqe.prp1 = snv_le64(buf + 32768);
			cid[i] = rig_submit(r, 1 + (seed >> 10 & 1), &sqe);
		}
		for (i = 0; i < 48; i++)
			switch (rig_wait(r, cid[i])) {
			case 0:
			case SNV_SC_ZONE_FULL:
			case SNV_SC_ZONE_BOUNDARY_ERROR:
			case SNV_SC_ZONE_TOO_MANY_ACTIVE:
			case SNV_SC_ZONE_TOO_MANY_OPEN:
			case BAD:
				break;
			default:
				diag("status %#x", r->cmd[cid[i]].status);
				odd++;
			}
		open = active = 0;
		for (z = 0; z < 8; z++) {
			struct snv_zone_desc d = desc(r, z);
			uint64_t wp = snv_le64_get(d.wp) - z * ZSZE;
			uint32_t s = d.zs >> 4;

			open += s == IMP || s == EXP;
			active += s == IMP || s == EXP || s == SNV_ZONE_CLOSED;
			if (s == SNV_ZONE_FULL)
				continue;
			if ((wp && !holds(r, z, 0, (uint32_t)wp, 0xd5)) ||
			    !holds(r, z, wp, ZCAP - (uint32_t)wp, 0)) {
				diag("round %u zone %u: %s, %llu written", n, z, name(s),
				     (unsigned long long)wp);
				bad++;
			}
			if (s == SNV_ZONE_EMPTY && wp)
				bad++;
		}
		if ((max_open && open > max_open) || (max_active && active > max_active))
			bad++;
	}
	is(odd, 0, "ZNS 3 1,200 commands for 8 zones at once: each ends, as it may (limits %u, %u)",
	   max_open, max_active);
	is(bad, 0, "ZNS 2.1.1 data below each write pointer, zeros above, limits held");
	is(send_all(r, SNV_ZONE_SEND_RESET), 0, "ZNS 3.4.3.1.4 Reset all");
	n = max_active ? max_active : 8;
	for (z = bad = 0; z < n; z++)
		bad += put(r, z, 0, 1, 1) != 0;
	is(bad, 0, "ZNS 2.1.1.4 no resource has leaked");
	if (max_active)
		is(put(r, n, 0, 1, 1), SNV_SC_ZONE_TOO_MANY_ACTIVE,
		   "ZNS 2.1.1.4 and none is there twice");
	rig_close(r, "storm");
}

/* Power goes: a zone may lose what was not flushed, but shows nothing above its write pointer. */
static void cut(void)
{
	uint32_t seed, z, bad = 0, lost = 0;

	for (seed = 0; seed < 10; seed++) {
		struct rig_config g;
		struct rig *r;

		zoned_defaults(&g);
		g.v.power_loss = true;
		g.v.seed = seed;
		g.volatile_cache = true;
		r = rig_start(&g);
		for (z = 0; z < 4; z++)
			bad += put(r, z, 0, ZCAP, 0x71) != 0;
		bad += rig_do(r, 1, SQE(.opcode = SNV_OP_FLUSH, .nsid = snv_le32(r->nsid))) != 0;
		bad += send(r, 1, SNV_ZONE_SEND_RESET) != 0 || send(r, 2, SNV_ZONE_SEND_RESET) != 0;
		bad += put(r, 2, 0, 8, 0x72) != 0;
		bad += !bring(r, 5, EXP) || !bring(r, 6, IMP);
		vssd_power_cut(r->v);
		rig_forget(r);
		if (!rig_enable(r) || rig_create_pair(r, 1, 64)) {
			bad++;
			rig_close(r, "power cut");
			continue;
		}
		bad += count(r, IMP) || count(r, EXP);
		lost += !holds(r, 0, 0, ZCAP, 0x71) || !holds(r, 3, 0, ZCAP, 0x71);
		for (z = 0; z < 4; z++) {
			uint32_t s = state(r, z), wp = (uint32_t)written(r, z);

			if (s == SNV_ZONE_FULL)
				continue;
			bad += wp > ZCAP || !holds(r, z, wp, ZCAP - wp, 0);
			bad += put(r, z, wp, 1, 0x73) != 0;
		}
		rig_close(r, "power cut");
	}
	is(lost, 0, "Base 7.1 what was flushed stays");
	is(bad, 0, "ZNS 2.1.1 after a power cut: nothing open, zeros above each write pointer");
}

static int copy(struct rig *r, uint64_t from, uint32_t nlb, uint64_t to)
{
	uint32_t top = r->top;
	uint64_t page = rig_mem(r, 32);
	struct snv_copy_range range = { .slba = snv_le64(from),
				       .nlb = snv_le16((uint16_t)(nlb - 1)) };
	int ret;

	rig_put(r, page, &range, sizeof(range));
	ret = rig_do(r, 1, SQE(.opcode = SNV_OP_COPY, .nsid = snv_le32(r->nsid),
			       .prp1 = snv_le64(page), .cdw10 = snv_le32((uint32_t)to)));
	rig_release(r, top);
	return ret;
}

static void others(void)
{
	struct rig *r = zoned(0, 0);
	uint64_t page = rig_mem(r, 4096);
	struct snv_dsm_range dsm = { .nlb = snv_le32(4), .slba = snv_le64(0) };
	int ret;

	is(put(r, 0, 0, 16, 0x42), 0, "ZNS 2.1.1.1 16 blocks of zone 0");
	ret = copy(r, 0, 8, ZSZE);
	is(ret, 0, "NVM 3.2.2 Copy to the write pointer of an Empty zone");
	ok(holds(r, 1, 0, 8, 0x42) && written(r, 1) == 8 && state(r, 1) == IMP,
	   "NVM 3.2.2 it is a write");
	is(copy(r, 0, 8, ZSZE), SNV_SC_ZONE_INVALID_WRITE,
	   "ZNS 2.1.1.1 Copy before the write pointer");
	is(copy(r, 0, 8, ZSZE + 10), SNV_SC_ZONE_INVALID_WRITE, "ZNS 2.1.1.1 Copy behind it");
	is(copy(r, 4, 8, 16), 0, "NVM 3.2.2 Copy within a zone");
	is(copy(r, 0, 16, 24), 0, "NVM 3.2.2 and once more");
	is(copy(r, 0, 16, 40), SNV_SC_ZONE_BOUNDARY_ERROR, "ZNS 2.1.1.1 Copy beyond the capacity");
	ok(holds(r, 0, 0, 40, 0x42) && holds(r, 0, 40, 8, 0), "NVM 3.2.2 the data, and no more");
	is(copy(r, 0, 8, 40), 0, "NVM 3.2.2 Copy up to the capacity");
	is(state(r, 0), SNV_ZONE_FULL, "ZNS 2.1.1.3 makes the zone Full");
	is(copy(r, 0, 8, 40), SNV_SC_ZONE_FULL, "ZNS 2.1.1.1 Copy to a Full zone");

	is(rig_io(r, SNV_OP_WRITE_ZEROES, 2 * ZSZE, 8, 0, 0), 0, "NVM 3.2.8 Write Zeroes");
	ok(holds(r, 2, 0, 8, 0) && written(r, 2) == 8, "NVM 3.2.8 moves the write pointer");
	is(rig_io(r, SNV_OP_WRITE_UNCOR, 2 * ZSZE + 8, 8, 0, 0), 0,
	   "NVM 3.2.7 Write Uncorrectable");
	is(written(r, 2), 16, "NVM 3.2.7 moves it too");
	is(rig_io(r, SNV_OP_READ, 2 * ZSZE + 8, 1, page, 512), SNV_SC_READ_ERROR,
	   "NVM 3.2.7 which cannot be read");
	is(send(r, 2, SNV_ZONE_SEND_RESET), 0, "ZNS 3.4.3.1.4 Reset");
	ok(holds(r, 2, 0, ZCAP, 0), "ZNS 3.4.3.1.4 makes it readable");
	is(put(r, 2, 0, 16, 1), 0, "ZNS 2.1.1.1 and writable");
	ok(holds(r, 2, 0, 16, 1), "NVM 3.2.7 nothing of it is left");

	rig_put(r, page, &dsm, sizeof(dsm));
	ret = rig_do(r, 1,
		     SQE(.opcode = SNV_OP_DSM, .nsid = snv_le32(r->nsid), .prp1 = snv_le64(page),
			       .cdw11 = snv_le32(SNV_DSM_CDW11_AD)));
	ok(!ret || ret == SNV_SC_INVALID_OPCODE, "NVM 3.2.3 Dataset Management (%#x)", ret);
	is(state(r, 0), SNV_ZONE_FULL, "NVM 3.2.3 changes no zone");
	ok(holds(r, 0, 0, 4, ret ? 0x42 : 0) || holds(r, 0, 0, 4, 0x42),
	   "NVM 3.2.3 deallocated blocks are zeros or as they were");
	ok(holds(r, 0, 4, ZCAP - 4, 0x42), "NVM 3.2.3 the others are as they were");
	is(rig_do(r, 1, SQE(.opcode = SNV_OP_FLUSH, .nsid = snv_le32(r->nsid))), 0,
	   "Base 7.1 Flush");
	rig_close(r, "others");
}

/* Type 1, 8 bytes behind each block. */
static void protection(uint32_t lba)
{
	struct rig_config g;
	struct rig *r;
	uint32_t stride = lba + 8, i, bad, chk = SNV_RW_CDW12_PRCHK_GUARD | SNV_RW_CDW12_PRCHK_REF;
	struct snv_sqe sqe;
	uint64_t buf, back;

	zoned_defaults(&g);
	g.ns.lba_size = lba;
	g.ns.metadata = 8;
	g.ns.pi = 1;
	g.ns.extended = true;
	g.media_size = (uint64_t)ZSZE * ZONES * stride;
	r = rig_start(&g);
	buf = rig_mem(r, 8 * 4104);
	back = rig_mem(r, 8 * 4104);
	rig_pattern(r, buf, 8 * lba, 99);
	for (i = 0; i < 2; i++) {
		sqe = rig_rw(r, SNV_OP_ZONE_APPEND, 3 * ZSZE, 2);
		rig_prp(r, &sqe, buf + i * 2ull * lba, 2ull * lba);
		sqe.cdw12 = snv_le32(1 | SNV_RW_CDW12_PRACT | SNV_RW_CDW12_PIREMAP);
		sqe.cdw14 = snv_le32(3 * ZSZE);
		sqe.cdw15 = snv_le32(0xffff0000u | 0x1234);
		is(rig_do(r, 1, &sqe), 0, "ZNS 3.4.1 append with PRACT, blocks of %u", lba);
		is(assigned(r, rig_last), 3 * ZSZE + i * 2, "ZNS 3.4.1 its LBA");
	}
	sqe = rig_rw(r, SNV_OP_READ, 3 * ZSZE, 4);
	rig_prp(r, &sqe, back, 4ull * stride);
	sqe.cdw12 = snv_le32(3 | chk);
	sqe.cdw14 = snv_le32(3 * ZSZE);
	is(rig_do(r, 1, &sqe), 0, "NVM 5.3 it reads back with guard and reference tag checked");
	for (i = bad = 0; i < 4; i++) {
		uint8_t tuple[8], a[4096], b[4096];

		rig_get(r, back + (uint64_t)i * stride, a, lba);
		rig_get(r, buf + (uint64_t)i * lba, b, lba);
		rig_get(r, back + (uint64_t)i * stride + lba, tuple, 8);
		bad += memcmp(a, b, lba) || tuple[2] != 0x12 || tuple[3] != 0x34 || tuple[4] ||
		       tuple[5] || tuple[6] || tuple[7] != 3 * ZSZE + i;
	}
	is(bad, 0, "ZNS 3.4.1 data; application tag; a reference tag that is the assigned LBA");

	/* The host's own tuples, made for the zone's start, go behind. */
	sqe = rig_rw(r, SNV_OP_ZONE_APPEND, 3 * ZSZE, 4);
	rig_prp(r, &sqe, back, 4ull * stride);
	sqe.cdw12 = snv_le32(3 | SNV_RW_CDW12_PIREMAP | chk);
	sqe.cdw14 = snv_le32(3 * ZSZE);
	is(rig_do(r, 1, &sqe), 0, "ZNS 3.4.1 append with the host's tuples, checked");
	is(assigned(r, rig_last), 3 * ZSZE + 4, "ZNS 3.4.1 its LBA");
	sqe = rig_rw(r, SNV_OP_READ, 3 * ZSZE, 8);
	rig_prp(r, &sqe, buf, 8ull * lba);
	sqe.cdw12 = snv_le32(7 | chk | SNV_RW_CDW12_PRACT);
	sqe.cdw14 = snv_le32(3 * ZSZE);
	is(rig_do(r, 1, &sqe), 0, "ZNS 3.4.1 its reference tags are remapped");
	ok(rig_pattern_is(r, buf, 4 * lba, 99) && rig_pattern_is(r, buf + 4 * lba, 4 * lba, 99),
	   "ZNS 3.4.1 the data, twice");

	sqe = rig_rw(r, SNV_OP_ZONE_APPEND, 3 * ZSZE, 1);
	rig_prp(r, &sqe, back, stride);
	*(uint8_t *)rig_ptr(r, back + 5) ^= 1;
	sqe.cdw12 = snv_le32(SNV_RW_CDW12_PIREMAP | chk);
	sqe.cdw14 = snv_le32(3 * ZSZE);
	is(rig_do(r, 1, &sqe), SNV_SC_GUARD_CHECK, "NVM 5.3 an append with a wrong guard");
	sqe.cdw12 = snv_le32(SNV_RW_CDW12_PRACT);
	is(rig_do(r, 1, &sqe), SNV_SC_INVALID_PI, "ZNS 3.4.1 type 1 without PIREMAP: Invalid "
	   "Protection Information");
	sqe = rig_rw(r, SNV_OP_READ, 3 * ZSZE + 8, 4);
	rig_prp(r, &sqe, back, 4ull * stride);
	sqe.cdw12 = snv_le32(3 | chk);
	sqe.cdw14 = snv_le32(3 * ZSZE + 8);
	is(rig_do(r, 1, &sqe), 0, "NVM 5.3 unwritten blocks pass the checks");
	is(written(r, 3) <= 9, 1,
	   "ZNS 3.4.1 refused appends take no block, or the one that failed");
	is(send(r, 3, SNV_ZONE_SEND_RESET), 0, "ZNS 3.4.3.1.4 Reset");
	sqe.cdw10 = snv_le32(3 * ZSZE);
	sqe.cdw14 = snv_le32(3 * ZSZE);
	is(rig_do(r, 1, &sqe), 0, "NVM 5.3 a zone that was reset reads, checked");
	for (i = bad = 0; i < 4; i++)
		bad += !rig_all(r, back + (uint64_t)i * stride, lba, 0) ||
		       !rig_all(r, back + (uint64_t)i * stride + lba, 8, 0xff);
	is(bad, 0, "NVM 3.2.3.2 zeros, with protection information of ones");
	rig_close(r, "protection");
}

static void sizes(uint32_t lba)
{
	struct rig_config g;
	struct rig *r;
	uint64_t buf;

	zoned_defaults(&g);
	g.ns.lba_size = lba;
	g.ns.zone_capacity = 0;
	g.media_size = (uint64_t)ZSZE * ZONES * lba;
	r = rig_start(&g);
	buf = rig_mem(r, ZSZE * 4096);
	rig_pattern(r, buf, ZSZE * lba, 5);
	is(snv_le64_get(desc(r, 0).zcap), ZSZE, "ZNS 2.1.1 capacity 0 is the whole zone");
	is(rig_io(r, SNV_OP_WRITE, ZSZE, ZSZE, buf, ZSZE * lba), 0, "ZNS a zone of %u-byte blocks",
	   lba);
	is(state(r, 1), SNV_ZONE_FULL, "ZNS 2.1.1.3 is Full");
	is(rig_io(r, SNV_OP_ZONE_APPEND, 2 * ZSZE, ZSZE - 1, buf, (ZSZE - 1) * lba), 0,
	   "ZNS 3.4.1 append");
	is(rig_io(r, SNV_OP_WRITE, 3 * ZSZE - 1, 2, buf, 2 * lba), SNV_SC_ZONE_BOUNDARY_ERROR,
	   "ZNS 2.1.1.1 across the boundary");
	rig_fill(r, buf, 0, ZSZE * lba);
	is(rig_io(r, SNV_OP_READ, ZSZE, ZSZE, buf, ZSZE * lba), 0, "NVM 3.2.4 Read");
	ok(rig_pattern_is(r, buf, ZSZE * lba, 5), "NVM 3.2.4 the data");
	is(send(r, 1, SNV_ZONE_SEND_RESET), 0, "ZNS 3.4.3.1.4 Reset");
	is(rig_io(r, SNV_OP_READ, ZSZE, ZSZE, buf, ZSZE * lba), 0, "NVM 3.2.4 Read");
	ok(rig_all(r, buf, ZSZE * lba, 0), "ZNS 3.4.3.1.4 zeros");
	is(rig_io(r, SNV_OP_READ, 2 * ZSZE, ZSZE, buf, ZSZE * lba), 0, "NVM 3.2.4 Read");
	ok(rig_pattern_is(r, buf, (ZSZE - 1) * lba, 5) && rig_all(r, buf + (ZSZE - 1) * lba, lba,
								  0),
	   "ZNS 3.4.3.1.4 the next zone keeps its data");
	rig_close(r, "block sizes");
}

static void lives(void)
{
	struct rig *r;
	struct rig_config g;
	uint64_t page;
	uint32_t flbas, s;
	uint8_t op;

	/* Commands for zones where there are none. */
	rig_defaults(&g);
	g.cc = SNV_CC_CSS_CSI;
	r = rig_start(&g);
	page = rig_mem(r, 4096);
	for (op = SNV_OP_ZONE_MGMT_SEND; op <= SNV_OP_ZONE_APPEND; op++)
		is(rig_do(r, 1, SQE(.opcode = op, .nsid = snv_le32(r->nsid), .prp1 = snv_le64(page),
				    .cdw13 = snv_le32(op == SNV_OP_ZONE_MGMT_SEND))),
		   SNV_SC_INVALID_OPCODE, "Base 3.1 opcode %02xh, no zones: Invalid Command Opcode",
		   op);
	rig_close(r, "no zones");

	r = zoned(0, 0);
	page = rig_mem(r, 4096);
	for (s = 0; s < 3; s++) {
		static const uint8_t ops[] = { SNV_OP_ZONE_MGMT_SEND, SNV_OP_ZONE_MGMT_RECV,
					       SNV_OP_ZONE_APPEND };

		op = ops[s];
		is(rig_do(r, 1, SQE(.opcode = op, .nsid = snv_le32(9), .prp1 = snv_le64(page))),
		   SNV_SC_INVALID_FIELD, "Base 3.2.1.4 opcode %02xh, inactive NSID", op);
		is(rig_do(r, 1, SQE(.opcode = op, .nsid = snv_le32(UINT32_MAX),
				    .prp1 = snv_le64(page))), SNV_SC_INVALID_NS,
		   "Base 3.2.1 opcode %02xh, all namespaces: refused", op);
	}
	for (s = 0; s < 5; s++)
		ok(bring(r, s, states[s]), "ZNS 2.1.1.3 a zone that is %s", name(states[s]));

	/* Controller reset. */
	ok(rig_disable(r), "Base 3.5.2 the controller is disabled");
	rig_forget(r);
	ok(rig_enable(r), "Base 3.5.1 and enabled");
	is(rig_create_pair(r, 1, 64), 0, "Base 5.4, 5.5 a queue pair");
	for (s = 0; s < 5; s++) {
		uint32_t now = state(r, s);

		ok(now == states[s] || ((states[s] == IMP || states[s] == EXP) &&
					now == SNV_ZONE_CLOSED),
		   "ZNS 2.1.1.3 after a controller reset: %s is %s", name(states[s]), name(now));
		ok(holds(r, s, 0, 8, s ? 0x11 : 0), "ZNS its data are there");
		if (states[s] != SNV_ZONE_FULL) {
			is(written(r, s), s ? 8 : 0, "ZNS 2.1.1.1 its write pointer too");
			is(put(r, s, s ? 8 : 0, 1, 0x22), 0, "ZNS 2.1.1.1 and writes go on there");
		}
	}

	/* Format. */
	is(rig_identify(r, SNV_CNS_NS, r->nsid, 0, page), 0, "NVM 4.1.5.1 Identify Namespace");
	flbas = ((struct snv_id_ns *)rig_ptr(r, page))->flbas & 0x1f;
	is(ADMIN(r, .opcode = SNV_ADMIN_FORMAT, .nsid = snv_le32(r->nsid),
		 .cdw10 = snv_le32(flbas)), 0,
	   "Base 5.14 Format NVM");
	is(count(r, SNV_ZONE_EMPTY), ZONES, "ZNS 4.1.3 all zones are Empty");
	for (s = 0; s < 5; s++) {
		is(written(r, s), 0, "ZNS 2.1.1.1 the write pointer is back");
		ok(holds(r, s, 0, ZCAP, 0), "Base 5.14 the data are gone");
		is(put(r, s, 0, ZCAP, 0x23), 0, "ZNS 2.1.1.1 a zone can be written");
	}
	rig_close(r, "reset and format");
}

/* Format to each format offered: zones stay zones. */
static void formats(void)
{
	struct rig *r = zoned(2, 3);
	uint64_t page = rig_mem(r, 4096), buf = rig_mem(r, 3 * 4104);
	struct snv_id_ns ns;
	struct snv_zns_id_ns zns;
	uint32_t f, n, carried_out = 0;

	is(rig_identify(r, SNV_CNS_NS, r->nsid, 0, page), 0, "NVM 4.1.5.1 Identify Namespace");
	ns = *(struct snv_id_ns *)rig_ptr(r, page);
	n = ns.nlbaf + 1u;
	for (f = 0; f < n; f++) {
		uint64_t zsze, nsze, bytes, zones;
		uint32_t lba, ms;
		int ret;

		/* Something to forget; which zones the last format left is not known here. */
		put(r, 0, 0, 1, 0x99);
		ret = ADMIN(r, .opcode = SNV_ADMIN_FORMAT, .nsid = snv_le32(r->nsid),
			    .cdw10 = snv_le32((f & 0xf) | (f >> 4) << 12));
		if (ret) {
			ok(ret == SNV_SC_INVALID_FORMAT || ret == SNV_SC_INVALID_FIELD,
			   "Base 5.14 format %u is refused properly (%#x)", f, ret);
			continue;
		}
		carried_out++;
		is(rig_identify(r, SNV_CNS_NS, r->nsid, 0, page), 0, "NVM 4.1.5.1 format %u", f);
		ns = *(struct snv_id_ns *)rig_ptr(r, page);
		is(rig_identify(r, SNV_CNS_CSI_NS, r->nsid, SNV_CSI_ZNS, page), 0,
		   "ZNS 4.1.5.1 likewise");
		zns = *(struct snv_zns_id_ns *)rig_ptr(r, page);
		zsze = snv_le64_get(zns.lbafe[f].zsze);
		nsze = snv_le64_get(ns.nsze);
		lba = 1u << ns.lbaf[f].ds;
		ms = snv_le16_get(ns.lbaf[f].ms);
		ok(zsze && nsze && nsze % zsze == 0,
		   "ZNS 4.1.5.1 format %u: NSZE %llu is zones of %llu", f,
		   (unsigned long long)nsze, (unsigned long long)zsze);
		ok(nsze <= r->ram->media.size / (lba + ms), "Base NSZE fits the medium");
		if (!zsze)
			continue;
		zones = nsze / zsze;
		is(rig_do(r, 1, SQE(.opcode = SNV_OP_ZONE_MGMT_RECV, .nsid = snv_le32(r->nsid),
				    .prp1 = snv_le64(page), .cdw12 = snv_le32(1023),
				    .cdw13 = snv_le32(1 << 8))), 0,
				   "ZNS 3.4.2 Report Zones, Empty ones");
		is(snv_le64_get(((struct snv_zone_report *)rig_ptr(r, page))->nr_zones), zones,
		   "ZNS 4.1.3 format %u: all %llu are", f, (unsigned long long)zones);
		bytes = 3ull * lba + (ns.flbas & 0x10 ? 3ull * ms : 0);
		{
			struct snv_sqe sqe = rig_rw(r, SNV_OP_WRITE, (zones - 1) * zsze, 3);

			rig_prp(r, &sqe, buf, bytes);
			sqe.mptr = snv_le64(page);
			is(rig_do(r, 1, &sqe), 0, "ZNS 2.1.1.1 the last zone takes a write");
			sqe.cdw10 = snv_le32((uint32_t)((zones - 1) * zsze + 4));
			is(rig_do(r, 1, &sqe), SNV_SC_ZONE_INVALID_WRITE,
			   "ZNS 2.1.1.1 in order only");
		}
	}
	ok(carried_out, "Base 5.14 %u of %u formats were carried out", carried_out, n);
	rig_close(r, "formats");
}

int main(void)
{
	resets();
	storm(1, 0, 0);
	storm(2, 3, 5);
	storm(3, 2, 2);
	storm(4, 1, 1);
	cut();
	others();
	protection(512);
	protection(4096);
	sizes(512);
	sizes(4096);
	lives();
	formats();
	return done();
}
