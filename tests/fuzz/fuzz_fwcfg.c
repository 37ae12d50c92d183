/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/device/fwcfg.c vmm/machine/bus.c vmm/machine/ram.c tests/unit/fake_host.c */
/* fw_cfg beside a model that does everything byte by byte, on a copy of the memory. Input:
 * operations of 1 byte and what they take. Selected item, position, data and all of memory must
 * agree after each; where an order fails, only its target may have changed. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_host.h"
#include "vmm/device/fwcfg.h"

#define MEMORY (96u << 10)

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

struct input {
    const u8 *data;
    size_t size;
};

struct model {
    const u8 *item;
    u32 bytes, at;
    u8 memory[MEMORY];
};

static const u8 small[] = "The quick brown fox", large[30000];

static void check(bool good)
{
    if (!good) {
        abort();
    }
}

static u64 take(struct input *in, u32 bytes)
{
    u64 value = 0;

    for (u32 i = 0; i < bytes && in->size; i++, in->size--) {
        value = value << 8 | *in->data++;
    }
    return value;
}

static void model_select(struct model *m, const struct fwcfg *f, u16 key)
{
    m->item = NULL;
    m->bytes = m->at = 0;
    for (u32 i = 0; i < f->item_count; i++) {
        if (f->items[i].key == (key & ~FWCFG_WRITE_CHANNEL)) {
            m->item = f->items[i].data;
            m->bytes = f->items[i].bytes;
        }
    }
}

static u8 model_byte(struct model *m)
{
    return m->at < m->bytes ? m->item[m->at++] : 0;
}

/* Carries out the order in the model's memory; the result that the device is to give. */
static u32 model_order(struct model *m, const struct fwcfg *f, const struct fwcfg_order *o)
{
    u32 control = __builtin_bswap32(o->control), length = __builtin_bswap32(o->length);
    u64 address = __builtin_bswap64(o->address);

    if (control & FWCFG_DMA_SELECT) {
        model_select(m, f, (u16)(control >> 16));
    }
    u32 there = MIN(length, m->bytes - m->at);
    if (control & FWCFG_DMA_READ) {
        if (length - there > FWCFG_MAX_ZEROES ||
            (length && (address >= MEMORY || length > MEMORY - address))) {
            return FWCFG_DMA_ERROR;
        }
        for (u32 i = 0; i < length; i++) {
            m->memory[address + i] = model_byte(m);
        }
        return 0;
    }
    if (control & FWCFG_DMA_WRITE) {
        return length ? FWCFG_DMA_ERROR : 0;
    }
    if (control & FWCFG_DMA_SKIP) {
        m->at += there;
    }
    return 0;
}

static void order(struct machine *m, struct fwcfg *f, struct model *model, struct input *in)
{
    struct fwcfg_order o = {
        .control = __builtin_bswap32((u32)take(in, 4)),
        .length = __builtin_bswap32((u32)take(in, 3)),
        .address = __builtin_bswap64(take(in, 3) % (MEMORY + PAGE_SIZE)),
    };
    u32 at = (u32)take(in, 3) % (MEMORY + 16);
    u32 n = at < MEMORY ? MIN(MEMORY - at, sizeof(o)) : 0;
    u32 high = (u32)take(in, 1) / 255; /* seldom: 4 GiB too high */
    u32 length = __builtin_bswap32(o.length);
    u64 address = __builtin_bswap64(o.address);

    if (n) {
        memcpy(m->ram.base + at, &o, n);
        memcpy(model->memory + at, &o, n);
    }
    bus_out(&m->bus, FWCFG_DMA_PORT, 4, __builtin_bswap32(high));
    bus_out(&m->bus, FWCFG_DMA_PORT + 4, 4, __builtin_bswap32(at));
    check(!f->dma_high);
    if (high) {
        return;
    }
    u32 result = n < sizeof(o) ? FWCFG_DMA_ERROR : model_order(model, f, &o);
    if (result && n == sizeof(o) && address < MEMORY) { /* what arrived before it failed */
        u64 part = MIN(length, MEMORY - address);
        memcpy(model->memory + address, m->ram.base + address, part);
        model->at = f->offset;
    }
    result = __builtin_bswap32(result);
    if (n >= sizeof(result)) {
        memcpy(model->memory + at, &result, sizeof(result));
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    struct machine *m = malloc(sizeof(*m));
    struct fwcfg *f = malloc(sizeof(*f));
    struct model *model = calloc(1, sizeof(*model));
    struct input in = {data, MIN(size, 512)};

    fake_host_reset(m);
    m->ram.base = calloc(1, MEMORY);
    m->ram.count = 1;
    m->ram.range[0] = (struct ram_range){0, MEMORY};
    fwcfg_init(f);
    check(fwcfg_add(f, 5, small, sizeof(small)) && fwcfg_add_number(f, 3, 0x1122334455667788, 8) &&
          fwcfg_add_file(f, "small", small, sizeof(small)) &&
          fwcfg_add_file(f, "large", large, sizeof(large)) && fwcfg_attach(f, m));
    model_select(model, f, FWCFG_SIGNATURE);
    while (in.size) {
        u32 operation = (u32)take(&in, 1);

        if (operation < 64) {
            u16 key = (u16)take(&in, 2);
            bus_out(&m->bus, FWCFG_PORT, 2, key);
            model_select(model, f, key);
        } else if (operation < 128) {
            check(bus_in(&m->bus, FWCFG_PORT + (operation & 1), 1) == model_byte(model));
        } else if (operation < 160) { /* nothing that changes anything */
            u32 port = FWCFG_PORT + operation % 12;
            u8 bytes = (u8)(1u << (operation >> 2 & 1));
            bus_out(&m->bus, (u16)port, port == FWCFG_PORT ? 1 : bytes, (u32)take(&in, 2));
        } else {
            order(m, f, model, &in);
        }
        check(f->item->bytes == model->bytes && f->offset == model->at);
        check(f->offset <= f->item->bytes);
    }
    check(!memcmp(m->ram.base, model->memory, MEMORY));
    free(m->ram.base);
    free(model);
    free(f);
    free(m);
    return 0;
}
