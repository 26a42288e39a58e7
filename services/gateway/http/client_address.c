/* client_address.c - addresses as text and bytes, ranges of them, and the way through proxies. */
#include "http/client_address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOPS_MAX 32
#define MAPPED_BITS 96 /* in front of an IPv4 address */

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static bool is_v4(const struct client_address *a)
{
	return memcmp(a->bytes, mapped, sizeof mapped) == 0;
}

struct client_address client_address_of(const struct sockaddr *from)
{
	struct client_address a = { { 0 } };
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	if (from && from->sa_family == AF_INET) {
		memcpy(&v4, from, sizeof v4);
		memcpy(a.bytes, mapped, sizeof mapped);
		memcpy(a.bytes + 12, &v4.sin_addr, 4);
	} else if (from && from->sa_family == AF_INET6) {
		memcpy(&v6, from, sizeof v6);
		memcpy(a.bytes, &v6.sin6_addr, 16);
	}
	return a;
}

bool client_address_parse(const char *text, size_t size, struct client_address *ret)
{
	char copy[INET6_ADDRSTRLEN];
	if (size == 0 || size >= sizeof copy)
		return false;
	memcpy(copy, text, size);
	copy[size] = '\0';
	memcpy(ret->bytes, mapped, sizeof mapped);
	return strlen(copy) == size && (inet_pton(AF_INET, copy, ret->bytes + 12) == 1 || inet_pton(AF_INET6, copy, ret->bytes) == 1);
}

void client_address_print(const struct client_address *a, char ret[CLIENT_ADDRESS_TEXT])
{
	bool v4 = is_v4(a);
	inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? a->bytes + 12 : a->bytes, ret, CLIENT_ADDRESS_TEXT);
}

void client_address_limited(const struct client_address *a, char ret[CLIENT_ADDRESS_TEXT])
{
	struct client_address network = *a;
	bool v4 = is_v4(a);
	if (!v4)
		memset(network.bytes + 8, 0, 8);
	client_address_print(&network, ret);
	if (!v4)
		strncat(ret, "/64", CLIENT_ADDRESS_TEXT - strlen(ret) - 1);
}

/* ---- ranges ---------------------------------------------------------------------------------------------------------------------------- */

static bool same_network(const struct client_address *a, const struct client_address *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;
	if (memcmp(a->bytes, b->bytes, whole) != 0)
		return false;
	return rest == 0 || ((a->bytes[whole] ^ b->bytes[whole]) >> (8 - rest)) == 0;
}

static bool host_bits_set(const struct client_range *range)
{
	for (unsigned bit = range->bits; bit < 128; bit++)
		if (range->base.bytes[bit / 8] >> (7 - bit % 8) & 1)
			return true;
	return false;
}

static bool parse_range(const char *text, size_t size, struct client_range *ret)
{
	const char *slash = memchr(text, '/', size);
	size_t address_size = slash ? (size_t)(slash - text) : size;
	if (!client_address_parse(text, address_size, &ret->base))
		return false;
	bool v4 = !memchr(text, ':', address_size);
	unsigned most = v4 ? 32 : 128, bits = most;
	if (slash) {
		size_t digits = size - address_size - 1;
		if (digits == 0 || digits > 3 || strspn(slash + 1, "0123456789") < digits)
			return false;
		bits = (unsigned)strtoul(slash + 1, NULL, 10);
	}
	ret->bits = v4 ? MAPPED_BITS + bits : bits;
	return bits <= most && !host_bits_set(ret);
}

int client_ranges_parse(const char *text, struct client_ranges *ret, struct error *err)
{
	static const char between[] = ", \t";
	ret->count = 0;
	for (text += strspn(text, between); *text; text += strspn(text, between)) {
		size_t size = strcspn(text, between);
		if (ret->count == CLIENT_RANGES_MAX)
			return error_set(err, WEIR_CONFIG, "more than %d address ranges", CLIENT_RANGES_MAX);
		if (!parse_range(text, size, &ret->items[ret->count]))
			return error_set(err, WEIR_CONFIG, "\"%.*s\" is not an address or network such as 10.0.0.0/8 or 2001:db8::/32", (int)(size < 64 ? size : 64),
					 text);
		ret->count++;
		text += size;
	}
	return 0;
}

bool client_ranges_have(const struct client_ranges *ranges, const struct client_address *a)
{
	for (size_t i = 0; i < ranges->count; i++)
		if (same_network(a, &ranges->items[i].base, ranges->items[i].bits))
			return true;
	return false;
}

/* ---- proxies --------------------------------------------------------------------------------------------------------------------------- */

struct client_address client_address_behind(const struct client_address *peer, const char *forwarded, const struct client_ranges *trusted)
{
	struct client_address client = *peer;
	const char *end = forwarded ? forwarded + strlen(forwarded) : NULL;
	for (int hop = 0; end && hop < HOPS_MAX && client_ranges_have(trusted, &client); hop++) {
		const char *begin = end;
		while (begin > forwarded && begin[-1] != ',')
			begin--;
		const char *next = begin > forwarded ? begin - 1 : NULL;
		while (begin < end && (*begin == ' ' || *begin == '\t'))
			begin++;
		while (end > begin && (end[-1] == ' ' || end[-1] == '\t'))
			end--;
		struct client_address said;
		if (!client_address_parse(begin, (size_t)(end - begin), &said))
			break;
		client = said;
		end = next;
	}
	return client;
}
