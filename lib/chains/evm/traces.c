/* traces.c - native value moved inside transactions, whichever form the trace had.
 *
 * No root commits to traces. What can be checked is that they fit the transactions: one root each, same sender, recipient, value and
 * outcome; a state diff, where one was fetched, checks the rest. DELEGATECALL and STATICCALL move nothing; CALLCODE moves to itself; a
 * self-destruct moves the whole balance, to itself: destroys it. Since Cancun a contract dies only in the transaction that created it
 * (EIP-6780). What a dying contract is sent later in the transaction perishes when the transaction ends.
 */
#include "chains/evm/traces.h"

#include <string.h>

static const uint8_t zero_address[20];

static char *add_number(char *at, uint32_t n)
{
	char digits[10];
	size_t count = 0;
	do
		digits[count++] = (char)('0' + n % 10);
	while (n /= 10);
	while (count > 0)
		*at++ = digits[--count];
	return at;
}

/* "trace:0.1" and an ending. */
static const char *path_text(struct trace_walk *w, const char *ending)
{
	char *text = arena_alloc(w->b->arena, w->depth * 11 + sizeof "trace:" + strlen(ending));
	if (!text)
		return NULL;
	char *at = stpcpy(text, "trace:");
	for (size_t i = 0; i < w->depth; i++) {
		if (i > 0)
			*at++ = '.';
		at = add_number(at, w->path[i]);
	}
	memcpy(at, ending, strlen(ending) + 1);
	return text;
}

/* Room for one more element of a growing array in the arena. */
static bool make_room(struct trace_walk *w, void **array, size_t count, size_t *capacity, size_t size, size_t max)
{
	if (count < *capacity)
		return true;
	size_t wanted = *capacity ? *capacity * 2 : 64;
	void *bigger = wanted > max ? NULL : arena_alloc(w->b->arena, wanted * size);
	if (!bigger)
		return TRACE_FAIL(w, "transaction %zu: more inner calls than one block may have", w->tx_index);
	if (count)
		memcpy(bigger, *array, count * size);
	*array = bigger;
	*capacity = wanted;
	return true;
}

/* What comes and goes after a contract's death changes what perishes with it. */
static void follow_dead(struct trace_walk *w, const uint8_t from[20], const uint8_t *to, struct u256 value)
{
	for (size_t i = 0; i < w->death_count; i++) {
		struct trace_death *d = &w->deaths[i];
		if (to && memcmp(d->address, to, 20) == 0)
			(void)u256_add(d->since, value, &d->since);
		if (memcmp(d->address, from, 20) == 0 && !u256_sub(d->since, value, &d->since))
			d->since = u256_from_u64(0);
	}
}

static bool add_move(struct trace_walk *w, enum evm_move_kind kind, const uint8_t from[20], const uint8_t to[20], struct u256 value, bool burns,
		     const char *path)
{
	struct evm_block *b = w->b;
	if (u256_is_zero(value))
		return true;
	if (!make_room(w, (void **)&b->moves, b->move_count, &w->move_capacity, sizeof *b->moves, EVM_MOVES_MAX))
		return false;
	if (!path && !(path = path_text(w, "")))
		return TRACE_FAIL(w, "the traces need more memory than one message may have");
	struct evm_move *move = &b->moves[b->move_count++];
	move->kind = kind;
	move->value = value;
	move->path = path;
	move->burns = burns;
	memcpy(move->from, from, 20);
	memcpy(move->to, to, 20);
	b->txs[w->tx_index].move_count++;
	follow_dead(w, from, burns ? NULL : to, value);
	return true;
}

static bool was_created(const struct trace_walk *w, const uint8_t address[20])
{
	for (size_t i = 0; i < w->created_count; i++)
		if (memcmp(w->created[i], address, 20) == 0)
			return true;
	return false;
}

static bool has_died(const struct trace_walk *w, const uint8_t address[20])
{
	for (size_t i = 0; i < w->death_count; i++)
		if (memcmp(w->deaths[i].address, address, 20) == 0)
			return true;
	return false;
}

static bool self_destruct(struct trace_walk *w, const struct trace_call *call)
{
	bool to_itself = memcmp(call->from, call->to, 20) == 0;
	bool dies = !w->b->header.has_blob_gas || was_created(w, call->from); /* blob gas came with Cancun, as EIP-6780 did */
	if (to_itself && !dies)
		return true;
	if (!add_move(w, EVM_MOVE_SELFDESTRUCT, call->from, call->to, call->value, to_itself, NULL))
		return false;
	if (!dies || has_died(w, call->from))
		return true;
	const char *path = path_text(w, ":end");
	if (!path || !make_room(w, (void **)&w->deaths, w->death_count, &w->death_capacity, sizeof *w->deaths, EVM_MOVES_MAX))
		return TRACE_FAIL(w, "the traces need more memory than one message may have");
	struct trace_death *d = &w->deaths[w->death_count++];
	*d = (struct trace_death){ .path = path };
	memcpy(d->address, call->from, 20);
	return true;
}

void trace_begin_tx(struct trace_walk *w, size_t index)
{
	w->tx_index = index;
	w->created_count = 0;
	w->death_count = 0;
	w->depth = 0;
	w->b->txs[index].first_move = w->b->move_count;
	w->b->txs[index].move_count = 0;
}

bool trace_end_tx(struct trace_walk *w)
{
	size_t deaths = w->death_count;
	w->death_count = 0; /* nothing follows any more */
	for (size_t i = 0; i < deaths; i++)
		if (!add_move(w, EVM_MOVE_SELFDESTRUCT, w->deaths[i].address, zero_address, w->deaths[i].since, true, w->deaths[i].path))
			return false;
	return true;
}

bool trace_check_root(struct trace_walk *w, const struct trace_call *call)
{
	struct evm_tx *tx = &w->b->txs[w->tx_index];
	bool creates = call->kind == TRACE_CREATE;
	if (!tx->has_status)
		tx->succeeded = !call->failed; /* before Byzantium only the trace tells */
#ifdef WEIR_MUTANT_NO_TRACE_COHERENCE
	return true;
#endif
	bool fits = creates == tx->creates && (creates || call->kind == TRACE_CALL) && memcmp(call->from, tx->from, 20) == 0 &&
		    u256_cmp(call->value, tx->value) == 0 && (creates || memcmp(call->to, tx->to, 20) == 0);
	if (fits && creates && !call->failed)
		fits = memcmp(call->to, tx->created, 20) == 0;
	if (!fits)
		return TRACE_FAIL(w, "the trace of transaction %zu has another sender, recipient or value than the transaction", w->tx_index);
	if (tx->has_receipt && tx->succeeded == call->failed)
		return TRACE_FAIL(w, "the trace of transaction %zu says %s, its receipt the opposite", w->tx_index, call->failed ? "failed" : "succeeded");
	return true;
}

static bool note_created(struct trace_walk *w, const uint8_t address[20])
{
	if (!make_room(w, (void **)&w->created, w->created_count, &w->created_capacity, sizeof *w->created, EVM_MOVES_MAX))
		return false;
	memcpy(w->created[w->created_count++], address, 20);
	return true;
}

bool trace_execute(struct trace_walk *w, const struct trace_call *call, bool root)
{
	if (call->kind == TRACE_DESTROY) {
		/* Who dies is whose code it is. That is certain, while revm's tracer names the caller where a contract destroys itself to itself. */
		struct trace_call own = *call;
		if (w->depth > 0)
			memcpy(own.from, w->contexts[w->depth - 1], 20);
		return self_destruct(w, &own);
	}
	bool delegated = call->kind == TRACE_DELEGATED && w->depth > 0;
	memcpy(w->contexts[w->depth], delegated ? w->contexts[w->depth - 1] : call->to, 20);
	if (call->kind == TRACE_CREATE && !note_created(w, call->to))
		return false;
	if (root || call->kind == TRACE_STATIC || call->kind == TRACE_DELEGATED)
		return true;
	return add_move(w, call->kind == TRACE_CREATE ? EVM_MOVE_CREATE : EVM_MOVE_CALL, call->from, call->to, call->value, false, NULL);
}
