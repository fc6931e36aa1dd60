// SPDX-License-Identifier: MIT
/*
 * churn DEV N: makes and deletes N queue pairs, with memory registered and released each time and
 * a read now and then, and sees that what the controller and the kernel count is as before.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <snvme/snvme.h>

#include "tap.h"

static long status_kb(const char *key)
{
	char line[256];
	long kb = -1;
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			kb = atol(line + strlen(key) + 1);
	if (f)
		fclose(f);
	return kb;
}

static int descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

int main(int argc, char **argv)
{
	struct snvme_ctrl_info before, after;
	long locked = status_kb("VmLck"), pinned = status_kb("VmPin");
	int fds, n = argc > 2 ? atoi(argv[2]) : 0, ret = 0, i;
	struct snvme_ctrl *ctrl;

	if (n <= 0)
		return 2;
	fds = descriptors();
	if (!ok(!snvme_open(argv[1], &ctrl), "open %s", argv[1]))
		return done();
	snvme_get_info(ctrl, &before);
	for (i = 0; i < n && !ret; i++) {
		struct snvme_queue_opts opts = { .size = sizeof(opts), .depth = (uint32_t)i % 200 + 1 };
		struct snvme_queue *q;
		struct snvme_mem *mem;

		ret = snvme_mem_alloc(ctrl, 65536, &mem);
		if (ret)
			break;
		ret = snvme_queue_create(ctrl, &opts, &q);
		if (ret)
			break;
		if (i % 7 == 0)
			ret = snvme_read(q, 0, snvme_mem_addr(mem), 65536, 0);
		/* With commands in flight as well. */
		if (i % 5 == 0 && opts.depth > 1) {
			struct snvme_ns_info ns;
			struct snvme_io io = { .opcode = SNVME_OP_READ, .nlb = 1, .mem = mem };

			snvme_get_ns(ctrl, 0, &ns);
			io.nsid = ns.nsid;
			io.length = ns.lba_size;
			snvme_submit(q, &io, 1);
			snvme_submit(q, &io, 1);
		}
		if (!ret)
			ret = snvme_queue_destroy(q);
		if (!ret)
			ret = snvme_mem_release(mem);
	}
	is(ret, 0, "each step (%s)", snvme_strerror(ret));
	is(i, n, "queue pairs made and deleted");
	snvme_get_info(ctrl, &after);
	is(after.used_sq, before.used_sq, "submission queues in use as before");
	is(after.used_cq, before.used_cq, "completion queues in use as before");
	is(after.spare_sq, before.spare_sq, "spare as before");
	snvme_close(ctrl);
	is(status_kb("VmLck"), locked, "locked memory as before");
	is(status_kb("VmPin"), pinned, "pinned memory as before");
	is(descriptors(), fds, "descriptors as before");
	return done();
}
