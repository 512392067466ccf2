"""Retention removes images of what is reported, and of nothing else; a kill leaves no harm."""

import pytest

from service.keep import jobs
from service.ledger import keeping, letters, outbox
from tests.keep.house import DAY_S
from tests.media import ON_EACH_MEDIUM

ABSENT = "SELECT o.sop_instance_uid, a.why FROM absent_file a JOIN object o ON o.id = a.object_id"


def test_nothing_is_removed_unless_it_is_asked_for(house):
    paths = house.done(1, 1, 2)
    house.now += 1000 * DAY_S
    assert jobs.run(house.set(), "retention")
    assert house.files() == sorted(paths)
    assert house.rows("SELECT detail FROM job") == [
        ("off: keep.images_days and keep.images_bytes are 0",)
    ]


@ON_EACH_MEDIUM
def test_images_go_by_age_and_what_was_found_out_stays(house):
    old = house.done(1, 1, 2, study=1)
    house.now += 2 * DAY_S
    young = house.done(2, 1, study=2)
    before = house.rows("SELECT * FROM assessment"), house.rows("SELECT * FROM report")
    frames = house.rows("SELECT state, score FROM frame")
    house.now += 1 * DAY_S
    assert jobs.run(house.set(images_days=2.5), "retention")
    assert house.files() == young
    assert not set(old) & set(house.files())
    assert house.rows(ABSENT) == [
        ("1.2.826.0.1.1.1.1", "removed"),
        ("1.2.826.0.1.1.1.2", "removed"),
    ]
    assert (
        house.rows("SELECT * FROM assessment"),
        house.rows("SELECT * FROM report"),
    ) == before
    assert house.rows("SELECT state, score FROM frame") == frames
    assert house.tally()["removed_objects"] == 2
    assert house.rows("SELECT failed, detail FROM job")[0][1].startswith("2 images removed, 0.0")
    # once more, and everything stays as it is
    assert jobs.run(house.keeping, "retention")
    assert house.files() == young
    assert house.tally()["removed_objects"] == 2


def test_a_study_goes_as_a_whole_when_its_newest_image_is_old(house):
    house.done(1, 1)
    house.now += 10 * DAY_S
    house.done(2, 1)
    house.now += 5 * DAY_S
    jobs.run(house.set(images_days=7), "retention")
    assert len(house.files()) == 2
    house.now += 3 * DAY_S
    jobs.run(house.set(images_days=7), "retention")
    assert house.files() == []


def test_by_size_the_longest_quiet_go_first_until_the_rest_fits(house):
    for study in (1, 2, 3):
        house.done(1, 1, 2, study=study)
        house.now += 60
    ((total,),) = house.rows("SELECT sum(size_bytes) FROM object")
    jobs.run(house.set(images_bytes=total // 3 + 10), "retention")
    assert house.rows("SELECT DISTINCT series_id FROM object o JOIN absent_file a ON"
                      " a.object_id = o.id ORDER BY 1") == [(1,), (2,)]  # fmt: skip
    assert len(house.files()) == 2


@pytest.mark.parametrize(
    ("due", "why"),
    [
        ("open", "slices arrive or wait to be scored"),
        ("dead slice", "slices arrive or wait to be scored"),
        ("study report", "a report is not built or not delivered"),
        ("waiting", "a report is not built or not delivered"),
        ("leased", "a report is not built or not delivered"),
        ("dead report", "a report is not built or not delivered"),
        ("held", "a report is held back"),
    ],
)
def test_what_is_not_reported_yet_stays_whatever_its_age(house, due, why):
    paths = house.receive(1, 1, 2)
    if due == "dead slice":
        for _ in range(4):
            assert house.claim() is not None or letters.dead(house.database)
            house.now += 100
    elif due != "open":
        house.score()
        house.now += 31
        house.close(held="shadow" if due == "held" else "")
    if due in ("study report", "dead slice"):
        house.score()
        house.now += 31
        house.close()
        house.deliver()
    if due == "study report":
        with house.database.write() as connection:
            connection.exec_driver_sql("UPDATE study SET report_due = 1")
    if due in ("leased", "dead report"):
        parcel = outbox.claim(house.database, ["pacs"], lease_s=1e9, now=house.now)
        if due == "dead report":
            outbox.died(house.database, parcel, "no")
    house.now += 1000 * DAY_S
    assert jobs.run(house.set(images_days=1, images_bytes=1), "retention")
    assert house.files() == sorted(paths)
    assert house.rows(ABSENT) == []
    ((detail,),) = house.rows("SELECT detail FROM job")
    assert detail == f"0 images removed, 0.0 MB; 1 studies stay: {why}"


def test_held_back_images_go_where_that_is_set(house):
    house.receive(1, 1)
    house.score()
    house.now += 31
    house.close(held="shadow")
    house.now += 2 * DAY_S
    jobs.run(house.set(images_days=1, remove_held=True), "retention")
    assert house.files() == []
    assert house.rows("SELECT state FROM outbox") == [("held",)]


def test_a_study_that_changed_since_it_was_listed_stays(house):
    house.done(1, 1)
    (listed,) = keeping.stored_studies(house.database)
    house.done(1, 2)
    due = keeping.mark_removed(house.database, listed, remove_held=False, now=house.now)
    assert due is keeping.Due.CHANGED
    assert house.rows(ABSENT) == []


class Killed(BaseException):
    """As if the process died here."""


@ON_EACH_MEDIUM
@pytest.mark.parametrize("after", [0, 1])
def test_killed_between_rows_and_files_the_sweep_finishes(house, monkeypatch, after):
    house.done(1, 1, 2)
    house.now += 2 * DAY_S
    kept = house.done(2, 1, study=2)
    kind, done = type(house.spool), []
    unlink = kind.remove

    def dying(files, path):
        if len(done) == after:
            raise Killed
        done.append(path)
        unlink(files, path)

    with monkeypatch.context() as patched:
        patched.setattr(kind, "remove", dying)
        with pytest.raises(Killed):
            jobs.run(house.set(images_days=1), "retention")
    assert len(house.files()) == 3 - after
    assert house.rows("SELECT count(*) FROM absent_file") == [(2,)]
    house.now += 7200
    assert jobs.run(house.keeping, "sweep")
    assert house.files() == kept
    assert house.rows("SELECT why FROM absent_file") == [("removed",)] * 2
    assert house.rows("SELECT count(*) FROM object") == [(3,)]


@ON_EACH_MEDIUM
def test_an_image_that_comes_again_after_its_removal_is_kept_till_it_is_due(house):
    house.done(1, 1)
    house.now += 2 * DAY_S
    jobs.run(house.set(images_days=1), "retention")
    assert house.files() == []
    house.now += 3600
    (again,) = house.receive(1, 1)
    house.now += 7200
    assert jobs.run(house.keeping, "sweep")
    assert house.files() == [again]
    assert house.rows("SELECT count(*) FROM absent_file") == [(0,)]
    assert house.rows("SELECT state, generation FROM series") == [("closed", 1)]
    jobs.run(house.keeping, "retention")
    assert house.files() == []
