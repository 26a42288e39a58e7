/* check.c - weir-fetcher --check: asks every endpoint who it is. Running, the fetcher gets along with one that answers; here each counts. */
#include "fetcher.h"

#include "base/clock.h"

#include <stdio.h>

static bool settled(struct follower *f)
{
	struct endpoint_status s;
	for (size_t i = 0; i < endpoints_count(f->endpoints); i++) {
		endpoints_status(f->endpoints, i, &s);
		if (!s.identified && !s.wrong_chain && !*s.last_error)
			return false;
	}
	return true;
}

/* Appends what is wrong with the chain's endpoints. */
static int judge(struct follower *f, struct buf *wrong)
{
	struct endpoint_status s;
	char url[256];
	int code = 0;
	for (size_t i = 0; i < endpoints_count(f->endpoints); i++) {
		endpoints_status(f->endpoints, i, &s);
		log_url(f->config->endpoints[i].url, url);
		if (s.identified) {
			log_info(&f->log, "endpoint_answers", "it serves this chain", LOG_S("endpoint", s.name), LOG_S("url", url));
			continue;
		}
		code = s.wrong_chain || code == WEIR_WRONG_CHAIN ? WEIR_WRONG_CHAIN : WEIR_UNAVAILABLE;
		buf_printf(wrong, "%schain %s, endpoint %s (%s): %s", wrong->size ? "; " : "", f->chain.name, s.name, url,
			   *s.last_error ? s.last_error : "no answer in time");
	}
	return code;
}

/* All chains' endpoints at the same time. */
static void wait_for_answers(struct fetcher *fetcher, struct daemon_ctx *ctx)
{
	const int64_t deadline = clock_mono_ms() + PREFLIGHT_MS;
	bool waiting = true;
	while (waiting && clock_mono_ms() < deadline && !daemon_stopping(ctx)) {
		waiting = false;
		for (size_t i = 0; i < fetcher->count; i++) {
			struct follower *f = &fetcher->followers[i];
			if (settled(f))
				continue;
			waiting = true;
			(void)rpc_poll(f->rpc, 10, daemon_stop_fd(ctx));
		}
	}
}

int fetcher_check(struct daemon_ctx *ctx, void *state, struct error *err)
{
	struct fetcher *fetcher = state;
	struct buf wrong = BUF_INIT(sizeof err->text);
	int opened = 0, code = 0;
	for (size_t i = 0; i < fetcher->count && opened == 0; i++)
		opened = follower_open_rpc(&fetcher->followers[i], err);
	if (opened == 0)
		wait_for_answers(fetcher, ctx);
	for (size_t i = 0; i < fetcher->count; i++) {
		struct follower *f = &fetcher->followers[i];
		int r = opened == 0 ? judge(f, &wrong) : 0;
		code = code == 0 || r == WEIR_WRONG_CHAIN ? r : code;
		rpc_close(&f->rpc);
		arena_free(&f->identity);
	}
	if (wrong.size > 0)
		error_set(err, code, "%s", buf_str(&wrong));
	buf_free(&wrong);
	return opened ? opened : code;
}
