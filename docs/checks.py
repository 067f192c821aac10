"""Write the figures that `lowlight models verify --run` compares with into weights_manifest.json: each row's `check`.

python docs/checks.py [NAME ...]
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence

from lowlight_cli import atomic, manifest
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.tasks import selftest


def agreed(spec: ModelSpec) -> dict[str, list[float]]:
    """The row's figures; back ends that differ by more than they may are an error."""
    found = selftest.check(spec)
    for trial in selftest.trials(dataclasses.replace(spec, check=found), offline=True):
        if trial.problem:
            sys.exit(f"{spec.name}: {trial.detail}. Nothing was written.")
    return found


def main(names: Sequence[str]) -> None:
    """Write those of the named rows, or of all that have weights or need none."""
    path = manifest.manifest_path()
    document = json.loads(path.read_text(encoding="utf-8"))
    for spec in map(manifest.find, names or manifest.models()):
        if not spec.untrained:
            found = agreed(spec)
            changed = "as before" if found == spec.check else "changed" if spec.check else "new"
            document["models"][spec.name]["check"] = found
            print(f"{spec.name}: {', '.join(found)} {changed}")
    atomic.write(path, (json.dumps(document, indent=2) + "\n").encode())


if __name__ == "__main__":
    main(sys.argv[1:])
