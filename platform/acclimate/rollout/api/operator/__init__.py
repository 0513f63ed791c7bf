"""The operator side of HTTP: REST with OpenAPI for everything that the CLI and the console do.

Routes parse, authorize, call the store or `operations`, and answer; they decide nothing. Handlers block and
run in threads. Every change is audited by the store, in the transaction that makes it.
"""
