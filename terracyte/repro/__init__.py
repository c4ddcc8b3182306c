"""Run the stages of an experiment that are out of date, several tasks, rows or seeds at a time."""
