from datetime import UTC, datetime

import pytest

from acclimate.errors import RegistryError
from acclimate.registry.versions import VersionInfo, choose


def version(number: int, content_hash: str, *aliases: str) -> VersionInfo:
    return VersionInfo("watch", number, content_hash, aliases, "run", "m-1", datetime(2026, 1, 1, tzinfo=UTC))


VERSIONS = [version(2, "bb" * 32, "candidate"), version(1, "aa" * 32, "champion")]


@pytest.mark.parametrize(
    ("ref", "number"),
    [("1", 1), ("v2", 2), ("candidate", 2), ("champion", 1), ("latest", 2), ("aaaaaaaa", 1), ("bb" * 32, 2)],
)
def test_a_version_is_found_by_number_alias_or_hash(ref: str, number: int) -> None:
    assert choose("watch", ref, VERSIONS, "here").version == number


@pytest.mark.parametrize("ref", ["3", "aaaa", "staging", ""])
def test_an_unknown_reference_lists_what_there_is(ref: str) -> None:
    with pytest.raises(RegistryError, match="versions 1 to 2, aliases candidate, champion"):
        choose("watch", ref, VERSIONS, "here")


def test_an_empty_registry_says_what_to_do() -> None:
    with pytest.raises(RegistryError, match=r"registered in sqlite:///x\.db: train one"):
        choose("watch", "candidate", [], "sqlite:///x.db")
