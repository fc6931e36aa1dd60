/* SPDX-License-Identifier: MIT */
/* Objects that the host makes and GPU threads use. Sizes are asserted: both sides must agree. */
#ifndef SNVME_GPU_TYPES_H
#define SNVME_GPU_TYPES_H

#include "hal.h"
#include "prp.h"
#include "ring.h"

#define SNVME_GPU_MAX_SSDS	16

/**
 * struct snvme_gpu_live - what threads of a queue pair change, a cache line for each kind
 *
 * Those who submit:
 * @reserved: positions handed out. Never wraps
 * @next_cid: where to look for a free identifier
 *
 * Who publishes: the one who raised the commands pending from 0, until there are 0 again
 * @posted: bits 31:0: commands written and not yet published; 63:32: low bits of the position up to
 *	which the controller knows
 *
 * Who reaps: everybody
 * @head: of the completion ring: SNVME_GPU_SLOT and so on
 *
 * @dead: 0, or the errno that ends all waits: a deadline has passed
 * @strays: completions that matched no command
 */
struct snvme_gpu_live {
	__u64 reserved;
	__u32 next_cid;
	__u32 pad0[29];

	__u64 posted;
	__u32 pad1[30];

	__u64 head;
	__u32 pad2[30];

	__u32 dead;
	__u32 strays;
	__u32 pad3[30];
} __attribute__((aligned(128)));

/**
 * struct snvme_gpu_queue - a queue pair, in the memory of those who use it; does not change
 * @sq: submission ring, @entries
 * @cq: completion ring, @entries
 * @sq_db: tail doorbell
 * @cq_db: head doorbell
 * @state: the submission queue's state word, SNVME_STATE_*; in the host's memory, so rarely read
 * @live: what changes
 * @word: [@depth] of each command identifier: SNVME_GPU_FREE and so on, a count of its uses, its status
 * @ready: [@entries] (__u32)(position + 1) of the command that was written there
 * @lists: [@depth] a PRP list page for each identifier, or NULL: transfers of two pages at most
 * @timeout_ns: of a command
 * @max_transfer: bytes
 * @entries: of both rings: @depth + 1. Any number
 * @depth: commands that have an identifier. Who has one has room in both rings
 * @cid_bits: log2 of @depth, rounded up: above it a command identifier counts its uses
 * @page_shift: log2 of the controller's memory page
 * @nsid: namespace
 * @lba_shift: log2 of its blocks
 * @spread: of so many warps one uses this queue
 * @hop: less than @depth, and without a common divisor: by so much hops who looks for an identifier
 */
struct snvme_gpu_queue {
	struct snv_sqe *sq;
	struct snv_cqe *cq;
	struct snv_db sq_db;
	struct snv_db cq_db;
	const __u32 *state;
	struct snvme_gpu_live *live;
	__u32 *word;
	__u32 *ready;
	const struct snv_prp_list *lists;
	__u64 timeout_ns;
	__u64 max_transfer;
	__u32 entries;
	__u32 depth;
	__u32 cid_bits;
	__u32 page_shift;
	__u32 nsid;
	__u32 lba_shift;
	__u32 spread;
	__u32 hop;
	__u32 pad[22];
} __attribute__((aligned(128)));

/* struct snvme_gpu_queue.word: bits 1:0 the state, 16:2 the status, 31:17 the count of uses. */
#define SNVME_GPU_FREE		0U
#define SNVME_GPU_BUSY		1U
#define SNVME_GPU_DONE		2U
#define SNVME_GPU_STATE		3U
#define SNVME_GPU_STATUS_SHIFT	2
#define SNVME_GPU_USE_SHIFT	17

/*
 * struct snvme_gpu_live.head: bits 15:0 the slot of the next completion, 31:16 the slot that the
 * controller was last told, 32 somebody is telling it, 63:33 how often the slot went round.
 */
#define SNVME_GPU_SLOT		((__u64)0xffff)
#define SNVME_GPU_RUNG_SHIFT	16
#define SNVME_GPU_RINGING	((__u64)1 << 32)
#define SNVME_GPU_LAP		((__u64)1 << 33)

/**
 * struct snvme_gpu_mem - memory that the SSDs reach
 * @map: as each of them sees it
 * @length: bytes
 */
struct snvme_gpu_mem {
	struct snv_dma_map map[SNVME_GPU_MAX_SSDS];
	__u64 length;
	__u64 pad;
};

/**
 * struct snvme_gpu_io - a command
 * @opcode: SNV_OP_READ, SNV_OP_WRITE or SNV_OP_FLUSH
 * @flags: 0, or SNVME_GPU_FUA
 * @map: memory of the data
 * @offset: of the data there, bytes, a multiple of 4
 * @slba: first logical block
 * @nlb: logical blocks; 0 for flush
 */
struct snvme_gpu_io {
	__u32 opcode;
	__u32 flags;
	const struct snv_dma_map *map;
	__u64 offset;
	__u64 slba;
	__u32 nlb;
	__u32 pad;
};

#define SNVME_GPU_FUA	(1U << 0)

/* A command under way: its identifier, and which use of it. */
struct snvme_gpu_token {
	__u32 cid;
	__u32 use;
};

enum snvme_gpu_layout {
	SNVME_GPU_STRIPED,	/* blocks go round all SSDs, stripe by stripe */
	SNVME_GPU_MIRRORED,	/* each SSD has all blocks: reads from any, writes to all */
};

/**
 * struct snvme_gpu - one SSD or several, as one
 * @queue: [ssds * queues] those of the first SSD first
 * @ssds: how many
 * @queues: of each
 * @layout: enum snvme_gpu_layout
 * @lba_shift: log2 of the logical block
 * @stripe: blocks in a stripe
 * @blocks: of all together
 * @max_nlb: blocks in one command
 */
struct snvme_gpu {
	const struct snvme_gpu_queue *queue;
	__u32 ssds;
	__u32 queues;
	__u32 layout;
	__u32 lba_shift;
	__u32 stripe;
	__u32 max_nlb;
	__u64 blocks;
};

#ifdef __cplusplus
#define SNVME_GPU_ASSERT(cond) static_assert(cond, #cond)
#else
#define SNVME_GPU_ASSERT(cond) _Static_assert(cond, #cond)
#endif
SNVME_GPU_ASSERT(sizeof(struct snvme_gpu_live) == 512);
SNVME_GPU_ASSERT(sizeof(struct snvme_gpu_queue) == 256);
SNVME_GPU_ASSERT(sizeof(struct snvme_gpu_mem) == 24 * SNVME_GPU_MAX_SSDS + 16);
SNVME_GPU_ASSERT(sizeof(struct snvme_gpu) == 40);

#endif /* SNVME_GPU_TYPES_H */
