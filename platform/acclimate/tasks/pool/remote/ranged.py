"""An array of which only the rows that are asked for are here: the pool's own files, read by range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from acclimate.tasks.pool.remote.blocks import DIGEST_BYTES, IN_MEMORY, Block, Blocks

Integers = npt.NDArray[np.int64]
BLOCK_BYTES = 1 << 20  # part of the format of a stored pool: digests are of blocks


def block_rows(row_bytes: int) -> int:
    """Whole rows of a block."""
    return max(1, BLOCK_BYTES // row_bytes)


@dataclass(frozen=True, eq=False)
class Piece:
    """The rows of one shard.

    Attributes:
        path: of the object.
        offset: bytes before its first row.
        rows: how many.
        digests: of its blocks, `(blocks, DIGEST_BYTES)` uint8.
        plus: what is added to every value: the rows of earlier shards, where values are row numbers.
    """

    path: str
    offset: int
    rows: int
    digests: npt.NDArray[np.uint8]
    plus: int = 0


@dataclass(frozen=True, eq=False)
class Ranged:
    """Rows of all pieces one after the other, as a numpy array would give them by its first axis.

    Attributes:
        row_shape: of one row, () for numbers.
    """

    blocks: Blocks
    dtype: np.dtype[Any]
    row_shape: tuple[int, ...]
    pieces: Sequence[Piece]

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(piece.rows for piece in self.pieces), *self.row_shape)

    @property
    def ndim(self) -> int:
        return 1 + len(self.row_shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[:], dtype)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            begin, end, step = key.indices(len(self))
            if step == 1:
                return self._stretch(begin, max(begin, end))
            return self._rows(np.arange(begin, end, step))
        rows = np.asarray(key)
        if rows.dtype == np.bool_:
            rows = np.flatnonzero(rows)
        return self._rows(rows)

    def fetch(self, first: Integers, last: Integers) -> None:
        """Have the blocks of the rows `first` to `last` (inclusive, pairs) at hand, by as few requests.

        As many of them as are kept in memory: it is for a few episodes.
        """
        begin, end = self._block_of(first.reshape(-1)), self._block_of(last.reshape(-1))
        pairs = np.unique(np.stack([begin, end]), axis=1)
        wanted = np.unique(np.concatenate([np.arange(a, b + 1) for a, b in pairs.T])) if pairs.size else ()
        self.blocks.counts["wanted"] += len(wanted)
        self.blocks.read([self._block(int(number)) for number in wanted[:IN_MEMORY]])

    def _rows(self, rows: Integers) -> npt.NDArray[Any]:
        if rows.size and (int(rows.min()) < -len(self) or int(rows.max()) >= len(self)):
            raise IndexError(f"row {int(rows.max())} of {len(self)}")
        flat = np.where(rows < 0, rows + len(self), rows).reshape(-1)
        found = np.empty((len(flat), *self.row_shape), self.dtype)
        number = self._block_of(flat)
        order = np.argsort(number, kind="stable")
        distinct, first = np.unique(number[order], return_index=True)
        owned = iter(np.split(order, first[1:]))
        for begin, values in self._read(distinct):
            here = next(owned)
            found[here] = values[flat[here] - begin]
        return found.reshape((*rows.shape, *self.row_shape))[()]

    def _stretch(self, begin: int, end: int) -> npt.NDArray[Any]:
        found = np.empty((end - begin, *self.row_shape), self.dtype)
        if end > begin:
            first, last = self._block_of(np.array([begin, end - 1]))
            for start, values in self._read(np.arange(first, last + 1)):
                low, high = max(begin, start), min(end, start + len(values))
                found[low - begin : high - begin] = values[low - start : high - start]
        return found

    def _read(self, numbers: Integers) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """First row and values of some blocks, a few MiB at a time."""
        for group in np.array_split(numbers, -(-len(numbers) // 16)) if len(numbers) else ():
            wanted = [self._block(int(number)) for number in group]
            contents = self.blocks.read(wanted)
            for number, block in zip(group.tolist(), wanted, strict=True):
                values = np.frombuffer(contents[block.digest], self.dtype).reshape(-1, *self.row_shape)
                plus = self.pieces[int(self._table[1][number])].plus
                yield int(self._table[0][number]), values + plus if plus else values

    def _block_of(self, rows: Integers) -> Integers:
        return np.searchsorted(self._table[0], rows, side="right") - 1

    def _block(self, number: int) -> Block:
        piece_number = int(self._table[1][number])
        piece = self.pieces[piece_number]
        within = number - int(self._table[2][piece_number])
        row_bytes = self._row_bytes
        each = block_rows(row_bytes)
        begin = piece.offset + within * each * row_bytes
        end = piece.offset + min((within + 1) * each, piece.rows) * row_bytes
        return Block(piece.path, begin, end, piece.digests[within].tobytes())

    @property
    def _row_bytes(self) -> int:
        return int(self.dtype.itemsize * np.prod(self.row_shape, dtype=np.int64))

    @cached_property
    def _table(self) -> tuple[Integers, Integers, Integers]:
        """First row and piece of each block, and first block of each piece."""
        each = block_rows(self._row_bytes)
        firsts, owners, begins, row = [], [], [0], 0
        for number, piece in enumerate(self.pieces):
            assert piece.digests.shape == (-(-piece.rows // each), DIGEST_BYTES)
            firsts.append(row + each * np.arange(len(piece.digests)))
            owners.append(np.full(len(piece.digests), number))
            begins.append(begins[-1] + len(piece.digests))
            row += piece.rows
        return np.concatenate(firsts), np.concatenate(owners), np.array(begins)


def fetched(array: Any, first: Integers, last: Integers) -> None:
    """Before many reads of an array: where it lies far away, all that they need comes at once."""
    if isinstance(array, Ranged):
        array.fetch(first, last)
