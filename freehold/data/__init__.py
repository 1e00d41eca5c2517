"""Intake, versions, consent, retention."""
