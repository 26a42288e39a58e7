/* webhook_url_fuzz.c - URLs of receivers: what is taken has the shape that was promised, and goes to no literal address that is not public. */
#include "services/gateway/webhook/webhook_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static void must_be_public(const struct webhook_rules *rules, const struct webhook_target *target)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	struct error err;
	struct sockaddr_storage address = { 0 };
	if (inet_pton(AF_INET, target->host, &v4.sin_addr) == 1)
		memcpy(&address, &v4, sizeof v4);
	else if (inet_pton(AF_INET6, target->host, &v6.sin6_addr) == 1)
		memcpy(&address, &v6, sizeof v6);
	else
		return;
	bool open = webhook_network_of((struct sockaddr *)&address) == NETWORK_PUBLIC;
	if (open != (webhook_addresses_check(rules, target, &address, 1, &err) == 0))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct webhook_rules rules = { .ports = { 443 }, .port_count = 1 };
	struct webhook_target target;
	struct webhook_rules read;
	struct error err;
	char text[4096];
	if (size >= sizeof text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (webhook_target_read(text, &rules, &target, &err) == 0) {
		if (!target.https || target.only_loopback || target.port != 443 || !target.host[0] || strpbrk(target.host, "@/\\#? []%"))
			abort();
		must_be_public(&rules, &target);
	}
	(void)webhook_rules_read(text, false, &read, &err);
	return 0;
}
