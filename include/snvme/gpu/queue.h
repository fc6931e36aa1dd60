/* SPDX-License-Identifier: MIT */
/*
 * NVMe commands from GPU threads: CUDA C, or plain C on a CPU, where a thread is a warp of one lane.
 *
 * Any thread of any warp may call any of these, divergent or not; lanes that call together are
 * served together. Nothing here enters a kernel or asks a CPU for anything; the objects are made by
 * the host, <snvme/gpu/host.h>.
 *
 * Each function returns 0, a negative errno, or a positive NVMe status (SCT << 8 | SC) of the
 * caller's own command. A command's thread waits for it, or another that it gave the token to; whoever
 * waits reaps for all, so that nobody depends on a thread that does not. Every wait ends: when the
 * command does, when the queue's deadline passes (-ETIMEDOUT: the queue is to be made anew), when the
 * controller is reset (-ECONNRESET) or gone (-ENODEV), when memory is taken away (-ECONNABORTED). Who
 * finds no place for a command for as long as a command may take gets -ETIMEDOUT, too, and the queue
 * goes on.
 */
#ifndef SNVME_GPU_QUEUE_H
#define SNVME_GPU_QUEUE_H

#include "impl/queue.h"

/**
 * snvme_gpu_submit() - submit a command, and go on
 * @q: the queue
 * @io: the command
 * @token: out: what to wait for; every token that was given must be waited for, once
 *
 * Commands of lanes that come together take one atomic for their places in the ring, and those of many
 * warps one doorbell store. NVMe Base 2.0 section 3.3.1.
 *
 * Return: 0; -EAGAIN no command identifier was free: as many as the queue's depth are with threads
 * that have not waited for them; -EINVAL a range outside the memory, a transfer that is too long or
 * unaligned; -ECONNRESET, -ECONNABORTED, -ENODEV, -ETIMEDOUT the queue is dead.
 */
SNVME_GPU_FN int snvme_gpu_submit(const struct snvme_gpu_queue *q, const struct snvme_gpu_io *io,
				  struct snvme_gpu_token *token);

/**
 * snvme_gpu_poll() - has a command ended?
 * @q: the queue
 * @token: of the command
 *
 * Reaps what there is. Return: -EAGAIN not yet; any other value: it has, the token is used up.
 */
SNVME_GPU_FN int snvme_gpu_poll(const struct snvme_gpu_queue *q, struct snvme_gpu_token token);

/**
 * snvme_gpu_wait() - wait for a command
 * @q: the queue
 * @token: of the command
 *
 * Lanes that wait together return together. After -ETIMEDOUT the controller may still write to the
 * command's memory, until the queue is destroyed.
 *
 * Return: the command's status; -EINVAL the token was used already; see above.
 */
SNVME_GPU_FN int snvme_gpu_wait(const struct snvme_gpu_queue *q, struct snvme_gpu_token token);

/* Submit and wait, for a place too. */
SNVME_GPU_FN int snvme_gpu_do(const struct snvme_gpu_queue *q, const struct snvme_gpu_io *io);

/**
 * snvme_gpu_read() - read blocks
 * @gpu: the SSDs
 * @mem: where to
 * @offset: there, in bytes, a multiple of 4
 * @lba: first logical block, of all SSDs as one
 * @nlb: logical blocks, any number
 *
 * Cut at the longest transfer and where stripes end. The queue is chosen by the calling warp.
 */
SNVME_GPU_FN int snvme_gpu_read(const struct snvme_gpu *gpu, const struct snvme_gpu_mem *mem,
				__u64 offset, __u64 lba, __u32 nlb);
/* Likewise; durable after snvme_gpu_flush() where the controller has a volatile write cache. */
SNVME_GPU_FN int snvme_gpu_write(const struct snvme_gpu *gpu, const struct snvme_gpu_mem *mem,
				 __u64 offset, __u64 lba, __u32 nlb);
/* Make durable what has been written before, on all SSDs. */
SNVME_GPU_FN int snvme_gpu_flush(const struct snvme_gpu *gpu);

/* The queue that the calling warp uses on SSD @ssd: the one place where this is decided. */
SNVME_GPU_FN const struct snvme_gpu_queue *snvme_gpu_queue_of(const struct snvme_gpu *gpu, __u32 ssd);

#endif /* SNVME_GPU_QUEUE_H */
