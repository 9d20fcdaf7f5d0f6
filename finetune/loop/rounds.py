"""The stages of a loop in their order: what is made of what, and what can go on without what failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from augment.errors import AugmentError, EngineError, Interrupted
from augment.export import export
from augment.images.exports.write import Exported
from augment.pipeline import Stage
from finetune.evaluation.evaluate import Evaluated
from finetune.loop.compared import label_scores, main_metric, means_of, models_of, over
from finetune.loop.control import write_control
from finetune.loop.halt import Halt
from finetune.loop.planned import PICTURED, Amount, Planned
from finetune.loop.recipe import CONTROL
from finetune.loop.show import Shown
from finetune.loop.stages import Made, augmented, evaluated, freed, trained
from finetune.loop.steer import steered
from finetune.pretrain import Pretrained, pretrain
from finetune.train import Trained

VALIDATION = "validation.jsonl"
T = TypeVar("T")


@dataclass
class Rounds:
    """The stages of a loop, each a method. `failed` names those that could not be done, and why.

    `away` tells that one of them was a server's fault, which may be over when it is tried again.
    """

    planned: Planned
    stage: Stage
    shown: Shown
    halt: Halt
    failed: list[tuple[str, str]] = field(default_factory=list)
    away: bool = False

    def attempt(self, name: str, work: Callable[[], T], told: Callable[[T], tuple[str, bool]]) -> T | None:
        """What a stage came to; None where it cannot be done, which leaves what does not hang on it to be done."""
        self.halt.check()
        freed()
        self.shown.begin(name)
        try:
            done = work()
        except Interrupted:
            raise
        except AugmentError as error:
            self.failed.append((name, str(error)))
            self.away = self.away or isinstance(error, EngineError)
            self.shown.failed(name, str(error))
            return None
        self.shown.end(name, *told(done))
        return done

    def staged(self, name: str, work: Callable[[], T], told: Callable[[T], tuple[str, bool]]) -> T | None:
        """As `attempt`, in one stretch that is a task where stages are tasks."""
        return self.attempt(name, lambda: self.stage(name, work), told)

    def base(self) -> bool:
        """Make the base, where the recipe says how; whether there is one."""
        planned = self.planned
        recipe = planned.recipe.pretraining()
        if recipe is None:
            return True

        def work() -> Pretrained:
            out, tell, stop = planned.out / "base", self.shown.say, self.halt.event
            return pretrain(recipe, planned.seeds, planned.validation, out, tell=tell, stop=stop)

        return self.staged("pretrain", work, _of_pretraining) is not None

    def pictures(self) -> dict[str, Any]:
        """Make the images and pairs that the recipe asks for, and write them for their trainers."""
        found = {each: self.pictured(each) for each in PICTURED if getattr(self.planned.recipe, each) is not None}
        return {name: told for name, told in found.items() if told is not None}

    def pictured(self, modality: str) -> dict[str, Any] | None:
        """One run of pictures, and what its trainers read."""
        out = self.planned.out
        recipe, format = self.planned.recipe.pictures(out / modality, modality)
        name = f"augment {modality}"
        work = partial(augmented, recipe, name, self.stage, self.shown, self.halt)
        made = self.attempt(name, work, _of_run)
        if made is None:
            return None
        told = {"path": modality, "fingerprint": made.fingerprint, "kept": made.counts["kept"]}
        if format:
            folder = out / f"{modality}-{format}"
            done = self.staged(f"export {modality}", partial(export, made.path, format, folder), _of_export)
            told["export"] = folder.name if done is not None else None
        return told

    def every(self) -> Iterator[dict[str, Any]]:
        """Each round's record, as long as there is something to steer the next one by."""
        amount = self.planned.amount
        for number in range(1, self.planned.recipe.rounds + 1):
            told = self.round(number, amount)
            if told is None:
                return
            yield told
            if number == self.planned.recipe.rounds or not told["steered"]:
                return
            assert amount is not None
            amount = amount.and_more({each["label"]: each["more"] for each in told["labels"]})

    def round(self, number: int, amount: Amount | None) -> dict[str, Any] | None:
        """Make, train, ask; None where no variant could be made."""
        planned, folder = self.planned, self.planned.round(number)
        name = f"round {number}"
        text = planned.text(number, amount)
        made = self.attempt(
            f"{name}: augment", lambda: augmented(text, f"{name}: augment", self.stage, self.shown, self.halt), _of_run
        )
        if made is None:
            return None
        control = folder / "control.jsonl"
        rows = self.staged(
            f"{name}: control",
            lambda: write_control(made.path, text.path, control),
            lambda done: (f"the seeds repeated, {done:,} rows", False),
        )
        adapters = [
            told
            for which in range(len(planned.names))
            for told in self.adapter(number, which, control if rows else None)
        ]
        twin = self.twin(number, [each for each in adapters if not each["control"]])
        labels = self.labels(twin)
        return {
            "round": number,
            "amount": {"n": amount.n, "labels": dict(amount.labels)} if amount else {"total": planned.first.total},
            "run": {
                "path": str(made.path.relative_to(planned.out)),
                "fingerprint": made.fingerprint,
                **{key: made.counts[key] for key in ("seeds", "target", "candidates", "kept", "failed")},
                "short": len(made.counts["seeds_short"]),
            },
            "control": rows,
            "adapters": adapters,
            "validation": twin and means_of(twin.path, main_metric(twin.record)),
            "labels": labels,
            "steered": bool(labels),
            "exam": self.exam(number, made.path, adapters),
        }

    def adapter(self, number: int, which: int, control: Path | None) -> Iterator[dict[str, Any]]:
        """One adapter that learns the run, and one like it that learns the control in as many steps."""
        planned, folder = self.planned, self.planned.round(number)
        name = planned.names[which]

        def learn(data: Path, called: str, steps: int | None) -> Trained | None:
            recipe = planned.recipe.training(which, data, folder / "adapters" / called, steps)
            return self.staged(
                f"round {number}: train {called}", lambda: trained(recipe, self.shown, self.halt), _of_training
            )

        done = learn(folder / "text", name, None)
        if done is None:
            return
        steps = int(done.record["steps"]["planned"])
        yield _told(done, name, control=False)
        if control is not None and (repeated := learn(control, f"{name}{CONTROL}", steps)) is not None:
            yield _told(repeated, f"{name}{CONTROL}", control=True)

    def twin(self, number: int, adapters: list[dict[str, Any]]) -> Evaluated | None:
        """The adapters' answers to the validation rows, where there are several rounds."""
        planned, folder = self.planned, self.planned.round(number)
        if planned.recipe.rounds < 2 or not adapters:
            return None
        asked = [folder / "adapters" / each["name"] for each in adapters]
        recipe = planned.recipe.evaluation(planned.out / VALIDATION, asked, folder / "validation")
        return self.staged(
            f"round {number}: validate", lambda: evaluated(recipe, self.shown, self.halt), _of_evaluation
        )

    def labels(self, twin: Evaluated | None) -> list[dict[str, Any]]:
        """How well each label's validation rows were answered, and how many more variants a seed of it gets next."""
        if twin is None or self.planned.amount is None:
            return []
        found = label_scores(twin.path, main_metric(twin.record), self.planned.names, self.planned.seeds)
        if not found:
            return [
                {
                    "label": None,
                    "rows": 0,
                    "score": None,
                    "seeds": len(self.planned.seeds),
                    "more": self.planned.amount.n,
                }
            ]
        more = steered(found, self.planned.amount.n)
        return [
            {
                "label": each.name,
                "rows": each.rows,
                "score": each.score,
                "seeds": each.seeds,
                "more": more.get(each.name, 0),
            }
            for each in found
        ]

    def exam(self, number: int, run: Path, adapters: list[dict[str, Any]]) -> dict[str, Any] | None:
        """Base, adapters and controls before the exam."""
        planned, folder = self.planned, self.planned.round(number)
        if not adapters:
            return None
        asked = [folder / "adapters" / each["name"] for each in adapters]
        place = None if planned.recipe.evaluate.get("exam") or planned.recipe.evaluate.get("card") else run
        recipe = planned.recipe.evaluation(None, asked, folder / "exam")
        if place is not None:  # a run does not keep where its source's files are
            recipe = recipe.model_copy(update={"exam": str(place), "path": planned.first.recipe.path})
        done = self.staged(f"round {number}: exam", lambda: evaluated(recipe, self.shown, self.halt), _of_evaluation)
        if done is None:
            return None
        metric = main_metric(done.record)
        base = models_of(done.record)[0]
        return {
            "path": str(done.path.relative_to(planned.out)),
            "name": done.record["exam"]["name"],
            "rows": done.record["exam"]["rows"],
            "fingerprint": done.record["exam"]["fingerprint"],
            "base": base,
            "metric": metric,
            "means": means_of(done.path, metric),
            "over_base": [over(done.path, each["name"], base, metric) for each in adapters],
            "over_control": [
                over(done.path, each["name"], f"{each['name']}{CONTROL}", metric)
                for each in adapters
                if not each["control"] and any(other["name"] == f"{each['name']}{CONTROL}" for other in adapters)
            ],
        }


def _of_pretraining(done: Pretrained) -> tuple[str, bool]:
    record, nats = done.record, done.record["held"]["nats_per_token"]
    told = f"{record['parameters']:,} parameters, {record['steps']:,} steps, {nats['after']:.2f} nats a held-out token"
    return f"{told} ({nats['unigram']:.2f} by its frequency)", done.already


def _of_run(made: Made) -> tuple[str, bool]:
    counts = made.counts
    rejected = counts["candidates"] - counts["kept"] - counts["failed"]
    return f"{counts['kept']:,} of {counts['target']:,} variants kept, {rejected:,} rejected", made.already


def _of_export(done: Exported) -> tuple[str, bool]:
    return f"{done.rows:,} rows to {done.path}", False


def _of_training(done: Trained) -> tuple[str, bool]:
    loss = next((each["loss"] for each in reversed(done.record["history"]) if "loss" in each), float("nan"))
    return f"{done.record['steps']['done']:,} steps, loss {loss:.3f}", done.already


def _of_evaluation(done: Evaluated) -> tuple[str, bool]:
    metric = main_metric(done.record)
    means = {name: each["mean"] for name, each in means_of(done.path, metric).items()}
    told = ", ".join(f"{name} {'-' if mean is None else f'{mean:.3f}'}" for name, mean in means.items())
    return f"{done.record['exam']['rows']:,} questions, {metric}: {told}", done.already


def _told(done: Trained, name: str, *, control: bool) -> dict[str, Any]:
    record = done.record
    method = record["method"]
    return {
        "name": name,
        "control": control,
        "adapter": method["adapter"]["name"],
        "objective": method["objective"]["name"],
        "perturbation": method["perturbation"] and method["perturbation"]["name"],
        "rank": method["adapter"].get("rank"),
        "learning_rate": method["learning_rate"],
        "trainable": record["parameters"]["trainable"],
        "rows": record["data"]["train"],
        "steps": record["steps"]["done"],
    }
