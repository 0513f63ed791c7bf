"""A recipe's first guess of what unknown recordings mean, and the choices that depend on what survives."""
