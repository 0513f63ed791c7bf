"""Acclimate: meta-train one initialization over a whole fleet, ship it safely, let every device adapt it."""

__version__ = "0.1.0"
