// SPDX-License-Identifier: MIT
/*
 * A controller that no kernel driver runs: bring-up, admin commands, queues, resets, shutdown. NVMe
 * Base 2.0 sections 3.5 to 3.7 and 5. Below is a bus, see lib.h; above, the rest of the library.
 *
 * Whoever talks to the controller otherwise than through an I/O queue holds own->lock. A reset ends
 * the life of every queue: their state words change once CSTS.RDY is 0 and the controller reaches no
 * memory. A dead queue keeps its identifier until it is destroyed, so that a doorbell that its
 * thread may still ring is nobody else's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ctrl.h"

#define DATA_BYTES	4096		/* of an admin command */
#define EVENTS_ARMED	4		/* Asynchronous Event Requests */
#define EVENTS_AT_ONCE	16
#define BRING_UPS	3
#define ABORT_NS	1000000000ULL	/* for an Abort command, and for its victim to end */
#define SHUTDOWN_NS	5000000000ULL	/* where RTD3E says nothing */
#define LOOK_NS		1000000		/* between looks at CSTS while waiting for I/O */
#define IDLES_PER_LOOK	256
#define TURNS_AWAKE	2000		/* of a wait, before it naps */
#define NAP_NS		50000

/* ---- registers and waiting ------------------------------------------------------------------ */

static uint32_t read32(struct own *own, uint32_t offset)
{
	return (uint32_t)own->bus->ops->read(own->bus, offset, 4);
}

static void write32(struct own *own, uint32_t offset, uint32_t value)
{
	own->bus->ops->write(own->bus, offset, value, 4);
}

static uint64_t cap_to_ns(const struct own *own)
{
	uint32_t to = SNV_CAP_TO(own->cap);

	return (to ? to : 1) * 500000000ULL;
}

/* Turn number @turn of a wait. */
static void relax(struct own *own, uint32_t turn)
{
	static const struct timespec nap = { .tv_nsec = NAP_NS };

	if (own->bus->ops->pump && own->bus->ops->pump(own->bus))
		return;
	if (turn < TURNS_AWAKE)
		snv_thread_relax(turn);
	else
		nanosleep(&nap, NULL);
}

/*
 * Until the bits of @mask in CSTS are @value. 0; -ENODEV it is gone; -EIO it failed, unless it was to
 * stop, which ends that; -ETIMEDOUT.
 */
static int wait_csts(struct own *own, uint32_t mask, uint32_t value, uint64_t timeout)
{
	uint64_t end = snvme_now() + timeout;

	for (uint32_t turn = 0;; turn++) {
		bool late = snvme_now() >= end;
		uint32_t csts = read32(own, SNV_REG_CSTS);

		if (csts == UINT32_MAX)
			return -ENODEV;
		if (value && csts & SNV_CSTS_CFS)
			return -EIO;
		if ((csts & mask) == value)
			return 0;
		if (late)
			return -ETIMEDOUT;
		relax(own, turn);
	}
}

static uint32_t *doorbell(const struct own *own, uint32_t type, uint32_t qid)
{
	uint32_t index = 2 * qid + (type == SNVME_QUEUE_CQ);

	return (uint32_t *)((char *)own->bus->doorbells +
			    ((size_t)index << (2 + SNV_CAP_DSTRD(own->cap))));
}

static const uint32_t *asleep(const struct own *own, uint16_t cqid)
{
	return own->bus->ops->asleep ? own->bus->ops->asleep(own->bus, cqid) : NULL;
}

static void wake_admin(struct own *own)
{
	if (snvme_sleeps(asleep(own, 0)))
		own->bus->ops->wake(own->bus, 0);
}

/* ---- admin commands ------------------------------------------------------------------------- */

/* There is room: no more are in flight than one, its Abort, and the event requests. */
static struct admin_cmd *post(struct own *own, const struct snv_sqe *sqe)
{
	struct admin_cmd *cmd = own->cmd;

	while (cmd->state != ADMIN_FREE)
		cmd++;
	cmd->cid = (uint16_t)(own->turn++ * ADMIN_ENTRIES + (uint32_t)(cmd - own->cmd));
	cmd->state = ADMIN_BUSY;
	cmd->event = sqe->opcode == SNV_ADMIN_ASYNC_EVENT;
	own->sq[own->tail] = *sqe;
	own->sq[own->tail].cid = snv_le16(cmd->cid);
	own->tail = (own->tail + 1) % ADMIN_ENTRIES;
	if (own->bus->tracing && SNV_LOAD_RELAXED(own->bus->tracing))
		own->bus->ops->trace_sqe(own->bus, 0, cmd->cid);
	snv_doorbell_write(doorbell(own, SNVME_QUEUE_SQ, 0), own->tail);
	wake_admin(own);
	return cmd;
}

/* Completions of no command in flight, such as second ones, are passed over. */
static void reap(struct own *own)
{
	const struct snv_cqe *cqe;
	uint32_t dw3;

	if (!snv_cq_peek(&own->cq, &dw3))
		return;
	for (; (cqe = snv_cq_peek(&own->cq, &dw3)); snv_cq_advance(&own->cq)) {
		uint32_t index = dw3 % ADMIN_ENTRIES;
		struct admin_cmd *cmd = &own->cmd[index];

		if (index == ADMIN_DEPTH || cmd->state != ADMIN_BUSY ||
		    cmd->cid != (dw3 & SNV_CQE_DW3_CID))
			continue;
		cmd->status = dw3 >> SNV_CQE_DW3_STATUS_SHIFT & SNV_STATUS_CODE;
		cmd->result = snv_le32_get(cqe->dw0);
		cmd->state = ADMIN_DONE;
	}
	snv_cq_release(&own->cq);
	wake_admin(own);
}

/* Of a controller that is to be running: 0; -ENODEV it is gone; -EIO it failed, or was disabled. */
static int check_csts(struct own *own)
{
	uint32_t csts = read32(own, SNV_REG_CSTS);

	if (csts == UINT32_MAX)
		return -ENODEV;
	return csts & SNV_CSTS_CFS || !(csts & SNV_CSTS_RDY) ? -EIO : 0;
}

/* A status, 0; -ETIMEDOUT; and as check_csts(). */
static int await(struct own *own, struct admin_cmd *cmd, uint64_t timeout)
{
	uint64_t end = snvme_now() + timeout;

	for (uint32_t turn = 1;; turn++) {
		bool late = turn % 64 == 0 && snvme_now() >= end;
		int ret = turn % 64 ? 0 : check_csts(own);

		reap(own);
		if (cmd->state == ADMIN_DONE) {
			cmd->state = ADMIN_FREE;
			return cmd->status;
		}
		if (!ret && late)
			ret = -ETIMEDOUT;
		if (ret)
			return ret;
		relax(own, turn);
	}
}

/* @cmd is late: Base 5.1. Returns its status if it ended in time after all, -ETIMEDOUT, ... */
static int give_up(struct own *own, struct admin_cmd *cmd, uint64_t timeout)
{
	struct snv_sqe sqe = {
		.opcode = SNV_ADMIN_ABORT,
		.cdw10 = snv_le32((uint32_t)cmd->cid << 16),
	};
	int ret;

	if (timeout > ABORT_NS)
		timeout = ABORT_NS;
	ret = await(own, post(own, &sqe), timeout);
	if (ret >= 0)
		ret = await(own, cmd, timeout);
	if (ret == -ETIMEDOUT)
		own->failed = true;
	return ret == SNV_SC_ABORT_REQ ? -ETIMEDOUT : ret;
}

/*
 * Carry out a command. A status, 0; -ETIMEDOUT it took too long, and is over; with own->failed set:
 * -ETIMEDOUT it is not, -EIO the controller failed, -ENODEV it is gone.
 */
static int run(struct own *own, const struct snv_sqe *sqe, uint32_t *result, uint64_t timeout)
{
	struct admin_cmd *cmd = post(own, sqe);
	int ret = await(own, cmd, timeout);

	if (ret == -ETIMEDOUT)
		ret = give_up(own, cmd, timeout);
	if (ret == -EIO || ret == -ENODEV)
		own->failed = true;
	if (result)
		*result = ret ? 0 : cmd->result;
	return ret;
}

/* A command whose data, if any, are in own->data. */
static int run_simple(struct own *own, uint8_t opcode, uint32_t cdw10, uint32_t cdw11, bool data,
		      uint32_t *result)
{
	struct snv_sqe sqe = {
		.opcode = opcode,
		.prp1 = snv_le64(data ? own->admin_dma + (uint64_t)(own->data - own->admin) : 0),
		.cdw10 = snv_le32(cdw10),
		.cdw11 = snv_le32(cdw11),
	};

	return run(own, &sqe, result, snvme_timeout(own->ctrl));
}

/* ---- asynchronous events: Base 5.2 ----------------------------------------------------------- */

static void arm_event(struct own *own)
{
	struct snv_sqe sqe = { .opcode = SNV_ADMIN_ASYNC_EVENT };

	post(own, &sqe);
}

/* Reading its log page is what lets the controller report the next of the kind. */
static void note_event(struct own *own, uint32_t event)
{
	uint32_t type = event & SNV_AER_TYPE, info = event >> SNV_AER_INFO_SHIFT & 0xff;
	uint32_t log = event >> SNV_AER_LOG_SHIFT & 0xff;
	uint32_t bytes = log == SNV_LOG_CHANGED_NS ? 4096 : 512;

	SNV_STORE_RELAXED(&own->ctrl->last_event, event);
	SNV_STORE_RELAXED(&own->ctrl->events, own->ctrl->events + 1);
	if (type == SNV_AER_NOTICE && info == SNV_AER_NOTICE_NS_CHANGED)
		__atomic_fetch_add(&own->ctrl->ns_changes, 1, __ATOMIC_RELEASE);
	if (log)
		run_simple(own, SNV_ADMIN_GET_LOG_PAGE, log | (bytes / 4 - 1) << 16, 0, true, NULL);
}

/* Those that have come; as many again are waited for. A request that was refused is not renewed. */
static void handle_events(struct own *own)
{
	uint32_t left = EVENTS_AT_ONCE;

	for (uint32_t i = 0; i < ADMIN_DEPTH && left && !own->failed; i++) {
		struct admin_cmd *cmd = &own->cmd[i];

		if (!cmd->event || cmd->state != ADMIN_DONE)
			continue;
		cmd->state = ADMIN_FREE;
		if (cmd->status)
			continue;
		note_event(own, cmd->result);
		if (own->failed)
			break;
		arm_event(own);
		left--;
		i = UINT32_MAX;		/* what came meanwhile may be anywhere */
	}
}

/* ---- bring-up: Base 3.5.1 -------------------------------------------------------------------- */

static int disable(struct own *own)
{
	uint32_t cc = read32(own, SNV_REG_CC);
	int ret;

	if (cc == UINT32_MAX)
		return -ENODEV;
	write32(own, SNV_REG_CC, cc & ~(SNV_CC_EN | SNV_CC_SHN));
	ret = wait_csts(own, SNV_CSTS_RDY, 0, cap_to_ns(own));
	/* A reset keeps it, but who has the controller next may not know of it. */
	if (!ret && own->cmb)
		own->bus->ops->write(own->bus, SNV_REG_CMBMSC, 0, 8);
	return ret;
}

static int enable(struct own *own)
{
	size_t page = (size_t)1 << own->page_shift;
	struct snv_db db = { .mmio = doorbell(own, SNVME_QUEUE_CQ, 0) };
	uint32_t ams = SNV_CAP_AMS(own->cap) & SNV_CAP_AMS_WRRU ? SNV_CC_AMS_WRRU : SNV_CC_AMS_RR;
	uint32_t css = SNV_CAP_CSS(own->cap) & SNV_CAP_CSS_CSI ? SNV_CC_CSS_CSI : SNV_CC_CSS_NVM;

	memset(own->admin, 0, 3 * page);
	memset(own->cmd, 0, sizeof(own->cmd));
	own->tail = 0;
	own->failed = false;
	snv_cq_init(&own->cq, (struct snv_cqe *)(own->admin + page), ADMIN_ENTRIES, &own->state,
		    db);
	write32(own, SNV_REG_AQA, SNV_AQA_ASQS(ADMIN_ENTRIES - 1) | SNV_AQA_ACQS(ADMIN_ENTRIES - 1));
	own->bus->ops->write(own->bus, SNV_REG_ASQ, own->admin_dma, 8);
	own->bus->ops->write(own->bus, SNV_REG_ACQ, own->admin_dma + page, 8);
	if (own->cmb) {
		own->bus->ops->write(own->bus, SNV_REG_CMBMSC, own->cmb_dma | SNV_CMBMSC_CMSE | SNV_CMBMSC_CRE, 8);
		SNV_STORE_RELAXED(&own->cmb_works, !(read32(own, SNV_REG_CMBSTS) & SNV_CMBSTS_CBAI));
	}
	write32(own, SNV_REG_CC, SNV_CC_EN | css | ams | (own->page_shift - 12) << SNV_CC_MPS_SHIFT |
		6U << SNV_CC_IOSQES_SHIFT | 4U << SNV_CC_IOCQES_SHIFT);
	return wait_csts(own, SNV_CSTS_RDY, SNV_CSTS_RDY, cap_to_ns(own));
}

/* Can log2 @size be the size of entries, by an Identify field such as SQES? */
static bool entry_size(uint8_t field, uint32_t size)
{
	return (field & 0xfU) <= size && size <= field >> 4;
}

/* *@armed: requests for events that it takes; *@oaes: events that it can report. */
static int identify(struct own *own, uint32_t *armed, uint32_t *oaes)
{
	const struct snv_id_ctrl *id = (const struct snv_id_ctrl *)own->data;
	int ret = run_simple(own, SNV_ADMIN_IDENTIFY, SNV_CNS_CTRL, 0, true, NULL);
	uint32_t rtd3e;

	if (ret)
		return ret;
	/* Discovery and administrative controllers have no I/O queues; 0 is from before NVMe 1.4. */
	if (id->cntrltype > SNV_CNTRLTYPE_IO || !entry_size(id->sqes, 6) ||
	    !entry_size(id->cqes, 4))
		return -EOPNOTSUPP;
	*armed = id->aerl + 1U < EVENTS_ARMED ? id->aerl + 1U : EVENTS_ARMED;
	*oaes = snv_le32_get(id->oaes);
	rtd3e = snv_le32_get(id->rtd3e);
	own->shutdown_ns = rtd3e ? rtd3e * 1000ULL : SHUTDOWN_NS;
	return 0;
}

/*
 * Number of Queues, Base 5.27.1.5. What is conceded, in this order: what we want of each kind; where
 * a number is refused, half of it, down to one; of what is granted, whatever it is, all that we have
 * room for. Where there are fewer completion than submission queues, as many pairs as the fewer
 * make, and the rest is for who shares: that takes a word of the caller's, for it ties threads
 * together.
 */
static int set_queues(struct own *own)
{
	uint32_t granted, n = own->slots;
	int ret;

	do {
		ret = run_simple(own, SNV_ADMIN_SET_FEATURES, SNV_FEAT_NUM_QUEUES,
				 (n - 1) << SNV_NUM_QUEUES_CQ_SHIFT | (n - 1), false, &granted);
		n /= 2;
	} while (ret > 0 && n);
	if (ret)
		return ret;
	own->granted_sq = (granted & SNV_NUM_QUEUES_SQ) + 1;
	own->granted_cq = (granted >> SNV_NUM_QUEUES_CQ_SHIFT) + 1;
	return 0;
}

/* Without events, should they be refused, all else is there. */
static int set_events(struct own *own, uint32_t armed, uint32_t oaes)
{
	int ret = run_simple(own, SNV_ADMIN_SET_FEATURES, SNV_FEAT_ASYNC_EVENT,
			     (oaes & SNV_AEC_NS_ATTR) | 0x1f /* SMART critical warnings */, false,
			     NULL);

	if (ret < 0)
		return ret;
	while (armed--)
		arm_event(own);
	return 0;
}

static int start(struct own *own)
{
	uint32_t armed, oaes;
	int ret = enable(own);

	if (!ret)
		ret = identify(own, &armed, &oaes);
	if (!ret)
		ret = set_queues(own);
	if (!ret)
		ret = set_events(own, armed, oaes);
	return ret;
}

/* Queues that lived are dead; whoever sees it sees that all they had written is there. */
static void kill_queues(struct own *own, uint32_t state)
{
	for (uint32_t qid = 1; qid <= own->slots; qid++) {
		if (own->sq_state[qid] == SNVME_STATE_LIVE)
			SNV_STORE_RELEASE(&own->sq_state[qid], state);
		if (own->cq_state[qid] == SNVME_STATE_LIVE)
			SNV_STORE_RELEASE(&own->cq_state[qid], state);
	}
}

static void gone(struct own *own)
{
	own->state = SNVME_STATE_GONE;
	kill_queues(own, SNVME_STATE_GONE);
}

/* Whatever state it is in: down, and up again. 0; a status or an errno, and it is given up. */
static int bring_up(struct own *own)
{
	int ret = -EIO;

	for (int i = 0; i < BRING_UPS && (ret == -EIO || ret == -ETIMEDOUT); i++) {
		ret = disable(own);
		if (ret)
			break;
		kill_queues(own, SNVME_STATE_RESET);
		ret = start(own);
	}
	__atomic_fetch_add(&own->ctrl->ns_changes, 1, __ATOMIC_RELEASE);
	if (ret && ret != -ENODEV)
		disable(own);
	if (ret)
		gone(own);
	else
		own->state = SNVME_STATE_LIVE;
	return ret;
}

static int reset(struct own *own)
{
	own->epoch++;
	return bring_up(own) ? -ENODEV : 0;
}

/* As run(), and whatever goes wrong is put right by a reset. own->lock is held. */
static int command(struct own *own, const struct snv_sqe *sqe, uint32_t *result, uint64_t timeout)
{
	int ret;

	if (own->state != SNVME_STATE_LIVE)
		return -ENODEV;
	ret = run(own, sqe, result, timeout);
	if (!own->failed)
		handle_events(own);
	if (own->failed && reset(own))
		return -ENODEV;
	return ret == -EIO ? -ECONNRESET : ret;
}

/* What has happened while nobody asked? own->lock is held. */
static void look(struct own *own)
{
	if (own->state != SNVME_STATE_LIVE)
		return;
	own->failed = check_csts(own) != 0;
	if (!own->failed) {
		reap(own);
		handle_events(own);
	}
	if (own->failed)
		reset(own);
}

/* ---- queues ---------------------------------------------------------------------------------- */

/* A queue's handle: its identifier, and its kind above. */
#define CQ_HANDLE	(1U << 16)

static uint32_t *queue_state(struct own *own, uint32_t handle)
{
	uint32_t qid = handle & 0xffff;

	return handle & CQ_HANDLE ? &own->cq_state[qid] : &own->sq_state[qid];
}

static uint32_t used(const struct own *own, const uint32_t *state)
{
	uint32_t n = 0;

	for (uint32_t qid = 1; qid <= own->slots; qid++)
		n += state[qid] != SNVME_STATE_NONE;
	return n;
}

static uint32_t usable(const struct own *own, uint32_t granted)
{
	return granted < own->slots ? granted : own->slots;
}

static int create(struct own *own, struct snvme_queue_create *arg)
{
	static const uint32_t qprio[] = {
		[SNVME_QUEUE_MEDIUM] = SNV_SQ_CDW11_QPRIO_MEDIUM, [SNVME_QUEUE_URGENT] = SNV_SQ_CDW11_QPRIO_URGENT,
		[SNVME_QUEUE_HIGH] = SNV_SQ_CDW11_QPRIO_HIGH, [SNVME_QUEUE_LOW] = SNV_SQ_CDW11_QPRIO_LOW,
	};
	bool classes = SNV_CAP_AMS(own->cap) & SNV_CAP_AMS_WRRU;
	bool cq = arg->type == SNVME_QUEUE_CQ;
	uint32_t *state = cq ? own->cq_state : own->sq_state;
	uint32_t qid = 1, most = usable(own, cq ? own->granted_cq : own->granted_sq);
	struct snv_sqe sqe = {
		.opcode = cq ? SNV_ADMIN_CREATE_CQ : SNV_ADMIN_CREATE_SQ,
		.prp1 = snv_le64(snvme_own_ring_dma(own, arg->mem) + arg->mem_offset),
	};
	uint32_t cdw11 = cq ? SNV_CQ_CDW11_PC : SNV_SQ_CDW11_PC;
	bool in_cmb = snv_le64_get(sqe.prp1) - own->cmb_dma < own->cmb_bytes;
	int ret;

	if (own->state != SNVME_STATE_LIVE)
		return -ENODEV;
	if (!cq && *queue_state(own, arg->cq) != SNVME_STATE_LIVE)
		return -ESTALE;
	if ((arg->flags && !classes) || (in_cmb && !own->cmb_works))
		return -EOPNOTSUPP;
	while (qid <= most && state[qid] != SNVME_STATE_NONE)
		qid++;
	if (qid > most)
		return -ENOSPC;
	if (!cq)
		cdw11 |= (arg->cq & 0xffff) << SNV_SQ_CDW11_CQID_SHIFT | (classes ? qprio[arg->flags] : 0);
	sqe.cdw10 = snv_le32((arg->entries - 1) << SNV_QUEUE_CDW10_QSIZE_SHIFT | qid);
	sqe.cdw11 = snv_le32(cdw11);
	/* Alive from here on, for a reset to find it. */
	state[qid] = SNVME_STATE_LIVE;
	ret = command(own, &sqe, NULL, snvme_timeout(own->ctrl));
	if (ret) {
		state[qid] = SNVME_STATE_NONE;
		return ret > 0 ? -EIO : ret;
	}
	arg->qid = qid;
	arg->handle = qid | (cq ? CQ_HANDLE : 0);
	arg->epoch = own->epoch;
	return 0;
}

static int own_queue_create(struct snvme_ctrl *ctrl, struct snvme_queue_create *arg,
			    struct snv_db *db, const uint32_t **state)
{
	struct own *own = ctrl->priv;
	int ret;

	pthread_mutex_lock(&own->lock);
	ret = create(own, arg);
	pthread_mutex_unlock(&own->lock);
	if (ret)
		return ret;
	*db = (struct snv_db){ .mmio = doorbell(own, arg->type, arg->qid) };
	*state = queue_state(own, arg->handle);
	return 0;
}

/* What the controller does not know is as good as deleted. QEMU's has another status for completion queues. */
static bool unknown_queue(uint32_t handle, int status)
{
	return status == SNV_SC_QID_INVALID || (handle & CQ_HANDLE && status == SNV_SC_CQ_INVALID);
}

static int own_queue_destroy(struct snvme_ctrl *ctrl, uint32_t handle)
{
	struct own *own = ctrl->priv;
	uint32_t *state = queue_state(own, handle);
	struct snv_sqe sqe = {
		.opcode = handle & CQ_HANDLE ? SNV_ADMIN_DELETE_CQ : SNV_ADMIN_DELETE_SQ,
		.cdw10 = snv_le32(handle & 0xffff),
	};
	int ret = 0;

	pthread_mutex_lock(&own->lock);
	if (*state == SNVME_STATE_LIVE)
		ret = command(own, &sqe, NULL, snvme_timeout(ctrl));
	if (!ret || unknown_queue(handle, ret) || *state != SNVME_STATE_LIVE) {
		*state = SNVME_STATE_NONE;
		ret = 0;
	}
	pthread_mutex_unlock(&own->lock);
	return ret > 0 ? -EIO : ret;
}

/* ---- the rest of the transport --------------------------------------------------------------- */

static int own_admin(struct snvme_ctrl *ctrl, struct snvme_admin *cmd)
{
	struct own *own = ctrl->priv;
	struct snv_sqe sqe = {
		.opcode = cmd->opcode,
		.nsid = snv_le32(cmd->nsid),
		.cdw10 = snv_le32(cmd->cdw10),
		.cdw11 = snv_le32(cmd->cdw11),
		.cdw12 = snv_le32(cmd->cdw12),
		.cdw13 = snv_le32(cmd->cdw13),
		.cdw14 = snv_le32(cmd->cdw14),
		.cdw15 = snv_le32(cmd->cdw15),
	};
	uint64_t timeout = cmd->timeout_ms ? cmd->timeout_ms * 1000000ULL : snvme_timeout(ctrl);
	int ret;

	pthread_mutex_lock(&own->lock);
	if (cmd->length) {
		sqe.prp1 = snv_le64(own->admin_dma + (uint64_t)(own->data - own->admin));
		if (cmd->opcode & 1)
			memcpy(own->data, cmd->data, cmd->length);
	}
	ret = command(own, &sqe, &cmd->result, timeout);
	if (!ret && cmd->opcode & 2 && cmd->length)
		memcpy(cmd->data, own->data, cmd->length);
	pthread_mutex_unlock(&own->lock);
	return ret;
}

static int own_identify(struct snvme_ctrl *ctrl, uint32_t cns, uint32_t nsid, void *buf)
{
	struct snvme_admin cmd = {
		.opcode = SNV_ADMIN_IDENTIFY, .nsid = nsid, .cdw10 = cns,
		.data = buf, .length = DATA_BYTES,
	};

	return own_admin(ctrl, &cmd);
}

static int own_info(struct snvme_ctrl *ctrl, struct snvme_info *info)
{
	struct own *own = ctrl->priv;

	pthread_mutex_lock(&own->lock);
	look(own);
	*info = (struct snvme_info){
		.size = sizeof(*info),
		.ctrl_flags = SNVME_CTRL_ATTACHED | (own->bus->iommu ? SNVME_CTRL_IOMMU : 0),
		.state = own->state,
		.epoch = own->epoch,
		.cap = own->cap,
		.page_shift = own->page_shift,
		.granted_sq = own->granted_sq,
		.granted_cq = own->granted_cq,
		.used_sq = used(own, own->sq_state),
		.used_cq = used(own, own->cq_state),
	};
	if (own->state == SNVME_STATE_LIVE)
		info->vs = read32(own, SNV_REG_VS);
	if (usable(own, own->granted_sq) > info->used_sq)
		info->spare_sq = usable(own, own->granted_sq) - info->used_sq;
	if (usable(own, own->granted_cq) > info->used_cq)
		info->spare_cq = usable(own, own->granted_cq) - info->used_cq;
	pthread_mutex_unlock(&own->lock);
	return 0;
}

static int own_reset(struct snvme_ctrl *ctrl)
{
	struct own *own = ctrl->priv;
	int ret = -ENODEV;

	pthread_mutex_lock(&own->lock);
	if (own->state != SNVME_STATE_GONE)
		ret = reset(own);
	pthread_mutex_unlock(&own->lock);
	return ret;
}

static int own_abort(struct snvme_ctrl *ctrl, uint16_t qid, uint16_t cid)
{
	struct own *own = ctrl->priv;
	struct snv_sqe sqe = {
		.opcode = SNV_ADMIN_ABORT,
		.cdw10 = snv_le32((uint32_t)cid << 16 | qid),
	};
	uint32_t result;
	int ret;

	pthread_mutex_lock(&own->lock);
	ret = command(own, &sqe, &result, snvme_timeout(ctrl));
	pthread_mutex_unlock(&own->lock);
	return ret ? ret : result & 1 ? -ENOENT : 0;
}

static const uint32_t *own_asleep(struct snvme_ctrl *ctrl, uint16_t cqid)
{
	return asleep(ctrl->priv, cqid);
}

static void own_wake(struct snvme_ctrl *ctrl, uint16_t cqid)
{
	struct own *own = ctrl->priv;

	own->bus->ops->wake(own->bus, cqid);
}

static void own_awake(struct snvme_ctrl *ctrl, int change)
{
	struct own *own = ctrl->priv;

	if (own->bus->ops->awake)
		own->bus->ops->awake(own->bus, change);
}

static const uint32_t *own_tracing(struct snvme_ctrl *ctrl)
{
	struct own *own = ctrl->priv;

	return own->bus->tracing;
}

static void own_trace_sqe(struct snvme_ctrl *ctrl, uint16_t qid, uint16_t cid)
{
	struct own *own = ctrl->priv;

	own->bus->ops->trace_sqe(own->bus, qid, cid);
}

static bool own_idle(struct snvme_ctrl *ctrl)
{
	struct own *own = ctrl->priv;
	uint32_t idles = SNV_LOAD_RELAXED(&own->idles) + 1;
	uint64_t t;

	if (own->bus->ops->pump && own->bus->ops->pump(own->bus))
		return true;
	SNV_STORE_RELAXED(&own->idles, idles);
	if (idles % IDLES_PER_LOOK)
		return false;
	t = snvme_now();
	if (t < SNV_LOAD_RELAXED(&own->look_at) || pthread_mutex_trylock(&own->lock))
		return false;
	SNV_STORE_RELAXED(&own->look_at, t + LOOK_NS);
	look(own);
	pthread_mutex_unlock(&own->lock);
	return false;
}

static void own_events(struct snvme_ctrl *ctrl)
{
	struct own *own = ctrl->priv;

	if (pthread_mutex_trylock(&own->lock))
		return;
	if (own->state == SNVME_STATE_LIVE) {
		reap(own);
		handle_events(own);
		if (own->failed)
			reset(own);
	}
	pthread_mutex_unlock(&own->lock);
}

/* ---- opening and closing --------------------------------------------------------------------- */

/* Base 3.6.1. */
static void shut_down(struct own *own)
{
	uint32_t cc = read32(own, SNV_REG_CC);

	write32(own, SNV_REG_CC, (cc & ~SNV_CC_SHN) | SNV_CC_SHN_NORMAL);
	wait_csts(own, SNV_CSTS_SHST, SNV_CSTS_SHST_COMPLETE, own->shutdown_ns);
	disable(own);
}

static void free_own(struct own *own)
{
	own->bus->ops->close(own->bus);
	if (own->admin)
		munmap(own->admin, (size_t)3 << own->page_shift);
	pthread_mutex_destroy(&own->map_lock);
	pthread_mutex_destroy(&own->lock);
	free(own->sq_state);
	free(own->cq_state);
	free(own);
}

static void own_close(struct snvme_ctrl *ctrl)
{
	struct own *own = ctrl->priv;

	if (own->state == SNVME_STATE_LIVE)
		shut_down(own);
	snvme_own_mem_close(own);
	free_own(own);
}

static const struct snvme_transport own_ops = {
	.close = own_close,
	.info = own_info,
	.identify = own_identify,
	.mem_map = snvme_own_mem_map,
	.mem_unmap = snvme_own_mem_unmap,
	.ring_alloc = snvme_own_ring_alloc,
	.ring_free = snvme_own_ring_free,
	.cmb_alloc = snvme_own_cmb_alloc,
	.queue_create = own_queue_create,
	.queue_destroy = own_queue_destroy,
	.admin = own_admin,
	.reset = own_reset,
	.abort = own_abort,
	.asleep = own_asleep,
	.wake = own_wake,
	.idle = own_idle,
	.events = own_events,
	.tracing = own_tracing,
	.trace_sqe = own_trace_sqe,
	.awake = own_awake,
	.far_map = snvme_own_far_map,
	.far_unmap = snvme_own_far_unmap,
	.far_doorbell = snvme_own_far_doorbell,
};

/* The controller's own memory, if it has any that submission queues may lie in, and we can get at it: Base 8.5. */
static void find_cmb(struct own *own)
{
	uint32_t cmbloc, cmbsz, shift;

	if (!SNV_CAP_CMBS(own->cap) || !own->bus->ops->cmb)
		return;
	own->bus->ops->write(own->bus, SNV_REG_CMBMSC, SNV_CMBMSC_CRE, 8);
	cmbloc = read32(own, SNV_REG_CMBLOC);
	cmbsz = read32(own, SNV_REG_CMBSZ);
	shift = 12 + 4 * (cmbsz >> SNV_CMBSZ_SZU_SHIFT & 7);	/* 7 and more are reserved */
	own->cmb_bytes = (size_t)(cmbsz >> SNV_CMBSZ_SZ_SHIFT) << shift;
	if (cmbsz & SNV_CMBSZ_SQS && own->cmb_bytes)
		own->cmb = own->bus->ops->cmb(own->bus, cmbloc & SNV_CMBLOC_BIR,
					      (uint64_t)(cmbloc >> SNV_CMBLOC_OFST_SHIFT) << shift, &own->cmb_bytes,
					      &own->cmb_dma);
	if (!own->cmb)
		own->cmb_bytes = 0;
}

/* What a bring-up needs and a reset keeps. */
static int prepare(struct own *own)
{
	uint32_t shift = 12;
	size_t page;

	own->cap = own->bus->ops->read(own->bus, SNV_REG_CAP, 8);
	if (own->cap == UINT64_MAX)
		return -ENODEV;
	if (!(SNV_CAP_CSS(own->cap) & (SNV_CAP_CSS_NVM | SNV_CAP_CSS_CSI)))
		return -EOPNOTSUPP;
	/* The system's page size, or the smallest of the controller's above it. */
	while (shift < 12 + SNV_CAP_MPSMAX(own->cap) &&
	       (shift < 12 + SNV_CAP_MPSMIN(own->cap) || 1L << shift < sysconf(_SC_PAGESIZE)))
		shift++;
	own->page_shift = shift;
	page = (size_t)1 << shift;
	own->slots = own->bus->queues;
	own->sq_state = calloc(own->slots + 1, sizeof(*own->sq_state));
	own->cq_state = calloc(own->slots + 1, sizeof(*own->cq_state));
	own->admin = snvme_pages_alloc(3 * page, page);
	if (!own->sq_state || !own->cq_state || !own->admin)
		return -ENOMEM;
	own->sq = (struct snv_sqe *)own->admin;
	own->data = own->admin + 2 * page;
	find_cmb(own);
	return own->bus->ops->map(own->bus, own->admin, 3 * page, &own->admin_dma);
}

int snvme_own_open(struct snvme_ctrl *ctrl, struct snvme_bus *bus)
{
	struct own *own = calloc(1, sizeof(*own));
	int ret;

	if (!own) {
		bus->ops->close(bus);
		return -ENOMEM;
	}
	own->ctrl = ctrl;
	own->bus = bus;
	pthread_mutex_init(&own->lock, NULL);
	pthread_mutex_init(&own->map_lock, NULL);
	ret = prepare(own);
	if (!ret)
		ret = bring_up(own);
	if (ret) {
		free_own(own);
		return ret;
	}
	snprintf(ctrl->fixed.name, sizeof(ctrl->fixed.name), "%s", bus->name);
	ctrl->fixed.cmb_bytes = own->cmb_works ? own->cmb_bytes : 0;
	ctrl->priv = own;
	ctrl->ops = &own_ops;
	return 0;
}
