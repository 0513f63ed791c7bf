"""`acclimate export`: a registered version becomes the directory that devices receive."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from acclimate.cli.options import LocalPath, json_option, output_option, tracking_option
from acclimate.cli.output import err, next_step, print_fields, print_json, word

if TYPE_CHECKING:
    from acclimate.bundle.export import Bundle
    from acclimate.bundle.limits import DeviceLimits
    from acclimate.bundle.mcu.firmware import Firmware
    from acclimate_device.bundle import Bundle as DeviceBundle
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
    from acclimate.bundle.mcu.firmware import firmware, write_firmware
    from acclimate.bundle.mcu.signing import signer_of
    from acclimate_device.protocol import write

    sign = signer_of(key)
    bundle, limits = _to_compile(reference, tracking_uri)
    release = bundle.manifest.release
    counter = counter or release.version
    made = firmware(bundle, limits, counter, sign)
    write_firmware(made, output)
    if as_json:
        figures = asdict(made.footprint)
        del figures["largest"]
        told = {"release": write(release), "topology": made.topology, "signed": key is not None}
        print_json(told | {"counter": counter} | figures)
        return
    signed = "signed" if key else "not signed: for the firmware's factory alone"
    print_fields(
        f"{release.name} version {release.version} as C99 in {output}", _c_figures(made, counter, signed)
    )
    next_step(
        f"cc -std=c99 -Os -c {word(output)}/*.c",
        "compile it; docs/how-to/microcontrollers.md goes on from there",
    )


def _to_compile(reference: str, tracking_uri: str | None) -> tuple[DeviceBundle, DeviceLimits]:
    """A bundle that was exported before, or a version of the registry, and what its device may need."""
    from acclimate.bundle.limits import DeviceLimits
    from acclimate.bundle.mcu.firmware import bundle_in
    from acclimate.bundle.registered import bundle_of, limits_of
    from acclimate.registry import Registry
    from acclimate_device.bundle import Bundle
    from acclimate_device.protocol import MANIFEST

    if Path(reference).is_dir():
        return bundle_in(Path(reference)), DeviceLimits()
    registry = Registry.open(tracking_uri)
    with err.status("exporting the bundle and comparing it with torch"):
        made = bundle_of(registry, reference)
    files = {name: each for name, each in made.files.items() if name != MANIFEST}
    return Bundle(made.manifest, files), limits_of(registry, reference)


def _c_figures(made: Firmware, counter: int, signed: str) -> dict[str, object]:
    from acclimate.bundle.mcu.firmware import BLOB

    needs = made.footprint
    instructions = f"{needs.instructions_per_label:,} a label on a Cortex-M4F"
    if needs.instructions_per_step:
        instructions += f", {needs.instructions_per_step:,} a gradient step"
    return {
        "topology": made.topology,
        "RAM": f"{needs.ram_bytes:,} bytes, and a stack of {needs.stack_bytes:,}",
        "most of it": f"{needs.largest[0]}, {needs.largest[1]:,} bytes",
        "flash": f"{needs.flash_bytes:,} bytes, of them {needs.blob_bytes:,} of weights",
        "instructions": instructions,
        "weights": f"{BLOB}, counter {counter}, {signed}",
    }


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
        "content hash": bundle.manifest.release.content_hash,
        "adapts": _how(adaptation),
        "parameters": f"{cost.parameters:,}",
        "files": f"{cost.file_bytes:,} bytes",
        "peak memory": f"{cost.peak_memory_bytes:,} bytes of tensors in one step",
        "multiply-adds": f"{cost.macs_per_step:,} a step, {cost.macs_per_prediction:,} a prediction",
        "differs from torch": apart,
    }
