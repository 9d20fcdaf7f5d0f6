"""BA-LoRA's consistency regularisation: stay near what the pretrained model knew (arXiv 2408.04556).

The divergence comes from `log_softmax`: the logarithm of a softmax is −inf, and its gradient NaN, once a
class underflows.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def divergence(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T²·KL(softmax(teacher/T) ‖ softmax(student/T)) of each row, (…, D) to (…); at least 0, always finite.

    T = 1 is version A's term for language models, T = 2 version B's for both tasks.
    """
    log_p = functional.log_softmax(teacher / temperature, dim=-1)
    log_q = functional.log_softmax(student / temperature, dim=-1)
    rows: Tensor = (log_p.exp() * (log_p - log_q)).sum(-1)
    return rows * temperature**2


def direction_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error of the rows scaled to length 1, (N, D) to (N,): (2 − 2 cos) / D. Version A, classification."""
    return (functional.normalize(student, dim=-1) - functional.normalize(teacher, dim=-1)).square().mean(-1)
