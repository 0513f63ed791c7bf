"""The agent of a gateway: enrols, polls, downloads, verifies, stages, and sends reports.

It owns the keys and the network; the application owns the model. They meet on flash only (`storage.slots` and
the report queue), so they may be two processes or one.
"""

from __future__ import annotations

from acclimate_device.agent.agent import Agent
from acclimate_device.agent.config import AgentConfig
from acclimate_device.agent.transport import HttpTransport, Response, Transport

__all__ = ["Agent", "AgentConfig", "HttpTransport", "Response", "Transport"]
