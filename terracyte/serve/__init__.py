"""`terracyte serve`: a champion behind MLflow's model server, and a page in front of it, in one process."""
