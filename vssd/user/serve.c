// SPDX-License-Identifier: MIT
/*
 * Connections of vfio-user clients: a thread that accepts them, and one for each that carries out its messages.
 * One that waits for a slow client makes nobody else wait.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../pci.h"
#include "remote.h"
#include "serve.h"
#include "user.h"

#define MAX_CLIENTS	128	/* connections: those of controllers, and some to be told that there are no more */
#define FIRST_S		10	/* that these have to say something */
#define CLIENT_FDS	(VFIO_USER_MAX_FDS + 8)	/* of a connection, but for its interrupts; those of a message come and go */
#define HOME_FDS	64

/**
 * struct client - a connection
 * @next: in serve->clients, which the accepting thread owns
 * @lock: of @socket
 * @socket: closed by the client's own thread, which may take as long as what lies unread in it likes; -1 then
 * @refused: there are no descriptors for it
 * @ended: release; partner: reap_clients()'s acquire
 */
struct client {
	struct client *next;
	struct vssd_serve *serve;
	pthread_t id;
	pthread_mutex_t lock;
	int socket;
	bool refused;
	uint32_t ended;
};

struct vssd_serve {
	struct vssd_home *home;
	struct vssd_ctrl_config config;
	int listener;
	int stop[2];			/* a pipe: readable when all is to end */
	pthread_t id;
	bool accepting;
	struct client *clients;
	uint32_t n_clients;
	struct sockaddr_un address;
};

/* A message and what came with it. */
struct message {
	union {
		struct vfio_user_header header;
		char bytes[VFIO_USER_MAX_MESSAGE];
	};
	int fds[VFIO_USER_MAX_FDS];
	uint32_t n_fds;
};

/* ---- one client ------------------------------------------------------------------------------- */

static void take_fds(struct message *m, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (m->n_fds < VFIO_USER_MAX_FDS)
				m->fds[m->n_fds++] = fd;
			else
				close(fd);
		}
	}
}

/* @length bytes. false: the connection is over. */
static bool receive(int socket, struct message *m, size_t at, size_t length)
{
	while (length) {
		char control[CMSG_SPACE(VFIO_USER_MAX_FDS * sizeof(int))]
			__attribute__((aligned(__alignof__(struct cmsghdr))));
		struct iovec iov = { m->bytes + at, length };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
				      .msg_controllen = sizeof(control) };
		ssize_t n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		take_fds(m, &msg);
		/* There was no room for a descriptor: it is not known what was meant. */
		if (msg.msg_flags & MSG_CTRUNC)
			return false;
		at += (size_t)n;
		length -= (size_t)n;
	}
	return true;
}

static bool receive_message(int socket, struct message *m)
{
	if (!receive(socket, m, 0, sizeof(m->header)) || m->header.size < sizeof(m->header) ||
	    m->header.size > sizeof(m->bytes))
		return false;
	return receive(socket, m, sizeof(m->header), m->header.size - sizeof(m->header));
}

static bool send_reply(int socket, const struct vssd_reply *reply)
{
	size_t at = 0;

	while (at < reply->size) {
		char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(__alignof__(struct cmsghdr)))) = { 0 };
		struct iovec iov = { (char *)reply->message + at, reply->size - at };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
		ssize_t n;

		if (reply->fd >= 0 && !at) {
			struct cmsghdr *c = (struct cmsghdr *)control;

			msg.msg_control = control;
			msg.msg_controllen = sizeof(control);
			c->cmsg_level = SOL_SOCKET;
			c->cmsg_type = SCM_RIGHTS;
			c->cmsg_len = CMSG_LEN(sizeof(int));
			memcpy(CMSG_DATA(c), &reply->fd, sizeof(int));
		}
		n = sendmsg(socket, &msg, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += (size_t)n;
	}
	return true;
}

static bool answer(struct vssd_remote *r, int socket, struct message *m, struct vssd_reply *reply)
{
	int ret = 0;
	bool goes_on = false;

	m->n_fds = 0;
	if (receive_message(socket, m)) {
		ret = vssd_remote_message(r, m, m->header.size, m->fds, m->n_fds, reply);
		goes_on = send_reply(socket, reply) && !ret;
	}
	for (uint32_t i = 0; i < m->n_fds; i++)
		if (m->fds[i] >= 0)
			close(m->fds[i]);
	return goes_on;
}

/* Why there is no controller for it, as the answer to what it says first. */
static void refuse(int socket, struct message *m, struct vssd_reply *reply, int err)
{
	const struct timeval timeout = { .tv_sec = FIRST_S };

	m->n_fds = 0;
	setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	if (receive_message(socket, m)) {
		reply->header = m->header;
		reply->header.flags = VFIO_USER_REPLY | VFIO_USER_ERROR;
		reply->header.error = (uint32_t)-err;
		reply->header.size = reply->size = sizeof(reply->header);
		reply->fd = -1;
		send_reply(socket, reply);
	}
	while (m->n_fds)
		close(m->fds[--m->n_fds]);
}

/* Nobody shuts it down any more; what closing it takes, it takes this thread. */
static void hang_up(struct client *c)
{
	int socket = c->socket;

	pthread_mutex_lock(&c->lock);
	c->socket = -1;
	pthread_mutex_unlock(&c->lock);
	close(socket);
}

static void *attend(void *arg)
{
	struct client *c = arg;
	struct vssd_remote *r = NULL;
	struct message *m = malloc(sizeof(*m));
	struct vssd_reply *reply = malloc(sizeof(*reply));
	int ret = !m || !reply ? -ENOMEM : c->refused ? -EMFILE :
		  vssd_remote_create(c->serve->home, &c->serve->config, c->socket, &r);
	struct pollfd fds[] = {
		{ .fd = c->socket, .events = POLLIN },
		{ .fd = r ? vssd_remote_fd(r) : -1, .events = POLLIN },
	};

	if (ret && m && reply)
		refuse(c->socket, m, reply, ret);
	while (!ret) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
		if (fds[1].revents)
			ret = vssd_remote_kicked(r);
		if (!ret && fds[0].revents && !answer(r, c->socket, m, reply))
			break;
	}
	if (r)
		vssd_remote_destroy(r);
	free(m);
	free(reply);
	hang_up(c);
	SNV_STORE_RELEASE(&c->ended, 1);
	return NULL;
}

/* ---- all of them ------------------------------------------------------------------------------ */

/* Those that have ended; or, with @all, have them end first. */
static void reap_clients(struct vssd_serve *s, bool all)
{
	for (struct client **at = &s->clients, *c; (c = *at);) {
		pthread_mutex_lock(&c->lock);
		if (all && c->socket >= 0)
			shutdown(c->socket, SHUT_RDWR);
		pthread_mutex_unlock(&c->lock);
		if (!all && !SNV_LOAD_ACQUIRE(&c->ended)) {
			at = &c->next;
			continue;
		}
		pthread_join(c->id, NULL);
		pthread_mutex_destroy(&c->lock);
		*at = c->next;
		s->n_clients--;
		free(c);
	}
}

/* Has each of @clients all that it may ask for? Or another would find none left, and be cut off (MSG_CTRUNC). */
static bool descriptors_for(const struct vssd_serve *s, uint32_t clients)
{
	struct rlimit limit;
	struct vssd_pci pci;

	vssd_pci_init(&pci, &s->config);
	return getrlimit(RLIMIT_NOFILE, &limit) ||
	       (rlim_t)clients * (pci.vectors + CLIENT_FDS) + HOME_FDS <= limit.rlim_cur;
}

static void take_client(struct vssd_serve *s)
{
	struct client *c = s->n_clients < MAX_CLIENTS ? calloc(1, sizeof(*c)) : NULL;
	const struct timespec nap = { .tv_nsec = 10000000 };
	int socket = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);

	if (socket < 0 || !c) {
		/* With no descriptor to spare, somebody has to go first. */
		if (socket < 0)
			nanosleep(&nap, NULL);
		else
			close(socket);
		free(c);
		return;
	}
	c->serve = s;
	c->socket = socket;
	c->refused = !descriptors_for(s, s->n_clients + 1);
	pthread_mutex_init(&c->lock, NULL);
	if (pthread_create(&c->id, NULL, attend, c)) {
		pthread_mutex_destroy(&c->lock);
		close(socket);
		free(c);
		return;
	}
	c->next = s->clients;
	s->clients = c;
	s->n_clients++;
}

static void *accept_all(void *arg)
{
	struct vssd_serve *s = arg;
	struct pollfd fds[] = {
		{ .fd = s->listener, .events = POLLIN },
		{ .fd = s->stop[0], .events = POLLIN },
	};

	while (!fds[1].revents) {
		/* Now and then those that have ended are looked for. */
		if (poll(fds, 2, s->clients ? 1000 : -1) < 0)
			fds[0].revents = fds[1].revents = 0;
		reap_clients(s, false);
		if (fds[0].revents)
			take_client(s);
	}
	reap_clients(s, true);
	return NULL;
}

/* ---- starting and stopping -------------------------------------------------------------------- */

/* Does anybody answer at this address? What nobody answers at is left over from before. */
static bool in_use(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool answered = fd >= 0 && !connect(fd, (const struct sockaddr *)address, sizeof(*address));

	if (fd >= 0)
		close(fd);
	return answered;
}

static int open_socket(struct vssd_serve *s, const char *dir, char *why, size_t size)
{
	char *path = s->address.sun_path;
	int n = snprintf(path, sizeof(s->address.sun_path), "%s/" VFIO_USER_SOCKET, dir);

	s->address.sun_family = AF_UNIX;
	if (n < 0 || (size_t)n >= sizeof(s->address.sun_path)) {
		path[0] = 0;
		return vssd_why(why, size, -ENAMETOOLONG, "%s: a socket's path may have %zu bytes", dir,
				sizeof(s->address.sun_path) - 1);
	}
	if (mkdir(dir, 0777) && errno != EEXIST)
		return vssd_why(why, size, -errno, "%s: %s", dir, strerror(errno));
	s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->listener < 0)
		return vssd_why(why, size, -errno, "socket: %s", strerror(errno));
	if (bind(s->listener, (struct sockaddr *)&s->address, sizeof(s->address))) {
		int err = errno;

		if (err != EADDRINUSE || in_use(&s->address)) {
			vssd_why(why, size, -err, "%s: %s", path, strerror(err));
			path[0] = 0;
			return -err;
		}
		unlink(path);
		if (bind(s->listener, (struct sockaddr *)&s->address, sizeof(s->address)))
			return vssd_why(why, size, -errno, "%s: %s", path, strerror(errno));
	}
	if (listen(s->listener, 16))
		return vssd_why(why, size, -errno, "%s: %s", path, strerror(errno));
	return 0;
}

static int start_accepting(struct vssd_serve *s)
{
	sigset_t all, old;
	int ret;

	if (pipe2(s->stop, O_CLOEXEC))
		return -errno;
	/* Signals are for the program's own threads; but for what a thread does itself. */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = -pthread_create(&s->id, NULL, accept_all, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	s->accepting = !ret;
	return ret;
}

int vssd_serve_start(const char *spec, const char *dir, struct vssd_serve **out, char *why, size_t size)
{
	struct vssd_serve *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return vssd_why(why, size, -ENOMEM, "out of memory");
	s->listener = s->stop[0] = s->stop[1] = -1;
	ret = vssd_home_open_bare(spec, &s->home, &s->config, why, size);
	if (!ret)
		ret = open_socket(s, dir, why, size);
	if (!ret) {
		ret = vssd_remote_guard();
		if (!ret)
			ret = start_accepting(s);
		if (ret)
			vssd_why(why, size, ret, "threads: %s", strerror(-ret));
	}
	if (ret)
		vssd_serve_stop(s);
	else
		*out = s;
	return ret;
}

void vssd_serve_stop(struct vssd_serve *s)
{
	if (s->accepting) {
		close(s->stop[1]);
		s->stop[1] = -1;
		pthread_join(s->id, NULL);
	}
	if (s->listener >= 0) {
		close(s->listener);
		if (s->address.sun_path[0])
			unlink(s->address.sun_path);
	}
	for (int i = 0; i < 2; i++)
		if (s->stop[i] >= 0)
			close(s->stop[i]);
	if (s->home)
		vssd_home_close(s->home);
	free(s);
}
