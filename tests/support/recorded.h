/* recorded.h - recorded real blocks for tests: found through WEIR_DATA (default ../shared/data), unpacked into a folder of the test's own. */
#ifndef TESTS_SUPPORT_RECORDED_H
#define TESTS_SUPPORT_RECORDED_H

#include "chains/chain.h"

/* Folder with the unpacked archive NAME.tar.xz, or NULL with a message that says why tests are skipped. Removed by recorded_close. */
char *recorded_open(const char *name);
void recorded_close(char **folder);

/* A RawBlock from folder/<height>: block, receipts, traces as far as they are recorded. NULL: no block there. Lives in the arena. */
Weir__V1__RawBlock *recorded_block(const char *folder, const char *height, struct arena *);
/* The same without traces; and one more part, from a file {"response":{"result":…}} of that folder. False: no such file. */
Weir__V1__RawBlock *recorded_bare_block(const char *folder, const char *height, struct arena *);
bool recorded_add(Weir__V1__RawBlock *, Weir__V1__PartKind, const char *folder, const char *height, const char *name, struct arena *);
/* A part's body replaced, e.g. by a lie. */
void recorded_replace(Weir__V1__RawBlock *, Weir__V1__PartKind, const char *json, size_t size, struct arena *);
/* Calls fn for each sub-folder, in order of name. */
void recorded_each(const char *folder, void (*fn)(const char *folder, const char *height, void *arg), void *arg);
/* A whole file's text, or NULL. */
char *recorded_file(const char *folder, const char *height, const char *name, size_t *ret_size, struct arena *);

#endif
