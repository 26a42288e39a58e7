/* dlq_job.c - replays as jobs: start or try out, look, pause, resume, cancel. */
#include "weirctl.h"

#include <stdio.h>

int add_number(yyjson_mut_doc *body, const char *name, const char *text, struct error *err)
{
	uint64_t n;
	if (!text)
		return 0;
	if (read_height(text, &n, NULL) != 0 || n > INT64_MAX)
		return error_set(err, WEIR_USAGE, "%s \"%s\" is not a whole number from 0", name, text);
	yyjson_mut_obj_add_uint(body, yyjson_mut_doc_get_root(body), name, n);
	return 0;
}

int dlq_start(struct settings *s, int argc, char **argv, struct error *err)
{
	if (need_subscription(s, err) || find_chain(s, err))
		return err->code;
	yyjson_mut_doc *body = new_body();
	add_letter_filters(body, s);
	add_ids(body, argc, argv);
	add_text(body, "why", s->why);
	if (s->dry_run)
		yyjson_mut_obj_add_bool(body, yyjson_mut_doc_get_root(body), "dry_run", true);
	int r = add_number(body, "rate", s->rate, err);
	r = r ? r : add_number(body, "burst", s->burst, err);
	r = r ? r : add_number(body, "concurrency", s->concurrency, err);
	r = r ? r : add_number(body, "stop_percent", s->stop_percent, err);
	r = r ? r : answer_facts(s, ask(s, true, "/admin/v1/dlq/jobs", body, err), err);
	yyjson_mut_doc_free(body);
	return r;
}

int dlq_jobs(struct settings *s, int argc, char **argv, struct error *err)
{
	static const struct column columns[] = {
		{ "JOB", "id" },           { "CHAIN", "chain" }, { "SUBSCRIPTION", "subscription" },
		{ "STATE", "state" },      { "TOTAL", "total" }, { "SUCCEEDED", "succeeded" },
		{ "FAILED", "failed" },    { "GONE", "gone" },   { "IN HAND", "in_hand" },
		{ "SINCE", "created_at" }, { "WHO", "who" },     { "NOTE", "note" },
	};
	(void)argc;
	(void)argv;
	struct buf path = BUF_INIT(8192);
	buf_add_str(&path, "/admin/v1/dlq/jobs");
	add_query(&path, "chain", s->chain);
	add_query(&path, "subscription", s->subscription);
	int r = LIST(s, true, &path, columns, err);
	buf_free(&path);
	return r;
}

int dlq_job(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	struct buf path = BUF_INIT(8192);
	buf_add_str(&path, "/admin/v1/dlq/jobs/");
	add_encoded(&path, argv[0]);
	add_query(&path, "chain", s->chain);
	int r = answer_facts(s, ask(s, true, buf_str(&path), NULL, err), err);
	buf_free(&path);
	return r;
}

static int control(struct settings *s, const char *job, const char *verb, struct error *err)
{
	struct buf path = BUF_INIT(8192);
	yyjson_mut_doc *body = new_body();
	buf_add_str(&path, "/admin/v1/dlq/jobs/");
	add_encoded(&path, job);
	buf_printf(&path, "/%s", verb);
	add_text(body, "chain", s->chain);
	add_text(body, "why", s->why);
	int r = answer_facts(s, ask(s, true, buf_str(&path), body, err), err);
	yyjson_mut_doc_free(body);
	buf_free(&path);
	return r;
}

int dlq_pause(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	return control(s, argv[0], "pause", err);
}

int dlq_resume(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	return control(s, argv[0], "resume", err);
}

int dlq_cancel(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	return control(s, argv[0], "cancel", err);
}
