/* nodes.c - a chain, its genesis block and its endpoints, by the settings. */
#include "nodes.h"

#include "wire/hex.h"

#include <string.h>

static struct endpoints *make_endpoints(struct daemon_ctx *ctx, const struct chain_config *settings)
{
	struct endpoint_options options[CONFIG_ENDPOINTS_MAX];
	bool verify = false, head = false;
	for (size_t i = 0; i < settings->endpoint_count; i++) {
		verify = verify || settings->endpoints[i].verify;
		head = head || settings->endpoints[i].head;
	}
	for (size_t i = 0; i < settings->endpoint_count; i++) {
		const struct endpoint_config *e = &settings->endpoints[i];
		options[i] = (struct endpoint_options){ .name = e->name,
							.url = e->url,
							.auth_header = e->auth_header,
							.weight = e->weight,
							.requests_per_second = e->requests_per_second,
							.max_concurrency = e->max_concurrency };
		/* Where no endpoint is meant for a role, all serve it. */
		options[i].roles = (e->head || !head ? ENDPOINT_HEAD : 0u) | (e->verify || !verify ? ENDPOINT_VERIFY : 0u) |
				   (e->backfill ? ENDPOINT_BACKFILL : 0u);
	}
	return endpoints_new(settings->name, options, settings->endpoint_count, daemon_log(ctx), daemon_metrics(ctx));
}

int nodes_open(struct daemon_ctx *ctx, const struct chain_config *settings, struct nodes *ret, struct error *err)
{
	int code = chain_init(&ret->chain, settings->name, settings->family, settings->profile, settings->chain_id, err);
	if (code)
		return code;
	ret->chain.start_height = settings->start_height;
	ret->identity.chain = &ret->chain;
	if (settings->genesis_hash && settings->genesis_hash[0]) {
		if (hex_to_bytes(settings->genesis_hash, strlen(settings->genesis_hash), ret->identity.genesis_hash, 32))
			return error_set(err, WEIR_CONFIG, "chain %s: genesis_hash is not 0x and 64 digits", settings->name);
		ret->identity.genesis_known = true;
	}
	ret->endpoints = make_endpoints(ctx, settings);
	return 0;
}

int nodes_learn_genesis(struct nodes *nodes, const uint8_t hash[32], struct error *err)
{
	struct node_identity *identity = &nodes->identity;
	if (!identity->genesis_known) {
		memcpy(identity->genesis_hash, hash, 32);
		identity->genesis_known = true;
	}
	if (memcmp(identity->genesis_hash, hash, 32) != 0)
		return error_set(err, WEIR_WRONG_CHAIN, "chain %s: genesis_hash in the settings is not the genesis block of the ledger", nodes->chain.name);
	return 0;
}

void nodes_close(struct nodes *nodes)
{
	endpoints_free(&nodes->endpoints);
}
