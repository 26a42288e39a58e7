/* rest_entries.c - entries as all lists of them show them, and GET …/entries: those of a whole chain. */
#include "rest/rest.h"

#include <string.h>

size_t put_entries(struct call *call, const struct pg_result *r, size_t limit, struct cursor *behind)
{
	size_t n = pg_rows(r), shown = n > limit ? limit : n;
	for (size_t i = 0; i < shown; i++) {
		struct chain_asset asset;
		struct entry_view entry;
		entry_from_row(r, i, 0, &asset, &entry);
		put_object(call->out, NULL);
		put_entry_members(call->out, &call->chain->chain, &entry);
		put_end(call->out, '}');
		if (!behind)
			continue;
		behind->height = entry.height;
		behind->ordinal = entry.ordinal;
		if (entry.block_hash.size > 0) /* openings lie in no block */
			page_pin(behind, entry.height, entry.block_hash);
	}
	return shown;
}

void put_entry_page(struct call *call, const struct pg_result *r, size_t limit, struct cursor *cursor)
{
	page_begin(call);
	bool more = pg_rows(r) > put_entries(call, r, limit, cursor);
	page_end(call, more ? cursor : NULL);
}

/* ---- a chain's ---------------------------------------------------------------------------------------------------------------------------- */

/* What a page of a chain's entries may look at: no index has them by asset or kind. A page that found fewer than `limit` tells where to go on. */
#define SCAN_ENTRIES 50000
#define SCAN_BLOCKS 10000

/* The blocks that a page looks at: their last one. */
struct scan {
	int64_t from, last;
	uint8_t hash[32];
	bool whole; /* nothing is asked for above it */
};

/* False: answered, or there is none (ret->last < from). */
static bool choose_blocks(struct call *call, int64_t from, int64_t to, struct scan *ret)
{
	struct pg_param p[5];
	struct pg_result *r = NULL;
	*ret = (struct scan){ .from = from, .last = -1, .whole = true };
	pg_i32(&p[0], atomic_load(&call->chain->id));
	pg_i64(&p[1], from);
	pg_i64(&p[2], to);
	pg_i64(&p[3], SCAN_BLOCKS);
	pg_i64(&p[4], SCAN_ENTRIES);
	if (!call_query(call, "entries_blocks",
			"select w.height, w.hash, w.height = $3 or not exists (select from weir_api.blocks n where n.chain = $1 and n.canonical and n.height = w.height + 1)"
			" from (select height, hash, sum(entry_count) over (order by height) - entry_count as before from (select height, hash, entry_count"
			"   from weir_api.blocks where chain = $1 and canonical and height >= $2 and height <= $3 order by height limit $4) b) w"
			" where w.before < $5 order by w.height desc limit 1",
			p, 5, &r))
		return false;
	if (pg_rows(r) > 0) {
		struct bytes hash = pg_get_bytes(r, 0, 1);
		ret->last = pg_get_i64(r, 0, 0);
		memcpy(ret->hash, hash.data, hash.size < sizeof ret->hash ? hash.size : sizeof ret->hash);
		ret->whole = pg_get_bool(r, 0, 2);
	}
	pg_result_free(&r);
	return true;
}

/* The first height that is not behind the cursor. */
static int64_t height_to_look_at(const struct cursor *cursor, int64_t from)
{
	int64_t next = cursor->ordinal == INT32_MAX ? cursor->height + 1 : cursor->height;
	return next > from ? next : from;
}

/* Openings lie in no block and come when their account does: they are in its own list. */
static const char *const chain_sql =
	"select " ENTRY_COLUMNS " from (select e.* from weir_api.entries e join weir_api.blocks c on c.chain = e.chain and c.height = e.height"
	" and c.branch = e.branch and c.canonical where e.chain = $1 and e.height between $2 and $3 and (e.height > $2 or e.ordinal > $4)"
	" and ($5 = 0 or e.kind = $5) and ($6 = 0 or e.asset = $6) and e.kind not in (14, 15) order by e.height, e.ordinal limit $7) e" ENTRY_JOINS
	" order by e.height, e.ordinal";

void rest_entries(struct call *call)
{
	int64_t limit = call_number(call, "limit", LIMIT_DEFAULT), from = 0, to = 0;
	struct cursor cursor = { .kind = CURSOR_ENTRIES, .height = -1, .ordinal = -1, .pinned = -1, .as_of = -1 };
	const char *asset_given = call_text(call, "asset");
	struct chain_asset asset;
	int32_t asset_id = 0;
	int kind = 0;
	struct scan scan;
	struct pg_param p[7];
	struct pg_result *r = NULL;
	if (!page_cursor(call, CURSOR_ENTRIES, &cursor) || !call_chain(call) || !call_begin(call) || !page_stands(call, &cursor, true) || !read_kind(call, &kind) ||
	    !read_range(call, &from, &to) || (asset_given && (!read_asset(call, asset_given, &asset) || !find_asset(call, &asset, &asset_id))) ||
	    !choose_blocks(call, height_to_look_at(&cursor, from), to, &scan))
		return;
	if (scan.last < 0 || (asset_given && asset_id == 0)) {
		page_begin(call);
		page_end(call, NULL);
		return;
	}
	pg_i32(&p[0], atomic_load(&call->chain->id));
	pg_i64(&p[1], scan.from);
	pg_i64(&p[2], scan.last);
	pg_i32(&p[3], cursor.height == scan.from ? cursor.ordinal : -1);
	pg_i32(&p[4], kind);
	pg_i32(&p[5], asset_id);
	pg_i64(&p[6], limit + 1);
	if (!call_query(call, "entries", chain_sql, p, 7, &r))
		return;
	page_begin(call);
	bool more = pg_rows(r) > put_entries(call, r, (size_t)limit, &cursor);
	if (!more && !scan.whole) { /* all of what was looked at: the next page begins above it */
		cursor.height = scan.last;
		cursor.ordinal = INT32_MAX;
		page_pin(&cursor, scan.last, (struct bytes){ scan.hash, sizeof scan.hash });
	}
	page_end(call, more || !scan.whole ? &cursor : NULL);
	pg_result_free(&r);
}
