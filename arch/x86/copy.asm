; SPDX-License-Identifier: MIT
; Accesses that may fault and then return an error: copies from and to ring 3, MSRs that may not exist.
%include "offsets.inc"
%include "arch/x86/smap.inc"

        bits    64

        global  copy_user
        global  rdmsr_safe
        global  wrmsr_safe
        global  probe_read
        global  probe_write
        global  probe_exec

        section .text

; int copy_user(void *dst, const void *src, u64 bytes): 0 or E_FAULT. The caller has checked which side is
; ring 3's.
copy_user:
        mov     rcx, rdx
        shr     rcx, 3
        STAC_HERE
.words: rep     movsq
        mov     ecx, edx
        and     ecx, 7
.bytes: rep     movsb
        xor     eax, eax
.out:
        CLAC_HERE
        ret
.fault:
        mov     eax, ERR_FAULT
        jmp     .out
        FIXUP   .words, .fault, USER_ADDRESS
        FIXUP   .bytes, .fault, USER_ADDRESS

; bool rdmsr_safe(u32 msr, u64 *value)
rdmsr_safe:
        mov     ecx, edi
.access:
        rdmsr
        shl     rdx, 32
        or      rax, rdx
        mov     [rsi], rax
        mov     eax, 1
        ret
.fault:
        xor     eax, eax
        ret
        FIXUP   .access, .fault, ANY_ADDRESS

; bool wrmsr_safe(u32 msr, u64 value)
wrmsr_safe:
        mov     ecx, edi
        mov     eax, esi
        mov     rdx, rsi
        shr     rdx, 32
.access:
        wrmsr
        mov     eax, 1
        ret
.fault:
        xor     eax, eax
        ret
        FIXUP   .access, .fault, ANY_ADDRESS

; bool probe_read(const void *address), bool probe_write(void *address): does it fault? A write writes what
; is there.
probe_read:
.access:
        mov     al, [rdi]
        xor     eax, eax
        ret
.fault:
        mov     eax, 1
        ret
        FIXUP   .access, .fault, ANY_ADDRESS

probe_write:
.read:
        mov     al, [rdi]
.access:
        mov     [rdi], al
        xor     eax, eax
        ret
.fault:
        mov     eax, 1
        ret
        FIXUP   .read, .fault, ANY_ADDRESS
        FIXUP   .access, .fault, ANY_ADDRESS

; bool probe_exec(void *address): calls it; a RET must be there.
probe_exec:
        push    rbp                             ; the callee finds an aligned stack
        call    rdi
.after:
        pop     rbp
        xor     eax, eax
        ret
.fault:                                         ; the return address is off the stack again
        pop     rbp
        mov     eax, 1
        ret
        FIXUP   .after, .fault, ANY_ADDRESS
