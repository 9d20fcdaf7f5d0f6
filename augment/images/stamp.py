"""A PNG that says what it is: its recipe in a text chunk, and in XMP that a model made or changed it.

`DigitalSourceType` is IPTC's vocabulary for synthetic media (https://cv.iptc.org/newscodes/digitalsourcetype/).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from augment.images.png import png

if TYPE_CHECKING:
    from PIL.Image import Image

RECIPE = "augment"
"""The keyword of the text chunk that holds the recipe, as JSON."""
DRAWN = "trainedAlgorithmicMedia"
EDITED = "compositeWithTrainedAlgorithmicMedia"
CHANGED = "algorithmicallyEnhanced"
"""Made by a model from words; made by a model from a picture; changed by rules alone."""
_VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
    "<Iptc4xmpExt:DigitalSourceType>{source}</Iptc4xmpExt:DigitalSourceType>"
    '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
)


def stamped(picture: Image, recipe: Mapping[str, Any], source: str) -> bytes:
    """The picture as a PNG with its recipe and its `DigitalSourceType` (`DRAWN`, `EDITED` or `CHANGED`)."""
    xmp = _XMP.format(source=_VOCABULARY + source)
    told = orjson.dumps(recipe, option=orjson.OPT_SORT_KEYS).decode()
    return png(picture, {"XML:com.adobe.xmp": xmp, RECIPE: told})


def plain(picture: Image) -> bytes:
    """The picture as a PNG that says nothing: a seed, a mask."""
    return png(picture, {})


def recipe_of(raw: bytes) -> tuple[dict[str, Any] | None, str | None]:
    """What a PNG says of itself: its recipe and its source type; None where it says nothing."""
    from PIL import Image as PILImage

    with PILImage.open(io.BytesIO(raw), formats=["PNG"]) as found:
        text = getattr(found, "text", {})
    recipe = orjson.loads(text[RECIPE].encode()) if RECIPE in text else None  # Pillow gives a subclass of str
    xmp = text.get("XML:com.adobe.xmp", "")
    source = next((each for each in (DRAWN, EDITED, CHANGED) if f"{_VOCABULARY}{each}<" in xmp), None)
    return recipe, source
