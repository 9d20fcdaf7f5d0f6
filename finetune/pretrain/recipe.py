"""What a recipe's `[pretrain]` table says: the size of the model, how long it learns, and what."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

WIDTHS = (32, 64, 128, 256)
"""Sizes of an attention head that vLLM has kernels for, on a CPU too."""


class PretrainRecipe(BaseModel):
    """A pre-training, as written. The defaults suit some hundred rows and two cores.

    `length` is in tokens, `batch` in sequences of each of the tasks; of a row at most `variants` rewordings are taught.
    `rounds` is how often the rows' texts are read at most: a few rows are soon learnt by heart, and the loss on others
    rises (101 rows of the sample read 32 times: 8.5 nats per token, more than of counting tokens, 6.9).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    teach: tuple[Literal["text", "paraphrase"], ...] = ("text", "paraphrase")
    vocabulary: Annotated[int, Field(ge=300)] = 3000
    hidden: Annotated[int, Field(ge=32)] = 128
    layers: Annotated[int, Field(ge=1)] = 2
    heads: Annotated[int, Field(ge=1)] = 4
    length: Annotated[int, Field(ge=32, le=2048)] = 400
    steps: Annotated[int, Field(ge=1)] = 800
    rounds: Annotated[int, Field(ge=1)] = 4
    batch: Annotated[int, Field(ge=1)] = 2
    variants: Annotated[int, Field(ge=1)] = 8
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 0.04
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.teach:
            raise ValueError("teach names nothing; give text, paraphrase or both")
        width, left = divmod(self.hidden, self.heads)
        if left or width not in WIDTHS:
            fits = ", ".join(str(self.hidden // each) for each in WIDTHS if self.hidden % each == 0)
            told = f"give heads = {fits}" if fits else f"give a hidden that is a multiple of {WIDTHS[0]}"
            raise ValueError(f"hidden {self.hidden} over {self.heads} heads is not one of {WIDTHS} wide; {told}")
        return self
