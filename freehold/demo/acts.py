"""The first four acts. What they print comes from the commands they type; no figure is written here."""

from __future__ import annotations

import re

from freehold.demo.house import start_provider
from freehold.demo.inbox import Inbox
from freehold.demo.props import write_data, write_service
from freehold.demo.stage import Ran, Stage
from freehold.demo.tuned import two_ways

QUESTION = "Someone reversed into my parked car and drove off."


def beginning(stage: Stage) -> None:
    """A house, its people, two walls."""
    tell = stage.tell
    tell.act("Before the curtain · A house with people in it")
    tell.say("""Harbour Mutual is a small insurer that does not exist. It starts Freehold on this machine:
        two zones, each with keys and a folder of its own, and a first administrator.""")
    with tell.waiting("freehold up, for the first time"):
        greeting = stage.begin()
    tell.shown(greeting)
    stage.freehold("admin", "project", "add", "claims")
    stage.freehold("admin", "project", "add", "screening")
    tell.say("""The administrator runs the house but may neither train nor approve. Each of these gets a key
        of their own. In this demo we sit in for all of them, and sign for both approvers.""")
    for who, role, *where in (
        ("tina", "trainer"),
        ("mara", "model-risk", "claims"),
        ("paul", "data-protection", "claims"),
        ("ada", "auditor"),
    ):
        words = ["people", "add", f"{who}@example.org", "--role", role]
        words += ["--project", where[0]] if where else []
        stage.freehold("admin", *words, "--write-key", f"keys/{who}.key")


def act_1(stage: Stage) -> Inbox:
    """An inbox and a table become data sets, and the table a service."""
    tell = stage.tell
    tell.act("Act 1 · Files become data sets, and data sets services")
    found, tumours = write_data(stage.folder)
    tell.say(f"""Customers wrote {len(found.first)} messages in the app. We invented all of them. Each row
        names its customer, who consented that messages are used for claims handling, or took that back.""")
    add(stage, "inbox.csv")
    tell.say("""What the personal-data screen found is reported, not hidden. Rows of people who withdrew are
        left out before anything is stored. A second file is for judging only: other people, other words,
        every age equally.""")
    add(stage, "inbox-golden.csv", most=2)
    two_ways(stage)
    tell.say(f"""The other project brings a real table: {tumours} tumours, measured under the microscope
        (Wisconsin, 1995, from scikit-learn's package). It becomes a sandbox service in two commands.""")
    add_tumours(stage)
    write_service(stage.folder, "tumour-check.yaml")
    stage.freehold("tina", "apply", "tumour-check.yaml")
    return found


def act_2(stage: Stage, found: Inbox) -> None:
    """A biased candidate is held; a mended one passes, and two people approve it."""
    tell = stage.tell
    tell.act("Act 2 · A biased candidate is held, a mended one approved")
    write_service(stage.folder, "inbox-triage.yaml")
    tell.say("What would happen, at what cost, and who would be asked? A plan changes nothing.")
    stage.freehold("tina", "plan", "inbox-triage.yaml", most=40)
    tell.say("""One gate says: the share of messages sorted right may not differ by more than five points
        between age groups. The first candidate learned from the app alone.""")
    held = stage.freehold("tina", "apply", "inbox-triage.yaml", expect=6)
    tell.good("exit code 6: held. Model and card are kept as evidence; nobody can release it.")
    tell.say(f"""Those over seventy write letters, and letters lay in the post room. {len(found.letters)} of
        them are read in: the same data set, its next version.""")
    stage.freehold(
        *("tina", "data", "add", "inbox-with-letters.csv", "--name", "inbox", "--project", "claims"),
        most=1,
        top=True,
    )
    write_service(stage.folder, "inbox-triage.yaml", {"inbox@1": "inbox@2"})
    tell.say(
        "The service file now says inbox@2 and nothing else changes: the same gate, the same golden set."
    )
    passed = stage.freehold("tina", "apply", "inbox-triage.yaml", expect=7)
    _compare_gaps(stage, held, passed)
    tell.say("""Exit code 7: it waits for people. Two are asked, and neither may be its owner or the one who
        submitted it. Both see the card; what they sign is the digest that was evaluated.""")
    for who, because in (("mara", "the gap is closed"), ("paul", "consents checked")):
        waiting = stage.freehold(who, "approve", "list", "--json", quiet=True).json
        mine = next(a["id"] for a in waiting if not a["not_you"])
        stage.freehold(who, "approve", "give", mine, "--because", because)
    stage.freehold("tina", "apply", "inbox-triage.yaml")


def act_3(stage: Stage) -> str:
    """It is asked with stock clients; every answer can say why. Returns one answer's id."""
    tell = stage.tell
    tell.act("Act 3 · Stock clients ask, and every answer can say why")
    keys = _serving_keys(stage)
    tell.say("""The stock openai client asks; a classifier answers any chat client. The address and the key
        are all that is Freehold's.""")
    said = stage.python("ask.py", keys)
    answer = re.search(r"ans_\w+", said)
    assert answer is not None  # the script prints it last
    tell.say("The table is asked over the Open Inference Protocol, with nothing but Python's own library.")
    stage.python("ask_table.py", keys)
    tell.say("""The insurer has a chat server of its own already (here one that only repeats what it hears).
        It comes under the same keys, purposes, limits and records in one command, without training.""")
    stage.freehold(
        *("admin", "attach", start_provider(stage.folder), "--as", "claims-chat", "--project", "claims"),
        *("--purpose", "claims-handling", "--region", "eu"),
    )
    stage.freehold("anyone", "ask", "claims-chat", "Good morning", "--subject", "anna-k", env=keys)
    tell.say(
        "Now the auditor asks why. From the answer back to people, gates, data, and rows with their basis:"
    )
    stage.freehold("ada", "why", answer[0], most=60)
    tell.say("And forward: what has anna-k's data touched?")
    stage.freehold("ada", "impact", "inbox@2", "--subject", "anna-k", most=40)
    return answer[0]


def act_4(stage: Stage, found: Inbox, answer: str) -> None:
    """What the rules forbid is refused, with a hint; then everything is proved."""
    tell = stage.tell
    tell.act("Act 4 · What is not allowed is refused, and all of it is proved")
    keys = _serving_keys(stage)
    tell.say("Marketing would like to use the same service.")
    stage.freehold(
        *("anyone", "ask", "inbox-triage", QUESTION, "--purpose", "marketing", "--subject", "anna-k"),
        expect=4,
        env=keys,
    )
    withdrew = next(m.customer for m in found.first if m.consent == "withdrawn")
    tell.say(f"And {withdrew} has withdrawn consent; gateways know it.")
    stage.freehold("anyone", "ask", "inbox-triage", QUESTION, "--subject", withdrew, expect=4, env=keys)
    tell.say("Every answer and every refusal has its record. The ledger proves that none was changed:")
    stage.freehold("ada", "receipt", answer, "--out", "receipt.txt")
    stage.freehold("ada", "verify")
    stage.freehold("ada", "verify", "--receipt", "receipt.txt", most=4, top=True)


# -- small things ----------------------------------------------------------------------------------


def add(stage: Stage, file: str, most: int = 24) -> Ran:
    """Tina adds a file of messages."""
    return stage.freehold(
        "tina",
        *("data", "add", file, "--project", "claims", "--purpose", "claims-handling"),
        *("--basis", "consent", "--consent-from", "consent", "--subject", "customer"),
        *("--text", "message", "--target", "topic", "--sensitivity", "Confidential"),
        *("--owner", "claims-platform@example.org", "--keep", "3y", "--region", "eu"),
        most=most,
        top=True,
    )


def add_tumours(stage: Stage) -> None:
    """Tina adds the table."""
    stage.freehold(
        "tina",
        *("data", "add", "tumours.csv", "--project", "screening", "--purpose", "diagnosis-support"),
        *("--basis", "consent", "--consent-from", "consent", "--subject", "patient"),
        *("--target", "finding", "--sensitivity", "Restricted", "--owner", "pathology@example.org"),
        *("--keep", "10y", "--region", "eu"),
        most=8,
        top=True,
    )


def _compare_gaps(stage: Stage, held: Ran, passed: Ran) -> None:
    """Say the two gaps beside each other, as the cards state them."""
    gaps = [_gap(stage, ran) for ran in (held, passed)]
    stage.tell.good(f"recall gap across ages: {gaps[0]} before, {gaps[1]} with the letters")


def _gap(stage: Stage, ran: Ran) -> str:
    journey = re.search(r"jrn_\w+", ran.output)
    assert journey is not None  # apply names it in its first line
    told = stage.freehold("tina", "runs", "show", journey[0], "--json", quiet=True).json
    card = stage.freehold("tina", "runs", "card", told["card"], "--json", quiet=True).json["card"]
    gate = next(g for g in card["gates"] if g["name"] == "bias")
    return f"{float(gate['value']):.3f}"


def _serving_keys(stage: Stage) -> dict[str, str]:
    """Keys to ask with, made once: one a project, each with a purpose when none is said."""
    found = {}
    for variable, project, purpose in (
        ("FREEHOLD_SERVING_KEY", "claims", "claims-handling"),
        ("FREEHOLD_SERVING_KEY_SCREENING", "screening", "diagnosis-support"),
    ):
        file = stage.key_file(f"ask-{project}")
        if not file.exists():
            stage.freehold(
                *("admin", "keys", "create", "--zone", "serving", "--project", project),
                *("--purpose", purpose, "--write-key", f"keys/{file.name}"),
            )
        found[variable] = file.read_text().strip()
    return found
