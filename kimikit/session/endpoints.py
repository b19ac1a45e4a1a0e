"""Ask for what is no chat; if a host lacks it, the error says who has it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Unpack

from kimikit.errors import BadInput
from kimikit.json_values import short
from kimikit.params import CompletionParams, hides, takes_completion_params
from kimikit.session.connection import Session
from kimikit.types import Reply
from kimikit.wire import results


class Endpoints(Session):
    """The other endpoints of a host."""

    @takes_completion_params()
    def complete(self, prompt: str, **params: Unpack[CompletionParams]) -> Reply:
        """Go on from a text.

        Args:
            prompt: The text.
            **params: For this call.

        Example:
            >>> kimi.complete("The capital of France is", max_tokens=2).text
            ' Paris...'
        """
        return self.client.complete(prompt, **params)

    @hides
    def embed(
        self,
        texts: Any,
        *,
        via: Literal["live", "batch"] = "live",
        name: str | None = None,
        max_cost: Decimal | float | str | None = None,
        poll_s: float | None = None,
        **params: Any,
    ) -> Any:
        """Return a vector for each text.

        Args:
            texts: A text, or a list of them.
            via: ``live``, or ``batch`` for the host's batch API: within a day, at a
                lower price, a ``Job`` at once.
            name: Makes a batch resumable: asked again, only what is missing is bought.
            max_cost: US dollars. A batch that may cost more is refused.
            poll_s: Seconds between two looks at a batch; 30 to 60 unless
                ``KIMIKIT_BATCH_POLL_S`` says otherwise.
            **params: ``model``, and what else the host takes, such as ``dimensions``.

        Returns:
            The ``Embeddings``: a list of vectors. By batch the ``Job``, whose
            ``wait()`` and ``collect()`` return them; a text that has no vector is in
            ``.missing`` then, and its vector is empty.

        Example:
            >>> vectors = kimi.embed(["dog", "puppy", "oak"])
            >>> len(vectors), len(vectors[0])
            (3, 256)
            >>> job = kimi.embed(["dog", "oak"], via="batch", poll_s=0.1)
            >>> len(job.wait())
            2
        """
        if via == "batch":
            from kimikit.runner.embedding import batch_embeddings

            more: dict[str, Any] = {"name": name, "max_cost": max_cost}
            return batch_embeddings(self, texts, params, poll_s=poll_s, **more)
        if via != "live" or name is not None or max_cost is not None:
            raise BadInput(
                f"via is {short(via)}, name is {short(name)} and max_cost is "
                f"{short(max_cost)}; the last two are for batches.",
                "Give via='batch', or leave all three out.",
            )
        return self.client.embed(texts, **params)

    @hides
    def rerank(self, query: str, documents: Any, **params: Any) -> results.Ranking:
        """Sort documents by how well they fit a query.

        Example:
            >>> kimi.rerank("a pet", ["An oak tree.", "A young dog."])[0].text
            'A young dog.'
        """
        return self.client.rerank(query, documents, **params)

    @hides
    def image(self, prompt: str, **params: Any) -> results.Picture:
        """Have a picture made; a cell shows it.

        Example:
            >>> picture = kimi.image("A fox in snow.", model="FLUX.1-schnell")
            >>> picture.save("fox.png").name
            'fox.png'
        """
        return self.client.image(prompt, **params)

    @hides
    def speak(
        self, text: str, path: str | Path = "speech.mp3", **params: Any
    ) -> results.Speech:
        """Have a text spoken into a file; a cell shows a player.

        Example:
            >>> said = kimi.speak("Good morning.", "morning.mp3", model="sonic")
            >>> said.path.name
            'morning.mp3'
        """
        return self.client.speak(text, path, **params)

    @hides
    def transcribe(self, audio: Any, **params: Any) -> results.Transcript:
        """Have speech written down.

        Example:
            >>> kimi.transcribe("morning.mp3", model="openai/whisper-large-v3").text
            'Good morning.'
        """
        return self.client.transcribe(audio, **params)

    def models(self) -> results.Models:
        """List the models that the host serves now.

        Example:
            >>> kimi.host.model in kimi.models()
            True
        """
        return self.client.models()

    def balance(self) -> results.Balance:
        """Tell what is left on the account.

        Example:
            >>> kimi.balance().available
            Decimal('49.58')
        """
        return self.client.balance()
