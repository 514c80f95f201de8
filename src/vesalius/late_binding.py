"""What lower floors call without importing the floors above them; set once, when the package is imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

#: Who turns a `cases.Image` with a uri into its array. Not typed by it: this module lies below the record.
image_reader: Callable[[Any], Any] | None = None


def set_image_reader(reader: Callable[[Any], Any] | None) -> None:
    """Say who reads image files; `vesalius` does so on import, a test may replace it."""
    global image_reader
    image_reader = reader


#: Manifest kind to who opens such a model folder `(folder, device)`, for kinds that higher floors define.
model_loaders: dict[str, Callable[[Path, str], Any]] = {}


def add_model_loader(kind: str, loader: Callable[[Path, str], Any]) -> None:
    """Say who opens model folders of a kind; `vesalius` does so on import."""
    model_loaders[kind] = loader


#: Name of a verb to its Python function.
verbs: Callable[[str], Callable[..., Any]] | None = None


def set_verbs(find: Callable[[str], Callable[..., Any]]) -> None:
    """Say who knows the verbs; `vesalius` does so on import."""
    global verbs
    verbs = find


class VerbRoom(ModuleType):
    """A room whose name is a verb too: `vesalius.audit.run` is a module of it, `vesalius.audit(...)` is the verb.

    Whichever of the two is asked for first, both work: Python puts a package into its parent's namespace when the
    package is imported, where the verb's function would stand.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the verb."""
        return self._verb()(*args, **kwargs)

    @property
    def __signature__(self) -> Any:
        return getattr(self._verb(), "__signature__")  # noqa: B009

    def _verb(self) -> Callable[..., Any]:
        if verbs is None:
            raise TypeError(f"{self.__name__} needs `import vesalius`")
        return verbs(self.__name__.rpartition(".")[2])
