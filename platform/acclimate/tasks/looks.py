"""What a column of unknown recordings looks like."""

from __future__ import annotations

import pandas as pd


def is_text(values: pd.Series) -> bool:
    """Whether it holds text or categories."""
    return bool(
        pd.api.types.is_object_dtype(values)
        or pd.api.types.is_string_dtype(values)
        or isinstance(values.dtype, pd.CategoricalDtype)
    )


def is_float(values: pd.Series) -> bool:
    """Whether it holds numbers with fractions; whole numbers stored as floats are codes."""
    return bool(pd.api.types.is_float_dtype(values) and (values.dropna() % 1 != 0).any())


def is_dated(files: pd.Series) -> bool:
    """Whether files are named by days: each then holds all devices of one."""
    return bool(files.astype(str).str.contains(r"(?:19|20)\d\d[-_]?[01]\d[-_]?[0-3]\d").all())
