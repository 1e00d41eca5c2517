"""The pages; `console.registry` says which, and in which order."""
