"""How much memory is left, for the choice of tiles. Standard library only."""

from __future__ import annotations

import os
from pathlib import Path

UNKNOWN = 2 << 30
"""What is assumed where the system does not tell."""

CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Limit and use of a container's memory: they count, not the machine's."""


def available() -> int:
    """Bytes that can be had without swapping, as far as the system tells."""
    return min([system(), *(left for pair in CGROUPS if (left := container(*pair)) is not None)])


def system() -> int:
    """Free memory of the machine."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):
        return UNKNOWN


def container(limit: str, use: str) -> int | None:
    """What a container may still take; None without a limit."""
    try:
        return max(0, int(Path(limit).read_text()) - int(Path(use).read_text()))
    except (OSError, ValueError):
        return None
