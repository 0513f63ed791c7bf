"""What every command has in common, read off the commands themselves."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from acclimate.cli import output
from acclimate.cli.main import cli
from acclimate.cli.moments import token_state
from acclimate.cli.options import LocalPath
from acclimate.errors import AcclimateError
from acclimate.references import split_reference

# These stay open, or show pages or a log: there is no answer that a script could read.
WITHOUT_JSON = {"acclimate bridge", "acclimate demo", "acclimate ui", "acclimate jobs logs"}


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


EVERY = dict(commands(cli, "acclimate"))


def options(command: click.Command) -> set[str]:
    return {name for one in command.params if isinstance(one, click.Option) for name in one.opts}


def test_every_command_answers_scripts():
    assert {path for path, command in EVERY.items() if "--json" not in options(command)} == WITHOUT_JSON


def test_what_is_written_is_named_by_one_option():
    for path, command in EVERY.items():
        assert not options(command) & {"--out", "--out-file", "--to"}, path


def test_no_help_names_another_notation_for_a_version():
    for path, command in EVERY.items():
        text = command.get_help(click.Context(command, info_name=path))
        assert "NAME:VERSION" not in text, path
        assert " REF " not in f" {' '.join(command.collect_usage_pieces(click.Context(command)))} ", path


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("watch", ("watch", "")),
        ("watch@3", ("watch", "3")),
        ("watch@champion", ("watch", "champion")),
        ("watch:3", ("watch", "3")),
        ("gas-drift@latest", ("gas-drift", "latest")),
    ],
)
def test_a_version_has_one_notation_and_the_older_one_is_read(text, meant):
    assert split_reference(text) == meant


@pytest.mark.parametrize("text", ["", "@3", "watch@", "watch:champion", "watch 3", "a/b@1", "watch@1\n"])
def test_what_is_no_reference_is_refused(text):
    with pytest.raises(AcclimateError, match="NAME@REF"):
        split_reference(text)


def test_what_is_piped_is_whole_and_one_line_a_row(capsys):
    identity = "r-" + "0123456789abcdef" * 20
    output.print_table("Rollouts", ["id", "devices", "reason"], [(identity, 7, None), ("r-1", 12, "why [x]")])
    title, header, first, second = capsys.readouterr().out.splitlines()
    assert title == "Rollouts"
    assert header.split() == ["id", "devices", "reason"]
    assert first.split() == [identity, "7", "-"]
    assert second.split() == ["r-1", "12", "why", "[x]"]


def test_a_terminal_folds_what_is_long(monkeypatch, capsys):
    monkeypatch.setattr(output, "out", Console(width=40, force_terminal=True, no_color=True))
    identity = "0123456789" * 9
    output.print_table("Rollouts", ["id", "state"], [(identity, "done")])
    shown = capsys.readouterr().out
    assert "…" not in shown
    digits = "".join(line.split("│")[1].strip() for line in shown.splitlines() if "│" in line)
    assert identity in digits


def test_what_is_said_is_neither_markup_nor_broken(monkeypatch, capsys):
    for name, print_it in (("out", output.say), ("err", output.note)):
        narrow = Console(width=20, force_terminal=True, no_color=True, stderr=name == "err")
        monkeypatch.setattr(output, name, narrow)
        print_it("[red]12[/] of /a/folder/whose name is [long]")
        said = capsys.readouterr()
        assert (said.out or said.err) == "[red]12[/] of /a/folder/whose name is [long]\n"


def test_every_line_of_a_command_is_said_so():
    for path in Path(output.__file__).parent.glob("*.py"):
        assert not re.search(r"\b(out|err)\.print\(\s*f?\"", path.read_text("utf-8")), path


def test_a_hint_repeats_what_a_person_gave_and_nothing_else():
    @click.command()
    @click.option("--tracking-uri")
    @click.option("--host", envvar="X_HOST")
    @click.option("--set", "changes", multiple=True)
    @click.option("--range", "low_high", type=(float, float), default=(0.0, 1.0))
    def command(**given: object) -> None:
        output.next_step("acclimate ui", "look", ["tracking_uri", "host", "changes", "low_high"])

    given = ["--tracking-uri", "sqlite:///a b.db", "--set", "a=1", "--set", "b=2", "--range", "0.1", "0.5"]
    said = CliRunner().invoke(command, given, env={"X_HOST": "h"})
    assert (
        "acclimate ui --tracking-uri 'sqlite:///a b.db' --set a=1 --set b=2 --range 0.1 0.5  #" in said.stderr
    )


def test_what_overflowed_is_null_to_a_script(capsys):
    output.print_json({"best": {"loss": float("inf")}, "trials": (float("nan"), 1.0)})
    assert json.loads(capsys.readouterr().out) == {"best": {"loss": None}, "trials": [None, 1.0]}


@pytest.mark.parametrize(
    ("token", "state"),
    [
        ({"revoked_at": None, "expires_at": None}, "valid"),
        ({"revoked_at": None, "expires_at": 11.0}, "valid"),
        ({"revoked_at": None, "expires_at": 10.0}, "expired"),
        ({"revoked_at": 5.0, "expires_at": 10.0}, "revoked"),
        ({"revoked_at": None, "expires_at": None, "used": 3, "quota": 3}, "used up"),
    ],
)
def test_a_token_says_whether_it_lets_anybody_in(token, state):
    assert token_state(token, 10.0) == state


def test_keys_of_a_recipe_are_all_told():
    said = CliRunner().invoke(cli, ["recipes", "--keys", "--json"])
    keys = {row["key"] for row in json.loads(said.stdout)}
    assert {"seed", "training.optimizer.lr", "data.recordings.window", "data.recordings.missing"} <= keys
    assert len(CliRunner().invoke(cli, ["recipes", "--keys"]).stdout.splitlines()) == len(keys) + 2


def test_every_path_is_of_this_machine_and_given():
    for path, command in EVERY.items():
        for one in command.params:
            assert isinstance(one.type, LocalPath) or not isinstance(one.type, click.Path), (path, one.name)


@pytest.mark.parametrize(
    ("given", "why"), [("http://x", "'http://x' is a URL"), ("s3://bucket/repo", "is a URL"), ("", "nothing")]
)
def test_no_folder_is_made_of_a_url_or_nothing(tmp_path, monkeypatch, given, why):
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(cli, ["repo", "init", given, "--keys", "keys", "--unencrypted"])
    assert (told.exit_code, why in told.output) == (2, True), told.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["init", "data report"])
def test_no_data_are_not_the_current_folder(pumps, command):
    pumps.to_csv("pumps.csv")
    with pytest.raises(AcclimateError, match=r"no recordings are named|'' is neither"):
        cli([*command.split(), ""], standalone_mode=False)


@pytest.mark.parametrize(
    "asked",
    [
        {"_ACCLIMATE_COMPLETE": "bash_complete", "COMP_WORDS": "acclimate tr", "COMP_CWORD": "one"},
        {"_ACCLIMATE_COMPLETE": "bash_complete"},
        {"_ACCLIMATE_COMPLETE": "fish_complete", "COMP_WORDS": "acclimate", "COMP_CWORD": " "},
    ],
    ids=["no number", "nothing", "a blank"],
)
def test_a_shell_that_asks_wrongly_for_words_leaves_the_line_as_it_is(asked):
    command = Path(sys.executable).with_name("acclimate")
    told = subprocess.run([command], env={**os.environ, **asked}, capture_output=True, text=True)
    assert (told.returncode, told.stdout, told.stderr) == (1, "", "")
