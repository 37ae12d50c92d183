# SPDX-License-Identifier: MIT
# Socle. `make help` lists the targets; each area's rules are in its own build.mk.
BUILD ?= build
V     ?= 0
Q     := $(if $(filter 1,$(V)),,@)

.DEFAULT_GOAL := all
.SUFFIXES:
.SECONDARY:
.DELETE_ON_ERROR:

CC      := gcc
LD      := ld
NASM    := nasm
OBJCOPY := objcopy

WARN := -Wall -Wextra -Werror -Wshadow -Wundef -Wmissing-prototypes -Wstrict-prototypes -Wvla \
        -Wimplicit-fallthrough
# All freestanding code: kernel, ring-3 programs, guests.
CFLAGS_COMMON := -std=gnu11 -ffreestanding -O2 -g $(WARN) -fno-strict-aliasing -fno-common \
        -fno-stack-protector -fno-asynchronous-unwind-tables -mgeneral-regs-only -mno-red-zone \
        -fno-omit-frame-pointer -fno-pic -no-pie -fcf-protection=none -I. -MMD -MP \
        -ffile-prefix-map=$(CURDIR)/=
NASMFLAGS := -f elf64 -g -F dwarf -I./ -I$(BUILD)/ -w+error

include boot/build.mk
include kernel/build.mk
include vmm/build.mk
include guests/build.mk
include tests/build.mk
include tools/build.mk

.PHONY: all clean help
all: loader kernel programs guests ## build everything

clean: ## remove the build folder (fetched packages stay in their cache)
	$(Q)rm -rf $(BUILD)

help: ## this list
	$(Q)grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | sort

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
