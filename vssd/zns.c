// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Zoned namespaces (ZNS 1.1): the zone state machine (2.1.1.2), appends, management, reports.
 *
 * States and write pointers are kept in memory: a namespace's zones are all empty when it is made.
 * Guard of a zone: ns->lock, since workers write to different zones at the same time.
 */
#include "core.h"

static struct vssd_zone *zone_of(struct vssd_ns *ns, uint64_t lba)
{
	uint64_t i = lba / ns->zone_blocks;

	return i < ns->n_zones ? &ns->zone[i] : NULL;
}

static uint64_t zslba(const struct vssd_ns *ns, const struct vssd_zone *z)
{
	return (uint64_t)(z - ns->zone) * ns->zone_blocks;
}

int vssd_zns_init(struct vssd_ns *ns)
{
	uint64_t zones;

	if (!ns->zone_blocks || !ns->zone_capacity || ns->zone_capacity > ns->zone_blocks)
		return -EINVAL;
	zones = ns->nsze / ns->zone_blocks;
	if (!zones || zones > UINT32_MAX ||
	    (ns->max_open && ns->max_active && ns->max_open > ns->max_active))
		return -EINVAL;
	/* All open zones are active: ZNS 2.1.1.4. */
	if (!ns->max_open)
		ns->max_open = ns->max_active;
	ns->zone = vssd_alloc(ns->v, zones * sizeof(*ns->zone));
	if (!ns->zone)
		return -ENOMEM;
	ns->n_zones = (uint32_t)zones;
	ns->nsze = zones * ns->zone_blocks;
	ns->n_open = 0;
	ns->n_active = 0;
	for (uint32_t i = 0; i < ns->n_zones; i++) {
		ns->zone[i].state = SNV_ZONE_EMPTY;
		ns->zone[i].wp = i * ns->zone_blocks;
	}
	return 0;
}

void vssd_zns_free(struct vssd_ns *ns)
{
	vssd_free(ns->v, ns->zone, ns->n_zones * sizeof(*ns->zone));
	ns->zone = NULL;
}

/* ---- states; ns->lock is held ------------------------------------------------------------------ */

static bool is_open(uint8_t state)
{
	return state == SNV_ZONE_IMP_OPEN || state == SNV_ZONE_EXP_OPEN;
}

static bool is_active(uint8_t state)
{
	return is_open(state) || state == SNV_ZONE_CLOSED;
}

static void set_state(struct vssd_ns *ns, struct vssd_zone *z, uint8_t state)
{
	ns->n_open += is_open(state);
	ns->n_open -= is_open(z->state);
	ns->n_active += is_active(state);
	ns->n_active -= is_active(z->state);
	z->state = state;
}

/* Close an implicitly opened zone for another's sake: false if there is none. */
static bool make_room(struct vssd_ns *ns)
{
	for (uint32_t i = 0; i < ns->n_zones; i++)
		if (ns->zone[i].state == SNV_ZONE_IMP_OPEN) {
			set_state(ns, &ns->zone[i], SNV_ZONE_CLOSED);
			return true;
		}
	return false;
}

/* From EMPTY, CLOSED or open to @state, one of the open ones, within the limits. */
static int open_zone(struct vssd_ns *ns, struct vssd_zone *z, uint8_t state)
{
	if (!is_active(z->state) && ns->max_active && ns->n_active >= ns->max_active)
		return SNV_SC_ZONE_TOO_MANY_ACTIVE;
	if (!is_open(z->state) && ns->max_open && ns->n_open >= ns->max_open && !make_room(ns))
		return SNV_SC_ZONE_TOO_MANY_OPEN;
	set_state(ns, z, state);
	return 0;
}

/* Power came back, or an NVM Subsystem Reset: what was open is not any more (ZNS 2.1.1.3). Stopped. */
void vssd_zones_power_on(struct vssd *v)
{
	for (uint32_t nsid = 1; nsid <= VSSD_MAX_NS; nsid++) {
		struct vssd_ns *ns = v->ns[nsid];

		for (uint32_t i = 0; ns && ns->csi == VSSD_CSI_ZNS && i < ns->n_zones; i++) {
			struct vssd_zone *z = &ns->zone[i];

			if (is_active(z->state))
				set_state(ns, z, z->wp == zslba(ns, z) ? SNV_ZONE_EMPTY :
							SNV_ZONE_CLOSED);
		}
	}
}

/* ---- I/O -------------------------------------------------------------------------------------- */

static int write_state(uint8_t state)
{
	switch (state) {
	case SNV_ZONE_FULL:
		return SNV_SC_ZONE_FULL;
	case SNV_ZONE_READ_ONLY:
		return SNV_SC_ZONE_READ_ONLY;
	case SNV_ZONE_OFFLINE:
		return SNV_SC_ZONE_OFFLINE;
	}
	return 0;
}

/* @nlb blocks go to the write pointer of @z, if they fit. */
static int advance(struct vssd_ns *ns, struct vssd_zone *z, uint32_t nlb)
{
	uint64_t end = zslba(ns, z) + ns->zone_capacity;
	int status = 0;

	if (nlb > end - z->wp)
		return SNV_SC_ZONE_BOUNDARY_ERROR;
	if (!is_open(z->state))
		status = open_zone(ns, z, SNV_ZONE_IMP_OPEN);
	if (status)
		return status;
	z->wp += nlb;
	if (z->wp == end)
		set_state(ns, z, SNV_ZONE_FULL);
	return 0;
}

int vssd_zone_write(struct vssd_cmd *cmd)
{
	struct vssd_ns *ns = cmd->ns;
	struct vssd_zone *z = zone_of(ns, cmd->u.slba);
	int status;

	if (!z)
		return SNV_SC_LBA_RANGE;
	vssd_lock(&ns->lock);
	status = write_state(z->state);
	if (!status && cmd->u.nlb > zslba(ns, z) + ns->zone_blocks - cmd->u.slba)
		status = SNV_SC_ZONE_BOUNDARY_ERROR;
	if (!status && cmd->u.slba != z->wp)
		status = SNV_SC_ZONE_INVALID_WRITE;
	if (!status)
		status = advance(ns, z, cmd->u.nlb);
	vssd_unlock(&ns->lock);
	return status;
}

int vssd_zone_append(struct vssd_cmd *cmd)
{
	struct vssd_ns *ns = cmd->ns;
	struct vssd_zone *z = zone_of(ns, cmd->u.slba);
	uint64_t lba = 0;
	int status;

	if (!z)
		return SNV_SC_LBA_RANGE;
	if (cmd->u.slba != zslba(ns, z))
		return SNV_SC_INVALID_FIELD;
	vssd_lock(&ns->lock);
	status = write_state(z->state);
	if (!status) {
		lba = z->wp;
		status = advance(ns, z, cmd->u.nlb);
	}
	vssd_unlock(&ns->lock);
	if (status)
		return status;
	cmd->u.slba = lba;
	return 0;
}

/* Reads may cross zones (OZCS bit 0); what was never written reads as zeros. */
int vssd_zone_read(struct vssd_cmd *cmd)
{
	struct vssd_ns *ns = cmd->ns;
	uint64_t last = (cmd->u.slba + cmd->u.nlb - 1) / ns->zone_blocks;
	int status = 0;

	vssd_lock(&ns->lock);
	for (uint64_t i = cmd->u.slba / ns->zone_blocks; i <= last && i < ns->n_zones; i++)
		if (ns->zone[i].state == SNV_ZONE_OFFLINE)
			status = SNV_SC_ZONE_OFFLINE;
	vssd_unlock(&ns->lock);
	return status;
}

/* ---- Zone Management Send: ZNS 3.4.3 ------------------------------------------------------------ */

/* Does Select All mean zones in this state? */
static bool selected(uint8_t action, uint8_t state)
{
	switch (action) {
	case SNV_ZONE_SEND_CLOSE:
		return is_open(state);
	case SNV_ZONE_SEND_FINISH:
		return is_active(state);
	case SNV_ZONE_SEND_OPEN:
		return state == SNV_ZONE_CLOSED;
	case SNV_ZONE_SEND_RESET:
		return is_active(state) || state == SNV_ZONE_FULL;
	default:
		return state == SNV_ZONE_READ_ONLY;
	}
}

static int close_zone(struct vssd_ns *ns, struct vssd_zone *z)
{
	if (z->state == SNV_ZONE_CLOSED)
		return 0;
	if (!is_open(z->state))
		return SNV_SC_ZONE_INVALID_TRANSITION;
	set_state(ns, z, SNV_ZONE_CLOSED);
	return 0;
}

static int finish_zone(struct vssd_ns *ns, struct vssd_zone *z)
{
	if (z->state == SNV_ZONE_READ_ONLY || z->state == SNV_ZONE_OFFLINE)
		return SNV_SC_ZONE_INVALID_TRANSITION;
	set_state(ns, z, SNV_ZONE_FULL);
	z->wp = zslba(ns, z) + ns->zone_capacity;
	return 0;
}

/* All actions but Reset, which has data to throw away. */
static int act(struct vssd_ns *ns, struct vssd_zone *z, uint8_t action)
{
	switch (action) {
	case SNV_ZONE_SEND_CLOSE:
		return close_zone(ns, z);
	case SNV_ZONE_SEND_FINISH:
		return finish_zone(ns, z);
	case SNV_ZONE_SEND_OPEN:
		if (write_state(z->state))
			return SNV_SC_ZONE_INVALID_TRANSITION;
		return open_zone(ns, z, SNV_ZONE_EXP_OPEN);
	default:
		if (z->state != SNV_ZONE_READ_ONLY && z->state != SNV_ZONE_OFFLINE)
			return SNV_SC_ZONE_INVALID_TRANSITION;
		set_state(ns, z, SNV_ZONE_OFFLINE);
		return 0;
	}
}

/* All actions but Reset, on zones from @z to before @end; @all: on those that Select All means. */
static int act_on(struct vssd_ns *ns, struct vssd_zone *z, const struct vssd_zone *end,
		  uint8_t action, bool all)
{
	int status = 0;

	/* Either all closed zones are opened, or none is. */
	if (all && action == SNV_ZONE_SEND_OPEN && ns->max_open && ns->n_active > ns->max_open)
		return SNV_SC_ZONE_TOO_MANY_OPEN;
	for (; z < end && !status; z++)
		if (!all || selected(action, z->state))
			status = act(ns, z, action);
	return status;
}

static int reset_end(struct vssd_cmd *cmd, int status)
{
	vssd_thaw(cmd->ns, cmd);
	return status;
}

static int reset_next(struct vssd_cmd *cmd);

/* The blocks are gone; so is what was known of them. Stopped, and the namespace is frozen. */
static int reset_discarded(struct vssd_cmd *cmd)
{
	struct vssd_ns *ns = cmd->ns;
	struct vssd_zone *z = &ns->zone[cmd->u.at];

	if (cmd->io_status)
		return reset_end(cmd, cmd->io_status);
	if (vssd_wu_set(ns, zslba(ns, z), ns->zone_blocks, false))
		return reset_end(cmd, SNV_SC_INTERNAL);
	set_state(ns, z, SNV_ZONE_EMPTY);
	z->wp = zslba(ns, z);
	vssd_timing_discard(ns, zslba(ns, z), ns->zone_blocks);
	cmd->u.at++;
	cmd->step = reset_next;
	return VSSD_AGAIN;
}

/* The next zone from u.at to before u.a that has something to reset. */
static int reset_next(struct vssd_cmd *cmd)
{
	struct vssd_ns *ns = cmd->ns;
	uint64_t length = ns->zone_blocks * ns->stride;

	while (cmd->u.at < cmd->u.a && !selected(SNV_ZONE_SEND_RESET, ns->zone[cmd->u.at].state))
		cmd->u.at++;
	if (cmd->u.at >= cmd->u.a)
		return reset_end(cmd, 0);
	cmd->step = reset_discarded;
	return vssd_media_io(cmd, VSSD_IO_DISCARD, cmd->u.at * length, length, NULL, 0, false);
}

/* Stopped: nobody writes to a zone, or reads from it, while its blocks are thrown away. */
static int reset_step(struct vssd_cmd *cmd)
{
	struct vssd_ns *ns = vssd_ns_active(cmd->ctrl, vssd_nsid(cmd));
	int ret;

	cmd->ns = NULL;
	if (!ns || ns->csi != VSSD_CSI_ZNS || cmd->u.a > ns->n_zones)
		return SNV_SC_INVALID_NS;
	if (ns->frozen && ns->frozen != cmd)
		return VSSD_RETRY;
	cmd->ns = ns;
	ret = vssd_freeze(ns, cmd);
	if (ret)
		return ret;
	if (!(vssd_cdw13(cmd) & SNV_ZONE_SEND_ALL) &&
	    (ns->zone[cmd->u.at].state == SNV_ZONE_READ_ONLY ||
	     ns->zone[cmd->u.at].state == SNV_ZONE_OFFLINE))
		return reset_end(cmd, SNV_SC_ZONE_INVALID_TRANSITION);
	cmd->step = reset_next;
	return VSSD_AGAIN;
}

int vssd_zone_mgmt_send(struct vssd_cmd *cmd)
{
	struct vssd_ns *ns = cmd->ns;
	uint32_t cdw13 = vssd_cdw13(cmd);
	uint8_t action = cdw13 & 0xff;
	bool all = cdw13 & SNV_ZONE_SEND_ALL;
	uint64_t lba = vssd_cdw10(cmd) | (uint64_t)vssd_cdw11(cmd) << 32;
	struct vssd_zone *first = ns->zone, *end;
	int status;

	if (action < SNV_ZONE_SEND_CLOSE || action > SNV_ZONE_SEND_OFFLINE)
		return SNV_SC_INVALID_FIELD;
	if (action == SNV_ZONE_SEND_OPEN && cdw13 & SNV_ZONE_SEND_ZRWA)
		return SNV_SC_INVALID_FIELD;
	if (!ns->n_zones)		/* a Format that found no memory */
		return SNV_SC_NS_NOT_READY;
	end = first + ns->n_zones;
	if (!all) {
		first = zone_of(ns, lba);
		if (!first || lba != zslba(ns, first))
			return SNV_SC_INVALID_FIELD;
		end = first + 1;
	}
	if (action == SNV_ZONE_SEND_RESET) {
		cmd->u.at = (uint32_t)(first - ns->zone);
		cmd->u.a = (uint64_t)(end - ns->zone);
		cmd->step = reset_step;
		cmd->ns = NULL;		/* which may be gone by then */
		vssd_run_stopped(cmd);
		return VSSD_HELD;
	}
	vssd_lock(&ns->lock);
	status = act_on(ns, first, end, action, all);
	vssd_unlock(&ns->lock);
	return status;
}

/* ---- Zone Management Receive: ZNS 3.4.2 --------------------------------------------------------- */

/* ZRASF: which zones a report lists. -1: reserved. */
static int listed(uint8_t which, uint8_t state)
{
	static const uint8_t of[] = {
		0, SNV_ZONE_EMPTY, SNV_ZONE_IMP_OPEN, SNV_ZONE_EXP_OPEN, SNV_ZONE_CLOSED,
		SNV_ZONE_FULL, SNV_ZONE_READ_ONLY, SNV_ZONE_OFFLINE,
	};

	if (which >= sizeof(of))
		return -1;
	return !which || of[which] == state;
}

static void describe(const struct vssd_ns *ns, const struct vssd_zone *z,
		     struct snv_zone_desc *desc)
{
	bool has_wp = z->state == SNV_ZONE_EMPTY || is_active(z->state);

	memset(desc, 0, sizeof(*desc));
	desc->zt = SNV_ZONE_TYPE_SEQ;
	desc->zs = (uint8_t)(z->state << 4);
	desc->zcap = snv_le64(ns->zone_capacity);
	desc->zslba = snv_le64(zslba(ns, z));
	desc->wp = snv_le64(has_wp ? z->wp : UINT64_MAX);
}

int vssd_zone_mgmt_recv(struct vssd_cmd *cmd)
{
	struct vssd_ns *ns = cmd->ns;
	uint32_t cdw13 = vssd_cdw13(cmd);
	uint8_t which = cdw13 >> 8 & 0xff;
	bool partial = cdw13 >> 16 & 1;
	uint64_t lba = vssd_cdw10(cmd) | (uint64_t)vssd_cdw11(cmd) << 32;
	uint64_t length = ((uint64_t)vssd_cdw12(cmd) + 1) * 4, at = sizeof(struct snv_zone_report);
	uint64_t matching = 0, whole = 0;
	struct snv_zone_report report = { 0 };
	struct snv_zone_desc desc;
	int status;

	/* Report Zones; not the extended one: there are no descriptor extensions. */
	if (cdw13 & 0xff || listed(which, 0) < 0)
		return SNV_SC_INVALID_FIELD;
	if (lba >= ns->nsze)
		return SNV_SC_LBA_RANGE;
	if (length > vssd_max_transfer(cmd->ctrl))
		return SNV_SC_INVALID_FIELD;
	status = vssd_map_data(cmd, length, true);
	if (status)
		return status;
	vssd_lock(&ns->lock);
	for (uint64_t i = lba / ns->zone_blocks; i < ns->n_zones; i++) {
		if (!listed(which, ns->zone[i].state))
			continue;
		matching++;
		if (at + sizeof(desc) <= length) {
			describe(ns, &ns->zone[i], &desc);
			vssd_to_segs(&cmd->data, at, &desc, sizeof(desc));
			at += sizeof(desc);
			whole++;
		}
	}
	vssd_unlock(&ns->lock);
	/* Partial: as many as were transferred; else all there are from SLBA on. */
	report.nr_zones = snv_le64(partial ? whole : matching);
	vssd_to_segs(&cmd->data, 0, &report, length < sizeof(report) ? length : sizeof(report));
	/* The rest of the host's buffer does not keep what the host had in it. */
	memset(&desc, 0, sizeof(desc));
	for (; at < length; at += sizeof(desc))
		vssd_to_segs(&cmd->data, at, &desc,
			     length - at < sizeof(desc) ? length - at : sizeof(desc));
	return 0;
}
