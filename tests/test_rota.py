"""Which of several servers is asked, on a clock that the test turns."""

from __future__ import annotations

from augment.engines.rota import Rota


def share(rota: Rota, seconds: list[float], slots: int = 8, until: float = 100.0) -> list[int]:
    """How many requests each gets when `slots` are always out and answers take so long."""
    now, out, given = 0.0, [], [0] * len(seconds)
    while now < until:
        while len(out) < slots:
            place = rota.choose(now)
            rota.asked(place)
            given[place] += 1
            out.append((now + seconds[place], place, now))
        now, place, sent = min(out)
        out.remove((now, place, sent))
        rota.answered(place, now - sent)
    return given


def test_equal_servers_take_turns():
    given = share(Rota(4), [1.0] * 4)
    assert max(given) - min(given) <= 2


def test_a_slow_server_gets_as_little_as_it_manages():
    fast, slow = share(Rota(2), [0.5, 5.0])
    assert slow > 0
    assert fast > 8 * slow


def test_one_that_does_not_answer_rests_and_then_gets_one_try():
    rota = Rota(2)
    rota.asked(0)
    assert rota.failed(0, now=10.0, sent=9.0)
    assert [rota.choose(10.5) for _ in range(4)] == [1] * 4
    assert rota.choose(11.1) == 0
    rota.asked(0)
    assert [rota.choose(11.2) for _ in range(4)] == [1] * 4, "the others wait for that try"
    assert not rota.failed(0, now=12.0, sent=11.1)
    assert rota.choose(13.9) == 1, "it rests twice as long"
    assert rota.choose(14.1) == 0
    rota.asked(0)
    assert rota.answered(0, 0.1), "it is back"
    assert {rota.choose(14.2) for _ in range(4)} >= {0}


def test_many_that_fall_at_once_are_one_failure():
    rota = Rota(2)
    for _ in range(5):
        rota.asked(0)
    assert [rota.failed(0, now=5.0, sent=4.0) for _ in range(5)] == [True, False, False, False, False]
    assert rota.choose(6.1) == 0
    assert rota.posts[0].out == 0


def test_a_request_goes_elsewhere_than_where_it_failed_if_that_can_be():
    rota = Rota(3)
    assert rota.choose(0.0, not_there=(0, 1)) == 2
    assert rota.choose(0.0, not_there=(0, 1, 2)) in (0, 1, 2)


def test_where_all_are_away_they_are_asked_in_turn():
    rota = Rota(2)
    for place, now in ((0, 1.0), (1, 2.0)):
        rota.asked(place)
        rota.failed(place, now=now, sent=now)
    assert not rota.alive
    assert {rota.choose(2.1), rota.choose(2.1)} == {0, 1}
