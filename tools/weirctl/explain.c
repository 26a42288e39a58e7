/* explain.c - where a balance comes from: each entry with its origin, the proof of its block, and the running balance, which must end at
 * the balance that the gateway serves for that height. The height is fixed first, so a chain that moves on changes nothing. */
#include "weirctl.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ROW "%10s  %-14s %-16s %28s  %28s  %-18s %s\n"

struct story {
	const struct settings *s;
	const char *account, *asset;
	char height[96], block_hash[96]; /* up to and with this block */
	char running[96];                /* balance after the entry last told */
	char proven_hash[96], proof[64]; /* the certificate last asked for, and what it says */
	size_t told;
};

static void add_account(struct buf *path, const struct story *t, const char *rest)
{
	buf_add_str(path, "/v1/chains/");
	add_encoded(path, t->s->chain);
	buf_add_str(path, "/accounts/");
	add_encoded(path, t->account);
	buf_add_str(path, rest);
}

/* The balance served at the height; NULL members: the account never held the asset. *ret_doc owns what *ret_balance points to. */
static int ask_balance(const struct story *t, const char *height, yyjson_doc **ret_doc, yyjson_val **ret_balance, struct error *err)
{
	struct buf path = BUF_INIT(8192);
	size_t i, max;
	yyjson_val *item;
	add_account(&path, t, "/balances");
	add_query(&path, "height", height);
	*ret_doc = ask(t->s, false, buf_str(&path), NULL, err);
	*ret_balance = NULL;
	buf_free(&path);
	if (!*ret_doc)
		return err->code;
	yyjson_arr_foreach(yyjson_obj_get(yyjson_doc_get_root(*ret_doc), "items"), i, max, item)
	{
		const char *asset = yyjson_get_str(yyjson_obj_get(item, "asset"));
		if (asset && strcasecmp(asset, t->asset) == 0)
			*ret_balance = item;
	}
	return 0;
}

/* "proven (11 of 15)": checks of the block's certificate that passed; the others were not possible. */
static const char *proof_of(struct story *t, yyjson_val *entry)
{
	struct error err = { 0 };
	const char *hash = yyjson_get_str(yyjson_obj_get(entry, "block_hash"));
	if (!hash)
		return "asked of the chain"; /* an opening balance: no block of the ledger holds it */
	if (strcmp(hash, t->proven_hash) == 0)
		return t->proof;
	struct buf path = BUF_INIT(8192);
	buf_add_str(&path, "/v1/chains/");
	add_encoded(&path, t->s->chain);
	buf_printf(&path, "/blocks/%s/certificate", hash);
	yyjson_doc *doc = ask(t->s, false, buf_str(&path), NULL, &err);
	buf_free(&path);
	yyjson_val *root = yyjson_doc_get_root(doc), *check;
	size_t passed = 0, i, n = 0;
	yyjson_arr_foreach(yyjson_obj_get(root, "checks"), i, n, check)
	{
		const char *result = yyjson_get_str(yyjson_obj_get(check, "result"));
		passed += result && strcmp(result, "passed") == 0;
	}
	if (doc)
		snprintf(t->proof, sizeof t->proof, "%s (%zu of %zu)", yyjson_get_bool(yyjson_obj_get(root, "proven")) ? "proven" : "unproven", passed, n);
	else
		snprintf(t->proof, sizeof t->proof, "no certificate");
	yyjson_doc_free(doc);
	snprintf(t->proven_hash, sizeof t->proven_hash, "%s", hash);
	return t->proof;
}

static void tell_json(struct story *t, yyjson_val *entry)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *copy = yyjson_val_mut_copy(doc, entry);
	yyjson_mut_obj_add_str(doc, copy, "proof", proof_of(t, entry));
	char *text = yyjson_mut_val_write(copy, 0, NULL);
	printf("%s%s", t->told ? "," : "", text ? text : "");
	free(text);
	yyjson_mut_doc_free(doc);
}

static void tell(struct story *t, yyjson_val *entry)
{
	char cells[6][96];
	if (t->s->json)
		tell_json(t, entry);
	else
		printf(ROW, value_text(yyjson_obj_get(entry, "height"), cells[0]), value_text(yyjson_obj_get(entry, "kind"), cells[1]),
		       value_text(yyjson_obj_get(entry, "path"), cells[2]), value_text(yyjson_obj_get(entry, "delta"), cells[3]),
		       value_text(yyjson_obj_get(entry, "balance"), cells[4]), proof_of(t, entry),
		       value_text(yyjson_obj_get(entry, "transaction_hash"), cells[5]));
	value_text(yyjson_obj_get(entry, "balance"), t->running);
	t->told++;
}

static void tell_begin(const struct story *t)
{
	if (!t->s->json) {
		printf(ROW, "HEIGHT", "KIND", "ORIGIN", "DELTA", "BALANCE", "PROOF", "TRANSACTION");
		return;
	}
	yyjson_mut_doc *doc = new_body();
	add_text(doc, "chain", t->s->chain);
	add_text(doc, "account", t->account);
	add_text(doc, "asset", t->asset);
	add_text(doc, "block_hash", t->block_hash);
	char *text = yyjson_mut_write(doc, 0, NULL);
	printf("%.*s,\"height\":%s,\"entries\":[", text ? (int)strlen(text) - 1 : 0, text ? text : "", t->height);
	free(text);
	yyjson_mut_doc_free(doc);
}

static int tell_entries(struct story *t, struct error *err)
{
	char *cursor = NULL;
	for (bool first = true; first || cursor; first = false) {
		struct buf path = BUF_INIT(8192);
		size_t i, max;
		yyjson_val *entry;
		add_account(&path, t, "/entries?limit=1000");
		add_query(&path, "asset", t->asset);
		add_query(&path, "to", t->height);
		add_query(&path, "cursor", cursor);
		yyjson_doc *doc = ask(t->s, false, buf_str(&path), NULL, err);
		buf_free(&path);
		xfree(&cursor);
		if (!doc)
			return err->code;
		if (first)
			tell_begin(t);
		yyjson_val *root = yyjson_doc_get_root(doc);
		yyjson_arr_foreach(yyjson_obj_get(root, "items"), i, max, entry) tell(t, entry);
		cursor = xstrdup(yyjson_get_str(yyjson_obj_get(root, "next_cursor")));
		yyjson_doc_free(doc);
	}
	return 0;
}

/* What stands below the entries: the served balance, and whether they lead to it. */
static int tell_end(struct story *t, yyjson_val *balance, struct error *err)
{
	char amount[96] = "0", reconciled[96];
	bool lies = yyjson_get_bool(yyjson_obj_get(balance, "non_conserving"));
	if (balance)
		value_text(yyjson_obj_get(balance, "amount"), amount);
	bool equal = strcmp(amount, t->told ? t->running : "0") == 0;
	if (t->s->json) {
		char *text = balance ? yyjson_val_write(balance, 0, NULL) : NULL;
		printf("],\"balance\":%s,\"entries_end_at_balance\":%s}\n", text ? text : "null", equal ? "true" : "false");
		free(text);
	} else {
		printf("%zu entries; the balance served at height %s is %s", t->told, t->height, amount);
		if (balance && !yyjson_is_null(yyjson_obj_get(balance, "reconciled_at_height")))
			printf(", compared with the chain at height %s", value_text(yyjson_obj_get(balance, "reconciled_at_height"), reconciled));
		printf("\n");
		if (balance && !yyjson_get_bool(yyjson_obj_get(balance, "opening_known")))
			printf("What the account held before the ledger's first block is not known: the balance is a change only.\n");
		if (lies)
			printf("This asset's logs do not tell its balances (non-conserving): the balance is what the chain says, the entries are as logged.\n");
	}
	return equal || lies ? 0 :
			       error_set(err, WEIR_MISMATCH, "the entries end at %s, the balance served is %s: look at \"weirctl incidents\", and report it",
					 t->told ? t->running : "0", amount);
}

int explain(struct settings *s, int argc, char **argv, struct error *err)
{
	struct story t = { .s = s, .account = argv[0], .asset = argv[1] };
	char hash[96];
	uint64_t height;
	yyjson_doc *doc = NULL;
	yyjson_val *balance = NULL;
	if ((argc > 2 && read_height(argv[2], &height, err)) || find_chain(s, err) ||
	    ask_balance(&t, argc > 2 ? argv[2] : NULL, &doc, &balance, err))
		return err->code;
	value_text(yyjson_obj_get(yyjson_doc_get_root(doc), "height"), t.height);
	value_text(yyjson_obj_get(yyjson_doc_get_root(doc), "block_hash"), t.block_hash);
	yyjson_doc_free(doc);
	int r = tell_entries(&t, err);
	if (r == 0)
		r = ask_balance(&t, t.height, &doc, &balance, err);
	if (r)
		return r;
	value_text(yyjson_obj_get(yyjson_doc_get_root(doc), "block_hash"), hash);
	if (strcmp(hash, t.block_hash) != 0)
		r = error_set(err, WEIR_CONFLICT, "a reorg took block %s at height %s back meanwhile: ask again", t.block_hash, t.height);
	else
		r = tell_end(&t, balance, err);
	yyjson_doc_free(doc);
	return r;
}
