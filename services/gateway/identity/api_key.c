/* api_key.c - see api_key.h. */
#include "identity/api_key.h"

#include "wire/frame.h"
#include "wire/hex.h"

#include <errno.h>
#include <nettle/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define PREFIX "weir_"
#define ID_AT 5
#define SECRET_AT 18
#define SECRET_SIZE 40
#define CHECKSUM_AT 59

static void checksum(const char *key, char ret[9])
{
	const uint32_t sum = crc32c(0, key, CHECKSUM_AT - 1);
	const uint8_t bytes[] = { (uint8_t)(sum >> 24), (uint8_t)(sum >> 16), (uint8_t)(sum >> 8), (uint8_t)sum };
	char text[2 * sizeof bytes + 3];
	hex_from_bytes(bytes, sizeof bytes, text);
	memcpy(ret, text + 2, 9);
}

void api_key_make(char ret[API_KEY_TEXT], char ret_id[API_KEY_ID])
{
	uint8_t random[26];
	char hex[2 * sizeof random + 3], sum[9];
	size_t have = 0;
	while (have < sizeof random) {
		ssize_t n = getrandom(random + have, sizeof random - have, 0);
		if (n < 0 && errno != EINTR)
			abort(); /* no key is better than one that can be guessed */
		have += n > 0 ? (size_t)n : 0;
	}
	hex_from_bytes(random, sizeof random, hex);
	snprintf(ret_id, API_KEY_ID, "%.12s", hex + 2);
	snprintf(ret, API_KEY_TEXT, PREFIX "%s_%.40s_", ret_id, hex + 2 + 12);
	checksum(ret, sum);
	memcpy(ret + CHECKSUM_AT, sum, sizeof sum);
}

bool api_key_parse(const char *text, char ret_id[API_KEY_ID])
{
	static const char digits[] = "0123456789abcdef";
	char sum[9];
	if (strlen(text) != API_KEY_TEXT - 1 || strncmp(text, PREFIX, ID_AT) != 0 || text[SECRET_AT - 1] != '_' || text[CHECKSUM_AT - 1] != '_')
		return false;
	if (strspn(text + ID_AT, digits) != API_KEY_ID - 1 || strspn(text + SECRET_AT, digits) != SECRET_SIZE)
		return false;
	checksum(text, sum);
	memcpy(ret_id, text + ID_AT, API_KEY_ID - 1);
	ret_id[API_KEY_ID - 1] = '\0';
	return strcmp(text + CHECKSUM_AT, sum) == 0;
}

void api_key_hash(const char *key, const char *pepper, uint8_t ret[API_KEY_HASH])
{
	struct hmac_sha256_ctx hmac;
	hmac_sha256_set_key(&hmac, strlen(pepper), (const uint8_t *)pepper);
	hmac_sha256_update(&hmac, strlen(key), (const uint8_t *)key);
	hmac_sha256_digest(&hmac, API_KEY_HASH, ret);
}
