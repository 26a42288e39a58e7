/* admin_settings.c - GET /admin/v1/settings: what this gateway runs with. Secrets and the inner parts of addresses are not told. */
#include "admin/admin.h"

#include <string.h>

static void put_setting(const struct config_shown *shown, void *arg)
{
	struct buf *out = arg;
	put_object(out, NULL);
	put_text(out, "path", shown->path);
	put_text(out, "value", shown->value);
	put_text(out, "default", shown->initial);
	put_bool(out, "changed", strcmp(shown->value, shown->initial) != 0);
	put_bool(out, "secret", shown->secret);
	put_text(out, "meaning", shown->text);
	put_end(out, '}');
}

void admin_settings(struct call *call)
{
	put_object(call->out, NULL);
	put_array(call->out, "items");
	config_show(call->gateway->config, put_setting, call->out);
	put_end(call->out, ']');
	put_end(call->out, '}');
}
