# SPDX-License-Identifier: MIT
# Tests that run on the host. A line /* SOURCES: lib/config.c ... */ in a test names the files of the
# project that it is linked with, a line /* LIBS: Zydis ... */ other libraries. Unit tests
# (tests/unit/test_X.c) use cmocka; a line /* SANITIZE: thread */ takes the thread sanitizer in place of
# address and undefined behaviour.
# Fuzzers (tests/fuzz/fuzz_X.c) use libFuzzer, seeds from tests/fuzz/corpus/X/, words from
# tests/fuzz/X.dict. A line /* HARNESS: kernel */ compiles all that the test is made of with
# tests/host/kernel_host.h ahead of everything; KERNEL_HOST among its sources stands for the whole kernel
# and the fake machine that it boots on.
UNIT_C    := $(wildcard tests/unit/test_*.c)
UNIT_BIN  := $(UNIT_C:tests/unit/%.c=$(BUILD)/unit/%)
FUZZ_C    := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_BIN  := $(FUZZ_C:tests/fuzz/%.c=$(BUILD)/fuzz/%)
CLANG     ?= clang
T         ?= 60

HOST_WARN  := -std=gnu11 -I. -g -O1 -Wall -Wextra -Werror -fno-omit-frame-pointer -MMD -MP
UNIT_asan  := -fsanitize=address,undefined -fno-sanitize-recover=all
UNIT_tsan  := -fsanitize=thread
UNIT_kernel := $(UNIT_asan) -include tests/host/kernel_host.h
FUZZ_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_kernel := -include tests/host/kernel_host.h -Wno-constant-conversion

HOST_KERNEL_C := $(filter-out kernel/kmem.c kernel/panic.c kernel/selftest.c,$(wildcard kernel/*.c)) \
        lib/pagetable.c lib/pagetable_format.c lib/format.c $(wildcard tests/host/*.c)

# The words after a tag in the head of a file: $(call tagged,SOURCES,file)
tagged = $(shell sed -n 's|^ *[/*]* *$(1): *\([^*]*\).*|\1|p' $(2))
libs = $(addprefix -l,$(call tagged,LIBS,$(1)))
sources = $(subst KERNEL_HOST,$(HOST_KERNEL_C),$(call tagged,SOURCES,$(1)))
# asan, tsan or kernel
flavour = $(or $(if $(filter thread,$(call tagged,SANITIZE,$(1))),tsan),$(call tagged,HARNESS,$(1)),asan)

# One unit test: $(call unit_rule,name,flavour)
define unit_rule
$(BUILD)/unit/$(1): $(BUILD)/unit/$(2)/tests/unit/$(1).o $(patsubst %.c,$(BUILD)/unit/$(2)/%.o,$(call sources,tests/unit/$(1).c))
	$$(Q)$$(CC) $$(UNIT_$(2)) -o $$@ $$(filter %.o,$$^) -lcmocka -lpthread $(call libs,tests/unit/$(1).c)
endef

define fuzz_rule
$(BUILD)/fuzz/$(1): $(BUILD)/fuzz/$(2)/tests/fuzz/$(1).o $(patsubst %.c,$(BUILD)/fuzz/$(2)/%.o,$(call sources,tests/fuzz/$(1).c))
	$$(Q)$$(CLANG) -fsanitize=fuzzer $$(FUZZ_FLAGS) -o $$@ $$(filter %.o,$$^) $(call libs,tests/fuzz/$(1).c)
endef

$(foreach t,$(UNIT_C:tests/unit/%.c=%),$(eval $(call unit_rule,$(t),$(strip $(call flavour,tests/unit/$(t).c)))))
$(foreach t,$(FUZZ_C:tests/fuzz/%.c=%),$(eval $(call fuzz_rule,$(t),$(patsubst asan,obj,$(strip $(call flavour,tests/fuzz/$(t).c))))))

$(BUILD)/unit/asan/%.o: %.c
	$(Q)mkdir -p $(@D)
	$(Q)echo "  UNITCC  $<"
	$(Q)$(CC) $(HOST_WARN) $(UNIT_asan) -c -o $@ $<

$(BUILD)/unit/kernel/%.o: %.c
	$(Q)mkdir -p $(@D)
	$(Q)echo "  UNITCC  $<"
	$(Q)$(CC) $(HOST_WARN) $(UNIT_kernel) -c -o $@ $<

$(BUILD)/unit/tsan/%.o: %.c
	$(Q)mkdir -p $(@D)
	$(Q)echo "  UNITCC  $<"
	$(Q)$(CC) $(HOST_WARN) $(UNIT_tsan) -c -o $@ $<

$(BUILD)/fuzz/obj/%.o: %.c
	$(Q)mkdir -p $(@D)
	$(Q)echo "  FUZZCC  $<"
	$(Q)$(CLANG) $(HOST_WARN) -fsanitize=fuzzer-no-link $(FUZZ_FLAGS) -c -o $@ $<

$(BUILD)/fuzz/kernel/%.o: %.c
	$(Q)mkdir -p $(@D)
	$(Q)echo "  FUZZCC  $<"
	$(Q)$(CLANG) $(HOST_WARN) -fsanitize=fuzzer-no-link $(FUZZ_FLAGS) $(FUZZ_kernel) -c -o $@ $<

.PHONY: unit fuzz unit-build fuzz-build
unit-build: $(UNIT_BIN)
fuzz-build: $(FUZZ_BIN)

unit: $(UNIT_BIN) ## unit tests on the host, under sanitizers
	$(Q)tests/run-unit $(UNIT_BIN)

fuzz: $(FUZZ_BIN) ## every fuzzer for T seconds (T=60)
	$(Q)tests/run-fuzz $(T) $(BUILD)/fuzz $(FUZZ_BIN)

# For `make bench`: a loader that starts Linux on the bare machine, in a build folder of its own beside links to the rest,
# and an initrd whose first program tells the time.
BARE     := $(BUILD)/bare
BARE_C   := tests/bench/bare/bare.c vmm/machine/ram.c vmm/machine/firmware.c $(wildcard vmm/load/*.c) vmm/machine/dsdt.c
BARE_OBJ := $(filter-out $(BUILD)/loader/boot/main.o,$(LOADER_OBJ)) $(BARE_C:%.c=$(BUILD)/loader/%.o)

.PHONY: bench-programs
bench-programs: $(BARE)/BOOTX64.EFI $(if $(LINUX_OUT),$(GUEST_DIR)/linux/bench.img)

$(BARE)/loader.so: $(BARE_OBJ) $(EFI_LIB)/crt0-efi-x86_64.o $(EFI_LIB)/elf_x86_64_efi.lds
	$(Q)mkdir -p $(@D)
	$(Q)$(EFI_LINK) -o $@ $(EFI_LIB)/crt0-efi-x86_64.o $(BARE_OBJ) -L$(EFI_LIB) -lgnuefi

$(BARE)/BOOTX64.EFI: $(BARE)/loader.so
	$(Q)echo "  EFI     $@"
	$(Q)$(EFI_COPY) $< $@
	$(Q)ln -sfn $(addprefix ../,guests kernel.elf manager.elf vmm.elf input.elf) $(@D)

$(BARE)/init.elf: tests/bench/bare/init.asm
	$(Q)mkdir -p $(@D)
	$(Q)$(NASM) $(NASMFLAGS) -o $(@:.elf=.o) $<
	$(Q)$(LD) -static -o $@ $(@:.elf=.o)

$(GUEST_DIR)/linux/bench.img: $(GUEST_DIR)/linux/initrd.img $(BARE)/init.elf
	$(Q)echo "  CPIO    $@"
	$(Q)$(PYTHON) guests/linux/initramfs.py $@ $(LINUX_CACHE)/busybox bench-init=$(BARE)/init.elf
