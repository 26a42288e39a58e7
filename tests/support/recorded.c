/* recorded.c - recorded real blocks as RawBlocks. */
#include "support/recorded.h"

#include "wire/hex.h"
#include "wire/json.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *recorded_open(const char *name)
{
	const char *data = getenv("WEIR_DATA");
	char *archive = xasprintf("%s/%s.tar.xz", data ? data : "../shared/data", name);
	char *folder = NULL;
	if (access(archive, R_OK) != 0) {
		printf("SKIPPED: recorded chain %s is not here (%s; set WEIR_DATA)\n", name, archive);
	} else {
		folder = xasprintf("/tmp/weir-recorded-XXXXXX");
		char *command = mkdtemp(folder) ? xasprintf("tar -xJf '%s' -C %s", archive, folder) : NULL;
		if (!command || system(command) != 0) {
			printf("SKIPPED: %s could not be unpacked\n", archive);
			xfree(&folder);
		} else {
			char *inner = xasprintf("%s/%s", folder, name);
			xfree(&folder);
			folder = inner;
		}
		xfree(&command);
	}
	xfree(&archive);
	return folder;
}

void recorded_close(char **folder)
{
	if (!*folder)
		return;
	char *end = strrchr(*folder, '/');
	char *command = xasprintf("rm -rf '%.*s'", (int)(end - *folder), *folder);
	if (system(command) != 0)
		printf("could not remove %s\n", *folder);
	xfree(&command);
	xfree(folder);
}

char *recorded_file(const char *folder, const char *height, const char *name, size_t *ret_size, struct arena *arena)
{
	char *path = xasprintf("%s/%s/%s", folder, height, name);
	FILE *f = fopen(path, "re");
	xfree(&path);
	if (!f)
		return NULL;
	fseek(f, 0, SEEK_END);
	size_t size = (size_t)ftell(f);
	rewind(f);
	char *text = arena_alloc(arena, size + 1);
	*ret_size = fread(text, 1, size, f);
	text[*ret_size] = 0;
	fclose(f);
	return text;
}

static void add_part(Weir__V1__RawBlock *raw, Weir__V1__PartKind kind, const char *json, size_t size, struct arena *arena)
{
	Weir__V1__Part *part = arena_alloc(arena, sizeof *part);
	weir__v1__part__init(part);
	part->kind = kind;
	part->encoding = WEIR__V1__ENCODING__ENCODING_IDENTITY;
	part->body.data = arena_alloc(arena, size + 16);
	memcpy(part->body.data, json, size);
	part->body.len = size;
	part->size = size;
	part->endpoint = (char *)(uintptr_t)"recorded";
	raw->parts[raw->n_parts++] = part;
}

bool recorded_add(Weir__V1__RawBlock *raw, Weir__V1__PartKind kind, const char *folder, const char *height, const char *name, struct arena *arena)
{
	size_t size, written;
	char *text = recorded_file(folder, height, name, &size, arena);
	yyjson_doc *doc = text ? yyjson_read(text, size, 0) : NULL;
	yyjson_val *result = yyjson_obj_get(yyjson_obj_get(yyjson_doc_get_root(doc), "response"), "result");
	char *json = result ? yyjson_val_write(result, 0, &written) : NULL;
	if (json)
		add_part(raw, kind, json, written, arena);
	free(json);
	yyjson_doc_free(doc);
	return json != NULL;
}

Weir__V1__RawBlock *recorded_bare_block(const char *folder, const char *height, struct arena *arena)
{
	Weir__V1__RawBlock *raw = arena_alloc(arena, sizeof *raw);
	weir__v1__raw_block__init(raw);
	raw->parts = arena_zalloc(arena, CHAIN_PARTS_MAX, sizeof *raw->parts);
	raw->height = strtoull(height, NULL, 10);
	raw->chain = (char *)(uintptr_t)"recorded";
	if (!recorded_add(raw, WEIR__V1__PART_KIND__PART_KIND_BLOCK, folder, height, "eth_getBlockByNumber.json", arena))
		return NULL;
	recorded_add(raw, WEIR__V1__PART_KIND__PART_KIND_RECEIPTS, folder, height, "eth_getBlockReceipts.json", arena);
	return raw;
}

Weir__V1__RawBlock *recorded_block(const char *folder, const char *height, struct arena *arena)
{
	Weir__V1__RawBlock *raw = recorded_bare_block(folder, height, arena);
	if (!raw)
		return NULL;
	if (!recorded_add(raw, WEIR__V1__PART_KIND__PART_KIND_CALL_TRACES, folder, height, "debug_traceBlockByNumber.json", arena) &&
	    !recorded_add(raw, WEIR__V1__PART_KIND__PART_KIND_CALL_TRACES, folder, height, "debug_traceBlockByNumber.callTracer.json", arena))
		recorded_add(raw, WEIR__V1__PART_KIND__PART_KIND_FLAT_TRACES, folder, height, "trace_block.json", arena);
	return raw;
}

void recorded_replace(Weir__V1__RawBlock *raw, Weir__V1__PartKind kind, const char *json, size_t size, struct arena *arena)
{
	for (size_t i = 0; i < raw->n_parts; i++) {
		if (raw->parts[i]->kind != kind)
			continue;
		Weir__V1__Part *old = raw->parts[i];
		size_t n = raw->n_parts;
		raw->n_parts = i;
		add_part(raw, kind, json, size, arena);
		raw->parts[i]->endpoint = old->endpoint;
		raw->n_parts = n;
		return;
	}
	add_part(raw, kind, json, size, arena);
}

static int only_numbers(const struct dirent *entry)
{
	return entry->d_name[0] >= '0' && entry->d_name[0] <= '9';
}

void recorded_each(const char *folder, void (*fn)(const char *folder, const char *height, void *arg), void *arg)
{
	struct dirent **names;
	int n = scandir(folder, &names, only_numbers, versionsort);
	for (int i = 0; i < n; i++) {
		fn(folder, names[i]->d_name, arg);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}
