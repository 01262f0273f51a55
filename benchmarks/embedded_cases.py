"""Five realistic inputs for each pre-built signature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["CASES", "LABELS"]

_TEXTS = Path(__file__).resolve().parent.parent / "examples" / "texts"


def _text(name: str) -> str:
    return (_TEXTS / name).read_text(encoding="utf-8").strip()


_LATE = _text("email-late-delivery.txt")
_PRICES = _text("email-price-increase.txt")
_APPLICATION = _text("email-job-application.txt")
_GERMAN = _text("email-german-invoice.txt")
_MINUTES = _text("minutes-product-meeting.txt")
_QUARTER = _text("report-quarter.txt")
_OUTAGE = _text("report-outage.txt")
_COUNCIL = _text("news-street-closure.txt")
_HEADPHONES = _text("review-headphones.txt")
_HOTEL = _text("review-hotel.txt")
_BAKERY = _text("review-bakery.txt")
_WATER = _text("notice-water.txt")
_RETURNS = _text("policy-returns.txt")
_REMOTE_WORK = _text("draft-remote-work.txt")
_COVER_PAGE = _text("draft-cover-page.txt")
_SALES_CHAT = _text("chat-sales.txt")
_SUPPORT_CHAT = _text("chat-support.txt")
_SALES = _text("sales-by-month.csv")

_LAST_POSITION = "Deputy shift lead for fourteen people. We brought picking errors down from 2.1 to 0.6 percent."

#: Signature -> inputs of five executions.
CASES: dict[str, list[dict[str, Any]]] = {
    "DraftText": [
        {"topic": "Our swimming pool stays open until 10 p.m. in July", "tone": "warm", "length": "60 words"},
        {"topic": "Why a small company should answer every complaint within a day", "audience": "founders"},
        {"topic": "Notice: the elevator in house 12 is out of order until Thursday noon", "length": "two sentences"},
        {"topic": "Climate change solutions that a town can start with", "tone": "informative", "length": "120 words"},
        {"topic": "Welcome text for new members of a community garden", "tone": "cheerful", "audience": "beginners"},
    ],
    "ReviseText": [
        {"original_text": _REMOTE_WORK, "revision_goals": "Correct the grammar, Make the claims careful"},
        {
            "original_text": _COVER_PAGE,
            "revision_goals": ["Plain words", "Say what is done by whom", "Half the length"],
        },
        {"original_text": _BAKERY, "revision_goals": ["Make it sound inviting"]},
        {
            "text": "You still have not sent the signed contract. We need it by Friday or the price is gone.",
            "revision_goals": ["Friendly tone", "Keep the deadline"],
        },
        {"text": _WATER, "revision_goals": "Shorten to the essential facts\nUse a numbered list"},
    ],
    "ExpandText": [
        {"core_idea": "Renewable energy is important", "aspects_to_expand": "Economic benefits, Environmental impact"},
        {"core_idea": "A town without a bakery loses more than its bread."},
        {"text": "Children should learn to cook at school.", "aspects_to_expand": ["Health", "Independence"]},
        {"core_idea": "Every team should practice what to do in an outage", "aspects_to_expand": ["Who does what"]},
        {"text": "A second-hand bicycle is a good first bicycle for a student.", "aspects_to_expand": "Cost, Safety"},
    ],
    "RefineText": [
        {"text": _REMOTE_WORK, "criteria": ["spelling", "grammar"]},
        {"text": _COVER_PAGE, "criteria": "clarity, concision"},
        {"text": "The price have went up twice this year and nobody dont told us why."},
        {"text": "We was very happy with there service, specially the friendly driver.", "criteria": ["grammar"]},
        {
            "text": _SUPPORT_CHAT.splitlines()[0].partition(": ")[2]
            + " Its realy anoying, please do something agains it."
        },
    ],
    "CritiqueText": [
        {"text": _REMOTE_WORK, "criteria": "Clarity, Accuracy, Engagement"},
        {"text": _COVER_PAGE, "criteria": ["clarity", "evidence"]},
        {"text": _BAKERY},
        {"text": _WATER, "criteria": ["completeness", "tone"]},
        {"text": _APPLICATION, "criteria": ["persuasiveness"]},
    ],
    "SummarizeText": [
        {"document": _LATE, "max_length": "50 words"},
        {"document": _QUARTER, "max_length": "80 words"},
        {"document": _COUNCIL, "max_length": 60},
        {"text": _MINUTES},
        {"text": _GERMAN, "max_length": "30 Wörter"},
    ],
    "ExtractInfo": [
        {"document": _QUARTER, "info_types": "Revenue figures, Key personnel, Deadlines"},
        {"document": _LATE, "info_types": ["Order number", "Amount", "What the customer wants"]},
        {"document": _MINUTES, "info_types": ["Decisions", "Tasks and who does them"]},
        {"text": _WATER, "info_types": "Date, Time, Street, Phone number"},
        {"text": _PRICES, "info_types": ["Price changes", "Last day for orders at current prices", "Meeting proposed"]},
    ],
    "ClassifyText": [
        {"text": _HEADPHONES, "categories": "Positive, Negative, Neutral"},
        {"text": _HOTEL, "categories": "Positive, Negative, Neutral"},
        {"text": _LATE, "categories": ["Complaint", "Praise", "Job application", "Invoice"]},
        {"document": _APPLICATION, "categories": ["Complaint", "Praise", "Job application", "Invoice"]},
        {"document": _COUNCIL, "categories": ["Sports", "Local politics", "Technology", "Weather"]},
    ],
    "RespondToUser": [
        {"user_query": "How do I send back the lamp that I ordered last week?", "context": _RETURNS},
        {"user_message": _LATE, "context": "Order 40-7719 leaves the warehouse on October 26, delivery October 28."},
        {"user_input": "Will I have water on Wednesday at three?", "context": _WATER, "tone": "brief"},
        {"user_query": "My router loses its connection every evening. What can I do?", "tone": "calm and practical"},
        {
            "user_message": "Do you have a table for four on Saturday at seven?",
            "context": "Restaurant. Saturday is full.",
        },
    ],
    "ClarifyIntent": [
        {
            "user_input": "There is a problem with my bill",
            "possible_intents": "Wrong amount, Late payment, New address",
        },
        {"user_input": "We will come one day later", "possible_intents": ["Move a delivery", "Move a hotel booking"]},
        {"user_query": "It does not work any more"},
        {
            "user_message": "How much is it?",
            "possible_intents": ["Price of a plan", "Shipping costs", "Cost of a repair"],
        },
        {"user_input": "I want to stop", "possible_intents": ["Cancel the plan", "Pause the plan", "Stop emails"]},
    ],
    "GenerateFollowUp": [
        {"conversation": _SALES_CHAT, "goal": "Find out whether our team plan fits"},
        {"conversation": _SUPPORT_CHAT, "topic": "The router", "goal": "Find the cause"},
        {
            "conversation": [
                {"role": "user", "content": "I have started to learn the cello at fifty."},
                {"role": "assistant", "content": "How wonderful! What made you choose the cello?"},
                {"role": "user", "content": "My neighbor plays it in the evening, and I have always liked the sound."},
            ],
            "topic": "Music",
        },
        {"conversation": f"Recruiter: Tell me about your last position.\nApplicant: {_LAST_POSITION}"},
        {"conversation": f"Guest: {_HOTEL}\nManager: I am sorry that we let you down.", "goal": "Win the guest back"},
    ],
    "ResolveQuery": [
        {"query": "Can I return earbuds that I have opened?", "context": _RETURNS},
        {"query": "Until when can I order boxes at the old price?", "context": _PRICES},
        {"user_query": "Who follows Laura Pell as finance director?", "context": _QUARTER},
        {"query": "Why did the booking system fail?", "context": _OUTAGE},
        {"user_query": "What is the capital of Norway?"},
    ],
    "EmailDraft": [
        {
            "recipient": "Miriam Castell",
            "subject": "Website relaunch",
            "key_points": "Texts are finished, Photos come next week, Launch on June 3",
        },
        {
            "recipient": "Karen Whitfield",
            "subject": "Your order 40-7719",
            "key_points": ["We are sorry for the delay", "The desk is delivered on October 28", "Or we refund $429"],
            "tone": "apologetic",
        },
        {
            "recipient": "Paul Brenner",
            "subject": "Your visit on November 20",
            "key_points": "Two o'clock suits us\nPlease bring samples of size L\nWe would like the yearly discount",
        },
        {
            "recipient": "All employees",
            "subject": "Fire drill",
            "key_points": ["Thursday at 10:30", "Use the stairs", "Meet in the parking lot"],
            "tone": "brief",
        },
        {
            "recipient": "Tomasz Wrona",
            "subject": "Invitation to a trial shift",
            "key_points": ["We liked your application", "Trial shift on January 15 at 6 a.m.", "Bring safety shoes"],
        },
    ],
    "CodeGeneration": [
        {
            "task": "Return the longest word of a text",
            "language": "Python",
            "requirements": "Type hints, Docstring",
        },
        {"task": "Check whether a text reads the same backwards", "language": "JavaScript"},
        {
            "description": "The ten latest orders over 100 euros from the table orders(id, placed_on, amount)",
            "language": "SQL",
        },
        {"task": "Count the lines of every .txt file in the current folder", "language": "Bash"},
        {
            "task": "Convert degrees Celsius to Fahrenheit",
            "language": "Python",
            "requirements": ["Refuse below -273.15"],
        },
    ],
    "DataAnalysis": [
        {"data": _SALES, "question": "Do online sales make up for what the stores lose?"},
        {
            "data": [
                {"region": "North", "sales": 120, "returns": 6},
                {"region": "South", "sales": 80, "returns": 12},
                {"region": "West", "sales": 95, "returns": 5},
            ],
            "question": "Which region has most returns for its sales?",
        },
        {"data": {"2021": 410, "2022": 455, "2023": 450, "2024": 520}, "question": "How did the membership develop?"},
        {"data": _QUARTER, "question": "Why did the operating profit fall although revenue rose?"},
        {
            "data": "day,visitors\nMon,310\nTue,295\nWed,402\nThu,388\nFri,510\nSat,890\nSun,760",
            "question": "On which days does the museum need more staff?",
        },
    ],
    "ReportGeneration": [
        {"title": "Sales in the first half of the year", "data": _SALES, "sections": "Overview, Online, Stores"},
        {
            "title": "Lending in the town library in 2024",
            "data": {"loans": 48210, "readers": 3920, "most borrowed": "crime novels", "new books": 1150},
            "sections": ["Overview", "Books"],
        },
        {"topic": "Outage of the booking system", "data": _OUTAGE, "sections": ["What happened", "What changes"]},
        {"title": "Guest feedback in August", "data": [_HOTEL, "Lovely beach, friendly bar.", "Room too loud."]},
        {
            "topic": "Solar panels on the school roof",
            "data": "Order placed on May 6. 84 panels. Cost 61,000 euros. First power in August.",
        },
    ],
}

#: What a person would answer to the five texts of ClassifyText, in order.
LABELS = ["Positive", "Negative", "Complaint", "Job application", "Local politics"]
