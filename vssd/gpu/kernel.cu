// SPDX-License-Identifier: MIT
/*
 * The data path of a virtual SSD as a persistent CUDA kernel: NVMe Base 2.0 sections 3.3, 4.1-4.2,
 * NVM Command Set 3.2. One CTA serves one queue pair, in rounds:
 *
 *	look	warp 0 reads the tail doorbell and the CTA's mailbox; the others wait at a barrier
 *	fetch	each warp copies its 32 entries, once, and each thread checks its own command
 *	walk	a warp reads the PRP list of a command that has one
 *	move	what the commands of the round move is cut into units of 512 bytes, and each warp
 *		takes an equal run of them: one long command keeps all warps busy, as many short
 *		ones do
 *	post	one fence, then each thread stores its completion, 16 bytes at once
 *
 * Without storage a round is look, fetch and post, with one barrier. Commands of one round run
 * side by side, as do those of several queues: two of them that overlap, one a write, mix in pieces
 * of 16 bytes.
 *
 * The host end is somebody else's code and may be hostile: entries and lists are read once, and
 * checked after they were read; nothing is touched that no range vouches for.
 */
#include "kernel.h"

#define PAGE_BYTES	4096U
#define BATCH		4	/* loads of a lane before its first store */
#define ALL_LANES	0xffffffffU

/**
 * struct rings - where a CTA is in the rings it serves; the same in all of its threads
 * @head: next submission entry to fetch
 * @tail: next completion slot to write
 * @phase: of that slot
 * @cq_head: the host's head as we know it; kept by warp 0 alone
 */
struct rings {
	uint32_t head;
	uint32_t tail;
	uint32_t phase;
	uint32_t cq_head;
};

/* What a look tells: an order not seen before, or commands to carry out. */
struct news {
	uint32_t order;
	uint32_t n;
};

/**
 * struct job - what a command moves
 * @medium: address of its first byte in the storage
 * @length: bytes; 0: moves nothing
 * @status: 0, or with what it ended already
 */
struct job {
	uint64_t prp1;
	uint64_t prp2;
	uint64_t medium;
	uint32_t length;
	uint16_t status;
	uint8_t write;
	uint8_t list;		/* prp2 is the address of a list, to be walked */
};

/**
 * struct round - the jobs of a round in shared memory; command i is thread i's
 * @start: first unit of each command; start[n] is how many there are
 * @page: what the PRPs after the first one say; command i's begin at first_page(i)
 */
struct round {
	struct job *job;
	uint32_t *start;
	uint64_t *page;
};

/* ---- memory --------------------------------------------------------------------------------- */

/* What the host end may be writing: past L1, each word once. */
static __device__ __forceinline__ uint4 load_quad(uint64_t addr)
{
	uint4 v;

	asm volatile("ld.relaxed.sys.global.v4.u32 {%0, %1, %2, %3}, [%4];"
		     : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(addr) : "memory");
	return v;
}

static __device__ __forceinline__ uint64_t load_u64(uint64_t addr)
{
	uint64_t v;

	asm volatile("ld.relaxed.sys.global.u64 %0, [%1];" : "=l"(v) : "l"(addr) : "memory");
	return v;
}

/*
 * Data: plain accesses, which the acquire of the doorbell precedes and the fence before the
 * completions follows. They are seen once, so they do not go into L1.
 */
static __device__ __forceinline__ uint4 load_data(uint64_t addr)
{
	uint4 v;

	asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
		     : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(addr) : "memory");
	return v;
}

static __device__ __forceinline__ void store_data(uint64_t addr, uint4 v)
{
	asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};"
		     : : "l"(addr), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}

static __device__ __forceinline__ uint32_t load_dword(uint64_t addr)
{
	uint32_t v;

	asm volatile("ld.global.L1::no_allocate.u32 %0, [%1];" : "=r"(v) : "l"(addr) : "memory");
	return v;
}

static __device__ __forceinline__ void store_dword(uint64_t addr, uint32_t v)
{
	asm volatile("st.global.u32 [%0], %1;" : : "l"(addr), "r"(v) : "memory");
}

static __device__ __forceinline__ bool inside(const struct range *range, uint64_t addr,
					      uint32_t length)
{
	return addr >= range->begin && addr < range->end && length <= range->end - addr;
}

/* Does one range vouch for @length bytes at @addr? *@hit: the range that did so last. */
static __device__ bool in_range(const struct range *range, uint64_t addr, uint32_t length,
				uint32_t *hit)
{
	if (inside(&range[*hit], addr, length))
		return true;
#pragma unroll 1
	for (uint32_t i = 0; i < MAX_RANGES; i++) {
		if (inside(&range[i], addr, length)) {
			*hit = i;
			return true;
		}
	}
	return false;
}

/* ---- look ----------------------------------------------------------------------------------- */

static __device__ __forceinline__ uint32_t distance(uint32_t from, uint32_t to, uint32_t entries)
{
	return to >= from ? to - from : to + entries - from;
}

/*
 * Wait for an order or for commands; by warp 0. Doorbells and mailbox come with one load, a lane
 * for each, so that none of them adds its latency. The head doorbell matters only when less than
 * half of the completion queue is known to be free. Values that no host may write are as if they
 * had not been written.
 *
 * Acquires. Partners: the host's doorbell write, released after the entries it stored, or after the
 * loads of the completions that it gives back; the copy that wrote the order after the rest.
 */
static __device__ struct news look(const struct vssd_gpu_queue *queue, bool serving,
				   const struct box *box, struct rings *at, uint32_t seen)
{
	enum { TAIL, HEAD, ORDER };
	const uint32_t *order = &box->order;
	const uint32_t *sq_db = serving ? queue->sq_db : order;
	const uint32_t *cq_db = serving ? queue->cq_db : order;
	uint32_t sq_entries = serving ? queue->sq_entries : 0;
	uint32_t cq_entries = serving ? queue->cq_entries : 0;
	uint32_t lane = threadIdx.x % WARP;
	struct news news = { seen, 0 };

	for (;;) {
		uint32_t used = distance(at->cq_head, at->tail, cq_entries);
		bool look_at_head = 2 * used + 1 >= cq_entries;
		const uint32_t *p = lane == TAIL ? sq_db : order;
		uint32_t v, tail, head;

		if (lane == HEAD && look_at_head)
			p = cq_db;
		v = SNV_LOAD_ACQUIRE(p);
		news.order = __shfl_sync(ALL_LANES, v, ORDER);
		tail = __shfl_sync(ALL_LANES, v, TAIL);
		head = __shfl_sync(ALL_LANES, v, HEAD);
		if (news.order != seen)
			return news;
		if (!serving) {
			__nanosleep(500);
			continue;
		}
		if (look_at_head && head < cq_entries &&
		    distance(at->cq_head, head, cq_entries) <= used) {
			at->cq_head = head;
			used = distance(head, at->tail, cq_entries);
		}
		if (tail >= sq_entries)
			continue;
		news.n = distance(at->head, tail, sq_entries);
		news.n = min(news.n, cq_entries - 1 - used);
		news.n = min(news.n, blockDim.x);
		if (news.n)
			return news;
	}
}

/* ---- fetch ---------------------------------------------------------------------------------- */

/* Chunks of 16 bytes lie so that neither the copy nor a lane's look at its own meets conflicts. */
static __device__ __forceinline__ uint32_t chunk_at(uint32_t row, uint32_t chunk)
{
	return row * 4 + (chunk ^ (row >> 1 & 3));
}

/*
 * A warp copies the entries of its threads, up to command @n of the round, into @copy, its own
 * part of shared memory; then each thread takes its own. Neighbouring lanes load neighbouring
 * chunks: a ring in host memory is read with few, long requests.
 */
static __device__ __forceinline__ struct snv_sqe fetch(const struct vssd_gpu_queue *queue,
						       const struct rings *at, uint32_t n,
						       uint4 *copy)
{
	uint32_t lane = threadIdx.x % WARP;
	uint32_t first = threadIdx.x - lane;
	union {
		uint4 chunk[4];
		struct snv_sqe sqe;
	} own;
	uint64_t from[4];
	uint4 v[4];

	/* Addresses first: the loads go out together. Those past the end are of the last one. */
#pragma unroll
	for (uint32_t k = 0; k < 4; k++) {
		uint32_t slot = at->head + min(first + (k * WARP + lane) / 4, n - 1);

		if (slot >= queue->sq_entries)
			slot -= queue->sq_entries;
		from[k] = (uint64_t)queue->sq + slot * sizeof(struct snv_sqe) +
			  lane % 4 * sizeof(uint4);
	}
#pragma unroll
	for (uint32_t k = 0; k < 4; k++)
		v[k] = load_quad(from[k]);
#pragma unroll
	for (uint32_t k = 0; k < 4; k++)
		copy[chunk_at((k * WARP + lane) / 4, lane % 4)] = v[k];
	__syncwarp();	/* partner: itself in the other lanes; the copy before the looks at it */
#pragma unroll
	for (uint32_t k = 0; k < 4; k++)
		own.chunk[k] = copy[chunk_at(lane, k)];
	return own.sqe;
}

/* PRP1, and PRP2 unless it leads to a list (Base 4.1.1): 0 or a status. */
static __device__ __forceinline__ uint32_t check_prps(struct job *job, const struct range *range,
						      uint32_t *hit)
{
	uint32_t first = PAGE_BYTES - (uint32_t)(job->prp1 % PAGE_BYTES);
	uint32_t rest;

	if (job->prp1 % 4)
		return SNV_SC_PRP_INVALID_OFFSET;
	if (!in_range(range, job->prp1, min(first, job->length), hit))
		return SNV_SC_DATA_XFER_ERROR;
	if (job->length <= first)
		return 0;
	rest = job->length - first;
	if (rest > PAGE_BYTES) {
		job->list = job->prp2 % 8 == 0;
		return job->list ? 0 : SNV_SC_PRP_INVALID_OFFSET;
	}
	if (job->prp2 % PAGE_BYTES)
		return SNV_SC_PRP_INVALID_OFFSET;
	return in_range(range, job->prp2, rest, hit) ? 0 : SNV_SC_DATA_XFER_ERROR;
}

/* A command, as far as it can be judged without its list. */
static __device__ __forceinline__ uint32_t check(const struct params *params,
						 const struct snv_sqe *sqe, struct job *job,
						 const struct range *range, uint32_t *hit)
{
	uint32_t nsid = snv_le32_get(sqe->nsid);
	uint64_t slba = (uint64_t)snv_le32_get(sqe->cdw11) << 32 | snv_le32_get(sqe->cdw10);
	uint32_t nlb = (snv_le32_get(sqe->cdw12) & SNV_RW_CDW12_NLB) + 1;
	uint64_t length = (uint64_t)nlb << params->lba_shift;

	/* Neither fused commands nor SGLs; the other bits are reserved. */
	if (sqe->flags)
		return SNV_SC_INVALID_FIELD;
	/* Storage has no cache: what is completed is where it belongs. */
	if (sqe->opcode == SNV_OP_FLUSH)
		return nsid == 1 || nsid == SNV_NSID_ALL ? 0 : SNV_SC_INVALID_NS;
	if (nsid != 1)
		return SNV_SC_INVALID_NS;
	if (sqe->opcode != SNV_OP_READ && sqe->opcode != SNV_OP_WRITE)
		return SNV_SC_INVALID_OPCODE;
	if (length > params->mdts_bytes)
		return SNV_SC_INVALID_FIELD;
	if (slba >= params->blocks || nlb > params->blocks - slba)
		return SNV_SC_LBA_RANGE;
	job->prp1 = snv_le64_get(sqe->prp1);
	job->prp2 = snv_le64_get(sqe->prp2);
	job->medium = params->storage + (slba << params->lba_shift);
	job->length = (uint32_t)length;
	job->write = sqe->opcode == SNV_OP_WRITE;
	return check_prps(job, range, hit);
}

/* ---- walk ----------------------------------------------------------------------------------- */

/*
 * Read the PRP list at @addr for @length bytes, by a warp; @page, if not NULL, takes what its
 * entries say. The last entry of a list page leads to the next one if more than it can say is left;
 * only the first list may begin inside a page, so that each of them makes progress. All that
 * decides about the way is the same in all lanes, as one lane read it. 0 or a status.
 */
static __device__ uint32_t walk(uint64_t addr, uint32_t length, uint64_t *page,
				const struct range *range, uint32_t *hit)
{
	uint32_t lane = threadIdx.x % WARP;

	for (;;) {
		uint32_t room = (PAGE_BYTES - (uint32_t)(addr % PAGE_BYTES)) / 8;
		uint32_t need = (length + PAGE_BYTES - 1) / PAGE_BYTES;
		bool chained = need > room;
		uint32_t count = chained ? room - 1 : need;

		if (!in_range(range, addr, (count + chained) * 8, hit))
			return SNV_SC_DATA_XFER_ERROR;
		for (uint32_t k = lane; k - lane < count; k += WARP) {
			uint32_t status = 0, bad;

			if (k < count) {
				uint64_t entry = load_u64(addr + k * 8);
				uint32_t part = min(length - k * PAGE_BYTES, PAGE_BYTES);

				if (entry % PAGE_BYTES)
					status = SNV_SC_PRP_INVALID_OFFSET;
				else if (!in_range(range, entry, part, hit))
					status = SNV_SC_DATA_XFER_ERROR;
				if (page)
					page[k] = entry;
			}
			bad = __ballot_sync(ALL_LANES, status != 0);
			if (bad)
				return __shfl_sync(ALL_LANES, status, __ffs(bad) - 1);
		}
		if (!chained)
			return 0;
		length -= count * PAGE_BYTES;
		if (page)
			page += count;
		addr += count * 8;
		if (lane == 0)
			addr = load_u64(addr);
		addr = __shfl_sync(ALL_LANES, addr, 0);
		if (addr % PAGE_BYTES)
			return SNV_SC_PRP_INVALID_OFFSET;
	}
}

/* Bytes that the list of @job describes. */
static __device__ __forceinline__ uint32_t list_bytes(const struct job *job)
{
	return job->length - (PAGE_BYTES - (uint32_t)(job->prp1 % PAGE_BYTES));
}

/* Without storage: each warp walks the lists of its own commands. @job: this thread's. */
static __device__ void walk_own(struct job *job, const struct range *range, uint32_t *hit)
{
	uint32_t lane = threadIdx.x % WARP;
	uint32_t left = __ballot_sync(ALL_LANES, job->list);

	for (; left; left &= left - 1) {
		uint32_t from = __ffs(left) - 1;
		uint64_t addr = __shfl_sync(ALL_LANES, job->prp2, from);
		uint32_t length = __shfl_sync(ALL_LANES, list_bytes(job), from);
		uint32_t status = walk(addr, length, NULL, range, hit);

		if (lane == from)
			job->status = status;
	}
}

/*
 * Where the pages of command @i begin in round->page: a command of u units has u / 8 of them after
 * its first, rounded up.
 */
static __device__ __forceinline__ uint32_t first_page(const struct round *round, uint32_t i)
{
	return round->start[i] / (PAGE_BYTES / UNIT_BYTES) + i;
}

/* With storage: all warps walk the lists of all commands. */
static __device__ void walk_all(const struct round *round, uint32_t n, const struct range *range,
				uint32_t *hit)
{
	for (uint32_t i = threadIdx.x / WARP; i < n; i += blockDim.x / WARP) {
		struct job *job = &round->job[i];
		uint32_t status;

		if (!job->list)
			continue;
		status = walk(job->prp2, list_bytes(job), &round->page[first_page(round, i)], range,
			      hit);
		if (threadIdx.x % WARP == 0)
			job->status = status;
	}
}

/* ---- move ----------------------------------------------------------------------------------- */

static __device__ __forceinline__ uint32_t warp_sum(uint32_t v)
{
	for (uint32_t d = 1; d < WARP; d *= 2) {
		uint32_t below = __shfl_up_sync(ALL_LANES, v, d);

		if (threadIdx.x % WARP >= d)
			v += below;
	}
	return v;
}

/*
 * Lay out the round: the units of its commands, in their order, and what is known of their pages.
 * *@lists: is any list to be walked? Returns how many of the @n commands the round has room for;
 * the others stay in the queue.
 */
static __device__ uint32_t lay_out(const struct round *round, const struct job *job, uint32_t n,
				   bool *lists)
{
	__shared__ uint32_t sums[WARP];
	uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
	uint32_t own = job->status ? 0 : job->length / UNIT_BYTES;
	uint32_t end = warp_sum(own), before;
	bool fits;

	if (lane == WARP - 1)
		sums[warp] = end;
	/* Partner: itself in the other warps; their sums before the look at them. */
	*lists = __syncthreads_or(job->list);
	before = warp_sum(lane < warp ? sums[lane] : 0);
	end += __shfl_sync(ALL_LANES, before, WARP - 1);
	fits = threadIdx.x < n && end <= ROUND_UNITS;
	round->start[threadIdx.x + 1] = end;
	if (threadIdx.x == 0)
		round->start[0] = 0;
	round->job[threadIdx.x] = *job;
	if (fits && own && !job->list)
		round->page[(end - own) / (PAGE_BYTES / UNIT_BYTES) + threadIdx.x] = job->prp2;
	/* Partner: itself in the other warps; jobs, starts and pages before walk and move. */
	return __syncthreads_count(fits);
}

/* Address in the host end's memory of byte @at of command @i. */
static __device__ __forceinline__ uint64_t host_at(const struct round *round, uint32_t i,
						   uint32_t at)
{
	uint64_t prp1 = round->job[i].prp1;
	uint32_t pos = (uint32_t)(prp1 % PAGE_BYTES) + at;

	if (pos < PAGE_BYTES)
		return prp1 + at;
	return round->page[first_page(round, i) + pos / PAGE_BYTES - 1] + pos % PAGE_BYTES;
}

/* The command that @unit is of. */
static __device__ uint32_t find(const uint32_t *start, uint32_t n, uint32_t unit)
{
	uint32_t low = 0;

	while (n - low > 1) {
		uint32_t middle = (low + n) / 2;

		if (start[middle] <= unit)
			low = middle;
		else
			n = middle;
	}
	return low;
}

/* @unit of a command whose memory is aligned to dwords only. */
static __device__ void move_dwords(const struct round *round, uint32_t n, uint32_t unit)
{
	uint32_t i = find(round->start, n, unit);
	uint32_t at = (unit - round->start[i]) * UNIT_BYTES + threadIdx.x % WARP * 4;
	const struct job *job = &round->job[i];
	uint32_t data[4];

#pragma unroll
	for (uint32_t k = 0; k < 4; k++) {
		uint32_t pos = at + k * WARP * 4;

		data[k] = load_dword(job->write ? host_at(round, i, pos) : job->medium + pos);
	}
#pragma unroll
	for (uint32_t k = 0; k < 4; k++) {
		uint32_t pos = at + k * WARP * 4;

		store_dword(job->write ? job->medium + pos : host_at(round, i, pos), data[k]);
	}
}

/* This warp's share of what the @n commands of the round move. */
static __device__ __forceinline__ void move(const struct round *round, uint32_t n)
{
	uint32_t warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
	uint32_t unit = round->start[n] * warp / warps;
	uint32_t last = round->start[n] * (warp + 1) / warps;
	uint32_t i = find(round->start, n, unit);

	for (; unit < last; unit += BATCH) {
		uint64_t from[BATCH], to[BATCH];
		uint32_t odd = 0;
		uint4 data[BATCH];

#pragma unroll
		for (uint32_t k = 0; k < BATCH; k++) {
			const struct job *job;
			uint64_t medium, host;
			uint32_t at;

			from[k] = 0;
			to[k] = 0;
			if (unit + k >= last)
				continue;
			while (unit + k >= round->start[i + 1])
				i++;
			job = &round->job[i];
			if (job->status)
				continue;
			at = (unit + k - round->start[i]) * UNIT_BYTES;
			if (job->prp1 % sizeof(uint4)) {
				odd |= 1U << k;
				continue;
			}
			at += threadIdx.x % WARP * sizeof(uint4);
			medium = job->medium + at;
			host = host_at(round, i, at);
			from[k] = job->write ? host : medium;
			to[k] = job->write ? medium : host;
		}
#pragma unroll
		for (uint32_t k = 0; k < BATCH; k++)
			if (from[k])
				data[k] = load_data(from[k]);
#pragma unroll
		for (uint32_t k = 0; k < BATCH; k++)
			if (from[k])
				store_data(to[k], data[k]);
#pragma unroll 1
		for (; odd; odd &= odd - 1)
			move_dwords(round, n, unit + __ffs(odd) - 1);
	}
}

/* ---- post ----------------------------------------------------------------------------------- */

/*
 * The completion of command @i of the round. The fence orders before it: the data that any thread
 * of the CTA stored (before the barrier that came last), the loads of the warp's own entries, and
 * the completions of the round before. Partner: the host's acquire of the phase. Warps do not wait
 * for each other: SQHD may give back entries that another warp is at, but the host, which takes
 * completions in their order, gets to it only after the completions of those. The entry is one
 * store of 16 bytes: no part of it is seen without the others.
 */
static __device__ __forceinline__ void post(const struct vssd_gpu_queue *queue,
					    const struct rings *at, uint32_t i, uint32_t cid,
					    uint32_t status)
{
	uint32_t head = at->head + i + 1, slot = at->tail + i, phase = at->phase;
	uint64_t high;

	if (head >= queue->sq_entries)
		head -= queue->sq_entries;
	if (slot >= queue->cq_entries) {
		slot -= queue->cq_entries;
		phase ^= 1;
	}
	high = (uint64_t)(cid | phase << 16 | status << SNV_CQE_DW3_STATUS_SHIFT) << 32 |
	       (head | queue->sqid << SNV_CQE_DW2_SQID_SHIFT);
	asm volatile("fence.acq_rel.sys;" : : : "memory");
	asm volatile("{\n\t"
		     ".reg .b128 entry;\n\t"
		     "mov.b128 entry, {%1, %2};\n\t"
		     "st.relaxed.sys.global.b128 [%0], entry;\n\t"
		     "}"
		     : : "l"((uint64_t)queue->cq + slot * sizeof(struct snv_cqe)), "l"(0ULL),
			 "l"(high)
		     : "memory");
}

static __device__ __forceinline__ void advance(const struct vssd_gpu_queue *queue,
					       struct rings *at, uint32_t n)
{
	at->head += n;
	if (at->head >= queue->sq_entries)
		at->head -= queue->sq_entries;
	at->tail += n;
	if (at->tail >= queue->cq_entries) {
		at->tail -= queue->cq_entries;
		at->phase ^= 1;
	}
}

/* ---- the kernel ----------------------------------------------------------------------------- */

/*
 * What the order says: the queue, the ranges, what to do. By all threads, after the barrier of the
 * look: nobody uses the old ones any more.
 */
static __device__ uint32_t obey(const struct params *params, struct vssd_gpu_queue *queue,
				struct range *range, uint32_t order)
{
	const struct box *box = &params->box[blockIdx.x];
	struct report *report = &params->report[blockIdx.x];
	__shared__ uint32_t state;

	for (uint32_t i = threadIdx.x; i < MAX_RANGES; i += blockDim.x) {
		range[i].begin = load_u64((uint64_t)&params->range[i].begin);
		range[i].end = load_u64((uint64_t)&params->range[i].end);
	}
	/* One thread reads, for all to do the same, even if the next order is being written. */
	if (threadIdx.x == 0) {
		state = SNV_LOAD_RELAXED(&box->state);
		queue->sq = (const void *)load_u64((uint64_t)&box->queue.sq);
		queue->cq = (void *)load_u64((uint64_t)&box->queue.cq);
		queue->sq_db = (const uint32_t *)load_u64((uint64_t)&box->queue.sq_db);
		queue->cq_db = (const uint32_t *)load_u64((uint64_t)&box->queue.cq_db);
		queue->sq_entries = SNV_LOAD_RELAXED(&box->queue.sq_entries);
		queue->cq_entries = SNV_LOAD_RELAXED(&box->queue.cq_entries);
		queue->sqid = SNV_LOAD_RELAXED(&box->queue.sqid);
	}
	/* Partner: itself in the other threads; queue and ranges before their use. */
	__syncthreads();
	/*
	 * Release; partner: the host's copy of the report. All that any thread did for earlier
	 * orders came before the barriers.
	 */
	if (threadIdx.x == 0)
		SNV_STORE_RELEASE(&report->ack, order);
	return state;
}

static __global__ void __launch_bounds__(MAX_THREADS, 1)
ssd(const __grid_constant__ struct params params)
{
	extern __shared__ uint4 shared[];
	__shared__ struct vssd_gpu_queue queue;
	__shared__ struct range range[MAX_RANGES];
	__shared__ struct news told[2];
	struct report *report = &params.report[blockIdx.x];
	struct round round;
	struct rings at = { 0, 0, 0, 0 };
	uint32_t lane = threadIdx.x % WARP;
	uint4 *copy = shared + (threadIdx.x - lane) * 4;
	uint32_t state = BOX_IDLE, seen = 0, hit = 0;
	unsigned long long commands = 0;

	/* As ssd_shared_bytes() counts it. */
	round.job = (struct job *)(shared + blockDim.x * 4);
	round.page = (uint64_t *)(round.job + blockDim.x);
	round.start = (uint32_t *)(round.page + ROUND_UNITS / (PAGE_BYTES / UNIT_BYTES) +
				   blockDim.x);
	for (uint32_t turn = 0;; turn ^= 1) {
		struct job job = { 0 };
		struct snv_sqe sqe;
		struct news news;
		uint32_t bad;

		if (threadIdx.x < WARP) {
			news = look(&queue, state == BOX_SERVE, &params.box[blockIdx.x], &at, seen);
			if (lane == 0)
				told[turn] = news;
		}
		/*
		 * Partner: itself in the other warps; they do after warp 0's acquire what it looked
		 * for. The next look writes the other one of @told, and the one after it comes
		 * after a barrier behind all reads of this one.
		 */
		__syncthreads();
		news = told[turn];
		if (news.order != seen) {
			bool fresh = state != BOX_SERVE;

			seen = news.order;
			state = obey(&params, &queue, range, seen);
			if (state == BOX_EXIT)
				return;
			if (fresh)
				at = { 0, 0, 1, 0 };
			continue;
		}
		if (threadIdx.x - lane < news.n) {
			sqe = fetch(&queue, &at, news.n, copy);
			if (threadIdx.x < news.n)
				job.status = check(&params, &sqe, &job, range, &hit);
		}
		if (params.storage) {
			bool lists;

			news.n = lay_out(&round, &job, news.n, &lists);
			if (lists) {
				walk_all(&round, news.n, range, &hit);
				/* Partner: itself in the other warps; pages before move. */
				__syncthreads();
			}
			move(&round, news.n);
			/* Partner: itself in the other warps; all data before post()'s fence. */
			__syncthreads();
			job.status = round.job[threadIdx.x].status;
		} else {
			walk_own(&job, range, &hit);
		}
		if (threadIdx.x < news.n)
			post(&queue, &at, threadIdx.x, snv_le16_get(sqe.cid), job.status);
		bad = __ballot_sync(ALL_LANES, threadIdx.x < news.n && job.status);
		if (bad && lane == 0)
			atomicAdd(&report->errors, __popc(bad));
		commands += news.n;
		if (threadIdx.x == 0)
			*(volatile unsigned long long *)&report->commands = commands;
		advance(&queue, &at, news.n);
	}
}

size_t ssd_shared_bytes(uint32_t threads, bool storage)
{
	size_t bytes = threads * sizeof(struct snv_sqe);

	if (storage)
		bytes += threads * sizeof(struct job) + (threads + 1) * sizeof(uint32_t) +
			 (ROUND_UNITS / (PAGE_BYTES / UNIT_BYTES) + threads) * sizeof(uint64_t);
	return bytes;
}

const void *ssd_kernel(void)
{
	return (const void *)ssd;
}
