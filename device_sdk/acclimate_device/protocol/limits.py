"""Every size and time the protocol bounds, with its unit and default, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What both sides accept at most.

    Attributes:
        envelope_bytes: a signed message, as JSON.
        manifest_bytes: a bundle's manifest.
        bundle_bytes: all files of one bundle together.
        batch_reports: reports in one request.
        batch_bytes: one request of reports, as JSON.
        report_bytes: one report, as JSON.
        report_events: events in one report; further ones are counted only.
        contribution_numbers: integers in what a device gives to a campaign.
        held_back: examples by which a device says how well it adapted, in a campaign.
        group_devices: devices whose masks cancel, in a round whose sum alone the service learns.
        turn_bytes: what such a round tells a device, or a device it, as JSON; contributions are longer.
        clock_skew_s: how far a token request's clock may be from the service's.
        token_s: how long a bearer token lives.
        poll_s: shortest and longest time between two polls that a service may ask for.
        number: largest absolute value of a number whose field says nothing else. Its square, and sums of as
            many squares as there can be reports, stay far inside a double.
        count: most of anything that one report can count; millions of reports add up within 63 bits.
        time_s: earliest and latest moment, in Unix seconds: every calendar can print it.
    """

    envelope_bytes: int = 64 * 1024
    manifest_bytes: int = 256 * 1024
    bundle_bytes: int = 64 * 1024 * 1024
    batch_reports: int = 64
    batch_bytes: int = 512 * 1024
    report_bytes: int = 64 * 1024
    report_events: int = 16
    contribution_numbers: int = 100_000
    held_back: int = 1000
    group_devices: int = 256
    turn_bytes: int = 256 * 1024
    clock_skew_s: float = 300.0
    token_s: float = 3600.0
    poll_s: tuple[float, float] = (1.0, 86_400.0)
    number: float = 1e18
    count: int = 10**12
    time_s: tuple[float, float] = (0.0, 2.0**33)


LIMITS = Limits()
