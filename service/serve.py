"""`iqgate serve`: every role of this host as a process of its own, restarted when it dies or hangs.

Roles speak to it as they would to systemd (`service.notify`): that they are ready, and that they
live. To systemd it speaks for all of them: ready once every role is, alive while it tends them.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from service import notify
from service.config import Settings, load_settings
from service.errors import ConfigError
from service.ledger import commissioning, reading
from service.ledger.database import Database
from service.log import line
from service.ports import bound
from service.role import Orders, at_start

log = logging.getLogger("iqgate.serve")

ROLES = ("receive", "score", "deliver", "watch", "keep")
GRACE_S = 20.0
LONGEST_BACKOFF_S = 30.0
STEADY_AFTER_S = 60.0
SILENT_AFTER_S = 300.0
"""A role that has said nothing for so long hangs, and is killed. Longer than one delivery, or one
batch of the largest network on a slow processor."""
LOOK_S = 0.2
CONFIGURATION_FAULT = 2


@dataclass
class _Child:
    role: str
    gpu: str | None
    process: subprocess.Popen[bytes]
    started_at: float
    heard_at: float
    ready: bool = False
    served: bool = False
    """It, or one before it, was ready: its configuration was right once."""
    owes_reload: bool = False
    """The configuration is to be read anew as soon as it is ready."""
    deaths: int = 0
    restart_at: float | None = None


def serve(settings: Settings, config: Path | None) -> int:
    """Run all roles until SIGTERM or SIGINT; the exit status.

    A role that finds the configuration unusable at the start ends the whole gate with status 2.
    """
    # receivers that share a port would share it with another gate's, too: half of what is sent
    bound("receive", settings.receive.host, settings.receive.port).close()
    at_start(lambda: _announce(settings))
    orders = Orders()
    return Supervisor(settings, config, orders).run()


class Supervisor:
    """Starts the roles, hears them, restarts them, passes orders on, drains them."""

    def __init__(
        self,
        settings: Settings,
        config: Path | None,
        orders: Orders,
        silent_after_s: float = SILENT_AFTER_S,
    ) -> None:
        self._config = config
        self._orders = orders
        self._silent_after_s = silent_after_s
        self._listener = notify.Listener()
        self._alive_due_at = 0.0
        self._said_ready = False
        self._children = [self._start(role, gpu) for role, gpu in processes(settings)]

    def run(self) -> int:
        """Until told to stop; the exit status."""
        status = 0
        while not self._orders.stopping:
            self._orders.wait(LOOK_S, *self._listening())
            self._hear()
            if self._orders.reload():
                self._reload()
            if not all(self._tend(child) for child in self._children):
                status = CONFIGURATION_FAULT
                break
            self._say_alive()
        self._drain()
        self._listener.close()
        return status

    def _listening(self) -> list[int]:
        descriptor = self._listener.fileno()
        return [] if descriptor < 0 else [descriptor]

    def _start(self, role: str, gpu: str | None) -> _Child:
        command = [sys.executable, "-m", "service", role, "--supervised"]
        if self._config is not None:
            command += ["--config", str(self._config)]
        inherited = {k: v for k, v in os.environ.items() if k not in notify.OF_THE_MANAGER}
        environment = {**inherited, notify.SOCKET: self._listener.address}
        if gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        # a session of its own keeps Ctrl-C from reaching roles before the supervisor drains them;
        # the pipe on standard input ends with the supervisor, however it ends
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, start_new_session=True, env=environment
        )
        now = time.monotonic()
        return _Child(role, gpu, process, started_at=now, heard_at=now)

    def _hear(self) -> None:
        """Take what roles said; tell the service manager once all are ready."""
        children = {child.process.pid: child for child in self._children}
        for notice in self._listener.notices():
            child = children.get(notice.pid)
            if child is None:
                continue
            child.heard_at = time.monotonic()
            said = notice.assignments
            if said.get("READY") == "1" and not child.ready:
                child.ready = child.served = True
                if child.owes_reload:
                    child.owes_reload = False
                    child.process.send_signal(signal.SIGHUP)
            elif not self._said_ready and "STATUS" in said:
                notify.starting(f"{child.role}: {said['STATUS']}")
        if not self._said_ready and all(child.ready for child in self._children):
            self._said_ready = True
            notify.ready(f"{len(self._children)} role processes run")
            log.info(line("ready", processes=len(self._children)))

    def _say_alive(self) -> None:
        now = time.monotonic()
        if now >= self._alive_due_at:
            self._alive_due_at = now + 5.0
            notify.alive()

    def _reload(self) -> None:
        """Have every role read the configuration anew, if it can be read at all."""
        notify.reloading()
        try:
            load_settings(self._config)
        except ConfigError as error:
            for fault in str(error).splitlines():
                log.error(line("reload-refused", why=fault, in_force="what was read before"))
        else:
            for child in self._children:
                if child.ready and child.process.poll() is None:
                    child.process.send_signal(signal.SIGHUP)
                else:
                    child.owes_reload = True
        if self._said_ready:
            notify.ready(f"{len(self._children)} role processes run")

    def _tend(self, child: _Child) -> bool:
        """Kill a role that hangs; restart one that died, after a growing wait. False: it cannot
        run as configured, and never could."""
        now = time.monotonic()
        code = child.process.poll()
        if code is None:
            if self._listening() and now - child.heard_at > self._silent_after_s:
                log.error(line("role-hung", role=child.role, silent_s=self._silent_after_s))
                child.process.kill()
                child.process.wait()
            return True
        if code == CONFIGURATION_FAULT and not child.served:
            return False
        if child.restart_at is None:
            steady = now - child.started_at > STEADY_AFTER_S
            child.ready = False
            child.deaths = 1 if steady else child.deaths + 1
            backoff_s = min(0.5 * 2 ** (child.deaths - 1), LONGEST_BACKOFF_S)
            child.restart_at = now + backoff_s
            log.error(line("role-died", role=child.role, status=code, restart_in_s=backoff_s))
        elif now >= child.restart_at:
            fresh = self._start(child.role, child.gpu)
            child.process, child.restart_at = fresh.process, None
            child.started_at, child.heard_at = fresh.started_at, fresh.heard_at
            child.owes_reload = False  # it reads what stands there now
        return True

    def _drain(self) -> None:
        """Have every role finish what it has in hand, and end."""
        for child in self._children:
            if child.process.poll() is None:
                child.process.terminate()
        deadline = time.monotonic() + GRACE_S
        for child in self._children:
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning(line("role-killed", role=child.role))
                child.process.kill()
                child.process.wait()


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
    if not settings.ledger_url and not os.access(settings.data_dir, os.W_OK | os.X_OK):
        # SQLite does not say why it cannot open a file
        raise ConfigError(
            f"data_dir = {settings.data_dir}: user {os.geteuid()} may not write there; it belongs"
            f" to user {settings.data_dir.stat().st_uid}"
        )
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
