"""`terracyte predict`: pictures or arrays in, a table and overlays out, at constant memory."""
