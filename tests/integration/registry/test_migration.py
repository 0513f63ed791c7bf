"""MLflow's schema: made once, by whichever process is first, and brought up to date where it is older."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import sqlalchemy
from mlflow.store.db import utils
from mlflow.store.tracking.dbmodels.initial_models import Base as InitialBase

from acclimate.errors import RegistryError
from acclimate.registry import Registry
from acclimate.registry.migration import migrate
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.slow
FIRST = "from acclimate.registry import Registry; Registry.open()"


def test_two_first_processes_of_a_fresh_folder_both_find_a_whole_store(tmp_path: Path) -> None:
    environment = {name: text for name, text in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment |= {"ACCLIMATE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    folders = [Path(tempfile.mkdtemp(dir=tmp_path)) for _ in range(2)]
    started = [
        # Folders for temporary files of their own, as two containers have: MLflow's own lock lies there.
        subprocess.Popen(
            [sys.executable, "-c", FIRST],
            env=environment | {"TMPDIR": str(folder)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for folder in folders
    ]
    said = [process.communicate(timeout=240)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], said


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_store_of_an_older_mlflow_is_brought_up_to_date(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    if kind == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        uri = server.new_database()
    engine = sqlalchemy.create_engine(uri)
    InitialBase.metadata.create_all(engine)  # as the first MLflow left it
    engine.dispose()
    assert migrate(uri)
    assert not migrate(uri), "there is nothing left to do"
    assert Registry.open(uri).runs() == []


def test_a_store_of_a_newer_mlflow_is_left_as_it_is(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    migrate(uri)
    engine = sqlalchemy.create_engine(uri)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = 'f00dfacef00d'"))
    with pytest.raises(RegistryError, match="newer MLflow"):
        migrate(uri)
    assert utils._get_schema_version(engine) == "f00dfacef00d"


def test_a_first_process_that_is_killed_leaves_nothing_half_made(tmp_path: Path, monkeypatch) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with monkeypatch.context() as patch:
        patch.setattr(utils, "_upgrade_db", lambda engine: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            migrate(uri)
    assert sqlalchemy.inspect(sqlalchemy.create_engine(uri)).get_table_names() == []
    assert migrate(uri)
