"""The sweep: files without rows are adopted, rows without files flagged; nothing is removed."""

import shutil

import pytest

from service.keep import jobs
from service.keep.sweep import Sweep
from service.ledger import letters, pairing
from tests.factories import ct_slice
from tests.keep.house import slice_of
from tests.media import ON_EACH_MEDIUM


def sweep(house):
    house.now += 7200
    assert jobs.run(house.keeping, "sweep"), house.rows("SELECT detail FROM job")


@ON_EACH_MEDIUM
def test_a_file_without_row_is_recorded_as_if_it_were_received(house):
    recorded = house.receive(1, 1)
    orphan = house.store(slice_of(1, 2))
    house.now += 100
    sweep(house)
    assert house.files() == sorted([*recorded, orphan])
    assert house.rows(
        "SELECT sop_instance_uid, state, path, size_bytes, received_at FROM object WHERE id = 2"
    ) == [("1.2.826.0.1.1.1.2", "image", orphan, len(house.medium.content(orphan)), house.now)]
    assert house.rows("SELECT generation, state, closes_at FROM series") == [
        (2, "open", house.now + 30)
    ]
    assert house.rows("SELECT state FROM frame") == [("waiting",)] * 2
    assert house.rows("SELECT patient_name FROM study") == [("Doe^Jane",)]
    assert house.tally() == {"swept_files adopted": 1}
    sweep(house)
    assert house.rows("SELECT count(*) FROM object") == [(2,)]
    assert house.tally() == {"swept_files adopted": 1}


def test_an_adopted_document_is_set_aside_and_its_association_has_ended(house):
    document = ct_slice(1, SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1")
    house.store(document)
    sweep(house)
    assert house.rows("SELECT state FROM object") == [("set-aside",)]
    ((end, ended_at),) = house.rows('SELECT "end", ended_at FROM association')
    assert (end, ended_at) == ("adopted", house.now)


def test_a_young_file_is_its_receivers(house):
    house.store(slice_of(1, 1))
    house.now += 3599
    assert jobs.run(house.keeping, "sweep")
    assert house.rows("SELECT count(*) FROM object") == [(0,)]
    house.now += 2
    assert jobs.run(house.keeping, "sweep")
    assert house.rows("SELECT count(*) FROM object") == [(1,)]


@pytest.mark.parametrize("damage", ["cut short", "no DICOM", "renamed"])
def test_what_cannot_be_read_is_set_aside_and_told(house, damage):
    stored = house.store(slice_of(1, 1))
    path = house.root / stored
    if damage == "cut short":
        house.write(stored, path.read_bytes()[:-100])
    elif damage == "no DICOM":
        house.write(stored, b"nothing of the kind" * 20)
    else:
        path = path.rename(path.with_name("0" * 64 + ".dcm"))
    before = path.read_bytes()
    sweep(house)
    assert house.files() == [f"unreadable/{path.name}"]
    assert (house.root / "unreadable" / path.name).read_bytes() == before
    assert house.rows("SELECT count(*) FROM object") == [(0,)]
    assert house.tally() == {"swept_files unreadable": 1}
    assert "1 set aside as unreadable" in house.rows("SELECT detail FROM job")[0][0]
    sweep(house)
    assert house.tally() == {"swept_files unreadable": 1}


@pytest.mark.parametrize("kind", ["an object store"], indirect=True)
def test_in_a_store_what_cannot_be_read_is_named_and_stays(house):
    path = house.store(slice_of(1, 1))
    house.write(path, b"nothing of the kind" * 20)
    note = path.replace(path[:2], "unreadable", 1)
    for _ in range(2):
        sweep(house)
        assert house.files() == [path, note]
        assert house.medium.content(path) == b"nothing of the kind" * 20
        assert house.medium.content(note).decode().startswith(path)
        assert house.tally() == {"swept_files unreadable": 1}, "told once"
    house.write(path, b"something else" * 20)
    sweep(house)
    assert house.tally() == {"swept_files unreadable": 2}
    (again,) = house.receive(1, 1)
    sweep(house)
    assert again == path
    assert house.rows("SELECT count(*) FROM object") == [(1,)]
    assert house.tally() == {"swept_files unreadable": 2}


@pytest.mark.parametrize("kind", ["an object store"], indirect=True)
@pytest.mark.parametrize("gone", ["the bucket", "all objects", "the server"])
def test_a_store_that_is_not_there_flags_nothing(house, gone):
    paths = house.receive(1, 1, 2)
    store = house.medium.store
    if gone == "the bucket":
        store.drop_bucket()
    elif gone == "the server":
        store.stop()
    else:
        for path in paths:
            house.medium.lose(path)
    house.now += 7200
    went_well = jobs.run(house.keeping, "sweep")
    if gone == "the server":
        store.start()
    assert not went_well
    assert house.rows("SELECT count(*) FROM absent_file") == [(0,)]
    assert house.rows("SELECT state FROM frame") == [("waiting",)] * 2
    ((detail,),) = house.rows("SELECT detail FROM job")
    assert {
        "the bucket": "its bucket is not there",
        "all objects": "the spool is empty",
        "the server": "the store does not answer",
    }[gone] in detail


def test_a_whole_file_that_takes_a_broken_ones_place_stays_in_it(house):
    path = house.store(slice_of(1, 1))
    files = house.spool
    assert not files.set_aside(path, files.stamp(path) + "1")
    assert house.files() == [path]


def test_a_whole_file_of_no_series_is_set_aside(house):
    ds = slice_of(1, 1)
    ds.SeriesInstanceUID = ""
    path = house.store(ds)
    sweep(house)
    assert house.files() == [path.replace(path[:2], "unreadable", 1)]
    assert house.rows("SELECT count(*) FROM object") == [(0,)]


@ON_EACH_MEDIUM
def test_a_row_without_file_is_flagged_and_its_slice_left_out(house):
    gone, there = house.receive(1, 1, 2)
    house.medium.lose(gone)
    sweep(house)
    assert house.rows("SELECT o.path, a.why, a.at FROM absent_file a JOIN object o"
                      " ON o.id = a.object_id") == [(gone, "missing", house.now)]  # fmt: skip
    assert house.rows("SELECT state, reason FROM frame ORDER BY id") == [
        ("excluded", "its file is missing from the spool"),
        ("waiting", None),
    ]
    assert house.files() == [there]
    assert house.tally() == {"swept_files missing": 1}
    sweep(house)
    assert house.tally() == {"swept_files missing": 1}
    house.score()
    house.now += 31
    house.close()
    assert house.rows("SELECT verdict FROM assessment") == [("meets",)]


@ON_EACH_MEDIUM
def test_what_is_scored_stays_scored_without_its_file(house):
    (path,) = house.done(1, 1)
    house.receive(2, 1)
    house.medium.lose(path)
    sweep(house)
    assert house.rows("SELECT state, score FROM frame WHERE id = 1") == [("scored", 3.0)]
    assert house.rows("SELECT state, generation FROM series WHERE id = 1") == [("closed", 1)]


def test_a_dead_slice_without_file_is_no_letter_any_more(house):
    gone, _ = house.receive(1, 1, 2)
    for _ in range(8):
        house.claim()
        house.now += 100
    assert len(letters.dead(house.database)) == 2
    (house.root / gone).unlink()
    sweep(house)
    assert [one.name for one in letters.dead(house.database)] == ["frame-2"]


@ON_EACH_MEDIUM
def test_a_file_that_is_there_again_is_scored_after_all(house):
    gone, _ = house.receive(1, 1, 2)
    content = house.medium.content(gone)
    house.medium.lose(gone)
    sweep(house)
    house.score()
    house.now += 31
    house.close()
    house.write(gone, content)
    sweep(house)
    assert house.rows("SELECT count(*) FROM absent_file") == [(0,)]
    assert house.rows("SELECT state, generation FROM series") == [("open", 3)]
    house.score()
    house.close()
    assert house.rows("SELECT generation, current FROM assessment ORDER BY id") == [
        (2, False), (3, True),
    ]  # fmt: skip
    assert house.tally() == {"swept_files missing": 1, "swept_files returned": 1}
    sweep(house)
    assert house.rows("SELECT state FROM series") == [("closed",)]


def test_pet_that_is_there_again_waits_for_its_ct_first(house):
    ds = slice_of(1, 1)
    ds.SOPClassUID, ds.Modality = "1.2.840.10008.5.1.4.1.1.128", "PT"
    path = house.store(ds)
    house.receive(2, 1)
    sweep(house)
    content = (house.root / path).read_bytes()
    (house.root / path).unlink()
    sweep(house)
    assert pairing.awaiting(house.database) == {}
    house.write(path, content)
    sweep(house)
    assert len(pairing.awaiting(house.database)) == 1


@pytest.mark.parametrize("gone", ["the folder", "all files"])
def test_a_disk_that_is_not_mounted_flags_nothing(house, gone):
    house.receive(1, 1, 2)
    shutil.rmtree(house.root)
    if gone == "all files":
        (house.root / "incoming").mkdir(parents=True)
    assert not jobs.run(house.keeping, "sweep")
    assert house.rows("SELECT count(*) FROM absent_file") == [(0,)]
    assert house.rows("SELECT state FROM frame") == [("waiting",)] * 2
    ((failed, detail, failures, succeeded_at),) = house.rows(
        "SELECT failed, detail, failures, succeeded_at FROM job"
    )
    assert (failed, failures, succeeded_at) == (True, 1, None)
    assert "is its disk mounted?" in detail


def test_an_empty_spool_is_believed_where_that_is_said(house):
    house.receive(1, 1, 2)
    shutil.rmtree(house.root)
    (house.root / "incoming").mkdir(parents=True)
    swept = Sweep(
        house.database, house.keeping.files, house.settings.complete, "host:1",
        lambda: house.now, 0, believe_empty=True,
    ).run()  # fmt: skip
    assert swept.missing == 2


def test_what_is_not_the_gates_is_left_alone(house):
    house.receive(1, 1)
    for name in ("lost+found/x", "aa/.nfs0001", "incoming/half"):
        path = house.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    before = house.files()
    sweep(house)
    assert house.files() == before
    assert house.tally() == {}
