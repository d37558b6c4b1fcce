"""Talks to the model of its environment with the official SDKs, and writes down what came of it."""

import json
import os
import sys

api, packages, out = sys.argv[1:]
sys.path.insert(0, packages)
MODEL = os.environ["TAGOUT_MODEL_NAME"]
results = {}


def attempt(name, work):
    try:
        results[name] = {"ok": work()}
    except Exception as error:
        response = getattr(error, "response", None)
        code = response.headers.get("x-tagout-denied") if response is not None else None
        results[name] = {"status": getattr(error, "status_code", None), "code": code or repr(error)}


if api == "messages":
    import anthropic

    client = anthropic.Anthropic(max_retries=0)
    base = {"model": MODEL, "max_tokens": 200, "messages": [{"role": "user", "content": "a question"}]}

    def ask(**more):
        return client.messages.create(**{**base, **more})

    def stream():
        with client.messages.stream(**base) as events:
            return "".join(events.text_stream)

    attempt("plain", lambda: ask().content[0].text)
    attempt("stream", stream)
    attempt("search", lambda: ask(tools=[{"type": "web_search_20250305", "name": "web_search"}]))
    attempt("other model", lambda: ask(model="other"))
    attempt("models", client.models.list)
else:
    import openai

    client = openai.OpenAI(max_retries=0)
    if api == "responses":
        def ask(**more):
            return client.responses.create(**{"model": MODEL, "input": "a question", **more})

        def stream():
            events = ask(stream=True)
            return "".join(event.delta for event in events if event.type == "response.output_text.delta")

        attempt("plain", lambda: ask().output_text)
        attempt("stream", stream)
        attempt("search", lambda: ask(tools=[{"type": "web_search"}]))
        attempt("background", lambda: ask(background=True))
    else:
        def ask(**more):
            base = {"model": MODEL, "messages": [{"role": "user", "content": "a question"}]}
            return client.chat.completions.create(**{**base, **more})

        def stream():
            chunks = ask(stream=True)
            return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

        attempt("plain", lambda: ask().choices[0].message.content)
        attempt("stream", stream)
        attempt("n", lambda: ask(n=3))
    attempt("other model", lambda: ask(model="other"))
    attempt("models", lambda: list(client.models.list()))

with open(out, "w", encoding="utf-8") as file:
    json.dump(results, file)
