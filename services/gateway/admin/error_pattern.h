/* error_pattern.h - what dead letters of one cause have in common. */
#ifndef WEIR_GATEWAY_ERROR_PATTERN_H
#define WEIR_GATEWAY_ERROR_PATTERN_H

#define ERROR_PATTERN_MAX 200

/* The error without what differs from letter to letter: words with a digit, and what is not ASCII, become "#". Any thread. */
void error_pattern(const char *error, char ret[ERROR_PATTERN_MAX + 1]);

#endif
