"""report.html: one file that needs nothing else, its pictures inside, forbidden by its own policy to load anything."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowlight_cli import atomic
from lowlight_cli.printable import printable
from lowlight_cli.report import view
from lowlight_cli.report.document import Pictures, Row, names
from lowlight_cli.report.embed import embed

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).resolve().parent
STYLES = ("page.css", "table.css", "plots.css", "pictures.css")
SCRIPTS = ("table.js", "pictures.js")


def write_page(
    document: Mapping[str, Any],
    rows: Sequence[Row],
    pictures: Pictures,
    path: Path,
    published: Sequence[Mapping[str, Any]] | None = None,
    **options: Any,
) -> None:
    """See `report.write_page`."""
    environment = templates()
    models = [model["model"] for model in document["models"]]
    embedded = embed(names(rows), models, pictures, **options)
    told = view.context(document, rows, embedded, published or ())
    text = environment.get_template("page.html.j2").render(told | sealed())
    atomic.write(path, text.encode("utf-8", "backslashreplace"))


def templates() -> Environment:
    """Jinja2 over this folder; everything that is put in is escaped, and a name that is missing is an error."""
    import jinja2

    loader = jinja2.FileSystemLoader(FOLDER)
    return jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def shown(value: object) -> object:
    """What a template puts in, with nothing invisible in it; markup and numbers stay."""
    return printable(value) if type(value) is str else value


def sealed() -> dict[str, Any]:
    """The style, the script, and the policy that allows these two by their hash, pictures in the page, and no more."""
    from markupsafe import Markup

    style, script = ("\n".join((FOLDER / name).read_text("utf-8") for name in part) for part in (STYLES, SCRIPTS))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{digest(style)}'; script-src '{digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return {"style": Markup(style), "script": Markup(script), "policy": Markup(policy)}


def digest(text: str) -> str:
    """A hash as content security policies write it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
