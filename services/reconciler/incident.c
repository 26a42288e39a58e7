/* incident.c - writing incidents. */
#include "incident.h"

#include <stdio.h>
#include <string.h>

static void journal_incident(struct journal *journal, int64_t id, int64_t height, const char *state, const char *summary)
{
	Weir__V1__LedgerEvent event;
	Weir__V1__IncidentChanged changed;
	char state_text[32], summary_text[400];
	weir__v1__ledger_event__init(&event);
	weir__v1__incident_changed__init(&changed);
	snprintf(state_text, sizeof state_text, "%s", state);
	snprintf(summary_text, sizeof summary_text, "%s", summary);
	changed.id = (uint64_t)id;
	changed.state = state_text;
	changed.summary = summary_text;
	event.event_case = WEIR__V1__LEDGER_EVENT__EVENT_INCIDENT_CHANGED;
	event.incident_changed = &changed;
	journal_add(journal, &event, NULL, height, 0);
}

int incident_insert(struct pg *pg, struct journal *journal, int16_t chain_id, const struct incident_facts *facts, int64_t *ret_id, struct error *err)
{
	struct pg_param p[8];
	struct pg_result *r = NULL;
	char expected[I256_DEC_MAX], observed[I256_DEC_MAX];
	if (facts->expected)
		i256_to_dec(*facts->expected, expected);
	if (facts->observed)
		i256_to_dec(*facts->observed, observed);
	pg_i32(&p[0], chain_id);
	pg_text(&p[1], facts->kind);
	pg_i64(&p[2], facts->account_id);
	pg_i32(&p[3], facts->asset_id);
	pg_i64(&p[4], facts->height);
	pg_text(&p[5], facts->expected ? expected : NULL);
	pg_text(&p[6], facts->observed ? observed : NULL);
	pg_text(&p[7], facts->evidence);
	int code = pg_query(pg,
			    "insert into weir.incidents (chain, kind, state, account, asset, height, expected, observed, evidence)"
			    " values ($1, $2, 'confirmed', nullif($3, 0), nullif($4, 0), $5, $6::numeric, $7::numeric, $8::jsonb) returning id",
			    p, 8, &r, err);
	if (!code) {
		*ret_id = pg_get_i64(r, 0, 0);
		journal_incident(journal, *ret_id, facts->height, "confirmed", facts->summary);
	}
	pg_result_free(&r);
	return code;
}

int incident_update(struct pg *pg, struct journal *journal, int64_t id, const char *state, const char *resolution, int64_t first_wrong,
		    const char *evidence, const char *summary, struct error *err)
{
	struct pg_param p[5];
	pg_i64(&p[0], id);
	pg_text(&p[1], state);
	pg_text(&p[2], resolution);
	pg_i64(&p[3], first_wrong);
	pg_text(&p[4], evidence ? evidence : "{}");
	int code = pg_query(pg,
			    "update weir.incidents set state = $2, resolution = coalesce($3, resolution), updated_at = now(),"
			    " first_wrong_height = case when $4 >= 0 then $4 else first_wrong_height end, evidence = evidence || $5::jsonb,"
			    " closed_at = case when $2 = 'closed' then now() end where id = $1",
			    p, 5, NULL, err);
	if (!code)
		journal_incident(journal, id, first_wrong >= 0 ? first_wrong : 0, state, summary);
	return code;
}

/* What could not be followed at once is followed when it is tried again: that is one incident. */
static int finality_is_written(struct ledger *ledger, const struct incident_facts *facts, bool *ret, struct error *err)
{
	struct pg_param p[3];
	struct pg_result *r = NULL;
	pg_i32(&p[0], ledger->id);
	pg_text(&p[1], facts->kind);
	pg_text(&p[2], facts->evidence);
	int code = pg_query(ledger->pg, "select from weir.incidents where chain = $1 and kind = $2 and evidence = $3::jsonb", p, 3, &r, err);
	*ret = !code && pg_rows(r) > 0;
	pg_result_free(&r);
	return code;
}

int incident_finality(struct ledger *ledger, int64_t ancestor, const char *words, struct error *err)
{
	char evidence[200];
	int64_t id;
	snprintf(evidence, sizeof evidence, "{\"ancestor\": %lld, \"finalized\": %lld, \"watermark\": %lld}", (long long)ancestor,
		 (long long)ledger->head.finalized, (long long)ledger->watermark);
	const struct incident_facts facts = { .kind = "finality_violation", .height = ancestor + 1, .evidence = evidence, .summary = words };
	bool written = false;
	int code = finality_is_written(ledger, &facts, &written, err);
	if (!code && !written)
		code = ledger_begin(ledger, err);
	if (code || written)
		return code;
	code = incident_insert(ledger->pg, &ledger->journal, ledger->id, &facts, &id, err);
	if (!code)
		code = incident_update(ledger->pg, &ledger->journal, id, "closed", "followed", ancestor + 1, NULL, words, err);
	if (!code)
		code = ledger_commit(ledger, err);
	if (code)
		ledger_abort(ledger);
	return code;
}
