/* trie.h - root of the Merkle Patricia trie of an ordered list: key i is rlp(i) (yellow paper, appendix D; used for transactions,
 * receipts and withdrawals). */
#ifndef WEIR_WIRE_TRIE_H
#define WEIR_WIRE_TRIE_H

#include "base/mem.h"

/* values[i] is the encoding under key rlp(i). scratch is used and left reset. */
void trie_list_root(const struct bytes *values, size_t n, struct buf *scratch, uint8_t ret[32]);

#endif
