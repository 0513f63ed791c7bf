"""A folder to begin with: sample data, recipe, device application, and the commands to a first result."""

from acclimate.project.commands import COMMANDS, Command
from acclimate.project.folder import make_project

__all__ = ["COMMANDS", "Command", "make_project"]
