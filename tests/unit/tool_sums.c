// SPDX-License-Identifier: MIT
/* Files of sha256sum. */
#include <unistd.h>

#include "../tap.h"
#include "../../tools/util.c"
#include "../../tools/sums.c"

#define DIGEST "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define OTHER  "0000000000000000000000000000000000000000000000000000000000000001"

static int parse(const char *text, struct sum *sum)
{
	static char line[512];

	snprintf(line, sizeof(line), "%s", text);
	return sums_parse_line(line, sum);
}

static void lines(void)
{
	struct sum sum;

	is(parse(DIGEST "  a file\n", &sum), 0, "text mode");
	is_str(sum.path, "a file", "path with a blank");
	is(sum.digest[0], 0xe3, "first byte");
	is(sum.digest[31], 0x55, "last byte");
	is(parse(DIGEST " *dir/b", &sum), 0, "binary mode, no newline at the end");
	is_str(sum.path, "dir/b", "path");
	is(parse("E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855  a\n", &sum), 0,
	   "capitals");
	is(parse("\\" DIGEST "  a\\nb\\\\c\\rd\n", &sum), 0, "escaped");
	is_str(sum.path, "a\nb\\c\rd", "escapes resolved");
	is(parse(DIGEST "  a\\nb\n", &sum), 0, "a backslash in a path that is not escaped");
	is_str(sum.path, "a\\nb", "stays");
	is(parse("\\" DIGEST "  a\\x\n", &sum), -EINVAL, "unknown escape");
	is(parse("\\" DIGEST "  a\\", &sum), -EINVAL, "escape at the end");
	is(parse("", &sum), -EINVAL, "empty line");
	is(parse(DIGEST, &sum), -EINVAL, "no path");
	is(parse(DIGEST "  \n", &sum), -EINVAL, "empty path");
	is(parse(DIGEST " a\n", &sum), -EINVAL, "one blank");
	is(parse(DIGEST "00  a\n", &sum), -EINVAL, "digest too long");
	is(parse("e3b0  a\n", &sum), -EINVAL, "digest too short");
	is(parse("g3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a\n", &sum),
	   -EINVAL, "not hexadecimal");
}

static void files(void)
{
	char path[] = "/tmp/snvme-sums-XXXXXX";
	struct sums sums;
	int fd = mkstemp(path);

	dprintf(fd, DIGEST "  ./sub/z\n" OTHER "  b\n" DIGEST " *././/a\n");
	is(sums_load(&sums, path), 0, "a file of three");
	is(sums.count, 3, "count");
	ok(sums_find(&sums, "sub/z"), "found without ./");
	ok(sums_find(&sums, "./b"), "found with ./");
	ok(sums_find(&sums, "a"), "found without .//");
	ok(!sums_find(&sums, "c"), "not found");
	ok(!sums_find(&sums, "z"), "a base name is not enough");
	is(sums_find(&sums, "b")->digest[31], 1, "the sum of that path");
	sums_free(&sums);

	dprintf(fd, "nonsense\n");
	is(sums_load(&sums, path), 4, "the number of a bad line");
	sums_free(&sums);
	close(fd);
	unlink(path);
	is(sums_load(&sums, path), -ENOENT, "no such file");
	ok(!sums_find(&sums, "a"), "nothing in no sums");
}

int main(void)
{
	lines();
	files();
	return done();
}
