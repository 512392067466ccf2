"""What people read: values re-read from the pages that the ledger's contents call for."""

from __future__ import annotations

import re
from io import BytesIO
from urllib.parse import quote

import pytest
from PIL import Image

from service.judge.evidence import Verdict
from service.report.wording import DISCLAIMER, VERDICT_HEADLINE
from service.watch.pages import PAGE_ROWS
from tests.watch.conftest import TOKEN, StartWatch, Watch
from tests.watch.filling import STUDY

ATTACK = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>"


def test_status_shows_a_judged_series(watch: Watch) -> None:
    facts = watch.filling.judged(3, [2.0, 2.1, None, 1.9, 2.2, 1.8, 2.3])
    page = watch.ask("/")
    assert page.status == 200
    assert "Does not meet" in page.text
    assert 'class="chip tone-does-not-meet"' in page.text
    assert "2.05" in page.text
    assert "1.80 to 2.30" in page.text
    assert "11.0 HU" in page.text
    assert "<polyline" in page.text
    assert ">6<small>of 7</small>" in page.text
    assert f"/series/{facts.series_instance_uid}?study={STUDY}" in page.text
    assert all(sentence in page.text for sentence in DISCLAIMER)


def test_status_says_provisional_and_borderline_in_words(watch: Watch) -> None:
    watch.filling.receive(1, 8)
    (series_id,) = watch.filling.score([2.4, 2.45, 2.55, 2.6, 2.65, 2.7])
    watch.filling.provisional(series_id)
    text = watch.ask("/").text
    assert '<span class="tag">provisional</span>' in text
    assert "Borderline" in text
    assert "8 slices so far, 2 not scored yet" in text


def test_status_pages_hold_every_series_once(watch: Watch) -> None:
    for number in range(1, PAGE_ROWS + 4):
        watch.clock.now += 1
        watch.filling.receive(number, 1)
    first, second = watch.ask("/").text, watch.ask("/?page=2").text
    found = [re.findall(rf"/series/{STUDY}\.(\d+)\?", text) for text in (first, second)]
    assert [int(one) for one in found[0] + found[1]] == list(range(PAGE_ROWS + 3, 0, -1))
    assert 'href="/?page=2"' in first
    assert 'href="/?page=1"' in second
    assert "No series this far back" in watch.ask("/?page=9").text
    assert watch.ask("/?page=-3").text.count("chip") == watch.ask("/?page=x").text.count("chip")


@pytest.mark.parametrize("mode", ["shadow", "notify"])
def test_status_says_loudly_what_is_held_back(start_watch: StartWatch, mode: str) -> None:
    watch = start_watch(mode=mode)
    watch.filling.judged(1, [3.0] * 4)
    watch.filling.judged(2, [3.0] * 4)
    text = watch.ask("/").text
    assert f"<strong>{mode.upper()} MODE</strong>" in text
    assert "<b>2</b> reports are built and held back" in text


def test_report_mode_has_no_banner(watch: Watch) -> None:
    watch.filling.judged(1, [3.0] * 4)
    assert "held back.</span>" not in watch.ask("/").text


def test_report_mode_counts_what_is_held_by_its_reason(watch: Watch) -> None:
    for series, (mode, hold) in enumerate(
        [("shadow", "its limits are not commissioned")] * 2 + [("notify", "the rule says notify")],
        1,
    ):
        watch.filling.receive(series, 4)
        (series_id,) = watch.filling.score([3.0] * 4)
        watch.filling.close(series_id, mode=mode, hold=hold)
    text = watch.ask("/").text
    assert "<strong>3 held back</strong>" in text
    assert "2: its limits are not commissioned; 1: the rule says notify." in text
    assert "<code>iqgate commission</code>" in text
    page = watch.ask(f"/series/{STUDY}.1?study={STUDY}").text
    assert "shadow mode: its limits are not commissioned" in page


def test_where_commissioning_is_waived_the_page_says_so(start_watch: StartWatch) -> None:
    watch = start_watch(commissioning="waived")
    assert "limits that nobody signed off at this site decide" in watch.ask("/").text


def test_series_page_tells_all_that_is_known(watch: Watch) -> None:
    facts = watch.filling.judged(3, [0.8, 0.9, None, 0.7])
    text = watch.ask(f"/series/{facts.series_instance_uid}?study={STUDY}").text
    assert VERDICT_HEADLINE[Verdict.UNUSABLE] in text
    assert "The median of slice scores is 0.80, below the limit 1 for unusable" in text
    assert "meets from 2.50, unusable below 1.00" in text
    assert "ct-md-iqa-compact 1.2.0" in text
    assert "1 of 4 slices not scored: localizer." in text
    assert "structured report" in text
    assert "<td>folder</td><td>waiting</td>" in text
    assert text.count("<figure>") == 3
    assert text.count('class="cross"') == 1
    assert text.count('class="dot"') == 3
    picture = re.search(r'src="(/thumbnail/\d+\.png)"', text)
    assert picture is not None
    drawn = Image.open(BytesIO(watch.ask(picture[1]).body))
    assert (drawn.format, drawn.mode, drawn.size) == ("PNG", "L", (160, 160))


def test_series_page_keeps_superseded_assessments(watch: Watch) -> None:
    facts = watch.filling.judged(3, [3.0] * 4)
    watch.filling.receive(3, 1)
    (series_id,) = watch.filling.score([3.0])
    reopened = watch.ask(f"/series/{facts.series_instance_uid}").text
    assert "Earlier verdict; slices arrived again, 5 slices so far" in reopened
    watch.filling.close(series_id)
    text = watch.ask(f"/series/{facts.series_instance_uid}").text
    assert text.count("<small>current</small>") == 1
    assert text.count("<small>superseded</small>") == 1
    assert "<td>folder</td><td>cancelled</td>" in text


def test_series_of_two_studies_are_told_apart(watch: Watch) -> None:
    watch.filling.judged(1, [3.0] * 4)
    watch.clock.now += 5
    watch.filling.judged(1, [1.5] * 4, study_instance_uid="1.2.3.4")
    ask = f"/api/series/{STUDY}.1"
    assert watch.ask(f"{ask}?study={STUDY}").json["verdict"] == "meets"
    assert watch.ask(f"{ask}?study=1.2.3.4").json["verdict"] == "does-not-meet"
    assert watch.ask(ask).json["study_instance_uid"] == "1.2.3.4"


def test_unknown_things_are_not_found(watch: Watch) -> None:
    for path in ("/series/1.2.3", "/thumbnail/99.png", "/nothing", "/series/<script>"):
        answer = watch.ask(quote(path))
        assert answer.status == 404
        assert "<script>" not in answer.text.replace('<script src="/static', "")
    assert watch.ask("/api/series/1.2.3").json == {"error": "The gate knows no such series."}


def test_api_lists_series_as_numbers(watch: Watch) -> None:
    watch.filling.judged(3, [2.0, 2.2, 2.4, None])
    listed = watch.ask("/api/series").json
    assert (listed["mode"], listed["more"], len(listed["series"])) == ("report", False, 1)
    one = listed["series"][0]
    assert one["verdict"] == "does-not-meet"
    assert one["score"] == pytest.approx(2.2)
    assert (one["slices_total"], one["slices_scored"], one["slices_excluded"]) == (4, 3, 1)
    assert (one["phase"], one["alarm"], one["bundle"]) == ("final", True, "ct-md-iqa-compact")
    assert watch.ask("/api/series?scanner=another").json["series"] == []
    slices = watch.ask(f"/api/series/{STUDY}.3").json["slices"]
    assert [each["score"] for each in slices] == [2.0, 2.2, 2.4, None]
    assert slices[3]["excluded"] == "localizer"


def test_headers_that_mean_harm_stay_text(watch: Watch) -> None:
    watch.filling.judged(
        3,
        [2.0] * 4,
        series_description=ATTACK,
        protocol_name=ATTACK,
        kernel=ATTACK,
        model=ATTACK,
        modality="CT",
    )
    scanner = f"ACME {ATTACK} S123"
    pages = ["/", "/rooms", f"/series/{STUDY}.3", "/room/" + quote(scanner, safe="")]
    for path in pages:
        text = watch.ask(path).text
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_every_answer_carries_the_security_headers(watch: Watch) -> None:
    for path in ("/", "/metrics", "/static/iqgate.js", "/nothing", "/api/series", "/healthz"):
        headers = watch.ask(path).headers
        policy = headers["Content-Security-Policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"


def test_pages_need_nothing_inline_and_nothing_foreign(watch: Watch) -> None:
    watch.filling.judged(3, [2.0] * 4)
    for path in ("/", "/rooms", f"/series/{STUDY}.3", "/room/x", "/login"):
        text = watch.ask(path).text
        assert not re.search(r"<script(?![^>]* src=\"/static/)", text)
        assert not re.search(r"<style|\sstyle=|\son\w+=|https?://", text)


def test_pages_refresh_without_javascript(watch: Watch) -> None:
    for path in ("/", "/room/x"):
        assert re.search(r'<noscript><meta http-equiv="refresh"', watch.ask(path).text)


def test_patient_is_shown_only_to_whoever_gives_the_token(watch: Watch) -> None:
    watch.filling.judged(3, [2.0] * 4)
    paths = ("/", f"/series/{STUDY}.3", "/api/series", f"/api/series/{STUDY}.3")
    for path in paths:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "iqgate_identity=9.9"}):
            assert "Müller" not in watch.ask(path, **headers).text
            assert "P-0815" not in watch.ask(path, **headers).text
        assert "Müller" in watch.ask(path, Authorization=f"Bearer {TOKEN}").text
    assert "Müller" not in watch.ask(f"/?token={quote(TOKEN)}").text


def test_form_gives_a_cookie_that_ends(watch: Watch) -> None:
    watch.filling.judged(3, [2.0] * 4)
    assert watch.ask("/login", method="POST", body="token=wrong").status == 403
    answer = watch.ask("/login", method="POST", body="token=" + quote(TOKEN))
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    mine = cookie.split(";")[0]
    assert "Müller" in watch.ask("/", Cookie=mine).text
    later = mine.replace("iqgate_identity=1", "iqgate_identity=2")
    assert "Müller" not in watch.ask("/", Cookie=later).text
    watch.clock.now += 9 * 3600
    assert "Müller" not in watch.ask("/", Cookie=mine).text
    assert watch.ask("/login", method="POST", body="token=" + "x" * 5000).status == 413


def test_without_a_token_nobody_sees_a_patient(start_watch: StartWatch) -> None:
    watch = start_watch()
    watch.filling.judged(3, [2.0] * 4)
    assert "Müller" not in watch.ask("/", Authorization="Bearer ").text
    assert watch.ask("/login").status == 404
    assert watch.ask("/login", method="POST", body="token=").status == 403
