"""Drift: whether incoming images still look like those that the models were trained on."""
