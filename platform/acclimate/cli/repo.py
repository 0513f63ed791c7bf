"""`acclimate repo`: the signed repository that devices trust."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from acclimate.cli.options import LocalPath, json_option
from acclimate.cli.output import next_step, note, print_json, print_table, say, say_done, word
from acclimate.errors import BundleError

if TYPE_CHECKING:
    from acclimate.bundle.repository.keys import Signers
    from acclimate.bundle.repository.roles import KeyName

_directory = click.argument("directory", metavar="REPOSITORY", type=LocalPath())
_keys = click.option(
    "--key",
    "keys",
    multiple=True,
    required=True,
    type=LocalPath(),
    help="A key file, or a directory of them; repeat for more.",
)
_key_name = click.argument("key_name", metavar="KEY", type=click.Choice(["root", "targets", "online"]))


@click.group("repo")
def repo() -> None:
    """Sign bundles and keep the signatures fresh: a TUF repository.

    Encrypted keys are opened with the passphrase in ACCLIMATE_KEY_PASSPHRASE, or in the file that
    ACCLIMATE_KEY_PASSPHRASE_FILE names; at a terminal you are asked for it.
    """


@repo.command("init")
@_directory
@click.option("--keys", "folder", required=True, type=LocalPath(), help="Where the new keys are written.")
@click.option(
    "--root-keys",
    default=1,
    show_default=True,
    type=click.IntRange(1, 10),
    help="How many root keys to make.",
)
@click.option(
    "--root-threshold", default=1, show_default=True, type=click.IntRange(1, 10), help="How many must sign."
)
@click.option("--unencrypted", is_flag=True, help="Write root and targets keys without a passphrase.")
@json_option
def init(
    directory: Path, folder: Path, root_keys: int, root_threshold: int, unencrypted: bool, as_json: bool
) -> None:
    """Make an empty repository and its keys.

    The online key is written without a passphrase: it lives in the service's secret store and can make
    devices neither install nor accept anything new.
    """
    from acclimate.bundle.repository import Storage, begin

    if Storage(directory).exists:  # said before a passphrase is asked for
        raise BundleError(f"{directory} is a repository already: use it, or choose another directory")
    passphrase = None if unencrypted else _new_passphrase()
    roots = begin(directory, folder, passphrase, _now(), root_keys=root_keys, root_threshold=root_threshold)
    root = directory / "metadata" / "1.root.json"
    if as_json:
        print_json({"repository": str(directory), "keys": str(folder), "trusted_root": str(root)})
        return
    say(f"repository {directory}, keys {folder}")
    secret = ", ".join(file.name for file in roots)
    say(
        f"Keep {secret} and targets.pem away from every service, with a copy elsewhere; give only "
        f"online.pem to the service. Devices start to trust from {root}."
    )
    next_step(f"acclimate repo publish {word(directory)} BUNDLE --key {word(folder)}", "sign a bundle")


@repo.command("publish")
@_directory
@click.argument("bundle", type=LocalPath())
@_keys
@click.option(
    "--artifacts-url",
    envvar="ACCLIMATE_ARTIFACTS_URL",
    default="",
    metavar="URL",
    help="Put the files where the service reads them: s3://bucket/targets, ... [default: into REPOSITORY].",
)
@click.option(
    "--fleet", default="", help="The tenant that alone learns of it [default: all without their own]."
)
@json_option
def publish(
    directory: Path, bundle: Path, keys: tuple[Path, ...], artifacts_url: str, fleet: str, as_json: bool
) -> None:
    """Sign a bundle. With the online key at hand devices see it at once, else after the next refresh.

    With --fleet only that fleet's devices and operators ever read its name, and from then on that fleet reads
    nothing but what was published for it.
    """
    from acclimate.bundle.repository import publish

    if fleet and not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", fleet):
        raise BundleError(f"{fleet!r} names no fleet: small letters, digits and hyphens between them")
    done = publish(directory, bundle, _signers(keys), _now(), artifacts_url=artifacts_url, tenant=fleet)
    _warn_of_terms(directory)
    if as_json:
        print_json(asdict(done))
        return
    release = done.release
    verb = "published" if done.added else "was published before, unchanged:"
    say(f"{verb} {release.name} version {release.version} ({release.content_hash})")
    if done.visible:
        next_step("acclimate serve", "hand it to devices, where the service does not run yet")
    else:
        next_step(f"acclimate repo refresh {word(directory)} --key online.pem", "make it visible to devices")


@repo.command("refresh")
@_directory
@_keys
@click.option("--force", is_flag=True, help="Sign anew even if nothing calls for it.")
@json_option
def refresh(directory: Path, keys: tuple[Path, ...], force: bool, as_json: bool) -> None:
    """Sign snapshot and timestamp anew where due; made for a schedule, every few hours."""
    from acclimate.bundle.repository import refresh

    _tell(directory, refresh(directory, _signers(keys), _now(), force=force), as_json)


@repo.command("renew")
@_key_name
@_directory
@_keys
@json_option
def renew(key_name: KeyName, directory: Path, keys: tuple[Path, ...], as_json: bool) -> None:
    """Sign what KEY (root, targets or online) signs for another term."""
    from acclimate.bundle.repository import renew

    _tell(directory, renew(directory, key_name, _signers(keys), _now()), as_json)


@repo.command("rotate")
@_key_name
@_directory
@_keys
@click.option(
    "--new",
    required=True,
    type=LocalPath(),
    help="Where the new key is written; a key file that exists is used.",
)
@click.option("--retire", help="The id of the key to replace, or its beginning, where there are several.")
@click.option("--unencrypted", is_flag=True, help="Write a root or targets key without a passphrase.")
@json_option
def rotate(
    key_name: KeyName,
    directory: Path,
    keys: tuple[Path, ...],
    new: Path,
    retire: str | None,
    unencrypted: bool,
    as_json: bool,
) -> None:
    """Replace KEY (root, targets or online) by a new one; devices follow by themselves.

    Needs the root keys, and the online key unless it is root or online that rotates.
    """
    from acclimate.bundle.repository import create_key, rotate

    held = _signers(keys)
    if not new.exists():
        create_key(new, None if unencrypted or key_name == "online" else _new_passphrase())
    (signer,) = _signers((new,)).values()
    _tell(directory, rotate(directory, key_name, signer, held, _now(), retire=retire), as_json)
    next_step(f"acclimate repo status {word(directory)}", "then destroy the retired key's file")


@repo.command("status")
@_directory
@click.option("--check", is_flag=True, help="Exit with 1 if anything has expired or should be renewed.")
@json_option
def status(directory: Path, check: bool, as_json: bool) -> None:
    """Show every role's version, term and keys, and the published releases."""
    from acclimate.bundle.repository import status

    now = _now()
    found = status(directory, now)
    if as_json:
        print_json(asdict(found))
    else:
        rows = [
            (
                role.role,
                role.version,
                role.expires.strftime("%Y-%m-%d %H:%M"),
                f"{(role.expires - now).total_seconds() / 86400:.1f}",
                role.state,
                ", ".join(key[:8] for key in role.keys),
            )
            for role in found.roles
        ]
        print_table(str(directory), ["role", "version", "expires (UTC)", "days left", "state", "keys"], rows)
        say(f"{len(found.releases)} releases: {', '.join(found.releases) or 'none'}")
        _warn_of_terms(directory)
    if check and found.worst != "valid":
        sys.exit(1)


def _tell(directory: Path, changed: tuple[str, ...], as_json: bool) -> None:
    said = f"signed anew: {', '.join(changed)}" if changed else "nothing is due"
    say_done(said, as_json, signed_anew=changed)
    _warn_of_terms(directory)


def _warn_of_terms(directory: Path) -> None:
    from acclimate.bundle.repository import ROLES_OF_KEY, status

    for role in status(directory, _now()).roles:
        key = next(name for name, roles in ROLES_OF_KEY.items() if role.role in roles)
        if role.state != "valid":
            note(
                f"warning: {role.role} {'expired' if role.state == 'expired' else 'expires'} on "
                f"{role.expires:%Y-%m-%d}, after that devices refuse updates: "
                f"acclimate repo renew {key} {directory}",
                "yellow",
            )


def _signers(paths: tuple[Path, ...]) -> Signers:
    """The keys in these files or folders; at a terminal a person is asked for their passphrase."""
    from acclimate.bundle.repository import signers

    return signers(paths, _asked)


def _asked() -> str | None:
    if not sys.stdin.isatty():
        return None
    return str(click.prompt("Passphrase of the keys", hide_input=True, err=True))


def _new_passphrase() -> str:
    from acclimate.bundle.repository.passphrase import PASSPHRASE, PASSPHRASE_FILE, given_passphrase

    given = given_passphrase()
    if given is None and sys.stdin.isatty():
        given = str(
            click.prompt("Passphrase for the new keys", hide_input=True, confirmation_prompt=True, err=True)
        )
    if not given:
        raise BundleError(
            f"new keys are encrypted: set {PASSPHRASE} or {PASSPHRASE_FILE}, or pass --unencrypted to keep "
            "them with mode 0600 only"
        )
    return given


def _now() -> datetime:
    return datetime.now(UTC)
