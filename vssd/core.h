/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Private to the vssd core: the objects, who guards them, and what each file offers the others.
 *
 * Guards. "worker": the lock of the worker that a queue belongs to. "stopped": all workers' locks.
 * The admin queues belong to worker 0, but admin commands run stopped. A field without a remark is
 * set once, before anybody else sees the object.
 */
#ifndef VSSD_CORE_H
#define VSSD_CORE_H

#include "hal.h"
#include <snvme/nvme.h>

#include "lock.h"
#include "vssd.h"

/* What a step of a command returns, when it is not an NVMe status >= 0; VSSD_PENDING is -1. */
#define VSSD_AGAIN	(-2)	/* cmd->step is the next step: go on with it now */
#define VSSD_RETRY	(-3)	/* call cmd->step again later: something must drain first */
#define VSSD_HELD	(-4)	/* the command's completion is somebody else's business from here on */

#define VSSD_SPARE_COMMANDS	16	/* of a worker's pool: admin commands find one whatever I/O takes */
#define VSSD_INLINE_SEGS	34	/* 128 KiB in pages, at any offset, and one to spare */
#define VSSD_NO_VALUE	UINT64_MAX	/* what no doorbell says */
#define VSSD_AERL		3	/* zero-based */
#define VSSD_ACL		3	/* zero-based */
#define VSSD_ELPE		63	/* zero-based */
#define VSSD_RTD3E		60000000U	/* microseconds of a shutdown that flushes */
#define VSSD_NPSS		1	/* zero-based: two power states */
#define VSSD_RAB		4	/* commands of a burst, log2 */
#define VSSD_KAS		10	/* granularity of the keep alive timer, 100 ms */
#define VSSD_TEMPERATURE	300U	/* kelvins, always */
#define VSSD_WCTEMP		343U	/* warning and critical composite temperature */
#define VSSD_CCTEMP		353U
#define VSSD_FR			"1.0     "	/* firmware revision */
#define VSSD_COPY_MSSRL		2048	/* blocks of a source range */
#define VSSD_COPY_MCL		4096	/* blocks of a Copy command */
#define VSSD_COPY_MSRC		127	/* source ranges, zero-based */
#define VSSD_NLBAF		4	/* 512, 512 + 8, 4096, 4096 + 8 */

/* Memory of the host, in pieces. @far: for media only, perhaps out of the CPU's reach. */
struct vssd_segs {
	bool far;
	struct vssd_seg *seg;		/* inl, or allocated with cap entries and kept */
	uint32_t n;
	uint32_t cap;
	struct vssd_seg inl[VSSD_INLINE_SEGS];
};

/* A ring in host memory: pages of it, since DMA contiguity is not contiguity of pointers. */
struct vssd_ring {
	char **page;
	size_t page_size;
	uint32_t pages;
	uint32_t shift;		/* log2 of the entries in a page */
	uint32_t entries;
};

static inline void *vssd_ring_at(const struct vssd_ring *ring, uint32_t index, uint32_t entry_shift)
{
	return ring->page[index >> ring->shift] +
	       ((size_t)(index & ((1U << ring->shift) - 1)) << entry_shift);
}

enum vssd_cmd_state {
	VSSD_CMD_FREE,
	VSSD_CMD_RUNNING,	/* on the stack of its worker */
	VSSD_CMD_MEDIA,		/* a transfer is in flight */
	VSSD_CMD_TIMED,		/* done, to be posted at cmd->due: in the worker's heap */
	VSSD_CMD_RETRY,		/* in the worker's, or the stopped, list of those to call again */
	VSSD_CMD_HUNG,		/* VSSD_FAULT_HANG, or Delete SQ waiting: in its queue's list only */
};

/**
 * struct vssd_cmd - a command being carried out. Guard: its worker; stopped for admin commands
 * @sqe: copied once; nobody reads the host's again
 * @worker, @ctrl, @sq: where it came from
 * @ns: its namespace or NULL; set by whoever checked NSID
 * @step: what to do next
 * @io, @io_status: transfer with a medium, and how it ended
 * @data, @meta: host memory of data and of separate metadata
 * @length: bytes of data the host's memory describes
 * @bounce: memory of the command's own, freed at its end
 * @due: when it may be posted
 * @begun: when it was fetched; 0 unless a model, a fault or the trace wants to know
 * @status, @dw0, @dw1: of its completion
 * @stopped: its steps run stopped, whoever is called first
 * @pending: it is in sq's list of commands in flight
 * @fused: the second of a fused pair, owned by the first
 * @u: scratch of the command's own code
 */
struct vssd_cmd {
	struct snv_sqe sqe;
	struct vssd_worker *worker;
	struct vssd_ctrl *ctrl;
	struct vssd_sq *sq;
	struct vssd_ns *ns;
	int (*step)(struct vssd_cmd *cmd);
	struct vssd_io io;
	int io_status;
	struct vssd_segs data;
	struct vssd_segs meta;
	uint64_t length;
	void *bounce;
	size_t bounce_size;
	uint64_t due;
	uint64_t begun;
	uint16_t status;
	uint32_t dw0;
	uint32_t dw1;
	enum vssd_cmd_state state;
	bool stopped;
	bool pending;
	bool dead;			/* its queue was reset while a transfer was in flight */
	bool lose;
	bool duplicate;
	bool holds;			/* counted in ns->inflight until its next step */
	bool faulted;			/* a rule chose its status, Do Not Retry included */
	uint64_t extra_ns;		/* VSSD_FAULT_DELAY */
	struct vssd_cmd *fused;
	struct vssd_cmd *next;		/* free list, retry list */
	struct vssd_cmd *sq_next;	/* in sq->inflight */
	struct vssd_cmd **sq_prev;
	uint32_t heap;			/* place in the worker's heap */
	struct {
		uint64_t slba;		/* first block, checked against the namespace */
		uint32_t nlb;		/* blocks, 1-based */
		uint32_t at;		/* progress: of ranges, blocks, ... */
		struct vssd_seg seg;	/* of bounce, for the medium */
		uint64_t a, b, c;
	} u;
};

/* A completion queue. Guard: worker. */
struct vssd_cq {
	struct vssd_ctrl *ctrl;
	struct vssd_worker *worker;
	struct vssd_ring ring;
	uint32_t *db;			/* head doorbell, in the host's reach */
	uint32_t *shadow;		/* Doorbell Buffer Config: NULL without */
	uint32_t *eventidx;
	uint64_t addr;			/* of the ring, as the host said it */
	uint32_t entries;
	uint32_t head;			/* last valid head seen */
	uint32_t tail;
	uint32_t reserved;		/* slots promised to commands being carried out */
	uint64_t bad;			/* invalid doorbell value reported last, or VSSD_NO_VALUE */
	uint16_t qid;
	uint16_t phase;
	uint16_t vector;
	bool ien;
	uint32_t sqs;			/* queues that report to it. Guard: stopped */
	uint32_t coalesced;		/* completions since the last interrupt */
	uint64_t irq_due;		/* when an aggregated interrupt is due, or VSSD_NEVER */
	struct vssd_cq *irq_next;	/* in its worker's list of those that owe an interrupt */
	bool irq_owed;
};

/* A submission queue. Guard: worker (its completion queue's). */
struct vssd_sq {
	struct vssd_ctrl *ctrl;
	struct vssd_worker *worker;
	struct vssd_cq *cq;
	struct vssd_ring ring;
	uint32_t *db;
	uint32_t *shadow;
	uint32_t *eventidx;
	uint32_t entries;
	uint32_t head;			/* next to fetch; SQHD */
	uint32_t tail;			/* last valid tail seen */
	uint64_t bad;
	uint16_t qid;
	uint8_t prio;			/* 0 urgent .. 3 low */
	struct vssd_cmd *inflight;	/* commands that outlived the round they were fetched in */
	uint32_t n_inflight;
	struct vssd_cmd *deleter;	/* the Delete command that waits for inflight to end */
	struct vssd_cmd *first;		/* first of a fused pair, until its second is fetched */
	bool second_slot;		/* a slot of the completion queue is reserved for the second */
	struct vssd_sq *next;		/* circular, in its worker's list of its class */
};

/* The submission queues of one controller that one worker serves. Guard: worker. */
struct vssd_arb {
	struct vssd_sq *class[4];	/* the queue whose turn it is, by priority; NULL: none */
	uint32_t credit[4];		/* commands left in this round of WRR */
};

/* Host memory that a worker has met, for media only: it holds until vssd_forget(). */
struct vssd_known {
	const struct vssd_ctrl *ctrl;
	uint64_t addr;
	uint64_t length;
	char *va;
};

#define VSSD_KNOWN		8
#define VSSD_KNOWN_SHIFT	21	/* of addresses: what is remembered lies in 2 MiB of them */

/* What the trace has recorded and nobody has read. */
struct vssd_trace_ring {
	struct vssd_trace_event *event;	/* NULL: off */
	uint32_t mask;
	uint64_t head;
	uint64_t tail;
	uint64_t lost;
};

/* Guard: @lock, but for what says otherwise. */
struct vssd_worker {
	uint32_t lock;
	uint32_t index;
	struct vssd *v;
	struct vssd_cmd *free;		/* of pool */
	struct vssd_cmd *pool;
	uint32_t pool_size;
	uint32_t n_free;
	struct vssd_cmd **heap;		/* by due; [pool_size] */
	uint32_t n_heap;
	struct vssd_cmd *retry;		/* to be called again */
	uint32_t n_media;		/* commands in VSSD_CMD_MEDIA */
	struct vssd_cq *irq;		/* completion queues that owe an interrupt */
	uint32_t first;			/* controller that is asked first, modulo their number */
	uint32_t n_active;		/* fetched and not posted; AERs and hung ones excepted */
	uint64_t now;			/* time of this round, if anything needed it; else 0 */
	struct vssd_stats stats;
	struct vssd_known known[VSSD_KNOWN];
	struct vssd_trace_ring trace;
};

struct vssd_lbaf {
	uint32_t ds;			/* log2 of the bytes */
	uint32_t ms;
};
extern const struct vssd_lbaf vssd_lbaf[VSSD_NLBAF];

struct vssd_zone {
	uint64_t wp;			/* absolute block */
	uint8_t state;			/* SNV_ZONE_* */
	uint8_t attributes;
};

struct vssd_range {
	uint64_t slba;
	uint64_t end;
};

/**
 * struct vssd_ns - a namespace. Guard: stopped to change, worker to read; but zones, wu and undo:
 * @lock
 * @stride: bytes of a block on the medium, metadata behind its data. Metadata bytes are stored
 *	complemented, so that what was never written, zeros, reads as a deallocated block's: all ones
 * @flash_base: where it begins in the timing model's address space
 * @inflight: [workers] commands that outlived their round, each guarded by its worker
 * @frozen: the command that has it to itself (or waits to), all others retry
 * @attached: bit i: attached to the controller with CNTLID i
 * @everywhere: each controller that is added has it attached
 * @shared: may be attached to more than one (NMIC)
 * @wu, @n_wu: blocks marked by Write Uncorrectable, sorted, apart
 */
struct vssd_ns {
	struct vssd *v;
	struct vssd_media *media;
	uint32_t nsid;
	enum vssd_csi csi;
	uint32_t format;		/* of vssd_lbaf */
	uint32_t lba_shift;
	uint32_t lba_size;
	uint32_t ms;
	uint32_t pi;
	bool pi_first;
	bool extended;
	uint64_t stride;
	uint64_t nsze;
	bool plain;			/* blocks of data alone, on a medium that ends each transfer
					 * at once and holds nothing back: Read and Write are simple */
	uint64_t flash_base;
	uint64_t attached;
	bool everywhere;
	bool shared;
	uint8_t nguid[16];
	uint8_t eui64[8];
	uint8_t uuid[16];
	struct vssd_cmd *frozen;
	uint32_t inflight[VSSD_MAX_WORKERS];
	uint32_t lock;
	struct vssd_range *wu;
	uint32_t n_wu;
	uint32_t cap_wu;
	/* ZNS */
	uint64_t zone_blocks;
	uint64_t zone_capacity;
	uint32_t n_zones;
	uint32_t max_open;
	uint32_t max_active;
	uint32_t n_open;		/* implicitly and explicitly */
	uint32_t n_active;
	struct vssd_zone *zone;
	/* power loss */
	struct vssd_undo *undo;		/* NULL: nothing to lose */
};

struct vssd_aer_event {
	uint8_t type;
	uint8_t info;
	uint8_t log;
};

/* Feature values, as Set Features' dword 11 (and more) has them. Guard: stopped to change. */
struct vssd_features {
	uint32_t arbitration;
	uint32_t power;
	uint32_t temp_over, temp_under;	/* composite sensor's thresholds */
	uint16_t tler[VSSD_MAX_NS + 1];	/* Error Recovery, by NSID */
	uint32_t volatile_wc;
	bool write_through;		/* every write is durable when it ends */
	uint32_t irq_coalesce;
	uint32_t write_atomic;
	uint32_t async_event;
	uint32_t kato;			/* milliseconds */
	uint32_t host_behavior;		/* byte 0: ACRE */
	uint8_t host_id[16];
	uint64_t timestamp;		/* milliseconds, at timestamp_at */
	uint64_t timestamp_at;		/* env.now() */
	uint8_t timestamp_origin;	/* 0 reset, or SNV_TIMESTAMP_HOST */
	bool irq_cd[2049];		/* Interrupt Vector Configuration: coalescing disabled */
};

enum vssd_ctrl_phase {
	VSSD_OFF,			/* CC.EN = 0, CSTS.RDY = 0 */
	VSSD_ENABLING,			/* RDY at phase_due */
	VSSD_READY,
	VSSD_DISABLING,			/* in-flight transfers drain, then RDY = 0 */
};

/**
 * struct vssd_ctrl - a controller. Guard: stopped, but the registers may be read at any time
 */
struct vssd_ctrl {
	struct vssd *v;
	struct vssd_host host;
	struct vssd_ctrl_config config;
	uint16_t cntlid;
	/* registers */
	uint64_t cap;
	uint32_t vs;
	uint32_t cc;
	uint32_t csts;
	uint32_t aqa;
	uint64_t asq;
	uint64_t acq;
	uint32_t intms;
	uint64_t cmbmsc;
	/* state */
	enum vssd_ctrl_phase phase;
	bool cfs_asked;			/* by a fault rule, until the world stops. Guard: model_lock */
	bool remove_asked;		/* likewise */
	bool removed;			/* surprise removal: all ones. Never false again */
	bool shutting_down;
	bool busy;			/* something below has to be looked at in each round: a phase, a
					 * shutdown, a keep alive timer. Read without a guard */
	uint64_t phase_due;
	uint64_t shutdown_due;
	uint32_t flush_nsid;		/* of a shutdown: the namespace to be flushed next */
	struct vssd_ns *flushing;	/* flush_io is with its medium. Guard: worker 0 */
	struct vssd_io flush_io;
	uint64_t keep_alive_due;
	uint32_t page_shift;		/* 12 + CC.MPS */
	uint64_t max_transfer;		/* bytes: MDTS */
	uint32_t granted_sq;		/* I/O queues, 1-based; 0: Set Features 07h has not come */
	uint32_t granted_cq;
	struct vssd_sq *sq[VSSD_MAX_QUEUES + 1];
	struct vssd_cq *cq[VSSD_MAX_QUEUES + 1];
	uint32_t n_sq;			/* I/O queues */
	uint32_t n_cq;
	struct vssd_arb arb[VSSD_MAX_WORKERS];
	char *shadow;			/* Doorbell Buffer Config pages, or NULL */
	char *eventidx;
	uint32_t irq_pending;		/* of vectors 0 .. 31 masked by INTMS. Guard: irq_lock */
	uint32_t irq_lock;
	/* admin */
	struct vssd_features feat;
	uint16_t aer_cid[VSSD_AERL + 1];
	uint32_t n_aer;
	struct vssd_aer_event event[16];	/* waiting for an AER */
	uint32_t n_event;
	uint8_t event_masked[8];	/* by type: log page to be read before the next; 0: none */
	uint32_t bad_doorbell[2];	/* an event to raise: of a register, of a value. Any worker */
	uint32_t changed_ns[VSSD_MAX_NS];	/* Changed Namespace List log, sorted */
	uint32_t n_changed_ns;
	uint32_t log_lock;		/* guards what follows */
	struct snv_error_log error[VSSD_ELPE + 1];	/* error_count % (ELPE + 1) is the newest */
	uint64_t error_count;
	uint64_t media_errors;
	/* SMART, besides the workers' counters */
	uint64_t power_cycles;
	uint64_t unsafe_shutdowns;
	uint64_t power_on_at;
};

struct vssd_fault_rule {
	struct vssd_fault fault;
	uint32_t seen;
	uint32_t done;
};

/* A subsystem. Guard: stopped, but for what says otherwise. */
struct vssd {
	struct vssd_env env;
	uint32_t workers;
	uint64_t random;		/* state. Guard: model_lock */
	bool power_loss;
	char serial[20];
	char model[40];
	bool hooks;			/* a model, a fault rule or the trace is on: commands look twice */
	uint32_t tracing;		/* 0 or 1. Read without a guard */
	struct vssd_trace_ring host_trace;	/* of the host ends. Guard: host_trace_lock */
	uint32_t host_trace_lock;
	uint32_t stopping;		/* somebody wants all locks: workers let him
					 * have them. Read without a guard */
	uint32_t stop_lock;		/* one who stops at a time */
	uint32_t control;		/* set by any worker: worker 0 is to look at the stopped list */
	uint32_t max_inflight;		/* of a worker */
	struct vssd_worker *worker[VSSD_MAX_WORKERS];
	struct vssd_ctrl *ctrl[VSSD_MAX_CTRLS];
	uint32_t n_ctrl;		/* ctrl[] up to here may be in use */
	struct vssd_ns *ns[VSSD_MAX_NS + 1];
	struct vssd_cmd *stopped;	/* commands to be run stopped, in order. Guard: stopped_lock */
	uint32_t stopped_lock;
	uint64_t created_at;
	uint32_t model_lock;		/* guards timing, rules and random */
	struct vssd_timing timing;
	void *timing_state;
	struct vssd_timing_stats timing_stats;
	uint64_t flash_end;		/* where the next namespace begins */
	struct vssd_fault_rule *rule;
	uint32_t n_rules;
	uint32_t cap_rules;
	bool power_cut_asked;		/* by a fault rule, until the world stops. Guard: model_lock */
};

/* ---- small things ----------------------------------------------------------------------------- */

static inline void *vssd_alloc(struct vssd *v, size_t size)
{
	return v->env.alloc(v->env.ctx, size);
}

static inline void vssd_free(struct vssd *v, void *p, size_t size)
{
	v->env.free(v->env.ctx, p, size);
}

static inline uint64_t vssd_now(struct vssd *v)
{
	return v->env.now(v->env.ctx);
}

static inline void vssd_wake(struct vssd *v, uint32_t worker)
{
	if (v->env.wake)
		v->env.wake(v->env.ctx, worker);
}

/* Have worker 0 look at all that needs everybody stopped. Partner: the exchange in control(). */
static inline void vssd_want_control(struct vssd *v)
{
	SNV_STORE_RELEASE(&v->control, 1);
	vssd_wake(v, 0);
}

/* The next of v's random numbers: xorshift64*, Marsaglia 2003, Vigna 2016. Guard: model_lock. */
static inline uint64_t vssd_draw(struct vssd *v)
{
	uint64_t x = v->random;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	v->random = x;
	return x * 0x2545f4914f6cdd1dULL;
}

/* Fields of the entry, by the specification's names. */
static inline uint32_t vssd_nsid(const struct vssd_cmd *cmd) { return snv_le32_get(cmd->sqe.nsid); }
static inline uint32_t vssd_cdw10(const struct vssd_cmd *cmd) { return snv_le32_get(cmd->sqe.cdw10); }
static inline uint32_t vssd_cdw11(const struct vssd_cmd *cmd) { return snv_le32_get(cmd->sqe.cdw11); }
static inline uint32_t vssd_cdw12(const struct vssd_cmd *cmd) { return snv_le32_get(cmd->sqe.cdw12); }
static inline uint32_t vssd_cdw13(const struct vssd_cmd *cmd) { return snv_le32_get(cmd->sqe.cdw13); }
static inline uint32_t vssd_cdw14(const struct vssd_cmd *cmd) { return snv_le32_get(cmd->sqe.cdw14); }
static inline uint32_t vssd_cdw15(const struct vssd_cmd *cmd) { return snv_le32_get(cmd->sqe.cdw15); }

static inline bool vssd_attached(const struct vssd_ctrl *ctrl, const struct vssd_ns *ns)
{
	return ns->attached >> ctrl->cntlid & 1;
}

static inline uint64_t vssd_max_transfer(const struct vssd_ctrl *ctrl)
{
	return ctrl->max_transfer;
}

/* ---- subsys.c: making and unmaking, stop and go, counters, random ------------------------------ */

uint64_t vssd_random(struct vssd *v);		/* takes model_lock */

/* ---- ctrl.c: registers, enable, reset, shutdown, CMB ------------------------------------------- */

/* A round of what is going on in @ctrl (ctrl->busy). Stopped. Returns how much was done. */
uint32_t vssd_ctrl_tick(struct vssd_ctrl *ctrl);
/* When vssd_ctrl_tick() is needed next, or VSSD_NEVER. */
uint64_t vssd_ctrl_due(const struct vssd_ctrl *ctrl);
/* Controller Fatal Status: nothing is fetched or posted until the next reset. Any worker. */
void vssd_ctrl_fail(struct vssd_ctrl *ctrl);
/* Back to power-on state, at once; transfers in flight are polled to their end. Stopped. */
void vssd_ctrl_power_on(struct vssd_ctrl *ctrl);
void vssd_ctrl_surprise_remove(struct vssd_ctrl *ctrl);	/* stopped */
void vssd_keep_alive(struct vssd_ctrl *ctrl);		/* restart the timer. Stopped */
/* Are commands fetched, carried out and completed? Worker. */
static inline bool vssd_ctrl_runs(const struct vssd_ctrl *ctrl)
{
	return ctrl->phase == VSSD_READY &&
	       !(SNV_LOAD_RELAXED(&ctrl->csts) & (SNV_CSTS_CFS | SNV_CSTS_SHST_COMPLETE));
}

/* Host memory or CMB at DMA address @addr: as vssd_host.translate. */
void *vssd_translate(struct vssd_ctrl *ctrl, uint64_t addr, size_t *length);
/* Likewise, for media only: as vssd_host.translate_data. */
void *vssd_translate_data(struct vssd_ctrl *ctrl, uint64_t addr, size_t *length);

/* Translations that workers remember are void. Stopped. */
void vssd_forget(struct vssd *v);

/* ---- ring.c: queues made and freed ------------------------------------------------------------ */

/* Create and free queues, without asking whether they may exist. Stopped. @addr: PRP1. */
int vssd_cq_create(struct vssd_ctrl *ctrl, uint16_t qid, uint32_t entries, uint64_t addr,
		   bool contiguous, bool ien, uint16_t vector);	/* 0, or an NVMe status */
int vssd_sq_create(struct vssd_ctrl *ctrl, uint16_t qid, uint32_t entries, uint64_t addr,
		   bool contiguous, uint8_t prio, struct vssd_cq *cq);
/* Its commands in flight are over: none. */
void vssd_sq_free(struct vssd_sq *sq);
void vssd_cq_free(struct vssd_cq *cq);
/* Unmap: does a ring of @ctrl lie in there? */
bool vssd_ring_in(const struct vssd_ring *ring, const void *va, size_t length);
/* Doorbell Buffer Config: from now on (or, with NULL, no more) tails and heads are in memory. */
void vssd_dbbuf_set(struct vssd_ctrl *ctrl, char *shadow, char *eventidx);

/* ---- queue.c: doorbells, fetch, arbitration, completions, interrupts --------------------------- */

/*
 * End or forget what @sq has in flight, but for transfers with media. @status: of their
 * completions, or < 0 to post none. Stopped. Returns how many are left.
 */
uint32_t vssd_sq_drain(struct vssd_sq *sq, int status);
/* Find a command in flight of @sq by CID, or NULL. Stopped. */
struct vssd_cmd *vssd_sq_find(struct vssd_sq *sq, uint16_t cid);
void vssd_irq_unmask(struct vssd_ctrl *ctrl);	/* INTMC was written: raise what waited */
/* Post a completion that no vssd_cmd stands for (AER): false when the CQ is full. Stopped. */
bool vssd_post_admin(struct vssd_ctrl *ctrl, uint16_t cid, uint32_t dw0, uint16_t status);

/*
 * Run @cmd's steps until it ends or has to wait. Worker; commands with ->stopped: stopped.
 */
void vssd_run(struct vssd_cmd *cmd);
/* End @cmd with @status (SCT << 8 | SC, DNR is added here); timing and faults apply. */
void vssd_finish(struct vssd_cmd *cmd, int status);
/* Put @cmd into the list of commands that run stopped: its step will be called so. */
void vssd_run_stopped(struct vssd_cmd *cmd);
/* Let go of @cmd without a completion (an AER kept by its CID; a lost one). Then return VSSD_HELD. */
void vssd_drop(struct vssd_cmd *cmd);
/* @cmd never ends by itself: only vssd_cancel() and vssd_sq_drain() find it. Then return VSSD_HELD. */
void vssd_hang(struct vssd_cmd *cmd);
/*
 * End a command in flight with @status, or with none posted if < 0, whatever it waits for. False: it
 * is with a medium and ends by itself. Stopped.
 */
bool vssd_cancel(struct vssd_cmd *cmd, int status);
/* The transfer that @cmd waited for ended: on with its steps. Its worker. */
void vssd_media_ended(struct vssd_cmd *cmd);

/* ---- dma.c: PRP, SGL, copying ------------------------------------------------------------------ */

/*
 * Describe cmd->length = @length bytes of host memory in cmd->data, as PSDT says. Each list entry is
 * read once. Return: 0 or a status.
 */
int vssd_map_data(struct vssd_cmd *cmd, uint64_t length, bool to_host);
/* Likewise, but cmd->data is for a medium alone: the CPU may not be able to touch it. */
int vssd_map_far(struct vssd_cmd *cmd, uint64_t length, bool to_host);
/* Likewise separate metadata, in cmd->meta, as MPTR and PSDT say. */
int vssd_map_meta(struct vssd_cmd *cmd, uint64_t length);
/* Between @segs, from byte @at of them on, and @buf. Bit buckets swallow, and give zeros. */
void vssd_to_segs(const struct vssd_segs *segs, uint64_t at, const void *buf, size_t length);
void vssd_from_segs(const struct vssd_segs *segs, uint64_t at, void *buf, size_t length);
/* Admin data: map min(@length, @size) bytes of the host's and copy @buf there; 0 or a status. */
int vssd_admin_out(struct vssd_cmd *cmd, const void *buf, size_t size, size_t length);
/* Likewise from the host: @size bytes. */
int vssd_admin_in(struct vssd_cmd *cmd, void *buf, size_t size);
void vssd_segs_free(struct vssd *v, struct vssd_segs *segs);

/*
 * A transfer of @cmd with its namespace's medium; afterwards cmd->step, which the caller has set, is
 * called, and finds cmd->io_status. Return: what the calling step returns.
 */
int vssd_media_io(struct vssd_cmd *cmd, enum vssd_io_op op, uint64_t offset, uint64_t length,
		  const struct vssd_seg *seg, uint32_t segs, bool fua);
/* cmd->bounce of @size bytes, zeroed: false when there is no memory. */
bool vssd_bounce(struct vssd_cmd *cmd, size_t size);

/* ---- admin.c: queues, Abort, AER, Keep Alive, DBBUF, dispatch ----------------------------------- */

int vssd_admin_step(struct vssd_cmd *cmd);	/* first step of an admin command. Stopped */
/* A queue with a ->deleter ran empty: end the Delete command. Stopped. Returns how many. */
uint32_t vssd_deleters_finish(struct vssd_ctrl *ctrl);
/*
 * An asynchronous event: SNV_AER_ERROR, ..., information and log page. Dropped when its type is
 * masked until its log page is read, or not enabled by Set Features 0Bh. Stopped.
 */
void vssd_event(struct vssd_ctrl *ctrl, uint8_t type, uint8_t info, uint8_t log);
/* From a worker that is not stopped: an invalid doorbell value was found. */
void vssd_event_doorbell(struct vssd_ctrl *ctrl, bool value);
void vssd_event_log_read(struct vssd_ctrl *ctrl, uint8_t log);	/* unmask. Stopped */
bool vssd_event_ready(const struct vssd_ctrl *ctrl);	/* is there one that a request waits for? */
void vssd_events_post(struct vssd_ctrl *ctrl);	/* what can be posted is. Stopped */

/* ---- identify.c, log.c, feature.c: first steps of these commands -------------------------------- */

int vssd_identify(struct vssd_cmd *cmd);
int vssd_get_log(struct vssd_cmd *cmd);
int vssd_get_features(struct vssd_cmd *cmd);
int vssd_set_features(struct vssd_cmd *cmd);
bool vssd_volatile_cache(const struct vssd *v);	/* may a write be lost without Flush? Stopped */
void vssd_features_reset(struct vssd_ctrl *ctrl);	/* defaults, at every controller reset */
/* Commands supported, with their effects (Base 5.16.1.6): 0 for those that are not. */
uint32_t vssd_admin_effects(const struct vssd_ctrl *ctrl, uint8_t opcode);
uint32_t vssd_io_effects(const struct vssd_ctrl *ctrl, enum vssd_csi csi, uint8_t opcode);
void vssd_sum_stats(struct vssd *v, struct vssd_stats *out);	/* workers' counters. Stopped */
uint8_t vssd_critical_warning(const struct vssd_ctrl *ctrl);	/* of the SMART log. Stopped */
/* A failed command: a new entry of the error log. Any worker. Returns false if it is not logged. */
bool vssd_log_error(struct vssd_cmd *cmd, uint16_t status);

/* ---- ns.c: namespaces, Format, Namespace Management and Attachment ------------------------------ */

/* The active namespace of @cmd's NSID, or NULL. */
struct vssd_ns *vssd_ns_active(const struct vssd_ctrl *ctrl, uint32_t nsid);
int vssd_format(struct vssd_cmd *cmd);
int vssd_ns_management(struct vssd_cmd *cmd);
int vssd_ns_attachment(struct vssd_cmd *cmd);
void vssd_ns_free(struct vssd_ns *ns);
/*
 * Have @ns to oneself: 0, or VSSD_RETRY while others' commands are in flight. Stopped. With
 * vssd_thaw() afterwards.
 */
int vssd_freeze(struct vssd_ns *ns, struct vssd_cmd *cmd);
void vssd_thaw(struct vssd_ns *ns, struct vssd_cmd *cmd);
/* Likewise, true when @ns is @cmd's alone; cmd->ns is what to thaw if it ends before. */
bool vssd_own(struct vssd_cmd *cmd, struct vssd_ns *ns);
void vssd_disown(struct vssd_cmd *cmd);
/* @blocks of @ns, counted in blocks of another format; 0: not a whole number of them. */
uint64_t vssd_zone_scale(const struct vssd_ns *ns, uint64_t blocks, uint32_t format);
/* A UUID that belongs to @v and @salt: 0 for the subsystem itself. */
void vssd_uuid(const struct vssd *v, uint64_t salt, uint8_t uuid[16]);

/* ---- nvm.c, pi.c, zns.c: I/O commands ----------------------------------------------------------- */

int vssd_io_step(struct vssd_cmd *cmd);		/* first step of an I/O command. Worker */
/* Do blocks of the range have a mark of Write Uncorrectable, and which is the first? And: set, or take away. */
bool vssd_wu_test(struct vssd_ns *ns, uint64_t slba, uint64_t nlb, uint64_t *first);
int vssd_wu_set(struct vssd_ns *ns, uint64_t slba, uint64_t nlb, bool bad);	/* 0, -ENOMEM */

/*
 * Protection information, NVM 5.3. Buffers hold @nlb blocks of data with their metadata behind each
 * (stride lba_size + ms). @prinfo: PRACT and PRCHK bits of dword 12; tags from dwords 14, 15.
 */
void vssd_pi_insert(const struct vssd_ns *ns, void *buf, uint32_t nlb, uint32_t ref_tag,
		    uint16_t app_tag);
int vssd_pi_check(const struct vssd_ns *ns, const void *buf, uint32_t nlb, uint32_t cdw12,
		  uint32_t ref_tag, uint16_t app_tag, uint16_t app_mask);	/* 0 or a status */
/* Reference tags anew; guards and application tags stay. */
void vssd_pi_set_ref(const struct vssd_ns *ns, void *buf, uint32_t nlb, uint32_t ref_tag);
uint16_t vssd_crc16(uint16_t crc, const void *buf, size_t length);	/* T10 DIF: 8BB7h */

/*
 * Zoned namespaces. A write of the checked range of cmd->u: may it go there, and if so the write
 * pointer moves. 0 or a status. For Zone Append: assigns cmd->u.slba. A read: is its zone readable?
 */
int vssd_zone_write(struct vssd_cmd *cmd);
int vssd_zone_append(struct vssd_cmd *cmd);
int vssd_zone_read(struct vssd_cmd *cmd);
int vssd_zone_mgmt_send(struct vssd_cmd *cmd);	/* first steps */
int vssd_zone_mgmt_recv(struct vssd_cmd *cmd);
int vssd_zns_init(struct vssd_ns *ns);		/* 0, -EINVAL, -ENOMEM: all zones empty */
void vssd_zns_free(struct vssd_ns *ns);
void vssd_zones_power_on(struct vssd *v);

/* ---- timing.c, flash.c -------------------------------------------------------------------------- */

/* Check and set up v->timing. 0, -EINVAL, -ENOMEM. */
int vssd_timing_init(struct vssd *v);
void vssd_timing_free(struct vssd *v);
/* Commands that the model serves in parallel, or 0: no matter. */
uint32_t vssd_timing_parallel(const struct vssd_timing *timing);
/*
 * When a command that began at @now ends by the model. @op; @offset, @length: bytes in the model's
 * address space (namespace's flash_base + block * lba_size). Takes model_lock.
 */
uint64_t vssd_timing_end(struct vssd *v, uint64_t now, enum vssd_io_op op, uint64_t offset,
			 uint64_t length);
/* The model forgets what these blocks held: by a command that does not end with that alone. */
void vssd_timing_discard(struct vssd_ns *ns, uint64_t slba, uint64_t nlb);
int vssd_flash_init(struct vssd *v);
int vssd_flash_grow(struct vssd *v, uint64_t logical);	/* address space is this long now; or -ENOMEM */
void vssd_flash_free(struct vssd *v);
uint64_t vssd_flash_end(struct vssd *v, uint64_t now, enum vssd_io_op op, uint64_t offset,
			uint64_t length);

/* ---- fault.c: rules, power loss ----------------------------------------------------------------- */

/*
 * Ask the rules about @cmd, about to run. True: @cmd was dealt with (finished, hung, dropped); else
 * it goes on, perhaps with extra_ns, lose or duplicate set.
 */
bool vssd_fault_begin(struct vssd_cmd *cmd);
void vssd_hooks_update(struct vssd *v);		/* v->hooks, once something it says has changed. Stopped */
/* A power cut or CFS or removal that a rule asked for, now that the world is stopped. */
void vssd_fault_stopped(struct vssd *v);
/* Before @ns's medium changes, and at FLUSH: power_loss's record. 0, or a status. Worker. */
int vssd_undo_save(struct vssd_ns *ns, uint64_t offset, uint64_t length, bool fua);
void vssd_undo_drop(struct vssd_ns *ns);

/* ---- trace.c ------------------------------------------------------------------------------------ */

void vssd_trace_add(struct vssd_worker *w, enum vssd_step step, uint16_t ctrl, uint16_t qid,
		    uint16_t cid, uint32_t arg);

static inline void vssd_trace(struct vssd_worker *w, enum vssd_step step,
			      const struct vssd_cmd *cmd, uint32_t arg);

char *vssd_learn(struct vssd_worker *w, struct vssd_ctrl *ctrl, uint64_t addr, size_t length);

/* @length bytes of host memory at @addr, for media only, if they are contiguous; else NULL. Worker. */
static inline char *vssd_known(struct vssd_worker *w, struct vssd_ctrl *ctrl, uint64_t addr,
			       size_t length)
{
	const struct vssd_known *known = &w->known[addr >> VSSD_KNOWN_SHIFT & (VSSD_KNOWN - 1)];
	uint64_t at = addr - known->addr;

	if (__builtin_expect(known->ctrl == ctrl && at < known->length &&
			     length <= known->length - at, 1))
		return known->va + at;
	return vssd_learn(w, ctrl, addr, length);
}

/* ---- inline bodies that need all of the above ---------------------------------------------------- */

static inline void vssd_trace(struct vssd_worker *w, enum vssd_step step,
			      const struct vssd_cmd *cmd, uint32_t arg)
{
	if (__builtin_expect(!!w->trace.event, 0))
		vssd_trace_add(w, step, cmd->ctrl->cntlid, cmd->sq->qid,
			       snv_le16_get(cmd->sqe.cid), arg);
}

#endif /* VSSD_CORE_H */
