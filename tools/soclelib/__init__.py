# SPDX-License-Identifier: MIT
"""The host side of Socle: disk images, emulators, and watching a machine run."""
