from __future__ import annotations

import torch

from finetune.objectives.positions import item_count, predicted

NONE = -100


def test_the_positions_that_predict_the_response_are_one_before_its_labels():
    labels = torch.tensor([[NONE, NONE, NONE, 7, 8, 9]])
    assert predicted(labels).tolist() == [[NONE, NONE, 7, 8, 9, NONE]]


def test_nothing_predicts_padding_nor_predicts_from_it():
    labels = torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]])
    mask = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1]])
    assert predicted(labels, mask).tolist() == [[2, 3, NONE, NONE, NONE], [NONE, NONE, 4, 5, NONE]]


def test_no_position_predicts_the_first_token_of_another_document():
    labels = torch.tensor([[1, 2, 3, 4, 5, 6]])
    by_positions = predicted(labels, position_ids=torch.tensor([[0, 1, 2, 0, 1, 0]]))
    by_numbers = predicted(labels, attention_mask=torch.tensor([[1, 1, 1, 2, 2, 3]]))
    of_one_token = predicted(torch.tensor([[1, 2, 3]]), position_ids=torch.tensor([[0, 0, 1]]))
    assert of_one_token.tolist() == [[NONE, 3, NONE]]
    assert by_positions.tolist() == by_numbers.tolist() == [[2, 3, NONE, 5, NONE, NONE]]


def test_position_ids_of_one_row_serve_all_and_other_shapes_are_passed_over():
    labels = torch.tensor([[1, 2, 3], [4, 5, 6]])
    assert predicted(labels, position_ids=torch.tensor([[0, 1, 0]])).tolist() == [[2, NONE, NONE], [5, NONE, NONE]]
    plain = predicted(labels)
    assert torch.equal(predicted(labels, attention_mask=torch.zeros(2, 1, 3, 3)), plain)
    assert torch.equal(predicted(labels, position_ids=torch.zeros(3, 2, 3)), plain)


def test_means_are_over_what_counts_or_over_what_they_are_told_and_never_over_nothing():
    targets = torch.tensor([[2, NONE, 5]])
    assert item_count(targets, None).item() == 2
    assert item_count(targets, 7).item() == 7
    assert item_count(targets, torch.tensor(7)).item() == 7
    assert item_count(torch.tensor([[NONE]]), None).item() == 1
