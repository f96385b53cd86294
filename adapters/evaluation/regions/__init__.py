"""Measures of what is where in pictures, from plain arrays, with intervals over groups."""
