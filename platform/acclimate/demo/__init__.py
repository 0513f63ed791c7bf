"""The demo: the whole story on real recordings and real servers, in one command.

`story` does it, phase by phase; `narration` says in words and pictures what happened; `page` makes one
self-contained HTML file of that. `cli.demo` prints and serves.
"""
