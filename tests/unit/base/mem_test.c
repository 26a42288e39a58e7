/* mem_test.c - allocation that ends the process, arenas with a maximum, buffers with a maximum. */
#include "base/mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void memory_comes_zeroed_and_copied(void **state)
{
	(void)state;
	uint8_t *p = xcalloc(1000, 7);
	for (size_t i = 0; i < 7000; i++)
		assert_int_equal(p[i], 0);
	xfree(&p);
	assert_null(p);
	xfree(&p);
	void *empty = xmalloc(0);
	assert_non_null(empty);
	xfree(&empty);
	assert_null(xstrdup(NULL));
	char *s = xstrndup("abcdef", 3), *t = xstrndup("ab", 9), *u = xasprintf("%s-%d", "x", 7);
	assert_string_equal(s, "abc");
	assert_string_equal(t, "ab");
	assert_string_equal(u, "x-7");
	char *v = xmemdup("a\0b", 3);
	assert_memory_equal(v, "a\0b", 3);
	u = xrealloc(u, 100, 10);
	assert_string_equal(u, "x-7");
	xfree(&s);
	xfree(&t);
	xfree(&u);
	xfree(&v);
}

static void overflow_calloc(void)
{
	void *p = xcalloc(SIZE_MAX / 2, 3);
	xfree(&p);
}

static void overflow_realloc(void)
{
	void *p = xrealloc(NULL, SIZE_MAX, 2);
	xfree(&p);
}

/* The process must end by abort, having said why. */
static void assert_ends(void (*what)(void))
{
	int words[2];
	assert_int_equal(pipe(words), 0);
	pid_t child = fork();
	if (child == 0) {
		signal(SIGABRT, SIG_DFL);
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		dup2(words[1], STDERR_FILENO);
		what();
		_exit(0);
	}
	close(words[1]);
	char text[200] = "";
	assert_true(read(words[0], text, sizeof text - 1) > 0);
	close(words[0]);
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_non_null(strstr(text, "out of memory"));
}

static void sizes_that_overflow_end_the_process(void **state)
{
	(void)state;
	assert_ends(overflow_calloc);
	assert_ends(overflow_realloc);
}

static void arena_gives_aligned_separate_memory(void **state)
{
	(void)state;
	struct arena *a = arena_new(8u << 20);
	uint8_t *parts[500];
	for (size_t i = 0; i < 500; i++) {
		parts[i] = arena_alloc(a, 1 + i * 37 % 9000);
		assert_non_null(parts[i]);
		assert_int_equal((uintptr_t)parts[i] % 16, 0);
		memset(parts[i], (int)i, 1 + i * 37 % 9000);
	}
	for (size_t i = 0; i < 500; i++)
		for (size_t j = 0; j < 1 + i * 37 % 9000; j++)
			assert_int_equal(parts[i][j], (uint8_t)i);
	arena_free(&a);
	assert_null(a);
	arena_free(&a);
}

static void arena_refuses_beyond_its_maximum(void **state)
{
	(void)state;
	struct arena *a = arena_new(1000);
	assert_null(arena_alloc(a, 1001));
	assert_null(arena_alloc(a, SIZE_MAX));
	assert_null(arena_zalloc(a, SIZE_MAX / 2, 3));
	assert_non_null(arena_alloc(a, 600));
	assert_null(arena_alloc(a, 600));
	assert_non_null(arena_alloc(a, 300));
	assert_null(arena_printf(a, "%0900d", 1));
	assert_in_range(arena_used(a), 900, 1000);
	arena_reset(a);
	assert_int_equal(arena_used(a), 0);
	assert_non_null(arena_alloc(a, 1000));
	arena_free(&a);
}

static void arena_is_reused_after_a_reset(void **state)
{
	(void)state;
	struct arena *a = arena_new(64u << 20);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 40; i++)
			assert_non_null(arena_alloc(a, 1u << 20));
		uint64_t *zeros = arena_zalloc(a, 100, 8);
		for (size_t i = 0; i < 100; i++)
			assert_int_equal(zeros[i], 0);
		memset(zeros, 0xff, 800);
		assert_string_equal(arena_printf(a, "%s %d", "round", round)  , round == 0 ? "round 0" : round == 1 ? "round 1" : "round 2");
		arena_reset(a);
	}
	uint64_t *zeros = arena_zalloc(a, 1000, 8); /* memory that was used before */
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(zeros[i], 0);
	arena_free(&a);
}

static void buf_grows_and_stays_terminated(void **state)
{
	(void)state;
	struct buf b = BUF_INIT(1 << 20);
	assert_string_equal(buf_str(&b), "");
	char want[20001] = "";
	for (int i = 0; i < 10000; i++) {
		buf_add_byte(&b, (uint8_t)('a' + i % 26));
		want[i] = (char)('a' + i % 26);
	}
	assert_int_equal(b.size, 10000);
	assert_string_equal(buf_str(&b), want);
	buf_reset(&b);
	assert_string_equal(buf_str(&b), "");
	memset(want, 'x', 5000);
	want[5000] = 0;
	buf_printf(&b, "%s-%s", want, "end"); /* longer than the formatting aside */
	assert_int_equal(b.size, 5004);
	assert_string_equal(buf_str(&b) + 4999, "x-end");
	uint8_t *own = buf_detach(&b);
	assert_int_equal(own[5004], 0);
	xfree(&own);
	assert_string_equal(buf_str(&b), "");
	own = buf_detach(&b); /* of nothing */
	assert_string_equal((char *)own, "");
	xfree(&own);
	buf_free(&b);
	buf_free(&b);
}

static void buf_drops_what_would_pass_its_maximum(void **state)
{
	(void)state;
	for (size_t max = 0; max < 40; max++) {
		struct buf b = BUF_INIT(max);
		for (size_t i = 0; i < max; i++)
			buf_add_byte(&b, 'a');
		assert_false(b.overflow);
		buf_add(&b, "", 0);
		assert_false(b.overflow);
		buf_add_byte(&b, 'b');
		assert_true(b.overflow);
		buf_printf(&b, "%s", ""); /* nothing fits any more, not even nothing */
		assert_int_equal(b.size, max);
		assert_int_equal(strspn(buf_str(&b), "a"), max);
		buf_reset(&b);
		assert_false(b.overflow);
		buf_free(&b);
	}
	struct buf b = BUF_INIT(1000);
	buf_printf(&b, "%0800d", 1);
	buf_printf(&b, "%0800d", 2);
	assert_true(b.overflow);
	assert_int_equal(b.size, 800);
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_comes_zeroed_and_copied),
		cmocka_unit_test(sizes_that_overflow_end_the_process),
		cmocka_unit_test(arena_gives_aligned_separate_memory),
		cmocka_unit_test(arena_refuses_beyond_its_maximum),
		cmocka_unit_test(arena_is_reused_after_a_reset),
		cmocka_unit_test(buf_grows_and_stays_terminated),
		cmocka_unit_test(buf_drops_what_would_pass_its_maximum),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
