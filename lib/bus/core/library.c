/* library.c - dlopen, and one dlsym for each function. */
#include "bus/core/library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

void library_load(const char *file, const struct library_symbol *symbols, size_t count, char *missing, size_t missing_size)
{
	void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
	if (!library) {
		const char *why = dlerror();
		snprintf(missing, missing_size, "%s", why ? why : file);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		void *symbol = dlsym(library, symbols[i].name);
		if (!symbol)
			snprintf(missing, missing_size, "%s has no %s", file, symbols[i].name);
		memcpy(symbols[i].slot, &symbol, sizeof symbol);
	}
}
