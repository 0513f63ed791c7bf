"""Mutation testing of the rooms that must not be wrong: `python tools/mutants.py [ROOM ...] [--sample N]`.

One small change at a time is made in a copy of the checkout, and the tests that reach the changed line are
run, the quickest first, until one fails. A mutant that no test notices is a missing test, or code that
says nothing. Survivors are listed with their change under `out/mutants`; `tools/mutants-accepted.txt` holds
those that nobody could notice, as `path: the changed line` below the reason, and they do not count.

What is slow is done once: the copy, a run that tells which test reaches which line, and the imports of large
packages, after which every mutant is tried in a fork. The same seed gives the same mutants and the same
examples of hypothesis.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import functools
import importlib
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from coverage import CoverageData
from hypothesis import Phase, settings

ROOT = Path(__file__).parents[1]
ACCEPTED = Path(__file__).with_name("mutants-accepted.txt")
ENOUGH = 0.9


@dataclass(frozen=True)
class Room:
    """A folder of source, the tests that are to notice, and the large packages that both import."""

    source: str
    tests: list[str]
    packages: tuple[str, ...] = ("numpy", "onnxruntime")


def of_device(names: str) -> list[str]:
    """Files of tests of the device."""
    return [f"tests/unit/device/test_{name}.py" for name in names.split()]


ROOMS = {
    "domain": Room("platform/acclimate/rollout/domain", ["tests/unit/rollout/domain"]),
    "learners": Room("platform/acclimate/learners", ["tests/unit/learners"], ("torch", "numpy", "sklearn")),
    "storage": Room(
        "device_sdk/acclimate_device/storage",
        of_device("storage queue trouble damage transport agent contributing model power_cuts values"),
    ),
    "online": Room(
        "device_sdk/acclimate_device/online",
        of_device(
            "online given clocks inputs alignment realign device anomaly contributing forecaster closed_form "
            "values schema series versions windows"
        ),
    ),
    "telemetry": Room(
        "device_sdk/acclimate_device/telemetry",
        of_device("telemetry queue bounds privacy device trouble damage model values"),
    ),
}
# `|` stands in annotations, which nobody evaluates; ruff refuses `is` with a literal.
UNNOTICED = re.compile(
    r"core/Replace(BinaryOperator_BitOr_.*|ComparisonOperator_(Eq_Is|NotEq_IsNot|Is_Eq|IsNot_NotEq))$"
)


@dataclass(frozen=True)
class Mutant:
    """One change: by which operator, at which of its places in the file."""

    file: str
    line: int
    operator: str
    occurrence: int

    @property
    def name(self) -> str:
        """A mutant as a line of a list."""
        return f"{self.file}:{self.line} {self.operator.removeprefix('core/')} {self.occurrence}"


def main() -> int:
    """Try the rooms asked for; 1 where fewer than nine of ten mutants were killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"of {', '.join(ROOMS)} [default: all]")
    parser.add_argument("--sample", type=int, help="so many mutants a room, drawn by --seed [default: all]")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if unknown := set(options.rooms) - set(ROOMS):
        parser.error(f"no room is called {', '.join(unknown)}: there are {', '.join(ROOMS)}")
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        left_out = shutil.ignore_patterns(".git", ".venv", "out", "acclimate-home", "__pycache__")
        shutil.copytree(ROOT, tree, ignore=left_out)
        os.chdir(tree)
        shares = [score(name, options.sample, options.seed) for name in options.rooms or ROOMS]
    return 0 if min(shares) >= ENOUGH else 1


def score(name: str, sample: int | None, seed: int) -> float:
    """Try a room's mutants, print what survived, and give the share that was killed."""
    room = ROOMS[name]
    for package in room.packages:
        importlib.import_module(package)
    reach = Reach.measured(room)
    shutil.rmtree(Path(room.source) / "__pycache__", ignore_errors=True)
    mutants = drawn(room, sample, seed)
    accepted = set(ACCEPTED.read_text("utf-8").splitlines())
    survivors, tried = [], 0
    for mutant in mutants:
        diff = survived(mutant, reach)
        changed = [f"{mutant.file}: {line[1:].strip()}" for line in diff or () if line.startswith("+")]
        tried += not accepted.intersection(changed)
        print("." if diff is None else f"\n{mutant.name}\n", end="", flush=True)
        if diff is not None and not accepted.intersection(changed):
            survivors.append({"name": mutant.name, "diff": diff})
    share = 1 - len(survivors) / max(tried, 1)
    print(f"\n{name}: {share:.0%} of {tried} mutants killed (seed {seed})", flush=True)
    output = ROOT / "out" / "mutants"
    output.mkdir(parents=True, exist_ok=True)
    document = {"killed": share, "tried": tried, "seed": seed, "survivors": survivors}
    (output / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
    return share


def drawn(room: Room, sample: int | None, seed: int) -> list[Mutant]:
    """All mutants, or a sample of them, in the order of the source."""
    possible = list(all_mutants(room.source))
    if sample is None or sample >= len(possible):
        return possible
    chosen = random.Random(seed).sample(range(len(possible)), sample)
    return [possible[index] for index in sorted(chosen)]


def all_mutants(source: str) -> Iterator[Mutant]:
    """Every change that cosmic-ray knows to make in a folder."""
    operators = {name: get_operator(name) for name in operator_names() if not UNNOTICED.match(name)}
    usable = {name: operator() for name, operator in operators.items() if not operator.arguments()}
    for path in sorted(Path(source).rglob("*.py")):
        nodes = list(ast_nodes(get_ast(path.read_text("utf-8"))))
        for name, operator in sorted(usable.items()):
            places = [start for node in nodes for start, _ in operator.mutation_positions(node)]
            for occurrence, (line, _) in enumerate(places):
                yield Mutant(str(path), line, name, occurrence)


def survived(mutant: Mutant, reach: Reach) -> list[str] | None:
    """Make the change, run what reaches it and undo it; the change as a diff where no test failed."""
    path = Path(mutant.file)
    code = path.read_text("utf-8")
    changed = mutate_code(code, get_operator(mutant.operator)(), mutant.occurrence)
    path.write_text(changed, encoding="utf-8")
    try:
        tests = reach.of(mutant)
        if tests and not passes(tests, [Chosen(tests)], limit_s=60 + 10 * reach.seconds_of(tests)):
            return None
    finally:
        path.write_text(code, encoding="utf-8")
    return list(difflib.unified_diff(code.splitlines(), changed.splitlines(), lineterm="", n=1))


@dataclass(frozen=True)
class Reach:
    """Which tests run which lines, and how long each takes."""

    tests: dict[str, dict[int, list[str]]]
    seconds: dict[str, float]

    @classmethod
    def measured(cls, room: Room) -> Reach:
        """Run a room's tests once, unchanged."""
        data, times = Path("reach.coverage").absolute(), Path("times.json").absolute()
        os.environ["COVERAGE_FILE"] = str(data)
        options = [f"--cov={room.source}", "--cov-context=test", "--cov-report="]
        if not passes(room.tests, [Timed(times)], limit_s=3000, options=options):
            raise SystemExit(f"the tests of {room.source} fail without any mutant")
        measured = CoverageData(str(data))
        measured.read()
        tests = {}
        for path in measured.measured_files():
            lines = measured.contexts_by_lineno(path)
            tests[os.path.relpath(path)] = {line: sorted(map(test_of, all_)) for line, all_ in lines.items()}
        return cls(tests, json.loads(times.read_text("utf-8")))

    def of(self, mutant: Mutant) -> list[str]:
        """The tests that reach a mutant's line, quickest first.

        A line that only an import runs is reached by all tests of its file, and by those that look at the
        code and run nothing of it. A line that Python does not count belongs to the one above.
        """
        lines = self.tests.get(mutant.file, {})
        counted = max((line for line in lines if line <= mutant.line), default=0)
        found = set(lines.get(counted, []))
        if not found or "" in found:
            found = {test for tests in lines.values() for test in tests} | self.looking
        return sorted(found - {""}, key=lambda test: (self.seconds.get(test, 0.0), test))

    @functools.cached_property
    def looking(self) -> set[str]:
        """The tests that reach no line of the room."""
        reaching = {test for lines in self.tests.values() for tests in lines.values() for test in tests}
        return self.seconds.keys() - reaching

    def seconds_of(self, tests: list[str]) -> float:
        """What these take together."""
        return sum(self.seconds.get(test, 0.0) for test in tests)


def test_of(context: str) -> str:
    """`path::test|call` without the phase; nothing of what an import ran."""
    return context.rpartition("|")[0]


class Timed:
    """Writes how long each test took, with what it sets up."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration

    def pytest_sessionfinish(self) -> None:
        self.output.write_text(json.dumps(self.seconds))


class Chosen:
    """Runs the tests chosen, in their order."""

    def __init__(self, tests: Collection[str]) -> None:
        self.order = {test: index for index, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((i for i in items if i.nodeid in self.order), key=lambda i: self.order[i.nodeid])


class Repeatable:
    """The same examples each time, and none made smaller: that a test fails is all that is asked."""

    def pytest_configure(self) -> None:
        phases = (Phase.explicit, Phase.generate)
        settings.register_profile(
            "mutants", settings.get_profile("patient"), phases=phases, derandomize=True, database=None
        )
        settings.load_profile("mutants")


def passes(tests: list[str], plugins: list[object], limit_s: float, options: Collection[str] = ()) -> bool:
    """Whether the tests pass in a fork of this process, which may take so many seconds of a processor."""
    files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
    writes_bytecode = bool(options)
    child = os.fork()
    if not child:
        try:
            os.setsid()
            with open(os.devnull, "w", encoding="utf-8") as nowhere:
                os.dup2(nowhere.fileno(), 1)
                os.dup2(nowhere.fileno(), 2)
            resource.setrlimit(resource.RLIMIT_CPU, (int(limit_s), int(limit_s) + 1))
            sys.dont_write_bytecode = not writes_bytecode
            quick = ["-q", "-x", "-p", "no:cacheprovider", "-m", "not slow and not nightly"]
            os._exit(pytest.main([*quick, *options, *files], [Repeatable(), *plugins]))
        finally:
            os._exit(70)
    ended, _, _ = select.select([os.pidfd_open(child)], [], [], 10 * limit_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    # 2 and 4: what tests, or their conftest, import fails; 5: nothing was left to run
    if ended and code not in (0, 1, 2, 4, 5, -signal.SIGXCPU, -signal.SIGKILL):
        raise SystemExit(f"pytest ended with {code} for {' '.join(files)}")
    return code in (0, 5)


if __name__ == "__main__":
    os.nice(10)
    sys.exit(main())
