"""Where the command `acclimate-device` begins: with the standard library alone, to say what is missing."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the agent's command; 2 where this installation has no agent."""
    try:
        from acclimate_device.agent.main import main as run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "acclimate_device":
            raise
        hint = "pip install 'acclimate-device[gateway]'"
        print(f"acclimate-device needs {error.name!r}, which is not installed: {hint}", file=sys.stderr)
        return 2
    return run()
