"""The rings of the house: inner ones never import outer ones, and light commands stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
INNER = ("augment", "filters", "finetune")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return {name.partition(".")[0] for name in found}


def test_only_flows_imports_prefect_and_only_executors_ray():
    for ring in INNER:
        for path in (ROOT / ring).rglob("*.py"):
            used = imports(path)
            assert "prefect" not in used, path
            assert "ray" not in used or path.parent == ROOT / "augment" / "executors", path
            assert "flows" not in used or path.name == "cli.py", path


@pytest.mark.parametrize(
    "command",
    [
        *(["--help"], ["--version"], ["text", "--help"], ["finetune", "--help"], ["adapter", "export", "--help"]),
        *(
            ["evaluate", "--help"],
            ["lift", "--help"],
            ["subject", "--help"],
            ["report", "--help"],
            ["review", "--help"],
        ),
    ],
)
def test_asking_for_help_imports_nothing_heavy(command):
    heavy = ("torch", "prefect", "datasets", "polars", "numpy", "aiohttp", "rjieba", "pyarrow", "scipy", "altair")
    code = (
        "import sys\n"
        f"sys.argv = ['augment', *{command!r}]\n"
        "from augment.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr.strip() == "[]"
    assert done.stdout


def test_data_holds_no_python():
    assert not list((ROOT / "data").rglob("*.py"))
