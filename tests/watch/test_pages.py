"""What people read: values re-read from the pages that the ledger's contents call for."""

from __future__ import annotations

from tests.watch.conftest import Watch


def test_status_page_shows_what_the_ledger_holds(watch: Watch) -> None:
    watch.filling.all_roles()
    watch.filling.judged(3, [3.0, 3.1, 2.9, 3.2])
    page = watch.ask("/")
    assert page.status == 200
    assert "Meets" in page.text
    assert "3.05" in page.text
