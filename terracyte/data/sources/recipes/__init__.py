"""Recipes of the embedded sample: what it holds, in which order, and what is wrong with some of it."""
