// SPDX-License-Identifier: MIT
/*
 * Admin commands, NVMe Base 2.0 section 5: Identify, Get Log Page, features, asynchronous events, Abort, Keep
 * Alive, Format, Doorbell Buffer Config.
 */
#include "vssd_rig.h"

static uint64_t le128(const uint8_t *p)
{
	uint64_t v = 0;
	int i;

	for (i = 7; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

static bool padded(const char *field, size_t size, const char *want)
{
	size_t n = strlen(want), i;

	if (n > size || memcmp(field, want, n))
		return false;
	for (i = n; i < size; i++)
		if (field[i] != ' ')
			return false;
	return true;
}

static void identify_ctrl(void)
{
	struct rig_config g;
	struct rig *r;
	uint64_t page;
	struct snv_id_ctrl *id;

	rig_defaults(&g);
	g.c.dbbuf = true;
	g.c.sgl = true;
	r = rig_start(&g);
	page = rig_mem(r, 4096);
	is(rig_identify(r, SNV_CNS_CTRL, 0, 0, page), 0, "Base 5.17.2.1 Identify Controller");
	id = rig_ptr(r, page);
	ok(padded(id->sn, 20, "RIG0001"), "Base 5.17.2.1 SN is padded with spaces");
	ok(padded(id->mn, 40, "vssd under test"), "Base 5.17.2.1 MN");
	is(snv_le32_get(id->ver), rig_get32(r, SNV_REG_VS), "Base 5.17.2.1 VER is VS");
	is(id->cntrltype, 1, "Base 5.17.2.1 CNTRLTYPE: I/O controller");
	is(id->sqes, 0x66, "Base 5.17.2.1 SQES");
	is(id->cqes, 0x44, "Base 5.17.2.1 CQES");
	is(id->mdts, 8, "Base 5.17.2.1 MDTS");
	is(snv_le32_get(id->nn), VSSD_MAX_NS, "Base 5.17.2.1 NN");
	ok(!strncmp(id->subnqn, "nqn.", 4) && memchr(id->subnqn, 0, 256), "Base 5.17.2.1 SUBNQN: %.40s",
	   id->subnqn);
	ok(snv_le16_get(id->oacs) & SNV_OACS_FORMAT, "Base 5.17.2.1 OACS: Format");
	ok(snv_le16_get(id->oacs) & SNV_OACS_NS_MGMT, "Base 5.17.2.1 OACS: Namespace Management");
	ok(snv_le16_get(id->oacs) & SNV_OACS_DBBUF, "Base 5.17.2.1 OACS: Doorbell Buffer Config");
	ok(!(snv_le16_get(id->oacs) & (SNV_OACS_SECURITY | SNV_OACS_FIRMWARE | SNV_OACS_VIRT_MGMT)),
	   "Base 5.17.2.1 OACS: no security, firmware, virtualization");
	is(snv_le16_get(id->oncs) & 0x1a7 & ~SNV_ONCS_SAVE_FEATURES,
	   SNV_ONCS_COMPARE | SNV_ONCS_WRITE_UNCOR | SNV_ONCS_DSM | SNV_ONCS_VERIFY | SNV_ONCS_COPY,
	   "Base 5.17.2.1 ONCS: Compare, Write Uncorrectable, DSM, Verify, Copy; no reservations");
	ok(snv_le16_get(id->oncs) & SNV_ONCS_WRITE_ZEROES, "Base 5.17.2.1 ONCS: Write Zeroes");
	ok(snv_le16_get(id->oncs) & SNV_ONCS_TIMESTAMP, "Base 5.17.2.1 ONCS: Timestamp");
	ok(snv_le32_get(id->sgls) & 3, "Base 5.17.2.1 SGLS");
	ok(snv_le16_get(id->kas), "Base 5.17.2.1 KAS: Keep Alive is there");
	ok(snv_le32_get(id->oaes) & 1 << 8, "Base 5.17.2.1 OAES: namespace attribute notices");
	ok(id->elpe, "Base 5.17.2.1 ELPE: more than one error log entry");
	is(id->npss <= 31, 1, "Base 5.17.2.1 NPSS");
	ok(snv_le16_get(id->wctemp) >= 0x157 - 100 && snv_le16_get(id->cctemp) >= snv_le16_get(id->wctemp),
	   "Base 5.17.2.1 WCTEMP and CCTEMP are plausible");
	rig_close(r, "identify controller");

	rig_defaults(&g);
	g.c.dbbuf = false;
	g.c.sgl = false;
	g.no_media_create = true;
	r = rig_start(&g);
	page = rig_mem(r, 4096);
	rig_identify(r, SNV_CNS_CTRL, 0, 0, page);
	id = rig_ptr(r, page);
	ok(!(snv_le16_get(id->oacs) & SNV_OACS_DBBUF), "Base 5.17.2.1 OACS: no Doorbell Buffer Config");
	is(snv_le32_get(id->sgls) & 3, 0, "Base 5.17.2.1 SGLS: none");
	is(ADMIN(r, .opcode = SNV_ADMIN_DBBUF, .prp1 = snv_le64(page), .prp2 = snv_le64(page + 4096)),
	   SNV_SC_INVALID_OPCODE, "Base 5.8 not offered: Invalid Opcode");
	rig_close(r, "without options");
}

static void identify_others(void)
{
	struct rig_config g;
	struct rig *r, *p;
	uint64_t page, wide;
	struct snv_ns_list *list;
	struct snv_ctrl_list *ctrls;
	struct snv_id_ns *ns;
	struct vssd_ns_config more = { .nsid = 77, .lba_size = 4096 };
	uint16_t cntlid[2];
	uint32_t cns, id, seen, bad, at;
	uint8_t *d;

	rig_defaults(&g);
	r = rig_start(&g);
	p = rig_peer(r, &g);
	rig_enable(p);
	more.media = &ram_new(r->env, 1 << 20)->media;
	is(vssd_ns_add(r->v, &more, &id), 0, "a namespace 77");
	is(id, 77, "vssd_ns_add() gives the identifier asked for");
	page = rig_mem(r, 4096);
	list = rig_ptr(r, page);
	ctrls = rig_ptr(r, page);
	ns = rig_ptr(r, page);

	is(rig_identify(r, SNV_CNS_ACTIVE_NS_LIST, 0, 0, page), 0, "Base 5.17.2.3 active namespaces");
	ok(snv_le32_get(list->nsid[0]) == 1 && snv_le32_get(list->nsid[1]) == 77 && !list->nsid[2],
	   "Base 5.17.2.3 are 1 and 77");
	is(rig_identify(r, SNV_CNS_ACTIVE_NS_LIST, 1, 0, page), 0, "Base 5.17.2.3 those above 1");
	ok(snv_le32_get(list->nsid[0]) == 77 && !list->nsid[1], "Base 5.17.2.3 that is 77");
	is(rig_identify(r, SNV_CNS_ACTIVE_NS_LIST, 77, 0, page), 0, "Base 5.17.2.3 those above 77");
	ok(rig_all(r, page, 4096, 0), "Base 5.17.2.3 none");
	is(rig_identify(r, SNV_CNS_ACTIVE_NS_LIST, 0xfffffffe, 0, page), SNV_SC_INVALID_NS,
	   "Base 5.17.2.3 above FFFFFFFEh: Invalid Namespace or Format");
	is(rig_identify(r, SNV_CNS_ACTIVE_NS_LIST, 0xffffffff, 0, page), SNV_SC_INVALID_NS,
	   "Base 5.17.2.3 above FFFFFFFFh: Invalid Namespace or Format");
	is(rig_identify(r, SNV_CNS_ALLOCATED_NS_LIST, 0, 0, page), 0, "Base 5.17.2.7 allocated ones");
	ok(snv_le32_get(list->nsid[0]) == 1 && snv_le32_get(list->nsid[1]) == 77 && !list->nsid[2],
	   "Base 5.17.2.7 the same");
	is(rig_identify(r, SNV_CNS_CSI_ACTIVE_NS_LIST, 0, SNV_CSI_NVM, page), 0,
	   "Base 5.17.2.6 active ones of the NVM command set");
	ok(snv_le32_get(list->nsid[0]) == 1 && snv_le32_get(list->nsid[1]) == 77,
	   "Base 5.17.2.6 1 and 77");
	is(rig_identify(r, SNV_CNS_CSI_ACTIVE_NS_LIST, 0, SNV_CSI_ZNS, page), 0,
	   "Base 5.17.2.6 zoned ones");
	ok(rig_all(r, page, 4096, 0), "Base 5.17.2.6 there is none");

	is(rig_identify(r, SNV_CNS_NS, 1, 0, page), 0, "NVM 4.1.5.1 Identify Namespace 1");
	is(snv_le64_get(ns->nsze), 8192, "NVM 4.1.5.1 NSZE");
	is(snv_le64_get(ns->ncap), 8192, "NVM 4.1.5.1 NCAP");
	ok(snv_le64_get(ns->nuse) <= 8192, "NVM 4.1.5.1 NUSE is not above NCAP");
	is(ns->lbaf[ns->flbas & 15].ds, 9, "NVM 4.1.5.1 FLBAS names a format of 512");
	ok(ns->nlbaf >= 3, "NVM 4.1.5.1 at least four formats: 512, 4096, with and without metadata");
	for (at = seen = 0; at <= ns->nlbaf && at < 64; at++)
		seen |= (ns->lbaf[at].ds == 9 ? 1 : ns->lbaf[at].ds == 12 ? 2 : 16) <<
			(snv_le16_get(ns->lbaf[at].ms) == 8 ? 2 : 0);
	is(seen, 15, "NVM 4.1.5.1 exactly those");
	ok((ns->dpc & 7) == 7 && (ns->dpc >> 3 & 3) == 3, "NVM 4.1.5.1 DPC: types 1 - 3, first or last");
	is(ns->mc & 3, 3, "NVM 4.1.5.1 MC: extended and separate");
	is(ns->dps, 0, "NVM 4.1.5.1 DPS: none now");
	ok(ns->nmic & SNV_NMIC_SHARED, "NVM 4.1.5.1 NMIC: shared");
	is(rig_identify(r, SNV_CNS_NS, 77, 0, page), 0, "NVM 4.1.5.1 Identify Namespace 77");
	is(ns->lbaf[ns->flbas & 15].ds, 12, "NVM 4.1.5.1 blocks of 4,096");
	is(snv_le64_get(ns->nsze), 256, "NVM 4.1.5.1 NSZE");
	is(rig_identify(r, SNV_CNS_NS, 5, 0, page), 0, "Base 5.17 an inactive namespace");
	ok(rig_all(r, page, 4096, 0), "Base 5.17 reads as zeros");
	is(rig_identify(r, SNV_CNS_NS, 0, 0, page), SNV_SC_INVALID_NS,
	   "Base 5.17 NSID 0: Invalid Namespace or Format");
	is(rig_identify(r, SNV_CNS_NS, VSSD_MAX_NS + 1, 0, page), SNV_SC_INVALID_NS,
	   "Base 5.17 NSID above NN: Invalid Namespace or Format");
	is(rig_identify(r, SNV_CNS_NS, SNV_NSID_ALL, 0, page), 0,
	   "NVM 4.1.5.1 NSID FFFFFFFFh: what all have in common");
	ok(!ns->nsze && ns->nlbaf >= 3, "NVM 4.1.5.1 formats, no size");
	is(rig_identify(r, SNV_CNS_ALLOCATED_NS, 77, 0, page), 0, "Base 5.17.2.8 allocated 77");
	is(snv_le64_get(ns->nsze), 256, "Base 5.17.2.8 NSZE");
	is(rig_identify(r, SNV_CNS_ALLOCATED_NS, 5, 0, page), 0, "Base 5.17.2.8 one that isn't");
	ok(rig_all(r, page, 4096, 0), "Base 5.17.2.8 reads as zeros");
	is(rig_identify(r, SNV_CNS_CSI_NS, 1, SNV_CSI_NVM, page), 0, "Base 5.17.2.5 CSI specific, NVM");
	is(rig_identify(r, SNV_CNS_CSI_CTRL, 0, SNV_CSI_NVM, page), 0, "Base 5.17.2.5 controller, NVM");
	ok(rig_identify(r, SNV_CNS_CSI_NS, 1, SNV_CSI_KV, page) > 0,
	   "Base 5.17 a command set that isn't there is refused");

	/* Namespace identification descriptors. */
	is(rig_identify(r, SNV_CNS_NS_DESC_LIST, 1, 0, page), 0, "Base 5.17.2.4 descriptor list");
	d = rig_ptr(r, page);
	for (at = seen = bad = 0; at < 4090 && d[at + 1]; at += 4 + d[at + 1]) {
		static const uint8_t size[] = { 0, 8, 16, 16, 1 };

		if (d[at] < 1 || d[at] > 4 || d[at + 1] != size[d[at]] || (seen & 1 << d[at])) {
			bad++;
			break;
		}
		seen |= 1 << d[at];
		if (d[at] == SNV_NIDT_CSI)
			bad += d[at + 4] != SNV_CSI_NVM;
	}
	ok(!bad && seen & (1 << SNV_NIDT_CSI), "Base 5.17.2.4 well formed, with its CSI");
	ok(seen & (1 << SNV_NIDT_EUI64 | 1 << SNV_NIDT_NGUID | 1 << SNV_NIDT_UUID),
	   "Base 5.17.2.4 and a unique identifier");
	is(rig_identify(r, SNV_CNS_NS_DESC_LIST, 5, 0, page), SNV_SC_INVALID_NS,
	   "Base 5.17.2.4 of an inactive one: Invalid Namespace or Format");
	is(rig_identify(r, SNV_CNS_NS_DESC_LIST, 0, 0, page), SNV_SC_INVALID_NS,
	   "Base 5.17.2.4 of 0: Invalid Namespace or Format");

	/* Controllers. */
	rig_identify(r, SNV_CNS_CTRL, 0, 0, page);
	cntlid[0] = snv_le16_get(((struct snv_id_ctrl *)rig_ptr(r, page))->cntlid);
	ok(((struct snv_id_ctrl *)rig_ptr(r, page))->cmic & SNV_CMIC_MULTI_CTRL,
	   "Base 5.17.2.1 CMIC: a subsystem of several controllers");
	{
		uint64_t other = rig_mem(p, 4096);

		rig_identify(p, SNV_CNS_CTRL, 0, 0, other);
		cntlid[1] = snv_le16_get(((struct snv_id_ctrl *)rig_ptr(p, other))->cntlid);
	}
	ok(cntlid[0] != cntlid[1], "Base 5.17.2.1 CNTLID differs between controllers (%u, %u)", cntlid[0],
	   cntlid[1]);
	is(ADMIN(r, .opcode = SNV_ADMIN_IDENTIFY, .prp1 = snv_le64(page),
		 .cdw10 = snv_le32(SNV_CNS_CTRL_LIST)), 0, "Base 5.17.2.10 controller list");
	ok(snv_le16_get(ctrls->num) == 2 && ctrls->cntlid[0] < ctrls->cntlid[1],
	   "Base 5.17.2.10 both, in order");
	is(ADMIN(r, .opcode = SNV_ADMIN_IDENTIFY, .prp1 = snv_le64(page),
		 .cdw10 = snv_le32(SNV_CNS_CTRL_LIST |
				   (cntlid[0] < cntlid[1] ? cntlid[1] : cntlid[0]) << 16)), 0,
	   "Base 5.17.2.10 from the second on");
	is(snv_le16_get(ctrls->num), 1, "Base 5.17.2.10 that is one");
	is(ADMIN(r, .opcode = SNV_ADMIN_IDENTIFY, .nsid = snv_le32(77), .prp1 = snv_le64(page),
		 .cdw10 = snv_le32(SNV_CNS_NS_CTRL_LIST)), 0, "Base 5.17.2.9 controllers of namespace 77");
	is(snv_le16_get(ctrls->num), 2, "Base 5.17.2.9 both");
	is(rig_identify(r, SNV_CNS_CSI_LIST, 0xffff, 0, page), 0, "Base 5.17.2.20 command set list");
	is(ADMIN(r, .opcode = SNV_ADMIN_IDENTIFY, .prp1 = snv_le64(page),
		 .cdw10 = snv_le32(SNV_CNS_CSI_LIST | 0xffffu << 16)), 0,
	   "Base 5.17.2.20 command set list of this controller");
	ok(*(uint64_t *)rig_ptr(r, page) & 1, "Base 5.17.2.20 has the NVM command set");

	/* Everything else. */
	for (cns = bad = 0; cns < 256; cns++) {
		int ret;

		rig_fill(r, page, 0, 4096);
		ret = rig_identify(r, cns, 1, 0, page);
		if (ret == RIG_NO_CQE)
			bad++;
		if (cns > 0x20 && ret != SNV_SC_INVALID_FIELD)
			bad++;
	}
	is(bad, 0, "Base 5.17.1 a CNS that isn't there: Invalid Field");

	/* Data pointers of admin commands. */
	wide = rig_mem(r, 8192);
	is(ADMIN(r, .opcode = SNV_ADMIN_IDENTIFY, .prp1 = snv_le64(wide + 512),
		 .prp2 = snv_le64(wide + 4096), .cdw10 = snv_le32(SNV_CNS_CTRL)), 0,
	   "Base 4.1.1 Identify across two pages");
	rig_identify(r, SNV_CNS_CTRL, 0, 0, page);
	ok(!memcmp(rig_ptr(r, wide + 512), rig_ptr(r, page), 4096), "Base 4.1.1 whole");
	ok(rig_all(r, wide, 512, 0) && rig_all(r, wide + 4608, 3584, 0), "Base 4.1.1 and no more");
	ok(ADMIN(r, .opcode = SNV_ADMIN_IDENTIFY, .prp1 = snv_le64(wide + 512),
		 .cdw10 = snv_le32(SNV_CNS_CTRL)) > 0, "Base 4.1.1 across two pages without PRP2");
	is(ADMIN(r, .opcode = SNV_ADMIN_IDENTIFY, .prp1 = snv_le64(wide + 512),
		 .prp2 = snv_le64(wide + 4096 + 64), .cdw10 = snv_le32(SNV_CNS_CTRL)),
	   SNV_SC_PRP_INVALID_OFFSET, "Base 4.1.1 PRP2 with an offset: PRP Offset Invalid");
	is(ADMIN(r, .opcode = SNV_ADMIN_IDENTIFY, .flags = SNV_SQE_PSDT_SGL, .prp1 = snv_le64(page),
		 .cdw10 = snv_le32(SNV_CNS_CTRL)), SNV_SC_INVALID_FIELD,
	   "Base 3.3.3.1 admin commands have PRPs on PCIe: PSDT 01b is Invalid Field");
	rig_close(p, "identify peer");
	rig_close(r, "identify");
}

static int log_at(struct rig *r, uint32_t lid, uint64_t to, uint32_t bytes, uint64_t offset)
{
	return ADMIN(r, .opcode = SNV_ADMIN_GET_LOG_PAGE, .nsid = snv_le32(SNV_NSID_ALL),
		     .prp1 = snv_le64(to), .cdw10 = snv_le32(lid | (bytes / 4 - 1) << 16),
		     .cdw12 = snv_le32((uint32_t)offset), .cdw13 = snv_le32((uint32_t)(offset >> 32)));
}

static void error_log(void)
{
	struct rig *r = rig_plain();
	uint64_t page = rig_mem(r, 4096), buf = rig_mem(r, 4096);
	struct snv_error_log *log = rig_ptr(r, page);
	struct snv_smart_log *smart;
	struct snv_id_ctrl *id;
	uint64_t first;
	uint32_t i, bad = 0, entries;
	uint16_t cid;

	rig_identify(r, SNV_CNS_CTRL, 0, 0, page);
	id = rig_ptr(r, page);
	entries = id->elpe + 1u;
	rig_fill(r, page, 0, 4096);
	is(rig_log(r, SNV_LOG_ERROR, SNV_NSID_ALL, page, 64), 0, "Base 5.16.1.2 error log");
	is(snv_le64_get(log->error_count), 0, "Base 5.16.1.2 empty at first");
	is(rig_io(r, SNV_OP_READ, 1ull << 33, 1, buf, 512), SNV_SC_LBA_RANGE, "NVM 3.2.4 a failing read");
	cid = rig_last;
	is(rig_log(r, SNV_LOG_ERROR, SNV_NSID_ALL, page, 128), 0, "Base 5.16.1.2 error log");
	first = snv_le64_get(log->error_count);
	is(first, 1, "Base 5.16.1.2 error count");
	is(snv_le16_get(log->sqid), 1, "Base 5.16.1.2 SQID");
	is(snv_le16_get(log->cid), cid, "Base 5.16.1.2 CID");
	is(snv_le16_get(log->status) >> 1 & SNV_STATUS_CODE, SNV_SC_LBA_RANGE, "Base 5.16.1.2 status");
	is(snv_le64_get(log->lba), 1ull << 33, "Base 5.16.1.2 LBA");
	is(snv_le32_get(log->nsid), 1, "Base 5.16.1.2 NSID");
	is(snv_le64_get(log[1].error_count), 0, "Base 5.16.1.2 only one");
	rig_io(r, SNV_OP_WRITE_UNCOR, 100, 8, 0, 0);
	is(rig_io(r, SNV_OP_READ, 96, 8, buf, 4096), SNV_SC_READ_ERROR, "NVM 3.2.7 an unreadable block");
	rig_log(r, SNV_LOG_ERROR, SNV_NSID_ALL, page, 128);
	is(snv_le64_get(log[0].error_count), 2, "Base 5.16.1.2 the newest comes first");
	is(snv_le64_get(log[0].lba), 100, "Base 5.16.1.2 LBA: the first one that failed");
	is(snv_le64_get(log[1].error_count), 1, "Base 5.16.1.2 then the older");
	is(ADMIN(r, .opcode = 0xff), SNV_SC_INVALID_OPCODE, "an admin error");
	cid = rig_last;
	rig_log(r, SNV_LOG_ERROR, SNV_NSID_ALL, page, 64);
	ok(snv_le16_get(log->sqid) == 0 && snv_le16_get(log->cid) == cid, "Base 5.16.1.2 of the admin queue");
	for (i = 0; i < entries + 10; i++)
		rig_io(r, SNV_OP_READ, 1ull << 34, 1, buf, 512);
	rig_fill(r, page, 0, 4096);
	is(rig_log(r, SNV_LOG_ERROR, SNV_NSID_ALL, page, entries * 64 < 4096 ? entries * 64 : 4096), 0,
	   "Base 5.16.1.2 %u entries", entries);
	for (i = 0; i < entries && i < 64; i++)
		bad += snv_le64_get(log[i].error_count) != entries + 13 - i;
	is(bad, 0, "Base 5.16.1.2 the newest %u, in order", entries);
	rig_log(r, SNV_LOG_SMART, SNV_NSID_ALL, page, 512);
	smart = rig_ptr(r, page);
	is(le128(smart->num_err_log_entries), entries + 13, "Base 5.16.1.3 as many as SMART counts");
	is(le128(smart->media_errors), 1, "Base 5.16.1.3 one of them of the medium");
	rig_close(r, "error log");
}

static void smart_log(void)
{
	struct rig_config g;
	struct rig *r;
	uint64_t page, big;
	struct snv_smart_log *s, before;
	uint32_t i, temp;

	rig_defaults(&g);
	r = rig_start(&g);
	page = rig_mem(r, 4096);
	big = rig_mem(r, 1 << 20);
	s = rig_ptr(r, page);
	is(rig_log(r, SNV_LOG_SMART, SNV_NSID_ALL, page, 512), 0, "Base 5.16.1.3 SMART");
	before = *s;
	is(s->critical_warning, 0, "Base 5.16.1.3 no critical warning");
	temp = s->temperature[0] | s->temperature[1] << 8;
	ok(temp > 273 && temp < 273 + 80, "Base 5.16.1.3 a temperature (%u K)", temp);
	is(s->avail_spare, 100, "Base 5.16.1.3 available spare");
	ok(le128(s->power_cycles) >= 1, "Base 5.16.1.3 power cycles");
	is(rig_log(r, SNV_LOG_SMART, 0, page, 512), 0, "Base 5.16.1.3 NSID 0 is the controller's");
	for (i = 0; i < 3; i++)
		rig_io(r, SNV_OP_WRITE, 0, 2000, big, 2000 * 512);
	for (i = 0; i < 5; i++)
		rig_io(r, SNV_OP_READ, 0, 1000, big, 1000 * 512);
	rig_io(r, SNV_OP_COMPARE, 0, 1000, big, 1000 * 512);
	rig_io(r, SNV_OP_WRITE_ZEROES, 4000, 1000, 0, 0);
	rig_log(r, SNV_LOG_SMART, SNV_NSID_ALL, page, 512);
	is(le128(s->data_units_written) - le128(before.data_units_written), 6,
	   "Base 5.16.1.3 data units written: 6,000 of 512, by thousands");
	ok(le128(s->data_units_read) - le128(before.data_units_read) == 6,
	   "Base 5.16.1.3 data units read: Read and Compare (%llu)",
	   (unsigned long long)(le128(s->data_units_read) - le128(before.data_units_read)));
	is(le128(s->host_writes) - le128(before.host_writes), 3, "Base 5.16.1.3 host write commands");
	is(le128(s->host_reads) - le128(before.host_reads), 6,
	   "Base 5.16.1.3 host read commands: Read and Compare");
	is(rig_io(r, SNV_OP_WRITE, 0, 1, big, 512), 0, "NVM 3.2.6 one block");
	rig_log(r, SNV_LOG_SMART, SNV_NSID_ALL, page, 512);
	is(le128(s->data_units_written) - le128(before.data_units_written), 7,
	   "Base 5.16.1.3 data units are rounded up");
	is(le128(s->unsafe_shutdowns), 0, "Base 5.16.1.3 no unsafe shutdown");
	rig_disable(r);
	rig_enable(r);
	rig_create_pair(r, 1, 16);
	rig_log(r, SNV_LOG_SMART, SNV_NSID_ALL, page, 512);
	is(le128(s->host_writes) - le128(before.host_writes), 4, "Base 5.16.1.3 a reset keeps the counters");
	r->env->now += 7200ull * 1000 * MS;
	rig_log(r, SNV_LOG_SMART, SNV_NSID_ALL, page, 512);
	is(le128(s->power_on_hours) - le128(before.power_on_hours), 2, "Base 5.16.1.3 2 hours later");
	vssd_power_cut(r->v);
	rig_enable(r);
	rig_log(r, SNV_LOG_SMART, SNV_NSID_ALL, page, 512);
	is(le128(s->unsafe_shutdowns), 1, "Base 5.16.1.3 a power cut is an unsafe shutdown");
	is(le128(s->power_cycles) - le128(before.power_cycles), 1, "Base 5.16.1.3 and a power cycle");
	rig_close(r, "SMART");
}

static void other_logs(void)
{
	struct rig *r = rig_plain();
	uint64_t page = rig_mem(r, 4096), two = rig_mem(r, 8192), whole = rig_mem(r, 4096);
	struct snv_fw_slot_log *fw = rig_ptr(r, page);
	struct snv_telemetry_log *t = rig_ptr(r, page);
	struct snv_id_ctrl *id = rig_ptr(r, whole);
	uint32_t lid, bad = 0;

	is(rig_log(r, SNV_LOG_FW_SLOT, SNV_NSID_ALL, page, 512), 0, "Base 5.16.1.4 firmware slots");
	rig_identify(r, SNV_CNS_CTRL, 0, 0, whole);
	is(fw->afi & 7, 1, "Base 5.16.1.4 slot 1 is active");
	ok(!memcmp(fw->frs[0], id->fr, 8), "Base 5.16.1.4 with the revision that Identify shows");
	is(rig_log(r, SNV_LOG_CHANGED_NS, SNV_NSID_ALL, page, 4096), 0, "Base 5.16.1.5 changed namespaces");
	ok(rig_all(r, page, 4096, 0), "Base 5.16.1.5 none");
	is(rig_log(r, SNV_LOG_TELEMETRY_HOST, SNV_NSID_ALL, page, 512), 0, "Base 5.16.1.8 telemetry, host");
	ok(t->lpi == SNV_LOG_TELEMETRY_HOST && !t->dalb1 && !t->dalb2 && !t->dalb3,
	   "Base 5.16.1.8 its header, with no data blocks");
	is(rig_log(r, SNV_LOG_TELEMETRY_CTRL, SNV_NSID_ALL, page, 512), 0,
	   "Base 5.16.1.9 telemetry, controller");
	ok(t->lpi == SNV_LOG_TELEMETRY_CTRL && !t->ctrlavail, "Base 5.16.1.9 its header, no data");
	is(rig_log(r, SNV_LOG_EFFECTS, SNV_NSID_ALL, page, 4096), 0, "Base 5.16.1.6 effects");
	memcpy(rig_ptr(r, whole), rig_ptr(r, page), 4096);

	/* Parts of a page. */
	rig_fill(r, page, 0x6b, 4096);
	is(log_at(r, SNV_LOG_EFFECTS, page, 64, 1024), 0, "Base 5.16.1 64 bytes from 1,024 on");
	ok(!memcmp(rig_ptr(r, page), (char *)rig_ptr(r, whole) + 1024, 64) &&
	   rig_all(r, page + 64, 4032, 0x6b), "Base 5.16.1 these, and no more");
	is(log_at(r, SNV_LOG_EFFECTS, page, 4, 4092), 0, "Base 5.16.1 the last dword");
	is(log_at(r, SNV_LOG_EFFECTS, page, 4, 5000), SNV_SC_INVALID_FIELD,
	   "Base 5.16 an offset past the end: Invalid Field");
	is(log_at(r, SNV_LOG_EFFECTS, page, 4, 1ull << 40), SNV_SC_INVALID_FIELD,
	   "Base 5.16 an offset of 2^40: Invalid Field");
	ok(log_at(r, SNV_LOG_EFFECTS, page, 4, 2) == SNV_SC_INVALID_FIELD,
	   "Base 5.16 an offset that is no dword's: Invalid Field");
	is(ADMIN(r, .opcode = SNV_ADMIN_GET_LOG_PAGE, .nsid = snv_le32(SNV_NSID_ALL),
		 .prp1 = snv_le64(two + 2048), .prp2 = snv_le64(two + 4096),
		 .cdw10 = snv_le32(SNV_LOG_EFFECTS | 1023 << 16)), 0, "Base 4.1.1 a log across two pages");
	ok(!memcmp(rig_ptr(r, two + 2048), rig_ptr(r, whole), 4096), "Base 4.1.1 whole");
	ok(ADMIN(r, .opcode = SNV_ADMIN_GET_LOG_PAGE, .nsid = snv_le32(SNV_NSID_ALL),
		 .prp1 = snv_le64(page), .cdw10 = snv_le32(SNV_LOG_EFFECTS | 0xffffu << 16),
		 .cdw11 = snv_le32(0xffff)) > 0 || !rig_guards(r, 0),
	   "Base 5.16 16 GiB asked for: nothing outside the buffer");
	for (lid = 0; lid < 256; lid++) {
		int ret = rig_log(r, lid, SNV_NSID_ALL, page, 64);

		if (lid > 0x12 && lid != 0x81 && lid != 0xbf && ret != SNV_SC_INVALID_LOG_PAGE &&
		    ret != SNV_SC_INVALID_FIELD) {
			diag("LID %02xh: %03xh", lid, ret);
			bad++;
		}
	}
	is(bad, 0, "Base 5.16 a log that isn't there: Invalid Log Page");
	is(rig_log(r, 0xc5, SNV_NSID_ALL, page, 64), SNV_SC_INVALID_LOG_PAGE,
	   "Base 5.16 a vendor's log: Invalid Log Page");
	is(rig_log(r, SNV_LOG_CHANGED_ZONES, 1, page, 64) != 0, 1,
	   "ZNS 4.1.5 no changed zones list of a namespace without zones");
	rig_close(r, "logs");
}

static void opcodes(void)
{
	static const uint8_t known[] = {
		SNV_ADMIN_DELETE_SQ, SNV_ADMIN_CREATE_SQ, SNV_ADMIN_GET_LOG_PAGE, SNV_ADMIN_DELETE_CQ,
		SNV_ADMIN_CREATE_CQ, SNV_ADMIN_IDENTIFY, SNV_ADMIN_ABORT, SNV_ADMIN_SET_FEATURES,
		SNV_ADMIN_GET_FEATURES, SNV_ADMIN_ASYNC_EVENT, SNV_ADMIN_NS_MGMT, SNV_ADMIN_NS_ATTACH,
		SNV_ADMIN_KEEP_ALIVE, SNV_ADMIN_DBBUF, SNV_ADMIN_FORMAT,
	};
	struct rig_config g;
	struct rig *r;
	struct snv_effects_log *log;
	uint64_t page, other;
	uint32_t op, bad = 0, lies = 0;

	rig_defaults(&g);
	g.c.dbbuf = true;
	r = rig_start(&g);
	page = rig_mem(r, 4096);
	other = rig_mem(r, 4096);
	log = rig_ptr(r, page);
	is(rig_log(r, SNV_LOG_EFFECTS, SNV_NSID_ALL, page, 4096), 0, "Base 5.16.1.6 effects");
	for (op = 0; op < 256; op++) {
		bool is_known = memchr(known, (int)op, sizeof(known));
		int ret;

		if (is_known != !!(snv_le32_get(log->acs[op]) & SNV_EFFECTS_CSUPP)) {
			diag("admin opcode %02xh: effects %#x", op, snv_le32_get(log->acs[op]));
			lies++;
		}
		if (is_known)
			continue;
		ret = ADMIN(r, .opcode = (uint8_t)op, .nsid = snv_le32(1), .prp1 = snv_le64(other));
		if (ret != SNV_SC_INVALID_OPCODE || !rig_dnr(r)) {
			diag("admin opcode %02xh: %03xh", op, ret);
			bad++;
		}
	}
	is(bad, 0, "Base 4.2.3 each admin opcode that isn't there: Invalid Opcode, with DNR");
	is(lies, 0, "Base 5.16.1.6 the effects log lists exactly what there is (admin)");
	for (op = lies = 0; op < 256; op++) {
		int ret = rig_do(r, 1, SQE(.opcode = (uint8_t)op, .nsid = snv_le32(1),
					   .prp1 = snv_le64(other)));

		if (!!(snv_le32_get(log->iocs[op]) & SNV_EFFECTS_CSUPP) != (ret != SNV_SC_INVALID_OPCODE))
			lies++;
	}
	is(lies, 0, "Base 5.16.1.6 and for I/O");
	ok(snv_le32_get(log->iocs[SNV_OP_WRITE]) & SNV_EFFECTS_LBCC &&
	   !(snv_le32_get(log->iocs[SNV_OP_READ]) & SNV_EFFECTS_LBCC),
	   "Base 5.16.1.6 Write changes blocks, Read doesn't");
	ok(snv_le32_get(log->acs[SNV_ADMIN_FORMAT]) & SNV_EFFECTS_LBCC, "Base 5.16.1.6 Format does");
	rig_close(r, "opcodes");
}

static int get_sel(struct rig *r, uint32_t fid, uint32_t sel)
{
	return ADMIN(r, .opcode = SNV_ADMIN_GET_FEATURES, .cdw10 = snv_le32(fid | sel << 8));
}

static void features(void)
{
	static const struct {
		uint32_t fid, value;
	} table[] = {
		{ SNV_FEAT_ARBITRATION, 1u << 24 | 2 << 16 | 3 << 8 | 4 },
		{ SNV_FEAT_POWER_MGMT, 0 },
		{ SNV_FEAT_TEMP_THRESH, 340 },
		{ SNV_FEAT_IRQ_COALESCE, 5 << 8 | 6 },
		{ SNV_FEAT_WRITE_ATOMIC, 1 },
		{ SNV_FEAT_ASYNC_EVENT, 0x100 },
		{ SNV_FEAT_KATO, 12000 },
	};
	struct rig *r = rig_plain();
	uint64_t page = rig_mem(r, 4096);
	uint32_t fid, def, bad = 0;
	uint64_t t;
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(*table); i++) {
		fid = table[i].fid;
		is(get_sel(r, fid, 1), 0, "Base 5.15 default of feature %02xh", fid);
		def = rig_dw0(r);
		is(get_sel(r, fid, 0), 0, "Base 5.15 current value of feature %02xh", fid);
		is(rig_dw0(r), def, "Base 5.15 is the default of feature %02xh", fid);
		is(get_sel(r, fid, 3), 0, "Base 5.15 capabilities of feature %02xh", fid);
		ok(rig_dw0(r) & 4, "Base 5.15 feature %02xh is changeable", fid);
		is(rig_set_feature(r, fid, table[i].value), 0, "Base 5.27 feature %02xh is set", fid);
		is(get_sel(r, fid, 0), 0, "Base 5.15 and got");
		is(rig_dw0(r), table[i].value, "Base 5.15 as it was set");
		is(get_sel(r, fid, 1), 0, "Base 5.15 its default");
		is(rig_dw0(r), def, "Base 5.15 is what it was");
		ok(ADMIN(r, .opcode = SNV_ADMIN_SET_FEATURES, .cdw10 = snv_le32(fid | 1u << 31),
			 .cdw11 = snv_le32(def)) == SNV_SC_FEATURE_NOT_SAVEABLE,
		   "Base 5.27 SV 1: Feature Identifier Not Saveable");
		if (fid == SNV_FEAT_KATO)
			rig_set_feature(r, fid, 0);
	}
	rig_disable(r);
	rig_enable(r);
	for (i = 0; i < sizeof(table) / sizeof(*table); i++) {
		get_sel(r, table[i].fid, 1);
		def = rig_dw0(r);
		get_sel(r, table[i].fid, 0);
		is(rig_dw0(r), def, "Base 3.7.2 after a reset feature %02xh has its default", table[i].fid);
	}
	is(ADMIN(r, .opcode = SNV_ADMIN_SET_FEATURES, .nsid = snv_le32(1),
		 .cdw10 = snv_le32(SNV_FEAT_ERR_RECOVERY), .cdw11 = snv_le32(10)), 0,
	   "Base 5.27.1.4 Error Recovery, a namespace's");
	is(ADMIN(r, .opcode = SNV_ADMIN_GET_FEATURES, .nsid = snv_le32(1),
		 .cdw10 = snv_le32(SNV_FEAT_ERR_RECOVERY)), 0, "Base 5.15 is got");
	is(rig_dw0(r), 10, "Base 5.15 as it was set");
	is(rig_get_feature(r, SNV_FEAT_ERR_RECOVERY), SNV_SC_INVALID_NS,
	   "Base 5.15 without a namespace: Invalid Namespace or Format");
	is(rig_set_feature(r, SNV_FEAT_POWER_MGMT, 31), SNV_SC_INVALID_FIELD,
	   "Base 5.27.1.2 a power state above NPSS: Invalid Field");
	for (fid = 0; fid < 256; fid++) {
		int ret = rig_get_feature(r, fid), set;

		if (ret == RIG_NO_CQE)
			bad++;
		if (fid == 0 || (fid > 0x20 && fid < 0x80) || fid >= 0xc0) {
			set = rig_set_feature(r, fid, 0);
			bad += ret != SNV_SC_INVALID_FIELD || set != SNV_SC_INVALID_FIELD;
		}
	}
	is(bad, 0, "Base 5.27 a feature that isn't there: Invalid Field");

	/* Timestamp: milliseconds in the low 48 bits (Base 5.27.1.11). */
	*(uint64_t *)rig_ptr(r, page) = 0x0000123456789abcull;
	is(ADMIN(r, .opcode = SNV_ADMIN_SET_FEATURES, .prp1 = snv_le64(page),
		 .cdw10 = snv_le32(SNV_FEAT_TIMESTAMP)), 0, "Base 5.27.1.11 Timestamp is set");
	r->env->now += 5000 * MS;
	is(ADMIN(r, .opcode = SNV_ADMIN_GET_FEATURES, .prp1 = snv_le64(page),
		 .cdw10 = snv_le32(SNV_FEAT_TIMESTAMP)), 0, "Base 5.15 Timestamp is got");
	t = *(uint64_t *)rig_ptr(r, page);
	is((t & 0xffffffffffffull) - 0x123456789abcull, 5000, "Base 5.27.1.11 5 seconds later");
	is(t >> 49 & 7, 1, "Base 5.27.1.11 its origin is Set Features");
	ok(rig_all(r, page + 8, 4088, 0), "Base 5.27.1.11 8 bytes, no more");
	ok(ADMIN(r, .opcode = SNV_ADMIN_SET_FEATURES, .prp1 = snv_le64(0xdead000),
		 .cdw10 = snv_le32(SNV_FEAT_TIMESTAMP)) > 0, "Base 5.27.1.11 from memory that isn't there");

	/* Features with data: Host Behavior Support (512 bytes) and Host Identifier (8 or 16). */
	rig_fill(r, page, 0, 4096);
	*(uint8_t *)rig_ptr(r, page) = 1;
	is(ADMIN(r, .opcode = SNV_ADMIN_SET_FEATURES, .prp1 = snv_le64(page),
		 .cdw10 = snv_le32(SNV_FEAT_HOST_BEHAVIOR)), 0, "Base 5.27.1.18 Host Behavior Support");
	rig_fill(r, page, 0x7e, 4096);
	is(ADMIN(r, .opcode = SNV_ADMIN_GET_FEATURES, .prp1 = snv_le64(page),
		 .cdw10 = snv_le32(SNV_FEAT_HOST_BEHAVIOR)), 0, "Base 5.15 is got");
	ok(*(uint8_t *)rig_ptr(r, page) == 1 && rig_all(r, page + 1, 511, 0) &&
	   rig_all(r, page + 512, 3584, 0x7e), "Base 5.27.1.18 as it was set: 512 bytes, no more");
	rig_pattern(r, page, 16, 3);
	is(ADMIN(r, .opcode = SNV_ADMIN_SET_FEATURES, .prp1 = snv_le64(page),
		 .cdw10 = snv_le32(SNV_FEAT_HOST_ID), .cdw11 = snv_le32(1)), 0,
	   "Base 5.27.1.25 Host Identifier, 16 bytes");
	rig_fill(r, page, 0, 4096);
	is(ADMIN(r, .opcode = SNV_ADMIN_GET_FEATURES, .prp1 = snv_le64(page),
		 .cdw10 = snv_le32(SNV_FEAT_HOST_ID), .cdw11 = snv_le32(1)), 0, "Base 5.15 is got");
	ok(rig_pattern_is(r, page, 16, 3) && rig_all(r, page + 16, 4080, 0),
	   "Base 5.27.1.25 as it was set");
	ok(ADMIN(r, .opcode = SNV_ADMIN_SET_FEATURES, .prp1 = snv_le64(0xdead000),
		 .cdw10 = snv_le32(SNV_FEAT_HOST_ID), .cdw11 = snv_le32(1)) > 0,
	   "Base 5.27.1.25 from memory that isn't there");
	rig_close(r, "features");
}

static void async_events(void)
{
	struct rig *r = rig_plain();
	uint64_t page = rig_mem(r, 4096);
	struct snv_id_ctrl *id = rig_ptr(r, page);
	struct snv_smart_log *s = rig_ptr(r, page);
	uint32_t aerl, i, temp, done;
	uint16_t cid[300];

	rig_identify(r, SNV_CNS_CTRL, 0, 0, page);
	aerl = id->aerl + 1u;
	for (i = 0; i < aerl; i++)
		cid[i] = rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_ASYNC_EVENT));
	rig_settle(r);
	rig_reap(r);
	for (i = done = 0; i < aerl; i++)
		done += r->cmd[cid[i]].done;
	is(done, 0, "Base 5.2 %u Asynchronous Event Requests wait", aerl);
	is(ADMIN(r, .opcode = SNV_ADMIN_ASYNC_EVENT), SNV_SC_AER_LIMIT,
	   "Base 5.2 one more: Asynchronous Event Request Limit Exceeded");
	is(rig_identify(r, SNV_CNS_CTRL, 0, 0, page), 0, "Base 5.2 they hold up no other command");

	/* A threshold below the temperature (Base 5.27.1.3). */
	rig_log(r, SNV_LOG_SMART, SNV_NSID_ALL, page, 512);
	temp = s->temperature[0] | s->temperature[1] << 8;
	is(rig_set_feature(r, SNV_FEAT_ASYNC_EVENT, 0), 0, "Base 5.27.1.8 no SMART events");
	is(rig_set_feature(r, SNV_FEAT_TEMP_THRESH, temp - 10), 0, "Base 5.27.1.3 too hot");
	rig_settle(r);
	rig_reap(r);
	for (i = done = 0; i < aerl; i++)
		done += r->cmd[cid[i]].done;
	is(done, 0, "Base 5.27.1.8 none comes while they are off");
	rig_set_feature(r, SNV_FEAT_TEMP_THRESH, temp + 10);
	is(rig_set_feature(r, SNV_FEAT_ASYNC_EVENT, 2), 0, "Base 5.27.1.8 temperature events on");
	is(rig_set_feature(r, SNV_FEAT_TEMP_THRESH, temp - 10), 0, "Base 5.27.1.3 too hot");
	rig_settle(r);
	rig_reap(r);
	for (i = done = 0; i < aerl; i++)
		if (r->cmd[cid[i]].done) {
			done++;
			is(r->cmd[cid[i]].dw0, SNV_LOG_SMART << 16 | 1 << 8 | SNV_AER_SMART,
			   "Base 5.2.1 SMART, temperature threshold, log 02h");
		}
	is(done, 1, "Base 5.2 one event");
	rig_set_feature(r, SNV_FEAT_TEMP_THRESH, temp + 10);
	rig_set_feature(r, SNV_FEAT_TEMP_THRESH, temp - 10);
	rig_settle(r);
	rig_reap(r);
	for (i = done = 0; i < aerl; i++)
		done += r->cmd[cid[i]].done;
	is(done, 1, "Base 5.2 its kind is masked until the log is read");
	rig_log(r, SNV_LOG_SMART, SNV_NSID_ALL, page, 512);
	ok(s->critical_warning & 2, "Base 5.16.1.3 the log has the warning");
	rig_set_feature(r, SNV_FEAT_TEMP_THRESH, temp + 10);
	rig_log(r, SNV_LOG_SMART, SNV_NSID_ALL, page, 512);
	rig_set_feature(r, SNV_FEAT_TEMP_THRESH, temp - 10);
	rig_settle(r);
	rig_reap(r);
	for (i = done = 0; i < aerl; i++)
		done += r->cmd[cid[i]].done;
	is(done, 2, "Base 5.2 and then it comes again");

	/* Over a reset. */
	done = r->completions;
	rig_disable(r);
	rig_enable(r);
	rig_settle(r);
	rig_reap(r);
	is(r->completions, done, "Base 5.2 a reset ends them without a completion");
	for (i = 0; i < aerl; i++)
		rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_ASYNC_EVENT));
	is(ADMIN(r, .opcode = SNV_ADMIN_ASYNC_EVENT), SNV_SC_AER_LIMIT, "Base 5.2 the limit is new again");
	rig_close(r, "AER");
}

static int abort_cmd(struct rig *r, uint32_t sqid, uint16_t cid)
{
	return ADMIN(r, .opcode = SNV_ADMIN_ABORT, .cdw10 = snv_le32((uint32_t)cid << 16 | sqid));
}

static void aborts(void)
{
	struct rig *r = rig_plain();
	uint64_t buf = rig_mem(r, 4096);
	struct snv_sqe sqe = rig_rw(r, SNV_OP_READ, 0, 8);
	struct vssd_fault hang = { .action = VSSD_FAULT_HANG, .opcode = SNV_OP_READ, .count = 1 };
	uint16_t cid;
	uint32_t i, bad = 0;

	sqe.prp1 = snv_le64(buf);
	is(abort_cmd(r, 1, 0x9999), 0, "Base 5.1 Abort of a command that isn't there succeeds");
	is(rig_dw0(r) & 1, 1, "Base 5.1 and says that it aborted nothing");
	is(abort_cmd(r, 500, 1), 0, "Base 5.1 Abort in an SQ that isn't there");
	is(rig_dw0(r) & 1, 1, "Base 5.1 says the same");
	cid = rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_ASYNC_EVENT));
	rig_settle(r);
	is(abort_cmd(r, 0, cid), 0, "Base 5.1 Abort of an Asynchronous Event Request");
	is(rig_dw0(r) & 1, 0, "Base 5.1 says that it was aborted");
	is(rig_wait(r, cid), SNV_SC_ABORT_REQ, "Base 5.1 which ends: Command Abort Requested");
	is(vssd_fault_add(r->v, &hang), 0, "a command that hangs");
	cid = rig_submit(r, 1, &sqe);
	rig_settle(r);
	rig_reap(r);
	ok(!r->cmd[cid].done, "it hangs");
	is(abort_cmd(r, 1, cid), 0, "Base 5.1 Abort");
	is(rig_dw0(r) & 1, 0, "Base 5.1 aborted");
	is(rig_wait(r, cid), SNV_SC_ABORT_REQ, "Base 5.1 Command Abort Requested");
	is(abort_cmd(r, 1, cid), 0, "Base 5.1 Abort again");
	is(rig_dw0(r) & 1, 1, "Base 5.1 there is nothing left");

	/* A transfer in flight: aborted or not, it ends once, and the answer is true. */
	r->ram->async = r->ram->held = true;
	cid = rig_submit(r, 1, &sqe);
	rig_settle(r);
	for (i = 0; i < 3; i++) {
		uint16_t a = rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_ABORT,
						  .cdw10 = snv_le32((uint32_t)cid << 16 | 1)));

		rig_settle(r);
		rig_reap(r);
		if (!r->cmd[a].done) {
			r->ram->held = false;
			rig_wait(r, a);
		}
		bad += !r->cmd[a].done || (r->cmd[a].status & SNV_STATUS_CODE);
	}
	is(bad, 0, "Base 5.1 Abort of a transfer in flight has its completion");
	r->ram->held = false;
	ok(rig_wait(r, cid) != RIG_NO_CQE, "Base 5.1 and the command too, once");
	rig_fill(r, buf, 0x11, 4096);
	rig_settle(r);
	ok(rig_all(r, buf, 4096, 0x11), "Base 5.1 after which nothing is transferred");
	is(rig_io(r, SNV_OP_READ, 0, 8, buf, 4096), 0, "NVM 3.2.4 the queue goes on");
	rig_close(r, "abort");
}

static void keep_alive(void)
{
	struct rig *r = rig_plain();
	uint64_t page = rig_mem(r, 4096);
	struct snv_id_ctrl *id = rig_ptr(r, page);
	uint32_t i;

	rig_identify(r, SNV_CNS_CTRL, 0, 0, page);
	ok(snv_le16_get(id->kas) > 0, "Base 3.9 KAS");
	r->env->freeze = true;
	is(rig_get_feature(r, SNV_FEAT_KATO), 0, "Base 5.27.1.12 KATO");
	is(rig_dw0(r), 0, "Base 5.27.1.12 is 0 at first");
	r->env->now += 1000000 * MS;
	rig_settle(r);
	is(rig_get32(r, SNV_REG_CSTS), SNV_CSTS_RDY, "Base 3.9 then nothing happens");
	is(ADMIN(r, .opcode = SNV_ADMIN_KEEP_ALIVE), 0, "Base 5.18 Keep Alive");
	is(rig_set_feature(r, SNV_FEAT_KATO, 2000), 0, "Base 5.27.1.12 KATO 2 seconds");
	for (i = 0; i < 10; i++) {
		r->env->now += 1500 * MS;
		rig_settle(r);
		if (ADMIN(r, .opcode = SNV_ADMIN_KEEP_ALIVE))
			break;
	}
	is(i, 10, "Base 3.9 15 seconds of Keep Alive");
	is(rig_get32(r, SNV_REG_CSTS), SNV_CSTS_RDY, "Base 3.9 all is well");
	r->env->now += 5000 * MS;
	rig_settle(r);
	ok(rig_get32(r, SNV_REG_CSTS) & SNV_CSTS_CFS, "Base 3.9 without it: CSTS.CFS");
	r->env->freeze = false;
	rig_disable(r);
	ok(rig_enable(r), "Base 3.7.2 a reset helps");
	r->env->now += 5000 * MS;
	rig_settle(r);
	is(rig_get32(r, SNV_REG_CSTS), SNV_CSTS_RDY, "Base 5.27.1.12 and sets KATO to 0");
	rig_close(r, "keep alive");
}

static int format(struct rig *r, uint32_t nsid, uint32_t cdw10)
{
	return ADMIN(r, .opcode = SNV_ADMIN_FORMAT, .nsid = snv_le32(nsid), .cdw10 = snv_le32(cdw10));
}

/* Index of the format of 1 << @ds bytes with @ms bytes of metadata. */
static uint32_t lbaf(struct rig *r, uint32_t ds, uint32_t ms)
{
	uint64_t page = rig_mem(r, 4096);
	struct snv_id_ns *ns = rig_ptr(r, page);
	uint32_t i;

	rig_identify(r, SNV_CNS_NS, SNV_NSID_ALL, 0, page);
	for (i = 0; i <= ns->nlbaf; i++)
		if (ns->lbaf[i].ds == ds && snv_le16_get(ns->lbaf[i].ms) == ms)
			return i;
	return 99;
}

static void formats(void)
{
	struct rig *r = rig_plain();
	uint64_t page = rig_mem(r, 4096), buf = rig_mem(r, 8192);
	struct snv_id_ns *ns = rig_ptr(r, page);
	uint32_t f512 = lbaf(r, 9, 0), f4096 = lbaf(r, 12, 0), pi512 = lbaf(r, 9, 8);
	struct snv_sqe sqe;
	uint16_t cid, fmt;

	rig_fill(r, buf, 0xfe, 8192);
	is(rig_io(r, SNV_OP_WRITE, 0, 8, buf, 4096), 0, "NVM 3.2.6 a write");
	is(format(r, 1, f4096), 0, "Base 5.14 Format to 4,096");
	is(rig_identify(r, SNV_CNS_NS, 1, 0, page), 0, "NVM 4.1.5.1 Identify Namespace");
	is(ns->flbas & 15, f4096, "Base 5.14 FLBAS is the new one");
	is(snv_le64_get(ns->nsze), 1024, "Base 5.14 NSZE in new blocks");
	is(rig_io(r, SNV_OP_READ, 1023, 1, buf, 4096), 0, "NVM 3.2.4 the last block");
	is(rig_io(r, SNV_OP_READ, 1024, 1, buf, 4096), SNV_SC_LBA_RANGE, "NVM 3.2.4 and past it");
	is(rig_io(r, SNV_OP_READ, 0, 1, buf, 4096), 0, "NVM 3.2.4 the first block");
	ok(rig_all(r, buf, 4096, 0), "Base 5.14 is empty");
	rig_fill(r, buf, 0xfe, 4096);
	rig_io(r, SNV_OP_WRITE, 5, 1, buf, 4096);
	is(format(r, 1, f512 | 1 << 9), 0, "Base 5.14 Format to 512 with user data erase");
	is(rig_io(r, SNV_OP_READ, 40, 8, buf, 4096), 0, "NVM 3.2.4 where data were");
	ok(rig_all(r, buf, 4096, 0), "Base 5.14 they are erased");
	is(format(r, 1, pi512 | 1 << 5 | 1 << 4), 0, "Base 5.14 PI type 1, extended");
	rig_identify(r, SNV_CNS_NS, 1, 0, page);
	is(ns->dps & 7, 1, "Base 5.14 DPS");
	ok(ns->flbas & SNV_FLBAS_EXTENDED, "Base 5.14 FLBAS bit 4");
	is(rig_io(r, SNV_OP_WRITE_ZEROES, 0, 1, 0, 0), 0, "NVM 3.2.8 a command there");
	is(format(r, 1, f512), 0, "Base 5.14 back");
	is(format(r, 1, 15), SNV_SC_INVALID_FORMAT, "Base 5.14 LBAF 15: Invalid Format");
	is(format(r, 1, f512 | 1 << 5), SNV_SC_INVALID_FORMAT,
	   "Base 5.14 PI without metadata: Invalid Format");
	ok(format(r, 1, pi512 | 7 << 5) > 0, "Base 5.14 PI type 7 is refused");
	ok(format(r, 1, f512 | 7 << 9) > 0, "Base 5.14 SES 7 is refused");
	is(format(r, 0, f512), SNV_SC_INVALID_NS, "Base 5.14 NSID 0: Invalid Namespace or Format");
	is(format(r, 9, f512), SNV_SC_INVALID_FIELD, "Base 3.2.1.4 inactive NSID 9: Invalid Field");
	is(format(r, 999, f512), SNV_SC_INVALID_NS, "Base 3.2.1.3 NSID 999: Invalid Namespace or Format");
	is(format(r, SNV_NSID_ALL, f4096), 0, "Base 5.14 all namespaces");
	rig_identify(r, SNV_CNS_NS, 1, 0, page);
	is(ns->flbas & 15, f4096, "Base 5.14 done");

	/* With a transfer in flight and one coming: none of them is lost. */
	r->ram->async = r->ram->held = true;
	sqe = rig_rw(r, SNV_OP_READ, 0, 1);
	sqe.prp1 = snv_le64(buf);
	cid = rig_submit(r, 1, &sqe);
	rig_settle(r);
	fmt = rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_FORMAT, .nsid = snv_le32(1),
				   .cdw10 = snv_le32(f512)));
	rig_settle(r);
	rig_reap(r);
	ok(!r->cmd[fmt].done || r->cmd[cid].done, "Base 5.14 Format waits for a read in flight");
	sqe.prp1 = snv_le64(buf + 4096);
	{
		uint16_t late = rig_submit(r, 1, &sqe);

		rig_settle(r);
		r->ram->held = false;
		ok(rig_wait(r, cid) != RIG_NO_CQE, "Base 5.14 the read ends");
		is(rig_wait(r, fmt), 0, "Base 5.14 Format ends");
		ok(rig_wait(r, late) != RIG_NO_CQE, "Base 5.14 so does the one that came meanwhile");
	}
	rig_close(r, "format");
}

/* The host of Base annex B: shadow first, MMIO when EventIdx asks for it. */
static bool dbb_flood(struct rig *r, uint64_t shadow, uint64_t event, uint32_t qid, uint32_t n,
		      uint32_t *mmio)
{
	uint32_t stride = 4u << r->cfg.dstrd, done = 0, idle = 0, sent = 0, first = r->completions;
	uint32_t *sh = rig_ptr(r, shadow + 2 * qid * stride), *ei = rig_ptr(r, event + 2 * qid * stride);
	uint32_t *csh = rig_ptr(r, shadow + (2 * qid + 1) * stride);
	uint32_t *cei = rig_ptr(r, event + (2 * qid + 1) * stride);
	struct rig_cq *cq = &r->cq[qid];
	struct rig_sq *sq = &r->sq[qid];

	for (; done < n && idle < 1000; ) {
		uint16_t old = (uint16_t)*sh, e, chead;

		r->no_ring = true;
		while (sent < n && rig_room(r, qid) > sq->depth / 2) {
			rig_submit(r, qid, SQE(.opcode = SNV_OP_FLUSH, .nsid = snv_le32(1)));
			sent++;
		}
		r->no_ring = false;
		__atomic_store_n(sh, sq->tail, __ATOMIC_SEQ_CST);
		e = (uint16_t)__atomic_load_n(ei, __ATOMIC_SEQ_CST);
		if ((uint16_t)(sq->tail - e - 1) < (uint16_t)(sq->tail - old)) {
			rig_ring(r, qid);
			++*mmio;
		}
		idle = rig_step(r) ? 0 : idle + 1;
		/* Take the completions without ringing, then give the head as the tail above. */
		chead = (uint16_t)cq->head;
		for (;;) {
			struct snv_cqe *c = rig_ptr(r, cq->addr + cq->head * 16ull);
			uint32_t dw3 = snv_cqe_load_dw3(&c->dw3);

			if (!!(dw3 & SNV_CQE_DW3_P) != cq->phase)
				break;
			sq->head = snv_le32_get(c->dw2) & 0xffff;
			r->cmd[dw3 & 0xffff].busy = false;
			r->completions++;
			if (++cq->head == cq->depth) {
				cq->head = 0;
				cq->phase ^= 1;
			}
		}
		if (chead != cq->head) {
			__atomic_store_n(csh, cq->head, __ATOMIC_SEQ_CST);
			e = (uint16_t)__atomic_load_n(cei, __ATOMIC_SEQ_CST);
			if ((uint16_t)(cq->head - e - 1) < (uint16_t)(cq->head - chead))
				rig_doorbell(r, qid, true, cq->head);
		}
		done = r->completions - first;
	}
	return done == n;
}

static void shadow_doorbells(uint32_t dstrd)
{
	struct rig_config g;
	struct rig *r;
	uint64_t shadow, event;
	uint32_t mmio = 0;

	rig_defaults(&g);
	g.c.dbbuf = true;
	g.c.dstrd = dstrd;
	g.c.queues = 8;
	r = rig_start(&g);
	shadow = rig_mem(r, 4096);
	event = rig_mem(r, 4096);
	ok(ADMIN(r, .opcode = SNV_ADMIN_DBBUF, .prp1 = snv_le64(shadow + 8), .prp2 = snv_le64(event)) > 0,
	   "Base 5.8 PRP1 with an offset is refused");
	ok(ADMIN(r, .opcode = SNV_ADMIN_DBBUF, .prp1 = snv_le64(shadow), .prp2 = snv_le64(event + 4)) > 0,
	   "Base 5.8 PRP2 with an offset is refused");
	ok(ADMIN(r, .opcode = SNV_ADMIN_DBBUF, .prp1 = snv_le64(0xdead000), .prp2 = snv_le64(event)) > 0,
	   "Base 5.8 memory that isn't there is refused");
	is(rig_io(r, SNV_OP_READ, 0, 1, rig_mem(r, 4096), 512), 0, "Base 5.8 doorbells are as before");
	/* Queue 1 exists already: its shadow starts where the doorbells are. */
	((uint32_t *)rig_ptr(r, shadow))[2 << dstrd] = r->sq[1].tail;
	((uint32_t *)rig_ptr(r, shadow))[3 << dstrd] = r->cq[1].head;
	is(ADMIN(r, .opcode = SNV_ADMIN_DBBUF, .prp1 = snv_le64(shadow), .prp2 = snv_le64(event)), 0,
	   "Base 5.8 Doorbell Buffer Config, DSTRD %u", dstrd);
	is(rig_identify(r, SNV_CNS_CTRL, 0, 0, rig_mem(r, 4096)), 0,
	   "Base 5.8 the admin queue by MMIO, as Linux has it");
	is(rig_create_pair(r, 2, 5), 0, "Base 5.4, 5.5 another pair");
	ok(dbb_flood(r, shadow, event, 1, 700, &mmio), "Base annex B 700 commands, queue made before");
	mmio = 0;
	ok(dbb_flood(r, shadow, event, 2, 700, &mmio), "Base annex B 700 commands, queue made after");
	diag("%u MMIO doorbells", mmio);
	rig_disable(r);
	memset(rig_ptr(r, shadow), 0xff, 4096);
	memset(rig_ptr(r, event), 0x12, 4096);
	ok(rig_enable(r) && !rig_create_pair(r, 1, 8), "Base 3.7.2 a reset");
	is(rig_io(r, SNV_OP_READ, 0, 1, rig_mem(r, 4096), 512), 0,
	   "Base 3.7.2 drops the shadow doorbells: MMIO alone works");
	ok(rig_all(r, event, 4096, 0x12), "Base 3.7.2 and the controller doesn't write EventIdx");
	rig_close(r, "DBBUF");
}

/* Dwords full of nonsense for each admin opcode (but queue creation, which would be taken). */
static void nonsense(void)
{
	struct rig_config g;
	struct rig *r;
	uint64_t a;
	uint32_t op, k, n, none = 0, rnd = 7;

	rig_defaults(&g);
	g.c.dbbuf = true;
	r = rig_start(&g);
	a = rig_mem(r, 4096);
	for (op = 0; op < 256; op++)
		for (n = 0; n < 64; n++) {
			struct snv_sqe sqe = { .opcode = (uint8_t)op, .nsid = snv_le32(n & 1 ? 1 : ~0u),
					       .prp1 = snv_le64(a) };

			if (op == SNV_ADMIN_ASYNC_EVENT || op == SNV_ADMIN_CREATE_CQ ||
			    op == SNV_ADMIN_CREATE_SQ || op == SNV_ADMIN_DBBUF)
				continue;
			for (k = 10; k < 16; k++) {
				rnd = rnd * 1664525u + 1013904223u;
				((uint32_t *)&sqe)[k] = rnd >> (rnd >> 27);
			}
			/* Not a keep-alive time of a millisecond. */
			if (op == SNV_ADMIN_SET_FEATURES && (snv_le32_get(sqe.cdw10) & 0xff) == SNV_FEAT_KATO)
				continue;
			if (op == SNV_ADMIN_DELETE_SQ || op == SNV_ADMIN_DELETE_CQ)
				sqe.cdw10 = snv_le32(snv_le32_get(sqe.cdw10) | 0x8000);
			none += rig_do(r, 0, &sqe) == RIG_NO_CQE;
		}
	is(none, 0, "Base 3.3.3 admin commands full of nonsense: each has its completion");
	r->ram = NULL;		/* its namespace may have been deleted */
	is(rig_get32(r, SNV_REG_CSTS), SNV_CSTS_RDY, "Base 3.1.3.6 without a fatal status");
	rig_close(r, "nonsense");
}

int main(void)
{
	identify_ctrl();
	identify_others();
	error_log();
	smart_log();
	other_logs();
	opcodes();
	features();
	async_events();
	aborts();
	keep_alive();
	formats();
	shadow_doorbells(0);
	shadow_doorbells(3);
	nonsense();
	return done();
}
