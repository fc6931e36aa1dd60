// SPDX-License-Identifier: MIT
/* Zoned namespaces, ZNS Command Set 1.1. */
#include "vssd_rig.h"

#define ZSZE	256u
#define ZCAP	200u
#define ZONES	32u

static struct rig *zns_rig(bool async, uint32_t max_open, uint32_t max_active, uint64_t zcap)
{
	struct rig_config g;
	struct rig *r;

	rig_defaults(&g);
	g.ns.csi = VSSD_CSI_ZNS;
	g.ns.zone_blocks = ZSZE;
	g.ns.zone_capacity = zcap;
	g.ns.max_open = max_open;
	g.ns.max_active = max_active;
	g.media_size = ZSZE * ZONES * 512;
	g.cc = SNV_CC_CSS_CSI;
	r = rig_start(&g);
	r->ram->async = async;
	r->ram->polls = 1;
	return r;
}

static int send_zsa(struct rig *r, uint64_t slba, uint32_t zsa)
{
	return rig_do(r, 1, SQE(.opcode = SNV_OP_ZONE_MGMT_SEND, .nsid = snv_le32(r->nsid),
				.cdw10 = snv_le32((uint32_t)slba),
				.cdw11 = snv_le32((uint32_t)(slba >> 32)), .cdw13 = snv_le32(zsa)));
}

static int report(struct rig *r, uint64_t slba, uint64_t to, uint32_t bytes, uint32_t cdw13)
{
	return rig_do(r, 1, SQE(.opcode = SNV_OP_ZONE_MGMT_RECV, .nsid = snv_le32(r->nsid),
				.prp1 = snv_le64(to), .cdw10 = snv_le32((uint32_t)slba),
				.cdw11 = snv_le32((uint32_t)(slba >> 32)),
				.cdw12 = snv_le32(bytes / 4 - 1), .cdw13 = snv_le32(cdw13)));
}

/* The descriptor of zone @zone. */
static struct snv_zone_desc desc(struct rig *r, uint32_t zone)
{
	uint32_t top = r->top;
	uint64_t page = rig_mem(r, 4096);
	struct snv_zone_desc d = { 0 };

	if (!report(r, (uint64_t)zone * ZSZE, page, 128, 0))
		d = ((struct snv_zone_report *)rig_ptr(r, page))->zone[0];
	rig_release(r, top);
	return d;
}

static uint32_t state(struct rig *r, uint32_t zone)
{
	return desc(r, zone).zs >> 4;
}

static int write_at(struct rig *r, uint64_t slba, uint32_t nlb)
{
	uint32_t top = r->top;
	uint64_t buf = rig_mem(r, nlb * 512);
	int ret;

	rig_pattern(r, buf, nlb * 512, (uint32_t)slba);
	ret = rig_io(r, SNV_OP_WRITE, slba, nlb, buf, nlb * 512);
	rig_release(r, top);
	return ret;
}

static int append(struct rig *r, uint64_t zslba, uint32_t nlb, uint64_t *lba)
{
	uint32_t top = r->top;
	uint64_t buf = rig_mem(r, nlb * 512);
	int ret;

	rig_pattern(r, buf, nlb * 512, 7);
	ret = rig_io(r, SNV_OP_ZONE_APPEND, zslba, nlb, buf, nlb * 512);
	*lba = r->cmd[rig_last].dw0 | (uint64_t)r->cmd[rig_last].dw1 << 32;
	rig_release(r, top);
	return ret;
}

static void identify(void)
{
	struct rig *r = zns_rig(false, 3, 5, ZCAP);
	uint64_t page = rig_mem(r, 4096);
	struct snv_zns_id_ns *z = rig_ptr(r, page);
	struct snv_id_ns *ns = rig_ptr(r, page);
	uint8_t *d = rig_ptr(r, page);
	uint32_t at, csi = 99;

	is(rig_identify(r, SNV_CNS_CSI_NS, 1, SNV_CSI_ZNS, page), 0, "ZNS 4.1.5.1 Identify Namespace, zoned");
	is(snv_le32_get(z->mor), 2, "ZNS 4.1.5.1 MOR is zero-based");
	is(snv_le32_get(z->mar), 4, "ZNS 4.1.5.1 MAR is zero-based");
	is(snv_le64_get(z->lbafe[0].zsze), ZSZE, "ZNS 4.1.5.1 ZSZE");
	is(z->lbafe[0].zdes, 0, "ZNS 4.1.5.1 no descriptor extension");
	is(rig_identify(r, SNV_CNS_CSI_CTRL, 0, SNV_CSI_ZNS, page), 0, "ZNS 4.1.5.2 Identify Controller, zoned");
	is(rig_identify(r, SNV_CNS_NS, 1, 0, page), 0, "NVM 4.1.5.1 Identify Namespace");
	is(snv_le64_get(ns->nsze), ZSZE * ZONES, "ZNS 2.1 NSZE is whole zones");
	is(rig_identify(r, SNV_CNS_NS_DESC_LIST, 1, 0, page), 0, "Base 5.17.2.4 descriptor list");
	for (at = 0; at < 4090 && d[at + 1]; at += 4 + d[at + 1])
		if (d[at] == SNV_NIDT_CSI)
			csi = d[at + 4];
	is(csi, SNV_CSI_ZNS, "Base 5.17.2.4 its CSI");
	is(rig_identify(r, SNV_CNS_CSI_ACTIVE_NS_LIST, 0, SNV_CSI_ZNS, page), 0,
	   "Base 5.17.2.6 zoned namespaces");
	is(*(uint32_t *)rig_ptr(r, page), 1, "Base 5.17.2.6 it is one");
	is(rig_identify(r, SNV_CNS_CSI_ACTIVE_NS_LIST, 0, SNV_CSI_NVM, page), 0, "Base 5.17.2.6 NVM ones");
	is(*(uint32_t *)rig_ptr(r, page), 0, "Base 5.17.2.6 there is none");
	is(ADMIN(r, .opcode = SNV_ADMIN_IDENTIFY, .prp1 = snv_le64(page),
		 .cdw10 = snv_le32(SNV_CNS_CSI_LIST | 0xffffu << 16)), 0, "Base 5.17.2.20 command sets");
	ok((*(uint64_t *)rig_ptr(r, page) & 5) == 5, "Base 5.17.2.20 NVM and zoned together");
	rig_fill(r, page, 0, 4096);
	at = (uint32_t)rig_log(r, SNV_LOG_CHANGED_ZONES, 1, page, 4096);
	ok(at == SNV_SC_INVALID_LOG_PAGE || (!at && !*(uint16_t *)rig_ptr(r, page)),
	   "ZNS 4.1.4.1 a changed zone list is empty or isn't there (%03xh)", at);
	rig_close(r, "identify");

	r = zns_rig(false, 0, 0, 0);
	page = rig_mem(r, 4096);
	z = rig_ptr(r, page);
	rig_identify(r, SNV_CNS_CSI_NS, 1, SNV_CSI_ZNS, page);
	ok(snv_le32_get(z->mor) == 0xffffffff && snv_le32_get(z->mar) == 0xffffffff,
	   "ZNS 4.1.5.1 no limits are FFFFFFFFh");
	is(snv_le64_get(desc(r, 0).zcap), ZSZE, "ZNS 2.1 the capacity is the size if nothing else is said");
	rig_close(r, "no limits");
}

static void reports(void)
{
	struct rig *r = zns_rig(false, 0, 0, ZCAP);
	uint64_t page = rig_mem(r, 4096);
	struct snv_zone_report *z = rig_ptr(r, page);
	uint32_t i, bad = 0;

	is(report(r, 0, page, 64 + ZONES * 64, 0), 0, "ZNS 3.4.2 Report Zones");
	is(snv_le64_get(z->nr_zones), ZONES, "ZNS 3.4.2 number of zones");
	for (i = 0; i < ZONES; i++)
		bad += z->zone[i].zt != SNV_ZONE_TYPE_SEQ || z->zone[i].zs >> 4 != SNV_ZONE_EMPTY ||
		       snv_le64_get(z->zone[i].zcap) != ZCAP ||
		       snv_le64_get(z->zone[i].zslba) != i * ZSZE ||
		       snv_le64_get(z->zone[i].wp) != i * ZSZE;
	is(bad, 0, "ZNS 3.4.2 all empty, sequential, with their capacity, start and write pointer");
	rig_fill(r, page, 0x2f, 4096);
	is(report(r, 5 * ZSZE, page, 128, 0), 0, "ZNS 3.4.2 from zone 5 on, room for one");
	is(snv_le64_get(z->nr_zones), ZONES - 5, "ZNS 3.4.2 partial 0: as many as match");
	is(snv_le64_get(z->zone[0].zslba), 5 * ZSZE, "ZNS 3.4.2 zone 5");
	ok(rig_all(r, page + 128, 3968, 0x2f), "ZNS 3.4.2 and no more bytes than asked for");
	is(report(r, 5 * ZSZE, page, 128, 1 << 16), 0, "ZNS 3.4.2 the same, partial");
	is(snv_le64_get(z->nr_zones), 1, "ZNS 3.4.2 partial 1: as many as there are in it");
	is(report(r, 5 * ZSZE + 100, page, 128, 0), 0, "ZNS 3.4.2 from the middle of zone 5");
	is(snv_le64_get(z->zone[0].zslba), 5 * ZSZE, "ZNS 3.4.2 is from zone 5");
	is(report(r, 0, page, 64, 0), 0, "ZNS 3.4.2 the header alone");
	is(snv_le64_get(z->nr_zones), ZONES, "ZNS 3.4.2 tells the number");
	is(report(r, 0, page, 32, 0), 0, "ZNS 3.4.2 half a header");
	is(report(r, ZSZE * ZONES, page, 128, 0), SNV_SC_LBA_RANGE, "ZNS 3.4.2 past the end: LBA Out of Range");
	is(report(r, UINT64_MAX, page, 128, 0), SNV_SC_LBA_RANGE, "ZNS 3.4.2 far past it: LBA Out of Range");
	ok(report(r, 0, page, 128, 9) > 0, "ZNS 3.4.2 an action that isn't there is refused");
	ok(report(r, 0, page, 128, 0x55 << 8) > 0, "ZNS 3.4.2 so is a filter that isn't");
	ok(report(r, 0, 0xdead0000, 128, 0) > 0, "ZNS 3.4.2 and memory that isn't");

	is(write_at(r, 0, 8), 0, "ZNS 3.3 write: zone 0 becomes implicitly open");
	is(send_zsa(r, ZSZE, SNV_ZONE_SEND_OPEN), 0, "ZNS 3.4.3 zone 1 explicitly open");
	is(write_at(r, 2 * ZSZE, 8), 0, "ZNS 3.3 zone 2 written");
	is(send_zsa(r, 2 * ZSZE, SNV_ZONE_SEND_CLOSE), 0, "ZNS 3.4.3 and closed");
	is(send_zsa(r, 3 * ZSZE, SNV_ZONE_SEND_FINISH), 0, "ZNS 3.4.3 zone 3 full");
	for (i = 1; i <= 7; i++) {
		static const uint32_t want[] = { 0, ZONES - 4, 1, 1, 1, 1, 0, 0 };

		is(report(r, 0, page, 4096, i << 8), 0, "ZNS 3.4.2 filter %u", i);
		is(snv_le64_get(z->nr_zones), want[i], "ZNS 3.4.2 finds %u", want[i]);
		if (i >= 2 && i <= 5)
			is(snv_le64_get(z->zone[0].zslba), (i - 2) * ZSZE, "ZNS 3.4.2 the right one");
	}
	rig_close(r, "report");
}

static void writes(bool async)
{
	struct rig *r = zns_rig(async, 0, 0, ZCAP);
	uint64_t buf = rig_mem(r, ZSZE * 512), lba;
	struct snv_zone_desc d;

	is(write_at(r, 0, 10), 0, "ZNS 3.3 a write at the write pointer");
	d = desc(r, 0);
	is(snv_le64_get(d.wp), 10, "ZNS 2.1.1 moves it");
	is(d.zs >> 4, SNV_ZONE_IMP_OPEN, "ZNS 2.1.1.3 and opens the zone implicitly");
	is(write_at(r, 11, 1), SNV_SC_ZONE_INVALID_WRITE, "ZNS 3.3 above it: Zone Invalid Write");
	is(write_at(r, 9, 1), SNV_SC_ZONE_INVALID_WRITE, "ZNS 3.3 below it: Zone Invalid Write");
	is(write_at(r, 0, 1), SNV_SC_ZONE_INVALID_WRITE, "ZNS 3.3 at the start: Zone Invalid Write");
	is(write_at(r, ZSZE + 1, 1), SNV_SC_ZONE_INVALID_WRITE, "ZNS 3.3 into an empty zone");
	is(state(r, 1), SNV_ZONE_EMPTY, "ZNS 3.3 which stays empty");
	is(write_at(r, 10, ZCAP - 10 + 1), SNV_SC_ZONE_BOUNDARY_ERROR,
	   "ZNS 3.3 over the capacity: Zone Boundary Error");
	is(write_at(r, 10, ZSZE), SNV_SC_ZONE_BOUNDARY_ERROR, "ZNS 3.3 into the next zone: Zone Boundary Error");
	is(snv_le64_get(desc(r, 0).wp), 10, "ZNS 3.3 none of these moved the write pointer");
	is(write_at(r, 10, ZCAP - 10), 0, "ZNS 3.3 up to the capacity");
	is(state(r, 0), SNV_ZONE_FULL, "ZNS 2.1.1.3 the zone is full");
	is(write_at(r, 0, 1), SNV_SC_ZONE_FULL, "ZNS 3.3 a write there: Zone Is Full");
	is(rig_io(r, SNV_OP_READ, 0, 10, buf, 5120), 0, "ZNS 3.3 a read");
	ok(rig_pattern_is(r, buf, 5120, 0), "ZNS 3.3 has the data");
	is(rig_io(r, SNV_OP_WRITE_ZEROES, 2 * ZSZE, 8, 0, 0), 0, "ZNS 3.3 Write Zeroes at the write pointer");
	is(snv_le64_get(desc(r, 2).wp), 2 * ZSZE + 8, "ZNS 3.3 moves it as well");
	is(rig_io(r, SNV_OP_WRITE_ZEROES, 2 * ZSZE, 8, 0, 0), SNV_SC_ZONE_INVALID_WRITE,
	   "ZNS 3.3 and below it is refused");
	is(write_at(r, ZSZE * ZONES, 1), SNV_SC_LBA_RANGE, "NVM 3.2.6 past the end: LBA Out of Range");
	is(write_at(r, UINT64_MAX, 1), SNV_SC_LBA_RANGE, "NVM 3.2.6 far past it: LBA Out of Range");
	is(rig_io(r, SNV_OP_READ, 4 * ZSZE, 8, buf, 4096), 0, "ZNS 3.3 a read of an empty zone");
	ok(rig_all(r, buf, 4096, 0), "ZNS 3.3 is zeros");

	/* Reset. */
	is(send_zsa(r, 0, SNV_ZONE_SEND_RESET), 0, "ZNS 3.4.3 Reset");
	d = desc(r, 0);
	ok(d.zs >> 4 == SNV_ZONE_EMPTY && !d.wp, "ZNS 2.1.1.3 empty, write pointer at the start");
	is(rig_io(r, SNV_OP_READ, 0, 10, buf, 5120), 0, "ZNS 3.3 a read");
	ok(rig_all(r, buf, 5120, 0), "ZNS 3.4.3 the data are gone");

	/* Append. */
	is(append(r, 3 * ZSZE, 5, &lba), 0, "ZNS 3.4.1 Zone Append");
	is(lba, 3 * ZSZE, "ZNS 3.4.1 tells where");
	is(append(r, 3 * ZSZE, 7, &lba), 0, "ZNS 3.4.1 another");
	is(lba, 3 * ZSZE + 5, "ZNS 3.4.1 tells where");
	is(snv_le64_get(desc(r, 3).wp), 3 * ZSZE + 12, "ZNS 3.4.1 the write pointer follows");
	rig_io(r, SNV_OP_READ, 3 * ZSZE + 5, 7, buf, 3584);
	ok(rig_pattern_is(r, buf, 3584, 7), "ZNS 3.4.1 the data are there");
	is(append(r, 3 * ZSZE + 12, 1, &lba), SNV_SC_INVALID_FIELD,
	   "ZNS 3.4.1 not at a zone's start: Invalid Field");
	is(append(r, 3 * ZSZE, ZCAP - 11, &lba), SNV_SC_ZONE_BOUNDARY_ERROR,
	   "ZNS 3.4.1 more than there is room: Zone Boundary Error");
	is(append(r, 3 * ZSZE, ZCAP - 12, &lba), 0, "ZNS 3.4.1 what there is room for");
	is(append(r, 3 * ZSZE, 1, &lba), SNV_SC_ZONE_FULL, "ZNS 3.4.1 then: Zone Is Full");
	is(append(r, ZSZE * ZONES, 1, &lba), SNV_SC_LBA_RANGE, "ZNS 3.4.1 past the end: LBA Out of Range");
	rig_close(r, "writes");
}

/* Appends in flight together have each their own place. */
static void many_appends(void)
{
	struct rig *r = zns_rig(true, 0, 0, ZCAP);
	uint64_t buf = rig_mem(r, 64 * 512);
	uint16_t cid[50];
	uint64_t seen = 0;
	uint32_t i, bad = 0;

	r->ram->newest_first = true;
	r->ram->polls = 2;
	for (i = 0; i < 50; i++) {
		struct snv_sqe sqe = rig_rw(r, SNV_OP_ZONE_APPEND, ZSZE, 1);

		rig_fill(r, buf + i * 512, (int)i + 1, 512);
		sqe.prp1 = snv_le64(buf + i * 512);
		cid[i] = rig_submit(r, 1, &sqe);
	}
	for (i = 0; i < 50; i++) {
		uint64_t at;

		bad += rig_wait(r, cid[i]) != 0;
		at = r->cmd[cid[i]].dw0 - ZSZE;
		bad += at >= 50 || (seen & 1ull << at) ||
		       r->ram->data[(ZSZE + at) * 512 + 100] != i + 1;
		seen |= 1ull << (at & 63);
	}
	is(bad, 0, "ZNS 3.4.1 50 appends in flight: each in its own place, as it was told");
	is(seen, (1ull << 50) - 1, "ZNS 3.4.1 without gaps");
	rig_close(r, "appends");
}

static void transitions(void)
{
	enum { E = SNV_ZONE_EMPTY, I = SNV_ZONE_IMP_OPEN, X = SNV_ZONE_EXP_OPEN, C = SNV_ZONE_CLOSED,
	       F = SNV_ZONE_FULL };
	static const uint32_t from[] = { E, I, X, C, F };
	static const struct {
		uint32_t action, to[5];		/* 0: Invalid Zone State Transition */
		const char *name;
	} t[] = {
		{ SNV_ZONE_SEND_CLOSE, { 0, C, C, C, 0 }, "Close" },
		{ SNV_ZONE_SEND_FINISH, { F, F, F, F, F }, "Finish" },
		{ SNV_ZONE_SEND_OPEN, { X, X, X, X, 0 }, "Open" },
		{ SNV_ZONE_SEND_RESET, { E, E, E, E, E }, "Reset" },
		{ SNV_ZONE_SEND_OFFLINE, { 0, 0, 0, 0, 0 }, "Offline" },
	};
	struct rig *r = zns_rig(false, 0, 0, ZCAP);
	uint32_t a, s;

	for (a = 0; a < 5; a++)
		for (s = 0; s < 5; s++) {
			uint64_t z = ZSZE;
			int ret;

			send_zsa(r, z, SNV_ZONE_SEND_RESET);
			if (from[s] == I || from[s] == C)
				write_at(r, z, 4);
			if (from[s] == X)
				send_zsa(r, z, SNV_ZONE_SEND_OPEN);
			if (from[s] == C)
				send_zsa(r, z, SNV_ZONE_SEND_CLOSE);
			if (from[s] == F)
				send_zsa(r, z, SNV_ZONE_SEND_FINISH);
			is(state(r, 1), from[s], "ZNS 2.1.1.3 state %xh", from[s]);
			ret = send_zsa(r, z, t[a].action);
			is(ret, t[a].to[s] ? 0 : SNV_SC_ZONE_INVALID_TRANSITION,
			   "ZNS 3.4.3 %s from state %xh", t[a].name, from[s]);
			is(state(r, 1), t[a].to[s] ? t[a].to[s] : from[s], "ZNS 3.4.3 and then");
		}
	is(send_zsa(r, 1, SNV_ZONE_SEND_RESET), SNV_SC_INVALID_FIELD,
	   "ZNS 3.4.3 an address inside a zone: Invalid Field");
	s = (uint32_t)send_zsa(r, ZSZE * ZONES, SNV_ZONE_SEND_RESET);
	ok(s == SNV_SC_LBA_RANGE || s == SNV_SC_INVALID_FIELD, "ZNS 3.4.3 past the end (%03xh)", s);
	is(send_zsa(r, 0, 0), SNV_SC_INVALID_FIELD, "ZNS 3.4.3 action 0: Invalid Field");
	is(send_zsa(r, 0, 0x7f), SNV_SC_INVALID_FIELD, "ZNS 3.4.3 action 7Fh: Invalid Field");
	send_zsa(r, ZSZE, SNV_ZONE_SEND_RESET);

	/* Select all. */
	write_at(r, 0, 4);
	write_at(r, 5 * ZSZE, 4);
	send_zsa(r, 6 * ZSZE, SNV_ZONE_SEND_OPEN);
	is(send_zsa(r, 0, SNV_ZONE_SEND_CLOSE | SNV_ZONE_SEND_ALL), 0, "ZNS 3.4.3 Close all");
	ok(state(r, 0) == C && state(r, 5) == C, "ZNS 3.4.3 the open ones with data are closed");
	ok(state(r, 6) == C || state(r, 6) == E, "ZNS 3.4.3 the one without isn't open");
	is(state(r, 7), E, "ZNS 3.4.3 the empty ones stay so");
	is(send_zsa(r, 0, SNV_ZONE_SEND_OPEN | SNV_ZONE_SEND_ALL), 0, "ZNS 3.4.3 Open all");
	ok(state(r, 0) == X && state(r, 5) == X && state(r, 7) == E,
	   "ZNS 3.4.3 the closed ones are open, the empty ones are not");
	is(send_zsa(r, 0, SNV_ZONE_SEND_FINISH | SNV_ZONE_SEND_ALL), 0, "ZNS 3.4.3 Finish all");
	ok(state(r, 0) == F && state(r, 5) == F && state(r, 7) == E,
	   "ZNS 3.4.3 the open ones are full, the empty ones are not");
	is(send_zsa(r, 0, SNV_ZONE_SEND_RESET | SNV_ZONE_SEND_ALL), 0, "ZNS 3.4.3 Reset all");
	ok(state(r, 0) == E && state(r, 5) == E, "ZNS 3.4.3 all are empty");
	rig_close(r, "transitions");
}

static void limits(void)
{
	struct rig *r = zns_rig(false, 3, 5, ZCAP);
	uint64_t lba;
	uint32_t i, open;

	for (i = 0; i < 3; i++)
		is(send_zsa(r, i * ZSZE, SNV_ZONE_SEND_OPEN), 0, "ZNS 2.1.1.4 zone %u of 3 open", i);
	is(send_zsa(r, 3 * ZSZE, SNV_ZONE_SEND_OPEN), SNV_SC_ZONE_TOO_MANY_OPEN,
	   "ZNS 2.1.1.4 the 4th: Too Many Open Zones");
	is(write_at(r, 3 * ZSZE, 1), SNV_SC_ZONE_TOO_MANY_OPEN, "ZNS 2.1.1.4 a write there too");
	is(append(r, 3 * ZSZE, 1, &lba), SNV_SC_ZONE_TOO_MANY_OPEN, "ZNS 2.1.1.4 an append too");
	is(write_at(r, ZSZE, 1), 0, "ZNS 2.1.1.4 a write to an open one");
	is(send_zsa(r, 0, SNV_ZONE_SEND_CLOSE), 0, "ZNS 3.4.3 one closed");
	is(write_at(r, 3 * ZSZE, 1), 0, "ZNS 2.1.1.4 now there is room");
	is(write_at(r, 4 * ZSZE, 1), 0,
	   "ZNS 2.1.1.4.1 another: the controller closes the implicitly open one");
	for (i = open = 0; i < 8; i++)
		open += state(r, i) == SNV_ZONE_IMP_OPEN || state(r, i) == SNV_ZONE_EXP_OPEN;
	is(open, 3, "ZNS 2.1.1.4 3 are open");
	is(write_at(r, 5 * ZSZE, 1), SNV_SC_ZONE_TOO_MANY_ACTIVE,
	   "ZNS 2.1.1.4 the 6th active: Too Many Active Zones");
	is(send_zsa(r, 5 * ZSZE, SNV_ZONE_SEND_OPEN), SNV_SC_ZONE_TOO_MANY_ACTIVE,
	   "ZNS 2.1.1.4 opened: Too Many Active Zones");
	is(send_zsa(r, ZSZE, SNV_ZONE_SEND_FINISH), 0, "ZNS 3.4.3 one finished");
	is(write_at(r, 5 * ZSZE, 1), 0, "ZNS 2.1.1.4 now there is room");
	is(send_zsa(r, 5 * ZSZE, SNV_ZONE_SEND_RESET), 0, "ZNS 3.4.3 one reset");
	is(write_at(r, 6 * ZSZE, 1), 0, "ZNS 2.1.1.4 room again");
	for (i = 0; i < 300; i++) {
		uint64_t z = 7 + i % 20;

		if (write_at(r, z * ZSZE, 1) != SNV_SC_ZONE_TOO_MANY_ACTIVE)
			break;
	}
	is(i, 300, "ZNS 2.1.1.4 300 refused");
	is(send_zsa(r, 0, SNV_ZONE_SEND_RESET | SNV_ZONE_SEND_ALL), 0, "ZNS 3.4.3 all reset");
	for (i = 0; i < 5; i++)
		is(write_at(r, (10 + i) * ZSZE, 1), 0, "ZNS 2.1.1.4 5 active again");
	is(write_at(r, 20 * ZSZE, 1), SNV_SC_ZONE_TOO_MANY_ACTIVE, "ZNS 2.1.1.4 and no 6th");
	rig_close(r, "limits");
}

static void mixed(void)
{
	struct rig *r = zns_rig(false, 0, 0, ZCAP);
	struct vssd_ns_config more = { .lba_size = 512 };
	uint64_t buf = rig_mem(r, 8192);
	struct snv_sqe sqe;
	uint32_t nvm, op, bad = 0;

	more.media = &ram_new(r->env, 1 << 20)->media;
	is(vssd_ns_add(r->v, &more, &nvm), 0, "an NVM namespace beside it");
	sqe = rig_rw(r, SNV_OP_WRITE, 100, 8);
	sqe.nsid = snv_le32(nvm);
	sqe.prp1 = snv_le64(buf);
	is(rig_do(r, 1, &sqe), 0, "NVM 3.2.6 it is written anywhere");
	for (op = 0; op < 256; op++) {
		if (op != SNV_OP_ZONE_MGMT_SEND && op != SNV_OP_ZONE_MGMT_RECV && op != SNV_OP_ZONE_APPEND)
			continue;
		bad += rig_do(r, 1, SQE(.opcode = (uint8_t)op, .nsid = snv_le32(nvm),
					.prp1 = snv_le64(buf), .cdw13 = snv_le32(1))) !=
		       SNV_SC_INVALID_OPCODE;
	}
	is(bad, 0, "ZNS 3 zone commands to it are Invalid Opcode");
	for (op = bad = 0; op < 256; op++) {
		static const uint8_t known[] = { SNV_OP_FLUSH, SNV_OP_WRITE, SNV_OP_READ,
			SNV_OP_WRITE_UNCOR, SNV_OP_COMPARE, SNV_OP_WRITE_ZEROES, SNV_OP_DSM, SNV_OP_VERIFY,
			SNV_OP_COPY, SNV_OP_ZONE_MGMT_SEND, SNV_OP_ZONE_MGMT_RECV, SNV_OP_ZONE_APPEND };

		if (memchr(known, (int)op, sizeof(known)))
			continue;
		bad += rig_do(r, 1, SQE(.opcode = (uint8_t)op, .nsid = snv_le32(1), .prp1 = snv_le64(buf))) !=
		       SNV_SC_INVALID_OPCODE;
	}
	is(bad, 0, "ZNS 3 other opcodes to a zoned namespace are Invalid Opcode");

	/* Copy obeys the destination's zone. */
	{
		struct snv_copy_range *range = rig_ptr(r, buf);
		int ret;

		write_at(r, 0, 8);
		*range = (struct snv_copy_range){ .nlb = snv_le16(3) };
		ret = rig_do(r, 1, SQE(.opcode = SNV_OP_COPY, .nsid = snv_le32(1), .prp1 = snv_le64(buf),
				       .cdw10 = snv_le32(ZSZE + 5)));
		ok(ret == SNV_SC_ZONE_INVALID_WRITE || ret == SNV_SC_INVALID_OPCODE,
		   "ZNS 3.3 Copy away from the write pointer is refused (%03xh)", ret);
		if (ret == SNV_SC_ZONE_INVALID_WRITE) {
			is(rig_do(r, 1, SQE(.opcode = SNV_OP_COPY, .nsid = snv_le32(1),
					    .prp1 = snv_le64(buf), .cdw10 = snv_le32(ZSZE))), 0,
			   "ZNS 3.3 Copy to it");
			is(snv_le64_get(desc(r, 1).wp), ZSZE + 4, "ZNS 3.3 moves it");
		}
	}
	is(ADMIN(r, .opcode = SNV_ADMIN_FORMAT, .nsid = snv_le32(1)), 0, "Base 5.14 Format of a zoned namespace");
	is(state(r, 0), SNV_ZONE_EMPTY, "Base 5.14 empties its zones");
	rig_close(r, "mixed");

	/* With CC.CSS NVM only, a zoned namespace takes no commands (Base 8.7). */
	{
		struct rig_config g;

		rig_defaults(&g);
		g.ns.csi = VSSD_CSI_ZNS;
		g.ns.zone_blocks = ZSZE;
		r = rig_start(&g);
		ok(send_zsa(r, 0, SNV_ZONE_SEND_OPEN) > 0, "Base 3.1.3.5 CC.CSS NVM: no zone commands");
		rig_close(r, "CSS");
	}
}

int main(void)
{
	identify();
	reports();
	writes(false);
	writes(true);
	many_appends();
	transitions();
	limits();
	mixed();
	return done();
}
