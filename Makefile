# SPDX-License-Identifier: MIT
# `make help` lists the targets. V=1 shows every command and every test's output.

V ?= 0
Q := $(if $(filter 1,$(V)),,@)

CC ?= gcc
CLANG ?= clang
B := build
PREFIX ?= /usr/local
DESTDIR ?=

# The kernels that the module is built for and tested on: the headers of Debian's 6.1 and 6.12.
SERIES := 6.1 6.12
KVERS = $(foreach s,$(SERIES),$(shell scripts/kernels.sh version $(s) 2>/dev/null))

CPPFLAGS += -Iinclude -Iinclude/uapi -Icore -D_GNU_SOURCE
CFLAGS ?= -O2 -g
STRICT := -std=gnu11 -Wall -Wextra -Werror -Wstrict-prototypes -Wmissing-prototypes \
	-Wno-unused-parameter
DEPFLAGS = -MMD -MP

LIB_SRC := $(wildcard lib/*.c)
TOOL_SRC := $(wildcard tools/*.c)
HDRS := $(wildcard include/snvme/*.h include/uapi/snvme/*.h core/*.h lib/*.h tools/*.h)

.PHONY: all
all: $(B)/libsnvme.so $(B)/libsnvme.a $(B)/snvme

.PHONY: help
help:
	@echo 'make               libsnvme and the snvme tool'
	@echo 'make modules       snvme.ko for the running kernel'
	@echo 'make install       library, headers, tool, man page (DESTDIR=, PREFIX=)'
	@echo 'make demo          the main job, in a virtual machine: one SSD, two masters'
	@echo 'make test          check and check-guest'
	@echo 'make check         tests on this host: no device, no root'
	@echo 'make check-guest   tests in a virtual machine (KERNEL=6.1 or 6.12, IOMMU=off or on: only that)'
	@echo 'make bench-guest   stock driver, user queue and both on one emulated SSD'
	@echo 'make lint          cppcheck, sparse, mandoc'
	@echo 'make compile_commands.json, make clean'

# ---- library and tool -------------------------------------------------------------------------

$(B)/lib/%.o: lib/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(STRICT) $(CFLAGS) -fPIC -fvisibility=hidden $(DEPFLAGS) -c -o $@ $<

$(B)/libsnvme.a: $(LIB_SRC:lib/%.c=$(B)/lib/%.o)
	$(Q)rm -f $@ && ar rcs $@ $^

$(B)/libsnvme.so: $(LIB_SRC:lib/%.c=$(B)/lib/%.o) lib/snvme.map
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-soname,libsnvme.so.0 \
		-Wl,--version-script=lib/snvme.map -Wl,-z,defs -o $@ $(filter %.o,$^)

$(B)/tools/%.o: tools/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(STRICT) $(CFLAGS) $(DEPFLAGS) -c -o $@ $<

# Static, so that the tool runs wherever it is copied beside its module.
$(B)/snvme: $(TOOL_SRC:tools/%.c=$(B)/tools/%.o) $(B)/libsnvme.a
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -ljansson -lcrypto -lpthread -lm

-include $(wildcard $(B)/lib/*.d $(B)/tools/*.d $(B)/guest/*.d)

.PHONY: install
install: all
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include/snvme \
		$(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 755 $(B)/libsnvme.so $(DESTDIR)$(PREFIX)/lib/libsnvme.so.0
	ln -sf libsnvme.so.0 $(DESTDIR)$(PREFIX)/lib/libsnvme.so
	install -m 644 $(B)/libsnvme.a $(DESTDIR)$(PREFIX)/lib/
	install -m 644 include/snvme/*.h include/uapi/snvme/*.h $(DESTDIR)$(PREFIX)/include/snvme/
	sed 's|@PREFIX@|$(PREFIX)|' lib/snvme.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/snvme.pc
	install -m 755 $(B)/snvme $(DESTDIR)$(PREFIX)/sbin/
	install -m 644 doc/snvme.1 $(DESTDIR)$(PREFIX)/share/man/man1/

# ---- kernel module ----------------------------------------------------------------------------

# A tree of links for each kernel, so that builds for several do not meet.
KERNEL_SRC := $(wildcard kernel/*.c kernel/*.h) kernel/Kbuild

define module_rule
$(B)/kernel-$(1)/snvme.ko: $$(KERNEL_SRC) $$(HDRS)
	@mkdir -p $$(@D)/kernel
	@ln -sfn $$(CURDIR)/include $$(@D)/include
	@ln -sf $$(addprefix $$(CURDIR)/,$$(KERNEL_SRC)) $$(@D)/kernel/
	$$(Q)$$(MAKE) -C /lib/modules/$(1)/build M=$$(CURDIR)/$$(@D)/kernel \
		$$(if $$(filter 1,$$(V)),,-s) KBUILD_MODPOST_WARN= modules $$(if $$(filter 1,$$(V)),,2>$$(@D)/build.log \
		|| { cat $$(@D)/build.log; exit 1; })
	@cp $$(@D)/kernel/snvme.ko $$@
endef
$(foreach v,$(sort $(KVERS) $(shell uname -r)),$(eval $(call module_rule,$(v))))

.PHONY: modules
modules: $(B)/kernel-$(shell uname -r)/snvme.ko

.PHONY: guest-modules
guest-modules: $(foreach v,$(KVERS),$(B)/kernel-$(v)/snvme.ko)

# ---- tests ------------------------------------------------------------------------------------

PROVE := prove $(if $(filter 1,$(V)),-v,) --timer
UNIT := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/*.c))
THREADED := $(patsubst tests/unit/%.c,%,$(shell grep -l pthread_create tests/unit/*.c))
UNIT_LIBS := -ljansson -lcrypto -lpthread -lm

# gcc and clang, plain and with sanitizers; threads once more under ThreadSanitizer.
UNIT_BIN := $(UNIT:%=$(B)/unit/gcc/%) $(UNIT:%=$(B)/unit/clang-asan/%) \
	$(THREADED:%=$(B)/unit/clang-tsan/%)

UNIT_FLAGS := $(STRICT) -Itests -Ilib -Itools -O1 -g
TEST_DEPS := $(wildcard tests/*.h) $(HDRS) $(LIB_SRC) $(TOOL_SRC)

$(B)/unit/gcc/%: tests/unit/%.c $(TEST_DEPS)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(UNIT_FLAGS) -o $@ $< $(UNIT_LIBS)

$(B)/unit/clang-asan/%: tests/unit/%.c $(TEST_DEPS)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(CPPFLAGS) $(UNIT_FLAGS) -fsanitize=address,undefined -fno-sanitize-recover=all \
		-o $@ $< $(UNIT_LIBS)

$(B)/unit/clang-tsan/%: tests/unit/%.c $(TEST_DEPS)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(CPPFLAGS) $(UNIT_FLAGS) -fsanitize=thread -o $@ $< $(UNIT_LIBS)

# Programs for the guest, which has no libraries but those of the tool.
GUEST_BIN := $(patsubst tests/guest/%.c,$(B)/guest/%,$(wildcard tests/guest/*.c))

$(B)/guest/%: tests/guest/%.c $(HDRS) $(wildcard tests/*.h) $(B)/libsnvme.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(STRICT) -Itests $(CFLAGS) -o $@ $< $(B)/libsnvme.a -lpthread

# A guest test is run on each kernel, with the IOMMU off and enforcing: a line of prove's for each.
GUEST_TESTS := venue abi tool reset kill
GUEST_RUNS = $(foreach k,$(or $(KERNEL),$(SERIES)),$(foreach i,$(or $(IOMMU),off on),\
	$(GUEST_TESTS:%=$(B)/guest-tests/linux-$(k)-iommu-$(i)-%)))

define guest_test_rule
$(B)/guest-tests/linux-$(1)-iommu-$(2)-%: Makefile
	@mkdir -p $$(@D)
	@printf '#!/bin/sh\nexec scripts/guest.sh --kernel $(1) $(if $(filter on,$(2)),--iommu) --stream -- $$*.sh\n' >$$@
	@chmod +x $$@
endef
$(foreach k,$(SERIES),$(foreach i,off on,$(eval $(call guest_test_rule,$(k),$(i)))))

.PHONY: deps
deps:
	@scripts/install-deps.sh

# After `deps`: what it installs decides which kernels there are to build for.
.PHONY: check
check: deps
	@$(MAKE) --no-print-directory do-check

.PHONY: do-check
do-check: all $(UNIT_BIN) $(B)/headers/compare_libnvme
	$(Q)SNVME=$(B)/snvme $(PROVE) $(sort $(UNIT_BIN)) $(wildcard tests/unit/*.sh) \
		$(B)/headers/compare_libnvme $(wildcard tests/headers/*.sh)

$(B)/headers/%: tests/headers/%.c include/uapi/snvme/nvme.h $(wildcard tests/*.h)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(STRICT) -Itests -O1 -g -o $@ $<

.PHONY: check-guest
check-guest: deps
	@$(MAKE) --no-print-directory do-check-guest

.PHONY: do-check-guest
do-check-guest: all guest-modules $(GUEST_BIN) guest-tests
	$(Q)$(PROVE) -j2 $(GUEST_RUNS)

.PHONY: guest-tests
guest-tests: $(GUEST_RUNS)

.PHONY: test
test: check check-guest

.PHONY: demo
demo: deps
	@$(MAKE) --no-print-directory do-demo

.PHONY: do-demo
do-demo: all guest-modules
	$(Q)scripts/demo.sh

.PHONY: bench-guest
bench-guest: deps
	@$(MAKE) --no-print-directory do-bench-guest

.PHONY: do-bench-guest
do-bench-guest: all guest-modules $(GUEST_BIN)
	$(Q)bench/guest.sh $(or $(KERNEL),6.1)

# ---- hygiene ----------------------------------------------------------------------------------

.PHONY: lint
lint: deps
	@scripts/lint.sh

compile_commands.json: $(LIB_SRC) $(TOOL_SRC) Makefile
	@{ echo '['; sep=; for f in $(LIB_SRC) $(TOOL_SRC); do \
		printf '%s{"directory":"%s","file":"%s","command":"$(CC) $(CPPFLAGS) $(STRICT) -c %s"}' \
			"$$sep" "$(CURDIR)" "$$f" "$$f"; sep=$$',\n'; done; echo; echo ']'; } > $@

.PHONY: clean
clean:
	rm -rf $(B) compile_commands.json
