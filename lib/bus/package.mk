# package.mk - libweir-bus: the bus as a library for others, from the same sources that the services link.
#
#   make bus-library     $(BUILD)/package/libweir-bus.a and .so with what they need of base, wire and the dead letters' protobuf
#   make bus-examples    $(BUILD)/examples/bus/*: each links the library as a stranger would
#   make install-bus     DESTDIR= PREFIX=/usr/local: libraries, headers, pkg-config file, manual pages (man bus_publish)
#
# hiredis 1.2 is inside (Debian 12 has an older one); yyjson is installed beside it. Only what the public headers declare is visible.

BUS_VERSION  := $(shell sed -n 's/^\#define BUS_VERSION "\(.*\)"/\1/p' lib/bus/version.h)
BUS_NUMBERS  := $(subst ., ,$(BUS_VERSION))
# What breaks callers: the major number, and the minor while the major is 0 (version.h).
BUS_SONAME   := libweir-bus.so.$(word 1,$(BUS_NUMBERS))$(if $(filter 0,$(word 1,$(BUS_NUMBERS))),.$(word 2,$(BUS_NUMBERS)))
BUS_PACKAGE  := $(BUILD)/package
BUS_HEADERS  := $(addprefix lib/,base/error.h base/mem.h base/log.h base/metrics.h base/clock.h base/breaker.h base/span.h wire/frame.h wire/envelope.h \
                bus/bus.h bus/registry.h bus/retry.h bus/subscription.h bus/dead_letter.h bus/audit.h bus/health.h bus/trace.h bus/weights.h bus/statistics.h bus/version.h)
BUS_VARIABLES := RETRY_DEFAULT BUS_WEIGHTS_DEFAULT BREAKER_HANDLER BREAKER_ENDPOINT METRICS_SECONDS clock_mono_ns clock_wall_ns clock_sleep_ms random_u64
BUS_SOURCES  := $(filter-out lib/base/u256.c,$(sort $(wildcard lib/base/*.c))) $(call find_c,lib/bus) \
                $(addprefix lib/wire/,frame.c envelope.c digest.c json.c)
BUS_PIC      := $(BUS_SOURCES:%.c=$(BUS_PACKAGE)/pic/%.o) $(BUS_PACKAGE)/pic/dead_letter.pb-c.o
BUS_NEEDS    := -lprotobuf-c -lnettle -lssl -lcrypto -lpthread
BUS_LIBDIR   = $(DESTDIR)$(PREFIX)/lib

$(BUS_PACKAGE)/pic/lib/%.o: lib/%.c $(FARM_STAMP) $(GEN_STAMP)
	$(call say,PIC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(filter-out -fPIE,$(BASE_CFLAGS)) -fPIC $(WARN) $(INC_bus) $(SYS) $(CFLAGS) -c $< -o $@
$(BUS_PACKAGE)/pic/lib/bus/redis/script.o $(BUS_PACKAGE)/pic/lib/bus/memory/memory_engine.o: $(wildcard lib/bus/*/*.lua)
$(BUS_PACKAGE)/pic/dead_letter.pb-c.o: $(GEN_STAMP)
	$(Q)mkdir -p $(@D) && $(CC) $(filter-out -fPIE,$(BASE_CFLAGS)) -fPIC -w -I$(GEN) -c $(GEN)/weir/v1/dead_letter.pb-c.c -o $@

# What the public headers declare, from the compiler itself.
$(BUS_PACKAGE)/exports.map: $(BUS_HEADERS) $(FARM_STAMP) lib/bus/package.mk
	$(Q)mkdir -p $(@D) && printf '#include "%s"\n' $(BUS_HEADERS:lib/%=%) >$(@D)/all.c && \
	gcc -std=gnu17 -D_GNU_SOURCE $(INC_bus) $(SYS) -aux-info $(@D)/all.x -fsyntax-only $(@D)/all.c && \
	{ echo '{ global:'; sed -n 's/.*\(base\|bus\|wire\)\/[a-z_]*\.h:[0-9]*:NC \*\/ extern [^(]*[ *]\([a-z_0-9]*\) (.*/  \2;/p' $(@D)/all.x | sort -u; \
	  printf '  %s;\n' $(BUS_VARIABLES); echo '  local: *; };'; } >$@
$(BUS_PACKAGE)/libweir-bus.a: $(BUS_PIC)
	$(call say,AR,$@)
	$(Q)rm -f $@ && printf '%s\n' 'create $@' $(BUS_PIC:%='addmod %') 'addlib $(DEPS_LIB)/libhiredis_ssl.a' 'addlib $(DEPS_LIB)/libhiredis.a' save end | ar -M
$(BUS_PACKAGE)/libweir-bus.so: $(BUS_PIC) $(BUS_PACKAGE)/exports.map
	$(call say,LINK,$@)
	$(Q)$(CC) -shared -pthread -Wl,-soname,$(BUS_SONAME) -Wl,--version-script=$(BUS_PACKAGE)/exports.map -Wl,-z,relro,-z,now,-z,defs \
	  -Wl,--enable-new-dtags '-Wl,-rpath,$$ORIGIN/weir-bus' $(if $(SANITIZER),-fsanitize=$(SANITIZER)) $(LDFLAGS) -o $@ $(BUS_PIC) \
	  -Wl,--exclude-libs,ALL $(DEPS_LIB)/libhiredis_ssl.a $(DEPS_LIB)/libhiredis.a -L$(DEPS_LIB) -lyyjson $(BUS_NEEDS)
	$(Q)ln -sfn libweir-bus.so $(BUS_PACKAGE)/$(BUS_SONAME) && ln -sfn $(DEPS_LIB) $(BUS_PACKAGE)/weir-bus

.PHONY: bus-library bus-examples install-bus
bus-library: $(BUS_PACKAGE)/libweir-bus.a $(BUS_PACKAGE)/libweir-bus.so

BUS_EXAMPLES := $(patsubst examples/bus/%.c,$(BUILD)/examples/bus/%,$(sort $(wildcard examples/bus/*.c)))
$(BUILD)/examples/bus/%: examples/bus/%.c $(BUS_PACKAGE)/libweir-bus.so
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(BASE_CFLAGS) $(WARN) $(INC_bus) $(CFLAGS) $< -o $@ $(if $(SANITIZER),-fsanitize=$(SANITIZER)) -pie -L$(BUS_PACKAGE) -lweir-bus $(EXAMPLE_NEEDS) \
	  -Wl,-rpath,$(abspath $(BUS_PACKAGE)):$(DEPS_LIB) -Wl,-rpath-link,$(DEPS_LIB)
$(BUILD)/examples/bus/traces: EXAMPLE_NEEDS := -lcurl
bus-examples: $(BUS_EXAMPLES)

install-bus: bus-library
	install -d $(BUS_LIBDIR)/pkgconfig $(BUS_LIBDIR)/weir-bus $(DESTDIR)$(PREFIX)/share/man/man7 $(DESTDIR)$(PREFIX)/share/man/man3
	install -m 0644 $(BUS_PACKAGE)/libweir-bus.a $(BUS_LIBDIR)/
	install -m 0755 $(BUS_PACKAGE)/libweir-bus.so $(BUS_LIBDIR)/libweir-bus.so.$(BUS_VERSION)
	ln -sfn libweir-bus.so.$(BUS_VERSION) $(BUS_LIBDIR)/$(BUS_SONAME)
	ln -sfn $(BUS_SONAME) $(BUS_LIBDIR)/libweir-bus.so
	install -m 0755 $(DEPS_LIB)/libyyjson.so.0 $(BUS_LIBDIR)/weir-bus/libyyjson.so.0
	ln -sfn libyyjson.so.0 $(BUS_LIBDIR)/weir-bus/libyyjson.so
	for h in $(BUS_HEADERS:lib/%=%); do install -D -m 0644 lib/$$h $(DESTDIR)$(PREFIX)/include/weir-bus/$$h; done
	install -m 0644 docs/man/weir-bus.7 $(DESTDIR)$(PREFIX)/share/man/man7/weir-bus.7
	install -m 0644 docs/man/weir-bus.3 $(DESTDIR)$(PREFIX)/share/man/man3/weir-bus.3
	for f in $$(sed -n 's/^\.Fo //p' docs/man/weir-bus.3 | sort -u); do ln -sfn weir-bus.3 $(DESTDIR)$(PREFIX)/share/man/man3/$$f.3; done
	printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$${prefix}/lib' 'includedir=$${prefix}/include' '' 'Name: weir-bus' \
	  'Description: Event bus over Redis Streams: order per key, exactly-once publishing, retries, dead letters' 'Version: $(BUS_VERSION)' \
	  'Cflags: -I$${includedir}/weir-bus' 'Libs: -L$${libdir} -lweir-bus' \
	  'Libs.private: -L$${libdir}/weir-bus -lyyjson $(BUS_NEEDS)' >$(BUS_LIBDIR)/pkgconfig/weir-bus.pc
