; SPDX-License-Identifier: MIT
; Where every ring-3 program starts: program_main(u64 arg), which never returns, on the stack that the
; creator of the thread chose.

        bits    64

        extern  program_main
        global  _start

        section .text

; RDI = the argument given at the thread's creation, RSP = its stack, all else 0.
_start:
        xor     ebp, ebp                        ; the first frame
        and     rsp, -16                        ; whatever the creator chose, C wants this
        call    program_main
        ud2                                     ; it returned: the process ends with a fault
