"""Pictures: file bytes to RGB, scaled, and as pixels of a batch."""
