"""Rules of the house that a machine can check and import-linter cannot."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_platform_is_no_package_and_never_shadows_the_standard_library():
    assert not (ROOT / "platform" / "__init__.py").exists()


def test_top_level_is_what_was_asked_for():
    expected = {"pyproject.toml", "platform", "pipelines", "helm", "device_sdk", "tests", "README.md"}
    assert expected <= {path.name for path in ROOT.iterdir()}
