// SPDX-License-Identifier: MIT
/*
 * Data pointers and end-to-end protection: PRPs (Base 2.0 section 4.1.1), SGLs (4.1.2), metadata and protection
 * information (NVM 1.0 section 5.2). The CRC here is computed bit by bit from its polynomial.
 */
#include "vssd_rig.h"

/* ---- PRP -------------------------------------------------------------------------------------- */

/* Every offset and many lengths, scattered memory, lists that begin anywhere and chain. */
static void prp_shapes(bool scatter, bool async)
{
	static const uint32_t bytes[] = { 512, 3584, 4096, 4608, 8192, 8704, 12288, 65536, 131072 };
	static const uint32_t offset[] = { 0, 4, 512, 2048, 3584, 4092 };
	static const uint32_t list_off[] = { 0, 8, 2048, 4080, 4088 };
	struct rig_config g;
	struct rig *r;
	uint32_t b, o, l, bad = 0, n = 0;

	rig_defaults(&g);
	r = rig_open(&g);
	r->scatter = scatter;
	r->chop = async;
	rig_enable(r);
	rig_create_pair(r, 1, 64);
	r->ram->async = async;
	for (b = 0; b < sizeof(bytes) / 4; b++)
		for (o = 0; o < sizeof(offset) / 4; o++)
			for (l = 0; l < sizeof(list_off) / 4; l++) {
				uint32_t top = r->top, nlb = bytes[b] / 512;
				uint64_t a = rig_mem(r, bytes[b] + 4096), c = rig_mem(r, bytes[b] + 4096);
				struct snv_sqe sqe = rig_rw(r, SNV_OP_WRITE, 7, nlb);

				n++;
				rig_pattern(r, a + offset[o], bytes[b], n);
				rig_prp_at(r, &sqe, a + offset[o], bytes[b], list_off[l]);
				bad += rig_do(r, 1, &sqe) != 0;
				sqe = rig_rw(r, SNV_OP_READ, 7, nlb);
				rig_prp_at(r, &sqe, c + offset[o], bytes[b], list_off[l]);
				bad += rig_do(r, 1, &sqe) != 0;
				bad += !rig_pattern_is(r, c + offset[o], bytes[b], n) ||
				       !rig_all(r, c, offset[o], 0) ||
				       !rig_all(r, c + offset[o] + bytes[b], 4096 - offset[o], 0);
				rig_release(r, top);
			}
	is(bad, 0, "Base 4.1.1 %u shapes of PRPs%s%s: written and read back, nothing beside", n,
	   scatter ? ", scattered" : "", async ? ", asynchronous" : "");
	rig_close(r, "PRP shapes");
}

/*
 * 2 MiB from an offset are PRP1 and 512 entries. Chained lists begin at their page's start. In the last slot
 * of a page is a link, unless the entry there is the last of all.
 */
static void prp_chain(void)
{
	static const uint32_t off[] = { 0, 8, 4080, 4088 };
	struct rig_config g;
	struct rig *r;
	uint64_t a;
	uint32_t i, k;

	rig_defaults(&g);
	g.c.mdts = 9;
	r = rig_start(&g);
	a = rig_mem(r, (2 << 20) + 4096);
	for (i = 0; i < (2 << 20); i += 512)
		memset(r->ram->data + i, (int)(i / 512 % 251), 512);
	for (k = 0; k < 4; k++) {
		struct snv_sqe sqe = rig_rw(r, SNV_OP_READ, 0, 4096);

		rig_fill(r, a, 0xff, (2 << 20) + 4096);
		rig_prp_at(r, &sqe, a + 512, 2 << 20, off[k]);
		is(rig_do(r, 1, &sqe), 0, "Base 4.1.1 2 MiB, the first list at %u of its page", off[k]);
		for (i = 0; i < 4096 && rig_all(r, a + 512 + i * 512ull, 512, (int)(i % 251)); i++)
			;
		is(i, 4096, "Base 4.1.1 each block in its place");
		ok(rig_all(r, a, 512, 0xff) && rig_all(r, a + 512 + (2 << 20), 3584, 0xff),
		   "Base 4.1.1 and nothing beside them");
	}
	{
		struct snv_sqe sqe = rig_rw(r, SNV_OP_READ, 0, 4096);
		uint64_t list = rig_mem(r, 4096), next = rig_mem(r, 8192);
		__le64 link = snv_le64(next + 8);

		for (i = 0; i < 512; i++) {
			__le64 e = snv_le64(a + 4096 + i * 4096ull);

			rig_put(r, next + 8 + i * 8ull, &e, 8);
		}
		rig_put(r, list + 4088, &link, 8);
		sqe.prp1 = snv_le64(a);
		sqe.prp2 = snv_le64(list + 4088);
		is(rig_do(r, 1, &sqe), SNV_SC_PRP_INVALID_OFFSET,
		   "Base 4.1.1 a chained list with an offset: PRP Offset Invalid");
	}
	rig_close(r, "PRP chain");
}

static void prp_errors(void)
{
	struct rig *r = rig_plain();
	uint64_t a = rig_mem(r, 65536), list = rig_mem(r, 4096), hole;
	__le64 e[16];
	struct snv_sqe sqe;
	uint32_t i, op;

	for (op = SNV_OP_WRITE; op <= SNV_OP_READ; op++) {
		const char *name = op == SNV_OP_READ ? "Read" : "Write";

		sqe = rig_rw(r, (uint8_t)op, 0, 16);
		sqe.prp1 = snv_le64(a);
		sqe.prp2 = snv_le64(a + 4096 + 512);
		is(rig_do(r, 1, &sqe), SNV_SC_PRP_INVALID_OFFSET,
		   "Base 4.1.1 %s: a second entry with an offset: PRP Offset Invalid", name);
		sqe = rig_rw(r, (uint8_t)op, 0, 64);
		sqe.prp1 = snv_le64(a);
		sqe.prp2 = snv_le64(list + 4);
		for (i = 0; i < 16; i++)
			e[i] = snv_le64(a + 4096 + i * 4096ull);
		rig_put(r, list, e, sizeof(e));
		is(rig_do(r, 1, &sqe), SNV_SC_PRP_INVALID_OFFSET,
		   "Base 4.1.1 %s: a list not at a quadword: PRP Offset Invalid", name);
		sqe.prp2 = snv_le64(list);
		e[3] = snv_le64(a + 4 * 4096 + 4);
		rig_put(r, list, e, sizeof(e));
		is(rig_do(r, 1, &sqe), SNV_SC_PRP_INVALID_OFFSET,
		   "Base 4.1.1 %s: a list entry with an offset: PRP Offset Invalid", name);
		e[3] = snv_le64(0xdead00000ull);
		rig_put(r, list, e, sizeof(e));
		ok(rig_do(r, 1, &sqe) > 0, "Base 4.1.1 %s: a list entry of memory that isn't there", name);
		sqe.prp2 = snv_le64(0xbeef0000);
		ok(rig_do(r, 1, &sqe) > 0, "Base 4.1.1 %s: a list that isn't there", name);
		sqe = rig_rw(r, (uint8_t)op, 0, 1);
		sqe.prp1 = snv_le64(0);
		ok(rig_do(r, 1, &sqe) > 0, "Base 4.1.1 %s: PRP1 0", name);
		sqe.prp1 = snv_le64(UINT64_MAX - 511);
		ok(rig_do(r, 1, &sqe) > 0, "Base 4.1.1 %s: PRP1 at the end of the address space", name);
		sqe = rig_rw(r, (uint8_t)op, 0, 16);
		hole = rig_mem(r, 8192);
		rig_set_mapped(r, hole + 4096, false);
		sqe.prp1 = snv_le64(hole);
		sqe.prp2 = snv_le64(hole + 4096);
		ok(rig_do(r, 1, &sqe) > 0, "Base 4.1.1 %s: the second page isn't there", name);
		/* A list that ends in itself for ever is no longer than the transfer. */
		for (i = 0; i < 512; i++) {
			__le64 self = snv_le64(list);

			rig_put(r, list + i * 8ull, &self, 8);
		}
		sqe = rig_rw(r, (uint8_t)op, 0, 2048);
		sqe.prp1 = snv_le64(a);
		sqe.prp2 = snv_le64(list + 4088);
		ok(rig_do(r, 1, &sqe) != RIG_NO_CQE, "Base 4.1.1 %s: a list linked to itself ends", name);
		/* Two entries' worth with low bits: ignored or refused, never beyond. */
		sqe = rig_rw(r, (uint8_t)op, 0, 1);
		sqe.prp1 = snv_le64(a + 1);
		i = (uint32_t)rig_do(r, 1, &sqe);
		ok(i == SNV_SC_PRP_INVALID_OFFSET || i == 0,
		   "Base 4.1.1 %s: an address that is no dword's (%03xh)", name, i);
	}
	is(rig_io(r, SNV_OP_READ, 0, 8, a, 4096), 0, "NVM 3.2.4 after all that a read works");
	is(rig_get32(r, SNV_REG_CSTS), SNV_CSTS_RDY, "Base 3.1.3.6 and nothing was fatal");
	rig_close(r, "PRP errors");
}

/* ---- SGL -------------------------------------------------------------------------------------- */

static struct rig *sgl_rig(void)
{
	struct rig_config g;
	struct rig *r;
	uint32_t i;

	rig_defaults(&g);
	g.c.sgl = true;
	r = rig_start(&g);
	for (i = 0; i < 8192; i++)
		memset(r->ram->data + i * 512ull, (int)(i % 251), 512);
	return r;
}

static bool block_is(struct rig *r, uint64_t addr, uint32_t lba)
{
	return rig_all(r, addr, 512, (int)(lba % 251));
}

static void sgl_good(void)
{
	struct rig *r = sgl_rig();
	uint64_t a = rig_mem(r, 65536), seg[3];
	struct snv_sgl_desc d[300];
	struct snv_sqe sqe;
	uint32_t i, at, bad;

	for (i = 0; i < 3; i++)
		seg[i] = rig_mem(r, 8192);

	sqe = rig_rw(r, SNV_OP_READ, 10, 8);
	rig_sgl1(&sqe, rig_sgl(SGL_DATA, a + 3, 4096));
	is(rig_do(r, 1, &sqe), 0, "Base 4.1.2 SGL1 a data block, at any byte");
	ok(block_is(r, a + 3, 10) && block_is(r, a + 3 + 3584, 17) && rig_all(r, a, 3, 0) &&
	   rig_all(r, a + 4099, 100, 0), "Base 4.1.2 its data, and no more");

	rig_fill(r, a, 0, 65536);
	for (i = 0; i < 8; i++)
		d[i] = rig_sgl(SGL_DATA, a + (7 - i) * 1024ull, 512);
	rig_put(r, seg[0], d, 8 * 16);
	sqe = rig_rw(r, SNV_OP_READ, 20, 8);
	rig_sgl1(&sqe, rig_sgl(SGL_LAST, seg[0], 8 * 16));
	is(rig_do(r, 1, &sqe), 0, "Base 4.1.2 a last segment of 8 data blocks");
	for (i = bad = 0; i < 8; i++)
		bad += !block_is(r, a + (7 - i) * 1024ull, 20 + i) ||
		       !rig_all(r, a + (7 - i) * 1024ull + 512, 512, 0);
	is(bad, 0, "Base 4.1.2 each in its place");

	/* Segment -> segment -> last, with odd lengths. */
	rig_fill(r, a, 0, 65536);
	d[0] = rig_sgl(SGL_DATA, a, 100);
	d[1] = rig_sgl(SGL_DATA, a + 100, 1);
	d[2] = rig_sgl(SGL_SEGMENT, seg[1], 3 * 16);
	rig_put(r, seg[0], d, 3 * 16);
	d[0] = rig_sgl(SGL_DATA, a + 101, 923);
	d[1] = rig_sgl(SGL_DATA, 0, 0);
	d[2] = rig_sgl(SGL_LAST, seg[2], 16);
	rig_put(r, seg[1], d, 3 * 16);
	d[0] = rig_sgl(SGL_DATA, a + 1024, 3072);
	rig_put(r, seg[2], d, 16);
	sqe = rig_rw(r, SNV_OP_READ, 30, 8);
	rig_sgl1(&sqe, rig_sgl(SGL_SEGMENT, seg[0], 3 * 16));
	is(rig_do(r, 1, &sqe), 0, "Base 4.1.2 three segments, odd lengths, one of them 0");
	for (i = bad = 0; i < 8; i++)
		bad += !block_is(r, a + i * 512ull, 30 + i);
	is(bad, 0, "Base 4.1.2 the data are whole");

	/* Bit buckets drop what a read would bring (Base 4.1.2, bit 0 of SGL support). */
	rig_fill(r, a, 0x99, 65536);
	d[0] = rig_sgl(SGL_BUCKET, 0, 512);
	d[1] = rig_sgl(SGL_DATA, a, 512);
	d[2] = rig_sgl(SGL_BUCKET, 0xdead0000, 1024);
	d[3] = rig_sgl(SGL_DATA, a + 512, 512);
	rig_put(r, seg[0], d, 4 * 16);
	sqe = rig_rw(r, SNV_OP_READ, 40, 5);
	rig_sgl1(&sqe, rig_sgl(SGL_LAST, seg[0], 4 * 16));
	is(rig_do(r, 1, &sqe), 0, "Base 4.1.2 bit buckets in a read");
	ok(block_is(r, a, 41) && block_is(r, a + 512, 44) && rig_all(r, a + 1024, 1024, 0x99),
	   "Base 4.1.2 what they swallow goes nowhere");
	sqe = rig_rw(r, SNV_OP_READ, 40, 2);
	rig_sgl1(&sqe, rig_sgl(SGL_BUCKET, 0, 1024));
	is(rig_do(r, 1, &sqe), 0, "Base 4.1.2 a bucket alone");

	/* In a write a bucket has no length (Base 4.1.2). */
	rig_fill(r, a, 0x77, 1024);
	d[0] = rig_sgl(SGL_BUCKET, 0, 512);
	d[1] = rig_sgl(SGL_DATA, a, 1024);
	rig_put(r, seg[0], d, 2 * 16);
	sqe = rig_rw(r, SNV_OP_WRITE, 100, 2);
	rig_sgl1(&sqe, rig_sgl(SGL_LAST, seg[0], 2 * 16));
	is(rig_do(r, 1, &sqe), 0, "Base 4.1.2 a bucket in a write counts as nothing");
	ok(r->ram->data[100 * 512] == 0x77 && r->ram->data[101 * 512 + 511] == 0x77 &&
	   r->ram->data[102 * 512] == 102, "Base 4.1.2 both blocks come from the data block");

	/* Many descriptors across pages of a segment, to and fro. */
	rig_fill(r, a, 0, 65536);
	for (i = at = 0; i < 256; i++) {
		uint32_t n = i == 255 ? 32768 - at : 100 + i % 50;

		d[i] = rig_sgl(SGL_DATA, a + at, n);
		at += n;
	}
	rig_put(r, seg[0] + 100 * 16, d, 256 * 16);
	rig_pattern(r, a, 32768, 5);
	sqe = rig_rw(r, SNV_OP_WRITE, 200, 64);
	rig_sgl1(&sqe, rig_sgl(SGL_LAST, seg[0] + 100 * 16, 256 * 16));
	is(rig_do(r, 1, &sqe), 0, "Base 4.1.2 a segment of 256 descriptors across a page's end");
	rig_fill(r, a, 0, 65536);
	sqe.opcode = SNV_OP_READ;
	is(rig_do(r, 1, &sqe), 0, "Base 4.1.2 and read back by it");
	ok(rig_pattern_is(r, a, 32768, 5) && rig_all(r, a + 32768, 32768, 0), "Base 4.1.2 the same");
	sqe.opcode = SNV_OP_COMPARE;
	is(rig_do(r, 1, &sqe), 0, "NVM 3.2.1 Compare by SGL");
	sqe = (struct snv_sqe){ .opcode = SNV_OP_DSM, .nsid = snv_le32(1), .cdw10 = snv_le32(1),
				.cdw11 = snv_le32(4) };
	{
		struct snv_dsm_range range[2] = { { .nlb = snv_le32(1), .slba = snv_le64(5) },
						  { .nlb = snv_le32(2), .slba = snv_le64(8) } };

		rig_put(r, a, range, 16);
		rig_put(r, a + 5000, &range[1], 16);
		d[0] = rig_sgl(SGL_DATA, a, 16);
		d[1] = rig_sgl(SGL_DATA, a + 5000, 16);
		rig_put(r, seg[0], d, 32);
		rig_sgl1(&sqe, rig_sgl(SGL_LAST, seg[0], 32));
		is(rig_do(r, 1, &sqe), 0, "NVM 3.2.3 Dataset Management's ranges by SGL");
		ok(!r->ram->data[5 * 512] && r->ram->data[6 * 512] == 6 && !r->ram->data[9 * 512],
		   "NVM 3.2.3 both ranges were seen");
	}
	rig_close(r, "SGL");
}

static void sgl_bad(void)
{
	struct rig *r = sgl_rig();
	uint64_t a = rig_mem(r, 65536), seg = rig_mem(r, 8192);
	struct snv_sgl_desc d[4];
	struct snv_sqe sqe;
	uint8_t *keep = malloc(r->ram->media.size);
	uint32_t op, t, i;

	memcpy(keep, r->ram->data, r->ram->media.size);
	rig_fill(r, a, 0x31, 65536);
	for (op = SNV_OP_WRITE; op <= SNV_OP_READ; op++) {
		const char *name = op == SNV_OP_READ ? "Read" : "Write";

#define ONE(desc, want, what) do {						\
	sqe = rig_rw(r, (uint8_t)op, 0, 4);					\
	rig_sgl1(&sqe, desc);							\
	is(rig_do(r, 1, &sqe), want, "Base 4.1.2 %s: " what, name);		\
} while (0)
		ONE(rig_sgl(SGL_DATA, a, 2047), SNV_SC_SGL_INVALID_DATA,
		    "a block too short: Data SGL Length Invalid");
		ONE(rig_sgl(SGL_DATA, a, 0), SNV_SC_SGL_INVALID_DATA,
		    "a block of 0: Data SGL Length Invalid");
		ONE(rig_sgl(SGL_DATA, a, 2049), SNV_SC_SGL_INVALID_DATA,
		    "a block too long: Data SGL Length Invalid");
		for (t = 4; t < 16; t++) {
			sqe = rig_rw(r, (uint8_t)op, 0, 4);
			rig_sgl1(&sqe, rig_sgl(t << 4, a, 2048));
			is(rig_do(r, 1, &sqe), SNV_SC_SGL_INVALID_TYPE,
			   "Base 4.1.2 %s: type %x: SGL Descriptor Type Invalid", name, t);
		}
		ONE(rig_sgl(SGL_DATA | 0xa, a, 2048), SNV_SC_SGL_INVALID_TYPE,
		    "subtype A: SGL Descriptor Type Invalid");
		ONE(rig_sgl(SGL_DATA | 1, a, 2048), SNV_SC_SGL_INVALID_TYPE,
		    "subtype 1 (offset), not offered: SGL Descriptor Type Invalid");
		ONE(rig_sgl(SGL_LAST, seg, 0), SNV_SC_SGL_INVALID_LAST,
		    "a last segment of 0: Invalid SGL Segment Descriptor");
		ONE(rig_sgl(SGL_LAST, seg, 17), SNV_SC_SGL_INVALID_LAST,
		    "a last segment of 17 bytes: Invalid SGL Segment Descriptor");
		sqe = rig_rw(r, (uint8_t)op, 0, 4);
		rig_sgl1(&sqe, rig_sgl(SGL_SEGMENT, seg, 8));
		t = (uint32_t)rig_do(r, 1, &sqe);
		ok(t == SNV_SC_SGL_INVALID_LAST || t == SNV_SC_SGL_INVALID_COUNT,
		   "Base 4.1.2 %s: a segment of 8 bytes (%03xh)", name, t);
		d[0] = rig_sgl(SGL_DATA, a, 1024);
		d[1] = rig_sgl(SGL_DATA, a + 1024, 1024);
		rig_put(r, seg, d, 32);
		sqe = rig_rw(r, (uint8_t)op, 0, 4);
		rig_sgl1(&sqe, rig_sgl(SGL_SEGMENT, seg, 32));
		ok(rig_do(r, 1, &sqe) != 0, "Base 4.1.2 %s: a segment that links to nothing", name);
		d[1] = rig_sgl(SGL_LAST, seg, 32);
		rig_put(r, seg, d, 32);
		ONE(rig_sgl(SGL_LAST, seg, 32), SNV_SC_SGL_INVALID_LAST,
		    "a link in the last segment: Invalid SGL Segment Descriptor");
		d[0] = rig_sgl(SGL_LAST, seg + 4096, 16);
		d[1] = rig_sgl(SGL_LAST, seg + 4096, 16);
		rig_put(r, seg, d, 32);
		d[0] = rig_sgl(SGL_DATA, a, 2048);
		rig_put(r, seg + 4096, d, 16);
		ONE(rig_sgl(SGL_SEGMENT, seg, 32), SNV_SC_SGL_INVALID_COUNT,
		    "a link that is not the last of its segment: Invalid Number of SGL Descriptors");
		d[0] = rig_sgl(SGL_DATA, a, 0);
		d[1] = rig_sgl(SGL_SEGMENT, seg, 32);
		rig_put(r, seg, d, 32);
		sqe = rig_rw(r, (uint8_t)op, 0, 4);
		rig_sgl1(&sqe, rig_sgl(SGL_SEGMENT, seg, 32));
		ok(rig_do(r, 1, &sqe) > 0, "Base 4.1.2 %s: a loop of empty segments ends", name);
		d[0] = rig_sgl(SGL_SEGMENT, seg, 16);
		rig_put(r, seg, d, 16);
		sqe = rig_rw(r, (uint8_t)op, 0, 4);
		rig_sgl1(&sqe, rig_sgl(SGL_SEGMENT, seg, 16));
		ok(rig_do(r, 1, &sqe) > 0, "Base 4.1.2 %s: a segment that is only a link to itself", name);
		for (i = 0; i < 4; i++)
			d[i] = rig_sgl(SGL_DATA, a, 0);
		rig_put(r, seg, d, 64);
		ONE(rig_sgl(SGL_LAST, seg, 64), SNV_SC_SGL_INVALID_DATA,
		    "4 blocks of 0: Data SGL Length Invalid");
		sqe = rig_rw(r, (uint8_t)op, 0, 4);
		rig_sgl1(&sqe, rig_sgl(SGL_LAST, seg, 0xfffffff0));
		ok(rig_do(r, 1, &sqe) > 0, "Base 4.1.2 %s: a last segment of 4 GiB ends", name);
		sqe = rig_rw(r, (uint8_t)op, 0, 4);
		rig_sgl1(&sqe, rig_sgl(SGL_LAST, 0xdead0000, 64));
		ok(rig_do(r, 1, &sqe) > 0, "Base 4.1.2 %s: a segment that isn't there", name);
		sqe = rig_rw(r, (uint8_t)op, 0, 4);
		rig_sgl1(&sqe, rig_sgl(SGL_DATA, 0xdead0000, 2048));
		ok(rig_do(r, 1, &sqe) > 0, "Base 4.1.2 %s: a block that isn't there", name);
		sqe = rig_rw(r, (uint8_t)op, 0, 4);
		rig_sgl1(&sqe, rig_sgl(SGL_DATA, UINT64_MAX - 100, 2048));
		ok(rig_do(r, 1, &sqe) > 0, "Base 4.1.2 %s: a block that wraps", name);
		d[0] = rig_sgl(SGL_DATA, a, 0xffffffff);
		d[1] = rig_sgl(SGL_DATA, a, 0x801);
		rig_put(r, seg, d, 32);
		ONE(rig_sgl(SGL_LAST, seg, 32), SNV_SC_SGL_INVALID_DATA,
		    "lengths whose sum wraps to the right one: Data SGL Length Invalid");
		sqe = rig_rw(r, (uint8_t)op, 0, 4);
		sqe.prp1 = snv_le64(a);
		sqe.flags = SNV_SQE_PSDT;
		is(rig_do(r, 1, &sqe), SNV_SC_INVALID_FIELD, "Base 3.3.3.1 %s: PSDT 11b: Invalid Field", name);
#undef ONE
	}
	ok(rig_all(r, a, 65536, 0x31), "Base 4.1.2 none of the reads wrote");
	ok(!memcmp(keep, r->ram->data, r->ram->media.size), "Base 4.1.2 none of the writes stored");
	free(keep);
	is(rig_io(r, SNV_OP_READ, 0, 8, a, 4096), 0, "NVM 3.2.4 after all that a read by PRP works");
	rig_close(r, "SGL errors");

	r = rig_open(&(struct rig_config){ .v.workers = 1, .ns.lba_size = 512, .media_size = 1 << 20,
					   .admin_depth = 8, .c.queues = 2 });
	rig_enable(r);
	rig_create_pair(r, 1, 8);
	sqe = rig_rw(r, SNV_OP_READ, 0, 4);
	rig_sgl1(&sqe, rig_sgl(SGL_DATA, rig_mem(r, 4096), 2048));
	is(rig_do(r, 1, &sqe), SNV_SC_INVALID_FIELD, "Base 3.3.3.1 SGLs not offered: Invalid Field");
	rig_close(r, "no SGL");
}

/* ---- metadata and protection ------------------------------------------------------------------ */

/* CRC-16 T10-DIF, polynomial 18BB7h, bit by bit (NVM 5.2.1). */
static uint16_t crc(const uint8_t *p, size_t n)
{
	uint32_t c = 0;
	int i;

	while (n--) {
		c ^= (uint32_t)*p++ << 8;
		for (i = 0; i < 8; i++)
			c = c & 0x8000 ? c << 1 ^ 0x18bb7 : c << 1;
	}
	return (uint16_t)c;
}

struct shape {
	uint32_t lba, pi;
	bool first, extended;
};

/* One block's tuple, big-endian: guard, application tag, reference tag. */
static void tuple(uint8_t *t, const uint8_t *data, uint32_t lba, uint16_t app, uint32_t ref)
{
	uint16_t g = crc(data, lba);

	t[0] = (uint8_t)(g >> 8);
	t[1] = (uint8_t)g;
	t[2] = (uint8_t)(app >> 8);
	t[3] = (uint8_t)app;
	t[4] = (uint8_t)(ref >> 24);
	t[5] = (uint8_t)(ref >> 16);
	t[6] = (uint8_t)(ref >> 8);
	t[7] = (uint8_t)ref;
}

struct pi_io {
	struct rig *r;
	const struct shape *s;
	uint64_t data, meta;		/* the host's buffers */
};

/* Pointers to block @i's data and metadata in the host's buffers. */
static uint8_t *block(const struct pi_io *x, uint32_t i)
{
	return (uint8_t *)rig_ptr(x->r, x->data) + (size_t)i * (x->s->lba + (x->s->extended ? 8 : 0));
}

static uint8_t *meta(const struct pi_io *x, uint32_t i)
{
	return x->s->extended ? block(x, i) + x->s->lba : (uint8_t *)rig_ptr(x->r, x->meta) + i * 8;
}

/* A command of @nlb blocks; with PRACT and 8 bytes of metadata only data move (NVM 5.2.2). */
static int pi_do(const struct pi_io *x, uint8_t opcode, uint64_t slba, uint32_t nlb, uint32_t flags,
		 uint32_t ref, uint32_t apps)
{
	struct snv_sqe sqe = rig_rw(x->r, opcode, slba, nlb);
	uint32_t bytes = nlb * x->s->lba, top = x->r->top;
	int ret;

	if (x->s->extended && !(flags & SNV_RW_CDW12_PRACT))
		bytes += nlb * 8;
	sqe.cdw12 = snv_le32((nlb - 1) | flags);
	sqe.cdw14 = snv_le32(ref);
	sqe.cdw15 = snv_le32(apps);		/* mask << 16 | tag */
	if (opcode != SNV_OP_VERIFY && opcode != SNV_OP_WRITE_ZEROES) {
		rig_prp(x->r, &sqe, x->data, bytes);
		if (!x->s->extended)
			sqe.mptr = snv_le64(x->meta);
	}
	ret = rig_do(x->r, 1, &sqe);
	rig_release(x->r, top);
	return ret;
}

#define CHK_G	SNV_RW_CDW12_PRCHK_GUARD
#define CHK_A	SNV_RW_CDW12_PRCHK_APP
#define CHK_R	SNV_RW_CDW12_PRCHK_REF
#define PRACT	SNV_RW_CDW12_PRACT

static struct rig *pi_rig(const struct shape *s, struct pi_io *x, bool async)
{
	struct rig_config g;
	struct rig *r;

	rig_defaults(&g);
	g.ns.lba_size = s->lba;
	g.ns.metadata = 8;
	g.ns.pi = s->pi;
	g.ns.pi_first = s->first;
	g.ns.extended = s->extended;
	r = rig_start(&g);
	r->ram->async = async;
	*x = (struct pi_io){ r, s, rig_mem(r, 80 << 10), rig_mem(r, 4096) };
	return r;
}

static void protection(const struct shape *s, bool async)
{
	enum { N = 9, SLBA = 40 };
	struct pi_io x;
	struct rig *r = pi_rig(s, &x, async);
	uint32_t i, k, bad, ref0 = s->pi == 3 ? 0x12345678 : SLBA;
	/* The first reference tag: type 1 the LBA, 2 what the host says, 3 any. */
	uint32_t ref = s->pi == 2 ? 0xfffffffc : ref0;
	/* In type 3 nothing checks the reference tag. */
	uint32_t all = CHK_G | CHK_A | (s->pi == 3 ? 0 : CHK_R);
	char what[64];

	snprintf(what, sizeof(what), "NVM 5.2 type %u, %u + 8, %s, %s", s->pi, s->lba,
		 s->extended ? "extended" : "separate", s->first ? "first" : "last");
	for (i = 0; i < N; i++) {
		for (k = 0; k < s->lba; k++)
			block(&x, i)[k] = (uint8_t)(i * 31 + k * 7 + (k >> 8));
		tuple(meta(&x, i), block(&x, i), s->lba, 0xbeef, s->pi == 3 ? ref : ref + i);
	}
	is(pi_do(&x, SNV_OP_WRITE, SLBA, N, all, ref, 0xffffbeef), 0, "%s: a write with good tuples", what);
	is(pi_do(&x, SNV_OP_VERIFY, SLBA, N, all, ref, 0xffffbeef), 0, "%s: Verify checks them", what);
	rig_fill(r, x.data, 0, 80 << 10);
	rig_fill(r, x.meta, 0, 4096);
	is(pi_do(&x, SNV_OP_READ, SLBA, N, all, ref, 0xffffbeef), 0, "%s: a read with checks", what);
	for (i = bad = 0; i < N; i++) {
		uint8_t t[8];

		tuple(t, block(&x, i), s->lba, 0xbeef, s->pi == 3 ? ref : ref + i);
		bad += memcmp(t, meta(&x, i), 8) || block(&x, i)[5] != (uint8_t)(i * 31 + 35);
	}
	is(bad, 0, "%s: data and tuples as they were written", what);
	if (!s->extended)
		ok(rig_all(r, x.meta + N * 8, 4096 - N * 8, 0), "%s: no more metadata than that", what);

	/* Checks that fail on a read: the tag asked for is another. */
	is(pi_do(&x, SNV_OP_READ, SLBA, N, CHK_A, ref, 0xffffbee0), SNV_SC_APPTAG_CHECK,
	   "%s: another application tag: Application Tag Check Error", what);
	is(pi_do(&x, SNV_OP_READ, SLBA, N, CHK_A, ref, 0xff00be00), 0, "%s: masked application tag", what);
	is(pi_do(&x, SNV_OP_VERIFY, SLBA, N, CHK_A, ref, 0xffff0000), SNV_SC_APPTAG_CHECK,
	   "%s: Verify: Application Tag Check Error", what);
	is(pi_do(&x, SNV_OP_READ, SLBA, N, 0, ref + 1, 0xffff0000), 0, "%s: nothing asked, nothing checked", what);
	if (s->pi == 2)
		is(pi_do(&x, SNV_OP_READ, SLBA, N, CHK_R, ref + 1, 0), SNV_SC_REFTAG_CHECK,
		   "%s: another reference tag: Reference Tag Check Error", what);
	if (s->pi == 1)
		ok(pi_do(&x, SNV_OP_READ, SLBA, N, CHK_R, ref + 1, 0) > 0,
		   "%s: a reference tag that is not the LBA's is refused", what);

	/* Tuples that are wrong when written. */
	for (k = 0; k < 3; k++) {
		static const uint32_t check[] = { CHK_G, CHK_A, CHK_R };
		static const int want[] = { SNV_SC_GUARD_CHECK, SNV_SC_APPTAG_CHECK,
					    SNV_SC_REFTAG_CHECK };
		static const uint32_t byte[] = { 1, 3, 7 };
		int ret;

		meta(&x, N - 1)[byte[k]] ^= 1;
		ret = pi_do(&x, SNV_OP_WRITE, SLBA, N, check[k], ref, 0xffffbeef);
		if (k == 2 && s->pi == 3)
			is(ret, SNV_SC_INVALID_PI, "%s: a reference tag check is asked for: Invalid "
			   "Protection Information", what);
		else
			is(ret, want[k], "%s: a wrong field %u in a write is found", what, k);
		is(pi_do(&x, SNV_OP_WRITE, SLBA, N, all & ~check[k], ref, 0xffffbeef), 0, "%s: but not if it isn't looked at", what);
		if (!(k == 2 && s->pi == 3))
			is(pi_do(&x, SNV_OP_READ, SLBA, N, check[k], ref, 0xffffbeef), want[k],
			   "%s: and then a read finds it", what);
		/* The read may have brought all or nothing: make it good again. */
		for (i = 0; i < N; i++) {
			for (bad = 0; bad < s->lba; bad++)
				block(&x, i)[bad] = (uint8_t)(i * 31 + bad * 7 + (bad >> 8));
			tuple(meta(&x, i), block(&x, i), s->lba, 0xbeef, s->pi == 3 ? ref : ref + i);
		}
	}

	/* FFFFh in the application tag turns checks off (type 3: with the reference tag, too). */
	for (i = 0; i < N; i++) {
		memset(meta(&x, i), 0x11, 2);
		memset(meta(&x, i) + 2, 0xff, 6);
	}
	is(pi_do(&x, SNV_OP_WRITE, SLBA, N, 0, ref, 0), 0, "%s: tuples with FFFFh, not checked", what);
	is(pi_do(&x, SNV_OP_READ, SLBA, N, all, ref, 0xffffbeef), 0,
	   "%s: an application tag of FFFFh is not checked", what);

	/* PRACT: the controller makes and takes the tuples. */
	rig_fill(r, x.meta, 0x5d, 4096);
	for (k = 0; k < N * s->lba; k++)
		((uint8_t *)rig_ptr(r, x.data))[k] = (uint8_t)(k * 3 + (k >> 9));
	is(pi_do(&x, SNV_OP_WRITE, SLBA, N, PRACT, ref, 0xffff1234), 0, "%s: PRACT write", what);
	rig_fill(r, x.data, 0, 80 << 10);
	is(pi_do(&x, SNV_OP_READ, SLBA, N, PRACT | all, ref, 0xffff1234), 0, "%s: PRACT read, with checks", what);
	for (k = bad = 0; k < N * s->lba; k++)
		bad += ((uint8_t *)rig_ptr(r, x.data))[k] != (uint8_t)(k * 3 + (k >> 9));
	is(bad, 0, "%s: the data", what);
	ok(rig_all(r, x.data + N * s->lba, (80 << 10) - N * s->lba, 0) && rig_all(r, x.meta, 4096, 0x5d),
	   "%s: and no metadata", what);
	is(pi_do(&x, SNV_OP_READ, SLBA, N, PRACT | CHK_A, ref, 0xffff1235), SNV_SC_APPTAG_CHECK,
	   "%s: PRACT read checks too", what);
	rig_fill(r, x.meta, 0, 4096);
	is(pi_do(&x, SNV_OP_READ, SLBA, N, 0, ref, 0), 0, "%s: read without PRACT", what);
	for (i = bad = 0; i < N; i++) {
		uint8_t t[8];

		tuple(t, block(&x, i), s->lba, 0x1234, s->pi == 3 ? ref : ref + i);
		bad += memcmp(t, meta(&x, i), 8) != 0;
	}
	is(bad, 0, "%s: shows the tuples that PRACT made", what);

	/* Write Zeroes and unwritten blocks. */
	is(pi_do(&x, SNV_OP_WRITE_ZEROES, SLBA, 3, PRACT, ref, 0xffff4321), 0, "%s: Write Zeroes with PRACT", what);
	is(pi_do(&x, SNV_OP_READ, SLBA, 3, all, ref, 0xffff4321), 0,
	   "%s: its blocks pass the checks", what);
	is(pi_do(&x, SNV_OP_READ, 500, 4, CHK_G, 500, 0), 0,
	   "%s: blocks never written pass a guard check", what);
	rig_close(r, what);
}

/* Metadata without protection, and the pointers' errors. */
static void plain_metadata(bool extended)
{
	const struct shape s = { 512, 0, false, extended };
	struct pi_io x;
	struct rig *r = pi_rig(&s, &x, false);
	uint32_t i, bad = 0;

	for (i = 0; i < 10; i++) {
		memset(block(&x, i), (int)i + 1, 512);
		memset(meta(&x, i), (int)i + 101, 8);
	}
	is(pi_do(&x, SNV_OP_WRITE, 3, 10, 0, 0, 0), 0, "NVM 5.1 %s metadata: a write",
	   extended ? "extended" : "separate");
	rig_fill(r, x.data, 0, 80 << 10);
	rig_fill(r, x.meta, 0, 4096);
	is(pi_do(&x, SNV_OP_READ, 3, 10, 0, 0, 0), 0, "NVM 5.1 a read");
	for (i = 0; i < 10; i++)
		bad += block(&x, i)[0] != i + 1 || block(&x, i)[511] != i + 1 ||
		       meta(&x, i)[0] != i + 101 || meta(&x, i)[7] != i + 101;
	is(bad, 0, "NVM 5.1 data and metadata");
	is(pi_do(&x, SNV_OP_COMPARE, 3, 10, 0, 0, 0), 0, "NVM 3.2.1 Compare of both");
	meta(&x, 9)[7] ^= 4;
	is(pi_do(&x, SNV_OP_COMPARE, 3, 10, 0, 0, 0), SNV_SC_COMPARE_FAILED,
	   "NVM 3.2.1 Compare compares the metadata");
	if (!extended) {
		x.meta = 0xdead0000;
		ok(pi_do(&x, SNV_OP_READ, 3, 10, 0, 0, 0) > 0, "Base 3.3.3.1 MPTR to memory that isn't there");
		ok(pi_do(&x, SNV_OP_WRITE, 3, 10, 0, 0, 0) > 0, "Base 3.3.3.1 likewise in a write");
	}
	rig_close(r, "metadata");
}

int main(void)
{
	static const struct shape shape[] = {
		{ 512, 1, false, false }, { 512, 1, true, true }, { 512, 1, false, true },
		{ 512, 2, false, false }, { 512, 2, true, true }, { 512, 3, false, false },
		{ 512, 3, false, true }, { 4096, 1, false, false }, { 4096, 1, false, true },
		{ 4096, 2, true, false },
	};
	size_t i;

	prp_shapes(false, false);
	prp_shapes(true, false);
	prp_shapes(true, true);
	prp_chain();
	prp_errors();
	sgl_good();
	sgl_bad();
	plain_metadata(false);
	plain_metadata(true);
	for (i = 0; i < sizeof(shape) / sizeof(*shape); i++)
		protection(&shape[i], i & 1);
	return done();
}
