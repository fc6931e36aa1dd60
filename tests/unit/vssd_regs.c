// SPDX-License-Identifier: MIT
/*
 * Controller registers: NVMe Base 2.0 section 3.1.3, initialization 3.5.1, shutdown 3.6.1, resets 3.7,
 * and what a home of vssd may ask wrongly.
 */
#include "vssd_rig.h"

static void capabilities(void)
{
	static const struct {
		uint32_t queues, mqes, to, dstrd, mpsmin, mpsmax;
		bool cqr, wrr;
		uint64_t cmb;
	} table[] = {
		{ 0, 0, 0, 0, 0, 0, false, false, 0 },
		{ 1, 2, 1, 1, 0, 4, true, false, 0 },
		{ 3, 1000, 255, 3, 1, 1, false, true, 65536 },
		{ 1024, 65536, 20, 0, 0, 15, true, true, 4096 },
		{ 2, 64, 7, 10, 0, 0, false, true, 0 },
	};
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(*table); i++) {
		struct rig_config g;
		struct rig *r;
		uint64_t cap;

		rig_defaults(&g);
		g.c.queues = table[i].queues;
		g.c.mqes = table[i].mqes;
		g.c.to = table[i].to;
		g.c.dstrd = table[i].dstrd;
		g.c.mpsmin = table[i].mpsmin;
		g.c.mpsmax = table[i].mpsmax;
		g.c.cqr = table[i].cqr;
		g.c.wrr = table[i].wrr;
		g.c.cmb_size = table[i].cmb;
		g.cc = table[i].mpsmin << SNV_CC_MPS_SHIFT;
		r = rig_open(&g);
		cap = rig_get64(r, SNV_REG_CAP);
		is(SNV_CAP_MQES(cap), table[i].mqes ? table[i].mqes - 1 : 65535,
		   "Base 3.1.3.1 CAP.MQES is zero-based (set %zu)", i);
		is(SNV_CAP_CQR(cap), table[i].cqr, "Base 3.1.3.1 CAP.CQR (set %zu)", i);
		is(SNV_CAP_AMS(cap), table[i].wrr ? SNV_CAP_AMS_WRRU : 0,
		   "Base 3.1.3.1 CAP.AMS (set %zu)", i);
		is(SNV_CAP_TO(cap), table[i].to ? table[i].to : 20, "Base 3.1.3.1 CAP.TO (set %zu)", i);
		is(SNV_CAP_DSTRD(cap), table[i].dstrd, "Base 3.1.3.1 CAP.DSTRD (set %zu)", i);
		is(SNV_CAP_MPSMIN(cap), table[i].mpsmin, "Base 3.1.3.1 CAP.MPSMIN (set %zu)", i);
		is(SNV_CAP_MPSMAX(cap), table[i].mpsmax, "Base 3.1.3.1 CAP.MPSMAX (set %zu)", i);
		is(SNV_CAP_CMBS(cap), table[i].cmb != 0, "Base 3.1.3.1 CAP.CMBS (set %zu)", i);
		is(SNV_CAP_NSSRS(cap), 1, "Base 3.1.3.1 CAP.NSSRS (set %zu)", i);
		ok(SNV_CAP_CSS(cap) & SNV_CAP_CSS_NVM, "Base 3.1.3.1 CAP.CSS: NVM (set %zu)", i);
		ok(SNV_CAP_CSS(cap) & SNV_CAP_CSS_CSI, "Base 3.1.3.1 CAP.CSS: I/O command sets "
		   "(set %zu)", i);
		is(SNV_CAP_PMRS(cap) | SNV_CAP_BPS(cap), 0,
		   "Base 3.1.3.1 no persistent memory region, no boot partitions (set %zu)", i);
		ok(vssd_doorbell_bytes(&g.c) % 4096 == 0 && vssd_doorbell_bytes(&g.c) >=
		   2 * (1 + (table[i].queues ? table[i].queues : 64ull)) * (4ull << table[i].dstrd),
		   "PCIe 3.1.2 room for each doorbell (set %zu)", i);
		ok(rig_enable(r), "Base 3.5.1 the controller becomes ready (set %zu)", i);
		is(rig_identify(r, SNV_CNS_CTRL, 0, 0, rig_mem(r, 4096)), 0,
		   "Base 5.17 Identify Controller (set %zu)", i);
		is(rig_create_pair(r, 1, 2), 0, "Base 5.4, 5.5 a queue pair of depth 2 (set %zu)", i);
		is(rig_io(r, SNV_OP_READ, 0, 8, rig_mem(r, 4096), 4096), 0,
		   "NVM 3.2.4 a read (set %zu)", i);
		rig_close(r, "CAP");
	}
}

static void accesses(void)
{
	struct rig_config g;
	struct rig *r;
	uint64_t cap;

	rig_defaults(&g);
	r = rig_open(&g);
	cap = rig_get64(r, SNV_REG_CAP);
	ok(rig_get32(r, SNV_REG_VS) >= SNV_VS(1, 4, 0), "Base 3.1.3.2 VS is 1.4 or newer");
	is(rig_get32(r, SNV_REG_CAP), (uint32_t)cap, "PCIe 3.1 CAP by dwords: low");
	is(rig_get32(r, SNV_REG_CAP + 4), cap >> 32, "PCIe 3.1 CAP by dwords: high");
	is(rig_get32(r, SNV_REG_CC), 0, "Base 3.1.3.5 CC is 0 at power-on");
	is(rig_get32(r, SNV_REG_CSTS), 0, "Base 3.1.3.6 CSTS is 0 at power-on");
	rig_set64(r, SNV_REG_CAP, ~cap);
	is(rig_get64(r, SNV_REG_CAP), cap, "Base 3.1.3.1 CAP is read-only");
	rig_set32(r, SNV_REG_VS, 0);
	ok(rig_get32(r, SNV_REG_VS), "Base 3.1.3.2 VS is read-only");
	rig_set32(r, SNV_REG_CSTS, ~0u);
	is(rig_get32(r, SNV_REG_CSTS), 0, "Base 3.1.3.6 CSTS is not written");
	is(rig_get32(r, SNV_REG_NSSR), 0, "Base 3.1.3.7 NSSR reads as 0");
	is(rig_get32(r, 0x18), 0, "Base 3.1.3 the reserved register 18h reads as 0");
	is(rig_get64(r, SNV_REG_CMBLOC), 0, "Base 3.1.3.11 no controller memory buffer: CMBLOC and "
	   "CMBSZ are 0");
	is(vssd_reg_read(r->c, 2, 4), ~0ull >> 32 | (vssd_reg_read(r->c, 2, 4) & ~0ull << 32),
	   "PCIe 3.1 an unaligned read is all ones");
	is((uint16_t)vssd_reg_read(r->c, 0, 2), 0xffff, "PCIe 3.1 a read of 2 bytes is all ones");
	is(vssd_reg_read(r->c, 4, 8), ~0ull, "PCIe 3.1 8 bytes at 4 are all ones");
	vssd_reg_write(r->c, SNV_REG_CC, 1, 2);
	vssd_reg_write(r->c, SNV_REG_CC + 1, 1, 4);
	is(rig_get32(r, SNV_REG_CC), 0, "PCIe 3.1 a malformed store is ignored");
	rig_set64(r, SNV_REG_ASQ, 0x123456789000ull);
	is(rig_get64(r, SNV_REG_ASQ), 0x123456789000ull, "Base 3.1.3.9 ASQ by 8 bytes");
	rig_set32(r, SNV_REG_ACQ, 0x89abc000);
	rig_set32(r, SNV_REG_ACQ + 4, 0x4567);
	is(rig_get64(r, SNV_REG_ACQ), 0x456789abc000ull, "Base 3.1.3.10 ACQ by dwords");
	rig_set32(r, SNV_REG_AQA, 0x001f003f);
	is(rig_get32(r, SNV_REG_AQA), 0x001f003f, "Base 3.1.3.8 AQA keeps both sizes");
	rig_set32(r, 0xfffffffc, 1);
	(void)vssd_reg_read(r->c, 0xfffffff8, 8);
	(void)vssd_reg_read(r->c, 0xfff, 4);
	(void)vssd_reg_read(r->c, 8, 0);
	ok(1, "PCIe 3.1 accesses far outside do nothing");
	rig_close(r, "accesses");
}

static void enable_and_disable(void)
{
	struct rig_config g;
	struct rig *r;
	uint64_t t;

	rig_defaults(&g);
	g.c.ready_ns = 500 * MS;
	r = rig_open(&g);
	r->env->freeze = true;
	rig_set32(r, SNV_REG_AQA, 0x001f001f);
	rig_set64(r, SNV_REG_ASQ, rig_mem(r, 32 * 64));
	rig_set64(r, SNV_REG_ACQ, rig_mem(r, 32 * 16));
	rig_set32(r, SNV_REG_CC, SNV_CC_EN | 6 << 16 | 4 << 20);
	rig_settle(r);
	is(rig_get32(r, SNV_REG_CSTS), 0, "Base 3.1.3.6 CSTS.RDY is 0 while it takes its time");
	r->env->now += 499 * MS;
	rig_settle(r);
	is(rig_get32(r, SNV_REG_CSTS), 0, "Base 3.1.3.6 CSTS.RDY is still 0 just before");
	r->env->now += 2 * MS;
	rig_settle(r);
	is(rig_get32(r, SNV_REG_CSTS), SNV_CSTS_RDY, "Base 3.1.3.5 CC.EN 0->1 sets RDY");
	is(rig_get32(r, SNV_REG_CC), SNV_CC_EN | 6 << 16 | 4 << 20, "Base 3.1.3.5 CC reads back");
	rig_set32(r, SNV_REG_CC, 6 << 16 | 4 << 20);
	rig_settle(r);
	is(rig_get32(r, SNV_REG_CSTS) & SNV_CSTS_RDY, SNV_CSTS_RDY,
	   "Base 3.1.3.5 RDY stays 1 while the reset takes its time");
	r->env->now += 501 * MS;
	rig_settle(r);
	is(rig_get32(r, SNV_REG_CSTS), 0, "Base 3.1.3.5 CC.EN 1->0 clears RDY");
	is(rig_get32(r, SNV_REG_AQA), 0x001f001f, "Base 3.7.2 a controller reset keeps AQA");
	ok(rig_get64(r, SNV_REG_ASQ) && rig_get64(r, SNV_REG_ACQ),
	   "Base 3.7.2 a controller reset keeps ASQ and ACQ");

	r->env->freeze = false;
	t = r->env->now;
	ok(rig_enable(r), "Base 3.5.1 enabled again");
	ok(r->env->now - t >= 500 * MS && r->env->now - t < 510 * MS,
	   "vssd_next_due() tells when RDY changes");
	rig_set32(r, SNV_REG_CC, 0);
	rig_set32(r, SNV_REG_CC, SNV_CC_EN | 6 << 16 | 4 << 20);
	rig_csts(r, SNV_CSTS_RDY, SNV_CSTS_RDY);
	ok(rig_disable(r), "Base 3.1.3.5 EN set again before RDY cleared: the host broke the rule, "
	   "but a reset still works");
	ok(rig_enable(r) && !rig_identify(r, SNV_CNS_CTRL, 0, 0, rig_mem(r, 4096)),
	   "Base 3.5.1 and it works again");
	rig_close(r, "enable");
}

static void admin_queue_at_each_enable(void)
{
	struct rig_config g;
	struct rig *r;
	uint64_t asq, data;
	uint32_t i, done_before;
	struct snv_sqe sqe;

	rig_defaults(&g);
	r = rig_open(&g);
	data = rig_mem(r, 4096);
	ok(rig_enable(r), "Base 3.5.1 enabled");
	for (i = 0; i < 5; i++)
		rig_identify(r, SNV_CNS_CTRL, 0, 0, data);
	asq = r->sq[0].addr;
	ok(rig_disable(r), "Base 3.7.2 reset");
	rig_fill(r, data, 0, 4096);
	done_before = r->completions;
	ok(rig_enable(r), "Base 3.5.1 enabled with the same AQA, ASQ and ACQ");
	is(r->sq[0].addr, asq, "(the same address)");
	rig_settle(r);
	rig_reap(r);
	is(r->completions, done_before, "Base 3.7.2 stale admin entries are not replayed");
	ok(rig_all(r, data, 4096, 0), "Base 3.7.2 nor their data written");
	is(rig_identify(r, SNV_CNS_CTRL, 0, 0, data), 0, "Base 3.5.1 the first command after it");
	ok(!rig_all(r, data, 4096, 0), "Base 5.17 and it has data");

	/* The same with other memory and another size. */
	rig_disable(r);
	r->sq[0].addr = 0;
	r->admin_depth = 3;
	ok(rig_enable(r), "Base 3.1.3.8 enabled with admin queues of 3 elsewhere");
	for (i = 0; i < 20; i++)
		if (rig_identify(r, SNV_CNS_CTRL, 0, 0, data))
			break;
	is(i, 20, "Base 3.1.3.8 20 commands through a queue of 3 entries");

	rig_disable(r);
	r->sq[0].addr = 0;
	r->admin_depth = 4096;
	ok(rig_enable(r), "Base 3.1.3.8 enabled with admin queues of 4,096");
	for (i = 0; i < 4100; i++)
		if (rig_identify(r, SNV_CNS_CTRL, 0, 0, data))
			break;
	is(i, 4100, "Base 3.1.3.8 more commands than the largest admin queue has entries");

	/* Doorbells rung while disabled mean nothing. */
	rig_disable(r);
	memset(rig_ptr(r, r->sq[0].addr), 0, 4096);
	rig_doorbell(r, 0, false, 7);
	rig_doorbell(r, 1, false, 3);
	rig_settle(r);
	done_before = r->completions;
	ok(rig_enable(r), "Base 3.5.1 enabled after doorbells were rung while disabled");
	rig_settle(r);
	rig_reap(r);
	is(r->completions, done_before, "Base 3.7.2 they are forgotten");
	sqe = (struct snv_sqe){ .opcode = SNV_ADMIN_IDENTIFY, .prp1 = snv_le64(data),
				.cdw10 = snv_le32(SNV_CNS_CTRL) };
	is(rig_do(r, 0, &sqe), 0, "Base 3.5.1 and commands run");
	rig_close(r, "admin queue");
}

static void bad_enable(void)
{
	static const struct {
		uint32_t aqa, cc;
		bool asq, acq;
		const char *what;
	} table[] = {
		{ 0x001f001f, 6 << 16 | 4 << 20, false, true, "ASQ in unmapped memory" },
		{ 0x001f001f, 6 << 16 | 4 << 20, true, false, "ACQ in unmapped memory" },
		{ 0x00000000, 6 << 16 | 4 << 20, true, true, "AQA of one entry each" },
		{ 0x0fff0fff, 6 << 16 | 4 << 20, true, true, "admin queues past the mapped memory" },
		{ 0x001f001f, 6 << 16 | 4 << 20 | 15 << 7, true, true, "CC.MPS above MPSMAX" },
		{ 0x001f001f, 6 << 16 | 4 << 20 | 3 << 11, true, true, "CC.AMS not offered" },
		{ 0x001f001f, 6 << 16 | 4 << 20 | 3 << 4, true, true, "CC.CSS reserved" },
		{ 0x001f001f, 15u << 16 | 15u << 20, true, true, "CC.IOSQES and IOCQES wrong" },
		{ 0xffffffff, 0x00fffff0, true, true, "all ones" },
	};
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(*table); i++) {
		struct rig_config g;
		struct rig *r;
		uint32_t k;

		rig_defaults(&g);
		r = rig_open(&g);
		rig_set32(r, SNV_REG_AQA, table[i].aqa);
		rig_set64(r, SNV_REG_ASQ, table[i].asq ? rig_mem(r, 4096) : 0xdead000);
		rig_set64(r, SNV_REG_ACQ, table[i].acq ? rig_mem(r, 4096) : 0xdeae000);
		rig_set32(r, SNV_REG_CC, table[i].cc | SNV_CC_EN);
		for (k = 0; k < 100; k++)
			rig_step(r);
		rig_doorbell(r, 0, false, 3);
		for (k = 0; k < 100; k++)
			rig_step(r);
		diag("%s: CSTS %#x", table[i].what, rig_get32(r, SNV_REG_CSTS));
		rig_set32(r, SNV_REG_CC, 0);
		ok(rig_csts(r, SNV_CSTS_RDY | SNV_CSTS_CFS, 0),
		   "Base 3.7.2 a reset helps after %s", table[i].what);
		ok(rig_enable(r) && !rig_identify(r, SNV_CNS_CTRL, 0, 0, rig_mem(r, 4096)),
		   "Base 3.5.1 and then the controller works");
		rig_close(r, table[i].what);
	}
}

static void fatal(void)
{
	struct rig *r = rig_plain();
	uint64_t asq = r->sq[0].addr;

	rig_set_mapped(r, asq, false);
	rig_doorbell(r, 0, false, 9);
	rig_settle(r);
	ok(rig_get32(r, SNV_REG_CSTS) & SNV_CSTS_CFS, "Base 3.1.3.6 an admin queue that cannot be "
	   "fetched sets CFS");
	rig_set_mapped(r, asq, true);
	rig_set32(r, SNV_REG_CC, 0);
	ok(rig_csts(r, SNV_CSTS_RDY | SNV_CSTS_CFS, 0), "Base 3.1.3.6 a controller reset clears CFS");
	ok(rig_enable(r) && !rig_create_pair(r, 1, 8) &&
	   !rig_io(r, SNV_OP_READ, 0, 1, rig_mem(r, 4096), 512), "Base 3.5.1 and then it works");
	rig_close(r, "CFS");
}

static void shutdown_(uint32_t shn, bool with_io)
{
	struct rig_config g;
	struct rig *r;
	uint64_t buf;
	uint32_t flushes;

	rig_defaults(&g);
	g.c.shutdown_ns = 3000 * MS;
	g.volatile_cache = true;
	r = rig_start(&g);
	buf = rig_mem(r, 4096);
	is(rig_io(r, SNV_OP_WRITE, 0, 8, buf, 4096), 0, "NVM 3.2.6 a write");
	flushes = r->ram->flushes;
	if (with_io) {
		struct snv_sqe sqe = rig_rw(r, SNV_OP_READ, 0, 8);

		sqe.prp1 = snv_le64(buf);
		r->ram->async = true;
		r->ram->polls = 3;
		rig_submit(r, 1, &sqe);
	}
	r->env->freeze = true;
	rig_set32(r, SNV_REG_CC, rig_get32(r, SNV_REG_CC) | shn);
	rig_settle(r);
	is(rig_get32(r, SNV_REG_CSTS) & SNV_CSTS_SHST, SNV_CSTS_SHST_OCCURRING,
	   "Base 3.6.1 SHST says that shutdown (%u) is occurring", shn >> 14);
	r->env->now += 3001 * MS;
	rig_settle(r);
	is(rig_get32(r, SNV_REG_CSTS) & SNV_CSTS_SHST, SNV_CSTS_SHST_COMPLETE,
	   "Base 3.6.1 SHST says that it is complete");
	if (shn == SNV_CC_SHN_NORMAL)
		ok(r->ram->flushes > flushes, "Base 3.6.1 a normal shutdown flushes the cache");
	ok(!(rig_get32(r, SNV_REG_CSTS) & SNV_CSTS_CFS), "Base 3.6.1 without a fatal error");
	r->env->freeze = false;
	rig_set32(r, SNV_REG_CC, 0);
	ok(rig_csts(r, ~0u, 0), "Base 3.6.1 EN 1->0 after a shutdown: CSTS is 0, SHST too");
	ok(rig_enable(r), "Base 3.6.1 enabled after a shutdown");
	is(rig_get32(r, SNV_REG_CSTS), SNV_CSTS_RDY, "Base 3.1.3.6 CSTS has RDY alone");
	ok(!rig_create_pair(r, 1, 8) && !rig_io(r, SNV_OP_READ, 0, 8, buf, 4096),
	   "Base 3.5.1 and it works");
	rig_close(r, "shutdown");
}

static void masks(void)
{
	struct rig *r = rig_plain();
	uint64_t buf = rig_mem(r, 4096);
	uint32_t before;

	is(rig_get32(r, SNV_REG_INTMS), 0, "Base 3.1.3.3 INTMS is 0 at first");
	rig_set32(r, SNV_REG_INTMS, 1u << 1 | 1u << 31);
	is(rig_get32(r, SNV_REG_INTMS), 1u << 1 | 1u << 31, "Base 3.1.3.3 INTMS sets the bits written");
	rig_set32(r, SNV_REG_INTMS, 1u << 3);
	is(rig_get32(r, SNV_REG_INTMC), 1u << 1 | 1u << 3 | 1u << 31,
	   "Base 3.1.3.4 a 0 written changes nothing; INTMC reads as the mask");
	before = r->irqs[1];
	is(rig_io(r, SNV_OP_READ, 0, 1, buf, 512), 0, "NVM 3.2.4 a command under a masked vector");
	rig_settle(r);
	is(r->irqs[1], before, "Base 3.1.3.3 a masked vector is not raised");

	/* A completion that is still there when the mask goes. */
	r->cq[1].hold = true;
	{
		struct snv_sqe sqe = rig_rw(r, SNV_OP_READ, 0, 1);

		sqe.prp1 = snv_le64(buf);
		rig_submit(r, 1, &sqe);
	}
	rig_settle(r);
	is(r->irqs[1], before, "Base 3.1.3.3 nor with a completion waiting");
	rig_set32(r, SNV_REG_INTMC, 1u << 1);
	rig_settle(r);
	is(rig_get32(r, SNV_REG_INTMS), 1u << 3 | 1u << 31, "Base 3.1.3.4 INTMC clears the bit");
	is(r->irqs[1], before + 1, "Base 3.1.3.4 what waited is raised when unmasked");
	r->cq[1].hold = false;
	rig_reap(r);
	rig_disable(r);
	ok(rig_enable(r), "Base 3.5.1 enabled again");
	is(rig_get32(r, SNV_REG_INTMS), 0, "Base 3.7.2 a controller reset clears the mask");
	rig_close(r, "INTMS");
}

static void subsystem_reset(void)
{
	struct rig_config g;
	struct rig *r, *p;

	rig_defaults(&g);
	r = rig_start(&g);
	p = rig_peer(r, &g);
	ok(rig_enable(p), "Base 3.5.1 a second controller");
	rig_set32(r, SNV_REG_NSSR, 0x12345678);
	rig_settle(r);
	ok(rig_get32(r, SNV_REG_CSTS) & SNV_CSTS_RDY, "Base 3.1.3.7 another value written to NSSR "
	   "does nothing");
	rig_set32(r, SNV_REG_NSSR, SNV_NSSR_NSSRC);
	ok(rig_csts(r, SNV_CSTS_RDY, 0), "Base 3.7.1 NSSR resets the controller");
	ok(rig_csts(p, SNV_CSTS_RDY, 0), "Base 3.7.1 and the other one of the subsystem");
	ok(rig_get32(r, SNV_REG_CSTS) & SNV_CSTS_NSSRO, "Base 3.1.3.6 CSTS.NSSRO is set");
	ok(rig_get32(p, SNV_REG_CSTS) & SNV_CSTS_NSSRO, "Base 3.1.3.6 in the other one too");
	is(rig_get32(r, SNV_REG_CC), 0, "Base 3.7.1 CC is 0");
	is(rig_get32(r, SNV_REG_NSSR), 0, "Base 3.1.3.7 NSSR reads as 0");
	is(rig_get32(r, SNV_REG_AQA), 0, "Base 3.7.1 AQA is reset");
	rig_set32(r, SNV_REG_CSTS, SNV_CSTS_NSSRO);
	is(rig_get32(r, SNV_REG_CSTS), 0, "Base 3.1.3.6 writing 1 clears NSSRO");
	ok(rig_enable(r) && rig_enable(p), "Base 3.5.1 both can be enabled again");
	ok(!rig_create_pair(r, 1, 8) && !rig_io(r, SNV_OP_READ, 0, 1, rig_mem(r, 4096), 512),
	   "Base 3.7.1 and work");
	rig_close(p, "NSSR peer");
	rig_close(r, "NSSR");
}

static void memory_buffer(void)
{
	struct rig_config g;
	struct rig *r;
	struct snv_sqe sqe;
	uint32_t sz, loc, i;
	uint64_t bytes, buf;

	rig_defaults(&g);
	g.c.cmb_size = 256 << 10;
	r = rig_open(&g);
	is(rig_get32(r, SNV_REG_CMBSZ) | rig_get32(r, SNV_REG_CMBLOC), 0,
	   "Base 3.1.3.12 CMBSZ and CMBLOC are 0 before CMBMSC.CRE");
	rig_set64(r, SNV_REG_CMBMSC, SNV_CMBMSC_CRE);
	sz = rig_get32(r, SNV_REG_CMBSZ);
	loc = rig_get32(r, SNV_REG_CMBLOC);
	bytes = (uint64_t)(sz >> 12) * (4096ull << (4 * (sz >> 8 & 0xf)));
	is(bytes, 256 << 10, "Base 3.1.3.12 CMBSZ: SZ in units of SZU is the size");
	ok((sz & 0x1f) == 0x1f, "Base 3.1.3.12 SQS, CQS, LISTS, RDS and WDS are offered (%#x)", sz);
	diag("CMBLOC %#x", loc);
	rig_set64(r, SNV_REG_CMBMSC, RIG_CMB_BASE | SNV_CMBMSC_CRE | SNV_CMBMSC_CMSE);
	is(rig_get64(r, SNV_REG_CMBMSC) & ~0xfffull, RIG_CMB_BASE, "Base 3.1.3.16 CMBMSC.CBA");
	is(rig_get32(r, SNV_REG_CMBSTS) & 1, 0, "Base 3.1.3.17 CMBSTS.CBAI: the address is valid");
	ok(rig_enable(r), "Base 3.5.1 enabled");

	/* CQ in the first, SQ in the second 64 KiB, data in the third. */
	if (ok(!rig_create_cq_raw(r, 1, 15, RIG_CMB_BASE, SNV_CQ_CDW11_PC | 1),
	       "Base 8.5 a completion queue in the CMB"))
		rig_host_cq(r, 1, 16, RIG_CMB_BASE);
	if (ok(!rig_create_sq_raw(r, 1, 15, RIG_CMB_BASE + 65536, SNV_SQ_CDW11_PC | 1 << 16),
	       "Base 8.5 a submission queue in the CMB"))
		rig_host_queue(r, 1, 16, RIG_CMB_BASE + 65536, 1);
	if (r->sq[1].live) {
		uint64_t list = RIG_CMB_BASE + 0x30000;
		__le64 entries[3];

		for (i = 0; i < 40; i++) {
			sqe = rig_rw(r, SNV_OP_WRITE, 8ull * i, 8);
			sqe.prp1 = snv_le64(RIG_CMB_BASE + 0x20000);
			memset(r->cmb + 0x20000, (int)i + 1, 4096);
			if (rig_do(r, 1, &sqe))
				break;
		}
		is(i, 40, "Base 8.5 writes of data in the CMB");
		sqe = rig_rw(r, SNV_OP_READ, 0, 32);
		for (i = 0; i < 3; i++)
			entries[i] = snv_le64(RIG_CMB_BASE + 0x28000 + i * 4096ull);
		memcpy(r->cmb + 0x30000, entries, sizeof(entries));
		buf = rig_mem(r, 4096);
		sqe.prp1 = snv_le64(buf);
		sqe.prp2 = snv_le64(list);
		is(rig_do(r, 1, &sqe), 0, "Base 8.5 a read by a PRP list in the CMB");
		ok(rig_all(r, buf, 4096, 1) && rig_all(r, RIG_CMB_BASE + 0x28000, 4096, 2) &&
		   rig_all(r, RIG_CMB_BASE + 0x2a000, 4096, 4),
		   "Base 8.5 into host memory and the CMB at once, with the right data");
		sqe = rig_rw(r, SNV_OP_READ, 0, 16);
		sqe.prp1 = snv_le64(RIG_CMB_BASE + (256 << 10) - 4096);
		sqe.prp2 = snv_le64(RIG_CMB_BASE + (256 << 10));
		ok(rig_do(r, 1, &sqe) > 0, "Base 8.5 data past the end of the CMB is refused");
	}
	/* A controller reset keeps CMBMSC, so that the buffer stays where it was (Base 3.1.3.16). */
	rig_disable(r);
	ok(rig_enable(r), "Base 3.5.1 enabled again");
	is(rig_get64(r, SNV_REG_CMBMSC) & ~0xfffull, RIG_CMB_BASE,
	   "Base 3.1.3.16 a controller reset keeps CMBMSC");
	rig_set64(r, SNV_REG_CMBMSC, 0);
	sqe = (struct snv_sqe){ .opcode = SNV_ADMIN_IDENTIFY, .prp1 = snv_le64(RIG_CMB_BASE),
				.cdw10 = snv_le32(SNV_CNS_CTRL) };
	ok(rig_do(r, 0, &sqe) > 0, "Base 3.1.3.16 without CMSE its addresses mean nothing");
	rig_close(r, "CMB");
}

static void resets_in_io(bool async, bool held)
{
	struct rig *r = rig_plain();
	uint64_t buf = rig_mem(r, 4096);
	uint32_t i, k, bad_enable = 0, bad_io = 0, late = 0, bad_disable = 0;

	rig_pattern(r, buf, 4096, 99);
	is(rig_io(r, SNV_OP_WRITE, 0, 8, buf, 4096), 0, "NVM 3.2.6 a write");
	r->ram->async = async;
	r->ram->polls = 2;
	for (i = 0; i < 100; i++) {
		struct snv_sqe sqe = rig_rw(r, SNV_OP_READ, 0, 8);
		uint32_t done;

		sqe.prp1 = snv_le64(buf);
		r->ram->held = held;
		for (k = 0; k < 1 + i % 40; k++)
			rig_submit(r, 1, &sqe);
		for (k = 0; k < i % 5; k++)
			rig_step(r);
		rig_set32(r, SNV_REG_CC, 0);
		rig_settle(r);
		if (held && (rig_get32(r, SNV_REG_CSTS) & SNV_CSTS_RDY))
			r->ram->held = false;
		bad_disable += !rig_csts(r, SNV_CSTS_RDY, 0);
		/* From here on the memory is the host's alone. */
		rig_fill(r, buf, 0x77, 4096);
		done = r->completions;
		rig_fill(r, r->cq[1].addr, 0, 64 * 16);
		r->ram->held = false;
		rig_settle(r);
		late += !rig_all(r, buf, 4096, 0x77) || !rig_all(r, r->cq[1].addr, 64 * 16, 0) ||
			done != r->completions;
		{
			uint64_t cq = r->cq[1].addr, sq = r->sq[1].addr;

			if (!rig_enable(r)) {
				bad_enable++;
				continue;
			}
			bad_enable += !!rig_create_cq_raw(r, 1, 63, cq, SNV_CQ_CDW11_PC);
			rig_host_cq(r, 1, 64, cq);
			bad_enable += !!rig_create_sq_raw(r, 1, 63, sq, SNV_SQ_CDW11_PC | 1 << 16);
			rig_host_queue(r, 1, 64, sq, 1);
		}
		bad_io += !!rig_io(r, SNV_OP_READ, 0, 8, buf, 4096) ||
			  !rig_pattern_is(r, buf, 4096, 99);
	}
	is(bad_disable, 0, "Base 3.7.2 100 resets in the middle of %sI/O: RDY clears",
	   held ? "held " : async ? "asynchronous " : "");
	is(late, 0, "Base 3.7.2 with RDY 0 nothing is written any more");
	is(bad_enable, 0, "Base 3.5.1 each time it is enabled again and has queues");
	is(bad_io, 0, "NVM 3.2.4 each time it reads what was written");
	rig_close(r, "resets");
}

/* Nothing on the controller's side may outlive it. */
static void remove_in_io(void)
{
	struct rig_config g;
	struct rig *r, *p;
	struct snv_sqe sqe;
	uint32_t i;

	rig_defaults(&g);
	g.v.workers = 2;
	r = rig_start(&g);
	p = rig_peer(r, &g);
	ok(rig_enable(p) && !rig_create_pair(p, 1, 64), "Base 3.5.1 a second controller with I/O queues");
	r->ram->async = true;
	r->ram->polls = 4;
	sqe = rig_rw(p, SNV_OP_READ, 0, 8);
	sqe.prp1 = snv_le64(rig_mem(p, 4096));
	for (i = 0; i < 20; i++)
		rig_submit(p, 1, &sqe);
	rig_step(r);
	rig_close(p, "removed");
	ok(!rig_io(r, SNV_OP_READ, 0, 8, rig_mem(r, 4096), 4096), "the other one works on");
	for (i = 0; i < 20; i++)
		rig_submit(r, 1, SQE(.opcode = SNV_OP_READ, .nsid = snv_le32(1),
				     .prp1 = snv_le64(rig_mem(r, 4096)), .cdw12 = snv_le32(7)));
	rig_step(r);
	rig_close(r, "destroyed in the middle of I/O");
}

static void unmapping(void)
{
	struct rig *r = rig_plain();
	uint64_t buf = rig_mem(r, 4096);
	struct snv_sqe sqe = rig_rw(r, SNV_OP_READ, 0, 8);
	uint16_t cid;

	ok(vssd_unmap(r->c, rig_ptr(r, buf), 4096), "vssd_unmap() of memory not in use");
	ok(rig_get32(r, SNV_REG_CSTS) == SNV_CSTS_RDY, "the controller goes on");
	r->ram->async = r->ram->held = true;
	sqe.prp1 = snv_le64(buf);
	cid = rig_submit(r, 1, &sqe);
	rig_settle(r);
	rig_set_mapped(r, buf, false);
	ok(!vssd_unmap(r->c, rig_ptr(r, buf), 4096), "vssd_unmap() says no while a transfer is in flight");
	r->ram->held = false;
	rig_settle(r);
	ok(vssd_unmap(r->c, rig_ptr(r, buf), 4096), "and yes when it has ended");
	ok(rig_wait(r, cid) != RIG_NO_CQE, "the command ended");
	rig_set_mapped(r, r->sq[1].addr, false);
	while (!vssd_unmap(r->c, rig_ptr(r, r->sq[1].addr), 4096))
		rig_step(r);
	rig_settle(r);
	ok(rig_get32(r, SNV_REG_CSTS) & SNV_CSTS_CFS, "vssd_unmap() of a ring sets CFS");
	rig_set_mapped(r, r->sq[1].addr, true);
	rig_disable(r);
	ok(rig_enable(r), "Base 3.5.1 and a reset helps");
	rig_close(r, "unmap");
}

static void page_sizes(void)
{
	static const uint32_t mps[] = { 0, 1, 4, 8 };
	size_t i;

	for (i = 0; i < 4; i++) {
		struct rig_config g;
		struct rig *r;
		uint64_t a, b;

		rig_defaults(&g);
		g.c.mpsmax = 8;
		g.c.mdts = 5;
		g.cc = mps[i] << SNV_CC_MPS_SHIFT;
		r = rig_start(&g);
		/* 128 KiB is MDTS in 4 KiB pages whatever CC.MPS (Base 5.17.2.1). */
		a = rig_mem(r, 160 << 10);
		b = rig_mem(r, 160 << 10);
		rig_pattern(r, a, 160 << 10, 5);
		is(rig_io(r, SNV_OP_WRITE, 3, 256, a + 4, 128 << 10), 0,
		   "Base 4.1.1 CC.MPS %u: 128 KiB written from an offset", mps[i]);
		is(rig_io(r, SNV_OP_READ, 3, 256, b + 4, 128 << 10), 0,
		   "Base 4.1.1 CC.MPS %u: and read", mps[i]);
		ok(!memcmp(rig_ptr(r, a + 4), rig_ptr(r, b + 4), 128 << 10),
		   "Base 4.1.1 CC.MPS %u: the same", mps[i]);
		ok(rig_all(r, b, 4, 0) && rig_all(r, b + 4 + (128 << 10), 1024, 0),
		   "Base 4.1.1 CC.MPS %u: nothing beside it", mps[i]);
		is(rig_io(r, SNV_OP_WRITE, 3, 257, a, 257 * 512), SNV_SC_INVALID_FIELD,
		   "Base 5.17.2.1 CC.MPS %u: MDTS stays in units of CAP.MPSMIN", mps[i]);
		rig_close(r, "MPS");
	}
}

static void doorbell_strides(void)
{
	uint32_t dstrd, by;

	for (dstrd = 0; dstrd <= 10; dstrd++) {
		for (by = 0; by < 2; by++) {
			struct rig_config g;
			struct rig *r;
			uint32_t q, i, bad = 0;

			rig_defaults(&g);
			g.c.dstrd = dstrd;
			g.c.queues = 7;
			r = rig_open(&g);
			r->by_register = by;
			bad += !rig_enable(r);
			for (q = 1; q <= 7; q++)
				bad += rig_create_pair(r, q, 4) != 0;
			for (i = 0; i < 70; i++)
				bad += rig_do(r, 1 + i % 7, SQE(.opcode = SNV_OP_FLUSH,
								.nsid = snv_le32(1))) != 0;
			is(bad, 0, "PCIe 3.1.2.1 CAP.DSTRD %u, 7 queues, doorbells %s", dstrd,
			   by ? "through registers" : "in memory");
			rig_close(r, "DSTRD");
		}
	}
}

/* ---- what a home may ask ---------------------------------------------------------------------- */

static void configurations(void)
{
	struct rig_config g;
	struct rig *r;
	struct rig_env *e;
	struct vssd_env env = { .alloc = rig_alloc, .free = rig_free, .now = rig_now };
	struct vssd_host host = { .translate = rig_translate };
	struct vssd_ctrl *c[VSSD_MAX_CTRLS + 1];
	struct vssd_ctrl_config cc;
	struct vssd_ns_config ns;
	struct vssd *v = NULL;
	struct ram *ram;
	void *db[VSSD_MAX_CTRLS + 1];
	uint32_t i, id = 0;

	rig_defaults(&g);
	r = rig_open(&g);
	e = r->env;
	env.ctx = e;
	g.v.workers = 0;
	is(vssd_create(&env, &g.v, &v), -EINVAL, "vssd_create() with no worker");
	g.v.workers = VSSD_MAX_WORKERS + 1;
	is(vssd_create(&env, &g.v, &v), -EINVAL, "vssd_create() with too many workers");

	host.doorbells = r->doorbells;
#define BAD(field, value) do {							\
	vssd_ctrl_defaults(&cc);						\
	cc.field = (value);							\
	is(vssd_ctrl_add(r->v, &cc, &host, &c[0]), -EINVAL, "vssd_ctrl_add(): " #field " " #value); \
} while (0)
	BAD(queues, VSSD_MAX_QUEUES + 1);
	BAD(mqes, 1);
	BAD(mqes, 65537);
	BAD(to, 256);
	BAD(dstrd, 11);
	BAD(mpsmax, 16);
	BAD(mdts, 10);
	BAD(vectors, 2049);
	BAD(cmb_size, 100);
	BAD(cmb_size, 4096);	/* without host.cmb */
#undef BAD
	vssd_ctrl_defaults(&cc);
	cc.mpsmin = 3;
	cc.mpsmax = 2;
	is(vssd_ctrl_add(r->v, &cc, &host, &c[0]), -EINVAL, "vssd_ctrl_add(): mpsmin above mpsmax");

	ram = ram_new(e, 1 << 20);
	ns = (struct vssd_ns_config){ .media = &ram->media, .lba_size = 512 };
#define BAD(field, value) do {							\
	struct vssd_ns_config bad = ns;						\
										\
	bad.field = (value);							\
	is(vssd_ns_add(r->v, &bad, &id), -EINVAL, "vssd_ns_add(): " #field " " #value); \
} while (0)
	BAD(nsid, VSSD_MAX_NS + 1);
	BAD(nsid, SNV_NSID_ALL);
	BAD(lba_size, 1000);
	BAD(lba_size, 0);
	BAD(metadata, 5);
	BAD(pi, 4);
	BAD(pi, 1);		/* without metadata */
	BAD(csi, 7);
	BAD(csi, VSSD_CSI_ZNS);	/* without a zone size */
#undef BAD
	ns.nsid = 1;
	is(vssd_ns_add(r->v, &ns, &id), -EEXIST, "vssd_ns_add(): nsid 1 is there");
	ns.nsid = 0;
	is(vssd_ns_add(r->v, &ns, &id), 0, "vssd_ns_add(): the next free one");
	is(id, 2, "which is 2");

	vssd_ctrl_defaults(&cc);
	for (i = 0; i < VSSD_MAX_CTRLS; i++) {
		int ret;

		db[i] = aligned_alloc(4096, vssd_doorbell_bytes(&cc));
		memset(db[i], 0, vssd_doorbell_bytes(&cc));
		host.doorbells = db[i];
		host.ctx = r;
		ret = vssd_ctrl_add(r->v, &cc, &host, &c[i]);
		if (ret) {
			is(ret, -ENOSPC, "vssd_ctrl_add(): one too many");
			break;
		}
	}
	is(i, VSSD_MAX_CTRLS - 1, "vssd_ctrl_add(): as many as VSSD_MAX_CTRLS");
	vssd_ctrl_remove(c[3]);
	is(vssd_ctrl_add(r->v, &cc, &host, &c[3]), 0, "vssd_ctrl_add(): there is room after a removal");
	ok(rig_enable(r), "Base 3.5.1 and the first still works");
	rig_close(r, "configurations");
	for (id = 0; id <= i && id < VSSD_MAX_CTRLS; id++)
		free(db[id]);
}

/* Each allocation fails once: an error, and nothing leaks. */
static void no_memory(void)
{
	struct rig_env e = { .now = 1 };
	struct vssd_env env = { .alloc = rig_alloc, .free = rig_free, .now = rig_now, .ctx = &e };
	struct rig_config g;
	uint32_t at, wrong = 0, leaks = 0, failures = 0;
	struct rig *r;

	rig_defaults(&g);
	for (at = 1; at < 500; at++) {
		struct vssd_host host = { .translate = rig_translate };
		struct vssd_ns_config ns = g.ns;
		struct vssd_ctrl *c;
		struct vssd *v;
		struct ram *ram;
		uint32_t nsid;
		int ret;

		e = (struct rig_env){ .now = 1, .fail_at = at };
		ret = vssd_create(&env, &g.v, &v);
		if (ret) {
			failures++;
			wrong += ret != -ENOMEM;
			leaks += e.live != 0;
			continue;
		}
		ram = ram_new(&e, 1 << 20);
		ns.media = &ram->media;
		ret = vssd_ns_add(v, &ns, &nsid);
		if (ret) {
			failures++;
			wrong += ret != -ENOMEM;
			if (!e.closed[0])
				ram_close(&ram->media);
		} else {
			host.doorbells = aligned_alloc(4096, vssd_doorbell_bytes(&g.c));
			memset(host.doorbells, 0, vssd_doorbell_bytes(&g.c));
			ret = vssd_ctrl_add(v, &g.c, &host, &c);
			if (ret) {
				failures++;
				wrong += ret != -ENOMEM;
			}
		}
		vssd_destroy(v);
		free(host.doorbells);
		leaks += e.live != 0 || e.closed[0] != 1;
		if (!ret)
			break;
	}
	ok(failures > 2, "%u allocations made to fail in turn", failures);
	is(wrong, 0, "each is -ENOMEM");
	is(leaks, 0, "and nothing leaks");

	r = rig_plain();
	failures = 0;
	for (at = 1; at < 20; at++) {
		int ret;

		r->env->fail_at = r->env->allocs + at;
		ret = rig_create_pair(r, 2, 16);
		if (ret == RIG_NO_CQE)
			break;
		failures += ret != 0;
		if (!ret)
			rig_delete_sq(r, 2);
		if (r->cq[2].live || ret)
			rig_delete_cq(r, 2);
		if (r->env->allocs < r->env->fail_at)
			break;
	}
	r->env->fail_at = 0;
	ok(at < 20, "Base 5.4 no memory for a queue: a status, and the next one is told so too");
	is(rig_create_pair(r, 3, 16), 0, "Base 5.4 and with memory it works");
	rig_close(r, "no memory");
}

int main(void)
{
	capabilities();
	accesses();
	enable_and_disable();
	admin_queue_at_each_enable();
	bad_enable();
	fatal();
	shutdown_(SNV_CC_SHN_NORMAL, false);
	shutdown_(SNV_CC_SHN_ABRUPT, false);
	shutdown_(SNV_CC_SHN_NORMAL, true);
	masks();
	subsystem_reset();
	memory_buffer();
	resets_in_io(false, false);
	resets_in_io(true, false);
	resets_in_io(true, true);
	remove_in_io();
	unmapping();
	page_sizes();
	doorbell_strides();
	configurations();
	no_memory();
	return done();
}
