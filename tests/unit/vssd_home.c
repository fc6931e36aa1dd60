// SPDX-License-Identifier: MIT
/*
 * vssd's home in a process: opening, memory that comes and goes, threads that sleep and are woken.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>

#include "tap.h"
#include "vssd_home.h"

static char path[] = "/var/tmp/vssd_home.XXXXXX";
static char why[256];

static void open_or_die(struct host *h, const char *spec, uint16_t queues)
{
	if (host_open(h, spec, queues, why, sizeof(why))) {
		ok(false, "%s: %s", spec, why);
		exit(done());
	}
}

/* Write and read back blocks through each queue. Returns how many were wrong. */
static int exercise(struct host *h, uint16_t queues, int rounds)
{
	char *buf = h->mem + HOST_DATA;
	int wrong = 0;

	for (int i = 0; i < rounds; i++) {
		uint16_t qid = 1 + i % queues;
		struct snv_sqe sqe = host_rw(SNV_OP_WRITE, i % 64, 1, buf, 512);

		memset(buf, i + 1, 512);
		wrong += !!host_do(h, qid, &sqe);
		memset(buf, 0, 512);
		sqe.opcode = SNV_OP_READ;
		wrong += !!host_do(h, qid, &sqe);
		wrong += buf[0] != (char)(i + 1) || buf[511] != (char)(i + 1);
	}
	return wrong;
}

static void test_kinds(void)
{
	static const char *const specs[] = {
		"ram,size=1M,threads=0", "ram,size=1M", "ram,size=1M,threads=2", "ram,size=1M,threads=4",
		"ram,size=1M,power_loss", "file=FILE,threads=0", "file=FILE", "file=FILE,threads=3",
		"ram,size=1M,timing=optane", "ram,size=8M,timing=tlc,threads=2",
	};

	for (size_t i = 0; i < sizeof(specs) / sizeof(*specs); i++) {
		const char *file = strstr(specs[i], "FILE");
		struct host h;
		char spec[256];

		snprintf(spec, sizeof(spec), "%.*s%s%s", file ? 5 : 0, specs[i], file ? path : "",
			 file ? file + 4 : specs[i]);
		open_or_die(&h, spec, 4);
		is(exercise(&h, 4, 100), 0, "%s: writes and reads on four queues", specs[i]);
		host_close(&h);
	}
}

static void test_open(void)
{
	struct vssd_home *home, *second;
	char spec[256];

	is(vssd_home_open("ram", NULL, &home, why, sizeof(why)), -EINVAL, "a spec that is none");
	ok(strstr(why, "ram: needs a size"), "%s", why);
	is(vssd_home_check("ram", why, sizeof(why)), -EINVAL, "checked");
	is(vssd_home_check("ram,size=1M", why, sizeof(why)), 0, "one that is");
	is(vssd_home_open("ram,size=1M,timing=none,cmb=64K,threads=0", NULL, &home, why, sizeof(why)), 0,
	   "with a controller memory buffer");
	ok(vssd_home_cmb(home) && !vssd_home_asleep(home, 1) && vssd_home_subsystem(home),
	   "which is there; nobody sleeps where there are no threads");
	vssd_home_wake(home, 1);
	vssd_home_close(home);

	snprintf(spec, sizeof(spec), "file=%s,threads=0", path);
	is(vssd_home_open(spec, NULL, &home, why, sizeof(why)), 0, "a file");
	ok(!vssd_home_cmb(home), "without a controller memory buffer");
	is(vssd_home_open(spec, NULL, &second, why, sizeof(why)), -EBUSY, "a file in use");
	ok(strstr(why, path) && strstr(why, "in use"), "%s", why);
	vssd_home_close(home);
	is(vssd_home_open(spec, NULL, &home, NULL, 0), 0, "no longer in use");
	vssd_home_close(home);
	is(vssd_home_open("ram,size=1E,nsid=1", NULL, &home, why, sizeof(why)), -EINVAL, "no such suffix");
	is(vssd_home_open("ram,size=524288T", NULL, &home, why, sizeof(why)), -ENOMEM, "half an EiB of memory");
	ok(strstr(why, "bytes of memory"), "%s", why);
	is(vssd_home_open("ram,size=1M,zone_size=2M", NULL, &home, why, sizeof(why)), -EINVAL,
	   "a zone larger than the namespace");
	ok(strstr(why, "namespaces[0]: its size, zones or format"), "%s", why);
	is(vssd_home_open("ram,size=16M,lba=4096,zone_size=1M,max_open=4", NULL, &home, why, sizeof(why)), 0,
	   "zones that fit");
	vssd_home_close(home);
}

static void write_config(const char *json)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	if (fd < 0 || write(fd, json, strlen(json)) < 0)
		diag("%s: %s", path, strerror(errno));
	close(fd);
}

static void test_config(void)
{
	struct vssd_home *home;
	struct host h;
	char spec[256];
	struct snv_sqe sqe;

	snprintf(spec, sizeof(spec), "config=%s", path);
	write_config("{ \"namespaces\": [ { \"ram\": \"1M\", \"nsid\": 2 }, { \"ram\": \"1M\", \"nsid\": 2 } ] }");
	is(vssd_home_open(spec, NULL, &home, why, sizeof(why)), -EEXIST, "an identifier twice");
	ok(strstr(why, "namespaces[1].nsid: 2 is there already"), "%s", why);
	write_config("{ \"timing\": { \"model\": \"flash\" } }");
	is(vssd_home_open(spec, NULL, &home, why, sizeof(why)), -EINVAL, "a flash without channels");
	ok(strstr(why, "timing: no model has such figures"), "%s", why);
	write_config("{ \"namespaces\": [ { \"ram\": \"1M\" } ], \"faults\": ["
		     "{ \"action\": \"status\", \"status\": \"0x281\", \"opcode\": 2, \"slba\": 5, \"nlb\": 1 } ] }");
	open_or_die(&h, spec, 1);
	sqe = host_rw(SNV_OP_READ, 4, 1, h.mem + HOST_DATA, 512);
	is(host_do(&h, 1, &sqe), 0, "a rule does not concern block 4");
	sqe = host_rw(SNV_OP_READ, 5, 1, h.mem + HOST_DATA, 512);
	is(host_do(&h, 1, &sqe), SNV_SC_READ_ERROR, "but block 5");
	host_close(&h);
	write_config("");
	if (truncate(path, 1 << 20))
		diag("%s: %s", path, strerror(errno));
}

/* Namespace Management makes namespaces of memory: Base 5.23. */
static void test_management(void)
{
	struct host h;
	struct snv_sqe sqe = { .opcode = SNV_ADMIN_NS_MGMT };
	uint64_t *data;

	open_or_die(&h, "ram,size=1M", 1);
	data = (uint64_t *)(h.mem + HOST_DATA);
	data[0] = 2048;			/* NSZE, NCAP */
	data[1] = 2048;
	sqe.prp1 = snv_le64((uintptr_t)data);
	is(host_do(&h, 0, &sqe), 0, "a namespace is created");
	host_close(&h);
}

static void test_memory(const char *spec)
{
	struct host h;
	char *more = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct snv_sqe sqe = host_rw(SNV_OP_READ, 0, 16, more, 8192);
	int wrong = 0;

	open_or_die(&h, spec, 2);
	is(vssd_home_map(h.home, more + 1, 4096), -EINVAL, "%s: map: not a page", spec);
	is(vssd_home_map(h.home, more, 0), -EINVAL, "%s: map: nothing", spec);
	is(vssd_home_map(h.home, (void *)(UINTPTR_MAX - 4095), 8192), -EINVAL, "%s: map: around the end",
	   spec);
	is(vssd_home_map(h.home, h.mem + 4096, 4096), -EEXIST, "%s: map: in what is mapped", spec);
	is(vssd_home_map(h.home, h.mem - 4096, 8192), -EEXIST, "%s: map: across its beginning", spec);
	is(vssd_home_map(h.home, h.mem + HOST_MEMORY - 4096, 8192), -EEXIST, "%s: map: across its end",
	   spec);
	is(vssd_home_unmap(h.home, more, 65536), -ENOENT, "%s: unmap: not mapped", spec);
	is(vssd_home_unmap(h.home, h.mem, 4096), -ENOENT, "%s: unmap: a part", spec);
	ok(host_do(&h, 1, &sqe) != 0, "%s: a read into memory that is not mapped fails", spec);
	/* In pages, in no order: neighbours are found, and found to be separate. */
	for (int i = 0; i < 16; i++)
		wrong += !!vssd_home_map(h.home, more + i * 7 % 16 * 4096, 4096);
	is(wrong, 0, "%s: sixteen ranges", spec);
	for (int i = 0; i < 15; i++) {
		sqe = host_rw(SNV_OP_READ, i, 16, more + i * 4096, 8192);
		memset(more, 0xff, 65536);
		wrong += host_do(&h, 1, &sqe) || more[i * 4096] || more[i * 4096 + 8191] ||
			 (i && more[i * 4096 - 1] != -1);
	}
	is(wrong, 0, "%s: reads into each and the next", spec);
	is(vssd_home_unmap(h.home, more + 5 * 4096, 4096), 0, "%s: unmap of the sixth", spec);
	for (int i = 0; i < 15; i++) {
		sqe = host_rw(SNV_OP_READ, i, 16, more + i * 4096, 8192);
		wrong += !host_do(&h, 1, &sqe) == (i == 4 || i == 5);
	}
	is(wrong, 0, "%s: now unreachable, and no other", spec);
	host_close(&h);
	munmap(more, 65536);
}

/* Memory goes while reads into it are under way: nothing is written to it afterwards. */
static void test_unmap_in_flight(const char *spec)
{
	struct host h;
	char *more = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int wrong = 0, fine = 0;

	open_or_die(&h, spec, 1);
	for (int round = 0; round < 200; round++) {
		uint64_t since = host_now();
		uint16_t cid;
		int status;

		wrong += !!vssd_home_map(h.home, more, 8192);
		for (int i = 0; i < 32; i++) {
			struct snv_sqe sqe = host_rw(SNV_OP_READ, i * 16, 16, more, 8192);

			host_submit(&h, 1, &sqe);
		}
		for (int i = 0; i < round % 7; i++)
			vssd_home_pump(h.home);
		wrong += !!vssd_home_unmap(h.home, more, 8192);
		memset(more, 0x5a, 8192);
		for (int i = 0; i < 32; i++) {
			while (!host_reap(&h, 1, &cid, &status))
				host_relax(&h, since, "reads");
			fine += !status;
		}
		for (int i = 0; i < 8192; i++)
			wrong += more[i] != 0x5a;
	}
	is(wrong, 0, "%s: 200 times unmap with reads under way", spec);
	diag("%d of 6400 reads were in time", fine);
	host_close(&h);
	munmap(more, 8192);
}

static bool falls_asleep(struct host *h, uint16_t cqid)
{
	const uint32_t *asleep = vssd_home_asleep(h->home, cqid);

	for (int i = 0; i < 600000; i++) {
		if (SNV_LOAD_RELAXED(asleep))
			return true;
		usleep(500);
	}
	return false;
}

static void test_sleep(const char *spec)
{
	struct host h;
	struct snv_sqe sqe;
	uint64_t seed = 1;
	int wrong = 0;

	open_or_die(&h, spec, 2);
	sqe = host_rw(SNV_OP_READ, 0, 1, h.mem + HOST_DATA, 512);
	ok(falls_asleep(&h, 1) && falls_asleep(&h, 2), "%s: idle threads sleep", spec);
	is(host_do(&h, 1, &sqe), 0, "%s: a doorbell wakes one", spec);
	ok(falls_asleep(&h, 0), "%s: asleep again", spec);
	sqe.opcode = SNV_ADMIN_KEEP_ALIVE;
	host_do(&h, 0, &sqe);
	ok(falls_asleep(&h, 0), "%s: an admin doorbell wakes it too", spec);
	host_set_cc(&h, 0);
	ok(falls_asleep(&h, 0), "%s: a register write wakes it", spec);
	is(host_enable(&h, 2), 0, "%s: and again", spec);

	/* Just when it falls asleep: an unseen doorbell would never be answered. */
	sqe = host_rw(SNV_OP_READ, 0, 1, h.mem + HOST_DATA, 512);
	for (int i = 0; i < 3000; i++) {
		uint64_t since = host_now(), pause;

		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		pause = 42000 + (seed >> 33) % 16000;
		while (host_now() - since < pause)
			snv_cpu_relax();
		wrong += !!host_do(&h, 1 + i % 2, &sqe);
	}
	is(wrong, 0, "%s: 3000 doorbells at the moment of falling asleep", spec);
	host_close(&h);
}

/* Several threads of the host, each with its queue, while another changes the memory map. */
struct user {
	struct host *h;
	uint16_t qid;
	int wrong;
};

static void *use_queue(void *arg)
{
	struct user *u = arg;
	char *buf = u->h->mem + HOST_DATA + u->qid * 65536;

	for (int i = 0; i < 1000; i++) {
		struct snv_sqe sqe = host_rw(SNV_OP_WRITE, u->qid * 64 + i % 64, 1, buf, 512);

		memset(buf, i, 512);
		u->wrong += !!host_do(u->h, u->qid, &sqe);
		memset(buf, ~i, 512);
		sqe.opcode = SNV_OP_READ;
		u->wrong += host_do(u->h, u->qid, &sqe) || buf[0] != (char)i || buf[511] != (char)i;
	}
	return NULL;
}

static void test_threads(const char *spec)
{
	struct host h;
	struct user u[4];
	pthread_t id[4];
	char *more = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int wrong = 0;

	open_or_die(&h, spec, 4);
	for (int i = 0; i < 4; i++) {
		u[i] = (struct user){ &h, i + 1, 0 };
		pthread_create(&id[i], NULL, use_queue, &u[i]);
	}
	for (int i = 0; i < 200; i++) {
		wrong += !!vssd_home_map(h.home, more + i % 16 * 4096, 4096);
		wrong += !!vssd_home_unmap(h.home, more + i % 16 * 4096, 4096);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(id[i], NULL);
		wrong += u[i].wrong;
	}
	is(wrong, 0, "%s: four threads with a queue each, and one that maps memory", spec);
	host_close(&h);
	munmap(more, 65536);
}

int main(void)
{
	char spec[256];
	int fd = mkstemp(path);

	if (fd < 0 || ftruncate(fd, 1 << 20))
		skip_all("%s: %s", path, strerror(errno));
	close(fd);
	test_open();
	test_kinds();
	test_config();
	test_management();
	test_memory("ram,size=1M,threads=0");
	test_memory("ram,size=1M,threads=2");
	snprintf(spec, sizeof(spec), "file=%s", path);
	test_unmap_in_flight("ram,size=1M");
	test_unmap_in_flight(spec);
	snprintf(spec, sizeof(spec), "file=%s,threads=0", path);
	test_unmap_in_flight(spec);
	test_sleep("ram,size=1M");
	test_sleep("ram,size=1M,threads=2");
	snprintf(spec, sizeof(spec), "file=%s,threads=2", path);
	test_sleep(spec);
	test_threads("ram,size=1M,threads=0");
	test_threads("ram,size=1M,threads=2");
	test_threads(spec);
	unlink(path);
	return done();
}
