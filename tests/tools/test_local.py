"""The loop end to end on the real local host: two real models and real tools."""

import pytest

from kimikit.tools import run, samples, tool
from kimikit.wire.client import Client


@pytest.fixture(scope="module")
def client(local_host):
    where = {"base_url": local_host.base_url, "model": local_host.model}
    with Client("local", api_key=local_host.api_key, **where) as made:
        yield made


@tool
def get_weather(city: str) -> dict:
    """Weather in a city."""
    return {"city": city, "celsius": {"lagos": 31, "paris": 12}.get(city.lower())}


def called(done):
    return [(r.call.name, r.failed) for s in done.steps for r in s.results]


def test_two_cities_are_asked_about_and_the_answer_comes_from_the_data(client):
    question = "Weather in Lagos and Paris?"
    done = run(client, question, [get_weather])
    assert called(done) == [("get_weather", "")] * 2
    cities = {r.value["city"].lower() for r in done.steps[0].results}
    assert cities == {"lagos", "paris"}
    assert done.stop_reason == "done"
    assert "31" in done.text or "12" in done.text
    assert "local stand-in, not Kimi" in repr(done)


def test_arithmetic_is_calculated(client):
    done = run(client, "What is 17*23?", [samples.calculator])
    assert ("calculator", "") in called(done)
    assert "391" in [r.text for s in done.steps for r in s.results]
    assert "391" in done.text


def test_a_question_on_a_csv_file_is_answered(client, tmp_path):
    path = tmp_path / "cities.csv"
    path.write_text("city,population\nLagos,15\nParis,2\nOslo,1\n")

    @tool
    def count_rows(table: str) -> int:
        """Count the rows of a table."""
        return samples.table(path)(sql=f"SELECT count(*) AS n FROM {table}")[0]["n"]

    done = run(client, "How many rows has the table data?", [count_rows])
    assert ("count_rows", "") in called(done)
    assert "3" in done.text
