"""How wide one cell of a CSV file may be.

The csv module keeps one limit for the whole process: whoever reads CSV imports it from here, so that no
reader changes what another takes. Its own, 128 KB, is less than a long letter.
"""

from __future__ import annotations

import csv

WIDEST = 16 * 2**20
"""Characters."""

csv.field_size_limit(WIDEST)
