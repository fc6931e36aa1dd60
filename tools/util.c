// SPDX-License-Identifier: MIT
/* Messages, numbers and output. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tool.h"

static void vcomplain(const char *fmt, va_list args)
{
	fflush(stdout);
	fputs("snvme: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
}

void complain(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vcomplain(fmt, args);
	va_end(args);
}

void die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vcomplain(fmt, args);
	va_end(args);
	exit(EXIT_FAILED);
}

void die_usage(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vcomplain(fmt, args);
	va_end(args);
	exit(EXIT_USAGE);
}

int parse_size(const char *text, uint64_t *value)
{
	static const char suffixes[] = "kmgtp";
	const char *suffix;
	unsigned int shift = 0;
	unsigned long long n;
	char *end;

	/* strtoull() would take a sign and leading blanks. */
	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 0);
	if (errno)
		return -ERANGE;
	if (*end) {
		suffix = strchr(suffixes, *end | 0x20);
		if (!suffix || end[1])
			return -EINVAL;
		shift = 10 * (unsigned int)(suffix - suffixes + 1);
	}
	if (n > UINT64_MAX >> shift)
		return -ERANGE;
	*value = (uint64_t)n << shift;
	return 0;
}

uint64_t size_option(const char *option, const char *text)
{
	uint64_t value;

	if (parse_size(text, &value))
		die_usage("--%s=%s is not a size: a number of bytes, with k, m, g, t or p behind it if wanted",
			  option, text);
	return value;
}

uint32_t number_option(const char *option, const char *text, uint32_t min, uint32_t max)
{
	uint64_t value;

	if (parse_size(text, &value) || value < min || value > max)
		die_usage("--%s=%s is not a number between %u and %u", option, text, min, max);
	return (uint32_t)value;
}

void common_option(int c, const char *help, bool *json)
{
	switch (c) {
	case 'o':
		*json = !strcmp(optarg, "json");
		if (!*json && strcmp(optarg, "human"))
			die_usage("-o %s is not an output format: human or json", optarg);
		break;
	case 'h':
		fputs(help, stdout);
		exit(0);
	default:
		exit(EXIT_USAGE);	/* getopt_long() has said why */
	}
}

bool common_options(int argc, char **argv, const char *help)
{
	static const struct option options[] = {
		COMMON_OPTIONS
	};
	bool json = false;
	int c;

	while ((c = getopt_long(argc, argv, "o:h", options, NULL)) != -1)
		common_option(c, help, &json);
	return json;
}

json_t *json_text(const char *text)
{
	json_t *value = json_string(text);
	char *copy;

	if (value)
		return value;
	copy = xstrdup(text);
	for (char *c = copy; *c; c++)
		if (*c & 0x80)
			*c = '?';
	value = json_string(copy);
	free(copy);
	return value;
}

void json_print(json_t *value)
{
	if (json_dumpf(value, stdout, JSON_INDENT(2)) || putchar('\n') == EOF || fflush(stdout))
		die("cannot write to standard output");
	json_decref(value);
}

const char *human_size(uint64_t bytes, char out[16])
{
	static const char units[][4] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	double n = (double)bytes;
	size_t unit = 0;

	while (n >= 1024 && unit < sizeof(units) / sizeof(units[0]) - 1) {
		n /= 1024;
		unit++;
	}
	snprintf(out, 16, unit ? "%.1f %s" : "%.0f %s", n, units[unit]);
	return out;
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

double mb_per_s(uint64_t bytes, uint64_t ns)
{
	return ns ? (double)bytes * 1e3 / (double)ns : 0;
}

void *xcalloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);

	if (!p)
		die("out of memory");
	return p;
}

char *xstrdup(const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		die("out of memory");
	return copy;
}
