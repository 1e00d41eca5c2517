"""The nouns as frozen records; YAML in, records out."""
