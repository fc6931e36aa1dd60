/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* A lock in a word that is 0 at first, in every dialect of hal.h. For threads that may wait, not for handlers. */
#ifndef VSSD_LOCK_H
#define VSSD_LOCK_H

#include "hal.h"

/* Acquires: partner is the store of vssd_unlock(). */
static inline void vssd_lock(__u32 *lock)
{
	__u32 turn = 0;

	while (!snv_cas32(lock, 0, 1))
		snv_thread_relax(turn++);
}

static inline void vssd_unlock(__u32 *lock)
{
	SNV_STORE_RELEASE(lock, 0);
}

#endif /* VSSD_LOCK_H */
