"""An executed notebook as one HTML file that opens without a network."""

from __future__ import annotations

from pathlib import Path

from workbench.pipeline.output import rewrite

_PICTURES_FIRST = ["image/svg+xml", "image/png", "image/jpeg", "text/html", "text/markdown", "text/plain"]
"""A live widget would want its library from a network; its picture, which stands beside it, does not."""


def write_html(notebook: Path) -> Path:
    """Write the notebook's HTML beside it, whole or not at all; return where."""
    import nbformat
    from nbconvert.exporters import HTMLExporter
    from traitlets.config import Config

    content = nbformat.reads(notebook.read_text(encoding="utf-8"), as_version=4)
    content.metadata.pop("widgets", None)
    foreign = dict.fromkeys(("mathjax_url", "require_js_url", "jquery_url", "mermaid_js_url"), "")
    settings = Config({"NbConvertBase": {"display_data_priority": _PICTURES_FIRST}, "HTMLExporter": foreign})
    text, _ = HTMLExporter(config=settings).from_notebook_node(content)
    page = notebook.with_suffix(".html")
    rewrite(page, text)
    return page
