/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR MIT */
/*
 * snvme kernel ABI: the ioctls and mmap regions of /dev/snvme. doc/abi.md explains it.
 *
 * Rules, for every structure: it starts with its own size; fields are fixed-width; user addresses
 * are __u64; reserved fields and undefined flag bits must be zero, or the call is refused with
 * -EINVAL; a size other than the one below is refused with -EINVAL.
 *
 * poll(2) finds a session readable when its controller's state changed, or memory was taken away from
 * it, since its last SNVME_IOC_INFO or its SNVME_IOC_ATTACH; and hung up once the controller is gone.
 *
 * One open file is one session: it is attached to at most one controller, and everything that it
 * creates is destroyed, in the only safe order, when its last descriptor is closed.
 */
#ifndef _UAPI_SNVME_IOCTL_H
#define _UAPI_SNVME_IOCTL_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Bumped when an existing call changes its meaning; additions show in the capability bits. */
#define SNVME_ABI_VERSION	1

/* snvme_info.caps */
#define SNVME_CAP_MEM_USER	(1ULL << 0)	/* SNVME_MEM_USER */
#define SNVME_CAP_MEM_KERNEL	(1ULL << 1)	/* SNVME_MEM_KERNEL */
#define SNVME_CAP_MEM_DMABUF	(1ULL << 2)	/* SNVME_MEM_DMABUF */
#define SNVME_CAP_EVENTS	(1ULL << 3)	/* poll(2) */
#define SNVME_CAP_IDENTIFY	(1ULL << 5)	/* SNVME_IOC_IDENTIFY */
#define SNVME_CAP_MEM_NVIDIA	(1ULL << 4)	/* SNVME_MEM_NVIDIA: only if the module was built with it */

/* snvme_info.ctrl_flags */
#define SNVME_CTRL_ATTACHED	(1U << 0)	/* the fields below caps are valid */
#define SNVME_CTRL_SHADOW	(1U << 1)	/* the controller takes tails from shadow doorbells */
#define SNVME_CTRL_IOMMU	(1U << 2)	/* DMA goes through a translating IOMMU */

/*
 * State words, of a queue and of the controller. A word is one aligned __u32 in the state page,
 * written by the kernel only. A queue goes from LIVE to one of the others once, and stays there
 * until its owner destroys it: nothing that lies in a dead queue's rings may be believed.
 */
#define SNVME_STATE_NONE	0	/* no queue in this place */
#define SNVME_STATE_LIVE	1
#define SNVME_STATE_RESET	2	/* the driver resets, or did reset, the controller */
#define SNVME_STATE_GONE	3	/* the driver let go of the device, or it was removed */
#define SNVME_STATE_REVOKED	4	/* memory of the session was taken away by its exporter */

/**
 * struct snvme_info - SNVME_IOC_INFO
 * @size: sizeof(struct snvme_info)
 * @abi_version: SNVME_ABI_VERSION of the module
 * @caps: SNVME_CAP_*
 * @ctrl_flags: SNVME_CTRL_*; all that follows is zero without SNVME_CTRL_ATTACHED
 * @state: SNVME_STATE_LIVE, _RESET or _GONE of the controller
 * @epoch: counts the times the controller stopped being live while a session was attached
 * @cap: the CAP register, NVMe Base 2.0 section 3.1.3.1
 * @vs: the VS register, section 3.1.3.2
 * @page_shift: log2 of the memory page size that the driver programmed in CC.MPS
 * @granted_sq: I/O submission queues that the controller granted (Feature 07h)
 * @granted_cq: I/O completion queues that it granted
 * @driver_queues: queue identifiers 1..driver_queues that belong to the stock driver
 * @used_sq: submission queues of all sessions on this controller
 * @used_cq: completion queues of all sessions on this controller
 * @spare_sq: submission queues that can be created now
 * @spare_cq: completion queues that can be created now
 * @pci_domain: PCI address of the controller
 * @pci_bus: likewise
 * @pci_devfn: likewise, device << 3 | function
 * @instance: the N of /dev/nvmeN
 * @reserved: zero
 *
 * Errors: -EINVAL, -EFAULT, -EIO (the controller does not say how many queues it granted).
 */
struct snvme_info {
	__u32 size;
	__u32 abi_version;
	__u64 caps;
	__u32 ctrl_flags;
	__u32 state;
	__u64 epoch;
	__u64 cap;
	__u32 vs;
	__u32 page_shift;
	__u32 granted_sq;
	__u32 granted_cq;
	__u32 driver_queues;
	__u32 used_sq;
	__u32 used_cq;
	__u32 spare_sq;
	__u32 spare_cq;
	__u32 pci_domain;
	__u32 pci_bus;
	__u32 pci_devfn;
	__u32 instance;
	__u32 reserved[9];
};

/**
 * struct snvme_attach - SNVME_IOC_ATTACH
 * @size: sizeof(struct snvme_attach)
 * @fd: /dev/nvmeN or a namespace's whole block device (/dev/nvmeNnM), open for reading and writing
 * @flags: zero
 * @reserved: zero
 *
 * Errors: -EPERM without CAP_SYS_RAWIO, unless /dev/snvme is given to a group (not root's) that may read and write
 * it, and whoever opened it so is in that, and in no user namespace; -EBADF, -EACCES (descriptor not open
 * read-write), -ENOTTY (not an NVMe device), -EINVAL (a partition), -EOPNOTSUPP (not a PCIe controller of the stock
 * driver, or this kernel's driver is not one that the module knows how to share: the log says what), -EBUSY (this
 * session is attached already, or the controller is being reset), -EIO (it does not say how many queues it granted),
 * -ENOMEM, -ENODEV.
 */
struct snvme_attach {
	__u32 size;
	__s32 fd;
	__u32 flags;
	__u32 reserved[5];
};

/**
 * struct snvme_identify - SNVME_IOC_IDENTIFY: what the controller says of itself and its namespaces
 * @size: sizeof(struct snvme_identify)
 * @cns: which data structure, NVMe Base 2.0 section 5.17.1; of those that concern no other controller: 0 .. 1Fh
 * @nsid: namespace identifier, or as @cns wants it
 * @status: out: of the command, SCT << 8 | SC; 0: @addr has the answer
 * @addr: address of 4,096 bytes
 * @reserved: zero
 *
 * The driver's own call for admin commands asks for CAP_SYS_ADMIN, which owners of queues need not have. A reset that
 * goes on is waited for. Errors: -EINVAL, -EFAULT, -ENODEV (not attached, or the controller is gone), -EINTR (a fatal
 * signal came), -EAGAIN (resets follow each other), -ENOMEM.
 */
struct snvme_identify {
	__u32 size;
	__u32 cns;
	__u32 nsid;
	__u32 status;
	__u64 addr;
	__u64 reserved[2];
};

/* snvme_mem.type */
#define SNVME_MEM_USER		1	/* pages of this process, pinned */
#define SNVME_MEM_KERNEL	2	/* physically contiguous pages from the module, mapped by mmap */
#define SNVME_MEM_DMABUF	3	/* a dma-buf's: another device's memory */
#define SNVME_MEM_NVIDIA	4	/* an NVIDIA GPU's by its address, where that is no dma-buf */

/**
 * struct snvme_mem_register - SNVME_IOC_MEM_REGISTER: make memory reachable by the controller
 * @size: sizeof(struct snvme_mem_register)
 * @type: SNVME_MEM_*
 * @addr: USER: page-aligned address; NVIDIA: the GPU's address of it in this process, a multiple of
 *	64 KiB; else zero
 * @length: in bytes, a multiple of the page size; KERNEL: at most 4 MiB; NVIDIA: a multiple of 64 KiB
 * @fd: DMABUF: its descriptor; else zero
 * @flags: zero
 * @table: address of @table_entries __u64, filled with the DMA address of each page, or zero
 * @table_entries: capacity of @table; at least length >> page_shift when @table is set
 * @page_shift: out: log2 of the pages that @table counts in
 * @handle: out: names the memory in the other calls
 * @mmap_offset: out: KERNEL: the offset for mmap(2) on the session; else zero
 * @reserved: zero
 *
 * USER and KERNEL are charged to RLIMIT_MEMLOCK. DMABUF takes the first @length bytes. When its exporter
 * moves that memory or takes it away, or the GPU's driver takes back NVIDIA memory, all queues of the
 * session are deleted before it does, their state words say SNVME_STATE_REVOKED, and the memory can only
 * be unregistered; before that, no queue is made. NVIDIA memory is contiguous in DMA addresses within
 * each 64 KiB.
 *
 * Errors: -EINVAL, -EFAULT, -ENOMEM, -EDQUOT (module parameter owner_memory), -ENOSPC (@table too small, or too many
 * registrations), -EBADF (no descriptor), -EOPNOTSUPP (memory type, memory that this device could reach only through
 * bounce buffers, or an exporter that does not give it to this device: the log says why), -EREMOTEIO (DMABUF, NVIDIA:
 * no path leads from this controller to that device's memory: the log says why), -ENODEV (not attached, the
 * controller is gone, or the memory is).
 */
struct snvme_mem_register {
	__u32 size;
	__u32 type;
	__u64 addr;
	__u64 length;
	__s32 fd;
	__u32 flags;
	__u64 table;
	__u32 table_entries;
	__u32 page_shift;
	__u32 handle;
	__u32 reserved0;
	__u64 mmap_offset;
	__u64 reserved[2];
};

/* snvme_queue_create.type */
#define SNVME_QUEUE_CQ		1
#define SNVME_QUEUE_SQ		2

/**
 * struct snvme_queue_create - SNVME_IOC_QUEUE_CREATE: one submission or completion queue
 * @size: sizeof(struct snvme_queue_create)
 * @type: SNVME_QUEUE_CQ or SNVME_QUEUE_SQ
 * @entries: 2 .. CAP.MQES + 1; need not be a power of two
 * @mem: handle of the memory the ring lies in
 * @mem_offset: of the ring's first byte in it; a multiple of the controller's page size. The ring
 *	must be contiguous in DMA addresses (SNVME_MEM_KERNEL always is)
 * @cq: SQ: handle of the completion queue it reports to, of this session; CQ: zero
 * @flags: zero
 * @handle: out: names the queue in the other calls; never zero
 * @qid: out: NVMe queue identifier
 * @state_offset: out: byte offset of the queue's state word in the state page
 * @db_mmap_offset: out: mmap(2) offset of the doorbell page of this queue
 * @db_offset: out: byte offset, in that page, of the queue's own doorbell (tail or head)
 * @shadow_mmap_offset: out: of the shadow doorbell page, or zero where the controller has none
 * @eventidx_mmap_offset: out: of the EventIdx page, or zero
 * @shadow_offset: out: byte offset in both of the queue's entry
 * @reserved0: zero
 * @epoch: out: the controller's epoch that the queue belongs to
 * @reserved: zero
 *
 * The kernel clears the ring before the controller learns of it, unless it lies in SNVME_MEM_DMABUF or SNVME_MEM_NVIDIA
 * memory: there the owner has cleared it. Errors: -EINVAL, -ENOENT (no such @mem or @cq), -ENOSPC (no spare queue
 * identifier), -EDQUOT (module parameters owner_queues, owner_commands), -ENOMEM, -EAGAIN (the controller is being
 * reset), -ESTALE (@cq died in a reset, or was revoked), -ECONNABORTED (memory of the session was taken away, and is
 * still registered), -EIO (the controller refused; the log has the status), -ENODEV.
 */
struct snvme_queue_create {
	__u32 size;
	__u32 type;
	__u32 entries;
	__u32 mem;
	__u64 mem_offset;
	__u32 cq;
	__u32 flags;
	__u32 handle;
	__u32 qid;
	__u32 state_offset;
	__u32 db_offset;
	__u64 db_mmap_offset;
	__u64 shadow_mmap_offset;
	__u64 eventidx_mmap_offset;
	__u32 shadow_offset;
	__u32 reserved0;
	__u64 epoch;
	__u64 reserved[2];
};

/**
 * struct snvme_handle - SNVME_IOC_MEM_UNREGISTER, SNVME_IOC_QUEUE_DESTROY
 * @size: sizeof(struct snvme_handle)
 * @handle: what to destroy
 * @reserved: zero
 *
 * Errors: -EINVAL, -ENOENT, -EBUSY (memory that holds a ring, a CQ that an SQ reports to), -EINTR (a fatal signal came
 * while the controller was being reset), -EIO (a live controller refuses to delete the queue).
 * Destroying a queue returns when the controller has forgotten it: no command of it is in
 * execution, and it will not be written to.
 */
struct snvme_handle {
	__u32 size;
	__u32 handle;
	__u64 reserved[2];
};

#define SNVME_IOC_MAGIC		0xb7
#define SNVME_IOC_INFO		_IOWR(SNVME_IOC_MAGIC, 0, struct snvme_info)
#define SNVME_IOC_ATTACH	_IOW(SNVME_IOC_MAGIC, 1, struct snvme_attach)
#define SNVME_IOC_MEM_REGISTER	_IOWR(SNVME_IOC_MAGIC, 2, struct snvme_mem_register)
#define SNVME_IOC_MEM_UNREGISTER _IOW(SNVME_IOC_MAGIC, 3, struct snvme_handle)
#define SNVME_IOC_QUEUE_CREATE	_IOWR(SNVME_IOC_MAGIC, 4, struct snvme_queue_create)
#define SNVME_IOC_QUEUE_DESTROY	_IOW(SNVME_IOC_MAGIC, 5, struct snvme_handle)
#define SNVME_IOC_IDENTIFY	_IOWR(SNVME_IOC_MAGIC, 6, struct snvme_identify)

/*
 * mmap(2) offsets, length one page except for SNVME_MEM_KERNEL memory. The state page is read-only;
 * all others come out of the calls above and are for a session's own queues and memory only.
 */
#define SNVME_MMAP_STATE	0

/**
 * struct snvme_state_page - the page at SNVME_MMAP_STATE, written by the kernel, read by anyone
 * @ctrl_state: SNVME_STATE_* of the controller
 * @reserved: zero
 * @epoch: see struct snvme_info
 * @queue: SNVME_STATE_* of each queue; snvme_queue_create.state_offset points into it
 */
struct snvme_state_page {
	__u32 ctrl_state;
	__u32 reserved;
	__u64 epoch;
	__u32 queue[1020];
};

#endif /* _UAPI_SNVME_IOCTL_H */
