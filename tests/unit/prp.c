// SPDX-License-Identifier: MIT
/*
 * PRP building, judged by a controller's reading of NVMe Base 2.0 section 4.1.1, written apart.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "prp.h"
#include "tap.h"

#define MAX_SEGS	(1U << 16)
#define MAX_PAGES	(1U << 17)
#define MAX_LISTS	16
#define LIST_DMA	(1ULL << 60)
#define CANARY		0xeeeeeeeeeeeeeeeeULL

static uint64_t seed = 0x5eed;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1dULL;
}

static uint64_t below(uint64_t n)
{
	return (rnd() >> 11) % n;
}

/* What the controller reads and what the host maps. */
struct world {
	uint64_t mps;		/* bytes of a controller page */
	uint64_t page;		/* bytes of a map page */
	uint32_t mps_shift;
	uint32_t n_lists;
	struct snv_dma_map map;
	struct snv_prp_list list[MAX_LISTS];
	uint64_t addr[MAX_PAGES];
};

struct seg {
	uint64_t dma;
	uint64_t len;
};

static struct world w;
static struct seg segs[MAX_SEGS];
static unsigned int n_segs;
static const char *why;

static void set_sizes(uint32_t mps_shift, uint32_t page_shift, uint64_t pages)
{
	w.mps_shift = mps_shift;
	w.mps = 1ULL << mps_shift;
	w.page = 1ULL << page_shift;
	w.map.addr = (const __u64 *)w.addr;
	w.map.page_shift = page_shift;
	w.map.pages = pages;
	w.n_lists = 0;
}

static void clear_list(uint32_t i)
{
	for (uint64_t j = 0; w.mps_shift <= 16 && j < w.mps / 8; j++)
		w.list[i].va[j] = CANARY;
}

/* List pages full of canaries, at scattered places. */
static void set_lists(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		w.list[i].va = malloc(w.mps);
		if (!w.list[i].va) {
			puts("Bail out! out of memory");
			exit(1);
		}
		clear_list(i);
		w.list[i].dma = LIST_DMA + ((i * 7 + 3) % MAX_LISTS) * 3 * w.mps;
	}
	w.n_lists = n;
}

static void free_lists(void)
{
	for (uint32_t i = 0; i < w.n_lists; i++)
		free(w.list[i].va);
	w.n_lists = 0;
}

/* Scattered pages, none next to another. */
static void scatter(uint64_t pages, uint64_t align)
{
	for (uint64_t i = 0; i < pages; i++)
		w.addr[i] = (i * 5 % pages * 3 + 1) * (w.page > align ? w.page : align);
}

static uint64_t byte_dma(uint64_t pos)
{
	return w.addr[pos / w.page] + pos % w.page;
}

static bool bad(const char *text)
{
	why = text;
	return false;
}

/* The controller reads eight bytes of host memory: only list pages are there to be read. */
static bool dma_read(uint64_t dma, uint64_t *val)
{
	for (uint32_t i = 0; i < w.n_lists; i++) {
		if (dma >= w.list[i].dma && dma - w.list[i].dma < w.mps) {
			memcpy(val, (char *)w.list[i].va + (dma - w.list[i].dma), 8);
			return true;
		}
	}
	return bad("controller reads a list outside the list pages");
}

static bool take(uint64_t dma, uint64_t len)
{
	if (n_segs == MAX_SEGS)
		return bad("too many segments");
	segs[n_segs++] = (struct seg){ dma, len };
	return true;
}

static bool walk(uint64_t prp1, uint64_t prp2, uint64_t length)
{
	uint64_t ptr, entry, n;
	unsigned int lists = 0;

	n_segs = 0;
	if (prp1 & 3)
		return bad("PRP1 is not dword aligned");
	n = w.mps - prp1 % w.mps;
	if (n > length)
		n = length;
	if (!take(prp1, n))
		return false;
	length -= n;
	if (!length)
		return prp2 ? bad("PRP2 is reserved, and not zero") : true;
	if (length <= w.mps) {
		if (prp2 % w.mps)
			return bad("PRP2 has an offset");
		return take(prp2, length);
	}

	ptr = prp2;
	if (ptr % 8)
		return bad("list pointer is not qword aligned");
	while (length) {
		if (!dma_read(ptr, &entry))
			return false;
		if (ptr % w.mps == w.mps - 8 && length > w.mps) {
			if (entry % w.mps)
				return bad("chain pointer has an offset");
			if (++lists > w.n_lists)
				return bad("the chain runs in a circle");
			ptr = entry;
			continue;
		}
		if (entry % w.mps)
			return bad("a list entry has an offset");
		n = length < w.mps ? length : w.mps;
		if (!take(entry, n))
			return false;
		length -= n;
		ptr += 8;
	}
	return true;
}

/* Byte for byte; for long transfers the ends of each straight piece, which say the same. */
static bool same_bytes(uint64_t offset, uint64_t length)
{
	uint64_t pos = offset, step, i, j;

	for (i = 0; i < n_segs; i++) {
		for (j = 0; j < segs[i].len; j += step) {
			step = 1;
			if (segs[i].dma + j != byte_dma(pos + j))
				return bad("a byte goes elsewhere");
			if (length > 8192) {
				step = w.page - (pos + j) % w.page;
				if (step > segs[i].len - j)
					step = segs[i].len - j;
				if (segs[i].dma + j + step - 1 != byte_dma(pos + j + step - 1))
					return bad("a byte goes elsewhere");
			}
		}
		pos += segs[i].len;
	}
	return pos == offset + length ? true : bad("length differs");
}

/* Can PRPs say where these bytes are? They can if each jump is from page end to page start. */
static bool sayable(uint64_t offset, uint64_t length)
{
	uint64_t pos = offset, end = 0, n;

	if (offset % 4 || byte_dma(offset) % 4)
		return false;
	while (length) {
		uint64_t dma = byte_dma(pos);

		if (pos != offset && dma != end && (dma % w.mps || end % w.mps))
			return false;
		n = w.page - pos % w.page;
		if (n > length)
			n = length;
		end = dma + n;
		pos += n;
		length -= n;
	}
	return true;
}

/* List pages for @entries PRPs, counted by hand. */
static uint64_t lists_for(uint64_t entries, uint64_t mps)
{
	uint64_t room = mps / 8, lists = 1;

	while (entries) {
		if (room == 1 && entries > 1) {
			lists++;
			room = mps / 8;
			continue;
		}
		room--;
		entries--;
	}
	return lists;
}

static uint64_t lists_needed(uint64_t dma, uint64_t length, uint64_t mps)
{
	uint64_t first = mps - dma % mps;

	if (length <= first || length - first <= mps)
		return 0;
	return lists_for((length - first + mps - 1) / mps, mps);
}

/* Only the @used first list pages may have been written. */
static bool canaries(uint32_t used)
{
	for (uint32_t i = used; w.mps_shift <= 16 && i < w.n_lists; i++)
		for (uint64_t j = 0; j < w.mps / 8; j++)
			if (w.list[i].va[j] != CANARY)
				return bad("a list page beyond those used was written");
	return true;
}

/* Build, read back, compare. @n_lists of those that there are may be used. */
static bool check(uint64_t offset, uint64_t length, uint32_t n_lists, int want)
{
	__le64 prp1 = CANARY, prp2 = CANARY;
	bool pass;
	int ret;

	why = "";
	ret = snv_prp_build(&w.map, offset, length, w.mps_shift, w.list, n_lists, &prp1, &prp2);
	if (ret != want) {
		diag("returned %d, want %d", ret, want);
		return bad("return value");
	}
	pass = ret < 0 || (walk(prp1, prp2, length) && same_bytes(offset, length) && canaries(ret));
	for (uint32_t i = 0; i < (ret < 0 ? n_lists : (uint32_t)ret); i++)
		clear_list(i);
	return pass;
}

#define CHECK(offset, length, n_lists, want, ...)						\
	do {											\
		if (!ok(check(offset, length, n_lists, want), __VA_ARGS__))			\
			diag("%s", why);							\
	} while (0)

static void test_edges(void)
{
	const uint64_t p = 4096;

	set_sizes(12, 12, 8);
	scatter(8, p);
	set_lists(2);
	CHECK(0, 1, 0, 0, "one byte");
	CHECK(0, p, 0, 0, "one page");
	CHECK(4, p - 4, 0, 0, "to the end of a page");
	CHECK(p - 4, 4, 0, 0, "last dword of a page");
	CHECK(p - 4, 5, 0, 0, "last dword of a page and a byte of the next");
	CHECK(0, p + 1, 0, 0, "a page and a byte");
	CHECK(0, 2 * p, 0, 0, "two pages");
	CHECK(4, 2 * p - 4, 0, 0, "two pages, unaligned start");
	CHECK(p - 4, p + 4, 0, 0, "a dword and a page");
	CHECK(p - 4, p + 5, 1, 1, "a dword, a page and a byte: a list");
	CHECK(0, 2 * p + 1, 1, 1, "two pages and a byte: a list of two");
	CHECK(0, 2 * p + 1, 0, -ENOSPC, "no list page for it");
	CHECK(0, 8 * p, 2, 1, "the whole map");
	CHECK(8 * p - 4, 4, 0, 0, "the map's last dword");

	CHECK(0, 0, 2, -EINVAL, "no bytes");
	CHECK(8 * p, 0, 2, -EINVAL, "no bytes, at the end");
	for (int i = 1; i < 4; i++)
		CHECK(i, 512, 2, -EINVAL, "start %d bytes off a dword", i);
	CHECK(0, 8 * p + 1, 2, -ERANGE, "one byte too many");
	CHECK(8 * p - 4, 5, 2, -ERANGE, "one byte too many, at the end");
	CHECK(8 * p, 1, 2, -ERANGE, "starts at the map's end");
	CHECK(8 * p + 4, 4, 2, -ERANGE, "starts after the map's end");
	CHECK(4, UINT64_MAX, 2, -ERANGE, "offset + length wraps");
	CHECK(4, UINT64_MAX - 3, 2, -ERANGE, "offset + length is 2^64");
	CHECK(UINT64_MAX - 3, 8, 2, -ERANGE, "the end wraps into the map");
	CHECK(0, UINT64_MAX, 2, -ERANGE, "longest length");
	w.map.pages = 0;
	CHECK(0, 4, 2, -ERANGE, "an empty map");
	w.map.pages = 8;

	w.list[0].dma += 8;
	CHECK(0, 3 * p, 2, -EINVAL, "an unaligned list page");
	free_lists();

	set_sizes(12, 63, 2);
	w.addr[0] = 1ULL << 40;
	w.addr[1] = 1ULL << 41;
	CHECK(p, p, 0, 0, "a map that covers all there is");
	CHECK((1ULL << 63) - 4, 8, 0, 0, "across the end of a page of 2^63 bytes");
	w.addr[1] = 1ULL << 63;
	w.addr[0] = 0;
	CHECK((1ULL << 63) - p, 2 * p, 0, 0, "across the middle of the address space");
}

/* Every start in a page, lengths around every boundary: the last page is often partial. */
static void test_partial(void)
{
	const uint64_t p = 4096;
	unsigned int failed = 0, run = 0;

	set_sizes(12, 12, 6);
	scatter(6, p);
	set_lists(1);
	for (uint64_t offset = 0; offset < 2 * p; offset += offset % 512 < 16 ? 4 : 31 * 4) {
		for (uint64_t pages = 0; pages <= 4; pages++) {
			for (int d = -5; d <= 5; d++) {
				uint64_t length = pages * p + (offset % 8 ? 0 : p - offset % p) + d;

				if (length - 1 >= 5 * p || offset + length > 6 * p)
					continue;
				run++;
				if (!check(offset, length, 1, lists_needed(offset, length, p))) {
					if (!failed++)
						diag("offset %llu length %llu: %s",
						     (unsigned long long)offset,
						     (unsigned long long)length, why);
				}
			}
		}
	}
	ok(!failed && run > 4000, "%u starts and lengths around page boundaries", run);
	free_lists();
}

/* Lists that are exactly full, and one entry more, for several page sizes. */
static void test_chains(void)
{
	for (uint32_t mps_shift = 12; mps_shift <= 14; mps_shift++) {
		const uint64_t mps = 1ULL << mps_shift, per = mps / 8;

		for (uint32_t page_shift = mps_shift; page_shift <= 16; page_shift += 2) {
			uint64_t pages = ((4 * per << mps_shift) >> page_shift) + 1;
			const uint64_t entries[] = { 2, per - 1, per, per + 1, 2 * per - 2,
				2 * per - 1, 2 * per, 3 * per - 3, 3 * per - 2, 3 * per - 1,
				3 * per, 4 * per - 3 };
			unsigned int failed = 0, chained = 0;

			set_sizes(mps_shift, page_shift, pages);
			scatter(pages, mps);
			for (size_t i = 0; i < sizeof(entries) / sizeof(*entries); i++) {
				/* PRP1 takes a dword, the last entry holds a byte or all. */
				uint64_t offset = mps - 4, n = entries[i];
				uint64_t length[] = { 4 + (n - 1) * mps + 1, 4 + n * mps };
				uint64_t lists = lists_for(n, mps);

				for (int j = 0; j < 2; j++) {
					set_lists(lists + 1);
					if (!check(offset, length[j], lists, lists) ||
					    !check(offset, length[j], lists - 1, -ENOSPC)) {
						failed++;
						diag("%llu entries: %s",
						     (unsigned long long)n, why);
					}
					free_lists();
				}
				chained += lists > 2;
			}
			ok(!failed && chained, "full and chained lists: page %u, map page %u",
			   1U << mps_shift, 1U << page_shift);
		}
	}
}

/* A wide MPS: few entries, each of many small map pages. */
static void test_mps(void)
{
	for (uint32_t mps_shift = 12; mps_shift <= 27; mps_shift++) {
		const uint64_t mps = 1ULL << mps_shift;
		uint64_t pages = mps * 4 >> 12, in = mps >> 12;
		bool pass = true;

		/* 4 KiB pages in blocks of one controller page, the blocks in reverse. */
		set_sizes(mps_shift, 12, pages);
		for (uint64_t i = 0; i < pages; i++)
			w.addr[i] = (4 - i / in) * 2 * mps + i % in * 4096;
		set_lists(1);
		pass &= check(0, 4 * mps, 1, 1);
		pass &= check(mps - 4, mps + 4, 1, 0);
		pass &= check(mps - 4, mps + 5, 1, 1);
		pass &= check(mps, 2 * mps, 1, 0);
		pass &= check(4 * mps - 512, 512, 1, 0);
		free_lists();
		ok(pass, "page size 2^%u over 4 KiB map pages%s%s", mps_shift,
		   pass ? "" : ": ", why);
	}
}

/* Pages smaller than the controller's: contiguous and in place, or refused. */
static void test_small_pages(void)
{
	set_sizes(16, 12, 48);
	set_lists(1);
	for (int i = 0; i < 48; i++)
		w.addr[i] = 0x10000000 + i * 4096ULL;
	CHECK(0, 48 * 4096, 1, 1, "contiguous, aligned");
	for (int i = 0; i < 48; i++)
		w.addr[i] = 0x10003000 + i * 4096ULL;
	CHECK(0, 48 * 4096, 1, 1, "contiguous, starts inside a controller page");
	CHECK(0, 13 * 4096, 1, 0, "likewise, one page");
	CHECK(0, 29 * 4096, 1, 0, "likewise, two pages");

	for (int i = 0; i < 48; i++)
		w.addr[i] = 0x10000000 + i * 4096ULL + i / 16 * 0x100000;
	w.addr[5] += 0x100000;
	CHECK(0, 6 * 4096, 1, -EINVAL, "a page that is not next, in the first controller page");
	CHECK(0, 5 * 4096, 1, 0, "not reached");
	CHECK(6 * 4096, 26 * 4096, 1, 0, "stepped over");
	w.addr[5] -= 0x100000;
	w.addr[20] += 0x100000;
	CHECK(0, 32 * 4096, 1, -EINVAL, "likewise in the second of two");
	CHECK(0, 40 * 4096, 1, -EINVAL, "likewise in a list");
	w.addr[20] -= 0x100000;
	w.addr[47] += 4096;
	CHECK(0, 48 * 4096, 1, -EINVAL, "likewise the last page");
	CHECK(0, 47 * 4096, 1, 1, "without it");
	for (int i = 16; i < 48; i++)
		w.addr[i] += 0x1000;
	CHECK(0, 32 * 4096, 1, -EINVAL, "contiguous, not aligned: second page");
	CHECK(0, 33 * 4096, 1, -EINVAL, "contiguous, not aligned: list");
	free_lists();

	/* 64 KiB pages of a GPU, at places that only fit a smaller controller page. */
	set_sizes(12, 16, 3);
	set_lists(1);
	w.addr[0] = 0x71000;
	w.addr[1] = 0x25000;
	w.addr[2] = 0x90000;
	CHECK(0, 3 * 65536, 1, 1, "large pages aligned to the controller's page only");
	w.addr[1] = 0x25200;
	CHECK(0, 3 * 65536, 1, -EINVAL, "a large page off the controller's page");
	CHECK(0, 65536 + 4096, 1, -EINVAL, "likewise, in a list");
	CHECK(61440, 8192, 1, -EINVAL, "likewise, as PRP2");
	CHECK(65536, 4096, 1, 0, "likewise, as the start");
	w.addr[0] = 0x71002;
	CHECK(0, 512, 1, -EINVAL, "a map page off a dword");
	CHECK(2, 512, 1, -EINVAL, "likewise, and a start that makes up for it");
	free_lists();
}

/* Two commands at a time: neither list is the other's. */
static void test_two_lists(void)
{
	__le64 a1, a2, b1, b2;
	const uint64_t p = 4096;

	set_sizes(12, 12, 64);
	scatter(64, p);
	set_lists(2);
	is(snv_prp_build(&w.map, 0, 16 * p, 12, &w.list[0], 1, &a1, &a2), 1, "first list");
	is(snv_prp_build(&w.map, 32 * p, 16 * p, 12, &w.list[1], 1, &b1, &b2), 1, "second list");
	ok(walk(a1, a2, 16 * p) && same_bytes(0, 16 * p), "the first holds its own addresses");
	ok(walk(b1, b2, 16 * p) && same_bytes(32 * p, 16 * p), "the second holds its own");
	free_lists();
}

static void random_map(void)
{
	uint32_t mps_shift = below(8) ? 12 + below(4) : 12 + below(16);
	uint32_t page_shift = mps_shift - 4 + below(9);
	uint64_t kind = below(8), pages, next = 0;

	pages = 1 + below(below(4) ? 40 : 3000);
	set_sizes(mps_shift, page_shift, pages);
	next = (1 + below(1 << 20)) * w.mps + (kind & 1 ? below(w.mps) / 512 * 512 : 0);
	for (uint64_t i = 0; i < pages; i++) {
		w.addr[i] = next;
		next += w.page;
		/* Jump at the end of a controller page, or, to be refused, anywhere. */
		if (next % w.mps == 0 || kind == 7)
			next += below(3) * w.mps;
		if (kind == 6 && !below(64))
			next += below(4) * 512;
	}
}

static void test_random(void)
{
	unsigned int failed = 0, refused = 0, nospc = 0, one = 0, two = 0, listed = 0, chained = 0;
	unsigned int run;

	for (run = 0; run < 20000; run++) {
		uint64_t total, offset, length, lists, max;
		int want;

		random_map();
		total = w.map.pages * w.page;
		offset = below(4) ? below(total) / 4 * 4 : below(w.map.pages) * w.page;
		length = 1 + below(total - offset);
		if (below(2) && length > 3 * w.mps)
			length = 1 + below(3 * w.mps);
		if (!below(4) && length > 512)
			length = length / 512 * 512;
		if (length / w.mps >= MAX_SEGS - 2)
			continue;
		lists = lists_needed(byte_dma(offset), length, w.mps);
		if (lists > MAX_LISTS || lists << w.mps_shift > 1 << 24)
			continue;
		max = snv_prp_list_max(length, w.mps_shift);
		set_lists(lists);
		if (!sayable(offset, length)) {
			want = -EINVAL;
			refused++;
		} else {
			want = lists;
			if (lists > 1)
				chained++;
			else if (lists)
				listed++;
			else if (length > w.mps - byte_dma(offset) % w.mps)
				two++;
			else
				one++;
		}
		if (lists && want >= 0 && !check(offset, length, lists - 1, -ENOSPC))
			failed++;
		nospc += lists && want >= 0;
		if (!check(offset, length, lists, want) || lists > max) {
			if (!failed++)
				diag("run %u: mps 2^%u map 2^%u offset %llu length %llu: %s", run,
				     w.mps_shift, w.map.page_shift, (unsigned long long)offset,
				     (unsigned long long)length, why);
		}
		free_lists();
	}
	diag("%u of one page, %u of two, %u with a list, %u with more, %u refused, %u without room",
	     one, two, listed, chained, refused, nospc);
	ok(!failed, "random transfers");
	ok(one > 100 && two > 100 && listed > 100 && chained > 100 && refused > 100 && nospc > 100,
	   "every kind of transfer was among them");
}

static void test_list_max(void)
{
	const uint64_t lengths[] = { 1, 4, 5, 4096, 4097, 4100, 4101, 8192, 8193, 12288,
		510 * 4096, 511 * 4096, 511 * 4096 + 4, 511 * 4096 + 5, 512 * 4096, 512 * 4096 + 4,
		512 * 4096 + 5, 513 * 4096, 1022 * 4096 + 4, 1023 * 4096, 1023 * 4096 + 4,
		1023 * 4096 + 5, 1024 * 4096, 5000 * 4096 };
	unsigned int failed = 0;

	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		uint64_t worst = 0, n;

		for (uint64_t offset = 0; offset < 4096; offset += 4) {
			n = lists_needed(offset, lengths[i], 4096);
			worst = n > worst ? n : worst;
		}
		if (snv_prp_list_max(lengths[i], 12) != worst) {
			failed++;
			diag("length %llu: %llu, want %llu", (unsigned long long)lengths[i],
			     (unsigned long long)snv_prp_list_max(lengths[i], 12),
			     (unsigned long long)worst);
		}
	}
	ok(!failed, "list pages at worst, over all starts");
	is(snv_prp_list_max(0, 12), 0, "no bytes need no list");
	is(snv_prp_list_max(1ULL << 27, 27), 0, "the largest page needs none");
	is(snv_prp_list_max(2ULL << 27, 27), 1, "two of them may need one");
	is(snv_prp_list_max(UINT64_MAX, 12), (1ULL << 52) / 511 + 1, "the longest length");
}

int main(int argc, char **argv)
{
	if (argc > 1)
		seed = strtoull(argv[1], NULL, 0) | 1;
	test_edges();
	test_partial();
	test_chains();
	test_mps();
	test_small_pages();
	test_two_lists();
	test_list_max();
	test_random();
	return done();
}
