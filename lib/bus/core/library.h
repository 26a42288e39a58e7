/* library.h - a shared library that is loaded when somebody asks for it: private to the bus, for transports that few need. */
#ifndef WEIR_BUS_LIBRARY_H
#define WEIR_BUS_LIBRARY_H

#include <stddef.h>

struct library_symbol {
	const char *name;
	void *slot; /* a pointer to a function pointer, which is filled */
};

/* Stays loaded. missing: why it cannot be used; empty when all is there. For one caller at a time (pthread_once). */
void library_load(const char *file, const struct library_symbol *, size_t count, char *missing, size_t missing_size);

#endif
