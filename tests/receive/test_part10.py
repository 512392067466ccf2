"""The head of a file, written by hand."""

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom.dsutils import create_file_meta, encode_file_meta

from service.receive.part10 import file_head


@pytest.mark.parametrize("uid", ["1.2.3", "1.2.34"])
def test_the_head_is_what_pydicom_would_write(tmp_path, uid):
    theirs = create_file_meta(
        sop_class_uid=CTImageStorage, sop_instance_uid=uid, transfer_syntax=ExplicitVRLittleEndian
    )
    head = file_head(CTImageStorage, uid, ExplicitVRLittleEndian)
    assert head == bytes(128) + b"DICM" + encode_file_meta(theirs)
    path = tmp_path / "x.dcm"
    path.write_bytes(head)
    assert dcmread(path).file_meta.MediaStorageSOPInstanceUID == uid
