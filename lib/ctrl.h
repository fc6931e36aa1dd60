/* SPDX-License-Identifier: MIT */
/* A controller that no kernel driver runs: what ctrl.c, its life, and ctrl_mem.c, the memory it reaches, both know. */
#ifndef SNVME_CTRL_H
#define SNVME_CTRL_H

#include "lib.h"

#define ADMIN_ENTRIES	32
#define ADMIN_DEPTH	(ADMIN_ENTRIES - 1)

enum admin_state { ADMIN_FREE, ADMIN_BUSY, ADMIN_DONE };

/* @event: an Asynchronous Event Request. */
struct admin_cmd {
	enum admin_state state;
	bool event;
	uint16_t cid;
	uint16_t status;
	uint32_t result;
};

/**
 * struct own - a controller that no kernel driver runs
 * @lock: guards what follows it
 * @state: SNVME_STATE_*: GONE is for ever
 * @failed: it has to be reset before anything else
 * @sq, @cq: admin queue, and @data for its commands, in one piece of memory from @admin on
 * @turn: of command identifiers, so that a completion that comes twice is not taken for another's
 * @cmb: the controller's own memory, [@cmb_bytes], if submission queues may lie there; @cmb_dma for itself
 * @cmb_works: since it was last enabled
 * @slots: I/O queues of each kind that there is room for
 * @sq_state, @cq_state: [slots + 1] SNVME_STATE_* by queue identifier; NONE is free
 * @map_lock: guards what follows it
 */
struct own {
	struct snvme_ctrl *ctrl;
	struct snvme_bus *bus;
	char *admin;
	uint64_t admin_dma;
	uint32_t page_shift;
	uint64_t cap;
	char *cmb;
	uint64_t cmb_dma;
	size_t cmb_bytes;
	bool cmb_works;
	uint32_t slots;
	uint32_t *sq_state;
	uint32_t *cq_state;
	uint32_t idles;
	uint64_t look_at;

	pthread_mutex_t lock;
	uint32_t state;
	uint64_t epoch;
	bool failed;
	struct snv_sqe *sq;
	uint32_t tail;
	struct snv_cq cq;
	char *data;
	uint16_t turn;
	struct admin_cmd cmd[ADMIN_DEPTH];
	uint32_t granted_sq;
	uint32_t granted_cq;
	uint64_t shutdown_ns;

	pthread_mutex_t map_lock;
	struct ring *rings;
	uint32_t last_ring;
	struct shared_page *shared;
};

/* snvme_transport's, of such a controller: see lib.h. */
int snvme_own_mem_map(struct snvme_ctrl *ctrl, struct snvme_mem *mem);
int snvme_own_mem_unmap(struct snvme_ctrl *ctrl, struct snvme_mem *mem);
int snvme_own_ring_alloc(struct snvme_ctrl *ctrl, size_t length, void **va, uint32_t *handle);
int snvme_own_cmb_alloc(struct snvme_ctrl *ctrl, size_t length, void **va, uint32_t *handle);
void snvme_own_ring_free(struct snvme_ctrl *ctrl, size_t length, void *va, uint32_t handle);
int snvme_own_far_map(struct snvme_ctrl *ctrl, uint64_t va, int fd, size_t length, uint64_t *table,
		      struct snv_dma_map *map, uint32_t *handle);
void snvme_own_far_unmap(struct snvme_ctrl *ctrl, uint64_t va, size_t length, uint32_t handle);
uint64_t snvme_own_far_doorbell(struct snvme_ctrl *ctrl, const uint32_t *mmio);

/* Where the controller sees the memory of that handle, which has not been freed. */
uint64_t snvme_own_ring_dma(struct own *own, uint32_t handle);

/* What is left of registrations, once the controller reaches no memory. */
void snvme_own_mem_close(struct own *own);

#endif
