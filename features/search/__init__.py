"""Search: queries of several rows, and what is nearest to them, without holding all rows."""
