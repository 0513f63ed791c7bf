"""What a version of an initialization is, and how people refer to one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from acclimate.errors import RegistryError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CONTENT_HASH_TAG = "content_hash"
_SHORTEST_HASH = 8


@dataclass(frozen=True)
class VersionInfo:
    """A registered version; immutable but for its aliases and tags.

    Attributes:
        name: the registered model.
        version: 1, 2, 3 ... within the name.
        content_hash: of the initialization, see `Initialization.content_hash`.
        aliases: names that point here now.
        run_id: the MLflow run that made it.
        model_id: the LoggedModel that holds the files.
        created: when it was registered, UTC.
        tags: lineage (`recipe_hash`, `data_hash`, `parent_version`, ...) and whatever was written back.
    """

    name: str
    version: int
    content_hash: str
    aliases: tuple[str, ...]
    run_id: str
    model_id: str
    created: datetime
    tags: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(version: ModelVersion) -> VersionInfo:
        """Read MLflow's record."""
        return VersionInfo(
            name=version.name,
            version=int(version.version),
            content_hash=version.tags.get(CONTENT_HASH_TAG, ""),
            aliases=tuple(sorted(version.aliases)),
            run_id=version.run_id or "",
            # MLflow leaves `model_id` empty on versions made from a LoggedModel: the source names it
            model_id=version.model_id or version.source.removeprefix("models:/"),
            created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
            tags=dict(version.tags),
        )


def choose(name: str, ref: str, versions: Sequence[VersionInfo], where: str) -> VersionInfo:
    """The version that `ref` means: a number (`3`, `v3`), an alias, `latest`, or a content hash (8+ digits).

    Args:
        where: the store, as a person is told of it.

    Raises:
        RegistryError: there is none; the message lists what there is.
    """
    if not versions:
        raise RegistryError(
            f"no version of {name!r} is registered in {where}: train one, or see `acclimate versions`"
        )
    if ref == "latest":
        return max(versions, key=lambda version: version.version)
    number = re.fullmatch(r"v?(\d{1,7})", ref)
    for version in versions:
        if ref in version.aliases or (number and version.version == int(number[1])):
            return version
        if len(ref) >= _SHORTEST_HASH and version.content_hash.startswith(ref):
            return version
    aliases = sorted({alias for version in versions for alias in version.aliases})
    numbers = sorted(version.version for version in versions)
    raise RegistryError(
        f"{name!r} has no version or alias {ref!r}: versions {numbers[0]} to {numbers[-1]}, "
        f"aliases {', '.join(aliases) or 'none'}"
    )
