/* daemon.c - the shape of every process: arguments, settings, signals, listener, run, drain, exit status. */
#include "daemon/internal.h"

#include "base/clock.h"
#include "base/version.h"
#include "bus/bus.h"
#include "net/rpc.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* -- context -------------------------------------------------------------------------------------------------------------- */

static void start_spans(struct daemon_ctx *ctx)
{
	if (!ctx->config)
		return;
	char host[64] = "?";
	gethostname(host, sizeof host - 1);
	snprintf(ctx->service_name, sizeof ctx->service_name, "%s-%s", ctx->config->otel.service_name, ctx->name);
	snprintf(ctx->instance, sizeof ctx->instance, "%s:%ld", host, (long)getpid());
	ctx->otel = otel_start(&(struct otel_options){ .endpoint = ctx->config->otel.endpoint,
						       .service_name = ctx->service_name,
						       .instance = ctx->instance,
						       .log = &ctx->log,
						       .metrics = ctx->metrics });
}

struct daemon_ctx *daemon_ctx_new(const char *name, const struct config *config, const struct metric_def *defs, size_t n)
{
	struct daemon_ctx *ctx = xmalloc(sizeof *ctx);
	ctx->name = name;
	ctx->config = config;
	ctx->log.process = name;
	ctx->metrics = metrics_new();
	ctx->started_wall_ms = clock_wall_ms();
	metrics_register(ctx->metrics, process_metric_defs, process_metric_count);
	metrics_register(ctx->metrics, otel_metric_defs, otel_metric_count);
	metrics_register(ctx->metrics, defs, n);
	pthread_mutex_init(&ctx->lock, NULL);
	if (pipe2(ctx->stop_fd, O_CLOEXEC | O_NONBLOCK) != 0)
		ctx->stop_fd[0] = ctx->stop_fd[1] = -1;
	daemon_tick(ctx);
	alerts_start(ctx);
	start_spans(ctx);
	return ctx;
}

void daemon_ctx_free(struct daemon_ctx **ctx)
{
	if (!*ctx)
		return;
	ops_stop(*ctx);
	alerts_stop(*ctx);
	otel_stop(&(*ctx)->otel);
	metrics_free(&(*ctx)->metrics);
	pthread_mutex_destroy(&(*ctx)->lock);
	for (size_t i = 0; i < 2; i++)
		if ((*ctx)->stop_fd[i] >= 0)
			close((*ctx)->stop_fd[i]);
	config_free(&(*ctx)->owned_config);
	xfree(ctx);
}

const struct config *daemon_config(const struct daemon_ctx *ctx)
{
	return ctx->config;
}

const struct log *daemon_log(const struct daemon_ctx *ctx)
{
	return &ctx->log;
}

struct metrics *daemon_metrics(const struct daemon_ctx *ctx)
{
	return ctx->metrics;
}

const struct span_sink *daemon_spans(const struct daemon_ctx *ctx)
{
	return otel_sink(ctx->otel);
}

bool daemon_stopping(const struct daemon_ctx *ctx)
{
	return atomic_load(&ctx->stopping);
}

void daemon_request_stop(struct daemon_ctx *ctx)
{
	if (!atomic_exchange(&ctx->stopping, true) && write(ctx->stop_fd[1], "", 1) < 0)
		return; /* the flag is set; pollers see it at their next time-out */
}

bool daemon_only_checks(const struct daemon_ctx *ctx)
{
	return ctx->only_checks;
}

int daemon_stop_fd(const struct daemon_ctx *ctx)
{
	return ctx->stop_fd[0];
}

void daemon_tick(struct daemon_ctx *ctx)
{
	atomic_store(&ctx->ticked_ms, clock_mono_ms());
}

void daemon_check_set(struct daemon_ctx *ctx, const char *name, bool ok, const char *reason)
{
	pthread_mutex_lock(&ctx->lock);
	struct check *c = NULL;
	for (size_t i = 0; i < ctx->check_count && !c; i++)
		if (strcmp(ctx->checks[i].name, name) == 0)
			c = &ctx->checks[i];
	if (!c && ctx->check_count < CHECKS_MAX) {
		c = &ctx->checks[ctx->check_count++];
		snprintf(c->name, sizeof c->name, "%s", name);
	}
	if (c) {
		c->ok = ok;
		snprintf(c->reason, sizeof c->reason, "%s", reason ? reason : "");
	}
	pthread_mutex_unlock(&ctx->lock);
}

/* -- signals -------------------------------------------------------------------------------------------------------------- */

/* Signals are taken by a thread of their own with sigwait, so that a handler's limits don't matter and no call is interrupted. */
struct watcher {
	struct daemon_ctx *ctx;
	pthread_t thread;
	atomic_bool finished;
};

static int wait_signal(const sigset_t *set, int64_t timeout_ms)
{
	struct timespec t = { .tv_sec = (time_t)(timeout_ms / 1000), .tv_nsec = (long)(timeout_ms % 1000) * 1000000 };
	return sigtimedwait(set, NULL, &t);
}

static void *watch(void *arg)
{
	struct watcher *w = arg;
	struct daemon_ctx *ctx = w->ctx;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	while (!atomic_load(&w->finished) && !daemon_stopping(ctx)) {
		int number = wait_signal(&set, 200);
		if (number > 0) {
			log_info(&ctx->log, "stopping", "finishing what is in hand", LOG_S("signal", number == SIGTERM ? "SIGTERM" : "SIGINT"));
			daemon_request_stop(ctx);
		}
	}
	int64_t deadline = clock_mono_ms() + ctx->config->shutdown_timeout_ms;
	while (!atomic_load(&w->finished)) {
		if (wait_signal(&set, 100) > 0) {
			log_warn(&ctx->log, "stopped_at_once", "second signal: ending without draining");
			_exit(128 + SIGTERM);
		}
		if (clock_mono_ms() >= deadline) {
			struct error err;
			error_set(&err, WEIR_STUCK, "drain did not finish within shutdown_timeout (%lld ms)",
				  (long long)ctx->config->shutdown_timeout_ms);
			log_error(&ctx->log, "drain_stuck", NULL, LOG_ERR(&err));
			_exit(error_exit_status(WEIR_STUCK));
		}
	}
	return NULL;
}

static void block_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL); /* inherited by every thread; the watcher takes them */
	signal(SIGPIPE, SIG_IGN);
}

/* -- arguments ------------------------------------------------------------------------------------------------------------ */

struct arguments {
	const char *config;
	bool check_only, migrate, health;
};

static void print_and_free(struct buf *out)
{
	fwrite(buf_str(out), 1, out->size, stdout);
	buf_free(out);
}

static void usage(const struct daemon *d, FILE *out)
{
	fprintf(out,
		"weir-%s: %s\n\n"
		"usage: weir-%s [--config FILE]\n"
		"  --config FILE           settings (also WEIR_CONFIG); environment variables override them\n"
		"  --check                 read the settings, reach every dependency once, say what is wrong, change nothing, exit\n"
		"%s"
		"  --health                ask the running program's operations listener, say what it answers, exit: 0 it is well, 1 it is not\n"
		"  --print-sample-config   every setting with its default\n"
		"  --print-settings-md, --print-metrics-md, --print-errors-md   tables of the manual\n"
		"  --version, --help\n"
		"Exit status: 0 after a clean stop; else as docs/errors.md lists.\n",
		d->name, d->summary, d->name,
		d->migrate ? "  --migrate               read the settings, bring the database's schema up to date, reach nothing else, exit\n" : "");
}

static void print_metrics_table(const struct daemon *d)
{
	struct buf out = BUF_INIT(4u << 20);
	metrics_print_markdown(process_metric_defs, process_metric_count, &out);
	metrics_print_markdown(otel_metric_defs, otel_metric_count, &out);
	metrics_print_markdown(d->metrics, d->metric_count, &out);
	metrics_print_markdown(bus_metric_defs, bus_metric_count, &out);
	if (d->asks_nodes)
		metrics_print_markdown(rpc_metric_defs, rpc_metric_count, &out);
	print_and_free(&out);
}

/* -1: go on; else the exit status. */
static int parse_arguments(const struct daemon *d, int argc, char **argv, struct arguments *ret)
{
	enum { CONFIG = 1, CHECK, MIGRATE, HEALTH, SAMPLE, SETTINGS, METRICS, ERRORS, VERSION, HELP };
	static const struct option options[] = {
		{ "config", required_argument, NULL, CONFIG },     { "check", no_argument, NULL, CHECK },
		{ "health", no_argument, NULL, HEALTH },           { "print-sample-config", no_argument, NULL, SAMPLE },
		{ "print-settings-md", no_argument, NULL, SETTINGS }, { "print-metrics-md", no_argument, NULL, METRICS },
		{ "print-errors-md", no_argument, NULL, ERRORS },  { "version", no_argument, NULL, VERSION },
		{ "help", no_argument, NULL, HELP },               { "migrate", no_argument, NULL, MIGRATE },
		{ NULL, 0, NULL, 0 },
	};
	ret->config = getenv("WEIR_CONFIG");
	for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		struct buf out = BUF_INIT(4u << 20);
		switch (option) {
		case CONFIG:
			ret->config = optarg;
			break;
		case CHECK:
			ret->check_only = true;
			break;
		case MIGRATE:
			if (!d->migrate) {
				fprintf(stderr, "weir-%s: it has no tables: weir-reconciler --migrate brings the schema up to date\n", d->name);
				return error_exit_status(WEIR_USAGE);
			}
			ret->migrate = true;
			break;
		case HEALTH:
			ret->health = true;
			break;
		case SAMPLE:
			config_print_sample(&out);
			print_and_free(&out);
			return 0;
		case SETTINGS:
			config_print_markdown(&out);
			print_and_free(&out);
			return 0;
		case METRICS:
			print_metrics_table(d);
			return 0;
		case ERRORS:
			error_print_markdown(&out);
			print_and_free(&out);
			return 0;
		case VERSION:
			printf("weir-%s %s\n", d->name, weir_version);
			return 0;
		case HELP:
			usage(d, stdout);
			return 0;
		default:
			usage(d, stderr);
			return error_exit_status(WEIR_USAGE);
		}
	}
	if (optind < argc) {
		fprintf(stderr, "weir-%s: \"%s\" is not understood\n", d->name, argv[optind]);
		usage(d, stderr);
		return error_exit_status(WEIR_USAGE);
	}
	return -1;
}

/* -- main ----------------------------------------------------------------------------------------------------------------- */

static const char *ops_address(const struct config *config, const char *name)
{
	const struct {
		const char *name, *address;
	} rows[] = { { "fetcher", config->ops_listen.fetcher },
		     { "normalizer", config->ops_listen.normalizer },
		     { "reconciler", config->ops_listen.reconciler },
		     { "gateway", config->ops_listen.gateway } };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (strcmp(rows[i].name, name) == 0)
			return rows[i].address;
	return "127.0.0.1:0";
}

static int serve(const struct daemon *d, struct daemon_ctx *ctx, const struct arguments *arguments, struct error *err)
{
	if (arguments->migrate)
		return d->migrate(ctx, err);
	int r = ops_start(ctx, arguments->check_only ? "127.0.0.1:0" : ops_address(ctx->config, d->name), err);
	if (r != 0)
		return r;
	void *state = xmalloc(d->state_size);
	r = d->init(ctx, state, err);
	if (r == 0 && arguments->check_only) {
		r = d->check ? d->check(ctx, state, err) : 0;
		if (r == 0)
			log_info(&ctx->log, "check_passed", "settings are valid and every dependency answered");
	} else if (r == 0) {
		atomic_store(&ctx->ready, true);
		log_info(&ctx->log, "started", NULL, LOG_S("version", weir_version));
		r = d->run(ctx, state, err);
	}
	d->deinit(ctx, state);
	free(state);
	return r == WEIR_CANCELED ? 0 : r;
}

/* Settings that cannot be read are a reason like others: an engine knows 0 and 1, and the program itself would not start with them, either. */
static int tell_health(const struct daemon *d, const char *path)
{
	struct error err = { 0 };
	struct config *config;
	struct buf said = BUF_INIT(16384);
	int status = 1;
	if (config_load(path, &config, &err) != 0) {
		buf_printf(&said, "weir-%s: %s\n", d->name, err.text);
	} else {
		curl_global_init(CURL_GLOBAL_DEFAULT);
		status = health_ask(d->name, ops_address(config, d->name), &said);
		curl_global_cleanup();
		config_free(&config);
	}
	print_and_free(&said);
	return status;
}

int daemon_main(const struct daemon *d, int argc, char **argv)
{
	struct arguments arguments = { 0 };
	int status = parse_arguments(d, argc, argv, &arguments);
	if (status >= 0)
		return status;
	if (arguments.health)
		return tell_health(d, arguments.config);

	block_signals();
	log_init(LOG_INFO, LOG_FORMAT_LOGFMT);
	struct log log = { .process = d->name };
	struct error err = { 0 };
	struct config *config;
	if (config_load(arguments.config, &config, &err) != 0) {
		log_error(&log, "bad_configuration", NULL, LOG_ERR(&err), LOG_I("exit_status", error_exit_status(err.code)));
		return error_exit_status(err.code);
	}
	log_init(config->log.level, config->log.format);
	curl_global_init(CURL_GLOBAL_DEFAULT);

	struct daemon_ctx *ctx = daemon_ctx_new(d->name, config, d->metrics, d->metric_count);
	ctx->owned_config = config;
	ctx->only_checks = arguments.check_only;
	struct watcher watcher = { .ctx = ctx };
	int r;
	if (pthread_create(&watcher.thread, NULL, watch, &watcher) != 0) {
		r = error_set(&err, WEIR_INTERNAL, "the thread that takes signals did not start");
	} else {
		r = serve(d, ctx, &arguments, &err);
		atomic_store(&watcher.finished, true);
		pthread_join(watcher.thread, NULL);
	}
	if (r != 0 && err.code != r) /* whoever failed had no words */
		error_set(&err, r, "%s", error_title(r));

	status = r == 0 ? 0 : error_exit_status(r);
	if (r != 0)
		log_error(&ctx->log, "failed", NULL, LOG_ERR(&err), LOG_I("exit_status", status));
	else
		log_info(&ctx->log, "stopped", "drained and stopped");
	daemon_ctx_free(&ctx);
	curl_global_cleanup();
	return status;
}
