/* postgres_server.c - initdb, start, crash and removal of a test's own PostgreSQL. */
#include "support/postgres_server.h"

#include "base/clock.h"
#include "base/mem.h"

#include <glob.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_TIMEOUT_MS 30000

struct postgres_server {
	char *folder, *bin, *settings, *url;
	pid_t pid;
};

/* A login shell is not needed: setpriv drops everything that root has. */
static const char *as_postgres(void)
{
	return geteuid() == 0 ? "exec setpriv --reuid=postgres --regid=postgres --init-groups --inh-caps=-all --reset-env --pdeathsig KILL -- " :
				"exec setpriv --pdeathsig KILL -- ";
}

static pid_t spawn(const char *command)
{
	pid_t pid = fork();
	if (pid == 0) {
		if (chdir("/") != 0)
			_exit(127);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	return pid;
}

static bool run(const char *command)
{
	int status = 0;
	pid_t pid = spawn(command);
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The newest installed version's folder of programs. */
static char *find_bin(void)
{
	glob_t found;
	char *bin = NULL;
	if (glob("/usr/lib/postgresql/*/bin", 0, NULL, &found) == 0) {
		bin = xstrdup(found.gl_pathv[found.gl_pathc - 1]);
		globfree(&found);
	}
	return bin;
}

static bool make_folder(struct postgres_server *server)
{
	char folder[] = "/tmp/weir-pg-XXXXXX";
	if (!mkdtemp(folder))
		return false;
	server->folder = xstrdup(folder);
	const struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;
	if (geteuid() == 0 && (!user || chown(folder, user->pw_uid, user->pw_gid) != 0))
		return false;
	char *command = xasprintf("%s%s/initdb -D %s/data --no-sync -A trust -U weir -E UTF8 --locale=C.UTF-8 >%s.log 2>&1", as_postgres(),
				  server->bin, folder, folder);
	bool ok = run(command);
	xfree(&command);
	return ok;
}

static bool wait_until_open(const struct postgres_server *server, const char *url)
{
	for (int64_t until = clock_mono_ms() + START_TIMEOUT_MS; clock_mono_ms() < until; clock_sleep_ms(20)) {
		if (PQping(url) == PQPING_OK)
			return true;
		if (waitpid(server->pid, NULL, WNOHANG) == server->pid)
			return false;
	}
	return false;
}

bool postgres_server_resume(struct postgres_server *server)
{
	char *command = xasprintf("%s%s/postgres -D %s/data -k %s -c listen_addresses='' -c unix_socket_permissions=0777 %s >>%s.log 2>&1",
				  as_postgres(), server->bin, server->folder, server->folder, server->settings, server->folder);
	server->pid = spawn(command);
	xfree(&command);
	char *url = xasprintf("host=%s user=weir dbname=postgres", server->folder);
	bool ok = server->pid > 0 && wait_until_open(server, url);
	xfree(&url);
	return ok;
}

struct postgres_server *postgres_server_start(const char *settings)
{
	struct postgres_server *server = xmalloc(sizeof *server);
	server->settings = xstrdup(settings ? settings : "");
	server->bin = find_bin();
	bool ok = server->bin && make_folder(server) && chmod(server->folder, 0755) == 0 && postgres_server_resume(server);
	if (ok) {
		char *command = xasprintf("%s/createdb -h %s -U weir weir", server->bin, server->folder);
		ok = run(command);
		xfree(&command);
		server->url = xasprintf("host=%s user=weir dbname=weir", server->folder);
	}
	if (!ok) {
		fprintf(stderr, "PostgreSQL could not be started (programs in %s, log in %s.log)\n", server->bin ? server->bin : "nowhere",
			server->folder ? server->folder : "?");
		postgres_server_stop(&server);
	}
	return server;
}

static void end(struct postgres_server *server, int signal)
{
	if (server->pid <= 0)
		return;
	kill(server->pid, signal);
	waitpid(server->pid, NULL, 0);
	server->pid = 0;
}

void postgres_server_stop(struct postgres_server **serverp)
{
	struct postgres_server *server = *serverp;
	if (!server)
		return;
	end(server, SIGINT);
	if (server->folder) {
		char *command = xasprintf("rm -rf %s %s.log", server->folder, server->folder);
		run(command);
		xfree(&command);
	}
	xfree(&server->folder);
	xfree(&server->bin);
	xfree(&server->settings);
	xfree(&server->url);
	xfree(serverp);
}

const char *postgres_server_url(const struct postgres_server *server)
{
	return server->url;
}

void postgres_server_crash(struct postgres_server *server)
{
	end(server, SIGQUIT);
}
