"""The controls that `freehold doctor` proves: names as they stand in entries, and what each one is for."""

from __future__ import annotations

CONTROLS: dict[str, str] = {
    "wrong-key": "a key that was never issued opens nothing",
    "wrong-zone": "a key of one zone is void in the other",
    "withdrawn-consent": "nobody who withdrew is asked about",
    "changed-model-byte": "a model that was changed is not loaded",
    "changed-ledger-byte": "a ledger that was changed does not verify",
    "expired-contract": "nothing goes to a provider whose contract has ended",
    "unapproved-digest": "what two people did not approve gets no traffic",
    "job-without-walls": "a job cannot leave its folder, nor reach a network",
    "dead-spool": "what cannot be recorded is not answered",
}
