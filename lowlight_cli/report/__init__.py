"""What a benchmark leaves behind: summary.json, summary.md, per_image.csv, and report.html, a page that needs no
network. `evidence` and what begins with it: the pages and summaries of evidence logs.

document      the JSON document and the rows behind it     figures   numbers as they are printed
per_image     rows -> CSV                                  plots     where dots, boxes and ticks stand
published     what the papers state                        embed     picture files -> data: URIs
markdown      rows -> summary.md                           view      what the templates show
page          everything -> HTML, through *.html.j2, *.css and *.js beside it     pdf   HTML -> PDF, by a browser

Importing this imports nothing heavy; `write_page` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lowlight_cli.report.document import Pictures, Row, json_text, write_json
from lowlight_cli.report.per_image import write_csv
from lowlight_cli.report.published import published_figures

__all__ = ["Pictures", "Row", "json_text", "published_figures", "write_csv", "write_json", "write_page"]


def write_page(
    document: Mapping[str, Any],
    rows: Sequence[Row],
    pictures: Pictures,
    path: Path,
    published: Sequence[Mapping[str, Any]] | None = None,
    **options: Any,
) -> None:
    """Write report.html, whole or not at all; `options` are those of `embed.embed`, such as `budget`.

    `published`: rows of `published_figures`, shown beside what was measured.
    """
    from lowlight_cli.report import page

    page.write_page(document, rows, pictures, path, published, **options)
