"""No way to the network, for a while: whatever Python code of this process tries it gets an error.

Standard library only. Native code that opens sockets by itself is not seen; none of what lowlight runs does.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

EVENTS = frozenset(
    f"socket.{name}"
    for name in ("bind", "connect", "getaddrinfo", "gethostbyaddr", "gethostbyname", "getnameinfo", "sendmsg", "sendto")
)
"""What Python tells before it does it."""


class _Gate:
    """How many ask for the network to be closed; what closes it cannot be taken out of a process again."""

    closed = 0
    hooked = False
    lock = threading.Lock()


def _watch(event: str, _: tuple[Any, ...]) -> None:
    if _Gate.closed and event in EVENTS:
        raise PermissionError(f"the network is closed in evidence mode ({event})")


@contextlib.contextmanager
def closed() -> Iterator[None]:
    """Within the block, in all threads, sockets are not bound, do not connect nor send, and no name is looked up."""
    with _Gate.lock:
        if not _Gate.hooked:
            sys.addaudithook(_watch)
        _Gate.hooked, _Gate.closed = True, _Gate.closed + 1
    try:
        yield
    finally:
        with _Gate.lock:
            _Gate.closed -= 1
