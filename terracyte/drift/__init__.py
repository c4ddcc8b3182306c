"""Drift: whether images that come in still look like those that the models were trained on."""
