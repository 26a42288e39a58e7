/* config.c - YAML and environment into a checked struct config, by the table in settings.c.
 *
 * libyaml's document tree is walked instead of a typed loader because errors must name file, line, column, key and range, and
 * because the environment goes through the same checks (docs/decisions/0006-settings.md).
 */
#include "daemon/settings.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#define FILE_MAX (1u << 20)
#define VALUE_MAX 4096

/* Where a value was read, for messages. */
struct place {
	const char *file;
	size_t line, column; /* from 1; 0: not from a file */
};

struct load {
	struct config *config;
	const char *file;
	yaml_document_t *document;
	struct error *err;
};

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

/* -- one value ------------------------------------------------------------------------------------------------------------ */

struct unit {
	const char *suffix;
	int64_t factor;
};
static const struct unit duration_units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "", 1 }, { NULL, 0 } };
static const struct unit byte_units[] = { { "KiB", 1 << 10 }, { "MiB", 1 << 20 }, { "GiB", 1 << 30 }, { "", 1 }, { NULL, 0 } };
static const struct unit no_units[] = { { "", 1 }, { NULL, 0 } };

static bool parse_number(const char *text, const struct unit *units, int64_t *ret)
{
	if (!isdigit((unsigned char)text[0]))
		return false;
	char *end;
	errno = 0;
	long long number = strtoll(text, &end, 10);
	if (errno)
		return false;
	for (; units->suffix; units++)
		if (strcmp(end, units->suffix) == 0)
			return !__builtin_mul_overflow((int64_t)number, units->factor, ret);
	return false;
}

static void list_choices(const char *const *choices, char *ret, size_t size)
{
	ret[0] = 0;
	for (size_t i = 0; choices[i]; i++)
		snprintf(ret + strlen(ret), size - strlen(ret), "%s%s", i ? ", " : "", choices[i]);
}

static int choice_of(const char *const *choices, const char *text)
{
	for (int i = 0; choices[i]; i++)
		if (strcmp(choices[i], text) == 0)
			return i;
	return -1;
}

static int read_secret(const char *path, char ret[VALUE_MAX], struct error *err)
{
	FILE *f = fopen(path, "re");
	if (!f)
		return error_set(err, WEIR_CONFIG, "secret file %s: %s", path, strerror(errno));
	size_t n = fread(ret, 1, VALUE_MAX - 1, f);
	bool too_long = !feof(f);
	fclose(f);
	if (too_long)
		return error_set(err, WEIR_CONFIG, "secret file %s: longer than %d bytes", path, VALUE_MAX - 1);
	while (n > 0 && isspace((unsigned char)ret[n - 1]))
		n--;
	ret[n] = 0;
	return 0;
}

static const char *describe_number(const struct setting *s, char ret[128])
{
	const char *unit = s->type == SETTING_DURATION_MS ? " ms (units ms, s, m, h)" : s->type == SETTING_BYTES ? " bytes (units KiB, MiB, GiB)" : "";
	snprintf(ret, 128, "%" PRId64 " to %" PRId64 "%s", s->min, s->max, unit);
	return ret;
}

static void set_string(char **target, const char *text)
{
	free(*target);
	*target = xstrdup(text);
}

/* Checks text and stores it into owner (the struct that s->offset counts from). shown: how messages name the setting. */
static int assign(const struct setting *s, void *owner, const char *text, const char *shown, struct error *err)
{
	void *target = (char *)owner + s->offset;
	char words[256];
	int64_t number;
	switch (s->type) {
	case SETTING_SECRET: {
		char secret[VALUE_MAX];
		if (strncmp(text, "file:", 5) == 0) {
			if (read_secret(text + 5, secret, err) != 0)
				return error_prefix(err, "%s", shown);
			text = secret;
		}
		set_string(target, text);
		return 0;
	}
	case SETTING_STRING:
		if (s->choices && choice_of(s->choices, text) < 0) {
			list_choices(s->choices, words, sizeof words);
			return error_set(err, WEIR_CONFIG, "%s: \"%s\" is not one of %s", shown, text, words);
		}
		set_string(target, text);
		return 0;
	case SETTING_CHOICE: {
		int choice = choice_of(s->choices, text);
		if (choice < 0) {
			list_choices(s->choices, words, sizeof words);
			return error_set(err, WEIR_CONFIG, "%s: \"%s\" is not one of %s", shown, text, words);
		}
		memcpy(target, &choice, sizeof choice);
		return 0;
	}
	case SETTING_BOOL:
		if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
			return error_set(err, WEIR_CONFIG, "%s: \"%s\" is not true or false", shown, text);
		*(bool *)target = text[0] == 't';
		return 0;
	case SETTING_INT:
	case SETTING_UNSIGNED:
	case SETTING_DURATION_MS:
	case SETTING_BYTES:
		break;
	}
	const struct unit *units = s->type == SETTING_DURATION_MS ? duration_units : s->type == SETTING_BYTES ? byte_units : no_units;
	char range[128];
	if (!parse_number(text, units, &number))
		return error_set(err, WEIR_CONFIG, "%s: \"%s\" is not a number; allowed: %s", shown, text, describe_number(s, range));
	if (number < s->min || number > s->max)
		return error_set(err, WEIR_CONFIG, "%s: %s is out of range; allowed: %s", shown, text, describe_number(s, range));
	memcpy(target, &number, sizeof number);
	return 0;
}

static void set_defaults(enum setting_owner kind, void *owner)
{
	for (size_t i = 0; i < settings_count; i++)
		if (settings[i].owner == kind && assign(&settings[i], owner, settings[i].initial, settings[i].path, NULL) != 0)
			abort(); /* the table contradicts itself: every unit test would end here */
}

static const struct setting *find(enum setting_owner owner, const char *path)
{
	for (size_t i = 0; i < settings_count; i++)
		if (settings[i].owner == owner && strcmp(settings[i].path, path) == 0)
			return &settings[i];
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

/* -- lists: what may hold how many of what -------------------------------------------------------------------------------- */

struct list {
	enum setting_owner owner; /* the struct that holds the list */
	const char *path;
	enum setting_owner element;
	size_t element_size, array_offset, count_offset, max;
};
static const struct list lists[] = {
	{ OWNER_CONFIG, "chains", OWNER_CHAIN, sizeof(struct chain_config), offsetof(struct config, chains), offsetof(struct config, chain_count),
	  CONFIG_CHAINS_MAX },
	{ OWNER_CHAIN, "endpoints", OWNER_ENDPOINT, sizeof(struct endpoint_config), offsetof(struct chain_config, endpoints),
	  offsetof(struct chain_config, endpoint_count), CONFIG_ENDPOINTS_MAX },
	{ OWNER_CONFIG, "gateway.keys", OWNER_KEY, sizeof(struct api_key_config), offsetof(struct config, gateway.keys),
	  offsetof(struct config, gateway.key_count), CONFIG_API_KEYS_MAX },
};
#define LISTS (sizeof lists / sizeof lists[0])

static const struct list *find_list(enum setting_owner owner, const char *path)
{
	for (size_t i = 0; i < LISTS; i++)
		if (lists[i].owner == owner && strcmp(lists[i].path, path) == 0)
			return &lists[i];
	return NULL;
}

static void *list_element(const struct list *list, void *owner, size_t index)
{
	char *array;
	memcpy(&array, (char *)owner + list->array_offset, sizeof array);
	return array + index * list->element_size;
}

static size_t list_count(const struct list *list, const void *owner)
{
	size_t count;
	memcpy(&count, (const char *)owner + list->count_offset, sizeof count);
	return count;
}

/* Appends an element with defaults; NULL when the list is full. */
static void *list_append(const struct list *list, void *owner)
{
	size_t count = list_count(list, owner);
	if (count >= list->max)
		return NULL;
	char *array;
	memcpy(&array, (char *)owner + list->array_offset, sizeof array);
	array = xrealloc(array, count + 1, list->element_size);
	memset(array + count * list->element_size, 0, list->element_size);
	memcpy((char *)owner + list->array_offset, &array, sizeof array);
	count++;
	memcpy((char *)owner + list->count_offset, &count, sizeof count);
	void *element = list_element(list, owner, count - 1);
	set_defaults(list->element, element);
	return element;
}

/* -- YAML ----------------------------------------------------------------------------------------------------------------- */

static int load_mapping(const struct load *l, yaml_node_t *node, enum setting_owner kind, void *owner, const char *prefix, const char *shown_prefix);

static int load_list(const struct load *l, yaml_node_t *node, const struct list *list, void *owner, const char *shown)
{
	if (node->type != YAML_SEQUENCE_NODE)
		return fail(l, node, "%s: must be a list", shown);
	for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
		yaml_node_t *child = yaml_document_get_node(l->document, *item);
		size_t index = list_count(list, owner);
		void *element = list_append(list, owner);
		if (!element)
			return fail(l, child, "%s: more than %zu elements", shown, list->max);
		char name[160];
		snprintf(name, sizeof name, "%s[%zu]", shown, index);
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
	struct error err = { 0 };
	const char *text = (const char *)node->data.scalar.value;
	if (strlen(text) != node->data.scalar.length || node->data.scalar.length >= VALUE_MAX)
		return fail(l, node, "%s: value is too long or holds a NUL", shown);
	if (assign(s, owner, text, shown, &err) != 0)
		return fail(l, node, "%s", err.text);
	return 0;
}

static int load_mapping(const struct load *l, yaml_node_t *node, enum setting_owner kind, void *owner, const char *prefix, const char *shown_prefix)
{
	if (node->type == YAML_SCALAR_NODE && node->data.scalar.length == 0)
		return 0; /* "chains:" with nothing below */
	if (node->type != YAML_MAPPING_NODE)
		return fail(l, node, "%s: must be a mapping of settings", *shown_prefix ? shown_prefix : "file");
	yaml_node_pair_t *first = node->data.mapping.pairs.start, *top = node->data.mapping.pairs.top;
	for (yaml_node_pair_t *pair = first; pair < top; pair++) {
		yaml_node_t *key = yaml_document_get_node(l->document, pair->key);
		yaml_node_t *value = yaml_document_get_node(l->document, pair->value);
		if (key->type != YAML_SCALAR_NODE || key->data.scalar.length > 64)
			return fail(l, key, "a setting's name must be plain text of at most 64 characters");
		const char *name = (const char *)key->data.scalar.value;
		for (yaml_node_pair_t *earlier = first; earlier < pair; earlier++) {
			yaml_node_t *other = yaml_document_get_node(l->document, earlier->key);
			if (strcmp((const char *)other->data.scalar.value, name) == 0)
				return fail(l, key, "%s%s%s: given twice", shown_prefix, *shown_prefix ? "." : "", name);
		}
		char path[160], shown[320];
		snprintf(path, sizeof path, "%s%s%s", prefix, *prefix ? "." : "", name);
		snprintf(shown, sizeof shown, "%s%s%s", shown_prefix, *shown_prefix ? "." : "", name);
		const struct setting *setting = find(kind, path);
		const struct list *list = find_list(kind, path);
		int r;
		if (setting)
			r = load_value(l, value, setting, owner, shown);
		else if (list)
			r = load_list(l, value, list, owner, shown);
		else if (is_section(kind, path) && strlen(path) < 100)
			r = load_mapping(l, value, kind, owner, path, shown);
		else
			r = fail(l, key, "%s: no such setting (docs/configuration.md lists them all)", shown);
		if (r != 0)
			return r;
	}
	return 0;
}

static int load_yaml(struct config *config, const char *yaml, size_t size, const char *file, struct error *err)
{
	yaml_parser_t parser;
	yaml_document_t document;
	if (!yaml_parser_initialize(&parser))
		return error_set(err, WEIR_INTERNAL, "%s: YAML parser could not start", file);
	yaml_parser_set_input_string(&parser, (const unsigned char *)yaml, size);
	int r = 0;
	if (!yaml_parser_load(&parser, &document)) {
		r = error_set(err, WEIR_CONFIG, "%s:%zu:%zu: not YAML: %s", file, parser.problem_mark.line + 1, parser.problem_mark.column + 1,
			      parser.problem ? parser.problem : "syntax error");
	} else {
		struct load l = { .config = config, .file = file, .document = &document, .err = err };
		yaml_node_t *root = yaml_document_get_root_node(&document);
		if (root)
			r = load_mapping(&l, root, OWNER_CONFIG, config, "", "");
		yaml_document_delete(&document);
	}
	yaml_parser_delete(&parser);
	return r;
}

/* -- environment ---------------------------------------------------------------------------------------------------------- */

static void env_name(const char *prefix, const char *path, char ret[256])
{
	snprintf(ret, 256, "%s_%s", prefix, path);
	for (char *p = ret; *p; p++)
		*p = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
}

static int load_environment(enum setting_owner kind, void *owner, const char *prefix, struct error *err)
{
	char name[256];
	for (size_t i = 0; i < settings_count; i++) {
		if (settings[i].owner != kind)
			continue;
		env_name(prefix, settings[i].path, name);
		const char *value = getenv(name);
		if (value && assign(&settings[i], owner, value, name, err) != 0)
			return WEIR_CONFIG;
	}
	for (size_t i = 0; i < LISTS; i++) {
		if (lists[i].owner != kind)
			continue;
		for (size_t index = 0; index < list_count(&lists[i], owner); index++) {
			char below[200], path[160];
			snprintf(path, sizeof path, "%s.%zu", lists[i].path, index);
			env_name(prefix, path, name);
			snprintf(below, sizeof below, "%.199s", name);
			if (load_environment(lists[i].element, list_element(&lists[i], owner, index), below, err) != 0)
				return WEIR_CONFIG;
		}
	}
	return 0;
}

/* -- what a range cannot say ---------------------------------------------------------------------------------------------- */

static bool starts_with_any(const char *text, const char *a, const char *b, const char *c)
{
	return strncmp(text, a, strlen(a)) == 0 || strncmp(text, b, strlen(b)) == 0 || (c && strncmp(text, c, strlen(c)) == 0);
}

static bool is_listen_address(const char *text)
{
	const char *colon = strrchr(text, ':');
	int64_t port;
	return colon && colon > text && parse_number(colon + 1, no_units, &port) && port <= 65535;
}

static bool is_name(const char *text)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");
	return n > 0 && n <= 32 && text[n] == 0;
}

static int check_endpoints(struct chain_config *chain, struct error *err)
{
	if (chain->endpoint_count == 0)
		return error_set(err, WEIR_CONFIG, "chain %s: no endpoints; give at least one chains[].endpoints[].url", chain->name);
	for (size_t i = 0; i < chain->endpoint_count; i++) {
		struct endpoint_config *e = &chain->endpoints[i];
		if (!*e->name) {
			free(e->name);
			e->name = xasprintf("e%zu", i);
		}
		if (!is_name(e->name))
			return error_set(err, WEIR_CONFIG, "chain %s: endpoint name \"%s\": lower-case letters, digits and '-', at most 32", chain->name,
					 e->name);
		for (size_t j = 0; j < i; j++)
			if (strcmp(chain->endpoints[j].name, e->name) == 0)
				return error_set(err, WEIR_CONFIG, "chain %s: two endpoints are named %s", chain->name, e->name);
		char shown[256];
		if (!starts_with_any(e->url, "http://", "https://", NULL))
			return error_set(err, WEIR_CONFIG, "chain %s, endpoint %s: url \"%s\" must begin with http:// or https://", chain->name, e->name,
					 log_url(e->url, shown));
		if (*e->ws_url && !starts_with_any(e->ws_url, "ws://", "wss://", NULL))
			return error_set(err, WEIR_CONFIG, "chain %s, endpoint %s: ws_url \"%s\" must begin with ws:// or wss://", chain->name, e->name,
					 log_url(e->ws_url, shown));
	}
	return 0;
}

static int check_chains(struct config *c, struct error *err)
{
	for (size_t i = 0; i < c->chain_count; i++) {
		struct chain_config *chain = &c->chains[i];
		if (!is_name(chain->name))
			return error_set(err, WEIR_CONFIG, "chains[%zu].name: \"%s\": lower-case letters, digits and '-', at most 32", i, chain->name);
		for (size_t j = 0; j < i; j++)
			if (strcmp(c->chains[j].name, chain->name) == 0)
				return error_set(err, WEIR_CONFIG, "chains[%zu].name: two chains are named %s", i, chain->name);
		const char *genesis = chain->genesis_hash;
		if (*genesis && (strlen(genesis) != 66 || strncmp(genesis, "0x", 2) != 0 || strspn(genesis + 2, "0123456789abcdefABCDEF") != 64))
			return error_set(err, WEIR_CONFIG, "chain %s: genesis_hash must be 0x and 64 hex digits", chain->name);
		int r = check_endpoints(chain, err);
		if (r != 0)
			return r;
	}
	return 0;
}

static int check(struct config *c, struct error *err)
{
	const struct {
		const char *name, *value;
	} listens[] = {
		{ "ops.listen.fetcher", c->ops_listen.fetcher },       { "ops.listen.normalizer", c->ops_listen.normalizer },
		{ "ops.listen.reconciler", c->ops_listen.reconciler }, { "ops.listen.gateway", c->ops_listen.gateway },
		{ "gateway.listen", c->gateway.listen },               { "gateway.admin_listen", c->gateway.admin_listen },
	};
	for (size_t i = 0; i < sizeof listens / sizeof listens[0]; i++)
		if (!is_listen_address(listens[i].value))
			return error_set(err, WEIR_CONFIG, "%s: \"%s\" is not host:port", listens[i].name, listens[i].value);
	if (!starts_with_any(c->bus.redis_url, "redis://", "rediss://", "unix://"))
		return error_set(err, WEIR_CONFIG, "bus.redis_url: must begin with redis://, rediss:// or unix://");
	if (*c->alerts.webhook_url && !starts_with_any(c->alerts.webhook_url, "http://", "https://", NULL))
		return error_set(err, WEIR_CONFIG, "alerts.webhook_url: must begin with http:// or https://");
	for (size_t i = 0; i < c->gateway.key_count; i++) {
		const struct api_key_config *key = &c->gateway.keys[i];
		if (!*key->name)
			return error_set(err, WEIR_CONFIG, "gateway.keys[%zu].name: missing", i);
		if (strlen(key->key) < 16)
			return error_set(err, WEIR_CONFIG, "gateway.keys[%zu].key (%s): shorter than 16 characters", i, key->name);
	}
	return check_chains(c, err);
}

/* -- public --------------------------------------------------------------------------------------------------------------- */

static int finish(struct config *c, int r, struct config **ret, struct error *err)
{
	if (r == 0)
		r = check(c, err);
	if (r != 0) {
		config_free(&c);
		return r;
	}
	*ret = c;
	return 0;
}

int config_parse(const char *yaml, size_t size, const char *name, struct config **ret, struct error *err)
{
	*ret = NULL;
	if (size > FILE_MAX)
		return error_set(err, WEIR_LIMIT, "%s: larger than %u bytes", name, FILE_MAX);
	struct config *c = xmalloc(sizeof *c);
	set_defaults(OWNER_CONFIG, c);
	return finish(c, load_yaml(c, yaml, size, name, err), ret, err);
}

static int read_file(const char *path, struct buf *text, struct error *err)
{
	FILE *f = fopen(path, "re");
	if (!f)
		return error_set(err, WEIR_CONFIG, "configuration file %s: %s", path, strerror(errno));
	char chunk[8192];
	size_t n;
	while ((n = fread(chunk, 1, sizeof chunk, f)) > 0)
		buf_add(text, chunk, n);
	bool failed = ferror(f);
	fclose(f);
	if (failed)
		return error_set(err, WEIR_CONFIG, "configuration file %s: cannot be read", path);
	if (text->overflow)
		return error_set(err, WEIR_LIMIT, "configuration file %s: larger than %u bytes", path, FILE_MAX);
	return 0;
}

int config_load(const char *path, struct config **ret, struct error *err)
{
	*ret = NULL;
	struct config *c = xmalloc(sizeof *c);
	set_defaults(OWNER_CONFIG, c);
	int r = 0;
	if (path) {
		struct buf text = BUF_INIT(FILE_MAX);
		r = read_file(path, &text, err);
		if (r == 0)
			r = load_yaml(c, buf_str(&text), text.size, path, err);
		buf_free(&text);
	}
	if (r == 0)
		r = load_environment(OWNER_CONFIG, c, "WEIR", err);
	return finish(c, r, ret, err);
}

static void free_owner(enum setting_owner kind, void *owner)
{
	for (size_t i = 0; i < settings_count; i++)
		if (settings[i].owner == kind && (settings[i].type == SETTING_STRING || settings[i].type == SETTING_SECRET))
			free(*(char **)((char *)owner + settings[i].offset));
	for (size_t i = 0; i < LISTS; i++) {
		if (lists[i].owner != kind)
			continue;
		for (size_t j = 0; j < list_count(&lists[i], owner); j++)
			free_owner(lists[i].element, list_element(&lists[i], owner, j));
		free(*(void **)((char *)owner + lists[i].array_offset));
	}
}

void config_free(struct config **c)
{
	if (!*c)
		return;
	free_owner(OWNER_CONFIG, *c);
	xfree(c);
}

/* -- the manual ----------------------------------------------------------------------------------------------------------- */

static const char *const owner_prefix[] = { "", "chains[].", "chains[].endpoints[].", "gateway.keys[]." };
static const char *const type_names[] = { "text", "secret", "true/false", "number", "number", "duration", "size", "choice" };

void config_print_markdown(struct buf *out)
{
	buf_add_str(out, "| setting | type | default | allowed | meaning |\n|---|---|---|---|---|\n");
	for (size_t i = 0; i < settings_count; i++) {
		const struct setting *s = &settings[i];
		char allowed[256] = "";
		if (s->choices)
			list_choices(s->choices, allowed, sizeof allowed);
		else if (s->type == SETTING_INT || s->type == SETTING_UNSIGNED || s->type == SETTING_DURATION_MS || s->type == SETTING_BYTES)
			describe_number(s, allowed);
		bool hide = s->type == SETTING_SECRET || !*s->initial;
		buf_printf(out, "| `%s%s` | %s | %s%s%s | %s | %s |\n", owner_prefix[s->owner], s->path, type_names[s->type], hide ? "" : "`",
			   hide ? "" : s->initial, hide ? "" : "`", allowed, s->text);
	}
}

/* Closes and opens sections so that a dotted path becomes nested YAML; returns the leaf's name. */
static const char *open_sections(struct buf *out, const char *path, char open[160], const char *indent)
{
	const char *leaf = strrchr(path, '.');
	size_t section = leaf ? (size_t)(leaf - path) : 0;
	if (strlen(open) != section || strncmp(open, path, section) != 0) {
		size_t depth = 0;
		for (size_t at = 0; at < section;) {
			size_t end = at + strcspn(path + at, ".");
			if (strncmp(open, path, end) != 0 || (open[end] && open[end] != '.'))
				buf_printf(out, "%s%*s%.*s:\n", indent, (int)depth * 2, "", (int)(end - at), path + at);
			at = end + 1;
			depth++;
		}
		snprintf(open, 160, "%.*s", (int)section, path);
	}
	return leaf ? leaf + 1 : path;
}

static void print_sample_of(struct buf *out, enum setting_owner kind, const char *indent, bool commented)
{
	char open[160] = "";
	for (size_t i = 0; i < settings_count; i++) {
		const struct setting *s = &settings[i];
		if (s->owner != kind)
			continue;
		const char *leaf = open_sections(out, s->path, open, indent);
		size_t depth = 0;
		for (const char *p = s->path; p < leaf; p++)
			depth += *p == '.';
		bool quote = s->type == SETTING_STRING || s->type == SETTING_SECRET;
		buf_printf(out, "%s%*s# %s\n%s%*s%s%s: %s%s%s\n", indent, (int)depth * 2, "", s->text, indent, (int)depth * 2, "",
			   commented ? "# " : "", leaf, quote ? "\"" : "", s->initial, quote ? "\"" : "");
	}
}

void config_print_sample(struct buf *out)
{
	buf_add_str(out, "# weir.yaml: every setting with its default. Environment variables override: WEIR_BUS_REDIS_URL for bus.redis_url,\n"
			 "# WEIR_CHAINS_0_ENDPOINTS_0_URL for the first endpoint of the first chain.\n");
	print_sample_of(out, OWNER_CONFIG, "", false);
	buf_add_str(out, "# gateway.keys: each element has\n");
	print_sample_of(out, OWNER_KEY, "  # ", false);
	buf_add_str(out, "chains: []\n# each element of chains has\n");
	print_sample_of(out, OWNER_CHAIN, "  # ", false);
	buf_add_str(out, "# and each element of its endpoints has\n");
	print_sample_of(out, OWNER_ENDPOINT, "  # ", false);
}
