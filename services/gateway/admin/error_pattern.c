/* error_pattern.c - errors of one cause, told by their words. */
#include "admin/error_pattern.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

void error_pattern(const char *error, char ret[ERROR_PATTERN_MAX + 1])
{
	size_t n = 0;
	while (*error && n < ERROR_PATTERN_MAX) {
		size_t word = 0;
		bool differs = false;
		for (; isalnum((unsigned char)error[word]) || (unsigned char)error[word] >= 0x80; word++)
			differs = differs || !isalpha((unsigned char)error[word]);
		if (word == 0) {
			ret[n++] = (char)(isprint((unsigned char)*error) ? *error : ' ');
			error++;
			continue;
		}
		size_t taken = differs ? 1 : word > ERROR_PATTERN_MAX - n ? ERROR_PATTERN_MAX - n : word;
		memcpy(ret + n, differs ? "#" : error, taken);
		n += taken;
		error += word;
	}
	while (n > 0 && ret[n - 1] == ' ')
		n--;
	ret[n] = '\0';
}
