"""Pictures, sounds, files and conversations as inputs: what is taken, what is sent, and what is kept of them."""

from __future__ import annotations

import base64
import io
import json
import logging
from pathlib import Path
from typing import Any, Literal

import attrs
import dspy
import pydantic
import pytest
from PIL import Image as Pillow

from hokusai_core import BaseSignature, Executor, InputField, OutputField, SignatureSpec
from hokusai_core.dspy_bridge.null_lm import null_lm
from hokusai_core.errors import ExecutionError, InputError, SignatureDefinitionError
from hokusai_core.json_encoding import canonical_json, jsonable
from hokusai_core.signatures import FieldSpec
from hokusai_core.signatures.lenient_input import CoercionError
from hokusai_core.testing.listening import ListeningTracker


def picture(form: str = "PNG", size: int = 4, color: str = "red") -> bytes:
    target = io.BytesIO()
    Pillow.new("RGB", (size, size), color).save(target, form)
    return target.getvalue()


PNG = picture()
PNG_TEXT = base64.b64encode(PNG).decode()
PNG_URI = f"data:image/png;base64,{PNG_TEXT}"
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(20)
PDF = b"%PDF-1.4\n%%EOF"


class Describe(BaseSignature):
    """Describe the picture."""

    picture: dspy.Image = InputField("The picture")
    detail: str = InputField(default="short")
    caption: str = OutputField()


class Compare(BaseSignature):
    """Compare them."""

    pictures: list[dspy.Image] = InputField(max_length=3)
    sound: dspy.Audio | None = InputField(default=None)
    paper: dspy.File | None = InputField(default=None)
    verdict: str = OutputField()


class Chat(BaseSignature):
    """Go on."""

    question: str = InputField()
    history: dspy.History = InputField(required=False, default=dspy.History(messages=[]))
    answer: str = OutputField()


def executor_with(lm: Any, **options: Any) -> Executor:
    return Executor(lm=lm, plugins=[], trackers=options.pop("trackers", []), environ={}, **options)


def sent_parts(lm: Any) -> list[Any]:
    return [part for message in lm.engine.requests[-1].messages for part in message.parts]


@pytest.mark.parametrize("form", ["path", "bytes", "uri", "pillow", "dspy", "mapping"])
def test_every_form_of_a_picture_is_sent_as_its_bytes(form: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(PNG)
    given = {
        "path": path, "bytes": PNG, "uri": PNG_URI, "pillow": Pillow.open(io.BytesIO(PNG)),
        "dspy": dspy.Image(PNG_URI), "mapping": {"url": PNG_URI},
    }[form]  # fmt: skip
    lm = null_lm(keep_requests=True)
    with executor_with(lm) as executor:
        shown = executor.render(Describe, {"picture": given})
        assert executor.execute_signature(Describe, {"picture": given})["caption"]
    assert lm.engine.requests == [shown]
    (image,) = [part for part in sent_parts(lm) if part.type == "image"]
    assert image.media_type == "image/png"
    data = base64.b64decode(image.data)
    assert data == PNG or form == "pillow"
    assert Pillow.open(io.BytesIO(data)).getpixel((0, 0)) == (255, 0, 0)


def test_lists_sounds_and_files_are_sent(tmp_path: Path) -> None:
    for name, data in {"a.png": PNG, "b.jpg": picture("JPEG"), "s.wav": WAV, "p.pdf": PDF}.items():
        (tmp_path / name).write_bytes(data)
    lm = null_lm(keep_requests=True)
    with executor_with(lm) as executor:
        executor.execute_signature(
            Compare,
            {"pictures": [tmp_path / "a.png", tmp_path / "b.jpg"], "sound": tmp_path / "s.wav",
             "paper": tmp_path / "p.pdf"},
        )  # fmt: skip
        parts = [part for part in sent_parts(lm) if part.type != "text"]
        assert [part.media_type for part in parts] == ["image/png", "image/jpeg", "audio/wav", "application/pdf"]
        assert base64.b64decode(parts[2].data) == WAV
        assert base64.b64decode(parts[3].data) == PDF
        executor.execute_signature(Compare, {"pictures": tmp_path / "a.png"})  # one picture is a list of one
        with pytest.raises(InputError, match="at most 3 items"):
            executor.execute_signature(Compare, {"pictures": [PNG] * 4})


BAD: dict[str, tuple[Any, str]] = {
    "a text": ("photo.png", "pathlib.Path"),
    "a path that is not there": (Path("/nowhere.png"), "names no file"),
    "a folder": (Path("/"), "names no file"),
    "no picture": (b"hello", "its type is not known; expected image"),
    "another kind of file": (PDF, "application/pdf; expected image"),
    "damaged base64": ("data:image/png;base64,%%%", "base64"),
    "other bytes than said": (f"data:image/jpeg;base64,{PNG_TEXT}", "says that it is image/jpeg, and its bytes are"),
    "bytes of no picture": ("data:image/png;base64,aGVsbG8=", "bytes are no picture"),
    "vector graphics": ("data:image/svg+xml;base64,PHN2Zz4=", "no picture of one of the types image/png"),
    "a digest": ({"media": "image", "type": "image/png", "bytes": 3, "sha256": "ab"}, "only the digest"),
    "a sound": (WAV, "audio/wav; expected image"),
    "a URL": ("https://example.com/a.png", "media_urls"),
    "a number": (3, "expected a dspy.Image"),
    "empty": (b"", "not known"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_sent_is_refused_before_a_call(case: str) -> None:
    value, message = BAD[case]
    lm = null_lm()
    with executor_with(lm) as executor, pytest.raises(InputError, match="picture") as caught:
        executor.execute_signature(Describe, {"picture": value})
    assert message in str(caught.value)
    assert lm.engine.calls == 0
    assert PNG_TEXT not in str(caught.value)


def test_a_picture_of_60_mb_is_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(60 * 2**20)
    lm = null_lm()
    with executor_with(lm) as executor:
        with pytest.raises(InputError, match=r"media_bytes=.*HOKUSAI_MEDIA_BYTES"):
            executor.execute_signature(Describe, {"picture": path})
        with pytest.raises(InputError, match=r"more than the 20\.0 MB"):
            executor.execute_signature(Describe, {"picture": PNG + bytes(21 * 2**20)})
    assert lm.engine.calls == 0
    with executor_with(lm, media_bytes=len(PNG) - 1) as executor, pytest.raises(InputError, match="media_bytes"):
        executor.execute_signature(Describe, {"picture": PNG})


def test_a_url_is_handed_on_only_where_that_is_allowed() -> None:
    lm = null_lm(keep_requests=True)
    url = "https://example.com/a.png?signature=s3cret"
    with executor_with(lm, media_urls=True) as executor:
        executor.execute_signature(Describe, {"picture": url})
    (image,) = [part for part in sent_parts(lm) if part.type == "image"]
    assert image.url == url
    assert "s3cret" not in json.dumps(jsonable({"picture": dspy.Image(url)}))
    with executor_with(lm) as executor, pytest.raises(InputError, match="HOKUSAI_MEDIA_URLS"):
        executor.execute_signature(Describe, {"picture": dspy.Image(url)})


def test_keys_and_records_hold_the_digest() -> None:
    record = jsonable({"picture": dspy.Image(PNG_URI)})["picture"]
    assert record == {"media": "image", "type": "image/png", "bytes": len(PNG), "sha256": record["sha256"]}
    assert len(canonical_json({"picture": dspy.Image(PNG_URI)})) < 200
    with pytest.raises(CoercionError, match="only the digest"):
        Describe.spec.inputs["picture"].coerce(record)


def test_the_same_picture_is_answered_from_the_cache_and_another_is_not(tmp_path: Path) -> None:
    lm = null_lm()
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    with executor_with(lm) as executor:
        executor.execute_signature(Describe, {"picture": path})
        assert executor.execute_signature(Describe, {"picture": PNG}).cached == "memory"
        path.write_bytes(picture(color="blue"))
        assert executor.execute_signature(Describe, {"picture": path}).cached is None
    assert lm.engine.calls == 2


def test_a_batch_continues_with_pictures_and_its_journal_holds_none(tmp_path: Path) -> None:
    rows = [{"picture": picture(color=color)} for color in ("red", "green", "blue")]
    lm = null_lm()
    journal = tmp_path / "journal"
    with executor_with(lm, cache_enabled=False) as executor:
        first = executor.execute_batch(Describe, rows, journal=journal)
        again = executor.execute_batch(Describe, rows, journal=journal)
    assert not first.failed
    assert [dict(row) for row in again] == [dict(row) for row in first]
    assert lm.engine.calls == 3
    assert PNG_TEXT[:60] not in journal.read_text("utf-8")


def test_nothing_of_a_picture_gets_into_records_logs_and_errors(caplog: pytest.LogCaptureFixture) -> None:
    listening = ListeningTracker(wants_exchanges=True)
    caplog.set_level(logging.DEBUG)
    lm = null_lm()
    with executor_with(lm, trackers={"listening": listening}, mode="development") as executor:
        result = executor.execute_signature(Describe, {"picture": PNG})
    assert PNG_TEXT[:40] not in repr(result) + caplog.text + repr(result.trace)
    events = repr(vars(listening)) + json.dumps(jsonable({"inputs": {"picture": dspy.Image(PNG_URI)}}))
    assert PNG_TEXT[:40] not in events

    def refuse(_: str) -> str:
        raise ValueError(f"the provider cannot read {PNG_URI}")

    with executor_with(null_lm(raw=refuse)) as executor, pytest.raises(ExecutionError) as caught:
        executor.execute_signature(Describe, {"picture": PNG})
    shown = "".join(map(str, (caught.value, repr(caught.value.__cause__), repr(caught.value.__context__))))
    assert PNG_TEXT[:40] not in shown


def test_demos_with_pictures_are_data_and_come_back() -> None:
    demo = {"picture": dspy.Image(PNG_URI), "detail": "short", "caption": "Red."}
    spec = Describe.spec.evolve(demos=(demo,))
    data = json.loads(json.dumps(spec.to_dict()))
    again = SignatureSpec.from_dict(data)
    assert again.fingerprint == spec.fingerprint
    assert again.demos == spec.demos
    assert again.to_dict() == data
    lm = null_lm(keep_requests=True)
    with executor_with(lm) as executor:
        executor.execute_signature(BaseSignature.from_spec(again), {"picture": picture(color="blue")})
    assert [base64.b64decode(part.data) for part in sent_parts(lm) if part.type == "image"] == [
        PNG, picture(color="blue")
    ]  # fmt: skip


def test_a_conversation_comes_back_from_its_json_form_and_is_sent_as_turns() -> None:
    field = Chat.spec.inputs["history"]
    turns = [{"question": "Who?", "answer": "Ann"}, {"question": "Where?", "answer": "Rome"}]
    value = field.coerce(turns)
    assert isinstance(value, dspy.History)
    assert jsonable(value) == {"messages": turns}
    assert field.coerce(jsonable(value)) == value == field.coerce(json.dumps(turns) and turns)
    spec = Chat.spec
    assert SignatureSpec.from_dict(json.loads(json.dumps(spec.to_dict()))).fingerprint == spec.fingerprint
    lm = null_lm(keep_requests=True)
    with executor_with(lm) as executor:
        executor.execute_signature(Chat, {"question": "Why?", "history": turns})
        assert [message.role for message in lm.engine.requests[0].messages] == [
            "user", "assistant", "user", "assistant", "user"
        ]  # fmt: skip
        executor.execute_signature(Chat, {"question": "Why?"})
        assert [message.role for message in lm.engine.requests[1].messages] == ["user"]
        assert executor.execute_signature(Chat, {"question": "Why?", "history": turns}).cached == "memory"
        with pytest.raises(InputError, match="a list of messages"):
            executor.execute_signature(Chat, {"question": "Why?", "history": "Who?"})


class Event(dspy.Type):  # type: ignore[misc]  # DSPy: Any
    """A type of another module."""

    name: str

    def format(self) -> list[dict[str, Any]]:
        return [{"type": "text", "text": f"Event {self.name}"}]


class Report(BaseSignature):
    """Report it."""

    event: Event = InputField()
    report: str = OutputField()


def test_types_of_other_modules_work_in_process_and_are_refused_as_data(tmp_path: Path) -> None:
    lm = null_lm(keep_requests=True)
    with executor_with(lm) as executor:
        event = Event(name="launch")
        assert executor.execute_signature(Report, {"event": event})["report"]
        assert "Event launch" in str(sent_parts(lm))
        with pytest.warns(UserWarning, match="have no JSON form"):
            executor.execute_batch(Report, [{"event": event}], journal=tmp_path / "journal")
    with pytest.raises(SignatureDefinitionError, match="Event has serializers of its own"):
        Report.spec.to_dict()


@attrs.frozen
class Page:
    scan: dspy.Image


class Scan(pydantic.BaseModel):
    scan: dspy.Image


@pytest.mark.parametrize(
    ("annotation", "role", "message"),
    [
        (dspy.Image, "output", "a language model answers in text"),
        (list[dspy.Audio], "output", "a language model answers in text"),
        (dspy.History, "output", "a language model answers in text"),
        (Page, "input", "inputs of their own"),
        (Scan, "input", "inputs of their own"),
        (dspy.Image | str, "input", "a union with None only"),
        (dspy.History | None, "input", "required=False"),
        (set[dspy.Image], "input", "items of a set are scalars"),
        (dict[dspy.Image, str], "input", "as dict key"),
    ],
)
def test_media_elsewhere_are_refused_at_definition(
    annotation: Any, role: Literal["input", "output"], message: str
) -> None:
    fields = (FieldSpec("a", role, annotation), FieldSpec("b", "output"))
    with pytest.raises(SignatureDefinitionError, match=message):
        SignatureSpec("S", "Do.", fields).check()
