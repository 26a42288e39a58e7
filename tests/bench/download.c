/* download.c - what no indexer can beat: the answers that weir's proof needs, fetched and thrown away. One JSON line.
 *
 *   download URL HEIGHT [CONNECTIONS]    blocks 0 to HEIGHT, each with receipts and, in a second pass of its own figure, flat traces
 *
 * Kept-alive connections, one request for each answer as weir asks, no parsing.
 */
#include "base/clock.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#define CONNECTIONS_MAX 64

static const struct {
	const char *method, *more;
} calls[] = { { "eth_getBlockByNumber", ",true" }, { "eth_getBlockReceipts", "" }, { "trace_block", "" } };

static size_t bytes;

static size_t drop(char *data, size_t size, size_t n, void *arg)
{
	(void)data;
	(void)arg;
	bytes += size * n;
	return size * n;
}

struct lane {
	CURL *easy;
	char body[200];
};

/* The next request of all on this connection; false: none is left. */
static int next(CURLM *multi, struct lane *lane, unsigned long *at, unsigned long total, unsigned per_block)
{
	if (*at == total)
		return 0;
	snprintf(lane->body, sizeof lane->body, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":[\"0x%lx\"%s]}",
		 calls[*at % per_block].method, *at / per_block, calls[*at % per_block].more);
	++*at;
	curl_easy_setopt(lane->easy, CURLOPT_POSTFIELDS, lane->body);
	curl_multi_add_handle(multi, lane->easy);
	return 1;
}

/* Seconds for all blocks with the first per_block calls. */
static double fetch(const char *url, unsigned long height, unsigned connections, unsigned per_block)
{
	struct lane lanes[CONNECTIONS_MAX] = { 0 };
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	CURLM *multi = curl_multi_init();
	unsigned long at = 0, total = (height + 1) * per_block;
	int open = 0, running = 0, left = 0;
	int64_t began = clock_mono_ns();
	for (unsigned i = 0; i < connections; i++) {
		lanes[i].easy = curl_easy_init();
		curl_easy_setopt(lanes[i].easy, CURLOPT_URL, url);
		curl_easy_setopt(lanes[i].easy, CURLOPT_HTTPHEADER, headers);
		curl_easy_setopt(lanes[i].easy, CURLOPT_WRITEFUNCTION, drop);
		curl_easy_setopt(lanes[i].easy, CURLOPT_PRIVATE, &lanes[i]);
		curl_easy_setopt(lanes[i].easy, CURLOPT_FAILONERROR, 1L);
		open += next(multi, &lanes[i], &at, total, per_block);
	}
	while (open > 0) {
		curl_multi_perform(multi, &running);
		for (CURLMsg *done; (done = curl_multi_info_read(multi, &left));) {
			struct lane *lane = NULL;
			if (done->data.result != CURLE_OK) {
				fprintf(stderr, "%s: %s\n", url, curl_easy_strerror(done->data.result));
				exit(1);
			}
			curl_easy_getinfo(done->easy_handle, CURLINFO_PRIVATE, &lane);
			curl_multi_remove_handle(multi, lane->easy);
			open += next(multi, lane, &at, total, per_block) - 1;
		}
		if (open > 0)
			curl_multi_poll(multi, NULL, 0, 1000, NULL);
	}
	double seconds = (double)(clock_mono_ns() - began) / 1e9;
	for (unsigned i = 0; i < connections; i++)
		curl_easy_cleanup(lanes[i].easy);
	curl_multi_cleanup(multi);
	curl_slist_free_all(headers);
	return seconds;
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: download URL HEIGHT [CONNECTIONS]\n");
		return 2;
	}
	unsigned long height = strtoul(argv[2], NULL, 10), connections = argc > 3 ? strtoul(argv[3], NULL, 10) : 8;
	if (connections < 1 || connections > CONNECTIONS_MAX)
		connections = 8;
	curl_global_init(CURL_GLOBAL_DEFAULT);
	fetch(argv[1], height, (unsigned)connections, 2); /* the node's caches are warm for the second, third, … comer: weir is one of those */
	bytes = 0;
	double without = fetch(argv[1], height, (unsigned)connections, 2);
	size_t bytes_without = bytes;
	bytes = 0;
	double with = fetch(argv[1], height, (unsigned)connections, 3);
	printf("{\"blocks\": %lu, \"seconds\": %.3f, \"bytes\": %zu, \"seconds_without_traces\": %.3f, \"bytes_without_traces\": %zu}\n", height + 1, with, bytes,
	       without, bytes_without);
	curl_global_cleanup();
	return 0;
}
