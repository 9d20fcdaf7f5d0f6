from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from augment.errors import FinetuneError, RecipeError
from finetune.objectives import ce
from finetune.objectives.ba_lora import PUBLISHED, BaLora
from finetune.objectives.consistency import direction_error, divergence
from finetune.objectives.diversity import negative_entropy, off_diagonal
from finetune.objectives.original import Original
from finetune.objectives.outputs import Head, Hidden, Logits
from finetune.objectives.readout import Readout
from tests.finetune.models import ADAPTERS, adapted, batch, classifier, moved, normal, peaked

LABELS = torch.tensor([[-100, -100, -100, 7, 8, 9], [-100, 3, 4, 5, -100, -100]])
VALID = torch.tensor([[0, 0, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0]], dtype=torch.bool)
STRONG = {"lambda1": 0.7, "lambda2": 0.5, "lambda3": 0.3, "k": 2, "scheduled": False}
VERSIONS = pytest.mark.parametrize("version", ["A", "B"])
FORMS = pytest.mark.parametrize("form", ["logits", "hidden"])


def never():
    raise AssertionError("the teacher was called")


def outputs(form: str, seed: int, length: int = 6, rows: int = 2) -> Logits | Hidden:
    """What a model with 11 words says; fp64."""
    states = normal(rows, length, 4, seed=seed).requires_grad_()
    if form == "hidden":
        return Hidden(states, Head(normal(11, 4, seed=90)))
    return Logits(normal(rows, length, 11, seed=seed).requires_grad_())


def leaf(said: Logits | Hidden) -> torch.Tensor:
    return said.states if isinstance(said, Hidden) else said.values


def test_the_published_values_are_the_defaults():
    assert BaLora().settings == PUBLISHED["B", "nlg"] == (0.025, 0.005, 0.005, 10, 2.0, 20, True)
    assert BaLora(version="A", task="nlu").settings[:3] == (1e-4, 4e-4, 1e-4)
    assert BaLora(version="A").settings[:3] == (1e-4, 3e-4, 1e-4)
    assert BaLora(task="nlu").settings[:4] == (0.15, 0.03, 0.03, 5)
    assert BaLora(lambda2=0.0, k=4).settings[:4] == (0.025, 0.0, 0.005, 4)


@VERSIONS
@FORMS
def test_the_loss_is_the_sum_of_its_terms_over_the_positions_that_predict(version, form):
    student, teacher = outputs(form, 1), outputs(form, 2)
    loss, terms = BaLora(version=version, **STRONG)(student, LABELS, teacher=lambda: teacher)
    logits = [each.states @ each.head.weight.T if form == "hidden" else each.values for each in (student, teacher)]
    rows, known = (each[VALID] for each in logits)
    targets = LABELS[:, 1:][VALID[:, :-1]]
    values = torch.linalg.svdvals(rows)
    norm = values.sum() if version == "A" else values.square().sum().sqrt()
    wanted = {
        "ce": torch.nn.functional.cross_entropy(rows, targets),
        "cr": divergence(rows, known, 1.0 if version == "A" else 2.0).mean(),
        "dr": negative_entropy(rows, None if version == "A" else 20).mean(),
        "svdr": -values[:2].sum() / norm,
    }
    for name, value in wanted.items():
        torch.testing.assert_close(terms[name], value.detach(), msg=name)
        assert not terms[name].requires_grad
    total = wanted["ce"] + 0.7 * wanted["cr"] + 0.5 * wanted["dr"] + 0.3 * wanted["svdr"]
    torch.testing.assert_close(loss, total)
    (slope,) = torch.autograd.grad(loss, leaf(student), retain_graph=True)
    assert (slope[VALID].abs().sum(-1) > 0).all()
    assert slope[~VALID].abs().sum() == 0


@VERSIONS
@FORMS
def test_its_gradient_is_the_numeric_one(version, form):
    student, teacher = outputs(form, 1), outputs(form, 2)
    point = leaf(student).detach().requires_grad_()
    objective = BaLora(version=version, **STRONG, top=3 if version == "B" else None)

    def loss(each):
        said = Hidden(each, student.head) if form == "hidden" else Logits(each)
        return objective(said, LABELS, teacher=lambda: teacher)[0]

    assert torch.autograd.gradcheck(loss, point)


@VERSIONS
def test_the_heads_terms_and_their_numeric_gradient(version):
    z, known, labels = normal(7, 4).requires_grad_(), normal(7, 4, seed=1), torch.tensor([0, 1, 2, 3, 0, 1, -100])
    objective = BaLora(version=version, task="nlu", **STRONG)
    loss, terms = objective(Logits(z), labels, teacher=lambda: Logits(known))
    rows, before = z[:6], known[:6]
    values = torch.linalg.svdvals(rows)
    cr = direction_error(rows, before) if version == "A" else divergence(rows, before, 2.0)
    wanted = {
        "ce": torch.nn.functional.cross_entropy(rows, labels[:6]),
        "cr": cr.mean(),
        "dr": off_diagonal(rows),
        "svdr": -values[:2].sum() / values.sum(),
    }
    for name, value in wanted.items():
        torch.testing.assert_close(terms[name], value.detach(), msg=name)
    torch.testing.assert_close(loss, sum(w * v for w, v in zip((1, 0.7, 0.5, 0.3), wanted.values(), strict=True)))
    assert torch.autograd.gradcheck(lambda each: objective(Logits(each), labels, teacher=lambda: Logits(known))[0], z)


@VERSIONS
def test_a_regression_head_is_left_to_its_own_loss(version):
    z, labels = normal(6, 1).requires_grad_(), normal(6, seed=3)
    with pytest.warns(UserWarning, match="constant"):
        loss, terms = BaLora(version=version, task="nlu")(
            Logits(z), labels, teacher=lambda: Logits(normal(6, 1, seed=1)), step=1, steps=1
        )
    plain, _ = ce.Ce()(Logits(z), labels)
    torch.testing.assert_close(*(torch.autograd.grad(each, z)[0] for each in (loss, plain)))
    assert terms["dr"] == 0
    assert terms["svdr"] == -1


@VERSIONS
def test_a_batch_of_one_row_is_finite_and_has_no_covariance(version):
    z = normal(1, 8).requires_grad_()
    with pytest.warns(UserWarning, match="constant"):
        loss, terms = BaLora(version=version, task="nlu", **STRONG)(
            Logits(z), torch.tensor([3]), teacher=lambda: Logits(normal(1, 8, seed=1))
        )
    loss.backward()
    assert terms["dr"] == 0
    assert z.grad.isfinite().all()


@FORMS
@VERSIONS
def test_no_position_to_learn_is_a_zero_loss_with_a_zero_gradient(version, form):
    student = outputs(form, 1)
    labels = torch.full((2, 6), -100)
    objective = BaLora(version=version, lambda1=0.7, lambda2=0.5, lambda3=0.3, scheduled=False)
    with pytest.warns(UserWarning, match="constant") if version == "A" else nullcontext():
        loss, _ = objective(student, labels, teacher=lambda: outputs(form, 2), items=10)
    (slope,) = torch.autograd.grad(loss, leaf(student))
    assert loss.item() == 0
    assert slope.abs().sum() == 0


@pytest.mark.parametrize("name", ADAPTERS)
@FORMS
def test_zero_weights_call_no_teacher_and_are_plain_training_to_the_last_bit(name, form):
    model, inputs = moved(adapted(peaked(), name)), batch()
    readout = Readout(model, hidden=form == "hidden")
    slopes = []
    for objective in (BaLora(lambda1=0, lambda2=0, lambda3=0), ce.Ce()):
        model.zero_grad()
        loss, terms = objective(readout(model, inputs), inputs["labels"], teacher=never)
        loss.backward()
        assert terms.keys() == {"ce"}
        slopes.append([loss.detach(), *(each.grad.clone() for each in model.parameters() if each.requires_grad)])
    assert all(map(torch.equal, *slopes))


@pytest.mark.parametrize("name", ADAPTERS)
@FORMS
def test_at_the_start_consistency_is_nothing_and_only_the_adapter_learns(name, form):
    model, inputs = adapted(peaked(), name), batch()
    original, readout = Original(model), Readout(model, hidden=form == "hidden")
    objective = BaLora(lambda1=1.0, lambda2=0, lambda3=0, scheduled=False)
    teacher = lambda: original.run(lambda: readout(model, inputs))  # noqa: E731
    loss, terms = objective(readout(model, inputs), inputs["labels"], teacher=teacher)
    assert terms["cr"] == 0 if form == "logits" else abs(terms["cr"]) < 1e-6
    loss.backward()
    found = {key: each.grad.clone() for key, each in model.named_parameters() if each.grad is not None}
    assert found.keys() == {key for key, each in model.named_parameters() if each.requires_grad}
    assert all(".lora_" in key for key in found)
    model.zero_grad()
    ce.Ce()(readout(model, inputs), inputs["labels"])[0].backward()
    for key, each in model.named_parameters():
        if each.requires_grad:
            torch.testing.assert_close(found[key], each.grad, rtol=1e-4, atol=1e-6)


@FORMS
def test_what_stands_in_the_padding_changes_nothing(form):
    student, teacher = outputs(form, 1), outputs(form, 2)
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    objective = BaLora(**STRONG)
    found = []
    for filling in (0.0, 1e4):
        said = [leaf(each).detach().clone() for each in (student, teacher)]
        for each in said:
            each[1, 4:] = filling
        one, other = (Hidden(each, student.head) if form == "hidden" else Logits(each) for each in said)
        found.append(objective(one, LABELS, teacher=lambda other=other: other, attention_mask=mask)[0])
    assert torch.equal(*found)


@FORMS
def test_packed_documents_are_those_documents_apart(form):
    student, teacher = outputs(form, 1, 12, 1), outputs(form, 2, 12, 1)
    labels = torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2]])  # first tokens are labelled too
    positions = torch.tensor([[*range(5), *range(7)]])
    objective = BaLora(**{**STRONG, "lambda3": 0.0})

    def part(said, where):
        return Hidden(said.states[:, where], said.head) if form == "hidden" else Logits(said.values[:, where])

    packed, _ = objective(student, labels, teacher=lambda: teacher, position_ids=positions)
    apart = sum(
        objective(part(student, where), labels[:, where], teacher=lambda w=where: part(teacher, w), items=10)[0]
        for where in (slice(0, 5), slice(5, 12))
    )
    torch.testing.assert_close(packed, apart)


@VERSIONS
@FORMS
def test_micro_batches_add_up_to_the_batch_but_for_the_spectrum_which_is_averaged(version, form):
    student, teacher = outputs(form, 1, rows=2), outputs(form, 2, rows=2)
    labels = torch.tensor([[1, 2, 3, 4, 5, 6], [-100, 3, 4, 5, 6, -100]])
    objective = BaLora(version=version, **STRONG)

    def part(said, row):
        where = slice(row, row + 1)
        return Hidden(said.states[where], said.head) if form == "hidden" else Logits(said.values[where])

    _, whole = objective(student, labels, teacher=lambda: teacher)
    parts, alone = [], []
    for row in (0, 1):
        given = (part(student, row), labels[row : row + 1])
        teach = lambda row=row: part(teacher, row)  # noqa: E731
        parts.append(objective(*given, teacher=teach, items=9)[1])
        alone.append(objective(*given, teacher=teach)[1])
    for name in ("ce", "cr", "dr"):
        torch.testing.assert_close(parts[0][name] + parts[1][name], whole[name])
    averaged = (5 * alone[0]["svdr"] + 4 * alone[1]["svdr"]) / 9
    torch.testing.assert_close(parts[0]["svdr"] + parts[1]["svdr"], averaged)


@VERSIONS
def test_micro_batches_of_rows_average_their_covariance_and_spectrum_by_size(version):
    z, known, labels = normal(7, 4), normal(7, 4, seed=1), torch.tensor([0, 1, 2, 3, 0, 1, 2])
    objective = BaLora(version=version, task="nlu", **STRONG)

    def terms(where=slice(None), items=None):
        given = (Logits(z[where]), labels[where])
        return objective(*given, teacher=lambda: Logits(known[where]), items=items)[1]

    whole, (first, second) = terms(), (slice(0, 4), slice(4, 7))
    for name in ("ce", "cr"):
        torch.testing.assert_close(terms(first, 7)[name] + terms(second, 7)[name], whole[name])
    for name in ("dr", "svdr"):
        averaged = (4 * terms(first)[name] + 3 * terms(second)[name]) / 7
        torch.testing.assert_close(terms(first, 7)[name] + terms(second, 7)[name], averaged)


def test_the_weights_follow_the_schedules_and_are_logged():
    student, teacher = outputs("hidden", 1), outputs("hidden", 2)
    found = []
    for step in (0, 700, 1562, 3125):
        _, terms = BaLora()(student, LABELS, teacher=lambda: teacher, step=step, steps=3125)
        found.append([terms[f"lambda{i}"].item() for i in (1, 2, 3)])
        assert terms.keys() == {"ce", "cr", "dr", "svdr", "lambda1", "lambda2", "lambda3"}
    assert found[0] == [pytest.approx(0.025), 0, 0]
    assert found[1][1:] == [pytest.approx(0.005 * 75 / 156)] * 2
    assert found[2] == [pytest.approx(0.01376, abs=1e-5), pytest.approx(0.005), pytest.approx(0.005)]
    assert found[3][0] == pytest.approx(0.0025)


@FORMS
def test_before_the_ramp_two_terms_are_logged_and_pull_by_not_one_bit(form):
    student, teacher = outputs(form, 1), outputs(form, 2)
    slopes, logged = [], []
    for changes in ({}, {"lambda2": 0.0, "lambda3": 0.0}, {"scheduled": False}):
        loss, terms = BaLora(**changes)(student, LABELS, teacher=lambda: teacher, step=1, steps=100)
        slopes.append(torch.autograd.grad(loss, leaf(student))[0])
        logged.append(terms)
    assert torch.equal(*slopes[:2])
    for name in ("dr", "svdr"):
        torch.testing.assert_close(logged[0][name], logged[2][name])
        assert name not in logged[1]


def test_a_teacher_asked_every_third_step_counts_three_times():
    student, teacher = outputs("hidden", 1), outputs("hidden", 2)
    objective = BaLora(scheduled=False, every=3)
    _, terms = objective(student, LABELS, teacher=lambda: teacher, step=3)
    assert terms["lambda1"].item() == pytest.approx(3 * 0.025)
    _, terms = objective(student, LABELS, teacher=never, step=4)
    assert "cr" not in terms


def test_the_teacher_runs_once_without_a_graph():
    student, calls = outputs("logits", 1), []

    def teacher():
        calls.append(torch.is_grad_enabled())
        return outputs("logits", 2)

    BaLora(**STRONG)(student, LABELS, teacher=teacher)
    assert calls == [False]


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_classifier_with_an_adapter_and_a_trained_head(name):
    model, inputs = adapted(classifier(6), name), batch(4)
    original, readout = Original(model), Readout(model, hidden=False)
    labels = torch.tensor([0, 5, 2, 3])
    objective = BaLora(task="nlu", **STRONG)
    teacher = lambda: original.run(lambda: readout(model, inputs))  # noqa: E731
    loss, terms = objective(readout(model, inputs), labels, teacher=teacher)
    assert terms["cr"] == 0
    loss.backward()
    assert all((each.grad is not None) == each.requires_grad for each in model.parameters())
    moved(model)
    assert objective(readout(model, inputs), labels, teacher=teacher)[1]["cr"] > 1e-3


def test_autocast_around_it_changes_nothing_but_what_it_is_given():
    student, teacher = (Logits(outputs("logits", seed).values.detach().float()) for seed in (1, 2))
    plain, _ = BaLora(**STRONG)(student, LABELS, teacher=lambda: teacher)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(BaLora(**STRONG)(student, LABELS, teacher=lambda: teacher)[0], plain)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": "C"}, "version 'C'"),
        ({"lambda1": -1.0}, "lambda1 is -1.0"),
        ({"k": 0}, "k is 0"),
        ({"every": 0}, "every is 0"),
        ({"temperature": 0.0}, "temperature is 0.0"),
    ],
)
def test_values_that_make_no_sense_are_refused(changes, reason):
    with pytest.raises(RecipeError, match=reason):
        BaLora(**changes)


def test_outputs_that_do_not_fit_are_refused():
    tokens, head = outputs("logits", 1), Logits(normal(4, 3))
    with pytest.raises(FinetuneError, match="give a teacher"):
        BaLora()(tokens, LABELS)
    with pytest.raises(FinetuneError, match="Hidden.*Logits"):
        BaLora()(tokens, LABELS, teacher=lambda: outputs("hidden", 2))
    with pytest.raises(FinetuneError, match="task = 'nlu'"):
        BaLora(lambda1=0)(head, torch.tensor([0, 1, 2, 0]))
    with pytest.raises(FinetuneError, match="head's logits"):
        BaLora(lambda1=0, task="nlu")(tokens, LABELS)
