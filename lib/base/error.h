/* error.h - the closed set of error codes, and the words that go with one.
 *
 * Functions that can fail return 0 or a negative code of enum weir_err. The code carries the decision (may the same thing be
 * tried again?); nobody parses text. Functions whose caller needs words take a `struct error *err` (may be NULL) and fill it on
 * failure only. Library code returns errors, programs log them, once. The table ERROR_CODES also makes docs/errors.md.
 */
#ifndef WEIR_BASE_ERROR_H
#define WEIR_BASE_ERROR_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

/* X(name, value, retriable, exit status of a program that ends with it, title, what it means, what to do) */
#define ERROR_CODES(X)                                                                                                              \
	X(OK, 0, false, 0, "ok", "Nothing failed.", "Nothing.")                                                                      \
	X(INVALID, -1, false, 64, "invalid input", "Data from outside does not have the form that its protocol demands.",            \
	  "Look at the named field and at who sent it.")                                                                              \
	X(CONFIG, -2, false, 78, "bad configuration", "A setting is unknown, missing or out of range.",                              \
	  "Correct the named setting; docs/configuration.md lists them all.")                                                         \
	X(LIMIT, -3, false, 65, "limit exceeded", "Something was larger than weir accepts.",                                         \
	  "If it is legitimate, raise the named limit.")                                                                              \
	X(NOT_FOUND, -4, false, 66, "not found", "The thing asked for does not exist (yet).", "Check the name or the height.")       \
	X(TIMEOUT, -5, true, 69, "timed out", "No answer within the time allowed.", "Check the named peer and the network to it.")   \
	X(UNAVAILABLE, -6, true, 69, "unavailable", "A dependency refused or closed the connection.",                                \
	  "Check that the named peer runs and that its address is right; weir keeps trying once it has started.")                     \
	X(RATE_LIMITED, -7, true, 69, "rate limited", "The endpoint asks weir to slow down.",                                        \
	  "weir slows down by itself; lower the endpoint's requests_per_second if it goes on.")                                       \
	X(PROTOCOL, -8, true, 76, "protocol error", "A peer answered something that its protocol does not allow.",                   \
	  "Look at the quoted answer; another endpoint is asked meanwhile.")                                                          \
	X(MISMATCH, -9, true, 76, "does not match its commitments", "Contents do not hash to what their header commits to.",         \
	  "The block is asked of another endpoint; drop the one that lies.")                                                          \
	X(WRONG_CHAIN, -10, false, 78, "wrong chain", "The endpoint serves another chain than the one configured.",                  \
	  "Correct the endpoint's URL or the chain_id and genesis_hash settings.")                                                    \
	X(UNSUPPORTED, -11, false, 69, "not supported", "The peer does not offer this method or feature.",                           \
	  "Use an endpoint that offers it, or switch the feature off.")                                                               \
	X(FENCED, -12, false, 75, "fenced", "Another instance has taken over ownership.", "Nothing: this instance waits its turn.")   \
	X(GAP, -13, true, 75, "sequence gap", "The stream is shorter than what was published before.",                               \
	  "Nothing: it is published again from the ledger's watermark.")                                                              \
	X(FULL, -14, true, 75, "full", "A bounded queue or a store has no room.", "Let the consumer catch up, or give it more room.") \
	X(VERSION, -15, false, 69, "version too old", "A server is older than weir needs.", "Upgrade the named server.")             \
	X(PERMISSION, -16, false, 77, "permission denied", "The account weir uses lacks a right.",                      \
	  "Grant the named right, or correct the account that weir was given.")                                                       \
	X(CONFLICT, -17, true, 75, "conflict", "A concurrent change got there first.", "Nothing: it is tried again.")                \
	X(IO, -18, true, 74, "input/output error", "A file or a disk failed or is full.", "Free space or repair the named file.")    \
	X(ADDRESS_IN_USE, -19, false, 71, "address in use", "Another program listens on the configured address.",                    \
	  "Stop it or change the named listen setting.")                                                                              \
	X(INTERNAL, -20, false, 70, "internal error", "weir broke one of its own rules.", "Please report it with the log line.")      \
	X(STUCK, -21, false, 79, "drain got stuck", "Shutdown did not finish within shutdown_timeout.",                              \
	  "Nothing is lost; look at the last log lines for what it waited for.")                                                      \
	X(CANCELED, -22, true, 0, "canceled", "The program is shutting down.", "Nothing.")                                           \
	X(USAGE, -23, false, 64, "wrong usage", "The command line is not understood.", "See --help.")                                \
	X(CRASH, -24, false, 70, "its handler crashed", "A message was read several times and each time its reader ended.",            \
	  "Look at the readers' last log lines and at the message in the dead letters.")

enum weir_err {
#define X(name, value, ...) WEIR_##name = (value),
	ERROR_CODES(X)
#undef X
};

/* Words for one failure. Fixed size, lives where the caller puts it; text is always terminated, cut if too long. */
struct error {
	int code; /* enum weir_err */
	char text[1000];
};

/* Fills *err (which may be NULL) and returns code, so that `return error_set(err, WEIR_TIMEOUT, "...")` reads well. */
int error_set(struct error *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts "<words>: " in front of what *err says already; keeps and returns its code.
 * Without err there is no code to keep: returns WEIR_INTERNAL. */
int error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

const int *error_codes(size_t *ret_n); /* all there are, in the table's order */
const char *error_name(int code);       /* "timeout"-like lower-case identifier: "RATE_LIMITED" -> "rate_limited" */
const char *error_title(int code);      /* for people */
const char *error_suggestion(int code); /* what to do */
bool error_retriable(int code);
void error_print_markdown(struct buf *out); /* the table of docs/errors.md */
int error_exit_status(int code); /* the documented exit status of a program that ends for this reason */

#endif
