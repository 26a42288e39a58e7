/* export_record.h - pushes of TOPIC_OF_LEDGER as records of Kafka: what stands in key and value. Documented in asyncapi.json (channel kafka).
 *
 * key    the account of an entry, as the API writes it; of all else the chain's name
 * value  {"epoch":…,"sequence":…,"index":…,"offset":"…","event":{…}}: epoch, sequence and index, compared in this order, only grow within a partition, but for
 *        repetitions; the offset is that of the same push to a WebSocket, the event its very text
 */
#ifndef WEIR_GATEWAY_EXPORT_RECORD_H
#define WEIR_GATEWAY_EXPORT_RECORD_H

#include "live/replay.h"

#include "bus/records.h"

struct export_batch {
	struct buf text;             /* keys and values, one behind the other */
	struct bus_record *records;  /* owned; they point into text */
	size_t count;
};
/* All of a piece. WEIR_LIMIT: larger than a batch may be. */
int export_batch_make(const struct chain *, int64_t epoch, const struct push *, size_t n, struct export_batch *ret, struct error *);
void export_batch_free(struct export_batch *);

/* Where a record stands among those that were sent. */
struct export_place {
	int64_t epoch, index;
	uint64_t sequence;
	char offset[OFFSET_TEXT_MAX];
};
bool export_place_read(struct bytes value, struct export_place *ret); /* false: no record of ours */
bool export_place_above(const struct export_place *, const struct export_place *);

#endif
