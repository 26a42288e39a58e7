/* answer.h - takes a JSON-RPC 2.0 answer apart without building a tree: where does each `result` stand in the text?
 *
 * Results are megabytes and are passed on byte for byte, so only their extent is found: strings are skipped, brackets are matched.
 * What is inside a result is not judged here; whoever reads it parses it. Truncated text, unbalanced brackets, text behind the end,
 * a key given twice and both result and error in one answer are refused.
 */
#ifndef WEIR_NET_ANSWER_H
#define WEIR_NET_ANSWER_H

#include "base/error.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

#define ANSWER_DEPTH_MAX 512

struct answer_item {
	bool has_id; /* a number; false for null, absent or another type */
	uint64_t id;
	bool has_error;
	int64_t error_code;
	char error_message[400]; /* printable characters only */
	bool has_result;
	struct bytes result; /* points into the text */
};
typedef void answer_item_fn(const struct answer_item *, void *arg);
/* on_item per answer: one for an object, n for an array (*ret_batch). WEIR_PROTOCOL with the place; items before it were told. */
int answer_split(struct bytes text, answer_item_fn *on_item, void *arg, bool *ret_batch, struct error *);

/* The extent of the JSON value at text[*at] (blanks before it allowed); moves *at behind it. WEIR_PROTOCOL: none, or truncated. */
int answer_skip(struct bytes text, size_t *at, struct bytes *ret);

#endif
