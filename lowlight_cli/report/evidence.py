"""The account of an evidence log as one page for people: no network, no script, and only pictures that are proven.

evidence_log       the log, and fields that may hold anything     evidence_words   plain words on methods and logs
evidence_pictures  files with the recorded digest -> data: URIs   evidence_view    what the templates lay out
evidence_checks    what the verification found
pdf                the page through a browser's print
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from lowlight_cli import __version__
from lowlight_cli.errors import OptionError
from lowlight_cli.evidence_chain import Line, Record
from lowlight_cli.report import evidence_words as words
from lowlight_cli.report import page
from lowlight_cli.report.embed import BUDGET, Form
from lowlight_cli.report.evidence_checks import Check, Checks
from lowlight_cli.report.evidence_log import ReadLog, number, read, table, text, texts, whole
from lowlight_cli.report.evidence_pictures import Gallery, Recorded, embed
from lowlight_cli.report.evidence_view import (
    Card,
    Numbered,
    Place,
    curves,
    distinct,
    done_later,
    examiners,
    file_list,
    frames,
    input_path,
    is_done,
    moment,
    name_of,
    originals_unchanged,
    recorded,
    run_rows,
    seconds,
)

STYLES = ("page.css", "table.css", "evidence.css")

__all__ = ["Account", "Check", "ReadLog", "account", "read"]


@dataclass(frozen=True)
class Account:
    """A page, and what is in it."""

    html: str
    done: int
    failed: int
    """Inputs of which no record tells that they were done."""
    shown: int
    """Pictures of which at least one file is embedded."""
    listed: int
    """Records of pictures in the page."""
    verified: bool
    problems: tuple[str, ...]
    """What the verification found, in sentences."""


def account(
    log: ReadLog,
    checks: Iterable[Check],
    made: datetime,
    *,
    only: Sequence[str] = (),
    form: Form = "webp",
    budget: int = BUDGET,
    place: Place = Path,
    given_head: str | None = None,
) -> Account:
    """The page of a log, the same for the same log, files, checks and date.

    `only`: names or patterns of pictures. `place`: where a file of the log lies now. `given_head`: the digest from
    elsewhere with which the checks compared the log.
    """
    environment = page.templates()
    lines = chosen(log.of("picture"), only)
    files = [recorded(line, place) for line in lines]
    gallery = embed({str(i): own for i, own in enumerate(files)}, form, budget=budget)
    checked, methods = Checks.of(checks), numbered(log, "method")
    later = done_later(log.of("picture"))
    cards = [
        card(i, line, later(line), own, gallery, checked, methods)
        for i, (line, own) in enumerate(zip(lines, files, strict=True))
    ]
    told = whole_log(log) | {
        "cards": cards,
        "gallery": gallery,
        "checked": checked,
        "given_head": given_head,
        "methods": [method(told, log) for told in methods.found.values()],
        "made": made.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "words": words,
        "version": __version__,
    }
    html = environment.get_template("evidence.html.j2").render(told | sealed(log))
    shown = sum(card.shown for card in cards)
    problems = tuple(f"{found.where}: {found.text}" for found in checked.problems)
    return Account(html, told["done"], told["failed"], shown, len(cards), not checked.failed, problems)


def whole_log(log: ReadLog) -> dict[str, Any]:
    """What is told of the log as a whole, for the templates."""
    pictures = log.of("picture")
    baselines = dict.fromkeys(text(line.record, "baseline", "model") for line in pictures)
    return {
        "log": log,
        "quoted": shlex.quote(str(log.path)),
        "said": {"examiner": examiners(log), **{name: distinct(log, name) for name in ("case", "note")}},
        "period": period(log),
        "runs": run_rows(log),
        "systems": [words.system(told) for told in numbered(log, "system").found.values()],
        "baselines": [name for name in baselines if name],
        "total": len(pictures),
        "done": len(done := {input_path(line) for line in pictures if is_done(line)}),
        "failed": len({input_path(line) for line in pictures} - done),
        "left_out": max((whole(line.record, "not_taken", "count") or 0 for line in log.of("start")), default=0),
        "unchanged": originals_unchanged(pictures),
    }


def chosen(lines: Sequence[Line], only: Sequence[str]) -> list[Line]:
    """The pictures that a name or pattern means: of the file, below the input folder, or a whole path."""
    found: dict[str, list[Line]] = {pattern: [] for pattern in only}
    for line in lines:
        paths = [text(line.record, "input", "path"), text(line.record, "output", "path")]
        names = {text(line.record, "input", "relative"), *paths, *(Path(path).name for path in paths)} - {""}
        for pattern in only:
            if any(name == pattern or fnmatchcase(name, pattern) for name in names):
                found[pattern].append(line)
    for pattern, own in found.items():
        if not own:
            raise OptionError(f"No record is of a picture {pattern}.", "Name it as the log does, or use a pattern.")
    kept = {id(line) for own in found.values() for line in own}
    return [line for line in lines if id(line) in kept or not only]


def numbered(log: ReadLog, name: str) -> Numbered:
    """The distinct mappings under that name: of the pictures, else of the runs."""
    found = Numbered()
    for line in log.of("picture") or log.lines:
        found.place(table(line.record, name))
    return found


def period(log: ReadLog) -> tuple[str, str]:
    """Times of the first and of the last record."""
    return moment(log.lines[0].record["time"]), moment(log.lines[-1].record["time"])


def method(told: dict[str, Any], log: ReadLog) -> dict[str, Any]:
    """One method in words."""
    return {
        "used": any(is_done(line) and table(line.record, "method") == told for line in log.of("picture")),
        "name": text(told, "model") or "unknown",
        "kind": words.title(told),
        "summary": text(told, "summary"),
        "paper": words.paper(told),
        "nature": words.nature(told),
        "limits": texts(told, "limits"),
        "settings": words.settings(told),
        "generative": told.get("generative") is True,
    }


def aimed(record: Record) -> str:
    """The brightness that the network was to reach; logs of before say none."""
    told = number(record, "exposure")
    return "" if told is None else f"{told:.2f} of 1"


def card(
    index: int,
    line: Line,
    later: int | None,
    own: Mapping[str, Recorded],
    gallery: Gallery,
    checked: Checks,
    methods: Numbered,
) -> Card:
    """One picture."""
    record, shown, found = line.record, frames(line.record, own, str(index), gallery), checked.on(line)
    facts = [
        ("Time", moment(text(record, "time"))),
        ("Took", seconds(record)),
        ("Worked on", words.tiles(record)),
        ("Shadows lifted by", words.lifted(record)),
        ("Mean luma aimed at", aimed(record)),
    ]
    return Card(
        index=index,
        name=name_of(record),
        record=line.number,
        digest=line.digest,
        done=is_done(line),
        later=later,
        method=methods.place(table(record, "method")),
        facts=tuple(fact for fact in facts if fact[1]),
        files=file_list(record),
        notices=(*texts(record, "notices"), *filter(None, [text(record, "development")])),
        error=text(record, "error"),
        hint=text(record, "hint"),
        problems=tuple(told for check in found for told in check.problems),
        remarks=tuple(told for check in found for told in check.notes),
        frames=shown,
        curves=curves(own, shown, gallery),
    )


def sealed(log: ReadLog) -> dict[str, Any]:
    """The style with the foot of printed pages, and the policy: this style, pictures in the page, and nothing else."""
    from markupsafe import Markup

    style = "\n".join((page.FOLDER / name).read_text("utf-8") for name in STYLES)
    style += f'@page {{ @bottom-left {{ content: "lowlight evidence report, log SHA-256 {log.sha256[:16]}…"; }} }}\n'
    policy = f"default-src 'none'; img-src data:; style-src '{page.digest(style)}'; base-uri 'none'; form-action 'none'"
    return {"style": Markup(style), "policy": Markup(policy)}
