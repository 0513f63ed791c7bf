"""Record runs; register, fetch and alias versions."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.addresses import without_password
from acclimate.errors import ModelError, RegistryError
from acclimate.nearest import did_you_mean
from acclimate.registry.client import as_default, connect, translated
from acclimate.registry.keys import as_keys
from acclimate.registry.location import StoreLocation, locate
from acclimate.registry.runs import RunInfo, RunRecorder
from acclimate.registry.versions import CONTENT_HASH_TAG, VersionInfo, choose

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from acclimate.initialization import Initialization

CANDIDATE = "candidate"
MODEL_TYPE = "initialization"
EVALUATION_FILE = "evaluation.json"


@dataclass(frozen=True)
class Registry:
    """A connected store; make it with `Registry.open`."""

    location: StoreLocation
    client: MlflowClient

    @staticmethod
    def open(tracking_uri: str | None = None) -> Registry:
        """Connect to `tracking_uri`, else `MLFLOW_TRACKING_URI`, else the embedded store.

        Raises:
            RegistryError: the URI is unusable or nothing answers there.
        """
        location = locate(tracking_uri)
        return Registry(location, connect(location))

    @property
    def where(self) -> str:
        """The store's address, as it may be printed."""
        return without_password(self.location.tracking_uri)

    def start_run(self, experiment: str, name: str, tags: Mapping[str, str]) -> RunRecorder:
        """Begin a run; the experiment is created if missing."""
        with translated(self.location):
            run = self.client.create_run(self.experiment_id(experiment), tags=dict(tags), run_name=name)
        return RunRecorder(self.client, self.location, run.info.run_id)

    def continue_run(self, run_id: str) -> RunRecorder:
        """Write to a run begun earlier, which counts as running again."""
        with translated(self.location):
            self.client.update_run(run_id, status="RUNNING")
        return RunRecorder(self.client, self.location, run_id)

    def runs(self, experiment: str | None = None, limit: int = 20) -> list[RunInfo]:
        """The newest runs, of one experiment or of all."""
        with translated(self.location):
            names = {each.experiment_id: each.name for each in self.client.search_experiments()}
            wanted = [key for key, name in names.items() if experiment in (None, name)]
            if not wanted:
                known = sorted(names.values())
                hint = did_you_mean(str(experiment), known, f"there are {', '.join(known) or 'none'}")
                raise RegistryError(f"no experiment {experiment!r} is recorded: {hint}")
            found = self.client.search_runs(wanted, max_results=limit, order_by=["start_time DESC"])
        return [RunInfo.of(run, names[run.info.experiment_id]) for run in found]

    def download_run(self, run_id: str, folder: Path) -> Path:
        """Download a run's files into `folder`, which is returned."""
        with translated(self.location):
            return Path(self.client.download_artifacts(run_id, "", str(folder)))

    def experiment_id(self, name: str) -> str:
        """The experiment's id; created if missing."""
        existing = self.client.get_experiment_by_name(name)
        if existing is not None:
            return str(existing.experiment_id)
        root = self.location.artifact_root
        location = None if root is None else str(Path(root) / name)
        return str(self.client.create_experiment(name, artifact_location=location))

    def register(
        self,
        name: str,
        initialization: Initialization,
        *,
        experiment: str,
        run_id: str,
        evaluation: Mapping[str, Any],
        files: Mapping[str, str],
        lineage: Mapping[str, str],
        metrics: Mapping[str, float],
        alias: str | None = CANDIDATE,
    ) -> VersionInfo:
        """Register an initialization as the next version of `name` and point `alias` at it, if any.

        All or nothing: the version appears, complete and tagged, only after its files are stored, and is
        taken back if the alias cannot be set. Registering the same content from the same run again returns
        the version that is already there.

        Args:
            experiment: the experiment of the run.
            run_id: the run that made it.
            evaluation: adaptation curves on held-out tasks, kept as `evaluation.json`.
            files: further text files by name, such as the recipe and the data report.
            lineage: tags that say where it comes from.
            metrics: figures to show on the model's page.
            alias: None leaves every alias where it points.

        Raises:
            RegistryError: the store refused; nothing is registered.
        """
        content_hash = initialization.content_hash()
        earlier = [
            version
            for version in self.versions(name)
            if version.run_id == run_id and version.content_hash == content_hash
        ]
        if earlier:
            if alias is not None:
                self.set_alias(name, alias, earlier[0].version)
            return self.version(name, str(earlier[0].version))
        tags = {**lineage, CONTENT_HASH_TAG: content_hash}
        with translated(self.location), tempfile.TemporaryDirectory() as folder:
            initialization.save(Path(folder))
            documents = {**files, EVALUATION_FILE: json.dumps(evaluation, indent=2) + "\n"}
            for file_name, text in documents.items():
                (Path(folder) / file_name).write_text(text, "utf-8")
            model_id = self._log_model(name, experiment, run_id, Path(folder), tags)
            for key, value in as_keys(metrics).items():
                self.client.log_metric(run_id, key, value, model_id=model_id)
            version = self._create_version(name, model_id, run_id, tags, alias)
        return self.version(name, str(version))

    def versions(self, name: str | None = None) -> list[VersionInfo]:
        """Every version, of one name or of all: by name, newest first.

        Of all, those are left out that others registered in an MLflow server that is shared.
        """
        chosen = None if name is None else f"name = '{_checked(name)}'"
        with translated(self.location):
            found = _all_pages(lambda token: self.client.search_model_versions(chosen, page_token=token))
            models = _all_pages(lambda token: self.client.search_registered_models(chosen, page_token=token))
        aliases = {model.name: model.aliases for model in models}
        for version in found:  # a search leaves the aliases out
            pointing = aliases.get(version.name, {}).items()
            version.aliases = [alias for alias, number in pointing if int(number) == int(version.version)]
        infos = [
            VersionInfo.of(version)
            for version in found
            if name is not None or CONTENT_HASH_TAG in version.tags
        ]
        return sorted(infos, key=lambda info: (info.name, -info.version))

    def version(self, name: str, ref: str) -> VersionInfo:
        """One version, by number, alias, `latest` or content hash.

        Raises:
            RegistryError: there is no such version.
        """
        return choose(name, ref, self.versions(name), self.where)

    def fetch(self, name: str, ref: str = CANDIDATE) -> tuple[Initialization, VersionInfo]:
        """Download a version and check it against its content hash.

        Raises:
            RegistryError: there is no such version, or its files are not those that were registered.
        """
        from acclimate.initialization import Initialization

        version = self.version(name, ref)
        with self._files(version) as folder:
            initialization = Initialization.load(folder)
        found = initialization.content_hash()
        if found != version.content_hash:
            raise RegistryError(
                f"{name} version {version.version} was registered with content hash "
                f"{version.content_hash[:12]} but its files have {found[:12]}: the artifact store was "
                "changed; do not deploy this version"
            )
        return initialization, version

    def evaluation(self, name: str, ref: str = CANDIDATE) -> dict[str, Any]:
        """The evaluation that was registered with a version, see `acclimate.evaluation`."""
        with self._files(self.version(name, ref)) as folder:
            evaluation = json.loads((folder / EVALUATION_FILE).read_text("utf-8"))
            if not isinstance(evaluation, dict):
                raise ValueError(f"{EVALUATION_FILE} maps no keys to values")
        return evaluation

    def document(self, name: str, ref: str, file_name: str) -> str | None:
        """A text file that was registered with a version, such as `recipe.yaml`; None if there is none."""
        with self._files(self.version(name, ref)) as folder:
            path = folder / file_name
            return path.read_text("utf-8") if path.is_file() else None

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Point an alias at a version."""
        with translated(self.location):
            self.client.set_registered_model_alias(name, alias, str(version))

    def set_tags(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        """Write tags onto a version, such as the result of its rollout."""
        with translated(self.location):
            for key, value in tags.items():
                self.client.set_model_version_tag(name, str(version), key, value)

    def _log_model(
        self, name: str, experiment: str, run_id: str, folder: Path, tags: Mapping[str, str]
    ) -> str:
        model = self.client.create_logged_model(
            self.experiment_id(experiment),
            name=name,
            source_run_id=run_id,
            tags=dict(tags),
            model_type=MODEL_TYPE,
        )
        try:
            self.client.log_model_artifacts(model.model_id, str(folder))
            self.client.finalize_logged_model(model.model_id, "READY")
        except BaseException:
            self.client.delete_logged_model(model.model_id)
            raise
        return str(model.model_id)

    def _create_version(
        self, name: str, model_id: str, run_id: str, tags: Mapping[str, str], alias: str | None
    ) -> int:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        with as_default(self.location):
            version = self.client.create_model_version(
                name, f"models:/{model_id}", run_id, tags=dict(tags), model_id=model_id
            )
        try:
            if alias is not None:
                self.client.set_registered_model_alias(name, alias, version.version)
        except BaseException:
            self.client.delete_model_version(name, version.version)
            raise
        return int(version.version)

    @contextmanager
    def _files(self, version: VersionInfo) -> Iterator[Path]:
        """A folder with the version's files, which somebody may have removed or replaced by hand."""
        with tempfile.TemporaryDirectory() as folder:
            self._download(version, Path(folder))
            try:
                yield Path(folder)
            except (OSError, ValueError, ModelError) as error:
                what = str(error).replace(folder, "its folder")
                raise RegistryError(
                    f"the files of {version.name} version {version.version} in {self.where} are incomplete "
                    f"or damaged ({what}): restore them in MLflow's artifact store, or register it again"
                ) from error

    def _download(self, version: VersionInfo, folder: Path) -> None:
        from mlflow.artifacts import download_artifacts

        uri = self.location.tracking_uri
        with translated(self.location), as_default(self.location):
            download_artifacts(
                f"models:/{version.name}/{version.version}",
                dst_path=str(folder),
                tracking_uri=uri,
                registry_uri=uri,
            )
            if not any(folder.iterdir()):  # MLflow copies what a local folder holds, and that may be nothing
                place = self.client.get_logged_model(version.model_id).artifact_location
                raise RegistryError(
                    f"the files of {version.name} version {version.version} are not at {place}, where "
                    f"{self.where} has them: if the folder was moved, move it back or link it"
                )


def _all_pages(search: Callable[[str | None], Any]) -> list[Any]:
    page = search(None)
    found = list(page)
    while page.token:
        page = search(page.token)
        found += page
    return found


def _checked(name: str) -> str:
    """Names go into MLflow's filter language, which has no escape for a quote."""
    if "'" in name or not name:
        raise RegistryError(f"{name!r} is no name of a registered model")
    return name
