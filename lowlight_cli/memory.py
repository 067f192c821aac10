"""How much memory is left, for the choice of tiles. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

UNKNOWN = 2 << 30
"""What is assumed where the system does not tell."""
GROUPS = Path("/proc/self/cgroup")
"""The control groups of this process: containers, batch systems and service managers limit memory by them."""


@dataclass(frozen=True)
class Hierarchy:
    """A version of control groups: where it is mounted, and the names of what it tells."""

    root: Path
    limit: str
    use: str
    droppable: str
    """Line of `memory.stat` with what was read from files and can be dropped: it counts as used."""


HIERARCHIES = {
    "memory": Hierarchy(
        Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
    ),
    "": Hierarchy(Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
}
"""By the controller that a line of GROUPS names: version 1, and 2, which names none."""


def available() -> int:
    """Bytes that can be had without swapping, as far as the system tells: the least of machine and control groups."""
    return min([system(), *limits()])


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


def limits() -> Iterator[int]:
    """What each limited group that this process is in may still take, its own and those above it."""
    try:
        lines = GROUPS.read_text().splitlines()
    except OSError:
        return
    for controllers, path in (line.split(":", 2)[1:] for line in lines):
        for name in HIERARCHIES.keys() & controllers.split(","):
            root = HIERARCHIES[name].root
            folder = root / path.lstrip("/")  # a container may see the path outside, and its own group at the root
            for group in (folder, *folder.parents)[: len(folder.relative_to(root).parts) + 1]:
                if (left := room(group, HIERARCHIES[name])) is not None:
                    yield left


def room(group: Path, names: Hierarchy) -> int | None:
    """What one group may still take; None without a limit."""
    try:
        limit, use = (int((group / name).read_text()) for name in (names.limit, names.use))
        lines = (group / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):
        return None
    droppable = (int(line.split()[1]) for line in lines if line.split()[:1] == [names.droppable])
    return max(0, limit - use + next(droppable, 0))
