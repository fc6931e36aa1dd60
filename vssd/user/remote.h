/* SPDX-License-Identifier: MIT */
/*
 * A controller of a home's subsystem for another process, by the vfio-user protocol: what its messages do.
 * Sockets are not known here.
 *
 * The other process is not trusted. All that it names is checked; its memory is reached only where it mapped
 * it, by descriptors of files in memory (memfd, tmpfs, hugetlbfs), and to be read and written. Where such
 * a file is shorter than it said, or becomes so, there is memory of zeros instead, and its end.
 */
#ifndef VSSD_REMOTE_H
#define VSSD_REMOTE_H

#include "home.h"
#include "vfio_user.h"

struct vssd_remote;

/**
 * struct vssd_reply - the answer to a message
 * @message: header and what follows
 * @size: bytes of it; 0: none is to be sent
 * @fd: goes with it, and stays the remote's; -1: none does
 */
struct vssd_reply {
	union {
		struct vfio_user_header header;
		char message[VFIO_USER_MAX_MESSAGE];
	};
	uint32_t size;
	int fd;
};

/**
 * vssd_remote_create() - a controller
 * @home: opened by vssd_home_open_bare()
 * @config: what that said
 * @socket: shut down when the client turns out to have lied of its memory; open until the end; -1: there is none
 * @out: out
 *
 * Return: 0, -ENOMEM, -ENOSPC (there are as many controllers as there can be), an errno of
 * memfd_create(2).
 */
int vssd_remote_create(struct vssd_home *home, const struct vssd_ctrl_config *config, int socket,
		       struct vssd_remote **out);
/* Takes it away, whatever it is doing, and lets go of all memory. */
void vssd_remote_destroy(struct vssd_remote *remote);

/**
 * vssd_remote_message() - carry out a message
 * @message: all of it, aligned as its header is
 * @size: its bytes, at least a header
 * @fds: descriptors that came with it: what is kept of them is -1 afterwards, the rest stays the caller's
 * @n_fds: at most VFIO_USER_MAX_FDS
 * @reply: out
 *
 * By one thread at a time, as are the others here.
 * Return: 0; -EPROTO: it makes no sense, and nothing after it can.
 */
int vssd_remote_message(struct vssd_remote *remote, const void *message, size_t size, int *fds,
			uint32_t n_fds, struct vssd_reply *reply);

/* Readable when vssd_remote_kicked() is to be called. */
int vssd_remote_fd(const struct vssd_remote *remote);
/*
 * Hand on the interrupts that were raised: writes to descriptors of the other process, which may make us wait.
 * Return: 0; -EFAULT: its memory was not what it said.
 */
int vssd_remote_kicked(struct vssd_remote *remote);

/*
 * From now on, memory of remotes that is not there does not end this process: a handler of SIGBUS, which leaves
 * other addresses to the one before it. 0 or -errno. Once is enough.
 */
int vssd_remote_guard(void);

#endif /* VSSD_REMOTE_H */
