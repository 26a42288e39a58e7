/* version.h - the suite's version (semantic versioning), one for all processes. */
#ifndef WEIR_BASE_VERSION_H
#define WEIR_BASE_VERSION_H

#define WEIR_VERSION "0.1.0"

#endif
