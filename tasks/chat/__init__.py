"""Chat endpoints of a run: opened, paid for, and asked one by one or in batches."""
