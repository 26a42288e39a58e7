/* webhook_address.c - where a webhook may go. */
#include "webhook/webhook_address.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- addresses ------------------------------------------------------------------------------------------------------------------------ */

struct range {
	uint8_t prefix[16];
	unsigned bits;
};

/* Not of the public Internet, or not one machine. Loopback is told apart. */
static const struct range refused_v4[] = {
	{ { 0 }, 8 },              /* this network */
	{ { 10 }, 8 },             /* private (RFC 1918) */
	{ { 100, 64 }, 10 },       /* carrier-grade NAT (RFC 6598) */
	{ { 169, 254 }, 16 },      /* link-local, and where clouds keep their metadata */
	{ { 172, 16 }, 12 },       /* private */
	{ { 192, 0, 0 }, 24 },     /* protocol assignments (RFC 6890) */
	{ { 192, 0, 2 }, 24 },     /* documentation */
	{ { 192, 31, 196 }, 24 },  /* AS112 (RFC 7535) */
	{ { 192, 52, 193 }, 24 },  /* AMT (RFC 7450) */
	{ { 192, 88, 99 }, 24 },   /* 6to4 relays (RFC 7526) */
	{ { 192, 168 }, 16 },      /* private */
	{ { 192, 175, 48 }, 24 },  /* AS112 (RFC 7534) */
	{ { 198, 18 }, 15 },       /* benchmarks (RFC 2544) */
	{ { 198, 51, 100 }, 24 },  /* documentation */
	{ { 203, 0, 113 }, 24 },   /* documentation */
	{ { 224 }, 4 },            /* multicast */
	{ { 240 }, 4 },            /* reserved, and broadcast */
};

/* Within 2000::/3; everything outside of it is refused anyway. */
static const struct range refused_v6[] = {
	{ { 0x20, 0x01, 0x00 }, 23 },                         /* protocol assignments: Teredo, benchmarks, ORCHID, … (RFC 2928) */
	{ { 0x20, 0x01, 0x0d, 0xb8 }, 32 },                   /* documentation */
	{ { 0x20, 0x02 }, 16 },                               /* 6to4: an IPv4 address inside */
	{ { 0x26, 0x20, 0x00, 0x4f, 0x80, 0x00 }, 48 },       /* AS112 (RFC 7534) */
	{ { 0x3f, 0xfe }, 16 },                               /* 6bone, returned (RFC 3701) */
	{ { 0x3f, 0xff, 0x00 }, 20 },                         /* documentation (RFC 9637) */
};
static const struct range handed_out_v6 = { { 0x20 }, 3 };
static const struct range loopback_v4 = { { 127 }, 8 };

static bool in_range(const uint8_t *address, const struct range *range)
{
	unsigned whole = range->bits / 8, rest = range->bits % 8;
	if (memcmp(address, range->prefix, whole) != 0)
		return false;
	return rest == 0 || (uint8_t)(address[whole] >> (8 - rest)) == (uint8_t)(range->prefix[whole] >> (8 - rest));
}

static bool in_any(const uint8_t *address, const struct range *ranges, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (in_range(address, &ranges[i]))
			return true;
	return false;
}

/* ISATAP (RFC 5214): any prefix, then 0000:5efe or 0200:5efe and an IPv4 address. */
static bool is_isatap(const uint8_t address[16])
{
	return (address[8] & 0xfd) == 0 && address[9] == 0 && address[10] == 0x5e && address[11] == 0xfe;
}

static enum webhook_network network_v4(const uint8_t address[4])
{
	if (in_range(address, &loopback_v4))
		return NETWORK_LOOPBACK;
	return in_any(address, refused_v4, sizeof refused_v4 / sizeof refused_v4[0]) ? NETWORK_REFUSED : NETWORK_PUBLIC;
}

static enum webhook_network network_v6(const uint8_t address[16])
{
	static const uint8_t one[16] = { [15] = 1 };
	if (memcmp(address, one, 16) == 0)
		return NETWORK_LOOPBACK;
	if (!in_range(address, &handed_out_v6) || is_isatap(address))
		return NETWORK_REFUSED;
	return in_any(address, refused_v6, sizeof refused_v6 / sizeof refused_v6[0]) ? NETWORK_REFUSED : NETWORK_PUBLIC;
}

enum webhook_network webhook_network_of(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET) {
		struct sockaddr_in v4;
		uint8_t bytes[4];
		memcpy(&v4, address, sizeof v4);
		memcpy(bytes, &v4.sin_addr, sizeof bytes);
		return network_v4(bytes);
	}
	if (address->sa_family == AF_INET6) {
		struct sockaddr_in6 v6;
		memcpy(&v6, address, sizeof v6);
		return v6.sin6_scope_id != 0 ? NETWORK_REFUSED : network_v6(v6.sin6_addr.s6_addr);
	}
	return NETWORK_REFUSED;
}

bool webhook_address_allowed(const struct webhook_rules *rules, const struct webhook_target *target, const struct sockaddr *address)
{
	enum webhook_network network = webhook_network_of(address);
	if (network == NETWORK_LOOPBACK)
		return rules->loopback;
	return network == NETWORK_PUBLIC && !target->only_loopback;
}

const char *webhook_address_text(const struct sockaddr *address, char ret[WEBHOOK_ADDRESS_TEXT])
{
	union {
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} u;
	const char *text = NULL;
	if (address->sa_family == AF_INET) {
		memcpy(&u.v4, address, sizeof u.v4);
		text = inet_ntop(AF_INET, &u.v4.sin_addr, ret, WEBHOOK_ADDRESS_TEXT);
	} else if (address->sa_family == AF_INET6) {
		memcpy(&u.v6, address, sizeof u.v6);
		text = inet_ntop(AF_INET6, &u.v6.sin6_addr, ret, WEBHOOK_ADDRESS_TEXT);
	}
	if (!text)
		snprintf(ret, WEBHOOK_ADDRESS_TEXT, "?");
	return ret;
}

int webhook_addresses_check(const struct webhook_rules *rules, const struct webhook_target *target, const struct sockaddr_storage *addresses, size_t n,
			    struct error *err)
{
	char text[WEBHOOK_ADDRESS_TEXT];
#ifdef WEIR_MUTANT_NO_ADDRESS_CHECK
	(void)rules;
	(void)addresses;
	(void)text;
	return 0;
#endif
	if (n == 0)
		return error_set(err, WEIR_NOT_FOUND, "%s has no address", target->host);
	for (size_t i = 0; i < n; i++) {
		const struct sockaddr *address = (const struct sockaddr *)&addresses[i];
		if (!webhook_address_allowed(rules, target, address))
			return error_set(err, WEIR_PERMISSION, "%s has the address %s, where webhooks may not go%s", target->host,
					 webhook_address_text(address, text),
					 target->only_loopback ? ": http, and ports that are not in webhooks.ports, are for loopback only" :
								 ": it is not one of the public Internet");
	}
	return 0;
}

/* ---- URLs -------------------------------------------------------------------------------------------------------------------------------- */

int webhook_rules_read(const char *ports, bool loopback, struct webhook_rules *ret, struct error *err)
{
	*ret = (struct webhook_rules){ .loopback = loopback };
	const char *p = ports;
	while (*p) {
		char *end;
		if (*p < '0' || *p > '9')
			return error_set(err, WEIR_INVALID, "not a list of ports such as \"443, 8443\"");
		unsigned long port = strtoul(p, &end, 10);
		if (port < 1 || port > 65535 || end - p > 5 || ret->port_count == WEBHOOK_PORTS_MAX)
			return error_set(err, WEIR_INVALID, "ports are 1 to 65535, at most %d of them", WEBHOOK_PORTS_MAX);
		ret->ports[ret->port_count++] = (uint16_t)port;
		p = end + strspn(end, " ");
		if (*p == ',')
			p += 1 + strspn(p + 1, " ");
		else if (*p)
			return error_set(err, WEIR_INVALID, "not a list of ports such as \"443, 8443\"");
	}
	return ret->port_count > 0 ? 0 : error_set(err, WEIR_INVALID, "at least one port is needed");
}

static int read_part(CURLU *parts, CURLUPart which, unsigned flags, char *ret, size_t size)
{
	char *text = NULL;
	CURLUcode code = curl_url_get(parts, which, &text, flags);
	size_t n = code == CURLUE_OK ? strlen(text) : 0;
	if (code == CURLUE_OK && n < size)
		memcpy(ret, text, n + 1);
	curl_free(text);
	return code != CURLUE_OK || n >= size ? WEIR_INVALID : 0;
}

static bool has_part(CURLU *parts, CURLUPart which)
{
	char *text = NULL;
	CURLUcode code = curl_url_get(parts, which, &text, 0);
	curl_free(text);
	return code == CURLUE_OK;
}

static bool has_port(const struct webhook_rules *rules, uint16_t port)
{
	for (size_t i = 0; i < rules->port_count; i++)
		if (rules->ports[i] == port)
			return true;
	return false;
}

/* Letters, digits, '-', '.', and '_': what public names have. A final dot would name the same host in another way. */
static bool is_name(const char *host)
{
	size_t n = strlen(host);
	return n > 0 && host[0] != '.' && host[0] != '-' && host[n - 1] != '.' && !strstr(host, "..") &&
	       strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == n;
}

static int read_host(CURLU *parts, struct webhook_target *ret, struct error *err)
{
	char host[WEBHOOK_HOST_MAX + 1];
	uint8_t bytes[16];
	if (has_part(parts, CURLUPART_ZONEID) || read_part(parts, CURLUPART_HOST, 0, host, sizeof host))
		return error_set(err, WEIR_INVALID, "the URL has no host that can be used");
	size_t n = strlen(host);
	if (host[0] == '[' && host[n - 1] == ']') {
		host[n - 1] = '\0';
		if (inet_pton(AF_INET6, host + 1, bytes) != 1)
			return error_set(err, WEIR_INVALID, "the URL's host is not an address");
		snprintf(ret->host, sizeof ret->host, "%s", host + 1);
		return 0;
	}
	if (!is_name(host))
		return error_set(err, WEIR_INVALID, "the URL's host is not a name that can be used");
	memcpy(ret->host, host, n + 1);
	return 0;
}

/* The same parser that the delivery's client has: two would read one URL as two places. */
static int read_parts(CURLU *parts, const char *url, const struct webhook_rules *rules, struct webhook_target *ret, struct error *err)
{
	char scheme[16], port[8];
	if (read_part(parts, CURLUPART_SCHEME, 0, scheme, sizeof scheme) || (strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0))
		return error_set(err, WEIR_INVALID, "the URL does not begin with https://");
	ret->https = strcmp(scheme, "https") == 0;
	if (!ret->https && !rules->loopback)
		return error_set(err, WEIR_INVALID, "the URL must begin with https:// (http is for development: webhooks.allow_loopback)");
	if (has_part(parts, CURLUPART_USER) || has_part(parts, CURLUPART_PASSWORD))
		return error_set(err, WEIR_INVALID, "the URL may hold neither user nor password: receivers tell weir by its signature");
	if (strchr(url, '#'))
		return error_set(err, WEIR_INVALID, "the URL may have no fragment (#…)");
	int code = read_host(parts, ret, err);
	if (code)
		return code;
	if (read_part(parts, CURLUPART_PORT, CURLU_DEFAULT_PORT, port, sizeof port))
		return error_set(err, WEIR_INVALID, "the URL's port cannot be used");
	ret->port = (uint16_t)strtoul(port, NULL, 10);
	bool listed = has_port(rules, ret->port);
	if (ret->port == 0 || (!listed && !rules->loopback))
		return error_set(err, WEIR_INVALID, "port %u is not one that webhooks may go to (webhooks.ports)", ret->port);
	ret->only_loopback = !ret->https || !listed;
	return 0;
}

int webhook_target_read(const char *url, const struct webhook_rules *rules, struct webhook_target *ret, struct error *err)
{
	*ret = (struct webhook_target){ 0 };
	size_t n = strnlen(url, WEBHOOK_URL_MAX + 1);
	if (n == 0 || n > WEBHOOK_URL_MAX)
		return error_set(err, WEIR_INVALID, "a URL has 1 to %d bytes", WEBHOOK_URL_MAX);
	for (size_t i = 0; i < n; i++)
		if (url[i] <= ' ' || url[i] > '~' || strchr("\\\"<>^`{|}", url[i]))
			return error_set(err, WEIR_INVALID, "the URL has a byte that must be written as %%XX");
	size_t host = strncmp(url, "https://", 8) == 0 ? 8 : strncmp(url, "http://", 7) == 0 ? 7 : 0;
	if (host == 0 || url[host] == '/') /* the client would forgive further slashes; others read an empty host */
		return error_set(err, WEIR_INVALID, "the URL does not begin with https:// and a host");
	CURLU *parts = curl_url();
	if (!parts)
		return error_set(err, WEIR_FULL, "no memory for a URL");
	int code = curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK ? 0 : error_set(err, WEIR_INVALID, "that is not a URL");
	if (!code)
		code = read_parts(parts, url, rules, ret, err);
	curl_url_cleanup(parts);
	return code;
}
