/* SPDX-License-Identifier: MIT */
/*
 * libsnvme: NVMe queues of one's own on a controller that the kernel keeps driving, or on one that
 * the library runs itself.
 *
 * Every function returns 0 (or a count) on success, a negative errno, or, where a command went to
 * the controller, a positive NVMe status: SCT << 8 | SC (NVMe Base 2.0 section 4.2.3). Nothing here
 * prints, exits, or waits without a deadline, but for a reset by the kernel's driver. Objects
 * belong to the controller handle they were made from; snvme_close() destroys what is left.
 *
 * Threads: a queue, and all queues that share its completion queue, are used by one thread at a time, unless they are
 * made for several (SNVME_QUEUE_SHARED). Different queues are independent. The other functions may be called from any
 * thread.
 */
#ifndef SNVME_H
#define SNVME_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SNVME_VERSION "0.1.0"

struct snvme_ctrl;
struct snvme_mem;
struct snvme_queue;

/**
 * struct snvme_ctrl_info - what a controller is and has
 * @name: kernel name, "nvme0"; "vssd", "vfio-user", "vfio"
 * @pci: PCI address, "0000:01:00.0", or empty
 * @serial: serial number, NUL-terminated, without padding
 * @model: model number, likewise
 * @firmware: firmware revision, likewise
 * @nn: highest namespace identifier (Identify Controller NN)
 * @max_transfer: bytes in one command: MDTS, and what the library builds PRP lists for
 * @cmb_bytes: of its own memory for rings: SNVME_QUEUE_CMB
 * @max_entries: entries of the largest ring, CAP.MQES + 1
 * @timeout_ms: CAP.TO: the worst-case time of a controller reset
 * @page_size: memory page size in force (CC.MPS), bytes
 * @granted_sq: I/O submission queues the controller granted to the host
 * @granted_cq: I/O completion queues
 * @driver_queues: queue identifiers that the kernel driver has
 * @used_sq: in use through this interface, by all processes
 * @used_cq: likewise
 * @spare_sq: that can be created now
 * @spare_cq: likewise
 * @epoch: counts controller resets
 * @live: 1 unless the controller is being reset or is gone
 * @shadow_doorbells: 1 if the controller takes tails from memory (Doorbell Buffer Config)
 * @iommu: 1 if DMA is translated
 * @volatile_write_cache: 1 if data is durable only after snvme_flush()
 * @events: asynchronous events that the controller reported; 0 unless the library runs it
 * @last_event: dword 0 of the last one (NVMe Base 2.0 section 5.2): type, information, log page
 */
struct snvme_ctrl_info {
	char name[32];
	char pci[16];
	char serial[21];
	char model[41];
	char firmware[9];
	uint32_t nn;
	uint64_t max_transfer;
	uint64_t cmb_bytes;
	uint32_t max_entries;
	uint32_t timeout_ms;
	uint32_t page_size;
	uint32_t granted_sq;
	uint32_t granted_cq;
	uint32_t driver_queues;
	uint32_t used_sq;
	uint32_t used_cq;
	uint32_t spare_sq;
	uint32_t spare_cq;
	uint64_t epoch;
	int live;
	int shadow_doorbells;
	int iommu;
	int volatile_write_cache;
	uint32_t events;
	uint32_t last_event;
};

/**
 * struct snvme_ns_info - a namespace in its current format
 * @nsid: namespace identifier
 * @lba_size: bytes of data in a logical block
 * @metadata_size: bytes of metadata in a logical block
 * @protection: protection information type, 0 for none (Identify Namespace DPS bits 2:0)
 * @blocks: size in logical blocks (NSZE)
 */
struct snvme_ns_info {
	uint32_t nsid;
	uint32_t lba_size;
	uint32_t metadata_size;
	uint32_t protection;
	uint64_t blocks;
};

/**
 * snvme_open() - reach a controller
 * @name: "/dev/nvme0" or "nvme0", a namespace ("/dev/nvme0n1", "nvme0n1"), or a PCI address
 *	("0000:01:00.0"): the kernel driver keeps running the controller, mounted file systems
 *	included. Or "vssd:ram,size=1G", "vssd:file=/path", "vssd:config=/path.json": a virtual SSD in
 *	this process, that lives until snvme_close(); "vssdn2:...": its namespace 2. snvme(1) has the
 *	keys. Or "vfio-user:/dir", "vfio-usern2:/dir": a controller in another process, which speaks
 *	vfio-user at the socket /dir/cntrl; it reaches only memory of snvme_mem_alloc(), not what
 *	snvme_mem_register() names (-EOPNOTSUPP). Or "vfio:0000:01:00.0", "vfion2:0000:01:00.0": a
 *	controller that vfio-pci holds (snvme bind gives it to it), all of it, behind the IOMMU
 * @ctrl: out: the handle
 *
 * Return: 0; -ENOENT no such device; -ENXIO snvme.ko is not loaded; -EPERM or -EACCES no right to
 * it; -EOPNOTSUPP the driver beside is not one that can be shared (the kernel log says why), or a
 * kind of name this version does not know; -EINVAL a partition or a malformed name; -EAGAIN the
 * controller is being reset; -EPROTO the module speaks another ABI version. Of a controller that the
 * library runs also: -EBUSY somebody has it, or an errno of a file that @name names; -EXDEV other devices of
 * its IOMMU group have other drivers; -ETIMEDOUT it did not become ready within CAP.TO, or answer; -EIO it
 * failed (CSTS.CFS); -ENODEV it is gone; a status.
 */
int snvme_open(const char *name, struct snvme_ctrl **ctrl);

/**
 * snvme_vssd_check() - what is wrong with a name of a virtual SSD?
 * @name: "vssd:...", as for snvme_open()
 * @why: out: a sentence, unless 0 is returned
 * @size: of @why
 *
 * Nothing is made; files that are there are looked at.
 *
 * Return: 0; -EINVAL; an errno of a file that @name names.
 */
int snvme_vssd_check(const char *name, char *why, size_t size);

struct snvme_vssd_server;

/**
 * snvme_vssd_serve() - a virtual SSD for other processes, at a socket that speaks vfio-user
 * @name: "vssd:...", as for snvme_open(); with threads, and without a GPU
 * @dir: where the socket is to be, under the name "cntrl"; made if it is not there
 * @server: out
 * @why: out: a sentence, unless 0 is returned
 * @size: of @why
 *
 * Each client has a controller of its own, and all share the namespaces. What a client does harms no other
 * controller; its memory that turns out not to be there ends its connection, for which this process
 * gets a handler of SIGBUS.
 *
 * Return: 0; -EINVAL; -EADDRINUSE another serves there; an errno of what @name and @dir name.
 */
int snvme_vssd_serve(const char *name, const char *dir, struct snvme_vssd_server **server, char *why,
		     size_t size);

/**
 * snvme_vssd_serve_end() - end it, and what clients do
 * @server: of snvme_vssd_serve(), or NULL
 */
void snvme_vssd_serve_end(struct snvme_vssd_server *server);

/**
 * snvme_close() - destroy what was made from @ctrl, and @ctrl
 * @ctrl: the handle, or NULL
 *
 * Queues are deleted on the controller before their memory is released. A controller that the library
 * runs is shut down (CC.SHN), which makes all that was written durable.
 */
void snvme_close(struct snvme_ctrl *ctrl);

/**
 * snvme_get_info() - what a controller is and has, now
 * @ctrl: the controller
 * @info: out
 *
 * Return: 0; -ENODEV it is gone.
 */
int snvme_get_info(struct snvme_ctrl *ctrl, struct snvme_ctrl_info *info);

/**
 * snvme_event_fd() - a descriptor by which to hear of what ends queues
 * @ctrl: the controller; the descriptor is its, and nobody else closes it
 *
 * poll(2) finds it readable when the controller was reset, is live again, or is gone, or when memory was
 * taken away, since snvme_get_info() was last called; and hung up once the controller is gone. Queues
 * tell the same to who polls them.
 *
 * Return: the descriptor; -EOPNOTSUPP the module is older, or the library runs the controller: who finds a
 * queue dead is the first to know.
 */
int snvme_event_fd(const struct snvme_ctrl *ctrl);

/**
 * snvme_reset() - reset a controller that the library runs
 * @ctrl: the controller
 *
 * Its queues die (-ECONNRESET): nothing in flight reaches memory any more. It is up again, without
 * queues, when this returns. That also happens by itself: when an admin command is not answered and
 * cannot be aborted, when a synchronous call times out likewise, and when the controller reports
 * that it has failed (CSTS.CFS), which any of the calls here may find.
 *
 * Return: 0; -EOPNOTSUPP the kernel's driver runs it; -ENODEV it is gone, or does not come up.
 */
int snvme_reset(struct snvme_ctrl *ctrl);

/**
 * struct snvme_admin - an admin command
 * @opcode: of it
 * @reserved: zero
 * @nsid: namespace identifier
 * @cdw10: command dword 10
 * @cdw11: command dword 11
 * @cdw12: command dword 12
 * @cdw13: command dword 13
 * @cdw14: command dword 14
 * @cdw15: command dword 15
 * @data: any memory, or NULL; which way it goes is in the opcode (NVMe Base 2.0 section 5, bits 1:0)
 * @length: of @data, a multiple of 4, at most 4,096
 * @timeout_ms: 0 for 30 s; beside the kernel's driver, for what that has
 * @result: out: dword 0 of the completion
 */
struct snvme_admin {
	uint8_t opcode;
	uint8_t reserved[3];
	uint32_t nsid;
	uint32_t cdw10;
	uint32_t cdw11;
	uint32_t cdw12;
	uint32_t cdw13;
	uint32_t cdw14;
	uint32_t cdw15;
	void *data;
	uint32_t length;
	uint32_t timeout_ms;
	uint32_t result;
};

/**
 * snvme_admin() - carry out an admin command
 * @ctrl: the controller
 * @cmd: the command
 *
 * Not those that whoever runs the controller needs for himself: queues, their number, their doorbell
 * buffers, asynchronous events.
 *
 * Return: 0; a status; -EINVAL; -ETIMEDOUT it was aborted, or the controller reset; -ECONNRESET the
 * controller failed meanwhile and was reset; -ENODEV; beside the kernel's driver also what its ioctl says, -EACCES
 * without CAP_SYS_ADMIN.
 */
int snvme_admin(struct snvme_ctrl *ctrl, struct snvme_admin *cmd);

/**
 * snvme_get_ns() - look at a namespace
 * @ctrl: the controller
 * @nsid: its identifier; 0 for the one that the name given to snvme_open() meant: the namespace
 *	named, or a controller's only one
 * @info: out
 *
 * Return: 0; -ENOENT no such active namespace; -EINVAL @nsid is 0 and the controller has several;
 * a status of Identify.
 */
int snvme_get_ns(struct snvme_ctrl *ctrl, uint32_t nsid, struct snvme_ns_info *info);

/**
 * snvme_mem_register() - let the controller reach memory of this process
 * @ctrl: the controller
 * @addr: first byte; the pages it touches are pinned whole
 * @length: bytes
 * @mem: out
 *
 * Return: 0; -ENOMEM RLIMIT_MEMLOCK or memory; -EDQUOT the administrator's limit for each user; -EFAULT; -EINVAL;
 * -EOPNOTSUPP memory that the device could reach only through bounce buffers; -EEXIST it overlaps memory already
 * registered.
 */
int snvme_mem_register(struct snvme_ctrl *ctrl, void *addr, size_t length, struct snvme_mem **mem);

/**
 * snvme_mem_alloc() - allocate page-aligned memory, zeroed, and register it
 * @ctrl: the controller
 * @length: bytes
 * @mem: out; snvme_mem_addr() is the memory
 *
 * Return: as snvme_mem_register().
 */
int snvme_mem_alloc(struct snvme_ctrl *ctrl, size_t length, struct snvme_mem **mem);

/**
 * snvme_mem_addr() - where registered memory begins
 * @mem: the memory
 *
 * Return: the address that was registered or allocated.
 */
void *snvme_mem_addr(const struct snvme_mem *mem);

/**
 * snvme_mem_length() - how long registered memory is
 * @mem: the memory
 *
 * Return: bytes.
 */
size_t snvme_mem_length(const struct snvme_mem *mem);

/**
 * snvme_mem_release() - end a registration; allocated memory is freed
 * @mem: the memory, or NULL
 *
 * The caller sees to it that no command in flight uses it. Return: 0.
 */
int snvme_mem_release(struct snvme_mem *mem);

/*
 * struct snvme_queue_opts.flags: the class of the queue's commands, where the library runs the controller and that has
 * weighted round robin with urgent class (NVMe Base 2.0 section 3.4.4.2): all urgent ones are fetched first, the others
 * by the weights of feature 01h, Arbitration. It matters for what waits in queues, not for what the controller has
 * fetched.
 */
#define SNVME_QUEUE_MEDIUM	0
#define SNVME_QUEUE_URGENT	1
#define SNVME_QUEUE_HIGH	2
#define SNVME_QUEUE_LOW		3
#define SNVME_QUEUE_CLASS	3	/* the bits of these */

/*
 * Also in flags, on any controller: several threads use the queue at once, and those that report to its completion
 * queue, which all have the flag: snvme_submit(), snvme_poll(), snvme_wait(), snvme_wait_any(), snvme_abort(). A
 * completion goes to whoever reaps it; its @user says whose it is, and who looks while another thread is at the queue
 * may find nothing. All else is for one thread while no other uses the queue (others that report to the same
 * completion queue may be in use, but for snvme_queue_renew()), and snvme_read(), snvme_write() and snvme_flush() are
 * not for such a queue. Where there are queues enough, one for each thread needs no lock.
 */
#define SNVME_QUEUE_SHARED	(1U << 2)

/*
 * Also in flags: the ring of submission entries lies in the controller's own memory (Controller Memory Buffer, NVMe
 * Base 2.0 section 8.5), where the library runs the controller, not by vfio-user, and that has some: it need not
 * fetch them, but each store of ours crosses the bus. struct snvme_ctrl_info.cmb_bytes says how much there is.
 */
#define SNVME_QUEUE_CMB		(1U << 3)

/**
 * struct snvme_queue_opts - how a queue is made
 * @size: sizeof(struct snvme_queue_opts)
 * @depth: commands in flight at most, 1 .. max_entries - 1; 0 for 127
 * @cq_entries: entries of the completion ring; 0 for what @depth needs. Say more to let others in
 * @flags: a class, SNVME_QUEUE_SHARED, SNVME_QUEUE_CMB
 * @share_cq: report to this queue's completion queue, or NULL for one of its own. Its ring must have
 *	room for the depths of all its queues
 */
struct snvme_queue_opts {
	uint32_t size;
	uint32_t depth;
	uint32_t cq_entries;
	uint32_t flags;
	struct snvme_queue *share_cq;
};

/**
 * snvme_queue_create() - make a queue pair, or a submission queue on a shared completion queue
 * @ctrl: the controller
 * @opts: how, or NULL for a pair with the defaults
 * @queue: out
 *
 * Return: 0; -ENOSPC no spare queue, or no room in the controller's memory; -EDQUOT the administrator's limit for each
 * user; -EINVAL also a queue to share with that has no room, or not the same SNVME_QUEUE_SHARED; -EAGAIN the controller
 * is being reset; -ECONNRESET the completion queue to share died in a reset, or the controller failed and was reset;
 * -ENOMEM; -EOPNOTSUPP of a class or SNVME_QUEUE_CMB: the controller has none, or is not run by the library; -EIO the
 * controller refused; -ETIMEDOUT; -ENODEV.
 */
int snvme_queue_create(struct snvme_ctrl *ctrl, const struct snvme_queue_opts *opts,
		       struct snvme_queue **queue);

/**
 * snvme_queue_destroy() - delete a queue, dead or alive, commands in flight included
 * @queue: the queue, or NULL
 *
 * Return: 0; -EBUSY others still report to its completion queue; -EIO the controller refuses to let go:
 * the queue and its memory stay until snvme_close().
 */
int snvme_queue_destroy(struct snvme_queue *queue);

/**
 * snvme_queue_renew() - make a queue anew, dead or alive, with the same depth and the same memory
 * @queue: the queue; with it goes its completion queue, and every queue that reports to that
 *
 * After a reset (-ECONNRESET), or when its commands do not end. What was in flight is forgotten: no
 * completion of it is ever seen, and unless a status of it was, whether it was carried out is not
 * known. Nobody else uses these queues meanwhile.
 *
 * Return: 0: all are live, and empty; -EAGAIN the controller is not live yet: snvme_event_fd() tells when;
 * -ECONNABORTED memory that was taken away is still registered; -ENODEV the controller is gone; as
 * snvme_queue_create(), or -EIO as snvme_queue_destroy(). They are dead then, for the same reason if it is
 * one of those, and can be renewed later.
 */
int snvme_queue_renew(struct snvme_queue *queue);

/**
 * snvme_queue_id() - a queue's number on its controller
 * @queue: the queue
 *
 * Return: the identifier of the submission queue, which a renewal may change.
 */
uint32_t snvme_queue_id(const struct snvme_queue *queue);

/**
 * snvme_queue_depth() - how many commands a queue has in flight at most
 * @queue: the queue
 *
 * Return: the depth that it was made with.
 */
uint32_t snvme_queue_depth(const struct snvme_queue *queue);

/* NVM command set opcodes that snvme_submit() takes (NVMe NVM 1.0 section 3). */
#define SNVME_OP_FLUSH	0x00
#define SNVME_OP_WRITE	0x01
#define SNVME_OP_READ	0x02

#define SNVME_IO_FUA	(1U << 30)	/* Force Unit Access; where command dword 12 has it */

/**
 * struct snvme_io - a command to submit
 * @opcode: SNVME_OP_*
 * @reserved: zero
 * @flags: SNVME_IO_*
 * @nsid: namespace identifier
 * @slba: first logical block
 * @nlb: logical blocks, 1-based (the wire's zero-based count is the library's business)
 * @length: bytes of data: @nlb logical blocks; 0 for flush
 * @mem: registered memory of the data
 * @offset: of the data in @mem, from snvme_mem_addr(); a multiple of 4
 * @user: comes back in the completion
 */
struct snvme_io {
	uint8_t opcode;
	uint8_t reserved[3];
	uint32_t flags;
	uint32_t nsid;
	uint32_t nlb;
	uint64_t slba;
	uint64_t length;
	struct snvme_mem *mem;
	uint64_t offset;
	uint64_t user;
};

/**
 * struct snvme_completion - how a command ended
 * @user: from struct snvme_io
 * @queue: that the command was submitted to
 * @status: 0 or an NVMe status
 * @result: dword 0 of the completion
 */
struct snvme_completion {
	uint64_t user;
	struct snvme_queue *queue;
	int status;
	uint32_t result;
};

/**
 * snvme_submit() - submit commands, with one doorbell for all
 * @queue: to this queue
 * @io: the commands
 * @n: how many
 *
 * Nothing is allocated, and the kernel is not entered.
 *
 * Return: how many were submitted, fewer than @n when @queue is full or a later command is bad;
 * if none: -EAGAIN @queue is full; -EINVAL the first is malformed (range outside its memory,
 * unaligned, larger than max_transfer, unknown opcode or flag); -ECONNRESET the controller was
 * reset: snvme_queue_renew(); -ECONNABORTED memory was taken away; -ENODEV it is gone.
 */
int snvme_submit(struct snvme_queue *queue, const struct snvme_io *io, unsigned int n);

/**
 * snvme_poll() - reap what has completed, without waiting
 * @queue: of this queue and of those that share its completion queue
 * @out: completions
 * @max: capacity of @out
 *
 * Return: how many; if none and the queue is dead, -ECONNRESET, -ENODEV, or -ECONNABORTED (a device
 * took memory away that was registered beside it): what was in flight is lost, its data undefined.
 * -EPROTO the controller sent a completion that matches no command. Who
 * finds that a controller of the library's has failed resets it first, which may take CAP.TO.
 */
int snvme_poll(struct snvme_queue *queue, struct snvme_completion *out, unsigned int max);

/**
 * snvme_abort() - ask the controller to abort a command in flight
 * @queue: that it was submitted to; the caller is its thread, or one of them
 * @user: from its struct snvme_io
 *
 * Return: 0 it was aborted: its completion comes as usual, most likely with status 007h; -ENOENT no
 * such command is in flight, or it can be stopped no more: it ends by itself; -EOPNOTSUPP the kernel's
 * driver runs the controller; a status, or an errno as snvme_admin().
 */
int snvme_abort(struct snvme_queue *queue, uint64_t user);

/**
 * snvme_wait() - reap at least one completion
 * @queue: as for snvme_poll()
 * @out: completions
 * @max: capacity of @out, at least 1
 * @timeout_ns: nanoseconds from now, or negative for the default: 30 s
 *
 * Return: how many, or as snvme_poll(), or -ETIMEDOUT: the commands are still in flight.
 */
int snvme_wait(struct snvme_queue *queue, struct snvme_completion *out, unsigned int max,
	       int64_t timeout_ns);

/**
 * snvme_wait_any() - reap at least one completion of one of several queues: one thread, many queues
 * @queues: of any controllers, each as for snvme_poll()
 * @count: how many
 * @next: which to look at first, below @count; then the one after that which had something, so that all
 *	get their turn; after an error, the one that it is of
 * @out: completions
 * @max: capacity of @out, at least 1
 * @timeout_ns: nanoseconds from now, 0 to look once; or negative for the default: 30 s
 *
 * Return: as snvme_wait(). A dead queue is reported each time it is met: leave it out, or renew it.
 */
int snvme_wait_any(struct snvme_queue *const *queues, unsigned int count, unsigned int *next,
		   struct snvme_completion *out, unsigned int max, int64_t timeout_ns);

/**
 * snvme_read() - read, synchronously, any length
 * @queue: with nothing in flight, a completion queue of its own, and not SNVME_QUEUE_SHARED
 * @nsid: namespace, or 0 as for snvme_get_ns()
 * @buf: in registered memory, 4-byte aligned
 * @length: bytes, a multiple of the logical block size
 * @offset: bytes from the start of the namespace, likewise
 *
 * Split at max_transfer, with as many pieces in flight as @queue takes. The namespace's format is
 * asked for once for each queue: after a resize or a format, make a new one. A controller that the
 * library runs tells of such changes by itself.
 *
 * Return: 0; a status; -EFAULT @buf is not registered; -EINVAL; -ERANGE past the end of the
 * namespace; -EBUSY commands in flight; -EOPNOTSUPP a format with metadata; as snvme_wait(). After
 * -ETIMEDOUT the queue must be destroyed: the controller may still write to @buf. Not so where the
 * library runs the controller: it has aborted what was in flight or, where that was of no use within
 * a second, reset the controller, and @buf is the caller's again.
 */
int snvme_read(struct snvme_queue *queue, uint32_t nsid, void *buf, size_t length, uint64_t offset);

/**
 * snvme_write() - write, synchronously, any length
 * @queue: as for snvme_read()
 * @nsid: likewise
 * @buf: likewise
 * @length: likewise
 * @offset: likewise
 *
 * Durable after snvme_flush() if the controller has a volatile write cache.
 *
 * Return: as snvme_read().
 */
int snvme_write(struct snvme_queue *queue, uint32_t nsid, const void *buf, size_t length,
		uint64_t offset);

/**
 * snvme_flush() - make all writes completed so far durable
 * @queue: as for snvme_read()
 * @nsid: likewise
 *
 * Return: 0; a status; -EBUSY commands in flight; as snvme_wait().
 */
int snvme_flush(struct snvme_queue *queue, uint32_t nsid);

/* struct snvme_extent.flags */
#define SNVME_EXTENT_UNWRITTEN	(1U << 0)	/* allocated, reads as zeros through the file system */
#define SNVME_EXTENT_UNMAPPED	(1U << 1)	/* no fixed place: delayed, inline, encoded, encrypted */
#define SNVME_EXTENT_SHARED	(1U << 2)	/* with another file: read only */

/**
 * struct snvme_extent - a run of a file on the disk
 * @logical: byte offset in the file
 * @physical: byte offset in the namespace (partition start included); undefined with _UNMAPPED
 * @length: bytes
 * @flags: SNVME_EXTENT_*
 * @reserved: zero
 */
struct snvme_extent {
	uint64_t logical;
	uint64_t physical;
	uint64_t length;
	uint32_t flags;
	uint32_t reserved;
};

/**
 * struct snvme_file_map - where a file lies
 * @device: kernel name of the namespace, "nvme0n1"
 * @size: of the file, bytes
 * @count: of @extents
 * @extents: in file order; holes are what they leave out
 */
struct snvme_file_map {
	char device[32];
	uint64_t size;
	size_t count;
	struct snvme_extent *extents;
};

/**
 * snvme_file_map_get() - a file's extents on its NVMe namespace
 * @fd: the file, open for reading; its dirty pages are written back first
 * @map: out; free with snvme_file_map_free()
 *
 * A snapshot: it holds while nobody truncates, punches, moves or overwrites copy-on-write.
 *
 * Return: 0; -EOPNOTSUPP the file system has no extents to show, or is not directly on an NVMe
 * namespace or a partition of one; -EINVAL not a regular file; an errno of the kernel.
 */
int snvme_file_map_get(int fd, struct snvme_file_map *map);

/**
 * snvme_file_map_free() - free what snvme_file_map_get() found
 * @map: its extents are none afterwards
 */
void snvme_file_map_free(struct snvme_file_map *map);

/**
 * snvme_strerror() - what a return value means
 * @ret: of any function here: 0, a negative errno, an NVMe status
 *
 * Return: a static sentence, never NULL.
 */
const char *snvme_strerror(int ret);

#ifdef __cplusplus
}
#endif

#endif /* SNVME_H */
