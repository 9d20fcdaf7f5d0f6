"""LLaVA's conversations (https://github.com/haotian-liu/LLaVA): what is seen on a picture, asked and answered."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from augment.generators.scenes import language_for
from augment.images.exports.shown import Shown, Written

ASKED = {"en": "Describe the picture in one sentence.", "zh": "用一句话描述这张图片。"}


def llava(rows: Sequence[Shown], out: Path, name: str) -> Written:
    """NAME.json and the folder images/; `negative` holds the hard negative of a row that has one."""
    told = [row for row in rows if row.caption]
    known = {row.id: row for row in told}
    (out / "images").mkdir()
    entries: list[dict[str, Any]] = []
    for row in told:
        shutil.copyfile(row.picture, out / "images" / f"{row.id}.png")
        asked = ASKED[language_for(row.caption or "")]
        entry: dict[str, Any] = {
            "id": row.id,
            "image": f"images/{row.id}.png",
            "conversations": [
                {"from": "human", "value": f"<image>\n{asked}"},
                {"from": "gpt", "value": row.caption},
            ],
        }
        if row.negative in known:
            other = known[row.negative]
            entry["negative"] = {"id": other.id, "image": f"images/{other.id}.png", "caption": other.caption}
        entries.append(entry)
    (out / f"{name}.json").write_bytes(orjson.dumps(entries, option=orjson.OPT_INDENT_2))
    return Written(f"{name}.json", len(told), "a caption")
