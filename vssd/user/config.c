// SPDX-License-Identifier: MIT
/*
 * What a home is to be, from a line of text or a JSON file. The line becomes the same JSON, whose
 * values may all be strings: one reader serves both, and names what it does not like.
 */
#include <dirent.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>

#include <jansson.h>

#include "user.h"

#define COUNT(a)	(sizeof(a) / sizeof(*(a)))
#define MAX_BYTES	(1ULL << 60)
#define NAME		192	/* of a key and all that it is in: namespaces[2].zoned.zone_size */

struct parse {
	struct vssd_spec *spec;
	char *why;
	size_t size;
};

int vssd_why(char *why, size_t size, int err, const char *fmt, ...)
{
	va_list ap;

	if (!why || !size)
		return err;
	va_start(ap, fmt);
	vsnprintf(why, size, fmt, ap);
	va_end(ap);
	return err;
}

#define bad(p, ...) vssd_why((p)->why, (p)->size, -EINVAL, __VA_ARGS__)
#define no_memory(p) vssd_why((p)->why, (p)->size, -ENOMEM, "out of memory")

/* ---- values --------------------------------------------------------------------------------- */

enum type {
	T_BOOL,
	T_NOT,		/* a bool that is stored negated */
	T_U16,
	T_U32,
	T_U64,
	T_BYTES,	/* uint64_t; with a suffix K, M, G or T */
	T_MS,		/* milliseconds, stored as nanoseconds in a uint64_t */
};

struct field {
	const char *key;
	enum type type;
	size_t offset;
	uint64_t min;
	uint64_t max;
};

static int text_number(const char *text, bool suffix, uint64_t *out)
{
	static const char units[] = "KMGT";
	const char *unit;
	unsigned shift = 0;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	*out = strtoull(text, &end, 0);
	if (errno)
		return -EINVAL;
	if (suffix && *end) {
		unit = strchr(units, *end >= 'a' ? *end - 'a' + 'A' : *end);
		if (!unit)
			return -EINVAL;
		shift = 10 * (unit - units + 1);
		end++;
	}
	if (*end || *out << shift >> shift != *out)
		return -EINVAL;
	*out <<= shift;
	return 0;
}

static int get_number(struct parse *p, const char *name, const json_t *value, const struct field *f,
		      uint64_t *out)
{
	bool bytes = f->type == T_BYTES;
	int ret = -EINVAL;

	if (json_is_integer(value) && json_integer_value(value) >= 0) {
		*out = json_integer_value(value);
		ret = 0;
	} else if (json_is_string(value)) {
		ret = text_number(json_string_value(value), bytes, out);
	}
	if (!ret && *out >= f->min && *out <= f->max)
		return 0;
	if (bytes)
		return bad(p, "%s: must be a size, like 4096, 512M or 1G, from %llu bytes on",
			   name,
			   (unsigned long long)f->min);
	if (f->max == UINT64_MAX)
		return bad(p, "%s: must be a number", name);
	return bad(p, "%s: must be a number from %llu to %llu", name, (unsigned long long)f->min,
		   (unsigned long long)f->max);
}

static int get_bool(struct parse *p, const char *name, const json_t *value, bool *out)
{
	static const char *const words[][2] = {
		{ "false", "true" }, { "0", "1" }, { "off", "on" }, { "no", "yes" },
	};

	if (json_is_boolean(value)) {
		*out = json_is_true(value);
		return 0;
	}
	for (size_t i = 0; json_is_string(value) && i < 2 * COUNT(words); i++) {
		if (!strcmp(json_string_value(value), words[i / 2][i % 2])) {
			*out = i % 2;
			return 0;
		}
	}
	return bad(p, "%s: must be true or false", name);
}

static int get_field(struct parse *p, const char *name, const json_t *value, const struct field *f,
		     void *base)
{
	void *to = (char *)base + f->offset;
	uint64_t number;
	int ret;

	if (f->type == T_BOOL || f->type == T_NOT) {
		bool yes = false;

		ret = get_bool(p, name, value, &yes);
		if (!ret)
			*(bool *)to = yes ^ (f->type == T_NOT);
		return ret;
	}
	ret = get_number(p, name, value, f, &number);
	if (ret)
		return ret;
	switch (f->type) {
	case T_U16:
		*(uint16_t *)to = number;
		break;
	case T_U32:
		*(uint32_t *)to = number;
		break;
	case T_MS:
		*(uint64_t *)to = number * 1000000;
		break;
	default:
		*(uint64_t *)to = number;
	}
	return 0;
}

static int get_text(struct parse *p, const char *name, const json_t *value, size_t max,
		    const char **out)
{
	const char *text = json_string_value(value);

	if (!text || !*text || strlen(text) > max)
		return bad(p, "%s: must be a text of 1 to %zu bytes", name, max);
	free((char *)*out);
	*out = strdup(text);
	return *out ? 0 : no_memory(p);
}

/* One of @words: its index. */
static int get_word(struct parse *p, const char *name, const json_t *value,
		    const char *const *words, size_t count, uint32_t *out)
{
	const char *text = json_string_value(value);
	char all[NAME] = "";

	for (size_t i = 0; i < count; i++) {
		if (text && !strcmp(text, words[i])) {
			*out = i;
			return 0;
		}
		snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s",
			 !i ? "" : i + 1 == count ? " or " : ", ", words[i]);
	}
	return bad(p, "%s: must be %s", name, all);
}

static const struct field *find(const struct field *fields, size_t count, const char *key)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(fields[i].key, key))
			return &fields[i];
	return NULL;
}

#define NOT_MINE	1

/*
 * Every key of @object: what @fields have goes to @base, the rest to @other, which returns NOT_MINE
 * for what nobody knows. @where: the object's name, or "".
 */
static int get_object(struct parse *p, const char *where, json_t *object,
		      const struct field *fields, size_t count, void *base,
		      int (*other)(struct parse *p, const char *name, const char *key,
				   json_t *value, void *base))
{
	const char *key;
	json_t *value;

	if (!json_is_object(object))
		return bad(p, "%s: must be an object", *where ? where : "the configuration");
	json_object_foreach(object, key, value) {
		const struct field *f = find(fields, count, key);
		char name[NAME];
		int ret;

		snprintf(name, sizeof(name), "%s%s%s", where, *where ? "." : "", key);
		if (f)
			ret = get_field(p, name, value, f, base);
		else
			ret = other ? other(p, name, key, value, base) : NOT_MINE;
		if (ret == NOT_MINE)
			return bad(p, "%s: no such key", name);
		if (ret)
			return ret;
	}
	return 0;
}

/* ---- timing --------------------------------------------------------------------------------- */

#define FIELD(type, name, T, min, max)	{ #name, T, offsetof(struct type, name), min, max }

static const struct field timing_fields[] = {
	FIELD(vssd_timing, units, T_U32, 1, 65536),
	FIELD(vssd_timing, read_ns, T_U64, 0, 1000000000000),
	FIELD(vssd_timing, write_ns, T_U64, 0, 1000000000000),
	FIELD(vssd_timing, flush_ns, T_U64, 0, 1000000000000),
	FIELD(vssd_timing, bytes_per_us, T_U32, 0, UINT32_MAX),
	FIELD(vssd_timing, channels, T_U32, 1, 1024),
	FIELD(vssd_timing, dies, T_U32, 1, 1024),
	FIELD(vssd_timing, page, T_U32, 512, 1 << 20),
	FIELD(vssd_timing, pages, T_U32, 1, 65536),
	FIELD(vssd_timing, erase_ns, T_U64, 0, 1000000000000),
	FIELD(vssd_timing, spare_permille, T_U32, 20, 10000),
	FIELD(vssd_timing, buffer, T_BYTES, 0, MAX_BYTES),
	FIELD(vssd_timing, buffer_ns, T_U64, 0, 1000000000000),
};

/* In the manner of drives of these kinds; no drive in particular. */
static const struct {
	const char *name;
	struct vssd_timing timing;
} presets[] = {
	{ "none", { .model = VSSD_MODEL_NONE } },
	/* 4 KiB in 5.4 us, 1.5 M of them a second, 7.2 GB/s. */
	{ "optane", { .model = VSSD_MODEL_FIXED, .units = 8, .read_ns = 800, .write_ns = 1200,
		      .flush_ns = 1000, .bytes_per_us = 900 } },
	/* 4 KiB in 64 us, 500 k a second; 870 MB/s of writes when the buffer is full. */
	{ "tlc", { .model = VSSD_MODEL_FLASH, .channels = 8, .dies = 4, .page = 16384, .pages = 256,
		   .read_ns = 60000, .write_ns = 600000, .erase_ns = 4000000,
		   .bytes_per_us = 1200, .spare_permille = 280, .buffer = 64 << 20,
		   .buffer_ns = 8000 } },
	{ "qlc", { .model = VSSD_MODEL_FLASH, .channels = 4, .dies = 4, .page = 16384, .pages = 256,
		   .read_ns = 110000, .write_ns = 2200000, .erase_ns = 10000000,
		   .bytes_per_us = 1200, .spare_permille = 70, .buffer = 32 << 20,
		   .buffer_ns = 12000 } },
	/* Slow enough to watch. */
	{ "slow", { .model = VSSD_MODEL_FIXED, .units = 1, .read_ns = 1000000, .write_ns = 2000000,
		    .flush_ns = 10000000, .bytes_per_us = 100 } },
};

static int get_preset(struct parse *p, const char *name, const json_t *value,
		      struct vssd_timing *timing)
{
	const char *words[COUNT(presets)];
	uint32_t i;
	int ret;

	for (i = 0; i < COUNT(presets); i++)
		words[i] = presets[i].name;
	ret = get_word(p, name, value, words, COUNT(presets), &i);
	if (!ret)
		*timing = presets[i].timing;
	return ret;
}

static int timing_other(struct parse *p, const char *name, const char *key, json_t *value,
			void *base)
{
	static const char *const words[] = { "none", "fixed", "flash" };
	struct vssd_timing *timing = base;
	uint32_t model;
	int ret;

	if (!strcmp(key, "preset"))
		return 0;
	if (strcmp(key, "model"))
		return NOT_MINE;
	ret = get_word(p, name, value, words, COUNT(words), &model);
	if (!ret)
		timing->model = model;
	return ret;
}

/* The name of a preset; or an object whose fields are laid over those of its preset. */
static int get_timing(struct parse *p, const char *name, json_t *value, struct vssd_timing *timing)
{
	json_t *preset = json_object_get(value, "preset");
	char key[NAME];
	int ret;

	if (json_is_string(value))
		return get_preset(p, name, value, timing);
	snprintf(key, sizeof(key), "%s.preset", name);
	ret = preset ? get_preset(p, key, preset, timing) : 0;
	if (!ret)
		ret = get_object(p, name, value, timing_fields, COUNT(timing_fields), timing,
				 timing_other);
	if (!ret && timing->model == VSSD_MODEL_FLASH && timing->page & (timing->page - 1))
		return bad(p, "%s.page: must be a power of two", name);
	return ret;
}

/* ---- controller ----------------------------------------------------------------------------- */

static const struct field ctrl_fields[] = {
	FIELD(vssd_ctrl_config, queues, T_U32, 1, VSSD_MAX_QUEUES),
	FIELD(vssd_ctrl_config, mqes, T_U32, 2, 65536),
	FIELD(vssd_ctrl_config, to, T_U32, 1, 255),
	FIELD(vssd_ctrl_config, dstrd, T_U32, 0, 10),
	FIELD(vssd_ctrl_config, mpsmin, T_U32, 0, 15),
	FIELD(vssd_ctrl_config, mpsmax, T_U32, 0, 15),
	FIELD(vssd_ctrl_config, mdts, T_U32, 1, 9),
	FIELD(vssd_ctrl_config, cqr, T_BOOL, 0, 0),
	FIELD(vssd_ctrl_config, wrr, T_BOOL, 0, 0),
	FIELD(vssd_ctrl_config, sgl, T_BOOL, 0, 0),
	FIELD(vssd_ctrl_config, dbbuf, T_BOOL, 0, 0),
	FIELD(vssd_ctrl_config, vectors, T_U32, 1, 2048),
	{ "ready_ms", T_MS, offsetof(struct vssd_ctrl_config, ready_ns), 0, 100000 },
	{ "shutdown_ms", T_MS, offsetof(struct vssd_ctrl_config, shutdown_ns), 0, 100000 },
	{ "cmb", T_BYTES, offsetof(struct vssd_ctrl_config, cmb_size), 0, 1ULL << 30 },
};

static int ctrl_other(struct parse *p, const char *name, const char *key, json_t *value, void *base)
{
	static const struct field granted = { .type = T_U32, .min = 1, .max = VSSD_MAX_QUEUES };
	struct vssd_ctrl_config *ctrl = base;
	uint64_t number;

	if (strcmp(key, "grant"))
		return NOT_MINE;
	if (json_is_string(value) && !strcmp(json_string_value(value), "asked")) {
		ctrl->grant = VSSD_GRANT_ASKED;
	} else if (json_is_string(value) && !strcmp(json_string_value(value), "max")) {
		ctrl->grant = VSSD_GRANT_MAX;
	} else {
		struct parse quiet = { 0 };

		if (get_number(&quiet, name, value, &granted, &number))
			return bad(p, "%s: must be asked, max or a number from 1 to %d", name,
				   VSSD_MAX_QUEUES);
		ctrl->grant = VSSD_GRANT_FIXED;
		ctrl->granted = number;
	}
	return 0;
}

static int get_ctrl(struct parse *p, json_t *value)
{
	struct vssd_ctrl_config *ctrl = &p->spec->ctrl;
	int ret = get_object(p, "controller", value, ctrl_fields, COUNT(ctrl_fields), ctrl,
			     ctrl_other);

	if (ret)
		return ret;
	if (ctrl->mpsmin > ctrl->mpsmax)
		return bad(p, "controller.mpsmax: must not be less than mpsmin, %u", ctrl->mpsmin);
	if (ctrl->cmb_size % 4096)
		return bad(p, "controller.cmb: must be a multiple of 4096");
	return 0;
}

/* ---- namespaces ----------------------------------------------------------------------------- */

/* A namespace as it is being read. */
struct ns_parse {
	struct vssd_ns_spec ns;
	const char *dir;
	uint32_t kinds;		/* ram, null, file, dir: how many of them */
	bool zoned;
	uint64_t zone_size;
	uint64_t zone_capacity;
};

static const struct field ns_fields[] = {
	{ "size", T_BYTES, offsetof(struct ns_parse, ns.file.size), 512, MAX_BYTES },
	{ "lba", T_U32, offsetof(struct ns_parse, ns.ns.lba_size), 512, 4096 },
	{ "metadata", T_U32, offsetof(struct ns_parse, ns.ns.metadata), 0, 8 },
	{ "pi", T_U32, offsetof(struct ns_parse, ns.ns.pi), 0, 3 },
	{ "pi_first", T_BOOL, offsetof(struct ns_parse, ns.ns.pi_first), 0, 0 },
	{ "extended", T_BOOL, offsetof(struct ns_parse, ns.ns.extended), 0, 0 },
	{ "nsid", T_U32, offsetof(struct ns_parse, ns.ns.nsid), 1, VSSD_MAX_NS },
	{ "readonly", T_BOOL, offsetof(struct ns_parse, ns.file.readonly), 0, 0 },
	{ "direct", T_NOT, offsetof(struct ns_parse, ns.file.buffered), 0, 0 },
};

static const struct field zone_fields[] = {
	{ "zone_size", T_BYTES, offsetof(struct ns_parse, zone_size), 512, MAX_BYTES },
	{ "zone_capacity", T_BYTES, offsetof(struct ns_parse, zone_capacity), 512, MAX_BYTES },
	{ "max_open", T_U32, offsetof(struct ns_parse, ns.ns.max_open), 0, UINT32_MAX },
	{ "max_active", T_U32, offsetof(struct ns_parse, ns.ns.max_active), 0, UINT32_MAX },
};

static int ns_other(struct parse *p, const char *name, const char *key, json_t *value, void *base)
{
	struct ns_parse *n = base;

	if (!strcmp(key, "zoned")) {
		n->zoned = true;
		return get_object(p, name, value, zone_fields, COUNT(zone_fields), n, NULL);
	}
	if (!strcmp(key, "ram") || !strcmp(key, "null")) {
		n->ns.medium = *key == 'r' ? VSSD_RAM : VSSD_NULL;
		n->kinds++;
		return get_field(p, name, value, &ns_fields[0], n);
	}
	if (!strcmp(key, "file")) {
		n->ns.medium = VSSD_FILE;
		n->kinds++;
		return get_text(p, name, value, PATH_MAX - 1, &n->ns.file.path);
	}
	if (!strcmp(key, "dir")) {
		n->ns.medium = VSSD_FILE;
		n->kinds++;
		return get_text(p, name, value, PATH_MAX - 1, &n->dir);
	}
	return NOT_MINE;
}

static int check_zones(struct parse *p, const char *name, struct ns_parse *n)
{
	struct vssd_ns_config *ns = &n->ns.ns;

	/* Write pointers are kept in memory: a file would come back with data in empty zones. */
	if (n->ns.medium == VSSD_FILE)
		return bad(p, "%s.zoned: zones are for ram and null", name);
	if (!n->zone_size || n->zone_size % ns->lba_size)
		return bad(p, "%s.zoned.zone_size: must be given, a multiple of %u", name,
			   ns->lba_size);
	if (n->zone_capacity > n->zone_size || n->zone_capacity % ns->lba_size)
		return bad(p, "%s.zoned.zone_capacity: must be at most zone_size, a multiple of %u",
			   name, ns->lba_size);
	ns->csi = VSSD_CSI_ZNS;
	ns->zone_blocks = n->zone_size / ns->lba_size;
	ns->zone_capacity = n->zone_capacity / ns->lba_size;
	return 0;
}

/* What the fields mean together. */
static int check_ns(struct parse *p, const char *name, struct ns_parse *n)
{
	struct vssd_ns_config *ns = &n->ns.ns;
	uint32_t block = ns->lba_size + ns->metadata;

	if (n->kinds != 1)
		return bad(p, "%s: must have one of ram, null, file and dir", name);
	if (ns->lba_size != 512 && ns->lba_size != 4096)
		return bad(p, "%s.lba: must be 512 or 4096", name);
	if (ns->metadata && ns->metadata != 8)
		return bad(p, "%s.metadata: must be 0 or 8", name);
	if (!ns->metadata && (ns->pi || ns->pi_first || ns->extended))
		return bad(p, "%s.%s: needs metadata 8", name,
			   ns->pi ? "pi" : ns->pi_first ? "pi_first" : "extended");
	if (n->ns.medium != VSSD_FILE && n->ns.file.readonly)
		return bad(p, "%s.readonly: for files only", name);
	if (n->ns.medium != VSSD_FILE && n->ns.file.buffered)
		return bad(p, "%s.direct: for files only", name);
	if (n->dir && (n->ns.file.size || ns->nsid))
		return bad(p, "%s.%s: not with dir, whose files decide", name,
			   ns->nsid ? "nsid" : "size");
	if (n->ns.file.size && n->ns.file.size < block)
		return bad(p, "%s.size: less than a block, %u bytes", name, block);
	if (n->ns.medium != VSSD_RAM && p->spec->config.power_loss)
		return bad(p, "power_loss: with ram namespaces only, and %s is none", name);
	n->ns.file.block = block;
	return n->zoned ? check_zones(p, name, n) : 0;
}

/* Append @n's namespace; takes its path, also on failure. */
static int add_ns(struct parse *p, const struct vssd_ns_spec *n)
{
	struct vssd_spec *spec = p->spec;
	struct vssd_ns_spec *ns = NULL;
	int ret;

	if (spec->n_ns == VSSD_MAX_NS)
		ret = bad(p, "namespaces: more than %d", VSSD_MAX_NS);
	else
		ret = n->medium == VSSD_FILE ? vssd_file_check(&n->file, p->why, p->size) : 0;
	if (!ret) {
		ns = realloc(spec->ns, (spec->n_ns + 1) * sizeof(*ns));
		ret = ns ? 0 : no_memory(p);
	}
	if (ret) {
		free((char *)n->file.path);
		return ret;
	}
	spec->ns = ns;
	spec->ns[spec->n_ns++] = *n;
	return 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* Each regular file with something in it, by name; what else there is is passed over. */
static int add_dir(struct parse *p, const struct ns_parse *n)
{
	uint32_t before = p->spec->n_ns;
	struct dirent **entry;
	int count = scandir(n->dir, &entry, NULL, by_name);
	int ret = 0;

	if (count < 0)
		return vssd_why(p->why, p->size, -errno, "%s: %s", n->dir, strerror(errno));
	for (int i = 0; i < count; i++) {
		struct vssd_ns_spec ns = n->ns;
		struct stat st;
		char *path = NULL;

		if (!ret && asprintf(&path, "%s/%s", n->dir, entry[i]->d_name) < 0) {
			path = NULL;
			ret = no_memory(p);
		}
		ns.file.path = path;
		if (!ret && !stat(path, &st) && S_ISREG(st.st_mode) && st.st_size)
			ret = add_ns(p, &ns);
		else
			free(path);
		free(entry[i]);
	}
	free(entry);
	if (!ret && p->spec->n_ns == before)
		return bad(p, "%s: no regular file with anything in it", n->dir);
	return ret;
}

static int get_ns(struct parse *p, const char *name, json_t *value)
{
	struct ns_parse n = { .ns.ns.lba_size = 512 };
	int ret = get_object(p, name, value, ns_fields, COUNT(ns_fields), &n, ns_other);
	if (!ret)
		ret = check_ns(p, name, &n);
	if (!ret && !n.dir) {
		ret = add_ns(p, &n.ns);
		n.ns.file.path = NULL;
	} else if (!ret) {
		ret = add_dir(p, &n);
	}
	free((char *)n.ns.file.path);
	free((char *)n.dir);
	return ret;
}

/* ---- faults --------------------------------------------------------------------------------- */

static const struct field fault_fields[] = {
	FIELD(vssd_fault, admin, T_BOOL, 0, 0),
	FIELD(vssd_fault, opcode, T_U32, 0, 255),
	FIELD(vssd_fault, nsid, T_U32, 0, UINT32_MAX),
	FIELD(vssd_fault, slba, T_U64, 0, UINT64_MAX),
	FIELD(vssd_fault, nlb, T_U64, 0, UINT64_MAX),
	FIELD(vssd_fault, ppm, T_U32, 0, 1000000),
	FIELD(vssd_fault, skip, T_U32, 0, UINT32_MAX),
	FIELD(vssd_fault, count, T_U32, 0, UINT32_MAX),
	FIELD(vssd_fault, status, T_U16, 1, SNV_STATUS_CODE | SNV_STATUS_DNR),
	FIELD(vssd_fault, delay_ns, T_U64, 0, 1000000000000),
};

static int fault_other(struct parse *p, const char *name, const char *key, json_t *value,
		       void *base)
{
	static const char *const words[] = {
		[VSSD_FAULT_STATUS] = "status", [VSSD_FAULT_DELAY] = "delay",
		[VSSD_FAULT_LOSE] = "lose", [VSSD_FAULT_HANG] = "hang",
		[VSSD_FAULT_DUPLICATE] = "duplicate", [VSSD_FAULT_CFS] = "cfs",
		[VSSD_FAULT_REMOVE] = "remove", [VSSD_FAULT_POWER_CUT] = "power_cut",
	};
	struct vssd_fault *fault = base;
	uint32_t action;
	int ret;

	if (strcmp(key, "action"))
		return NOT_MINE;
	ret = get_word(p, name, value, words, COUNT(words), &action);
	if (!ret)
		fault->action = action;
	return ret;
}

static int get_fault(struct parse *p, const char *name, json_t *value)
{
	struct vssd_fault *fault, f = { .opcode = -1 };
	int ret = get_object(p, name, value, fault_fields, COUNT(fault_fields), &f, fault_other);

	if (ret)
		return ret;
	if (!json_object_get(value, "action"))
		return bad(p, "%s.action: must be given", name);
	if ((f.action == VSSD_FAULT_STATUS) != !!f.status)
		return bad(p, "%s.status: must be given for this action alone: status",
			   name);
	if (f.status & ~(SNV_STATUS_CODE | SNV_STATUS_DNR))
		return bad(p, "%s.status: must be SCT << 8 | SC, and 0x4000 for Do Not Retry",
			   name);
	if ((f.action == VSSD_FAULT_DELAY) != !!f.delay_ns)
		return bad(p, "%s.delay_ns: must be given for this action alone: delay",
			   name);
	if (f.admin && f.nlb)
		return bad(p, "%s.nlb: admin commands have no blocks", name);
	fault = realloc(p->spec->fault, (p->spec->n_faults + 1) * sizeof(*fault));
	if (!fault)
		return no_memory(p);
	p->spec->fault = fault;
	fault[p->spec->n_faults++] = f;
	return 0;
}

/* ---- all of it ------------------------------------------------------------------------------ */

static const struct field top_fields[] = {
	FIELD(vssd_spec, threads, T_U32, 0, VSSD_MAX_WORKERS),
	FIELD(vssd_spec, gpu, T_U32, 0, 1023),
	{ "seed", T_U64, offsetof(struct vssd_spec, config.seed), 0, UINT64_MAX },
	{ "power_loss", T_BOOL, offsetof(struct vssd_spec, config.power_loss), 0, 0 },
	{ "max_inflight", T_U32, offsetof(struct vssd_spec, config.max_inflight), 0, 65536 },
};

static int get_array(struct parse *p, const char *name, json_t *array,
		     int (*get)(struct parse *p, const char *name, json_t *value))
{
	char element[NAME];
	int ret = 0;

	if (!json_is_array(array))
		return bad(p, "%s: must be an array", name);
	for (size_t i = 0; !ret && i < json_array_size(array); i++) {
		snprintf(element, sizeof(element), "%s[%zu]", name, i);
		ret = get(p, element, json_array_get(array, i));
	}
	return ret;
}

static int top_other(struct parse *p, const char *name, const char *key, json_t *value, void *base)
{
	struct vssd_spec *spec = base;

	if (!strcmp(key, "serial"))
		return get_text(p, name, value, 20, &spec->config.serial);
	if (!strcmp(key, "model"))
		return get_text(p, name, value, 40, &spec->config.model);
	if (!strcmp(key, "timing"))
		return get_timing(p, name, value, &spec->config.timing);
	if (!strcmp(key, "controller"))
		return get_ctrl(p, value);
	if (!strcmp(key, "faults"))
		return get_array(p, name, value, get_fault);
	/* Later: power_loss has to be known. */
	return strcmp(key, "namespaces") ? NOT_MINE : 0;
}

static int get_top(struct parse *p, json_t *root)
{
	int ret = get_object(p, "", root, top_fields, COUNT(top_fields), p->spec, top_other);
	json_t *ns = json_object_get(root, "namespaces");

	if (!ret && p->spec->config.power_loss && p->spec->gpu != VSSD_NO_GPU)
		return bad(p, "power_loss: not with gpu");
	if (!ret && ns)
		ret = get_array(p, "namespaces", ns, get_ns);
	return ret;
}

/* The object called @key in @object, made if need be. */
static json_t *child(json_t *object, const char *key)
{
	json_t *c = json_object_get(object, key);

	if (!c) {
		json_object_set_new(object, key, json_object());
		c = json_object_get(object, key);
	}
	return c;
}

/* Which object of @root and namespace @ns (or NULL) does @key of a line belong to? */
static json_t *home_of(json_t *root, json_t *ns, const char *key)
{
	if (find(top_fields, COUNT(top_fields), key) || !strcmp(key, "serial") ||
	    !strcmp(key, "model") || !strcmp(key, "timing"))
		return root;
	if (find(ctrl_fields, COUNT(ctrl_fields), key) || !strcmp(key, "grant"))
		return child(root, "controller");
	if (ns && find(zone_fields, COUNT(zone_fields), key))
		return child(ns, "zoned");
	if (ns && find(ns_fields, COUNT(ns_fields), key))
		return ns;
	return NULL;
}

/* The rest of a line, "key=value,key,...", in @text, which is taken apart. */
static int add_keys(struct parse *p, char *text, json_t *root, json_t *ns)
{
	char *key;

	while ((key = strsep(&text, ","))) {
		char *value = strchr(key, '=');
		json_t *object;

		if (value)
			*value++ = '\0';
		object = home_of(root, ns, key);
		if (!object)
			return bad(p, "%s: no such key%s", *key ? key : "(nothing)",
				   ns ? "" : " beside config");
		/* Which fails for an object that is none, too: get_object() says so. */
		json_object_set_new(object, key, value ? json_string(value) : json_true());
	}
	return 0;
}

static json_t *load(struct parse *p, const char *path, int *ret)
{
	json_error_t error;
	json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);

	if (!root && json_error_code(&error) == json_error_cannot_open_file)
		*ret = vssd_why(p->why, p->size, -errno, "%s: %s", path, strerror(errno));
	else if (!root)
		*ret = bad(p, "%s: line %d: %s", path, error.line, error.text);
	else if (!json_is_object(root))
		*ret = bad(p, "%s: must be an object", path);
	return root;
}

/* "ram,size=1G": the size is the kind's value. */
static void move_size(json_t *ns, const char *kind)
{
	json_t *size = json_object_get(ns, "size");

	if (size) {
		json_object_set(ns, kind, size);
		json_object_del(ns, "size");
	}
}

static int parse_line(struct parse *p, char *text)
{
	char *kind = strsep(&text, ","), *value = strchr(kind, '=');
	json_t *root, *ns = NULL;
	int ret = 0;

	if (value)
		*value++ = '\0';
	if (strcmp(kind, "ram") && strcmp(kind, "null") && strcmp(kind, "file") &&
	    strcmp(kind, "dir") && strcmp(kind, "config"))
		return bad(p, "'%s': must begin with ram, null, file=, dir= or config=", kind);
	if (*kind != 'r' && *kind != 'n' && (!value || !*value))
		return bad(p, "%s: needs a path: %s=PATH", kind, kind);
	if (!strcmp(kind, "config")) {
		root = load(p, value, &ret);
	} else {
		ns = json_object();
		json_object_set_new(ns, kind, value ? json_string(value) : json_null());
		root = json_object();
		json_object_set_new(root, "namespaces", json_array());
		json_array_append_new(json_object_get(root, "namespaces"), ns);
	}
	if (!ret)
		ret = add_keys(p, text, root, ns);
	if (!ret && ns && (*kind == 'r' || *kind == 'n')) {
		move_size(ns, kind);
		if (json_is_null(json_object_get(ns, kind)))
			ret = bad(p, "%s: needs a size: %s,size=1G", kind, kind);
	}
	if (!ret)
		ret = get_top(p, root);
	json_decref(root);
	return ret;
}

int vssd_spec_parse(const char *text, struct vssd_spec *spec, char *why, size_t size)
{
	struct parse p = { spec, why, size };
	char *copy = strdup(text);
	int ret;

	memset(spec, 0, sizeof(*spec));
	spec->threads = 1;
	spec->gpu = VSSD_NO_GPU;
	vssd_ctrl_defaults(&spec->ctrl);
	ret = copy ? parse_line(&p, copy) : no_memory(&p);
	free(copy);
	if (ret)
		vssd_spec_free(spec);
	return ret;
}

void vssd_spec_free(struct vssd_spec *spec)
{
	for (uint32_t i = 0; i < spec->n_ns; i++)
		free((char *)spec->ns[i].file.path);
	free(spec->ns);
	free(spec->fault);
	free((char *)spec->config.serial);
	free((char *)spec->config.model);
	memset(spec, 0, sizeof(*spec));
}
