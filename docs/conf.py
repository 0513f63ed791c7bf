"""Sphinx: Markdown pages, a search of its own, and a reference written from the code at every build."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / room) for room in (".", "platform", "device_sdk", "pipelines")]

import acclimate  # noqa: E402 - found only now
from docs import reference_pages  # noqa: E402

project = "Acclimate"
author = "the authors of Acclimate"
version = release = acclimate.__version__
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Acclimate {version}"
html_static_path = ["_static"]
html_js_files = ["accessible.js"]
html_copy_source = html_show_copyright = False
html_show_sphinx = False

reference_pages.write(HERE / "reference")
