"""`terracyte serve`: MLflow's model server for a champion and a web page for it, in one process."""
