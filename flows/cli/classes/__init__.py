"""Commands about class lists and their descriptions."""
