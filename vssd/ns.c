// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Namespaces: making and unmaking them, Format NVM (Base 5.14), Namespace Management (5.23) and
 * Namespace Attachment (5.22).
 */
#include "core.h"

#define MAX_MEDIA	(1ULL << 60)	/* bytes: sums of a few of them do not overflow */
#define ZONE_SIZE	(64ULL << 20)	/* of zoned namespaces that hosts create: bytes of data */
#define MAX_CTRL_LIST	2047

const struct vssd_lbaf vssd_lbaf[VSSD_NLBAF] = {
	{ .ds = 9 }, { .ds = 9, .ms = 8 }, { .ds = 12 }, { .ds = 12, .ms = 8 },
};

/* ---- what a namespace is --------------------------------------------------------------------- */

static uint64_t stride_of(uint32_t format)
{
	return (1ULL << vssd_lbaf[format].ds) + vssd_lbaf[format].ms;
}

uint64_t vssd_zone_scale(const struct vssd_ns *ns, uint64_t blocks, uint32_t format)
{
	uint64_t bytes = blocks << ns->lba_shift;

	return bytes & ((1ULL << vssd_lbaf[format].ds) - 1) ? 0 : bytes >> vssd_lbaf[format].ds;
}

/* Does at least one zone fit, in its old size, once blocks have @format? */
static bool zones_fit(const struct vssd_ns *ns, uint32_t format)
{
	uint64_t blocks = vssd_zone_scale(ns, ns->zone_blocks, format);

	return blocks && vssd_zone_scale(ns, ns->zone_capacity, format) &&
	       blocks <= ns->media->size / stride_of(format);
}

static void set_format(struct vssd_ns *ns, uint32_t format)
{
	ns->format = format;
	ns->lba_shift = vssd_lbaf[format].ds;
	ns->lba_size = 1U << ns->lba_shift;
	ns->ms = vssd_lbaf[format].ms;
	ns->stride = stride_of(format);
	ns->nsze = ns->media->size / ns->stride;
	if (ns->csi == VSSD_CSI_ZNS)
		ns->nsze -= ns->nsze % ns->zone_blocks;
	ns->plain = ns->csi == VSSD_CSI_NVM && !ns->ms && !ns->media->ops->poll &&
		    !ns->media->readonly && !ns->media->volatile_cache && !ns->v->power_loss;
}

/*
 * Identifiers follow from serial number and model: a subsystem has the same after a restart.
 * A UUID whose bits mean nothing is one of version 8: RFC 9562 section 5.8.
 */
void vssd_uuid(const struct vssd *v, uint64_t salt, uint8_t uuid[16])
{
	uint64_t x = 0xcbf29ce484222325ULL;

	for (uint32_t i = 0; i < sizeof(v->serial); i++)
		x = (x ^ (uint8_t)v->serial[i]) * 0x100000001b3ULL;
	for (uint32_t i = 0; i < sizeof(v->model); i++)
		x = (x ^ (uint8_t)v->model[i]) * 0x100000001b3ULL;
	for (uint32_t i = 0; i < 8; i++)
		x = (x ^ (salt >> 8 * i & 0xff)) * 0x100000001b3ULL;
	for (uint32_t i = 0; i < 16; i++) {
		/* The low bits of such a product mix poorly. */
		x = (x ^ x >> 32) * 0x9e3779b97f4a7c15ULL;
		uuid[i] = (uint8_t)(x >> 56);
	}
	uuid[6] = (uuid[6] & 0x0f) | 0x80;
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
}

/* @salt: of no two namespaces the same. */
static void set_identifiers(struct vssd_ns *ns, uint64_t salt)
{
	vssd_uuid(ns->v, salt, ns->uuid);
	/* An NGUID ends with an EUI-64: a locally administered one, as we have no OUI. */
	vssd_uuid(ns->v, ~salt, ns->nguid);
	ns->nguid[8] = 0x02;
	memcpy(ns->eui64, ns->nguid + 8, sizeof(ns->eui64));
}

/* ---- room in the timing model's address space ------------------------------------------------ */

static uint64_t flash_room(const struct vssd_ns *ns)
{
	uint64_t page = ns->v->timing.page;

	return (ns->media->size + page - 1) & ~(page - 1);
}

/* The first gap that is large enough: 0, -ENOMEM. Stopped. */
static int flash_place(struct vssd_ns *ns)
{
	struct vssd *v = ns->v;
	uint64_t room, base = 0;
	int ret;

	if (v->timing.model != VSSD_MODEL_FLASH)
		return 0;
	room = flash_room(ns);
	for (uint32_t i = 1; i <= VSSD_MAX_NS; i++) {
		const struct vssd_ns *other = v->ns[i];
		uint64_t end = other ? other->flash_base + flash_room(other) : 0;

		if (base < end && other->flash_base < base + room) {
			base = end;
			i = 0;
		}
	}
	if (base + room > v->flash_end) {
		ret = vssd_flash_grow(v, base + room);
		if (ret)
			return ret;
		v->flash_end = base + room;
	}
	ns->flash_base = base;
	return 0;
}

/* The model's pages under @ns hold nothing any more. */
static void flash_trim(struct vssd_ns *ns)
{
	struct vssd *v = ns->v;

	if (v->timing.model == VSSD_MODEL_FLASH)
		vssd_timing_end(v, vssd_now(v), VSSD_IO_DISCARD, ns->flash_base, flash_room(ns));
}

/* ---- making and unmaking --------------------------------------------------------------------- */

/* The format of blocks of @lba_size and @metadata bytes, or VSSD_NLBAF. */
static uint32_t find_format(uint32_t lba_size, uint32_t metadata)
{
	uint32_t i = 0;

	while (i < VSSD_NLBAF &&
	       (1U << vssd_lbaf[i].ds != lba_size || vssd_lbaf[i].ms != metadata))
		i++;
	return i;
}

static bool zones_valid(const struct vssd_ns_config *c, uint64_t blocks)
{
	return c->zone_blocks && c->zone_blocks <= blocks && c->zone_capacity <= c->zone_blocks;
}

static bool config_valid(const struct vssd_ns_config *c, uint32_t format)
{
	uint64_t blocks;

	if (format == VSSD_NLBAF || c->pi > 3 || (c->pi && !c->metadata) || !c->media ||
	    c->media->size > MAX_MEDIA)
		return false;
	blocks = c->media->size / stride_of(format);
	switch (c->csi) {
	case VSSD_CSI_NVM:
		return blocks;
	case VSSD_CSI_ZNS:
		return zones_valid(c, blocks);
	}
	return false;
}

void vssd_ns_free(struct vssd_ns *ns)
{
	struct vssd *v = ns->v;

	vssd_undo_drop(ns);
	if (ns->csi == VSSD_CSI_ZNS)
		vssd_zns_free(ns);
	vssd_free(v, ns->wu, ns->cap_wu * sizeof(*ns->wu));
	ns->media->ops->close(ns->media);
	vssd_free(v, ns, sizeof(*ns));
}

/* @c->media remains the caller's if this fails: -EINVAL, -ENOMEM. Stopped. */
static int ns_create(struct vssd *v, const struct vssd_ns_config *c, uint64_t salt)
{
	uint32_t format = find_format(c->lba_size, c->metadata);
	struct vssd_ns *ns;
	int ret;

	if (!config_valid(c, format))
		return -EINVAL;
	ns = vssd_alloc(v, sizeof(*ns));
	if (!ns)
		return -ENOMEM;
	ns->v = v;
	ns->media = c->media;
	ns->nsid = c->nsid;
	ns->csi = c->csi;
	ns->pi = c->pi;
	ns->pi_first = c->pi_first;
	ns->extended = c->extended && c->metadata;
	ns->zone_blocks = c->zone_blocks;
	ns->zone_capacity = c->zone_capacity ? c->zone_capacity : c->zone_blocks;
	ns->max_open = c->max_open;
	ns->max_active = c->max_active;
	set_format(ns, format);
	set_identifiers(ns, salt);
	ret = flash_place(ns);
	if (!ret && ns->csi == VSSD_CSI_ZNS)
		ret = vssd_zns_init(ns);
	if (ret) {
		vssd_free(v, ns, sizeof(*ns));
		return ret;
	}
	v->ns[c->nsid] = ns;
	return 0;
}

/* The first NSID that is free, or 0. */
static uint32_t free_nsid(const struct vssd *v)
{
	for (uint32_t nsid = 1; nsid <= VSSD_MAX_NS; nsid++)
		if (!v->ns[nsid])
			return nsid;
	return 0;
}

/* @ns as @ctrl sees it has come, changed, or gone: Base 5.2, 5.16.1.5. Stopped. */
static void ns_changed(struct vssd_ctrl *ctrl, uint32_t nsid)
{
	uint32_t *list = ctrl->changed_ns;
	uint32_t i = 0;

	if (!vssd_ctrl_runs(ctrl))
		return;
	while (i < ctrl->n_changed_ns && list[i] < nsid)
		i++;
	if (i == ctrl->n_changed_ns || list[i] != nsid) {
		memmove(list + i + 1, list + i, (ctrl->n_changed_ns - i) * sizeof(*list));
		list[i] = nsid;
		ctrl->n_changed_ns++;
	}
	vssd_event(ctrl, SNV_AER_NOTICE, SNV_AER_NOTICE_NS_CHANGED, SNV_LOG_CHANGED_NS);
}

/* Likewise for all controllers in @mask, a bit for each CNTLID. */
static void ns_changed_for(struct vssd *v, uint64_t mask, uint32_t nsid)
{
	for (uint32_t i = 0; i < v->n_ctrl; i++)
		if (v->ctrl[i] && mask >> i & 1)
			ns_changed(v->ctrl[i], nsid);
}

int vssd_ns_add(struct vssd *v, const struct vssd_ns_config *config, uint32_t *nsid)
{
	struct vssd_ns_config c = *config;
	int ret;

	if (c.nsid > VSSD_MAX_NS)
		return -EINVAL;
	vssd_stop(v);
	if (!c.nsid)
		c.nsid = free_nsid(v);
	if (!c.nsid || v->ns[c.nsid])
		ret = -EEXIST;
	else
		ret = ns_create(v, &c, c.nsid);
	if (!ret) {
		v->ns[c.nsid]->shared = true;
		v->ns[c.nsid]->attached = UINT64_MAX;
		v->ns[c.nsid]->everywhere = true;
		ns_changed_for(v, UINT64_MAX, c.nsid);
	}
	vssd_go(v);
	vssd_wake(v, 0);	/* of the interrupt that it may owe */
	if (!ret && nsid)
		*nsid = c.nsid;
	return ret;
}

/* ---- who may have it ------------------------------------------------------------------------- */

struct vssd_ns *vssd_ns_active(const struct vssd_ctrl *ctrl, uint32_t nsid)
{
	struct vssd_ns *ns = nsid <= VSSD_MAX_NS ? ctrl->v->ns[nsid] : NULL;

	return ns && vssd_attached(ctrl, ns) ? ns : NULL;
}

int vssd_freeze(struct vssd_ns *ns, struct vssd_cmd *cmd)
{
	if (ns->frozen && ns->frozen != cmd)
		return VSSD_RETRY;
	ns->frozen = cmd;
	for (uint32_t i = 0; i < ns->v->workers; i++)
		if (ns->inflight[i])
			return VSSD_RETRY;
	return 0;
}

void vssd_thaw(struct vssd_ns *ns, struct vssd_cmd *cmd)
{
	if (ns->frozen == cmd)
		ns->frozen = NULL;
}

/*
 * Freeze @ns for @cmd; false: not yet. cmd->ns says what is to be thawed if @cmd ends while it
 * waits; but not while somebody else has @ns, and may delete it.
 */
bool vssd_own(struct vssd_cmd *cmd, struct vssd_ns *ns)
{
	int ret = vssd_freeze(ns, cmd);

	cmd->ns = ns->frozen == cmd ? ns : NULL;
	return !ret;
}

void vssd_disown(struct vssd_cmd *cmd)
{
	vssd_thaw(cmd->ns, cmd);
	cmd->ns = NULL;
}

/* The allocated namespace of @cmd's NSID; or NULL, and *@status (Base 3.2.1.4, 3.2.1.5). */
static struct vssd_ns *allocated(const struct vssd_cmd *cmd, int *status)
{
	uint32_t nsid = vssd_nsid(cmd);

	if (!nsid || nsid > VSSD_MAX_NS) {
		*status = SNV_SC_INVALID_NS;
		return NULL;
	}
	*status = SNV_SC_INVALID_FIELD;
	return cmd->ctrl->v->ns[nsid];
}

/* Commands that go through one namespace, or all: cmd->u.at is the next, cmd->u.a the last. */
static void set_scope(struct vssd_cmd *cmd)
{
	bool all = vssd_nsid(cmd) == SNV_NSID_ALL;

	cmd->u.at = all ? 1 : vssd_nsid(cmd);
	cmd->u.a = all ? VSSD_MAX_NS : vssd_nsid(cmd);
}

/* ---- Format NVM: Base 5.14, NVM 4.1.2 -------------------------------------------------------- */

static uint32_t format_index(uint32_t cdw10)
{
	return (cdw10 & 0xf) | (cdw10 >> 12 & 3) << 4;
}

/* Can @ns be given the format of @cdw10? 0 or a status. */
static int format_check(const struct vssd_ns *ns, uint32_t cdw10)
{
	uint32_t format = format_index(cdw10);
	uint32_t pi = cdw10 >> 5 & 7;

	/* Nothing is encrypted: there is no key to forget (SES 2). */
	if ((cdw10 >> 9 & 7) > 1)
		return SNV_SC_INVALID_FIELD;
	if (format >= VSSD_NLBAF || pi > 3 || (pi && !vssd_lbaf[format].ms))
		return SNV_SC_INVALID_FORMAT;
	if (ns->media->size < stride_of(format) ||
	    (ns->csi == VSSD_CSI_ZNS && !zones_fit(ns, format)))
		return SNV_SC_INVALID_FORMAT;
	return ns->media->readonly ? SNV_SC_NS_WRITE_PROTECTED : 0;
}

/* The medium is empty, and @ns nobody else's. 0 or a status. */
static int reformat(struct vssd_ns *ns, uint32_t cdw10)
{
	uint32_t format = format_index(cdw10);

	vssd_undo_drop(ns);
	flash_trim(ns);
	SNV_STORE_RELAXED(&ns->n_wu, 0);
	if (ns->csi == VSSD_CSI_ZNS) {
		uint64_t blocks = vssd_zone_scale(ns, ns->zone_blocks, format);
		uint64_t capacity = vssd_zone_scale(ns, ns->zone_capacity, format);

		vssd_zns_free(ns);
		ns->zone_blocks = blocks;
		ns->zone_capacity = capacity;
	}
	set_format(ns, format);
	ns->pi = cdw10 >> 5 & 7;
	ns->pi_first = cdw10 >> 8 & 1;
	ns->extended = (cdw10 >> 4 & 1) && ns->ms;
	if (ns->csi == VSSD_CSI_ZNS && vssd_zns_init(ns)) {
		ns->nsze = 0;	/* there is no block, until another Format finds the memory */
		ns->n_zones = 0;
		return SNV_SC_INTERNAL;
	}
	return 0;
}

static int format_next(struct vssd_cmd *cmd);

static int format_erased(struct vssd_cmd *cmd)
{
	struct vssd_ctrl *ctrl = cmd->ctrl;
	struct vssd_ns *ns = cmd->ns;
	int status = cmd->io_status;

	if (!status)
		status = reformat(ns, vssd_cdw10(cmd));
	vssd_disown(cmd);
	if (status)
		return status;
	ns_changed_for(ctrl->v, ns->attached & ~(1ULL << ctrl->cntlid), ns->nsid);
	cmd->u.at++;
	cmd->step = format_next;
	return VSSD_AGAIN;
}

/* Is @ns one of those that @cmd formats? All means all that are attached: Base figure 325. */
static bool in_format_scope(const struct vssd_cmd *cmd, const struct vssd_ns *ns)
{
	return ns && (vssd_nsid(cmd) != SNV_NSID_ALL || vssd_attached(cmd->ctrl, ns));
}

static int format_next(struct vssd_cmd *cmd)
{
	struct vssd *v = cmd->ctrl->v;

	for (; cmd->u.at <= cmd->u.a; cmd->u.at++) {
		struct vssd_ns *ns = v->ns[cmd->u.at];
		int status;

		if (!in_format_scope(cmd, ns))
			continue;
		if (!vssd_own(cmd, ns))
			return VSSD_RETRY;
		/* What was asked first may have changed while others had the namespace. */
		status = format_check(ns, vssd_cdw10(cmd));
		if (status) {
			vssd_disown(cmd);
			return status;
		}
		cmd->step = format_erased;
		return vssd_media_io(cmd, VSSD_IO_DISCARD, 0, ns->media->size, NULL, 0, true);
	}
	return 0;
}

int vssd_format(struct vssd_cmd *cmd)
{
	struct vssd *v = cmd->ctrl->v;
	int status;

	if (vssd_nsid(cmd) != SNV_NSID_ALL && !allocated(cmd, &status))
		return status;
	/* One that cannot be formatted, and none is. */
	set_scope(cmd);
	for (uint32_t nsid = cmd->u.at; nsid <= cmd->u.a; nsid++) {
		if (!in_format_scope(cmd, v->ns[nsid]))
			continue;
		status = format_check(v->ns[nsid], vssd_cdw10(cmd));
		if (status)
			return status;
	}
	cmd->step = format_next;
	return VSSD_AGAIN;
}

/* ---- Namespace Management: Base 5.23 --------------------------------------------------------- */

/* The fields a host may choose, @id, and their command set: @c. 0 or a status. */
static int create_check(const struct snv_id_ns *id, uint32_t csi, struct vssd_ns_config *c)
{
	uint32_t format = (id->flbas & SNV_FLBAS_LOW) |
			  (id->flbas & SNV_FLBAS_HIGH) >> SNV_FLBAS_HIGH_SHIFT << 4;
	uint64_t nsze = snv_le64_get(id->nsze);
	uint64_t ncap = snv_le64_get(id->ncap);

	if (csi != VSSD_CSI_NVM && csi != VSSD_CSI_ZNS)
		return SNV_SC_IOCS_UNSUPPORTED;
	if (ncap < nsze)
		return SNV_SC_THIN_PROV_UNSUPPORTED;
	if (!nsze || ncap > nsze || id->nmic & ~SNV_NMIC_SHARED || snv_le32_get(id->anagrpid) ||
	    snv_le16_get(id->nvmsetid) || snv_le16_get(id->endgid) ||
	    id->dps & ~(SNV_DPS_PI | SNV_DPS_FIRST))
		return SNV_SC_INVALID_FIELD;
	c->csi = (enum vssd_csi)csi;
	c->pi = id->dps & SNV_DPS_PI;
	if (format >= VSSD_NLBAF || c->pi > 3 || (c->pi && !vssd_lbaf[format].ms))
		return SNV_SC_INVALID_FORMAT;
	c->lba_size = 1U << vssd_lbaf[format].ds;
	c->metadata = vssd_lbaf[format].ms;
	c->pi_first = id->dps & SNV_DPS_FIRST;
	c->extended = id->flbas & SNV_FLBAS_EXTENDED;
	c->zone_blocks = csi == VSSD_CSI_ZNS ? ZONE_SIZE >> vssd_lbaf[format].ds : 0;
	if (c->zone_blocks && nsze % c->zone_blocks)
		return SNV_SC_INVALID_FIELD;
	return nsze > MAX_MEDIA / stride_of(format) ? SNV_SC_NS_INSUFFICIENT_CAP : 0;
}

static int management_create(struct vssd_cmd *cmd)
{
	struct vssd *v = cmd->ctrl->v;
	struct vssd_ns_config c = { .nsid = free_nsid(v) };
	const struct snv_id_ns *id;
	int status;

	if (!vssd_bounce(cmd, sizeof(*id)))
		return SNV_SC_INTERNAL;
	id = cmd->bounce;
	status = vssd_admin_in(cmd, cmd->bounce, sizeof(*id));
	if (!status)
		status = create_check(id, vssd_cdw11(cmd) >> 24, &c);
	if (status)
		return status;
	if (!c.nsid)
		return SNV_SC_NS_ID_UNAVAILABLE;
	if (v->env.media_create)
		c.media = v->env.media_create(v->env.ctx,
					      snv_le64_get(id->nsze) * (c.lba_size + c.metadata));
	if (!c.media)
		return SNV_SC_NS_INSUFFICIENT_CAP;
	if (ns_create(v, &c, vssd_random(v))) {
		c.media->ops->close(c.media);
		return SNV_SC_NS_INSUFFICIENT_CAP;
	}
	v->ns[c.nsid]->shared = id->nmic & SNV_NMIC_SHARED;
	cmd->dw0 = c.nsid;
	return 0;
}

static int delete_next(struct vssd_cmd *cmd)
{
	struct vssd *v = cmd->ctrl->v;

	for (; cmd->u.at <= cmd->u.a; cmd->u.at++) {
		uint32_t nsid = cmd->u.at;
		struct vssd_ns *ns = v->ns[nsid];
		uint64_t attached;

		if (!ns)
			continue;
		if (!vssd_own(cmd, ns))
			return VSSD_RETRY;
		cmd->ns = NULL;
		attached = ns->attached;
		flash_trim(ns);
		v->ns[nsid] = NULL;
		vssd_ns_free(ns);
		ns_changed_for(v, attached, nsid);
	}
	return 0;
}

int vssd_ns_management(struct vssd_cmd *cmd)
{
	int status;

	switch (vssd_cdw10(cmd) & 0xf) {
	case SNV_NS_MGMT_CREATE:
		return management_create(cmd);
	case SNV_NS_MGMT_DELETE:
		if (vssd_nsid(cmd) != SNV_NSID_ALL && !allocated(cmd, &status))
			return status;
		set_scope(cmd);
		cmd->step = delete_next;
		return VSSD_AGAIN;
	}
	return SNV_SC_INVALID_FIELD;
}

/* ---- Namespace Attachment: Base 5.22 --------------------------------------------------------- */

/* The controllers of @list, a bit for each CNTLID; 0 if it is not valid. */
static uint64_t ctrl_mask(const struct vssd *v, const struct snv_ctrl_list *list)
{
	uint32_t n = snv_le16_get(list->num);
	uint64_t mask = 0;

	if (n > MAX_CTRL_LIST)
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		uint16_t id = snv_le16_get(list->cntlid[i]);

		/* In ascending order: Base 4.4.1. */
		if (id >= VSSD_MAX_CTRLS || !v->ctrl[id] || mask >> id)
			return 0;
		mask |= 1ULL << id;
	}
	return mask;
}

static int attach_check(const struct vssd_ns *ns, uint64_t mask)
{
	if (ns->attached & mask)
		return SNV_SC_NS_ALREADY_ATTACHED;
	if (!ns->shared && (ns->attached || mask & (mask - 1)))
		return SNV_SC_NS_IS_PRIVATE;
	return 0;
}

int vssd_ns_attachment(struct vssd_cmd *cmd)
{
	struct vssd *v = cmd->ctrl->v;
	uint32_t sel = vssd_cdw10(cmd) & 0xf;
	struct vssd_ns *ns;
	uint64_t mask;
	int status;

	if (sel != SNV_NS_ATTACH_ATTACH && sel != SNV_NS_ATTACH_DETACH)
		return SNV_SC_INVALID_FIELD;
	ns = allocated(cmd, &status);
	if (!ns)
		return status;
	if (!vssd_bounce(cmd, sizeof(struct snv_ctrl_list)))
		return SNV_SC_INTERNAL;
	status = vssd_admin_in(cmd, cmd->bounce, sizeof(struct snv_ctrl_list));
	if (status)
		return status;
	mask = ctrl_mask(v, cmd->bounce);
	if (!mask)
		return SNV_SC_CTRL_LIST_INVALID;
	if (sel == SNV_NS_ATTACH_ATTACH)
		status = attach_check(ns, mask);
	else if (mask & ~ns->attached)
		status = SNV_SC_NS_NOT_ATTACHED;
	if (status)
		return status;
	ns->attached ^= mask;
	ns_changed_for(v, mask, ns->nsid);
	return 0;
}
