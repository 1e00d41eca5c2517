"""Programs the demo leaves in its folder: they use Freehold as anybody would, with stock clients."""
