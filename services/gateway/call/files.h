/* files.h - the dashboard: static files read once, at start-up, into a table.
 *
 * A request finds what is in the table or nothing: no path that came from outside is ever opened. Only regular files with a plain name
 * and a known type are taken, from the folder itself ("/index.html") and its folder "assets" ("/assets/app-1f2e.js"); their number and
 * size are bounded.
 */
#ifndef WEIR_GATEWAY_FILES_H
#define WEIR_GATEWAY_FILES_H

#include "call/document.h"

#include "base/error.h"

#include <stdbool.h>

struct target;

struct file {
	char *path;   /* "/assets/app-1f2e.js" */
	bool lasting; /* its name holds a digest of its content: it may be kept for good */
	struct document document;
};

struct files;

/* dir: the setting; empty: beside the program, ../share/weir/dashboard, where it may be missing (*ret NULL). "none": none. */
int files_open(const char *dir, struct files **ret, struct error *);
void files_close(struct files **);
size_t files_count(const struct files *);
/* The file that a GET of this target is answered with; pages ("/", "/ui/…") are index.html. NULL: no file's path. */
const struct file *files_find(const struct files *, const struct target *);

#endif
