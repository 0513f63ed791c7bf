"""The command `pump-monitor`: lines from standard input or a file, predictions to standard output."""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TextIO

from acclimate_device import Device, DeviceError
from pump_monitor.monitor import Monitor

_READ = argparse.FileType(encoding="utf-8", errors="replace")


def main(arguments: list[str] | None = None) -> int:
    """Run until the lines end or SIGTERM; 0, 1 where nobody reads on, 2 where the device cannot be opened."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # a line of garbage is told and skipped
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, _stop)
    try:
        with options.lines as lines, Device.open(options.bundle, state=options.state) as device:
            _run(device, lines)
    except DeviceError as error:
        print(f"pump-monitor: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0  # leaving the `with` block saved what was learnt
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the exit flushes to nowhere
        return 1
    return 0


def _run(device: Device, lines: TextIO) -> None:
    for message in Monitor(device).run(lines):
        print(json.dumps(message), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pump-monitor", description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the bundle it was shipped with")
    parser.add_argument("--state", type=Path, required=True, help="folder shared with acclimate-device")
    parser.add_argument("lines", nargs="?", type=_READ, default=sys.stdin, metavar="FILE")
    return parser


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
