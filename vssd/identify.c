// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Identify: Base 5.17, NVM 4.1.5, ZNS 4.1.5. */
#include "core.h"

#define IDENTIFY_SIZE	4096

static uint32_t cdw11_csi(const struct vssd_cmd *cmd)
{
	return vssd_cdw11(cmd) >> 24;
}

static bool csi_supported(uint32_t csi)
{
	return csi == VSSD_CSI_NVM || csi == VSSD_CSI_ZNS;
}

/* A 16-byte number that has no more than 64 bits. */
static void put_128(uint8_t field[16], uint64_t value)
{
	__le64 le = snv_le64(value);

	memcpy(field, &le, sizeof(le));
}

/* ---- the controller -------------------------------------------------------------------------- */

/* Base 5.17.2.1 with 4.5: a name that needs no domain of ours. */
static void put_subnqn(const struct vssd *v, char *to)
{
	static const char prefix[] = "nqn.2014-08.org.nvmexpress:uuid:";
	static const char digits[] = "0123456789abcdef";
	uint8_t uuid[16];

	vssd_uuid(v, 0, uuid);
	memcpy(to, prefix, sizeof(prefix) - 1);
	to += sizeof(prefix) - 1;
	for (uint32_t i = 0; i < sizeof(uuid); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*to++ = '-';
		*to++ = digits[uuid[i] >> 4];
		*to++ = digits[uuid[i] & 0xf];
	}
}

static bool several_ctrls(const struct vssd *v)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < v->n_ctrl; i++)
		n += !!v->ctrl[i];
	return n > 1;
}

static uint64_t total_capacity(const struct vssd *v)
{
	uint64_t bytes = 0;

	for (uint32_t nsid = 1; nsid <= VSSD_MAX_NS; nsid++)
		bytes += v->ns[nsid] ? v->ns[nsid]->media->size : 0;
	return bytes;
}

static void put_limits(const struct vssd_ctrl *ctrl, struct snv_id_ctrl *id)
{
	id->rab = VSSD_RAB;
	id->mdts = (uint8_t)ctrl->config.mdts;
	id->acl = VSSD_ACL;
	id->aerl = VSSD_AERL;
	id->elpe = VSSD_ELPE;
	/* A shutdown flushes. */
	id->rtd3e = snv_le32(vssd_volatile_cache(ctrl->v) ? VSSD_RTD3E : 0);
	id->npss = VSSD_NPSS;		/* of two states, about which nothing is known */
	id->wctemp = snv_le16(VSSD_WCTEMP);
	id->cctemp = snv_le16(VSSD_CCTEMP);
	id->kas = snv_le16(VSSD_KAS);
	id->sqes = 0x66;
	id->cqes = 0x44;
	id->nn = snv_le32(VSSD_MAX_NS);
	/* What a new namespace can have is known only when one is asked for: UNVMCAP stays 0. */
	put_128(id->tnvmcap, total_capacity(ctrl->v));
}

static void put_abilities(const struct vssd_ctrl *ctrl, struct snv_id_ctrl *id)
{
	uint32_t oacs = SNV_OACS_FORMAT | SNV_OACS_NS_MGMT;

	if (ctrl->config.dbbuf)
		oacs |= SNV_OACS_DBBUF;
	id->cmic = several_ctrls(ctrl->v) ? SNV_CMIC_MULTI_CTRL : 0;
	id->oaes = snv_le32(SNV_AEC_NS_ATTR);
	id->ctratt = snv_le32(SNV_CTRATT_HOST_ID_128);
	id->cntrltype = SNV_CNTRLTYPE_IO;
	id->oacs = snv_le16((uint16_t)oacs);
	id->frmw = SNV_FRMW_SLOT1_RO | 1 << SNV_FRMW_SLOTS_SHIFT;
	id->lpa = SNV_LPA_EFFECTS | SNV_LPA_EXTENDED | SNV_LPA_TELEMETRY;
	id->oncs = snv_le16(SNV_ONCS_COMPARE | SNV_ONCS_WRITE_UNCOR | SNV_ONCS_DSM |
			    SNV_ONCS_WRITE_ZEROES | SNV_ONCS_SAVE_FEATURES | SNV_ONCS_TIMESTAMP |
			    SNV_ONCS_VERIFY | SNV_ONCS_COPY);
	id->fuses = snv_le16(SNV_FUSES_COMPARE_WRITE);
	id->vwc = SNV_VWC_FLUSH_ALL | (vssd_volatile_cache(ctrl->v) ? SNV_VWC_PRESENT : 0);
	id->ocfs = snv_le16(1);		/* Copy descriptors of format 0 */
	if (ctrl->config.sgl)
		id->sgls = snv_le32(SNV_SGLS_SUPPORTED | SNV_SGLS_BIT_BUCKET |
				    SNV_SGLS_META_SGL);
}

static int identify_ctrl(struct vssd_cmd *cmd, void *data)
{
	const struct vssd_ctrl *ctrl = cmd->ctrl;
	const struct vssd *v = ctrl->v;
	struct snv_id_ctrl *id = data;

	memcpy(id->sn, v->serial, sizeof(id->sn));
	memcpy(id->mn, v->model, sizeof(id->mn));
	memcpy(id->fr, VSSD_FR, sizeof(id->fr));
	id->cntlid = snv_le16(ctrl->cntlid);
	id->ver = snv_le32(ctrl->vs);
	put_limits(ctrl, id);
	put_abilities(ctrl, id);
	put_subnqn(v, id->subnqn);
	return 0;
}

/* Verify has the limit of commands with data: it reads as much. No others (WZSL, ..., ZASL), but perhaps of deallocating. */
static int identify_csi_ctrl(struct vssd_cmd *cmd, void *data)
{
	uint32_t dmrsl = cmd->ctrl->config.dmrsl;
	struct snv_id_ctrl_nvm *id = data;

	if (!csi_supported(cdw11_csi(cmd)))
		return SNV_SC_INVALID_IOCS;
	if (cdw11_csi(cmd) == VSSD_CSI_NVM)
		id->vsl = cmd->ctrl->config.mdts;
	if (dmrsl && cdw11_csi(cmd) == VSSD_CSI_NVM) {
		id->dmrl = 1;
		id->dmrsl = snv_le32(dmrsl);
		id->dmsl = snv_le64(dmrsl);
	}
	return 0;
}

/* Base figure 290: the one combination of command sets, for any controller there is. */
static int identify_csi_list(struct vssd_cmd *cmd, void *data)
{
	uint32_t cntid = vssd_cdw10(cmd) >> 16;
	__le64 *combination = data;

	if (cntid != 0xffff && (cntid >= VSSD_MAX_CTRLS || !cmd->ctrl->v->ctrl[cntid]))
		return SNV_SC_INVALID_FIELD;
	combination[0] = snv_le64(1ULL << VSSD_CSI_NVM | 1ULL << VSSD_CSI_ZNS);
	return 0;
}

/* ---- a namespace ----------------------------------------------------------------------------- */

enum scope { ACTIVE, ALLOCATED };

/*
 * The namespace of @cmd's NSID, NULL if it is not active (not allocated); then @data remain zeros.
 * Returns a status for an NSID that there cannot be.
 */
static int find_ns(const struct vssd_cmd *cmd, enum scope scope, const struct vssd_ns **ns)
{
	uint32_t nsid = vssd_nsid(cmd);

	*ns = NULL;
	if (!nsid || nsid > VSSD_MAX_NS)
		return SNV_SC_INVALID_NS;
	*ns = scope == ACTIVE ? vssd_ns_active(cmd->ctrl, nsid) : cmd->ctrl->v->ns[nsid];
	return 0;
}

/* What all namespaces have in common, those too that are yet to be created: Base 5.17.2.1. */
static void put_common(struct snv_id_ns *id)
{
	id->nlbaf = VSSD_NLBAF - 1;
	id->mc = SNV_MC_EXTENDED | SNV_MC_SEPARATE;
	id->dpc = SNV_DPC_TYPE1 | SNV_DPC_TYPE2 | SNV_DPC_TYPE3 | SNV_DPC_FIRST | SNV_DPC_LAST;
	id->dlfeat = SNV_DLFEAT_ZEROS;
	id->mssrl = snv_le16(VSSD_COPY_MSSRL);
	id->mcl = snv_le32(VSSD_COPY_MCL);
	id->msrc = VSSD_COPY_MSRC;
	for (uint32_t i = 0; i < VSSD_NLBAF; i++) {
		id->lbaf[i].ms = snv_le16((uint16_t)vssd_lbaf[i].ms);
		id->lbaf[i].ds = (uint8_t)vssd_lbaf[i].ds;
	}
}

static uint8_t nmic(const struct vssd_ns *ns)
{
	return ns->shared ? SNV_NMIC_SHARED : 0;
}

static uint8_t nsattr(const struct vssd_ns *ns)
{
	return ns->media->readonly ? SNV_NSATTR_WRITE_PROTECTED : 0;
}

static void put_ns(const struct vssd_ns *ns, struct snv_id_ns *id)
{
	put_common(id);
	id->nsze = snv_le64(ns->nsze);
	id->ncap = snv_le64(ns->nsze);
	id->nuse = snv_le64(ns->nsze);
	id->flbas = (uint8_t)(ns->format | (ns->extended ? SNV_FLBAS_EXTENDED : 0));
	id->dps = (uint8_t)(ns->pi | (ns->pi && ns->pi_first ? SNV_DPS_FIRST : 0));
	/* Write Zeroes with DEAC deallocates where there is no metadata to be written. */
	if (!ns->ms)
		id->dlfeat |= SNV_DLFEAT_DEAC;
	id->nmic = nmic(ns);
	id->nsattr = nsattr(ns);
	put_128(id->nvmcap, ns->media->size);
	memcpy(id->nguid, ns->nguid, sizeof(id->nguid));
	memcpy(id->eui64, ns->eui64, sizeof(id->eui64));
}

static int identify_ns(struct vssd_cmd *cmd, void *data)
{
	const struct vssd_ns *ns;
	int status;

	if (vssd_nsid(cmd) == SNV_NSID_ALL) {
		put_common(data);
		return 0;
	}
	status = find_ns(cmd, ACTIVE, &ns);
	if (ns)
		put_ns(ns, data);
	return status;
}

static int identify_allocated_ns(struct vssd_cmd *cmd, void *data)
{
	const struct vssd_ns *ns;
	int status = find_ns(cmd, ALLOCATED, &ns);

	if (ns)
		put_ns(ns, data);
	return status;
}

static void put_desc(uint8_t **to, uint8_t nidt, const void *nid, uint8_t nidl)
{
	(*to)[0] = nidt;
	(*to)[1] = nidl;
	memcpy(*to + sizeof(struct snv_ns_id_desc), nid, nidl);
	*to += sizeof(struct snv_ns_id_desc) + nidl;
}

static int identify_ns_descs(struct vssd_cmd *cmd, void *data)
{
	const struct vssd_ns *ns;
	uint8_t *to = data, csi;
	int status = find_ns(cmd, ACTIVE, &ns);

	if (!ns)
		return status ? status : SNV_SC_INVALID_NS;
	csi = (uint8_t)ns->csi;
	put_desc(&to, SNV_NIDT_EUI64, ns->eui64, sizeof(ns->eui64));
	put_desc(&to, SNV_NIDT_NGUID, ns->nguid, sizeof(ns->nguid));
	put_desc(&to, SNV_NIDT_UUID, ns->uuid, sizeof(ns->uuid));
	put_desc(&to, SNV_NIDT_CSI, &csi, sizeof(csi));
	return 0;
}

/* ZNS 4.1.5.1. @limit: 0 for none; the fields are zero-based, with all ones for none. */
static __le32 zone_limit(uint32_t limit)
{
	return snv_le32(limit - 1);
}

static void put_zns(const struct vssd_ns *ns, struct snv_zns_id_ns *id)
{
	id->ozcs = snv_le16(SNV_OZCS_READ_ACROSS);
	id->mar = zone_limit(ns->max_active);
	id->mor = zone_limit(ns->max_open);
	for (uint32_t i = 0; i < VSSD_NLBAF; i++)
		id->lbafe[i].zsze = snv_le64(vssd_zone_scale(ns, ns->zone_blocks, i));
}

/* The NVM command set's has extended LBA formats, all zero: 16-bit guard, no storage tag. */
static int put_csi_ns(struct vssd_cmd *cmd, enum scope scope, void *data)
{
	const struct vssd_ns *ns;
	uint32_t csi = cdw11_csi(cmd);
	int status;

	if (!csi_supported(csi))
		return SNV_SC_INVALID_IOCS;
	/* For all namespaces: there is nothing that they have in common. */
	if (vssd_nsid(cmd) == SNV_NSID_ALL)
		return 0;
	status = find_ns(cmd, scope, &ns);
	if (!ns)
		return status;
	if (csi != ns->csi)
		return SNV_SC_INVALID_IOCS;
	if (csi == VSSD_CSI_ZNS)
		put_zns(ns, data);
	return 0;
}

static int identify_csi_ns(struct vssd_cmd *cmd, void *data)
{
	return put_csi_ns(cmd, ACTIVE, data);
}

static int identify_allocated_csi_ns(struct vssd_cmd *cmd, void *data)
{
	return put_csi_ns(cmd, ALLOCATED, data);
}

static int identify_indep_ns(struct vssd_cmd *cmd, void *data)
{
	struct snv_id_ns_indep *id = data;
	const struct vssd_ns *ns;
	int status = find_ns(cmd, ACTIVE, &ns);

	if (ns) {
		id->nmic = nmic(ns);
		id->nsattr = nsattr(ns);
		id->nstat = SNV_NSTAT_READY;
	}
	return status;
}

/* ---- lists ----------------------------------------------------------------------------------- */

/* NSIDs above @cmd's. @csi: of this command set, or -1 for any. */
static int put_ns_list(struct vssd_cmd *cmd, enum scope scope, int csi, struct snv_ns_list *list)
{
	uint32_t n = 0;

	if (vssd_nsid(cmd) >= SNV_NSID_ALL - 1)
		return SNV_SC_INVALID_NS;
	for (uint32_t nsid = 1; nsid <= VSSD_MAX_NS; nsid++) {
		const struct vssd_ns *ns = cmd->ctrl->v->ns[nsid];

		if (nsid <= vssd_nsid(cmd) || !ns || (csi >= 0 && (int)ns->csi != csi) ||
		    (scope == ACTIVE && !vssd_attached(cmd->ctrl, ns)))
			continue;
		list->nsid[n++] = snv_le32(nsid);
	}
	return 0;
}

static int identify_active_list(struct vssd_cmd *cmd, void *data)
{
	return put_ns_list(cmd, ACTIVE, -1, data);
}

static int identify_allocated_list(struct vssd_cmd *cmd, void *data)
{
	return put_ns_list(cmd, ALLOCATED, -1, data);
}

static int identify_csi_active_list(struct vssd_cmd *cmd, void *data)
{
	if (!csi_supported(cdw11_csi(cmd)))
		return SNV_SC_INVALID_FIELD;
	return put_ns_list(cmd, ACTIVE, (int)cdw11_csi(cmd), data);
}

static int identify_csi_allocated_list(struct vssd_cmd *cmd, void *data)
{
	if (!csi_supported(cdw11_csi(cmd)))
		return SNV_SC_INVALID_FIELD;
	return put_ns_list(cmd, ALLOCATED, (int)cdw11_csi(cmd), data);
}

/* CNTLIDs from CNTID on, of controllers that @ns is attached to, or of all. */
static int put_ctrl_list(struct vssd_cmd *cmd, const struct vssd_ns *ns, struct snv_ctrl_list *list)
{
	const struct vssd *v = cmd->ctrl->v;
	uint16_t n = 0;

	for (uint32_t id = vssd_cdw10(cmd) >> 16; id < v->n_ctrl; id++)
		if (v->ctrl[id] && (!ns || vssd_attached(v->ctrl[id], ns)))
			list->cntlid[n++] = snv_le16((uint16_t)id);
	list->num = snv_le16(n);
	return 0;
}

static int identify_ns_ctrl_list(struct vssd_cmd *cmd, void *data)
{
	const struct vssd_ns *ns;
	int status = find_ns(cmd, ALLOCATED, &ns);

	return ns ? put_ctrl_list(cmd, ns, data) : status;
}

static int identify_ctrl_list(struct vssd_cmd *cmd, void *data)
{
	return put_ctrl_list(cmd, NULL, data);
}

/* ---- which it is ----------------------------------------------------------------------------- */

/* Each fills zeros: 0, or a status. */
static int (*const identify[])(struct vssd_cmd *cmd, void *data) = {
	[SNV_CNS_NS] = identify_ns,
	[SNV_CNS_CTRL] = identify_ctrl,
	[SNV_CNS_ACTIVE_NS_LIST] = identify_active_list,
	[SNV_CNS_NS_DESC_LIST] = identify_ns_descs,
	[SNV_CNS_CSI_NS] = identify_csi_ns,
	[SNV_CNS_CSI_CTRL] = identify_csi_ctrl,
	[SNV_CNS_CSI_ACTIVE_NS_LIST] = identify_csi_active_list,
	[SNV_CNS_INDEP_NS] = identify_indep_ns,
	[SNV_CNS_ALLOCATED_NS_LIST] = identify_allocated_list,
	[SNV_CNS_ALLOCATED_NS] = identify_allocated_ns,
	[SNV_CNS_NS_CTRL_LIST] = identify_ns_ctrl_list,
	[SNV_CNS_CTRL_LIST] = identify_ctrl_list,
	[SNV_CNS_CSI_ALLOCATED_NS_LIST] = identify_csi_allocated_list,
	[SNV_CNS_CSI_ALLOCATED_NS] = identify_allocated_csi_ns,
	[SNV_CNS_CSI_LIST] = identify_csi_list,
};

int vssd_identify(struct vssd_cmd *cmd)
{
	uint32_t cns = vssd_cdw10(cmd) & 0xff;
	int status;

	if (cns >= sizeof(identify) / sizeof(identify[0]) || !identify[cns])
		return SNV_SC_INVALID_FIELD;
	if (!vssd_bounce(cmd, IDENTIFY_SIZE))
		return SNV_SC_INTERNAL;
	status = identify[cns](cmd, cmd->bounce);
	if (status)
		return status;
	return vssd_admin_out(cmd, cmd->bounce, IDENTIFY_SIZE, IDENTIFY_SIZE);
}
