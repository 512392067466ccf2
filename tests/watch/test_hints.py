"""Senders' re-open rates and people's labels, where they are shown."""

from __future__ import annotations

from service.config import Receive
from service.ledger import labels, reception
from service.ledger.labels import RejectionNote
from service.watch.metrics import LedgerCollector
from tests.watch.conftest import Watch
from tests.watch.test_metrics import samples, value


def reject(watch: Watch, series_uid: str, *numbers: int) -> None:
    note = RejectionNote(
        "1.2.3",
        "113001",
        "Rejected for Quality Reasons",
        "Motion blur",
        tuple((series_uid, f"{series_uid}.{number}") for number in numbers),
    )
    labels.reject(watch.database, note, calling_ae_title="<PACS1>", settle_s=2.0, now=watch.clock())


def test_reopened_series_are_counted_by_senders_the_configuration_knows(watch: Watch) -> None:
    watch.filling.judged(3, [3.0] * 3)
    watch.filling.receive(3, 1)
    assert value(samples(watch), "sender_closed_series_total", sender="other") == 1
    receive = Receive(calling_ae_titles=("CT1", "CT2"))
    settings = watch.settings.model_copy(update={"receive": receive})
    families = {
        family.name: {one.labels["sender"]: one.value for one in family.samples}
        for family in LedgerCollector(settings, watch.database, watch.clock).collect()
        if family.name.startswith("iqgate_sender")
    }
    assert families == {
        "iqgate_sender_closed_series": {"CT1": 1, "CT2": 0},
        "iqgate_sender_reopened_series": {"CT1": 1, "CT2": 0},
    }


def test_whatever_a_peer_calls_itself_makes_no_new_series_of_values(watch: Watch) -> None:
    for number, title in enumerate(["EVIL 1", "EVIL 2"], 1):
        association = reception.start_association(
            watch.database, calling_ae_title=title, address="::1", receiver="x:1", now=1.0
        )
        watch.filling._association = association
        watch.filling.judged(number, [3.0] * 3)
    found = samples(watch)
    assert value(found, "sender_closed_series_total", sender="other") == 2
    assert "EVIL" not in watch.ask("/metrics").text


def test_rejected_images_are_counted_by_title(watch: Watch) -> None:
    facts = watch.filling.judged(3, [2.0, 2.2, 3.0])
    reject(watch, facts.series_instance_uid, 1, 2)
    assert value(samples(watch), "rejected_images_total", title="113001") == 2


def test_the_series_page_shows_a_label_beside_the_scores(watch: Watch) -> None:
    facts = watch.filling.judged(3, [2.0, 2.2, 3.0])
    page = f"/series/{facts.series_instance_uid}"
    assert "<h2>Labels</h2>" not in watch.ask(page).text
    reject(watch, facts.series_instance_uid, 1, 2)
    text = watch.ask(page).text
    assert (
        "<td>&lt;PACS1&gt;</td><td>Rejected for Quality Reasons</td><td>Motion blur</td>"
        '<td class="number">2</td><td>2.00 to 2.20</td>'
    ) in text
