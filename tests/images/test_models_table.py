"""The model table and its gate; finding a model by name; what decides its revision."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest

from augment.drawing import found, loaded, memory
from augment.drawing.families import ways
from augment.engines import EngineOptions, open_engine
from augment.errors import EngineError
from augment.images.models import entry_of, gate, table
from tests.images import models
from tests.images.asking import answered, ask, opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save_sd(tmp_path_factory.mktemp("models") / "sd")


def test_the_table_says_of_each_model_what_its_pipelines_can_draw() -> None:
    for each in table():
        assert bool(each.pipeline) == bool(each.kinds)
        if each.pipeline:
            assert set(each.kinds) == set(ways(each.pipeline)), each.name
            takes = ways(each.pipeline)["text"]
            assert (each.steps, each.guidance) == (takes.takes["num_inference_steps"], takes.takes[takes.guidance])


def test_names_are_found_whatever_their_case_and_no_name_by_two_entries() -> None:
    assert entry_of("Tongyi-MAI/Z-Image").licence == "Apache-2.0"
    assert entry_of("Tongyi-MAI/Z-Image-Turbo") is None, "distilled: it is another model"
    assert entry_of("somebody/Z-Image") is None
    for one, other in itertools.combinations(table(), 2):
        assert entry_of(one.name.replace("*", "x")) == one and one.name != other.name


def test_only_what_may_train_others_passes_unasked() -> None:
    for name in ("Tongyi-MAI/Z-Image", "Qwen/Qwen-Image", "black-forest-labs/FLUX.2-klein-base-4B"):
        gate(name, accepted=False)
    for name, line in {
        "stabilityai/stable-diffusion-xl-base-1.0": "is under CreativeML Open RAIL++-M; .* is unclear",
        "Efficient-Large-Model/Sana_1600M": "is under terms that we have not read; .* is unclear",
        "somebody/anything": "is not in the model table: its licence is unknown",
        "/some/folder": "is not in the model table: its licence is unknown",
    }.items():
        with pytest.raises(
            EngineError, match=f"{name} {line}.*read its terms, then give --accept-licence".replace("+", r"\+")
        ):
            gate(name, accepted=False)
        gate(name, accepted=True)


def test_an_engine_is_gated_before_anything_else_and_so_is_what_is_added(folder: Path) -> None:
    for spec in (str(folder), f"{folder}+{folder}", "Tongyi-MAI/Z-Image+/no/such"):
        with pytest.raises(EngineError, match="--accept-licence"):
            open_engine(f"diffusers:{spec}", EngineOptions(), "--engine")
    assert opened(str(folder)).model == "sd"


@pytest.mark.parametrize("spec", ["/no/such", "name", "nope/", "a/b/c"])
def test_a_folder_that_is_not_there_is_no_matter_of_licences(place: Path, spec: str) -> None:
    with pytest.raises(EngineError, match=f"no model folder {spec};"):
        open_engine(f"diffusers:{spec}", EngineOptions(), "--engine")


def test_a_folder_that_is_called_like_a_cleared_model_is_gated(place: Path, folder: Path) -> None:
    (place / "Tongyi-MAI").mkdir()
    shutil.copytree(folder, place / "Tongyi-MAI/Z-Image")
    with pytest.raises(EngineError, match="is not in the model table.*--accept-licence"):
        open_engine("diffusers:Tongyi-MAI/Z-Image", EngineOptions(), "--engine")


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("", "diffusers names no model"),
        ("/no/such/folder", "no model folder /no/such/folder; give a folder with a model_index.json, or owner/name"),
        ("name", "no model folder name;"),
        ("{empty}", "holds no model_index.json; give a folder that diffusers wrote"),
        ("{broken}", "model_index.json cannot be read: "),
        ("{foreign}", "brings code of its own, which is not run"),
        ("{unknown}", "has no DreamPipeline; pip install -U diffusers"),
        ("{sd}+{sd}", "holds no config.json"),
        ("{sd}+{sd}/unet", "is no ControlNet, nor a file of an IP-Adapter"),
        ("{sd}+/no/such.safetensors", "no file /no/such.safetensors"),
        ("{bare}", "cannot load .*bare: "),
    ],
)
def test_what_cannot_be_opened_is_one_line(folder: Path, tmp_path: Path, place: Path, spec: str, line: str) -> None:
    named = {"sd": folder}
    for name, text in {
        "empty": None,
        "broken": "{",
        "foreign": '{"_class_name": ["pipeline", "Mine"]}',
        "unknown": '{"_class_name": "DreamPipeline"}',
        "bare": (folder / "model_index.json").read_text(),
    }.items():
        (tmp_path / name).mkdir()
        named[name] = tmp_path / name
        if text is not None:
            (tmp_path / name / "model_index.json").write_text(text)
    with pytest.raises(EngineError, match=line) as told:
        list(opened(spec.format(**named)).generate([ask("text", 1)]))
    assert "\n" not in str(told.value)


def test_weights_that_are_no_safetensors_are_not_read(folder: Path, tmp_path: Path, place: Path) -> None:
    """A pickle runs code when it is read."""
    import torch
    from safetensors.torch import load_file

    other = shutil.copytree(folder, tmp_path / "pickled")
    weights = other / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(EngineError, match="only safetensors are read"):
        list(opened(str(other)).generate([ask("text", 1)]))


def test_the_revision_is_that_of_every_byte_and_of_the_type_of_numbers(folder: Path, tmp_path: Path) -> None:
    first = opened(str(folder)).revision
    assert len(first) == 16 and opened(str(folder)).revision == first
    assert opened(str(folder), dtype="float16").revision != first
    assert opened(str(folder), batch=2, concurrency=3).revision == first
    copied = shutil.copytree(folder, tmp_path / "copied")
    assert opened(str(copied)).revision == first, "the same model elsewhere is the same model"
    control = models.save_controlnet(tmp_path / "control")
    assert opened(f"{folder}+{control}").revision != first
    assert opened(f"{folder}+{control}").model == "sd+control"
    weights = copied / "vae" / "diffusion_pytorch_model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[len(raw) // 2] ^= 1
    weights.write_bytes(raw)
    assert opened(str(copied)).revision != first
    (folder / "README.md").write_text("not part of the model")
    assert opened(str(folder)).revision == first


def test_of_large_weights_the_ends_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found, "WHOLE", 1000)
    monkeypatch.setattr(found, "ENDS", 100)
    path = tmp_path / "model.safetensors"
    raw = bytearray(b"x" * 3000)

    def identity(changed: int) -> str:
        path.write_bytes(bytes([*raw[:changed], 0, *raw[changed + 1 :]]))
        return found.identity_of(tmp_path)

    assert identity(1500) == identity(1501)
    assert len({identity(place) for place in (1500, 0, 99, 2950)}) == 4
    path.write_bytes(raw + b"x")
    assert found.identity_of(tmp_path) != identity(1500)


def test_weights_go_where_there_is_room() -> None:
    gib = 2**30
    assert memory.place_for(7 * gib, 5 * gib, 80 * gib) == "whole"
    assert memory.place_for(7 * gib, 5 * gib, 8 * gib) == "models"
    assert memory.place_for(40 * gib, 30 * gib, 24 * gib) == "layers"
    sizes = [memory.batch_for(free * gib, 1024, 1024) for free in (0, 3, 7, 25, 70, 500)]
    assert sizes == [1, 1, 2, 8, 16, 16]
    assert memory.batch_for(7 * gib, 512, 512) == 8


def test_large_pictures_are_decoded_tile_by_tile_and_no_others(
    folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert loaded.TILED == 1024 * 1024
    monkeypatch.setattr(loaded, "TILED", 64 * 64)
    engine = opened(str(folder), batch=1)
    for width, tiled in ((64, False), (80, True), (64, False)):
        answered(engine, [ask("text", 1, width=width, height=64)])
        vae = engine._load().base.vae
        assert (vae.use_tiling, vae.use_slicing) == (tiled, True)
