/* config.c - YAML and environment into a checked struct config, by the table in settings.c.
 *
 * libyaml's document tree is walked instead of a typed loader because errors must name file, line, column, key and range, and
 * because the environment goes through the same checks (docs/decisions/0006-settings.md).
 */
#include "daemon/settings.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#define DEPTH_MAX 32
#define FILE_MAX (1u << 20)
#define VALUE_MAX 4096
#define KEY_MAX 64
#define PATH_MAX_BYTES 320 /* longer than the longest path with an unknown key at its end */

struct load {
	struct config *config;
	const char *file;
	yaml_document_t *document;
	struct origins *origins;
	struct error *err;
};

static void set_defaults(enum setting_owner kind, void *owner)
{
	for (size_t i = 0; i < settings_count; i++)
		if (settings[i].owner == kind && setting_assign(&settings[i], owner, settings[i].initial, settings[i].path, NULL) != 0)
			abort(); /* the table contradicts itself: every unit test would end here */
}

static const struct setting *find(enum setting_owner owner, const char *path)
{
	for (size_t i = 0; i < settings_count; i++)
		if (settings[i].owner == owner && strcmp(settings[i].path, path) == 0)
			return &settings[i];
	return NULL;
}

static const struct setting_list *find_list(enum setting_owner owner, const char *path)
{
	for (size_t i = 0; i < setting_lists_count; i++)
		if (setting_lists[i].owner == owner && strcmp(setting_lists[i].path, path) == 0)
			return &setting_lists[i];
	return NULL;
}

static bool is_section(enum setting_owner owner, const char *path)
{
	size_t length = strlen(path);
	for (size_t i = 0; i < settings_count; i++)
		if (settings[i].owner == owner && strncmp(settings[i].path, path, length) == 0 && settings[i].path[length] == '.')
			return true;
	return false;
}

/* -- YAML ----------------------------------------------------------------------------------------------------------------- */

static int fail(const struct load *l, const yaml_node_t *node, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int fail(const struct load *l, const yaml_node_t *node, const char *format, ...)
{
	char text[700];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	return error_set(l->err, WEIR_CONFIG, "%s:%zu:%zu: %s", l->file, node->start_mark.line + 1, node->start_mark.column + 1, text);
}

static void remember(const struct load *l, const yaml_node_t *node, const char *shown)
{
	origins_add(l->origins, shown, NULL, node->start_mark.line + 1, node->start_mark.column + 1);
}

static bool is_plain(const yaml_node_t *node)
{
	return node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

/* "chains:" with nothing behind it. */
static bool is_nothing(const yaml_node_t *node)
{
	return is_plain(node) && node->data.scalar.length == 0;
}

/* YAML's null would silently become the text "null". */
static bool is_null(const yaml_node_t *node)
{
	if (!is_plain(node))
		return false;
	const char *text = (const char *)node->data.scalar.value;
	return strcmp(text, "~") == 0 || strcmp(text, "null") == 0 || strcmp(text, "Null") == 0 || strcmp(text, "NULL") == 0;
}

static void join(char ret[PATH_MAX_BYTES], const char *prefix, const char *name)
{
	snprintf(ret, PATH_MAX_BYTES, "%s%s%s", prefix, *prefix ? "." : "", name);
}

static int load_mapping(const struct load *l, yaml_node_t *node, enum setting_owner kind, void *owner, const char *prefix, const char *shown_prefix);

static int load_list(const struct load *l, yaml_node_t *node, const struct setting_list *list, void *owner, const char *shown)
{
	if (is_nothing(node))
		return 0;
	if (node->type != YAML_SEQUENCE_NODE)
		return fail(l, node, "%s: must be a list", shown);
	remember(l, node, shown);
	for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
		yaml_node_t *child = yaml_document_get_node(l->document, *item);
		size_t index = setting_list_count(list, owner);
		void *element = setting_list_append(list, owner);
		if (!element)
			return fail(l, child, "%s: more than %zu elements", shown, list->max);
		set_defaults(list->element, element);
		char name[PATH_MAX_BYTES];
		snprintf(name, sizeof name, "%s[%zu]", shown, index);
		remember(l, child, name);
		int r = load_mapping(l, child, list->element, element, "", name);
		if (r != 0)
			return r;
	}
	return 0;
}

static int load_value(const struct load *l, yaml_node_t *node, const struct setting *s, void *owner, const char *shown)
{
	if (node->type != YAML_SCALAR_NODE)
		return fail(l, node, "%s: must be a single value", shown);
	const char *text = (const char *)node->data.scalar.value;
	if (strlen(text) != node->data.scalar.length || node->data.scalar.length >= VALUE_MAX)
		return fail(l, node, "%s: holds a NUL or is longer than %d bytes", shown, VALUE_MAX - 1);
	if (is_null(node))
		return fail(l, node, "%s: %s is no value; leave the setting out for its default, or quote the text", shown, text);
	struct error err = { 0 };
	if (setting_assign(s, owner, text, shown, &err) != 0)
		return fail(l, node, "%s", err.text);
	remember(l, node, shown);
	return 0;
}

/* A key must be plain text, and not stand twice in its mapping: two readers could see two values. */
static int check_key(const struct load *l, yaml_node_pair_t *first, yaml_node_pair_t *pair, const char *shown_prefix)
{
	yaml_node_t *key = yaml_document_get_node(l->document, pair->key);
	if (key->type != YAML_SCALAR_NODE || key->data.scalar.length > KEY_MAX ||
	    strlen((const char *)key->data.scalar.value) != key->data.scalar.length)
		return fail(l, key, "%s%sa setting's name must be plain text of at most %d bytes", shown_prefix, *shown_prefix ? ": " : "", KEY_MAX);
	const char *name = (const char *)key->data.scalar.value;
	for (yaml_node_pair_t *earlier = first; earlier < pair; earlier++) {
		yaml_node_t *other = yaml_document_get_node(l->document, earlier->key);
		if (strcmp((const char *)other->data.scalar.value, name) == 0)
			return fail(l, key, "%s%s%s: given twice; first in line %zu", shown_prefix, *shown_prefix ? "." : "", name,
				    other->start_mark.line + 1);
	}
	return 0;
}

static int unknown(const struct load *l, const yaml_node_t *key, enum setting_owner kind, const char *prefix, const char *name, const char *shown)
{
	char nearest[65];
	if (setting_nearest(kind, prefix, name, nearest))
		return fail(l, key, "%s: no such setting; is %s meant? (docs/configuration.md lists them all)", shown, nearest);
	return fail(l, key, "%s: no such setting (docs/configuration.md lists them all)", shown);
}

static int load_mapping(const struct load *l, yaml_node_t *node, enum setting_owner kind, void *owner, const char *prefix, const char *shown_prefix)
{
	if (is_nothing(node))
		return 0;
	if (node->type != YAML_MAPPING_NODE)
		return fail(l, node, "%s: must be a mapping of settings", *shown_prefix ? shown_prefix : "the file");
	yaml_node_pair_t *first = node->data.mapping.pairs.start, *top = node->data.mapping.pairs.top;
	for (yaml_node_pair_t *pair = first; pair < top; pair++) {
		if (check_key(l, first, pair, shown_prefix) != 0)
			return WEIR_CONFIG;
		yaml_node_t *key = yaml_document_get_node(l->document, pair->key);
		yaml_node_t *value = yaml_document_get_node(l->document, pair->value);
		const char *name = (const char *)key->data.scalar.value;
		char path[PATH_MAX_BYTES], shown[PATH_MAX_BYTES];
		join(path, prefix, name);
		join(shown, shown_prefix, name);
		const struct setting *setting = find(kind, path);
		const struct setting_list *list = find_list(kind, path);
		int r;
		if (strchr(name, '.'))
			r = fail(l, key, "%s: a name with dots is written as nested sections", shown);
		else if (setting)
			r = load_value(l, value, setting, owner, shown);
		else if (list)
			r = load_list(l, value, list, owner, shown);
		else if (is_section(kind, path))
			r = load_mapping(l, value, kind, owner, path, shown);
		else
			r = unknown(l, key, kind, prefix, name, shown);
		if (r != 0)
			return r;
	}
	return 0;
}

static int not_yaml(const yaml_parser_t *parser, const char *file, struct error *err)
{
	return error_set(err, WEIR_CONFIG, "%s:%zu:%zu: not YAML: %s", file, parser->problem_mark.line + 1, parser->problem_mark.column + 1,
			 parser->problem ? parser->problem : "syntax error");
}

/* libyaml's loader has no limit of depth, and its work grows with the square of it. */
static int check_depth(const char *yaml, size_t size, const char *file, struct error *err)
{
	yaml_parser_t parser;
	if (!yaml_parser_initialize(&parser))
		return error_set(err, WEIR_INTERNAL, "%s: YAML parser could not start", file);
	yaml_parser_set_input_string(&parser, (const unsigned char *)yaml, size);
	unsigned depth = 0;
	int r = 0;
	for (bool over = false; r == 0 && !over;) {
		yaml_event_t event;
		if (!yaml_parser_parse(&parser, &event))
			break; /* the loader says what is wrong */
		depth += event.type == YAML_SEQUENCE_START_EVENT || event.type == YAML_MAPPING_START_EVENT;
		depth -= event.type == YAML_SEQUENCE_END_EVENT || event.type == YAML_MAPPING_END_EVENT;
		over = event.type == YAML_STREAM_END_EVENT;
		if (depth > DEPTH_MAX)
			r = error_set(err, WEIR_CONFIG, "%s:%zu:%zu: nested deeper than %d", file, event.start_mark.line + 1, event.start_mark.column + 1,
				      DEPTH_MAX);
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	return r;
}

/* Nothing may follow the first document: it would be ignored without a word. */
static int expect_end(yaml_parser_t *parser, const char *file, struct error *err)
{
	yaml_document_t document;
	if (!yaml_parser_load(parser, &document))
		return not_yaml(parser, file, err);
	yaml_node_t *root = yaml_document_get_root_node(&document);
	int r = root ? error_set(err, WEIR_CONFIG, "%s:%zu:%zu: a second document; all settings go into one", file, root->start_mark.line + 1,
				 root->start_mark.column + 1)
		     : 0;
	yaml_document_delete(&document);
	return r;
}

static int load_yaml(struct config *config, const char *yaml, size_t size, struct origins *origins, struct error *err)
{
	yaml_parser_t parser;
	yaml_document_t document;
	int r = check_depth(yaml, size, origins->file, err);
	if (r != 0)
		return r;
	if (!yaml_parser_initialize(&parser))
		return error_set(err, WEIR_INTERNAL, "%s: YAML parser could not start", origins->file);
	yaml_parser_set_input_string(&parser, (const unsigned char *)yaml, size);
	if (!yaml_parser_load(&parser, &document)) {
		r = not_yaml(&parser, origins->file, err);
	} else {
		struct load l = { .config = config, .file = origins->file, .document = &document, .origins = origins, .err = err };
		yaml_node_t *root = yaml_document_get_root_node(&document);
		if (root)
			r = load_mapping(&l, root, OWNER_CONFIG, config, "", "");
		if (r == 0 && root)
			r = expect_end(&parser, origins->file, err);
		yaml_document_delete(&document);
	}
	yaml_parser_delete(&parser);
	return r;
}

/* -- environment ---------------------------------------------------------------------------------------------------------- */

static void env_name(const char *prefix, const char *path, char ret[PATH_MAX_BYTES])
{
	snprintf(ret, PATH_MAX_BYTES, "%s_%s", prefix, path);
	for (char *p = ret; *p; p++)
		*p = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
}

/* The variables that exist for an owner and what it holds. only: NULL loads all of them, else one is looked for by its name. */
struct environment {
	struct origins *origins;
	const char *only;
	bool found;
	struct error *err;
};

static int walk_environment(struct environment *e, enum setting_owner kind, void *owner, const char *prefix, const char *shown_prefix)
{
	char name[PATH_MAX_BYTES], shown[PATH_MAX_BYTES], path[PATH_MAX_BYTES];
	for (size_t i = 0; i < settings_count; i++) {
		if (settings[i].owner != kind)
			continue;
		env_name(prefix, settings[i].path, name);
		if (e->only) {
			e->found = e->found || strcmp(e->only, name) == 0;
			continue;
		}
		const char *value = getenv(name);
		if (!value)
			continue;
		if (setting_assign(&settings[i], owner, value, name, e->err) != 0)
			return WEIR_CONFIG;
		join(shown, shown_prefix, settings[i].path);
		origins_add(e->origins, shown, name, 0, 0);
	}
	for (size_t i = 0; i < setting_lists_count; i++) {
		const struct setting_list *list = &setting_lists[i];
		for (size_t index = 0; list->owner == kind && index < setting_list_count(list, owner); index++) {
			snprintf(path, sizeof path, "%s.%zu", list->path, index);
			env_name(prefix, path, name);
			join(shown, shown_prefix, list->path);
			snprintf(shown + strlen(shown), sizeof shown - strlen(shown), "[%zu]", index);
			if (walk_environment(e, list->element, setting_list_element(list, owner, index), name, shown) != 0)
				return WEIR_CONFIG;
		}
	}
	return 0;
}

/* A variable for a list element that the file does not have would be ignored without a word. (Other unknown WEIR_ variables are let
 * be: orchestrators put their own into the environment, such as WEIR_GATEWAY_PORT.) */
static int check_indices(struct config *config, struct error *err)
{
	static const char *const prefixes[] = { "WEIR_CHAINS_", "WEIR_GATEWAY_KEYS_", "WEIR_ALERTS_DESTINATIONS_" };
	for (char **variable = environ; *variable; variable++) {
		char name[PATH_MAX_BYTES];
		snprintf(name, sizeof name, "%.*s", (int)strcspn(*variable, "="), *variable);
		for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
			size_t n = strlen(prefixes[i]);
			if (strncmp(name, prefixes[i], n) != 0 || !isdigit((unsigned char)name[n]))
				continue;
			struct environment e = { .only = name };
			walk_environment(&e, OWNER_CONFIG, config, "WEIR", "");
			if (!e.found)
				return error_set(err, WEIR_CONFIG, "environment variable %s: no such setting, or no such element in the file's list", name);
		}
	}
	return 0;
}

static int load_environment(struct config *config, struct origins *origins, struct error *err)
{
	struct environment e = { .origins = origins, .err = err };
	int r = walk_environment(&e, OWNER_CONFIG, config, "WEIR", "");
	return r != 0 ? r : check_indices(config, err);
}

/* -- public --------------------------------------------------------------------------------------------------------------- */

static int read_file(const char *path, struct buf *text, struct error *err)
{
	FILE *f = fopen(path, "re");
	if (!f)
		return error_set(err, WEIR_CONFIG, "configuration file %s: %s", path, strerror(errno));
	char chunk[8192];
	size_t n;
	while (!text->overflow && (n = fread(chunk, 1, sizeof chunk, f)) > 0)
		buf_add(text, chunk, n);
	bool failed = ferror(f);
	fclose(f);
	if (failed)
		return error_set(err, WEIR_CONFIG, "configuration file %s: cannot be read", path);
	if (text->overflow)
		return error_set(err, WEIR_LIMIT, "configuration file %s: larger than %u bytes", path, FILE_MAX);
	return 0;
}

/* yaml NULL: environment only. */
static int load(const char *yaml, size_t size, const char *file, bool environment, struct config **ret, struct error *err)
{
	struct origins origins = { .file = file };
	struct config *c = xmalloc(sizeof *c);
	set_defaults(OWNER_CONFIG, c);
	int r = yaml ? load_yaml(c, yaml, size, &origins, err) : 0;
	if (r == 0 && environment)
		r = load_environment(c, &origins, err);
	if (r == 0)
		r = settings_check(c, &origins, err);
	origins_free(&origins);
	if (r != 0)
		config_free(&c);
	*ret = c;
	return r;
}

int config_parse(const char *yaml, size_t size, const char *name, struct config **ret, struct error *err)
{
	*ret = NULL;
	if (size > FILE_MAX)
		return error_set(err, WEIR_LIMIT, "%s: larger than %u bytes", name, FILE_MAX);
	return load(yaml, size, name, false, ret, err);
}

int config_load(const char *path, struct config **ret, struct error *err)
{
	*ret = NULL;
	if (!path)
		return load(NULL, 0, "environment", true, ret, err);
	struct buf text = BUF_INIT(FILE_MAX);
	int r = read_file(path, &text, err);
	if (r == 0)
		r = load(buf_str(&text), text.size, path, true, ret, err);
	buf_free(&text);
	return r;
}

static void free_owner(enum setting_owner kind, void *owner)
{
	for (size_t i = 0; i < settings_count; i++)
		if (settings[i].owner == kind && (settings[i].type == SETTING_STRING || settings[i].type == SETTING_SECRET))
			free(*(char **)((char *)owner + settings[i].offset));
	for (size_t i = 0; i < setting_lists_count; i++) {
		const struct setting_list *list = &setting_lists[i];
		if (list->owner != kind)
			continue;
		for (size_t j = 0; j < setting_list_count(list, owner); j++)
			free_owner(list->element, setting_list_element(list, owner, j));
		free(*(void **)((char *)owner + list->array_offset));
	}
}

void config_free(struct config **c)
{
	if (!*c)
		return;
	free_owner(OWNER_CONFIG, *c);
	xfree(c);
}
