"""The service over HTTP: the device side, the operator side, and what guards both."""
