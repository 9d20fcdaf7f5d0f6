"""Who is given which request, without any worker."""

from __future__ import annotations

import asyncio

import pytest

from augment.executors.desk import DEATHS, Desk, Hands, Job
from augment.records import Request


@pytest.fixture
def loop():
    made = asyncio.new_event_loop()
    yield made
    made.close()


def job(loop, number: int, record: str = "r", generator: str = "g") -> Job:
    return Job(Request(record, generator, number, (("user", "?"),), "t@1", seed=number), loop.create_future())


def desk(count: int, window: int, own: str = "rules") -> tuple[Desk, list[Hands]]:
    hands = [Hands(open=True) for _ in range(count)]
    return Desk(hands, window, frozenset([own])), hands


def numbers(hands: Hands) -> list[int]:
    return [each.request.k for each in hands.held.values()]


def test_each_worker_gets_as_much_as_the_others_and_no_more_than_its_window(loop):
    table, hands = desk(3, 4)
    hands[1].open = False
    for number in range(12):
        table.add(job(loop, number))
    table.deal()
    assert [len(each.held) for each in hands] == [4, 0, 4]
    assert not table.idle
    hands[0].give(next(iter(hands[0].held)))
    table.deal()
    assert numbers(hands[0])[-1] == 8


def test_a_record_stays_with_the_worker_that_works_out_its_variants(loop):
    table, hands = desk(2, 16)
    for number in range(12):
        table.add(job(loop, number, record=f"r{number // 3}", generator="rules"))
    table.deal()
    assert [numbers(each) for each in hands] == [[0, 1, 2, 6, 7, 8], [3, 4, 5, 9, 10, 11]]


def test_what_a_dead_worker_held_goes_first_but_only_a_few_to_each(loop):
    table, hands = desk(2, 16)
    for number in range(60):
        table.add(job(loop, number))
    table.deal()
    lost = hands[0].drop()
    for each in lost:
        table.add(each)
    for each in tuple(hands[1].held):
        hands[1].give(each)
    table.deal()
    assert numbers(hands[1])[:4] == [each.request.k for each in lost[:4]]
    assert hands[1].suspects == 4
    assert len(hands[1].held) == 16, "the others are above suspicion"


def test_a_request_held_at_two_deaths_is_held_alone_while_others_go_on(loop):
    table, hands = desk(2, 4)
    suspect = job(loop, 99)
    suspect.deaths = DEATHS - 1
    for number in range(8):
        table.add(job(loop, number))
    table.deal()
    table.add(suspect)
    for number in range(8, 16):
        table.add(job(loop, number))
    for _ in range(3):
        for each in hands:
            each.give(next(iter(each.held)))
        table.deal()
    assert [len(each.held) for each in hands] == [1, 4], "one is kept from being filled again"
    hands[0].give(next(iter(hands[0].held)))
    table.deal()
    assert numbers(hands[0]) == [99]
    assert hands[0].alone
    assert len(hands[1].held) == 4
