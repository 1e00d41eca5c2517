"""What control answers, for its description."""
