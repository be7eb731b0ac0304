"""The bill of materials: valid against the CycloneDX schema, and what its pedigree says."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import PATCH
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from procpool.base.errors import UserError
from procpool.base.files import file_sha256
from procpool.catalog.series import Series
from procpool.wheels.build import build_wheel
from procpool.wheels.sbom import SBOM_NAME, Origin, read_origin

MakeSeries = Callable[..., Series]
INFO = "livekit_agents-1.0.1+procpool.3.dist-info"
BUGS = """
Why it is needed.

Bug: https://github.com/livekit/agents/issues/5868
Forwarded: no
---
Bug: https://bugs.example/not-in-the-header
"""
FIRST = PATCH.replace("\n---\n", BUGS, 1)
SECOND = """\
From: Someone <someone@example.invalid>
Date: Mon, 1 Jun 2026 00:00:00 +0000
Subject: [PATCH 2/2] Add a file

Bug: https://bugs.example/17
---
--- /dev/null
+++ b/livekit/agents/new.py
@@ -0,0 +1 @@
+new = "é"
"""


@pytest.fixture
def make_sbom(wheel: Path, make_series: MakeSeries, tmp_path: Path) -> Callable[..., bytes]:
    """Return a function that builds a wheel with the given patches and returns its SBOM."""

    def make(*texts: str) -> bytes:
        built = build_wheel(wheel, make_series(*texts), tmp_path / "dist", file_sha256(wheel))
        with zipfile.ZipFile(built) as archive:
            return archive.read(f"{INFO}/sboms/{SBOM_NAME}")

    return make


def test_valid_against_the_schema(make_sbom: Callable[..., bytes]) -> None:
    text = make_sbom(FIRST, SECOND).decode()
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"unofficial"', '"unheard-of"')) is not None


def test_pedigree(make_sbom: Callable[..., bytes], wheel: Path) -> None:
    text = make_sbom(FIRST, SECOND)
    component: dict[str, Any] = json.loads(text)["metadata"]["component"]
    assert component["version"] == "1.0.1+procpool.3"
    pedigree = component["pedigree"]
    [ancestor] = pedigree["ancestors"]
    assert ancestor["purl"] == f"pkg:pypi/livekit-agents@1.0.1?file_name={wheel.name}"
    assert ancestor["hashes"] == [{"alg": "SHA-256", "content": file_sha256(wheel)}]
    diffs = [patch["diff"]["text"]["content"] for patch in pedigree["patches"]]
    assert sorted(diffs) == sorted([FIRST, SECOND])
    issues = {row["id"] for patch in pedigree["patches"] for row in patch.get("resolves", [])}
    assert issues == {"livekit/agents#5868", "https://bugs.example/17"}
    assert pedigree["notes"].endswith("applied: 0001-change-1.patch, 0002-change-2.patch")


def test_time_and_serial_number_are_derived(make_sbom: Callable[..., bytes]) -> None:
    first, again, other = (
        json.loads(make_sbom(*texts)) for texts in ([FIRST], [FIRST], [PATCH, SECOND])
    )
    assert first == again
    assert first["metadata"]["timestamp"] == "2021-03-04T05:06:08+00:00"
    assert first["serialNumber"].startswith("urn:uuid:")
    assert first["serialNumber"] != other["serialNumber"]


def test_what_the_wheel_is_made_from(make_sbom: Callable[..., bytes], wheel: Path) -> None:
    text = make_sbom(FIRST)
    origin = Origin("1.0.1", wheel.name, file_sha256(wheel), "v1.0.0", 3)
    assert read_origin(text) == origin
    for damaged in (b"", b"[]", text.replace(b'"hashes"', b'"sums"'), text[:-9]):
        with pytest.raises(UserError, match="bill of materials is damaged"):
            read_origin(damaged)
