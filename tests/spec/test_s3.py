"""One line that names a place in S3: read, or refused in our words without what may be a secret."""

from __future__ import annotations

import pytest

from freehold.spec.s3 import NotAnAddress, Place, place


def test_a_bucket_a_prefix_and_where_it_is() -> None:
    read = place("s3://bucket/a/b?endpoint=https://s3.example.org&region=eu")
    assert read == Place(bucket="bucket", prefix="a/b", endpoint="https://s3.example.org", region="eu")
    assert (str(read), read.folder.prefix, read.name) == ("s3://bucket/a/b", "a", "b")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bucket/x",
        "https://bucket/x",
        "s3:///x",
        "s3://b/x?secret=1",
        "s3://b/x?a",
        "s3://bu[x",
        "s3://bu\u2100x",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(NotAnAddress) as refused:
        place(text)
    assert refused.value.why
    assert "s3://BUCKET/PREFIX" in refused.value.hint


@pytest.mark.parametrize("text", ["s3://key:hidden@bucket/x", "s3://key:hidden@[bucket/x"])
def test_a_secret_in_it_is_not_repeated(text: str) -> None:
    with pytest.raises(NotAnAddress) as refused:
        place(text)
    assert "hidden" not in str(refused.value)
