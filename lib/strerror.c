// SPDX-License-Identifier: MIT
/* Sentences for what the functions of the library return. */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "lib.h"

static const struct {
	int ret;
	const char *text;
} sentences[] = {
	{ -ENXIO, "snvme.ko is not loaded" },
	{ -ENOENT, "no such device, namespace or handle" },
	{ -ENODEV, "the controller is gone" },
	{ -EPERM, "not permitted: CAP_SYS_RAWIO, or the group of /dev/snvme, is needed" },
	{ -EACCES, "no read and write access to the device" },
	{ -EDQUOT, "more than the administrator's limit for each user allows" },
	{ -ENOSPC, "the controller granted no spare queue" },
	{ -EAGAIN, "the queue is full, or the controller is being reset" },
	{ -EBUSY, "in use" },
	{ -EINVAL, "invalid argument" },
	{ -ERANGE, "past the end of the namespace" },
	{ -EFAULT, "the memory is not registered" },
	{ -EEXIST, "the memory is registered already" },
	{ -ENOMEM, "out of memory, or more than RLIMIT_MEMLOCK allows" },
	{ -EOPNOTSUPP, "not supported here; the kernel's log may say why" },
	{ -EREMOTEIO, "no path leads from the controller to that memory; the kernel's log says why" },
	{ -ECONNABORTED, "a device took its memory away: the queue has to be made again" },
	{ -ECONNRESET, "the controller was reset: the queue has to be made again" },
	{ -ETIMEDOUT, "the command did not complete in time" },
	{ -EPROTO, "an answer that cannot be right, or a module of another version" },
	{ -EIO, "the controller refused, or failed; the kernel's log may have its status" },
	/* NVMe Base 2.0 section 4.2.3, NVM Command Set 1.0 section 4. */
	{ 0x001, "Invalid Command Opcode" },
	{ 0x002, "Invalid Field in Command" },
	{ 0x003, "Command ID Conflict" },
	{ 0x004, "Data Transfer Error" },
	{ 0x005, "Commands Aborted due to Power Loss Notification" },
	{ 0x006, "Internal Error" },
	{ 0x007, "Command Abort Requested" },
	{ 0x008, "Command Aborted due to SQ Deletion" },
	{ 0x00b, "Invalid Namespace or Format" },
	{ 0x00c, "Command Sequence Error" },
	{ 0x013, "PRP Offset Invalid" },
	{ 0x01c, "Sanitize Failed" },
	{ 0x01d, "Sanitize In Progress" },
	{ 0x020, "Namespace is Write Protected" },
	{ 0x080, "LBA Out of Range" },
	{ 0x081, "Capacity Exceeded" },
	{ 0x082, "Namespace Not Ready" },
	{ 0x083, "Reservation Conflict" },
	{ 0x084, "Format In Progress" },
	{ 0x100, "Completion Queue Invalid" },
	{ 0x101, "Invalid Queue Identifier" },
	{ 0x102, "Invalid Queue Size" },
	{ 0x180, "Conflicting Attributes" },
	{ 0x181, "Invalid Protection Information" },
	{ 0x182, "Attempted Write to Read Only Range" },
	{ 0x280, "Write Fault" },
	{ 0x281, "Unrecovered Read Error" },
	{ 0x282, "End-to-end Guard Check Error" },
	{ 0x283, "End-to-end Application Tag Check Error" },
	{ 0x284, "End-to-end Reference Tag Check Error" },
	{ 0x285, "Compare Failure" },
	{ 0x286, "Access Denied" },
	{ 0x287, "Deallocated or Unwritten Logical Block" },
};

SNVME_API const char *snvme_strerror(int ret)
{
	const char *name;

	if (ret == 0)
		return "success";
	for (size_t i = 0; i < sizeof(sentences) / sizeof(sentences[0]); i++)
		if (sentences[i].ret == ret)
			return sentences[i].text;
	if (ret > 0)
		return "an NVMe error status";
	name = strerrordesc_np(-ret);
	return name ? name : "an unknown error";
}
