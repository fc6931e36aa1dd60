/* SPDX-License-Identifier: MIT */
/*
 * Data in memory that no load or store of the CPU reaches, such as a GPU's: media for it, which have
 * a copy engine carry the bytes. Whoever polls a worker has its copies started and reaped.
 */
#ifndef VSSD_DEVICE_H
#define VSSD_DEVICE_H

#include "../vssd.h"

#define VSSD_DEVICE_COPIES	256	/* started at once */
#define VSSD_DEVICE_SLOTS	4	/* batches of a worker under way */
#define VSSD_DEVICE_STAGING	(16U << 20)	/* enough for a worker, where nobody knows better */

/* A batch: copies that do not overlap and may go in any order. */
struct vssd_copies {
	uint64_t dst[VSSD_DEVICE_COPIES];
	uint64_t src[VSSD_DEVICE_COPIES];
	size_t length[VSSD_DEVICE_COPIES];
	size_t n;
};

/**
 * struct vssd_device_ops - a copy engine
 * @pin: make host memory fit for copies, for all workers. 0 or -errno
 * @unpin: likewise what pin took
 * @start: begin the copies of a batch of @worker, to be asked about as @slot. Batches of a worker go one
 *	after the other. 0; -EIO: it failed, and nothing of it is under way
 * @query: 1: the batch has ended, and whoever learns of it finds the bytes in place; 0: not yet; -EIO
 * @close: free @ctx
 *
 * A worker's start and query are called by one thread at a time; those of several at once.
 */
struct vssd_device_ops {
	int (*pin)(void *ctx, void *va, size_t length);
	void (*unpin)(void *ctx, void *va, size_t length);
	int (*start)(void *ctx, uint32_t worker, uint32_t slot, struct vssd_copies *copies);
	int (*query)(void *ctx, uint32_t worker, uint32_t slot);
	void (*close)(void *ctx);
};

struct vssd_device;

/**
 * vssd_device_create() - a device
 * @ops, @ctx: its copy engine; @ctx is the device's if this succeeds
 * @workers: that poll
 * @staging: bytes of pinned memory for each worker; no transfer with device memory may be longer
 * Return: NULL: errno
 */
struct vssd_device *vssd_device_create(const struct vssd_device_ops *ops, void *ctx,
				       uint32_t workers, size_t staging);
/* After the media of it are closed. */
void vssd_device_destroy(struct vssd_device *device);

/*
 * Memory of the device, at addresses that are no host memory's; ranges do not overlap. While no
 * worker polls (vssd_stop). 0, -EINVAL, -EEXIST, -ENOMEM.
 */
int vssd_device_map(struct vssd_device *device, void *va, size_t length);
/*
 * Not any more, while no worker polls. First it is hidden from translate; when no transfer in flight is
 * with it any more (vssd_unmap), unmapped. 0, -ENOENT.
 */
int vssd_device_hide(struct vssd_device *device, void *va, size_t length);
int vssd_device_unmap(struct vssd_device *device, void *va, size_t length);
/* As vssd_host.translate_data, of memory of the device: a pointer that only its media may use. */
void *vssd_device_translate(const struct vssd_device *device, uint64_t addr, size_t *length);

/**
 * vssd_device_wrap() - a medium whose transfers may be with memory of a device
 * @device: whose
 * @inner: where the data are; from then on the wrapper's, closed with it. Not a null medium, which
 *	needs no wrapper: it touches no memory
 * @memory: the @inner->size bytes that @inner, which ends each transfer at once, keeps them in; they
 *	are copied from and to directly if the device can have them pinned, and take up memory from
 *	then on. NULL: @inner is another kind; all goes through staging memory
 * Return: NULL: errno
 */
struct vssd_media *vssd_device_wrap(struct vssd_device *device, struct vssd_media *inner,
				    void *memory);
/* Do transfers of @worker depend on its being polled? Then it must not sleep. Its thread. */
bool vssd_device_busy(const struct vssd_device *device, uint32_t worker);

struct snvme_cuda;

/**
 * vssd_device_cuda() - a GPU's copy engines
 * @cuda: snvme_cuda_open()
 * @ordinal: of the GPU. Memory of others works, too
 * @workers, @staging: as for vssd_device_create()
 * @why: on failure, a sentence that says what is wrong; may be NULL
 * @size: of @why
 * Return: 0, -ENODEV, -ENOMEM, -EIO
 */
int vssd_device_cuda(const struct snvme_cuda *cuda, int ordinal, uint32_t workers, size_t staging,
		     struct vssd_device **out, char *why, size_t size);

#endif /* VSSD_DEVICE_H */
