/* control.h - a connection to the bus for whoever has something to say or ask there now and then. Thread-safe: callers take turns. gateway->control is for commands, the record
 * and what is kept between requests; gateway->letter_control for dead letters. */
#ifndef WEIR_GATEWAY_CONTROL_H
#define WEIR_GATEWAY_CONTROL_H

#include "gateway.h"
#include "write/present.h"

#include "bus/bus.h"
#include "weir/v1/control.pb-c.h"

struct control;
int control_open(const struct gateway *, struct control **ret, struct error *);
void control_close(struct control **);

struct control_observe {
	struct bytes account;
	char asset[ASSET_TEXT_MAX];
	int64_t height;
};
int control_observe(struct control *, const struct gateway_chain *, const struct control_observe *, size_t n, struct error *);
/* Publishes the command; fills in chain, issuer, time and id. ret_id: 33 bytes, its id in hex. */
int control_send(struct control *, const struct gateway_chain *, const char *issuer, Weir__V1__Command *, char ret_id[33], struct error *);

/* The bus for one turn: nobody else uses it until control_give. */
struct bus *control_take(struct control *);
void control_give(struct control *);

#endif
