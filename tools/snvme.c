// SPDX-License-Identifier: MIT
/* snvme(1): the dispatcher. */
#include <stdio.h>
#include <string.h>

#include "tool.h"

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
};

static const struct command commands[] = {
	{ "list", cmd_list, "NVMe controllers, who drives them, and their queues" },
	{ "info", cmd_info, "all about a controller and its namespaces" },
	{ "read", cmd_read, "read a range of a namespace or file through a queue of one's own" },
	{ "write", cmd_write, "write one" },
	{ "verify", cmd_verify, "compare what such a queue reads with what the kernel reads" },
	{ "bench", cmd_bench, "measure such queues" },
	{ "files", cmd_files, "where files lie on their disk" },
	{ "vssd", cmd_vssd, "serve a virtual SSD to other processes" },
	{ "bind", cmd_bind, "give a whole disk to vfio-pci, to be opened as vfio:ADDRESS" },
	{ "unbind", cmd_unbind, "give it back to the kernel's driver" },
};

static void usage(FILE *out)
{
	fputs("usage: snvme COMMAND [OPTION...] [DEV|PATH...]\n"
	      "       snvme --help | --version | COMMAND --help\n\n", out);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].summary);
	fputs("\nEach command takes -o json. DEV is /dev/nvme0, /dev/nvme0n1, a PCI address,\n"
	      "a whole disk (vfio:0000:01:00.0, after snvme bind), or a virtual SSD: vssd:ram,size=1G,\n"
	      "vssd:file=PATH, vfio-user:DIR, ...; snvme(1) has the rest.\n",
	      out);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;

	if (!name) {
		complain("no command given; snvme --help shows them");
		return EXIT_USAGE;
	}
	if (!strcmp(name, "--help") || !strcmp(name, "-h")) {
		usage(stdout);
		return 0;
	}
	if (!strcmp(name, "--version") || !strcmp(name, "-V")) {
		puts("snvme " SNVME_VERSION);
		return 0;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (!strcmp(name, commands[i].name)) {
			/* getopt_long() starts its messages with it. */
			argv[1] = "snvme";
			return commands[i].run(argc - 1, argv + 1);
		}
	}
	complain("%s is not a command; snvme --help shows them", name);
	return EXIT_USAGE;
}
