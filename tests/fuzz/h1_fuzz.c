/* h1_fuzz.c - heads and chunked bodies: the first byte says where the rest is cut, and the cut must not matter. */
#include "services/gateway/http/h1.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static ssize_t scan(const uint8_t *data, size_t size, size_t cut, struct h1_scan *ret)
{
	struct h1_problem problem;
	*ret = (struct h1_scan){ 0 };
	ssize_t n = h1_scan(ret, data, cut, &problem);
	return n ? n : h1_scan(ret, data, size, &problem);
}

static ssize_t dechunk(const uint8_t *data, size_t size, size_t cut, struct buf *body)
{
	struct h1_chunks c = { .max = 1000 };
	struct h1_problem problem;
	bool done;
	ssize_t n = h1_dechunk(&c, data, cut, body, &done, &problem);
	if (n < 0 || done)
		return n;
	ssize_t more = h1_dechunk(&c, data + n, size - (size_t)n, body, &done, &problem);
	return more < 0 ? -1 : n + more;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	size_t cut = data[0] % size;
	struct h1_scan whole, parts;
	data++;
	size--;
	cut = cut > size ? size : cut;
	ssize_t n = scan(data, size, size, &whole);
	if (scan(data, size, cut, &parts) != n || (n > 0 && parts.begin != whole.begin))
		abort();
	if (n > 0) {
		struct h1_head head;
		struct h1_problem problem;
		size_t length = (size_t)n - whole.begin;
		char *text = xmalloc(length + 1);
		memcpy(text, data + whole.begin, length);
		if (h1_parse(text, length, &head, &problem))
			for (size_t i = 0; i < head.field_count; i++)
				if (!h1_is_token(head.fields[i].name) || strpbrk(head.fields[i].value, "\r\n"))
					abort();
		free(text);
	}
	struct buf one = BUF_INIT(2000), two = BUF_INIT(2000);
	if (dechunk(data, size, size, &one) != dechunk(data, size, cut, &two) || one.size != two.size || (one.size && memcmp(one.data, two.data, one.size) != 0))
		abort();
	buf_free(&one);
	buf_free(&two);
	return 0;
}
