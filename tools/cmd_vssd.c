// SPDX-License-Identifier: MIT
/* snvme vssd: a virtual SSD for other processes. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "tool.h"

static const char help[] =
	"usage: snvme vssd --socket=DIR SPEC [-o human|json]\n\n"
	"Serves a virtual SSD to other processes at the socket DIR/cntrl, by the vfio-user protocol, until a\n"
	"signal ends it (SIGINT, SIGTERM). SPEC is what follows \"vssd:\" in a name: ram,size=1G, file=PATH, ...\n"
	"Each client has a controller of its own, and all share the namespaces; snvme reaches it as\n"
	"vfio-user:DIR. Who may write to the socket may connect: umask(2) and DIR decide.\n";

int cmd_vssd(int argc, char **argv)
{
	static const struct option options[] = {
		{ "socket", required_argument, NULL, 's' },
		COMMON_OPTIONS
	};
	struct snvme_vssd_server *server;
	const char *dir = NULL, *spec;
	char why[256] = "", *name;
	struct rlimit files;
	bool json = false;
	sigset_t set;
	int opt, sig;

	while ((opt = getopt_long(argc, argv, "o:h", options, NULL)) != -1) {
		switch (opt) {
		case 's':
			dir = optarg;
			break;
		default:
			common_option(opt, help, &json);
		}
	}
	if (optind != argc - 1)
		die_usage("vssd: needs what to serve, such as ram,size=1G");
	if (!dir || !*dir)
		die_usage("vssd: needs --socket=DIR");
	spec = argv[optind];
	name = xcalloc(1, strlen(spec) + sizeof("vssd:"));
	sprintf(name, "%s%s", is_own(spec) ? "" : "vssd:", spec);

	/* A descriptor for each interrupt of each client, and for its memory. */
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	/* Before there are threads, so that they have them blocked, too. */
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (snvme_vssd_serve(name, dir, &server, why, sizeof(why)))
		die("%s", why);
	free(name);
	if (json)
		json_print(json_pack("{s:o, s:s+}", "spec", json_text(spec), "socket", dir, "/cntrl"));
	else
		printf("serving %s at %s/cntrl\n", spec, dir);
	fflush(stdout);
	while (sigwait(&set, &sig))
		;
	snvme_vssd_serve_end(server);
	return 0;
}
