"""The pages: each reads the ledger once, in one consistent view, and fills a template."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from service.config import VERSION, Settings
from service.judge.evidence import Assessment
from service.ledger import keeping, labels, letters, reading, series_reading
from service.ledger.database import Database
from service.ledger.reading import Backlog
from service.ledger.series_reading import SeriesReading
from service.ledger.tables import FrameState, OutboxState
from service.report.wording import DISCLAIMER, VERDICT_HEADLINE, limits_in_words
from service.watch import curve, entry, moment, picture
from service.watch.access import Access
from service.watch.entry import SeriesEntry
from service.watch.face import face_of
from service.watch.health import EXPECTED_ROLES, readiness_of
from service.watch.room import room_of

HERE = Path(__file__).parent
PAGE_ROWS = 25
MOST_JSON_ROWS = 200
SHOWN_LETTERS = 10
SMALL_CURVE = (120.0, 28.0)
LARGE_CURVE = (960.0, 260.0)

MODE_IN_WORDS = {
    "shadow": "Nothing is sent, and no room page alarms.",
    "notify": "Room pages alarm, and nothing is sent.",
    "report": "Reports are sent.",
}


class Pages:
    """Everything that is answered from the ledger to a browser or a program."""

    def __init__(
        self, settings: Settings, database: Database, access: Access, clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._database = database
        self._access = access
        self._clock = clock
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(
            version=VERSION,
            mode=settings.mode,
            commissioning=settings.commissioning,
            mode_in_words=MODE_IN_WORDS[settings.mode],
            disclaimer=DISCLAIMER,
            room_path=entry.room_path,
        )

    def status(self, request: Request) -> Response:
        """`/`: recent series, what waits, what runs."""
        now, page = self._clock(), _page(request)
        identified = self._access.granted(request)
        with self._database.read() as connection:
            entries = self._entries(connection, page, PAGE_ROWS + 1, identified, now)
            backlog = reading.backlog(connection, now)
            processes = reading.roles(connection, now)
        dead = letters.dead(self._database)[:SHOWN_LETTERS] if backlog.dead_letters else []
        return self._show(
            "status.html",
            now,
            events="/events",
            identified=identified,
            can_identify=self._access.possible,
            entries=entries[:PAGE_ROWS],
            page=page,
            older=len(entries) > PAGE_ROWS,
            queue=_queue(backlog),
            backlog=backlog,
            letters=dead,
            processes=[(one, moment.ago(one.seen_at, now)) for one in processes],
            readiness=readiness_of(processes),
            expected=EXPECTED_ROLES,
        )

    def series(self, request: Request) -> Response:
        """`/series/<UID>?study=…`: all that is known of one series."""
        now, identified = self._clock(), self._access.granted(request)
        with self._database.read() as connection:
            one = self._series_asked_for(connection, request, identified)
            slices = series_reading.slices(connection, [one.series_id])[one.series_id]
            thumbnails = series_reading.thumbnails(connection, one.series_id)
            history = series_reading.assessments(connection, one.series_id)
            reports = series_reading.reports(connection, one)
            absent = keeping.absences(connection, one.series_id)
            said = labels.labels(connection, one.facts.series_instance_uid)
        width, height = LARGE_CURVE
        excluded: dict[str, int] = {}
        for each in slices:
            if each.score is None and each.reason:
                excluded[each.reason] = excluded.get(each.reason, 0) + 1
        assessment = one.assessment
        return self._show(
            "series.html",
            now,
            events="/events",
            identified=identified,
            can_identify=self._access.possible,
            entry=entry.entry_of(one, slices, now),
            assessment=assessment,
            limits=entry.limits_in_words(assessment),
            stacks=[] if assessment is None else _stacks(assessment),
            curve=curve.draw(slices, assessment, width=width, height=height, marked=True),
            thumbnails=thumbnails,
            excluded=sorted(excluded.items(), key=lambda pair: -pair[1]),
            absent=[
                (count, moment.clock_time(at, now), why.value)
                for why, (count, at) in sorted(absent.items())
            ],
            labels=[
                (label, moment.clock_time(label.labelled_at, now), entry.scores_of(label, slices))
                for label in said
            ],
            history=[
                (past, moment.clock_time(past.created_at, now), face_of(past.assessment))
                for past in history
            ],
            reports=[
                (
                    report,
                    moment.clock_time(report.created_at, now),
                    moment.duration(report.next_attempt_at - now),
                )
                for report in reports
            ],
            waiting_states=(OutboxState.WAITING, OutboxState.LEASED),
        )

    def room(self, request: Request) -> Response:
        """`/room/<scanner>`: the screen beside the scanner. Never shows a patient."""
        now, scanner = self._clock(), str(request.path_params["scanner"])
        with self._database.read() as connection:
            room = room_of(connection, scanner, self._settings.mode, now)
        return self._show("room.html", now, events="/events" + entry.room_path(scanner), room=room)

    def rooms(self, _request: Request) -> Response:
        """`/rooms`: the scanners that sent images."""
        now = self._clock()
        with self._database.read() as connection:
            found = series_reading.scanners(connection)
        shown = [(name, moment.clock_time(at, now), moment.ago(at, now)) for name, at in found]
        return self._show("rooms.html", now, events="", scanners=shown)

    def series_json(self, request: Request) -> Response:
        """`/api/series`: recent series, newest first."""
        now, page = self._clock(), _page(request)
        rows = min(max(_number(request, "rows", PAGE_ROWS), 1), MOST_JSON_ROWS)
        with self._database.read() as connection:
            found = series_reading.recent_series(
                connection,
                limit=rows + 1,
                offset=(page - 1) * rows,
                scanner=request.query_params.get("scanner"),
                with_patient=self._access.granted(request),
            )
            slices = series_reading.slices(connection, [one.series_id for one in found[:rows]])
        shown = [
            entry.as_json(entry.entry_of(one, slices[one.series_id], now)) for one in found[:rows]
        ]
        return JSONResponse(
            {
                "at": moment.iso(now),
                "mode": self._settings.mode,
                "disclaimer": list(DISCLAIMER),
                "page": page,
                "more": len(found) > rows,
                "series": shown,
            }
        )

    def one_series_json(self, request: Request) -> Response:
        """`/api/series/<UID>?study=…`: one series with its slices."""
        now, identified = self._clock(), self._access.granted(request)
        with self._database.read() as connection:
            one = self._series_asked_for(connection, request, identified)
            slices = series_reading.slices(connection, [one.series_id])[one.series_id]
        shown = entry.as_json(entry.entry_of(one, slices, now))
        shown["warnings"] = [] if one.assessment is None else list(one.assessment.warnings)
        shown["slices"] = [entry.slice_as_json(each) for each in slices]
        return JSONResponse({"mode": self._settings.mode, "disclaimer": list(DISCLAIMER)} | shown)

    def thumbnail(self, request: Request) -> Response:
        """`/thumbnail/<frame>.png`: the picture kept of a slice."""
        with self._database.read() as connection:
            found = series_reading.picture(connection, int(request.path_params["frame_id"]))
        if found is None:
            raise HTTPException(404, "No picture is kept of this slice.")
        return Response(picture.png(*found), media_type="image/png")

    def message(self, status: int, title: str, text: str) -> Response:
        """A page that says one thing."""
        page = self._show("message.html", self._clock(), events="", title=title, text=text)
        page.status_code = status
        return page

    def login(self, *, wrong: bool) -> Response:
        """The form that asks for the token."""
        page = self._show("login.html", self._clock(), events="", wrong=wrong)
        page.status_code = 403 if wrong else 200
        return page

    def _entries(
        self, connection: Connection, page: int, limit: int, identified: bool, now: float
    ) -> list[tuple[SeriesEntry, curve.Curve | None]]:
        found = series_reading.recent_series(
            connection, limit=limit, offset=(page - 1) * PAGE_ROWS, with_patient=identified
        )
        slices = series_reading.slices(connection, [one.series_id for one in found])
        width, height = SMALL_CURVE
        return [
            (
                entry.entry_of(one, slices[one.series_id], now),
                curve.draw(
                    slices[one.series_id], one.assessment, width=width, height=height, marked=False
                ),
            )
            for one in found
        ]

    def _series_asked_for(
        self, connection: Connection, request: Request, identified: bool
    ) -> SeriesReading:
        """Raises HTTPException 404."""
        found = series_reading.series_of_uid(
            connection,
            str(request.path_params["uid"]),
            request.query_params.get("study"),
            with_patient=identified,
        )
        if found is None:
            raise HTTPException(404, "The gate knows no such series.")
        return found

    def _show(self, template: str, now: float, **context: Any) -> Response:
        page = self._templates.get_template(template)
        return HTMLResponse(
            page.render(
                now=now, now_shown=moment.clock_time(now, now), now_iso=moment.iso(now), **context
            )
        )


def _stacks(assessment: Assessment) -> list[tuple[str, int, str, str, str, str]]:
    return [
        (
            entry.stack_in_words(stack),
            stack.slices_scored,
            entry.value_in_words(stack.value),
            entry.interval_in_words(stack.interval),
            "" if stack.limits is None else limits_in_words(stack.limits),
            VERDICT_HEADLINE[stack.verdict],
        )
        for stack in assessment.stacks
    ]


def _queue(backlog: Backlog) -> dict[str, tuple[int, str]]:
    """How many wait, and how long the oldest has."""
    frames = backlog.frames.get(FrameState.WAITING, 0) + backlog.frames.get(FrameState.LEASED, 0)
    reports = backlog.reports(OutboxState.WAITING, OutboxState.LEASED)
    return {
        "frames": (frames, moment.duration(backlog.oldest_frame_s) if frames else ""),
        "reports": (reports, moment.duration(backlog.oldest_report_s) if reports else ""),
    }


def _page(request: Request) -> int:
    return min(max(_number(request, "page", 1), 1), 1_000_000)


def _number(request: Request, name: str, default: int) -> int:
    given = request.query_params.get(name, "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 10 else default
