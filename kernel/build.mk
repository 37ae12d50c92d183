# SPDX-License-Identifier: MIT
# The microkernel: $(BUILD)/kernel.elf, from kernel/, arch/x86/ with its backends, and lib/. It is linked twice: the
# second time with the table of symbols taken from the first, for backtraces.
KERNEL_C    := $(filter-out arch/x86/offsets.c,$(wildcard kernel/*.c arch/x86/*.c arch/x86/vmx/*.c arch/x86/svm/*.c))
KERNEL_ASM  := $(wildcard arch/x86/*.asm arch/x86/vmx/*.asm arch/x86/svm/*.asm)
KERNEL_OBJ  := $(KERNEL_C:%.c=$(BUILD)/kernel/%.o) $(KERNEL_ASM:%.asm=$(BUILD)/kernel/%.asm.o)
# An archive: the linker takes what the kernel calls, and leaves the parsers to the others.
KERNEL_LIB  := $(patsubst %.c,$(BUILD)/kernel/%.o,$(wildcard lib/*.c))
KERNEL_CFLAGS := $(CFLAGS_COMMON) -mcmodel=kernel

.PHONY: kernel
kernel: $(BUILD)/kernel.elf ## the microkernel

$(BUILD)/offsets.inc: arch/x86/offsets.c
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(KERNEL_CFLAGS) -MT $@ -MF $(BUILD)/offsets.d -S -o - $< | \
		sed -n 's/^.*->\([A-Za-z0-9_]*\) \$$\{0,1\}\(-\{0,1\}[0-9]*\).*$$/%define \1 \2/p' > $@

$(BUILD)/kernel/%.o: %.c
	$(Q)mkdir -p $(@D)
	$(Q)echo "  CC      $<"
	$(Q)$(CC) $(KERNEL_CFLAGS) -c -o $@ $<

$(BUILD)/kernel/lib/string.o: KERNEL_CFLAGS += -fno-tree-loop-distribute-patterns
# no frame pointer where every instruction of a VM exit counts
$(BUILD)/kernel/arch/x86/vmx/fast.o $(BUILD)/kernel/kernel/msr.o: KERNEL_CFLAGS += -fomit-frame-pointer

$(BUILD)/kernel/%.asm.o: %.asm $(BUILD)/offsets.inc
	$(Q)mkdir -p $(@D)
	$(Q)echo "  NASM    $<"
	$(Q)$(NASM) $(NASMFLAGS) -MD $(@:.o=.d) -o $@ $<

# First pass: an empty table. Second pass: the real one, which is last in the image, so nothing moves.
$(BUILD)/symbols0.asm: tools/symbols.sh
	$(Q)mkdir -p $(@D)
	$(Q)tools/symbols.sh > $@
$(BUILD)/symbols1.asm: $(BUILD)/kernel0.elf tools/symbols.sh
	$(Q)tools/symbols.sh $< > $@
$(BUILD)/symbols%.o: $(BUILD)/symbols%.asm
	$(Q)$(NASM) $(NASMFLAGS) -o $@ $<
$(BUILD)/kernel/lib.a: $(KERNEL_LIB)
	$(Q)rm -f $@
	$(Q)ar rcsD $@ $^
KERNEL_LD := $(LD) -nostdlib -static -z noexecstack -z max-page-size=4096 -T linker.ld
$(BUILD)/kernel0.elf: $(KERNEL_OBJ) $(BUILD)/kernel/lib.a $(BUILD)/symbols0.o linker.ld
	$(Q)$(KERNEL_LD) -o $@ $(KERNEL_OBJ) $(BUILD)/symbols0.o $(BUILD)/kernel/lib.a
$(BUILD)/kernel.elf: $(KERNEL_OBJ) $(BUILD)/kernel/lib.a $(BUILD)/symbols1.o linker.ld
	$(Q)echo "  LD      $@"
	$(Q)$(KERNEL_LD) -o $@ $(KERNEL_OBJ) $(BUILD)/symbols1.o $(BUILD)/kernel/lib.a
