"""The credentials of a venue, from named environment variables and in values that don't show.

Belongs here: reading them. Doesn't: the names of the variables (``universe``), signing (ccxt).
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, SecretStr

from research_to_prod.market_data.universe import VenueSpec


class Credentials(BaseModel):
    """An API key, its secret and, where the venue has one, its passphrase; none shows in a repr."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: SecretStr
    secret: SecretStr
    passphrase: SecretStr = SecretStr("")

    @classmethod
    def from_environment(cls, venue: VenueSpec, environment: Mapping[str, str]) -> Credentials | None:
        """Read the variables that ``venue`` names; None when it names none.

        Raises
        ------
        ValueError
            Naming the variables that are not set.
        """
        if venue.key_variable is None or venue.secret_variable is None:
            return None
        names = {"key": venue.key_variable, "secret": venue.secret_variable}
        if venue.passphrase_variable is not None:
            names["passphrase"] = venue.passphrase_variable
        unset = [name for name in names.values() if not environment.get(name)]
        if unset:
            raise ValueError(f"venue {venue.name} needs the environment variables {', '.join(unset)}")
        return cls.model_validate({field: environment[name] for field, name in names.items()})
