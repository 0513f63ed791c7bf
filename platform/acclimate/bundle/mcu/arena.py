"""Places in one arena for everything that calls write: buffers whose lives do not overlap share memory."""

from __future__ import annotations

from acclimate.bundle.mcu.graph import Buffer, Program


def plan(program: Program) -> tuple[dict[Buffer, int], int]:
    """The place of each buffer in floats, and the arena's size.

    A result is written over an operand that nobody reads later, where the kernel allows that. Then the
    largest buffers are placed first, each at the lowest place that is free for as long as it lives.
    """
    lives = _lives(program)
    merged: dict[Buffer, Buffer] = {}

    def root(buffer: Buffer) -> Buffer:
        while buffer in merged:
            buffer = merged[buffer]
        return buffer

    for time, call in enumerate(program.calls):
        over, out = call.over, call.writes.buffer
        if over is None or over not in lives or out.size != over.size:
            continue
        first, last = lives[root(over)]
        if last == time and out in lives and lives[out][0] == time and root(over) is not out:
            merged[out] = root(over)
            lives[root(over)] = (first, lives[out][1])
    placed: dict[Buffer, int] = {}
    roots = [buffer for buffer in lives if buffer not in merged]
    for buffer in sorted(roots, key=lambda each: -each.size):
        first, last = lives[buffer]
        busy = sorted(
            (placed[other], placed[other] + other.size)
            for other in placed
            if not (lives[other][1] < first or lives[other][0] > last)
        )
        at = 0
        for low, high in busy:
            if at + buffer.size <= low:
                break
            at = max(at, high)
        placed[buffer] = at
    size = max((at + buffer.size for buffer, at in placed.items()), default=1)
    return {buffer: placed[root(buffer)] for buffer in lives}, size


def _lives(program: Program) -> dict[Buffer, tuple[int, int]]:
    """The first and the last call that touches each buffer which calls write; outputs live to the end."""
    lives: dict[Buffer, tuple[int, int]] = {}
    for time, call in enumerate(program.calls):
        for view in (call.writes, *call.reads):
            if not view.buffer.base:
                lives[view.buffer] = (lives.get(view.buffer, (time, time))[0], time)
    for view in program.outputs.values():
        lives[view.buffer] = (lives[view.buffer][0], len(program.calls))
    return lives
