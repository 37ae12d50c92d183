/* SPDX-License-Identifier: MIT */
/* What the loader says of physical memory. */
#include "kernel/physmem.h"

#include "lib/string.h"

const char *physmem_read(const struct bootinfo *b, struct physmem *out)
{
    u64 end = 0;

    memset(out, 0, sizeof(*out));
    if (b->range_count > BOOT_MAX_RANGES || b->module_count > BOOT_MAX_MODULES ||
        b->segment_count > BOOT_MAX_SEGMENTS || b->cpu_count > BOOT_MAX_CPUS || !b->cpu_count) {
        return "a count is out of range";
    }
    for (u32 i = 0; i < b->range_count; i++) {
        const struct boot_range *r = &b->ranges[i];
        if ((r->base | r->bytes) & PAGE_MASK || r->base < end || r->base + r->bytes < r->base) {
            return "the memory map is not sorted, aligned and free of overlaps";
        }
        end = r->base + r->bytes;
        if (r->type == BOOT_MEM_USABLE) {
            out->guest_bytes += r->bytes;
        } else if (r->type == BOOT_MEM_POOL && out->pool_count < BOOT_MAX_POOLS) {
            out->pool[out->pool_count++] = *r;
        }
    }
    return out->pool_count ? NULL : "too little for a kernel pool";
}
