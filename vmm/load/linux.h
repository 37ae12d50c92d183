/* SPDX-License-Identifier: MIT */
/*
 * Linux kernels: a bzImage (Linux documentation "The Linux/x86 Boot Protocol", from version 2.02),
 * or an ELF vmlinux with the note of the PVH boot protocol (Xen documentation "x86/HVM direct boot
 * ABI").
 *
 * A bzImage that says that it can be is started in 64-bit mode, an older one in 32-bit mode,
 * neither by its real-mode code; an ELF file in 32-bit mode. Where things are put:
 *
 *   0x0500 GDT: 0x10 code of the mode, 0x18 data
 *   0x1000 64-bit mode: page tables (vmm/load/load.h)
 *   0x7000 boot_params, or hvm_start_info with its lists
 *   0x8000 command line, up to 0x8fff
 *   kernel: at the address that its header prefers, one without such above 1 MiB; an ELF file by
 *     its physical addresses
 *   initrd (module 0): as high below the hole at 3 GiB, and below the kernel's limit, as it fits
 */
#ifndef VMM_LOAD_LINUX_H
#define VMM_LOAD_LINUX_H

#include "vmm/load/load.h"

/* See load_image(). */
bool linux_load(const struct load_request *r, struct vcpu_state *state, struct load_error *error);

/* --- between the files of the loader --- */

#define LINUX_PARAMS       0x7000
#define LINUX_COMMAND      0x8000
#define LINUX_COMMAND_SIZE 0x1000
#define LINUX_CODE         0x10
#define LINUX_DATA         0x18

/* An ELF file. */
bool linux_pvh_load(const struct load_request *r, struct vcpu_state *state,
                    struct load_error *error);
/* Copies the options, which may have max characters. */
bool linux_put_command(const struct load_request *r, u64 max, struct load_error *error);
/* Copies the initrd to between kernel_end and limit; *gpa is its place. */
bool linux_put_initrd(const struct load_request *r, u64 kernel_end, u64 limit, u64 *gpa,
                      struct load_error *error);

#endif
