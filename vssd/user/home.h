/* SPDX-License-Identifier: MIT */
/*
 * vssd's first home: a subsystem in this process, served by threads of its own or by whoever waits.
 * DMA addresses are pointers of this process.
 */
#ifndef VSSD_HOME_H
#define VSSD_HOME_H

#include "../vssd.h"

struct vssd_home;

/**
 * struct vssd_server - who carries out the I/O commands in place of this home's threads
 * @serve, @unserve: as in struct vssd_host
 * @map, @unmap: memory that commands may point to, of the host or of a GPU
 * @ctx: passed to each
 */
struct vssd_server {
	bool (*serve)(void *ctx, const struct vssd_served *queue);
	void (*unserve)(void *ctx, uint16_t sqid);
	int (*map)(void *ctx, void *va, size_t length);
	void (*unmap)(void *ctx, void *va, size_t length);
	void *ctx;
};

/**
 * vssd_home_open() - make a subsystem with one controller, and start its threads
 * @spec: what to make: "ram,size=1G", "file=/path,lba=4096", "dir=/path", "config=/path.json", ...
 * @server: or NULL
 * @home: out
 * @why: on failure, a sentence that says what is wrong; may be NULL
 * @size: of @why
 *
 * Return: 0, -EINVAL (@spec), an errno of what it names.
 */
int vssd_home_open(const char *spec, const struct vssd_server *server, struct vssd_home **home,
		   char *why, size_t size);
/*
 * The same without a controller: those of others come and go by vssd_ctrl_add() and vssd_ctrl_remove().
 * *@config: what they are to be.
 */
int vssd_home_open_bare(const char *spec, struct vssd_home **home, struct vssd_ctrl_config *config,
			char *why, size_t size);
/* Check @spec as far as that goes without making anything. */
int vssd_home_check(const char *spec, char *why, size_t size);
void vssd_home_close(struct vssd_home *home);

struct vssd *vssd_home_subsystem(struct vssd_home *home);
struct vssd_ctrl *vssd_home_ctrl(struct vssd_home *home);
void *vssd_home_doorbells(struct vssd_home *home);
/* The controller memory buffer, or NULL. */
void *vssd_home_cmb(struct vssd_home *home);

/*
 * Memory that the controller may reach, page aligned; ranges do not overlap. 0, -EINVAL, -ENOMEM,
 * -EEXIST.
 */
int vssd_home_map(struct vssd_home *home, void *va, size_t length);
/* Not any more; transfers in flight on it end first. 0, -ENOENT. */
int vssd_home_unmap(struct vssd_home *home, void *va, size_t length);

/*
 * Likewise memory of a GPU, at its unified address, which the CPU does not reach: for data of Read, Write
 * and Zone Append; anything else there ends in Data Transfer Error. Needs "gpu=": else -EOPNOTSUPP.
 */
int vssd_home_map_device(struct vssd_home *home, void *va, size_t length);
int vssd_home_unmap_device(struct vssd_home *home, void *va, size_t length);

/**
 * vssd_home_asleep() - the word that says that the thread behind a doorbell sleeps
 * @cqid: completion queue that the doorbell's queue reports to (or is)
 *
 * After a doorbell store, load it (relaxed suffices: the sleeper issues the barrier for both sides
 * with membarrier(2)); if it is not 0, call vssd_home_wake(). NULL: nobody sleeps here.
 */
const uint32_t *vssd_home_asleep(struct vssd_home *home, uint16_t cqid);
void vssd_home_wake(struct vssd_home *home, uint16_t cqid);
/* +1: somebody rings doorbells who cannot end a sleep: nobody sleeps. -1: he is gone. */
void vssd_home_awake(struct vssd_home *home, int change);
/* Likewise of who can bear that, after a second without work, his doorbell is looked at once a millisecond. */
void vssd_home_polled(struct vssd_home *home, int change);

/* "threads=0": do some work in the caller's thread. Returns how much; 0 also when there are threads. */
uint32_t vssd_home_pump(struct vssd_home *home);

#endif /* VSSD_HOME_H */
