/* gap.c - blocks that are missing or not proven: durable rows, asked for again with patience, elsewhere, until they are applied. */
#include "follow.h"

#include "base/clock.h"

#include "weir/v1/control.pb-c.h"

#include "weir/streams.h"

#include <stdio.h>
#include <string.h>

#define RETRY_MAX_MS 60000
#define QUARANTINE_ATTEMPTS 12
#define QUARANTINE_RETRY_MS 300000
#define REFETCH_SPAN 64   /* heights in one command */
#define HOLES_MAX 16      /* gaps opened at once */
#define DETAIL_MAX 600

/* ---- commands to the fetcher ------------------------------------------------------------------------------------------------------- */

int follow_refetch(struct follow *f, const struct gap *gap, const uint8_t *hash, bool lied, const char *reason, struct error *err)
{
	union {
		const char *in;
		char *out;
	} words[3] = { { .in = f->chain->name }, { .in = "reconciler" }, { .in = reason } };
	Weir__V1__Command command;
	Weir__V1__Refetch refetch;
	char *excluded[GAP_EXCLUDES_MAX];
	uint8_t pinned[32], body[2048];
	char id[33];
	weir__v1__command__init(&command);
	weir__v1__refetch__init(&refetch);
	int64_t from = gap->from > f->ledger->watermark || hash ? gap->from : f->ledger->watermark + 1;
	int64_t to = gap->to < from + REFETCH_SPAN - 1 ? gap->to : from + REFETCH_SPAN - 1;
	refetch.from_height = (uint64_t)from;
	refetch.to_height = (uint64_t)to;
	refetch.attempt = gap->attempts;
	refetch.reason = words[2].out;
	if (hash) {
		memcpy(pinned, hash, 32);
		refetch.hash = (ProtobufCBinaryData){ 32, pinned };
	}
	union {
		const struct gap *in;
		struct gap *out;
	} g = { .in = gap };
	for (size_t i = 0; i < gap->exclude_count; i++)
		excluded[i] = g.out->exclude[i];
	refetch.n_exclude_endpoints = gap->exclude_count;
	refetch.exclude_endpoints = excluded;
	refetch.excluded_lied = lied;
	struct frame frame = { .type = MESSAGE_COMMAND, .schema_version = 1, .created_unix_ms = (uint64_t)clock_wall_ms() };
	uint64_t random[2] = { random_u64(), random_u64() };
	memcpy(frame.event_id, random, 16);
	snprintf(id, sizeof id, "%016llx%016llx", (unsigned long long)random[0], (unsigned long long)random[1]);
	command.chain = words[0].out;
	command.issuer = words[1].out;
	command.id = id;
	command.issued_at_unix_ms = frame.created_unix_ms;
	command.command_case = WEIR__V1__COMMAND__COMMAND_REFETCH;
	command.refetch = &refetch;
	if (weir__v1__command__get_packed_size(&command) > sizeof body)
		return error_set(err, WEIR_LIMIT, "a refetch command is too large");
	frame.body = (struct bytes){ body, weir__v1__command__pack(&command, body) };
	int code = bus_publish(f->commands, &frame, 1, err);
	if (!code)
		metric_inc(f->metrics.refetches);
	log_info(&f->log, "refetch", reason, LOG_I("from", from), LOG_I("to", to), LOG_U("attempt", gap->attempts), LOG_I("code", code));
	return code;
}

/* ---- rows ---------------------------------------------------------------------------------------------------------------------------- */

static void journal_gap(struct ledger *ledger, const struct gap *gap, bool open)
{
	Weir__V1__LedgerEvent event;
	Weir__V1__GapChanged changed;
	char reason[16];
	weir__v1__ledger_event__init(&event);
	weir__v1__gap_changed__init(&changed);
	snprintf(reason, sizeof reason, "%s", gap->reason);
	changed.from_height = (uint64_t)gap->from;
	changed.to_height = (uint64_t)gap->to;
	changed.open = open;
	changed.reason = reason;
	event.event_case = WEIR__V1__LEDGER_EVENT__EVENT_GAP_CHANGED;
	event.gap_changed = &changed;
	journal_add(&ledger->journal, &event, NULL, gap->from, 0);
}

static int insert_row(struct follow *f, struct gap *gap, const char *detail, struct error *err)
{
	struct ledger *ledger = f->ledger;
	struct pg_param p[5];
	struct pg_result *r = NULL;
	int code = ledger_begin(ledger, err);
	if (code)
		return code;
	pg_i32(&p[0], ledger->id);
	pg_i64(&p[1], gap->from);
	pg_i64(&p[2], gap->to);
	pg_text(&p[3], gap->reason);
	pg_text(&p[4], detail);
	code = pg_query(ledger->pg, "insert into weir.gaps (chain, from_height, to_height, reason, detail) values ($1, $2, $3, $4, $5) returning id", p, 5, &r,
			err);
	if (!code) {
		gap->id = pg_get_i64(r, 0, 0);
		journal_gap(ledger, gap, true);
		code = ledger_commit(ledger, err);
	}
	pg_result_free(&r);
	if (code) {
		ledger_abort(ledger);
		f->stale = true;
		return code;
	}
	ledger->open_gaps++;
	return 0;
}

static int update_row(struct follow *f, const struct gap *gap, const char *detail, struct error *err)
{
	struct pg_param p[4];
	pg_i64(&p[0], gap->id);
	pg_text(&p[1], gap->reason);
	pg_i32(&p[2], (int32_t)gap->attempts);
	pg_text(&p[3], detail);
	return pg_query(f->ledger->pg, "update weir.gaps set reason = $2, attempts = $3, detail = coalesce($4, detail) where id = $1", p, 4, NULL, err);
}

int gaps_load(struct follow *f, struct error *err)
{
	struct pg_param p;
	struct pg_result *r = NULL;
	int code = pg_query(f->ledger->pg,
			    "select id, from_height, to_height, reason, attempts from weir.gaps where chain = $1 and closed_at is null"
			    " order by from_height limit 256",
			    pg_i32(&p, f->ledger->id), 1, &r, err);
	f->gap_count = 0;
	for (size_t i = 0; !code && i < pg_rows(r) && i < GAPS_MAX; i++) {
		struct gap *gap = &f->gaps[f->gap_count++];
		*gap = (struct gap){ .id = pg_get_i64(r, i, 0), .from = pg_get_i64(r, i, 1), .to = pg_get_i64(r, i, 2) };
		snprintf(gap->reason, sizeof gap->reason, "%s", pg_get_text(r, i, 3));
		gap->attempts = (unsigned)pg_get_i64(r, i, 4);
		gap->next_ms = clock_mono_ms() + f->config->reconciler.missing_after_ms;
	}
	pg_result_free(&r);
	metric_set(f->metrics.gaps, (double)f->gap_count);
	return code;
}

static void alert_quarantine(struct follow *f, const struct gap *gap, enum alert_state state)
{
	char key[96];
	snprintf(key, sizeof key, "gap %s %lld", f->chain->name, (long long)gap->from);
	if (state == ALERT_FIRING)
		alert_raise(f->ctx, key, state, "gap",
			    "chain %s: blocks %lld to %lld could not be had in %u attempts (%s); the ledger waits below them and keeps asking",
			    f->chain->name, (long long)gap->from, (long long)gap->to, gap->attempts, gap->reason);
	else
		alert_raise(f->ctx, key, state, "gap", "chain %s: blocks %lld to %lld arrived", f->chain->name, (long long)gap->from,
			    (long long)gap->to);
}

void gaps_forget_to(struct follow *f, int64_t watermark)
{
	size_t kept = 0;
	for (size_t i = 0; i < f->gap_count; i++) {
		if (f->gaps[i].to > watermark) {
			f->gaps[kept++] = f->gaps[i];
			continue;
		}
		if (strcmp(f->gaps[i].reason, "quarantined") == 0)
			alert_quarantine(f, &f->gaps[i], ALERT_RESOLVED);
		log_info(&f->log, "gap_closed", NULL, LOG_I("from", f->gaps[i].from), LOG_I("to", f->gaps[i].to));
	}
	f->gap_count = kept;
	metric_set(f->metrics.gaps, (double)kept);
}

static struct gap *gap_at(struct follow *f, int64_t height)
{
	for (size_t i = 0; i < f->gap_count; i++)
		if (f->gaps[i].from <= height && height <= f->gaps[i].to)
			return &f->gaps[i];
	return NULL;
}

/* Delay before attempt n: doubling from missing_after, bounded; slow once quarantined. */
static int64_t delay_of(const struct follow *f, const struct gap *gap)
{
	if (gap->attempts >= QUARANTINE_ATTEMPTS)
		return QUARANTINE_RETRY_MS;
	int64_t delay = f->config->reconciler.missing_after_ms;
	for (unsigned i = 1; i < gap->attempts && delay < RETRY_MAX_MS; i++)
		delay *= 2;
	return delay < RETRY_MAX_MS ? delay : RETRY_MAX_MS;
}

/* Asks for the gap's blocks and plans the next attempt. */
static int try_again(struct follow *f, struct gap *gap, const char *detail, struct error *err)
{
	gap->attempts++;
	if (gap->attempts == QUARANTINE_ATTEMPTS) {
		snprintf(gap->reason, sizeof gap->reason, "quarantined");
		alert_quarantine(f, gap, ALERT_FIRING);
	}
	/* Every endpoint was refused once: all deserve another chance. */
	if (gap->exclude_count >= f->settings->endpoint_count)
		gap->exclude_count = 0;
	gap->next_ms = clock_mono_ms() + delay_of(f, gap);
	int code = update_row(f, gap, detail, err);
	return code ? code : follow_refetch(f, gap, NULL, gap->named, gap->reason, err);
}

static int open_gap(struct follow *f, int64_t from, int64_t to, const char *reason, const char *detail, struct gap **ret, struct error *err)
{
	*ret = NULL;
	if (f->gap_count == GAPS_MAX) /* the lowest ones are there; others follow as these close */
		return 0;
	struct gap gap = { .from = from, .to = to };
	snprintf(gap.reason, sizeof gap.reason, "%s", reason);
	int code = insert_row(f, &gap, detail, err);
	if (code)
		return code;
	log_warn(&f->log, "gap_opened", detail, LOG_I("from", from), LOG_I("to", to), LOG_S("reason", reason));
	f->gaps[f->gap_count] = gap;
	*ret = &f->gaps[f->gap_count++];
	metric_set(f->metrics.gaps, (double)f->gap_count);
	return 0;
}

/* ---- unproven and undecodable blocks ----------------------------------------------------------------------------------------------------- */

static void add_exclude(struct gap *gap, const char *name)
{
	if (!name || !name[0] || gap->exclude_count == GAP_EXCLUDES_MAX)
		return;
	for (size_t i = 0; i < gap->exclude_count; i++)
		if (strcmp(gap->exclude[i], name) == 0)
			return;
	snprintf(gap->exclude[gap->exclude_count++], NAME_MAX_SIZE, "%s", name);
}

static const char *check_word(Weir__V1__CheckName name)
{
	const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(&weir__v1__check_name__descriptor, (int)name);
	return value ? value->name + strlen("CHECK_NAME_") : "unknown check";
}

int gap_unproven(struct follow *f, const struct block_facts *facts, const Weir__V1__NormalizedBlock *block, struct error *err)
{
	struct buf detail = BUF_INIT(DETAIL_MAX);
	const Weir__V1__Certificate *certificate = block->certificate;
	metric_inc(f->metrics.unproven);
	for (size_t i = 0; certificate && i < certificate->n_checks; i++)
		if (certificate->checks[i]->result == WEIR__V1__CHECK_RESULT__CHECK_RESULT_FAILED)
			buf_printf(&detail, "%s%s: %s (%s)", detail.size ? "; " : "", check_word(certificate->checks[i]->name),
				   certificate->checks[i]->detail, certificate->checks[i]->endpoint);
	struct gap *gap = gap_at(f, facts->height);
	int code = 0;
	bool fresh = gap == NULL;
	if (fresh)
		code = open_gap(f, facts->height, facts->height, "unproven", buf_str(&detail), &gap, err);
	if (!code && gap) {
		if (strcmp(gap->reason, "missing") == 0)
			snprintf(gap->reason, sizeof gap->reason, "unproven");
		bool named = false;
		for (size_t i = 0; certificate && i < certificate->n_checks; i++)
			if (certificate->checks[i]->result == WEIR__V1__CHECK_RESULT__CHECK_RESULT_FAILED && certificate->checks[i]->endpoint[0]) {
				add_exclude(gap, certificate->checks[i]->endpoint);
				gap->named = named = true;
			}
		for (size_t i = 0; !named && i < block->n_endpoints; i++)
			add_exclude(gap, block->endpoints[i]);
		/* The first time at once; later answers that fail again wait their turn. */
		if (fresh || gap->attempts < f->settings->endpoint_count)
			code = try_again(f, gap, buf_str(&detail), err);
		else
			code = update_row(f, gap, buf_str(&detail), err);
	}
	buf_free(&detail);
	return code;
}

int gap_dead_letter(struct follow *f, int64_t height, const char *why, struct error *err)
{
	struct gap *gap = gap_at(f, height);
	if (gap || height <= f->ledger->watermark)
		return 0;
	int code = open_gap(f, height, height, "dead_letter", why, &gap, err);
	return code || !gap ? code : try_again(f, gap, NULL, err);
}

/* ---- missing blocks ------------------------------------------------------------------------------------------------------------------------ */

static int open_missing(struct follow *f, int64_t from, int64_t to, struct error *err)
{
	struct gap *gap;
	char detail[120];
	snprintf(detail, sizeof detail, "nothing arrived for %lld ms while the chain is at %lld", (long long)(clock_mono_ms() - f->progress_ms),
		 (long long)f->ledger->head.height);
	int code = open_gap(f, from, to, "missing", detail, &gap, err);
	return code || !gap ? code : try_again(f, gap, NULL, err);
}

/* Runs of absent heights between the tip and the highest block held. */
static int open_holes(struct follow *f, int64_t next, int64_t highest, struct error *err)
{
	int code = 0, opened = 0;
	if (highest < next)
		highest = next;
	for (int64_t h = next; !code && h <= highest && opened < HOLES_MAX; h++) {
		/* At the tip's next height a block that fits nowhere is as good as none. */
		bool there = h > next && window_find(&f->window, h, NULL);
		if (there || gap_at(f, h))
			continue;
		int64_t to = h;
		while (to + 1 <= highest && !window_find(&f->window, to + 1, NULL) && !gap_at(f, to + 1))
			to++;
		code = open_missing(f, h, to, err);
		opened++;
		h = to;
	}
	return code;
}

int gaps_tick(struct follow *f, struct error *err)
{
	const struct ledger *ledger = f->ledger;
	int64_t now = clock_mono_ms(), next = ledger->watermark >= ledger->start ? ledger->watermark + 1 : ledger->start;
	int64_t highest = window_highest(&f->window), wait = f->config->reconciler.missing_after_ms;
	if (ledger->paused || (ledger->head.height < next && highest < next)) {
		f->progress_ms = now;
		return 0;
	}
	if (highest < next)
		wait = wait * 3 > 10000 ? wait * 3 : 10000; /* nothing beyond it either: more likely slow than lost */
	int code = 0;
	if (now - f->progress_ms >= wait) {
		f->suspect = true; /* the tip may belong to a branch that nobody told us is dead */
		if (!gap_at(f, next))
			code = open_holes(f, next, highest, err);
	}
	for (size_t i = 0; !code && i < f->gap_count; i++)
		if (now >= f->gaps[i].next_ms)
			code = try_again(f, &f->gaps[i], NULL, err);
	return code;
}
