import time

import pytest
from tests.memories.helpers import rows

from reverie.core.config import Settings
from reverie.text.languages import CONFIGURATIONS, configuration, detect


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


SPOKEN = {
    "english": ["All human beings are born free and equal in dignity and rights.", "Where did we go last summer?"],
    "german": ["Alle Menschen sind frei und gleich an Würde und Rechten geboren.", "Wie heißt die Katze?"],
    "french": ["Tous les êtres humains naissent libres et égaux en dignité et en droits.", "Où est-ce que tu vas ?"],
    "spanish": ["Todos los seres humanos nacen libres e iguales en dignidad y derechos.", "¿Cómo se llama el gato?"],
    "portuguese": ["Todos os seres humanos nascem livres e iguais em dignidade e em direitos.", "Onde você foi ontem?"],
    "italian": ["Tutti gli esseri umani nascono liberi ed eguali; essi sono dotati di ragione e di coscienza."],
    "dutch": ["Alle mensen worden vrij en gelijk in waardigheid en rechten geboren.", "Hoe heet de kat van mijn zus?"],
    "swedish": [
        "Alla människor är födda fria och lika i värde och rättigheter.",
        "Vad heter din katt och var bor den?",
    ],
    "danish": ["Hvad hedder din kat, og hvor bor den af?"],
    "norwegian": ["Hva heter katten din, og hvem ga deg den?"],
    "finnish": ["Mitä hän teki eilen, ja missä he olivat?"],
    "hungarian": ["Minden emberi lény szabadon születik, és egyenlő méltósága és joga van."],
    "turkish": ["Dün kardeşim ile çok güzel bir film izledik."],
    "romanian": ["Toate ființele umane se nasc libere și egale în demnitate și în drepturi."],
    "russian": [
        "Все люди рождаются свободными и равными в своем достоинстве и правах.",
        "Где мы были вчера и что ели?",
    ],
    "serbian": ["Сва људска бића рађају се слободна и једнака у достојанству и правима."],
    "greek": ["Πού είναι η γάτα;"],
    "armenian": ["Բոլոր մարդիկ ծնվում են ազատ"],
    "tamil": ["பூனை எங்கே?"],
    "hindi": ["सभी मनुष्यों को गौरव और अधिकारों के मामले में स्वतन्त्रता प्राप्त है"],
    "arabic": ["كان هذا في البيت من قبل"],
    "simple": ["人人生而自由,在尊严和权利上一律平等。", "猫はどこですか", "고양이는 어디에 있습니까", "แมวอยู่ที่ไหน"],
}


@pytest.mark.parametrize(("language", "text"), [(one, text) for one, texts in SPOKEN.items() for text in texts])
def test_a_language_is_told_from_its_text(language: str, text: str) -> None:
    assert detect(text) == language
    assert language in {*CONFIGURATIONS.values(), "simple"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ok",
        "😀😀",
        "12 345",
        "Los Angeles",
        "Die Hard",
        "La Jolla",
        "Berlin Hauptbahnhof",
        "cat",
        "def f(x): return x",
    ],
)
def test_too_little_tells_no_language(text: str) -> None:
    assert detect(text) is None


def test_foreign_names_leave_a_text_in_its_language() -> None:
    text = "We flew from Los Angeles to La Paz, and then the three of us took the bus to Rio de Janeiro."
    assert detect(text) == "english"


def test_the_beginning_of_a_long_text_is_enough() -> None:
    began = time.perf_counter()
    assert detect("Das ist nicht mein Hund. " * 40_000) == "german"
    assert detect("é" * 1_000_000) is None
    assert time.perf_counter() - began < 1
