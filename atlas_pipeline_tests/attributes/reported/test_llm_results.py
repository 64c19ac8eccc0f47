"""A service on this machine that speaks chat completions: what is asked, what is believed, what if it fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from atlas_pipeline.attributes.reported import llm_results
from atlas_pipeline.attributes.reported.benchmark_names import load_names
from atlas_pipeline.attributes.reported.llm_results import (
    LLM_SCHEMA,
    LanguageModel,
    LlmError,
    ask_for_results,
    benchmark_and_number,
    language_model,
)

NAMES = load_names()
KEY = "sk-very-secret-key"
CARD = "Otter-7B reaches 64.20 on MMLU and 81.5% on Hella-Swag; Badger has 70.1. Trained for 3 epochs."

Reply = str | int | bytes


@dataclass
class Service:
    """What it was asked, and what it answers to a card's text: content, an HTTP status, or raw bytes."""

    url: str = ""
    reply: Callable[[str], Reply] = lambda _: '{"results": []}'
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)

    def model(self, **options: Any) -> LanguageModel:
        return LanguageModel(self.url, "reader", **{"timeout_s": 5.0, "wait_s": 0.0, **options})


@pytest.fixture
def service(monkeypatch) -> Iterator[Service]:
    told = Service()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.asked.append({"path": self.path, **body})
            told.keys.append(self.headers.get("Authorization"))
            reply = told.reply(body["messages"][-1]["content"])
            status = reply if isinstance(reply, int) else 200
            if isinstance(reply, str):
                reply = {
                    "choices": [
                        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": reply}}
                    ]
                }
            if isinstance(reply, int):
                reply = {"error": f"refused, key was {KEY}"}
            content = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_):
            """Who does not wait for the answer is no error here."""

    server = Server(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


def answer(*results: object) -> str:
    return json.dumps({"results": list(results)})


def result(benchmark: object, value: object, metric: object = None) -> dict:
    return {"benchmark": benchmark, "metric": metric, "value": value}


def asked(service: Service, *cards: str, **options: Any) -> list[dict]:
    rows = ask_for_results([(f"org/{i}", card) for i, card in enumerate(cards)], service.model(**options), NAMES)
    assert rows.schema == LLM_SCHEMA
    return rows.to_pylist()


def problems(rows: list[dict]) -> list[tuple[str, str | None]]:
    return [(row["model_id"], row["problem"]) for row in rows]


def test_it_is_asked_as_chat_completions_are(service):
    service.reply = lambda _: answer(result("MMLU", 64.2, "accuracy"))
    assert asked(service, CARD) == [
        {
            "model_id": "org/0",
            "position": 1,
            "reported_benchmark": "MMLU",
            "reported_metric": "accuracy",
            "reported_value": "64.2",
            "problem": None,
        }
    ]
    (request,) = service.asked
    assert request["path"] == "/v1/chat/completions" and request["model"] == "reader"
    assert (request["temperature"], request["seed"]) == (0, 0) and request["max_tokens"] > 0
    assert request["response_format"] == {"type": "json_object"}
    assert [message["role"] for message in request["messages"]] == ["system", "user"]
    assert request["messages"][1]["content"] == CARD
    assert service.keys == [f"Bearer {KEY}"]


def test_without_a_key_the_hubs_token_is_not_sent(service, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("HF_TOKEN", "hf_private")
    asked(service, CARD)
    assert service.keys == ["Bearer none"]


def test_what_is_not_in_the_card_is_not_believed(service):
    service.reply = lambda _: answer(
        result("MMLU", "64.2"),
        result("MMLU", "64.21"),
        result("MMLU", "4.2"),
        result("MMLU", "7"),
        result("HellaSwag", "81.5"),
        result("Hella-Swag", "81.5%"),
        result("ARC", "64.20"),
        result("MMLU", "64.20 or so"),
        result("MMLU", None),
        result("MMLU", True),
        result(None, "3"),
    )
    rows = asked(service, CARD)
    assert [row["position"] for row in rows] == list(range(1, 12))
    assert [row["problem"] for row in rows] == [
        None,
        "the number is not in the card",
        "the number is not in the card",
        "the number is not in the card",
        "the benchmark is not in the card",
        None,
        "the benchmark is not in the card",
        "no number",
        "no number",
        "no number",
        None,
    ]
    assert [row["reported_value"] for row in rows][7:10] == ["64.20 or so", "", ""]


@pytest.mark.parametrize(
    "content",
    [
        "<think>{MMLU?} 64.2 {} it is.</think>\n```json\n" + answer(result("MMLU", "64.2")) + "\n```",
        "Here: " + answer(result("MMLU", "64.2")) + " Done.",
        answer(result("MMLU", 64.20)),
    ],
)
def test_words_around_the_answer_do_not_matter(service, content):
    service.reply = lambda _: content
    assert [(row["reported_value"], row["problem"]) for row in asked(service, CARD)] == [("64.2", None)]


@pytest.mark.parametrize(
    "content",
    ["", "64.2", "[]", '{"results": 5}', '{"results": [', "{" * 100_000 + "}", '{"results": ' + "[" * 50_000 + "]}"],
)
def test_another_answer_is_a_problem_of_that_card_alone(service, content):
    service.reply = lambda text: content if text == CARD else answer(result("MMLU", "5"))
    rows = asked(service, CARD, "MMLU 5")
    assert problems(rows) == [("org/0", "the answer is no JSON object with results"), ("org/1", None)]
    assert rows[0]["reported_value"] == ""


def test_results_of_other_shapes_are_rows_with_a_problem(service):
    service.reply = lambda _: answer(7, None, "MMLU", [], {"value": {"a": 1}}, result(["MMLU"], "64.20"))
    assert [row["problem"] for row in asked(service, CARD)] == ["no number"] * 5 + [None]


@pytest.mark.parametrize(
    "reply", [b"", b"not json", b"[]", b'{"choices": []}', b'{"choices": [{"message": 5}]}', b"\xff\xfe"]
)
def test_what_is_no_chat_completion_is_a_problem_of_the_card(service, reply):
    service.reply = lambda _: reply
    ((model_id, problem),) = problems(asked(service, CARD))
    assert model_id == "org/0"
    assert "another shape" in problem or "no JSON" in problem


def test_a_card_that_the_service_refuses_is_a_row(service):
    service.reply = lambda text: 413 if "long" in text else answer()
    rows = asked(service, CARD, "long MMLU 5", CARD)
    assert problems(rows) == [("org/1", "the service answers HTTP 413")]
    assert KEY not in str(rows)


def test_an_overloaded_service_is_asked_again(service):
    replies = iter([503, 429, answer(result("MMLU", "64.2"))])
    service.reply = lambda _: next(replies)
    assert problems(asked(service, CARD)) == [("org/0", None)]
    assert len(service.asked) == 3


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_service_that_serves_nobody_ends_the_attempt_by_name(service, status):
    service.reply = lambda _: status
    with pytest.raises(
        LlmError, match=f"ATLAS_LLM_ENDPOINT={service.url} does not serve reader: .* HTTP {status}"
    ) as raised:
        asked(service, *[CARD] * 500, retries=0)
    assert KEY not in str(raised.value)
    assert len(service.asked) < 100, "the rest is not asked"


def test_a_service_that_fails_now_and_then_goes_on(service):
    service.reply = lambda text: 500 if "bad" in text else answer()
    cards = [f"bad {i}" if i % 5 else CARD for i in range(40)]
    assert len(problems(asked(service, *cards, retries=0))) == 32


@pytest.mark.parametrize("n_cards", [1, 30])
def test_nobody_there_is_told_by_name(monkeypatch, n_cards):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    nobody = LanguageModel("http://127.0.0.1:9/v1", "reader", timeout_s=2.0, retries=1, wait_s=0.0)
    with pytest.raises(LlmError, match=r"ATLAS_LLM_ENDPOINT=http://127\.0\.0\.1:9/v1 .* not reached"):
        ask_for_results([("org/0", CARD)] * n_cards, nobody, NAMES)


def test_a_slow_service_runs_into_the_timeout(service):
    release = threading.Event()
    service.reply = lambda _: (release.wait(5), answer())[1]
    try:
        with pytest.raises(LlmError, match=r"no answer within 0\.2 s"):
            asked(service, CARD, timeout_s=0.2, retries=0)
    finally:
        release.set()


def test_of_a_long_card_the_part_with_benchmarks_is_sent(service):
    service.reply = lambda _: answer(result("MMLU", "64.2"))
    long = "word " * 20_000 + CARD + " word" * 20_000
    assert problems(asked(service, long)) == [("org/0", None)]
    sent = service.asked[0]["messages"][1]["content"]
    assert CARD in sent and len(sent) == llm_results.LONGEST_TEXT


def test_no_more_results_are_taken_than_bounded(service):
    service.reply = lambda _: answer(*[result("MMLU", "64.2")] * 2_000)
    assert len(asked(service, CARD)) == llm_results.MOST_RESULTS


def test_progress_is_told_and_nothing_is_asked_of_no_cards(service):
    told = []
    cards = [(f"org/{i}", CARD) for i in range(70)]
    ask_for_results(cards, service.model(), NAMES, progress=lambda done, total: told.append((done, total)))
    assert told == [(64, 70), (70, 70)]
    n_asked = len(service.asked)
    assert ask_for_results([], service.model(), NAMES).num_rows == 0 and len(service.asked) == n_asked


def test_the_two_settings_go_together():
    assert language_model("", "") is None
    assert language_model("http://localhost:8000/v1", "m") == LanguageModel("http://localhost:8000/v1", "m")
    for endpoint, model in (("http://x", ""), ("", "m")):
        with pytest.raises(LlmError, match="ATLAS_LLM_ENDPOINT and ATLAS_LLM_MODEL"):
            language_model(endpoint, model)
    for endpoint in ("localhost", "ftp://x", "http://", "http://user:word@host/v1", "file:///etc/passwd"):
        with pytest.raises(LlmError, match="ATLAS_LLM_ENDPOINT takes an address") as raised:
            language_model(endpoint, "m")
        assert "word@" not in str(raised.value)


def test_the_pattern_wants_a_number_beside_a_benchmark():
    import duckdb

    pattern = benchmark_and_number(NAMES)
    cards = {
        CARD: True,
        "Hella Swag: 80": True,
        "80 on the benchmarks": False,
        "MMLU\n5": False,
        "mmlux 5": False,
        "MMLU " + "x" * 100 + " 5": False,
    }
    for card, expected in cards.items():
        ((found,),) = duckdb.execute("select regexp_matches(?, ?, 'i')", [card, pattern]).fetchall()
        assert found is expected, card
