"""Files that users bring along or take away."""
