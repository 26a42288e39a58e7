/* admin.h - handlers of the admin listener. */
#ifndef WEIR_GATEWAY_ADMIN_H
#define WEIR_GATEWAY_ADMIN_H

#include "rest.h"

void admin_status(struct call *);
void admin_dlq_list(struct call *);
void admin_dlq_show(struct call *);
void admin_dlq_replay(struct call *);
void admin_dlq_purge(struct call *);
void admin_refetch(struct call *);
void admin_pause(struct call *);
void admin_resume(struct call *);
void admin_reconcile(struct call *);
void admin_rewind(struct call *);
void admin_gaps(struct call *);
void admin_incidents(struct call *);

/* Puts what the operator did into the audit stream and the log. False: the stream could not be written; answered with 503. */
bool admin_audit(struct call *, const char *action, const char *detail);

#endif
