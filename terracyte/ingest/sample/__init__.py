"""Procedural drawing of cells and terrain for the embedded sample: NumPy and SciPy only, no image files."""
