#!/bin/sh
# SPDX-License-Identifier: MIT
# Prints the kernel's table of code symbols as NASM source, for backtraces: sorted addresses as 32-bit
# offsets from the link base, offsets into the string blob, and the blob. Without an argument: an empty
# table, for the first link. What NASM calls local labels (function.label) is left out.
set -eu

{
    if [ $# -gt 0 ]; then
        LC_ALL=C nm -n --defined-only "$1"
    fi
} | LC_ALL=C awk '
BEGIN { count = 0 }
$2 ~ /^[tTwW]$/ && length($1) == 16 && substr($1, 1, 8) == "ffffffff" {
    if ($3 ~ /\./ && $3 !~ /\.(part|isra|constprop|cold|lto_priv)(\.|$)/)
        next
    low = substr($1, 9)
    if (low == last || low < "80000000")
        next
    last = low
    address[count] = low
    name[count++] = $3
}
END {
    print "; Made by tools/symbols.sh."
    print "    section .symbols progbits alloc noexec nowrite align=8"
    print "    global ksym_count, ksym_offsets, ksym_names, ksym_strings"
    printf "ksym_count:\n    dd %d\n", count
    print "ksym_offsets:"
    for (i = 0; i < count; i++)
        printf "    dd 0x%s - 0x80000000\n", address[i]
    print "ksym_names:"
    at = 0
    for (i = 0; i < count; i++) {
        printf "    dd %d\n", at
        at += length(name[i]) + 1
    }
    print "ksym_strings:"
    for (i = 0; i < count; i++)
        printf "    db \"%s\", 0\n", name[i]
    print "    db 0"
}'
