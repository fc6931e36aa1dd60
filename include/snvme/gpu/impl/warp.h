/* SPDX-License-Identifier: MIT */
/*
 * What a warp does together, in two dialects: on a GPU, the lanes that are converged where a function
 * is called; on a CPU, a thread is a warp of one lane.
 */
#ifndef SNVME_GPU_WARP_H
#define SNVME_GPU_WARP_H

#include "hal.h"

#if !defined(__CUDA_ARCH__)
#include <time.h>
#endif

#ifdef __CUDACC__
#define SNVME_GPU_FN static __device__ __forceinline__
#else
#define SNVME_GPU_FN static inline
#endif

/*
 * The lanes that are here with the same @what. All of them call each function below with this mask, so
 * that they are together again after it: who asks anew in the middle may find a part of them, and never
 * the rest again.
 */
SNVME_GPU_FN __u32 snvme_warp_mask(const void *what)
{
#ifdef __CUDA_ARCH__
	return __match_any_sync(__activemask(), (unsigned long long)what);
#else
	(void)what;
	return 1;
#endif
}

SNVME_GPU_FN __u32 snvme_warp_count(__u32 mask)
{
#ifdef __CUDA_ARCH__
	return (__u32)__popc(mask);
#else
	(void)mask;
	return 1;
#endif
}

/* How many lanes of @mask come before this one. The leader is the one with rank 0. */
SNVME_GPU_FN __u32 snvme_warp_rank(__u32 mask)
{
#ifdef __CUDA_ARCH__
	__u32 before;

	asm("mov.u32 %0, %%lanemask_lt;" : "=r"(before));
	return (__u32)__popc(mask & before);
#else
	(void)mask;
	return 0;
#endif
}

/* The lanes of @mask whose @pred holds. */
SNVME_GPU_FN __u32 snvme_warp_ballot(__u32 mask, bool pred)
{
#ifdef __CUDA_ARCH__
	return __ballot_sync(mask, pred);
#else
	(void)mask;
	return pred;
#endif
}

/* What the lanes of @mask did before comes before what any of them does after. */
SNVME_GPU_FN void snvme_warp_sync(__u32 mask)
{
#ifdef __CUDA_ARCH__
	__syncwarp(mask);
#else
	(void)mask;
#endif
}

/* Of the lanes of @mask, by rank, how many at the beginning have @pred? */
SNVME_GPU_FN __u32 snvme_warp_leading(__u32 mask, bool pred)
{
#ifdef __CUDA_ARCH__
	__u32 others = __ballot_sync(mask, !pred);

	/* Below the first of them; where there is none, all. */
	return (__u32)__popc(mask & ((others & -others) - 1));
#else
	(void)mask;
	return pred;
#endif
}

/* The leader's @v. */
SNVME_GPU_FN __u32 snvme_warp_first(__u32 mask, __u32 v)
{
#ifdef __CUDA_ARCH__
	return __shfl_sync(mask, v, __ffs((int)mask) - 1);
#else
	(void)mask;
	return v;
#endif
}

SNVME_GPU_FN __u64 snvme_warp_first64(__u32 mask, __u64 v)
{
#ifdef __CUDA_ARCH__
	return __shfl_sync(mask, (unsigned long long)v, __ffs((int)mask) - 1);
#else
	(void)mask;
	return v;
#endif
}

/* @v of the first lane of @some, which are among those of @mask. */
SNVME_GPU_FN __u32 snvme_warp_from(__u32 mask, __u32 some, __u32 v)
{
#ifdef __CUDA_ARCH__
	return __shfl_sync(mask, v, __ffs((int)some) - 1);
#else
	(void)mask;
	(void)some;
	return v;
#endif
}

SNVME_GPU_FN __u64 snvme_warp_from64(__u32 mask, __u32 some, __u64 v)
{
#ifdef __CUDA_ARCH__
	return __shfl_sync(mask, (unsigned long long)v, __ffs((int)some) - 1);
#else
	(void)mask;
	(void)some;
	return v;
#endif
}

/* Which warp of the grid is this, in one dimension of a number? Threads of a CPU say themselves. */
SNVME_GPU_FN __u32 snvme_warp_index(void)
{
#ifdef __CUDA_ARCH__
	__u32 thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
	__u32 block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);

	return block * ((blockDim.x * blockDim.y * blockDim.z + 31) / 32) + thread / 32;
#else
	static __thread char here;

	/* Thread-local memory lies pages apart, often a power of two of them. */
	return (__u32)((unsigned long)&here >> 12) * 2654435761U >> 16;
#endif
}

/* A number for each thread of those warps of which one in @spread is among them, without gaps. */
SNVME_GPU_FN __u32 snvme_warp_place(__u32 spread)
{
#ifdef __CUDA_ARCH__
	__u32 lane;

	asm("mov.u32 %0, %%laneid;" : "=r"(lane));
	return snvme_warp_index() / spread * 32 + lane;
#else
	return snvme_warp_index() / spread;
#endif
}

/* Nanoseconds, of a clock that only goes forward. */
SNVME_GPU_FN __u64 snvme_warp_now(void)
{
#ifdef __CUDA_ARCH__
	__u64 ns;

	asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(ns));
	return ns;
#else
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (__u64)ts.tv_sec * 1000000000 + (__u64)ts.tv_nsec;
#endif
}

/* Something that changes often. */
SNVME_GPU_FN __u32 snvme_warp_tick(void)
{
#ifdef __CUDA_ARCH__
	return (__u32)clock();
#else
	return 0;
#endif
}

/* Store an entry of 64 bytes, aligned, in as few stores as there are. */
SNVME_GPU_FN void snvme_warp_store64(void *to, const void *from)
{
#ifdef __CUDA_ARCH__
	uint4 *dst = (uint4 *)to;
	const uint4 *src = (const uint4 *)from;

	dst[0] = src[0];
	dst[1] = src[1];
	dst[2] = src[2];
	dst[3] = src[3];
#else
	memcpy(to, from, 64);
#endif
}

#endif /* SNVME_GPU_WARP_H */
