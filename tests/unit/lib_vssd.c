// SPDX-License-Identifier: MIT
/* Virtual SSDs by their names: through the API, as a program has it, and through snvme(1). */
#include "tap.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <snvme/snvme.h>

#define MIB	(1U << 20)
#define DEPTH	32

static char dir[] = "/tmp/snvme-vssd-XXXXXX";

static struct snvme_ctrl *must_open(const char *fmt, const char *arg)
{
	struct snvme_ctrl *ctrl = NULL;
	char name[256];

	snprintf(name, sizeof(name), fmt, arg);
	if (!is(snvme_open(name, &ctrl), 0, "open %s", name)) {
		printf("Bail out! it does not open\n");
		exit(1);
	}
	return ctrl;
}

static struct snvme_queue *must_queue(struct snvme_ctrl *ctrl, uint32_t depth)
{
	struct snvme_queue_opts opts = { .size = sizeof(opts), .depth = depth };
	struct snvme_queue *queue = NULL;

	if (snvme_queue_create(ctrl, &opts, &queue)) {
		printf("Bail out! no queue\n");
		exit(1);
	}
	return queue;
}

static void put_file(const char *name, size_t size, int seed)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	if (!f)
		exit(1);
	for (size_t i = 0; i < size; i++)
		putc((int)(i * 7 + i / 509) + seed, f);
	fclose(f);
}

static bool is_pattern(const uint8_t *buf, size_t size, int seed)
{
	for (size_t i = 0; i < size; i++)
		if (buf[i] != (uint8_t)((int)(i * 7 + i / 509) + seed))
			return false;
	return true;
}

static void test_names(void)
{
	static const char *const bad[] = {
		"vssd:", "vssd:ram", "vssd:ram,size=0", "vssd:ram,size=1G,nonsense=1", "vssd:rom,size=1G",
		"vssd:ram,size=1G,lba=1000", "vssd:config=/nonexistent.json", "vssd:file=/nonexistent",
	};
	struct snvme_ctrl *ctrl;
	char why[256];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		int ret;

		why[0] = 0;
		ret = snvme_vssd_check(bad[i], why, sizeof(why));
		ok(ret < 0 && why[0], "%s: %s", bad[i], why);
		is(snvme_open(bad[i], &ctrl), ret, "and it is not opened");
	}
	is(snvme_vssd_check("vssd:ram,size=1G", why, sizeof(why)), 0, "a good name");
	is(snvme_vssd_check("nvme0", why, sizeof(why)), -EINVAL, "a name of another kind");
	is(snvme_open("vssdn0:ram,size=1M", &ctrl), -EINVAL, "no namespace has number 0");
	is(snvme_open("spdk:ram", &ctrl), -EOPNOTSUPP, "a kind to come");
}

static void test_info(void)
{
	struct snvme_ctrl *ctrl = must_open("vssd:ram,size=64M,lba=4096,serial=%s,queues=5", "S1234");
	struct snvme_ctrl_info info;
	struct snvme_ns_info ns;

	is(snvme_get_info(ctrl, &info), 0, "info");
	is_str(info.name, "vssd", "name");
	is_str(info.pci, "", "no PCI address");
	is_str(info.serial, "S1234", "serial number");
	is(info.granted_sq, 5, "queues");
	is(info.driver_queues, 0, "none of a driver's");
	ok(info.live && !info.iommu && !info.shadow_doorbells && !info.epoch, "live");
	is(snvme_get_ns(ctrl, 0, &ns), 0, "its namespace");
	ok(ns.nsid == 1 && ns.lba_size == 4096 && ns.blocks == 16384, "as it was asked for");
	snvme_close(ctrl);
}

static void test_file(void)
{
	struct snvme_ctrl *ctrl, *second, *third;
	struct snvme_queue *queue;
	struct snvme_mem *mem;
	char name[128];
	uint8_t *buf;

	snprintf(name, sizeof(name), "vssd:file=%s/disk", dir);
	put_file("disk", 4 * MIB, 0);
	for (int turn = 0; turn < 2; turn++) {
		ctrl = must_open("vssd:file=%s/disk", dir);
		queue = must_queue(ctrl, 16);
		snvme_mem_alloc(ctrl, 4 * MIB, &mem);
		buf = snvme_mem_addr(mem);
		is(snvme_read(queue, 0, buf, 4 * MIB, 0), 0, "the file is read");
		ok(is_pattern(buf, 4 * MIB, turn), "%s", turn ? "as it was written" : "as it is");
		for (size_t i = 0; i < 4 * MIB; i++)
			buf[i]++;
		is(snvme_write(queue, 0, buf, 4 * MIB, 0), 0, "and written");
		snvme_close(ctrl);
	}
	ctrl = must_open("vssd:file=%s/disk", dir);
	second = must_open("vssd:ram,size=%s", "1M");
	is(snvme_open(name, &third), -EBUSY, "the same file again");
	snvme_close(ctrl);
	is(snvme_open(name, &third), 0, "when it is free");
	snvme_close(second);
	snvme_close(third);
}

static void test_dir(void)
{
	struct snvme_ctrl *ctrl;
	struct snvme_queue *queue;
	struct snvme_mem *mem;
	struct snvme_ns_info ns;
	char path[128];

	snprintf(path, sizeof(path), "%s/many", dir);
	mkdir(path, 0755);
	put_file("many/a", MIB, 1);
	put_file("many/b", 2 * MIB, 2);
	ctrl = must_open("vssd:dir=%s/many", dir);
	is(snvme_get_ns(ctrl, 0, &ns), -EINVAL, "no default among several");
	is(snvme_get_ns(ctrl, 2, &ns), 0, "the second");
	is(ns.blocks, 2 * MIB / 512, "its size");
	snvme_close(ctrl);
	ctrl = must_open("vssdn2:dir=%s/many", dir);
	queue = must_queue(ctrl, 16);
	snvme_mem_alloc(ctrl, 2 * MIB, &mem);
	is(snvme_read(queue, 0, snvme_mem_addr(mem), 2 * MIB, 0), 0, "read by its name");
	ok(is_pattern(snvme_mem_addr(mem), 2 * MIB, 2), "it is that file");
	is(snvme_flush(queue, 0), 0, "flush");
	snvme_close(ctrl);
}

/* ---- queues in threads ---------------------------------------------------------------------- */

struct job {
	struct snvme_ctrl *ctrl;
	pthread_t thread;
	uint32_t index;
	uint32_t done;
	int wrong;
};

/* Write, then read back, 64 blocks at depth 32, again and again. */
static void *run_job(void *arg)
{
	struct job *job = arg;
	struct snvme_queue *queue = must_queue(job->ctrl, DEPTH);
	struct snvme_completion out[DEPTH];
	struct snvme_mem *mem;
	uint8_t *buf;

	if (snvme_mem_alloc(job->ctrl, DEPTH * 4096, &mem))
		return NULL;
	buf = snvme_mem_addr(mem);
	for (int round = 0; round < 300 && !job->wrong; round++)
		for (uint8_t opcode = SNVME_OP_WRITE; opcode <= SNVME_OP_READ; opcode++) {
			struct snvme_io io[DEPTH];
			uint32_t left = DEPTH;

			for (uint32_t i = 0; i < DEPTH; i++) {
				io[i] = (struct snvme_io){
					.opcode = opcode, .nsid = 1, .nlb = 1, .length = 4096,
					.slba = job->index * DEPTH + i, .mem = mem,
					.offset = i * 4096, .user = i,
				};
				memset(buf + i * 4096, opcode == SNVME_OP_READ ? 0 :
				       (int)(job->index + i + (uint32_t)round), 4096);
			}
			if (snvme_submit(queue, io, DEPTH) != DEPTH)
				job->wrong = 1;
			while (left && !job->wrong) {
				int n = snvme_wait(queue, out, DEPTH, -1);

				for (int i = 0; i < n; i++)
					job->wrong |= out[i].status;
				if (n < 0)
					job->wrong = n;
				left -= n > 0 ? (uint32_t)n : 0;
			}
			for (uint32_t i = 0; i < DEPTH * 4096 && opcode == SNVME_OP_READ; i++)
				if (buf[i] != (uint8_t)(job->index + i / 4096 + (uint32_t)round))
					job->wrong = -EILSEQ;
			job->done += DEPTH;
		}
	snvme_queue_destroy(queue);
	snvme_mem_release(mem);
	return NULL;
}

static void test_threads(const char *threads)
{
	struct snvme_ctrl *ctrl = must_open("vssd:ram,size=4M,lba=4096,threads=%s", threads);
	struct job job[4] = { 0 };

	for (uint32_t i = 0; i < 4; i++) {
		job[i].ctrl = ctrl;
		job[i].index = i;
		pthread_create(&job[i].thread, NULL, run_job, &job[i]);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(job[i].thread, NULL);
		is(job[i].wrong, 0, "queue %d, served by %s threads, %u commands", i, threads,
		   job[i].done);
	}
	snvme_close(ctrl);
}

static double cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* A thread that has gone to sleep is woken by the doorbell. */
static void test_sleep(void)
{
	struct snvme_ctrl *ctrl = must_open("vssd:ram,size=4M,threads=%s", "2");
	struct snvme_queue *queue[2] = { must_queue(ctrl, 4), must_queue(ctrl, 4) };
	struct snvme_mem *mem;
	double before;
	int wrong = 0;

	snvme_mem_alloc(ctrl, 4096, &mem);
	for (int i = 0; i < 50; i++) {
		usleep(2000);
		wrong |= snvme_write(queue[i % 2], 1, snvme_mem_addr(mem), 4096, 0);
	}
	is(wrong, 0, "writes, far apart");
	usleep(20000);
	before = cpu_seconds();
	usleep(500000);
	ok(cpu_seconds() - before < 0.1, "idle costs %.3f s in 0.5 s", cpu_seconds() - before);
	is(snvme_read(queue[0], 1, snvme_mem_addr(mem), 4096, 0), 0, "and it wakes");
	snvme_close(ctrl);
}

/* ---- snvme(1) ------------------------------------------------------------------------------- */

static int tool(const char *fmt, const char *a, const char *b)
{
	const char *snvme = getenv("SNVME");
	char args[512], command[1024];
	int ret;

	snprintf(args, sizeof(args), fmt, a, b);
	snprintf(command, sizeof(command), "%s %s >>%s/log 2>&1", snvme ? snvme : "build/snvme", args,
		 dir);
	ret = system(command);
	return WIFEXITED(ret) ? WEXITSTATUS(ret) : -1;
}

static void test_tool(void)
{
	char path[128], command[512];

	if (tool("--version%s%s", "", "")) {
		skip("there is no snvme to run");
		return;
	}
	put_file("in", MIB, 9);
	is(tool("write vssd:file=%s/fresh,size=8M --offset=1M --size=1M --input=%s/in", dir, dir), 0,
	   "snvme write to a new file");
	is(tool("read vssd:file=%s/fresh --offset=1M --size=1M -O %s/out", dir, dir), 0,
	   "snvme read, in another process");
	snprintf(command, sizeof(command), "cmp -s %s/in %s/out", dir, dir);
	is(system(command), 0, "the same");
	snprintf(path, sizeof(path), "%s/fresh", dir);
	is(tool("bench vssd:file=%s --rw=randrw --bs=4k --iodepth=8 --runtime=1 --verify=lba%s", path, ""),
	   0, "snvme bench with verification");
	is(tool("info vssd:file=%s%s", path, ""), 0, "snvme info");
	is(tool("info vssd:file=%s%s,nonsense=1", path, ""), 1, "a key that there is not");
	is(tool("read vssd:dir=%s/many%s -O /dev/null", dir, ""), 1, "several namespaces, none named");
	is(tool("read vssdn2:dir=%s/many%s -O /dev/null", dir, ""), 0, "one named");
	is(tool("verify vssd:file=%s%s", path, ""), 1, "snvme verify has nothing to compare with");
	snprintf(command, sizeof(command),
		 "grep -q 'name one, such as vssdn1:dir=' %s/log && grep -q 'nonsense: no such key' %s/log",
		 dir, dir);
	is(system(command), 0, "sentences say what is wrong");
}

int main(void)
{
	char command[128];

	if (!mkdtemp(dir)) {
		perror(dir);
		return 1;
	}
	test_names();
	test_info();
	test_file();
	test_dir();
	test_threads("0");
	test_threads("1");
	test_threads("2");
	test_sleep();
	test_tool();
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	if (system(command))
		return 1;
	return done();
}
