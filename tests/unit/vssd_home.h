/* SPDX-License-Identifier: MIT */
/*
 * A host in the process of a vssd home: it brings the controller up, and does I/O on queues of its
 * own. A wait that takes too long ends the program.
 */
#ifndef TEST_VSSD_HOME_H
#define TEST_VSSD_HOME_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "hal.h"
#include <snvme/nvme.h>

#include "user/home.h"

#define HOST_ENTRIES	64
#define HOST_QUEUES	5		/* the admin queue and four */
#define HOST_MEMORY	(4U << 20)	/* registered; the first of it holds the queues */
#define HOST_DATA	(1U << 20)	/* where they end */

/* A pair of queues. */
struct host_queue {
	struct snv_sqe *sq;
	struct snv_cqe *cq;
	uint16_t qid;
	uint16_t tail;
	uint16_t head;
	uint16_t phase;
	uint16_t cid;
};

struct host {
	struct vssd_home *home;
	struct vssd_ctrl *ctrl;
	char *mem;
	struct host_queue q[HOST_QUEUES];
};

static uint64_t host_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* One turn of a wait that began at @since. */
static void host_relax(struct host *h, uint64_t since, const char *what)
{
	if (!vssd_home_pump(h->home))
		sched_yield();
	if (host_now() - since > 300000000000ULL) {
		printf("Bail out! waited too long for %s\n", what);
		fflush(stdout);
		_exit(3);
	}
}

static void host_ring(struct host *h, uint16_t qid, bool cq, uint32_t value)
{
	const uint32_t *asleep = vssd_home_asleep(h->home, qid);

	snv_doorbell_write((uint32_t *)vssd_home_doorbells(h->home) + 2 * qid + cq, value);
	if (asleep && SNV_LOAD_RELAXED(asleep))
		vssd_home_wake(h->home, qid);
}

/* Returns the command's identifier. */
static uint16_t host_submit(struct host *h, uint16_t qid, const struct snv_sqe *sqe)
{
	struct host_queue *q = &h->q[qid];
	struct snv_sqe *to = &q->sq[q->tail];

	*to = *sqe;
	to->cid = snv_le16(q->cid);
	q->tail = (q->tail + 1) % HOST_ENTRIES;
	host_ring(h, qid, false, q->tail);
	return q->cid++;
}

/* The next completion, if there is one: its identifier and status. */
static bool host_reap(struct host *h, uint16_t qid, uint16_t *cid, int *status)
{
	struct host_queue *q = &h->q[qid];
	uint32_t dw3 = snv_cqe_load_dw3(&q->cq[q->head].dw3);

	if (!!(dw3 & SNV_CQE_DW3_P) != q->phase)
		return false;
	*cid = dw3 & SNV_CQE_DW3_CID;
	*status = dw3 >> SNV_CQE_DW3_STATUS_SHIFT & SNV_STATUS_CODE;
	q->head = (q->head + 1) % HOST_ENTRIES;
	q->phase ^= !q->head;
	host_ring(h, qid, true, q->head);
	return true;
}

/* A command, alone on its queue: its status. */
static int host_do(struct host *h, uint16_t qid, const struct snv_sqe *sqe)
{
	uint64_t since = host_now();
	uint16_t want = host_submit(h, qid, sqe), cid;
	int status;

	while (!host_reap(h, qid, &cid, &status))
		host_relax(h, since, "a completion");
	return cid == want ? status : -1;
}

static void host_queue_init(struct host *h, uint16_t qid)
{
	struct host_queue *q = &h->q[qid];
	char *mem = h->mem + qid * 65536;

	memset(mem, 0, 65536);
	*q = (struct host_queue){ (void *)mem, (void *)(mem + 32768), .qid = qid, .phase = 1 };
}

static void host_set_cc(struct host *h, uint32_t cc)
{
	uint64_t since = host_now();

	vssd_reg_write(h->ctrl, SNV_REG_CC, cc, 4);
	vssd_home_wake(h->home, 0);
	while ((vssd_reg_read(h->ctrl, SNV_REG_CSTS, 4) & SNV_CSTS_RDY) != (cc & SNV_CC_EN))
		host_relax(h, since, "CSTS.RDY");
}

/* Enable the controller, and create I/O queues 1 .. @queues. 0, or a status. */
static int host_enable(struct host *h, uint16_t queues)
{
	host_queue_init(h, 0);
	vssd_reg_write(h->ctrl, SNV_REG_AQA, (HOST_ENTRIES - 1) << 16 | (HOST_ENTRIES - 1), 4);
	vssd_reg_write(h->ctrl, SNV_REG_ASQ, (uintptr_t)h->q[0].sq, 8);
	vssd_reg_write(h->ctrl, SNV_REG_ACQ, (uintptr_t)h->q[0].cq, 8);
	host_set_cc(h, SNV_CC_EN | 6U << SNV_CC_IOSQES_SHIFT | 4U << SNV_CC_IOCQES_SHIFT);
	for (uint16_t qid = 1; qid <= queues; qid++) {
		struct snv_sqe sqe = { .opcode = SNV_ADMIN_CREATE_CQ };
		int status;

		host_queue_init(h, qid);
		sqe.prp1 = snv_le64((uintptr_t)h->q[qid].cq);
		sqe.cdw10 = snv_le32((HOST_ENTRIES - 1) << 16 | qid);
		sqe.cdw11 = snv_le32(1);		/* physically contiguous */
		status = host_do(h, 0, &sqe);
		if (status)
			return status;
		sqe.opcode = SNV_ADMIN_CREATE_SQ;
		sqe.prp1 = snv_le64((uintptr_t)h->q[qid].sq);
		sqe.cdw11 = snv_le32((uint32_t)qid << 16 | 1);
		status = host_do(h, 0, &sqe);
		if (status)
			return status;
	}
	return 0;
}

/* Returns 0, or an errno with a sentence in @why. */
static int host_open(struct host *h, const char *spec, uint16_t queues, char *why, size_t size)
{
	int ret = vssd_home_open(spec, NULL, &h->home, why, size);

	if (ret)
		return ret;
	h->ctrl = vssd_home_ctrl(h->home);
	h->mem = mmap(NULL, HOST_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ret = vssd_home_map(h->home, h->mem, HOST_MEMORY);
	if (!ret && host_enable(h, queues))
		ret = -EIO;
	if (ret) {
		snprintf(why, size, "the controller does not come up");
		vssd_home_close(h->home);
	}
	return ret;
}

static void host_close(struct host *h)
{
	vssd_home_close(h->home);
	munmap(h->mem, HOST_MEMORY);
}

/* A read or write of @nlb blocks at @slba, @bytes in all, to or from @buf, page aligned. */
static struct snv_sqe host_rw(uint8_t opcode, uint64_t slba, uint32_t nlb, void *buf, uint32_t bytes)
{
	struct snv_sqe sqe = { .opcode = opcode, .nsid = snv_le32(1) };

	sqe.prp1 = snv_le64((uintptr_t)buf);
	if (bytes > 4096)			/* two pages at most */
		sqe.prp2 = snv_le64((uintptr_t)buf + 4096);
	sqe.cdw10 = snv_le32((uint32_t)slba);
	sqe.cdw11 = snv_le32(slba >> 32);
	sqe.cdw12 = snv_le32(nlb - 1);
	return sqe;
}

#endif /* TEST_VSSD_HOME_H */
