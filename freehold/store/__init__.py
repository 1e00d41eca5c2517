"""Rows, blobs, sealed content and its keys."""
