"""The console: pages for people who run fleets, drawn on the server, without a build step or a library."""
