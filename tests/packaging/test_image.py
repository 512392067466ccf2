"""The Dockerfile, held to its promises: pinned, non-root, read-only, small, with a health check.

What it says is read here; `test_container.py` builds and runs it where there is a container engine,
and `test_install.py` runs its install stages without one.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import sys
import threading

import pytest

from service.config import Receive, Settings, Watch
from tests.packaging.image import ROOT, copied, read_dockerfile
from tests.peers import free_port

ARGUMENTS, STAGES = read_dockerfile()
BY_NAME = {stage.name: stage for stage in STAGES}


def lineage(name: str) -> list[tuple[str, str]]:
    """All instructions that shape a stage's image, its bases' first."""
    stage = BY_NAME.get(name)
    return [] if stage is None else [*lineage(stage.base), *stage.steps]


def test_the_base_is_pinned_and_every_stage_stands_on_it():
    name, _, tag = ARGUMENTS["BASE"].partition(":")
    assert name == "python"
    assert re.fullmatch(r"3\.\d+\.\d+-slim-\w+", tag)
    for number, stage in enumerate(STAGES):
        assert stage.base == "${BASE}" or stage.base in {one.name for one in STAGES[:number]}


def test_two_images_from_one_install_script():
    for name in ("cpu", "gpu"):
        stage = BY_NAME[name]
        assert stage.base == "runtime"
        assert stage.values("COPY") == [
            f"--from=slim-{name} /opt/iqgate /opt/iqgate",
            f"--from=install-{name} /gate/opt/iqgate /opt/iqgate",
        ]
        (command,) = BY_NAME[f"libraries-{name}"].values("RUN")
        assert command.startswith("conf/install/install.sh --only-libraries ")
        assert command.endswith(" /opt/iqgate")
        assert ("tensorrt" in command) == (name == "gpu")
        install = BY_NAME[f"install-{name}"]
        assert install.base == BY_NAME[f"slim-{name}"].base == f"libraries-{name}"
        assert install.values("RUN") == [
            "DESTDIR=/gate conf/install/install.sh --no-libraries /opt/iqgate"
        ]
    assert STAGES[-1].name == "cpu", "the last stage is the default"


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_a_change_of_the_source_leaves_the_libraries_where_they_are(name):
    taken = copied(BY_NAME[f"libraries-{name}"])
    assert taken == ["pyproject.toml", "conf/install"]
    assert "${EXTRAS}" in BY_NAME[f"libraries-{name}"].values("RUN")[0]
    assert ARGUMENTS["EXTRAS"] == '"--extra postgresql"'
    assert BY_NAME[f"libraries-{name}"].base == "${BASE}"


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_nobody_is_root_and_only_the_state_is_written(name):
    steps = lineage(name)
    users = [value for step, value in steps if step == "USER"]
    assert users == ["10001:10001"]
    after = steps[[step for step, _ in steps].index("USER") :]
    assert not [value for step, value in after if step == "RUN"], "nothing is built into it later"
    assert [value for step, value in steps if step == "VOLUME"] == ['["/var/lib/iqgate"]']
    assert [value for step, value in steps if step == "STOPSIGNAL"] == ["SIGTERM"]
    for step, value in steps:
        assert step != "ADD"
        assert not re.search(r"sudo|chmod 777|curl|wget|:latest", value)


def test_what_it_listens_on_is_what_it_exposes(monkeypatch):
    (exposed,) = BY_NAME["runtime"].values("EXPOSE")
    assert exposed.split() == [str(Receive().port), str(Watch().port)]
    for variable in BY_NAME["gpu"].values("ENV") + BY_NAME["runtime"].values("ENV"):
        for key, value in re.findall(r"(IQGATE_\w+)=(\S+)", variable):
            monkeypatch.setenv(key, value)
    settings = Settings(mode="shadow")  # type: ignore[call-arg]
    assert settings.receive.host == settings.watch.host == "0.0.0.0"
    assert str(settings.data_dir) == "/var/lib/iqgate"
    assert (settings.score.engine, settings.score.batch_size) == ("tensorrt", 64)


def test_the_health_check_tells_ready_from_not():
    (check,) = BY_NAME["runtime"].values("HEALTHCHECK")
    command = BY_NAME["runtime"].values("HEALTHCHECK")[0].partition("CMD ")[2]
    _, option, code = json.loads(command)
    assert option == "-c"
    assert "--start-period=600s" in check

    class Handler(http.server.BaseHTTPRequestHandler):
        status = 200

        def do_GET(self):
            assert self.path == "/readyz"
            self.send_response(self.status)
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    def healthy(port):
        environment = {**os.environ, "IQGATE_WATCH__PORT": str(port)}
        done = subprocess.run(
            [sys.executable, option, code], env=environment, capture_output=True, timeout=60
        )
        return done.returncode == 0

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        port = server.server_address[1]
        assert healthy(port)
        Handler.status = 503
        assert not healthy(port)
        server.shutdown()
    assert not healthy(free_port())


def test_the_build_context_holds_what_is_copied_and_no_more():
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    let_through = {row[1:] for row in ignored if row.startswith("!")}
    assert "*" in ignored
    assert set(copied(BY_NAME["source"])) == let_through
    for name in let_through:
        assert (ROOT / name).exists()
