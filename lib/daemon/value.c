/* value.c - one setting's text into its checked value: numbers with units, choices, switches, secrets from files. */
#include "daemon/settings.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_MAX 4096

struct unit {
	const char *suffix;
	int64_t factor;
};
static const struct unit duration_units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "", 1 }, { NULL, 0 } };
static const struct unit byte_units[] = { { "KiB", 1 << 10 }, { "MiB", 1 << 20 }, { "GiB", 1 << 30 }, { "", 1 }, { NULL, 0 } };
static const struct unit no_units[] = { { "", 1 }, { NULL, 0 } };

static bool parse_number(const char *text, const struct unit *units, int64_t *ret)
{
	if (!isdigit((unsigned char)text[0]))
		return false;
	char *end;
	errno = 0;
	long long number = strtoll(text, &end, 10);
	if (errno)
		return false;
	for (; units->suffix; units++)
		if (strcmp(end, units->suffix) == 0)
			return !__builtin_mul_overflow((int64_t)number, units->factor, ret);
	return false;
}

const char *setting_allowed(const struct setting *s, char ret[256])
{
	ret[0] = 0;
	if (s->choices) {
		for (size_t i = 0; s->choices[i]; i++)
			snprintf(ret + strlen(ret), 256 - strlen(ret), "%s%s", i ? ", " : "", s->choices[i]);
	} else if (s->type == SETTING_INT || s->type == SETTING_UNSIGNED || s->type == SETTING_DURATION_MS || s->type == SETTING_BYTES) {
		const char *unit = s->type == SETTING_DURATION_MS ? " ms (units ms, s, m, h)" : s->type == SETTING_BYTES ? " bytes (units KiB, MiB, GiB)" : "";
		snprintf(ret, 256, "%" PRId64 " to %" PRId64 "%s", s->min, s->max, unit);
	} else if (s->type == SETTING_RATIO) {
		snprintf(ret, 256, "0 to 1, with at most six decimals");
	}
	return ret;
}

/* "0.25" as millionths; further decimals would be lost without a word. */
static bool parse_ratio(const char *text, int64_t *ret)
{
	int64_t value = 0, unit = 1000000;
	if (!isdigit((unsigned char)text[0]) || strlen(text) > 8)
		return false;
	for (; isdigit((unsigned char)*text); text++)
		value = value * 10 + (*text - '0') * unit;
	if (*text == '.')
		for (text++; isdigit((unsigned char)*text) && unit > 1; text++)
			value += (*text - '0') * (unit /= 10);
	*ret = value;
	return *text == 0;
}

static int choice_of(const char *const *choices, const char *text)
{
	for (int i = 0; choices[i]; i++)
		if (strcmp(choices[i], text) == 0)
			return i;
	return -1;
}

/* Text without its trailing white space. Only regular files: a pipe or device could keep the start waiting for ever. */
static int read_secret(const char *path, char ret[SECRET_MAX], struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return error_set(err, WEIR_CONFIG, "secret file %s: %s", path, strerror(errno));
	struct stat st;
	bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
	ssize_t n = regular ? read(fd, ret, SECRET_MAX) : 0;
	close(fd);
	if (!regular)
		return error_set(err, WEIR_CONFIG, "secret file %s: not a regular file", path);
	if (n < 0 || n == SECRET_MAX)
		return error_set(err, WEIR_CONFIG, "secret file %s: %s", path, n < 0 ? "cannot be read" : "longer than 4095 bytes");
	while (n > 0 && isspace((unsigned char)ret[n - 1]))
		n--;
	ret[n] = 0;
	if (n == 0)
		return error_set(err, WEIR_CONFIG, "secret file %s: empty", path);
	if (strlen(ret) != (size_t)n)
		return error_set(err, WEIR_CONFIG, "secret file %s: holds a NUL", path);
	return 0;
}

/* No setting has a use for control characters; in a header's or a URL's value they would be a way in. */
static int set_string(char **target, const char *text, const char *shown, struct error *err)
{
	for (const char *p = text; *p; p++)
		if (iscntrl((unsigned char)*p))
			return error_set(err, WEIR_CONFIG, "%s: holds a control character (0x%02x)", shown, (unsigned char)*p);
	free(*target);
	*target = xstrdup(text);
	return 0;
}

static int assign_secret(char **target, const char *text, const char *shown, struct error *err)
{
	char secret[SECRET_MAX] = "";
	if (strncmp(text, "file:", 5) != 0)
		return set_string(target, text, shown, err);
	struct error why = { 0 };
	if (read_secret(text + 5, secret, &why) != 0)
		return error_set(err, WEIR_CONFIG, "%s: %s", shown, why.text);
	return set_string(target, secret, shown, err);
}

static int assign_number(const struct setting *s, void *target, const char *text, const char *shown, struct error *err)
{
	const struct unit *units = s->type == SETTING_DURATION_MS ? duration_units : s->type == SETTING_BYTES ? byte_units : no_units;
	char allowed[256];
	int64_t number;
	if (!(s->type == SETTING_RATIO ? parse_ratio(text, &number) : parse_number(text, units, &number)))
		return error_set(err, WEIR_CONFIG, "%s: \"%s\" is not such a number; allowed: %s", shown, text, setting_allowed(s, allowed));
	if (number < s->min || number > s->max)
		return error_set(err, WEIR_CONFIG, "%s: %s is out of range; allowed: %s", shown, text, setting_allowed(s, allowed));
	memcpy(target, &number, sizeof number);
	return 0;
}

int setting_assign(const struct setting *s, void *owner, const char *text, const char *shown, struct error *err)
{
	void *target = (char *)owner + s->offset;
	char allowed[256];
	int choice = s->choices ? choice_of(s->choices, text) : 0;
	if (choice < 0)
		return error_set(err, WEIR_CONFIG, "%s: \"%s\" is not one of %s", shown, text, setting_allowed(s, allowed));
	switch (s->type) {
	case SETTING_SECRET:
		return assign_secret(target, text, shown, err);
	case SETTING_STRING:
		return set_string(target, text, shown, err);
	case SETTING_CHOICE:
		memcpy(target, &choice, sizeof choice);
		return 0;
	case SETTING_BOOL:
		if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
			return error_set(err, WEIR_CONFIG, "%s: \"%s\" is not true or false", shown, text);
		*(bool *)target = text[0] == 't';
		return 0;
	case SETTING_INT:
	case SETTING_UNSIGNED:
	case SETTING_DURATION_MS:
	case SETTING_BYTES:
	case SETTING_RATIO:
		break;
	}
	return assign_number(s, target, text, shown, err);
}
