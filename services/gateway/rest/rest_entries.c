/* rest_entries.c - entries as all lists of them show them. */
#include "rest/rest.h"

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
