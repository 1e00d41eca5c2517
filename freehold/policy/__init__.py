"""May they? A pure function from Question to Decision."""
