/* SPDX-License-Identifier: MIT */
/* The configuration, and what the guests in it need: files and memory. */
#include "boot/loader.h"

#include "lib/format.h"
#include "lib/string.h"

#define MIB(bytes) ((bytes) >> 20)

/* What the kernel takes for itself of so much usable memory, and what each guest takes beside its
 * own memory for its monitor process and its tables: boot/pool.c, vmm/manager. */
#define KERNEL_POOL(usable) ((12ull << 20) + (usable) / 32)
#define GUEST_OVERHEAD      (2ull << 20)

bool guests_read_config(struct loader *l)
{
    struct boot_module *m = &l->info->modules[l->info->module_count];
    struct config_error error;
    const char *wrong;

    wrong = file_size(l, "socle.conf", &m->bytes);
    if (wrong) {
        return loader_error(l, "socle.conf: %s: put the configuration there", wrong);
    }
    if (m->bytes > CONFIG_MAX_BYTES) {
        return loader_config_error(l, 1, 1, "the configuration is larger than %u bytes",
                                   CONFIG_MAX_BYTES);
    }
    if (!file_load(l, "socle.conf", BOOT_MEM_MODULE, &m->base, &m->bytes)) {
        return false;
    }
    m->kind = BOOT_MODULE_CONFIG;
    format_buffer(m->name, sizeof(m->name), "socle.conf");
    l->info->module_count++;
    l->config_text = (const char *)m->base;
    l->config = (struct config *)memory_alloc(l, sizeof(*l->config), PAGE_SIZE, 0, BOOT_MEM_LOADER);
    if (!l->config) {
        return loader_refuse(l, "too little memory for the configuration: give the machine more");
    }
    if (!config_parse(l->config_text, m->bytes, l->config, &error)) {
        return loader_config_error(l, error.line, error.col, "%s", error.message);
    }
    return true;
}

/* The file's name with a NUL; the parser has seen to its length. */
static void file_name(struct config_str s, char name[BOOT_NAME_LEN])
{
    format_buffer(name, BOOT_NAME_LEN, "%.*s", (int)s.len, s.text);
}

/* Calls fn for each file of a guest, the image first; stops when it returns false. */
static bool each_file(struct loader *l, const struct config_guest *g,
                      bool (*fn)(struct loader *l, struct config_str file, void *arg), void *arg)
{
    if (!fn(l, g->file, arg)) {
        return false;
    }
    for (u32 i = 0; i < g->module_count; i++) {
        if (!fn(l, g->modules[i], arg)) {
            return false;
        }
    }
    return true;
}

static bool add_file_size(struct loader *l, struct config_str file, void *arg)
{
    u64 *sum = arg, bytes;
    char name[BOOT_NAME_LEN];
    const char *wrong;

    file_name(file, name);
    wrong = file_size(l, name, &bytes);
    if (wrong) {
        return loader_config_error(l, file.line, file.col, "%s: %s", name, wrong);
    }
    *sum += ALIGN_UP(bytes, PAGE_SIZE);
    return true;
}

/* A guest's files must fit into it. */
static bool check_files(struct loader *l, const struct config_guest *g, u64 *bytes)
{
    u64 at = g->image == IMAGE_FLAT ? g->load_address : 0;

    *bytes = 0;
    if (!each_file(l, g, add_file_size, bytes)) {
        return false;
    }
    if (*bytes > g->memory_bytes - at) {
        return loader_config_error(
            l, g->file.line, g->file.col,
            "the files of guest %s have %lu KiB and do not fit into its memory of "
            "%lu MiB: give it more memory",
            g->name, *bytes >> 10, MIB(g->memory_bytes));
    }
    return true;
}

bool guests_check(struct loader *l)
{
    u64 usable, kernel, files = 0, wanted = 0, free;

    for (u32 i = 0; i < l->config->guest_count; i++) {
        u64 bytes;

        if (!check_files(l, &l->config->guests[i], &bytes)) {
            return false;
        }
        files += bytes; /* more than will be loaded when guests share files */
    }
    usable = memmap_bytes(&l->map, BOOT_MEM_USABLE);
    kernel = KERNEL_POOL(usable);
    if (usable < kernel + files) {
        return loader_refuse(
            l,
            "this machine has %lu MiB of memory, but Socle needs %lu MiB before any "
            "guest: give it more",
            MIB(usable), MIB(kernel + files) + 1);
    }
    free = usable - kernel - files;
    for (u32 i = 0; l->run_guests && i < l->config->guest_count; i++) {
        const struct config_guest *g = &l->config->guests[i];
        u64 each = g->memory_bytes + GUEST_OVERHEAD;

        if (each > free) {
            return loader_refuse(
                l,
                "guest %s wants %lu MiB, only %lu MiB are free: give the machine more "
                "memory or the guest less (socle.conf:%u)",
                g->name, MIB(g->memory_bytes), MIB(free), g->line);
        }
        wanted += g->populate ? each * g->count : GUEST_OVERHEAD * g->count;
    }
    if (wanted > free) {
        return loader_refuse(
            l,
            "the guests want %lu MiB together, only %lu MiB are free: give the machine "
            "more memory or the guests less",
            MIB(wanted), MIB(free));
    }
    return true;
}

static bool load_once(struct loader *l, struct config_str file, void *arg)
{
    struct bootinfo *bi = l->info;
    struct boot_module *m = &bi->modules[bi->module_count];
    char name[BOOT_NAME_LEN];

    (void)arg;
    file_name(file, name);
    for (u32 i = 0; i < bi->module_count; i++) {
        if (bi->modules[i].kind == BOOT_MODULE_FILE && strcmp(bi->modules[i].name, name) == 0) {
            return true;
        }
    }
    if (bi->module_count == BOOT_MAX_MODULES) {
        return loader_config_error(l, file.line, file.col,
                                   "more files than the %u this version can load",
                                   BOOT_MAX_MODULES);
    }
    m->kind = BOOT_MODULE_FILE;
    memcpy(m->name, name, sizeof(m->name));
    bi->module_count++;
    return file_load(l, name, BOOT_MEM_MODULE, &m->base, &m->bytes);
}

bool guests_load(struct loader *l)
{
    for (u32 i = 0; i < l->config->guest_count; i++) {
        if (!each_file(l, &l->config->guests[i], load_once, NULL)) {
            return false;
        }
    }
    return true;
}
