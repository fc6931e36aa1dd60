// SPDX-License-Identifier: MIT
/* vssd/pi.c: protection information, NVM Command Set 5.3. */
#include "../../vssd/pi.c"

#include "tap.h"

#define NLB		3
#define LBA_SIZE	512
#define STRIDE		(LBA_SIZE + 8)
#define ALL_CHECKS \
	(SNV_RW_CDW12_PRCHK_GUARD | SNV_RW_CDW12_PRCHK_APP | SNV_RW_CDW12_PRCHK_REF)

static uint8_t buf[NLB * STRIDE];

static struct vssd_ns namespace(uint32_t type)
{
	struct vssd_ns ns = { .lba_size = LBA_SIZE, .ms = 8, .stride = STRIDE, .pi = type };

	return ns;
}

/* The protection information of block @block. */
static uint8_t *pi_of(uint32_t block)
{
	return buf + block * STRIDE + LBA_SIZE;
}

/* Blocks of data that differ, with metadata that is not right. */
static void fill(void)
{
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 7 + i / STRIDE);
}

static int check(uint32_t type, uint32_t prchk, uint32_t ref_tag, uint16_t app_tag, uint16_t mask)
{
	struct vssd_ns ns = namespace(type);

	return vssd_pi_check(&ns, buf, NLB, prchk, ref_tag, app_tag, mask);
}

static void insert(uint32_t type, uint32_t ref_tag, uint16_t app_tag)
{
	struct vssd_ns ns = namespace(type);

	fill();
	vssd_pi_insert(&ns, buf, NLB, ref_tag, app_tag);
}

/* One bit at a time, straight from the polynomial. */
static uint16_t slow_crc(const uint8_t *p, size_t length)
{
	uint32_t crc = 0;

	while (length--) {
		crc ^= (uint32_t)*p++ << 8;
		for (int bit = 0; bit < 8; bit++)
			crc = crc << 1 ^ (crc & 0x8000 ? 0x18bb7 : 0);
	}
	return (uint16_t)crc;
}

static void test_crc(void)
{
	static const uint8_t zeros[32], ones[32] = { [0 ... 31] = 0xff };
	int wrong = 0;

	is(vssd_crc16(0, "123456789", 9), 0xd0db, "CRC-16/T10-DIF: check value");
	is(vssd_crc16(0, zeros, sizeof(zeros)), 0, "of zeros");
	is(vssd_crc16(0, ones, sizeof(ones)), 0xa293, "of 32 bytes of ones");
	is(vssd_crc16(0, zeros, 0), 0, "of nothing");
	is(vssd_crc16(vssd_crc16(0, "1234", 4), "56789", 5), 0xd0db, "in two parts");
	fill();
	for (size_t length = 0; length < 300; length++)
		wrong += vssd_crc16(0, buf + length, length) != slow_crc(buf + length, length);
	is(wrong, 0, "as the polynomial has it, over 300 lengths");
}

static void test_insert(uint32_t type)
{
	static uint8_t data[NLB * STRIDE];
	bool untouched = true;

	fill();
	memcpy(data, buf, sizeof(buf));
	insert(type, 0xfffffffe, 0xabcd);
	for (uint32_t i = 0; i < NLB; i++) {
		uint8_t *pi = pi_of(i);
		uint16_t crc = slow_crc(buf + i * STRIDE, LBA_SIZE);
		uint32_t ref = type == 3 ? 0xfffffffe : 0xfffffffe + i;

		untouched &= !memcmp(buf + i * STRIDE, data + i * STRIDE, LBA_SIZE);
		is(pi[0] << 8 | pi[1], crc, "type %u, block %u: guard, big-endian", type, i);
		is(pi[2] << 8 | pi[3], 0xabcd, "type %u, block %u: application tag", type, i);
		is((uint32_t)pi[4] << 24 | pi[5] << 16 | pi[6] << 8 | pi[7], ref,
		   "type %u, block %u: reference tag %s", type, i,
		   type == 3 ? "stays" : "counts, and wraps");
	}
	ok(untouched, "type %u: data are untouched", type);
	is(check(type, ALL_CHECKS, 0xfffffffe, 0xabcd, 0xffff), 0,
	   "type %u: what was inserted passes", type);
}

static void test_set_ref(void)
{
	struct vssd_ns ns = namespace(2);

	insert(2, 100, 0xabcd);
	vssd_pi_set_ref(&ns, buf, NLB, 5000);
	is(check(2, ALL_CHECKS, 5000, 0xabcd, 0xffff), 0,
	   "reference tags anew: guard and application tag stay");
	is(check(2, ALL_CHECKS, 100, 0xabcd, 0xffff), SNV_SC_REFTAG_CHECK, "and the old are gone");
}

/* Each check by itself, on the last block: errors are found wherever they are. */
static void test_guard(uint32_t type)
{
	insert(type, 7, 1);
	buf[(NLB - 1) * STRIDE + LBA_SIZE - 1] ^= 1;
	is(check(type, ALL_CHECKS, 7, 1, 0xffff), SNV_SC_GUARD_CHECK,
	   "type %u: the last bit of data is wrong: Guard Check Error", type);
	is(check(type, SNV_RW_CDW12_PRCHK_APP, 7, 1, 0xffff), 0,
	   "type %u: unless PRCHK leaves the guard out", type);
	insert(type, 7, 1);
	pi_of(NLB - 1)[1] ^= 1;
	is(check(type, SNV_RW_CDW12_PRCHK_GUARD, 7, 1, 0xffff), SNV_SC_GUARD_CHECK,
	   "type %u: the guard is wrong: Guard Check Error", type);
}

static void test_app_tag(uint32_t type)
{
	insert(type, 7, 0x12f0);
	is(check(type, ALL_CHECKS, 7, 0x12f1, 0xffff), SNV_SC_APPTAG_CHECK,
	   "type %u: Application Tag Check Error", type);
	is(check(type, ALL_CHECKS, 7, 0x12f1, 0xfff0), 0,
	   "type %u: not in bits that LBATM masks", type);
	is(check(type, ALL_CHECKS, 7, 0x22f0, 0xf000), SNV_SC_APPTAG_CHECK,
	   "type %u: but in those that it does not", type);
	is(check(type, ALL_CHECKS & ~SNV_RW_CDW12_PRCHK_APP, 7, 0, 0xffff), 0,
	   "type %u: unless PRCHK leaves it out", type);
	pi_of(NLB - 1)[3] ^= 0x80;
	is(check(type, ALL_CHECKS, 7, 0x12f0, 0xffff), SNV_SC_APPTAG_CHECK,
	   "type %u: of the last block too", type);
}

static void test_ref_tag(uint32_t type)
{
	int expect = type == 3 ? 0 : SNV_SC_REFTAG_CHECK;

	insert(type, 7, 1);
	is(check(type, ALL_CHECKS, 8, 1, 0xffff), expect,
	   type == 3 ? "type %u has no check of reference tags" :
	   "type %u: Reference Tag Check Error", type);
	is(check(type, ALL_CHECKS & ~SNV_RW_CDW12_PRCHK_REF, 8, 1, 0xffff), 0,
	   "type %u: not if PRCHK leaves it out", type);
	pi_of(NLB - 1)[4] ^= 0x80;
	is(check(type, ALL_CHECKS, 7, 1, 0xffff), expect, "type %u: of the last block", type);
}

/* NVM 5.3: which errors come first when a block has several. */
static void test_order(void)
{
	insert(1, 7, 1);
	memset(pi_of(0), 0, 8);
	is(check(1, ALL_CHECKS, 7, 1, 0xffff), SNV_SC_GUARD_CHECK, "all wrong: the guard is told");
	is(check(1, ALL_CHECKS & ~SNV_RW_CDW12_PRCHK_GUARD, 7, 1, 0xffff), SNV_SC_APPTAG_CHECK,
	   "then the application tag");
	is(check(1, 0, 7, 1, 0xffff), 0, "and nothing if PRCHK is 0");
	insert(1, 7, 1);
	pi_of(1)[7] ^= 1;
	pi_of(2)[0] ^= 1;
	is(check(1, ALL_CHECKS, 7, 1, 0xffff), SNV_SC_REFTAG_CHECK, "the first bad block is told");
}

/* Tags that let a block through unchecked, and it alone. */
static void test_escape(uint32_t type)
{
	insert(type, 7, 1);
	buf[STRIDE] ^= 1;
	memset(pi_of(1) + 2, 0xff, 2);
	is(check(type, ALL_CHECKS, 7, 1, 0xffff), type == 3 ? SNV_SC_GUARD_CHECK : 0,
	   type == 3 ? "type %u: application tag FFFFh alone does not stop the checks" :
	   "type %u: application tag FFFFh stops all checks of its block", type);
	memset(pi_of(1) + 4, 0xff, 4);
	is(check(type, ALL_CHECKS, 7, 1, 0xffff), 0,
	   "type %u: application tag FFFFh with reference tag FFFFFFFFh does", type);
	pi_of(2)[0] ^= 1;
	is(check(type, ALL_CHECKS, 7, 1, 0xffff), SNV_SC_GUARD_CHECK,
	   "type %u: the next block is checked", type);
	insert(type, 7, 1);
	buf[STRIDE] ^= 1;
	memset(pi_of(1) + 4, 0xff, 4);
	is(check(type, SNV_RW_CDW12_PRCHK_GUARD, 7, 1, 0xffff), SNV_SC_GUARD_CHECK,
	   "type %u: reference tag FFFFFFFFh alone does not stop them", type);
}

/* A deallocated block reads as zeros with metadata of ones, and passes every check. */
static void test_deallocated(uint32_t type)
{
	memset(buf, 0, sizeof(buf));
	for (uint32_t i = 0; i < NLB; i++)
		memset(pi_of(i), 0xff, 8);
	is(check(type, ALL_CHECKS, 7, 1, 0xffff), 0, "type %u: deallocated blocks pass", type);
}

/* DPS bit 3: with 8 bytes of metadata first and last are one place. */
static void test_first(void)
{
	static uint8_t last[sizeof(buf)];
	struct vssd_ns ns = namespace(1);

	insert(1, 7, 1);
	memcpy(last, buf, sizeof(buf));
	fill();
	ns.pi_first = true;
	vssd_pi_insert(&ns, buf, NLB, 7, 1);
	ok(!memcmp(buf, last, sizeof(buf)), "DPS bit 3 makes no difference to 8 bytes of metadata");
	is(vssd_pi_check(&ns, buf, NLB, ALL_CHECKS, 7, 1, 0xffff), 0, "and they pass");
}

/* The larger block format. */
static void test_4096(void)
{
	static uint8_t block[4096 + 8];
	struct vssd_ns ns = { .lba_size = 4096, .ms = 8, .stride = sizeof(block), .pi = 1 };

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (uint8_t)(i * 5 + 1);
	vssd_pi_insert(&ns, block, 1, 7, 1);
	is(block[4096] << 8 | block[4097], slow_crc(block, 4096), "guard of a 4,096-byte block");
	block[4095] ^= 1;
	is(vssd_pi_check(&ns, block, 1, ALL_CHECKS, 7, 1, 0xffff), SNV_SC_GUARD_CHECK,
	   "which covers its last byte");
}

int main(void)
{
	test_crc();
	for (uint32_t type = 1; type <= 3; type++) {
		diag("NVM 5.3: type %u", type);
		test_insert(type);
		test_guard(type);
		test_app_tag(type);
		test_ref_tag(type);
		test_escape(type);
		test_deallocated(type);
	}
	test_set_ref();
	test_order();
	test_first();
	test_4096();
	return done();
}
