"""Models that look at pictures, named by the user: a classifier, or a CLIP that compares pictures and words.

By a folder or `owner/name` of the hub; safetensors only, no code of theirs is run. They see full batches always, so
that what is said of a picture does not depend on how many come with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from augment.errors import needs
from augment.images.store import pictures
from filters.models import one_line, place

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 16
_REMEMBERED = 1 << 16  # vectors: some 130 MB
Vectors = NDArray[np.float64]


@dataclass(eq=False)
class Classifier:
    """An image classifier. `labels` are its classes, in its order."""

    labels: tuple[str, ...]
    model: Any
    processor: Any
    device: str

    @classmethod
    def load(cls, name: str, setting: str) -> Classifier:
        """The classifier called `name`; `setting` is where the user wrote it ("unsafe_image.model").

        Raises:
            RecipeError: torch is not installed, or there is no such classifier.
        """
        with needs("torch", "image"):
            import torch
        with one_line(name, setting, "a classifier of images"):
            from transformers import AutoModelForImageClassification

            processor = _processor(name)
            model = AutoModelForImageClassification.from_pretrained(place(name), use_safetensors=True).eval()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        labels = tuple(str(model.config.id2label[at]) for at in range(model.config.num_labels))
        return cls(labels, model.to(device), processor, device)

    def probabilities(self, names: Sequence[str]) -> Vectors:
        """For each picture the probability of each label: (pictures, labels)."""
        import torch

        def shares(full: list[str]) -> Tensor:
            shown = self.processor(images=[pictures().open(name) for name in full], return_tensors="pt")
            return torch.softmax(self.model(**shown.to(self.device)).logits.double(), dim=1)

        return _batched(names, shares, len(self.labels))


@dataclass(eq=False)
class Twin:
    """A model that puts pictures and words into one space (CLIP, SigLIP). What it saw is remembered."""

    model: Any
    processor: Any
    tokenizer: Any
    device: str
    width: int = 0
    _known: dict[tuple[str, str], NDArray[np.float32]] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, name: str, setting: str) -> Twin:
        """The model called `name`; `setting` is where the user wrote it.

        Raises:
            RecipeError: torch is not installed, or there is no such model.
        """
        with needs("torch", "image"):
            import torch
        with one_line(name, setting, "a CLIP or SigLIP"):
            from transformers import AutoModel, AutoTokenizer

            processor = _processor(name)
            tokenizer = AutoTokenizer.from_pretrained(place(name))
            model = AutoModel.from_pretrained(place(name), use_safetensors=True).eval()
            if not hasattr(model, "get_image_features") or not hasattr(model, "get_text_features"):
                raise ValueError("it does not compare pictures with words")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(model.to(device), processor, tokenizer, device)

    @property
    def scale(self) -> float:
        """What cosines are multiplied by to be the logits of a choice."""
        return float(self.model.logit_scale.detach().exp())

    def images(self, names: Sequence[str]) -> Vectors:
        """Pictures of the store as vectors of length 1: (pictures, width)."""

        def vectors(full: list[str]) -> Tensor:
            shown = self.processor(images=[pictures().open(name) for name in full], return_tensors="pt")
            return _pooled(self.model.get_image_features(pixel_values=shown["pixel_values"].to(self.device)))

        return self._remembered("image", names, vectors)

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Texts as vectors of length 1, cut at what the model reads."""
        longest = self.model.config.text_config.max_position_embeddings

        def vectors(full: list[str]) -> Tensor:
            read = self.tokenizer(full, padding="max_length", truncation=True, max_length=longest, return_tensors="pt")
            return _pooled(self.model.get_text_features(**read.to(self.device)))

        return self._remembered("text", texts, vectors)

    def _remembered(self, kind: str, keys: Sequence[str], vectors: Callable[[list[str]], Tensor]) -> Vectors:
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        missing = [key for key in dict.fromkeys(keys) if (kind, key) not in self._known]
        for key, vector in zip(missing, _batched(missing, vectors), strict=True):
            self._known[kind, key] = (vector / max(float(np.linalg.norm(vector)), 1e-12)).astype(np.float32)
        return np.array([self._known[kind, key] for key in keys], dtype=np.float64)


def remembered(memory: dict[str, Any], kind: type[Classifier] | type[Twin], name: str, setting: str) -> Any:
    """The model called `name`, loaded once a run.

    Raises:
        RecipeError: as `load`.
    """
    key = f"{kind.__name__}:{name}"
    if key not in memory:
        memory[key] = kind.load(name, setting)
    return memory[key]


def _batched(names: Sequence[str], vectors: Callable[[list[str]], Tensor], width: int = 0) -> Vectors:
    import torch

    found = [np.empty((0, width))]
    with torch.inference_mode():
        for first in range(0, len(names), BATCH):
            part = list(names[first : first + BATCH])
            full = part + part[-1:] * (BATCH - len(part))
            found.append(vectors(full)[: len(part)].double().cpu().numpy())
    return np.concatenate(found if width or len(found) == 1 else found[1:])


def _pooled(found: Any) -> Tensor:
    """Features are an object with `pooler_output` in transformers 5, and a tensor before."""
    pooled: Tensor = getattr(found, "pooler_output", found)
    return pooled


def _processor(name: str) -> Any:
    from transformers import AutoImageProcessor

    return AutoImageProcessor.from_pretrained(place(name))  # type: ignore[no-untyped-call]
