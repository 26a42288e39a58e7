/* digits.h - a whole number as decimal text where there are very many of them: a tenth of what printf takes. */
#ifndef WEIR_BASE_DIGITS_H
#define WEIR_BASE_DIGITS_H

#include <stdint.h>
#include <string.h>

#define DIGITS_MAX 20

/* Writes at most DIGITS_MAX characters and no NUL; returns the end. */
static inline char *digits_put(char *to, uint64_t number)
{
	char text[DIGITS_MAX], *p = text + sizeof text;
	do
		*--p = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	size_t n = (size_t)(text + sizeof text - p);
	memcpy(to, p, n);
	return to + n;
}

#endif
