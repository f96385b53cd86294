"""Tables on disk: Arrow files, Lance datasets, their hashes and checksums."""
