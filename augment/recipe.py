"""What the user wrote, from flags and a TOML file, checked at the edge; flags win."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo

from augment.errors import RecipeError
from augment.registry import closest

Model = TypeVar("Model", bound=BaseModel)
AMOUNT = r"[1-9][0-9]{0,8}x?"


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _named(value: Any) -> Any:
    names = _listed(value)
    if names == []:
        raise ValueError("no filter is named; write none for none, or leave it away")
    return names


def _amount(value: str) -> str:
    if not re.fullmatch(AMOUNT, value):
        raise ValueError(f"'{value}' is no amount; write 5x (per seed) or 800 (in all)")
    return value


def _factor(value: Any) -> Any:
    text = str(value).removesuffix("x")
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"'{value}' is no factor; write 3x") from None


def share(value: Any) -> Any:
    """`20%` as 0.2; everything else as it is."""
    if isinstance(value, str) and value.endswith("%"):
        try:
            return float(value[:-1]) / 100
        except ValueError:
            raise ValueError(f"'{value}' is no share; write 20% or 0.2") from None
    return value


def _times(value: dict[str, str]) -> dict[str, str]:
    for label, times in value.items():
        if not re.fullmatch(r"[1-9][0-9]{0,8}x", times):
            raise ValueError(f"'{times}' for '{label}' is not so many for each seed; write 8x")
    return value


def _budget(value: str | None) -> str | None:
    from augment.budget import Budget

    if value is not None:
        Budget.of(value)
    return value


def _gpus(value: float, info: ValidationInfo) -> float:
    if value > 1 and not value.is_integer():
        raise ValueError(f"'{value:g}' is no number of GPUs; write 1, 2, or a part of one like 0.5")
    if value and info.data.get("workers") is None and info.data.get("ray") is None:
        raise ValueError("no workers to give GPUs to; add --workers 8 or --ray auto")
    return value


def share_of(value: str | None) -> float | None:
    """`--holdout` outside a recipe: 20% or 0.2.

    Raises:
        RecipeError: no share from 0 to under 1.
    """
    return None if value is None else read_recipe({"source": "-", "holdout": value}).holdout


class Recipe(BaseModel):
    """A text augmentation, as written. Every field is a flag of `augment text` and a key of a recipe file."""

    modality: ClassVar[str] = "text"
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    source: str = Field(min_length=1)
    n: Annotated[
        str, BeforeValidator(str), AfterValidator(_amount), Field(json_schema_extra={"pattern": f"^{AMOUNT}$"})
    ] = "5x"  # the pattern is what Prefect checks before a run begins
    generators: Annotated[list[str], BeforeValidator(_listed)] = []
    filters: Annotated[list[str], BeforeValidator(_named), Field(min_length=1)] = ["default"]
    settings: dict[str, dict[str, Any]] = Field(default={}, alias="set")
    path: Path | None = None
    map: dict[str, str] = {}
    holdout: Annotated[float | None, BeforeValidator(share), Field(ge=0, lt=1)] = None
    exam: str | None = None
    limit: Annotated[int | None, Field(ge=1)] = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    validation: Annotated[float, BeforeValidator(share), Field(ge=0, lt=1)] = 0.0
    allocate: Literal["turns", "adaptive"] = "turns"
    balance: Literal["label"] | None = None
    n_by_label: Annotated[dict[str, str], AfterValidator(_times)] = {}
    max_attempts: Annotated[float, BeforeValidator(_factor), Field(ge=1, le=100)] = 3.0
    llm: str | None = None
    base_url: str | None = None
    rpm: Annotated[int | None, Field(ge=1)] = None
    tpm: Annotated[int | None, Field(ge=1)] = None
    concurrency: Annotated[int, Field(ge=1, le=4096)] = 64
    timeout: Annotated[float, Field(gt=0)] = 300.0
    budget: Annotated[str | None, AfterValidator(_budget)] = None
    workers: Annotated[int | None, Field(ge=1, le=4096)] = None
    ray: Annotated[str | None, Field(min_length=1)] = None
    gpus_per_worker: Annotated[float, Field(ge=0, le=64), AfterValidator(_gpus)] = 0.0
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    without_seeds: bool = False
    out: Path | None = None
    overwrite: bool = False
    name: str | None = None
    incremental: bool = False

    def usual(self) -> list[str]:
        """The generators when none is named: `paraphrase` with an LLM, else `rules`."""
        return ["paraphrase"] if self.llm else ["rules"]

    def weights(self) -> dict[str, int]:
        """Generator names and weights: `paraphrase,persona:2` is {"paraphrase": 1, "persona": 2}.

        Raises:
            RecipeError: a weight that is not a whole number from 1 to 100.
        """
        found = {}
        for each in self.generators or self.usual():
            name, _, weight = each.partition(":")
            if weight and not re.fullmatch(r"[1-9][0-9]?|100", weight):
                raise RecipeError(f"generator weight '{each}' is not NAME:1 to NAME:100")
            if name in found:
                raise RecipeError(f"generator '{name}' is named twice; give it one weight")
            found[name] = int(weight or 1)
        return found

    def decisive(self) -> dict[str, Any]:
        """The keys that decide what comes out: not where it is written, nor how fast."""
        places = {"out", "overwrite", "name", "base_url", "engine_url", "path", "incremental", "accept_licence"}
        speed = {"concurrency", "rpm", "tpm", "budget", "timeout", "workers", "ray", "gpus_per_worker"}
        usual = {"allocate"} if self.allocate == "turns" else set()
        later = {"balance", "validation", "n_by_label"}  # unset, a recipe of an earlier version is the same
        unset = {key for key in later if not getattr(self, key)}
        return self.model_dump(mode="json", exclude=places | speed | usual | unset)


def _size(value: int) -> int:
    if value % 16:
        raise ValueError(f"'{value}' is no multiple of 16, as models draw; write {max(16, round(value / 16) * 16)}")
    return value


class ImageRecipe(Recipe):
    """An augmentation of images, as written. Every field is a flag of `augment image` and a key of a recipe file.

    `engine` draws (diffusers:MODEL, openai-images:MODEL), `llm` writes scenes, domains and instructions. `size` is the
    longer side of what is drawn, in pixels.
    """

    modality: ClassVar[str] = "image"

    n: Annotated[
        str, BeforeValidator(str), AfterValidator(_amount), Field(json_schema_extra={"pattern": f"^{AMOUNT}$"})
    ] = "3x"
    engine: str | None = None
    engine_url: str | None = None
    size: Annotated[int, Field(ge=16, le=4096), AfterValidator(_size)] = 512
    steps: Annotated[int | None, Field(ge=1, le=1000)] = None
    guidance: Annotated[float | None, Field(ge=0, le=100)] = None
    batch: Annotated[int | None, Field(ge=1, le=1024)] = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    subjects: Annotated[list[Path], BeforeValidator(_listed)] = []
    accept_licence: bool = False

    def usual(self) -> list[str]:
        """The generators when none is named: `img2img` with an engine, else `classical`."""
        return ["img2img"] if self.engine else ["classical"]


class PairedRecipe(ImageRecipe):
    """An augmentation of image–text pairs, as written: as `ImageRecipe`, for `augment paired`."""

    modality: ClassVar[str] = "paired"

    def usual(self) -> list[str]:
        """The generators when none is named: what engine and LLM there are can do, else `mixgen`."""
        if self.engine and self.llm:
            return ["attribute_swap"]
        return ["recaption"] if self.llm else ["mixgen"]


RECIPES: dict[str, type[Recipe]] = {each.modality: each for each in (Recipe, ImageRecipe, PairedRecipe)}
"""What each verb reads."""


class Schedule(BaseModel):
    """When a recipe runs by itself: the `[schedule]` of a recipe file.

    `cron` has five fields, in the zone `timezone`; `watch` is a folder, or a prefix that fsspec knows, whose new files
    start a run, looked at every `watch_every` seconds. A failed run is tried again `retries` times, `retry_delay`
    seconds apart.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cron: str | None = None
    timezone: str = "UTC"
    watch: str | None = None
    watch_every: Annotated[float, Field(gt=0)] = 10.0
    retries: Annotated[int, Field(ge=0, le=100)] = 2
    retry_delay: Annotated[float, Field(ge=0)] = 60.0


def read_recipe(flags: Mapping[str, Any], file: Path | None = None, modality: str | None = None) -> Recipe:
    """The recipe of `flags` (unset ones are None) over those of `file`, for text, images or pairs.

    A file says which by its key `verb` or `modality`; `modality` is what the caller wants, and without any it is text.

    Raises:
        RecipeError: the file is missing or broken or for another verb, or a key or value is wrong; the key is named.
    """
    written = _toml(file) if file else {}
    told = _told(written, file) or modality or "text"
    if told not in RECIPES and "verb" not in written:
        raise RecipeError(f"recipe {file}: modality '{told}' is none; write text, image or paired")
    wanted = modality or (told if told in RECIPES else "text")
    _check(told, wanted, file)
    if not flags.get("source") and not written.get("source"):
        sample = "sample" if told == "text" else "sample-images"
        raise RecipeError(f"no source given; try --source {sample}, or a file, or owner/name from the hub")
    return read_keys(RECIPES[wanted], flags, file, "recipe", wanted)


def read_keys(
    model: type[Model], flags: Mapping[str, Any], file: Path | None, what: str, verb: str | None = None
) -> Model:
    """A `model` of `flags` (unset ones are None) over the keys of a TOML `file`, which is for `augment VERB`.

    Raises:
        RecipeError: the file is missing or broken or for another verb, or a key or value is wrong; the key is named.
    """
    written: dict[str, Any] = {}
    if file is not None:
        written = _toml(file)
        _check(_told(written, file), verb, file)
        for key in ("verb", "modality"):
            written.pop(key, None)
        if isinstance(written.get("schedule"), dict):  # when it runs decides nothing about what it makes
            del written["schedule"]
        elif "schedule" in written and "schedule" not in model.model_fields:
            raise RecipeError(f'recipe {file}: schedule is no table; write [schedule] and under it cron = "0 2 * * *"')
        written.setdefault("name", file.stem)
    return _validated(model, {**written, **{key: value for key, value in flags.items() if value is not None}}, what)


def verb_of(file: Path) -> str:
    """What the recipe in `file` is for: its `verb`, else its `modality`, else text.

    Raises:
        RecipeError: the file is missing or broken, or names two verbs, or none and no source of texts either.
    """
    written = _toml(file)
    told = _told(written, file)
    if told is None and "source" not in written:
        raise RecipeError(f'recipe {file} does not say what it is for; write verb = "text", or finetune, or another')
    return told or "text"


def _told(written: Mapping[str, Any], file: Path | None) -> str | None:
    """The verb that a recipe file names, if it names one."""
    told = [written[key] for key in ("verb", "modality") if key in written]
    if any(not isinstance(each, str) or each != told[0] for each in told):
        named = " and ".join(map(repr, told))
        raise RecipeError(f"recipe {file}: {named} as verb or modality is not one verb; write one, such as text")
    return told[0] if told else None


def _check(told: str | None, verb: str | None, file: Path | None) -> None:
    if None not in (told, verb) and told != verb:
        raise RecipeError(f"recipe {file} is for augment {told}, not augment {verb}; run that")


def read_schedule(flags: Mapping[str, Any], file: Path) -> Schedule:
    """When and how the recipe in `file` runs by itself: `flags` (unset ones are None) over its `[schedule]`.

    Raises:
        RecipeError: there is no time nor place to run at, or a key or value is wrong.
    """
    written = _toml(file).get("schedule")
    table = written if isinstance(written, dict) else {}  # in a recipe of training a word is the learning rate's
    merged = {**table, **{key: value for key, value in flags.items() if value is not None}}
    found = _validated(Schedule, merged, "schedule")
    if found.cron is None and found.watch is None:
        raise RecipeError(f'recipe {file} does not say when to run; add --cron "0 2 * * *", or a [schedule] to it')
    return found


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError:
        raise RecipeError(f"no recipe file {file}; check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"recipe {file} is not valid TOML: {error}") from None


def _validated(model: type[Model], values: Mapping[str, Any], what: str) -> Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise RecipeError(_explained(error, model, what)) from None


def _explained(error: ValidationError, model: type[BaseModel], what: str) -> str:
    """The first fault as one line: the key, the value, what is wanted."""
    fault = error.errors()[0]
    first, *inner = (str(part) for part in fault["loc"])
    key = ".".join([first.replace("_", "-") if not inner else first, *inner])
    if fault["type"] == "extra_forbidden":
        known = sorted(field.alias or name for name, field in model.model_fields.items())
        return f"no {what} key '{first}'; {closest(first, known)}"
    message = fault["msg"].removeprefix("Value error, ")
    value = "" if f"'{fault['input']}'" in message else f" (got {fault['input']!r})"
    return f"{key}: {message[:1].lower()}{message[1:]}{value}"
