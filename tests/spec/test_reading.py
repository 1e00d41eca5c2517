"""Service files and freehold.yaml: what is read, and how each mistake is told."""

from __future__ import annotations

import contextlib
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.errors import BadInput
from freehold.spec.config import Config
from freehold.spec.guard import BadGuard, read_guards
from freehold.spec.plain import plain, spec_digest, unplain
from freehold.spec.reading import (
    _RECORDS,
    BadField,
    NotInThisRelease,
    read_config,
    read_service,
    service_from,
)
from freehold.spec.yaml import MAX_BYTES, BadYaml, read

CLAIMS = """\
service: claims-triage
project: claims
owner: claims-platform@example.org
purpose: claims-handling
sensitivity: Confidential
tier: limited
regions: [eu, no]
subject: required
model:
  data: claims@7
  task: classify
  train: {C: 2e-4, seed: 7, window: "1:30"}
gates:
  quality: {metric: macro_f1, lower_bound: 0.86}
  bias: {metric: recall_gap, against: claims-golden@3, across: [age_band, sex], upper_bound: 0.05}
approve:
  - role: model-risk
  - role: data-protection
limits: {requests: 600/min, spend: 20 EUR/day}
examples:
  - ask: {text: "water damage in the kitchen"}
    expect: {class: property}
"""


def test_norway_the_learning_rate_and_the_time_stay_what_they_are() -> None:
    service = read_service(CLAIMS.replace('"1:30"', "1:30"))
    assert service.regions == ("eu", "no")
    assert service.model.train == {"C": 2e-4, "seed": 7, "window": "1:30"}


def test_a_kept_service_is_the_service_that_was_read() -> None:
    service = read_service(CLAIMS)
    assert service_from(plain(service)) == service


def test_a_tuned_classifier_is_read() -> None:
    text = CLAIMS.replace("task: classify", "task: classify\n  base: minilm-l6@1\n  tune: head")
    service = read_service(text)
    assert (service.model.base, service.model.tune) == ("minilm-l6@1", "head")
    assert service_from(plain(service)) == service


LETTERS = """\
service: letters
project: claims
owner: claims-platform@example.org
purpose: claims-handling
sensitivity: Confidential
tier: sandbox
model: {base: tiny@1, data: letters@7, task: generate, tune: lora}
gates:
  right: {metric: exact_match, lower_bound: 0.5}
  calm: {metric: token_loss, upper_bound: 2.5}
serve: {engine: torch}
examples:
  - ask: {text: "about my roof"}
    expect: {text: "storm desk"}
"""


def test_a_service_that_writes_is_read() -> None:
    service = read_service(LETTERS)
    assert (service.model.task, service.serve.engine) == ("generate", "torch")
    assert service.gates["calm"].upper_bound == 2.5  # a loss has no upper end
    others = read_service(LETTERS.replace("engine: torch", "engine: torch, fallback: [second, third]"))
    assert others.serve.fallback == ("second", "third")
    assert service_from(plain(service)) == service


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("serve: {engine: torch}\n", "", ("`serve.engine`", "write `serve: {engine: torch}`")),
        ("tune: lora", "tune: head", ("`model.tune`", "with LoRA")),
        (
            "metric: exact_match",
            "metric: accuracy",
            ("`gates.right.metric`", "use exact_match or token_loss"),
        ),
        ("upper_bound: 2.5", "lower_bound: 2.5", ("better when lower",)),
        ("upper_bound: 2.5", "upper_bound: -1", ("at least 0",)),
        ("expect: {text:", "expect: {class:", ("answers with a text", "`expect: {text: …}`")),
        ('{text: "about my roof"}', "{text: a, more: b}", ("reads one text",)),
        ("engine: torch", "engine: torch, fallback: [a b]", ("`serve.fallback[1]`",)),
    ],
)
def test_a_service_that_writes_says_what_fits_it(old: str, new: str, words: tuple[str, ...]) -> None:
    with pytest.raises(BadField) as refused:
        read_service(LETTERS.replace(old, new))
    for word in words:
        assert word in str(refused.value)


def test_comments_and_layout_do_not_change_the_digest_but_a_bound_does() -> None:
    digest = spec_digest(read_service(CLAIMS))
    assert spec_digest(read_service("# reviewed\n" + CLAIMS + "\n")) == digest
    assert spec_digest(read_service(CLAIMS.replace("0.86", "0.85"))) != digest


@pytest.mark.parametrize(
    ("old", "new", "kind", "words"),
    [
        ("purpose:", "purpos:", BadField, ("`purpos` (line 4)", "did you mean `purpose`?")),
        ("limits: {", "limits: {request: 3, ", BadField, ("`limits.request`", "did you mean `requests`?")),
        ("tier:", "task: classify\ntier:", BadField, ("`task` (line 6)", "belongs under `model`")),
        ("task: classify", "task: clasify", BadField, ("line 11", "did you mean `classify`?")),
        ("task: classify", "task: embed", NotInThisRelease, ("`model.task: embed`", "generate")),
        (
            "task: classify",
            "task: generate",
            BadField,
            ("`model.tune`", "is tuned from a base model with LoRA"),
        ),
        (
            "  task: classify",
            "  task: classify\n  base: minilm-l6@1\n  tune: full",
            NotInThisRelease,
            ("`model.tune: full` (line 13)", "none, lora, head"),
        ),
        ("  task: classify", "  task: classify\n  tune: lora", BadField, ("no base model to tune",)),
        ("  task: classify", "  task: classify\n  base: minilm-l6@1", BadField, ("write `tune: lora`",)),
        (
            "  task: classify",
            "  task: classify\n  base: minilm-l6\n  tune: lora",
            BadField,
            ("`minilm-l6@1`",),
        ),
        (
            "  task: classify",
            "  task: classify\n  base: minilm-l6@1\n  tune: lora\n  trainer: linear",
            BadField,
            ("`model.trainer` (line 14)", "`tune` says how"),
        ),
        (
            "  task: classify",
            "  task: tabular\n  base: minilm-l6@1\n  tune: lora",
            BadField,
            ("`model.base` (line 12)", "reads columns"),
        ),
        (
            "metric: macro_f1",
            "metric: exact_match",
            BadField,
            ("`gates.quality.metric`", "is not measured by exact_match"),
        ),
        ("limits:", "serve: {engine: torch}\nlimits:", BadField, ("`serve.engine`", "answered by onnx")),
        ("limits:", "serve: {fallback: [other]}\nlimits:", BadField, ("`serve.fallback`", "rollback")),
        ("limits:", "serve: {engine: vllm}\nlimits:", NotInThisRelease, ("`serve.engine: vllm`",)),
        (
            "subject: required",
            "review: {when: confidence < 0.6}",
            NotInThisRelease,
            ("`review` (line 8)", "leave it out"),
        ),
        ("limits:", "guard: {in: {pii: mask}, out: {secrets: refuse}}\nlimits:", None, ()),
        ("limits:", "guard: {in: {pii: hide}}\nlimits:", BadField, ("`guard.in.pii` (line",)),
        ("limits:", "guard: {in: {pi: mask}}\nlimits:", BadField, ("`guard.in.pi` (line", "`pii`")),
        ("limits:", "guard: {inn: {pii: mask}}\nlimits:", BadField, ("`guard.inn",)),
        ("limits:", "guard: {out: {injection: refuse}}\nlimits:", BadField, ("not guarded this way", "`in`")),
        ("limits:", "guard: {in: {domain: refuse}}\nlimits:", BadField, ("only `task: tabular` has one",)),
        ("limits:", "guard: {out: {domain: refuse}}\nlimits:", BadField, ("not guarded this way", "`in`")),
        ("limits:", "guard: {out: {pii: tokenize}}\nlimits:", BadField, ("`guard.out.pii`", "`mask`")),
        ("limits:", "guard: {in: {refuse_above: 0.9}}\nlimits:", BadField, ("it is for `injection`",)),
        (
            "limits:",
            "guard: {in: {injection: refuse, refuse_above: 3.0}}\nlimits:",
            BadField,
            ("between 0 and 1",),
        ),
        ("limits:", "guard: {in: {pii: mask, budget: soon}}\nlimits:", BadField, ("`50ms` or `2s`",)),
        ("metric: macro_f1", "metric: typo_drop", NotInThisRelease, ("`gates.quality.metric: typo_drop`",)),
        ("owner: claims-platform@example.org\n", "", BadField, ("`owner`", "it is missing")),
        ("claims@7", "claims", BadField, ("`model.data` (line 10)", "`claims@1`")),
        ("claims@7", "7", BadField, ("should be a valid string",)),
        ("0.86", "'0.86'", BadField, ("`gates.quality.lower_bound`", "number")),
        ("[eu, no]", "eu", BadField, ("`regions` (line 7)", "list")),
        ("upper_bound: 0.05", "lower_bound: 0.05", BadField, ("better when lower", "`upper_bound`")),
        ("upper_bound: 0.05", "upper_bound: 5", BadField, ("between 0 and 1",)),
        ("lower_bound: 0.86", "lower_bound: 0.86, value: 0.9", BadField, ("only one can count",)),
        (", lower_bound: 0.86", "", BadField, ("it says no bound",)),
        (", across: [age_band, sex]", "", BadField, ("`gates.bias`", "add `across: [column]`")),
        ("macro_f1,", "macro_f1, across: [sex],", BadField, ("compares no groups",)),
        ("  - role: data-protection\n", "", BadField, ("`approve` (line 16)", "needs 2 people")),
        ("tier: limited", "tier: high", None, ()),
        ("tier: limited", "tier: high\n# two", None, ()),
        ("sensitivity: Confidential", "sensitivity: Secret", BadField, ("Public, Internal",)),
        (
            "  task: classify",
            "  task: classify\n  trainer: boosting",
            BadField,
            ("`model.trainer` (line 12)",),
        ),
        ("  task: classify", "  task: classify\n  memory: lots", BadField, ("`model.memory`", "`4 GB`")),
        ("  task: classify", "  task: classify\n  wall: 1 hour", BadField, ("`model.wall`",)),
        ("600/min", "600 per minute", BadField, ("`limits.requests`", "`600/min`")),
        ("20 EUR/day", "20/day", BadField, ("`limits.spend`",)),
        ("expect: {class: property}", "expect: {label: property}", BadField, ("`examples[1].expect`",)),
        (
            "limits:",
            "serve: {rollout: [shadow 5% 1d, 100%]}\nlimits:",
            BadField,
            ("`serve.rollout`", "`shadow 5% 1d` is no step", "a time, and no share"),
        ),
        (
            "service: claims-triage",
            "service: Claims Triage",
            BadField,
            ("`service` (line 1)", "claims-triage"),
        ),
    ],
)
def test_a_mistake_is_told_with_its_line_and_the_way_out(
    old: str, new: str, kind: type[BadInput] | None, words: tuple[str, ...]
) -> None:
    assert old in CLAIMS
    text = CLAIMS.replace(old, new, 1)
    if kind is None:
        read_service(text)
        return
    with pytest.raises(kind) as raised:
        read_service(text)
    for word in words:
        assert word in str(raised.value)


def test_tier_high_needs_two_different_roles_and_a_gate() -> None:
    high = CLAIMS.replace("tier: limited", "tier: high")
    with pytest.raises(BadField, match="two different roles"):
        read_service(high.replace("role: data-protection", "role: model-risk"))
    gates = high[high.index("gates:") : high.index("approve:")]
    with pytest.raises(BadField, match="at least one gate"):
        read_service(high.replace(gates, ""))


def test_a_sandbox_needs_nobody() -> None:
    alone = CLAIMS[: CLAIMS.index("approve:")] + CLAIMS[CLAIMS.index("limits:") :]
    assert read_service(alone.replace("tier: limited", "tier: sandbox")).approve == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\na: 2", "line 2 says `a` again"),
        ("a: &x [1]\nb: *x", "anchor or alias"),
        ("a: !!python/object:os.system x", "uses a tag"),
        ("%YAML 1.1\n---\na: no", "directive"),
        ("[" * 100, "nested too deeply"),
        ("a: [" + "1," * 30_000 + "]", "too many values"),
        ("a: .inf", "no finite number"),
        ("? [1]\n: 2", "a key that is no word"),
        ("1: 2", "a key that is no word"),
        ("a: 1\n---\nb: 2", "second document"),
        ("a: b: c", "line 1, column 5"),
        ("a: \x00", "cannot be parsed"),
        ("x" * (MAX_BYTES + 1), "too large"),
    ],
)
def test_a_file_that_is_a_trap_is_refused_before_it_is_built(text: str, words: str) -> None:
    with pytest.raises(BadYaml, match=words):
        read(text)


def test_an_empty_file_is_no_service_but_a_whole_configuration() -> None:
    with pytest.raises(BadField, match="holds no fields"):
        read_service("")
    assert read_config("") == Config()


TOKENS = (
    "callers:\n  tokens:\n    - issuer: https://login.example\n      {}\n"
    "    - {{issuer: https://other.example, audience: a, keys: /k}}\n"
)
_GOOD = {"audience": "freehold", "keys": "/etc/jwks.json"}


def tokens(text: str) -> str:
    """An issuer that says this and is good otherwise."""
    said = text.partition(":")[0]
    return TOKENS.format("\n      ".join([text, *(f"{k}: {v}" for k, v in _GOOD.items() if k != said)]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wokers: 2", "did you mean `workers`?"),
        ("control: localhost", "127.0.0.1:7400"),
        ("gateway: 127.0.0.1:99999", "is no address"),
        ("anchor: anchored", "neither an absolute path"),
        ("hsm: {module: x.so, token: t, pin_file: pin}", "control works in a folder of its own"),
        ("mail: {port: '25'}", "`mail.port` (line 1)"),
        ("mail: {prot: 25}", "did you mean `port`?"),
        ("tariff: 0.3", "should be a valid string"),
        ('tariff: "much"', "is no amount"),
        ("timezone: Mars/Olympus", "is no time zone"),
        ("timezone: ../../etc/passwd", "is no time zone"),
        ("workers: 100", "between 0 and 64"),
        ("currency: euro", "three letters"),
        ("tls: {certificate: /a.crt}", "go together"),
        ("tls: {certificate: a.crt, key: /a.key}", "no absolute path"),
        ("tls: {certificate: /a.crt, key: /a.key, listeners: all}", "both, control, gateway"),
        ("tls: {certificat: /a.crt}", "did you mean `certificate`?"),
        (tokens("audience: ''"), "would be anybody's"),
        (tokens("keys: http://login.example/keys"), "are anybody's"),
        (tokens("keys: jwks.json"), "are anybody's"),
        (tokens("algorithms: [HS256]"), "it is one of"),
        (tokens("algorithms: [none]"), "it is one of"),
        (tokens("algorithms: []"), "no token counts"),
        (tokens("leeway: 1h"), "are wrong"),
        (tokens("leeway: long"), "span of time"),
        (tokens("grants: [{project: Claims!}]"), "not a usable name"),
        (tokens("grants: [{project: claims, limits: lots}]"), "limit"),
        (tokens("grants: [{project: claims, wher: {a: b}}]"), "did you mean `where`?"),
        ("callers: {certificates: {grants: [{name: 'cn:a', project: b}]}}", "whose certificates count"),
        ("callers: {certificates: {ca: /a, grants: [{name: claims, project: b}]}}", "a kind and a name"),
    ],
)
def test_a_mistake_in_the_configuration_is_told_the_same_way(text: str, words: str) -> None:
    with pytest.raises(BadField) as raised:
        read_config(text)
    assert words in str(raised.value)


def test_no_field_and_no_word_of_ours_is_a_boolean_in_an_older_yaml() -> None:
    risky = {"on", "off", "yes", "no", "y", "n", "true", "false", "null"}
    for record in _RECORDS:
        for name, kind in get_type_hints(record).items():
            assert name not in risky
            if get_origin(kind) is Literal:
                assert not risky & {str(word) for word in get_args(kind)}


_VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@given(st.recursive(_VALUES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))
def test_plain_data_comes_back_as_it_was(value: object) -> None:
    assert unplain(plain(value)) == value


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_but_never_crashes(text: str) -> None:
    with contextlib.suppress(BadInput):
        read_service(text)


def test_a_guard_that_is_said_twice_has_to_say_the_same() -> None:
    assert read_guards(["in.pii=mask", "in.pii=mask", "out.pii=observe"])["in"].pii == "mask"
    with pytest.raises(BadGuard, match=r"in\.pii=none") as bad:
        read_guards(["in.pii=mask", "in.pii=none"])
    assert "`in.pii=mask` is said too" in bad.value.why


def test_who_may_ask_is_read() -> None:
    config = read_config(
        tokens("grants: [{project: claims, services: [triage], where: {groups: desk}, limits: 2 USD/day}]")
        + "  certificates: {ca: /ca.pem, grants: [{name: 'uri:spiffe://bank/a', project: claims}]}\n"
        + "tls: {certificate: /a.crt, key: /a.key, listeners: gateway}\n"
    )
    assert config.callers.tokens[0].grants[0].where == {"groups": "desk"}
    assert config.callers.tokens[0].algorithms == ("RS256", "ES256", "EdDSA")
    assert config.callers.certificates.grants[0].name == "uri:spiffe://bank/a"
    assert (config.control_url, config.gateway_url) == ("http://127.0.0.1:7400", "https://127.0.0.1:7401")
