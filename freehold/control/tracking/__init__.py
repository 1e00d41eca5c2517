"""MLflow's wire format over the room `track`: paths, bodies, shapes and errors as its clients know them."""
