// SPDX-License-Identifier: MIT
/* Sizes as the command line takes them. */
#include "../tap.h"
#include "../../tools/util.c"

static void good(const char *text, uint64_t want)
{
	uint64_t got = 0;
	int ret = parse_size(text, &got);

	ok(ret == 0 && got == want, "'%s' is %llu (%d, %llu)", text, (unsigned long long)want, ret,
	   (unsigned long long)got);
}

static void bad(const char *text, int want)
{
	uint64_t got = 42;
	int ret = parse_size(text, &got);

	ok(ret == want && got == 42, "'%s' is refused (%d)", text, ret);
}

int main(void)
{
	char size[16];

	good("0", 0);
	good("4096", 4096);
	good("4k", 4096);
	good("4K", 4096);
	good("1m", 1 << 20);
	good("3G", 3ULL << 30);
	good("2t", 2ULL << 40);
	good("1p", 1ULL << 50);
	good("0x1000", 4096);
	good("18446744073709551615", UINT64_MAX);
	good("16383p", 16383ULL << 50);
	bad("18446744073709551616", -ERANGE);
	bad("16384p", -ERANGE);
	bad("18446744073709551615k", -ERANGE);
	bad("", -EINVAL);
	bad("k", -EINVAL);
	bad("-1", -EINVAL);
	bad("+1", -EINVAL);
	bad(" 1", -EINVAL);
	bad("1 ", -EINVAL);
	bad("4kk", -EINVAL);
	bad("4kb", -EINVAL);
	bad("4x", -EINVAL);
	bad("1.5k", -EINVAL);
	bad("four", -EINVAL);

	is_str(human_size(0, size), "0 B", "human 0");
	is_str(human_size(1023, size), "1023 B", "human 1023");
	is_str(human_size(1536, size), "1.5 KiB", "human 1536");
	is_str(human_size(UINT64_MAX, size), "16384.0 PiB", "human largest");
	return done();
}
