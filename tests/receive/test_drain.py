"""A receiver that ends, and one whose allow-lists change, while associations are open."""

from __future__ import annotations

import threading

from pydicom.uid import CTImageStorage
from pynetdicom import build_context

from service.receive import scp
from tests.factories import ct_slice
from tests.receive.test_scp import associated
from tests.waiting import wait_for


def test_who_may_send_changes_while_an_association_is_open(make_scp):
    one = make_scp()
    contexts = [build_context(CTImageStorage)]
    with associated(one.port, *contexts) as before:
        receive = one.settings.receive
        allowed = receive.model_copy(update={"calling_ae_titles": ("CT9",)})
        settings = one.settings.model_copy(update={"receive": allowed})
        scp.admit(one.server, one.reception, settings)
        with associated(one.port, *contexts) as stranger:
            assert stranger.is_rejected
        with associated(one.port, *contexts, calling="CT9") as known:
            assert known.is_established
        assert before.send_c_store(ct_slice(1)).Status == 0, "it was admitted before"
        elsewhere = receive.model_copy(update={"addresses": ("10.0.0.0/8",)})
        settings = one.settings.model_copy(update={"receive": elsewhere})
        scp.admit(one.server, one.reception, settings)
        with associated(one.port, *contexts, calling="CT9") as far:
            assert not far.is_established
        assert before.send_c_store(ct_slice(2)).Status == 0


def test_an_object_in_hand_is_answered_before_the_receiver_ends(make_scp, monkeypatch):
    one = make_scp()
    storing, go_on = threading.Event(), threading.Event()
    store = one.spool.store

    def slowly(head, dataset):
        storing.set()
        assert go_on.wait(20)
        return store(head, dataset)

    monkeypatch.setattr(one.spool, "store", slowly)
    statuses, cut_off = [], []
    with (
        associated(one.port, build_context(CTImageStorage)) as sending,
        associated(one.port, build_context(CTImageStorage)) as idle,
    ):
        sender = threading.Thread(
            target=lambda: statuses.append(sending.send_c_store(ct_slice(1)).Status)
        )
        sender.start()
        assert storing.wait(20)
        one.server.shutdown()
        ending = threading.Thread(
            target=lambda: cut_off.append(
                one.reception.drain.end(lambda: one.server.active_associations, 20)
            )
        )
        ending.start()
        wait_for("the end of the idle association", lambda: not idle.is_established)
        assert sending.is_established
        go_on.set()
        sender.join(20)
        ending.join(20)
        assert not sending.is_established
    assert (statuses, cut_off) == ([0], [0])
    assert len(one.spooled()) == 1
    ends = [("aborted",), ("aborted",)]
    wait_for("both ends", lambda: one.rows("SELECT end FROM association") == ends)


def test_what_is_not_answered_in_time_is_cut_off(make_scp, monkeypatch):
    one = make_scp()
    storing, go_on = threading.Event(), threading.Event()

    def never(_head, _dataset):
        storing.set()
        go_on.wait(20)
        raise OSError(5, "the test ends")

    monkeypatch.setattr(one.spool, "store", never)
    with associated(one.port, build_context(CTImageStorage)) as sending:
        sender = threading.Thread(target=sending.send_c_store, args=(ct_slice(1),))
        sender.start()
        assert storing.wait(20)
        one.server.shutdown()
        assert one.reception.drain.end(lambda: one.server.active_associations, 0.2) == 1
        go_on.set()
        sender.join(20)
    assert one.spooled() == []
