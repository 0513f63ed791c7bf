"""`python -m acclimate_device.protocol DIR` writes the JSON schema of every message into DIR."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from acclimate_device.protocol import MESSAGES, json_schema


def schema_files() -> dict[str, str]:
    """The text of each schema file by name."""
    return {
        f"{message.__name__}.v1.json": json.dumps(json_schema(message), indent=1) + "\n"
        for message in MESSAGES
    }


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m acclimate_device.protocol FOLDER")
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in schema_files().items():
        (directory / name).write_text(text)


if __name__ == "__main__":
    main()
