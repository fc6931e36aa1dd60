/* SPDX-License-Identifier: MIT */
/* For tests of zoned namespaces: commands to zones, and what they made of them. */
#ifndef VSSD_ZONED_H
#define VSSD_ZONED_H

#include "vssd_rig.h"

#define ZSZE	64u
#define ZCAP	48u
#define ZONES	16u
#define ZRA_PARTIAL	(1u << 16)
#define IMP	SNV_ZONE_IMP_OPEN
#define EXP	SNV_ZONE_EXP_OPEN
#define BAD	SNV_SC_ZONE_INVALID_TRANSITION

static const uint32_t states[] = { SNV_ZONE_EMPTY, IMP, EXP, SNV_ZONE_CLOSED, SNV_ZONE_FULL };

static const char *name(uint32_t state)
{
	static const char *const names[16] = {
		[SNV_ZONE_EMPTY] = "Empty", [IMP] = "Implicitly Opened",
		[EXP] = "Explicitly Opened", [SNV_ZONE_CLOSED] = "Closed",
		[SNV_ZONE_READ_ONLY] = "Read Only", [SNV_ZONE_FULL] = "Full",
		[SNV_ZONE_OFFLINE] = "Offline",
	};

	return state < 16 && names[state] ? names[state] : "?";
}

static void zoned_defaults(struct rig_config *g)
{
	rig_defaults(g);
	g->ns.csi = VSSD_CSI_ZNS;
	g->ns.zone_blocks = ZSZE;
	g->ns.zone_capacity = ZCAP;
	g->media_size = ZSZE * ZONES * 512;
	g->cc = SNV_CC_CSS_CSI;
}

static struct rig *zoned(uint32_t max_open, uint32_t max_active)
{
	struct rig_config g;

	zoned_defaults(&g);
	g.ns.max_open = max_open;
	g.ns.max_active = max_active;
	return rig_start(&g);
}

static struct snv_sqe send_sqe(struct rig *r, uint64_t slba, uint32_t cdw13)
{
	return (struct snv_sqe){ .opcode = SNV_OP_ZONE_MGMT_SEND, .nsid = snv_le32(r->nsid),
				 .cdw10 = snv_le32((uint32_t)slba),
				 .cdw11 = snv_le32((uint32_t)(slba >> 32)),
				 .cdw13 = snv_le32(cdw13) };
}

static int send(struct rig *r, uint32_t zone, uint32_t zsa)
{
	struct snv_sqe sqe = send_sqe(r, (uint64_t)zone * ZSZE, zsa);

	return rig_do(r, 1, &sqe);
}

/* To all; the SLBA, which is nobody's then, is odd. */
static int send_all(struct rig *r, uint32_t zsa)
{
	struct snv_sqe sqe = send_sqe(r, 3, zsa | SNV_ZONE_SEND_ALL);

	return rig_do(r, 1, &sqe);
}

static int receive(struct rig *r, uint64_t slba, uint64_t to, uint32_t bytes, uint32_t cdw13)
{
	struct snv_sqe sqe = { .opcode = SNV_OP_ZONE_MGMT_RECV, .nsid = snv_le32(r->nsid),
			       .cdw10 = snv_le32((uint32_t)slba),
			       .cdw11 = snv_le32((uint32_t)(slba >> 32)),
			       .cdw12 = snv_le32(bytes / 4 - 1), .cdw13 = snv_le32(cdw13) };

	rig_prp(r, &sqe, to, bytes);
	return rig_do(r, 1, &sqe);
}

static struct snv_zone_desc desc(struct rig *r, uint32_t zone)
{
	uint32_t top = r->top;
	uint64_t page = rig_mem(r, 128);
	struct snv_zone_desc d = { 0 };

	if (!receive(r, (uint64_t)zone * ZSZE, page, 128, ZRA_PARTIAL))
		d = ((struct snv_zone_report *)rig_ptr(r, page))->zone[0];
	rig_release(r, top);
	return d;
}

static uint32_t state(struct rig *r, uint32_t zone)
{
	return desc(r, zone).zs >> 4;
}

/* Blocks written of @zone. */
static uint64_t written(struct rig *r, uint32_t zone)
{
	return snv_le64_get(desc(r, zone).wp) - (uint64_t)zone * ZSZE;
}

/* Write @nlb blocks of @byte at @block of @zone. */
static int put(struct rig *r, uint32_t zone, uint64_t block, uint32_t nlb, int byte)
{
	uint32_t top = r->top;
	uint64_t buf = rig_mem(r, nlb * 512);
	int ret;

	rig_fill(r, buf, byte, nlb * 512);
	ret = rig_io(r, SNV_OP_WRITE, zone * ZSZE + block, nlb, buf, nlb * 512);
	rig_release(r, top);
	return ret;
}

static uint64_t assigned(struct rig *r, uint16_t cid)
{
	return (uint64_t)r->cmd[cid].dw1 << 32 | r->cmd[cid].dw0;
}

/* Are blocks @block.. of @zone all @byte? */
static bool holds(struct rig *r, uint32_t zone, uint64_t block, uint32_t nlb, int byte)
{
	uint32_t top = r->top;
	uint64_t buf = rig_mem(r, nlb * 512);
	bool yes;

	rig_fill(r, buf, ~byte, nlb * 512);
	yes = !rig_io(r, SNV_OP_READ, zone * ZSZE + block, nlb, buf, nlb * 512) &&
	      rig_all(r, buf, nlb * 512, byte);
	rig_release(r, top);
	return yes;
}

/* Bring @zone, whatever it is, to @to, with 8 blocks written unless that is Empty. */
static bool bring(struct rig *r, uint32_t zone, uint32_t to)
{
	int ret = send(r, zone, SNV_ZONE_SEND_RESET);

	if (to != SNV_ZONE_EMPTY)
		ret |= put(r, zone, 0, 8, 0x11);
	if (to == EXP)
		ret |= send(r, zone, SNV_ZONE_SEND_OPEN);
	if (to == SNV_ZONE_CLOSED)
		ret |= send(r, zone, SNV_ZONE_SEND_CLOSE);
	if (to == SNV_ZONE_FULL)
		ret |= send(r, zone, SNV_ZONE_SEND_FINISH);
	return !ret && state(r, zone) == to;
}

/* Zones in state @want. */
static uint32_t count(struct rig *r, uint32_t want)
{
	uint32_t z, n = 0;

	for (z = 0; z < ZONES; z++)
		n += state(r, z) == want;
	return n;
}

#endif
