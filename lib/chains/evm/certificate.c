/* certificate.c - collecting what was checked, and turning it into the message stored beside the block. */
#include "chains/evm/evm.h"

#include "base/clock.h"
#include "base/version.h"

#include <stdarg.h>
#include <stdio.h>

bool evm_fail(struct evm_certificate *c, Weir__V1__CheckName name, const char *endpoint, const char *format, ...)
{
	if (c->checks[name].result == WEIR__V1__CHECK_RESULT__CHECK_RESULT_FAILED)
		return false;
	va_list args;
	va_start(args, format);
	vsnprintf(c->checks[name].detail, sizeof c->checks[name].detail, format, args);
	va_end(args);
	c->checks[name].result = WEIR__V1__CHECK_RESULT__CHECK_RESULT_FAILED;
	c->checks[name].endpoint = endpoint;
	return false;
}

void evm_pass(struct evm_certificate *c, Weir__V1__CheckName name, const char *endpoint)
{
	if (c->checks[name].result != WEIR__V1__CHECK_RESULT__CHECK_RESULT_UNSPECIFIED)
		return;
	c->checks[name].result = WEIR__V1__CHECK_RESULT__CHECK_RESULT_PASSED;
	c->checks[name].endpoint = endpoint;
}

void evm_remark(struct evm_certificate *c, Weir__V1__CheckName name, const char *format, ...)
{
	if (c->checks[name].result == WEIR__V1__CHECK_RESULT__CHECK_RESULT_FAILED)
		return;
	va_list args;
	va_start(args, format);
	vsnprintf(c->checks[name].detail, sizeof c->checks[name].detail, format, args);
	va_end(args);
}

void evm_not_possible(struct evm_certificate *c, Weir__V1__CheckName name, const char *why)
{
	if (c->checks[name].result != WEIR__V1__CHECK_RESULT__CHECK_RESULT_UNSPECIFIED)
		return;
	c->checks[name].result = WEIR__V1__CHECK_RESULT__CHECK_RESULT_NOT_POSSIBLE;
	snprintf(c->checks[name].detail, sizeof c->checks[name].detail, "%s", why);
}

void evm_demand(struct evm_certificate *c, Weir__V1__CheckName name)
{
	c->demanded |= 1u << name;
}

bool evm_failed(const struct evm_certificate *c)
{
	for (size_t i = 0; i < EVM_CHECKS; i++)
		if (c->checks[i].result == WEIR__V1__CHECK_RESULT__CHECK_RESULT_FAILED)
			return true;
	return false;
}

Weir__V1__Certificate *evm_certificate_message(const struct evm_certificate *c, const struct chain_profile *profile, struct arena *arena)
{
	Weir__V1__Certificate *message = arena_alloc(arena, sizeof *message);
	Weir__V1__Check *checks = arena_zalloc(arena, EVM_CHECKS, sizeof *checks);
	Weir__V1__Check **list = arena_zalloc(arena, EVM_CHECKS, sizeof *list);
	if (!message || !checks || !list)
		return NULL;
	weir__v1__certificate__init(message);
	message->proven = true;
	for (size_t i = 1; i < EVM_CHECKS; i++) {
		Weir__V1__Check *check = &checks[message->n_checks];
		weir__v1__check__init(check);
		check->name = (Weir__V1__CheckName)i;
		check->result = c->checks[i].result;
		check->detail = arena_text(arena, c->checks[i].detail);
		check->endpoint = arena_text(arena, c->checks[i].endpoint ? c->checks[i].endpoint : "");
		if (!check->detail || !check->endpoint)
			return NULL;
		if (check->result == WEIR__V1__CHECK_RESULT__CHECK_RESULT_UNSPECIFIED) {
			check->result = WEIR__V1__CHECK_RESULT__CHECK_RESULT_NOT_POSSIBLE;
			check->detail = (char *)(uintptr_t)"not reached: an earlier check failed";
		}
		bool passed = check->result == WEIR__V1__CHECK_RESULT__CHECK_RESULT_PASSED;
		if (check->result == WEIR__V1__CHECK_RESULT__CHECK_RESULT_FAILED || (!passed && ((profile->demanded | c->demanded) >> i & 1)))
			message->proven = false;
		list[message->n_checks++] = check;
	}
	message->checks = list;
	message->normalizer_version = (char *)(uintptr_t)weir_version;
	message->normalized_at_unix_ms = (uint64_t)clock_wall_ms();
	return message;
}
