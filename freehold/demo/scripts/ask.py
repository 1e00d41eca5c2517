"""Ask the inbox service with the stock OpenAI client: only the address and the key are Freehold's."""

import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ["FREEHOLD_GATEWAY"] + "/v1",
    api_key=os.environ["FREEHOLD_SERVING_KEY"],
)
about = {"purpose": "claims-handling", "subject": "anna-k"}

whole = client.chat.completions.with_raw_response.create(
    model="inbox-triage",
    messages=[{"role": "user", "content": "Our flight to Lisbon was cancelled, who pays for the hotel?"}],
    metadata=about,
)
print("whole: ", whole.parse().choices[0].message.content)

pieces = client.chat.completions.create(
    model="inbox-triage",
    messages=[{"role": "user", "content": "I beg to report that my roof has suffered in the gale."}],
    metadata=about,
    stream=True,
)
words = [piece.choices[0].delta.content or "" for piece in pieces if piece.choices]
print("stream:", "".join(words), f"in {len(words)} pieces")

print("record:", whole.headers["x-freehold-answer"])
