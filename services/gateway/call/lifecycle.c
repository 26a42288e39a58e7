/* lifecycle.c - telling clients that a route will go. */
#include "call/lifecycle.h"

#include <time.h>

void lifecycle_tell(const struct lifecycle *l, struct http_response *response)
{
	struct tm tm;
	char date[64];
	if (!l)
		return;
	http_add_field(response, "Deprecation", "@%lld", (long long)l->deprecated_s);
	time_t sunset = (time_t)l->sunset_s;
	if (l->sunset_s > 0 && gmtime_r(&sunset, &tm) && strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0)
		http_add_field(response, "Sunset", "%s", date);
	if (l->successor)
		http_add_field(response, "Link", "<%s>; rel=\"successor-version\"", l->successor);
}
