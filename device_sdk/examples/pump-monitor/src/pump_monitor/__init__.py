"""Tells the state of a pump from its sensors, and learns this pump from the operator's corrections."""
