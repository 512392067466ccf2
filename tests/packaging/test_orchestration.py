"""compose.yaml and the Kubernetes manifests: their schemas, and what they promise of the gate."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.config import Receive, Watch, load_settings
from service.ledger import postgresql
from service.serve import ROLES
from tests.packaging.image import ROOT, read_dockerfile

COMPOSE = ROOT / "conf" / "compose"
KUBERNETES = ROOT / "conf" / "kubernetes"
GRAFANA = ROOT / "conf" / "grafana" / "provisioning"
NOT_OBJECTS = {"kustomization.yaml", "adapter-rules.yaml"}
MANIFESTS = [
    (path.name, document)
    for path in sorted(KUBERNETES.glob("*.yaml"))
    if path.name not in NOT_OBJECTS
    for document in yaml.safe_load_all(path.read_text("utf-8"))
]


def of_kind(kind: str) -> dict[str, Any]:
    return {one["metadata"]["name"]: one for _, one in MANIFESTS if one["kind"] == kind}


def containers() -> dict[str, Any]:
    """Each role's container."""
    found = {}
    for deployment in of_kind("Deployment").values():
        (one,) = deployment["spec"]["template"]["spec"]["containers"]
        found[one["name"]] = one
    return found


def test_compose_is_as_its_specification_says():
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec",
         str(COMPOSE / "compose.yaml")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_compose_pins_its_images_and_mounts_what_is_there():
    compose = yaml.safe_load((COMPOSE / "compose.yaml").read_text("utf-8"))
    assert set(compose["services"]) == {"gate", "postgresql", "orthanc", "prometheus"}
    stages = {stage.name for stage in read_dockerfile()[1]}
    for name, service in compose["services"].items():
        if name == "gate":
            assert service["build"]["target"] in stages
            assert service["read_only"]
            assert service["cap_drop"] == ["ALL"]
        else:
            assert re.search(r":v?\d+\.\d+", service["image"]), name
        assert service["security_opt"] == ["no-new-privileges:true"]
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (COMPOSE / source).is_file(), volume
            else:
                assert source in compose["volumes"]
        assert not any("password" in str(value).lower() and "${" not in str(value)
                       for value in service.get("environment", {}).values())  # fmt: skip


def test_composes_gate_is_configured(monkeypatch):
    monkeypatch.setenv("IQGATE_DATA_DIR", "/var/lib/iqgate")
    settings = load_settings(COMPOSE / "iqgate.toml")
    assert settings.mode == "shadow"
    (peer,) = settings.deliver.peers
    assert (peer.host, peer.port, peer.ae_title) == ("orthanc", 4242, "ORTHANC")
    compose = yaml.safe_load((COMPOSE / "compose.yaml").read_text("utf-8"))
    url = compose["services"]["gate"]["environment"]["IQGATE_LEDGER_URL"]
    parsed, _ = postgresql.parse(re.sub(r"\$\{.*?\}", "secret", url))
    assert (parsed.username, parsed.host, parsed.database) == ("iqgate", "postgresql", "iqgate")
    own = yaml.safe_load((COMPOSE / "prometheus.yml").read_text("utf-8"))
    bare = yaml.safe_load((ROOT / "conf/prometheus/prometheus.yml").read_text("utf-8"))
    bare["scrape_configs"][0]["static_configs"] = [{"targets": [f"gate:{Watch().port}"]}]
    assert own == bare


@pytest.mark.parametrize(
    ("name", "manifest"), MANIFESTS, ids=[f"{n}:{one['kind']}" for n, one in MANIFESTS]
)
def test_a_manifest_is_as_kubernetes_says(name, manifest):
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    assert manifest["kind"] == "Namespace" or manifest["metadata"]["namespace"] == "iqgate", name


def test_every_role_has_a_deployment_held_to_the_restricted_standard():
    assert set(containers()) == set(ROLES)
    for name, one in containers().items():
        assert one["args"] == [name]
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    for deployment in of_kind("Deployment").values():
        pod = deployment["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod["automountServiceAccountToken"]
        assert deployment["spec"]["selector"]["matchLabels"].items() <= (
            deployment["spec"]["template"]["metadata"]["labels"].items()
        )


def test_receivers_stand_behind_a_tcp_service():
    service = of_kind("Service")["iqgate-dicom"]["spec"]
    (port,) = service["ports"]
    assert (port["protocol"], port["targetPort"]) == ("TCP", "dicom")
    assert containers()["receive"]["ports"] == [{"name": "dicom", "containerPort": Receive().port}]
    labels = of_kind("Deployment")["iqgate-receive"]["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()


def test_workers_have_a_gpu_and_scale_by_the_age_of_the_queue():
    assert containers()["score"]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "replicas" not in of_kind("Deployment")["iqgate-score"]["spec"]
    scaler = of_kind("HorizontalPodAutoscaler")["iqgate-score"]["spec"]
    assert scaler["scaleTargetRef"]["name"] == "iqgate-score"
    (metric,) = scaler["metrics"]
    asked = metric["external"]["metric"]
    assert asked["selector"]["matchLabels"] == {"queue": "frames"}
    rules = yaml.safe_load((KUBERNETES / "adapter-rules.yaml").read_text("utf-8"))
    (rule,) = rules["rules"]["external"]
    assert rule["name"]["as"] == asked["name"]
    assert asked["name"] in (ROOT / "conf/prometheus/alerts.yml").read_text("utf-8")


def test_the_configuration_in_kubernetes_is_one(tmp_path, monkeypatch):
    monkeypatch.setenv("IQGATE_DATA_DIR", "/var/lib/iqgate")
    text = of_kind("ConfigMap")["iqgate"]["data"]["iqgate.toml"]
    path = tmp_path / "iqgate.toml"
    path.write_text(text)
    assert load_settings(path).mode == tomllib.loads(text)["mode"] == "shadow"


def test_the_kustomization_names_every_manifest():
    listed = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text("utf-8"))["resources"]
    assert set(listed) == {name for name, _ in MANIFESTS}


def test_grafana_is_provisioned():
    (source,) = yaml.safe_load((GRAFANA / "datasources/iqgate.yml").read_text("utf-8"))[
        "datasources"
    ]
    assert source["type"] == "prometheus"
    (provider,) = yaml.safe_load((GRAFANA / "dashboards/iqgate.yml").read_text("utf-8"))[
        "providers"
    ]
    assert provider["type"] == "file"
