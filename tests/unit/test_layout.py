"""Rules of the house that a machine can check and import-linter cannot."""

import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]


def test_platform_is_no_package_and_never_shadows_the_standard_library():
    assert not (ROOT / "platform" / "__init__.py").exists()


def test_top_level_is_what_was_asked_for():
    expected = {"pyproject.toml", "platform", "pipelines", "helm", "device_sdk", "tests", "README.md"}
    assert expected <= {path.name for path in ROOT.iterdir()}


def test_a_simulation_against_a_service_elsewhere_loads_no_web_framework():
    code = "import sys, acclimate.simulation; print(*{'fastapi', 'sqlalchemy', 'torch'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == []


def test_no_module_is_longer_than_400_lines():
    folders = ["platform", "pipelines", "device_sdk", "tests", "bench", "tools"]
    modules = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules}
    assert not {path: lines for path, lines in long.items() if lines > 400}


def test_no_module_imports_itself_in_a_circle():
    """Not even inside a function or for its types."""
    graph = grimp.build_graph("acclimate", "acclimate_device", "acclimate_pipelines", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 400
    TopologicalSorter(imports).prepare()  # a CycleError names the circle
