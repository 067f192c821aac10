"""What a look at an installation finds. Standard library only."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one check found. `remedy` says what to do about a problem, `area` what was looked at: `examine` adds it."""

    area: str = dataclasses.field(default="", kw_only=True)
    level: Literal["ok", "note", "problem"]
    text: str
    remedy: str = ""


Findings = Iterator[Finding]
