/* deliver_shared.c - a round of the shared lane: a batch to its handlers, settled in one atomic step. */
#include "bus/handler/deliver.h"

#include "base/clock.h"

static void settle(struct bus_subscription *s, const struct bus_message *m)
{
	struct attempt a = { .message = m, .failures = m->attempts };
	enum verdict v = deliver(s, &a);
	switch (v) {
	case VERDICT_DONE:
		bus_step_settle(s->step, m, BUS_DONE, NULL);
		break;
	case VERDICT_RETRY:
		bus_step_retry(s->step, m, a.due_ms, &a.why);
		break;
	case VERDICT_LATER:
		bus_step_settle(s->step, m, BUS_DEPENDENCY_DOWN, &a.why);
		break;
	case VERDICT_PARK:
		bus_step_settle(s->step, m, BUS_REJECT, &a.why);
		break;
	}
	deliver_note(s, m, v, &a.why);
}

/* Until it went through: what was handled must not be handled again because Redis was away for a moment. */
static int commit(struct bus_subscription *s, struct error *err)
{
	int r;
	do
		r = bus_step_commit(&s->step, err);
	while (r != 0 && error_retriable(r) && r != WEIR_CANCELED && !s->stopping);
	bus_step_abort(&s->step);
	return r;
}

int shared_turn(struct bus_subscription *s, int64_t timeout_ms, struct error *err)
{
	struct bus_message *m;
	size_t n;
	int64_t now = clock_mono_ms(), blocked = deliver_blocked_until(s, now);
	if (s->paused || blocked > now || s->draining) {
		clock_sleep_ms(blocked > now && blocked - now < timeout_ms ? blocked - now : timeout_ms);
		return 0;
	}
	bool trial = deliver_blocked_until(s, INT64_MIN) > 0; /* half-open: one is enough */
	int r = bus_worker_read(s->worker, trial ? 1 : s->options.batch, timeout_ms, &m, &n, err);
	if (r != 0 || n == 0)
		return r;
	s->step = bus_step_begin(s->worker);
	s->now_ns = clock_mono_ns();
	for (size_t i = 0; i < n; i++)
		settle(s, &m[i]);
	return commit(s, err);
}
