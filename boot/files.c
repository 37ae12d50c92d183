/* SPDX-License-Identifier: MIT */
/* Files in \socle on the volume that the loader was started from. */
#include "boot/loader.h"

#include "lib/string.h"

#define CHUNK (1ull << 20) /* some firmware does badly with one large read */

static EFI_GUID loaded_image_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
static EFI_GUID file_system_guid = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
static EFI_GUID file_info_guid = EFI_FILE_INFO_ID;

bool files_open(struct loader *l)
{
    EFI_LOADED_IMAGE_PROTOCOL *image;
    EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *volume;
    EFI_FILE_HANDLE root;
    EFI_STATUS status;
    void *found;

    if (l->services->HandleProtocol(l->image, &loaded_image_guid, &found) != EFI_SUCCESS) {
        return loader_refuse(l, "the firmware does not say where it has started the loader from");
    }
    image = found;
    if (l->services->HandleProtocol(image->DeviceHandle, &file_system_guid, &found) !=
        EFI_SUCCESS) {
        return loader_refuse(
            l, "the loader was not started from a volume with files: start it from the "
               "disk or stick that holds \\socle");
    }
    volume = found;
    if (volume->OpenVolume(volume, &root) != EFI_SUCCESS) {
        return loader_refuse(l, "the volume that the loader was started from cannot be read");
    }
    status = root->Open(root, &l->folder, L"\\socle", EFI_FILE_MODE_READ, 0);
    root->Close(root);
    if (status != EFI_SUCCESS) {
        l->folder = NULL;
        return loader_error(
            l, "socle.conf: there is no folder \\socle on the volume that the loader was "
               "started from");
    }
    return true;
}

/* Opens a file of that name; NULL, or why it cannot be. */
static const char *open_file(struct loader *l, const char *name, EFI_FILE_HANDLE *out, u64 *bytes)
{
    CHAR16 path[BOOT_NAME_LEN + 1];
    struct {
        EFI_FILE_INFO info;
        CHAR16 name[256];
    } buffer;
    UINTN size = sizeof(buffer);
    EFI_STATUS status;
    u32 n;

    for (n = 0; n < BOOT_NAME_LEN && name[n]; n++) {
        path[n] = name[n] == '/' ? '\\' : (CHAR16)name[n];
    }
    path[n] = 0;
    status = l->folder->Open(l->folder, out, path, EFI_FILE_MODE_READ, 0);
    if (status != EFI_SUCCESS) {
        return status == EFI_NOT_FOUND ? "there is no such file in \\socle"
                                       : "the file cannot be opened";
    }
    status = (*out)->GetInfo(*out, &file_info_guid, &size, &buffer);
    *bytes = buffer.info.FileSize;
    if (status == EFI_SUCCESS && !(buffer.info.Attribute & EFI_FILE_DIRECTORY) && *bytes &&
        *bytes <= FILE_MAX_BYTES) {
        return NULL;
    }
    (*out)->Close(*out);
    return status != EFI_SUCCESS                        ? "the file's size cannot be read"
           : buffer.info.Attribute & EFI_FILE_DIRECTORY ? "this is a folder, not a file"
           : *bytes                                     ? "the file is larger than 16 GiB"
                                                        : "the file is empty";
}

const char *file_size(struct loader *l, const char *name, u64 *bytes)
{
    EFI_FILE_HANDLE file;
    const char *wrong = open_file(l, name, &file, bytes);

    if (!wrong) {
        file->Close(file);
    }
    return wrong;
}

static bool read_all(EFI_FILE_HANDLE file, u64 base, u64 bytes)
{
    for (u64 done = 0; done < bytes;) {
        UINTN n = MIN(bytes - done, CHUNK);

        if (file->Read(file, &n, (void *)(base + done)) != EFI_SUCCESS || !n) {
            return false;
        }
        done += n;
    }
    return true;
}

bool file_load(struct loader *l, const char *name, u32 type, u64 *base, u64 *bytes)
{
    EFI_FILE_HANDLE file;
    const char *wrong = open_file(l, name, &file, bytes);
    bool ok;

    if (wrong) {
        return loader_error(l, "%s: %s", name, wrong);
    }
    loader_say(l, "reading %s (%lu KiB)", name, (*bytes + 1023) / 1024);
    *base = memory_alloc_file(l, *bytes, type);
    if (!*base) {
        file->Close(file);
        return loader_refuse(l,
                             "too little memory to load %s (%lu KiB): give the machine more memory",
                             name, (*bytes + 1023) / 1024);
    }
    ok = read_all(file, *base, *bytes);
    file->Close(file);
    return ok ||
           loader_error(l, "%s: the file cannot be read to its end: is the disk damaged?", name);
}
