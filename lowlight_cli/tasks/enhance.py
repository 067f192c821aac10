"""Enhance files: a plan of what goes where, and a result for every file.

One bad file never stops the rest: what it raises is its result. Results come in the order of the jobs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from lowlight_cli import jobs as planning
from lowlight_cli import manifest, picture
from lowlight_cli.choices import MODEL
from lowlight_cli.enhancer import Enhancer
from lowlight_cli.errors import OptionError
from lowlight_cli.inputs import passed_over
from lowlight_cli.jobs import Job, Layout
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.picture.encoding import QUALITY
from lowlight_cli.picture.extras import readable
from lowlight_cli.runners import RunnerOptions, open_runner
from lowlight_cli.runners.options import map_names, settled
from lowlight_cli.settings import Settings, check
from lowlight_cli.stopwatch import OFF, Untimed
from lowlight_cli.tasks import maps as map_files
from lowlight_cli.tasks.folders import held, make, make_folder
from lowlight_cli.tasks.pipeline import Pipeline
from lowlight_cli.tasks.preset import EvidenceOptions, preset
from lowlight_cli.tasks.results import Item, Result
from lowlight_cli.tasks.unwitnessed import Unwitnessed, open_witness


@dataclasses.dataclass(frozen=True, kw_only=True)
class EnhanceOptions:
    """Everything `lowlight enhance` can be told, but for how to show it."""

    inputs: tuple[str, ...]
    layout: Layout
    model: str = MODEL
    runner: RunnerOptions = dataclasses.field(default_factory=RunnerOptions)
    settings: Settings = dataclasses.field(default_factory=Settings)
    batch_size: int | None = None
    quality: int | None = None
    max_pixels: int = picture.MAX_PIXELS
    fail_fast: bool = False
    maps: Path | None = None
    """Folder for the network's maps, see `tasks.maps`; None: none are saved."""
    evidence: EvidenceOptions | None = None
    """The log to keep, see `tasks.witness`; None: none is."""
    stopwatch: Untimed = OFF


class Run:
    """A planned run, see `plan_run`."""

    def __init__(
        self,
        options: EnhanceOptions,
        witness: Unwitnessed,
        jobs: list[Job],
        maps: map_files.Files,
        *,
        passed_over: Mapping[str, int] = MappingProxyType({}),
        empty: Sequence[str] = (),
    ) -> None:
        self.options, self.witness, self.jobs = options, witness, jobs
        self.maps = maps
        """Maps to write, of the jobs that have any."""
        self.passed_over = passed_over
        """How many pictures of kinds that are not read lie in the folders, by suffix."""
        self.empty = empty
        """Inputs among others in which there is no picture."""
        self.late: list[Result] = []
        """Of files that were finished while a run was stopped; complete once the iterator is closed."""

    @property
    def quality_unused(self) -> bool:
        """Whether a quality is asked for that nothing is written with."""
        written = {picture.SUFFIXES[job.target.suffix.lower()] for job in self.jobs}
        return self.options.quality is not None and bool(written) and written.isdisjoint(QUALITY)

    def open(self) -> Enhancer:
        """The open model."""
        return open_enhancer(self.options)

    def planned(self) -> Iterator[Result]:
        """What would be done, without doing it."""
        for item in map(self.item, self.jobs):
            job, status = item.job, "skipped" if item.idle else "failed" if item.job.problem else "planned"
            maps = tuple(item.wanted.values())
            yield Result(source=job.source, target=job.target, status=status, error=job.problem or None, maps=maps)

    def item(self, job: Job) -> Item:
        """The picture of a job, at its start."""
        wanted, suffix = self.maps.get(job, {}), job.target.suffix.lower()
        shallow = self.options.settings.depth == 16 and picture.SUFFIXES[suffix] not in picture.DEEP
        if shallow and not job.skip and not job.problem:
            problem = f"{suffix} holds 8 bits per channel, and --depth 16 is asked for."
            job = dataclasses.replace(job, problem=problem, remedy="Add --format png, or leave out --depth.")
        return Item(job, wanted=wanted)

    @property
    def idle(self) -> bool:
        """Whether nothing is to be done; a log is to tell that too."""
        return self.options.evidence is None and all(self.item(job).idle for job in self.jobs)

    def results(self, enhancer: Enhancer) -> Iterator[Result]:
        """Do it. Closing the iterator lets files that are being written finish (see `late`), and starts no more."""
        folder = make_folder(self.options.layout.out, self.jobs)
        if self.options.maps is not None:
            make(self.options.maps, "--save-maps")
        self.witness.begin(enhancer, self.jobs)
        try:
            with held(folder) as out, Pipeline(self, enhancer, out) as pipeline:
                yield from pipeline.results()
        finally:
            self.witness.end()


def plan_run(options: EnhanceOptions) -> Run:
    """Plan a run: every conflict is found before `Run.results` does any work."""
    options = preset(options)
    witness = open_witness(options)
    spec = check_options(options)
    empty: list[str] = []
    jobs, maps = plan_files(options, spec, witness, empty.append)
    planned = witness.plan(jobs)
    return Run(
        options,
        witness,
        planned,
        map_files.to_write(maps, jobs, planned, options),
        passed_over=passed_over(options.inputs, readable()),
        empty=empty,
    )


def plan_files(
    options: EnhanceOptions, spec: ModelSpec, witness: Unwitnessed, empty: Callable[[str], None]
) -> tuple[list[Job], map_files.Files]:
    """The jobs, and all their maps; `empty` is told of inputs that gave nothing."""
    layout, folder = options.layout, options.maps
    if folder is None:
        return planning.plan(options.inputs, layout, empty, witness.beside), {}
    names = map_names(spec, runner_options(options))

    def beside(job: Job) -> list[Path]:
        return [*witness.beside(job), *(file.target for _, _, file in map_files.files([job], layout, folder, names))]

    everything = map_files.sources(options.inputs, layout, folder, empty, beside)
    return map_files.plan(everything, layout, folder, names)


def check_options(options: EnhanceOptions) -> ModelSpec:
    """The row of the model as it will run. What it cannot be asked for is an OptionError."""
    spec, _ = settled(manifest.find(options.model), runner_options(options))
    check(spec, options.settings)
    refuse_unfit(options)
    return spec


def refuse_unfit(options: EnhanceOptions) -> None:
    """Refuse 16 bits, or a quality, in the one format that is to be written, if it has none."""
    layout, formats = options.layout, picture.SUFFIXES
    suffix, asked, format = layout.out.suffix.lower(), f"--format {layout.format}", layout.format
    if suffix in formats and planning.one_file(options.inputs, layout.out):
        format, asked = formats[suffix], f"--out {layout.out}"
    if options.settings.depth == 16 and format in {*formats.values()} - {*picture.DEEP}:
        able = ", ".join(picture.DEEP)
        raise OptionError(
            f"{asked}: {format} holds 8 bits per channel, and --depth 16 is asked for.",
            f"Leave out --depth, or write one of {able}.",
        )
    if options.quality is not None and format in {*formats.values()} - {*QUALITY}:
        raise OptionError(
            f"{asked}: {format} loses nothing, and --quality {options.quality} is asked for.",
            f"Leave out --quality, or write one of {', '.join(QUALITY)}.",
        )


def open_enhancer(options: EnhanceOptions) -> Enhancer:
    """The open model."""
    with options.stopwatch.stage("open"):
        runner = open_runner(manifest.find(options.model), runner_options(options))
    return Enhancer(runner, options.settings, options.runner.scale, options.stopwatch)


def runner_options(options: EnhanceOptions) -> RunnerOptions:
    """How to open the runner: maps, if they are saved, are asked of it."""
    return dataclasses.replace(options.runner, maps=options.maps is not None)
