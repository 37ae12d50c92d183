/* SPDX-License-Identifier: MIT */
/* QEMU's fw_cfg device: ports, and orders in guest memory. */
#include "vmm/device/fwcfg.h"

#include "lib/string.h"

#define DMA_SIGNATURE "QEMU CFG" /* the address register reads as this */
#define ZERO_STEP     4096u

static const struct fwcfg_item nothing = {.data = (const u8 *)""};

/* The item with this key, or nothing, which reads as zeroes. */
static const struct fwcfg_item *find(const struct fwcfg *f, u16 key)
{
    for (u32 i = 0; i < f->item_count; i++) {
        if (f->items[i].key == key) {
            return &f->items[i];
        }
    }
    return &nothing;
}

static void select_key(struct fwcfg *f, u16 key)
{
    f->item = find(f, key & (u16)~FWCFG_WRITE_CHANNEL);
    f->offset = 0;
}

/* The next length bytes of the item go to guest memory, with zeroes behind its end. */
static bool read_to(struct fwcfg *f, gpa_t to, u32 length)
{
    static const u8 zeroes[ZERO_STEP];
    u32 there = MIN(length, f->item->bytes - f->offset);

    if (length - there > FWCFG_MAX_ZEROES ||
        !host_memory_write(f->host, to, f->item->data + f->offset, there)) {
        return false;
    }
    f->offset += there;
    for (u32 at = there, step; at < length; at += step) {
        step = MIN(length - at, ZERO_STEP);
        if (!host_memory_write(f->host, GPA(to.v + at), zeroes, step)) {
            return false;
        }
    }
    return true;
}

/* Carries out an order whose fields are in the CPU's byte order; false: it failed. */
static bool execute(struct fwcfg *f, u32 control, u32 length, gpa_t address)
{
    if (control & FWCFG_DMA_SELECT) {
        select_key(f, (u16)(control >> 16));
    }
    if (control & FWCFG_DMA_READ) {
        return read_to(f, address, length);
    }
    if (control & FWCFG_DMA_WRITE) {
        return !length; /* all items are read-only */
    }
    if (control & FWCFG_DMA_SKIP) {
        f->offset += MIN(length, f->item->bytes - f->offset);
    }
    return true;
}

/* The guest may change an order while it is carried out, or have it overwritten by its own data:
 * what counts is the copy. */
static void start_order(struct fwcfg *f, gpa_t at)
{
    struct fwcfg_order order;
    bool done = host_memory_read(f->host, &order, at, sizeof(order)) &&
                execute(f, __builtin_bswap32(order.control), __builtin_bswap32(order.length),
                        GPA(__builtin_bswap64(order.address)));
    u32 result = done ? 0 : __builtin_bswap32(FWCFG_DMA_ERROR);

    if (!host_memory_write(f->host, at, &result, sizeof(result))) {
        return; /* not RAM: there is no place for a result */
    }
}

/* As in QEMU, both ports give data: the selector is only written. */
static u32 data_read(void *device, u16 offset, u8 bytes)
{
    struct fwcfg *f = device;

    (void)offset;
    if (bytes != 1) {
        return 0xffffffff;
    }
    return f->offset < f->item->bytes ? f->item->data[f->offset++] : 0;
}

/* Data is not written: bytes are ignored. */
static void selector_write(void *device, u16 offset, u8 bytes, u32 value)
{
    (void)offset; /* 16 bits fit at 0 alone */
    if (bytes == 2) {
        select_key(device, (u16)value);
    }
}

static u32 dma_read(void *device, u16 offset, u8 bytes)
{
    u32 value;

    (void)device;
    (void)bytes; /* always 4 */
    memcpy(&value, &DMA_SIGNATURE[offset], sizeof(value));
    return value;
}

static void dma_write(void *device, u16 offset, u8 bytes, u32 value)
{
    struct fwcfg *f = device;
    u32 half = __builtin_bswap32(value);

    (void)bytes; /* always 4 */
    if (offset == 0) {
        f->dma_high = half;
    } else if (offset == 4) {
        gpa_t at = GPA((u64)f->dma_high << 32 | half);
        f->dma_high = 0;
        start_order(f, at);
    }
}

bool fwcfg_add(struct fwcfg *f, u16 key, const void *data, u32 bytes)
{
    if (f->item_count == FWCFG_MAX_ITEMS || find(f, key) != &nothing) {
        return false;
    }
    f->items[f->item_count++] = (struct fwcfg_item){.key = key, .bytes = bytes, .data = data};
    return true;
}

bool fwcfg_add_number(struct fwcfg *f, u16 key, u64 value, u32 bytes)
{
    struct fwcfg_item *item = &f->items[f->item_count];

    if (bytes > sizeof(item->number) || !fwcfg_add(f, key, item->number, bytes)) {
        return false;
    }
    memcpy(item->number, &value, bytes);
    return true;
}

bool fwcfg_add_file(struct fwcfg *f, const char *name, const void *data, u32 bytes)
{
    u16 key = (u16)(FWCFG_FILE_FIRST + f->file_count);
    size_t n = strlen(name);

    if (f->file_count == FWCFG_MAX_FILES || n >= FWCFG_NAME_BYTES ||
        !fwcfg_add(f, key, data, bytes)) {
        return false;
    }
    struct fwcfg_file *file = &f->directory.file[f->file_count++];
    file->size = __builtin_bswap32(bytes);
    file->select = __builtin_bswap16(key);
    memcpy(file->name, name, n);
    f->directory.count = __builtin_bswap32(f->file_count);
    return true;
}

void fwcfg_init(struct fwcfg *f)
{
    memset(f, 0, sizeof(*f));
    f->items[0] = (struct fwcfg_item){FWCFG_SIGNATURE, 4, (const u8 *)"QEMU", {0}};
    f->items[1] =
        (struct fwcfg_item){FWCFG_ID, 4, f->items[1].number, {FWCFG_ID_PORTS | FWCFG_ID_DMA}};
    f->items[2] =
        (struct fwcfg_item){FWCFG_FILE_DIR, sizeof(f->directory), (const u8 *)&f->directory, {0}};
    f->item_count = 3;
    f->item = f->items;
}

bool fwcfg_attach(struct fwcfg *f, struct machine *host)
{
    const struct host_ports ports = {
        .device = f,
        .read = data_read,
        .write = selector_write,
        .base = FWCFG_PORT,
        .count = 2,
        .widths = HOST_WIDTH_8 | HOST_WIDTH_16,
    };
    const struct host_ports dma = {
        .device = f,
        .read = dma_read,
        .write = dma_write,
        .base = FWCFG_DMA_PORT,
        .count = 8,
        .widths = HOST_WIDTH_32,
    };

    f->host = host;
    f->dma_high = 0;
    select_key(f, FWCFG_SIGNATURE);
    return host_add_ports(host, &ports) && host_add_ports(host, &dma);
}
