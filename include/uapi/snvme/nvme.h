/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR MIT */
/*
 * NVMe on the wire: NVM Express Base Specification 2.0, NVM and Zoned Namespace Command Sets 1.0/1.1,
 * NVMe over PCIe Transport 1.0. Names are the specification's own short names. All fields are
 * little-endian; masks apply to the value after conversion to the CPU's byte order.
 */
#ifndef _UAPI_SNVME_NVME_H
#define _UAPI_SNVME_NVME_H

#include <linux/types.h>

#ifdef __cplusplus
#define SNV_ASSERT(cond) static_assert(cond, #cond)
#else
#define SNV_ASSERT(cond) _Static_assert(cond, #cond)
#endif
#define SNV_SIZE(type, size) SNV_ASSERT(sizeof(struct type) == (size))
#define SNV_AT(type, field, offset) \
	SNV_ASSERT(__builtin_offsetof(struct type, field) == (offset))

/* ---- Controller registers: Base 3.1.3, PCIe 3.1 ---- */

#define SNV_REG_CAP		0x00
#define SNV_REG_VS		0x08
#define SNV_REG_INTMS		0x0c
#define SNV_REG_INTMC		0x10
#define SNV_REG_CC		0x14
#define SNV_REG_CSTS		0x1c
#define SNV_REG_NSSR		0x20
#define SNV_REG_AQA		0x24
#define SNV_REG_ASQ		0x28
#define SNV_REG_ACQ		0x30
#define SNV_REG_CMBLOC		0x38
#define SNV_REG_CMBSZ		0x3c
#define SNV_REG_BPINFO		0x40
#define SNV_REG_BPRSEL		0x44
#define SNV_REG_BPMBL		0x48
#define SNV_REG_CMBMSC		0x50
#define SNV_REG_CMBSTS		0x58
#define SNV_REG_CRTO		0x68
#define SNV_REG_DBS		0x1000

#define SNV_CAP_MQES(cap)	((__u32)((cap) & 0xffff))		/* zero-based */
#define SNV_CAP_CQR(cap)	((__u32)((cap) >> 16 & 0x1))
#define SNV_CAP_AMS(cap)	((__u32)((cap) >> 17 & 0x3))
#define SNV_CAP_TO(cap)		((__u32)((cap) >> 24 & 0xff))		/* units of 500 ms */
#define SNV_CAP_DSTRD(cap)	((__u32)((cap) >> 32 & 0xf))		/* 4 << dstrd bytes */
#define SNV_CAP_NSSRS(cap)	((__u32)((cap) >> 36 & 0x1))
#define SNV_CAP_CSS(cap)	((__u32)((cap) >> 37 & 0xff))
#define SNV_CAP_BPS(cap)	((__u32)((cap) >> 45 & 0x1))
#define SNV_CAP_CPS(cap)	((__u32)((cap) >> 46 & 0x3))
#define SNV_CAP_MPSMIN(cap)	((__u32)((cap) >> 48 & 0xf))		/* 1 << 12 + mps bytes */
#define SNV_CAP_MPSMAX(cap)	((__u32)((cap) >> 52 & 0xf))
#define SNV_CAP_PMRS(cap)	((__u32)((cap) >> 56 & 0x1))
#define SNV_CAP_CMBS(cap)	((__u32)((cap) >> 57 & 0x1))
#define SNV_CAP_CSS_NVM		(1U << 0)
#define SNV_CAP_CSS_CSI		(1U << 6)
#define SNV_CAP_AMS_WRRU	(1U << 0)
#define SNV_CAP_CRMS_CRWMS	(1ULL << 59)

#define SNV_VS(major, minor, ter) ((__u32)(major) << 16 | (minor) << 8 | (ter))

#define SNV_CC_EN		(1U << 0)
#define SNV_CC_CSS		(7U << 4)
#define SNV_CC_CSS_SHIFT	4
#define SNV_CC_CSS_NVM		(0U << 4)
#define SNV_CC_CSS_CSI		(6U << 4)
#define SNV_CC_MPS		(15U << 7)
#define SNV_CC_MPS_SHIFT	7
#define SNV_CC_AMS		(7U << 11)
#define SNV_CC_AMS_SHIFT	11
#define SNV_CC_AMS_RR		(0U << 11)
#define SNV_CC_AMS_WRRU		(1U << 11)
#define SNV_CC_SHN		(3U << 14)
#define SNV_CC_SHN_NORMAL	(1U << 14)
#define SNV_CC_SHN_ABRUPT	(2U << 14)
#define SNV_CC_IOSQES		(15U << 16)
#define SNV_CC_IOSQES_SHIFT	16
#define SNV_CC_IOCQES		(15U << 20)
#define SNV_CC_IOCQES_SHIFT	20
#define SNV_CC_CRIME		(1U << 24)

#define SNV_CSTS_RDY		(1U << 0)
#define SNV_CSTS_CFS		(1U << 1)
#define SNV_CSTS_SHST		(3U << 2)
#define SNV_CSTS_SHST_OCCURRING	(1U << 2)
#define SNV_CSTS_SHST_COMPLETE	(2U << 2)
#define SNV_CSTS_NSSRO		(1U << 4)
#define SNV_CSTS_PP		(1U << 5)

#define SNV_NSSR_NSSRC		0x4e564d65U	/* "NVMe" */

#define SNV_AQA_ASQS(n)		((__u32)(n))		/* zero-based */
#define SNV_AQA_ACQS(n)		((__u32)(n) << 16)

#define SNV_CMBLOC_BIR		0x7U
#define SNV_CMBLOC_CQMMS	(1U << 3)
#define SNV_CMBLOC_CQPDS	(1U << 4)
#define SNV_CMBLOC_CDPMLS	(1U << 5)
#define SNV_CMBLOC_CDPCILS	(1U << 6)
#define SNV_CMBLOC_CDMMMS	(1U << 7)
#define SNV_CMBLOC_OFST_SHIFT	12		/* units of CMBSZ */
#define SNV_CMBSZ_SQS		(1U << 0)
#define SNV_CMBSZ_CQS		(1U << 1)
#define SNV_CMBSZ_LISTS		(1U << 2)
#define SNV_CMBSZ_RDS		(1U << 3)
#define SNV_CMBSZ_WDS		(1U << 4)
#define SNV_CMBSZ_SZU_SHIFT	8		/* units of 4 KiB << 4 * szu */
#define SNV_CMBSZ_SZ_SHIFT	12
#define SNV_CMBMSC_CRE		(1ULL << 0)
#define SNV_CMBMSC_CMSE		(1ULL << 1)
#define SNV_CMBMSC_CBA		(~0xfffULL)

#define SNV_CMBSTS_CBAI		(1U << 0)

/* ---- Submission queue entry: Base 3.3.3.1 ---- */

struct snv_sqe {
	__u8	opcode;
	__u8	flags;		/* SNV_SQE_* */
	__le16	cid;
	__le32	nsid;
	__le32	cdw2;
	__le32	cdw3;
	__le64	mptr;
	__le64	prp1;		/* or the first half of an SGL descriptor */
	__le64	prp2;
	union {
		struct {
			__le32	cdw10;
			__le32	cdw11;
		};
		__le64	slba;	/* of the NVM commands that have one: NVM 3.2 */
	};
	__le32	cdw12;
	__le32	cdw13;
	__le32	cdw14;
	__le32	cdw15;
};
SNV_SIZE(snv_sqe, 64);
SNV_AT(snv_sqe, nsid, 4);
SNV_AT(snv_sqe, mptr, 16);
SNV_AT(snv_sqe, prp1, 24);
SNV_AT(snv_sqe, cdw10, 40);

#define SNV_SQE_FUSE_FIRST	(1U << 0)
#define SNV_SQE_FUSE_SECOND	(2U << 0)
#define SNV_SQE_FUSE		(3U << 0)
#define SNV_SQE_PSDT_PRP	(0U << 6)
#define SNV_SQE_PSDT_SGL	(1U << 6)
#define SNV_SQE_PSDT_SGL_MSEG	(2U << 6)
#define SNV_SQE_PSDT		(3U << 6)

#define SNV_NSID_ALL		0xffffffffU

/* ---- Completion queue entry: Base 3.3.3.2 ---- */

struct snv_cqe {
	__le32	dw0;		/* command specific */
	__le32	dw1;
	__le32	dw2;		/* SQHD, SQID */
	__le32	dw3;		/* CID, P, status */
};
SNV_SIZE(snv_cqe, 16);

#define SNV_CQE_DW2_SQHD	0xffffU
#define SNV_CQE_DW2_SQID_SHIFT	16
#define SNV_CQE_DW3_CID		0xffffU
#define SNV_CQE_DW3_P		(1U << 16)
#define SNV_CQE_DW3_STATUS_SHIFT 17

/* Status field, as shifted down: Base 4.2.3 (figure 91 on) */
#define SNV_STATUS_SC		0x00ffU
#define SNV_STATUS_SCT_SHIFT	8
#define SNV_STATUS_SCT		0x0700U
#define SNV_STATUS_CODE		0x07ffU		/* SCT and SC: what our functions return */
#define SNV_STATUS_CRD		0x1800U
#define SNV_STATUS_MORE		(1U << 13)
#define SNV_STATUS_DNR		(1U << 14)
#define SNV_STATUS(sct, sc)	((sct) << 8 | (sc))

#define SNV_SCT_GENERIC		0x0
#define SNV_SCT_COMMAND		0x1
#define SNV_SCT_MEDIA		0x2
#define SNV_SCT_PATH		0x3
#define SNV_SCT_VENDOR		0x7

#define SNV_SC_SUCCESS			0x000
#define SNV_SC_INVALID_OPCODE		0x001
#define SNV_SC_INVALID_FIELD		0x002
#define SNV_SC_CID_CONFLICT		0x003
#define SNV_SC_DATA_XFER_ERROR		0x004
#define SNV_SC_POWER_LOSS		0x005
#define SNV_SC_INTERNAL			0x006
#define SNV_SC_ABORT_REQ		0x007
#define SNV_SC_ABORT_SQ_DELETED		0x008
#define SNV_SC_FUSED_FAIL		0x009
#define SNV_SC_FUSED_MISSING		0x00a
#define SNV_SC_INVALID_NS		0x00b
#define SNV_SC_CMD_SEQ_ERROR		0x00c
#define SNV_SC_SGL_INVALID_LAST		0x00d
#define SNV_SC_SGL_INVALID_COUNT	0x00e
#define SNV_SC_SGL_INVALID_DATA		0x00f
#define SNV_SC_SGL_INVALID_METADATA	0x010
#define SNV_SC_SGL_INVALID_TYPE		0x011
#define SNV_SC_CMB_INVALID_USE		0x012
#define SNV_SC_PRP_INVALID_OFFSET	0x013
#define SNV_SC_OP_DENIED		0x015
#define SNV_SC_SGL_INVALID_OFFSET	0x016
#define SNV_SC_NS_WRITE_PROTECTED	0x020
#define SNV_SC_CMD_INTERRUPTED		0x021
#define SNV_SC_TRANSIENT_TRANSPORT	0x022
#define SNV_SC_LBA_RANGE		0x080
#define SNV_SC_CAP_EXCEEDED		0x081
#define SNV_SC_NS_NOT_READY		0x082
#define SNV_SC_RESERVATION_CONFLICT	0x083
#define SNV_SC_FORMAT_IN_PROGRESS	0x084
#define SNV_SC_CQ_INVALID		0x100
#define SNV_SC_QID_INVALID		0x101
#define SNV_SC_QUEUE_SIZE		0x102
#define SNV_SC_ABORT_LIMIT		0x103
#define SNV_SC_AER_LIMIT		0x105
#define SNV_SC_FIRMWARE_SLOT		0x106
#define SNV_SC_FIRMWARE_IMAGE		0x107
#define SNV_SC_INVALID_VECTOR		0x108
#define SNV_SC_INVALID_LOG_PAGE		0x109
#define SNV_SC_INVALID_FORMAT		0x10a
#define SNV_SC_INVALID_QUEUE_DELETION	0x10c
#define SNV_SC_FEATURE_NOT_SAVEABLE	0x10d
#define SNV_SC_FEATURE_NOT_CHANGEABLE	0x10e
#define SNV_SC_FEATURE_NOT_PER_NS	0x10f
#define SNV_SC_NS_INSUFFICIENT_CAP	0x115
#define SNV_SC_NS_ID_UNAVAILABLE	0x116
#define SNV_SC_NS_ALREADY_ATTACHED	0x118
#define SNV_SC_NS_IS_PRIVATE		0x119
#define SNV_SC_NS_NOT_ATTACHED		0x11a
#define SNV_SC_THIN_PROV_UNSUPPORTED	0x11b
#define SNV_SC_CTRL_LIST_INVALID	0x11c
#define SNV_SC_IOCS_UNSUPPORTED		0x129
#define SNV_SC_IOCS_COMBINATION		0x12b
#define SNV_SC_INVALID_IOCS		0x12c
#define SNV_SC_BAD_ATTRIBUTES		0x180
#define SNV_SC_INVALID_PI		0x181
#define SNV_SC_READ_ONLY		0x182
#define SNV_SC_SIZE_LIMIT		0x183
#define SNV_SC_ZONE_BOUNDARY_ERROR	0x1b8
#define SNV_SC_ZONE_FULL		0x1b9
#define SNV_SC_ZONE_READ_ONLY		0x1ba
#define SNV_SC_ZONE_OFFLINE		0x1bb
#define SNV_SC_ZONE_INVALID_WRITE	0x1bc
#define SNV_SC_ZONE_TOO_MANY_ACTIVE	0x1bd
#define SNV_SC_ZONE_TOO_MANY_OPEN	0x1be
#define SNV_SC_ZONE_INVALID_TRANSITION	0x1bf
#define SNV_SC_WRITE_FAULT		0x280
#define SNV_SC_READ_ERROR		0x281
#define SNV_SC_GUARD_CHECK		0x282
#define SNV_SC_APPTAG_CHECK		0x283
#define SNV_SC_REFTAG_CHECK		0x284
#define SNV_SC_COMPARE_FAILED		0x285
#define SNV_SC_ACCESS_DENIED		0x286
#define SNV_SC_UNWRITTEN_BLOCK		0x287

/* ---- SGL descriptor: Base 4.1.2 ---- */

struct snv_sgl_desc {
	__le64	addr;
	__le32	length;
	__u8	rsvd[3];
	__u8	type;		/* SNV_SGL_* << 4 | subtype */
};
SNV_SIZE(snv_sgl_desc, 16);

#define SNV_SGL_DATA		0x0
#define SNV_SGL_BIT_BUCKET	0x1
#define SNV_SGL_SEGMENT		0x2
#define SNV_SGL_LAST_SEGMENT	0x3
#define SNV_SGL_KEYED_DATA	0x4

/* ---- Opcodes: Base 5 figure 138, 7; NVM 3; ZNS 3 ---- */

#define SNV_ADMIN_DELETE_SQ	0x00
#define SNV_ADMIN_CREATE_SQ	0x01
#define SNV_ADMIN_GET_LOG_PAGE	0x02
#define SNV_ADMIN_DELETE_CQ	0x04
#define SNV_ADMIN_CREATE_CQ	0x05
#define SNV_ADMIN_IDENTIFY	0x06
#define SNV_ADMIN_ABORT		0x08
#define SNV_ADMIN_SET_FEATURES	0x09
#define SNV_ADMIN_GET_FEATURES	0x0a
#define SNV_ADMIN_ASYNC_EVENT	0x0c
#define SNV_ADMIN_NS_MGMT	0x0d
#define SNV_ADMIN_FW_COMMIT	0x10
#define SNV_ADMIN_FW_DOWNLOAD	0x11
#define SNV_ADMIN_SELF_TEST	0x14
#define SNV_ADMIN_NS_ATTACH	0x15
#define SNV_ADMIN_KEEP_ALIVE	0x18
#define SNV_ADMIN_DIRECTIVE_SEND 0x19
#define SNV_ADMIN_DIRECTIVE_RECV 0x1a
#define SNV_ADMIN_VIRT_MGMT	0x1c
#define SNV_ADMIN_DBBUF		0x7c
#define SNV_ADMIN_FORMAT	0x80
#define SNV_ADMIN_SECURITY_SEND	0x81
#define SNV_ADMIN_SECURITY_RECV	0x82
#define SNV_ADMIN_SANITIZE	0x84
#define SNV_ADMIN_GET_LBA_STATUS 0x86

#define SNV_OP_FLUSH		0x00
#define SNV_OP_WRITE		0x01
#define SNV_OP_READ		0x02
#define SNV_OP_WRITE_UNCOR	0x04
#define SNV_OP_COMPARE		0x05
#define SNV_OP_WRITE_ZEROES	0x08
#define SNV_OP_DSM		0x09
#define SNV_OP_VERIFY		0x0c
#define SNV_OP_RESV_REGISTER	0x0d
#define SNV_OP_RESV_REPORT	0x0e
#define SNV_OP_RESV_ACQUIRE	0x11
#define SNV_OP_RESV_RELEASE	0x15
#define SNV_OP_COPY		0x19
#define SNV_OP_ZONE_MGMT_SEND	0x79
#define SNV_OP_ZONE_MGMT_RECV	0x7a
#define SNV_OP_ZONE_APPEND	0x7d

/* Namespace Management, Namespace Attachment: SEL in dword 10, Base 5.22, 5.23 */
#define SNV_NS_MGMT_CREATE	0x0
#define SNV_NS_MGMT_DELETE	0x1
#define SNV_NS_ATTACH_ATTACH	0x0
#define SNV_NS_ATTACH_DETACH	0x1

/* Create I/O Completion Queue and Submission Queue: Base 5.4, 5.5 */
#define SNV_QUEUE_CDW10_QSIZE_SHIFT	16	/* zero-based, above the identifier */
#define SNV_CQ_CDW11_PC			(1U << 0)
#define SNV_CQ_CDW11_IEN		(1U << 1)
#define SNV_CQ_CDW11_IV_SHIFT		16
#define SNV_SQ_CDW11_PC			(1U << 0)
#define SNV_SQ_CDW11_QPRIO_URGENT	(0U << 1)
#define SNV_SQ_CDW11_QPRIO_HIGH		(1U << 1)
#define SNV_SQ_CDW11_QPRIO_MEDIUM	(2U << 1)
#define SNV_SQ_CDW11_QPRIO_LOW		(3U << 1)
#define SNV_SQ_CDW11_CQID_SHIFT		16

/* Read, Write and their kin: NVM 3.2 */
#define SNV_RW_CDW12_NLB	0xffffU		/* zero-based */
#define SNV_RW_CDW12_DTYPE	(0xfU << 20)
#define SNV_RW_CDW12_STC	(1U << 24)
#define SNV_RW_CDW12_DEAC	(1U << 25)	/* Write Zeroes */
#define SNV_RW_CDW12_PIREMAP	(1U << 25)	/* Zone Append */
#define SNV_RW_CDW12_PRCHK_REF	(1U << 26)
#define SNV_RW_CDW12_PRCHK_APP	(1U << 27)
#define SNV_RW_CDW12_PRCHK_GUARD (1U << 28)
#define SNV_RW_CDW12_PRACT	(1U << 29)
#define SNV_RW_CDW12_FUA	(1U << 30)
#define SNV_RW_CDW12_LR		(1U << 31)

/* Dataset Management: NVM 3.2.3 */
#define SNV_DSM_CDW11_AD	(1U << 2)

struct snv_dsm_range {
	__le32	cattr;
	__le32	nlb;		/* 1-based */
	__le64	slba;
};
SNV_SIZE(snv_dsm_range, 16);

/* Copy, source range format 0: NVM 3.2.2; the rest of dword 12, for the write, as above */
#define SNV_COPY_CDW12_NR	0xffU		/* zero-based */
#define SNV_COPY_CDW12_FORMAT	(0xfU << 8)
#define SNV_COPY_CDW12_PRINFOR	(0xfU << 12)
#define SNV_COPY_PRINFOR_SHIFT	14		/* up to where PRACT and PRCHK are elsewhere */

struct snv_copy_range {
	__u8	rsvd0[8];
	__le64	slba;
	__le16	nlb;		/* zero-based */
	__u8	rsvd18[6];
	__le32	eilbrt;
	__le16	elbat;
	__le16	elbatm;
};
SNV_SIZE(snv_copy_range, 32);
SNV_AT(snv_copy_range, nlb, 16);
SNV_AT(snv_copy_range, eilbrt, 24);

/* ---- Identify: Base 5.17 ---- */

#define SNV_CNS_NS			0x00
#define SNV_CNS_CTRL			0x01
#define SNV_CNS_ACTIVE_NS_LIST		0x02
#define SNV_CNS_NS_DESC_LIST		0x03
#define SNV_CNS_CSI_NS			0x05
#define SNV_CNS_CSI_CTRL		0x06
#define SNV_CNS_CSI_ACTIVE_NS_LIST	0x07
#define SNV_CNS_INDEP_NS		0x08
#define SNV_CNS_ALLOCATED_NS_LIST	0x10
#define SNV_CNS_ALLOCATED_NS		0x11
#define SNV_CNS_NS_CTRL_LIST		0x12
#define SNV_CNS_CTRL_LIST		0x13
#define SNV_CNS_PRIMARY_CTRL_CAP	0x14
#define SNV_CNS_SECONDARY_CTRL_LIST	0x15
#define SNV_CNS_CSI_ALLOCATED_NS_LIST	0x1a
#define SNV_CNS_CSI_ALLOCATED_NS	0x1b
#define SNV_CNS_CSI_LIST		0x1c

#define SNV_CSI_NVM			0x00
#define SNV_CSI_KV			0x01
#define SNV_CSI_ZNS			0x02

struct snv_power_state {
	__le16	mp;
	__u8	rsvd2;
	__u8	flags;
	__le32	enlat;
	__le32	exlat;
	__u8	rrt;
	__u8	rrl;
	__u8	rwt;
	__u8	rwl;
	__le16	idlp;
	__u8	ips;
	__u8	rsvd19;
	__le16	actp;
	__u8	apws;
	__u8	rsvd23[9];
};
SNV_SIZE(snv_power_state, 32);

struct snv_id_ctrl {
	__le16	vid;
	__le16	ssvid;
	char	sn[20];
	char	mn[40];
	char	fr[8];
	__u8	rab;
	__u8	ieee[3];
	__u8	cmic;
	__u8	mdts;		/* 1 << mdts pages of 1 << (12 + CAP.MPSMIN); 0: no limit */
	__le16	cntlid;
	__le32	ver;
	__le32	rtd3r;
	__le32	rtd3e;
	__le32	oaes;
	__le32	ctratt;
	__le16	rrls;
	__u8	rsvd102[9];
	__u8	cntrltype;
	__u8	fguid[16];
	__le16	crdt1;
	__le16	crdt2;
	__le16	crdt3;
	__u8	rsvd134[119];
	__u8	nvmsr;
	__u8	vwci;
	__u8	mec;
	__le16	oacs;
	__u8	acl;
	__u8	aerl;
	__u8	frmw;
	__u8	lpa;
	__u8	elpe;
	__u8	npss;
	__u8	avscc;
	__u8	apsta;
	__le16	wctemp;
	__le16	cctemp;
	__le16	mtfa;
	__le32	hmpre;
	__le32	hmmin;
	__u8	tnvmcap[16];
	__u8	unvmcap[16];
	__le32	rpmbs;
	__le16	edstt;
	__u8	dsto;
	__u8	fwug;
	__le16	kas;
	__le16	hctma;
	__le16	mntmt;
	__le16	mxtmt;
	__le32	sanicap;
	__le32	hmminds;
	__le16	hmmaxd;
	__le16	nsetidmax;
	__le16	endgidmax;
	__u8	anatt;
	__u8	anacap;
	__le32	anagrpmax;
	__le32	nanagrpid;
	__le32	pels;
	__le16	domainid;
	__u8	rsvd358[10];
	__u8	megcap[16];
	__u8	rsvd384[128];
	__u8	sqes;
	__u8	cqes;
	__le16	maxcmd;
	__le32	nn;
	__le16	oncs;
	__le16	fuses;
	__u8	fna;
	__u8	vwc;
	__le16	awun;
	__le16	awupf;
	__u8	icsvscc;
	__u8	nwpc;
	__le16	acwu;
	__le16	ocfs;
	__le32	sgls;
	__le32	mnan;
	__u8	maxdna[16];
	__le32	maxcna;
	__u8	rsvd564[204];
	char	subnqn[256];
	__u8	rsvd1024[768];
	__u8	fabrics[256];
	struct snv_power_state psd[32];
	__u8	vs[1024];
};
SNV_SIZE(snv_id_ctrl, 4096);
SNV_AT(snv_id_ctrl, mdts, 77);
SNV_AT(snv_id_ctrl, ver, 80);
SNV_AT(snv_id_ctrl, ctratt, 96);
SNV_AT(snv_id_ctrl, cntrltype, 111);
SNV_AT(snv_id_ctrl, oacs, 256);
SNV_AT(snv_id_ctrl, tnvmcap, 280);
SNV_AT(snv_id_ctrl, kas, 320);
SNV_AT(snv_id_ctrl, anagrpmax, 344);
SNV_AT(snv_id_ctrl, sqes, 512);
SNV_AT(snv_id_ctrl, nn, 516);
SNV_AT(snv_id_ctrl, vwc, 525);
SNV_AT(snv_id_ctrl, sgls, 536);
SNV_AT(snv_id_ctrl, subnqn, 768);
SNV_AT(snv_id_ctrl, psd, 2048);

#define SNV_OACS_SECURITY	(1U << 0)
#define SNV_OACS_FORMAT		(1U << 1)
#define SNV_OACS_FIRMWARE	(1U << 2)
#define SNV_OACS_NS_MGMT	(1U << 3)
#define SNV_OACS_SELF_TEST	(1U << 4)
#define SNV_OACS_DIRECTIVES	(1U << 5)
#define SNV_OACS_VIRT_MGMT	(1U << 7)
#define SNV_OACS_DBBUF		(1U << 8)
#define SNV_OACS_LBA_STATUS	(1U << 9)
#define SNV_ONCS_COMPARE	(1U << 0)
#define SNV_ONCS_WRITE_UNCOR	(1U << 1)
#define SNV_ONCS_DSM		(1U << 2)
#define SNV_ONCS_WRITE_ZEROES	(1U << 3)
#define SNV_ONCS_SAVE_FEATURES	(1U << 4)
#define SNV_ONCS_RESERVATIONS	(1U << 5)
#define SNV_ONCS_TIMESTAMP	(1U << 6)
#define SNV_ONCS_VERIFY		(1U << 7)
#define SNV_ONCS_COPY		(1U << 8)
#define SNV_VWC_PRESENT		(1U << 0)
#define SNV_VWC_FLUSH_ALL	(3U << 1)	/* Flush takes NSID FFFFFFFFh */
#define SNV_CMIC_MULTI_PORT	(1U << 0)
#define SNV_CMIC_MULTI_CTRL	(1U << 1)
#define SNV_CTRATT_HOST_ID_128	(1U << 0)
#define SNV_CNTRLTYPE_IO	1
#define SNV_FRMW_SLOT1_RO	(1U << 0)
#define SNV_FRMW_SLOTS_SHIFT	1
#define SNV_LPA_EFFECTS		(1U << 1)
#define SNV_LPA_EXTENDED	(1U << 2)
#define SNV_LPA_TELEMETRY	(1U << 3)
#define SNV_FUSES_COMPARE_WRITE	(1U << 0)
#define SNV_SGLS_SUPPORTED	(1U << 0)	/* of bytes, without alignment */
#define SNV_SGLS_BIT_BUCKET	(1U << 16)
#define SNV_SGLS_META_SGL	(1U << 19)	/* MPTR to an SGL */

struct snv_lbaf {
	__le16	ms;		/* metadata bytes */
	__u8	ds;		/* log2 of the data bytes */
	__u8	rp;
};
SNV_SIZE(snv_lbaf, 4);

struct snv_id_ns {
	__le64	nsze;
	__le64	ncap;
	__le64	nuse;
	__u8	nsfeat;
	__u8	nlbaf;		/* zero-based */
	__u8	flbas;
	__u8	mc;
	__u8	dpc;
	__u8	dps;
	__u8	nmic;
	__u8	rescap;
	__u8	fpi;
	__u8	dlfeat;
	__le16	nawun;
	__le16	nawupf;
	__le16	nacwu;
	__le16	nabsn;
	__le16	nabo;
	__le16	nabspf;
	__le16	noiob;
	__u8	nvmcap[16];
	__le16	npwg;
	__le16	npwa;
	__le16	npdg;
	__le16	npda;
	__le16	nows;
	__le16	mssrl;
	__le32	mcl;
	__u8	msrc;
	__u8	rsvd81[11];
	__le32	anagrpid;
	__u8	rsvd96[3];
	__u8	nsattr;
	__le16	nvmsetid;
	__le16	endgid;
	__u8	nguid[16];
	__u8	eui64[8];
	struct snv_lbaf lbaf[64];
	__u8	vs[3712];
};
SNV_SIZE(snv_id_ns, 4096);
SNV_AT(snv_id_ns, nsfeat, 24);
SNV_AT(snv_id_ns, dps, 29);
SNV_AT(snv_id_ns, noiob, 46);
SNV_AT(snv_id_ns, nvmcap, 48);
SNV_AT(snv_id_ns, mssrl, 74);
SNV_AT(snv_id_ns, anagrpid, 92);
SNV_AT(snv_id_ns, nguid, 104);
SNV_AT(snv_id_ns, lbaf, 128);

#define SNV_FLBAS_LOW		0x0fU
#define SNV_FLBAS_EXTENDED	(1U << 4)	/* metadata follows the data of each block */
#define SNV_FLBAS_HIGH_SHIFT	5
#define SNV_FLBAS_HIGH		0x60U
#define SNV_DPS_PI		0x07U
#define SNV_DPS_FIRST		(1U << 3)
#define SNV_NMIC_SHARED		(1U << 0)
#define SNV_NSFEAT_THIN		(1U << 0)
#define SNV_MC_EXTENDED		(1U << 0)
#define SNV_MC_SEPARATE		(1U << 1)
#define SNV_DPC_TYPE1		(1U << 0)
#define SNV_DPC_TYPE2		(1U << 1)
#define SNV_DPC_TYPE3		(1U << 2)
#define SNV_DPC_FIRST		(1U << 3)
#define SNV_DPC_LAST		(1U << 4)
#define SNV_DLFEAT_ZEROS	(1U << 0)	/* deallocated blocks read as zeros */
#define SNV_DLFEAT_DEAC		(1U << 3)
#define SNV_NSATTR_WRITE_PROTECTED (1U << 0)

/* I/O command set independent: CNS 08h */
struct snv_id_ns_indep {
	__u8	nsfeat;
	__u8	nmic;
	__u8	rescap;
	__u8	fpi;
	__le32	anagrpid;
	__u8	nsattr;
	__u8	rsvd9;
	__le16	nvmsetid;
	__le16	endgid;
	__u8	nstat;
	__u8	rsvd15[4081];
};
SNV_SIZE(snv_id_ns_indep, 4096);
SNV_AT(snv_id_ns_indep, nstat, 14);
#define SNV_NSTAT_READY		(1U << 0)

/* One of a list; the last is followed by one whose nidl is zero. */
struct snv_ns_id_desc {
	__u8	nidt;		/* SNV_NIDT_* */
	__u8	nidl;
	__u8	rsvd2[2];
	__u8	nid[];
};
SNV_SIZE(snv_ns_id_desc, 4);

#define SNV_NIDT_EUI64		0x01
#define SNV_NIDT_NGUID		0x02
#define SNV_NIDT_UUID		0x03
#define SNV_NIDT_CSI		0x04

struct snv_ns_list {
	__le32	nsid[1024];
};
SNV_SIZE(snv_ns_list, 4096);

struct snv_ctrl_list {
	__le16	num;
	__le16	cntlid[2047];
};
SNV_SIZE(snv_ctrl_list, 4096);

/* ---- Features: Base 5.27 ---- */

#define SNV_FEAT_ARBITRATION	0x01
#define SNV_FEAT_POWER_MGMT	0x02
#define SNV_FEAT_LBA_RANGE	0x03
#define SNV_FEAT_TEMP_THRESH	0x04
#define SNV_FEAT_ERR_RECOVERY	0x05
#define SNV_FEAT_VOLATILE_WC	0x06
#define SNV_FEAT_NUM_QUEUES	0x07
#define SNV_FEAT_IRQ_COALESCE	0x08
#define SNV_FEAT_IRQ_CONFIG	0x09
#define SNV_FEAT_WRITE_ATOMIC	0x0a
#define SNV_FEAT_ASYNC_EVENT	0x0b
#define SNV_FEAT_AUTO_PST	0x0c
#define SNV_FEAT_HOST_MEM_BUF	0x0d
#define SNV_FEAT_TIMESTAMP	0x0e
#define SNV_FEAT_KATO		0x0f
#define SNV_FEAT_HCTM		0x10
#define SNV_FEAT_NOPSC		0x11
#define SNV_FEAT_HOST_BEHAVIOR	0x16
#define SNV_FEAT_IOCS_PROFILE	0x19
#define SNV_FEAT_SW_PROGRESS	0x80
#define SNV_FEAT_HOST_ID	0x81
#define SNV_FEAT_RESV_MASK	0x82
#define SNV_FEAT_RESV_PERSIST	0x83
#define SNV_FEAT_WRITE_PROTECT	0x84

#define SNV_FEAT_SEL_SHIFT	8
#define SNV_FEAT_SEL_CURRENT	(0U << 8)
#define SNV_FEAT_SEL_DEFAULT	(1U << 8)
#define SNV_FEAT_SEL_SAVED	(2U << 8)
#define SNV_FEAT_SEL_CAPS	(3U << 8)
#define SNV_FEAT_SEL		(7U << 8)
#define SNV_FEAT_CAP_SAVEABLE	(1U << 0)	/* what SNV_FEAT_SEL_CAPS returns */
#define SNV_FEAT_CAP_PER_NS	(1U << 1)
#define SNV_FEAT_CAP_CHANGEABLE	(1U << 2)
#define SNV_FEAT_CDW10_SAVE	(1U << 31)

#define SNV_ERR_RECOVERY_DULBE	(1U << 16)
#define SNV_AEC_NS_ATTR		(1U << 8)	/* Asynchronous Event Configuration; OAES */
#define SNV_AEC_TELEMETRY	(1U << 10)
#define SNV_TIMESTAMP_HOST	1		/* origin: set by the host */
#define SNV_HOST_ID_EXHID	(1U << 0)

/* Number of Queues: both zero-based */
#define SNV_NUM_QUEUES_SQ	0xffffU
#define SNV_NUM_QUEUES_CQ_SHIFT	16

/* ---- Log pages: Base 5.16 ---- */

#define SNV_LOG_SUPPORTED	0x00
#define SNV_LOG_ERROR		0x01
#define SNV_LOG_SMART		0x02
#define SNV_LOG_FW_SLOT		0x03
#define SNV_LOG_CHANGED_NS	0x04
#define SNV_LOG_EFFECTS		0x05
#define SNV_LOG_SELF_TEST	0x06
#define SNV_LOG_TELEMETRY_HOST	0x07
#define SNV_LOG_TELEMETRY_CTRL	0x08
#define SNV_LOG_ANA		0x0c
#define SNV_LOG_RESERVATION	0x80
#define SNV_LOG_SANITIZE	0x81
#define SNV_LOG_CHANGED_ZONES	0xbf

#define SNV_GET_LOG_CDW10_RAE	(1U << 15)
#define SNV_GET_LOG_CDW14_OT	(1U << 23)	/* the offset is an index */

struct snv_error_log {
	__le64	error_count;
	__le16	sqid;
	__le16	cid;
	__le16	status;		/* as in a completion, phase included */
	__le16	parm_error_location;
	__le64	lba;
	__le32	nsid;
	__u8	vs;
	__u8	trtype;
	__u8	rsvd30[2];
	__le64	cs;
	__le16	trtype_spec;
	__u8	rsvd42[22];
};
SNV_SIZE(snv_error_log, 64);
SNV_AT(snv_error_log, lba, 16);
SNV_AT(snv_error_log, cs, 32);

#define SNV_SMART_TEMPERATURE	(1U << 1)	/* critical_warning */

struct snv_smart_log {
	__u8	critical_warning;
	__u8	temperature[2];
	__u8	avail_spare;
	__u8	spare_thresh;
	__u8	percent_used;
	__u8	endu_grp_crit_warn_sumry;
	__u8	rsvd7[25];
	__u8	data_units_read[16];	/* thousands of 512 bytes */
	__u8	data_units_written[16];
	__u8	host_reads[16];
	__u8	host_writes[16];
	__u8	ctrl_busy_time[16];	/* minutes */
	__u8	power_cycles[16];
	__u8	power_on_hours[16];
	__u8	unsafe_shutdowns[16];
	__u8	media_errors[16];
	__u8	num_err_log_entries[16];
	__le32	warning_temp_time;
	__le32	critical_comp_time;
	__le16	temp_sensor[8];
	__le32	thm_temp1_trans_count;
	__le32	thm_temp2_trans_count;
	__le32	thm_temp1_total_time;
	__le32	thm_temp2_total_time;
	__u8	rsvd232[280];
};
SNV_SIZE(snv_smart_log, 512);
SNV_AT(snv_smart_log, data_units_read, 32);
SNV_AT(snv_smart_log, warning_temp_time, 192);

struct snv_fw_slot_log {
	__u8	afi;
	__u8	rsvd1[7];
	char	frs[7][8];
	__u8	rsvd64[448];
};
SNV_SIZE(snv_fw_slot_log, 512);

struct snv_effects_log {
	__le32	acs[256];
	__le32	iocs[256];
	__u8	rsvd2048[2048];
};
SNV_SIZE(snv_effects_log, 4096);

#define SNV_EFFECTS_CSUPP	(1U << 0)
#define SNV_EFFECTS_LBCC	(1U << 1)
#define SNV_EFFECTS_NCC		(1U << 2)
#define SNV_EFFECTS_NIC		(1U << 3)
#define SNV_EFFECTS_CCC		(1U << 4)
#define SNV_EFFECTS_CSE_NS	(1U << 16)	/* no others of its namespace meanwhile */

struct snv_telemetry_log {
	__u8	lpi;
	__u8	rsvd1[4];
	__u8	ieee[3];
	__le16	dalb1;
	__le16	dalb2;
	__le16	dalb3;
	__u8	rsvd14[368];
	__u8	ctrlavail;
	__u8	ctrldgn;
	__u8	rsnident[128];
};
SNV_SIZE(snv_telemetry_log, 512);
SNV_AT(snv_telemetry_log, ctrlavail, 382);

/* Asynchronous events: Base 5.2 */
#define SNV_AER_TYPE		0x7U
#define SNV_AER_INFO_SHIFT	8
#define SNV_AER_LOG_SHIFT	16
#define SNV_AER_ERROR		0
#define SNV_AER_SMART		1
#define SNV_AER_NOTICE		2
#define SNV_AER_IO		6
#define SNV_AER_SMART_TEMPERATURE	0x01
#define SNV_AER_ERROR_INVALID_DB_REG	0x00
#define SNV_AER_ERROR_INVALID_DB_VAL	0x01
#define SNV_AER_NOTICE_NS_CHANGED	0x00

/* ---- Zoned namespaces: ZNS 4, 5 ---- */

struct snv_zns_lbafe {
	__le64	zsze;
	__u8	zdes;
	__u8	rsvd9[7];
};
SNV_SIZE(snv_zns_lbafe, 16);

struct snv_zns_id_ns {
	__le16	zoc;
	__le16	ozcs;
	__le32	mar;
	__le32	mor;
	__le32	rrl;
	__le32	frl;
	__le32	rrl1;
	__le32	rrl2;
	__le32	rrl3;
	__le32	frl1;
	__le32	frl2;
	__le32	frl3;
	__le32	numzrwa;
	__le16	zrwafg;
	__le16	zrwasz;
	__u8	zrwacap;
	__u8	rsvd53[2763];
	struct snv_zns_lbafe lbafe[64];
	__u8	vs[256];
};
SNV_SIZE(snv_zns_id_ns, 4096);
SNV_AT(snv_zns_id_ns, lbafe, 2816);

#define SNV_OZCS_READ_ACROSS	(1U << 0)	/* reads may cross the boundaries of zones */

struct snv_id_ctrl_nvm {
	__u8	vsl;
	__u8	wzsl;
	__u8	wusl;
	__u8	dmrl;
	__le32	dmrsl;
	__le64	dmsl;
	__u8	rsvd16[4080];
};
SNV_SIZE(snv_id_ctrl_nvm, 4096);

struct snv_zns_id_ctrl {
	__u8	zasl;
	__u8	rsvd1[4095];
};
SNV_SIZE(snv_zns_id_ctrl, 4096);

struct snv_zone_desc {
	__u8	zt;
	__u8	zs;		/* state in bits 7:4 */
	__u8	za;
	__u8	zai;
	__u8	rsvd4[4];
	__le64	zcap;
	__le64	zslba;
	__le64	wp;
	__u8	rsvd32[32];
};
SNV_SIZE(snv_zone_desc, 64);

struct snv_zone_report {
	__le64	nr_zones;
	__u8	rsvd8[56];
	struct snv_zone_desc zone[];
};
SNV_SIZE(snv_zone_report, 64);

#define SNV_ZONE_TYPE_SEQ	0x2
#define SNV_ZONE_EMPTY		0x1
#define SNV_ZONE_IMP_OPEN	0x2
#define SNV_ZONE_EXP_OPEN	0x3
#define SNV_ZONE_CLOSED		0x4
#define SNV_ZONE_READ_ONLY	0xd
#define SNV_ZONE_FULL		0xe
#define SNV_ZONE_OFFLINE	0xf

#define SNV_ZONE_SEND_CLOSE	0x1
#define SNV_ZONE_SEND_FINISH	0x2
#define SNV_ZONE_SEND_OPEN	0x3
#define SNV_ZONE_SEND_RESET	0x4
#define SNV_ZONE_SEND_OFFLINE	0x5
#define SNV_ZONE_SEND_ALL	(1U << 8)
#define SNV_ZONE_SEND_ZRWA	(1U << 9)	/* Open: with a random write area */

#endif /* _UAPI_SNVME_NVME_H */
