/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * snvme.ko: queues of one's own on a controller that the stock nvme driver runs.
 *
 * Locks, outermost first:
 *   device_lock(pdev)	held by the driver core around unbinding; by us while a controller is
 *			first attached and last detached
 *   snvme_lock		the list of controllers, their users, the sessions left over
 *   mmap_lock		of whoever maps or touches our pages
 *   snvme_session.p2p_lock  the session's memory that is not the host's, from its dma-buf to its end;
 *			and the end of any memory
 *   a dma-buf's reservation lock; its exporter holds it when it takes memory away. For memory of an
 *			NVIDIA GPU: the locks of its driver, and then snvme_nvidia.lock
 *   snvme_session.lock	the session's memory and queues. User memory is not touched, and
 *			RLIMIT_MEMLOCK not charged, under it: both may take mmap_lock
 *   snvme_ctrl.lock	identifiers, and every admin command that we send
 *   snvme_ctrl.map_lock what the doorbell mappings show
 *   snvme_ctrl.state_lock (spinlock, interrupts off) state, epochs and state words
 *   snvme_session.wait's, and those of whoever waits there
 *   (owner.c's own: innermost)
 */
#ifndef SNVME_H
#define SNVME_H

#include <linux/bitmap.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/nvme.h>
#include <linux/pci.h>
#include <linux/rwsem.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/uidgid.h>
#include <linux/xarray.h>
#include <snvme/ioctl.h>

#define SNVME_MAX_QID		65535
#define SNVME_IDENTIFY_BYTES	4096
#define SNVME_IDENTIFY_MAX	0x1f	/* CNS */
#define SNVME_MAX_KERNEL_MEM	(4UL << 20)
#define SNVME_NVIDIA_PAGE	(64UL << 10)

struct dma_buf_attachment;
struct nvme_ctrl;
struct snvme_nvidia;

/**
 * struct snvme_ctrl - a controller with at least one session
 * @node: in snvme_ctrls; read under RCU by the state probe
 * @users: sessions; guarded by snvme_lock
 * @pdev: its PCI function; we hold a reference
 * @nctrl: the stock driver's object; valid until @unbound
 * @admin_q: the driver's admin request queue; likewise
 * @instance: N of nvmeN
 * @domain: of its PCI address, which is its bus's to say only while the driver is bound
 * @cap: CAP register
 * @vs: VS register
 * @page_shift: memory page size in force, CC.MPS
 * @db_stride: bytes from one doorbell to the next
 * @bar: physical address of BAR0
 * @bar_len: its length
 * @iommu: DMA is translated
 * @shadow: the driver's shadow doorbell page, by a kernel address of our own, or NULL
 * @eventidx: its EventIdx page, likewise
 * @lock: guards what follows, and is held over each of our admin commands
 * @sq_ids: submission queue identifiers in use through us
 * @cq_ids: likewise for completion queues
 * @used_sq: how many
 * @used_cq: how many
 * @granted_sq: as Get Features 07h said in @granted_epoch
 * @granted_cq: likewise
 * @granted_epoch: epoch + 1 of the last Get Features; 0 for never
 * @map_lock: guards @unbound against page faults on the doorbells
 * @unbound: the driver lets go of the device: no admin command, no doorbell any more. Written
 *	under @lock and @map_lock, read under either
 * @released: the driver has let go, and no memory of ours is mapped for the device; guarded by
 *	device_lock
 * @state_lock: guards what follows
 * @state: SNVME_STATE_*
 * @epoch: counts the times it stopped being live
 * @quiet: queues made in an epoch before this one are forgotten by the controller; U64_MAX once all are for good
 * @sessions: attached sessions
 * @wait: woken when @state or @quiet change
 */
struct snvme_ctrl {
	struct list_head node;
	unsigned int users;
	struct pci_dev *pdev;
	struct nvme_ctrl *nctrl;
	struct request_queue *admin_q;
	int instance;
	u32 domain;
	u64 cap;
	u32 vs;
	u32 page_shift;
	u32 db_stride;
	phys_addr_t bar;
	resource_size_t bar_len;
	bool iommu;
	void *shadow;
	void *eventidx;

	struct mutex lock;
	DECLARE_BITMAP(sq_ids, SNVME_MAX_QID + 1);
	DECLARE_BITMAP(cq_ids, SNVME_MAX_QID + 1);
	u32 used_sq;
	u32 used_cq;
	u32 granted_sq;
	u32 granted_cq;
	u64 granted_epoch;

	struct rw_semaphore map_lock;
	bool unbound;
	bool released;

	spinlock_t state_lock;
	u32 state;
	u64 epoch;
	u64 quiet;
	struct list_head sessions;
	wait_queue_head_t wait;
};

/**
 * struct snvme_owner - a user with sessions; all guarded by a lock of owner.c
 * @node: in the list of all
 * @uid: who
 * @sessions: of his
 * @sqs: submission queues
 * @cqs: completion queues
 * @commands: what the submission queues have room for
 * @pages: of registered memory
 */
struct snvme_owner {
	struct list_head node;
	kuid_t uid;
	u32 sessions;
	u32 sqs;
	u32 cqs;
	u64 commands;
	u64 pages;
};

/**
 * struct snvme_session - an open file of /dev/snvme, until the controller has forgotten its queues
 * @owner: whose; this and what follows up to @p2p_lock are those of who opened it
 * @pid: his process
 * @comm: its name
 * @limited: budgets hold
 * @by_group: he is in the group that the device node is given to
 * @p2p_lock: see above
 * @lock: guards all but what is said otherwise
 * @attaching: the first SNVME_IOC_ATTACH has it
 * @ctrl: set once, by a release store at the end of attaching; readers acquire
 * @node: in snvme_ctrl.sessions; guarded by its state_lock
 * @left_over: in snvme_left_over once the file is closed; guarded by snvme_lock
 * @mapping: what its file's mappings hang off; NULL once it is closed; guarded by snvme_lock
 * @state: the state page; words written under snvme_ctrl.state_lock
 * @scratch: what the doorbell mappings show after the driver let go
 * @events: times that its state changed, or that memory was taken away; under snvme_ctrl.state_lock
 * @seen: @events as SNVME_IOC_INFO last told of them
 * @wait: woken with @events, for poll(2)
 * @lost: registered memory that was taken away: no queue is made until its owner has unregistered it,
 *	and so knows that its addresses mean nothing any more
 * @mems: handle -> struct snvme_memory
 * @queues: handle -> struct snvme_queue; the handle is also the index of the state word
 */
struct snvme_session {
	struct snvme_owner *owner;
	pid_t pid;
	char comm[TASK_COMM_LEN];
	bool limited;
	bool by_group;
	struct mutex p2p_lock;
	struct mutex lock;
	unsigned long attaching;
	struct snvme_ctrl *ctrl;
	struct list_head node;
	struct list_head left_over;
	struct address_space *mapping;
	struct snvme_state_page *state;
	void *scratch;
	u64 events;
	u64 seen;
	wait_queue_head_t wait;
	unsigned int lost;
	struct xarray mems;
	struct xarray queues;
};

/**
 * struct snvme_memory - registered memory
 * @type: SNVME_MEM_*
 * @npages: of PAGE_SIZE
 * @pages: the pages; pinned (USER) or ours (KERNEL); NULL once released, and for another device's
 * @own: their DMA mapping for the controller's device; that of NVIDIA memory
 * @sgt: the mapping: @own, or the exporter's; NULL once released, or taken away
 * @mm: who is charged; we hold a reference to the structure; NULL for another device's
 * @rings: queues whose ring lies in it
 * @session: DMABUF, NVIDIA: whose it is
 * @attach: DMABUF: our hold of it; NULL once released
 * @nvidia: NVIDIA: likewise
 */
struct snvme_memory {
	u32 type;
	unsigned long npages;
	struct page **pages;
	struct sg_table own;
	struct sg_table *sgt;
	struct mm_struct *mm;
	unsigned int rings;
	struct snvme_session *session;
	struct dma_buf_attachment *attach;
	struct snvme_nvidia *nvidia;
};

/**
 * struct snvme_queue - one submission or completion queue
 * @type: SNVME_QUEUE_*
 * @qid: NVMe identifier
 * @handle: in snvme_session.queues
 * @entries: of the ring
 * @epoch: the controller's when it was created
 * @deleted: the controller confirmed that it does not know it
 * @mem: where the ring lies
 * @cq: SQ: where it reports to
 * @sqs: CQ: submission queues that report to it
 */
struct snvme_queue {
	u32 type;
	u16 qid;
	u32 handle;
	u32 entries;
	u64 epoch;
	bool deleted;
	struct snvme_memory *mem;
	struct snvme_queue *cq;
	unsigned int sqs;
};

/* btf.c: facts from the kernel's own type information, with no knowledge of any driver */
struct snvme_btf {
	void *data;
	size_t len;
	const char *strs;
	u32 strs_len;
	u32 *types;
	u32 ntypes;
	const struct snvme_btf *base;
};

int snvme_btf_load(struct snvme_btf *btf, const char *path, const struct snvme_btf *base);
void snvme_btf_free(struct snvme_btf *btf);
int snvme_btf_member(const struct snvme_btf *btf, const char *strct, const char *member,
		     const char *type, u32 *offset);
int snvme_btf_enumerator(const struct snvme_btf *btf, const char *name, u32 *value);

/* In jiffies: until a command is tried again that the driver did not take, when nothing else says that it will. */
#define SNVME_ASK_AGAIN		(HZ / 100)

/* Status code type 3: the command was cancelled by the driver, not answered by the controller. */
#define SNVME_STATUS_PATH(status)	(((status) >> 8 & 7) == 3)

/* attach.c: the stock driver's controller */
extern struct mutex snvme_lock;
extern struct list_head snvme_ctrls;

int snvme_attach(struct snvme_session *s, int fd);
void snvme_session_event(struct snvme_session *s);
void snvme_detach(struct snvme_session *s);
bool snvme_is_quiet(struct snvme_ctrl *ctrl, u64 epoch);
int snvme_wait_quiet(struct snvme_ctrl *ctrl);
int snvme_wait_answer(struct snvme_ctrl *ctrl, u64 epoch);
bool snvme_driver_live(const struct snvme_ctrl *ctrl);
int snvme_admin(struct snvme_ctrl *ctrl, struct nvme_command *cmd, void *data, u32 *result);
int snvme_identify(struct snvme_session *s, struct snvme_identify *arg);
int snvme_update_grant(struct snvme_ctrl *ctrl);
u32 snvme_driver_queues(const struct snvme_ctrl *ctrl);
int snvme_attach_init(void);
void snvme_attach_exit(void);

/* owner.c */
struct snvme_owner *snvme_owner_get(void);
void snvme_owner_put(struct snvme_owner *o);
int snvme_charge_queue(struct snvme_session *s, u32 type, u32 entries);
void snvme_uncharge_queue(struct snvme_session *s, u32 type, u32 entries);
int snvme_charge_memory(struct snvme_session *s, unsigned long pages);
void snvme_uncharge_memory(struct snvme_session *s, unsigned long pages);

/* debugfs.c */
void snvme_debugfs_init(void);
void snvme_debugfs_exit(void);

/* queue.c */
int snvme_queue_create(struct snvme_session *s, struct snvme_queue_create *arg);
int snvme_queue_destroy(struct snvme_session *s, u32 handle);
bool snvme_queues_delete(struct snvme_session *s);
int snvme_queues_delete_dead(struct snvme_session *s);
void snvme_queues_revoke(struct snvme_session *s);
void snvme_queues_free(struct snvme_session *s);
void snvme_count_queues(struct snvme_ctrl *ctrl, struct snvme_info *info);
unsigned long snvme_doorbell(const struct snvme_ctrl *ctrl, u32 type, u32 qid);

/* mem.c */
int snvme_mem_register(struct snvme_session *s, struct snvme_mem_register *arg);
int snvme_mem_unregister(struct snvme_session *s, u32 handle);
int snvme_mem_dma(const struct snvme_memory *mem, u64 offset, u64 length, dma_addr_t *dma);
void snvme_mem_clear(const struct snvme_memory *mem, u64 offset, u64 length);
void snvme_mems_release(struct snvme_session *s);

/* p2p.c */
u64 snvme_p2p_caps(void);
int snvme_p2p_map(struct snvme_session *s, struct snvme_memory *mem,
		  const struct snvme_mem_register *arg);
void snvme_p2p_unlock(struct snvme_memory *mem);
void snvme_p2p_release(struct snvme_memory *mem);

/* chardev.c */
/* mmap(2) offsets: what in the upper bits, which page of it in the lower ones. */
#define SNVME_MMAP_KIND_SHIFT	40
enum snvme_mmap_kind {
	SNVME_MMAP_KIND_STATE,		/* must be 0: SNVME_MMAP_STATE */
	SNVME_MMAP_KIND_DOORBELL,	/* page number in BAR0 */
	SNVME_MMAP_KIND_SHADOW,
	SNVME_MMAP_KIND_EVENTIDX,
	SNVME_MMAP_KIND_MEM,		/* handle << SNVME_MMAP_MEM_SHIFT */
};
#define SNVME_MMAP_MEM_SHIFT	12	/* more pages than SNVME_MAX_KERNEL_MEM has */

static inline u64 snvme_mmap_offset(enum snvme_mmap_kind kind, u64 page)
{
	return (u64)kind << SNVME_MMAP_KIND_SHIFT | page << PAGE_SHIFT;
}

void snvme_zap_doorbells(struct snvme_session *s);
void snvme_reap_left_over(void);

#endif /* SNVME_H */
