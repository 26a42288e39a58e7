/* mailbox.c - bounded queues between the writer and the checker of a chain. */
#include "mailbox.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define QUESTIONS_MAX 1024

struct mailbox {
	pthread_mutex_t lock;
	int fd;
	struct ledger_touch *touches; /* ring */
	size_t touch_size, touch_first, touch_count;
	struct mail_question *questions; /* ring */
	size_t question_first, question_count;
	struct told_opening openings[OPENINGS_TOLD_MAX];
	size_t opening_count;
	struct mail_view view;
	struct mail_heal heal;
	uint64_t journal;
};

struct mailbox *mailbox_new(size_t queue_size)
{
	struct mailbox *box = xmalloc(sizeof *box);
	pthread_mutex_init(&box->lock, NULL);
	box->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	box->touch_size = queue_size > 0 ? queue_size : 1;
	box->touches = xcalloc(box->touch_size, sizeof *box->touches);
	box->questions = xcalloc(QUESTIONS_MAX, sizeof *box->questions);
	box->heal.height = -1;
	box->view.watermark = box->view.head = -1;
	return box;
}

void mailbox_free(struct mailbox **boxp)
{
	struct mailbox *box = *boxp;
	if (!box)
		return;
	if (box->fd >= 0)
		close(box->fd);
	pthread_mutex_destroy(&box->lock);
	xfree(&box->touches);
	xfree(&box->questions);
	xfree(boxp);
}

int mailbox_fd(const struct mailbox *box)
{
	return box->fd;
}

static void ring(struct mailbox *box)
{
	const uint64_t one = 1;
	ssize_t n = write(box->fd, &one, sizeof one);
	(void)n; /* a full counter is readable already */
}

void mailbox_wait_clear(struct mailbox *box)
{
	uint64_t v;
	ssize_t n = read(box->fd, &v, sizeof v);
	(void)n; /* nothing there is fine */
}

size_t mailbox_put_touches(struct mailbox *box, const struct ledger_touch *touches, size_t n)
{
	size_t put = 0;
	pthread_mutex_lock(&box->lock);
	for (; put < n && box->touch_count < box->touch_size; put++, box->touch_count++)
		box->touches[(box->touch_first + box->touch_count) % box->touch_size] = touches[put];
	pthread_mutex_unlock(&box->lock);
	if (put > 0)
		ring(box);
	return put;
}

bool mailbox_take_touch(struct mailbox *box, struct ledger_touch *ret)
{
	pthread_mutex_lock(&box->lock);
	bool some = box->touch_count > 0;
	if (some) {
		*ret = box->touches[box->touch_first];
		box->touch_first = (box->touch_first + 1) % box->touch_size;
		box->touch_count--;
	}
	pthread_mutex_unlock(&box->lock);
	return some;
}

size_t mailbox_touches(struct mailbox *box)
{
	pthread_mutex_lock(&box->lock);
	size_t n = box->touch_count;
	pthread_mutex_unlock(&box->lock);
	return n;
}

bool mailbox_put_question(struct mailbox *box, const struct mail_question *question)
{
	pthread_mutex_lock(&box->lock);
	bool fits = box->question_count < QUESTIONS_MAX;
	if (fits)
		box->questions[(box->question_first + box->question_count++) % QUESTIONS_MAX] = *question;
	pthread_mutex_unlock(&box->lock);
	if (fits)
		ring(box);
	return fits;
}

bool mailbox_take_question(struct mailbox *box, struct mail_question *ret)
{
	pthread_mutex_lock(&box->lock);
	bool some = box->question_count > 0;
	if (some) {
		*ret = box->questions[box->question_first];
		box->question_first = (box->question_first + 1) % QUESTIONS_MAX;
		box->question_count--;
	}
	pthread_mutex_unlock(&box->lock);
	return some;
}

void mailbox_set_view(struct mailbox *box, const struct mail_view *view)
{
	pthread_mutex_lock(&box->lock);
	box->view = *view;
	pthread_mutex_unlock(&box->lock);
}

void mailbox_view(struct mailbox *box, struct mail_view *ret)
{
	pthread_mutex_lock(&box->lock);
	*ret = box->view;
	pthread_mutex_unlock(&box->lock);
}

void mailbox_note_journal(struct mailbox *box, uint64_t sequence)
{
	pthread_mutex_lock(&box->lock);
	if (sequence > box->journal)
		box->journal = sequence;
	pthread_mutex_unlock(&box->lock);
}

uint64_t mailbox_journal(struct mailbox *box)
{
	pthread_mutex_lock(&box->lock);
	uint64_t sequence = box->journal;
	pthread_mutex_unlock(&box->lock);
	return sequence;
}

size_t mailbox_tell_openings(struct mailbox *box, const struct told_opening *told, size_t n)
{
	size_t put = 0;
	pthread_mutex_lock(&box->lock);
	for (; put < n && box->opening_count < OPENINGS_TOLD_MAX; put++)
		box->openings[box->opening_count++] = told[put];
	pthread_mutex_unlock(&box->lock);
	return put;
}

size_t mailbox_take_openings(struct mailbox *box, struct told_opening ret[OPENINGS_TOLD_MAX])
{
	pthread_mutex_lock(&box->lock);
	size_t n = box->opening_count;
	memcpy(ret, box->openings, n * sizeof *ret);
	box->opening_count = 0;
	pthread_mutex_unlock(&box->lock);
	return n;
}

void mailbox_want_heal(struct mailbox *box, int64_t height, const uint8_t hash[32])
{
	pthread_mutex_lock(&box->lock);
	box->heal.height = height;
	box->heal.state = HEAL_WANTED;
	memcpy(box->heal.hash, hash, 32);
	pthread_mutex_unlock(&box->lock);
}

void mailbox_heal(struct mailbox *box, struct mail_heal *ret)
{
	pthread_mutex_lock(&box->lock);
	*ret = box->heal;
	pthread_mutex_unlock(&box->lock);
}

void mailbox_heal_is(struct mailbox *box, int64_t height, int state)
{
	pthread_mutex_lock(&box->lock);
	if (box->heal.height == height)
		box->heal.state = (__typeof__(box->heal.state))state;
	pthread_mutex_unlock(&box->lock);
	ring(box);
}

void mailbox_heal_done(struct mailbox *box)
{
	pthread_mutex_lock(&box->lock);
	box->heal.height = -1;
	pthread_mutex_unlock(&box->lock);
}
