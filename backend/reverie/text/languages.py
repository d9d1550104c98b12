"""Languages that PostgreSQL's text search knows, and telling them apart. Pure functions.

The settings name a language too, so the table of them is in ``core``.
"""

import re
from collections import Counter

from reverie.core.languages import CONFIGURATIONS, SIMPLE, configuration

__all__ = ["CONFIGURATIONS", "SIMPLE", "configuration", "detect", "small_words"]

_LOOKED_AT = 400
"""Characters of the beginning that are looked at."""

_FEWEST = 2
"""So many more small words and letters than any other a language must have."""

_SHARE = 0.15
"""The least share that those have in all different words."""

_SMALL_WORDS = {
    "english": "the and of to is was in it that for with on are this be have not at by from they you he she we what"
    " his her its as but an were which their has had will would there been can did do does i my me who when where why"
    " how your our about if or so no yes just",
    "german": "in alle der die das und ist nicht ein eine einen einem einer mit sich auf für den dem des von zu im ich"
    " wir sie er es auch als an wie dass daß war haben hat wird sind bei nach aus oder aber wenn noch nur über mein"
    " meine mich mir dir dich ihr heißt was wer wo wann warum kein keine habe bin morgen heute gestern sehr schon uns",
    "dutch": "in alle de het een en van ik je niet dat die is op te zijn met voor maar hij ze wij we er aan als ook"
    " dan om bij naar heeft hebben wat wie waar waarom hoe geen mijn jij was werd worden door over uit nog wel deze"
    " dit haar ons",
    "french": "le la les un une de des en par leurs et est pas que qui dans pour sur avec ce cette ces il elle nous"
    " vous ils je tu ne au aux du se sont plus mais ou où comme mon ma mes son sa ses leur était être avoir été fait"
    " très quand tous toutes pourquoi chez aussi bien suis j l d c qu ai on y",
    "spanish": "todos todas e el la los las un una y es que en por para con no se del al lo como más pero su sus le ya"
    " o este esta porque cuando muy sin sobre también me hasta hay donde quien desde todo nos mi yo ella él ellos fue"
    " son está están qué cómo dónde cuándo ayer tiene",
    "portuguese": "o a os as um uma e é que em por para com não se do da dos das no na nos nas ao mais mas como foi"
    " ele ela eu você isso está são também já muito quando onde quem porque meu minha seu sua ter tem à às até pelo"
    " pela ontem nós todos",
    "italian": "il lo la i gli le un una e è che di in per con non si del della dei delle al alla nel nella sono ha ho"
    " come più ma anche questo questa suo sua mio mia noi voi loro perché quando dove chi cosa era essere dal dalla"
    " sul sulla molto ieri tutti ed",
    "romanian": "și si să în este sunt nu un o cu de la pe care pentru din mai că ce a al ale au fost dar sau el ea"
    " noi ei lui lor acest această când unde cum cine foarte îmi mea meu toate ieri",
    "catalan": "el la els les un una i és que en per amb no es del dels al als com més però seu seva aquest aquesta"
    " perquè quan molt també jo ell ella nosaltres són té hi ho on qui què va ser estat tots ahir",
    "swedish": "i och att det är en ett som på jag inte av för med den till har de han hon vi var om så men från kan"
    " ska skulle mig dig sig min mitt hur vad vem när där varför eller också bara efter alla igår mycket vid",
    "danish": "i og at det er en et som på jeg ikke af for med den til har de han hun vi var om så men fra kan skal"
    " ville mig dig sig min mit hvordan hvad hvem hvornår hvor hvorfor eller også kun efter alle blev meget ved nu",
    "norwegian": "i og at det er en et som på jeg ikke av for med den til har de han hun vi var om så men fra kan skal"
    " ville meg deg seg min mitt hvordan hva hvem når hvor hvorfor eller også bare etter alle ble mye ved nå",
    "finnish": "ja on ei se että hän minä sinä me te he oli ovat mutta kun niin kuin jos myös vain ole olen en emme"
    " mitä missä kuka miksi milloin tämä tämän joka jotka kanssa sitten nyt vielä eilen minun hänen kaikki",
    "estonian": "ja on ei see et ta mina sina me te nad oli aga kui siis ka kas mis kus kes miks millal oma ma sa mu"
    " selle seda pole olen oled ning või eile väga minu tema kõik",
    "lithuanian": "ir yra ne tai kad jis ji aš tu mes jūs jie buvo bet kai kaip jei taip pat su iš į ant prie apie kas"
    " kur kada kodėl mano tavo jo jos mūsų nuo po už labai vakar visi",
    "hungarian": "a az és hogy nem is egy ez van volt meg de csak ha már mint én te ő mi ti ők mit ki hol mikor miért"
    " hogyan vagy nagyon ezt azt sem még itt ott lesz kell minden tegnap nekem",
    "turkish": "ve bir bu da de için ile ne o çok gibi daha ama var yok ben sen biz siz onlar mi mı mu mü değil olan"
    " olarak kadar sonra her en ki şey neden nasıl nerede kim dün benim bana bütün",
    "indonesian": "yang dan di ke dari ini itu dengan untuk tidak adalah pada saya aku kamu dia kami kita mereka akan"
    " sudah belum ada juga atau karena oleh dalam apa siapa mana kapan mengapa bagaimana bisa telah sangat kemarin"
    " semua",
    "irish": "an na agus is ar le do i go bhí tá sé sí mé tú sinn siad ní ná nach ag as ó faoi mar ach seo sin cad cé"
    " conas cathain tháinig gach mo",
    "basque": "eta da ez bat hau hori zen dira du dut dute ere baina oso nire zure bere gure zer nor non noiz zergatik"
    " nola egin izan dago dauka atzo guztiak",
    "russian": "и в не на я что он она они мы вы с как это по но из у за от то все так его её ее а о же бы был была"
    " было были мне меня мой моя для когда где кто почему вчера очень есть к до",
    "serbian": "и у је да се на не што он она они ми ви са као то по али из за од све тако био била било били мене мој"
    " моја када где ко зашто јуче веома сам си су ли ће",
    "hindi": "है हैं का की के में को से और यह वह नहीं पर था थी थे मैं हम आप तुम क्या कौन कहाँ कब क्यों ने भी लिए एक"
    " मेरा मेरी",
    "nepali": "छ छन् हो को का की मा लाई ले र यो त्यो छैन पनि थियो म हामी तपाईं के कसले कहाँ कहिले किन एक मेरो गर्न",
    "arabic": "في من على إلى أن هذا هذه التي الذي ما لا كان كانت مع عن هو هي أنا نحن هل لم قد كل و ثم أو لكن بعد قبل",
    "yiddish": "איז און דער די דאָס אַ ניט נישט מיט פון צו אויף איך מיר זיי וואָס ווער ווו האָט זיך אָבער",
}  # fmt: skip
"""Small words of each language, those that stand in most of its sentences."""

_LETTERS = {
    "ß": "german", "ñ": "spanish", "¿": "spanish", "ã": "portuguese", "õ": "portuguese", "ő": "hungarian",
    "ű": "hungarian", "ğ": "turkish", "ş": "turkish", "ı": "turkish", "ș": "romanian", "ț": "romanian",
    "ă": "romanian", "ы": "russian", "э": "russian", "ё": "russian", "ђ": "serbian", "ћ": "serbian", "џ": "serbian",
    "љ": "serbian", "њ": "serbian", "ј": "serbian",
}  # fmt: skip
"""Letters that one of these languages has alone."""


def _languages_of(words: dict[str, frozenset[str]]) -> dict[str, list[str]]:
    return {word: [one for one, own in words.items() if word in own] for word in set().union(*words.values())}


_SMALL = {language: frozenset(words.split()) for language, words in _SMALL_WORDS.items()}
_LANGUAGES_OF = _languages_of(_SMALL)
_SMALL_OF_ALL = frozenset(_LANGUAGES_OF)

_ALONE = {"greek": "\u0370-\u03ff\u1f00-\u1fff", "armenian": "\u0530-\u058f", "tamil": "\u0b80-\u0bff"}
"""Scripts that one language of PostgreSQL has to itself."""

_SHARED = {
    "latin": "A-Za-z\u00c0-\u024f\u1e00-\u1eff",
    "cyrillic": "\u0400-\u052f",
    "arabic script": "\u0600-\u06ff\u0750-\u077f",
    "hebrew script": "\u0590-\u05ff",
    "devanagari": "\u0900-\u097f",
}
"""Scripts in which the small words decide."""

_SCRIPTS = re.compile(
    "|".join(f"([{letters}]+)" for letters in (*_ALONE.values(), *_SHARED.values())) + r"|([^\W\d_]+)"
)
_NAMES = (*_ALONE, *_SHARED, SIMPLE)
_WORD = re.compile(r"(?:[^\W\d_]|[\u0900-\u097f\u0591-\u05c7])+")

_ASCII_LETTERS = {code: " " for code in range(128) if not chr(code).isalpha()}
"""What stands between words of ASCII text."""


def small_words(language: str) -> frozenset[str]:
    """The small words of a language, those that stand in most of its sentences; none of one that has no table."""
    return _SMALL.get(language, frozenset())


def detect(text: str) -> str | None:
    """The text-search configuration of the language that a text is in; None where that cannot be told for sure.

    A script decides where it is one language's own, and is SIMPLE where PostgreSQL knows no language of it. Elsewhere
    at least two small words or letters must speak for a language, and two more than for any other. A few words are
    often too few; what is then taken is the caller's affair.
    """
    beginning = text[:_LOOKED_AT]
    is_ascii = beginning.isascii()
    script = "latin" if is_ascii else _script(beginning)
    if script is None or script == SIMPLE or script in _ALONE:
        return script
    lowered = beginning.lower()
    # The same words, in a third of the time.
    words = set(lowered.translate(_ASCII_LETTERS).split() if is_ascii else _WORD.findall(lowered))
    votes: dict[str, int] = {}
    for letter in () if is_ascii else set(lowered) & _LETTERS.keys():
        votes[_LETTERS[letter]] = votes.get(_LETTERS[letter], 0) + 1
    for word in words & _SMALL_OF_ALL:
        for language in _LANGUAGES_OF[word]:
            votes[language] = votes.get(language, 0) + 1
    first, second = sorted((*votes.values(), 0, 0), reverse=True)[:2]
    if first < max(second + _FEWEST, _SHARE * len(words)):
        return None
    return next(language for language, count in votes.items() if count == first)


def _script(text: str) -> str | None:
    """The script that most letters are of; SIMPLE stands for all that PostgreSQL knows no language of."""
    letters: Counter[str] = Counter()
    for match in _SCRIPTS.finditer(text):
        letters[_NAMES[(match.lastindex or 1) - 1]] += match.end() - match.start()
    return letters.most_common(1)[0][0] if letters else None
