/* chain.c - the table of chain families, and a configured chain made from it. */
#include "chains/chain.h"

#include "chains/evm/evm.h"

#include <string.h>

const struct chain_family *const chain_families[] = { &evm_family, NULL };

int chain_init(struct chain *chain, const char *name, const char *family, const char *profile, uint64_t chain_id, struct error *err)
{
	memset(chain, 0, sizeof *chain);
	chain->name = name;
	chain->chain_id = chain_id;
	char known[256] = "";
	for (size_t i = 0; chain_families[i]; i++) {
		if (strcmp(chain_families[i]->name, family) == 0)
			chain->family = chain_families[i];
		strncat(known, i ? ", " : "", sizeof known - strlen(known) - 1);
		strncat(known, chain_families[i]->name, sizeof known - strlen(known) - 1);
	}
	if (!chain->family)
		return error_set(err, WEIR_CONFIG, "chain %s: family \"%s\" is not known; known: %s", name, family, known);
	chain->profile = chain->family->profile(profile);
	if (!chain->profile)
		return error_set(err, WEIR_CONFIG, "chain %s: profile \"%s\" is not known; known: %s", name, profile, chain->family->profiles);
	if (!chain->family->fits(chain->profile, chain_id))
		return error_set(err, WEIR_CONFIG, "chain %s: profile \"%s\" has the rules of another chain than the one with id %llu; set profile to one of: %s",
				 name, profile, (unsigned long long)chain_id, chain->family->profiles);
	return 0;
}
