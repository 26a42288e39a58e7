/* version.c - the build's own name. Programs are linked with one that make names by the commit (WEIR_BUILD_VERSION); what is in the library is for tests. */
#include "base/version.h"

#ifndef WEIR_BUILD_VERSION
#define WEIR_BUILD_VERSION WEIR_RELEASE
#endif

const char weir_version[] = WEIR_BUILD_VERSION;
