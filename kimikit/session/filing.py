"""Send files with a session's questions, and clean up what was uploaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from kimikit.errors import BadInput
from kimikit.session.connection import Session
from kimikit.types import Message, Reply

if TYPE_CHECKING:
    from kimikit.prompting.files import Where
    from kimikit.prompting.uploads import Upload, Uploads
    from kimikit.wire.keys import Files

_QUESTIONS = (str, Mapping, Message, Reply, list, tuple)


class Filing(Session):
    """The verbs that deal with files."""

    def upload(self, file: Any) -> Upload:
        """Upload a picture or a video once, to be asked about often.

        The same bytes are not uploaded again, in later sessions neither. A video that
        ``file=`` is given at Moonshot is uploaded by itself.

        Args:
            file: Its path or its bytes.

        Returns:
            The ``Upload``; of a picture, ``image=upload.url`` asks about it.

        Raises:
            BadInput: If it is neither.
            NotSupported: If the host takes no uploads for that.

        Example:
            >>> kimi.upload("fox.png")
            Traceback (most recent call last):
            kimikit.errors.NotSupported: the local stand-in is not known for upload...
        """
        from kimikit.prompting import files

        return files.upload(file, self._at(None, None))

    def uploads(self) -> Uploads:
        """Return what was uploaded to this host from here: a list with ``.delete()``.

        ``.delete("clip.mp4")`` deletes a file there and here, ``.delete()`` all of
        them. It is remembered in the folder of the ledger.

        Example:
            >>> kimi.uploads()
            nothing was uploaded to local from here
        """
        return self._at(None, None).uploads

    def _at(self, host: str | None, model: str | None) -> Where:
        """Return who is shown files, and what was uploaded there."""
        from kimikit.prompting.files import Where
        from kimikit.prompting.uploads import Uploads

        client = self._connection.client_of(host)
        known: dict[str, Uploads] = self.__dict__.setdefault("_known_uploads", {})
        # A recording must hold all that was asked to make it.
        kept = client.recorder is None
        folder = self.ledger.path.parent / "uploads" if kept else None
        uploads = known.setdefault(client.host.name, Uploads(client, folder))
        uploads.client = client
        return Where(client.host, str(model or client.host.model), uploads)

    def _files(self, file: Any, host: Any = None, model: Any = None) -> Files:
        """Return files as each of some hosts is shown them, each read once.

        Args:
            file: What ``file=`` was given.
            host: The name of a host, or of several; this one without any.
            model: The model that is asked, or several.
        """
        from kimikit.prompting import files

        hosts = host if isinstance(host, list | tuple) else [host]
        models = model if isinstance(model, list | tuple) else [model]
        return files.files(
            files.read(file), [self._at(h, m) for h in hosts for m in models]
        )

    def _with_files(
        self, prompt: Any, file: Any, model: Any = None, host: str | None = None
    ) -> Any:
        """Return a prompt with files before its last question."""
        if file is not None and not isinstance(prompt, _QUESTIONS):
            raise BadInput(
                f"file= was given with a {type(prompt).__name__} to go on from.",
                "Pass files with the first question.",
            )
        attach = self._attach(file, model, host)
        return prompt if attach is None else attach(prompt)

    def _attach_each(
        self, file: Any, model: Any
    ) -> Callable[[Any, dict[str, Any], int], Any] | None:
        """Return what puts files before one of many prompts: its row may name them."""
        from kimikit.runner import prompts

        column, attach = prompts.column_in(file), self._attach
        if not column:
            same = attach(file, model)
            return None if same is None else lambda prompt, *_: same(prompt)
        read: dict[str, Any] = {}

        def before(prompt: Any, row: dict[str, Any], place: int) -> Any:
            prompts.known(column, row, "file=")
            given = prompts.present(row, column, place)
            if (name := repr(given)) not in read:  # many rows may name one
                read[name] = attach(given, model)
            return read[name](prompt)

        return before

    def _attach(
        self, file: Any, model: Any = None, host: str | None = None
    ) -> Callable[[Any], Any] | None:
        """Return what puts files before the last question, ``None`` for no file."""
        if file is None:
            return None
        return partial(
            self._files(file, host, model).before, host=host or self.host.name
        )
