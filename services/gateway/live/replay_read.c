/* replay_read.c - journal rows and the entries that they speak of, as pushes of one subscription. */
#include "live/replay_internal.h"

#include <stdio.h>
#include <string.h>

#define ROWS_MAX 256       /* journal rows in one piece */
#define ENTRIES_MAX 4000   /* entries in one piece; more of one event are a further piece */
#define ACCOUNT_ENTRIES_MAX 20000 /* the same of one account, unless a single event has more: those of a block are rendered together */

#define APPLIED WEIR__V1__LEDGER_EVENT__EVENT_BLOCK_APPLIED
#define RETRACTED WEIR__V1__LEDGER_EVENT__EVENT_BLOCK_RETRACTED
#define OPENINGS WEIR__V1__LEDGER_EVENT__EVENT_OPENINGS_RECORDED

struct piece {
	struct replay_job *job;
	struct event *events[ROWS_MAX];
	bool wanted[ROWS_MAX]; /* its entries are asked for */
	size_t count;
	struct pg_result *entries;
	size_t entry, entry_count; /* cursor over the rows of entries */
	bool cut;                  /* entries hit their limit: the last event may be incomplete */
	uint64_t cut_at;           /* … whose sequence is this; UINT64_MAX: none is */
};

void replay_add_push(struct replay_job *job, const struct buf *text, const struct offset *at)
{
	if (job->count == job->capacity) {
		job->capacity = job->capacity ? job->capacity * 2 : 64;
		job->pushes = xrealloc(job->pushes, job->capacity, sizeof *job->pushes);
	}
	job->pushes[job->count++] = (struct push){ .tail = tail_new(text), .at = *at };
}

static void add_push(struct replay_job *job, const struct buf *text, const struct event *event, int64_t index)
{
	replay_add_push(job, text, &(struct offset){ .sequence = event->sequence, .print = event->print, .index = index });
}

/* ---- which events, and which of their entries -------------------------------------------------------------------------------------------- */

/* A block applied before the subscription began, or below its height, was never given: neither is its retraction. */
static bool was_given(const struct replay_job *job, const struct event *event, uint64_t applied_sequence)
{
	return applied_sequence > job->offset.given_after && event->height >= job->offset.min_height;
}

static bool wants_entries(const struct replay_job *job, const struct event *event, uint64_t applied_sequence)
{
	if (!topic_has_entries(job->topic) && job->topic != TOPIC_OF_ACCOUNTS)
		return false;
	if (event->height < job->offset.min_height)
		return false;
	switch (event->kind) {
	case APPLIED:
		return event->message->block_applied->entry_count > 0;
	case RETRACTED:
		return event->message->block_retracted->entry_count > 0 && was_given(job, event, applied_sequence);
	case OPENINGS:
		return event->message->openings_recorded->count > 0;
	default:
		return false;
	}
}

static int read_events(struct piece *piece, struct pg *pg, uint64_t *applied, struct error *err)
{
	const struct replay_job *job = piece->job;
	struct pg_param p[3];
	struct pg_result *r = NULL;
	pg_i32(&p[0], atomic_load(&job->chain->id));
	/* What the subscription stands behind is read again: it may have been given in part, and must be the event that was given. */
	pg_i64(&p[1], (int64_t)job->offset.sequence - 1);
	pg_i64(&p[2], ROWS_MAX);
	int code = pg_prepared(pg, "replay_rows",
			       "select j.body, case when j.kind = 5 then (select a.sequence from weir_api.journal a where a.chain = j.chain"
			       "  and a.height = j.height and a.branch = j.branch and a.kind = 4 limit 1) end"
			       " from weir_api.journal j where j.chain = $1 and j.sequence > $2 order by j.sequence limit $3",
			       p, 3, &r, err);
	for (size_t i = 0; !code && i < pg_rows(r); i++) {
		struct event *event = NULL;
		const size_t at = piece->count;
		code = event_read(&job->chain->chain, pg_get_bytes(r, i, 0), &event, err);
		bool stands_there = !code && event->sequence == job->offset.sequence;
		if (stands_there && job->offset.print && event->print != job->offset.print)
			code = error_set(err, WEIR_NOT_FOUND, "the ledger was restored or made anew");
		if (code || (stands_there && job->offset.index < 0)) {
			event_drop(&event);
			continue;
		}
		piece->events[at] = event;
		/* Unknown: a journal that was cut; better to retract what was never given than not to. */
		applied[at] = pg_is_null(r, i, 1) ? UINT64_MAX : (uint64_t)pg_get_i64(r, i, 1);
		piece->count++;
		piece->wanted[at] = wants_entries(job, event, applied[at]);
	}
	pg_result_free(&r);
	return code;
}

static void event_window(const struct event *event, int32_t *ret_first, int32_t *ret_last)
{
	if (event->kind == OPENINGS) {
		*ret_first = (int32_t)event->message->openings_recorded->first_ordinal;
		*ret_last = *ret_first + (int32_t)event->message->openings_recorded->count - 1;
		return;
	}
	*ret_first = 0; /* reversals lie behind */
	*ret_last = (int32_t)(event->kind == APPLIED ? event->message->block_applied->entry_count : event->message->block_retracted->entry_count) - 1;
}

/* … behind what was given already. */
static void wanted_window(const struct replay_job *job, const struct event *event, int32_t *ret_first, int32_t *ret_last)
{
	event_window(event, ret_first, ret_last);
	if (event->sequence == job->offset.sequence && job->offset.index >= *ret_first)
		*ret_first = (int32_t)job->offset.index + 1;
}

/* Of those whose account belonged to the list for the event that applied the block. */
static const char *const watched_sql =
	"with e as (select w.seq, e.* from unnest($2::int8[], $3::int8[], $4::int4[], $5::int4[], $6::int4[], $7::int8[]) w(seq, height, branch, lo, hi, applied)"
	" cross join lateral (select e.* from weir_api.entries e join weir_api.accounts c on c.id = e.account"
	"   where e.chain = $1 and e.height = w.height and e.branch = w.branch and e.ordinal between w.lo and w.hi"
	"   and exists (select from weir_watch.addresses x join weir_watch.changes f on f.id = x.added left join weir_watch.changes t on t.id = x.removed"
	"     where x.list = $12 and x.address = c.address and f.sequence < w.applied and (x.removed is null or w.applied <= t.sequence))"
	"   and ($8::bytea is null or e.asset = (select id from weir_api.assets where chain = $1 and contract = $8 and coalesce(token_id, -1) = $9::numeric))"
	"   and ($11 = 0 or e.kind = $11)"
	"   order by e.ordinal) e order by w.seq, e.ordinal limit $10)"
	" select e.seq, " ENTRY_COLUMNS " from e" ENTRY_JOINS " order by e.seq, e.ordinal";

static const char *const entries_sql =
	"with e as (select w.seq, e.* from unnest($2::int8[], $3::int8[], $4::int4[], $5::int4[], $6::int4[]) w(seq, height, branch, lo, hi)"
	" cross join lateral (select * from weir_api.entries e where e.chain = $1 and e.height = w.height and e.branch = w.branch"
	"   and e.ordinal between w.lo and w.hi"
	"   and ($7::bytea is null or e.account = (select id from weir_api.accounts where chain = $1 and address = $7))"
	"   and ($8::bytea is null or e.asset = (select id from weir_api.assets where chain = $1 and contract = $8 and coalesce(token_id, -1) = $9::numeric))"
	"   and ($11 = 0 or e.kind = $11)"
	"   order by e.ordinal) e order by w.seq, e.ordinal limit $10)"
	" select e.seq, " ENTRY_COLUMNS " from e" ENTRY_JOINS " order by e.seq, e.ordinal";

/* All entries of all events are wanted: then it is known how many they are, and the piece ends with the event that fills it. PostgreSQL would look up the entries of
 * those behind it, too, before it leaves them out. */
static void end_when_full(struct piece *piece)
{
	const struct replay_job *job = piece->job;
	int64_t entries = 0;
	if (job->filter.has_account || job->filter.has_asset || job->filter.watchlist || job->filter.kind)
		return;
	for (size_t i = 0; i < piece->count; i++) {
		int32_t first, last;
		if (!piece->wanted[i])
			continue;
		wanted_window(job, piece->events[i], &first, &last);
		entries += last - first + 1;
		if (entries >= ENTRIES_MAX)
			piece->count = i + 1;
	}
}

static int read_entries(struct piece *piece, struct pg *pg, const uint64_t *applied, struct error *err)
{
	const struct replay_job *job = piece->job;
	const struct filter *f = &job->filter;
	struct buf out = BUF_INIT((size_t)1 << 20);
	struct pg_array a[6];
	struct pg_param p[12];
	char token[U256_DEC_MAX];
	static const uint8_t none[1];
	int64_t limit = job->topic == TOPIC_OF_ACCOUNTS ? ACCOUNT_ENTRIES_MAX : ENTRIES_MAX, most = 0;
	const uint32_t types[6] = { 20, 20, 23, 23, 23, 20 };
	const int columns = f->watchlist ? 6 : 5;
	size_t n = 0;
	for (int c = 0; c < columns; c++) {
		pg_array_begin(&a[c], &out, types[c]);
		for (size_t i = 0; i < piece->count; i++) {
			const struct event *event = piece->events[i];
			int32_t first, last;
			if (!piece->wanted[i])
				continue;
			wanted_window(job, event, &first, &last);
			n += c == 0;
			most = last - first + 1 > most ? last - first + 1 : most;
			if (c < 2)
				pg_array_i64(&a[c], c == 0 ? (int64_t)event->sequence : event->height);
			else if (c == 5) /* unknown only where the journal was cut: as if it belonged to the list then as now */
				pg_array_i64(&a[c], (int64_t)(event->kind == RETRACTED && applied[i] != UINT64_MAX ? applied[i] : event->sequence));
			else
				pg_array_i32(&a[c], c == 2 ? event->branch : c == 3 ? first : last);
		}
	}
	pg_i32(&p[0], atomic_load(&job->chain->id));
	for (int c = 0; c < columns; c++)
		pg_array_finish(&a[c], &p[1 + c]);
	u256_to_dec(f->asset.token_id, token);
	if (!f->watchlist)
		pg_bytea(&p[6], f->has_account ? (struct bytes){ f->account, f->account_size } : (struct bytes){ NULL, 0 });
	pg_bytea(&p[7], f->has_asset ? (struct bytes){ f->asset.contract_size ? f->asset.contract : none, f->asset.contract_size } : (struct bytes){ NULL, 0 });
	pg_text(&p[8], f->asset.has_token_id ? token : "-1");
	if (job->topic == TOPIC_OF_ACCOUNTS && limit <= most)
		limit = most + 1; /* no event is cut: its entries are rendered together */
	pg_i64(&p[9], limit);
	pg_i32(&p[10], f->kind);
	pg_i64(&p[11], f->watchlist);
	int code = n == 0	? 0 :
		   f->watchlist ? pg_prepared(pg, "replay_watched", watched_sql, p, 12, &piece->entries, err) :
				  pg_prepared(pg, "replay_entries", entries_sql, p, 11, &piece->entries, err);
	piece->entry_count = !code && n > 0 ? pg_rows(piece->entries) : 0;
	piece->cut = piece->entry_count == (size_t)limit;
	buf_free(&out);
	return code;
}

/* ---- pushes ---------------------------------------------------------------------------------------------------------------------------------- */

/* Rows of entries that belong to the event: [*ret_first, return value). */
static size_t rows_of(struct piece *piece, const struct event *event, size_t *ret_first)
{
	*ret_first = piece->entry;
	while (piece->entry < piece->entry_count && (uint64_t)pg_get_i64(piece->entries, piece->entry, 0) == event->sequence)
		piece->entry++;
	return piece->entry;
}

static void read_row(const struct piece *piece, size_t row, struct item *ret)
{
	struct entry_view view;
	entry_from_row(piece->entries, row, 1, &ret->asset, &view);
	ret->ordinal = view.ordinal;
	ret->account = view.account;
	ret->kind = view.kind;
	ret->delta = view.delta;
	ret->balance = view.balance;
	ret->path = view.path;
	ret->transaction_hash = view.transaction_hash;
}

static void push_entries(struct piece *piece, const struct event *event, size_t first, size_t end, struct buf *text)
{
	for (size_t i = first; i < end; i++) {
		struct item item = { 0 };
		read_row(piece, i, &item);
		buf_reset(text);
		render_item(&piece->job->chain->chain, event, &item, text);
		add_push(piece->job, text, event, item.ordinal);
	}
}

static void push_retracted_entries(struct piece *piece, const struct event *event, size_t first, size_t end, struct buf *text)
{
	uint8_t ids[RETRACTED_IDS_MAX * EVENT_ID_SIZE];
	for (size_t i = first; i < end;) {
		size_t n = 0;
		int32_t last = 0;
		for (; i < end && n < RETRACTED_IDS_MAX; i++) {
			struct item item = { 0 };
			read_row(piece, i, &item);
			entry_id(piece->job->chain->chain.name, item.kind, (struct bytes){ event->hash, 32 }, item.ordinal, ids + n++ * EVENT_ID_SIZE);
			last = item.ordinal;
		}
		buf_reset(text);
		render_retracted(&piece->job->chain->chain, event->height, event->hash, ids, n, text);
		add_push(piece->job, text, event, last);
	}
}

static void push_account(struct piece *piece, const struct event *event, size_t first, size_t end, struct buf *text)
{
	const struct filter *f = &piece->job->filter;
	const struct bytes account = { f->account, f->account_size };
	const struct chain *chain = &piece->job->chain->chain;
	uint8_t id[EVENT_ID_SIZE];
	if (first == end)
		return;
	account_event_id(chain->name, (struct bytes){ event->hash, 32 }, account, event->kind == OPENINGS ? event->sequence : 0, id);
	buf_reset(text);
	struct item *items = xcalloc(end - first, sizeof *items);
	for (size_t i = first; i < end; i++)
		read_row(piece, i, &items[i - first]);
	if (event->kind == RETRACTED)
		render_account_retracted(chain, event, account, items, end - first, id, text);
	else
		render_account(chain, event, account, items, end - first, id, text);
	free(items);
	add_push(piece->job, text, event, -1);
}

static void push_block(struct piece *piece, const struct event *event, uint64_t applied, struct buf *text)
{
	const struct chain *chain = &piece->job->chain->chain;
	uint8_t id[EVENT_ID_SIZE];
	buf_reset(text);
	if (event->kind == APPLIED && event->height >= piece->job->offset.min_height) {
		render_block(chain, event, text);
	} else if (event->kind == RETRACTED && was_given(piece->job, event, applied)) {
		block_id(chain->name, (struct bytes){ event->hash, 32 }, id);
		render_retracted(chain, event->height, event->hash, id, 1, text);
	} else if (event->kind == WEIR__V1__LEDGER_EVENT__EVENT_FINALITY_PROMOTED) {
		render_status(chain, event, text);
	}
	if (text->size > 0)
		add_push(piece->job, text, event, -1);
}

/* As TOPIC_OF_LEDGER says whose it is and where it stands. */
static void mark(const struct piece *piece, int64_t place, struct bytes account)
{
	struct push *push = &piece->job->pushes[piece->job->count - 1];
	push->place = place;
	push->account_size = (uint8_t)(account.size <= sizeof push->account ? account.size : 0);
	if (push->account_size > 0)
		memcpy(push->account, account.data, push->account_size);
}

/* An entry, or that it is taken back: each has a push of its own in both directions. */
static void push_ledger_entry(const struct piece *piece, const struct event *event, const struct item *item, struct buf *text)
{
	const struct chain *chain = &piece->job->chain->chain;
	buf_reset(text);
	if (event->kind == RETRACTED)
		render_entry_retracted(chain, event, item, text);
	else
		render_item(chain, event, item, text);
	add_push(piece->job, text, event, item->ordinal);
	mark(piece, item->ordinal, item->account);
}

static int64_t entries_of(const struct event *event)
{
	if (event->kind == APPLIED)
		return event->message->block_applied->entry_count;
	return event->kind == RETRACTED ? (int64_t)event->message->block_retracted->entry_count : 0;
}

/* Everything that the event says: its entries, then itself, once they are all there. */
static void push_ledger(struct piece *piece, size_t i, uint64_t applied, struct buf *text)
{
	const struct event *event = piece->events[i];
	size_t row = 0, count, end = piece->wanted[i] ? rows_of(piece, event, &row) : 0;
	for (; row < end; row++) {
		struct item item = { 0 };
		read_row(piece, row, &item);
		push_ledger_entry(piece, event, &item, text);
	}
	if (event->sequence == piece->cut_at)
		return;
	count = piece->job->count;
	if (event->kind == APPLIED || event->kind == RETRACTED) {
		push_block(piece, event, applied, text);
	} else {
		buf_reset(text);
		render_status(&piece->job->chain->chain, event, text);
		if (text->size > 0)
			add_push(piece->job, text, event, -1);
	}
	if (piece->job->count > count)
		mark(piece, entries_of(event), (struct bytes){ NULL, 0 });
}

static void push_event(struct piece *piece, size_t i, uint64_t applied, struct buf *text)
{
	const struct event *event = piece->events[i];
	size_t first = 0, end = 0;
	bool began_before = event->sequence == piece->job->offset.sequence;
#ifdef WEIR_MUTANT_NO_RETRACTION
	if (event->kind == RETRACTED)
		return;
#endif
	if (piece->job->finality && event->kind == WEIR__V1__LEDGER_EVENT__EVENT_FINALITY_PROMOTED && !began_before) {
		buf_reset(text);
		render_status(&piece->job->chain->chain, event, text);
		add_push(piece->job, text, event, -1);
		return;
	}
	switch (piece->job->topic) {
	case TOPIC_OF_BLOCKS:
		if (!began_before)
			push_block(piece, event, applied, text);
		return;
	case TOPIC_OF_STATUS:
		buf_reset(text);
		render_status(&piece->job->chain->chain, event, text);
		if (text->size > 0 && !began_before)
			add_push(piece->job, text, event, -1);
		return;
	case TOPIC_OF_ENTRIES:
	case TOPIC_OF_WATCHLIST:
		if (!piece->wanted[i])
			return;
		end = rows_of(piece, event, &first);
		if (event->kind == RETRACTED)
			push_retracted_entries(piece, event, first, end, text);
		else
			push_entries(piece, event, first, end, text);
		return;
	case TOPIC_OF_ACCOUNTS:
		if (!piece->wanted[i])
			return;
		end = rows_of(piece, event, &first);
		push_account(piece, event, first, end, text);
		return;
	case TOPIC_OF_LEDGER:
		push_ledger(piece, i, applied, text);
		return;
	case TOPIC_OF_LETTERS: /* are not in the journal */
		return;
	}
}

/* Where the piece ends: behind its last event, or inside the event whose entries were cut off. */
static void push_all(struct piece *piece, const uint64_t *applied)
{
	struct replay_job *job = piece->job;
	struct buf text = BUF_INIT((size_t)16 << 20);
	struct offset end = job->offset;
	const uint64_t cut_at = piece->cut ? (uint64_t)pg_get_i64(piece->entries, piece->entry_count - 1, 0) : UINT64_MAX;
	piece->cut_at = cut_at;
	uint64_t first_cut = piece->cut ? (uint64_t)pg_get_i64(piece->entries, 0, 0) : 0;
	for (size_t i = 0; i < piece->count && piece->events[i]->sequence <= cut_at; i++) {
		uint64_t sequence = piece->events[i]->sequence;
		/* An account's block is pushed whole: the next piece begins with it. */
		if (sequence == cut_at && job->topic == TOPIC_OF_ACCOUNTS && first_cut != cut_at)
			break;
		push_event(piece, i, applied[i], &text);
		end.sequence = sequence;
		end.print = piece->events[i]->print;
		end.index = -1;
		if (sequence == cut_at && topic_has_entries(job->topic))
			end.index = pg_get_i64(piece->entries, piece->entry_count - 1, 2);
	}
	job->offset = end;
	buf_free(&text);
}

int replay_read(struct replay_job *job, struct pg *pg, struct error *err)
{
	struct piece *piece = xmalloc(sizeof *piece);
	uint64_t *applied = xcalloc(ROWS_MAX, sizeof *applied);
	piece->job = job;
	int code = read_events(piece, pg, applied, err);
	if (!code) {
		end_when_full(piece);
		code = read_entries(piece, pg, applied, err);
	}
	if (!code)
		push_all(piece, applied);
	for (size_t i = 0; i < ROWS_MAX; i++)
		event_drop(&piece->events[i]);
	pg_result_free(&piece->entries);
	free(applied);
	free(piece);
	return code;
}
