from __future__ import annotations

import math

import pytest
import torch

from finetune.objectives.diversity import largest, negative_entropy, off_diagonal
from tests.finetune.models import normal


def test_the_entropy_term_falls_as_outputs_flatten():
    sharp, flat = torch.tensor([[9.0, 0.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    for top in (None, 3):
        assert negative_entropy(flat, top).item() < negative_entropy(sharp, top).item() <= 0


@pytest.mark.parametrize(("top", "size"), [(None, 50), (20, 20), (80, 50)])
def test_the_entropy_lies_between_nothing_and_that_of_a_flat_softmax(top, size):
    assert negative_entropy(torch.zeros(2, 50), top).tolist() == pytest.approx([-math.log(size)] * 2)
    for scale in (0.1, 1, 100, 1e4):
        rows = negative_entropy(normal(40, 50) * scale, top)
        assert ((rows >= -math.log(size)) & (rows <= 1e-12)).all()


def test_only_the_largest_logits_count():
    logits = normal(4, 50)
    alone = logits.topk(20, dim=-1).values
    torch.testing.assert_close(negative_entropy(logits, 20), negative_entropy(alone))


@pytest.mark.parametrize("width", [63, 64 * 16, 64 * 16 + 37, 5000])
def test_the_blockwise_search_finds_what_topk_finds(width):
    logits = normal(6, width, dtype=torch.float32)
    values, places = largest(logits, 4)
    wanted = logits.topk(4, dim=-1)
    assert torch.equal(values, wanted.values)
    assert torch.equal(places, wanted.indices)


def test_the_blockwise_search_finds_neighbours_and_the_last_column():
    logits = torch.zeros(1, 64 * 40 + 3)
    logits[0, [100, 101, 102, -1]] = torch.tensor([4.0, 3.0, 2.0, 1.0])
    assert largest(logits, 4)[0].tolist() == [[4.0, 3.0, 2.0, 1.0]]
    assert largest(logits.double().requires_grad_(), 4)[0].requires_grad


def test_covariance_of_two_columns_in_closed_form():
    # columns x and y, covariance c off the diagonal twice: 2 c² / 2
    x, y = [1.0, 2.0, 4.0], [3.0, -1.0, 0.0]
    mean = lambda values: sum(values) / 3  # noqa: E731
    c = sum((a - mean(x)) * (b - mean(y)) for a, b in zip(x, y, strict=True)) / 2
    assert off_diagonal(torch.tensor([x, y]).T).item() == pytest.approx(c**2)


def test_adding_a_constant_to_a_column_changes_nothing():
    logits = normal(8, 5)
    moved = logits + torch.tensor([0.0, 100.0, 0.0, -3.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(off_diagonal(moved), off_diagonal(logits))


@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (0, 4)])
def test_one_row_or_one_column_gives_zero_and_a_zero_gradient(shape):
    logits = normal(*shape).requires_grad_()
    found = off_diagonal(logits)
    found.backward()
    assert found.item() == 0
    assert logits.grad.abs().sum() == 0


def test_independent_columns_are_better_than_equal_ones():
    column = normal(200, 1)
    assert off_diagonal(normal(200, 3)) < off_diagonal(column.expand(-1, 3))
