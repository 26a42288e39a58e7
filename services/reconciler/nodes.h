/* nodes.h - what the settings say of one chain and of those to ask about it. */
#ifndef WEIR_RECONCILER_NODES_H
#define WEIR_RECONCILER_NODES_H

#include "node.h"

#include "daemon/daemon.h"

struct nodes {
	struct chain chain;
	struct node_identity identity;
	struct endpoints *endpoints;
};
int nodes_open(struct daemon_ctx *, const struct chain_config *, struct nodes *ret, struct error *); /* asks nobody yet */
/* The ledger knows its genesis block from an earlier life: whoever is asked has to have it, and the settings must not say another. */
int nodes_learn_genesis(struct nodes *, const uint8_t hash[32], struct error *);
void nodes_close(struct nodes *);

#endif
