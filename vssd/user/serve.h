/* SPDX-License-Identifier: MIT */
/* A subsystem for other processes, at a socket that speaks vfio-user. */
#ifndef VSSD_SERVE_H
#define VSSD_SERVE_H

#include "../vssd.h"

struct vssd_serve;

/**
 * vssd_serve_start() - make a subsystem and let others connect
 * @spec: as for vssd_home_open(), with threads
 * @dir: where the socket is to be, under the name "cntrl"; made if it is not there
 * @out: out
 * @why: on failure, a sentence that says what is wrong; may be NULL
 * @size: of @why
 *
 * Each connection is a controller of its own, which shares the namespaces with the others. Whoever may write to
 * the socket may connect: the process's umask and @dir decide.
 *
 * Return: 0, -EINVAL (@spec), -EADDRINUSE (another serves there), -ENAMETOOLONG, an errno of what it names.
 */
int vssd_serve_start(const char *spec, const char *dir, struct vssd_serve **out, char *why, size_t size);
/* Connections end, the socket goes. */
void vssd_serve_stop(struct vssd_serve *serve);

#endif /* VSSD_SERVE_H */
