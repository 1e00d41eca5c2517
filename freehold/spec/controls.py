"""The controls that `freehold doctor` proves: names as they stand in entries, and what each one is for."""

from __future__ import annotations

CONTROLS: dict[str, str] = {
    "wrong-key": "a key that was never issued opens nothing",
    "wrong-zone": "a key of one zone is void in the other",
    "expired-key": "a key is void from the moment it expires, whether control is there to say so or not",
    "uncleared-key": "a key asks nothing more sensitive than it was issued for",
    "foreign-token": "a token counts when its issuer signed it, for us, and not longer than it says",
    "foreign-certificate": "a client certificate counts when its CA is declared and a grant names its holder",
    "withdrawn-consent": "nobody who withdrew is asked about",
    "changed-model-byte": "a model that was changed is not loaded",
    "changed-ledger-byte": "a ledger that was changed does not verify",
    "expired-contract": "nothing goes to a provider whose contract has ended",
    "restricted-outside": "Restricted words go to nobody outside, whatever a contract says",
    "unapproved-digest": "what two people did not approve gets no traffic",
    "forgotten-digest": "what learned from somebody who was forgotten answers nobody",
    "forgotten-person": "who was forgotten is gone, and no file brings them in again",
    "planted-iban": "what has to be masked reaches neither the model nor the caller",
    "planted-key": "a secret is refused before it goes out, and before it comes back",
    "planted-jailbreak": "what wants to put the instructions aside does not reach the model",
    "fetched-text": "what a tool brought is marked as data, and no tool can be called while it is read",
    "dead-detector": "what a guard cannot look at is not let through",
    "guard-floor": "what a project wants guarded is, whatever a service says",
    "outside-domain": "a row unlike those a model was trained on is refused, where that is wanted",
    "attack-replayed": "who repeats an attack is locked out at once, and somebody hears of it",
    "exhausted-budget": "when the money of a day is spent, nothing more is",
    "open-breaker": "a provider that fails is not asked by everybody",
    "fallback-inside": "nobody stands in who may not have the words",
    "job-without-walls": "a job cannot leave its folder, nor reach a network",
    "dead-spool": "what cannot be recorded is not answered",
}
