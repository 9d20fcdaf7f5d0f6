"""The commands that people read, run: those of every README and of every `--help`.

`STAND_INS` says what stands in for what is not here (a model's name, a server's address, a row's id); nothing else of a
line is changed. `NOT_RUN` is what is not run, and why; what it says of `augment` is still read, by `--dry-run` or
`--help`. Any other line is run as it stands, in one folder that has the files that the READMEs speak of.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import shlex
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from tests.conftest import Ran
from tests.engines import PACKAGE_METADATA
from tests.finetune.evaluations import write_answers
from tests.prefect_server import Server, Started
from tests.server import serve

ROOT = Path(__file__).parents[1]
ROOMS = ("", "augment", "filters", "finetune", "flows")
MAIN = "augment text --source sample --n 5x"
RUN = "runs/sample-558a40b4"
"""What `MAIN` publishes, and the READMEs speak of."""

STAND_INS = {
    "vllm:Qwen/Qwen3-8B": "openai:Qwen3-8B",
    "Qwen/Qwen3-0.6B": "{base}",
    "diffusers:Tongyi-MAI/Z-Image": "diffusers:{painter} --accept-licence --size 64 --steps 2",
    "diffusers:Tongyi-MAI/Z-Image --out subjects/cup": "diffusers:{painter} --accept-licence --size 64 --steps 2 --no-prior --out subjects/cup",
    "diffusers:MODEL": "diffusers:{painter} --accept-licence --size 64 --steps 2 --prior-images 2 --prior-steps 2",
    "http://localhost:8000/v1": "{server}",
    "http://localhost:8091/v1": "{paints}",
    "http://127.0.0.1:4200/api": "{prefect}",
    "https://hooks.example.org/augment": "http://127.0.0.1:9/augment",
    "path/to/csv": "{chbench}",
    "review runs/sample-558a40b4 --publish": "review {other} --publish",
    "review runs/sample-1a2b3c4d --publish": "review {other} --publish",
    "verify RUN": "verify {pictures}",
    "explain ID": "explain {row}",
    "explain 1a2b3c4d": "explain {row}",
    "runs/OLD runs/NEW": "runs/sample-558a40b4 {other}",
    "runs/sample-1a2b3c4d": "runs/sample-558a40b4",
    "runs/sample-5e6f7a8b": "{other}",
    "adapters/mine": "mine",
    "--workers 8": "--workers 2",
}
"""What a line names, and what stands in; a model that a server has (`openai:Qwen3-8B`) is served under its own name.
vLLM has an environment of its own (`tests/test_vllm.py`), tiny models draw tiny pictures, and no one has read their terms.
"""

NOT_RUN = {
    r"pip install \.": "installs; .ci/run does so",
    r"pip install '\.\[\w+\]'": "installs; that the extra exists is seen to",
    r"pytest": "is what runs this",
    r"prefect server start": "goes on until it is stopped; tests/prefect_server.py starts one",
    r"torchrun --nproc-per-node 8 .*": "wants 8 GPUs; tests/finetune/test_served.py starts two processes",
    r"lm_eval .*": "takes a minute; tests/finetune/test_harness.py runs it",
    r"augment text .*--ray (auto|FIRST:6379) .*": "wants a Ray cluster; tests/test_executors.py starts one",
    r"ray start .*": "wants several machines",
    r"augment loop --recipe flows/recipes/tiny-loop.toml": "takes minutes; tests/finetune/test_loop.py runs smaller ones",
    r"augment loop --recipe loop.toml --set .*": "takes minutes; tests/finetune/test_loop.py runs smaller ones",
    r"#SBATCH .*|head=.*|sleep 20|srun .*": "wants Slurm",
}
APART = {"serve": "serving ", "review": "http://127.0.0.1"}
"""Verbs that go on until they are stopped, and what they say once they are there."""


@dataclass(frozen=True)
class Command:
    """A line of a block, with what the lines before it in that block exported."""

    where: str
    line: str
    exported: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.where}: {self.line}"


def fences(text: str, language: str) -> list[str]:
    """The fenced blocks of one language, those in a list too."""
    found = re.findall(r"^( *)```(\w*)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, named, block in found if named == language]


def readme(room: str) -> str:
    """The README of a room; "" is the first one."""
    return (ROOT / room / "README.md").read_text("utf-8")


def readme_commands() -> list[Command]:
    """Every command of every README, a line that is written twice once."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], Command] = {}
    for room in ROOMS:
        for block in fences(readme(room), "sh"):
            exported: tuple[tuple[str, str], ...] = ()
            for line in block.splitlines():
                for part in re.split(r"\s+#\s|$", line, maxsplit=1)[0].split(" && "):
                    if match := re.fullmatch(r"export (\w+)=(\S+)", part.strip()):
                        exported = (*exported, (match[1], match[2]))
                    elif part.strip():
                        each = Command(f"{room or '.'}/README.md", part.strip(), exported)
                        found.setdefault((each.line, each.exported), each)
    return list(found.values())


def not_run(line: str) -> str | None:
    """Why a line is not run; None for one that is."""
    return next((why for pattern, why in NOT_RUN.items() if re.fullmatch(pattern, line)), None)


@dataclass
class Stage:
    """One folder in which all commands are run, and what stands in for what is not there. Nothing is run twice."""

    place: Path
    names: dict[str, str]
    environment: dict[str, str]
    prefect: Server
    done: dict[tuple[str, tuple[tuple[str, str], ...]], Ran] = field(default_factory=dict)

    def written(self, line: str) -> str:
        """The line with its stand-ins."""
        pattern = "|".join(map(re.escape, sorted(STAND_INS, key=len, reverse=True)))
        return re.sub(pattern, lambda found: STAND_INS[found[0]].format_map(self.names), line)

    def run(self, command: Command) -> Ran:
        """What a command does, stand-ins in their places."""
        line = self.written(command.line)
        exported = tuple((name, self.written(value)) for name, value in command.exported)
        key = (line, exported)
        if key not in self.done:
            self.done[key] = self._run(line, dict(exported))
        return self.done[key]

    def _run(self, line: str, exported: dict[str, str]) -> Ran:
        words = shlex.split(line)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            name, _, value = words.pop(0).partition("=")
            exported[name] = value
        if words[0] == "augment":
            words = words[1:]
            apart = words[0] in APART and not {"--publish", "--status", "--help"} & {*words}
            if apart or "--workers" in words or "PREFECT_API_URL" in exported:
                return self._apart(["-m", "augment", *words], exported, APART[words[0]] if apart else "")
            return self.here(words, exported)
        if words[0] == "python":
            return self._apart(words[1:], exported, "")
        raise AssertionError(f"no stand-in for `{words[0]}`: run it in tests/commands.py, or say there why it is not")

    def here(self, words: list[str], exported: dict[str, str]) -> Ran:
        """`augment` with these words, in this process."""
        from augment.cli import main

        out, err, code = io.StringIO(), io.StringIO(), 0
        argv, sys.argv = sys.argv, ["augment", *words]
        try:
            with self.inside(exported), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        finally:
            sys.argv = argv
        return Ran(code, out.getvalue(), err.getvalue())

    @contextlib.contextmanager
    def inside(self, exported: dict[str, str]) -> Iterator[None]:
        """This process, in the folder and with the environment of the commands."""
        before, environment = Path.cwd(), dict(os.environ)
        os.chdir(self.place)
        os.environ.pop("PREFECT_API_URL", None)
        os.environ.update(self.environment | exported)
        try:
            yield
        finally:
            os.chdir(before)
            os.environ.clear()
            os.environ.update(environment)

    def _apart(self, words: list[str], exported: dict[str, str], says: str) -> Ran:
        """Python with these words in a process of its own: until it ends, or until it `says` something."""
        path = os.pathsep.join([self.environment["PYTHONPATH"], str(ROOT)])
        more = {**self.environment, "BROWSER": "true", **exported, "PYTHONPATH": path}
        whole = self.prefect.environment(self.place, **more)
        if "tell" not in words[-1] and "serve" not in words and "PREFECT_API_URL" not in exported:
            del whole["PREFECT_API_URL"]
        started = Started([sys.executable, *words], self.place, whole)
        try:
            if says:
                started.until_says(says)
                code = started.stop()
            else:
                code = started.end()
        finally:
            if started.process.poll() is None:
                started.process.kill()
        return Ran(code, started.out, started.err)


def package(folder: Path) -> Path:
    """The user's own package of the READMEs, as pip would have installed it, in a folder for PYTHONPATH."""
    for room in ROOMS:
        for block in fences(readme(room), "python"):
            if named := re.match(r"# (ours/\w+\.py)\n", block):
                (folder / named[1]).parent.mkdir(parents=True, exist_ok=True)
                (folder / named[1]).write_text(block, "utf-8")
    (told,) = (block for block in fences(readme("augment"), "toml") if "entry-points" in block)
    info = folder / "ours-1.dist-info"
    info.mkdir()
    points = re.sub(r'\[project\.entry-points\."(.*)"\]', r"[\1]", told).replace('"', "")
    (info / "entry_points.txt").write_text(points)
    (info / "METADATA").write_text(PACKAGE_METADATA.format(name="ours"))
    return folder


def card(name: str) -> str:
    """A card that a README shows, by the name in its first line."""
    every = (block for room in ROOMS for block in fences(readme(room), "toml"))
    return next(block for block in every if block.startswith(f"# {name}\n"))


def write_files(place: Path) -> None:
    """The files that the READMEs speak of."""
    (place / "questions.csv").write_text("question,answer\n头疼三天了应该怎么办,先休息，三天不好就去看医生。\n")
    passage = (
        "高血压病人每天应当在固定的时间量血压，量之前安静坐五分钟。药要按医生说的量吃，自己不要随便停。饭菜少放盐，"
        "一天不超过5克；每周活动五次，每次半小时左右。如果头晕得厉害、看东西模糊，或者胸口发闷，要马上去医院。"
    )
    (place / "passages.jsonl").write_text(json.dumps({"prompt": passage}, ensure_ascii=False))
    (place / "labelled.csv").write_text(
        "text,label\n胸口发闷,heart\n饭后反酸,digestion\n爬楼心慌,heart\n腹胀嗳气,digestion\n"
    )
    (place / "exam.csv").write_text("query,gold\n晚上总是睡不着应该怎么办,先固定起床的时间。\n")
    (place / "rows.jsonl").write_text(
        "\n".join(json.dumps({"question": f"第{n}天头疼怎么办", "answer": f"休息{n}天。"}) for n in range(12))
    )
    pl.DataFrame({"text": [f"第{n}天头疼怎么办" for n in range(4)]}).write_parquet(place / "anyones.parquet")
    write_answers(place / "answers.csv")
    (place / "questions").mkdir()
    (place / "questions/first.csv").write_text((place / "questions.csv").read_text())
    (place / "flows").mkdir()
    (place / "flows/recipes").symlink_to(ROOT / "flows/recipes")
    for name in ("nightly", "clinic", "manners"):
        (place / f"{name}.toml").write_text(card(f"{name}.toml"))
    (place / "weekly.toml").write_text('source = "questions"\nn = "1x"\n\n[schedule]\ncron = "0 3 * * 0"\n')
    with (place / "clinic.csv").open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["asked", "replied", "department"])
        for n in range(12):
            department = ("emergency", "dermatology")[n % 2]
            lines.writerow([f"摔伤第{n}天伤口还在渗血怎么办？", f"清洗后压迫{n + 5}分钟，再来门诊。", department])
    shown = sorted((ROOT / "data/sample-images").glob("*/*-0[12].png"))[:4]
    for path in shown:
        target = place / "photos" / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        (place / "cup").mkdir(exist_ok=True)
        (place / "cup" / path.name).write_bytes(path.read_bytes())
    pairs = [{"image": f"photos/{path.parent.name}/{path.name}", "caption": f"a thing, {path.stem}"} for path in shown]
    (place / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    with tarfile.open(place / "pairs.tar", "w") as archive:
        for number, path in enumerate(shown):
            archive.add(path, f"{number}.png")
            (place / "caption.txt").write_text(f"a thing, number {number}")
            archive.add(place / "caption.txt", f"{number}.txt")


def write_chbench(folder: Path, count: int = 8) -> None:
    """CHBench's two files, as its authors name them, with rows of our own."""
    folder.mkdir()
    for domain, size in (("mental", 6), ("physical", 4)):
        with (folder / f"CHBench_{domain}.csv").open("w", encoding="utf-8-sig", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(["query", "ErnieA", "attribute", "tuple"])
            scores = str((1,) * size)
            for n in range(count):
                lines.writerow(
                    [f"{domain}的第{n}个问题应该怎么办？", f"第{n}个回答：规律作息，每天走{n}千步。", "x", scores]
                )


def extras() -> set[str]:
    """What `pip install '.[…]'` may name."""
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


@contextlib.contextmanager
def open_stage(place: Path, prefect: Server) -> Iterator[Stage]:
    """The folder with its files, servers and tiny models, and what the main command makes there."""
    from tests.images.models import save_z_image
    from tests.text_models import save_speaker

    write_files(place)
    write_chbench(place / "chbench")
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    save_speaker(place / "models/base", "这几天胸口总是有点发闷。", **small)
    painter = save_z_image(place / "models/painter")
    ours = str(package(place / "installed"))
    with (
        serve(models="Qwen3-8B,Qwen3-32B") as server,
        serve("tests.images.server", models="Qwen-Image") as paints,
    ):
        names = {
            "base": "models/base",
            "painter": str(painter.relative_to(place)),
            "server": server.url,
            "paints": paints.url,
            "prefect": prefect.url,
            "chbench": "chbench",
        }
        environment = {
            "AUGMENT_HOME": str(place / "home"),
            "OPENAI_BASE_URL": server.url,
            "AUGMENT_CHBENCH_DIR": "chbench",
            "PYTHONPATH": ours,
            "HF_HUB_OFFLINE": "1",
        }
        sys.path.insert(0, ours)
        try:
            stage = Stage(place, names, environment, prefect)
            asked = stage.written(card("loop.toml")).replace("questions.csv", "rows.jsonl")  # one row cannot be parted
            (place / "loop.toml").write_text(asked)
            _prepare(stage)
            yield stage
        finally:
            sys.path.remove(ours)


def _prepare(stage: Stage) -> None:
    """What later commands speak of: runs, one of them reviewed, an adapter, a row."""
    from augment.review.session import Desk, Session

    for name, line in (
        ("", MAIN),
        ("other", "augment text --source sample --n 3x --seed 1"),
        ("pictures", "augment image --source sample-images --n 3x"),
        (
            "",
            "augment finetune --base Qwen/Qwen3-0.6B --data runs/sample-558a40b4 --adapter nlora --rank 16 --out mine",
        ),
    ):
        done = stage.run(Command("stage", line))
        assert done.code == 0, done.err
        if name:
            stage.names[name] = done.out.strip().splitlines()[-1]
    rows = pl.read_parquet(stage.place / RUN / "curated/train.parquet")
    desk = Desk.of(stage.place / stage.names["other"])
    session = Session.open(desk, "ann", (3, 0), 0, None)
    session.decide(session.order[0], "reject")
    stage.names["row"] = rows.filter(pl.col("generator") == "rules")["id"][0]
