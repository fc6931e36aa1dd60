/* SPDX-License-Identifier: MIT */
/* Private to vssd's home in a process: media, and what a home is to be. */
#ifndef VSSD_USER_H
#define VSSD_USER_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hal.h"
#include <snvme/nvme.h>

#include "../media.h"
#include "home.h"

/* Write the sentence that says what is wrong. Returns @err. */
int vssd_why(char *why, size_t size, int err, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* ---- media ---------------------------------------------------------------------------------- */

/**
 * vssd_ram_create() - zeros, at first in no memory at all; may be larger than there is
 * @size: bytes
 * @shared: several workers use it
 * @volatile_cache: claim one (something else models the loss)
 * Return: NULL: errno
 */
struct vssd_media *vssd_ram_create(uint64_t size, bool shared, bool volatile_cache);

/* The bytes of a medium that vssd_ram_create() made, for as long as it is open; NULL for another. */
void *vssd_ram_memory(struct vssd_media *media);

/*
 * Nothing: writes are dropped, and reads leave the memory as it was, so that what a command costs
 * can be told from what its data cost. NULL: errno.
 */
struct vssd_media *vssd_null_create(uint64_t size);

/* The io_uring of each worker, which all files share. */
struct vssd_uring;

/**
 * vssd_uring_create() - rings
 * @workers: as many
 * @wake: [@workers] eventfds, written when a worker that may sleep has to poll a file's medium: or
 *	NULL. Stay the caller's
 * @in_place: without rings: each transfer is a system call. Also where there is no io_uring
 * Return: NULL: errno
 */
struct vssd_uring *vssd_uring_create(uint32_t workers, const int *wake, bool in_place);
void vssd_uring_destroy(struct vssd_uring *uring);
/* Readable when transfers of @worker have ended; -1 without rings. */
int vssd_uring_fd(const struct vssd_uring *uring, uint32_t worker);
/* The kernel has not taken all that this worker gave it, being short of memory: ask again soon. */
bool vssd_uring_stuck(const struct vssd_uring *uring, uint32_t worker);

/**
 * struct vssd_file_config - a file or block device as a medium
 * @path: its name
 * @size: of the file to be made if there is none; 0 for none
 * @block: the file's size is rounded up to a multiple, a device's down
 * @readonly: do not write
 * @buffered: use the page cache even where O_DIRECT works
 */
struct vssd_file_config {
	const char *path;
	uint64_t size;
	uint32_t block;
	bool readonly;
	bool buffered;
};

/**
 * vssd_file_open() - a regular file or a block device
 *
 * Locked, so that no other opens it to write. What cannot be opened for writing is readonly.
 * Return: 0, -EBUSY, -EINVAL, an errno of the file system's; @why says which
 */
int vssd_file_open(struct vssd_uring *uring, const struct vssd_file_config *config,
		   struct vssd_media **out, char *why, size_t size);
/* The same questions, without keeping it or making it. */
int vssd_file_check(const struct vssd_file_config *config, char *why, size_t size);

/* ---- configuration -------------------------------------------------------------------------- */

enum vssd_medium { VSSD_RAM, VSSD_NULL, VSSD_FILE };

struct vssd_ns_spec {
	enum vssd_medium medium;
	struct vssd_file_config file;	/* file.size: of any medium */
	struct vssd_ns_config ns;
};

#define VSSD_NO_GPU	UINT32_MAX

/**
 * struct vssd_spec - what a home is to be
 * @config: its serial and model are the spec's
 * @threads: 0: the caller polls
 * @gpu: data may be in memory of GPUs, and this one's copy engines carry it: its CUDA ordinal; or
 *	VSSD_NO_GPU
 */
struct vssd_spec {
	struct vssd_config config;
	uint32_t threads;
	uint32_t gpu;
	struct vssd_ctrl_config ctrl;
	struct vssd_ns_spec *ns;
	uint32_t n_ns;
	struct vssd_fault *fault;
	uint32_t n_faults;
};

/**
 * vssd_spec_parse() - read "KIND[=VALUE][,KEY[=VALUE]]..."
 * @text: ram,size=SIZE; null,size=SIZE; file=PATH; dir=PATH (each regular file in it is a namespace);
 *	config=PATH (JSON). Keys are those of the tables in config.c; a path with a comma needs JSON
 * @spec: out, to be given to vssd_spec_free()
 * @why: on failure, a sentence that names the key
 * @size: of @why
 *
 * In JSON the subsystem's keys are at the top, with the objects timing and controller and the arrays
 * namespaces and faults. Values may all be strings. In a line, keys after config= are laid over it.
 * Return: 0, -EINVAL, an errno of the files that it names.
 */
int vssd_spec_parse(const char *text, struct vssd_spec *spec, char *why, size_t size);
void vssd_spec_free(struct vssd_spec *spec);

#endif /* VSSD_USER_H */
