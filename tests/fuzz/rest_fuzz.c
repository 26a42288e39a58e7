/* rest_fuzz.c - what clients send over REST: targets, cursors, bodies of lines. A cursor that is accepted prints as it came. */
#include "services/gateway/call/cursor.h"
#include "services/gateway/call/route.h"
#include "services/gateway/http/target.h"

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
	static const uint8_t secret[] = "the fuzzer's own";
	const struct cursor_ring ring = { .keys = { cursor_key_from((struct bytes){ secret, sizeof secret }) }, .count = 1 };
	const struct cursor_scope scope = { .ring = &ring, .list = 1, .now_s = 1763700000 };
	for (int kind = CURSOR_BLOCKS; kind < CURSOR_KINDS; kind++) {
		struct cursor cursor;
		char printed[CURSOR_TEXT_MAX];
		if (cursor_parse(text, (enum cursor_kind)kind, &scope, &cursor, &err) != 0)
			continue;
		cursor_print(&cursor, &scope, printed);
		if (strncmp(printed, text, 8) != 0) /* the time of issue follows */
			abort();
	}
	char plain[256];
	(void)cursor_parse_text(text, &scope, plain, sizeof plain, &err);
	static const struct route lines = { .method = "POST", .path = "/", .parameters = { { "addresses", PARAMETER_TEXTS, 1, 50, true } }, .lines = true };
	struct value values[PARAMETERS_MAX];
	struct arena *arena = arena_new((size_t)1 << 20);
	if (route_read_lines(&lines, (struct bytes){ data, size }, arena, values, &err) == 0)
		for (size_t i = 0; i < values[0].count; i++)
			if (values[0].count > 50 || strlen(values[0].texts[i]) > 256)
				abort();
	arena_free(&arena);
	free(target);
	free(text);
	return 0;
}
