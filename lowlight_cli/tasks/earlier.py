"""What a log tells of earlier runs: which pictures are done, and whether these are the ones that are wanted now."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowlight_cli import manifest, weights
from lowlight_cli.evidence_chain import Record
from lowlight_cli.jobs import Job
from lowlight_cli.tasks import records

if TYPE_CHECKING:
    from lowlight_cli.tasks.enhance import EnhanceOptions


class Earlier:
    """Records of pictures that are done."""

    def __init__(self, told: Iterable[Record], options: EnhanceOptions, settings: Mapping[str, Any]) -> None:
        """`settings` are those of this run, see `records.settings`."""
        self.options, self.settings = options, settings
        self.done: dict[str, Record] = {}
        """By the path of the output."""
        self.maps: dict[str, dict[str, tuple[Record, Record]]] = {}
        """By the path of the input, then by their own, the latest record of each map, and the map in it."""
        for record in told:
            if record["kind"] == "picture" and finished(record):
                self.add(record)

    def add(self, record: Record) -> None:
        """A picture that is done."""
        if record["output"]:
            self.done[record["output"]["path"]] = record
        maps = self.maps.setdefault(record["input"]["path"], {})
        maps |= {file["path"]: (record, file) for file in record["maps"]}

    def difference(self, job: Job, record: Record) -> str:
        """In what the files and the wish differ from a record; empty: in nothing."""
        number, asked = record["record"], {"model": self.options.model, "settings": self.settings}
        if (backend := self.options.runner.backend) != "auto":
            asked["backend"] = backend
        if record["input"]["path"] != records.absolute(job.source):
            return f"{job.target} was made from {record['input']['path']}, by record {number} of the log."
        method = dict(record["method"])
        method["settings"] = records.explicit(self.options.model, method["settings"])
        if any(method[name] != value for name, value in asked.items()):
            return f"{job.target} was made with another model or other settings, by record {number} of the log."
        if self.settings["own_weights_sha256"] is None and other_weights(method):
            return f"{job.target} was made with other weights of {method['model']}, by record {number} of the log."
        files = {file["path"]: (record, file) for file in (record["input"], *records.outputs(record))}
        if self.options.maps is not None:
            folder = records.absolute(self.options.maps) + os.sep
            maps = self.maps.get(record["input"]["path"], {})
            files |= {path: found for path, found in maps.items() if path.startswith(folder)}
        for one, file in files.values():
            if (path := Path(file["path"])).exists() and weights.sha256_of(path) != file["sha256"]:
                return f"{path} was changed after record {one['record']} of the log."
        return ""


def other_weights(method: Record) -> bool:
    """Whether a record's weights are not those that the model's row has now; a file that no row has is its own."""
    row = {file.role: file.sha256 for file in manifest.find(method["model"]).files}
    return any(row.get(file["role"], file["sha256"]) != file["sha256"] for file in method["weights"])


def finished(record: Record) -> bool:
    """Whether a record tells of files that are there for good."""
    return not records.flaw(record) and record["status"] == "done"
