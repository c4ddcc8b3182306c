"""`terracyte predict`: turns pictures or arrays into a table and overlays, in constant memory."""
