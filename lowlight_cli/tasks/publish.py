"""Upload every row's weights, and the model cards of a checkout, to the project's repository on the Hub."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from lowlight_cli import hub, manifest, weights
from lowlight_cli.errors import ModelUnavailable, OptionError
from lowlight_cli.manifest import ModelSpec


class Upload(NamedTuple):
    """One file to upload, its bytes checked, and its path in the repository."""

    source: Path
    target: str
    bytes: int
    sha256: str


def cards_folder() -> Path:
    """Model cards of a checkout; an installed package has none."""
    return manifest.PACKAGE.parent / "docs" / "models"


def plan(specs: Iterable[ModelSpec], cards: Path) -> list[Upload]:
    """What belongs into the project's repository: the rows' files, then the cards and their pictures.

    A file that is not on this disk or has other bytes than its row states is an error, as are two files of one name.
    """
    uploads: dict[str, Upload] = {}
    for spec in specs:
        for file in spec.files:
            if file.repo is None:
                upload = Upload(_local(spec, file.role), file.path, file.bytes, file.sha256)
                if uploads.setdefault(upload.target, upload).sha256 != upload.sha256:
                    raise ModelUnavailable(
                        f"Two rows name {upload.target} with different bytes; the second is {spec.name!r}.",
                        "Give the file another path in the manifest.",
                    )
    for card in sorted((*cards.glob("*.md"), *cards.glob("*.jpg"))):
        uploads[card.name] = Upload(card, card.name, card.stat().st_size, weights.sha256_of(card))
    return list(uploads.values())


def _local(spec: ModelSpec, role: str) -> Path:
    """The checked local file of that role; published or not, nothing is fetched for an upload."""
    return weights.find(spec, role, offline=True)


def repository(asked: str | None) -> str:
    """OWNER/NAME as asked for, or else the project's own. Uploads make a new revision: none can be named."""
    name, _, revision = (asked or manifest.hub_repo()).partition("@")
    if not name or (asked and revision):
        raise OptionError(f"{asked or '@'} is not OWNER/NAME.", "What is uploaded goes to the default branch.")
    return name


def publish(uploads: list[Upload], repo: str, message: str) -> str:
    """Commit all files in one commit, making the repository if need be; the revision (40 hex digits) to pin."""
    failures = hub.set_up()
    try:
        from huggingface_hub import CommitOperationAdd, HfApi

        api = HfApi(endpoint=hub.endpoint())
        additions = [CommitOperationAdd(upload.target, str(upload.source)) for upload in uploads]
        api.create_repo(repo, exist_ok=True)
        return api.create_commit(repo, additions, commit_message=message).oid
    except failures as error:
        hint = "Publishing needs HF_TOKEN with write access; LOWLIGHT_HUB_REPO or --repo names the repository."
        raise hub.unavailable(f"{len(uploads)} files cannot be published to {repo}", error, hint) from error
