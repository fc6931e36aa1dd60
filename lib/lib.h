/* SPDX-License-Identifier: MIT */
/* Private to libsnvme: the objects behind the API, and the seam between them and a controller. */
#ifndef SNVME_LIB_H
#define SNVME_LIB_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include <snvme/ioctl.h>
#include <snvme/nvme.h>
#include <snvme/snvme.h>

#include "prp.h"
#include "ring.h"

#define SNVME_API __attribute__((visibility("default")))

struct snvme_bus;

/**
 * struct snvme_transport - a way to reach a controller
 * @close: let go of it: afterwards the controller reaches none of ctrl->mems; frees ctrl->priv
 * @info: fill in the ABI's description of it
 * @identify: Identify command into a buffer of 4,096 bytes; a status, an errno or 0
 * @mem_map: make mem->base reachable; fills mem->handle and mem->map's addresses
 * @mem_unmap: undo it
 * @ring_alloc: zeroed memory for a ring, contiguous for the controller
 * @ring_free: undo it
 * @queue_create: create what @arg describes, whose flags are SNVME_QUEUE_* here; fills its out fields, the
 *	doorbell, the state word
 * @queue_destroy: by handle
 * @admin: an admin command; fills cmd->result; a status, an errno or 0
 *
 * Those below are NULL where the controller is not the library's own:
 *
 * @reset: reset the controller: 0 or an errno
 * @abort: Abort command for a command in flight: 0, -ENOENT it was not found or cannot be stopped
 * @asleep: the word that tells whether the other end of the doorbells of completion queue @cqid, and
 *	of those that report to it, sleeps; NULL: never
 * @wake: end that sleep
 * @idle: called by who found nothing to reap: let a controller without threads work, and look now
 *	and then whether it has failed. True: look again
 * @events: take note of asynchronous events that have come
 * @tracing: the word that tells whether to call @trace_sqe; NULL: never
 * @trace_sqe: called by who has written an entry and has not rung yet
 * @awake: +1: somebody is going to ring doorbells who cannot end a sleep; -1: not any more
 *
 * These may be NULL in any:
 *
 * @event_fd: see snvme_event_fd()
 * @cmb_alloc: as @ring_alloc, but not zeroed and in the controller's own memory; -EOPNOTSUPP it has none for
 *	submission queues, -ENOSPC too little of it. @ring_free undoes it
 * @far_map: make memory of a GPU, whole pages at unified address @va, or what the dma-buf @fd holds,
 *	reachable; fills map's table and what it counts, and a handle as ring_alloc's
 * @far_by_fd: @far_map takes a dma-buf
 * @far_unmap: undo it
 * @far_doorbell: the unified address by which a GPU rings the doorbell at @mmio; 0: that of the page,
 *	once it is registered with the GPU's driver
 */
struct snvme_transport {
	void (*close)(struct snvme_ctrl *ctrl);
	int (*info)(struct snvme_ctrl *ctrl, struct snvme_info *info);
	int (*identify)(struct snvme_ctrl *ctrl, uint32_t cns, uint32_t nsid, void *buf);
	int (*mem_map)(struct snvme_ctrl *ctrl, struct snvme_mem *mem);
	int (*mem_unmap)(struct snvme_ctrl *ctrl, struct snvme_mem *mem);
	int (*ring_alloc)(struct snvme_ctrl *ctrl, size_t length, void **va, uint32_t *handle);
	void (*ring_free)(struct snvme_ctrl *ctrl, size_t length, void *va, uint32_t handle);
	int (*queue_create)(struct snvme_ctrl *ctrl, struct snvme_queue_create *arg,
			    struct snv_db *db, const uint32_t **state);
	int (*queue_destroy)(struct snvme_ctrl *ctrl, uint32_t handle);
	int (*admin)(struct snvme_ctrl *ctrl, struct snvme_admin *cmd);
	int (*reset)(struct snvme_ctrl *ctrl);
	int (*abort)(struct snvme_ctrl *ctrl, uint16_t qid, uint16_t cid);
	const uint32_t *(*asleep)(struct snvme_ctrl *ctrl, uint16_t cqid);
	void (*wake)(struct snvme_ctrl *ctrl, uint16_t cqid);
	bool (*idle)(struct snvme_ctrl *ctrl);
	void (*events)(struct snvme_ctrl *ctrl);
	const uint32_t *(*tracing)(struct snvme_ctrl *ctrl);
	void (*trace_sqe)(struct snvme_ctrl *ctrl, uint16_t qid, uint16_t cid);
	void (*awake)(struct snvme_ctrl *ctrl, int change);
	int (*event_fd)(const struct snvme_ctrl *ctrl);
	int (*cmb_alloc)(struct snvme_ctrl *ctrl, size_t length, void **va, uint32_t *handle);
	int (*far_map)(struct snvme_ctrl *ctrl, uint64_t va, int fd, size_t length, uint64_t *table,
		       struct snv_dma_map *map, uint32_t *handle);
	bool far_by_fd;
	void (*far_unmap)(struct snvme_ctrl *ctrl, uint64_t va, size_t length, uint32_t handle);
	uint64_t (*far_doorbell)(struct snvme_ctrl *ctrl, const uint32_t *mmio);
};

/**
 * struct snvme_bus_ops - what lies between lib/ctrl*.c and a controller that no kernel driver runs
 * @read, @write: a register, of 4 or 8 bytes
 * @map: let the controller reach memory of this process, in whole pages of both, that overlaps no
 *	other; *@dma is its address for it, aligned as @va is. 0 or an errno
 * @unmap: the same memory, not any more; transfers in flight on it end first
 * @asleep, @wake: as in struct snvme_transport; @asleep may be NULL
 * @pump: let a controller without threads work; false when there was nothing to do. May be NULL
 * @trace_sqe: as in struct snvme_transport; NULL where the bus has no tracing
 * @awake: likewise; may be NULL
 * @map_far, @unmap_far: as @map and @unmap, for memory of a GPU; may be NULL
 * @cmb: the controller's own memory, *@length bytes at @offset of BAR @bir, or what of it there is; *@dma is
 *	where it lies for the controller, once that is told so. NULL: not to be had. Called once; may be NULL
 * @close: the last call; the controller reaches no memory afterwards
 */
struct snvme_bus_ops {
	uint64_t (*read)(struct snvme_bus *bus, uint32_t offset, uint32_t size);
	void (*write)(struct snvme_bus *bus, uint32_t offset, uint64_t value, uint32_t size);
	int (*map)(struct snvme_bus *bus, void *va, size_t length, uint64_t *dma);
	void (*unmap)(struct snvme_bus *bus, void *va, size_t length);
	const uint32_t *(*asleep)(struct snvme_bus *bus, uint16_t cqid);
	void (*wake)(struct snvme_bus *bus, uint16_t cqid);
	bool (*pump)(struct snvme_bus *bus);
	void (*trace_sqe)(struct snvme_bus *bus, uint16_t qid, uint16_t cid);
	void (*awake)(struct snvme_bus *bus, int change);
	int (*map_far)(struct snvme_bus *bus, void *va, size_t length, uint64_t *dma);
	void (*unmap_far)(struct snvme_bus *bus, void *va, size_t length);
	void *(*cmb)(struct snvme_bus *bus, uint32_t bir, uint64_t offset, size_t *length, uint64_t *dma);
	void (*close)(struct snvme_bus *bus);
};

/**
 * struct snvme_bus - a way to such a controller; embedded by its kind
 * @ops: its kind
 * @name: short, for people
 * @doorbells: the registers from 1000h on
 * @queues: I/O queues of each kind to ask for
 * @own_memory: it reaches only memory that the library allocated, since it puts other pages there
 * @iommu: an IOMMU translates the controller's addresses
 * @tracing: as in struct snvme_transport
 * @far_doorbells: the unified address at which a GPU has the doorbells of I/O queues, if it has its own
 */
struct snvme_bus {
	const struct snvme_bus_ops *ops;
	const char *name;
	void *doorbells;
	uint32_t queues;
	bool own_memory;
	bool iommu;
	const uint32_t *tracing;
	uint64_t far_doorbells;
};

/**
 * struct snvme_ctrl - an open controller
 * @ops: how it is reached
 * @priv: of @ops
 * @named_nsid: the namespace that it was opened by; 0 for none
 * @page_shift: log2 of the controller's memory page size
 * @fixed: the part of the public description that does not change
 * @timeout_ns: a command that takes longer has failed; 0 for the default
 * @ns_changes: counts what may have changed a namespace
 * @events, @last_event: for struct snvme_ctrl_info
 * @lock: guards the lists
 * @mems: registered memory
 * @queues: queues
 */
struct snvme_ctrl {
	const struct snvme_transport *ops;
	void *priv;
	uint32_t named_nsid;
	uint32_t page_shift;
	struct snvme_ctrl_info fixed;
	uint64_t timeout_ns;
	uint32_t ns_changes;
	uint32_t events;
	uint32_t last_event;
	pthread_mutex_t lock;
	struct snvme_mem *mems;
	struct snvme_queue *queues;
};

/**
 * struct snvme_mem - registered memory
 * @ctrl: whose
 * @next: in ctrl->mems
 * @addr: as the caller has it
 * @length: likewise
 * @base: the first page of it
 * @head: bytes from there to @addr
 * @span: length of its pages
 * @map: DMA addresses of the pages
 * @page_mask: offset within one of those
 * @sure: what starts before, and is no longer than a page of the controller's, does not pass the end
 * @table: map.addr, writable
 * @handle: of the transport
 * @owned: the pages are the library's
 */
struct snvme_mem {
	struct snvme_ctrl *ctrl;
	struct snvme_mem *next;
	void *addr;
	size_t length;
	char *base;
	size_t head;
	size_t span;
	struct snv_dma_map map;
	uint64_t page_mask;
	uint64_t sure;
	uint64_t *table;
	uint32_t handle;
	bool owned;
};

/**
 * struct snvme_cq - a completion queue
 * @ring: what the controller writes
 * @asleep: see struct snvme_transport; NULL: nobody sleeps there
 * @dead: -errno once the ring was seen empty after the queue's death: nothing in it counts any more
 * @qid: NVMe identifier
 * @handle: of the transport
 * @mem: handle of the ring's memory
 * @bytes: its length
 * @room: entries that no queue has claimed with its depth
 * @queues: that report to it, the owner last
 * @shared: several threads use it, with @lock
 * @lock: see cq_lock()
 */
struct snvme_cq {
	struct snv_cq ring;
	const uint32_t *asleep;
	int dead;
	uint16_t qid;
	uint32_t handle;
	uint32_t mem;
	size_t bytes;
	uint32_t room;
	struct snvme_queue *queues;
	bool shared;
	pthread_spinlock_t lock;
};

#define SNVME_CID_FREE	(1U << 16)

/**
 * struct snvme_cid - a command identifier
 * @user: of its command
 * @next: of those that are free
 * @wire: in flight: what the controller knows it by: its index, and above that a count of its uses,
 *	so that a completion that comes twice is not taken for that of the next use. Free:
 *	SNVME_CID_FREE or more, and in the low 16 bits what it will be
 */
struct snvme_cid {
	uint64_t user;
	struct snvme_cid *next;
	uint32_t wire;
} __attribute__((aligned(32)));		/* so that an index is one by a shift */

static inline bool snvme_cid_busy(const struct snvme_cid *cid)
{
	return cid->wire < SNVME_CID_FREE;
}

/**
 * struct snvme_queue - a submission queue and where it reports to
 * @ring: the entries
 * @entries: of them: depth + 1
 * @tail: next to fill. There is one thread at a time, and a slot is free whenever an identifier is, so that
 *	this is all there is to know: the head that completions carry is not needed
 * @state: its state word
 * @db: the tail doorbell
 * @asleep: of @cq
 * @tracing: see struct snvme_transport, but never NULL
 * @cq: where it reports to
 * @ctrl: whose
 * @cid: [cid_mask + 1], of which only the first @depth are ever in flight
 * @cid_mask: a power of two, less 1
 * @list: [depth]: a PRP list page for each command identifier
 * @cid_step: from the use of an identifier to its next one, which is free
 * @free: first free identifier
 * @inflight: identifiers in use
 * @depth: of them
 * @qid: NVMe identifier
 * @class: SNVME_QUEUE_*
 * @in_cmb: the ring lies in the controller's memory
 * @next: in ctrl->queues
 * @next_on_cq: in cq->queues
 * @owns_cq: the completion queue is its own
 * @handle: of the transport
 * @ring_mem: handle of the ring's memory
 * @ring_bytes: its length
 * @lists: memory of the list pages
 * @ns: that the last synchronous call was for, as Identify described it then
 * @ns_asked: what that call named it by; 0 is a name too
 * @ns_changes: ctrl->ns_changes as it was before that
 */
struct snvme_queue {
	struct snv_sqe *ring;
	uint32_t entries;
	uint32_t tail;
	const uint32_t *state;
	struct snv_db db;
	const uint32_t *asleep;
	const uint32_t *tracing;
	struct snvme_cq *cq;
	struct snvme_ctrl *ctrl;
	struct snvme_cid *cid;
	uint32_t cid_mask;
	uint32_t cid_step;
	struct snv_prp_list *list;
	struct snvme_cid *free;
	uint32_t inflight;
	uint32_t depth;
	uint32_t qid;
	uint32_t class;
	bool in_cmb;
	struct snvme_queue *next;
	struct snvme_queue *next_on_cq;
	bool owns_cq;
	uint32_t handle;
	uint32_t ring_mem;
	size_t ring_bytes;
	struct snvme_mem *lists;
	struct snvme_ns_info ns;
	uint32_t ns_asked;
	uint32_t ns_changes;
};

#define SNVME_TIMEOUT_NS	(30 * 1000000000ULL)

static inline uint64_t snvme_timeout(const struct snvme_ctrl *ctrl)
{
	return ctrl->timeout_ns ? ctrl->timeout_ns : SNVME_TIMEOUT_NS;
}

static inline uint64_t snvme_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/*
 * After a doorbell store: does its other end sleep? The processor's store-load order is the sleeper's
 * business, which makes every thread of this process issue a barrier; here it is the compiler that
 * must not turn them round.
 */
static inline bool snvme_sleeps(const uint32_t *asleep)
{
	if (!asleep)
		return false;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return SNV_LOAD_RELAXED(asleep) != 0;
}

/*
 * Make a handle: @reach sets ctrl->ops and ctrl->priv, or fails and leaves nothing behind. @nsid: as it
 * was named, or 0.
 */
int snvme_open_by(int (*reach)(struct snvme_ctrl *ctrl, const void *arg), const void *arg,
		  uint32_t nsid, struct snvme_ctrl **out);
int snvme_attach_open(struct snvme_ctrl *ctrl, const void *controller);
int snvme_vssd_open(struct snvme_ctrl *ctrl, const void *spec);
/* As snvme_open("vssd:..."), but what @server does is done by it. @far_doorbells: see struct snvme_bus. */
struct vssd_server;
int snvme_vssd_open_served(const char *spec, const struct vssd_server *server,
			   uint64_t far_doorbells, struct snvme_ctrl **out);
int snvme_vfio_user_open(struct snvme_ctrl *ctrl, const void *dir);
int snvme_vfio_open(struct snvme_ctrl *ctrl, const void *pci);
/* Is it a PCI address, "0000:01:00.0"? */
bool snvme_pci_name(const char *s);
/*
 * What follows "KIND:" or "KINDnN:" in a name, such as of kind "vssd", and the namespace named, 0 for none;
 * NULL: no such name.
 */
const char *snvme_named(const char *name, const char *kind, uint32_t *nsid);
/* Bring up the controller behind @bus, which is closed on failure too. Sets ctrl->ops. */
int snvme_own_open(struct snvme_ctrl *ctrl, struct snvme_bus *bus);
struct snvme_mem *snvme_mem_find(struct snvme_ctrl *ctrl, const void *addr, size_t length);
void snvme_mem_free(struct snvme_mem *mem);
/* Zeroed pages, aligned to @align, a power of two; munmap(2) frees them. Or NULL. */
void *snvme_pages_alloc(size_t length, size_t align);
void snvme_queue_free(struct snvme_queue *q);

#endif /* SNVME_LIB_H */
