"""The plugin in optillm's own proxy, loaded by its own loader, over servers of two kinds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from frameworks.chat_server import ChatServer, judge
from frameworks.optillm_proxy import Proxy
from peers import peer
from pooling_server import PoolingServer

peer("optillm")
openai = peer("openai")
for needed in ("flask", "cerebras.cloud.sdk", "z3", "networkx"):  # which the proxy imports
    peer(needed)

from rtsearch_fast.adapters.optillm import run  # noqa: E402
from rtsearch_fast.adapters.optillm.chat import continues_messages, tells_labels  # noqa: E402
from rtsearch_fast.adapters.optillm.settings import Settings  # noqa: E402
from rtsearch_fast.errors import EngineError, InvalidArgumentError  # noqa: E402

PROBLEM = "17 25 38 4 91 60"
ANSWER = "\\boxed{235}"


class Adder:
    """A server that adds, and the proxy before it."""

    def __init__(self, server: ChatServer, proxy: Proxy) -> None:
        self.server = server
        self.proxy = proxy
        self._models = count()

    def reset(self, owner: str, logprobs: bool) -> None:
        """Change what the server can; what the proxy knows of it is known for a model's name."""
        self.server.owner, self.server.logprobs = owner, logprobs
        self.server.requests.clear()
        self.model = f"adder-{next(self._models)}"
        self._logged = len(self.proxy.log.read_text())

    def ask(self, content: str = PROBLEM, **body: Any) -> Any:
        """One request to the proxy; the answer, or its error."""
        messages = body.pop("messages", [{"role": "user", "content": content}])
        model = body.pop("approach", "rtsearch") + "-" + self.model
        known = {name: body.pop(name) for name in ("temperature", "max_tokens") if name in body}
        with openai.OpenAI(base_url=self.proxy.url, api_key="none", max_retries=0) as client:
            try:
                return client.chat.completions.create(
                    model=model, messages=messages, extra_body=body, **known
                )
            except openai.APIStatusError as error:
                return error.response.json()["error"]

    @property
    def log(self) -> str:
        """What the proxy has logged since the reset."""
        return self.proxy.log.read_text()[self._logged :]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adder]:
    folder = tmp_path_factory.mktemp("proxy")
    with ChatServer() as server, Proxy(server.url, folder) as proxy:
        yield Adder(server, proxy)


@pytest.fixture
def adder(running: Adder) -> Adder:
    running.reset("vllm", True)
    return running


def text(answer: Any) -> str:
    assert not isinstance(answer, str), answer
    (choice,) = answer.choices
    return str(choice.message.content)


def solutions(found: Adder) -> list[dict[str, Any]]:
    """The requests for solutions, not for judgements."""
    return [body for body in found.server.requests if "Yes or No" not in str(body["messages"])]


@pytest.mark.parametrize("owner", ["vllm", "openai"])
def test_proxy_when_asked_for_the_plugin_answers_with_all_tokens_counted(
    running: Adder, owner: str
) -> None:
    running.reset(owner, True)
    answer = running.ask(rtsearch={"seed": 0})
    assert ANSWER in text(answer)
    drawn = solutions(running)
    judgements = len(running.server.requests) - len(drawn) - 1  # one asks what the server can
    assert len(drawn) >= 8 >= judgements > 0
    assert answer.usage.completion_tokens > judgements + 8 * 20
    # no tree where messages are not continued
    assert any("continue_final_message" in body for body in drawn) == (owner == "vllm")
    assert all(("seed" in body) == (owner == "vllm") for body in drawn)
    assert ("whole solutions are drawn instead" in running.log) == (owner == "openai")


def test_proxy_when_there_is_no_judge_lets_the_majority_decide(running: Adder) -> None:
    running.reset("vllm", False)
    assert ANSWER in text(running.ask(rtsearch={"budget": 15, "seed": 0}))
    assert len(solutions(running)) == 15
    assert "mcts_g has nobody to judge; the majority decides" in running.log


@pytest.mark.parametrize("method", ["cot", "best_of_n", "weighted_majority", "beam", "mcts"])
def test_proxy_when_a_method_is_named_runs_it(adder: Adder, method: str) -> None:
    found = text(adder.ask(rtsearch={"method": method, "budget": 6, "seed": 1}))
    assert found.startswith("17 + 25 = ")
    assert f"rtsearch: {method}, " in adder.log


def test_proxy_when_seeded_answers_the_same_again(adder: Adder) -> None:
    first, second = (adder.ask(rtsearch={"seed": 3}) for _ in range(2))
    assert (text(first), first.usage) == (text(second), second.usage)
    seeds = [body["seed"] for body in solutions(adder)]
    half = len(seeds) // 2
    assert sorted(seeds[:half]) == sorted(seeds[half:])
    adder.ask(rtsearch={"seed": 4})
    assert not set(seeds) & {body["seed"] for body in solutions(adder)[2 * half :]}


def test_proxy_when_there_is_a_history_hands_it_on_as_it_is(adder: Adder) -> None:
    messages = [
        {"role": "system", "content": "Add."},
        {"role": "user", "content": "1 2"},
        {"role": "assistant", "content": "1 + 2 = 3"},
        {"role": "user", "content": PROBLEM},
    ]
    text(adder.ask(messages=messages, temperature=0.3, max_tokens=70, presence_penalty=0.1))
    for body in solutions(adder):
        assert body["messages"][:4] == messages
        assert (body["temperature"], body["presence_penalty"]) == (0.3, 0.1)
        assert body["max_tokens"] <= 70


def test_proxy_when_approaches_are_combined_takes_the_text_of_the_one_before(
    adder: Adder,
) -> None:
    answer = adder.ask(approach="re2&rtsearch", rtsearch={"method": "majority", "budget": 2})
    assert text(answer).startswith("17 + 25 = ")
    assert "rtsearch: " in adder.log


def test_budget_of_tokens_when_given_is_kept(adder: Adder) -> None:
    answer = adder.ask(rtsearch={"budget": 100, "tokens": 400}, max_tokens=60)
    assert text(answer)
    assert 200 < answer.usage.completion_tokens <= 400


def test_answer_when_nothing_is_boxed_is_the_text_itself(adder: Adder) -> None:
    assert text(adder.ask("Hello!", rtsearch={"budget": 4})) == "I can only add."


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budget": "many"}, "rtsearch.budget='many': must be a whole number"),
        ({"budget": 0}, "budget=0: must be at least 1"),
        ({"method": "mtcs"}, "method='mtcs': choose one of"),
        ({"prefill": "maybe"}, "prefill='maybe': choose one of auto, yes, no"),
        ({"reward_url": "http://h"}, "rtsearch.reward_url='http://h': requests may set method,"),
        ({"budjet": 3}, "rtsearch.budjet=3: requests may set method, budget, tokens,"),
        ("fast", "rtsearch='fast': give an object of settings"),
    ],
)
def test_request_when_a_setting_is_wrong_is_an_error_that_names_it(
    adder: Adder, settings: Any, message: str
) -> None:
    assert adder.ask(rtsearch=settings).startswith(message)


def test_environment_when_read_is_overruled_by_the_request() -> None:
    environment = {
        "RTSEARCH_BUDGET": "16",
        "RTSEARCH_CALCULATOR": "yes",
        "RTSEARCH_EXPLORATION": "0.1",
        "RTSEARCH_SEED": "",
        "RTSEARCH_ISA": "baseline",
    }
    settings = Settings.of(environment, {"budget": 4})
    assert (settings.budget, settings.calculator, settings.exploration) == (4, True, 0.1)
    assert settings.seed is None
    with pytest.raises(InvalidArgumentError, match="RTSEARCH_WIDTH='x': must be a whole number"):
        Settings.of({"RTSEARCH_WIDTH": "x"})
    with pytest.raises(InvalidArgumentError, match="reward_url='u' and reward_format=None: give"):
        Settings.of({"RTSEARCH_REWARD_URL": "u"})


def test_server_when_it_fails_for_a_moment_is_asked_again_what_it_can() -> None:
    with (
        ChatServer() as server,
        openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client,
    ):
        server.status = 503
        assert not tells_labels(client, "adder") and not continues_messages(client, "adder")
        server.status = 200
        assert tells_labels(client, "adder") and continues_messages(client, "adder")
        server.status = 400
        assert tells_labels(client, "adder")  # it is known now
        assert not tells_labels(client, "another")
        server.status = 200
        assert not tells_labels(client, "another")  # it did not know the question


def test_reward_server_when_the_operator_names_one_judges(
    adder: Adder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("yaml", reason="formats are read by PyYAML")
    rewards = PoolingServer(lambda text: (4 * judge(text) - 2,))
    monkeypatch.setenv("RTSEARCH_REWARD_URL", rewards.base_url)
    monkeypatch.setenv("RTSEARCH_REWARD_FORMAT", "qwen2.5-math-rm")
    with openai.OpenAI(base_url=adder.server.url, api_key="none") as client:
        answer, tokens = run("Add.", PROBLEM, client, "adder", {"rtsearch": {"seed": 0}})
    rewards.close()
    assert ANSWER in answer and tokens > 8 * 20
    assert len(rewards.bodies("/classify")) == 8
    assert len(solutions(adder)) == len(adder.server.requests)  # nobody was asked Yes or No
    assert all(PROBLEM in str(body) for body in rewards.bodies("/classify"))


def test_server_when_it_is_not_there_is_an_error_that_says_so() -> None:
    client = openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="none", max_retries=0)
    with client, pytest.raises(EngineError, match="chat/m: APIConnectionError: Connection error"):
        run("", PROBLEM, client, "m", {"rtsearch": {"method": "majority"}})
