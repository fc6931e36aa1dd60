// SPDX-License-Identifier: MIT
/*
 * rogue DEV [CASE...]: an owner of raw queues that does all that an owner can do wrong with them,
 * one kind of fault in each case (all of them unless some are named). After each fault: a queue of
 * another session, and the driver's own path on the same disk, go on; the owner's queues can be
 * deleted and made again, and the new ones are good. A lot of what is done here has no defined
 * answer, so what the controller did is written down as a comment instead.
 *
 * Writes blocks 4096 to 32767 of namespace 1, and needs I/O of somebody else's on the same disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <snvme/ioctl.h>
#include <snvme/nvme.h>

#include "tap.h"

#define PAGE		4096UL
#define DEADLINE	300.0		/* s, for whatever has to happen */
#define QUIET		0.3		/* s, in which what must not happen would have */

/* Where things lie in the memory of a pair of queues. */
#define SQ_AT		0UL
#define CQ_AT		(256UL << 10)
#define LIST_AT		(320UL << 10)
#define DATA_AT		(384UL << 10)
#define MEM		(1UL << 20)
#define MOST_ENTRIES	4096U		/* fit in there */

/* Blocks of the namespace. */
#define PATTERN		4096U		/* written once, by a good queue; each tells its number */
#define PATTERNS	16U
#define SCRATCH		8192U		/* may hold anything */

/* Command identifiers of a fault, to tell its completions from those of good commands. */
#define FAULT_CID	0x4000U

struct ring {
	struct snvme_queue_create arg;
	volatile uint32_t *db, *shadow;
	uint32_t index;		/* SQ: tail; CQ: head */
};

/* A session with a submission and a completion queue. */
struct pair {
	int s;
	uint32_t entries;	/* of the SQ */
	uint32_t cq_entries;
	uint32_t mem;
	char *va;
	uint64_t table[MEM / PAGE];
	struct ring sq, cq;
	uint32_t phase;
	uint16_t cid;
};

static const char *dev;
static struct snvme_info first;		/* when all began */
static uint64_t blocks;			/* of 512 bytes: the namespace's size */
static struct pair good, bad;		/* @good does nothing wrong, ever */

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void bail(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- queues by hand ---- */

static int call(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) ? errno : 0;
}

static int release(int s, unsigned long cmd, uint32_t handle)
{
	struct snvme_handle h = { .size = sizeof(h), .handle = handle };

	return call(s, cmd, &h);
}

static struct snvme_info info(int s)
{
	struct snvme_info i = { .size = sizeof(i) };

	if (call(s, SNVME_IOC_INFO, &i))
		bail("info");
	return i;
}

static void *map(int s, uint64_t offset, size_t length)
{
	void *va = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, s, (off_t)offset);

	if (va == MAP_FAILED)
		bail("mmap");
	return va;
}

static uint64_t dma(const struct pair *p, uint64_t at)
{
	return p->table[at / PAGE] + at % PAGE;
}

static int ring_create(struct pair *p, struct ring *r, uint32_t type)
{
	int err;

	r->arg = (struct snvme_queue_create){
		.size = sizeof(r->arg), .type = type, .mem = p->mem,
		.entries = type == SNVME_QUEUE_SQ ? p->entries : p->cq_entries,
		.mem_offset = type == SNVME_QUEUE_SQ ? SQ_AT : CQ_AT,
		.cq = type == SNVME_QUEUE_SQ ? p->cq.arg.handle : 0,
	};
	err = call(p->s, SNVME_IOC_QUEUE_CREATE, &r->arg);
	if (err)
		return err;
	r->index = 0;
	/* Mapped once: the mappings outlive the queue, and that is a way to do wrong. */
	if (!r->db) {
		r->db = (volatile uint32_t *)((char *)map(p->s, r->arg.db_mmap_offset, PAGE) +
					      r->arg.db_offset);
		if (r->arg.shadow_mmap_offset) {
			char *page = map(p->s, r->arg.shadow_mmap_offset, PAGE);

			r->shadow = (volatile uint32_t *)(page + r->arg.shadow_offset);
		}
	}
	return 0;
}

static int queues_create(struct pair *p)
{
	int err = ring_create(p, &p->cq, SNVME_QUEUE_CQ);

	p->phase = 1;
	return err ? err : ring_create(p, &p->sq, SNVME_QUEUE_SQ);
}

static int queues_destroy(struct pair *p)
{
	int err = release(p->s, SNVME_IOC_QUEUE_DESTROY, p->sq.arg.handle);

	return err ? err : release(p->s, SNVME_IOC_QUEUE_DESTROY, p->cq.arg.handle);
}

/* Where this cannot be done there is nothing to test. */
static void pair_open(struct pair *p, uint32_t entries, uint32_t cq_entries)
{
	struct snvme_mem_register m = {
		.size = sizeof(m), .type = SNVME_MEM_KERNEL, .length = MEM,
		.table = (uintptr_t)p->table, .table_entries = MEM / PAGE,
	};
	struct snvme_attach a = { .size = sizeof(a), .fd = open(dev, O_RDWR | O_CLOEXEC) };

	memset(p, 0, sizeof(*p));
	p->s = open("/dev/snvme", O_RDWR | O_CLOEXEC);
	p->entries = entries;
	p->cq_entries = cq_entries;
	errno = call(p->s, SNVME_IOC_ATTACH, &a);
	if (errno)
		bail(dev);
	close(a.fd);
	errno = call(p->s, SNVME_IOC_MEM_REGISTER, &m);
	if (errno)
		bail("memory");
	p->mem = m.handle;
	p->va = map(p->s, m.mmap_offset, MEM);
	errno = queues_create(p);
	if (errno)
		bail("queues");
}

/* Unmaps, too: the session ends with its last mapping. */
static void pair_close(struct pair *p)
{
	struct ring *r[] = { &p->sq, &p->cq };

	for (int i = 0; i < 2; i++) {
		munmap((void *)((uintptr_t)r[i]->db & ~(PAGE - 1)), PAGE);
		if (r[i]->shadow)
			munmap((void *)((uintptr_t)r[i]->shadow & ~(PAGE - 1)), PAGE);
	}
	munmap(p->va, MEM);
	close(p->s);
}

/* The register is written each time: EventIdx only says when that may be left out. */
static void ring_value(struct ring *r, uint32_t value)
{
	__sync_synchronize();
	if (r->shadow)
		*r->shadow = value;
	__sync_synchronize();
	*r->db = value;
}

/* Puts a command into the next slot, without telling the controller. The caller knows of room. */
static void put(struct pair *p, struct snv_sqe sqe)
{
	memcpy(p->va + SQ_AT + p->sq.index * sizeof(sqe), &sqe, sizeof(sqe));
	p->sq.index = (p->sq.index + 1) % p->entries;
}

static void submit(struct pair *p, struct snv_sqe sqe)
{
	put(p, sqe);
	ring_value(&p->sq, p->sq.index);
}

static const struct snv_cqe *peek(const struct pair *p)
{
	const struct snv_cqe *cqe = (void *)(p->va + CQ_AT + p->cq.index * sizeof(*cqe));

	return (__atomic_load_n(&cqe->dw3, __ATOMIC_ACQUIRE) >> 16 & 1) == p->phase ? cqe : NULL;
}

/* The next completion within @seconds, without telling the controller; or false. */
static bool take(struct pair *p, double seconds, struct snv_cqe *out)
{
	const struct snv_cqe *cqe;
	double end = now() + seconds;

	while (!(cqe = peek(p))) {
		if (now() > end)
			return false;
		sched_yield();
	}
	*out = *cqe;
	if (++p->cq.index == p->cq_entries) {
		p->cq.index = 0;
		p->phase ^= 1;
	}
	return true;
}

static bool reap(struct pair *p, double seconds, struct snv_cqe *out)
{
	if (!take(p, seconds, out))
		return false;
	ring_value(&p->cq, p->cq.index);
	return true;
}

static int status_of(const struct snv_cqe *cqe)
{
	return (int)(cqe->dw3 >> SNV_CQE_DW3_STATUS_SHIFT & SNV_STATUS_CODE);
}

static uint16_t cid_of(const struct snv_cqe *cqe)
{
	return (uint16_t)(cqe->dw3 & SNV_CQE_DW3_CID);
}

/* One block of the pattern into page @n of the data. */
static struct snv_sqe read_sqe(const struct pair *p, uint16_t cid, uint32_t n)
{
	return (struct snv_sqe){
		.opcode = SNV_OP_READ, .cid = cid, .nsid = 1,
		.prp1 = dma(p, DATA_AT + n % PATTERNS * PAGE), .cdw10 = PATTERN + n % PATTERNS,
	};
}

/* The status of a command that is alone in the queue; -1: none in time; -2: not this command's. */
static int run(struct pair *p, struct snv_sqe sqe)
{
	struct snv_cqe cqe;

	submit(p, sqe);
	if (!reap(p, DEADLINE, &cqe))
		return -1;
	if (cid_of(&cqe) != sqe.cid || cqe.dw2 >> SNV_CQE_DW2_SQID_SHIFT != p->sq.arg.qid ||
	    (cqe.dw2 & SNV_CQE_DW2_SQHD) != p->sq.index) {
		diag("dw2 %#x dw3 %#x, for identifier %#x, SQ %u, tail %u", cqe.dw2, cqe.dw3,
		     sqe.cid, p->sq.arg.qid, p->sq.index);
		return -2;
	}
	return status_of(&cqe);
}

static void fill(char *block, uint32_t lba)
{
	for (uint32_t i = 0; i < 512; i += 8) {
		uint64_t word = (uint64_t)lba << 32 | (i ^ 0x5ee7);

		memcpy(block + i, &word, 8);
	}
}

/* Are @n commands in turn good ones, with their own completions and data? */
static bool works(struct pair *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		char *data = p->va + DATA_AT + i % PATTERNS * PAGE, expect[512];
		int status;

		memset(data, 0xee, 512);
		fill(expect, PATTERN + i % PATTERNS);
		p->cid = (p->cid + 1) % FAULT_CID;
		status = run(p, read_sqe(p, p->cid, i));
		if (status || memcmp(data, expect, 512)) {
			diag("read %u of %u: status %d%s", i, n, status,
			     status ? "" : ", wrong data");
			return false;
		}
	}
	return true;
}

/* ---- what others see ---- */

/* Commands of the driver's own path that have ended. */
static uint64_t driver_ios(void)
{
	unsigned long long reads = 0, writes = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/block/%sn1/stat", strrchr(dev, '/') + 1);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%llu %*u %*u %*u %llu", &reads, &writes) != 2)
		bail(path);
	fclose(f);
	return reads + writes;
}

static bool driver_goes_on(void)
{
	uint64_t before = driver_ios();
	double end = now() + DEADLINE;

	while (driver_ios() < before + 8) {
		if (now() > end)
			return false;
		usleep(1000);
	}
	return true;
}

static void others(const char *when)
{
	ok(works(&good, 32), "another queue works %s", when);
	ok(driver_goes_on(), "the file system goes on %s", when);
}

/* Asynchronous events that the driver was told of: its tracepoint must be on. */
static unsigned int events(void)
{
	FILE *f = fopen("/sys/kernel/debug/tracing/trace", "r");
	unsigned int n = 0;
	char line[512];

	while (f && fgets(line, sizeof(line), f))
		n += strstr(line, "nvme_async_event:") != NULL;
	if (f)
		fclose(f);
	return n;
}

/* Reads the error log: only then will the controller tell of another error. */
static int rearm_events(void)
{
	static char log[64];
	struct nvme_admin_cmd cmd = {
		.opcode = SNV_ADMIN_GET_LOG_PAGE, .nsid = SNV_NSID_ALL, .addr = (uintptr_t)log,
		.data_len = sizeof(log), .cdw10 = (sizeof(log) / 4 - 1) << 16 | 0x01,
		.timeout_ms = (uint32_t)(DEADLINE * 1000),
	};
	int fd = open(dev, O_RDWR | O_CLOEXEC), ret = ioctl(fd, NVME_IOCTL_ADMIN_CMD, &cmd);

	close(fd);
	return ret;
}

static int kmsg = -1;

/* Shows what the kernel said of disks and DMA since the last call. Was it a DMA fault at @addr? */
static bool kernel_says(uint64_t addr)
{
	char line[1024], wanted[64];
	unsigned int n = 0, shown = 0;
	bool faulted = false;
	ssize_t len;

	snprintf(wanted, sizeof(wanted), "fault addr 0x%llx ", (unsigned long long)addr);
	while ((len = read(kmsg, line, sizeof(line) - 1)) > 0 || (len < 0 && errno == EPIPE)) {
		char *text;

		if (len < 0)
			continue;
		line[len] = 0;
		text = strchr(line, ';');
		if (!text || !(strstr(text, "nvme") || strstr(text, "DMAR")))
			continue;
		faulted |= strstr(text, "DMAR") && strstr(text, wanted);
		text[strcspn(text, "\n")] = 0;
		n++;
		if (shown < 6) {
			diag("the kernel says: %s", text + 1);
			shown++;
		}
	}
	if (n > shown)
		diag("the kernel says %u lines more", n - shown);
	return faulted;
}

/* Deletes the queues that were in trouble and makes new ones, which know nothing of the old. */
static void renew(struct pair *p, const char *after)
{
	const uint32_t sqid = p->sq.arg.qid, cqid = p->cq.arg.qid;
	struct snv_cqe stale;

	is(queues_destroy(p), 0, "delete the queues, %s", after);
	if (!is(queues_create(p), 0, "make them again"))
		bail("no queues");
	ok(p->sq.arg.qid == sqid && p->cq.arg.qid == cqid, "with the same identifiers, %u and %u",
	   sqid, cqid);
	if (!ok(!take(p, QUIET, &stale), "no completion of the old ones is in them"))
		diag("dw2 %#x dw3 %#x", stale.dw2, stale.dw3);
	/* Round both rings. */
	ok(works(p, 2 * p->entries + 3), "they work");
}

/* ---- malformed commands ---- */

/* Statuses and how often each was seen. */
struct seen {
	unsigned int count[SNV_STATUS_CODE + 1];
};

static void show_seen(const struct seen *seen, const char *what)
{
	for (unsigned int i = 0; i <= SNV_STATUS_CODE; i++)
		if (seen->count[i])
			diag("%s: status 0x%03x, %u times", what, i, seen->count[i]);
}

static void opcodes(struct pair *p)
{
	/* Those of NVMe 2.1. What is not among them, and not a vendor's own, can do nothing. */
	static const uint8_t defined[] = {
		0x00, 0x01, 0x02, 0x04, 0x05, 0x08, 0x09, 0x0c, 0x0d, 0x0e, 0x11, 0x12, 0x15, 0x18,
		0x19, 0x1d, 0x79, 0x7a, 0x7d,
	};
	struct seen seen = {};
	unsigned int failed = 0, tried = 0;

	for (unsigned int op = 0; op < 256; op++) {
		int status = run(p, (struct snv_sqe){
			.opcode = (uint8_t)op, .cid = (uint16_t)(FAULT_CID + op),
			.nsid = 0xfffffffe,
		});

		if (status > 0) {
			failed++;
			seen.count[status]++;
		} else {
			diag("opcode %#04x: %d", op, status);
		}
	}
	is(failed, 256, "every opcode, for a namespace that is not");
	show_seen(&seen, "any opcode, namespace 0xfffffffe");
	memset(&seen, 0, sizeof(seen));
	failed = 0;
	for (unsigned int op = 0; op < 0x80; op++) {
		int status;

		if (memchr(defined, (int)op, sizeof(defined)))
			continue;
		tried++;
		status = run(p, (struct snv_sqe){
			.opcode = (uint8_t)op, .cid = (uint16_t)(FAULT_CID + op),
			.nsid = 1, .cdw10 = 0xffffffff, .cdw11 = 0xffffffff,
		});
		if (status > 0) {
			failed++;
			seen.count[status]++;
		} else {
			diag("opcode %#04x: %d", op, status);
		}
	}
	is(failed, tried, "every reserved opcode, for namespace 1");
	show_seen(&seen, "reserved opcodes, namespace 1");
}

enum verdict { MAY_PASS, MUST_FAIL };

/* A controller may overlook some faults, but has to answer. */
TAP_PRINTF(4, 5)
static void faulty(struct pair *p, struct snv_sqe sqe, enum verdict verdict, const char *fmt, ...)
{
	char what[128];
	va_list ap;
	int status;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	sqe.cid = (uint16_t)(FAULT_CID + ++p->cid % FAULT_CID);
	status = run(p, sqe);
	if (!ok(status > 0 || (status == 0 && verdict == MAY_PASS), "%s: it is answered", what))
		diag("%d", status);
	else
		diag("%s: status 0x%03x", what, (unsigned int)status);
}

/* @n pages by a list that goes on at its own start: whatever is read ends in @p's memory. */
static struct snv_sqe list_sqe(struct pair *p, uint8_t opcode, uint32_t n)
{
	uint64_t *list = (uint64_t *)(void *)(p->va + LIST_AT);

	for (unsigned int i = 0; i < PAGE / 8; i++)
		list[i] = dma(p, DATA_AT + i % PATTERNS * PAGE);
	list[PAGE / 8 - 1] = dma(p, LIST_AT);
	return (struct snv_sqe){
		.opcode = opcode, .nsid = 1, .prp1 = dma(p, DATA_AT), .prp2 = dma(p, LIST_AT),
		.cdw10 = SCRATCH, .cdw12 = n * 8 - 1,
	};
}

static void malformed(struct pair *p)
{
	static const uint32_t nsids[] = { 0, 2, 0xfffffffe, SNV_NSID_ALL };
	uint64_t *list = (uint64_t *)(void *)(p->va + LIST_AT);
	struct snv_sqe sqe;

	opcodes(p);

#define FAULTY(base, verdict, change, ...) do {	\
	sqe = base;				\
	change;					\
	faulty(p, sqe, verdict, __VA_ARGS__);	\
} while (0)
#define READ read_sqe(p, 0, 0)
	for (unsigned int i = 0; i < 4; i++)
		FAULTY(READ, MUST_FAIL, sqe.nsid = nsids[i], "namespace %#x", nsids[i]);
	FAULTY(READ, MUST_FAIL, sqe.cdw10 = (uint32_t)blocks; sqe.cdw11 = (uint32_t)(blocks >> 32),
	       "the block after the last");
	FAULTY(READ, MUST_FAIL, sqe.cdw10 = (uint32_t)(blocks - 1); sqe.cdw12 = 1,
	       "across the end");
	FAULTY(READ, MUST_FAIL, sqe.cdw10 = 0xffffffff; sqe.cdw11 = 0xffffffff, "block 2^64 - 1");
	FAULTY(READ, MUST_FAIL, sqe.cdw10 = 0xfffffff8; sqe.cdw11 = 0xffffffff; sqe.cdw12 = 15,
	       "blocks that wrap around");
	FAULTY(list_sqe(p, SNV_OP_READ, 0x2000), MUST_FAIL, , "32 MiB, which is beyond MDTS");

	/* What may make it read from anywhere is a write, for it to store nothing in memory. */
	FAULTY(READ, MAY_PASS, sqe.prp1 += 1, "PRP1 at an odd address");
	FAULTY(READ, MAY_PASS, sqe.prp1 += 2, "PRP1 at an even address, not a multiple of 4");
	FAULTY(list_sqe(p, SNV_OP_WRITE, 2), MAY_PASS, sqe.prp2 = 0, "two pages, PRP2 = 0");
	FAULTY(list_sqe(p, SNV_OP_WRITE, 2), MUST_FAIL, sqe.prp2 = dma(p, DATA_AT) + 8,
	       "two pages, PRP2 within a page");
	FAULTY(list_sqe(p, SNV_OP_WRITE, 4), MAY_PASS, sqe.prp2 += 4, "a list at no multiple of 8");
	FAULTY(list_sqe(p, SNV_OP_WRITE, 4), MUST_FAIL, list[1] += 8,
	       "an entry of a list within a page");
	FAULTY(list_sqe(p, SNV_OP_WRITE, 4), MUST_FAIL, list[1] += 1,
	       "an entry of a list at an odd address");

	FAULTY(READ, MAY_PASS, sqe.cdw2 = ~0U, "dword 2 set");
	FAULTY(READ, MAY_PASS, sqe.cdw3 = ~0U, "dword 3 set");
	for (unsigned int bit = 2; bit < 6; bit++)
		FAULTY(READ, MAY_PASS, sqe.flags = (uint8_t)(1U << bit), "reserved flag %u", bit);
	for (unsigned int bit = 16; bit < 32; bit++)
		FAULTY(READ, MAY_PASS, sqe.cdw12 = 1U << bit, "bit %u of dword 12", bit);
	FAULTY(READ, MAY_PASS, sqe.cdw13 = ~0U, "dword 13 set");
	FAULTY(READ, MAY_PASS, sqe.cdw14 = ~0U, "dword 14 set");
	FAULTY(READ, MAY_PASS, sqe.cdw15 = ~0U, "dword 15 set");
	FAULTY(READ, MAY_PASS, sqe.mptr = dma(p, DATA_AT), "a metadata pointer");
	FAULTY(READ, MAY_PASS, sqe.mptr = ~0ULL, "a metadata pointer to nowhere");

	FAULTY(READ, MUST_FAIL, sqe.flags = SNV_SQE_FUSE_FIRST, "fused, first, with no second");
	FAULTY(READ, MUST_FAIL, sqe.flags = SNV_SQE_FUSE_SECOND, "fused, second, with no first");
	FAULTY(READ, MUST_FAIL, sqe.flags = SNV_SQE_FUSE, "fused, reserved value");
	/* PRP1 is the address, PRP2 has length and type. */
	FAULTY(READ, MUST_FAIL, sqe.flags = SNV_SQE_PSDT_SGL, "an SGL of no bytes");
	FAULTY(READ, MUST_FAIL, sqe.flags = SNV_SQE_PSDT_SGL; sqe.prp2 = 256,
	       "an SGL that is too short");
	for (uint64_t type = 1; type < 16; type++)
		FAULTY(READ, MUST_FAIL, sqe.flags = SNV_SQE_PSDT_SGL; sqe.prp2 = type << 60,
		       "an SGL descriptor of type %#x, of no bytes", (unsigned int)type);
	FAULTY(READ, MUST_FAIL, sqe.flags = SNV_SQE_PSDT_SGL_MSEG; sqe.mptr = ~0ULL,
	       "an SGL of metadata, nowhere");
	FAULTY(READ, MUST_FAIL, sqe.flags = SNV_SQE_PSDT, "PSDT, reserved value");
#undef READ
#undef FAULTY
	ok(works(p, 32), "a good command on the same queue");
	others("after malformed commands");
	renew(p, "after malformed commands");
}

/* ---- what is wrong with the use of a queue ---- */

static void duplicates(struct pair *p)
{
	struct snv_cqe cqe;
	struct seen seen = {};
	unsigned int n = 0, right = 0;

	/* Told all at once, for them to be in flight together. */
	for (unsigned int i = 0; i < p->entries - 1; i++)
		put(p, read_sqe(p, FAULT_CID, i));
	ring_value(&p->sq, p->sq.index);
	while (n < p->entries - 1 && reap(p, DEADLINE, &cqe)) {
		int status = status_of(&cqe);

		n++;
		right += cid_of(&cqe) == FAULT_CID && (!status || status == SNV_SC_CID_CONFLICT);
		seen.count[status]++;
	}
	is(n, p->entries - 1, "as many completions as commands of one identifier");
	is(right, n, "each is a success, or a conflict");
	ok(!take(p, QUIET, &cqe), "and no more");
	show_seen(&seen, "commands of one identifier");
	ok(works(p, 32), "a good command on the same queue");
	others("after that");
	renew(p, "after that");
}

/* How many completions come until none has come for a while; at most @most. */
static unsigned int drain(struct pair *p, unsigned int most, struct seen *seen)
{
	struct snv_cqe cqe;
	unsigned int n = 0;

	while (n < most && reap(p, 2 * QUIET, &cqe)) {
		n++;
		seen->count[status_of(&cqe)]++;
	}
	return n;
}

/* Good commands in each slot of the ring: what the controller should not look at does no harm. */
static void old_commands(struct pair *p)
{
	for (uint32_t i = 0; i < p->entries; i++) {
		struct snv_sqe sqe = read_sqe(p, (uint16_t)(FAULT_CID + i), i);

		memcpy(p->va + SQ_AT + i * sizeof(sqe), &sqe, sizeof(sqe));
	}
}

static void sq_tail_out_of_range(struct pair *p)
{
	uint32_t values[] = { p->entries, p->entries + 1, 0xffff, 0x10000, 0xffffffff };
	struct seen seen = {};
	struct snv_cqe cqe;
	unsigned int n;
	double end;

	/* The register alone. */
	for (unsigned int i = 0; i < 5; i++)
		*p->sq.db = values[i];
	n = drain(p, 100, &seen);
	diag("SQ tail beyond the ring in the register: %u completions", n);
	show_seen(&seen, "SQ tail beyond the ring in the register");
	others("after an SQ tail beyond the ring");
	/* The next tail may be refused, or lead the controller on to where it belongs. */
	diag("the queue %s", works(p, 4) ? "goes on as if nothing had been" : "works no more");
	renew(p, "after an SQ tail beyond the ring");

	if (!p->sq.shadow) {
		skip("the controller has no shadow doorbells");
		return;
	}
	/* The controller takes the shadow for granted, and may run round the ring for ever. */
	memset(&seen, 0, sizeof(seen));
	old_commands(p);
	*p->sq.shadow = p->entries;
	__sync_synchronize();
	*p->sq.db = 1;
	n = 0;
	for (end = now() + 2; now() < end;)
		if (reap(p, 0.1, &cqe)) {
			seen.count[status_of(&cqe)]++;
			n++;
		}
	diag("SQ tail beyond the ring of %u in the shadow: %u completions in 2 s", p->entries, n);
	show_seen(&seen, "SQ tail beyond the ring in the shadow");
	others("while an SQ tail is beyond the ring");
	renew(p, "with an SQ tail beyond the ring");
}

static void sq_tail_backwards(struct pair *p)
{
	struct seen seen = {};
	unsigned int n;

	ok(works(p, p->entries + 8), "the tail is at 8");
	old_commands(p);
	ring_value(&p->sq, 7);
	n = drain(p, 2 * p->entries, &seen);
	diag("SQ tail from 8 back to 7 in a ring of %u: %u completions", p->entries, n);
	ok(n <= p->entries - 1, "the controller goes round once at most");
	show_seen(&seen, "SQ tail backwards");
	others("after an SQ tail that went backwards");
	renew(p, "after an SQ tail that went backwards");
}

static void cq_head_out_of_range(struct pair *p)
{
	uint32_t values[] = { p->cq_entries, p->cq_entries + 1, 0xffff, 0x10000, 0xffffffff };
	struct snv_cqe cqe;
	unsigned int n = 0;

	for (unsigned int i = 0; i < 5; i++)
		*p->cq.db = values[i];
	others("after a CQ head beyond the ring");
	diag("the queue %s", works(p, 4) ? "goes on as if nothing had been" : "works no more");
	renew(p, "after a CQ head beyond the ring");

	if (!p->cq.shadow) {
		skip("the controller has no shadow doorbells");
		return;
	}
	/* The head alone is wrong: submit, and look what is posted, twice as many as fit. */
	*p->cq.shadow = p->cq_entries;
	for (unsigned int i = 0; i < 2 * p->cq_entries; i++) {
		submit(p, read_sqe(p, (uint16_t)(FAULT_CID + i), i));
		if (!take(p, 2 * QUIET, &cqe))
			break;
		n++;
	}
	diag("CQ head beyond the ring of %u in the shadow: %u completions", p->cq_entries, n);
	others("while a CQ head is beyond the ring");
	renew(p, "with a CQ head beyond the ring");
}

static void cq_head_ahead(struct pair *p)
{
	struct snv_cqe cqe;
	unsigned int n = 0;

	/* Nothing was posted, and we have seen 1; and then 5. */
	for (uint32_t head = 1; head < 6; head += 4) {
		ring_value(&p->cq, head);
		for (n = 0; n < 8; n++) {
			submit(p, read_sqe(p, (uint16_t)(FAULT_CID + n), n));
			if (!take(p, 2 * QUIET, &cqe))
				break;
		}
		diag("CQ head %u ahead of what is posted: %u of 8 commands complete", head, n);
		others("while a CQ head is ahead of what is posted");
		renew(p, "with a CQ head ahead of what is posted");
	}
}

static void deleted_queue(struct pair *p)
{
	static const uint32_t values[] = { 1, 0, 5, 0xffff };
	struct snvme_info i = info(p->s), j;
	uint32_t sqid = p->sq.arg.qid, cqid = p->cq.arg.qid;

	is(queues_destroy(p), 0, "delete the queues");
	for (unsigned int k = 0; k < 4; k++) {
		ring_value(&p->sq, values[k]);
		ring_value(&p->cq, values[k]);
	}
	others("after the doorbells of deleted queues rang");
	j = info(p->s);
	ok(j.state == SNVME_STATE_LIVE && j.epoch == i.epoch, "the controller is live");
	/* They left 65535 in the shadow: new queues are not to start there. */
	is(queues_create(p), 0, "make them again");
	ok(p->sq.arg.qid == sqid && p->cq.arg.qid == cqid, "with the same identifiers, %u and %u",
	   sqid, cqid);
	is(p->sq.shadow ? *p->sq.shadow : 0, 0, "from 0");
	ok(works(p, 2 * p->entries + 3), "they work");
	renew(p, "once more");
}

static void full_cq(struct pair *p)
{
	const unsigned int n = p->entries - 1;
	struct snv_cqe cqe;
	unsigned int posted = 0, right = 0;
	bool seen[256] = {};

	for (int round = 0; round < 2; round++) {
		struct pair before;

		for (unsigned int i = 0; i < n; i++)
			submit(p, read_sqe(p, (uint16_t)(FAULT_CID + i), i));
		before = *p;
		for (posted = 0; posted < p->cq_entries - 1 && take(p, DEADLINE, &cqe);)
			posted++;
		is(posted, p->cq_entries - 1, "%u commands fill the CQ of %u", n, p->cq_entries);
		ok(!take(p, QUIET, &cqe), "and no more");
		others("while a CQ is full");
		if (round)
			break;
		/* Back to where we were: nothing has been told yet. */
		p->cq.index = before.cq.index;
		p->phase = before.phase;
		while (right < n && reap(p, DEADLINE, &cqe)) {
			unsigned int i = cid_of(&cqe) - FAULT_CID;

			if (i >= n || seen[i] || status_of(&cqe))
				break;
			seen[i] = true;
			right++;
		}
		is(right, n, "drained: each command has completed, once");
		ok(works(p, 32), "a good command on the same queue");
		renew(p, "after that");
	}
	renew(p, "with a full CQ and commands that wait for it");
}

/* ---- more than the owner's share ---- */

static void flood(struct pair *unused)
{
	enum { QUEUES = 4 };
	static struct pair p[QUEUES];
	uint32_t entries = (uint32_t)(first.cap & 0xffff) + 1, in_flight[QUEUES] = {};
	uint64_t submitted = 0, completed = 0, errors = 0, ios = driver_ios();
	double begin, end, worst = 0, last = now();
	unsigned int checks = 0, failed = 0;

	if (entries > MOST_ENTRIES)
		entries = MOST_ENTRIES;
	for (int i = 0; i < QUEUES; i++)
		pair_open(&p[i], entries, entries);
	diag("%d queues of %u entries", QUEUES, entries);
	/*
	 * For 8 s all are kept full, and until the driver has got through, which may take longer on a busy
	 * machine; then all that is in flight has to come back.
	 */
	begin = now();
	end = begin + 8;
	while (now() < end || (submitted != completed && now() < last + DEADLINE)) {
		if (now() > end - 0.1 && now() < begin + 60 && driver_ios() == ios)
			end = now() + 1;
		for (int i = 0; i < QUEUES; i++) {
			struct snv_cqe cqe;
			unsigned int got = 0, put_now = 0;

			while (got < 256 && take(&p[i], 0, &cqe)) {
				got++;
				errors += status_of(&cqe) || cid_of(&cqe) >= entries;
			}
			if (got) {
				ring_value(&p[i].cq, p[i].cq.index);
				last = now();
			}
			in_flight[i] -= got;
			completed += got;
			while (now() < end && in_flight[i] < entries - 1 && put_now < 256) {
				put(&p[i], read_sqe(&p[i], (uint16_t)p[i].sq.index, p[i].sq.index));
				in_flight[i]++;
				put_now++;
			}
			if (put_now)
				ring_value(&p[i].sq, p[i].sq.index);
			submitted += put_now;
		}
		/* Another owner wants one block, now and then. */
		if (now() < end && now() > begin + 0.5 * checks) {
			double start = now();

			checks++;
			failed += !works(&good, 1);
			worst = now() - start > worst ? now() - start : worst;
		}
	}
	ios = driver_ios() - ios;
	is(completed, submitted, "every command of the flood completes");
	is(errors, 0, "with success");
	ok(checks && !failed, "another queue goes on under the flood");
	ok(ios, "the file system goes on under the flood");
	diag("%llu commands of the flood, %llu of the driver; %u of a good queue, %.0f ms at most",
	     (unsigned long long)completed, (unsigned long long)ios, checks, worst * 1e3);
	for (int i = 0; i < QUEUES; i++) {
		submitted = works(&p[i], 4);
		is(submitted, 1, "queue %d works after it", i);
		is(queues_destroy(&p[i]), 0, "and is deleted");
		pair_close(&p[i]);
	}
	others("after the flood");
}

/* ---- addresses ---- */

/* A page of ours that is not registered, and where it lies in the machine's memory. */
static uint64_t physical(const char *va)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (pread(fd, &entry, 8, (off_t)((uintptr_t)va / PAGE * 8)) != 8 || !(entry >> 63))
		bail("pagemap");
	close(fd);
	return (entry & ((1ULL << 55) - 1)) * PAGE;
}

#define CANARY	0xc5

static char *canaries(size_t length)
{
	char *va = mmap(NULL, length, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (va == MAP_FAILED || mlock(va, length))
		bail("memory");
	memset(va, CANARY, length);
	return va;
}

static bool unharmed(const char *va, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (va[i] != (char)CANARY)
			return false;
	return true;
}

/*
 * Data at @addr: a write, a read, and a read by a list that has it among good entries; then a list
 * at @addr. Each should end with an error. QEMU's controller is not told that data was dropped on
 * its way, or made up, and says 0; so it is the memory and the disk that are looked at.
 */
static void address(struct pair *p, uint64_t addr, const char *what)
{
	const bool iommu = first.ctrl_flags & SNVME_CTRL_IOMMU;
	uint64_t *list = (uint64_t *)(void *)(p->va + LIST_AT);
	static const char *const how[] = {
		"write from", "read to", "a list that leads to", "a list at",
	};
	char *data = p->va + DATA_AT, stolen[512];
	struct snv_sqe sqe;
	double end;
	bool told;

	/* The kernel tells of so many faults in 5 s. */
	if (iommu)
		sleep(6);
	kernel_says(0);
	for (int i = 0; i < 4; i++) {
		int status;

		if (i < 2)
			sqe = read_sqe(p, 0, 0);
		else
			sqe = list_sqe(p, SNV_OP_READ, 8);
		if (!i)
			sqe.opcode = SNV_OP_WRITE;
		sqe.cdw10 = SCRATCH;
		if (i < 2)
			sqe.prp1 = addr;
		else if (i == 2)
			list[2] = addr;
		else
			sqe.prp2 = addr;
		sqe.cid = (uint16_t)(FAULT_CID + ++p->cid % FAULT_CID);
		status = run(p, sqe);
		if (ok(status >= 0, "%s %s: it is answered", how[i], what))
			diag("%s %s, %#llx: status 0x%03x", how[i], what, (unsigned long long)addr,
			     (unsigned int)status);
	}
	ok(works(p, 4), "a good command on the same queue");
	if (!iommu)
		return;
	sqe = read_sqe(p, 0, 0);
	sqe.cdw10 = SCRATCH;
	memset(stolen, CANARY, sizeof(stolen));
	ok(!run(p, sqe) && memcmp(data, stolen, sizeof(stolen)),
	   "the disk has not got what is there");
	for (end = now() + DEADLINE; !(told = kernel_says(addr)) && now() < end;)
		usleep(10000);
	ok(told, "the IOMMU tells of faults there");
}

static void addresses(struct pair *p)
{
	const size_t length = 4UL << 20;
	uint64_t table[1024];
	struct snvme_mem_register m = {
		.size = sizeof(m), .type = SNVME_MEM_USER, .length = length,
		.table = (uintptr_t)table, .table_entries = 1024,
	};
	char *never, *once;

	if (first.ctrl_flags & SNVME_CTRL_IOMMU) {
		address(p, 0, "address 0");
		never = canaries(PAGE);
		address(p, physical(never), "memory of ours that was never registered");
		ok(unharmed(never, PAGE), "that memory has not changed");
		/*
		 * The first page of a long registration: addresses are given out again from its
		 * other end, and are the driver's as soon as it has data to move.
		 */
		once = canaries(length);
		m.addr = (uintptr_t)once;
		is(call(p->s, SNVME_IOC_MEM_REGISTER, &m), 0, "register");
		is(release(p->s, SNVME_IOC_MEM_UNREGISTER, m.handle), 0, "unregister");
		address(p, table[0], "memory that is registered no more");
		ok(unharmed(once, length), "that memory has not changed");
		munmap(never, PAGE);
		munmap(once, length);
	} else {
		skip("addresses that are not registered: without an IOMMU a raw queue reaches all "
		     "memory; that is why it takes CAP_SYS_RAWIO");
	}
	address(p, 1ULL << 38, "an address beyond all memory");
	address(p, 1ULL << 50, "an address beyond any machine's");
	address(p, ~0ULL << 12, "the last page of all");
	others("after wrong addresses");
	renew(p, "after wrong addresses");
}

/* ---- an owner that dies ---- */

static void killed(struct pair *unused)
{
	struct snvme_info before = info(good.s), after;
	unsigned int rounds = 10, died = 0;

	for (unsigned int i = 0; i < rounds; i++) {
		static struct pair p;
		int pipes[2], status;
		char said;
		pid_t pid;

		if (pipe(pipes))
			bail("pipe");
		pid = fork();
		if (!pid) {
			alarm(60);
			pair_open(&p, 256, 4);
			for (unsigned int k = 0; k < 255; k++)
				put(&p, read_sqe(&p, (uint16_t)(FAULT_CID + k), k));
			ring_value(&p.sq, p.sq.index);
			if (write(pipes[1], "!", 1) == 1)
				pause();
			_exit(1);
		}
		close(pipes[1]);
		/* Half of them with all posted that can be, half of them in the midst. */
		if (read(pipes[0], &said, 1) == 1)
			usleep(i % 2 ? 500000 : i * 1000);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		died += WIFSIGNALED(status);
		close(pipes[0]);
		if (!i)
			others("after one was killed with a full CQ");
	}
	is(died, rounds, "killed with a full CQ and commands in flight");
	after = info(good.s);
	ok(after.used_sq == before.used_sq && after.used_cq == before.used_cq,
	   "their queues are gone");
	others("after they were killed");
}

static const struct {
	const char *name;
	void (*run)(struct pair *p);
	uint32_t entries;	/* of a pair made for it */
	uint32_t cq_entries;
} cases[] = {
	{ "malformed", malformed, 16, 16 },
	{ "duplicates", duplicates, 64, 64 },
	{ "sq_tail_range", sq_tail_out_of_range, 16, 16 },
	{ "sq_tail_back", sq_tail_backwards, 16, 16 },
	{ "cq_head_range", cq_head_out_of_range, 16, 16 },
	{ "cq_head_ahead", cq_head_ahead, 16, 16 },
	{ "deleted", deleted_queue, 16, 16 },
	{ "full_cq", full_cq, 128, 4 },
	{ "flood", flood, 0, 0 },
	{ "addresses", addresses, 16, 16 },
	{ "killed", killed, 0, 0 },
};

static void run_case(unsigned int i)
{
	struct snvme_info before, after;
	unsigned int events_before;
	double start = now();

	diag("---- %s", cases[i].name);
	kernel_says(0);
	is(rearm_events(), 0, "%s: the controller answers admin commands", cases[i].name);
	usleep(100000);
	events_before = events();
	before = info(good.s);
	if (cases[i].entries)
		pair_open(&bad, cases[i].entries, cases[i].cq_entries);
	cases[i].run(&bad);
	if (cases[i].entries)
		pair_close(&bad);
	after = info(good.s);
	ok(after.state == SNVME_STATE_LIVE && after.epoch == before.epoch, "%s: no reset",
	   cases[i].name);
	ok(after.used_sq == before.used_sq && after.used_cq == before.used_cq &&
	   after.spare_sq == before.spare_sq, "%s: no queue is left", cases[i].name);
	kernel_says(0);
	diag("%s: %u asynchronous events, %.1f s", cases[i].name, events() - events_before,
	     now() - start);
}

int main(int argc, char **argv)
{
	const unsigned int n = sizeof(cases) / sizeof(cases[0]);
	unsigned int right = 0;
	char path[64];
	FILE *f;

	dev = argc > 1 ? argv[1] : "/dev/nvme0";
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	lseek(kmsg, 0, SEEK_END);
	snprintf(path, sizeof(path), "/sys/block/%sn1/size", strrchr(dev, '/') + 1);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%lu", &blocks) != 1)
		bail(path);
	fclose(f);
	pair_open(&good, 16, 16);
	first = info(good.s);
	for (uint32_t i = 0; i < PATTERNS; i++) {
		struct snv_sqe sqe = read_sqe(&good, (uint16_t)i, i);

		sqe.opcode = SNV_OP_WRITE;
		fill(good.va + DATA_AT + i * PAGE, PATTERN + i);
		right += !run(&good, sqe);
	}
	is(right, PATTERNS, "blocks to be read again and again");
	for (unsigned int i = 0; i < n; i++) {
		bool wanted = argc < 3;

		for (int k = 2; k < argc; k++)
			wanted |= !strcmp(argv[k], cases[i].name);
		if (wanted)
			run_case(i);
	}
	is(queues_destroy(&good), 0, "the good queues are deleted, too");
	pair_close(&good);
	return done();
}
