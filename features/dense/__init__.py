"""Rows of the cells of a grid on pictures, in the space of texts; and regions of pictures that they name."""
