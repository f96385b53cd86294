"""The adapters, one file each. Their names are in ADAPTERS of the package above."""
