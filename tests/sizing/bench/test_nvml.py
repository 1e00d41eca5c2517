"""The meter of an accelerator, by the C interface of a library that stands for the driver's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from freehold.sizing.bench import nvml

HERE = Path(__file__).parent
NEEDS = "needs cc: a C compiler"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    if shutil.which("cc") is None:
        pytest.skip(NEEDS)
    made = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    source = HERE / "nvml_fake.c"
    subprocess.run(
        ["cc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(made), str(source)], check=True, timeout=60
    )
    return str(made)


def test_joules_of_an_accelerator_are_read_and_of_another_nothing(library: str) -> None:
    meter = nvml.meter("GPU-here", library)
    assert meter is not None
    assert meter.joules() == 1234.5
    assert nvml.meter("GPU-elsewhere", library) is None


def test_without_driver_or_with_one_that_lacks_the_calls_there_is_no_meter() -> None:
    assert nvml.meter("GPU-here", "libnvidia-ml-is-not-here.so.1") is None
    assert nvml.meter("GPU-here", "libc.so.6") is None
