"""Commands about encoders: encode, encoders."""
