/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * vssd: a virtual SSD. An NVM subsystem with its controllers, namespaces and workers, as freestanding
 * C: it reaches the world only through the callbacks here, so that one source runs in a process, in
 * a daemon, in the kernel and beside a GPU. This is what such a home sees of it.
 *
 * Locks: a worker's lock is held while it works on its own queues; whatever touches more than one
 * worker's own (registers, admin commands, namespaces, resets) holds all of them ("stopped"). Every
 * function here takes what it needs; none may be called from a callback unless it says so.
 */
#ifndef VSSD_H
#define VSSD_H

#ifdef __KERNEL__
#include <linux/limits.h>
#include <linux/types.h>
#define UINT32_MAX	U32_MAX
#define UINT64_MAX	U64_MAX
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#endif

#define VSSD_MAX_QUEUES		1024	/* I/O queues of each kind in a controller */
#define VSSD_MAX_WORKERS	64
#define VSSD_MAX_CTRLS		64
#define VSSD_MAX_NS		256	/* NN */
#define VSSD_NEVER		UINT64_MAX

struct vssd;
struct vssd_ctrl;
struct vssd_ns;

/* ---- what a home brings ----------------------------------------------------------------------- */

/**
 * struct vssd_env - what the core needs of where it lives
 * @alloc: zeroed memory, or NULL
 * @free: takes it back; @p may be NULL
 * @now: monotonic nanoseconds
 * @media_create: a new medium of @size bytes for Namespace Management, or NULL; the callback itself
 *	is NULL where namespaces cannot be created
 * @wake: there is work for worker @worker, which may be asleep: what another worker or thread did is not
 *	seen by those who only look at doorbells and vssd_next_due(). Called with locks held; may be NULL
 * @ctx: passed to each
 */
struct vssd_env {
	void *(*alloc)(void *ctx, size_t size);
	void (*free)(void *ctx, void *p, size_t size);
	uint64_t (*now)(void *ctx);
	struct vssd_media *(*media_create)(void *ctx, uint64_t size);
	void (*wake)(void *ctx, uint32_t worker);
	void *ctx;
};

/* A queue pair for vssd_host.serve: identifiers, DMA addresses of the rings, their entries. */
struct vssd_served {
	uint16_t sqid;
	uint16_t cqid;
	uint32_t sq_entries;
	uint32_t cq_entries;
	uint64_t sq_addr;
	uint64_t cq_addr;
};

/**
 * struct vssd_host - the host side of one controller
 * @translate: memory at DMA address @addr. *@length: in, the bytes wanted; out, how many of them,
 *	at least 1, follow contiguously from the pointer returned. NULL: the host has registered nothing
 *	there. Called with a worker's lock held, from several workers at once. The answer holds until
 *	vssd_unmap() of the memory: it is remembered, unless @transient
 * @translate_data: likewise, for data that go between this memory and a medium and that nobody looks
 *	at: it may be memory that only media reach. NULL: none is, and @translate does. Whatever the
 *	CPU reads or writes itself is asked of @translate: a NULL there ends in Data Transfer Error
 * @irq: raise interrupt @vector; may be NULL. Likewise
 * @serve: an I/O submission queue was created, with a completion queue of its own: carry out its
 *	commands from now on. False: there is no room for it. NULL: the core carries them out; else it
 *	does so with admin commands only, and never looks at the rings and doorbells of I/O queues
 * @unserve: it is about to be deleted: returns when its rings and memory are touched no more
 * @transient: what is at an address changes without a word, as behind an IOMMU: an answer holds for the command
 *	that it was asked for, and one about a ring for the ring's life; nothing is remembered
 * @ctx: passed to each
 * @doorbells: vssd_doorbell_bytes() of memory, zeroed, page aligned: the BAR from 0x1000 on. The host
 *	may write it at any time; polled
 * @cmb: vssd_ctrl_config.cmb_size bytes, page aligned, or NULL: the controller memory buffer
 */
struct vssd_host {
	bool (*serve)(void *ctx, const struct vssd_served *queue);
	void (*unserve)(void *ctx, uint16_t sqid);
	void *(*translate)(void *ctx, uint64_t addr, size_t *length);
	void *(*translate_data)(void *ctx, uint64_t addr, size_t *length);
	void (*irq)(void *ctx, uint32_t vector);
	bool transient;
	void *ctx;
	void *doorbells;
	void *cmb;
};

/* A piece of memory. */
struct vssd_seg {
	void *va;	/* NULL in a bit bucket; never in what media get */
	size_t length;
};

enum vssd_io_op {
	VSSD_IO_READ,
	VSSD_IO_WRITE,
	VSSD_IO_FLUSH,		/* all writes that ended before it become durable */
	VSSD_IO_DISCARD,	/* reads as zeros afterwards; space may be given back */
};

#define VSSD_PENDING	(-1)	/* the end comes later */

/**
 * struct vssd_io - a transfer between memory and a medium
 * @op: what
 * @fua: durable when it ends (write, discard)
 * @dead: set when nobody waits for it any more: its memory may be gone once the worker has looked elsewhere. For
 *	media that copy to it at the end
 * @worker: index of the worker that started it and will poll for it
 * @offset: bytes; for FLUSH 0
 * @length: bytes; the sum of the segments for READ and WRITE
 * @seg: [@segs]: memory
 * @segs: of them
 * @done: called by the medium's poll, once, if submit returned VSSD_PENDING
 * @priv: the medium's own
 */
struct vssd_io {
	enum vssd_io_op op;
	bool fua;
	bool dead;
	uint32_t worker;
	uint64_t offset;
	uint64_t length;
	const struct vssd_seg *seg;
	uint32_t segs;
	void (*done)(struct vssd_io *io, int status);
	uint64_t priv[4];
};

/**
 * struct vssd_media_ops - a kind of storage
 * @submit: do @io, or start it. Return: 0; an NVMe status (SCT << 8 | SC); VSSD_PENDING. A transfer
 *	is whole to every other that overlaps it: no reader sees half of a write
 * @poll: reap what this worker started; returns how many ended. NULL if nothing is ever pending
 * @close: free @media, nothing being in flight
 */
struct vssd_media_ops {
	int (*submit)(struct vssd_media *media, struct vssd_io *io);
	uint32_t (*poll)(struct vssd_media *media, uint32_t worker);
	void (*close)(struct vssd_media *media);
};

/**
 * struct vssd_media - storage of a namespace; a home embeds it
 * @ops: its kind
 * @size: bytes
 * @readonly: refuses writes
 * @volatile_cache: a write is durable only after FLUSH, or with @fua
 */
struct vssd_media {
	const struct vssd_media_ops *ops;
	uint64_t size;
	bool readonly;
	bool volatile_cache;
};

/* ---- the subsystem ---------------------------------------------------------------------------- */

enum vssd_model {
	VSSD_MODEL_NONE,	/* as fast as it goes */
	VSSD_MODEL_FIXED,	/* a latency, and units that work in parallel */
	VSSD_MODEL_FLASH,	/* channels, dies, page map, write buffer, garbage collection */
};

/**
 * struct vssd_timing - a timing model. It changes when a command ends, never what it does
 * @model: which
 * @units: FIXED: commands served at once
 * @read_ns: FIXED: time of a read command; FLASH: of reading a page into the die's register (tR)
 * @write_ns: FIXED: of a write command; FLASH: of programming a page (tPROG)
 * @flush_ns: FIXED: of any other command
 * @bytes_per_us: FIXED: of a unit, besides the latency, 0 for no limit; FLASH: of a channel
 * @channels: FLASH
 * @dies: FLASH: in each channel
 * @page: FLASH: bytes, a power of two
 * @pages: FLASH: in a block
 * @erase_ns: FLASH: of a block
 * @spare_permille: FLASH: over-provisioning: physical / logical - 1, in thousandths; at least 20
 * @buffer: FLASH: bytes of write buffer
 * @buffer_ns: FLASH: time of a write that finds room in it
 */
struct vssd_timing {
	enum vssd_model model;
	uint32_t units;
	uint64_t read_ns;
	uint64_t write_ns;
	uint64_t flush_ns;
	uint32_t bytes_per_us;
	uint32_t channels;
	uint32_t dies;
	uint32_t page;
	uint32_t pages;
	uint64_t erase_ns;
	uint32_t spare_permille;
	uint64_t buffer;
	uint64_t buffer_ns;
};

/* What a timing model has counted. */
struct vssd_timing_stats {
	uint64_t host_pages;	/* FLASH: written by the host */
	uint64_t flash_pages;	/* FLASH: programmed: write amplification is flash_pages / host_pages */
	uint64_t erases;
	uint64_t moved_pages;	/* FLASH: copied by garbage collection */
};

/**
 * struct vssd_config - an NVM subsystem
 * @serial: serial number, or NULL
 * @model: model number, or NULL
 * @workers: that will call vssd_poll(), 1 .. VSSD_MAX_WORKERS
 * @seed: of all that is random here
 * @power_loss: keep what a power cut may take: the old content of each block written and not
 *	flushed. Only for media that end every transfer at once
 * @timing: a model
 * @max_inflight: commands a worker works on at once; 0 for what the model serves in parallel
 */
struct vssd_config {
	const char *serial;
	const char *model;
	uint32_t workers;
	uint64_t seed;
	bool power_loss;
	struct vssd_timing timing;
	uint32_t max_inflight;
};

/* Make a subsystem without controllers and namespaces. 0, -EINVAL, -ENOMEM. @env is copied. */
int vssd_create(const struct vssd_env *env, const struct vssd_config *config, struct vssd **out);
/* The last call, from the only thread left; transfers in flight are waited for. Closes the media. */
void vssd_destroy(struct vssd *v);

enum vssd_csi { VSSD_CSI_NVM = 0, VSSD_CSI_ZNS = 2 };

/**
 * struct vssd_ns_config - a namespace
 * @nsid: 1 .. VSSD_MAX_NS, or 0 for the next free
 * @media: its storage; the subsystem's from then on
 * @csi: command set
 * @lba_size: 512 or 4096
 * @metadata: bytes of metadata in a block: 0, or 8
 * @pi: protection information type 0 .. 3; needs @metadata
 * @pi_first, @extended: DPS bit 3; FLBAS bit 4
 * @zone_blocks: ZNS: blocks in a zone
 * @zone_capacity: ZNS: writable blocks in a zone; 0 for all
 * @max_open, @max_active: ZNS: limits, 0 for none
 */
struct vssd_ns_config {
	uint32_t nsid;
	struct vssd_media *media;
	enum vssd_csi csi;
	uint32_t lba_size;
	uint32_t metadata;
	uint32_t pi;
	bool pi_first;
	bool extended;
	uint64_t zone_blocks;
	uint64_t zone_capacity;
	uint32_t max_open;
	uint32_t max_active;
};

/* Add a namespace, attached to every controller, present and future. 0, -EINVAL, -EEXIST, -ENOMEM. */
int vssd_ns_add(struct vssd *v, const struct vssd_ns_config *config, uint32_t *nsid);

enum vssd_grant {
	VSSD_GRANT_ASKED,	/* Set Features 07h gives what was asked for, up to the maximum */
	VSSD_GRANT_MAX,		/* always the maximum */
	VSSD_GRANT_FIXED,	/* always vssd_ctrl_config.granted */
};

/**
 * struct vssd_ctrl_config - a controller
 * @queues: I/O queues of each kind, 1 .. VSSD_MAX_QUEUES; 0 for 64
 * @grant, @granted: the answer to Set Features Number of Queues
 * @mqes: entries of the largest queue, 2 .. 65,536; 0 for 65,536 (1-based, unlike the register)
 * @to: CAP.TO, units of 500 ms; 0 for 20
 * @dstrd: CAP.DSTRD, 0 .. 10
 * @mpsmin, @mpsmax: CAP, 0 .. 15 (4 KiB << mps)
 * @mdts: Identify MDTS, 1 .. 9; 0 for 8 (1 MiB of 4 KiB pages)
 * @cqr: queues must be physically contiguous
 * @wrr: offer weighted round robin
 * @sgl: offer SGLs
 * @dbbuf: offer Doorbell Buffer Config
 * @no_nssr: do not offer NVM Subsystem Reset, by which one controller's host resets them all
 * @vectors: interrupt vectors, 1 .. 2048; 0 for one per queue, admin included
 * @ready_ns: from CC.EN to CSTS.RDY, both ways
 * @shutdown_ns: of a shutdown, beside the flush
 * @cmb_size: bytes of controller memory buffer, 0 for none; a multiple of 4 KiB
 * @dmrsl: blocks of a Dataset Management command that deallocates, which then has one range; 0: no limit.
 *	For media to which deallocating is work
 */
struct vssd_ctrl_config {
	uint32_t queues;
	enum vssd_grant grant;
	uint32_t granted;
	uint32_t mqes;
	uint32_t to;
	uint32_t dstrd;
	uint32_t mpsmin;
	uint32_t mpsmax;
	uint32_t mdts;
	bool cqr;
	bool wrr;
	bool sgl;
	bool dbbuf;
	bool no_nssr;
	uint32_t vectors;
	uint64_t ready_ns;
	uint64_t shutdown_ns;
	uint64_t cmb_size;
	uint32_t dmrsl;
};

/* All of the above as a home without an opinion wants it. */
void vssd_ctrl_defaults(struct vssd_ctrl_config *config);
/* Bytes of doorbells, a multiple of 4,096. */
size_t vssd_doorbell_bytes(const struct vssd_ctrl_config *config);

/* 0, -EINVAL, -ENOSPC, -ENOMEM. @host is copied. The controller is in power-on state. */
int vssd_ctrl_add(struct vssd *v, const struct vssd_ctrl_config *config,
		  const struct vssd_host *host, struct vssd_ctrl **out);
/* A reset of its PCI function: registers are as after power-on, all queues are gone. */
void vssd_ctrl_reset(struct vssd_ctrl *ctrl);
/*
 * The host's memory is out of reach from now on, as without Bus Master Enable: no command that was fetched touches it
 * any more, when it comes back. The controller fails (CSTS.CFS), if it was enabled.
 */
void vssd_ctrl_cut(struct vssd_ctrl *ctrl);
/* Take a controller away. Its transfers in flight are polled to their end. */
void vssd_ctrl_remove(struct vssd_ctrl *ctrl);

/**
 * vssd_reg_read() - a load from the BAR
 * @offset, @size: 4 or 8 bytes, aligned; anything else reads as all ones
 */
uint64_t vssd_reg_read(struct vssd_ctrl *ctrl, uint32_t offset, uint32_t size);
/* A store to the BAR, doorbells included. Read-only registers, and malformed stores, ignore it. */
void vssd_reg_write(struct vssd_ctrl *ctrl, uint32_t offset, uint64_t value, uint32_t size);

/**
 * vssd_unmap() - memory is about to leave the host's registered memory
 * @ctrl: whose host
 * @va, @length: the memory, as translate() gave it; already out of translate()'s reach
 *
 * A queue with a ring in it ends the controller (CSTS.CFS).
 * Return: false while a transfer in flight may still touch it: poll, and ask again.
 */
bool vssd_unmap(struct vssd_ctrl *ctrl, const void *va, size_t length);

/* Hold all workers, so that a home can change what its callbacks look at; then let them go. */
void vssd_stop(struct vssd *v);
void vssd_go(struct vssd *v);

/**
 * vssd_poll() - one round of a worker over its queues, media and timers
 * @worker: index; worker 0 also does registers' work and admin commands
 * Return: how much was done; 0 when it was idle
 *
 * One thread at a time for each worker.
 */
uint32_t vssd_poll(struct vssd *v, uint32_t worker);
/* When the idle worker must be polled again, in @now's time; VSSD_NEVER: when a doorbell rings. */
uint64_t vssd_next_due(struct vssd *v, uint32_t worker);
/* Transfers of this worker that media have in flight. */
uint32_t vssd_media_inflight(struct vssd *v, uint32_t worker);

/* ---- faults ----------------------------------------------------------------------------------- */

enum vssd_fault_action {
	VSSD_FAULT_STATUS,	/* not carried out; ends with @status */
	VSSD_FAULT_DELAY,	/* ends @delay_ns later */
	VSSD_FAULT_LOSE,	/* carried out; its completion is never posted, Abort does not find it */
	VSSD_FAULT_HANG,	/* not carried out, never ends by itself; Abort ends it */
	VSSD_FAULT_DUPLICATE,	/* its completion is posted twice */
	VSSD_FAULT_CFS,		/* CSTS.CFS: the controller stops */
	VSSD_FAULT_REMOVE,	/* surprise removal: registers read as all ones, nothing moves */
	VSSD_FAULT_POWER_CUT,	/* vssd_power_cut() */
};

/**
 * struct vssd_fault - what goes wrong, and when
 * @action: what
 * @admin: an admin command, not an I/O command
 * @opcode: of it, or -1 for any
 * @nsid: of it, or 0 for any
 * @slba, @nlb: I/O commands whose blocks meet this range; @nlb 0 for any
 * @ppm: probability in millionths; 0 for always
 * @skip: let this many that match pass first
 * @count: how often, 0 for without end
 * @status: VSSD_FAULT_STATUS: SCT << 8 | SC, and SNV_STATUS_DNR if meant
 * @delay_ns: VSSD_FAULT_DELAY
 */
struct vssd_fault {
	enum vssd_fault_action action;
	bool admin;
	int opcode;
	uint32_t nsid;
	uint64_t slba;
	uint64_t nlb;
	uint32_t ppm;
	uint32_t skip;
	uint32_t count;
	uint16_t status;
	uint64_t delay_ns;
};

/* 0, -ENOMEM, -EINVAL. Rules are asked in the order of their coming; the first that matches acts. */
int vssd_fault_add(struct vssd *v, const struct vssd_fault *fault);
void vssd_fault_clear(struct vssd *v);
/*
 * Power goes and comes back: of what was not flushed an arbitrary part is lost, multi-block writes
 * may be torn between blocks; every controller is as after power-on.
 */
void vssd_power_cut(struct vssd *v);

/* ---- the trace -------------------------------------------------------------------------------- */

enum vssd_step {
	VSSD_STEP_SQE,		/* host wrote the entry: vssd_trace_sqe() */
	VSSD_STEP_DOORBELL,	/* new tail seen; arg: tail */
	VSSD_STEP_FETCH,	/* entry copied; arg: opcode */
	VSSD_STEP_MAP,		/* PRPs or SGL walked; arg: segments */
	VSSD_STEP_DATA,		/* data moved; arg: bytes */
	VSSD_STEP_CQE,		/* completion posted; arg: status */
	VSSD_STEP_IRQ,		/* interrupt raised; arg: vector */
	VSSD_STEP_REAP,		/* host moved the CQ head past it (device end: arg: head) */
};

#define VSSD_TRACE_HOST	0xff

/* One step of one command. */
struct vssd_trace_event {
	uint64_t ns;
	uint32_t arg;
	uint16_t ctrl;		/* CNTLID */
	uint16_t qid;		/* SQ; CQ for VSSD_STEP_REAP and VSSD_STEP_IRQ */
	uint16_t cid;
	uint8_t step;
	uint8_t worker;		/* or VSSD_TRACE_HOST */
	uint32_t reserved;
};

/**
 * vssd_trace_start() - record, into rings of @events entries for each worker and one for the host ends;
 *	drop what was there
 * Return: 0, -EINVAL (not a power of two), -ENOMEM
 */
int vssd_trace_start(struct vssd *v, uint32_t events);
void vssd_trace_stop(struct vssd *v);	/* what was not read is gone */
/* Not 0 while it records: for host ends, to look at before they call vssd_trace_sqe(). */
const uint32_t *vssd_tracing(const struct vssd *v);
/* The host end wrote an entry of SQ @qid, and will ring its doorbell. Any thread. */
void vssd_trace_sqe(struct vssd_ctrl *ctrl, uint16_t qid, uint16_t cid);
/*
 * Copy out the oldest events of @worker, or of the host ends where that is the number of workers,
 * and forget them; returns how many. *@lost: events that were
 * overwritten before they could be copied, since the last call.
 */
uint32_t vssd_trace_read(struct vssd *v, uint32_t worker, struct vssd_trace_event *out,
			 uint32_t max, uint64_t *lost);

/* ---- counters --------------------------------------------------------------------------------- */

struct vssd_stats {
	uint64_t reads, writes;			/* commands */
	uint64_t bytes_read, bytes_written;
	uint64_t commands;			/* all I/O commands that ended */
	uint64_t errors;			/* of them, with a status that is not 0 */
	struct vssd_timing_stats timing;
};
void vssd_get_stats(struct vssd *v, struct vssd_stats *stats);

#endif /* VSSD_H */
