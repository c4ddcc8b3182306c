"""A new experiment from a folder of labelled images."""
