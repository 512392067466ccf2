"""docs/conformance.md says what the SCP does: its tables against the code, the rest against one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydicom.uid import (
    UID,
    CTImageStorage,
    KeyObjectSelectionDocumentStorage,
)
from pynetdicom import AE, build_context, build_role
from pynetdicom.sop_class import (
    ModalityPerformedProcedureStep,
    ModalityPerformedProcedureStepNotification,
    ModalityPerformedProcedureStepRetrieve,
    ModalityWorklistInformationFind,
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from service.receive import announcements, rejection, scp
from service.sop_classes import ASSESSABLE, TRANSFER_SYNTAXES

STATEMENT = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text("utf-8")


def table(heading):
    """The rows of the first table below a heading, each a list of cells."""
    _, _, below = STATEMENT.partition(f"{heading}\n")
    assert below, f"docs/conformance.md has no heading {heading!r}"
    lines = below[below.index("\n|") + 1 :].split("\n\n")[0].splitlines()
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_classes_that_are_assessed():
    rows = [(UID(row[1]), row[2]) for row in table("#### Images that are assessed")]
    assert rows == list(ASSESSABLE.items())
    assert all(row[0] == UID(row[1]).name for row in table("#### Images that are assessed"))


def test_transfer_syntaxes_in_order_of_preference():
    assert [UID(row[1]) for row in table("#### Transfer syntaxes of storage")] == list(
        TRANSFER_SYNTAXES
    )


@pytest.mark.parametrize(
    ("heading", "module"),
    [
        ("#### Statuses of C-STORE", scp),
        ("#### Statuses of N-CREATE and N-SET", announcements),
    ],
)
def test_statuses(heading, module):
    stated = {int(row[0].removeprefix("0x"), 16) for row in table(heading)}
    sent = {
        value
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, int) and name not in ("MAX_FRAMES", "NOT_UPDATABLE")
    }
    assert stated == sent


def test_titles_that_reject():
    assert {row[0]: row[1] for row in table("#### Rejection notes")} == rejection.TITLES


def test_contexts_that_are_refused_and_that_are_taken(make_scp):
    private = UID("1.2.840.113619.4.30")
    taken = [
        Verification, CTImageStorage, KeyObjectSelectionDocumentStorage, private,
        ModalityPerformedProcedureStep,
    ]  # fmt: skip
    refused = [
        StorageCommitmentPushModel, ModalityWorklistInformationFind,
        StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelMove,
        ModalityPerformedProcedureStepRetrieve, ModalityPerformedProcedureStepNotification,
    ]  # fmt: skip
    unknown_syntax = build_context(CTImageStorage, "1.2.840.10008.1.2.4.102")
    one = make_scp()
    association = AE("X").associate(
        "127.0.0.1",
        one.port,
        [*map(build_context, [*taken, *refused]), unknown_syntax],
        ae_title="IQGATE",
        ext_neg=[build_role(CTImageStorage, scu_role=True, scp_role=False)],
    )
    assert {cx.abstract_syntax for cx in association.accepted_contexts} == {*taken}
    assert [str(cx.transfer_syntax[0]) for cx in association.accepted_contexts][-1].endswith("102")
    assert {(cx.abstract_syntax, cx.result) for cx in association.rejected_contexts} == {
        (uid, 0x03) for uid in refused
    }
    acceptor = association.acceptor
    assert acceptor.maximum_length == 256 * 1024
    assert acceptor.implementation_class_uid.startswith("1.2.826.0.1.3680043.9.3811.")
    assert acceptor.asynchronous_operations == (1, 1)
    association.release()


@pytest.mark.parametrize(
    ("receive", "called", "answer"),
    [
        ({}, "OTHER", (1, 1, 7)),
        ({"calling_ae_titles": ("CT9",)}, "IQGATE", (1, 1, 3)),
    ],
)
def test_how_associations_are_rejected(make_scp, receive, called, answer):
    one = make_scp(**receive)
    association = AE("CT1").associate(
        "127.0.0.1", one.port, [build_context(CTImageStorage)], ae_title=called
    )
    primitive = association.acceptor.primitive
    assert association.is_rejected
    assert (primitive.result, primitive.result_source, primitive.diagnostic) == answer


def test_every_setting_it_names_exists():
    from service.config import Complete, Deliver, Peer, Receive, Report, Settings

    sections = {"receive": Receive, "complete": Complete, "deliver": Deliver, "report": Report}
    named = re.findall(r"`(receive|complete|deliver|report)\.(\w+)", STATEMENT)
    assert named
    for section, name in named:
        assert name in sections[section].model_fields, f"{section}.{name}"
    assert "data_dir" in Settings.model_fields
    assert {"ae_title", "host", "port", "calling_ae_title"} <= set(Peer.model_fields)
