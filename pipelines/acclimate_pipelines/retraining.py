"""The pipeline: prepare, report, meta-train, evaluate, gate, register, export and sign, roll out, watch.

Kubeflow reads the annotations of the graph at run time, so this module does not postpone them.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kfp import compiler, dsl

from acclimate_pipelines import components

NAME = "acclimate-retraining"
HOME, SIGNING = "/var/lib/acclimate", "/etc/acclimate/signing"
REPOSITORY = f"{HOME}/repository"  # as in the chart's service
DATA_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")
REGISTRY_SECRETS = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
)
TRAINING_SECRETS = (*REGISTRY_SECRETS, "RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN")
SIGNING_SECRETS = (*REGISTRY_SECRETS, "ACCLIMATE_KEY_PASSPHRASE", "ACCLIMATE_ARTIFACTS_URL", *DATA_SECRETS)
ROLLOUT_SECRETS = ("ACCLIMATE_URL", "ACCLIMATE_TOKEN")


@dataclass(frozen=True)
class Cluster:
    """What a step's pod is given.

    Attributes:
        image: with the library and its extras train, sign and pipelines.
        secret: Kubernetes Secret whose keys become environment variables; each step gets only those it uses,
            and a key that is missing is left out.
        signing_secret: Secret with the signing keys as PEM files, mounted in the signing step alone.
        volume: PersistentVolumeClaim that every step mounts as ACCLIMATE_HOME.
        repository: PersistentVolumeClaim of the signed repository, in its folder `tuf`: the one that the
            rollout service serves; mounted in the signing step alone.
        cpu: limit of the steps that compute, as in Kubernetes.
        memory: theirs, as in Kubernetes.
        training_cpu: limit of the training step; empty: as the others'.
        training_memory: likewise.
        pull_secrets: Secrets to pull the image with.
        node_selector: labels that the nodes of the steps that compute must have.
    """

    image: str = components.IMAGE
    secret: str = "acclimate-pipeline"
    signing_secret: str = "acclimate-signing"
    volume: str = "acclimate-pipeline"
    repository: str = "acclimate-repository"
    cpu: str = "2"
    memory: str = "4Gi"
    training_cpu: str = ""
    training_memory: str = ""
    pull_secrets: tuple[str, ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)


def retraining(cluster: Cluster | None, to_fleet: bool = True) -> Any:
    """The pipeline for a cluster, or for this machine, where steps inherit the environment.

    Kubeflow's local runner takes every condition for false (2.16), so there the graph has none: `to_fleet`
    says whether it goes on after registering, and a gate that is not passed ends the run.
    """

    @dsl.pipeline(name=NAME, description="Meta-train a recipe, gate it against the champion, roll it out.")
    def graph(
        recipe: str,
        data_as_of: str = "",
        champion: str = "champion",
        minimum_gain: float = 0.0,
        proven: bool = False,
        fleet: str = "",
        plan: dict = {},  # type: ignore[type-arg]  # noqa: B006  # Kubeflow reads the default, nothing changes it
        watch_hours: float = 168.0,
        tags: dict = {},  # type: ignore[type-arg]  # noqa: B006  # likewise
    ) -> None:
        """Retrain a recipe and bring the result to a fleet.

        Args:
            recipe: YAML text of a recipe.
            data_as_of: a moment or any text; data are read again whenever it is another.
            champion: alias or number of the version to be better than.
            minimum_gain: over the champion, mean over held-out tasks, in units of the metric.
            proven: whether the whole 95 % interval of the gain has to reach it.
            fleet: where to roll out; empty ends after registering.
            plan: of the rollout, as the operator side takes it (waves, gates, control_share, ...).
            watch_hours: how long the run follows the rollout.
            tags: further lineage of the version, such as the alert that called for it.
        """
        prepared = components.prepare(recipe=recipe, data_as_of=data_as_of)
        tasks = prepared.outputs["tasks"]
        reported = components.report(tasks=tasks)
        trained = components.meta_train(tasks=tasks).after(reported)
        evaluated = components.evaluate(tasks=tasks, checkpoints=trained.outputs["checkpoints"])
        gated = components.gate(
            tasks=tasks,
            initialization=trained.outputs["initialization"],
            evaluation=evaluated.outputs["evaluation"],
            champion=champion,
            minimum_gain=minimum_gain,
            proven=proven,
            must_pass=cluster is None,
        )
        _place(prepared, cluster, DATA_SECRETS, computes=True)
        for task in (reported, evaluated):
            _place(task, cluster, (), computes=True)
        _place(trained, cluster, TRAINING_SECRETS, computes=True)
        _place(gated, cluster, REGISTRY_SECRETS, computes=True)
        if cluster is not None:
            trained.set_cpu_limit(cluster.training_cpu or cluster.cpu)
            trained.set_memory_limit(cluster.training_memory or cluster.memory)
        trained.set_retry(3, backoff_duration="30s")  # goes on from its checkpoint
        # `training.start` may name another version by now; what is trained already is found under its key.
        trained.set_caching_options(False)
        gated.set_caching_options(False)  # the champion may be another by now
        better = gated.outputs["Output"] == True  # noqa: E712  # builds a condition
        with nullcontext() if cluster is None else dsl.If(better, name="better"):
            registered = components.register(
                tasks=tasks,
                initialization=trained.outputs["initialization"],
                evaluation=evaluated.outputs["evaluation"],
                document=reported.outputs["document"],
                verdict=gated.outputs["verdict"],
                run_id=trained.outputs["Output"],
                tags=tags,
            )
            _place(registered, cluster, REGISTRY_SECRETS)
            registered.set_caching_options(False)
            if not to_fleet:
                return
            with nullcontext() if cluster is None else dsl.If(fleet != "", name="to-fleet"):
                signed = components.export_and_sign(reference=registered.output)
                rolled = components.roll_out(fleet=fleet, release=signed.outputs["Output"], plan=plan)
                watched = components.watch(rollout=rolled.output, hours=watch_hours)
        _place(signed, cluster, SIGNING_SECRETS, signs=True)
        for task in (rolled, watched):
            _place(task, cluster, ROLLOUT_SECRETS)
        for task in (signed, rolled, watched):
            task.set_caching_options(False)  # these change the world: a result kept from before is no act
        watched.set_retry(3, backoff_duration="30s")

    return graph


def write(path: Path, cluster: Cluster) -> None:
    """Compile into a YAML file that any Kubeflow Pipelines 2 takes."""
    compiler.Compiler().compile(retraining(cluster), str(path))


def _place(
    task: dsl.PipelineTask,
    cluster: Cluster | None,
    secrets: tuple[str, ...],
    *,
    computes: bool = False,
    signs: bool = False,
) -> None:
    """Give a step its image, limits, environment, secrets and volumes.

    The Kubernetes part is written as Kubeflow's platform specification has it: the package that would write
    it asks for a newer Kubeflow than the rest of the platform can be installed with.
    """
    if cluster is None:
        return
    task.set_container_image(cluster.image)
    task.set_cpu_limit(cluster.cpu if computes else "1")
    task.set_memory_limit(cluster.memory if computes else "2Gi")
    task.set_env_variable("ACCLIMATE_HOME", HOME)
    task.set_env_variable("ACCLIMATE_LOG_FORMAT", "json")
    platform: dict[str, Any] = {
        "pvcMount": [{"pvcNameParameter": _constant(cluster.volume), "mountPath": HOME}],
        # The chart's network policy lets these reach MLflow.
        "podMetadata": {"labels": {"acclimate/registry-client": "true"}},
    }
    if cluster.pull_secrets:
        platform["imagePullSecret"] = [
            {"secretName": name, "secretNameParameter": _constant(name)} for name in cluster.pull_secrets
        ]
    if computes and cluster.node_selector:
        platform["nodeSelector"] = {"labels": dict(cluster.node_selector)}
    if secrets:
        platform["secretAsEnv"] = [
            {
                "secretName": cluster.secret,
                "secretNameParameter": _constant(cluster.secret),
                "keyToEnv": [{"secretKey": name, "envVar": name} for name in secrets],
                "optional": True,
            }
        ]
    if signs:
        task.set_env_variable("ACCLIMATE_TUF_DIRECTORY", f"{REPOSITORY}/tuf")
        task.set_env_variable("ACCLIMATE_SIGNING_KEYS", SIGNING)
        platform["pvcMount"].append(
            {"pvcNameParameter": _constant(cluster.repository), "mountPath": REPOSITORY}
        )
        platform["secretAsVolume"] = [
            {
                "secretName": cluster.signing_secret,
                "secretNameParameter": _constant(cluster.signing_secret),
                "mountPath": SIGNING,
                "optional": False,
            }
        ]
    task.platform_config["kubernetes"] = platform


def _constant(value: str) -> dict[str, Any]:
    return {"runtimeValue": {"constant": value}}
