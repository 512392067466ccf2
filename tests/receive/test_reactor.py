"""What is read and written by hand is what pynetdicom would have read and written."""

import pytest
from pydicom.uid import CTImageStorage
from pynetdicom.dimse_messages import C_STORE_RSP
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.pdu_items import PresentationDataValueItem

from service.receive.reactor import _p_data, store_answer


@pytest.mark.parametrize("uid", ["1.2.3", "1.2.34"])
def test_an_answer_is_what_pynetdicom_would_write(uid):
    answer = C_STORE()
    answer.MessageID = answer.MessageIDBeingRespondedTo = 7
    answer.AffectedSOPClassUID, answer.AffectedSOPInstanceUID = CTImageStorage, uid
    answer.Status = 0x0000
    theirs = C_STORE_RSP()
    theirs.primitive_to_message(answer)
    assert store_answer(answer) == encode(theirs.command_set, True, True)


def pdu(*values):
    made = P_DATA_TF()
    for value in values:
        item = PresentationDataValueItem()
        item.presentation_context_id, item.presentation_data_value = 3, value
        made.presentation_data_value_items.append(item)
    return made.encode()


def test_values_are_read_as_sent():
    read = _p_data(memoryview(pdu(b"\x03command", b"\x00data")))
    assert [(item.context_id, bytes(item.data)) for item in read.presentation_data_value_items] == [
        (3, b"\x03command"),
        (3, b"\x00data"),
    ]


@pytest.mark.parametrize(
    "broken",
    [
        pdu(b"\x03command")[:-1],
        pdu(b"\x03command") + b"\x00\x00",
        pdu(b""),
        bytes(6) + b"\xff\xff\xff\xff\x01\x03",
    ],
)
def test_a_malformed_pdu_is_none(broken):
    assert _p_data(memoryview(broken)) is None
