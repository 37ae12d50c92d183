# SPDX-License-Identifier: MIT
# Ring-3 programs: $(BUILD)/manager.elf, $(BUILD)/vmm.elf, $(BUILD)/input.elf and, when its source is there, selftest.elf.
# Each is linked with all of lib as an archive and with the stubs of arch/x86/user.
MANAGER_C  := $(wildcard vmm/manager/*.c)
VMM_C      := $(wildcard vmm/machine/*.c vmm/device/*.c vmm/load/*.c)
INPUT_C    := $(wildcard drivers/*.c)
SELFTEST_C := $(wildcard tests/ring3/*.c)
USER_ASM   := $(wildcard arch/x86/user/*.asm)
USER_LIB   := $(patsubst %.c,$(BUILD)/user/%.o,$(wildcard lib/*.c))
USER_STUBS := $(USER_ASM:%.asm=$(BUILD)/user/%.asm.o)
USER_CFLAGS := $(CFLAGS_COMMON) -ffunction-sections -fdata-sections
USER_LD    := $(LD) -nostdlib -static --gc-sections -z noexecstack -z max-page-size=4096 -T arch/x86/user/user.ld
PROGRAMS   := $(BUILD)/manager.elf $(BUILD)/vmm.elf $(BUILD)/input.elf $(if $(SELFTEST_C),$(BUILD)/selftest.elf)

.PHONY: programs
programs: $(PROGRAMS) ## the ring-3 programs

$(BUILD)/user/%.o: %.c
	$(Q)mkdir -p $(@D)
	$(Q)echo "  CC      $<"
	$(Q)$(CC) $(USER_CFLAGS) -c -o $@ $<

$(BUILD)/user/lib/string.o: USER_CFLAGS += -fno-tree-loop-distribute-patterns

$(BUILD)/user/%.asm.o: %.asm $(BUILD)/offsets.inc
	$(Q)mkdir -p $(@D)
	$(Q)echo "  NASM    $<"
	$(Q)$(NASM) $(NASMFLAGS) -MD $(@:.o=.d) -o $@ $<

$(BUILD)/user/lib.a: $(USER_LIB)
	$(Q)rm -f $@
	$(Q)ar rcsD $@ $^

# The guest's DSDT is compiled to AML and from there to a constant, for whoever is linked with
# vmm/machine/dsdt.o: the VMM, and tests.
IASL ?= iasl

$(BUILD)/dsdt.c: vmm/machine/dsdt.asl
	$(Q)mkdir -p $(@D)
	$(Q)echo "  IASL    $<"
	$(Q)$(IASL) -we -p $(BUILD)/dsdt $< >$(BUILD)/dsdt.log || { cat $(BUILD)/dsdt.log; false; }
	$(Q){ echo '#include "vmm/machine/firmware.h"'; echo 'const u8 firmware_dsdt[] = {'; \
	    od -An -v -tx1 $(BUILD)/dsdt.aml | sed 's/ \(..\)/0x\1,/g'; \
	    echo '};'; echo 'const u32 firmware_dsdt_bytes = sizeof(firmware_dsdt);'; } >$@

$(BUILD)/%/vmm/machine/dsdt.o: $(BUILD)/dsdt.c
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_COMMON) -c -o $@ $<

$(BUILD)/manager.elf: $(MANAGER_C:%.c=$(BUILD)/user/%.o)
$(BUILD)/vmm.elf: $(VMM_C:%.c=$(BUILD)/user/%.o) $(BUILD)/user/vmm/machine/dsdt.o
$(BUILD)/input.elf: $(INPUT_C:%.c=$(BUILD)/user/%.o)
$(BUILD)/selftest.elf: $(SELFTEST_C:%.c=$(BUILD)/user/%.o)

$(PROGRAMS): $(USER_STUBS) $(BUILD)/user/lib.a arch/x86/user/user.ld
	$(Q)echo "  LD      $@"
	$(Q)$(USER_LD) -o $@ $(filter %.o,$^) $(BUILD)/user/lib.a
