import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from open_clip import SimpleTokenizer

from worker.anchors.attributes import LIBRARY, ChatAnswerUnusable, descriptions, from_chat

CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
FASHION = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
CIFAR100 = """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid
otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm""".split()  # noqa: SIM905  (a list of a hundred strings reads worse)


@pytest.mark.parametrize("classes", [CIFAR10, DIGITS, [str(n) for n in range(10)], FASHION, CIFAR100])
def test_the_common_label_sets_are_described(classes):
    """Every class has its own text, and none falls back."""
    texts = descriptions(classes)
    assert len(set(texts)) == len(classes) in (10, 100)
    assert not any(text.startswith("a photo of") for text in texts)


def test_every_class_has_five_to_eight_attributes_that_clip_reads_whole():
    """Its context is 77 tokens with the two marks at the ends, and what stands behind would be lost."""
    tokenizer = SimpleTokenizer()
    for each in json.loads(LIBRARY.read_text()).values():
        for name, attributes in each.items():
            assert 5 <= len(attributes) <= 8, name
            assert len(tokenizer.encode("; ".join(attributes))) <= 75, name


def test_attributes_stand_in_a_row():
    """As in the paper: one text per class."""
    assert descriptions(["cat"], {"cat": ["whiskers", "long tail"]}) == ["whiskers; long tail"]


def test_names_match_whatever_their_writing():
    """Case, underscores and punctuation differ between data sets."""
    assert descriptions(["Aquarium Fish", "t shirt_top"]) == descriptions(["aquarium_fish", "T-shirt/top"])
    assert descriptions(["Oak Tree"], {"oak_tree": ["acorns"]}) == ["acorns"]


def test_a_class_that_nobody_knows_is_named():
    """Neither the library nor the user has it, or the user gave an empty list."""
    assert descriptions(["flux_capacitor"]) == ["a photo of a flux capacitor"]
    assert descriptions(["Cat"], {"cat": []}) == ["a photo of a Cat"]


class Chat(BaseHTTPRequestHandler):
    """Speaks the protocol: keeps what it was asked, answers with what the server was told."""

    def do_POST(self):
        self.server.asked.append((self.path, self.headers["Authorization"], self.body()))
        answer = {"choices": [{"message": {"role": "assistant", "content": self.server.answer}}]}
        payload = json.dumps(answer).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def body(self):
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def log_message(self, *_):
        pass


@pytest.fixture
def chat():
    with HTTPServer(("127.0.0.1", 0), Chat) as server:
        server.asked, server.status, server.answer = [], 200, '["soft fur", "whiskers"]'
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        server.options = {"base_url": f"http://127.0.0.1:{server.server_port}/v1", "api_key": "k", "model": "m"}
        yield server
        server.shutdown()
        thread.join()


def test_a_chat_model_is_asked_for_each_class(chat):
    """It gets the names of the classes and nothing else."""
    assert from_chat(["cat", "dog"], **chat.options) == {
        "cat": ["soft fur", "whiskers"],
        "dog": ["soft fur", "whiskers"],
    }

    assert [path for path, _, _ in chat.asked] == ["/v1/chat/completions"] * 2
    assert {key for _, key, _ in chat.asked} == {"Bearer k"}
    _, _, body = chat.asked[0]
    assert body.keys() == {"model", "temperature", "messages"}
    assert "'cat'" in body["messages"][0]["content"]


def test_an_answer_in_a_fence_is_read(chat):
    """Many models wrap JSON in Markdown."""
    chat.answer = 'Here it is:\n```json\n["soft fur"]\n```'
    assert from_chat(["cat"], **chat.options) == {"cat": ["soft fur"]}


@pytest.mark.parametrize(
    "answer", ["I cannot.", "[]", '["", "x"]', "[1]", '["cut short', None, '["' + "x" * 200 + '"]']
)
def test_an_answer_that_is_no_list_of_attributes_is_refused(chat, answer):
    """Nothing is guessed: the class is named instead."""
    chat.answer = answer
    with pytest.raises(ChatAnswerUnusable, match="Class: cat"):
        from_chat(["cat"], **chat.options)


def test_a_refusal_of_the_endpoint_reaches_the_caller(chat):
    """A wrong key is not an answer."""
    chat.status = 401
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        from_chat(["cat"], **chat.options)
