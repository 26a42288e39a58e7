/* reconciler.h - the service: for each configured chain a writer and a checker, each on its own thread. */
#ifndef WEIR_RECONCILER_RECONCILER_H
#define WEIR_RECONCILER_RECONCILER_H

#include "daemon/daemon.h"

extern const struct daemon reconciler_daemon;

#endif
