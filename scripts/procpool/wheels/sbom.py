"""The bill of materials in a patched wheel: CycloneDX 1.6 as JSON, under `.dist-info/sboms/`.

PEP 770 names the directory. The one component is the patched livekit-agents; its pedigree says
what it was made from: upstream's file as ancestor, with its sha256, and every patch with its text
and the issue that it resolves, from the DEP-3 field `Bug` of its header. The order of the patches
is in the notes: CycloneDX has none.

The same input gives the same text: the time is the wheel's own stamp, and the serial number is a
version 5 UUID (RFC 9562) of everything else in the text.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cyclonedx.model import AttachedText, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import (
    Component,
    ComponentType,
    Diff,
    Patch,
    PatchClassification,
    Pedigree,
)
from cyclonedx.model.issue import IssueClassification, IssueType, IssueTypeSource
from cyclonedx.model.license import DisjunctiveLicense, LicenseAcknowledgement
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from procpool.base.errors import UserError
from procpool.catalog.releases import PROJECT
from procpool.catalog.series import Series, numbered
from procpool.patching.patch import read_header

SBOM_NAME = "livekit-agents-procpool.cdx.json"
_SERIES = "livekit-agents-procpool:series"
_REVISION = "livekit-agents-procpool:revision"


@dataclass(frozen=True)
class Origin:
    """What a patched wheel is made from: a file of upstream's, and a series.

    `version` is upstream's; `sha256` is that of the wheel or sdist named `file`.
    """

    version: str
    file: str
    sha256: str
    series: str
    revision: int


def _issues(patch: Path) -> list[IssueType]:
    """Return the issue that the header of a patch names in DEP-3's field `Bug`, if it names one."""
    url = read_header(patch.read_text("utf-8"), patch.name).field("Bug")
    if not url:
        return []
    found = re.search(r"([\w.-]+/[\w.-]+)/(?:issues|pull)/(\d+)$", url)
    return [
        IssueType(
            type=IssueClassification.DEFECT,
            id=f"{found[1]}#{found[2]}" if found else url,
            source=IssueTypeSource(name=found[1] if found else None, url=XsUri(url)),
        )
    ]


def _patch(path: Path) -> Patch:
    """Describe one patch: its whole file, header included, and what it resolves."""
    diff = Diff(text=AttachedText(content=path.read_text("utf-8"), content_type="text/x-patch"))
    return Patch(type=PatchClassification.UNOFFICIAL, diff=diff, resolves=_issues(path))


def _component(version: str, file: str, **arguments: object) -> Component:
    """Describe a version of livekit-agents; its package URL is its reference in the text too."""
    purl = PackageURL("pypi", None, PROJECT, version, {"file_name": file})
    licence = DisjunctiveLicense(id="Apache-2.0", acknowledgement=LicenseAcknowledgement.DECLARED)
    return Component(
        type=ComponentType.LIBRARY,
        name=PROJECT,
        version=version,
        purl=purl,
        bom_ref=purl.to_string(),
        licenses=[licence],
        **arguments,  # type: ignore[arg-type]
    )


def bill_of_materials(
    origin: Origin, series: Series, wheel: str, moment: datetime, tools: Mapping[str, str]
) -> bytes:
    """Return the bill of materials of the patched wheel named `wheel`, as JSON in UTF-8.

    `moment` is its time, in UTC; `tools` are the names and versions of what built the wheel besides
    this project.
    """
    ancestor = _component(
        origin.version,
        origin.file,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=origin.sha256)],
    )
    patches = numbered(series.patches)
    pedigree = Pedigree(
        ancestors=[ancestor],
        patches=[_patch(path) for path in patches.values()],
        notes="Patches, in the order in which they are applied: " + ", ".join(patches),
    )
    component = _component(
        f"{origin.version}+{series.local_version}",
        wheel,
        pedigree=pedigree,
        properties=[
            Property(name=_SERIES, value=origin.series),
            Property(name=_REVISION, value=str(origin.revision)),
        ],
    )
    bom = Bom(serial_number=uuid.UUID(int=0))
    bom.metadata.component = component
    bom.metadata.timestamp = moment
    bom.metadata.tools = ToolRepository(
        components=[
            Component(type=ComponentType.APPLICATION, name=name, version=version, bom_ref=name)
            for name, version in {"livekit-agents-procpool": None, **tools}.items()
        ]
    )
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_OID, JsonV1Dot6(bom).output_as_string())
    return (JsonV1Dot6(bom).output_as_string(indent=2) + "\n").encode()


def sbom_member(names: list[str]) -> str:
    """Return which of a wheel's members is our bill of materials.

    Raise `UserError` if there is not exactly one.
    """
    found = [name for name in names if re.fullmatch(rf"[^/]+\.dist-info/sboms/{SBOM_NAME}", name)]
    if len(found) != 1:
        raise UserError(
            "it holds no bill of materials of this project's: give a wheel that 'nox -s wheel' made"
        )
    return found[0]


def read_origin(text: bytes) -> Origin:
    """Return what a bill of materials of ours says the wheel was made from.

    Raise `UserError` if it says no such thing.
    """
    try:
        component = json.loads(text)["metadata"]["component"]
        [ancestor] = component["pedigree"]["ancestors"]
        [digest] = ancestor["hashes"]
        properties = {row["name"]: row["value"] for row in component["properties"]}
        return Origin(
            version=ancestor["version"],
            file=PackageURL.from_string(ancestor["purl"]).qualifiers["file_name"],
            sha256=digest["content"],
            series=properties[_SERIES],
            revision=int(properties[_REVISION]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"its bill of materials is damaged: {error}") from None
