// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Host memory as commands describe it: PRPs (Base 4.1.1) and SGLs (Base 4.1.2), and copying to and
 * from it. All of it is read once, and nothing is touched that translate() does not vouch for.
 */
#include "core.h"

#define MAX_DESCRIPTORS	65536	/* of one SGL, segments included: a chain may be a circle */
#define BATCH		32	/* PRP entries, SGL descriptors copied at a time */

/* Twice the room in @segs; what is there stays. */
static bool grow(struct vssd *v, struct vssd_segs *segs)
{
	struct vssd_seg *seg = vssd_alloc(v, 2 * segs->cap * sizeof(*seg));

	if (!seg)
		return false;
	memcpy(seg, segs->seg, segs->n * sizeof(*seg));
	if (segs->seg != segs->inl)
		vssd_free(v, segs->seg, segs->cap * sizeof(*seg));
	segs->seg = seg;
	segs->cap *= 2;
	return true;
}

void vssd_segs_free(struct vssd *v, struct vssd_segs *segs)
{
	if (segs->seg != segs->inl)
		vssd_free(v, segs->seg, segs->cap * sizeof(*segs->seg));
	segs->seg = segs->inl;
	segs->cap = VSSD_INLINE_SEGS;
}

static int add(struct vssd *v, struct vssd_segs *segs, void *va, size_t length)
{
	struct vssd_seg *last = segs->n ? &segs->seg[segs->n - 1] : NULL;

	if (last && va && last->va && (char *)last->va + last->length == va) {
		last->length += length;
		return 0;
	}
	if (segs->n == segs->cap && !grow(v, segs))
		return SNV_SC_INTERNAL;
	segs->seg[segs->n].va = va;
	segs->seg[segs->n].length = length;
	segs->n++;
	return 0;
}

/* @length bytes at @addr, however they are scattered in our sight. */
static int add_bytes(struct vssd_ctrl *ctrl, struct vssd_segs *segs, uint64_t addr, uint64_t length)
{
	while (length) {
		size_t part = length;
		void *va = segs->far ? vssd_translate_data(ctrl, addr, &part) :
				       vssd_translate(ctrl, addr, &part);

		if (!va)
			return SNV_SC_DATA_XFER_ERROR;
		if (add(ctrl->v, segs, va, part))
			return SNV_SC_INTERNAL;
		addr += part;
		length -= part;
	}
	return 0;
}

/* Copy @length bytes of host memory at @addr: a list, about to be looked at. */
static int read_host(struct vssd_ctrl *ctrl, uint64_t addr, void *buf, size_t length)
{
	char *to = buf;

	while (length) {
		size_t part = length;
		const void *va = vssd_translate(ctrl, addr, &part);

		if (!va)
			return SNV_SC_DATA_XFER_ERROR;
		memcpy(to, va, part);
		to += part;
		addr += part;
		length -= part;
	}
	return 0;
}

/*
 * PRP lists: entries from @addr on until @length bytes are described. The last entry of a page leads
 * to the next list if more than it can describe is left; only the first list may begin inside a
 * page, so that each list makes progress.
 */
static int map_prp_list(struct vssd_ctrl *ctrl, struct vssd_segs *segs, uint64_t addr,
			uint64_t length)
{
	uint64_t page = 1ULL << ctrl->page_shift;
	__le64 list[BATCH];

	if (addr & 7)
		return SNV_SC_PRP_INVALID_OFFSET;
	while (length) {
		uint64_t room = (page - (addr & (page - 1))) / sizeof(__le64);
		uint64_t need = (length + page - 1) >> ctrl->page_shift;
		bool chained = need > room;
		uint64_t n = chained ? room - 1 : need;
		int ret;

		while (n) {
			uint32_t batch = n < BATCH ? (uint32_t)n : BATCH;

			ret = read_host(ctrl, addr, list, batch * sizeof(*list));
			if (ret)
				return ret;
			for (uint32_t i = 0; i < batch; i++) {
				uint64_t entry = snv_le64_get(list[i]);
				uint64_t part = length < page ? length : page;

				if (entry & (page - 1))
					return SNV_SC_PRP_INVALID_OFFSET;
				ret = add_bytes(ctrl, segs, entry, part);
				if (ret)
					return ret;
				length -= part;
			}
			addr += batch * sizeof(*list);
			n -= batch;
		}
		if (!chained)
			break;
		ret = read_host(ctrl, addr, list, sizeof(*list));
		if (ret)
			return ret;
		addr = snv_le64_get(list[0]);
		if (addr & (page - 1))
			return SNV_SC_PRP_INVALID_OFFSET;
	}
	return 0;
}

static int map_prp(struct vssd_cmd *cmd, uint64_t length)
{
	struct vssd_ctrl *ctrl = cmd->ctrl;
	struct vssd_segs *segs = &cmd->data;
	uint64_t prp1 = snv_le64_get(cmd->sqe.prp1), prp2 = snv_le64_get(cmd->sqe.prp2);
	uint64_t page = 1ULL << ctrl->page_shift;
	uint64_t first = page - (prp1 & (page - 1));
	int ret;

	if (prp1 & 3)
		return SNV_SC_PRP_INVALID_OFFSET;
	if (length <= first)
		return add_bytes(ctrl, segs, prp1, length);
	ret = add_bytes(ctrl, segs, prp1, first);
	if (ret)
		return ret;
	length -= first;
	if (length > page)
		return map_prp_list(ctrl, segs, prp2, length);
	if (prp2 & (page - 1))
		return SNV_SC_PRP_INVALID_OFFSET;
	return add_bytes(ctrl, segs, prp2, length);
}

/* What a walk through an SGL has left to describe. */
struct sgl_walk {
	uint64_t length;
	uint32_t descriptors;
	bool to_host;
};

/* A Data Block or Bit Bucket descriptor. */
static int sgl_block(struct vssd_ctrl *ctrl, struct vssd_segs *segs,
		     const struct snv_sgl_desc *desc, struct sgl_walk *walk, bool last)
{
	uint64_t length = snv_le32_get(desc->length);
	int ret;

	/* An SGL that is longer than the data is an error (SGLS bit 18 is not offered). */
	if (desc->type >> 4 == SNV_SGL_BIT_BUCKET) {
		if (!walk->to_host)	/* passed over, but the data may still lack bytes */
			length = 0;
		if (length > walk->length)
			return SNV_SC_SGL_INVALID_DATA;
		ret = length && add(ctrl->v, segs, NULL, length) ? SNV_SC_INTERNAL : 0;
	} else {
		if (length > walk->length)
			return SNV_SC_SGL_INVALID_DATA;
		ret = add_bytes(ctrl, segs, snv_le64_get(desc->addr), length);
	}
	walk->length -= length;
	return !ret && last && walk->length ? SNV_SC_SGL_INVALID_DATA : ret;
}

/* The segment that @seg describes. *@next: the segment that follows; its type is 0 if none does. */
static int sgl_segment(struct vssd_ctrl *ctrl, struct vssd_segs *segs,
		       const struct snv_sgl_desc *seg, struct sgl_walk *walk,
		       struct snv_sgl_desc *next)
{
	bool last_segment = seg->type >> 4 == SNV_SGL_LAST_SEGMENT;
	uint64_t addr = snv_le64_get(seg->addr);
	uint32_t bytes = snv_le32_get(seg->length);
	uint32_t n = bytes / sizeof(*seg);
	struct snv_sgl_desc list[BATCH];

	next->type = 0;
	if (!bytes || bytes % sizeof(*seg))
		return SNV_SC_SGL_INVALID_LAST;
	while (n) {
		uint32_t batch = n < BATCH ? n : BATCH;
		int ret = read_host(ctrl, addr, list, batch * sizeof(*list));

		if (ret)
			return ret;
		for (uint32_t i = 0; i < batch; i++) {
			uint32_t type = list[i].type >> 4;
			bool last = i + 1 == n;

			if (walk->descriptors++ >= MAX_DESCRIPTORS)
				return SNV_SC_SGL_INVALID_COUNT;
			if (list[i].type & 0xf)		/* subtypes: offsets, not offered */
				return SNV_SC_SGL_INVALID_TYPE;
			switch (type) {
			case SNV_SGL_DATA:
			case SNV_SGL_BIT_BUCKET:
				/* A segment that is not the last ends with the way to the next. */
				if (last && !last_segment)
					return SNV_SC_SGL_INVALID_LAST;
				ret = sgl_block(ctrl, segs, &list[i], walk, last);
				if (ret)
					return ret;
				break;
			case SNV_SGL_SEGMENT:
			case SNV_SGL_LAST_SEGMENT:
				if (!last)
					return SNV_SC_SGL_INVALID_COUNT;
				if (last_segment)
					return SNV_SC_SGL_INVALID_LAST;
				*next = list[i];
				break;
			default:
				return SNV_SC_SGL_INVALID_TYPE;
			}
		}
		addr += batch * sizeof(*list);
		n -= batch;
	}
	return 0;
}

static int map_sgl(struct vssd_ctrl *ctrl, struct vssd_segs *segs, struct snv_sgl_desc desc,
		   uint64_t length, bool to_host)
{
	struct sgl_walk walk = { .length = length, .to_host = to_host };

	if (desc.type & 0xf)
		return SNV_SC_SGL_INVALID_TYPE;
	if (desc.type >> 4 == SNV_SGL_DATA || desc.type >> 4 == SNV_SGL_BIT_BUCKET)
		return sgl_block(ctrl, segs, &desc, &walk, true);
	if (desc.type >> 4 != SNV_SGL_SEGMENT && desc.type >> 4 != SNV_SGL_LAST_SEGMENT)
		return SNV_SC_SGL_INVALID_TYPE;
	while (desc.type) {
		struct snv_sgl_desc next;
		int ret = sgl_segment(ctrl, segs, &desc, &walk, &next);

		if (ret)
			return ret;
		desc = next;
	}
	return walk.length ? SNV_SC_SGL_INVALID_DATA : 0;
}

void vssd_forget(struct vssd *v)
{
	for (uint32_t i = 0; i < v->workers; i++)
		memset(v->worker[i]->known, 0, sizeof(v->worker[i]->known));
}

/*
 * What is at @addr; NULL: @length bytes of it are not contiguous. Remembered, as far as it is so within the 2 MiB
 * around: data buffers are used over and over.
 */
char *vssd_learn(struct vssd_worker *w, struct vssd_ctrl *ctrl, uint64_t addr, size_t length)
{
	struct vssd_known *known = &w->known[addr >> VSSD_KNOWN_SHIFT & (VSSD_KNOWN - 1)];
	size_t most = (1ULL << VSSD_KNOWN_SHIFT) - (addr & ((1ULL << VSSD_KNOWN_SHIFT) - 1));
	char *va;

	if (most < length)
		return NULL;
	va = vssd_translate_data(ctrl, addr, &most);
	if (!va || most < length)
		return NULL;
	if (!ctrl->host.transient)
		*known = (struct vssd_known){ .ctrl = ctrl, .addr = addr, .length = most, .va = va };
	return va;
}

/* One page, as most data are: no loop, no list. */
static inline bool map_one(struct vssd_cmd *cmd, uint64_t length)
{
	uint64_t prp1 = snv_le64_get(cmd->sqe.prp1);
	uint64_t page = 1ULL << cmd->ctrl->page_shift;

	if ((prp1 & (page - 1)) + length > page || prp1 & 3)
		return false;
	cmd->data.seg[0].va = vssd_known(cmd->worker, cmd->ctrl, prp1, length);
	cmd->data.seg[0].length = length;
	cmd->data.n = 1;
	return cmd->data.seg[0].va;
}

static int map(struct vssd_cmd *cmd, uint64_t length, bool to_host, bool far)
{
	uint8_t psdt = cmd->sqe.flags & SNV_SQE_PSDT;
	struct snv_sgl_desc desc;
	int ret;

	cmd->length = length;
	cmd->data.far = far;
	/* What workers remember is for media. */
	if (far && !psdt && length && map_one(cmd, length))
		goto out;
	cmd->data.n = 0;
	if (!psdt) {
		ret = map_prp(cmd, length);
	} else if (psdt == SNV_SQE_PSDT || !cmd->ctrl->config.sgl || !cmd->sq->qid) {
		return SNV_SC_INVALID_FIELD;
	} else {
		memcpy(&desc, &cmd->sqe.prp1, sizeof(desc));
		ret = map_sgl(cmd->ctrl, &cmd->data, desc, length, to_host);
	}
	if (ret)
		return ret;
out:
	vssd_trace(cmd->worker, VSSD_STEP_MAP, cmd, cmd->data.n);
	return 0;
}

int vssd_map_data(struct vssd_cmd *cmd, uint64_t length, bool to_host)
{
	return map(cmd, length, to_host, false);
}

int vssd_map_far(struct vssd_cmd *cmd, uint64_t length, bool to_host)
{
	return map(cmd, length, to_host, true);
}

int vssd_map_meta(struct vssd_cmd *cmd, uint64_t length)
{
	uint8_t psdt = cmd->sqe.flags & SNV_SQE_PSDT;
	uint64_t mptr = snv_le64_get(cmd->sqe.mptr);
	struct snv_sgl_desc desc;
	int ret;

	cmd->meta.n = 0;
	/* PSDT 10b: the address of an SGL segment of one descriptor; else that of a buffer. */
	if (psdt == SNV_SQE_PSDT_SGL_MSEG) {
		if (mptr & 7)
			return SNV_SC_INVALID_FIELD;
		ret = read_host(cmd->ctrl, mptr, &desc, sizeof(desc));
		if (ret)
			return ret;
		ret = map_sgl(cmd->ctrl, &cmd->meta, desc, length, false);
		return ret == SNV_SC_SGL_INVALID_DATA ? SNV_SC_SGL_INVALID_METADATA : ret;
	}
	if (mptr & 3)
		return SNV_SC_INVALID_FIELD;
	return add_bytes(cmd->ctrl, &cmd->meta, mptr, length);
}

/* Between segments from byte @at on and a flat buffer: exactly one of @to, @from is not NULL. */
static void copy(const struct vssd_segs *segs, uint64_t at, void *to, const void *from,
		 size_t length)
{
	for (uint32_t i = 0; i < segs->n && length; i++) {
		const struct vssd_seg *seg = &segs->seg[i];
		size_t part;

		if (at >= seg->length) {
			at -= seg->length;
			continue;
		}
		part = seg->length - at < length ? seg->length - at : length;
		if (to && seg->va)
			memcpy(to, (char *)seg->va + at, part);
		else if (to)
			memset(to, 0, part);
		else if (seg->va)
			memcpy((char *)seg->va + at, from, part);
		if (to)
			to = (char *)to + part;
		else
			from = (const char *)from + part;
		length -= part;
		at = 0;
	}
}

void vssd_to_segs(const struct vssd_segs *segs, uint64_t at, const void *buf, size_t length)
{
	copy(segs, at, NULL, buf, length);
}

void vssd_from_segs(const struct vssd_segs *segs, uint64_t at, void *buf, size_t length)
{
	copy(segs, at, buf, NULL, length);
}

int vssd_admin_out(struct vssd_cmd *cmd, const void *buf, size_t size, size_t length)
{
	int ret;

	if (length > size)
		length = size;
	ret = vssd_map_data(cmd, length, true);
	if (!ret)
		vssd_to_segs(&cmd->data, 0, buf, length);
	return ret;
}

int vssd_admin_in(struct vssd_cmd *cmd, void *buf, size_t size)
{
	int ret = vssd_map_data(cmd, size, false);

	if (!ret)
		vssd_from_segs(&cmd->data, 0, buf, size);
	return ret;
}

static struct vssd_cmd *cmd_of(struct vssd_io *io)
{
	return (struct vssd_cmd *)((char *)io - offsetof(struct vssd_cmd, io));
}

static void media_done(struct vssd_io *io, int status)
{
	struct vssd_cmd *cmd = cmd_of(io);

	cmd->io_status = status;
	vssd_media_ended(cmd);
}

int vssd_media_io(struct vssd_cmd *cmd, enum vssd_io_op op, uint64_t offset, uint64_t length,
		  const struct vssd_seg *seg, uint32_t segs, bool fua)
{
	struct vssd_media *media = cmd->ns->media;
	struct vssd_io *io = &cmd->io;
	int ret;

	io->op = op;
	io->fua = fua;
	io->dead = false;
	io->worker = cmd->worker->index;
	io->offset = offset;
	io->length = length;
	io->seg = seg;
	io->segs = segs;
	io->done = media_done;
	ret = media->ops->submit(media, io);
	if (ret == VSSD_PENDING)
		return ret;
	cmd->io_status = ret;
	return VSSD_AGAIN;
}

bool vssd_bounce(struct vssd_cmd *cmd, size_t size)
{
	cmd->bounce = vssd_alloc(cmd->ctrl->v, size);
	cmd->bounce_size = size;
	return cmd->bounce;
}
