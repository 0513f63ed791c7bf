"""The command line: one module per command group; only here do commands print."""
