"""Reading of files that people hand in, within budgets: what they unpack to counts, not how small they look."""
