"""Which approach, how much hardware, at what cost: figures with their sources, formulas, and rules."""
