# weir: build, test, run. Everything that a person or CI starts, starts here.
#
#   make demo            a real chain, real stores, all four services, live view; Ctrl-C stops  (DEMO_SECONDS=60, CHAIN=… RPC=…)
#   make check           installs what is missing, builds, runs every test, ends with "N passed, N failed"
#   make                 build services and tools into $(BUILD)/bin
#   make dashboard       the operators' dashboard into $(BUILD)/share/weir/dashboard, where weir-gateway finds it, and the TypeScript client beside it
#   make test-unit       unit tests only                   make fuzz      each fuzzer for FUZZ_SECONDS (60)
#   make lint            format, static analysis, protocol and API documents, generated documentation
#   make docs            print the generated references into docs/
#   make bench           speed, as ratios, JSON out        make bench-bus the bus alone, against raw Redis and other queues
#   make bench-gateway   the gateway, against raw system calls and other servers
#   make http-peers      the bytes of the HTTP/1 cases to other servers, for docs/http-conformance.md
#   make torture         the full proof figures (hours)
#   make coverage-bus    which lines of lib/bus its unit tests run
#   make mutants         each promise's mechanism removed in turn: its test must fail
#   make images          the four images, with docker, podman or buildah    make deb       a Debian package into $(BUILD)
#   make sbom            what is in them, as SPDX                make images-run  builds them from nothing and rehearses the chart in them
#   make newcomer        README's two commands on a fresh Debian 12 root file system
#   make install         DESTDIR= PREFIX=/usr/local        make clean
#   make bus-library     libweir-bus for others             make install-bus   make bus-examples
#
# Variables: VERSION=what the programs are called (tools/version) · V=1 shows commands · BUILD=dir · CC=gcc|clang · SANITIZER=address,undefined|thread · MUTANT=NAME · DEPS=dir
# Sources are found by folder; nothing needs registering. A folder is compiled with only the include paths that it may use.

CC        ?= gcc
ifeq ($(origin CC),default)
CC        := gcc
endif
ROOT      := $(CURDIR)
BUILD     ?= build
DEPS      ?= $(ROOT)/build/deps
DEPS_LIB  := $(DEPS)/lib/x86_64-linux-gnu
SANITIZER ?=
MUTANT    ?=
PREFIX    ?= /usr/local
FUZZ_SECONDS ?= 60
Q         := $(if $(V),,@)
say        = $(if $(V),@:,@printf '  %-7s %s\n' $(1) $(2))

.DEFAULT_GOAL := all
.SUFFIXES:
.DELETE_ON_ERROR:
.SECONDARY:

# ---- flags ------------------------------------------------------------------------------------------------------------------
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla -Wundef \
        -Wwrite-strings -Wcast-qual -Wpointer-arith -Werror \
        -Wno-gnu-zero-variadic-macro-arguments -Wno-gnu-statement-expression-from-macro-expansion \
        -Wno-overlength-strings -Wno-format-truncation
# ##__VA_ARGS__ in log macros is GNU C, which is our dialect, and so are the expressions in librdkafka's macros (clang 19); embedded SQL and Lua are longer than ISO C demands; texts of errors are
# cut on purpose (fixed size).
ifneq ($(findstring clang,$(CC)),)
WARN += -Wno-unknown-warning-option
endif
OPT  := -O2 -g
HARD := -fstack-protector-strong -D_FORTIFY_SOURCE=2
ifneq ($(SANITIZER),)
OPT  := -O1 -g -fno-omit-frame-pointer -fsanitize=$(SANITIZER)
HARD :=
endif
DEFS := -D_GNU_SOURCE $(if $(MUTANT),-DWEIR_MUTANT_$(MUTANT))
BASE_CFLAGS := -std=gnu17 $(OPT) $(HARD) -fPIE -fno-strict-aliasing -pthread $(DEFS) -MMD -MP
LDFLAGS_ALL := -pie -pthread -Wl,-z,relro,-z,now $(if $(SANITIZER),-fsanitize=$(SANITIZER)) $(LDFLAGS)
SYS := -isystem $(DEPS)/include -isystem /usr/include/postgresql

# ---- layers and what each may include -----------------------------------------------------------------------------------------
LAYERS   := base wire bus net store chains daemon
SERVICES := fetcher normalizer reconciler gateway
FARM     := $(BUILD)/inc
GEN      := $(BUILD)/gen
inc       = $(foreach l,$(1),-I$(FARM)/$(l))
INC_base     := $(call inc,base)
INC_wire     := $(call inc,base wire proto) -isystem $(GEN)
INC_bus      := $(call inc,base wire bus proto) -isystem $(GEN)
INC_net      := $(call inc,base wire net)
INC_store    := $(call inc,base wire store)
INC_chains   := $(call inc,base wire net chains proto) -isystem $(GEN)
INC_daemon   := $(call inc,base wire bus net store daemon proto) -isystem $(GEN)
INC_service  := $(call inc,$(LAYERS) proto) -isystem $(GEN)
# A service may have sub-folders, whose headers it names from its own folder; tests and tools reach all services.
INC_all      := $(INC_service) -I$(FARM)/services -I$(FARM)/tests $(foreach s,$(SERVICES),-Iservices/$(s))

FARM_STAMP := $(FARM)/.stamp
$(FARM_STAMP):
	$(Q)mkdir -p $(FARM)/proto $(FARM)/services/services $(FARM)/tests
	$(Q)for l in $(LAYERS); do mkdir -p $(FARM)/$$l && ln -sfn $(ROOT)/lib/$$l $(FARM)/$$l/$$l; done
	$(Q)mkdir -p $(FARM)/proto/weir && ln -sfn $(ROOT)/proto/weir/streams.h $(FARM)/proto/weir/streams.h
	$(Q)for s in $(SERVICES); do ln -sfn $(ROOT)/services/$$s $(FARM)/services/services/$$s; done
	$(Q)ln -sfn $(ROOT)/tests/support $(FARM)/tests/support
	$(Q)touch $@

# ---- generated protobuf code ----------------------------------------------------------------------------------------------------
PROTOS   := $(sort $(wildcard proto/weir/v1/*.proto))
PROTO_C  := $(PROTOS:proto/%.proto=$(GEN)/%.pb-c.c)
PROTO_O  := $(PROTO_C:.c=.o)
GEN_STAMP := $(GEN)/.stamp
$(GEN_STAMP): $(PROTOS)
	$(call say,PROTO,proto/weir/v1)
	$(Q)mkdir -p $(GEN) && protoc-c --c_out=$(GEN) -Iproto $(PROTOS) && touch $@
$(PROTO_C): $(GEN_STAMP) ;
$(GEN)/%.o: $(GEN)/%.c $(GEN_STAMP)
	$(call say,CC,$<)
	$(Q)$(CC) $(BASE_CFLAGS) -w -I$(GEN) -c $< -o $@
$(BUILD)/lib/libproto.a: $(PROTO_O)
	$(Q)mkdir -p $(@D) && rm -f $@ && ar rcs $@ $^

# ---- objects --------------------------------------------------------------------------------------------------------------------
# $(call objects,folder,include flags): every .c below the folder
find_c = $(sort $(shell find $(1) -name '*.c' 2>/dev/null))
define compile_rule
$(BUILD)/obj/$(1)/%.o: $(1)/%.c $(FARM_STAMP) $(GEN_STAMP)
	$$(call say,CC,$$<)
	$$(Q)mkdir -p $$(@D) && $(CC) $(BASE_CFLAGS) $(WARN) $(2) $(SYS) $$(CFLAGS) -c $$< -o $$@
endef
$(foreach l,$(LAYERS),$(eval $(call compile_rule,lib/$(l),$(INC_$(l)))))
$(foreach s,$(SERVICES),$(eval $(call compile_rule,services/$(s),$(INC_service) -Iservices/$(s) -I$(GEN)/services/$(s))))
$(eval $(call compile_rule,tools,$(INC_all)))
$(eval $(call compile_rule,tests,$(INC_all)))

define lib_rule
OBJ_$(1) := $$(patsubst %.c,$(BUILD)/obj/%.o,$$(call find_c,lib/$(1)))
$(BUILD)/lib/lib$(1).a: $$(OBJ_$(1))
	$$(Q)mkdir -p $$(@D) && rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach l,$(LAYERS),$(eval $(call lib_rule,$(l))))

$(BUILD)/obj/lib/bus/redis/script.o $(BUILD)/obj/lib/bus/memory/memory_engine.o: $(wildcard lib/bus/*/*.lua)
$(BUILD)/obj/services/gateway/api/openapi.o: $(wildcard services/gateway/api/*.json)

# What programs say that they are: the commit (tools/version). Apart from the library, so that a new commit links programs anew and no tests.
ifneq ($(origin VERSION),command line)
VERSION   := $(shell tools/version)
endif
VERSION_O := $(BUILD)/obj/version.o
$(BUILD)/version: always
	$(Q)mkdir -p $(@D) && echo '$(VERSION)' | cmp -s - $@ || echo '$(VERSION)' >$@
$(VERSION_O): lib/base/version.c $(BUILD)/version $(FARM_STAMP)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(BASE_CFLAGS) $(WARN) $(INC_base) -DWEIR_BUILD_VERSION='"$(VERSION)"' $(CFLAGS) -c $< -o $@
.PHONY: always

# A service is a library plus a thin main.c, so that tests link the service itself. Embedded files: services/<s>/rules.mk may add
# generated sources to GENERATED_<s>.
-include $(wildcard services/*/rules.mk)
include lib/bus/package.mk
define service_rule
OBJ_$(1) := $$(patsubst %.c,$(BUILD)/obj/%.o,$$(filter-out services/$(1)/main.c,$$(call find_c,services/$(1)))) $$(GENERATED_$(1))
$(BUILD)/lib/lib$(1).a: $$(OBJ_$(1))
	$$(Q)mkdir -p $$(@D) && rm -f $$@ && ar rcs $$@ $$^
$(BUILD)/bin/weir-$(1): $(BUILD)/obj/services/$(1)/main.o $(VERSION_O) $(BUILD)/lib/lib$(1).a $(LIBS)
	$$(call say,LINK,$$@)
	$$(Q)mkdir -p $$(@D) && $(CC) $(LDFLAGS_ALL) -o $$@ $(BUILD)/obj/services/$(1)/main.o $(VERSION_O) $(BUILD)/lib/lib$(1).a $(LINK)
endef
LIBS := $(foreach l,$(LAYERS),$(BUILD)/lib/lib$(l).a) $(BUILD)/lib/libproto.a
SYSLIBS := $(DEPS_LIB)/libhiredis_ssl.a $(DEPS_LIB)/libhiredis.a -L$(DEPS_LIB) -lyyjson -Wl,-rpath,$(DEPS_LIB) \
           -lprotobuf-c -lcurl -lpq -lmicrohttpd -lwslay -lnettle -lsecp256k1 -lzstd -lz -lyaml -lssl -lcrypto -largon2 -lm
LINK := -Wl,--start-group $(LIBS) -Wl,--end-group $(SYSLIBS)
READY_SERVICES := $(foreach s,$(SERVICES),$(if $(wildcard services/$(s)/main.c),$(s)))
$(foreach s,$(SERVICES),$(eval $(call service_rule,$(s))))
SERVICE_BINS := $(READY_SERVICES:%=$(BUILD)/bin/weir-%)
SERVICE_LIBS := $(foreach s,$(SERVICES),$(if $(filter-out services/$(s)/main.c,$(wildcard services/$(s)/*.c)),$(BUILD)/lib/lib$(s).a))

# tools/<name>/*.c -> bin/<name>
TOOL_NAMES := $(sort $(patsubst tools/%/,%,$(dir $(wildcard tools/*/*.c))))
define tool_rule
$(BUILD)/bin/$(1): $$(patsubst %.c,$(BUILD)/obj/%.o,$$(wildcard tools/$(1)/*.c)) $(VERSION_O) $(LIBS)
	$$(call say,LINK,$$@)
	$$(Q)mkdir -p $$(@D) && $(CC) $(LDFLAGS_ALL) -o $$@ $$(filter %.o,$$^) $(LINK)
endef
$(foreach t,$(TOOL_NAMES),$(eval $(call tool_rule,$(t))))
TOOL_BINS := $(TOOL_NAMES:%=$(BUILD)/bin/%)

.PHONY: all libs
all: $(SERVICE_BINS) $(TOOL_BINS)
libs: $(LIBS)

# ---- tests ----------------------------------------------------------------------------------------------------------------------
SUPPORT_O  := $(patsubst %.c,$(BUILD)/obj/%.o,$(sort $(wildcard tests/support/*.c)))
UNIT_SRC   := $(sort $(shell find tests/unit tests/contract -name '*_test.c' 2>/dev/null))
UNIT_BINS  := $(UNIT_SRC:%.c=$(BUILD)/%)
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(SUPPORT_O) $(SERVICE_LIBS) $(LIBS)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(LDFLAGS_ALL) -o $@ $< $(SUPPORT_O) -Wl,--start-group $(SERVICE_LIBS) $(LIBS) -Wl,--end-group $(SYSLIBS) -lcmocka
# Loaded into servers that tests start.
$(BUILD)/tests/preload/%.so: tests/preload/%.c
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(CC) -std=gnu17 -O2 -fPIC -shared $(WARN) -D_GNU_SOURCE $< -o $@ -ldl
$(BUILD)/tests/unit/bus/durability_test: $(BUILD)/tests/preload/power_loss.so
# Processes that Python tests start (tests/system).
ACTOR_BINS := $(patsubst %.c,$(BUILD)/%,$(sort $(wildcard tests/actors/*.c)))
# Services with a defect: functions of theirs that the actor stands before.
$(BUILD)/tests/actors/reconciler_crash: LDFLAGS_ALL += -Wl,--wrap=ledger_apply,--wrap=mailbox_put_question
$(BUILD)/tests/actors/fetcher_crash: LDFLAGS_ALL += -Wl,--wrap=job_start
# TSan runs where threads are: UNIT_FILTER=threaded picks the programs that have some.
THREADED   := metrics_test log_test clock_test rpc_test made_test subscription_words_test careful_test
ifeq ($(UNIT_FILTER),threaded)
UNIT_BINS  := $(filter $(addprefix %/,$(THREADED)),$(UNIT_BINS))
endif
.PHONY: unit-bins actor-bins test-unit print-unit-bins
unit-bins: $(UNIT_BINS) actor-bins
actor-bins: $(ACTOR_BINS)
print-unit-bins:
	@echo $(UNIT_BINS)
test-unit: unit-bins
	$(Q)WEIR_BIN=$(abspath $(BUILD))/bin tools/run-unit $(UNIT_BINS)
BUS_UNIT_BINS := $(filter $(BUILD)/tests/unit/bus/%,$(UNIT_BINS))
.PHONY: coverage-bus coverage-bus-run
coverage-bus:
	$(Q)$(MAKE) CC=gcc BUILD=$(BUILD)-coverage OPT="-O0 -g --coverage -fprofile-update=atomic" HARD= LDFLAGS=--coverage coverage-bus-run
coverage-bus-run: $(BUS_UNIT_BINS) actor-bins
	$(Q)tools/coverage-bus $(BUILD) $(BUS_UNIT_BINS)

BENCH_SRC  := $(sort $(wildcard tests/bench/*.c))
BENCH_BINS := $(BENCH_SRC:tests/bench/%.c=$(BUILD)/tests/bench/%)
.PHONY: bench-bins
bench-bins: $(BENCH_BINS)

FUZZ_SRC   := $(sort $(wildcard tests/fuzz/*_fuzz.c))
FUZZ_NAMES := $(FUZZ_SRC:tests/fuzz/%_fuzz.c=%)
.PHONY: fuzz fuzz-bins
ifeq ($(FUZZ_BUILD),1)
# Second level: everything instrumented for the fuzzer in its own build folder.
FUZZ_BINS := $(FUZZ_NAMES:%=$(BUILD)/fuzz/%)
$(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/%_fuzz.o $(SERVICE_LIBS) $(LIBS)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $< -Wl,--start-group $(SERVICE_LIBS) $(LIBS) -Wl,--end-group $(SYSLIBS)
fuzz-bins: $(FUZZ_BINS)
else
fuzz-bins:
	$(Q)$(MAKE) --no-print-directory FUZZ_BUILD=1 CC=clang SANITIZER=fuzzer-no-link,address,undefined BUILD=$(BUILD)-fuzz fuzz-bins
endif
fuzz: fuzz-bins
	$(Q)FUZZ_SECONDS=$(FUZZ_SECONDS) tools/run-fuzz $(BUILD)-fuzz $(FUZZ_NAMES)

# ---- the dashboard: static files that the gateway serves to operators ---------------------------------------------------------------
DASHBOARD := $(BUILD)/share/weir/dashboard
CLIENT    := $(BUILD)/share/weir/client
DASHBOARD_SRC := $(sort $(shell find dashboard/src -type f)) dashboard/build.mjs dashboard/tsconfig.json dashboard/package-lock.json
$(DASHBOARD)/index.html: $(DASHBOARD_SRC) services/gateway/api/openapi.json
	$(call say,NPM,dashboard)
	$(Q)tools/deps dashboard
	$(Q)cd dashboard && node build.mjs $(abspath $(BUILD))/dashboard $(abspath $(DASHBOARD)) $(abspath $(CLIENT)) >/dev/null
.PHONY: dashboard
dashboard: $(DASHBOARD)/index.html

# ---- everything else is a script --------------------------------------------------------------------------------------------------
.PHONY: deps check demo bench bench-bus bench-gateway http-peers torture mutants lint docs images deb install clean help compile_commands.json
deps:
	$(Q)tools/deps build
check:
	$(Q)tools/check
demo:
	$(Q)tools/demo
bench:
	$(Q)tools/bench
http-peers:
	$(Q)tools/deps bench && /usr/bin/python3 tests/conformance/http1_peers.py
bench-gateway:
	$(Q)tools/bench-gateway
bench-bus:
	$(Q)tools/bench-bus
torture:
	$(Q)tools/torture
mutants:
	$(Q)tools/mutants
lint:
	$(Q)tools/lint/run
docs: all
	$(Q)tools/gen-docs $(BUILD)/bin docs deploy/helm/weir/README.md
images:
	$(Q)docker/build
images-run:
	$(Q)tools/images
sbom:
	$(Q)docker/sbom
newcomer:
	$(Q)tools/newcomer
deb: all
	$(Q)DEPS=$(DEPS) deploy/deb/build $(BUILD)/bin $(BUILD)
install: all
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 0755 $(SERVICE_BINS) $(TOOL_BINS) $(DESTDIR)$(PREFIX)/bin
	if [ -f $(DASHBOARD)/index.html ]; then \
		install -d $(DESTDIR)$(PREFIX)/share/weir/dashboard/assets && \
		install -m 0644 $(DASHBOARD)/index.html $(DESTDIR)$(PREFIX)/share/weir/dashboard && \
		install -m 0644 $(DASHBOARD)/assets/* $(DESTDIR)$(PREFIX)/share/weir/dashboard/assets && \
		install -d $(DESTDIR)$(PREFIX)/share/weir/client && install -m 0644 $(CLIENT)/* $(DESTDIR)$(PREFIX)/share/weir/client; \
	else echo "without the dashboard: make dashboard builds it"; fi
compile_commands.json:
	$(Q)tools/compile-commands > $@
clean:
	rm -rf $(BUILD)/obj $(BUILD)/lib $(BUILD)/bin $(BUILD)/gen $(BUILD)/inc $(BUILD)/tests
help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

-include $(shell find $(BUILD)/obj $(GEN) -name '*.d' 2>/dev/null)
