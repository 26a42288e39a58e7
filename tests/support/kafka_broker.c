/* kafka_broker.c - the mock cluster in a child process, and a pipe of words to it. */
#include "support/kafka_broker.h"

#include <dlfcn.h>
#include <librdkafka/rdkafka.h>

#include <librdkafka/rdkafka_mock.h> /* wants the other one before it */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIST_OFFSETS 2
#define FOREVER_MS (3600 * 1000)

struct word {
	char verb; /* t: a topic, f: no topic, a: the topic after all, u: up or down, d: delay, e: an error, s: silence to the next ListOffsets, l: a late answer */
	int number, request;
	char name[200];
};

static void *symbol(void *library, const char *name)
{
	void *at = library ? dlsym(library, name) : NULL;
	if (!at) {
		fprintf(stderr, "librdkafka: %s\n", name);
		_exit(126);
	}
	return at;
}

static void serve(int words, int answers)
{
	void *library = dlopen("librdkafka.so.1", RTLD_NOW | RTLD_LOCAL);
	__typeof__(rd_kafka_conf_new) *conf_new;
	__typeof__(rd_kafka_new) *new;
	__typeof__(rd_kafka_mock_cluster_new) *cluster_new;
	__typeof__(rd_kafka_mock_cluster_bootstraps) *bootstraps;
	__typeof__(rd_kafka_mock_topic_create) *topic_create;
	__typeof__(rd_kafka_mock_topic_set_error) *topic_set_error;
	__typeof__(rd_kafka_mock_broker_set_up) *set_up;
	__typeof__(rd_kafka_mock_broker_set_down) *set_down;
	__typeof__(rd_kafka_mock_broker_set_rtt) *set_rtt;
	__typeof__(rd_kafka_mock_push_request_errors_array) *push_errors;
	__typeof__(rd_kafka_mock_broker_push_request_error_rtts) *push_error_rtts;
#define LOAD(slot, name) *(void **)(&(slot)) = symbol(library, name)
	LOAD(conf_new, "rd_kafka_conf_new");
	LOAD(new, "rd_kafka_new");
	LOAD(cluster_new, "rd_kafka_mock_cluster_new");
	LOAD(bootstraps, "rd_kafka_mock_cluster_bootstraps");
	LOAD(topic_create, "rd_kafka_mock_topic_create");
	LOAD(topic_set_error, "rd_kafka_mock_topic_set_error");
	LOAD(set_up, "rd_kafka_mock_broker_set_up");
	LOAD(set_down, "rd_kafka_mock_broker_set_down");
	LOAD(set_rtt, "rd_kafka_mock_broker_set_rtt");
	LOAD(push_errors, "rd_kafka_mock_push_request_errors_array");
	LOAD(push_error_rtts, "rd_kafka_mock_broker_push_request_error_rtts");
	rd_kafka_t *client = new(RD_KAFKA_PRODUCER, conf_new(), NULL, 0);
	rd_kafka_mock_cluster_t *cluster = client ? cluster_new(client, 1) : NULL;
	char hosts[256] = "";
	struct word w;
	if (!cluster)
		_exit(126);
	snprintf(hosts, sizeof hosts, "%s", bootstraps(cluster));
	if (write(answers, hosts, sizeof hosts) != sizeof hosts)
		_exit(126);
	while (read(words, &w, sizeof w) == sizeof w) {
		int bad = 0;
		if (w.verb == 'f' || w.verb == 'a')
			topic_set_error(cluster, w.name, w.verb == 'f' ? RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART : RD_KAFKA_RESP_ERR_NO_ERROR);
		else if (w.verb == 't')
			bad = topic_create(cluster, w.name, w.number, 1);
		else if (w.verb == 'd')
			bad = set_rtt(cluster, 1, w.number);
		else if (w.verb == 's')
			bad = push_error_rtts(cluster, 1, LIST_OFFSETS, 1, RD_KAFKA_RESP_ERR_NO_ERROR, FOREVER_MS);
		else if (w.verb == 'l')
			bad = push_error_rtts(cluster, 1, (int16_t)w.request, 1, RD_KAFKA_RESP_ERR_NO_ERROR, w.number);
		else if (w.verb == 'e')
			push_errors(cluster, (int16_t)w.request, 1, &(rd_kafka_resp_err_t){ (rd_kafka_resp_err_t)w.number });
		else
			bad = w.number ? set_up(cluster, 1) : set_down(cluster, 1);
		if (write(answers, bad ? "n" : "y", 1) != 1)
			break;
	}
	_exit(0);
}

void kafka_broker_start(struct kafka_broker *b)
{
	int words[2], answers[2];
	signal(SIGPIPE, SIG_IGN);
	if (pipe(words) != 0 || pipe(answers) != 0)
		abort();
	b->pid = fork();
	if (b->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(words[1]);
		close(answers[0]);
		serve(words[0], answers[1]);
	}
	close(words[0]);
	close(answers[1]);
	b->tell = words[1];
	b->answer = answers[0];
	if (read(b->answer, b->hosts, sizeof b->hosts) != sizeof b->hosts) {
		fprintf(stderr, "the mock of Kafka did not start\n");
		abort();
	}
}

static void tell_of(struct kafka_broker *b, char verb, int number, int request, const char *name)
{
	struct word w = { .verb = verb, .number = number, .request = request };
	char answer = 'n';
	snprintf(w.name, sizeof w.name, "%s", name);
	if (write(b->tell, &w, sizeof w) != sizeof w || read(b->answer, &answer, 1) != 1 || answer != 'y') {
		fprintf(stderr, "the mock of Kafka refused %c %d %s\n", verb, number, name);
		abort();
	}
}

static void tell(struct kafka_broker *b, char verb, int number, const char *name)
{
	tell_of(b, verb, number, 0, name);
}

void kafka_broker_topic(struct kafka_broker *b, const char *name, int partitions)
{
	tell(b, 't', partitions, name);
}

void kafka_broker_forbid(struct kafka_broker *b, const char *name)
{
	tell(b, 'f', 0, name);
}

void kafka_broker_allow(struct kafka_broker *b, const char *name)
{
	tell(b, 'a', 0, name);
}

void kafka_broker_up(struct kafka_broker *b, int up)
{
	tell(b, 'u', up, "");
}

void kafka_broker_delay(struct kafka_broker *b, int ms)
{
	tell(b, 'd', ms, "");
}

void kafka_broker_hold(struct kafka_broker *b, int held)
{
	int status;
	kill(b->pid, held ? SIGSTOP : SIGCONT);
	if (held && waitpid(b->pid, &status, WUNTRACED) != b->pid)
		abort();
}

void kafka_broker_silence_offsets(struct kafka_broker *b)
{
	tell(b, 's', 0, "");
}

void kafka_broker_refuse(struct kafka_broker *b, enum kafka_request request, int code)
{
	tell_of(b, 'e', code, (int)request, "");
}

void kafka_broker_late(struct kafka_broker *b, enum kafka_request request, int ms)
{
	tell_of(b, 'l', ms, (int)request, "");
}

void kafka_broker_stop(struct kafka_broker *b)
{
	if (b->pid <= 0)
		return;
	kill(b->pid, SIGKILL);
	waitpid(b->pid, NULL, 0);
	close(b->tell);
	close(b->answer);
	b->pid = 0;
}
