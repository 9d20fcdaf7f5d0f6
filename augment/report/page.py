"""Sections and rows to one HTML file that loads nothing: its style and scripts are in it, and no others may run.

Every value is escaped: by Jinja in the page, as `\\u003c` in JSON, and by the scripts, which only ever set text.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import altair as alt
import orjson
import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from augment import __version__
from augment.report.blocks import Chart, Section
from augment.report.rows import Packed

_HERE = "augment.report"


@dataclass(frozen=True)
class Page:
    """A page: its title and what stands beneath, its sections, the runs' rows, and notes on what is not shown."""

    title: str
    subtitle: str
    sections: Sequence[Section]
    packed: Sequence[Packed] = ()
    notes: Sequence[str] = ()


def render(page: Page) -> str:
    """The page's HTML; the same page gives the same bytes."""
    charts = {block.id: block.spec for section in page.sections for block in section.blocks if isinstance(block, Chart)}
    style, script = _file("style.css"), _file("marks.js") + _file("rows.js")
    bundle, plots = (_bundle(), _file("plots.js")) if charts else ("", "")
    scripts = [each for each in (script, bundle, plots) if each]
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(map(_hash, scripts))}",
            f"style-src {_hash(style)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    environment = Environment(
        loader=PackageLoader(_HERE, ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html.jinja").render(
        title=page.title,
        subtitle=page.subtitle,
        notes=page.notes,
        sections=page.sections,
        version=__version__,
        policy=policy,
        style=Markup(style),
        script=Markup(script),
        bundle=Markup(bundle),
        plots=Markup(plots),
        charts=_json(charts),
        abouts=[_json(each.about) for each in page.packed],
        parts=[(run, Markup(part)) for run, each in enumerate(page.packed) for part in each.parts],
    )


def _json(value: Any) -> Markup:
    """JSON that ends no script element; NaN and infinity are null."""
    written = orjson.dumps(value).decode()
    for character in "<>&\u2028\u2029":
        written = written.replace(character, f"\\u{ord(character):04x}")
    return Markup(written)


def _bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, of the version that altair writes for."""
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    return (
        vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=version)
        .replace("</script", "<\\/script")
        .replace("<!--", "<\\!--")
    )


def _file(name: str) -> str:
    return (files(_HERE) / name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
