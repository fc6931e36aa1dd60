/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What fake_nvidia.ko offers at /dev/fake_nvidia. */
#ifndef FAKE_NVIDIA_H
#define FAKE_NVIDIA_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * The BAR by addresses of a GPU, from FAKE_BASE on. Its pages of 64 KiB are scattered: within each MiB the
 * last comes first.
 */
#define FAKE_BASE	0x7f0000000000ULL
#define FAKE_PAGE	65536ULL
#define FAKE_RUN	(16 * FAKE_PAGE)

struct fake_range {
	__u64 addr;
	__u64 length;
};

/* What nvidia_p2p_get_pages() and _put_pages() do from now on. */
enum fake_mode {
	FAKE_GIVES,
	FAKE_REFUSES,		/* -EIO */
	FAKE_VERSION,		/* a table of another version */
	FAKE_SIZE,		/* pages of another size */
	FAKE_TAKES_IN_GET,	/* takes the memory away before get_pages() has returned */
	FAKE_TAKES_IN_PUT,	/* as put_pages() begins */
};

/* Take the memory of a range away. EBUSY: somebody still has its table of pages after that. */
#define FAKE_TAKE	_IOW('n', 0, struct fake_range)
#define FAKE_MODE	_IO('n', 1)

#endif /* FAKE_NVIDIA_H */
