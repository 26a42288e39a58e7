/* webhook_resolve.c - names to addresses, on a few threads. */
#include "webhook/webhook_resolve.h"

#include "base/mem.h"

#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define THREADS 4
#define QUESTIONS_MAX 1024

struct question {
	uint64_t ticket;
	char host[WEBHOOK_HOST_MAX + 1];
	struct question *next;
};

struct webhook_resolver {
	webhook_lookup *lookup;
	void (*wake)(void *arg);
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t asked;
	struct question *first, *last;
	size_t waiting;
	struct webhook_answer *answers, *last_answer;
	bool closing;
	pthread_t threads[THREADS];
	unsigned started;
};

int webhook_lookup_system(const char *host, struct sockaddr_storage ret[WEBHOOK_ADDRESSES_MAX], size_t *ret_n, struct error *err)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	*ret_n = 0;
	int failed = getaddrinfo(host, NULL, &hints, &found);
	if (failed == EAI_NONAME || failed == EAI_NODATA)
		return error_set(err, WEIR_NOT_FOUND, "the name %s does not exist", host);
	if (failed)
		return error_set(err, WEIR_UNAVAILABLE, "the name %s cannot be looked up: %s", host, gai_strerror(failed));
	int code = 0;
	for (const struct addrinfo *a = found; a && !code; a = a->ai_next) {
		if (*ret_n == WEBHOOK_ADDRESSES_MAX)
			code = error_set(err, WEIR_LIMIT, "the name %s has more than %d addresses", host, WEBHOOK_ADDRESSES_MAX);
		else if (a->ai_addrlen <= sizeof ret[0])
			memcpy(&ret[(*ret_n)++], a->ai_addr, a->ai_addrlen);
	}
	freeaddrinfo(found);
	return code;
}

static struct question *next_question(struct webhook_resolver *r)
{
	pthread_mutex_lock(&r->lock);
	while (!r->first && !r->closing)
		pthread_cond_wait(&r->asked, &r->lock);
	struct question *question = r->closing ? NULL : r->first;
	if (question) {
		r->first = question->next;
		r->waiting--;
	}
	pthread_mutex_unlock(&r->lock);
	return question;
}

static void *work(void *arg)
{
	struct webhook_resolver *r = arg;
	for (struct question *question; (question = next_question(r));) {
		struct webhook_answer *answer = xmalloc(sizeof *answer);
		answer->ticket = question->ticket;
		answer->code = r->lookup(question->host, answer->addresses, &answer->count, &answer->error);
		free(question);
		pthread_mutex_lock(&r->lock);
		*(r->answers ? &r->last_answer->next : &r->answers) = answer;
		r->last_answer = answer;
		pthread_mutex_unlock(&r->lock);
		r->wake(r->arg);
	}
	return NULL;
}

int webhook_resolver_open(webhook_lookup *lookup, void (*wake)(void *arg), void *arg, struct webhook_resolver **ret, struct error *err)
{
	struct webhook_resolver *r = xmalloc(sizeof *r);
	*ret = r;
	r->lookup = lookup;
	r->wake = wake;
	r->arg = arg;
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->asked, NULL);
	for (; r->started < THREADS; r->started++)
		if (pthread_create(&r->threads[r->started], NULL, work, r) != 0) {
			webhook_resolver_close(ret);
			return error_set(err, WEIR_FULL, "cannot start a thread: the system's limit is reached");
		}
	return 0;
}

void webhook_resolver_close(struct webhook_resolver **rp)
{
	struct webhook_resolver *r = *rp;
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->closing = true;
	pthread_cond_broadcast(&r->asked);
	pthread_mutex_unlock(&r->lock);
	for (unsigned i = 0; i < r->started; i++)
		pthread_join(r->threads[i], NULL);
	for (struct question *next; r->first; r->first = next) {
		next = r->first->next;
		free(r->first);
	}
	for (struct webhook_answer *answer; (answer = webhook_resolver_take(r));)
		free(answer);
	pthread_cond_destroy(&r->asked);
	pthread_mutex_destroy(&r->lock);
	xfree(rp);
}

int webhook_resolver_ask(struct webhook_resolver *r, uint64_t ticket, const char *host, struct error *err)
{
	struct question *question = xmalloc(sizeof *question);
	question->ticket = ticket;
	snprintf(question->host, sizeof question->host, "%s", host);
	pthread_mutex_lock(&r->lock);
	bool full = r->waiting == QUESTIONS_MAX;
	if (!full) {
		*(r->first ? &r->last->next : &r->first) = question;
		r->last = question;
		r->waiting++;
		pthread_cond_signal(&r->asked);
	}
	pthread_mutex_unlock(&r->lock);
	if (full)
		free(question);
	return full ? error_set(err, WEIR_FULL, "%d names wait to be looked up", QUESTIONS_MAX) : 0;
}

struct webhook_answer *webhook_resolver_take(struct webhook_resolver *r)
{
	pthread_mutex_lock(&r->lock);
	struct webhook_answer *answer = r->answers;
	if (answer)
		r->answers = answer->next;
	pthread_mutex_unlock(&r->lock);
	return answer;
}
