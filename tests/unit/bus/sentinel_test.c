/* sentinel_test.c - a master, a replica and a sentinel, all real: the bus asks where the master is, and finds it again after a failover. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bus/bus.h"
#include "support/bus_fixture.h"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE_MS 60000

static struct redis_server master, replica;
static pid_t sentinel;
static int sentinel_port;

static int start(void **state)
{
	(void)state;
	char path[128];
	int port = redis_server_free_port(), other = redis_server_free_port();
	redis_server_start(&master);
	redis_server_start(&replica);
	redis_server_listen(&master, port);
	redis_server_listen(&replica, other);
	(void)redis_server_ask(&replica, NULL, "REPLICAOF 127.0.0.1 %d", port);
	sentinel_port = redis_server_free_port();
	snprintf(path, sizeof path, "%s/sentinel.conf", replica.dir);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f,
		"port %d\nbind 127.0.0.1\nsentinel monitor m 127.0.0.1 %d 1\nsentinel down-after-milliseconds m 500\nsentinel failover-timeout m "
		"5000\n",
		sentinel_port, port);
	assert_int_equal(fclose(f), 0);
	sentinel = fork();
	if (sentinel == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!freopen("/dev/null", "a", stdout))
			_exit(126);
		execlp("redis-server", "redis-server", path, "--sentinel", (char *)NULL);
		_exit(127);
	}
	return 0;
}

static int stop(void **state)
{
	(void)state;
	kill(sentinel, SIGKILL);
	waitpid(sentinel, NULL, 0);
	redis_server_stop(&master);
	redis_server_stop(&replica);
	return 0;
}

/* Until it works; a loss is told once. */
static void publish(struct bus_publisher *p, const char *body)
{
	struct frame f = fixture_message(MESSAGE_RAW_BLOCK_TIP, "1", body);
	struct error err = { 0 };
	int r;
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	do
		r = bus_publish(p, &f, 1, &err);
	while (r != 0 && clock_mono_ms() < deadline);
	if (r != 0)
		fail_msg("%s", err.text);
}

static void wait_for_entries(long long n)
{
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	while (redis_server_ask(&replica, NULL, "XLEN weir:{test}:raw:high") != n && clock_mono_ms() < deadline)
		clock_sleep_ms(10);
	assert_int_equal(redis_server_ask(&replica, NULL, "XLEN weir:{test}:raw:high"), n);
}

static void the_master_is_found_again_after_a_failover(void **state)
{
	(void)state;
	char url[128];
	struct bus *bus;
	struct bus_publisher *p;
	/* The first sentinel of the list does not exist. */
	snprintf(url, sizeof url, "redis+sentinel://127.0.0.1:1,127.0.0.1:%d/m", sentinel_port);
	struct bus_options options = { .url = url, .worker = "w", .command_timeout_ms = 2000 };
	assert_int_equal(bus_open(&options, &bus, NULL), 0);
	assert_int_equal(bus_publisher_open(bus, "test", TOPIC_RAW, "p", &p, NULL), 0);
	publish(p, "before");
	wait_for_entries(1);
	redis_server_kill(&master);
	publish(p, "after");
	wait_for_entries(2);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void an_unknown_name_is_said(void **state)
{
	(void)state;
	char url[128];
	struct bus *bus;
	struct error err = { 0 };
	snprintf(url, sizeof url, "redis+sentinel://127.0.0.1:%d/nobody", sentinel_port);
	struct bus_options options = { .url = url, .worker = "w", .command_timeout_ms = 500 };
	assert_int_equal(bus_open(&options, &bus, NULL), 0);
	assert_int_equal(bus_ping(bus, &err), WEIR_UNAVAILABLE);
	assert_non_null(strstr(err.text, "no sentinel of 1 tells where master nobody is"));
	bus_close(&bus);
}

#define SILENT 3

/* Accepts, and says nothing. */
static int silent_server(int *ret_port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof at;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 64) == 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
	*ret_port = ntohs(at.sin_port);
	return fd;
}

static bool was_asked(int server)
{
	return poll(&(struct pollfd){ .fd = server, .events = POLLIN }, 1, 0) == 1;
}

static bool first_was_asked(void *arg)
{
	return was_asked(*(int *)arg);
}

/* Sentinels that hang keep nobody who is told to stop; and they are not asked first again, so that one behind them is reached. */
static void silent_sentinels_are_not_waited_for_one_after_the_other(void **state)
{
	(void)state;
	int servers[SILENT], ports[SILENT];
	char url[256];
	struct bus *bus;
	struct error err = { 0 };
	for (int i = 0; i < SILENT; i++)
		servers[i] = silent_server(&ports[i]);
	snprintf(url, sizeof url, "redis+sentinel://127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d/m", ports[0], ports[1], ports[2], sentinel_port);
	struct bus_options options = { .url = url, .worker = "w", .command_timeout_ms = 400 };
	assert_int_equal(bus_open(&options, &bus, NULL), 0);
	bus_set_stop(bus, first_was_asked, &servers[0]);
	assert_int_equal(bus_ping(bus, &err), WEIR_CANCELED);
	assert_true(was_asked(servers[0]));
	assert_false(was_asked(servers[1]));
	assert_false(was_asked(servers[2]));
	bus_set_stop(bus, NULL, NULL);
	int r = bus_ping(bus, &err);
	for (int64_t deadline = clock_mono_ms() + DEADLINE_MS; r != 0 && clock_mono_ms() < deadline;)
		r = bus_ping(bus, &err);
	if (r != 0)
		fail_msg("%s", err.text);
	bus_close(&bus);
	for (int i = 0; i < SILENT; i++)
		close(servers[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_master_is_found_again_after_a_failover),
		cmocka_unit_test(an_unknown_name_is_said),
		cmocka_unit_test(silent_sentinels_are_not_waited_for_one_after_the_other),
	};
	return cmocka_run_group_tests_name("sentinel", tests, start, stop);
}
