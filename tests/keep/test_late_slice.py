"""A slice that comes after its series' images were removed: scores stay, the report is renewed."""

from io import BytesIO

from pydicom import dcmread

from service.config import Complete, Report
from service.keep import jobs
from service.ledger import closing
from service.score.conclude import Concluder
from tests.factories import BUNDLE
from tests.keep.house import DAY_S, POLICY


def test_its_report_has_the_patient_and_all_scores(house):
    house.done(1, 1, 2, 3)
    house.now += 2 * DAY_S
    assert jobs.run(house.set(images_days=1), "retention")
    (late,) = house.receive(1, 4)
    assert house.files() == [late]
    house.score(3.5)
    house.now += Complete().reopened_quiet_max_s
    settings = house.settings.model_copy(
        update={"report": Report(scope="series"), "commissioning": "waived"}
    )
    concluder = Concluder(settings, house.database, POLICY, lambda _: BUNDLE)
    (series_id,) = closing.due_series(house.database, house.now)
    assert concluder.conclude(series_id, house.now)
    ((body,),) = house.rows("SELECT body FROM report ORDER BY id DESC LIMIT 1")
    report = dcmread(BytesIO(body))
    assert report.PatientName == "Doe^Jane"
    assert report.PatientID == "PID-1"
    assert house.rows("SELECT slices FROM (SELECT count(*) AS slices FROM frame"
                      " WHERE state = 'scored') AS scored") == [(4,)]  # fmt: skip
    assert jobs.run(house.keeping, "retention")
    assert house.files() == [late], "its new report is not delivered yet"
