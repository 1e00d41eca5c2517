"""Every command's error path: told in three parts, with its exit code, and nothing is changed.

The table has a case for each command there is; a command without one fails here, and whoever adds a
command says what goes wrong with it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import sqlalchemy as sa

from freehold.cli.main import freehold
from freehold.errors import Failure
from freehold.spec.notes import VerifierKey
from freehold.store import tables
from tests.support.line import Line

TOLD = re.compile(r"freehold: \S.*\n  why:  \S.*\n  hint: \S.*\n")
"""What, why, what now."""
KEY = str(VerifierKey(name="some.where", public=bytes(32)))
MANGLED = "a key is one word of plain letters"
AWAY = "http://127.0.0.1:1"
"""Where nobody listens."""


@dataclass(frozen=True)
class Case:
    """What somebody types, how it ends, and a piece of what they read."""

    words: str
    code: int
    says: str
    who: str = "administrator"


def case(words: str, code: int, says: str, who: str = "administrator") -> Case:
    return Case(words, code, says, who)


ADD = (
    "data add {file} --project claims --purpose claims-handling --basis contract --sensitivity Internal "
    "--owner claims-platform --keep 3y --region eu"
)
FORGET = "forget anna-k --project claims --request DSR-1"
READMIT = "subject readmit anna-k --project claims --purpose claims-handling --request CONTRACT-7"
SUBJECT = "subject export anna-k --project claims"
ATTACH = "attach http://127.0.0.1:1 --as claims-chat --project claims --purpose claims-handling --model m"

CASES = (
    # the house
    case("advise --example bank nonsense.yaml", 2, "a file and an example are two needs"),
    case("advise nonsense.yaml", 2, "there is no such answer"),
    case("advise picture.png", 2, "`picture.png` is no text"),
    case("advise --example bank --facts picture.png", 2, "`picture.png` is no text"),
    case("size picture.png", 2, "`picture.png` is no text"),
    case("plan picture.png", 2, "`picture.png` is no text", who="tim"),
    case("bench load claims-triage --trace picture.png --key-file some.key", 2, "`picture.png` is no text"),
    case(f"{ATTACH} --contract picture.png", 2, "`picture.png` is no text", who="olga"),
    case("size nonsense.yaml", 2, "there is no such field"),
    case("size nonsense.yaml --html nowhere/plan.html", 2, "its folder is not there"),
    case("screens look nowhere.txt", 3, "nowhere.txt"),
    case("screens calibrate nonsense.yaml", 2, "too few to promise 1.00%"),
    case("screens calibrate nonsense.yaml --false-blocks many", 2, "write it as 1% or 0.01"),
    case("screens calibrate header.csv", 2, "the file has none"),
    case("advise --example bank --facts listed.yaml", 2, "a list of names with their figures"),
    case("bench storage empty --size lots", 2, "a whole number with its unit"),
    case("screens calibrate taken.csv --column nothing", 2, "no column `nothing`"),
    case(f"{ATTACH} --each-key '60/min, 2 EUR/day'", 2, "`--price-in` and `--price-out`"),
    case(f"{ATTACH} --guard in.pii=hide", 2, "such as `in.pii=mask`"),
    case(f"{ATTACH} --guard out.injection=refuse", 2, "not guarded this way"),
    case("size", 2, "there is nothing to plan"),
    case("size --from nowhere.csv --model llama-3-8b", 2, "`nowhere.csv` is no file"),
    case("size --from nonsense.yaml --model llama-3-8b", 2, "none of the known columns"),
    case("size --from records --model llama-3-8b", 4, "you may not `answer:read`"),
    case("bench storage nowhere", 2, "`nowhere` is no folder"),
    case("bench storage empty --together tuesday --client 3/2", 2, "`3/2` is no number of several"),
    case("bench storage empty --client 1/2", 2, "goes with `--together`"),
    case("bench storage empty --profile unet4d-h100", 2, "there is no profile `unet4d-h100`"),
    case("bench storage empty --like run:99", 3, "99", who="tim"),
    case("bench storage empty --size '900000 GB'", 9, "do not fit"),
    case("bench compute --side 128 --html nowhere/report.html", 2, "nowhere/report.html"),
    case("bench runs run:99", 3, "there is no run `run:99`", who="tim"),
    case("bench load claims-triage", 4, "there is no key to ask with"),
    case("bench load claims-triage --trace taken.csv --key-file some.key", 2, "is no trace of requests"),
    case("up --config nonsense.yaml", 2, "did you mean `control`?"),
    case("waf --first-id 0", 2, "is not in the range"),
    case("waf --to nowhere/waf.conf", 2, "`nowhere/waf.conf` cannot be written"),
    case("status nowhere", 3, "there is no service `nowhere`"),
    case("status --at 2026-11-21", 2, "freehold status SERVICE --at TIME"),
    case("status claims-triage --at yesterday", 2, "ISO 8601"),
    case("status claims-triage --at 0001-01-01", 2, "of 1970 or later"),
    case("status claims-triage --at 9999-12-31T23:59-23:00", 2, "of 1970 or later"),
    case("incident list", 4, "`incident:read`", who="tim"),
    case("incident show inc_none", 3, "there is no incident `inc_none`"),
    case("incident acknowledge inc_none", 3, "there is no incident `inc_none`"),
    case("incident close inc_none --because dealt-with", 3, "there is no incident `inc_none`"),
    case("keys unlock key_none --because dealt-with", 3, "there is no key `key_none`"),
    case("recover --home nowhere", 3, "nowhere"),
    case("recover --administrator nobody@example.org", 3, "FREEHOLD_HOME"),
    case("upgrade --yes", 9, "FREEHOLD_HOME"),
    # words that click refuses
    case("keys create --projct claims", 2, "did you mean `--project`?"),
    case("keys create -q", 2, "`freehold keys create --help` lists them"),
    case("keys create --project", 2, "`freehold keys create` cannot be called so"),
    case("stop claims-triage", 2, "`freehold stop` needs `--because`"),
    case("data diff inbox@1", 2, "`freehold data diff` needs `"),
    case("status claims-triage now", 2, "got unexpected extra argument (now)"),
    case("bench compute --side 3", 2, "`--side`: 3 is not in the range"),
    case("status x\udcff", 2, "bytes that are not UTF-8"),
    case("stop claims-triage --because x\udcff", 2, "bytes that are not UTF-8", who="olga"),
    case("ask x\udcff hello --key-file some.key", 2, "bytes that are not UTF-8"),
    case(
        "ask claims-triage hi --subject 'anna\nk' --key-file some.key",
        2,
        "the subject cannot be sent as it is",
    ),
    case("plan nowhere.yaml", 2, "`FILE`: `nowhere.yaml`: no such file"),
    case("data add nowhere.csv --project claims", 2, "file `nowhere.csv` does not exist", who="tim"),
    # people
    case("people add ann@example.org --role trainer", 5, "already"),
    case("people add new@example.org --role trainr", 2, "did you mean `trainer`?"),
    case("people add new@example.org --role trainer --write-key taken.csv", 2, "taken.csv"),
    case("people list", 4, "none of your roles there permits it", who="tim"),
    case("people roles nobody@example.org --give trainer", 3, "there is no person"),
    case("people lock nobody@example.org", 3, "there is no person"),
    case("people lock administrator@localhost", 4, "locks themselves out"),
    case("people unlock nobody@example.org", 3, "there is no person"),
    case("people me", 4, "the key is missing or not valid here", who="nobody"),
    case("people me", 4, MANGLED, who="two-lines"),
    case("people me", 4, MANGLED, who="foreign"),
    case("people me --key-file taken.csv", 4, MANGLED),
    case("people me --key-file picture.png", 4, MANGLED),
    case("people me --url nonsense", 2, "`nonsense` is no address of control"),
    case("people me --url http://[", 2, "`http://[` is no address of control"),
    case("people me --url http://127.0.0.1:99999", 2, "is no address of control"),
    case("project add claims", 5, "already"),
    case("project limit clams 60/min", 3, "no project `clams`"),
    case("project limit claims 60/hour", 2, "is not a limit"),
    case("project limit claims 0/min", 2, "a whole number a minute"),
    case("project limit claims '2 USD/day'", 2, "nothing here converts money"),
    case("project guard clams in.pii=mask", 3, "no project `clams`"),
    case("project guard claims in.pii=hide", 2, "is no guard"),
    case("project guard claims in.pii=none", 2, "it asks for nothing"),
    case("project guard claims in.pii=mask --sensitivity Secret", 2, "is no sensitivity"),
    case("keys create --project claims --guard in.pii=hide", 2, "is no guard"),
    case("keys create --project claims --limits '60/min, 70/min'", 2, "is limited twice"),
    case("keys lst", 2, "did you mean `freehold keys list`?"),
    case("keys nonsense", 2, "`freehold keys --help` lists them"),
    case("verfy", 2, "did you mean `freehold verify`?"),
    case("project list", 4, "the key is missing or not valid here", who="nobody"),
    case("keys create --project clams", 3, "no project `clams`"),
    case("keys create --project claims --service nowhere", 2, "no service `nowhere`"),
    case("keys list", 4, "the key is missing or not valid here", who="nobody"),
    case("keys revoke key_nowhere", 3, "no key `key_nowhere`"),
    case("keys renew --expires 5", 2, "span of time"),
    case("keys renew --write-key taken.csv", 2, "taken.csv"),
    # data
    case(ADD.format(file="broken.csv") + " --name broken", 2, "line 3", who="tim"),
    case(ADD.format(file="taken.csv") + " --name new --subject custmer", 2, "customer", who="tim"),
    case(ADD.format(file="taken.csv") + " --name new", 4, "none of your roles", who="aud"),
    case("data list --project clams", 4, "clams", who="tim"),
    case("data show nowhere@1", 3, "nowhere", who="tim"),
    case("data diff inbox@1 inbox@9", 3, "inbox@9", who="tim"),
    case("data withdraw clams anna-k --purpose claims-handling", 4, "none of your roles"),
    case("data withdraw claims anna-k --purpose claims-handling", 4, "none of your roles", who="aud"),
    case("data consent clams anna-k --purpose claims-handling", 4, "none of your roles"),
    case("base add empty --project claims --as tiny@1 --license apache-2.0", 2, "empty", who="tim"),
    case("base list --project clams", 4, "clams", who="tim"),
    case("base show nowhere@1", 3, "nowhere", who="tim"),
    # from data to a served model
    case("plan unknown-field.yaml", 2, "did you mean `purpose`?", who="tim"),
    case("plan no-data.yaml", 3, "nowhere", who="tim"),
    case("apply no-data.yaml --no-wait", 3, "nowhere", who="tim"),
    case("apply service.yaml --no-wait", 4, "none of your roles", who="aud"),
    case("retrain nowhere --data inbox@1", 3, "nowhere", who="tim"),
    case("runs list", 4, "the key is missing or not valid here", who="nobody"),
    case("runs journeys", 4, "the key is missing or not valid here", who="nobody"),
    case("runs 99", 2, "did you mean `freehold runs show 99`?", who="tim"),
    case("runs show 99", 3, "99", who="tim"),
    case("compare run:98 run:99", 3, "98", who="tim"),
    case("runs card crd_nowhere", 3, "crd_nowhere", who="tim"),
    case("runs stop jrn_nowhere", 3, "jrn_nowhere", who="tim"),
    # release
    case("approve list", 4, "the key is missing or not valid here", who="nobody"),
    case("approve show apr_nowhere", 3, "apr_nowhere", who="ann"),
    case("approve give apr_nowhere", 3, "apr_nowhere", who="ann"),
    case("approve give {approval}", 4, "model-risk", who="bob"),
    case("approve refuse apr_nowhere --because no", 3, "apr_nowhere", who="ann"),
    case("rollback nowhere --because why", 3, "nowhere", who="olga"),
    case("rollback claims-triage --because why", 5, "release", who="olga"),
    case("stop nowhere --because why", 3, "nowhere", who="olga"),
    case("resume nowhere --because why", 3, "nowhere", who="olga"),
    case("resume claims-triage --because why", 5, "not stopped", who="olga"),
    case(ATTACH + " --plan", 4, "none of your roles", who="aud"),
    case(ATTACH.replace("http://", "ftp://"), 2, "no http or https address", who="olga"),
    case("approve claims-triage", 2, "did you mean `freehold approve give claims-triage`?", who="ann"),
    case("approve giv claims-triage", 2, "did you mean `freehold approve give`?", who="ann"),
    case("notify list", 4, "none of your roles", who="tim"),
    case("notify mail", 2, "mail"),
    case("notify webhook ftp://example.org", 2, "no http or https address"),
    case("notify remove ntc_nowhere", 3, "ntc_nowhere"),
    # answers
    case("ask claims-triage hello --gateway http://127.0.0.1:1 --key-file some.key", 9, "does not answer"),
    case("ask claims-triage hello", 4, "there is no key to ask with"),
    case("ask claims-triage hello --key-file taken.csv", 4, MANGLED),
    case("ask claims-triage hello --key-file some.key --gateway 127.0.0.1:1", 2, "no address of the gateway"),
    case("answer ans_nowhere", 3, "ans_nowhere", who="aud"),
    case("why ans_nowhere", 3, "ans_nowhere", who="aud"),
    case("impact nowhere@1", 3, "nowhere", who="aud"),
    # one person
    case("subject show anna-k --project claims", 4, "none of your roles", who="tim"),
    case("subject show anna-k --project clams", 4, "none of your roles", who="bob"),
    case("subject export anna-k --project claims --out anna.json", 4, "none of your roles", who="aud"),
    case("forget anna-k --project claims --request DSR-1", 4, "none of your roles", who="tim"),
    case("forget anna-k --project claims --request DSR-1 --yes", 4, "none of your roles", who="ann"),
    case(f"{FORGET} --yes --certificate nowhere/gone.json", 2, "`nowhere/gone.json` cannot", who="bob"),
    case(f"{SUBJECT} --out nowhere/anna.json", 2, "`nowhere/anna.json` cannot be written", who="bob"),
    case("forget anna-k --project claims --request no/names!please --yes", 2, "DSR-2026-118", who="bob"),
    case(f"{READMIT} --basis contract", 5, "nobody of this name was forgotten there", who="bob"),
    case(f"{READMIT} --basis contract --yes", 4, "none of your roles", who="tim"),
    case(f"{READMIT} --basis because", 2, "it is one of consent, contract", who="bob"),
    case(f"{READMIT} --basis legal-obligation --yes", 2, "is not kept out", who="bob"),
    case(f"{READMIT} --yes", 2, "say --basis and --purpose", who="bob"),
    # the ledger
    case("verify", 3, "FREEHOLD_HOME"),
    case("verify --from taken.csv", 3, "FREEHOLD_HOME"),
    case("verify --page nowhere/verify.html", 2, "`nowhere/verify.html` cannot be written"),
    case("ledger types tea", 3, "no kind of entry `tea`"),
    case("ledger entries", 4, "none of your roles", who="tim"),
    case("ledger entries --since yesterday", 2, "ISO 8601"),
    case("ledger entries --kind tea.drunk", 2, "no kind of entry"),
    case("ledger entries --project clams", 3, "no project `clams`"),
    case("ledger entries --older 7", 2, "the `next` of the page before"),
    case("status claims-triage --at 2999-01-01", 2, "has not come yet"),
    case("ledger show ent_nowhere", 3, "ent_nowhere", who="aud"),
    case("verify --key nonsense", 2, "no public key of a ledger"),
    case("verify --receipt taken.csv --key {key}", 8, "receipt"),
    case("verify --certificate taken.csv --key {key}", 2, "no certificate"),
    case("receipt ans_nowhere", 3, "ans_nowhere", who="aud"),
    case("receipt ../../ledger/key", 3, "there is no answer `../../ledger/key`", who="aud"),
    case("export leaving", 2, "freehold export --all leaving"),
    case("export --all empty", 5, "empty"),
    case("export --all leaving", 4, "none of your roles", who="tim"),
    case("verify --accept-restored ent_nowhere", 8, "no entry `ent_nowhere`"),
    case("keys rotate-epoch", 4, "none of your roles", who="bob"),
    case("retention show clams", 4, "none of your roles", who="bob"),
    case("retention show claims", 4, "the key is missing or not valid here", who="nobody"),
    case("retention set claims --words soon", 2, "how long", who="bob"),
    case("retention set claims --words 90d --sensitivity secret", 2, "no sensitivity", who="bob"),
    case("retention set claims", 2, "one of --words and --runs", who="bob"),
    case("retention set claims --runs 1y --purpose marketing", 2, "for all of a project", who="bob"),
    case("retention set claims --words 90d", 4, "none of your roles"),
    case("retention unset claims --purpose nowhere", 3, "no such rule", who="bob"),
    case("retention certificate jrn_nowhere --out purged.json", 3, "jrn_nowhere", who="bob"),
    case("hold place claims --because why", 2, "does not say what is held", who="bob"),
    case("hold place claims --everything --because ' '", 2, "needs a reason", who="bob"),
    case("hold place claims --service claims-triag --because why", 3, "would keep nothing", who="bob"),
    case("hold place claims --data Not/One --because why", 3, "Not/One", who="bob"),
    case("hold place claims --purpose claims --because why", 3, "no purpose `claims`", who="bob"),
    case("hold list claims", 4, "none of your roles", who="tim"),
    case("hold end hld_nowhere --because over", 3, "hld_nowhere", who="bob"),
    case("import empty", 2, "freehold export --all --exact"),
    case("backup s3://bucket/name", 2, "ends in `.tar`"),
    case("backup 's3://bucket/name.tar?secret=1'", 2, "is no place in S3"),
    case("restore s3:name --keys keys", 3, "there is no backup"),
    case("backup", 2, "freehold backup freehold-backup.tar"),
    case("backup empty", 5, "is there already"),
    case("backup nowhere/backup", 2, "no folder"),
    case("backup leaving", 4, "none of your roles", who="tim"),
    case("backup --list", 4, "none of your roles", who="tim"),
    case("backup --gone bak_nowhere", 3, "bak_nowhere"),
    case("restore nowhere --keys empty", 2, "no epoch key"),
    case("restore nowhere --keys keys", 3, "there is no backup"),
    case("restore nowhere --keys keys --home .", 5, "not empty"),
    case("restore taken.csv --keys keys", 8, "no whole tar"),
    case("doctor --last", 4, "none of your roles", who="tim"),
    case("doctor", 4, "none of your roles", who="tim"),
    # the demo
    case("demo --folder empty", 5, "clean"),
    case("demo --folder taken.csv/below", 9, "the folder `"),
    case("demo --folder nowhere start", 3, "there is no demo in"),
    case("demo --folder nowhere stop", 3, "there is no demo in"),
    case("demo --folder empty clean", 5, "stays as it is"),
    case("demo files", 5, "inbox.csv"),
)

FILES = {
    "taken.csv": "customer,message\nanna-k,hello\n",
    "inbox.csv": "customer,message\nanna-k,hello\n",
    "broken.csv": "customer,message\nanna-k,hello\nben-o,hello,once more\n",
    "nonsense.yaml": "contrl: 127.0.0.1:7400\n",
    "header.csv": "text\n",
    "listed.yaml": "- a list\n",
    "some.key": "fhs_x_y\n",
    "service.yaml": (
        "service: claims-sorter\nproject: claims\nowner: claims-platform\npurpose: claims-handling\n"
        "sensitivity: Internal\ntier: sandbox\nregions: [eu]\nsubject: none\n"
        "model: {data: inbox@1, task: classify}\n"
    ),
}
FILES["unknown-field.yaml"] = FILES["service.yaml"].replace("purpose:", "purpos:")
FILES["no-data.yaml"] = FILES["service.yaml"].replace("inbox@1", "nowhere@1")


# -- the table is whole -----------------------------------------------------------------------------------


def commands(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with the words that reach it."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from commands(below, *path, name)


EVERY = dict(commands(freehold))


def reached(words: str) -> tuple[str, ...]:
    """The command that these words call."""
    command: click.Command = freehold
    path: tuple[str, ...] = ()
    for word in shlex.split(words):
        below = (
            command.get_command(click.Context(command), word) if isinstance(command, click.Group) else None
        )
        if below is not None:
            command, path = below, (*path, word)
    return path


def test_every_command_says_what_goes_wrong_with_it() -> None:
    missing = EVERY.keys() - {reached(one.words) for one in CASES}
    assert not missing, f"tests/cli/test_error_paths.py has no case for {sorted(map(' '.join, missing))}"


def test_every_option_of_every_command_is_explained() -> None:
    silent = [
        f"freehold {' '.join(path)} {option.opts[0]}"
        for path, command in EVERY.items()
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert not silent


# -- and each of its cases is as it says ------------------------------------------------------------------


@pytest.fixture(scope="module")
def line(shared: Any) -> Line:
    house, _ = shared
    made = Line(house)
    made.data("text,category\n" + "".join(f"water {n},property\ncar {n},motor\n" for n in range(30)))
    made.keys |= {"administrator": house.administrator_key, "nobody": "fhc_nowhere_nothing"}
    made.keys |= {"two-lines": "key (shown once):\nfhc_nowhere_nothing", "foreign": "fhc_nowhere_schlüssel"}
    return made


@pytest.fixture(scope="module")
def approval(line: Line) -> str:
    """One that waits for model-risk."""
    return line.ask(line.model())[0]


@pytest.fixture
def folder(tmp_path: Path, shared: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the cases name; the home folder of a host that holds no Freehold."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff")
    (tmp_path / "empty").mkdir()
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "epoch.key").write_bytes(bytes(32))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "no-home"))
    monkeypatch.delenv("FREEHOLD_SERVING_KEY", raising=False)
    return tmp_path


def state(house: Any, folder: Path) -> tuple[int, list[int], list[str]]:
    """What a command could have changed: entries except refusals, rows of state, files beside it."""
    with house.parts.ground.db.read() as conn:
        entries = conn.scalar(sa.select(sa.func.count()).where(tables.entries.c.kind != "refusal"))
        rows = [
            conn.scalar(sa.select(sa.func.count()).select_from(table)) or 0
            for table in tables.metadata.sorted_tables
            if "operational" not in table.info and table is not tables.entries
        ]
    return entries or 0, rows, sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def exit_codes(kind: type[Failure] = Failure) -> Iterator[int]:
    yield kind.exit_code
    for below in kind.__subclasses__():
        if isinstance(below.exit_code, int):
            yield from exit_codes(below)


@pytest.mark.parametrize("one", CASES, ids=lambda one: f"{one.words[:60]} → {one.code}")
def test_a_mistake_is_told_in_three_parts_and_changes_nothing(
    one: Case, line: Line, approval: str, shared: Any, folder: Path, shell: Any
) -> None:
    house, url = shared
    before = state(house, folder)
    words = one.words.replace("{approval}", approval).replace("{key}", KEY)
    said = shell(*shlex.split(words), url=url, key=line.keys[one.who])
    assert said.code == one.code, said.err
    assert one.code in set(exit_codes())
    assert one.says in said.err
    assert TOLD.fullmatch(said.err), said.err
    assert line.keys[one.who] not in said.err
    assert "Traceback" not in said.err
    assert said.out == ""
    assert state(house, folder) == before


THROUGH_CONTROL = [
    one
    for one in CASES
    if one.code in (3, 4)
    and any(p.name == "url" for p in EVERY[reached(one.words)].params)
    and one.says != MANGLED  # these two are refused before anybody is asked
    and "../" not in one.words
]


@pytest.mark.parametrize("one", THROUGH_CONTROL, ids=lambda one: one.words[:60])
@pytest.mark.usefixtures("folder")
def test_without_control_every_command_says_where_it_looked(one: Case, shell: Any) -> None:
    words = one.words.replace("{approval}", "apr_nowhere")
    said = shell(*shlex.split(words), url=AWAY, key="fhc_nowhere_nothing")
    assert said.code == 9, said.err
    assert TOLD.fullmatch(said.err), said.err
    assert AWAY in said.err
