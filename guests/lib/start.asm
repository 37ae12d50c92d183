; SPDX-License-Identifier: MIT
; A guest kernel's start: Multiboot headers, from 32-bit protected mode to 64-bit mode with the first
; 4 GiB mapped at their own addresses, and the 256 exception stubs. All else is C.
;
; MULTIBOOT2 defined: the Multiboot 2 header instead of the first one.
; AOUT defined: the Multiboot 1 header tells the load addresses itself (the "a.out kludge").

%define COM1           0x3f8
%define DEBUG_EXIT     0xf4

%define CR0_PE         (1 << 0)
%define CR0_MP         (1 << 1)
%define CR0_NE         (1 << 5)
%define CR0_WP         (1 << 16)
%define CR0_PG         (1 << 31)
%define CR4_PAE        (1 << 5)
%define EFER           0xc0000080
%define EFER_LME       (1 << 8)
%define EFER_NXE       (1 << 11)
%define PTE_P          (1 << 0)
%define PTE_W          (1 << 1)
%define PTE_U          (1 << 2)
%define PTE_PS         (1 << 7)

%define STACK_BYTES    65536

extern image_start
extern image_data_end
extern image_end
extern guest_boot
extern trap_dispatch

global guest_start
global trap_stubs
global user_enter
global user_leave
global boot_pml4
global boot_pdpt
global boot_pd
global stack_top
global gdt
global gdt_pointer
global tss

section .multiboot align=8
%ifdef MULTIBOOT2
%define MB2_MAGIC 0xe85250d6
mb2_header:
    dd MB2_MAGIC
    dd 0                                ; i386, protected mode
    dd mb2_end - mb2_header
    dd 0x100000000 - MB2_MAGIC - (mb2_end - mb2_header)
    dw 1, 0                             ; information request:
    dd 8 + 4 * 4
    dd 1, 3, 4, 6                       ; command line, modules, basic memory, memory map
    dw 6, 1                             ; modules page-aligned, optional
    dd 8
    dw 0, 0
    dd 8
mb2_end:
%else
%define MB1_MAGIC 0x1badb002
%ifdef AOUT
%define MB1_FLAGS 0x00010003            ; modules page-aligned, memory map, addresses below
%else
%define MB1_FLAGS 0x00000003
%endif
mb1_header:
    dd MB1_MAGIC
    dd MB1_FLAGS
    dd 0x100000000 - MB1_MAGIC - MB1_FLAGS
%ifdef AOUT
    dd mb1_header
    dd image_start
    dd image_data_end
    dd image_end
    dd guest_start
%endif
%endif

bits 32
section .text
guest_start:
    cli
    cld
    mov     esp, stack_top
    mov     [boot_magic], eax
    mov     [boot_info], ebx

    mov     eax, 0x80000000
    cpuid
    cmp     eax, 0x80000001
    jb      .no_long_mode
    mov     eax, 0x80000001
    cpuid
    mov     edi, edx                    ; kept: bit 20 NX
    test    edx, 1 << 29
    jz      .no_long_mode

    ; Every level above the leaves allows everything; leaves are 2 MiB, supervisor, writable.
    mov     eax, boot_pdpt + PTE_P + PTE_W + PTE_U
    mov     [boot_pml4], eax
    xor     ecx, ecx
    mov     eax, boot_pd + PTE_P + PTE_W + PTE_U
.pdpt:
    mov     [boot_pdpt + ecx * 8], eax
    add     eax, 4096
    inc     ecx
    cmp     ecx, 4
    jb      .pdpt
    xor     ecx, ecx
    mov     eax, PTE_P + PTE_W + PTE_PS
.pd:
    mov     [boot_pd + ecx * 8], eax
    add     eax, 0x200000
    inc     ecx
    cmp     ecx, 4 * 512
    jb      .pd

    mov     eax, CR4_PAE
    mov     cr4, eax
    mov     eax, boot_pml4
    mov     cr3, eax
    mov     ecx, EFER
    rdmsr
    or      eax, EFER_LME
    test    edi, 1 << 20
    jz      .no_nx
    or      eax, EFER_NXE
.no_nx:
    wrmsr
    mov     eax, cr0
    and     eax, ~((1 << 2) | (1 << 3) | (1 << 29) | (1 << 30)) ; EM, TS, NW, CD
    or      eax, CR0_PE | CR0_MP | CR0_NE | CR0_WP | CR0_PG
    mov     cr0, eax
    lgdt    [gdt_pointer]
    jmp     0x08:.long

.no_long_mode:                          ; say so, and end with status 2
    mov     esi, no_long_mode_text
    mov     dx, COM1
.next:
    lodsb
    test    al, al
    jz      .end
    out     dx, al
    jmp     .next
.end:
    mov     eax, 2
    mov     dx, DEBUG_EXIT
    out     dx, eax
.stop:
    hlt
    jmp     .stop

bits 64
.long:
    mov     eax, 0x10
    mov     ds, eax
    mov     es, eax
    mov     ss, eax
    xor     eax, eax
    mov     fs, eax
    mov     gs, eax
    mov     esp, stack_top
    xor     ebp, ebp
    mov     edi, [boot_magic]
    mov     esi, [boot_info]
    call    guest_boot
.ended:
    cli
    hlt
    jmp     .ended

; --- exceptions ---
; In 64-bit mode the CPU aligns RSP to 16 before it pushes five quadwords, or six with an error code; so bit 3
; of RSP tells whether there is one. That is true for INT n too, which never pushes one.
%macro TRAP_STUB 1
    align 32
    test    spl, 8
    jz      %%coded
    push    0
    push    %1
    jmp     near trap_common
%%coded:
    push    %1 + 0x100                  ; byte 1: the error code came from the CPU
    jmp     near trap_common
%endmacro

align 32
trap_stubs:
%assign vector 0
%rep 256
    TRAP_STUB vector
%assign vector vector + 1
%endrep

trap_common:
    push    rax
    push    rcx
    push    rdx
    push    rbx
    push    rbp
    push    rsi
    push    rdi
    push    r8
    push    r9
    push    r10
    push    r11
    push    r12
    push    r13
    push    r14
    push    r15
    cld
    mov     rdi, rsp
    mov     rbx, rsp
    and     rsp, ~15
    call    trap_dispatch
    mov     rsp, rbx
    pop     r15
    pop     r14
    pop     r13
    pop     r12
    pop     r11
    pop     r10
    pop     r9
    pop     r8
    pop     rdi
    pop     rsi
    pop     rbp
    pop     rbx
    pop     rdx
    pop     rcx
    pop     rax
    add     rsp, 16
    iretq

; void user_enter(u64 rip, u64 rsp, u64 rflags, u64 arg): to ring 3 with RDI = arg; returns when user_leave()
; is called.
user_enter:
    push    rbx
    push    rbp
    push    r12
    push    r13
    push    r14
    push    r15
    mov     [user_kernel_rsp], rsp
    push    0x20 | 3                    ; SS, RSP, RFLAGS, CS, RIP
    push    rsi
    push    rdx
    push    0x28 | 3
    push    rdi
    mov     rdi, rcx
    iretq

; void user_leave(void): from a trap handler, back to who called user_enter.
user_leave:
    mov     rsp, [user_kernel_rsp]
    mov     eax, 0x10                   ; the CPU left SS null
    mov     ss, eax
    pop     r15
    pop     r14
    pop     r13
    pop     r12
    pop     rbp
    pop     rbx
    ret

section .rodata
no_long_mode_text:
    db "guest: ERROR: this CPU has no 64-bit mode", 10, 0

section .data
align 8
gdt:                                    ; selectors: see guests/lib/trap.h
    dq 0
    dq 0x00af9b000000ffff               ; 08 code, 64-bit
    dq 0x00cf93000000ffff               ; 10 data
    dq 0x00cf9b000000ffff               ; 18 code, 32-bit
    dq 0x00cff3000000ffff               ; 20 data, ring 3
    dq 0x00affb000000ffff               ; 28 code, 64-bit, ring 3
    dq 0x00009b000000ffff               ; 30 code, 16-bit
    dq 0x000093000000ffff               ; 38 data, 16-bit limit
    dq 0x00cf13000000ffff               ; 40 data, not present
gdt_tss:
    dq 0, 0                             ; 48 TSS, filled by trap_init()
    dq 0x00cffb000000ffff               ; 58 code, 32-bit, ring 3
gdt_end:
gdt_pointer:
    dw gdt_end - gdt - 1
    dq gdt

section .bss
alignb 4096
boot_pml4:  resb 4096
boot_pdpt:  resb 4096
boot_pd:    resb 4096 * 4
tss:        resb 4096
stack:      resb STACK_BYTES
stack_top:
user_kernel_rsp: resq 1
boot_magic: resd 1
boot_info:  resd 1
