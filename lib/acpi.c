/* SPDX-License-Identifier: MIT */
/* Reader of ACPI tables. Layouts and names: ACPI 6.4, chapter "ACPI Software Programming Model". */
#include "lib/acpi.h"

#include "lib/string.h"

#define HEADER_BYTES 36         /* of every description table */
#define MAX_BYTES    (4u << 20) /* no table is larger; a longer one is damaged */
#define MAX_TABLES   256
#define CHUNK        256 /* bytes read at a time */

struct reader {
    const struct acpi_memory *memory;
    struct acpi_info *out;
    u64 dsdt;
    bool have_s5;
    u32 s5_typa, s5_typb;
};

/* A table whose length and checksum are right. */
struct table {
    u64 pa;
    u32 bytes;
    char signature[4];
    u8 revision;
};

static u64 field(const u8 *p, u32 bytes)
{
    u64 v = 0;

    while (bytes--) {
        v = v << 8 | p[bytes];
    }
    return v;
}

static bool read_bytes(const struct reader *r, u64 pa, void *dst, u32 bytes)
{
    return pa && pa + bytes > pa && r->memory->read(r->memory->ctx, pa, dst, bytes);
}

static bool sum_is_zero(const struct reader *r, u64 pa, u32 bytes)
{
    u8 chunk[CHUNK];
    u8 sum = 0;

    for (u32 done = 0; done < bytes; done += CHUNK) {
        u32 n = MIN(bytes - done, (u32)CHUNK);

        if (!read_bytes(r, pa + done, chunk, n)) {
            return false;
        }
        for (u32 i = 0; i < n; i++) {
            sum = (u8)(sum + chunk[i]);
        }
    }
    return sum == 0;
}

/* Opens the table at pa; false (and counted) when it is damaged. */
static bool open_table(struct reader *r, u64 pa, struct table *t)
{
    u8 h[HEADER_BYTES];

    if (!read_bytes(r, pa, h, sizeof(h))) {
        r->out->skipped++;
        return false;
    }
    t->pa = pa;
    t->bytes = (u32)field(h + 4, 4);
    t->revision = h[8];
    memcpy(t->signature, h, sizeof(t->signature));
    if (t->bytes < HEADER_BYTES || t->bytes > MAX_BYTES || !sum_is_zero(r, pa, t->bytes)) {
        r->out->skipped++;
        return false;
    }
    return true;
}

static bool is(const struct table *t, const char *signature)
{
    return memcmp(t->signature, signature, 4) == 0;
}

/* Up to bytes of the table from offset; what lies behind its end reads as zero. */
static void read_table(const struct reader *r, const struct table *t, u32 offset, u8 *dst,
                       u32 bytes)
{
    u32 n = offset < t->bytes ? MIN(bytes, t->bytes - offset) : 0;

    memset(dst, 0, bytes);
    if (n && !read_bytes(r, t->pa + offset, dst, n)) {
        memset(dst, 0, bytes);
    }
}

/* --- MADT --- */

static void add_cpu(struct acpi_info *out, u32 apic_id)
{
    for (u32 i = 0; i < out->cpu_count; i++) {
        if (out->cpu_apic_ids[i] == apic_id) {
            return;
        }
    }
    if (out->cpu_count == ACPI_MAX_CPUS) {
        out->cpus_left_out++;
        return;
    }
    out->cpu_apic_ids[out->cpu_count++] = apic_id;
}

static bool plausible_base(u64 base)
{
    return base && !(base & 0xff) && base < BIT(52);
}

static void read_madt(struct reader *r, const struct table *t)
{
    enum { LOCAL_APIC = 0, IO_APIC = 1, LAPIC_ADDRESS = 5, LOCAL_X2APIC = 9, ENABLED = 1 };
    struct acpi_info *out = r->out;
    u64 best_gsi = ~0ull;
    u8 e[16];

    read_table(r, t, HEADER_BYTES, e, 8);
    if (plausible_base(field(e, 4))) {
        out->lapic_base = field(e, 4);
    }
    for (u32 at = HEADER_BYTES + 8; at + 2 <= t->bytes;) {
        read_table(r, t, at, e, sizeof(e));
        u32 type = e[0], length = e[1];

        if (length < 2 || length > t->bytes - at) {
            break;
        }
        if (type == LOCAL_APIC && length >= 8 && (field(e + 4, 4) & ENABLED) && e[3] != 0xff) {
            add_cpu(out, e[3]);
        } else if (type == LOCAL_X2APIC && length >= 16 && (field(e + 8, 4) & ENABLED) &&
                   field(e + 4, 4) != 0xffffffff) {
            add_cpu(out, (u32)field(e + 4, 4));
        } else if (type == LAPIC_ADDRESS && length >= 12 && plausible_base(field(e + 4, 8))) {
            out->lapic_base = field(e + 4, 8);
        } else if (type == IO_APIC && length >= 12 && plausible_base(field(e + 4, 4)) &&
                   field(e + 8, 4) < best_gsi) {
            best_gsi = field(e + 8, 4);
            out->ioapic_base = field(e + 4, 4);
        }
        at += length;
    }
}

/* --- HPET --- */

static void read_hpet(struct reader *r, const struct table *t)
{
    u8 address[12]; /* a generic address structure: space, width, offset, access, 64-bit address */

    read_table(r, t, 40, address, sizeof(address));
    if (address[0] == 0 && plausible_base(field(address + 4, 8))) {
        r->out->hpet_base = field(address + 4, 8);
    }
}

/* --- FADT --- */

/* An I/O port that the FADT gives in a 32-bit field and maybe in an extended one; 0: none. */
static u32 fadt_port(const u8 *fadt, u32 narrow, u32 extended)
{
    enum { SPACE_IO = 1 };
    u64 port = field(fadt + extended + 4, 8);

    if (fadt[extended] != SPACE_IO || !port || port > 0xfffc) {
        port = field(fadt + narrow, 4);
    }
    return port > 0xfffc ? 0 : (u32)port;
}

static void read_fadt(struct reader *r, const struct table *t)
{
    enum {
        DSDT = 40,
        PM1A_CONTROL = 64,
        PM1B_CONTROL = 68,
        PM_TIMER = 76,
        PM_TIMER_LENGTH = 91,
        FLAGS = 112,
        X_DSDT = 140,
        X_PM1A_CONTROL = 172,
        X_PM1B_CONTROL = 184,
        X_PM_TIMER = 208,
        SIZE = 244,
        FLAG_TIMER_32 = 1 << 8,
        FLAG_HW_REDUCED = 1 << 20,
    };
    u8 fadt[SIZE];
    u64 flags;

    read_table(r, t, 0, fadt, sizeof(fadt));
    r->dsdt = field(fadt + X_DSDT, 8) ? field(fadt + X_DSDT, 8) : field(fadt + DSDT, 4);
    flags = field(fadt + FLAGS, 4);
    if (flags & FLAG_HW_REDUCED) {
        return;
    }
    r->out->pm1a_port = fadt_port(fadt, PM1A_CONTROL, X_PM1A_CONTROL);
    r->out->pm1b_port = fadt_port(fadt, PM1B_CONTROL, X_PM1B_CONTROL);
    if (fadt[PM_TIMER_LENGTH] == 4) {
        r->out->pm_timer_port = fadt_port(fadt, PM_TIMER, X_PM_TIMER);
        r->out->pm_timer_bits = flags & FLAG_TIMER_32 ? 32 : 24;
    }
}

/* --- \_S5_ --- */

/* A small integer constant of AML at *at; false: something else. */
static bool aml_integer(const u8 *p, u32 bytes, u32 *at, u32 *value)
{
    enum { ZERO = 0x00, ONE = 0x01, BYTE = 0x0a, WORD = 0x0b, DWORD = 0x0c };
    u8 op = *at < bytes ? p[*at] : 0xff;
    u32 size = op == BYTE ? 1 : op == WORD ? 2 : op == DWORD ? 4 : 0;

    if (op > ONE && !size) {
        return false;
    }
    if (size > bytes - *at - 1) {
        return false;
    }
    *value = size ? (u32)field(p + *at + 1, size) : op;
    *at += 1 + size;
    return true;
}

/* Is this Name (_S5_, Package () {typa, typb, ...})? p points to the name, bytes are left from
 * there. */
static bool aml_s5(struct reader *r, const u8 *p, u32 bytes)
{
    enum { PACKAGE = 0x12 };
    u32 at = 4, a = 0, b = 0;

    if (bytes < 8 || memcmp(p, "_S5_", 4) != 0 || p[at++] != PACKAGE) {
        return false;
    }
    at += 1 + (p[at] >> 6); /* package length, in 1 to 4 bytes */
    if (at >= bytes || p[at++] < 2) {
        return false;
    }
    if (!aml_integer(p, bytes, &at, &a) || !aml_integer(p, bytes, &at, &b) || a > 7 || b > 7) {
        return false;
    }
    r->s5_typa = a;
    r->s5_typb = b;
    return true;
}

/* Looks for \_S5_ in a definition block: a name operator, maybe a root prefix, and the package. */
static void scan_s5(struct reader *r, const struct table *t)
{
    enum { NAME = 0x08, REACH = 32 }; /* the longest form of what is looked for */
    u8 chunk[CHUNK];

    for (u32 at = HEADER_BYTES; at < t->bytes && !r->have_s5; at += CHUNK - REACH) {
        u32 n = MIN(t->bytes - at, (u32)CHUNK);

        read_table(r, t, at, chunk, n);
        for (u32 i = 1; i + 4 <= n && !r->have_s5; i++) {
            if (chunk[i] == '_' &&
                (chunk[i - 1] == NAME || (i > 1 && chunk[i - 1] == '\\' && chunk[i - 2] == NAME))) {
                r->have_s5 = aml_s5(r, chunk + i, n - i);
            }
        }
    }
}

/* --- root --- */

/* Finds the root table. False: there is no valid RSDP, or its root table is damaged. */
static bool open_root(struct reader *r, u64 rsdp, struct table *root, u32 *entry_bytes)
{
    enum { V1_BYTES = 20, V2_BYTES = 36 };
    u8 p[V2_BYTES];
    u32 bytes;

    if (!read_bytes(r, rsdp, p, V1_BYTES) || memcmp(p, "RSD PTR ", 8) != 0 ||
        !sum_is_zero(r, rsdp, V1_BYTES)) {
        return false;
    }
    if (p[15] >= 2 && read_bytes(r, rsdp, p, V2_BYTES)) {
        bytes = (u32)field(p + 20, 4);
        *entry_bytes = 8;
        if (bytes >= V2_BYTES && bytes <= PAGE_SIZE && sum_is_zero(r, rsdp, bytes) &&
            open_table(r, field(p + 24, 8), root) && is(root, "XSDT")) {
            return true;
        }
    }
    *entry_bytes = 4;
    return open_table(r, field(p + 16, 4), root) && is(root, "RSDT");
}

bool acpi_read(const struct acpi_memory *memory, u64 rsdp, struct acpi_info *out)
{
    struct reader r = {.memory = memory, .out = out};
    struct table root, t;
    u32 entry_bytes, count;
    u64 ssdts[MAX_TABLES];
    u32 ssdt_count = 0;

    memset(out, 0, sizeof(*out));
    if (!open_root(&r, rsdp, &root, &entry_bytes)) {
        memset(out, 0, sizeof(*out));
        return false;
    }
    count = MIN((root.bytes - HEADER_BYTES) / entry_bytes, (u32)MAX_TABLES);
    for (u32 i = 0; i < count; i++) {
        u8 entry[8];

        read_table(&r, &root, HEADER_BYTES + i * entry_bytes, entry, entry_bytes);
        if (!field(entry, entry_bytes) || !open_table(&r, field(entry, entry_bytes), &t)) {
            continue;
        }
        if (is(&t, "APIC") && !out->cpu_count) {
            read_madt(&r, &t);
        } else if (is(&t, "HPET") && !out->hpet_base) {
            read_hpet(&r, &t);
        } else if (is(&t, "FACP") && !r.dsdt) {
            read_fadt(&r, &t);
        } else if (is(&t, "SSDT")) {
            ssdts[ssdt_count++] = t.pa;
        }
    }
    if (r.dsdt && open_table(&r, r.dsdt, &t) && is(&t, "DSDT")) {
        scan_s5(&r, &t);
    }
    for (u32 i = 0; i < ssdt_count && !r.have_s5; i++) {
        if (open_table(&r, ssdts[i], &t)) {
            scan_s5(&r, &t);
        }
    }
    if (!r.have_s5) {
        out->pm1a_port = out->pm1b_port = 0;
    }
    out->s5_typa = r.s5_typa;
    out->s5_typb = r.s5_typb;
    return true;
}
