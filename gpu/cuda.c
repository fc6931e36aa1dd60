// SPDX-License-Identifier: MIT
/* The CUDA driver, opened at run time. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "cuda.h"

#define CUDA_SUCCESS		0
#define CUDA_NO_DEVICE		100

_Static_assert(sizeof(struct snv_cu_copy_attrs) == 24 &&
	       offsetof(struct snv_cu_copy_attrs, flags) == 20, "as the driver has it");

/* Each with the name that the driver exports it under: that of the version described in cuda.h. */
static const struct {
	const char *name;
	size_t offset;
} functions[] = {
#define FUNCTION(member, name) { name, offsetof(struct snvme_cuda, member) }
	FUNCTION(GetErrorString, "cuGetErrorString"),
	FUNCTION(DeviceGet, "cuDeviceGet"),
	FUNCTION(DeviceGetAttribute, "cuDeviceGetAttribute"),
	FUNCTION(DeviceGetPCIBusId, "cuDeviceGetPCIBusId"),
	FUNCTION(DevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain"),
	FUNCTION(DevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2"),
	FUNCTION(CtxPushCurrent, "cuCtxPushCurrent_v2"),
	FUNCTION(CtxPopCurrent, "cuCtxPopCurrent_v2"),
	FUNCTION(MemAlloc, "cuMemAlloc_v2"),
	FUNCTION(MemFree, "cuMemFree_v2"),
	FUNCTION(MemAllocAsync, "cuMemAllocAsync"),
	FUNCTION(MemFreeAsync, "cuMemFreeAsync"),
	FUNCTION(MemcpyAsync, "cuMemcpyAsync"),
	FUNCTION(MemsetD8Async, "cuMemsetD8Async"),
	FUNCTION(MemHostRegister, "cuMemHostRegister_v2"),
	FUNCTION(MemHostUnregister, "cuMemHostUnregister"),
	FUNCTION(MemHostGetDevicePointer, "cuMemHostGetDevicePointer_v2"),
	FUNCTION(MemGetHandleForAddressRange, "cuMemGetHandleForAddressRange"),
	FUNCTION(PointerGetAttribute, "cuPointerGetAttribute"),
	FUNCTION(StreamCreate, "cuStreamCreate"),
	FUNCTION(StreamDestroy, "cuStreamDestroy_v2"),
	FUNCTION(StreamSynchronize, "cuStreamSynchronize"),
	FUNCTION(StreamQuery, "cuStreamQuery"),
	FUNCTION(EventCreate, "cuEventCreate"),
	FUNCTION(EventDestroy, "cuEventDestroy_v2"),
	FUNCTION(EventRecord, "cuEventRecord"),
	FUNCTION(EventQuery, "cuEventQuery"),
#undef FUNCTION
};

/* Of 12.8, which names the copy that failed. */
typedef snv_cu_result batch_v1_fn(snv_cu_ptr *dst, snv_cu_ptr *src, size_t *length, size_t count,
				  struct snv_cu_copy_attrs *attrs, size_t *attr_index,
				  size_t n_attrs, size_t *failed, struct CUstream_st *stream);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct snvme_cuda cuda;
static batch_v1_fn *batch_v1;
static bool opened;

static snv_cu_result batch_like_v2(snv_cu_ptr *dst, snv_cu_ptr *src, size_t *length, size_t count,
				   struct snv_cu_copy_attrs *attrs, size_t *attr_index,
				   size_t n_attrs, struct CUstream_st *stream)
{
	size_t failed;

	return batch_v1(dst, src, length, count, attrs, attr_index, n_attrs, &failed, stream);
}

int snvme_why(char *why, size_t size, int err, const char *fmt, ...)
{
	va_list ap;

	if (!why || !size)
		return err;
	va_start(ap, fmt);
	vsnprintf(why, size, fmt, ap);
	va_end(ap);
	return err;
}

/* The functions of @lib. 0 or an errno. */
static int find_functions(void *lib, char *why, size_t size)
{
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		void **member = (void **)((char *)&cuda + functions[i].offset);

		*member = dlsym(lib, functions[i].name);
		if (!*member)
			return snvme_why(why, size, ENOSYS, "NVIDIA driver too old: no %s",
				       functions[i].name);
	}
	*(void **)&cuda.MemcpyBatchAsync = dlsym(lib, "cuMemcpyBatchAsync_v2");
	*(void **)&batch_v1 = dlsym(lib, "cuMemcpyBatchAsync");
	if (!cuda.MemcpyBatchAsync && batch_v1)
		cuda.MemcpyBatchAsync = batch_like_v2;
	return 0;
}

static int initialise(void *lib, char *why, size_t size)
{
	snv_cu_result (*init)(unsigned int flags);
	const char *text = NULL;
	snv_cu_result ret;
	int device;

	*(void **)&init = dlsym(lib, "cuInit");
	if (!init)
		return snvme_why(why, size, ENOSYS, "NVIDIA driver too old: no cuInit");
	ret = init(0);
	if (ret == CUDA_NO_DEVICE || (!ret && cuda.DeviceGet(&device, 0)))
		return snvme_why(why, size, ENODEV, "no CUDA device");
	if (ret == CUDA_SUCCESS)
		return 0;
	if (cuda.GetErrorString(ret, &text) || !text)
		text = "unknown error";
	return snvme_why(why, size, EIO, "the NVIDIA driver does not start: %s (%d)", text, ret);
}

static int open_driver(char *why, size_t size)
{
	void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	int err;

	if (!lib)
		return snvme_why(why, size, ENOENT,
			       "libcuda.so.1: cannot be opened: no NVIDIA driver here");
	err = find_functions(lib, why, size);
	if (!err)
		err = initialise(lib, why, size);
	/* It may have started threads, so it stays; another dlopen() finds the same. */
	return err;
}

const struct snvme_cuda *snvme_cuda_open(char *why, size_t size)
{
	int err = 0;

	pthread_mutex_lock(&lock);
	if (!opened) {
		err = open_driver(why, size);
		opened = !err;
	}
	pthread_mutex_unlock(&lock);
	if (!err)
		return &cuda;
	errno = err;
	return NULL;
}

unsigned long long snvme_cuda_window(const struct snvme_cuda *cu, int device)
{
	unsigned long long begin, end, largest = 0;
	char name[32], path[80];
	unsigned int domain, bus, slot;
	FILE *f;

	if (cu->DeviceGetPCIBusId(name, sizeof(name), device) ||
	    sscanf(name, "%x:%x:%x", &domain, &bus, &slot) != 3)
		return 0;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%04x:%02x:%02x.0/resource", domain, bus, slot);
	f = fopen(path, "r");
	if (!f)
		return 0;
	/* A line for each BAR: begin, end, flags. Which of them is the memory's differs; it is the largest. */
	while (fscanf(f, "%llx %llx %*x", &begin, &end) == 2)
		if (end > begin && end - begin + 1 > largest)
			largest = end - begin + 1;
	fclose(f);
	return largest;
}

int snvme_cuda_export(const struct snvme_cuda *cu, int device, snv_cu_ptr ptr, size_t length, int *fd,
		      char *why, size_t size)
{
	const char *text = "unknown error";
	snv_cu_result ret;
	int has = 0;

	if (cu->DeviceGetAttribute(&has, SNV_CU_DMA_BUF_SUPPORTED, device) || !has) {
		snvme_why(why, size, 0, "GPU %d: the NVIDIA driver exports no memory as dma-buf: it needs the "
			"open kernel modules and Linux 5.12", device);
		return -EOPNOTSUPP;
	}
	ret = cu->MemGetHandleForAddressRange(fd, ptr, length, SNV_CU_HANDLE_DMA_BUF, 0);
	if (ret) {
		cu->GetErrorString(ret, &text);
		snvme_why(why, size, 0, "GPU %d: the NVIDIA driver does not export this memory as dma-buf: %s (%zu KiB, of a "
			"GPU that shows %llu MiB in its BAR)", device, text, length >> 10,
			snvme_cuda_window(cu, device) >> 20);
		return -EOPNOTSUPP;
	}
	return 0;
}
