# SPDX-License-Identifier: MIT
# Guests: each guests/NAME.c becomes $(BUILD)/guests/NAME.elf, an ELF32 container with 64-bit code behind a
# Multiboot 1 header, so that the same file starts under Socle and by `qemu-system-x86_64 -kernel`; each
# guests/NAME.asm becomes the flat $(BUILD)/guests/NAME.bin. hello is built in every container there is.
# NAME.elf64 is the same with debug information.
GUEST_DIR    := $(BUILD)/guests
GUEST_C      := $(wildcard guests/*.c)
BENCH_C      := $(wildcard tests/bench/*.c)
GUEST_ASM    := $(wildcard guests/*.asm)
GUEST_LIB_C  := $(wildcard guests/lib/*.c) lib/acpi.c lib/format.c lib/string.c
GUEST_LIB_ASM := $(filter-out guests/lib/start.asm,$(wildcard guests/lib/*.asm))
GUEST_LIB_O  := $(GUEST_LIB_C:%.c=$(GUEST_DIR)/obj/%.o) $(GUEST_LIB_ASM:%.asm=$(GUEST_DIR)/obj/%.asm.o)
GUEST_OUT    := $(GUEST_C:guests/%.c=$(GUEST_DIR)/%.elf) $(GUEST_ASM:guests/%.asm=$(GUEST_DIR)/%.bin) \
                $(GUEST_DIR)/hello-elf64.elf $(GUEST_DIR)/hello-multiboot2.elf $(GUEST_DIR)/hello-aout.elf \
                $(GUEST_DIR)/bench.elf $(GUEST_DIR)/module.txt
# Linux, when tools/setup could fetch it
LINUX_CACHE  := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/socle/linux
STRESS_CACHE := $(dir $(LINUX_CACHE))stress
LINUX_OUT    := $(if $(wildcard $(LINUX_CACHE)/vmlinuz-amd64),$(addprefix $(GUEST_DIR)/linux/,vmlinuz-cloud-amd64 \
                vmlinuz-amd64 initrd.img) $(if $(wildcard $(STRESS_CACHE)/stress-ng),$(GUEST_DIR)/linux/stress.img))
GUEST_LINK    = $(LD) -nostdlib -static -z noexecstack -z max-page-size=4096 -T guests/lib/guest.ld

.PHONY: guests
guests: $(GUEST_OUT) $(LINUX_OUT) ## the guest kernels

$(GUEST_DIR)/obj/%.o: %.c
	$(Q)mkdir -p $(@D)
	$(Q)echo "  CC      $<"
	$(Q)$(CC) $(CFLAGS_COMMON) -c -o $@ $<

$(GUEST_DIR)/obj/lib/string.o: CFLAGS_COMMON += -fno-tree-loop-distribute-patterns

$(GUEST_DIR)/obj/%.asm.o: %.asm
	$(Q)mkdir -p $(@D)
	$(Q)echo "  NASM    $<"
	$(Q)$(NASM) $(NASMFLAGS) -MD $(@:.o=.d) -o $@ $<

$(GUEST_DIR)/obj/start-%.o: guests/lib/start.asm
	$(Q)mkdir -p $(@D)
	$(Q)$(NASM) $(NASMFLAGS) -D$* -o $@ $<

$(GUEST_DIR)/obj/lib.a: $(GUEST_LIB_O)
	$(Q)rm -f $@
	$(Q)ar rcs $@ $^

$(GUEST_DIR)/%.elf64: $(GUEST_DIR)/obj/guests/%.o $(GUEST_DIR)/obj/start-MULTIBOOT1.o $(GUEST_DIR)/obj/lib.a guests/lib/guest.ld
	$(Q)echo "  LD      $@"
	$(Q)$(GUEST_LINK) -o $@ $(filter %.o %.a,$^)

$(GUEST_DIR)/bench.elf64: $(BENCH_C:%.c=$(GUEST_DIR)/obj/%.o) $(GUEST_DIR)/obj/start-MULTIBOOT1.o $(GUEST_DIR)/obj/lib.a guests/lib/guest.ld
	$(Q)echo "  LD      $@"
	$(Q)$(GUEST_LINK) -o $@ $(filter %.o %.a,$^)

$(GUEST_DIR)/%.elf: $(GUEST_DIR)/%.elf64
	$(Q)$(OBJCOPY) --strip-all -O elf32-i386 $< $@

$(GUEST_DIR)/hello-elf64.elf: $(GUEST_DIR)/hello.elf64
	$(Q)$(OBJCOPY) --strip-all $< $@

$(GUEST_DIR)/hello-multiboot2.elf: $(GUEST_DIR)/obj/guests/hello.o $(GUEST_DIR)/obj/start-MULTIBOOT2.o $(GUEST_DIR)/obj/lib.a
	$(Q)$(GUEST_LINK) -s -o $@ $(filter %.o %.a,$^)

$(GUEST_DIR)/hello-aout.elf: $(GUEST_DIR)/obj/guests/hello.o $(GUEST_DIR)/obj/start-AOUT.o $(GUEST_DIR)/obj/lib.a
	$(Q)$(GUEST_LINK) -s -o $@ $(filter %.o %.a,$^)

$(GUEST_DIR)/module.txt: guests/module.txt
	$(Q)mkdir -p $(@D)
	$(Q)cp $< $@

$(GUEST_DIR)/%.bin: guests/%.asm
	$(Q)mkdir -p $(@D)
	$(Q)echo "  NASM    $<"
	$(Q)$(NASM) -f bin -I./ -w+error -MD $@.d -o $@ $<

$(GUEST_DIR)/linux/vmlinuz-%: $(LINUX_CACHE)/vmlinuz-%
	$(Q)mkdir -p $(@D)
	$(Q)cp $< $@

$(GUEST_DIR)/linux/initrd.img: $(LINUX_CACHE)/busybox $(wildcard $(LINUX_CACHE)/modules/*/*.ko) guests/linux/initramfs.py guests/linux/inittab guests/linux/rc
	$(Q)mkdir -p $(@D)
	$(Q)echo "  CPIO    $@"
	$(Q)$(PYTHON) guests/linux/initramfs.py $@ $(LINUX_CACHE)/busybox $(filter %.ko,$^)

# The same with stress-ng, where the loader and libraries look for each other.
$(GUEST_DIR)/linux/stress.img: $(GUEST_DIR)/linux/initrd.img $(wildcard $(STRESS_CACHE)/*)
	$(Q)echo "  CPIO    $@"
	$(Q)$(PYTHON) guests/linux/initramfs.py $@ $(LINUX_CACHE)/busybox bin/stress-ng=$(STRESS_CACHE)/stress-ng \
		lib64/ld-linux-x86-64.so.2=$(STRESS_CACHE)/ld-linux-x86-64.so.2 \
		$(foreach f,$(notdir $(wildcard $(STRESS_CACHE)/lib*)),lib/$(f)=$(STRESS_CACHE)/$(f))
