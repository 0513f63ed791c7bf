import json
from dataclasses import replace

import jsonschema
import kubernetes_validate
import pytest
import yaml

from acclimate.training.jobs.job import Order
from acclimate.training.jobs.rayjob import Pods, rayjob
from acclimate.training.recipe_file import load_recipe
from tests.unit.helm.custom_resources import RAY_CLUSTER, TEXT, TEXTS, closed

RAY_JOB = closed(
    "entrypoint",
    entrypoint=TEXT,
    runtimeEnvYAML=TEXT,
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"]},
    backoffLimit={"type": "integer"},
    shutdownAfterJobFinishes={"type": "boolean"},
    ttlSecondsAfterFinished={"type": "integer"},
    clusterSelector=TEXTS,
    rayClusterSpec=RAY_CLUSTER,
    submitterPodTemplate={"type": "object"},
)
EVERYTHING = Pods(
    image="registry.example/acclimate-trainer:1",
    ray_version="2.60.0",
    cpus=4,
    memory="8Gi",
    gpus=2,
    node_selector={"pool": "gpu"},
    tolerations=("dedicated",),
    secret_variables={"AWS_SECRET_ACCESS_KEY": ("store", "key")},
    secrets=("mlflow",),
    pull_secrets=("registry",),
    claim="checkpoints",
    pool_cache_gb=40,
    service_account="trainer",
)


def order(**changes):
    recipe = load_recipe("watch", [f"training.{key}={value}" for key, value in changes.items()])
    return Order("watch-1", recipe, {"MLFLOW_TRACKING_URI": "http://mlflow"})


def templates(manifest):
    spec = manifest["spec"]
    cluster = spec["rayClusterSpec"]
    return {
        "head": cluster["headGroupSpec"]["template"],
        "worker": cluster["workerGroupSpecs"][0]["template"],
        "submitter": spec["submitterPodTemplate"],
    }


@pytest.mark.parametrize("pods", [Pods("trainer:1", "2.60.0"), EVERYTHING], ids=["least", "everything"])
def test_it_is_a_rayjob_of_valid_and_restricted_pods(pods):
    manifest = rayjob(order(), pods)
    jsonschema.validate(manifest["spec"], RAY_JOB)
    for name, template in templates(manifest).items():
        pod = {"apiVersion": "v1", "kind": "Pod", **template}
        pod["metadata"] = {"name": name, **pod["metadata"]}
        kubernetes_validate.validate(pod, "1.34", strict=True)
        assert template["spec"]["securityContext"]["runAsNonRoot"]
        [container] = template["spec"]["containers"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["resources"]["limits"]["memory"]


def test_the_recipe_and_mlflow_reach_the_job_and_no_shell_can_misread_its_command():
    given = order()
    spec = rayjob(given, EVERYTHING)["spec"]
    variables = yaml.safe_load(spec["runtimeEnvYAML"])["env_vars"]
    assert variables["MLFLOW_TRACKING_URI"] == "http://mlflow"
    assert yaml.safe_load(variables["ACCLIMATE_RECIPE"]) == given.recipe.model_dump(mode="json")
    assert spec["entrypoint"] == "python -m acclimate train env:ACCLIMATE_RECIPE --address auto"
    assert set(spec["entrypoint"]).isdisjoint("|&;<>()$`\"'\\*?~#")


def test_on_openshift_no_pod_names_a_user():
    given = json.dumps(rayjob(order(), replace(EVERYTHING, openshift=True)))
    assert not any(key in given for key in ("runAsUser", "runAsGroup", "fsGroup"))
    assert '"runAsNonRoot": true' in given


def test_secrets_stay_references():
    manifest = rayjob(order(), EVERYTHING)
    for template in templates(manifest).values():
        [container] = template["spec"]["containers"]
        reference = {"secretKeyRef": {"name": "store", "key": "key"}}
        assert {"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": reference} in container["env"]
        assert container["envFrom"] == [{"secretRef": {"name": "mlflow"}}]
        assert template["spec"]["imagePullSecrets"] == [{"name": "registry"}]


def test_workers_go_where_their_gpus_are_and_checkpoints_stay_with_the_head():
    parts = templates(rayjob(order(), EVERYTHING))
    worker = parts["worker"]["spec"]
    assert worker["containers"][0]["resources"]["limits"] == {
        "cpu": "4",
        "memory": "8Gi",
        "nvidia.com/gpu": "2",
    }
    assert worker["nodeSelector"] == {"pool": "gpu"}
    assert {"name": "pools", "emptyDir": {"sizeLimit": "51Gi"}} in worker["volumes"]
    assert {"name": "ACCLIMATE_POOL_CACHE_GB", "value": "40"} in worker["containers"][0]["env"]
    assert [each["key"] for each in worker["tolerations"]] == ["dedicated", "nvidia.com/gpu"]
    claim = {"name": "home", "persistentVolumeClaim": {"claimName": "checkpoints"}}
    assert claim in parts["head"]["spec"]["volumes"]
    assert "checkpoints" not in json.dumps([worker, parts["submitter"]])
    assert "nodeSelector" not in parts["head"]["spec"]


@pytest.mark.parametrize(
    ("training", "cpus", "pods"),
    [({"workers": 8}, 4, 2), ({"workers": 9}, 4, 3), ({"workers": 0}, 2, 1), ({"workers": 1}, 16, 1)],
)
def test_there_is_a_core_for_every_worker(training, cpus, pods):
    manifest = rayjob(order(**training), Pods("trainer:1", "2.60.0", cpus=cpus))
    [group] = manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert group["replicas"] == group["minReplicas"] == group["maxReplicas"] == pods


def test_a_gpu_worker_takes_a_gpu():
    given = order(engine="ddp", gpu="true", workers=8)
    [group] = rayjob(given, EVERYTHING)["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert group["replicas"] == 4


def test_a_standing_cluster_is_used_as_it_is():
    spec = rayjob(order(), Pods("trainer:1", "2.60.0", ray_cluster="acclimate-ray"))["spec"]
    assert spec["clusterSelector"] == {"ray.io/cluster": "acclimate-ray"}
    assert "rayClusterSpec" not in spec
    assert "shutdownAfterJobFinishes" not in spec
