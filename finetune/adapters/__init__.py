"""The adapters: each attaches small trainable factors to a transformers model. One file each, one line in `TABLE`.

Nothing here imports torch. To reload what an adapter saved with PEFT's own `PeftModel.from_pretrained`, import
`finetune.adapters.tuner` first: it teaches PEFT the type that the saved configuration names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from augment.registry import Table

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

TABLE = Table(
    "adapter",
    {
        "inttune": "finetune.adapters.inttune:IntTune",
        "lora": "finetune.adapters.lora:LoRA",
        "nlora": "finetune.adapters.nlora:NLoRA",
        "pissa": "finetune.adapters.pissa:PiSSA",
        "slora": "finetune.adapters.slora:SLoRA",
    },
)


class Adapter(Protocol):
    """A frozen dataclass whose fields are its hyper-parameters, with the paper's defaults.

    `learning_rate` is what a training takes that names none.

    The base weights stay as they are, bit for bit, so that the model with its adapters off is the pretrained
    one. An adapter whose factors start away from zero subtracts that start in the forward pass.
    """

    name: ClassVar[str]
    learning_rate: ClassVar[float]

    def attach(self, model: PreTrainedModel) -> PeftModel:
        """The model with the adapter on it, its factors trainable and everything else frozen.

        Raises:
            FinetuneError: nothing to attach to, a layer of a kind it cannot adapt, or a rank over a layer's size.
        """
        ...
