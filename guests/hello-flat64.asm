; SPDX-License-Identifier: MIT
; A flat guest in 64-bit mode, entered behind its start: checks the state that it is started in, says
; hello, ends well.
bits 64
default rel
org 0x200000

%define COM1        0x3f8
%define LSR         (COM1 + 5)
%define LSR_THRE    0x20
%define DEBUG_EXIT  0xf4
%define EFER        0xc0000080

    times 16 db 0xf4                    ; HLT: nobody comes here

start:
    mov     r8, rdi                     ; MiB of RAM
    mov     ebx, 1
    cmp     rsp, 0x7c00
    jne     end
    inc     ebx                         ; 2: the other registers are 0
    or      rax, rdx
    or      rax, r15
    or      rax, rbp
    jnz     end
    inc     ebx                         ; 3: 64-bit mode
    mov     ecx, EFER
    rdmsr
    and     eax, 0x500
    cmp     eax, 0x500
    jne     end
    inc     ebx                         ; 4: interrupts off
    pushfq
    pop     rax
    test    eax, 1 << 9
    jnz     end
    inc     ebx                         ; 5: RAM
    cmp     r8, 4
    jb      end
    inc     ebx                         ; 6: the first 4 GiB are mapped: nothing is at the last page
    mov     eax, 0xfffff000
    mov     rax, [rax]
    cmp     rax, -1
    jne     end
    push    rsi
    lea     rsi, [text]
    call    write
    pop     rsi
    inc     ebx                         ; 7: there is a command line
    cmp     byte [rsi], 0
    je      end
    call    write
    xor     ebx, ebx
end:
    lea     rsi, [text_success]
    test    ebx, ebx
    jz      .say
    mov     eax, ebx
    add     al, '0'
    mov     [text_failure_step], al
    lea     rsi, [text_failure]
.say:
    call    write
    mov     eax, ebx
    mov     dx, DEBUG_EXIT
    out     dx, eax
.stop:
    cli
    hlt
    jmp     .stop

write:                                  ; RSI: text, ended by a NUL; changes RAX, RDX
    lodsb
    test    al, al
    jz      .done
    mov     ah, al
    mov     dx, LSR
.wait:
    in      al, dx
    test    al, LSR_THRE
    jz      .wait
    mov     al, ah
    mov     dx, COM1
    out     dx, al
    jmp     write
.done:
    ret

text:
    db "hello from flat 64-bit mode: ", 0
text_success:
    db 10, "hello-flat64: SUCCESS", 10, 0
text_failure:
    db 10, "hello-flat64: FAILURE at step "
text_failure_step:
    db "0", 10, 0
