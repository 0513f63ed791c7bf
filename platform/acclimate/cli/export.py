"""`acclimate export`: a registered version becomes the directory that devices receive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from acclimate.cli.options import json_option, output_option, tracking_option
from acclimate.cli.output import err, next_step, print_fields, print_json

if TYPE_CHECKING:
    from acclimate.bundle.export import Bundle
    from acclimate_device.protocol import Adaptation, ClosedForm, NormalWindows


@click.command("export")
@click.argument("reference", metavar="NAME[@REF]")
@output_option("The bundle's directory.", required=True)
@tracking_option
@json_option
def export(reference: str, output: Path, tracking_uri: str | None, as_json: bool) -> None:
    """Turn a registered version into a bundle: graphs, parameters, sanity vector and manifest.

    REF is a number, an alias (default: candidate), `latest` or a content hash. The bundle is written only if
    the exported adaptation step agrees with torch over twenty chained steps and the limits in the recipe's
    `device` section hold.
    """
    from acclimate.bundle.export import write_bundle
    from acclimate.bundle.registered import bundle_of
    from acclimate.registry import Registry
    from acclimate_device.protocol import write

    with err.status("tracing the adaptation step and comparing it with torch"):
        bundle = bundle_of(Registry.open(tracking_uri), reference)
    write_bundle(bundle.files, output)
    if as_json:
        print_json(write(bundle.manifest))
        return
    release = bundle.manifest.release
    print_fields(f"{release.name} version {release.version} in {output}", _figures(bundle))
    next_step(f"acclimate repo publish REPOSITORY {output} --key KEYS", "sign it, so that devices trust it")


def _how(adaptation: Adaptation | ClosedForm | NormalWindows) -> str:
    from acclimate_device.protocol import ClosedForm, NormalWindows

    if isinstance(adaptation, ClosedForm):
        told = zip(adaptation.heads, adaptation.forgetting, strict=True)
        return "label by label in closed form: " + ", ".join(
            f"{head}, forgetting {rate}" for head, rate in told
        )
    if isinstance(adaptation, NormalWindows):
        return "window by window, to what is normal on the device"
    return f"{len(adaptation.trainable)} tensors in {adaptation.steps} steps"


def _figures(bundle: Bundle) -> dict[str, object]:
    from acclimate.bundle.verification import TOLERANCE

    cost, adaptation = bundle.manifest.cost, bundle.manifest.adaptation
    agreement = bundle.agreement
    apart = f"{agreement.chained:.1e} after 20 steps"
    if agreement.chained > TOLERANCE:
        apart += (
            ": float32 cannot fix this chain (a ReLU or maximum at a tie); float64 and single steps agree"
        )
    return {
        "content hash": bundle.manifest.release.content_hash[:12],
        "adapts": _how(adaptation),
        "parameters": f"{cost.parameters:,}",
        "files": f"{cost.file_bytes:,} bytes",
        "peak memory": f"{cost.peak_memory_bytes:,} bytes of tensors in one step",
        "multiply-adds": f"{cost.macs_per_step:,} a step, {cost.macs_per_prediction:,} a prediction",
        "differs from torch": apart,
    }
