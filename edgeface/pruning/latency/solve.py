"""The knapsack: of every variable's options take one, so that the cost meets a budget at least loss.

Losses add up; the cost is any function of all choices, because a convolution's cost is a product of two widths.
A Lagrangian finds the neighbourhood: for a price of a millisecond, every variable in turn takes the option of least
loss + price x cost, until none changes; the price is bisected to the budget. Exchanges then use up what is left: one
variable, or two at once, change where the budget still holds and the loss falls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["cheapest", "choose"]

Choice = tuple[int, ...]
"""The option taken, for every variable."""
SWEEPS, BISECTIONS, PASSES = 8, 24, 6
CANDIDATES = 4
"""Choices of the bisection that exchanges start from."""
HIGHEST = 1e6
"""Loss per unit of cost at which only cost counts."""
REACH = 2
"""How many options away, in the order of cost, an exchange looks; the extremes always."""


def cheapest(losses: Sequence[Sequence[float]], cost: Callable[[Choice], float]) -> Choice:
    """The choice of least cost, found variable by variable."""
    return _settled(tuple(0 for _ in losses), lambda choice: cost(choice), losses)


def choose(losses: Sequence[Sequence[float]], cost: Callable[[Choice], float], budget: float) -> Choice | None:
    """An option for every variable.

    Args:
        losses: loss of every option of every variable; option 0 is the present state, later ones cost less.
        cost: of a choice; called often.
        budget: most cost allowed.

    Returns:
        indices of options; None where even the cheapest choice costs more.
    """
    known: dict[Choice, float] = {}

    def price_of(choice: Choice) -> float:
        if choice not in known:
            known[choice] = cost(choice)
        return known[choice]

    def loss_of(choice: Choice) -> float:
        return sum(options[taken] for options, taken in zip(losses, choice, strict=True))

    start = tuple(0 for _ in losses)
    if price_of(start) <= budget:
        return start
    best = cheapest(losses, price_of)
    if price_of(best) > budget:
        return None
    candidates = {best}
    for begin in (start, best):

        def at_price(price: float, begin: Choice = begin) -> Choice:
            return _settled(begin, lambda choice: loss_of(choice) + price * price_of(choice), losses)

        low, high = 0.0, 1.0
        while price_of(at_price(high)) > budget and high < HIGHEST:
            low, high = high, high * 4
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            found = at_price(middle)
            if price_of(found) <= budget:
                high = middle
                candidates.add(found)
            else:
                low = middle

    def fits(choice: Choice) -> bool:
        return price_of(choice) <= budget

    nearest = sorted(candidates, key=loss_of)[:CANDIDATES]
    return min((_exchanged(choice, losses, loss_of, fits) for choice in nearest), key=loss_of)


def _settled(start: Choice, value: Callable[[Choice], float], losses: Sequence[Sequence[float]]) -> Choice:
    """Every variable in turn takes its best option, the others held, until none changes."""
    choice = start
    for _ in range(SWEEPS):
        before = choice
        for place, options in enumerate(losses):
            choice = min((_with(choice, place, option) for option in range(len(options))), key=value)
        if choice == before:
            break
    return choice


def _exchanged(
    choice: Choice,
    losses: Sequence[Sequence[float]],
    loss_of: Callable[[Choice], float],
    fits: Callable[[Choice], bool],
) -> Choice:
    """Steps of one variable or two that lower the loss and still fit, until there are none."""
    for _ in range(PASSES):
        before = choice
        for first, options in enumerate(losses):
            for option in _near(choice[first], len(options)):
                gain = options[choice[first]] - options[option]
                one = _with(choice, first, option)
                if gain <= 0:
                    continue
                if fits(one):
                    choice = one
                    break
                pairs = [
                    (options_of[other] - options_of[choice[second]], _with(one, second, other))
                    for second, options_of in enumerate(losses)
                    if second != first
                    for other in _near(choice[second], len(options_of))
                ]
                better = sorted((added, two) for added, two in pairs if added < gain - 1e-12)
                if found := next((two for _, two in better if fits(two)), None):
                    choice = found
                    break
        if choice == before:
            break
    return choice


def _near(taken: int, count: int) -> list[int]:
    nearby = {0, count - 1, *range(max(taken - REACH, 0), min(taken + REACH + 1, count))}
    return sorted(nearby - {taken})


def _with(choice: Choice, place: int, option: int) -> Choice:
    return (*choice[:place], option, *choice[place + 1 :])
