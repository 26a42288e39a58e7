/* power_loss.c - loaded into a redis-server (LD_PRELOAD): notes how much of each append-only file an fsync has covered, so that a test can take away
 * what a loss of power could take: cut the file to that (tests/unit/bus/durability_test.c). What counts is what the file had when the sync began.
 *
 * The note is a file beside it, "synced-<name>", with the size as text. redis-server syncs in two threads, and the one that began first may end last: the
 * note does not go back.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t notes = PTHREAD_MUTEX_INITIALIZER;

static long long noted(const char *path)
{
	char text[32] = "";
	int in = open(path, O_RDONLY);
	if (in < 0)
		return 0;
	ssize_t n = read(in, text, sizeof text - 1);
	(void)close(in);
	return n > 0 ? strtoll(text, NULL, 10) : 0;
}

static void write_note(const char *to, long long size)
{
	char text[32];
	int out = open(to, O_WRONLY | O_CREAT, 0600);
	if (out < 0)
		return;
	int size_of = snprintf(text, sizeof text, "%020lld\n", size); /* of one length: a reader never sees half of it */
	if (write(out, text, (size_t)size_of) != size_of)
		(void)unlink(to);
	(void)close(out);
}

static void note(int fd, long long size)
{
	char link[64], path[512], to[600];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof path - 1);
	char *slash = n > 0 ? memrchr(path, '/', (size_t)n) : NULL;
	if (!slash)
		return;
	path[n] = 0;
	struct stat now;
	if (!strstr(slash, ".aof") || fstat(fd, &now) != 0)
		return;
	snprintf(to, sizeof to, "%.*s/synced-%s", (int)(slash - path), path, slash + 1);
	pthread_mutex_lock(&notes);
	long long before = noted(to);
	if (size > before || before > now.st_size) /* or the file was cut since */
		write_note(to, size);
	pthread_mutex_unlock(&notes);
}

static int sync_and_note(const char *name, int fd)
{
	int (*real)(int);
	void *symbol = dlsym(RTLD_NEXT, name);
	struct stat before;
	memcpy(&real, &symbol, sizeof real);
	int known = fstat(fd, &before), r = real(fd), saved = errno;
	if (r == 0 && known == 0)
		note(fd, (long long)before.st_size);
	errno = saved;
	return r;
}

int fdatasync(int fd)
{
	return sync_and_note("fdatasync", fd);
}

int fsync(int fd)
{
	return sync_and_note("fsync", fd);
}
