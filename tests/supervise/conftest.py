"""A whole installation for these tests."""

from tests.installation import installation

__all__ = ["installation"]
