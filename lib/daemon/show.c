/* show.c - the settings that a process runs with, as text for operators: no secret, and of an address no more than scheme and host. */
#include "daemon/settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define VALUE_MAX 1024

struct showing {
	config_show_fn *fn;
	void *arg;
};

/* An endpoint's path or user part may be its key. */
static void show_text(const char *text, char ret[VALUE_MAX])
{
	const char *scheme = strstr(text, "://");
	const char *host = scheme ? scheme + 3 : NULL;
	if (!host || strncmp(text, "unix", 4) == 0) {
		snprintf(ret, VALUE_MAX, "%s", text);
		return;
	}
	size_t authority = strcspn(host, "/?#");
	const char *at = memrchr(host, '@', authority), *begin = at ? at + 1 : host;
	bool more = host[authority] && host[authority + 1];
	snprintf(ret, VALUE_MAX, "%.*s%.*s%s", (int)(host - text), text, (int)(host + authority - begin), begin, more ? "/…" : "");
}

static void show_scaled(int64_t value, const char *const units[], const int64_t factors[], char ret[VALUE_MAX])
{
	size_t i = 0;
	while (factors[i] > 1 && (value == 0 || value % factors[i] != 0))
		i++;
	snprintf(ret, VALUE_MAX, "%" PRId64 "%s", value / factors[i], units[i]);
}

/* "0.010000" is 0.01, "1.000000" is 1. */
static void cut_zeros(char *text)
{
	char *end = text + strlen(text);
	while (end[-1] == '0')
		*--end = '\0';
	if (end[-1] == '.')
		end[-1] = '\0';
}

static void show_value(const struct setting *s, const char *field, char ret[VALUE_MAX])
{
	int64_t number;
	uint64_t natural;
	int choice;
	bool on;
	char *text;
	switch (s->type) {
	case SETTING_STRING:
		memcpy(&text, field, sizeof text);
		show_text(text ? text : "", ret);
		break;
	case SETTING_SECRET:
		memcpy(&text, field, sizeof text);
		snprintf(ret, VALUE_MAX, "%s", text && *text ? "(set)" : "");
		break;
	case SETTING_BOOL:
		memcpy(&on, field, sizeof on);
		snprintf(ret, VALUE_MAX, "%s", on ? "true" : "false");
		break;
	case SETTING_INT:
		memcpy(&number, field, sizeof number);
		snprintf(ret, VALUE_MAX, "%" PRId64, number);
		break;
	case SETTING_UNSIGNED:
		memcpy(&natural, field, sizeof natural);
		snprintf(ret, VALUE_MAX, "%" PRIu64, natural);
		break;
	case SETTING_DURATION_MS:
		memcpy(&number, field, sizeof number);
		show_scaled(number, (const char *const[]){ "h", "m", "s", "ms" }, (const int64_t[]){ 3600000, 60000, 1000, 1 }, ret);
		break;
	case SETTING_BYTES:
		memcpy(&number, field, sizeof number);
		show_scaled(number, (const char *const[]){ "GiB", "MiB", "KiB", "" }, (const int64_t[]){ 1 << 30, 1 << 20, 1 << 10, 1 }, ret);
		break;
	case SETTING_RATIO:
		memcpy(&number, field, sizeof number);
		snprintf(ret, VALUE_MAX, "%" PRId64 ".%06" PRId64, number / 1000000, number % 1000000);
		cut_zeros(ret);
		break;
	case SETTING_CHOICE:
		memcpy(&choice, field, sizeof choice);
		snprintf(ret, VALUE_MAX, "%s", s->choices[choice]);
		break;
	}
}

/* The same text of the default, so that equal values look equal: "1m" and "60s" are one. */
static void show_initial(const struct setting *s, char ret[VALUE_MAX])
{
	union {
		char bytes[16];
		char *text;
		int64_t number;
	} field = { .number = 0 };
	struct setting here = *s;
	struct error err = { 0 };
	ret[0] = '\0';
	here.offset = 0;
	if (s->type == SETTING_SECRET || setting_assign(&here, &field, s->initial, s->path, &err) != 0)
		return;
	show_value(s, field.bytes, ret);
	if (s->type == SETTING_STRING)
		free(field.text);
}

static void show_owner(const struct showing *to, enum setting_owner owner, const void *values, const char *prefix)
{
	for (size_t i = 0; i < settings_count; i++) {
		const struct setting *s = &settings[i];
		char path[256], value[VALUE_MAX], initial[VALUE_MAX];
		if (s->owner != owner)
			continue;
		snprintf(path, sizeof path, "%s%s", prefix, s->path);
		show_value(s, (const char *)values + s->offset, value);
		show_initial(s, initial);
		to->fn(&(struct config_shown){ path, value, initial, s->text, s->type == SETTING_SECRET }, to->arg);
	}
	for (size_t i = 0; i < setting_lists_count; i++) {
		const struct setting_list *list = &setting_lists[i];
		const char *array;
		if (list->owner != owner)
			continue;
		memcpy(&array, (const char *)values + list->array_offset, sizeof array);
		for (size_t k = 0, n = setting_list_count(list, values); k < n; k++) {
			char element[256];
			snprintf(element, sizeof element, "%s%s[%zu].", prefix, list->path, k);
			show_owner(to, list->element, array + k * list->element_size, element);
		}
	}
}

void config_show(const struct config *config, config_show_fn *fn, void *arg)
{
	show_owner(&(struct showing){ fn, arg }, OWNER_CONFIG, config, "");
}
