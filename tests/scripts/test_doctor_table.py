"""The table of releases in the doctor, which a session writes."""

import pytest
from doctor import POOL, TABLE, newest_of, release_of, revisions_of, row_of
from installs import DOCTOR
from procpool.base.errors import UserError
from procpool.base.files import PATCHES
from procpool.catalog.releases import get_release, load_releases
from procpool.catalog.series import load_all_series, load_revisions
from procpool.upkeep import doctor_table
from procpool.upkeep.doctor_table import doctor_table as computed
from procpool.upkeep.doctor_table import patched_sums, read_patched


def no_fetch(*arguments: object) -> None:
    raise AssertionError("nothing is fetched where the table is in step")


def test_the_table_is_in_step_with_the_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a look at any release: the first of each series has the sum that is recorded."""
    monkeypatch.setattr(doctor_table, "sums_of", no_fetch)
    text = DOCTOR.read_text("utf-8")
    assert computed(text, PATCHES) in text
    recorded = load_revisions()
    for series in load_all_series():
        for revision, digest in enumerate(recorded[series.name], 1):
            sums = [s for s in TABLE.sums if str(series.first) in s.releases]
            whole = max((s for s in sums if s.revision == revision), key=lambda s: len(s.files))
            assert whole.sha256 == digest


def test_each_release_has_its_pool_and_its_revisions() -> None:
    series = {each.name: each for each in load_all_series()}
    for version, release in load_releases().items():
        row = row_of(version)
        assert row and (row.series, row.sha256) == (release.series, release.pool_sha256)
        assert newest_of(version) == series[release.series].revision
        assert (POOL,) in {s.files for s in TABLE.sums if version in s.releases}
        assert release.wheel.endswith(f"-{TABLE.wheels.get(version, 'py3-none-any')}.whl")


@pytest.mark.parametrize("version", ["1.5.99", "1.0.3", "1.4.1.post1", "1.5.11rc1", "2!1.5.11", ""])
def test_what_is_no_release(version: str) -> None:
    assert release_of(version) is None and revisions_of(release_of(version)) == []


@pytest.mark.parametrize("version", ["1.5.11.0", "v1.5.11", " 1.5.11+x ", "1.5.11+procpool.2"])
def test_spellings_of_a_release(version: str) -> None:
    assert release_of(version) == "1.5.11"


def test_what_is_not_in_step_is_computed_and_older_sums_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = read_patched(DOCTOR.read_text("utf-8"))
    now = get_release("1.8.9")[1].revision
    asked = []

    def made_up(release: object, series: object) -> dict[tuple[str, ...], str]:
        asked.append(release)
        return {(POOL,): "1" * 64, (POOL, "x"): "2" * 64}

    monkeypatch.setattr(doctor_table, "sums_of", made_up)
    stale = dict(kept)
    stale["1.8.9", now] = {(POOL,): "0" * 64}
    found = patched_sums(stale)
    assert [release.version for release in asked] == ["1.8.9"]  # type: ignore[attr-defined]
    assert found["1.8.9", now] == {(POOL,): "1" * 64, (POOL, "x"): "2" * 64}
    assert all(found[key] == kept[key] for key in kept if key != ("1.8.9", now))
    del stale["1.5.11", 1]  # its patches are gone
    assert ("1.5.11", 1) not in patched_sums(stale)


def test_a_table_that_cannot_be_read() -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_patched('_PATCHED = """\n1 1.0.0 1.0.0 a 00\n"""\n')
    assert read_patched("") == {}
