/* log.h - structured log lines: logfmt for people, JSON by setting.
 *
 * The context (process, chain, height, stream, trace id) is carried in a struct log that is copied and narrowed, never global
 * state behind the caller's back. A line is one write(2) to standard error, at most 8 KiB. warn and error mean that somebody
 * should look; what heals by itself is at most a warning. Thread-safe.
 *
 *	struct log log = log_for_chain(parent, "ethereum");
 *	log_info(&log, "block_applied", NULL, LOG_U("height", height), LOG_U("entries", n));
 *
 * A line that would be longer is cut at a whole character of a text value, later fields that do not fit are left out, and it ends
 * with truncated=true: it stays logfmt, or JSON, whatever bytes the values hold. Bytes that are not UTF-8 are shown as U+FFFD.
 * Secrets are never fields. URLs go through log_url() which cuts credentials, path and query (API keys).
 */
#ifndef WEIR_BASE_LOG_H
#define WEIR_BASE_LOG_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

struct log_field {
	const char *key;
	enum { LOG_KIND_STR, LOG_KIND_U64, LOG_KIND_I64, LOG_KIND_F64, LOG_KIND_BOOL, LOG_KIND_HEX } kind;
	union {
		const char *str;
		uint64_t u64;
		int64_t i64;
		double f64;
		bool boolean;
		struct {
			const void *data;
			size_t size;
		} hex;
	} value;
};

struct log {
	const char *process; /* "fetcher" */
	const char *chain;   /* NULL when not about one chain */
	const char *stream;
	char trace_id[33];
};

void log_init(enum log_level minimum, enum log_format format); /* once, by daemon_main, before threads */
bool log_enabled(enum log_level level);
struct log log_for_chain(const struct log *parent, const char *chain);
struct log log_for_stream(const struct log *parent, const char *stream);

/* event: a fixed snake_case name; message: a sentence for people (may be NULL). */
void log_write(const struct log *, enum log_level, const char *event, const char *message, const struct log_field *fields, size_t n);

#define LOG_S(k, v) ((struct log_field){ .key = (k), .kind = LOG_KIND_STR, .value.str = (v) })
#define LOG_U(k, v) ((struct log_field){ .key = (k), .kind = LOG_KIND_U64, .value.u64 = (uint64_t)(v) })
#define LOG_I(k, v) ((struct log_field){ .key = (k), .kind = LOG_KIND_I64, .value.i64 = (int64_t)(v) })
#define LOG_F(k, v) ((struct log_field){ .key = (k), .kind = LOG_KIND_F64, .value.f64 = (v) })
#define LOG_B(k, v) ((struct log_field){ .key = (k), .kind = LOG_KIND_BOOL, .value.boolean = (v) })
#define LOG_H(k, p, n) ((struct log_field){ .key = (k), .kind = LOG_KIND_HEX, .value.hex = { (p), (n) } })

#define log_at(log, level, event, message, ...)                                                                                     \
	do {                                                                                                                         \
		if (log_enabled(level)) {                                                                                            \
			const struct log_field log_fields_[] = { LOG_B("", false), ##__VA_ARGS__ };                                  \
			log_write((log), (level), (event), (message), log_fields_ + 1,                                               \
				  sizeof log_fields_ / sizeof log_fields_[0] - 1);                                                    \
		}                                                                                                                    \
	} while (0)
#define log_debug(log, event, message, ...) log_at(log, LOG_DEBUG, event, message, ##__VA_ARGS__)
#define log_info(log, event, message, ...) log_at(log, LOG_INFO, event, message, ##__VA_ARGS__)
#define log_warn(log, event, message, ...) log_at(log, LOG_WARN, event, message, ##__VA_ARGS__)
#define log_error(log, event, message, ...) log_at(log, LOG_ERROR, event, message, ##__VA_ARGS__)

/* One line for an error: its words, code and suggestion. Further fields follow. */
#define LOG_ERR(err) LOG_S("error", (err)->text), LOG_S("error_code", error_name((err)->code)), LOG_S("action", error_suggestion((err)->code))

/* Writes a form of url that is safe to log into ret: scheme, host, port. Credentials, path and query are cut ("/…" says that there was
 * more); unix:// and bare paths stay whole; what has no form of a URL is "(malformed)", as any part of it could be a secret. */
const char *log_url(const char *url, char ret[256]);

#endif
