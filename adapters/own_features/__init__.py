"""Features that users bring along in arrays."""
