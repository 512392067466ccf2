"""PET on the pages: what it waits for, and the CT it is fused with."""

from __future__ import annotations

from html import unescape

from sqlalchemy import update

from service.ledger.tables import FrameRow, FrameState, SeriesRow
from tests.watch.conftest import Watch
from tests.watch.filling import STUDY


def pair(watch: Watch, pet: int, ct: int) -> None:
    with watch.database.write() as connection:
        connection.execute(
            update(SeriesRow)
            .where(SeriesRow.id == pet)
            .values(companion_id=ct, companion_generation=1)
        )
        connection.execute(
            update(FrameRow).where(FrameRow.series_id == pet).values(state=FrameState.WAITING)
        )


def test_a_pet_says_that_it_waits_and_then_names_its_ct(watch: Watch) -> None:
    ct = watch.filling.judged(2, [3.0, 3.1, 3.2], series_description="CT IMAGES")
    pet = watch.filling.receive(5, 3, modality="PT", series_description="PET AC")
    where = f"/series/{pet.series_instance_uid}?study={STUDY}"
    assert "3 slices so far, 3 waiting for the CT they are fused with" in watch.ask("/").text
    shown = watch.ask(f"/api{where}").json
    assert (shown["slices_pending"], shown["companion_series"]) == (3, None)
    pair(watch, 2, 1)
    page = unescape(watch.ask(where).text)
    assert "3 slices so far, 3 not scored yet" in page
    assert (
        f'<a href="/series/{ct.series_instance_uid}?study={STUDY}">CT series 2: CT IMAGES</a>'
        in (page)
    )
    assert watch.ask(f"/api{where}").json["companion_series"] == ct.series_instance_uid


def test_a_refused_pet_names_no_ct_and_a_scored_one_its_liver_s_figure(watch: Watch) -> None:
    watch.filling.judged(2, [3.0, 3.1, 3.2])
    pet = watch.filling.receive(5, 3, modality="PT")
    where = f"/series/{pet.series_instance_uid}?study={STUDY}"
    pair(watch, 2, 1)
    watch.filling.score([None, None, None], excluded="PET without attenuation correction")
    watch.filling.close(2, report=False)
    assert "Fused with" not in watch.ask(where).text
    assert watch.ask(f"/api{where}").json["companion_series"] is None
    assert "Signal to noise" not in watch.ask(where).text
    ac = watch.filling.receive(6, 3, modality="PT")
    pair(watch, 3, 1)
    watch.filling.score([3.0, 3.1, 3.2])
    watch.filling.close(3, report=False, snr=4.24)
    where = f"/series/{ac.series_instance_uid}?study={STUDY}"
    assert "<dt>Signal to noise in the liver</dt><dd>4.2</dd>" in watch.ask(where).text
    assert watch.ask(f"/api{where}").json["snr"] == 4.24
