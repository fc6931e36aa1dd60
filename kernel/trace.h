/* SPDX-License-Identifier: GPL-2.0-only */
/* What perf(1) and trace-cmd(1) can record: Documentation/trace/events.rst. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM snvme

#if !defined(SNVME_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define SNVME_TRACE_H

#include <linux/tracepoint.h>

#include "snvme.h"

#define snvme_trace_state(state)						\
	__print_symbolic(state, { SNVME_STATE_LIVE, "live" }, { SNVME_STATE_RESET, "reset" },	\
			 { SNVME_STATE_GONE, "gone" }, { SNVME_STATE_REVOKED, "revoked" })

/* A session and its controller; @pid is of who opened it. */
DECLARE_EVENT_CLASS(snvme_session,
	TP_PROTO(const struct snvme_session *s, const struct snvme_ctrl *ctrl),
	TP_ARGS(s, ctrl),
	TP_STRUCT__entry(
		__field(int, ctrl)
		__field(pid_t, pid)
	),
	TP_fast_assign(
		__entry->ctrl = ctrl->instance;
		__entry->pid = s->pid;
	),
	TP_printk("nvme%d owner=%d", __entry->ctrl, __entry->pid)
);

DEFINE_EVENT(snvme_session, snvme_attach,
	TP_PROTO(const struct snvme_session *s, const struct snvme_ctrl *ctrl), TP_ARGS(s, ctrl));
DEFINE_EVENT(snvme_session, snvme_detach,
	TP_PROTO(const struct snvme_session *s, const struct snvme_ctrl *ctrl), TP_ARGS(s, ctrl));

/* A queue that the controller now knows, or knows no more. */
DECLARE_EVENT_CLASS(snvme_queue,
	TP_PROTO(const struct snvme_session *s, const struct snvme_queue *q),
	TP_ARGS(s, q),
	TP_STRUCT__entry(
		__field(int, ctrl)
		__field(pid_t, pid)
		__field(u32, type)
		__field(u16, qid)
		__field(u16, cqid)
		__field(u32, entries)
		__field(u64, epoch)
	),
	TP_fast_assign(
		__entry->ctrl = s->ctrl->instance;
		__entry->pid = s->pid;
		__entry->type = q->type;
		__entry->qid = q->qid;
		__entry->cqid = q->cq ? q->cq->qid : q->qid;
		__entry->entries = q->entries;
		__entry->epoch = q->epoch;
	),
	TP_printk("nvme%d owner=%d %s qid=%u cqid=%u entries=%u epoch=%llu", __entry->ctrl, __entry->pid,
		  __entry->type == SNVME_QUEUE_CQ ? "CQ" : "SQ", __entry->qid, __entry->cqid, __entry->entries,
		  __entry->epoch)
);

DEFINE_EVENT(snvme_queue, snvme_queue_create,
	TP_PROTO(const struct snvme_session *s, const struct snvme_queue *q), TP_ARGS(s, q));
DEFINE_EVENT(snvme_queue, snvme_queue_delete,
	TP_PROTO(const struct snvme_session *s, const struct snvme_queue *q), TP_ARGS(s, q));

/* Memory of a session: the controller reaches it from now on, or not any more. */
DECLARE_EVENT_CLASS(snvme_memory,
	TP_PROTO(const struct snvme_session *s, const struct snvme_memory *mem),
	TP_ARGS(s, mem),
	TP_STRUCT__entry(
		__field(int, ctrl)
		__field(pid_t, pid)
		__field(u32, type)
		__field(u64, bytes)
	),
	TP_fast_assign(
		__entry->ctrl = s->ctrl->instance;
		__entry->pid = s->pid;
		__entry->type = mem->type;
		__entry->bytes = (u64)mem->npages << PAGE_SHIFT;
	),
	TP_printk("nvme%d owner=%d %s bytes=%llu", __entry->ctrl, __entry->pid,
		  __print_symbolic(__entry->type, { SNVME_MEM_USER, "user" }, { SNVME_MEM_KERNEL, "kernel" },
				   { SNVME_MEM_DMABUF, "dma-buf" }, { SNVME_MEM_NVIDIA, "nvidia" }),
		  __entry->bytes)
);

DEFINE_EVENT(snvme_memory, snvme_mem_register,
	TP_PROTO(const struct snvme_session *s, const struct snvme_memory *mem), TP_ARGS(s, mem));
DEFINE_EVENT(snvme_memory, snvme_mem_unregister,
	TP_PROTO(const struct snvme_session *s, const struct snvme_memory *mem), TP_ARGS(s, mem));
DEFINE_EVENT(snvme_memory, snvme_mem_revoke,
	TP_PROTO(const struct snvme_session *s, const struct snvme_memory *mem), TP_ARGS(s, mem));

/* The controller's state as its owners see it. */
TRACE_EVENT(snvme_state,
	TP_PROTO(const struct snvme_ctrl *ctrl),
	TP_ARGS(ctrl),
	TP_STRUCT__entry(
		__field(int, ctrl)
		__field(u32, state)
		__field(u64, epoch)
	),
	TP_fast_assign(
		__entry->ctrl = ctrl->instance;
		__entry->state = ctrl->state;
		__entry->epoch = ctrl->epoch;
	),
	TP_printk("nvme%d %s epoch=%llu", __entry->ctrl, snvme_trace_state(__entry->state), __entry->epoch)
);

#endif /* SNVME_TRACE_H */

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
