"""What a process is told by its environment: one model a process, read once, every value within its range.

Every setting is `ACCLIMATE_` plus the field's name in capitals; an empty variable is one that is not set.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from acclimate.errors import SettingsError

PREFIX = "ACCLIMATE_"
Lower = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)


class Settings(BaseModel):
    """Base of the models; see `from_environment`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None, **given: object) -> Self:
        """Read the settings; those `given` (by command-line options) win over the environment.

        Raises:
            SettingsError: a value does not read as its field's type or lies outside its range.
        """
        environ = os.environ if environ is None else environ
        named = {name: environ.get(PREFIX + name.upper(), "").strip() for name in cls.model_fields}
        values: dict[str, Any] = {name: text for name, text in named.items() if text}
        values |= {name: value for name, value in given.items() if value is not None}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError("; ".join(_problem(one) for one in error.errors())) from None


class LogSettings(Settings):
    """What is written to standard error."""

    log_format: Annotated[Literal["text", "json"], Lower] = Field(
        default="text", description="`text` or `json`"
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Lower] = Field(
        default="info", description="`debug`, `info`, `warning` or `error`"
    )


def _problem(error: Any) -> str:
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
    if not error["loc"]:
        return str(message)
    return f"{PREFIX}{str(error['loc'][0]).upper()} is {error['input']!r}: {message}"
