/* target.h - the target of a request taken apart: path segments and query parameters, percent-decoded, each at most once; in a query '+' is a blank.
 *
 * Strict on purpose (RFC 3986 section 3): only origin form; a bad escape, NUL, control byte, empty or dot segment, invalid UTF-8 or
 * a parameter given twice makes the target invalid, because two readers could see two different things in it.
 */
#ifndef WEIR_GATEWAY_TARGET_H
#define WEIR_GATEWAY_TARGET_H

#include "base/error.h"

#include <stddef.h>

#define TARGET_MAX 8192
#define TARGET_SEGMENTS_MAX 12
#define TARGET_PARAMETERS_MAX 24

struct target {
	char path[TARGET_MAX + 1]; /* as sent, without the query */
	char *segments[TARGET_SEGMENTS_MAX];
	size_t segment_count;
	struct {
		char *name, *value;
	} parameters[TARGET_PARAMETERS_MAX];
	size_t parameter_count;
	char text[TARGET_MAX + 2]; /* what the pointers point into */
};

/* WEIR_INVALID or, when it is too long or has too many parts, WEIR_LIMIT. */
int target_parse(const char *text, struct target *ret, struct error *);
const char *target_parameter(const struct target *, const char *name); /* NULL: absent */

#endif
