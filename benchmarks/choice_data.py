"""Five data sets for ``optimize_choice.py``: texts with a label, some to learn from and some that are kept apart.

- ``docstrings``: first sentences of the documentation of functions in Python's own library; the label is what the
  module is about. Real texts, there wherever Python is.
- ``tickets``: messages to a help desk, written by hand; the label is the queue that answers them.
- ``invoices``: business letters with amounts and dates, made out of parts; the label is the kind of letter.
- ``synopses``: what a film is about, made out of parts; the label is the genre.
- ``feedback``: remarks on a delivery, made out of parts; the label is what the remark is about.

No text is in both parts. Texts that are made out of parts have a sentence beside them that says nothing of the label.
"""

from __future__ import annotations

import importlib
import inspect
import random
import re
from collections.abc import Callable, Mapping

__all__ = ["DATA_SETS", "Pairs", "make"]

Pairs = list[tuple[str, str]]

_MODULES = {
    "files": ["os.path", "shutil", "pathlib", "tempfile", "zipfile", "tarfile", "glob", "filecmp", "fileinput", "gzip"],
    "network": [
        "socket",
        "ssl",
        "ftplib",
        "smtplib",
        "poplib",
        "imaplib",
        "http.client",
        "urllib.request",
        "socketserver",
    ],
    "numbers": ["statistics", "decimal", "fractions", "random", "datetime", "calendar", "math", "numbers"],
    "text": ["textwrap", "difflib", "string", "html.parser", "email.message", "csv", "json", "configparser", "shlex"],
}

_TICKETS = {
    "billing": [
        "I was charged twice for the same month.",
        "The invoice shows the old company name.",
        "Please tell me why the price went up.",
        "My card was declined although there is money on it.",
        "I cancelled in March and you still take money.",
        "The discount code was not taken off the total.",
        "We need the VAT number on the receipt.",
        "Can I pay by bank transfer instead?",
        "When will I get my money back?",
        "The amount on the statement is not what we agreed on.",
        "I would like to change from monthly to yearly payment.",
        "You have sent a reminder for a bill that is paid.",
        "Which of these two charges is the deposit?",
        "Our accountant needs a copy of last year's bills.",
        "The refund is four euros short.",
        "Why is there a fee for paying late? I paid on time.",
    ],
    "access": [
        "I cannot log in since this morning.",
        "The link to reset my password has expired.",
        "My account is locked after three tries.",
        "The code for the second factor never arrives.",
        "A colleague has left, please remove her login.",
        "I do not see the folder that was shared with me.",
        "It says that I have no permission to open the page.",
        "How do I change the mail address that I sign in with?",
        "Our new trainee needs a user name.",
        "I am signed out every few minutes.",
        "The single sign-on sends me in a circle.",
        "Please make me an administrator of our team.",
        "I have forgotten the answer to the security question.",
        "My phone with the authenticator is lost.",
        "The invitation that you sent does not open.",
        "A stranger seems to be using my account.",
    ],
    "fault": [
        "The app closes as soon as I open the map.",
        "Export to a spreadsheet gives an empty file.",
        "The page stays white after the last update.",
        "Search finds nothing, not even what I typed a minute ago.",
        "Pictures are uploaded upside down.",
        "The clock in the report is an hour off.",
        "Nothing happens when I press save.",
        "Umlauts turn into question marks in the mail.",
        "Since Tuesday the sync has been stuck at ninety percent.",
        "The printer driver crashes with the second page.",
        "Totals in the table do not add up.",
        "A red message says internal error 500.",
        "The mobile version shows every entry twice.",
        "Scrolling is so slow that I cannot work.",
        "The backup ran, but the archive cannot be read.",
        "Sound is missing in all recordings of today.",
    ],
    "wish": [
        "It would be nice to have a dark mode.",
        "Could you add a button to copy a whole row?",
        "Please support the Danish language.",
        "We would love to see a calendar view.",
        "Is there a plan for an offline version?",
        "An undo for deleted notes would help a lot.",
        "Let us choose the colours of the charts.",
        "Keyboard shortcuts would save me hours.",
        "I suggest that reports can be sent every Monday.",
        "Why not show the weather beside the route?",
        "Could the list be sorted by name as well?",
        "A connection to our chat program would be great.",
        "Please let me hide the columns that I never use.",
        "It would help to tag several files at once.",
        "Larger letters on the start page, please.",
        "How about a yearly overview on one page?",
    ],
}
_OPENINGS = ["", "Hello, ", "Good morning. ", "Dear team, ", "Hi! ", "Once again: "]
_CLOSINGS = [
    "Thanks, Ida",
    "Regards, T. Weber",
    "Please answer soon.",
    "Customer 20417",
    "Sent from my phone",
    "Bye, Jo",
]
_LETTER_ENDS = ["Kind regards, the bookkeeping.", "Tax number 12/345.", "Please keep this letter.", "Page 1 of 1."]
_FILM_ENDS = ["With a score by Lund.", "First film of a young director.", "Shot in black and white.", "124 minutes."]
_REMARK_ENDS = ["It was a present for my sister.", "That is all.", "My neighbour has one, too.", "Bought it in May."]

_FIRMS = ["Brandt Tools", "Oak & Sons", "Nordlicht GmbH", "Casa Verde", "Miller Paper", "Alpha Freight", "Lund Optics"]
_LETTERS = {
    "invoice": [
        "For the goods delivered on {day} we charge {sum} euros, payable within 30 days.",
        "Please transfer {sum} euros for {count} hours of work until {day}.",
        "Amount due: {sum} euros. Due date: {day}. Thank you for your order of {count} pieces.",
        "We bill {count} units at the agreed price, in total {sum} euros, due on {day}.",
        "Rent of the hall on {day}: {sum} euros. Our bank details are below.",
        "Service contract, quarter {quarter}: {sum} euros, to be paid by {day}.",
        "Your share of the costs comes to {sum} euros. Kindly pay until {day}.",
        "Order of {day}: {count} boxes, {sum} euros including tax, payable now.",
    ],
    "reminder": [
        "Our bill of {day} over {sum} euros is still open. Please pay within a week.",
        "We have not received your payment of {sum} euros, which was due on {day}.",
        "Second notice: {sum} euros are overdue since {day}. A fee of 5 euros was added.",
        "May we point out that {sum} euros have been outstanding since {day}?",
        "Last warning before legal steps: {sum} euros, due on {day}, remain unpaid.",
        "It may have escaped you that our claim of {day}, {sum} euros, was not settled.",
        "Your account is {count} days in arrears with {sum} euros.",
        "Despite our letter of {day} no payment has arrived. {sum} euros are owed.",
    ],
    "credit note": [
        "We refund {sum} euros for the {count} pieces that you returned on {day}.",
        "Because of the damage reported on {day} we credit your account with {sum} euros.",
        "Correction of our bill of {day}: {sum} euros in your favour.",
        "You have paid {sum} euros too much. The amount goes back to you by {day}.",
        "The deposit of {sum} euros for {count} crates is returned to you.",
        "Bonus for the year: {sum} euros are taken off your next bill.",
        "As agreed on {day} we grant a rebate of {sum} euros afterwards.",
        "Cancelled order of {day}: we give back {sum} euros.",
    ],
    "receipt": [
        "Received with thanks: {sum} euros in cash on {day}.",
        "We confirm that your payment of {sum} euros arrived on {day}.",
        "Paid by card on {day}: {count} tickets, {sum} euros. Keep this slip.",
        "Your transfer of {sum} euros was booked on {day}. Nothing is left to pay.",
        "Cash desk 3, {day}: {count} items, total {sum} euros, paid.",
        "Thank you for paying our bill of {day} over {sum} euros so quickly.",
        "Donation of {sum} euros received on {day}. This letter is for your tax office.",
        "With the last instalment of {sum} euros on {day} the purchase is fully paid.",
    ],
}

_PLACES = ["a harbour town", "the mountains", "a small village", "the capital", "an island", "a border post", "a hotel"]
_PEOPLE = ["a widow", "two brothers", "a retired teacher", "a young doctor", "a cook", "a stranger", "a pilot"]
_PLOTS = {
    "crime": [
        "In {place}, {who} finds a body in the cellar, and every neighbour has a motive.",
        "{who} must prove an alibi for the night when the jeweller of {place} was shot.",
        "A bag of stolen banknotes turns up in {place}, and {who} wants to keep it.",
        "The inspector suspects {who}, but the fingerprints from {place} tell another tale.",
        "{who} plans one last robbery in {place}. The driver talks to the police.",
        "Poison in the wine: {who} has until dawn to name the murderer in {place}.",
        "A witness disappears from {place}, and {who} follows the trail of the blackmailer.",
        "The judge of {place} is threatened, and {who} discovers who pays the gang.",
    ],
    "romance": [
        "{who} comes to {place} for a wedding and falls for the best man.",
        "After twenty years {who} meets a first love again in {place}.",
        "Letters meant for a neighbour make {who} lose their heart in {place}.",
        "{who} has sworn never to marry, until a summer in {place} changes everything.",
        "They dance once in {place}, then {who} searches a year for those eyes.",
        "A wrong train takes {who} to {place}, into the arms of a shy baker.",
        "{who} pretends to be engaged in {place}, and the pretence becomes a kiss.",
        "Separated by their families, {who} and the gardener elope from {place}.",
    ],
    "science fiction": [
        "The year is 2190. {who} wakes from cold sleep and {place} is under a dome.",
        "A signal from another star reaches {place}, and only {who} can read it.",
        "{who} builds a machine in {place} that runs an hour ahead of time.",
        "Robots have taken over {place}; {who} is the last human who repairs them.",
        "Gravity fails over {place} every Thursday, and {who} finds out why.",
        "{who} trades memories with a clone, and both want the life in {place}.",
        "The colony ship lands near {place}, and {who} speaks to what grows there.",
        "An android that looks like {who} is seen in {place} before it is built.",
    ],
    "western": [
        "{who} rides into {place} with a silver star and one bullet left.",
        "Cattle thieves burn the ranch near {place}, and {who} saddles a horse.",
        "The railway wants the land around {place}; {who} loads the rifle.",
        "A gold rush empties {place}, and {who} guards the saloon alone.",
        "{who} was hanged in {place}, they say, but the outlaw is back at high noon.",
        "The stagecoach to {place} carries {who}, a banker, and a man in irons.",
        "{who} brings a herd through the desert to {place}, with bandits behind.",
        "In {place} the sheriff is afraid, so {who} draws first.",
    ],
}

_PRODUCTS = ["the kettle", "the lamp", "the tent", "the headphones", "the chair", "the blender", "the rucksack"]
_REMARKS = {
    "price": [
        "For that money I had expected more of {item}.",
        "I saw {item} for half as much elsewhere.",
        "{item} is a bargain, I would have paid double.",
        "Far too dear for what {item} is.",
        "They wanted extra for the lid of {item}, what a rip-off.",
        "{item} was on sale, so I got two.",
        "Cheap and cheerful, {item} is worth every cent.",
        "After the discount {item} cost next to nothing.",
    ],
    "delivery": [
        "{item} came three weeks late.",
        "The parcel with {item} was left in the rain.",
        "I ordered {item} on Monday and had it on Tuesday.",
        "The courier brought {item} to the wrong street.",
        "{item} arrived with a torn box.",
        "Tracking said that {item} was delivered, but the porch was empty.",
        "{item} was at the door before breakfast.",
        "Half of the shipment is missing, only {item} got here.",
    ],
    "quality": [
        "{item} broke on the second day.",
        "The seams of {item} are coming apart.",
        "{item} feels solid and looks like new after a year.",
        "A screw of {item} is rusty already.",
        "The handle of {item} wobbles.",
        "{item} works quietly and does what it should.",
        "The colour of {item} faded in the sun.",
        "Best made thing I own, {item} will outlive me.",
    ],
    "service": [
        "The lady on the phone explained {item} with great patience.",
        "They do not answer my mails about {item}.",
        "I waited forty minutes in the line to ask about {item}.",
        "The clerk replaced {item} without a single question.",
        "They were rude when I asked for a spare part of {item}.",
        "A technician called back within the hour about {item}.",
        "The chat robot did not understand what I wanted with {item}.",
        "The shop assistant helped me to set up {item}.",
    ],
}


def _docstrings(rng: random.Random) -> dict[str, list[str]]:
    """Return first sentences by the subject of their module; names of functions are not in them."""
    found: dict[str, list[str]] = {}
    for label, modules in _MODULES.items():
        sentences = set()
        for name in modules:
            module = importlib.import_module(name)
            for owner in [module, *(item for _, item in inspect.getmembers(module, inspect.isclass))]:
                if not getattr(owner, "__module__", name).startswith(name.partition(".")[0]):
                    continue
                for member, item in inspect.getmembers(owner, inspect.isroutine):
                    text = re.split(r"(?<=\.)\s|\n\n", inspect.getdoc(item) or "", maxsplit=1)[0].replace("\n", " ")
                    if 30 <= len(text) <= 160 and "->" not in text and member.strip("_") not in text:
                        sentences.add(text)
        common = {text for other, texts in found.items() if other != label for text in texts}
        found[label] = sorted(sentences - common)
        rng.shuffle(found[label])
    return found


def _made(rng: random.Random, patterns: Mapping[str, list[str]], fill: Callable[[str], str]) -> dict[str, list[str]]:
    """Return different texts by label, made out of its patterns."""
    return {
        label: rng.sample(made := list(dict.fromkeys(fill(rng.choice(texts)) for _ in range(400))), len(made))
        for label, texts in patterns.items()
    }


def _tickets(rng: random.Random) -> dict[str, list[str]]:
    return _made(rng, _TICKETS, lambda text: f"{rng.choice(_OPENINGS)}{text} {rng.choice(_CLOSINGS)}")


def _invoices(rng: random.Random) -> dict[str, list[str]]:
    def fill(text: str) -> str:
        body = text.format(
            day=f"{rng.randint(1, 28)}.{rng.randint(1, 12)}.{rng.randint(2021, 2026)}",
            sum=f"{rng.randint(20, 9000)}.{rng.randint(0, 99):02}",
            count=rng.randint(2, 90),
            quarter=rng.randint(1, 4),
        )
        return f"{rng.choice(_FIRMS)}: {body} {rng.choice(_LETTER_ENDS)}"

    return _made(rng, _LETTERS, fill)


def _synopses(rng: random.Random) -> dict[str, list[str]]:
    def fill(text: str) -> str:
        filled = text.format(place=rng.choice(_PLACES), who=rng.choice(_PEOPLE))
        return f"{filled[0].upper()}{filled[1:]} {rng.choice(_FILM_ENDS)}"

    return _made(rng, _PLOTS, fill)


def _feedback(rng: random.Random) -> dict[str, list[str]]:
    def fill(text: str) -> str:
        filled = text.format(item=rng.choice(_PRODUCTS))
        return f"{filled[0].upper()}{filled[1:]} {rng.choice(_REMARK_ENDS)}"

    return _made(rng, _REMARKS, fill)


DATA_SETS: Mapping[str, Callable[[random.Random], dict[str, list[str]]]] = {
    "docstrings": _docstrings,
    "tickets": _tickets,
    "invoices": _invoices,
    "synopses": _synopses,
    "feedback": _feedback,
}


def make(name: str, *, examples: int, apart: int, seed: int) -> tuple[Pairs, Pairs]:
    """Return pairs of text and label: balanced ones to learn from, and others that are kept apart.

    Args:
        name: name of the data set.
        examples: how many to learn from, over all labels.
        apart: how many are kept apart.
        seed: of the draw.
    """
    rng = random.Random(f"{name} {seed}")
    learned: Pairs = []
    kept: Pairs = []
    for label, texts in DATA_SETS[name](rng).items():
        count = min(examples // 4, len(texts) // 2)
        learned += [(text, label) for text in texts[:count]]
        kept += [(text, label) for text in texts[count : count + apart // 4]]
    rng.shuffle(learned)
    rng.shuffle(kept)
    return learned, kept
