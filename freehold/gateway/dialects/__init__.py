"""How each kind of provider is spoken to; OpenAI's words inside, theirs outside."""
