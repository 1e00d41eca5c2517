"""What a certificate of forgetting is called, wherever it is read."""

TYPE = "application/vnd.freehold.forgetting+json"
