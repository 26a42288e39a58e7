/* jwt_internal.h - private to jwt.c and jwt_keys.c. */
#ifndef WEIR_GATEWAY_JWT_INTERNAL_H
#define WEIR_GATEWAY_JWT_INTERNAL_H

#include <stdbool.h>
#include <yyjson.h>

bool jwt_members_once(yyjson_val *object); /* an object, not too large, and no member stands twice */
const char *jwt_member_text(yyjson_val *object, const char *name); /* NULL: absent, no text, or with a NUL in it */

#endif
