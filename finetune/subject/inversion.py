"""Textual inversion (Gal et al. 2023): one new word is learned, a row of the text encoder's table; nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from safetensors.torch import save
from torch import Generator, Tensor

from augment.errors import FinetuneError
from finetune.subject.families import Family
from finetune.subject.loop import turns


class Word(torch.nn.Module):
    """A token that is new to a pipeline's tokenizer, and its embedding, begun as the mean of the noun's.

    The row is a parameter of its own that stands in for the table's wherever the token is read, so that no other row
    can change.
    """

    def __init__(self, pipe: Any, token: str, noun: str) -> None:
        super().__init__()
        self.token = token
        encoder, tokenizer = pipe.text_encoder, pipe.tokenizer
        like = tokenizer(noun, add_special_tokens=False).input_ids
        if tokenizer.add_tokens(token) != 1:
            raise FinetuneError(f"the token '{token}' is in the vocabulary already; write another, such as <my-{noun}>")
        self.id: int = tokenizer.convert_tokens_to_ids(token)
        encoder.resize_token_embeddings(max(len(tokenizer), encoder.get_input_embeddings().num_embeddings))
        encoder.requires_grad_(False)
        table = encoder.get_input_embeddings()
        self.row = torch.nn.Parameter(table.weight[like].float().mean(0).detach().clone())
        table.register_forward_hook(self._stand_in)

    def _stand_in(self, table: Any, given: tuple[Tensor, ...], found: Tensor) -> Tensor:
        return torch.where((given[0] == self.id)[..., None], self.row.to(found.dtype), found)


class Inversion:
    """A word that the pictures' latents, (pictures, …), are drawn from, in sentences by turns."""

    def __init__(
        self, family: Family, word: Word, latents: Tensor, sentences: Sequence[str], batch: int, chance: Generator
    ) -> None:
        self.parameters, self.count = [word.row], len(latents)
        self.weights = {"subject": 1.0}
        self._family, self._word, self._latents = family, word, latents
        self._sentences, self._batch = sentences, batch
        self._turns, self._said = turns(len(latents), chance), turns(len(sentences), chance)

    def losses(self, chance: Generator) -> dict[str, Tensor]:
        """How wrong the frozen network is about the pictures, told of by the word."""
        batch = self._latents[[next(self._turns) for _ in range(self._batch)]]
        words = self._family.words([self._sentences[next(self._said)] for _ in range(self._batch)])
        return {"subject": self._family.loss(batch, words, chance).mean()}

    def wrong(self, chosen: Sequence[int], chance: Generator) -> Tensor:
        """How wrong it is about the pictures of these numbers, told of in the first sentence."""
        words = self._family.words([self._sentences[0]] * len(chosen))
        return self._family.loss(self._latents[list(chosen)], words, chance)

    def saved(self, pipe: Any) -> bytes:
        """The row as `load_textual_inversion` reads it: under the token's name, (1, width), float32."""
        del pipe
        return save({self._word.token: self._word.row.detach().float().cpu()[None]}, {"format": "pt"})
