"""What this machine and installation are, for records that must say so years later. Standard library only."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from lowlight_cli import __version__
from lowlight_cli.packages import OWNERS, installed

MORE = ("scipy", "rawpy", "pillow-heif", "click")
"""Packages on the way of a picture besides those that own an import name that every run needs."""


@functools.cache
def system() -> Mapping[str, Any]:
    """Versions of lowlight, Python and every library on the path; operating system, processor, host."""
    return {
        "lowlight": __version__,
        "python": platform.python_version(),
        "packages": dict(sorted(versions().items())),
        "os": platform.platform(),
        "machine": platform.machine(),
        "cpu": cpu(),
        "cores": cores(),
        "host": platform.node(),
    }


def versions() -> dict[str, str]:
    """Of the packages that are installed, by name."""
    found = {name: version for owner in OWNERS for name, version in installed(owner).items()}
    for name in MORE:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def cpu() -> str:
    """The processor by the name that its maker gave it, as far as the system tells."""
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
