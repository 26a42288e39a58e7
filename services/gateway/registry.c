/* registry.c - telling of this gateway and reading of the others. */
#include "registry.h"

#include "control.h"
#include "live/hub.h"

#include "base/clock.h"
#include "base/version.h"
#include "bus/kept.h"
#include "wire/json.h"

#include "weir/streams.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TELL_MS 1000
#define WORD_MAX ((size_t)256 << 10)
#define INSTANCE_MAX 100

struct registry {
	struct gateway *gateway;
	char name[INSTANCE_MAX];
	int64_t started_ms, told_ms;
	bool told;
};

static void key_of(const char *name, char ret[INSTANCE_MAX + 40])
{
	snprintf(ret, INSTANCE_MAX + 40, INSTANCE_KEY_FORMAT, name);
}

const char *registry_name(const struct registry *r)
{
	return r->name;
}

/* Its own word, without braces. items: with the newest connections. */
static void put_word(struct registry *r, bool items, struct buf *out)
{
	const struct hub_counts counts = hub_counts(r->gateway->hub);
	put_text(out, "instance", r->name);
	put_text(out, "version", weir_version);
	put_milliseconds(out, "started_at", r->started_ms);
	put_milliseconds(out, "heard_at", clock_wall_ms());
	put_u64(out, "connections", counts.connections);
	put_u64(out, "subscriptions", counts.subscriptions);
	if (items)
		(void)hub_list(r->gateway->hub, out, &(struct hub_search){ .limit = REGISTRY_CONNECTIONS });
	else
		buf_add_str(out, ",\"items\":[]");
}

static int tell(struct registry *r, struct bus *bus, struct error *err)
{
	char key[INSTANCE_MAX + 40];
	struct buf word = BUF_INIT(WORD_MAX);
	const struct bus_field field = { r->name, "1" };
	key_of(r->name, key);
	put_object(&word, NULL);
	put_word(r, true, &word);
	put_end(&word, '}');
	if (word.overflow) {
		buf_reset(&word);
		put_object(&word, NULL);
		put_word(r, false, &word);
		put_end(&word, '}');
	}
	int code = bus_keep(bus, key, (struct bytes){ word.data, word.size }, REGISTRY_TTL_MS, err);
	if (!code)
		code = bus_hash_write(bus, INSTANCES_KEY, &field, 1, err);
	buf_free(&word);
	return code;
}

void registry_open(struct gateway *gateway, struct registry **ret)
{
	struct registry *r = xmalloc(sizeof *r);
	char host[64] = "?";
	gethostname(host, sizeof host - 1);
	r->gateway = gateway;
	r->started_ms = clock_wall_ms();
	snprintf(r->name, sizeof r->name, "%s:%ld:%08llx", host, (long)getpid(), (unsigned long long)(random_u64() & 0xffffffff));
	*ret = r;
}

void registry_turn(struct registry *r)
{
	struct error err = { 0 };
	int64_t now = clock_mono_ms();
	if (now - r->told_ms < TELL_MS && r->told_ms)
		return;
	r->told_ms = now;
	struct bus *bus = control_take(r->gateway->control);
	int code = tell(r, bus, &err);
	control_give(r->gateway->control);
	if (code && r->told)
		log_warn(&r->gateway->log, "registry_away", "other gateways do not hear of this one now", LOG_ERR(&err));
	r->told = code == 0;
}

void registry_leave(struct registry *r)
{
	char key[INSTANCE_MAX + 40];
	struct error err = { 0 };
	const char *name = r ? r->name : NULL;
	if (!r || !r->told)
		return;
	key_of(r->name, key);
	struct bus *bus = control_take(r->gateway->control);
	if (bus_forget(bus, key, &err) == 0)
		(void)bus_hash_delete(bus, INSTANCES_KEY, &name, 1, &err);
	control_give(r->gateway->control);
}

void registry_close(struct registry **rp)
{
	xfree(rp);
}

/* ---- the others -------------------------------------------------------------------------------------------------------------------------- */

struct names {
	const char *own;
	char (*list)[INSTANCE_MAX];
	size_t count;
};

static void on_name(const char *name, const char *value, void *arg)
{
	struct names *names = arg;
	(void)value;
	if (names->count < REGISTRY_INSTANCES_MAX && strlen(name) < INSTANCE_MAX && strcmp(name, names->own) != 0)
		snprintf(names->list[names->count++], INSTANCE_MAX, "%s", name);
}

/* A word is another gateway's JSON: passed on whole, or not at all. */
static bool is_word(const struct buf *word)
{
	union { /* yyjson changes nothing without its in-situ flag */
		const uint8_t *in;
		char *out;
	} text = { .in = word->data };
	yyjson_doc *doc = word->size > 0 && word->size <= WORD_MAX ? yyjson_read_opts(text.out, word->size, 0, NULL, NULL) : NULL;
	bool object = yyjson_is_obj(yyjson_doc_get_root(doc));
	yyjson_doc_free(doc);
	return object;
}

static void put_other(struct bus *bus, const char *name, struct buf *out)
{
	char key[INSTANCE_MAX + 40];
	struct buf word = BUF_INIT(2 * WORD_MAX);
	struct error err = { 0 };
	key_of(name, key);
	int code = bus_kept(bus, key, &word, &err);
	if (code == WEIR_NOT_FOUND)
		(void)bus_hash_delete(bus, INSTANCES_KEY, &name, 1, &err);
	else if (!code && is_word(&word))
		put_raw(out, NULL, buf_str(&word));
	buf_free(&word);
}

void registry_put(struct registry *r, struct buf *out)
{
	struct error err = { 0 };
	struct names names = { .own = r->name, .list = xcalloc(REGISTRY_INSTANCES_MAX, INSTANCE_MAX) };
	put_array(out, "instances");
	put_object(out, NULL);
	put_word(r, true, out);
	put_end(out, '}');
	struct bus *bus = control_take(r->gateway->control);
	if (bus_hash_read(bus, INSTANCES_KEY, on_name, &names, &err))
		names.count = 0;
	for (size_t i = 0; i < names.count; i++)
		put_other(bus, names.list[i], out);
	control_give(r->gateway->control);
	put_end(out, ']');
	free(names.list);
}
