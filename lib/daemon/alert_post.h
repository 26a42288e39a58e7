/* alert_post.h - alerts as messages, and one message to one destination: Slack-compatible, plain JSON, or e-mail. */
#ifndef WEIR_DAEMON_ALERT_POST_H
#define WEIR_DAEMON_ALERT_POST_H

#include "daemon/daemon.h"

#define ALERT_KEY 160
#define ALERT_TEXT 1024

enum alert_severity { ALERT_TICKET, ALERT_PAGE };
const char *alert_severity_name(enum alert_severity);

struct alert {
	enum alert_state state;
	enum alert_severity severity;
	char key[ALERT_KEY], runbook[64], text[ALERT_TEXT];
	int64_t at_ms; /* wall clock */
};

/* Where the page of the runbook is: below alerts.runbook_url, or its file in the repository. */
void alert_link(const struct config *, const char *runbook, char ret[320]);

/* Several at a time: the first ALERTS_SHOWN in full, the others counted. */
#define ALERTS_SHOWN 20
void alert_write_slack(const struct config *, const char *process, const struct alert *, size_t n, struct buf *out); /* {"text":…} */
void alert_write_json(const struct config *, const char *process, const struct alert *, size_t n, struct buf *out);  /* {"version":1,"process":…,"alerts":[…]} */
/* A whole message with its head (RFC 5322), lines ending with CRLF; no text of an alert can add a header. */
void alert_write_mail(const struct config *, const char *process, const char *to, const struct alert *, size_t n, int64_t now_ms, struct buf *out);

/* Sends it, within a few seconds; less when stop_at_ms (monotonic clock, 0: none) says so. *err never holds an address with its secrets. */
int alert_post(const struct config *, const char *process, const struct alert_destination_config *, const struct alert *, size_t n,
	       int64_t (*stop_at_ms)(void *arg), void *arg, struct error *err);

#endif
