; SPDX-License-Identifier: MIT
; Where the loader jumps to; SYSCALL; the way to ring 3; the switch of kernel stacks.
%include "offsets.inc"

        bits    64

        extern  start_boot_cpu
        extern  kernel_syscall
        extern  trap_user_hazards
        extern  trap_bad_rip

        global  boot_stacks
        global  boot_stack_top
        global  kernel_entry
        global  syscall_entry
        global  enter_user
        global  arch_context_switch
        global  context_start

        section .text.entry progbits alloc exec nowrite align=16

; From the loader, kernel/bootinfo.h: RDI = struct bootinfo.
kernel_entry:
        cli
        cld
        mov     rsp, boot_stack_top
        xor     ebp, ebp                        ; backtraces end here
        call    start_boot_cpu
        ud2

        section .text

; SYSCALL: RCX = RIP and R11 = RFLAGS of ring 3, interrupts off (FMASK), stack still ring 3's. RBX, RBP,
; R12 to R15 are kept by C. NMI and machine check may come at each instruction; they have stacks of
; their own and find out about GS themselves.
        align   64
syscall_entry:
        swapgs
        mov     [gs:CPU_USER_RSP], rsp
        mov     rsp, [gs:CPU_KERNEL_RSP]
        push    qword [gs:CPU_USER_RSP]
        push    r11
        push    rcx
        push    rax
        push    r9
        push    r8
        push    r10
        push    rdx
        push    rsi
        push    rdi
        mov     rdi, rsp
        call    kernel_syscall

; RSP = struct syscall_frame, the only thing on the stack.
syscall_return:
        cmp     dword [gs:CPU_HAZARDS], 0
        jne     .hazards
        pop     rdi
        pop     rsi
        pop     rdx
        pop     r10
        pop     r8
        pop     r9
        pop     rax
        pop     rcx
        mov     r11, rcx                        ; SYSRET to an address that is not canonical faults in
        shr     r11, 47                         ; ring 0, on ring 3's stack (Intel)
        jnz     .bad_rip
        pop     r11
        pop     rsp
        swapgs
        o64 sysret

.hazards:
        call    trap_user_hazards
        jmp     syscall_return

.bad_rip:
        sub     rsp, FRAME_RFLAGS               ; the frame again
        mov     rdi, rcx
        call    trap_bad_rip                    ; ends the process
        jmp     syscall_return

; void enter_user(u64 rip, u64 rsp, u64 rdi): the first way out of a thread, as if from a system call, with
; all other registers 0.
enter_user:
        mov     rsp, [gs:CPU_KERNEL_RSP]
        push    rsi                             ; rsp
        push    qword 0x202                     ; rflags: IF
        push    rdi                             ; rip
        push    qword 0                         ; rax
        push    qword 0                         ; r9
        push    qword 0                         ; r8
        push    qword 0                         ; r10
        push    qword 0                         ; rdx
        push    qword 0                         ; rsi
        push    rdx                             ; rdi
        xor     ebx, ebx
        xor     ebp, ebp
        xor     r12d, r12d
        xor     r13d, r13d
        xor     r14d, r14d
        xor     r15d, r15d
        jmp     syscall_return

; void arch_context_switch(struct arch_context *from, struct arch_context *to)
; cpu.kernel_rsp is already that of `to`: interrupts from ring 3 shall use the same stack.
arch_context_switch:
        push    rbx
        push    rbp
        push    r12
        push    r13
        push    r14
        push    r15
        mov     [rdi], rsp
        mov     rsp, [rsi]
        mov     rax, [gs:CPU_ARCH]
        mov     rdx, [gs:CPU_KERNEL_RSP]
        mov     [rax + ARCH_TSS_RSP0], rdx
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     rbp
        pop     rbx
        ret

; The first return address of a new context (arch_context_init): R12 = argument, R13 = function.
context_start:
        mov     rdi, r12
        call    r13
        ud2

; Stacks of the first CPU, each above a page that the kernel's own tables do not map.
        section .bss.stacks nobits alloc noexec write align=4096
boot_stacks:
        resb    4096
        resb    STACK_BYTES
boot_stack_top:
%rep IST_STACKS
        resb    4096
        resb    IST_BYTES
%endrep
