/* SPDX-License-Identifier: MIT */
/*
 * The CUDA driver, opened at run time: libsnvme is built and loaded without it. The few types and
 * constants that are needed are declared here after the driver API's documentation (CUDA 12 and later).
 */
#ifndef SNVME_CUDA_H
#define SNVME_CUDA_H

#include <stddef.h>
#include <stdint.h>

typedef int snv_cu_result;		/* CUresult; 0 is success */
typedef uint64_t snv_cu_ptr;		/* CUdeviceptr */
struct CUctx_st;
struct CUstream_st;
struct CUevent_st;

#define SNV_CU_NOT_READY		600
#define SNV_CU_HOST_REGISTER_PORTABLE	1U
#define SNV_CU_HOST_REGISTER_DEVICEMAP	2U
#define SNV_CU_HOST_REGISTER_IOMEMORY	4U
#define SNV_CU_HOST_REGISTER_READ_ONLY	8U
#define SNV_CU_STREAM_NON_BLOCKING	1U
#define SNV_CU_EVENT_DISABLE_TIMING	2U
#define SNV_CU_POINTER_MEMORY_TYPE	2	/* CU_POINTER_ATTRIBUTE_MEMORY_TYPE */
#define SNV_CU_POINTER_ORDINAL		9	/* CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL */
#define SNV_CU_MEMORY_DEVICE		2U
#define SNV_CU_DMA_BUF_SUPPORTED	124	/* CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED */
#define SNV_CU_HANDLE_DMA_BUF		1	/* CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD */
#define SNV_CU_SRC_ORDER_STREAM		1	/* sources are read in stream order */
#define SNV_CU_COPY_OVERLAP		1U	/* copy engines rather than multiprocessors */

/* CUmemLocation; zeros: no hint. */
struct snv_cu_location {
	int type;
	int id;
};

/* CUmemcpyAttributes: of some copies in a batch. */
struct snv_cu_copy_attrs {
	int src_order;
	struct snv_cu_location src;
	struct snv_cu_location dst;
	unsigned int flags;
};

/**
 * struct snvme_cuda - the functions that are used, under the names of the driver API without "cu"
 *
 * One for a process, opened by the first snvme_cuda_open() and never closed: a driver cannot be.
 */
struct snvme_cuda {
	snv_cu_result (*GetErrorString)(snv_cu_result err, const char **text);
	snv_cu_result (*DeviceGet)(int *device, int ordinal);
	snv_cu_result (*DeviceGetAttribute)(int *value, int attribute, int device);
	snv_cu_result (*DeviceGetPCIBusId)(char *name, int length, int device);
	snv_cu_result (*DevicePrimaryCtxRetain)(struct CUctx_st **ctx, int device);
	snv_cu_result (*DevicePrimaryCtxRelease)(int device);
	snv_cu_result (*CtxPushCurrent)(struct CUctx_st *ctx);
	snv_cu_result (*CtxPopCurrent)(struct CUctx_st **ctx);
	snv_cu_result (*MemAlloc)(snv_cu_ptr *ptr, size_t length);
	snv_cu_result (*MemFree)(snv_cu_ptr ptr);
	snv_cu_result (*MemAllocAsync)(snv_cu_ptr *ptr, size_t length, struct CUstream_st *stream);
	snv_cu_result (*MemFreeAsync)(snv_cu_ptr ptr, struct CUstream_st *stream);
	snv_cu_result (*MemcpyAsync)(snv_cu_ptr dst, snv_cu_ptr src, size_t length,
				     struct CUstream_st *stream);
	snv_cu_result (*MemsetD8Async)(snv_cu_ptr dst, unsigned char value, size_t length,
				       struct CUstream_st *stream);
	snv_cu_result (*MemHostRegister)(void *va, size_t length, unsigned int flags);
	snv_cu_result (*MemHostUnregister)(void *va);
	snv_cu_result (*MemHostGetDevicePointer)(snv_cu_ptr *ptr, void *va, unsigned int flags);
	snv_cu_result (*MemGetHandleForAddressRange)(void *handle, snv_cu_ptr ptr, size_t length,
						     int type, unsigned long long flags);
	snv_cu_result (*PointerGetAttribute)(void *value, int attribute, snv_cu_ptr ptr);
	snv_cu_result (*StreamCreate)(struct CUstream_st **stream, unsigned int flags);
	snv_cu_result (*StreamDestroy)(struct CUstream_st *stream);
	snv_cu_result (*StreamSynchronize)(struct CUstream_st *stream);
	snv_cu_result (*StreamQuery)(struct CUstream_st *stream);
	snv_cu_result (*EventCreate)(struct CUevent_st **event, unsigned int flags);
	snv_cu_result (*EventDestroy)(struct CUevent_st *event);
	snv_cu_result (*EventRecord)(struct CUevent_st *event, struct CUstream_st *stream);
	snv_cu_result (*EventQuery)(struct CUevent_st *event);
	/*
	 * NULL where the driver is older than 12.8. As since 13.0, whatever the driver: without the
	 * index of the copy that failed. @attrs[i] applies from copy @attr_index[i] on; the first is 0.
	 * Not for the NULL stream.
	 */
	snv_cu_result (*MemcpyBatchAsync)(snv_cu_ptr *dst, snv_cu_ptr *src, size_t *length,
					  size_t count, struct snv_cu_copy_attrs *attrs,
					  size_t *attr_index, size_t n_attrs,
					  struct CUstream_st *stream);
};

/* Write a sentence about what is missing or wrong to @why, unless that is NULL. Returns @err. */
__attribute__((format(printf, 4, 5)))
int snvme_why(char *why, size_t size, int err, const char *fmt, ...);

/**
 * snvme_cuda_open() - the driver, opened and initialised
 * @why: on failure, a sentence about what is missing; may be NULL
 * @size: of @why
 *
 * Any thread. A failure is asked about again by the next call; success lasts.
 * Return: the functions, or NULL with errno: ENOENT no libcuda.so.1, ENODEV no GPU, ENOSYS too old,
 * EIO it does not start.
 */
const struct snvme_cuda *snvme_cuda_open(char *why, size_t size);

/**
 * snvme_cuda_export() - a dma-buf of memory of a GPU
 * @cu: the driver
 * @device: CUDA ordinal
 * @ptr: of memory by cuMemAlloc() (cudaMalloc()) or cuMemMap(), in whole pages of 4 KiB
 * @length: bytes
 * @fd: out: the caller closes it; the memory stays as long as anybody has the dma-buf mapped
 * @why: on failure, a sentence about what is missing; may be NULL
 * @size: of @why
 *
 * Return: 0; -EOPNOTSUPP the driver exports no memory, or not this.
 */
int snvme_cuda_export(const struct snvme_cuda *cu, int device, snv_cu_ptr ptr, size_t length, int *fd,
		      char *why, size_t size);

/**
 * snvme_cuda_window() - how much of a GPU's memory others can reach at a time
 * @cu: the driver
 * @device: CUDA ordinal
 *
 * Return: the size of the BAR that shows its memory, bytes; 0: not known.
 */
unsigned long long snvme_cuda_window(const struct snvme_cuda *cu, int device);

#endif /* SNVME_CUDA_H */
