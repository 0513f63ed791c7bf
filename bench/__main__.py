"""`python -m bench [NAME ...]`: list the benchmarks, or run those named one after another.

Each is a module with a `main()` that prints its figures; peers live in environments of their own, and a
benchmark whose peer is missing says how to install it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
SUPPORT = {"__main__", "field_air", "field_runs", "field_watch", "loadgen", "outer_loop"}


def main(names: list[str]) -> int:
    """Run benchmarks; the exit code is the number of those that failed."""
    known = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in SUPPORT)
    if not names:
        print("run with one or more of these names:", *map(_line, known), sep="\n  ")
        return 0
    unknown = sorted(set(names) - set(known))
    if unknown:
        print(
            f"no benchmark {', '.join(unknown)}; there are:", *map(_line, known), sep="\n  ", file=sys.stderr
        )
        return 2
    failed = 0
    for name in names:
        print(f"\n== {_line(name)}", flush=True)
        failed += subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode != 0
    return failed


def _line(name: str) -> str:
    summary = ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text("utf-8"))) or ""
    return f"{name}: {summary.partition(chr(10))[0]}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
