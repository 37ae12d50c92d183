/* SPDX-License-Identifier: MIT */
/* fw_cfg, by which QEMU and its like tell firmware what the machine is like. QEMU "QEMU Firmware
 * Configuration (fw_cfg) Device". */
#ifndef GUESTS_LIB_FWCFG_H
#define GUESTS_LIB_FWCFG_H

#include "lib/types.h"

#define FWCFG_SELECTOR   0x510
#define FWCFG_DATA       0x511
#define FWCFG_DMA_HIGH   0x514 /* address of a struct fwcfg_dma, big-endian */
#define FWCFG_DMA_LOW    0x518 /* starts it */

#define FWCFG_SIGNATURE  0x00 /* "QEMU" */
#define FWCFG_FEATURES   0x01
#define FWCFG_CPUS       0x05
#define FWCFG_FILES      0x19
#define FWCFG_HAS_DMA    BIT(1)

#define FWCFG_DMA_ERROR  BIT(0)
#define FWCFG_DMA_READ   BIT(1)
#define FWCFG_DMA_SKIP   BIT(2)
#define FWCFG_DMA_SELECT BIT(3)
#define FWCFG_DMA_WRITE  BIT(4)

struct fwcfg_dma { /* big-endian */
    u32 control, bytes;
    u64 address;
} PACKED;

struct fwcfg_file { /* big-endian */
    u32 bytes;
    u16 key, reserved;
    char name[56];
} PACKED;

bool fwcfg_present(void);
/* Number of CPUs at the start, 0: not told. */
u32 fwcfg_cpus(void);

/* Selects an item; then reads its bytes, from where the last read ended. */
void fwcfg_select(u16 key);
void fwcfg_read(void *out, u32 bytes);
/* The same by DMA, one transfer: control is FWCFG_DMA_* with a key in bits 31:16 for SELECT. The
 * control word afterwards: 0 when it is done. */
u32 fwcfg_dma(u32 control, void *memory, u32 bytes);
/* A file by name; false: none. Numbers in *file are in the CPU's order. */
bool fwcfg_find(const char *name, struct fwcfg_file *file);

#endif
