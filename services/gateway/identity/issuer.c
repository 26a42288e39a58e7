/* issuer.c - reading the issuer's keys, again and again, and checking tokens with them. */
#include "identity/issuer.h"

#include "gateway.h"

#include "base/clock.h"
#include "base/cond.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define SET_MAX ((size_t)256 << 10)
#define FETCH_MS 5000L
#define CONNECT_MS 2000L
#define RETRY_MS 10000 /* after a failure */
#define WAIT_MS 2000
#define WAITERS_MAX 2 /* requests that wait for a fetch hold a worker each */

struct issuer {
	const struct config *config;
	struct log log;
	struct metric *fetched, *failed;
	pthread_rwlock_t keys_lock; /* guards keys */
	struct jwt_keys keys;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* guards everything below */
	pthread_cond_t changed;
	bool closing, wanted, reading;
	uint64_t attempts;
	int64_t attempted_ms;
	unsigned waiters;
};

/* ---- reading --------------------------------------------------------------------------------------------------------------------------- */

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
	struct buf *out = arg;
	buf_add(out, data, size * count);
	return out->overflow ? 0 : size * count;
}

static int fetch(const char *url, struct buf *out, struct error *err)
{
	CURL *curl = curl_easy_init();
	long status = 0;
	if (!curl)
		return error_set(err, WEIR_INTERNAL, "no HTTP client");
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https,http"); /* http only of this machine: see check */
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, FETCH_MS);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
	CURLcode code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_cleanup(curl);
	if (code != CURLE_OK)
		return error_set(err, WEIR_UNAVAILABLE, "%s", curl_easy_strerror(code));
	return status == 200 ? 0 : error_set(err, WEIR_PROTOCOL, "it answers with status %ld", status);
}

static int read_file(const char *path, struct buf *out, struct error *err)
{
	char part[4096];
	FILE *file = fopen(path, "re");
	if (!file)
		return error_set(err, WEIR_IO, "%s", strerror(errno));
	for (size_t n; (n = fread(part, 1, sizeof part, file)) > 0 && !out->overflow;)
		buf_add(out, part, n);
	fclose(file);
	return out->overflow ? error_set(err, WEIR_LIMIT, "it is larger than 256 KiB") : 0;
}

static bool is_url(const char *keys)
{
	return strstr(keys, "://") != NULL;
}

static void add_secrets(const struct issuer *issuer, struct jwt_keys *keys)
{
	const char *const secrets[] = { issuer->config->gateway.jwt_secret, issuer->config->gateway.jwt_secret_previous };
	for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++)
		if (*secrets[i])
			jwt_keys_add_secret(keys, "", (struct bytes){ (const uint8_t *)secrets[i], strlen(secrets[i]) });
}

static int read_keys(struct issuer *issuer, struct error *err)
{
	const char *from = issuer->config->gateway.jwt_keys;
	struct buf json = BUF_INIT(SET_MAX);
	struct jwt_keys keys = { .count = 0 };
	add_secrets(issuer, &keys);
	int code = !*from ? 0 : is_url(from) ? fetch(from, &json, err) : read_file(from, &json, err);
	if (!code && *from && !jwt_keys_add_set(&keys, (struct bytes){ json.data, json.size }))
		code = error_set(err, WEIR_PROTOCOL, "it is not a JWK Set with a key that can be used (RSA from 2048 bits, or EC P-256, for RS256 and ES256)");
	buf_free(&json);
	if (code) {
		jwt_keys_free(&keys);
		return error_prefix(err, "gateway.jwt.keys");
	}
	pthread_rwlock_wrlock(&issuer->keys_lock);
	struct jwt_keys old = issuer->keys;
	issuer->keys = keys;
	pthread_rwlock_unlock(&issuer->keys_lock);
	jwt_keys_free(&old);
	return 0;
}

static bool attempt(struct issuer *issuer)
{
	struct error err = { 0 };
	int code = read_keys(issuer, &err);
	metric_inc(code ? issuer->failed : issuer->fetched);
	if (code)
		log_warn(&issuer->log, "token_keys", "the keys of tokens could not be read; those read before stay in force", LOG_ERR(&err));
	return code == 0;
}

static void wait_until_ms(struct issuer *issuer, int64_t deadline_ms)
{
	const struct timespec until = cond_deadline(deadline_ms - clock_mono_ms());
	pthread_cond_timedwait(&issuer->changed, &issuer->lock, &until);
}

static void *refresh(void *arg)
{
	struct issuer *issuer = arg;
	int64_t pause_ms = issuer->config->gateway.jwt_refresh_ms;
	bool good = issuer->keys.count > 0;
	pthread_mutex_lock(&issuer->lock);
	while (!issuer->closing) {
		int64_t due = issuer->attempted_ms + (good || pause_ms < RETRY_MS ? pause_ms : RETRY_MS);
		if (!issuer->wanted && clock_mono_ms() < due) {
			wait_until_ms(issuer, due);
			continue;
		}
		issuer->wanted = false;
		issuer->reading = true;
		issuer->attempted_ms = clock_mono_ms();
		pthread_mutex_unlock(&issuer->lock);
		good = attempt(issuer);
		pthread_mutex_lock(&issuer->lock);
		issuer->reading = false;
		issuer->attempts++;
		pthread_cond_broadcast(&issuer->changed);
	}
	pthread_mutex_unlock(&issuer->lock);
	return NULL;
}

/* True: the set was read again since the call began. */
static bool ask_again(struct issuer *issuer, bool may_wait)
{
	int64_t deadline = clock_mono_ms() + WAIT_MS;
	pthread_mutex_lock(&issuer->lock);
	uint64_t before = issuer->attempts;
	if (*issuer->config->gateway.jwt_keys && !issuer->reading && clock_mono_ms() - issuer->attempted_ms >= ISSUER_REFETCH_MS) {
		issuer->wanted = true;
		pthread_cond_broadcast(&issuer->changed);
	}
	if (may_wait && issuer->waiters < WAITERS_MAX) {
		issuer->waiters++;
		while ((issuer->wanted || issuer->reading) && issuer->attempts == before && !issuer->closing && clock_mono_ms() < deadline)
			wait_until_ms(issuer, deadline);
		issuer->waiters--;
	}
	bool again = issuer->attempts != before;
	pthread_mutex_unlock(&issuer->lock);
	return again;
}

/* ---- checking -------------------------------------------------------------------------------------------------------------------------- */

bool issuer_is_token(const char *text)
{
	const char *dot = strchr(text, '.');
	return dot && strchr(dot + 1, '.');
}

static unsigned read_scopes(const char *text, const char *prefix)
{
	unsigned scopes = 0;
	size_t skip = strlen(prefix);
	for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
		size_t size = strcspn(text, " ");
		if (size > skip && strncmp(text, prefix, skip) == 0)
			scopes |= scope_by_name(text + skip, size - skip);
		text += size;
	}
	return scopes;
}

static enum jwt_verdict verify(struct issuer *issuer, const char *token, const struct jwt_expected *expected, struct jwt_claims *ret)
{
	pthread_rwlock_rdlock(&issuer->keys_lock);
	enum jwt_verdict verdict = jwt_verify(token, &issuer->keys, expected, ret);
	pthread_rwlock_unlock(&issuer->keys_lock);
	return verdict;
}

enum jwt_verdict issuer_check(struct issuer *issuer, const char *token, bool may_wait, struct principal *ret)
{
	const struct config *config = issuer->config;
	const struct jwt_expected expected = { .issuer = config->gateway.jwt_issuer,
					       .audience = config->gateway.jwt_audience,
					       .now_s = clock_wall_ms() / 1000,
					       .skew_s = config->gateway.jwt_skew_ms / 1000 };
	struct jwt_claims claims;
	enum jwt_verdict verdict = verify(issuer, token, &expected, &claims);
	if (verdict == JWT_UNKNOWN_KEY && ask_again(issuer, may_wait))
		verdict = verify(issuer, token, &expected, &claims);
	if (verdict != JWT_GOOD)
		return verdict;
	*ret = (struct principal){ .of_token = true, .token = claims.id, .issued_s = claims.issued_s, .scopes = read_scopes(claims.scopes, config->gateway.jwt_scope_prefix), .until_ms = (claims.expires_s + expected.skew_s) * 1000 };
	ret->role = scope_role_name(ret->scopes);
	snprintf(ret->name, sizeof ret->name, PRINCIPAL_TOKEN "%s", claims.subject);
	return JWT_GOOD;
}

/* ---- opening and closing --------------------------------------------------------------------------------------------------------------- */

static int check(const struct config *c, struct error *err)
{
	static const char *const local[] = { "http://127.0.0.1:", "http://127.0.0.1/", "http://[::1]:", "http://[::1]/", "http://localhost:", "http://localhost/" };
	const char *keys = c->gateway.jwt_keys, *const secrets[] = { c->gateway.jwt_secret, c->gateway.jwt_secret_previous };
	bool good = !is_url(keys) || strncmp(keys, "https://", 8) == 0;
	for (size_t i = 0; i < sizeof local / sizeof local[0]; i++)
		good = good || strncmp(keys, local[i], strlen(local[i])) == 0;
	if (!good)
		return error_set(err, WEIR_CONFIG, "gateway.jwt.keys: keys are fetched by https:// only (http:// from this machine alone), or read from a file");
	if (!*keys && !*secrets[0])
		return error_set(err, WEIR_CONFIG, "gateway.jwt.issuer: set, but neither gateway.jwt.keys nor gateway.jwt.secret say how its tokens are signed");
	for (size_t i = 0; i < 2; i++)
		if (*secrets[i] && strlen(secrets[i]) < JWT_SECRET_MIN)
			return error_set(err, WEIR_CONFIG, "gateway.jwt.%s: %zu bytes; HS256 needs at least %d", i ? "secret_previous" : "secret", strlen(secrets[i]),
					 JWT_SECRET_MIN);
	return *c->gateway.jwt_audience ? 0 : error_set(err, WEIR_CONFIG, "gateway.jwt.audience: empty; name what tokens for weir say in aud");
}

int issuer_open(struct gateway *gateway, struct issuer **ret, struct error *err)
{
	const struct config *config = gateway->config;
	if (!*config->gateway.jwt_issuer)
		return 0;
	int code = check(config, err);
	if (code)
		return code;
	struct issuer *issuer = xmalloc(sizeof *issuer);
	*ret = issuer;
	issuer->config = config;
	issuer->log = gateway->log;
	issuer->fetched = metrics_get(gateway->metrics, "weir_gateway_token_keys_total", "read", NULL, NULL);
	issuer->failed = metrics_get(gateway->metrics, "weir_gateway_token_keys_total", "failed", NULL, NULL);
	pthread_rwlock_init(&issuer->keys_lock, NULL);
	pthread_mutex_init(&issuer->lock, NULL);
	cond_init(&issuer->changed);
	add_secrets(issuer, &issuer->keys);
	issuer->attempted_ms = clock_mono_ms();
	attempt(issuer); /* the first request finds the keys; without them others are still served */
	if (!*config->gateway.jwt_keys)
		return 0;
	if (pthread_create(&issuer->thread, NULL, refresh, issuer) != 0)
		return error_set(err, WEIR_FULL, "cannot start a thread: the system's limit is reached");
	issuer->started = true;
	return 0;
}

void issuer_close(struct issuer **issuerp)
{
	struct issuer *issuer = *issuerp;
	if (!issuer)
		return;
	pthread_mutex_lock(&issuer->lock);
	issuer->closing = true;
	pthread_cond_broadcast(&issuer->changed);
	pthread_mutex_unlock(&issuer->lock);
	if (issuer->started)
		pthread_join(issuer->thread, NULL);
	jwt_keys_free(&issuer->keys);
	pthread_cond_destroy(&issuer->changed);
	pthread_mutex_destroy(&issuer->lock);
	pthread_rwlock_destroy(&issuer->keys_lock);
	xfree(issuerp);
}
