"""Kills and faults of whole commands: `make chaos`. How to add one: faults/__init__.py."""
