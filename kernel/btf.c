// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where a structure keeps a member, from the BTF that the running kernel publishes of itself and
 * of its modules. A module's BTF continues vmlinux's: its type and string numbers start where those
 * of its base end.
 */
#include <linux/btf.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "snvme.h"

/* Bytes that follow a struct btf_type of this kind; negative for a kind this code is too old for. */
static long btf_extra(const struct btf_type *t)
{
	u32 n = BTF_INFO_VLEN(t->info);

	switch (BTF_INFO_KIND(t->info)) {
	case BTF_KIND_PTR:
	case BTF_KIND_FWD:
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_CONST:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_FUNC:
	case BTF_KIND_FLOAT:
	case BTF_KIND_TYPE_TAG:
		return 0;
	case BTF_KIND_INT:
		return sizeof(u32);
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return n * sizeof(struct btf_member);
	case BTF_KIND_ENUM:
		return n * sizeof(struct btf_enum);
	case BTF_KIND_ENUM64:
		return n * sizeof(struct btf_enum64);
	case BTF_KIND_FUNC_PROTO:
		return n * sizeof(struct btf_param);
	case BTF_KIND_VAR:
		return sizeof(struct btf_var);
	case BTF_KIND_DATASEC:
		return n * sizeof(struct btf_var_secinfo);
	case BTF_KIND_DECL_TAG:
		return sizeof(struct btf_decl_tag);
	default:
		return -EINVAL;
	}
}

/* Fill btf->types with the offset of each type, or only count them when it is NULL. */
static int btf_index(struct snvme_btf *btf, u32 start, u32 end)
{
	u32 n = 0, off = start;

	while (off < end) {
		const struct btf_type *t = btf->data + off;
		long extra;

		if (end - off < sizeof(*t))
			return -EINVAL;
		extra = btf_extra(t);
		if (extra < 0 || end - off - sizeof(*t) < extra)
			return -EINVAL;
		if (btf->types)
			btf->types[n] = off;
		n++;
		off += sizeof(*t) + extra;
	}
	btf->ntypes = n;
	return 0;
}

/* The whole of a sysfs file, in vmalloc'ed memory of the caller's; its length or a negative errno. */
static ssize_t btf_read(const char *path, void **data)
{
	struct file *file = filp_open(path, O_RDONLY, 0);
	loff_t pos = 0, size;
	ssize_t n;

	if (IS_ERR(file))
		return PTR_ERR(file);
	size = i_size_read(file_inode(file));
	n = size > 0 && size < INT_MAX ? 0 : -EINVAL;
	if (!n) {
		*data = vmalloc(size);
		n = *data ? 0 : -ENOMEM;
	}
	while (!n && pos < size) {
		n = kernel_read(file, *data + pos, size - pos, &pos);
		n = n > 0 ? 0 : n ?: -EIO;
	}
	fput(file);
	return n ?: size;
}

/**
 * snvme_btf_load() - read a BTF blob from sysfs
 * @btf: out; snvme_btf_free() it, also after an error
 * @path: under /sys/kernel/btf
 * @base: what a module's blob continues, or NULL
 * Return: 0 or a negative errno
 */
int snvme_btf_load(struct snvme_btf *btf, const char *path, const struct snvme_btf *base)
{
	const struct btf_header *hdr;
	u64 types, types_end, strs_end;
	ssize_t len;
	int ret;

	memset(btf, 0, sizeof(*btf));
	btf->base = base;
	len = btf_read(path, &btf->data);
	if (len < 0)
		return len;
	btf->len = len;

	hdr = btf->data;
	if (len < sizeof(*hdr) || hdr->magic != BTF_MAGIC || hdr->version != BTF_VERSION ||
	    hdr->hdr_len < sizeof(*hdr))
		return -EINVAL;
	types = (u64)hdr->hdr_len + hdr->type_off;
	types_end = types + hdr->type_len;
	strs_end = (u64)hdr->hdr_len + hdr->str_off + hdr->str_len;
	if (types_end > len || strs_end > len || types % 4 || !hdr->str_len ||
	    ((const char *)btf->data)[strs_end - 1])
		return -EINVAL;
	btf->strs = btf->data + hdr->hdr_len + hdr->str_off;
	btf->strs_len = hdr->str_len;

	ret = btf_index(btf, types, types_end);
	if (ret)
		return ret;
	btf->types = kvmalloc_array(btf->ntypes, sizeof(u32), GFP_KERNEL);
	if (!btf->types)
		return -ENOMEM;
	return btf_index(btf, types, types_end);
}

void snvme_btf_free(struct snvme_btf *btf)
{
	kvfree(btf->types);
	vfree(btf->data);
	memset(btf, 0, sizeof(*btf));
}

static const char *btf_name(const struct snvme_btf *btf, u32 off)
{
	u32 base_len = btf->base ? btf->base->strs_len : 0;

	if (off < base_len)
		return btf->base->strs + off;
	off -= base_len;
	return off < btf->strs_len ? btf->strs + off : "";
}

static const struct btf_type *btf_type(const struct snvme_btf *btf, u32 id)
{
	u32 base_n = btf->base ? btf->base->ntypes : 0;

	if (!id)		/* void */
		return NULL;
	id--;
	if (id < base_n)
		return btf->base->data + btf->base->types[id];
	id -= base_n;
	return id < btf->ntypes ? btf->data + btf->types[id] : NULL;
}

static const struct btf_type *btf_unqualified(const struct snvme_btf *btf, u32 id)
{
	const struct btf_type *t;

	/* A chain of qualifiers is short; the bound only guards against a blob that is broken. */
	for (int i = 0; i < 16; i++) {
		t = btf_type(btf, id);
		if (!t)
			return NULL;
		switch (BTF_INFO_KIND(t->info)) {
		case BTF_KIND_TYPEDEF:
		case BTF_KIND_VOLATILE:
		case BTF_KIND_CONST:
		case BTF_KIND_RESTRICT:
		case BTF_KIND_TYPE_TAG:
			id = t->type;
			continue;
		}
		return t;
	}
	return NULL;
}

/* Is type @id what @want says: "struct S", "struct S *", "union U", "u32 *", or "u8" to "u64"? */
static bool btf_is(const struct snvme_btf *btf, u32 id, const char *want)
{
	const struct btf_type *t = btf_unqualified(btf, id);
	size_t len = strlen(want);
	const char *name;
	u32 kind, size;

	if (!t)
		return false;
	if (len > 2 && want[len - 1] == '*') {
		if (BTF_INFO_KIND(t->info) != BTF_KIND_PTR)
			return false;
		t = btf_unqualified(btf, t->type);
		if (!t)
			return false;
		len -= 2;
	}
	kind = BTF_INFO_KIND(t->info);
	if (!strncmp(want, "union ", 6))
		return kind == BTF_KIND_UNION && !strcmp(btf_name(btf, t->name_off), want + 6);
	if (!strncmp(want, "struct ", 7)) {
		/* A module that only points to a structure may know it as a forward declaration. */
		if (kind != BTF_KIND_STRUCT && kind != BTF_KIND_FWD)
			return false;
		name = btf_name(btf, t->name_off);
		return strlen(name) == len - 7 && !strncmp(name, want + 7, len - 7);
	}
	size = !strncmp(want, "u64", 3) ? 8 : !strncmp(want, "u16", 3) ? 2 :
	       !strncmp(want, "u8", 2) ? 1 : 4;
	return (kind == BTF_KIND_INT || kind == BTF_KIND_ENUM) && t->size == size;
}

/**
 * snvme_btf_member() - where a structure keeps a member
 * @btf: the module's types
 * @strct: name of the structure
 * @member: name of a direct member
 * @type: what it has to be, see btf_is()
 * @offset: out: bytes from the start
 * Return: 0, -ENOENT no such member, -EINVAL it is of another type or a bitfield
 */
int snvme_btf_member(const struct snvme_btf *btf, const char *strct, const char *member,
		     const char *type, u32 *offset)
{
	for (u32 i = 0; i < btf->ntypes; i++) {
		const struct btf_type *t = btf->data + btf->types[i];
		const struct btf_member *m = (const void *)(t + 1);

		if (BTF_INFO_KIND(t->info) != BTF_KIND_STRUCT ||
		    strcmp(btf_name(btf, t->name_off), strct))
			continue;
		for (u32 j = 0; j < BTF_INFO_VLEN(t->info); j++, m++) {
			u32 bits = m->offset;

			if (strcmp(btf_name(btf, m->name_off), member))
				continue;
			if (BTF_INFO_KFLAG(t->info)) {
				if (BTF_MEMBER_BITFIELD_SIZE(bits))
					return -EINVAL;
				bits = BTF_MEMBER_BIT_OFFSET(bits);
			}
			if (bits % 8 || !btf_is(btf, m->type, type))
				return -EINVAL;
			*offset = bits / 8;
			return 0;
		}
	}
	/* What the module shares with a core that is built in is described there. */
	return btf->base ? snvme_btf_member(btf->base, strct, member, type, offset) : -ENOENT;
}

/**
 * snvme_btf_enumerator() - the value of an enumeration constant
 * @btf: the module's types
 * @name: the constant
 * @value: out
 * Return: 0 or -ENOENT
 */
int snvme_btf_enumerator(const struct snvme_btf *btf, const char *name, u32 *value)
{
	for (u32 i = 0; i < btf->ntypes; i++) {
		const struct btf_type *t = btf->data + btf->types[i];
		const struct btf_enum *e = (const void *)(t + 1);

		if (BTF_INFO_KIND(t->info) != BTF_KIND_ENUM)
			continue;
		for (u32 j = 0; j < BTF_INFO_VLEN(t->info); j++, e++) {
			if (strcmp(btf_name(btf, e->name_off), name))
				continue;
			*value = e->val;
			return 0;
		}
	}
	return btf->base ? snvme_btf_enumerator(btf->base, name, value) : -ENOENT;
}
