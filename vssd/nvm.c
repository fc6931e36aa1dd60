// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * I/O commands of the NVM command set (NVM Command Set 1.0, section 3), and what zoned namespaces
 * share of them. Each command is a chain of steps; the first takes it as far as its first transfer
 * with the medium.
 *
 * Data go directly between the host's memory and the medium, unless there is metadata, or something
 * to be compared: then by way of cmd->bounce, where each block has its metadata behind it.
 */
#include "core.h"

#define CHUNK_BLOCKS	256	/* of Verify, Write Zeroes: in memory at a time */
#define MAX_WU		65536	/* ranges of a namespace that Write Uncorrectable marked */

static inline uint64_t slba_of(const struct vssd_cmd *cmd)
{
	return (uint64_t)vssd_cdw11(cmd) << 32 | vssd_cdw10(cmd);
}

static bool in_bounds(const struct vssd_ns *ns, uint64_t slba, uint64_t nlb)
{
	return slba <= ns->nsze && nlb <= ns->nsze - slba;
}

/* Does the host's memory hold metadata? Not if it is ours to make and to strip: NVM 5.3, PRACT. */
static bool moves_metadata(const struct vssd_cmd *cmd)
{
	return cmd->ns->ms && !(cmd->ns->pi && vssd_cdw12(cmd) & SNV_RW_CDW12_PRACT);
}

/* Bytes of the host's data buffer for @nlb blocks. */
static inline uint64_t host_bytes(const struct vssd_cmd *cmd, uint32_t nlb)
{
	const struct vssd_ns *ns = cmd->ns;

	return nlb * (ns->extended && moves_metadata(cmd) ? ns->stride : ns->lba_size);
}

static bool must_be_durable(const struct vssd_cmd *cmd)
{
	return vssd_cdw12(cmd) & SNV_RW_CDW12_FUA || cmd->ctrl->feat.write_through;
}

/* SLBA and NLB against the namespace and, if the command @transfers data, MDTS: 0 or a status. */
static inline int check_range(struct vssd_cmd *cmd, bool transfers)
{
	uint64_t slba = slba_of(cmd);
	uint32_t nlb = (vssd_cdw12(cmd) & SNV_RW_CDW12_NLB) + 1;

	if (transfers && host_bytes(cmd, nlb) > vssd_max_transfer(cmd->ctrl))
		return SNV_SC_INVALID_FIELD;
	if (!in_bounds(cmd->ns, slba, nlb))
		return SNV_SC_LBA_RANGE;
	cmd->u.slba = slba;
	cmd->u.nlb = nlb;
	return 0;
}

/* Does the medium hold what the range of cmd->u is to be read for? 0 or a status. */
static inline int may_read(struct vssd_cmd *cmd)
{
	struct vssd_ns *ns = cmd->ns;

	if (SNV_LOAD_RELAXED(&ns->n_wu) && vssd_wu_test(ns, cmd->u.slba, cmd->u.nlb, &cmd->u.slba))
		return SNV_SC_READ_ERROR;
	return ns->csi == VSSD_CSI_ZNS ? vssd_zone_read(cmd) : 0;
}

/* Map the host's memory for the range of cmd->u, for us to read or write. */
static int map_host(struct vssd_cmd *cmd, bool to_host)
{
	const struct vssd_ns *ns = cmd->ns;
	int status = vssd_map_data(cmd, host_bytes(cmd, cmd->u.nlb), to_host);

	if (!status && !ns->extended && moves_metadata(cmd))
		status = vssd_map_meta(cmd, (uint64_t)cmd->u.nlb * ns->ms);
	return status;
}

/* ---- blocks in cmd->bounce ------------------------------------------------------------------- */

/* From the host's memory to @buf, with room for metadata behind each block. */
static void gather(const struct vssd_cmd *cmd, char *buf)
{
	const struct vssd_ns *ns = cmd->ns;
	uint32_t nlb = cmd->u.nlb;
	/* At the end of @buf, blocks can move to their places without overtaking each other. */
	char *data = buf + nlb * (ns->stride * nlb == cmd->length ? 0 : ns->ms);

	vssd_from_segs(&cmd->data, 0, data, cmd->length);
	if (data == buf)
		return;
	for (uint32_t i = 0; i < nlb; i++) {
		memmove(buf + i * ns->stride, data + (size_t)i * ns->lba_size, ns->lba_size);
		if (moves_metadata(cmd))
			vssd_from_segs(&cmd->meta, (uint64_t)i * ns->ms,
				       buf + i * ns->stride + ns->lba_size, ns->ms);
	}
}

/* And the way back; @buf is spoilt. */
static void scatter(const struct vssd_cmd *cmd, char *buf)
{
	const struct vssd_ns *ns = cmd->ns;

	if (ns->stride * cmd->u.nlb != cmd->length) {
		for (uint32_t i = 0; i < cmd->u.nlb; i++) {
			if (moves_metadata(cmd))
				vssd_to_segs(&cmd->meta, (uint64_t)i * ns->ms,
					     buf + i * ns->stride + ns->lba_size, ns->ms);
			memmove(buf + (size_t)i * ns->lba_size, buf + i * ns->stride, ns->lba_size);
		}
	}
	vssd_to_segs(&cmd->data, 0, buf, cmd->length);
}

/* Metadata, between what it is and how the medium has it: see struct vssd_ns @stride. */
static void complement(const struct vssd_ns *ns, char *buf, uint32_t nlb)
{
	for (; nlb--; buf += ns->stride)
		for (uint32_t i = 0; i < ns->ms; i++)
			buf[ns->lba_size + i] ^= (char)0xff;
}

/* Tags that cannot be right: NVM 5.3. @prinfo: PRACT and PRCHK as in dword 12. */
static int check_tags(const struct vssd_ns *ns, uint32_t prinfo, uint32_t ref_tag, uint64_t slba)
{
	if (prinfo & SNV_RW_CDW12_PRCHK_REF &&
	    (ns->pi == 3 || (ns->pi == 1 && ref_tag != (uint32_t)slba)))
		return SNV_SC_INVALID_PI;
	return 0;
}

/* The initial reference tag of a command, for its block @at. */
static uint32_t ref_tag(const struct vssd_cmd *cmd, uint32_t at)
{
	return vssd_cdw14(cmd) + (cmd->ns->pi == 3 ? 0 : at);
}

/* Check @nlb blocks in @buf, the first being the command's block @at, as dwords 12 to 15 say. */
static int check_blocks(const struct vssd_cmd *cmd, const char *buf, uint32_t nlb, uint32_t at)
{
	if (!cmd->ns->pi)
		return 0;
	return vssd_pi_check(cmd->ns, buf, nlb, vssd_cdw12(cmd), ref_tag(cmd, at),
			     (uint16_t)vssd_cdw15(cmd), (uint16_t)(vssd_cdw15(cmd) >> 16));
}

/* Transfers between the medium and cmd->bounce from byte @at on. */
static const struct vssd_seg *bounce_seg(struct vssd_cmd *cmd, size_t at, uint64_t length)
{
	cmd->u.seg.va = (char *)cmd->bounce + at;
	cmd->u.seg.length = length;
	return &cmd->u.seg;
}

static int read_bounce(struct vssd_cmd *cmd, uint64_t slba, uint32_t nlb, size_t at)
{
	uint64_t length = nlb * cmd->ns->stride;

	return vssd_media_io(cmd, VSSD_IO_READ, slba * cmd->ns->stride, length,
			     bounce_seg(cmd, at, length), 1, false);
}

/* ---- changes of the medium ------------------------------------------------------------------- */

/* Write or discard blocks; what a step returns. */
static inline int change(struct vssd_cmd *cmd, enum vssd_io_op op, uint64_t slba, uint64_t nlb,
		  const struct vssd_seg *seg, uint32_t segs, bool fua)
{
	struct vssd_ns *ns = cmd->ns;
	uint64_t offset = slba * ns->stride;
	uint64_t length = nlb * ns->stride;

	if (__builtin_expect(ns->v->power_loss, 0)) {
		int status = vssd_undo_save(ns, offset, length, fua);

		if (status)
			return status;
	}
	return vssd_media_io(cmd, op, offset, length, seg, segs, fua);
}

/* Blocks have been written or discarded: their marks are gone. */
static inline int changed(struct vssd_ns *ns, uint64_t slba, uint64_t nlb)
{
	if (SNV_LOAD_RELAXED(&ns->n_wu) && vssd_wu_set(ns, slba, nlb, false))
		return SNV_SC_INTERNAL;
	return 0;
}

/* ---- Write Uncorrectable's marks ------------------------------------------------------------- */

/* The first mark that ends at @lba or behind it. */
static uint32_t wu_find(const struct vssd_ns *ns, uint64_t lba)
{
	uint32_t low = 0, high = ns->n_wu;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (ns->wu[mid].end < lba)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool vssd_wu_test(struct vssd_ns *ns, uint64_t slba, uint64_t nlb, uint64_t *first)
{
	bool bad;
	uint32_t i;

	vssd_lock(&ns->lock);
	i = wu_find(ns, slba + 1);
	bad = i < ns->n_wu && ns->wu[i].slba < slba + nlb;
	if (bad)
		*first = ns->wu[i].slba > slba ? ns->wu[i].slba : slba;
	vssd_unlock(&ns->lock);
	return bad;
}

static int wu_grow(struct vssd_ns *ns)
{
	uint32_t cap = ns->cap_wu ? 2 * ns->cap_wu : 16;
	struct vssd_range *wu;

	if (cap > MAX_WU)
		return -ENOMEM;
	wu = vssd_alloc(ns->v, cap * sizeof(*wu));
	if (!wu)
		return -ENOMEM;
	if (ns->wu)
		memcpy(wu, ns->wu, ns->n_wu * sizeof(*wu));
	vssd_free(ns->v, ns->wu, ns->cap_wu * sizeof(*wu));
	ns->wu = wu;
	ns->cap_wu = cap;
	return 0;
}

int vssd_wu_set(struct vssd_ns *ns, uint64_t slba, uint64_t nlb, bool bad)
{
	struct vssd_range left, right, part[2];
	uint64_t end = slba + nlb;
	uint32_t first, behind, n = 0;
	int ret = 0;

	vssd_lock(&ns->lock);
	/* Those that the range meets; when setting, those that it touches too: they become one. */
	first = wu_find(ns, slba + !bad);
	for (behind = first; behind < ns->n_wu && ns->wu[behind].slba < end + bad; behind++)
		;
	left = right = (struct vssd_range){ slba, end };
	if (first < behind) {
		left = ns->wu[first];
		right = ns->wu[behind - 1];
	}
	if (bad) {
		part[n].slba = left.slba < slba ? left.slba : slba;
		part[n++].end = right.end > end ? right.end : end;
	} else {
		if (left.slba < slba)
			part[n++] = (struct vssd_range){ left.slba, slba };
		if (right.end > end)
			part[n++] = (struct vssd_range){ end, right.end };
	}
	if (first == behind && !n)
		goto out;
	/* At most one more than there were. */
	if (n > behind - first && ns->n_wu == ns->cap_wu)
		ret = wu_grow(ns);
	if (ret)
		goto out;
	if (behind < ns->n_wu)
		memmove(&ns->wu[first + n], &ns->wu[behind],
			(ns->n_wu - behind) * sizeof(*ns->wu));
	memcpy(&ns->wu[first], part, n * sizeof(*part));
	SNV_STORE_RELAXED(&ns->n_wu, ns->n_wu - (behind - first) + n);
out:
	vssd_unlock(&ns->lock);
	return ret;
}

/* ---- Read: NVM 3.2.4 ------------------------------------------------------------------------- */

/* @cmd has read @cmd->u.nlb blocks, for the host or to compare or verify them. */
static inline int count_read(struct vssd_cmd *cmd)
{
	uint64_t bytes = (uint64_t)cmd->u.nlb << cmd->ns->lba_shift;
	struct vssd_worker *w = cmd->worker;

	w->stats.reads++;
	w->stats.bytes_read += bytes;
	vssd_trace(w, VSSD_STEP_DATA, cmd, (uint32_t)bytes);
	return 0;
}

static int read_end(struct vssd_cmd *cmd)
{
	return cmd->io_status ? cmd->io_status : count_read(cmd);
}

static int read_indirectly_end(struct vssd_cmd *cmd)
{
	int status = cmd->io_status;

	if (status)
		return status;
	complement(cmd->ns, cmd->bounce, cmd->u.nlb);
	status = check_blocks(cmd, cmd->bounce, cmd->u.nlb, 0);
	if (status)
		return status;
	scatter(cmd, cmd->bounce);
	return count_read(cmd);
}

/* Media know nothing of bit buckets, which only SGLs have. */
static bool has_bit_bucket(const struct vssd_cmd *cmd)
{
	if (!(cmd->sqe.flags & SNV_SQE_PSDT))
		return false;
	for (uint32_t i = 0; i < cmd->data.n; i++)
		if (!cmd->data.seg[i].va)
			return true;
	return false;
}

/* By way of memory of our own. */
static int read_indirectly(struct vssd_cmd *cmd)
{
	const struct vssd_ns *ns = cmd->ns;
	int status = check_tags(ns, vssd_cdw12(cmd), vssd_cdw14(cmd), cmd->u.slba);

	if (!status)
		status = map_host(cmd, true);
	if (status)
		return status;
	if (!vssd_bounce(cmd, cmd->u.nlb * ns->stride))
		return SNV_SC_INTERNAL;
	cmd->step = read_indirectly_end;
	return read_bounce(cmd, cmd->u.slba, cmd->u.nlb, 0);
}

static inline int read_step(struct vssd_cmd *cmd)
{
	const struct vssd_ns *ns = cmd->ns;
	int status = check_range(cmd, true);

	if (!status)
		status = may_read(cmd);
	if (status)
		return status;
	if (__builtin_expect(ns->ms, 0))
		return read_indirectly(cmd);
	status = vssd_map_far(cmd, host_bytes(cmd, cmd->u.nlb), true);
	if (status)
		return status;
	if (__builtin_expect(has_bit_bucket(cmd), 0))
		return read_indirectly(cmd);
	cmd->step = read_end;
	return vssd_media_io(cmd, VSSD_IO_READ, cmd->u.slba << ns->lba_shift, cmd->length,
			     cmd->data.seg, cmd->data.n, false);
}

/* ---- Write: NVM 3.2.6; Zone Append: ZNS 3.4.1 ------------------------------------------------ */

/* Tags of Zone Append may be relative to the zone, whose blocks it does not know yet: PIREMAP. */
static int check_remap(const struct vssd_cmd *cmd)
{
	bool remap = vssd_cdw12(cmd) & SNV_RW_CDW12_PIREMAP;

	if ((cmd->ns->pi == 1 && !remap) || (cmd->ns->pi == 3 && remap))
		return SNV_SC_INVALID_PI;
	return 0;
}

/* The blocks of a write, in cmd->bounce: from the host, and right. */
static int bounce_write(struct vssd_cmd *cmd)
{
	uint64_t length = cmd->u.nlb * cmd->ns->stride;

	if (!vssd_bounce(cmd, length))
		return SNV_SC_INTERNAL;
	bounce_seg(cmd, 0, length);
	gather(cmd, cmd->bounce);
	return moves_metadata(cmd) ? check_blocks(cmd, cmd->bounce, cmd->u.nlb, 0) : 0;
}

/* Their metadata, now that it is known where they go. */
static void finish_metadata(struct vssd_cmd *cmd)
{
	const struct vssd_ns *ns = cmd->ns;
	uint32_t cdw12 = vssd_cdw12(cmd);
	bool remap = cmd->sqe.opcode == SNV_OP_ZONE_APPEND && cdw12 & SNV_RW_CDW12_PIREMAP;
	uint32_t ref = ref_tag(cmd, remap ? (uint32_t)(cmd->u.slba - slba_of(cmd)) : 0);

	if (ns->pi && cdw12 & SNV_RW_CDW12_PRACT)
		vssd_pi_insert(ns, cmd->bounce, cmd->u.nlb, ref, (uint16_t)vssd_cdw15(cmd));
	else if (ns->pi && remap)
		vssd_pi_set_ref(ns, cmd->bounce, cmd->u.nlb, ref);
	complement(ns, cmd->bounce, cmd->u.nlb);
}

/* With metadata, or to a zone, whose write pointer moves only when nothing else can go wrong. */
static int prepare_special_write(struct vssd_cmd *cmd)
{
	const struct vssd_ns *ns = cmd->ns;
	bool append = cmd->sqe.opcode == SNV_OP_ZONE_APPEND;
	int status = check_tags(ns, vssd_cdw12(cmd), vssd_cdw14(cmd), cmd->u.slba);

	if (!status && append)
		status = check_remap(cmd);
	if (!status)
		status = ns->ms ? map_host(cmd, false) :
				  vssd_map_far(cmd, host_bytes(cmd, cmd->u.nlb), false);
	if (!status && ns->ms)
		status = bounce_write(cmd);
	if (!status && ns->csi == VSSD_CSI_ZNS)
		status = append ? vssd_zone_append(cmd) : vssd_zone_write(cmd);
	if (!status && ns->ms)
		finish_metadata(cmd);
	return status;
}

/* All of a write but the medium. */
static inline int prepare_write(struct vssd_cmd *cmd)
{
	const struct vssd_ns *ns = cmd->ns;
	int status = check_range(cmd, true);

	if (status)
		return status;
	/* Directives are not offered. */
	if (vssd_cdw12(cmd) & SNV_RW_CDW12_DTYPE)
		return SNV_SC_INVALID_FIELD;
	if (__builtin_expect(ns->ms || ns->csi == VSSD_CSI_ZNS, 0))
		return prepare_special_write(cmd);
	return vssd_map_far(cmd, host_bytes(cmd, cmd->u.nlb), false);
}

/* @write is prepared; @cmd, itself or the first of its pair, waits for the medium. */
static inline int submit_write(struct vssd_cmd *cmd, const struct vssd_cmd *write)
{
	const struct vssd_seg *seg = write->bounce ? &write->u.seg : write->data.seg;

	return change(cmd, VSSD_IO_WRITE, write->u.slba, write->u.nlb, seg,
		      write->bounce ? 1 : write->data.n, must_be_durable(write));
}

static inline int write_done(struct vssd_cmd *cmd, int status)
{
	uint64_t bytes = (uint64_t)cmd->u.nlb << cmd->ns->lba_shift;
	struct vssd_worker *w = cmd->worker;

	if (!status)
		status = changed(cmd->ns, cmd->u.slba, cmd->u.nlb);
	if (status)
		return status;
	if (cmd->sqe.opcode == SNV_OP_ZONE_APPEND) {
		cmd->dw0 = (uint32_t)cmd->u.slba;
		cmd->dw1 = (uint32_t)(cmd->u.slba >> 32);
	}
	w->stats.writes++;
	w->stats.bytes_written += bytes;
	vssd_trace(w, VSSD_STEP_DATA, cmd, (uint32_t)bytes);
	return 0;
}

static int write_end(struct vssd_cmd *cmd)
{
	return write_done(cmd, cmd->io_status);
}

static inline int write_step(struct vssd_cmd *cmd)
{
	int status = prepare_write(cmd);

	if (status)
		return status;
	cmd->step = write_end;
	return submit_write(cmd, cmd);
}

/* ---- Compare: NVM 3.2.1; fused with a Write: Base 3.4.2 -------------------------------------- */

/* The end of both commands of a pair, in their order. */
static int fused_end(struct vssd_cmd *cmd, int status, int second_status)
{
	struct vssd_cmd *second = cmd->fused;

	if (cmd->ns && cmd->ns->frozen == cmd)
		vssd_thaw(cmd->ns, cmd);
	cmd->fused = NULL;
	vssd_finish(cmd, status);
	vssd_finish(second, second_status);
	return VSSD_HELD;
}

static int fused_written(struct vssd_cmd *cmd)
{
	return fused_end(cmd, 0, write_done(cmd->fused, cmd->io_status));
}

static int fused_compared(struct vssd_cmd *cmd, int status)
{
	int ret;

	if (status)
		return fused_end(cmd, status, SNV_SC_FUSED_FAIL);
	ret = prepare_write(cmd->fused);
	if (!ret) {
		cmd->step = fused_written;
		ret = submit_write(cmd, cmd->fused);
	}
	return ret < 0 ? ret : fused_end(cmd, 0, ret);
}

/* The medium's blocks are in the first half of cmd->bounce, the host's in the second. */
static int compare(struct vssd_cmd *cmd)
{
	const struct vssd_ns *ns = cmd->ns;
	uint32_t nlb = cmd->u.nlb;
	const char *host = (char *)cmd->bounce + nlb * ns->stride;
	/* Protection information is checked, not compared. */
	uint64_t size = ns->pi ? ns->lba_size : ns->stride;
	int status;

	complement(ns, cmd->bounce, nlb);
	status = check_blocks(cmd, cmd->bounce, nlb, 0);
	if (!status && moves_metadata(cmd))
		status = check_blocks(cmd, host, nlb, 0);
	for (uint32_t i = 0; i < nlb && !status; i++)
		if (memcmp((char *)cmd->bounce + i * ns->stride, host + i * ns->stride, size))
			status = SNV_SC_COMPARE_FAILED;
	return status;
}

static int compare_end(struct vssd_cmd *cmd)
{
	int status = cmd->io_status;

	if (!status)
		status = compare(cmd);
	if (!status)
		count_read(cmd);
	return cmd->fused ? fused_compared(cmd, status) : status;
}

static int compare_step(struct vssd_cmd *cmd)
{
	const struct vssd_ns *ns = cmd->ns;
	int status = check_range(cmd, true);
	size_t half;

	if (!status)
		status = check_tags(ns, vssd_cdw12(cmd), vssd_cdw14(cmd), cmd->u.slba);
	if (!status)
		status = may_read(cmd);
	if (!status)
		status = map_host(cmd, false);
	if (status)
		return status;
	half = cmd->u.nlb * ns->stride;
	if (!vssd_bounce(cmd, 2 * half))
		return SNV_SC_INTERNAL;
	gather(cmd, (char *)cmd->bounce + half);
	cmd->step = compare_end;
	return read_bounce(cmd, cmd->u.slba, cmd->u.nlb, 0);
}

/* An NSID that is not that of an active namespace: inactive, or no NSID at all (Base 3.2.1). */
static int no_namespace(const struct vssd_cmd *cmd)
{
	return vssd_nsid(cmd) - 1 < VSSD_MAX_NS ? SNV_SC_INVALID_FIELD : SNV_SC_INVALID_NS;
}

/* Stopped, so that nobody begins in between; frozen, so that nobody is in the middle of it. */
static int fused_step(struct vssd_cmd *cmd)
{
	struct vssd_cmd *second = cmd->fused;
	uint8_t flags = (cmd->sqe.flags | second->sqe.flags) & ~(SNV_SQE_PSDT | SNV_SQE_FUSE);
	struct vssd_ns *ns = vssd_ns_active(cmd->ctrl, vssd_nsid(cmd));
	int ret;

	if (flags || cmd->sqe.opcode != SNV_OP_COMPARE || second->sqe.opcode != SNV_OP_WRITE ||
	    second->sqe.nsid != cmd->sqe.nsid || slba_of(second) != slba_of(cmd) ||
	    (vssd_cdw12(second) ^ vssd_cdw12(cmd)) & SNV_RW_CDW12_NLB)
		return fused_end(cmd, SNV_SC_INVALID_FIELD, SNV_SC_INVALID_FIELD);
	if (!ns)
		return fused_end(cmd, no_namespace(cmd), no_namespace(cmd));
	if (ns->csi == VSSD_CSI_ZNS)
		return fused_end(cmd, SNV_SC_INVALID_FIELD, SNV_SC_INVALID_FIELD);
	if (ns->media->readonly)
		return fused_end(cmd, SNV_SC_FUSED_FAIL, SNV_SC_NS_WRITE_PROTECTED);
	if (ns->frozen && ns->frozen != cmd)
		return VSSD_RETRY;
	cmd->ns = ns;
	second->ns = ns;
	ret = vssd_freeze(ns, cmd);
	if (ret)
		return ret;
	ret = compare_step(cmd);
	return ret < 0 ? ret : fused_end(cmd, ret, SNV_SC_FUSED_FAIL);
}

/* ---- Flush: Base 7.1 ------------------------------------------------------------------------- */

static int flush_end(struct vssd_cmd *cmd)
{
	if (!cmd->io_status)
		vssd_undo_drop(cmd->ns);
	return cmd->io_status;
}

static int flush_step(struct vssd_cmd *cmd)
{
	cmd->step = flush_end;
	return vssd_media_io(cmd, VSSD_IO_FLUSH, 0, 0, NULL, 0, false);
}

static int flush_next(struct vssd_cmd *cmd);

static int flush_next_end(struct vssd_cmd *cmd)
{
	int status = flush_end(cmd);

	cmd->step = flush_next;
	return status ? status : VSSD_AGAIN;
}

/* NSID FFFFFFFFh: all namespaces, one after the other. cmd->u.at: of the last. */
static int flush_next(struct vssd_cmd *cmd)
{
	cmd->ns = NULL;
	while (cmd->u.at < VSSD_MAX_NS) {
		struct vssd_ns *ns = vssd_ns_active(cmd->ctrl, cmd->u.at + 1);

		if (ns && ns->frozen)
			return VSSD_RETRY;
		cmd->u.at++;
		if (!ns)
			continue;
		cmd->ns = ns;
		cmd->step = flush_next_end;
		return vssd_media_io(cmd, VSSD_IO_FLUSH, 0, 0, NULL, 0, false);
	}
	return 0;
}

/* ---- Verify: NVM 3.2.5 ----------------------------------------------------------------------- */

/* Blocks of the next piece of a command that goes through memory in pieces. */
static uint32_t chunk(const struct vssd_cmd *cmd)
{
	uint32_t left = cmd->u.nlb - cmd->u.at;

	return left < CHUNK_BLOCKS ? left : CHUNK_BLOCKS;
}

static int verify_chunk(struct vssd_cmd *cmd)
{
	uint32_t nlb = chunk(cmd);
	int status = cmd->io_status;

	if (status)
		return status;
	complement(cmd->ns, cmd->bounce, nlb);
	status = check_blocks(cmd, cmd->bounce, nlb, cmd->u.at);
	if (status)
		return status;
	cmd->u.at += nlb;
	if (cmd->u.at == cmd->u.nlb)
		return count_read(cmd);
	return read_bounce(cmd, cmd->u.slba + cmd->u.at, chunk(cmd), 0);
}

static int verify_step(struct vssd_cmd *cmd)
{
	int status = check_range(cmd, false);

	/* VSL: Base figure 276 (NVM). */
	if (!status && (uint64_t)cmd->u.nlb << cmd->ns->lba_shift > vssd_max_transfer(cmd->ctrl))
		status = SNV_SC_INVALID_FIELD;
	if (!status)
		status = check_tags(cmd->ns, vssd_cdw12(cmd), vssd_cdw14(cmd), cmd->u.slba);
	if (!status)
		status = may_read(cmd);
	if (status)
		return status;
	cmd->u.at = 0;
	if (!vssd_bounce(cmd, chunk(cmd) * cmd->ns->stride))
		return SNV_SC_INTERNAL;
	cmd->step = verify_chunk;
	return read_bounce(cmd, cmd->u.slba, chunk(cmd), 0);
}

/* ---- Write Zeroes: NVM 3.2.8 ----------------------------------------------------------------- */

static int zeroes_end(struct vssd_cmd *cmd)
{
	return cmd->io_status ? cmd->io_status : changed(cmd->ns, cmd->u.slba, cmd->u.nlb);
}

static int zeroes_chunk_end(struct vssd_cmd *cmd);

static int zeroes_chunk(struct vssd_cmd *cmd)
{
	const struct vssd_ns *ns = cmd->ns;
	uint32_t nlb = chunk(cmd);

	if (ns->pi && vssd_cdw12(cmd) & SNV_RW_CDW12_PRACT)
		vssd_pi_set_ref(ns, cmd->bounce, nlb, ref_tag(cmd, cmd->u.at));
	complement(ns, cmd->bounce, nlb);
	cmd->step = zeroes_chunk_end;
	return change(cmd, VSSD_IO_WRITE, cmd->u.slba + cmd->u.at, nlb,
		      bounce_seg(cmd, 0, nlb * ns->stride), 1, must_be_durable(cmd));
}

static int zeroes_chunk_end(struct vssd_cmd *cmd)
{
	uint32_t nlb = chunk(cmd);

	if (cmd->io_status)
		return cmd->io_status;
	complement(cmd->ns, cmd->bounce, nlb);
	cmd->u.at += nlb;
	return cmd->u.at == cmd->u.nlb ? zeroes_end(cmd) : zeroes_chunk(cmd);
}

static int write_zeroes_step(struct vssd_cmd *cmd)
{
	const struct vssd_ns *ns = cmd->ns;
	int status = check_range(cmd, false);

	if (!status)
		status = check_tags(ns, vssd_cdw12(cmd), vssd_cdw14(cmd), cmd->u.slba);
	if (!status && ns->csi == VSSD_CSI_ZNS)
		status = vssd_zone_write(cmd);
	if (status)
		return status;
	/* A deallocated block reads as zeros, with DEAC and without; but its metadata as ones. */
	if (!ns->ms) {
		cmd->step = zeroes_end;
		return change(cmd, VSSD_IO_DISCARD, cmd->u.slba, cmd->u.nlb, NULL, 0,
			      must_be_durable(cmd));
	}
	cmd->u.at = 0;
	if (!vssd_bounce(cmd, chunk(cmd) * ns->stride))
		return SNV_SC_INTERNAL;
	if (ns->pi && vssd_cdw12(cmd) & SNV_RW_CDW12_PRACT)
		vssd_pi_insert(ns, cmd->bounce, chunk(cmd), ref_tag(cmd, 0),
			       (uint16_t)vssd_cdw15(cmd));
	return zeroes_chunk(cmd);
}

/* ---- Write Uncorrectable: NVM 3.2.7 ---------------------------------------------------------- */

static int write_uncor_step(struct vssd_cmd *cmd)
{
	int status = check_range(cmd, false);

	if (!status && cmd->ns->csi == VSSD_CSI_ZNS)
		status = vssd_zone_write(cmd);
	if (!status && vssd_wu_set(cmd->ns, cmd->u.slba, cmd->u.nlb, true))
		status = SNV_SC_INTERNAL;
	return status;
}

/* ---- Dataset Management: NVM 3.2.3 ----------------------------------------------------------- */

static uint32_t dsm_ranges(const struct vssd_cmd *cmd)
{
	return (vssd_cdw10(cmd) & 0xff) + 1;
}

static int dsm_discarded(struct vssd_cmd *cmd);

/* The ranges are in cmd->bounce; cmd->u.at: the next one's index. */
static int dsm_next(struct vssd_cmd *cmd)
{
	const struct snv_dsm_range *range = cmd->bounce;

	while (cmd->u.at < dsm_ranges(cmd)) {
		uint64_t slba = snv_le64_get(range[cmd->u.at].slba);
		uint32_t nlb = snv_le32_get(range[cmd->u.at].nlb);

		cmd->u.at++;
		if (!nlb)
			continue;
		cmd->step = dsm_discarded;
		return change(cmd, VSSD_IO_DISCARD, slba, nlb, NULL, 0,
			      cmd->ctrl->feat.write_through);
	}
	return 0;
}

static int dsm_discarded(struct vssd_cmd *cmd)
{
	const struct snv_dsm_range *range = (struct snv_dsm_range *)cmd->bounce + cmd->u.at - 1;
	int status = cmd->io_status;

	if (!status)
		status = changed(cmd->ns, snv_le64_get(range->slba), snv_le32_get(range->nlb));
	if (!status)
		vssd_timing_discard(cmd->ns, snv_le64_get(range->slba), snv_le32_get(range->nlb));
	return status ? status : dsm_next(cmd);
}

static int dsm_step(struct vssd_cmd *cmd)
{
	size_t size = dsm_ranges(cmd) * sizeof(struct snv_dsm_range);
	bool deallocate = vssd_cdw11(cmd) & SNV_DSM_CDW11_AD;
	const struct snv_dsm_range *range;
	int status;

	if (deallocate && cmd->ns->media->readonly)
		return SNV_SC_NS_WRITE_PROTECTED;
	if (deallocate && cmd->ctrl->config.dmrsl && dsm_ranges(cmd) > 1)
		return SNV_SC_SIZE_LIMIT;
	status = vssd_map_data(cmd, size, false);
	if (status)
		return status;
	if (!vssd_bounce(cmd, size))
		return SNV_SC_INTERNAL;
	vssd_from_segs(&cmd->data, 0, cmd->bounce, size);
	range = cmd->bounce;
	for (uint32_t i = 0; i < dsm_ranges(cmd); i++)
		if (!in_bounds(cmd->ns, snv_le64_get(range[i].slba), snv_le32_get(range[i].nlb)))
			return SNV_SC_LBA_RANGE;
	if (deallocate && cmd->ctrl->config.dmrsl && snv_le32_get(range[0].nlb) > cmd->ctrl->config.dmrsl)
		return SNV_SC_SIZE_LIMIT;
	/* The other attributes are hints. */
	cmd->u.at = 0;
	return deallocate ? dsm_next(cmd) : 0;
}

/* ---- Copy: NVM 3.2.2 ------------------------------------------------------------------------- */

static uint32_t copy_ranges(const struct vssd_cmd *cmd)
{
	return (vssd_cdw12(cmd) & SNV_COPY_CDW12_NR) + 1;
}

/* PRINFOR, where other commands have PRINFO; of the write it is there already. */
static uint32_t copy_prinfor(const struct vssd_cmd *cmd)
{
	return (vssd_cdw12(cmd) & SNV_COPY_CDW12_PRINFOR) << SNV_COPY_PRINFOR_SHIFT;
}

/* Blocks behind the ranges in cmd->bounce. */
static char *copy_blocks(const struct vssd_cmd *cmd)
{
	return (char *)cmd->bounce + copy_ranges(cmd) * sizeof(struct snv_copy_range);
}

/* All has been read: write it, in one piece. */
static int copy_write(struct vssd_cmd *cmd)
{
	const struct vssd_ns *ns = cmd->ns;
	char *buf = copy_blocks(cmd);
	int status = 0;

	cmd->u.slba = slba_of(cmd);
	cmd->u.nlb = (uint32_t)cmd->u.a;
	if (ns->pi && vssd_cdw12(cmd) & SNV_RW_CDW12_PRACT)
		vssd_pi_insert(ns, buf, cmd->u.nlb, vssd_cdw14(cmd), (uint16_t)vssd_cdw15(cmd));
	else
		status = check_blocks(cmd, buf, cmd->u.nlb, 0);
	if (!status && ns->csi == VSSD_CSI_ZNS)
		status = vssd_zone_write(cmd);
	if (status)
		return status;
	complement(ns, buf, cmd->u.nlb);
	bounce_seg(cmd, (size_t)(buf - (char *)cmd->bounce), cmd->u.nlb * ns->stride);
	cmd->step = write_end;
	return submit_write(cmd, cmd);
}

static int copy_was_read(struct vssd_cmd *cmd);

/* cmd->u.at: the range to be read next, cmd->u.a: blocks read so far. */
static int copy_read(struct vssd_cmd *cmd)
{
	const struct snv_copy_range *range = (struct snv_copy_range *)cmd->bounce + cmd->u.at;
	int status;

	if (cmd->u.at == copy_ranges(cmd))
		return copy_write(cmd);
	cmd->u.slba = snv_le64_get(range->slba);
	cmd->u.nlb = snv_le16_get(range->nlb) + 1U;
	status = may_read(cmd);
	if (status)
		return status;
	cmd->step = copy_was_read;
	return read_bounce(cmd, cmd->u.slba, cmd->u.nlb,
			   (size_t)(copy_blocks(cmd) - (char *)cmd->bounce) +
			   cmd->u.a * cmd->ns->stride);
}

static int copy_was_read(struct vssd_cmd *cmd)
{
	const struct snv_copy_range *range = (struct snv_copy_range *)cmd->bounce + cmd->u.at;
	const struct vssd_ns *ns = cmd->ns;
	char *buf = copy_blocks(cmd) + cmd->u.a * ns->stride;
	int status = cmd->io_status;

	complement(ns, buf, cmd->u.nlb);
	if (!status && ns->pi)
		status = vssd_pi_check(ns, buf, cmd->u.nlb, copy_prinfor(cmd),
				       snv_le32_get(range->eilbrt), snv_le16_get(range->elbat),
				       snv_le16_get(range->elbatm));
	if (status)
		return status;
	cmd->u.a += cmd->u.nlb;
	cmd->u.at++;
	return copy_read(cmd);
}

/* Check the ranges and the destination; *@total: blocks. */
static int copy_check(const struct vssd_cmd *cmd, const struct snv_copy_range *range,
		      uint32_t *total)
{
	const struct vssd_ns *ns = cmd->ns;

	*total = 0;
	for (uint32_t i = 0; i < copy_ranges(cmd); i++, range++) {
		uint64_t slba = snv_le64_get(range->slba);
		uint32_t nlb = snv_le16_get(range->nlb) + 1U;
		int status;

		*total += nlb;
		if (nlb > VSSD_COPY_MSSRL || *total > VSSD_COPY_MCL)
			return SNV_SC_SIZE_LIMIT;
		if (!in_bounds(ns, slba, nlb))
			return SNV_SC_LBA_RANGE;
		status = check_tags(ns, copy_prinfor(cmd), snv_le32_get(range->eilbrt), slba);
		if (status)
			return status;
	}
	if (!in_bounds(ns, slba_of(cmd), *total))
		return SNV_SC_LBA_RANGE;
	return check_tags(ns, vssd_cdw12(cmd), vssd_cdw14(cmd), slba_of(cmd));
}

static int copy_step(struct vssd_cmd *cmd)
{
	uint32_t cdw12 = vssd_cdw12(cmd);
	size_t size = copy_ranges(cmd) * sizeof(struct snv_copy_range);
	struct vssd *v = cmd->ctrl->v;
	struct snv_copy_range *range;
	uint32_t total;
	int status;

	if (cdw12 & (SNV_COPY_CDW12_FORMAT | SNV_RW_CDW12_DTYPE))
		return SNV_SC_INVALID_FIELD;
	if (copy_ranges(cmd) > VSSD_COPY_MSRC + 1)
		return SNV_SC_SIZE_LIMIT;
	/* Metadata is either stripped and made anew, or passed on. */
	if (cmd->ns->pi && (cdw12 ^ copy_prinfor(cmd)) & SNV_RW_CDW12_PRACT)
		return SNV_SC_INVALID_FIELD;
	status = vssd_map_data(cmd, size, false);
	if (status)
		return status;
	range = vssd_alloc(v, size);
	if (!range)
		return SNV_SC_INTERNAL;
	vssd_from_segs(&cmd->data, 0, range, size);
	status = copy_check(cmd, range, &total);
	if (!status && !vssd_bounce(cmd, size + total * cmd->ns->stride))
		status = SNV_SC_INTERNAL;
	if (!status)
		memcpy(cmd->bounce, range, size);
	vssd_free(v, range, size);
	if (status)
		return status;
	cmd->u.at = 0;
	cmd->u.a = 0;
	return copy_read(cmd);
}

/* ---- which it is ----------------------------------------------------------------------------- */

int vssd_io_step(struct vssd_cmd *cmd)
{
	int (*step)(struct vssd_cmd *cmd);
	struct vssd_ns *ns;
	bool zoned;

	if (__builtin_expect(cmd->sqe.flags & ~SNV_SQE_PSDT, 0)) {
		if (!cmd->fused)
			return SNV_SC_INVALID_FIELD;
		cmd->step = fused_step;
		vssd_run_stopped(cmd);
		return VSSD_HELD;
	}
	ns = vssd_ns_active(cmd->ctrl, vssd_nsid(cmd));
	if (__builtin_expect(!ns, 0)) {
		if (cmd->sqe.opcode != SNV_OP_FLUSH || vssd_nsid(cmd) != SNV_NSID_ALL)
			return no_namespace(cmd);
		cmd->u.at = 0;
		cmd->step = flush_next;
		return VSSD_AGAIN;
	}
	if (ns->frozen)
		return VSSD_RETRY;
	cmd->ns = ns;
	/* Zone commands need the command set to be chosen (CC.CSS, Base 3.1.3.5). */
	zoned = ns->csi == VSSD_CSI_ZNS && cmd->ctrl->cc & SNV_CC_CSS_CSI;
	/* The most frequent one does without the jump table. */
	if (cmd->sqe.opcode == SNV_OP_READ)
		return read_step(cmd);
	switch (cmd->sqe.opcode) {
	case SNV_OP_FLUSH:
		return flush_step(cmd);
	case SNV_OP_COMPARE:
		return compare_step(cmd);
	case SNV_OP_VERIFY:
		return verify_step(cmd);
	case SNV_OP_DSM:
		return dsm_step(cmd);
	case SNV_OP_ZONE_MGMT_RECV:
		return zoned ? vssd_zone_mgmt_recv(cmd) : SNV_SC_INVALID_OPCODE;
	case SNV_OP_WRITE:
		step = write_step;
		break;
	case SNV_OP_WRITE_ZEROES:
		step = write_zeroes_step;
		break;
	case SNV_OP_WRITE_UNCOR:
		step = write_uncor_step;
		break;
	case SNV_OP_COPY:
		step = copy_step;
		break;
	case SNV_OP_ZONE_APPEND:
		step = zoned ? write_step : NULL;
		break;
	case SNV_OP_ZONE_MGMT_SEND:
		step = zoned ? vssd_zone_mgmt_send : NULL;
		break;
	default:
		step = NULL;
	}
	if (!step)
		return SNV_SC_INVALID_OPCODE;
	return ns->media->readonly ? SNV_SC_NS_WRITE_PROTECTED : step(cmd);
}
