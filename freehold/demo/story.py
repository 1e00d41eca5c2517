"""The whole story, and the dares at its end."""

from __future__ import annotations

import json
from pathlib import Path

from freehold.demo import acts, dares, tuned
from freehold.demo.forgotten import act_5
from freehold.demo.house import home_of
from freehold.demo.stage import Stage
from freehold.demo.tell import Teller

NOTE = "played.json"
"""How long it took, and whether the fine-tuning was part of it."""


def play(folder: Path, config: Path | None = None) -> None:
    """Play it in `folder`, which must not be there. Leaves Freehold running. Raises what a command raised.

    `config` becomes its freehold.yaml.
    """
    tell = Teller()
    stage = Stage(folder, tell)
    stage.build(config)
    tell.say(f"Freehold, the whole story. Everything it makes stays in {folder}.")
    acts.beginning(stage)
    found = acts.act_1(stage)
    acts.act_2(stage, found)
    answer = acts.act_3(stage)
    acts.act_4(stage, found, answer)
    act_5(stage)
    _leave_keys(stage)
    _curtain(stage)
    gone = tuned.missing()
    note = {"seconds": round(tell.elapsed, 1), "fine_tuned": not gone, "missing": gone}
    (folder / NOTE).write_text(json.dumps(note) + "\n", encoding="utf-8")


def _leave_keys(stage: Stage) -> None:
    stage.leave_env(
        FREEHOLD_KEY=stage.key_file("ada").read_text().strip(),
        FREEHOLD_SERVING_KEY=stage.key_file("ask-claims").read_text().strip(),
        FREEHOLD_SERVING_KEY_SCREENING=stage.key_file("ask-screening").read_text().strip(),
    )


def _curtain(stage: Stage) -> None:
    tell = stage.tell
    tell.act("Now you")
    tell.say(f"""That was {tell.elapsed:.0f} seconds. Freehold is still running. Paste this line first; it
        makes you the auditor here, with a key to ask with:""")
    tell.paste([f". {stage.folder}/env"])
    for number, dare in enumerate(dares.all_of(stage), 1):
        tell.say(f"Dare {number} · {dare.title}")
        tell.paste(dare.lines)
    tell.say("Where to look:")
    ada = stage.key_file("ada")
    for what, where in (
        (f"{stage.env['FREEHOLD_URL']}/", f"the console; log in with the key in {ada}"),
        ("freehold status | runs | answer", "what is there, in the terminal"),
        ("freehold why ANSWER | impact inbox@2", "from an answer back, from data forward"),
        (f"{stage.folder.name}/", "what was typed in: data, service files, scripts, keys"),
        (f"{stage.folder.name}/{home_of(stage.folder).name}/", "the installation"),
        ("docs/manual/index.md", "the manual"),
        ("freehold demo stop", "drains it; `freehold demo clean` removes everything"),
    ):
        tell.shown(f"{what:<38} {where}")
