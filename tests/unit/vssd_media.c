// SPDX-License-Identifier: MIT
/*
 * What vssd stores in: memory, nothing, files. Each medium against a copy in memory, through its
 * operations alone; files with system calls that do less than they were asked, and that fail.
 */
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* In place of the system calls of transfers done in place. */
static ssize_t test_preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags);
static ssize_t test_pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags);
static int test_fallocate(int fd, int mode, off_t offset, off_t length);
static int test_fdatasync(int fd);

#define preadv2 test_preadv2
#define pwritev2 test_pwritev2
#define fallocate test_fallocate
#define fdatasync test_fdatasync
#include "../../vssd/user/ram.c"
#include "../../vssd/user/null.c"
#include "../../vssd/user/file.c"
#undef preadv2
#undef pwritev2
#undef fallocate
#undef fdatasync

#include "tap.h"

#define SIZE		(1U << 20)
#define MAX_SEGS	8
#define WORKERS		4

static uint64_t seed = 0x5eed;
static char dir[] = "/var/tmp/vssd_media.XXXXXX";
static char why[256];

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state * 0x2545f4914f6cdd1dULL >> 11;
}

static uint64_t below(uint64_t n)
{
	return next_random(&seed) % n;
}

static const char *in_dir(const char *name)
{
	static char path[4][PATH_MAX];
	static int turn;

	turn = (turn + 1) % 4;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", dir, name);
	return path[turn];
}

/* ---- system calls that misbehave -------------------------------------------------------------- */

static struct {
	bool shorten;		/* a transfer moves only part of what was asked */
	int transfer;		/* errno of the next transfer, once */
	int fallocate;		/* errno of each fallocate without .mode in its flags */
	int mode;
	int sync;		/* errno of the next fdatasync, once */
	int clears;		/* how often fallocate worked */
	int syncs;
} sys;

static int once(int *err)
{
	if (!*err)
		return 0;
	errno = *err;
	*err = 0;
	return -1;
}

static struct iovec shorten(const struct iovec *iov)
{
	struct iovec v = *iov;

	if (v.iov_len > 1024)
		v.iov_len = 512 * (1 + below(v.iov_len / 512));
	else if (v.iov_len > 1)
		v.iov_len = 1 + below(v.iov_len);
	return v;
}

static ssize_t test_preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	struct iovec v;

	if (once(&sys.transfer))
		return -1;
	if (!sys.shorten)
		return preadv2(fd, iov, n, offset, flags);
	v = shorten(iov);
	return preadv2(fd, &v, 1, offset, flags);
}

static ssize_t test_pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	struct iovec v;

	if (once(&sys.transfer))
		return -1;
	if (!sys.shorten)
		return pwritev2(fd, iov, n, offset, flags);
	v = shorten(iov);
	return pwritev2(fd, &v, 1, offset, flags);
}

static int test_fallocate(int fd, int mode, off_t offset, off_t length)
{
	if (sys.fallocate && !(mode & sys.mode)) {
		errno = sys.fallocate;
		return -1;
	}
	sys.clears++;
	return fallocate(fd, mode, offset, length);
}

static int test_fdatasync(int fd)
{
	sys.syncs++;
	return once(&sys.sync) ? -1 : fdatasync(fd);
}

/* ---- transfers -------------------------------------------------------------------------------- */

struct transfer {
	struct vssd_io io;
	struct vssd_seg seg[MAX_SEGS];
	int status;
	bool ended;
};

static void transfer_done(struct vssd_io *io, int status)
{
	struct transfer *t = (struct transfer *)io;

	t->status = status;
	t->ended = true;
}

static void begin(struct vssd_media *m, struct transfer *t)
{
	int ret;

	t->io.done = transfer_done;
	t->ended = false;
	ret = m->ops->submit(m, &t->io);
	if (ret != VSSD_PENDING)
		transfer_done(&t->io, ret);
}

static int finish(struct vssd_media *m, struct transfer *t)
{
	while (!t->ended)
		m->ops->poll(m, t->io.worker);
	return t->status;
}

static int simple(struct vssd_media *m, enum vssd_io_op op, bool fua, uint64_t offset, void *buf,
		  uint64_t length)
{
	struct transfer t = {
		.io = { .op = op, .fua = fua, .offset = offset, .length = length, .segs = 1 },
		.seg = { { buf, length } },
	};

	t.io.seg = t.seg;
	begin(m, &t);
	return finish(m, &t);
}

static int rd(struct vssd_media *m, uint64_t offset, void *buf, uint64_t length)
{
	return simple(m, VSSD_IO_READ, false, offset, buf, length);
}

static int wr(struct vssd_media *m, uint64_t offset, const void *buf, uint64_t length)
{
	return simple(m, VSSD_IO_WRITE, false, offset, (void *)buf, length);
}

static bool all(const char *buf, size_t size, char c)
{
	for (size_t i = 0; i < size; i++)
		if (buf[i] != c)
			return false;
	return true;
}

static struct vssd_media *file_media(struct vssd_uring *u, const char *path, uint64_t size,
				     uint32_t block, bool buffered)
{
	struct vssd_file_config c = { path, size, block, .buffered = buffered };
	struct vssd_media *m = NULL;

	if (vssd_file_open(u, &c, &m, why, sizeof(why)))
		diag("%s", why);
	return m;
}

/* ---- data ------------------------------------------------------------------------------------- */

/*
 * Random transfers against a copy. Alignment of offsets, lengths and memory is drawn for each: some
 * go past the page cache, some through it.
 */
static void test_data(struct vssd_media *m, const char *what, int rounds)
{
	char *copy = calloc(1, SIZE), *buf = aligned_alloc(4096, 1 << 18);
	int bad_status = simple(m, VSSD_IO_DISCARD, false, 0, NULL, SIZE), bad_data = 0;

	for (int i = 0; i < rounds; i++) {
		static const uint32_t align[] = { 4096, 4096, 512, 520, 1 };
		uint32_t a = align[below(5)];
		uint64_t offset = below(SIZE / a) * a;
		uint64_t length = (1 + below(below(4) ? 8 : 24)) * (a < 512 ? 777 : a);
		uint32_t shift = below(3) ? 0 : below(2) ? 4 : 512;
		struct transfer t = { .io.offset = offset };
		uint64_t at = 0;

		if (length > SIZE - offset)
			length = SIZE - offset;
		t.io.length = length;
		t.io.op = below(5) < 2 ? VSSD_IO_READ : below(4) ? VSSD_IO_WRITE : VSSD_IO_DISCARD;
		t.io.fua = !below(8);
		t.io.seg = t.seg;
		/* Some pages each, with gaps, so that a byte beyond a segment would show. */
		while (t.io.op != VSSD_IO_DISCARD && at < length) {
			uint64_t n = (1 + below(8)) * (below(3) ? 4096 : below(2) ? 512 : 100);

			if (n > length - at || t.io.segs == MAX_SEGS - 1)
				n = length - at;
			t.seg[t.io.segs].va = buf + at + t.io.segs * 4096 + shift;
			t.seg[t.io.segs++].length = n;
			at += n;
		}
		for (size_t j = 0; j < 1 << 18; j += 8)
			*(uint64_t *)(buf + j) = next_random(&seed);
		begin(m, &t);
		bad_status += !!finish(m, &t);
		if (t.io.op == VSSD_IO_DISCARD)
			memset(copy + offset, 0, length);
		at = offset;
		for (uint32_t s = 0; s < t.io.segs; s++) {
			if (t.io.op == VSSD_IO_WRITE)
				memcpy(copy + at, t.seg[s].va, t.seg[s].length);
			else
				bad_data += !!memcmp(copy + at, t.seg[s].va, t.seg[s].length);
			at += t.seg[s].length;
		}
	}
	is(bad_status, 0, "%s: %d random transfers, each with success", what, rounds);
	is(bad_data, 0, "%s: what was read is what was written", what);
	is(simple(m, VSSD_IO_FLUSH, false, 0, NULL, 0), 0, "%s: flush", what);
	bad_data = 0;
	for (uint64_t at = 0; at < SIZE; at += 1 << 17) {
		bad_status += !!rd(m, at, buf, 1 << 17);
		bad_data += !!memcmp(buf, copy + at, 1 << 17);
	}
	is(bad_status + bad_data, 0, "%s: all of it in the end", what);
	free(buf);
	free(copy);
}

static void test_limits(struct vssd_media *m, const char *what)
{
	char *buf = calloc(1, 8192);

	is(rd(m, m->size - 4096, buf, 4096), 0, "%s: the last bytes", what);
	is(rd(m, m->size - 4096, buf, 8192), SNV_SC_LBA_RANGE, "%s: read beyond the end", what);
	is(wr(m, m->size, buf, 512), SNV_SC_LBA_RANGE, "%s: write behind the end", what);
	is(wr(m, UINT64_MAX - 511, buf, 4096), SNV_SC_LBA_RANGE, "%s: write around the end", what);
	is(simple(m, VSSD_IO_DISCARD, false, 4096, NULL, m->size), SNV_SC_LBA_RANGE,
	   "%s: discard beyond the end", what);
	is(wr(m, m->size, buf, 0), 0, "%s: nothing, at the end", what);
	free(buf);
}

/* ---- several at once -------------------------------------------------------------------------- */

#define ATOMIC_BYTES	(96 << 10)	/* more than a stripe's */
#define DEPTH		4

struct hammer {
	struct vssd_media *m;
	uint32_t worker;
	int rounds;
	int torn;
	int failed;
};

static void hammer_next(struct hammer *h, struct transfer *t, char *buf, uint64_t *state)
{
	/* Whole, its middle, or its end: all overlap there. Aligned or not, as it falls. */
	uint64_t first = next_random(state) % 3 * (32 << 10);

	t->io.worker = h->worker;
	t->io.op = next_random(state) % 2 ? VSSD_IO_READ : VSSD_IO_WRITE;
	t->io.offset = 4096 + first;
	t->io.length = ATOMIC_BYTES - first;
	t->io.seg = t->seg;
	t->io.segs = 2;
	t->seg[0].va = buf + (next_random(state) % 3 ? 0 : 4);
	t->seg[0].length = 8192;
	t->seg[1].va = (char *)t->seg[0].va + 8192;
	t->seg[1].length = t->io.length - 8192;
	if (t->io.op == VSSD_IO_WRITE)
		memset(t->seg[0].va, 1 + next_random(state) % 255, t->io.length);
	begin(h->m, t);
}

static void *hammer(void *arg)
{
	struct hammer *h = arg;
	uint64_t state = 0x9e3779b97f4a7c15ULL * (h->worker + 1);
	struct transfer t[DEPTH] = { 0 };
	char *buf[DEPTH];
	int left = h->rounds, flying = DEPTH;

	for (int i = 0; i < DEPTH; i++) {
		buf[i] = aligned_alloc(4096, ATOMIC_BYTES + 4096);
		hammer_next(h, &t[i], buf[i], &state);
	}
	while (flying) {
		if (h->m->ops->poll)
			h->m->ops->poll(h->m, h->worker);
		for (int i = 0; i < DEPTH; i++) {
			const char *data = t[i].seg[0].va;

			if (!t[i].ended || !t[i].io.length)
				continue;
			h->failed += !!t[i].status;
			/* A writer overwrites a tail only: a tail is uniform, in every read. */
			if (t[i].io.op == VSSD_IO_READ)
				h->torn += !all(data + t[i].io.length - (32 << 10), 32 << 10,
						data[t[i].io.length - 1]);
			if (left-- > 0) {
				hammer_next(h, &t[i], buf[i], &state);
			} else {
				t[i].io.length = 0;
				flying--;
			}
		}
	}
	for (int i = 0; i < DEPTH; i++)
		free(buf[i]);
	return NULL;
}

static void test_atomic(struct vssd_media *m, const char *what, int rounds)
{
	struct hammer h[WORKERS];
	pthread_t id[WORKERS];
	int torn = 0, failed = simple(m, VSSD_IO_DISCARD, false, 0, NULL, SIZE);

	for (uint32_t i = 0; i < WORKERS; i++) {
		h[i] = (struct hammer){ m, i, rounds, 0, 0 };
		pthread_create(&id[i], NULL, hammer, &h[i]);
	}
	for (uint32_t i = 0; i < WORKERS; i++) {
		pthread_join(id[i], NULL);
		torn += h[i].torn;
		failed += h[i].failed;
	}
	is(failed, 0, "%s: %d threads, overlapping transfers, each with success", what, WORKERS);
	is(torn, 0, "%s: none reads half of a write", what);
}

/* ---- memory ----------------------------------------------------------------------------------- */

static long resident(void)
{
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%*d %ld", &pages) != 1)
		pages = -1;
	if (f)
		fclose(f);
	return pages;
}

static void test_ram(void)
{
	uint64_t huge = 1ULL << 42;
	struct vssd_media *m = vssd_ram_create(SIZE, false, false);
	const struct vssd_stripes *s;
	char buf[4096], zeros[4096] = { 0 };
	long before, after;
	int fail = 0;

	ok(!m->volatile_cache && m->size == SIZE, "ram: as asked for");
	test_data(m, "ram", 4000);
	test_limits(m, "ram");
	m->ops->close(m);

	m = vssd_ram_create(1 << 22, true, true);
	ok(m->volatile_cache, "ram: a volatile cache, where something else has it");
	test_data(m, "ram, shared", 1000);
	test_atomic(m, "ram", 1000);
	s = &ram_of(m)->stripes;
	ok(vssd_stripes_of(s, 0, 1) == 1 && vssd_stripes_of(s, 65535, 2) == 3 &&
	   vssd_stripes_of(s, 63 << 16, 2 << 16) == (1ULL << 63 | 1) &&
	   vssd_stripes_of(s, 65536, 64 << 16) == UINT64_MAX && vssd_stripes_of(s, 1, 1ULL << 40) == UINT64_MAX,
	   "ram: a lock for each 64 KiB that is met");
	m->ops->close(m);

	m = vssd_ram_create(huge, false, false);
	if (!m) {
		skip("ram: 4 TiB of address space: %s", strerror(errno));
		return;
	}
	before = resident();
	for (int i = 0; i < 256; i++) {
		memset(buf, i + 1, sizeof(buf));
		fail += !!wr(m, (huge / 256) * i + 8192, buf, sizeof(buf));
	}
	after = resident();
	ok(before >= 0 && after - before < 256 * 8, "ram: 256 pages in 4 TiB cost %ld", after - before);
	for (int i = 0; i < 256; i++)
		fail += rd(m, (huge / 256) * i + 8192, buf, sizeof(buf)) ||
			!all(buf, sizeof(buf), i + 1);
	is(fail, 0, "ram: and are there");
	is(simple(m, VSSD_IO_DISCARD, false, 0, NULL, huge), 0, "ram: discard of all");
	after = resident();
	ok(after - before < 64, "ram: which gives the memory back");
	fail = rd(m, huge - huge / 256 + 8192, buf, sizeof(buf)) || memcmp(buf, zeros, sizeof(buf));
	is(fail, 0, "ram: and reads as zeros");
	m->ops->close(m);
	ok(!vssd_ram_create(1ULL << 62, false, false) && errno == ENOMEM, "ram: 4 EiB cannot be had");
}

static void test_null(void)
{
	struct vssd_media *m = vssd_null_create(1ULL << 50);
	char buf[512];

	memset(buf, 7, sizeof(buf));
	is(wr(m, 4096, buf, sizeof(buf)), 0, "null: write");
	is(rd(m, 0, buf, sizeof(buf)), 0, "null: read");
	ok(all(buf, sizeof(buf), 7), "null: leaves the memory as it was");
	is(simple(m, VSSD_IO_FLUSH, false, 0, NULL, 0), 0, "null: flush");
	is(rd(m, (1ULL << 50) - 511, buf, 512), SNV_SC_LBA_RANGE, "null: has an end");
	m->ops->close(m);
}

/* ---- files ------------------------------------------------------------------------------------ */

/* A file of each way: through a ring or not, past the page cache or not. */
static void test_file_data(void)
{
	static const char *const what[] = {
		"file, ring, direct", "file, ring, cached", "file, in place, direct",
		"file, in place, cached",
	};

	for (int i = 0; i < 4; i++) {
		struct vssd_uring *u = vssd_uring_create(WORKERS, NULL, i >= 2);
		struct vssd_media *m = file_media(u, in_dir("data"), SIZE, 512, i & 1);

		ok(m && m->size == SIZE && m->volatile_cache && !m->readonly, "%s: made", what[i]);
		if (i < 2 && vssd_uring_fd(u, 0) < 0)
			diag("no io_uring here: in place");
		if (!(i & 1) && file_of(m)->direct_fd < 0)
			diag("no O_DIRECT here: cached");
		test_data(m, what[i], 1500);
		test_limits(m, what[i]);
		test_atomic(m, what[i], 150);
		is(simple(m, VSSD_IO_DISCARD, false, 0, NULL, SIZE), 0, "%s: discard of all", what[i]);
		ok(!file_of(m)->first && !file_of(m)->writers, "%s: at rest", what[i]);
		m->ops->close(m);
		vssd_uring_destroy(u);
		unlink(in_dir("data"));
	}
}

static void test_file_keeps(void)
{
	struct vssd_uring *u = vssd_uring_create(1, NULL, false);
	struct vssd_media *m = file_media(u, in_dir("keep"), 8192, 512, false);
	char *buf = aligned_alloc(4096, 4096);
	struct stat st;

	memset(buf, 5, 4096);
	is(simple(m, VSSD_IO_WRITE, true, 4096, buf, 4096), 0, "file: FUA write");
	is(simple(m, VSSD_IO_WRITE, true, 512, buf + 4, 512), 0, "file: FUA write, cached");
	is(simple(m, VSSD_IO_DISCARD, true, 4096 + 512, NULL, 512), 0, "file: FUA discard");
	m->ops->close(m);
	m = file_media(u, in_dir("keep"), 1 << 20, 4096, false);
	ok(m && m->size == 8192, "file: there is one already: it has its size");
	is(rd(m, 0, buf, 4096), 0, "file: opened again");
	ok(all(buf, 512, 0) && all(buf + 512, 512, 5) && all(buf + 1024, 3072, 0),
	   "file: what was written is there");
	is(rd(m, 4096, buf, 4096), 0, "file: and the rest");
	ok(all(buf, 512, 5) && all(buf + 512, 512, 0) && all(buf + 1024, 3072, 5),
	   "file: less what was discarded");
	m->ops->close(m);

	/* 1,000 bytes: two blocks, the second partly there. */
	if (truncate(in_dir("keep"), 1000))
		diag("truncate: %s", strerror(errno));
	m = file_media(u, in_dir("keep"), 0, 512, false);
	is(m->size, 1024, "file: its size rounded up to blocks");
	memset(buf, 9, 4096);
	is(rd(m, 0, buf, 1024), 0, "file: read across its end, aligned");
	ok(all(buf, 512, 0) && all(buf + 512, 488, 5) && all(buf + 1000, 24, 0) &&
	   all(buf + 1024, 3072, 9), "file: which is followed by zeros");
	memset(buf, 9, 4096);
	is(rd(m, 990, buf + 1, 34), 0, "file: read across its end");
	ok(all(buf + 1, 10, 5) && all(buf + 11, 24, 0) && buf[35] == 9, "file: likewise");
	is(wr(m, 512, buf, 512), 0, "file: write of its last block");
	ok(!stat(in_dir("keep"), &st) && st.st_size == 1024, "file: grows it");
	m->ops->close(m);
	unlink(in_dir("keep"));

	m = file_media(u, in_dir("sparse"), 1ULL << 40, 4096, false);
	memset(buf, 3, 4096);
	ok(m && !wr(m, (1ULL << 40) - 4096, buf, 4096) && !stat(in_dir("sparse"), &st) &&
	   st.st_blocks < 1000, "file: a TiB with one block in it is small");
	if (m)
		m->ops->close(m);
	unlink(in_dir("sparse"));
	free(buf);
	vssd_uring_destroy(u);
}

/* Requests that wait for others, in one worker and across. */
static void test_waiting(void)
{
	int efd[2] = { eventfd(0, EFD_NONBLOCK), eventfd(0, EFD_NONBLOCK) };
	struct vssd_uring *u = vssd_uring_create(2, efd, false);
	struct vssd_media *m = file_media(u, in_dir("wait"), SIZE, 512, false);
	struct transfer a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };
	char *buf = aligned_alloc(4096, 4 * 4096);
	eventfd_t count;

	if (vssd_uring_fd(u, 0) < 0) {
		skip("no io_uring: nothing waits");
		goto out;
	}
	memset(buf, 1, 4096);
	memset(buf + 4096, 2, 4096);
	a.io = (struct vssd_io){ .op = VSSD_IO_WRITE, .length = 4096, .seg = a.seg, .segs = 1 };
	b.io = c.io = d.io = a.io;
	a.seg[0] = (struct vssd_seg){ buf, 4096 };
	b.seg[0] = (struct vssd_seg){ buf + 4096, 4096 };
	b.io.seg = b.seg;
	b.io.worker = 1;
	c.seg[0] = (struct vssd_seg){ buf + 8192, 4096 };
	c.io.seg = c.seg;
	c.io.op = VSSD_IO_READ;
	d.seg[0] = (struct vssd_seg){ buf + 12288, 4096 };
	d.io.seg = d.seg;
	d.io.op = VSSD_IO_READ;
	d.io.offset = 4096;
	begin(m, &a);
	ok(vssd_uring_stuck(u, 0), "waiting: one alone is not handed to the kernel before the poll");
	begin(m, &b);
	begin(m, &c);
	begin(m, &d);
	ok(!vssd_uring_stuck(u, 0), "waiting: two are");
	for (int i = 0; i < 100000; i++)
		m->ops->poll(m, 1);
	ok(!b.ended, "waiting: a write of another worker does not pass the first");
	finish(m, &a);
	finish(m, &d);
	ok(a.ended && !b.ended, "waiting: the first has ended; who does not meet it did not wait");
	ok(!eventfd_read(efd[1], &count) && eventfd_read(efd[0], &count),
	   "waiting: the second's worker is woken");
	for (int i = 0; i < 1000; i++)
		m->ops->poll(m, 0);
	ok(!c.ended, "waiting: nor does a read pass a write that waits");
	is(finish(m, &b), 0, "waiting: the second");
	is(finish(m, &c), 0, "waiting: the third");
	ok(all(buf + 8192, 4096, 2), "waiting: reads what the second wrote");
	ok(all(buf + 12288, 4096, 0), "waiting: the fourth read its own");
out:
	m->ops->close(m);
	vssd_uring_destroy(u);
	free(buf);
	close(efd[0]);
	close(efd[1]);
	unlink(in_dir("wait"));
}

#define MANY 1500

static struct transfer many[MANY];

static void begin_many(struct vssd_media *m, char *buf)
{
	for (int i = 0; i < MANY; i++) {
		many[i].io = (struct vssd_io){ .op = VSSD_IO_READ, .offset = i % 256 * 4096,
					       .length = 4096, .seg = many[i].seg, .segs = 1 };
		many[i].seg[0] = (struct vssd_seg){ buf + i % 256 * 4096, 4096 };
		begin(m, &many[i]);
	}
}

struct starter {
	struct vssd_media *m;
	char *buf;
};

static void *begin_and_leave(void *arg)
{
	struct starter *s = arg;

	begin_many(s->m, s->buf);
	s->m->ops->poll(s->m, 0);
	return NULL;
}

/* More than the ring holds; and those of a thread that is no more. */
static void test_many(void)
{
	struct vssd_uring *u = vssd_uring_create(1, NULL, false);
	struct vssd_media *m = file_media(u, in_dir("many"), SIZE, 512, false);
	char *buf = aligned_alloc(4096, SIZE);
	struct starter s = { m, buf };
	pthread_t id;
	int fail = 0;

	begin_many(m, buf);
	for (int i = 0; i < MANY; i++)
		fail += !!finish(m, &many[i]);
	is(fail, 0, "file: %d reads at once", MANY);
	pthread_create(&id, NULL, begin_and_leave, &s);
	pthread_join(id, NULL);
	for (int i = 0; i < MANY; i++)
		fail += !!finish(m, &many[i]);
	is(fail, 0, "file: %d reads whose thread has ended", MANY);
	m->ops->close(m);
	vssd_uring_destroy(u);
	free(buf);
	unlink(in_dir("many"));
}

/* More segments than a system call takes, of odd sizes. */
static void test_segments(struct vssd_uring *u, const char *what)
{
	enum { SEGS = 3000 };
	struct vssd_media *m = file_media(u, in_dir("segs"), SIZE, 512, false);
	struct vssd_seg *seg = calloc(SEGS, sizeof(*seg));
	char *buf = malloc(SEGS * 8), *back = calloc(1, SEGS * 4);
	struct transfer t = { .io = { .op = VSSD_IO_WRITE, .length = SEGS * 4, .segs = SEGS } };
	bool same = true;

	for (int i = 0; i < SEGS; i++) {
		memset(buf + i * 8, i % 251, 8);
		seg[i] = (struct vssd_seg){ buf + i * 8, 4 };
	}
	t.io.seg = seg;
	begin(m, &t);
	is(finish(m, &t), 0, "%s: write of %d segments", what, SEGS);
	is(rd(m, 0, back, SEGS * 4), 0, "%s: read back", what);
	for (int i = 0; i < SEGS; i++)
		same &= all(back + i * 4, 4, i % 251);
	ok(same, "%s: as written", what);
	m->ops->close(m);
	unlink(in_dir("segs"));
	free(seg);
	free(buf);
	free(back);
}

/* ---- files that fail -------------------------------------------------------------------------- */

static void test_short(void)
{
	struct vssd_uring *u = vssd_uring_create(1, NULL, true);
	struct vssd_media *m = file_media(u, in_dir("short"), SIZE, 512, false);
	char buf[512] = { 1 };

	sys.shorten = true;
	test_data(m, "file, short transfers", 800);
	sys.shorten = false;
	test_segments(u, "file, in place");

	sys.transfer = EIO;
	is(wr(m, 0, buf, 512), SNV_SC_WRITE_FAULT, "file: EIO of a write: Write Fault");
	sys.transfer = EIO;
	is(rd(m, 0, buf, 512), SNV_SC_READ_ERROR, "file: EIO of a read: Unrecovered Read Error");
	sys.transfer = ENOSPC;
	is(simple(m, VSSD_IO_WRITE, true, 0, buf, 512), SNV_SC_CAP_EXCEEDED,
	   "file: ENOSPC: Capacity Exceeded");
	sys.transfer = ENOMEM;
	is(wr(m, 0, buf, 512), SNV_SC_INTERNAL, "file: ENOMEM: Internal Error");
	sys.transfer = EINTR;
	is(wr(m, 0, buf, 512), 0, "file: EINTR: again");
	is(simple(m, VSSD_IO_FLUSH, false, 0, NULL, 0), 0, "file: none of which lost anything");

	/* What is cleared how. */
	sys.clears = sys.syncs = 0;
	is(simple(m, VSSD_IO_DISCARD, true, 100, NULL, 70000), 0, "file: discard");
	ok(sys.clears == 1 && sys.syncs == 1, "file: in one hole, and a sync for FUA");
	file_of(m)->clear_align = 4096;
	test_data(m, "file, holes of whole sectors", 500);
	sys.fallocate = EOPNOTSUPP;
	sys.mode = FALLOC_FL_ZERO_RANGE;
	test_data(m, "file, ranges of zeros", 500);
	is(file_of(m)->clear, CLEAR_ZERO, "file: tried no more than once");
	sys.mode = 0;
	test_data(m, "file, written zeros", 500);
	is(file_of(m)->clear, CLEAR_WRITE, "file: likewise");
	is(simple(m, VSSD_IO_DISCARD, false, 1, NULL, SIZE - 2), 0, "file: much of them");
	sys.fallocate = 0;
	file_of(m)->clear = CLEAR_PUNCH;
	sys.fallocate = EIO;
	is(simple(m, VSSD_IO_DISCARD, false, 0, NULL, SIZE), SNV_SC_WRITE_FAULT,
	   "file: EIO of a discard: Write Fault");
	sys.fallocate = 0;

	/* A failed flush has lost something, for ever. */
	sys.sync = EIO;
	is(simple(m, VSSD_IO_FLUSH, false, 0, NULL, 0), SNV_SC_WRITE_FAULT, "file: flush fails");
	is(simple(m, VSSD_IO_FLUSH, false, 0, NULL, 0), SNV_SC_WRITE_FAULT, "file: and so does the next");
	is(simple(m, VSSD_IO_WRITE, true, 0, buf + 1, 511), SNV_SC_WRITE_FAULT, "file: and FUA");
	is(rd(m, 0, buf, 512), 0, "file: reads go on");
	m->ops->close(m);
	vssd_uring_destroy(u);
	unlink(in_dir("short"));
}

/* O_DIRECT that refuses what it was believed to take. */
static void test_no_direct(void)
{
	for (int in_place = 0; in_place < 2; in_place++) {
		struct vssd_uring *u = vssd_uring_create(WORKERS, NULL, in_place);
		struct vssd_media *m = file_media(u, in_dir("nodirect"), SIZE, 512, false);
		struct file *f = file_of(m);

		if (f->direct_fd < 0) {
			skip("no O_DIRECT here");
		} else {
			f->align = 1;
			f->mem_align = 1;
			test_data(m, "file, O_DIRECT refused", 300);
			is(f->no_direct, 1, "file: not tried again");
			f->no_direct = 0;
			test_atomic(m, "file, O_DIRECT refused", 50);
		}
		m->ops->close(m);
		vssd_uring_destroy(u);
		unlink(in_dir("nodirect"));
	}
}

static void test_memory_and_quota(void)
{
	struct vssd_uring *u = vssd_uring_create(1, NULL, false);
	struct vssd_media *m = file_media(u, in_dir("quota"), 4096, 4096, true);
	void *none = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct rlimit old, small = { 4096, 0 };
	char buf[4096] = { 1 };

	is(rd(m, 0, buf, 4096), 0, "file: read");
	is(wr(m, 0, none, 4096), SNV_SC_DATA_XFER_ERROR, "file: write from memory that is none");
	m->ops->close(m);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	small.rlim_max = old.rlim_max;
	if (truncate(in_dir("quota"), 6000))
		diag("truncate: %s", strerror(errno));
	m = file_media(u, in_dir("quota"), 0, 4096, true);
	setrlimit(RLIMIT_FSIZE, &small);
	is(wr(m, 4096, buf, 4096), SNV_SC_CAP_EXCEEDED, "file: may not grow: Capacity Exceeded");
	setrlimit(RLIMIT_FSIZE, &old);
	is(wr(m, 4096, buf, 4096), 0, "file: may");
	m->ops->close(m);
	munmap(none, 4096);
	vssd_uring_destroy(u);
	unlink(in_dir("quota"));
}

/* ---- files that cannot be had ----------------------------------------------------------------- */

static void refused(struct vssd_uring *u, struct vssd_file_config c, int want, const char *sentence,
		    const char *what)
{
	struct vssd_media *m = NULL;
	int ret = vssd_file_open(u, &c, &m, why, sizeof(why));

	is(ret, want, "open: %s", what);
	ok(strstr(why, sentence) && strstr(why, c.path), "open: %s: '%s'", what, why);
	if (m)
		m->ops->close(m);
}

static void test_open(void)
{
	struct vssd_uring *u = vssd_uring_create(1, NULL, false);
	struct vssd_file_config ro = { in_dir("ro"), 0, 512, .readonly = true };
	struct vssd_media *m, *m2;
	char buf[512] = { 0 };
	pid_t pid;
	int status;

	refused(u, (struct vssd_file_config){ in_dir("none"), 0, 512, 0, 0 }, -ENOENT, "no size=",
		"a file that is not there");
	refused(u, (struct vssd_file_config){ in_dir("none"), 512, 512, true, 0 }, -ENOENT,
		"not to be written", "one that is not there, readonly");
	refused(u, (struct vssd_file_config){ in_dir("no/ne"), 512, 512, 0, 0 }, -ENOENT, "No such",
		"in a directory that is not there");
	refused(u, (struct vssd_file_config){ dir, 512, 512, 0, 0 }, -EINVAL, "neither",
		"a directory");
	refused(u, (struct vssd_file_config){ "/dev/null", 512, 512, 0, 0 }, -EINVAL, "neither",
		"a character device");
	refused(u, (struct vssd_file_config){ in_dir("huge"), 1ULL << 60, 512, 0, 0 }, -EFBIG,
		"large", "too large a file");
	close(open(in_dir("empty"), O_CREAT | O_RDWR, 0600));
	refused(u, (struct vssd_file_config){ in_dir("empty"), 0, 512, 0, 0 }, -EINVAL, "empty",
		"an empty file");
	m = file_media(u, in_dir("empty"), 1024, 512, false);
	ok(m && m->size == 1024, "open: an empty file, with a size");
	refused(u, (struct vssd_file_config){ in_dir("empty"), 0, 512, 0, 0 }, -EBUSY, "in use",
		"a file in use");
	refused(u, (struct vssd_file_config){ in_dir("empty"), 0, 512, true, 0 }, -EBUSY, "in use",
		"a file in use, readonly");
	m->ops->close(m);
	m = file_media(u, in_dir("empty"), 0, 512, true);
	refused(u, (struct vssd_file_config){ in_dir("empty"), 0, 512, 0, 0 }, -EBUSY, "in use",
		"a file in use, through the page cache");
	m->ops->close(m);
	/* As when its owner was killed and only a transfer past the cache holds it. */
	m = file_media(u, in_dir("empty"), 0, 512, false);
	if (file_of(m)->direct_fd >= 0) {
		int own = dup(file_of(m)->direct_fd);

		m->ops->close(m);
		refused(u, (struct vssd_file_config){ in_dir("empty"), 0, 512, 0, true }, -EBUSY,
			"in use", "a file with a transfer under way");
		close(own);
	} else {
		m->ops->close(m);
	}
	m = file_media(u, in_dir("empty"), 0, 512, false);
	ok(m, "open: no longer in use");
	m->ops->close(m);

	m = file_media(u, in_dir("ro"), 1024, 512, false);
	m->ops->close(m);
	ok(!vssd_file_open(u, &ro, &m, NULL, 0) && m->readonly, "open: readonly");
	ok(!vssd_file_open(u, &ro, &m2, NULL, 0), "open: readonly, twice");
	is(wr(m, 0, buf, 512), SNV_SC_NS_WRITE_PROTECTED, "readonly: no write");
	is(simple(m, VSSD_IO_DISCARD, false, 0, NULL, 512), SNV_SC_NS_WRITE_PROTECTED,
	   "readonly: no discard");
	is(rd(m, 0, buf, 512), 0, "readonly: read");
	is(simple(m, VSSD_IO_FLUSH, false, 0, NULL, 0), 0, "readonly: flush");
	m2->ops->close(m2);
	m->ops->close(m);

	/* As somebody who may only read it. */
	fflush(stdout);
	pid = fork();
	if (!pid) {
		struct vssd_uring *own = vssd_uring_create(1, NULL, true);

		chmod(dir, 0755);
		chmod(in_dir("ro"), 0444);
		if (!geteuid() && (setgroups(0, NULL) || setgid(65534) || setuid(65534)))
			_exit(2);
		m = file_media(own, in_dir("ro"), 0, 512, false);
		_exit(!m || !m->readonly);
	}
	waitpid(pid, &status, 0);
	is(status, 0, "open: a file that may not be written is readonly");
	unlink(in_dir("ro"));
	unlink(in_dir("empty"));
	unlink(in_dir("huge"));
	vssd_uring_destroy(u);
}

/* A block device, if one can be made. */
static void test_block(void)
{
	struct vssd_uring *u = vssd_uring_create(WORKERS, NULL, false);
	char command[PATH_MAX + 64], loop[64] = "";
	struct vssd_media *m;
	FILE *p;

	m = file_media(u, in_dir("disk"), SIZE + 512, 512, false);
	m->ops->close(m);
	snprintf(command, sizeof(command), "losetup -f --show %s 2>/dev/null", in_dir("disk"));
	p = geteuid() ? NULL : popen(command, "r");
	if (!p || !fgets(loop, sizeof(loop), p))
		loop[0] = '\0';
	if (p)
		pclose(p);
	loop[strcspn(loop, "\n")] = '\0';
	if (!loop[0]) {
		skip("no loop device to be had");
	} else {
		m = file_media(u, loop, 0, 4096, false);
		ok(m && m->size == SIZE, "block device: its size rounded down to blocks");
		test_data(m, "block device", 1000);
		test_atomic(m, "block device", 100);
		refused(u, (struct vssd_file_config){ loop, 0, 512, 0, 0 }, -EBUSY, "in use",
			"a block device in use");
		m->ops->close(m);
		snprintf(command, sizeof(command), "losetup -d %s", loop);
		if (system(command))
			diag("%s is left", loop);
	}
	vssd_uring_destroy(u);
	unlink(in_dir("disk"));
}

int main(void)
{
	struct vssd_uring *u;

	if (!mkdtemp(dir))
		skip_all("%s: %s", dir, strerror(errno));
	test_null();
	test_ram();
	test_file_data();
	test_file_keeps();
	test_waiting();
	test_many();
	u = vssd_uring_create(1, NULL, false);
	test_segments(u, "file, ring");
	vssd_uring_destroy(u);
	test_short();
	test_no_direct();
	test_memory_and_quota();
	test_open();
	test_block();
	rmdir(dir);
	return done();
}
