"""The wire and bundle formats: the one source of truth for device, rollout service and bundle writer.

Standard library only. Messages are frozen dataclasses (`read`, `write`, `loads`, `dumps`, `json_schema`);
their JSON schemas lie in `schemas/` (`python -m acclimate_device.protocol DIR` writes them).

## Conversation

All bodies are JSON. Errors are RFC 9457 problem details (`application/problem+json`) whose `type` is
`PROBLEM_PREFIX` + a `ProblemName`.

| request | body | success |
| --- | --- | --- |
| `POST /device/v1/enrolments` | `Envelope` of `Enrolment`, signed by the key inside | 201 `Enrolled` |
| `POST /device/v1/tokens` | `Envelope` of `TokenRequest`, signed by the enrolled key | 200 `Token` |
| `POST /device/v1/keys` | `Envelope` of `KeyChange`, signed by the old key and the new | 204 |
| `GET /device/v1/state`, `If-None-Match` | - | 200 `Envelope` of `DesiredState` with `ETag`, or 304 |
| `GET /device/v1/repository/…`, `Range`, `If-Range` | - | 200 or 206 with a strong `ETag` |
| `POST /device/v1/reports` | `ReportBatch`, may be `Content-Encoding: gzip` | 200 `Receipt` |
| `GET /device/v1/round` | - | 200 `Envelope` of `Round`, or 204 |
| `POST /device/v1/contributions` | `Contribution` | 204 |
| `GET /device/v1/round/turn` | - | 200 `Turn`, or 204 |
| `POST /device/v1/round/members` | `Member` | 204 |
| `POST /device/v1/round/shares` | `Dealing` | 204 |
| `POST /device/v1/round/unmasking` | `Unmasking` | 204 |

From `round` on they are asked by devices alone whose owners agreed to contribute; the same contribution
counts once. The last four are of rounds whose kind begins with `secure-`, and whose contributions are masked.

All but the first three need `Authorization: Bearer`, or a signature of their own (`protocol.signed`), which
is how a device asks where others read along: on a broker. Enrolling again with the same token and the same
key gives the same answer, so a lost answer costs nothing. A new version of the protocol gets a new path.

## Invariants

1. The trusted TUF root and, where configured, the service's key come with the device, never from the service.
2. Weights are trusted because TUF targets metadata, signed away from the service, says so; assignments
   because the service's key says so. Neither can stand in for the other.
3. A device obeys a `DesiredState` only if a trusted key signed it, it names this device and its fleet, and
   its counter is higher than any obeyed before (or the state is equal to the one obeyed).
4. What runs is exactly (name, version, content hash): the manifest must repeat all three.
5. A report's id is counted once, and the content under an id never changes.

## Bundle

A bundle is a folder of `manifest.json`, `predict.onnx`, `adapt.onnx`, `params.safetensors` and
`sanity.safetensors`, or with heads in closed form of `features.onnx` and `learn.onnx` in place of the two
graphs, or to tell anomalies of `features.onnx` alone.
**Each file is one TUF target, `<name>/<version>/<file>`**, in a repository with consistent snapshots; the
manifest repeats length and SHA-256 of the others. One target per file, and no archive: a download resumes by
file and by `Range`, a hash is checked before anything parses the bytes, sizes are known beforehand,
there is no unpacking to get wrong, and a file the device already holds (the graphs rarely change between
versions) is not fetched again.

Graphs, float32 unless said, in normalized units, with `B = adaptation.batch` and parameters as inputs:

* `predict.onnx`: `param.<name>` of every parameter and `x (batch, *shape)` with a free batch axis, to
  `outputs (batch, width)`: logits, or normalized targets.
* `adapt.onnx`: `param.<name>` of every parameter, `x (B, *shape)`, `y`, `w (B,)` weights (0 pads), `lr ()`,
  and `rate.<name>` for each name in `adaptation.rates`; to `next.<name>` for each name in
  `adaptation.trainable`, in that order, and `loss ()`: the weighted mean before the step. A learned rate
  takes the place of `lr`. `y` is `(B,)` int64 classes, or `(B, width)` float32.

An input a graph does not need may be missing from it; a device feeds what the graph declares.

* `params.safetensors`: `param.<name>` and `rate.<name>` (float32). A rate has a leading axis of 1 or `steps`;
  step k (from 0) uses entry `min(k, length - 1)`, shaped to broadcast against its parameter.
* `sanity.safetensors`: `x (B, *shape)`, `y`, `w (B,)`, `outputs (B, width)` of the start, and `losses (S,)`:
  the `loss` of S steps chained on that one batch. A device that cannot reproduce them refuses the bundle.

Heads in closed form (`adaptation.kind` is `closed-form`), with d features and the constant one, C outputs:

* `features.onnx`: `param.<name>` and `x (batch, *shape)`, to `phi (batch, d)` if there is a last layer, and
  `z (batch, r)` if there are class means.
* `learn.onnx`: one label. `phi (1, d)`, `z (1, r)`, `y (1, C)`: one-hot, or normalized targets; for each head
  `<head>.mean` and `<head>.cov`, `<head>.gamma ()`, what of the device's own is left, and what of the fleet
  takes its place: `pull.<head>.mean`, (1 - gamma) of the start's, and `pull.<head>.cov`, (1 - gamma^2), these
  three where it forgets; to `next.<head>.mean` and `next.<head>.cov`. Matrix products, transpositions and the
  four operations only.
* `params.safetensors`: `param.<name>`; `start.<head>.mean` and `start.<head>.cov`, the state before any
  label: `(d, C)` and `(d, d)` of the last layer, `(C, r)` and `(C, C)` of class means; for classes
  `prior.<head>.scale`, `prior.<head>.power`, `prior.<head>.bias (C,)` and `prior.temperature`; for real
  targets `prior.noise (C,)`, the mean absolute error at unit variance, and `prior.interval (C, L)`,
  quantiles of it in units of that mean, at the levels `prior.levels (L,)`.
* `sanity.safetensors`: `x (S, *shape)`, `y (S,)` or `(S, C)`, and `outputs (S, C)`: what the mean of the
  heads says of each label before it is learnt, without forgetting.

Anomalies (`adaptation.kind` is `normal`), with d features:

* `features.onnx`: `param.<name>` and `x (batch, *shape)`, to `z (batch, d)`.
* `params.safetensors`: `param.<name>`; `prior.normal.mean (d,)`, `prior.normal.between (d, d)` and
  `prior.normal.within (d, d)`, and `prior.normal.numbers`: weight, stray, shrink, memory, tail, knee,
  threshold and quiet, as in `acclimate_device.normality`.
* `sanity.safetensors`: `x (S, *shape)` and `outputs (S,)`: the score of each window before it is learned.
"""

from __future__ import annotations

from acclimate_device.protocol.campaign import CONTRIBUTION_PATH, ROUND_PATH, Contribution, Round
from acclimate_device.protocol.codec import canonical_json, dumps, loads, parse, read, write
from acclimate_device.protocol.envelope import (
    Envelope,
    PublicKey,
    Sign,
    Signature,
    Verify,
    countersigned,
    payload_type,
    seal,
    signed_bytes,
    unseal,
    unverified,
)
from acclimate_device.protocol.limits import LIMITS, Limits
from acclimate_device.protocol.manifest import (
    ADAPT,
    CLOSED_FORM_FILES,
    FEATURES,
    FILES,
    LEARN,
    MANIFEST,
    NORMAL_FILES,
    PARAMS,
    PREDICT,
    SANITY,
    Adaptation,
    ClosedForm,
    Cost,
    CurvePoint,
    Expected,
    File,
    HeadName,
    Input,
    LossName,
    Manifest,
    NormalWindows,
    Output,
    Preprocessing,
)
from acclimate_device.protocol.messages import (
    ENROLMENT_PATH,
    KEY_PATH,
    PROBLEM_PREFIX,
    REPORT_PATH,
    REPOSITORY_PATH,
    STATE_PATH,
    TOKEN_PATH,
    Action,
    DesiredState,
    Enrolled,
    Enrolment,
    KeyChange,
    Problem,
    ProblemName,
    Release,
    Start,
    Token,
    TokenRequest,
)
from acclimate_device.protocol.report import (
    SKETCH_BASE,
    SKETCH_TOP,
    SKETCH_ZERO,
    Event,
    EventKind,
    Receipt,
    Refusal,
    Report,
    ReportBatch,
    Resources,
    Slot,
    Summary,
)
from acclimate_device.protocol.schema import json_schema
from acclimate_device.protocol.secure import (
    DEALING_PATH,
    JOINING_PATH,
    TURN_PATH,
    UNMASKING_PATH,
    Dealing,
    Dealt,
    Joining,
    Member,
    Turn,
    Unmasking,
)
from acclimate_device.protocol.signed import SignedRequest, digest_of, sign_request

MESSAGES: tuple[type[object], ...] = (
    Envelope,
    Enrolment,
    Enrolled,
    TokenRequest,
    Token,
    KeyChange,
    DesiredState,
    Manifest,
    ReportBatch,
    Receipt,
    Round,
    Contribution,
    Member,
    Dealing,
    Unmasking,
    Turn,
    Problem,
)
"""The messages that travel whole; each has a schema file."""

__all__ = [
    "ADAPT",
    "CLOSED_FORM_FILES",
    "CONTRIBUTION_PATH",
    "DEALING_PATH",
    "ENROLMENT_PATH",
    "FEATURES",
    "FILES",
    "JOINING_PATH",
    "KEY_PATH",
    "LEARN",
    "LIMITS",
    "MANIFEST",
    "MESSAGES",
    "NORMAL_FILES",
    "PARAMS",
    "PREDICT",
    "PROBLEM_PREFIX",
    "REPORT_PATH",
    "REPOSITORY_PATH",
    "ROUND_PATH",
    "SANITY",
    "SKETCH_BASE",
    "SKETCH_TOP",
    "SKETCH_ZERO",
    "STATE_PATH",
    "TOKEN_PATH",
    "TURN_PATH",
    "UNMASKING_PATH",
    "Action",
    "Adaptation",
    "ClosedForm",
    "Contribution",
    "Cost",
    "CurvePoint",
    "Dealing",
    "Dealt",
    "DesiredState",
    "Enrolled",
    "Enrolment",
    "Envelope",
    "Event",
    "EventKind",
    "Expected",
    "File",
    "HeadName",
    "Input",
    "Joining",
    "KeyChange",
    "Limits",
    "LossName",
    "Manifest",
    "Member",
    "NormalWindows",
    "Output",
    "Preprocessing",
    "Problem",
    "ProblemName",
    "PublicKey",
    "Receipt",
    "Refusal",
    "Release",
    "Report",
    "ReportBatch",
    "Resources",
    "Round",
    "Sign",
    "Signature",
    "SignedRequest",
    "Slot",
    "Start",
    "Summary",
    "Token",
    "TokenRequest",
    "Turn",
    "Unmasking",
    "Verify",
    "canonical_json",
    "countersigned",
    "digest_of",
    "dumps",
    "json_schema",
    "loads",
    "parse",
    "payload_type",
    "read",
    "seal",
    "sign_request",
    "signed_bytes",
    "unseal",
    "unverified",
    "write",
]
