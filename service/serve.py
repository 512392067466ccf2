"""`iqgate serve`: every role of this host as a process of its own, restarted when it dies."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from service.config import Settings
from service.ledger import commissioning, reading
from service.ledger.database import Database
from service.log import line
from service.role import stop_on_signal

log = logging.getLogger("iqgate.serve")

ROLES = ("receive", "score", "deliver", "watch")
GRACE_S = 20.0
LONGEST_BACKOFF_S = 30.0
STEADY_AFTER_S = 60.0
CONFIGURATION_FAULT = 2


@dataclass
class _Child:
    role: str
    gpu: str | None
    process: subprocess.Popen[bytes]
    started_at: float
    deaths: int = 0
    restart_at: float | None = None


def serve(settings: Settings, config: Path | None) -> int:
    """Run all roles until SIGTERM or SIGINT; the exit status.

    A role that finds the configuration unusable ends the whole gate with status 2.
    """
    _announce(settings)
    stopped = threading.Event()
    stop_on_signal(stopped.set)
    children = [_start(role, gpu, config) for role, gpu in processes(settings)]
    status = 0
    while not stopped.wait(0.2):
        for child in children:
            if not _tend(child, config):
                status = CONFIGURATION_FAULT
                stopped.set()
    for child in children:
        if child.process.poll() is None:
            child.process.terminate()
    deadline = time.monotonic() + GRACE_S
    for child in children:
        try:
            child.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning(line("role-killed", role=child.role))
            child.process.kill()
            child.process.wait()
    return status


def processes(settings: Settings) -> list[tuple[str, str | None]]:
    """The roles to start, one entry a process, and the GPU that a worker is to see: None leaves
    that to the environment."""
    gpus: tuple[str | None, ...] = settings.score.gpus or (None,)
    alone: list[tuple[str, str | None]] = [
        (role, None) for role in ROLES if role not in ("receive", "score")
    ]
    receivers = [("receive", None)] * settings.receive.processes
    return [*receivers, *(("score", gpu) for gpu in gpus), *alone]


def _announce(settings: Settings) -> None:
    """Bring the schema up to date, and say loudly what is being kept back."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_url)
    database.upgrade()
    held = reading.held_reports(database)
    signed = len(commissioning.records(database))
    database.dispose()
    log.info(line("starting", mode=settings.mode, data_dir=settings.data_dir))
    if settings.mode != "report":
        why = "reports are built and kept, and sent to nobody, until the mode is 'report'"
        held = {why: sum(held.values())}
    for reason, count in held.items():
        log.warning(line("reports-kept-back", mode=settings.mode, held=count, why=reason))
    if settings.commissioning == "waived":
        why = "limits that nobody signed off here decide, and every report says so"
        log.warning(line("commissioning-waived", why=why))
    else:
        why = "a protocol stays in shadow until its limits are signed off: `iqgate commission`"
        log.warning(line("commissioning-required", signed=signed, why=why))
    if not settings.report_peers:
        log.warning(line("no-pacs-configured", reports_go_to=settings.reports_folder))


def _start(role: str, gpu: str | None, config: Path | None) -> _Child:
    command = [sys.executable, "-m", "service", role, "--supervised"]
    if config is not None:
        command += ["--config", str(config)]
    # a session of its own keeps Ctrl-C from reaching roles before the supervisor drains them;
    # the pipe on standard input ends with the supervisor, however it ends
    environment = os.environ if gpu is None else {**os.environ, "CUDA_VISIBLE_DEVICES": gpu}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, start_new_session=True, env=environment
    )
    return _Child(role, gpu, process, time.monotonic())


def _tend(child: _Child, config: Path | None) -> bool:
    """Restart a role that died, after a growing wait. False: it cannot run as configured."""
    code = child.process.poll()
    if code is None:
        return True
    if code == CONFIGURATION_FAULT:
        return False
    now = time.monotonic()
    if child.restart_at is None:
        steady = now - child.started_at > STEADY_AFTER_S
        child.deaths = 1 if steady else child.deaths + 1
        backoff_s = min(0.5 * 2 ** (child.deaths - 1), LONGEST_BACKOFF_S)
        child.restart_at = now + backoff_s
        log.error(line("role-died", role=child.role, status=code, restart_in_s=backoff_s))
    elif now >= child.restart_at:
        fresh = _start(child.role, child.gpu, config)
        child.process, child.started_at, child.restart_at = fresh.process, now, None
    return True
