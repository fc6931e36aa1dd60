// SPDX-License-Identifier: MIT
/*
 * Queues: NVMe Base 2.0 sections 3.3 (rings), 3.4.4 (arbitration), 5.4 - 5.7 (create and delete), 5.27.1.1,
 * .5, .6, .7 (features), PCIe 3.1.2 (doorbells).
 */
#include "vssd_rig.h"

#define FLUSH(r) (&(struct snv_sqe){ .opcode = SNV_OP_FLUSH, .nsid = snv_le32((r)->nsid) })

/* @n commands, as many at a time as the queue takes; how many ended otherwise than well. */
static uint32_t flood(struct rig *r, uint32_t qid, uint32_t n)
{
	uint32_t bad = 0, sent = 0, done = 0, idle = 0, first = r->completions;

	while (done < n && idle < 1000) {
		while (sent < n && rig_room(r, qid)) {
			r->no_ring = true;
			rig_submit(r, qid, FLUSH(r));
			sent++;
		}
		r->no_ring = false;
		rig_ring(r, qid);
		idle = rig_step(r) ? 0 : idle + 1;
		rig_reap_cq(r, r->sq[qid].cqid);
		done = r->completions - first;
	}
	return n - done + bad;
}

static void create_errors(void)
{
	struct rig_config g;
	struct rig *r;
	uint64_t mem;
	uint32_t big;

	rig_defaults(&g);
	g.c.queues = 8;
	g.c.mqes = 1024;
	g.c.vectors = 5;
	r = rig_open(&g);
	rig_enable(r);
	mem = rig_mem(r, 65536);
	is(rig_set_feature(r, SNV_FEAT_NUM_QUEUES, 7 << 16 | 7), 0, "Base 5.27.1.5 8 queues asked for");

	is(rig_create_cq_raw(r, 0, 15, mem, 1), SNV_SC_QID_INVALID, "Base 5.4 CQ 0: Invalid Queue Identifier");
	is(rig_create_cq_raw(r, 9, 15, mem, 1), SNV_SC_QID_INVALID,
	   "Base 5.4 CQ 9 of 8: Invalid Queue Identifier");
	is(rig_create_cq_raw(r, 65535, 15, mem, 1), SNV_SC_QID_INVALID,
	   "Base 5.4 CQ 65,535: Invalid Queue Identifier");
	is(rig_create_cq_raw(r, 1, 0, mem, 1), SNV_SC_QUEUE_SIZE, "Base 5.4 a CQ of 1: Invalid Queue Size");
	is(rig_create_cq_raw(r, 1, 1024, mem, 1), SNV_SC_QUEUE_SIZE,
	   "Base 5.4 a CQ above MQES: Invalid Queue Size");
	is(rig_create_cq_raw(r, 1, 65535, mem, 1), SNV_SC_QUEUE_SIZE,
	   "Base 5.4 a CQ of 65,536: Invalid Queue Size");
	is(rig_create_cq_raw(r, 1, 15, mem, 1 | 2 | 5 << 16), SNV_SC_INVALID_VECTOR,
	   "Base 5.4 vector 5 of 5: Invalid Interrupt Vector");
	is(rig_create_cq_raw(r, 1, 15, mem, 1 | 2 | 0xffffu << 16), SNV_SC_INVALID_VECTOR,
	   "Base 5.4 vector 65,535: Invalid Interrupt Vector");
	is(rig_create_cq_raw(r, 1, 15, mem + 64, 1), SNV_SC_PRP_INVALID_OFFSET,
	   "Base 5.4 PRP1 with an offset: PRP Offset Invalid");
	ok(rig_create_cq_raw(r, 1, 15, 0xdead0000, 1) > 0, "Base 5.4 a CQ in memory that isn't there");
	is(rig_create_cq_raw(r, 1, 15, mem, 1 | 2 | 4 << 16), 0, "Base 5.4 CQ 1 is created");
	is(rig_create_cq_raw(r, 1, 15, mem, 1), SNV_SC_QID_INVALID,
	   "Base 5.4 CQ 1 again: Invalid Queue Identifier");

	is(rig_create_sq_raw(r, 0, 15, mem + 4096, 1 | 1 << 16), SNV_SC_QID_INVALID,
	   "Base 5.5 SQ 0: Invalid Queue Identifier");
	is(rig_create_sq_raw(r, 9, 15, mem + 4096, 1 | 1 << 16), SNV_SC_QID_INVALID,
	   "Base 5.5 SQ 9 of 8: Invalid Queue Identifier");
	is(rig_create_sq_raw(r, 1, 0, mem + 4096, 1 | 1 << 16), SNV_SC_QUEUE_SIZE,
	   "Base 5.5 an SQ of 1: Invalid Queue Size");
	is(rig_create_sq_raw(r, 1, 1024, mem + 4096, 1 | 1 << 16), SNV_SC_QUEUE_SIZE,
	   "Base 5.5 an SQ above MQES: Invalid Queue Size");
	is(rig_create_sq_raw(r, 1, 15, mem + 4096, 1 | 2 << 16), SNV_SC_CQ_INVALID,
	   "Base 5.5 for CQ 2, not created: Completion Queue Invalid");
	is(rig_create_sq_raw(r, 1, 15, mem + 4096, 1), SNV_SC_QID_INVALID,
	   "Base 5.5 for CQ 0: Invalid Queue Identifier");
	is(rig_create_sq_raw(r, 1, 15, mem + 4096, 1 | 9 << 16), SNV_SC_QID_INVALID,
	   "Base 5.5 for CQ 9 of 8: Invalid Queue Identifier");
	is(rig_create_sq_raw(r, 1, 15, mem + 8, 1 | 1 << 16), SNV_SC_PRP_INVALID_OFFSET,
	   "Base 5.5 PRP1 with an offset: PRP Offset Invalid");
	ok(rig_create_sq_raw(r, 1, 15, 0xdead0000, 1 | 1 << 16) > 0,
	   "Base 5.5 an SQ in memory that isn't there");
	is(rig_create_sq_raw(r, 1, 15, mem + 4096, 1 | 1 << 16), 0, "Base 5.5 SQ 1 is created");
	is(rig_create_sq_raw(r, 1, 15, mem + 4096, 1 | 1 << 16), SNV_SC_QID_INVALID,
	   "Base 5.5 SQ 1 again: Invalid Queue Identifier");
	is(rig_create_sq_raw(r, 8, 15, mem + 8192, 1 | 1 << 16), 0, "Base 5.5 SQ 8 on the same CQ");

	is(rig_delete_cq(r, 1), SNV_SC_INVALID_QUEUE_DELETION,
	   "Base 5.6 CQ 1 with two SQs: Invalid Queue Deletion");
	is(rig_delete_sq(r, 0), SNV_SC_QID_INVALID, "Base 5.7 SQ 0: Invalid Queue Identifier");
	is(rig_delete_sq(r, 3), SNV_SC_QID_INVALID, "Base 5.7 SQ 3, not there: Invalid Queue Identifier");
	is(rig_delete_sq(r, 65535), SNV_SC_QID_INVALID, "Base 5.7 SQ 65,535: Invalid Queue Identifier");
	is(rig_delete_sq(r, 8), 0, "Base 5.7 SQ 8");
	is(rig_delete_cq(r, 1), SNV_SC_INVALID_QUEUE_DELETION,
	   "Base 5.6 CQ 1 with one SQ: Invalid Queue Deletion");
	is(rig_delete_sq(r, 1), 0, "Base 5.7 SQ 1");
	is(rig_delete_sq(r, 1), SNV_SC_QID_INVALID, "Base 5.7 SQ 1 again: Invalid Queue Identifier");
	is(rig_delete_cq(r, 0), SNV_SC_QID_INVALID, "Base 5.6 CQ 0: Invalid Queue Identifier");
	is(rig_delete_cq(r, 1), 0, "Base 5.6 CQ 1");
	is(rig_delete_cq(r, 1), SNV_SC_QID_INVALID, "Base 5.6 CQ 1 again: Invalid Queue Identifier");

	for (big = 0; big < 20; big++)
		if (rig_create_pair(r, 2, 16) || flood(r, 2, 40) || rig_delete_sq(r, 2) ||
		    rig_delete_cq(r, 2))
			break;
	is(big, 20, "Base 5.4 - 5.7 a pair created, used and deleted 20 times");
	rig_close(r, "create");

	rig_defaults(&g);
	g.c.cqr = true;
	r = rig_open(&g);
	rig_enable(r);
	mem = rig_mem(r, 65536);
	is(rig_create_cq_raw(r, 1, 15, mem, 0), SNV_SC_INVALID_FIELD,
	   "Base 5.4 PC 0 with CAP.CQR 1: Invalid Field");
	is(rig_create_cq_raw(r, 1, 15, mem, 1), 0, "Base 5.4 PC 1");
	is(rig_create_sq_raw(r, 1, 15, mem + 4096, 1 << 16), SNV_SC_INVALID_FIELD,
	   "Base 5.5 PC 0 with CAP.CQR 1: Invalid Field");
	rig_close(r, "CQR");
}

/* PC 0: PRP1 is a list of the queue's pages. */
static void scattered(uint32_t depth)
{
	struct rig_config g;
	struct rig *r;
	uint32_t sq_pages = (depth * 64 + 4095) / 4096, cq_pages = (depth * 16 + 4095) / 4096, i, k;
	uint64_t lists[2], sq, cq;

	rig_defaults(&g);
	r = rig_open(&g);
	r->scatter = true;
	rig_enable(r);
	/* In the host's eyes one range; the list names its pages, which are not neighbours. */
	sq = rig_mem(r, depth * 64);
	cq = rig_mem(r, depth * 16);
	for (k = 0; k < 2; k++) {
		uint32_t pages = k ? sq_pages : cq_pages;
		uint64_t at = rig_mem(r, 4096);

		lists[k] = at;
		for (i = 0; i < pages; i++) {
			__le64 entry = snv_le64((k ? sq : cq) + i * 4096ull);

			if (at % 4096 == 4088 && i + 1 < pages) {
				uint64_t next = rig_mem(r, 4096);
				__le64 link = snv_le64(next);

				rig_put(r, at, &link, 8);
				at = next;
			}
			rig_put(r, at, &entry, 8);
			at += 8;
		}
	}
	if (ok(!rig_create_cq_raw(r, 1, depth - 1, lists[0], 0),
	       "Base 5.4 a CQ of %u entries in %u pages apart", depth, cq_pages))
		rig_host_cq(r, 1, depth, cq);
	if (ok(!rig_create_sq_raw(r, 1, depth - 1, lists[1], 1 << 16),
	       "Base 5.5 an SQ of %u entries in %u pages apart", depth, sq_pages))
		rig_host_queue(r, 1, depth, sq, 1);
	if (r->sq[1].live)
		is(flood(r, 1, 2 * depth + 17), 0, "Base 3.3 and it carries %u commands",
		   2 * depth + 17);
	{
		__le64 odd = snv_le64(sq + 8);
		uint64_t list = rig_mem(r, 4096);

		rig_put(r, list, &odd, 8);
		is(rig_create_cq_raw(r, 2, 15, list, 0), SNV_SC_PRP_INVALID_OFFSET,
		   "Base 4.1.1 a list entry with an offset: PRP Offset Invalid");
	}
	rig_close(r, "PC 0");
}

static void depths(void)
{
	static const uint32_t depth[] = { 2, 3, 5, 1000, 65536 };
	struct rig_config g;
	size_t i;

	for (i = 0; i < 5; i++) {
		struct rig *r;
		uint32_t n = depth[i] * 2 + 33;

		rig_defaults(&g);
		r = rig_open(&g);
		rig_enable(r);
		is(rig_create_pair(r, 1, depth[i]), 0, "Base 5.4, 5.5 a pair of depth %u", depth[i]);
		is(flood(r, 1, n), 0, "Base 3.3.1 depth %u carries %u commands, round and round",
		   depth[i], n);
		is(rig_create_cq(r, 2, 2, 2), 0, "Base 5.4 a CQ of 2");
		is(rig_create_sq(r, 2, depth[i], 2, 0), 0, "Base 5.5 an SQ of %u on it", depth[i]);
		is(flood(r, 2, n), 0, "Base 3.3.1 SQ of %u, CQ of 2", depth[i]);
		is(rig_create_cq(r, 3, depth[i], 3), 0, "Base 5.4 a CQ of %u", depth[i]);
		is(rig_create_sq(r, 3, 2, 3, 0), 0, "Base 5.5 an SQ of 2 on it");
		is(flood(r, 3, n < 5000 ? n : 5000), 0, "Base 3.3.1 SQ of 2, CQ of %u", depth[i]);
		rig_close(r, "depth");
	}
}

static void many(uint32_t workers)
{
	struct rig_config g;
	struct rig *r;
	uint32_t q, bad = 0, i;

	rig_defaults(&g);
	g.c.queues = VSSD_MAX_QUEUES;
	g.v.workers = workers;
	r = rig_open(&g);
	rig_enable(r);
	is(rig_set_feature(r, SNV_FEAT_NUM_QUEUES, 1023 << 16 | 1023), 0, "Base 5.27.1.5 1,024 asked for");
	is(rig_dw0(r), 1023 << 16 | 1023, "Base 5.27.1.5 1,024 granted");
	for (q = 1; q <= 1024; q++)
		bad += rig_create_pair(r, q, 2 + q % 7) != 0;
	is(bad, 0, "Base 5.4, 5.5 1,024 queue pairs, %u workers", workers);
	is(rig_create_cq_raw(r, 1025, 1, rig_mem(r, 4096), 1), SNV_SC_QID_INVALID, "Base 5.4 no 1,025th");
	for (i = 0; i < 8; i++) {
		uint32_t first = r->completions, turns = 0;

		for (q = 1; q <= 1024; q++)
			rig_submit(r, q, FLUSH(r));
		for (; r->completions - first < 1024 && turns < 5000; turns++) {
			rig_step(r);
			rig_reap(r);
		}
		bad += r->completions - first != 1024;
	}
	is(bad, 0, "Base 3.3 all 1,024 at once, 8 times");
	is(r->irqs[1024], 8, "Base 5.4 the interrupt of the last");
	for (q = 1; q <= 1024; q++)
		bad += rig_delete_sq(r, q) || rig_delete_cq(r, q);
	is(bad, 0, "Base 5.6, 5.7 all deleted");
	rig_close(r, "1,024 queues");
}

static void shared_cq(void)
{
	struct rig_config g;
	struct rig *r;
	uint32_t q, i, n = 0, first, turns;

	rig_defaults(&g);
	g.v.workers = 3;
	r = rig_open(&g);
	rig_enable(r);
	is(rig_create_cq(r, 3, 9, 3), 0, "Base 5.4 a CQ");
	for (q = 1; q <= 6; q++)
		is(rig_create_sq(r, q, 16 + q, 3, 0), 0, "Base 3.3.1.4 SQ %u shares it", q);
	first = r->completions;
	for (i = 0; i < 50; i++) {
		for (q = 1; q <= 6; q++) {
			while (!rig_room(r, q)) {
				rig_step(r);
				rig_reap_cq(r, 3);
			}
			rig_submit(r, q, FLUSH(r));
			n++;
		}
	}
	for (turns = 0; r->completions - first < n && turns < 1000; turns++) {
		rig_step(r);
		rig_reap_cq(r, 3);
	}
	is(r->completions - first, n, "Base 3.3.1.4 all commands of 6 SQs complete in one CQ of 9");
	is(rig_delete_sq(r, 4), 0, "Base 5.7 one of them deleted");
	is(flood(r, 5, 100), 0, "Base 5.7 the others go on");
	rig_close(r, "shared CQ");
}

static void full_cq(void)
{
	struct rig *r = rig_plain();
	struct snv_cqe seen[4];
	uint32_t i, turns;

	is(rig_create_cq(r, 2, 4, 2), 0, "Base 5.4 a CQ of 4");
	is(rig_create_sq(r, 2, 64, 2, 0), 0, "Base 5.5 an SQ of 64");
	r->cq[2].hold = true;
	for (i = 0; i < 40; i++)
		rig_submit(r, 2, FLUSH(r));
	rig_settle(r);
	rig_get(r, r->cq[2].addr, seen, sizeof(seen));
	for (i = 0; i < 3; i++)
		ok(snv_le32_get(seen[i].dw3) & SNV_CQE_DW3_P, "Base 3.3.1.3 entry %u of 4 is posted", i);
	is(snv_le32_get(seen[3].dw3), 0, "Base 3.3.1.3 a full queue has one entry free");
	is(rig_io(r, SNV_OP_READ, 0, 1, rig_mem(r, 4096), 512), 0, "another queue isn't held up");
	rig_settle(r);
	ok(!memcmp(seen, rig_ptr(r, r->cq[2].addr), sizeof(seen)),
	   "Base 3.3.1.3 nothing is overwritten while the head stands");
	r->cq[2].hold = false;
	for (turns = 0; turns < 200; turns++) {
		rig_reap_cq(r, 2);
		rig_step(r);
	}
	for (i = turns = 0; i < 65536; i++)
		turns += r->cmd[i].busy;
	is(turns, 0, "Base 3.3.1.3 all 40 complete when the head moves");

	/* A reset with a full queue. */
	r->cq[2].hold = true;
	for (i = 0; i < 40; i++)
		rig_submit(r, 2, FLUSH(r));
	rig_settle(r);
	ok(rig_disable(r) && rig_enable(r) && !rig_create_pair(r, 1, 16) && !flood(r, 1, 50),
	   "Base 3.7.2 a reset with a full queue");
	rig_create_cq(r, 2, 4, 2);
	rig_create_sq(r, 2, 64, 2, 0);
	r->cq[2].hold = true;
	for (i = 0; i < 40; i++)
		rig_submit(r, 2, FLUSH(r));
	rig_settle(r);
	{
		uint16_t cid = rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_DELETE_SQ, .cdw10 = snv_le32(2)));

		rig_settle(r);
		r->cq[2].hold = false;
		is(rig_wait(r, cid), 0, "Base 5.7 an SQ with a full CQ is deleted");
		for (turns = 0; turns < 100; turns++) {
			rig_reap_cq(r, 2);
			rig_step(r);
		}
		r->sq[2].live = false;
	}
	is(rig_delete_cq(r, 2), 0, "Base 5.6 and then its CQ");
	rig_close(r, "full CQ");
}

static void delete_in_io(void)
{
	struct rig *r = rig_plain();
	uint64_t buf = rig_mem(r, 4096);
	struct snv_sqe sqe = rig_rw(r, SNV_OP_READ, 0, 8);
	uint16_t cid[30], del;
	uint32_t i, odd = 0;

	sqe.prp1 = snv_le64(buf);
	r->ram->async = r->ram->held = true;
	for (i = 0; i < 30; i++)
		cid[i] = rig_submit(r, 1, &sqe);
	rig_settle(r);
	del = rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_DELETE_SQ, .cdw10 = snv_le32(1)));
	rig_settle(r);
	rig_reap(r);
	if (r->cmd[del].done) {
		for (i = 0; i < 30; i++)
			odd += r->cmd[cid[i]].busy;
		is(odd, 0, "Base 5.7 all its commands end before the deletion does");
	}
	r->ram->held = false;
	is(rig_wait(r, del), 0, "Base 5.7 an SQ deleted with 30 commands in flight");
	rig_reap(r);
	rig_reap(r);
	for (i = odd = 0; i < 30; i++) {
		int s = r->cmd[cid[i]].status & SNV_STATUS_CODE;

		odd += !r->cmd[cid[i]].done || (s && s != SNV_SC_ABORT_SQ_DELETED);
	}
	is(odd, 0, "Base 5.7 each ended well or with Command Aborted due to SQ Deletion");
	r->sq[1].live = false;
	rig_fill(r, buf, 0x33, 4096);
	rig_settle(r);
	ok(rig_all(r, buf, 4096, 0x33), "Base 5.7 nothing of it writes afterwards");
	is(rig_delete_cq(r, 1), 0, "Base 5.6 its CQ");
	is(rig_create_pair(r, 1, 16), 0, "Base 5.4, 5.5 created again");
	is(flood(r, 1, 100), 0, "Base 3.3 and used");
	rig_close(r, "delete in I/O");
}

/* The first @n completions in CQ 1, by SQ; all SQs have been filled before. */
static void shares(struct rig *r, uint32_t queues, uint32_t each, uint32_t n, uint32_t *share)
{
	uint16_t cid[5][128];
	uint32_t q, i, first = r->completions, turns;

	r->no_ring = true;
	for (q = 1; q <= queues; q++)
		for (i = 0; i < each; i++)
			cid[q][i] = rig_submit(r, q, FLUSH(r));
	r->no_ring = false;
	/* Lowest first, so that the order of ringing doesn't favour the urgent. */
	for (q = queues; q >= 1; q--)
		rig_ring(r, q);
	for (turns = 0; r->completions - first < queues * each && turns < 10000; turns++) {
		rig_step(r);
		rig_reap_cq(r, 1);
	}
	for (q = 1; q <= queues; q++) {
		share[q] = 0;
		for (i = 0; i < each; i++)
			share[q] += r->cmd[cid[q][i]].done &&
				    r->cmd[cid[q][i]].order - first < n;
	}
}

static void arbitration(void)
{
	static const uint32_t prio[] = { 0, SNV_SQ_CDW11_QPRIO_URGENT, SNV_SQ_CDW11_QPRIO_HIGH,
					 SNV_SQ_CDW11_QPRIO_MEDIUM, SNV_SQ_CDW11_QPRIO_LOW };
	uint32_t share[5], q, wrr;
	struct rig_config g;

	for (wrr = 0; wrr < 2; wrr++) {
		struct rig *r;

		rig_defaults(&g);
		g.c.wrr = true;
		g.cc = wrr ? SNV_CC_AMS_WRRU : SNV_CC_AMS_RR;
		r = rig_open(&g);
		rig_enable(r);
		rig_create_cq(r, 1, 1024, 1);
		for (q = 1; q <= 4; q++)
			rig_create_sq(r, q, 128, 1, prio[q]);
		/* HPW 8, MPW 4, LPW 1, burst 1 (Base 5.27.1.1) */
		is(rig_set_feature(r, SNV_FEAT_ARBITRATION, 7u << 24 | 3 << 16 | 0 << 8), 0,
		   "Base 5.27.1.1 weights 8, 4, 1");
		is(rig_get_feature(r, SNV_FEAT_ARBITRATION), 0, "Base 5.27.1.1 Get Features");
		is(rig_dw0(r), 7 << 24 | 3 << 16, "Base 5.27.1.1 they read back");
		if (wrr) {
			shares(r, 4, 110, 110, share);
			is(share[1], 110, "Base 3.4.4.2 the urgent class goes before all others");
			shares(r, 4, 110, 110 + 104, share);
			diag("of 104: high %u, medium %u, low %u", share[2], share[3], share[4]);
			ok(share[2] >= 60 && share[2] <= 68, "Base 3.4.4.2 high has 8/13");
			ok(share[3] >= 28 && share[3] <= 36, "Base 3.4.4.2 medium has 4/13");
			ok(share[4] >= 6 && share[4] <= 10, "Base 3.4.4.2 low has 1/13");
		} else {
			shares(r, 4, 100, 40, share);
			diag("of 40: %u %u %u %u", share[1], share[2], share[3], share[4]);
			for (q = 1; q <= 4; q++)
				ok(share[q] >= 8 && share[q] <= 12,
				   "Base 3.4.4.1 round robin gives SQ %u its quarter", q);
			is(rig_set_feature(r, SNV_FEAT_ARBITRATION, 3), 0, "Base 5.27.1.1 burst of 8");
			shares(r, 4, 64, 32, share);
			diag("of 32: %u %u %u %u", share[1], share[2], share[3], share[4]);
			for (q = 1; q <= 4; q++)
				is(share[q], 8, "Base 3.4.4.1 SQ %u has one burst in the first round", q);
		}
		is(rig_set_feature(r, SNV_FEAT_ARBITRATION, 7), 0, "Base 5.27.1.1 no limit to a burst");
		shares(r, 4, 100, 400, share);
		is(share[1] + share[2] + share[3] + share[4], 400, "Base 3.4.4 all complete");
		rig_close(r, "arbitration");
	}
}

static void interrupts(void)
{
	struct rig_config g;
	struct rig *r;
	uint32_t i, before, seen;

	rig_defaults(&g);
	g.c.vectors = 12;
	r = rig_open(&g);
	rig_enable(r);
	ok(!rig_create_cq(r, 1, 64, 7) && !rig_create_sq(r, 1, 64, 1, 0), "Base 5.4 CQ 1 has vector 7");
	ok(!rig_create_cq(r, 2, 64, -1) && !rig_create_sq(r, 2, 64, 2, 0), "Base 5.4 CQ 2 has none");
	ok(!rig_create_cq(r, 3, 64, 7) && !rig_create_sq(r, 3, 64, 3, 0), "Base 5.4 CQ 3 has 7 too");
	ok(r->irqs[0] >= 3, "Base 3.5.1 the admin CQ has vector 0");
	memset(r->irqs, 0, sizeof(r->irqs));
	is(rig_do(r, 1, FLUSH(r)), 0, "NVM 3.1 a command on queue 1");
	rig_settle(r);
	is(r->irqs[7], 1, "Base 5.4 one completion, one interrupt on its vector");
	is(rig_do(r, 2, FLUSH(r)), 0, "NVM 3.1 a command on queue 2");
	rig_settle(r);
	for (i = seen = 0; i < 2048; i++)
		seen += r->irqs[i];
	is(seen, 1, "Base 5.4 IEN 0: none");
	is(rig_do(r, 3, FLUSH(r)), 0, "NVM 3.1 a command on queue 3");
	rig_settle(r);
	is(r->irqs[7], 2, "Base 5.4 a shared vector");
	rig_settle(r);
	is(r->irqs[7], 2, "Base 5.4 and no more of them without completions");

	/* THR is zero-based: 4 completions; TIME 10 is 1 ms (Base 5.27.1.6). */
	is(rig_set_feature(r, SNV_FEAT_IRQ_COALESCE, 10 << 8 | 3), 0, "Base 5.27.1.6 4 completions or 1 ms");
	is(rig_get_feature(r, SNV_FEAT_IRQ_COALESCE), 0, "Base 5.27.1.6 Get Features");
	is(rig_dw0(r), 10 << 8 | 3, "Base 5.27.1.6 it reads back");
	is(rig_set_feature(r, SNV_FEAT_IRQ_CONFIG, 7), 0, "Base 5.27.1.7 vector 7 coalesces");
	r->env->freeze = true;
	r->cq[1].hold = true;
	before = r->irqs[7];
	for (i = 0; i < 3; i++)
		rig_submit(r, 1, FLUSH(r));
	rig_settle(r);
	is(r->irqs[7], before, "Base 5.27.1.6 3 of 4 completions: no interrupt yet");
	ok(vssd_next_due(r->v, 0) > r->env->now && vssd_next_due(r->v, 0) <= r->env->now + MS,
	   "Base 5.27.1.6 vssd_next_due() knows the aggregation time");
	rig_submit(r, 1, FLUSH(r));
	rig_settle(r);
	is(r->irqs[7], before + 1, "Base 5.27.1.6 the 4th: one interrupt");
	r->cq[1].hold = false;
	rig_reap(r);
	r->cq[1].hold = true;
	rig_submit(r, 1, FLUSH(r));
	rig_settle(r);
	is(r->irqs[7], before + 1, "Base 5.27.1.6 one completion: not at once");
	r->env->now += MS + 1000;
	rig_settle(r);
	is(r->irqs[7], before + 2, "Base 5.27.1.6 but when the time is over");
	r->cq[1].hold = false;
	rig_reap(r);
	is(rig_set_feature(r, SNV_FEAT_IRQ_CONFIG, 1u << 16 | 7), 0, "Base 5.27.1.7 CD for vector 7");
	is(ADMIN(r, .opcode = SNV_ADMIN_GET_FEATURES, .cdw10 = snv_le32(SNV_FEAT_IRQ_CONFIG),
		 .cdw11 = snv_le32(7)), 0, "Base 5.27.1.7 Get Features");
	is(rig_dw0(r), 1u << 16 | 7, "Base 5.27.1.7 it reads back");
	before = r->irqs[7];
	rig_submit(r, 1, FLUSH(r));
	rig_settle(r);
	is(r->irqs[7], before + 1, "Base 5.27.1.7 CD: no coalescing");
	ok(rig_set_feature(r, SNV_FEAT_IRQ_CONFIG, 12) > 0, "Base 5.27.1.7 vector 12 of 12 is refused");
	r->env->freeze = false;
	rig_reap(r);
	rig_close(r, "interrupts");
}

static void grants(void)
{
	static const struct {
		enum vssd_grant grant;
		uint32_t granted, asked, want;
	} table[] = {
		{ VSSD_GRANT_ASKED, 0, 3 << 16 | 5, 3 << 16 | 5 },
		{ VSSD_GRANT_ASKED, 0, 99 << 16 | 99, 15 << 16 | 15 },
		{ VSSD_GRANT_ASKED, 0, 0, 0 },
		{ VSSD_GRANT_MAX, 0, 0, 15 << 16 | 15 },
		{ VSSD_GRANT_MAX, 0, 0xfffe << 16 | 0xfffe, 15 << 16 | 15 },
		{ VSSD_GRANT_FIXED, 4, 0, 3 << 16 | 3 },
		{ VSSD_GRANT_FIXED, 4, 99 << 16 | 99, 3 << 16 | 3 },
	};
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(*table); i++) {
		struct rig_config g;
		struct rig *r;
		uint32_t n;

		rig_defaults(&g);
		g.c.queues = 16;
		g.c.grant = table[i].grant;
		g.c.granted = table[i].granted;
		r = rig_open(&g);
		rig_enable(r);
		is(rig_set_feature(r, SNV_FEAT_NUM_QUEUES, 0xffff), SNV_SC_INVALID_FIELD,
		   "Base 5.27.1.5 65,536 SQs: Invalid Field (%zu)", i);
		is(rig_set_feature(r, SNV_FEAT_NUM_QUEUES, 0xffffu << 16), SNV_SC_INVALID_FIELD,
		   "Base 5.27.1.5 65,536 CQs: Invalid Field (%zu)", i);
		is(rig_set_feature(r, SNV_FEAT_NUM_QUEUES, table[i].asked), 0,
		   "Base 5.27.1.5 Set Features (%zu)", i);
		is(rig_dw0(r), table[i].want, "Base 5.27.1.5 what it grants (%zu)", i);
		is(rig_get_feature(r, SNV_FEAT_NUM_QUEUES), 0, "Base 5.27.1.5 Get Features (%zu)", i);
		is(rig_dw0(r), table[i].want, "Base 5.27.1.5 it reads the same (%zu)", i);
		n = (table[i].want >> 16) + 1;
		is(rig_create_cq(r, n, 4, -1), 0, "Base 5.4 the last CQ granted (%zu)", i);
		is(rig_create_cq(r, n + 1, 4, -1), SNV_SC_QID_INVALID, "Base 5.4 the next (%zu)", i);
		n = (table[i].want & 0xffff) + 1;
		is(rig_create_sq(r, n, 4, (table[i].want >> 16) + 1, 0), 0,
		   "Base 5.5 the last SQ granted (%zu)", i);
		is(rig_create_sq(r, n + 1, 4, (table[i].want >> 16) + 1, 0), SNV_SC_QID_INVALID,
		   "Base 5.5 the next (%zu)", i);
		is(rig_set_feature(r, SNV_FEAT_NUM_QUEUES, 0), SNV_SC_CMD_SEQ_ERROR,
		   "Base 5.27.1.5 once there are queues: Command Sequence Error (%zu)", i);
		is(flood(r, n, 10), 0, "Base 3.3 the queue works (%zu)", i);
		rig_disable(r);
		rig_enable(r);
		is(rig_set_feature(r, SNV_FEAT_NUM_QUEUES, table[i].asked), 0,
		   "Base 3.7.2 after a reset it can be set again (%zu)", i);
		is(rig_dw0(r), table[i].want, "Base 5.27.1.5 the same (%zu)", i);
		rig_close(r, "grant");
	}
}

/* Doorbells as no host should ring them (PCIe 3.1.2, Base 5.2). */
static void hostile_doorbells(void)
{
	static const struct {
		uint32_t qid, value;
		bool cq, reg;
		int info;		/* -1: no event need come */
		const char *what;
	} table[] = {
		{ 1, 16, false, false, SNV_AER_ERROR_INVALID_DB_VAL, "SQ tail = depth, in memory" },
		{ 1, 0xffff, false, false, SNV_AER_ERROR_INVALID_DB_VAL, "SQ tail 65,535, in memory" },
		{ 1, 0xffffffff, false, false, SNV_AER_ERROR_INVALID_DB_VAL, "SQ tail 2^32 - 1, in memory" },
		{ 1, 16, false, true, SNV_AER_ERROR_INVALID_DB_VAL, "SQ tail = depth, by register" },
		{ 1, 16, true, false, SNV_AER_ERROR_INVALID_DB_VAL, "CQ head = depth, in memory" },
		{ 1, 0x7fffffff, true, false, SNV_AER_ERROR_INVALID_DB_VAL, "CQ head 2^31, in memory" },
		{ 1, 16, true, true, SNV_AER_ERROR_INVALID_DB_VAL, "CQ head = depth, by register" },
		{ 1, 9, true, true, SNV_AER_ERROR_INVALID_DB_VAL, "CQ head beyond the tail, by register" },
		{ 1, 9, true, false, SNV_AER_ERROR_INVALID_DB_VAL, "CQ head beyond the tail, in memory" },
		{ 5, 1, false, true, SNV_AER_ERROR_INVALID_DB_REG, "SQ that is not there, by register" },
		{ 5, 1, true, true, SNV_AER_ERROR_INVALID_DB_REG, "CQ that is not there, by register" },
		{ 5, 1, false, false, -1, "SQ that is not there, in memory" },
		{ 0, 32, false, false, SNV_AER_ERROR_INVALID_DB_VAL, "admin SQ tail = depth" },
		{ 0, 0xfff0, true, false, SNV_AER_ERROR_INVALID_DB_VAL, "admin CQ head 65,520" },
	};
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(*table); i++) {
		struct rig_config g;
		struct rig *r;
		uint16_t aer;

		rig_defaults(&g);
		r = rig_open(&g);
		rig_enable(r);
		rig_create_pair(r, 1, 16);
		rig_create_pair(r, 2, 16);
		aer = rig_submit(r, 0, SQE(.opcode = SNV_ADMIN_ASYNC_EVENT));
		rig_settle(r);
		flood(r, 1, 3);
		r->by_register = table[i].reg;
		rig_doorbell(r, table[i].qid, table[i].cq, table[i].value);
		r->by_register = false;
		rig_settle(r);
		rig_reap(r);
		if (table[i].info >= 0 && !table[i].qid) {
			diag("%s: CSTS %#x", table[i].what, rig_get32(r, SNV_REG_CSTS));
		} else if (table[i].info >= 0) {
			if (ok(r->cmd[aer].done, "Base 5.2 an event for: %s", table[i].what))
				is(r->cmd[aer].dw0 & 0xff07, table[i].info << 8 | SNV_AER_ERROR,
				   "Base 5.2 of the right kind");
		}
		is(flood(r, 2, 20), 0, "%s: another queue works on", table[i].what);
		ok(rig_disable(r) && rig_enable(r) && !rig_create_pair(r, 1, 16) &&
		   !flood(r, 1, 40), "%s: and a reset mends all", table[i].what);
		rig_close(r, table[i].what);
	}
}

/* A tail that only goes where it was: the same ring seen again runs nothing twice. */
static void doorbell_again(void)
{
	struct rig *r = rig_plain();
	uint32_t i, done;

	is(flood(r, 1, 10), 0, "Base 3.3.1 10 commands");
	done = r->completions;
	for (i = 0; i < 5; i++) {
		rig_ring(r, 1);
		r->by_register = !r->by_register;
		rig_doorbell(r, 1, true, r->cq[1].head);
		rig_settle(r);
		rig_reap(r);
	}
	is(r->completions, done, "Base 3.3.1 a doorbell with its old value runs nothing");
	r->by_register = true;
	is(flood(r, 1, 200), 0, "Base 3.3.1 doorbells by register from here on");
	r->by_register = false;
	is(flood(r, 1, 200), 0, "Base 3.3.1 and in memory again");
	rig_close(r, "doorbell again");
}

int main(void)
{
	create_errors();
	scattered(16);
	scattered(1000);
	scattered(65536);
	depths();
	many(1);
	many(3);
	shared_cq();
	full_cq();
	delete_in_io();
	arbitration();
	interrupts();
	grants();
	hostile_doorbells();
	doorbell_again();
	return done();
}
