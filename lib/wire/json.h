/* json.h - small help around yyjson: all wanted fields of an object in one pass, and text out.
 *
 * An object's keys are looked up through a little hash table made once per schema and message, so that reading a transaction of 25
 * fields costs 25 steps and not 600. A key given twice makes the object unreadable (two readers could see two values).
 */
#ifndef WEIR_WIRE_JSON_H
#define WEIR_WIRE_JSON_H

#include "base/mem.h"

#include <stdbool.h>
#include <yyjson.h>

#define JSON_FIELDS_MAX 48

struct json_schema {
	const char *const *names; /* NULL-ended; at most JSON_FIELDS_MAX */
	uint8_t lengths[JSON_FIELDS_MAX];
	uint8_t table[128]; /* hash -> index+1 */
	size_t count;
};
void json_schema_init(struct json_schema *, const char *const *names);
/* ret[i] is the value of names[i], NULL when absent or JSON null. False: not an object, or a wanted key stands twice. */
bool json_read(const struct json_schema *, yyjson_val *object, yyjson_val **ret);

struct text { /* a JSON string's bytes; s NULL when absent */
	const char *s;
	size_t n;
};
struct text json_text(yyjson_val *); /* absent or not a string: s NULL */

void json_add_string(struct buf *out, const char *s, size_t n); /* quoted and escaped; invalid UTF-8 becomes U+FFFD */

/* Allocator for yyjson in an arena: a document that is dropped with its message. */
yyjson_alc json_arena_allocator(struct arena *);

#endif
