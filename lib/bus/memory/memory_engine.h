/* memory_engine.h - private to lib/bus: as much of Redis as the bus uses, inside the program: memory.lua, which runs the bus' own functions (weir.lua),
 * in LuaJIT. What "memory://name" is made of, and what the simulator of the tests is made of.
 *
 * LuaJIT is loaded when an engine is first opened, so that nobody else needs it. An engine belongs to one thread at a time.
 */
#ifndef WEIR_BUS_MEMORY_ENGINE_H
#define WEIR_BUS_MEMORY_ENGINE_H

#include "base/error.h"
#include "base/mem.h"

#include <stdbool.h>

struct memory_engine;

/* history: keeps the newest operations, so that memory_engine_restart can take them back; costs a copy of each key that is changed.
 * WEIR_UNSUPPORTED: LuaJIT is not there. */
int memory_engine_open(bool history, struct memory_engine **ret, struct error *);
void memory_engine_close(struct memory_engine **);
void memory_engine_reset(struct memory_engine *); /* empty, without connections */

void memory_engine_connect(struct memory_engine *, int connection);
void memory_engine_disconnect(struct memory_engine *, int connection);
/* Executes one command and adds its reply to out. Returns for how many ms it would block: then the reply says "nothing", and whoever wants to
 * wait asks again. */
int64_t memory_engine_execute(struct memory_engine *, int connection, int64_t now_us, const struct bytes *words, size_t n, struct buf *out);
/* "*3\r\n$3\r\n…": the words of the whole command at the front of in (*ret is the caller's to free). Returns its size; 0: not all is here. */
size_t memory_engine_parse(struct bytes in, struct bytes **ret, size_t *ret_n);
size_t memory_engine_bytes(const struct memory_engine *); /* that Lua holds */

void memory_engine_restart(struct memory_engine *, int lost, const char *run); /* another run; without the newest `lost` operations, < 0: empty */
void memory_engine_set_oom(struct memory_engine *, bool);
void memory_engine_lose_functions(struct memory_engine *);

#endif
