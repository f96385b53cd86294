"""Protocols of evaluation: what is fitted on which rows, and judged on which."""
