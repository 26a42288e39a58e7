/* histogram.h - a log-linear histogram of nanoseconds, as HdrHistogram has it: 128 steps within each power of two, so that any percentile
 * is right within 0.8 %, however long the tail, and recording is an addition.
 */
#ifndef TESTS_BENCH_HISTOGRAM_H
#define TESTS_BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BITS 7
#define HISTOGRAM_STEPS (1u << HISTOGRAM_BITS)

struct histogram {
	uint64_t counts[(64 - HISTOGRAM_BITS + 1) * HISTOGRAM_STEPS];
	uint64_t total, largest;
};

static inline unsigned histogram_index(uint64_t value)
{
	if (value < HISTOGRAM_STEPS)
		return (unsigned)value;
	unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_BITS;
	return (shift + 1) * HISTOGRAM_STEPS + (unsigned)(value >> shift) - HISTOGRAM_STEPS;
}

/* The largest value that counts at this index. */
static inline uint64_t histogram_value(unsigned index)
{
	if (index < HISTOGRAM_STEPS)
		return index;
	unsigned shift = index / HISTOGRAM_STEPS - 1;
	return ((uint64_t)(index % HISTOGRAM_STEPS + HISTOGRAM_STEPS + 1) << shift) - 1;
}

static inline void histogram_add(struct histogram *h, int64_t value)
{
	uint64_t v = value > 0 ? (uint64_t)value : 0;
	h->counts[histogram_index(v)]++;
	h->total++;
	if (v > h->largest)
		h->largest = v;
}

/* share: 0.99 for P99. */
static inline uint64_t histogram_at(const struct histogram *h, double share)
{
	uint64_t wanted = (uint64_t)((double)h->total * share + 0.5), seen = 0;
	for (unsigned i = 0; i < sizeof h->counts / sizeof h->counts[0]; i++) {
		seen += h->counts[i];
		if (seen >= wanted && seen > 0)
			return histogram_value(i) < h->largest ? histogram_value(i) : h->largest;
	}
	return h->largest;
}

#endif
