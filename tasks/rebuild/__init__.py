"""The steps of a rebuild, one file each."""
