/* error.c - names and words of the error codes, all from the one table in error.h. */
#include "base/error.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct error_row {
	int code;
	bool retriable;
	int exit_status;
	const char *name, *title, *meaning, *suggestion;
};

static const struct error_row rows[] = {
#define X(name, value, retriable, exit_status, title, meaning, suggestion) { value, retriable, exit_status, #name, title, meaning, suggestion },
	ERROR_CODES(X)
#undef X
};

#define ROWS (sizeof rows / sizeof rows[0])

static const struct error_row *row_of(int code)
{
	for (size_t i = 0; i < ROWS; i++)
		if (rows[i].code == code)
			return &rows[i];
	return row_of(WEIR_INTERNAL);
}

const int *error_codes(size_t *ret_n)
{
	static const int codes[] = {
#define X(name, ...) WEIR_##name,
		ERROR_CODES(X)
#undef X
	};
	*ret_n = sizeof codes / sizeof codes[0];
	return codes;
}

int error_set(struct error *err, int code, const char *format, ...)
{
	if (!err)
		return code;
	/* Formatted aside: an argument may be err->text itself. */
	char text[sizeof err->text];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	err->code = code;
	memcpy(err->text, text, sizeof text);
	return code;
}

int error_prefix(struct error *err, const char *format, ...)
{
	if (!err)
		return WEIR_INTERNAL;
	char text[sizeof err->text];
	va_list args;
	va_start(args, format);
	int length = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (length < 0)
		return err->code;
	size_t used = (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;
	snprintf(text + used, sizeof text - used, ": %s", err->text);
	memcpy(err->text, text, sizeof text);
	return err->code;
}

/* Lower-case copies of the preprocessor's spelling, made once per process. */
static char names[ROWS][24];

static void make_names(void)
{
	for (size_t row = 0; row < ROWS; row++)
		for (size_t i = 0; rows[row].name[i] && i + 1 < sizeof names[0]; i++) {
			char c = rows[row].name[i];
			names[row][i] = (c >= 'A' && c <= 'Z') ? (char)(c - 'A' + 'a') : c;
		}
}

const char *error_name(int code)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, make_names);
	return names[row_of(code) - rows];
}

const char *error_title(int code)
{
	return row_of(code)->title;
}

const char *error_suggestion(int code)
{
	return row_of(code)->suggestion;
}

bool error_retriable(int code)
{
	return row_of(code)->retriable;
}

int error_exit_status(int code)
{
	return row_of(code)->exit_status;
}

void error_print_markdown(struct buf *out)
{
	buf_add_str(out, "| code | number | tried again | exit status | what it means | what to do |\n|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < ROWS; i++)
		buf_printf(out, "| `%s` | %d | %s | %d | %s | %s |\n", error_name(rows[i].code), rows[i].code, rows[i].retriable ? "yes" : "no",
			   rows[i].exit_status, rows[i].meaning, rows[i].suggestion);
}
