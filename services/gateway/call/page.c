/* page.c - lists in pages: reading the cursor that was given, checking that its block still stands, writing the next one. */
#include "call/page.h"

#include "call/cursor_keys.h"
#include "write/present.h"

#include "base/clock.h"

#include <nettle/sha2.h>
#include <ctype.h>
#include <string.h>

#define LINE_MAX_BLOCKS 20000 /* of a branch that is followed down to where it left the ledger's */

/* ---- what a cursor belongs to ---------------------------------------------------------------------------------------------------------- */

static void add_text(struct sha256_ctx *sha, const char *text)
{
	uint8_t c[2] = { 0 };
	for (; text && *text; text++) {
		c[0] = (uint8_t)tolower((unsigned char)*text); /* addresses are the same in either case */
		sha256_update(sha, 1, c);
	}
	sha256_update(sha, 1, c + 1);
}

/* Path and filters: all that says which list it is, and not how much of it is shown. */
static uint32_t list_tag(const struct call *call)
{
	struct sha256_ctx sha;
	uint8_t digest[4];
	const struct target *target = &call->request->target;
	sha256_init(&sha);
	for (size_t i = 0; i < target->segment_count; i++)
		add_text(&sha, target->segments[i]);
	for (size_t i = 0; i < PARAMETERS_MAX && call->route->parameters[i].name; i++) {
		const char *name = call->route->parameters[i].name;
		if (strcmp(name, "cursor") == 0 || strcmp(name, "limit") == 0 || !target_parameter(target, name))
			continue;
		add_text(&sha, name);
		add_text(&sha, target_parameter(target, name));
	}
	sha256_digest(&sha, sizeof digest, digest);
	return (uint32_t)digest[0] << 24 | (uint32_t)digest[1] << 16 | (uint32_t)digest[2] << 8 | digest[3];
}

static struct cursor_scope scope_of(const struct call *call, struct cursor_ring *ring)
{
	cursor_keys_ring(call->gateway->cursor_keys, ring);
	return (struct cursor_scope){ .ring = ring, .list = list_tag(call), .now_s = clock_wall_ms() / 1000 };
}

static bool refused(struct call *call, const struct error *err)
{
	return call_problem(call, 400, err->code == WEIR_TIMEOUT ? "cursor_expired" : "invalid_cursor", "%s", err->text);
}

bool page_cursor(struct call *call, enum cursor_kind kind, struct cursor *ret)
{
	struct error err = { 0 };
	struct cursor_ring ring;
	const char *text = call_text(call, "cursor");
	if (!text)
		return true;
	struct cursor_scope scope = scope_of(call, &ring);
	return cursor_parse(text, kind, &scope, ret, &err) == 0 || refused(call, &err);
}

bool page_cursor_text(struct call *call, char *ret, size_t max)
{
	struct error err = { 0 };
	struct cursor_ring ring;
	const char *text = call_text(call, "cursor");
	ret[0] = '\0';
	if (!text)
		return true;
	struct cursor_scope scope = scope_of(call, &ring);
	return cursor_parse_text(text, &scope, ret, max, &err) == 0 || refused(call, &err);
}

/* ---- writing --------------------------------------------------------------------------------------------------------------------------- */

void page_begin(struct call *call)
{
	put_object(call->out, NULL);
	put_array(call->out, "items");
}

size_t page_put_rows(struct call *call, const struct pg_result *r, size_t limit, page_put *put)
{
	size_t n = pg_rows(r), shown = n > limit ? limit : n;
	page_begin(call);
	for (size_t i = 0; i < shown; i++) {
		put_object(call->out, NULL);
		put(call->out, r, i);
		put_end(call->out, '}');
	}
	return shown;
}

void page_put_cursor(struct call *call, const char *key, const struct cursor *cursor)
{
	char text[CURSOR_TEXT_MAX];
	struct cursor_ring ring;
	if (cursor) {
		struct cursor_scope scope = scope_of(call, &ring);
		cursor_print(cursor, &scope, text);
	}
	put_text(call->out, key, cursor ? text : NULL);
}

void page_end(struct call *call, const struct cursor *next)
{
	put_end(call->out, ']');
	page_put_cursor(call, "next_cursor", next);
	put_end(call->out, '}');
}

void page_put_cursor_behind(struct call *call, const char *last)
{
	struct buf text = BUF_INIT(512);
	struct cursor_ring ring;
	if (last) {
		struct cursor_scope scope = scope_of(call, &ring);
		cursor_print_text(last, &scope, &text);
	}
	put_text(call->out, "next_cursor", last ? buf_str(&text) : NULL);
	buf_free(&text);
}

void page_end_behind(struct call *call, const char *last)
{
	put_end(call->out, ']');
	page_put_cursor_behind(call, last);
	put_end(call->out, '}');
}

/* ---- reorgs ---------------------------------------------------------------------------------------------------------------------------- */

void page_pin(struct cursor *cursor, int64_t height, struct bytes hash)
{
	cursor->pinned = height;
	memset(cursor->hash, 0, sizeof cursor->hash);
	memcpy(cursor->hash, hash.data, hash.size < sizeof cursor->hash ? hash.size : sizeof cursor->hash);
}

/* Down the branch that the pinned block was on, to the newest block that is still the ledger's. */
static const char *const ancestor_sql =
	"with recursive line(height, hash, parent_hash, n) as ("
	" select b.height, b.hash, b.parent_hash, 1 from weir_api.blocks b where b.chain = $1 and b.height = $2 and substring(b.hash for 8) = $3"
	" union"
	" select b.height, b.hash, b.parent_hash, l.n + 1 from line l join weir_api.blocks b on b.chain = $1 and b.height = l.height - 1"
	"  and b.hash = l.parent_hash where l.n < $4 and not exists"
	"  (select 1 from weir_api.blocks c where c.chain = $1 and c.height = l.height and c.canonical and c.hash = l.hash))"
	" select c.height, c.hash from line l join weir_api.blocks c on c.chain = $1 and c.height = l.height and c.canonical and c.hash = l.hash"
	" order by c.height desc limit 1";

bool page_reorged(struct call *call, const struct cursor *cursor, bool goes_up)
{
	struct pg_param p[4];
	struct pg_result *r = NULL;
	pg_i32(&p[0], atomic_load(&call->chain->id));
	pg_i64(&p[1], cursor->pinned);
	pg_bytea(&p[2], (struct bytes){ cursor->hash, sizeof cursor->hash });
	pg_i32(&p[3], LINE_MAX_BLOCKS);
	if (!call_query(call, "cursor_ancestor", ancestor_sql, p, 4, &r))
		return false;
	bool found = pg_rows(r) == 1;
	struct cursor again = *cursor;
	if (found) {
		again.height = pg_get_i64(r, 0, 0);
		again.ordinal = INT32_MAX;
		page_pin(&again, again.height, pg_get_bytes(r, 0, 1));
	}
	call_problem(call, 410, "cursor_reorged", found ? "a reorg took the block back that this cursor stands on: forget the items above the height "
							  "in begin_again, and go on from there" :
							  "the block that this cursor stands on is not in the ledger any more: list again from the start");
	call->out->size--; /* the problem goes on */
	put_object(call->out, "begin_again");
	if (found) {
		put_i64(call->out, "height", again.height);
		put_hex(call->out, "hash", pg_get_bytes(r, 0, 1));
	} else {
		put_null(call->out, "height");
		put_null(call->out, "hash");
	}
	page_put_cursor(call, "cursor", found && goes_up ? &again : NULL);
	put_end(call->out, '}');
	put_end(call->out, '}');
	pg_result_free(&r);
	return false;
}

bool page_stands(struct call *call, const struct cursor *cursor, bool goes_up)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	if (cursor->pinned < 0)
		return true;
	pg_i32(&p[0], atomic_load(&call->chain->id));
	pg_i64(&p[1], cursor->pinned);
	if (!call_query(call, "cursor_block", "select hash from weir_api.blocks where chain = $1 and height = $2 and canonical", p, 2, &r))
		return false;
	bool same = pg_rows(r) == 1 && memcmp(pg_get_bytes(r, 0, 0).data, cursor->hash, sizeof cursor->hash) == 0;
	pg_result_free(&r);
	return same || page_reorged(call, cursor, goes_up);
}
