"""Why tests are skipped: each reason names the part that is missing, as FREEHOLD_REQUIRE names it."""

TRAIN = "the extra train is not installed here: no torch"
