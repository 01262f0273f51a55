"""PromotionSource: gives executors the promoted signature of a name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hokusai_core.errors import ArtifactError, ConfigurationError
from hokusai_core.plugin_api import executor_data_folder, user_data_folder

if TYPE_CHECKING:
    from hokusai_core.plugin_api import Edition, SignatureSpec

__all__ = ["PromotionSource"]


class PromotionSource:
    """The edition source of promotions. Listings use it, so it reads one small file for each signature and no more."""

    def __init__(self) -> None:
        #: The folder of the executor; None for that of the user, which is looked up at each use.
        self._own = executor_data_folder()

    def edition(self, name: str, spec: SignatureSpec, namespace: str) -> Edition | None:
        """Return the promoted signature of a name, None for none.

        Args:
            name: qualified name of the signature, ``pack/Name``.
            spec: the original signature.
            namespace: the namespace of the executor.

        Raises:
            ArtifactError: the promotion cannot be used; says why, and how to roll it back.
            OSError: the folder of promotions cannot be read.
        """
        try:
            folder = user_data_folder("promotions") if self._own is None else self._own / "promotions"
            os.stat(folder)
        except (ConfigurationError, FileNotFoundError, NotADirectoryError):
            return None  # nothing was promoted; a user without a home cannot promote
        from hokusai_teleprompt.promotion_history import PromotionHistory  # most listings end above

        history = PromotionHistory(namespace, folder)
        try:
            entries = history.entries(name)
            if not entries or entries[-1].fingerprint in (None, spec.fingerprint):
                return None
            artifact = history.read(name, entries[-1])
            artifact.check_base(spec)
        except ArtifactError as error:
            raise ArtifactError(
                f"{error}. Roll it back with executor.rollback({name!r}), or leave promotions out with promotions=False"
            ) from error
        from hokusai_core.plugin_api import Edition  # only where there is one

        return Edition(artifact.signature, entries[-1].at, entries[-1].note)
