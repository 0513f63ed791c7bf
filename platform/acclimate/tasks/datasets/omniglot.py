"""Omniglot: 1,623 handwritten characters of 50 alphabets, each by 20 people.

B. M. Lake, R. Salakhutdinov, J. B. Tenenbaum (2015), Human-level concept learning through probabilistic
program induction, Science 350(6266). MIT licence. A task of the pool is one character, so an episode joins
`ways` of them (`EpisodePlan.ways`).
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from acclimate.errors import DataError
from acclimate.tasks.datasets.download import Download
from acclimate.tasks.datasets.files import Files, fingerprint
from acclimate.tasks.recordings import RecordingSchema
from acclimate.tasks.sources import Source, as_table, deferred

_BASE = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
PUBLISHED = (
    Download(
        f"{_BASE}images_background.zip", "images_background.zip", "md5:68d2efa1b9178cc56df9314c21c6e718"
    ),
    Download(
        f"{_BASE}images_evaluation.zip", "images_evaluation.zip", "md5:6b91aef0f799c5bb55b94e3f2daec811"
    ),
)
FORMS = (("omniglot28_bits.npz",), ("images_background.zip", "images_evaluation.zip"))
SIDE = 28
PARTS = ("background", "evaluation")
READER = 1
# A pixel of 28 x 28 is ink if a quarter of the box it covers is.
INK = 64

Images = npt.NDArray[np.uint8]


def load(
    files: Files, *, rotations: bool = False, part: Literal["all", "background", "evaluation"] = "all"
) -> tuple[Source, RecordingSchema]:
    """28 x 28 images, ink 1 and paper 0.

    Args:
        rotations: each character turned by 90, 180 and 270 degrees counts as three further classes, as in the
            MAML paper; all four are one group, so a split holds them out together.
        part: the publisher's background or evaluation alphabets only.
    """
    if part not in ("all", *PARTS):
        raise DataError(f"part is {part!r}: it must be 'all', 'background' or 'evaluation'")
    paths = files.find(("omniglot",), FORMS, PUBLISHED)
    mark = fingerprint(paths, {"rotations": rotations, "part": part}, READER)
    source = deferred("omniglot", mark, lambda: _characters(read(paths), rotations, part))
    return source, RecordingSchema(
        kind="classification",
        task="class",
        group="character",
        channels=("ink",),
        image_shape=(1, SIDE, SIDE),
    )


def read(paths: list[Path]) -> tuple[list[str], Images]:
    """The character of each image as `part/Alphabet/characterNN`, and the images (images, 28, 28)."""
    return _read_bits(paths[0]) if paths[0].suffix == ".npz" else _read_archives(paths)


def _read_bits(path: Path) -> tuple[list[str], Images]:
    with np.load(path, allow_pickle=False) as file:
        images = np.unpackbits(file["bits"], axis=1)[:, : SIDE * SIDE].reshape(-1, SIDE, SIDE)
        alphabets = file["alphabets"]
        names = [
            f"{PARTS[part]}/{alphabets[alphabet]}/character{character:02d}"
            for part, alphabet, character in zip(
                file["split"], file["alphabet_id"], file["character"], strict=True
            )
        ]
    return names, images


def _read_archives(paths: list[Path]) -> tuple[list[str], Images]:
    names, images = [], []
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            for entry in sorted(archive.namelist()):
                match = re.fullmatch(r"images_(\w+)/([^/]+)/(character\d+)/[^/]+\.png", entry)
                if match:
                    names.append("/".join(match.groups()))
                    images.append(_shrink(archive.read(entry)))
    if not images:
        raise DataError(f"{paths[0]} has no images_*/Alphabet/characterNN/*.png: fetch it again")
    return names, np.stack(images)


def _shrink(png: bytes) -> Images:
    """105 x 105, ink black, to 28 x 28, ink 1."""
    ink = Image.open(io.BytesIO(png)).convert("L").point(lambda value: 0 if value else 255)
    small = ink.resize((SIDE, SIDE), Image.Resampling.BOX)
    return (np.asarray(small) >= INK).astype(np.uint8)


def _characters(data: tuple[list[str], Images], rotations: bool, part: str) -> Any:
    names, images = data
    kept = np.array([part == "all" or name.startswith(part) for name in names])
    characters, images = np.array(names)[kept], images[kept]
    turns = range(4 if rotations else 1)
    classes = [characters if turn == 0 else np.char.add(characters, f"@{90 * turn}") for turn in turns]
    columns = {
        "class": np.concatenate(classes),
        "character": np.concatenate([characters] * len(turns)),
        "ink": np.concatenate([np.rot90(images, turn, axes=(1, 2)) for turn in turns]),
    }
    return as_table(columns, "omniglot")
