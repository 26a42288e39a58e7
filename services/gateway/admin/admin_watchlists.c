/* admin_watchlists.c - GET /admin/v1/watchlists: the watch-lists that this gateway follows, and what they take of its memory. */
#include "admin/admin.h"

#include "watchlist/watchlist.h"

void admin_watchlists(struct call *call)
{
	put_object(call->out, NULL);
	watchlists_put(call->gateway->watchlists, call->out, (size_t)call_number(call, "limit", LIMIT_DEFAULT));
	put_end(call->out, '}');
}
