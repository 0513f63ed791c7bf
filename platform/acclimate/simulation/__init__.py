"""Fleets of the real device SDK on recorded streams, against the real rollout service."""
