// SPDX-License-Identifier: MIT
/*
 * hog DEV r|rw|idle SECONDS [OFFSET LENGTH]: keeps commands in flight on queues of its own, for a
 * script to kill it, or to reset the controller under it. Says "started" once they flow (idle: once
 * the queues are there). Ends with 0 after SECONDS; 3 when the controller was reset; 4 when it is
 * gone; 1 when anything else went wrong.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <snvme/snvme.h>

#define QUEUES	4
#define DEPTH	64
#define BYTES	4096

struct worker {
	struct snvme_queue *queue;
	uint64_t submitted;
	uint64_t completed;
};

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int fail(const char *what, int ret)
{
	printf("%s: %s (%d)\n", what, snvme_strerror(ret), ret);
	return ret == -ECONNRESET || ret == -EAGAIN ? 3 : ret == -ENODEV ? 4 : 1;
}

int main(int argc, char **argv)
{
	uint64_t offset = argc > 4 ? strtoull(argv[4], NULL, 0) : 0;
	uint64_t length = argc > 5 ? strtoull(argv[5], NULL, 0) : 64 << 20;
	struct snvme_queue_opts opts = { .size = sizeof(opts), .depth = DEPTH };
	struct snvme_completion done[DEPTH];
	struct worker worker[QUEUES] = {};
	struct snvme_ns_info ns;
	struct snvme_ctrl *ctrl;
	struct snvme_mem *mem;
	double end, last;
	int writes, ret, started = 0;

	if (argc < 4)
		return 2;
	writes = !strcmp(argv[2], "rw");
	setvbuf(stdout, NULL, _IOLBF, 0);
	end = now() + atof(argv[3]);
	ret = snvme_open(argv[1], &ctrl);
	if (ret)
		return fail("open", ret);
	ret = snvme_get_ns(ctrl, 0, &ns);
	if (ret)
		return fail("namespace", ret);
	ret = snvme_mem_alloc(ctrl, (size_t)QUEUES * DEPTH * BYTES, &mem);
	if (ret)
		return fail("memory", ret);
	for (int i = 0; i < QUEUES; i++) {
		ret = snvme_queue_create(ctrl, &opts, &worker[i].queue);
		if (ret)
			return fail("queue", ret);
	}
	if (!strcmp(argv[2], "idle")) {
		struct timespec rest = { .tv_sec = atoi(argv[3]) };

		puts("started");
		nanosleep(&rest, NULL);
		snvme_close(ctrl);
		return 0;
	}

	for (last = now(); now() < end;) {
		for (int i = 0; i < QUEUES; i++) {
			struct worker *w = &worker[i];

			while (w->submitted - w->completed < DEPTH) {
				uint64_t n = w->submitted++ % DEPTH;
				uint64_t block = (uint64_t)rand() % (length / BYTES);
				struct snvme_io io = {
					.opcode = writes && rand() % 2 ? SNVME_OP_WRITE : SNVME_OP_READ,
					.nsid = ns.nsid,
					.slba = (offset + block * BYTES) / ns.lba_size,
					.nlb = BYTES / ns.lba_size,
					.length = BYTES,
					.mem = mem,
					.offset = ((uint64_t)i * DEPTH + n) * BYTES,
				};

				ret = snvme_submit(w->queue, &io, 1);
				if (ret != 1)
					break;
			}
			ret = ret < 0 ? ret : snvme_poll(w->queue, done, DEPTH);
			if (ret < 0) {
				printf("%.0f ms after the last completion; ", (now() - last) * 1e3);
				return fail("told", ret);
			}
			for (int k = 0; k < ret; k++)
				if (done[k].status)
					return fail("command", done[k].status);
			w->completed += (uint64_t)ret;
			if (ret) {
				last = now();
				if (!started++)
					puts("started");
			}
			ret = 0;
		}
		if (now() - last > 300)
			return fail("no completion", -ETIMEDOUT);
	}
	snvme_close(ctrl);
	return 0;
}
