// SPDX-License-Identifier: MIT
/*
 * Zoned namespaces as hosts drive them, ZNS Command Set 1.1: what they are, each command to a zone, each
 * transition of each zone state, the limits.
 */
#include "vssd_zoned.h"

static int append_at(struct rig *r, uint64_t slba, uint32_t nlb)
{
	uint32_t top = r->top;
	uint64_t buf = rig_mem(r, nlb * 512);
	int ret;

	rig_fill(r, buf, 0x77, nlb * 512);
	ret = rig_io(r, SNV_OP_ZONE_APPEND, slba, nlb, buf, nlb * 512);
	rig_release(r, top);
	return ret;
}

static int append(struct rig *r, uint32_t zone, uint32_t nlb)
{
	return append_at(r, (uint64_t)zone * ZSZE, nlb);
}

static void identify(void)
{
	static const uint32_t limits[][2] = { { 0, 0 }, { 3, 5 }, { 4, 4 }, { 0, 6 }, { 2, 0 } };
	struct rig_config g;
	size_t i;

	for (i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		uint32_t open = limits[i][0], active = limits[i][1], mor, mar;
		struct rig *r = zoned(open, active);
		uint64_t page = rig_mem(r, 4096);
		struct snv_zns_id_ns *zns = rig_ptr(r, page);
		struct snv_id_ns *ns = rig_ptr(r, page);
		struct snv_zns_id_ctrl *ctrl = rig_ptr(r, page);
		uint32_t f, mdts;

		is(rig_identify(r, SNV_CNS_NS, r->nsid, 0, page), 0,
		   "NVM 4.1.5.1 Identify Namespace");
		is(snv_le64_get(ns->nsze), ZSZE * ZONES, "ZNS 4.1.5.2 NSZE is all zones");
		ok(snv_le64_get(ns->ncap) <= snv_le64_get(ns->nsze), "Base NCAP is not more");
		f = (ns->flbas & 0xf) | (ns->flbas >> 1 & 0x30);
		is(rig_identify(r, SNV_CNS_CSI_NS, r->nsid, SNV_CSI_ZNS, page), 0,
		   "ZNS 4.1.5.1 CNS 05h, CSI 2");
		is(snv_le64_get(zns->lbafe[f].zsze), ZSZE, "ZNS 4.1.5.1 LBAFE: ZSZE of the format");
		is(zns->lbafe[f].zdes, 0, "ZNS 4.1.5.1 LBAFE: no zone descriptor extension");
		mor = snv_le32_get(zns->mor);
		mar = snv_le32_get(zns->mar);
		if (open)
			is(mor, open - 1, "ZNS 4.1.5.1 MOR, zero-based, of %u", open);
		else
			ok(mor == UINT32_MAX || mor == mar, "ZNS 4.1.5.1 MOR: no limit but MAR");
		is(mar, active - 1, "ZNS 4.1.5.1 MAR of %u: zero-based, or no limit", active);
		ok(mor <= mar, "ZNS 4.1.5.1 MOR is not more than MAR");
		is(snv_le16_get(zns->zoc), 0,
		   "ZNS 4.1.5.1 ZOC: no variable capacity, no excursions");
		is(snv_le32_get(zns->numzrwa), 0, "ZNS 4.1.5.1 no ZRWA");
		is(zns->zrwacap, 0, "ZNS 4.1.5.1 ZRWACAP");
		is(rig_identify(r, SNV_CNS_CTRL, 0, 0, page), 0,
		   "Base 5.17.2.1 Identify Controller");
		mdts = ((struct snv_id_ctrl *)rig_ptr(r, page))->mdts;
		is(rig_identify(r, SNV_CNS_CSI_CTRL, 0, SNV_CSI_ZNS, page), 0,
		   "ZNS 4.1.5.3 CNS 06h, CSI 2");
		ok(ctrl->zasl <= mdts, "ZNS 4.1.5.3 ZASL is not more than MDTS");
		is(rig_identify(r, SNV_CNS_CSI_NS, r->nsid, SNV_CSI_KV, page) != 0, 1,
		   "Base 5.17.2.5 CNS 05h for another command set is refused");
		is(rig_identify(r, SNV_CNS_CSI_ACTIVE_NS_LIST, 0, SNV_CSI_ZNS, page), 0,
		   "Base 5.17.2.7 CNS 07h, CSI 2");
		is(snv_le32_get(*(__le32 *)rig_ptr(r, page)), r->nsid, "Base 5.17.2.7 names it");
		rig_close(r, "identify");
	}

	/* A command set that this namespace doesn't have. */
	rig_defaults(&g);
	g.cc = SNV_CC_CSS_CSI;
	{
		struct rig *r = rig_start(&g);
		uint64_t page = rig_mem(r, 4096);

		is(rig_identify(r, SNV_CNS_CSI_NS, r->nsid, SNV_CSI_ZNS, page), SNV_SC_INVALID_IOCS,
		   "Base 5.17.2.5 CNS 05h, CSI 2, no zones: Invalid I/O Command Set");
		rig_close(r, "identify, no zones");
	}
}

/* Zone i of the first five has states[i]; the others are Empty. */
static void report(void)
{
	static const struct {
		uint32_t zrasf, state;
	} filter[] = {
		{ 1, SNV_ZONE_EMPTY }, { 2, IMP }, { 3, EXP }, { 4, SNV_ZONE_CLOSED },
		{ 5, SNV_ZONE_FULL }, { 6, SNV_ZONE_READ_ONLY }, { 7, SNV_ZONE_OFFLINE },
	};
	struct rig *r = zoned(0, 0);
	uint64_t page = rig_mem(r, 64 << 10), at;
	struct snv_zone_report *rep = rig_ptr(r, page);
	uint32_t i, k, bytes, bad;

	for (i = 0; i < 5; i++)
		ok(bring(r, i, states[i]), "ZNS 2.1.1.2 a zone comes to %s", name(states[i]));
	is(receive(r, 0, page, 64 + ZONES * 64, 0), 0, "ZNS 3.4.2.2 Report Zones, all");
	is(snv_le64_get(rep->nr_zones), ZONES, "ZNS 3.4.2.2.1 Number of Zones");
	for (i = bad = 0; i < ZONES; i++) {
		const struct snv_zone_desc *d = &rep->zone[i];

		bad += d->zt != SNV_ZONE_TYPE_SEQ || d->za || d->zai ||
		       d->zs != (i < 5 ? states[i] : SNV_ZONE_EMPTY) << 4 ||
		       snv_le64_get(d->zcap) != ZCAP || snv_le64_get(d->zslba) != i * ZSZE ||
		       (i != 4 && snv_le64_get(d->wp) != i * ZSZE + (i && i < 4 ? 8 : 0));
		for (k = 0; k < sizeof(d->rsvd32); k++)
			bad += d->rsvd32[k] != 0;
	}
	is(bad, 0, "ZNS 3.4.2.2.3 type, state, capacity, start and write pointer of each");
	for (i = bad = 0; i < sizeof(rep->rsvd8); i++)
		bad += rep->rsvd8[i] != 0;
	is(bad, 0, "ZNS 3.4.2.2.1 reserved bytes of the header are 0");

	for (i = 0; i < sizeof(filter) / sizeof(*filter); i++) {
		uint32_t want = 0, first = 0;

		for (k = ZONES; k--; )
			if ((k < 5 ? states[k] : SNV_ZONE_EMPTY) == filter[i].state) {
				want++;
				first = k;
			}
		rig_fill(r, page, 0xee, 64 + ZONES * 64);
		is(receive(r, 0, page, 64 + ZONES * 64, filter[i].zrasf << 8), 0,
		   "ZNS 3.4.2 ZRASF %u", filter[i].zrasf);
		is(snv_le64_get(rep->nr_zones), want, "ZNS 3.4.2 ZRASF %u: %s zones",
		   filter[i].zrasf, name(filter[i].state));
		for (k = bad = 0; k < want; k++)
			bad += rep->zone[k].zs >> 4 != filter[i].state;
		is(bad, 0, "ZNS 3.4.2 ZRASF %u: and no others", filter[i].zrasf);
		if (want)
			is(snv_le64_get(rep->zone[0].zslba), first * ZSZE,
			   "ZNS 3.4.2 ZRASF %u: the first of them first", filter[i].zrasf);
	}
	/* 12 Empty zones, of which 11 from zone 5 on, room for two and a half. */
	rig_fill(r, page, 0xee, 4096);
	is(receive(r, 2 * ZSZE + 5, page, 64 + 160, 1 << 8 | ZRA_PARTIAL), 0,
	   "ZNS 3.4.2 filtered, partial, from within zone 2");
	is(snv_le64_get(rep->nr_zones), 2,
	   "ZNS 3.4.2.2.1 Partial Report: descriptors transferred whole");
	ok(snv_le64_get(rep->zone[0].zslba) == 5 * ZSZE &&
	   snv_le64_get(rep->zone[1].zslba) == 6 * ZSZE,
	   "ZNS 3.4.2 the Empty zones after zone 2");
	ok(rig_all(r, page + 64 + 160, 256, 0xee), "ZNS 3.4.2 NUMD bounds what is written");
	is(receive(r, 2 * ZSZE + 5, page, 64 + 160, 1 << 8), 0, "ZNS 3.4.2 likewise, not partial");
	is(snv_le64_get(rep->nr_zones), ZONES - 5, "ZNS 3.4.2.2.1 all that match are counted");

	/* Each length, each dword: no more, and the same bytes. */
	{
		uint8_t whole[64 + ZONES * 64];
		uint32_t head = 0;

		is(receive(r, 0, page, sizeof(whole), 0), 0, "ZNS 3.4.2 the whole report");
		rig_get(r, page, whole, sizeof(whole));
		for (bytes = 4, bad = 0; bytes <= sizeof(whole); bytes += 4) {
			rig_fill(r, page, 0xee, sizeof(whole) + 64);
			bad += receive(r, 0, page, bytes, 0) != 0;
			/* Whole descriptors at least; of a broken one, as much or nothing. */
			head = bytes < 64 ? bytes : bytes & ~63u;
			bad += memcmp(whole, rig_ptr(r, page), head) != 0;
			bad += !rig_all(r, page + bytes, sizeof(whole) + 64 - bytes, 0xee);
		}
		is(bad, 0,
		   "ZNS 3.4.2 each length from 4 bytes: a prefix of the report, and no more");
		for (bytes = 64, bad = 0; bytes <= sizeof(whole); bytes += 4) {
			bad += receive(r, 0, page, bytes, ZRA_PARTIAL) != 0;
			bad += snv_le64_get(rep->nr_zones) != (bytes - 64) / 64;
		}
		is(bad, 0, "ZNS 3.4.2 each length: partial counts");
		/* Across pages, dword aligned, one dword before a page ends. */
		at = page + 4096 - 4;
		is(receive(r, 0, at, sizeof(whole), 0), 0, "Base 4.1.1 a report across pages");
		{
			uint8_t got[sizeof(whole)];

			rig_get(r, at, got, sizeof(got));
			ok(!memcmp(whole, got, sizeof(got)), "Base 4.1.1 and it is the same");
		}
		rig_fill(r, page, 0xee, 64 << 10);
		is(receive(r, 0, page, 32 << 10, 0), 0, "ZNS 3.4.2 a length beyond all zones");
		ok(!memcmp(whole, rig_ptr(r, page), sizeof(whole)),
		   "ZNS 3.4.2 the report is there");
		ok(rig_all(r, page + (32 << 10), 32 << 10, 0xee), "ZNS 3.4.2 nothing behind it");
	}

	is(receive(r, ZONES * ZSZE - 1, page, 4096, 0), 0, "ZNS 3.4.2 from the last block");
	ok(snv_le64_get(rep->nr_zones) == 1 &&
	   snv_le64_get(rep->zone[0].zslba) == (ZONES - 1) * ZSZE, "ZNS 3.4.2 the last zone alone");
	is(receive(r, 0, page, 4096, 8 << 8), SNV_SC_INVALID_FIELD,
	   "ZNS 3.4.2 ZRASF 8 is reserved: Invalid Field");
	is(receive(r, 0, page, 4096, 0xff << 8), SNV_SC_INVALID_FIELD,
	   "ZNS 3.4.2 ZRASF ffh likewise");
	is(receive(r, 0, page, 4096, 1), SNV_SC_INVALID_FIELD,
	   "ZNS 3.4.2.2.2 Extended Report Zones with ZDES 0: Invalid Field");
	is(receive(r, 0, page, 4096, 2), SNV_SC_INVALID_FIELD, "ZNS 3.4.2 ZRA 2 is reserved");
	is(receive(r, 0, page, 4096, 0xff), SNV_SC_INVALID_FIELD, "ZNS 3.4.2 ZRA ffh is reserved");
	is(receive(r, ZONES * ZSZE, page, 4096, 0), SNV_SC_LBA_RANGE,
	   "ZNS 3.4.2 SLBA at NSZE: LBA Out of Range");
	is(receive(r, UINT64_MAX, page, 4096, 0), SNV_SC_LBA_RANGE, "ZNS 3.4.2 SLBA 2^64 - 1");
	is(receive(r, 1ull << 32, page, 4096, 0), SNV_SC_LBA_RANGE, "ZNS 3.4.2 SLBA 2^32");
	{
		struct snv_sqe sqe = { .opcode = SNV_OP_ZONE_MGMT_RECV, .nsid = snv_le32(r->nsid),
				       .prp1 = snv_le64(page), .prp2 = snv_le64(page + 4096),
				       .cdw12 = snv_le32(UINT32_MAX) };

		is(rig_do(r, 1, &sqe), SNV_SC_INVALID_FIELD, "Base MDTS: NUMD 2^32 is refused");
		sqe.cdw12 = snv_le32((1u << 30) - 1);
		is(rig_do(r, 1, &sqe), SNV_SC_INVALID_FIELD,
		   "Base MDTS: 4 GiB, which is 0 in 32 bits");
		sqe.cdw12 = snv_le32(1u << 30);
		is(rig_do(r, 1, &sqe), SNV_SC_INVALID_FIELD, "Base MDTS: 4 GiB and a dword");
		sqe.cdw12 = snv_le32(1023);
		sqe.prp1 = snv_le64(1ull << 50);
		is(rig_do(r, 1, &sqe) != 0, 1, "Base 4.1.1 a report to no memory fails");
	}
	rig_close(r, "report");
}

static void writes(uint8_t opcode, const char *what)
{
	struct rig *r = zoned(0, 0);
	uint64_t buf = rig_mem(r, 65536);
	int ret;

#define W(zone, block, nlb) rig_io(r, opcode, (zone) * ZSZE + (block), nlb, buf, \
				   opcode == SNV_OP_WRITE ? (nlb) * 512 : 0)
	is(W(1, 1, 1), SNV_SC_ZONE_INVALID_WRITE, "ZNS 2.1.1.1 %s past the write pointer", what);
	ok(rig_dnr(r), "Base 3.3.3.2 with DNR (%s)", what);
	is(state(r, 1), SNV_ZONE_EMPTY, "ZNS 2.1.1.1 the zone stays Empty (%s)", what);
	is(W(1, 0, 8), 0, "ZNS 2.1.1.1 %s at the write pointer", what);
	is(state(r, 1), IMP, "ZNS 2.1.1.3 it is Implicitly Opened (%s)", what);
	is(written(r, 1), 8, "ZNS 2.1.1.1 the write pointer moved (%s)", what);
	is(W(1, 0, 8), SNV_SC_ZONE_INVALID_WRITE, "ZNS 2.1.1.1 %s before it", what);
	is(W(1, 7, 2), SNV_SC_ZONE_INVALID_WRITE, "ZNS 2.1.1.1 %s across it", what);
	is(W(1, 9, 1), SNV_SC_ZONE_INVALID_WRITE, "ZNS 2.1.1.1 %s behind it", what);
	is(written(r, 1), 8, "ZNS 2.1.1.1 the write pointer stays (%s)", what);
	is(W(1, 8, ZCAP - 8 + 1), SNV_SC_ZONE_BOUNDARY_ERROR,
	   "ZNS 2.1.1.1 %s beyond the zone's capacity", what);
	is(W(1, 8, ZSZE), SNV_SC_ZONE_BOUNDARY_ERROR, "ZNS 2.1.1.1 %s into the next zone", what);
	is(written(r, 1), 8, "ZNS 2.1.1.1 the write pointer stays still (%s)", what);
	ret = W(1, ZCAP, 1);
	ok(ret == SNV_SC_ZONE_BOUNDARY_ERROR || ret == SNV_SC_ZONE_INVALID_WRITE,
	   "ZNS 2.1.1.1 %s into the gap behind the capacity (%#x)", what, ret);
	ret = W(2, 0, ZSZE + 1);
	is(ret, SNV_SC_ZONE_BOUNDARY_ERROR, "ZNS 2.1.1.1 %s of more than an Empty zone", what);
	is(state(r, 2), SNV_ZONE_EMPTY, "ZNS 2.1.1.1 it stays Empty (%s)", what);
	is(W(1, 8, ZCAP - 8), 0, "ZNS 2.1.1.1 %s up to the capacity", what);
	is(state(r, 1), SNV_ZONE_FULL, "ZNS 2.1.1.3 the zone is Full (%s)", what);
	is(W(1, ZCAP - 1, 1), SNV_SC_ZONE_FULL, "ZNS 2.1.1.1 %s in a Full zone", what);
	is(W(1, 0, 1), SNV_SC_ZONE_FULL, "ZNS 2.1.1.1 %s at the start of a Full zone", what);
	is(W(3, 0, ZCAP), 0, "ZNS 2.1.1.1 %s of a zone at once", what);
	is(state(r, 3), SNV_ZONE_FULL, "ZNS 2.1.1.3 Empty to Full (%s)", what);
	is(W(ZONES - 1, 0, ZCAP), 0, "ZNS 2.1.1.1 %s of the last zone", what);
	is(W(ZONES, 0, 1), SNV_SC_LBA_RANGE, "NVM 3.2 %s past the namespace", what);
	ok(bring(r, 4, SNV_ZONE_CLOSED), "ZNS 2.1.1.3 a Closed zone");
	is(W(4, 8, 1), 0, "ZNS 2.1.1.3 %s opens a Closed zone", what);
	is(state(r, 4), IMP, "ZNS 2.1.1.3 implicitly (%s)", what);
	ok(bring(r, 4, EXP), "ZNS 2.1.1.3 an Explicitly Opened zone");
	is(W(4, 8, 1), 0, "ZNS 2.1.1.3 %s to an Explicitly Opened zone", what);
	is(state(r, 4), EXP, "ZNS 2.1.1.3 which it stays (%s)", what);
	is(W(4, 9, ZCAP - 9), 0, "ZNS 2.1.1.3 %s of its rest", what);
	is(state(r, 4), SNV_ZONE_FULL, "ZNS 2.1.1.3 makes it Full (%s)", what);
#undef W
	rig_close(r, what);
}

static void reads(void)
{
	struct rig *r = zoned(0, 0);
	uint64_t buf = rig_mem(r, 65536);
	struct snv_zns_id_ns *zns = rig_ptr(r, buf);
	bool across;

	is(rig_identify(r, SNV_CNS_CSI_NS, r->nsid, SNV_CSI_ZNS, buf), 0, "ZNS 4.1.5.1 Identify");
	across = snv_le16_get(zns->ozcs) & SNV_OZCS_READ_ACROSS;
	is(put(r, 0, 0, ZCAP, 0xa1), 0, "ZNS 2.1.1.1 zone 0 is written");
	is(put(r, 1, 0, 10, 0xb2), 0, "ZNS 2.1.1.1 zone 1 in part");
	ok(holds(r, 1, 0, 10, 0xb2), "ZNS 2.1.1.2 what was written");
	ok(holds(r, 1, 10, ZCAP - 10, 0), "NVM 3.2.3.2 what was not reads as zeros");
	ok(holds(r, 2, 0, ZSZE, 0), "NVM 3.2.3.2 an Empty zone, and its gap, too");
	is(rig_io(r, SNV_OP_READ, ZCAP - 4, ZSZE, buf, ZSZE * 512),
	   across ? 0 : SNV_SC_ZONE_BOUNDARY_ERROR,
	   "ZNS 2.1.1.2 a read across zones, as OZCS says (%d)",
	   across);
	if (across)
		ok(rig_all(r, buf, 4 * 512, 0xa1) &&
		   rig_all(r, buf + 4 * 512, (ZSZE - ZCAP) * 512, 0) &&
		   rig_all(r, buf + (4 + ZSZE - ZCAP) * 512, 10 * 512, 0xb2),
		   "ZNS 2.1.1.2 its data");
	is(rig_io(r, SNV_OP_VERIFY, 0, 8, buf, 0), 0, "NVM 3.2.5 Verify");
	rig_fill(r, buf, 0xb2, 4096);
	is(rig_io(r, SNV_OP_COMPARE, ZSZE, 8, buf, 4096), 0,
	   "NVM 3.2.1 Compare with what was written");
	is(rig_io(r, SNV_OP_COMPARE, ZSZE + 3, 8, buf, 4096), SNV_SC_COMPARE_FAILED,
	   "NVM 3.2.1 Compare beyond the write pointer: zeros");
	is(written(r, 1), 10, "ZNS 2.1.1.1 none of it moved the write pointer");
	rig_close(r, "reads");
}

static void appends(void)
{
	struct rig *r = zoned(0, 0);
	struct rig_config g;
	uint64_t page;
	uint32_t zasl, mdts, max;

	is(append(r, 2, 4), 0, "ZNS 3.4.1 Zone Append to an Empty zone");
	is(assigned(r, rig_last), 2 * ZSZE, "ZNS 3.4.1 the assigned LBA is in dwords 0 and 1");
	is(state(r, 2), IMP, "ZNS 2.1.1.3 it is Implicitly Opened");
	is(append(r, 2, 5), 0, "ZNS 3.4.1 another");
	is(assigned(r, rig_last), 2 * ZSZE + 4, "ZNS 3.4.1 goes behind it");
	ok(holds(r, 2, 0, 9, 0x77) && holds(r, 2, 9, 1, 0), "ZNS 3.4.1 the data are there");
	is(append_at(r, 2 * ZSZE + 9, 1), SNV_SC_INVALID_FIELD,
	   "ZNS 3.4.1 an SLBA that is the write pointer: Invalid Field");
	is(append_at(r, 2 * ZSZE + 1, 1), SNV_SC_INVALID_FIELD, "ZNS 3.4.1 not the zone's start");
	is(append(r, 2, ZCAP - 9 + 1), SNV_SC_ZONE_BOUNDARY_ERROR,
	   "ZNS 3.4.1 beyond the capacity: Zone Boundary Error");
	is(append(r, 3, ZSZE), SNV_SC_ZONE_BOUNDARY_ERROR, "ZNS 3.4.1 of more than the capacity");
	is(state(r, 3), SNV_ZONE_EMPTY, "ZNS 2.1.1.3 that zone stays Empty");
	is(written(r, 2), 9, "ZNS 3.4.1 the write pointer stays");
	is(append(r, 2, ZCAP - 9), 0, "ZNS 3.4.1 up to the capacity");
	is(state(r, 2), SNV_ZONE_FULL, "ZNS 2.1.1.3 the zone is Full");
	is(append(r, 2, 1), SNV_SC_ZONE_FULL, "ZNS 3.4.1 to a Full zone: Zone Is Full");
	is(append(r, 3, ZCAP), 0, "ZNS 3.4.1 a whole zone");
	is(state(r, 3), SNV_ZONE_FULL, "ZNS 2.1.1.3 Empty to Full");
	is(append(r, ZONES, 1), SNV_SC_LBA_RANGE, "ZNS 3.4.1 past the namespace: LBA Out of Range");
	is(append_at(r, UINT64_MAX - ZSZE + 1, 1), SNV_SC_LBA_RANGE, "ZNS 3.4.1 a zone near 2^64");
	is(append(r, ZONES - 1, 1), 0, "ZNS 3.4.1 the last zone");
	is(assigned(r, rig_last), (ZONES - 1) * ZSZE, "ZNS 3.4.1 its LBA");
	rig_close(r, "append");

	zoned_defaults(&g);
	g.c.mdts = 2;
	r = rig_start(&g);
	page = rig_mem(r, 4096);
	is(rig_identify(r, SNV_CNS_CTRL, 0, 0, page), 0, "Base 5.17.2.1 Identify Controller");
	mdts = ((struct snv_id_ctrl *)rig_ptr(r, page))->mdts;
	is(rig_identify(r, SNV_CNS_CSI_CTRL, 0, SNV_CSI_ZNS, page), 0, "ZNS 4.1.5.3 Identify");
	zasl = ((struct snv_zns_id_ctrl *)rig_ptr(r, page))->zasl;
	max = (4096u << (zasl ? zasl : mdts)) / 512;
	is(append(r, 0, max), 0, "ZNS 3.4.1 an append of ZASL, %u blocks", max);
	is(append(r, 0, max + 1), SNV_SC_INVALID_FIELD,
	   "ZNS 3.4.1 one of a block more: Invalid Field");
	is(written(r, 0), max, "ZNS 3.4.1 which moves nothing");
	rig_close(r, "ZASL");
}

/* Single-block appends by two queues of two workers; each carries its number. */
static void parallel_appends(bool async, bool newest_first)
{
	enum { N = 60 };
	struct rig_config g;
	struct rig *r;
	uint64_t buf, lba[N] = { 0 };
	uint32_t i, full = 0, good = 0, bad = 0, seen[ZCAP] = { 0 };
	uint16_t cid[N];

	zoned_defaults(&g);
	g.v.workers = 2;
	r = rig_start(&g);
	is(rig_create_pair(r, 2, 64), 0, "Base 5.4, 5.5 a second queue pair");
	r->ram->async = async;
	r->ram->newest_first = newest_first;
	r->ram->polls = 3;
	buf = rig_mem(r, N * 512);
	for (i = 0; i < N; i++) {
		struct snv_sqe sqe = rig_rw(r, SNV_OP_ZONE_APPEND, 5 * ZSZE, 1);

		rig_fill(r, buf + i * 512ull, (int)i + 1, 512);
		sqe.prp1 = snv_le64(buf + i * 512ull);
		cid[i] = rig_submit(r, 1 + i % 2, &sqe);
	}
	for (i = 0; i < N; i++) {
		int ret = rig_wait(r, cid[i]);

		lba[i] = assigned(r, cid[i]) - 5 * ZSZE;
		full += ret == SNV_SC_ZONE_FULL || ret == SNV_SC_ZONE_BOUNDARY_ERROR;
		if (ret)
			continue;
		good++;
		if (lba[i] >= ZCAP || seen[lba[i]]++)
			bad++;
	}
	is(good, ZCAP, "ZNS 3.4.1 of %u appends by two workers%s%s as many succeed as fit", N,
	   async ? ", asynchronous" : "", newest_first ? ", newest first" : "");
	is(full, N - ZCAP, "ZNS 3.4.1 the others find the zone full");
	is(bad, 0, "ZNS 3.4.1 each gets a block of its own");
	for (i = bad = 0; i < N; i++)
		if (!(r->cmd[cid[i]].status & SNV_STATUS_CODE) && lba[i] < ZCAP)
			bad += !holds(r, 5, lba[i], 1, (int)i + 1);
	is(bad, 0, "ZNS 3.4.1 and its data are where the completion says");
	is(state(r, 5), SNV_ZONE_FULL, "ZNS 2.1.1.3 the zone is Full");

	/* Writes in order down one queue, all in flight. */
	for (i = 0; i < ZCAP; i++) {
		struct snv_sqe sqe = rig_rw(r, SNV_OP_WRITE, 6 * ZSZE + i, 1);

		sqe.prp1 = snv_le64(buf + i * 512ull);
		cid[i] = rig_submit(r, 1, &sqe);
	}
	for (i = bad = 0; i < ZCAP; i++)
		bad += rig_wait(r, cid[i]) != 0 || !holds(r, 6, i, 1, (int)i + 1);
	is(bad, 0, "ZNS 2.1.1.1 a zone's writes, all at once by one queue, one worker");
	rig_close(r, "appends at once");
}

static void transitions(void)
{
	static const struct {
		uint32_t zsa;
		const char *what;
		int to[5];	/* by states[]: new state, or 0: Invalid Zone State Transition */
	} act[] = {
		{ SNV_ZONE_SEND_CLOSE, "Close", { 0, SNV_ZONE_CLOSED, SNV_ZONE_CLOSED,
						  SNV_ZONE_CLOSED, 0 } },
		{ SNV_ZONE_SEND_FINISH, "Finish", { SNV_ZONE_FULL, SNV_ZONE_FULL, SNV_ZONE_FULL,
						    SNV_ZONE_FULL, SNV_ZONE_FULL } },
		{ SNV_ZONE_SEND_OPEN, "Open", { EXP, EXP, EXP, EXP, 0 } },
		{ SNV_ZONE_SEND_RESET, "Reset", { SNV_ZONE_EMPTY, SNV_ZONE_EMPTY, SNV_ZONE_EMPTY,
						  SNV_ZONE_EMPTY, SNV_ZONE_EMPTY } },
		{ SNV_ZONE_SEND_OFFLINE, "Offline", { 0 } },
	};
	/* Select All: only these states are meant, ZNS 3.4.3.1. */
	static const struct {
		uint32_t zsa;
		const char *what;
		uint32_t to[5];
	} all[] = {
		{ SNV_ZONE_SEND_CLOSE, "Close", { SNV_ZONE_EMPTY, SNV_ZONE_CLOSED, SNV_ZONE_CLOSED,
						  SNV_ZONE_CLOSED, SNV_ZONE_FULL } },
		{ SNV_ZONE_SEND_FINISH, "Finish", { SNV_ZONE_EMPTY, SNV_ZONE_FULL, SNV_ZONE_FULL,
						    SNV_ZONE_FULL, SNV_ZONE_FULL } },
		{ SNV_ZONE_SEND_OPEN, "Open", { SNV_ZONE_EMPTY, IMP, EXP, EXP, SNV_ZONE_FULL } },
		{ SNV_ZONE_SEND_RESET, "Reset", { SNV_ZONE_EMPTY, SNV_ZONE_EMPTY, SNV_ZONE_EMPTY,
						  SNV_ZONE_EMPTY, SNV_ZONE_EMPTY } },
		{ SNV_ZONE_SEND_OFFLINE, "Offline", { SNV_ZONE_EMPTY, IMP, EXP, SNV_ZONE_CLOSED,
						      SNV_ZONE_FULL } },
	};
	struct rig *r = zoned(0, 0);
	struct snv_sqe sqe;
	uint32_t a, s, z, bad;

	for (a = 0; a < sizeof(act) / sizeof(*act); a++)
		for (s = 0; s < 5; s++) {
			uint32_t to = (uint32_t)act[a].to[s];

			ok(bring(r, 7, states[s]), "ZNS 2.1.1.3 %s: a zone that is %s", act[a].what,
			   name(states[s]));
			is(send(r, 7, act[a].zsa), to ? 0 : BAD,
			   "ZNS 3.4.3 %s of a zone that is %s",
			   act[a].what, name(states[s]));
			is(state(r, 7), to ? to : states[s], "ZNS 2.1.1.3 it is %s then",
			   name(to ? to : states[s]));
			if (to != SNV_ZONE_FULL && states[s] != SNV_ZONE_FULL)
				is(written(r, 7), to == SNV_ZONE_EMPTY ||
				   states[s] == SNV_ZONE_EMPTY ? 0 : 8,
				   "ZNS 2.1.1.1 and its write pointer");
			ok(to == SNV_ZONE_EMPTY || states[s] == SNV_ZONE_EMPTY ?
			   holds(r, 7, 0, 8, 0) : holds(r, 7, 0, 8, 0x11),
			   "ZNS 3.4.3 %s: the data %s", act[a].what,
			   to == SNV_ZONE_EMPTY ? "are gone" : "stay");
			ok(holds(r, 7, 8, ZCAP - 8, 0),
			   "ZNS 2.1.1.2 the unwritten part reads as zeros");
		}
	/* A zone that was opened or closed with nothing in it. */
	is(send(r, 7, SNV_ZONE_SEND_RESET), 0, "ZNS 3.4.3.1.4 Reset");
	is(send(r, 7, SNV_ZONE_SEND_OPEN), 0, "ZNS 3.4.3.1.3 Open of an Empty zone");
	is(send(r, 7, SNV_ZONE_SEND_CLOSE), 0, "ZNS 3.4.3.1.1 Close of it, still without data");
	is(state(r, 7), SNV_ZONE_CLOSED, "ZNS 2.1.1.3 it is Closed");
	is(put(r, 7, 0, 1, 1), 0, "ZNS 2.1.1.1 and can be written from its start");

	for (a = 0; a < sizeof(all) / sizeof(*all); a++) {
		/* Two of each, the last zones among them. */
		for (z = bad = 0; z < ZONES; z++)
			bad += !bring(r, z, z < 5 ? states[z] : z >= ZONES - 5 ?
				      states[z - (ZONES - 5)] : SNV_ZONE_EMPTY);
		is(bad, 0, "ZNS 2.1.1.3 zones of all states");
		is(send_all(r, all[a].zsa), 0, "ZNS 3.4.3.1 %s, Select All; SLBA is ignored",
		   all[a].what);
		for (s = 0; s < 5; s++) {
			is(state(r, s), all[a].to[s], "ZNS 3.4.3.1 %s all: %s to %s", all[a].what,
			   name(states[s]), name(all[a].to[s]));
			is(state(r, ZONES - 5 + s), all[a].to[s],
			   "ZNS 3.4.3.1 likewise near the end");
			ok(holds(r, s, 0, 8, s && all[a].zsa != SNV_ZONE_SEND_RESET ? 0x11 : 0),
			   "ZNS 3.4.3.1 its data");
		}
	}

	ok(bring(r, 1, EXP), "ZNS 2.1.1.3 an Explicitly Opened zone");
	for (a = bad = 0; a < 256; a++) {
		if (a >= SNV_ZONE_SEND_CLOSE && a <= SNV_ZONE_SEND_OFFLINE)
			continue;
		sqe = send_sqe(r, ZSZE, a);
		bad += rig_do(r, 1, &sqe) != SNV_SC_INVALID_FIELD;
	}
	is(bad, 0, "ZNS 3.4.3 other ZSA: Invalid Field, there being neither ZDES nor ZRWA");
	for (a = SNV_ZONE_SEND_CLOSE, bad = 0; a <= SNV_ZONE_SEND_OFFLINE; a++) {
		sqe = send_sqe(r, ZSZE + 1, a);
		bad += rig_do(r, 1, &sqe) != SNV_SC_INVALID_FIELD;
		sqe = send_sqe(r, 2 * ZSZE - 1, a);
		bad += rig_do(r, 1, &sqe) != SNV_SC_INVALID_FIELD;
	}
	is(bad, 0, "ZNS 3.4.3 SLBA not the lowest of its zone: Invalid Field");
	for (a = SNV_ZONE_SEND_CLOSE, bad = 0; a <= SNV_ZONE_SEND_OFFLINE; a++) {
		static const uint64_t far[] = { ZONES * ZSZE, 1ull << 32, 1ull << 63,
						UINT64_MAX - ZSZE + 1, UINT64_MAX };

		for (s = 0; s < sizeof(far) / sizeof(*far); s++) {
			int ret;

			sqe = send_sqe(r, far[s], a);
			ret = rig_do(r, 1, &sqe);
			bad += ret != SNV_SC_LBA_RANGE && ret != SNV_SC_INVALID_FIELD;
		}
	}
	is(bad, 0, "ZNS 3.4.3 SLBA past the namespace is refused");
	sqe = send_sqe(r, 2 * ZSZE, SNV_ZONE_SEND_OPEN | SNV_ZONE_SEND_ZRWA);
	ok(bring(r, 2, SNV_ZONE_EMPTY), "ZNS 2.1.1.3 an Empty zone");
	is(rig_do(r, 1, &sqe), SNV_SC_INVALID_FIELD,
	   "ZNS 3.4.3 Open with ZRWA, of which there is none");
	is(state(r, 1), EXP, "ZNS 3.4.3 what was refused changed nothing");
	rig_close(r, "transitions");
}

static void limits(void)
{
	struct rig *r = zoned(3, 5);
	uint32_t z, bad = 0;
	int ret;

	/* Implicitly opened zones are closed to make room. */
	for (z = 0; z < 5; z++) {
		bad += put(r, z, 0, 1, 1) != 0;
		bad += count(r, IMP) > 3;
	}
	is(bad, 0, "ZNS 2.1.1.4 five zones written, three open at most");
	ok(count(r, IMP) == 3 && count(r, SNV_ZONE_CLOSED) == 2,
	   "ZNS 2.1.1.4 the others are Closed");
	is(state(r, 4), IMP, "ZNS 2.1.1.4 the last one written is open");
	is(put(r, 5, 0, 1, 1), SNV_SC_ZONE_TOO_MANY_ACTIVE,
	   "ZNS 2.1.1.4 a sixth: Too Many Active Zones");
	is(append(r, 5, 1), SNV_SC_ZONE_TOO_MANY_ACTIVE, "ZNS 2.1.1.4 by append likewise");
	is(send(r, 5, SNV_ZONE_SEND_OPEN), SNV_SC_ZONE_TOO_MANY_ACTIVE,
	   "ZNS 2.1.1.4 by Open likewise");
	is(state(r, 5), SNV_ZONE_EMPTY, "ZNS 2.1.1.4 it stays Empty");
	is(written(r, 5), 0, "ZNS 2.1.1.4 and unwritten");
	ok(holds(r, 5, 0, 1, 0), "ZNS 2.1.1.4 its data too");
	for (z = bad = 0; z < 5; z++)
		bad += put(r, z, 1, 1, 2) != 0;
	is(bad, 0, "ZNS 2.1.1.4 each of the five can be written on");
	is(send(r, 0, SNV_ZONE_SEND_FINISH), 0, "ZNS 2.1.1.4 one is finished");
	is(put(r, 5, 0, 1, 1), 0, "ZNS 2.1.1.4 and gives its resources to another");
	is(put(r, 6, 0, 1, 1), SNV_SC_ZONE_TOO_MANY_ACTIVE, "ZNS 2.1.1.4 but to one only");
	is(send(r, 5, SNV_ZONE_SEND_RESET), 0, "ZNS 2.1.1.4 one is reset");
	is(put(r, 6, 0, ZCAP - 1, 1), 0, "ZNS 2.1.1.4 and gives them too");
	is(put(r, 6, ZCAP - 1, 1, 1), 0, "ZNS 2.1.1.4 one is written full");
	is(put(r, 7, 0, 1, 1), 0, "ZNS 2.1.1.4 and gives them too");

	/* Explicitly opened ones are not. */
	is(send_all(r, SNV_ZONE_SEND_RESET), 0, "ZNS 3.4.3.1.4 all are reset");
	for (z = bad = 0; z < 3; z++)
		bad += send(r, z, SNV_ZONE_SEND_OPEN) != 0;
	is(bad, 0, "ZNS 3.4.3.1.3 three are opened");
	is(send(r, 3, SNV_ZONE_SEND_OPEN), SNV_SC_ZONE_TOO_MANY_OPEN,
	   "ZNS 2.1.1.4 a fourth: Too Many Open Zones");
	is(put(r, 3, 0, 1, 1), SNV_SC_ZONE_TOO_MANY_OPEN, "ZNS 2.1.1.4 by a write likewise");
	is(append(r, 3, 1), SNV_SC_ZONE_TOO_MANY_OPEN, "ZNS 2.1.1.4 by an append likewise");
	is(rig_io(r, SNV_OP_WRITE_ZEROES, 3 * ZSZE, 1, 0, 0), SNV_SC_ZONE_TOO_MANY_OPEN,
	   "ZNS 2.1.1.4 by Write Zeroes likewise");
	is(count(r, EXP), 3, "ZNS 2.1.1.4 the three stay open");
	is(send(r, 0, SNV_ZONE_SEND_OPEN), 0, "ZNS 3.4.3.1.3 Open of an open zone takes nothing");
	is(send(r, 0, SNV_ZONE_SEND_CLOSE), 0, "ZNS 3.4.3.1.1 one is closed");
	is(put(r, 3, 0, 1, 1), 0, "ZNS 2.1.1.4 now there is room");
	is(send(r, 4, SNV_ZONE_SEND_OPEN), 0, "ZNS 2.1.1.4 an Open closes the implicit one");
	is(state(r, 3), SNV_ZONE_CLOSED, "ZNS 2.1.1.4 so it did");
	is(state(r, 4), EXP, "ZNS 2.1.1.4 and opened the other");
	is(send(r, 3, SNV_ZONE_SEND_OPEN), SNV_SC_ZONE_TOO_MANY_OPEN,
	   "ZNS 2.1.1.4 a Closed zone finds no room either");
	is(state(r, 3), SNV_ZONE_CLOSED, "ZNS 2.1.1.4 and stays Closed");
	/* Active: 0 Closed, 1 2 4 open, 3 Closed: five. */
	ret = send(r, 6, SNV_ZONE_SEND_OPEN);
	ok(ret == SNV_SC_ZONE_TOO_MANY_ACTIVE || ret == SNV_SC_ZONE_TOO_MANY_OPEN,
	   "ZNS 2.1.1.4 a sixth active zone is refused (%#x)", ret);

	/* Open all: all Closed zones, or none. */
	is(send_all(r, SNV_ZONE_SEND_CLOSE), 0, "ZNS 3.4.3.1.1 all are closed");
	is(count(r, SNV_ZONE_CLOSED), 5, "ZNS 3.4.3.1.1 five of them");
	is(send_all(r, SNV_ZONE_SEND_OPEN), SNV_SC_ZONE_TOO_MANY_OPEN,
	   "ZNS 3.4.3.1.3 Open all of five with a limit of three: Too Many Open Zones");
	is(count(r, SNV_ZONE_CLOSED), 5, "ZNS 3.4.3.1.3 none is opened");
	is(send(r, 0, SNV_ZONE_SEND_RESET) | send(r, 1, SNV_ZONE_SEND_FINISH), 0,
	   "ZNS 3.4.3 two less");
	is(send_all(r, SNV_ZONE_SEND_OPEN), 0, "ZNS 3.4.3.1.3 Open all of three");
	is(count(r, EXP), 3, "ZNS 3.4.3.1.3 all are open");
	is(send_all(r, SNV_ZONE_SEND_FINISH), 0, "ZNS 3.4.3.1.2 Finish all");
	is(count(r, SNV_ZONE_FULL), 4, "ZNS 3.4.3.1.2 they are Full");
	for (z = 8, bad = 0; z < 13; z++)
		bad += put(r, z, 0, 1, 1) != 0;
	is(bad, 0, "ZNS 2.1.1.4 five others become active: nothing has leaked");
	is(put(r, 13, 0, 1, 1), SNV_SC_ZONE_TOO_MANY_ACTIVE, "ZNS 2.1.1.4 and no sixth");
	/* Refused commands must not count. */
	for (z = bad = 0; z < 50; z++)
		bad += put(r, 13, 0, 1, 1) != SNV_SC_ZONE_TOO_MANY_ACTIVE ||
		       put(r, 8, 5, 1, 1) != SNV_SC_ZONE_INVALID_WRITE ||
		       append(r, 9, ZCAP) != SNV_SC_ZONE_BOUNDARY_ERROR;
	is(bad, 0, "ZNS 2.1.1.4 many refused writes");
	is(send_all(r, SNV_ZONE_SEND_RESET), 0, "ZNS 3.4.3.1.4 Reset all");
	for (z = bad = 0; z < 5; z++)
		bad += put(r, z, 0, 1, 1) != 0;
	is(bad, 0, "ZNS 2.1.1.4 still five can be active");
	rig_close(r, "limits");

	/* A zone written whole at once needs resources for the time of the write. */
	r = zoned(1, 1);
	for (z = bad = 0; z < ZONES; z++)
		bad += put(r, z, 0, ZCAP, 1) != 0;
	is(bad, 0, "ZNS 2.1.1.4 limits of 1: zone after zone, each at once");
	is(send_all(r, SNV_ZONE_SEND_RESET), 0, "ZNS 3.4.3.1.4 Reset all");
	for (z = bad = 0; z < ZONES; z++)
		bad += put(r, z, 0, 1, 1) != 0 || append(r, z, ZCAP - 1) != 0;
	is(bad, 0, "ZNS 2.1.1.4 limits of 1: in two steps");
	rig_close(r, "limits of 1");
}

int main(void)
{
	identify();
	report();
	writes(SNV_OP_WRITE, "Write");
	writes(SNV_OP_WRITE_ZEROES, "Write Zeroes");
	writes(SNV_OP_WRITE_UNCOR, "Write Uncorrectable");
	reads();
	appends();
	parallel_appends(false, false);
	parallel_appends(true, false);
	parallel_appends(true, true);
	transitions();
	limits();
	return done();
}
