/* letter_search.h - dead letters by the pattern of their newest error. The bus has no index of patterns: a search looks at the letters that the rest of a filter leaves, oldest first,
 * in steps that each take one turn at the bus, and has a bound. */
#ifndef WEIR_GATEWAY_LETTER_SEARCH_H
#define WEIR_GATEWAY_LETTER_SEARCH_H

#include "call/call.h"
#include "control.h"

#include "bus/dead_letter.h"
#include "weir/v1/dead_letter.pb-c.h"

#define LETTER_SEARCH_STEP 1000 /* letters looked at in one turn */
#define LETTER_SEARCH_MAX 50000 /* … in one search */

bool letter_has_pattern(const Weir__V1__DeadLetter *, const char *pattern);

struct letter_search { /* holds nothing: free() is enough */
	struct control *control;
	const char *chain, *subscription, *pattern;
	const struct dead_letter_filter *filter;
	size_t looked;    /* so far */
	bool complete;    /* there are no more letters to look at */
	size_t count;     /* found by this step */
	char ids[LETTER_SEARCH_STEP][40];
	char after[40];   /* the last one looked at */
	size_t step_left; /* … of this step */
};
/* What the call's parameters "subscription" and "pattern" ask for; chain, filter and call must outlive it. */
struct letter_search *letter_search_asked(const struct call *, const char *chain, const struct dead_letter_filter *);
/* 1: one step further, which may have found none; 0: the search is over; negative: the bus failed. */
int letter_search_next(struct letter_search *, struct error *);

#endif
