"""What is suggested for a name that is not there."""

import pytest

from serving.near import Neighbours

GROCER = [
    "FLUID MILK WHITE ONLY",
    "CIG LIGHTERS/LTR FLUID/PIPES",
    "BANANAS",
    "GROUND COFFEE",
    "Straße",
    "上海青",
]
SKUS = [f"SKU-{number:05d}" for number in range(20_000)]
MANY = Neighbours(SKUS + GROCER)


@pytest.fixture(params=["few", "many"])
def near(request):
    return (Neighbours(GROCER) if request.param == "few" else MANY).near


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("fluid milk", "FLUID MILK WHITE ONLY"),
        ("Milk, fluid", "FLUID MILK WHITE ONLY"),
        ("flüid milk white only", "FLUID MILK WHITE ONLY"),
        ("banana", "BANANAS"),
        ("xananas", "BANANAS"),
        ("ground cofee", "GROUND COFFEE"),
        ("STRASSE", "Straße"),
        ("上海", "上海青"),
    ],
)
def test_what_was_meant_comes_first(near, asked, meant):
    assert near(asked)[0] == meant


@pytest.mark.parametrize("asked", ["nosuch", "zzzqqq", "", " ", "-", "/", "q" * 200])
def test_nothing_is_said_when_nothing_is_near(near, asked):
    assert near(asked) == []


def test_typing_errors_among_many_names():
    for asked in ("SKU-1234S", "SKV-12345", "KU-12345", "SKU12345", "sku-12345"):
        found = MANY.near(asked)
        assert len(found) <= 3
        assert any(name.startswith("SKU-1234") for name in found), asked


def test_a_question_compares_few_of_many_names(monkeypatch):
    import difflib

    compared = []
    original = difflib.SequenceMatcher.set_seq1
    monkeypatch.setattr(
        difflib.SequenceMatcher, "set_seq1", lambda self, name: (compared.append(name), original(self, name))
    )
    MANY.near("SKU-0O012 " + "SKU" * 60)
    MANY.near("sku")
    assert 0 < len(compared) <= 600
