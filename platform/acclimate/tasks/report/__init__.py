"""What is wrong with some recordings before anything is trained on them, each finding with its remedy."""

from acclimate.tasks.report.report import DataReport, report_on

__all__ = ["DataReport", "report_on"]
