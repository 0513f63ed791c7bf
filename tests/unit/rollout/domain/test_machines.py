"""One identity on two machines: what tells a copied card from a restart, a repair and a backup put back."""

from itertools import count

from acclimate.rollout.domain.machines import REWIND_S, Machine, started
from acclimate_device.protocol import Start

ONE, OTHER = "1" * 64, "2" * 64
NUMBERS = count()


def start(number: int, hardware: str = ONE) -> Start:
    return Start(f"{next(NUMBERS):032x}", number, hardware)


def asked(*starts: Start, gap_s: float = 60.0, late: bool = False) -> tuple[Machine | None, list[str]]:
    machine, told = None, []
    for place, one in enumerate(starts):
        machine, why = started(machine, one, place * gap_s, late)
        told.append(why)
    return machine, told


def test_one_machine_starts_and_asks_as_often_as_it_likes():
    first, second, third = start(1), start(2), start(9)
    machine, told = asked(first, first, second, second, second, third, third)
    assert not any(told)
    assert machine is not None
    assert (machine.nonce, machine.count) == (third.nonce, 9)


def test_a_card_moved_to_another_board_is_one_machine():
    _, told = asked(start(1), start(2), start(3, OTHER), start(4, OTHER))
    assert not any(told)


def test_a_copied_card_is_noticed_when_the_first_machine_asks_again():
    here, there = start(7), start(8, OTHER)
    _, told = asked(here, there, here)
    assert told[:2] == ["", ""]
    assert "11111111" in told[2]
    assert "22222222" in told[2]


def test_a_copy_that_counts_no_further_is_noticed_at_once():
    _, told = asked(start(7), start(7, OTHER))
    assert "other hardware" in told[1]


def test_a_copied_virtual_machine_is_noticed_by_its_hardware():
    here = start(3)
    _, told = asked(here, Start(here.nonce, here.count, OTHER))
    assert "one start on two machines" in told[1]


def test_a_backup_put_back_is_believed_once_a_day():
    _, told = asked(start(7), start(3), start(4), start(5))
    assert not any(told)
    _, told = asked(start(7), start(3), start(3))
    assert told[:2] == ["", ""]
    assert "in turns" in told[2]
    _, told = asked(start(7), start(3), start(2), gap_s=REWIND_S)
    assert not any(told)


def test_two_agents_on_one_board_are_noticed_by_their_turns():
    here, there = start(7), start(8)
    _, told = asked(here, there, here, there, here)
    assert not any(told[:3])
    assert "in turns" in told[4]


def test_what_was_long_on_its_way_proves_nothing_on_the_same_board():
    here, there = start(7), start(8)
    machine, told = asked(here, there, *[here] * 5, late=True)
    assert not any(told)
    assert machine is not None
    assert machine.nonce == there.nonce


def test_where_nothing_tells_nothing_is_concluded():
    _, told = asked(Start("a" * 32), Start("b" * 32), Start("c" * 32))
    assert not any(told)
    _, told = asked(start(7), start(0, ""), start(8))
    assert not any(told)
