/* coding_test.c - which content coding a client gets, and that what is coded is what it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/gateway/http/coding.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

static void the_client_chooses(void **state)
{
	(void)state;
	static const struct {
		const char *accept;
		enum coding coding;
	} rows[] = {
		{ NULL, CODING_NONE }, { "", CODING_NONE }, { "gzip", CODING_GZIP }, { "zstd", CODING_ZSTD }, { "GZip", CODING_GZIP }, { "x-gzip", CODING_GZIP },
		{ "gzip, deflate, br, zstd", CODING_ZSTD }, { "gzip, deflate", CODING_GZIP }, { "br", CODING_NONE }, { "deflate", CODING_NONE },
		{ "gzip;q=1.0, zstd;q=0.5", CODING_GZIP }, { "gzip;q=0.5,zstd;q=0.5", CODING_ZSTD }, { "gzip;q=0", CODING_NONE }, { "gzip; q=0.000", CODING_NONE },
		{ "gzip ; q=0.001", CODING_GZIP }, { "zstd;q=0, gzip", CODING_GZIP }, { "*", CODING_ZSTD }, { "*;q=0", CODING_NONE }, { "zstd;q=0, *", CODING_GZIP },
		{ "gzip;q=0, *;q=0.3", CODING_ZSTD }, { "identity", CODING_NONE }, { "identity;q=0.5, gzip;q=0.4", CODING_NONE },
		{ "identity;q=0.5, gzip;q=0.6", CODING_GZIP }, { "identity;q=0, gzip;q=0.1", CODING_GZIP }, { "gzip;q=2", CODING_NONE }, { "gzip;q=1.001", CODING_NONE },
		{ "gzip;q=0.0001", CODING_NONE }, { "gzip;q=", CODING_NONE }, { "gzip;q=x", CODING_NONE }, { "gzip;level=1", CODING_NONE }, { "gzip;", CODING_NONE },
		{ ";q=1", CODING_NONE }, { ",,,gzip,,", CODING_GZIP }, { "gzip;q=1.", CODING_GZIP }, { "gzippy", CODING_NONE }, { "gzi", CODING_NONE },
		{ " \tgzip\t ", CODING_GZIP }, { "gzip;Q=0.3, zstd;q=0.2", CODING_GZIP }, { "gzip gzip", CODING_NONE },
		{ "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,a,b,c,d,e,f,gzip", CODING_NONE },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (coding_choose(rows[i].accept) != rows[i].coding)
			fail_msg("\"%s\" gets %d and not %d", rows[i].accept, coding_choose(rows[i].accept), rows[i].coding);
}

static size_t decode(enum coding coding, const struct buf *coded, uint8_t *out, size_t room)
{
	if (coding == CODING_ZSTD)
		return ZSTD_decompress(out, room, coded->data, coded->size);
	z_stream z = { .next_in = coded->data, .avail_in = (uInt)coded->size, .next_out = out, .avail_out = (uInt)room };
	assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	size_t size = room - z.avail_out;
	inflateEnd(&z);
	return size;
}

static void what_is_coded_comes_back(void **state)
{
	(void)state;
	enum { ROOM = 200000 };
	uint8_t *plain = test_malloc(ROOM), *out = test_malloc(ROOM);
	for (size_t i = 0; i < ROOM; i++)
		plain[i] = (uint8_t)("{\"height\": 12345, "[i % 18] + (i % 977 == 0));
	for (enum coding c = CODING_GZIP; c < CODINGS; c++)
		for (int best = 0; best < 2; best++)
			for (size_t size = 1000; size <= ROOM; size = size * 3 + 17) {
				struct buf coded = BUF_INIT(ROOM);
				buf_add_str(&coded, "x");
				assert_true(coding_encode(c, (struct bytes){ plain, size }, best, &coded));
				assert_true(coded.size < size && coded.data[0] == 'x');
				memmove(coded.data, coded.data + 1, --coded.size);
				assert_int_equal(decode(c, &coded, out, ROOM), size);
				assert_memory_equal(out, plain, size);
				buf_free(&coded);
			}
	test_free(plain);
	test_free(out);
}

static void what_does_not_shrink_stays(void **state)
{
	(void)state;
	uint8_t noise[4096];
	uint32_t x = 1;
	for (size_t i = 0; i < sizeof noise; i++) {
		x = x * 1664525 + 1013904223;
		noise[i] = (uint8_t)(x >> 24);
	}
	for (enum coding c = CODING_NONE; c < CODINGS; c++) {
		struct buf coded = BUF_INIT(10000);
		assert_false(coding_encode(c, (struct bytes){ noise, sizeof noise }, false, &coded));
		assert_false(coding_encode(c, (struct bytes){ noise, 0 }, false, &coded));
		assert_int_equal(coded.size, 0);
		buf_free(&coded);
	}
	assert_false(coding_fits("application/json", CODING_MIN - 1));
	assert_true(coding_fits("application/json", CODING_MIN));
	assert_true(coding_fits("text/html; charset=utf-8", CODING_MAX));
	assert_false(coding_fits("text/html; charset=utf-8", CODING_MAX + 1));
	assert_false(coding_fits("font/woff2", 5000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_client_chooses),
		cmocka_unit_test(what_is_coded_comes_back),
		cmocka_unit_test(what_does_not_shrink_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
