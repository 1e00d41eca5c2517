"""The long stories, each told once from top to bottom."""
