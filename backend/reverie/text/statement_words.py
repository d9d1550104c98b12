"""The English words by which statements are read."""

from types import MappingProxyType
from typing import Final

from reverie.text.date_words import words_of

REGULAR: Final = words_of(
    "adore attend believe belong cook despise detest dislike drink drive eat enjoy follow hate like live love need own"
    " play practice practise prefer reside smoke speak study support take teach train use visit want watch wear work"
)
"""Verbs that tell in their present how things are, and go on to be."""

_IRREGULAR: Final = MappingProxyType({"go": ("goes", "going"), "have": ("has", "having"), "run": ("runs", "running")})

_PRESENT: Final = {
    form: verb
    for verb in REGULAR
    for form in (
        verb,
        f"{verb}s" if not verb.endswith(("h", "y")) else f"{verb}es" if verb.endswith("h") else f"{verb[:-1]}ies",
    )
}
PRESENT: Final = MappingProxyType(
    _PRESENT | {"enjoys": "enjoy", "plays": "play"} | {verb: verb for verb in _IRREGULAR}
    | {forms[0]: verb for verb, forms in _IRREGULAR.items()}
)  # fmt: skip
"""Their forms of the present → themselves."""

LIKING: Final = words_of("adore enjoy like love")
DISLIKING: Final = words_of("despise detest dislike hate")

HOME: Final = words_of("home house place flat apartment address")
ROMANTIC: Final = words_of("boyfriend girlfriend partner husband wife fiance fiancee fiancé fiancée spouse")
HOLDERS: Final = (
    words_of(
        "accountant admin administrator agent boss captain ceo cfo chair chairman chairperson chairwoman champion chief"
        " coach contact cto dentist dermatologist director doctor editor flatmate founder governor head host housemate"
        " instructor landlady landlord lawyer lead leader maintainer manager mayor mentor minister moderator nanny"
        " owner"
        " physician president principal producer roommate secretary sitter sponsor supervisor supplier teacher"
        " therapist"
        " trainer treasurer tutor vet"
    )
    | ROMANTIC
)
"""What somebody is to somebody: mostly one at a time."""

KIN: Final = ROMANTIC | words_of(
    "aunt brother colleague cousin dad daughter father flatmate friend grandfather grandma grandmother grandpa mother"
    " mom"
    " mum neighbor neighbour nephew niece roommate sister son stepdaughter stepson uncle"
)

EVENTS: Final = words_of(
    "appointment audition award ball camp celebration ceremony championship checkup class competition concert"
    " conference"
    " contest convention course date debate defence defense dinner drive event exam examination exhibit exhibition fair"
    " festival final finals flight fundraiser gala game gig graduation hearing hike holiday interview launch lecture"
    " marathon match meeting move opening operation outing parade party performance photoshoot picnic play premiere"
    " presentation procedure prom race recital rehearsal reunion retreat screening season seminar session shoot show"
    " surgery talk test tournament tour trial trip vacation visit wedding workshop"
)
"""What is looked forward to, and then was."""

ACTIVITIES: Final = words_of(
    "biking bowling camping canoeing climbing cycling dancing diving fishing hiking jogging kayaking sailing shopping"
    " sightseeing skating skiing snorkeling snowboarding surfing swimming"
)

SINGLE: Final = HOLDERS | words_of(
    "address age anniversary balance birthday birthplace branch budget capacity capital charge chassis color colour"
    " cost currency date database deadline default destination due email employer endpoint expiry extension favorite"
    " favourite fave fee format handle headquarters height hometown host hostname interval ip job key language length"
    " level limit location login major mileage mode model name nickname nationality number occupation office passcode"
    " passphrase password phone pin plate port position postcode price priority profession quota rate ratio region rent"
    " salary score schedule server size status subscription surname target temperature theme threshold time timeout"
    " timezone title token url username value venue version weight wifi zip"
)
"""Nouns of which a thing has one: whoever names another has it changed, or corrects himself."""

PROFESSIONS: Final = words_of(
    "accountant actor actress analyst architect artist assistant attorney baker banker barber barista bartender"
    " bookkeeper builder butcher carpenter cashier chef chemist cleaner clerk coach consultant cook counselor"
    " counsellor dancer decorator dentist designer developer director doctor driver editor electrician engineer farmer"
    " firefighter florist freelancer gardener hairdresser illustrator interpreter journalist judge lawyer lecturer"
    " librarian lifeguard manager marketer mechanic midwife model musician nanny nurse nutritionist optician painter"
    " paramedic pharmacist photographer physician physiotherapist pilot plumber police postman producer professor"
    " programmer psychiatrist psychologist realtor receptionist recruiter researcher salesman salesperson scientist"
    " secretary singer soldier solicitor student surgeon tailor teacher technician therapist trainee trainer translator"
    " tutor vet veterinarian waiter waitress welder writer"
)

STATES: Final = (
    words_of("single dating engaged married divorced widowed separated"),
    words_of("employed unemployed retired self-employed jobless"),
    words_of("enabled disabled"),
    words_of("open closed"),
    words_of("broken fixed working"),
    words_of("pending approved rejected denied accepted declined"),
    words_of("vegan vegetarian pescatarian omnivore carnivore"),
    words_of("online offline"),
    words_of("public private"),
    words_of("alive dead deceased"),
    words_of("available unavailable"),
    words_of("active inactive"),
    words_of("paid unpaid overdue"),
    words_of("empty full"),
    words_of("sold unsold"),
    words_of("cancelled canceled confirmed postponed"),
    words_of("red green failing passing"),
    words_of("blocked unblocked"),
    words_of("finished unfinished ongoing"),
    words_of("locked unlocked"),
    words_of("up down"),
    words_of("ill well"),
)
"""States of which a thing is in one."""

LASTING: Final = (
    words_of(
        "addicted afraid alive allergic atheist available based believer blind buddhist catholic celiac christian"
        " coeliac"
        " colorblind colourblind compatible dairy-free deaf diabetic disabled divorced employed enabled engaged fan"
        " fluent"
        " free gluten-free insured intolerant jewish kosher lactose lactose-intolerant left-handed licensed married"
        " member"
        " muslim omnivore owner pescatarian pregnant public private registered religious required responsible retired"
        " single smoker student subscribed supported unemployed vaccinated valid vegan vegetarian veggie widowed"
    )
    | PROFESSIONS
)
"""Complements of "to be" that do not come and go with the hour."""

PLACES: Final = words_of(
    "africa america american argentina asia australia austria bangladesh belgium brazil britain bulgaria california"
    " canada chile china colombia colorado croatia cuba cyprus czechia denmark ecuador egypt england estonia ethiopia"
    " europe finland florida france germany ghana greece hungary iceland india indonesia iran iraq ireland israel italy"
    " jamaica japan jordan kenya korea latvia lebanon lithuania malaysia maine malta massachusetts mexico michigan"
    " minnesota montana morocco nepal netherlands nigeria norway ohio oregon pakistan peru philippines poland portugal"
    " romania russia scotland serbia singapore slovakia slovenia spain sweden switzerland taiwan tanzania tennessee"
    " texas thailand tunisia turkey uganda uk ukraine us usa utah vermont vietnam virginia wales washington wisconsin"
    " zealand zimbabwe arizona georgia hawaii illinois nevada jersey carolina dakota pennsylvania"
)
"""Countries, continents and states: who lives in one of them may live in a town that is named elsewhere."""

PRONOUNS: Final = words_of(
    "he her him it she that them these they this those there you one who what which when where why how whoever"
    " everyone everybody someone somebody nobody anyone anybody everything something nothing anything all both each"
    " either neither some many most others mine yours hers theirs"
)
"""Subjects that do not say by themselves whom they mean, or mean nobody in particular."""

FILLERS: Final = words_of(
    "a an the any some much many more most lot lots of my our your his her their its this that these those very quite"
    " pretty so too such well all every each another other own bit kind sort little just really only even almost nearly"
    " about around approximately roughly i me we us you it completely totally entirely officially definitely actually"
    " is are am be been being was were do does did to at as and or but new current old previous former original latest"
    " own same there here on in of for per by from with into onto over under"
)
"""Words that do not tell one value or thing from another."""

VAGUE: Final = words_of(
    "anything everything nothing something thing things stuff way ways time idea lot point one ones place problem"
    " question sense chance people fun part side day life world moment spot bit step hand look break kind more new"
    " good great best hard better well times work week year month weekend morning evening night home friend friends"
    " family opportunity opportunities option options possibility possibilities idea ideas"
)
"""Words that name nothing by which two statements would be known to be about the same."""

MONEY: Final = MappingProxyType(
    {"$": "dollar", "€": "euro", "£": "pound", "usd": "dollar", "dollar": "dollar", "dollars": "dollar",
     "bucks": "dollar", "eur": "euro", "euro": "euro", "euros": "euro", "gbp": "pound", "pound": "pound",
     "pounds": "pound"}
)  # fmt: skip

UNITS: Final = MappingProxyType(
    {"s": "second", "sec": "second", "ms": "ms", "min": "minute", "mins": "minute", "hrs": "hour", "hr": "hour",
     "kg": "kilo", "kgs": "kilo", "kilogram": "kilo", "lb": "lbs", "km": "kilometre", "kms": "kilometre",
     "kilometer": "kilometre", "cm": "centimetre", "mb": "mb", "gb": "gb", "yr": "year", "yrs": "year"}
)  # fmt: skip
"""Short forms of units."""

PAST: Final = MappingProxyType(
    {
        "became": "become", "began": "begin", "bought": "buy", "broke": "break", "brought": "bring", "built": "build",
        "came": "come", "caught": "catch", "chose": "choose", "did": "do", "drew": "draw", "drove": "drive",
        "fed": "feed", "felt": "feel", "flew": "fly", "found": "find", "gave": "give", "gone": "go", "got": "get",
        "gotten": "get", "grew": "grow", "had": "have", "heard": "hear", "held": "hold", "kept": "keep",
        "hosted": "host", "used": "use", "using": "use", "retook": "retake", "stuck": "stick", "taken": "take",
        "hurt": "hurt", "shut": "shut",
        "knew": "know", "led": "lead", "left": "leave", "lost": "lose", "made": "make", "met": "meet", "paid": "pay",
        "passed": "pass", "put": "put", "quit": "quit", "ran": "run", "read": "read", "rode": "ride", "sang": "sing",
        "sat": "sit", "saw": "see", "seen": "see", "sent": "send", "set": "set", "sold": "sell", "spent": "spend",
        "spoke": "speak", "started": "start", "swam": "swim", "swum": "swim",
        "taught": "teach", "thrown": "throw", "threw": "throw", "told": "tell", "took": "take", "tried": "try",
        "went": "go", "been": "go", "woke": "wake", "won": "win", "wore": "wear", "written": "write", "wrote": "write",
        "done": "finish", "going": "go", "doing": "do", "being": "be",
    }
)  # fmt: skip
"""Forms of the past, and short ones in -ing → their verbs, of those that do not end as others do."""

PARTICIPLES: Final = MappingProxyType(
    {
        "begun": "begin", "broken": "break", "chosen": "choose", "driven": "drive", "drunk": "drink", "eaten": "eat",
        "flown": "fly", "given": "give", "grown": "grow", "ridden": "ride", "run": "run", "sung": "sing",
        "spoken": "speak",
        "worn": "wear", "won": "win",
    }
)  # fmt: skip
"""Forms that follow "have not", of those that are no past → their verbs."""

ACTS: Final = MappingProxyType(
    {
        "go": "visit", "travel": "visit", "fly": "visit", "drive": "visit", "head": "visit", "visit": "visit",
        "buy": "get", "purchase": "get", "adopt": "get", "find": "get", "get": "get", "receive": "get", "land": "get",
        "finish": "finish", "complete": "finish", "launch": "start", "open": "start", "start": "start",
        "begin": "start", "create": "start",
        "join": "join", "enroll": "join", "register": "join", "sign": "join", "film": "record", "shoot": "record",
        "watch": "see", "see": "see", "attend": "visit", "relocate": "move", "hold": "host", "organise": "host",
        "organize": "host", "throw": "host", "compete": "run", "take": "take", "search": "look", "hunt": "look",
        "prepare": "study", "practice": "train", "practise": "train", "cook": "make", "bake": "make",
        "hunt for": "look", "explore": "look", "consider": "look", "investigate": "look", "research": "look",
        "wrap": "finish", "conclude": "finish", "publish": "publish", "release": "publish", "deploy": "publish",
        "ship": "publish", "submit": "submit", "send": "submit", "hand": "submit", "retake": "pass", "ace": "pass",
        "flunk": "fail", "acquire": "get", "obtain": "get", "pick": "get", "secure": "get",
        "develop": "build", "code": "build", "implement": "build", "assemble": "build", "compose": "write",
        "draft": "write", "author": "write", "illustrate": "paint", "remodel": "renovate", "refurbish": "renovate",
        "redecorate": "renovate", "repair": "fix", "mend": "fix", "replace": "fix", "crash": "break", "rescue": "get",
        "hire": "accept", "admit": "accept", "select": "accept", "choose": "choose", "approve": "accept",
        "draw": "paint", "enrol": "join", "participate": "visit",
    }
)  # fmt: skip
"""Verbs → one that tells as much of the same thing."""

_GAINED: Final = words_of("get start join apply visit sign accept choose move buy hire run win meet land")
FULFILS: Final = MappingProxyType(
    {
        "look": _GAINED,
        "wait": words_of("get accept reject"),
        "order": words_of("get"),
        "save": words_of("get"),
        "visit": words_of("visit win start join"),
        "start": words_of("start finish publish"),
        "get": words_of("get"),
        "join": words_of("join finish"),
        "adopt": words_of("get"),
        "move": words_of("move"),
        "sign": words_of("visit"),
        "apply": words_of("get join start pass accept reject interview"),
        "interview": words_of("get join start accept reject pass"),
        "audition": words_of("get accept reject"),
        "submit": words_of("accept reject publish win pass"),
        "negotiate": words_of("get sign join accept reject"),
        "train": words_of("run finish win visit pass"),
        "study": words_of("pass finish take visit fail"),
        "fail": words_of("pass"),
        "break": words_of("fix get"),
        "lose": words_of("get"),
        "plant": words_of("harvest"),
        "learn": words_of("pass finish learn"),
        "read": words_of("finish read"),
        "work": words_of("finish publish submit start"),
        "make": words_of("finish make"),
        "fix": words_of("fix"),
    }
    | dict.fromkeys(
        ("write", "build", "paint", "renovate", "record", "design", "knit", "edit", "restore", "sew", "organise"),
        words_of("finish publish submit start"),
    )
)
"""What is under way → what ends it, or takes it further."""

GOING: Final = words_of(
    "agency bakery band brewery clinic orchard ranch relationship salon winery"
    " app blog book boutique build business cafe campaign career channel charity class club company course degree diet"
    " dissertation draft farm film firm foundation fundraiser gallery game garden house kitchen lessons marriage"
    " manuscript memoir migration movie newsletter novel paper pitch play podcast portfolio practice pregnancy project"
    " prototype recovery rehab remodel renovation research restaurant routine school screenplay search shop site"
    " startup"
    " store story studies studio thesis training transition treatment website workshop"
)
"""What goes on for long, and of which it is told time and again how it goes."""

KINDS_OF_IT: Final = words_of(
    "agreement application certificate certification class contract course deal degree diploma exam grant interview job"
    " licence license membership offer partnership permit place position program programme role scholarship school seat"
    " session slot spot test ticket tickets training trip visa"
)
"""Nouns that name no other thing than the one before them: who got an endorsement deal got an endorsement."""

GENERAL: Final = words_of(
    "appointment call class date dinner event flight game lesson match meeting party session show talk test workshop"
)
"""What people have so many of that one is not another."""

SAME: Final = (
    "screenplay script", "competition comp contest", "tournament tourney", "meeting mtg", "performance show gig",
    "trip vacation holiday getaway", "store shop boutique", "dog puppy pup doggo", "cat kitten kitty", "business biz",
    "apartment apt flat", "exam test", "bike bicycle", "kid child children", "movie film", "picture photo pic",
    "repository repo", "database db", "documentation docs", "configuration config", "university uni", "mother mom mum",
    "father dad", "grandmother grandma", "grandfather grandpa", "advertisement ad advert", "veterinarian vet",
    "television tv", "fridge refrigerator", "phone cellphone smartphone",
)  # fmt: skip
"""Nouns that people call one thing by."""
