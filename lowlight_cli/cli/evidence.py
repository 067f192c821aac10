"""The flags of `lowlight enhance --evidence`."""

from __future__ import annotations

import contextlib
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lowlight_cli.cli.options import PathOf, Words, apply, complete_model
from lowlight_cli.errors import OptionError

if TYPE_CHECKING:
    from lowlight_cli.tasks.enhance import EnhanceOptions
    from lowlight_cli.tasks.preset import EvidenceOptions

WITH_LOG = ("case", "examiner", "note", "baseline", "allow_generative")

evidence_options = apply(
    [
        click.option(
            "--deterministic",
            is_flag=True,
            help="The same bits on the same machine, whatever else runs; PyTorch on the CPU then uses one thread.",
        ),
        click.option(
            "--evidence",
            type=PathOf(dir_okay=False, path_type=Path),
            metavar="LOG",
            help="Append what is done to each picture to LOG, hash-chained; lossless, fp32, deterministic and offline.",
        ),
        click.option("--case", type=Words(), help="Case ID for the log."),
        click.option("--examiner", type=Words(), help="Examiner's name for the log."),
        click.option("--note", type=Words(), help="Free text for the log."),
        click.option(
            "--baseline",
            metavar="METHOD",
            shell_complete=complete_model,
            help="With --evidence: also write the result of a classical method, such as clahe, beside each output.",
        ),
        click.option("--allow-generative", is_flag=True, help="With --evidence: allow models that may make things up."),
    ]
)


def read_evidence(flags: dict[str, Any]) -> EvidenceOptions | None:
    """What the flags say; None without a log."""
    from lowlight_cli.tasks.preset import EvidenceOptions

    given = {name: flags[name] for name in WITH_LOG}
    if flags["evidence"] is not None:
        return EvidenceOptions(log=flags["evidence"], argv=tuple(sys.argv), **given)
    for name in (name for name, value in given.items() if value):
        raise OptionError(f"--{name.replace('_', '-')} goes with --evidence.", "Name a log: --evidence LOG.jsonl.")
    return None


def offline(options: EnhanceOptions) -> AbstractContextManager[None]:
    """No way to the network where a log is kept."""
    if options.evidence is None:
        return contextlib.nullcontext()
    from lowlight_cli import network

    return network.closed()
