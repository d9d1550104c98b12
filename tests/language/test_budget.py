"""The tokens of a night, and a model that is left alone when it keeps failing: over a real endpoint."""

import json
from collections.abc import AsyncIterator

import pytest
from tests.language import standin
from tests.language.standin import StandIn, content, status

from reverie.language.budget import LEAST_ANSWER_TOKENS, Budget, Budgeted
from reverie.language.endpoint import EndpointModel
from reverie.language.protocol import LanguageModelError, Question, Reason

ABOUT = Question("Retell.", json.dumps({"records": [{"speaker": "Ann", "text": "We met Bob."}]}), 500)


@pytest.fixture
async def endpoint(stand_in: StandIn) -> AsyncIterator[EndpointModel]:
    model = EndpointModel(stand_in.url, "tiny", timeout_seconds=1)
    yield model
    await model.close()


async def missing(model: Budgeted) -> Reason:
    with pytest.raises(LanguageModelError) as caught:
        await model.ask(ABOUT)
    return caught.value.reason


async def test_what_was_taken_is_counted_and_what_is_left_bounds_the_answer(
    endpoint: EndpointModel, stand_in: StandIn
) -> None:
    model = Budgeted(endpoint, Budget(450, spent=50))
    for left in (400, 250):
        assert model.budget.left == left
        await model.ask(ABOUT)
    assert [request["max_tokens"] for request in stand_in.requests] == [400 - ABOUT.tokens, 250 - ABOUT.tokens]
    assert model.budget.spent == 350
    assert await missing(model) is Reason.NO_BUDGET
    assert len(stand_in.requests) == 2
    assert model.calls == 2
    assert model.missing == {"over budget": 1}


async def test_without_a_budget_it_is_never_asked(endpoint: EndpointModel, stand_in: StandIn) -> None:
    assert await missing(Budgeted(endpoint, Budget(0))) is Reason.NO_BUDGET
    assert await missing(Budgeted(endpoint, Budget(ABOUT.tokens + LEAST_ANSWER_TOKENS - 1))) is Reason.NO_BUDGET
    assert await missing(Budgeted(endpoint, Budget(100, spent=10**9))) is Reason.NO_BUDGET
    assert stand_in.requests == []
    await Budgeted(endpoint, Budget(ABOUT.tokens + LEAST_ANSWER_TOKENS)).ask(ABOUT)


async def test_what_an_endpoint_does_not_count_is_estimated(endpoint: EndpointModel, stand_in: StandIn) -> None:
    stand_in.usual = standin.counts_nothing
    model = Budgeted(endpoint, Budget(10_000))
    await model.ask(ABOUT)
    assert ABOUT.tokens < model.budget.spent < 200


async def test_what_was_asked_in_vain_is_counted_where_it_was_read(endpoint: EndpointModel, stand_in: StandIn) -> None:
    stand_in.play(stand_in.slow, standin.streams, status(404))
    model = Budgeted(endpoint, Budget(10_000))
    for reason in (Reason.LATE, Reason.UNREADABLE, Reason.NOT_FOUND):
        assert await missing(model) is reason
    assert model.budget.spent == 2 * ABOUT.tokens
    assert model.missing == {"late": 1, "unreadable": 1, "not found": 1}


async def test_a_model_that_keeps_failing_is_left_alone_for_a_while(endpoint: EndpointModel, stand_in: StandIn) -> None:
    stand_in.play(*[standin.streams] * 2, standin.good, *[standin.streams] * 3)
    model = Budgeted(endpoint, Budget(100_000))
    for reason in (Reason.UNREADABLE, Reason.UNREADABLE, None, *[Reason.UNREADABLE] * 3, *[Reason.LEFT_ALONE] * 3):
        if reason is None:
            await model.ask(ABOUT)
        else:
            assert await missing(model) is reason
    assert len(stand_in.requests) == model.calls == 6


async def test_one_that_does_not_know_the_key_is_left_alone_at_once(endpoint: EndpointModel, stand_in: StandIn) -> None:
    stand_in.usual = status(401)
    model = Budgeted(endpoint, Budget(100_000))
    assert [await missing(model) for _ in range(3)] == [Reason.KEY, Reason.LEFT_ALONE, Reason.LEFT_ALONE]
    assert len(stand_in.requests) == 1


async def test_it_is_asked_again_after_the_while(endpoint: EndpointModel, stand_in: StandIn) -> None:
    stand_in.play(status(401), status(401))
    model = Budgeted(endpoint, Budget(100_000), pause_seconds=0)
    assert [await missing(model) for _ in range(2)] == [Reason.KEY, Reason.KEY]
    assert (await model.ask(ABOUT)).text
    assert (await model.ask(ABOUT)).text


async def test_a_refused_question_says_nothing_of_the_next(endpoint: EndpointModel, stand_in: StandIn) -> None:
    stand_in.play(*[status(400)] * 10, content("fine"))
    model = Budgeted(endpoint, Budget(100_000))
    for _ in range(5):
        assert await missing(model) is Reason.REFUSED
    assert (await model.ask(ABOUT)).text == "fine"
