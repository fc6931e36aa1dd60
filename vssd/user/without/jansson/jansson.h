/* SPDX-License-Identifier: MIT */
/*
 * In place of jansson where a machine lacks it: the values that a line of keys is made into, and no
 * files. Every object belongs to the one it was put into, and goes with it.
 */
#ifndef VSSD_WITHOUT_JANSSON_H
#define VSSD_WITHOUT_JANSSON_H

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum json_type { JSON_OBJECT, JSON_ARRAY, JSON_STRING, JSON_TRUE, JSON_NULL };

typedef struct json_t json_t;
struct json_t {
	enum json_type type;
	unsigned int users;
	char *text;		/* of a string */
	char *key;		/* of a member of an object */
	json_t *first;		/* members, elements */
	json_t *next;
};

typedef struct {
	int line;
	char text[64];
	enum json_error { json_error_cannot_open_file, json_error_unsupported } code;
} json_error_t;

#define JSON_REJECT_DUPLICATES	0

static inline json_t *json_new(enum json_type type, const char *text)
{
	json_t *v = calloc(1, sizeof(*v));

	if (!v)
		abort();	/* a few bytes, at the start of a test */
	v->type = type;
	v->users = 1;
	v->text = text ? strdup(text) : NULL;
	return v;
}

static inline json_t *json_object(void) { return json_new(JSON_OBJECT, NULL); }
static inline json_t *json_array(void) { return json_new(JSON_ARRAY, NULL); }
static inline json_t *json_string(const char *text) { return json_new(JSON_STRING, text); }
static inline json_t *json_true(void) { return json_new(JSON_TRUE, NULL); }
static inline json_t *json_null(void) { return json_new(JSON_NULL, NULL); }

static inline bool json_is(const json_t *v, enum json_type type) { return v && v->type == type; }
#define json_is_object(v)	json_is(v, JSON_OBJECT)
#define json_is_array(v)	json_is(v, JSON_ARRAY)
#define json_is_string(v)	json_is(v, JSON_STRING)
#define json_is_true(v)		json_is(v, JSON_TRUE)
#define json_is_boolean(v)	json_is(v, JSON_TRUE)
#define json_is_null(v)		json_is(v, JSON_NULL)
#define json_is_integer(v)	((void)(v), false)
#define json_integer_value(v)	((void)(v), 0LL)

static inline const char *json_string_value(const json_t *v)
{
	return json_is_string(v) ? v->text : NULL;
}

static inline void json_decref(json_t *v)
{
	if (!v || --v->users)
		return;
	while (v->first) {
		json_t *next = v->first->next;

		json_decref(v->first);
		v->first = next;
	}
	free(v->text);
	free(v->key);
	free(v);
}

static inline json_t **json_find(json_t *v, const char *key)
{
	json_t **at = &v->first;

	while (*at && strcmp((*at)->key, key))
		at = &(*at)->next;
	return at;
}

static inline json_t *json_object_get(json_t *v, const char *key)
{
	return json_is_object(v) ? *json_find(v, key) : NULL;
}

static inline void json_object_del(json_t *v, const char *key)
{
	json_t **at = json_find(v, key), *gone = *at;

	if (gone) {
		*at = gone->next;
		json_decref(gone);
	}
}

/* A member that is still in another object is copied. */
static inline int json_object_set_new(json_t *v, const char *key, json_t *member)
{
	json_t **at;

	if (!json_is_object(v)) {
		json_decref(member);
		return -1;
	}
	json_object_del(v, key);
	at = json_find(v, key);
	free(member->key);
	member->key = strdup(key);
	member->next = NULL;
	*at = member;
	return 0;
}

static inline int json_object_set(json_t *v, const char *key, const json_t *member)
{
	return json_object_set_new(v, key, json_new(member->type, member->text));
}

static inline int json_array_append_new(json_t *v, json_t *element)
{
	json_t **at = &v->first;

	while (*at)
		at = &(*at)->next;
	*at = element;
	return 0;
}

static inline size_t json_array_size(const json_t *v)
{
	size_t n = 0;

	for (const json_t *e = v->first; e; e = e->next)
		n++;
	return n;
}

static inline json_t *json_array_get(const json_t *v, size_t i)
{
	json_t *e = v->first;

	while (e && i--)
		e = e->next;
	return e;
}

static inline json_t *json_load_file(const char *path, size_t flags, json_error_t *error)
{
	error->line = 0;
	error->code = json_error_unsupported;
	snprintf(error->text, sizeof(error->text), "built without jansson: no configuration files");
	return NULL;
}

static inline enum json_error json_error_code(const json_error_t *error) { return error->code; }

#define json_object_foreach(object, member, value) \
	for (value = (object)->first; value && ((member) = value->key, true); value = value->next)

#endif /* VSSD_WITHOUT_JANSSON_H */
