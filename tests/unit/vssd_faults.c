// SPDX-License-Identifier: MIT
/*
 * Faults on demand, power cuts and the trace, as vssd.h promises them; what the host may see of them is the
 * specification's: Base 2.0 sections 3.7 (resets), 5.1 (Abort), 7.1 (Flush), NVM 1.0 section 2.1.4 (atomicity).
 */
#include "vssd_rig.h"

static void fault(struct rig *r, struct vssd_fault f, const char *what)
{
	is(vssd_fault_add(r->v, &f), 0, "vssd_fault_add(): %s", what);
}

#define FAULT(r, what, ...) fault(r, (struct vssd_fault){ __VA_ARGS__ }, what)

static int read8(struct rig *r, uint64_t slba, uint64_t buf)
{
	return rig_io(r, SNV_OP_READ, slba, 8, buf, 4096);
}

static void rules(void)
{
	struct rig *r = rig_plain();
	struct vssd_ns_config more = { .lba_size = 512 };
	uint64_t buf = rig_mem(r, 4096);
	struct snv_sqe sqe;
	uint32_t i, n, second;

	more.media = &ram_new(r->env, 1 << 20)->media;
	vssd_ns_add(r->v, &more, &second);

	FAULT(r, "status of each read", .action = VSSD_FAULT_STATUS, .opcode = SNV_OP_READ,
	      .status = SNV_SC_READ_ERROR);
	is(read8(r, 0, buf), SNV_SC_READ_ERROR, "a read ends with it");
	is(read8(r, 100, buf), SNV_SC_READ_ERROR, "the next too");
	is(rig_io(r, SNV_OP_WRITE, 0, 8, buf, 4096), 0, "a write doesn't");
	vssd_fault_clear(r->v);
	is(read8(r, 0, buf), 0, "vssd_fault_clear(): nor a read any more");

	rig_fill(r, buf, 0x66, 4096);
	FAULT(r, "status of writes", .action = VSSD_FAULT_STATUS, .opcode = SNV_OP_WRITE,
	      .status = SNV_SC_WRITE_FAULT | SNV_STATUS_DNR, .count = 1);
	is(rig_io(r, SNV_OP_WRITE, 50, 8, buf, 4096), SNV_SC_WRITE_FAULT, "a write ends with it");
	ok(rig_dnr(r), "and with DNR, as was said");
	ok(!r->ram->data[50 * 512], "and is not carried out");
	is(rig_io(r, SNV_OP_WRITE, 50, 8, buf, 4096), 0, "count 1: the next succeeds");
	ok(r->ram->data[50 * 512] == 0x66, "and is carried out");

	FAULT(r, "skip 3, count 2", .action = VSSD_FAULT_STATUS, .opcode = SNV_OP_READ, .skip = 3,
	      .count = 2, .status = SNV_SC_CMD_INTERRUPTED);
	for (i = n = 0; i < 8; i++)
		n |= (read8(r, 0, buf) == SNV_SC_CMD_INTERRUPTED) << i;
	is(n, 0x18, "the 4th and 5th of 8 fail");
	vssd_fault_clear(r->v);

	FAULT(r, "blocks 100 - 109", .action = VSSD_FAULT_STATUS, .opcode = -1, .slba = 100, .nlb = 10,
	      .status = SNV_SC_READ_ERROR);
	is(read8(r, 92, buf), 0, "blocks 92 - 99 are not touched");
	is(read8(r, 93, buf), SNV_SC_READ_ERROR, "93 - 100 are");
	is(read8(r, 109, buf), SNV_SC_READ_ERROR, "109 - 116 are");
	is(read8(r, 110, buf), 0, "110 - 117 are not");
	is(rig_io(r, SNV_OP_WRITE, 105, 1, buf, 512), SNV_SC_READ_ERROR, "opcode -1: a write is too");
	is(rig_identify(r, SNV_CNS_CTRL, 0, 0, buf), 0, "no admin command is");
	vssd_fault_clear(r->v);

	FAULT(r, "namespace 2", .action = VSSD_FAULT_STATUS, .opcode = -1, .nsid = second,
	      .status = SNV_SC_INTERNAL);
	is(read8(r, 0, buf), 0, "the first one isn't touched");
	sqe = rig_rw(r, SNV_OP_READ, 0, 1);
	sqe.nsid = snv_le32(second);
	sqe.prp1 = snv_le64(buf);
	is(rig_do(r, 1, &sqe), SNV_SC_INTERNAL, "the second is");
	vssd_fault_clear(r->v);

	FAULT(r, "admin Identify", .action = VSSD_FAULT_STATUS, .admin = true, .opcode = SNV_ADMIN_IDENTIFY,
	      .status = SNV_SC_INTERNAL, .count = 1);
	is(read8(r, 0, buf), 0, "an I/O command isn't touched");
	is(rig_identify(r, SNV_CNS_CTRL, 0, 0, buf), SNV_SC_INTERNAL, "Identify is");
	is(rig_identify(r, SNV_CNS_CTRL, 0, 0, buf), 0, "once");

	FAULT(r, "first of two", .action = VSSD_FAULT_STATUS, .opcode = SNV_OP_READ, .count = 1,
	      .status = SNV_SC_READ_ERROR);
	FAULT(r, "second of two", .action = VSSD_FAULT_STATUS, .opcode = SNV_OP_READ, .count = 1,
	      .status = SNV_SC_INTERNAL);
	is(read8(r, 0, buf), SNV_SC_READ_ERROR, "rules are asked in their order");
	is(read8(r, 0, buf), SNV_SC_INTERNAL, "then the second");
	is(read8(r, 0, buf), 0, "then none");

	is(vssd_fault_add(r->v, &(struct vssd_fault){ .action = 99, .opcode = -1 }), -EINVAL,
	   "vssd_fault_add(): an action that isn't there");
	is(vssd_fault_add(r->v, &(struct vssd_fault){ .opcode = 300, .status = 6 }), -EINVAL,
	   "vssd_fault_add(): an opcode that isn't one");
	is(vssd_fault_add(r->v, &(struct vssd_fault){ .opcode = -1, .status = 6, .ppm = 1000001 }), -EINVAL,
	   "vssd_fault_add(): more than always");
	rig_close(r, "rules");
}

static void probability(void)
{
	uint32_t seen[2][63] = { { 0 } }, total = 0, i, k;

	for (k = 0; k < 2; k++) {
		struct rig *r = rig_plain();
		uint64_t buf = rig_mem(r, 4096);

		FAULT(r, "one in four", .action = VSSD_FAULT_STATUS, .opcode = SNV_OP_READ, .ppm = 250000,
		      .status = SNV_SC_READ_ERROR);
		for (i = 0; i < 2000; i++)
			if (rig_io(r, SNV_OP_READ, 0, 1, buf, 512)) {
				seen[k][i / 32] |= 1u << i % 32;
				total += !k;
			}
		rig_close(r, "probability");
	}
	ok(total > 400 && total < 600, "of 2,000 about 500 fail (%u)", total);
	ok(!memcmp(seen[0], seen[1], sizeof(seen[0])), "the same seed makes the same ones fail");
}

static void delay(void)
{
	struct rig *r = rig_plain();
	uint64_t buf = rig_mem(r, 4096);
	struct snv_sqe sqe = rig_rw(r, SNV_OP_READ, 0, 8);
	uint16_t late, other;

	sqe.prp1 = snv_le64(buf);
	FAULT(r, "delay", .action = VSSD_FAULT_DELAY, .opcode = SNV_OP_READ, .count = 1,
	      .delay_ns = 7 * MS);
	r->env->freeze = true;
	late = rig_submit(r, 1, &sqe);
	other = rig_submit(r, 1, &sqe);
	rig_settle(r);
	rig_reap(r);
	ok(!r->cmd[late].done, "the delayed one isn't there");
	ok(r->cmd[other].done, "the next one is: Base 3.4.1 commands end in any order");
	ok(vssd_next_due(r->v, 0) <= r->env->now + 7 * MS, "vssd_next_due() knows");
	r->env->now += 6 * MS;
	rig_settle(r);
	rig_reap(r);
	ok(!r->cmd[late].done, "nor after 6 ms");
	r->env->now += 2 * MS;
	rig_settle(r);
	rig_reap(r);
	ok(r->cmd[late].done && !(r->cmd[late].status & SNV_STATUS_CODE), "but after 8, well");
	FAULT(r, "delay", .action = VSSD_FAULT_DELAY, .opcode = SNV_OP_READ, .count = 1,
	      .delay_ns = 7 * MS);
	rig_submit(r, 1, &sqe);
	rig_settle(r);
	ok(rig_disable(r) && rig_enable(r), "Base 3.7.2 a reset with a delayed one");
	r->env->now += 20 * MS;
	rig_settle(r);
	rig_close(r, "delay");
}

static void lost_and_hung(void)
{
	static const enum vssd_fault_action action[] = { VSSD_FAULT_LOSE, VSSD_FAULT_HANG };
	uint32_t k;

	for (k = 0; k < 2; k++) {
		struct rig *r = rig_plain();
		uint64_t buf = rig_mem(r, 4096);
		struct snv_sqe sqe = rig_rw(r, SNV_OP_WRITE, 40, 8);
		const char *name = k ? "hung" : "lost";
		uint16_t cid;

		rig_fill(r, buf, 0x77, 4096);
		sqe.prp1 = snv_le64(buf);
		FAULT(r, name, .action = action[k], .opcode = SNV_OP_WRITE, .count = 1);
		cid = rig_submit(r, 1, &sqe);
		rig_settle(r);
		r->env->now += 100000 * MS;
		rig_settle(r);
		rig_reap(r);
		ok(!r->cmd[cid].done, "%s: no completion in 100 s", name);
		is(r->ram->data[40 * 512], k ? 0 : 0x77, "%s: %s", name, k ? "not carried out" : "carried out");
		is(read8(r, 0, buf), 0, "%s: the queue goes on", name);
		is(ADMIN(r, .opcode = SNV_ADMIN_ABORT, .cdw10 = snv_le32((uint32_t)cid << 16 | 1)), 0,
		   "%s: Base 5.1 Abort", name);
		is(rig_dw0(r) & 1, !k, "%s: %s", name, k ? "found" : "not found");
		rig_settle(r);
		rig_reap(r);
		if (k)
			is(r->cmd[cid].status & SNV_STATUS_CODE, SNV_SC_ABORT_REQ,
			   "hung: Command Abort Requested");
		else
			ok(!r->cmd[cid].done, "lost: still none");
		FAULT(r, name, .action = action[k], .opcode = SNV_OP_WRITE, .count = 3);
		rig_submit(r, 1, &sqe);
		rig_submit(r, 1, &sqe);
		rig_settle(r);
		ok(rig_disable(r) && rig_enable(r) && !rig_create_pair(r, 1, 16) && !read8(r, 0, buf),
		   "%s: Base 3.7.2 a reset ends them", name);
		rig_submit(r, 1, &sqe);
		rig_settle(r);
		{
			uint16_t del = rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_DELETE_SQ,
							    .cdw10 = snv_le32(1)));

			is(rig_wait(r, del), 0, "%s: Base 5.7 a deletion of the SQ ends them", name);
			rig_reap(r);
		}
		rig_close(r, name);
	}
}

static void duplicate(void)
{
	struct rig *r = rig_plain();
	uint64_t buf = rig_mem(r, 4096);
	uint32_t before;

	FAULT(r, "duplicate", .action = VSSD_FAULT_DUPLICATE, .opcode = SNV_OP_READ, .count = 1);
	before = r->completions;
	is(read8(r, 0, buf), 0, "a command whose completion comes twice");
	rig_settle(r);
	rig_reap(r);
	is(r->completions - before, 2, "twice");
	is(r->bad, 1, "(which this host notices)");
	r->bad = 0;
	is(read8(r, 0, buf), 0, "the next one's comes once");
	rig_settle(r);
	rig_reap(r);
	is(r->completions - before, 3, "once");
	rig_close(r, "duplicate");
}

static void fatal(void)
{
	struct rig *r = rig_plain();
	uint64_t buf = rig_mem(r, 4096);
	struct snv_sqe sqe = rig_rw(r, SNV_OP_READ, 0, 8);
	uint32_t before;

	sqe.prp1 = snv_le64(buf);
	FAULT(r, "CFS", .action = VSSD_FAULT_CFS, .opcode = SNV_OP_READ, .skip = 2, .count = 1);
	is(read8(r, 0, buf), 0, "one passes");
	is(read8(r, 0, buf), 0, "two pass");
	before = r->completions;
	rig_submit(r, 1, &sqe);
	rig_settle(r);
	ok(rig_get32(r, SNV_REG_CSTS) & SNV_CSTS_CFS, "Base 3.1.3.6 CSTS.CFS");
	rig_submit(r, 1, &sqe);
	rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_KEEP_ALIVE));
	rig_settle(r);
	rig_reap(r);
	is(r->completions, before, "nothing completes");
	ok(rig_disable(r), "Base 3.7.2 CC.EN 0");
	is(rig_get32(r, SNV_REG_CSTS), 0, "clears it");
	ok(rig_enable(r) && !rig_create_pair(r, 1, 16) && !read8(r, 0, buf), "Base 3.5.1 and it works");
	rig_close(r, "CFS");
}

static void removal(void)
{
	struct rig_config g;
	struct rig *r, *p;
	uint64_t buf;
	struct snv_sqe sqe;
	uint32_t before;

	rig_defaults(&g);
	r = rig_start(&g);
	p = rig_peer(r, &g);
	rig_enable(p);
	buf = rig_mem(r, 4096);
	sqe = rig_rw(r, SNV_OP_READ, 0, 8);
	sqe.prp1 = snv_le64(buf);
	FAULT(r, "removal", .action = VSSD_FAULT_REMOVE, .opcode = SNV_OP_READ, .count = 1);
	before = r->completions;
	rig_submit(r, 1, &sqe);
	rig_settle(r);
	is(rig_get32(r, SNV_REG_CSTS), ~0u, "CSTS reads as all ones");
	is(rig_get64(r, SNV_REG_CAP), ~0ull, "so does CAP");
	rig_set32(r, SNV_REG_CC, 0);
	rig_set32(r, SNV_REG_CC, SNV_CC_EN);
	rig_submit(r, 1, &sqe);
	rig_settle(r);
	rig_reap(r);
	is(r->completions, before, "nothing moves");
	is(rig_get32(r, SNV_REG_CC), ~0u, "nor can it be written");
	is(rig_identify(p, SNV_CNS_CTRL, 0, 0, rig_mem(p, 4096)), 0, "the other controller is there");
	rig_close(p, "removal peer");
	rig_close(r, "removal");
}

/* ---- power cuts ------------------------------------------------------------------------------- */

/* Each block of a write has its own version number in each of its bytes but the first. */
static void versions(struct rig *r, uint64_t buf, uint32_t nlb, uint8_t version)
{
	rig_fill(r, buf, version, nlb * 512);
}

static void power(bool cache, bool wce, uint32_t seed)
{
	enum { BLOCKS = 600 };
	struct rig_config g;
	struct rig *r;
	uint64_t buf;
	uint8_t durable[BLOCKS] = { 0 }, newest[BLOCKS] = { 0 };
	uint8_t may[BLOCKS][8];		/* versions since the last flush, 0-terminated */
	uint32_t i, k, rnd = seed, torn = 0, lost = 0, wrong = 0, old = 0, cut;

	rig_defaults(&g);
	g.volatile_cache = cache;
	g.v.power_loss = cache;
	g.v.seed = seed;
	r = rig_start(&g);
	buf = rig_mem(r, 65536);
	memset(may, 0, sizeof(may));
	/* Whether there is a cache to lose is what Identify says (Base 5.17.2.1). */
	rig_identify(r, SNV_CNS_CTRL, 0, 0, buf);
	cache = ((struct snv_id_ctrl *)rig_ptr(r, buf))->vwc & SNV_VWC_PRESENT;
	if (!wce)
		rig_set_feature(r, SNV_FEAT_VOLATILE_WC, 0);
	for (cut = 1; cut <= 20; cut++) {
		for (i = 0; i < 60; i++) {
			uint32_t slba, nlb, fua;

			rnd = rnd * 1664525u + 1013904223u;
			slba = (rnd >> 8) % (BLOCKS - 32);
			nlb = 1 + (rnd >> 20) % 32;
			fua = (rnd >> 5) % 7 == 0;
			versions(r, buf, nlb, (uint8_t)(1 + (cut * 60 + i) % 250));
			{
				struct snv_sqe sqe = rig_rw(r, SNV_OP_WRITE, slba, nlb);
				uint32_t top = r->top;

				sqe.cdw12 = snv_le32((nlb - 1) | (fua ? SNV_RW_CDW12_FUA : 0));
				rig_prp(r, &sqe, buf, nlb * 512);
				wrong += rig_do(r, 1, &sqe) != 0;
				rig_release(r, top);
			}
			for (k = slba; k < slba + nlb; k++) {
				newest[k] = (uint8_t)(1 + (cut * 60 + i) % 250);
				if (fua || !cache || !wce) {
					durable[k] = newest[k];
					memset(may[k], 0, 8);
				} else if (strlen((char *)may[k]) < 7) {
					may[k][strlen((char *)may[k])] = newest[k];
				}
			}
			if (i == 20 + cut) {
				wrong += rig_do(r, 1, SQE(.opcode = SNV_OP_FLUSH,
							  .nsid = snv_le32(1))) != 0;
				memcpy(durable, newest, BLOCKS);
				memset(may, 0, sizeof(may));
			}
		}
		vssd_power_cut(r->v);
		is(rig_get32(r, SNV_REG_CC) | (rig_get32(r, SNV_REG_CSTS) & ~SNV_CSTS_NSSRO), 0,
		   "power cut %u: the controller is as after power-on", cut);
		rig_enable(r);
		rig_create_pair(r, 1, 64);
		if (!wce)
			rig_set_feature(r, SNV_FEAT_VOLATILE_WC, 0);
		for (k = 0; k < BLOCKS; k++) {
			uint8_t *p;

			wrong += rig_io(r, SNV_OP_READ, k, 1, buf, 512) != 0;
			p = rig_ptr(r, buf);
			for (i = 1; i < 512 && p[i] == p[0]; i++)
				;
			torn += i < 512;
			old += p[0] != newest[k];
			if (p[0] != durable[k] && !(p[0] && strchr((char *)may[k], p[0]))) {
				if (!lost)
					diag("block %u: %u, durable %u, newest %u", k, p[0], durable[k],
					     newest[k]);
				lost++;
			}
			/* What is there after the cut is there for good. */
			durable[k] = newest[k] = p[0];
			memset(may[k], 0, 8);
		}
	}
	is(wrong, 0, "all commands succeed (cache %d, WCE %d)", cache, wce);
	is(torn, 0, "NVM 2.1.4 no block is torn");
	is(lost, 0, "Base 7.1 what was flushed, or written with FUA, is there; else an old or a new block");
	if (cache && wce)
		ok(old, "of what wasn't flushed something is lost (%u blocks)", old);
	else
		is(old, 0, "without a volatile cache nothing is lost");
	rig_close(r, "power cut");
}

static void power_rule(void)
{
	struct rig_config g;
	struct rig *r;
	uint64_t buf;
	struct snv_sqe sqe;

	rig_defaults(&g);
	g.v.power_loss = true;
	g.volatile_cache = true;
	r = rig_start(&g);
	buf = rig_mem(r, 4096);
	sqe = rig_rw(r, SNV_OP_WRITE, 0, 8);
	sqe.prp1 = snv_le64(buf);
	FAULT(r, "power cut at the 5th write", .action = VSSD_FAULT_POWER_CUT, .opcode = SNV_OP_WRITE,
	      .skip = 4, .count = 1);
	for (g.c.to = 0; g.c.to < 4; g.c.to++)
		is(rig_do(r, 1, &sqe), 0, "a write before it");
	rig_submit(r, 1, &sqe);
	rig_settle(r);
	is(rig_get32(r, SNV_REG_CSTS) & SNV_CSTS_RDY, 0, "then the power goes: RDY is 0");
	is(rig_get32(r, SNV_REG_CC), 0, "and CC is 0");
	ok(rig_enable(r) && !rig_create_pair(r, 1, 16) && !read8(r, 0, buf), "Base 3.5.1 and it comes back");
	rig_close(r, "power cut by rule");
}

/* ---- trace ------------------------------------------------------------------------------------ */

static void trace(void)
{
	static const uint8_t want[] = { VSSD_STEP_DOORBELL, VSSD_STEP_FETCH, VSSD_STEP_MAP, VSSD_STEP_DATA,
					VSSD_STEP_CQE, VSSD_STEP_IRQ, VSSD_STEP_REAP };
	struct rig *r = rig_plain();
	struct vssd_trace_event e[256];
	uint64_t buf = rig_mem(r, 8192), lost = 1, last = 0;
	uint32_t n, i, k, at;
	uint16_t cid;

	is(vssd_trace_start(r->v, 100), -EINVAL, "vssd_trace_start(): not a power of two");
	is(vssd_trace_read(r->v, 0, e, 256, &lost), 0, "vssd_trace_read(): nothing while it is off");
	is(vssd_trace_start(r->v, 256), 0, "vssd_trace_start()");
	is(rig_io(r, SNV_OP_READ, 0, 16, buf, 8192), 0, "a read");
	cid = rig_last;
	rig_settle(r);
	n = vssd_trace_read(r->v, 0, e, 256, &lost);
	is(lost, 0, "nothing was lost");
	for (i = at = 0; i < n; i++) {
		if (e[i].ns < last)
			break;
		last = e[i].ns;
		if (at < 7 && e[i].step == want[at] && e[i].qid == 1)
			at++;
	}
	is(i, n, "times don't run backwards");
	is(at, 7, "doorbell, fetch, map, data, completion, interrupt, reap: in this order");
	for (i = k = 0; i < n; i++) {
		if (e[i].qid != 1)
			continue;
		switch (e[i].step) {
		case VSSD_STEP_FETCH:
			ok(e[i].arg == SNV_OP_READ && e[i].cid == cid, "FETCH: opcode and CID");
			break;
		case VSSD_STEP_MAP:
			ok(e[i].arg >= 1 && e[i].arg <= 2 && e[i].cid == cid, "MAP: segments");
			break;
		case VSSD_STEP_DATA:
			ok(e[i].arg == 8192 && e[i].cid == cid, "DATA: bytes");
			break;
		case VSSD_STEP_CQE:
			ok(e[i].arg == 0 && e[i].cid == cid, "CQE: status");
			break;
		case VSSD_STEP_DOORBELL:
			is(e[i].arg, r->sq[1].tail, "DOORBELL: tail");
			break;
		case VSSD_STEP_IRQ:
			is(e[i].arg, 1, "IRQ: vector");
			break;
		case VSSD_STEP_REAP:
			is(e[i].arg, r->cq[1].head, "REAP: head");
			break;
		}
	}
	is(rig_io(r, SNV_OP_READ, 1 << 20, 1, buf, 512), SNV_SC_LBA_RANGE, "a read that fails");
	rig_settle(r);
	n = vssd_trace_read(r->v, 0, e, 256, &lost);
	for (i = k = 0; i < n; i++)
		k |= e[i].step == VSSD_STEP_CQE && (e[i].arg & SNV_STATUS_CODE) == SNV_SC_LBA_RANGE;
	ok(k, "CQE: its status");

	/* More than the ring holds. */
	for (i = 0; i < 300; i++)
		rig_io(r, SNV_OP_READ, 0, 1, buf, 512);
	rig_settle(r);
	n = vssd_trace_read(r->v, 0, e, 256, &lost);
	ok(n && n <= 256, "a full ring: %u events", n);
	ok(lost >= 300 * 7 - 256, "the others are counted as lost (%llu)", (unsigned long long)lost);
	k = n;
	ok(e[k - 1].ns >= e[0].ns, "oldest first");
	n = vssd_trace_read(r->v, 0, e, 256, &lost);
	ok(!n && !lost, "and nothing is left");
	vssd_trace_stop(r->v);
	rig_io(r, SNV_OP_READ, 0, 1, buf, 512);
	is(vssd_trace_read(r->v, 0, e, 256, &lost), 0, "vssd_trace_stop()");
	is(vssd_trace_start(r->v, 16), 0, "vssd_trace_start() again, smaller");
	rig_io(r, SNV_OP_READ, 0, 1, buf, 512);
	ok(vssd_trace_read(r->v, 0, e, 3, &lost) == 3, "vssd_trace_read() of 3");
	rig_close(r, "trace");
}

int main(void)
{
	rules();
	probability();
	delay();
	lost_and_hung();
	duplicate();
	fatal();
	removal();
	power(true, true, 1);
	power(true, true, 77);
	power(true, false, 5);
	power(false, true, 9);
	power_rule();
	trace();
	return done();
}
