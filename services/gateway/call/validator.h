/* validator.h - strong ETags, and 304 for clients that have the answer already (RFC 9110 sections 8.8 and 13.1.2).
 *
 * Two kinds. Answers about one block are tagged before they are read, from the block (hash, branch, finality), the request and the
 * version of the program: equal tags, equal bytes. All other reads are tagged by their bytes. What is final is also immutable: Cache-Control says
 * so and clients need not ask again; a page of a list for an hour only, its next_cursor does not live for good.
 *
 * A tag is "<22 characters>"; what content coding or media type adds comes behind it ("<22 characters>-gzip") and is not looked at here.
 */
#ifndef WEIR_GATEWAY_VALIDATOR_H
#define WEIR_GATEWAY_VALIDATOR_H

#include "call/lookup.h"

/* Tags the answer to a read of one block. True: the client has it; answered with 304. list: the answer has cursors in it. */
bool validator_of_block(struct call *, const struct block_ref *, bool list);
void validator_tag_block(struct call *, const struct block_ref *, bool list); /* without looking at what the client has */
/* The answer is tagged: 304 instead of it where the client has it. */
bool validator_not_modified(struct call *);
/* May the answer be kept for good? */
bool validator_is_final(const struct http_response *);
/* Behind the handler: tags an answer that has no tag yet by its bytes; 304 instead of them where the client has them. */
void validator_of_body(struct call *);

/* Does If-None-Match (NULL: absent) name the tag, in any coding? Weak comparison. ret_match: the tag as it is named there, quotes included. */
#define ETAG_MAX 80
bool etag_matches(const char *if_none_match, const char *etag, char ret_match[ETAG_MAX]);
/* The tag of the same answer in a content coding or media type: equal tags are equal bytes. An empty one, and one that is too long for it, stay as they are. */
void etag_add_form(char etag[ETAG_MAX], const char *name);

#endif
