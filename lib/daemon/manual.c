/* manual.c - the settings' reference and the sample file, printed from the table in settings.c. */
#include "daemon/settings.h"

#include <stdio.h>
#include <string.h>

static const char *const owner_prefix[] = { "", "chains[].", "chains[].endpoints[].", "gateway.keys[].", "alerts.destinations[]." };
static const char *const type_names[] = { "text", "secret", "true/false", "number", "number", "duration", "size", "ratio", "choice" };

void config_print_markdown(struct buf *out)
{
	buf_add_str(out, "| setting | type | default | allowed | meaning |\n|---|---|---|---|---|\n");
	for (size_t i = 0; i < settings_count; i++) {
		const struct setting *s = &settings[i];
		char allowed[256];
		bool hide = s->type == SETTING_SECRET || !*s->initial;
		buf_printf(out, "| `%s%s` | %s | %s%s%s | %s | %s |\n", owner_prefix[s->owner], s->path, type_names[s->type], hide ? "" : "`",
			   hide ? "" : s->initial, hide ? "" : "`", setting_allowed(s, allowed), s->text);
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

static void print_sample_of(struct buf *out, enum setting_owner kind, const char *indent)
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
		buf_printf(out, "%s%*s# %s\n%s%*s%s: %s%s%s\n", indent, (int)depth * 2, "", s->text, indent, (int)depth * 2, "", leaf,
			   quote ? "\"" : "", s->initial, quote ? "\"" : "");
	}
}

void config_print_sample(struct buf *out)
{
	buf_add_str(out, "# weir.yaml: every setting with its default. Environment variables override: WEIR_BUS_REDIS_URL for bus.redis_url,\n"
			 "# WEIR_CHAINS_0_ENDPOINTS_0_URL for the first endpoint of the first chain.\n");
	print_sample_of(out, OWNER_CONFIG, "");
	buf_add_str(out, "# gateway.keys: each element has\n");
	print_sample_of(out, OWNER_KEY, "  # ");
	buf_add_str(out, "# alerts.destinations: each element has\n");
	print_sample_of(out, OWNER_DESTINATION, "  # ");
	buf_add_str(out, "chains: []\n# each element of chains has\n");
	print_sample_of(out, OWNER_CHAIN, "  # ");
	buf_add_str(out, "# and each element of its endpoints has\n");
	print_sample_of(out, OWNER_ENDPOINT, "  # ");
}
