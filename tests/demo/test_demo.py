"""The demo, played for real once; then its dares are pasted, each as it was printed."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import postgres_server
import pytest
from console import Shell
from started import FREEHOLD

from freehold.demo import tuned
from freehold.demo.tell import Teller

pytestmark = pytest.mark.timeout(900)


def demo(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`freehold demo …`, as make does it."""
    command = [*FREEHOLD, "demo", "--folder", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=880)


@dataclass(frozen=True, slots=True)
class Played:
    """What it printed, and where it plays."""

    folder: Path
    text: str

    def dare(self, number: int) -> list[str]:
        """The lines to paste."""
        _, _, after = self.text.partition(f"\nDare {number} · ")
        _, _, lines = after.partition(":\n\n")
        return lines.partition("\n\n")[0].splitlines()

    def paste(self, number: int) -> list[str]:
        """Paste them into a fresh shell, after the line that the demo says comes first."""
        first = re.search(r"^\. (.+)/env$", self.text, re.M)
        assert first is not None
        env = {k: v for k, v in os.environ.items() if not k.startswith("FREEHOLD_")}
        shell = Shell(self.folder, env)
        try:
            return [shell.run(line, timeout=120)[1] for line in [first[0], *self.dare(number)]]
        finally:
            shell.close()


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("stage") / "demo.d"
    config = postgres_server.config_for(folder.parent)  # with `make test DATABASE=postgres`: there
    ran = demo(folder, "--config", str(config)) if config else demo(folder)
    try:
        assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr
        yield Played(folder, ran.stdout)
    finally:
        demo(folder, "clean")
        if config:
            assert postgres_server.is_empty(config)


def test_it_tells_five_acts_with_figures_of_its_own_run(played: Played) -> None:
    acts = re.findall(r"^(Act \d) · ", played.text, re.M)
    assert acts == [f"Act {number}" for number in range(1, 6)]
    rows, left_out = re.findall(
        r"inbox@1 added: (\d+) rows · (\d+) left out: consent withdrawn", played.text
    )[0]
    written = (played.folder / "inbox.csv").read_text().splitlines()[1:]
    assert int(rows) + int(left_out) == len(written)
    assert int(rows) >= 600
    assert int(left_out) == sum(line.endswith(",withdrawn") for line in written)


def test_the_biased_candidate_is_held_and_the_mended_one_passes_the_same_gate(played: Played) -> None:
    assert re.search(r"is held\n +why: +gate bias: recall gap 0\.\d+ > 0\.05 for age_band 70\+", played.text)
    before, after = re.findall(r"recall gap across ages: ([\d.]+) before, ([\d.]+) with", played.text)[0]
    assert float(before) > 0.05 >= float(after)
    assert "all approvals are there, the release begins" in played.text


def test_stock_clients_were_answered_and_an_answer_leads_to_rows_with_their_basis(played: Played) -> None:
    assert re.search(r'whole: +{"class":"travel","confidence":0\.\d+}', played.text)
    assert "marked sandbox" in played.text
    assert re.search(r"claims-chat asks fake-1 at http://127.0.0.1:\d+/v1; every", played.text)
    assert "You said: Good morning" in played.text
    assert re.search(r"row inbox@2#\d+ · basis consent, consent given for claims-handling", played.text)


def test_what_is_not_allowed_was_refused_with_a_hint(played: Played) -> None:
    assert "`inbox-triage` may not be used for `marketing`" in played.text
    assert "has withdrawn consent" in played.text


def test_a_tuned_language_model_stands_beside_the_linear_one_on_one_card(played: Played) -> None:
    if gone := tuned.missing():
        assert f"for want of {', '.join(gone)}." in " ".join(played.text.split())
        pytest.skip(f"fine-tuning is not installed here: no {' and no '.join(gone)}")
    # by how much differs with the random keys that order its rows; about six points, of 410 rows
    interval = r"\([+-]0\.\d+ to \+0\.\d+\)"
    figures = rf"accuracy +(0\.\d+), inbox-trial@1 (0\.\d+), difference \+0\.\d+ {interval}"
    found = re.search(rf"beside inbox-trial@1: (\d+) rows, the same for both\n +{figures}", played.text)
    assert found is not None
    assert float(found[2]) > float(found[3])
    assert re.search(r"^ +seconds +[\d.]+ s +[\d.]+ s$", played.text, re.M)
    assert re.search(r"^ +energy, estimated +\S+ Wh +\S+ Wh$", played.text, re.M)
    sizes = re.search(r"^ +size of the model +([\d.]+) MB +([\d.]+) MB$", played.text, re.M)
    assert sizes is not None
    assert float(sizes[1]) < 5 < float(sizes[2])
    measured = r"0\.\d+ \(0\.\d+ to [01]\.\d+\)"
    for figure in ("accuracy", "macro_f1"):
        assert re.search(rf"^ +{figure} on inbox-golden@1 +{measured} +{measured}$", played.text, re.M)


def test_somebody_is_forgotten_and_what_learned_from_her_is_made_again_and_refused(played: Played) -> None:
    _, _, act = played.text.partition("Act 5 · ")
    told = re.search(
        r"✓ rows (\d+) · models (\d+) · rebuilt = retrained without her, byte for byte ✓ · "
        r"old digest refused ✓ · certificate.json",
        act,
    )
    assert told is not None
    rows = sum(
        (played.folder / file).read_text().count("\nanna-k,")
        for file in ("inbox.csv", "inbox-with-letters.csv")
    )
    assert (int(told[1]), int(told[2])) >= (rows, 2)
    assert "it learned from somebody who was forgotten" in act
    assert re.search(r"certificate holds: crt_\w+ for DSR-2026-118", act)
    assert "anna-k" not in (played.folder / "certificate.json").read_text()


def test_what_is_left_out_is_said_with_the_command_that_brings_it(capsys: pytest.CaptureFixture[str]) -> None:
    tuned.leave_out(Teller(), ["torch", "peft"])
    said = " ".join(capsys.readouterr().out.split())
    assert "Left out here: fine-tuning a small language model" in said
    assert "for want of torch, peft. `make clean-demo demo WITH=train` plays it, too" in said


def test_it_says_how_long_it_took_and_notes_what_was_played(played: Played) -> None:
    said = re.search(r"That was (\d+) seconds", played.text)
    assert said is not None
    note = json.loads((played.folder / "played.json").read_text())
    assert note["fine_tuned"] is not bool(tuned.missing())
    assert note["missing"] == tuned.missing()
    assert abs(note["seconds"] - int(said[1])) < 60


def test_it_says_where_the_console_is_and_with_which_key(played: Played) -> None:
    console, key = re.findall(r"(http://\S+) +the console; log in with the key in (\S+)", played.text)[0]
    with urllib.request.urlopen(console + "log-in", timeout=10) as page:
        assert "Log in" in page.read().decode()
    assert Path(key).read_text().startswith("fhc_")


def drawn(folder: Path) -> dict[str, int]:
    """Width by name of the pictures in a folder, from their own headers; each has something in it."""
    found = {}
    for picture in folder.glob("*.png"):
        data = picture.read_bytes()
        assert len(data) > 20_000
        (found[picture.name],) = struct.unpack(">I", data[16:20])
    return found


def test_the_pictures_in_the_readme_are_made_of_its_pages(played: Played, tmp_path: Path) -> None:
    if shutil.which("chromium") is None and shutil.which("chromium-browser") is None:
        pytest.skip("this machine has no chromium")
    root = Path(__file__).parents[2]
    command = [sys.executable, str(root / "docs/make_pictures.py"), str(played.folder), str(tmp_path)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert made.returncode == 0, made.stderr
    assert drawn(tmp_path) == drawn(root / "docs/pictures")
    named = re.findall(r"!\[[^\]]+\]\(docs/pictures/([\w-]+\.png)\)", (root / "README.md").read_text())
    assert {*named} <= {*drawn(tmp_path)}
    assert named


def test_dare_1_a_flipped_byte_is_named_and_its_repair_is_seen(played: Played) -> None:
    *_, broken, repaired = played.paste(1)
    assert "exit code 8" in broken
    assert re.search(r"does not verify at tile/entries/\S+", broken)
    assert "ledger verified" in repaired


def test_dare_2_a_changed_model_does_not_answer(played: Played) -> None:
    *_, changed, _, mended = played.paste(2)
    assert "exit code 9" in changed
    assert re.search(r"wrong: .*`model.onnx` has another digest than was signed", changed)
    assert re.search(r"^property +0\.\d\d$", mended, re.M)


def gateway_of(played: Played) -> str:
    """The process number of the gateway, as `freehold status` tells it."""
    shell = Shell(played.folder, {k: v for k, v in os.environ.items() if not k.startswith("FREEHOLD_")})
    try:
        shell.run(f". {played.folder}/env")
        _, said = shell.run("freehold status")
    finally:
        shell.close()
    (number,) = re.findall(r"^\s*gateway +running +(\d+)", said, re.M)
    return str(number)


def test_dare_3_answers_received_are_records_when_the_gateway_is_killed(played: Played) -> None:
    before = gateway_of(played)
    output = "\n".join(played.paste(3))
    assert gateway_of(played) != before, "nothing was killed"
    received = re.search(r"^[1-9]\d* answers received whole, ([1-9]\d*) cut off in the middle", output, re.M)
    assert received is not None, output
    # cut between its record and its last byte, it is recorded as answered: the record comes first
    recorded = re.findall(r"^ +(\d+) cut off +recorded as (?:failed|cut off|answered)", output, re.M)
    assert sum(map(int, recorded)) == int(received[1]), output
    assert "every one of them has its record" in output
    assert re.search(r"\d+ whole +recorded as answered", output)


def test_a_second_demo_does_not_write_over_the_first(played: Played) -> None:
    ran = demo(played.folder)
    assert ran.returncode == 5
    assert "freehold demo clean" in ran.stderr


@pytest.mark.parametrize("word", ["start", "stop"])
def test_a_demo_that_is_not_there_can_neither_be_started_nor_stopped(word: str, tmp_path: Path) -> None:
    ran = demo(tmp_path / "nowhere", word)
    assert ran.returncode == 3
    assert "there is no demo in" in ran.stderr
