/* letter_search.c - dead letters by the pattern of their newest error, step by step. */
#include "admin/letter_search.h"

#include "admin/error_pattern.h"

#include <stdio.h>
#include <string.h>

bool letter_has_pattern(const Weir__V1__DeadLetter *letter, const char *wanted)
{
	char pattern[ERROR_PATTERN_MAX + 1];
	error_pattern(letter->n_attempts > 0 ? letter->attempts[letter->n_attempts - 1]->error : "", pattern);
	return strcmp(pattern, wanted) == 0;
}

static bool on_letter(const char *id, struct bytes body, void *arg)
{
	struct letter_search *s = arg;
	if (s->step_left == 0)
		return false;
	Weir__V1__DeadLetter *letter = weir__v1__dead_letter__unpack(NULL, body.size, body.data);
	s->step_left--;
	s->looked++;
	snprintf(s->after, sizeof s->after, "%s", id);
	if (letter && letter_has_pattern(letter, s->pattern))
		snprintf(s->ids[s->count++], sizeof s->ids[0], "%s", id);
	if (letter)
		weir__v1__dead_letter__free_unpacked(letter, NULL);
	return true;
}

struct letter_search *letter_search_asked(const struct call *call, const char *chain, const struct dead_letter_filter *filter)
{
	struct letter_search *s = xcalloc(1, sizeof *s);
	s->control = call->gateway->letter_control;
	s->chain = chain;
	s->subscription = call_text(call, "subscription");
	s->pattern = call_text(call, "pattern");
	s->filter = filter;
	return s;
}

int letter_search_next(struct letter_search *s, struct error *err)
{
	s->count = 0;
	if (s->complete || s->looked == LETTER_SEARCH_MAX)
		return 0;
	s->step_left = LETTER_SEARCH_STEP;
	int code = dead_letter_list(control_take(s->control), s->chain, s->subscription, s->filter, s->after, LETTER_SEARCH_STEP, on_letter, s, err);
	control_give(s->control);
	s->complete = s->step_left > 0;
	return code ? code : 1;
}
