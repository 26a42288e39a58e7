/* kafka_security.c - TLS to brokers and the account there, from the bus' URL and options. Nothing here prints a password. */
#include "bus/kafka/kafka.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static const char *user_of(const struct bus *bus)
{
	return bus->username && *bus->username ? bus->username : bus->address.user;
}

static const char *password_of(const struct bus *bus)
{
	return bus->password && *bus->password ? bus->password : bus->address.password;
}

size_t kafka_security(const struct bus *bus, struct kafka_setting ret[KAFKA_SECURITY_MAX])
{
	const struct bus_address *a = &bus->address;
	bool account = *user_of(bus) != 0;
	const struct kafka_setting all[] = {
		{ "security.protocol", a->tls ? (account ? "sasl_ssl" : "ssl") : account ? "sasl_plaintext" : "" },
		{ "ssl.ca.location", a->ca },
		{ "ssl.certificate.location", a->cert },
		{ "ssl.key.location", a->key },
		{ "ssl.endpoint.identification.algorithm", a->tls ? "https" : "" }, /* the certificate is the host's */
		{ "sasl.mechanism", !account ? "" : *a->sasl ? a->sasl : "SCRAM-SHA-512" },
		{ "sasl.username", user_of(bus) },
		{ "sasl.password", account ? password_of(bus) : "" },
	};
	_Static_assert(sizeof all / sizeof all[0] <= KAFKA_SECURITY_MAX, "room for all");
	size_t n = 0;
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		if (*all[i].value)
			ret[n++] = all[i];
	return n;
}

static int readable(const struct kafka *k, const char *name, const char *path, struct error *err)
{
	if (!*path || access(path, R_OK) == 0)
		return 0;
	return error_set(err, WEIR_CONFIG, "Kafka %s: %s=%s cannot be read: %s. Correct the path, or let this account read the file", k->hosts, name, path,
			 strerror(errno));
}

int kafka_security_check(struct kafka *k, struct error *err)
{
	const struct bus_address *a = &k->bus->address;
	rd_kafka_t *client = NULL;
	if (!*user_of(k->bus) != !*password_of(k->bus))
		return error_set(err, WEIR_CONFIG, "Kafka %s: user name and password go together, and one of them is missing", k->hosts);
	if (*a->sasl && !*user_of(k->bus))
		return error_set(err, WEIR_CONFIG, "Kafka %s: sasl=%s without a user name", k->hosts, a->sasl);
	int r = readable(k, "ca", a->ca, err);
	if (r == 0)
		r = readable(k, "cert", a->cert, err);
	if (r == 0)
		r = readable(k, "key", a->key, err);
	if (r != 0 || (!a->tls && !*user_of(k->bus)))
		return r;
	r = kafka_client(k, RD_KAFKA_PRODUCER, NULL, 0, NULL, k, &client, err); /* reads the files and knows the mechanism, or says why not */
	if (r == 0)
		rdk.destroy(client);
	return r;
}
