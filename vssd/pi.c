// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Protection information: NVM Command Set 5.3, with the 16-bit guard. All of the 8 bytes of
 * metadata are protection information, so DPS bit 3 (first or last of them) makes no difference.
 */
#include "core.h"

/* Behind each block, big-endian. */
struct pi_tuple {
	uint8_t guard[2];
	uint8_t app_tag[2];
	uint8_t ref_tag[4];
};

static uint16_t be16_get(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t be32_get(const uint8_t *p)
{
	return (uint32_t)be16_get(p) << 16 | be16_get(p + 2);
}

static void be16_put(uint8_t *p, uint16_t x)
{
	p[0] = (uint8_t)(x >> 8);
	p[1] = (uint8_t)x;
}

static void be32_put(uint8_t *p, uint32_t x)
{
	be16_put(p, (uint16_t)(x >> 16));
	be16_put(p + 2, (uint16_t)x);
}

uint16_t vssd_crc16(uint16_t crc, const void *buf, size_t length)
{
	/* The remainder of each nibble, divided by x^16 + 8BB7h. */
	static const uint16_t nibble[16] = {
		0x0000, 0x8bb7, 0x9cd9, 0x176e, 0xb205, 0x39b2, 0x2edc, 0xa56b,
		0xefbd, 0x640a, 0x7364, 0xf8d3, 0x5db8, 0xd60f, 0xc161, 0x4ad6,
	};
	const uint8_t *p = buf;

	while (length--) {
		crc = (uint16_t)(crc << 4 ^ nibble[crc >> 12 ^ *p >> 4]);
		crc = (uint16_t)(crc << 4 ^ nibble[crc >> 12 ^ (*p++ & 0xf)]);
	}
	return crc;
}

/* The reference tag of the block behind one that has @ref_tag: type 3 does not count. */
static uint32_t next_ref(const struct vssd_ns *ns, uint32_t ref_tag)
{
	return ns->pi == 3 ? ref_tag : ref_tag + 1;
}

void vssd_pi_set_ref(const struct vssd_ns *ns, void *buf, uint32_t nlb, uint32_t ref_tag)
{
	char *block = buf;

	for (; nlb--; block += ns->stride, ref_tag = next_ref(ns, ref_tag)) {
		struct pi_tuple *pi = (struct pi_tuple *)(block + ns->lba_size);

		be32_put(pi->ref_tag, ref_tag);
	}
}

void vssd_pi_insert(const struct vssd_ns *ns, void *buf, uint32_t nlb, uint32_t ref_tag,
		    uint16_t app_tag)
{
	char *block = buf;
	uint32_t i;

	for (i = 0; i < nlb; i++, block += ns->stride) {
		struct pi_tuple *pi = (struct pi_tuple *)(block + ns->lba_size);

		be16_put(pi->guard, vssd_crc16(0, block, ns->lba_size));
		be16_put(pi->app_tag, app_tag);
	}
	vssd_pi_set_ref(ns, buf, nlb, ref_tag);
}

int vssd_pi_check(const struct vssd_ns *ns, const void *buf, uint32_t nlb, uint32_t cdw12,
		  uint32_t ref_tag, uint16_t app_tag, uint16_t app_mask)
{
	const char *block = buf;

	for (; nlb--; block += ns->stride, ref_tag = next_ref(ns, ref_tag)) {
		const struct pi_tuple *pi = (const struct pi_tuple *)(block + ns->lba_size);
		uint16_t app = be16_get(pi->app_tag);
		uint32_t ref = be32_get(pi->ref_tag);

		/* Such tags say that the block is not to be checked. */
		if (app == 0xffff && (ns->pi != 3 || ref == 0xffffffff))
			continue;
		if (cdw12 & SNV_RW_CDW12_PRCHK_GUARD &&
		    be16_get(pi->guard) != vssd_crc16(0, block, ns->lba_size))
			return SNV_SC_GUARD_CHECK;
		if (cdw12 & SNV_RW_CDW12_PRCHK_APP && (app ^ app_tag) & app_mask)
			return SNV_SC_APPTAG_CHECK;
		if (cdw12 & SNV_RW_CDW12_PRCHK_REF && ns->pi != 3 && ref != ref_tag)
			return SNV_SC_REFTAG_CHECK;
	}
	return 0;
}
