/* reconciler_crash.c - weir-reconciler with a defect, for tests of what becomes of that (tests/service/test_crash_poison.py): it ends when of chain CRASH_CHAIN
 * it applies block CRASH_AT_BLOCK, and, where CRASH_AT_QUESTION is set, when any is told to compare an account. The linker puts these functions before the service's own. */
#include "apply.h"
#include "mailbox.h"
#include "metrics.h"
#include "reconciler.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

int __real_ledger_apply(struct ledger *, Weir__V1__NormalizedBlock *const *, size_t, struct applied *, struct error *);
int __wrap_ledger_apply(struct ledger *, Weir__V1__NormalizedBlock *const *, size_t, struct applied *, struct error *);
bool __real_mailbox_put_question(struct mailbox *, const struct mail_question *);
bool __wrap_mailbox_put_question(struct mailbox *, const struct mail_question *);

static bool is_the_chain(const struct ledger *ledger)
{
	const char *chain = getenv("CRASH_CHAIN");
	return chain && strcmp(chain, ledger->options.chain->name) == 0;
}

int __wrap_ledger_apply(struct ledger *ledger, Weir__V1__NormalizedBlock *const *blocks, size_t n, struct applied *ret, struct error *err)
{
	const char *height = getenv("CRASH_AT_BLOCK");
	for (size_t i = 0; i < n && height && is_the_chain(ledger); i++)
		if (blocks[i]->height == strtoull(height, NULL, 10))
			abort();
	return __real_ledger_apply(ledger, blocks, n, ret, err);
}

bool __wrap_mailbox_put_question(struct mailbox *box, const struct mail_question *question)
{
	if (getenv("CRASH_AT_QUESTION"))
		abort();
	return __real_mailbox_put_question(box, question);
}

int main(int argc, char **argv)
{
	struct daemon daemon = reconciler_daemon;
	daemon.metric_count = reconciler_metric_count;
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	return daemon_main(&daemon, argc, argv);
}
