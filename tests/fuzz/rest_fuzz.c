/* rest_fuzz.c - what clients send over REST: targets and cursors. A cursor that is accepted prints as it came. */
#include "services/gateway/cursor.h"
#include "services/gateway/target.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err;
	char *text = xstrndup((const char *)data, size);
	struct target *target = xmalloc(sizeof *target);
	if (target_parse(text, target, &err) == 0) {
		for (size_t i = 0; i < target->segment_count; i++)
			if (strlen(target->segments[i]) > TARGET_MAX)
				abort();
		(void)target_parameter(target, "cursor");
	}
	for (int kind = CURSOR_BLOCKS; kind <= CURSOR_ROWS; kind++) {
		struct cursor cursor;
		char printed[CURSOR_TEXT_MAX];
		if (cursor_parse(text, (enum cursor_kind)kind, &cursor, &err) != 0)
			continue;
		cursor_print(&cursor, printed);
		if (strcmp(printed, text) != 0)
			abort();
	}
	char plain[256];
	(void)cursor_parse_text(text, plain, sizeof plain, &err);
	free(target);
	free(text);
	return 0;
}
