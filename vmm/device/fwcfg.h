/* SPDX-License-Identifier: MIT */
/*
 * QEMU's fw_cfg device ("QEMU Firmware Configuration (fw_cfg) Device"): named items of bytes that a
 * guest reads through ports 0x510 and 0x511, or has copied to its memory by an order at 0x514. All
 * items are read-only.
 */
#ifndef VMM_DEVICE_FWCFG_H
#define VMM_DEVICE_FWCFG_H

#include "lib/types.h"
#include "vmm/machine/host.h"

#define FWCFG_PORT      0x510 /* selector, 16 bits; data at the next port, 8 bits */
#define FWCFG_DMA_PORT  0x514 /* address of an order, big-endian, 2 times 32 bits */

#define FWCFG_MAX_ITEMS 24
#define FWCFG_MAX_FILES 8
/* Deviation: an order may ask for this many zeroes behind the end of an item, and no more, so that
 * its work is bounded by the items' sizes and this. */
#define FWCFG_MAX_ZEROES (64u << 10)

/* Keys of items. */
#define FWCFG_SIGNATURE  0x0000
#define FWCFG_ID         0x0001
#define FWCFG_RAM_SIZE   0x0003 /* 8 bytes */
#define FWCFG_NOGRAPHIC  0x0004 /* 2 bytes */
#define FWCFG_NB_CPUS    0x0005 /* 2 bytes */
#define FWCFG_MAX_CPUS   0x000f /* 2 bytes */
#define FWCFG_FILE_DIR   0x0019
#define FWCFG_FILE_FIRST 0x0020
#define FWCFG_WRITE_CHANNEL                                                                        \
    0x4000 /* a bit that once asked for write access, and says nothing now */
#define FWCFG_IRQ0_OVERRIDE 0x8002 /* 4 bytes: the PIT is wired to pin 2 of the IOAPIC */

#define FWCFG_ID_PORTS      BIT(0)
#define FWCFG_ID_DMA        BIT(1)

/* An order in guest memory; all fields big-endian. */
struct fwcfg_order {
    u32 control; /* FWCFG_DMA_*; the key to select in bits 31:16. The device writes the result here
                  */
    u32 length;
    u64 address;
};
#define FWCFG_DMA_ERROR  BIT(0) /* the result: failed. 0: done */
#define FWCFG_DMA_READ   BIT(1)
#define FWCFG_DMA_SKIP   BIT(2)
#define FWCFG_DMA_SELECT BIT(3)
#define FWCFG_DMA_WRITE  BIT(4)

#define FWCFG_NAME_BYTES 56

/* The directory as the guest reads it; numbers big-endian. */
struct fwcfg_file {
    u32 size;
    u16 select, reserved;
    char name[FWCFG_NAME_BYTES];
};
struct fwcfg_directory {
    u32 count;
    struct fwcfg_file file[FWCFG_MAX_FILES];
};
_Static_assert(sizeof(struct fwcfg_order) == 16 && sizeof(struct fwcfg_file) == 64,
               "fw_cfg layouts");

struct fwcfg_item {
    u16 key;
    u32 bytes;
    const u8 *data;
    u8 number[8]; /* what data points to, for a number */
};

struct fwcfg {
    struct machine *host;
    const struct fwcfg_item *item; /* the selected one */
    u32 offset;                    /* in it, at most its size */
    u32 dma_high;                  /* upper half of an order's address */
    u32 item_count, file_count;
    struct fwcfg_item items[FWCFG_MAX_ITEMS];
    struct fwcfg_directory directory;
};

/* Empties it, but for signature, feature bits and an empty directory. */
void fwcfg_init(struct fwcfg *f);

/* Add an item, before the device is attached; data must stay where it is. A number has 1 to 8
 * bytes, little-endian, and is copied. Files get keys from FWCFG_FILE_FIRST on and stand in the
 * directory in this order. false: no room, a key that is taken, or a name that is too long. */
bool fwcfg_add(struct fwcfg *f, u16 key, const void *data, u32 bytes) MUST_CHECK;
bool fwcfg_add_number(struct fwcfg *f, u16 key, u64 value, u32 bytes) MUST_CHECK;
bool fwcfg_add_file(struct fwcfg *f, const char *name, const void *data, u32 bytes) MUST_CHECK;

/* Puts the device on the bus, in its state after reset; false: no room there. */
bool fwcfg_attach(struct fwcfg *f, struct machine *host) MUST_CHECK;

#endif
