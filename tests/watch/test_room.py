"""The screen beside the scanner: one state, one alarm, no patient."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest

from service.watch.room import FRESH_WITHIN_S
from tests.watch.conftest import StartWatch, Watch
from tests.watch.filling import SCANNER, STUDY

ROOM = "/room/" + quote(SCANNER, safe="")
ACTION = "Have someone look at these images before the patient leaves."


def word(text: str) -> str:
    found = re.search(r'<p class="word">(.*?)</p>', text)
    assert found is not None
    return found[1]


def tone(text: str) -> str:
    found = re.search(r'<section class="state ([\w-]+)', text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("scores", "said", "toned", "alarmed"),
    [
        ([3.0] * 4, "Meets", "tone-meets", False),
        ([2.0] * 4, "Does not meet", "tone-does-not-meet", True),
        ([0.5] * 4, "Unusable", "tone-unusable", True),
        ([None] * 4, "Not assessed", "tone-not-assessed", False),
        ([2.4, 2.4, 2.5, 2.6, 2.7, 2.7], "Borderline", "tone-borderline", False),
    ],
)
def test_the_state_is_word_tone_and_symbol(
    watch: Watch, scores: list[float | None], said: str, toned: str, alarmed: bool
) -> None:
    watch.filling.all_roles()
    watch.filling.judged(3, scores)
    text = watch.ask(ROOM).text
    assert (word(text), tone(text), ACTION in text) == (said, toned, alarmed)
    assert '<div class="mark"><svg class="symbol"' in re.sub(r">\s+<", "><", text)
    assert "<b>Series 3</b> Thorax 1.0 soft" in text
    assert "Müller" not in text
    assert "P-0815" not in text
    assert STUDY not in text


def test_provisional_while_slices_arrive(watch: Watch) -> None:
    watch.filling.all_roles()
    watch.filling.receive(3, 6)
    waiting = watch.ask(ROOM).text
    assert (word(waiting), tone(waiting)) == ("Waiting", "tone-waiting")
    (series_id,) = watch.filling.score([2.0, 2.0, 2.1, 2.1])
    watch.filling.provisional(series_id)
    text = watch.ask(ROOM).text
    assert word(text) == "Does not meet"
    assert '<span class="tag">Provisional</span>' in text
    assert "Slices still arriving: 6 slices so far, 2 not scored yet" in text
    assert ACTION in text
    assert text.count("<figure>") == 4


def test_too_few_slices_yet_are_waited_for(watch: Watch) -> None:
    watch.filling.receive(3, 2)
    (series_id,) = watch.filling.score([2.0, 2.0])
    watch.filling.provisional(series_id)
    assert word(watch.ask(ROOM).text) == "Waiting"


def test_one_bad_acquisition_alarms_on_its_primary_reconstruction(watch: Watch) -> None:
    watch.filling.judged(4, [3.0] * 4, irradiation_event_uid="1.9")
    watch.clock.now += 10
    watch.filling.judged(5, [2.0] * 4, irradiation_event_uid="1.9", kernel="sharp")
    text = watch.ask(ROOM).text
    assert word(text) == "Meets"
    assert "<b>Series 4</b>" in text
    assert ACTION not in text
    assert 'class="card tone-does-not-meet"' in text


def test_an_open_secondary_reconstruction_does_not_alarm(watch: Watch) -> None:
    watch.filling.receive(4, 4, irradiation_event_uid="1.9")
    (primary,) = watch.filling.score([3.0] * 4)
    watch.filling.provisional(primary)
    watch.clock.now += 1
    watch.filling.receive(5, 4, irradiation_event_uid="1.9", kernel="sharp")
    (secondary,) = watch.filling.score([1.5] * 4)
    watch.filling.provisional(secondary)
    text = watch.ask(ROOM).text
    assert (word(text), ACTION in text) == ("Meets", False)


def test_an_alarm_stays_in_sight_while_its_study_goes_on(watch: Watch) -> None:
    watch.filling.judged(3, [2.0] * 4)
    watch.clock.now += 60
    watch.filling.judged(4, [3.0] * 4, acquired_at="later")
    text = watch.ask(ROOM).text
    assert word(text) == "Meets"
    assert "Same study: series 3 does not meet." in text
    watch.clock.now += 60
    watch.filling.judged(1, [3.0] * 4, study_instance_uid="1.2.3", acquired_at="next")
    assert "Same study" not in watch.ask(ROOM).text


def test_more_alarms_than_there_is_room_for_are_counted(watch: Watch) -> None:
    for number in range(1, 6):
        watch.clock.now += 60
        watch.filling.judged(number, [2.0] * 4, acquired_at=str(number))
    text = watch.ask(ROOM).text
    assert re.findall(r"Same study: series (\d)", text) == ["4", "3"]
    assert "and 2 more" in text
    assert "<b>Series 5</b>" in text


def test_documents_do_not_take_the_place_of_images(watch: Watch) -> None:
    watch.filling.judged(3, [2.0] * 4)
    watch.clock.now += 60
    watch.filling.receive(999, 1, set_aside="Dose reports are not assessed", modality="SR")
    text = watch.ask(ROOM).text
    assert word(text) == "Does not meet"
    assert "999" not in text


def test_shadow_shows_and_does_not_alarm(start_watch: StartWatch) -> None:
    watch = start_watch(mode="shadow")
    watch.filling.judged(3, [2.0] * 4)
    watch.clock.now += 60
    watch.filling.judged(4, [0.5] * 4, acquired_at="later")
    text = watch.ask(ROOM).text
    assert (word(text), tone(text)) == ("Unusable", "shadow")
    assert "Shadow mode · for evaluation, no alarm" in text
    assert ACTION not in text
    assert 'data-alarm=""' in text
    assert "Same study" not in text
    assert "shadowed" in text


def test_a_rule_in_shadow_is_quiet_in_a_gate_that_reports(watch: Watch) -> None:
    watch.filling.receive(3, 4)
    (series_id,) = watch.filling.score([2.0] * 4)
    watch.filling.close(series_id, mode="shadow")
    text = watch.ask(ROOM).text
    assert (tone(text), ACTION in text) == ("shadow", False)


def test_an_old_verdict_is_not_the_next_patients(watch: Watch) -> None:
    watch.filling.judged(3, [2.0] * 4)
    watch.clock.now += FRESH_WITHIN_S + 1
    text = watch.ask(ROOM).text
    assert (word(text), tone(text)) == ("No recent series", "tone-waiting")
    assert 'class="card tone-does-not-meet alarm"' in text


def test_a_gate_that_does_not_score_says_so(watch: Watch) -> None:
    watch.filling.role("receive")
    watch.filling.role("score", ready=False, detail="starting")
    text = watch.ask(ROOM).text
    assert "The gate is not assessing images just now." in text
    assert "score: not ready (starting)" in text
    watch.filling.role("score")
    assert "not assessing" not in watch.ask(ROOM).text


@pytest.mark.parametrize("name", ["A/B C", "x?y#z", "50% ü", "a//b", "q&\"'<", "..x"])
def test_scanner_names_travel_in_urls(watch: Watch, name: str) -> None:
    watch.filling.judged(3, [3.0] * 4, manufacturer=name, model="", device_serial_number="")
    link = re.search(r'<a href="(/room/[^"]+)">', watch.ask("/rooms").text)
    assert link is not None
    assert link[1] == "/room/" + quote(name, safe="")
    assert word(watch.ask(link[1]).text) == "Meets"


def test_an_unknown_scanner_is_a_room_without_series(watch: Watch) -> None:
    assert word(watch.ask("/room/nobody").text) == "No series yet"
