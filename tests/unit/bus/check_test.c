/* check_test.c - bus_check, which programs ask when they start: servers that are too old, that evict, and that keep too little. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/bus_fixture.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void what_evicts_is_refused(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct error err = { 0 };
	assert_int_equal(bus_check(bus, &err), 0);
	fixture_ask("CONFIG SET maxmemory-policy allkeys-lru");
	assert_int_equal(bus_check(bus, &err), WEIR_CONFIG);
	assert_non_null(strstr(err.text, "noeviction"));
	fixture_ask("CONFIG SET maxmemory-policy noeviction");
	bus_close(&bus);
}

/* A server in front of ours that is ours but for its version, in the reply to INFO as ours writes it. */
static void pass_on(int from, int to, const char *version)
{
	static const char name[] = "redis_version:";
	char bytes[65536];
	ssize_t n = read(from, bytes, sizeof bytes);
	char *at = n > 0 ? memmem(bytes, (size_t)n, name, sizeof name - 1) : NULL;
	if (n <= 0)
		_exit(0);
	if (at && version) {
		size_t room = strcspn(at, "\r");
		snprintf(at + sizeof name - 1, room - sizeof name + 2, "%-*s", (int)(room - sizeof name + 1), version);
		at[room] = '\r';
	}
	for (ssize_t sent = 0; sent < n;) {
		ssize_t once = write(to, bytes + sent, (size_t)(n - sent));
		if (once <= 0)
			_exit(0);
		sent += once;
	}
}

static int connect_to(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
	return fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0 ? fd : -1;
}

/* One connection. */
static pid_t start_disguised(char path[96], const char *version)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	snprintf(path, 96, "%s/disguised", fixture_server.dir);
	snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
	unlink(path);
	int door = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(door, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(door, 1), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct pollfd p[2] = { { accept(door, NULL, NULL), POLLIN, 0 }, { connect_to(fixture_server.url + strlen("unix://")), POLLIN, 0 } };
		while (poll(p, 2, -1) > 0)
			for (int i = 0; i < 2; i++)
				if (p[i].revents)
					pass_on(p[i].fd, p[1 - i].fd, i == 1 ? version : NULL);
		_exit(0);
	}
	close(door);
	return pid;
}

static void what_is_too_old_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *version;
		int code;
	} rows[] = { { "6.2.9", WEIR_VERSION }, { "5.0", WEIR_VERSION }, { "7.0.0", 0 }, { "7.4.1", 0 }, { "8.0", 0 }, { "10.0", 0 } };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char path[96], url[128];
		pid_t pid = start_disguised(path, rows[i].version);
		struct error err = { 0 };
		struct bus *bus;
		snprintf(url, sizeof url, "unix://%s", path);
		const struct bus_options options = { .url = url, .worker = "w", .command_timeout_ms = 20000 };
		assert_int_equal(bus_open(&options, &bus, NULL), 0);
		if (bus_check(bus, &err) != rows[i].code)
			fail_msg("%s: %d %s", rows[i].version, err.code, err.text);
		if (rows[i].code && (!strstr(err.text, rows[i].version) || !strstr(err.text, "7.0 or newer")))
			fail_msg("%s", err.text);
		bus_close(&bus);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
	}
}

/* What bus_check writes to standard error. */
static void check_words(const struct bus_options *options, char ret[4096])
{
	FILE *f = tmpfile();
	struct bus *bus;
	assert_non_null(f);
	assert_int_equal(bus_open(options, &bus, NULL), 0);
	int own = dup(STDERR_FILENO);
	dup2(fileno(f), STDERR_FILENO);
	int r = bus_check(bus, NULL);
	dup2(own, STDERR_FILENO);
	close(own);
	rewind(f);
	ret[fread(ret, 1, 4095, f)] = 0;
	fclose(f);
	assert_int_equal(r, 0);
	bus_close(&bus);
}

static void what_keeps_too_little_is_said(void **state)
{
	(void)state;
	static const struct {
		const char *commands[3];
		const char *user, *words[3]; /* none: it says nothing */
	} rows[] = {
		{ { "CONFIG SET appendfsync everysec" }, NULL, { NULL } },
		{ { "CONFIG SET appendfsync always" }, NULL, { NULL } },
		{ { "CONFIG SET appendfsync no" }, NULL, { "redis_rarely_written", "lost power", "appendfsync to everysec" } },
		{ { "CONFIG SET appendonly no" }, NULL, { "redis_not_persistent", "keeps nothing", "appendonly to yes" } },
		{ { "CONFIG SET save 3600%b", "CONFIG SET appendonly no" }, NULL, { "redis_not_persistent", "last snapshot", "save \\\"3600 1\\\"" } },
		{ { "CONFIG SET appendonly no" }, "modest", { "redis_not_persistent", "last snapshot", "appendonly=no" } },
		{ { "CONFIG SET appendfsync no" }, "modest", { NULL } },
	};
	char said[4096];
	fixture_ask("ACL SETUSER modest on nopass ~* +@all -config");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct bus_options options = { .url = fixture_server.url, .worker = "w", .username = rows[i].user, .password = rows[i].user,
						     .command_timeout_ms = 20000 };
		for (size_t k = 0; rows[i].commands[k]; k++)
			assert_int_equal(fixture_ask(rows[i].commands[k], " 1", (size_t)2), 0);
		check_words(&options, said);
		if (!rows[i].words[0] && *said)
			fail_msg("row %zu: %s", i, said);
		for (size_t k = 0; k < 3 && rows[i].words[k]; k++)
			if (!strstr(said, rows[i].words[k]))
				fail_msg("row %zu: %s is not in: %s", i, rows[i].words[k], said);
		fixture_ask("CONFIG SET save %b", "", (size_t)0);
		fixture_ask("CONFIG SET appendfsync everysec");
		assert_int_equal(fixture_ask("CONFIG SET appendonly yes"), 0);
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, fixture_flush)
	const struct CMUnitTest tests[] = {
		TEST(what_evicts_is_refused),
		TEST(what_is_too_old_is_refused),
		TEST(what_keeps_too_little_is_said),
	};
	return fixture_run(tests);
}
