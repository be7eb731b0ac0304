"""All series at once, as the texts of their ideas, and the folder `patches` that says the same.

A text is kept once for all the series that have it, under the first release of the first of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from packaging.version import Version
from procpool.base.files import replace_file
from procpool.catalog.series import Series, idea_of, load_all_series

# The texts of each series by idea, in order, by the name of the series.
Texts = Mapping[str, Mapping[str, str]]


def texts_of(series: Series) -> dict[str, str]:
    """Return the texts of a series by idea, in order."""
    return {idea_of(path): path.read_bytes().decode() for path in series.patches}


def read_texts(patches: Path) -> dict[str, dict[str, str]]:
    """Return the texts of all series in the folder `patches`; raise `UserError` if one is wrong."""
    return {series.name: texts_of(series) for series in load_all_series(patches)}


def layout(texts: Texts) -> dict[str, str]:
    """Return the files of the folder `patches` that hold these series, by path."""
    names: dict[tuple[str, str], str] = {}
    files: dict[str, str] = {}
    for series in sorted(texts, key=Version):
        listing = []
        for idea, text in texts[series].items():
            name = names.setdefault((idea, text), f"{idea}/{series}.patch")
            files[name] = text
            listing.append(name)
        files[f"{series}/series"] = "".join(f"{name}\n" for name in listing)
    return files


def changes(patches: Path, texts: Texts) -> dict[str, str | None]:
    """Return the files that have to change for the folder to hold these series, by path.

    None stands for a file that has to go.
    """
    old, new = layout(read_texts(patches)), layout(texts)
    changed: dict[str, str | None] = {n: text for n, text in new.items() if old.get(n) != text}
    return changed | dict.fromkeys(old.keys() - new.keys())


def write_texts(patches: Path, changed: Mapping[str, str | None]) -> None:
    """Write files that `changes` returned: texts first, so that no series names a missing one."""
    for name, text in sorted(changed.items(), key=lambda row: Path(row[0]).name == "series"):
        if text is not None:
            (patches / name).parent.mkdir(exist_ok=True)
            replace_file(patches / name, text)
    for name, text in changed.items():
        if text is None:
            (patches / name).unlink()
            if not any((patches / name).parent.iterdir()):
                (patches / name).parent.rmdir()
