/* check.c - weir-fetcher --check: asks every endpoint who it is. Running, the fetcher gets along with one that answers; here each counts. */
#include "fetcher.h"

#include "base/clock.h"

#include <stdio.h>

#define WAIT_MS 5000

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

int fetcher_check(struct daemon_ctx *ctx, void *state, struct error *err)
{
	struct fetcher *fetcher = state;
	struct buf wrong = BUF_INIT(sizeof err->text);
	int code = 0;
	for (size_t i = 0; i < fetcher->count; i++) {
		struct follower *f = &fetcher->followers[i];
		int r = follower_open_rpc(f, err);
		int64_t deadline = clock_mono_ms() + WAIT_MS;
		while (r == 0 && !settled(f) && clock_mono_ms() < deadline && !daemon_stopping(ctx))
			(void)rpc_poll(f->rpc, 50, daemon_stop_fd(ctx));
		if (r == 0)
			r = judge(f, &wrong);
		code = code == 0 || r == WEIR_WRONG_CHAIN ? r : code;
		rpc_close(&f->rpc);
		arena_free(&f->identity);
	}
	if (wrong.size > 0)
		error_set(err, code, "%s", buf_str(&wrong));
	buf_free(&wrong);
	return code;
}
