"""`python -m flows` is `evenly`."""

from flows.cli import main

main()
