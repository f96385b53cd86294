"""Pictures: file bytes to RGB, scaled, as pixels of a batch, and the text that stands in them."""
