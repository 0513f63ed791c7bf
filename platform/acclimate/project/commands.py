"""The five commands from a fresh folder to a first result, and what each prints when it went well."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One step.

    Attributes:
        line: as typed in the folder; `NAME` stands for the project's name.
        why: what it is for.
        expect: something that its output holds.
    """

    line: str
    why: str
    expect: str

    def of(self, name: str) -> str:
        """The command of a project."""
        return self.line.replace("NAME", name)

    def promise(self, name: str) -> str:
        """Something that its output holds."""
        return self.expect.replace("NAME", name)


COMMANDS = (
    Command("acclimate data report recipe.yaml", "are the recordings fit to train on", "No defect found."),
    Command(
        "acclimate train recipe.yaml --workers 0 --candidate",
        "meta-train a start, judge it on devices it never saw, register it",
        "Registered NAME version 1",
    ),
    Command("acclimate versions NAME", "what was registered", "candidate"),
    Command("acclimate export NAME -o bundle", "what a device receives", "bundle"),
    Command("python device.py", "a device that adapts to itself, label by label", "after adapting"),
)
