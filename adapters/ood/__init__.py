"""Out-of-distribution scores and their measures, on logits and frozen features."""
