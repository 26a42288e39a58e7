/* version.h - the version of libweir-bus by itself (semantic versioning): major for what breaks its callers, minor for what they may use more.
 * Before 1.0.0 the minor number is the one that breaks: what programs ask their loader for is libweir-bus.so.0.1 now, and from 1.0.0 on
 * libweir-bus.so.1. What stands in Redis has versions of its own (frame.h, the functions' prefix). */
#ifndef WEIR_BUS_VERSION_H
#define WEIR_BUS_VERSION_H

#define BUS_VERSION "0.1.0"

#endif
