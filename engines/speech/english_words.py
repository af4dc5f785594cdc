"""Words of English that a rule knows: days, titles, abbreviations, units, money, symbols."""

# ruff: noqa: SIM905 - words stand in rows

from __future__ import annotations

MONTHS = ("January February March April May June July August September October November December").split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
SHORT_DAYS = {day[:3]: day for day in DAYS} | {"Tues": "Tuesday", "Thur": "Thursday", "Thurs": "Thursday"}
SHORT_MONTHS = {month[:3]: month for month in MONTHS} | {"Sept": "September"}

TITLES = {
    "Mr": "Mister",
    "Mrs": "Missus",
    "Ms": "Miz",
    "Prof": "Professor",
    "Jr": "Junior",
    "Sr": "Senior",
    "Inc": "Incorporated",
    "Ltd": "Limited",
    "Corp": "Corporation",
    "Bros": "Brothers",
    "Ave": "Avenue",
    "Rd": "Road",
    "Blvd": "Boulevard",
    "Mt": "Mount",
    "Dept": "Department",
    "dept": "department",
    "Govt": "Government",
    "govt": "government",
    "etc": "et cetera",
    "vs": "versus",
    "approx": "approximately",
    "Approx": "Approximately",
    "cf": "compare",
    "viz": "namely",
    "tsp": "teaspoon",
    "tbsp": "tablespoon",
    "Tsp": "Teaspoon",
    "Tbsp": "Tablespoon",
    "Tel": "Telephone",
    "tel": "telephone",
    "WWI": "World War one",
    "WWII": "World War two",
    "PhD": "P H D",
    "OK": "okay",
}
"""Read so with a full stop or without."""
SHORTENED = {
    "max": "maximum",
    "min": "minimum",
    "temp": "temperature",
    "Temp": "Temperature",
    "univ": "university",
    "Univ": "University",
    "incl": "including",
    "excl": "excluding",
    "avg": "average",
    "Avg": "Average",
    "est": "estimated",
    "misc": "miscellaneous",
    "asst": "assistant",
    "Asst": "Assistant",
    "assoc": "associate",
    "Assoc": "Associate",
    "Assn": "Association",
    "Natl": "National",
    "Intl": "International",
    "qty": "quantity",
    "Qty": "Quantity",
    "mgr": "manager",
    "appt": "appointment",
    "appts": "appointments",
    "esp": "especially",
    "orig": "originally",
    "wt": "weight",
    "ht": "height",
    "doz": "dozen",
    "co": "company",
    "acct": "account",
    "Acct": "Account",
    "pct": "percent",
    "yr": "year",
    "yrs": "years",
    "hr": "hour",
    "hrs": "hours",
    "wk": "week",
    "wks": "weeks",
    "Ala": "Alabama",
    "Ariz": "Arizona",
    "Calif": "California",
    "Colo": "Colorado",
    "Conn": "Connecticut",
    "Fla": "Florida",
    "Mich": "Michigan",
    "Minn": "Minnesota",
    "Okla": "Oklahoma",
    "Tenn": "Tennessee",
    "Tex": "Texas",
    "pkg": "package",
    "ref": "reference",
    "Hwy": "Highway",
    "Pkwy": "Parkway",
    "Messrs": "Messieurs",
    "vol": "volume",
    "vols": "volumes",
}
"""Read so with a full stop."""
WHOLE = frozenset({"max", "min", "temp", "Temp", "ref", "co", "doz"})
"""Those that are words as well, at the end of a sentence."""
BEFORE_NAMES = {
    "Gen": "General",
    "Capt": "Captain",
    "Col": "Colonel",
    "Sgt": "Sergeant",
    "Lt": "Lieutenant",
    "Rev": "Reverend",
    "Sen": "Senator",
    "Gov": "Governor",
    "Rep": "Representative",
    "Pres": "President",
    "Hon": "Honourable",
    "Ft": "Fort",
    "Maj": "Major",
    "Adm": "Admiral",
    "Cmdr": "Commander",
    "Cpl": "Corporal",
    "Pvt": "Private",
    "Brig": "Brigadier",
    "Amb": "Ambassador",
    "Supt": "Superintendent",
    "Insp": "Inspector",
    "Det": "Detective",
    "Fr": "Father",
    "Sens": "Senators",
    "Reps": "Representatives",
    "Drs": "Doctors",
    "Profs": "Professors",
}
BEFORE_NUMBERS = {
    "no": "number",
    "nos": "numbers",
    "p": "page",
    "pp": "pages",
    "pg": "page",
    "pt": "part",
    "fl": "floor",
    "pgs": "pages",
    "vol": "volume",
    "vols": "volumes",
    "fig": "figure",
    "figs": "figures",
    "ch": "chapter",
    "chs": "chapters",
    "sec": "section",
    "sect": "section",
    "l": "line",
    "ll": "lines",
    "col": "column",
    "eq": "equation",
    "eqs": "equations",
    "ex": "example",
    "apt": "apartment",
    "rm": "room",
    "ste": "suite",
    "bldg": "building",
    "para": "paragraph",
    "c": "circa",
    "ca": "circa",
    "art": "article",
    "ext": "extension",
    "est": "established",
}
DOTTED = {
    "e.g.": "for example",
    "i.e.": "that is",
    "a.k.a.": "also known as",
    "a.m.": "A M",
    "p.m.": "P M",
    "et al.": "and others",
    "Ph.D.": "P H D",
    "w/o": "without",
    "w/": "with",
    "Co.": "Company",
}
ACRONYMS = frozenset(
    """
    NASA NATO UNESCO UNICEF AIDS OPEC ASEAN SARS COVID RAM ROM PIN SIM GIF JPEG LAN WAN SWAT NAFTA FIFA
    UEFA NASDAQ IKEA ASCII CAPTCHA YOLO BIOS MIDI JACK ALSA SCUBA LASER RADAR SONAR NAND SAARC BRAC
    ZIP DOS JAR
    """.split()
)
"""Capitals that are read as a word."""
INITIALISMS = frozenset(
    """
    AIG AOL API APR ATM CEO CFO CIA CIO CTO DIY DOB EPA ETA EU FAQ FAO GIS GOP IBM ILO IMF INR IOC IOS
    IPO IRA IRS ISP ITV IVF KIA LIC MIT NID NIH NIC NOC NYC POS RAF RBI SEC SEO SIM SOP SOS SUV TBA UAE UAV
    UFO UNO USA USB VIP YMCA RIP ISSN
    ISBN OECD IEEE ADHD ASAP UNHCR IATA ICAO AFAIK ISO USSR USAID UNDP UNFPA IUPAC EULA OEM USD EUR GBP
    API APIS AWOL HIV EST IAEA AFAIK IOU NGO CEO CFO CTO
    """.split()
)
"""Capitals that look like a word and are spelled."""
SHORT_WORDS = frozenset(
    """
    AN AS AT BE BY DO GO HE IF IN IS ME MY NO OF ON OR SO TO UP WE ALL AND ANY ARE BAD BIG BUT BUY CAN
    DAY DID END FOR GET GOT HAD HAS HER HIM HIS HOT HOW ITS LET LOW MAN MAY NEW NOT NOW OFF OLD ONE OUR
    OUT OWN PAY PUT RED RUN SAY SEE SET SHE SIT TEN THE TOO TOP TRY TWO USE WAS WAY WHY WIN YES YET MAX NET
    YOU OH HI AH
    """.split()
)
SHOUTED = SHORT_WORDS | {"IT", "US", "AM", "WHO"}
"""Words in a text in capitals; elsewhere some of them are initials."""
STARTERS = frozenset(
    """
    The He She It They We I In But And A An This That These Those There Then When After If On At For So
    His Her Their My Our Its You Your What Why How Who Where Not No Yes Now As While Though Although
    However By From With To Is Are Was Were Do Does Did Can Let Please
    """.split()
)
"""Words that begin a sentence more often than they follow an abbreviation as a name."""
KINGS = frozenset(
    """
    Henry Elizabeth Louis George Edward Charles James William Richard Mary Paul Pius John Benedict
    Gregory Leo Clement Innocent Philip Peter Nicholas Alexander Catherine Frederick Napoleon Ramses
    Gustav Carl Christian Harald Margaret Otto Francis Ferdinand Ivan Alfonso Victor Leopold Urban
    Adrian Boniface
    """.split()
)
NUMBERED = frozenset(
    """
    Vol Ch Sec Fig Chapter Part Act Volume Section War Book Scene Type Phase Stage Title Article Class
    Appendix Unit Level Bowl Wrestlemania
    """.split()
)
LETTERED = frozenset(
    """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred
    thousand million billion vitamin Vitamin plan Plan option Option group Group grade Grade hepatitis
    team Team type class section figure appendix
    """.split()
)
"""Words whose letter is no initial: "vitamin C."."""

PAIRED = frozenset(
    {"Boeing", "Flight", "flight", "Route", "route", "Highway", "highway", "Interstate", "Porsche"}
)
"""Words whose three digits are said in two: "Flight three seventy"."""
JETS = frozenset({"MAX", "Max", "jet", "jets", "aircraft", "plane", "planes", "Dreamliner"})
ALARMS = frozenset({"911", "999", "112", "988", "111", "101"})
"""Numbers of those who help."""
CODED = (
    r"\b(?:OTP|PIN|CVV|ISBN|ISSN|SSN|NID|ZIP|ID|[Pp]asscode|[Pp]assword|[Cc]ode|ending in|[Aa]cct\.?"
    r"|(?:[Aa]ccount|[Rr]eference|[Rr]ef\.|[Tt]racking|[Cc]ard|[Pp]olicy|[Ss]erial) (?:number|no\.?))"
    r"(?: (?:is|was|number))?[ :#]*$"
)
"""What stands before digits that are read one by one."""
POINTS = frozenset({"mile", "miles", "inch", "inches", "cup", "cups", "second", "seconds"})
"""What a tenth can be of; other tenths are marks."""

TIME_CUES = frozenset("at by from until till to since before after around".split())
"""Words before a time of day."""
COUNTED = frozenset("for of over than about took takes after before every in within".split())
"""Words before hours that are counted."""
DATE_CUES = frozenset(
    """
    on by due until till before after since from through thru dated starting ending starts ends expires
    between date deadline
    """.split()
)
"""Words before a day and a month in digits, 12/31."""

UNITS = {
    "km/h": ("kilometre per hour", "kilometres per hour"),
    "kph": ("kilometre per hour", "kilometres per hour"),
    "mph": ("mile per hour", "miles per hour"),
    "mpg": ("mile per gallon", "miles per gallon"),
    "psi": ("pound per square inch", "pounds per square inch"),
    "m/s²": ("metre per second squared", "metres per second squared"),
    "m/s": ("metre per second", "metres per second"),
    "rpm": ("revolution per minute", "revolutions per minute"),
    "bpm": ("beat per minute", "beats per minute"),
    "fps": ("frame per second", "frames per second"),
    "dpi": ("dot per inch", "dots per inch"),
    "°C": ("degree Celsius", "degrees Celsius"),
    "° C": ("degree Celsius", "degrees Celsius"),
    "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "° F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "℃": ("degree Celsius", "degrees Celsius"),
    "℉": ("degree Fahrenheit", "degrees Fahrenheit"),
    "°": ("degree", "degrees"),
    "%": ("percent", "percent"),
    "‰": ("per mille", "per mille"),
    "sq km": ("square kilometre", "square kilometres"),
    "sq m": ("square metre", "square metres"),
    "sq ft": ("square foot", "square feet"),
    "sq mi": ("square mile", "square miles"),
    "sq. km": ("square kilometre", "square kilometres"),
    "sq. m": ("square metre", "square metres"),
    "sq. ft": ("square foot", "square feet"),
    "sq. mi": ("square mile", "square miles"),
    "cu. ft": ("cubic foot", "cubic feet"),
    "km": ("kilometre", "kilometres"),
    "cm": ("centimetre", "centimetres"),
    "mm": ("millimetre", "millimetres"),
    "µm": ("micrometre", "micrometres"),
    "nm": ("nanometre", "nanometres"),
    "m": ("metre", "metres"),
    "mi": ("mile", "miles"),
    "yd": ("yard", "yards"),
    "ft": ("foot", "feet"),
    "in.": ("inch", "inches"),
    "kg": ("kilogram", "kilograms"),
    "mg": ("milligram", "milligrams"),
    "µg": ("microgram", "micrograms"),
    "g": ("gram", "grams"),
    "lbs": ("pound", "pounds"),
    "lb": ("pound", "pounds"),
    "oz": ("ounce", "ounces"),
    "ml": ("millilitre", "millilitres"),
    "mL": ("millilitre", "millilitres"),
    "cl": ("centilitre", "centilitres"),
    "l": ("litre", "litres"),
    "L": ("litre", "litres"),
    "ms": ("millisecond", "milliseconds"),
    "µs": ("microsecond", "microseconds"),
    "ns": ("nanosecond", "nanoseconds"),
    "sec": ("second", "seconds"),
    "secs": ("second", "seconds"),
    "s": ("second", "seconds"),
    "min": ("minute", "minutes"),
    "mins": ("minute", "minutes"),
    "hrs": ("hour", "hours"),
    "hr": ("hour", "hours"),
    "h": ("hour", "hours"),
    "yrs": ("year", "years"),
    "yr": ("year", "years"),
    "pct": ("percent", "percent"),
    "wk": ("week", "weeks"),
    "wks": ("week", "weeks"),
    "mo": ("month", "months"),
    "mos": ("month", "months"),
    "gal": ("gallon", "gallons"),
    "qt": ("quart", "quarts"),
    "kHz": ("kilohertz", "kilohertz"),
    "MHz": ("megahertz", "megahertz"),
    "GHz": ("gigahertz", "gigahertz"),
    "Hz": ("hertz", "hertz"),
    "dB": ("decibel", "decibels"),
    "kB": ("kilobyte", "kilobytes"),
    "KB": ("kilobyte", "kilobytes"),
    "MB": ("megabyte", "megabytes"),
    "GB": ("gigabyte", "gigabytes"),
    "TB": ("terabyte", "terabytes"),
    "PB": ("petabyte", "petabytes"),
    "KiB": ("kibibyte", "kibibytes"),
    "MiB": ("mebibyte", "mebibytes"),
    "GiB": ("gibibyte", "gibibytes"),
    "kbps": ("kilobit per second", "kilobits per second"),
    "Mbps": ("megabit per second", "megabits per second"),
    "Gbps": ("gigabit per second", "gigabits per second"),
    "kb/s": ("kilobit per second", "kilobits per second"),
    "Mb/s": ("megabit per second", "megabits per second"),
    "Gb/s": ("gigabit per second", "gigabits per second"),
    "Tb/s": ("terabit per second", "terabits per second"),
    "kbit/s": ("kilobit per second", "kilobits per second"),
    "Mbit/s": ("megabit per second", "megabits per second"),
    "Gbit/s": ("gigabit per second", "gigabits per second"),
    "kWh": ("kilowatt hour", "kilowatt hours"),
    "kW": ("kilowatt", "kilowatts"),
    "MW": ("megawatt", "megawatts"),
    "GW": ("gigawatt", "gigawatts"),
    "W": ("watt", "watts"),
    "mV": ("millivolt", "millivolts"),
    "kV": ("kilovolt", "kilovolts"),
    "V": ("volt", "volts"),
    "mA": ("milliampere", "milliamperes"),
    "mAh": ("milliampere hour", "milliampere hours"),
    "Ω": ("ohm", "ohms"),
    "kΩ": ("kilohm", "kilohms"),
    "kJ": ("kilojoule", "kilojoules"),
    "kcal": ("kilocalorie", "kilocalories"),
    "N": ("newton", "newtons"),
    "Pa": ("pascal", "pascals"),
    "kPa": ("kilopascal", "kilopascals"),
    "hPa": ("hectopascal", "hectopascals"),
    "dL": ("decilitre", "decilitres"),
    "dl": ("decilitre", "decilitres"),
    "mol": ("mole", "moles"),
    "tsp": ("teaspoon", "teaspoons"),
    "tbsp": ("tablespoon", "tablespoons"),
    "kg/m³": ("kilogram per cubic metre", "kilograms per cubic metre"),
    "g/L": ("gram per litre", "grams per litre"),
    "mg/L": ("milligram per litre", "milligrams per litre"),
    "lux": ("lux", "lux"),
}
"""Symbol -> one, several."""
UNITS |= {
    symbol + sign: (f"{shape} {one}", f"{shape} {several}")
    for symbol, (one, several) in [
        *[(symbol, UNITS[symbol]) for symbol in ("mm", "cm", "m", "km", "ft", "yd", "mi")],
        ("in", UNITS["in."]),
    ]
    for shape, signs in (("square", "²2"), ("cubic", "³3"))
    for sign in signs
}
UNITS |= {"㎡": UNITS["m²"], "㎥": UNITS["m³"], "㎢": UNITS["km²"], "㎠": UNITS["cm²"], "㎤": UNITS["cm³"]}
UNITS |= {symbol.replace("µ", "μ"): names for symbol, names in UNITS.items() if "µ" in symbol}
PERIODS = ("hour", "minute", "second", "day", "night", "week", "month", "year", "person")
"""What something may be per, in words."""
CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "৳": ("taka", "taka", "poisha", "poisha"),
    "₩": ("won", "won", "jeon", "jeon"),
    "₽": ("rouble", "roubles", "kopeck", "kopecks"),
    "¢": ("cent", "cents", "", ""),
    "p": ("penny", "pence", "", ""),
}
"""Sign -> one, several, a hundredth, hundredths."""
CODES = {
    "US$": ("U S ", "$"),
    "USD": ("U S ", "$"),
    "C$": ("Canadian ", "$"),
    "CAD": ("Canadian ", "$"),
    "A$": ("Australian ", "$"),
    "AUD": ("Australian ", "$"),
    "EUR": ("", "€"),
    "GBP": ("", "£"),
    "JPY": ("", "¥"),
    "INR": ("", "₹"),
    "BDT": ("", "৳"),
    "Rs.": ("", "₹"),
    "Rs": ("", "₹"),
    "Tk.": ("", "৳"),
    "Tk": ("", "৳"),
}
"""Code -> whose, sign."""
MAGNITUDES = {
    "k": "thousand",
    "K": "thousand",
    "thousand": "thousand",
    "m": "million",
    "M": "million",
    "mn": "million",
    "million": "million",
    "b": "billion",
    "B": "billion",
    "bn": "billion",
    "billion": "billion",
    "T": "trillion",
    "tn": "trillion",
    "trillion": "trillion",
    "lakh": "lakh",
    "crore": "crore",
}
SYMBOLS = {
    "℃": "degrees Celsius",
    "℉": "degrees Fahrenheit",
    "&": "and",
    "@": "at",
    "+": "plus",
    "=": "equals",
    "×": "times",
    "÷": "divided by",
    "±": "plus or minus",
    "<": "is less than",
    ">": "is greater than",
    "≤": "is less than or equal to",
    "≥": "is greater than or equal to",
    "≠": "is not equal to",
    "≈": "approximately",
    "√": "square root of",
    "∞": "infinity",
    "©": "copyright",
    "§": "section",
    "%": "percent",
    "‰": "per mille",
    "°": "degrees",
    "№": "number",
    "#": "hash",
    "−": "minus",
    "\\": "backslash",
    "µ": "micro",
    "¢": "cents",
    **{sign: names[1] for sign, names in CURRENCIES.items() if not sign.isalpha()},
}
GREEK = {
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "Δ": "delta",
    "ε": "epsilon",
    "θ": "theta",
    "λ": "lambda",
    "μ": "mu",
    "π": "pi",
    "ρ": "rho",
    "σ": "sigma",
    "Σ": "sigma",
    "τ": "tau",
    "φ": "phi",
    "ω": "omega",
    "Ω": "omega",
}
ADDRESS = {".": " dot ", "/": " slash ", "-": " dash ", "_": " underscore ", "@": " at ", ":": " colon "} | {
    "?": " question mark ",
    "=": " equals ",
    "&": " and ",
    "#": " hash ",
    "%": " percent ",
    "+": " plus ",
    "~": " tilde ",
}
