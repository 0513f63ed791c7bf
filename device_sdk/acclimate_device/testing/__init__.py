"""Everything needed to test an application, or a fleet, against this SDK without hardware or network.

* `SimulatedFlash`: loses what was not synced when its power is cut, at any call you choose.
* `SimulatedRepository`: a signed TUF repository in memory, to tamper with.
* `tiny_bundle`: a real bundle of a few KiB.
"""
