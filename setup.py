"""Refuse to build where the links in src/evenly are no links: the package would hold no code, without an error."""

from pathlib import Path

from setuptools import setup

LINKS = Path("src/evenly")
ROOMS = ("flows", "tasks", "audit", "curation", "descriptions", "features", "adapters", "storage", "demo")

if missing := [room for room in ROOMS if not (LINKS / room / "__init__.py").is_file()]:
    raise SystemExit(
        f"`{LINKS}/{missing[0]}` must be a symbolic link to the folder `{missing[0]}`; here it is not. A checkout on "
        "Windows or from an archive without links cannot be built: use git on Linux, macOS or WSL."
    )
setup()
