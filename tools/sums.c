// SPDX-License-Identifier: MIT
/* Files of sha256sum(1): "<64 hex digits> [ *]<path>", a backslash before where the path has escapes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "tool.h"

static const char *plain(const char *path)
{
	while (!strncmp(path, "./", 2))
		for (path += 2; *path == '/'; path++)
			;
	return path;
}

static int unescape(char *path)
{
	char *to = path;

	for (; *path; path++) {
		if (*path != '\\') {
			*to++ = *path;
			continue;
		}
		switch (*++path) {
		case '\\':
			*to++ = '\\';
			break;
		case 'n':
			*to++ = '\n';
			break;
		case 'r':
			*to++ = '\r';
			break;
		default:
			return -EINVAL;
		}
	}
	*to = '\0';
	return 0;
}

static int digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *found = c ? strchr(digits, c >= 'A' && c <= 'F' ? c | 0x20 : c) : NULL;

	return found ? (int)(found - digits) : -1;
}

int sums_parse_line(char *line, struct sum *sum)
{
	bool escaped = line[0] == '\\';

	line += escaped;
	for (size_t i = 0; i < SHA256_SIZE; i++) {
		int high = digit(line[2 * i]), low = high < 0 ? -1 : digit(line[2 * i + 1]);

		if (low < 0)
			return -EINVAL;
		sum->digest[i] = (uint8_t)(high << 4 | low);
	}
	line += 2 * SHA256_SIZE;
	if (line[0] != ' ' || (line[1] != ' ' && line[1] != '*'))
		return -EINVAL;
	sum->path = line + 2;
	sum->path[strcspn(sum->path, "\n")] = '\0';
	sum->seen = false;
	if (!*sum->path)
		return -EINVAL;
	return escaped ? unescape(sum->path) : 0;
}

static int compare(const void *a, const void *b)
{
	const struct sum *x = a, *y = b;

	return strcmp(plain(x->path), plain(y->path));
}

int sums_load(struct sums *sums, const char *path)
{
	size_t capacity = 0;
	char *line = NULL;
	FILE *file;
	int ret = 0;

	memset(sums, 0, sizeof(*sums));
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while (getline(&line, &capacity, file) > 0) {
		struct sum *sum;

		sums->sum = realloc(sums->sum, (sums->count + 1) * sizeof(*sums->sum));
		if (!sums->sum)
			die("out of memory");
		sum = &sums->sum[sums->count];
		if (sums_parse_line(line, sum)) {
			ret = (int)sums->count + 1;
			break;
		}
		sum->path = xstrdup(sum->path);
		sums->count++;
	}
	if (ret == 0 && ferror(file))
		ret = -EIO;
	free(line);
	fclose(file);
	if (sums->count)
		qsort(sums->sum, sums->count, sizeof(*sums->sum), compare);
	return ret;
}

struct sum *sums_find(struct sums *sums, const char *path)
{
	struct sum key = { .path = (char *)path };

	return sums->count ? bsearch(&key, sums->sum, sums->count, sizeof(key), compare) : NULL;
}

void sums_free(struct sums *sums)
{
	for (size_t i = 0; i < sums->count; i++)
		free(sums->sum[i].path);
	free(sums->sum);
}
