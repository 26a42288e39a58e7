/* preflight.c - before a start: every endpoint of every chain is asked who it is. */
#include "net/rpc.h"

#include "base/clock.h"

#include <poll.h>

#define STEP_MS 10

static bool settled(struct endpoints *set)
{
	struct endpoint_status s;
	for (size_t i = 0; i < endpoints_count(set); i++) {
		endpoints_status(set, i, &s);
		if (!s.identified && !s.wrong_chain && !*s.last_error)
			return false;
	}
	return true;
}

static bool told_to_stop(int stop_fd)
{
	struct pollfd p = { .fd = stop_fd, .events = POLLIN };
	return stop_fd >= 0 && poll(&p, 1, 0) > 0;
}

static void wait_for_answers(const struct rpc_preflight *chains, size_t n, int64_t timeout_ms, int stop_fd)
{
	const int64_t deadline = clock_mono_ms() + timeout_ms;
	for (bool waiting = true; waiting && clock_mono_ms() < deadline && !told_to_stop(stop_fd);) {
		waiting = false;
		for (size_t i = 0; i < n; i++) {
			if (settled(chains[i].endpoints))
				continue;
			waiting = true;
			(void)rpc_poll(chains[i].rpc, STEP_MS, stop_fd);
		}
	}
}

/* Appends what is wrong with the chain's endpoints. */
static int judge(const struct rpc_preflight *chain, struct buf *wrong)
{
	struct endpoint_status s;
	char url[256];
	int code = 0;
	for (size_t i = 0; i < endpoints_count(chain->endpoints); i++) {
		endpoints_status(chain->endpoints, i, &s);
		log_url(s.url, url);
		if (s.identified) {
			log_info(chain->log, "endpoint_answers", "it serves this chain", LOG_S("endpoint", s.name), LOG_S("url", url));
			continue;
		}
		code = s.wrong_chain || code == WEIR_WRONG_CHAIN ? WEIR_WRONG_CHAIN : WEIR_UNAVAILABLE;
		buf_printf(wrong, "%schain %s, endpoint %s (%s): %s", wrong->size ? "; " : "", chain->chain, s.name, url,
			   *s.last_error ? s.last_error : "no answer in time");
	}
	return code;
}

int rpc_preflight(const struct rpc_preflight *chains, size_t n, int64_t timeout_ms, int stop_fd, struct error *err)
{
	struct buf wrong = BUF_INIT(sizeof err->text);
	int code = 0;
	wait_for_answers(chains, n, timeout_ms, stop_fd);
	for (size_t i = 0; i < n; i++) {
		int r = judge(&chains[i], &wrong);
		code = code == 0 || r == WEIR_WRONG_CHAIN ? r : code;
	}
	if (code != 0)
		error_set(err, code, "%s", buf_str(&wrong));
	buf_free(&wrong);
	return code;
}
