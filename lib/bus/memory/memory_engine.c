/* memory_engine.c - LuaJIT, loaded at run time, and memory.lua in it. */
#include "bus/memory/memory_engine.h"
#include "bus/core/library.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY "libluajit-5.1.so.2"

extern const char bus_memory_lua[], bus_memory_lua_end[];
__asm__(".section .rodata\n"
	".global bus_memory_lua\n"
	"bus_memory_lua:\n"
	".incbin \"lib/bus/memory/memory.lua\"\n"
	".global bus_memory_lua_end\n"
	"bus_memory_lua_end:\n"
	".byte 0\n"
	".previous\n");

/* -- the library: what is used of Lua 5.1's C interface (https://www.lua.org/manual/5.1/manual.html#3), which does not change any more -------- */

typedef struct lua_State lua_State;
#define LUA_REGISTRYINDEX (-10000)
#define LUA_GCCOUNT 3

static struct {
	lua_State *(*luaL_newstate)(void);
	void (*lua_close)(lua_State *);
	void (*luaL_openlibs)(lua_State *);
	int (*luaL_loadbuffer)(lua_State *, const char *text, size_t, const char *name);
	int (*luaL_ref)(lua_State *, int table);
	int (*lua_pcall)(lua_State *, int arguments, int results, int handler);
	void (*lua_rawgeti)(lua_State *, int table, int i);
	void (*lua_getfield)(lua_State *, int table, const char *name);
	void (*lua_remove)(lua_State *, int index);
	void (*lua_settop)(lua_State *, int index);
	int (*lua_checkstack)(lua_State *, int more);
	void (*lua_pushinteger)(lua_State *, ptrdiff_t);
	void (*lua_pushnumber)(lua_State *, double);
	void (*lua_pushlstring)(lua_State *, const char *, size_t);
	void (*lua_pushstring)(lua_State *, const char *);
	void (*lua_pushboolean)(lua_State *, int);
	const char *(*lua_tolstring)(lua_State *, int index, size_t *);
	double (*lua_tonumber)(lua_State *, int index);
	int (*lua_gc)(lua_State *, int what, int data);
} api;

static const struct library_symbol symbols[] = {
#define SYMBOL(name) { #name, &api.name }
	SYMBOL(luaL_newstate), SYMBOL(lua_close),      SYMBOL(luaL_openlibs),   SYMBOL(luaL_loadbuffer), SYMBOL(luaL_ref),
	SYMBOL(lua_pcall),     SYMBOL(lua_rawgeti),    SYMBOL(lua_getfield),    SYMBOL(lua_remove),	 SYMBOL(lua_settop),
	SYMBOL(lua_checkstack), SYMBOL(lua_pushinteger), SYMBOL(lua_pushnumber), SYMBOL(lua_pushlstring), SYMBOL(lua_pushstring),
	SYMBOL(lua_pushboolean), SYMBOL(lua_tolstring), SYMBOL(lua_tonumber),   SYMBOL(lua_gc),
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char missing[256]; /* why there is none; empty: all is there */

static void load(void)
{
	library_load(LIBRARY, symbols, sizeof symbols / sizeof symbols[0], missing, sizeof missing);
}

/* -- calling memory.lua ------------------------------------------------------------------------------------------------------------------ */

struct memory_engine {
	lua_State *lua;
	int module; /* registry reference */
};

static void begin(const struct memory_engine *e, const char *function)
{
	api.lua_rawgeti(e->lua, LUA_REGISTRYINDEX, e->module);
	api.lua_getfield(e->lua, -1, function);
	api.lua_remove(e->lua, -2);
}

/* A mistake of memory.lua itself ends the program: there is no state to go on with. Errors of commands are replies. */
static void call(const struct memory_engine *e, int arguments, int results)
{
	if (api.lua_pcall(e->lua, arguments, results, 0) == 0)
		return;
	fprintf(stderr, "memory.lua: %s\n", api.lua_tolstring(e->lua, -1, NULL));
	abort();
}

static void tell(const struct memory_engine *e, const char *function, int number)
{
	begin(e, function);
	api.lua_pushinteger(e->lua, number);
	call(e, 1, 0);
}

int memory_engine_open(bool history, struct memory_engine **ret, struct error *err)
{
	*ret = NULL;
	pthread_once(&once, load);
	if (*missing)
		return error_set(err, WEIR_UNSUPPORTED, "memory:// needs LuaJIT 2.1 (" LIBRARY ", Debian: libluajit-5.1-2), which cannot be loaded: %s. "
			  "Install it, or use a Redis", missing);
	struct memory_engine *e = xmalloc(sizeof *e);
	e->lua = api.luaL_newstate();
	if (!e->lua) {
		free(e);
		return error_set(err, WEIR_FULL, "memory://: no memory for a Lua state");
	}
	api.luaL_openlibs(e->lua);
	if (api.luaL_loadbuffer(e->lua, bus_memory_lua, (size_t)(bus_memory_lua_end - bus_memory_lua), "=memory.lua") != 0)
		call(e, -1, 0); /* cannot be: it is part of the program */
	call(e, 0, 1);
	e->module = api.luaL_ref(e->lua, LUA_REGISTRYINDEX);
	begin(e, "keep_history");
	api.lua_pushboolean(e->lua, history);
	call(e, 1, 0);
	*ret = e;
	return 0;
}

void memory_engine_close(struct memory_engine **engine)
{
	if (!*engine)
		return;
	api.lua_close((*engine)->lua);
	xfree(engine);
}

void memory_engine_reset(struct memory_engine *e)
{
	begin(e, "reset");
	call(e, 0, 0);
}

void memory_engine_connect(struct memory_engine *e, int connection)
{
	tell(e, "connect", connection);
}

void memory_engine_disconnect(struct memory_engine *e, int connection)
{
	tell(e, "disconnect", connection);
}

int64_t memory_engine_execute(struct memory_engine *e, int connection, int64_t now_us, const struct bytes *words, size_t n, struct buf *out)
{
	if (n > 100000 || !api.lua_checkstack(e->lua, (int)n + 8)) {
		buf_add_str(out, "-ERR too many words\r\n");
		return 0;
	}
	begin(e, "execute");
	api.lua_pushinteger(e->lua, connection);
	api.lua_pushnumber(e->lua, (double)now_us);
	for (size_t i = 0; i < n; i++)
		api.lua_pushlstring(e->lua, (const char *)words[i].data, words[i].size);
	call(e, (int)n + 2, 2);
	size_t size;
	const char *reply = api.lua_tolstring(e->lua, -2, &size);
	int64_t block = (int64_t)api.lua_tonumber(e->lua, -1);
	buf_add(out, reply, size);
	api.lua_settop(e->lua, -3);
	return block;
}

size_t memory_engine_parse(struct bytes in, struct bytes **ret, size_t *ret_n)
{
	const char *at = (const char *)in.data, *end = at + in.size, *line;
	if (in.size == 0 || !(line = memchr(at, '\n', in.size)))
		return 0;
	size_t n = strtoull(at + 1, NULL, 10);
	struct bytes *words = xcalloc(n + 1, sizeof *words);
	at = line + 1;
	for (size_t i = 0; i < n; i++) {
		line = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
		size_t size = line ? strtoull(at + 1, NULL, 10) : 0;
		if (!line || (size_t)(end - line) < size + 3) {
			free(words);
			return 0;
		}
		words[i] = (struct bytes){ (const uint8_t *)line + 1, size };
		at = line + 1 + size + 2;
	}
	*ret = words;
	*ret_n = n;
	return (size_t)(at - (const char *)in.data);
}

size_t memory_engine_bytes(const struct memory_engine *e)
{
	return (size_t)api.lua_gc(e->lua, LUA_GCCOUNT, 0) << 10;
}

void memory_engine_restart(struct memory_engine *e, int lost, const char *run)
{
	begin(e, "restart");
	api.lua_pushinteger(e->lua, lost);
	api.lua_pushstring(e->lua, run);
	call(e, 2, 0);
}

void memory_engine_set_oom(struct memory_engine *e, bool oom)
{
	begin(e, "set_oom");
	api.lua_pushboolean(e->lua, oom);
	call(e, 1, 0);
}

void memory_engine_lose_functions(struct memory_engine *e)
{
	begin(e, "lose_functions");
	call(e, 0, 0);
}
