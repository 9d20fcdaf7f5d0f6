"""`augment finetune` from end to end, on a tiny base and rows of the sample."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from augment.lock import Lock
from augment.manifest import digest_of
from finetune.prepare import prepare
from finetune.recipe import read_finetune_recipe
from finetune.train import train
from tests.finetune.bases import ROOT, save_base

SMALL = {"rank": 4, "max_steps": 4, "epochs": 50, "batch": 4, "length": 250, "learning_rate": 1e-2}
ADAPTER = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of `augment text`, made by the command in a process of its own."""
    place = tmp_path_factory.mktemp("runs")
    words = ["text", "--source", "sample", "--n", "2x", "--limit", "60", "--out", "run", "--no-prefect"]
    subprocess.run([sys.executable, "-m", "augment", *words], cwd=place, check=True, capture_output=True, env=ours())
    return place / "run"


def ours(**more):
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def trained(base, run, out, **changes):
    recipe = read_finetune_recipe({**SMALL, "base": str(base), "data": str(run), "out": out, **changes})
    return train(prepare(recipe)).record


def words_of(flags):
    found = []
    for key, value in flags.items():
        found += [f"--{key.replace('_', '-')}"] + ([] if value is True else [str(value)])
    return found


def weights(folder):
    return load_file(Path(folder) / ADAPTER)


def assert_same(one, other, atol=0.0):
    one, other = weights(one), weights(other)
    assert one.keys() == other.keys()
    for name, each in one.items():
        torch.testing.assert_close(each, other[name], rtol=0, atol=atol, msg=name)


def losses(record, name="loss"):
    return [each[name] for each in record["history"] if name in each]


def test_one_command_makes_an_adapter_its_export_and_its_card(augment, place, base, run):
    flags = {**SMALL, "base": base, "data": run, "adapter": "nlora", "max_steps": 12, "out": "mine"}
    ran = augment("finetune", *words_of(flags))
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[-1] == "mine"
    for said in ("trainable parameters in 14 layers", "rows to train on", "12 steps of 4 rows", "memory: about"):
        assert said in ran.err
    record = json.loads((place / "mine/training.json").read_text())
    assert record["validation"]["after"]["eval_loss"] < record["validation"]["before"]["eval_loss"]
    manifest = json.loads((place / "mine/manifest.json").read_text())
    assert {"adapter_model.safetensors", "plain/adapter_model.safetensors", "README.md", "curves.svg", "training.json",
            "tokenizer.json", "chat_template.jinja"} <= manifest["files"].keys()  # fmt: skip
    assert all(digest_of(place / "mine" / name) == told for name, told in manifest["files"].items())
    assert not (place / "mine/checkpoints").exists()
    card = (place / "mine/README.md").read_text()
    assert record["data"]["manifest"] == digest_of(run / "manifest.json")["sha256"]
    for fact in (record["data"]["manifest"], record["base"]["revision"], "nlora, rank 4", "core nystrom", "![Loss"):
        assert fact in card
    assert (place / "mine/curves.svg").read_text().startswith("<svg")


def test_the_adapter_reloads_in_a_fresh_process_and_the_export_in_stock_peft(tmp_path, base, run):
    out = tmp_path / "mine"
    trained(base, run, out, adapter="pissa", max_steps=6)
    ids = torch.tensor([AutoTokenizer.from_pretrained(out)("头疼怎么办")["input_ids"]])
    code = (
        "import sys, json, torch\n"
        "from transformers import AutoModelForCausalLM\n"
        "from peft import PeftModel\n"
        "{register}\n"
        f"model = AutoModelForCausalLM.from_pretrained({str(base)!r}, dtype=torch.float32)\n"
        "model = PeftModel.from_pretrained(model, {folder!r}).eval()\n"
        f"print(json.dumps(model(torch.tensor({ids.tolist()})).logits[0, -1].tolist()))\n"
    )
    found = {}
    for name, folder, register in (("ours", out, "import finetune.adapters.tuner"), ("stock", out / "plain", "")):
        block = "sys.modules.update({'finetune': None, 'augment': None})" if name == "stock" else register
        text = code.format(folder=str(folder), register=block)
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", text], capture_output=True, text=True, env=ours())
        assert done.returncode == 0, done.stderr
        found[name] = torch.tensor(json.loads(done.stdout))
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)(ids).logits[0, -1]
    torch.testing.assert_close(found["ours"], found["stock"], rtol=1e-4, atol=1e-5)
    assert (found["ours"] - plain).abs().max() > 1e-3


@pytest.mark.parametrize(
    "method",
    [
        {"adapter": "nlora", "dropout": 0.1, "objective": "ba-lora", "perturb": "ggpo"},
        {"adapter": "slora", "perturb": "mgpo", "packing": True},
    ],
    ids=["nlora-ba_lora-ggpo", "slora-mgpo-packed"],
)
def test_killed_it_goes_on_to_the_same_bytes(tmp_path, base, run, method):
    flags = {**SMALL, "base": base, "data": run, "max_steps": 9, "eval_every": 3, "validation": "20%", **method}
    command = [sys.executable, "-m", "augment", "finetune", *words_of(flags)]
    whole = [*command, "--out", str(tmp_path / "whole")]
    subprocess.run(whole, check=True, capture_output=True, env=ours())
    out = tmp_path / "cut"
    killed = subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.DEVNULL, env=ours())
    wait_for(lambda: (out / "checkpoints/checkpoint-3/complete").exists() or killed.poll() is not None)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (out / "manifest.json").exists()
    (out / "checkpoints/checkpoint-99").mkdir()  # as if it had been killed while it saved
    (out / ".saving-half").mkdir()  # and while it published
    (out / ".saving-half" / ADAPTER).write_bytes(b"half")
    done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, env=ours())
    assert done.returncode == 0, done.stderr
    assert "going on at step" in done.stderr
    assert_same(tmp_path / "whole", out)
    assert not list(out.glob(".saving-*"))
    assert not any("saving" in name for name in json.loads((out / "manifest.json").read_text())["files"])
    histories = [json.loads((each / "training.json").read_text())["history"] for each in (tmp_path / "whole", out)]
    assert histories[0] == histories[1]


def wait_for(holds, seconds=120):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_stopped_it_says_how_to_go_on_and_does(tmp_path, base, run):
    out = tmp_path / "mine"
    flags = {**SMALL, "base": base, "data": run, "max_steps": 200, "eval_every": 100, "out": out}
    command = [sys.executable, "-m", "augment", "finetune", *words_of(flags)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ours())
    wait_for(lambda: (out / "checkpoints/training.json").exists())
    time.sleep(3)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=120)
    assert running.returncode == 130, err
    assert "Traceback" not in err
    assert "to go on, give the same command again" in err
    steps = [int(each.parent.name.partition("-")[2]) for each in out.glob("checkpoints/*/complete")]
    assert steps
    record = trained(base, run, out, max_steps=200, eval_every=100)
    assert record["measured"]["from_step"] == max(steps)


def test_a_finished_training_is_not_done_again_nor_another_written_over_it(augment, place, base, run):
    flags = {**SMALL, "base": base, "data": run, "out": "mine"}
    assert augment("finetune", *words_of(flags)).code == 0
    before = (place / "mine/training.json").stat().st_mtime_ns
    again = augment("finetune", *words_of(flags))
    assert again.code == 0
    assert "trained before" in again.out
    assert (place / "mine/training.json").stat().st_mtime_ns == before
    other = augment("finetune", *words_of({**flags, "rank": 2}))
    assert other.code == 2
    assert "holds another training" in other.err
    assert augment("finetune", *words_of({**flags, "rank": 2, "overwrite": True})).code == 0
    assert weights(place / "mine")["base_model.model.model.layers.0.mlp.up_proj.lora_A.factor"].shape[0] == 2
    (place / "full").mkdir()
    (place / "full/a.txt").write_text("mine")
    full = augment("finetune", *words_of({**flags, "out": "full", "overwrite": True}))
    assert (full.code, (place / "full/a.txt").read_text()) == (2, "mine")
    shutil.copytree(run, place / "dataset")
    over = augment("finetune", *words_of({**flags, "out": "dataset", "overwrite": True}))
    assert over.code == 2
    assert "dataset is not empty and not a training's folder" in over.err
    assert (place / "dataset/manifest.json").read_bytes() == (run / "manifest.json").read_bytes()


def test_a_folder_that_another_process_writes_is_left_to_it(augment, place, base, run):
    (place / "mine").mkdir()
    lock = Lock.take(place / "mine")
    lock.sign()
    ran = augment("finetune", *words_of({**SMALL, "base": base, "data": run, "out": "mine", "overwrite": True}))
    assert ran.code == 2
    assert f"mine is being written by pid {os.getpid()}" in ran.err
    lock.release()


@pytest.mark.parametrize("objective", ["ce", "ba-lora"])
def test_micro_batches_and_checkpointing_change_nothing(tmp_path, base, run, objective):
    more = {"objective": objective, "settings": {"objective": {"lambda3": 0.0}} if objective == "ba-lora" else {}}
    found = {
        name: trained(base, run, tmp_path / name, **more, **changes)
        for name, changes in (
            ("whole", {"micro_batch": 4}),
            ("parts", {"micro_batch": 1}),
            ("checkpointed", {"micro_batch": 4, "gradient_checkpointing": True}),
        )
    }
    for name in ("parts", "checkpointed"):
        assert losses(found[name]) == pytest.approx(losses(found["whole"]), rel=2e-5)
        assert_same(tmp_path / "whole", tmp_path / name, atol=2e-4)


def test_judging_more_often_changes_nothing(tmp_path, base, run):
    for every in (1, 4):
        trained(base, run, tmp_path / f"{every}", dropout=0.2, eval_every=every)
    assert_same(tmp_path / "1", tmp_path / "4")


def test_every_term_is_logged_and_validation_is_cross_entropy(tmp_path, base, run):
    plain = trained(base, run, tmp_path / "ce")
    record = trained(base, run, tmp_path / "ba", objective="ba_lora", micro_batch=1)
    steps = [each for each in record["history"] if "loss" in each]
    assert len(steps) == 4
    assert all({"ce", "cr", "dr", "svdr", "lambda1", "lambda2", "lambda3"} <= each.keys() for each in steps)
    for each in steps:
        terms = sum(
            each[weight] * each[term] for weight, term in (("lambda1", "cr"), ("lambda2", "dr"), ("lambda3", "svdr"))
        )
        assert each["loss"] == pytest.approx(each["ce"] + terms, rel=1e-4)
    assert steps[0]["cr"] == pytest.approx(0, abs=1e-6)
    assert losses(record, "eval_loss")[0] == pytest.approx(losses(plain, "eval_loss")[0], rel=1e-5)
    first = next(each for each in plain["history"] if "loss" in each)
    assert first["ce"] == first["loss"] == pytest.approx(steps[0]["ce"], rel=1e-5)


def test_the_validation_loss_is_the_mean_over_all_its_tokens(tmp_path, base, run):
    prepared = prepare(read_finetune_recipe({**SMALL, "base": str(base), "data": str(run), "out": tmp_path / "a"}))
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    summed = right = count = 0.0
    for example in prepared.validation.examples():
        ids = torch.from_numpy(example.ids).long()[None]
        said = model(ids).logits[0, :-1].log_softmax(-1)
        wanted, mask = ids[0, 1:], torch.from_numpy(example.learned[1:])
        summed -= said[mask].gather(1, wanted[mask, None]).sum().item()
        right += (said[mask].argmax(-1) == wanted[mask]).sum().item()
        count += mask.sum().item()
    found = train(prepared).record["validation"]["before"]
    assert found["eval_loss"] == pytest.approx(summed / count, rel=1e-5)
    assert found["eval_accuracy"] == pytest.approx(right / count)


def test_early_stopping_keeps_the_best(tmp_path, base, run):
    record = trained(base, run, tmp_path / "a", patience=1, eval_every=1, max_steps=30, learning_rate=1.0)
    judged = [each for each in record["history"] if "eval_loss" in each]
    best = min(judged, key=lambda each: each["eval_loss"])
    assert record["steps"]["done"] < 30
    assert record["steps"]["kept"] == best["step"] < record["steps"]["done"]
    assert record["validation"]["after"] == best
    prepared = prepare(read_finetune_recipe({**SMALL, "base": str(base), "data": str(run), "out": tmp_path / "b"}))
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), tmp_path / "a")
    summed = count = 0.0
    for example in prepared.validation.examples():
        ids = torch.from_numpy(example.ids).long()[None]
        labels = ids.masked_fill(~torch.from_numpy(example.learned), -100)
        size = (labels[0, 1:] != -100).sum().item()
        summed += adapted(ids, labels=labels).loss.item() * size
        count += size
    assert summed / count == pytest.approx(best["eval_loss"], rel=1e-4)
    assert "The best of" in (tmp_path / "a/README.md").read_text()


@pytest.mark.parametrize("objective", ["ce", "ba_lora"])
def test_a_classification_trains_a_head_that_merges_with_its_labels(tmp_path, base, run, objective):
    changes = {"task": "classify", "adapter": "nlora", "max_steps": 30, "batch": 16, "objective": objective}
    record = trained(base, run, tmp_path / "a", **changes)
    assert record["validation"]["after"]["eval_accuracy"] >= record["validation"]["before"]["eval_accuracy"]
    assert losses(record)[-1] < losses(record)[0]
    from finetune.export import merge

    merge(tmp_path / "a", tmp_path / "whole")
    whole = AutoModelForSequenceClassification.from_pretrained(tmp_path / "whole")
    assert list(whole.config.id2label.values()) == record["data"]["labels"]
    kind = {"dtype": torch.float32, "num_labels": len(record["data"]["labels"])}
    adapted = PeftModel.from_pretrained(
        AutoModelForSequenceClassification.from_pretrained(base, **kind), tmp_path / "a"
    )
    ids = torch.tensor([AutoTokenizer.from_pretrained(base)("血压高怎么办")["input_ids"]])
    torch.testing.assert_close(whole.eval()(ids).logits, adapted.eval()(ids).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("adapter", ["lora", "nlora"])
def test_a_base_in_four_bits_or_bf16_trains_and_its_export_has_fp32_factors(tmp_path, base, run, adapter):
    for name, changes in (("nf4", {"quantize": "4bit"}), ("bf16", {"precision": "bf16"})):
        record = trained(base, run, tmp_path / name, adapter=adapter, max_steps=8, **changes)
        assert losses(record, "eval_loss")[-1] < losses(record, "eval_loss")[0]
        assert all(each.dtype == torch.float32 for each in weights(tmp_path / name).values())
    trained(base, run, tmp_path / "head", adapter=adapter, task="classify", precision="bf16")
    assert all(each.dtype == torch.float32 for each in weights(tmp_path / "head").values())
    for name in ("nf4", "bf16"):
        assert all(each.isfinite().all() for each in weights(tmp_path / name / "plain").values())


def test_two_processes_train_as_one_does(tmp_path, base, run):
    more = {"objective": "ba-lora", "set": "objective.lambda3=0.0", "adapter": "pissa", "validation": "20%"}
    flags = {**SMALL, **more, "base": base, "data": run, "micro_batch": 1}
    words = ["-m", "augment", "finetune", *words_of(flags)]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29611"]
    for name, command in (("one", [sys.executable]), ("two", launch)):
        done = subprocess.run(
            [*command, *words, "--out", str(tmp_path / name)], capture_output=True, text=True, env=ours()
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(str(tmp_path / name)) == 1
    one, two = (json.loads((tmp_path / name / "training.json").read_text()) for name in ("one", "two"))
    assert two["processes"] == 2
    assert two["data"]["validation"] % 2 == 1  # shared unevenly, and still each row counts once
    for term in ("loss", "ce", "cr", "dr", "lambda1", "eval_loss", "eval_accuracy"):
        assert losses(two, term) == pytest.approx(losses(one, term), rel=1e-4, abs=1e-6), term
    assert_same(tmp_path / "one", tmp_path / "two", atol=5e-4)


def test_tensorboard_gets_every_term(tmp_path, base, run, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    record = trained(base, run, tmp_path / "a", objective="ba_lora", report_to="tensorboard")
    events = EventAccumulator(str(next((tmp_path / "a/tensorboard").rglob("events*")).parent)).Reload()
    assert {"train/ce", "train/cr", "train/dr", "train/svdr", "train/loss", "eval/loss"} <= set(
        events.Tags()["scalars"]
    )
    assert [each.value for each in events.Scalars("train/ce")] == pytest.approx(losses(record, "ce"))


def test_on_a_terminal_there_is_a_bar(tmp_path, base, run):
    import pty

    leader, follower = pty.openpty()
    flags = {**SMALL, "base": base, "data": run, "out": tmp_path / "a"}
    command = [sys.executable, "-m", "augment", "finetune", *words_of(flags)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=follower, env=ours(TERM="xterm"))
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(leader, 4096)
        except OSError:
            break
        if not part:
            break
        shown += part
    assert running.wait() == 0, shown.decode()
    assert b"training" in shown
    assert b"4/4" in shown


def test_memory_that_does_not_suffice_is_one_line_with_what_to_change(tmp_path, run):
    wide = save_base(
        tmp_path / "wide", hidden_size=1024, intermediate_size=4096, num_hidden_layers=4, num_attention_heads=16
    )
    flags = {**SMALL, "base": wide, "data": run, "out": tmp_path / "a", "batch": 16, "micro_batch": 16}
    code = (
        "import resource, sys, torch, transformers, peft\n"
        "import finetune.train, finetune.progress\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, used + 2**30))\n"
        f"sys.argv = ['augment', 'finetune', *{words_of(flags)!r}]\n"
        "from augment.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ours())
    assert done.returncode == 2, done.stderr[-2000:]
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("augment: out of memory: use --micro-batch 8, or --gradient-checkpointing")
    assert "Traceback" not in done.stderr
