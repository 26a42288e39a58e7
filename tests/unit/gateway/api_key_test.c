/* api_key_test.c - the form of keys, what is refused, their hashes; names of scopes. */
#include "services/gateway/identity/api_key.h"
#include "services/gateway/identity/principal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Made once, by this code: keys that are out there must stay good. */
#define KEY "weir_0123456789ab_00112233445566778899aabbccddeeff00112233_"

static void keys_are_what_they_say(void **state)
{
	(void)state;
	char seen[100][API_KEY_TEXT];
	for (size_t i = 0; i < 100; i++) {
		char id[API_KEY_ID], read[API_KEY_ID];
		api_key_make(seen[i], id);
		assert_int_equal(strlen(seen[i]), API_KEY_TEXT - 1);
		assert_true(api_key_parse(seen[i], read));
		assert_string_equal(read, id);
		assert_memory_equal(seen[i] + 5, id, 12);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(seen[i], seen[k]);
	}
}

static void every_changed_character_is_noticed(void **state)
{
	(void)state;
	char key[API_KEY_TEXT], changed[API_KEY_TEXT + 1], id[API_KEY_ID];
	api_key_make(key, id);
	for (size_t at = 0; at < API_KEY_TEXT - 1; at++)
		for (int c = 1; c < 256; c++) {
			memcpy(changed, key, sizeof key);
			if (changed[at] == (char)c)
				continue;
			changed[at] = (char)c;
			assert_false(api_key_parse(changed, id));
		}
	for (size_t n = 0; n < API_KEY_TEXT - 1; n++) {
		snprintf(changed, n + 1, "%s", key);
		assert_false(api_key_parse(changed, id));
	}
	snprintf(changed, sizeof changed, "%s0", key);
	assert_false(api_key_parse(changed, id));
}

static void the_form_does_not_change(void **state)
{
	(void)state;
	char id[API_KEY_ID];
	assert_true(api_key_parse(KEY "336ba12f", id));
	assert_string_equal(id, "0123456789ab");
}

/* RFC 4231, test cases 2 and, with a key longer than a block, 6. */
static void hashes_are_HMAC_SHA_256(void **state)
{
	(void)state;
	static const uint8_t second[] = { 0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7,
					  0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43 };
	uint8_t hash[API_KEY_HASH], other[API_KEY_HASH];
	api_key_hash("what do ya want for nothing?", "Jefe", hash);
	assert_memory_equal(hash, second, sizeof hash);
	api_key_hash("what do ya want for nothing?", "", other);
	assert_memory_not_equal(hash, other, sizeof hash);
}

static void scopes_and_roles(void **state)
{
	(void)state;
	static const struct {
		unsigned scopes;
		enum role role;
		const char *name;
	} rows[] = {
		{ 0, ROLE_NONE, "none" },
		{ SCOPE_READ | SCOPE_STREAM, ROLE_NONE, "none" },
		{ SCOPE_READ | SCOPE_VIEWER, ROLE_VIEWER, "viewer" },
		{ SCOPE_OPERATOR | SCOPE_VIEWER, ROLE_OPERATOR, "operator" },
		{ SCOPE_ADMIN, ROLE_ADMIN, "admin" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(scope_role(rows[i].scopes), rows[i].role);
		assert_string_equal(scope_role_name(rows[i].scopes), rows[i].name);
	}
	for (unsigned i = 0; i < SCOPES; i++)
		assert_int_equal(scope_by_name(scope_name(i), strlen(scope_name(i))), 1u << i);
	static const char *const none[] = { "", "rea", "reads", "Read", "*", "read ", "admin\n" };
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
		assert_int_equal(scope_by_name(none[i], strlen(none[i])), 0);
	assert_int_equal(scopes_of_role("operator"), SCOPE_READ | SCOPE_STREAM | SCOPE_OPERATOR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_what_they_say),  cmocka_unit_test(every_changed_character_is_noticed), cmocka_unit_test(the_form_does_not_change),
		cmocka_unit_test(hashes_are_HMAC_SHA_256), cmocka_unit_test(scopes_and_roles),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
