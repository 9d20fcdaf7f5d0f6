"""A small causal language model made from a domain's rows alone, as a base for adapters where none can be fetched.

It learns the language of the rows and to reword a question when `paraphrase` asks; not to answer in a chat.
"""

from finetune.pretrain.recipe import PretrainRecipe
from finetune.pretrain.run import Pretrained, pretrain

__all__ = ["PretrainRecipe", "Pretrained", "pretrain"]
