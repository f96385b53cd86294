"""The checks of `evenly verify`, one file each."""
