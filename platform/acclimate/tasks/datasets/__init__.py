"""Named data sets: real recordings with a declared schema, found on disk or downloaded, built once."""

from acclimate.tasks.datasets.catalog import DATASETS, NamedDataset, find_dataset, load_dataset, open_dataset

__all__ = ["DATASETS", "NamedDataset", "find_dataset", "load_dataset", "open_dataset"]
