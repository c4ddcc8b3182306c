"""Running an experiment: what is out of date of it, several tasks, rows or seeds at a time."""
