/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Barriers, MMIO and atomics, one named helper per use, in three dialects: Linux kernel, C with
 * the GNU builtins, CUDA C. doc/memory-model.md argues each of them; the comments name the partner.
 *
 * There are no free-standing fences here: every ordering is tied to the access that needs it, so
 * that ThreadSanitizer sees what the hardware sees.
 */
#ifndef SNV_HAL_H
#define SNV_HAL_H

#include <linux/types.h>

#ifdef __KERNEL__
#include <asm/barrier.h>
#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/io.h>
#include <linux/processor.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/types.h>
#else
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#endif

#ifdef __CUDACC__
#define SNV_FN static __host__ __device__ __forceinline__
#else
#define SNV_FN static inline
#endif

/* Sparse checks these in the kernel build; elsewhere they say what the cast is for. */
#ifdef __CHECKER__
#define SNV_FORCE __attribute__((force))
#else
#define SNV_FORCE
#endif

/*
 * Byte order. Every machine that runs CUDA is little-endian, and so is x86 and arm64 Linux; the
 * swap is there so that nothing has to be re-read on the day one is not.
 */
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define SNV_SWAP16(x) __builtin_bswap16(x)
#define SNV_SWAP32(x) __builtin_bswap32(x)
#define SNV_SWAP64(x) __builtin_bswap64(x)
#else
#define SNV_SWAP16(x) (x)
#define SNV_SWAP32(x) (x)
#define SNV_SWAP64(x) (x)
#endif

SNV_FN __le16 snv_le16(__u16 x) { return (SNV_FORCE __le16)SNV_SWAP16(x); }
SNV_FN __le32 snv_le32(__u32 x) { return (SNV_FORCE __le32)SNV_SWAP32(x); }
SNV_FN __le64 snv_le64(__u64 x) { return (SNV_FORCE __le64)SNV_SWAP64(x); }
SNV_FN __u16 snv_le16_get(__le16 x) { return SNV_SWAP16((SNV_FORCE __u16)x); }
SNV_FN __u32 snv_le32_get(__le32 x) { return SNV_SWAP32((SNV_FORCE __u32)x); }
SNV_FN __u64 snv_le64_get(__le64 x) { return SNV_SWAP64((SNV_FORCE __u64)x); }

/* Plain words shared by threads of one end: order nothing but the word itself. */
#if defined(__KERNEL__)
#define SNV_LOAD_RELAXED(p)		READ_ONCE(*(p))
#define SNV_STORE_RELAXED(p, v)		WRITE_ONCE(*(p), v)
#define SNV_LOAD_ACQUIRE(p)		smp_load_acquire((p))
#define SNV_STORE_RELEASE(p, v)		smp_store_release((p), v)
#elif defined(__CUDA_ARCH__)
/* System scope, past L1: the partner may be the SSD, a CPU or another GPU. */
SNV_FN __u32 snv_cuda_ld_relaxed(const __u32 *p)
{
	__u32 v;

	asm volatile("ld.relaxed.sys.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
	return v;
}

SNV_FN __u32 snv_cuda_ld_acquire(const __u32 *p)
{
	__u32 v;

	asm volatile("ld.acquire.sys.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
	return v;
}

SNV_FN void snv_cuda_st_relaxed(__u32 *p, __u32 v)
{
	asm volatile("st.relaxed.sys.u32 [%0], %1;" : : "l"(p), "r"(v) : "memory");
}

SNV_FN void snv_cuda_st_release(__u32 *p, __u32 v)
{
	asm volatile("st.release.sys.u32 [%0], %1;" : : "l"(p), "r"(v) : "memory");
}
#define SNV_LOAD_RELAXED(p)		snv_cuda_ld_relaxed(p)
#define SNV_STORE_RELAXED(p, v)		snv_cuda_st_relaxed(p, v)
#define SNV_LOAD_ACQUIRE(p)		snv_cuda_ld_acquire(p)
#define SNV_STORE_RELEASE(p, v)		snv_cuda_st_release(p, v)
#else
#define SNV_LOAD_RELAXED(p)		__atomic_load_n(p, __ATOMIC_RELAXED)
#define SNV_STORE_RELAXED(p, v)		__atomic_store_n(p, v, __ATOMIC_RELAXED)
#define SNV_LOAD_ACQUIRE(p)		__atomic_load_n(p, __ATOMIC_ACQUIRE)
#define SNV_STORE_RELEASE(p, v)		__atomic_store_n(p, v, __ATOMIC_RELEASE)
#endif

/* Compare and swap, acquire on success; a winner sees what the last owner of the word did. */
SNV_FN bool snv_cas32(__u32 *p, __u32 old, __u32 val)
{
#if defined(__KERNEL__)
	return cmpxchg(p, old, val) == old;
#elif defined(__CUDA_ARCH__)
	__u32 seen;

	asm volatile("atom.acq_rel.sys.cas.b32 %0, [%1], %2, %3;"
		     : "=r"(seen) : "l"(p), "r"(old), "r"(val) : "memory");
	return seen == old;
#else
	return __atomic_compare_exchange_n(p, &old, val, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
#endif
}

/*
 * Words shared by threads of one GPU, or by threads of this process: as the above, but no farther than
 * that GPU's memory, which is what makes a release cheap there.
 */
#if defined(__CUDA_ARCH__)
SNV_FN __u32 snv_peer_load(const __u32 *p)
{
	__u32 v;

	asm volatile("ld.relaxed.gpu.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
	return v;
}

SNV_FN __u32 snv_peer_load_acquire(const __u32 *p)
{
	__u32 v;

	asm volatile("ld.acquire.gpu.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
	return v;
}

SNV_FN void snv_peer_store(__u32 *p, __u32 v)
{
	asm volatile("st.relaxed.gpu.u32 [%0], %1;" : : "l"(p), "r"(v) : "memory");
}

SNV_FN void snv_peer_store_release(__u32 *p, __u32 v)
{
	asm volatile("st.release.gpu.u32 [%0], %1;" : : "l"(p), "r"(v) : "memory");
}

SNV_FN bool snv_peer_cas_acquire(__u32 *p, __u32 old, __u32 val)
{
	__u32 seen;

	asm volatile("atom.acquire.gpu.cas.b32 %0, [%1], %2, %3;"
		     : "=r"(seen) : "l"(p), "r"(old), "r"(val) : "memory");
	return seen == old;
}

SNV_FN __u32 snv_peer_add(__u32 *p, __u32 n)
{
	__u32 old;

	asm volatile("atom.relaxed.gpu.add.u32 %0, [%1], %2;"
		     : "=r"(old) : "l"(p), "r"(n) : "memory");
	return old;
}

SNV_FN __u64 snv_peer_add64_acquire(__u64 *p, __u64 n)
{
	__u64 old;

	asm volatile("atom.acquire.gpu.add.u64 %0, [%1], %2;"
		     : "=l"(old) : "l"(p), "l"(n) : "memory");
	return old;
}

SNV_FN __u64 snv_peer_add64(__u64 *p, __u64 n)
{
	__u64 old;

	asm volatile("atom.acq_rel.gpu.add.u64 %0, [%1], %2;"
		     : "=l"(old) : "l"(p), "l"(n) : "memory");
	return old;
}

SNV_FN __u64 snv_peer_load64(const __u64 *p)
{
	__u64 v;

	asm volatile("ld.relaxed.gpu.u64 %0, [%1];" : "=l"(v) : "l"(p) : "memory");
	return v;
}

SNV_FN bool snv_peer_cas64(__u64 *p, __u64 old, __u64 val)
{
	__u64 seen;

	asm volatile("atom.relaxed.gpu.cas.b64 %0, [%1], %2, %3;"
		     : "=l"(seen) : "l"(p), "l"(old), "l"(val) : "memory");
	return seen == old;
}

/*
 * A lane that loads, or stores, several words acquires, or releases, for all of them at once: to acquire for
 * each would make every load wait for the one before. snv_peer_look() and snv_cqe_look_dw3(), then
 * snv_looked(); snv_peer_cas_looked() after that releases, too. Elsewhere each access has its own
 * ordering, which is what ThreadSanitizer sees.
 */
SNV_FN void snv_looked(void)
{
	asm volatile("fence.acq_rel.gpu;" : : : "memory");
}

/* A doorbell store of ours before those of who gets to know what is stored next. */
SNV_FN void snv_doorbell_order(void)
{
	asm volatile("fence.acq_rel.sys;" : : : "memory");
}

SNV_FN __u32 snv_cqe_look_dw3(const __le32 *dw3)
{
	return snv_cuda_ld_relaxed((const __u32 *)dw3);
}
#define snv_peer_look(p)		snv_peer_load(p)

SNV_FN bool snv_peer_cas_looked(__u32 *p, __u32 old, __u32 val)
{
	__u32 seen;

	asm volatile("atom.relaxed.gpu.cas.b32 %0, [%1], %2, %3;"
		     : "=r"(seen) : "l"(p), "r"(old), "r"(val) : "memory");
	return seen == old;
}

/* Releases also what was stored to doorbells, so that the next one's store comes after it. */
SNV_FN __u64 snv_peer_add64_release(__u64 *p, __u64 n)
{
	__u64 old;

	asm volatile("atom.release.sys.add.u64 %0, [%1], %2;"
		     : "=l"(old) : "l"(p), "l"(n) : "memory");
	return old;
}
#elif !defined(__KERNEL__)
#define snv_peer_load(p)		__atomic_load_n(p, __ATOMIC_RELAXED)
#define snv_peer_load_acquire(p)	__atomic_load_n(p, __ATOMIC_ACQUIRE)
#define snv_peer_store(p, v)		__atomic_store_n(p, v, __ATOMIC_RELAXED)
#define snv_peer_store_release(p, v)	__atomic_store_n(p, v, __ATOMIC_RELEASE)
#define snv_peer_add(p, n)		__atomic_fetch_add(p, n, __ATOMIC_RELAXED)
#define snv_peer_add64_acquire(p, n)	__atomic_fetch_add(p, n, __ATOMIC_ACQUIRE)
#define snv_peer_add64_release(p, n)	__atomic_fetch_add(p, n, __ATOMIC_RELEASE)
#define snv_peer_add64(p, n)		__atomic_fetch_add(p, n, __ATOMIC_ACQ_REL)
#define snv_peer_load64(p)		__atomic_load_n(p, __ATOMIC_RELAXED)
#define snv_peer_look(p)		__atomic_load_n(p, __ATOMIC_ACQUIRE)
#define snv_looked()			((void)0)
#define snv_doorbell_order()		((void)0)
#define snv_cqe_look_dw3(dw3)		snv_cqe_load_dw3(dw3)

SNV_FN bool snv_peer_cas_looked(__u32 *p, __u32 old, __u32 val)
{
	return __atomic_compare_exchange_n(p, &old, val, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

SNV_FN bool snv_peer_cas64(__u64 *p, __u64 old, __u64 val)
{
	return __atomic_compare_exchange_n(p, &old, val, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

SNV_FN bool snv_peer_cas_acquire(__u32 *p, __u32 old, __u32 val)
{
	return __atomic_compare_exchange_n(p, &old, val, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}
#endif

/* One turn of a wait loop. */
SNV_FN void snv_cpu_relax(void)
{
#if defined(__KERNEL__)
	cpu_relax();
#elif defined(__CUDA_ARCH__)
	__nanosleep(20);
#elif defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/*
 * Turn number @turn of a wait for another thread of this end. It may wait for our processor: a user
 * thread that only spins keeps it for a scheduler's slice at a time, and so do those behind it; a thread of
 * the kernel keeps it for ever. So in the kernel this is for threads that may sleep.
 */
SNV_FN void snv_thread_relax(__u32 turn)
{
#if defined(__KERNEL__)
	if (turn % 64 == 63)
		cond_resched_tasks_rcu_qs();
#elif !defined(__CUDA_ARCH__)
	if (turn % 64 == 63) {
		sched_yield();
		return;
	}
#else
	(void)turn;
#endif
	snv_cpu_relax();
}

#if !defined(__CUDACC__)
/* Sleep for about 50 us: for who waits for storage, as long as that takes. */
SNV_FN void snv_thread_nap(void)
{
#if defined(__KERNEL__)
	usleep_idle_range(50, 100);
#else
	const struct timespec nap = { 0, 50000 };

	nanosleep(&nap, 0);
#endif
}
#endif

/**
 * snv_doorbell_write() - ring a doorbell, after all that was stored before
 * @db: the doorbell register
 * @val: new SQ tail or CQ head, in CPU byte order (NVMe over PCIe 1.0 sections 3.1.2.1, 3.1.2.2)
 *
 * Partner: the controller's read of the doorbell, after which it fetches entries up to the tail, or
 * writes over CQ entries before the head.
 */
SNV_FN void snv_doorbell_write(__u32 *db, __u32 val)
{
#if defined(__KERNEL__)
	writel(val, (void SNV_FORCE __iomem *)db);
#elif defined(__CUDA_ARCH__)
	/* The fence carries the release: an mmio store has only relaxed form. */
	__threadfence_system();
	asm volatile("st.mmio.relaxed.sys.u32 [%0], %1;" : : "l"(db), "r"(val) : "memory");
#elif defined(__aarch64__)
	/*
	 * A store-release orders the inner domain only; the device is outside it. Loads too: those
	 * of the CQ entries that a head gives back.
	 */
	__asm__ volatile("dmb osh" : : : "memory");
	__atomic_store_n(db, snv_le32(val), __ATOMIC_RELAXED);
#else
	/* x86: a store to uncached memory is not passed by older write-back stores. */
	__atomic_store_n(db, (SNV_FORCE __u32)snv_le32(val), __ATOMIC_RELEASE);
#endif
}

/**
 * snv_shadow_exchange() - publish a tail or head in the shadow page, then see what to be told about
 * @shadow: our entry of the shadow doorbell page
 * @eventidx: our entry of the EventIdx page
 * @val: new SQ tail or CQ head
 * Return: the EventIdx, loaded strictly after the store
 *
 * Partner: the controller, which stores the EventIdx and then loads the shadow entry again. With
 * both sides ordering store before load, at least one of them sees the other (Dekker): a command
 * is never left unseen. NVMe Base 2.0 section 5.8 and Annex B.
 */
SNV_FN __u32 snv_shadow_exchange(__u32 *shadow, __u32 *eventidx, __u32 val)
{
	__u32 le = (SNV_FORCE __u32)snv_le32(val);
	__u32 ei;

#if defined(__KERNEL__)
	dma_mb();		/* SQ entry stores, CQ entry loads before the index over them */
	WRITE_ONCE(*shadow, le);
	mb();			/* the store before the load: the Dekker pair */
	ei = READ_ONCE(*eventidx);
#elif defined(__CUDA_ARCH__)
	snv_cuda_st_release(shadow, le);
	__threadfence_system();
	ei = snv_cuda_ld_relaxed(eventidx);
#else
	__atomic_store_n(shadow, le, __ATOMIC_SEQ_CST);
	ei = __atomic_load_n(eventidx, __ATOMIC_SEQ_CST);
#endif
	return snv_le32_get((SNV_FORCE __le32)ei);
}

/**
 * snv_cqe_load_dw3() - load a completion's last dword: command identifier, phase, status
 * @dw3: address of dword 3 of the entry
 * Return: the dword in CPU byte order
 *
 * Acquires: the rest of the entry, and then the data, are read after it. Partner: the controller,
 * which writes data, then the entry, its phase last. A 32-bit load, because the phase shares its
 * dword with the identifier and both must come from one write.
 */
SNV_FN __u32 snv_cqe_load_dw3(const __le32 *dw3)
{
	__u32 v;

#if defined(__KERNEL__)
	v = (SNV_FORCE __u32)READ_ONCE(*dw3);
	dma_rmb();		/* the phase before the rest of the entry */
#else
	v = SNV_LOAD_ACQUIRE((const __u32 *)(SNV_FORCE const void *)dw3);
#endif
	return snv_le32_get((SNV_FORCE __le32)v);
}

#endif /* SNV_HAL_H */
