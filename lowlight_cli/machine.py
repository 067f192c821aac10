"""What this machine and installation are, for records that must say so years later. Standard library only."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowlight_cli import __version__, packages


@functools.cache
def system() -> Mapping[str, Any]:
    """Versions of lowlight, Python and every library on the path; operating system, processor, host."""
    versions = packages.versions()
    return {
        "lowlight": __version__,
        "python": versions.pop("python"),
        "packages": dict(sorted(versions.items())),
        "os": platform.platform(),
        "machine": platform.machine(),
        "cpu": processor(),
        "cores": cores(),
        "host": platform.node(),
    }


def processor() -> str:
    """The processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def kind() -> str:
    """Operating system and architecture, without versions."""
    return f"{platform.system()} {platform.machine()}"


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
