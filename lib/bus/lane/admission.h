/* admission.h - private to lib/bus: whether more may be published now, by Redis' memory and by how long readers have been behind. By their number
 * the scripts decide (weir.lua, crowded). */
#ifndef WEIR_BUS_ADMISSION_H
#define WEIR_BUS_ADMISSION_H

#include "bus/core/core.h"

/* WEIR_FULL: the class waits. The least important class waits first, the critical one never. */
int bus_admit_memory(struct bus *, const char *chain, const char *topic, int klass, struct error *);
int bus_admit_age(struct bus *, const char *chain, const char *topic, int klass, struct error *);

#endif
