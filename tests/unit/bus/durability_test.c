/* durability_test.c - docs/bus.md's table of what survives what, a test for each of its cells: a service is killed, Redis is killed, power is lost, with
 * no append-only file, appendfsync everysec and always; with a replica that was waited for, the master and its disk are gone; and a topic that
 * wants an fsync is refused where there is none.
 *
 * Each kill comes right behind an acknowledgement. Power is lost by cutting the file to what an fsync had covered (tests/preload/power_loss.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "support/bus_fixture.h"

#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NORMAL "weir:{test}:blocks:normal"
#define CALL 100
#define TRIES 10

static int setup(void **state)
{
	char shim[512];
	ssize_t n = readlink("/proc/self/exe", shim, sizeof shim - 64);
	(void)state;
	assert_true(n > 0);
	shim[n] = 0;
	char *build = strstr(shim, "/tests/unit/");
	assert_non_null(build);
	snprintf(build, 64, "/tests/preload/power_loss.so");
	assert_int_equal(access(shim, R_OK), 0);
	assert_int_equal(setenv("LD_PRELOAD", shim, 1), 0); /* for redis-server only */
	redis_server_start(&fixture_server);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	redis_server_stop(&fixture_server);
	return unsetenv("LD_PRELOAD");
}

static void use(const char *persistence)
{
	if (strcmp(persistence, "none") == 0)
		fixture_ask("CONFIG SET appendonly no");
	else
		fixture_ask("CONFIG SET appendfsync %s", persistence);
}

static struct bus_publisher *publisher(struct bus *bus)
{
	struct bus_publisher *p;
	assert_int_equal(bus_publisher_open(bus, "test", TOPIC_BLOCKS, "p", &p, NULL), 0);
	return p;
}

/* CALL messages in one call; until it was acknowledged, or something else was said. */
static int publish(struct bus_publisher *p)
{
	struct frame frames[CALL];
	struct error err = { 0 };
	int r = WEIR_UNAVAILABLE;
	for (size_t i = 0; i < CALL; i++)
		frames[i] = fixture_message(MESSAGE_NORMALIZED_BLOCK, "key", "body");
	for (int64_t deadline = clock_mono_ms() + 60000; error_retriable(r) && r != WEIR_GAP && clock_mono_ms() < deadline;)
		r = bus_publish(p, frames, CALL, &err);
	if (r != 0 && r != WEIR_GAP)
		fail_msg("bus_publish: %d, %s", r, err.text);
	return r;
}

static long long stored(void)
{
	return fixture_ask("XLEN " NORMAL);
}

static void for_each_file(void (*fn)(const char *folder, const char *name))
{
	char pattern[160];
	glob_t found;
	snprintf(pattern, sizeof pattern, "%s/appendonlydir/*.incr.aof", fixture_server.dir);
	assert_int_equal(glob(pattern, 0, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		char *slash = strrchr(found.gl_pathv[i], '/');
		if (strncmp(slash + 1, "synced-", 7) == 0)
			continue;
		*slash = 0;
		fn(found.gl_pathv[i], slash + 1);
	}
	globfree(&found);
}

static void cut(const char *folder, const char *name)
{
	char path[512];
	long long size = 0;
	snprintf(path, sizeof path, "%s/synced-%s", folder, name);
	FILE *f = fopen(path, "r");
	if (f) {
		assert_int_equal(fscanf(f, "%lld", &size), 1);
		fclose(f);
	}
	snprintf(path, sizeof path, "%s/%s", folder, name);
	assert_int_equal(truncate(path, (off_t)size), 0);
}

static void kill_and_restart(void)
{
	redis_server_kill(&fixture_server);
	redis_server_restart(&fixture_server);
}

static void lose_power(void)
{
	redis_server_kill(&fixture_server);
	for_each_file(cut);
	redis_server_restart(&fixture_server);
}

/* A restart whose file, if it had one, is not there any more. */
static void restart_without_a_file(void)
{
	char command[128];
	redis_server_kill(&fixture_server);
	snprintf(command, sizeof command, "rm -rf '%s/appendonlydir'", fixture_server.dir);
	assert_int_equal(system(command), 0);
	redis_server_restart(&fixture_server);
}

static bool all_synced;

static void look_whether_synced(const char *folder, const char *name)
{
	char path[512];
	long long synced = 0, size = 0;
	snprintf(path, sizeof path, "%s/synced-%s", folder, name);
	FILE *f = fopen(path, "r");
	if (f) {
		if (fscanf(f, "%lld", &synced) != 1)
			synced = 0;
		fclose(f);
	}
	snprintf(path, sizeof path, "%s/%s", folder, name);
	f = fopen(path, "r");
	if (f) {
		(void)fseek(f, 0, SEEK_END);
		size = ftell(f);
		fclose(f);
	}
	all_synced = all_synced && synced >= size && size > 0;
}

/* While the disk is busy Redis puts even the write off. */
static bool all_written(void)
{
	char *info = fixture_text("INFO persistence");
	bool written = strstr(info, "aof_buffer_length:0\r") != NULL;
	free(info);
	return written;
}

static void wait_for_the_disk(void)
{
	int64_t deadline = clock_mono_ms() + 60000;
	do {
		assert_true(clock_mono_ms() < deadline);
		clock_sleep_ms(10);
		all_synced = all_written();
		for_each_file(look_whether_synced);
	} while (!all_synced);
}

/* -- a killed service ---------------------------------------------------------------------------------------------------------- */

/* A process publishes and is killed over its last acknowledgement. Another one reads. */
static void a_killed_service(const char *persistence)
{
	int said[2];
	char byte;
	use(persistence);
	assert_int_equal(pipe(said), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct bus *bus = fixture_bus("service");
		struct bus_publisher *p = publisher(bus);
		bool good = publish(p) == 0 && write(said[1], "+", 1) == 1;
		(void)kill(getpid(), good ? SIGKILL : SIGABRT);
	}
	(void)close(said[1]);
	assert_int_equal(read(said[0], &byte, 1), 1);
	(void)close(said[0]);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

	struct bus *bus = fixture_bus("reader");
	struct bus_tail *tail;
	assert_int_equal(bus_tail_open(bus, "test", TOPIC_BLOCKS, CLASS_NORMAL, &tail, NULL), 0);
	size_t read = 0;
	for (int64_t deadline = clock_mono_ms() + 60000; read < CALL && clock_mono_ms() < deadline;) {
		struct bus_message *m;
		uint64_t first;
		size_t n;
		assert_int_equal(bus_tail_read(tail, CALL, 1000, &m, &n, &first, NULL), 0);
		read += n;
	}
	assert_int_equal(read, CALL);
	bus_tail_close(&tail);
	bus_close(&bus);
}

static void no_file_and_a_killed_service(void **state)
{
	(void)state;
	a_killed_service("none");
}

static void everysec_and_a_killed_service(void **state)
{
	(void)state;
	a_killed_service("everysec");
}

static void always_and_a_killed_service(void **state)
{
	(void)state;
	a_killed_service("always");
}

/* -- a killed Redis, lost power ------------------------------------------------------------------------------------------------- */

/* Nothing is kept, and both sides hear of it. */
static void no_file_and_a_lost_redis(void **state)
{
	(void)state;
	use("none");
	struct bus *bus = fixture_bus("p"), *other = fixture_bus("o");
	struct bus_publisher *p = publisher(bus);
	struct bus_owner *o;
	struct bus_message *m;
	struct error err = { 0 };
	size_t n = 0;
	assert_int_equal(bus_owner_open(other, "test", TOPIC_BLOCKS, "s", 60000, &o, NULL), 0);
	assert_int_equal(bus_owner_acquire(o, NULL), 0);
	assert_int_equal(publish(p), 0);
	assert_int_equal(bus_owner_read(o, CALL, 10000, &m, &n, NULL), 0);
	assert_true(n > 0);
	restart_without_a_file();
	assert_int_equal(stored(), 0);
	assert_int_equal(publish(p), WEIR_GAP);
	assert_int_equal(publish(p), 0);
	assert_int_equal(stored(), CALL);
	int r = WEIR_UNAVAILABLE;
	bool told = false;
	for (int64_t deadline = clock_mono_ms() + 60000; !told && clock_mono_ms() < deadline;) {
		r = bus_owner_read(o, CALL, 100, &m, &n, &err);
		if (r == WEIR_FENCED)
			(void)bus_owner_acquire(o, &err);
		told = bus_owner_rolled_back(o);
	}
	assert_true(told);
	bus_owner_close(&o);
	bus_publisher_close(&p);
	bus_close(&other);
	bus_close(&bus);
}

/* Publishes, ends Redis at once and looks: all is there, or the publisher hears of the loss. True: it was all there. */
static bool keeps_or_tells(struct bus_publisher *p, void (*end)(void))
{
	assert_int_equal(publish(p), 0);
	long long before = stored();
	end();
	bool kept = stored() == before;
	assert_int_equal(publish(p), kept ? 0 : WEIR_GAP);
	if (!kept)
		assert_int_equal(publish(p), 0);
	return kept;
}

/* Redis has written before it answers, but while a slow disk holds it: then the loss is told. */
static void everysec_and_a_killed_redis(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("p");
	struct bus_publisher *p = publisher(bus);
	unsigned kept = 0;
	for (int i = 0; i < TRIES && kept < 3; i++) {
		use("everysec");
		kept += keeps_or_tells(p, kill_and_restart);
	}
	assert_true(kept >= 3);
	bus_publisher_close(&p);
	bus_close(&bus);
}

/* What an fsync has covered stays; what it has not is lost, and told. */
static void everysec_and_lost_power(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("p");
	struct bus_publisher *p = publisher(bus);
	bool lost = false;
	for (int i = 0; i < TRIES && !lost; i++) {
		use("everysec");
		assert_int_equal(publish(p), 0);
		wait_for_the_disk();
		long long on_disk = stored();
		lost = !keeps_or_tells(p, lose_power);
		assert_true(stored() >= on_disk + CALL); /* and what was published since */
	}
	assert_true(lost); /* else this test cannot lose anything */
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void always_and(void (*end)(void))
{
	struct bus *bus = fixture_bus("p");
	struct bus_publisher *p = publisher(bus);
	for (int i = 0; i < 5; i++) {
		use("always");
		assert_true(keeps_or_tells(p, end));
	}
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void always_and_a_killed_redis(void **state)
{
	(void)state;
	always_and(kill_and_restart);
}

static void always_and_lost_power(void **state)
{
	(void)state;
	always_and(lose_power);
}

/* -- a lost master --------------------------------------------------------------------------------------------------------------- */

/* With a replica that was waited for, its file and the whole master may go. */
static void a_replica_that_was_waited_for(void **state)
{
	(void)state;
	static struct redis_server replica; /* no node of a cluster */
	redis_server_start(&replica);
	int port = redis_server_free_port();
	redis_server_listen(&fixture_server, port);
	(void)redis_server_ask(&replica, NULL, "REPLICAOF 127.0.0.1 %d", port);
	use("none");
	struct bus_options o = { .url = fixture_server.url, .worker = "w", .command_timeout_ms = 20000, .wait_replicas = 1, .wait_ms = 1000 };
	struct bus *bus;
	assert_int_equal(bus_open(&o, &bus, NULL), 0);
	struct bus_publisher *p = publisher(bus);
	assert_int_equal(publish(p), 0); /* WEIR_UNAVAILABLE until the replica is there */
	redis_server_kill(&fixture_server);
	(void)redis_server_ask(&replica, NULL, "REPLICAOF NO ONE");
	assert_int_equal(redis_server_ask(&replica, NULL, "XLEN " NORMAL), CALL);
	bus_publisher_close(&p);
	bus_close(&bus);
	redis_server_stop(&replica);
}

/* -- a topic that wants an fsync -------------------------------------------------------------------------------------------------- */

static const struct bus_durability blocks_on_disk[] = { { .topic = TOPIC_BLOCKS, .fsync = true } };

static struct bus *careful_bus(const char *user)
{
	const struct bus_options o = { .url = fixture_server.url, .worker = "w", .command_timeout_ms = 20000, .username = user,
				       .password = user ? "pw" : NULL, .durability = blocks_on_disk, .durability_count = 1 };
	struct bus *bus;
	assert_int_equal(bus_open(&o, &bus, NULL), 0);
	return bus;
}

/* Once there is a connection. */
static int publish_here(struct bus_publisher *p)
{
	struct frame f = fixture_message(MESSAGE_NORMALIZED_BLOCK, "key", "body");
	struct error err = { 0 };
	int r = WEIR_UNAVAILABLE;
	for (int64_t deadline = clock_mono_ms() + 60000; r == WEIR_UNAVAILABLE && clock_mono_ms() < deadline;)
		r = bus_publish(p, &f, 1, &err);
	return r;
}

/* What was looked up holds for a second. */
static void becomes(struct bus_publisher *p, int expected)
{
	struct frame f = fixture_message(MESSAGE_NORMALIZED_BLOCK, "key", "body");
	struct error err = { 0 };
	int r;
	for (int64_t deadline = clock_mono_ms() + 60000; (r = bus_publish(p, &f, 1, &err)) != expected && clock_mono_ms() < deadline;)
		clock_sleep_ms(10);
	assert_int_equal(r, expected);
}

static void an_fsync_that_a_topic_wants(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct bus *bus = careful_bus(NULL);
	struct bus_publisher *p = publisher(bus), *other;
	struct frame f = fixture_message(MESSAGE_NORMALIZED_BLOCK, "key", "body");
	uint64_t tail;
	use("everysec");
	assert_int_equal(bus_publish(p, &f, 1, &err), WEIR_CONFIG);
	assert_non_null(strstr(err.text, "topic blocks wants an fsync"));
	assert_non_null(strstr(err.text, "appendfsync \"everysec\""));
	assert_int_equal(bus_publish_sequence(p, 1, &f, 1, &tail, &err), WEIR_CONFIG);
	assert_int_equal(bus_check(bus, &err), WEIR_CONFIG);
	assert_int_equal(stored(), 0);
	assert_int_equal(bus_publisher_open(bus, "test", "views", "p", &other, NULL), 0);
	assert_int_equal(bus_publish(other, &f, 1, &err), 0); /* a topic that wants none */
	bus_publisher_close(&other);

	use("always");
	becomes(p, 0);
	assert_int_equal(bus_check(bus, &err), 0);
	assert_int_equal(publish(p), 0);
	long long before = stored();
	lose_power();
	assert_int_equal(stored(), before);
	assert_int_equal(publish_here(p), WEIR_CONFIG); /* the new one answers before it, and is asked at once: not called published */

	use("always");
	becomes(p, 0);
	fixture_ask("CONFIG SET no-appendfsync-on-rewrite yes"); /* then it is not always */
	becomes(p, WEIR_CONFIG);
	assert_non_null(strstr((bus_publish(p, &f, 1, &err), err.text), "no-appendfsync-on-rewrite \"yes\""));
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void an_fsync_that_a_step_wants(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct bus *bus = careful_bus(NULL);
	struct bus_worker *w;
	struct bus_message *m;
	size_t n;
	use("everysec");
	fixture_publish(bus, "work", fixture_message(MESSAGE_NORMALIZED_BLOCK, "key", "body"));
	assert_int_equal(bus_worker_open(bus, "test", "work", "s", NULL, &w, NULL), 0);
	assert_int_equal(bus_worker_read(w, 1, 10000, &m, &n, NULL), 0);
	assert_int_equal(n, 1);
	struct bus_step *s = bus_step_begin(w);
	struct frame out = fixture_message(MESSAGE_NORMALIZED_BLOCK, "key", "out");
	bus_step_emit(s, &m[0], "views", &out);
	bus_step_emit(s, &m[0], TOPIC_BLOCKS, &out);
	bus_step_settle(s, &m[0], BUS_DONE, NULL);
	assert_int_equal(bus_step_commit(&s, &err), WEIR_CONFIG);
	assert_int_equal(stored(), 0);
	assert_int_equal(fixture_ask("XLEN weir:{test}:views:normal"), 0);
	use("always");
	int r;
	for (int64_t deadline = clock_mono_ms() + 60000; (r = bus_step_commit(&s, &err)) != 0 && clock_mono_ms() < deadline;)
		clock_sleep_ms(10);
	assert_int_equal(r, 0);
	assert_int_equal(stored(), 1);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* What cannot be looked at is not taken for granted. */
static void an_account_that_may_not_ask(void **state)
{
	(void)state;
	struct error err = { 0 };
	use("always");
	fixture_ask("ACL SETUSER some on >pw ~* &* +@all -config");
	struct bus *bus = careful_bus("some");
	struct bus_publisher *p = publisher(bus);
	struct frame f = fixture_message(MESSAGE_NORMALIZED_BLOCK, "key", "body");
	assert_int_equal(bus_publish(p, &f, 1, &err), WEIR_CONFIG);
	assert_non_null(strstr(err.text, "may not read (CONFIG GET)"));
	assert_int_equal(stored(), 0);
	bus_publisher_close(&p);
	bus_close(&bus);
}

int main(void)
{
#define CELL(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CELL(no_file_and_a_killed_service), CELL(everysec_and_a_killed_service), CELL(always_and_a_killed_service),
		CELL(no_file_and_a_lost_redis),     CELL(everysec_and_a_killed_redis),   CELL(everysec_and_lost_power),
		CELL(always_and_a_killed_redis),    CELL(always_and_lost_power),         CELL(a_replica_that_was_waited_for),
		CELL(an_fsync_that_a_topic_wants),  CELL(an_fsync_that_a_step_wants),    CELL(an_account_that_may_not_ask),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
