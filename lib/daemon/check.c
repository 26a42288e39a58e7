/* check.c - what a range cannot say: unique names, addresses, URL schemes, keys. Each message names where the value was read. */
#include "daemon/settings.h"

#include <stdio.h>
#include <string.h>

/* -- origins -------------------------------------------------------------------------------------------------------------- */

void origins_add(struct origins *o, const char *path, const char *variable, size_t line, size_t column)
{
	if (o->count == o->capacity) {
		o->capacity = o->capacity ? o->capacity * 2 : 64;
		o->items = xrealloc(o->items, o->capacity, sizeof *o->items);
	}
	o->items[o->count++] = (struct origin){ .path = xstrdup(path), .variable = xstrdup(variable), .line = line, .column = column };
}

const struct origin *origins_find(const struct origins *o, const char *path)
{
	for (size_t length = strlen(path); length > 0;) {
		for (size_t i = o->count; i > 0; i--) { /* the last one counts: the environment comes after the file */
			const char *have = o->items[i - 1].path;
			if (strncmp(have, path, length) == 0 && have[length] == 0)
				return &o->items[i - 1];
		}
		do
			length--;
		while (length > 0 && path[length] != '.' && path[length] != '[');
	}
	return NULL;
}

void origins_free(struct origins *o)
{
	for (size_t i = 0; i < o->count; i++) {
		free(o->items[i].path);
		free(o->items[i].variable);
	}
	xfree(&o->items);
	o->count = o->capacity = 0;
}

/* -- checks --------------------------------------------------------------------------------------------------------------- */

struct checker {
	const struct origins *origins;
	struct error *err;
};

static int fail(const struct checker *c, const char *path, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int fail(const struct checker *c, const char *path, const char *format, ...)
{
	char text[600];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	const struct origin *origin = origins_find(c->origins, path);
	if (origin && origin->variable)
		return error_set(c->err, WEIR_CONFIG, "%s (%s): %s", origin->variable, path, text);
	if (origin)
		return error_set(c->err, WEIR_CONFIG, "%s:%zu:%zu: %s: %s", c->origins->file, origin->line, origin->column, path, text);
	return error_set(c->err, WEIR_CONFIG, "%s: %s", path, text);
}

/* "host:port"; an IPv6 host stands in brackets. */
static bool is_listen_address(const char *text)
{
	const char *colon = strrchr(text, ':');
	if (!colon || colon == text)
		return false;
	size_t digits = strspn(colon + 1, "0123456789");
	if (digits < 1 || digits > 5 || colon[1 + digits] || strtol(colon + 1, NULL, 10) > 65535)
		return false;
	bool bracketed = text[0] == '[' && colon[-1] == ']' && colon - text > 2;
	return bracketed || (strcspn(text, "[] ") > (size_t)(colon - text) && memchr(text, ':', (size_t)(colon - text)) == NULL);
}

#define NAME_RULE "lower-case letters, digits and '-', 1 to 32 of them"

static bool is_name(const char *text)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");
	return n > 0 && n <= 32 && text[n] == 0;
}

/* One of the schemes (NULL-ended), then something, no blanks. */
static bool is_url(const char *text, const char *const *schemes)
{
	for (; *schemes; schemes++) {
		size_t n = strlen(*schemes);
		if (strncmp(text, *schemes, n) == 0 && text[n] && !strchr(text, ' '))
			return strcmp(*schemes, "unix://") == 0 ? text[n] == '/' : !strchr("/?#", text[n]);
	}
	return false;
}

static const char *const http_schemes[] = { "http://", "https://", NULL };
static const char *const ws_schemes[] = { "ws://", "wss://", NULL };
static const char *const redis_schemes[] = { "redis://",          "rediss://",        "unix://",           "redis+sentinel://",
					    "rediss+sentinel://", "redis+cluster://", "rediss+cluster://", NULL };

static int check_endpoint(const struct checker *c, struct chain_config *chain, const char *list, size_t i)
{
	struct endpoint_config *e = &chain->endpoints[i];
	char path[128], shown[256];
	if (!*e->name) {
		free(e->name);
		e->name = xasprintf("e%zu", i);
	}
	snprintf(path, sizeof path, "%s[%zu].name", list, i);
	if (!is_name(e->name))
		return fail(c, path, "\"%s\"; allowed: %s", e->name, NAME_RULE);
	for (size_t j = 0; j < i; j++)
		if (strcmp(chain->endpoints[j].name, e->name) == 0)
			return fail(c, path, "two endpoints of chain %s are named %s", chain->name, e->name);
	snprintf(path, sizeof path, "%s[%zu].url", list, i);
	if (!*e->url)
		return fail(c, path, "missing; give the http:// or https:// address of chain %s's node", chain->name);
	if (!is_url(e->url, http_schemes))
		return fail(c, path, "\"%s\" is not an http:// or https:// address", log_url(e->url, shown));
	snprintf(path, sizeof path, "%s[%zu].ws_url", list, i);
	if (*e->ws_url && !is_url(e->ws_url, ws_schemes))
		return fail(c, path, "\"%s\" is not a ws:// or wss:// address", log_url(e->ws_url, shown));
	return 0;
}

static int check_chain(const struct checker *c, struct config *config, size_t i)
{
	struct chain_config *chain = &config->chains[i];
	char path[128];
	snprintf(path, sizeof path, "chains[%zu].name", i);
	if (!is_name(chain->name))
		return fail(c, path, "\"%s\"; allowed: %s", chain->name, NAME_RULE);
	for (size_t j = 0; j < i; j++)
		if (strcmp(config->chains[j].name, chain->name) == 0)
			return fail(c, path, "two chains are named %s", chain->name);
	snprintf(path, sizeof path, "chains[%zu].genesis_hash", i);
	const char *genesis = chain->genesis_hash;
	if (*genesis && (strlen(genesis) != 66 || strncmp(genesis, "0x", 2) != 0 || strspn(genesis + 2, "0123456789abcdefABCDEF") != 64))
		return fail(c, path, "\"%s\" is not 0x and 64 hex digits", genesis);
	snprintf(path, sizeof path, "chains[%zu].endpoints", i);
	if (chain->endpoint_count == 0)
		return fail(c, path, "chain %s has none; give at least one with a url", chain->name);
	for (size_t j = 0; j < chain->endpoint_count; j++)
		if (check_endpoint(c, chain, path, j) != 0)
			return WEIR_CONFIG;
	return 0;
}

/* Visible ASCII without what would end an address or a line of a mail's head. */
static bool is_mail_address(const char *text, size_t n)
{
	const char *at = memchr(text, '@', n);
	for (size_t i = 0; i < n; i++)
		if (text[i] <= ' ' || text[i] > '~' || strchr("<>,;:\"()[]\\", text[i]))
			return false;
	return at && at > text && at + 1 < text + n;
}

static bool are_mail_addresses(const char *text)
{
	do {
		text += strspn(text, " ");
		size_t n = strcspn(text, ",");
		if (!is_mail_address(text, n))
			return false;
		text += n;
	} while (*text++ == ',');
	return true;
}

static int check_destination(const struct checker *c, const struct config *config, size_t i)
{
	const struct alert_destination_config *d = &config->alerts.destinations[i];
	bool mail = strcmp(d->kind, "email") == 0;
	char path[128];
	snprintf(path, sizeof path, "alerts.destinations[%zu].name", i);
	if (!*d->name)
		return fail(c, path, "missing; name the destination");
	for (size_t j = 0; j < i; j++)
		if (strcmp(config->alerts.destinations[j].name, d->name) == 0)
			return fail(c, path, "two destinations are named %s", d->name);
	snprintf(path, sizeof path, "alerts.destinations[%zu].%s", i, mail ? "to" : "url");
	if (!mail && !is_url(d->url, http_schemes))
		return fail(c, path, "not an http:// or https:// address");
	if (mail && !are_mail_addresses(d->to))
		return fail(c, path, "\"%s\" is not a list of mail addresses", d->to);
	if (mail && strncmp(config->alerts.smtp_url, "smtp://", 7) != 0 && strncmp(config->alerts.smtp_url, "smtps://", 8) != 0)
		return fail(c, "alerts.smtp_url", "destination %s needs a mail server: smtp://host:587 or smtps://host:465", d->name);
	if (mail && !is_mail_address(config->alerts.smtp_from, strlen(config->alerts.smtp_from)))
		return fail(c, "alerts.smtp_from", "destination %s needs a mail address to send from", d->name);
	return 0;
}

static int check_keys(const struct checker *c, const struct config *config)
{
	char path[128];
	for (size_t i = 0; i < config->gateway.key_count; i++) {
		const struct api_key_config *key = &config->gateway.keys[i];
		snprintf(path, sizeof path, "gateway.keys[%zu].name", i);
		if (!*key->name)
			return fail(c, path, "missing; name who the key belongs to");
		snprintf(path, sizeof path, "gateway.keys[%zu].key", i);
		if (strlen(key->key) < 16)
			return fail(c, path, "the key of %s has %zu characters; at least 16 are needed", key->name, strlen(key->key));
		for (size_t j = 0; j < i; j++)
			if (strcmp(config->gateway.keys[j].key, key->key) == 0)
				return fail(c, path, "%s and %s have the same key", config->gateway.keys[j].name, key->name);
	}
	return 0;
}

static int check_cursor_keys(const struct checker *c, const struct config *config)
{
	const char *key = config->gateway.cursor_key, *previous = config->gateway.cursor_key_previous;
	if (*key && strlen(key) < 32)
		return fail(c, "gateway.cursor_key", "%zu characters; at least 32 are needed", strlen(key));
	if (*previous && strlen(previous) < 32)
		return fail(c, "gateway.cursor_key_previous", "%zu characters; at least 32 are needed", strlen(previous));
	if (*previous && !*key)
		return fail(c, "gateway.cursor_key_previous", "there is a previous key and no gateway.cursor_key that signs");
	return 0;
}

static int check_addresses(const struct checker *c, const struct config *config)
{
	const struct {
		const char *name, *value;
	} listens[] = {
		{ "ops.listen.fetcher", config->ops_listen.fetcher },       { "ops.listen.normalizer", config->ops_listen.normalizer },
		{ "ops.listen.reconciler", config->ops_listen.reconciler }, { "ops.listen.gateway", config->ops_listen.gateway },
		{ "gateway.listen", config->gateway.listen },               { "gateway.admin_listen", config->gateway.admin_listen },
	};
	for (size_t i = 0; i < sizeof listens / sizeof listens[0]; i++)
		if (!is_listen_address(listens[i].value))
			return fail(c, listens[i].name, "\"%s\" is not host:port", listens[i].value);
	char shown[256];
	if (!is_url(config->bus.redis_url, redis_schemes))
		return fail(c, "bus.redis_url", "\"%s\" is not redis://host:port/db, rediss://…, unix:///path, redis+sentinel://host,host/name or redis+cluster://host,host",
			    log_url(config->bus.redis_url, shown));
	if (*config->alerts.webhook_url && !is_url(config->alerts.webhook_url, http_schemes))
		return fail(c, "alerts.webhook_url", "not an http:// or https:// address");
	if (*config->otel.endpoint && !is_url(config->otel.endpoint, http_schemes))
		return fail(c, "otel.endpoint", "not an http:// or https:// address");
	return 0;
}

static int check_tls(const struct checker *c, const char *name, const struct tls_config *tls)
{
	char path[128];
	snprintf(path, sizeof path, "%s.%s", name, *tls->certificate ? "key" : "certificate");
	if (!*tls->certificate != !*tls->key)
		return fail(c, path, "missing; a certificate and its key are given together");
	snprintf(path, sizeof path, "%s.client_ca", name);
	if (tls->client_ca && *tls->client_ca && !*tls->certificate)
		return fail(c, path, "clients' certificates need TLS: give %s.certificate and %s.key", name, name);
	return 0;
}

int settings_check(struct config *config, const struct origins *origins, struct error *err)
{
	const struct checker c = { .origins = origins, .err = err };
	if (check_addresses(&c, config) != 0 || check_keys(&c, config) != 0 || check_cursor_keys(&c, config) != 0)
		return WEIR_CONFIG;
	if (check_tls(&c, "gateway.tls", &config->gateway.tls) != 0 || check_tls(&c, "gateway.admin_tls", &config->gateway.admin_tls) != 0)
		return WEIR_CONFIG;
	if (config->bus.retry_base_ms > config->bus.retry_max_ms)
		return fail(&c, "bus.retry_base", "longer than bus.retry_max");
	for (size_t i = 0; i < config->alerts.destination_count; i++)
		if (check_destination(&c, config, i) != 0)
			return WEIR_CONFIG;
	for (size_t i = 0; i < config->chain_count; i++)
		if (check_chain(&c, config, i) != 0)
			return WEIR_CONFIG;
	return 0;
}
