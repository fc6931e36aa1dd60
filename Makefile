# SPDX-License-Identifier: MIT
# `make help` lists the targets. V=1 shows every command and every test's output.

comma := ,
V ?= 0
Q := $(if $(filter 1,$(V)),,@)

CC ?= gcc
CLANG ?= clang
B := build
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
DESTDIR ?=
VERSION := $(shell sed -n 's/^.define SNVME_VERSION "\(.*\)"/\1/p' include/snvme/snvme.h)

# The kernels that the module is built for and tested on: the headers of Debian's 6.1 and 6.12.
SERIES := 6.1 6.12
# Beside them, where `make debug-kernel` has built it, the debug kernel.
KVERS = $(foreach s,$(SERIES),$(shell scripts/kernels.sh version $(s) 2>/dev/null)) $(DEBUG_KVER)
DEBUG_KVER := $(shell scripts/kernels.sh version debug 2>/dev/null)

# Where a machine lacks these two, as one that only has a GPU does, the virtual SSD does without.
without = $(if $(shell $(CC) -E -include $(1) -x c /dev/null >/dev/null 2>&1 && echo y),,$(1))
WITHOUT := $(call without,liburing.h) $(call without,jansson.h)

CPPFLAGS += -Iinclude -Iinclude/uapi -Icore -Ilib -Ivssd -D_GNU_SOURCE
CFLAGS ?= -O2 -g
STRICT := -std=gnu11 -Wall -Wextra -Werror -Wstrict-prototypes -Wmissing-prototypes \
	-Wno-unused-parameter
DEPFLAGS = -MMD -MP

# The library, and within it the virtual SSD: its core, and its home in this process.
VSSD_SRC := $(wildcard vssd/*.c)
LIB_SRC := $(wildcard lib/*.c vssd/user/*.c) $(wildcard gpu/*.c) $(VSSD_SRC)
LIB_LIBS := $(if $(filter liburing.h,$(WITHOUT)),,-luring) \
	$(if $(filter jansson.h,$(WITHOUT)),,-ljansson) -lpthread -ldl
CPPFLAGS += $(patsubst %.h,-Ivssd/user/without/%,$(strip $(WITHOUT)))
TOOL_SRC := $(wildcard tools/*.c)
HDRS := $(wildcard gpu/*.h include/snvme/*.h include/snvme/gpu/*.h include/snvme/gpu/impl/*.h include/uapi/snvme/*.h core/*.h vssd/*.h vssd/user/*.h lib/*.h \
	tools/*.h)

.PHONY: all
all: $(B)/libsnvme.so $(B)/libsnvme.a $(B)/snvme

.PHONY: help
help:
	@echo 'make               libsnvme and the snvme tool'
	@echo 'make modules       snvme.ko, vssd.ko for the running kernel (NVIDIA_P2P=, KBUILD_EXTRA_SYMBOLS=: doc/abi.md)'
	@echo 'make install       library, headers, tool, man pages (DESTDIR=, PREFIX=, LIBDIR=)'
	@echo 'make install-dkms  sources of the modules, for dkms install snvme/VERSION'
	@echo 'make deb           Debian packages of all that, in build/deb'
	@echo 'make check-deb     they install and work in a Debian 12 root made for it'
	@echo 'make demo          the main job, in a virtual machine: one SSD, two masters'
	@echo 'make demo-host     a directory of files as a virtual SSD: no virtual machine, no root'
	@echo 'make test          check, and most of check-guest: half an hour'
	@echo 'make check         tests on this host: no device, no root'
	@echo 'make check-guest   tests in a virtual machine (KERNEL=6.1, 6.12 or debug, IOMMU=off or on: only that)'
	@echo 'make torture       everything at once in a guest (TORTURE_SECONDS=, SEED=, KERNEL=, IOMMU=)'
	@echo 'make churn-vssd    virtual SSDs of the kernel made and removed in use (VSSD_TIMES=, KERNEL=, IOMMU=)'
	@echo 'make fuzz-ioctl    mutated calls of the kernel interface in a guest (FUZZ_CALLS=, SEED=, KERNEL=)'
	@echo 'make debug-kernel  a guest kernel with KASAN, lockdep, kmemleak: make check-guest KERNEL=debug'
	@echo 'make check-gpu     GPU threads against virtual SSDs, on a machine with an NVIDIA GPU'
	@echo 'make bench-gpu     how fast that is, beside what the machine can do without'
	@echo 'make fuzz          each fuzzer for an hour (FUZZ_SECONDS=)'
	@echo 'make coverage      lines of the virtual SSD and of lib/ctrl*.c that their tests reach'
	@echo 'make bench-host    the virtual SSD against memcpy, fio and an instruction count'
	@echo 'make bench-guest   stock driver, user queue and both on emulated SSDs (KERNEL=, IOMMU=)'
	@echo 'make lint          cppcheck, sparse, mandoc'
	@echo 'make compile_commands.json, make clean'

# ---- library and tool -------------------------------------------------------------------------

LIB_OBJ := $(LIB_SRC:%.c=$(B)/%.o)

$(LIB_OBJ): $(B)/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(STRICT) $(CFLAGS) -fPIC -fvisibility=hidden $(DEPFLAGS) -c -o $@ $<

$(B)/libsnvme.a: $(LIB_OBJ)
	$(Q)rm -f $@ && ar rcs $@ $^

$(B)/libsnvme.so: $(LIB_OBJ) lib/snvme.map
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-soname,libsnvme.so.0 \
		-Wl,--version-script=lib/snvme.map -Wl,-z,defs -o $@ $(filter %.o,$^) $(LIB_LIBS)

$(B)/tools/%.o: tools/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(STRICT) $(CFLAGS) $(DEPFLAGS) -c -o $@ $<

# Static, so that the tool runs wherever it is copied beside its module.
$(B)/snvme: $(TOOL_SRC:tools/%.c=$(B)/tools/%.o) $(B)/libsnvme.a
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIB_LIBS) -lcrypto -lm

-include $(wildcard $(LIB_OBJ:.o=.d) $(B)/tools/*.d $(B)/guest/*.d)

# Of the API, from its headers; only where the kernel's kernel-doc is.
$(B)/man3/.made: $(wildcard include/snvme/*.h include/snvme/gpu/*.h) scripts/manpages.sh
	$(Q)scripts/manpages.sh $(@D) && touch $@

SHARE := $(DESTDIR)$(PREFIX)/share

.PHONY: install
install: all $(B)/man3/.made
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(PREFIX)/include/snvme/gpu/impl $(DESTDIR)$(PREFIX)/sbin \
		$(DESTDIR)$(PREFIX)/lib/udev/rules.d $(SHARE)/man/man1 $(SHARE)/man/man3 $(SHARE)/man/man4 $(SHARE)/bash-completion/completions
	install -m 755 $(B)/libsnvme.so $(DESTDIR)$(LIBDIR)/libsnvme.so.0
	ln -sf libsnvme.so.0 $(DESTDIR)$(LIBDIR)/libsnvme.so
	install -m 644 $(B)/libsnvme.a $(DESTDIR)$(LIBDIR)/
	install -m 644 include/snvme/*.h include/uapi/snvme/*.h $(DESTDIR)$(PREFIX)/include/snvme/
	install -m 644 include/snvme/gpu/*.h $(DESTDIR)$(PREFIX)/include/snvme/gpu/
	install -m 644 include/snvme/gpu/impl/*.h core/*.h $(DESTDIR)$(PREFIX)/include/snvme/gpu/impl/
	sed 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(VERSION)|; s|@LIBS@|$(LIB_LIBS)|' \
		lib/snvme.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/snvme.pc
	install -m 755 $(B)/snvme $(DESTDIR)$(PREFIX)/sbin/
	install -m 644 scripts/60-snvme.rules $(DESTDIR)$(PREFIX)/lib/udev/rules.d/
	install -m 644 doc/snvme.1 $(SHARE)/man/man1/
	install -m 644 $(B)/man3/*.3* $(SHARE)/man/man3/
	install -m 644 doc/snvme.4 doc/vssd.4 $(SHARE)/man/man4/
	install -m 644 scripts/snvme.bash $(SHARE)/bash-completion/completions/snvme

# The modules' sources, for dkms(8) to build for each kernel of the machine.
DKMS_TREE := $(DESTDIR)/usr/src/snvme-$(VERSION)

.PHONY: install-dkms
install-dkms:
	install -d $(DKMS_TREE)/kernel $(DKMS_TREE)/vssd $(DKMS_TREE)/core $(DKMS_TREE)/include/uapi/snvme
	install -m 644 kernel/*.[ch] kernel/Kbuild $(DKMS_TREE)/kernel/
	install -m 644 vssd/*.[ch] vssd/kernel/*.[ch] vssd/kernel/Kbuild $(DKMS_TREE)/vssd/
	install -m 644 core/*.h $(DKMS_TREE)/core/
	install -m 644 include/uapi/snvme/*.h $(DKMS_TREE)/include/uapi/snvme/
	echo 'obj-m := kernel/ vssd/' > $(DKMS_TREE)/Kbuild
	sed 's|@VERSION@|$(VERSION)|' scripts/dkms.conf.in > $(DKMS_TREE)/dkms.conf

# Debian's packages, in $(B)/deb; and those in a Debian 12 that has nothing else.
.PHONY: deb
deb:
	@scripts/install-deps.sh deb
	$(Q)scripts/deb.sh

.PHONY: check-deb
check-deb: deb
	$(Q)$(PROVE) -v tests/deb/clean_root.sh

# ---- kernel module ----------------------------------------------------------------------------

# A tree of links for each kernel, so that builds for several do not meet.
KERNEL_SRC := $(wildcard kernel/*.c kernel/*.h) kernel/Kbuild
TEST_KERNEL_SRC := $(wildcard tests/kernel/*.c tests/kernel/*.h) tests/kernel/Kbuild
VSSD_KERNEL_SRC := $(VSSD_SRC) $(wildcard vssd/*.h vssd/kernel/*.c vssd/kernel/*.h) vssd/kernel/Kbuild

kernel_build = $(if $(filter $(DEBUG_KVER),$(1)),$(shell scripts/kernels.sh build debug),/lib/modules/$(1)/build)

# $(1) the kernel, $(2) the module, $(3) its sources, $(4) their folder, which may make others beside it;
# $(5) what it needs first, $(6) how it is built
define module_rule
$(B)/kernel-$(1)/$(2).ko: $$($(3)) $$(HDRS) $(5) $(wildcard $(call kernel_build,$(1))/include/generated/autoconf.h)
	@mkdir -p $$(@D)/$(4)
	@ln -sfn $$(CURDIR)/include $$(@D)/include
	@ln -sfn $$(CURDIR)/core $$(@D)/core
	@ln -sf $$(addprefix $$(CURDIR)/,$$($(3))) $$(@D)/$(4)/
	$$(Q)$$(MAKE) -C $(call kernel_build,$(1)) M=$$(CURDIR)/$$(@D)/$(4) \
		$$(if $$(filter 1,$$(V)),,-s) KBUILD_MODPOST_WARN= $(6) modules $$(if $$(filter 1,$$(V)),,2>$$(@:.ko=.log) \
		|| { cat $$(@:.ko=.log); exit 1; })
	@cp $$(@D)/$(4)/*.ko $$(@D)/
endef
$(foreach v,$(sort $(KVERS) $(shell uname -r)),\
	$(eval $(call module_rule,$(v),snvme,KERNEL_SRC,kernel))\
	$(eval $(call module_rule,$(v),vssd,VSSD_KERNEL_SRC,vssd))\
	$(eval $(call module_rule,$(v),bar_dmabuf,TEST_KERNEL_SRC,tests/kernel))\
	$(eval $(call module_rule,$(v),nvidia/snvme,KERNEL_SRC,kernel,$(B)/kernel-$(v)/bar_dmabuf.ko,\
		NVIDIA_P2P=$(CURDIR)/tests/kernel \
		KBUILD_EXTRA_SYMBOLS=$(CURDIR)/$(B)/kernel-$(v)/tests/kernel/Module.symvers)))

.PHONY: modules
modules: $(B)/kernel-$(shell uname -r)/snvme.ko $(B)/kernel-$(shell uname -r)/vssd.ko

.PHONY: guest-modules
guest-modules: $(foreach v,$(KVERS),$(foreach m,snvme vssd nvidia/snvme,$(B)/kernel-$(v)/$(m).ko))

# ---- tests ------------------------------------------------------------------------------------

PROVE := prove $(if $(filter 1,$(V)),-v,) --timer
# On two processors `make test` is to end within half an hour.
JOBS = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
UNIT := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/*.c))
THREADED := $(patsubst tests/unit/%.c,%,$(shell grep -l pthread_create tests/unit/*.c))
UNIT_LIBS := $(LIB_LIBS) -lcrypto -lm

# gcc and clang, plain and with sanitizers; threads once more under ThreadSanitizer.
UNIT_BIN := $(UNIT:%=$(B)/unit/gcc/%) $(UNIT:%=$(B)/unit/clang-asan/%) \
	$(THREADED:%=$(B)/unit/clang-tsan/%)

UNIT_FLAGS := $(STRICT) -Wno-unused-function -Itests -Itools -O1 -g
TEST_DEPS := $(wildcard tests/*.h tests/unit/*.h) $(HDRS) $(LIB_SRC) $(TOOL_SRC)

# Each with the library built the same way; a test that includes a source file gets that one instead.
define unit_rule
$(B)/unit/$(1)/obj/%.o: %.c $$(HDRS)
	@mkdir -p $$(@D)
	$$(Q)$(2) $$(CPPFLAGS) $$(UNIT_FLAGS) $(3) -c -o $$@ $$<

$(B)/unit/$(1)/libsnvme.a: $$(LIB_SRC:%.c=$(B)/unit/$(1)/obj/%.o)
	$$(Q)rm -f $$@ && ar rcs $$@ $$^

$(B)/unit/$(1)/%: tests/unit/%.c $$(TEST_DEPS) $(B)/unit/$(1)/libsnvme.a
	@mkdir -p $$(@D)
	$$(Q)$(2) $$(CPPFLAGS) $$(UNIT_FLAGS) $(3) -o $$@ $$< $(B)/unit/$(1)/libsnvme.a $$(UNIT_LIBS)
endef
$(eval $(call unit_rule,gcc,$(CC),))
$(eval $(call unit_rule,clang-asan,$(CLANG),-fsanitize=address$(comma)undefined -fno-sanitize-recover=all))
$(eval $(call unit_rule,clang-tsan,$(CLANG),-fsanitize=thread))

# Programs for a machine with an NVIDIA GPU, CUDA, gcc and make, and nothing else.
NVCC ?= $(or $(shell command -v nvcc 2>/dev/null),/usr/local/cuda/bin/nvcc)
GPU_ARCH ?= native
SANITIZER := $(dir $(NVCC))compute-sanitizer --report-api-errors no --error-exitcode 1
NVCC_FLAGS := -O3 -std=c++17 -arch=$(GPU_ARCH) -lineinfo -Xcompiler -Wall -Itests
GPU_LIBS := -Xcompiler -pthread $(LIB_LIBS)
GPU_DEPS := $(HDRS) $(wildcard tests/*.h tests/gpu/*.h vssd/gpu/*.h)

SSD_OBJ := $(B)/gpu/ssd.o $(B)/gpu/kernel.o

$(SSD_OBJ): $(B)/gpu/%.o: vssd/gpu/%.cu $(GPU_DEPS)
	@mkdir -p $(@D)
	$(Q)$(NVCC) $(CPPFLAGS) $(NVCC_FLAGS) -c -o $@ $<

$(B)/gpu/%: tests/gpu/%.cu $(GPU_DEPS) $(SSD_OBJ) $(B)/libsnvme.a
	$(Q)$(NVCC) $(CPPFLAGS) $(NVCC_FLAGS) -o $@ $< $(SSD_OBJ) $(B)/libsnvme.a $(GPU_LIBS) \
		-L$(dir $(NVCC))../lib64/stubs -lcuda

$(B)/bench-gpu: bench/gpu.cu $(GPU_DEPS) $(SSD_OBJ) $(B)/libsnvme.a
	$(Q)$(NVCC) $(CPPFLAGS) $(NVCC_FLAGS) -Itests/gpu -o $@ $< $(SSD_OBJ) $(B)/libsnvme.a $(GPU_LIBS)

$(B)/examples/%: examples/%.cu examples/gpu.h $(GPU_DEPS) $(B)/libsnvme.a
	@mkdir -p $(@D)
	$(Q)$(NVCC) $(CPPFLAGS) $(NVCC_FLAGS) -o $@ $< $(B)/libsnvme.a $(GPU_LIBS)

.PHONY: bench-gpu
bench-gpu: $(B)/bench-gpu
	@mkdir -p $(B)/bench
	$(Q)timeout -k 5 500 $< $(B)/bench/gpu.json

# Text for the examples to read: this project's, over and over.
$(B)/gpu/text: $(LIB_SRC)
	@mkdir -p $(@D)
	$(Q)while cat $(LIB_SRC); do :; done 2>/dev/null | head -c 512M > $@.new && mv $@.new $@

.PHONY: check-gpu
check-gpu: $(B)/gpu/queue $(B)/gpu/text $(B)/examples/gpu_grep $(B)/examples/gpu_add
	$(Q)timeout -k 5 300 $(B)/gpu/queue
	$(Q)timeout -k 5 100 $(SANITIZER) --tool memcheck $(B)/gpu/queue 0
	$(Q)timeout -k 5 100 $(SANITIZER) --tool racecheck $(B)/gpu/queue 0
	$(Q)timeout -k 5 100 $(B)/examples/gpu_grep vssd:file=$(B)/gpu/text,direct=false,gpu=0,threads=4 snvme
	$(Q)timeout -k 5 100 $(B)/examples/gpu_add vssd:file=$(B)/gpu/text,direct=false,gpu=0,threads=4

# Fuzzers of the virtual SSD's core. Their seeds are in the tree; what they find more stays in build.
FUZZERS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_FLAGS := $(STRICT) -Wno-unused-function -O1 -g -fsanitize=fuzzer,address,undefined \
	-fno-sanitize-recover=all

# What lives in a process, too, for clients of its own.
FUZZ_HOME := $(wildcard vssd/user/*.c) gpu/cuda.c

$(B)/fuzz/%: tests/fuzz/fuzz_%.c $(wildcard tests/fuzz/*.h) $(HDRS) $(VSSD_SRC) $(FUZZ_HOME)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(CPPFLAGS) $(FUZZ_FLAGS) -o $@ $< $(VSSD_SRC) $(if $(filter remote,$*),$(FUZZ_HOME) $(LIB_LIBS))

.PHONY: fuzz
fuzz: deps $(FUZZERS:%=$(B)/fuzz/%)
	$(Q)FUZZ_SECONDS=$(or $(FUZZ_SECONDS),3600) $(PROVE) -v tests/fuzz/fuzz.sh

# Programs for the guest, which has no libraries but those of the tool.
GUEST_BIN := $(patsubst tests/guest/%.c,$(B)/guest/%,$(wildcard tests/guest/*.c))

$(B)/guest/%: tests/guest/%.c $(HDRS) $(wildcard tests/*.h tests/kernel/*.h) $(B)/libsnvme.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(STRICT) -Itests -Itests/kernel $(CFLAGS) -o $@ $< $(B)/libsnvme.a $(LIB_LIBS)

# A guest test is run on each kernel, with the IOMMU off and enforcing: a line of prove's for each. Those that take
# long, and are not about its being off, run with it enforcing only, but on the debug kernel; one needs it. The 6.1
# driver itself loses commands in resets (see faults.sh): not there. Some things only the debug kernel can do, and it has the driver built in.
GUEST_TESTS := venue abi reset p2p vssd
GUEST_LONG := tool outside kill rogue nvidia namespaces fuzz_ioctl vssd_kinds
GUEST_IOMMU := vfio
GUEST_DEBIAN_LONG := modules stock fabric
GUEST_NEWER_LONG := faults torture
GUEST_DEBUG := failures
guest_tests = $(GUEST_TESTS) $(if $(filter on,$(2)),$(GUEST_IOMMU)) $(if $(filter on debug,$(2) $(1)),$(GUEST_LONG) $(if $(filter 6.1,$(1)),,$(GUEST_NEWER_LONG))) \
	$(if $(filter debug,$(1)),$(GUEST_DEBUG),$(if $(filter on,$(2)),$(GUEST_DEBIAN_LONG)))
# `make test` has half an hour on two processors: each kernel has some of the long ones there, and those that
# are run with the IOMMU off and enforcing are so on one of them each (GUEST_SOME=1).
GUEST_SPARED := $(addprefix linux-6.1-iommu-on-,$(GUEST_TESTS) outside kill stock fabric vfio fuzz_ioctl nvidia namespaces) \
	$(addprefix linux-6.12-iommu-on-,tool rogue modules vssd_kinds torture) \
	$(addprefix linux-6.12-iommu-off-,$(filter-out venue,$(GUEST_TESTS)))
GUEST_RUNS = $(filter-out $(if $(GUEST_SOME),$(GUEST_SPARED:%=$(B)/guest-tests/%)),\
	$(foreach k,$(or $(KERNEL),$(SERIES)),$(foreach i,$(or $(IOMMU),off on),\
	$(patsubst %,$(B)/guest-tests/linux-$(k)-iommu-$(i)-%,$(call guest_tests,$(k),$(i))))))

define guest_test_rule
$(B)/guest-tests/linux-$(1)-iommu-$(2)-%: Makefile
	@mkdir -p $$(@D)
	@printf '#!/bin/sh\nexec scripts/guest.sh --kernel $(1) $(if $(filter on,$(2)),--iommu) --stream -- $$*.sh\n' >$$@
	@chmod +x $$@
endef
$(foreach k,$(SERIES) debug,$(foreach i,off on,$(eval $(call guest_test_rule,$(k),$(i)))))

.PHONY: deps
deps:
	@scripts/install-deps.sh

# After `deps`: what it installs decides which kernels there are to build for.
.PHONY: check
check: deps
	@$(MAKE) --no-print-directory $(JOBS) do-check

.PHONY: do-check
do-check: all $(UNIT_BIN) $(B)/headers/compare_libnvme $(FUZZERS:%=$(B)/fuzz/%)
	$(Q)SNVME=$(B)/snvme $(PROVE) -j2 $(sort $(UNIT_BIN)) $(wildcard tests/unit/*.sh) \
		$(B)/headers/compare_libnvme $(wildcard tests/headers/*.sh)
	$(Q)$(PROVE) tests/fuzz/fuzz.sh

$(B)/headers/%: tests/headers/%.c include/uapi/snvme/nvme.h $(wildcard tests/*.h)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(STRICT) -Itests -O1 -g -o $@ $<

.PHONY: check-guest
check-guest: deps
	@$(MAKE) --no-print-directory $(JOBS) do-check-guest

.PHONY: do-check-guest
do-check-guest: all guest-modules $(GUEST_BIN) $(B)/tsc_khz guest-tests
	@touch $(B)/guest-tests/began
	$(Q)$(PROVE) -j2 $(GUEST_RUNS) || \
		{ find $(B)/guest-run -name test.log -newer $(B)/guest-tests/began \
			-exec grep -a -A 5 '^not ok' {} +; \
		find $(B)/guest-run -name failed -newer $(B)/guest-tests/began -exec cat {} +; exit 1; }

# For long: the same as in check-guest, for TORTURE_SECONDS (1800) from SEED on; FUZZ_CALLS (1000000); vssd.ko's
# SSDs made and removed, and vssd.ko itself, VSSD_TIMES (200).
.PHONY: torture
torture: deps
	@$(MAKE) --no-print-directory do-long TEST="torture.sh $(or $(TORTURE_SECONDS),1800) $(or $(SEED),1)" \
		TIMEOUT=$$((2 * $(or $(TORTURE_SECONDS),1800) + 300))

.PHONY: fuzz-ioctl
fuzz-ioctl: deps
	@$(MAKE) --no-print-directory do-long TEST="fuzz_ioctl.sh $(or $(FUZZ_CALLS),1000000) $(or $(SEED),1)" \
		TIMEOUT=$$(($(or $(FUZZ_CALLS),1000000) / 200 + 300))

.PHONY: churn-vssd
churn-vssd: deps
	@$(MAKE) --no-print-directory do-long TEST="vssd.sh $(or $(VSSD_TIMES),200)" \
		TIMEOUT=$$((15 * $(or $(VSSD_TIMES),200) + 400))

.PHONY: do-long
do-long: all guest-modules $(GUEST_BIN) $(B)/tsc_khz
	$(Q)scripts/guest.sh --kernel $(or $(KERNEL),6.12) $(if $(filter on,$(IOMMU)),--iommu) --stream \
		--timeout $(TIMEOUT) -- $(TEST)

# The guest's kernel with KASAN, lockdep, kmemleak, UBSAN and fault injection, for KERNEL=debug.
.PHONY: debug-kernel
debug-kernel:
	$(Q)scripts/debug-kernel.sh

# What guest.sh has to know of this machine.
$(B)/tsc_khz: scripts/tsc_khz.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(STRICT) -D_GNU_SOURCE $(CFLAGS) -o $@ $<

.PHONY: guest-tests
guest-tests: $(GUEST_RUNS)

.PHONY: test
test: check
	@$(MAKE) --no-print-directory check-guest GUEST_SOME=1

.PHONY: demo
demo: deps
	@$(MAKE) --no-print-directory do-demo

.PHONY: do-demo
do-demo: all guest-modules $(B)/tsc_khz
	$(Q)scripts/demo.sh

.PHONY: bench-guest
bench-guest: deps
	@$(MAKE) --no-print-directory do-bench-guest

.PHONY: do-bench-guest
do-bench-guest: all guest-modules $(GUEST_BIN) $(B)/tsc_khz
	$(Q)bench/guest.sh $(or $(KERNEL),6.1) $(or $(IOMMU),off)

$(B)/bench-host: bench/host.c include/snvme/snvme.h $(B)/libsnvme.a
	$(Q)$(CC) $(CPPFLAGS) $(STRICT) $(CFLAGS) -o $@ $< $(B)/libsnvme.a $(LIB_LIBS)

.PHONY: bench-host
bench-host: deps
	@$(MAKE) --no-print-directory do-bench-host

.PHONY: do-bench-host
do-bench-host: all $(B)/bench-host
	$(Q)bench/host.sh

$(B)/ssd_of_files: examples/ssd_of_files.c include/snvme/snvme.h $(B)/libsnvme.a
	$(Q)$(CC) $(CPPFLAGS) $(STRICT) $(CFLAGS) -o $@ $< $(B)/libsnvme.a $(LIB_LIBS)

.PHONY: demo-host
demo-host: deps
	@$(MAKE) --no-print-directory do-demo-host

.PHONY: do-demo-host
do-demo-host: all $(B)/ssd_of_files
	$(Q)scripts/demo-host.sh

.PHONY: coverage
coverage: deps
	@scripts/coverage.sh

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
