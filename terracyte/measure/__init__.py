"""Bounds and thresholds that follow from the images, for parameters that nobody set."""
