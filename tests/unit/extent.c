// SPDX-License-Identifier: MIT
/*
 * Extent maps against a table with one entry per block.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "extent.h"
#include "tap.h"

#define BLOCKS		256
#define COUNT(a)	(sizeof(a) / sizeof(*(a)))

static uint64_t seed = 0x5eed;

static uint64_t below(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed * 0x2545f4914f6cdd1dULL >> 11) % n;
}

static struct snv_extent_map make(const struct snv_extent *extent, uint32_t count, uint64_t size,
				  uint32_t lba_shift)
{
	return (struct snv_extent_map){ extent, size, count, lba_shift };
}

static void test_check(void)
{
	struct snv_extent e[3] = {
		{ .logical = 0, .physical = 4096, .length = 4096 },
		{ .logical = 4096, .physical = 16384, .length = 512 },
		{ .logical = 8192, .physical = 512, .length = 1024 },
	};
	const struct snv_extent good[3] = { e[0], e[1], e[2] };
	struct snv_extent_map m = make(e, 3, 9216, 9);

	is(snv_extent_check(&m, 33), 0, "a good map");
	is(snv_extent_check(&m, 32), -ERANGE, "one block past the namespace");
	is(snv_extent_check(&m, 0), -ERANGE, "an empty namespace");
	m.count = 0;
	is(snv_extent_check(&m, 0), 0, "no extents");
	m.count = 3;
	m.lba_shift = 12;
	is(snv_extent_check(&m, 33), -EINVAL, "not aligned to a larger block");
	m.lba_shift = 8;
	is(snv_extent_check(&m, 33), -EINVAL, "blocks of 256 bytes");
	m.lba_shift = 64;
	is(snv_extent_check(&m, 33), -EINVAL, "blocks of 2^64 bytes");
	m.lba_shift = 9;

#define BAD(field, val, want, text) do {				\
		e[1].field = (val);					\
		is(snv_extent_check(&m, 1ULL << 52), want, text);	\
		e[1] = good[1];						\
	} while (0)
	BAD(length, 0, -EINVAL, "an empty extent");
	BAD(length, 511, -EINVAL, "an unaligned length");
	BAD(logical, 4097, -EINVAL, "an unaligned start");
	BAD(physical, 16385, -EINVAL, "an unaligned place");
	BAD(logical, 3584, -EINVAL, "overlaps the one before");
	BAD(length, 4608, -EINVAL, "overlaps the next");
	BAD(length, 4096, 0, "touches the next");
	BAD(logical, 8192, -EINVAL, "starts where the next does");
	BAD(logical, 65536, -EINVAL, "not sorted");
	BAD(flags, 1U << 3, -EINVAL, "an unknown flag");
	BAD(flags, 1U << 31, -EINVAL, "another unknown flag");
	BAD(flags, SNV_EXTENT_FLAGS, 0, "all known flags");
	BAD(length, 0ULL - 4096, -ERANGE, "ends at 2^64");
	BAD(length, 0ULL - 512, -ERANGE, "wraps around");
	BAD(physical, 0ULL - 512, -ERANGE, "lies at the end of 2^64 bytes");
#undef BAD
	e[1].flags = SNV_EXTENT_UNMAPPED;
	e[1].physical = 12345;
	is(snv_extent_check(&m, 33), 0, "where an unmapped extent lies does not matter");
	e[1] = good[1];
	e[2].length = 0ULL - 8192 - 512;
	is(snv_extent_check(&m, 1ULL << 54), -ERANGE, "longer than the namespace");
	e[2].length = 0ULL - 512;
	e[2].physical = 0ULL - 512;
	is(snv_extent_check(&m, ~0ULL), -ERANGE, "wraps as well where it lies");
}

/* What must never happen: an LBA for what has none, LBA 0 before all. */
static void test_bounds(void)
{
	const struct snv_extent e[] = {
		{ .logical = 4096, .physical = 1 << 20, .length = 8192 },
		{ .logical = 16384, .physical = 0, .length = 4096, .flags = SNV_EXTENT_UNWRITTEN },
		{ .logical = 20480, .physical = 0, .length = 4096, .flags = SNV_EXTENT_UNMAPPED },
		{ .logical = 24576, .physical = 2 << 20, .length = 4096,
		  .flags = SNV_EXTENT_SHARED },
		{ .logical = 28672, .physical = 3 << 20, .length = 4096,
		  .flags = SNV_EXTENT_UNWRITTEN | SNV_EXTENT_UNMAPPED },
		{ .logical = 32768, .physical = 4 << 20, .length = 65536 },
	};
	struct snv_extent_map m = make(e, COUNT(e), 40000, 9);
	static const struct {
		uint64_t offset, length;
		uint32_t max_nlb;
		bool write;
		int ret;
		uint64_t slba;
		uint32_t nlb;
		const char *text;
	} t[] = {
		{ 4096, 512, 8, 0, 0, 2048, 1, "the first block of an extent" },
		{ 4096, 8192, 16, 0, 0, 2048, 16, "all of it" },
		{ 4096, 8704, 99, 0, 0, 2048, 16, "ends with the extent" },
		{ 4096, 8192, 5, 0, 0, 2048, 5, "ends with the command's limit" },
		{ 11776, 512, 8, 1, 0, 2063, 1, "its last block" },
		{ 0, 512, 8, 0, -ENODATA, SNV_NO_LBA, 1, "a hole at the start" },
		{ 0, 8192, 99, 0, -ENODATA, SNV_NO_LBA, 8, "as far as it goes" },
		{ 0, 8192, 99, 1, -ENODATA, SNV_NO_LBA, 8, "nor can it be written" },
		{ 12288, 8192, 99, 0, -ENODATA, SNV_NO_LBA, 8, "a hole between two" },
		{ 12288, 8192, 3, 0, -ENODATA, SNV_NO_LBA, 3, "in pieces" },
		{ 16384, 8192, 99, 0, -ENODATA, SNV_NO_LBA, 8, "unwritten" },
		{ 16384, 8192, 99, 1, -ENODATA, SNV_NO_LBA, 8, "unwritten, to be written" },
		{ 20480, 512, 99, 0, -ENXIO, SNV_NO_LBA, 1, "unmapped" },
		{ 20480, 512, 99, 1, -ENXIO, SNV_NO_LBA, 1, "unmapped, to be written" },
		{ 24576, 4096, 99, 0, 0, 4096, 8, "shared" },
		{ 24576, 4096, 99, 1, -EROFS, SNV_NO_LBA, 8, "shared, to be written" },
		{ 28672, 4096, 99, 0, -ENXIO, SNV_NO_LBA, 8, "unmapped and unwritten: not zeros" },
		{ 39936, 512, 99, 0, 0, 8206, 1, "the block that the file ends in" },
		{ 39936, 1024, 99, 0, -ERANGE, SNV_NO_LBA, 0, "past the file, in an extent" },
		{ 40448, 512, 99, 0, -ERANGE, SNV_NO_LBA, 0, "past the file" },
		{ 1ULL << 40, 512, 99, 0, -ERANGE, SNV_NO_LBA, 0, "far past the file" },
		{ 512, 0ULL - 512, 99, 0, -ERANGE, SNV_NO_LBA, 0, "to 2^64" },
		{ 4096, 0ULL - 512, 99, 0, -ERANGE, SNV_NO_LBA, 0, "wraps into the file" },
		{ 0ULL - 512, 512, 99, 0, -ERANGE, SNV_NO_LBA, 0, "the last block of 2^64 bytes" },
		{ 0ULL - 512, 1024, 99, 0, -ERANGE, SNV_NO_LBA, 0, "wraps from there" },
		{ 4096, 0, 99, 0, -EINVAL, SNV_NO_LBA, 0, "nothing" },
		{ 4097, 512, 99, 0, -EINVAL, SNV_NO_LBA, 0, "an unaligned start" },
		{ 4096, 513, 99, 0, -EINVAL, SNV_NO_LBA, 0, "an unaligned length" },
		{ 4096, 512, 0, 0, -EINVAL, SNV_NO_LBA, 0, "commands of no blocks" },
	};

	for (size_t i = 0; i < COUNT(t); i++) {
		struct snv_piece p = { 0, 77, 77 };
		int ret = snv_extent_map(&m, t[i].offset, t[i].length, t[i].max_nlb, t[i].write,
					 &p);

		if (!ok(ret == t[i].ret && p.slba == t[i].slba && p.nlb == t[i].nlb,
			"%s", t[i].text))
			diag("returned %d, slba %#llx, nlb %u", ret, (unsigned long long)p.slba,
			     p.nlb);
	}
}

static void test_extremes(void)
{
	struct snv_extent e = { .logical = 0, .physical = 0, .length = 1ULL << 40 };
	struct snv_extent_map m = make(&e, 1, 1ULL << 40, 9);
	struct snv_piece p;

	is(snv_extent_map(&m, 0, 1ULL << 40, ~0U, false, &p), 0, "a terabyte");
	is(p.nlb, 65536, "no more than NLB can say");
	is(p.slba, 0, "block 0, for a file that really lies there");

	m.count = 0;
	is(snv_extent_map(&m, 512, 512, 8, false, &p), -ENODATA, "a file that is one hole");
	m.size = 0;
	is(snv_extent_map(&m, 0, 512, 8, false, &p), -ERANGE, "an empty file");
	m.size = 1;
	is(snv_extent_map(&m, 0, 512, 8, false, &p), -ENODATA, "a file of one byte");
	is(snv_extent_map(&m, 512, 512, 8, false, &p), -ERANGE, "its second block");

	m.count = 1;
	m.size = ~0ULL;
	e.logical = 1ULL << 63;
	e.physical = 1ULL << 62;
	e.length = (1ULL << 63) - 512;
	is(snv_extent_check(&m, ~0ULL), 0, "an extent of nearly 2^63 bytes");
	is(snv_extent_map(&m, 0ULL - 1024, 512, 8, false, &p), 0, "its last block");
	is(p.slba, ((1ULL << 62) + (1ULL << 63) - 1024) >> 9, "where it lies");
	is(snv_extent_map(&m, 0ULL - 512, 512, 8, false, &p), -ENODATA, "a hole up to 2^64");
	is(p.nlb, 1, "of one block");
	is(snv_extent_map(&m, 0, 0ULL - 512, ~0U, false, &p), -ENODATA, "a hole from 0");
}

/* A block of a file: where it lies, or why it lies nowhere. */
struct block {
	uint64_t lba;
	int ret;
	bool shared;
	uint32_t extent;
};

static void test_find(void)
{
	static struct snv_extent e[1000];
	struct snv_extent_map m = make(e, 0, ~0ULL, 9);
	bool pass = true;

	for (uint32_t count = 0; count <= 1000; count = count < 20 ? count + 1 : count * 7) {
		uint64_t at = 0;

		for (uint32_t i = 0; i < count; i++) {
			at += below(3) * 512;
			e[i] = (struct snv_extent){ .logical = at, .length = (1 + below(4)) * 512 };
			at += e[i].length;
		}
		m.count = count;
		for (uint64_t offset = 0; offset < at + 2048; offset += 256) {
			uint32_t i = 0;

			while (i < count && e[i].logical + e[i].length <= offset)
				i++;
			pass &= snv_extent_find(&m, offset) == i;
		}
		pass &= snv_extent_find(&m, ~0ULL) == count;
	}
	ok(pass, "the search finds what a scan finds");
}

/* Maps of any kind; each range of each, cut into pieces, against the table. */
static void test_random(void)
{
	static struct snv_extent e[BLOCKS];
	static struct block table[BLOCKS];
	unsigned int failed = 0, pieces = 0, mapped = 0;

	for (int run = 0; run < 400; run++) {
		static const uint32_t shifts[] = { 9, 12, 16 };
		uint32_t shift = shifts[below(3)], n = 0;
		uint64_t blocks = 1 + below(BLOCKS), at, nsze = 1 << 20, size;
		struct snv_extent_map m;

		for (uint64_t b = 0; b < BLOCKS; b++)
			table[b] = (struct block){ SNV_NO_LBA, -ENODATA, false, BLOCKS };
		for (at = below(3); at < BLOCKS; at += below(4)) {
			static const uint32_t flags[] = { 0, 0, 0, SNV_EXTENT_UNWRITTEN,
				SNV_EXTENT_UNMAPPED, SNV_EXTENT_SHARED,
				SNV_EXTENT_UNMAPPED | SNV_EXTENT_UNWRITTEN };
			uint64_t len = 1 + below(12), lba = below(nsze - len), i;
			uint32_t f = flags[below(COUNT(flags))];

			if (len > BLOCKS - at)
				len = BLOCKS - at;
			e[n] = (struct snv_extent){ at << shift, lba << shift, len << shift, f, 0 };
			for (i = 0; i < len; i++) {
				table[at + i].extent = n;
				if (f & SNV_EXTENT_UNMAPPED)
					table[at + i].ret = -ENXIO;
				else if (!(f & SNV_EXTENT_UNWRITTEN))
					table[at + i] = (struct block){ lba + i, 0,
						!!(f & SNV_EXTENT_SHARED), n };
			}
			n++;
			at += len;
		}
		size = (blocks << shift) - below(1 << shift);
		m = make(e, n, size, shift);
		if (snv_extent_check(&m, nsze))
			failed++;

		for (int i = 0; i < 200; i++) {
			uint64_t first = below(blocks + 2), count = 1 + below(blocks + 2);
			uint64_t b = first;
			uint32_t max = 1 + below(20);
			bool write = below(2), range_ok = first + count <= blocks;

			while (b < first + count) {
				struct snv_piece p = { 0, 0, 0 };
				uint32_t want = 0;
				uint64_t lba;
				int ret = snv_extent_map(&m, b << shift,
							 (first + count - b) << shift,
							 max, write, &p);

				if (!range_ok) {
					failed += ret != -ERANGE || p.nlb || p.slba != SNV_NO_LBA;
					break;
				}
				/* As far as the same extent, or the same hole, goes. */
				while (want < max && b + want < first + count &&
				       table[b + want].extent == table[b].extent)
					want++;
				lba = table[b].lba;
				if (write && table[b].shared) {
					lba = SNV_NO_LBA;
					failed += ret != -EROFS;
				} else {
					failed += ret != table[b].ret;
				}
				failed += p.nlb != want || p.slba != lba;
				pieces++;
				mapped += ret == 0;
				b += want;
			}
		}
	}
	ok(!failed, "%u random pieces", pieces);
	ok(mapped > 1000 && mapped < pieces, "%u of them are on the disk", mapped);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		seed = strtoull(argv[1], NULL, 0) | 1;
	test_check();
	test_bounds();
	test_extremes();
	test_find();
	test_random();
	return done();
}
