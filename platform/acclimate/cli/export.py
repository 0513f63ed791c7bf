"""`acclimate export`: a registered version becomes the directory that devices receive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from acclimate.cli.options import LocalPath, json_option, output_option, tracking_option
from acclimate.cli.output import err, next_step, print_fields, print_json, word

if TYPE_CHECKING:
    from acclimate.bundle.export import Bundle
    from acclimate_device.protocol import Adaptation, ClosedForm, NormalWindows


@click.command("export")
@click.argument("reference", metavar="NAME[@REF]")
@output_option("The directory of the bundle, or of the firmware's sources.", required=True)
@click.option(
    "--target",
    type=click.Choice(["bundle", "c"]),
    default="bundle",
    show_default=True,
    help="What devices run: Python with the SDK, or the C runtime of microcontrollers.",
)
@click.option(
    "--key",
    type=LocalPath(),
    help="c: an Ed25519 key as PEM that signs the weights; without one they are for the firmware's factory.",
)
@click.option(
    "--counter",
    type=click.IntRange(1, 2**32 - 1),
    help="c: devices take only weights with a counter above the one in use; by default the version's number.",
)
@tracking_option
@json_option
def export(
    reference: str,
    output: Path,
    target: str,
    key: Path | None,
    counter: int | None,
    tracking_uri: str | None,
    as_json: bool,
) -> None:
    """Turn a registered version into a bundle: graphs, parameters, sanity vector and manifest.

    With `--target c` it becomes a folder of C99 for a microcontroller, its weights as a signed blob; NAME may
    then be the directory of a bundle that was exported before.

    REF is a number, an alias (default: candidate), `latest` or a content hash. The bundle is written only if
    the exported adaptation step agrees with torch over twenty chained steps and the limits in the recipe's
    `device` section hold.
    """
    from acclimate.bundle.export import write_bundle
    from acclimate.bundle.registered import bundle_of
    from acclimate.registry import Registry
    from acclimate_device.protocol import write

    if target == "c":
        _export_c(reference, output, key, counter, tracking_uri, as_json)
        return
    with err.status("tracing the adaptation step and comparing it with torch"):
        bundle = bundle_of(Registry.open(tracking_uri), reference)
    write_bundle(bundle.files, output)
    if as_json:
        print_json(write(bundle.manifest))
        return
    release = bundle.manifest.release
    print_fields(f"{release.name} version {release.version} in {output}", _figures(bundle))
    next_step(
        f"acclimate repo publish REPOSITORY {word(output)} --key KEYS", "sign it, so that devices trust it"
    )


def _export_c(
    reference: str,
    output: Path,
    key: Path | None,
    counter: int | None,
    tracking_uri: str | None,
    as_json: bool,
) -> None:
    from acclimate.bundle.limits import DeviceLimits
    from acclimate.bundle.mcu.firmware import BLOB, bundle_in, firmware, write_firmware
    from acclimate.bundle.mcu.signing import signer_of
    from acclimate.bundle.registered import bundle_of, limits_of
    from acclimate.registry import Registry
    from acclimate_device.bundle import Bundle
    from acclimate_device.protocol import MANIFEST, write

    sign = signer_of(key)
    limits = DeviceLimits()
    if Path(reference).is_dir():
        bundle = bundle_in(Path(reference))
    else:
        registry = Registry.open(tracking_uri)
        with err.status("exporting the bundle and comparing it with torch"):
            made = bundle_of(registry, reference)
        limits = limits_of(registry, reference)
        bundle = Bundle(made.manifest, {name: each for name, each in made.files.items() if name != MANIFEST})
    release = bundle.manifest.release
    made_c = firmware(bundle, limits, counter or release.version, sign)
    write_firmware(made_c, output)
    figures = made_c.footprint
    if as_json:
        print_json(
            {
                "release": write(release),
                "topology": made_c.topology,
                "signed": key is not None,
                "counter": counter or release.version,
                "ram_bytes": figures.ram_bytes,
                "stack_bytes": figures.stack_bytes,
                "flash_bytes": figures.flash_bytes,
                "blob_bytes": figures.blob_bytes,
                "instructions_per_label": figures.instructions_per_label,
                "instructions_per_step": figures.instructions_per_step,
            }
        )
        return
    print_fields(
        f"{release.name} version {release.version} as C99 in {output}",
        {
            "topology": made_c.topology[:12],
            "RAM": f"{figures.ram_bytes:,} bytes, and a stack of {figures.stack_bytes:,}",
            "most of it": f"{figures.largest[0]}, {figures.largest[1]:,} bytes",
            "flash": f"{figures.flash_bytes:,} bytes, of them {figures.blob_bytes:,} of weights",
            "instructions": f"{figures.instructions_per_label:,} a label on a Cortex-M4F"
            + (
                f", {figures.instructions_per_step:,} a gradient step"
                if figures.instructions_per_step
                else ""
            ),
            "weights": f"{BLOB}, counter {counter or release.version}, "
            + ("signed" if key else "not signed: for the firmware's factory alone"),
        },
    )
    next_step(
        f"cc -std=c99 -Os -c {word(output)}/*.c",
        "compile it; docs/how-to/microcontrollers.md goes on from there",
    )


def _how(adaptation: Adaptation | ClosedForm | NormalWindows) -> str:
    from acclimate_device.protocol import ClosedForm, NormalWindows

    if isinstance(adaptation, ClosedForm):
        told = zip(adaptation.heads, adaptation.forgetting, strict=True)
        return "label by label in closed form: " + ", ".join(
            f"{head}, forgetting {rate}" for head, rate in told
        )
    if isinstance(adaptation, NormalWindows):
        return "window by window, to what is normal on the device"
    if not adaptation.steps:
        return "never: one model for all"
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
