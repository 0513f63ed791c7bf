"""`python -m acclimate` is `acclimate`."""

from acclimate.cli.main import main

main()
