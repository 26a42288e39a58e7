/* version.h - which weir this is, one for all processes.
 *
 * A release is known by its number (semantic versioning). Any other build carries on behind it, as build metadata, what it was made of: the commit's time
 * and its id, as in 0.1.0+20261123042211.g0e0cb263f1a2, and .dirty where files differed from the commit (tools/version). The number is that of the
 * release to come until it is tagged.
 */
#ifndef WEIR_BASE_VERSION_H
#define WEIR_BASE_VERSION_H

#define WEIR_RELEASE "0.1.0"      /* what strangers are told (User-Agent) */
extern const char weir_version[]; /* what programs say of themselves */

#endif
