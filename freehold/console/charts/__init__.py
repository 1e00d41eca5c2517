"""Drawings: server-made SVG without styles of its own, coloured by classes of the style sheet."""
