/* files.c - reading the dashboard's folder, and finding a file by a request's target. */
#include "call/files.h"

#include "http/target.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX 64
#define FILE_BYTES_MAX ((size_t)2 << 20)
#define BESIDE_PROGRAM "../share/weir/dashboard"

struct files {
	struct file items[FILES_MAX];
	size_t count;
};

static const char *type_of(const char *name)
{
	static const struct {
		const char *ending, *type;
	} types[] = {
		{ ".html", "text/html; charset=utf-8" },
		{ ".css", "text/css; charset=utf-8" },
		{ ".js", "text/javascript; charset=utf-8" },
		{ ".svg", "image/svg+xml" },
		{ ".woff2", "font/woff2" },
		{ ".json", "application/json" },
		{ ".txt", "text/plain; charset=utf-8" },
	};
	const char *ending = strrchr(name, '.');
	for (size_t i = 0; ending && i < sizeof types / sizeof types[0]; i++)
		if (strcmp(ending, types[i].ending) == 0)
			return types[i].type;
	return NULL;
}

static bool is_plain(const char *name)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	return name[0] != '.' && strlen(name) <= 100 && strspn(name, plain) == strlen(name);
}

static int read_all(int fd, size_t size, uint8_t *data)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = read(fd, data + done, size - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		done += (size_t)n;
	}
	return 0;
}

/* Takes one file of the folder. What is no regular file, or has a name that no build gives, is left out. */
static int take(struct files *files, int dir, const char *prefix, const char *name, struct error *err)
{
	struct stat status;
	const char *type = type_of(name);
	int fd = type && is_plain(name) ? openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK) : -1;
	if (fd < 0)
		return 0;
	if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
		close(fd);
		return 0;
	}
	size_t size = (size_t)status.st_size;
	if (size > FILE_BYTES_MAX || files->count == FILES_MAX) {
		close(fd);
		return error_set(err, WEIR_CONFIG, "gateway.dashboard_dir: %s%s is too much: a dashboard has at most %d files of at most %zu bytes", prefix,
				 name, FILES_MAX, FILE_BYTES_MAX);
	}
	uint8_t *data = xmalloc(size + 1);
	int failed = read_all(fd, size, data);
	close(fd);
	if (failed) {
		free(data);
		return error_set(err, WEIR_CONFIG, "gateway.dashboard_dir: %s%s cannot be read", prefix, name);
	}
	struct file *file = &files->items[files->count++];
	*file = (struct file){ .path = xasprintf("%s%s", prefix, name), .lasting = strcmp(prefix, "/assets/") == 0 };
	document_make(&file->document, type, (struct bytes){ data, size }, true);
	free(data);
	return 0;
}

static int take_folder(struct files *files, int fd, const char *prefix, struct error *err)
{
	DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
	int code = 0;
	if (!folder)
		return error_set(err, WEIR_CONFIG, "gateway.dashboard_dir: the folder cannot be listed: %s", strerror(errno));
	for (struct dirent *entry; !code && (entry = readdir(folder));)
		code = take(files, dirfd(folder), prefix, entry->d_name, err);
	closedir(folder);
	return code;
}

static const struct file *find(const struct files *files, const char *path)
{
	for (size_t i = 0; files && i < files->count; i++)
		if (strcmp(files->items[i].path, path) == 0)
			return &files->items[i];
	return NULL;
}

static int open_beside_program(void)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - sizeof BESIDE_PROGRAM - 1);
	if (n <= 0)
		return -1;
	path[n] = '\0';
	char *slash = strrchr(path, '/');
	if (!slash)
		return -1;
	memcpy(slash + 1, BESIDE_PROGRAM, sizeof BESIDE_PROGRAM);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int files_open(const char *dir, struct files **ret, struct error *err)
{
	*ret = NULL;
	bool given = dir && *dir;
	if (given && strcmp(dir, "none") == 0)
		return 0;
	int fd = given ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : open_beside_program();
	if (fd < 0)
		return given ? error_set(err, WEIR_CONFIG, "gateway.dashboard_dir: %s: %s", dir, strerror(errno)) : 0;
	int assets = openat(fd, "assets", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct files *files = xmalloc(sizeof *files);
	int code = take_folder(files, fd, "/", err);
	if (assets >= 0 && !code)
		code = take_folder(files, assets, "/assets/", err);
	else if (assets >= 0)
		close(assets);
	if (!code && !find(files, "/index.html"))
		code = error_set(err, WEIR_CONFIG, "gateway.dashboard_dir: %s has no index.html: build it with make dashboard, or set it to none",
				 given ? dir : "the folder beside the program");
	if (code)
		files_close(&files);
	*ret = files;
	return code;
}

void files_close(struct files **filesp)
{
	struct files *files = *filesp;
	for (size_t i = 0; files && i < files->count; i++) {
		document_free(&files->items[i].document);
		xfree(&files->items[i].path);
	}
	xfree(filesp);
}

size_t files_count(const struct files *files)
{
	return files ? files->count : 0;
}

const struct file *files_find(const struct files *files, const struct target *target)
{
	bool page = target->segment_count == 0 || strcmp(target->segments[0], "ui") == 0;
	return find(files, page ? "/index.html" : target->path);
}
