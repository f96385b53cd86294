"""Versions of libraries, as far as numbers are taken to depend on them."""


def major_minor(version: str) -> str:
    """The first two numbers of a version."""
    return ".".join(version.split(".")[:2])
