/* sim_redis.h - a simulated Redis on a simulated clock, for schedules that repeat exactly: the same seed, the same run.
 *
 * The bus' code is the real one, down to hiredis and to the functions in weir.lua, which run here in LuaJIT over a model of the commands that
 * they use (lib/bus/memory/memory.lua). What is replaced: the socket (struct bus_io), the clock, sleeping, and randomness. One thread. simulation_model_test.c
 * checks the model against a real Redis.
 */
#ifndef TESTS_SUPPORT_SIM_REDIS_H
#define TESTS_SUPPORT_SIM_REDIS_H

#include "bus/bus.h"

#include <stdbool.h>
#include <stdint.h>

struct sim_faults {            /* of 10 000, each for each command */
	unsigned request_lost; /* the connection breaks before the server has it */
	unsigned reply_lost;   /* … after it did it */
	unsigned delayed;      /* the answer takes up to two seconds */
	unsigned answered;     /* with an error instead: BUSY, LOADING, MASTERDOWN, READONLY, MISCONF */
	unsigned refused;      /* for each attempt to connect */
};

void sim_begin(uint64_t seed); /* replaces clock, sleep and randomness until sim_end; the server is empty */
void sim_end(void);
uint64_t sim_random(uint64_t below); /* the schedule's own dice */
int64_t sim_now_ms(void);
void sim_advance(int64_t ms);
void sim_jump(int64_t ms); /* the clock of the server is set, forth or back (< 0), to so much beside everybody else's */
void sim_set_faults(const struct sim_faults *); /* NULL: none */

struct bus *sim_bus(const char *worker);
void sim_cut(struct bus *);  /* its connection breaks now */
void sim_kill(struct bus *); /* nothing of it reaches the server any more: close it after that */

void sim_restart(int lost); /* all connections break; the last `lost` operations never happened; < 0: everything is gone */
void sim_set_oom(bool);
void sim_lose_functions(void);
/* One command behind the bus' back; its reply in RESP, valid until the next call. Words end with NULL. */
const char *sim_ask(const char *const *words);
uint64_t sim_commands(void); /* executed so far */

#endif
