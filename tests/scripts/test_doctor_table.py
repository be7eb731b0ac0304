"""The table of releases in the doctor, which a session writes."""

import doctor
import pytest
from doctor import Row
from procpool.catalog.releases import load_releases
from procpool.catalog.series import load_all_series
from procpool.upkeep.tables import pools_table


def test_the_table_is_in_step_with_the_patches() -> None:
    rows = doctor._rows(doctor._TABLE)
    assert pools_table() == f'_TABLE = """{doctor._TABLE}"""\n'
    revisions = {series.name: series.revision for series in load_all_series()}
    for release in load_releases().values():
        [row] = [r for r in rows if r == doctor_row(rows, release.version)]
        assert (row.series, row.sha256) == (release.series, release.pool_sha256)
        assert row.revision == revisions[release.series]


def doctor_row(rows: list[Row], version: str) -> Row | None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doctor, "ROWS", rows)
        return doctor.row_of(version)
