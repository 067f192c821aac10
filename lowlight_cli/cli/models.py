"""`lowlight models`: what models there are, and where their weights lie."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from lowlight_cli import manifest, weights
from lowlight_cli.cli.options import json_option
from lowlight_cli.errors import ModelUnavailable, OptionError
from lowlight_cli.manifest import ModelSpec

HEADINGS = ("NAME", "ARCH", "PARAMETERS", "MB", "WEIGHTS", "GENERATIVE", "SUMMARY")

offline = click.option("--offline", is_flag=True, help="Never use the network.")
names = click.argument("names", metavar="[NAME]...", nargs=-1)


@click.group(name="models")
def command() -> None:
    """List, check, fetch and remove models.

    Weights are looked for in the package, among imported files, in the Hub cache, and finally on the Hub.

    \b
    Example:
      lowlight models list
    """


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List all models and where their weights are.

    The files are not read; `lowlight models verify` does that.

    \b
    Example:
      lowlight models list --json
    """
    rows = [describe(spec) for spec in manifest.models().values()]
    if as_json:
        return write_json({"models": rows})
    return write_table(HEADINGS, [table_row(row) for row in rows])


@command.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show everything known about one model.

    Paper, licence, what a runner must know, files with their sha256, and measured figures.

    \b
    Example:
      lowlight models show NAME
    """
    row = describe(manifest.find(name))
    if as_json:
        return write_json(row)
    files, limits, _ = row.pop("files"), row.pop("limits"), row.pop("check")
    for key, value in row.items():
        indent = 2 if "{" in str(value) else None  # a table, or a list of them
        text = value if isinstance(value, str) else json.dumps(value, indent=indent, ensure_ascii=False)
        click.echo(f"{key + ':':<16} {text}")
    if limits:
        click.echo("\n".join(("limits:", *(f"  - {sentence}" for sentence in limits))))
    for file in files:
        click.echo(f"\n{file['role']}: {file['path']} ({file['place']})")
        click.echo(f"  {file['bytes']} bytes, sha256 {file['sha256']}")
        if file["file"]:
            click.echo(f"  {file['file']}")
    return None


@command.command()
@names
@click.option("--all", "everything", is_flag=True, help="All models.")
@offline
@json_option
def pull(names: tuple[str, ...], everything: bool, offline: bool, as_json: bool) -> None:
    """Fetch and check the weights of models.

    Files that are already here are checked, not fetched again.

    \b
    Example:
      lowlight models pull --all
    """
    if everything == bool(names):
        raise OptionError("Nothing or too much is named.", "Give names of models, or --all.")
    paths: dict[str, dict[str, str]] = {spec.name: {} for spec in chosen(names)}
    for spec in chosen(names):
        for file in spec.files:
            path = weights.find(spec, file.role, offline=offline, progress=True)
            paths[spec.name][file.role] = str(path)
            click.echo(f"{spec.name}: {file.role} is at {path}", err=True)
        if not spec.files and names:
            why = "it is a classical method" if spec.classical else "no weights are published yet"
            click.echo(f"{spec.name}: nothing to fetch, {why}", err=True)
    if as_json:
        write_json(paths)


@command.command()
@names
@click.option("--run", is_flag=True, help="Also run each model on each back end and compare figures of the output.")
@offline
@json_option
def verify(names: tuple[str, ...], run: bool, offline: bool, as_json: bool) -> None:
    """Check the hash of every file of weights on this disk.

    Without names, of all models. Exit code 4 means that a file, or with --run a tiny output, is not what the manifest
    states, or that a run failed.

    \b
    Example:
      lowlight models verify --run
    """
    specs = chosen(names)
    files = [checked for spec in specs for checked in check_files(spec)]
    runs = [tried for spec in specs for tried in try_out(spec, offline)] if run else []
    bad = [item for item in (*files, *runs) if not item["ok"]]
    if as_json:
        write_json({"ok": not bad, "files": files, "runs": runs})
    else:
        for item in (*files, *runs):
            scale = f"x{item['scale']}" if "scale" in item else None
            words = (item["model"], item.get("role"), item.get("backend"), scale, item.get("path"), item["detail"])
            click.echo("  ".join(("ok " if item["ok"] else "BAD", *filter(None, words))))
    if bad:
        hint = "Reinstall lowlight for bundled files; `models pull` mends cached ones, `models rm` takes imported ones."
        if all(item["ok"] for item in files):
            hint = "Use the back end that is right, if one is, and report this with `lowlight doctor`."
        raise ModelUnavailable(f"{len(bad)} of {len(files) + len(runs)} checks failed.", hint)
    if not files:
        click.echo("No files of weights to check.", err=True)


@command.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def import_(file: Path, as_json: bool) -> None:
    """Import a file of weights that was brought here by hand.

    It is recognised by its sha256, whatever its name; other files are refused.

    \b
    Example:
      lowlight models import /media/usb/weights.safetensors
    """
    spec, found, path = weights.import_file(file)
    click.echo(f"{file} is the {found.role} file of {spec.name}.", err=True)
    if as_json:
        write_json({"model": spec.name, "role": found.role, "path": str(path)})
    else:
        click.echo(path)


@command.command()
@click.argument("name")
@json_option
def path(name: str, as_json: bool) -> None:
    """Print where the checked weights of a model are.

    One line per file, if there are any: role, tab, path. Exit code 4 if one is not on this disk; nothing is fetched.

    \b
    Example:
      lowlight models path NAME
    """
    spec = manifest.find(name)
    if spec.classical:
        click.echo(f"{name} needs no weights: it is a classical method", err=True)
    paths = {file.role: weights.present(spec, file.role) for file in spec.files}
    here = {role: str(found) for role, found in paths.items() if found}
    if as_json:
        write_json(here)
    else:
        for role, found in here.items():
            click.echo(f"{role}\t{found}")
    for role in paths:
        if role not in here:
            weights.find(spec, role, offline=True)  # says what is wrong with it, or how to get it


@command.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@json_option
def rm(names: tuple[str, ...], as_json: bool) -> None:
    """Delete imported, exported and cached weights of models.

    Files that came with lowlight stay.

    \b
    Example:
      lowlight models rm NAME
    """
    removed = [str(path) for spec in chosen(names) for path in weights.remove(spec)]
    if as_json:
        write_json({"removed": removed})
    else:
        for path in removed:
            click.echo(path)
    if not removed:
        click.echo("Nothing to delete: no imported, exported or cached files.", err=True)


@command.command()
@click.option("--repo", metavar="OWNER/NAME", help="Hub repository.  [default: $LOWLIGHT_HUB_REPO, else the project's]")
@click.option("--message", default="Publish weights", show_default=True, help="Commit message.")
@click.option("--dry-run", is_flag=True, help="Only list what would be uploaded.")
@json_option
def publish(repo: str | None, message: str, dry_run: bool, as_json: bool) -> None:
    """Upload the weights of all models to the Hub (for maintainers).

    Needs HF_TOKEN with write access. Prints the revision to pin in the manifest.

    \b
    Example:
      lowlight models publish --dry-run
    """
    from lowlight_cli.tasks import publish as task

    repo = task.repository(repo)
    uploads = task.plan(manifest.models().values(), task.cards_folder())
    for upload in uploads:
        click.echo(f"{upload.target}  {upload.bytes} bytes  {upload.source}", err=as_json or not dry_run)
    if not uploads:
        raise ModelUnavailable("There is nothing to publish.", "The manifest has no rows with files of this project.")
    revision = None if dry_run else task.publish(uploads, repo, message)
    if as_json:
        files = [{"path": upload.target, "bytes": upload.bytes, "sha256": upload.sha256} for upload in uploads]
        write_json({"repo": repo, "revision": revision, "files": files})
    elif revision:
        click.echo(revision)


def chosen(names: Iterable[str]) -> list[ModelSpec]:
    """The rows of those names, all without any."""
    return [manifest.find(name) for name in dict.fromkeys(names)] or list(manifest.models().values())


def describe(spec: ModelSpec) -> dict[str, Any]:
    """A row for people and for JSON: its fields, and for each file where it is. No file is read."""
    row = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec) if field.name != "files"}
    row["megabytes"] = round(sum(file.bytes for file in spec.files) / 1e6, 1)
    row["files"] = []
    for file in spec.files:
        found = next(weights.copies(spec, file.role), None)
        state = {"place": found.place if found else "to download", "file": str(found.path) if found else None}
        row["files"].append(dataclasses.asdict(file) | state)
    places = dict.fromkeys(file["place"] for file in row["files"])
    row["weights"] = "not needed" if spec.classical else " + ".join(places) or "none"
    return row


def table_row(row: dict[str, Any]) -> tuple[str, ...]:
    """The cells of one model under `HEADINGS`."""
    size = (count(row["parameters"]), f"{row['megabytes']:.1f}") if row["parameters"] else ("-", "-")
    return row["name"], row["arch"], *size, row["weights"], "yes" if row["generative"] else "no", row["summary"]


def count(parameters: int) -> str:
    """In millions, small ones in thousands."""
    return f"{parameters / 1e6:.2f} M" if parameters >= 1e5 else f"{parameters / 1e3:.1f} K"


def write_table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Aligned columns on stdout."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    for row in (headings, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def write_json(document: Any) -> None:
    """The one JSON document of a command."""
    click.echo(json.dumps(document, indent=2))


def check_files(spec: ModelSpec) -> list[dict[str, Any]]:
    """Every copy of the row's files on this disk, hashed again."""
    return [
        {"model": spec.name, "role": file.role, "place": place, "path": str(path), "ok": not problem, "detail": problem}
        for file, (place, path), problem in weights.verify(spec)
    ]


def try_out(spec: ModelSpec, offline: bool) -> list[dict[str, Any]]:
    """One tiny run at each scale on each back end, or of a classical method."""
    from lowlight_cli.tasks.selftest import trials

    return [tried.as_row() for tried in trials(spec, offline=offline)]
