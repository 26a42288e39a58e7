/* admin_session.c - GET /admin/v1/session: who the key belongs to and what it may do. */
#include "admin/admin.h"

void admin_session(struct call *call)
{
	put_object(call->out, NULL);
	put_text(call->out, "name", call->who->name);
	put_text(call->out, "role", call->who->role);
	put_end(call->out, '}');
}
