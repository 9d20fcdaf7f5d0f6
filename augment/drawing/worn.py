"""What the shared models wear for some drawings and not for others: LoRA, textual inversion, an IP-Adapter.

What is drawn without them is the same to the pixel as if they had never been there.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from augment.drawing.found import Part, one_line
from augment.errors import EngineError
from augment.images.subjects import WEIGHTS

LORA, TOKENS = WEIGHTS["dreambooth-lora"], WEIGHTS["textual-inversion"]


@dataclass(eq=False)
class Worn:
    """What the models of `base` wear now. `folders` are the adapters that a drawing may name, by digest."""

    base: Any
    folders: Mapping[str, str]
    look: Part | None = None
    _loras: set[str] = field(default_factory=set)
    _now: tuple[tuple[str, ...], bool] = ((), False)
    _tokenizer: Any = None
    _encoder: tuple[Any, Any] | None = None

    def __post_init__(self) -> None:
        self._plain = getattr(self.base, "tokenizer", None)

    def wear(self, pipe: Any, adapters: tuple[str, ...], looks: bool) -> bool:
        """Have `pipe`, whose models are those of the base, draw with these adapters, and with the IP-Adapter or not.

        Returns whether anything had to be put on or taken off.

        Raises:
            EngineError: an adapter is not among the engine's, is broken, or does not fit the model.
        """
        change = self._now != (adapters, looks)
        if change:
            folders = [self._folder(each) for each in adapters]
            self._take_off()
            self._now = ((), False)
            with one_line("the adapters cannot be worn", "give those that were trained for this model"):
                loras = [name for name, folder in zip(adapters, folders, strict=True) if self._loaded(name, folder)]
                if loras:
                    self.base.enable_lora()
                    self.base.set_adapters([_called(each) for each in loras])
            if looks:
                self._look()
            self._now = (adapters, looks)
        if hasattr(pipe, "tokenizer"):
            pipe.tokenizer = self._plain if self._tokenizer is None else self._tokenizer
        if looks and self._encoder is not None:
            pipe.image_encoder, pipe.feature_extractor = self._encoder
        return change

    def _folder(self, digest: str) -> Path:
        if digest not in self.folders:
            raise EngineError(f"no adapter {digest}; give the folder that augment subject wrote with --subjects")
        return Path(self.folders[digest])

    def _loaded(self, name: str, folder: Path) -> bool:
        """Loads an adapter; whether it is a LoRA, which is yet to be put on."""
        if (folder / LORA).is_file():
            if name not in self._loras:
                self.base.load_lora_weights(str(folder), weight_name=LORA, adapter_name=_called(name))
                self._loras.add(name)
            return True
        if hasattr(self.base, "load_textual_inversion"):
            # the words are in a tokenizer of their own: to any other, what was added to the embedding is not there
            self._tokenizer = copy.deepcopy(self._plain) if self._tokenizer is None else self._tokenizer
            self.base.load_textual_inversion(str(folder), weight_name=TOKENS, tokenizer=self._tokenizer)
            return False
        raise ValueError(f"{type(self.base).__name__} takes no textual inversion, as in {folder}")

    def _take_off(self) -> None:
        adapters, looks = self._now
        if any(each in self._loras for each in adapters):
            self.base.disable_lora()
        self._tokenizer = None
        if looks:
            kept = self.base.feature_extractor
            self.base.unload_ip_adapter()
            self.base.register_modules(feature_extractor=kept)

    def _look(self) -> None:
        """Load the IP-Adapter, its image encoder only once."""
        assert self.look is not None
        folder, _, file = self.look.inside.rpartition("/")
        if self._encoder is not None:
            self.base.register_modules(image_encoder=self._encoder[0], feature_extractor=self._encoder[1])
        with one_line(f"the IP-Adapter {self.look.name} cannot be loaded", "it must be made for this model"):
            self.base.load_ip_adapter(self.look.place, subfolder=folder, weight_name=file, revision=self.look.commit)
        self._encoder = self.base.image_encoder, self.base.feature_extractor


def _called(digest: str) -> str:
    return f"a{digest}"
