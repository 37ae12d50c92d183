# SPDX-License-Identifier: MIT
.PHONY: programs
programs:
