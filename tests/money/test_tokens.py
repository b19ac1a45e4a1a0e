"""Token counts: exact with Kimi's tokenizer, else asked, else estimated and marked."""

import hashlib
import json
import random
import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.money import ask, make_reply
from support.tokenizer import FOUND

from kimikit.errors import BadInput, ConnectionFailed, KimiWarning, MissingDependency
from kimikit.money import tokens
from kimikit.money.bills import at_most
from kimikit.money.estimates import ceiling, estimate
from kimikit.money.ledger import Ledger
from kimikit.money.tokens import count_chat, count_tokens, fits
from kimikit.types import Message, ToolCall, Usage
from kimikit.wire.weigh import KINDS, PLAIN, kinds, weigh

PROSE = {
    "English": "All human beings are born free and equal in dignity and rights.",
    "German": "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "French": "Tous les êtres humains naissent libres et égaux en dignité.",
    "Russian": "Все люди рождаются свободными и равными в своем достоинстве.",
    "Arabic": "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق.",
    "Hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में समानता प्राप्त है।",
    "Chinese": "人工智能正在改变我们的生活方式。请用三句话解释什么是注意力机制。",
    "Japanese": "吾輩は猫である。名前はまだ無い。どこで生れたか見当がつかぬ。",
    "Korean": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "Spanish": "Todos los seres humanos nacen libres e iguales en dignidad y derechos.",
    "Portuguese": "Todos os seres humanos nascem livres e iguais em dignidade e direitos.",
    "Polish": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności.",
    "Hungarian": "Minden emberi lény szabadon születik és egyenlő méltósága van.",
    "Finnish": "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan.",
    "Turkish": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar.",
    "Vietnamese": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm.",
    "Greek": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια.",
    "Hebrew": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם.",
    "Thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "Tamil": "மனிதப் பிறவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்.",
    "Georgian": "ყველა ადამიანი იბადება თავისუფალი და თანასწორი თავისი ღირსებითა.",
    "Amharic": "የሰው ልጅ ሁሉ ሲወለድ ነጻና በክብርና በመብትም እኩልነት ያለው ነው።",
    "Ukrainian": "Всі люди народжуються вільними і рівними у своїй гідності та правах.",
    "Traditional Chinese": "人人生來自由,在尊嚴和權利上一律平等。他們有理性和良心,請以手足關係的精神相對待。",
    "Python": "def area(radius: float) -> float:\n    return 3.14159 * radius**2\n",
    "JSON": '{"name": "Ada", "born": 1815, "fields": ["mathematics", "computing"]}',
}

CHANCE = random.Random(1)
DATA = {
    "JSON of numbers": json.dumps(
        [{"id": n, "score": CHANCE.random()} for n in range(60)]
    ),
    "indented JSON": json.dumps([{"name": "Ada", "city": "Lagos"}] * 30, indent=2),
    "CSV": "\n".join(
        ",".join(f"{CHANCE.gauss(0, 100):.4f}" for _ in range(6)) for _ in range(80)
    ),
    "code": Path(__file__).read_text("utf-8")[:4000].encode("ascii", "ignore").decode(),
    "emoji": "😀🎉🚀🔥🥳🤖🧠🦄🍕🌍",
    "digits": "3.14, 15.92, 65.35, 89.79, " * 9,
    "a rule of signs": f"Title\n{'=' * 400}\n",
    "padding": f"begin{' ' * 3000}end",
    "zeros of a binary": f"data {'A' * 2000} end",
    "control characters": "\0\1\2\x1b\x7f" * 40,
}


@pytest.fixture
def exact(monkeypatch):
    """Kimi's own tokenizer as a function."""
    pytest.importorskip("tiktoken")
    if FOUND is None:
        pytest.skip("no tokenizer: set KIMIKIT_TOKENIZER to Kimi's tiktoken.model")
    monkeypatch.setenv("KIMIKIT_TOKENIZER", str(FOUND))
    return tokens.encoder()


@pytest.fixture
def without(monkeypatch, tmp_path):
    """No tokenizer anywhere."""
    monkeypatch.setenv("KIMIKIT_CACHE", str(tmp_path / "cache"))


class TestExact:
    def test_a_recorded_answer_counts_its_text_and_one_more(self, exact):
        """Groq counted 11 completion tokens for this answer of K2-Instruct-0905."""
        assert len(exact('{"city":"Berlin","country":"Germany"}')) + 1 == 11

    def test_a_recorded_small_chat_comes_out_exact(self, exact):
        """20 prompt and 4 completion tokens were recorded of K2-Instruct-0905 for a
        question of 13 tokens and an answer of 3: 4 around it, 3 for the opening.
        """
        question = "What is the largest city of the country that France borders east?"
        assert len(exact(question)) == 13
        assert int(count_tokens(question)) == 20
        count = count_tokens(question, model="moonshotai/Kimi-K2-Instruct-0905")
        assert (str(count), count.exact, range(30)[count]) == ("20 tokens", True, 20)

    def test_a_chat_is_the_sum_of_its_parts(self, exact):
        def size(text):
            return len(exact(text))

        system, question, answer = "You are terse.", "Why?", "Because."
        chat = [
            {"role": "system", "content": system},
            Message("user", question, name="ada"),
            Message("assistant", answer),
            {"role": "user", "content": [{"type": "text", "text": question}]},
        ]
        around = 4 * 3 + 3 + size("system") + size("ada") + size("assistant") + 1
        texts = size(system) + 2 * size(question) + size(answer)
        count = count_tokens(chat)
        assert int(count) == around + texts
        assert not count.exact, "a list of parts may hold pictures"

    def test_calls_and_their_results_are_counted_and_marked(self, exact):
        call = ToolCall("functions.get_weather:0", "get_weather", '{"city":"Paris"}')
        result = {
            "role": "tool",
            "tool_call_id": call.id,
            "name": "get_weather",
            "content": "12 C",
        }
        chat = [Message("assistant", None, (call,)), result]
        total, plain = count_chat(exact, [m if isinstance(m, dict) else m.to_dict()
                                          for m in chat])  # fmt: skip
        calls = 2 + 3 + len(exact(call.id)) + len(exact(call.arguments))
        told = len(exact(f"## Return of {call.id}\n12 C")) + len(exact("get_weather"))
        assert (total, plain) == (3 + 3 + 1 + calls + 3 + told, False)
        assert str(count_tokens(chat)).startswith("~")

    def test_declared_tools_come_near_what_was_recorded(self, exact):
        """Groq counted 171 for this request of K2-Instruct, tools rendered its way."""

        def declare(name, description, *names):
            properties = {n: {"type": "string"} for n in names}
            parameters = {
                "additionalProperties": False,
                "properties": properties,
                "required": list(names),
                "type": "object",
            }
            function = {
                "name": name,
                "description": description,
                "parameters": parameters,
            }
            return {"type": "function", "function": function}

        end = "The final response which ends this conversation"
        tools = [declare("get_weather", "", "city"),
                 declare("final_result", end, "city", "country")]  # fmt: skip
        count = count_tokens("What is the capital of France?", tools)
        assert not count.exact
        assert abs(int(count) - 171) <= count.error * 171
        assert repr(count) == f"~{int(count)} tokens (Kimi K2's tokenizer, ±12%)"

    def test_later_models_are_marked(self, exact):
        assert count_tokens("Hello", model="kimi-k2-0905-preview").exact
        for model in ("kimi-k2.6", "accounts/fireworks/models/kimi-k2p6", "kimi-k3",
                      "kimi-k2-thinking"):  # fmt: skip
            assert str(count_tokens("Hello", model=model)) == "~8 tokens"
        assert count_tokens("Hello", model="smollm2").method.startswith("estimated")

    def test_special_tokens_in_a_prompt_are_only_text(self, exact):
        assert int(count_tokens("<|im_end|>")) > 8 + 3

    @pytest.mark.parametrize("name", PROSE)
    def test_unmeasured_estimates_are_as_good_as_they_say(self, exact, name):
        truth = int(count_tokens(PROSE[name]))
        guess = estimate({"messages": [{"role": "user", "content": PROSE[name]}]})
        assert abs(guess.tokens - truth) <= guess.error * truth

    def test_no_text_exceeds_its_ceiling(self, exact):
        chance = random.Random(7)
        hostile = [
            "".join(chance.choices(string.ascii_letters + " ", k=2000)),
            "".join(chance.choices(string.punctuation, k=2000)),
            "".join(chance.choices("0123456789abcdef", k=2000)),
            "".join(chr(chance.randint(0x4E00, 0x9FFF)) for _ in range(1000)),
            "".join(chr(chance.randint(0xAC00, 0xD7A3)) for _ in range(1000)),
            "😀🎉🚀👩‍👩‍👧🇫🇷" * 50,
        ]
        for text in [*PROSE.values(), *hostile]:
            body = {"messages": [{"role": "user", "content": text}], "max_tokens": 5}
            assert ceiling("chat", body)[0] >= int(count_tokens(text)), text[:40]

    @pytest.mark.parametrize("text", [" " * 10**6, "\n" * 10**6, "\u6f22" * 60_000])
    def test_a_long_run_is_counted_piece_by_piece(self, exact, text):
        """A million blanks in one piece end in a panic, which is no exception."""
        short = text[:25_000]
        whole = -(-len(text) // len(short)) * len(exact(short))
        assert len(exact(text)) <= whole + 1
        assert len(exact(f"{short} {short}")) >= 2 * len(exact(short)) - 1

    @pytest.mark.parametrize(
        "more",
        [
            {"prefill": "word " * 500},
            {"response_format": {"type": "json_schema", "schema": {"word " * 500: 1}}},
            {"chat_template_kwargs": {"word " * 500: {"type": "word " * 500}}},
            {"messages": [{"role": "user", "content": "Hi", "prefix": "word " * 500}]},
            {"messages": [{"role": "assistant", "reasoning": "word " * 500}]},
            {"messages": [{"role": "word " * 500, "content": "Hi"}]},
        ],
    )
    def test_what_is_sent_beside_the_words_is_part_of_the_ceiling(self, exact, more):
        body = {"messages": [{"role": "user", "content": "Hi"}], "model": "kimi-k2"}
        plain = at_most("chat", body, 0, exact=True)
        assert plain.prompt_tokens < 100
        most = at_most("chat", {**body, **more}, 0, exact=True)
        assert most.prompt_tokens >= 500 + plain.prompt_tokens - 20


class TestWithoutTokenizer:
    def test_an_estimate_is_marked_with_its_error(self, without):
        count = count_tokens("Hello there")
        assert str(count).startswith("~")
        assert re.search(r"\(estimated from characters, ±\d\d%\)$", repr(count))
        assert 0.2 < count.error < 0.4

    def test_the_hosts_own_estimate_is_asked_first(self, without):
        asked = []
        count = count_tokens("Hi", remote=lambda chat: asked.append(chat) or 80)
        assert (int(count), count.exact) == (80, False)
        assert repr(count) == "~80 tokens (the host's own estimate)"
        assert asked == [[{"role": "user", "content": "Hi"}]]
        with_tools = count_tokens("Hi", [{"type": "function"}], remote=lambda chat: 80)
        assert int(with_tools) != 80

    def test_an_estimate_learns_from_recorded_calls(self, without):
        """A host whose tokens are half as long: the rates and the error follow."""
        chance = random.Random(3)
        samples = []
        for n in range(40):
            text = " ".join(chance.choices(PROSE["English"].split(), k=20 + 5 * n))
            body = {"messages": [{"role": "user", "content": text}]}
            samples.append((body, round(len(text) * 0.4) + 7))
        body, truth = samples[25]
        before = estimate(body)
        after = count_tokens(body["messages"], samples=lambda: samples)
        assert abs(before.tokens - truth) / truth > 0.4
        assert abs(int(after) - truth) / truth < 0.05
        assert after.error < 0.1
        assert "as in 40 calls of yours" in repr(after)
        assert estimate(body, samples[:4]).error == before.error

    def test_a_request_sent_many_times_does_not_make_the_error_small(self, without):
        """A sweep asks the same again and again: nothing is learnt of other texts."""
        chance = random.Random(5)
        varied = []
        for _ in range(12):
            text = " ".join(chance.choices(PROSE["English"].split(), k=20))
            tokens_ = round(len(text) * chance.uniform(0.2, 0.4))
            varied.append(({"messages": [{"role": "user", "content": text}]}, tokens_))
        body = varied[0][0]
        once = estimate(body, varied)
        often = estimate(body, varied[:1] * 188 + varied)
        assert often == once
        assert once.error > 0.1

    def test_a_template_s_own_tokens_are_not_taken_for_the_text_s(self):
        """The stand-in adds 24 tokens; short calls must not make a long one dear."""
        samples = [
            ({"messages": [{"role": "user", "content": "word " * n}]}, n + 31)
            for n in (4, 5, 6, 7) * 10
        ]
        body = {"messages": [{"role": "user", "content": "word " * 200}]}
        guess = estimate(body, samples)
        assert abs(guess.tokens - 231) / guess.tokens < min(guess.error, 0.35)

    def test_the_ceiling_has_room_for_the_stand_in_s_own_system_prompt(self):
        """SmolLM2's template makes 31 tokens of a bare `Hello`."""
        body = {"messages": [{"role": "user", "content": "Hello"}]}
        assert ceiling("chat", body).prompt_tokens >= 31

    def test_the_error_does_not_speak_for_a_script_that_no_call_had(self):
        samples = [
            ({"messages": [{"role": "user", "content": "word " * n}]}, n + 7)
            for n in range(20, 60)
        ]
        chinese = {"messages": [{"role": "user", "content": PROSE["Chinese"] * 5}]}
        latin = {"messages": [{"role": "user", "content": "word " * 30}]}
        assert estimate(latin, samples).error < 0.05
        assert estimate(chinese, samples).error > 0.3

    def test_the_ledger_gives_the_calls_to_learn_from(self, without, tmp_path):
        ledger = Ledger(tmp_path / "l")
        for n in range(12):
            text = f"{PROSE['German']} {n} " * (n + 1)
            ask(ledger, text, make_reply(prompt=len(text) // 2))
        ask(ledger, "guess", make_reply(usage=Usage(10**6, 1, estimated=True)))
        ask(ledger, "other", make_reply(prompt=10**6), model="smollm2")
        samples = ledger.samples()
        assert len(samples) == 12
        assert len(ledger.samples("smollm2")) == 1
        count = count_tokens(PROSE["German"] * 5, samples=ledger.samples)
        assert abs(int(count) - len(PROSE["German"]) * 5 // 2) < 20
        assert count.error < 0.1
        ledger.close()

    @pytest.mark.parametrize("messages", [5, [], [{"content": "x"}], None, ""])
    def test_what_is_no_chat_is_refused(self, without, messages):
        with pytest.raises(BadInput):
            count_tokens(messages)

    def test_a_named_file_must_be_a_tokenizer(self, monkeypatch, tmp_path):
        path = tmp_path / "no.model"
        monkeypatch.setenv("KIMIKIT_TOKENIZER", str(path))
        with pytest.raises(BadInput, match="No such file"):
            count_tokens("Hi")
        path.write_text("certainly not")
        with pytest.raises(BadInput, match="not a tiktoken vocabulary"):
            count_tokens("Hi")
        monkeypatch.setitem(__import__("sys").modules, "tiktoken", None)
        with pytest.raises(MissingDependency, match=r"pip install .*tiktoken"):
            count_tokens("Hi")
        monkeypatch.delenv("KIMIKIT_TOKENIZER")
        assert not count_tokens("Hi").exact


class TestFetch:
    def test_the_tokenizer_is_fetched_once_and_checked(self, without, monkeypatch):
        pytest.importorskip("tiktoken")
        asked = []

        def fetch(url):
            asked.append(url)
            return b"aGk= 0\nYQ== 1\n"

        assert not count_tokens("Hi", fetch=fetch).exact, "its sha256 is another"
        assert count_tokens("Hi", fetch=fetch).tokens == count_tokens("Hi").tokens
        assert asked == [tokens.URL]
        digest = hashlib.sha256(b"aGk= 0\nYQ== 1\n").hexdigest()
        monkeypatch.setattr(tokens, "SHA256", digest)
        tokens._TRIED.clear()
        assert tokens.encoder(fetch)("hi") == [0]
        assert tokens.encoder()("hi") == [0]
        assert len(asked) == 2

    def test_a_hub_out_of_reach_means_an_estimate(self, without):
        pytest.importorskip("tiktoken")

        def fetch(url):
            raise ConnectionFailed("no route", "x")

        assert not count_tokens("Hi", fetch=fetch).exact


class TestFits:
    def test_it_is_true_while_there_is_room(self, without):
        fit = fits(count_tokens("Hello there"), 100, 200)
        assert fit
        assert fit.left == 200 - 100 - int(fit.prompt.tokens * (1 + fit.prompt.error))
        assert repr(fit).startswith("fits: ~")
        assert not fits(count_tokens("Hello there"), 200, 200)
        assert repr(fits(count_tokens("Hello"), 300, 200)).startswith("does not fit: ~")

    def test_past_100_000_tokens_it_warns_that_answers_slow_down(self, without):
        with pytest.warns(KimiWarning, match="answers slow down"):
            assert fits(count_tokens("word " * 100_000), 1000, 262_144)
        assert fits(count_tokens("Hello"), 10, 100)


class TestCeiling:
    def test_the_requests_own_limit_then_the_models(self):
        body = {"messages": [{"role": "user", "content": "Hi"}]}
        assert ceiling("chat", body)[1] is None
        assert ceiling("chat", body, 500)[1] == 500
        assert ceiling("chat", {**body, "max_tokens": 20, "n": 3}, 500)[1] == 60
        assert ceiling("chat", {**body, "max_completion_tokens": 9})[1] == 9
        assert ceiling("embed", {"input": ["a", "b"]})[1] == 0

    def test_tools_pictures_and_plain_prompts_count(self):
        body = {"messages": [{"role": "user", "content": "Hi"}]}
        plain, _ = ceiling("chat", body)
        picture = {"type": "image_url", "image_url": {"url": "data:" + "A" * 9999}}
        parts = [{"role": "user", "content": [{"type": "text", "text": "Hi"}, picture]}]
        seen, _ = ceiling("chat", {"messages": parts})
        assert plain + 4096 <= seen < plain + 4200
        assert ceiling("chat", {**body, "tools": [{"x": "y" * 100}]})[0] > plain + 50
        assert ceiling("complete", {"prompt": "Hello" * 100})[0] > 100

    @given(st.text())
    def test_every_character_is_of_one_kind(self, text):
        found = dict(zip([kind.name for kind in KINDS], kinds(text), strict=True))
        plain = [found.pop(kind.name) for kind in PLAIN]
        assert sum(found.values()) == sum(c >= "\x80" for c in text)
        letters = sum(c.isascii() and c.isalpha() for c in text)
        assert plain[0] + plain[1] == pytest.approx(letters)
        digits = re.findall("[0-9]{1,3}| (?=[0-9])", text)
        control = [c for c in text if c == "\x7f" or (c < " " and c not in "\t\n\r")]
        assert plain[2] == len(digits) + len(control)
        assert plain[3] == sum(33 <= ord(c) < 127 and not c.isalnum() for c in text)
        assert 0 <= weigh(text) <= 2 * len(text.encode("utf-8", "surrogatepass"))

    @given(
        st.lists(
            st.fixed_dictionaries({"role": st.text(max_size=9), "content": st.text()})
        ),
        st.lists(st.dictionaries(st.text(max_size=9), st.text())),
    )
    def test_no_request_has_more_tokens_than_its_ceiling(self, messages, tools):
        """A vocabulary of single bytes is the worst that a tokenizer can be."""
        count, _ = count_chat(lambda t: t.encode("utf-8", "replace"), messages, tools)
        assert count <= ceiling("chat", {"messages": messages, "tools": tools})[0]

    @pytest.mark.parametrize(
        ("body", "least"),
        [
            ({"messages": [{"role": "user", "content": "a" * 999}]}, 999),
            ({"messages": [{"role": "user", "content": "\U0001f600" * 99}]}, 396),
            ({"messages": [{"role": "assistant", "content": None, "tool_calls": [
                {"id": "x", "function": {"name": "f", "arguments": "{" * 500}}]}]}, 500),
            ({"messages": [{"role": "system", "tools": [{"a" * 300: {"b" * 300: 1}}]}]}, 600),
            ({"messages": [], "tools": [{"\u4e2d" * 100: 1}]}, 300),
            ({"messages": [], "response_format": {"x" * 100: 1}}, 100),
            ({"prompt": [[1, 2, 3] * 50, [4] * 50]}, 200),
            ({"prompt": ["a" * 50, "b" * 50], "suffix": "c" * 50}, 150),
            ({"messages": "oops"}, 1), ({"messages": [5, None]}, 1),
        ],
    )  # fmt: skip
    def test_whatever_is_read_counts(self, body, least):
        endpoint = "complete" if "prompt" in body else "chat"
        assert ceiling(endpoint, body)[0] >= least

    def test_each_prompt_and_each_of_n_has_an_answer(self):
        body = {"prompt": ["a", "b", "c"], "max_tokens": 10, "n": 2}
        assert ceiling("complete", body)[1] == 60
        assert ceiling("complete", {**body, "best_of": 5})[1] == 150
        both = {"messages": [], "max_tokens": 5, "max_completion_tokens": 9}
        assert ceiling("chat", both)[1] == 9


class TestTheTable:
    """One table of tokens by script and kind, held to the errors that it names."""

    def test_each_text_is_within_the_error_that_is_shown(self, exact):
        texts = {**PROSE, **DATA}
        assert len(texts) >= 24
        for name, text in texts.items():
            body = {"messages": [{"role": "user", "content": text * 4}]}
            count = estimate(body)
            truth, _ = count_chat(exact, body["messages"])
            assert abs(truth / count.tokens - 1) <= count.error, name
            assert count.error <= 0.55 or kinds(text)[5], name

    def test_after_fitting_to_few_calls_it_still_is(self, exact):
        """Of a script that no call had, nothing is learnt, and that is said."""
        samples = []
        for n in range(14):
            text = PROSE["English"] * (1 + n % 3) + PROSE["Russian"] * (n % 4)
            body = {"messages": [{"role": "user", "content": text + "word " * n}]}
            samples.append((body, count_chat(exact, body["messages"])[0]))
        for name, text in {**PROSE, **DATA}.items():
            body = {"messages": [{"role": "user", "content": text * 4}]}
            count = estimate(body, samples)
            truth, _ = count_chat(exact, body["messages"])
            assert abs(truth / count.tokens - 1) <= count.error, name
        known = estimate(
            {"messages": [{"role": "user", "content": PROSE["Russian"]}]}, samples
        )
        new = estimate(
            {"messages": [{"role": "user", "content": PROSE["Thai"]}]}, samples
        )
        assert known.error < 0.2 < new.error


def test_work_on_a_text_grows_as_the_text():
    """Twice the text, twice the pieces: what is counted is visited once."""
    for text in ("aé", "word ", "你好", "😀", "1,", "\n "):
        one, two = kinds(text * 25_000), kinds(text * 50_000)
        assert sum(two) == pytest.approx(2 * sum(one), abs=3)


@given(st.text(st.sampled_from("019 \t\na."), max_size=40))
def test_groups_of_digits_and_breaks_are_counted_as_patterns_count_them(text):
    names = [kind.name for kind in KINDS]
    found = dict(zip(names, kinds(text), strict=True))
    digits = re.findall(r"[0-9]{1,3}| (?=[0-9])", text)
    assert found["up to three digits, and control characters"] == len(digits)
    breaks = re.findall(r"[ \t]*\n+|[ \t]{2,}", text)
    assert found["line ends and indents"] == len(breaks)
