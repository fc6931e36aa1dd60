/* SPDX-License-Identifier: MIT */
/*
 * Test Anything Protocol, for prove(1). For one thread, in C, C++ and CUDA C.
 *
 *	ok(x == 3, "three of %s", what);
 *	is(x, 3, "three");
 *	return done();
 */
#ifndef TAP_H
#define TAP_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAP_PRINTF(fmt, args) __attribute__((format(printf, fmt, args), unused))

struct tap {
	int run;
	int failed;
};

static struct tap tap;

/* A line of comment. */
TAP_PRINTF(1, 2) static void diag(const char *fmt, ...)
{
	va_list ap;

	fputs("# ", stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

TAP_PRINTF(4, 5)
static int tap_ok(int pass, const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	tap.run++;
	tap.failed += !pass;
	printf("%sok %d - ", pass ? "" : "not ", tap.run);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	if (!pass)
		diag("failed at %s:%d", file, line);
	fflush(stdout);
	return pass;
}

/* A test: passes when @cond holds. Returns whether it did. */
#define ok(cond, ...) tap_ok(!!(cond), __FILE__, __LINE__, __VA_ARGS__)

/* Two integers are equal; shows both when they are not. */
#define is(got, want, ...) ({						\
	long long got_ = (long long)(got), want_ = (long long)(want);	\
	int pass_ = ok(got_ == want_, __VA_ARGS__);			\
									\
	if (!pass_)							\
		diag("got %lld (%#llx), want %lld (%#llx)", got_,	\
		     (unsigned long long)got_, want_, (unsigned long long)want_); \
	pass_;								\
})

/* Two strings are equal. */
#define is_str(got, want, ...) ({					\
	const char *got_ = (got), *want_ = (want);			\
	int pass_ = ok(strcmp(got_, want_) == 0, __VA_ARGS__);		\
									\
	if (!pass_)							\
		diag("got '%s', want '%s'", got_, want_);		\
	pass_;								\
})

/* One test that cannot run here, and why. */
TAP_PRINTF(1, 2) static void skip(const char *fmt, ...)
{
	va_list ap;

	printf("ok %d # SKIP ", ++tap.run);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

/* The whole program cannot run here: said before any test. */
TAP_PRINTF(1, 2) static void skip_all(const char *fmt, ...)
{
	va_list ap;

	fputs("1..0 # SKIP ", stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	exit(0);
}

/* The end: the exit status is for main() to return. A program that tested nothing has failed. */
__attribute__((unused)) static int done(void)
{
	printf("1..%d\n", tap.run);
	fflush(stdout);
	return tap.failed || !tap.run;
}

#endif /* TAP_H */
