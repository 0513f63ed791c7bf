"""Each step as a component of Kubeflow Pipelines: typed artifacts in and out, one import, one call.

Kubeflow ships a component as the source of its function alone, so every import is inside; and it reads the
annotations at run time, so this module does not postpone them. The image has the library, Kubeflow's
executor included: nothing is installed when a step starts.
"""

from kfp import dsl

IMAGE = "acclimate-trainer:0.1.0"
_component = dsl.component(base_image=IMAGE, install_kfp_package=False)


@_component
def prepare(recipe: str, data_as_of: str, tasks: dsl.Output[dsl.Dataset]) -> None:
    """Build the task pool. Data are read again for every other `data_as_of`, which nothing else uses."""
    from pathlib import Path

    from acclimate_pipelines import training_steps

    tasks.metadata.update(training_steps.prepare(recipe, Path(tasks.path)))


@_component
def report(
    tasks: dsl.Input[dsl.Dataset], document: dsl.Output[dsl.Artifact], page: dsl.Output[dsl.Markdown]
) -> None:
    """Report on the data; defects that make training meaningless end the run."""
    from pathlib import Path

    from acclimate_pipelines import training_steps

    training_steps.report(Path(tasks.path), Path(document.path), Path(page.path))


@_component
def meta_train(
    tasks: dsl.Input[dsl.Dataset],
    checkpoints: dsl.Output[dsl.Artifact],
    initialization: dsl.Output[dsl.Model],
) -> str:
    """Meta-train the start and the joint baseline; gives the MLflow run's id."""
    from pathlib import Path

    from acclimate_pipelines import training_steps

    run_id = training_steps.meta_train(Path(tasks.path), Path(checkpoints.path), Path(initialization.path))
    initialization.metadata["mlflow_run"] = run_id
    return run_id


@_component
def evaluate(
    tasks: dsl.Input[dsl.Dataset],
    checkpoints: dsl.Input[dsl.Artifact],
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    page: dsl.Output[dsl.HTML],
) -> None:
    """Adaptation curves on held-out tasks, beside the baselines."""
    from pathlib import Path

    from acclimate_pipelines import training_steps

    figures = training_steps.evaluate(
        Path(tasks.path), Path(checkpoints.path), Path(evaluation.path), Path(page.path)
    )
    for name, value in figures.items():
        metrics.log_metric(name, value)


@_component
def gate(
    tasks: dsl.Input[dsl.Dataset],
    initialization: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    champion: str,
    minimum_gain: float,
    proven: bool,
    must_pass: bool,
    verdict: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
) -> bool:
    """Judge the start against the champion on the same held-out tasks; gives whether it passed."""
    from pathlib import Path

    from acclimate_pipelines import training_steps

    gated = training_steps.gate(
        Path(tasks.path),
        Path(initialization.path),
        Path(evaluation.path),
        champion,
        minimum_gain,
        proven,
        Path(verdict.path),
        must_pass=must_pass,
    )
    for name, value in gated.figures.items():
        metrics.log_metric(name, value)
    verdict.metadata["reason"] = gated.reason
    return gated.passed


@_component
def register(
    tasks: dsl.Input[dsl.Dataset],
    initialization: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    document: dsl.Input[dsl.Artifact],
    verdict: dsl.Input[dsl.Artifact],
    run_id: str,
    tags: dict,  # type: ignore[type-arg]
) -> str:
    """Register the start as the next version; gives `NAME@VERSION`."""
    from pathlib import Path

    from acclimate_pipelines import training_steps

    return training_steps.register(
        Path(tasks.path),
        Path(initialization.path),
        Path(evaluation.path),
        Path(document.path),
        Path(verdict.path),
        run_id,
        tags,
    )


@_component
def export_and_sign(reference: str, bundle: dsl.Output[dsl.Artifact]) -> str:
    """Export a version as a bundle and sign it into the repository; gives `NAME@VERSION`."""
    from pathlib import Path

    from acclimate_pipelines import signing_step

    release = signing_step.export_and_sign(reference, Path(bundle.path))
    bundle.metadata["release"] = release
    return release


@_component
def roll_out(fleet: str, release: str, plan: dict) -> str:  # type: ignore[type-arg]
    """Start a rollout; gives its id, or nothing where the release became a fleet's first baseline."""
    from acclimate_pipelines import delivery_steps

    return delivery_steps.roll_out(fleet, release, plan)


@_component
def watch(rollout: str, hours: float, page: dsl.Output[dsl.Markdown]) -> str:
    """Follow a rollout to its end; a rollout that was rolled back fails the run."""
    from pathlib import Path

    from acclimate_pipelines import delivery_steps

    return delivery_steps.watch(rollout, hours, Path(page.path))
