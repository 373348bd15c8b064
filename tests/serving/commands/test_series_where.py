"""Lists of series by their static labels, from a real server process."""

import json

import pytest

from forecast.cli.main import run


@pytest.mark.parametrize(("where", "n"), [("category=food", 12), ("category=toys", 0)])
def test_labels_narrow_the_list(server, capsys, where, n):
    assert run(["series", "list", "--where", where, "--address", server.address, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["series"]) == n


def test_an_unknown_label_is_named(server, capsys):
    assert run(["series", "list", "--where", "colour=red", "--address", server.address]) == 1
    assert "filter.labels[0].name: expected one of category, found 'colour'" in capsys.readouterr().err
