// SPDX-License-Identifier: MIT
/*
 * Namespaces: Namespace Management and Attachment (Base 2.0 sections 5.22, 5.23, 8.11), the events and the log that
 * tell of them (5.2, 5.16.1.5), several namespaces and several controllers in one subsystem.
 */
#include "vssd_rig.h"

#define MIB_BLOCKS	2048u		/* of 512 */

static int create(struct rig *r, uint64_t page, uint64_t nsze, uint64_t ncap, uint8_t flbas, uint8_t dps)
{
	struct snv_id_ns *ns = rig_ptr(r, page);

	memset(ns, 0, 4096);
	ns->nsze = snv_le64(nsze);
	ns->ncap = snv_le64(ncap);
	ns->flbas = flbas;
	ns->dps = dps;
	ns->nmic = SNV_NMIC_SHARED;
	return ADMIN(r, .opcode = SNV_ADMIN_NS_MGMT, .prp1 = snv_le64(page));
}

static int delete(struct rig *r, uint32_t nsid)
{
	return ADMIN(r, .opcode = SNV_ADMIN_NS_MGMT, .nsid = snv_le32(nsid), .cdw10 = snv_le32(1));
}

/* Attach (@sel 0) or detach (1) @nsid to @n controllers. */
static int attach(struct rig *r, uint64_t page, uint32_t nsid, uint32_t sel, uint32_t n, uint16_t a,
		  uint16_t b)
{
	struct snv_ctrl_list *list = rig_ptr(r, page);

	memset(list, 0, 4096);
	list->num = snv_le16((uint16_t)n);
	list->cntlid[0] = snv_le16(a);
	list->cntlid[1] = snv_le16(b);
	return ADMIN(r, .opcode = SNV_ADMIN_NS_ATTACH, .nsid = snv_le32(nsid), .prp1 = snv_le64(page),
		     .cdw10 = snv_le32(sel));
}

static uint16_t cntlid(struct rig *r)
{
	uint32_t top = r->top;
	uint64_t page = rig_mem(r, 4096);
	uint16_t id;

	rig_identify(r, SNV_CNS_CTRL, 0, 0, page);
	id = snv_le16_get(((struct snv_id_ctrl *)rig_ptr(r, page))->cntlid);
	rig_release(r, top);
	return id;
}

static bool listed(struct rig *r, uint32_t cns, uint32_t nsid)
{
	uint32_t top = r->top, i;
	uint64_t page = rig_mem(r, 4096);
	struct snv_ns_list *list = rig_ptr(r, page);
	bool found = false;

	rig_identify(r, cns, 0, 0, page);
	for (i = 0; i < 1024 && list->nsid[i]; i++)
		found |= snv_le32_get(list->nsid[i]) == nsid;
	rig_release(r, top);
	return found;
}

static int io(struct rig *r, uint8_t op, uint32_t nsid, uint64_t slba, uint64_t addr)
{
	struct snv_sqe sqe = rig_rw(r, op, slba, 1);

	sqe.nsid = snv_le32(nsid);
	sqe.prp1 = snv_le64(addr);
	return rig_do(r, 1, &sqe);
}

static uint16_t aer(struct rig *r)
{
	return rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_ASYNC_EVENT));
}

static void management(void)
{
	struct rig_config g;
	struct rig *r, *p;
	uint64_t page, buf, other;
	uint16_t me, peer, event, event2;
	uint32_t nsid, second, i;

	rig_defaults(&g);
	r = rig_start(&g);
	p = rig_peer(r, &g);
	rig_enable(p);
	rig_create_pair(p, 1, 16);
	page = rig_mem(r, 4096);
	buf = rig_mem(r, 4096);
	other = rig_mem(p, 4096);
	me = cntlid(r);
	peer = cntlid(p);

	is(create(r, page, MIB_BLOCKS, MIB_BLOCKS, 0, 0), 0, "Base 5.23 a namespace of 1 MiB is created");
	nsid = rig_dw0(r);
	ok(nsid >= 1 && nsid <= VSSD_MAX_NS && nsid != 1, "Base 5.23 DW0 is its NSID (%u)", nsid);
	ok(listed(r, SNV_CNS_ALLOCATED_NS_LIST, nsid), "Base 5.17.2.7 it is allocated");
	ok(!listed(r, SNV_CNS_ACTIVE_NS_LIST, nsid), "Base 5.17.2.3 and not active");
	is(rig_identify(r, SNV_CNS_NS, nsid, 0, page), 0, "Base 5.17 Identify of an inactive one");
	ok(rig_all(r, page, 4096, 0), "Base 5.17 is zeros");
	is(rig_identify(r, SNV_CNS_ALLOCATED_NS, nsid, 0, page), 0, "Base 5.17.2.8 Identify, allocated");
	is(snv_le64_get(((struct snv_id_ns *)rig_ptr(r, page))->nsze), MIB_BLOCKS, "Base 5.17.2.8 NSZE");
	is(io(r, SNV_OP_READ, nsid, 0, buf), SNV_SC_INVALID_FIELD,
	   "Base 3.2.1.4 I/O to an inactive one: Invalid Field");

	/* Events are for those that turned them on and asked. */
	rig_set_feature(r, SNV_FEAT_ASYNC_EVENT, 1 << 8);
	rig_set_feature(p, SNV_FEAT_ASYNC_EVENT, 1 << 8);
	event = aer(r);
	event2 = aer(p);
	is(attach(r, page, nsid, 0, 1, me, 0), 0, "Base 5.22 attached to this controller");
	rig_settle(r);
	rig_reap(r);
	rig_reap(p);
	ok(!r->cmd[event].done || r->cmd[event].dw0 ==
	   (SNV_LOG_CHANGED_NS << 16 | SNV_AER_NOTICE_NS_CHANGED << 8 | SNV_AER_NOTICE),
	   "Base 5.2.1 no event but Namespace Attribute Changed");
	ok(!p->cmd[event2].done, "Base 5.2.1 the other controller's namespaces are the same");
	ok(listed(r, SNV_CNS_ACTIVE_NS_LIST, nsid), "Base 5.17.2.3 it is active here");
	ok(!listed(p, SNV_CNS_ACTIVE_NS_LIST, nsid), "Base 5.17.2.3 and not there");
	is(io(r, SNV_OP_WRITE, nsid, MIB_BLOCKS - 1, buf), 0, "NVM 3.2.6 its last block is written");
	is(io(r, SNV_OP_WRITE, nsid, MIB_BLOCKS, buf), SNV_SC_LBA_RANGE, "NVM 3.2.6 and no further");
	ok(io(p, SNV_OP_READ, nsid, 0, other) > 0, "Base 5.22 the other controller has no access");
	is(attach(r, page, nsid, 0, 1, me, 0), SNV_SC_NS_ALREADY_ATTACHED,
	   "Base 5.22 again: Namespace Already Attached");
	is(attach(r, page, nsid, 1, 1, peer, 0), SNV_SC_NS_NOT_ATTACHED,
	   "Base 5.22 detached where it isn't: Namespace Not Attached");
	is(attach(r, page, nsid, 0, 1, 999, 0), SNV_SC_CTRL_LIST_INVALID,
	   "Base 5.22 a controller that isn't there: Controller List Invalid");
	is(attach(r, page, nsid, 0, 0, 0, 0), SNV_SC_CTRL_LIST_INVALID,
	   "Base 5.22 an empty list: Controller List Invalid");
	is(attach(r, page, nsid, 0, 2048, me, peer), SNV_SC_CTRL_LIST_INVALID,
	   "Base 5.22 a list too long: Controller List Invalid");
	is(attach(r, page, nsid, 7, 1, me, 0), SNV_SC_INVALID_FIELD, "Base 5.22 SEL 7: Invalid Field");
	is(attach(r, page, 0, 0, 1, me, 0), SNV_SC_INVALID_NS, "Base 5.22 NSID 0");
	ok(attach(r, page, nsid + 5, 0, 1, me, 0) > 0, "Base 5.22 an NSID not allocated");
	is(attach(r, page, nsid, 0, 1, peer, 0), 0, "Base 5.22 attached to the other one");
	rig_settle(r);
	rig_reap(p);
	ok(p->cmd[event2].done, "Base 5.2.1 which has an event");
	is(p->cmd[event2].dw0, SNV_LOG_CHANGED_NS << 16 | SNV_AER_NOTICE_NS_CHANGED << 8 | SNV_AER_NOTICE,
	   "Base 5.2.1 Namespace Attribute Changed, log 04h");
	is(rig_log(p, SNV_LOG_CHANGED_NS, SNV_NSID_ALL, other, 4096), 0, "Base 5.16.1.5 the log");
	is(*(uint32_t *)rig_ptr(p, other), nsid, "Base 5.16.1.5 names it");
	is(rig_log(p, SNV_LOG_CHANGED_NS, SNV_NSID_ALL, other, 4096), 0, "Base 5.16.1.5 the log again");
	ok(rig_all(p, other, 4096, 0), "Base 5.16.1.5 was cleared by reading");
	is(io(p, SNV_OP_READ, nsid, 0, other), 0, "Base 5.22 now it has access");

	/* A second one, and errors of creation. */
	is(create(r, page, MIB_BLOCKS, MIB_BLOCKS, 0, 0), 0, "Base 5.23 another namespace");
	second = rig_dw0(r);
	ok(second != nsid && second != 1, "Base 5.23 has another NSID");
	ok(create(r, page, MIB_BLOCKS, MIB_BLOCKS / 2, 0, 0) > 0, "Base 5.23 thin provisioning is not there");
	is(create(r, page, MIB_BLOCKS, MIB_BLOCKS, 15, 0), SNV_SC_INVALID_FORMAT,
	   "Base 5.23 FLBAS 15: Invalid Format");
	is(create(r, page, MIB_BLOCKS, MIB_BLOCKS, 0, 1), SNV_SC_INVALID_FORMAT,
	   "Base 5.23 PI without metadata: Invalid Format");
	ok(create(r, page, 0, 0, 0, 0) > 0, "Base 5.23 size 0");
	ok(create(r, page, UINT64_MAX, UINT64_MAX, 0, 0) > 0, "Base 5.23 size 2^64 - 1");
	ok(create(r, page, 1ull << 55, 1ull << 55, 0, 0) > 0, "Base 5.23 2^55 blocks: its bytes wrap");
	r->env->media_refuse = true;
	is(create(r, page, MIB_BLOCKS, MIB_BLOCKS, 0, 0), SNV_SC_NS_INSUFFICIENT_CAP,
	   "Base 5.23 no storage: Namespace Insufficient Capacity");
	r->env->media_refuse = false;
	is(ADMIN(r, .opcode = SNV_ADMIN_NS_MGMT, .prp1 = snv_le64(page), .cdw10 = snv_le32(5)),
	   SNV_SC_INVALID_FIELD, "Base 5.23 SEL 5: Invalid Field");
	ok(ADMIN(r, .opcode = SNV_ADMIN_NS_MGMT, .prp1 = snv_le64(0xdead000)) > 0,
	   "Base 5.23 from memory that isn't there");
	ok(ADMIN(r, .opcode = SNV_ADMIN_NS_MGMT, .prp1 = snv_le64(page), .cdw11 = snv_le32(0x55u << 24)) > 0,
	   "Base 5.23 a command set that isn't there");

	/* Deletion, with a command in flight. */
	is(attach(r, page, second, 0, 1, me, 0), 0, "Base 5.22 the second is attached");
	is(delete(r, 0), SNV_SC_INVALID_NS, "Base 5.23 NSID 0 is not deleted");
	is(delete(r, VSSD_MAX_NS + 1), SNV_SC_INVALID_NS, "Base 5.23 nor one above NN");
	is(delete(r, second), 0, "Base 5.23 deleted");
	ok(!listed(r, SNV_CNS_ALLOCATED_NS_LIST, second), "Base 5.17.2.7 it is not allocated any more");
	ok(io(r, SNV_OP_READ, second, 0, buf) > 0, "Base 5.23 nor usable");
	ok(delete(r, second) > 0, "Base 5.23 nor deleted twice");
	is(r->env->closed[0], 1, "Base 5.23 its medium is closed");
	for (i = 0; i < 20; i++) {
		if (create(r, page, 100 + i, 100 + i, 0, 0))
			break;
		second = rig_dw0(r);
		if (attach(r, page, second, 0, 2, me < peer ? me : peer, me < peer ? peer : me) ||
		    io(r, SNV_OP_WRITE, second, 99 + i, buf) ||
		    io(r, SNV_OP_WRITE, second, 100 + i, buf) != SNV_SC_LBA_RANGE ||
		    attach(r, page, second, 1, 1, me, 0) || delete(r, second))
			break;
	}
	is(i, 20, "Base 5.22, 5.23 20 created, attached to both, used, detached and deleted");
	is(delete(r, SNV_NSID_ALL), 0, "Base 5.23 all namespaces deleted");
	ok(!listed(r, SNV_CNS_ALLOCATED_NS_LIST, 1) && !listed(r, SNV_CNS_ALLOCATED_NS_LIST, nsid),
	   "Base 5.23 none is left");
	r->ram = NULL;
	rig_close(p, "management peer");
	rig_close(r, "management");
}

static void in_flight(void)
{
	struct rig *r = rig_plain();
	uint64_t page = rig_mem(r, 4096), buf = rig_mem(r, 4096);
	struct snv_sqe sqe = rig_rw(r, SNV_OP_READ, 0, 8);
	uint16_t cid[20], del;
	uint32_t i, bad = 0;

	sqe.prp1 = snv_le64(buf);
	r->ram->async = r->ram->held = true;
	for (i = 0; i < 20; i++)
		cid[i] = rig_submit(r, 1, &sqe);
	rig_settle(r);
	del = rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_NS_MGMT, .nsid = snv_le32(1), .cdw10 = snv_le32(1)));
	rig_settle(r);
	rig_reap(r);
	is(r->env->closed[0], 0, "Base 5.23 a medium with transfers in flight is not closed");
	r->ram->held = false;
	is(rig_wait(r, del), 0, "Base 5.23 a namespace is deleted with I/O in flight");
	for (i = 0; i < 20; i++)
		bad += rig_wait(r, cid[i]) == RIG_NO_CQE;
	is(bad, 0, "Base 5.23 all of which ends");
	is(r->env->closed[0], 1, "Base 5.23 then the medium is closed");
	is(r->env->closed[1], 0, "Base 5.23 with nothing in flight");
	ok(rig_io(r, SNV_OP_READ, 0, 1, buf, 512) > 0, "Base 5.23 there is nothing left to read");
	r->ram = NULL;
	is(create(r, page, 1000, 1000, 0, 0), 0, "Base 5.23 and a new one can be made");
	rig_close(r, "in flight");
}

static void without_management(void)
{
	struct rig_config g;
	struct rig *r;
	uint64_t page;
	int ret;

	rig_defaults(&g);
	g.no_media_create = true;
	r = rig_start(&g);
	page = rig_mem(r, 4096);
	ret = create(r, page, 1000, 1000, 0, 0);
	ok(ret > 0, "Base 5.23 where namespaces cannot be created, none is (%03xh)", ret);
	rig_identify(r, SNV_CNS_CTRL, 0, 0, page);
	if (!(snv_le16_get(((struct snv_id_ctrl *)rig_ptr(r, page))->oacs) & SNV_OACS_NS_MGMT))
		is(ret, SNV_SC_INVALID_OPCODE, "Base 5.17.2.1 not in OACS: Invalid Opcode");
	rig_close(r, "without management");
}

/* Several namespaces side by side, and several controllers over them. */
static void side_by_side(void)
{
	struct rig_config g;
	struct rig *r, *p;
	uint64_t a, b;
	uint32_t id[8], i, bad = 0;

	rig_defaults(&g);
	g.v.workers = 2;
	r = rig_start(&g);
	p = rig_peer(r, &g);
	rig_enable(p);
	rig_create_pair(p, 1, 16);
	a = rig_mem(r, 4096);
	b = rig_mem(p, 4096);
	for (i = 0; i < 8; i++) {
		struct vssd_ns_config c = { .lba_size = i & 1 ? 4096 : 512 };

		c.media = &ram_new(r->env, 1 << 20)->media;
		bad += vssd_ns_add(r->v, &c, &id[i]) != 0;
	}
	is(bad, 0, "8 more namespaces");
	for (i = 0; i < 8; i++) {
		rig_fill(r, a, (int)i + 1, 4096);
		bad += io(r, SNV_OP_WRITE, id[i], 7, a) != 0;
	}
	for (i = 0; i < 8; i++) {
		bad += io(p, SNV_OP_READ, id[i], 7, b) != 0;
		bad += !rig_all(p, b, i & 1 ? 4096 : 512, (int)i + 1);
	}
	is(bad, 0, "Base 2.4 what one controller wrote to each, the other reads");
	rig_disable(r);
	bad = io(p, SNV_OP_READ, id[0], 7, b) != 0;
	is(bad, 0, "Base 3.7.2 a reset of one leaves the other alone");
	ok(rig_enable(r), "Base 3.5.1 and it comes back");
	/* Namespaces added while a controller runs are announced. */
	{
		struct vssd_ns_config c = { .lba_size = 512 };
		uint16_t event;
		uint32_t late;

		rig_set_feature(p, SNV_FEAT_ASYNC_EVENT, 1 << 8);
		event = aer(p);
		rig_settle(p);
		c.media = &ram_new(r->env, 1 << 20)->media;
		is(vssd_ns_add(r->v, &c, &late), 0, "one is added while they run");
		rig_settle(p);
		rig_reap(p);
		ok(p->cmd[event].done, "Base 5.2.1 Namespace Attribute Changed");
		is(io(p, SNV_OP_READ, late, 0, b), 0, "and it can be used");
	}
	rig_close(p, "side by side, peer");
	rig_close(r, "side by side");
}

int main(void)
{
	management();
	in_flight();
	without_management();
	side_by_side();
	return done();
}
