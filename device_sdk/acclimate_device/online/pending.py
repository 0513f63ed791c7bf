"""Inputs that wait for their labels: the newest ones, so that memory stays bounded."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Hashable

from acclimate_device.online.schema import Float


class Pending:
    """At most `limit` inputs by the application's keys. Any thread may call, and none waits."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inputs: OrderedDict[Hashable, Float] = OrderedDict()

    def keep(self, key: Hashable, raw: Float) -> None:
        """Remember an input, and forget the oldest one where there are too many."""
        self._inputs[key] = raw
        if len(self._inputs) > self._limit:
            with contextlib.suppress(KeyError):  # another thread was faster
                self._inputs.popitem(last=False)

    def get(self, key: Hashable) -> Float | None:
        """The input under `key`, if it is still remembered."""
        return self._inputs.get(key)

    def forget(self, key: Hashable) -> None:
        """Its label has come."""
        self._inputs.pop(key, None)
