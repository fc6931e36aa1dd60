/* SPDX-License-Identifier: MIT */
/*
 * In place of liburing where a machine lacks it: there is no ring, as on kernels that forbid it, and files
 * are read and written by system calls in the worker's thread. Nothing but the first is ever called.
 */
#ifndef VSSD_WITHOUT_LIBURING_H
#define VSSD_WITHOUT_LIBURING_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define IORING_FSYNC_DATASYNC	1

struct io_uring {
	int ring_fd;
};

struct io_uring_sqe {
	int rw_flags;
};

struct io_uring_cqe {
	int res;
};

static inline int io_uring_queue_init(unsigned int entries, struct io_uring *ring, unsigned int flags)
{
	return -ENOSYS;
}

static inline void io_uring_queue_exit(struct io_uring *ring) { }
static inline int io_uring_submit(struct io_uring *ring) { return -ENOSYS; }
static inline unsigned int io_uring_sq_ready(const struct io_uring *ring) { return 0; }
static inline struct io_uring_sqe *io_uring_get_sqe(struct io_uring *ring) { return NULL; }
static inline void io_uring_sqe_set_data(struct io_uring_sqe *sqe, void *data) { }
static inline void io_uring_prep_read(struct io_uring_sqe *sqe, int fd, void *buf, unsigned int n,
				      uint64_t offset) { }
static inline void io_uring_prep_write(struct io_uring_sqe *sqe, int fd, const void *buf,
				       unsigned int n, uint64_t offset) { }
static inline void io_uring_prep_readv(struct io_uring_sqe *sqe, int fd, const struct iovec *iov,
				       unsigned int n, uint64_t offset) { }
static inline void io_uring_prep_writev(struct io_uring_sqe *sqe, int fd, const struct iovec *iov,
					unsigned int n, uint64_t offset) { }
static inline void io_uring_prep_fallocate(struct io_uring_sqe *sqe, int fd, int mode,
					   uint64_t offset, uint64_t length) { }
static inline void io_uring_prep_fsync(struct io_uring_sqe *sqe, int fd, unsigned int flags) { }
static inline int io_uring_peek_cqe(struct io_uring *ring, struct io_uring_cqe **cqe) { return -ENOSYS; }
static inline void *io_uring_cqe_get_data(const struct io_uring_cqe *cqe) { return NULL; }
static inline void io_uring_cqe_seen(struct io_uring *ring, struct io_uring_cqe *cqe) { }

#endif /* VSSD_WITHOUT_LIBURING_H */
