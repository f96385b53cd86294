"""Values of one's own: columns of the pool, scorers and methods that give each pair a value, and bounds of these."""
