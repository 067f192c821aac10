"""What a result must say of the machine that made it. Names no machine and no path."""

from __future__ import annotations

import datetime
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowlight_cli import __version__, packages
from lowlight_cli.machine import cores, kind, processor

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def about(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Processor, cores, versions, commit, date, and the settings of the run with the environment's."""
    environment = {name: os.environ[name] for name in THREADS if name in os.environ}
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": git("rev-parse", "HEAD"),
        "changed_files": len(git("status", "--porcelain").splitlines()),
        "cpu": processor(),
        "cores": {"used": cores(), "of": os.cpu_count()},
        "system": kind(),
        "versions": {"lowlight": __version__, **packages.versions("torchmetrics")},
        "settings": {**settings, "environment": environment},
    }


def git(*words: str) -> str:
    """What git says of this checkout; empty outside one."""
    folder = Path(__file__).resolve().parent
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()
