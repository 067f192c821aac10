"""Who watches a run: nobody, unless `--evidence` names a log."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lowlight_cli import picture
from lowlight_cli.enhancer import Enhancer
from lowlight_cli.errors import OutputExists
from lowlight_cli.jobs import Job
from lowlight_cli.tasks.results import Item

if TYPE_CHECKING:
    from pathlib import Path

    from lowlight_cli.errors import LogError
    from lowlight_cli.evidence import Log
    from lowlight_cli.picture import Picture
    from lowlight_cli.tasks.enhance import EnhanceOptions


class Unwitnessed:
    """Nothing is recorded. Has every method of a witness."""

    stopped = False
    """Whether the run must end, as nothing can be recorded any more."""

    unended: LogError | None = None
    """Why the end could not be recorded; all else is."""

    log: Log | None = None
    """What is appended to."""

    def __init__(self, options: EnhanceOptions) -> None:
        self.options = options

    def plan(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs; a witness counts what is there already as done only where its log says so."""
        return list(jobs)

    def beside(self, job: Job) -> Sequence[Path]:  # noqa: ARG002
        """What is written of a picture besides its target and its maps."""
        return ()

    def not_taken(self) -> Sequence[Path]:
        """Files in the inputs that are left out, where a log is to tell of them."""
        return ()

    def begin(self, enhancer: Enhancer, jobs: Sequence[Job] | None) -> None:
        """Work begins: on these jobs, or on those that come."""

    def read(self, item: Item, data: bytes) -> None:
        """The source's bytes were read."""

    def decoded(self, item: Item) -> None:
        """They are `item.picture` now."""

    def enhanced(self, item: Item, enhancer: Enhancer) -> None:
        """The network has worked on `item.picture`, which is the source still."""

    def put_map(self, item: Item, made: Picture, path: Path) -> None:
        """Write one of its maps."""
        picture.save(made, path, overwrite=self.options.layout.existing == "overwrite")
        item.written += (path,)

    def put(self, item: Item, data: bytes) -> None:
        """Write the encoded output."""
        existing = self.options.layout.existing
        try:
            picture.write(data, item.job.target, overwrite=existing == "overwrite", check=item.check)
        except OutputExists:
            if existing != "skip":
                raise
            item.job = dataclasses.replace(item.job, skip=True)  # another run was faster

    def finish(self, item: Item) -> None:
        """Nothing more happens to a picture."""

    def end(self) -> None:
        """No picture comes any more."""


def open_witness(options: EnhanceOptions) -> Unwitnessed:
    """Who watches a run with these options."""
    if options.evidence is None:
        return Unwitnessed(options)
    from lowlight_cli.tasks.witness import Witness  # 20 ms, and most runs keep no log

    return Witness(options)
