/* records.c - plain records: the transport's to write. */
#include "bus/lane/records.h"

int bus_records_open(struct bus *bus, const char *topic, struct bus_records **ret, struct error *err)
{
	if (!bus->transport || !bus->transport->records_write)
		return error_set(err, WEIR_UNSUPPORTED, "plain records are written to Kafka only: kafka://host:port,… or kafkas://…");
	if (bus->address.transactions)
		return error_set(err, WEIR_CONFIG, "kafka://: plain records are sent without transactions: leave transactions=yes out of the URL");
	struct bus_records *w = xmalloc(sizeof *w);
	w->bus = bus;
	w->topic = xstrdup(topic);
	*ret = w;
	return 0;
}

void bus_records_close(struct bus_records **wp)
{
	struct bus_records *w = *wp;
	if (!w)
		return;
	bus_records_drop(w);
	free(w->topic);
	xfree(wp);
}

int bus_records_write(struct bus_records *w, const struct bus_record *records, size_t n, struct error *err)
{
	return w->bus->transport->records_write(w, records, n, err);
}

int bus_records_newest(struct bus_records *w, bus_record_fn *fn, void *arg, struct error *err)
{
	return w->bus->transport->records_newest(w, fn, arg, err);
}

void bus_records_drop(struct bus_records *w)
{
	w->bus->transport->records_drop(w);
}
