/* SPDX-License-Identifier: MIT */
/* Private to libsnvme: the objects behind the API, and the seam between them and a controller. */
#ifndef SNVME_LIB_H
#define SNVME_LIB_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <snvme/ioctl.h>
#include <snvme/nvme.h>
#include <snvme/snvme.h>

#include "prp.h"
#include "ring.h"

#define SNVME_API __attribute__((visibility("default")))

/**
 * struct snvme_transport - a way to reach a controller
 * @close: let go of it: afterwards the controller reaches none of ctrl->mems; frees ctrl->priv
 * @info: fill in the ABI's description of it
 * @identify: Identify command into a buffer of 4,096 bytes; a status, an errno or 0
 * @mem_map: make mem->base reachable; fills mem->handle and mem->map's addresses
 * @mem_unmap: undo it
 * @ring_alloc: zeroed memory for a ring, contiguous for the controller
 * @ring_free: undo it
 * @queue_create: create what @arg describes; fills its out fields, the doorbell, the state word
 * @queue_destroy: by handle
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
};

/**
 * struct snvme_ctrl - an open controller
 * @ops: how it is reached
 * @priv: of @ops
 * @named_nsid: the namespace that it was opened by; 0 for none
 * @page_shift: log2 of the controller's memory page size
 * @fixed: the part of the public description that does not change
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
 * @span: length of its pages
 * @map: DMA addresses of the pages
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
	size_t span;
	struct snv_dma_map map;
	uint64_t *table;
	uint32_t handle;
	bool owned;
};

/**
 * struct snvme_cq - a completion queue
 * @ring: what the controller writes
 * @dead: -errno once the ring was seen empty after the queue's death: nothing in it counts any more
 * @handle: of the transport
 * @mem: handle of the ring's memory
 * @bytes: its length
 * @room: entries that no queue has claimed with its depth
 * @queues: that report to it, the owner last
 */
struct snvme_cq {
	struct snv_cq ring;
	int dead;
	uint32_t handle;
	uint32_t mem;
	size_t bytes;
	uint32_t room;
	struct snvme_queue *queues;
};

/* A command identifier: in use, or next in the list of free ones. */
struct snvme_cid {
	uint64_t user;
	uint16_t next;
	bool busy;
};

/**
 * struct snvme_queue - a submission queue and where it reports to
 * @ring: the entries
 * @entries: of them: depth + 1
 * @tail: next to fill. There is one thread, and a slot is free whenever an identifier is, so that
 *	this is all there is to know: the head that completions carry is not needed
 * @state: its state word
 * @db: the tail doorbell
 * @cq: where it reports to
 * @ctrl: whose
 * @cid: [depth]
 * @list: [depth]: a PRP list page for each command identifier
 * @free: first free identifier; meaningless when all are in flight
 * @inflight: identifiers in use
 * @depth: of them
 * @qid: NVMe identifier
 * @next: in ctrl->queues
 * @next_on_cq: in cq->queues
 * @owns_cq: the completion queue is its own
 * @handle: of the transport
 * @ring_mem: handle of the ring's memory
 * @ring_bytes: its length
 * @lists: memory of the list pages
 * @ns: that the last synchronous call was for, as Identify described it then
 * @ns_asked: what that call named it by; 0 is a name too
 */
struct snvme_queue {
	struct snv_sqe *ring;
	uint32_t entries;
	uint32_t tail;
	const uint32_t *state;
	struct snv_db db;
	struct snvme_cq *cq;
	struct snvme_ctrl *ctrl;
	struct snvme_cid *cid;
	struct snv_prp_list *list;
	uint32_t free;
	uint32_t inflight;
	uint32_t depth;
	uint16_t qid;
	struct snvme_queue *next;
	struct snvme_queue *next_on_cq;
	bool owns_cq;
	uint32_t handle;
	uint32_t ring_mem;
	size_t ring_bytes;
	struct snvme_mem *lists;
	struct snvme_ns_info ns;
	uint32_t ns_asked;
};

int snvme_attach_open(struct snvme_ctrl *ctrl, const char *controller);
struct snvme_mem *snvme_mem_find(struct snvme_ctrl *ctrl, const void *addr, size_t length);
void snvme_mem_free(struct snvme_mem *mem);
void snvme_queue_free(struct snvme_queue *q);

#endif /* SNVME_LIB_H */
