"""Names that are widely known, and what they name: general knowledge, written down here. All in the form of name keys.

They only lean one way or the other: a text that says otherwise is believed.
"""

from typing import Final

_GIVEN: Final = """
    aaron abby abdul abdullah abel abigail abraham ada adam addison adele adeline adrian adriana adrienne agatha agnes
    ahmad ahmed aidan aiden aimee aisha akira alan alana albert alberto alec alejandra alejandro alex alexander
    alexandra alexandre alexei alexia alexis alfonso alfred alfredo ali alice alicia alina aliyah allan allen allison
    alma alonso alvin alyssa amanda amara amaya amber amelia amina amir amit amy ana anastasia andre andrea andreas
    andres andrew andy angela angelica angelina angelo angie anika anita anjali ann anna annabelle anne annette annie
    anthony antoine anton antonio anya april ariana ariel arjun arlene armando arnold arthur arturo asha ashley astrid
    aubrey audrey august aurora ava avery ayesha bailey barbara barry bart beatrice beatriz becca becky belinda bella
    ben benjamin bennett bernard bernice bertha bessie beth bethany betsy betty beverly bianca billy blake blanca bob
    bobby bonnie boris brad bradley brandi brandon brenda brendan brent brett brian briana brianna bridget brittany
    bruce bruno bryan bryce caitlin caleb calvin cameron camila camille candace cara carl carla carlo carlos carmen
    carol carole caroline carolyn carrie carter casey cassandra cassidy cassie catalina catherine cathy cecilia cedric
    celeste celia cesar chandra charlene charles charlie charlotte chelsea chen cheryl chloe chris christian christina
    christine christoph christopher christy cindy claire clara clarence clarissa claude claudia clayton clement clifford
    clint clyde cody colette colin colleen connie connor constance cora corey corinne cory courtney craig cristina
    crystal curtis cynthia daisy dale damian damon dan dana daniel daniela danielle danny daphne darlene darrell darren
    darryl dave david dawn dean deanna deb debbie deborah debra deepak dele delia denise dennis derek derrick desmond
    diana diane diego dieter dimitri dina dmitri dolores dominic dominique don donald donna dora doris dorothy doug
    douglas drew duane dustin dwayne dylan ed eddie edgar edith edmund eduardo edward edwin eileen elaine eleanor elena
    eli elias elijah elisa elisabeth elise eliza elizabeth ella ellen ellie elliot elliott elsa elsie elvira emanuel
    emil emilia emilio emily emma emmanuel enrique eric erica erik erika erin ernest ernesto esmeralda esteban estelle
    esther ethan eugene eva evan evelyn fabian fatima fatma felicia felipe felix fernanda fernando fiona flora florian
    floyd frances francesca francesco francis francisco francois fred freda freddie frederick frida frieda fritz
    gabriel gabriela gabrielle gail gary gavin gemma gene genevieve geoffrey george gerald gerard gerardo gerhard
    gertrude gia gianna gideon gilbert gina ginger giovanni giulia giuseppe gladys glen glenda glenn gloria gordon
    graham greg gregory greta gretchen guillermo gunther gustav gustavo gwen gwendolyn hailey hana hank hannah hans
    harold harriet harry harvey hassan heather hector heidi heinrich helen helena helga henri henrietta henrik henry
    herbert herman hilary hilda hiroshi holly howard hugh hugo ian ibrahim ida ignacio igor ilse imani imran ines inez
    ingrid irene irina iris irma isaac isabel isabella isabelle isaiah ismael ivan ivana jack jackie jacob jacqueline
    jacques jaime jake jamal james jamie jan jana jane janet janice jared jasmine jason javier jay jayden jean jeanette
    jeff jeffrey jen jenna jennifer jenny jeremiah jeremy jerome jerry jesse jessica jessie jesus jill jim jimmy jin
    joan joanna joanne jocelyn jodi jodie joe joel joey johan johanna john johnny jon jonah jonas jonathan jorge jose
    josef joseph josephine josh joshua josie joyce juan juana juanita judith judy julia julian juliana julie juliet
    julio julius jun jurgen justin justine kai kaitlyn kamal karen karim karin karina karl karla kate katelyn katherine
    kathleen kathryn kathy katie katrina kay kayla keith kelly kelsey ken kendra kenji kenneth kenny kerry kevin khalid
    kim kimberly kirk kirsten klaus kofi kristen kristin kristina krystal kumar kurt kyle lana lance lara larissa larry
    laszlo latoya laura laurel lauren laurence laurie lawrence layla lea leah leandro leila lena lenny leo leon leona
    leonard leonardo leroy leslie lewis lia liam lila lillian lily lina linda lindsay lindsey lionel lisa liu liz liza
    lloyd logan lois lola lorena lorenzo loretta lori lorraine lou louis louisa louise luca lucas lucia luciana lucy
    ludwig luigi luis luisa lukas luke luna lydia lyle lynda lynn mabel mack mackenzie maddie madeline magdalena maggie
    mahmoud mai malcolm malik mandy manuel mara marc marcel marcela marcia marco marcos marcus margaret margarita margie
    maria mariah mariam marian mariana marianne marie mariella marilyn marina mario marion marisa marissa marjorie
    marlene marsha marshall marta martha martin martina marvin mary maryam mateo mathew matilda matt matteo matthew
    matthias maureen maurice max maxine maya megan mei melanie melinda melissa melody mercedes meredith mia michael
    michaela micheal michel michele michelle miguel mihai mika mike mikhail mildred milena miles milo milton mimi mindy
    minh miranda miriam misty mitchell mohamed mohammad mohammed moira molly mona monica monique morgan moses muhammad
    muriel mustafa myra myrtle nadia nadine nancy naomi natalia natalie natasha nate nathan nathaniel neha neil nelson
    nia nicholas nick nicolas nicole nigel nikita nikki nikolai nina noah noel noelle noemi nora norma norman odette
    olga oliver olivia omar oscar osman otto owen pablo paloma pam pamela paola paolo patrice patricia patrick patsy
    patty paul paula paulina pauline pavel pedro peggy penelope penny perry pete peter petra phil philip philippe
    phillip phoebe phyllis pierre pilar polly preston priscilla priya quentin quinn rachel rafael rahul raj rajesh ralph
    ramon ramona randall randy raphael raquel rashid raul ravi ray raymond rebecca regina reginald rene renee ricardo
    richard rick ricky riley rita rob robbie robert roberta roberto robin rodney rodrigo roger roland roman ron ronald
    ronnie rosa rosalie rosalind rosanna rosario rosemary rosie ross roxanne roy ruben ruby rudolf rudy rufus rupert
    russell ruth ryan sabina sabine sabrina sadie sally salma salvador sam samantha samir samuel sandeep sandra sandy
    sanjay santiago sara sarah sasha saul scott sean sebastian selena selma serena serge sergei sergio seth shane
    shannon sharon shaun shawn sheila shelby shelley sheri sherry shirley shivani sidney sigrid silvia simon simone
    sofia sonia sonya sophia sophie spencer stacey stacy stan stanley stefan stefanie stella stephanie stephen steve
    steven stewart stuart sue suki summer sunil sunita susan susana susanna susie suzanne sven svetlana sylvia tabitha
    tamara tammy tanya tara tariq tasha tatiana taylor ted teresa terrence terri terry tess tessa thea thelma theo
    theodore theresa thomas tiffany tim timothy tina todd tom tomas tommy toni tony tracey traci tracy travis trent
    trevor tricia trisha tristan troy tyler ulrich ulrike umar ursula usha valentina valeria valerie vanessa vera
    vernon veronica vicki vicky victor victoria vijay vikram vincent viola violet virgil vivian vlad vladimir wade
    wallace walter wanda warren wayne wendy wesley whitney wilbur wilfred wilhelm will william willie winston wolfgang
    xavier yasmin yolanda yosef yuki yuri yusuf yvette yvonne zach zachary zara zoe
"""
GIVEN_NAMES: Final = frozenset(_GIVEN.split())
"""First names of people, in English and of other languages."""

_NICKNAMES: Final = """
    abigail abby gail; abraham abe; albert al bert; alexander alex al sandy xander; alexandra alex sandra lexi;
    alfred alf fred; alison ali; allison allie ali; amanda mandy; andrea andi; andrew andy drew; angela angie;
    anthony tony; antonio tony; arthur art; barbara barb barbie; benjamin ben benny benji; bernard bernie; bradley
    brad; bridget bridie; cameron cam; caroline caro carrie; carolyn carrie; cassandra cassie; catherine cathy cat
    kate katie; cecilia cece; charles charlie chuck; charlotte lottie charlie; christian chris; christina chris tina
    chrissy; christine chris chrissy; christopher chris; clifford cliff; cynthia cindy; daniel dan danny; danielle
    dani; david dave davy; deborah deb debbie debby; dennis denny; dolores lola; dominic dom nick; donald don donny;
    dorothy dot dottie; douglas doug; edmund ed eddie ned; edward ed eddie ted ned; edwin ed eddie; eleanor ellie
    nell nora; elizabeth liz beth lizzie betty betsy eliza libby ellie; emily em emmy; emma em; eugene gene; evelyn
    evie; felicia fel; florence flo; frances fran; francesca fran; francis frank; francisco paco; frederick fred
    freddie; gabriel gabe; gabriela gabby; gabrielle gabby; genevieve gen; geoffrey geoff jeff; gerald gerry jerry;
    gilbert gil; gregory greg; gwendolyn gwen; harold harry hal; harriet hattie; henrietta etta; henry harry hank;
    herbert herb bert; isaac ike; isabel izzy bella; isabella izzy bella; isabelle izzy belle; jacob jake;
    jacqueline jackie; james jim jimmy jamie; janet jan; jeffrey jeff; jennifer jen jenny jenn; jeremiah jerry;
    jeremy jem; jessica jess jessie; joanna jo; joanne jo; johannes hans; john johnny jack; jonathan jon jonny; jose
    pepe; joseph joe joey; josephine jo josie; joshua josh; judith judy; julia jules; julian jules; katherine kate
    katie kathy kat kitty; kathleen kathy kate; kathryn kate kathy; kenneth ken kenny; kimberly kim; kristen kris;
    kristina kris tina; laurence larry; lawrence larry; leonard len lenny; leonardo leo; leslie les; lillian lily
    lil; lucille lucy; madeline maddie; margaret maggie meg peggy marge margie; maria mia; marjorie marge; martin
    marty; matilda tilly; matthew matt; maximilian max; maxwell max; megan meg; melanie mel; melinda mel mindy;
    melissa mel missy; michael mike mikey mick; michelle shelly; miguel mike; mitchell mitch; monica mona; nancy
    nan; natalie nat; natasha tasha; nathan nate; nathaniel nate nat; nicholas nick nicky; nicole nikki nicky;
    olivia liv livvy; oliver ollie; pamela pam; patricia pat patty trish tricia; patrick pat paddy; penelope penny;
    peter pete; philip phil; phillip phil; phyllis phyl; priscilla cilla; rachel rach; raymond ray; rebecca becca
    becky; reginald reggie; ricardo rick ricky; richard rick ricky dick rich richie; robert bob bobby rob robbie;
    roberta bobbie; roberto rob; roderick rod; rodney rod; roger rodge; ronald ron ronnie; rosemary rosie; rudolf
    rudy; russell russ; samantha sam sammy; samuel sam sammy; sandra sandy; sebastian seb; sharon shaz; sidney sid;
    solomon sol; sophia sophie; stanley stan; stephanie steph; stephen steve; steven steve; stewart stu; stuart stu;
    susan sue susie; suzanne sue suzie; tamara tammy; terence terry; teresa terry tess; theodore ted teddy theo;
    theresa terry tess; thomas tom tommy; timothy tim timmy; tobias toby; valerie val; vanessa nessa; veronica
    ronnie vera; victor vic; victoria vicky tori; vincent vince vinny; virginia ginny; vivian viv; walter walt;
    wilfred wilf; william will bill billy willie liam; winifred winnie; zachary zach zack
"""


def _nicknames() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for entry in _NICKNAMES.split(";"):
        name, *short = entry.split()
        for one in short:
            found.setdefault(one, set()).add(name)
    return {short: frozenset(names) for short, names in found.items()}


NICKNAMES: Final = _nicknames()
"""Nickname → the first names that it is short for."""

_COUNTRIES: Final = """
    afghanistan, albania, algeria, andorra, angola, antigua and barbuda, argentina, armenia, australia, austria,
    azerbaijan, bahamas, bahrain, bangladesh, barbados, belarus, belgium, belize, benin, bhutan, bolivia, bosnia,
    botswana, brazil, brunei, bulgaria, burkina faso, burundi, cambodia, cameroon, canada, cape verde, chile, china,
    colombia, comoros, congo, costa rica, croatia, cuba, cyprus, czech republic, czechia, denmark, djibouti, dominica,
    dominican republic, ecuador, egypt, el salvador, england, equatorial guinea, eritrea, estonia, eswatini, ethiopia,
    fiji, finland, france, gabon, gambia, germany, ghana, great britain, greece, greenland, grenada, guatemala, guinea,
    guyana, haiti, honduras, hong kong, hungary, iceland, india, indonesia, iran, iraq, ireland, israel, italy,
    ivory coast, jamaica, japan, kazakhstan, kenya, kiribati, kosovo, kuwait, kyrgyzstan, laos, latvia, lebanon,
    lesotho, liberia, libya, liechtenstein, lithuania, luxembourg, macau, madagascar, malawi, malaysia, maldives, mali,
    malta, mauritania, mauritius, mexico, micronesia, moldova, monaco, mongolia, montenegro, morocco, mozambique,
    myanmar, namibia, nauru, nepal, netherlands, new zealand, nicaragua, niger, nigeria, north korea, north macedonia,
    northern ireland, norway, oman, pakistan, palau, palestine, panama, papua new guinea, paraguay, peru, philippines,
    poland, portugal, puerto rico, qatar, romania, russia, rwanda, samoa, san marino, saudi arabia, scotland, senegal,
    serbia, seychelles, sierra leone, singapore, slovakia, slovenia, somalia, south africa, south korea, south sudan,
    spain, sri lanka, sudan, suriname, sweden, switzerland, syria, taiwan, tajikistan, tanzania, thailand, togo, tonga,
    trinidad, tunisia, turkey, turkmenistan, uganda, ukraine, united arab emirates, united kingdom, united states,
    uruguay, uzbekistan, vanuatu, vatican, venezuela, vietnam, wales, yemen, zambia, zimbabwe, uk, usa, us, u.s, uae,
    eu, america, north america, south america, latin america, central america, africa, asia, europe, antarctica,
    oceania, caribbean, middle east, scandinavia, balkans, southeast asia
"""
_STATES: Final = """
    alabama, alaska, arizona, arkansas, california, colorado, connecticut, delaware, florida, hawaii, idaho, illinois,
    indiana, iowa, kansas, kentucky, louisiana, maine, maryland, massachusetts, michigan, minnesota, mississippi,
    missouri, montana, nebraska, nevada, new hampshire, new jersey, new mexico, new york, north carolina, north dakota,
    ohio, oklahoma, oregon, pennsylvania, rhode island, south carolina, south dakota, tennessee, texas, utah, vermont,
    washington, west virginia, wisconsin, wyoming, ontario, quebec, british columbia, alberta, manitoba, saskatchewan,
    nova scotia, new brunswick, newfoundland, queensland, new south wales, tasmania, bavaria, catalonia, andalusia,
    tuscany, sicily, sardinia, provence, normandy, brittany, cornwall, yorkshire, kerala, punjab, rajasthan, goa,
    punjab, siberia, patagonia, crimea, kashmir, tibet, bali, java, sumatra, borneo, crete, corsica, ibiza, majorca
"""
_CITIES: Final = """
    abu dhabi, accra, addis ababa, adelaide, albuquerque, algiers, amman, amsterdam, ankara, antwerp, athens, atlanta,
    auckland, baghdad, baku, baltimore, bangalore, bangkok, barcelona, basel, beijing, beirut, belfast, belgrade,
    berlin, bern, birmingham, bogota, bologna, bombay, bordeaux, boston, bratislava, brisbane, bristol, brussels,
    bucharest, budapest, buenos aires, buffalo, cairo, calcutta, calgary, cambridge, canberra, cancun, cape town,
    caracas, cardiff, casablanca, chengdu, chennai, chicago, cincinnati, cleveland, cologne, colombo, columbus,
    copenhagen, cordoba, dakar, dallas, damascus, delhi, denver, detroit, dhaka, doha, dresden, dubai, dublin, durban,
    dusseldorf, edinburgh, edmonton, fort worth, frankfurt, galway, gdansk, geneva, genoa, ghent, glasgow, gothenburg,
    granada, guadalajara, guangzhou, hamburg, hanoi, hanover, harare, havana, helsinki, ho chi minh city, honolulu,
    houston, hyderabad, indianapolis, istanbul, jakarta, jerusalem, johannesburg, kabul, kampala, kansas city, karachi,
    kathmandu, khartoum, kiev, kyiv, kingston, kinshasa, krakow, kuala lumpur, kyoto, lagos, lahore, las vegas, leeds,
    leipzig, lima, lisbon, liverpool, ljubljana, london, los angeles, louisville, lyon, madrid, malaga, manchester,
    manila, marrakech, marseille, medellin, melbourne, memphis, mexico city, miami, milan, milwaukee, minneapolis,
    minsk, montevideo, montreal, moscow, mumbai, munich, nairobi, nanjing, naples, nashville, new delhi, new orleans,
    new york city, nyc, nice, nottingham, nuremberg, oakland, odessa, omaha, orlando, osaka, oslo, ottawa, oxford,
    palermo, paris, perth, philadelphia, phnom penh, phoenix, pisa, pittsburgh, portland, porto, prague, pretoria,
    quito, reykjavik, riga, rio de janeiro, riyadh, rome, rotterdam, sacramento, salt lake city, salzburg, san antonio,
    san diego, san francisco, san jose, santa barbara, santa fe, santiago, sao paulo, sarajevo, seattle, seoul, seville,
    shanghai, sheffield, shenzhen, skopje, sofia, stockholm, strasbourg, stuttgart, sydney, taipei, tallinn, tampa,
    tehran, tel aviv, the hague, tijuana, tokyo, toronto, toulouse, tripoli, tucson, tulsa, tunis, turin, utrecht,
    valencia, vancouver, venice, verona, vienna, vilnius, warsaw, washington dc, wellington, winnipeg, wuhan, yerevan,
    yokohama, zagreb, zurich, manhattan, brooklyn, queens, bronx, harlem, hollywood, silicon valley, la, sf
"""
_LANDMARKS: Final = """
    alps, amazon river, andes, atlantic, baltic, black forest, central park, danube, eiffel tower, everest,
    grand canyon, great barrier reef, himalayas, mediterranean, mount everest, mount fuji, mont blanc, niagara falls,
    nile, pacific, pyrenees, rhine, rockies, rocky mountains, sahara, seine, thames, times square, yellowstone, yosemite
"""


def _listed(*lists: str) -> frozenset[str]:
    return frozenset(" ".join(name.split()) for text in lists for name in text.split(",") if name.strip())


PLACES: Final = _listed(_COUNTRIES, _STATES, _CITIES, _LANDMARKS)
"""Countries, their larger parts, large cities, and what everybody knows of the map."""

ORGANISATIONS: Final = _listed(
    """
    adidas, adobe, airbnb, airbus, aldi, alibaba, allianz, amazon, amd, amnesty international, apple, at&t,
    audi, bbc, bmw, boeing, bosch, cia, cisco, citibank, cnn, coca-cola, costco, deloitte, dell, dhl, disney,
    ebay, epa, esa, fbi, fda, fedex, fifa, ford, general electric, general motors, goldman sachs, google,
    greenpeace, harvard, hewlett-packard, honda, hsbc, huawei, hyundai, ibm, ikea, imf, intel, interpol,
    jpmorgan, kpmg, lenovo, lg, lidl, lufthansa, mastercard, mcdonald, mckinsey, mercedes-benz, meta, microsoft,
    mit, morgan stanley, nasa, nato, nba, nestle, netflix, nfl, nhl, nhs, nike, nintendo, nissan, nvidia,
    openai, opec, oracle, panasonic, paypal, pepsi, pfizer, philips, princeton, pwc, red cross, reuters,
    salesforce, samsung, sap, shell, siemens, sony, spacex, spotify, stanford, starbucks, tesla, toyota,
    twitter, uber, ucla, unesco, unicef, united nations, ups, us army, visa, volkswagen, volvo, walmart, who,
    wikipedia, world bank, world health organization, wwf, yahoo, yale, ymca
    """
)
"""Large firms, agencies and schools."""

DAYS: Final = _listed(
    """
    christmas, christmas eve, christmas day, new year, new year's eve, new year's day, easter, easter sunday,
    good friday, thanksgiving, halloween, valentine, valentine's day, mother's day, father's day, independence day,
    labor day, memorial day, black friday, boxing day, hanukkah, ramadan, eid, diwali, holi, passover, yom kippur,
    rosh hashanah, lunar new year, chinese new year, mardi gras, st patrick's day, veterans day, earth day, april fools
    """
)
"""Days of the year that have a name."""

THINGS: Final = _listed(
    """
    english, french, german, spanish, italian, portuguese, dutch, swedish, danish, norwegian, finnish, polish, czech,
    hungarian, romanian, greek, turkish, russian, ukrainian, arabic, hebrew, persian, hindi, urdu, bengali, tamil,
    chinese, mandarin, cantonese, japanese, korean, vietnamese, thai, latin, irish, welsh, scottish, american, british,
    canadian, australian, mexican, brazilian, indian, african, asian, european, jewish, christian, muslim, catholic,
    buddhist, hindu, python, java, javascript, typescript, rust, golang, kotlin, php, ruby on rails, c, c++, linux,
    windows, macos, android, ios, iphone, ipad, macbook, playstation, xbox, nintendo switch, kindle, alexa, docker,
    kubernetes, postgresql, mysql, sqlite, mongodb, redis, react, django, flask, excel, word, powerpoint, photoshop,
    gmail, whatsapp, instagram, facebook, youtube, tiktok, linkedin, slack, zoom, bitcoin, ethereum, bible, quran,
    internet, covid, covid-19, adhd, dna, gps, ceo, cto, cfo, phd, mba, gpa, diy, faq, lgbt, lgbtq, api, usb, pdf, tv
    """
)
"""Languages and peoples, and products and notions that are written as names."""
