# SPDX-License-Identifier: MIT
# The UEFI loader: $(BUILD)/BOOTX64.EFI, linked with Debian's gnu-efi as a shared object that relocates
# itself, then turned into a PE32+ application.
EFI_INC    ?= /usr/include/efi
EFI_LIB    ?= /usr/lib

LOADER_C   := $(wildcard boot/*.c) lib/acpi.c lib/config.c lib/config_keys.c lib/config_value.c lib/elf.c \
              lib/font.c lib/format.c lib/screen.c lib/string.c
LOADER_ASM := $(wildcard boot/*.asm)
LOADER_OBJ := $(LOADER_C:%.c=$(BUILD)/loader/%.o) $(LOADER_ASM:%.asm=$(BUILD)/loader/%.asm.o)
LOADER_CFLAGS := $(filter-out -fno-pic -no-pie,$(CFLAGS_COMMON)) -fpic -fshort-wchar -fvisibility=hidden \
              -maccumulate-outgoing-args -DGNU_EFI_USE_MS_ABI -isystem $(EFI_INC) \
              -isystem $(EFI_INC)/x86_64
LOADER_SECTIONS := .text .sdata .data .dynamic .dynsym .rel .rela .rel.* .rela.* .reloc

EFI_LINK = $(LD) -nostdlib -znocombreloc -shared -Bsymbolic -z noexecstack --no-undefined --fatal-warnings \
              -T $(EFI_LIB)/elf_x86_64_efi.lds
EFI_COPY = SOURCE_DATE_EPOCH=0 $(OBJCOPY) $(LOADER_SECTIONS:%=-j '%') --target=efi-app-x86_64 --subsystem=10

.PHONY: loader
loader: $(BUILD)/BOOTX64.EFI ## the UEFI loader

$(BUILD)/loader/%.o: %.c
	$(Q)mkdir -p $(@D)
	$(Q)echo "  EFICC   $<"
	$(Q)$(CC) $(LOADER_CFLAGS) -c -o $@ $<

$(BUILD)/loader/lib/string.o: LOADER_CFLAGS += -fno-tree-loop-distribute-patterns

$(BUILD)/loader/%.asm.o: %.asm
	$(Q)mkdir -p $(@D)
	$(Q)echo "  NASM    $<"
	$(Q)$(NASM) $(NASMFLAGS) -MD $(@:.o=.d) -o $@ $<

$(BUILD)/loader.so: $(LOADER_OBJ) $(EFI_LIB)/crt0-efi-x86_64.o $(EFI_LIB)/elf_x86_64_efi.lds
	$(Q)$(EFI_LINK) -o $@ $(EFI_LIB)/crt0-efi-x86_64.o $(LOADER_OBJ) -L$(EFI_LIB) -lgnuefi

$(BUILD)/BOOTX64.EFI: $(BUILD)/loader.so
	$(Q)echo "  EFI     $@"
	$(Q)$(EFI_COPY) $< $@
