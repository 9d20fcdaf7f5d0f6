"""What a user can get wrong: one line that says what, the value and the fix, exit code 2, and nothing lost."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM

from tests.finetune.bases import ROOT, save_base, tokenizer


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("bases") / "tiny")


def refused(augment, *words):
    """The one line that `augment finetune` ends on."""
    ran = augment("finetune", *words)
    assert ran.code == 2, ran.err
    assert "Traceback" not in ran.err
    last = ran.err.strip().splitlines()[-1]
    assert last.startswith("augment: ")
    return last.removeprefix("augment: ")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--data", "sample"], "no base given; try --base Qwen/Qwen3-0.6B, or a folder"),
        (["--base", "x"], "no data given; try --data runs/NAME, or a file"),
        (["--base", "nosuch", "--data", "sample"], "no model folder nosuch; give --base a folder with a config.json"),
        (["--base", "./no/such", "--data", "sample"], "no model folder ./no/such; give --base a folder"),
        (["--base", "BASE", "--data", "nosuch.csv"], "no file or folder nosuch.csv; check the path"),
        (["--base", "BASE", "--data", "sample", "--rank", "99"], "rank 99 is over the size of model.layers.0.self_attn.k_proj"),
        (["--base", "BASE", "--data", "sample", "--targets", "q_prj"], "is called 'q_prj'; did you mean q_proj"),
        (["--base", "BASE", "--data", "sample", "--targets", ".*nothing$"], "matches '.*nothing$'; its linear modules: down_proj"),
        (["--base", "BASE", "--data", "sample", "--length", "8"], "(128 over 8 tokens); raise --length (the base sees 1,024"),
        (["--base", "BASE", "--data", "sample", "--adapter", "nlor"], "no adapter called 'nlor'; did you mean nlora"),
        (["--base", "BASE", "--data", "sample", "--objective", "ba"], "no objective called 'ba'; known: ba_lora, ce"),
        (["--base", "BASE", "--data", "sample", "--perturb", "gpo"], "no perturbation called 'gpo'; did you mean"),
        (["--base", "BASE", "--data", "sample", "--rank", "0"], "rank: input should be greater than or equal to 1 (got 0)"),
        (["--base", "BASE", "--data", "sample", "--task", "sum"], "task: input should be 'auto', 'chat' or 'classify'"),
        (["--base", "BASE", "--data", "sample", "--batch", "7", "--micro-batch", "3"], "--micro-batch 3 does not divide the 7"),
        (["--base", "BASE", "--data", "sample", "--validation", "2"], "validation: input should be less than 1"),
        (["--base", "BASE", "--data", "sample", "--validation", "0", "--patience", "2"], "--patience watches the validation loss"),
        (["--base", "BASE", "--data", "sample", "--set", "adapter.cor=x"], "adapter 'lora' has no setting 'cor'"),
        (["--base", "BASE", "--data", "sample", "--set", "adaptr.core=x"], "no part 'adaptr'; known: adapter, objective"),
        (["--base", "BASE", "--data", "sample", "--set", "perturb.rho=1"], "without a perturbation; add --perturb"),
        (["--base", "BASE", "--data", "sample", "--set", "training.seed=1"], "training.seed is decided by flags"),
        (["--base", "BASE", "--data", "sample", "--set", "training.nosuch=1"], "unexpected keyword argument 'nosuch'"),
        (["--base", "BASE", "--data", "sample", "--report-to", "nosuch"], "--report-to nosuch: nosuch is not supported"),
        (["--base", "BASE", "--data", "sample", "--packing", "--task", "classify"], "--packing is for conversations"),
        (["--base", "BASE", "--data", "sample", "--map", "prompt=nosuch"], "no column 'nosuch' in the source"),
        (["--base", "BASE", "--data", "sample", "--recipe", "no.toml"], "no recipe file no.toml; check the path"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_line(augment, base, words, line):
    assert line in refused(augment, *[str(base) if word == "BASE" else word for word in words])


def test_a_folder_that_is_no_whole_model(augment, place, base):
    (place / "empty").mkdir()
    assert "empty holds no model: no config.json; give" in refused(augment, "--base", "empty", "--data", "sample")
    (place / "empty/adapter_config.json").write_text("{}")
    assert "(it is an adapter)" in refused(augment, "--base", "empty", "--data", "sample")
    (place / "empty/config.json").write_text("{")
    assert "cannot load the base model empty" in refused(augment, "--base", "empty", "--data", "sample")


def test_a_base_without_weights_or_tokenizer(augment, place, base):
    (place / "half").mkdir()
    (place / "half/config.json").write_text((base / "config.json").read_text())
    words = ("--base", "half", "--data", "sample")
    assert "has no tokenizer that can be read" in refused(augment, *words)
    tokenizer().save_pretrained(place / "half")
    assert "cannot load the weights of" in refused(augment, *words)
    (place / "half/model.safetensors").write_bytes((base / "model.safetensors").read_bytes()[:-1000])
    assert "cannot load the weights of" in refused(augment, *words)


def test_a_tokenizer_of_another_model(augment, place):
    save_base(place / "base", vocab_size=300)
    line = refused(augment, "--base", "base", "--data", "sample")
    assert "knows 300 tokens; give it its own tokenizer" in line


def test_a_model_that_cannot_answer(augment, place):
    torch.manual_seed(0)
    config = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    del config.architectures
    BertForMaskedLM(config).save_pretrained(place / "t5")
    (place / "t5/config.json").write_text(json.dumps({"model_type": "vit", "architectures": ["ViTModel"]}))
    assert "does not fit the task" in refused(augment, "--base", "t5", "--data", "sample")


def test_rows_that_cannot_be_trained_on(augment, place, base):
    (place / "empty.jsonl").write_text("")
    assert "empty.jsonl is empty" in refused(augment, "--base", base, "--data", "empty.jsonl")
    (place / "bare.jsonl").write_text('{"question": "a"}\n')
    assert "has a response to learn" in refused(augment, "--base", base, "--data", "bare.jsonl")
    (place / "one.jsonl").write_text('{"text": "a", "label": "x"}\n{"text": "b", "label": "x"}\n')
    assert "all rows of one have the label 'x'; a classification needs two" in refused(
        augment, "--base", base, "--data", "one.jsonl"
    )


def test_a_loss_that_is_not_a_number(augment, place, base):
    from safetensors.torch import load_file, save_file

    broken = place / "broken"
    save_base(broken)
    tensors = load_file(broken / "model.safetensors")
    tensors["model.layers.0.mlp.up_proj.weight"][0, 0] = torch.nan
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    line = refused(augment, "--base", broken, "--data", "sample", "--validation", "0", "--out", "a")
    assert line.startswith("the loss is nan at step 1; use a lower --learning-rate than ")
    assert not (place / "a/manifest.json").exists()


def test_a_base_without_a_chat_template_is_told_what_it_gets(augment, place):
    save_base(place / "plain", template=None)
    ran = augment("finetune", "--base", "plain", "--data", "sample", "--dry-run")
    assert ran.code == 0
    assert "the base has no chat template; using plain (User: … Assistant: …), saved with the adapter" in ran.err


def test_a_dry_run_costs_nothing_and_says_what_it_would(augment, place, base):
    ran = augment("finetune", "--base", base, "--data", "sample", "--dry-run", "--json", "--epochs", "3")
    told = json.loads(ran.out)
    assert told["steps"] == 3 * -(-told["examples"] // 16)
    assert told["size"]["layers"] == 14
    assert not (place / "adapters").exists()


def test_a_recipe_file_says_the_same_as_flags(augment, place, base):
    (place / "mine.toml").write_text(
        f'base = "{base}"\ndata = "sample"\nadapter = "nlora"\nrank = 4\nmax_steps = 2\n[set.adapter]\ncore = "pinv"\nrank_pattern = {{k_proj = 1}}\n'
    )
    ran = augment("finetune", "--recipe", "mine.toml", "--out", "a", "--rank", "2")
    assert ran.code == 0, ran.err
    adapter = json.loads((place / "a/training.json").read_text())["method"]["adapter"]
    assert (adapter["name"], adapter["rank"], adapter["core"]) == ("nlora", 2, "pinv")
    assert adapter["rank_pattern"] == {"k_proj": 1}
    again = (place / "a/README.md").read_text().partition("Made by\n\n```sh\n")[2].partition("\n```")[0]
    assert augment(*shlex.split(again)[1:], "--out", "b", "--json").code == 0
    same = [json.loads((place / each / "training.json").read_text())["identity"] for each in "ab"]
    assert same[0] == same[1]
    (place / "bad.toml").write_text('base = "x"\ndata = "y"\nrnk = 4\n')
    assert "no recipe key 'rnk'; did you mean rank" in refused(augment, "--recipe", "bad.toml")


def test_without_the_extra_it_is_told_which_one(place):
    code = "import sys; sys.modules['torch'] = None; sys.argv = ['augment', *sys.argv[1:]]\nfrom augment.cli import main\nmain()"
    for words in (["finetune", "--base", "x", "--data", "sample"], ["adapter", "export", "x", "--out", "y"]):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 2
        assert "pip install 'augment[finetune]'" in done.stderr
        assert "Traceback" not in done.stderr
