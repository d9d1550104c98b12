import pytest
from tests.memories.helpers import rows

from reverie.core.config import Settings
from reverie.text.languages import CONFIGURATIONS, configuration


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("de", "german"), ("de-AT", "german"), ("pt_BR", "portuguese"), (" German ", "german"), ("EN", "english"),
     ("simple", "simple"), ("english", "english")],
)  # fmt: skip
def test_languages_that_are_understood(given: str, wanted: str) -> None:
    assert configuration(given) == wanted


@pytest.mark.parametrize("given", ["", "xx", "klingon", "e", "en;drop", "-de", "\x00"])
def test_what_is_no_language_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"^takes an ISO 639-1 code"):
        configuration(given)


async def test_postgresql_knows_every_one(settings: Settings) -> None:
    known = {name for (name,) in await rows(settings, "SELECT cfgname::text FROM pg_ts_config")}
    assert {*CONFIGURATIONS.values(), "simple"} <= known
