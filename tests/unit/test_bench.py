"""Benchmarks name only what the code has; they run too seldom for anybody to notice otherwise."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
OURS = ("acclimate", "acclimate_device", "acclimate_pipelines", "bench", "tests")


@pytest.mark.parametrize("path", sorted(BENCH.glob("*.py")), ids=lambda path: path.stem)
def test_everything_that_a_benchmark_imports_of_ours_is_there(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or (node.module or "").split(".")[0] not in OURS:
            continue
        if node.module == "bench":  # not imported here: its modules need peers that only they install
            missing = [one.name for one in node.names if not (BENCH / f"{one.name}.py").exists()]
        elif node.module.startswith("bench."):
            names = _defined(BENCH / f"{node.module.removeprefix('bench.')}.py")
            missing = [one.name for one in node.names if one.name not in names]
        else:
            module = importlib.import_module(node.module)
            missing = [
                one.name
                for one in node.names
                if not hasattr(module, one.name)
                and importlib.util.find_spec(f"{node.module}.{one.name}") is None
            ]
        assert not missing, f"{path.name}: {node.module} has no {', '.join(missing)}"


def _defined(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.Assign(targets=targets):
                found |= {one.id for one in targets if isinstance(one, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
            case ast.ImportFrom(names=names):
                found |= {one.asname or one.name for one in names}
    return found
