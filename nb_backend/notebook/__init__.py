"""Jupyter in: the magics and the live cell."""
