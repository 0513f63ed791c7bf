"""Tasks: recordings keyed by task, and the episodes that learners are trained and judged on."""

from acclimate.tasks.building.build import build_in_memory, build_pool
from acclimate.tasks.datasets import DATASETS, open_dataset
from acclimate.tasks.episodes import EpisodePlan, Episodes, Examples, Sampler, TaskDistribution
from acclimate.tasks.episodes.sinusoid import Sinusoids
from acclimate.tasks.episodes.split import Split, split_tasks
from acclimate.tasks.opening import open_tasks
from acclimate.tasks.pool import TaskPool
from acclimate.tasks.pool.stream import StreamExample, stream
from acclimate.tasks.recordings import RecordingSchema
from acclimate.tasks.report import DataReport, report_on
from acclimate.tasks.report.findings import Finding
from acclimate.tasks.sources import Source, from_arrays, from_files, from_frame

__all__ = [
    "DATASETS",
    "DataReport",
    "EpisodePlan",
    "Episodes",
    "Examples",
    "Finding",
    "RecordingSchema",
    "Sampler",
    "Sinusoids",
    "Source",
    "Split",
    "StreamExample",
    "TaskDistribution",
    "TaskPool",
    "build_in_memory",
    "build_pool",
    "from_arrays",
    "from_files",
    "from_frame",
    "open_dataset",
    "open_tasks",
    "report_on",
    "split_tasks",
    "stream",
]
