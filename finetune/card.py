"""The training card: a README.md that says what was trained on what, how it went, and how to use and repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import orjson

_SAID_ABOVE = {
    "name",
    "rank",
    "alpha",
    "dropout",
    "targets",
    "rslora",
    "seed",
    "chunk_mib",
}


def training_card(record: Mapping[str, Any]) -> str:
    """The card's text, from what training.json holds."""
    data, method, recipe = record["data"], record["method"], record["recipe"]
    base = record["base"]
    name = f"{_line(base['name'].rpartition('/')[2])}, {method['adapter']['name']} on {_line(data['name'])}"
    front = {
        "library_name": "peft",
        "base_model": base["name"],
        "tags": ["augment", method["adapter"]["name"], method["objective"]["name"]],
    }
    lines = [
        "---",
        *(f"{key}: {orjson.dumps(value).decode()}" for key, value in front.items()),
        "---",
        f"# {name}",
        "",
        result_of(record),
        "",
        "![Loss over the steps](curves.svg)",
        "",
        "| | |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in _facts(record).items()),
        "",
        "## Rows",
        "",
        f"{data['train']:,} to train on, {data['validation']:,} to validate with, "
        f"{data['aside']:,} variants of validation rows set aside, "
        f"{sum(data['lost'].values()):,} not used{_reasons(data['lost'])}. "
        "No descendant of a validation row was trained on.",
        "",
        *_use(record),
        "Made by",
        "",
        "```sh",
        command_of(recipe),
        "```",
        "",
    ]
    return "\n".join(lines)


def _use(record: Mapping[str, Any]) -> list[str]:
    base, plain = record["base"]["name"], record["exported"]
    serve = f"vllm serve {shlex.quote(base)} --enable-lora --max-lora-rank {plain['rank']} --lora-modules mine=plain"
    return [
        "## Use",
        "",
        "This folder is the adapter as it was trained; `plain/` is the same as plain LoRA, which stock PEFT and vLLM "
        f"read ({_plain(plain)}):",
        "",
        "```sh",
        *([] if record["data"]["labels"] else [serve]),
        "augment adapter merge . --out merged",
        "```",
        "",
    ]


def command_of(recipe: Mapping[str, Any]) -> str:
    """The command line that trains this again."""
    from finetune.recipe import FinetuneRecipe

    defaults = FinetuneRecipe().model_dump(mode="json", by_alias=True)
    words = ["augment", "finetune", "--base", recipe["base"], "--data", recipe["data"]]
    for key, value in recipe.items():
        flag = f"--{key.replace('_', '-')}"
        if key in ("base", "data", "set", "map") or value == defaults[key]:
            continue
        words += [flag] if value is True else [flag, ",".join(value) if isinstance(value, list) else str(value)]
    words += [word for ours, theirs in recipe["map"].items() for word in ("--map", f"{ours}={theirs}")]
    for part, settings in recipe["set"].items():
        words += [word for key, value in settings.items() for word in ("--set", f"{part}.{key}={_toml(value)}")]
    return shlex.join(words)


def _toml(value: Any) -> str:
    """A setting as it is written after --set; but for tables, TOML and JSON agree."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{orjson.dumps(key).decode()} = {_toml(each)}" for key, each in value.items()) + "}"
    return orjson.dumps(value).decode()


def result_of(record: Mapping[str, Any]) -> str:
    """How the training went, in a sentence or two, from what training.json holds."""
    before, after = record["validation"]["before"], record["validation"]["after"]
    steps = record["steps"]
    if before is None:
        return f"Trained {steps['done']:,} steps, without validation."
    said = (
        f"Validation loss {before['eval_loss']:.4f} before, {after['eval_loss']:.4f} after {after['step']:,} steps; "
        f"{'right classes' if record['data']['labels'] else 'tokens guessed right'} "
        f"{before['eval_accuracy']:.1%} before, {after['eval_accuracy']:.1%} after."
    )
    if steps["kept"] != steps["done"]:
        said += f" The best of {steps['done']:,} steps was kept."
    elif steps["done"] < steps["planned"]:
        said += f" Stopped early, of {steps['planned']:,} steps."
    return said


def _facts(record: Mapping[str, Any]) -> dict[str, str]:
    method, recipe, parameters = record["method"], record["recipe"], record["parameters"]
    adapter = method["adapter"]
    alpha = adapter["rank"] if adapter["alpha"] is None else adapter["alpha"]
    targets = adapter["targets"] if isinstance(adapter["targets"], str) else ", ".join(adapter["targets"])
    facts = {
        "base": f"`{record['base']['name']}` at `{record['base']['revision']}`",
        "data": f"`{_line(record['data']['name'])}`, rows `{record['data']['identity'][:16]}`"
        + (f", manifest sha256 `{record['data']['manifest']}`" if record["data"]["manifest"] else ""),
        "adapter": f"{adapter['name']}, rank {adapter['rank']}, alpha {alpha:g}, "
        f"{'rsLoRA, ' if adapter['rslora'] else ''}dropout {adapter['dropout']:g}, on {targets}{_settings(adapter)}",
        "objective": f"{method['objective']['name']}{_settings(method['objective'])}",
    }
    if method["perturbation"]:
        facts["perturbation"] = f"{method['perturbation']['name']}{_settings(method['perturbation'])}"
    return facts | {
        "trainable": f"{parameters['trainable']:,} parameters beside the model's {parameters['model']:,}, "
        f"in {parameters['layers']} layers",
        "learning rate": f"{method['learning_rate']:g}, {recipe['schedule']}, warm-up {recipe['warmup']:.0%}, "
        f"weight decay {recipe['weight_decay']:g}",
        "batch": f"{recipe['batch']} {'packs' if record['packed'] else 'rows'} a step, "
        f"up to {record['length']:,} tokens each",
        "steps": f"{record['steps']['done']:,}; {record['tokens']['epoch']:,} tokens an epoch, "
        f"{record['tokens']['learned']:,} of them learned",
        "precision": record["precision"] + (f", base in {recipe['quantize']}" if recipe["quantize"] else ""),
        "seed": str(recipe["seed"]),
        "took": f"{record['measured']['seconds']:,} s on {_devices(record['processes'])}{_begun(record)}, "
        f"{record['measured']['memory'] / 2**30:.2f} GiB at most",
        "versions": ", ".join(f"{name} {number}" for name, number in record["versions"].items()),
    }


def _devices(count: int) -> str:
    return "one device" if count == 1 else f"{count} devices"


def _begun(record: Mapping[str, Any]) -> str:
    step = record["measured"]["from_step"]
    return f" from step {step:,} on" if step else ""


def _settings(part: Mapping[str, Any]) -> str:
    """A method's own hyper-parameters, where it has some."""
    own = {key: value for key, value in part.items() if key not in _SAID_ABOVE and value not in (None, {})}
    return f" ({', '.join(f'{key} {value}' for key, value in own.items())})" if own else ""


def _reasons(lost: Mapping[str, int]) -> str:
    return f" ({', '.join(f'{count:,} {reason}' for reason, count in lost.items())})" if lost else ""


def _plain(exported: Mapping[str, Any]) -> str:
    lost = f"{exported['error']:.1e} of what was learned is lost" if exported["error"] else "nothing is lost"
    return f"rank {exported['rank']}, {lost}"


def _line(text: str) -> str:
    """Foreign text on one line of Markdown."""
    return " ".join(text.split()).replace("`", "'").replace("|", "/")
