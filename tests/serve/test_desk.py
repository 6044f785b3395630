"""The desk: one computation at a time, in order, and those that find no place are told so."""

import threading
import time

import pytest
from served_colors import asked, write_colors

from fsl_explain import Encoder
from fsl_explain.serve.access import Access
from fsl_explain.serve.desk import Desk, DeskIsFull
from fsl_explain.serve.frame import Frame
from fsl_explain.serve.uploads import Uploads
from retrieval_explain import MemoryBank
from retrieval_explain.serve.app import create_app


def test_one_at_a_time_and_first_come_first_served():
    desk, running, order, most = Desk(places=10), [0], [], [0]

    def work(number):
        with desk.turn():
            running[0] += 1
            most[0] = max(most[0], running[0])
            order.append(number)
            time.sleep(0.005)
            running[0] -= 1

    threads = []
    with desk.turn():
        for number in range(8):
            threads.append(threading.Thread(target=work, args=(number,)))
            threads[-1].start()
            while desk.waiting < number + 2:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert most == [1]
    assert order == list(range(8))


def test_a_full_desk_says_so_and_goes_on():
    desk = Desk(places=1)
    started = threading.Event()

    def wait():
        started.set()
        with desk.turn():
            pass

    with desk.turn():
        thread = threading.Thread(target=wait)
        thread.start()
        while desk.waiting < 2:
            time.sleep(0.001)
        with pytest.raises(DeskIsFull, match="1 requests wait already"), desk.turn():
            pass
    thread.join()
    with desk.turn():
        assert desk.waiting == 1


def test_an_error_gives_the_turn_back():
    desk = Desk()
    with pytest.raises(RuntimeError), desk.turn():
        raise RuntimeError
    with desk.turn():
        pass


def test_a_full_desk_is_answered_with_429(tmp_path):
    encoder = Encoder.named("conv4net")
    bank = MemoryBank.build(encoder, write_colors(tmp_path / "images"))
    frame = Frame(Uploads(tmp_path / "uploads"), Access(), Desk(places=0))
    page = asked(create_app(bank, encoder, frame=frame))
    with frame.turn():
        answer = page.get("/api/banks/0/search", params={"query": "image:0:1"})
        assert answer.status_code == 429
        assert answer.headers["retry-after"]
        assert "ask again" in answer.json()["error"]
        assert page.get("/api/session").status_code == 200  # what needs no network is answered
    assert page.get("/api/banks/0/search", params={"query": "image:0:1"}).status_code == 200
