/* span.c - beginning, ending and naming spans. */
#include "base/span.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define RECORDED 1

static bool any(const uint8_t *id, size_t size)
{
	uint8_t all = 0;
	for (size_t i = 0; i < size; i++)
		all |= id[i];
	return all != 0;
}

static void new_id(uint8_t *id, size_t size)
{
	for (size_t i = 0; i < size; i += 8) {
		uint64_t random = random_u64();
		memcpy(id + i, &random, 8);
	}
	if (!any(id, size))
		id[0] = 1; /* zero means none */
}

bool span_recorded(const struct span_context *c)
{
	return (c->flags & RECORDED) && any(c->trace_id, sizeof c->trace_id);
}

struct span_context span_root(int64_t per_million)
{
	struct span_context c = { .flags = (int64_t)(random_u64() % 1000000) < per_million ? RECORDED : 0 };
	new_id(c.trace_id, sizeof c.trace_id);
	return c;
}

struct span span_begin(const struct span_sink *sink, const struct span_context *parent, enum span_kind kind, const char *name)
{
	struct span s = { .context = *parent, .kind = kind, .name = name };
	if (!sink || !span_recorded(parent))
		return s;
	memcpy(s.parent_id, parent->span_id, sizeof s.parent_id);
	new_id(s.context.span_id, sizeof s.context.span_id);
	s.begin_ns = clock_wall_ns();
	return s;
}

static struct span_attribute *add(struct span *s, const char *name)
{
	static const struct span_attribute none;
	if (s->begin_ns == 0 || s->attribute_count == SPAN_ATTRIBUTES_MAX)
		return NULL;
	struct span_attribute *a = &s->attributes[s->attribute_count++];
	*a = none;
	a->name = name;
	return a;
}

void span_text(struct span *s, const char *name, const char *text)
{
	struct span_attribute *a = text ? add(s, name) : NULL;
	if (a)
		a->text = text;
}

void span_number(struct span *s, const char *name, int64_t number)
{
	struct span_attribute *a = add(s, name);
	if (a)
		a->number = number;
}

void span_end(const struct span_sink *sink, struct span *s)
{
	if (!sink || s->begin_ns == 0)
		return;
	s->end_ns = clock_wall_ns();
	if (s->end_ns < s->begin_ns)
		s->end_ns = s->begin_ns; /* the clock was set back */
	sink->tell(sink->arg, s);
}

/* -- W3C -------------------------------------------------------------------------------------------------------------------- */

static char *put_hex(char *at, const uint8_t *bytes, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < size; i++) {
		*at++ = digits[bytes[i] >> 4];
		*at++ = digits[bytes[i] & 15];
	}
	return at;
}

void span_traceparent(const struct span_context *c, char ret[SPAN_TRACEPARENT_SIZE])
{
	char *at = ret;
	*at++ = '0';
	*at++ = '0';
	*at++ = '-';
	at = put_hex(at, c->trace_id, sizeof c->trace_id);
	*at++ = '-';
	at = put_hex(at, c->span_id, sizeof c->span_id);
	*at++ = '-';
	at = put_hex(at, &c->flags, 1);
	*at = 0;
}

/* Lower case only, as the recommendation wants it. */
static bool get_hex(const char *text, uint8_t *ret, size_t size)
{
	for (size_t i = 0; i < 2 * size; i++) {
		char c = text[i];
		int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
		if (digit < 0)
			return false;
		ret[i / 2] = (uint8_t)(ret[i / 2] << 4 | digit);
	}
	return true;
}

bool span_from_traceparent(const char *text, struct span_context *ret)
{
	struct span_context c = { .flags = 0 };
	memset(ret, 0, sizeof *ret);
	if (!text || strlen(text) != SPAN_TRACEPARENT_SIZE - 1 || strncmp(text, "00-", 3) != 0 || text[35] != '-' || text[52] != '-')
		return false;
	if (!get_hex(text + 3, c.trace_id, 16) || !get_hex(text + 36, c.span_id, 8) || !get_hex(text + 53, &c.flags, 1))
		return false;
	if (!any(c.trace_id, 16) || !any(c.span_id, 8))
		return false;
	*ret = c;
	return true;
}
