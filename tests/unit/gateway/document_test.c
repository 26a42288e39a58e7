/* document_test.c - documents made once: in each coding the same bytes, tags that differ with the bytes, 304 for who has one; and the API's own. */
#include "services/gateway/call/call.h"
#include "services/gateway/call/document.h"
#include "services/gateway/call/validator.h"
#include "services/gateway/rest/openapi.h"
#include "services/gateway/rest/rest.h"

#include "wire/msgpack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

static struct http_request request;
static struct http_response response;
static struct gateway gateway;

static struct call begin(const char *accept, const char *accept_encoding, const char *if_none_match)
{
	static char texts[3][200];
	const char *const given[3] = { accept, accept_encoding, if_none_match };
	char **const slots[3] = { &request.accept, &request.accept_encoding, &request.if_none_match };
	buf_free(&response.body);
	request = (struct http_request){ .method = "GET" };
	response = (struct http_response){ .status = 200, .type = "application/json", .body = BUF_INIT((size_t)8 << 20) };
	for (size_t i = 0; i < 3; i++)
		if (given[i]) {
			snprintf(texts[i], sizeof texts[i], "%s", given[i]);
			*slots[i] = texts[i];
		}
	return (struct call){ .gateway = &gateway, .request = &request, .response = &response, .out = &response.body };
}

static void give(const struct document *document, const char *accept_encoding, const char *if_none_match)
{
	struct call call = begin(NULL, accept_encoding, if_none_match);
	document_give(document, &call);
}

/* The values of a header, one behind the other. */
static const char *field(const char *name)
{
	static char all[400];
	all[0] = '\0';
	for (size_t i = 0; i < response.field_count; i++)
		if (strcmp(response.fields[i].name, name) == 0)
			snprintf(all + strlen(all), sizeof all - strlen(all), "%s;", response.fields[i].value);
	return all;
}

/* The body, decoded as the headers say. */
static struct buf decoded(void)
{
	struct buf out = BUF_INIT((size_t)8 << 20);
	uint8_t *plain = xmalloc(out.max);
	const struct buf *body = http_body(&response);
	size_t size = body->size;
	if (strcmp(field("Content-Encoding"), "gzip;") == 0) {
		z_stream z = { .next_in = body->data, .avail_in = (uInt)size, .next_out = plain, .avail_out = (uInt)out.max };
		assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
		assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
		size = z.total_out;
		inflateEnd(&z);
	} else if (strcmp(field("Content-Encoding"), "zstd;") == 0) {
		size = ZSTD_decompress(plain, out.max, body->data, size);
		assert_false(ZSTD_isError(size));
	} else {
		assert_string_equal(field("Content-Encoding"), "");
		memcpy(plain, body->data, size);
	}
	buf_add(&out, plain, size);
	free(plain);
	return out;
}

static void expect_body(const struct buf *wanted)
{
	struct buf got = decoded();
	assert_int_equal(got.size, wanted->size);
	assert_memory_equal(got.data, wanted->data, got.size);
	buf_free(&got);
}

static struct document make(const char *word, size_t times)
{
	struct document document;
	struct buf text = BUF_INIT((size_t)1 << 20);
	for (size_t i = 0; i < times; i++)
		buf_printf(&text, "%s %zu ", word, i);
	document_make(&document, "text/plain; charset=utf-8", (struct bytes){ text.data, text.size }, true);
	buf_free(&text);
	return document;
}

static void each_coding_gives_the_same_bytes(void **state)
{
	(void)state;
	static const struct {
		const char *accept, *coding;
	} ways[] = { { NULL, "" }, { "gzip", "gzip;" }, { "zstd, gzip", "zstd;" }, { "br, gzip;q=0.1", "gzip;" }, { "gzip;q=0", "" }, { "identity", "" } };
	struct document document = make("again", 1000);
	for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
		give(&document, ways[i].accept, NULL);
		assert_int_equal(response.status, 200);
		assert_true(response.coded);
		assert_string_equal(response.type, document.type);
		assert_string_equal(field("Content-Encoding"), ways[i].coding);
		assert_string_equal(field("Vary"), "Accept-Encoding;");
		expect_body(&document.body);
	}
	document_free(&document);
}

static void small_ones_stay_as_they_are(void **state)
{
	(void)state;
	struct document document = make("a", 1), empty = make("", 0);
	give(&document, "gzip, zstd", NULL);
	assert_string_equal(field("Content-Encoding"), "");
	expect_body(&document.body);
	give(&empty, "gzip", NULL);
	assert_int_equal(http_body(&response)->size, 0);
	document_free(&document);
	document_free(&empty);
}

static void tags_tell_bytes_apart(void **state)
{
	(void)state;
	char seen[6][sizeof response.etag];
	struct document one = make("one", 1000), other = make("other", 1000), same = make("one", 1000);
	assert_string_equal(one.etag, same.etag);
	for (size_t i = 0; i < 6; i++) {
		static const char *const codings[] = { NULL, "gzip", "zstd" };
		give(i < 3 ? &one : &other, codings[i % 3], NULL);
		memcpy(seen[i], response.etag, sizeof seen[i]);
		assert_true(seen[i][0] == '"' && seen[i][strlen(seen[i]) - 1] == '"');
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(seen[i], seen[j]);
	}
	document_free(&one);
	document_free(&other);
	document_free(&same);
}

static void who_has_it_is_told_so(void **state)
{
	(void)state;
	char list[200];
	struct document document = make("one", 1000), other = make("other", 1000);
	for (int coded = 0; coded < 2; coded++) {
		give(&document, coded ? "zstd" : NULL, NULL);
		char tag[sizeof response.etag];
		memcpy(tag, response.etag, sizeof tag);
		snprintf(list, sizeof list, "\"a\", W/%s", tag);
		give(&document, coded ? "zstd" : NULL, list);
		assert_true(response.status == 304 && http_body(&response)->size == 0 && response.coded);
		assert_string_equal(response.etag, tag);
		assert_string_equal(field("Vary"), "Accept-Encoding;");
	}
	give(&document, NULL, other.etag);
	assert_int_equal(response.status, 200);
	document_free(&document);
	document_free(&other);
}

static void the_api_document_is_json_and_messagepack(void **state)
{
	(void)state;
	struct buf plain, packed, json = BUF_INIT((size_t)8 << 20), wanted = BUF_INIT((size_t)8 << 20);
	struct arena *arena = arena_new((size_t)64 << 20);
	char tag[sizeof response.etag];
	struct error err;
	gateway.openapi = openapi_new();
	struct call call = begin(NULL, "gzip", NULL);
	rest_openapi(&call);
	assert_string_equal(response.type, "application/json");
	assert_string_equal(field("Vary"), "Accept;Accept-Encoding;");
	assert_string_equal(response.caching, "private, no-cache");
	plain = decoded();
	assert_non_null(strstr(buf_str(&plain), "\"openapi\""));
	call = begin("application/vnd.msgpack", "zstd", NULL);
	rest_openapi(&call);
	assert_string_equal(response.type, "application/vnd.msgpack");
	packed = decoded();
	assert_true(packed.size < plain.size);
	memcpy(tag, response.etag, sizeof tag);
	assert_non_null(strstr(tag, "-msgpack-zstd\""));
	/* the same, once the white space is gone */
	assert_int_equal(msgpack_to_json((struct bytes){ packed.data, packed.size }, &json, &err), 0);
	assert_int_equal(msgpack_from_json((struct bytes){ json.data, json.size }, arena, &wanted, &err), 0);
	assert_true(wanted.size == packed.size && memcmp(wanted.data, packed.data, wanted.size) == 0);
	call = begin("application/vnd.msgpack", "zstd", tag);
	rest_openapi(&call);
	assert_int_equal(response.status, 304);
	call = begin("application/vnd.msgpack;q=0.1, application/json", NULL, NULL);
	rest_openapi(&call);
	assert_string_equal(response.type, "application/json");
	buf_free(&plain);
	buf_free(&packed);
	buf_free(&json);
	buf_free(&wanted);
	arena_free(&arena);
	openapi_free(&gateway.openapi);
	openapi_free(&gateway.openapi);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_coding_gives_the_same_bytes),
		cmocka_unit_test(small_ones_stay_as_they_are),
		cmocka_unit_test(tags_tell_bytes_apart),
		cmocka_unit_test(who_has_it_is_told_so),
		cmocka_unit_test(the_api_document_is_json_and_messagepack),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	buf_free(&response.body);
	return failed;
}
