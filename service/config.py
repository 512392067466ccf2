"""The gate's settings: one TOML file plus the environment, read once, frozen, passed on.

Every setting can be given as an environment variable, `IQGATE_<SECTION>__<NAME>`; it wins over the
file. `conf/iqgate.toml` is the annotated sample.
"""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from service.errors import ConfigError
from service.faults import explain
from service.spool.address import check_address

VERSION = version("iqgate")

AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[\x20-\x5b\x5d-\x7e]+$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=0)]
Mode = Literal["shadow", "notify", "report"]
EngineName = Literal["onnxruntime", "openvino", "onnxruntime-cuda", "tensorrt"]
Precision = Literal["float32", "float16", "bfloat16"]
PRECISIONS: dict[EngineName, tuple[Precision, ...]] = {
    "onnxruntime": ("float32",),
    "openvino": ("float32", "bfloat16"),
    "onnxruntime-cuda": ("float32", "float16"),
    "tensorrt": ("float16", "float32"),
}
"""What each engine can compute in, its default first."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sender(_Section):
    """What is known of one calling AE title."""

    whole_series_on_one_association: bool = False
    """Its normal release of an association ends the series it carried after `settle_s`."""


class Receive(_Section):
    """The Storage SCP."""

    ae_title: AeTitle = "IQGATE"
    host: str = "127.0.0.1"
    port: Port = 11112
    processes: Count = 2
    """Receiving processes that `iqgate serve` starts on the port. The kernel deals connections out
    among them; the limits on associations below are each process's own."""
    calling_ae_titles: tuple[AeTitle, ...] = ()
    """Who may call; empty: anyone whose address is allowed."""
    addresses: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """Networks that may connect, in CIDR form."""
    require_called_ae_title: bool = True
    max_associations: Count = 64
    max_associations_per_address: Count = 16
    """More are rejected as a transient local limit; beyond four times as many they are cut off."""
    acse_timeout_s: Seconds = 10
    dimse_timeout_s: Seconds = 60
    network_timeout_s: Seconds = 60
    max_pdu_bytes: Annotated[int, Field(ge=4096, le=16 * 1024**2)] = 256 * 1024
    max_object_bytes: Bytes = 2 * 1024**3
    disk_reserve_bytes: Bytes = 2 * 1024**3
    """Free space below which objects are refused with 0xA700, before the disk is full."""
    other_objects: Literal["set-aside", "refuse"] = "set-aside"
    """Objects of storage classes that are never assessed."""
    announcements: bool = True
    """Whether performed procedure steps (MPPS) and instance availability notifications are taken;
    what they list closes series early."""
    rejection_notes: bool = True
    """Whether a rejection note keeps the images it names out of verdicts and reports."""
    senders: dict[str, Sender] = {}

    @field_validator("addresses")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network)
        return value


class Complete(_Section):
    """When a series is taken to be complete."""

    quiet_s: Seconds = 30
    settle_s: Seconds = 2
    reopened_quiet_max_s: Seconds = 600
    companion_wait_s: Seconds = 900
    """How long beyond its quiet period PET waits for its CT."""


class Score(_Section):
    """The worker."""

    bundles: Path | None = None
    """Folder of bundle folders; by default those the package ships."""
    serve: tuple[str, ...] = ()
    """Names of the bundles that score, one a modality; by default of each modality the first by
    name. Others are not loaded, and their modality is not assessed."""
    engine: EngineName = "onnxruntime"
    """What runs the networks. One that cannot run here, or does not reproduce a bundle's golden
    outputs, ends the start with the reason, unless `fallback` is named."""
    engines: dict[str, EngineName] = {}
    """Other engines for single bundles, by name."""
    fallback: EngineName | None = None
    """The engine that takes over a bundle, with a warning, where its own cannot be made ready."""
    precision: Precision | None = None
    """What `engine` computes in; by default the first of its PRECISIONS."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Pictures inferred side by side on the CPU, one thread each; 0: as many as there are cores."""
    gpus: tuple[str, ...] = ()
    """The GPUs that `iqgate serve` starts a worker for, each as CUDA_VISIBLE_DEVICES names it;
    none: one worker, which sees what the environment shows it."""
    cuda_graphs: bool = True
    """Whether TensorRT's batches are recorded and launched as CUDA graphs."""
    engine_cache: Path | None = None
    """Where built engines are kept; by default `engines` in the data directory."""
    niceness: Annotated[int, Field(ge=0, le=19)] = 5
    """How far scoring gives way to reception, as nice(1) counts; 0: not at all."""
    batch_size: Count = 16
    decode_threads: Count = 2
    lease_s: Seconds = 60
    max_attempts: Count = 3
    max_frame_pixels: Count = 64 * 1024**2
    """Pixels one frame may claim before its decoding is refused."""
    thumbnails: Count = 6
    excluded_name_patterns: tuple[str, ...] = (
        "*phantom*", "qa", "qa[ _-]*", "*[ _-]qa", "*[ _-]qa[ _-]*", "qc", "qc[ _-]*",
        "*[ _-]qc", "*[ _-]qc[ _-]*", "*catphan*", "acr[ _-]*", "*water*cal*",
        "*daily*check*", "*service*test*",
    )  # fmt: skip
    """Patterns (shell style, any case) on patient name, study and series description that mark
    phantoms; the header's own Quality Control attributes always count."""

    @model_validator(mode="after")
    def _computable(self) -> Score:
        known = PRECISIONS[self.engine]
        if self.precision not in (None, *known):
            raise ValueError(
                f"engine = {self.engine!r} computes in {' or '.join(known)}, "
                f"not in {self.precision}"
            )
        return self


class Report(_Section):
    """The Structured Report and the summary image."""

    scope: Literal["study", "series"] = "study"
    sop_class: Literal["comprehensive", "comprehensive-3d", "enhanced"] = "comprehensive"
    summary_image: Literal["not-met", "always", "never"] = "not-met"
    worst_slices: Annotated[int, Field(ge=1, le=20)] = 6
    institution_name: str = ""
    station_name: str = "IQGATE"


class Peer(_Section):
    """A DICOM peer reports go to, or that `iqgate echo` and `send` can name."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w.-]+$")]
    ae_title: AeTitle
    host: str
    port: Port
    calling_ae_title: AeTitle = "IQGATE"
    reports: bool = True
    """Whether reports are sent to it."""


class Deliver(_Section):
    """The outbox."""

    peers: tuple[Peer, ...] = ()
    folder: Path | None = None
    """Reports also go here as files; with no peer, to `reports` in the data directory."""
    backoff_s: tuple[Seconds, ...] = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
    """Waits between attempts; the last one repeats."""
    give_up_after_s: Seconds = 7 * 24 * 3600
    """Age at which a report that cannot be delivered becomes a dead letter."""
    max_refusals: Count = 5
    """Times a peer may refuse the object itself before it becomes a dead letter."""
    lease_s: Seconds = 120
    timeout_s: Seconds = 30

    @model_validator(mode="after")
    def _unique_names(self) -> Deliver:
        names = [peer.name for peer in self.peers]
        if len(set(names)) < len(names) or "folder" in names:
            raise ValueError("peer names must differ from each other and from 'folder'")
        return self


class Watch(_Section):
    """Metrics, health, status page, room pages."""

    host: str = "127.0.0.1"
    port: Port = 8642
    token: str = ""
    """Whoever gives it sees patient identity on the status page; empty: nobody does."""


class Every(_Section):
    """Seconds from one run of a job of the keep role to the next."""

    leases: Seconds = 60
    series: Seconds = 60
    statistics: Seconds = 900
    announcements: Seconds = 3600
    retention: Seconds = 3600
    sweep: Seconds = 24 * 3600


class Keep(_Section):
    """Housekeeping."""

    images_days: Annotated[float, Field(ge=0)] = 0
    """Images of studies quiet for longer are removed once they are reported; 0: never."""
    images_bytes: Bytes = 0
    """Beyond so many, images of the studies quiet for longest are; 0: never."""
    remove_held: bool = False
    """Whether images are, too, whose reports are held back (and are never sent later)."""
    longest_open_s: Seconds = 6 * 3600
    """A series that is never quiet is ended after this."""
    sweep_after_s: Seconds = 3600
    """Age of a file in the spool by which receivers are done with it."""
    announcements_days: Annotated[float, Field(gt=0)] = 7
    """Announcements (MPPS, instance availability) are removed at this age."""
    lease_s: Seconds = 60
    every_s: Every = Every()


class Settings(BaseSettings):
    """All settings. `mode` has no default: a configuration must name it."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="IQGATE_", env_nested_delimiter="__"
    )

    mode: Mode
    """`shadow`: database and pages only, reports are built and kept; `notify`: the room page
    alarms too; `report`: reports are sent. A policy rule may name a more careful one."""
    commissioning: Literal["required", "waived"] = "required"
    """`required`: a protocol stays in shadow until its limits are signed off on its scanner
    (`iqgate commission`); `waived`: for demonstrations and tests."""
    data_dir: Path
    policy: Path | None = None
    ledger_url: str = ""
    """SQLAlchemy URL; empty: SQLite in the data directory."""
    spool_folder: Path | None = None
    """Received objects lie here; by default in `spool` in the data directory."""
    spool_url: str = ""
    """Or in an object store: `s3://bucket/prefix`. Credentials come from the environment alone."""
    spool_endpoint: str = ""
    """URL of that store; empty: Amazon's own."""
    receive: Receive = Receive()
    complete: Complete = Complete()
    score: Score = Score()
    report: Report = Report()
    deliver: Deliver = Deliver()
    watch: Watch = Watch()
    keep: Keep = Keep()

    @model_validator(mode="after")
    def _one_spool(self) -> Settings:
        check_address(self.spool_url, self.spool_endpoint, self.spool_folder)
        return self

    @property
    def spool(self) -> Path:
        """The spool's folder, where there is no `spool_url`."""
        return self.spool_folder or self.data_dir / "spool"

    @property
    def reports_folder(self) -> Path | None:
        """Where reports are written as files; None when only peers receive them."""
        if self.deliver.folder is not None:
            return self.deliver.folder
        return None if self.report_peers else self.data_dir / "reports"

    @property
    def report_peers(self) -> tuple[Peer, ...]:
        return tuple(peer for peer in self.deliver.peers if peer.reports)

    @property
    def destinations(self) -> tuple[str, ...]:
        """Names the outbox addresses reports to."""
        names = tuple(peer.name for peer in self.report_peers)
        return names + (("folder",) if self.reports_folder is not None else ())

    @property
    def database_url(self) -> str:
        return self.ledger_url or f"sqlite:///{self.data_dir / 'iqgate.db'}"

    @property
    def bundles(self) -> Path:
        return self.score.bundles or Path(__file__).parents[1] / "models" / "bundles"

    @property
    def engine_cache(self) -> Path:
        return self.score.engine_cache or self.data_dir / "engines"

    @property
    def policy_path(self) -> Path:
        return self.policy or packaged("policy.toml")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings


def packaged(name: str) -> Path:
    """A file of `conf/`: inside the package when installed, beside it in a checkout."""
    here = Path(__file__).parent
    installed = here / "conf" / name
    return installed if installed.exists() else here.parent / "conf" / name


def load_settings(path: Path | None) -> Settings:
    """Read the configuration file, or the environment alone. Relative paths in the file are
    relative to it.

    Raises ConfigError naming the file and every wrong setting.
    """
    if path is None:
        return _settings("environment", {}, Path.cwd())
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    return _settings(str(path), table, path.absolute().parent)


def score_settings(score: Score, given: Mapping[str, str]) -> Score:
    """The settings of the worker with some given on the command line instead; an engine given so
    runs every bundle, and nothing stands in for it. Raises ConfigError."""
    alone: dict[str, Any] = (
        {"engines": {}, "precision": None, "fallback": None} if "engine" in given else {}
    )
    try:
        return Score(**{**score.model_dump(), **alone, **given})
    except ValidationError as error:
        raise ConfigError(explain("command line", error)) from error


def _settings(source: str, table: dict[str, Any], base: Path) -> Settings:
    try:
        return _anchored(Settings(**table), base)
    except ValidationError as error:
        raise ConfigError(explain(source, error)) from error


def _anchored(settings: Settings, base: Path) -> Settings:
    """Settings with their relative paths made absolute against the file's folder."""

    def anchor(path: Path | None) -> Path | None:
        return None if path is None else base / path

    def anchored(section: _Section, *names: str) -> _Section:
        return section.model_copy(update={name: anchor(getattr(section, name)) for name in names})

    return settings.model_copy(
        update={
            "data_dir": base / settings.data_dir,
            "policy": anchor(settings.policy),
            "spool_folder": anchor(settings.spool_folder),
            "score": anchored(settings.score, "bundles", "engine_cache"),
            "deliver": anchored(settings.deliver, "folder"),
        }
    )
