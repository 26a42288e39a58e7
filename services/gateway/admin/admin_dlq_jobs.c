/* admin_dlq_jobs.c - /admin/v1/dlq/jobs: replays as jobs: try out, start, look, pause, resume, cancel. */
#include "admin/admin.h"

#include "admin/letter_search.h"

#include <string.h>

#define NAMED_MAX 10000 /* letters that a job takes by their ids */

static void put_or_null(struct buf *out, const char *key, const char *text)
{
	put_text(out, key, *text ? text : NULL);
}

static void put_job(struct buf *out, const char *key, const struct dead_letter_job *j)
{
	put_object(out, key);
	put_text(out, "id", j->id);
	put_text(out, "chain", j->chain);
	put_text(out, "subscription", j->subscription);
	put_text(out, "state", j->state);
	put_text(out, "note", j->note);
	put_text(out, "who", j->who);
	put_text(out, "why", j->why);
	put_milliseconds(out, "created_at", j->created_ms);
	put_milliseconds(out, "finished_at", j->finished_ms);
	put_object(out, "filter");
	put_bool(out, "named", j->named);
	put_or_null(out, "type", j->type);
	put_or_null(out, "reason", j->reason);
	put_or_null(out, "error_class", j->error_class);
	put_or_null(out, "key", j->key);
	put_or_null(out, "kind", j->kind);
	put_milliseconds(out, "from", j->from_ms);
	put_milliseconds(out, "to", j->to_ms);
	put_end(out, '}');
	put_i64(out, "rate", j->rate);
	put_i64(out, "burst", j->burst);
	put_i64(out, "concurrency", j->concurrency);
	put_i64(out, "stop_percent", j->stop_percent);
	put_u64(out, "total", j->total);
	put_u64(out, "succeeded", j->succeeded);
	put_u64(out, "failed", j->failed);
	put_u64(out, "gone", j->gone);
	put_u64(out, "in_hand", j->out);
	put_u64(out, "ready", j->ready);
	put_end(out, '}');
}

static void listed(const struct dead_letter_job *job, void *arg)
{
	put_job(arg, NULL, job);
}

static int put_jobs(struct bus *bus, const char *chain, const char *subscription, struct buf *out, struct error *err)
{
	return dead_letter_job_list(bus, chain, subscription, LIMIT_DEFAULT, listed, out, err);
}

void admin_dlq_jobs(struct call *call)
{
	admin_items_of_all(call, put_jobs);
}

struct found { /* by their pattern */
	const char **ids; /* the oldest */
	char (*texts)[40];
	size_t n, matching;
	bool complete; /* no letter was left unlooked at */
};

static int find(struct call *call, const char *chain, const struct dead_letter_filter *filter, struct found *ret, struct error *err)
{
	struct letter_search *s = letter_search_asked(call, chain, filter);
	*ret = (struct found){ .ids = xcalloc(NAMED_MAX, sizeof *ret->ids), .texts = xcalloc(NAMED_MAX, sizeof *ret->texts) };
	int code;
	while ((code = letter_search_next(s, err)) > 0) {
		ret->matching += s->count;
		for (size_t i = 0; i < s->count && ret->n < NAMED_MAX; i++, ret->n++) {
			memcpy(ret->texts[ret->n], s->ids[i], sizeof s->ids[i]);
			ret->ids[ret->n] = ret->texts[ret->n];
		}
	}
	ret->complete = s->complete;
	free(s);
	return code;
}

static void found_free(struct found *f)
{
	free(f->ids);
	free(f->texts);
}

void admin_dlq_job_start(struct call *call)
{
	const char *chain = admin_one_chain(call), *subscription = call_text(call, "subscription"), *why = call_text(call, "why");
	const struct value *ids = call_value(call, "ids");
	bool dry = call_number(call, "dry_run", 0);
	struct dead_letter_job job;
	struct error err = { 0 };
	uint64_t total = 0;
	struct dead_letter_order order = { .ids = ids->texts,
					   .n = ids->count,
					   .rate = call_number(call, "rate", 0),
					   .burst = call_number(call, "burst", 0),
					   .concurrency = call_number(call, "concurrency", 0),
					   .stop_percent = call_number(call, "stop_percent", 0),
					   .idempotency_key = call->request->idempotency_key, /* the bus knows its jobs for longer than answers are kept */
					   .who = call->who->name,
					   .why = why ? why : "" };
	if (!chain || !admin_check_letters(call, subscription, chain) || !admin_letter_filter(call, &order.filter))
		return;
	if (ids->given && ids->count == 0) {
		call_problem(call, 400, "invalid_body", "ids is empty");
		return;
	}
	struct found found = { .complete = true };
	bool by_pattern = !ids->given && call_text(call, "pattern");
	int code = by_pattern ? find(call, chain, &order.filter, &found, &err) : 0;
	if (by_pattern) {
		order.ids = found.ids;
		order.n = found.n;
	}
	bool none = by_pattern && found.n == 0; /* an order without ids would take all */
	if (!code && !none) {
		struct bus *bus = control_take(call->gateway->letter_control);
		code = dry ? dead_letter_job_dry_run(bus, chain, subscription, &order, &total, &err)
			   : dead_letter_job_start(bus, chain, subscription, &order, &job, &err);
		control_give(call->gateway->letter_control);
	}
	found_free(&found);
	if (code) {
		admin_letter_failed(call, &err);
		return;
	}
	if (none && !dry) {
		call_problem(call, 404, "dead_letter_unknown", "no dead letter has this pattern: no job was started");
		return;
	}
	put_object(call->out, NULL);
	put_bool(call->out, "dry_run", dry);
	put_u64(call->out, "total", dry ? total : job.total);
	put_u64(call->out, "matching", by_pattern ? found.matching : dry ? total : job.total);
	put_bool(call->out, "complete", found.complete);
	if (dry)
		put_null(call->out, "job");
	else
		put_job(call->out, "job", &job);
	put_end(call->out, '}');
	if (!dry)
		log_info(&call->gateway->log, "operator_action", order.why, LOG_S("action", "replay_job"), LOG_S("who", call->who->name),
			 LOG_S("job", job.id), LOG_S("subscription", subscription), LOG_U("letters", job.total),
			 LOG_S("request_id", call->request->id));
}

/* action < 0: only look. Ids are a chain's own; where no chain is said each is asked. */
static void one(struct call *call, int action)
{
	static const char *const names[] = { "replay_job_pause", "replay_job_resume", "replay_job_cancel" };
	const char *chain = call_text(call, "chain"), *why = call_text(call, "why");
	struct dead_letter_job job;
	struct error err = { 0 };
	int code = WEIR_NOT_FOUND;
	if (!admin_check_letters(call, NULL, chain))
		return;
	struct bus *bus = control_take(call->gateway->letter_control);
	for (size_t i = 0; code == WEIR_NOT_FOUND && i < call->gateway->chain_count; i++) {
		const char *name = call->gateway->chains[i].chain.name;
		if (chain && strcmp(chain, name) != 0)
			continue;
		code = action < 0 ? dead_letter_job_show(bus, name, call->places[0], &job, &err)
				  : dead_letter_job_control(bus, name, call->places[0], (enum dead_letter_job_action)action, call->who->name,
							    why ? why : "", &job, &err);
	}
	control_give(call->gateway->letter_control);
	if (code == WEIR_NOT_FOUND)
		call_problem(call, 404, "job_unknown", "there is no such replay job");
	else if (code)
		call_failed(call, &err);
	else
		put_job(call->out, NULL, &job);
	if (!code && action >= 0)
		log_info(&call->gateway->log, "operator_action", why ? why : "", LOG_S("action", names[action]), LOG_S("who", call->who->name),
			 LOG_S("job", job.id), LOG_S("state", job.state), LOG_S("request_id", call->request->id));
}

void admin_dlq_job(struct call *call)
{
	one(call, -1);
}

void admin_dlq_job_pause(struct call *call)
{
	one(call, DEAD_LETTER_JOB_PAUSE);
}

void admin_dlq_job_resume(struct call *call)
{
	one(call, DEAD_LETTER_JOB_RESUME);
}

void admin_dlq_job_cancel(struct call *call)
{
	one(call, DEAD_LETTER_JOB_CANCEL);
}
