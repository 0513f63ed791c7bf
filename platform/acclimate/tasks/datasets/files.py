"""Find the files of a named data set: in a data directory, else downloaded from the publisher."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acclimate.errors import DataError
from acclimate.tasks.building.build import Progress
from acclimate.tasks.datasets.download import Download, fetch


@dataclass(frozen=True)
class Files:
    """Where to look.

    Attributes:
        data_dir: a folder with the files, or with a folder of them for each data set; None looks at
            `ACCLIMATE_DATA_DIR`.
        downloads: where downloaded files are kept.
        progress: told about downloads.
    """

    data_dir: Path | None
    downloads: Path
    progress: Progress

    def find(
        self, folders: Sequence[str], forms: Sequence[Sequence[str]], published: Sequence[Download]
    ) -> list[Path]:
        """The files of the first of the `forms` that is there whole.

        Args:
            folders: names that the data set's own folder may have.
            forms: the file names of each form that the data set comes in, the preferred one first.
            published: what to download if none is there.

        Raises:
            DataError: the data directory does not exist, or a download fails.
        """
        places = [root / folder for root in self._roots() for folder in ("", *folders)]
        for form in forms:
            for place in places:
                paths = [place / name for name in form]
                if all(path.is_file() for path in paths):
                    return paths
        return [fetch(one, self.downloads, self.progress) for one in published]

    def _roots(self) -> list[Path]:
        given = self.data_dir or os.environ.get("ACCLIMATE_DATA_DIR")
        if not given:
            return []
        if not Path(given).is_dir():
            raise DataError(
                f"the data directory {given} does not exist: correct ACCLIMATE_DATA_DIR or --data-dir"
            )
        return [Path(given)]


def fingerprint(paths: Sequence[Path], options: Mapping[str, Any], reader: int) -> str:
    """Changes with the files (name, size, time of change), the options, and the version of their reader."""
    marks = [[path.name, (stat := path.stat()).st_size, stat.st_mtime_ns] for path in paths]
    return hashlib.sha256(json.dumps([marks, options, reader], sort_keys=True).encode()).hexdigest()
