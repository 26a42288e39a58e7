/* control.c - commands onto topic "control", and turns on the bus. */
#include "control.h"

#include "base/clock.h"
#include "wire/hex.h"

#include "weir/streams.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define COMMAND_TIMEOUT_MS 2000

struct control {
	pthread_mutex_t lock;
	struct bus *bus;
	struct bus_publisher **publishers; /* by chain; opened when first needed */
	size_t count;
	char producer[160];
};

static bool stopping(void *ctx)
{
	return daemon_stopping(ctx);
}

int control_open(const struct gateway *gateway, struct control **ret, struct error *err)
{
	struct control *c = xmalloc(sizeof *c);
	char host[64] = "?", worker[100];
	gethostname(host, sizeof host - 1);
	snprintf(worker, sizeof worker, "%s:%ld", host, (long)getpid());
	snprintf(c->producer, sizeof c->producer, "gateway:%s:%08x", worker, (unsigned)random_u64());
	pthread_mutex_init(&c->lock, NULL);
	c->count = gateway->chain_count;
	c->publishers = xcalloc(c->count ? c->count : 1, sizeof *c->publishers);
	const struct bus_options options = { .url = gateway->config->bus.redis_url,
					     .username = gateway->config->bus.username,
					     .password = gateway->config->bus.password,
					     .command_timeout_ms = COMMAND_TIMEOUT_MS,
					     .max_backlog = gateway->config->bus.max_backlog,
					     .max_memory_percent = gateway->config->bus.max_memory_percent,
					     .max_age_ms = gateway->config->bus.max_age_ms,
					     .worker = worker,
					     .log = &gateway->log,
					     .metrics = gateway->metrics };
	int code = bus_open(&options, &c->bus, err);
	if (code) {
		control_close(&c);
		return code;
	}
	bus_set_stop(c->bus, stopping, gateway->ctx);
	*ret = c;
	return 0;
}

void control_close(struct control **cp)
{
	struct control *c = *cp;
	if (!c)
		return;
	for (size_t i = 0; i < c->count; i++)
		bus_publisher_close(&c->publishers[i]);
	bus_close(&c->bus);
	xfree(&c->publishers);
	pthread_mutex_destroy(&c->lock);
	xfree(cp);
}

struct bus *control_take(struct control *c)
{
	pthread_mutex_lock(&c->lock);
	return c->bus;
}

void control_give(struct control *c)
{
	pthread_mutex_unlock(&c->lock);
}

static int publish(struct control *c, const struct gateway_chain *chain, const struct frame *frames, size_t n, struct error *err)
{
	struct bus_publisher **publisher = &c->publishers[chain->index];
	pthread_mutex_lock(&c->lock);
	int code = *publisher ? 0 : bus_publisher_open(c->bus, chain->chain.name, TOPIC_CONTROL, c->producer, publisher, err);
	if (!code)
		code = bus_publish(*publisher, frames, n, err);
	/* A publisher that lost its place (Redis flushed, fenced) begins anew: a command sent twice does no harm. */
	if (code == WEIR_FENCED || code == WEIR_GAP) {
		bus_publisher_close(publisher);
		code = bus_publisher_open(c->bus, chain->chain.name, TOPIC_CONTROL, c->producer, publisher, err);
		if (!code)
			code = bus_publish(*publisher, frames, n, err);
	}
	pthread_mutex_unlock(&c->lock);
	return code;
}

/* Packs a command into a frame whose body the caller frees. */
static void frame_command(const struct gateway_chain *chain, const char *issuer, Weir__V1__Command *command, char ret_id[33], struct frame *ret)
{
	union { /* protobuf-c's structs are not const-correct */
		const char *in;
		char *out;
	} name = { .in = chain->chain.name }, who = { .in = issuer };
	uint8_t id[16];
	char text[35];
	for (int i = 0; i < 2; i++) {
		uint64_t r = random_u64();
		memcpy(id + 8 * i, &r, 8);
	}
	hex_from_bytes(id, sizeof id, text);
	snprintf(ret_id, 33, "%s", text + 2);
	command->chain = name.out;
	command->issuer = who.out;
	command->issued_at_unix_ms = (uint64_t)clock_wall_ms();
	command->id = ret_id;
	size_t size = weir__v1__command__get_packed_size(command);
	uint8_t *body = xmalloc(size ? size : 1);
	weir__v1__command__pack(command, body);
	*ret = (struct frame){ .type = MESSAGE_COMMAND, .schema_version = 1, .created_unix_ms = command->issued_at_unix_ms, .body = { body, size } };
	memcpy(ret->event_id, id, sizeof id);
}

static void free_body(struct frame *frame)
{
	union {
		const uint8_t *in;
		uint8_t *out;
	} body = { .in = frame->body.data };
	free(body.out);
}

int control_send(struct control *c, const struct gateway_chain *chain, const char *issuer, Weir__V1__Command *command, char ret_id[33],
		 struct error *err)
{
	struct frame frame;
	frame_command(chain, issuer, command, ret_id, &frame);
	int code = publish(c, chain, &frame, 1, err);
	free_body(&frame);
	return code;
}

int control_observe(struct control *c, const struct gateway_chain *chain, const struct control_observe *questions, size_t n, struct error *err)
{
	struct frame *frames = xcalloc(n ? n : 1, sizeof *frames);
	for (size_t i = 0; i < n; i++) {
		Weir__V1__Command command;
		Weir__V1__Observe observe;
		char id[33], asset[ASSET_TEXT_MAX];
		uint8_t account[32];
		weir__v1__command__init(&command);
		weir__v1__observe__init(&observe);
		memcpy(account, questions[i].account.data, questions[i].account.size);
		snprintf(asset, sizeof asset, "%s", questions[i].asset);
		observe.account = (ProtobufCBinaryData){ questions[i].account.size, account };
		observe.asset = asset;
		observe.height = (uint64_t)questions[i].height;
		command.command_case = WEIR__V1__COMMAND__COMMAND_OBSERVE;
		command.observe = &observe;
		frame_command(chain, "gateway", &command, id, &frames[i]);
	}
	int code = n > 0 ? publish(c, chain, frames, n, err) : 0;
	for (size_t i = 0; i < n; i++)
		free_body(&frames[i]);
	free(frames);
	return code;
}
