/* SPDX-License-Identifier: MIT */
/* Says what it was started with: protocol, command line, memory, modules. Linked in every container
 * that the boot protocols know (build.mk). */
#include "guests/lib/boot.h"
#include "guests/lib/console.h"
#include "guests/lib/memory.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "lib/format.h"

static void greeting(void)
{
    print("hello from 64-bit mode, started by Multiboot %d%s%s: %s\n", boot.protocol,
          boot.loader[0] ? " of " : "", boot.loader, boot.command);
    CHECK(boot.command[0], "command line '%s'", boot.command);
}

static void memory(void)
{
    static volatile u8 untouched[8192]; /* of .bss: the loader zeroes it */
    u64 end = 0, wrong = 0;

    print("memory: %lu KiB in %u ranges\n", boot.memory_bytes >> 10, boot.ram_count);
    CHECK(boot.ram_count > 0, "%u ranges", boot.ram_count);
    for (u32 i = 0; i < boot.ram_count; i++) {
        const struct boot_ram *r = &boot.ram[i];

        test_note("%lx..%lx type %u", r->base, r->base + r->bytes, r->type);
        CHECK(r->bytes > 0 && r->base + r->bytes > r->base, "range %u: %lx + %lx", i, r->base,
              r->bytes);
        CHECK(r->base >= end, "range %u at %lx, the one before ends at %lx", i, r->base, end);
        end = r->base + r->bytes;
    }
    CHECK(boot.memory_bytes >= (u64)boot_option_number("memory", 1 << 20) * 15 / 16, "usable: %lu",
          boot.memory_bytes);
    CHECK(boot.memory_end >= (u64)image_end, "memory ends at %lx, the image at %p", boot.memory_end,
          (void *)image_end);
    for (size_t i = 0; i < sizeof(untouched); i++) {
        wrong += untouched[i] != 0;
    }
    CHECK_EQ(wrong, 0);
}

static void modules(void)
{
    CHECK_EQ(boot.module_count, boot_option_number("modules", boot.module_count));
    for (u32 i = 0; i < boot.module_count; i++) {
        const struct boot_module *m = &boot.modules[i];
        const char *text = (const char *)m->base;
        u32 n = 0;

        while (n < m->bytes && n < 80 && text[n] != '\n') {
            n++;
        }
        print("module %u '%s', %lu bytes: %.*s\n", i, m->text, m->bytes, (int)n, text);
        CHECK((m->base & PAGE_MASK) == 0, "module %u at %lx, page-aligned", i, m->base);
        CHECK(m->base >= (u64)image_end || m->base + m->bytes <= (u64)image_start,
              "module %u at %lx, outside the image", i, m->base);
        CHECK(m->base + m->bytes <= boot.memory_end, "module %u ends at %lx", i,
              m->base + m->bytes);
    }
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"greeting", greeting},
        {"memory",   memory  },
        {"modules",  modules },
    };

    if (on_socle()) {
        print("this is Socle\n");
    }
    test_all("hello", tests, ARRAY_SIZE(tests));
}
