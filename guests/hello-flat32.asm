; SPDX-License-Identifier: MIT
; A flat guest in 32-bit protected mode: checks the state that it is started in, says hello, ends well.
bits 32
org 0x100000

%define COM1        0x3f8
%define LSR         (COM1 + 5)
%define LSR_THRE    0x20
%define DEBUG_EXIT  0xf4

start:
    mov     ebp, edi                    ; MiB of RAM
    mov     ebx, 1
    cmp     esp, 0x7c00
    jne     end
    inc     ebx                         ; 2: protected mode, no paging
    mov     ecx, cr0
    and     ecx, 0x80000001
    cmp     ecx, 1
    jne     end
    inc     ebx                         ; 3: the other registers are 0
    or      eax, edx
    jnz     end
    inc     ebx                         ; 4: interrupts off
    pushfd
    pop     eax
    test    eax, 1 << 9
    jnz     end
    inc     ebx                         ; 5: the first MiB of RAM counts
    cmp     ebp, 2
    jb      end
    inc     ebx                         ; 6: segments can be loaded again
    mov     ax, 0x10
    mov     ds, ax
    mov     es, ax
    mov     ss, ax
    jmp     0x08:.same
.same:
    push    esi
    mov     esi, text
    call    write
    pop     esi
    cmp     byte [esi], 0
    je      end                         ; there is a command line
    call    write                       ; the options
    xor     ebx, ebx
end:
    mov     esi, text_success
    test    ebx, ebx
    jz      .say
    mov     eax, ebx
    add     al, '0'
    mov     [text_failure_step], al
    mov     esi, text_failure
.say:
    call    write
    mov     eax, ebx
    mov     dx, DEBUG_EXIT
    out     dx, eax
.stop:
    cli
    hlt
    jmp     .stop

write:                                  ; ESI: text, ended by a NUL; changes EAX, EDX
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
    db "hello from flat protected mode: ", 0
text_success:
    db 10, "hello-flat32: SUCCESS", 10, 0
text_failure:
    db 10, "hello-flat32: FAILURE at step "
text_failure_step:
    db "0", 10, 0
