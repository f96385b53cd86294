"""Commands that fit, judge and use adapters."""
