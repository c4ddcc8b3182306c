"""Running an experiment: what is out of date of it, several tasks or rows at a time."""
