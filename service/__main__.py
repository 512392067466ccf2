"""The `iqgate` command: wiring only."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from dotenv import load_dotenv

from models.proposal import Budget
from service import log
from service.arguments import positive, share
from service.config import PRECISIONS, VERSION, Peer, Settings, load_settings, score_settings
from service.errors import ConfigError, IqgateError
from service.ledger.database import Database, shown, upgrade
from service.ledger.postgresql import PROMPT
from service.role import at_start, end_with_supervisor

EXIT_OK, EXIT_NOT_ALL, EXIT_USAGE = 0, 1, 2
DEFAULT_CONFIGS = (Path("iqgate.toml"), Path("/etc/iqgate/iqgate.toml"))
NO_FOLDER = Path(tempfile.gettempdir())
"""The data directory of commands that run without a configuration and keep nothing."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; its exit status."""
    arguments = _parser().parse_args(argv)
    log.configure(logging.INFO if arguments.logs else logging.WARNING)
    try:
        status: int = arguments.run(arguments)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    except IqgateError as error:
        print(error, file=sys.stderr)
        return EXIT_NOT_ALL
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has enough
        return EXIT_NOT_ALL
    except OSError as error:
        print(f"{error.filename or 'system'}: {error.strerror}", file=sys.stderr)
        return EXIT_NOT_ALL
    return status


def _settings(arguments: argparse.Namespace) -> tuple[Settings, Path | None]:
    """The settings and the file they come from; the environment alone where there is none."""
    config = _config(arguments)
    return load_settings(config), config


def _config(arguments: argparse.Namespace) -> Path | None:
    named = os.environ.get("IQGATE_CONFIG")
    config: Path | None = arguments.config or (Path(named) if named else None)
    config = config or next((path for path in DEFAULT_CONFIGS if _is_there(path)), None)
    if config is not None:
        # what the units are given as EnvironmentFile, so that commands find the same ledger
        load_dotenv(config.parent / "environment", override=False, interpolate=False)
    return config


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:  # what a service's user may not enter: a current folder holds nothing
        return path.is_absolute()  # for it, while /etc/iqgate is named in the error that follows


def _serve(arguments: argparse.Namespace) -> int:
    from service.serve import serve

    settings, config = _settings(arguments)
    return serve(settings, config)


def _role(name: str) -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> int:
        settings, config = _settings(arguments)
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        if arguments.supervised:
            end_with_supervisor()
        else:
            at_start(lambda: upgrade(settings.database_url))
        room = import_module(f"service.{name}.role")  # no role loads another's libraries
        try:
            room.run(settings, lambda: load_settings(config))
        except OSError as error:
            raise ConfigError(f"{name} cannot start: {error}") from error
        return EXIT_OK

    return run


def _assess(arguments: argparse.Namespace) -> int:
    from service import assess, commission
    from service.fusion import Fusion
    from service.score.conclude import gate_identity
    from service.score.pair import fusing_of
    from service.score.role import load_policy
    from service.score.scorer import Scorer

    if arguments.config is not None:
        settings, _ = _settings(arguments)
    else:
        settings = Settings(mode="report", data_dir=NO_FOLDER)
    missing = [path for path in arguments.paths if not path.exists()]
    if missing:
        raise ConfigError(f"{missing[0]}: no such file or folder")
    policy = load_policy(settings)
    scorer = Scorer(settings.bundles, settings.score, _engine_cache(settings))
    found, unreadable = assess.gather(arguments.paths, settings.score.max_frame_pixels)
    assessed = []
    fusion = Fusion(fusing_of(scorer.bundles, settings.complete))
    for series in sorted(found, key=lambda one: one.facts.modality == "PT"):
        one = assess.assess(series, scorer, policy, settings, fusion)
        fusion.keep(one.facts, one.slices, one.files)
        assessed.append(one)
        if arguments.sr is not None:
            now = datetime.now(UTC).astimezone()
            assess.write_report(one, arguments.sr, gate_identity(settings), now)
        if not arguments.json:
            print(assess.as_text(one))
    if arguments.json:
        entries = [assess.as_json(one) for one in assessed]
        if arguments.commissioning:
            for one, entry in zip(assessed, entries, strict=True):
                values = commission.judged(one.facts, one.assessment)
                entry["commissioning"] = [value.as_table() for value in values]
        entries += [assess.unreadable_as_json(one) for one in unreadable]
        json.dump(entries, sys.stdout, indent=2, ensure_ascii=False)
        print()
    else:
        for bad in unreadable:
            print(f"{bad.path}: not assessed: {bad.reason}")
        if not found and not unreadable:
            print("no files found")
    complete = bool(found) and not unreadable
    return EXIT_OK if complete and all(map(assess.was_assessed, assessed)) else EXIT_NOT_ALL


def _peer(settings: Settings, name: str | None) -> Peer:
    """A configured peer by name; the only one, or this gate itself, where none is named."""
    if name == "self" or (name is None and not settings.deliver.peers):
        receive = settings.receive
        return Peer(name="self", ae_title=receive.ae_title, host=receive.host, port=receive.port)
    for peer in settings.deliver.peers:
        if name in (None, peer.name):
            return peer
    known = ", ".join(["self", *(peer.name for peer in settings.deliver.peers)])
    raise ConfigError(f"{name}: no such peer in [[deliver.peers]]; configured: {known}")


def _echo(arguments: argparse.Namespace) -> int:
    from service.deliver import store_scu

    settings, _ = _settings(arguments)
    peer = _peer(settings, arguments.peer)
    store_scu.echo(peer, settings.deliver.timeout_s)
    print(f"{peer.ae_title} at {peer.host}:{peer.port} answers")
    return EXIT_OK


def _send(arguments: argparse.Namespace) -> int:
    from service import assess
    from service.deliver import store_scu

    settings, _ = _settings(arguments)
    peer = _peer(settings, arguments.peer)
    found, unreadable = assess.gather(arguments.paths, settings.score.max_frame_pixels)
    paths = [path for series in found for path, *_ in series.files]
    refused = 0
    if paths:
        for path, error in store_scu.send_files(peer, paths, settings.deliver.timeout_s):
            if error:
                refused += 1
                print(f"{path}: {error}", file=sys.stderr)
    for bad in unreadable:
        print(f"{bad.path}: not sent: {bad.reason}", file=sys.stderr)
    print(f"sent {len(paths) - refused} of {len(paths) + len(unreadable)} to {peer.ae_title}")
    return EXIT_OK if paths and not refused and not unreadable else EXIT_NOT_ALL


def _status(arguments: argparse.Namespace) -> int:
    from service.ledger import jobs, reading

    settings, _ = _settings(arguments)
    database, now = _existing_database(settings), datetime.now(UTC).timestamp()
    print("\n".join(reading.status_lines(database, now) + jobs.status_lines(database, now)))
    return EXIT_OK


def _letters(arguments: argparse.Namespace) -> int:
    from service.ledger import letters

    settings, _ = _settings(arguments)
    database = _existing_database(settings)
    if arguments.action == "list":
        dead = letters.dead(database)
        for one in dead:
            print(f"{one.name}  {one.what}  {one.error}")
        print(f"{len(dead)} dead letters")
        return EXIT_OK
    now = datetime.now(UTC).timestamp()
    if arguments.action == "retry":
        failed = [one for one in arguments.names if not letters.retry(database, one, now)]
    else:
        failed = [one for one in arguments.names if not letters.drop(database, one)]
    for name in failed:
        print(f"{name}: no such dead letter; `iqgate letters list` names them", file=sys.stderr)
    return EXIT_NOT_ALL if failed else EXIT_OK


def _existing_database(settings: Settings) -> Database:
    if not settings.ledger_url and not (settings.data_dir / "iqgate.db").exists():
        raise ConfigError(f"{settings.data_dir}: no ledger there yet; start `iqgate serve` first")
    return Database(settings.database_url, PROMPT)


def _bundle(arguments: argparse.Namespace) -> int:
    from service import bundle

    if _config(arguments) is not None:
        settings, _ = _settings(arguments)
    else:
        settings = Settings(mode="shadow", data_dir=NO_FOLDER)
    given = {"engine": arguments.engine, "precision": arguments.precision}
    score = score_settings(settings.score, {name: one for name, one in given.items() if one})
    # in a folder named on the command line the configuration's names may not be there
    served = () if arguments.bundles else settings.score.serve
    folder = arguments.bundles or settings.bundles
    built = _engine_cache(settings)
    good = bundle.run(arguments.action, folder, served, arguments.name, score, built, print)
    return EXIT_OK if good else EXIT_NOT_ALL


def _engine_cache(settings: Settings) -> Path | None:
    """Where built engines are kept; None where no folder of the gate's own is configured."""
    own = settings.data_dir != NO_FOLDER
    return settings.engine_cache if own else settings.score.engine_cache


def _commission(arguments: argparse.Namespace) -> int:
    from service import commission
    from service.score.role import load_policy

    settings, _ = _settings(arguments)
    database = _existing_database(settings)
    policy = load_policy(settings)
    served = commission.served(settings)
    if arguments.action == "show":
        budget = commission.DEFAULT_BUDGET
        if arguments.alarms_per_day is not None or arguments.share is not None:
            budget = Budget(share=arguments.share, per_day=arguments.alarms_per_day)
        found = commission.gather(database, policy, served)
        print(commission.page(found, budget, settings.policy_path, arguments.without))
        return EXIT_OK
    if arguments.action == "list":
        print("\n".join(commission.listing(database, policy, served)))
        return EXIT_OK
    missing = [one for one in ("rule", "scanner", "by") if not getattr(arguments, one)]
    if missing:
        raise ConfigError(f"iqgate commission sign needs --{' and --'.join(missing)}")
    record = commission.sign(
        database,
        policy,
        served,
        rule_name=arguments.rule,
        scanner=arguments.scanner,
        by=arguments.by,
        now=datetime.now(UTC).timestamp(),
    )
    print("\n".join(commission.record_lines(record, commission.standing(record, policy, served))))
    print("Series that end from now on are reported in the mode that is configured.")
    return EXIT_OK


def _db(arguments: argparse.Namespace) -> int:
    settings, _ = _settings(arguments)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    upgrade(settings.database_url)
    print(f"{shown(settings.database_url)}: the schema is up to date")
    return EXIT_OK


def _kept(name: str) -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> int:
        from service.keep.commands import COMMANDS

        settings, _ = _settings(arguments)
        COMMANDS[name](settings, lambda: _existing_database(settings), arguments, print)
        return EXIT_OK

    return run


def _demo(arguments: argparse.Namespace) -> int:
    from service.demo import demo

    return demo(arguments.sample, arguments.data_dir)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iqgate",
        description="A DICOM node that scores the image quality of series as they arrive.",
        epilog="The configuration is --config FILE, else $IQGATE_CONFIG, else ./iqgate.toml, else "
        "/etc/iqgate/iqgate.toml, else the environment alone (IQGATE_MODE, IQGATE_DATA_DIR, …). "
        "A file named `environment` beside it adds variables that are not set.",
    )
    parser.add_argument("--version", action="version", version=f"iqgate {VERSION}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(
        name: str, run: Callable[[argparse.Namespace], int], text: str, *, logs: bool = False
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--config", type=Path, metavar="FILE", help="configuration (TOML)")
        command.set_defaults(run=run, logs=logs)
        return command

    add("serve", _serve, "run all roles on this host", logs=True)
    for name, text in (
        ("receive", "run the receive role: the Storage SCP"),
        ("score", "run the score role: slices to scores, series to verdicts"),
        ("deliver", "run the deliver role: reports to PACS"),
        ("watch", "run the watch role: metrics, health, pages"),
        ("keep", "run the keep role: retention, sweeps, statistics"),
    ):
        role = add(name, _role(name), text, logs=True)
        role.add_argument("--supervised", action="store_true", help=argparse.SUPPRESS)
    command = add("assess", _assess, "score files or folders: no network, no database")
    command.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    command.add_argument("--json", action="store_true", help="print one JSON array")
    command.add_argument(
        "--commissioning",
        action="store_true",
        help="with --json: each series' values by rule, for `python -m trainer commission`",
    )
    command.add_argument("--sr", type=Path, metavar="DIR", help="write Structured Reports here")
    command = add("echo", _echo, "C-ECHO a configured peer")
    command.add_argument("peer", nargs="?", help="its name, or 'self' for this gate's own SCP")
    command = add("send", _send, "C-STORE files to a configured peer")
    command.add_argument("--peer", help="its name, or 'self' for this gate's own SCP")
    command.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    add("status", _status, "what waits, what runs, what died")
    command = add("letters", _letters, "dead letters: list, retry or drop them")
    command.add_argument("action", choices=("list", "retry", "drop"))
    command.add_argument("names", nargs="*", metavar="LETTER")
    command = add("bundle", _bundle, "bundles: list, show or verify them, build their engines")
    command.add_argument("action", choices=("list", "show", "verify", "build"))
    command.add_argument("name", nargs="?", help="one bundle; default: all")
    command.add_argument("--bundles", type=Path, metavar="DIR", help="folder of bundle folders")
    command.add_argument("--engine", choices=tuple(PRECISIONS), help="instead of score.engine")
    command.add_argument("--precision", choices=sorted({*sum(PRECISIONS.values(), ())}))
    command = add(
        "commission", _commission, "limits: show what shadow mode gathered, list or sign records"
    )
    command.add_argument("action", nargs="?", choices=("show", "list", "sign"), default="show")
    budget = command.add_mutually_exclusive_group()
    budget.add_argument("--share", type=share, help="of acquisitions that may alarm (0.02)")
    budget.add_argument("--alarms-per-day", type=positive, metavar="N", help="per scanner")
    command.add_argument("--without", nargs="+", default=[], metavar="UID", help="bad series")
    command.add_argument("--rule", help="sign: its name in the policy")
    command.add_argument("--scanner", help="sign: as `iqgate commission` names it")
    command.add_argument("--by", metavar="NAME, ROLE", help="sign: who answers for it")
    command = add("db", _db, "the database: bring its schema up to date")
    command.add_argument("action", choices=("upgrade",))
    command = add("backup", _kept("backup"), "copy ledger and images while the gate runs")
    command.add_argument("folder", type=Path, metavar="DIR", help="an empty folder, or a new one")
    command.add_argument("--ledger-only", action="store_true", help="leave the images out")
    command = add("restore", _kept("restore"), "an empty data directory gets what a backup holds")
    command.add_argument("folder", type=Path, metavar="DIR", help="of `iqgate backup`")
    command = add("scanners", _kept("scanners"), "each scanner's verdicts by day")
    command.add_argument("--days", type=int, default=7, metavar="N", help="the last N (7)")
    command = add("demo", _demo, "run a gate of its own on sample series, and stay up")
    command.add_argument("sample", type=Path, metavar="DIR", help="a folder of DICOM series")
    command.add_argument("--data-dir", type=Path, default=Path("iqgate-data"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
