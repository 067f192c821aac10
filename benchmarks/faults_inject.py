"""`python -m faults_inject WORDS`: the `lowlight` command with a fault that no tool can inject from outside.

LOWLIGHT_FAULT holds them, with commas between:
named         no file without a name (O_TMPFILE), as on a network share, FAT, macOS
kill-CALL-N   kill -9 in the N-th call of os.CALL, before it acts; `killed-CALL-N`: after it
hang-CALL-N   the N-th call of os.CALL never returns
swap-N        in the N-th os.fsync the output folder is moved away, and LOWLIGHT_SWAP takes its name
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def at(number: int, call: Callable[..., Any], before: Callable[[], None], after: Callable[[], None]) -> Callable:
    """A call that does something before and after it the N-th time."""
    count, lock = itertools.count(1), threading.Lock()

    def counted(*words: Any, **named: Any) -> Any:
        with lock:
            now = next(count) == number
        if now:
            before()
        given = call(*words, **named)
        if now:
            after()
        return given

    return counted


def nothing() -> None:
    """Do nothing."""


def kill() -> None:
    """As the system does when it has no memory left."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def hang() -> None:
    """As a dead disk: no end, and no exception can end it."""
    while True:
        time.sleep(3600)


def swap() -> None:
    """Move the output folder away; another folder takes its name."""
    out, other = map(Path, os.environ["LOWLIGHT_SWAP"].split(os.pathsep))
    out.rename(out.with_name(f"{out.name}-moved"))
    out.symlink_to(other, target_is_directory=True)


def install(faults: str) -> None:
    """Put faults in place."""
    for fault in filter(None, faults.split(",")):
        name, *rest = fault.split("-")
        if name == "named":
            del os.O_TMPFILE
        elif name == "swap":
            os.fsync = at(int(rest[0]), os.fsync, swap, nothing)
        else:
            call, number = rest[0], int(rest[1])
            before = {"kill": kill, "hang": hang, "killed": nothing}[name]
            setattr(os, call, at(number, getattr(os, call), before, kill if name == "killed" else nothing))


if __name__ == "__main__":
    install(os.environ.get("LOWLIGHT_FAULT", ""))
    from lowlight_cli.cli import main

    main()
