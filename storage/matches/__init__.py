"""Files that `evenly match` and `evenly balance` write."""
